/* SPDX-License-Identifier: BSD-3-Clause */
#include "../unit.h"

#include "base/bytes.h"

static const uint8_t raw[8] = {0xf1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};

static void test_load(void **state)
{
	assert_int_equal(load_be16(raw), 0xf123);
	assert_int_equal(load_be24(raw), 0xf12345);
	assert_int_equal(load_be32(raw), 0xf1234567);
	assert_true(load_be48(raw) == 0xf123456789abull);
	assert_true(load_be64(raw) == 0xf123456789abcdefull);
	assert_int_equal(load_le32(raw), 0x674523f1);
	/* No address has to be aligned. */
	assert_int_equal(load_be32(raw + 1), 0x23456789);
	assert_int_equal(load_le32(raw + 3), 0xcdab8967);
}

/* Each store writes its own bytes, and the next one is untouched. */
static void check_store(const uint8_t *p, size_t len)
{
	assert_memory_equal(p, raw, len);
	assert_int_equal(p[len], 0x5a);
}

static void test_store(void **state)
{
	uint8_t p[9];

	memset(p, 0x5a, sizeof(p));
	store_be16(p, 0xf123);
	check_store(p, 2);
	store_be24(p, 0xf12345);
	check_store(p, 3);
	store_be32(p, 0xf1234567);
	check_store(p, 4);
	store_be48(p, 0xf123456789abull);
	check_store(p, 6);
	store_be64(p, 0xf123456789abcdefull);
	check_store(p, 8);
	memset(p, 0x5a, sizeof(p));
	store_le32(p, 0x674523f1);
	check_store(p, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_load),
		cmocka_unit_test(test_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
