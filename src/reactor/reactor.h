/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The event loop: one per core, one thread each, and everything that touches
 * the kernel asynchronously goes through it. Every object belongs to one
 * reactor; only mail crosses.
 *
 * There is more than one engine behind this interface: reactor_uring is the
 * product; reactor_sim runs any number of reactors in one thread, with virtual
 * time, a simulated network, and completions in an order that a seed decides.
 * Nothing above this layer knows which one it runs on.
 *
 * Unless stated otherwise a function is called on the reactor that it names,
 * and callbacks come on that reactor, from its loop, never from inside a call.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "reactor/op.h"

#define REACTORS_MAX 256

struct reactor;
struct reactors;
struct bufpool;

/* ------------------------------------------------------------------------
 * The reactors of a process.
 */

struct reactor_options {
	const uint32_t *cores; /* CPU numbers, @ncores of them */
	uint32_t ncores;       /* 1..REACTORS_MAX */
	uint32_t main_core;    /* index into @cores: the control reactor */
	uint32_t poll_us_max;  /* spin at most this long; 0 = never */
	bool pin;	       /* bind each thread to its CPU */
	size_t small_bufs;     /* per reactor; 0 = default */
	size_t large_bufs;
};

/*
 * Creates all reactors, not yet running. Their threads wait from here on, so
 * that a lack of them shows here: no fork() between this and reactors_run().
 * Before that call, work for a reactor is mail. On failure 0 is not returned and
 * @ret_why has one line for the user (for instance which setting of the kernel
 * or the container forbids io_uring).
 */
int reactors_create(const struct reactor_options *opt,
		    struct reactors **ret_set, const char **ret_why);

/* Starts all threads but the main one and runs the main reactor in the calling
 * thread, until reactors_stop(). */
void reactors_run(struct reactors *set);

/* From the main reactor. Every loop ends after its current batch. */
void reactors_stop(struct reactors *set);

void reactors_destroy(struct reactors *set);

uint32_t reactors_count(const struct reactors *set);
struct reactor *reactors_get(struct reactors *set, uint32_t index);
/* The control reactor: owner of configuration, login and RPC. */
struct reactor *reactors_main(struct reactors *set);

uint32_t reactor_index(const struct reactor *r); /* 0..count-1 */
uint32_t reactor_cpu(const struct reactor *r);	 /* CPU number */
struct reactors *reactor_set(const struct reactor *r);
struct bufpool *reactor_bufpool(struct reactor *r);

/* The reactor whose loop runs in this thread; NULL elsewhere. */
struct reactor *reactor_current(void);

/* Monotonic time, sampled once per turn of the loop. Starts above 0. */
uint64_t reactor_now_ns(const struct reactor *r);

struct reactor_stats {
	uint64_t turns;		   /* of the loop */
	uint64_t sleeps;	   /* times it blocked in the kernel */
	uint64_t busy_ns, idle_ns; /* coarse */
};
void reactor_get_stats(const struct reactor *r, struct reactor_stats *ret);

/* ------------------------------------------------------------------------
 * Work: later in this turn, later in time, on another core, on a thread.
 */

/* Runs @d once at the end of the current batch. Idempotent while queued.
 * @d->link must have been list_init()ed. */
void reactor_defer(struct reactor *r, struct deferred *d);

void timer_init(struct timer *t, void (*expired)(struct timer *t));
/* (Re)starts: due @delay_ms from now. */
void timer_start(struct reactor *r, struct timer *t, uint64_t delay_ms);
/* Idempotent; expired() will not come after it. */
void timer_stop(struct reactor *r, struct timer *t);
bool timer_running(const struct timer *t);

/* From any reactor, to any reactor (also the own one): mail->run(mail) there.
 * Between two given reactors order is kept. Other threads and signal handlers
 * may post too. Not again before it has run. */
void mail_post(struct reactor *to, struct mail *mail);

/*
 * Runs fn(f, r) once on every reactor, each on its own core; when all have
 * returned, done(f) on the reactor that started it. For changes that every
 * core has to know of before somebody is answered.
 */
struct fanout {
	void (*fn)(struct fanout *f, struct reactor *r);
	void (*done)(struct fanout *f);
	struct reactor *origin; /* the rest is the reactor layer's */
	struct mail *mails;
	uint32_t left;
};
/* 0 or -ENOMEM (then nothing runs). */
int reactors_fanout(struct reactors *set, struct fanout *f);

/*
 * For what only blocks (opening files, BLKDISCARD): work(op) on a helper
 * thread, its return value in op->res, then op->done() on @r.
 */
typedef int op_work_fn(struct op *op);
void reactor_offload(struct reactor *r, struct op *op, op_work_fn *work);

/* ------------------------------------------------------------------------
 * Files and devices. Memory, iovecs and descriptor stay valid until done().
 * op->res as the system call's return value, or -errno. A short result is
 * possible and is the caller's to continue.
 */

void reactor_readv(struct reactor *r, struct op *op, int fd,
		   const struct iovec *iov, unsigned int iovcnt,
		   uint64_t offset_bytes);
/* @rwf: RWF_DSYNC or 0. */
void reactor_writev(struct reactor *r, struct op *op, int fd,
		    const struct iovec *iov, unsigned int iovcnt,
		    uint64_t offset_bytes, int rwf);
void reactor_fdatasync(struct reactor *r, struct op *op, int fd);
void reactor_fallocate(struct reactor *r, struct op *op, int fd, int mode,
		       uint64_t offset_bytes, uint64_t len_bytes);

/* ------------------------------------------------------------------------
 * Streams: a connected socket (TCP or UNIX).
 *
 * Receiving: the engine reads into a buffer of its own, shared by all streams
 * of the core, and hands it over: an idle stream holds no buffer. A stream may
 * instead name where its next bytes go (stream_recv_direct), so that a large
 * payload is copied once, by the kernel.
 *
 * Sending: one send at a time. The iovecs and what they point to belong to the
 * engine until sent().
 */

struct stream;

struct stream_ops {
	/*
	 * Bytes came. @buf is valid during the call only. Returns how many
	 * were taken; fewer than @len pauses the stream: the engine keeps the
	 * rest and gives it again, first, after stream_resume().
	 */
	size_t (*data)(struct stream *s, const uint8_t *buf, size_t len);

	/* Optional. @len more bytes lie where stream_recv_direct() said. */
	void (*direct)(struct stream *s, size_t len);

	/*
	 * The send has ended: all of its bytes were taken by the kernel (0) or
	 * the connection is broken (-errno). Never partial.
	 */
	void (*sent)(struct stream *s, int error);

	/*
	 * No more bytes will come: the peer closed (0) or -errno. Once. The
	 * stream stays open (for sending) until stream_close().
	 */
	void (*ended)(struct stream *s, int error);

	/*
	 * The last callback, after stream_close(): the kernel has let go of
	 * everything; the stream's memory may be freed.
	 */
	void (*released)(struct stream *s);
};

struct stream {
	const struct stream_ops *ops;
	struct reactor *reactor; /* NULL while detached */
	int fd;
	/* The rest is the engine's. */
	uint32_t flags;
	uint8_t *direct;   /* where the next bytes go */
	size_t direct_len; /* how many of them */
	uint8_t *kept;	   /* bytes that data() did not take */
	size_t kept_len, kept_off;
	struct iovec *send_iov;
	unsigned int send_iovcnt;
	size_t send_left;
	int error;
	struct list ready_link, send_link;
	struct op rx_op, tx_op;
	void (*detached)(struct stream *s);
	void *engine;
};

/*
 * Takes the connected socket @fd and begins to receive. A new stream is all
 * zeroes (one that was released is so again); it may also be one that was
 * detached elsewhere (then @fd is its own).
 */
void stream_attach(struct stream *s, struct reactor *r, int fd,
		   const struct stream_ops *ops);

/*
 * Gives the stream away: no more callbacks, and when nothing of it is left on
 * this reactor, detached(s) (from the loop). The descriptor, and bytes that
 * data() did not take, stay with the stream. Not while a send is under way.
 */
void stream_detach(struct stream *s, void (*detached)(struct stream *s));

/* Sends all of it. Not while another send is under way. sent() will follow. */
void stream_send(struct stream *s, struct iovec *iov, unsigned int iovcnt);
bool stream_sending(const struct stream *s);

/*
 * From inside data() or direct(): once the bytes in hand are used up, the next
 * @len bytes of the connection go to @dst, direct() reports them as they come,
 * and then data() goes on. data() must have taken all of its bytes.
 */
void stream_recv_direct(struct stream *s, void *dst, size_t len);

/*
 * On second thoughts the rest of these bytes is wanted through data(). True:
 * from now on, and the destination is the caller's again. False: a receive into
 * it is under way; direct() will come once more, perhaps with @len 0, and with
 * that the destination is the caller's. (Or, after stream_close(), released().)
 */
bool stream_recv_undirect(struct stream *s);

/* Stops and restarts delivery. Both idempotent. */
void stream_pause(struct stream *s);
void stream_resume(struct stream *s);

/*
 * Ends it: no callback but released() follows. Bytes of a send under way are
 * lost. Idempotent.
 */
void stream_close(struct stream *s);

/* ------------------------------------------------------------------------
 * Listeners.
 */

struct listener {
	/* A connection: a non-blocking socket that the callee now owns. */
	void (*accepted)(struct listener *l, int fd);
	/* After listener_close(): may be freed. */
	void (*released)(struct listener *l);
	struct reactor *reactor;
	int fd;
	struct op op; /* the engine's */
	uint32_t flags;
	struct list link;
	void *engine;
};

/*
 * Binds and listens on @addr (AF_INET, AF_INET6 - then IPv6 only - or AF_UNIX).
 * 0 or -errno. For AF_UNIX @mode is the socket file's mode.
 */
int listener_open(struct listener *l, struct reactor *r,
		  const struct sockaddr *addr, socklen_t addr_len,
		  unsigned int mode);
void listener_close(struct listener *l);
