/* SPDX-License-Identifier: BSD-3-Clause */
#include "reactor/reactor_sim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/macros.h"
#include "reactor/sim_priv.h"

/* Virtual time begins here: above 0, as reactor_now_ns() promises. */
#define SIM_START_NS 1000000000u
/* An event takes up to this long, so that time goes on under any load. */
#define SIM_EVENT_NS 200u
/* A batch stays open at most this long after its first event. */
#define SIM_BATCH_NS 2000u
/* Few, so that waiting for buffers is part of the simulation. */
#define SIM_SMALL_BUFS 32
#define SIM_LARGE_BUFS 48
/* A write that fails is cut at a sector; a short result at a page, as O_DIRECT
 * would have it. */
#define SIM_SECTOR 512u
#define SIM_PAGE   4096u

/* ------------------------------------------------------------------------
 * The generator: splitmix64.
 */

static uint64_t mix(uint64_t z)
{
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

uint64_t sim_rand(struct sim *sim)
{
	sim->random += 0x9e3779b97f4a7c15u;
	return mix(sim->random);
}

uint64_t sim_rand_below(struct sim *sim, uint64_t n)
{
	ASSERT(n > 0);
	/* The bias of the remainder is far below what a test could see. */
	return sim_rand(sim) % n;
}

bool sim_chance(struct sim *sim, uint32_t per_mille)
{
	return per_mille > 0 && sim_rand_below(sim, 1000) < per_mille;
}

void sim_trace(struct sim *sim, uint64_t value)
{
	sim->hash = mix(sim->hash ^ (value + 0x9e3779b97f4a7c15u));
}

/* ------------------------------------------------------------------------
 * Events: a binary heap by time, then by lot.
 */

static bool before(const struct sim_event *a, const struct sim_event *b)
{
	if (a->due_ns != b->due_ns)
		return a->due_ns < b->due_ns;
	return a->tie < b->tie;
}

static void heap_put(struct sim *sim, uint32_t slot, struct sim_event *ev)
{
	sim->heap[slot] = ev;
	ev->slot = slot;
}

static void sift_up(struct sim *sim, uint32_t slot, struct sim_event *ev)
{
	while (slot > 1 && before(ev, sim->heap[slot / 2])) {
		heap_put(sim, slot, sim->heap[slot / 2]);
		slot /= 2;
	}
	heap_put(sim, slot, ev);
}

static void sift_down(struct sim *sim, uint32_t slot, struct sim_event *ev)
{
	for (;;) {
		uint32_t child = slot * 2;

		if (child > sim->nheap)
			break;
		if (child < sim->nheap &&
		    before(sim->heap[child + 1], sim->heap[child]))
			child++;
		if (!before(sim->heap[child], ev))
			break;
		heap_put(sim, slot, sim->heap[child]);
		slot = child;
	}
	heap_put(sim, slot, ev);
}

void sim_event_init(struct sim_event *ev, enum sim_kind kind, uint32_t id,
		    void (*run)(struct sim *sim, struct sim_event *ev))
{
	*ev = (struct sim_event){.kind = kind, .id = id, .run = run};
}

static void event_arm_at(struct sim *sim, struct sim_event *ev,
			 struct reactor *r, uint64_t due_ns)
{
	ASSERT(!sim_event_armed(ev));
	if (sim->nheap + 1 >= sim->heap_cap) {
		sim->heap_cap = sim->heap_cap ? sim->heap_cap * 2 : 64;
		sim->heap =
			realloc(sim->heap, sim->heap_cap * sizeof(*sim->heap));
		ASSERT(sim->heap);
	}
	ev->reactor = r;
	ev->due_ns = due_ns;
	ev->tie = sim_rand(sim);
	sift_up(sim, ++sim->nheap, ev);
}

void sim_event_arm(struct sim *sim, struct sim_event *ev, struct reactor *r)
{
	uint64_t latency;

	if (sim_event_armed(ev))
		return;
	latency = sim_rand_below(sim, sim->opt.latency_max_ns + 1);
	event_arm_at(sim, ev, r, sim->now_ns + latency);
}

void sim_event_cancel(struct sim *sim, struct sim_event *ev)
{
	struct sim_event *last;
	uint32_t slot = ev->slot;

	if (!slot)
		return;
	ASSERT(sim->heap[slot] == ev);
	ev->slot = 0;
	last = sim->heap[sim->nheap--];
	if (last == ev)
		return;
	sift_down(sim, slot, last);
	sift_up(sim, last->slot, last);
}

/* ------------------------------------------------------------------------
 * Mail.
 */

static void run_mail(struct sim *sim, struct sim_event *ev)
{
	struct sim_mailbox *box = container_of(ev, struct sim_mailbox, event);
	struct mail *mail = box->head;

	ASSERT(mail);
	box->head = mail->next;
	if (!box->head)
		box->tail = &box->head;
	else
		sim_event_arm(sim, ev, ev->reactor);
	mail->next = NULL;
	mail->run(mail);
}

static void sim_mail_post(struct reactor *to, struct mail *mail)
{
	struct sim_reactor *dst = (struct sim_reactor *)to;
	struct reactor *from = reactor_current();
	struct sim_mailbox *box;

	box = &dst->boxes[from ? from->index : to->set->count];
	mail->next = NULL;
	*box->tail = mail;
	box->tail = &mail->next;
	sim_event_arm(sim_of(to->set), &box->event, to);
}

/* ------------------------------------------------------------------------
 * Files. The call is made when its completion is picked, not before: so two
 * that overlap in time take effect in an order that the seed decides.
 */

enum sim_io_kind { IO_READV, IO_WRITEV, IO_FDATASYNC, IO_FALLOCATE, IO_WORK };

#define SIM_IOV_MAX 1024

struct sim_io {
	struct sim_event event;
	struct list link; /* sim->ios */
	enum sim_io_kind kind;
	struct op *op;
	int fd;
	int flags; /* rwf, or mode */
	const struct iovec *iov;
	unsigned int iovcnt;
	uint64_t offset, len;
	op_work_fn *work;
};

/* The first @len bytes of the I/O, as a call of its own. */
static ssize_t transfer(const struct sim_io *io, uint64_t len)
{
	struct iovec iov[SIM_IOV_MAX];
	unsigned int n = 0;
	ssize_t got;

	ASSERT(io->iovcnt <= SIM_IOV_MAX);
	for (; n < io->iovcnt && len > 0; n++) {
		iov[n] = io->iov[n];
		iov[n].iov_len = MIN((uint64_t)iov[n].iov_len, len);
		len -= iov[n].iov_len;
	}
	if (io->kind == IO_READV)
		got = preadv2(io->fd, iov, (int)n, (off_t)io->offset, 0);
	else
		got = pwritev2(io->fd, iov, (int)n, (off_t)io->offset,
			       io->flags);
	return got < 0 ? -errno : got;
}

/* How much of the I/O takes effect when not all of it does: @min to all but one
 * of its @unit bytes. */
static uint64_t cut(struct sim *sim, const struct sim_io *io, uint64_t min,
		    uint64_t unit)
{
	uint64_t units = io->len / unit;

	if (units <= min)
		return io->len;
	return (min + sim_rand_below(sim, units - min)) * unit;
}

static int run_transfer(struct sim *sim, const struct sim_io *io)
{
	uint64_t torn;

	if (sim_chance(sim, sim->opt.io_error)) {
		torn = cut(sim, io, 0, SIM_SECTOR);
		if (torn < io->len && torn > 0)
			(void)transfer(io, torn);
		return -EIO;
	}
	if (sim_chance(sim, sim->opt.short_io))
		return (int)transfer(io, cut(sim, io, 1, SIM_PAGE));
	return (int)transfer(io, io->len);
}

static int run_other(struct sim *sim, const struct sim_io *io)
{
	int rc;

	if (sim_chance(sim, sim->opt.io_error))
		return -EIO;
	if (io->kind == IO_FDATASYNC)
		rc = fdatasync(io->fd);
	else
		rc = fallocate(io->fd, io->flags, (off_t)io->offset,
			       (off_t)io->len);
	return rc < 0 ? -errno : 0;
}

static void run_io(struct sim *sim, struct sim_event *ev)
{
	struct sim_io *io = container_of(ev, struct sim_io, event);
	struct op *op = io->op;
	int32_t res = 0;

	switch (io->kind) {
	case IO_READV:
	case IO_WRITEV:
		res = run_transfer(sim, io);
		break;
	case IO_FDATASYNC:
	case IO_FALLOCATE:
		res = run_other(sim, io);
		break;
	case IO_WORK:
		/* A helper thread's: there is no loop around it. */
		reactor_set_current(NULL);
		res = io->work(op);
		reactor_set_current(ev->reactor);
		break;
	}
	sim_trace(sim, (uint32_t)res);
	list_remove(&io->link);
	free(io);
	op_complete(op, res);
}

static struct sim_io *io_new(struct reactor *r, struct op *op,
			     enum sim_io_kind kind, int fd)
{
	struct sim *sim = sim_of(r->set);
	struct sim_io *io = calloc(1, sizeof(*io));

	ASSERT(io);
	io->kind = kind;
	io->op = op;
	io->fd = fd;
	list_init(&io->link);
	list_push_back(&sim->ios, &io->link);
	sim_event_init(&io->event, kind == IO_WORK ? SIM_OFFLOAD : SIM_IO,
		       ++sim->next_io, run_io);
	sim_event_arm(sim, &io->event, r);
	return io;
}

static void sim_rw(struct reactor *r, struct op *op, enum sim_io_kind kind,
		   int fd, const struct iovec *iov, unsigned int iovcnt,
		   uint64_t offset_bytes, int rwf)
{
	struct sim_io *io = io_new(r, op, kind, fd);

	io->iov = iov;
	io->iovcnt = iovcnt;
	io->offset = offset_bytes;
	io->flags = rwf;
	for (unsigned int i = 0; i < iovcnt; i++)
		io->len += iov[i].iov_len;
}

static void sim_readv(struct reactor *r, struct op *op, int fd,
		      const struct iovec *iov, unsigned int iovcnt,
		      uint64_t offset_bytes)
{
	sim_rw(r, op, IO_READV, fd, iov, iovcnt, offset_bytes, 0);
}

static void sim_writev(struct reactor *r, struct op *op, int fd,
		       const struct iovec *iov, unsigned int iovcnt,
		       uint64_t offset_bytes, int rwf)
{
	sim_rw(r, op, IO_WRITEV, fd, iov, iovcnt, offset_bytes, rwf);
}

static void sim_fdatasync(struct reactor *r, struct op *op, int fd)
{
	io_new(r, op, IO_FDATASYNC, fd);
}

static void sim_fallocate(struct reactor *r, struct op *op, int fd, int mode,
			  uint64_t offset_bytes, uint64_t len_bytes)
{
	struct sim_io *io = io_new(r, op, IO_FALLOCATE, fd);

	io->flags = mode;
	io->offset = offset_bytes;
	io->len = len_bytes;
}

static void sim_offload(struct reactor *r, struct op *op, op_work_fn *work)
{
	io_new(r, op, IO_WORK, -1)->work = work;
}

/* ------------------------------------------------------------------------
 * The world.
 */

static void sim_run(struct reactors *set)
{
	struct sim *sim = sim_of(set);

	sim->stopped = false;
	while (!sim->stopped && sim_step(set, UINT64_MAX))
		;
}

static void sim_stop(struct reactors *set)
{
	sim_of(set)->stopped = true;
}

static uint64_t sim_clock_ns(const struct reactor *r)
{
	return sim_of(r->set)->now_ns;
}

static void sim_destroy(struct reactors *set)
{
	struct sim *sim = sim_of(set);
	struct list *n;

	/* Operations belong to others; only the events are ours. */
	while ((n = list_pop_front(&sim->ios)))
		free(list_entry(n, struct sim_io, link));
	sim_net_deinit(sim);
	for (uint32_t i = 0; i < sim->opt.nreactors; i++) {
		struct sim_reactor *r = (struct sim_reactor *)set->all[i];

		if (!r)
			continue;
		reactor_deinit(&r->base);
		free(r->boxes);
		free(r);
	}
	free(sim->heap);
	free(sim);
}

static const struct reactor_engine sim_engine = {
	.name = "sim",
	.run = sim_run,
	.stop = sim_stop,
	.destroy = sim_destroy,
	.clock_ns = sim_clock_ns,
	.mail_post = sim_mail_post,
	.offload = sim_offload,
	.readv = sim_readv,
	.writev = sim_writev,
	.fdatasync = sim_fdatasync,
	.fallocate = sim_fallocate,
	.stream_attach = sim_stream_attach,
	.stream_detach = sim_stream_detach,
	.stream_send = sim_stream_send,
	.stream_recv_direct = sim_stream_recv_direct,
	.stream_recv_undirect = sim_stream_recv_undirect,
	.stream_pause = sim_stream_pause,
	.stream_resume = sim_stream_resume,
	.stream_close = sim_stream_close,
	.stream_local_addr = sim_stream_local_addr,
	.stream_peer_addr = sim_stream_peer_addr,
	.listener_open = sim_listener_open,
	.listener_close = sim_listener_close,
};

static void run_batch_end(struct sim *sim, struct sim_event *ev)
{
	(void)sim;
	reactor_run_deferred(ev->reactor);
}

static int create_reactor(struct sim *sim, uint32_t index)
{
	struct sim_reactor *r = calloc(1, sizeof(*r));
	uint32_t nboxes = sim->opt.nreactors + 1;
	int rc = -ENOMEM;

	if (!r)
		return rc;
	r->boxes = calloc(nboxes, sizeof(*r->boxes));
	if (!r->boxes)
		goto fail;
	for (uint32_t i = 0; i < nboxes; i++) {
		r->boxes[i].tail = &r->boxes[i].head;
		sim_event_init(&r->boxes[i].event, SIM_MAIL, i, run_mail);
	}
	sim_event_init(&r->batch_end, SIM_BATCH_END, index, run_batch_end);
	r->base.now_ns = sim->now_ns;
	rc = reactor_init(&r->base, &sim_engine, &sim->base, index, index,
			  SIM_SMALL_BUFS, SIM_LARGE_BUFS);
	if (rc)
		goto fail;
	return 0;
fail:
	free(r->boxes);
	free(r);
	return rc;
}

int sim_create(const struct sim_options *opt, struct reactors **ret_set)
{
	struct sim *sim;
	int rc;

	if (opt->nreactors < 1 || opt->nreactors > REACTORS_MAX)
		return -EINVAL;
	sim = calloc(1, sizeof(*sim));
	if (!sim)
		return -ENOMEM;
	sim->base.engine = &sim_engine;
	sim->base.count = opt->nreactors;
	sim->opt = *opt;
	sim->random = mix(opt->seed + 1);
	sim->hash = mix(opt->seed);
	sim->now_ns = SIM_START_NS;
	list_init(&sim->ios);
	sim_net_init(sim);
	for (uint32_t i = 0; i < opt->nreactors; i++) {
		rc = create_reactor(sim, i);
		if (rc) {
			sim_destroy(&sim->base);
			return rc;
		}
	}
	*ret_set = &sim->base;
	return 0;
}

/* ------------------------------------------------------------------------
 * Turning it.
 */

/* What was deferred has to run before long, whoever deferred it. */
static void close_batches(struct sim *sim)
{
	for (uint32_t i = 0; i < sim->base.count; i++) {
		struct reactor *r = sim->base.all[i];
		struct sim_event *ev = &((struct sim_reactor *)r)->batch_end;
		uint64_t late;

		if (list_empty(&r->deferred) || sim_event_armed(ev))
			continue;
		late = sim_rand_below(sim, SIM_BATCH_NS);
		event_arm_at(sim, ev, r, sim->now_ns + late);
	}
}

/* The reactor whose timer is due first, if that is before @ev; else NULL. */
static struct reactor *first_timer(struct sim *sim, const struct sim_event *ev,
				   uint64_t *ret_due_ns)
{
	uint64_t best = ev ? ev->due_ns : UINT64_MAX;
	struct reactor *found = NULL;

	for (uint32_t i = 0; i < sim->base.count; i++) {
		uint64_t due = reactor_next_timer_ns(sim->base.all[i]);

		if (due < best) {
			best = due;
			found = sim->base.all[i];
		}
	}
	*ret_due_ns = best;
	return found;
}

static void enter(struct sim *sim, struct reactor *r, enum sim_kind kind,
		  uint32_t id)
{
	sim->nevents++;
	sim->now_ns += sim_rand_below(sim, SIM_EVENT_NS);
	r->now_ns = sim->now_ns;
	r->stats.turns++;
	sim_trace(sim, (uint64_t)kind << 48 | (uint64_t)r->index << 32 | id);
	sim_trace(sim, sim->now_ns);
	reactor_set_current(r);
}

/* A batch of one event, or one that stays open for others. */
static void leave(struct sim *sim, struct reactor *r)
{
	struct sim_event *ev = &((struct sim_reactor *)r)->batch_end;

	if (!list_empty(&r->deferred) && sim_chance(sim, 500)) {
		sim_event_cancel(sim, ev);
		reactor_run_deferred(r);
	}
	reactor_set_current(NULL);
}

bool sim_step(struct reactors *set, uint64_t limit_ns)
{
	struct sim *sim = sim_of(set);
	struct sim_event *ev;
	struct reactor *r;
	uint64_t due;

	ASSERT(!reactor_current());
	close_batches(sim);
	ev = sim->nheap ? sim->heap[1] : NULL;
	r = first_timer(sim, ev, &due);
	if (!ev && !r)
		return false;
	if (due > sim->now_ns && due - sim->now_ns > limit_ns)
		return false;
	sim->now_ns = MAX(sim->now_ns, due);
	if (r) {
		enter(sim, r, SIM_TIMERS, 0);
		reactor_run_timers(r);
	} else {
		r = ev->reactor;
		sim_event_cancel(sim, ev);
		enter(sim, r, ev->kind, ev->id);
		ev->run(sim, ev);
	}
	leave(sim, r);
	return true;
}

bool sim_run_until(struct reactors *set, bool (*quiet)(void *ctx), void *ctx,
		   uint64_t limit_ns)
{
	struct sim *sim = sim_of(set);
	uint64_t end = sim->now_ns + limit_ns;

	if (end < sim->now_ns)
		end = UINT64_MAX;
	while (!quiet(ctx)) {
		if (sim->now_ns >= end)
			return false;
		if (!sim_step(set, end - sim->now_ns))
			return quiet(ctx);
	}
	return true;
}

uint64_t sim_now_ns(struct reactors *set)
{
	return sim_of(set)->now_ns;
}

uint64_t sim_random(struct reactors *set)
{
	return sim_rand(sim_of(set));
}

uint64_t sim_trace_hash(struct reactors *set)
{
	return sim_of(set)->hash;
}
