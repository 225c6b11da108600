/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Disks that leave under load, with real threads: two reactors keep I/O going
 * and check every byte, the control reactor reads statistics and then removes
 * the disk. Also the test for a thread sanitizer.
 */
#include "../unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bdev/bdev.h"
#include "bdev/vbdev.h"
#include "reactor/reactor.h"

#define NCORES	  2
#define DEPTH	  16
#define IO_MAX	  (32u << 10)
#define AREA	  (1u << 20) /* bytes of a core */
#define DISK_SIZE (NCORES * AREA)
#define IOS_MIN	  2000 /* of a core, before the removal */

/* On the loop an assertion of cmocka would jump out of the wrong thread. */
#define CHECK(expr)                                                        \
	do {                                                               \
		if (!(expr)) {                                             \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, \
				#expr);                                    \
			abort();                                           \
		}                                                          \
	} while (0)

struct core;

struct slot {
	struct core *core;
	struct bdev_io io;
	struct iovec iov;
	uint8_t *buf;
	uint64_t offset, len;
	uint8_t value; /* what a write writes */
	bool busy;
};

/* One reactor's part of the user. The I/O of a slot stays in the slot's own
 * stripe, so that each knows what it must read. */
struct core {
	struct rig *rig;
	struct mail turn, ready, close, closed;
	struct bdev_channel *ch;
	uint32_t index, busy, errors;
	uint64_t ios, seed;
	bool told, closing;
	struct slot slots[DEPTH];
	uint8_t image[AREA];
};

struct rig {
	struct reactors *set;
	struct bdev_registry *reg;
	struct bdev_desc desc;
	struct bdev *bdev;
	struct core *cores; /* NCORES */
	uint32_t ready, closed;
	bool fails; /* I/O may end with -ENODEV */
	struct timer watchdog;
	struct mail start;
	struct bdev_removal rm;
	/* Makes the disk, on the control reactor; removes it, or its base. */
	struct bdev *(*make)(struct rig *rig);
	void (*remove)(struct rig *rig);
	char path[64];
};

static uint64_t rnd(struct core *c, uint64_t n)
{
	c->seed = c->seed * 6364136223846793005u + 1442695040888963407u;
	return (c->seed >> 33) % n;
}

static void ended(struct slot *s)
{
	struct core *c = s->core;
	uint8_t *image = c->image + s->offset;
	int r = s->io.result;

	CHECK(r == 0 || (c->rig->fails && r == -ENODEV));
	c->errors += r != 0;
	if (r == 0 && s->io.op == BDEV_READ)
		CHECK(memcmp(s->buf, image, s->len) == 0);
	if (r == 0 && s->io.op == BDEV_WRITE)
		memset(image, s->value, s->len);
	if (r == 0 && s->io.op == BDEV_WRITE_ZEROES)
		memset(image, 0, s->len);
	s->busy = false;
	c->busy--;
	c->ios++;
}

static void slot_done(struct bdev_io *io)
{
	ended(container_of(io, struct slot, io));
}

static void start_io(struct core *c, uint32_t i)
{
	static const enum bdev_op ops[] = {BDEV_READ,	      BDEV_READ,
					   BDEV_WRITE,	      BDEV_WRITE,
					   BDEV_WRITE_ZEROES, BDEV_FLUSH};
	struct slot *s = &c->slots[i];
	uint32_t stripe = AREA / DEPTH;
	struct bdev_io *io = &s->io;

	memset(io, 0, sizeof(*io));
	io->op = ops[rnd(c, ARRAY_LEN(ops))];
	io->done = slot_done;
	s->offset = s->len = 0;
	if (io->op != BDEV_FLUSH) {
		s->len = (1 + rnd(c, IO_MAX / 512)) * 512;
		s->offset =
			i * stripe + rnd(c, (stripe - s->len) / 512 + 1) * 512;
		io->offset = c->index * AREA + s->offset;
		io->len = s->len;
		io->fua = rnd(c, 8) == 0;
	}
	if (io->op == BDEV_READ || io->op == BDEV_WRITE) {
		s->value = (uint8_t)rnd(c, 256);
		memset(s->buf, s->value, s->len);
		s->iov = (struct iovec){s->buf, s->len};
		io->iov = &s->iov;
		io->iovcnt = 1;
	}
	s->busy = true;
	c->busy++;
	if (bdev_submit(c->ch, io) == BDEV_DONE)
		ended(s);
}

static void turn(struct mail *m)
{
	struct core *c = container_of(m, struct core, turn);
	struct reactors *set = c->rig->set;
	uint32_t i;

	if (c->closing && c->busy == 0) {
		bdev_channel_put(take(&c->ch));
		mail_post(reactors_main(set), &c->closed);
		return;
	}
	for (i = 0; i < DEPTH && !c->closing; i++) {
		if (!c->slots[i].busy)
			start_io(c, i);
	}
	if (c->ios >= IOS_MIN && !c->told) {
		c->told = true;
		mail_post(reactors_main(set), &c->ready);
	}
	mail_post(reactors_get(set, c->index), m);
}

static void first_turn(struct mail *m)
{
	struct core *c = container_of(m, struct core, turn);

	c->ch = bdev_channel_get(c->rig->bdev,
				 reactors_get(c->rig->set, c->index));
	CHECK(c->ch);
	c->turn.run = turn;
	turn(m);
}

static void close_core(struct mail *m)
{
	container_of(m, struct core, close)->closing = true;
}

static void core_closed(struct mail *m)
{
	struct rig *rig = container_of(m, struct core, closed)->rig;

	if (++rig->closed == NCORES)
		bdev_close(&rig->desc);
}

/* Every core has done its share: now the disk goes, while they go on. */
static void core_ready(struct mail *m)
{
	struct rig *rig = container_of(m, struct core, ready)->rig;
	struct bdev_stats stats;

	bdev_get_stats(rig->bdev, &stats);
	CHECK(stats.ops[BDEV_READ] > 0);
	bdev_reset_stats(rig->bdev);
	if (++rig->ready == NCORES)
		rig->remove(rig);
}

static void on_event(struct bdev_desc *desc, enum bdev_event event)
{
	struct rig *rig = container_of(desc, struct rig, desc);
	uint32_t i;

	CHECK(event == BDEV_EVENT_REMOVE);
	for (i = 0; i < NCORES; i++)
		mail_post(reactors_get(rig->set, i), &rig->cores[i].close);
}

static void on_removed(struct bdev_removal *rm)
{
	reactors_stop(container_of(rm, struct rig, rm)->set);
}

static void start(struct mail *m)
{
	struct rig *rig = container_of(m, struct rig, start);
	uint32_t i;

	rig->bdev = rig->make(rig);
	CHECK(rig->bdev && bdev_size(rig->bdev) >= DISK_SIZE);
	CHECK(bdev_open(rig->reg, rig->bdev->name, &rig->desc, on_event) == 0);
	for (i = 0; i < NCORES; i++)
		mail_post(reactors_get(rig->set, i), &rig->cores[i].turn);
}

static void too_long(struct timer *t)
{
	CHECK(!"ended in time");
}

static void init_core(struct rig *rig, uint32_t index)
{
	struct core *c = &rig->cores[index];
	int i;

	c->rig = rig;
	c->index = index;
	c->seed = index + 1;
	c->turn.run = first_turn;
	c->ready.run = core_ready;
	c->close.run = close_core;
	c->closed.run = core_closed;
	for (i = 0; i < DEPTH; i++) {
		c->slots[i].core = c;
		c->slots[i].buf = aligned_alloc(4096, IO_MAX);
		CHECK(c->slots[i].buf);
	}
}

static void deinit_core(struct core *c)
{
	int i;

	for (i = 0; i < DEPTH; i++)
		free(c->slots[i].buf);
}

/* How many I/Os failed. */
static uint32_t run_rig(struct rig *rig)
{
	static const uint32_t cpus[NCORES] = {0, 0};
	const struct reactor_options opt = {.cores = cpus, .ncores = NCORES};
	const char *why = NULL;
	uint32_t i, errors = 0;

	rig->cores = calloc(NCORES, sizeof(*rig->cores));
	assert_non_null(rig->cores);
	if (reactors_create(&opt, &rig->set, &why))
		fail_msg("%s", why);
	assert_int_equal(bdev_registry_create(rig->set, &rig->reg), 0);
	for (i = 0; i < NCORES; i++)
		init_core(rig, i);
	rig->start.run = start;
	rig->rm.done = on_removed;
	mail_post(reactors_main(rig->set), &rig->start);
	timer_init(&rig->watchdog, too_long);
	timer_start(reactors_main(rig->set), &rig->watchdog, 60000);
	reactors_run(rig->set);
	timer_stop(reactors_main(rig->set), &rig->watchdog);
	assert_null(bdev_first(rig->reg));
	bdev_registry_destroy(rig->reg);
	reactors_destroy(rig->set);
	for (i = 0; i < NCORES; i++) {
		assert_true(rig->cores[i].ios >= IOS_MIN);
		errors += rig->cores[i].errors;
		deinit_core(&rig->cores[i]);
	}
	free(rig->cores);
	return errors;
}

/* ---- The disks. */

static struct bdev *make_malloc(struct rig *rig)
{
	struct bdev_common c = {.name = "disk"};
	struct bdev *b = NULL;

	CHECK(bdev_malloc_create(rig->reg, &c, DISK_SIZE / 512, 512, &b,
				 NULL) == 0);
	return b;
}

static struct bdev *make_file(struct rig *rig)
{
	struct bdev_common c = {.name = "disk"};
	struct bdev *b = NULL;

	CHECK(bdev_file_create(rig->reg, &c, rig->path, 512, &b, NULL) == 0);
	return b;
}

static struct bdev *make_tower(struct rig *rig)
{
	static const uint64_t us[BDEV_LATENCY_COUNT];
	struct bdev_common c = {.name = "slow"};
	struct bdev *b = make_file(rig);
	uint32_t n;

	CHECK(bdev_error_create(rig->reg, NULL, "disk", &b, NULL) == 0);
	CHECK(bdev_split_create(rig->reg, "EE_disk", 1, 0, &n, NULL) == 0);
	CHECK(bdev_delay_create(rig->reg, &c, "EE_diskp0", us, &b, NULL) == 0);
	return b;
}

static void remove_disk(struct rig *rig)
{
	CHECK(bdev_remove(bdev_find(rig->reg, "disk"), &rig->rm) == 0);
}

/* I/O that would never end is at the middle of the tower. */
static void hang_and_remove(struct rig *rig)
{
	const struct bdev_injection inj = {
		.ops = 1 << BDEV_READ | 1 << BDEV_WRITE,
		.fault = BDEV_FAULT_PENDING,
		.count = 10,
	};

	CHECK(bdev_error_inject(bdev_find(rig->reg, "EE_disk"), &inj) == 0);
	remove_disk(rig);
}

static void test_ram_disk(void **state)
{
	struct rig rig = {.make = make_malloc, .remove = remove_disk};

	assert_int_equal(run_rig(&rig), 0);
}

static int open_tmpfile(struct rig *rig)
{
	int fd = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, DISK_SIZE), 0);
	snprintf(rig->path, sizeof(rig->path), "/proc/self/fd/%d", fd);
	return fd;
}

static void test_file(void **state)
{
	struct rig rig = {.make = make_file, .remove = remove_disk};
	int fd = open_tmpfile(&rig);

	assert_int_equal(run_rig(&rig), 0);
	close(fd);
}

static void test_tower(void **state)
{
	struct rig rig = {.make = make_tower, .remove = remove_disk};
	int fd = open_tmpfile(&rig);

	assert_int_equal(run_rig(&rig), 0);
	rig = (struct rig){
		.make = make_tower, .remove = hang_and_remove, .fails = true};
	close(fd);
	fd = open_tmpfile(&rig);
	run_rig(&rig);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ram_disk),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_tower),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
