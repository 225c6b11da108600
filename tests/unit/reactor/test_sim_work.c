/* SPDX-License-Identifier: BSD-3-Clause */
/* The simulated engine: mail, deferred work, timers, fanout, files, faults. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/macros.h"
#include "reactor/reactor_sim.h"

#define SEC 1000000000ull

static struct reactors *world(uint64_t seed, uint32_t nreactors)
{
	const struct sim_options opt = {
		.seed = seed,
		.nreactors = nreactors,
		.short_recv = 300,
		.short_send = 300,
		.latency_max_ns = 50000,
	};
	struct reactors *set = NULL;

	assert_int_equal(sim_create(&opt, &set), 0);
	return set;
}

static bool never(void *ctx)
{
	(void)ctx;
	return false;
}

static void drain(struct reactors *set)
{
	assert_false(sim_run_until(set, never, NULL, 1000 * SEC));
}

/* ------------------------------------------------------------------------
 * Mail, deferred work, timers, fanout.
 */

struct letter {
	struct mail mail;
	uint32_t number;
	uint32_t *next; /* expected by the receiver */
	struct reactor *to;
};

static void letter_run(struct mail *mail)
{
	struct letter *l = container_of(mail, struct letter, mail);

	assert_ptr_equal(reactor_current(), l->to);
	assert_int_equal(l->number, *l->next);
	++*l->next;
}

struct burst {
	struct mail mail;
	struct letter *letters;
	uint32_t n;
};

static void burst_run(struct mail *mail)
{
	struct burst *b = container_of(mail, struct burst, mail);

	for (uint32_t i = 0; i < b->n; i++)
		mail_post(b->letters[i].to, &b->letters[i].mail);
}

static void test_mail_order(void **state)
{
	enum { N = 50 };
	struct letter l[4][N];
	uint32_t next[4] = {0};
	struct burst bursts[3];
	struct reactors *set = world(9, 3);

	(void)state;
	/* From three reactors and from outside to the same one. */
	for (int f = 0; f < 4; f++) {
		for (uint32_t i = 0; i < N; i++) {
			l[f][i] = (struct letter){.mail.run = letter_run,
						  .number = i,
						  .next = &next[f],
						  .to = reactors_get(set, 1)};
		}
	}
	for (uint32_t f = 0; f < 3; f++) {
		bursts[f] = (struct burst){
			.mail.run = burst_run, .letters = l[f], .n = N};
		mail_post(reactors_get(set, f), &bursts[f].mail);
	}
	for (int i = 0; i < N; i++)
		mail_post(l[3][i].to, &l[3][i].mail);
	drain(set);
	for (int f = 0; f < 4; f++)
		assert_int_equal(next[f], N);
	reactors_destroy(set);
}

struct clock;

struct alarm {
	struct timer timer;
	struct clock *clock;
};

struct clock {
	struct alarm alarms[20];
	struct reactor *r;
	uint64_t last_due;
	uint32_t nfired;
	struct deferred d;
	uint32_t ndeferred;
};

static void clock_stopped(struct timer *t)
{
	(void)t;
	fail();
}

static void clock_tick(struct timer *t)
{
	struct clock *c = container_of(t, struct alarm, timer)->clock;

	assert_ptr_equal(reactor_current(), c->r);
	assert_true(reactor_now_ns(c->r) >= t->due_ns);
	assert_true(reactor_now_ns(c->r) < t->due_ns + 2000000);
	assert_true(t->due_ns >= c->last_due);
	c->last_due = t->due_ns;
	c->nfired++;
	reactor_defer(c->r, &c->d);
	reactor_defer(c->r, &c->d);
}

static void clock_deferred(struct deferred *d)
{
	struct clock *c = container_of(d, struct clock, d);

	assert_ptr_equal(reactor_current(), c->r);
	c->ndeferred++;
}

static void clock_init(struct clock *c, struct reactor *r)
{
	*c = (struct clock){.r = r, .d.run = clock_deferred};
	list_init(&c->d.link);
	for (size_t i = 0; i < ARRAY_LEN(c->alarms); i++) {
		c->alarms[i].clock = c;
		timer_init(&c->alarms[i].timer, clock_tick);
	}
}

static void test_timers(void **state)
{
	struct reactors *set = world(11, 2);
	struct clock c;

	(void)state;
	clock_init(&c, reactors_get(set, 1));
	timer_init(&c.alarms[0].timer, clock_stopped);
	for (size_t i = 0; i < ARRAY_LEN(c.alarms); i++)
		timer_start(c.r, &c.alarms[i].timer, sim_random(set) % 5000);
	timer_stop(c.r, &c.alarms[0].timer);
	assert_false(timer_running(&c.alarms[0].timer));
	drain(set);
	assert_int_equal(c.nfired, ARRAY_LEN(c.alarms) - 1);
	assert_in_range(c.ndeferred, 1, ARRAY_LEN(c.alarms) - 1);
	assert_false(sim_step(set, UINT64_MAX));
	reactors_destroy(set);
}

/* Nothing happens while what is to come lies beyond the limit. */
static void test_limit(void **state)
{
	struct reactors *set = world(12, 1);
	struct clock c;

	(void)state;
	clock_init(&c, reactors_get(set, 0));
	timer_start(c.r, &c.alarms[0].timer, 5000);
	assert_false(sim_step(set, 4 * SEC));
	assert_int_equal(c.nfired, 0);
	assert_true(sim_step(set, 6 * SEC));
	assert_int_equal(c.nfired, 1);
	reactors_destroy(set);
}

struct round {
	struct fanout f;
	struct mail mail;
	struct reactors *set;
	uint32_t seen;
	bool done;
};

static void round_fn(struct fanout *f, struct reactor *r)
{
	struct round *rd = container_of(f, struct round, f);

	assert_ptr_equal(reactor_current(), r);
	rd->seen |= 1u << reactor_index(r);
}

static void round_done(struct fanout *f)
{
	struct round *rd = container_of(f, struct round, f);

	assert_ptr_equal(reactor_current(), reactors_get(rd->set, 2));
	rd->done = true;
}

static void round_start(struct mail *mail)
{
	struct round *rd = container_of(mail, struct round, mail);

	assert_int_equal(reactors_fanout(rd->set, &rd->f), 0);
}

static void test_fanout(void **state)
{
	struct reactors *set = world(13, 4);
	struct round rd = {.f = {.fn = round_fn, .done = round_done},
			   .mail.run = round_start,
			   .set = set};

	(void)state;
	mail_post(reactors_get(set, 2), &rd.mail);
	drain(set);
	assert_true(rd.done);
	assert_int_equal(rd.seen, 0xf);
	reactors_destroy(set);
}

/* ------------------------------------------------------------------------
 * Files.
 */

struct file_op {
	struct op op;
	struct reactor *r;
	uint32_t *order; /* completions so far */
	uint32_t at;	 /* its place among them, from 1 */
	uint8_t data[8192];
	struct iovec iov[2];
};

static void file_done(struct op *op)
{
	struct file_op *f = container_of(op, struct file_op, op);

	assert_ptr_equal(reactor_current(), f->r);
	assert_false(op_active(op));
	f->at = ++*f->order;
}

static int file_work(struct op *op)
{
	assert_true(op_active(op));
	assert_null(reactor_current());
	return -ENOENT;
}

static void file_op_init(struct file_op *f, struct reactor *r, uint32_t *order,
			 uint8_t fill)
{
	memset(f, 0, sizeof(*f));
	f->op.done = file_done;
	f->r = r;
	f->order = order;
	memset(f->data, fill, sizeof(f->data));
	f->iov[0] = (struct iovec){f->data, 1000};
	f->iov[1] = (struct iovec){f->data + 1000, sizeof(f->data) - 1000};
}

static void test_files(void **state)
{
	enum { N = 10 };
	static struct file_op w[N], r;
	struct reactors *set = world(21, 1);
	struct reactor *re = reactors_main(set);
	int fd = memfd_create("sim", MFD_CLOEXEC);
	bool ordered = true;
	uint32_t order = 0, last = 0;

	(void)state;
	for (uint32_t i = 0; i < N; i++) {
		file_op_init(&w[i], re, &order, (uint8_t)(i + 1));
		reactor_writev(re, &w[i].op, fd, w[i].iov, 2, 4096, 0);
		assert_true(op_active(&w[i].op));
	}
	drain(set);
	for (uint32_t i = 0; i < N; i++) {
		assert_int_equal(w[i].op.res, 8192);
		ordered = ordered && w[i].at == i + 1;
		if (w[i].at == N)
			last = i;
	}
	assert_false(ordered);
	file_op_init(&r, re, &order, 0);
	reactor_readv(re, &r.op, fd, r.iov, 2, 4096);
	drain(set);
	/* The one that completed last is the one that is there. */
	assert_int_equal(r.op.res, 8192);
	assert_memory_equal(r.data, w[last].data, 8192);
	reactor_fdatasync(re, &r.op, fd);
	drain(set);
	assert_int_equal(r.op.res, 0);
	reactor_fallocate(re, &r.op, fd, 0, 0, 1 << 20);
	drain(set);
	assert_int_equal(r.op.res, 0);
	assert_int_equal(lseek(fd, 0, SEEK_END), 1 << 20);
	reactor_readv(re, &r.op, -1, r.iov, 2, 0);
	drain(set);
	assert_int_equal(r.op.res, -EBADF);
	reactor_offload(re, &r.op, file_work);
	drain(set);
	assert_int_equal(r.op.res, -ENOENT);
	/* One under way at the end of the world. */
	reactor_readv(re, &r.op, fd, r.iov, 2, 0);
	reactors_destroy(set);
	close(fd);
}

static void test_faults(void **state)
{
	const struct sim_options opt = {.seed = 5,
					.nreactors = 1,
					.io_error = 200,
					.short_io = 200,
					.latency_max_ns = 1000};
	int fd = memfd_create("sim", MFD_CLOEXEC);
	uint32_t order = 0, nfail = 0, nshort = 0;
	static struct file_op f;
	struct reactors *set;
	struct reactor *r;

	(void)state;
	assert_int_equal(sim_create(&opt, &set), 0);
	r = reactors_main(set);
	for (int i = 0; i < 1000; i++) {
		file_op_init(&f, r, &order, (uint8_t)i);
		reactor_writev(r, &f.op, fd, f.iov, 2, 0, 0);
		drain(set);
		if (f.op.res == -EIO) {
			nfail++;
			continue;
		}
		assert_in_range(f.op.res, 512, 8192);
		assert_int_equal(f.op.res % 512, 0);
		nshort += f.op.res < 8192;
	}
	assert_in_range(nfail, 120, 280);
	assert_in_range(nshort, 80, 250);
	reactors_destroy(set);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mail_order),
		cmocka_unit_test(test_timers),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_fanout),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_faults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
