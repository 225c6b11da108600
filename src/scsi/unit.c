/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands about the unit as a whole. */
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "scsi/home.h"
#include "scsi/rw.h"
#include "scsi/task_priv.h"
#include "scsi/wipe.h"

/* SPC-4, 6.47. */
enum scsi_step cmd_test_unit_ready(struct scsi_task *t)
{
	return task_good(t);
}

/* SPC-4, 6.39: sense data as data, with status GOOD. */
enum scsi_step cmd_request_sense(struct scsi_task *t)
{
	bool descriptor = t->cdb[1] & 0x01;
	uint8_t *data = task_small(t, SCSI_SENSE_MAX);
	struct sense s = {.key = KEY_NO_SENSE};
	uint32_t lun_id;

	if (t->view == NULL) {
		s.key = KEY_ILLEGAL_REQUEST;
		s.asc = ASC_LUN_NOT_SUPPORTED;
	} else {
		(void)device_view_lun(t->nexus->dv, t->lun, &lun_id);
		if (ua_take(t->nexus, lun_id, &s.asc)) {
			s.key = KEY_UNIT_ATTENTION;
		} else if (t->view->removed || t->view->state.ejected) {
			s.key = KEY_NOT_READY;
			s.asc = ASC_MEDIUM_NOT_PRESENT;
		} else if (t->view->state.stopped) {
			s.key = KEY_NOT_READY;
			s.asc = ASC_STOPPED;
		} else if (t->view->state.wipe != WIPE_NOT) {
			return wipe_report(t);
		}
	}
	return task_data_in(t, data, sense_build(&s, descriptor, data),
			    t->cdb[4]);
}

/* SBC-3, 5.15. */
enum scsi_step cmd_read_capacity_10(struct scsi_task *t)
{
	uint8_t *data = task_small(t, 8);
	uint64_t last = t->view->nblocks - 1;

	/* 5.15.1: without PMI (which is obsolete) the LBA is zero. */
	if (load_be32(t->cdb + 2) != 0)
		return sense_cdb(t, 2, 7);
	if (t->cdb[8] & 0x01)
		return sense_cdb(t, 8, 0);
	store_be32(data, (uint32_t)MIN(last, (uint64_t)UINT32_MAX));
	store_be32(data + 4, t->view->block_size);
	return task_data_in(t, data, 8, 8);
}

/* SBC-3, 5.16. */
enum scsi_step cmd_read_capacity_16(struct scsi_task *t)
{
	const struct bdev *bdev = t->view->lun->bdev;
	uint8_t *data = task_small(t, 32);
	uint32_t ratio = bdev->phys_block_size / bdev->block_size;

	if (load_be64(t->cdb + 2) != 0)
		return sense_cdb(t, 2, 7);
	if (t->cdb[14] & 0x01)
		return sense_cdb(t, 14, 0);
	store_be64(data, t->view->nblocks - 1);
	store_be32(data + 8, t->view->block_size);
	/* Logical blocks per physical block, as an exponent. */
	if (ratio > 1)
		data[13] = (uint8_t)MIN(31 - __builtin_clz(ratio), 15);
	if (bdev->caps & BDEV_CAP_UNMAP) /* LBPME and LBPRZ */
		data[14] = 0xc0;
	return task_data_in(t, data, 32, load_be32(t->cdb + 10));
}

/* ---- SYNCHRONIZE CACHE (SBC-3, 5.30 and 5.31). */

static enum scsi_step sync_done(struct scsi_task *t)
{
	if (t->io.result < 0)
		return sense_errno(t, t->io.result);
	return task_good(t);
}

enum scsi_step cmd_sync_cache(struct scsi_task *t)
{
	enum scsi_step step;

	cdb_decode(t);
	step = rw_check_range(t);
	if (step != SCSI_PENDING)
		return step;
	/* IMMED allows an early answer; GOOD after the flush says more. */
	t->io.op = BDEV_FLUSH;
	t->io.fua = false;
	t->io.offset = t->nblocks != 0 ? task_offset(t) : 0;
	t->io.len = t->nblocks << t->view->block_shift;
	if (t->nblocks == 0 && t->lba != 0) {
		/* 5.30: from the LBA to the end; nothing is there at the end. */
		if (t->lba == t->view->nblocks)
			return task_good(t);
		t->io.offset = task_offset(t);
		t->io.len = (t->view->nblocks - t->lba) << t->view->block_shift;
	}
	t->io.iov = NULL;
	t->io.iovcnt = 0;
	return task_io(t, sync_done);
}

/* ---- START STOP UNIT (SBC-3, 5.25). */

#define SSU_START   0x01
#define SSU_LOEJ    0x02
#define SSU_NOFLUSH 0x04

static bool change_power(struct scsi_task *t, struct lun_state *state,
			 enum ua_bit *ret_ua)
{
	struct lun_state old = *state;
	bool start = t->cdb[4] & SSU_START;

	if (t->cdb[4] & SSU_LOEJ) {
		state->ejected = !start;
		state->stopped = false;
		if (start && old.ejected)
			*ret_ua = UA_MEDIUM_CHANGED;
	} else {
		state->stopped = !start;
	}
	return memcmp(&old, state, sizeof(old)) != 0;
}

static enum scsi_step start_stop_change(struct scsi_task *t)
{
	/* The flush before it stops. */
	if (t->io.result < 0)
		return sense_errno(t, t->io.result);
	return home_change(t, change_power, task_good);
}

enum scsi_step cmd_start_stop(struct scsi_task *t)
{
	const struct lun_view *view = t->view;
	uint8_t flags = t->cdb[4];

	/* 5.25: with a POWER CONDITION, START and LOEJ are ignored. We are
	 * always active: nothing to change. */
	if (flags >> 4 != 0)
		return task_good(t);
	if (flags & SSU_LOEJ) {
		if (!view->lun->removable)
			return sense_cdb(t, 4, 1);
		if (!(flags & SSU_START) && view->state.prevented != 0)
			return sense_fail(t, KEY_ILLEGAL_REQUEST,
					  ASC_REMOVAL_PREVENTED);
	} else if ((flags & SSU_START) && view->state.ejected) {
		return sense_fail(t, KEY_NOT_READY, ASC_MEDIUM_NOT_PRESENT);
	}
	t->io.result = 0;
	if ((flags & (SSU_START | SSU_NOFLUSH)) != 0 || view->state.ejected)
		return start_stop_change(t);
	t->io.op = BDEV_FLUSH;
	t->io.fua = false;
	t->io.offset = 0;
	t->io.len = 0;
	t->io.iov = NULL;
	t->io.iovcnt = 0;
	return task_io(t, start_stop_change);
}

/* ---- PREVENT ALLOW MEDIUM REMOVAL (SBC-3, 5.12; SPC-4, 6.13). */

static bool count_prevent(struct scsi_task *t, struct lun_state *state,
			  enum ua_bit *ret_ua)
{
	if (t->cdb[4] & 0x01)
		state->prevented++;
	else
		state->prevented -= MIN(state->prevented, 1u);
	return true;
}

enum scsi_step cmd_prevent_allow(struct scsi_task *t)
{
	bool prevent = t->cdb[4] & 0x01, *prevents;
	uint32_t lun_id;

	if (t->cdb[4] & 0x02) /* 2 and 3 are obsolete */
		return sense_cdb(t, 4, 1);
	(void)device_view_lun(t->nexus->dv, t->lun, &lun_id);
	prevents = &t->nexus->prevents[lun_id];
	if (*prevents == prevent)
		return task_good(t);
	*prevents = prevent;
	return home_change(t, count_prevent, task_good);
}

/* ---- READ DEFECT DATA (SBC-3, 5.17, 5.18): there are none. */

enum scsi_step cmd_read_defect(struct scsi_task *t)
{
	bool ten = t->cmd->len == 10;
	uint8_t *data = task_small(t, 8);

	data[1] = t->cdb[ten ? 2 : 1] & 0x1f; /* lists and format, as asked */
	return task_data_in(t, data, ten ? 4 : 8,
			    ten ? load_be16(t->cdb + 7)
				: load_be32(t->cdb + 6));
}
