/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The product's engine: one io_uring per reactor, and in a turn of the loop one
 * system call for all connections together.
 *
 * A turn: completions and their callbacks, mail, timers, streams that have
 * something left to deliver, deferred work; then the sends that were asked for
 * and the receives that are wanted become requests; then one io_uring_enter
 * submits all of them and, when there is nothing else to do, waits.
 */
#pragma once

#include <liburing.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/list.h"
#include "reactor/engine.h"
#include "reactor/mailbox.h"
#include "reactor/offload.h"

#define URING_SQ_ENTRIES 1024u
#define URING_CQ_ENTRIES 8192u

/*
 * Receive buffers: handed out by the kernel in turn, so few of them are given
 * to it while few will do: those stay in the cache. More follow as they are
 * missed.
 */
#define RX_BUF_SIZE	 131072u
#define RX_BUFS_MAX	 32u /* a power of two */
#define RX_BUFS_AT_FIRST 4u
#define RX_BUF_GROUP	 0
/*
 * After a direct receive of a large payload: the next header, probably with
 * another such payload behind it, of which little shall be copied.
 */
#define RX_SHORT_SIZE 4096u
#define RX_SHORT_FROM 65536u /* bytes of the direct receive */

/* stream->flags, of this engine. */
#define SF_RX	      0x00010000u /* a receive is under way */
#define SF_RX_DIRECT  0x00020000u /* ... into s->direct */
#define SF_TX	      0x00040000u /* a send is under way in the kernel */
#define SF_END_SEEN   0x00080000u /* ended() is due: s->error says why */
#define SF_UNDIRECT   0x00100000u /* that receive is being cancelled */
#define SF_DIRECT_DUE 0x00200000u /* direct() is, for bytes that it has */
#define SF_RX_SHORT   0x00400000u /* the next receive is of RX_SHORT_SIZE */

/* No callback of delivery may come. */
#define SF_HELD (STREAM_PAUSED | STREAM_CLOSED | STREAM_DETACHED)

/* listener->flags, of this engine. */
#define LF_ARMED 0x00010000u /* an accept request is under way */

/* What a completion is about: the low bits of user_data, next to a pointer. */
enum uring_tag {
	TAG_NONE,   /* nobody waits for it */
	TAG_FILE,   /* struct op */
	TAG_RX,	    /* struct stream */
	TAG_TX,	    /* struct stream */
	TAG_ACCEPT, /* struct listener */
	TAG_WAKE,   /* mail for a sleeper */
};
#define TAG_MASK 7u

struct uring {
	struct reactor r;
	struct io_uring ring;
	bool ring_made, enabled;
	bool stopping;

	struct mailbox mailbox;
	int wake_fd; /* eventfd */
	bool wake_armed;
	uint64_t wake_value; /* the kernel reads it into here */

	struct io_uring_buf_ring *rx_ring;
	uint8_t *rx_bufs; /* aligned, inside of @rx_map */
	void *rx_map;
	uint32_t rx_nbufs; /* of RX_BUFS_MAX, known to the kernel */

	struct list ready;   /* streams with something to deliver */
	struct list wanting; /* streams that want a receive request */
	struct list starved; /* those for which there was no buffer */
	struct list sending; /* streams that want a send request */
	struct list leaving; /* closed or detached, nothing in flight */

	/* Polling. */
	uint64_t spin_max_ns;	/* what the user allows */
	uint64_t spin_ns;	/* what pays at present: 0 or the above */
	uint32_t spins_in_vain; /* in a row */
	uint64_t last_work_ns;

	struct mail stop_mail;
	pthread_t thread;
	bool has_thread;
	bool pin;
};

enum uring_go { GO_WAIT, GO_RUN, GO_QUIT };

struct uring_set {
	struct reactors set;
	struct offload offload;
	bool stop_sent; /* the main reactor's */
	pthread_mutex_t lock;
	pthread_cond_t cond;
	enum uring_go go; /* under @lock: what the threads shall do */
};

static inline struct uring *uring_of(struct reactor *r)
{
	return container_of(r, struct uring, r);
}

static inline struct uring_set *uring_set_of(struct reactors *set)
{
	return container_of(set, struct uring_set, set);
}

/* A request to fill in; the queue is submitted when it is full. */
struct io_uring_sqe *uring_sqe(struct uring *u);

static inline void uring_tag(struct io_uring_sqe *sqe, void *obj,
			     enum uring_tag tag)
{
	io_uring_sqe_set_data64(sqe, (uint64_t)(uintptr_t)obj | tag);
}

/* Asks the kernel to give up on a request; it still completes by itself. */
void uring_cancel(struct uring *u, void *obj, enum uring_tag tag);

uint64_t uring_clock_ns(const struct reactor *r);

/* uring_loop.c */
int uring_rx_bufs_create(struct uring *u);
void uring_rx_bufs_destroy(struct uring *u);
void uring_rx_buf_put(struct uring *u, uint32_t index);
void uring_rx_bufs_more(struct uring *u);
/* Runs until uring->stopping. */
void uring_loop(struct uring *u);
void uring_mail_post(struct reactor *to, struct mail *mail);

/* uring_stream.c */
void uring_rx_done(struct uring *u, struct stream *s, int res,
		   uint32_t cqe_flags);
void uring_tx_done(struct uring *u, struct stream *s, int res);
/* Each returns whether there was something to do. */
bool uring_streams_deliver(struct uring *u);
bool uring_streams_leave(struct uring *u);
/* Make requests of what is wanted. */
void uring_streams_flush(struct uring *u);

void uring_stream_attach(struct stream *s, struct reactor *r, int fd,
			 const struct stream_ops *ops);
void uring_stream_detach(struct stream *s, void (*detached)(struct stream *s));
void uring_stream_send(struct stream *s, struct iovec *iov,
		       unsigned int iovcnt);
void uring_stream_recv_direct(struct stream *s, void *dst, size_t len);
bool uring_stream_recv_undirect(struct stream *s);
void uring_stream_pause(struct stream *s);
void uring_stream_resume(struct stream *s);
void uring_stream_close(struct stream *s);
void uring_stream_local_addr(const struct stream *s,
			     struct sockaddr_storage *ret);
void uring_stream_peer_addr(const struct stream *s,
			    struct sockaddr_storage *ret);

/* uring_listener.c */
void uring_accept_done(struct uring *u, struct listener *l, int res,
		       uint32_t cqe_flags);
int uring_listener_open(struct listener *l, struct reactor *r,
			const struct sockaddr *addr, socklen_t addr_len,
			unsigned int mode);
void uring_listener_close(struct listener *l);

/* uring_file.c */
void uring_readv(struct reactor *r, struct op *op, int fd,
		 const struct iovec *iov, unsigned int iovcnt,
		 uint64_t offset_bytes);
void uring_writev(struct reactor *r, struct op *op, int fd,
		  const struct iovec *iov, unsigned int iovcnt,
		  uint64_t offset_bytes, int rwf);
void uring_fdatasync(struct reactor *r, struct op *op, int fd);
void uring_fallocate(struct reactor *r, struct op *op, int fd, int mode,
		     uint64_t offset_bytes, uint64_t len_bytes);
void uring_offload(struct reactor *r, struct op *op, op_work_fn *work);
