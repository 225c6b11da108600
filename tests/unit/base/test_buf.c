/* SPDX-License-Identifier: BSD-3-Clause */
#include "../unit.h"

#include <string.h>

#include "base/buf.h"

static void test_append(void **state)
{
	struct buf b;

	buf_init(&b, 100);
	assert_null(b.data);
	buf_append(&b, NULL, 0);
	assert_int_equal(b.len, 0);
	buf_append(&b, "abc", 3);
	buf_append_str(&b, "de");
	buf_append_byte(&b, 'f');
	buf_append_zeroes(&b, 2);
	buf_printf(&b, "%d-%s", 42, "x");
	assert_false(b.failed);
	assert_int_equal(b.len, 12);
	assert_memory_equal(b.data,
			    "abcdef\0\0"
			    "42-x",
			    12);
	buf_deinit(&b);
	assert_null(b.data);
	buf_deinit(&b);
}

/* The maximum fits; one byte more fails for good and keeps what was there. */
static void test_limit(void **state)
{
	struct buf b;

	buf_init(&b, 8);
	buf_append(&b, "12345678", 8);
	assert_false(b.failed);
	assert_int_equal(b.len, 8);
	buf_append(&b, "", 0);
	assert_false(b.failed);
	buf_append_byte(&b, '9');
	assert_true(b.failed);
	assert_int_equal(b.len, 8);
	assert_memory_equal(b.data, "12345678", 8);

	/* Also when there would be room again. */
	buf_consume(&b, 4);
	buf_append_byte(&b, 'x');
	assert_int_equal(b.len, 4);
	assert_memory_equal(b.data, "5678", 4);

	buf_reset(&b);
	assert_false(b.failed);
	assert_int_equal(b.len, 0);
	buf_append(&b, "123456789", 9);
	assert_true(b.failed);
	assert_int_equal(b.len, 0);
	buf_deinit(&b);
}

static void test_printf_limit(void **state)
{
	struct buf b;

	buf_init(&b, 5);
	buf_printf(&b, "%s", "12345");
	assert_false(b.failed);
	assert_memory_equal(b.data, "12345", 5);
	buf_reset(&b);
	buf_printf(&b, "%s", "123456");
	assert_true(b.failed);
	assert_int_equal(b.len, 0);
	buf_deinit(&b);
}

static void test_zeroes_limit(void **state)
{
	struct buf b;

	buf_init(&b, 5);
	buf_append_zeroes(&b, 5);
	assert_false(b.failed);
	buf_append_zeroes(&b, 1);
	assert_true(b.failed);
	buf_deinit(&b);
}

static void test_max_zero(void **state)
{
	struct buf b;

	buf_init(&b, 0);
	buf_printf(&b, "%s", "");
	assert_false(b.failed);
	buf_append_byte(&b, 1);
	assert_true(b.failed);
	buf_deinit(&b);
}

/* Through many sizes of the allocation, against a plain array. */
static void test_growth(void **state)
{
	static uint8_t model[10000];
	struct buf b;

	buf_init(&b, sizeof(model));
	for (size_t i = 0; i < sizeof(model); i++) {
		model[i] = (uint8_t)(i * 7);
		buf_append_byte(&b, model[i]);
	}
	assert_false(b.failed);
	assert_true(b.cap <= b.max);
	assert_int_equal(b.len, sizeof(model));
	assert_memory_equal(b.data, model, sizeof(model));
	buf_deinit(&b);
}

static void test_reserve(void **state)
{
	struct buf b;
	uint8_t *room;

	buf_init(&b, 10);
	room = buf_reserve(&b, 10);
	assert_non_null(room);
	memcpy(room, "abcdef", 6);
	assert_int_equal(b.len, 0);
	buf_commit(&b, 6);
	assert_int_equal(b.len, 6);
	assert_non_null(buf_reserve(&b, 4));
	assert_null(buf_reserve(&b, 5));
	assert_true(b.failed);
	assert_memory_equal(b.data, "abcdef", 6);
	buf_deinit(&b);
}

static void test_consume(void **state)
{
	struct buf b;

	buf_init(&b, 10);
	buf_consume(&b, 0);
	buf_append_str(&b, "abcdef");
	buf_consume(&b, 2);
	assert_memory_equal(b.data, "cdef", 4);
	buf_consume(&b, 4);
	assert_int_equal(b.len, 0);
	buf_append_str(&b, "0123456789");
	assert_false(b.failed);
	buf_deinit(&b);
}

static void consume_too_much(void *arg)
{
	struct buf b;

	buf_init(&b, 10);
	buf_append_str(&b, "ab");
	buf_consume(&b, 3);
}

static void commit_too_much(void *arg)
{
	struct buf b;

	buf_init(&b, 10);
	if (buf_reserve(&b, 10))
		buf_commit(&b, 11);
}

static void test_misuse_aborts(void **state)
{
	assert_true(aborts(consume_too_much, NULL));
	assert_true(aborts(commit_too_much, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_append),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_printf_limit),
		cmocka_unit_test(test_zeroes_limit),
		cmocka_unit_test(test_max_zero),
		cmocka_unit_test(test_growth),
		cmocka_unit_test(test_reserve),
		cmocka_unit_test(test_consume),
		cmocka_unit_test(test_misuse_aborts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
