/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Assertions about our own invariants. They ship. What a peer, a file or an
 * RPC says is validated, never asserted.
 */
#pragma once

#include "base/macros.h"

#define ASSERT(expr)                                                        \
	do {                                                                \
		if (unlikely(!(expr)))                                      \
			assert_failed(#expr, __FILE__, __LINE__, __func__); \
	} while (0)

/* For checks too dear for the data path of a release build. */
#ifdef DEBUG
#define DEBUG_ASSERT(expr) ASSERT(expr)
#else
#define DEBUG_ASSERT(expr) ((void)sizeof(!(expr)))
#endif

/* Writes the failed expression to standard error and aborts. */
_Noreturn void assert_failed(const char *expr, const char *file, int line,
			     const char *func);
