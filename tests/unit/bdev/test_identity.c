/* SPDX-License-Identifier: BSD-3-Clause */
/* UUIDs that are made from names: by them initiators tell disks apart. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct sim_options options = {
	.seed = 3,
	.nreactors = 1,
};

static void test_uuid(void **state)
{
	enum { N = 2000 };
	static const uint8_t given[16] = {1, 2, 3};
	uint8_t(*seen)[16] = calloc(N, 16);
	struct world w = world_create(&options);
	struct bdev_common c = {0};
	char name[16];
	struct bdev *b;
	int i, j;

	assert_non_null(seen);
	for (i = 0; i < N; i++) {
		snprintf(name, sizeof(name), "Malloc%d", i);
		c.name = name;
		assert_int_equal(bdev_null_create(w.reg, &c, 1, 512, &b, NULL),
				 0);
		memcpy(seen[i], b->uuid, 16);
		assert_int_equal(b->uuid[6] >> 4, 8);
		assert_int_equal(b->uuid[8] >> 6, 2);
		/* Any half of it tells them apart. */
		for (j = 0; j < i; j++) {
			assert_memory_not_equal(seen[j], seen[i], 8);
			assert_memory_not_equal(seen[j] + 8, seen[i] + 8, 8);
		}
	}
	/* The same after a restart. */
	world_destroy(&w);
	w = world_create(&options);
	c.name = "Malloc7";
	assert_int_equal(bdev_malloc_create(w.reg, &c, 1, 512, &b, NULL), 0);
	assert_memory_equal(b->uuid, seen[7], 16);
	c.name = "x";
	c.uuid = given;
	assert_int_equal(bdev_malloc_create(w.reg, &c, 1, 512, &b, NULL), 0);
	assert_memory_equal(b->uuid, given, 16);
	world_destroy(&w);
	/* Another disk on another machine, and again the same there. */
	for (i = 0; i < 2; i++) {
		w = world_create(&options);
		bdev_registry_set_node(w.reg, "another machine");
		c = (struct bdev_common){.name = "Malloc7"};
		assert_int_equal(
			bdev_malloc_create(w.reg, &c, 1, 512, &b, NULL), 0);
		assert_memory_not_equal(b->uuid, seen[7], 8);
		assert_memory_not_equal(b->uuid + 8, seen[7] + 8, 8);
		if (i == 1)
			assert_memory_equal(b->uuid, seen[0], 16);
		memcpy(seen[0], b->uuid, 16);
		world_destroy(&w);
	}
	free(seen);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_uuid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
