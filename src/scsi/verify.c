/* SPDX-License-Identifier: BSD-3-Clause */
/* VERIFY, WRITE AND VERIFY, PRE-FETCH (SBC-3, 5.32 to 5.35, 5.41 to 5.43,
 * 5.10, 5.11). */
#include "base/assert.h"
#include "scsi/lock.h"
#include "scsi/rw.h"
#include "scsi/task_priv.h"

/* BYTCHK (SBC-3, table 100). */
#define BYTCHK_NONE 0 /* the medium is read */
#define BYTCHK_ALL  1 /* data-out against the blocks */
#define BYTCHK_BAD  2
#define BYTCHK_ONE  3 /* one block against each */

static unsigned int bytchk(const struct scsi_task *t)
{
	return cdb_flags(t) >> 1 & 3;
}

static uint16_t flags_byte(const struct scsi_task *t)
{
	return t->cmd->shape == CDB_RW32 ? 10 : 1;
}

static uint32_t range_len(const struct scsi_task *t)
{
	return (uint32_t)(t->nblocks << t->view->block_shift);
}

/* ---- VERIFY. */

static enum scsi_step compare_one(struct scsi_task *t, uint8_t *piece,
				  uint32_t pos, uint32_t len)
{
	uint32_t size = t->view->block_size, together, diff;
	const uint8_t *block = rw_out_at(t, 0, &together);

	for (uint32_t at = 0; at < len; at += size) {
		diff = rw_difference(piece + at, block, size);
		if (diff != size)
			return sense_fail_with(
				t, &(struct sense){.key = KEY_MISCOMPARE,
						   .asc = ASC_MISCOMPARE,
						   .has_info = true,
						   .info = diff});
	}
	return SCSI_PENDING;
}

static enum scsi_step verify_walk(struct scsi_task *t)
{
	walk_fn *each = walk_nothing;

	if (!lock_enter(t, verify_walk))
		return SCSI_PENDING;
	if (bytchk(t) == BYTCHK_ALL)
		each = walk_compare;
	else if (bytchk(t) == BYTCHK_ONE)
		each = compare_one;
	return rw_walk(t, range_len(t), each, false, task_good);
}

enum scsi_step cmd_verify(struct scsi_task *t)
{
	uint32_t len;
	enum scsi_step step = rw_check(t);

	if (step != SCSI_PENDING)
		return step;
	if (bytchk(t) == BYTCHK_BAD)
		return sense_cdb(t, flags_byte(t), 2);
	if (t->nblocks == 0)
		return task_good(t);
	if (bytchk(t) == BYTCHK_NONE) {
		if (!t->view->map && !task_buffers(t, BUF_LARGE, verify_walk))
			return SCSI_PENDING;
		return verify_walk(t);
	}
	len = bytchk(t) == BYTCHK_ALL ? range_len(t) : t->view->block_size;
	t->data_out_len = len;
	/* What is not there cannot be found equal. */
	if (t->edtl_out < len)
		return rw_short_data(t);
	return rw_want_data(t, len);
}

enum scsi_step exec_verify(struct scsi_task *t, uint32_t len)
{
	return verify_walk(t);
}

/* ---- WRITE AND VERIFY. */

static enum scsi_step written(struct scsi_task *t)
{
	uint32_t len = (uint32_t)t->io.len;

	if (t->io.result < 0)
		return sense_errno(t, t->io.result);
	return rw_walk(t, len, bytchk(t) ? walk_compare : walk_nothing, false,
		       task_good);
}

static enum scsi_step write_out(struct scsi_task *t)
{
	uint32_t len = MIN(t->edtl_out, t->data_out_len), together;

	if (!lock_enter(t, write_out))
		return SCSI_PENDING;
	t->io.op = BDEV_WRITE;
	t->io.fua = true; /* from the medium, not from a cache */
	t->io.offset = task_offset(t);
	t->io.len = len;
	t->io.iov = t->iov_many;
	t->io.iovcnt = (len + BUF_LARGE - 1) / BUF_LARGE;
	(void)rw_out_at(t, len - 1, &together);
	t->iov_many[t->io.iovcnt - 1].iov_len = (len - 1) % BUF_LARGE + 1;
	return task_io(t, written);
}

enum scsi_step cmd_write_verify(struct scsi_task *t)
{
	enum scsi_step step;
	uint32_t want;

	/* In memory, what was written is what will be read. */
	if (t->view->map)
		return cmd_write(t);
	step = rw_check(t);
	if (step != SCSI_PENDING)
		return step;
	t->data_out_len = range_len(t);
	want = MIN(t->data_out_len, t->edtl_out);
	if (want % t->view->block_size != 0)
		return rw_short_data(t);
	if (want == 0)
		return task_good(t);
	return rw_want_data(t, t->data_out_len);
}

enum scsi_step exec_write_verify(struct scsi_task *t, uint32_t len)
{
	if (t->view->map)
		return exec_write(t, len);
	return write_out(t);
}

/* ---- PRE-FETCH. */

enum scsi_step cmd_pre_fetch(struct scsi_task *t)
{
	enum scsi_step step;

	cdb_decode(t);
	step = rw_check_range(t);
	if (step != SCSI_PENDING)
		return step;
	/* 5.10: GOOD, not CONDITION MET, for nothing is promised. */
	t->nblocks = 0;
	return task_good(t);
}
