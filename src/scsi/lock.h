/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Extent locks: COMPARE AND WRITE and ORWRITE have their blocks for themselves,
 * against every command on every core (SBC-3, 5.2 and 5.7).
 *
 * The home reactor grants them, one of overlapping ones at a time; every core
 * holds commands back that come to the extent, and waits for those that are
 * there already.
 */
#pragma once

#include <stdbool.h>

#include "base/list.h"
#include "scsi/lun.h"
#include "scsi/task.h"

#define LOCKS_MAX 16 /* per logical unit at a time; others wait */

/* Asks for t->lba, t->nblocks. Returns SCSI_PENDING; @resume runs when it is
 * held. It ends with the command. */
enum scsi_step lock_acquire(struct scsi_task *t,
			    enum scsi_step (*resume)(struct scsi_task *t));
void lock_release(struct scsi_task *t);

/* The slow part of lock_enter(). */
bool lock_enter_slow(struct scsi_task *t,
		     enum scsi_step (*resume)(struct scsi_task *t));

/*
 * The command goes to its blocks. False: they are locked, it is BLOCKED, and
 * @resume runs when they are free.
 */
static inline bool lock_enter(struct scsi_task *t,
			      enum scsi_step (*resume)(struct scsi_task *t))
{
	t->touches = true;
	if (likely(list_empty(&t->view->locks)))
		return true;
	return lock_enter_slow(t, resume);
}

int locks_init(struct lun *lun, struct reactors *set);
void locks_deinit(struct lun *lun);
