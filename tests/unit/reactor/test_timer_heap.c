/* SPDX-License-Identifier: BSD-3-Clause */
#include "../unit.h"

#include <errno.h>
#include <stdlib.h>

#include "base/macros.h"
#include "reactor/timer_heap.h"

#define NTIMERS 500

static struct timer timers[NTIMERS];

static uint32_t next_random(uint32_t *x)
{
	*x = *x * 1664525 + 1013904223;
	return *x >> 8;
}

/* Every parent is due no later than its children, and knows its place. */
static void check(const struct timer_heap *h)
{
	assert_true(h->count <= h->cap);
	for (uint32_t i = 1; i <= h->count; i++) {
		assert_int_equal(h->slots[i]->slot, i);
		if (i > 1)
			assert_true(h->slots[i / 2]->due_ns <=
				    h->slots[i]->due_ns);
	}
}

static int setup(void **state)
{
	for (int i = 0; i < NTIMERS; i++)
		timers[i] = (struct timer){0};
	return 0;
}

static void test_empty(void **state)
{
	struct timer_heap h = {0};

	timer_heap_deinit(&h);
	assert_int_equal(timer_heap_init(&h, 1), 0);
	assert_true(timer_heap_due(&h) == UINT64_MAX);
	assert_null(timer_heap_pop(&h, UINT64_MAX));
	timer_heap_remove(&h, &timers[0]);
	timer_heap_deinit(&h);
}

static void test_order(void **state)
{
	static const uint64_t due[] = {50, 10, 40, 10, 30, 0, UINT64_MAX - 1};
	uint64_t last = 0;
	struct timer_heap h;
	struct timer *t;
	int n = 0;

	assert_int_equal(timer_heap_init(&h, ARRAY_LEN(due)), 0);
	for (size_t i = 0; i < ARRAY_LEN(due); i++) {
		timers[i].due_ns = due[i];
		assert_int_equal(timer_heap_insert(&h, &timers[i]), 0);
		check(&h);
	}
	while ((t = timer_heap_pop(&h, UINT64_MAX))) {
		assert_true(t->due_ns >= last);
		assert_int_equal(t->slot, 0);
		last = t->due_ns;
		n++;
		check(&h);
	}
	assert_int_equal(n, ARRAY_LEN(due));
	timer_heap_deinit(&h);
}

/* Due exactly now is due; one nanosecond later is not. */
static void test_due(void **state)
{
	struct timer_heap h;

	assert_int_equal(timer_heap_init(&h, 4), 0);
	timers[0].due_ns = 100;
	assert_int_equal(timer_heap_insert(&h, &timers[0]), 0);
	assert_true(timer_heap_due(&h) == 100);
	assert_null(timer_heap_pop(&h, 99));
	assert_ptr_equal(timer_heap_pop(&h, 100), &timers[0]);
	assert_null(timer_heap_pop(&h, UINT64_MAX));
	timer_heap_deinit(&h);
}

static void test_moved(void **state)
{
	struct timer_heap h;

	assert_int_equal(timer_heap_init(&h, 3), 0);
	for (uint64_t i = 0; i < 3; i++) {
		timers[i].due_ns = 10 + i;
		assert_int_equal(timer_heap_insert(&h, &timers[i]), 0);
	}
	timers[0].due_ns = 50;
	timer_heap_moved(&h, &timers[0]);
	check(&h);
	assert_true(timer_heap_due(&h) == 11);
	timers[2].due_ns = 1;
	timer_heap_moved(&h, &timers[2]);
	check(&h);
	assert_true(timer_heap_due(&h) == 1);
	timer_heap_deinit(&h);
	for (int i = 0; i < 3; i++)
		assert_int_equal(timers[i].slot, 0);
}

static void test_growth(void **state)
{
	struct timer_heap h;

	assert_int_equal(timer_heap_init(&h, 2), 0);
	assert_int_equal(h.cap, 2);
	for (int i = 0; i < 2; i++)
		assert_int_equal(timer_heap_insert(&h, &timers[i]), 0);
	assert_int_equal(h.cap, 2);
	assert_int_equal(timer_heap_insert(&h, &timers[2]), 0);
	assert_true(h.cap >= 3);
	check(&h);

	assert_int_equal(timer_heap_reserve(&h, 5000), 0);
	assert_int_equal(h.cap, 5000);
	assert_int_equal(timer_heap_reserve(&h, 10), 0);
	assert_int_equal(h.cap, 5000);
	assert_int_equal(timer_heap_reserve(&h, TIMERS_MAX + 1), -ENOSPC);
	assert_int_equal(timer_heap_reserve(&h, TIMERS_MAX), 0);
	check(&h);
	timer_heap_deinit(&h);
}

/* The last one that fits, and the one that does not. */
static void test_limit(void **state)
{
	struct timer *many = calloc(TIMERS_MAX + 1, sizeof(*many));
	struct timer_heap h;

	assert_non_null(many);
	assert_int_equal(timer_heap_init(&h, TIMERS_DEFAULT), 0);
	for (uint32_t i = 0; i < TIMERS_MAX; i++) {
		if (timer_heap_insert(&h, &many[i]) != 0)
			fail();
	}
	assert_int_equal(h.count, TIMERS_MAX);
	assert_int_equal(timer_heap_insert(&h, &many[TIMERS_MAX]), -ENOSPC);
	assert_int_equal(many[TIMERS_MAX].slot, 0);
	timer_heap_remove(&h, &many[7]);
	assert_int_equal(timer_heap_insert(&h, &many[TIMERS_MAX]), 0);
	timer_heap_deinit(&h);
	free(many);
}

/* Which timer of the model is due first? */
static uint64_t model_due(void)
{
	uint64_t due = UINT64_MAX;

	for (int i = 0; i < NTIMERS; i++) {
		if (timers[i].slot)
			due = MIN(due, timers[i].due_ns);
	}
	return due;
}

static void test_random(void **state)
{
	struct timer_heap h;
	uint32_t x = 42;

	assert_int_equal(timer_heap_init(&h, 10), 0);
	for (int step = 0; step < 20000; step++) {
		struct timer *t = &timers[next_random(&x) % NTIMERS];
		uint64_t due = next_random(&x) % 1000;
		uint64_t first = model_due();

		switch (next_random(&x) % 4) {
		case 0:
			t = timer_heap_pop(&h, due);
			assert_int_equal(t != NULL, first <= due);
			if (t)
				assert_true(t->due_ns == first);
			break;
		case 1:
			timer_heap_remove(&h, t);
			assert_int_equal(t->slot, 0);
			break;
		default:
			t->due_ns = due;
			if (t->slot)
				timer_heap_moved(&h, t);
			else
				assert_int_equal(timer_heap_insert(&h, t), 0);
		}
		assert_true(timer_heap_due(&h) == model_due());
		if (step % 64 == 0)
			check(&h);
	}
	timer_heap_deinit(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_empty, setup),
		cmocka_unit_test_setup(test_order, setup),
		cmocka_unit_test_setup(test_due, setup),
		cmocka_unit_test_setup(test_moved, setup),
		cmocka_unit_test_setup(test_growth, setup),
		cmocka_unit_test_setup(test_limit, setup),
		cmocka_unit_test_setup(test_random, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
