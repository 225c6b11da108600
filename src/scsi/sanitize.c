/* SPDX-License-Identifier: BSD-3-Clause */
/* SANITIZE and FORMAT UNIT (SBC-3, 5.24 and 5.3). */
#include "base/assert.h"
#include "base/bytes.h"
#include "scsi/task_priv.h"
#include "scsi/wipe.h"

/* ---- SANITIZE. */

#define SAN_IMMED	 0x80
#define SAN_AUSE	 0x20
#define OVERWRITE_HEADER 4u
#define OVERWRITE_INVERT 0x80
#define OVERWRITE_TEST	 0x60
#define OVERWRITE_COUNT	 0x1f

static uint32_t list_len(const struct scsi_task *t)
{
	return load_be16(t->cdb + 7);
}

static struct wipe_options sanitize_options(const struct scsi_task *t)
{
	return (struct wipe_options){
		.state = WIPE_SANITIZING,
		.passes = 1,
		.immed = t->cdb[1] & SAN_IMMED,
		.exit_allowed = t->cdb[1] & SAN_AUSE,
	};
}

/* SBC-3, 4.11.2: not while one is under way. After a failure, yes. */
static bool may_sanitize(const struct scsi_task *t)
{
	return !wipe_running(&t->view->state);
}

enum scsi_step cmd_sanitize_overwrite(struct scsi_task *t)
{
	uint32_t len = list_len(t);

	if (!may_sanitize(t))
		return wipe_refuse(t);
	/* 5.24.2: at least a byte of pattern, at most a block. */
	if (len <= OVERWRITE_HEADER ||
	    len > OVERWRITE_HEADER + t->view->block_size)
		return sense_cdb(t, 7, 7);
	t->data_out_len = len;
	if (t->edtl_out < len)
		return sense_fail(t, KEY_ILLEGAL_REQUEST,
				  ASC_PARAM_LIST_LENGTH);
	(void)task_buffers(t, len, task_have_room);
	return SCSI_WANT_DATA;
}

enum scsi_step exec_sanitize_overwrite(struct scsi_task *t, uint32_t len)
{
	struct wipe_options opt = sanitize_options(t);
	const uint8_t *p = t->iov[0].iov_base;
	uint32_t pattern_len = load_be16(p + 2);

	if (p[0] & OVERWRITE_TEST)
		return sense_param(t, 0, 6);
	opt.passes = p[0] & OVERWRITE_COUNT;
	if (opt.passes == 0)
		return sense_param(t, 0, 4);
	if (pattern_len == 0 || pattern_len > t->view->block_size ||
	    pattern_len > len - OVERWRITE_HEADER)
		return sense_param(t, 2, 7);
	opt.method = WIPE_PATTERN;
	opt.invert = p[0] & OVERWRITE_INVERT;
	opt.pattern = p + OVERWRITE_HEADER;
	opt.pattern_len = pattern_len;
	return wipe_start(t, &opt);
}

enum scsi_step cmd_sanitize_erase(struct scsi_task *t)
{
	struct wipe_options opt = sanitize_options(t);

	if (!may_sanitize(t))
		return wipe_refuse(t);
	if (list_len(t) != 0)
		return sense_cdb(t, 7, 7);
	opt.method = WIPE_ERASE;
	return wipe_start(t, &opt);
}

enum scsi_step cmd_sanitize_exit(struct scsi_task *t)
{
	if (!may_sanitize(t))
		return wipe_refuse(t);
	if (list_len(t) != 0)
		return sense_cdb(t, 7, 7);
	return wipe_exit(t);
}

/* ---- FORMAT UNIT. */

#define FMT_FMTDATA  0x10
#define FMT_LONGLIST 0x20
#define FMT_FORMAT   0x07
#define FMT_FMTPINFO 0xc0
#define FMT_FOV	     0x80
#define FMT_OPTIONS  0x78 /* DPRY, DCRT, STPF, IP: without FOV zero */
#define FMT_IP	     0x08
#define FMT_IMMED    0x02
#define FMT_SHORT    4u
#define FMT_LONG     8u

static enum scsi_step format(struct scsi_task *t, bool immed)
{
	/* The blocks are as large as before, and read as zeroes. */
	struct wipe_options opt = {
		.state = WIPE_FORMATTING,
		.method = WIPE_ZERO,
		.passes = 1,
		.immed = immed,
	};

	return wipe_start(t, &opt);
}

enum scsi_step cmd_format_unit(struct scsi_task *t)
{
	uint8_t flags = t->cdb[1];

	if (t->view->state.wipe != WIPE_NOT &&
	    t->view->state.wipe != WIPE_FORMAT_FAILED)
		return wipe_refuse(t);
	if (flags & FMT_FMTPINFO) /* no protection information */
		return sense_cdb(t, 1, 7);
	if (!(flags & FMT_FMTDATA)) {
		if (flags & FMT_FORMAT)
			return sense_cdb(t, 1, 2);
		return format(t, false);
	}
	/* There are no defects that a list could name. */
	return task_want_params(t, flags & FMT_LONGLIST ? FMT_LONG : FMT_SHORT);
}

enum scsi_step exec_format_unit(struct scsi_task *t, uint32_t len)
{
	bool longlist = t->cdb[1] & FMT_LONGLIST;
	const uint8_t *p;
	uint32_t defects;

	if (len < t->data_out_len)
		return sense_fail(t, KEY_ILLEGAL_REQUEST,
				  ASC_PARAM_LIST_LENGTH);
	p = t->iov[0].iov_base;
	if ((p[0] & 0x07) != 0) /* PROTECTION FIELD USAGE */
		return sense_param(t, 0, 2);
	if (!(p[1] & FMT_FOV) && (p[1] & FMT_OPTIONS))
		return sense_param(t, 1, 7);
	if (p[1] & FMT_IP)
		return sense_param(t, 1, 3);
	if (longlist && p[3] != 0) /* P_I_INFORMATION, its exponent */
		return sense_param(t, 3, 7);
	defects = longlist ? load_be32(p + 4) : load_be16(p + 2);
	if (defects != 0)
		return sense_param(t, longlist ? 4 : 2, 7);
	return format(t, p[1] & FMT_IMMED);
}
