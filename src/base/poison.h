/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pools tell AddressSanitizer which of their objects are free, so that it
 * reports a use after the return as it does for malloc(). Nothing otherwise.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#ifdef __SANITIZE_ADDRESS__
#define HAVE_POISON 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAVE_POISON 1
#endif
#endif

#ifdef HAVE_POISON
#include <sanitizer/asan_interface.h>
#endif

static inline void poison(const void *p, size_t len)
{
#ifdef HAVE_POISON
	__asan_poison_memory_region(p, len);
#endif
}

static inline void unpoison(const void *p, size_t len)
{
#ifdef HAVE_POISON
	__asan_unpoison_memory_region(p, len);
#endif
}

/* False without AddressSanitizer. */
static inline bool poisoned(const void *p)
{
#ifdef HAVE_POISON
	return __asan_address_is_poisoned(p);
#else
	return false;
#endif
}
