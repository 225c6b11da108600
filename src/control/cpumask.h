/* SPDX-License-Identifier: BSD-3-Clause */
/* Sets of CPUs as users write them: 0x5, 5, [0,2], [0-3,8]. */
#pragma once

#include <stdint.h>

#include "reactor/reactor.h"

#define CPU_NUMBER_MAX 4095

/*
 * The CPUs of @text in rising order into @cores (REACTORS_MAX of them). 0,
 * -EINVAL (not a mask or list, or empty), -E2BIG (more than REACTORS_MAX),
 * -ERANGE (above CPU_NUMBER_MAX).
 */
int cpumask_parse(const char *text, uint32_t *cores, uint32_t *ret_ncores);
