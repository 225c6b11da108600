/* SPDX-License-Identifier: BSD-3-Clause */
#include "../unit.h"

#include <errno.h>
#include <string.h>

#include "base/slab.h"

static void test_all_objects(void **state)
{
	struct slab slab;
	uint8_t *obj[3];

	assert_int_equal(slab_init(&slab, 100, 3), 0);
	assert_int_equal(slab.size, 128);
	for (int i = 0; i < 3; i++) {
		obj[i] = slab_get(&slab);
		assert_non_null(obj[i]);
		assert_int_equal((uintptr_t)obj[i] % 64, 0);
		for (int b = 0; b < 100; b++)
			assert_int_equal(obj[i][b], 0);
		memset(obj[i], 0x11 * (i + 1), 128);
		assert_int_equal(slab_in_use(&slab), i + 1);
	}
	/* They do not overlap. */
	for (int i = 0; i < 3; i++) {
		assert_int_equal(obj[i][0], 0x11 * (i + 1));
		assert_int_equal(obj[i][127], 0x11 * (i + 1));
	}
	assert_null(slab_get(&slab));

	slab_put(&slab, obj[1]);
	assert_ptr_equal(slab_get(&slab), obj[1]);
	assert_int_equal(obj[1][5], 0x22);
	assert_null(slab_get(&slab));
	for (int i = 0; i < 3; i++)
		slab_put(&slab, obj[i]);
	assert_int_equal(slab_in_use(&slab), 0);
	slab_deinit(&slab);
	assert_null(slab.mem);
}

static void test_last_in_first_out(void **state)
{
	struct slab slab;
	void *a, *b;

	assert_int_equal(slab_init(&slab, 64, 2), 0);
	a = slab_get(&slab);
	b = slab_get(&slab);
	slab_put(&slab, a);
	slab_put(&slab, b);
	assert_ptr_equal(slab_get(&slab), b);
	assert_ptr_equal(slab_get(&slab), a);
	slab_put(&slab, a);
	slab_put(&slab, b);
	slab_deinit(&slab);
}

static void test_sizes(void **state)
{
	struct slab slab;

	assert_int_equal(slab_init(&slab, 64, 1), 0);
	assert_int_equal(slab.size, 64);
	slab_deinit(&slab);
	assert_int_equal(slab_init(&slab, 65, 1), 0);
	assert_int_equal(slab.size, 128);
	slab_deinit(&slab);

	assert_int_equal(slab_init(&slab, 0, 1), -ENOMEM);
	assert_int_equal(slab_init(&slab, SIZE_MAX, 1), -ENOMEM);
	assert_int_equal(slab_init(&slab, SIZE_MAX / 2, 3), -ENOMEM);
	slab_deinit(&slab);

	assert_int_equal(slab_init(&slab, 64, 0), 0);
	assert_null(slab_get(&slab));
	slab_deinit(&slab);
}

static void test_zeroed_deinit(void **state)
{
	struct slab slab = {0};

	slab_deinit(&slab);
	assert_null(slab_get(&slab));
}

static void deinit_with_one_out(void *arg)
{
	struct slab slab;

	if (slab_init(&slab, 64, 2) == 0 && slab_get(&slab))
		slab_deinit(&slab);
}

static void put_too_many(void *arg)
{
	struct slab slab;

	if (slab_init(&slab, 64, 2) == 0)
		slab_put(&slab, slab.mem);
}

static void put_foreign(void *arg)
{
	struct slab slab;
	long foreign;

	if (slab_init(&slab, 64, 2) == 0 && slab_get(&slab))
		slab_put(&slab, &foreign);
}

static void test_misuse_aborts(void **state)
{
	assert_true(aborts(deinit_with_one_out, NULL));
	assert_true(aborts(put_too_many, NULL));
	assert_true(aborts(put_foreign, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_objects),
		cmocka_unit_test(test_last_in_first_out),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_zeroed_deinit),
		cmocka_unit_test(test_misuse_aborts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
