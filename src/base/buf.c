/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define BUF_FIRST_CAP 64u

void buf_init(struct buf *b, size_t max_bytes)
{
	/* One byte is kept back for the NUL that vsnprintf() wants. */
	ASSERT(max_bytes < SIZE_MAX / 2);
	*b = (struct buf){.max = max_bytes};
}

void buf_deinit(struct buf *b)
{
	free(b->data);
	*b = (struct buf){0};
}

void buf_reset(struct buf *b)
{
	b->len = 0;
	b->failed = false;
}

/* Room for @n more bytes, and one for a NUL. False: the buffer has failed. */
static bool make_room(struct buf *b, size_t n)
{
	size_t cap = b->cap;
	uint8_t *data;

	ASSERT(b->len <= b->max);
	if (b->failed)
		return false;
	if (n > b->max - b->len) {
		b->failed = true;
		return false;
	}
	if (b->data && n <= b->cap - b->len)
		return true;

	cap = MAX(cap * 2, (size_t)BUF_FIRST_CAP);
	cap = MIN(cap, b->max);
	cap = MAX(cap, b->len + n);
	data = realloc(b->data, cap + 1);
	if (!data) {
		b->failed = true;
		return false;
	}
	b->data = data;
	b->cap = cap;
	return true;
}

void buf_append(struct buf *b, const void *data, size_t len)
{
	if (len == 0 || !make_room(b, len))
		return;
	memcpy(b->data + b->len, data, len);
	b->len += len;
}

void buf_append_str(struct buf *b, const char *s)
{
	buf_append(b, s, strlen(s));
}

void buf_append_byte(struct buf *b, uint8_t byte)
{
	buf_append(b, &byte, 1);
}

void buf_append_zeroes(struct buf *b, size_t len)
{
	if (len == 0 || !make_room(b, len))
		return;
	memset(b->data + b->len, 0, len);
	b->len += len;
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0) {
		b->failed = true;
		return;
	}
	if (!make_room(b, (size_t)n))
		return;

	va_start(ap, fmt);
	vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
}

void buf_consume(struct buf *b, size_t n)
{
	ASSERT(n <= b->len);
	if (n == 0)
		return;
	memmove(b->data, b->data + n, b->len - n);
	b->len -= n;
}

uint8_t *buf_reserve(struct buf *b, size_t n)
{
	if (!make_room(b, n))
		return NULL;
	return b->data + b->len;
}

void buf_commit(struct buf *b, size_t n)
{
	ASSERT(n <= b->cap - b->len);
	b->len += n;
}
