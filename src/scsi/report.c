/* SPDX-License-Identifier: BSD-3-Clause */
/* REPORT LUNS, REPORT SUPPORTED OPERATION CODES and the like. */
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "scsi/task_priv.h"

/* Memory for a reply of @len bytes: the task's own, or from the pool. NULL:
 * wait; @resume is called, and asks again. */
static uint8_t *reply(struct scsi_task *t, uint32_t len,
		      enum scsi_step (*resume)(struct scsi_task *t))
{
	if (len <= TASK_SMALL_MAX)
		return task_small(t, len);
	ASSERT(len <= BUF_SMALL);
	if (!t->own_buffers && !task_buffers(t, len, resume))
		return NULL;
	memset(t->iov_many[0].iov_base, 0, len);
	return t->iov_many[0].iov_base;
}

/* ---- REPORT LUNS (SPC-4, 6.33). */

#define SELECT_ALL_BUT_WELL_KNOWN 0x00
#define SELECT_WELL_KNOWN	  0x01
#define SELECT_ALL		  0x02

enum scsi_step cmd_report_luns(struct scsi_task *t)
{
	const struct device_view *dv = t->nexus->dv;
	uint8_t select = t->cdb[2];
	uint32_t alloc = load_be32(t->cdb + 6);
	uint32_t len = 8;
	uint8_t *data;

	if (select > SELECT_ALL)
		return sense_cdb(t, 2, 7);
	data = reply(t, 8 + 8 * SCSI_LUNS_MAX, cmd_report_luns);
	if (data == NULL)
		return SCSI_PENDING;
	for (uint32_t id = 0; id < SCSI_LUNS_MAX; id++) {
		if (dv->luns[id] == NULL || select == SELECT_WELL_KNOWN)
			continue;
		data[len + 1] = (uint8_t)id; /* peripheral, bus 0 */
		len += 8;
	}
	store_be32(data, len - 8);
	ua_clear_luns_changed(t->nexus);
	return task_data_in(t, data, len, alloc);
}

/* ---- REPORT SUPPORTED OPERATION CODES (SPC-4, 6.35). */

#define RSOC_RCTD	    0x80
#define RSOC_ALL	    0
#define RSOC_OPCODE	    1
#define RSOC_ACTION	    2
#define RSOC_EITHER	    3 /* SPC-5: an opcode, with its action if it has any */
#define SUPPORT_NOT	    1
#define SUPPORT_AS_STANDARD 3
#define TIMEOUTS_LEN	    12

static uint32_t put_timeouts(uint8_t *p)
{
	/* 6.35.4: both times 0, there is no such estimate. */
	store_be16(p, TIMEOUTS_LEN - 2);
	return TIMEOUTS_LEN;
}

static uint32_t put_command(const struct scsi_cmd *cmd, uint8_t opcode,
			    bool rctd, uint8_t *p)
{
	bool sa = cmd->flags & (CMD_SA | CMD_SA32);

	p[0] = opcode;
	store_be16(p + 2, sa ? cmd->sa : 0);
	p[5] = (uint8_t)((rctd ? 0x02 : 0) | (sa ? 0x01 : 0));
	store_be16(p + 6, cmd->len);
	return 8 + (rctd ? put_timeouts(p + 8) : 0);
}

static enum scsi_step report_all(struct scsi_task *t)
{
	bool rctd = t->cdb[2] & RSOC_RCTD;
	uint32_t len = 4;
	uint8_t *data = reply(t, BUF_SMALL, report_all);

	if (data == NULL)
		return SCSI_PENDING;
	for (unsigned int op = 0; op < 256; op++) {
		const struct scsi_cmd *cmd = command_by_opcode((uint8_t)op);

		if (cmd == NULL || !command_supported(cmd, t->view))
			continue;
		if (cmd->subs == NULL)
			len += put_command(cmd, (uint8_t)op, rctd, data + len);
		for (unsigned int i = 0; i < cmd->nsubs; i++)
			if (command_supported(&cmd->subs[i], t->view))
				len += put_command(&cmd->subs[i], (uint8_t)op,
						   rctd, data + len);
		ASSERT(len + 256 <= BUF_SMALL);
	}
	store_be32(data, len - 4);
	return task_data_in(t, data, len, load_be32(t->cdb + 6));
}

static enum scsi_step report_one(struct scsi_task *t,
				 const struct scsi_cmd *cmd)
{
	bool rctd = t->cdb[2] & RSOC_RCTD;
	uint8_t *data = task_small(t, 4 + CMD_USAGE_MAX + TIMEOUTS_LEN);
	uint32_t len = 4;

	if (cmd == NULL || !command_supported(cmd, t->view)) {
		data[1] = SUPPORT_NOT;
		return task_data_in(t, data, len, load_be32(t->cdb + 6));
	}
	data[1] = (uint8_t)(SUPPORT_AS_STANDARD | (rctd ? 0x80 : 0));
	store_be16(data + 2, cmd->len);
	command_usage(cmd, t->cdb[3], data + 4);
	len += cmd->len;
	if (rctd)
		len += put_timeouts(data + len);
	return task_data_in(t, data, len, load_be32(t->cdb + 6));
}

enum scsi_step cmd_report_opcodes(struct scsi_task *t)
{
	uint8_t opcode = t->cdb[3];
	uint16_t sa = load_be16(t->cdb + 4);
	const struct scsi_cmd *cmd = command_by_opcode(opcode);
	bool group = cmd != NULL && cmd->subs != NULL;

	switch (t->cdb[2] & 0x07) {
	case RSOC_ALL:
		return report_all(t);
	case RSOC_OPCODE: /* 6.35.1: not for one with service actions */
		if (group)
			return sense_cdb(t, 2, 2);
		return report_one(t, cmd);
	case RSOC_ACTION: /* only for one with service actions */
		if (cmd != NULL && !group)
			return sense_cdb(t, 2, 2);
		return report_one(t,
				  group ? command_by_action(opcode, sa) : NULL);
	case RSOC_EITHER:
		if (group)
			return report_one(t, command_by_action(opcode, sa));
		return report_one(t, sa == 0 ? cmd : NULL);
	default:
		return sense_cdb(t, 2, 2);
	}
}

/* SPC-4, 6.36. */
enum scsi_step cmd_report_tmf(struct scsi_task *t)
{
	bool extended = t->cdb[2] & 0x80;
	uint32_t alloc = load_be32(t->cdb + 6);
	uint8_t *data = task_small(t, 16);

	if (alloc < 4) /* 6.36.1: shall be at least four */
		return sense_cdb(t, 6, 7);
	/* ABORT TASK, ABORT TASK SET, CLEAR TASK SET, LOGICAL UNIT RESET,
	 * QUERY TASK, TARGET RESET; then QUERY ASYNC EVENT, QUERY TASK SET,
	 * I_T NEXUS RESET. CLEAR ACA is not there. */
	data[0] = 0x80 | 0x40 | 0x10 | 0x08 | 0x04 | 0x02;
	data[1] = 0x04 | 0x02 | 0x01;
	if (extended)
		data[3] = 12; /* no time-outs reported */
	return task_data_in(t, data, extended ? 16 : 4, alloc);
}
