/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The simulated engine keeps the contracts of reactor.h, and equal seeds give
 * equal worlds. The largest test is an echo server that uses a stream in every
 * way there is: partial takes, pauses, direct receives, moves between reactors.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/macros.h"
#include "reactor/net.h"
#include "reactor/reactor_sim.h"

#define SEC	  1000000000ull
#define FRAME_MAX 60000u
#define NCONNS	  3
#define FRAMES	  6

static struct reactors *world(uint64_t seed, uint32_t nreactors)
{
	const struct sim_options opt = {
		.seed = seed,
		.nreactors = nreactors,
		.short_recv = 300,
		.short_send = 300,
		.latency_max_ns = 50000,
	};
	struct reactors *set = NULL;

	assert_int_equal(sim_create(&opt, &set), 0);
	return set;
}

static struct sockaddr_in loopback(uint16_t port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
}

static bool never(void *ctx)
{
	(void)ctx;
	return false;
}

static void drain(struct reactors *set)
{
	assert_false(sim_run_until(set, never, NULL, 1000 * SEC));
}

/* ------------------------------------------------------------------------
 * The echo server: frames of a length (4 bytes) and a payload come back as
 * they were. In its loop it must always be on its own reactor.
 */

struct echo;

struct conn {
	struct stream s;
	struct echo *echo;
	struct reactor *home;
	struct timer timer; /* ends a pause */
	struct mail mail;   /* moves to another reactor */
	struct deferred reply;
	uint8_t head[4], *body;
	size_t have, len, replied;
	struct iovec iov[2];
	bool moving, closed, released, ended, busy;
	bool in_direct;	 /* the rest of the body goes to its place */
	bool undirected; /* direct() must come once more */
};

struct echo {
	struct reactors *set;
	struct listener listener;
	struct conn conns[NCONNS];
	uint32_t nconns;
	uint32_t nreleased;
	uint32_t ndirect, nmoved, npaused, nback[2];
	bool listener_released;
};

static struct conn *conn_of(struct stream *s)
{
	return container_of(s, struct conn, s);
}

static uint64_t dice(struct conn *c, uint64_t n)
{
	return sim_random(c->echo->set) % n;
}

static void check_home(struct conn *c)
{
	assert_ptr_equal(reactor_current(), c->home);
	assert_false(c->closed);
	assert_false(c->moving);
}

static void conn_finish(struct conn *c)
{
	if (c->closed)
		return;
	c->closed = true;
	timer_stop(c->home, &c->timer);
	stream_close(&c->s);
}

static void conn_reply(struct deferred *d)
{
	struct conn *c = container_of(d, struct conn, reply);

	if (c->closed)
		return;
	assert_ptr_equal(reactor_current(), c->home);
	c->iov[0] = (struct iovec){c->head, 4};
	c->iov[1] = (struct iovec){c->body, c->len};
	stream_send(&c->s, c->iov, 2);
	assert_true(stream_sending(&c->s));
}

static void frame_complete(struct conn *c)
{
	c->busy = true;
	c->in_direct = false;
	timer_stop(c->home, &c->timer);
	if (dice(c, 2))
		stream_pause(&c->s);
	reactor_defer(c->home, &c->reply);
}

static size_t echo_data(struct stream *s, const uint8_t *buf, size_t len)
{
	struct conn *c = conn_of(s);
	size_t used = 0, n;

	check_home(c);
	assert_true(len > 0);
	assert_false(c->in_direct);
	assert_false(c->undirected);
	if (c->busy)
		return 0;
	if (c->have < 4) {
		used = MIN(4 - c->have, len);
		memcpy(c->head + c->have, buf, used);
		c->have += used;
		if (c->have < 4)
			return used;
		c->len = load_be32(c->head);
		c->body = malloc(c->len + 1);
		assert_non_null(c->body);
	}
	n = MIN(len - used, c->len - (c->have - 4));
	memcpy(c->body + c->have - 4, buf + used, n);
	c->have += n;
	used += n;
	if (c->have - 4 == c->len) {
		frame_complete(c);
	} else if (used == len && dice(c, 3)) {
		stream_recv_direct(s, c->body + c->have - 4,
				   c->len - (c->have - 4));
		c->in_direct = true;
		if (dice(c, 2))
			timer_start(c->home, &c->timer, dice(c, 2));
	} else if (used == len && dice(c, 2)) {
		c->echo->npaused++;
		stream_pause(s);
		timer_start(c->home, &c->timer, dice(c, 3));
	}
	return used;
}

static void echo_direct(struct stream *s, size_t len)
{
	struct conn *c = conn_of(s);

	check_home(c);
	c->echo->ndirect++;
	assert_true(c->in_direct || c->undirected);
	assert_true(len > 0 || c->undirected);
	c->undirected = false;
	c->have += len;
	assert_true(c->have - 4 <= c->len);
	if (c->have - 4 == c->len)
		frame_complete(c);
}

static void echo_expired(struct timer *t)
{
	struct conn *c = container_of(t, struct conn, timer);

	check_home(c);
	assert_true(reactor_now_ns(c->home) >= t->due_ns);
	/* The destination changes in the middle of a direct receive. */
	if (c->have >= 4 && !c->busy && c->in_direct) {
		c->undirected = !stream_recv_undirect(&c->s);
		c->echo->nback[c->undirected]++;
		c->in_direct = false;
	}
	stream_resume(&c->s);
}

static const struct stream_ops echo_ops;

static void echo_moved(struct mail *mail)
{
	struct conn *c = container_of(mail, struct conn, mail);

	assert_ptr_equal(reactor_current(), c->home);
	c->moving = false;
	stream_attach(&c->s, c->home, c->s.fd, &echo_ops);
}

static void echo_detached(struct stream *s)
{
	struct conn *c = conn_of(s);
	uint32_t n = reactors_count(c->echo->set);

	assert_ptr_equal(reactor_current(), c->home);
	assert_null(s->reactor);
	c->echo->nmoved++;
	c->home = reactors_get(c->echo->set, (uint32_t)dice(c, n));
	c->mail.run = echo_moved;
	mail_post(c->home, &c->mail);
}

static void echo_sent(struct stream *s, int error)
{
	struct conn *c = conn_of(s);

	check_home(c);
	assert_false(stream_sending(s));
	free(c->body);
	c->body = NULL;
	c->have = 0;
	c->busy = false;
	if (error || c->ended) {
		conn_finish(c);
		return;
	}
	if (dice(c, 3) == 0) {
		c->moving = true;
		stream_detach(s, echo_detached);
		return;
	}
	stream_resume(s);
}

static void echo_ended(struct stream *s, int error)
{
	struct conn *c = conn_of(s);

	check_home(c);
	assert_false(c->ended);
	c->ended = true;
	if (!c->busy)
		conn_finish(c);
}

static void echo_released(struct stream *s)
{
	struct conn *c = conn_of(s);

	assert_ptr_equal(reactor_current(), c->home);
	assert_true(c->closed);
	assert_false(c->released);
	c->released = true;
	c->echo->nreleased++;
	free(c->body);
	c->body = NULL;
}

static const struct stream_ops echo_ops = {
	.data = echo_data,
	.direct = echo_direct,
	.sent = echo_sent,
	.ended = echo_ended,
	.released = echo_released,
};

static void echo_accepted(struct listener *l, int fd)
{
	struct echo *e = container_of(l, struct echo, listener);
	struct conn *c = &e->conns[e->nconns++];

	assert_true(e->nconns <= NCONNS);
	assert_ptr_equal(reactor_current(), l->reactor);
	c->echo = e;
	c->home = l->reactor;
	timer_init(&c->timer, echo_expired);
	list_init(&c->reply.link);
	c->reply.run = conn_reply;
	stream_attach(&c->s, c->home, fd, &echo_ops);
}

static void echo_listener_released(struct listener *l)
{
	container_of(l, struct echo, listener)->listener_released = true;
}

static void echo_start(struct echo *e, struct reactors *set, uint16_t port)
{
	struct sockaddr_in addr = loopback(port);

	memset(e, 0, sizeof(*e));
	e->set = set;
	e->listener.accepted = echo_accepted;
	e->listener.released = echo_listener_released;
	assert_int_equal(listener_open(&e->listener, reactors_main(set),
				       (struct sockaddr *)&addr, sizeof(addr),
				       0),
			 0);
}

/* A peer that sends frames of random bytes and wants them back. */
struct client {
	struct sim_peer *peer;
	uint8_t *want;
	size_t want_len, sent, got;
};

static void client_start(struct client *cl, struct reactors *set, uint16_t port)
{
	struct sockaddr_in addr = loopback(port);
	size_t len;

	memset(cl, 0, sizeof(*cl));
	cl->peer = sim_connect(set, (struct sockaddr *)&addr, sizeof(addr));
	assert_non_null(cl->peer);
	sim_peer_set_window(cl->peer, 1 + sim_random(set) % 100000);
	for (int i = 0; i < FRAMES; i++) {
		len = sim_random(set) % FRAME_MAX;
		if (sim_random(set) % 2)
			len %= 100;
		cl->want = realloc(cl->want, cl->want_len + 4 + len);
		assert_non_null(cl->want);
		store_be32(cl->want + cl->want_len, (uint32_t)len);
		cl->want_len += 4;
		for (size_t j = 0; j < len; j++)
			cl->want[cl->want_len + j] = (uint8_t)(j * 7 + len);
		cl->want_len += len;
	}
}

static void client_turn(struct client *cl, struct reactors *set)
{
	uint8_t buf[4096];
	size_t n;

	if (cl->sent < cl->want_len && sim_random(set) % 3 == 0) {
		n = 1 + sim_random(set) % 9000;
		n = MIN(n, cl->want_len - cl->sent);
		sim_peer_send(cl->peer, cl->want + cl->sent, n);
		cl->sent += n;
	}
	n = sim_peer_recv(cl->peer, buf, 1 + sim_random(set) % sizeof(buf));
	assert_true(cl->got + n <= cl->want_len);
	assert_memory_equal(buf, cl->want + cl->got, n);
	cl->got += n;
}

/* A whole run; @max_steps: break it off in the middle of anything. */
static uint64_t echo_run(uint64_t seed, uint64_t max_steps, struct echo *e)
{
	struct reactors *set = world(seed, 1 + (uint32_t)(seed % 3));
	struct client cl[NCONNS];
	bool done = false;
	uint64_t hash, steps = 0;

	echo_start(e, set, 1000);
	for (int i = 0; i < NCONNS; i++)
		client_start(&cl[i], set, 1000);
	while (!done && steps++ < max_steps) {
		done = true;
		sim_step(set, SEC);
		for (int i = 0; i < NCONNS; i++) {
			client_turn(&cl[i], set);
			done = done && cl[i].got == cl[i].want_len;
		}
	}
	hash = sim_trace_hash(set);
	if (done) {
		for (int i = 0; i < NCONNS; i++) {
			if (i % 2)
				sim_peer_shutdown(cl[i].peer);
			else
				sim_peer_reset(cl[i].peer);
		}
		listener_close(&e->listener);
		drain(set);
		assert_int_equal(e->nreleased, NCONNS);
		assert_true(e->listener_released);
		for (int i = 0; i < NCONNS; i++) {
			assert_true(sim_peer_closed(cl[i].peer));
			sim_peer_free(cl[i].peer);
		}
	}
	reactors_destroy(set);
	for (int i = 0; i < NCONNS; i++) {
		free(e->conns[i].body);
		free(cl[i].want);
	}
	assert_true(done || max_steps != UINT64_MAX);
	return hash;
}

static void test_echo(void **state)
{
	uint32_t ndirect = 0, nmoved = 0, npaused = 0, nback[2] = {0};
	struct echo e;

	(void)state;
	for (uint64_t seed = 1; seed <= 60; seed++) {
		uint64_t hash = echo_run(seed, UINT64_MAX, &e);

		ndirect += e.ndirect;
		nmoved += e.nmoved;
		npaused += e.npaused;
		nback[0] += e.nback[0];
		nback[1] += e.nback[1];
		assert_int_equal(hash, echo_run(seed, UINT64_MAX, &e));
		assert_int_not_equal(hash,
				     echo_run(seed + 999, UINT64_MAX, &e));
	}
	/* The paths were taken. */
	assert_true(ndirect > 100);
	assert_true(nmoved > 100);
	assert_true(npaused > 20);
	assert_true(nback[0] > 5);
	assert_true(nback[1] > 5);
}

static void test_teardown(void **state)
{
	struct echo e;

	(void)state;
	for (uint64_t seed = 1; seed <= 300; seed++)
		echo_run(seed, seed * 7 % 400, &e);
}

/* ------------------------------------------------------------------------
 * Closing.
 */

static void test_close_while_sending(void **state)
{
	static uint8_t bulk[100000];
	struct reactors *set = world(3, 1);
	struct sockaddr_in addr = loopback(7);
	struct sim_peer *p;
	struct echo e;
	uint8_t buf[64];

	(void)state;
	echo_start(&e, set, 7);
	p = sim_connect(set, (struct sockaddr *)&addr, sizeof(addr));
	sim_peer_set_window(p, 50);
	store_be32(bulk, sizeof(bulk) - 4);
	sim_peer_send(p, bulk, sizeof(bulk));
	while (sim_peer_readable(p) < 50)
		assert_true(sim_step(set, SEC));
	/* Blocked by the window, not ended. */
	assert_true(stream_sending(&e.conns[0].s));
	drain(set);
	assert_int_equal(sim_peer_readable(p), 50);
	assert_true(stream_sending(&e.conns[0].s));
	conn_finish(&e.conns[0]);
	assert_false(e.conns[0].released);
	assert_false(sim_peer_closed(p));
	drain(set);
	assert_true(e.conns[0].released);
	assert_true(sim_peer_closed(p));
	assert_int_equal(sim_peer_recv(p, buf, sizeof(buf)), 50);
	sim_peer_send(p, buf, sizeof(buf));
	drain(set);
	sim_peer_free(p);
	reactors_destroy(set);
}

static void test_reset_fails_send(void **state)
{
	static uint8_t bulk[100000];
	struct reactors *set = world(4, 2);
	struct sockaddr_in addr = loopback(7);
	struct sim_peer *p;
	struct echo e;

	(void)state;
	echo_start(&e, set, 7);
	p = sim_connect(set, (struct sockaddr *)&addr, sizeof(addr));
	sim_peer_set_window(p, 50);
	store_be32(bulk, sizeof(bulk) - 4);
	sim_peer_send(p, bulk, sizeof(bulk));
	while (sim_peer_readable(p) < 50)
		assert_true(sim_step(set, SEC));
	/* Freed with the target's end still open: a reset. */
	sim_peer_free(p);
	drain(set);
	assert_int_equal(e.nreleased, 1);
	reactors_destroy(set);
}

static void test_listener(void **state)
{
	struct reactors *set = world(5, 1);
	struct sockaddr_in any = loopback(7), addr = loopback(7);
	struct listener second = {.accepted = echo_accepted};
	struct sockaddr_storage ss;
	struct sim_peer *p;
	struct echo e;

	(void)state;
	any.sin_addr.s_addr = 0;
	assert_null(sim_connect(set, (struct sockaddr *)&addr, sizeof(addr)));
	echo_start(&e, set, 7);
	assert_int_equal(listener_open(&second, reactors_main(set),
				       (struct sockaddr *)&addr, sizeof(addr),
				       0),
			 -EADDRINUSE);
	/* One in the backlog is turned away. */
	p = sim_connect(set, (struct sockaddr *)&addr, sizeof(addr));
	assert_non_null(p);
	listener_close(&e.listener);
	listener_close(&e.listener);
	drain(set);
	assert_true(e.listener_released);
	assert_true(sim_peer_closed(p));
	assert_int_equal(e.nconns, 0);
	sim_peer_free(p);
	/* A wildcard takes any address. */
	e.listener.accepted = echo_accepted;
	assert_int_equal(listener_open(&e.listener, reactors_main(set),
				       (struct sockaddr *)&any, sizeof(any), 0),
			 0);
	p = sim_connect(set, (struct sockaddr *)&addr, sizeof(addr));
	assert_non_null(p);
	drain(set);
	assert_int_equal(e.nconns, 1);
	stream_local_addr(&e.conns[0].s, &ss);
	assert_memory_equal(&ss, &addr, sizeof(addr));
	stream_peer_addr(&e.conns[0].s, &ss);
	assert_memory_not_equal(&ss, &addr, sizeof(addr));
	sim_peer_free(p);
	drain(set);
	reactors_destroy(set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_echo),
		cmocka_unit_test(test_teardown),
		cmocka_unit_test(test_close_while_sending),
		cmocka_unit_test(test_reset_fails_send),
		cmocka_unit_test(test_listener),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
