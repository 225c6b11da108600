/* SPDX-License-Identifier: BSD-3-Clause */
#include "bdev/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "bdev/drivers.h"
#include "reactor/bufpool.h"

#define RETRIES_MAX 16 /* of a call that was interrupted */

/* The driver's part of an I/O. */
struct file_io {
	uint64_t done;	  /* bytes */
	struct iovec one; /* the rest of an iovec, or the bounce buffer */
	struct buf_waiter waiter;
	uint32_t retries;
	bool bounced; /* @one is a buffer of the pool */
};
_Static_assert(sizeof(struct file_io) <= sizeof(((struct bdev_io *)0)->driver),
	       "it lies in the I/O");

static struct file_io *fio_of(struct bdev_io *io)
{
	return (struct file_io *)io->driver;
}

static struct bdev_io *io_of(struct op *op)
{
	return container_of(op, struct bdev_io, rop);
}

static struct file *file_of(const struct bdev_io *io)
{
	return io->ch->bdev->driver_data;
}

static bool flag_get(const bool *flag)
{
	return __atomic_load_n(flag, __ATOMIC_RELAXED);
}

static void flag_set(bool *flag)
{
	__atomic_store_n(flag, true, __ATOMIC_RELAXED);
}

/* ---- What failure means. */

/*
 * A disk that was pulled out: reads end at 0, writes give ENOSPC, fsync EIO,
 * and its size is 0 (all seen on Linux 6.1 with the descriptor still open).
 */
static bool medium_gone(const struct file *f, int error)
{
	uint64_t size;

	if (!f->block_device)
		return false;
	return error == -ENODEV || error == -ENXIO || file_size(f, &size) != 0;
}

/* @error: -errno, or 0 for an end of file in the midst of the device. */
static int translate(const struct file *f, int error)
{
	if (medium_gone(f, error))
		return -ENODEV;
	switch (error) {
	case -ENOSPC:
	case -EDQUOT:
		/* On a device: its end has moved inwards. */
		return f->block_device ? -EIO : -ENOSPC;
	case -EROFS:
	case -ENOMEM:
		return error;
	default:
		return -EIO;
	}
}

/* Is it worth another try? */
static bool interrupted(struct bdev_io *io, int error)
{
	return (error == -EINTR || error == -EAGAIN) &&
	       fio_of(io)->retries++ < RETRIES_MAX;
}

static void fail(struct bdev_io *io, int error)
{
	bdev_io_complete(io, translate(file_of(io), error));
}

/* ---- READ and WRITE. */

static bool aligned(const struct file *f, const struct bdev_io *io)
{
	uintptr_t bits = 0;
	size_t len_bits = 0;
	unsigned int i;

	for (i = 0; i < io->iovcnt; i++) {
		bits |= (uintptr_t)io->iov[i].iov_base;
		len_bits |= io->iov[i].iov_len;
	}
	return !(bits & (f->mem_align - 1)) && !(len_bits & (f->len_align - 1));
}

static void start_call(struct bdev_io *io, const struct iovec *iov,
		       unsigned int iovcnt)
{
	struct reactor *r = io->ch->reactor;
	uint64_t offset = io->offset + fio_of(io)->done;
	struct file *f = file_of(io);

	if (io->op == BDEV_READ)
		reactor_readv(r, &io->rop, f->fd, iov, iovcnt, offset);
	else
		reactor_writev(r, &io->rop, f->fd, iov, iovcnt, offset,
			       io->fua ? RWF_DSYNC : 0);
}

/* The iovec that holds byte @pos of the I/O, and where in it. */
static unsigned int seek_iov(const struct bdev_io *io, uint64_t pos,
			     size_t *ret_offset)
{
	unsigned int i = 0;

	while (pos >= io->iov[i].iov_len)
		pos -= io->iov[i++].iov_len;
	ASSERT(i < io->iovcnt);
	*ret_offset = pos;
	return i;
}

/* Copies between the caller's iovecs, from byte fio->done on, and @one. */
static void bounce_copy(struct bdev_io *io, size_t len, bool to_caller)
{
	struct file_io *fio = fio_of(io);
	uint8_t *buf = fio->one.iov_base;
	size_t off, n;
	unsigned int i = seek_iov(io, fio->done, &off);

	for (; len > 0; i++, off = 0) {
		uint8_t *user = (uint8_t *)io->iov[i].iov_base + off;

		n = MIN(len, io->iov[i].iov_len - off);
		if (to_caller)
			memcpy(user, buf, n);
		else
			memcpy(buf, user, n);
		buf += n;
		len -= n;
	}
}

/* One buffer's worth of an I/O that O_DIRECT would refuse. */
static void start_bounced(struct bdev_io *io)
{
	struct bufpool *pool = reactor_bufpool(io->ch->reactor);
	struct file_io *fio = fio_of(io);
	size_t len = MIN(io->len - fio->done, (uint64_t)BUF_LARGE);

	if (bufpool_get(pool, len, &fio->one, 1) == 0) {
		bufpool_wait(pool, &fio->waiter);
		return;
	}
	if (io->op == BDEV_WRITE)
		bounce_copy(io, len, false);
	start_call(io, &fio->one, 1);
}

static void buffer_ready(struct buf_waiter *w)
{
	struct file_io *fio = container_of(w, struct file_io, waiter);

	start_bounced(container_of((uint64_t *)fio, struct bdev_io, driver[0]));
}

/* What is left, without an array of our own: first the rest of an iovec that
 * was cut, then those behind it. */
static void start_rest(struct bdev_io *io)
{
	struct file_io *fio = fio_of(io);
	unsigned int i;
	size_t off;

	if (fio->bounced) {
		start_bounced(io);
		return;
	}
	i = seek_iov(io, fio->done, &off);
	if (off == 0) {
		start_call(io, &io->iov[i], io->iovcnt - i);
		return;
	}
	fio->one.iov_base = (char *)io->iov[i].iov_base + off;
	fio->one.iov_len = io->iov[i].iov_len - off;
	start_call(io, &fio->one, 1);
}

static void rw_failed(struct bdev_io *io, int error)
{
	struct file *f = file_of(io);

	if (interrupted(io, error)) {
		start_rest(io);
		return;
	}
	if (error == -EINVAL && !flag_get(&f->told_refusal)) {
		flag_set(&f->told_refusal);
		log_error("bdev %s: %s refuses an aligned I/O",
			  io->ch->bdev->name, f->path);
	}
	/* Its fsync may have taken the news of other writes' loss with it. */
	if (io->fua && !f->direct)
		flag_set(&f->flush_failed);
	fail(io, error);
}

static void rw_done(struct op *op)
{
	struct bdev_io *io = io_of(op);
	struct file_io *fio = fio_of(io);
	struct iovec buf = fio->one;
	uint64_t got;

	if (op->res > 0 && fio->bounced && io->op == BDEV_READ)
		bounce_copy(io, (size_t)op->res, true);
	if (fio->bounced)
		bufpool_put(reactor_bufpool(io->ch->reactor), &buf, 1);
	if (op->res < 0) {
		rw_failed(io, op->res);
		return;
	}
	/* O_DIRECT goes on at an aligned place only. */
	got = (uint64_t)op->res;
	if (fio->done + got < io->len)
		got &= ~(uint64_t)(file_of(io)->len_align - 1);
	if (got == 0) {
		fail(io, 0);
		return;
	}
	fio->done += got;
	ASSERT(fio->done <= io->len);
	if (fio->done < io->len)
		start_rest(io);
	else
		bdev_io_complete(io, 0);
}

static enum bdev_status start_rw(struct bdev_io *io)
{
	struct file_io *fio = fio_of(io);
	struct file *f = file_of(io);

	fio->done = 0;
	fio->retries = 0;
	fio->bounced = f->direct && !aligned(f, io);
	io->rop.done = rw_done;
	if (!fio->bounced) {
		start_call(io, io->iov, io->iovcnt);
		return BDEV_PENDING;
	}
	list_init(&fio->waiter.link);
	fio->waiter.ready = buffer_ready;
	start_bounced(io);
	return BDEV_PENDING;
}

/* ---- FLUSH. */

static void flush_done(struct op *op)
{
	struct bdev_io *io = io_of(op);
	struct file *f = file_of(io);

	if (op->res == 0) {
		bdev_io_complete(io, 0);
		return;
	}
	if (interrupted(io, op->res)) {
		reactor_fdatasync(io->ch->reactor, op, f->fd);
		return;
	}
	if (!f->direct && !flag_get(&f->flush_failed)) {
		flag_set(&f->flush_failed);
		log_error("bdev %s: %s has lost writes; no flush will succeed "
			  "until it is created anew",
			  io->ch->bdev->name, f->path);
	}
	fail(io, op->res);
}

static enum bdev_status start_flush(struct bdev_io *io)
{
	struct file *f = file_of(io);

	if (flag_get(&f->flush_failed)) {
		io->result = -EIO;
		return BDEV_DONE;
	}
	fio_of(io)->retries = 0;
	io->rop.done = flush_done;
	reactor_fdatasync(io->ch->reactor, &io->rop, f->fd);
	return BDEV_PENDING;
}

/* ---- UNMAP, WRITE_ZEROES: a hole, or zeroes without the data. */

static bool *refusal(struct file *f, enum bdev_op op)
{
	return op == BDEV_UNMAP ? &f->no_punch : &f->no_zero_range;
}

static void zero_done(struct op *op)
{
	struct bdev_io *io = io_of(op);
	struct file *f = file_of(io);

	switch (op->res) {
	case 0:
		bdev_io_complete(io, 0);
		return;
	case -EOPNOTSUPP:
	case -ENOSYS:
		flag_set(refusal(f, io->op));
		bdev_io_complete(io, -EOPNOTSUPP);
		return;
	case -EINVAL:
	case -EINTR:
	case -EAGAIN:
		/* Zeroes can be written all the same. */
		bdev_io_complete(io, -EOPNOTSUPP);
		return;
	default:
		fail(io, op->res);
	}
}

static enum bdev_status start_zero(struct bdev_io *io)
{
	int mode = io->op == BDEV_UNMAP ? FALLOC_FL_PUNCH_HOLE
					: FALLOC_FL_ZERO_RANGE;
	struct file *f = file_of(io);

	if (flag_get(refusal(f, io->op))) {
		io->result = -EOPNOTSUPP;
		return BDEV_DONE;
	}
	io->rop.done = zero_done;
	reactor_fallocate(io->ch->reactor, &io->rop, f->fd,
			  mode | FALLOC_FL_KEEP_SIZE, io->offset, io->len);
	return BDEV_PENDING;
}

/* ---- EXTENT. */

/* On a helper thread. */
static int find_extent(struct op *op)
{
	struct bdev_io *io = io_of(op);
	const struct bdev *b = io->ch->bdev;
	uint64_t rest = bdev_size(b) - io->offset, len;
	int fd = file_of(io)->fd;
	off_t at = (off_t)io->offset, next;

	io->allocated = false;
	next = lseek(fd, at, SEEK_DATA);
	if (next < 0 && errno != ENXIO)
		return -errno;
	/* ENXIO: no data up to the end. */
	len = next < 0 ? rest : (uint64_t)(next - at);
	len = MIN(len, rest) & ~(uint64_t)(b->block_size - 1);
	if (len == 0) {
		io->allocated = true;
		next = lseek(fd, next, SEEK_HOLE);
		if (next < 0 && errno != ENXIO)
			return -errno;
		len = next < 0 ? rest : (uint64_t)(next - at);
		len = MIN(round_up(len, b->block_size), rest);
	}
	io->extent_len = len;
	return 0;
}

static void extent_done(struct op *op)
{
	struct bdev_io *io = io_of(op);

	if (op->res < 0)
		fail(io, op->res);
	else
		bdev_io_complete(io, 0);
}

static enum bdev_status file_submit(struct bdev_channel *ch, struct bdev_io *io)
{
	switch (io->op) {
	case BDEV_READ:
	case BDEV_WRITE:
		return start_rw(io);
	case BDEV_FLUSH:
		return start_flush(io);
	case BDEV_UNMAP:
	case BDEV_WRITE_ZEROES:
		return start_zero(io);
	case BDEV_EXTENT:
		io->rop.done = extent_done;
		reactor_offload(ch->reactor, &io->rop, find_extent);
		return BDEV_PENDING;
	case BDEV_OP_COUNT:
		break;
	}
	ASSERT(!"an op");
	return BDEV_DONE;
}

/* ---- The device. */

static void file_destroy(struct bdev *b)
{
	struct file *f = b->driver_data;

	file_close(f);
	free(f);
}

static int file_rescan(struct bdev *b, uint64_t *ret_nblocks)
{
	uint64_t size;
	int r = file_size(b->driver_data, &size);

	if (r)
		return r;
	if (size == 0 || size % b->block_size)
		return -EINVAL;
	*ret_nblocks = size / b->block_size;
	return 0;
}

static const char *file_path(const struct bdev *b)
{
	const struct file *f = b->driver_data;

	return f->path;
}

const struct bdev_driver bdev_file_driver = {
	.name = "aio",
	.destroy = file_destroy,
	.submit = file_submit,
	.rescan = file_rescan,
	.path = file_path,
};

static int fill_in(struct bdev *b, const struct bdev_common *c, struct file *f,
		   const struct file_facts *facts, const char **ret_why)
{
	uint32_t bs = facts->block_size;

	b->product = "AIO disk";
	b->driver_data = f;
	b->block_size = bs;
	b->nblocks = facts->size / bs;
	b->phys_block_size = c->phys_block_size ? c->phys_block_size
						: facts->phys_block_size;
	b->optimal_io = facts->optimal_io / bs;
	b->unmap_granularity = facts->unmap_granularity / bs;
	b->max_io = FILE_IO_MAX;
	b->read_only = facts->read_only;
	b->rotational = facts->rotational;
	b->write_cache = !facts->read_only;
	b->caps = BDEV_CAP_FLUSH | BDEV_CAP_FUA | BDEV_CAP_WRITE_ZEROES;
	if (facts->can_unmap)
		b->caps |= BDEV_CAP_UNMAP;
	if (!f->block_device)
		b->caps |= BDEV_CAP_EXTENTS;
	return bdev_check_geometry(b->nblocks, bs, b->phys_block_size, ret_why);
}

int bdev_file_create(struct bdev_registry *reg, const struct bdev_common *c,
		     const char *path, uint32_t block_size, struct bdev **ret,
		     const char **ret_why)
{
	struct file_facts facts;
	const char *why = NULL;
	struct file *f = NULL;
	struct bdev *b;
	int r = 0;

	if (block_size)
		r = bdev_check_geometry(1, block_size, 0, ret_why);
	if (r)
		return r;
	b = bdev_alloc(reg, &bdev_file_driver, c, NULL, &r, ret_why);
	if (!b)
		return r;
	f = calloc(1, sizeof(*f));
	r = -ENOMEM;
	if (!f)
		goto fail;
	r = file_open(f, path, c->read_only, block_size, &facts, &why);
	if (!r)
		r = fill_in(b, c, f, &facts, &why);
	if (r)
		goto fail;
	bdev_register(b);
	*ret = b;
	return 0;
fail:
	if (ret_why)
		*ret_why = why ? why : "out of memory";
	if (f)
		file_close(f);
	free(f);
	bdev_free(b);
	return r;
}
