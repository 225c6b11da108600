/* SPDX-License-Identifier: BSD-3-Clause */
#include "reactor/uring_priv.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"

/* How long nothing is accepted when descriptors or memory have run out. */
#define ACCEPT_PAUSE_MS 100

/* listener->engine */
struct uring_listener {
	struct listener *l;
	struct timer retry;
	struct deferred release;
	struct log_limit limit;
};

static void accept_arm(struct listener *l)
{
	struct io_uring_sqe *sqe = uring_sqe(uring_of(l->reactor));

	io_uring_prep_multishot_accept(sqe, l->fd, NULL, NULL,
				       SOCK_NONBLOCK | SOCK_CLOEXEC);
	uring_tag(sqe, l, TAG_ACCEPT);
	l->flags |= LF_ARMED;
}

static void accept_retry(struct timer *t)
{
	struct uring_listener *ul;

	ul = container_of(t, struct uring_listener, retry);
	accept_arm(ul->l);
}

/* Nothing refers to it any more. */
static void listener_release(struct deferred *d)
{
	struct uring_listener *ul;
	struct listener *l;

	ul = container_of(d, struct uring_listener, release);
	l = ul->l;
	ASSERT(!(l->flags & LF_ARMED));
	timer_stop(l->reactor, &ul->retry);
	close(l->fd);
	l->fd = -1;
	l->flags = 0;
	free(take(&l->engine));
	l->released(l);
}

/* Is it the fault of the one connection, so that the next may do better? */
static bool accept_error_passes(int res)
{
	return res == -ECONNABORTED || res == -EINTR || res == -EAGAIN ||
	       res == -EPROTO || res == -ECANCELED;
}

void uring_accept_done(struct uring *u, struct listener *l, int res,
		       uint32_t cqe_flags)
{
	struct uring_listener *ul = l->engine;

	if (!(cqe_flags & IORING_CQE_F_MORE))
		l->flags &= ~LF_ARMED;
	if (res >= 0) {
		if (l->flags & LISTENER_CLOSED)
			close(res);
		else
			l->accepted(l, res);
	}
	if (l->flags & LF_ARMED)
		return;
	if (l->flags & LISTENER_CLOSED) {
		reactor_defer(&u->r, &ul->release);
		return;
	}
	if (res >= 0 || accept_error_passes(res)) {
		accept_arm(l);
		return;
	}
	/* EMFILE and the like: the connection stays in the queue. */
	if (log_limit_ok(&ul->limit, u->r.now_ns))
		log_warning("reactor: cannot accept a connection: %s",
			    strerror(-res));
	timer_start(&u->r, &ul->retry, ACCEPT_PAUSE_MS);
}

/*
 * A UNIX socket's file is born with the mode of the socket's inode, less the
 * umask: so it is never, not even for a moment, open to more than @mode.
 */
static int bind_unix(int fd, const struct sockaddr *addr, socklen_t addr_len,
		     unsigned int mode)
{
	const struct sockaddr_un *un = (const void *)addr;
	struct stat st;
	int rc;

	if (fchmod(fd, mode) < 0 || bind(fd, addr, addr_len) < 0)
		return -errno;
	if (un->sun_path[0] == '\0')
		return 0;
	if (lstat(un->sun_path, &st) < 0)
		return -errno;
	if ((st.st_mode & 07777) == mode || chmod(un->sun_path, mode) == 0)
		return 0;
	rc = -errno;
	unlink(un->sun_path);
	return rc;
}

static int listener_bind(int fd, const struct sockaddr *addr,
			 socklen_t addr_len, unsigned int mode)
{
	int one = 1;

	if (addr->sa_family == AF_UNIX)
		return bind_unix(fd, addr, addr_len, mode);
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0)
		return -errno;
	if (addr->sa_family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) < 0)
		return -errno;
	return bind(fd, addr, addr_len) < 0 ? -errno : 0;
}

int uring_listener_open(struct listener *l, struct reactor *r,
			const struct sockaddr *addr, socklen_t addr_len,
			unsigned int mode)
{
	struct uring_listener *ul;
	int fd, rc;

	fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	rc = listener_bind(fd, addr, addr_len, mode);
	if (rc == 0 && listen(fd, SOMAXCONN) < 0)
		rc = -errno;
	ul = rc == 0 ? calloc(1, sizeof(*ul)) : NULL;
	if (!ul) {
		close(fd);
		return rc ? rc : -ENOMEM;
	}
	ul->l = l;
	ul->limit.burst = 1;
	ul->limit.interval_s = 60;
	timer_init(&ul->retry, accept_retry);
	list_init(&ul->release.link);
	ul->release.run = listener_release;
	l->reactor = r;
	l->fd = fd;
	l->flags = LISTENER_OPEN;
	l->engine = ul;
	accept_arm(l);
	return 0;
}

void uring_listener_close(struct listener *l)
{
	struct uring_listener *ul = l->engine;

	l->flags |= LISTENER_CLOSED;
	timer_stop(l->reactor, &ul->retry);
	if (l->flags & LF_ARMED)
		uring_cancel(uring_of(l->reactor), l, TAG_ACCEPT);
	else
		reactor_defer(l->reactor, &ul->release);
}
