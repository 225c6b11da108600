/* SPDX-License-Identifier: BSD-3-Clause */
/* Bdevs on top of bdevs. */
#include "world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bdev/vbdev.h"

#define KIB 1024u
#define MS  1000000ull

static const struct sim_options options = {
	.seed = 5,
	.nreactors = 3,
	.latency_max_ns = 100000,
};

static struct bdev *new_base(struct world *w, const char *name)
{
	struct bdev_common c = {.name = name};
	struct bdev *b;

	assert_int_equal(bdev_malloc_create(w->reg, &c, 2048, 512, &b, NULL),
			 0);
	return b;
}

static struct bdev *new_error(struct world *w, const char *base)
{
	const char *why = NULL;
	struct bdev *b;

	if (bdev_error_create(w->reg, NULL, base, &b, &why))
		fail_msg("%s", why);
	return b;
}

static struct bdev *new_delay(struct world *w, const char *base,
			      uint64_t avg_us, uint64_t p99_us)
{
	const uint64_t us[BDEV_LATENCY_COUNT] = {avg_us, p99_us, 2 * avg_us,
						 2 * p99_us};
	struct bdev_common c = {.name = "slow"};
	struct bdev *b;

	assert_int_equal(bdev_delay_create(w->reg, &c, base, us, &b, NULL), 0);
	return b;
}

static struct bdev *new_passthru(struct world *w, const char *name,
				 const char *base)
{
	struct bdev_common c = {.name = name};
	struct bdev *b;

	assert_int_equal(bdev_passthru_create(w->reg, &c, base, &b, NULL), 0);
	return b;
}

/* ---- All of them carry the bytes. */

/* A tower of all kinds on a file, whose I/O is never done at once. */
static void test_tower(void **state)
{
	struct world w = world_create(&options);
	struct bdev_common c = {.name = "disk"};
	char path[64];
	struct bdev *b;
	uint32_t n;
	int fd = world_memfd(2048 * KIB, path);

	assert_int_equal(bdev_file_create(w.reg, &c, path, 512, &b, NULL), 0);
	new_passthru(&w, "pt", "disk");
	new_error(&w, "pt");
	assert_int_equal(bdev_split_create(w.reg, "EE_pt", 2, 0, &n, NULL), 0);
	assert_int_equal(n, 2);
	b = new_delay(&w, "EE_ptp1", 100, 5000);
	assert_int_equal(bdev_size(b), 1024 * KIB);
	assert_int_equal(b->block_size, 512);
	assert_string_equal(bdev_base(b)->name, "EE_ptp1");
	assert_null(bdev_base(bdev_find(w.reg, "disk")));
	world_model_test(&w, b, 3000, 512, false);
	world_destroy(&w);
	close(fd);
}

/* More at once than there are children: the rest waits in line. */
#define CROWD 1000

struct crowd {
	struct bdev_io ios[CROWD];
	struct iovec iov;
	uint8_t buf[512];
	unsigned int left;
};

static void crowd_done(struct bdev_io *io)
{
	struct crowd *c = (struct crowd *)(uintptr_t)io->iov[0].iov_base;

	c = container_of((uint8_t(*)[512])c, struct crowd, buf);
	assert_int_equal(io->result, 0);
	c->left--;
}

static void test_crowd(void **state)
{
	struct crowd *c = calloc(1, sizeof(*c));
	struct world w = world_create(&options);
	struct bdev_common common = {.name = "disk"};
	struct bdev_channel *ch;
	char path[64];
	struct bdev *b;
	unsigned int i;
	int fd = world_memfd(2048 * KIB, path);

	assert_non_null(c);
	assert_int_equal(bdev_file_create(w.reg, &common, path, 512, &b, NULL),
			 0);
	new_passthru(&w, "one", "disk");
	b = new_passthru(&w, "two", "one");
	ch = world_channel(&w, b, 1);
	c->iov = (struct iovec){c->buf, 512};
	c->left = CROWD;
	for (i = 0; i < CROWD; i++) {
		c->ios[i] = (struct bdev_io){.op = BDEV_WRITE,
					     .offset = i * 512,
					     .len = 512,
					     .iov = &c->iov,
					     .iovcnt = 1,
					     .done = crowd_done};
		assert_int_equal(bdev_submit(ch, &c->ios[i]), BDEV_PENDING);
	}
	world_settle(&w);
	assert_int_equal(c->left, 0);
	bdev_channel_put(ch);
	world_destroy(&w);
	close(fd);
	free(c);
}

/* ---- Claims. */

static void on_event(struct bdev_desc *desc, enum bdev_event event)
{
	if (event == BDEV_EVENT_REMOVE)
		bdev_close(desc);
}

static void test_claims(void **state)
{
	struct world w = world_create(&options);
	struct bdev_common c = {.name = "second"};
	const char *why = NULL;
	struct bdev_desc desc;
	struct bdev *b;
	uint32_t n;

	assert_int_equal(bdev_passthru_create(w.reg, &c, "none", &b, &why),
			 -ENODEV);
	assert_non_null(why);
	new_base(&w, "m");
	new_passthru(&w, "pt", "m");
	why = NULL;
	assert_int_equal(bdev_passthru_create(w.reg, &c, "m", &b, &why),
			 -EBUSY);
	assert_non_null(why);
	assert_int_equal(bdev_error_create(w.reg, NULL, "m", &b, &why), -EBUSY);
	assert_int_equal(bdev_split_create(w.reg, "m", 2, 0, &n, &why), -EBUSY);
	assert_int_equal(bdev_open(w.reg, "m", &desc, on_event), -EBUSY);
	assert_null(bdev_find(w.reg, "second"));
	assert_null(bdev_find(w.reg, "mp0"));
	/* Given back. */
	assert_int_equal(bdev_remove(bdev_find(w.reg, "pt"), NULL), 0);
	world_settle(&w);
	assert_int_equal(bdev_open(w.reg, "m", &desc, on_event), 0);
	assert_int_equal(bdev_passthru_create(w.reg, &c, "m", &b, &why),
			 -EBUSY);
	bdev_close(&desc);
	assert_int_equal(bdev_passthru_create(w.reg, &c, "m", &b, &why), 0);
	world_destroy(&w);
}

struct removal {
	struct bdev_removal rm;
	unsigned int done;
};

static void on_removed(struct bdev_removal *rm)
{
	container_of(rm, struct removal, rm)->done++;
}

/* The base goes, and with it the tower, from the top. */
static void test_base_removed(void **state)
{
	struct world w = world_create(&options);
	struct removal rm = {.rm.done = on_removed};
	struct bdev *base = new_base(&w, "m");
	struct bdev_desc desc;
	uint32_t n;

	assert_int_equal(bdev_split_create(w.reg, "m", 4, 0, &n, NULL), 0);
	new_error(&w, "mp2");
	new_passthru(&w, "top", "EE_mp2");
	assert_int_equal(bdev_open(w.reg, "top", &desc, on_event), 0);
	assert_int_equal(bdev_remove(base, &rm.rm), 0);
	world_settle(&w);
	assert_int_equal(rm.done, 1);
	assert_null(bdev_first(w.reg));
	world_destroy(&w);
}

static void test_follow_resize(void **state)
{
	struct world w = world_create(&options);
	struct bdev_common c = {.name = "n"};
	struct bdev *base, *pt;
	uint32_t n;

	assert_int_equal(bdev_null_create(w.reg, &c, 100, 512, &base, NULL), 0);
	pt = new_passthru(&w, "pt", "n");
	assert_int_equal(bdev_split_create(w.reg, "pt", 1, 0, &n, NULL), 0);
	assert_int_equal(bdev_resize(base, 200), 0);
	world_settle(&w);
	assert_int_equal(pt->nblocks, 200);
	assert_int_equal(bdev_find(w.reg, "ptp0")->nblocks, 100);
	world_destroy(&w);
}

/* ---- split */

static void test_split(void **state)
{
	struct world w = world_create(&options);
	struct removal rm = {.rm.done = on_removed};
	struct bdev *base = new_base(&w, "m"), *b;
	struct bdev_channel *ch;
	uint8_t buf[512];
	const char *why;
	char name[16];
	uint32_t n, i;

	assert_int_equal(bdev_split_create(w.reg, "none", 2, 0, &n, &why),
			 -ENODEV);
	assert_int_equal(bdev_split_create(w.reg, "m", 0, 0, &n, &why),
			 -EINVAL);
	assert_int_equal(
		bdev_split_create(w.reg, "m", BDEV_SPLIT_MAX + 1, 0, &n, &why),
		-EINVAL);
	assert_int_equal(bdev_split_create(w.reg, "m", 2, 2048 * KIB, &n, &why),
			 -EINVAL);
	assert_int_equal(bdev_split_create(w.reg, "m", 2, 1000, &n, &why),
			 -EINVAL);
	assert_int_equal(bdev_split_delete(w.reg, "m", NULL), -ENODEV);
	/* As many as fit. */
	assert_int_equal(
		bdev_split_create(w.reg, "m", 100, 300 * KIB, &n, &why), 0);
	assert_int_equal(n, 3);
	assert_int_equal(bdev_split_create(w.reg, "m", 2, 0, &n, &why), -EBUSY);
	assert_int_equal(bdev_split_delete(w.reg, "m", &rm.rm), 0);
	world_settle(&w);
	assert_int_equal(rm.done, 1);
	assert_ptr_equal(bdev_first(w.reg), base);
	assert_null(bdev_next(base));
	/* Equal parts, and each has its place. */
	assert_int_equal(bdev_split_create(w.reg, "m", 3, 0, &n, &why), 0);
	for (i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "mp%u", i);
		b = bdev_find(w.reg, name);
		assert_string_equal(b->product, "Split Disk");
		assert_int_equal(b->nblocks, 2048 / 3);
		ch = world_channel(&w, b, i);
		memset(buf, (int)i + 1, sizeof(buf));
		assert_int_equal(world_rw(&w, ch, BDEV_WRITE, 512, buf, 512),
				 0);
		assert_int_equal(
			world_rw(&w, ch, BDEV_READ, b->nblocks * 512, buf, 512),
			-EINVAL);
		bdev_channel_put(ch);
	}
	ch = world_channel(&w, base, 0);
	for (i = 0; i < 3; i++) {
		uint8_t *mem = bdev_map(ch, (i * (2048 / 3) + 1) * 512, 512);

		assert_int_equal(mem[0], i + 1);
		assert_int_equal(mem[511], i + 1);
		assert_int_equal(mem[512], 0);
	}
	bdev_channel_put(ch);
	/* One part alone can go. */
	assert_int_equal(bdev_remove(bdev_find(w.reg, "mp1"), NULL), 0);
	world_settle(&w);
	assert_non_null(bdev_find(w.reg, "mp2"));
	world_destroy(&w);
}

/* A name of a part is taken: none is left behind, and the base is free. */
static void test_split_half(void **state)
{
	struct world w = world_create(&options);
	const char *why = NULL;
	uint32_t n;

	new_base(&w, "m");
	new_base(&w, "mp2");
	assert_int_equal(bdev_split_create(w.reg, "m", 4, 0, &n, &why),
			 -EEXIST);
	assert_non_null(why);
	world_settle(&w);
	assert_null(bdev_find(w.reg, "mp0"));
	assert_null(bdev_find(w.reg, "mp1"));
	new_passthru(&w, "pt", "m");
	world_destroy(&w);
}

/* An extent ends with the part. */
static void test_split_extent(void **state)
{
	struct world w = world_create(&options);
	struct bdev_common c = {.name = "f"};
	struct bdev_io io = {.op = BDEV_EXTENT, .offset = 512};
	struct bdev_channel *ch;
	char path[64];
	struct bdev *b;
	uint32_t n;
	int fd = world_memfd(1024 * KIB, path);

	assert_int_equal(bdev_file_create(w.reg, &c, path, 512, &b, NULL), 0);
	assert_int_equal(bdev_split_create(w.reg, "f", 4, 0, &n, NULL), 0);
	ch = world_channel(&w, bdev_find(w.reg, "fp1"), 0);
	assert_int_equal(world_io(&w, ch, &io), 0);
	assert_false(io.allocated);
	assert_int_equal(io.extent_len, 256 * KIB - 512);
	bdev_channel_put(ch);
	world_destroy(&w);
	close(fd);
}

/* ---- error */

static void test_fail(void **state)
{
	struct world w = world_create(&options);
	struct bdev_injection inj = {
		.ops = 1 << BDEV_WRITE, .fault = BDEV_FAULT_FAIL, .count = 3};
	struct bdev_channel *ch[3];
	struct bdev *b, *base = new_base(&w, "m");
	uint8_t buf[512] = {1};
	unsigned int i;

	b = new_error(&w, "m");
	assert_string_equal(b->name, "EE_m");
	assert_string_equal(b->product, "Error Injection Disk");
	for (i = 0; i < 3; i++)
		ch[i] = world_channel(&w, b, i);
	assert_int_equal(bdev_error_inject(base, &inj), -EINVAL);
	assert_int_equal(bdev_error_release(base, -EIO), -EINVAL);
	assert_int_equal(bdev_error_inject(b, &inj), 0);
	/* The count is for all cores, and other kinds are spared. */
	for (i = 0; i < 5; i++) {
		assert_int_equal(
			world_rw(&w, ch[i % 3], BDEV_WRITE, 0, buf, 512),
			i < 3 ? -EIO : 0);
		assert_int_equal(
			world_rw(&w, ch[i % 3], BDEV_READ, 512, buf, 512), 0);
	}
	inj.ops = (1 << BDEV_OP_COUNT) - 1;
	inj.error = -ENODEV;
	inj.count = UINT32_MAX;
	assert_int_equal(bdev_error_inject(b, &inj), 0);
	assert_int_equal(world_rw(&w, ch[0], BDEV_READ, 0, buf, 512), -ENODEV);
	assert_int_equal(world_rw(&w, ch[0], BDEV_FLUSH, 0, NULL, 0), -ENODEV);
	assert_int_equal(world_rw(&w, ch[0], BDEV_UNMAP, 0, NULL, 512),
			 -ENODEV);
	assert_int_equal(world_rw(&w, ch[0], BDEV_WRITE_ZEROES, 0, NULL, 512),
			 -ENODEV);
	inj.fault = BDEV_FAULT_NONE;
	assert_int_equal(bdev_error_inject(b, &inj), 0);
	assert_int_equal(world_rw(&w, ch[0], BDEV_READ, 0, buf, 512), 0);
	inj.ops = 1 << BDEV_OP_COUNT;
	assert_int_equal(bdev_error_inject(b, &inj), -EINVAL);
	inj.ops = 1;
	inj.error = EIO;
	assert_int_equal(bdev_error_inject(b, &inj), -EINVAL);
	for (i = 0; i < 3; i++)
		bdev_channel_put(ch[i]);
	world_destroy(&w);
}

static void test_corrupt(void **state)
{
	struct world w = world_create(&options);
	struct bdev_injection inj = {.ops = 1 << BDEV_WRITE | 1 << BDEV_READ,
				     .fault = BDEV_FAULT_CORRUPT,
				     .count = 1,
				     .corrupt_offset = 700,
				     .corrupt_value = 0x10};
	struct bdev *b, *base = new_base(&w, "m");
	struct bdev_channel *ch, *bch;
	uint8_t out[1024], in[1024];
	const uint8_t *mem;

	bch = world_channel(&w, base, 0);
	mem = bdev_map(bch, 0, 4096);
	b = new_error(&w, "m");
	ch = world_channel(&w, b, 0);
	assert_null(bdev_map(ch, 0, 512));
	memset(out, 0x55, sizeof(out));
	assert_int_equal(bdev_error_inject(b, &inj), 0);
	assert_int_equal(world_rw(&w, ch, BDEV_WRITE, 0, out, 1024), 0);
	assert_int_equal(mem[699], 0x55);
	assert_int_equal(mem[700], 0x45);
	assert_int_equal(mem[701], 0x55);
	/* The writer's own bytes are as they were. */
	assert_int_equal(out[700], 0x55);
	assert_int_equal(world_rw(&w, ch, BDEV_WRITE, 0, out, 1024), 0);
	assert_int_equal(mem[700], 0x55);
	assert_int_equal(world_rw(&w, ch, BDEV_READ, 0, in, 1024), 0);
	assert_int_equal(in[700], 0x45);
	assert_int_equal(mem[700], 0x55);
	assert_int_equal(world_rw(&w, ch, BDEV_READ, 0, in, 1024), 0);
	assert_memory_equal(in, out, 1024);
	/* Too short to be hit. */
	assert_int_equal(bdev_error_inject(b, &inj), 0);
	assert_int_equal(world_rw(&w, ch, BDEV_READ, 0, in, 512), 0);
	assert_memory_equal(in, out, 512);
	bdev_channel_put(ch);
	bdev_channel_put(bch);
	world_destroy(&w);
}

struct waiting {
	struct bdev_io io;
	struct iovec iov;
	uint8_t buf[512];
	bool done;
	/* Puts the channel when all are done. */
	struct bdev_channel *ch;
};

static void waiting_done(struct bdev_io *io)
{
	struct waiting *p = container_of(io, struct waiting, io);

	assert_false(p->done);
	p->done = true;
	if (p->ch)
		bdev_channel_put(p->ch);
}

static void start_waiting(struct waiting *p, struct bdev_channel *ch)
{
	p->iov = (struct iovec){p->buf, 512};
	p->io = (struct bdev_io){.op = BDEV_READ,
				 .len = 512,
				 .iov = &p->iov,
				 .iovcnt = 1,
				 .done = waiting_done};
	p->done = false;
	p->ch = NULL;
	assert_int_equal(bdev_submit(ch, &p->io), BDEV_PENDING);
}

static void test_pending(void **state)
{
	struct world w = world_create(&options);
	struct bdev_injection inj = {
		.ops = 1 << BDEV_READ, .fault = BDEV_FAULT_PENDING, .count = 4};
	struct removal rm = {.rm.done = on_removed};
	struct bdev_channel *ch[2];
	struct bdev_desc desc;
	struct waiting p[4];
	struct bdev *b;
	uint8_t buf[512];
	int i;

	new_base(&w, "m");
	b = new_error(&w, "m");
	assert_int_equal(bdev_open(w.reg, "EE_m", &desc, on_event), 0);
	for (i = 0; i < 2; i++)
		ch[i] = world_channel(&w, b, (uint32_t)i + 1);
	assert_int_equal(bdev_error_inject(b, &inj), 0);
	start_waiting(&p[0], ch[0]);
	start_waiting(&p[1], ch[1]);
	world_settle(&w);
	assert_false(p[0].done || p[1].done);
	assert_int_equal(bdev_error_release(b, -EIO), 0);
	world_settle(&w);
	assert_true(p[0].done && p[1].done);
	assert_int_equal(p[0].io.result, -EIO);
	/* Others pass meanwhile; removal lets go of what is left. */
	start_waiting(&p[2], ch[0]);
	start_waiting(&p[3], ch[1]);
	assert_int_equal(world_rw(&w, ch[0], BDEV_READ, 0, buf, 512), 0);
	p[2].ch = ch[0];
	p[3].ch = ch[1];
	assert_int_equal(bdev_error_inject(b, &inj), 0);
	assert_int_equal(bdev_remove(b, &rm.rm), 0);
	assert_int_equal(bdev_error_inject(b, &inj), -EINVAL);
	world_settle(&w);
	for (i = 2; i < 4; i++) {
		assert_true(p[i].done);
		assert_int_equal(p[i].io.result, -ENODEV);
	}
	assert_int_equal(rm.done, 1);
	world_destroy(&w);
}

/* ---- delay */

static uint64_t timed_read(struct world *w, struct bdev_channel *ch,
			   enum bdev_op op)
{
	uint64_t before = sim_now_ns(w->set);
	uint8_t buf[512];

	assert_int_equal(world_rw(w, ch, op, 0, buf, 512), 0);
	return sim_now_ns(w->set) - before;
}

static void test_delay(void **state)
{
	struct world w = world_create(&options);
	struct bdev_channel *ch;
	struct bdev *b;
	uint64_t ns;
	int i, slow = 0;

	new_base(&w, "m");
	b = new_delay(&w, "m", 3000, 200000);
	assert_int_equal(bdev_delay_get(b, BDEV_P99_WRITE), 400000);
	ch = world_channel(&w, b, 0);
	for (i = 0; i < 200; i++) {
		ns = timed_read(&w, ch, BDEV_READ);
		assert_true(ns >= 3 * MS);
		if (ns >= 200 * MS)
			slow++;
		else
			assert_true(ns < 10 * MS);
	}
	assert_int_equal(slow, 2);
	ns = timed_read(&w, ch, BDEV_WRITE);
	assert_true(ns >= 6 * MS && ns < 20 * MS);
	assert_int_equal(bdev_delay_update(b, BDEV_AVG_READ, 50000), 0);
	ns = timed_read(&w, ch, BDEV_READ);
	assert_true(ns >= 50 * MS && ns < 60 * MS);
	assert_int_equal(bdev_delay_update(b, BDEV_LATENCY_COUNT, 1), -EINVAL);
	assert_int_equal(bdev_delay_update(b, BDEV_AVG_READ, UINT64_MAX),
			 -EINVAL);
	assert_int_equal(bdev_delay_update(bdev_find(w.reg, "m"), 0, 1),
			 -EINVAL);
	bdev_channel_put(ch);
	world_destroy(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tower),
		cmocka_unit_test(test_crowd),
		cmocka_unit_test(test_claims),
		cmocka_unit_test(test_base_removed),
		cmocka_unit_test(test_follow_resize),
		cmocka_unit_test(test_split),
		cmocka_unit_test(test_split_half),
		cmocka_unit_test(test_split_extent),
		cmocka_unit_test(test_fail),
		cmocka_unit_test(test_corrupt),
		cmocka_unit_test(test_pending),
		cmocka_unit_test(test_delay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
