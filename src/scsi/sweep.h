/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A sweep goes to every core, does its work there, which may take a while (for
 * instance until tasks have ended), and tells its origin when all are done. Its
 * memory is had before it starts, so that it cannot fail on the way.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "reactor/reactor.h"

struct sweep;

struct sweep_core {
	struct mail mail;
	struct sweep *sweep;
	struct reactor *reactor;
	uint32_t index;
	int error;	  /* each()'s, for done() */
	uint64_t seq;	  /* a drain's: tasks up to this one */
	struct list link; /* scsi_core's drains */
	bool (*busy)(struct sweep_core *c);
};

struct sweep {
	/* On each core; ends in sweep_core_done(c), then or later. */
	void (*each)(struct sweep_core *c);
	/* On the origin, from the loop. */
	void (*done)(struct sweep *s);
	void *ctx;
	struct reactor *origin;
	struct sweep_core *cores; /* [n] */
	uint32_t n;
	uint32_t left; /* 0 = not under way */
};

/* 0 or -ENOMEM. */
int sweep_init(struct sweep *s, struct reactors *set);
void sweep_deinit(struct sweep *s);
struct sweep *sweep_create(struct reactors *set);
void sweep_destroy(struct sweep *s);

/* From the reactor that done() comes to. Not while it is under way. */
void sweep_start(struct sweep *s);
void sweep_core_done(struct sweep_core *c);
static inline bool sweep_active(const struct sweep *s)
{
	return s->left > 0;
}
