/* SPDX-License-Identifier: BSD-3-Clause */
/* What the fuzz targets share: the input as a stream, and checks. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A promise of the engine that is broken is a crash. */
#define CHECK(expr)                                                      \
	do {                                                             \
		if (!(expr)) {                                           \
			fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, \
				__LINE__, #expr);                        \
			abort();                                         \
		}                                                        \
	} while (0)

struct input {
	const uint8_t *data;
	size_t left;
};

/* Zero at the end. */
static inline uint8_t input_u8(struct input *in)
{
	if (in->left == 0)
		return 0;
	in->left--;
	return *in->data++;
}

static inline uint16_t input_u16(struct input *in)
{
	uint8_t high = input_u8(in);

	return (uint16_t)(high << 8 | input_u8(in));
}

/* Up to @len bytes, as a copy of exactly *ret_len; the caller frees it. */
static inline uint8_t *input_copy(struct input *in, size_t len, size_t *ret_len)
{
	size_t n = MIN(len, in->left);
	uint8_t *p = malloc(n > 0 ? n : 1);

	CHECK(p != NULL);
	if (n > 0)
		memcpy(p, in->data, n);
	in->data += n;
	in->left -= n;
	*ret_len = n;
	return p;
}
