/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/assert.h"
#include "base/bytes.h"
#include "iscsi/conn.h"

/*
 * Data-Out and R2T (RFC 7143, 4.2.4.2, 11.7, 11.8). Data comes in order:
 * DataPDUInOrder and DataSequenceInOrder are always Yes.
 */

/* The task ends with ABORTED COMMAND. */
void data_out_fail(struct cmd *cmd, uint16_t asc_ascq)
{
	if (list_linked(&cmd->r2t_tx.link))
		list_remove(&cmd->r2t_tx.link);
	cmd->unsol_open = false;
	scsi_task_fail(&cmd->task, asc_ascq);
	cmd_complete(cmd);
}

void data_out_refuse(struct cmd *cmd, bool more)
{
	cmd->unsol_open = false;
	scsi_task_refuse(&cmd->task);
	cmd->wants_data = false;
	if (more)
		cmd->waits_final = true; /* 11.4.2 */
	else
		cmd_complete(cmd);
}

/* An R2T for @len bytes from @offset on. */
static void solicit(struct cmd *cmd, struct r2t *r, uint32_t offset,
		    uint32_t len)
{
	*r = (struct r2t){
		.ttt = conn_next_ttt(cmd->conn),
		.offset = offset,
		.len = len,
		.queued = true,
		.r2tsn = cmd->r2tsn++,
	};
	if (!list_linked(&cmd->r2t_tx.link))
		tx_queue(cmd->conn, &cmd->r2t_tx);
}

/* Asks for the next bursts, or runs the command when nothing is missing. */
void data_out_solicit(struct cmd *cmd)
{
	const struct session_params *p = &cmd->conn->session->params;
	uint32_t max = MIN(p->max_outstanding_r2t, R2T_OUTSTANDING_MAX);

	if (cmd->unsol_open || cmd->receiving || !cmd->wants_data ||
	    cmd->waits_buffers)
		return;
	if (cmd->nr2t == 0 && cmd->r2t_next < cmd->out_done)
		cmd->r2t_next = cmd->out_done;
	while (cmd->nr2t < max && cmd->r2t_next < cmd->out_len) {
		struct r2t *r = &cmd->r2t[cmd->nr2t++];

		solicit(cmd, r, cmd->r2t_next,
			MIN(cmd->out_len - cmd->r2t_next, p->max_burst_length));
		cmd->r2t_next += r->len;
	}
	if (cmd->out_done >= cmd->out_len)
		cmd_execute(cmd);
}

void r2t_build(struct cmd *cmd, struct tx_batch *b, bool *ret_last)
{
	struct conn *c = cmd->conn;
	struct r2t *r = NULL;
	uint32_t queued = 0;
	uint8_t *bhs;

	for (unsigned int i = 0; i < cmd->nr2t; i++) {
		if (!cmd->r2t[i].queued)
			continue;
		if (queued++ == 0)
			r = &cmd->r2t[i];
	}
	ASSERT(r);
	r->queued = false;
	*ret_last = queued == 1;

	bhs = tx_begin(c, b, ISCSI_R2T, FLAG_FINAL);
	store_be64(bhs + BHS_LUN, cmd->task.lun);
	store_be32(bhs + BHS_ITT, cmd->itt);
	store_be32(bhs + BHS_TTT, r->ttt);
	/* 11.8.4: the next StatSN, which is not used up. */
	store_be32(bhs + BHS_STATSN, c->statsn);
	store_be32(bhs + BHS_DATASN, r->r2tsn);
	store_be32(bhs + BHS_BUFFER_OFFSET, r->offset);
	store_be32(bhs + BHS_DESIRED_LENGTH, r->len);
	tx_end(c, b, NULL, 0, 0, 0);
}

static struct r2t *find_r2t(struct cmd *cmd, uint32_t ttt)
{
	for (unsigned int i = 0; i < cmd->nr2t; i++)
		if (cmd->r2t[i].ttt == ttt && !cmd->r2t[i].queued)
			return &cmd->r2t[i];
	return NULL;
}

/* A recovery R2T (RFC 7143, 7.1.4.1) for what did not come of @r. */
static void solicit_again(struct cmd *cmd, struct r2t *r)
{
	solicit(cmd, r, r->offset + r->received, r->len - r->received);
}

static void solicited_header(struct conn *c, struct cmd *cmd, struct r2t *r)
{
	const uint8_t *bhs = c->rx.bhs;
	uint32_t offset = load_be32(bhs + BHS_BUFFER_OFFSET);
	uint32_t datasn = load_be32(bhs + BHS_DATASN);
	uint32_t len = c->rx.data_len;
	bool final = bhs[BHS_FLAGS] & FLAG_FINAL;

	/* A PDU of the burst was lost. What is left of it is of no use: when
	 * it ends the rest is asked for again (7.1.4.1). */
	if (recovers_data(c->session) && !r->broken && datasn > r->datasn)
		r->broken = true;
	if (r->broken) {
		c->now.verdict = RX_DISCARD;
		if (final)
			solicit_again(cmd, r);
		return;
	}
	/* The burst has to come whole and in order (11.7.5, 11.8.4). */
	if (datasn != r->datasn || offset != r->offset + r->received ||
	    len > r->len - r->received ||
	    (final && len != r->len - r->received)) {
		c->now.verdict = RX_DISCARD;
		data_out_fail(cmd, 0x0c0d);
		return;
	}
	r->datasn++;
	c->now.r2t = r;
	cmd_receive(c, cmd, offset, len);
}

static void unsolicited_header(struct conn *c, struct cmd *cmd)
{
	const uint8_t *bhs = c->rx.bhs;
	uint32_t offset = load_be32(bhs + BHS_BUFFER_OFFSET);
	uint32_t datasn = load_be32(bhs + BHS_DATASN);
	uint32_t len = c->rx.data_len;

	if (!cmd->unsol_open) {
		c->now.verdict = RX_DISCARD;
		data_out_fail(cmd, 0x0c0c);
		return;
	}
	if (recovers_data(c->session) && datasn > cmd->unsol_datasn)
		cmd->unsol_broken = true;
	if (cmd->unsol_broken) {
		/* R2Ts will ask for it. */
		c->now.verdict = RX_DISCARD;
		if (bhs[BHS_FLAGS] & FLAG_FINAL) {
			cmd->unsol_open = false;
			data_out_solicit(cmd);
		}
		return;
	}
	if (datasn != cmd->unsol_datasn || offset != cmd->unsol_done ||
	    len > cmd->unsol_limit - cmd->unsol_done) {
		c->now.verdict = RX_DISCARD;
		data_out_fail(cmd, 0x0c0d);
		return;
	}
	cmd->unsol_datasn++;
	c->now.r2t = NULL;
	cmd_receive(c, cmd, offset, len);
}

void data_out_header(struct conn *c)
{
	const uint8_t *bhs = c->rx.bhs;
	uint32_t itt = load_be32(bhs + BHS_ITT);
	uint32_t ttt = load_be32(bhs + BHS_TTT);
	struct cmd *cmd = session_find_cmd(c->session, itt);
	struct r2t *r;

	c->now.cmd = NULL;
	if (!cmd && session_held_itt(c->session, itt)) {
		c->now.verdict = RX_HOLD;
		conn_collect(c);
		return;
	}
	if (cmd && cmd->waits_final && cmd->conn == c) {
		c->now.verdict = RX_DISCARD;
		if (ttt == RESERVED_TAG && (bhs[BHS_FLAGS] & FLAG_FINAL)) {
			cmd->waits_final = false;
			cmd_complete(cmd);
		}
		return;
	}
	/* Data of a task that has ended, or that was aborted: on its way when
	 * the task did, so it is nobody's fault. */
	if (!cmd || !cmd->wants_data || cmd->dead) {
		c->now.verdict = RX_DISCARD;
		return;
	}
	/* 4.2.2.1: a command's data keeps to the command's connection. */
	if (cmd->conn != c) {
		conn_reject(c, REJECT_PROTOCOL);
		return;
	}
	if (ttt == RESERVED_TAG) {
		unsolicited_header(c, cmd);
		return;
	}
	r = find_r2t(cmd, ttt);
	if (!r)
		conn_reject(c, REJECT_INVALID_FIELD);
	else
		solicited_header(c, cmd, r);
}

/* A burst is complete: the others move up. */
static void end_r2t(struct cmd *cmd, struct r2t *r)
{
	unsigned int i = (unsigned int)(r - cmd->r2t);

	for (; i + 1 < cmd->nr2t; i++)
		cmd->r2t[i] = cmd->r2t[i + 1];
	cmd->nr2t--;
}

void data_out_payload(struct conn *c, bool digest_bad)
{
	struct cmd *cmd = take(&c->now.cmd);
	struct r2t *r = c->now.r2t;
	uint32_t len = c->rx.data_len;

	if (!cmd) {
		if (digest_bad)
			conn_send_reject(c, REJECT_DATA_DIGEST, c->rx.bhs);
		return;
	}
	if (!cmd_received(c, cmd, digest_bad))
		return;
	if (r && digest_bad) {
		r->broken = true;
		if (c->rx.bhs[BHS_FLAGS] & FLAG_FINAL)
			solicit_again(cmd, r);
		return;
	}
	if (digest_bad) {
		cmd->unsol_broken = true;
		if (c->rx.bhs[BHS_FLAGS] & FLAG_FINAL)
			cmd->unsol_open = false;
		data_out_solicit(cmd);
		return;
	}
	if (r) {
		r->received += len;
		cmd->out_done += len;
		if (r->received == r->len)
			end_r2t(cmd, r);
	} else {
		cmd->unsol_done += len;
		cmd->out_done = MIN(cmd->unsol_done, cmd->out_len);
		if ((c->rx.bhs[BHS_FLAGS] & FLAG_FINAL) ||
		    cmd->unsol_done == cmd->unsol_limit)
			cmd->unsol_open = false;
	}
	data_out_solicit(cmd);
}
