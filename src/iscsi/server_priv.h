/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What control knows of connections and sessions. All of it belongs to the
 * control reactor; sessions on other reactors send mail.
 */
#pragma once

#include "base/log.h"
#include "iscsi/conn.h"
#include "iscsi/login.h"
#include "iscsi/server.h"
#include "reactor/net.h"

struct portal_listener {
	struct listener listener;
	struct iscsi_server *server;
	struct portal_group *pg; /* referenced */
	struct portal *portal;	 /* NULL once it is unlistened */
	struct list link;
};

struct conn_record {
	struct list link; /* server->conns */
	struct iscsi_server *server;
	struct conn *conn; /* to be touched only while `local`; NULL: gone */
	bool local;	   /* still in login, on the control reactor */
	struct session_record *session;
	struct list session_link; /* session->conns */
	uint32_t id;
	uint16_t cid;
	bool exiting;
	struct portal_group *pg; /* referenced */
	struct sockaddr_storage peer, self;
	char initiator_name[ISCSI_NAME_MAX + 1];
	struct mail mail; /* the connection is gone */
};

struct session_record {
	struct list link;      /* server->sessions */
	struct list hash_link; /* server->by_name, until it has ended */
	struct list conns;     /* struct conn_record, until it has ended */
	struct iscsi_server *server;
	struct session *session; /* freed with the record */
	struct reactor *reactor;
	struct target_node *node; /* NULL: discovery */
	uint16_t tsih;
	uint16_t tpgt;
	uint32_t max_connections; /* negotiated */
	uint8_t isid[6];
	char initiator_name[ISCSI_NAME_MAX + 1];
	bool ended; /* its reactor is done with it */
	bool dropping;
	uint32_t orders;     /* mails on their way there and back */
	struct list waiters; /* struct conn: logins that wait for its end */
	struct mail mail;    /* the session has ended */
};

/* By initiator and ISID; a power of two. */
#define SESSION_BUCKETS 4096u

struct iscsi_server {
	struct reactors *set;
	struct reactor *reactor; /* control */
	struct targets *targets;
	struct iscsi_options options;
	struct iscsi_core *cores; /* one per reactor */
	uint32_t *load;		  /* sessions per reactor */
	struct list listeners;
	struct list conns;
	struct list sessions;
	struct list requests; /* struct iscsi_request that wait */
	uint32_t nconns, nsessions;
	uint32_t nlogins; /* connections before full feature phase */
	uint32_t conn_id_next;
	uint16_t tsih_next;
	bool shutting_down;
	struct timer shutdown_timer;
	struct mail check; /* looks at the requests, from the loop */
	bool check_posted;
	uint64_t logins, login_failures;
	struct log_limit login_log, accept_log;
	struct session_record **by_tsih; /* [65536] */
	struct list *by_name;		 /* [SESSION_BUCKETS] */
};

/* What a session is told by control; answered by coming back. */
enum order_kind {
	ORDER_DROP,
	ORDER_LOGOUT,
	ORDER_RESERVE, /* a place for a connection that joins */
	ORDER_UNRESERVE,
};
struct session_order {
	struct mail mail;
	struct session_record *record;
	struct session *session;
	enum order_kind kind;
	enum close_reason reason;
	uint16_t timeout_s;
	uint16_t cid;
	struct conn *conn; /* RESERVE: who joins */
	bool ok;	   /* RESERVE: it may */
};

/* Admission of a login (login_conn.c). */
struct session_record *server_find_session(struct iscsi_server *s,
					   const struct login *login,
					   uint16_t tpgt);
struct session_record *server_new_session(struct iscsi_server *s,
					  const struct login *login,
					  uint16_t tpgt,
					  enum login_status *ret_status);
void server_drop_session(struct iscsi_server *s, struct session_record *r,
			 enum close_reason reason);
void server_unlisten_all(struct iscsi_server *s);
/* Something has gone: who waited for it? */
void server_check_requests(struct iscsi_server *s);
/* The connection is one of the session's. */
void server_conn_joins(struct conn_record *c, struct session_record *r);
/* The connection of @r with that CID, or NULL; how many there are. */
struct conn_record *server_find_cid(struct iscsi_server *s,
				    const struct session_record *r,
				    uint16_t cid, uint32_t *ret_count);
/* Asks the session for a place for @c; login_reserved() follows. */
void server_reserve(struct session_record *r, struct conn *c);
void server_unreserve(struct session_record *r);
/* Mails from the reactors, run on control. */
void server_session_ended(struct mail *mail);
/* From the connection's reactor: control forgets it. */
void server_conn_leaves(struct conn_record *r);
/* TARGET COLD RESET (RFC 7143, 11.5.1): all sessions of the target end. From
 * the session's reactor. */
void server_cold_reset(struct iscsi_server *s, struct session *session);
/* The answer to server_reserve(); NULL: there is no such session any more. */
void login_reserved(struct conn *c, struct session_record *r);
/* A login in CONN_ADMIT may go on. */
void login_resume(struct conn *c);
/* The same, for the one that waits for connection @cid of @r to go. */
void login_resume_cid(struct session_record *r, uint16_t cid);
