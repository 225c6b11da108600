/* SPDX-License-Identifier: BSD-3-Clause */
/* The way of an I/O: channels, checks, parts, emulations, statistics. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "bdev/bdev.h"
#include "bdev/bdev_priv.h"
#include "bdev/driver.h"

/* What the driver has in hand, or is to get next. */
enum io_step {
	STEP_WHOLE,  /* the I/O as the caller gave it */
	STEP_DATA,   /* a part of a READ or WRITE */
	STEP_ZEROES, /* a WRITE of zeroes, standing for something else */
	STEP_FLUSH,  /* the flush that makes it FUA */
	STEP_END,
};

/* Written where WRITE_ZEROES is not to be had; several at a time. */
static const uint8_t zeroes[BDEV_BLOCK_MAX] __attribute__((aligned(4096)));

/* ---- Channels. */

struct bdev_channel *bdev_channel_get(struct bdev *b, struct reactor *r)
{
	uint32_t index = reactor_index(r);
	struct bdev_channel *ch = b->channels[index];

	if (!ch) {
		ch = aligned_alloc(64, round_up(sizeof(*ch), 64));
		if (!ch)
			return NULL;
		memset(ch, 0, sizeof(*ch));
		ch->bdev = b;
		ch->reactor = r;
		/* Statistics are read from other cores. */
		__atomic_store_n(&b->channels[index], ch, __ATOMIC_RELEASE);
	}
	if (ch->refs == 0 && b->driver->channel_open &&
	    b->driver->channel_open(ch))
		return NULL;
	ch->refs++;
	return ch;
}

void bdev_channel_put(struct bdev_channel *ch)
{
	ASSERT(ch->refs > 0);
	if (--ch->refs > 0)
		return;
	ASSERT(ch->inflight == 0); /* its users' contract */
	if (ch->bdev->driver->channel_close)
		ch->bdev->driver->channel_close(ch);
	ch->driver_data = NULL;
}

/* ---- Statistics. */

static void stats_sum(const struct bdev *b, struct bdev_stats *sum)
{
	uint32_t i, n = reactors_count(bdev_registry_reactors(b->registry));
	const struct bdev_channel *ch;
	unsigned int op;

	memset(sum, 0, sizeof(*sum));
	for (i = 0; i < n; i++) {
		ch = __atomic_load_n(&b->channels[i], __ATOMIC_ACQUIRE);
		if (!ch)
			continue;
		sum->errors += shared_get(&ch->stats.errors);
		for (op = 0; op < BDEV_OP_COUNT; op++) {
			sum->ops[op] += shared_get(&ch->stats.ops[op]);
			sum->bytes[op] += shared_get(&ch->stats.bytes[op]);
			sum->latency_ns[op] +=
				shared_get(&ch->stats.latency_ns[op]);
		}
	}
}

void bdev_get_stats(const struct bdev *b, struct bdev_stats *ret)
{
	const struct bdev_stats *base = b->stats_base;
	unsigned int op;

	stats_sum(b, ret);
	ret->errors -= shared_get(&base->errors);
	for (op = 0; op < BDEV_OP_COUNT; op++) {
		ret->ops[op] -= shared_get(&base->ops[op]);
		ret->bytes[op] -= shared_get(&base->bytes[op]);
		ret->latency_ns[op] -= shared_get(&base->latency_ns[op]);
	}
}

/* Each core writes its own counters, so they are not zeroed but taken off. */
void bdev_reset_stats(struct bdev *b)
{
	struct bdev_stats *base = b->stats_base;
	struct bdev_stats sum;
	unsigned int op;

	stats_sum(b, &sum);
	shared_set(&base->errors, sum.errors);
	for (op = 0; op < BDEV_OP_COUNT; op++) {
		shared_set(&base->ops[op], sum.ops[op]);
		shared_set(&base->bytes[op], sum.bytes[op]);
		shared_set(&base->latency_ns[op], sum.latency_ns[op]);
	}
}

void bdev_count(struct bdev_channel *ch, enum bdev_op op, uint64_t len)
{
	shared_add(&ch->stats.ops[op], 1);
	shared_add(&ch->stats.bytes[op], len);
}

static void count_done(struct bdev_io *io)
{
	if (io->result)
		shared_add(&io->ch->stats.errors, 1);
	else
		bdev_count(io->ch, io->op, io->len);
}

/* ---- Checks. */

static bool in_range(const struct bdev *b, uint64_t offset, uint64_t len)
{
	uint64_t size = shared_get(&b->nblocks) * b->block_size;

	return offset <= size && len <= size - offset;
}

static bool changes_medium(enum bdev_op op)
{
	return op == BDEV_WRITE || op == BDEV_UNMAP || op == BDEV_WRITE_ZEROES;
}

static int check(const struct bdev *b, const struct bdev_io *io)
{
	uint64_t mask = b->block_size - 1;

	ASSERT(io->op < BDEV_OP_COUNT);
	if (((io->offset | io->len) & mask) ||
	    !in_range(b, io->offset, io->len))
		return -EINVAL;
	if (b->read_only && changes_medium(io->op))
		return -EROFS;
	if (io->op == BDEV_UNMAP && !(b->caps & BDEV_CAP_UNMAP))
		return -ENOTSUP;
	if (io->op == BDEV_EXTENT && !in_range(b, io->offset, b->block_size))
		return -EINVAL;
	if (io->op == BDEV_READ || io->op == BDEV_WRITE)
		ASSERT(io->len == 0 || (io->iov && io->iovcnt > 0));
	return 0;
}

/* ---- Parts and emulations. */

/*
 * The next part of the caller's iovecs, from iov_index and iov_offset: as many
 * whole blocks as max_io and part_iov hold. Its length, 0 when not one block
 * fits.
 */
static uint64_t cut_part(struct bdev_io *io)
{
	const struct bdev *b = io->ch->bdev;
	uint64_t left = MIN(io->whole.len - io->progress, b->max_io);
	uint64_t len = 0, excess;
	unsigned int n = 0, i = io->iov_index;
	size_t off = io->iov_offset;

	while (len < left && n < BDEV_PART_IOVS) {
		const struct iovec *v = &io->whole.iov[i];
		size_t take_len;

		ASSERT(i < io->whole.iovcnt);
		take_len = MIN(v->iov_len - off, left - len);
		if (take_len > 0) {
			io->part_iov[n].iov_base = (char *)v->iov_base + off;
			io->part_iov[n].iov_len = take_len;
			n++;
			len += take_len;
		}
		off = 0;
		i++;
	}
	excess = len & (b->block_size - 1);
	len -= excess;
	if (len == 0)
		return 0;
	while (excess >= io->part_iov[n - 1].iov_len)
		excess -= io->part_iov[--n].iov_len;
	io->part_iov[n - 1].iov_len -= excess;
	io->iov = io->part_iov;
	io->iovcnt = n;
	return len;
}

static void skip_part(struct bdev_io *io, uint64_t len)
{
	size_t left;

	io->progress += len;
	while (len > 0) {
		left = io->whole.iov[io->iov_index].iov_len - io->iov_offset;
		if (len < left) {
			io->iov_offset += len;
			return;
		}
		len -= left;
		io->iov_index++;
		io->iov_offset = 0;
	}
}

static uint64_t zeroes_part(struct bdev_io *io)
{
	uint64_t len = MIN(io->whole.len - io->progress, io->ch->bdev->max_io);
	uint64_t left;

	io->op = BDEV_WRITE;
	io->iov = io->part_iov;
	len = MIN(len, (uint64_t)BDEV_PART_IOVS * sizeof(zeroes));
	io->iovcnt = 0;
	for (left = len; left > 0; left -= MIN(left, sizeof(zeroes))) {
		struct iovec *v = &io->part_iov[io->iovcnt++];

		v->iov_base = (void *)(uintptr_t)zeroes;
		v->iov_len = MIN(left, sizeof(zeroes));
	}
	return len;
}

/* Sets @io up for its step. 0 or -errno. */
static int prepare(struct bdev_io *io)
{
	switch ((enum io_step)io->step) {
	case STEP_WHOLE:
	case STEP_END:
		return 0;
	case STEP_DATA:
		io->len = cut_part(io);
		break;
	case STEP_ZEROES:
		io->len = zeroes_part(io);
		break;
	case STEP_FLUSH:
		io->op = BDEV_FLUSH;
		io->offset = io->len = 0;
		io->iov = NULL;
		io->iovcnt = 0;
		return 0;
	}
	io->offset = io->whole.offset + io->progress;
	return io->len > 0 ? 0 : -EINVAL;
}

/* Must a flush follow, for want of something better? */
static bool flush_follows(const struct bdev_io *io)
{
	const struct bdev *b = io->ch->bdev;

	if (!io->whole.fua || !b->write_cache || !(b->caps & BDEV_CAP_FLUSH))
		return false;
	return io->whole.op == BDEV_WRITE_ZEROES ||
	       (io->whole.op == BDEV_WRITE && !(b->caps & BDEV_CAP_FUA));
}

/* The driver is through with the step in hand: which is next? */
static void advance(struct bdev_io *io)
{
	bool zeroing = io->op == BDEV_UNMAP || io->op == BDEV_WRITE_ZEROES;

	if (io->step == STEP_WHOLE && zeroing && io->result == -EOPNOTSUPP) {
		io->result = 0;
		io->step = STEP_ZEROES;
		return;
	}
	if (io->result || io->step == STEP_FLUSH) {
		io->step = STEP_END;
		return;
	}
	if (io->step == STEP_DATA)
		skip_part(io, io->len);
	else if (io->step == STEP_ZEROES)
		io->progress += io->len;
	else
		io->progress = io->whole.len;
	if (io->progress < io->whole.len)
		return;
	io->step = flush_follows(io) ? STEP_FLUSH : STEP_END;
}

static void remember(struct bdev_io *io)
{
	io->whole.op = io->op;
	io->whole.fua = io->fua;
	io->whole.offset = io->offset;
	io->whole.len = io->len;
	io->whole.iov = io->iov;
	io->whole.iovcnt = io->iovcnt;
	io->progress = 0;
	io->iov_index = 0;
	io->iov_offset = 0;
}

static void restore(struct bdev_io *io)
{
	io->op = io->whole.op;
	io->fua = io->whole.fua;
	io->offset = io->whole.offset;
	io->len = io->whole.len;
	io->iov = io->whole.iov;
	io->iovcnt = io->whole.iovcnt;
}

/* From the step that is set, until the driver keeps it or all is done. */
static enum bdev_status drive(struct bdev_io *io)
{
	struct bdev_channel *ch = io->ch;

	while (io->step != STEP_END) {
		io->result = prepare(io);
		if (io->result)
			break;
		if (ch->bdev->driver->submit(ch, io) == BDEV_PENDING)
			return BDEV_PENDING;
		advance(io);
	}
	restore(io);
	return BDEV_DONE;
}

/* Answers that need no driver. False: it is needed. */
static bool answer_here(struct bdev_channel *ch, struct bdev_io *io)
{
	const struct bdev *b = ch->bdev;

	io->result = 0;
	if (io->op == BDEV_FLUSH)
		return !(b->caps & BDEV_CAP_FLUSH);
	if (io->op == BDEV_EXTENT && !(b->caps & BDEV_CAP_EXTENTS)) {
		io->allocated = true;
		io->extent_len = bdev_size(b) - io->offset;
		return true;
	}
	return io->len == 0 && io->op != BDEV_EXTENT;
}

/* True: the driver takes it as it is, in one. */
static bool is_plain(const struct bdev *b, const struct bdev_io *io)
{
	if (io->op == BDEV_READ || io->op == BDEV_WRITE)
		return !io->fua && io->len <= b->max_io &&
		       io->iovcnt <= BDEV_IOV_MAX;
	return io->op == BDEV_FLUSH || io->op == BDEV_EXTENT;
}

static enum bdev_status submit_steps(struct bdev_channel *ch,
				     struct bdev_io *io)
{
	const struct bdev *b = ch->bdev;

	remember(io);
	io->step = STEP_WHOLE;
	if (io->op == BDEV_WRITE_ZEROES && !(b->caps & BDEV_CAP_WRITE_ZEROES))
		io->step = STEP_ZEROES;
	if ((io->op == BDEV_READ || io->op == BDEV_WRITE) &&
	    (io->len > b->max_io || io->iovcnt > BDEV_IOV_MAX))
		io->step = STEP_DATA;
	/* A flush comes after it, or nothing is volatile. */
	io->fua = io->fua && io->op == BDEV_WRITE && b->write_cache &&
		  (b->caps & BDEV_CAP_FUA);
	return drive(io);
}

enum bdev_status bdev_submit(struct bdev_channel *ch, struct bdev_io *io)
{
	enum bdev_status st = BDEV_DONE;

	ASSERT(ch->refs > 0);
	io->ch = ch;
	io->result = check(ch->bdev, io);
	if (io->result == 0 && !answer_here(ch, io)) {
		io->start_ns = reactor_now_ns(ch->reactor);
		if (likely(is_plain(ch->bdev, io))) {
			io->step = STEP_END;
			st = ch->bdev->driver->submit(ch, io);
		} else {
			st = submit_steps(ch, io);
		}
	}
	if (st == BDEV_PENDING)
		ch->inflight++;
	else
		count_done(io);
	return st;
}

void bdev_io_complete(struct bdev_io *io, int result)
{
	struct bdev_channel *ch = io->ch;

	ASSERT(ch->inflight > 0);
	io->result = result;
	if (io->step != STEP_END) {
		advance(io);
		if (drive(io) == BDEV_PENDING)
			return;
	}
	ch->inflight--;
	count_done(io);
	shared_add(&ch->stats.latency_ns[io->op],
		   reactor_now_ns(ch->reactor) - io->start_ns);
	io->done(io);
}

void *bdev_map(struct bdev_channel *ch, uint64_t offset, uint64_t len)
{
	const struct bdev *b = ch->bdev;

	if (!(b->caps & BDEV_CAP_MAP) || !in_range(b, offset, len))
		return NULL;
	return b->driver->map(ch, offset, len);
}
