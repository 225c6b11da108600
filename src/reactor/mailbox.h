/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A reactor's letter box: any number of threads post, one takes. Lock-free; the
 * only atomics of the layer are behind these functions. Posting is safe in a
 * signal handler.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "reactor/op.h"

struct mailbox {
	/* Newest first. On cache lines of their own: posters write here. */
	_Alignas(64) _Atomic(struct mail *) head;
	/* The receiver blocks, or is about to. */
	_Alignas(64) atomic_bool sleeping;
};

void mailbox_init(struct mailbox *mb);

/*
 * Puts @mail in. True when the receiver sleeps and it is the caller who has to
 * wake it (of several posters exactly one is told so).
 */
bool mailbox_post(struct mailbox *mb, struct mail *mail);

/* Is there anything? Cheap: for the receiver's polling. */
bool mailbox_empty(const struct mailbox *mb);

/*
 * Takes all out: the oldest, linked by next up to the newest. What one thread
 * posted is in the order in which it was posted.
 */
struct mail *mailbox_take(struct mailbox *mb);

/*
 * The receiver is about to block: false when there is mail, then it must not.
 * Otherwise from now on until mailbox_awake() the first poster wakes it.
 */
bool mailbox_sleep(struct mailbox *mb);
void mailbox_awake(struct mailbox *mb);
