/* SPDX-License-Identifier: BSD-3-Clause */
#include "scsi/alua.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "scsi/task_priv.h"

#define RTPG_EXTENDED 0x20 /* PARAMETER DATA FORMAT 1 */
#define RTPG_FORMAT   0xe0
#define RTPG_GROUP    8u
#define RTPG_PORT     4u
#define STPG_HEADER   4u
#define STPG_GROUP    4u
/* T_SUP, U_SUP, S_SUP, AN_SUP, AO_SUP. */
#define STATES_SUPPORTED (0x80 | 0x08 | 0x04 | 0x02 | 0x01)

/* STATUS CODE (SPC-4, table 320). */
#define CHANGED_NEVER	 0
#define CHANGED_EXPLICIT 1
#define CHANGED_IMPLICIT 2

/* ---- What a state means to commands. */

bool alua_allows(const struct scsi_cmd *cmd, uint8_t access)
{
	switch ((enum scsi_access_state)access) {
	case SCSI_ACCESS_OPTIMIZED:
	case SCSI_ACCESS_NON_OPTIMIZED:
		return true;
	case SCSI_ACCESS_STANDBY:
		return cmd->flags & (CMD_ANY_LUN | CMD_STANDBY);
	case SCSI_ACCESS_UNAVAILABLE:
	case SCSI_ACCESS_TRANSITIONING:
		return (cmd->flags & CMD_ANY_LUN) ||
		       cmd->start == cmd_report_port_groups ||
		       cmd->start == cmd_set_port_groups;
	}
	return true;
}

enum scsi_step alua_refuse(struct scsi_task *t)
{
	uint16_t asc = ASC_PORT_UNAVAILABLE;

	if (t->nexus->access == SCSI_ACCESS_STANDBY)
		asc = ASC_PORT_STANDBY;
	if (t->nexus->access == SCSI_ACCESS_TRANSITIONING)
		asc = ASC_PORT_TRANSITION;
	return sense_fail(t, KEY_NOT_READY, asc);
}

/* ---- On each core. */

void alua_refresh_nexus(struct scsi_nexus *n)
{
	const struct device_view *dv = n->dv;

	/* A port that is not mapped any more: its nexuses end as they were. */
	for (uint32_t i = 0; i < dv->nports; i++) {
		if (dv->ports[i] == n->tpgt)
			n->access = dv->access[i];
	}
}

void alua_refresh(struct device_view *dv, const struct scsi_nexus *except)
{
	struct scsi_nexus *n;

	list_for_each(n, &dv->nexuses, link) {
		alua_refresh_nexus(n);
	}
	ua_set_device(dv, UA_ACCESS_CHANGED, except);
}

/* ---- Changes, on the control reactor. */

static int find_port(const struct scsi_device *d, uint16_t tpgt)
{
	for (uint32_t i = 0; i < d->nports; i++) {
		if (d->ports[i] == tpgt)
			return (int)i;
	}
	return -1;
}

static void set_state(struct scsi_device *d, int port, uint8_t state,
		      uint8_t cause)
{
	if (d->access[port] == state)
		return;
	d->access[port] = state;
	d->cause[port] = cause;
	d->access_changed = true;
}

int scsi_device_set_access_state(struct scsi_device *d, uint16_t tpgt,
				 enum scsi_access_state state)
{
	int port = find_port(d, tpgt);

	if (port < 0)
		return -ENOENT;
	set_state(d, port, (uint8_t)state, CHANGED_IMPLICIT);
	if (d->access_changed) {
		d->access_asker = NULL;
		device_start_ports(d);
	}
	return 0;
}

static void on_return(struct mail *mail)
{
	task_continue(container_of(mail, struct scsi_task, mail));
}

void alua_told(struct scsi_device *d)
{
	struct list *node;

	while ((node = list_pop_front(&d->access_waiters)) != NULL) {
		struct scsi_task *t =
			list_entry(node, struct scsi_task, waiter.link);

		t->mail.run = on_return;
		mail_post(t->nexus->reactor, &t->mail);
	}
}

/* ---- REPORT TARGET PORT GROUPS (SPC-4, 6.37). */

static uint32_t put_group(const struct device_view *dv, uint32_t i, uint8_t *p)
{
	p[0] = dv->access[i];
	p[1] = STATES_SUPPORTED;
	store_be16(p + 2, dv->ports[i]);
	p[5] = dv->cause[i];
	p[7] = 1; /* target port */
	store_be16(p + RTPG_GROUP + 2, dv->ports[i]);
	return RTPG_GROUP + RTPG_PORT;
}

enum scsi_step cmd_report_port_groups(struct scsi_task *t)
{
	const struct device_view *dv = t->nexus->dv;
	uint8_t format = t->cdb[1] & RTPG_FORMAT;
	uint32_t max = 8 + DEVICE_PORTS_MAX * (RTPG_GROUP + RTPG_PORT);
	uint32_t len = 4;
	uint8_t *data;

	_Static_assert(8 + DEVICE_PORTS_MAX * 12 <= BUF_SMALL, "one buffer");
	if (format != 0 && format != RTPG_EXTENDED)
		return sense_cdb(t, 1, 7);
	if (!t->own_buffers && !task_buffers(t, max, cmd_report_port_groups))
		return SCSI_PENDING;
	data = t->iov_many[0].iov_base;
	memset(data, 0, max);
	if (format == RTPG_EXTENDED) {
		data[4] = 0x10; /* no transition time is known */
		len = 8;
	}
	for (uint32_t i = 0; i < dv->nports; i++)
		len += put_group(dv, i, data + len);
	ASSERT(len <= max);
	store_be32(data, len - 4);
	return task_data_in(t, data, len, load_be32(t->cdb + 6));
}

/* ---- SET TARGET PORT GROUPS (SPC-4, 6.45). */

enum scsi_step cmd_set_port_groups(struct scsi_task *t)
{
	uint32_t len = load_be32(t->cdb + 6);

	if (len == 0) /* 6.45: not an error */
		return task_good(t);
	if (len < STPG_HEADER || len % STPG_GROUP != 0 || len > BUF_SMALL)
		return sense_fail(t, KEY_ILLEGAL_REQUEST,
				  ASC_PARAM_LIST_LENGTH);
	return task_want_params(t, len);
}

static bool may_be_set(uint8_t state)
{
	return state <= SCSI_ACCESS_UNAVAILABLE;
}

/* All groups, before any is changed. Where the list is wrong; 0: nowhere. */
static uint32_t bad_group(const struct scsi_device *d, const uint8_t *p,
			  uint32_t len)
{
	for (uint32_t at = STPG_HEADER; at < len; at += STPG_GROUP) {
		if (!may_be_set(p[at] & 0x0f))
			return at;
		if (find_port(d, load_be16(p + at + 2)) < 0)
			return at + 2;
	}
	return 0;
}

static enum scsi_step groups_set(struct scsi_task *t)
{
	if (t->scratch[0] != 0)
		return sense_param(t, (uint16_t)t->scratch[0],
				   t->scratch[0] % STPG_GROUP == 0 ? 3 : 7);
	return task_good(t);
}

static void on_main(struct mail *mail)
{
	struct scsi_task *t = container_of(mail, struct scsi_task, mail);
	struct scsi_device *d = t->nexus->device;
	const uint8_t *p = t->iov[0].iov_base;
	uint32_t len = t->data_out_len;

	t->scratch[0] = bad_group(d, p, len);
	if (t->scratch[0] == 0) {
		for (uint32_t at = STPG_HEADER; at < len; at += STPG_GROUP)
			set_state(d, find_port(d, load_be16(p + at + 2)),
				  p[at] & 0x0f, CHANGED_EXPLICIT);
	}
	if (t->scratch[0] != 0 || !d->access_changed) {
		t->mail.run = on_return;
		mail_post(t->nexus->reactor, &t->mail);
		return;
	}
	list_init(&t->waiter.link);
	list_push_back(&d->access_waiters, &t->waiter.link);
	d->access_asker = t->nexus;
	device_start_ports(d);
}

enum scsi_step exec_set_port_groups(struct scsi_task *t, uint32_t len)
{
	if (len < t->data_out_len)
		return sense_fail(t, KEY_ILLEGAL_REQUEST,
				  ASC_PARAM_LIST_LENGTH);
	t->state = SCSI_TASK_RUNNING;
	t->resume = groups_set;
	t->mail.run = on_main;
	mail_post(reactors_main(t->view->lun->server->set), &t->mail);
	return SCSI_PENDING;
}
