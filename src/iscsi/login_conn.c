/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/assert.h"
#include "base/bytes.h"
#include "base/log.h"
#include "iscsi/conn.h"
#include "iscsi/server_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/*
 * The login engine joined to a connection. It runs on the control reactor;
 * when the engine is content the connection is admitted to a session, moves to
 * the session's reactor, and sends the final response from there.
 */
struct login_glue {
	struct login_env env;
	struct login login;
	struct conn *conn;
	bool detaching;
};

/* ---- What the engine asks. */

static enum login_status find_target(struct login_env *env,
				     const char *target_name,
				     const char *initiator_name,
				     struct target_node **ret_node,
				     char *ret_redirect, size_t size)
{
	struct login_glue *g = container_of(env, struct login_glue, env);
	const struct conn_record *r = g->conn->record;
	const struct target_redirect *redirect;
	struct target_node *n;

	n = target_node_find(g->conn->server->targets, target_name);
	if (!n)
		return LOGIN_NOT_FOUND;
	if (n->removing)
		return LOGIN_TARGET_REMOVED;
	if (target_node_access(n, r->pg, initiator_name, &r->peer) !=
	    TARGET_ALLOWED)
		return LOGIN_FORBIDDEN;
	redirect = target_node_redirect(n, r->pg);
	if (redirect) {
		bool v6 =
			strchr(redirect->host, ':') && redirect->host[0] != '[';

		snprintf(ret_redirect, size, v6 ? "[%s]:%s" : "%s:%s",
			 redirect->host, redirect->port);
		return LOGIN_MOVED_TEMPORARILY;
	}
	*ret_node = n;
	return LOGIN_OK;
}

static const struct chap_secret *find_secret(struct login_env *env, int32_t tag,
					     const char *user)
{
	struct login_glue *g = container_of(env, struct login_glue, env);

	return auth_group_find(g->conn->server->targets, tag, user);
}

static void random_bytes(struct login_env *env, void *buf, size_t len)
{
	uint8_t *p = buf;

	while (len > 0) {
		ssize_t n = getrandom(p, len, 0);

		if (n > 0) {
			p += n;
			len -= (size_t)n;
		}
	}
}

int login_glue_create(struct conn *c)
{
	struct login_glue *g = calloc(1, sizeof(*g));

	if (!g)
		return -1;
	g->conn = c;
	g->env.find_target = find_target;
	g->env.find_secret = find_secret;
	g->env.random = random_bytes;
	g->env.options = &c->server->options;
	g->env.pg = c->record->pg;
	if (login_init(&g->login, &g->env) != 0) {
		free(g);
		return -1;
	}
	c->login = g;
	return 0;
}

void login_glue_destroy(struct conn *c)
{
	struct login_glue *g = take(&c->login);

	if (!g)
		return;
	login_deinit(&g->login);
	free(g);
}

struct login *conn_login(struct conn *c)
{
	return c->login ? &c->login->login : NULL;
}

/* ---- Refused. */

static void failure_sent(struct conn *c, struct control_pdu *pdu, int error)
{
	conn_close(c, CLOSE_LOGIN_FAILED);
}

static void fail(struct conn *c, struct control_pdu *pdu)
{
	const struct login *l = &c->login->login;
	c->server->login_failures++;
	if (log_limit_ok(&c->server->login_log,
			 reactor_now_ns(c->core->reactor)))
		log_notice("iscsi: login of %s to %s refused: %s",
			   l->initiator_name[0] ? l->initiator_name
						: "an unnamed initiator",
			   l->target_name[0] ? l->target_name : "no target",
			   login_status_name(l->status));
	/* Nothing more is read from this peer. */
	c->state = CONN_LOGOUT;
	if (pdu) {
		pdu->login = true;
		pdu->sent = failure_sent;
	}
	control_pdu_queue(c, pdu);
}

static void refuse(struct conn *c, enum login_status status)
{
	struct control_pdu *pdu =
		control_pdu_new(ISCSI_LOGIN_RESPONSE, 0, LOGIN_DATA_MAX);

	c->login->login.status = status;
	if (pdu)
		login_refuse(&c->login->login, status, pdu->bhs, &pdu->data);
	fail(c, pdu);
}

/* ---- Admitted. */

/* On the session's reactor: the last step of the login phase. */
static void arrive(struct mail *mail)
{
	struct conn *c = container_of(mail, struct conn, mail);
	struct session *s = c->admitted->session;
	struct login *l = &c->login->login;
	struct control_pdu *pdu;

	c->admitted = NULL;
	c->core = s->core;
	if (c->joining) {
		c->joining = NULL;
		s->nreserved--;
	}
	c->params = l->conn;
	c->cid = l->cid;
	if (!s->open) {
		s->params = l->session;
		s->expcmdsn = l->cmdsn;
		session_open(s);
	}
	session_add_conn(s, c);
	if (!c->stream.reactor)
		stream_attach(&c->stream, s->reactor, c->stream.fd,
			      &conn_stream_ops);
	if (s->closing) {
		conn_close(c, CLOSE_ADMIN);
		return;
	}
	pdu = control_pdu_new(ISCSI_LOGIN_RESPONSE, 0, LOGIN_DATA_MAX);
	if (pdu) {
		login_finish(l, s->tsih, session_maxcmdsn(s), pdu->bhs,
			     &pdu->data);
		store_be32(pdu->bhs + BHS_EXPCMDSN, s->expcmdsn);
		pdu->login = true;
		pdu->last_login = true;
	}
	c->statsn = l->statsn;
	conn_enter_full_feature(c);
	control_pdu_queue(c, pdu);
	login_glue_destroy(c);
	/* What came too early was kept. */
	stream_resume(&c->stream);
}

static void detached(struct stream *stream)
{
	struct conn *c = container_of(stream, struct conn, stream);

	c->mail.run = arrive;
	mail_post(c->admitted->reactor, &c->mail);
}

void login_move(struct conn *c)
{
	ASSERT(c->state == CONN_MOVING);
	if (c->batch || !list_empty(&c->txq) || c->login->detaching)
		return; /* tx_sent() comes back to it */
	if (c->admitted->reactor == c->core->reactor) {
		arrive(&c->mail);
		return;
	}
	c->login->detaching = true;
	stream_detach(&c->stream, detached);
}

static void start_move(struct conn *c, struct session_record *r)
{
	c->server->logins++;
	log_info("iscsi: %s logged in to %s", c->login->login.initiator_name,
		 r->node ? r->node->name : "discovery");
	c->admitted = r;
	c->state = CONN_MOVING;
	login_move(c);
}

static void enter(struct conn *c, struct session_record *r)
{
	const struct login *l = &c->login->login;
	struct session *s = r->session;

	timer_stop(c->core->reactor, &c->timer);
	server_conn_joins(c->record, r);
	c->record->local = false;
	c->server->nlogins--;
	c->record->cid = l->cid;
	str_copy(c->record->initiator_name, sizeof(c->record->initiator_name),
		 l->initiator_name);
	/* A session that lives on its reactor already is not control's. */
	if (l->tsih != 0) {
		start_move(c, r);
		return;
	}
	r->max_connections = l->session.max_connections;
	str_copy(s->initiator_name, sizeof(s->initiator_name),
		 l->initiator_name);
	if (r->node) {
		s->nexus.reactor = r->reactor;
		s->nexus.device = r->node->device;
		s->nexus.tpgt = r->tpgt;
		memcpy(s->nexus.isid, l->isid, sizeof(l->isid));
		str_copy(s->nexus.initiator_name,
			 sizeof(s->nexus.initiator_name), l->initiator_name);
	}
	start_move(c, r);
}

/* Another connection for a session (RFC 7143, 6.3.1, 6.3.4). */
static void join(struct conn *c)
{
	struct login *l = &c->login->login;
	struct iscsi_server *s = c->server;
	struct session_record *r = s->by_tsih[l->tsih];
	uint32_t count;

	if (!r || r->ended || r->dropping || r->node != l->node ||
	    memcmp(r->isid, l->isid, sizeof(r->isid)) != 0 ||
	    strcmp(r->initiator_name, l->initiator_name) != 0) {
		refuse(c, LOGIN_NO_SESSION);
		return;
	}
	if (!r->node || r->tpgt != c->record->pg->tag) {
		refuse(c, LOGIN_NOT_IN_SESSION);
		return;
	}
	/* The session shall not end meanwhile, and an old connection with this
	 * CID goes first. */
	if (c->joining != r) {
		c->state = CONN_ADMIT;
		server_reserve(r, c);
		return;
	}
	if (server_find_cid(s, r, l->cid, &count)) {
		c->state = CONN_ADMIT;
		list_push_back(&r->waiters, &c->link);
		return;
	}
	if (count >= r->max_connections) {
		refuse(c, LOGIN_TOO_MANY);
		return;
	}
	enter(c, r);
}

void login_reserved(struct conn *c, struct session_record *r)
{
	c->inflight--;
	c->joining = r;
	if (c->state == CONN_CLOSING) {
		conn_try_reap(c);
		return;
	}
	if (r)
		login_resume(c);
	else
		refuse(c, LOGIN_NO_SESSION);
}

static void admit(struct conn *c)
{
	struct login *l = &c->login->login;
	struct iscsi_server *s = c->server;
	struct session_record *old, *r;
	enum login_status status = LOGIN_OK;
	uint16_t tpgt = c->record->pg->tag;

	if (s->shutting_down) {
		refuse(c, LOGIN_UNAVAILABLE);
		return;
	}
	if (l->tsih != 0) {
		join(c);
		return;
	}
	/* RFC 7143, 6.3.5: the same initiator port ends its old session, and
	 * the new one begins when that is gone. */
	old = l->discovery || s->options.allow_duplicated_isid
		      ? NULL
		      : server_find_session(s, l, tpgt);
	if (old) {
		c->state = CONN_ADMIT;
		list_push_back(&old->waiters, &c->link);
		server_drop_session(s, old, CLOSE_REINSTATED);
		return;
	}
	r = server_new_session(s, l, tpgt, &status);
	if (!r) {
		refuse(c, status);
		return;
	}
	enter(c, r);
}

void login_resume(struct conn *c)
{
	struct login *l = &c->login->login;
	char redirect[ADDR_TEXT_MAX + 8];
	enum login_status status;

	ASSERT(c->state == CONN_ADMIT);
	c->state = CONN_LOGIN;
	if (l->discovery) {
		admit(c);
		return;
	}
	/* The world has turned meanwhile. */
	status = find_target(&c->login->env, l->target_name, l->initiator_name,
			     &l->node, redirect, sizeof(redirect));
	if (status != LOGIN_OK)
		refuse(c, status == LOGIN_MOVED_TEMPORARILY ? LOGIN_UNAVAILABLE
							    : status);
	else
		admit(c);
}

void login_resume_cid(struct session_record *r, uint16_t cid)
{
	struct conn *c, *tmp;

	list_for_each_safe(c, tmp, &r->waiters, link) {
		if (c->login->login.tsih == 0 || c->login->login.cid != cid ||
		    c->state != CONN_ADMIT)
			continue;
		list_remove(&c->link);
		login_resume(c);
		return;
	}
}

/* The connection ends before it came to its session. On control. */
void login_abandon(struct conn *c)
{
	if (c->joining) {
		server_unreserve(c->joining);
	} else if (c->admitted) {
		/* The session was for nobody else. */
		c->admitted->mail.run = server_session_ended;
		mail_post(c->server->reactor, &c->admitted->mail);
	}
}

void login_request(struct conn *c, bool digest_bad)
{
	struct login *l = &c->login->login;
	struct control_pdu *pdu;

	/* Requests are answered one by one (RFC 7143, 6.3). */
	if (c->ncontrol > 0 && (c->batch == NULL || !list_empty(&c->txq))) {
		conn_close(c, CLOSE_PROTOCOL);
		return;
	}
	pdu = control_pdu_new(ISCSI_LOGIN_RESPONSE, 0, LOGIN_DATA_MAX);
	if (!pdu) {
		conn_close(c, CLOSE_NO_MEMORY);
		return;
	}
	pdu->login = true;
	switch (login_step(l, c->rx.bhs, c->now.data.data,
			   (uint32_t)c->now.data.len, pdu->bhs, &pdu->data)) {
	case LOGIN_RESPOND:
		control_pdu_queue(c, pdu);
		return;
	case LOGIN_FAIL:
		fail(c, pdu);
		return;
	case LOGIN_ADMIT:
		control_pdu_discard(pdu);
		admit(c);
		return;
	case LOGIN_DROP:
		control_pdu_discard(pdu);
		conn_close(c, CLOSE_NOT_LOGIN);
		return;
	}
}
