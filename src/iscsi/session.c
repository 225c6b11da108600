/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/assert.h"
#include "base/bytes.h"
#include "base/log.h"
#include "iscsi/conn.h"
#include "iscsi/server_priv.h"

#include <stdlib.h>

static void logout_expired(struct timer *t)
{
	session_close(container_of(t, struct session, logout_timer),
		      CLOSE_ADMIN);
}

struct session *session_create(struct iscsi_server *server,
			       struct session_record *record,
			       struct reactor *reactor)
{
	struct session *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->server = server;
	s->record = record;
	s->reactor = reactor;
	s->core = &server->cores[reactor_index(reactor)];
	s->tsih = record->tsih;
	s->node = record->node;
	s->discovery = record->node == NULL;
	s->nop_interval_s = server->options.nop_in_interval;
	s->nop_timeout_s = server->options.nop_timeout;
	/* A discovery session has one command at a time. */
	s->queue_depth = record->node ? record->node->queue_depth : 1;
	list_init(&s->conns);
	list_init(&s->held);
	timer_init(&s->logout_timer, logout_expired);
	return s;
}

void session_open(struct session *s)
{
	ASSERT(!s->open);
	s->open = true;
	if (!s->discovery)
		scsi_nexus_open(&s->nexus);
}

void session_add_conn(struct session *s, struct conn *c)
{
	c->session = s;
	list_push_back(&s->conns, &c->link);
	s->nconns++;
}

void session_remove_conn(struct session *s, struct conn *c)
{
	ASSERT(s->nconns > 0);
	session_drop_held(s, c);
	list_remove(&c->link);
	s->nconns--;
	session_try_end(s);
}

void session_close(struct session *s, enum close_reason reason)
{
	struct conn *c, *tmp;

	if (s->closing)
		return;
	s->closing = true;
	/* conn_close() takes effect from the loop: the list stands still. */
	list_for_each_safe(c, tmp, &s->conns, link) {
		if (c->orphaned)
			orphans_end(c);
		else
			conn_close(c, reason);
	}
}

struct conn *session_find_cid(struct session *s, uint16_t cid)
{
	struct conn *c;

	list_for_each(c, &s->conns, link)
		if (c->cid == cid && c->state != CONN_CLOSING)
			return c;
	return NULL;
}

bool session_reserve(struct session *s, uint16_t cid)
{
	struct conn *c = session_find_cid(s, cid);

	if (!s->open || s->closing)
		return false;
	s->nreserved++;
	if (c)
		conn_close(c, CLOSE_CONN_REINSTATED);
	return true;
}

void session_unreserve(struct session *s)
{
	ASSERT(s->nreserved > 0);
	s->nreserved--;
	session_try_end(s);
}

/* RFC 7143, 11.9.1: event 1, Parameter3 is the time in seconds. */
void session_request_logout(struct session *s, uint16_t timeout_s)
{
	struct conn *c;

	if (s->closing || !s->open)
		return;
	list_for_each(c, &s->conns, link)
		if (c->state == CONN_FULL)
			conn_send_async(c, ISCSI_ASYNC_LOGOUT_REQUEST, 0, 0,
					timeout_s);
	timer_start(s->reactor, &s->logout_timer, timeout_s * 1000ull);
}

/* The last connection has gone: the session is over (RFC 7143, 6.3.5). */
void session_try_end(struct session *s)
{
	if (s->nconns > 0 || s->ntmfs > 0 || s->nreserved > 0 || !s->open)
		return;
	timer_stop(s->reactor, &s->logout_timer);
	s->closing = true;
	s->open = false;
	if (!s->discovery)
		scsi_nexus_close(&s->nexus);
	s->record->mail.run = server_session_ended;
	mail_post(s->server->reactor, &s->record->mail);
}

/* ---- CmdSN (RFC 7143, 4.2.2.1) */

enum cmdsn_verdict session_cmdsn(struct session *s, uint32_t cmdsn,
				 bool immediate, bool tmf)
{
	/* Immediate task management acts on what was sent before it, also on
	 * what is still on its way on another connection (4.2.3.3). */
	if (immediate && tmf && s->nconns > 1 &&
	    sn_before(s->expcmdsn, cmdsn) &&
	    !sn_before(session_maxcmdsn(s) + 1, cmdsn))
		return CMDSN_HOLD;
	if (immediate)
		return CMDSN_NOW;
	if (sn_before(cmdsn, s->expcmdsn) ||
	    sn_before(session_maxcmdsn(s), cmdsn))
		return CMDSN_IGNORE;
	if (cmdsn != s->expcmdsn) {
		struct held_pdu *h;

		list_for_each(h, &s->held, link)
			if (h->cmdsn == cmdsn && !h->data_out && !h->immediate)
				return CMDSN_IGNORE;
		return CMDSN_HOLD;
	}
	s->expcmdsn++;
	return CMDSN_NOW;
}

void session_skip_cmdsn(struct session *s, uint32_t cmdsn)
{
	struct held_pdu *h;

	if (cmdsn == s->expcmdsn) {
		s->expcmdsn++;
		session_replay(s);
		return;
	}
	/* A later one: an empty entry stands for it. */
	list_for_each(h, &s->held, link)
		if (h->cmdsn == cmdsn && !h->data_out && !h->immediate)
			return;
	h = calloc(1, sizeof(*h) + BHS_LEN);
	if (!h)
		return;
	h->cmdsn = cmdsn;
	h->itt = RESERVED_TAG;
	list_push_back(&s->held, &h->link);
}

bool session_held_itt(const struct session *s, uint32_t itt)
{
	struct held_pdu *h;

	list_for_each(h, &s->held, link)
		if (h->itt == itt && !h->data_out)
			return true;
	return false;
}

/*
 * Keeps the PDU at hand, whose payload is in now.data, until its turn. False
 * when that would be more than a session may hold.
 */
bool session_hold(struct session *s, struct conn *c)
{
	size_t len = BHS_LEN + c->rx.ahs_len + c->now.data.len;
	struct held_pdu *h;

	if (s->held_bytes + len > HELD_BYTES_MAX)
		return false;
	h = calloc(1, sizeof(*h) + len);
	if (!h)
		return false;
	h->conn = c;
	h->cmdsn = load_be32(c->rx.bhs + BHS_CMDSN);
	h->itt = load_be32(c->rx.bhs + BHS_ITT);
	h->ahs_len = c->rx.ahs_len;
	h->data_len = (uint32_t)c->now.data.len;
	h->data_digest_bad = c->rx.data_digest_bad;
	h->data_out = c->now.opcode == ISCSI_DATA_OUT;
	h->immediate =
		!h->data_out && (c->rx.bhs[BHS_OPCODE] & ISCSI_IMMEDIATE);
	memcpy(h->bytes, c->rx.bhs, BHS_LEN);
	if (h->ahs_len)
		memcpy(h->bytes + BHS_LEN, c->rx.ahs, h->ahs_len);
	if (h->data_len)
		memcpy(h->bytes + BHS_LEN + h->ahs_len, c->now.data.data,
		       h->data_len);
	s->held_bytes += len;
	list_push_back(&s->held, &h->link);
	return true;
}

static void held_free(struct session *s, struct held_pdu *h)
{
	if (h->conn)
		s->held_bytes -= BHS_LEN + h->ahs_len + h->data_len;
	if (list_linked(&h->link))
		list_remove(&h->link);
	free(h);
}

void session_drop_held(struct session *s, struct conn *c)
{
	struct held_pdu *h, *tmp;

	list_for_each_safe(h, tmp, &s->held, link)
		if (h->conn == c || s->nconns <= 1)
			held_free(s, h);
}

/* The held PDU whose turn it is: the next command, or data of one that has
 * been replayed. */
static struct held_pdu *held_next(struct session *s)
{
	struct held_pdu *h;

	list_for_each(h, &s->held, link) {
		if (h->data_out && !session_held_itt(s, h->itt))
			return h;
		if (!h->data_out && h->cmdsn == s->expcmdsn)
			return h;
	}
	return NULL;
}

void session_replay(struct session *s)
{
	struct held_pdu *h;

	if (s->replaying || list_empty(&s->held))
		return;
	s->replaying = true;
	while ((h = held_next(s))) {
		list_remove(&h->link);
		if (h->conn)
			conn_replay(h->conn, h);
		else
			s->expcmdsn++;
		held_free(s, h);
	}
	s->replaying = false;
}
