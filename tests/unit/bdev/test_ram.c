/* SPDX-License-Identifier: BSD-3-Clause */
/* The drivers malloc and null. */
#include "world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static const struct sim_options options = {
	.seed = 7,
	.nreactors = 2,
	.latency_max_ns = 100000,
};

static struct bdev *new_malloc(struct world *w, const char *name,
			       uint64_t nblocks, uint32_t block_size)
{
	struct bdev_common c = {.name = name};
	const char *why = NULL;
	struct bdev *b = NULL;

	assert_int_equal(
		bdev_malloc_create(w->reg, &c, nblocks, block_size, &b, &why),
		0);
	assert_null(why);
	return b;
}

static void test_malloc_model(void **state)
{
	static const uint32_t sizes[] = {512, 4096, 65536};
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(sizes); i++) {
		struct world w = world_create(&options);
		struct bdev *b;

		b = new_malloc(&w, NULL, (2u << 20) / sizes[i], sizes[i]);
		assert_string_equal(b->name, "Malloc0");
		assert_string_equal(b->product, "Malloc disk");
		world_model_test(&w, b, 3000, 1, false);
		world_destroy(&w);
	}
}

/* map() is the medium, and neighbours of an unmapped range keep their bytes,
 * below and above the size where pages are given back. */
static void test_malloc_unmap_edges(void **state)
{
	static const uint64_t lens[] = {512,	 4096,	      65536 - 512,
					65536,	 65536 + 512, 300 * 512,
					1 << 20, 40 << 20};
	struct world w = world_create(&options);
	struct bdev *b = new_malloc(&w, "m", 64u << 11, 512);
	struct bdev_channel *ch = world_channel(&w, b, 0);
	uint64_t i, j, size = bdev_size(b);
	uint8_t *mem = bdev_map(ch, 0, size);

	assert_non_null(mem);
	assert_null(bdev_map(ch, 512, size));
	assert_null(bdev_map(ch, size + 512, 0));
	for (i = 0; i < ARRAY_LEN(lens); i++) {
		uint64_t at = 7 * 512 + 4096 * i;

		memset(mem + at - 512, 0xa5, lens[i] + 1024);
		assert_int_equal(
			world_rw(&w, ch, i % 2 ? BDEV_UNMAP : BDEV_WRITE_ZEROES,
				 at, NULL, lens[i]),
			0);
		for (j = 0; j < 512; j++) {
			assert_int_equal(mem[at - 512 + j], 0xa5);
			assert_int_equal(mem[at + lens[i] + j], 0xa5);
		}
		for (j = 0; j < lens[i]; j++) {
			if (mem[at + j])
				fail();
		}
	}
	bdev_channel_put(ch);
	world_destroy(&w);
}

/* Nothing is resident before it is touched, nor after it was unmapped. */
static void test_malloc_lazy(void **state)
{
	struct world w = world_create(&options);
	struct bdev *b = new_malloc(&w, "m", 64u << 8, 4096);
	struct bdev_channel *ch = world_channel(&w, b, 1);
	uint64_t i, resident, size = bdev_size(b);
	uint8_t *mem = bdev_map(ch, 0, size), *vec = malloc(size / 4096);
	int round;

	assert_non_null(vec);
	for (round = 0; round < 2; round++) {
		assert_int_equal(mincore(mem, size, vec), 0);
		for (i = resident = 0; i < size / 4096; i++)
			resident += vec[i] & 1;
		assert_int_equal(resident, 0);
		memset(mem, 1, size);
		assert_int_equal(world_rw(&w, ch, BDEV_UNMAP, 0, NULL, size),
				 0);
	}
	free(vec);
	bdev_channel_put(ch);
	world_destroy(&w);
}

/* A RAM disk has nothing volatile apart from itself: flush is no work, and it
 * knows of no extents. */
static void test_malloc_rest(void **state)
{
	struct world w = world_create(&options);
	struct bdev *b = new_malloc(&w, "m", 100, 512);
	struct bdev_channel *ch = world_channel(&w, b, 0);
	struct bdev_io io = {.op = BDEV_EXTENT, .offset = 512};

	assert_false(b->write_cache);
	assert_int_equal(bdev_submit(ch, &io), BDEV_DONE);
	assert_int_equal(io.result, 0);
	assert_true(io.allocated);
	assert_int_equal(io.extent_len, 99 * 512);
	io = (struct bdev_io){.op = BDEV_FLUSH};
	assert_int_equal(bdev_submit(ch, &io), BDEV_DONE);
	assert_int_equal(io.result, 0);
	assert_int_equal(bdev_resize(b, 200), -ENOTSUP);
	assert_int_equal(bdev_rescan(b), -ENOTSUP);
	bdev_channel_put(ch);
	world_destroy(&w);
}

static void test_geometry(void **state)
{
	static const struct {
		uint64_t nblocks;
		uint32_t bs, phys;
		int result;
	} rows[] = {
		{1, 512, 0, 0},
		{0, 512, 0, -EINVAL},
		{8, 256, 0, -EINVAL},
		{8, 513, 0, -EINVAL},
		{8, 768, 0, -EINVAL},
		{8, 0, 0, -EINVAL},
		{8, 65536, 0, 0},
		{8, 131072, 0, -EINVAL},
		{8, 512, 4096, 0},
		{8, 4096, 512, -EINVAL},
		{8, 512, 3000, -EINVAL},
		{8, 512, 131072, -EINVAL},
		{UINT64_MAX, 512, 0, -EINVAL},
		{1ull << 54, 512, 0, -EINVAL},
	};
	struct world w = world_create(&options);
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(rows); i++) {
		struct bdev_common c = {.phys_block_size = rows[i].phys};
		const char *why = NULL;
		struct bdev *b;

		assert_int_equal(bdev_malloc_create(w.reg, &c, rows[i].nblocks,
						    rows[i].bs, &b, &why),
				 rows[i].result);
		assert_int_equal(why != NULL, rows[i].result != 0);
		assert_int_equal(bdev_null_create(w.reg, &c, rows[i].nblocks,
						  rows[i].bs, &b, NULL),
				 rows[i].result);
		if (rows[i].result == 0)
			assert_int_equal(b->phys_block_size,
					 rows[i].phys ? rows[i].phys
						      : rows[i].bs);
	}
	world_destroy(&w);
}

/* More than the machine can have is refused, not promised. */
static void test_malloc_too_much(void **state)
{
	struct world w = world_create(&options);
	struct bdev_common c = {.name = "m"};
	const char *why = NULL;
	struct bdev *b;

	assert_int_equal(
		bdev_malloc_create(w.reg, &c, 1ull << 53, 512, &b, &why),
		-ENOMEM);
	assert_non_null(why);
	assert_null(bdev_find(w.reg, "m"));
	world_destroy(&w);
}

static void test_null(void **state)
{
	static const enum bdev_op ops[] = {BDEV_WRITE, BDEV_UNMAP,
					   BDEV_WRITE_ZEROES, BDEV_FLUSH};
	struct bdev_common c = {0};
	struct world w = world_create(&options);
	struct bdev_channel *ch;
	uint8_t buf[8192], zero[8192] = {0};
	struct bdev *b;
	unsigned int i;

	assert_int_equal(bdev_null_create(w.reg, &c, 1ull << 40, 512, &b, NULL),
			 0);
	assert_string_equal(b->name, "Null0");
	assert_string_equal(b->product, "Null disk");
	ch = world_channel(&w, b, 1);
	for (i = 0; i < ARRAY_LEN(ops); i++) {
		memset(buf, 0x77, sizeof(buf));
		assert_int_equal(world_rw(&w, ch, ops[i], 1ull << 48,
					  ops[i] == BDEV_WRITE ? buf : NULL,
					  sizeof(buf)),
				 0);
		assert_int_equal(world_rw(&w, ch, BDEV_READ, 1ull << 48, buf,
					  sizeof(buf)),
				 0);
		assert_memory_equal(buf, zero, sizeof(buf));
	}
	assert_null(bdev_map(ch, 0, 512));
	bdev_channel_put(ch);
	world_destroy(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_malloc_model),
		cmocka_unit_test(test_malloc_unmap_edges),
		cmocka_unit_test(test_malloc_lazy),
		cmocka_unit_test(test_malloc_rest),
		cmocka_unit_test(test_geometry),
		cmocka_unit_test(test_malloc_too_much),
		cmocka_unit_test(test_null),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
