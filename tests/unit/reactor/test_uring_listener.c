/* SPDX-License-Identifier: BSD-3-Clause */
/* Listeners: families, modes, running out of descriptors, closing. */
#include "uring_env.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "reactor/net.h"

#define CLIENTS 200

struct listening {
	struct env env;
	struct listener l;
	struct sockaddr_storage addr;
	socklen_t addr_len;
	int clients[CLIENTS];
	int accepted[CLIENTS];
	uint32_t nclients, naccepted;
	bool released;
	struct timer timer;
	struct rlimit old_limit;
	struct rusage before;
	struct stream s;
};

static void open_listener(struct listening *x)
{
	socklen_t len = sizeof(x->addr);

	CHECK(listener_open(&x->l, reactor_current(),
			    (struct sockaddr *)&x->addr, x->addr_len,
			    0600) == 0);
	CHECK(getsockname(x->l.fd, (struct sockaddr *)&x->addr, &len) == 0);
}

static void connect_clients(struct listening *x, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		int fd = socket(x->addr.ss_family, SOCK_STREAM, 0);

		CHECK(connect(fd, (struct sockaddr *)&x->addr, x->addr_len) ==
		      0);
		x->clients[x->nclients++] = fd;
	}
}

static void close_all(struct listening *x)
{
	while (x->nclients > 0)
		close(x->clients[--x->nclients]);
	while (x->naccepted > 0)
		close(x->accepted[--x->naccepted]);
}

static void set_loopback(struct listening *x, int family)
{
	struct sockaddr_in *in4 = (struct sockaddr_in *)&x->addr;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&x->addr;

	memset(&x->addr, 0, sizeof(x->addr));
	x->addr.ss_family = (sa_family_t)family;
	if (family == AF_INET) {
		in4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		x->addr_len = sizeof(*in4);
	} else {
		in6->sin6_addr = in6addr_loopback;
		x->addr_len = sizeof(*in6);
	}
}

static void released_stops(struct listener *l)
{
	struct listening *x = container_of(l, struct listening, l);

	CHECK(!x->released);
	x->released = true;
	env_stop(&x->env);
}

/* ---- Many connections, then the end. */

static void count_accepted(struct listener *l, int fd)
{
	struct listening *x = container_of(l, struct listening, l);

	CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	CHECK(!x->released);
	x->accepted[x->naccepted++] = fd;
	if (x->naccepted < CLIENTS)
		return;
	listener_close(l);
	listener_close(l);
}

static void many_start(struct env *env)
{
	struct listening *x = container_of(env, struct listening, env);

	x->l.accepted = count_accepted;
	x->l.released = released_stops;
	open_listener(x);
	connect_clients(x, CLIENTS);
}

static void test_many(void **state)
{
	static const int families[] = {AF_INET, AF_INET6};

	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		struct listening x = {.env.start = many_start};

		set_loopback(&x, families[i]);
		env_run(&x.env);
		assert_true(x.released);
		assert_int_equal(x.naccepted, CLIENTS);
		close_all(&x);
	}
}

/* ---- The addresses of a stream; an IPv6 listener is not an IPv4 one. */

static size_t no_data(struct stream *s, const uint8_t *buf, size_t len)
{
	return len;
}

static void no_sent(struct stream *s, int error)
{
}

static void no_ended(struct stream *s, int error)
{
}

static void stream_released(struct stream *s)
{
	struct listening *x = container_of(s, struct listening, s);

	listener_close(&x->l);
}

static const struct stream_ops ops = {
	.data = no_data,
	.sent = no_sent,
	.ended = no_ended,
	.released = stream_released,
};

static void addr_accepted(struct listener *l, int fd)
{
	struct listening *x = container_of(l, struct listening, l);
	struct sockaddr_storage local, peer, client;
	socklen_t len = sizeof(client);
	int nodelay = 0;

	stream_attach(&x->s, reactor_current(), fd, &ops);
	stream_local_addr(&x->s, &local);
	stream_peer_addr(&x->s, &peer);
	CHECK(getsockname(x->clients[0], (struct sockaddr *)&client, &len) ==
	      0);
	CHECK(addr_equal(&local, &x->addr));
	CHECK(addr_equal(&peer, &client));
	len = sizeof(nodelay);
	CHECK(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &nodelay, &len) == 0);
	CHECK(nodelay);
	stream_close(&x->s);
}

static void addr_start(struct env *env)
{
	struct listening *x = container_of(env, struct listening, env);
	int v6only = 0;
	socklen_t len = sizeof(v6only);

	x->l.accepted = addr_accepted;
	x->l.released = released_stops;
	open_listener(x);
	if (x->addr.ss_family == AF_INET6) {
		CHECK(getsockopt(x->l.fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only,
				 &len) == 0);
		CHECK(v6only);
	}
	connect_clients(x, 1);
}

static void test_addresses(void **state)
{
	static const int families[] = {AF_INET, AF_INET6};

	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		struct listening x = {.env.start = addr_start};

		set_loopback(&x, families[i]);
		env_run(&x.env);
		close_all(&x);
	}
}

/* ---- UNIX: the file has the mode; an address in use is an error. */

static void unix_accepted(struct listener *l, int fd)
{
	close(fd);
	listener_close(l);
}

static void unix_start(struct env *env)
{
	struct listening *x = container_of(env, struct listening, env);
	const char *path = ((struct sockaddr_un *)&x->addr)->sun_path;
	struct listener second = {.accepted = unix_accepted,
				  .released = released_stops};
	struct stat st;

	x->l.accepted = unix_accepted;
	x->l.released = released_stops;
	CHECK(listener_open(&x->l, reactor_current(),
			    (struct sockaddr *)&x->addr, x->addr_len,
			    0620) == 0);
	CHECK(stat(path, &st) == 0);
	CHECK(S_ISSOCK(st.st_mode) && (st.st_mode & 07777) == 0620);
	CHECK(listener_open(&second, reactor_current(),
			    (struct sockaddr *)&x->addr, x->addr_len,
			    0600) == -EADDRINUSE);
	connect_clients(x, 1);
}

static void test_unix(void **state)
{
	struct listening x = {.env.start = unix_start};
	struct sockaddr_un *un = (struct sockaddr_un *)&x.addr;
	char dir[] = "/tmp/reactor_unix_XXXXXX";
	mode_t mask = umask(077);

	assert_non_null(mkdtemp(dir));
	un->sun_family = AF_UNIX;
	snprintf(un->sun_path, sizeof(un->sun_path), "%s/sock", dir);
	x.addr_len = sizeof(*un);
	env_run(&x.env);
	umask(mask);
	assert_true(x.released);
	close_all(&x);
	unlink(un->sun_path);
	rmdir(dir);
}

/* ---- No descriptors: no spinning, and afterwards it goes on. */

static uint64_t cpu_us(const struct rusage *ru)
{
	return (uint64_t)(ru->ru_utime.tv_sec + ru->ru_stime.tv_sec) * 1000000 +
	       (uint64_t)(ru->ru_utime.tv_usec + ru->ru_stime.tv_usec);
}

static void full_over(struct timer *t)
{
	struct listening *x = container_of(t, struct listening, timer);
	struct rusage now;

	getrusage(RUSAGE_SELF, &now);
	CHECK(x->naccepted == 0);
	CHECK(cpu_us(&now) - cpu_us(&x->before) < 50000);
	CHECK(setrlimit(RLIMIT_NOFILE, &x->old_limit) == 0);
}

static void full_accepted(struct listener *l, int fd)
{
	struct listening *x = container_of(l, struct listening, l);

	x->accepted[x->naccepted++] = fd;
	if (x->naccepted == 5)
		listener_close(l);
}

static void full_start(struct env *env)
{
	struct listening *x = container_of(env, struct listening, env);
	struct rlimit none;

	x->l.accepted = full_accepted;
	x->l.released = released_stops;
	open_listener(x);
	connect_clients(x, 5);
	CHECK(getrlimit(RLIMIT_NOFILE, &x->old_limit) == 0);
	none = x->old_limit;
	none.rlim_cur = 3;
	CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
	getrusage(RUSAGE_SELF, &x->before);
	timer_init(&x->timer, full_over);
	timer_start(reactor_current(), &x->timer, 450);
}

static void test_no_descriptors(void **state)
{
	struct listening x = {.env.start = full_start};

	set_loopback(&x, AF_INET);
	env_run(&x.env);
	assert_int_equal(x.naccepted, 5);
	close_all(&x);
}

/* ---- Closed while it waits for descriptors, and at once. */

static void paused_close(struct timer *t)
{
	struct listening *x = container_of(t, struct listening, timer);

	CHECK(setrlimit(RLIMIT_NOFILE, &x->old_limit) == 0);
	listener_close(&x->l);
}

static void paused_start(struct env *env)
{
	struct listening *x = container_of(env, struct listening, env);

	full_start(env);
	timer_stop(reactor_current(), &x->timer);
	timer_init(&x->timer, paused_close);
	timer_start(reactor_current(), &x->timer, 20);
}

static void at_once_start(struct env *env)
{
	struct listening *x = container_of(env, struct listening, env);

	x->l.accepted = full_accepted;
	x->l.released = released_stops;
	open_listener(x);
	connect_clients(x, 3);
	listener_close(&x->l);
	CHECK(!x->released);
}

static void test_close(void **state)
{
	struct listening paused = {.env.start = paused_start};
	struct listening at_once = {.env.start = at_once_start};

	set_loopback(&paused, AF_INET);
	env_run(&paused.env);
	assert_true(paused.released);
	close_all(&paused);

	set_loopback(&at_once, AF_INET);
	env_run(&at_once.env);
	assert_true(at_once.released);
	close_all(&at_once);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_unix),
		cmocka_unit_test(test_no_descriptors),
		cmocka_unit_test(test_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
