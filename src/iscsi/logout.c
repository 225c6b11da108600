/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/bytes.h"
#include "iscsi/conn.h"

/* Logout (RFC 7143, 11.14, 11.15). */

static void logout_sent(struct conn *c, struct control_pdu *pdu, int error)
{
	struct session *s = c->session;
	struct conn *other;

	if (error)
		return;
	if (c->logout_session) {
		session_close(s, CLOSE_LOGOUT);
		return;
	}
	other = session_find_cid(s, c->logout_cid);
	if (other)
		conn_close(other, CLOSE_LOGOUT);
}

/* The response does not get out. */
static void logout_expired(struct timer *t)
{
	conn_close(container_of(t, struct conn, timer), CLOSE_LOGOUT);
}

static uint8_t recover(struct session *s, uint16_t cid)
{
	struct conn *c;

	if (!recovers_tasks(s))
		return LOGOUT_RSP_NO_RECOVERY;
	list_for_each(c, &s->conns, link) {
		if (c->cid != cid)
			continue;
		if (c->state != CONN_CLOSING)
			conn_close(c, CLOSE_RECOVERY);
		return LOGOUT_RSP_OK;
	}
	return LOGOUT_RSP_NO_CID;
}

void logout_request(struct conn *c)
{
	const uint8_t *bhs = c->rx.bhs;
	struct session *s = c->session;
	uint8_t reason = bhs[BHS_FLAGS] & 0x7f;
	uint16_t cid = load_be16(bhs + BHS_TTT);
	uint8_t response = LOGOUT_RSP_OK;
	struct control_pdu *pdu;
	bool ends = true;

	if (reason > LOGOUT_RECOVERY ||
	    (s->discovery && reason != LOGOUT_CLOSE_SESSION)) {
		conn_send_reject(c, REJECT_INVALID_FIELD, bhs);
		return;
	}
	c->logout_session = reason == LOGOUT_CLOSE_SESSION;
	c->logout_cid = cid;
	if (reason == LOGOUT_RECOVERY) {
		/* The tasks of that connection wait to be reassigned; it may
		 * have failed already (7.2.2). */
		response = recover(s, cid);
		ends = false;
	} else if (reason == LOGOUT_CLOSE_CONNECTION &&
		   !session_find_cid(s, cid)) {
		response = LOGOUT_RSP_NO_CID;
		ends = false;
	}
	pdu = control_pdu_new(ISCSI_LOGOUT_RESPONSE, FLAG_FINAL, 0);
	if (pdu) {
		pdu->bhs[BHS_RESPONSE] = response;
		memcpy(pdu->bhs + BHS_ITT, bhs + BHS_ITT, 4);
		if (ends) {
			pdu->sent = logout_sent;
		}
		/* Of another connection: this one carries on. */
		if (ends && (c->logout_session || cid == c->cid)) {
			c->state = CONN_LOGOUT;
			timer_stop(c->core->reactor, &c->timer);
			timer_init(&c->timer, logout_expired);
			timer_start(c->core->reactor, &c->timer, LOGOUT_MS_MAX);
		}
	}
	control_pdu_queue(c, pdu);
}
