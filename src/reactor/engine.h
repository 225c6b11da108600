/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an engine behind reactor.h fills in, and what it gets from reactor.c.
 * Private to the reactor layer.
 *
 * An engine embeds struct reactors and struct reactor as the first members of
 * its own. What is the same for all of them is done in reactor.c, once: timers,
 * deferred work, fanout, checks of the arguments.
 *
 * The state of a stream that is the same in every engine are the STREAM_ flags
 * below; a stream starts zeroed, and is zeroed in all but @ops, @reactor and
 * @fd when released() runs.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "reactor/reactor.h"

struct timer_heap;

/* stream->flags. Bits from 16 on are an engine's own. */
#define STREAM_ATTACHED 0x0001u /* until before detached() or released() */
#define STREAM_PAUSED	0x0002u
#define STREAM_SENDING	0x0004u /* from stream_send() until before sent() */
#define STREAM_ENDED	0x0008u /* ended() ran, or must not run any more */
#define STREAM_CLOSED	0x0010u /* stream_close() was called */
#define STREAM_DETACHED 0x0020u /* from stream_detach() until the attach */
#define STREAM_IN_DATA	0x0040u /* data() or direct() is running */

/* listener->flags. Bits from 16 on are an engine's own. */
#define LISTENER_OPEN	0x0001u
#define LISTENER_CLOSED 0x0002u

/* All required. The contracts are those of reactor.h and net.h. */
struct reactor_engine {
	const char *name;

	/* The whole set. */
	void (*run)(struct reactors *set);
	void (*stop)(struct reactors *set);
	void (*destroy)(struct reactors *set);

	/* The time at this very moment; reactor_now_ns() is r->now_ns. */
	uint64_t (*clock_ns)(const struct reactor *r);

	/* @to is the receiving reactor; called on any. */
	void (*mail_post)(struct reactor *to, struct mail *mail);
	/* @op is marked active already. */
	void (*offload)(struct reactor *r, struct op *op, op_work_fn *work);

	/* Files. @op is marked active already; use op_complete() at the end. */
	void (*readv)(struct reactor *r, struct op *op, int fd,
		      const struct iovec *iov, unsigned int iovcnt,
		      uint64_t offset_bytes);
	void (*writev)(struct reactor *r, struct op *op, int fd,
		       const struct iovec *iov, unsigned int iovcnt,
		       uint64_t offset_bytes, int rwf);
	void (*fdatasync)(struct reactor *r, struct op *op, int fd);
	void (*fallocate)(struct reactor *r, struct op *op, int fd, int mode,
			  uint64_t offset_bytes, uint64_t len_bytes);

	/*
	 * Streams. The stream is attached (stream_attach(): is not) and not
	 * closed; arguments were checked. stream_close() may come between
	 * stream_detach() and detached(): then released() follows in place of
	 * detached().
	 */
	void (*stream_attach)(struct stream *s, struct reactor *r, int fd,
			      const struct stream_ops *ops);
	void (*stream_detach)(struct stream *s,
			      void (*detached)(struct stream *s));
	void (*stream_send)(struct stream *s, struct iovec *iov,
			    unsigned int iovcnt);
	void (*stream_recv_direct)(struct stream *s, void *dst, size_t len);
	bool (*stream_recv_undirect)(struct stream *s);
	void (*stream_pause)(struct stream *s);
	void (*stream_resume)(struct stream *s);
	void (*stream_close)(struct stream *s);
	void (*stream_local_addr)(const struct stream *s,
				  struct sockaddr_storage *ret);
	void (*stream_peer_addr)(const struct stream *s,
				 struct sockaddr_storage *ret);

	/* Listeners. */
	int (*listener_open)(struct listener *l, struct reactor *r,
			     const struct sockaddr *addr, socklen_t addr_len,
			     unsigned int mode);
	void (*listener_close)(struct listener *l);
};

struct reactor {
	const struct reactor_engine *engine;
	struct reactors *set;
	uint32_t index;
	uint32_t cpu;
	uint64_t now_ns;      /* the engine samples it once per turn */
	struct list deferred; /* of struct deferred */
	struct timer_heap *timers;
	struct bufpool *bufpool;
	struct reactor_stats stats; /* the engine counts */
};

struct reactors {
	const struct reactor_engine *engine;
	uint32_t count;
	uint32_t main; /* index */
	struct reactor *all[REACTORS_MAX];
};

/* ------------------------------------------------------------------------
 * For engines, from reactor.c.
 */

/*
 * Fills in the common part of @r, which is zeroed, and enters it into @set.
 * Numbers of buffers as in struct reactor_options. 0 or -ENOMEM (then nothing
 * is left behind). now_ns must be set before the first callback.
 */
int reactor_init(struct reactor *r, const struct reactor_engine *engine,
		 struct reactors *set, uint32_t index, uint32_t cpu,
		 size_t small_bufs, size_t large_bufs);
void reactor_deinit(struct reactor *r); /* takes a zeroed one too */

/* What reactor_current() says in this thread from now on. */
void reactor_set_current(struct reactor *r);

/*
 * Runs what is deferred, with what that defers in turn; a chain that does not
 * end is cut after DEFER_ROUNDS_MAX rounds and goes on in the next turn (the
 * engine must not sleep while r->deferred is not empty). True: there was some.
 */
#define DEFER_ROUNDS_MAX 16
bool reactor_run_deferred(struct reactor *r);

/* Runs the timers that are due at r->now_ns. True: there was one. */
bool reactor_run_timers(struct reactor *r);

/* When the next timer is due; UINT64_MAX when there is none. */
uint64_t reactor_next_timer_ns(const struct reactor *r);

/* The end of an operation: result, no more OP_ACTIVE, done(). */
static inline void op_complete(struct op *op, int32_t res)
{
	op->magic = 0;
	op->res = res;
	op->done(op);
}
