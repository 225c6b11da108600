/* SPDX-License-Identifier: BSD-3-Clause */
/* Files as disks. Block devices need a kernel that lends one: a loop device,
 * where this runs as root; else that test is skipped. */
#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "bdev/driver.h"
#include "bdev/file.h"
#include "reactor/bufpool.h"

#define MIB (1u << 20)

static const struct sim_options calm = {
	.seed = 11,
	.nreactors = 2,
	.latency_max_ns = 100000,
};

static struct bdev *new_file(struct world *w, const char *path, uint32_t bs)
{
	struct bdev_common c = {.name = "AIO0"};
	const char *why = NULL;
	struct bdev *b = NULL;

	if (bdev_file_create(w->reg, &c, path, bs, &b, &why))
		fail_msg("%s", why);
	assert_string_equal(b->product, "AIO disk");
	assert_string_equal(b->driver->path(b), path);
	return b;
}

typedef int file_maker(uint64_t size, char *path);

static void model_on(file_maker *maker, const struct sim_options *opt,
		     uint32_t bs, uint32_t cut, uint32_t max_io)
{
	struct world w = world_create(opt);
	struct bdev *b;
	char path[64];
	int fd;

	fd = maker(2 * MIB, path);
	b = new_file(&w, path, bs);
	if (max_io)
		b->max_io = max_io;
	/* A sync of a real disk takes its time. */
	world_model_test(&w, b, maker == world_memfd ? 2000 : 400, cut,
			 opt->io_error > 0);
	assert_int_equal(
		bufpool_in_use(reactor_bufpool(reactors_get(w.set, 0))), 0);
	world_destroy(&w);
	close(fd);
}

static void test_model(void **state)
{
	static file_maker *const makers[] = {world_memfd, world_tmpfile};
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(makers); i++) {
		struct sim_options opt = calm;

		opt.seed = 100 + i;
		model_on(makers[i], &opt, 0, 512, 0);
		model_on(makers[i], &opt, 4096, 4096, 0);
		/* Buffers and iovecs that O_DIRECT refuses. */
		model_on(makers[i], &opt, 512, 1, 0);
		model_on(makers[i], &opt, 4096, 8, 0);
		/* In parts. */
		model_on(makers[i], &opt, 512, 512, 8192);
		/* Transfers that stop in the middle. */
		opt.short_io = 400;
		model_on(makers[i], &opt, 512, 512, 0);
		model_on(makers[i], &opt, 512, 16, 0);
		/* Failures. */
		opt.io_error = 30;
		model_on(makers[i], &opt, 512, 512, 16384);
	}
}

/* What the device holds is what the file holds. */
static void test_same_bytes(void **state)
{
	struct world w = world_create(&calm);
	uint8_t *buf = aligned_alloc(4096, 8192), *seen = malloc(8192);
	struct bdev_channel *ch;
	struct bdev *b;
	char path[64];
	int fd = world_tmpfile(MIB, path);

	memset(buf, 0x3c, 8192);
	b = new_file(&w, path, 512);
	ch = world_channel(&w, b, 0);
	assert_int_equal(world_rw(&w, ch, BDEV_WRITE, 512 * 33, buf, 8192), 0);
	assert_int_equal(world_rw(&w, ch, BDEV_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(pread(fd, seen, 8192, 512 * 33), 8192);
	assert_memory_equal(seen, buf, 8192);
	memset(seen, 0x11, 8192);
	assert_int_equal(pwrite(fd, seen, 8192, 4096), 8192);
	assert_int_equal(fsync(fd), 0);
	assert_int_equal(world_rw(&w, ch, BDEV_READ, 4096, buf, 8192), 0);
	assert_memory_equal(seen, buf, 8192);
	bdev_channel_put(ch);
	world_destroy(&w);
	close(fd);
	free(buf);
	free(seen);
}

static int create(struct world *w, const char *path, uint32_t bs, bool ro)
{
	struct bdev_common c = {.name = "f", .read_only = ro};
	const char *why = NULL;
	struct bdev *b;
	int r = bdev_file_create(w->reg, &c, path, bs, &b, &why);

	assert_int_equal(why != NULL, r != 0);
	if (r)
		assert_null(bdev_find(w->reg, "f"));
	return r;
}

static void test_refused(void **state)
{
	struct world w = world_create(&calm);
	char path[64], odd[64], empty[64];
	int fd = world_memfd(MIB, path), fd2 = world_memfd(5000, odd);
	int fd3 = world_memfd(0, empty);

	assert_int_equal(create(&w, "/nonexistent/file", 0, false), -ENOENT);
	assert_int_equal(create(&w, "/", 0, false), -EINVAL);
	assert_int_equal(create(&w, "/dev/null", 0, false), -EINVAL);
	assert_int_equal(create(&w, path, 100, false), -EINVAL);
	assert_int_equal(create(&w, path, 256, false), -EINVAL);
	assert_int_equal(create(&w, path, 3 * 512, false), -EINVAL);
	assert_int_equal(create(&w, odd, 0, false), -EINVAL);
	assert_int_equal(create(&w, odd, 512, false), -EINVAL);
	assert_int_equal(create(&w, empty, 512, false), -EINVAL);
	assert_int_equal(create(&w, path, 0, true), 0);
	world_destroy(&w);
	close(fd);
	close(fd2);
	close(fd3);
}

static void test_read_only(void **state)
{
	static const enum bdev_op ops[] = {BDEV_WRITE, BDEV_UNMAP,
					   BDEV_WRITE_ZEROES};
	struct world w = world_create(&calm);
	struct bdev_channel *ch;
	uint8_t buf[512] = {0};
	struct bdev *b;
	char path[64];
	int fd = world_memfd(MIB, path);
	unsigned int i;

	assert_int_equal(create(&w, path, 0, true), 0);
	b = bdev_find(w.reg, "f");
	assert_true(b->read_only);
	ch = world_channel(&w, b, 0);
	for (i = 0; i < ARRAY_LEN(ops); i++)
		assert_int_equal(
			world_rw(&w, ch, ops[i], 0, i ? NULL : buf, 512),
			-EROFS);
	assert_int_equal(world_rw(&w, ch, BDEV_READ, 0, buf, 512), 0);
	assert_int_equal(world_rw(&w, ch, BDEV_FLUSH, 0, NULL, 0), 0);
	bdev_channel_put(ch);
	world_destroy(&w);
	close(fd);
}

static int extent(struct world *w, struct bdev_channel *ch, uint64_t offset,
		  bool *ret_allocated, uint64_t *ret_len)
{
	struct bdev_io io = {.op = BDEV_EXTENT, .offset = offset};
	int r = world_io(w, ch, &io);

	*ret_allocated = io.allocated;
	*ret_len = io.extent_len;
	return r;
}

/* An unmap gives the space back, and extents tell so. */
static void test_unmap_extents(void **state)
{
	struct world w = world_create(&calm);
	uint8_t *buf = aligned_alloc(4096, MIB);
	struct bdev_channel *ch;
	struct stat before, after;
	bool allocated;
	struct bdev *b;
	char path[64];
	uint64_t len;
	int fd = world_tmpfile(MIB, path);

	memset(buf, 0xee, MIB);
	b = new_file(&w, path, 512);
	assert_true(b->caps & BDEV_CAP_UNMAP);
	ch = world_channel(&w, b, 0);
	assert_int_equal(extent(&w, ch, 0, &allocated, &len), 0);
	assert_false(allocated);
	assert_int_equal(len, MIB);
	assert_int_equal(world_rw(&w, ch, BDEV_WRITE, 0, buf, MIB), 0);
	assert_int_equal(world_rw(&w, ch, BDEV_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(fstat(fd, &before), 0);
	assert_int_equal(world_rw(&w, ch, BDEV_UNMAP, 65536, NULL, 131072), 0);
	assert_int_equal(world_rw(&w, ch, BDEV_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(fstat(fd, &after), 0);
	assert_int_equal(before.st_blocks - after.st_blocks, 131072 / 512);
	assert_int_equal(extent(&w, ch, 512, &allocated, &len), 0);
	assert_true(allocated);
	assert_int_equal(len, 65536 - 512);
	assert_int_equal(extent(&w, ch, 65536 + 512, &allocated, &len), 0);
	assert_false(allocated);
	assert_int_equal(len, 131072 - 512);
	assert_int_equal(extent(&w, ch, 196608, &allocated, &len), 0);
	assert_true(allocated);
	assert_int_equal(len, MIB - 196608);
	assert_int_equal(extent(&w, ch, MIB, &allocated, &len), -EINVAL);
	bdev_channel_put(ch);
	world_destroy(&w);
	close(fd);
	free(buf);
}

static uint32_t resizes;

static void on_event(struct bdev_desc *desc, enum bdev_event event)
{
	if (event == BDEV_EVENT_RESIZE)
		resizes++;
}

static void test_rescan(void **state)
{
	struct world w = world_create(&calm);
	struct bdev_channel *ch;
	struct bdev_desc desc;
	uint8_t buf[512];
	struct bdev *b;
	char path[64];
	int fd = world_memfd(MIB, path);

	b = new_file(&w, path, 512);
	assert_int_equal(bdev_open(w.reg, "AIO0", &desc, on_event), 0);
	ch = world_channel(&w, b, 1);
	resizes = 0;
	assert_int_equal(bdev_rescan(b), 0);
	world_settle(&w);
	assert_int_equal(resizes, 0);
	assert_int_equal(ftruncate(fd, 2 * MIB), 0);
	assert_int_equal(world_rw(&w, ch, BDEV_READ, MIB, buf, 512), -EINVAL);
	assert_int_equal(bdev_rescan(b), 0);
	world_settle(&w);
	assert_int_equal(resizes, 1);
	assert_int_equal(world_rw(&w, ch, BDEV_READ, MIB, buf, 512), 0);
	/* Behind its back: an error, never bytes out of nowhere. */
	assert_int_equal(ftruncate(fd, MIB), 0);
	assert_int_equal(world_rw(&w, ch, BDEV_READ, MIB, buf, 512), -EIO);
	assert_int_equal(bdev_rescan(b), 0);
	assert_int_equal(bdev_size(b), MIB);
	assert_int_equal(ftruncate(fd, MIB + 100), 0);
	assert_int_equal(bdev_rescan(b), -EINVAL);
	assert_int_equal(bdev_size(b), MIB);
	bdev_channel_put(ch);
	bdev_close(&desc);
	world_destroy(&w);
	close(fd);
}

/* Through the page cache, a flush that failed once means lost writes. */
static void test_flush_failed(void **state)
{
	struct sim_options opt = calm;
	struct bdev_channel *ch;
	struct world w;
	struct bdev *b;
	struct file *f;
	char path[64];
	int fd = world_memfd(MIB, path);

	opt.io_error = 1000;
	w = world_create(&opt);
	b = new_file(&w, path, 512);
	f = b->driver_data;
	ch = world_channel(&w, b, 0);
	f->direct = false;
	assert_int_equal(world_rw(&w, ch, BDEV_FLUSH, 0, NULL, 0), -EIO);
	assert_true(f->flush_failed);
	assert_int_equal(world_rw(&w, ch, BDEV_FLUSH, 0, NULL, 0), -EIO);
	bdev_channel_put(ch);
	world_destroy(&w);
	close(fd);
}

/* No hole, no zero range: zeroes are written. */
static void test_zeroes_written(void **state)
{
	struct world w = world_create(&calm);
	uint8_t *buf = aligned_alloc(4096, MIB), *zero = calloc(1, MIB);
	struct bdev_channel *ch;
	struct bdev *b;
	struct file *f;
	char path[64];
	int fd = world_tmpfile(MIB, path);
	enum bdev_op op;

	b = new_file(&w, path, 512);
	f = b->driver_data;
	f->no_punch = f->no_zero_range = true;
	ch = world_channel(&w, b, 0);
	for (op = BDEV_UNMAP; op <= BDEV_WRITE_ZEROES; op++) {
		memset(buf, 0xee, MIB);
		assert_int_equal(world_rw(&w, ch, BDEV_WRITE, 0, buf, MIB), 0);
		assert_int_equal(world_rw(&w, ch, op, 512, NULL, MIB - 1024),
				 0);
		assert_int_equal(world_rw(&w, ch, BDEV_READ, 0, buf, MIB), 0);
		assert_int_equal(buf[511], 0xee);
		assert_memory_equal(buf + 512, zero, MIB - 1024);
		assert_int_equal(buf[MIB - 512], 0xee);
	}
	bdev_channel_put(ch);
	world_destroy(&w);
	close(fd);
	free(buf);
	free(zero);
}

/* Through the page cache nothing has to be aligned. */
static void test_buffered(void **state)
{
	struct sim_options opt = calm;
	struct world w;
	struct bdev *b;
	struct file *f;
	char path[64];
	int fd = world_tmpfile(2 * MIB, path);

	opt.short_io = 300;
	w = world_create(&opt);
	b = new_file(&w, path, 512);
	f = b->driver_data;
	assert_int_equal(fcntl(f->fd, F_SETFL, O_RDWR), 0);
	f->direct = false;
	f->mem_align = f->len_align = 1;
	world_model_test(&w, b, 500, 1, false);
	world_destroy(&w);
	close(fd);
}

struct waiting {
	struct bdev_io io;
	bool done;
};

static void waiting_done(struct bdev_io *io)
{
	container_of(io, struct waiting, io)->done = true;
}

/* Nobody has a buffer for it: it waits in line, and is not lost. */
static void test_wait_for_buffer(void **state)
{
	struct world w = world_create(&calm);
	struct bufpool *pool = reactor_bufpool(reactors_get(w.set, 0));
	struct iovec *taken = calloc(1 << 16, sizeof(*taken)), iov;
	struct waiting p = {0};
	struct bdev_channel *ch;
	unsigned int n = 0;
	struct bdev *b;
	char path[64];
	uint8_t *buf = aligned_alloc(4096, 8192);
	int fd = world_tmpfile(MIB, path);

	b = new_file(&w, path, 512);
	((struct file *)b->driver_data)->mem_align = 512;
	ch = world_channel(&w, b, 0);
	while (bufpool_get(pool, BUF_SMALL, &taken[n], 1))
		n++;
	while (bufpool_get(pool, BUF_LARGE, &taken[n], 1))
		n++;
	assert_true(n > 0 && n < 1 << 16);
	assert_int_equal(pwrite(fd, "abcdefgh", 8, 4096), 8);
	iov = (struct iovec){buf + 8, 4096};
	p.io = (struct bdev_io){.op = BDEV_READ,
				.offset = 4096,
				.len = 4096,
				.iov = &iov,
				.iovcnt = 1,
				.done = waiting_done};
	assert_int_equal(bdev_submit(ch, &p.io), BDEV_PENDING);
	world_settle(&w);
	assert_false(p.done);
	bufpool_put(pool, taken, n);
	world_settle(&w);
	assert_true(p.done);
	assert_int_equal(p.io.result, 0);
	assert_memory_equal(buf + 8, "abcdefgh", 8);
	assert_int_equal(bufpool_in_use(pool), 0);
	bdev_channel_put(ch);
	world_destroy(&w);
	close(fd);
	free(taken);
	free(buf);
}

/* A file system runs full under a thin file. Needs a mount of its own. */
static void test_no_space(void **state)
{
	struct world w;
	struct bdev_channel *ch;
	uint8_t *buf = aligned_alloc(4096, MIB);
	char path[64], dir[] = "bdev-XXXXXX";
	struct bdev *b;
	int fd, r;

	if (unshare(CLONE_NEWNS) < 0 || !mkdtemp(dir)) {
		free(buf);
		skip();
	}
	mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
	r = mount("tmpfs", dir, "tmpfs", 0, "size=1m");
	snprintf(path, sizeof(path), "%s/disk", dir);
	fd = r < 0 ? -1 : open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0) {
		rmdir(dir);
		free(buf);
		skip();
	}
	assert_int_equal(ftruncate(fd, 4 * MIB), 0);
	w = world_create(&calm);
	b = new_file(&w, path, 512);
	ch = world_channel(&w, b, 0);
	memset(buf, 1, MIB);
	assert_int_equal(world_rw(&w, ch, BDEV_WRITE, 0, buf, MIB / 2), 0);
	assert_int_equal(world_rw(&w, ch, BDEV_WRITE, MIB, buf, MIB), -ENOSPC);
	assert_int_equal(world_rw(&w, ch, BDEV_UNMAP, 0, NULL, 2 * MIB), 0);
	assert_int_equal(world_rw(&w, ch, BDEV_WRITE, MIB, buf, MIB / 2), 0);
	bdev_channel_put(ch);
	world_destroy(&w);
	close(fd);
	umount(dir);
	rmdir(dir);
	free(buf);
}

/* ---- A loop device. */

/* Its descriptor and @path, or -1. It detaches when it is closed. */
static int loop_attach(int backing, char *path)
{
	int ctl = open("/dev/loop-control", O_RDWR | O_CLOEXEC), fd, n;
	struct loop_config cfg = {.fd = (uint32_t)backing};

	if (ctl < 0)
		return -1;
	n = ioctl(ctl, LOOP_CTL_GET_FREE);
	close(ctl);
	if (n < 0)
		return -1;
	snprintf(path, 64, "/dev/loop%d", n);
	fd = open(path, O_RDWR | O_CLOEXEC);
	cfg.info.lo_flags = LO_FLAGS_AUTOCLEAR;
	if (fd >= 0 && ioctl(fd, LOOP_CONFIGURE, &cfg) < 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static void test_block_device(void **state)
{
	char backing_path[64], path[64];
	int backing = world_tmpfile(2 * MIB, backing_path);
	int fd = loop_attach(backing, path);
	struct world w;
	struct bdev *b;
	struct bdev_channel *ch;
	uint8_t buf[512];

	if (fd < 0) {
		close(backing);
		skip();
	}
	w = world_create(&calm);
	b = new_file(&w, path, 0);
	assert_int_equal(bdev_size(b), 2 * MIB);
	assert_int_equal(b->block_size, 512);
	assert_true(((struct file *)b->driver_data)->block_device);
	world_model_test(&w, b, 1000, 512, false);
	/* The medium goes: the device has no bytes any more. */
	ch = world_channel(&w, b, 0);
	assert_int_equal(ftruncate(backing, 0), 0);
	assert_int_equal(ioctl(fd, LOOP_SET_CAPACITY, 0), 0);
	assert_int_equal(world_rw(&w, ch, BDEV_READ, 0, buf, 512), -ENODEV);
	assert_int_equal(world_rw(&w, ch, BDEV_WRITE, 0, buf, 512), -ENODEV);
	assert_int_equal(world_rw(&w, ch, BDEV_UNMAP, 0, NULL, 512), -ENODEV);
	assert_int_equal(bdev_rescan(b), -ENODEV);
	bdev_channel_put(ch);
	world_destroy(&w);
	close(fd);
	close(backing);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_model),
		cmocka_unit_test(test_same_bytes),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_read_only),
		cmocka_unit_test(test_unmap_extents),
		cmocka_unit_test(test_rescan),
		cmocka_unit_test(test_flush_failed),
		cmocka_unit_test(test_zeroes_written),
		cmocka_unit_test(test_buffered),
		cmocka_unit_test(test_wait_for_buffer),
		cmocka_unit_test(test_no_space),
		cmocka_unit_test(test_block_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
