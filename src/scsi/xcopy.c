/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * EXTENDED COPY, of both list identifier lengths (SPC-4, 6.4 and 6.5): from
 * block device to block device.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "scsi/copy.h"
#include "scsi/task_priv.h"

#define LID1_HEADER	 16u
#define LID4_HEADER	 48u
#define LID4_FORMAT	 0x01 /* PARAMETER LIST FORMAT */
#define LID4_HEADER_CSCD 0x20 /* HEADER CSCD DESCRIPTOR LIST LENGTH */
#define LID4_HEADER_TYPE 0xff
#define CSCD_LEN	 32u
#define CSCD_IDENT	 0xe4
#define CSCD_ID_MAX	 20u /* bytes of its designator */
#define SEG_BLOCK_BLOCK	 0x02
#define SEG_BLOCK_LEN	 28u

/* LIST ID USAGE (SPC-4, table 115). */
#define USAGE_HOLD    0
#define USAGE_DISCARD 2
#define USAGE_NONE    3

struct xcopy {
	struct copy_job job;
	struct copy_record *record;
	const uint8_t *params;
	uint32_t cscds, ncscds; /* where they begin, how many */
	uint32_t segs, nsegs;
	uint32_t next; /* segment */
	uint64_t bytes;
	enum copy_result result;
	uint16_t asc; /* COPY ABORTED with that */
	bool refused;
};

/* What the header says. */
struct xcopy_header {
	uint32_t len, list_id, usage, usage_byte, id_byte;
	uint32_t cscd_len, cscd_byte, seg_len, seg_byte, inline_len;
};

static void read_header(const uint8_t *p, bool lid4, struct xcopy_header *h)
{
	h->usage = p[1] >> 3 & 3;
	h->usage_byte = 1;
	h->len = lid4 ? LID4_HEADER : LID1_HEADER;
	if (lid4) {
		h->id_byte = 20;
		h->list_id = load_be32(p + 20);
		h->cscd_byte = 42;
		h->cscd_len = load_be16(p + 42);
		h->seg_byte = 44;
		h->seg_len = load_be16(p + 44);
		h->inline_len = load_be16(p + 46);
		return;
	}
	h->id_byte = 0;
	h->list_id = p[0];
	h->cscd_byte = 2;
	h->cscd_len = load_be16(p + 2);
	h->seg_byte = 8;
	h->seg_len = load_be32(p + 8);
	h->inline_len = load_be32(p + 12);
}

static enum scsi_step illegal(struct scsi_task *t, uint16_t asc)
{
	return sense_fail(t, KEY_ILLEGAL_REQUEST, asc);
}

static enum scsi_step check_lid4(struct scsi_task *t, const uint8_t *p)
{
	if (p[0] != LID4_FORMAT)
		return sense_param(t, 0, 7);
	if (load_be16(p + 2) != LID4_HEADER_CSCD)
		return sense_param(t, 2, 7);
	if (p[16] != LID4_HEADER_TYPE)
		return sense_param(t, 16, 7);
	return SCSI_PENDING;
}

static enum scsi_step check_header(struct scsi_task *t,
				   const struct xcopy_header *h, uint32_t len)
{
	/* 64 bits: the lengths are the initiator's. */
	uint64_t descs = (uint64_t)h->cscd_len + h->seg_len;

	if (h->usage == 1)
		return sense_param(t, (uint16_t)h->usage_byte, 4);
	if (h->usage == USAGE_NONE && h->list_id != 0)
		return sense_param(t, (uint16_t)h->id_byte, 7);
	if (h->inline_len != 0)
		return illegal(t, ASC_INLINE_LENGTH);
	if (descs > COPY_DESCS_MAX || descs > len - h->len)
		return illegal(t, ASC_PARAM_LIST_LENGTH);
	if (h->cscd_len % CSCD_LEN != 0)
		return sense_param(t, (uint16_t)h->cscd_byte, 7);
	if (h->cscd_len / CSCD_LEN > COPY_CSCDS_MAX)
		return illegal(t, ASC_TOO_MANY_CSCDS);
	return SCSI_PENDING;
}

static enum scsi_step check_cscd(struct scsi_task *t, const uint8_t *p,
				 uint32_t at)
{
	const uint8_t *d = p + at;

	if (d[0] != CSCD_IDENT)
		return illegal(t, ASC_CSCD_TYPE);
	if ((d[5] & 0x30) != 0) /* ASSOCIATION: the logical unit */
		return sense_param(t, (uint16_t)(at + 5), 5);
	if (d[7] == 0 || d[7] > CSCD_ID_MAX)
		return sense_param(t, (uint16_t)(at + 7), 7);
	return SCSI_PENDING;
}

/* The lengths of all segment descriptors, before any is carried out. */
static enum scsi_step check_segs(struct scsi_task *t, const uint8_t *p,
				 uint32_t at, uint32_t len, uint32_t *ret_n)
{
	uint32_t end = at + len;

	*ret_n = 0;
	for (; at < end; at += SEG_BLOCK_LEN) {
		if (p[at] != SEG_BLOCK_BLOCK)
			return illegal(t, ASC_SEGMENT_TYPE);
		if (end - at < SEG_BLOCK_LEN)
			return illegal(t, ASC_PARAM_LIST_LENGTH);
		if (load_be16(p + at + 2) != SEG_BLOCK_LEN - 4)
			return sense_param(t, (uint16_t)(at + 2), 7);
		if (++*ret_n > COPY_SEGS_MAX)
			return illegal(t, ASC_TOO_MANY_SEGMENTS);
	}
	return SCSI_PENDING;
}

static enum scsi_step check_list(struct scsi_task *t, const uint8_t *p,
				 const struct xcopy_header *h, uint32_t len,
				 uint32_t *ret_nsegs)
{
	enum scsi_step step = check_header(t, h, len);

	for (uint32_t at = h->len;
	     step == SCSI_PENDING && at < h->len + h->cscd_len; at += CSCD_LEN)
		step = check_cscd(t, p, at);
	if (step == SCSI_PENDING)
		step = check_segs(t, p, h->len + h->cscd_len, h->seg_len,
				  ret_nsegs);
	return step;
}

/* ---- One segment after the other. */

/* 0, or why the copy ends. */
static uint16_t find_end(struct scsi_task *t, const struct xcopy *x,
			 uint32_t index, struct copy_end *ret)
{
	const uint8_t *d = x->params + x->cscds + CSCD_LEN * index;
	uint32_t block_len;

	/* Identifiers above the list's are for others than our disks. */
	if (index >= x->ncscds || (d[1] & 0x20) != 0) /* NUL */
		return ASC_UNREACHABLE_COPY_TARGET;
	if ((d[1] & 0x1f) != 0) /* a disk */
		return ASC_COPY_TARGET_TYPE;
	if (!copy_find(t, d[4] & 0x0f, d[5] & 0x0f, d + 8, d[7], ret))
		return ASC_COPY_TARGET_NOT_REACHABLE;
	block_len = load_be24(d + 29);
	if (block_len != 0 && block_len != ret->view->block_size)
		return ASC_COPY_TARGET_TYPE;
	return 0;
}

static bool in_range(const struct copy_end *end, uint64_t lba, uint64_t nblocks)
{
	return lba <= end->view->nblocks && nblocks <= end->view->nblocks - lba;
}

/* Sets the job up for the next segment; 0, or why the copy ends. Nothing to
 * be copied is no error: then job.len is 0. */
static uint16_t plan(struct scsi_task *t, struct xcopy *x)
{
	const uint8_t *s = x->params + x->segs + SEG_BLOCK_LEN * x->next;
	struct copy_job *job = &x->job;
	uint64_t n = load_be16(s + 10), from = load_be64(s + 12),
		 to = load_be64(s + 20), len;
	uint16_t asc;

	asc = find_end(t, x, load_be16(s + 4), &job->from);
	if (asc == 0)
		asc = find_end(t, x, load_be16(s + 6), &job->to);
	if (asc != 0)
		return asc;
	/* DC: whose blocks the number counts. */
	len = n << (s[1] & 0x02 ? job->to.view->block_shift
				: job->from.view->block_shift);
	if (len % job->from.view->block_size != 0 ||
	    len % job->to.view->block_size != 0)
		return ASC_INEXACT_SEGMENT;
	if (!in_range(&job->from, from, len >> job->from.view->block_shift) ||
	    !in_range(&job->to, to, len >> job->to.view->block_shift)) {
		x->refused = true;
		return ASC_NONE;
	}
	job->from_byte = from << job->from.view->block_shift;
	job->to_byte = to << job->to.view->block_shift;
	job->len = len;
	return 0;
}

static void set_status(struct scsi_task *t, const struct xcopy *x)
{
	if (x->result == COPY_BUSY)
		(void)task_status(t, SCSI_BUSY);
	else if (x->refused || x->asc != 0)
		(void)sense_fail(t, KEY_COPY_ABORTED, x->asc);
	else
		(void)task_good(t);
}

static enum scsi_step ended(struct scsi_task *t)
{
	return SCSI_DONE;
}

/* The end of all: the record, then the command. */
static void end(struct xcopy *x)
{
	struct scsi_task *t = x->job.parent;

	if (!t->aborted)
		set_status(t, x);
	if (x->record != NULL) {
		x->record->segments = (uint16_t)x->next;
		x->record->bytes = x->bytes;
	}
	copy_record_end(x->record, t);
	copy_leave(t);
	free(x);
	t->resume = ended;
	task_continue(t);
}

static void next(struct xcopy *x)
{
	struct scsi_task *t = x->job.parent;

	if (x->next == x->nsegs || t->aborted) {
		end(x);
		return;
	}
	x->asc = plan(t, x);
	if (x->asc != 0 || x->refused) {
		end(x);
		return;
	}
	copy_start(&x->job);
}

static void segment_done(struct copy_job *job, enum copy_result result)
{
	struct xcopy *x = container_of(job, struct xcopy, job);

	x->bytes += job->copied;
	x->result = result;
	switch (result) {
	case COPY_OK:
		x->next++;
		next(x);
		return;
	case COPY_GONE:
		x->asc = ASC_COPY_TARGET_NOT_REACHABLE;
		break;
	case COPY_FAILED:
		x->asc = ASC_THIRD_PARTY_FAILURE;
		break;
	case COPY_ABORTED:
	case COPY_BUSY:
		break;
	}
	end(x);
}

static void begin(struct mail *mail)
{
	struct scsi_task *t = container_of(mail, struct scsi_task, mail);

	next((struct xcopy *)(uintptr_t)t->scratch[0]);
}

static enum scsi_step start_copy(struct scsi_task *t, const uint8_t *p,
				 const struct xcopy_header *h, uint32_t nsegs)
{
	struct xcopy *x;

	if (!copy_admit(t))
		return task_status(t, SCSI_BUSY);
	x = malloc(sizeof(*x));
	if (x == NULL) {
		copy_leave(t);
		return task_status(t, SCSI_BUSY);
	}
	x->record = NULL;
	if (h->usage != USAGE_NONE) {
		x->record = copy_record_begin(t->nexus, h->list_id);
		if (x->record == NULL) {
			copy_leave(t);
			free(x);
			return illegal(t, ASC_OPERATION_IN_PROGRESS);
		}
		x->record->action = t->cdb[1] & 0x1f;
	}
	x->job.parent = t;
	x->job.done = segment_done;
	x->params = p;
	x->cscds = h->len;
	x->ncscds = h->cscd_len / CSCD_LEN;
	x->segs = h->len + h->cscd_len;
	x->nsegs = nsegs;
	x->next = 0;
	x->bytes = 0;
	x->result = COPY_OK;
	x->asc = 0;
	x->refused = false;
	t->scratch[0] = (uintptr_t)x;
	t->state = SCSI_TASK_RUNNING;
	t->mail.run = begin;
	mail_post(t->nexus->reactor, &t->mail);
	return SCSI_PENDING;
}

/* ---- The commands. */

enum scsi_step cmd_extended_copy(struct scsi_task *t)
{
	bool lid4 = t->cmd->sa == SA_EXTENDED_COPY_LID4;
	uint32_t len = load_be32(t->cdb + 10);

	if (len == 0) /* 6.4: not an error */
		return task_good(t);
	if (len < (lid4 ? LID4_HEADER : LID1_HEADER) || len > BUF_SMALL)
		return illegal(t, ASC_PARAM_LIST_LENGTH);
	return task_want_params(t, len);
}

enum scsi_step exec_extended_copy(struct scsi_task *t, uint32_t len)
{
	bool lid4 = t->cmd->sa == SA_EXTENDED_COPY_LID4;
	struct xcopy_header h;
	enum scsi_step step = SCSI_PENDING;
	const uint8_t *p;
	uint32_t nsegs = 0;

	if (len < t->data_out_len)
		return illegal(t, ASC_PARAM_LIST_LENGTH);
	p = t->iov[0].iov_base;
	if (lid4)
		step = check_lid4(t, p);
	if (step != SCSI_PENDING)
		return step;
	read_header(p, lid4, &h);
	step = check_list(t, p, &h, len, &nsegs);
	if (step != SCSI_PENDING)
		return step;
	return start_copy(t, p, &h, nsegs);
}
