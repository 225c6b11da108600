/* SPDX-License-Identifier: BSD-3-Clause */
#include "iscsi/server.h"

#include "base/assert.h"
#include "base/log.h"
#include "iscsi/conn.h"
#include "iscsi/server_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The registry of sessions; orders to them; the server's beginning and end. */

static void shutdown_expired(struct timer *t);

int iscsi_server_create(struct reactors *set, struct targets *targets,
			struct iscsi_server **ret)
{
	struct iscsi_server *s = calloc(1, sizeof(*s));
	uint32_t n = reactors_count(set);
	int r = 0;

	if (!s)
		return -ENOMEM;
	s->set = set;
	s->reactor = reactors_main(set);
	s->targets = targets;
	iscsi_options_default(&s->options);
	list_init(&s->listeners);
	list_init(&s->conns);
	list_init(&s->sessions);
	list_init(&s->requests);
	timer_init(&s->shutdown_timer, shutdown_expired);
	s->login_log = (struct log_limit){.burst = 20, .interval_s = 10};
	s->accept_log = (struct log_limit){.burst = 5, .interval_s = 10};
	s->cores = calloc(n, sizeof(*s->cores));
	s->load = calloc(n, sizeof(*s->load));
	s->by_tsih = calloc(65536, sizeof(*s->by_tsih));
	s->by_name = calloc(SESSION_BUCKETS, sizeof(*s->by_name));
	if (!s->cores || !s->load || !s->by_tsih || !s->by_name)
		r = -ENOMEM;
	for (uint32_t i = 0; s->by_name && i < SESSION_BUCKETS; i++)
		list_init(&s->by_name[i]);
	for (uint32_t i = 0; i < n && r == 0; i++) {
		struct iscsi_core *core = &s->cores[i];

		core->server = s;
		core->reactor = reactors_get(set, i);
		list_init(&core->starved);
		r = slab_init(&core->cmds, sizeof(struct cmd), CMDS_PER_CORE);
		if (r == 0)
			r = slab_init(&core->batches, sizeof(struct tx_batch),
				      BATCHES_PER_CORE);
	}
	if (r != 0) {
		iscsi_server_destroy(s);
		return r;
	}
	*ret = s;
	return 0;
}

void iscsi_server_destroy(struct iscsi_server *s)
{
	if (!s)
		return;
	ASSERT(list_empty(&s->conns) && list_empty(&s->sessions) &&
	       list_empty(&s->listeners));
	for (uint32_t i = 0; s->cores && i < reactors_count(s->set); i++) {
		slab_deinit(&s->cores[i].cmds);
		slab_deinit(&s->cores[i].batches);
	}
	free(s->cores);
	free(s->load);
	free(s->by_tsih);
	free(s->by_name);
	free(s);
}

struct iscsi_options *iscsi_server_options(struct iscsi_server *s)
{
	return &s->options;
}

struct targets *iscsi_server_targets(struct iscsi_server *s)
{
	return s->targets;
}

/* ---- Requests that wait for sessions to end. */

static bool request_over(const struct iscsi_server *s,
			 const struct iscsi_request *req)
{
	const struct session_record *r;
	struct conn_record *c;

	if (!req->node)
		return list_empty(&s->conns) && list_empty(&s->sessions) &&
		       list_empty(&s->listeners);
	list_for_each(r, &s->sessions, link)
		if (r->node == req->node)
			return false;
	/* A login that is being closed still knows the node. */
	list_for_each(c, &s->conns, link)
		if (c->local && c->conn && conn_login(c->conn) &&
		    conn_login(c->conn)->node == req->node)
			return false;
	return true;
}

void server_check_requests(struct iscsi_server *s)
{
	struct iscsi_request *req, *tmp;
	struct list over = LIST_INIT(over);

	list_for_each_safe(req, tmp, &s->requests, link) {
		if (!request_over(s, req))
			continue;
		list_remove(&req->link);
		list_push_back(&over, &req->link);
	}
	while (!list_empty(&over)) {
		req = list_first(&over, struct iscsi_request, link);
		list_remove(&req->link);
		if (!req->node)
			timer_stop(s->reactor, &s->shutdown_timer);
		req->done(req);
	}
}

static void check_mail(struct mail *mail)
{
	struct iscsi_server *s = container_of(mail, struct iscsi_server, check);

	s->check_posted = false;
	server_check_requests(s);
}

/* done() comes from the loop, also when there is nothing to wait for. */
static void add_request(struct iscsi_server *s, struct iscsi_request *req,
			struct target_node *node)
{
	req->node = node;
	list_push_back(&s->requests, &req->link);
	if (s->check_posted)
		return;
	s->check_posted = true;
	s->check.run = check_mail;
	mail_post(s->reactor, &s->check);
}

/* ---- Sessions. */

/* FNV-1a of what one initiator's sessions differ in, and initiators. */
static struct list *bucket(struct iscsi_server *s, const struct login *login)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < sizeof(login->isid); i++)
		h = (h ^ login->isid[i]) * 16777619u;
	for (const char *p = login->initiator_name; *p; p++)
		h = (h ^ (uint8_t)*p) * 16777619u;
	return &s->by_name[(h ^ h >> 16) % SESSION_BUCKETS];
}

struct session_record *server_find_session(struct iscsi_server *s,
					   const struct login *login,
					   uint16_t tpgt)
{
	struct session_record *r;

	list_for_each(r, bucket(s, login), hash_link)
		if (r->node == login->node && r->tpgt == tpgt &&
		    memcmp(r->isid, login->isid, sizeof(r->isid)) == 0 &&
		    strcmp(r->initiator_name, login->initiator_name) == 0)
			return r;
	return NULL;
}

/* 0 and 0xffff mean other things. */
static uint16_t free_tsih(struct iscsi_server *s)
{
	for (uint32_t i = 0; i < 65536; i++) {
		uint16_t tsih = ++s->tsih_next;

		if (tsih != 0 && tsih != 0xffff && !s->by_tsih[tsih])
			return tsih;
	}
	return 0;
}

/* The reactor with the fewest sessions; control comes last among equals. */
static struct reactor *choose_reactor(struct iscsi_server *s)
{
	uint32_t n = reactors_count(s->set);
	uint32_t best = (reactor_index(s->reactor) + 1) % n;

	for (uint32_t k = 1; k <= n; k++) {
		uint32_t i = (reactor_index(s->reactor) + k) % n;

		if (s->load[i] < s->load[best])
			best = i;
	}
	return reactors_get(s->set, best);
}

static void record_free(struct session_record *r)
{
	free(r->session);
	free(r);
}

struct session_record *server_new_session(struct iscsi_server *s,
					  const struct login *login,
					  uint16_t tpgt,
					  enum login_status *ret_status)
{
	struct session_record *r;

	*ret_status = LOGIN_NO_RESOURCES;
	if (s->nsessions >= s->options.max_sessions)
		return NULL;
	r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	r->server = s;
	r->node = login->discovery ? NULL : login->node;
	r->tpgt = tpgt;
	r->tsih = free_tsih(s);
	memcpy(r->isid, login->isid, sizeof(r->isid));
	str_copy(r->initiator_name, sizeof(r->initiator_name),
		 login->initiator_name);
	list_init(&r->waiters);
	list_init(&r->conns);
	/* Discovery asks for what only control knows. */
	r->reactor = login->discovery ? s->reactor : choose_reactor(s);
	r->session = r->tsih ? session_create(s, r, r->reactor) : NULL;
	if (!r->session) {
		record_free(r);
		return NULL;
	}
	s->by_tsih[r->tsih] = r;
	s->nsessions++;
	s->load[reactor_index(r->reactor)]++;
	if (r->node)
		r->node->nsessions++;
	list_push_back(&s->sessions, &r->link);
	list_push_back(bucket(s, login), &r->hash_link);
	return r;
}

void server_conn_joins(struct conn_record *c, struct session_record *r)
{
	c->session = r;
	list_push_back(&r->conns, &c->session_link);
}

static void session_forget(struct session_record *r)
{
	struct iscsi_server *s = r->server;

	if (!r->ended || r->orders > 0)
		return;
	ASSERT(list_empty(&r->waiters));
	list_remove(&r->link);
	record_free(r);
	server_check_requests(s);
}

void server_session_ended(struct mail *mail)
{
	struct session_record *r =
		container_of(mail, struct session_record, mail);
	struct iscsi_server *s = r->server;
	struct list waiters = LIST_INIT(waiters);
	struct list *n;

	r->ended = true;
	list_remove(&r->hash_link);
	s->by_tsih[r->tsih] = NULL;
	s->nsessions--;
	s->load[reactor_index(r->reactor)]--;
	if (r->node)
		r->node->nsessions--;
	while ((n = list_pop_front(&r->conns)))
		list_entry(n, struct conn_record, session_link)->session = NULL;
	list_splice_back(&waiters, &r->waiters);
	while (!list_empty(&waiters)) {
		struct conn *w = list_first(&waiters, struct conn, link);

		list_remove(&w->link);
		if (w->state == CONN_ADMIT)
			login_resume(w);
	}
	session_forget(r);
}

/* ---- Orders. */

static void order_back(struct mail *mail)
{
	struct session_order *o =
		container_of(mail, struct session_order, mail);
	struct session_record *r = o->record;

	if (o->kind == ORDER_RESERVE)
		login_reserved(o->conn, o->ok ? r : NULL);
	free(o);
	r->orders--;
	session_forget(r);
}

/* On the session's reactor. Its memory stays until the order is back. */
static void order_run(struct mail *mail)
{
	struct session_order *o =
		container_of(mail, struct session_order, mail);

	switch (o->kind) {
	case ORDER_DROP:
		session_close(o->session, o->reason);
		break;
	case ORDER_LOGOUT:
		session_request_logout(o->session, o->timeout_s);
		break;
	case ORDER_RESERVE:
		o->ok = session_reserve(o->session, o->cid);
		break;
	case ORDER_UNRESERVE:
		session_unreserve(o->session);
		break;
	}
	mail->run = order_back;
	mail_post(o->record->server->reactor, mail);
}

static struct session_order *order_new(struct session_record *r,
				       enum order_kind kind)
{
	struct session_order *o = calloc(1, sizeof(*o));

	if (!o) {
		log_error("iscsi: no memory for an order to a session");
		return NULL;
	}
	r->orders++;
	o->record = r;
	o->session = r->session;
	o->kind = kind;
	o->mail.run = order_run;
	return o;
}

static void order_drop(struct session_record *r, enum close_reason reason)
{
	struct session_order *o;

	if (r->ended || r->dropping)
		return;
	o = order_new(r, ORDER_DROP);
	if (!o)
		return;
	r->dropping = true;
	o->reason = reason;
	mail_post(r->reactor, &o->mail);
}

static void order_logout(struct session_record *r, uint32_t timeout_s)
{
	struct session_order *o;

	if (r->ended || r->dropping)
		return;
	o = order_new(r, ORDER_LOGOUT);
	if (!o)
		return;
	o->timeout_s = (uint16_t)MIN(timeout_s, 65535u);
	mail_post(r->reactor, &o->mail);
}

void server_drop_session(struct iscsi_server *s, struct session_record *r,
			 enum close_reason reason)
{
	order_drop(r, reason);
}

void server_reserve(struct session_record *r, struct conn *c)
{
	struct session_order *o = order_new(r, ORDER_RESERVE);

	c->inflight++;
	if (!o) {
		login_reserved(c, NULL);
		return;
	}
	o->conn = c;
	o->cid = conn_login(c)->cid;
	mail_post(r->reactor, &o->mail);
}

void server_unreserve(struct session_record *r)
{
	struct session_order *o = order_new(r, ORDER_UNRESERVE);

	if (o)
		mail_post(r->reactor, &o->mail);
}

struct conn_record *server_find_cid(struct iscsi_server *s,
				    const struct session_record *r,
				    uint16_t cid, uint32_t *ret_count)
{
	struct conn_record *c, *found = NULL;

	*ret_count = 0;
	list_for_each(c, &r->conns, session_link) {
		++*ret_count;
		if (c->cid == cid)
			found = c;
	}
	return found;
}

static void drop_all(struct iscsi_server *s, const struct target_node *n,
		     enum close_reason reason)
{
	struct session_record *r;
	struct conn_record *c, *tmp;

	list_for_each(r, &s->sessions, link)
		if (!n || r->node == n)
			order_drop(r, reason);
	list_for_each_safe(c, tmp, &s->conns, link)
		if (c->local && c->conn &&
		    (!n || conn_login(c->conn)->node == n))
			conn_close(c->conn, reason);
}

void iscsi_server_drop_target(struct iscsi_server *s, struct target_node *n,
			      struct iscsi_request *req)
{
	drop_all(s, n, CLOSE_ADMIN);
	add_request(s, req, n);
}

void iscsi_server_request_logout(struct iscsi_server *s, struct target_node *n,
				 int32_t pg_tag, uint32_t timeout_s)
{
	struct session_record *r;

	list_for_each(r, &s->sessions, link)
		if ((!n || r->node == n) && (pg_tag < 0 || r->tpgt == pg_tag))
			order_logout(r, timeout_s);
}

struct cold_reset {
	struct mail mail;
	struct iscsi_server *server;
	struct target_node *node;
	uint16_t tsih;
};

static void cold_reset_run(struct mail *mail)
{
	struct cold_reset *cr = container_of(mail, struct cold_reset, mail);
	struct session_record *r = cr->server->by_tsih[cr->tsih];

	/* While this session lives its target does. */
	if (r && r->node == cr->node)
		drop_all(cr->server, cr->node, CLOSE_ADMIN);
	free(cr);
}

void server_cold_reset(struct iscsi_server *s, struct session *session)
{
	struct cold_reset *cr = calloc(1, sizeof(*cr));

	if (!cr)
		return;
	cr->server = s;
	cr->node = session->node;
	cr->tsih = session->tsih;
	cr->mail.run = cold_reset_run;
	mail_post(s->reactor, &cr->mail);
}

/* ---- Shutdown. */

static void shutdown_expired(struct timer *t)
{
	drop_all(container_of(t, struct iscsi_server, shutdown_timer), NULL,
		 CLOSE_SHUTDOWN);
}

void iscsi_server_shutdown(struct iscsi_server *s, uint32_t timeout_ms,
			   struct iscsi_request *req)
{
	struct conn_record *c, *tmp;

	s->shutting_down = true;
	server_unlisten_all(s);
	list_for_each_safe(c, tmp, &s->conns, link)
		if (c->local && c->conn)
			conn_close(c->conn, CLOSE_SHUTDOWN);
	iscsi_server_request_logout(s, NULL, -1, (timeout_ms + 999) / 1000);
	timer_start(s->reactor, &s->shutdown_timer, timeout_ms);
	add_request(s, req, NULL);
}
