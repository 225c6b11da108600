/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/bytes.h"
#include "iscsi/conn.h"

/* NOP-Out and NOP-In (RFC 7143, 11.18, 11.19): pings in both directions. */

void nop_header(struct conn *c)
{
	const uint8_t *bhs = c->rx.bhs;

	/* 11.18.1: without a task tag there is no answer, so it must not take
	 * a command number. */
	if (load_be32(bhs + BHS_ITT) == RESERVED_TAG &&
	    !(bhs[BHS_OPCODE] & ISCSI_IMMEDIATE)) {
		conn_reject(c, REJECT_PROTOCOL);
		return;
	}
	conn_collect(c);
}

void nop_out(struct conn *c, bool digest_bad)
{
	const uint8_t *bhs = c->rx.bhs;
	struct control_pdu *pdu;
	uint32_t len;

	if (digest_bad) {
		conn_send_reject(c, REJECT_DATA_DIGEST, bhs);
		return;
	}
	if (load_be32(bhs + BHS_TTT) != RESERVED_TAG &&
	    load_be32(bhs + BHS_TTT) == c->nop_ttt)
		c->nop_sent_ns = 0;
	if (load_be32(bhs + BHS_ITT) == RESERVED_TAG)
		return;

	/* The echo is as long as the initiator can take (11.19.3). */
	len = MIN((uint32_t)c->now.data.len,
		  c->params.max_xmit_data_segment_length);
	pdu = control_pdu_new(ISCSI_NOP_IN, FLAG_FINAL, len);
	if (pdu) {
		memcpy(pdu->bhs + BHS_LUN, bhs + BHS_LUN, 8);
		memcpy(pdu->bhs + BHS_ITT, bhs + BHS_ITT, 4);
		store_be32(pdu->bhs + BHS_TTT, RESERVED_TAG);
		if (len > 0)
			buf_append(&pdu->data, c->now.data.data, len);
	}
	control_pdu_queue(c, pdu);
}

static void send_ping(struct conn *c)
{
	struct control_pdu *pdu = control_pdu_new(ISCSI_NOP_IN, FLAG_FINAL, 0);

	c->nop_ttt = conn_next_ttt(c);
	if (pdu) {
		store_be32(pdu->bhs + BHS_TTT, c->nop_ttt);
		pdu->no_statsn = true;
	}
	c->nop_sent_ns = reactor_now_ns(c->core->reactor);
	control_pdu_queue(c, pdu);
}

/* Milliseconds from @since until @seconds have passed; 0: they have. */
static uint64_t left_ms(uint64_t now_ns, uint64_t since_ns, uint32_t seconds)
{
	uint64_t end_ns = since_ns + seconds * 1000000000ull;

	return now_ns >= end_ns ? 0 : (end_ns - now_ns + 999999) / 1000000;
}

/*
 * A ping when nothing came for the interval; the end of the connection when it
 * is not answered in time. 0 turns off either.
 */
static void nop_expired(struct timer *t)
{
	struct conn *c = container_of(t, struct conn, timer);
	struct session *s = c->session;
	uint64_t now_ns = reactor_now_ns(c->core->reactor);
	uint64_t ms;

	/* It is we who do not listen. */
	if (c->paused_buffers)
		c->last_rx_ns = now_ns;
	if (c->nop_sent_ns) {
		/* Any PDU is a sign of life, but only while data moves. */
		ms = s->nop_timeout_s == 0
			     ? s->nop_interval_s * 1000ull
			     : left_ms(now_ns,
				       MAX(c->nop_sent_ns, c->last_rx_ns),
				       s->nop_timeout_s);
		if (ms == 0) {
			conn_close(c, CLOSE_NOP_TIMEOUT);
			return;
		}
		timer_start(c->core->reactor, t, ms);
		return;
	}
	ms = left_ms(now_ns, c->last_rx_ns, s->nop_interval_s);
	if (ms == 0) {
		send_ping(c);
		ms = (s->nop_timeout_s ? s->nop_timeout_s : s->nop_interval_s) *
		     1000ull;
	}
	if (c->state == CONN_FULL)
		timer_start(c->core->reactor, t, ms);
}

void nop_start(struct conn *c)
{
	timer_init(&c->timer, nop_expired);
	if (c->session->nop_interval_s > 0)
		timer_start(c->core->reactor, &c->timer,
			    c->session->nop_interval_s * 1000ull);
}
