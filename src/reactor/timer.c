/* SPDX-License-Identifier: BSD-3-Clause */
#include "reactor/timer_heap.h"

#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"

int timer_heap_init(struct timer_heap *h, uint32_t cap)
{
	ASSERT(cap > 0);
	*h = (struct timer_heap){0};
	return timer_heap_reserve(h, cap);
}

void timer_heap_deinit(struct timer_heap *h)
{
	for (uint32_t i = 1; i <= h->count; i++)
		h->slots[i]->slot = 0;
	free(h->slots);
	*h = (struct timer_heap){0};
}

int timer_heap_reserve(struct timer_heap *h, uint32_t cap)
{
	struct timer **slots;

	if (cap <= h->cap)
		return 0;
	if (cap > TIMERS_MAX)
		return -ENOSPC;
	slots = realloc(h->slots, ((size_t)cap + 1) * sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	h->slots = slots;
	h->cap = cap;
	return 0;
}

static void place(struct timer_heap *h, uint32_t slot, struct timer *t)
{
	h->slots[slot] = t;
	t->slot = slot;
}

/* Moves @t, for which @slot is free, up past those that are due later. */
static void sift_up(struct timer_heap *h, uint32_t slot, struct timer *t)
{
	while (slot > 1 && h->slots[slot / 2]->due_ns > t->due_ns) {
		place(h, slot, h->slots[slot / 2]);
		slot /= 2;
	}
	place(h, slot, t);
}

/* Moves @t, for which @slot is free, down past those that are due earlier. */
static void sift_down(struct timer_heap *h, uint32_t slot, struct timer *t)
{
	for (;;) {
		uint32_t child = slot * 2;

		if (child > h->count)
			break;
		if (child < h->count &&
		    h->slots[child + 1]->due_ns < h->slots[child]->due_ns)
			child++;
		if (h->slots[child]->due_ns >= t->due_ns)
			break;
		place(h, slot, h->slots[child]);
		slot = child;
	}
	place(h, slot, t);
}

static int grow(struct timer_heap *h)
{
	uint32_t more = MAX(h->cap / 2, TIMERS_DEFAULT);

	if (h->cap == TIMERS_MAX)
		return -ENOSPC;
	more = MIN(more, TIMERS_MAX - h->cap);
	return timer_heap_reserve(h, h->cap + more);
}

int timer_heap_insert(struct timer_heap *h, struct timer *t)
{
	int rc;

	ASSERT(t->slot == 0);
	if (h->count == h->cap) {
		rc = grow(h);
		if (rc < 0)
			return rc;
	}
	h->count++;
	sift_up(h, h->count, t);
	return 0;
}

/* Enters @t, for which @slot is free, wherever it belongs. */
static void settle(struct timer_heap *h, uint32_t slot, struct timer *t)
{
	if (slot > 1 && h->slots[slot / 2]->due_ns > t->due_ns)
		sift_up(h, slot, t);
	else
		sift_down(h, slot, t);
}

void timer_heap_remove(struct timer_heap *h, struct timer *t)
{
	uint32_t slot = t->slot;
	struct timer *last;

	if (slot == 0)
		return;
	ASSERT(slot <= h->count);
	ASSERT(h->slots[slot] == t);

	t->slot = 0;
	last = h->slots[h->count--];
	if (last != t)
		settle(h, slot, last);
}

void timer_heap_moved(struct timer_heap *h, struct timer *t)
{
	ASSERT(t->slot >= 1 && t->slot <= h->count);
	ASSERT(h->slots[t->slot] == t);
	settle(h, t->slot, t);
}

uint64_t timer_heap_due(const struct timer_heap *h)
{
	return h->count > 0 ? h->slots[1]->due_ns : UINT64_MAX;
}

struct timer *timer_heap_pop(struct timer_heap *h, uint64_t now_ns)
{
	struct timer *t;

	if (h->count == 0 || h->slots[1]->due_ns > now_ns)
		return NULL;
	t = h->slots[1];
	timer_heap_remove(h, t);
	return t;
}
