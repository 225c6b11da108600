/* SPDX-License-Identifier: BSD-3-Clause */
#include "../unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "iscsi/chap.h"
#include "target/target.h"

/* Identifier 0x27 and the challenge 01..20: the first of our random bytes. */
static const uint8_t random_bytes[CHAP_RANDOM_LEN] = {
	0x27, 1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16,
	17,   18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32,
};

static const struct chap_secret one_way = {
	.user = "user",
	.secret = "secret-of-the-user",
};
static const struct chap_secret both_ways = {
	.user = "user",
	.secret = "secret-of-the-user",
	.muser = "target",
	.msecret = "secret-of-the-target",
};

/* What the user answers, by an independent implementation. */
static const struct {
	enum chap_algorithm algorithm;
	size_t len;
	const char *response;
} vectors[] = {
	{CHAP_MD5, 16, "0x21ab33b6507ae5f777b9e20d7302f783"},
	{CHAP_SHA1, 20, "0x9095ad8824a328582fcb30b75a21bd8586913a5c"},
	{CHAP_SHA256, 32,
	 "0x0a8cdf057233468dcf94eb434d3cf5ba8e48a963b3dfca586bae51f625914944"},
	{CHAP_SHA3_256, 32,
	 "0x061d2f88921301322d12415ff672f735e63607f7fcd6ea94dedaaae3f01d5912"},
};

/* ---- Binary values (T10). */

static void test_decode(void **state)
{
	static const struct {
		const char *text;
		int rc;
		size_t len;
		const char *bytes;
	} rows[] = {
		{"0x00", 0, 1, "\x00"},
		{"0XfF", 0, 1, "\xff"},
		{"0x0123456789abcdefABCDEF", 0, 11,
		 "\x01\x23\x45\x67\x89\xab\xcd\xef\xab\xcd\xef"},
		/* 6.1: (n + 1) / 2 bytes. */
		{"0x1", 0, 1, "\x01"},
		{"0x123", 0, 2, "\x01\x23"},
		{"0x", -EINVAL, 0, NULL},
		{"0xg0", -EINVAL, 0, NULL},
		{"0x0g", -EINVAL, 0, NULL},
		{"0x 00", -EINVAL, 0, NULL},
		{"0x00 ", -EINVAL, 0, NULL},
		{"0bQQ==", 0, 1, "A"},
		{"0BQUI=", 0, 2, "AB"},
		{"0bQUJD", 0, 3, "ABC"},
		{"0b+/+/", 0, 3, "\xfb\xff\xbf"},
		{"0bQUJDRA==", 0, 4, "ABCD"},
		{"0b", -EINVAL, 0, NULL},
		{"0bQ", -EINVAL, 0, NULL},
		{"0bQQ", -EINVAL, 0, NULL},
		{"0bQQ=", -EINVAL, 0, NULL},
		{"0bQ===", -EINVAL, 0, NULL},
		{"0b====", -EINVAL, 0, NULL},
		{"0bQ=Q=", -EINVAL, 0, NULL},
		{"0b=QQQ", -EINVAL, 0, NULL},
		{"0bQQ==QQ==", -EINVAL, 0, NULL},
		{"0bQU-D", -EINVAL, 0, NULL},
		{"0bQU\nD", -EINVAL, 0, NULL},
		/* Neither; a decimal has no length. */
		{"", -EINVAL, 0, NULL},
		{"0", -EINVAL, 0, NULL},
		{"12", -EINVAL, 0, NULL},
		{"x00", -EINVAL, 0, NULL},
		{"1x00", -EINVAL, 0, NULL},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint8_t out[16];
		size_t len = 0;
		int rc = chap_decode(rows[i].text, out, sizeof(out), &len);

		if (rc != rows[i].rc)
			fail_msg("%s: %d", rows[i].text, rc);
		if (rc < 0)
			continue;
		assert_int_equal(len, rows[i].len);
		assert_memory_equal(out, rows[i].bytes, len);
	}
}

/* Never a byte past the room, whatever the length of the text. */
static void test_decode_at_the_limit(void **state)
{
	static char text[5000];

	for (size_t max = 1; max <= 48; max++) {
		for (size_t digits = 1; digits <= 120; digits++) {
			uint8_t *out = malloc(max);
			size_t len = 0, want = (digits + 1) / 2;

			assert_non_null(out);
			memset(text, 0, sizeof(text));
			memcpy(text, "0x", 2);
			memset(text + 2, 'a', digits);
			assert_int_equal(chap_decode(text, out, max, &len),
					 want <= max ? 0 : -EINVAL);
			assert_int_equal(len, want <= max ? want : 0);

			len = 0;
			memcpy(text, "0b", 2);
			want = digits / 4 * 3;
			assert_int_equal(
				chap_decode(text, out, max, &len),
				digits % 4 == 0 && want <= max ? 0 : -EINVAL);
			free(out);
		}
	}
}

/* ---- The exchange. */

static void begin(struct chap *c, const char *list, struct buf *out)
{
	buf_reset(out);
	assert_int_equal(chap_begin(c, list, random_bytes, out), CHAP_OK);
	buf_reset(out);
}

static void test_challenge(void **state)
{
	static const char expected[] =
		"CHAP_A=7\0CHAP_I=39\0CHAP_C=0x0102030405060708090a0b0c0d0e0f10"
		"1112131415161718191a1b1c1d1e1f20";
	struct chap c;
	struct buf out;

	buf_init(&out, 1000);
	assert_int_equal(chap_begin(&c, "7", random_bytes, &out), CHAP_OK);
	assert_int_equal(out.len, sizeof(expected));
	assert_memory_equal(out.data, expected, sizeof(expected));
	buf_deinit(&out);
}

/* T11, and the initiator's order. */
static void test_algorithm_lists(void **state)
{
	static const struct {
		const char *list;
		int chosen;
	} rows[] = {
		{"5", 5},	   {"6", 6},	   {"7", 7},	{"8", 8},
		{"6,5", 6},	   {"8,7,6,5", 8}, {"99,5", 5}, {"0x7,5", 7},
		{"4,9,abc,,6", 6}, {"", 0},	   {"99", 0},	{"0", 0},
		{",", 0},	   {"5 ", 0},	   {"-5", 0},	{"55", 0},
		{"4294967301", 0}, {"261", 0},	   {"MD5", 0},	{"5;6", 0},
	};
	struct buf out;

	buf_init(&out, 1000);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct chap c = {0};
		enum chap_verdict v;

		buf_reset(&out);
		v = chap_begin(&c, rows[i].list, random_bytes, &out);
		assert_int_equal(v, rows[i].chosen ? CHAP_OK : CHAP_REFUSED);
		if (v == CHAP_OK)
			assert_int_equal(c.algorithm, rows[i].chosen);
		else
			assert_int_equal(out.len, 0);
	}
	buf_deinit(&out);
}

static void test_right_and_wrong_responses(void **state)
{
	struct buf out;

	buf_init(&out, 1000);
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		struct chap_response in = {.n = "user",
					   .r = vectors[i].response};
		char list[8], r[256];
		struct chap c;

		snprintf(list, sizeof(list), "%d", (int)vectors[i].algorithm);
		begin(&c, list, &out);
		assert_int_equal(chap_verify(&c, &in, &one_way, false, &out),
				 CHAP_OK);
		assert_int_equal(out.len, 0);
		/* No such user; one-way is not enough. */
		assert_int_equal(chap_verify(&c, &in, NULL, false, &out),
				 CHAP_REFUSED);
		assert_int_equal(chap_verify(&c, &in, &both_ways, true, &out),
				 CHAP_REFUSED);
		/* Every digit counts. */
		for (size_t k = 2; k < strlen(vectors[i].response); k++) {
			snprintf(r, sizeof(r), "%s", vectors[i].response);
			r[k] = r[k] == '0' ? '1' : '0';
			in.r = r;
			assert_int_equal(
				chap_verify(&c, &in, &one_way, false, &out),
				CHAP_REFUSED);
		}
		/* A byte less, a byte more than the digest has. */
		assert_true(str_copy(r, sizeof(r), vectors[i].response));
		r[strlen(r) - 2] = '\0';
		in.r = r;
		assert_int_equal(chap_verify(&c, &in, &one_way, false, &out),
				 CHAP_REFUSED);
		snprintf(r, sizeof(r), "%s00", vectors[i].response);
		assert_int_equal(chap_verify(&c, &in, &one_way, false, &out),
				 vectors[i].len == CHAP_DIGEST_MAX
					 ? CHAP_MALFORMED
					 : CHAP_REFUSED);
		/* Another identifier or challenge. */
		in.r = vectors[i].response;
		c.id++;
		assert_int_equal(chap_verify(&c, &in, &one_way, false, &out),
				 CHAP_REFUSED);
		c.id--;
		c.challenge[31] ^= 1;
		assert_int_equal(chap_verify(&c, &in, &one_way, false, &out),
				 CHAP_REFUSED);
		assert_int_equal(out.len, 0);
	}
	buf_deinit(&out);
}

/* A secret of no bytes is no secret, even to who guesses it. */
static void test_empty_secret(void **state)
{
	struct chap_secret empty = {.user = "user"};
	struct chap_response in = {.n = "user"};
	uint8_t md[CHAP_DIGEST_MAX];
	char r[100] = "0x";
	struct chap c;
	struct buf out;

	buf_init(&out, 1000);
	begin(&c, "5", &out);
	assert_int_equal(chap_digest(CHAP_MD5, c.id, "", c.challenge,
				     CHAP_CHALLENGE_LEN, md),
			 16);
	for (size_t i = 0; i < 16; i++)
		sprintf(r + 2 + 2 * i, "%02x", md[i]);
	in.r = r;
	assert_int_equal(chap_verify(&c, &in, &empty, false, &out),
			 CHAP_REFUSED);
	assert_int_equal(chap_verify(&c, &in, NULL, false, &out), CHAP_REFUSED);
	buf_deinit(&out);
}

static void test_mutual(void **state)
{
	struct chap_response in = {.n = "user", .i = "200", .c = "0x616263"};
	struct buf out;

	buf_init(&out, 1000);
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		char list[8], expected[200] = "CHAP_N=target;CHAP_R=0x";
		uint8_t md[CHAP_DIGEST_MAX];
		struct chap c;
		size_t at;

		snprintf(list, sizeof(list), "%d", (int)vectors[i].algorithm);
		begin(&c, list, &out);
		in.r = vectors[i].response;
		assert_int_equal(chap_verify(&c, &in, &both_ways, true, &out),
				 CHAP_OK_MUTUAL);
		assert_int_equal(chap_digest(vectors[i].algorithm, 200,
					     "secret-of-the-target",
					     (const uint8_t *)"abc", 3, md),
				 vectors[i].len);
		at = strlen(expected);
		for (size_t k = 0; k < vectors[i].len; k++)
			sprintf(expected + at + 2 * k, "%02x", md[k]);
		for (size_t k = 0; k < out.len; k++) {
			if (out.data[k] == 0)
				out.data[k] = ';';
		}
		buf_append(&out, "", 1);
		at = strlen((char *)out.data);
		assert_int_equal(out.data[at - 1], ';');
		out.data[at - 1] = '\0';
		assert_string_equal((char *)out.data, expected);
		/* Whoever has no secret for it cannot answer. */
		buf_reset(&out);
		assert_int_equal(chap_verify(&c, &in, &one_way, false, &out),
				 CHAP_REFUSED);
		assert_int_equal(out.len, 0);
	}
	buf_deinit(&out);
}

static void test_missing_and_malformed(void **state)
{
	const char *good = vectors[0].response;
	char longest[2100] = "0x", longer[2100] = "0x";
	const struct {
		struct chap_response in;
		enum chap_verdict verdict;
	} rows[] = {
		{{NULL, good, NULL, NULL}, CHAP_MISSING},
		{{"user", NULL, NULL, NULL}, CHAP_MISSING},
		{{NULL, NULL, NULL, NULL}, CHAP_MISSING},
		{{"user", good, "1", NULL}, CHAP_MISSING},
		{{"user", good, NULL, "0x61"}, CHAP_MISSING},
		{{"user", "", NULL, NULL}, CHAP_MALFORMED},
		{{"user", "0x", NULL, NULL}, CHAP_MALFORMED},
		{{"user", "zzz", NULL, NULL}, CHAP_MALFORMED},
		{{"user", good, "", "0x61"}, CHAP_MALFORMED},
		{{"user", good, "256", "0x61"}, CHAP_MALFORMED},
		{{"user", good, "-1", "0x61"}, CHAP_MALFORMED},
		{{"user", good, "0x100", "0x61"}, CHAP_MALFORMED},
		{{"user", good, "0xff", "0x61"}, CHAP_OK_MUTUAL},
		{{"user", good, "0", "0bYWJj"}, CHAP_OK_MUTUAL},
		{{"user", good, "1", ""}, CHAP_MALFORMED},
		{{"user", good, "1", "0x"}, CHAP_MALFORMED},
		{{"user", good, "1", "61"}, CHAP_MALFORMED},
		/* 12.1.3: 1024 bytes at most. */
		{{"user", good, "1", longest}, CHAP_OK_MUTUAL},
		{{"user", good, "1", longer}, CHAP_MALFORMED},
	};
	struct chap c;
	struct buf out;

	buf_init(&out, 1000);
	memset(longest + 2, '5', CHAP_BINARY_MAX * 2);
	memset(longer + 2, '5', CHAP_BINARY_MAX * 2 + 1);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		enum chap_verdict v;

		begin(&c, "5", &out);
		v = chap_verify(&c, &rows[i].in, &both_ways, false, &out);
		if (v != rows[i].verdict)
			fail_msg("row %zu: %d", i, (int)v);
	}
	buf_deinit(&out);
}

/* 9.2.1, T12: our own challenge, and one secret for both directions. */
static void test_reflection(void **state)
{
	struct chap_secret same = both_ways;
	struct chap_response in = {
		.n = "user", .r = vectors[0].response, .i = "1"};
	static const char *const ours[] = {
		"0x0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d"
		"1e1f20",
		"0X0102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D"
		"1E1F20",
		"0bAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=",
	};
	struct chap c;
	struct buf out;

	buf_init(&out, 1000);
	begin(&c, "5", &out);
	for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
		in.c = ours[i];
		assert_int_equal(chap_verify(&c, &in, &both_ways, false, &out),
				 CHAP_REFUSED);
		assert_int_equal(out.len, 0);
	}
	strcpy(same.msecret, same.secret);
	in.c = "0x616263";
	assert_int_equal(chap_verify(&c, &in, &same, false, &out),
			 CHAP_REFUSED);
	in.i = in.c = NULL;
	assert_int_equal(chap_verify(&c, &in, &same, false, &out),
			 CHAP_REFUSED);
	buf_deinit(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decode),
		cmocka_unit_test(test_decode_at_the_limit),
		cmocka_unit_test(test_challenge),
		cmocka_unit_test(test_algorithm_lists),
		cmocka_unit_test(test_right_and_wrong_responses),
		cmocka_unit_test(test_empty_secret),
		cmocka_unit_test(test_mutual),
		cmocka_unit_test(test_missing_and_malformed),
		cmocka_unit_test(test_reflection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
