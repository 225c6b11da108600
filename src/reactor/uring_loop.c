/* SPDX-License-Identifier: BSD-3-Clause */
#include "reactor/uring_priv.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* Completions that are copied out of the ring at once. */
#define REAP_BATCH 64u

/* Looks of the spinning loop between two of the clock. */
#define SPINS_PER_CLOCK 16

/* After so many fruitless spins in a row it is not tried any more. */
#define SPINS_IN_VAIN_MAX 8

/* What submits and is back sooner has not slept: a request completed at once. */
#define SLEEP_MIN_NS 4000u

/* Rounds of deferred work and what it leaves behind, in one turn. */
#define LEAVE_ROUNDS_MAX 4

#define HUGE_PAGE	 (2u << 20)
#define RX_RING_BYTES	 (RX_BUFS_MAX * sizeof(struct io_uring_buf))

uint64_t uring_clock_ns(const struct reactor *r)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ------------------------------------------------------------------------
 * Requests.
 */

struct io_uring_sqe *uring_sqe(struct uring *u)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

	while (!sqe) {
		/* Fails for a moment only: signals, memory of the kernel. */
		int rc = io_uring_submit(&u->ring);

		ASSERT(rc >= 0 || rc == -EINTR || rc == -EAGAIN ||
		       rc == -EBUSY || rc == -ENOMEM);
		sqe = io_uring_get_sqe(&u->ring);
	}
	return sqe;
}

void uring_cancel(struct uring *u, void *obj, enum uring_tag tag)
{
	struct io_uring_sqe *sqe = uring_sqe(u);

	io_uring_prep_cancel64(sqe, (uint64_t)(uintptr_t)obj | tag, 0);
	/* Too late is as good: the request has completed then. */
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	uring_tag(sqe, NULL, TAG_NONE);
}

/* ------------------------------------------------------------------------
 * Receive buffers.
 */

int uring_rx_bufs_create(struct uring *u)
{
	struct io_uring_buf_reg reg = {
		.ring_entries = RX_BUFS_MAX,
		.bgid = RX_BUF_GROUP,
	};
	size_t bytes = (size_t)RX_BUFS_MAX * RX_BUF_SIZE;
	void *p;
	int rc;

	p = mmap(NULL, bytes + HUGE_PAGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return -errno;
	u->rx_map = p;
	u->rx_bufs = (uint8_t *)p +
		     (round_up((uintptr_t)p, HUGE_PAGE) - (uintptr_t)p);
	/* Fewer misses of the TLB; does without if it must. */
	(void)madvise(u->rx_bufs, bytes, MADV_HUGEPAGE);

	p = mmap(NULL, RX_RING_BYTES, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return -errno;
	u->rx_ring = p;
	reg.ring_addr = (uint64_t)(uintptr_t)p;
	rc = io_uring_register_buf_ring(&u->ring, &reg, 0);
	if (rc)
		return rc;
	io_uring_buf_ring_init(u->rx_ring);
	for (uint32_t i = 0; i < RX_BUFS_AT_FIRST; i++)
		uring_rx_buf_put(u, i);
	u->rx_nbufs = RX_BUFS_AT_FIRST;
	return 0;
}

void uring_rx_bufs_destroy(struct uring *u)
{
	if (u->rx_ring)
		munmap(take(&u->rx_ring), RX_RING_BYTES);
	if (u->rx_map)
		munmap(take(&u->rx_map),
		       (size_t)RX_BUFS_MAX * RX_BUF_SIZE + HUGE_PAGE);
}

void uring_rx_buf_put(struct uring *u, uint32_t index)
{
	io_uring_buf_ring_add(
		u->rx_ring, u->rx_bufs + (size_t)index * RX_BUF_SIZE,
		RX_BUF_SIZE, (unsigned short)index, RX_BUFS_MAX - 1, 0);
	io_uring_buf_ring_advance(u->rx_ring, 1);
}

void uring_rx_bufs_more(struct uring *u)
{
	uint32_t n = MIN(u->rx_nbufs * 2, RX_BUFS_MAX);

	while (u->rx_nbufs < n)
		uring_rx_buf_put(u, u->rx_nbufs++);
}

/* ------------------------------------------------------------------------
 * Completions.
 */

struct completion {
	uint64_t data;
	int32_t res;
	uint32_t flags;
};

static void loop_dispatch(struct uring *u, const struct completion *c)
{
	void *obj = (void *)(uintptr_t)(c->data & ~(uint64_t)TAG_MASK);

	switch ((enum uring_tag)(c->data & TAG_MASK)) {
	case TAG_NONE:
		break;
	case TAG_FILE:
		ASSERT(op_active(obj));
		op_complete(obj, c->res);
		break;
	case TAG_RX:
		uring_rx_done(u, obj, c->res, c->flags);
		break;
	case TAG_TX:
		uring_tx_done(u, obj, c->res);
		break;
	case TAG_ACCEPT:
		uring_accept_done(u, obj, c->res, c->flags);
		break;
	case TAG_WAKE:
		u->wake_armed = false;
		break;
	}
}

/* What is there now, and not what that may bring: turns have an end. */
static bool loop_reap(struct uring *u)
{
	unsigned int left = io_uring_cq_ready(&u->ring);
	bool any = left > 0;

	while (left > 0) {
		struct io_uring_cqe *cqes[REAP_BATCH];
		struct completion batch[REAP_BATCH];
		unsigned int n;

		n = io_uring_peek_batch_cqe(&u->ring, cqes,
					    MIN(left, REAP_BATCH));
		if (n == 0)
			break;
		for (unsigned int i = 0; i < n; i++)
			batch[i] = (struct completion){
				.data = cqes[i]->user_data,
				.res = cqes[i]->res,
				.flags = cqes[i]->flags,
			};
		io_uring_cq_advance(&u->ring, n);
		for (unsigned int i = 0; i < n; i++)
			loop_dispatch(u, &batch[i]);
		left -= n;
	}
	return any;
}

/* ------------------------------------------------------------------------
 * Mail.
 */

void uring_mail_post(struct reactor *to, struct mail *mail)
{
	struct uring *u = uring_of(to);
	uint64_t one = 1;

	if (!mailbox_post(&u->mailbox, mail))
		return;
	/* Fails only when the counter is full: then it is awake anyway. */
	while (write(u->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		continue;
}

static bool loop_run_mail(struct uring *u)
{
	struct mail *mail = mailbox_take(&u->mailbox);
	bool any = mail;

	while (mail) {
		struct mail *next = mail->next;

		mail->run(mail);
		mail = next;
	}
	return any;
}

/* The read that a poster completes. */
static void loop_arm_wake(struct uring *u)
{
	struct io_uring_sqe *sqe;

	if (u->wake_armed)
		return;
	sqe = uring_sqe(u);
	io_uring_prep_read(sqe, u->wake_fd, &u->wake_value,
			   sizeof(u->wake_value), 0);
	uring_tag(sqe, u, TAG_WAKE);
	u->wake_armed = true;
}

/* ------------------------------------------------------------------------
 * Waiting.
 */

static uint32_t loop_kernel_flags(const struct uring *u)
{
	return __atomic_load_n(u->ring.sq.kflags, __ATOMIC_RELAXED) &
	       (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
}

static void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* Is something left for the next turn, without waiting for anything? */
static bool loop_pending(const struct uring *u)
{
	return !list_empty(&u->r.deferred) || !list_empty(&u->ready) ||
	       !list_empty(&u->sending) || !list_empty(&u->wanting) ||
	       !list_empty(&u->starved) || !list_empty(&u->leaving) ||
	       !mailbox_empty(&u->mailbox) || u->stopping;
}

/* Submits, and lets the kernel finish what it has put off; no waiting. */
static void loop_enter(struct uring *u)
{
	if (io_uring_sq_ready(&u->ring) > 0 || loop_kernel_flags(u))
		(void)io_uring_submit_and_get_events(&u->ring);
}

/* Looks around in user space. True: there is something. */
static bool loop_spin(struct uring *u)
{
	uint64_t end = uring_clock_ns(&u->r) + u->spin_ns;
	uint64_t timer = reactor_next_timer_ns(&u->r);

	for (uint32_t i = 1;; i++) {
		if (io_uring_cq_ready(&u->ring) > 0 || loop_kernel_flags(u) ||
		    !mailbox_empty(&u->mailbox))
			return true;
		cpu_relax();
		if (i % SPINS_PER_CLOCK)
			continue;
		u->r.now_ns = uring_clock_ns(&u->r);
		if (u->r.now_ns >= timer)
			return true;
		if (u->r.now_ns >= end)
			return false;
	}
}

/*
 * Polling pays when what comes next comes soon. As long as it does, spinning
 * goes on; when it was in vain a few times it stops; when a sleep proves to
 * have been shorter than a spin it starts again.
 */
static void loop_spin_was(struct uring *u, bool fruitful)
{
	if (fruitful)
		u->spins_in_vain = 0;
	else if (++u->spins_in_vain >= SPINS_IN_VAIN_MAX)
		u->spin_ns = 0;
}

static void loop_sleep_was(struct uring *u, uint64_t slept_ns)
{
	if (u->spin_ns == 0 && slept_ns < u->spin_max_ns) {
		u->spin_ns = u->spin_max_ns;
		u->spins_in_vain = 0;
	}
}

/* Blocks until a completion, mail or a timer. */
static void loop_block(struct uring *u)
{
	uint64_t timer = reactor_next_timer_ns(&u->r);
	struct __kernel_timespec ts;
	struct io_uring_cqe *cqe;
	uint64_t before, after;
	bool had = io_uring_sq_ready(&u->ring) > 0;

	loop_arm_wake(u);
	if (!mailbox_sleep(&u->mailbox))
		return;
	before = uring_clock_ns(&u->r);
	if (timer > before) {
		ts.tv_sec = (int64_t)((timer - before) / 1000000000u);
		ts.tv_nsec = (long long)((timer - before) % 1000000000u);
		(void)io_uring_submit_and_wait_timeout(
			&u->ring, &cqe, 1, timer == UINT64_MAX ? NULL : &ts,
			NULL);
	}
	mailbox_awake(&u->mailbox);
	after = uring_clock_ns(&u->r);
	u->r.stats.sleeps++;
	u->r.stats.idle_ns += after - before;
	if (!had || after - before >= SLEEP_MIN_NS)
		loop_sleep_was(u, after - before);
}

static void loop_wait(struct uring *u)
{
	if (loop_pending(u)) {
		loop_enter(u);
		return;
	}
	if (u->spin_ns == 0 || u->r.now_ns - u->last_work_ns >= u->spin_ns) {
		loop_block(u);
		return;
	}
	loop_enter(u);
	/* Requests that completed at once say nothing about polling. */
	if (io_uring_cq_ready(&u->ring) == 0)
		loop_spin_was(u, loop_spin(u));
}

/* ------------------------------------------------------------------------
 * The loop.
 */

static void loop_turn(struct uring *u)
{
	bool work;

	work = loop_reap(u);
	work |= loop_run_mail(u);
	work |= reactor_run_timers(&u->r);
	work |= uring_streams_deliver(u);
	work |= reactor_run_deferred(&u->r);
	for (int i = 0; i < LEAVE_ROUNDS_MAX; i++) {
		if (!uring_streams_leave(u))
			break;
		work |= reactor_run_deferred(&u->r);
	}
	uring_streams_flush(u);
	u->r.stats.turns++;
	if (work)
		u->last_work_ns = u->r.now_ns;
}

void uring_loop(struct uring *u)
{
	reactor_set_current(&u->r);
	u->r.now_ns = u->last_work_ns = uring_clock_ns(&u->r);
	while (!u->stopping) {
		uint64_t began = u->r.now_ns;
		uint64_t idle = u->r.stats.idle_ns;

		loop_turn(u);
		if (u->stopping)
			break;
		loop_wait(u);
		u->r.now_ns = uring_clock_ns(&u->r);
		u->r.stats.busy_ns +=
			u->r.now_ns - began - (u->r.stats.idle_ns - idle);
	}
	reactor_set_current(NULL);
}
