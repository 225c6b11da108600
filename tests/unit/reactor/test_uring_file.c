/* SPDX-License-Identifier: BSD-3-Clause */
/* Files: each operation does what the system call of its name does. */
#include "uring_env.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define BLOCK  4096u
#define BLOCKS 512u
#define DEPTH  64u

/* ---- Random blocks, many at once, against a copy in memory. */

struct slot {
	struct op op;
	struct files *all;
	uint8_t buf[4 * BLOCK];
	struct iovec iov[3];
	uint32_t block, nblocks;
	bool writing;
};

struct files {
	struct env env;
	int fd;
	uint8_t *model;
	bool busy[BLOCKS];
	struct slot slots[DEPTH];
	uint32_t seed, todo, inflight;
};

static uint32_t draw(struct files *f, uint32_t below)
{
	f->seed = f->seed * 1664525u + 1013904223u;
	return (uint32_t)(((uint64_t)f->seed * below) >> 32);
}

static void slot_mark(struct slot *s, bool busy)
{
	for (uint32_t i = 0; i < s->nblocks; i++) {
		CHECK(s->all->busy[s->block + i] != busy);
		s->all->busy[s->block + i] = busy;
	}
}

static bool slot_choose(struct slot *s)
{
	struct files *f = s->all;

	s->nblocks = 1 + draw(f, 4);
	s->block = draw(f, BLOCKS - s->nblocks + 1);
	for (uint32_t i = 0; i < s->nblocks; i++)
		if (f->busy[s->block + i])
			return false;
	return true;
}

static void slot_go(struct slot *s)
{
	struct files *f = s->all;
	size_t len, cut1, cut2;
	unsigned int iovcnt = 1;

	while (!slot_choose(s))
		continue;
	slot_mark(s, true);
	len = (size_t)s->nblocks * BLOCK;
	s->writing = draw(f, 2);
	s->iov[0] = (struct iovec){s->buf, len};
	if (draw(f, 2)) {
		cut1 = draw(f, (uint32_t)len);
		cut2 = cut1 + draw(f, (uint32_t)(len - cut1));
		s->iov[0].iov_len = cut1;
		s->iov[1] = (struct iovec){s->buf + cut1, cut2 - cut1};
		s->iov[2] = (struct iovec){s->buf + cut2, len - cut2};
		iovcnt = 3;
	}
	f->inflight++;
	if (s->writing) {
		memset(s->buf, (int)draw(f, 256), len);
		memcpy(f->model + (size_t)s->block * BLOCK, s->buf, len);
		reactor_writev(reactor_current(), &s->op, f->fd, s->iov, iovcnt,
			       (uint64_t)s->block * BLOCK,
			       draw(f, 4) ? 0 : RWF_DSYNC);
	} else {
		memset(s->buf, 0xee, len);
		reactor_readv(reactor_current(), &s->op, f->fd, s->iov, iovcnt,
			      (uint64_t)s->block * BLOCK);
	}
	CHECK(op_active(&s->op));
}

static void slot_done(struct op *op)
{
	struct slot *s = container_of(op, struct slot, op);
	struct files *f = s->all;
	size_t len = (size_t)s->nblocks * BLOCK;

	CHECK(!op_active(op));
	CHECK(op->res == (int32_t)len);
	if (!s->writing)
		CHECK(!memcmp(s->buf, f->model + (size_t)s->block * BLOCK,
			      len));
	slot_mark(s, false);
	f->inflight--;
	if (f->todo > 0) {
		f->todo--;
		slot_go(s);
	} else if (f->inflight == 0) {
		env_stop(&f->env);
	}
}

static void files_start(struct env *env)
{
	struct files *f = container_of(env, struct files, env);

	for (uint32_t i = 0; i < DEPTH; i++) {
		f->slots[i].all = f;
		f->slots[i].op.done = slot_done;
		slot_go(&f->slots[i]);
	}
}

static void random_blocks(int fd)
{
	struct files *f = calloc(1, sizeof(*f));
	size_t size = (size_t)BLOCKS * BLOCK;
	uint8_t *after = malloc(size);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	f->model = calloc(1, size);
	f->fd = fd;
	f->seed = 4711;
	f->todo = 5000;
	f->env.start = files_start;
	env_run(&f->env);
	assert_int_equal(pread(fd, after, size, 0), size);
	assert_memory_equal(after, f->model, size);
	free(after);
	free(f->model);
	free(f);
	close(fd);
}

static void test_random_memfd(void **state)
{
	random_blocks(memfd_create("blocks", MFD_CLOEXEC));
}

static void test_random_file(void **state)
{
	char path[] = "/tmp/reactor_file_XXXXXX";
	int fd = mkstemp(path);

	unlink(path);
	random_blocks(fd);
}

/* ---- One after the other: results as of the system calls. */

struct steps {
	struct env env;
	struct op op;
	int fd, step;
	uint8_t buf[100];
	struct iovec many[IOV_MAX + 100];
	struct iovec iov;
};

static void step_readv(struct steps *s, int fd, size_t len, uint64_t off)
{
	s->iov = (struct iovec){s->buf, len};
	reactor_readv(reactor_current(), &s->op, fd, &s->iov, 1, off);
}

static void steps_next(struct steps *s)
{
	struct reactor *r = reactor_current();

	switch (s->step++) {
	case 0: /* a write, of more iovecs than one call takes */
		for (unsigned int i = 0; i < ARRAY_LEN(s->many); i++)
			s->many[i] = (struct iovec){s->buf + i % 100, 1};
		reactor_writev(r, &s->op, s->fd, s->many, ARRAY_LEN(s->many), 0,
			       0);
		break;
	case 1:
		CHECK(s->op.res == IOV_MAX);
		reactor_fdatasync(r, &s->op, s->fd);
		break;
	case 2:
		CHECK(s->op.res == 0);
		step_readv(s, s->fd, 100, IOV_MAX - 30);
		break;
	case 3: /* short at the end of the file */
		CHECK(s->op.res == 30);
		step_readv(s, s->fd, 100, 1u << 20);
		break;
	case 4:
		CHECK(s->op.res == 0);
		reactor_fallocate(r, &s->op, s->fd, 0, 0, 10000);
		break;
	case 5:
		CHECK(s->op.res == 0);
		reactor_fallocate(r, &s->op, s->fd,
				  FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
				  512);
		break;
	case 6:
		CHECK(s->op.res == 0);
		reactor_fallocate(r, &s->op, s->fd, 0, 0, 0);
		break;
	case 7:
		CHECK(s->op.res == -EINVAL);
		step_readv(s, -1, 100, 0);
		break;
	case 8:
		CHECK(s->op.res == -EBADF);
		reactor_fdatasync(r, &s->op, -1);
		break;
	case 9:
		CHECK(s->op.res == -EBADF);
		env_stop(&s->env);
		break;
	default:
		CHECK(!"no such step");
	}
}

static void step_done(struct op *op)
{
	steps_next(container_of(op, struct steps, op));
}

static void steps_start(struct env *env)
{
	steps_next(container_of(env, struct steps, env));
}

static void test_results(void **state)
{
	struct steps *s = calloc(1, sizeof(*s));
	struct stat st;
	uint8_t byte;

	for (unsigned int i = 0; i < sizeof(s->buf); i++)
		s->buf[i] = (uint8_t)(i + 1);
	s->fd = memfd_create("steps", MFD_CLOEXEC);
	s->op.done = step_done;
	s->env.start = steps_start;
	env_run(&s->env);
	assert_int_equal(s->step, 10);
	assert_int_equal(fstat(s->fd, &st), 0);
	assert_int_equal(st.st_size, 10000);
	assert_int_equal(pread(s->fd, &byte, 1, 511), 1);
	assert_int_equal(byte, 0);
	assert_int_equal(pread(s->fd, &byte, 1, 512), 1);
	assert_int_equal(byte, 512 % 100 + 1);
	close(s->fd);
	free(s);
}

/* ---- More requests at once than the submission queue has entries. */

#define FLOOD 3000

struct flood {
	struct env env;
	int fd;
	uint32_t left;
	struct drop {
		struct op op;
		struct flood *all;
		struct iovec iov;
		uint32_t value;
	} drops[FLOOD];
};

static void drop_done(struct op *op)
{
	struct drop *d = container_of(op, struct drop, op);

	CHECK(op->res == sizeof(d->value));
	if (--d->all->left == 0)
		env_stop(&d->all->env);
}

static void flood_start(struct env *env)
{
	struct flood *f = container_of(env, struct flood, env);

	f->left = FLOOD;
	for (uint32_t i = 0; i < FLOOD; i++) {
		struct drop *d = &f->drops[i];

		d->op.done = drop_done;
		d->all = f;
		d->value = i;
		d->iov = (struct iovec){&d->value, sizeof(d->value)};
		reactor_writev(reactor_current(), &d->op, f->fd, &d->iov, 1,
			       (uint64_t)i * sizeof(d->value), 0);
	}
}

static void test_flood(void **state)
{
	struct flood *f = calloc(1, sizeof(*f));
	uint32_t v;

	f->fd = memfd_create("flood", MFD_CLOEXEC);
	f->env.start = flood_start;
	env_run(&f->env);
	for (uint32_t i = 0; i < FLOOD; i++) {
		assert_int_equal(
			pread(f->fd, &v, sizeof(v), (off_t)(i * sizeof(v))),
			sizeof(v));
		assert_int_equal(v, i);
	}
	close(f->fd);
	free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_memfd),
		cmocka_unit_test(test_random_file),
		cmocka_unit_test(test_results),
		cmocka_unit_test(test_flood),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
