/* SPDX-License-Identifier: BSD-3-Clause */
/* Changes of what is common to all views of a logical unit. */
#pragma once

#include <stdbool.h>

#include "scsi/lun.h"
#include "scsi/task.h"
#include "scsi/ua.h"

/*
 * On the home reactor: changes @state; true when it did, and then @ret_ua is
 * what the other nexuses are told (UA_COUNT: nothing). The task's memory may be
 * read and its scratch written: its own core leaves it alone meanwhile.
 */
typedef bool home_fn(struct scsi_task *t, struct lun_state *state,
		     enum ua_bit *ret_ua);

/* Returns SCSI_PENDING; @resume runs when every core has the new state. */
enum scsi_step home_change(struct scsi_task *t, home_fn *fn,
			   enum scsi_step (*resume)(struct scsi_task *t));

/* ---- What comes from no command. */

/* On the home reactor: a reset's effect on the state (SAM-5, 6.3.3). */
void home_reset(struct lun *lun);
bool home_resetting(const struct lun *lun);

/* On the view's core: a nexus that held @id, or forbade removal, has ended. */
void home_lose(struct lun_view *view, uint64_t id, uint32_t prevents);

/* On the home reactor: there is something for start_next() to find. */
void home_wake(struct lun *lun);

void default_state(const struct lun *lun, struct lun_state *ret);

int home_init(struct lun *lun, struct reactors *set);
