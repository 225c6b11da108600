/* SPDX-License-Identifier: BSD-3-Clause */
#include "reactor/uring_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The longest transfer of one system call (MAX_RW_COUNT). */
#define XFER_BYTES_MAX 0x7ffff000u

/* Direct bytes that came while delivery was stopped: direct() is due. */
static uint64_t *stream_held_direct(struct stream *s)
{
	return &s->rx_op.priv[0];
}

/* The message header of the send that is under way. */
static struct msghdr *stream_msghdr(struct stream *s)
{
	_Static_assert(sizeof(struct msghdr) <= sizeof(s->tx_op.priv),
		       "a message header fits into the operation");
	return (struct msghdr *)(void *)s->tx_op.priv;
}

static void stream_make_ready(struct stream *s)
{
	list_remove(&s->ready_link);
	list_push_back(&uring_of(s->reactor)->ready, &s->ready_link);
}

/* Leaving, and the kernel has nothing of it any more? */
static void stream_maybe_leave(struct stream *s)
{
	if (s->flags & (SF_RX | SF_TX))
		return;
	list_remove(&s->ready_link);
	list_push_back(&uring_of(s->reactor)->leaving, &s->ready_link);
}

/* ------------------------------------------------------------------------
 * Receiving: delivery.
 */

static void stream_end(struct stream *s, int error)
{
	s->flags |= SF_END_SEEN;
	s->error = error;
}

/* Tells of @n bytes, of which the engine has moved s->direct on already. */
static void stream_tell_direct(struct stream *s, size_t n)
{
	s->flags |= STREAM_IN_DATA;
	s->ops->direct(s, n);
	s->flags &= ~STREAM_IN_DATA;
}

/* Offers bytes; returns how many were taken. Fewer than all pauses. */
static size_t stream_offer(struct stream *s, const uint8_t *buf, size_t len)
{
	size_t n;

	/* Bytes in hand come before those that go to s->direct. */
	ASSERT(s->direct_len == 0);
	s->flags |= STREAM_IN_DATA;
	n = s->ops->data(s, buf, len);
	s->flags &= ~STREAM_IN_DATA;

	if (s->flags & STREAM_CLOSED)
		return len;
	ASSERT(n <= len);
	if (n < len) {
		ASSERT(s->direct_len == 0);
		s->flags |= STREAM_PAUSED;
	}
	return n;
}

static void stream_keep(struct stream *s, const uint8_t *buf, size_t len)
{
	ASSERT(!s->kept);
	s->kept = malloc(len);
	if (!s->kept) {
		/* Without these bytes what follows has no meaning. */
		stream_end(s, -ENOMEM);
		return;
	}
	memcpy(s->kept, buf, len);
	s->kept_len = len;
	s->kept_off = 0;
}

static void stream_offer_kept(struct stream *s)
{
	s->kept_off += stream_offer(s, s->kept + s->kept_off,
				    s->kept_len - s->kept_off);
	if (s->kept_off < s->kept_len)
		return;
	free(take(&s->kept));
	s->kept_len = s->kept_off = 0;
}

/*
 * Whatever can be done for a stream whose receive has ended, or whose delivery
 * goes on: what was held back first, then the end, else the next receive.
 */
static void stream_advance(struct uring *u, struct stream *s)
{
	if (s->flags & SF_HELD)
		return;
	if (s->flags & SF_DIRECT_DUE) {
		s->flags &= ~SF_DIRECT_DUE;
		stream_tell_direct(s, *stream_held_direct(s));
	}
	if (s->kept && !(s->flags & SF_HELD))
		stream_offer_kept(s);
	if (s->kept || (s->flags & SF_HELD))
		return;
	if (s->flags & SF_END_SEEN) {
		if (s->flags & STREAM_ENDED)
			return;
		s->flags |= STREAM_ENDED;
		s->ops->ended(s, s->error);
		return;
	}
	if (!(s->flags & SF_RX) && !list_linked(&s->ready_link))
		list_push_back(&u->wanting, &s->ready_link);
}

bool uring_streams_deliver(struct uring *u)
{
	struct list batch = LIST_INIT(batch);
	struct list *n;
	bool any = false;

	list_splice_back(&batch, &u->ready);
	while ((n = list_pop_front(&batch))) {
		stream_advance(u, list_entry(n, struct stream, ready_link));
		any = true;
	}
	return any;
}

/* ------------------------------------------------------------------------
 * Receiving: requests.
 */

static void stream_request_recv(struct uring *u, struct stream *s)
{
	struct io_uring_sqe *sqe = uring_sqe(u);

	if (s->direct_len > 0) {
		size_t len = MIN(s->direct_len, (size_t)XFER_BYTES_MAX);

		io_uring_prep_recv(sqe, s->fd, s->direct, len, 0);
		s->flags |= SF_RX | SF_RX_DIRECT;
	} else {
		io_uring_prep_recv(sqe, s->fd, NULL,
				   s->flags & SF_RX_SHORT ? RX_SHORT_SIZE
							  : RX_BUF_SIZE,
				   0);
		sqe->flags |= IOSQE_BUFFER_SELECT;
		sqe->buf_group = RX_BUF_GROUP;
		s->flags |= SF_RX;
		s->flags &= ~SF_RX_SHORT;
	}
	uring_tag(sqe, s, TAG_RX);
}

/* @n bytes have come to s->direct. */
static void stream_direct_came(struct stream *s, size_t n, bool undirect)
{
	ASSERT(n <= s->direct_len);
	s->direct += n;
	s->direct_len -= n;
	if (undirect || s->direct_len == 0) {
		s->direct = NULL;
		s->direct_len = 0;
	}
	if (n == 0 && !undirect)
		return;
	/* The end of an undirect is told even with no bytes: see the header. */
	if (s->flags & SF_HELD) {
		*stream_held_direct(s) = n;
		s->flags |= SF_DIRECT_DUE;
		return;
	}
	stream_tell_direct(s, n);
}

static void stream_bytes_came(struct stream *s, const uint8_t *buf, size_t len)
{
	size_t used = 0;

	if (!(s->flags & SF_HELD))
		used = stream_offer(s, buf, len);
	if (used < len && !(s->flags & STREAM_CLOSED))
		stream_keep(s, buf + used, len - used);
}

/* Failures that say nothing about the connection. */
static bool recv_error_passes(int res)
{
	return res == -EAGAIN || res == -EINTR || res == -ECANCELED ||
	       res == -ENOBUFS;
}

void uring_rx_done(struct uring *u, struct stream *s, int res,
		   uint32_t cqe_flags)
{
	uint32_t was = s->flags;
	size_t n = res > 0 ? (size_t)res : 0;

	ASSERT(s->flags & SF_RX);
	s->flags &= ~(SF_RX | SF_RX_DIRECT | SF_UNDIRECT);
	if (res == 0 || (res < 0 && !recv_error_passes(res)))
		stream_end(s, res);
	if (was & SF_RX_DIRECT)
		stream_direct_came(s, n, was & SF_UNDIRECT);
	if (cqe_flags & IORING_CQE_F_BUFFER) {
		uint32_t index = cqe_flags >> IORING_CQE_BUFFER_SHIFT;

		if (n > 0)
			stream_bytes_came(
				s, u->rx_bufs + (size_t)index * RX_BUF_SIZE, n);
		uring_rx_buf_put(u, index);
	}
	if (s->flags & (STREAM_CLOSED | STREAM_DETACHED)) {
		stream_maybe_leave(s);
		return;
	}
	if (res == -ENOBUFS && !(s->flags & STREAM_PAUSED)) {
		uring_rx_bufs_more(u);
		list_remove(&s->ready_link);
		list_push_back(&u->starved, &s->ready_link);
		return;
	}
	stream_advance(u, s);
}

/* ------------------------------------------------------------------------
 * Sending.
 */

/* Steps over @n bytes that are sent, and over empty iovecs. */
static void stream_sent_bytes(struct stream *s, size_t n)
{
	s->send_left -= n;
	while (s->send_iovcnt > 1 && n >= s->send_iov->iov_len) {
		n -= s->send_iov->iov_len;
		s->send_iov++;
		s->send_iovcnt--;
	}
	s->send_iov->iov_base = (uint8_t *)s->send_iov->iov_base + n;
	s->send_iov->iov_len -= n;
}

static void stream_request_send(struct uring *u, struct stream *s)
{
	struct io_uring_sqe *sqe = uring_sqe(u);
	int flags = MSG_NOSIGNAL | MSG_WAITALL;

	if (s->send_iovcnt == 1) {
		io_uring_prep_send(
			sqe, s->fd, s->send_iov->iov_base,
			MIN(s->send_iov->iov_len, (size_t)XFER_BYTES_MAX),
			flags);
	} else {
		struct msghdr *m = stream_msghdr(s);

		*m = (struct msghdr){
			.msg_iov = s->send_iov,
			.msg_iovlen =
				MIN(s->send_iovcnt, (unsigned int)IOV_MAX),
		};
		io_uring_prep_sendmsg(sqe, s->fd, m, (unsigned int)flags);
	}
	uring_tag(sqe, s, TAG_TX);
	s->flags |= SF_TX;
}

static void stream_tell_sent(struct stream *s, int error)
{
	s->flags &= ~STREAM_SENDING;
	s->send_iov = NULL;
	s->send_iovcnt = 0;
	s->send_left = 0;
	s->ops->sent(s, error);
}

void uring_tx_done(struct uring *u, struct stream *s, int res)
{
	ASSERT(s->flags & SF_TX);
	s->flags &= ~SF_TX;
	if (s->flags & STREAM_CLOSED) {
		stream_maybe_leave(s);
		return;
	}
	if (res == -EAGAIN || res == -EINTR) {
		list_push_back(&u->sending, &s->send_link);
		return;
	}
	if (res < 0) {
		stream_tell_sent(s, res);
		return;
	}
	ASSERT((size_t)res <= s->send_left);
	stream_sent_bytes(s, (size_t)res);
	if (s->send_left == 0)
		stream_tell_sent(s, 0);
	else if (res == 0)
		stream_tell_sent(s, -EPIPE); /* no progress is no success */
	else
		list_push_back(&u->sending, &s->send_link);
}

/* Sends go first: they answer what was received before. */
void uring_streams_flush(struct uring *u)
{
	struct list *n;

	while ((n = list_pop_front(&u->sending)))
		stream_request_send(u, list_entry(n, struct stream, send_link));

	for (uint32_t i = 0; i < RX_BUFS_MAX; i++) {
		n = list_pop_front(&u->starved);
		if (!n)
			break;
		list_push_back(&u->wanting, n);
	}
	while ((n = list_pop_front(&u->wanting)))
		stream_request_recv(u,
				    list_entry(n, struct stream, ready_link));
}

/* ------------------------------------------------------------------------
 * Coming and going.
 */

void uring_stream_attach(struct stream *s, struct reactor *r, int fd,
			 const struct stream_ops *ops)
{
	uint32_t kept_flags =
		s->flags & (STREAM_ENDED | SF_END_SEEN | SF_DIRECT_DUE);
	int fl, one = 1;

	s->ops = ops;
	s->reactor = r;
	s->fd = fd;
	s->flags = STREAM_ATTACHED | kept_flags;
	list_init(&s->ready_link);
	list_init(&s->send_link);

	/* io_uring gives EAGAIN in place of waiting for a non-blocking one. */
	fl = fcntl(fd, F_GETFL);
	if (fl >= 0 && (fl & O_NONBLOCK))
		fcntl(fd, F_SETFL, fl & ~O_NONBLOCK);
	/* Fails on UNIX sockets, which have no such delay. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	stream_make_ready(s);
}

void uring_stream_detach(struct stream *s, void (*detached)(struct stream *s))
{
	struct uring *u = uring_of(s->reactor);

	s->flags |= STREAM_DETACHED;
	s->detached = detached;
	list_remove(&s->ready_link);
	if (s->flags & SF_RX)
		uring_cancel(u, s, TAG_RX);
	stream_maybe_leave(s);
}

void uring_stream_close(struct stream *s)
{
	struct uring *u = uring_of(s->reactor);

	s->flags |= STREAM_CLOSED;
	list_remove(&s->ready_link);
	list_remove(&s->send_link);
	if (s->flags & (SF_RX | SF_TX))
		shutdown(s->fd, SHUT_RDWR);
	if (s->flags & SF_RX)
		uring_cancel(u, s, TAG_RX);
	if (s->flags & SF_TX)
		uring_cancel(u, s, TAG_TX);
	stream_maybe_leave(s);
}

static void stream_release(struct stream *s)
{
	const struct stream_ops *ops = s->ops;
	struct reactor *r = s->reactor;

	close(s->fd);
	free(s->kept);
	*s = (struct stream){.ops = ops, .reactor = r, .fd = -1};
	ops->released(s);
}

bool uring_streams_leave(struct uring *u)
{
	struct list batch = LIST_INIT(batch);
	struct list *n;
	bool any = false;

	list_splice_back(&batch, &u->leaving);
	while ((n = list_pop_front(&batch))) {
		struct stream *s = list_entry(n, struct stream, ready_link);

		any = true;
		if (s->flags & STREAM_CLOSED) {
			stream_release(s);
			continue;
		}
		s->flags &= ~(STREAM_ATTACHED | STREAM_PAUSED);
		s->reactor = NULL;
		s->detached(s);
	}
	return any;
}

/* ------------------------------------------------------------------------
 * The rest of the interface.
 */

void uring_stream_send(struct stream *s, struct iovec *iov, unsigned int iovcnt)
{
	s->flags |= STREAM_SENDING;
	s->send_iov = iov;
	s->send_iovcnt = iovcnt;
	s->send_left = 0;
	for (unsigned int i = 0; i < iovcnt; i++)
		s->send_left += iov[i].iov_len;
	stream_sent_bytes(s, 0);
	list_push_back(&uring_of(s->reactor)->sending, &s->send_link);
}

void uring_stream_recv_direct(struct stream *s, void *dst, size_t len)
{
	ASSERT(!(s->flags & SF_RX));
	s->direct = dst;
	s->direct_len = len;
	if (len >= RX_SHORT_FROM)
		s->flags |= SF_RX_SHORT;
}

bool uring_stream_recv_undirect(struct stream *s)
{
	if (s->flags & SF_RX_DIRECT) {
		if (!(s->flags & SF_UNDIRECT))
			uring_cancel(uring_of(s->reactor), s, TAG_RX);
		s->flags |= SF_UNDIRECT;
		return false;
	}
	s->direct = NULL;
	s->direct_len = 0;
	return !(s->flags & SF_DIRECT_DUE);
}

void uring_stream_pause(struct stream *s)
{
	if (s->flags & STREAM_DETACHED)
		return;
	s->flags |= STREAM_PAUSED;
	list_remove(&s->ready_link);
}

void uring_stream_resume(struct stream *s)
{
	if ((s->flags & STREAM_DETACHED) || !(s->flags & STREAM_PAUSED))
		return;
	s->flags &= ~STREAM_PAUSED;
	stream_make_ready(s);
}

void uring_stream_local_addr(const struct stream *s,
			     struct sockaddr_storage *ret)
{
	socklen_t len = sizeof(*ret);

	(void)getsockname(s->fd, (struct sockaddr *)ret, &len);
}

void uring_stream_peer_addr(const struct stream *s,
			    struct sockaddr_storage *ret)
{
	socklen_t len = sizeof(*ret);

	(void)getpeername(s->fd, (struct sockaddr *)ret, &len);
}
