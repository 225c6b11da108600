/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is exported to whom: portal groups, initiator groups, target nodes and
 * the maps between them. Control reactor only; sessions hold a reference to
 * their target node.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/list.h"
#include "base/str.h"
#include "reactor/net.h"
#include "scsi/device.h"

#define PORTALS_MAX	  1024 /* per portal group */
#define GROUP_ENTRIES_MAX 256  /* initiators, netmasks per group */
#define TARGET_MAPS_MAX	  256  /* PG-IG maps of a target */
#define TARGET_ALIAS_MAX  255
#define CHAP_NAME_MAX	  255
#define CHAP_SECRET_MAX	  255

struct targets; /* all of it */

int targets_create(struct scsi_server *scsi, struct targets **ret);
void targets_destroy(struct targets *t);

/* ---- Authentication policy: of a target, a portal group, or discovery. */
struct auth_policy {
	bool disable_chap;
	bool require_chap;
	bool mutual_chap;
	int32_t chap_group; /* 0 = none */
};
/* The combinations that SPDK allows: {}, disable, require, require+mutual;
 * chap_group >= 0. 0 or -EINVAL. */
int auth_policy_check(const struct auth_policy *p);

/* ---- Portal groups. */
struct portal {
	struct list link;
	struct portal_group *group;
	char *host; /* as given: "127.0.0.1", "[::1]", "*" */
	char *port;
	struct sockaddr_storage addr;
	socklen_t addr_len;
	void *listener; /* the iscsi layer's; NULL = not open */
};

struct portal_group {
	struct list link;
	uint16_t tag;		 /* 1..65535 */
	bool is_private;	 /* not shown in discovery */
	bool wait;		 /* not to be opened until started */
	struct auth_policy auth; /* discovery on this group */
	bool auth_set;
	uint8_t access; /* enum scsi_access_state */
	struct list portals;
	uint32_t nportals;
	uint32_t refs; /* maps and sessions */
	bool removed;
};

/* @ret_why everywhere: one line for the user; may be NULL. */
int portal_group_create(struct targets *t, int32_t tag, bool is_private,
			bool wait, struct portal_group **ret,
			const char **ret_why);
/* Before it is published. -EINVAL, -EEXIST (host:port in use by a group). */
int portal_group_add_portal(struct targets *t, struct portal_group *pg,
			    const char *host, const char *port,
			    const char **ret_why);
struct portal_group *portal_group_find(struct targets *t, int32_t tag);
struct portal_group *portal_group_first(struct targets *t);
struct portal_group *portal_group_next(struct targets *t,
				       struct portal_group *pg);
/* Its listeners are closed. Takes its maps out of all targets. */
void portal_group_delete(struct targets *t, struct portal_group *pg);
/* For all targets that are mapped to it, now and later (SPC-4, 5.15). */
void portal_group_set_access(struct targets *t, struct portal_group *pg,
			     enum scsi_access_state state);
void portal_group_ref(struct portal_group *pg);
void portal_group_unref(struct portal_group *pg);

/* ---- Initiator groups. */
struct initiator_group {
	struct list link;
	int32_t tag;	   /* >= 1 */
	char **initiators; /* "ANY", "!ANY", name, "!name" */
	uint32_t ninitiators;
	char **netmasks;
	uint32_t nnetmasks;
};

int initiator_group_create(struct targets *t, int32_t tag,
			   const char *const *initiators, uint32_t ninitiators,
			   const char *const *netmasks, uint32_t nnetmasks,
			   struct initiator_group **ret, const char **ret_why);
/* All or nothing. */
int initiator_group_add(struct targets *t, struct initiator_group *ig,
			const char *const *initiators, uint32_t ninitiators,
			const char *const *netmasks, uint32_t nnetmasks,
			const char **ret_why);
int initiator_group_remove(struct targets *t, struct initiator_group *ig,
			   const char *const *initiators, uint32_t ninitiators,
			   const char *const *netmasks, uint32_t nnetmasks,
			   const char **ret_why);
struct initiator_group *initiator_group_find(struct targets *t, int32_t tag);
struct initiator_group *initiator_group_first(struct targets *t);
struct initiator_group *initiator_group_next(struct targets *t,
					     struct initiator_group *ig);
void initiator_group_delete(struct targets *t, struct initiator_group *ig);

/* ---- Target nodes. */
struct target_map {
	struct portal_group *pg;
	struct initiator_group *ig;
};

/* Where a login through a public portal group is sent on to. */
struct target_redirect {
	struct list link;
	struct portal_group *pg;
	char host[ADDR_TEXT_MAX]; /* numeric, as given */
	char port[8];
};

struct target_node {
	struct list link;
	struct targets *targets;
	char name[ISCSI_NAME_MAX + 1];
	char alias[TARGET_ALIAS_MAX + 1]; /* "" = none */
	struct scsi_device *device;
	uint32_t queue_depth;		 /* the command window */
	bool header_digest, data_digest; /* required */
	struct auth_policy auth;
	struct target_map maps[TARGET_MAPS_MAX];
	uint32_t nmaps;
	bool removing;	    /* login answers 0x0204 */
	uint32_t changes;   /* of LUNs, under way: control's */
	uint32_t nsessions; /* the iscsi layer's count */
	/* Login redirection, per public portal group. */
	struct list redirects;
	/* target_node_destroy(): the caller's, and the one under way. */
	struct scsi_change *destroy_change;
	struct scsi_change device_change;
};

/* @name: complete, or a suffix for @node_base. 0, -EINVAL, -EEXIST, -ENOMEM. */
int target_node_create(struct targets *t, const char *name, const char *alias,
		       const char *node_base, struct target_node **ret,
		       const char **ret_why);
struct target_node *target_node_find(struct targets *t, const char *name);
struct target_node *target_node_first(struct targets *t);
struct target_node *target_node_next(struct targets *t, struct target_node *n);
int target_node_add_map(struct target_node *n, int32_t pg_tag, int32_t ig_tag,
			const char **ret_why);
int target_node_remove_map(struct target_node *n, int32_t pg_tag,
			   int32_t ig_tag, const char **ret_why);
/*
 * @host and @port NULL: takes the redirection away. The group must be mapped
 * and public, and must not hold the address that it would redirect to.
 * 0, -ENOENT (no map of that group), -EINVAL, -ENOMEM.
 */
int target_node_set_redirect(struct target_node *n, int32_t pg_tag,
			     const char *host, const char *port,
			     const char **ret_why);
/* NULL: logins through @pg are not redirected. */
const struct target_redirect *target_node_redirect(
	const struct target_node *n, const struct portal_group *pg);
/* All sessions are gone (see iscsi/server.h). Destroys device and node: the
 * name is free at once, the memory when @change (may be NULL) is done. */
void target_node_destroy(struct target_node *n, struct scsi_change *change);

/* ---- Who may what. */
enum target_access {
	TARGET_ALLOWED,
	TARGET_DENIED, /* 0x0202 */
};
/*
 * May @initiator, from @peer, log in to @n through @pg? SPDK's rule: the maps
 * of @pg in order; in a group the names in order; a "!" that matches denies at
 * once; a name that matches needs one of the group's netmasks, else the next
 * group is asked. Names compare without case.
 */
enum target_access target_node_access(const struct target_node *n,
				      const struct portal_group *pg,
				      const char *initiator,
				      const struct sockaddr_storage *peer);
/* The same over all of its public portal groups: is it shown in discovery?
 * Fills the groups (in map order, each once) through which it may be reached. */
uint32_t target_node_visible(const struct target_node *n, const char *initiator,
			     const struct sockaddr_storage *peer,
			     const struct portal_group **ret_groups,
			     uint32_t max);

/* ---- CHAP secrets: [AuthGroupN]. Never printed. */
struct chap_secret {
	char user[CHAP_NAME_MAX + 1];
	char secret[CHAP_SECRET_MAX + 1];
	char muser[CHAP_NAME_MAX + 1]; /* "" = none */
	char msecret[CHAP_SECRET_MAX + 1];
};
struct auth_group;
int auth_group_create(struct targets *t, int32_t tag, const char **ret_why);
int auth_group_add_secret(struct targets *t, int32_t tag,
			  const struct chap_secret *s, const char **ret_why);
int auth_group_remove_secret(struct targets *t, int32_t tag, const char *user,
			     const char **ret_why);
int auth_group_delete(struct targets *t, int32_t tag, const char **ret_why);
/* NULL: no such group or user. */
const struct chap_secret *auth_group_find(const struct targets *t, int32_t tag,
					  const char *user);
/* Walks: the tag of the first group after @tag, 0 at the end; a group's n-th
 * secret or NULL. */
int32_t auth_group_after(const struct targets *t, int32_t tag);
const struct chap_secret *auth_group_secret(const struct targets *t,
					    int32_t tag, uint32_t n);
