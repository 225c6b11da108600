/* SPDX-License-Identifier: BSD-3-Clause */
/* WRITE SAME (SBC-3, 5.45 to 5.47). */
#include <string.h>

#include "base/assert.h"
#include "scsi/lock.h"
#include "scsi/rw.h"
#include "scsi/task_priv.h"

#define SAME_IOVS 8  /* one buffer, so often in one I/O */
#define SAME_TURN 16 /* I/Os before others have a turn */

enum { SAME_POS, SAME_LEN };

static enum scsi_step same_next(struct scsi_task *t);

static enum scsi_step same_flushed(struct scsi_task *t)
{
	if (t->io.result < 0)
		return sense_errno(t, t->io.result);
	return task_good(t);
}

/* ---- Zeroes. */

static enum scsi_step zeroed(struct scsi_task *t)
{
	if (t->io.result < 0)
		return sense_errno(t, t->io.result);
	if (t->io.op != BDEV_UNMAP || !t->write_through)
		return task_good(t);
	t->io.op = BDEV_FLUSH;
	t->io.offset = t->io.len = 0;
	return task_io(t, same_flushed);
}

static enum scsi_step same_zero(struct scsi_task *t)
{
	bool unmap = cdb_flags(t) & WS_UNMAP;

	if (!lock_enter(t, same_zero))
		return SCSI_PENDING;
	t->io.op = unmap ? BDEV_UNMAP : BDEV_WRITE_ZEROES;
	t->io.fua = !unmap && t->write_through;
	t->io.offset = task_offset(t);
	t->io.len = t->nblocks << t->view->block_shift;
	t->io.iov = NULL;
	t->io.iovcnt = 0;
	return task_io(t, zeroed);
}

/* ---- A pattern. */

static void on_turn(struct mail *mail)
{
	task_continue(container_of(mail, struct scsi_task, mail));
}

static enum scsi_step same_written(struct scsi_task *t)
{
	if (t->io.result < 0)
		return sense_errno(t, t->io.result);
	t->scratch[SAME_POS] += t->io.len;
	return same_next(t);
}

static void same_io(struct scsi_task *t)
{
	uint64_t left = t->scratch[SAME_LEN] - t->scratch[SAME_POS];
	struct iovec *iov = &t->iov_many[1];
	unsigned int n = 0;

	t->io.len = MIN(left, (uint64_t)SAME_IOVS * BUF_LARGE);
	for (left = t->io.len; left > 0; n++) {
		iov[n].iov_base = t->iov_many[0].iov_base;
		iov[n].iov_len = MIN(left, (uint64_t)BUF_LARGE);
		left -= iov[n].iov_len;
	}
	t->io.op = BDEV_WRITE;
	t->io.fua = t->write_through;
	t->io.offset = task_offset(t) + t->scratch[SAME_POS];
	t->io.iov = iov;
	t->io.iovcnt = n;
}

static enum scsi_step same_next(struct scsi_task *t)
{
	/* In a loop, for a RAM disk is done at once, and a range is long. */
	for (int turn = 0; t->scratch[SAME_POS] < t->scratch[SAME_LEN];
	     turn++) {
		t->resume = same_next;
		t->state = SCSI_TASK_RUNNING;
		if (turn == SAME_TURN) {
			t->mail.run = on_turn;
			mail_post(t->nexus->reactor, &t->mail);
			return SCSI_PENDING;
		}
		same_io(t);
		t->resume = same_written;
		if (task_submit(t) == BDEV_PENDING)
			return SCSI_PENDING;
		if (t->io.result < 0)
			return sense_errno(t, t->io.result);
		t->scratch[SAME_POS] += t->io.len;
	}
	return task_good(t);
}

static enum scsi_step same_pattern(struct scsi_task *t)
{
	uint8_t *buf = t->iov_many[0].iov_base;
	uint32_t have = t->view->block_size;

	if (!lock_enter(t, same_pattern))
		return SCSI_PENDING;
	for (; have < BUF_LARGE; have *= 2)
		memcpy(buf + have, buf, have);
	t->scratch[SAME_POS] = 0;
	t->scratch[SAME_LEN] = t->nblocks << t->view->block_shift;
	return same_next(t);
}

static bool is_zero(const uint8_t *p, uint32_t len)
{
	return p[0] == 0 && memcmp(p, p + 1, len - 1) == 0;
}

/* ---- The command. */

enum scsi_step cmd_write_same(struct scsi_task *t)
{
	enum scsi_step step;
	bool ndob;

	cdb_decode(t);
	step = rw_check_range(t);
	if (step != SCSI_PENDING)
		return step;
	/* 5.45: UNMAP only where VPD B2 allows it. */
	if ((cdb_flags(t) & WS_UNMAP) &&
	    !(t->view->lun->bdev->caps & BDEV_CAP_UNMAP))
		return sense_cdb(t, t->cmd->shape == CDB_RW32 ? 10 : 1, 3);
	/* WSNZ is 0: none means up to the end. */
	if (t->nblocks == 0)
		t->nblocks = t->view->nblocks - t->lba;
	if (t->nblocks > WRITE_SAME_MAX)
		return sense_cdb(t, cdb_len_byte(t), 7);
	ndob = t->cmd->shape != CDB_RW10 && (cdb_flags(t) & WS_NDOB);
	t->data_out_len = ndob ? 0 : t->view->block_size;
	/* One block, no more and no less. */
	if (t->edtl_out != t->data_out_len)
		return rw_short_data(t);
	if (t->nblocks == 0)
		return task_good(t);
	t->write_through = !t->view->state.write_cache;
	if (ndob)
		return same_zero(t);
	(void)task_buffers(t, BUF_LARGE, task_have_room);
	return SCSI_WANT_DATA;
}

enum scsi_step exec_write_same(struct scsi_task *t, uint32_t len)
{
	/* Only zeroes can be unmapped: blocks read as zeroes then. */
	if (is_zero(t->iov_many[0].iov_base, len))
		return same_zero(t);
	return same_pattern(t);
}
