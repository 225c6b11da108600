/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands that hold data-out against what the medium has: its bytes come
 * piece by piece, in place or through a buffer.
 */
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "scsi/rw.h"
#include "scsi/task_priv.h"

/* What the walk keeps in t->scratch. */
enum { WALK_POS, WALK_LEN, WALK_EACH, WALK_END, WALK_WRITES };

enum scsi_step rw_want_data(struct scsi_task *t, uint32_t len)
{
	uint32_t want = MIN(len, t->edtl_out);

	ASSERT(want > 0);
	t->data_out_len = len;
	/* One more buffer is for the medium's bytes. */
	if (!t->view->map)
		want = (uint32_t)round_up(want, BUF_LARGE) + BUF_LARGE;
	(void)task_buffers(t, want, task_have_room);
	return SCSI_WANT_DATA;
}

static struct iovec *spare(struct scsi_task *t)
{
	ASSERT(!t->view->map && t->buf_len % BUF_LARGE == 0);
	return &t->iov_many[t->buf_len / BUF_LARGE - 1];
}

uint8_t *rw_out_at(struct scsi_task *t, uint32_t pos, uint32_t *ret_len)
{
	uint32_t i = pos / BUF_LARGE, at = pos % BUF_LARGE;

	ASSERT(pos < t->buf_len);
	*ret_len = MIN(BUF_LARGE - at, t->buf_len - pos);
	return (uint8_t *)t->iov_many[i].iov_base + at;
}

uint32_t rw_difference(const uint8_t *a, const uint8_t *b, uint32_t len)
{
	uint32_t i = 0;

	if (memcmp(a, b, len) == 0)
		return len;
	while (a[i] == b[i])
		i++;
	return i;
}

enum scsi_step walk_nothing(struct scsi_task *t, uint8_t *piece, uint32_t pos,
			    uint32_t len)
{
	return SCSI_PENDING;
}

enum scsi_step walk_compare(struct scsi_task *t, uint8_t *piece, uint32_t pos,
			    uint32_t len)
{
	uint32_t together;
	const uint8_t *out = rw_out_at(t, pos, &together);
	uint32_t diff;

	ASSERT(together >= len); /* both go in steps of BUF_LARGE */
	diff = rw_difference(piece, out, len);
	if (diff == len)
		return SCSI_PENDING;
	/* SBC-3, 5.2.2: the offset of the first byte that differs. */
	return sense_fail_with(t, &(struct sense){.key = KEY_MISCOMPARE,
						  .asc = ASC_MISCOMPARE,
						  .has_info = true,
						  .info = pos + diff});
}

static enum scsi_step walk(struct scsi_task *t);

static uint32_t piece_len(const struct scsi_task *t)
{
	return (uint32_t)MIN((uint64_t)BUF_LARGE,
			     t->scratch[WALK_LEN] - t->scratch[WALK_POS]);
}

static enum scsi_step next_piece(struct scsi_task *t)
{
	t->scratch[WALK_POS] += piece_len(t);
	return walk(t);
}

static enum scsi_step piece_written(struct scsi_task *t)
{
	if (t->io.result < 0)
		return sense_errno(t, t->io.result);
	return next_piece(t);
}

static void piece_io(struct scsi_task *t, enum bdev_op op)
{
	t->iov_one.iov_base = spare(t)->iov_base;
	t->iov_one.iov_len = piece_len(t);
	t->io.op = op;
	t->io.fua = op == BDEV_WRITE && t->write_through;
	t->io.offset = task_offset(t) + t->scratch[WALK_POS];
	t->io.len = t->iov_one.iov_len;
	t->io.iov = &t->iov_one;
	t->io.iovcnt = 1;
}

static enum scsi_step take_piece(struct scsi_task *t, uint8_t *piece)
{
	walk_fn *each = (walk_fn *)(uintptr_t)t->scratch[WALK_EACH];
	enum scsi_step step;

	step = each(t, piece, (uint32_t)t->scratch[WALK_POS], piece_len(t));
	if (step != SCSI_PENDING)
		return step;
	if (t->scratch[WALK_WRITES] && !t->view->map) {
		piece_io(t, BDEV_WRITE);
		return task_io(t, piece_written);
	}
	return next_piece(t);
}

static enum scsi_step piece_read(struct scsi_task *t)
{
	if (t->io.result < 0)
		return sense_errno(t, t->io.result);
	return take_piece(t, t->iov_one.iov_base);
}

static enum scsi_step walk(struct scsi_task *t)
{
	cmd_start_fn *end = (cmd_start_fn *)(uintptr_t)t->scratch[WALK_END];
	uint32_t len = piece_len(t);
	uint8_t *piece;

	if (len == 0)
		return end(t);
	if (!t->view->map) {
		piece_io(t, BDEV_READ);
		return task_io(t, piece_read);
	}
	piece = bdev_map(t->view->ch, task_offset(t) + t->scratch[WALK_POS],
			 len);
	if (piece == NULL)
		return sense_errno(t, -EIO);
	bdev_count(t->view->ch,
		   t->scratch[WALK_WRITES] ? BDEV_WRITE : BDEV_READ, len);
	return take_piece(t, piece);
}

enum scsi_step rw_walk(struct scsi_task *t, uint32_t len, walk_fn *each,
		       bool writes, enum scsi_step (*end)(struct scsi_task *t))
{
	t->scratch[WALK_POS] = 0;
	t->scratch[WALK_LEN] = len;
	t->scratch[WALK_EACH] = (uintptr_t)each;
	t->scratch[WALK_END] = (uintptr_t)end;
	t->scratch[WALK_WRITES] = writes;
	return walk(t);
}
