/* SPDX-License-Identifier: BSD-3-Clause */
#include "../unit.h"

#include "base/macros.h"

struct outer {
	int a;
	struct inner {
		int b;
	} in;
};

static void count_up(int **p)
{
	++**p;
}

static void test_arithmetic(void **state)
{
	int calls = 1;

	/* Arguments are evaluated once. */
	assert_int_equal(MAX(calls++, 0), 1);
	assert_int_equal(MIN(calls++, 9), 2);
	assert_int_equal(calls, 3);
	assert_int_equal(round_up(0, 8), 0);
	assert_int_equal(round_up(1, 8), 8);
	assert_int_equal(round_up(8, 8), 8);
	assert_int_equal(round_up(9, 8), 16);
}

static void test_container_of(void **state)
{
	struct outer o = {0};
	struct inner *in = &o.in;

	assert_ptr_equal(container_of(in, struct outer, in), &o);
	assert_int_equal(ARRAY_LEN(((int[]){1, 2, 3})), 3);
}

static void test_take(void **state)
{
	int x = 5, *p = &x;
	int *q = take(&p);

	assert_ptr_equal(q, &x);
	assert_null(p);
}

static void test_cleanup(void **state)
{
	int left = 0;

	{
		cleanup(count_up) int *p = &left;
		assert_int_equal(*p, 0);
	}
	assert_int_equal(left, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arithmetic),
		cmocka_unit_test(test_container_of),
		cmocka_unit_test(test_take),
		cmocka_unit_test(test_cleanup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
