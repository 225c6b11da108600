/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A reactor's aligned I/O buffers, for backends whose data cannot be reached
 * in place. Bounded; who finds none waits in line.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/list.h"

#define BUF_SMALL 8192u	  /* bytes */
#define BUF_LARGE 131072u /* bytes */
#define BUF_ALIGN 4096u

/* Per reactor, when the user does not say: 32 and 64 MiB of address space;
 * memory is only used where a buffer was. */
#define BUFS_SMALL_DEFAULT 4096u
#define BUFS_LARGE_DEFAULT 512u

struct reactor;
struct bufpool;

/*
 * In line for buffers; ready() comes from the loop when it is worth trying, in
 * the order of the line. He is off the line then, and may try, and wait again:
 * when he could get nothing he keeps his place. The link must have been
 * list_init()ed.
 */
struct buf_waiter {
	struct list link;
	void (*ready)(struct buf_waiter *w);
};

int bufpool_create(struct reactor *r, size_t nsmall, size_t nlarge,
		   struct bufpool **ret_pool);
void bufpool_destroy(struct bufpool *pool); /* all buffers are back */

/*
 * Fills @iov with buffers of together @len bytes: one small buffer when that
 * is enough, else large ones. All or nothing: returns how many iovecs were
 * used, or 0 when too few buffers are free, @iov_max is too small, or others
 * are in line (outside of ready()). The bytes are whatever the last user left.
 */
unsigned int bufpool_get(struct bufpool *pool, size_t len, struct iovec *iov,
			 unsigned int iov_max);
void bufpool_put(struct bufpool *pool, const struct iovec *iov,
		 unsigned int iovcnt);

/* Can @len bytes ever be had from this pool? */
bool bufpool_fits(const struct bufpool *pool, size_t len);

/* After bufpool_get() gave 0 for a length that fits. Once, until ready(). */
void bufpool_wait(struct bufpool *pool, struct buf_waiter *w);
/* Idempotent; ready() will not come after it. */
void bufpool_unwait(struct bufpool *pool, struct buf_waiter *w);

/* Buffers that are out, for tests and metrics. */
size_t bufpool_in_use(const struct bufpool *pool);
