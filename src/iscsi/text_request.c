/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/bytes.h"
#include "iscsi/conn.h"
#include "iscsi/discovery.h"
#include "iscsi/login.h"
#include "iscsi/server_priv.h"
#include "iscsi/text.h"

#include <errno.h>
#include <stdlib.h>

/*
 * Text Request and Response in full feature phase (RFC 7143, 11.10, 11.11):
 * discovery, and what may be negotiated anew. Questions and answers of any
 * length, over as many PDUs as they need.
 */
struct text_exchange {
	struct conn *conn; /* NULL: the connection has ended meanwhile */
	struct keys_text keys;
	struct buf in;	/* pieces of a question with C bits */
	struct buf out; /* the answer */
	size_t out_sent;
	uint32_t itt, ttt;
	bool busy;  /* control is looking up the targets */
	bool final; /* the question had the F bit */
	struct mail mail;
	struct conn_record *record;
};

static void exchange_free(struct text_exchange *t)
{
	buf_deinit(&t->in);
	buf_deinit(&t->out);
	free(t);
}

static struct text_exchange *exchange_new(struct conn *c)
{
	struct text_exchange *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->conn = c;
	t->record = c->record;
	buf_init(&t->in, LOGIN_TEXT_MAX);
	buf_init(&t->out, SEND_TARGETS_MAX);
	t->ttt = conn_next_ttt(c);
	keys_text_begin(&t->keys, c->session->discovery, &c->session->params,
			&c->params);
	return t;
}

static void end_exchange(struct conn *c)
{
	exchange_free(take(&c->text));
}

void text_conn_end(struct conn *c)
{
	if (c->text && !c->text->busy)
		end_exchange(c);
}

/* Sends the next piece of the answer. */
static void answer(struct conn *c)
{
	struct text_exchange *t = c->text;
	size_t left = t->out.len - t->out_sent;
	size_t len = MIN(left, c->params.max_xmit_data_segment_length);
	bool more = len < left;
	bool final = t->final && !more;
	struct control_pdu *pdu;

	pdu = control_pdu_new(ISCSI_TEXT_RESPONSE,
			      final  ? FLAG_FINAL
			      : more ? FLAG_CONTINUE
				     : 0,
			      len);
	if (pdu) {
		store_be32(pdu->bhs + BHS_ITT, t->itt);
		store_be32(pdu->bhs + BHS_TTT, final ? RESERVED_TAG : t->ttt);
		if (len > 0)
			buf_append(&pdu->data, t->out.data + t->out_sent, len);
	}
	t->out_sent += len;
	if (!more) {
		buf_reset(&t->out);
		t->out_sent = 0;
	}
	if (final) {
		c->params.max_xmit_data_segment_length =
			t->keys.keys.conn.max_xmit_data_segment_length;
		end_exchange(c);
	}
	control_pdu_queue(c, pdu);
}

/* Back on the connection's reactor, or never left it. */
static void targets_found(struct mail *mail)
{
	struct text_exchange *t =
		container_of(mail, struct text_exchange, mail);
	struct conn *c = t->conn;

	t->busy = false;
	c->inflight--;
	if (c->state == CONN_FULL) {
		answer(c);
		return;
	}
	if (c->released)
		end_exchange(c);
	conn_try_reap(c);
}

/* On the control reactor. */
static void find_targets(struct mail *mail)
{
	struct text_exchange *t =
		container_of(mail, struct text_exchange, mail);
	const struct conn_record *r = t->record;

	/* A value that is not allowed here gets an answer all the same. */
	if (send_targets(r->server->targets, t->keys.send_targets_value,
			 r->session ? r->session->node : NULL,
			 r->initiator_name, &r->peer, &r->self,
			 &t->out) == -EINVAL)
		text_add(&t->out, "SendTargets", "Reject");
	mail->run = targets_found;
	mail_post(t->conn->core->reactor, mail);
}

static void question(struct conn *c)
{
	struct text_exchange *t = c->text;

	t->keys.send_targets = false;
	if (keys_full_feature(&t->keys, t->in.data, t->in.len, &t->out) != 0) {
		end_exchange(c);
		conn_send_reject(c, REJECT_PROTOCOL, c->rx.bhs);
		return;
	}
	buf_reset(&t->in);
	if (!t->keys.send_targets) {
		answer(c);
		return;
	}
	t->busy = true;
	c->inflight++;
	t->mail.run = find_targets;
	mail_post(c->server->reactor, &t->mail);
}

void text_request(struct conn *c, bool digest_bad)
{
	const uint8_t *bhs = c->rx.bhs;
	uint32_t itt = load_be32(bhs + BHS_ITT);
	uint32_t ttt = load_be32(bhs + BHS_TTT);
	bool more = bhs[BHS_FLAGS] & FLAG_CONTINUE;
	bool final = bhs[BHS_FLAGS] & FLAG_FINAL;
	struct text_exchange *t;

	if (digest_bad) {
		conn_send_reject(c, REJECT_DATA_DIGEST, bhs);
		return;
	}
	if (c->text && c->text->busy) {
		conn_send_reject(c, REJECT_TASK_IN_PROGRESS, bhs);
		return;
	}
	/* 11.10.4: the reserved tag starts anew; another must be ours. */
	if (ttt == RESERVED_TAG && c->text)
		end_exchange(c);
	if (itt == RESERVED_TAG || (more && final) ||
	    (ttt != RESERVED_TAG && (!c->text || c->text->ttt != ttt))) {
		conn_send_reject(c, REJECT_INVALID_FIELD, bhs);
		return;
	}
	if (!c->text)
		c->text = exchange_new(c);
	t = c->text;
	if (!t) {
		conn_send_reject(c, REJECT_OUT_OF_RESOURCES, bhs);
		return;
	}
	t->itt = itt;
	/* The rest of the answer has to be fetched first. */
	if (t->out.len > 0) {
		if (c->now.data.len > 0) {
			end_exchange(c);
			conn_send_reject(c, REJECT_PROTOCOL, bhs);
			return;
		}
		t->final = final || t->final;
		answer(c);
		return;
	}
	t->final = final;
	if (c->now.data.len > 0)
		buf_append(&t->in, c->now.data.data, c->now.data.len);
	if (t->in.failed) {
		end_exchange(c);
		conn_send_reject(c, REJECT_OUT_OF_RESOURCES, bhs);
		return;
	}
	if (more)
		answer(c); /* empty: go on */
	else
		question(c);
}
