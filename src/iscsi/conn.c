/* SPDX-License-Identifier: BSD-3-Clause */
#include "iscsi/conn.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/log.h"
#include "iscsi/login.h"
#include "iscsi/server_priv.h"

#include <stdlib.h>

/*
 * One row per request (RFC 7143, 11.2.1.2). header() runs when the header is
 * complete and says where the payload goes; payload() when that is complete.
 */
struct pdu_row {
	void (*header)(struct conn *c);
	void (*payload)(struct conn *c, bool digest_bad);
	bool cmdsn;	/* carries one */
	bool discovery; /* allowed in a discovery session */
};

static void no_header(struct conn *c)
{
}

static void tmf_payload(struct conn *c, bool digest_bad)
{
	tmf_request(c);
}

static void logout_payload(struct conn *c, bool digest_bad)
{
	logout_request(c);
}

static void snack_payload(struct conn *c, bool digest_bad)
{
	snack_request(c);
}

static const struct pdu_row pdu_rows[ISCSI_OPCODE_MASK + 1] = {
	[ISCSI_NOP_OUT] = {nop_header, nop_out, true, false},
	[ISCSI_SCSI_COMMAND] = {cmd_header, cmd_payload, true, false},
	[ISCSI_TMF_REQUEST] = {no_header, tmf_payload, true, false},
	[ISCSI_TEXT_REQUEST] = {conn_collect, text_request, true, true},
	[ISCSI_DATA_OUT] = {data_out_header, data_out_payload, false, false},
	[ISCSI_LOGOUT_REQUEST] = {no_header, logout_payload, true, true},
	[ISCSI_SNACK] = {no_header, snack_payload, false, false},
};

static const char *const close_texts[CLOSE_REASON_COUNT] = {
	[CLOSE_NONE] = "open",
	[CLOSE_PEER] = "closed by the initiator",
	[CLOSE_RESET] = "connection lost",
	[CLOSE_LOGOUT] = "logged out",
	[CLOSE_RECOVERY] = "logged out for recovery",
	[CLOSE_LOGIN_FAILED] = "login failed",
	[CLOSE_LOGIN_TIMEOUT] = "login took too long",
	[CLOSE_TOO_MANY] = "too many connections from this address",
	[CLOSE_NOT_LOGIN] = "not a login request",
	[CLOSE_TOO_LONG] = "data segment longer than allowed",
	[CLOSE_HEADER_DIGEST] = "header digest error",
	[CLOSE_PROTOCOL] = "protocol error",
	[CLOSE_NOP_TIMEOUT] = "no answer to NOP-In",
	[CLOSE_ABORT_TIMEOUT] = "data of an aborted task did not end",
	[CLOSE_REINSTATED] = "session reinstated",
	[CLOSE_CONN_REINSTATED] = "connection reinstated",
	[CLOSE_ADMIN] = "dropped by the administrator",
	[CLOSE_SHUTDOWN] = "the target shuts down",
	[CLOSE_NO_MEMORY] = "out of memory",
};

const char *close_reason_text(enum close_reason reason)
{
	return close_texts[reason];
}

/* ---- Life. */

static void login_expired(struct timer *t)
{
	conn_close(container_of(t, struct conn, timer), CLOSE_LOGIN_TIMEOUT);
}

static void abort_expired(struct timer *t)
{
	conn_close(container_of(t, struct conn, abort_timer),
		   CLOSE_ABORT_TIMEOUT);
}

struct conn *conn_create(struct iscsi_server *server, struct iscsi_core *core,
			 struct conn_record *record)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->server = server;
	c->core = core;
	c->record = record;
	list_init(&c->link);
	list_init(&c->cmds);
	list_init(&c->txq);
	list_init(&c->unacked);
	list_init(&c->batch_wait);
	list_init(&c->flush.link);
	c->flush.run = tx_flush;
	timer_init(&c->timer, login_expired);
	timer_init(&c->abort_timer, abort_expired);
	conn_params_default(&c->params);
	pdu_rx_init(&c->rx, LOGIN_DATA_MAX);
	buf_init(&c->now.data, LOGIN_DATA_MAX);
	if (login_glue_create(c) != 0) {
		free(c);
		return NULL;
	}
	return c;
}

void conn_start(struct conn *c, int fd)
{
	stream_attach(&c->stream, c->core->reactor, fd, &conn_stream_ops);
	timer_start(c->core->reactor, &c->timer,
		    c->server->options.login_timeout * 1000ull);
}

void conn_enter_full_feature(struct conn *c)
{
	c->state = CONN_FULL;
	buf_deinit(&c->now.data);
	buf_init(&c->now.data, c->params.max_recv_data_segment_length);
	c->rx.data_max = c->params.max_recv_data_segment_length;
	c->rx.header_digest = c->params.header_digest;
	c->rx.data_digest = c->params.data_digest;
	c->last_rx_ns = reactor_now_ns(c->core->reactor);
	if (!c->session->discovery)
		nop_start(c);
}

void conn_close(struct conn *c, enum close_reason reason)
{
	if (c->state == CONN_CLOSING)
		return;
	/* Who has asked to log out may well be quicker than our answer. */
	if (c->state == CONN_LOGOUT && c->session)
		reason = CLOSE_LOGOUT;
	log_info("iscsi: connection %u of %s: %s", c->record->id,
		 c->session && c->session->initiator_name[0]
			 ? c->session->initiator_name
			 : "an initiator before login",
		 close_reason_text(reason));
	c->state = CONN_CLOSING;
	c->reason = reason;
	c->core->closed[reason]++;
	timer_stop(c->core->reactor, &c->timer);
	timer_stop(c->core->reactor, &c->abort_timer);
	c->orphaned = orphans_wanted(c, reason);
	stream_close(&c->stream);
	/* Below ErrorRecoveryLevel 2 a session does not outlive the failure of
	 * one of its connections (RFC 7143, 7.1.5). */
	if (c->session && !c->orphaned &&
	    (c->logout_session ||
	     (reason != CLOSE_LOGOUT && reason != CLOSE_CONN_REINSTATED)))
		session_close(c->session, reason);
}

static void conn_released(struct stream *stream)
{
	struct conn *c = container_of(stream, struct conn, stream);

	ASSERT(c->state == CONN_CLOSING);
	c->released = true;
	c->inflight++;
	tx_drop(c);
	if (c->orphaned)
		orphans_begin(c);
	else
		cmds_cancel(c);
	text_conn_end(c);
	c->inflight--;
	conn_try_reap(c);
}

void conn_try_reap(struct conn *c)
{
	if (c->state != CONN_CLOSING || !c->released || c->inflight > 0 ||
	    !list_empty(&c->cmds) || c->orphaned)
		return;
	ASSERT(list_empty(&c->txq) && !c->batch && c->ncontrol == 0);
	/* A deferred flush may still be queued; it would find a ghost. */
	if (list_linked(&c->flush.link))
		list_remove(&c->flush.link);
	if (c->session) {
		session_remove_conn(c->session, c);
	} else {
		if (list_linked(&c->link))
			list_remove(&c->link); /* waited for an end */
		login_abandon(c);
	}
	login_glue_destroy(c);
	buf_deinit(&c->now.data);
	if (c->record)
		server_conn_leaves(take(&c->record));
	free(c);
}

void conn_set_paused(struct conn *c, bool *why, bool on)
{
	bool was = c->paused_control || c->paused_buffers;
	bool is;

	*why = on;
	is = c->paused_control || c->paused_buffers;
	if (is == was || c->state == CONN_CLOSING)
		return;
	if (is)
		stream_pause(&c->stream);
	else
		stream_resume(&c->stream);
}

/* ---- Receiving. */

void conn_place(struct conn *c, const struct iovec *iov, unsigned int iovcnt,
		size_t offset, size_t len)
{
	const uint8_t *from;

	if (!c->replay) {
		pdu_rx_place(&c->rx, iov, iovcnt, offset, len);
		return;
	}
	from = c->replay->bytes + BHS_LEN + c->replay->ahs_len;
	for (unsigned int i = 0; i < iovcnt && len > 0; i++) {
		size_t n;

		if (offset >= iov[i].iov_len) {
			offset -= iov[i].iov_len;
			continue;
		}
		n = MIN(iov[i].iov_len - offset, len);
		memcpy((uint8_t *)iov[i].iov_base + offset, from, n);
		from += n;
		len -= n;
		offset = 0;
	}
}

void conn_collect(struct conn *c)
{
	uint8_t *room;

	buf_reset(&c->now.data);
	if (c->rx.data_len == 0)
		return;
	room = buf_reserve(&c->now.data, c->rx.data_len);
	if (!room) {
		conn_close(c, CLOSE_NO_MEMORY);
		return;
	}
	buf_commit(&c->now.data, c->rx.data_len);
	c->now.iov.iov_base = room;
	c->now.iov.iov_len = c->rx.data_len;
	conn_place(c, &c->now.iov, 1, 0, c->rx.data_len);
}

void conn_reject(struct conn *c, enum reject_reason reason)
{
	c->now.verdict = RX_REJECT;
	c->now.reject = (uint8_t)reason;
}

/* Task management that also acts on what was sent before it. Not TASK
 * REASSIGN, by which an initiator learns what has not come (7.2.2). */
static bool waits_for_elders(const uint8_t *bhs)
{
	return (bhs[BHS_OPCODE] & ISCSI_OPCODE_MASK) == ISCSI_TMF_REQUEST &&
	       (bhs[BHS_FLAGS] & 0x7f) != ISCSI_TMF_TASK_REASSIGN;
}

static void full_feature_header(struct conn *c)
{
	const uint8_t *bhs = c->rx.bhs;
	const struct pdu_row *row = &pdu_rows[c->now.opcode];

	if (!row->header || (c->session->discovery && !row->discovery)) {
		conn_reject(c,
			    c->now.opcode == ISCSI_LOGIN_REQUEST || row->header
				    ? REJECT_PROTOCOL
				    : REJECT_NOT_SUPPORTED);
		return;
	}
	/* Only a SCSI Command has additional headers (RFC 7143, 11.2.2). */
	if (c->rx.ahs_len > 0 && c->now.opcode != ISCSI_SCSI_COMMAND) {
		conn_reject(c, REJECT_INVALID_FIELD);
		return;
	}
	if (c->nunacked > 0 && !c->replay)
		recovery_ack(c, load_be32(bhs + BHS_EXPSTATSN));
	if (row->cmdsn) {
		switch (session_cmdsn(c->session, load_be32(bhs + BHS_CMDSN),
				      bhs[BHS_OPCODE] & ISCSI_IMMEDIATE,
				      waits_for_elders(bhs))) {
		case CMDSN_NOW:
			break;
		case CMDSN_IGNORE:
			c->now.verdict = RX_DISCARD;
			return;
		case CMDSN_HOLD:
			c->now.verdict = RX_HOLD;
			conn_collect(c);
			return;
		}
	}
	row->header(c);
}

static void on_header(struct conn *c)
{
	c->now.opcode = c->rx.bhs[BHS_OPCODE] & ISCSI_OPCODE_MASK;
	c->now.verdict = RX_PROCESS;
	switch (c->state) {
	case CONN_LOGIN:
		if (c->now.opcode != ISCSI_LOGIN_REQUEST)
			conn_close(c, CLOSE_NOT_LOGIN);
		else
			conn_collect(c);
		break;
	case CONN_FULL:
		full_feature_header(c);
		break;
	case CONN_LOGOUT:
		/* RFC 7143, 11.14: nothing after a logout request counts. */
		c->now.verdict = RX_DISCARD;
		break;
	case CONN_ADMIT:
	case CONN_MOVING:
		/* Nothing may follow the last login request unanswered. */
		conn_close(c, CLOSE_PROTOCOL);
		break;
	case CONN_CLOSING:
		break;
	}
}

static void on_payload(struct conn *c)
{
	bool bad = c->rx.data_digest_bad;

	if (bad)
		c->core->digest_errors++;
	switch (c->now.verdict) {
	case RX_DISCARD:
		return;
	case RX_REJECT:
		conn_send_reject(c, c->now.reject, c->rx.bhs);
		break;
	case RX_HOLD:
		if (!session_hold(c->session, c))
			conn_send_reject(c, REJECT_OUT_OF_RESOURCES, c->rx.bhs);
		return;
	case RX_PROCESS:
		if (c->state == CONN_LOGIN)
			login_request(c, bad);
		else if (c->state == CONN_FULL)
			pdu_rows[c->now.opcode].payload(c, bad);
		break;
	}
	/* A large payload is no reason to keep the memory. */
	if (c->now.data.cap > LOGIN_DATA_MAX) {
		buf_deinit(&c->now.data);
		buf_init(&c->now.data, c->params.max_recv_data_segment_length);
	}
	if (c->session && c->state == CONN_FULL && !c->replay)
		session_replay(c->session);
}

/* The connection may be in the middle of another PDU: that one waits. */
void conn_replay(struct conn *c, const struct held_pdu *h)
{
	struct rx_now now = c->now;
	const uint8_t *bhs = c->rx.bhs, *ahs = c->rx.ahs;
	uint32_t ahs_len = c->rx.ahs_len, data_len = c->rx.data_len;
	bool bad = c->rx.data_digest_bad;

	if (c->state != CONN_FULL)
		return;
	memset(&c->now, 0, sizeof(c->now));
	buf_init(&c->now.data, c->params.max_recv_data_segment_length);
	c->replay = h;
	c->rx.bhs = h->bytes;
	c->rx.ahs = h->ahs_len ? h->bytes + BHS_LEN : NULL;
	c->rx.ahs_len = h->ahs_len;
	c->rx.data_len = h->data_len;
	c->rx.data_digest_bad = h->data_digest_bad;
	on_header(c);
	if (c->state == CONN_FULL)
		on_payload(c);
	buf_deinit(&c->now.data);
	c->replay = NULL;
	c->now = now;
	c->rx.bhs = bhs;
	c->rx.ahs = ahs;
	c->rx.ahs_len = ahs_len;
	c->rx.data_len = data_len;
	c->rx.data_digest_bad = bad;
}

/* False: the connection has come to its end. */
static bool on_event(struct conn *c, enum pdu_rx_event event)
{
	switch (event) {
	case PDU_RX_MORE:
		break;
	case PDU_RX_HEADER:
		on_header(c);
		break;
	case PDU_RX_PDU:
		on_payload(c);
		break;
	case PDU_RX_TOO_LONG:
		conn_close(c, CLOSE_TOO_LONG);
		break;
	case PDU_RX_HEADER_DIGEST:
		c->core->digest_errors++;
		conn_close(c, CLOSE_HEADER_DIGEST);
		break;
	}
	return c->state != CONN_CLOSING;
}

/* Uses up bytes; returns how many. */
static size_t consume(struct conn *c, const uint8_t *buf, size_t len)
{
	enum pdu_rx_event event;
	size_t used = 0, n;
	uint8_t *dst;

	do {
		event = pdu_rx_feed(&c->rx, buf + used, len - used, &n);
		used += n;
		if (!on_event(c, event))
			return len;
		/* For buffers it stops before the payload; else between two
		 * PDUs: then the next bytes carry on by themselves. */
		if (c->paused_buffers || c->state == CONN_MOVING ||
		    (c->paused_control && event == PDU_RX_PDU)) {
			pdu_rx_settle(&c->rx);
			return used;
		}
	} while (event != PDU_RX_MORE);

	n = pdu_rx_direct(&c->rx, &dst);
	if (c->now.cmd && n >= DIRECT_RECV_MIN) {
		c->now.cmd->direct = true;
		c->direct_left = n;
		stream_recv_direct(&c->stream, dst, n);
	}
	return used;
}

static size_t conn_data(struct stream *stream, const uint8_t *buf, size_t len)
{
	struct conn *c = container_of(stream, struct conn, stream);

	c->last_rx_ns = reactor_now_ns(stream->reactor);
	return consume(c, buf, len);
}

static void conn_direct(struct stream *stream, size_t len)
{
	struct conn *c = container_of(stream, struct conn, stream);

	ASSERT(len <= c->direct_left);
	c->last_rx_ns = reactor_now_ns(stream->reactor);
	pdu_rx_advance(&c->rx, len);
	c->direct_left -= len;
	if (c->direct_left > 0)
		return;
	if (c->now.cmd)
		c->now.cmd->direct = false;
	consume(c, NULL, 0);
}

static void conn_ended(struct stream *stream, int error)
{
	conn_close(container_of(stream, struct conn, stream),
		   error ? CLOSE_RESET : CLOSE_PEER);
}

const struct stream_ops conn_stream_ops = {
	.data = conn_data,
	.direct = conn_direct,
	.sent = tx_sent,
	.ended = conn_ended,
	.released = conn_released,
};
