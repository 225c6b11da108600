/* SPDX-License-Identifier: BSD-3-Clause */
#include "../unit.h"

#include <errno.h>
#include <string.h>

#include "base/macros.h"
#include "reactor/bufpool.h"
#include "reactor/reactor.h"

#define NSMALL 3u
#define NLARGE 4u

/* ---- The one thing the pool wants of a reactor: deferred work. */

static struct list deferred = LIST_INIT(deferred);

void reactor_defer(struct reactor *r, struct deferred *d)
{
	if (!list_linked(&d->link))
		list_push_back(&deferred, &d->link);
}

/* One round; true when there was something to do. */
static bool run_deferred(void)
{
	struct list *node, batch;

	list_init(&batch);
	list_splice_back(&batch, &deferred);
	if (list_empty(&batch))
		return false;
	while ((node = list_pop_front(&batch))) {
		struct deferred *d = list_entry(node, struct deferred, link);

		d->run(d);
	}
	return true;
}

/* ---- A user who waits for @len bytes. */

struct user {
	struct buf_waiter waiter;
	size_t len;
	struct iovec iov[8];
	unsigned int n;
	int turns;
};

static struct bufpool *pool;
static struct user users[4];

static bool try_get(struct user *u)
{
	u->n = bufpool_get(pool, u->len, u->iov, ARRAY_LEN(u->iov));
	return u->n > 0;
}

static void want(struct user *u, size_t len)
{
	u->len = len;
	if (!try_get(u))
		bufpool_wait(pool, &u->waiter);
}

static void give_back(struct user *u)
{
	bufpool_put(pool, u->iov, u->n);
	u->n = 0;
}

static void ready(struct buf_waiter *w)
{
	struct user *u = container_of(w, struct user, waiter);

	u->turns++;
	want(u, u->len);
}

static int setup(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(users); i++) {
		users[i] = (struct user){.waiter.ready = ready};
		list_init(&users[i].waiter.link);
	}
	return bufpool_create(NULL, NSMALL, NLARGE, &pool);
}

static int teardown(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(users); i++) {
		bufpool_unwait(pool, &users[i].waiter);
		give_back(&users[i]);
	}
	while (run_deferred())
		;
	assert_int_equal(bufpool_in_use(pool), 0);
	bufpool_destroy(pool);
	return 0;
}

static void test_lengths(void **state)
{
	static const struct {
		size_t len;
		unsigned int n;
	} rows[] = {
		{1, 1},
		{BUF_SMALL, 1},
		{BUF_SMALL + 1, 1},
		{BUF_LARGE, 1},
		{BUF_LARGE + 1, 2},
		{NLARGE * BUF_LARGE, NLARGE},
		{NLARGE * BUF_LARGE + 1, 0},
		{SIZE_MAX, 0},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct iovec iov[8];
		unsigned int n = bufpool_get(pool, rows[i].len, iov, 8);
		size_t sum = 0;

		assert_int_equal(n, rows[i].n);
		assert_int_equal(bufpool_fits(pool, rows[i].len), n > 0);
		assert_int_equal(bufpool_in_use(pool), n);
		for (unsigned int j = 0; j < n; j++) {
			assert_int_equal((uintptr_t)iov[j].iov_base % BUF_ALIGN,
					 0);
			memset(iov[j].iov_base, 0x77, iov[j].iov_len);
			sum += iov[j].iov_len;
		}
		if (n > 0)
			assert_int_equal(sum, rows[i].len);
		bufpool_put(pool, iov, n);
	}
}

static void test_exhaustion(void **state)
{
	struct iovec iov[NSMALL + NLARGE + 1];

	for (unsigned int i = 0; i < NSMALL; i++)
		assert_int_equal(bufpool_get(pool, 1, &iov[i], 1), 1);
	/* All or nothing, and no large buffer for a small wish. */
	assert_int_equal(bufpool_get(pool, 1, &iov[NSMALL], 1), 0);
	assert_int_equal(bufpool_get(pool, 2 * BUF_LARGE, &iov[NSMALL], 1), 0);
	assert_int_equal(bufpool_get(pool, 3 * BUF_LARGE, &iov[NSMALL], 3), 3);
	assert_int_equal(bufpool_get(pool, 2 * BUF_LARGE, &iov[NSMALL + 3], 2),
			 0);
	assert_int_equal(bufpool_get(pool, BUF_LARGE, &iov[NSMALL + 3], 1), 1);
	assert_int_equal(bufpool_in_use(pool), NSMALL + NLARGE);
	for (unsigned int i = 0; i < NSMALL + NLARGE; i++) {
		for (unsigned int j = 0; j < i; j++)
			assert_ptr_not_equal(iov[i].iov_base, iov[j].iov_base);
	}
	bufpool_put(pool, iov, NSMALL + NLARGE);
}

static void test_last_in_first_out(void **state)
{
	struct iovec a, b, c;

	bufpool_get(pool, 1, &a, 1);
	bufpool_get(pool, 1, &b, 1);
	bufpool_put(pool, &b, 1);
	bufpool_put(pool, &a, 1);
	bufpool_get(pool, 1, &c, 1);
	assert_ptr_equal(c.iov_base, a.iov_base);
	bufpool_put(pool, &c, 1);
}

static void test_wait(void **state)
{
	want(&users[0], NLARGE * BUF_LARGE);
	want(&users[1], BUF_LARGE);
	assert_int_equal(users[1].n, 0);
	assert_false(run_deferred());
	give_back(&users[0]);
	/* Not from inside the put. */
	assert_int_equal(users[1].turns, 0);
	assert_true(run_deferred());
	assert_int_equal(users[1].turns, 1);
	assert_int_equal(users[1].n, 1);
	assert_false(run_deferred());
}

/* Who needs many is not passed by those who need few. */
static void test_line_is_strict(void **state)
{
	struct iovec one;

	want(&users[0], 2 * BUF_LARGE);
	assert_int_equal(bufpool_get(pool, BUF_LARGE, &one, 1), 1);
	want(&users[1], 3 * BUF_LARGE);
	want(&users[2], BUF_LARGE);
	want(&users[3], 1);
	assert_int_equal(users[2].n, 0);
	assert_int_equal(users[3].n, 0);

	bufpool_put(pool, &one, 1);
	run_deferred();
	assert_int_equal(users[1].turns, 1);
	assert_int_equal(users[2].turns, 0);
	assert_int_equal(users[3].turns, 0);

	give_back(&users[0]);
	run_deferred();
	assert_int_equal(users[1].n, 3);
	assert_int_equal(users[2].n, 1);
	assert_int_equal(users[3].n, 1);
}

/* Who had something in his turn and wants more goes to the end. */
static void ready_greedy(struct buf_waiter *w)
{
	struct user *u = container_of(w, struct user, waiter);
	struct iovec iov;

	u->turns++;
	if (bufpool_get(pool, BUF_LARGE, &iov, 1) == 1)
		u->iov[u->n++] = iov;
	bufpool_wait(pool, w);
}

static void test_greedy(void **state)
{
	struct iovec one;

	want(&users[0], (NLARGE - 1) * BUF_LARGE);
	assert_int_equal(bufpool_get(pool, BUF_LARGE, &one, 1), 1);
	users[1].waiter.ready = ready_greedy;
	bufpool_wait(pool, &users[1].waiter);
	want(&users[2], BUF_LARGE);

	bufpool_put(pool, &one, 1);
	run_deferred();
	assert_int_equal(users[1].n, 1);
	assert_int_equal(users[2].n, 0);
	give_back(&users[0]);
	run_deferred();
	assert_int_equal(users[2].n, 1);
	assert_int_equal(users[1].turns, 2);
	assert_int_equal(users[1].n, 2);
}

static void test_unwait(void **state)
{
	want(&users[0], (NLARGE - 1) * BUF_LARGE);
	want(&users[1], NLARGE * BUF_LARGE);
	want(&users[2], BUF_LARGE);
	assert_int_equal(users[2].n, 0);

	/* Those whom he held up get their turn, he does not. */
	bufpool_unwait(pool, &users[1].waiter);
	bufpool_unwait(pool, &users[1].waiter);
	assert_true(run_deferred());
	assert_int_equal(users[1].turns, 0);
	assert_int_equal(users[2].n, 1);
}

/* A ready() that takes the next one off the line. */
static void ready_unwaits(struct buf_waiter *w)
{
	users[0].turns++;
	bufpool_unwait(pool, &users[1].waiter);
}

static void test_unwait_within_ready(void **state)
{
	struct iovec iov[NLARGE];

	assert_int_equal(bufpool_get(pool, NLARGE * BUF_LARGE, iov, NLARGE),
			 NLARGE);
	users[0].waiter.ready = ready_unwaits;
	bufpool_wait(pool, &users[0].waiter);
	want(&users[1], BUF_LARGE);
	want(&users[2], BUF_LARGE);
	bufpool_put(pool, iov, NLARGE);
	run_deferred();
	assert_int_equal(users[0].turns, 1);
	assert_int_equal(users[1].turns, 0);
	assert_int_equal(users[2].n, 1);
}

/* A waiter with nothing out that could wake him is woken nevertheless. */
static void test_wait_when_all_is_free(void **state)
{
	users[0].len = 1;
	bufpool_wait(pool, &users[0].waiter);
	assert_true(run_deferred());
	assert_int_equal(users[0].n, 1);
}

static void test_sizes_of_pools(void **state)
{
	struct bufpool *p;
	struct iovec iov;

	assert_int_equal(bufpool_create(NULL, 0, 1, &p), 0);
	assert_true(bufpool_fits(p, 1));
	assert_int_equal(bufpool_get(p, 1, &iov, 1), 1);
	assert_int_equal(iov.iov_len, 1);
	bufpool_put(p, &iov, 1);
	bufpool_destroy(p);

	assert_int_equal(bufpool_create(NULL, 1, 0, &p), 0);
	assert_true(bufpool_fits(p, BUF_SMALL));
	assert_false(bufpool_fits(p, BUF_SMALL + 1));
	bufpool_destroy(p);

	assert_int_equal(bufpool_create(NULL, 1, SIZE_MAX / 2, &p), -ENOMEM);
	assert_int_equal(bufpool_create(NULL, SIZE_MAX / 2, 1, &p), -ENOMEM);
	bufpool_destroy(NULL);
}

static void destroy_with_one_out(void *arg)
{
	struct iovec iov;

	if (bufpool_get(pool, 1, &iov, 1) == 1)
		bufpool_destroy(pool);
}

static void put_foreign(void *arg)
{
	static uint8_t foreign[BUF_SMALL];
	struct iovec iov = {foreign, sizeof(foreign)};

	bufpool_put(pool, &iov, 1);
}

static void put_too_many(void *arg)
{
	struct iovec iov;

	if (bufpool_get(pool, 1, &iov, 1) == 1) {
		bufpool_put(pool, &iov, 1);
		bufpool_put(pool, &iov, 1);
	}
}

static void test_misuse_aborts(void **state)
{
	assert_true(aborts(destroy_with_one_out, NULL));
	assert_true(aborts(put_foreign, NULL));
	assert_true(aborts(put_too_many, NULL));
}

#define POOL_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		POOL_TEST(test_lengths),
		POOL_TEST(test_exhaustion),
		POOL_TEST(test_last_in_first_out),
		POOL_TEST(test_wait),
		POOL_TEST(test_line_is_strict),
		POOL_TEST(test_greedy),
		POOL_TEST(test_unwait),
		POOL_TEST(test_unwait_within_ready),
		POOL_TEST(test_wait_when_all_is_free),
		POOL_TEST(test_sizes_of_pools),
		POOL_TEST(test_misuse_aborts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
