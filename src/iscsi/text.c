/* SPDX-License-Identifier: BSD-3-Clause */
#include "iscsi/text.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "iscsi/iscsi_spec.h"

/*
 * RFC 7143, 6.1: a standard-label; and '#', which X#NodeArchitecture (13.26)
 * has. A small first letter is let through: it is answered NotUnderstood.
 */
static bool key_byte(uint8_t c, bool first)
{
	if ((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'))
		return true;
	if (first)
		return false;
	return (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '+' ||
	       c == '@' || c == '_' || c == '#';
}

/* UTF-8 for aliases and names; control characters have no business here. */
static bool value_byte(uint8_t c)
{
	return c >= 0x20 && c != 0x7f;
}

static bool all_zero(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (p[i] != 0)
			return false;
	}
	return true;
}

static int key_copy(const uint8_t *p, size_t len, char *key, size_t key_size)
{
	if (len == 0 || len > TEXT_KEY_MAX)
		return -EPROTO;
	ASSERT(len < key_size);
	for (size_t i = 0; i < len; i++) {
		if (!key_byte(p[i], i == 0))
			return -EPROTO;
	}
	memcpy(key, p, len);
	key[len] = '\0';
	return 0;
}

int text_next(const uint8_t *data, size_t len, size_t *cursor, char *key,
	      size_t key_size, const char **ret_value, size_t *ret_value_len)
{
	const uint8_t *p, *end, *eq;
	size_t left = len - *cursor;
	int rc;

	ASSERT(*cursor <= len);
	if (left == 0)
		return 0;
	p = data + *cursor;
	if (*p == 0) {
		/* Some initiators count the padding in. */
		if (!all_zero(p, left))
			return -EPROTO;
		*cursor = len;
		return 0;
	}
	end = memchr(p, 0, left);
	if (end == NULL)
		return -EPROTO;
	eq = memchr(p, '=', (size_t)(end - p));
	if (eq == NULL)
		return -EPROTO;
	rc = key_copy(p, (size_t)(eq - p), key, key_size);
	if (rc < 0)
		return rc;
	for (const uint8_t *v = eq + 1; v < end; v++) {
		if (!value_byte(*v))
			return -EPROTO;
	}
	*ret_value = (const char *)eq + 1;
	*ret_value_len = (size_t)(end - eq - 1);
	*cursor += (size_t)(end - p) + 1;
	return 1;
}

void text_add(struct buf *out, const char *key, const char *value)
{
	ASSERT(strlen(key) <= TEXT_KEY_MAX);
	buf_append_str(out, key);
	buf_append_byte(out, '=');
	buf_append_str(out, value);
	buf_append_byte(out, 0);
}

void text_add_u32(struct buf *out, const char *key, uint32_t value)
{
	buf_printf(out, "%s=%u", key, value);
	buf_append_byte(out, 0);
}

void text_add_bool(struct buf *out, const char *key, bool value)
{
	text_add(out, key, value ? "Yes" : "No");
}
