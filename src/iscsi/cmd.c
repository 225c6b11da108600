/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/assert.h"
#include "base/bytes.h"
#include "base/log.h"
#include "iscsi/conn.h"

/*
 * SCSI Command (RFC 7143, 11.3) to task and back: Data-In and SCSI Response
 * (11.4, 11.7). Data-out is in data_out.c.
 */

static unsigned int hash_of(uint32_t itt)
{
	return (itt ^ itt >> 8 ^ itt >> 16) & (CMD_HASH_SIZE - 1);
}

struct cmd *session_find_cmd(struct session *s, uint32_t itt)
{
	struct cmd *cmd = s->hash[hash_of(itt)];

	while (cmd && cmd->itt != itt)
		cmd = cmd->hash_next;
	return cmd;
}

static void hash_add(struct session *s, struct cmd *cmd)
{
	struct cmd **slot = &s->hash[hash_of(cmd->itt)];

	cmd->hash_next = *slot;
	*slot = cmd;
	cmd->hashed = true;
}

/*
 * The command is over for the initiator (its final PDU is being built, or it
 * gets none): its tag may come again, and the window opens.
 */
static void retire(struct cmd *cmd)
{
	struct session *s = cmd->conn->session;
	struct cmd **p;

	if (!cmd->hashed)
		return;
	cmd->hashed = false;
	p = &s->hash[hash_of(cmd->itt)];
	while (*p != cmd)
		p = &(*p)->hash_next;
	*p = cmd->hash_next;
	if (cmd->immediate)
		s->nimmediate--;
	else
		s->window_used--;
}

void cmd_free(struct cmd *cmd)
{
	struct conn *c = cmd->conn;

	ASSERT(!list_linked(&cmd->tx.link));
	ASSERT(!cmd->receiving || c->state == CONN_CLOSING);
	retire(cmd);
	if (list_linked(&cmd->r2t_tx.link))
		list_remove(&cmd->r2t_tx.link);
	if (c->now.cmd == cmd)
		c->now.cmd = NULL;
	list_remove(&cmd->link);
	scsi_task_release(&cmd->task);
	slab_put(&c->core->cmds, cmd);
	if (c->state == CONN_CLOSING)
		conn_try_reap(c);
}

static void set_in_len(struct cmd *cmd)
{
	const struct scsi_task *task = &cmd->task;

	cmd->in_len = MIN(task->data_in_len, task->edtl_in);
	if (task->status != SCSI_GOOD && task->status != SCSI_CONDITION_MET)
		cmd->in_len = 0;
}

void cmd_complete(struct cmd *cmd)
{
	cmd->wants_data = false;
	set_in_len(cmd);
	tx_queue(cmd->conn, &cmd->tx);
}

/* RFC 7143, 11.4.2: while data from the initiator is still expected, the
 * response waits for the Data-Out with the F bit. */
void cmd_complete_early(struct cmd *cmd)
{
	const struct session *s = cmd->conn->session;

	if ((cmd->flags & FLAG_FINAL) || s->params.initial_r2t) {
		cmd_complete(cmd);
		return;
	}
	cmd->wants_data = false;
	cmd->waits_final = true;
}

/* An aborted command, or one whose connection ends, at a moment when nothing
 * else refers to it. */
static void drop(struct cmd *cmd)
{
	if (cmd->task.aborted && cmd->conn->state == CONN_FULL &&
	    cmd->task.status == SCSI_TASK_ABORTED)
		cmd_complete(cmd);
	else
		cmd_free(cmd);
}

/* ---- What the device server tells. */

static void task_done(struct scsi_task *task)
{
	struct cmd *cmd = container_of(task, struct cmd, task);

	if (!task->aborted && cmd->conn->orphaned)
		return; /* until somebody adopts it */
	/* RFC 7143, 11.15: nothing follows the Logout Response. */
	if (task->aborted || cmd->conn->state != CONN_FULL)
		drop(cmd);
	else
		cmd_complete(cmd);
}

static void task_data_ready(struct scsi_task *task)
{
	struct cmd *cmd = container_of(task, struct cmd, task);
	struct conn *c = cmd->conn;

	cmd->waits_buffers = false;
	if (c->state == CONN_CLOSING)
		return;
	if (c->now.cmd == cmd) {
		conn_place(c, task->iov, task->iovcnt, c->now.offset,
			   c->now.len);
		conn_set_paused(c, &c->paused_buffers, false);
		return;
	}
	data_out_solicit(cmd);
}

static void task_aborted(struct scsi_task *task)
{
	struct cmd *cmd = container_of(task, struct cmd, task);
	struct conn *c = cmd->conn;

	cmd->dead = true;
	if (list_linked(&cmd->r2t_tx.link))
		list_remove(&cmd->r2t_tx.link);
	if (c->orphaned && c->released) {
		cmd_free(cmd);
		return;
	}
	if (c->state == CONN_CLOSING)
		return; /* cmds_cancel() finds it */
	if (cmd->receiving) {
		/* The kernel may be writing into the buffers. */
		if (cmd->direct) {
			timer_start(c->core->reactor, &c->abort_timer,
				    ABORT_MS_MAX);
			return;
		}
		pdu_rx_displace(&c->rx);
		cmd->receiving = false;
		c->now.cmd = NULL;
		if (c->paused_buffers)
			conn_set_paused(c, &c->paused_buffers, false);
	}
	drop(cmd);
}

static const struct scsi_task_ops cmd_task_ops = {
	.done = task_done,
	.data_ready = task_data_ready,
	.aborted = task_aborted,
};

void cmds_cancel(struct conn *c)
{
	struct cmd *cmd, *tmp;

	list_for_each_safe(cmd, tmp, &c->cmds, link) {
		cmd->receiving = false;
		cmd->direct = false;
		if (cmd->dead || scsi_task_cancel(&cmd->task) == SCSI_DONE)
			cmd_free(cmd);
	}
}

/* ---- A command comes in. */

/*
 * The CDB: 16 bytes of the header, and what an Extended CDB AHS adds; the
 * read length of a bidirectional command (RFC 7143, 11.2.2). False: malformed.
 */
static bool parse_ahs(struct conn *c, struct scsi_task *task)
{
	const uint8_t *data;
	uint32_t cursor = 0, len;
	uint8_t type;
	int r;

	task->cdb_len = 16;
	memcpy(task->cdb, c->rx.bhs + BHS_CDB, 16);
	if (c->rx.ahs_len == 0)
		return true;
	while ((r = ahs_next(c->rx.ahs, c->rx.ahs_len, &cursor, &type, &data,
			     &len)) == 1) {
		if (type == AHS_EXTENDED_CDB) {
			/* A reserved byte, then the CDB from byte 16 on. */
			if (len < 2 || task->cdb_len != 16 ||
			    len - 1 > SCSI_CDB_MAX - 16)
				return false;
			memcpy(task->cdb + 16, data + 1, len - 1);
			task->cdb_len = (uint16_t)(16 + len - 1);
		} else if (type == AHS_BIDI_READ_LENGTH) {
			if (len != 5)
				return false;
			task->edtl_in = load_be32(data + 1);
		} else {
			return false;
		}
	}
	return r == 0;
}

/* A slab without a free command: the initiator shall try again. */
static void send_task_set_full(struct conn *c)
{
	struct control_pdu *pdu =
		control_pdu_new(ISCSI_SCSI_RESPONSE, FLAG_FINAL, 0);

	if (pdu) {
		memcpy(pdu->bhs + BHS_ITT, c->rx.bhs + BHS_ITT, 4);
		pdu->bhs[BHS_STATUS] = SCSI_TASK_SET_FULL;
	}
	control_pdu_queue(c, pdu);
}

/* What is wrong with the command's PDU itself; 0: nothing. */
static enum reject_reason command_fault(struct conn *c)
{
	const uint8_t *bhs = c->rx.bhs;
	uint32_t itt = load_be32(bhs + BHS_ITT);

	if (itt == RESERVED_TAG)
		return REJECT_INVALID_FIELD;
	if (session_find_cmd(c->session, itt))
		return REJECT_TASK_IN_PROGRESS;
	/* 11.3.1: F is 0 only when unsolicited Data-Out follows. */
	if (!(bhs[BHS_FLAGS] & (FLAG_FINAL | CMD_FLAG_WRITE)))
		return REJECT_INVALID_FIELD;
	if ((bhs[BHS_OPCODE] & ISCSI_IMMEDIATE) &&
	    c->session->nimmediate >= IMMEDIATE_MAX)
		return REJECT_IMMEDIATE;
	return 0;
}

static struct cmd *cmd_new(struct conn *c)
{
	const uint8_t *bhs = c->rx.bhs;
	struct cmd *cmd = slab_get(&c->core->cmds);
	struct scsi_task *task;

	if (!cmd)
		return NULL;
	task = &cmd->task;
	/* All but the task, which is large: its owner sets what it needs. */
	memset(cmd, 0, offsetof(struct cmd, task));
	cmd->conn = c;
	list_init(&cmd->link);
	list_init(&cmd->tx.link);
	list_init(&cmd->r2t_tx.link);
	cmd->tx.kind = TX_COMMAND;
	cmd->r2t_tx.kind = TX_R2T;
	cmd->itt = load_be32(bhs + BHS_ITT);
	cmd->cmdsn = load_be32(bhs + BHS_CMDSN);
	cmd->edtl = load_be32(bhs + BHS_EDTL);
	cmd->flags = bhs[BHS_FLAGS];
	cmd->immediate = bhs[BHS_OPCODE] & ISCSI_IMMEDIATE;

	task->ops = &cmd_task_ops;
	task->nexus = &c->session->nexus;
	task->lun = load_be64(bhs + BHS_LUN);
	task->tag = cmd->itt;
	task->edtl_out = cmd->flags & CMD_FLAG_WRITE ? cmd->edtl : 0;
	task->edtl_in = 0;
	task->attr = cmd->flags & CMD_ATTR_MASK;
	/* RFC 7144, 5: the initiator may say so from level 2 on. */
	task->priority = c->session->params.protocol_level >= 2
				 ? bhs[BHS_RESPONSE] & CMD_PRIORITY_MASK
				 : 0;
	task->stable_data = c->params.data_digest;
	if (!parse_ahs(c, task)) {
		slab_put(&c->core->cmds, cmd);
		conn_reject(c, REJECT_INVALID_FIELD);
		return NULL;
	}
	if ((cmd->flags & CMD_FLAG_READ) && !(cmd->flags & CMD_FLAG_WRITE))
		task->edtl_in = cmd->edtl;
	else if (!(cmd->flags & CMD_FLAG_READ))
		task->edtl_in = 0;
	return cmd;
}

/* The immediate data, and what the F bit says, against what was negotiated.
 * 0, or the additional sense code to fail with (RFC 7143, 11.4.7.2). */
static uint16_t unsolicited_fault(const struct conn *c, const struct cmd *cmd)
{
	const struct session_params *p = &c->session->params;
	uint32_t len = c->rx.data_len;

	if (len > 0 && (!p->immediate_data || !(cmd->flags & CMD_FLAG_WRITE)))
		return 0x0c0c;
	if (!(cmd->flags & FLAG_FINAL) && p->initial_r2t)
		return 0x0c0c;
	if (len > p->first_burst_length || len > cmd->edtl)
		return 0x0c0d;
	return 0;
}

static void want_data(struct conn *c, struct cmd *cmd)
{
	struct scsi_task *task = &cmd->task;
	uint16_t fault = unsolicited_fault(c, cmd);

	cmd->wants_data = true;
	cmd->waits_buffers = task->iovcnt == 0;
	cmd->out_len = MIN(task->edtl_out, task->data_out_len);
	if (fault) {
		data_out_fail(cmd, fault);
		return;
	}
	cmd->unsol_open = !(cmd->flags & FLAG_FINAL);
	cmd->unsol_limit =
		MIN(c->session->params.first_burst_length, cmd->edtl);
	c->now.r2t = NULL;
	cmd_receive(c, cmd, 0, c->rx.data_len);
}

void cmd_header(struct conn *c)
{
	enum reject_reason fault = command_fault(c);
	struct session *s = c->session;
	struct cmd *cmd;

	c->now.cmd = NULL;
	if (fault) {
		conn_reject(c, fault);
		return;
	}
	cmd = cmd_new(c);
	if (!cmd) {
		if (c->now.verdict != RX_REJECT) {
			c->now.verdict = RX_DISCARD;
			send_task_set_full(c);
		}
		return;
	}
	hash_add(s, cmd);
	list_push_back(&c->cmds, &cmd->link);
	if (cmd->immediate)
		s->nimmediate++;
	else
		s->window_used++;
	c->core->commands++;

	switch (scsi_task_start(&cmd->task)) {
	case SCSI_DONE:
		cmd_complete_early(cmd);
		break;
	case SCSI_PENDING:
		break;
	case SCSI_WANT_DATA:
		want_data(c, cmd);
		break;
	}
}

/* ---- Its data. */

/*
 * May the connection stop until there are buffers? Not when others of its
 * commands have, or will have, buffers for data that could then not come: they
 * would not give them back, and everybody would wait for ever.
 */
static bool may_pause(const struct conn *c, const struct cmd *cmd)
{
	const struct cmd *other;

	if (c->replay)
		return false; /* held data cannot wait once more */
	list_for_each(other, &c->cmds, link) {
		if (other != cmd && other->wants_data)
			return false;
	}
	return true;
}

/* No room for what comes now: BUSY, when the last unasked data has come. */
static void no_room(struct conn *c, struct cmd *cmd)
{
	bool more = c->now.r2t == NULL && !(c->rx.bhs[BHS_FLAGS] & FLAG_FINAL);

	c->now.verdict = RX_DISCARD;
	c->now.cmd = NULL;
	cmd->receiving = false;
	data_out_refuse(cmd, more);
}

void cmd_receive(struct conn *c, struct cmd *cmd, uint32_t offset, uint32_t len)
{
	/* What the CDB does not ask for has no place: it is discarded. */
	uint32_t keep =
		offset < cmd->out_len ? MIN(len, cmd->out_len - offset) : 0;

	c->now.cmd = cmd;
	c->now.offset = offset;
	c->now.len = keep;
	cmd->receiving = true;
	if (len == 0 || keep == 0)
		return;
	if (!cmd->waits_buffers) {
		conn_place(c, cmd->task.iov, cmd->task.iovcnt, offset, keep);
	} else if (may_pause(c, cmd)) {
		conn_set_paused(c, &c->paused_buffers, true);
	} else {
		no_room(c, cmd);
	}
}

bool cmd_received(struct conn *c, struct cmd *cmd, bool digest_bad)
{
	cmd->receiving = false;
	cmd->direct = false;
	if (cmd->dead) {
		timer_stop(c->core->reactor, &c->abort_timer);
		drop(cmd);
		return false;
	}
	if (digest_bad) {
		/* RFC 7143, 7.8: Reject; at level 0 the task ends with it, from
		 * level 1 on the data is asked for again. */
		conn_send_reject(c, REJECT_DATA_DIGEST, c->rx.bhs);
		if (!recovers_data(c->session))
			data_out_fail(cmd, 0x4705);
		return recovers_data(c->session);
	}
	return true;
}

void cmd_payload(struct conn *c, bool digest_bad)
{
	struct cmd *cmd = take(&c->now.cmd);

	if (!cmd) {
		if (digest_bad)
			conn_send_reject(c, REJECT_DATA_DIGEST, c->rx.bhs);
		return;
	}
	if (!cmd_received(c, cmd, digest_bad))
		return;
	cmd->unsol_done = c->rx.data_len;
	cmd->unsol_broken = digest_bad;
	if (!digest_bad)
		cmd->out_done = MIN(c->rx.data_len, cmd->out_len);
	if (cmd->unsol_open && c->rx.data_len >= cmd->unsol_limit)
		cmd->unsol_open = false;
	data_out_solicit(cmd);
}

void cmd_execute(struct cmd *cmd)
{
	cmd->wants_data = false;
	if (scsi_task_execute(&cmd->task, cmd->out_done) == SCSI_DONE)
		cmd_complete(cmd);
}

/* ---- Responses. */

/* Residual count and its flags (RFC 7143, 11.4.5). */
static uint8_t residual(const struct cmd *cmd, uint32_t *ret_count)
{
	const struct scsi_task *task = &cmd->task;
	bool out = cmd->flags & CMD_FLAG_WRITE;
	uint32_t room = cmd->edtl, asked;

	if (out)
		asked = task->data_out_len > 0 ? task->data_out_len
					       : task->data_in_len;
	else
		asked = task->data_in_len > 0 ? task->data_in_len
					      : task->data_out_len;
	if (!(cmd->flags & (CMD_FLAG_READ | CMD_FLAG_WRITE)))
		room = 0;
	/* Data in the other direction than announced was not moved at all. */
	if (asked > 0 && room > 0 &&
	    (out ? task->data_out_len == 0 : task->data_in_len == 0)) {
		*ret_count = room;
		return RSP_FLAG_UNDERFLOW;
	}
	if (task->status == SCSI_CHECK_CONDITION && !out)
		asked = 0;
	if (asked == room) {
		*ret_count = 0;
		return 0;
	}
	*ret_count = asked > room ? asked - room : room - asked;
	return asked > room ? RSP_FLAG_OVERFLOW : RSP_FLAG_UNDERFLOW;
}

static void build_response(struct conn *c, struct cmd *cmd, struct tx_batch *b)
{
	struct scsi_task *task = &cmd->task;
	struct iovec iov[2];
	uint32_t count = 0;
	uint8_t *bhs;

	bhs = tx_begin(c, b, ISCSI_SCSI_RESPONSE, FLAG_FINAL);
	bhs[BHS_FLAGS] |= residual(cmd, &count);
	bhs[BHS_RESPONSE] = ISCSI_RESPONSE_COMPLETED;
	bhs[BHS_STATUS] = task->status;
	if (c->session->params.protocol_level >= 2)
		store_be16(bhs + BHS_STATUS_QUALIFIER, task->status_qualifier);
	store_be32(bhs + BHS_ITT, cmd->itt);
	/* 11.4.10: SNACK Tag. */
	store_be32(bhs + BHS_TTT, cmd->snack_tag);
	store_be32(bhs + BHS_STATSN, cmd->statsn);
	/* 11.4.8: ExpDataSN counts Data-In PDUs, not R2Ts. */
	store_be32(bhs + BHS_DATASN, cmd->datasn);
	store_be32(bhs + BHS_RESIDUAL, count);
	if (task->sense_len == 0) {
		tx_end(c, b, NULL, 0, 0, 0);
		return;
	}
	store_be16(cmd->sense_head, task->sense_len);
	iov[0] = (struct iovec){cmd->sense_head, 2};
	iov[1] = (struct iovec){task->sense, task->sense_len};
	tx_end(c, b, iov, 2, 0, 2u + task->sense_len);
}

static void build_data_in(struct conn *c, struct cmd *cmd, struct tx_batch *b,
			  bool last, uint32_t len)
{
	struct scsi_task *task = &cmd->task;
	bool status = last && task->sense_len == 0 && cmd->snack_tag == 0;
	uint32_t count = 0;
	uint8_t *bhs;

	bhs = tx_begin(c, b, ISCSI_DATA_IN, 0);
	cmd->burst_sent += len;
	if (last || cmd->burst_sent == c->session->params.max_burst_length) {
		bhs[BHS_FLAGS] = FLAG_FINAL;
		cmd->burst_sent = 0;
	}
	if (status) {
		bhs[BHS_FLAGS] |= DATA_IN_FLAG_STATUS | residual(cmd, &count);
		bhs[BHS_STATUS] = task->status;
		store_be32(bhs + BHS_STATSN, cmd->statsn);
		store_be32(bhs + BHS_RESIDUAL, count);
	}
	store_be32(bhs + BHS_ITT, cmd->itt);
	store_be32(bhs + BHS_TTT, RESERVED_TAG);
	store_be32(bhs + BHS_DATASN, cmd->datasn++);
	store_be32(bhs + BHS_BUFFER_OFFSET, cmd->in_sent);
	tx_end(c, b, task->iov, task->iovcnt, cmd->in_sent, len);
	cmd->in_sent += len;
}

/* How many iovecs the data of its next PDU can take: sense and its length, or
 * all the pieces that the data lies in. */
unsigned int cmd_iovs(const struct cmd *cmd)
{
	return cmd->in_sent < cmd->in_len ? MAX(cmd->task.iovcnt, 2u) : 2;
}

/* The status gets its number, if it does not have one already. */
static void give_statsn(struct cmd *cmd)
{
	retire(cmd);
	if (cmd->status_sent)
		return;
	cmd->status_sent = true;
	cmd->statsn = cmd->tx.statsn = cmd->conn->statsn++;
}

/* Length of the Data-In PDU that begins at byte @sent of the data, when
 * @burst bytes of its sequence were sent before it. */
static uint32_t data_in_len(const struct cmd *cmd, uint32_t sent,
			    uint32_t burst)
{
	const struct conn *c = cmd->conn;
	uint32_t len =
		MIN(cmd->in_len - sent, c->params.max_xmit_data_segment_length);

	return MIN(len, c->session->params.max_burst_length - burst);
}

/* As if the next Data-In had been sent. */
static void pass_data_in(struct cmd *cmd)
{
	uint32_t len = data_in_len(cmd, cmd->in_sent, cmd->burst_sent);

	cmd->in_sent += len;
	cmd->burst_sent += len;
	if (cmd->burst_sent == cmd->conn->session->params.max_burst_length)
		cmd->burst_sent = 0;
}

/* The next PDU of a command's response. */
void cmd_build(struct cmd *cmd, struct tx_batch *b, bool *ret_last)
{
	struct conn *c = cmd->conn;
	uint32_t left = cmd->in_len - cmd->in_sent, len;
	bool data_last;

	if (left == 0) {
		give_statsn(cmd);
		build_response(c, cmd, b);
		*ret_last = true;
		return;
	}
	len = data_in_len(cmd, cmd->in_sent, cmd->burst_sent);
	data_last = len == left;
	*ret_last =
		data_last && cmd->task.sense_len == 0 && cmd->snack_tag == 0;
	/* Before the header is built: it shows the window. */
	if (*ret_last)
		give_statsn(cmd);
	build_data_in(c, cmd, b, data_last, len);
}

/* The answer from the PDU with number @datasn on: on another connection. */
void cmd_restart(struct cmd *cmd, uint32_t datasn)
{
	uint32_t sent = cmd->datasn;

	cmd->wants_data = false;
	set_in_len(cmd);
	cmd->in_sent = cmd->burst_sent = 0;
	for (cmd->datasn = 0; cmd->datasn < MIN(datasn, sent); cmd->datasn++)
		pass_data_in(cmd);
	/* All of the data has come: then the status alone. */
	tx_queue(cmd->conn, &cmd->tx);
}

/* ---- Once more. */

bool cmd_rebuild_data(struct cmd *cmd, uint32_t datasn, struct tx_batch *b)
{
	uint32_t sent = cmd->in_sent, burst = cmd->burst_sent;
	uint32_t next = cmd->datasn, len;
	bool last;

	if (datasn >= next)
		return false;
	/* The lengths follow from the parameters: walk to it again. */
	cmd->in_sent = cmd->burst_sent = 0;
	for (cmd->datasn = 0; cmd->datasn < datasn; cmd->datasn++) {
		pass_data_in(cmd);
	}
	len = data_in_len(cmd, cmd->in_sent, cmd->burst_sent);
	last = cmd->in_sent + len == cmd->in_len;
	build_data_in(cmd->conn, cmd, b, last, len);
	cmd->in_sent = sent;
	cmd->burst_sent = burst;
	cmd->datasn = next;
	return true;
}

void cmd_rebuild_status(struct cmd *cmd, struct tx_batch *b)
{
	/* Collapsed into the last Data-In it comes with that again. */
	if (cmd->in_len == 0 || cmd->task.sense_len > 0 || cmd->snack_tag ||
	    !cmd_rebuild_data(cmd, cmd->datasn - 1, b))
		build_response(cmd->conn, cmd, b);
}
