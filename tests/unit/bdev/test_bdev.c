/* SPDX-License-Identifier: BSD-3-Clause */
/* The registry, and the way of an I/O through bdev.c, seen by a driver that
 * writes down what it is asked. */
#include "world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bdev/driver.h"

#define BS	  512
#define NBLOCKS	  2048
#define CALLS_MAX 64

static const struct sim_options options = {
	.seed = 3,
	.nreactors = 2,
	.latency_max_ns = 1000,
};

/* ---- The driver. */

struct call {
	enum bdev_op op;
	bool fua;
	uint64_t offset, len;
	unsigned int iovcnt;
};

struct toy {
	uint8_t mem[NBLOCKS * BS];
	struct call calls[CALLS_MAX];
	unsigned int ncalls;
	bool later;	      /* completes from the loop */
	unsigned int fail_at; /* call number from 1; 0 = never */
	int error;
	int open_error;
	unsigned int opened, closed, destroyed;
};

static int toy_do(struct toy *t, struct bdev_io *io)
{
	uint8_t *p = t->mem + io->offset;
	uint64_t total = 0;
	unsigned int i;

	if (t->ncalls == t->fail_at)
		return t->error;
	for (i = 0; i < io->iovcnt; i++)
		total += io->iov[i].iov_len;
	assert_true(io->iovcnt == 0 || total == io->len);
	for (i = 0; i < io->iovcnt; i++) {
		if (io->op == BDEV_READ)
			memcpy(io->iov[i].iov_base, p, io->iov[i].iov_len);
		else
			memcpy(p, io->iov[i].iov_base, io->iov[i].iov_len);
		p += io->iov[i].iov_len;
	}
	if (io->op == BDEV_UNMAP || io->op == BDEV_WRITE_ZEROES)
		memset(p, 0, io->len);
	return 0;
}

static int toy_work(struct op *op)
{
	struct bdev_io *io = container_of(op, struct bdev_io, rop);

	return toy_do(io->ch->bdev->driver_data, io);
}

static void toy_done(struct op *op)
{
	bdev_io_complete(container_of(op, struct bdev_io, rop), op->res);
}

static enum bdev_status toy_submit(struct bdev_channel *ch, struct bdev_io *io)
{
	struct toy *t = ch->bdev->driver_data;
	struct call *c = &t->calls[t->ncalls++];

	assert_true(t->ncalls < CALLS_MAX);
	*c = (struct call){io->op, io->fua, io->offset, io->len, io->iovcnt};
	if (t->later) {
		io->rop.done = toy_done;
		reactor_offload(ch->reactor, &io->rop, toy_work);
		return BDEV_PENDING;
	}
	io->result = toy_do(t, io);
	return BDEV_DONE;
}

static int toy_open(struct bdev_channel *ch)
{
	struct toy *t = ch->bdev->driver_data;

	t->opened += !t->open_error;
	return t->open_error;
}

static void toy_close(struct bdev_channel *ch)
{
	((struct toy *)ch->bdev->driver_data)->closed++;
}

static void toy_destroy(struct bdev *b)
{
	((struct toy *)b->driver_data)->destroyed++;
}

static const struct bdev_driver toy_driver = {
	.name = "toy",
	.destroy = toy_destroy,
	.submit = toy_submit,
	.channel_open = toy_open,
	.channel_close = toy_close,
};

static struct bdev *new_toy(struct world *w, struct toy *t, const char *name)
{
	struct bdev_common c = {.name = name};
	const char *why;
	struct bdev *b;
	int r;

	b = bdev_alloc(w->reg, &toy_driver, &c, NULL, &r, &why);
	assert_non_null(b);
	b->product = "Toy";
	b->driver_data = t;
	b->nblocks = NBLOCKS;
	b->block_size = b->phys_block_size = BS;
	bdev_register(b);
	return b;
}

struct fixture {
	struct world w;
	struct toy *t;
	struct bdev *b;
	struct bdev_channel *ch;
	uint8_t *buf;
};

static struct fixture setup(void)
{
	struct fixture f = {.w = world_create(&options)};
	unsigned int i;

	f.t = calloc(1, sizeof(*f.t));
	f.buf = malloc(NBLOCKS * BS);
	assert_non_null(f.t);
	assert_non_null(f.buf);
	for (i = 0; i < NBLOCKS * BS; i++)
		f.buf[i] = (uint8_t)(i * 7 + i / BS);
	f.b = new_toy(&f.w, f.t, "toy");
	f.ch = world_channel(&f.w, f.b, 0);
	return f;
}

static void teardown(struct fixture *f)
{
	bdev_channel_put(f->ch);
	world_destroy(&f->w);
	assert_int_equal(f->t->destroyed, 1);
	assert_int_equal(f->t->opened, f->t->closed);
	free(f->t);
	free(f->buf);
}

/* ---- Names. */

static void test_names(void **state)
{
	struct world w = world_create(&options);
	struct bdev_common c = {0};
	char longest[BDEV_NAME_MAX + 2];
	const char *why = NULL;
	struct bdev *b, *first;

	memset(longest, 'n', sizeof(longest));
	longest[BDEV_NAME_MAX + 1] = '\0';
	c.name = longest;
	assert_int_equal(bdev_null_create(w.reg, &c, 1, 512, &b, &why),
			 -EINVAL);
	assert_non_null(why);
	longest[BDEV_NAME_MAX] = '\0';
	assert_int_equal(bdev_null_create(w.reg, &c, 1, 512, &first, &why), 0);
	assert_int_equal(bdev_null_create(w.reg, &c, 1, 512, &b, &why),
			 -EEXIST);
	c.name = "";
	assert_int_equal(bdev_null_create(w.reg, &c, 1, 512, &b, &why),
			 -EINVAL);
	c.name = "a\nb";
	assert_int_equal(bdev_null_create(w.reg, &c, 1, 512, &b, &why),
			 -EINVAL);
	/* Numbers pass over names that are taken, and are not used twice. */
	c.name = "Null1";
	assert_int_equal(bdev_null_create(w.reg, &c, 1, 512, &b, &why), 0);
	c.name = NULL;
	assert_int_equal(bdev_null_create(w.reg, &c, 1, 512, &b, &why), 0);
	assert_string_equal(b->name, "Null0");
	assert_int_equal(bdev_remove(b, NULL), 0);
	assert_int_equal(bdev_null_create(w.reg, &c, 1, 512, &b, &why), 0);
	assert_string_equal(b->name, "Null2");
	assert_int_equal(bdev_malloc_create(w.reg, &c, 1, 512, &b, &why), 0);
	assert_string_equal(b->name, "Malloc0");
	/* By age. */
	assert_ptr_equal(bdev_first(w.reg), first);
	assert_string_equal(bdev_next(first)->name, "Null1");
	assert_ptr_equal(bdev_find(w.reg, "Malloc0"), b);
	assert_null(bdev_next(b));
	world_settle(&w);
	world_destroy(&w);
}

/* ---- Users and removal. */

struct user {
	struct bdev_desc desc;
	unsigned int removes, resizes;
	bool close_now;
	struct user *also;
};

static void on_event(struct bdev_desc *desc, enum bdev_event event)
{
	struct user *u = container_of(desc, struct user, desc);

	u->removes += event == BDEV_EVENT_REMOVE;
	u->resizes += event == BDEV_EVENT_RESIZE;
	if (event == BDEV_EVENT_REMOVE && u->close_now)
		bdev_close(&u->desc);
	if (event == BDEV_EVENT_REMOVE && u->also)
		bdev_close(&u->also->desc);
}

struct removal {
	struct bdev_removal rm;
	unsigned int done;
};

static void on_removed(struct bdev_removal *rm)
{
	container_of(rm, struct removal, rm)->done++;
}

static void test_remove(void **state)
{
	struct fixture f = setup();
	struct toy *second = calloc(1, sizeof(*second));
	struct removal rm = {.rm.done = on_removed}, rm2 = rm;
	struct user u[2] = {0};
	struct bdev_channel *ch1;
	struct bdev *again;

	assert_non_null(second);
	assert_false(bdev_in_use(f.b));
	assert_int_equal(bdev_open(f.w.reg, "none", &u[0].desc, on_event),
			 -ENODEV);
	assert_int_equal(bdev_open(f.w.reg, "toy", &u[0].desc, on_event), 0);
	assert_int_equal(bdev_open(f.w.reg, "toy", &u[1].desc, on_event), 0);
	assert_true(bdev_in_use(f.b));
	ch1 = world_channel(&f.w, f.b, 1);
	assert_int_equal(bdev_remove(f.b, &rm.rm), 0);
	assert_int_equal(bdev_remove(f.b, &rm2.rm), -EBUSY);
	/* Not from inside the call. */
	assert_int_equal(u[0].removes, 0);
	assert_null(bdev_find(f.w.reg, "toy"));
	assert_int_equal(bdev_open(f.w.reg, "toy", &u[0].desc, on_event),
			 -EBUSY);
	/* The name can be had at once. */
	again = new_toy(&f.w, second, "toy");
	world_settle(&f.w);
	assert_int_equal(u[0].removes, 1);
	assert_int_equal(u[1].removes, 1);
	assert_int_equal(f.t->destroyed, 0);
	/* I/O goes on until the user lets go. */
	assert_int_equal(world_rw(&f.w, ch1, BDEV_WRITE, 0, f.buf, BS), 0);
	bdev_channel_put(ch1);
	bdev_channel_put(f.ch);
	bdev_close(&u[0].desc);
	world_settle(&f.w);
	assert_int_equal(f.t->destroyed, 0);
	bdev_close(&u[1].desc);
	assert_int_equal(rm.done, 0);
	world_settle(&f.w);
	assert_int_equal(rm.done, 1);
	assert_int_equal(rm2.done, 0);
	assert_int_equal(f.t->destroyed, 1);
	assert_ptr_equal(bdev_find(f.w.reg, "toy"), again);
	f.ch = world_channel(&f.w, again, 0);
	assert_int_equal(f.t->closed, 2);
	free(take(&f.t));
	f.t = second;
	f.b = again;
	teardown(&f);
}

/* Users that close in the event, one also for its neighbour. */
static void test_remove_closing(void **state)
{
	struct fixture f = setup();
	struct removal rm = {.rm.done = on_removed};
	struct user u[3] = {{.close_now = true, .also = &u[1]},
			    {.close_now = false},
			    {.close_now = true}};
	unsigned int i;

	for (i = 0; i < 3; i++)
		assert_int_equal(
			bdev_open(f.w.reg, "toy", &u[i].desc, on_event), 0);
	bdev_channel_put(f.ch);
	assert_int_equal(bdev_remove(f.b, &rm.rm), 0);
	world_settle(&f.w);
	assert_int_equal(u[0].removes, 1);
	assert_int_equal(u[1].removes, 0);
	assert_int_equal(u[2].removes, 1);
	assert_int_equal(rm.done, 1);
	f.b = new_toy(&f.w, f.t, "toy");
	f.t->destroyed = 0;
	f.ch = world_channel(&f.w, f.b, 0);
	teardown(&f);
}

static void test_claim(void **state)
{
	static const int one, other;
	struct fixture f = setup();
	struct user u[3] = {0};

	assert_int_equal(bdev_open(f.w.reg, "toy", &u[0].desc, on_event), 0);
	assert_int_equal(
		bdev_open_claimed(f.w.reg, "toy", &one, &u[1].desc, on_event),
		-EBUSY);
	bdev_close(&u[0].desc);
	assert_int_equal(
		bdev_open_claimed(f.w.reg, "toy", &one, &u[0].desc, on_event),
		0);
	assert_int_equal(
		bdev_open_claimed(f.w.reg, "toy", &one, &u[1].desc, on_event),
		0);
	assert_int_equal(
		bdev_open_claimed(f.w.reg, "toy", &other, &u[2].desc, on_event),
		-EBUSY);
	assert_int_equal(bdev_open(f.w.reg, "toy", &u[2].desc, on_event),
			 -EBUSY);
	bdev_close(&u[0].desc);
	assert_int_equal(bdev_open(f.w.reg, "toy", &u[2].desc, on_event),
			 -EBUSY);
	bdev_close(&u[1].desc);
	assert_int_equal(bdev_open(f.w.reg, "toy", &u[2].desc, on_event), 0);
	bdev_close(&u[2].desc);
	teardown(&f);
}

static void test_channels(void **state)
{
	struct fixture f = setup();
	struct bdev_channel *a, *b;

	assert_int_equal(f.t->opened, 1);
	a = world_channel(&f.w, f.b, 0);
	assert_ptr_equal(a, f.ch);
	assert_int_equal(f.t->opened, 1);
	b = world_channel(&f.w, f.b, 1);
	assert_ptr_not_equal(a, b);
	assert_int_equal(f.t->opened, 2);
	bdev_channel_put(a);
	bdev_channel_put(b);
	assert_int_equal(f.t->closed, 1);
	f.t->open_error = -ENOMEM;
	assert_null(bdev_channel_get(f.b, reactors_get(f.w.set, 1)));
	f.t->open_error = 0;
	b = world_channel(&f.w, f.b, 1);
	bdev_channel_put(b);
	teardown(&f);
}

static void put_busy(void *arg)
{
	bdev_channel_put(arg);
}

static void set_true(struct bdev_io *io)
{
	*(bool *)(uintptr_t)io->driver[7] = true;
}

/* The contract of channels is kept by an assertion. */
static void test_put_busy(void **state)
{
	struct fixture f = setup();
	bool done = false;
	struct iovec iov = {f.buf, BS};
	struct bdev_io io = {.op = BDEV_READ,
			     .len = BS,
			     .iov = &iov,
			     .iovcnt = 1,
			     .done = set_true};

	f.t->later = true;
	io.driver[7] = (uintptr_t)&done;
	assert_int_equal(bdev_submit(f.ch, &io), BDEV_PENDING);
	assert_true(aborts(put_busy, f.ch));
	assert_false(done);
	world_settle(&f.w);
	assert_true(done);
	teardown(&f);
}

/* ---- Checks. */

static void test_range(void **state)
{
	static const struct {
		uint64_t offset, len;
		int result;
	} rows[] = {
		{0, BS, 0},
		{(NBLOCKS - 1) * BS, BS, 0},
		{0, NBLOCKS * BS, 0},
		{NBLOCKS * BS, 0, 0},
		{NBLOCKS * BS, BS, -EINVAL},
		{(NBLOCKS - 1) * BS, 2 * BS, -EINVAL},
		{(NBLOCKS + 1) * BS, 0, -EINVAL},
		{BS, UINT64_MAX - BS + 1, -EINVAL},
		{UINT64_MAX - BS + 1, BS, -EINVAL},
		{UINT64_MAX - BS + 1, 2 * BS, -EINVAL},
		{1, BS, -EINVAL},
		{0, 1, -EINVAL},
		{0, BS + 1, -EINVAL},
	};
	struct fixture f = setup();
	enum bdev_op op;
	unsigned int i;

	f.b->caps = BDEV_CAP_UNMAP | BDEV_CAP_WRITE_ZEROES | BDEV_CAP_FLUSH;
	for (op = 0; op <= BDEV_WRITE_ZEROES; op++) {
		for (i = 0; i < ARRAY_LEN(rows); i++) {
			f.t->ncalls = 0;
			assert_int_equal(
				world_rw(&f.w, f.ch, op, rows[i].offset,
					 op < BDEV_FLUSH ? f.buf : NULL,
					 rows[i].len),
				rows[i].result);
			if (rows[i].result ||
			    (!rows[i].len && op != BDEV_FLUSH))
				assert_int_equal(f.t->ncalls, 0);
			else
				assert_int_equal(f.t->ncalls, 1);
		}
	}
	teardown(&f);
}

static void test_what_cannot_be(void **state)
{
	struct fixture f = setup();

	assert_int_equal(world_rw(&f.w, f.ch, BDEV_UNMAP, 0, NULL, BS),
			 -ENOTSUP);
	assert_int_equal(world_rw(&f.w, f.ch, BDEV_FLUSH, 0, NULL, 0), 0);
	f.b->caps = BDEV_CAP_UNMAP | BDEV_CAP_WRITE_ZEROES;
	f.b->read_only = true;
	assert_int_equal(world_rw(&f.w, f.ch, BDEV_UNMAP, 0, NULL, BS), -EROFS);
	assert_int_equal(world_rw(&f.w, f.ch, BDEV_WRITE_ZEROES, 0, NULL, BS),
			 -EROFS);
	assert_int_equal(world_rw(&f.w, f.ch, BDEV_WRITE, 0, f.buf, BS),
			 -EROFS);
	assert_int_equal(f.t->ncalls, 0);
	assert_int_equal(world_rw(&f.w, f.ch, BDEV_READ, 0, f.buf, BS), 0);
	assert_int_equal(f.t->ncalls, 1);
	teardown(&f);
}

/* ---- Parts. */

static int split_io(struct fixture *f, enum bdev_op op, const size_t *lens,
		    unsigned int n)
{
	struct iovec iov[BDEV_IOV_MAX * 2];
	struct bdev_io io = {
		.op = op, .offset = 3 * BS, .iov = iov, .iovcnt = n};
	unsigned int i;

	for (i = 0; i < n; i++) {
		iov[i].iov_base = f->buf + io.len;
		iov[i].iov_len = lens[i];
		io.len += lens[i];
	}
	f->t->ncalls = 0;
	return world_io(&f->w, f->ch, &io);
}

static void test_parts(void **state)
{
	static const size_t lens[] = {700, 0, 3000, 396, 100, 100, 824, 4096};
	static const uint64_t want[] = {2048, 2048, 2048, 2048, 1024};
	struct fixture f = setup();
	uint8_t *copy = malloc(9216);
	uint64_t at;
	unsigned int i;
	int later;

	assert_non_null(copy);
	memcpy(copy, f.buf, 9216);
	f.b->max_io = 2048;
	for (later = 0; later < 2; later++) {
		f.t->later = later;
		memset(f.t->mem, 0, sizeof(f.t->mem));
		assert_int_equal(
			split_io(&f, BDEV_WRITE, lens, ARRAY_LEN(lens)), 0);
		assert_int_equal(f.t->ncalls, ARRAY_LEN(want));
		for (i = 0, at = 3 * BS; i < ARRAY_LEN(want); i++) {
			assert_int_equal(f.t->calls[i].offset, at);
			assert_int_equal(f.t->calls[i].len, want[i]);
			at += want[i];
		}
		assert_memory_equal(f.t->mem + 3 * BS, copy, 9216);
		memset(f.buf, 0, 9216);
		assert_int_equal(split_io(&f, BDEV_READ, lens, ARRAY_LEN(lens)),
				 0);
		assert_memory_equal(f.buf, copy, 9216);
		/* The first failure ends it. */
		f.t->ncalls = 0;
		f.t->fail_at = 3;
		f.t->error = -EIO;
		assert_int_equal(
			split_io(&f, BDEV_WRITE, lens, ARRAY_LEN(lens)), -EIO);
		assert_int_equal(f.t->ncalls, 3);
		f.t->fail_at = 0;
	}
	free(copy);
	teardown(&f);
}

/* More iovecs than a driver takes; and so small that no part holds a block. */
static void test_many_iovecs(void **state)
{
	size_t lens[BDEV_IOV_MAX * 2];
	struct fixture f = setup();
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(lens); i++)
		lens[i] = 128;
	assert_int_equal(split_io(&f, BDEV_WRITE, lens, BDEV_IOV_MAX), 0);
	assert_int_equal(f.t->ncalls, 1);
	assert_int_equal(split_io(&f, BDEV_WRITE, lens, BDEV_IOV_MAX + 4), 0);
	assert_int_equal(f.t->ncalls, 9);
	for (i = 0; i < f.t->ncalls; i++)
		assert_true(f.t->calls[i].iovcnt <= BDEV_PART_IOVS);
	assert_memory_equal(f.t->mem + 3 * BS, f.buf, 128 * 68);
	/* Parts that end within an iovec, or some iovecs before the last. */
	for (i = 0; i < ARRAY_LEN(lens); i++)
		lens[i] = 200;
	assert_int_equal(split_io(&f, BDEV_WRITE, lens, 128), 0);
	assert_memory_equal(f.t->mem + 3 * BS, f.buf, 128 * 200);
	for (i = 0; i < ARRAY_LEN(lens); i++)
		lens[i] = i % 6 ? 1 : 600;
	lens[125] = 96;
	assert_int_equal(split_io(&f, BDEV_WRITE, lens, 126), 0);
	assert_memory_equal(f.t->mem + 3 * BS, f.buf, 25 * BS);
	for (i = 0; i < ARRAY_LEN(lens); i++)
		lens[i] = 32;
	assert_int_equal(split_io(&f, BDEV_WRITE, lens, ARRAY_LEN(lens)),
			 -EINVAL);
	assert_int_equal(f.t->ncalls, 0);
	teardown(&f);
}

/* ---- Emulations. */

struct fua_row {
	uint32_t caps;
	bool write_cache;
	enum bdev_op op;
	/* What the driver gets. */
	bool fua;
	bool flush;
};

static void test_fua(void **state)
{
	static const struct fua_row rows[] = {
		{BDEV_CAP_FLUSH, true, BDEV_WRITE, false, true},
		{BDEV_CAP_FLUSH, false, BDEV_WRITE, false, false},
		{BDEV_CAP_FLUSH | BDEV_CAP_FUA, true, BDEV_WRITE, true, false},
		{0, false, BDEV_WRITE, false, false},
		{BDEV_CAP_FLUSH | BDEV_CAP_WRITE_ZEROES | BDEV_CAP_FUA, true,
		 BDEV_WRITE_ZEROES, false, true},
		{BDEV_CAP_FLUSH | BDEV_CAP_FUA, true, BDEV_WRITE_ZEROES, false,
		 true},
	};
	struct fixture f = setup();
	struct iovec iov = {f.buf, BS};
	unsigned int i, later;

	for (i = 0; i < ARRAY_LEN(rows) * 2; i++) {
		const struct fua_row *row = &rows[i / 2];
		struct bdev_io io = {.op = row->op, .fua = true, .len = BS};

		if (row->op == BDEV_WRITE) {
			io.iov = &iov;
			io.iovcnt = 1;
		}
		later = i % 2;
		f.b->caps = row->caps;
		f.b->write_cache = row->write_cache;
		f.t->later = later;
		f.t->ncalls = 0;
		assert_int_equal(world_io(&f.w, f.ch, &io), 0);
		assert_true(io.fua);
		assert_int_equal(f.t->ncalls, 1 + row->flush);
		assert_int_equal(f.t->calls[0].fua, row->fua);
		if (row->flush)
			assert_int_equal(f.t->calls[1].op, BDEV_FLUSH);
		/* The flush fails, so the write did. */
		f.t->ncalls = 0;
		f.t->fail_at = 1 + row->flush;
		f.t->error = -EIO;
		assert_int_equal(world_io(&f.w, f.ch, &io), -EIO);
		f.t->fail_at = 0;
	}
	teardown(&f);
}

static void test_zeroes(void **state)
{
	struct fixture f = setup();
	uint64_t len = (NBLOCKS - 2) * BS, i;
	int later;

	for (later = 0; later < 2; later++) {
		f.t->later = later;
		memset(f.t->mem, 0xcc, sizeof(f.t->mem));
		f.t->ncalls = 0;
		f.b->max_io = 100 * BS;
		f.b->caps = 0;
		assert_int_equal(
			world_rw(&f.w, f.ch, BDEV_WRITE_ZEROES, BS, NULL, len),
			0);
		assert_int_equal(f.t->ncalls, (NBLOCKS - 2 + 99) / 100);
		assert_int_equal(f.t->mem[BS - 1], 0xcc);
		assert_int_equal(f.t->mem[BS + len], 0xcc);
		for (i = 0; i < len; i++)
			assert_int_equal(f.t->mem[BS + i], 0);
		/* A driver that finds out late that it cannot. */
		memset(f.t->mem, 0xcc, sizeof(f.t->mem));
		f.t->ncalls = 0;
		f.t->fail_at = 1;
		f.t->error = -EOPNOTSUPP;
		f.b->caps = BDEV_CAP_UNMAP | BDEV_CAP_WRITE_ZEROES;
		f.b->max_io = UINT32_MAX & ~(BS - 1);
		assert_int_equal(
			world_rw(&f.w, f.ch,
				 later ? BDEV_UNMAP : BDEV_WRITE_ZEROES, BS,
				 NULL, BS * 9),
			0);
		assert_int_equal(f.t->ncalls, 2);
		assert_int_equal(f.t->calls[1].op, BDEV_WRITE);
		for (i = 0; i < BS * 9; i++)
			assert_int_equal(f.t->mem[BS + i], 0);
		assert_int_equal(f.t->mem[BS * 10], 0xcc);
		f.t->fail_at = 0;
	}
	teardown(&f);
}

/* ---- Statistics and size. */

static void test_stats(void **state)
{
	struct fixture f = setup();
	struct bdev_channel *ch = world_channel(&f.w, f.b, 1);
	struct bdev_stats s;
	int i;

	f.b->max_io = BS;
	for (i = 0; i < 3; i++)
		world_rw(&f.w, f.ch, BDEV_READ, 0, f.buf, 8 * BS);
	f.t->later = true;
	for (i = 0; i < 2; i++)
		world_rw(&f.w, ch, BDEV_WRITE, 0, f.buf, 4 * BS);
	world_rw(&f.w, ch, BDEV_WRITE, NBLOCKS * BS, f.buf, BS);
	bdev_count(ch, BDEV_READ, 100 * BS);
	bdev_get_stats(f.b, &s);
	assert_int_equal(s.ops[BDEV_READ], 4);
	assert_int_equal(s.bytes[BDEV_READ], (24 + 100) * BS);
	assert_int_equal(s.latency_ns[BDEV_READ], 0);
	assert_int_equal(s.ops[BDEV_WRITE], 2);
	assert_int_equal(s.bytes[BDEV_WRITE], 8 * BS);
	assert_true(s.latency_ns[BDEV_WRITE] > 0);
	assert_int_equal(s.errors, 1);
	/* They outlive the channel. */
	bdev_channel_put(ch);
	bdev_get_stats(f.b, &s);
	assert_int_equal(s.ops[BDEV_WRITE], 2);
	bdev_reset_stats(f.b);
	bdev_get_stats(f.b, &s);
	assert_int_equal(s.ops[BDEV_WRITE] + s.errors + s.bytes[BDEV_READ], 0);
	world_rw(&f.w, f.ch, BDEV_READ, 0, f.buf, BS);
	bdev_get_stats(f.b, &s);
	assert_int_equal(s.ops[BDEV_READ], 1);
	teardown(&f);
}

static void test_resize(void **state)
{
	struct world w = world_create(&options);
	struct bdev_common c = {.name = "n"};
	struct user u = {0};
	struct bdev *b;

	assert_int_equal(bdev_null_create(w.reg, &c, 100, 512, &b, NULL), 0);
	assert_int_equal(bdev_rescan(b), -ENOTSUP);
	assert_int_equal(bdev_resize(b, 0), -EINVAL);
	assert_int_equal(bdev_resize(b, 50), 0);
	assert_int_equal(bdev_open(w.reg, "n", &u.desc, on_event), 0);
	world_settle(&w);
	u.resizes = 0;
	assert_int_equal(bdev_resize(b, 50), 0);
	assert_int_equal(bdev_resize(b, 49), -EBUSY);
	world_settle(&w);
	assert_int_equal(u.resizes, 0);
	assert_int_equal(bdev_resize(b, 200), 0);
	assert_int_equal(bdev_resize(b, 300), 0);
	assert_int_equal(b->nblocks, 300);
	world_settle(&w);
	assert_int_equal(u.resizes, 1);
	bdev_close(&u.desc);
	world_destroy(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_remove),
		cmocka_unit_test(test_remove_closing),
		cmocka_unit_test(test_claim),
		cmocka_unit_test(test_channels),
		cmocka_unit_test(test_put_busy),
		cmocka_unit_test(test_range),
		cmocka_unit_test(test_what_cannot_be),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_many_iovecs),
		cmocka_unit_test(test_fua),
		cmocka_unit_test(test_zeroes),
		cmocka_unit_test(test_stats),
		cmocka_unit_test(test_resize),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
