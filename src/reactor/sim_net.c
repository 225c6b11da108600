/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The simulated network: connections between a peer, which the test drives, and
 * a stream of the target. As rough as the real one may be: bytes come in pieces
 * cut anywhere, sends wait for the peer's window and take memory as it is when
 * they get to it, and until released() a closed stream may still write to where
 * a direct receive was going, or read from what was being sent.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/macros.h"
#include "reactor/sim_priv.h"

#define SIM_WINDOW_DEFAULT (256u << 10) /* bytes */
/* One piece of a receive is at most this long, as a ring's buffer would be. */
#define SIM_PIECE_MAX (64u << 10)
/* What used-up receive memory is filled with: nobody may look there. */
#define SIM_POISON 0xdb

/* stream->flags: an undirect has to end by another direct(). */
#define SF_UNDIRECT 0x10000u

/* Bytes in order; the front is taken off. */
struct queue {
	uint8_t *data;
	size_t head, len, cap;
};

/* A connection, both ends of it. */
struct sim_peer {
	struct sim *sim;
	int handle;
	struct sockaddr_storage local, remote; /* as the target sees them */

	/* The target's end. */
	struct stream *stream; /* attached; NULL: waiting, or gone */
	struct sim_event rx, tx, end;
	struct sim_event accept;
	struct sim_listener *listener; /* not accepted yet */
	bool target_gone;	       /* released, or never accepted */
	size_t kept;		       /* bytes that data() has seen and left */

	/* The peer's end. */
	struct queue in;  /* to the target */
	struct queue out; /* to the peer */
	size_t window;	  /* of @out */
	bool fin, rst;	  /* sent by the peer */
	bool freed;	  /* by the test */
	bool closed;	  /* by the target, and the peer knows */
};

struct sim_listener {
	struct list link; /* sim->listeners */
	struct listener *listener;
	struct sockaddr_storage addr;
	socklen_t addr_len;
	struct sim_event release;
	bool closed;
};

/* ------------------------------------------------------------------------
 * Queues of bytes.
 */

static void queue_push(struct queue *q, const void *data, size_t len)
{
	if (len == 0)
		return;
	if (q->head + q->len + len > q->cap && q->head > 0) {
		memmove(q->data, q->data + q->head, q->len);
		q->head = 0;
	}
	if (q->len + len > q->cap) {
		q->cap = MAX(q->cap * 2, q->len + len);
		q->data = realloc(q->data, q->cap);
		ASSERT(q->data);
	}
	memcpy(q->data + q->head + q->len, data, len);
	q->len += len;
}

static void queue_drop(struct queue *q, size_t len)
{
	ASSERT(len <= q->len);
	q->head += len;
	q->len -= len;
	if (q->len == 0)
		q->head = 0;
}

static void queue_free(struct queue *q)
{
	free(q->data);
	*q = (struct queue){0};
}

/* ------------------------------------------------------------------------
 * Receiving.
 */

static struct sim_peer *peer_of(const struct stream *s)
{
	return s->engine;
}

static bool can_receive(const struct sim_peer *p)
{
	const struct stream *s = p->stream;

	if (!s || s->flags & (STREAM_PAUSED | STREAM_ENDED | STREAM_CLOSED |
			      STREAM_DETACHED))
		return false;
	return p->in.len > 0 || p->fin || p->rst || s->flags & SF_UNDIRECT;
}

static void kick_rx(struct sim_peer *p)
{
	if (can_receive(p))
		sim_event_arm(p->sim, &p->rx, p->stream->reactor);
}

/* The length of the next piece of @len bytes; at least @min of them. */
static size_t piece(struct sim_peer *p, size_t len, size_t min, uint32_t chance)
{
	if (len > min && sim_chance(p->sim, chance))
		len = min + 1 + sim_rand_below(p->sim, len - min);
	return len;
}

static void receive_direct(struct sim_peer *p, struct stream *s)
{
	size_t n = MIN(p->in.len, s->direct_len);

	if (s->flags & SF_UNDIRECT)
		n = sim_rand_below(p->sim, n + 1);
	else
		n = piece(p, n, 0, p->sim->opt.short_recv);
	if (n > 0)
		memcpy(s->direct, p->in.data + p->in.head, n);
	queue_drop(&p->in, n);
	s->direct += n;
	s->direct_len -= n;
	if (s->flags & SF_UNDIRECT || s->direct_len == 0) {
		s->direct = NULL;
		s->direct_len = 0;
	}
	s->flags &= ~SF_UNDIRECT;
	sim_trace(p->sim, n);
	s->flags |= STREAM_IN_DATA;
	s->ops->direct(s, n);
	s->flags &= ~STREAM_IN_DATA;
}

static void receive_data(struct sim_peer *p, struct stream *s)
{
	size_t min = MIN(p->kept, p->in.len);
	size_t most = MAX(min, SIM_PIECE_MAX);
	size_t n = MIN(p->in.len, most);
	uint8_t *buf = p->in.data + p->in.head;
	size_t used;

	n = piece(p, n, min, p->sim->opt.short_recv);
	s->flags |= STREAM_IN_DATA;
	used = s->ops->data(s, buf, n);
	s->flags &= ~STREAM_IN_DATA;
	if (s->flags & STREAM_CLOSED)
		return;
	ASSERT(used <= n);
	if (s->direct_len > 0)
		ASSERT(used == n);
	sim_trace(p->sim, used);
	memset(buf, SIM_POISON, used);
	queue_drop(&p->in, used);
	p->kept = n - used;
	if (used < n)
		s->flags |= STREAM_PAUSED;
}

static void run_rx(struct sim *sim, struct sim_event *ev)
{
	struct sim_peer *p = container_of(ev, struct sim_peer, rx);
	struct stream *s = p->stream;

	(void)sim;
	ASSERT(can_receive(p));
	if (s->flags & SF_UNDIRECT || (p->in.len > 0 && s->direct_len > 0)) {
		receive_direct(p, s);
	} else if (p->in.len > 0) {
		receive_data(p, s);
	} else {
		s->flags |= STREAM_ENDED;
		s->ops->ended(s, p->rst ? -ECONNRESET : 0);
	}
	kick_rx(p);
}

/* ------------------------------------------------------------------------
 * Sending.
 */

static size_t window_left(const struct sim_peer *p)
{
	return p->window > p->out.len ? p->window - p->out.len : 0;
}

static bool can_send(const struct sim_peer *p)
{
	const struct stream *s = p->stream;

	if (!s || !(s->flags & STREAM_SENDING) || s->flags & STREAM_CLOSED)
		return false;
	return p->rst || s->send_left == 0 || window_left(p) > 0;
}

static void kick_tx(struct sim_peer *p)
{
	if (can_send(p))
		sim_event_arm(p->sim, &p->tx, p->stream->reactor);
}

/* The next @len bytes of the send go on their way, as they are now. */
static void send_bytes(struct sim_peer *p, struct stream *s, size_t len)
{
	ASSERT(len <= s->send_left);
	s->send_left -= len;
	while (len > 0) {
		struct iovec *iov = s->send_iov;
		size_t n = MIN(len, iov->iov_len);

		queue_push(&p->out, iov->iov_base, n);
		iov->iov_base = (uint8_t *)iov->iov_base + n;
		iov->iov_len -= n;
		len -= n;
		if (iov->iov_len == 0) {
			s->send_iov++;
			s->send_iovcnt--;
		}
	}
}

static void run_tx(struct sim *sim, struct sim_event *ev)
{
	struct sim_peer *p = container_of(ev, struct sim_peer, tx);
	struct stream *s = p->stream;
	size_t n;

	ASSERT(can_send(p));
	if (!p->rst) {
		n = MIN(window_left(p), s->send_left);
		n = piece(p, n, 0, sim->opt.short_send);
		sim_trace(sim, n);
		send_bytes(p, s, n);
		if (s->send_left > 0) {
			kick_tx(p);
			return;
		}
	}
	s->flags &= ~STREAM_SENDING;
	s->send_iov = NULL;
	s->send_left = 0;
	s->ops->sent(s, p->rst ? -ECONNRESET : 0);
}

/* ------------------------------------------------------------------------
 * The end of a connection.
 */

/* Frees it when both ends are done with it. */
static void peer_reap(struct sim_peer *p)
{
	struct sim *sim = p->sim;

	if (!p->freed || !p->target_gone)
		return;
	sim_event_cancel(sim, &p->rx);
	sim_event_cancel(sim, &p->tx);
	sim_event_cancel(sim, &p->end);
	sim_event_cancel(sim, &p->accept);
	sim->peers[p->handle - SIM_HANDLE_BASE] = NULL;
	queue_free(&p->in);
	queue_free(&p->out);
	free(p);
}

static void target_leaves(struct sim_peer *p)
{
	p->stream = NULL;
	p->target_gone = true;
	p->closed = true;
	queue_free(&p->in);
	peer_reap(p);
}

/* What the kernel was at when the stream was closed may go on until now. */
static void last_moves(struct sim_peer *p, struct stream *s)
{
	size_t n;

	if (s->direct_len > 0 && p->in.len > 0 && sim_chance(p->sim, 500)) {
		n = MIN(p->in.len, s->direct_len);
		memcpy(s->direct, p->in.data + p->in.head, n);
	}
	if (s->flags & STREAM_SENDING && !p->rst && sim_chance(p->sim, 500)) {
		n = MIN(window_left(p), s->send_left);
		send_bytes(p, s, n ? 1 + sim_rand_below(p->sim, n) : 0);
	}
}

static void run_released(struct sim *sim, struct sim_event *ev)
{
	struct sim_peer *p = container_of(ev, struct sim_peer, end);
	struct stream *s = p->stream;
	struct stream clean = {
		.ops = s->ops, .reactor = s->reactor, .fd = s->fd};

	(void)sim;
	last_moves(p, s);
	target_leaves(p);
	*s = clean;
	s->ops->released(s);
}

static void run_detached(struct sim *sim, struct sim_event *ev)
{
	struct sim_peer *p = container_of(ev, struct sim_peer, end);
	struct stream *s = p->stream;

	(void)sim;
	p->stream = NULL;
	s->reactor = NULL;
	s->flags &= ~STREAM_ATTACHED;
	s->detached(s);
}

void sim_stream_close(struct stream *s)
{
	struct sim_peer *p = peer_of(s);

	s->flags |= STREAM_CLOSED;
	sim_event_cancel(p->sim, &p->rx);
	sim_event_cancel(p->sim, &p->tx);
	sim_event_cancel(p->sim, &p->end); /* detached() */
	sim_event_init(&p->end, SIM_RELEASED, (uint32_t)p->handle,
		       run_released);
	sim_event_arm(p->sim, &p->end, s->reactor);
}

void sim_stream_detach(struct stream *s, void (*detached)(struct stream *s))
{
	struct sim_peer *p = peer_of(s);

	ASSERT(s->direct_len == 0);
	s->flags |= STREAM_DETACHED;
	s->detached = detached;
	sim_event_cancel(p->sim, &p->rx);
	sim_event_init(&p->end, SIM_DETACHED, (uint32_t)p->handle,
		       run_detached);
	sim_event_arm(p->sim, &p->end, s->reactor);
}

/* ------------------------------------------------------------------------
 * The other functions of a stream.
 */

static struct sim_peer *find_peer(struct sim *sim, int handle)
{
	ASSERT(handle >= SIM_HANDLE_BASE);
	ASSERT((uint32_t)(handle - SIM_HANDLE_BASE) < sim->npeers);
	return sim->peers[handle - SIM_HANDLE_BASE];
}

void sim_stream_attach(struct stream *s, struct reactor *r, int fd,
		       const struct stream_ops *ops)
{
	struct sim_peer *p = find_peer(sim_of(r->set), fd);

	ASSERT(p && !p->stream && !p->target_gone && !p->listener);
	*s = (struct stream){
		.ops = ops,
		.reactor = r,
		.fd = fd,
		.flags = STREAM_ATTACHED,
		.engine = p,
	};
	p->stream = s;
	kick_rx(p);
}

void sim_stream_send(struct stream *s, struct iovec *iov, unsigned int iovcnt)
{
	s->flags |= STREAM_SENDING;
	s->send_iov = iov;
	s->send_iovcnt = iovcnt;
	s->send_left = 0;
	for (unsigned int i = 0; i < iovcnt; i++)
		s->send_left += iov[i].iov_len;
	kick_tx(peer_of(s));
}

void sim_stream_recv_direct(struct stream *s, void *dst, size_t len)
{
	ASSERT(s->ops->direct);
	s->direct = dst;
	s->direct_len = len;
}

bool sim_stream_recv_undirect(struct stream *s)
{
	struct sim_peer *p = peer_of(s);

	if (s->flags & SF_UNDIRECT)
		return false;
	if (s->direct_len > 0 &&
	    !(s->flags & (STREAM_ENDED | STREAM_IN_DATA)) &&
	    sim_chance(p->sim, 500)) {
		s->flags |= SF_UNDIRECT;
		kick_rx(p);
		return false;
	}
	s->direct = NULL;
	s->direct_len = 0;
	return true;
}

void sim_stream_pause(struct stream *s)
{
	s->flags |= STREAM_PAUSED;
	sim_event_cancel(peer_of(s)->sim, &peer_of(s)->rx);
}

void sim_stream_resume(struct stream *s)
{
	s->flags &= ~STREAM_PAUSED;
	if (!(s->flags & STREAM_IN_DATA))
		kick_rx(peer_of(s));
}

void sim_stream_local_addr(const struct stream *s, struct sockaddr_storage *ret)
{
	*ret = peer_of(s)->local;
}

void sim_stream_peer_addr(const struct stream *s, struct sockaddr_storage *ret)
{
	*ret = peer_of(s)->remote;
}

/* ------------------------------------------------------------------------
 * Listeners.
 */

static void run_listener_released(struct sim *sim, struct sim_event *ev)
{
	struct sim_listener *sl;
	struct listener *l;

	(void)sim;
	sl = container_of(ev, struct sim_listener, release);
	l = sl->listener;
	list_remove(&sl->link);
	free(sl);
	l->engine = NULL;
	l->flags = 0;
	l->released(l);
}

static bool same_addr(const struct sim_listener *sl,
		      const struct sockaddr *addr, socklen_t len)
{
	return !sl->closed && sl->addr_len == len &&
	       memcmp(&sl->addr, addr, len) == 0;
}

int sim_listener_open(struct listener *l, struct reactor *r,
		      const struct sockaddr *addr, socklen_t addr_len,
		      unsigned int mode)
{
	struct sim *sim = sim_of(r->set);
	struct sim_listener *sl;

	(void)mode;
	if (addr_len > sizeof(sl->addr))
		return -EINVAL;
	list_for_each(sl, &sim->listeners, link) {
		if (same_addr(sl, addr, addr_len))
			return -EADDRINUSE;
	}
	sl = calloc(1, sizeof(*sl));
	if (!sl)
		return -ENOMEM;
	sl->listener = l;
	memcpy(&sl->addr, addr, addr_len);
	sl->addr_len = addr_len;
	sim_event_init(&sl->release, SIM_LISTENER_RELEASED,
		       ++sim->next_listener, run_listener_released);
	list_init(&sl->link);
	list_push_back(&sim->listeners, &sl->link);
	l->reactor = r;
	l->fd = -1;
	l->flags = LISTENER_OPEN;
	l->engine = sl;
	return 0;
}

void sim_listener_close(struct listener *l)
{
	struct sim_listener *sl = l->engine;
	struct sim *sim = sim_of(l->reactor->set);

	l->flags |= LISTENER_CLOSED;
	sl->closed = true;
	/* Who waits in the backlog is turned away. */
	for (uint32_t i = 0; i < sim->npeers; i++) {
		struct sim_peer *p = sim->peers[i];

		if (!p || p->listener != sl)
			continue;
		p->listener = NULL;
		sim_event_cancel(sim, &p->accept);
		target_leaves(p);
	}
	sim_event_arm(sim, &sl->release, l->reactor);
}

static void run_accept(struct sim *sim, struct sim_event *ev)
{
	struct sim_peer *p = container_of(ev, struct sim_peer, accept);
	struct listener *l = p->listener->listener;

	(void)sim;
	p->listener = NULL;
	l->accepted(l, p->handle);
}

/* ------------------------------------------------------------------------
 * The peer's side.
 */

static uint16_t port_of(const struct sockaddr *a)
{
	if (a->sa_family == AF_INET)
		return ((const struct sockaddr_in *)a)->sin_port;
	if (a->sa_family == AF_INET6)
		return ((const struct sockaddr_in6 *)a)->sin6_port;
	return 0;
}

static bool is_wildcard(const struct sockaddr *a)
{
	if (a->sa_family == AF_INET)
		return !((const struct sockaddr_in *)a)->sin_addr.s_addr;
	if (a->sa_family == AF_INET6)
		return IN6_IS_ADDR_UNSPECIFIED(
			&((const struct sockaddr_in6 *)a)->sin6_addr);
	return false;
}

static struct sim_listener *find_listener(struct sim *sim,
					  const struct sockaddr *addr,
					  socklen_t len)
{
	struct sim_listener *sl;

	list_for_each(sl, &sim->listeners, link) {
		const struct sockaddr *a = (const struct sockaddr *)&sl->addr;

		if (same_addr(sl, addr, len))
			return sl;
		if (!sl->closed && a->sa_family == addr->sa_family &&
		    is_wildcard(a) && port_of(a) == port_of(addr))
			return sl;
	}
	return NULL;
}

/* The peer is on the same host, with a port of its own. */
static void name_peer(struct sim *sim, struct sim_peer *p,
		      const struct sockaddr *addr, socklen_t len)
{
	uint16_t port = htons((uint16_t)(32768 + sim->next_port++ % 28000));

	memcpy(&p->local, addr, len);
	memcpy(&p->remote, addr, len);
	if (addr->sa_family == AF_INET)
		((struct sockaddr_in *)&p->remote)->sin_port = port;
	else if (addr->sa_family == AF_INET6)
		((struct sockaddr_in6 *)&p->remote)->sin6_port = port;
}

struct sim_peer *sim_connect(struct reactors *set, const struct sockaddr *addr,
			     socklen_t addr_len)
{
	struct sim *sim = sim_of(set);
	struct sim_listener *sl;
	struct sim_peer *p;

	ASSERT(addr_len <= sizeof(p->local));
	sl = find_listener(sim, addr, addr_len);
	if (!sl)
		return NULL;
	if (sim->npeers == sim->peers_cap) {
		sim->peers_cap = sim->peers_cap ? sim->peers_cap * 2 : 16;
		sim->peers = realloc(sim->peers,
				     sim->peers_cap * sizeof(*sim->peers));
		ASSERT(sim->peers);
	}
	p = calloc(1, sizeof(*p));
	ASSERT(p);
	p->sim = sim;
	p->handle = SIM_HANDLE_BASE + (int)sim->npeers;
	sim->peers[sim->npeers++] = p;
	p->listener = sl;
	p->window = SIM_WINDOW_DEFAULT;
	name_peer(sim, p, addr, addr_len);
	sim_event_init(&p->rx, SIM_RX, (uint32_t)p->handle, run_rx);
	sim_event_init(&p->tx, SIM_TX, (uint32_t)p->handle, run_tx);
	sim_event_init(&p->end, SIM_RELEASED, (uint32_t)p->handle,
		       run_released);
	sim_event_init(&p->accept, SIM_ACCEPT, (uint32_t)p->handle, run_accept);
	sim_event_arm(sim, &p->accept, sl->listener->reactor);
	return p;
}

void sim_peer_send(struct sim_peer *p, const void *data, size_t len)
{
	ASSERT(!p->freed && !p->fin);
	if (p->target_gone || p->rst)
		return;
	queue_push(&p->in, data, len);
	kick_rx(p);
}

size_t sim_peer_recv(struct sim_peer *p, void *buf, size_t len)
{
	size_t n = MIN(len, p->out.len);

	if (n == 0)
		return 0;
	memcpy(buf, p->out.data + p->out.head, n);
	queue_drop(&p->out, n);
	kick_tx(p);
	return n;
}

size_t sim_peer_readable(const struct sim_peer *p)
{
	return p->out.len;
}

void sim_peer_set_window(struct sim_peer *p, size_t bytes)
{
	p->window = bytes;
	kick_tx(p);
}

bool sim_peer_closed(const struct sim_peer *p)
{
	return p->closed;
}

void sim_peer_shutdown(struct sim_peer *p)
{
	p->fin = true;
	kick_rx(p);
}

/* A reset overtakes some of the bytes that are still on their way. */
void sim_peer_reset(struct sim_peer *p)
{
	size_t seen = MIN(p->kept, p->in.len);

	if (p->rst)
		return;
	p->rst = true;
	p->in.len = seen + sim_rand_below(p->sim, p->in.len - seen + 1);
	kick_rx(p);
	kick_tx(p);
}

void sim_peer_free(struct sim_peer *p)
{
	if (!p->target_gone)
		sim_peer_reset(p);
	p->freed = true;
	peer_reap(p);
}

/* ------------------------------------------------------------------------
 * The network as a whole.
 */

void sim_net_init(struct sim *sim)
{
	list_init(&sim->listeners);
}

void sim_net_deinit(struct sim *sim)
{
	struct list *n;

	for (uint32_t i = 0; i < sim->npeers; i++) {
		struct sim_peer *p = sim->peers[i];

		if (!p)
			continue;
		p->freed = true;
		p->target_gone = true;
		peer_reap(p);
	}
	free(sim->peers);
	while ((n = list_pop_front(&sim->listeners)))
		free(list_entry(n, struct sim_listener, link));
}
