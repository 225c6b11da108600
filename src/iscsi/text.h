/* SPDX-License-Identifier: BSD-3-Clause */
/* key=value text (RFC 7143, 6.1, 6.2): NUL-terminated pairs. No I/O. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/*
 * Walks the pairs in @data. *cursor starts at 0. 1: *ret_key (at most
 * TEXT_KEY_MAX bytes, NUL-terminated copy in @key) and *ret_value (@value_len
 * bytes inside @data, and a NUL follows) are set; 0: the end; -EPROTO: no '=',
 * empty or oversize key, no NUL at the end, or a byte that is not allowed.
 */
int text_next(const uint8_t *data, size_t len, size_t *cursor, char *key,
	      size_t key_size, const char **ret_value, size_t *ret_value_len);

void text_add(struct buf *out, const char *key, const char *value);
void text_add_u32(struct buf *out, const char *key, uint32_t value);
void text_add_bool(struct buf *out, const char *key, bool value);
