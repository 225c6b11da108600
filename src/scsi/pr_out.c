/* SPDX-License-Identifier: BSD-3-Clause */
/* PERSISTENT RESERVE OUT (SPC-4, 6.16): its list, and the change. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "scsi/home.h"
#include "scsi/reserve.h"
#include "scsi/task_priv.h"

#define LIST_LEN       24u /* 6.16.3 */
#define LIST_SPEC_I_PT 0x08
#define LIST_ALL_TG_PT 0x04
#define LIST_APTPL     0x01
#define MOVE_UNREG     0x02 /* byte 17, 6.16.4 */
#define MOVE_APTPL     0x01
#define ID_PORT	       0x45 /* 7.6.4.6: format 01b, iSCSI */
#define ID_MIN	       24u  /* 7.6.4: TransportIDs are no shorter */
#define ID_SEPARATOR   ",i,0x"

static const uint8_t *list_of(const struct scsi_task *t)
{
	return t->own_buffers ? t->iov_many[0].iov_base : t->iov_one.iov_base;
}

static enum pr_action action_of(const struct scsi_task *t)
{
	return (enum pr_action)(t->cdb[1] & 0x1f);
}

/* ---- TransportIDs. */

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (uint8_t)tolower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* 12 hexadecimal digits and the end. */
static bool parse_isid(const char *text, uint8_t *isid)
{
	if (strlen(text) != 12)
		return false;
	for (int i = 0; i < 6; i++) {
		int high = hex_digit((uint8_t)text[2 * i]);
		int low = hex_digit((uint8_t)text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		isid[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

/*
 * An iSCSI initiator port: "name,i,0xISID" with its NUL inside the length it
 * says. Returns its bytes; 0: it is none.
 */
static uint32_t parse_id(const uint8_t *p, uint32_t left, struct pr_port *ret)
{
	const char *text = (const char *)p + 4, *at;
	uint32_t len;

	if (left < ID_MIN || p[0] != ID_PORT)
		return 0;
	len = 4u + load_be16(p + 2);
	if (len < ID_MIN || len > left || len % 4 != 0)
		return 0;
	if (memchr(text, '\0', len - 4) == NULL)
		return 0;
	at = strstr(text, ID_SEPARATOR);
	if (at == NULL || at == text || at - text > ISCSI_NAME_MAX)
		return 0;
	memset(ret->initiator, 0, sizeof(ret->initiator));
	memcpy(ret->initiator, text, (size_t)(at - text));
	str_lower(ret->initiator);
	return parse_isid(at + strlen(ID_SEPARATOR), ret->isid) ? len : 0;
}

/* ---- What the list says; each ends the task, or SCSI_PENDING. */

/* A request with the ports it names, which outlives the list. */
struct pr_order {
	struct pr_request req;
	struct pr_port others[PR_REGISTRANTS_MAX];
};

/* 6.16.3: the additional length, then TransportIDs. */
static enum scsi_step parse_others(struct scsi_task *t, struct pr_order *o,
				   uint32_t len)
{
	const uint8_t *p = list_of(t);
	uint32_t at = LIST_LEN + 4, n;

	if (len < at || load_be32(p + LIST_LEN) != len - at)
		return sense_fail(t, KEY_ILLEGAL_REQUEST,
				  ASC_PARAM_LIST_LENGTH);
	for (; at < len; at += n) {
		struct pr_port *port = &o->others[o->req.nothers];

		if (o->req.nothers == PR_REGISTRANTS_MAX)
			return sense_fail(t, KEY_ILLEGAL_REQUEST,
					  ASC_INSUFFICIENT_REG);
		*port = o->req.self;
		n = parse_id(p + at, len - at, port);
		if (n == 0)
			return sense_param(t, (uint16_t)at, SENSE_NO_BIT);
		o->req.nothers++;
	}
	return SCSI_PENDING;
}

static enum scsi_step parse_list(struct scsi_task *t, struct pr_order *o,
				 uint32_t len)
{
	const uint8_t *p = list_of(t);
	bool registers = o->req.action == PR_REGISTER ||
			 o->req.action == PR_REGISTER_IGNORE;
	bool spec = p[20] & LIST_SPEC_I_PT;

	if (!spec && len != LIST_LEN)
		return sense_fail(t, KEY_ILLEGAL_REQUEST,
				  ASC_PARAM_LIST_LENGTH);
	/* 6.16.3: only REGISTER may name others. */
	if (spec && o->req.action != PR_REGISTER)
		return sense_param(t, 20, 3);
	/* No power loss is survived: PTPL_C is 0. */
	if (registers && (p[20] & LIST_APTPL))
		return sense_param(t, 20, 0);
	o->req.all_ports = registers && (p[20] & LIST_ALL_TG_PT);
	return spec ? parse_others(t, o, len) : SCSI_PENDING;
}

static bool port_exists(const struct device_view *dv, uint16_t tpgt)
{
	for (uint32_t i = 0; i < dv->nports; i++) {
		if (dv->ports[i] == tpgt)
			return true;
	}
	return false;
}

/* 6.16.4: REGISTER AND MOVE has a list of its own. */
static enum scsi_step parse_move(struct scsi_task *t, struct pr_order *o,
				 uint32_t len)
{
	const uint8_t *p = list_of(t);
	uint32_t id_len = load_be32(p + 20);

	if (id_len != len - LIST_LEN)
		return sense_fail(t, KEY_ILLEGAL_REQUEST,
				  ASC_PARAM_LIST_LENGTH);
	if (p[17] & MOVE_APTPL)
		return sense_param(t, 17, 0);
	o->req.unregister = p[17] & MOVE_UNREG;
	o->others[0] = o->req.self;
	o->others[0].tpgt = load_be16(p + 18);
	if (!port_exists(t->nexus->dv, o->others[0].tpgt))
		return sense_param(t, 18, SENSE_NO_BIT);
	if (parse_id(p + LIST_LEN, id_len, &o->others[0]) != id_len)
		return sense_param(t, LIST_LEN, SENSE_NO_BIT);
	o->req.nothers = 1;
	return SCSI_PENDING;
}

static enum scsi_step parse(struct scsi_task *t, struct pr_order *o,
			    uint32_t len)
{
	const uint8_t *p = list_of(t);

	o->req.action = action_of(t);
	o->req.type = t->cdb[2] & 0x0f;
	o->req.key = load_be64(p);
	o->req.action_key = load_be64(p + 8);
	o->req.others = o->others;
	nexus_port(t->nexus, &o->req.self);
	if (o->req.action == PR_MOVE)
		return parse_move(t, o, len);
	return parse_list(t, o, len);
}

/* ---- The change, at home, and its end. */

enum { PR_ORDER, PR_RESULT };

static bool change_table(struct scsi_task *t, struct lun_state *state,
			 enum ua_bit *ret_ua)
{
	struct pr_order *o = (struct pr_order *)(uintptr_t)t->scratch[PR_ORDER];
	struct lun *lun = t->view->lun;

	/* SPC-4, 5.13.3: not beside a RESERVE. */
	if (state->reserved != 0) {
		t->scratch[PR_RESULT] = PR_CONFLICT;
		return false;
	}
	t->scratch[PR_RESULT] = pr_apply(lun->pr, &o->req, &lun->pr_next);
	return t->scratch[PR_RESULT] == PR_OK;
}

static enum scsi_step changed(struct scsi_task *t)
{
	switch ((enum pr_result)t->scratch[PR_RESULT]) {
	case PR_OK:
	case PR_SAME:
		return task_good(t);
	case PR_CONFLICT:
		return task_status(t, SCSI_RESERVATION_CONFLICT);
	case PR_BAD_RELEASE:
		return sense_fail(t, KEY_ILLEGAL_REQUEST, ASC_INVALID_RELEASE);
	case PR_BAD_KEY:
		return sense_param(t, 8, SENSE_NO_BIT);
	case PR_BAD_OTHERS:
		return sense_param(t, action_of(t) == PR_MOVE ? 24 : 20,
				   SENSE_NO_BIT);
	case PR_FULL:
		return sense_fail(t, KEY_ILLEGAL_REQUEST, ASC_INSUFFICIENT_REG);
	case PR_NO_MEMORY:
		return task_status(t, SCSI_BUSY);
	}
	return task_status(t, SCSI_BUSY);
}

/* Does TYPE (and SCOPE) mean something to the action? */
static bool has_type(enum pr_action action)
{
	return action == PR_RESERVE || action == PR_RELEASE ||
	       action == PR_PREEMPT || action == PR_PREEMPT_ABORT;
}

enum scsi_step cmd_pr_out(struct scsi_task *t)
{
	uint32_t len = load_be32(t->cdb + 5);

	if (has_type(action_of(t))) {
		if (t->cdb[2] >> 4 != 0) /* LU_SCOPE only */
			return sense_cdb(t, 2, 7);
		if (!pr_type_valid(t->cdb[2] & 0x0f))
			return sense_cdb(t, 2, 3);
	}
	if (len < LIST_LEN || len > BUF_SMALL)
		return sense_fail(t, KEY_ILLEGAL_REQUEST,
				  ASC_PARAM_LIST_LENGTH);
	if (t->view->state.reserved != 0)
		return task_status(t, SCSI_RESERVATION_CONFLICT);
	return task_want_params(t, len);
}

enum scsi_step exec_pr_out(struct scsi_task *t, uint32_t len)
{
	struct pr_order *o;
	enum scsi_step step;

	if (len < t->data_out_len)
		return sense_fail(t, KEY_ILLEGAL_REQUEST,
				  ASC_PARAM_LIST_LENGTH);
	o = calloc(1, sizeof(*o)); /* freed with the task */
	if (o == NULL)
		return task_status(t, SCSI_BUSY);
	t->order = o;
	t->scratch[PR_ORDER] = (uintptr_t)o;
	step = parse(t, o, len);
	if (step != SCSI_PENDING)
		return step;
	return home_change(t, change_table, changed);
}
