/* SPDX-License-Identifier: BSD-3-Clause */
/* What commands on ranges of blocks share. Private to the scsi layer. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "scsi/task.h"

/* The flags byte of the CDB: CDB_DPO, CDB_FUA... */
uint8_t cdb_flags(const struct scsi_task *t);

/* These end the task and return SCSI_DONE, or return SCSI_PENDING: go on. */
enum scsi_step rw_check_range(struct scsi_task *t); /* LBA and length */
enum scsi_step rw_check(struct scsi_task *t);	    /* decodes; and the limit */

/* The initiator offers less than the CDB's, and no whole blocks. */
enum scsi_step rw_short_data(struct scsi_task *t);

/* Must it be on stable storage before GOOD? */
bool rw_write_through(const struct scsi_task *t);

/* ---- Comparing data-out with the medium (verify.c). */

/*
 * Buffers for @len bytes of data-out; where the medium cannot be reached in
 * place, with one more to read it into. Returns SCSI_WANT_DATA.
 */
enum scsi_step rw_want_data(struct scsi_task *t, uint32_t len);

/* The data-out at @pos, and how much of it lies together. */
uint8_t *rw_out_at(struct scsi_task *t, uint32_t pos, uint32_t *ret_len);

/*
 * Goes through the @len bytes of the medium at t->lba in pieces of at most
 * BUF_LARGE. @each gets a piece in memory: SCSI_PENDING goes on, anything else
 * ends the command. With @writes what it changed goes to the medium. At the
 * end, @end.
 */
typedef enum scsi_step walk_fn(struct scsi_task *t, uint8_t *piece,
			       uint32_t pos, uint32_t len);
enum scsi_step rw_walk(struct scsi_task *t, uint32_t len, walk_fn *each,
		       bool writes, enum scsi_step (*end)(struct scsi_task *t));

/* A walk that only reads; and one that compares with data-out. */
walk_fn walk_nothing, walk_compare;

/* Where the first difference is; @len when there is none. */
uint32_t rw_difference(const uint8_t *a, const uint8_t *b, uint32_t len);

/* MAXIMUM COMPARE AND WRITE LENGTH: blocks. */
uint32_t rw_caw_max(const struct lun_view *view);

/* MAXIMUM UNMAP BLOCK DESCRIPTOR COUNT; its list fits a small buffer. */
#define UNMAP_DESCS_MAX 255

/* MAXIMUM ATOMIC TRANSFER LENGTH: blocks; 0 where nothing is atomic. */
uint32_t rw_atomic_max(const struct lun_view *view);

/* MAXIMUM WRITE SAME LENGTH: blocks. A pattern is written while the initiator
 * waits; what is longer comes in several commands. */
#define WRITE_SAME_MAX 65535u
