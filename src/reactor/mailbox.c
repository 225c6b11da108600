/* SPDX-License-Identifier: BSD-3-Clause */
#include "reactor/mailbox.h"

#include <stddef.h>

void mailbox_init(struct mailbox *mb)
{
	atomic_init(&mb->head, NULL);
	atomic_init(&mb->sleeping, false);
}

/*
 * No wake-up is lost: the poster writes head and then reads sleeping, the
 * receiver writes sleeping and then reads head, all four in one total order
 * (seq_cst). So at least one of them sees what the other wrote.
 */
bool mailbox_post(struct mailbox *mb, struct mail *mail)
{
	struct mail *head =
		atomic_load_explicit(&mb->head, memory_order_relaxed);

	do {
		mail->next = head;
	} while (!atomic_compare_exchange_weak_explicit(&mb->head, &head, mail,
							memory_order_seq_cst,
							memory_order_relaxed));

	if (!atomic_load_explicit(&mb->sleeping, memory_order_seq_cst))
		return false;
	/* The one who turns it off is the one who wakes. */
	return atomic_exchange_explicit(&mb->sleeping, false,
					memory_order_seq_cst);
}

bool mailbox_empty(const struct mailbox *mb)
{
	return !atomic_load_explicit(&mb->head, memory_order_relaxed);
}

struct mail *mailbox_take(struct mailbox *mb)
{
	struct mail *newest, *oldest = NULL;

	if (mailbox_empty(mb))
		return NULL;
	newest =
		atomic_exchange_explicit(&mb->head, NULL, memory_order_acquire);
	while (newest) {
		struct mail *older = newest->next;

		newest->next = oldest;
		oldest = newest;
		newest = older;
	}
	return oldest;
}

bool mailbox_sleep(struct mailbox *mb)
{
	atomic_store_explicit(&mb->sleeping, true, memory_order_seq_cst);
	if (!atomic_load_explicit(&mb->head, memory_order_seq_cst))
		return true;
	mailbox_awake(mb);
	return false;
}

void mailbox_awake(struct mailbox *mb)
{
	atomic_store_explicit(&mb->sleeping, false, memory_order_relaxed);
}
