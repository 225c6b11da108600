/* SPDX-License-Identifier: BSD-3-Clause */
#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct world world_create(const struct sim_options *opt)
{
	struct world w;

	assert_int_equal(sim_create(opt, &w.set), 0);
	assert_int_equal(bdev_registry_create(w.set, &w.reg), 0);
	return w;
}

static bool never(void *ctx)
{
	return false;
}

void world_settle(struct world *w)
{
	sim_run_until(w->set, never, NULL, WORLD_LIMIT_NS);
}

void world_destroy(struct world *w)
{
	struct bdev *b;

	while ((b = bdev_first(w->reg))) {
		assert_int_equal(bdev_remove(b, NULL), 0);
		world_settle(w);
	}
	bdev_registry_destroy(w->reg);
	reactors_destroy(w->set);
}

struct call {
	struct mail mail;
	void (*fn)(void *);
	void *arg;
};

static void run_call(struct mail *m)
{
	struct call *call = container_of(m, struct call, mail);

	call->fn(call->arg);
}

void world_on(struct world *w, uint32_t index, void (*fn)(void *), void *arg)
{
	struct call call = {.mail.run = run_call, .fn = fn, .arg = arg};

	mail_post(reactors_get(w->set, index), &call.mail);
	world_settle(w);
}

struct bdev_channel *world_channel(struct world *w, struct bdev *b,
				   uint32_t index)
{
	struct bdev_channel *ch;

	ch = bdev_channel_get(b, reactors_get(w->set, index));
	assert_non_null(ch);
	return ch;
}

/* ---- One I/O. */

struct one {
	struct bdev_io io;
	bool done;
};

static void one_done(struct bdev_io *io)
{
	container_of(io, struct one, io)->done = true;
}

static bool is_true(void *ctx)
{
	return *(bool *)ctx;
}

int world_io(struct world *w, struct bdev_channel *ch, struct bdev_io *io)
{
	struct one one = {.io = *io};

	one.io.done = one_done;
	if (bdev_submit(ch, &one.io) == BDEV_PENDING) {
		assert_false(one.done);
		assert_true(sim_run_until(w->set, is_true, &one.done,
					  WORLD_LIMIT_NS));
	}
	/* What the caller asked for is as it was. */
	assert_int_equal(one.io.op, io->op);
	assert_int_equal(one.io.offset, io->offset);
	assert_int_equal(one.io.len, io->len);
	assert_ptr_equal(one.io.iov, io->iov);
	assert_int_equal(one.io.iovcnt, io->iovcnt);
	io->result = one.io.result;
	io->allocated = one.io.allocated;
	io->extent_len = one.io.extent_len;
	return io->result;
}

int world_rw(struct world *w, struct bdev_channel *ch, enum bdev_op op,
	     uint64_t offset, void *buf, uint64_t len)
{
	struct iovec iov = {buf, len};
	struct bdev_io io = {
		.op = op,
		.offset = offset,
		.len = len,
		.iov = buf ? &iov : NULL,
		.iovcnt = buf ? 1 : 0,
	};

	return world_io(w, ch, &io);
}

/* ---- Files. */

int world_memfd(uint64_t size, char *path)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	snprintf(path, 64, "/proc/self/fd/%d", fd);
	return fd;
}

int world_tmpfile(uint64_t size, char *path)
{
	int fd = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	snprintf(path, 64, "/proc/self/fd/%d", fd);
	return fd;
}

/* ---- The model. */

#define MODEL_SLOTS  16
#define MODEL_IO_MAX (256u << 10)
#define MODEL_IOVS   24

struct slot {
	struct model *model;
	struct bdev_io io;
	struct iovec iov[MODEL_IOVS];
	uint8_t *mem, *buf;  /* @buf lies in @mem */
	uint64_t start, end; /* while pending io->offset may be a part's */
	bool busy;
};

struct model {
	struct world *w;
	struct bdev *bdev;
	struct bdev_channel *ch[8];
	uint32_t nch, cut;
	bool fails;
	uint8_t *image;
	bool *unknown; /* per block */
	struct slot slots[MODEL_SLOTS];
	uint32_t busy;
};

static uint64_t rnd(struct model *m, uint64_t n)
{
	return sim_random(m->w->set) % n;
}

/* What overlaps has no order, so the model could not tell its outcome. */
static bool overlaps_busy(struct model *m, uint64_t offset, uint64_t len)
{
	unsigned int i;

	for (i = 0; i < MODEL_SLOTS; i++) {
		const struct slot *s = &m->slots[i];

		if (s->busy && offset < s->end && s->start < offset + len)
			return true;
	}
	return false;
}

static void check_read(struct model *m, const struct slot *s)
{
	uint32_t bs = m->bdev->block_size;
	uint64_t i;

	for (i = 0; i < s->io.len; i += bs) {
		if (m->unknown[(s->io.offset + i) / bs])
			continue;
		assert_memory_equal(s->buf + i, m->image + s->io.offset + i,
				    bs);
	}
}

static void model_done(struct model *m, struct slot *s)
{
	uint32_t bs = m->bdev->block_size;
	struct bdev_io *io = &s->io;
	bool ok = io->result == 0;

	if (!m->fails)
		assert_int_equal(io->result, 0);
	if (io->op == BDEV_READ && ok)
		check_read(m, s);
	if (io->op == BDEV_WRITE)
		memcpy(m->image + io->offset, s->buf, io->len);
	if (io->op == BDEV_UNMAP || io->op == BDEV_WRITE_ZEROES)
		memset(m->image + io->offset, 0, io->len);
	if (io->op == BDEV_WRITE || io->op == BDEV_UNMAP ||
	    io->op == BDEV_WRITE_ZEROES)
		memset(m->unknown + io->offset / bs, !ok, io->len / bs);
	s->busy = false;
	m->busy--;
}

static void slot_done(struct bdev_io *io)
{
	struct slot *s = container_of(io, struct slot, io);

	model_done(s->model, s);
}

/* Cuts the slot's buffer into iovecs; together io.len bytes. */
static void cut_iovs(struct model *m, struct slot *s)
{
	uint64_t left = s->io.len, n;
	uint8_t *p = s->buf;
	unsigned int i;

	for (i = 0; left > 0; i++, p += n, left -= n) {
		n = left;
		if (i < MODEL_IOVS - 1 && left > m->cut && rnd(m, 3))
			n = (1 + rnd(m, left / m->cut)) * m->cut;
		n = MIN(n, left);
		s->iov[i].iov_base = p;
		s->iov[i].iov_len = n;
	}
	s->io.iov = s->iov;
	s->io.iovcnt = i;
}

static void start_one(struct model *m, struct slot *s)
{
	static const enum bdev_op ops[] = {
		BDEV_READ,	   BDEV_READ,  BDEV_READ,
		BDEV_WRITE,	   BDEV_WRITE, BDEV_WRITE,
		BDEV_WRITE_ZEROES, BDEV_UNMAP, BDEV_FLUSH,
	};
	uint32_t bs = m->bdev->block_size;
	struct bdev_io *io = &s->io;
	uint64_t i;

	memset(io, 0, sizeof(*io));
	io->op = ops[rnd(m, ARRAY_LEN(ops))];
	if (io->op == BDEV_UNMAP && !(m->bdev->caps & BDEV_CAP_UNMAP))
		io->op = BDEV_WRITE_ZEROES;
	io->done = slot_done;
	if (io->op != BDEV_FLUSH) {
		io->offset = rnd(m, m->bdev->nblocks) * bs;
		io->len = MIN(bdev_size(m->bdev) - io->offset,
			      (1 + rnd(m, rnd(m, 4) ? 16 : MODEL_IO_MAX / bs)) *
				      (uint64_t)bs);
		if (io->len > MODEL_IO_MAX)
			io->len = bs;
	}
	if (overlaps_busy(m, io->offset, io->len))
		return;
	io->fua = rnd(m, 4) == 0;
	s->buf = s->mem + rnd(m, 4096 / m->cut) * m->cut;
	if (io->op == BDEV_READ || io->op == BDEV_WRITE) {
		for (i = 0; i < io->len; i += 8) {
			uint64_t v = sim_random(m->w->set);

			memcpy(s->buf + i, &v, 8);
		}
		cut_iovs(m, s);
	}
	s->start = io->offset;
	s->end = io->offset + io->len;
	s->busy = true;
	m->busy++;
	if (bdev_submit(m->ch[rnd(m, m->nch)], io) == BDEV_DONE)
		model_done(m, s);
}

static bool all_idle(void *ctx)
{
	return ((struct model *)ctx)->busy == 0;
}

static void model_init(struct model *m, struct world *w, struct bdev *b)
{
	uint32_t i;

	m->w = w;
	m->bdev = b;
	m->nch = MIN(reactors_count(w->set), (uint32_t)ARRAY_LEN(m->ch));
	for (i = 0; i < m->nch; i++)
		m->ch[i] = world_channel(w, b, i);
	m->image = calloc(1, bdev_size(b));
	m->unknown = calloc(b->nblocks, sizeof(bool));
	assert_non_null(m->image);
	assert_non_null(m->unknown);
	for (i = 0; i < MODEL_SLOTS; i++) {
		m->slots[i].model = m;
		m->slots[i].mem = aligned_alloc(4096, MODEL_IO_MAX + 4096);
		assert_non_null(m->slots[i].mem);
	}
}

static void model_deinit(struct model *m)
{
	uint32_t i;

	for (i = 0; i < MODEL_SLOTS; i++)
		free(m->slots[i].mem);
	for (i = 0; i < m->nch; i++)
		bdev_channel_put(m->ch[i]);
	free(m->image);
	free(m->unknown);
}

/* All of the device, through each channel in turn. */
static void check_all(struct model *m)
{
	uint32_t bs = m->bdev->block_size;
	uint8_t *buf = aligned_alloc(4096, BDEV_BLOCK_MAX);
	uint64_t i;

	assert_non_null(buf);
	for (i = 0; i < m->bdev->nblocks; i++) {
		int r = world_rw(m->w, m->ch[i % m->nch], BDEV_READ, i * bs,
				 buf, bs);

		if (!m->fails)
			assert_int_equal(r, 0);
		if (r == 0 && !m->unknown[i])
			assert_memory_equal(buf, m->image + i * bs, bs);
	}
	free(buf);
}

void world_model_test(struct world *w, struct bdev *b, uint32_t rounds,
		      uint32_t cut, bool fails)
{
	struct model *m = calloc(1, sizeof(*m));
	uint32_t i;

	assert_non_null(m);
	model_init(m, w, b);
	m->cut = cut;
	m->fails = fails;
	for (i = 0; i < rounds; i++) {
		struct slot *s = &m->slots[rnd(m, MODEL_SLOTS)];

		if (!s->busy)
			start_one(m, s);
		sim_step(w->set, WORLD_LIMIT_NS);
	}
	assert_true(sim_run_until(w->set, all_idle, m, WORLD_LIMIT_NS));
	check_all(m);
	model_deinit(m);
	free(m);
}
