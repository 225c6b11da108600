/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/bytes.h"
#include "iscsi/conn.h"
#include "iscsi/server_priv.h"

#include <stdlib.h>

/* Task Management Function Request and Response (RFC 7143, 11.5, 11.6). */

#define TMFS_MAX 32u /* under way in one session */

struct tmf {
	struct scsi_tmf scsi;
	struct conn *conn;
	uint32_t itt;
	uint8_t function; /* enum iscsi_tmf */
};

/* What SAM calls it; -1: not a function of the device server. */
static const int8_t scsi_functions[] = {
	[0] = -1,
	[ISCSI_TMF_ABORT_TASK] = SCSI_TMF_ABORT_TASK,
	[ISCSI_TMF_ABORT_TASK_SET] = SCSI_TMF_ABORT_TASK_SET,
	[ISCSI_TMF_CLEAR_ACA] = SCSI_TMF_CLEAR_ACA,
	[ISCSI_TMF_CLEAR_TASK_SET] = SCSI_TMF_CLEAR_TASK_SET,
	[ISCSI_TMF_LOGICAL_UNIT_RESET] = SCSI_TMF_LOGICAL_UNIT_RESET,
	[ISCSI_TMF_TARGET_WARM_RESET] = SCSI_TMF_TARGET_WARM_RESET,
	[ISCSI_TMF_TARGET_COLD_RESET] = SCSI_TMF_TARGET_COLD_RESET,
	[ISCSI_TMF_TASK_REASSIGN] = -1,
	[ISCSI_TMF_QUERY_TASK] = SCSI_TMF_QUERY_TASK,
	[ISCSI_TMF_QUERY_TASK_SET] = SCSI_TMF_QUERY_TASK_SET,
	[ISCSI_TMF_I_T_NEXUS_RESET] = SCSI_TMF_I_T_NEXUS_RESET,
	[ISCSI_TMF_QUERY_ASYNC_EVENT] = SCSI_TMF_QUERY_ASYNC_EVENT,
};

static const uint8_t iscsi_responses[] = {
	[SCSI_TMF_COMPLETE] = ISCSI_TMF_RSP_COMPLETE,
	[SCSI_TMF_SUCCEEDED] = ISCSI_TMF_RSP_SUCCEEDED,
	[SCSI_TMF_INCORRECT_LUN] = ISCSI_TMF_RSP_NO_LUN,
	[SCSI_TMF_REJECTED] = ISCSI_TMF_RSP_NOT_SUPPORTED,
};

static void cold_reset_sent(struct conn *c, struct control_pdu *pdu, int error)
{
	server_cold_reset(c->server, c->session);
}

static void respond_more(struct conn *c, uint32_t itt, uint8_t response,
			 uint32_t additional, bool cold_reset)
{
	struct control_pdu *pdu =
		control_pdu_new(ISCSI_TMF_RESPONSE, FLAG_FINAL, 0);

	if (pdu) {
		pdu->bhs[BHS_RESPONSE] = response;
		store_be32(pdu->bhs + BHS_ITT, itt);
		store_be24(pdu->bhs + BHS_ADDITIONAL, additional);
		if (cold_reset)
			pdu->sent = cold_reset_sent;
	}
	control_pdu_queue(c, pdu);
}

static void respond(struct conn *c, uint32_t itt, uint8_t response)
{
	respond_more(c, itt, response, 0, false);
}

/*
 * Commands that are over but for unsolicited data that was still to come: after
 * a function that ends all tasks of the logical unit it will not. Those that
 * came after the function are none of its business.
 */
static void end_waiting(struct session *s, const struct tmf *tmf)
{
	struct cmd *cmd, *tmp;
	struct conn *c;
	bool all = tmf->function == ISCSI_TMF_TARGET_WARM_RESET ||
		   tmf->function == ISCSI_TMF_TARGET_COLD_RESET ||
		   tmf->function == ISCSI_TMF_I_T_NEXUS_RESET;
	bool lun = tmf->function == ISCSI_TMF_ABORT_TASK_SET ||
		   tmf->function == ISCSI_TMF_CLEAR_TASK_SET ||
		   tmf->function == ISCSI_TMF_LOGICAL_UNIT_RESET;

	if ((!all && !lun) || tmf->scsi.response != SCSI_TMF_COMPLETE)
		return;
	list_for_each(c, &s->conns, link) {
		if (c->state == CONN_CLOSING)
			continue;
		list_for_each_safe(cmd, tmp, &c->cmds, link)
			if (cmd->waits_final &&
			    cmd->task.seq <= tmf->scsi.seq &&
			    (all || cmd->task.lun == tmf->scsi.lun))
				cmd_free(cmd);
	}
}

static void tmf_done(struct scsi_tmf *scsi)
{
	struct tmf *tmf = container_of(scsi, struct tmf, scsi);
	struct conn *c = tmf->conn;
	struct session *s = c->session;

	end_waiting(s, tmf);
	s->ntmfs--;
	c->inflight--;
	/* 11.6.1: a task that has its status by now was not aborted. */
	if (c->state != CONN_CLOSING && scsi->missed)
		respond(c, tmf->itt, ISCSI_TMF_RSP_NO_TASK);
	else if (c->state != CONN_CLOSING)
		respond_more(c, tmf->itt, iscsi_responses[scsi->response],
			     scsi->additional,
			     tmf->function == ISCSI_TMF_TARGET_COLD_RESET &&
				     scsi->response == SCSI_TMF_COMPLETE);
	free(tmf);
	conn_try_reap(c);
}

/*
 * The task that ABORT TASK names is not there (11.5.1): it is over; or, when
 * its number has not come yet, it shall never be.
 */
static uint8_t no_task(struct session *s, uint32_t refcmdsn)
{
	if (!sn_before(refcmdsn, s->expcmdsn) &&
	    !sn_before(session_maxcmdsn(s), refcmdsn)) {
		session_skip_cmdsn(s, refcmdsn);
		return ISCSI_TMF_RSP_COMPLETE;
	}
	return ISCSI_TMF_RSP_NO_TASK;
}

/* The command that ABORT TASK or QUERY TASK is about. False: there is none that
 * it could act on, and that has been answered. */
static bool find_task(struct conn *c, uint8_t function, struct cmd **ret_cmd)
{
	const uint8_t *bhs = c->rx.bhs;
	uint32_t itt = load_be32(bhs + BHS_ITT);
	bool abort = function == ISCSI_TMF_ABORT_TASK;
	struct session *s = c->session;
	struct cmd *cmd = session_find_cmd(s, load_be32(bhs + BHS_TTT));
	uint8_t response = ISCSI_TMF_RSP_NO_TASK;

	if (!cmd && abort) {
		response = no_task(s, load_be32(bhs + 32));
	} else if (cmd && list_linked(&cmd->tx.link)) {
		/* Its response is on the way: for SAM it is over. */
	} else if (cmd && cmd->task.lun == load_be64(bhs + BHS_LUN)) {
		if (!cmd->waits_final) {
			*ret_cmd = cmd;
			return true;
		}
		/* Nobody has heard of its end: so it may still be undone. */
		response = abort ? ISCSI_TMF_RSP_COMPLETE
				 : ISCSI_TMF_RSP_SUCCEEDED;
		if (abort)
			cmd_free(cmd);
	}
	respond(c, itt, response);
	return false;
}

void tmf_request(struct conn *c)
{
	const uint8_t *bhs = c->rx.bhs;
	uint8_t function = bhs[BHS_FLAGS] & 0x7f;
	uint32_t itt = load_be32(bhs + BHS_ITT);
	struct session *s = c->session;
	struct cmd *cmd = NULL;
	struct tmf *tmf;

	if (itt == RESERVED_TAG) {
		conn_send_reject(c, REJECT_INVALID_FIELD, bhs);
		return;
	}
	if (function == ISCSI_TMF_TASK_REASSIGN) {
		uint32_t expdatasn = load_be32(bhs + BHS_DATASN);

		respond(c, itt, orphan_find(c, bhs, &cmd));
		if (cmd)
			cmd_adopt(c, cmd, expdatasn);
		return;
	}
	if (function >= ARRAY_LEN(scsi_functions) ||
	    scsi_functions[function] < 0 ||
	    /* RFC 7144, 4: only when it was negotiated. */
	    (function > ISCSI_TMF_TASK_REASSIGN &&
	     s->params.protocol_level < 2)) {
		respond(c, itt, ISCSI_TMF_RSP_NOT_SUPPORTED);
		return;
	}
	if ((function == ISCSI_TMF_ABORT_TASK ||
	     function == ISCSI_TMF_QUERY_TASK) &&
	    !find_task(c, function, &cmd))
		return;
	if (s->ntmfs >= TMFS_MAX) {
		conn_send_reject(c, REJECT_OUT_OF_RESOURCES, bhs);
		return;
	}
	tmf = calloc(1, sizeof(*tmf));
	if (!tmf) {
		conn_send_reject(c, REJECT_OUT_OF_RESOURCES, bhs);
		return;
	}
	tmf->conn = c;
	tmf->itt = itt;
	tmf->function = function;
	tmf->scsi.nexus = &s->nexus;
	tmf->scsi.function = (enum scsi_tmf_function)scsi_functions[function];
	tmf->scsi.lun = load_be64(bhs + BHS_LUN);
	tmf->scsi.task = cmd ? &cmd->task : NULL;
	tmf->scsi.done = tmf_done;
	s->ntmfs++;
	c->inflight++;
	scsi_tmf_start(&tmf->scsi);
}
