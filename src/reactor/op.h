/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Asynchronous operations are embedded in their owner, who finds itself again
 * by container_of(). An operation completes exactly once, from the reactor's
 * loop, never from inside the call that started it.
 */
#pragma once

#include <stdint.h>

#include "base/list.h"

struct op;
typedef void op_done_fn(struct op *op);

struct op {
	op_done_fn *done; /* set by the owner before the start */
	int32_t res;	  /* result: >= 0, or -errno; valid in done() */
	uint32_t magic;	  /* OP_ACTIVE between start and done() */
	struct list link; /* the engine's, while active */
	union {		  /* the engine's, while active */
		uint64_t priv[8];
		void *ptr[8];
	};
};

#define OP_ACTIVE 0x4f504143u

static inline int op_active(const struct op *op)
{
	return op->magic == OP_ACTIVE;
}

/* Work that runs on another core. The poster may not touch it until run(). */
struct mail {
	struct mail *next;		/* the mailbox's */
	void (*run)(struct mail *mail); /* on the receiving reactor */
};

/* Work for the end of the current batch of events, on the same core. */
struct deferred {
	struct list link;
	void (*run)(struct deferred *d);
};

/* A one-shot timer; rounding is up to 1 ms late, never early. */
struct timer {
	void (*expired)(struct timer *t);
	uint64_t due_ns;
	uint32_t slot; /* place in the heap, 0 when off */
};
