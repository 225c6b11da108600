/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A few helper threads for calls that can only block. They start when there is
 * something to do. Results travel back by mail.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "reactor/reactor.h"

#define OFFLOAD_THREADS_MAX 4

struct offload {
	pthread_mutex_t lock; /* of everything below */
	pthread_cond_t wake;
	struct list queue; /* of struct op, oldest first */
	uint32_t queued;
	uint32_t nthreads, nidle;
	bool stopping;
	pthread_t threads[OFFLOAD_THREADS_MAX];
};

/* 0 or -errno. */
int offload_init(struct offload *o);

/* Waits for work that has begun; what has not is dropped. */
void offload_deinit(struct offload *o);

/* On @r. Without a single thread to be had the operation ends with -errno. */
void offload_submit(struct offload *o, struct reactor *r, struct op *op,
		    op_work_fn *work);
