/* SPDX-License-Identifier: BSD-3-Clause */
#include "reactor/reactor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "reactor/bufpool.h"
#include "reactor/engine.h"
#include "reactor/net.h"
#include "reactor/timer_heap.h"

/* The loop of this thread: a fact of the thread, not of the program. */
static _Thread_local struct reactor *current;

struct reactor *reactor_current(void)
{
	return current;
}

void reactor_set_current(struct reactor *r)
{
	current = r;
}

/* ------------------------------------------------------------------------
 * The set.
 */

void reactors_run(struct reactors *set)
{
	set->engine->run(set);
}

void reactors_stop(struct reactors *set)
{
	set->engine->stop(set);
}

void reactors_destroy(struct reactors *set)
{
	if (set)
		set->engine->destroy(set);
}

uint32_t reactors_count(const struct reactors *set)
{
	return set->count;
}

struct reactor *reactors_get(struct reactors *set, uint32_t index)
{
	ASSERT(index < set->count);
	return set->all[index];
}

struct reactor *reactors_main(struct reactors *set)
{
	return set->all[set->main];
}

uint32_t reactor_index(const struct reactor *r)
{
	return r->index;
}

uint32_t reactor_cpu(const struct reactor *r)
{
	return r->cpu;
}

struct reactors *reactor_set(const struct reactor *r)
{
	return r->set;
}

struct bufpool *reactor_bufpool(struct reactor *r)
{
	return r->bufpool;
}

uint64_t reactor_now_ns(const struct reactor *r)
{
	return r->now_ns;
}

void reactor_get_stats(const struct reactor *r, struct reactor_stats *ret)
{
	*ret = r->stats;
}

/* ------------------------------------------------------------------------
 * Deferred work.
 */

void reactor_defer(struct reactor *r, struct deferred *d)
{
	if (!list_linked(&d->link))
		list_push_back(&r->deferred, &d->link);
}

bool reactor_run_deferred(struct reactor *r)
{
	struct list batch = LIST_INIT(batch);
	bool any = false;
	struct list *n;

	for (int round = 0; round < DEFER_ROUNDS_MAX; round++) {
		if (list_empty(&r->deferred))
			break;
		any = true;
		/* A callback may take a later one off by list_remove(). */
		list_splice_back(&batch, &r->deferred);
		while ((n = list_pop_front(&batch))) {
			struct deferred *d;

			d = list_entry(n, struct deferred, link);
			d->run(d);
		}
	}
	return any;
}

/* ------------------------------------------------------------------------
 * Timers.
 */

/* Timers that are due at almost the same time share a wake-up. */
#define TIMER_STEP_NS 1000000u

/* No timer is meant to outlast the program by more than this. */
#define TIMER_DELAY_MAX_MS (UINT64_C(10) * 365 * 86400 * 1000)

void timer_init(struct timer *t, void (*expired)(struct timer *t))
{
	*t = (struct timer){.expired = expired};
}

void timer_start(struct reactor *r, struct timer *t, uint64_t delay_ms)
{
	uint64_t due;
	int rc;

	delay_ms = MIN(delay_ms, TIMER_DELAY_MAX_MS);
	/* By the clock, not by the start of this turn: never early. */
	due = r->engine->clock_ns(r) + delay_ms * TIMER_STEP_NS;
	t->due_ns = (due + TIMER_STEP_NS - 1) / TIMER_STEP_NS * TIMER_STEP_NS;
	if (t->slot > 0) {
		timer_heap_moved(r->timers, t);
		return;
	}
	/* A few bytes per object that exists, so they are there. */
	rc = timer_heap_insert(r->timers, t);
	ASSERT(rc == 0);
}

void timer_stop(struct reactor *r, struct timer *t)
{
	timer_heap_remove(r->timers, t);
}

bool timer_running(const struct timer *t)
{
	return t->slot > 0;
}

bool reactor_run_timers(struct reactor *r)
{
	bool any = false;

	/* A bound, for one that starts itself again with no delay. */
	for (uint32_t left = r->timers->count; left > 0; left--) {
		struct timer *t = timer_heap_pop(r->timers, r->now_ns);

		if (!t)
			break;
		any = true;
		t->expired(t);
	}
	return any;
}

uint64_t reactor_next_timer_ns(const struct reactor *r)
{
	return timer_heap_due(r->timers);
}

/* ------------------------------------------------------------------------
 * Mail and fanout.
 */

void mail_post(struct reactor *to, struct mail *mail)
{
	to->engine->mail_post(to, mail);
}

struct fanout_mail {
	struct mail mail;
	struct fanout *fanout;
	struct reactor *reactor; /* where fn() runs */
};

static void fanout_returned(struct mail *mail)
{
	struct fanout_mail *m = container_of(mail, struct fanout_mail, mail);
	struct fanout *f = m->fanout;

	ASSERT(f->left > 0);
	if (--f->left > 0)
		return;
	free(take(&f->mails));
	f->done(f);
}

static void fanout_arrived(struct mail *mail)
{
	struct fanout_mail *m = container_of(mail, struct fanout_mail, mail);
	struct fanout *f = m->fanout;

	f->fn(f, m->reactor);
	m->mail.run = fanout_returned;
	mail_post(f->origin, &m->mail);
}

int reactors_fanout(struct reactors *set, struct fanout *f)
{
	struct fanout_mail *mails;

	ASSERT(current && current->set == set);
	mails = calloc(set->count, sizeof(*mails));
	if (!mails)
		return -ENOMEM;
	f->origin = current;
	f->mails = &mails[0].mail;
	f->left = set->count;
	for (uint32_t i = 0; i < set->count; i++) {
		mails[i].mail.run = fanout_arrived;
		mails[i].fanout = f;
		mails[i].reactor = set->all[i];
		mail_post(set->all[i], &mails[i].mail);
	}
	return 0;
}

/* ------------------------------------------------------------------------
 * Operations.
 */

static void op_begin(struct op *op)
{
	ASSERT(!op_active(op));
	ASSERT(op->done);
	op->magic = OP_ACTIVE;
	op->res = 0;
}

void reactor_offload(struct reactor *r, struct op *op, op_work_fn *work)
{
	op_begin(op);
	r->engine->offload(r, op, work);
}

void reactor_readv(struct reactor *r, struct op *op, int fd,
		   const struct iovec *iov, unsigned int iovcnt,
		   uint64_t offset_bytes)
{
	op_begin(op);
	r->engine->readv(r, op, fd, iov, iovcnt, offset_bytes);
}

void reactor_writev(struct reactor *r, struct op *op, int fd,
		    const struct iovec *iov, unsigned int iovcnt,
		    uint64_t offset_bytes, int rwf)
{
	op_begin(op);
	r->engine->writev(r, op, fd, iov, iovcnt, offset_bytes, rwf);
}

void reactor_fdatasync(struct reactor *r, struct op *op, int fd)
{
	op_begin(op);
	r->engine->fdatasync(r, op, fd);
}

void reactor_fallocate(struct reactor *r, struct op *op, int fd, int mode,
		       uint64_t offset_bytes, uint64_t len_bytes)
{
	op_begin(op);
	r->engine->fallocate(r, op, fd, mode, offset_bytes, len_bytes);
}

/* ------------------------------------------------------------------------
 * Streams and listeners.
 */

void stream_attach(struct stream *s, struct reactor *r, int fd,
		   const struct stream_ops *ops)
{
	ASSERT(!(s->flags & (STREAM_ATTACHED | STREAM_CLOSED)));
	if (s->flags & STREAM_DETACHED)
		ASSERT(fd == s->fd);
	r->engine->stream_attach(s, r, fd, ops);
}

void stream_detach(struct stream *s, void (*detached)(struct stream *s))
{
	ASSERT(s->flags & STREAM_ATTACHED);
	ASSERT(!(s->flags &
		 (STREAM_CLOSED | STREAM_SENDING | STREAM_DETACHED)));
	s->reactor->engine->stream_detach(s, detached);
}

void stream_send(struct stream *s, struct iovec *iov, unsigned int iovcnt)
{
	ASSERT(s->flags & STREAM_ATTACHED);
	ASSERT(!(s->flags &
		 (STREAM_CLOSED | STREAM_SENDING | STREAM_DETACHED)));
	ASSERT(iovcnt > 0);
	s->reactor->engine->stream_send(s, iov, iovcnt);
}

bool stream_sending(const struct stream *s)
{
	return s->flags & STREAM_SENDING;
}

void stream_recv_direct(struct stream *s, void *dst, size_t len)
{
	ASSERT(s->flags & STREAM_IN_DATA);
	ASSERT(len > 0 && s->direct_len == 0);
	if (s->flags & STREAM_CLOSED)
		return;
	s->reactor->engine->stream_recv_direct(s, dst, len);
}

bool stream_recv_undirect(struct stream *s)
{
	ASSERT(s->flags & STREAM_ATTACHED);
	if (s->flags & STREAM_CLOSED)
		return false;
	return s->reactor->engine->stream_recv_undirect(s);
}

void stream_pause(struct stream *s)
{
	ASSERT(s->flags & STREAM_ATTACHED);
	if (!(s->flags & STREAM_CLOSED))
		s->reactor->engine->stream_pause(s);
}

void stream_resume(struct stream *s)
{
	ASSERT(s->flags & STREAM_ATTACHED);
	if (!(s->flags & STREAM_CLOSED))
		s->reactor->engine->stream_resume(s);
}

void stream_close(struct stream *s)
{
	ASSERT(s->flags & STREAM_ATTACHED);
	if (!(s->flags & STREAM_CLOSED))
		s->reactor->engine->stream_close(s);
}

void stream_local_addr(const struct stream *s, struct sockaddr_storage *ret)
{
	ASSERT(s->flags & STREAM_ATTACHED);
	memset(ret, 0, sizeof(*ret));
	s->reactor->engine->stream_local_addr(s, ret);
}

void stream_peer_addr(const struct stream *s, struct sockaddr_storage *ret)
{
	ASSERT(s->flags & STREAM_ATTACHED);
	memset(ret, 0, sizeof(*ret));
	s->reactor->engine->stream_peer_addr(s, ret);
}

int listener_open(struct listener *l, struct reactor *r,
		  const struct sockaddr *addr, socklen_t addr_len,
		  unsigned int mode)
{
	return r->engine->listener_open(l, r, addr, addr_len, mode);
}

void listener_close(struct listener *l)
{
	if (l->flags & LISTENER_CLOSED)
		return;
	ASSERT(l->flags & LISTENER_OPEN);
	l->reactor->engine->listener_close(l);
}

/* ------------------------------------------------------------------------
 * The common part of a reactor.
 */

int reactor_init(struct reactor *r, const struct reactor_engine *engine,
		 struct reactors *set, uint32_t index, uint32_t cpu,
		 size_t small_bufs, size_t large_bufs)
{
	int rc;

	ASSERT(index < set->count && set->count <= REACTORS_MAX);
	r->engine = engine;
	r->set = set;
	r->index = index;
	r->cpu = cpu;
	list_init(&r->deferred);
	r->timers = calloc(1, sizeof(*r->timers));
	if (!r->timers)
		return -ENOMEM;
	rc = timer_heap_init(r->timers, TIMERS_DEFAULT);
	if (rc) {
		free(take(&r->timers));
		return rc;
	}
	rc = bufpool_create(r, small_bufs ? small_bufs : BUFS_SMALL_DEFAULT,
			    large_bufs ? large_bufs : BUFS_LARGE_DEFAULT,
			    &r->bufpool);
	if (rc) {
		timer_heap_deinit(r->timers);
		free(take(&r->timers));
		return rc;
	}
	set->all[index] = r;
	return 0;
}

void reactor_deinit(struct reactor *r)
{
	if (!r->engine)
		return;
	bufpool_destroy(take(&r->bufpool));
	timer_heap_deinit(r->timers);
	free(take(&r->timers));
	r->set->all[r->index] = NULL;
	r->engine = NULL;
}
