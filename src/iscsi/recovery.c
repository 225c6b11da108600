/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "iscsi/conn.h"
#include "iscsi/server_priv.h"

/*
 * Error recovery within a connection (RFC 7143, 7.1.4.2): replies are kept
 * until the initiator's ExpStatSN passes them, and a SNACK (11.16) gets them
 * again.
 */

enum snack_type {
	SNACK_DATA_R2T = 0,
	SNACK_STATUS = 1,
	SNACK_DATA_ACK = 2,
	SNACK_R_DATA = 3,
};

#define SNACK_BEG_RUN	 40
#define SNACK_RUN_LENGTH 44

static void give_back(struct conn *c, struct tx_item *item)
{
	list_remove(&item->link);
	c->nunacked--;
	if (item->kind == TX_COMMAND) {
		if (!c->orphaned)
			cmd_free(container_of(item, struct cmd, tx));
		return;
	}
	control_pdu_free(c, container_of(item, struct control_pdu, tx), -1);
}

bool recovery_keep(struct conn *c, struct tx_item *item)
{
	struct control_pdu *pdu;

	if (c->state != CONN_FULL || !c->session || !recovers_data(c->session))
		return false;
	if (item->kind != TX_COMMAND && item->kind != TX_CONTROL)
		return false;
	if (item->kind == TX_CONTROL) {
		pdu = container_of(item, struct control_pdu, tx);
		/* What has no number of its own cannot be asked for. */
		if (pdu->login || pdu->no_statsn || pdu->sent)
			return false;
	}
	if (c->nunacked >= UNACKED_MAX && c->nresends == 0)
		give_back(c, list_first(&c->unacked, struct tx_item, link));
	list_push_back(&c->unacked, &item->link);
	c->nunacked++;
	return true;
}

void recovery_ack(struct conn *c, uint32_t expstatsn)
{
	/* What is being sent again stays until that is done. */
	if (c->nresends > 0)
		return;
	while (!list_empty(&c->unacked)) {
		struct tx_item *item =
			list_first(&c->unacked, struct tx_item, link);

		if (!sn_before(item->statsn, expstatsn))
			return;
		give_back(c, item);
	}
}

void recovery_drop(struct conn *c)
{
	while (!list_empty(&c->unacked))
		give_back(c, list_first(&c->unacked, struct tx_item, link));
}

/* A command whose answer was begun: still going, or kept. */
static struct cmd *answered_cmd(struct conn *c, uint32_t itt)
{
	struct cmd *cmd = session_find_cmd(c->session, itt);
	struct tx_item *item;

	if (cmd)
		return cmd->conn == c ? cmd : NULL;
	list_for_each(item, &c->unacked, link) {
		if (item->kind != TX_COMMAND)
			continue;
		cmd = container_of(item, struct cmd, tx);
		if (cmd->itt == itt)
			return cmd;
	}
	return NULL;
}

static void queue_resend(struct conn *c, uint32_t itt, uint32_t from,
			 uint32_t end)
{
	struct resend *r = calloc(1, sizeof(*r));

	if (!r) {
		conn_close(c, CLOSE_NO_MEMORY);
		return;
	}
	list_init(&r->tx.link);
	r->tx.kind = TX_RESEND;
	r->itt = itt;
	r->next = from;
	r->end = end;
	c->nresends++;
	tx_queue(c, &r->tx);
}

/* R2Ts that were not answered yet. False: one of the run never was. */
static bool resend_r2ts(struct cmd *cmd, uint32_t from, uint32_t end)
{
	bool any = false;

	if (end > cmd->r2tsn)
		return false;
	for (unsigned int i = 0; i < cmd->nr2t; i++) {
		struct r2t *r = &cmd->r2t[i];

		if (r->r2tsn < from || r->r2tsn >= end)
			continue;
		r->queued = true;
		any = true;
	}
	if (any && !list_linked(&cmd->r2t_tx.link))
		tx_queue(cmd->conn, &cmd->r2t_tx);
	return true;
}

static bool snack_data(struct conn *c, uint32_t itt, uint32_t from,
		       uint32_t count)
{
	struct cmd *cmd = answered_cmd(c, itt);
	uint32_t end;

	if (!cmd || load_be32(c->rx.bhs + BHS_TTT) != RESERVED_TAG)
		return false;
	if (cmd->wants_data) {
		end = count ? from + count : cmd->r2tsn;
		return end >= from && resend_r2ts(cmd, from, end);
	}
	end = count ? from + count : cmd->datasn;
	if (end < from || end > cmd->datasn || from >= cmd->datasn)
		return false;
	queue_resend(c, itt, from, end);
	return true;
}

static bool snack_status(struct conn *c, uint32_t from, uint32_t count)
{
	uint32_t end = count ? from + count : c->statsn;

	/* 11.16.1: only what was sent and not acknowledged. */
	if (sn_before(c->statsn, end) || !sn_before(from, end) ||
	    list_empty(&c->unacked))
		return false;
	queue_resend(c, RESERVED_TAG, from, end);
	return true;
}

/* 11.16.3: all the data again, in PDUs of the size that is in force now; then
 * the status, which names this request. */
static bool snack_r_data(struct conn *c, uint32_t itt, uint32_t from)
{
	struct cmd *cmd = answered_cmd(c, itt);
	uint32_t tag = load_be32(c->rx.bhs + BHS_TTT);

	if (!cmd || from != 0 || tag == 0 || tag == RESERVED_TAG ||
	    cmd->in_len == 0 || !cmd->status_sent)
		return false;
	if (!list_linked(&cmd->tx.link))
		return false;
	list_remove(&cmd->tx.link);
	c->nunacked--;
	cmd->snack_tag = tag;
	cmd->in_sent = cmd->burst_sent = cmd->datasn = 0;
	tx_queue(c, &cmd->tx);
	return true;
}

void snack_request(struct conn *c)
{
	const uint8_t *bhs = c->rx.bhs;
	uint32_t itt = load_be32(bhs + BHS_ITT);
	uint32_t from = load_be32(bhs + SNACK_BEG_RUN);
	uint32_t count = load_be32(bhs + SNACK_RUN_LENGTH);
	bool ok = false;

	/* Below level 1 nothing is kept. */
	if (recovers_data(c->session)) {
		switch (bhs[BHS_FLAGS] & 0x0f) {
		case SNACK_DATA_R2T:
			ok = snack_data(c, itt, from, count);
			break;
		case SNACK_STATUS:
			ok = snack_status(c, from, count);
			break;
		case SNACK_R_DATA:
			ok = snack_r_data(c, itt, from);
			break;
		case SNACK_DATA_ACK:
			/* The A bit is never set: nothing is to be
			 * acknowledged (11.7.2). */
			conn_send_reject(c, REJECT_INVALID_DATA_ACK, bhs);
			return;
		}
	}
	if (!ok)
		conn_send_reject(c, REJECT_SNACK, bhs);
}

static bool resend_data(struct conn *c, struct resend *r, struct tx_batch *b)
{
	struct cmd *cmd = answered_cmd(c, r->itt);

	return cmd && cmd_rebuild_data(cmd, r->next, b);
}

static bool resend_status(struct conn *c, struct resend *r, struct tx_batch *b)
{
	struct tx_item *item;

	list_for_each(item, &c->unacked, link) {
		if (sn_before(item->statsn, r->next))
			continue;
		if (!sn_before(item->statsn, r->end))
			return false;
		if (item->kind == TX_COMMAND)
			cmd_rebuild_status(container_of(item, struct cmd, tx),
					   b);
		else
			control_rebuild(
				c, container_of(item, struct control_pdu, tx),
				b);
		r->next = item->statsn;
		return true;
	}
	return false;
}

void resend_build(struct conn *c, struct resend *r, struct tx_batch *b,
		  bool *ret_last)
{
	bool sent = r->itt == RESERVED_TAG ? resend_status(c, r, b)
					   : resend_data(c, r, b);

	r->next++;
	/* What was acknowledged meanwhile needs no second copy. */
	*ret_last = !sent || !sn_before(r->next, r->end);
}

/* ---- Recovery of tasks on another connection (7.1.4.4, 7.2.2). */

bool orphans_wanted(const struct conn *c, enum close_reason reason)
{
	const struct session *s = c->session;

	if (!s || !recovers_tasks(s) || s->closing ||
	    s->params.default_time2retain == 0)
		return false;
	switch (reason) {
	case CLOSE_PEER:
	case CLOSE_RESET:
	case CLOSE_RECOVERY:
	case CLOSE_HEADER_DIGEST:
	case CLOSE_NOP_TIMEOUT:
	case CLOSE_CONN_REINSTATED:
		return true;
	case CLOSE_NONE:
	case CLOSE_LOGOUT:
	case CLOSE_LOGIN_FAILED:
	case CLOSE_LOGIN_TIMEOUT:
	case CLOSE_TOO_MANY:
	case CLOSE_NOT_LOGIN:
	case CLOSE_TOO_LONG:
	case CLOSE_PROTOCOL:
	case CLOSE_ABORT_TIMEOUT:
	case CLOSE_REINSTATED:
	case CLOSE_ADMIN:
	case CLOSE_SHUTDOWN:
	case CLOSE_NO_MEMORY:
	case CLOSE_REASON_COUNT:
		return false;
	}
	return false;
}

static void retain_expired(struct timer *t)
{
	struct conn *c = container_of(t, struct conn, timer);

	orphans_end(c);
}

/* The socket is gone, and nothing receives or sends any more. Control forgets
 * the connection, so that its CID is free; the tasks stay. */
void orphans_begin(struct conn *c)
{
	const struct session_params *p = &c->session->params;
	struct cmd *cmd, *tmp;

	list_for_each_safe(cmd, tmp, &c->cmds, link) {
		cmd->receiving = false;
		cmd->direct = false;
		if (cmd->dead)
			cmd_free(cmd);
	}
	server_conn_leaves(take(&c->record));
	timer_init(&c->timer, retain_expired);
	timer_start(c->core->reactor, &c->timer,
		    (p->default_time2wait + p->default_time2retain) * 1000ull);
}

void orphans_end(struct conn *c)
{
	if (!c->orphaned)
		return;
	c->orphaned = false;
	if (!c->released)
		return; /* conn_released() does the rest */
	timer_stop(c->core->reactor, &c->timer);
	c->inflight++;
	cmds_cancel(c);
	c->inflight--;
	conn_try_reap(c);
}

uint8_t orphan_find(struct conn *c, const uint8_t *bhs, struct cmd **ret_cmd)
{
	uint32_t itt = load_be32(bhs + BHS_TTT);
	struct cmd *cmd;
	struct conn *z;

	if (!recovers_tasks(c->session))
		return ISCSI_TMF_RSP_NO_REASSIGN;
	/* Also those whose status is out, but not acknowledged. */
	list_for_each(z, &c->session->conns, link) {
		list_for_each(cmd, &z->cmds, link) {
			if (cmd->itt != itt ||
			    cmd->task.lun != load_be64(bhs + BHS_LUN))
				continue;
			if (!z->orphaned || !z->released)
				return ISCSI_TMF_RSP_STILL_ALLEGIANT;
			*ret_cmd = cmd;
			return ISCSI_TMF_RSP_COMPLETE;
		}
	}
	return ISCSI_TMF_RSP_NO_TASK;
}

void cmd_adopt(struct conn *c, struct cmd *cmd, uint32_t expdatasn)
{
	struct conn *old = cmd->conn;
	bool same_size = old->params.max_xmit_data_segment_length ==
			 c->params.max_xmit_data_segment_length;

	list_remove(&cmd->link);
	list_push_back(&c->cmds, &cmd->link);
	cmd->conn = c;
	cmd->status_sent = false;
	if (cmd->wants_data) {
		/* What was asked for there is asked for here again. */
		cmd->nr2t = 0;
		cmd->unsol_open = false;
		cmd->r2t_next = cmd->out_done;
		data_out_solicit(cmd);
	} else if (cmd->task.state == SCSI_TASK_COMPLETE) {
		/* PDUs of another size cannot be counted from the middle. */
		cmd_restart(cmd, same_size ? expdatasn : 0);
	}
	if (list_empty(&old->cmds))
		orphans_end(old);
}
