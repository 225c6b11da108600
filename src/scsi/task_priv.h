/* SPDX-License-Identifier: BSD-3-Clause */
/* What commands use: ways to end, buffers, I/O. Private to the scsi layer. */
#pragma once

#include "scsi/cmd.h"
#include "scsi/lun.h"
#include "scsi/sense.h"
#include "scsi/task.h"
#include "scsi/ua.h"

static inline enum scsi_step task_good(struct scsi_task *t)
{
	t->status = SCSI_GOOD;
	return SCSI_DONE;
}

/* Ends with a status that has no sense. */
static inline enum scsi_step task_status(struct scsi_task *t,
					 enum scsi_status status)
{
	t->status = (uint8_t)status;
	return SCSI_DONE;
}

/*
 * Zeroed memory for @len bytes of data-in inside the task (at most
 * TASK_SMALL_MAX).
 */
#define TASK_SMALL_MAX sizeof(((struct scsi_task *)0)->small)
uint8_t *task_small(struct scsi_task *t, size_t len);

/*
 * Buffers for @len bytes in t->iov. False: none are free now; @resume is called
 * when they are there (t->state is WAIT_BUFFERS; return SCSI_PENDING, or
 * SCSI_WANT_DATA when they are for data-out).
 */
bool task_buffers(struct scsi_task *t, uint32_t len,
		  enum scsi_step (*resume)(struct scsi_task *t));
/* The resume function for data-out. */
enum scsi_step task_have_room(struct scsi_task *t);

/* Ends with the first @avail bytes at @data as data-in, cut to @alloc. */
enum scsi_step task_data_in(struct scsi_task *t, uint8_t *data, size_t avail,
			    size_t alloc);

/* Receives a parameter list of @len bytes (at most BUF_SMALL) in one piece. */
enum scsi_step task_want_params(struct scsi_task *t, uint32_t len);

/* Submits t->io; goes on in @resume, now or later. */
enum scsi_step task_io(struct scsi_task *t,
		       enum scsi_step (*resume)(struct scsi_task *t));
/* The same for a loop: BDEV_DONE, or it goes on in t->resume. */
enum bdev_status task_submit(struct scsi_task *t);
/* scsi_task_start() of a task that the device server gives itself: it does not
 * take the unit attentions of its nexus. */
enum scsi_step task_start_own(struct scsi_task *t);

/* From the loop: the next step of a pending task. */
void task_continue(struct scsi_task *t);

/* Takes the LBA and length out of the CDB. */
void cdb_decode(struct scsi_task *t);
/* Byte of the CDB where the length begins. */
uint16_t cdb_len_byte(const struct scsi_task *t);

static inline uint64_t task_offset(const struct scsi_task *t)
{
	return t->lba << t->view->block_shift;
}
