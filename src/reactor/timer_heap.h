/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The running timers of a reactor: a binary heap by due_ns, the earliest on
 * top. Both engines use it; only struct timer's @due_ns and @slot are touched.
 *
 * Whoever sets up an object with timers reserves room for them, so that no
 * timer_heap_insert() on the data path has to allocate.
 */
#pragma once

#include <stdint.h>

#include "reactor/op.h"

#define TIMERS_MAX     (1u << 22) /* in one heap */
#define TIMERS_DEFAULT 1024u

struct timer_heap {
	struct timer **slots; /* [1..count]; [0] is not used */
	uint32_t count;
	uint32_t cap; /* the highest @count without growing */
};

/* Room for @cap timers, 1..TIMERS_MAX. 0 or -ENOMEM. */
int timer_heap_init(struct timer_heap *h, uint32_t cap);

/* Timers still in it are taken out. Takes a zeroed heap too. */
void timer_heap_deinit(struct timer_heap *h);

/* Makes room for @cap timers in all. 0, -ENOMEM, or -ENOSPC (TIMERS_MAX). */
int timer_heap_reserve(struct timer_heap *h, uint32_t cap);

/*
 * Enters @t, which is in no heap, by its due_ns. Grows the heap when it is
 * full, by half of it; errors as of timer_heap_reserve(), and then @t is in no
 * heap.
 */
int timer_heap_insert(struct timer_heap *h, struct timer *t);

/* Idempotent: a timer that is not in the heap stays so. */
void timer_heap_remove(struct timer_heap *h, struct timer *t);

/* @t's due_ns was changed while it was in the heap. */
void timer_heap_moved(struct timer_heap *h, struct timer *t);

/* When the earliest is due; UINT64_MAX when there is none. */
uint64_t timer_heap_due(const struct timer_heap *h);

/* Takes out the earliest timer with due_ns <= @now_ns; NULL without one. */
struct timer *timer_heap_pop(struct timer_heap *h, uint64_t now_ns);
