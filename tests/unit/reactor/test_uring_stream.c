/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every byte of a connection arrives once and in order, whatever the receiver
 * does: takes a part, pauses, names a destination, gives that up again, moves
 * to another reactor. What it does is drawn from a seed.
 */
#include "uring_env.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DIRECT_MAX 300000u
#define CHUNK_MAX  200000u
#define IOV_TEST   2500 /* more than one system call takes */

static uint8_t pattern(uint64_t pos)
{
	return (uint8_t)((pos * 2654435761u) >> 11);
}

static uint32_t draw(uint32_t *seed, uint32_t below)
{
	*seed = *seed * 1664525u + 1013904223u;
	return (uint32_t)(((uint64_t)*seed * below) >> 32);
}

struct flows;

struct sender {
	struct stream s;
	struct flows *all;
	uint8_t *buf;
	struct iovec iov[IOV_TEST];
	uint64_t pos, total;
	uint32_t seed;
};

struct receiver {
	struct stream s;
	struct flows *all;
	uint8_t *direct;
	size_t direct_off, direct_want;
	uint64_t pos;
	uint32_t seed;
	struct mail later; /* resumes, or gives up the direct bytes */
	bool later_posted, paused, undirecting, detaching, ended;
};

struct flows {
	struct env env;
	uint32_t nflows, seed;
	uint64_t total;
	bool tcp, moves;
	struct sender *senders;
	struct receiver *receivers;
	uint32_t left; /* streams; the main reactor's */
};

struct over {
	struct mail mail;
	struct flows *all;
};

static void one_is_over(struct mail *mail)
{
	struct over *o = container_of(mail, struct over, mail);
	struct flows *all = o->all;

	free(o);
	if (--all->left == 0)
		env_stop(&all->env);
}

static void tell_over(struct flows *all)
{
	struct over *o = malloc(sizeof(*o));

	*o = (struct over){.mail.run = one_is_over, .all = all};
	mail_post(reactors_main(all->env.set), &o->mail);
}

/* ---- The sending side. */

static void send_some(struct sender *tx)
{
	uint64_t left = tx->total - tx->pos;
	uint32_t len = 1 + draw(&tx->seed, CHUNK_MAX);
	unsigned int n = 0;
	uint32_t off = 0;
	bool many = draw(&tx->seed, 4) == 0;

	len = (uint32_t)MIN((uint64_t)len, left);
	for (uint32_t i = 0; i < len; i++)
		tx->buf[i] = pattern(tx->pos + i);
	while (off < len) {
		uint32_t k = many ? draw(&tx->seed, 200) : len - off;

		k = MIN(k, len - off);
		if (n == IOV_TEST - 1)
			k = len - off;
		tx->iov[n++] = (struct iovec){tx->buf + off, k};
		off += k;
	}
	tx->pos += len;
	stream_send(&tx->s, tx->iov, n);
	CHECK(stream_sending(&tx->s));
}

static void tx_sent(struct stream *s, int error)
{
	struct sender *tx = container_of(s, struct sender, s);

	CHECK(error == 0);
	CHECK(!stream_sending(s));
	if (tx->pos == tx->total)
		stream_close(s);
	else
		send_some(tx);
}

static size_t tx_data(struct stream *s, const uint8_t *buf, size_t len)
{
	CHECK(!"the receiver sends nothing");
	return len;
}

static void tx_ended(struct stream *s, int error)
{
	CHECK(!"the receiver closes later");
}

static void tx_released(struct stream *s)
{
	struct sender *tx = container_of(s, struct sender, s);

	CHECK(tx->pos == tx->total);
	tell_over(tx->all);
}

static const struct stream_ops tx_ops = {
	.data = tx_data,
	.sent = tx_sent,
	.ended = tx_ended,
	.released = tx_released,
};

/* ---- The receiving side. */

static void rx_check(struct receiver *rx, const uint8_t *buf, size_t len)
{
	for (size_t i = 0; i < len; i++)
		CHECK(buf[i] == pattern(rx->pos + i));
	rx->pos += len;
}

static void rx_later(struct mail *mail)
{
	struct receiver *rx = container_of(mail, struct receiver, later);

	rx->later_posted = false;
	if (rx->ended)
		return;
	if (rx->paused) {
		rx->paused = false;
		stream_resume(&rx->s);
		return;
	}
	if (rx->direct_want == 0)
		return;
	if (stream_recv_undirect(&rx->s))
		rx->direct_want = 0;
	else
		rx->undirecting = true;
}

static void rx_post_later(struct receiver *rx)
{
	if (rx->later_posted)
		return;
	rx->later_posted = true;
	mail_post(reactor_current(), &rx->later);
}

static void rx_pause(struct receiver *rx)
{
	rx->paused = true;
	rx_post_later(rx);
}

static void rx_go_direct(struct receiver *rx)
{
	rx->direct_off = 0;
	rx->direct_want = 1 + draw(&rx->seed, DIRECT_MAX);
	memset(rx->direct, 0, rx->direct_want);
	stream_recv_direct(&rx->s, rx->direct, rx->direct_want);
}

static const struct stream_ops rx_ops;

static void rx_arrives(struct mail *mail)
{
	struct receiver *rx = container_of(mail, struct receiver, later);

	rx->later.run = rx_later;
	rx->later_posted = rx->detaching = false;
	stream_attach(&rx->s, reactor_current(), rx->s.fd, &rx_ops);
}

static void rx_detached(struct stream *s)
{
	struct receiver *rx = container_of(s, struct receiver, s);
	struct flows *all = rx->all;

	CHECK(s->reactor == NULL);
	mail_post(reactors_get(all->env.set, draw(&rx->seed, all->env.ncores)),
		  &rx->later);
}

static void rx_move(struct receiver *rx)
{
	if (rx->later_posted || !rx->all->moves)
		return;
	rx->later_posted = rx->detaching = true;
	rx->later.run = rx_arrives;
	stream_detach(&rx->s, rx_detached);
}

static size_t rx_data(struct stream *s, const uint8_t *buf, size_t len)
{
	struct receiver *rx = container_of(s, struct receiver, s);
	size_t part = len;

	CHECK(len > 0 && !rx->paused && !rx->detaching && !rx->ended);
	CHECK(rx->direct_want == 0);
	CHECK(reactor_current() == s->reactor);
	switch (draw(&rx->seed, 12)) {
	case 0:
		part = draw(&rx->seed, (uint32_t)len);
		rx_pause(rx);
		break;
	case 1:
		stream_pause(s);
		rx_pause(rx);
		break;
	case 2:
		part = draw(&rx->seed, (uint32_t)len + 1);
		if (part < len)
			rx_pause(rx);
		break;
	case 3:
	case 4:
		rx_go_direct(rx);
		break;
	case 5:
		rx_go_direct(rx);
		rx_post_later(rx);
		break;
	case 6:
		stream_pause(s);
		stream_resume(s);
		break;
	case 7:
		rx_go_direct(rx);
		rx_move(rx);
		break;
	case 8:
		rx_move(rx);
		break;
	default:
		break;
	}
	rx_check(rx, buf, part);
	return part;
}

static void rx_direct(struct stream *s, size_t len)
{
	struct receiver *rx = container_of(s, struct receiver, s);

	CHECK(!rx->paused && !rx->detaching && !rx->ended);
	CHECK(len > 0 || rx->undirecting);
	CHECK(len <= rx->direct_want);
	rx_check(rx, rx->direct + rx->direct_off, len);
	rx->direct_off += len;
	rx->direct_want -= len;
	if (rx->undirecting)
		rx->direct_want = 0;
	rx->undirecting = false;
	switch (draw(&rx->seed, 6)) {
	case 0:
		if (rx->direct_want == 0)
			rx_go_direct(rx);
		break;
	case 1:
		stream_pause(s);
		rx_pause(rx);
		break;
	case 2:
		if (rx->direct_want == 0)
			rx_move(rx);
		break;
	default:
		break;
	}
}

static void rx_sent(struct stream *s, int error)
{
	CHECK(!"nothing is sent");
}

static void rx_ended(struct stream *s, int error)
{
	struct receiver *rx = container_of(s, struct receiver, s);

	CHECK(!rx->ended && !rx->paused && !rx->detaching);
	CHECK(error == 0);
	CHECK(rx->pos == rx->all->total);
	rx->ended = true;
	stream_close(s);
	stream_close(s);
}

static void rx_released(struct stream *s)
{
	struct receiver *rx = container_of(s, struct receiver, s);

	CHECK(rx->ended);
	tell_over(rx->all);
}

static const struct stream_ops rx_ops = {
	.data = rx_data,
	.direct = rx_direct,
	.sent = rx_sent,
	.ended = rx_ended,
	.released = rx_released,
};

/* ---- The test. */

static void flow_start(struct flows *all, uint32_t i)
{
	struct sender *tx = &all->senders[i];
	struct receiver *rx = &all->receivers[i];
	int fds[2];

	if (all->tcp)
		env_tcp_pair(fds);
	else
		CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0,
				 fds) == 0);
	tx->all = rx->all = all;
	tx->total = all->total;
	tx->seed = all->seed + i;
	rx->seed = all->seed * 31 + i;
	tx->buf = malloc(CHUNK_MAX + 1);
	rx->direct = malloc(DIRECT_MAX + 1);
	rx->later.run = rx_later;
	stream_attach(&tx->s, reactor_current(), fds[0], &tx_ops);
	stream_attach(&rx->s, reactor_current(), fds[1], &rx_ops);
	send_some(tx);
}

static void flows_start(struct env *env)
{
	struct flows *all = container_of(env, struct flows, env);

	all->left = 2 * all->nflows;
	for (uint32_t i = 0; i < all->nflows; i++)
		flow_start(all, i);
}

static void flows_run(const struct flows *how)
{
	struct flows *all = malloc(sizeof(*all));

	*all = *how;
	all->env.start = flows_start;
	all->senders = calloc(all->nflows, sizeof(*all->senders));
	all->receivers = calloc(all->nflows, sizeof(*all->receivers));
	env_run(&all->env);
	for (uint32_t i = 0; i < all->nflows; i++) {
		assert_true(all->receivers[i].pos == all->total);
		free(all->senders[i].buf);
		free(all->receivers[i].direct);
	}
	free(all->senders);
	free(all->receivers);
	free(all);
}

static void test_flow_unix(void **state)
{
	for (uint32_t seed = 1; seed <= 10; seed++)
		flows_run(&(struct flows){.nflows = 2,
					  .seed = seed,
					  .total = 3000000,
					  .env.poll_us_max = seed % 2 * 20});
}

static void test_flow_tcp(void **state)
{
	for (uint32_t seed = 1; seed <= 10; seed++)
		flows_run(&(struct flows){.nflows = 2,
					  .seed = seed * 77,
					  .tcp = true,
					  .total = 3000000,
					  .env.poll_us_max = seed % 2 * 20});
}

/* More streams with bytes than there are receive buffers. */
static void test_flow_many(void **state)
{
	flows_run(&(struct flows){.nflows = 120, .seed = 5, .total = 400000});
	flows_run(&(struct flows){.nflows = 120,
				  .seed = 6,
				  .tcp = true,
				  .total = 400000,
				  .env.poll_us_max = 20});
}

static void test_flow_moves(void **state)
{
	for (uint32_t seed = 1; seed <= 10; seed++)
		flows_run(&(struct flows){.nflows = 4,
					  .seed = seed * 13,
					  .tcp = seed % 2,
					  .moves = true,
					  .total = 2000000,
					  .env.ncores = 3});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flow_unix),
		cmocka_unit_test(test_flow_tcp),
		cmocka_unit_test(test_flow_many),
		cmocka_unit_test(test_flow_moves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
