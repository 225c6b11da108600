/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The system calls that a file disk makes, and what it does when the kernel
 * answers otherwise than it does here: this program puts itself between the
 * simulated engine and the C library.
 */
#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "bdev/file.h"

#define KIB 1024u

static const struct sim_options options = {
	.seed = 21,
	.nreactors = 1,
	.latency_max_ns = 1000,
};

static struct calls {
	unsigned int reads, writes, dsync_writes, syncs, allocs;
	int alloc_mode;
	/* What the next call of a kind answers: -errno; or at most so many
	 * bytes. */
	int fail_rw, fail_sync, fail_alloc, fail_pread;
	size_t rw_max;
	unsigned int times; /* so often */
} calls;

static int answer(int *error)
{
	if (!*error || calls.times == 0)
		return 0;
	calls.times--;
	errno = -*error;
	return -1;
}

static ssize_t vectored(long nr, int fd, const struct iovec *iov, int iovcnt,
			off_t offset, int flags)
{
	struct iovec first = iov[0];

	if (answer(&calls.fail_rw))
		return -1;
	if (calls.rw_max && calls.times > 0) {
		calls.times--;
		first.iov_len = MIN(first.iov_len, calls.rw_max);
		iov = &first;
		iovcnt = 1;
	}
	return syscall(nr, fd, iov, iovcnt, offset, 0, flags);
}

ssize_t preadv2(int fd, const struct iovec *iov, int iovcnt, off_t offset,
		int flags)
{
	calls.reads++;
	return vectored(SYS_preadv2, fd, iov, iovcnt, offset, flags);
}

ssize_t pwritev2(int fd, const struct iovec *iov, int iovcnt, off_t offset,
		 int flags)
{
	calls.writes++;
	calls.dsync_writes += flags == RWF_DSYNC;
	return vectored(SYS_pwritev2, fd, iov, iovcnt, offset, flags);
}

ssize_t pread(int fd, void *buf, size_t len, off_t offset)
{
	if (answer(&calls.fail_pread))
		return -1;
	return syscall(SYS_pread64, fd, buf, len, offset);
}

int fdatasync(int fd)
{
	calls.syncs++;
	if (answer(&calls.fail_sync))
		return -1;
	return (int)syscall(SYS_fdatasync, fd);
}

int fallocate(int fd, int mode, off_t offset, off_t len)
{
	calls.allocs++;
	calls.alloc_mode = mode;
	if (answer(&calls.fail_alloc))
		return -1;
	return (int)syscall(SYS_fallocate, fd, mode, offset, len);
}

struct fixture {
	struct world w;
	struct bdev *b;
	struct file *f;
	struct bdev_channel *ch;
	uint8_t *buf;
	int fd;
};

static struct fixture setup(void)
{
	struct bdev_common c = {.name = "f"};
	struct fixture f = {.w = world_create(&options)};
	char path[64];
	unsigned int i;

	f.fd = world_memfd(256 * KIB, path);
	f.buf = aligned_alloc(4096, 64 * KIB);
	assert_non_null(f.buf);
	for (i = 0; i < 64 * KIB; i++)
		f.buf[i] = (uint8_t)(i / 512 + i);
	assert_int_equal(bdev_file_create(f.w.reg, &c, path, 512, &f.b, NULL),
			 0);
	f.f = f.b->driver_data;
	f.ch = world_channel(&f.w, f.b, 0);
	calls = (struct calls){0};
	return f;
}

static void teardown(struct fixture *f)
{
	calls = (struct calls){0};
	bdev_channel_put(f->ch);
	world_destroy(&f->w);
	close(f->fd);
	free(f->buf);
}

static int rw(struct fixture *f, enum bdev_op op, uint64_t offset, uint64_t len,
	      bool fua)
{
	struct iovec iov = {f->buf, len};
	struct bdev_io io = {.op = op,
			     .fua = fua,
			     .offset = offset,
			     .len = len,
			     .iov = &iov,
			     .iovcnt = 1};

	return world_io(&f->w, f->ch, &io);
}

/* Stable storage is asked for when the initiator does, in every part. */
static void test_stable(void **state)
{
	struct fixture f = setup();

	assert_true(f.b->write_cache);
	assert_int_equal(rw(&f, BDEV_WRITE, 0, 4096, false), 0);
	assert_int_equal(calls.writes, 1);
	assert_int_equal(calls.dsync_writes, 0);
	assert_int_equal(rw(&f, BDEV_WRITE, 0, 4096, true), 0);
	assert_int_equal(calls.writes, 2);
	assert_int_equal(calls.dsync_writes, 1);
	/* Also in what follows a short one, */
	calls.rw_max = 512;
	calls.times = 2;
	assert_int_equal(rw(&f, BDEV_WRITE, 0, 4096, true), 0);
	assert_int_equal(calls.writes, 5);
	assert_int_equal(calls.dsync_writes, 4);
	/* and in parts. */
	f.b->max_io = 1024;
	assert_int_equal(rw(&f, BDEV_WRITE, 0, 4096, true), 0);
	assert_int_equal(calls.dsync_writes, 8);
	assert_int_equal(calls.syncs, 0);
	assert_int_equal(world_rw(&f.w, f.ch, BDEV_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(calls.syncs, 1);
	/* Zeroes by fallocate are stable after a flush. */
	assert_int_equal(rw(&f, BDEV_WRITE_ZEROES, 0, 4096, true), 0);
	assert_int_equal(calls.allocs, 1);
	assert_int_equal(calls.syncs, 2);
	teardown(&f);
}

/* A transfer that stops within a block goes on at the block's beginning, as
 * O_DIRECT asks; one that does nothing is an error and no endless loop. */
static void test_odd_lengths(void **state)
{
	static const size_t stops[] = {512, 700, 1023, 1024, 5000};
	struct fixture f = setup();
	uint8_t *want = malloc(16 * KIB);
	unsigned int i;

	assert_non_null(want);
	memcpy(want, f.buf, 16 * KIB);
	f.f->direct = true;
	f.f->mem_align = f.f->len_align = 512;
	for (i = 0; i < ARRAY_LEN(stops); i++) {
		memcpy(f.buf, want, 16 * KIB);
		calls = (struct calls){.rw_max = stops[i], .times = 3};
		assert_int_equal(rw(&f, BDEV_WRITE, 512, 16 * KIB, false), 0);
		assert_true(calls.writes == 4);
		memset(f.buf, 0, 16 * KIB);
		calls = (struct calls){.rw_max = stops[i], .times = 3};
		assert_int_equal(rw(&f, BDEV_READ, 512, 16 * KIB, false), 0);
		assert_true(calls.reads == 4);
		assert_memory_equal(f.buf, want, 16 * KIB);
	}
	calls = (struct calls){.rw_max = 100, .times = 1};
	assert_int_equal(rw(&f, BDEV_READ, 512, 16 * KIB, false), -EIO);
	assert_int_equal(calls.reads, 1);
	free(want);
	teardown(&f);
}

/* Interrupted calls are made again, but not for ever. */
static void test_interrupted(void **state)
{
	static const int errors[] = {-EINTR, -EAGAIN};
	struct fixture f = setup();
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(errors); i++) {
		calls = (struct calls){.fail_rw = errors[i], .times = 5};
		assert_int_equal(rw(&f, BDEV_READ, 0, 512, false), 0);
		assert_int_equal(calls.reads, 6);
		calls.times = 1000;
		assert_int_equal(rw(&f, BDEV_WRITE, 0, 512, false), -EIO);
		assert_true(calls.writes < 100);
		calls = (struct calls){.fail_sync = errors[i], .times = 5};
		assert_int_equal(world_rw(&f.w, f.ch, BDEV_FLUSH, 0, NULL, 0),
				 0);
		assert_false(f.f->flush_failed);
	}
	teardown(&f);
}

/* Each errno becomes one of the few that bdev.h names. */
static void test_errors(void **state)
{
	static const int rows[][2] = {
		{-EIO, -EIO},	  {-ENOSPC, -ENOSPC}, {-EDQUOT, -ENOSPC},
		{-EROFS, -EROFS}, {-ENOMEM, -ENOMEM}, {-EBADF, -EIO},
		{-EINVAL, -EIO},  {-ENODATA, -EIO},   {-EREMOTEIO, -EIO},
		{-ESTALE, -EIO},
	};
	struct fixture f = setup();
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(rows); i++) {
		calls = (struct calls){.fail_rw = rows[i][0], .times = 1};
		assert_int_equal(rw(&f, BDEV_WRITE, 0, 512, false), rows[i][1]);
		calls = (struct calls){.fail_rw = rows[i][0], .times = 1};
		assert_int_equal(rw(&f, BDEV_READ, 0, 512, false), rows[i][1]);
	}
	teardown(&f);
}

/* A flush whose failure the kernel forgets, we remember; but not where writes
 * do not stay in its memory. */
static void test_lost_writes(void **state)
{
	struct fixture f = setup();

	f.f->direct = true;
	calls = (struct calls){.fail_sync = -EIO, .times = 1};
	assert_int_equal(world_rw(&f.w, f.ch, BDEV_FLUSH, 0, NULL, 0), -EIO);
	assert_int_equal(world_rw(&f.w, f.ch, BDEV_FLUSH, 0, NULL, 0), 0);
	f.f->direct = false;
	calls = (struct calls){.fail_rw = -EIO, .times = 1};
	assert_int_equal(rw(&f, BDEV_WRITE, 0, 512, false), -EIO);
	assert_int_equal(world_rw(&f.w, f.ch, BDEV_FLUSH, 0, NULL, 0), 0);
	/* The sync in a FUA write may have been told of other writes' loss. */
	calls = (struct calls){.fail_rw = -EIO, .times = 1};
	assert_int_equal(rw(&f, BDEV_WRITE, 0, 512, true), -EIO);
	assert_int_equal(world_rw(&f.w, f.ch, BDEV_FLUSH, 0, NULL, 0), -EIO);
	assert_int_equal(calls.syncs, 0);
	teardown(&f);
}

/* Where there are no holes: once tried, then written at once. */
static void test_no_holes(void **state)
{
	static const int errors[] = {-EOPNOTSUPP, -ENOSYS, -EINVAL};
	struct fixture f;
	unsigned int i;
	enum bdev_op op;

	for (i = 0; i < ARRAY_LEN(errors); i++) {
		f = setup();
		for (op = BDEV_UNMAP; op <= BDEV_WRITE_ZEROES; op++) {
			calls = (struct calls){.fail_alloc = errors[i],
					       .times = 1};
			assert_int_equal(rw(&f, op, 0, 4096, false), 0);
			assert_int_equal(calls.allocs, 1);
			assert_int_equal(
				calls.alloc_mode,
				FALLOC_FL_KEEP_SIZE |
					(op == BDEV_UNMAP
						 ? FALLOC_FL_PUNCH_HOLE
						 : FALLOC_FL_ZERO_RANGE));
			assert_int_equal(calls.writes, 1);
			assert_int_equal(rw(&f, op, 0, 4096, false), 0);
			assert_int_equal(calls.allocs,
					 errors[i] == -EINVAL ? 2 : 1);
		}
		calls = (struct calls){.fail_alloc = -EIO, .times = 1};
		f.f->no_punch = false;
		assert_int_equal(rw(&f, BDEV_UNMAP, 0, 4096, false), -EIO);
		teardown(&f);
	}
}

/* Then nobody has to try. */
static bool kernel_says(int fd)
{
#ifdef STATX_DIOALIGN
	struct statx stx = {0};

	return statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) == 0 &&
	       (stx.stx_mask & STATX_DIOALIGN);
#else
	return false;
#endif
}

/* Blocks that O_DIRECT would refuse are read through the page cache. */
static void test_direct_refused(void **state)
{
	struct world w = world_create(&options);
	struct bdev_common c = {.name = "f"};
	struct bdev *b;
	struct file *f;
	char path[64];
	int fd = world_memfd(256 * KIB, path);

	calls = (struct calls){.fail_pread = -EINVAL, .times = 1};
	assert_int_equal(bdev_file_create(w.reg, &c, path, 512, &b, NULL), 0);
	f = b->driver_data;
	if (kernel_says(fd)) {
		world_destroy(&w);
		close(fd);
		calls = (struct calls){0};
		skip();
	}
	assert_int_equal(calls.times, 0);
	assert_false(f->direct);
	assert_int_equal(fcntl(f->fd, F_GETFL) & O_DIRECT, 0);
	assert_int_equal(f->mem_align, 1);
	world_model_test(&w, b, 500, 1, false);
	world_destroy(&w);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stable),
		cmocka_unit_test(test_odd_lengths),
		cmocka_unit_test(test_interrupted),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_lost_writes),
		cmocka_unit_test(test_no_holes),
		cmocka_unit_test(test_direct_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
