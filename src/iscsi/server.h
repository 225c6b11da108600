/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The iSCSI server: listeners, the registry of connections and sessions, and
 * what control asks of them. Control reactor.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "iscsi/options.h"
#include "reactor/reactor.h"
#include "target/target.h"

struct iscsi_server;

int iscsi_server_create(struct reactors *set, struct targets *targets,
			struct iscsi_server **ret);
void iscsi_server_destroy(struct iscsi_server *s); /* after shutdown */

/* May be changed while running: for new sessions. */
struct iscsi_options *iscsi_server_options(struct iscsi_server *s);
struct targets *iscsi_server_targets(struct iscsi_server *s);

/* Opens all portals of the group, or none: 0 or -errno. */
int iscsi_server_listen(struct iscsi_server *s, struct portal_group *pg);
/* Closes them; connections live on. */
void iscsi_server_unlisten(struct iscsi_server *s, struct portal_group *pg);

/* Something asked of many sessions, which ends when all have done it. */
struct iscsi_request {
	void (*done)(struct iscsi_request *req); /* control reactor */
	uint32_t left;				 /* the server's */
	struct list link;
	struct target_node *node;
};

/* Ends all sessions of a target node; then done (maybe at once, from the
 * loop). New logins are refused when node->removing is set first. */
void iscsi_server_drop_target(struct iscsi_server *s, struct target_node *n,
			      struct iscsi_request *req);

/*
 * Asks the sessions of @n (all: NULL; of one portal group: @pg_tag >= 0) to
 * log out within @timeout_s (async event 1); they are dropped when they do
 * not. Returns at once.
 */
void iscsi_server_request_logout(struct iscsi_server *s, struct target_node *n,
				 int32_t pg_tag, uint32_t timeout_s);

/*
 * Orderly end: closes listeners, asks all sessions to log out, lets commands
 * in flight finish, and after @timeout_ms drops what is left. done() when the
 * last connection is gone.
 */
void iscsi_server_shutdown(struct iscsi_server *s, uint32_t timeout_ms,
			   struct iscsi_request *req);

/* ---- What getters show. */
struct iscsi_conn_info {
	uint32_t id;
	uint16_t cid;
	uint16_t tsih;		 /* 65535: none yet */
	const char *state;	 /* running, exiting */
	const char *login_phase; /* SPDK's words */
	char initiator_addr[ADDR_TEXT_MAX];
	char target_addr[ADDR_TEXT_MAX];
	const char *target_node_name; /* full; "" in discovery */
	const char *initiator_name;
	uint32_t reactor; /* index */
	uint32_t cpu;
};
/* Calls @fn for each connection. */
void iscsi_server_each_conn(struct iscsi_server *s,
			    void (*fn)(const struct iscsi_conn_info *info,
				       void *ctx),
			    void *ctx);

struct iscsi_stats {
	uint64_t logins, login_failures, rejects, digest_errors;
	uint32_t connections, sessions;
};
void iscsi_server_stats(struct iscsi_server *s, struct iscsi_stats *ret);
