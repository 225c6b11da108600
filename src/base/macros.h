/* SPDX-License-Identifier: BSD-3-Clause */
/* Small helpers that every layer uses. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#define container_of(ptr, type, member)                                      \
	({                                                                   \
		const __typeof__(((type *)0)->member) *_mptr = (ptr);        \
		(type *)((char *)(uintptr_t)_mptr - offsetof(type, member)); \
	})

#define MIN(a, b)                       \
	({                              \
		__typeof__(a) _a = (a); \
		__typeof__(b) _b = (b); \
		_a < _b ? _a : _b;      \
	})

#define MAX(a, b)                       \
	({                              \
		__typeof__(a) _a = (a); \
		__typeof__(b) _b = (b); \
		_a > _b ? _a : _b;      \
	})

/* Runs @fn on the variable's address when it leaves its scope. */
#define cleanup(fn)	       __attribute__((cleanup(fn)))

#define likely(x)	       __builtin_expect(!!(x), 1)
#define unlikely(x)	       __builtin_expect(!!(x), 0)

#define printf_like(fmt, args) __attribute__((format(printf, fmt, args)))

/* Round @n up to a multiple of @to, a power of two. */
static inline uint64_t round_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) & ~(to - 1);
}

/* A hand-over that leaves nothing behind: take(&p) gives p and nulls it. */
#define take(pp)                                  \
	({                                        \
		__typeof__(*(pp)) _taken = *(pp); \
		*(pp) = NULL;                     \
		_taken;                           \
	})
