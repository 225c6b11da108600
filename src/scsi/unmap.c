/* SPDX-License-Identifier: BSD-3-Clause */
/* UNMAP and GET LBA STATUS (SBC-3, 5.28 and 5.6). */
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "scsi/lock.h"
#include "scsi/rw.h"
#include "scsi/task_priv.h"

#define UNMAP_HEADER 8u
#define UNMAP_DESC   16u

enum { UNMAP_NEXT, UNMAP_COUNT };

static const uint8_t *params(const struct scsi_task *t)
{
	return t->own_buffers ? t->iov_many[0].iov_base : t->iov_one.iov_base;
}

/* ---- UNMAP. */

static enum scsi_step unmap_next(struct scsi_task *t);

static enum scsi_step unmap_flushed(struct scsi_task *t)
{
	if (t->io.result < 0)
		return sense_errno(t, t->io.result);
	return task_good(t);
}

static enum scsi_step unmapped(struct scsi_task *t)
{
	if (t->io.result < 0)
		return sense_errno(t, t->io.result);
	return unmap_next(t);
}

static enum scsi_step unmap_next(struct scsi_task *t)
{
	const uint8_t *desc;
	uint32_t n;

	while (t->scratch[UNMAP_NEXT] < t->scratch[UNMAP_COUNT]) {
		desc = params(t) + UNMAP_HEADER +
		       UNMAP_DESC * t->scratch[UNMAP_NEXT]++;
		n = load_be32(desc + 8);
		if (n == 0)
			continue;
		t->io.op = BDEV_UNMAP;
		t->io.fua = false;
		t->io.offset = load_be64(desc) << t->view->block_shift;
		t->io.len = (uint64_t)n << t->view->block_shift;
		t->io.iov = NULL;
		t->io.iovcnt = 0;
		t->resume = unmapped;
		if (task_submit(t) == BDEV_PENDING)
			return SCSI_PENDING;
		if (t->io.result < 0)
			return sense_errno(t, t->io.result);
	}
	if (!t->write_through)
		return task_good(t);
	t->io.op = BDEV_FLUSH;
	t->io.offset = t->io.len = 0;
	return task_io(t, unmap_flushed);
}

static enum scsi_step unmap_start(struct scsi_task *t)
{
	if (!lock_enter(t, unmap_start))
		return SCSI_PENDING;
	return unmap_next(t);
}

/* All ranges before any is unmapped; the task's own range spans them. */
static enum scsi_step check_ranges(struct scsi_task *t, uint32_t count)
{
	uint64_t size = t->view->nblocks, first = UINT64_MAX, end = 0;

	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *desc = params(t) + UNMAP_HEADER + UNMAP_DESC * i;
		uint64_t lba = load_be64(desc);
		uint32_t n = load_be32(desc + 8);

		if (lba > size || n > size - lba)
			return sense_lba(t, MAX(lba, size));
		if (n == 0)
			continue;
		first = MIN(first, lba);
		end = MAX(end, lba + n);
	}
	t->lba = end > 0 ? first : 0;
	t->nblocks = end > 0 ? end - first : 0;
	return SCSI_PENDING;
}

enum scsi_step cmd_unmap(struct scsi_task *t)
{
	uint32_t len = load_be16(t->cdb + 7);

	if (len == 0) /* 5.28: not an error */
		return task_good(t);
	if (len < UNMAP_HEADER)
		return sense_fail(t, KEY_ILLEGAL_REQUEST,
				  ASC_PARAM_LIST_LENGTH);
	if (len > UNMAP_HEADER + UNMAP_DESC * UNMAP_DESCS_MAX)
		return sense_cdb(t, 7, 7);
	return task_want_params(t, len);
}

enum scsi_step exec_unmap(struct scsi_task *t, uint32_t len)
{
	uint32_t data, count;
	enum scsi_step step;

	if (len < t->data_out_len)
		return sense_fail(t, KEY_ILLEGAL_REQUEST,
				  ASC_PARAM_LIST_LENGTH);
	/* 5.28.2: what goes beyond the list, and a part of a descriptor, are
	 * left out. */
	data = load_be16(params(t) + 2);
	count = MIN(data, len - UNMAP_HEADER) / UNMAP_DESC;
	ASSERT(count <= UNMAP_DESCS_MAX);
	step = check_ranges(t, count);
	if (step != SCSI_PENDING)
		return step;
	if (t->nblocks == 0)
		return task_good(t);
	t->write_through =
		!t->view->state.write_cache && t->view->volatile_cache;
	t->scratch[UNMAP_NEXT] = 0;
	t->scratch[UNMAP_COUNT] = count;
	return unmap_start(t);
}

/* ---- GET LBA STATUS. */

#define STATUS_MAPPED	   0
#define STATUS_DEALLOCATED 1
#define STATUS_DESCS	   32u /* in one answer; the initiator asks on */
#define STATUS_LEN	   (8 + 16 * STATUS_DESCS)

enum { STATUS_LBA, STATUS_COUNT, STATUS_MAX };

static enum scsi_step status_next(struct scsi_task *t);

static enum scsi_step status_end(struct scsi_task *t)
{
	uint32_t count = (uint32_t)t->scratch[STATUS_COUNT];

	store_be32(t->small, 4 + 16 * count);
	return task_data_in(t, t->small, 8 + 16 * count,
			    load_be32(t->cdb + 10));
}

/* Adds to the last descriptor, or one more. False: there is no room. */
static bool put_status(struct scsi_task *t, uint64_t lba, uint64_t n,
		       uint8_t status)
{
	uint64_t count = t->scratch[STATUS_COUNT];
	uint8_t *desc = t->small + 8 + 16 * count;

	if (count > 0 && desc[12 - 16] == status &&
	    load_be32(desc + 8 - 16) + n <= UINT32_MAX) {
		store_be32(desc + 8 - 16,
			   (uint32_t)(load_be32(desc + 8 - 16) + n));
		return true;
	}
	if (count == t->scratch[STATUS_MAX])
		return false;
	store_be64(desc, lba);
	store_be32(desc + 8, (uint32_t)n);
	desc[12] = status;
	t->scratch[STATUS_COUNT]++;
	return true;
}

static enum scsi_step status_known(struct scsi_task *t)
{
	uint64_t n = t->io.extent_len >> t->view->block_shift;
	uint64_t left = t->view->nblocks - t->scratch[STATUS_LBA];

	if (t->io.result < 0)
		return sense_errno(t, t->io.result);
	n = MIN(n, left);
	n = MIN(n, (uint64_t)UINT32_MAX);
	ASSERT(n > 0);
	if (!put_status(t, t->scratch[STATUS_LBA], n,
			t->io.allocated ? STATUS_MAPPED : STATUS_DEALLOCATED))
		return status_end(t);
	t->scratch[STATUS_LBA] += n;
	return status_next(t);
}

static enum scsi_step status_next(struct scsi_task *t)
{
	if (t->scratch[STATUS_LBA] >= t->view->nblocks)
		return status_end(t);
	t->io.op = BDEV_EXTENT;
	t->io.fua = false;
	t->io.offset = t->scratch[STATUS_LBA] << t->view->block_shift;
	t->io.len = 0;
	t->io.iov = NULL;
	t->io.iovcnt = 0;
	return task_io(t, status_known);
}

enum scsi_step cmd_get_lba_status(struct scsi_task *t)
{
	uint64_t lba = load_be64(t->cdb + 2);
	uint32_t alloc = load_be32(t->cdb + 10), room;

	if (lba >= t->view->nblocks)
		return sense_lba(t, lba);
	(void)task_small(t, STATUS_LEN);
	t->scratch[STATUS_LBA] = lba;
	t->scratch[STATUS_COUNT] = 0;
	/* Not more than the initiator has room for, but one. */
	room = alloc > 8 ? (alloc - 8) / 16 : 0;
	room = MIN(room, STATUS_DESCS);
	t->scratch[STATUS_MAX] = room > 0 ? room : 1;
	return status_next(t);
}
