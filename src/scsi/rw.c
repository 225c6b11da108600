/* SPDX-License-Identifier: BSD-3-Clause */
/* READ and WRITE (SBC-3, 5.8 to 5.12 and 5.36 to 5.40). */
#include "base/assert.h"
#include "base/bytes.h"
#include "scsi/lock.h"
#include "scsi/rw.h"
#include "scsi/task_priv.h"

void cdb_decode(struct scsi_task *t)
{
	const uint8_t *cdb = t->cdb;

	switch ((enum cdb_shape)t->cmd->shape) {
	case CDB_RW10:
		t->lba = load_be32(cdb + 2);
		t->nblocks = load_be16(cdb + 7);
		return;
	case CDB_RW16:
		t->lba = load_be64(cdb + 2);
		t->nblocks = load_be32(cdb + 10);
		return;
	case CDB_RW12:
		t->lba = load_be32(cdb + 2);
		t->nblocks = load_be32(cdb + 6);
		return;
	case CDB_RW6: /* SBC-3, 5.8: 0 means 256 */
		t->lba = load_be24(cdb + 1) & 0x1fffff;
		t->nblocks = cdb[4] != 0 ? cdb[4] : 256;
		return;
	case CDB_RW32:
		t->lba = load_be64(cdb + 12);
		t->nblocks = load_be32(cdb + 28);
		return;
	case CDB_CAW:
		t->lba = load_be64(cdb + 2);
		t->nblocks = cdb[13];
		return;
	case CDB_ATOMIC:
		t->lba = load_be64(cdb + 2);
		t->nblocks = load_be16(cdb + 12);
		return;
	case CDB_PLAIN:
		break;
	}
	ASSERT(!"a command without an LBA");
}

uint16_t cdb_len_byte(const struct scsi_task *t)
{
	static const uint8_t at[] = {
		[CDB_RW6] = 4,	   [CDB_RW10] = 7,  [CDB_RW12] = 6,
		[CDB_RW16] = 10,   [CDB_RW32] = 28, [CDB_CAW] = 13,
		[CDB_ATOMIC] = 12,
	};

	ASSERT(t->cmd->shape < ARRAY_LEN(at));
	return at[t->cmd->shape];
}

/* DPO, FUA and the like: byte 1, or byte 10 of the long CDB. */
uint8_t cdb_flags(const struct scsi_task *t)
{
	switch ((enum cdb_shape)t->cmd->shape) {
	case CDB_RW10:
	case CDB_RW12:
	case CDB_RW16:
	case CDB_CAW:
	case CDB_ATOMIC:
		return t->cdb[1];
	case CDB_RW32:
		return t->cdb[10];
	case CDB_RW6:
	case CDB_PLAIN:
		return 0;
	}
	return 0;
}

enum scsi_step rw_check_range(struct scsi_task *t)
{
	uint64_t size = t->view->nblocks;

	if (unlikely(t->lba > size || t->nblocks > size - t->lba))
		return sense_lba(t, MAX(t->lba, size));
	return SCSI_PENDING;
}

enum scsi_step rw_check(struct scsi_task *t)
{
	enum scsi_step step;

	cdb_decode(t);
	step = rw_check_range(t);
	if (unlikely(step != SCSI_PENDING))
		return step;
	/* SBC-3, 6.6.4: more than the MAXIMUM TRANSFER LENGTH. */
	if (unlikely(t->nblocks > t->view->max_blocks))
		return sense_cdb(t, cdb_len_byte(t), 7);
	return SCSI_PENDING;
}

enum scsi_step rw_short_data(struct scsi_task *t)
{
	return sense_fail(t, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_IU);
}

bool rw_write_through(const struct scsi_task *t)
{
	return (cdb_flags(t) & CDB_FUA) || !t->view->state.write_cache;
}

/* ---- READ. */

static enum scsi_step read_start(struct scsi_task *t);

static enum scsi_step read_done(struct scsi_task *t)
{
	if (unlikely(t->io.result < 0))
		return sense_errno(t, t->io.result);
	return task_good(t);
}

static enum scsi_step read_submit(struct scsi_task *t)
{
	if (unlikely(!lock_enter(t, read_submit)))
		return SCSI_PENDING;
	t->io.op = BDEV_READ;
	t->io.fua = false;
	t->io.offset = task_offset(t);
	t->io.len = t->data_in_len;
	t->io.iov = t->iov_many;
	t->io.iovcnt = t->iovcnt;
	return task_io(t, read_done);
}

static bool map_medium(struct scsi_task *t, uint32_t len, enum bdev_op op)
{
	void *p;

	if (!t->view->map || t->stable_data)
		return false;
	p = bdev_map(t->view->ch, task_offset(t), len);
	if (p == NULL)
		return false;
	t->iov_one.iov_base = p;
	t->iov_one.iov_len = len;
	t->iovcnt = 1;
	t->mapped = true;
	if (op == BDEV_READ)
		bdev_count(t->view->ch, op, len);
	return true;
}

static enum scsi_step read_start(struct scsi_task *t)
{
	uint32_t len = (uint32_t)(t->nblocks << t->view->block_shift);

	t->data_in_len = len;
	if (len == 0)
		return task_good(t);
	if (unlikely(!lock_enter(t, read_start)))
		return SCSI_PENDING;
	if (likely(map_medium(t, len, BDEV_READ)))
		return task_good(t);
	t->touches = false;
	if (!task_buffers(t, len, read_submit))
		return SCSI_PENDING;
	return read_submit(t);
}

enum scsi_step cmd_read(struct scsi_task *t)
{
	enum scsi_step step = rw_check(t);

	if (unlikely(step != SCSI_PENDING))
		return step;
	return read_start(t);
}

/* ---- WRITE. */

/* Where the data goes: the medium itself, or buffers. */
static enum scsi_step write_place(struct scsi_task *t)
{
	uint32_t want = MIN(t->data_out_len, t->edtl_out);

	if (likely(t->view->map && !t->stable_data) &&
	    likely(!t->write_through || !t->view->volatile_cache)) {
		if (unlikely(!lock_enter(t, write_place)))
			return SCSI_WANT_DATA;
		if (likely(map_medium(t, want, BDEV_WRITE)))
			return SCSI_WANT_DATA;
		t->touches = false;
	}
	(void)task_buffers(t, want, task_have_room);
	return SCSI_WANT_DATA;
}

static enum scsi_step write_start(struct scsi_task *t)
{
	uint32_t len = (uint32_t)(t->nblocks << t->view->block_shift);
	uint32_t want = MIN(len, t->edtl_out);

	t->data_out_len = len;
	/* What cannot be whole blocks is not written at all. */
	if (unlikely((want & (t->view->block_size - 1)) != 0))
		return rw_short_data(t);
	if (want == 0)
		return task_good(t);
	t->write_through = rw_write_through(t);
	return write_place(t);
}

enum scsi_step cmd_write(struct scsi_task *t)
{
	enum scsi_step step = rw_check(t);

	if (unlikely(step != SCSI_PENDING))
		return step;
	return write_start(t);
}

static enum scsi_step write_done(struct scsi_task *t)
{
	if (unlikely(t->io.result < 0))
		return sense_errno(t, t->io.result);
	return task_good(t);
}

static enum scsi_step write_submit(struct scsi_task *t)
{
	if (unlikely(!lock_enter(t, write_submit)))
		return SCSI_PENDING;
	t->io.op = BDEV_WRITE;
	t->io.fua = t->write_through;
	t->io.offset = task_offset(t);
	t->io.len = t->buf_len;
	t->io.iov = t->iov_many;
	t->io.iovcnt = t->iovcnt;
	return task_io(t, write_done);
}

enum scsi_step exec_write(struct scsi_task *t, uint32_t len)
{
	if (likely(t->mapped)) {
		bdev_count(t->view->ch, BDEV_WRITE, len);
		return task_good(t);
	}
	ASSERT(t->own_buffers && len == t->buf_len);
	return write_submit(t);
}
