/* SPDX-License-Identifier: BSD-3-Clause */
/* Text of users and peers, taken with suspicion. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* RFC 7143, 4.2.7.1: an iSCSI name has at most 223 bytes. */
#define ISCSI_NAME_MAX 223

/*
 * Decimal, or hexadecimal with 0x; the whole text must be one number within
 * [min, max]. 0, -EINVAL (not a number) or -ERANGE. @ret is untouched on
 * failure.
 */
int parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *ret);
int parse_u32(const char *text, uint32_t min, uint32_t max, uint32_t *ret);

/* Decimal with an optional leading minus. 0, -EINVAL, -ERANGE. */
int parse_i64(const char *text, int64_t min, int64_t max, int64_t *ret);

/* Yes Y True On 1 / No N False Off 0, in any case. 0 or -EINVAL. */
int parse_bool(const char *text, bool *ret);

/*
 * A size in bytes with an optional suffix K, M, G or T (powers of 1024).
 * 0, -EINVAL, -ERANGE.
 */
int parse_size(const char *text, uint64_t min, uint64_t max, uint64_t *ret);

/*
 * Is @name a well-formed iSCSI name (RFC 7143, 4.2.7): iqn.YYYY-MM.domain[:x],
 * eui. and 16 hex digits, or naa. and 16 or 32 hex digits; at most
 * ISCSI_NAME_MAX bytes; letters, digits, '-', '.', ':' and bytes above 0x7f.
 * 0 or -EINVAL; @ret_why (may be NULL) says what is wrong.
 */
int iscsi_name_check(const char *name, const char **ret_why);

/* Lower-cases ASCII letters in place (RFC 3722's rule for iSCSI names). */
void str_lower(char *s);

/* strlcpy(): always ends with NUL; false when it did not fit. */
bool str_copy(char *dst, size_t size, const char *src);

/* memset() that the compiler keeps, for secrets. */
void wipe(void *p, size_t len);
