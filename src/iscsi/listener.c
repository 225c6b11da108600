/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/assert.h"
#include "base/log.h"
#include "iscsi/conn.h"
#include "iscsi/server_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Portals, and the registry of connections, for those who ask. */

static bool same_host(const struct sockaddr_storage *a,
		      const struct sockaddr_storage *b)
{
	char text[2][ADDR_TEXT_MAX];

	addr_host(a, false, text[0], sizeof(text[0]));
	addr_host(b, false, text[1], sizeof(text[1]));
	return strcmp(text[0], text[1]) == 0;
}

static bool too_many_from(const struct iscsi_server *s,
			  const struct sockaddr_storage *peer)
{
	uint32_t max = s->options.max_connections_per_address, n = 0;
	const struct conn_record *r;

	if (max == 0)
		return false;
	list_for_each(r, &s->conns, link)
		if (same_host(&r->peer, peer))
			n++;
	return n > max;
}

static void accepted(struct listener *l, int fd)
{
	struct portal_listener *pl =
		container_of(l, struct portal_listener, listener);
	struct iscsi_server *s = pl->server;
	struct conn_record *r;

	/* Who is logged in does not suffer from those who are not. */
	if (s->nlogins >= s->options.max_logins) {
		if (log_limit_ok(&s->accept_log, reactor_now_ns(s->reactor)))
			log_warning("iscsi: too many logins under way (%u)",
				    s->nlogins);
		close(fd);
		return;
	}
	r = calloc(1, sizeof(*r));
	if (!r) {
		close(fd);
		return;
	}
	r->server = s;
	list_init(&r->session_link);
	r->pg = pl->pg;
	r->local = true;
	r->id = s->conn_id_next++;
	r->conn = conn_create(s, &s->cores[reactor_index(s->reactor)], r);
	if (!r->conn) {
		free(r);
		close(fd);
		return;
	}
	portal_group_ref(r->pg);
	list_push_back(&s->conns, &r->link);
	s->nconns++;
	s->nlogins++;
	conn_start(r->conn, fd);
	stream_peer_addr(&r->conn->stream, &r->peer);
	stream_local_addr(&r->conn->stream, &r->self);
	if (too_many_from(s, &r->peer))
		conn_close(r->conn, CLOSE_TOO_MANY);
}

static void conn_gone(struct mail *mail)
{
	struct conn_record *r = container_of(mail, struct conn_record, mail);
	struct iscsi_server *s = r->server;

	list_remove(&r->link);
	list_remove(&r->session_link);
	s->nconns--;
	if (r->local)
		s->nlogins--;
	portal_group_unref(r->pg);
	if (r->session)
		login_resume_cid(r->session, r->cid);
	free(r);
	server_check_requests(s);
}

void server_conn_leaves(struct conn_record *r)
{
	/* Until the mail comes others may still find the record. */
	if (r->local)
		r->conn = NULL;
	r->mail.run = conn_gone;
	mail_post(r->server->reactor, &r->mail);
}

static void listener_released(struct listener *l)
{
	struct portal_listener *pl =
		container_of(l, struct portal_listener, listener);
	struct iscsi_server *s = pl->server;

	list_remove(&pl->link);
	portal_group_unref(pl->pg);
	free(pl);
	server_check_requests(s);
}

static void unlisten(struct portal_listener *pl)
{
	if (!pl->portal)
		return;
	pl->portal->listener = NULL;
	pl->portal = NULL;
	listener_close(&pl->listener);
}

static int listen_portal(struct iscsi_server *s, struct portal_group *pg,
			 struct portal *p)
{
	struct portal_listener *pl;
	int r;

	if (p->listener)
		return 0;
	pl = calloc(1, sizeof(*pl));
	if (!pl)
		return -ENOMEM;
	pl->server = s;
	pl->pg = pg;
	pl->portal = p;
	list_init(&pl->link);
	pl->listener.accepted = accepted;
	pl->listener.released = listener_released;
	r = listener_open(&pl->listener, s->reactor,
			  (struct sockaddr *)&p->addr, p->addr_len, 0);
	if (r != 0) {
		free(pl);
		return r;
	}
	portal_group_ref(pg);
	p->listener = pl;
	list_push_back(&s->listeners, &pl->link);
	return 0;
}

int iscsi_server_listen(struct iscsi_server *s, struct portal_group *pg)
{
	struct portal *p;
	int r;

	list_for_each(p, &pg->portals, link) {
		r = listen_portal(s, pg, p);
		if (r != 0) {
			log_error("iscsi: cannot listen on %s:%s: %s", p->host,
				  p->port, strerror(-r));
			iscsi_server_unlisten(s, pg);
			return r;
		}
	}
	return 0;
}

void iscsi_server_unlisten(struct iscsi_server *s, struct portal_group *pg)
{
	struct portal *p;

	list_for_each(p, &pg->portals, link)
		if (p->listener)
			unlisten(p->listener);
}

void server_unlisten_all(struct iscsi_server *s)
{
	struct portal_listener *pl, *tmp;

	list_for_each_safe(pl, tmp, &s->listeners, link)
		unlisten(pl);
}

/* ---- What getters show. */

void iscsi_server_each_conn(struct iscsi_server *s,
			    void (*fn)(const struct iscsi_conn_info *info,
				       void *ctx),
			    void *ctx)
{
	struct conn_record *r;

	list_for_each(r, &s->conns, link) {
		struct reactor *reactor =
			r->session ? r->session->reactor : s->reactor;
		struct iscsi_conn_info info = {
			.id = r->id,
			.cid = r->cid,
			.tsih = r->session ? r->session->tsih : 65535,
			.state = r->session && r->session->dropping ? "exiting"
								    : "running",
			.login_phase = r->session
					       ? "full_feature_phase"
					       : "security_negotiation_phase",
			.target_node_name = r->session && r->session->node
						    ? r->session->node->name
						    : "",
			.initiator_name = r->initiator_name,
			.reactor = reactor_index(reactor),
			.cpu = reactor_cpu(reactor),
		};

		addr_host(&r->peer, false, info.initiator_addr,
			  sizeof(info.initiator_addr));
		addr_host(&r->self, false, info.target_addr,
			  sizeof(info.target_addr));
		fn(&info, ctx);
	}
}

void iscsi_server_stats(struct iscsi_server *s, struct iscsi_stats *ret)
{
	*ret = (struct iscsi_stats){
		.logins = s->logins,
		.login_failures = s->login_failures,
		.connections = s->nconns,
		.sessions = s->nsessions,
	};
	/* Other cores' counters: a moment old, never torn. */
	for (uint32_t i = 0; i < reactors_count(s->set); i++) {
		ret->rejects +=
			__atomic_load_n(&s->cores[i].rejects, __ATOMIC_RELAXED);
		ret->digest_errors += __atomic_load_n(
			&s->cores[i].digest_errors, __ATOMIC_RELAXED);
	}
}
