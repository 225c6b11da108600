/* SPDX-License-Identifier: BSD-3-Clause */
#include "../unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/macros.h"
#include "base/str.h"

static const struct {
	const char *text;
	uint64_t min, max;
	int rc;
	uint64_t value;
} u64_rows[] = {
	{"0", 0, 10, 0, 0},
	{"7", 0, 10, 0, 7},
	{"007", 0, 10, 0, 7},
	{"10", 0, 10, 0, 10},
	{"11", 0, 10, -ERANGE, 0},
	{"5", 5, 10, 0, 5},
	{"4", 5, 10, -ERANGE, 0},
	{"0x10", 0, 16, 0, 16},
	{"0XfF", 0, 255, 0, 255},
	{"18446744073709551615", 0, UINT64_MAX, 0, UINT64_MAX},
	{"18446744073709551616", 0, UINT64_MAX, -ERANGE, 0},
	{"99999999999999999999999", 0, UINT64_MAX, -ERANGE, 0},
	{"0xffffffffffffffff", 0, UINT64_MAX, 0, UINT64_MAX},
	{"0x10000000000000000", 0, UINT64_MAX, -ERANGE, 0},
	/* Not a number, however large. */
	{"99999999999999999999999x", 0, UINT64_MAX, -EINVAL, 0},
	{"", 0, 10, -EINVAL, 0},
	{NULL, 0, 10, -EINVAL, 0},
	{"0x", 0, 10, -EINVAL, 0},
	{"x", 0, 10, -EINVAL, 0},
	{"0xg", 0, 10, -EINVAL, 0},
	{"a", 0, 10, -EINVAL, 0},
	{"+1", 0, 10, -EINVAL, 0},
	{"-1", 0, 10, -EINVAL, 0},
	{" 1", 0, 10, -EINVAL, 0},
	{"1 ", 0, 10, -EINVAL, 0},
	{"1a", 0, 10, -EINVAL, 0},
	{"1.5", 0, 10, -EINVAL, 0},
};

static void test_u64(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(u64_rows); i++) {
		uint64_t v = 12345;
		int rc = parse_u64(u64_rows[i].text, u64_rows[i].min,
				   u64_rows[i].max, &v);

		assert_int_equal(rc, u64_rows[i].rc);
		assert_true(v == (rc ? 12345 : u64_rows[i].value));
	}
}

static void test_u32(void **state)
{
	uint32_t v = 1;

	assert_int_equal(parse_u32("4294967295", 0, UINT32_MAX, &v), 0);
	assert_int_equal(v, UINT32_MAX);
	assert_int_equal(parse_u32("4294967296", 0, UINT32_MAX, &v), -ERANGE);
	assert_int_equal(v, UINT32_MAX);
	assert_int_equal(parse_u32("z", 0, UINT32_MAX, &v), -EINVAL);
}

static const struct {
	const char *text;
	int64_t min, max;
	int rc;
	int64_t value;
} i64_rows[] = {
	{"-1", -1, 10, 0, -1},
	{"-2", -1, 10, -ERANGE, 0},
	{"10", -1, 10, 0, 10},
	{"11", -1, 10, -ERANGE, 0},
	{"-0", -1, 10, 0, 0},
	{"9223372036854775807", INT64_MIN, INT64_MAX, 0, INT64_MAX},
	{"9223372036854775808", INT64_MIN, INT64_MAX, -ERANGE, 0},
	{"-9223372036854775808", INT64_MIN, INT64_MAX, 0, INT64_MIN},
	{"-9223372036854775809", INT64_MIN, INT64_MAX, -ERANGE, 0},
	{"-", -1, 10, -EINVAL, 0},
	{"--1", -1, 10, -EINVAL, 0},
	{"", -1, 10, -EINVAL, 0},
	{NULL, -1, 10, -EINVAL, 0},
	{"0x1", -1, 10, -EINVAL, 0},
	{"1-", -1, 10, -EINVAL, 0},
};

static void test_i64(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(i64_rows); i++) {
		int64_t v = 12345;
		int rc = parse_i64(i64_rows[i].text, i64_rows[i].min,
				   i64_rows[i].max, &v);

		assert_int_equal(rc, i64_rows[i].rc);
		assert_true(v == (rc ? 12345 : i64_rows[i].value));
	}
}

static void test_bool(void **state)
{
	static const char *const yes[] = {"Yes", "Y", "true", "ON", "1"};
	static const char *const no[] = {"no", "n", "FALSE", "Off", "0"};
	static const char *const bad[] = {"", "2", "yess", "ye", " yes", NULL};
	bool v;

	for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
		v = false;
		assert_int_equal(parse_bool(yes[i], &v), 0);
		assert_true(v);
		assert_int_equal(parse_bool(no[i], &v), 0);
		assert_false(v);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(parse_bool(bad[i], &v), -EINVAL);
}

static void test_size(void **state)
{
	uint64_t v = 0;

	assert_int_equal(parse_size("512", 0, UINT64_MAX, &v), 0);
	assert_true(v == 512);
	assert_int_equal(parse_size("1K", 1024, 1024, &v), 0);
	assert_int_equal(parse_size("3m", 0, UINT64_MAX, &v), 0);
	assert_true(v == 3ull << 20);
	assert_int_equal(parse_size("2G", 0, 2ull << 30, &v), 0);
	assert_true(v == 2ull << 30);
	assert_int_equal(parse_size("2G", 0, (2ull << 30) - 1, &v), -ERANGE);
	assert_int_equal(parse_size("1023", 1024, 2048, &v), -ERANGE);
	assert_int_equal(parse_size("16777215T", 0, UINT64_MAX, &v), 0);
	assert_true(v == 16777215ull << 40);
	assert_int_equal(parse_size("16777216T", 0, UINT64_MAX, &v), -ERANGE);
	assert_int_equal(
		parse_size("99999999999999999999999", 0, UINT64_MAX, &v),
		-ERANGE);
	assert_true(v == 16777215ull << 40);
}

static void test_size_malformed(void **state)
{
	static const char *const bad[] = {"",	 "K",  "1KB", "1P", "1 K",
					  "-1K", "0x", "1k1", NULL};
	uint64_t v = 9;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(parse_size(bad[i], 0, UINT64_MAX, &v),
				 -EINVAL);
	assert_true(v == 9);
}

static const char *const good_names[] = {
	"iqn.2016-06.io.spdk:Target3",
	"iqn.2001-04.com.example",
	"iqn.2001-12.com.example:",
	"IQN.2001-01.Com.Example:a.b-c:d",
	"iqn.2001-04.com.example:\xc3\xa4",
	"eui.02004567A425678D",
	"naa.52004567BA64678D",
	"naa.62004567BA64678D0123456789ABCDEF",
};

static const char *const bad_names[] = {
	"",
	"disk1",
	"iqn.",
	"iqn.2016-06",
	"iqn.2016-06.",
	"iqn.2016-06.:x",
	"iqn.2016-06..a",
	"iqn.2016-00.io.spdk",
	"iqn.2016-13.io.spdk",
	"iqn.2016-6.io.spdk",
	"iqn.201a-06.io.spdk",
	"iqn.2016.06.io.spdk",
	"iqn.2016-06.io.spdk:a_b",
	"iqn.2016-06.io.spdk:a b",
	"iqn.2016-06.io.spdk:a/b",
	"iqn.2016-06.io.spdk:a,b",
	"iqn.2016-06.io.spdk:a\n",
	"iqn.2016-06.io.spdk:a\x7f",
	"eui.02004567A425678",
	"eui.02004567A425678D0",
	"eui.02004567A425678G",
	"naa.52004567BA64678",
	"naa.52004567BA64678D0",
	"naa.62004567BA64678D0123456789ABCDE",
	"naa.62004567BA64678D0123456789ABCDEF0",
	"naa.",
};

static void test_names(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(good_names); i++) {
		const char *why = NULL;

		assert_int_equal(iscsi_name_check(good_names[i], &why), 0);
		assert_null(why);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad_names); i++) {
		const char *why = NULL;

		assert_int_equal(iscsi_name_check(bad_names[i], &why), -EINVAL);
		assert_non_null(why);
		assert_int_equal(iscsi_name_check(bad_names[i], NULL), -EINVAL);
	}
	assert_int_equal(iscsi_name_check(NULL, NULL), -EINVAL);
}

static void test_name_length(void **state)
{
	char name[ISCSI_NAME_MAX + 2];

	memset(name, 'a', sizeof(name));
	memcpy(name, "iqn.2016-06.", 12);
	name[ISCSI_NAME_MAX] = '\0';
	assert_int_equal(iscsi_name_check(name, NULL), 0);
	name[ISCSI_NAME_MAX] = 'a';
	name[ISCSI_NAME_MAX + 1] = '\0';
	assert_int_equal(iscsi_name_check(name, NULL), -EINVAL);
}

static void test_lower(void **state)
{
	char s[] = "@AZ[`az{09-\xc3\x84";

	str_lower(s);
	assert_string_equal(s, "@az[`az{09-\xc3\x84");
}

static void test_copy(void **state)
{
	char dst[5];

	memset(dst, 'x', sizeof(dst));
	assert_true(str_copy(dst, 4, "abc"));
	assert_string_equal(dst, "abc");
	assert_int_equal(dst[4], 'x');
	assert_false(str_copy(dst, 4, "defg"));
	assert_string_equal(dst, "def");
	assert_int_equal(dst[4], 'x');
	assert_true(str_copy(dst, 1, ""));
	assert_false(str_copy(dst, 1, "a"));
	assert_string_equal(dst, "");
	dst[0] = 'y';
	assert_false(str_copy(dst, 0, ""));
	assert_int_equal(dst[0], 'y');
}

static void test_wipe(void **state)
{
	char secret[6] = "secret";

	wipe(secret, 5);
	assert_memory_equal(secret, "\0\0\0\0\0t", 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_u64),
		cmocka_unit_test(test_u32),
		cmocka_unit_test(test_i64),
		cmocka_unit_test(test_bool),
		cmocka_unit_test(test_size),
		cmocka_unit_test(test_size_malformed),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_name_length),
		cmocka_unit_test(test_lower),
		cmocka_unit_test(test_copy),
		cmocka_unit_test(test_wipe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
