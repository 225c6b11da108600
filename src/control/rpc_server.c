/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/rpc_server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "control/jsonrpc.h"

/* Beyond this many bytes of replies nothing more is read of a client. */
#define UNSENT_MAX (4u << 20)
#define LOCK_TRIES 10
/* At the end, what is on its way to a client may still get there. */
#define LINGER_MS 100

struct reply {
	struct list link;
	char *text;
	size_t len;
};

struct rpc_conn {
	struct list link;
	struct rpc_server *server;
	struct stream stream;
	struct jsonrpc rpc;
	struct list replies; /* the first is being sent */
	size_t unsent;
	struct iovec iov;
	bool over; /* the client says no more */
	bool closing;
};

struct rpc_server {
	struct reactors *set;
	struct control *control;
	struct listener listener;
	bool listening;
	struct sockaddr_un addr;
	char lock_path[sizeof(((struct sockaddr_un *)0)->sun_path) + 8];
	int lock_fd;
	struct list conns;
	uint32_t nconns;
	bool ending;
	struct timer linger;
	void (*done)(void *ctx);
	void *ctx;
};

/* ---- The lock. */

/* Locked, and still the file of that name? */
static int try_lock(const char *path, int *ret_fd)
{
	struct stat ours, named;
	int fd;

	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		int error = errno == EWOULDBLOCK ? -EADDRINUSE : -errno;

		close(fd);
		return error;
	}
	if (fstat(fd, &ours) == 0 && stat(path, &named) == 0 &&
	    ours.st_ino == named.st_ino && ours.st_dev == named.st_dev) {
		*ret_fd = fd;
		return 0;
	}
	/* Its last owner unlinked it between our two calls. */
	close(fd);
	return -EAGAIN;
}

static int take_lock(struct rpc_server *s)
{
	int error = -EAGAIN;

	for (int i = 0; i < LOCK_TRIES && error == -EAGAIN; i++)
		error = try_lock(s->lock_path, &s->lock_fd);
	return error;
}

static void drop_lock(struct rpc_server *s)
{
	if (s->lock_fd < 0)
		return;
	unlink(s->lock_path);
	close(s->lock_fd);
	s->lock_fd = -1;
}

/* ---- Connections. */

static void server_check(struct rpc_server *s);

static void reply_free(struct reply *r)
{
	list_remove(&r->link);
	free(r->text);
	free(r);
}

static void conn_close(struct rpc_conn *c)
{
	if (c->closing)
		return;
	c->closing = true;
	stream_close(&c->stream);
}

static void send_next(struct rpc_conn *c)
{
	struct reply *r;

	if (c->closing || stream_sending(&c->stream))
		return;
	if (list_empty(&c->replies)) {
		/* All is said. */
		if ((c->over || c->server->ending) && c->rpc.ncalls == 0)
			conn_close(c);
		return;
	}
	r = list_first(&c->replies, struct reply, link);
	c->iov.iov_base = r->text;
	c->iov.iov_len = r->len;
	stream_send(&c->stream, &c->iov, 1);
}

static void conn_reply(struct jsonrpc *j, char *text, size_t len)
{
	struct rpc_conn *c = container_of(j, struct rpc_conn, rpc);
	struct reply *r = c->closing ? NULL : calloc(1, sizeof(*r));

	if (!r) {
		free(text);
		conn_close(c);
		return;
	}
	r->text = text;
	r->len = len;
	c->unsent += len;
	c->rpc.hold = c->unsent > UNSENT_MAX;
	list_push_back(&c->replies, &r->link);
	send_next(c);
}

static void conn_start(struct jsonrpc *j, struct rpc_call *call)
{
	log_debug(LOG_RPC, "rpc: %s", call->name);
	rpc_start(call);
}

static void conn_ended(struct jsonrpc *j)
{
	struct rpc_conn *c = container_of(j, struct rpc_conn, rpc);

	if (c->closing)
		return;
	if (!c->rpc.hold)
		stream_resume(&c->stream);
	send_next(c);
}

static const struct jsonrpc_ops conn_rpc_ops = {
	.start = conn_start,
	.send = conn_reply,
	.ended = conn_ended,
};

static size_t conn_data(struct stream *stream, const uint8_t *buf, size_t len)
{
	struct rpc_conn *c = container_of(stream, struct rpc_conn, stream);
	size_t taken;

	if (c->server->ending || c->over)
		return len;
	taken = jsonrpc_feed(&c->rpc, buf, len);
	if (!c->rpc.broken)
		return taken;
	/* Nothing after it can be told apart: answer, then hang up. */
	c->over = true;
	send_next(c);
	return len;
}

static void conn_sent(struct stream *stream, int error)
{
	struct rpc_conn *c = container_of(stream, struct rpc_conn, stream);
	struct reply *r = list_first(&c->replies, struct reply, link);

	ASSERT(!list_empty(&c->replies));
	c->unsent -= r->len;
	reply_free(r);
	if (error < 0) {
		conn_close(c);
		return;
	}
	c->rpc.hold = c->unsent > UNSENT_MAX;
	if (!c->rpc.hold)
		stream_resume(stream);
	send_next(c);
}

static void conn_over(struct stream *stream, int error)
{
	struct rpc_conn *c = container_of(stream, struct rpc_conn, stream);

	if (error < 0) {
		conn_close(c);
		return;
	}
	/* It may have shut down its side only, and listen for the answers. */
	if (!c->over)
		jsonrpc_end(&c->rpc);
	c->over = true;
	send_next(c);
}

static void conn_released(struct stream *stream)
{
	struct rpc_conn *c = container_of(stream, struct rpc_conn, stream);
	struct rpc_server *s = c->server;
	struct reply *r, *tmp;

	list_for_each_safe(r, tmp, &c->replies, link)
		reply_free(r);
	jsonrpc_deinit(&c->rpc);
	list_remove(&c->link);
	s->nconns--;
	free(c);
	server_check(s);
}

static const struct stream_ops conn_ops = {
	.data = conn_data,
	.sent = conn_sent,
	.ended = conn_over,
	.released = conn_released,
};

static void accepted(struct listener *l, int fd)
{
	struct rpc_server *s = container_of(l, struct rpc_server, listener);
	struct rpc_conn *c = NULL;

	if (s->nconns < RPC_CLIENTS_MAX && !s->ending)
		c = calloc(1, sizeof(*c));
	if (!c) {
		log_warning("rpc: no room for another client");
		close(fd);
		return;
	}
	c->server = s;
	list_init(&c->replies);
	jsonrpc_init(&c->rpc, &conn_rpc_ops, s->control);
	list_push_back(&s->conns, &c->link);
	s->nconns++;
	stream_attach(&c->stream, reactors_main(s->set), fd, &conn_ops);
}

/* ---- The server. */

static void server_check(struct rpc_server *s)
{
	void (*done)(void *ctx) = s->done;
	void *ctx = s->ctx;

	if (!s->ending || s->listening || s->nconns > 0)
		return;
	timer_stop(reactors_main(s->set), &s->linger);
	drop_lock(s);
	free(s);
	done(ctx);
}

static void listener_gone(struct listener *l)
{
	struct rpc_server *s = container_of(l, struct rpc_server, listener);

	s->listening = false;
	server_check(s);
}

static void linger_over(struct timer *t)
{
	struct rpc_server *s = container_of(t, struct rpc_server, linger);
	struct rpc_conn *c, *tmp;

	list_for_each_safe(c, tmp, &s->conns, link)
		conn_close(c);
}

void rpc_server_destroy(struct rpc_server *s, void (*done)(void *ctx),
			void *ctx)
{
	struct rpc_conn *c, *tmp;

	s->ending = true;
	s->done = done;
	s->ctx = ctx;
	/* While the lock is held: nobody else's socket is there. */
	unlink(s->addr.sun_path);
	listener_close(&s->listener);
	timer_start(reactors_main(s->set), &s->linger, LINGER_MS);
	list_for_each_safe(c, tmp, &s->conns, link)
		send_next(c);
}

/* What another process left behind; but no file of another kind. */
static int remove_stale(const char *path)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -ENOTSOCK;
	return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

static int open_socket(struct rpc_server *s, const char **ret_why)
{
	static const char live[] = "another process serves it";
	int error = take_lock(s);

	if (error < 0) {
		*ret_why = error == -EADDRINUSE ? live : strerror(-error);
		return error;
	}
	/* Nobody holds the lock: nobody serves it. */
	error = remove_stale(s->addr.sun_path);
	if (error == 0)
		error = listener_open(&s->listener, reactors_main(s->set),
				      (const struct sockaddr *)&s->addr,
				      sizeof(s->addr), 0600);
	if (error < 0) {
		*ret_why = error == -ENOTSOCK
				   ? "there is a file that is not a socket"
				   : strerror(-error);
		drop_lock(s);
	}
	return error;
}

int rpc_server_create(struct reactors *set, struct control *control,
		      const char *path, struct rpc_server **ret,
		      const char **ret_why)
{
	struct rpc_server *s = calloc(1, sizeof(*s));
	int error;

	if (!s) {
		*ret_why = strerror(ENOMEM);
		return -ENOMEM;
	}
	s->set = set;
	s->control = control;
	s->lock_fd = -1;
	list_init(&s->conns);
	timer_init(&s->linger, linger_over);
	s->listener.accepted = accepted;
	s->listener.released = listener_gone;
	s->addr.sun_family = AF_UNIX;
	if (!str_copy(s->addr.sun_path, sizeof(s->addr.sun_path), path)) {
		*ret_why = "the path is too long for a socket";
		free(s);
		return -ENAMETOOLONG;
	}
	snprintf(s->lock_path, sizeof(s->lock_path), "%s.lock", path);
	error = open_socket(s, ret_why);
	if (error < 0) {
		free(s);
		return error;
	}
	s->listening = true;
	*ret = s;
	return 0;
}
