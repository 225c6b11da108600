/* SPDX-License-Identifier: BSD-3-Clause */
#include "../unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "iscsi/iscsi_spec.h"
#include "iscsi/text.h"

/* Walks @len bytes that nothing follows; the pairs as "k=v;..." */
static int walk(const void *bytes, size_t len, char *ret, size_t size)
{
	uint8_t *exact = malloc(len ? len : 1);
	char key[TEXT_KEY_MAX + 1];
	size_t cursor = 0, value_len;
	const char *value;
	int rc;

	assert_non_null(exact);
	memcpy(exact, bytes, len);
	ret[0] = '\0';
	while ((rc = text_next(exact, len, &cursor, key, sizeof(key), &value,
			       &value_len)) == 1) {
		size_t at = strlen(ret);

		assert_int_equal(strlen(value), value_len);
		assert_true(cursor <= len);
		snprintf(ret + at, size - at, "%s=%s;", key, value);
	}
	free(exact);
	return rc;
}

static void test_segments(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		int rc;
		const char *pairs;
	} rows[] = {
#define ROW(text, rc, pairs) {text, sizeof(text) - 1, rc, pairs}
		ROW("", 0, ""),
		ROW("A=b\0", 0, "A=b;"),
		ROW("A=\0", 0, "A=;"),
		ROW("A=b=c\0", 0, "A=b=c;"),
		ROW("A=1\0B=2\0", 0, "A=1;B=2;"),
		ROW("X#NodeArchitecture=x/1\0", 0, "X#NodeArchitecture=x/1;"),
		ROW("X-com.example.a_b+c@d-9=1\0", 0,
		    "X-com.example.a_b+c@d-9=1;"),
		ROW("a=b\0", 0, "a=b;"),
		ROW("A=\xc3\xa4 \xf0\x9f\x92\xbe\0", 0,
		    "A=\xc3\xa4 \xf0\x9f\x92\xbe;"),
		/* Padding that was counted in. */
		ROW("A=b\0\0\0\0", 0, "A=b;"),
		ROW("\0", 0, ""),
		/* T8: no NUL at the end, embedded NULs, no '='. */
		ROW("A", -EPROTO, ""),
		ROW("A=b", -EPROTO, ""),
		ROW("A=b\0B=c", -EPROTO, "A=b;"),
		ROW("\0A=b\0", -EPROTO, ""),
		ROW("A=b\0\0B=c\0", -EPROTO, "A=b;"),
		ROW("A\0", -EPROTO, ""),
		ROW("A\0=b\0", -EPROTO, ""),
		ROW("=b\0", -EPROTO, ""),
		ROW("=\0", -EPROTO, ""),
		/* Bytes that a key cannot have. */
		ROW("1A=b\0", -EPROTO, ""),
		ROW("-A=b\0", -EPROTO, ""),
		ROW("A B=b\0", -EPROTO, ""),
		ROW("A%s=b\0", -EPROTO, ""),
		ROW("A\xc3\xa4=b\0", -EPROTO, ""),
		/* T26: control characters. */
		ROW("A=b\n\0", -EPROTO, ""),
		ROW("A=\x1b[31m\0", -EPROTO, ""),
		ROW("A=\x7f\0", -EPROTO, ""),
#undef ROW
	};
	char pairs[256];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int rc = walk(rows[i].text, rows[i].len, pairs, sizeof(pairs));

		if (rc != rows[i].rc || strcmp(pairs, rows[i].pairs) != 0)
			fail_msg("row %zu: %d \"%s\"", i, rc, pairs);
	}
}

/* T6: keys of 63, 64, 65, 255 and 8192 bytes. */
static void test_key_lengths(void **state)
{
	static const size_t lengths[] = {1, 62, 63, 64, 65, 255, 8192};
	static char text[8300], pairs[8300];

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		size_t n = lengths[i];

		memset(text, 'K', n);
		memcpy(text + n, "=v", 3);
		assert_int_equal(walk(text, n + 3, pairs, sizeof(pairs)),
				 n <= TEXT_KEY_MAX ? 0 : -EPROTO);
		assert_int_equal(strlen(pairs), n <= TEXT_KEY_MAX ? n + 3 : 0);
		/* The same without '='. */
		text[n] = '\0';
		assert_int_equal(walk(text, n + 1, pairs, sizeof(pairs)),
				 -EPROTO);
	}
}

static void test_every_byte(void **state)
{
	char pairs[64];

	for (int c = 1; c < 256; c++) {
		uint8_t in_value[] = {'A', '=', 'x', (uint8_t)c, 0};
		uint8_t in_key[] = {'A', (uint8_t)c, '=', 'x', 0};
		bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
		bool key_ok = letter || (c >= '0' && c <= '9') ||
			      strchr(".-+@_#=", c);
		bool value_ok = c >= 0x20 && c != 0x7f;

		assert_int_equal(
			walk(in_value, sizeof(in_value), pairs, sizeof(pairs)),
			value_ok ? 0 : -EPROTO);
		assert_int_equal(
			walk(in_key, sizeof(in_key), pairs, sizeof(pairs)),
			key_ok ? 0 : -EPROTO);
	}
}

static void test_add(void **state)
{
	static const char expected[] = "A=b\0N=4294967295\0Y=Yes\0Z=No";
	struct buf b;

	buf_init(&b, 100);
	text_add(&b, "A", "b");
	text_add_u32(&b, "N", 4294967295u);
	text_add_bool(&b, "Y", true);
	text_add_bool(&b, "Z", false);
	assert_false(b.failed);
	assert_int_equal(b.len, sizeof(expected));
	assert_memory_equal(b.data, expected, sizeof(expected));
	buf_deinit(&b);

	buf_init(&b, 3);
	text_add(&b, "A", "b");
	assert_true(b.failed);
	buf_deinit(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_segments),
		cmocka_unit_test(test_key_lengths),
		cmocka_unit_test(test_every_byte),
		cmocka_unit_test(test_add),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
