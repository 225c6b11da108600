/* SPDX-License-Identifier: BSD-3-Clause */
/* COMPARE AND WRITE and ORWRITE (SBC-3, 5.2, 5.7): under an extent lock. */
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "scsi/lock.h"
#include "scsi/rw.h"
#include "scsi/task_priv.h"

static uint32_t range_len(const struct scsi_task *t)
{
	return (uint32_t)(t->nblocks << t->view->block_shift);
}

/* Buffers of a transfer, and the spare one (walk.c). */
#define OWN_IOVS (SCSI_TRANSFER_MAX / BUF_LARGE + 1)

/* ---- COMPARE AND WRITE: first the bytes to compare, then those to write. */

static enum scsi_step caw_written(struct scsi_task *t)
{
	if (t->io.result < 0)
		return sense_errno(t, t->io.result);
	return task_good(t);
}

/* Data-out from @from on into the medium's memory. */
static enum scsi_step copy_in(struct scsi_task *t, uint32_t from)
{
	uint32_t len = range_len(t), pos = 0, n;
	uint8_t *medium = bdev_map(t->view->ch, task_offset(t), len);

	if (medium == NULL)
		return sense_errno(t, -EIO);
	while (pos < len) {
		const uint8_t *out = rw_out_at(t, from + pos, &n);

		n = MIN(n, len - pos);
		memcpy(medium + pos, out, n);
		pos += n;
	}
	bdev_count(t->view->ch, BDEV_WRITE, len);
	return task_good(t);
}

static enum scsi_step caw_write(struct scsi_task *t)
{
	uint32_t len = range_len(t), pos = 0, n;
	/* Behind the iovecs that own the buffers. */
	struct iovec *iov = &t->iov_many[OWN_IOVS];
	unsigned int iovcnt = 0;

	if (t->view->map)
		return copy_in(t, len);
	while (pos < len) {
		iov[iovcnt].iov_base = rw_out_at(t, len + pos, &n);
		n = MIN(n, len - pos);
		iov[iovcnt].iov_len = n;
		iovcnt++;
		pos += n;
		ASSERT(OWN_IOVS + iovcnt <= SCSI_IOV_MAX);
	}
	t->io.op = BDEV_WRITE;
	t->io.fua = t->write_through;
	t->io.offset = task_offset(t);
	t->io.len = len;
	t->io.iov = iov;
	t->io.iovcnt = iovcnt;
	return task_io(t, caw_written);
}

static enum scsi_step caw_compare(struct scsi_task *t)
{
	return rw_walk(t, range_len(t), walk_compare, false, caw_write);
}

enum scsi_step cmd_compare_and_write(struct scsi_task *t)
{
	enum scsi_step step;

	cdb_decode(t);
	step = rw_check_range(t);
	if (step != SCSI_PENDING)
		return step;
	/* SBC-3, 6.6.4: MAXIMUM COMPARE AND WRITE LENGTH. */
	if (t->nblocks > rw_caw_max(t->view))
		return sense_cdb(t, 13, 7);
	if (t->nblocks == 0) {
		/* Data for no blocks: the number is what is wrong. */
		return t->edtl_out == 0 ? task_good(t) : sense_cdb(t, 13, 7);
	}
	t->data_out_len = 2 * range_len(t);
	if (t->edtl_out != t->data_out_len)
		return rw_short_data(t);
	t->write_through = rw_write_through(t);
	return rw_want_data(t, t->data_out_len);
}

enum scsi_step exec_compare_and_write(struct scsi_task *t, uint32_t len)
{
	return lock_acquire(t, caw_compare);
}

uint32_t rw_caw_max(const struct lun_view *view)
{
	return MIN(255u, view->max_blocks / 2);
}

/* ---- ORWRITE. */

static enum scsi_step or_piece(struct scsi_task *t, uint8_t *piece,
			       uint32_t pos, uint32_t len)
{
	uint32_t together;
	const uint8_t *out = rw_out_at(t, pos, &together);

	ASSERT(together >= len);
	for (uint32_t i = 0; i < len; i++)
		piece[i] |= out[i];
	return SCSI_PENDING;
}

static enum scsi_step or_walk(struct scsi_task *t)
{
	return rw_walk(t, range_len(t), or_piece, true, task_good);
}

enum scsi_step cmd_orwrite(struct scsi_task *t)
{
	enum scsi_step step = rw_check(t);

	if (step != SCSI_PENDING)
		return step;
	t->data_out_len = range_len(t);
	if (t->nblocks == 0)
		return task_good(t);
	if (t->edtl_out < t->data_out_len)
		return rw_short_data(t);
	t->write_through = rw_write_through(t);
	return rw_want_data(t, t->data_out_len);
}

enum scsi_step exec_orwrite(struct scsi_task *t, uint32_t len)
{
	return lock_acquire(t, or_walk);
}

/* ---- WRITE ATOMIC (SBC-4, 5.49): all of it or nothing, for every command and
 * every abort. In memory only: what a file system writes can be torn. */

#define ATOMIC_BYTES_MAX (1u << 20)

uint32_t rw_atomic_max(const struct lun_view *view)
{
	if (!view->map)
		return 0;
	return MIN(view->max_blocks, ATOMIC_BYTES_MAX >> view->block_shift);
}

static enum scsi_step atomic_copy(struct scsi_task *t)
{
	return copy_in(t, 0);
}

enum scsi_step cmd_write_atomic(struct scsi_task *t)
{
	enum scsi_step step;

	cdb_decode(t);
	step = rw_check_range(t);
	if (step != SCSI_PENDING)
		return step;
	/* No boundaries: VPD B0 says so. */
	if (load_be16(t->cdb + 10) != 0)
		return sense_cdb(t, 10, 7);
	if (t->nblocks > rw_atomic_max(t->view))
		return sense_cdb(t, 12, 7);
	t->data_out_len = range_len(t);
	if (t->nblocks == 0)
		return task_good(t);
	if (t->edtl_out < t->data_out_len)
		return rw_short_data(t);
	return rw_want_data(t, t->data_out_len);
}

enum scsi_step exec_write_atomic(struct scsi_task *t, uint32_t len)
{
	return lock_acquire(t, atomic_copy);
}
