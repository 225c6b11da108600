/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A byte builder that is born with a hard maximum. Once an append does not fit
 * (or memory is short) the buffer is `failed` for good and keeps what it had:
 * callers append freely and ask once, at the end.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
	uint8_t *data; /* owned; NULL while empty */
	size_t len;    /* bytes in use */
	size_t cap;    /* bytes allocated */
	size_t max;    /* @len never passes this */
	bool failed;   /* an append was refused */
};

void buf_init(struct buf *b, size_t max_bytes);
void buf_deinit(struct buf *b); /* frees; takes a zeroed one too */
void buf_reset(struct buf *b);	/* empty and not failed; memory is kept */

void buf_append(struct buf *b, const void *data, size_t len);
void buf_append_str(struct buf *b, const char *s); /* without the NUL */
void buf_append_byte(struct buf *b, uint8_t byte);
void buf_append_zeroes(struct buf *b, size_t len);
void buf_printf(struct buf *b, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Drops the first @n bytes. @n <= len. */
void buf_consume(struct buf *b, size_t n);

/* @n bytes of room at the end, or NULL (then `failed`); buf_commit() adds. */
uint8_t *buf_reserve(struct buf *b, size_t n);
void buf_commit(struct buf *b, size_t n);
