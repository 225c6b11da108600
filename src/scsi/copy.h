/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copying from one logical unit to another (SPC-4, 5.16: the copy manager).
 * Private to the scsi layer.
 *
 * Every piece is a READ and a WRITE that the device server gives itself, in
 * the name of the nexus that asks. So a copy meets what any command of that
 * nexus meets: the LUN map of its target, reservations, protection, the state
 * of the medium, locked blocks, resets, and LUNs that leave.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "scsi/nexus.h"
#include "scsi/task.h"

#define COPY_PIECE     (4 * BUF_LARGE) /* bytes of one READ */
#define COPIES_MAX     8	       /* at a time, on one core */
#define COPY_CSCDS_MAX 16	       /* of one command */
#define COPY_SEGS_MAX  128
/* Bytes of the descriptors of one command. */
#define COPY_DESCS_MAX 4096

enum copy_result {
	COPY_OK,
	COPY_ABORTED, /* the command that asked for it was */
	COPY_GONE,    /* a logical unit is not where it was */
	COPY_FAILED,  /* READ or WRITE failed */
	COPY_BUSY,    /* no memory or buffers: try again */
};

/* One end of a copy, as its nexus sees it. */
struct copy_end {
	uint32_t lun_id;
	struct lun_view *view;
	uint8_t naa[8]; /* it is still that one */
};

/* A range that is being copied. One at a time for a job. */
struct copy_job {
	struct scsi_task *parent; /* SCSI_PENDING meanwhile */
	struct copy_end from, to;
	uint64_t from_byte, to_byte, len; /* whole blocks at both ends */
	uint64_t copied;		  /* bytes */
	bool backward;			  /* the ends overlap */
	/* From the loop, once for every copy_start(). */
	void (*done)(struct copy_job *job, enum copy_result result);
	/* ---- copy.c's. */
	uint8_t phase;
	uint64_t piece, piece_at;
	struct mail mail;
	struct scsi_task rd, wr;
};

/* May this core begin one more? False: later. Counts it. */
bool copy_admit(struct scsi_task *t);
void copy_leave(struct scsi_task *t);

/* Does @end have all of [byte, byte + len)? */
bool copy_fits(const struct copy_end *end, uint64_t byte, uint64_t len);

/* Which LUN of the task's target has that designator (SPC-4, 7.8.6: the type,
 * the code set and @len bytes)? False: none that this nexus can reach. */
bool copy_find(struct scsi_task *t, uint8_t code_set, uint8_t type,
	       const uint8_t *id, uint32_t len, struct copy_end *ret);
/* The end that a view is. */
bool copy_find_lun(struct scsi_task *t, const uint8_t *naa,
		   struct copy_end *ret);

/* Fill in parent, the ends, the range, done. */
void copy_start(struct copy_job *job);

/* ---- What is remembered of copies (SPC-4, 6.17 to 6.24), per nexus. */

/* NULL: there is none of that identifier. */
struct copy_record *copy_record_find(struct scsi_nexus *n, uint32_t list_id);
/* A new one that is under way, in place of an older one. NULL: the identifier
 * or all records are in use. */
struct copy_record *copy_record_begin(struct scsi_nexus *n, uint32_t list_id);
/* @record may be NULL. Takes status and sense from the task. */
void copy_record_end(struct copy_record *record, const struct scsi_task *t);

/* RECEIVE COPY STATUS of a record, with room for 64 bytes at @p, which are
 * zero; how many there are. AVAILABLE DATA is the caller's. */
uint32_t copy_put_status(const struct copy_record *record, uint8_t *p);

/* VPD page 8Fh after its header; how many bytes. */
#define COPY_VPD_MAX 256
uint32_t copy_fill_vpd(uint8_t *p);
