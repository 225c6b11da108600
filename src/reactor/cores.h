/* SPDX-License-Identifier: BSD-3-Clause */
/* The CPUs of the machine, as far as threads are bound to them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Is there a CPU of this number (it may be offline)? */
bool core_exists(uint32_t cpu);

/* CPUs that this process may run on; at least 1. */
uint32_t cores_available(void);

/* Binds the calling thread. 0 or -errno. */
int core_pin(uint32_t cpu);
