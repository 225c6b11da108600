/* SPDX-License-Identifier: BSD-3-Clause */
/* Reactors for a test: made, run until somebody calls env_stop(), taken down. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/macros.h"
#include "reactor/reactor.h"

struct env {
	struct reactors *set;
	void (*start)(struct env *env); /* on the main reactor */
	uint32_t ncores;		/* 0 = 1 */
	uint32_t poll_us_max;
	uint32_t watchdog_ms; /* 0 = 20 s */
	struct mail start_mail;
	struct timer watchdog;
};

static inline void env_started(struct mail *mail)
{
	struct env *env = container_of(mail, struct env, start_mail);

	env->start(env);
}

/* Cannot fail by assertion on the loop: it would jump out of the kernel. */
static inline void env_watchdog(struct timer *t)
{
	fprintf(stderr, "the test did not end in time\n");
	abort();
}

#define CHECK(expr)                                                        \
	do {                                                               \
		if (!(expr)) {                                             \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, \
				#expr);                                    \
			abort();                                           \
		}                                                          \
	} while (0)

static inline void env_start_watchdog(struct env *env)
{
	timer_init(&env->watchdog, env_watchdog);
	timer_start(reactors_main(env->set), &env->watchdog,
		    env->watchdog_ms ? env->watchdog_ms : 60000);
}

static inline void env_run(struct env *env)
{
	uint32_t cores[64] = {0};
	struct reactor_options opt = {
		.cores = cores,
		.ncores = env->ncores ? env->ncores : 1,
		.poll_us_max = env->poll_us_max,
	};
	const char *why = NULL;
	int rc = reactors_create(&opt, &env->set, &why);

	if (rc)
		fprintf(stderr, "%s\n", why);
	assert_int_equal(rc, 0);
	env->start_mail.run = env_started;
	mail_post(reactors_main(env->set), &env->start_mail);
	env_start_watchdog(env);
	reactors_run(env->set);
	timer_stop(reactors_main(env->set), &env->watchdog);
	reactors_destroy(env->set);
	env->set = NULL;
}

static inline void env_stop(struct env *env)
{
	reactors_stop(env->set);
}

/* A TCP connection over loopback; its first end is non-blocking. */
static inline void env_tcp_pair(int fds[2])
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	socklen_t len = sizeof(a);
	int l = socket(AF_INET, SOCK_STREAM, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CHECK(bind(l, (struct sockaddr *)&a, len) == 0);
	CHECK(listen(l, 1) == 0);
	CHECK(getsockname(l, (struct sockaddr *)&a, &len) == 0);
	fds[0] = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(connect(fds[0], (struct sockaddr *)&a, len) == 0);
	fds[1] = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	CHECK(fds[1] >= 0);
	/* As a listener hands it over. The other end is for plain calls. */
	CHECK(fcntl(fds[0], F_SETFL, O_NONBLOCK) == 0);
	close(l);
}
