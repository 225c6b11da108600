/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How a connection ends: closed from any callback and from outside, half, by a
 * reset, with a send that does not move; released() comes once and last.
 */
#include "uring_env.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BIG (16u << 20)

static uint32_t draw(uint32_t *seed, uint32_t below)
{
	*seed = *seed * 1664525u + 1013904223u;
	return (uint32_t)(((uint64_t)*seed * below) >> 32);
}

/* ---- Both ends send, receive and close at random. */

#define PAIRS  200
#define BUFFER 70000u

struct storm {
	struct env env;
	uint32_t seed, left, started;
	struct mail next;
};

struct end {
	struct stream s;
	struct storm *all;
	struct iovec iov;
	uint8_t *out, *in; /* freed in released(): ASan watches */
	struct mail poke;
	bool poked, gone;
};

static void end_maybe_close(struct end *e)
{
	if (draw(&e->all->seed, 12) == 0)
		stream_close(&e->s);
}

static void end_send(struct end *e)
{
	if (e->gone || stream_sending(&e->s))
		return;
	e->iov = (struct iovec){e->out, 1 + draw(&e->all->seed, BUFFER)};
	stream_send(&e->s, &e->iov, 1);
}

static void end_free(struct end *e)
{
	if (!e->gone || e->poked)
		return;
	if (--e->all->left == 0)
		env_stop(&e->all->env);
	free(e->in);
	free(e->out);
	free(e);
}

/* From outside of the stream's callbacks. */
static void end_poked(struct mail *mail)
{
	struct end *e = container_of(mail, struct end, poke);

	e->poked = false;
	if (e->gone) {
		end_free(e);
		return;
	}
	stream_resume(&e->s);
	if (draw(&e->all->seed, 4) == 0)
		stream_close(&e->s);
	else if (draw(&e->all->seed, 4) == 0)
		(void)stream_recv_undirect(&e->s);
}

static void end_poke(struct end *e)
{
	if (e->poked)
		return;
	e->poked = true;
	mail_post(reactor_current(), &e->poke);
}

static size_t end_data(struct stream *s, const uint8_t *buf, size_t len)
{
	struct end *e = container_of(s, struct end, s);

	CHECK(!e->gone);
	memcpy(e->in, buf, MIN(len, (size_t)BUFFER));
	end_send(e);
	switch (draw(&e->all->seed, 5)) {
	case 0:
		stream_recv_direct(s, e->in, 1 + draw(&e->all->seed, BUFFER));
		end_poke(e);
		break;
	case 1:
		stream_pause(s);
		end_poke(e);
		break;
	case 2:
		end_poke(e);
		end_maybe_close(e);
		return len / 2;
	default:
		break;
	}
	end_maybe_close(e);
	return len;
}

static void end_direct(struct stream *s, size_t len)
{
	struct end *e = container_of(s, struct end, s);

	CHECK(!e->gone);
	end_send(e);
	end_maybe_close(e);
}

static void end_sent(struct stream *s, int error)
{
	struct end *e = container_of(s, struct end, s);

	CHECK(!e->gone);
	if (error == 0 && draw(&e->all->seed, 2))
		end_send(e);
	end_maybe_close(e);
	if (error)
		stream_close(s);
}

static void end_ended(struct stream *s, int error)
{
	CHECK(!container_of(s, struct end, s)->gone);
	stream_close(s);
}

static void end_released(struct stream *s)
{
	struct end *e = container_of(s, struct end, s);

	CHECK(!e->gone);
	e->gone = true;
	end_free(e);
}

static const struct stream_ops end_ops = {
	.data = end_data,
	.direct = end_direct,
	.sent = end_sent,
	.ended = end_ended,
	.released = end_released,
};

static void end_new(struct storm *all, int fd)
{
	struct end *e = calloc(1, sizeof(*e));

	e->all = all;
	e->in = malloc(BUFFER + 1);
	e->out = calloc(1, BUFFER + 1);
	e->poke.run = end_poked;
	stream_attach(&e->s, reactor_current(), fd, &end_ops);
	end_send(e);
	if (draw(&all->seed, 20) == 0)
		stream_close(&e->s);
	if (draw(&all->seed, 10) == 0)
		end_poke(e);
}

static void storm_next(struct mail *mail)
{
	struct storm *all = container_of(mail, struct storm, next);
	int fds[2];

	if (all->seed % 2)
		env_tcp_pair(fds);
	else
		CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0,
				 fds) == 0);
	end_new(all, fds[0]);
	end_new(all, fds[1]);
	if (++all->started < PAIRS)
		mail_post(reactor_current(), mail);
}

static void storm_start(struct env *env)
{
	struct storm *all = container_of(env, struct storm, env);

	all->left = 2 * PAIRS;
	all->next.run = storm_next;
	mail_post(reactor_current(), &all->next);
}

static void storm(bool tcp)
{
	for (uint32_t seed = 1; seed <= 10; seed++) {
		struct storm all = {.env.start = storm_start, .seed = seed};

		env_run(&all.env);
		assert_int_equal(all.left, 0);
	}
}

static void test_storm(void **state)
{
	storm(false);
	storm(true);
}

/* ---- One stream, and a peer that is a plain socket. */

struct lone {
	struct env env;
	struct stream s;
	int fd, peer;
	uint8_t *big;
	struct iovec iov[3000];
	size_t got;
	int sent_error, ended_error;
	uint32_t sents, endeds, released;
	bool close_when_sent, close_when_ended, tcp;
	struct mail mail;
	pthread_t thread;
	uint64_t sum;
};

static size_t lone_data(struct stream *s, const uint8_t *buf, size_t len)
{
	container_of(s, struct lone, s)->got += len;
	return len;
}

static void lone_sent(struct stream *s, int error)
{
	struct lone *x = container_of(s, struct lone, s);

	x->sents++;
	x->sent_error = error;
	if (x->close_when_sent)
		stream_close(s);
}

static void lone_ended(struct stream *s, int error)
{
	struct lone *x = container_of(s, struct lone, s);

	x->endeds++;
	x->ended_error = error;
	if (x->close_when_ended)
		stream_close(s);
}

static void lone_released(struct stream *s)
{
	struct lone *x = container_of(s, struct lone, s);

	x->released++;
	CHECK(fcntl(x->fd, F_GETFD) < 0 && errno == EBADF);
	env_stop(&x->env);
}

static const struct stream_ops lone_ops = {
	.data = lone_data,
	.sent = lone_sent,
	.ended = lone_ended,
	.released = lone_released,
};

static void lone_attach(struct lone *x)
{
	int fds[2];

	if (x->tcp)
		env_tcp_pair(fds);
	else
		CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
	x->fd = fds[0];
	x->peer = fds[1];
	stream_attach(&x->s, reactor_current(), x->fd, &lone_ops);
}

static struct lone *lone_new(void (*start)(struct env *env), bool tcp)
{
	struct lone *x = calloc(1, sizeof(*x));

	x->env.start = start;
	x->tcp = tcp;
	x->sent_error = x->ended_error = 1;
	x->big = malloc(BIG);
	for (size_t i = 0; i < BIG; i++)
		x->big[i] = (uint8_t)(i * 31 >> 7);
	return x;
}

static void lone_free(struct lone *x)
{
	if (x->peer >= 0)
		close(x->peer);
	free(x->big);
	free(x);
}

/* The peer never reads: closing does not wait for it. */

static void close_now(struct mail *mail)
{
	struct lone *x = container_of(mail, struct lone, mail);

	CHECK(x->sents == 0 && stream_sending(&x->s));
	stream_close(&x->s);
	CHECK(x->released == 0);
}

static void stuck_start(struct env *env)
{
	struct lone *x = container_of(env, struct lone, env);

	lone_attach(x);
	x->iov[0] = (struct iovec){x->big, BIG};
	stream_send(&x->s, x->iov, 1);
	x->mail.run = close_now;
	mail_post(reactor_current(), &x->mail);
}

static void close_stuck_send(bool tcp)
{
	struct lone *x = lone_new(stuck_start, tcp);

	env_run(&x->env);
	assert_int_equal(x->released, 1);
	assert_int_equal(x->sents + x->endeds, 0);
	lone_free(x);
}

static void test_close_stuck_send(void **state)
{
	close_stuck_send(false);
	close_stuck_send(true);
}

/* A slow reader gets everything, from more iovecs than one call takes. */

static void *read_slowly(void *arg)
{
	struct lone *x = arg;
	static const size_t sizes[] = {1, 70000, 13, 4096, 1000000};
	uint8_t *buf = malloc(1000000);
	size_t pos = 0;

	for (size_t turn = 0;; turn++) {
		ssize_t n = read(x->peer, buf, sizes[turn % ARRAY_LEN(sizes)]);

		if (n <= 0)
			break;
		CHECK(!memcmp(buf, x->big + pos, (size_t)n));
		pos += (size_t)n;
	}
	free(buf);
	x->sum = pos;
	return NULL;
}

static void slow_start(struct env *env)
{
	struct lone *x = container_of(env, struct lone, env);
	size_t n = ARRAY_LEN(x->iov), off = 0;

	lone_attach(x);
	for (size_t i = 0; i < n; i++) {
		/* Some are empty, also the first and the last. */
		size_t len = i % 3 == 0 || i == n - 1 ? 0 : BIG / n;

		x->iov[i] = (struct iovec){x->big + off, len};
		off += len;
	}
	x->iov[n - 2].iov_len = BIG - (off - x->iov[n - 2].iov_len);
	x->close_when_sent = true;
	stream_send(&x->s, x->iov, (unsigned int)n);
	CHECK(pthread_create(&x->thread, NULL, read_slowly, x) == 0);
}

static void slow_reader(bool tcp)
{
	struct lone *x = lone_new(slow_start, tcp);

	env_run(&x->env);
	pthread_join(x->thread, NULL);
	assert_int_equal(x->sents, 1);
	assert_int_equal(x->sent_error, 0);
	assert_int_equal(x->sum, BIG);
	lone_free(x);
}

static void test_slow_reader(void **state)
{
	slow_reader(false);
	slow_reader(true);
}

/* The peer closes its half: what we send still arrives. */

static void half_closed(struct stream *s, int error)
{
	struct lone *x = container_of(s, struct lone, s);

	x->endeds++;
	x->ended_error = error;
	x->close_when_sent = true;
	x->iov[0] = (struct iovec){x->big, BIG};
	stream_send(s, x->iov, 1);
	CHECK(pthread_create(&x->thread, NULL, read_slowly, x) == 0);
}

static void half_start(struct env *env)
{
	static const struct stream_ops half_ops = {
		.data = lone_data,
		.sent = lone_sent,
		.ended = half_closed,
		.released = lone_released,
	};
	struct lone *x = container_of(env, struct lone, env);

	lone_attach(x);
	x->s.ops = &half_ops;
	CHECK(write(x->peer, x->big, 5000) == 5000);
	CHECK(shutdown(x->peer, SHUT_WR) == 0);
}

static void half_close(bool tcp)
{
	struct lone *x = lone_new(half_start, tcp);

	env_run(&x->env);
	pthread_join(x->thread, NULL);
	assert_int_equal(x->got, 5000);
	assert_int_equal(x->endeds, 1);
	assert_int_equal(x->ended_error, 0);
	assert_int_equal(x->sent_error, 0);
	assert_int_equal(x->sum, BIG);
	lone_free(x);
}

static void test_half_close(void **state)
{
	half_close(false);
	half_close(true);
}

/* The peer goes away under a send: sent() has the error, once. */

static void gone_start(struct env *env)
{
	struct lone *x = container_of(env, struct lone, env);

	lone_attach(x);
	x->close_when_sent = true;
	x->iov[0] = (struct iovec){x->big, BIG};
	stream_send(&x->s, x->iov, 1);
	close(x->peer);
	x->peer = -1;
}

static void peer_gone(bool tcp)
{
	struct lone *x = lone_new(gone_start, tcp);

	env_run(&x->env);
	assert_int_equal(x->sents, 1);
	assert_true(x->sent_error < 0);
	assert_true(x->endeds <= 1);
	lone_free(x);
}

static void test_peer_gone(void **state)
{
	peer_gone(false);
	peer_gone(true);
}

/* A paused stream says nothing of the end before it is resumed. */

static void resume_now(struct mail *mail)
{
	struct lone *x = container_of(mail, struct lone, mail);

	CHECK(x->got == 0 && x->endeds == 0);
	x->close_when_ended = true;
	stream_resume(&x->s);
	stream_resume(&x->s);
}

static void paused_start(struct env *env)
{
	struct lone *x = container_of(env, struct lone, env);

	lone_attach(x);
	stream_pause(&x->s);
	CHECK(write(x->peer, x->big, 777) == 777);
	close(x->peer);
	x->peer = -1;
	x->mail.run = resume_now;
	mail_post(reactor_current(), &x->mail);
}

static void paused_end(bool tcp)
{
	struct lone *x = lone_new(paused_start, tcp);

	env_run(&x->env);
	assert_int_equal(x->got, 777);
	assert_int_equal(x->endeds, 1);
	assert_int_equal(x->ended_error, 0);
	lone_free(x);
}

static void test_paused_end(void **state)
{
	paused_end(false);
	paused_end(true);
}

/* Closed between stream_detach() and detached(): released() comes alone. */

static void never_detached(struct stream *s)
{
	CHECK(!"it was closed");
}

static void detach_then_close(struct mail *mail)
{
	struct lone *x = container_of(mail, struct lone, mail);

	stream_detach(&x->s, never_detached);
	stream_close(&x->s);
}

static void detach_start(struct env *env)
{
	struct lone *x = container_of(env, struct lone, env);

	lone_attach(x);
	CHECK(write(x->peer, x->big, 777) == 777);
	x->mail.run = detach_then_close;
	mail_post(reactor_current(), &x->mail);
}

static void detach_close(bool tcp)
{
	struct lone *x = lone_new(detach_start, tcp);

	env_run(&x->env);
	assert_int_equal(x->released, 1);
	lone_free(x);
}

static void test_detach_close(void **state)
{
	detach_close(false);
	detach_close(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_storm),
		cmocka_unit_test(test_close_stuck_send),
		cmocka_unit_test(test_slow_reader),
		cmocka_unit_test(test_half_close),
		cmocka_unit_test(test_peer_gone),
		cmocka_unit_test(test_paused_end),
		cmocka_unit_test(test_detach_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
