/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Numbers that one core writes and others may read at any time: statistics,
 * and the size of a device that changes under I/O. They order nothing.
 */
#pragma once

#include <stdint.h>

static inline uint64_t shared_get(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static inline void shared_set(uint64_t *p, uint64_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELAXED);
}

/* By the one core that writes it. */
static inline void shared_add(uint64_t *p, uint64_t v)
{
	shared_set(p, shared_get(p) + v);
}
