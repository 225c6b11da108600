/* SPDX-License-Identifier: BSD-3-Clause */
/* Methods of target nodes: creation, deletion, LUNs, maps. */
#include "control/rpc_tables.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "control/control_priv.h"
#include "control/rpc_util.h"

#define LOGOUT_REQUEST_S 30 /* as SPDK asks */
#define CALL_LUNS_MAX	 SCSI_LUNS_MAX

struct map_params {
	int32_t pg_tag, ig_tag;
};

static const struct param map_rows[] = {
	{.name = "pg_tag",
	 .type = PARAM_INT,
	 .required = true,
	 .offset = AT(struct map_params, pg_tag),
	 .help = "portal group"},
	{.name = "ig_tag",
	 .type = PARAM_INT,
	 .required = true,
	 .offset = AT(struct map_params, ig_tag),
	 .help = "initiator group"},
	{},
};

struct lun_params {
	const char *bdev_name;
	int32_t lun_id;
};

static const struct param lun_rows[] = {
	{.name = "bdev_name",
	 .type = PARAM_TEXT,
	 .required = true,
	 .offset = AT(struct lun_params, bdev_name),
	 .help = "block device"},
	{.name = "lun_id",
	 .type = PARAM_INT,
	 .min = -1,
	 .max = SCSI_LUNS_MAX - 1,
	 .offset = AT(struct lun_params, lun_id),
	 .fallback = "-1",
	 .help = "-1 = the lowest that is free"},
	{},
};

struct node_params {
	const char *name, *alias;
	/* 18.04 and later; then 18.01. */
	json_t *maps, *luns;
	json_t *pg_tags, *ig_tags, *bdev_names, *lun_ids;
	int32_t queue_depth;
	bool header_digest, data_digest;
	struct auth_policy auth;
};

#define MAP_ROWS                                                               \
	{.name = "pg_ig_maps",                                                 \
	 .type = PARAM_OBJECTS,                                                \
	 .max = TARGET_MAPS_MAX,                                               \
	 .sub = map_rows,                                                      \
	 .offset = AT(struct node_params, maps),                               \
	 .help = "portal groups and who may use them"},                        \
		{.name = "pg_tags",                                            \
		 .type = PARAM_INTS,                                           \
		 .max = TARGET_MAPS_MAX,                                       \
		 .offset = AT(struct node_params, pg_tags),                    \
		 .help = "18.01: the portal groups of the maps"},              \
	{                                                                      \
		.name = "ig_tags", .type = PARAM_INTS, .max = TARGET_MAPS_MAX, \
		.offset = AT(struct node_params, ig_tags),                     \
		.help = "18.01: the initiator groups of the maps"              \
	}

static const struct param create_rows[] = {
	{.name = "name",
	 .type = PARAM_TEXT,
	 .required = true,
	 .offset = AT(struct node_params, name),
	 .help = "complete iSCSI name, or what follows node_base"},
	{.name = "alias_name",
	 .type = PARAM_TEXT,
	 .required = true,
	 .max = TARGET_ALIAS_MAX,
	 .offset = AT(struct node_params, alias),
	 .help = "TargetAlias; may be empty"},
	MAP_ROWS,
	{.name = "luns",
	 .type = PARAM_OBJECTS,
	 .max = CALL_LUNS_MAX,
	 .sub = lun_rows,
	 .offset = AT(struct node_params, luns),
	 .help = "block devices and their LUNs"},
	{.name = "bdev_names",
	 .type = PARAM_TEXTS,
	 .max = CALL_LUNS_MAX,
	 .offset = AT(struct node_params, bdev_names),
	 .help = "18.01: the block devices of the LUNs"},
	{.name = "lun_ids",
	 .type = PARAM_INTS,
	 .max = CALL_LUNS_MAX,
	 .offset = AT(struct node_params, lun_ids),
	 .help = "18.01: the LUNs"},
	{.name = "queue_depth",
	 .type = PARAM_INT,
	 .required = true,
	 .offset = AT(struct node_params, queue_depth),
	 .help = "command window; out of 1..max_queue_depth: that"},
	CHAP_ROWS(struct node_params, auth),
	{.name = "chap_disabled",
	 .type = PARAM_FLAG,
	 .offset = AT(struct node_params, auth.disable_chap),
	 .help = "18.01: disable_chap"},
	{.name = "chap_required",
	 .type = PARAM_FLAG,
	 .offset = AT(struct node_params, auth.require_chap),
	 .help = "18.01: require_chap"},
	{.name = "chap_mutual",
	 .type = PARAM_FLAG,
	 .offset = AT(struct node_params, auth.mutual_chap),
	 .help = "18.01: mutual_chap"},
	{.name = "chap_auth_group",
	 .type = PARAM_INT,
	 .max = INT32_MAX,
	 .offset = AT(struct node_params, auth.chap_group),
	 .help = "18.01: chap_group"},
	{.name = "header_digest",
	 .type = PARAM_FLAG,
	 .offset = AT(struct node_params, header_digest),
	 .fallback = "false",
	 .help = "require CRC32C for headers"},
	{.name = "data_digest",
	 .type = PARAM_FLAG,
	 .offset = AT(struct node_params, data_digest),
	 .fallback = "false",
	 .help = "require CRC32C for data"},
	{},
};

static const struct param name_rows[] = {
	{.name = "name",
	 .type = PARAM_TEXT,
	 .required = true,
	 .offset = AT(struct node_params, name),
	 .help = "iSCSI name"},
	{},
};

static const struct param edit_map_rows[] = {
	{.name = "name",
	 .type = PARAM_TEXT,
	 .required = true,
	 .offset = AT(struct node_params, name),
	 .help = "iSCSI name"},
	MAP_ROWS,
	{},
};

static const struct param auth_rows[] = {
	{.name = "name",
	 .type = PARAM_TEXT,
	 .required = true,
	 .offset = AT(struct node_params, name),
	 .help = "iSCSI name"},
	CHAP_ROWS(struct node_params, auth),
	{},
};

/* ---- What the parameters of both vocabularies come to. */

struct node_plan {
	struct rpc_call *call;
	struct target_node *node;
	struct map_params maps[TARGET_MAPS_MAX];
	uint32_t nmaps;
	struct lun_params luns[CALL_LUNS_MAX];
	uint32_t nluns, at;
	char why[RPC_MESSAGE_MAX];
};

static bool plan_fail(struct rpc_call *call, const char *why)
{
	rpc_fail(call, RPC_INVALID_PARAMS, "Invalid parameters: %s", why);
	return false;
}

static int32_t int_at(json_t *array, size_t i)
{
	return (int32_t)json_integer_value(json_array_get(array, i));
}

static bool plan_maps(struct rpc_call *call, const struct node_params *p,
		      struct node_plan *plan)
{
	char why[PARAM_WHY_MAX];
	json_t *entry;
	size_t i;

	if (!p->maps == !(p->pg_tags || p->ig_tags))
		return plan_fail(call, "give pg_ig_maps, or pg_tags and "
				       "ig_tags");
	if (json_array_size(p->pg_tags) != json_array_size(p->ig_tags))
		return plan_fail(call, "pg_tags and ig_tags differ in length");
	json_array_foreach(p->maps, i, entry) {
		struct map_params *m = &plan->maps[plan->nmaps++];

		ASSERT(params_decode(map_rows, entry, m, NULL, why,
				     sizeof(why)) == 0);
	}
	for (i = 0; i < json_array_size(p->pg_tags); i++) {
		plan->maps[plan->nmaps++] = (struct map_params){
			.pg_tag = int_at(p->pg_tags, i),
			.ig_tag = int_at(p->ig_tags, i),
		};
	}
	return true;
}

static bool plan_luns(struct rpc_call *call, const struct node_params *p,
		      struct node_plan *plan)
{
	char why[PARAM_WHY_MAX];
	json_t *entry;
	size_t i;

	if (!p->luns == !(p->bdev_names || p->lun_ids))
		return plan_fail(call, "give luns, or bdev_names and lun_ids");
	if (json_array_size(p->bdev_names) != json_array_size(p->lun_ids))
		return plan_fail(call, "bdev_names and lun_ids differ in "
				       "length");
	json_array_foreach(p->luns, i, entry) {
		struct lun_params *l = &plan->luns[plan->nluns++];

		ASSERT(params_decode(lun_rows, entry, l, NULL, why,
				     sizeof(why)) == 0);
	}
	json_array_foreach(p->bdev_names, i, entry) {
		int32_t id = int_at(p->lun_ids, i);

		if (id < -1 || id >= SCSI_LUNS_MAX)
			return plan_fail(call, "a LUN is not 0..255");
		plan->luns[plan->nluns++] = (struct lun_params){
			.bdev_name = json_string_value(entry),
			.lun_id = id,
		};
	}
	return true;
}

/* ---- Creation: the node, its maps, then one LUN after the other. */

static void create_failed(struct scsi_change *change)
{
	struct rpc_call *call = container_of(change, struct rpc_call, change);
	struct node_plan *plan = take(&call->priv);

	rpc_fail(call, RPC_INVALID_PARAMS, "Invalid parameters: %s", plan->why);
	free(plan);
}

static void fail_create(struct rpc_call *call, const char *what, int error,
			const char *why)
{
	struct node_plan *plan = call->priv;

	snprintf(plan->why, sizeof(plan->why), "%s: %s", what,
		 why ? why : strerror(-error));
	plan->node->changes--;
	call->change.done = create_failed;
	target_node_destroy(plan->node, &call->change);
}

static const char *lun_why(int error)
{
	switch (error) {
	case -ENODEV:
		return "no block device has that name";
	case -EEXIST:
		return "the LUN is taken";
	case -ENOSPC:
		return "no LUN is free";
	default:
		return strerror(-error);
	}
}

static void add_luns(struct rpc_call *call);

static void lun_added(struct scsi_change *change)
{
	struct rpc_call *call = container_of(change, struct rpc_call, change);
	struct node_plan *plan = call->priv;

	if (change->result < 0) {
		fail_create(call, plan->luns[plan->at].bdev_name,
			    change->result, lun_why(change->result));
		return;
	}
	plan->at++;
	add_luns(call);
}

static void add_luns(struct rpc_call *call)
{
	struct node_plan *plan = call->priv;
	struct lun_params *lun = &plan->luns[plan->at];
	int error;

	if (plan->at == plan->nluns) {
		/* Complete: now it may be logged in to. */
		plan->node->removing = false;
		plan->node->changes--;
		free(take(&call->priv));
		rpc_true(call);
		return;
	}
	call->change.done = lun_added;
	error = scsi_device_add_lun(plan->node->device, lun->lun_id,
				    lun->bdev_name, &(struct lun_options){},
				    &call->change);
	if (error < 0)
		fail_create(call, lun->bdev_name, error, lun_why(error));
}

static uint32_t clamp_depth(const struct control *c, int32_t depth)
{
	uint32_t most = c->options->max_queue_depth;

	if (depth < 1 || (uint32_t)depth > most)
		return most;
	return (uint32_t)depth;
}

static void start_create(struct rpc_call *call, const struct node_params *p,
			 struct node_plan *plan)
{
	struct control *c = call->control;
	const char *why = NULL;
	struct target_node *n;
	int error;

	error = target_node_create(c->targets, p->name, p->alias,
				   c->options->node_base, &n, &why);
	if (error < 0) {
		rpc_fail(call, RPC_INVALID_PARAMS, "Invalid parameters: %s",
			 why);
		free(plan);
		return;
	}
	/* Nobody logs in to half a target. */
	n->removing = true;
	n->changes++;
	n->queue_depth = clamp_depth(c, p->queue_depth);
	n->header_digest = p->header_digest;
	n->data_digest = p->data_digest;
	n->auth = p->auth;
	plan->node = n;
	call->priv = plan;
	for (uint32_t i = 0; i < plan->nmaps; i++) {
		char what[64];

		error = target_node_add_map(n, plan->maps[i].pg_tag,
					    plan->maps[i].ig_tag, &why);
		if (error == 0)
			continue;
		snprintf(what, sizeof(what), "map %d:%d", plan->maps[i].pg_tag,
			 plan->maps[i].ig_tag);
		fail_create(call, what, error, why);
		return;
	}
	add_luns(call);
}

static void create_node(struct rpc_call *call)
{
	struct node_plan *plan;
	struct node_params p;

	if (!rpc_params(call, &p) || !rpc_policy_ok(call, &p.auth))
		return;
	plan = calloc(1, sizeof(*plan));
	if (!plan) {
		rpc_done(call, NULL);
		return;
	}
	if (!plan_maps(call, &p, plan) || !plan_luns(call, &p, plan)) {
		free(plan);
		return;
	}
	start_create(call, &p, plan);
}

/* ---- Deletion: sessions first, then the node. */

/* Failed: there is no such target, or it is on its way out. */
static struct target_node *find_node(struct rpc_call *call, const char *name)
{
	struct target_node *n = target_node_find(call->control->targets, name);

	if (!n) {
		rpc_fail_errno(call, -ENOENT, "no such target node");
		return NULL;
	}
	if (n->removing) {
		rpc_fail_errno(call, -EBUSY,
			       "the target node is being created or deleted");
		return NULL;
	}
	return n;
}

static void change_ended(struct scsi_change *change)
{
	struct rpc_call *call = container_of(change, struct rpc_call, change);

	if (change->result < 0)
		rpc_fail_errno(call, change->result, lun_why(change->result));
	else
		rpc_true(call);
}

static void sessions_dropped(struct iscsi_request *req)
{
	struct rpc_call *call = container_of(req, struct rpc_call, request);

	call->change.done = change_ended;
	target_node_destroy(take(&call->priv), &call->change);
}

static void delete_node(struct rpc_call *call)
{
	struct target_node *n;
	struct node_params p;

	if (!rpc_params(call, &p) || !(n = find_node(call, p.name)))
		return;
	if (n->changes > 0) {
		rpc_fail_errno(call, -EBUSY, "a change of LUNs is under way");
		return;
	}
	n->removing = true;
	call->priv = n;
	call->request.done = sessions_dropped;
	iscsi_server_drop_target(call->control->opt.iscsi, n, &call->request);
}

/* ---- LUNs. */

struct node_lun_params {
	const char *name, *bdev_name;
	int32_t lun_id;
};

static const struct param add_lun_rows[] = {
	{.name = "name",
	 .type = PARAM_TEXT,
	 .required = true,
	 .offset = AT(struct node_lun_params, name),
	 .help = "iSCSI name"},
	{.name = "bdev_name",
	 .type = PARAM_TEXT,
	 .required = true,
	 .offset = AT(struct node_lun_params, bdev_name),
	 .help = "block device"},
	{.name = "lun_id",
	 .type = PARAM_INT,
	 .min = -1,
	 .max = SCSI_LUNS_MAX - 1,
	 .offset = AT(struct node_lun_params, lun_id),
	 .fallback = "-1",
	 .help = "-1 = the lowest that is free"},
	{},
};

static const struct param remove_lun_rows[] = {
	{.name = "name",
	 .type = PARAM_TEXT,
	 .required = true,
	 .offset = AT(struct node_lun_params, name),
	 .help = "iSCSI name"},
	{.name = "lun_id",
	 .type = PARAM_INT,
	 .required = true,
	 .min = 0,
	 .max = SCSI_LUNS_MAX - 1,
	 .offset = AT(struct node_lun_params, lun_id),
	 .help = "LUN"},
	{},
};

static void lun_changed(struct scsi_change *change)
{
	struct rpc_call *call = container_of(change, struct rpc_call, change);
	struct target_node *n = take(&call->priv);

	n->changes--;
	change_ended(change);
}

static void lun_change_begun(struct rpc_call *call, struct target_node *n,
			     int error)
{
	if (error == 0)
		return;
	n->changes--;
	rpc_fail_errno(call, error, lun_why(error));
}

static void node_add_lun(struct rpc_call *call)
{
	struct node_lun_params p;
	struct target_node *n;

	if (!rpc_params(call, &p) || !(n = find_node(call, p.name)))
		return;
	n->changes++;
	call->priv = n;
	call->change.done = lun_changed;
	lun_change_begun(call, n,
			 scsi_device_add_lun(n->device, p.lun_id, p.bdev_name,
					     &(struct lun_options){},
					     &call->change));
}

static void node_remove_lun(struct rpc_call *call)
{
	struct node_lun_params p;
	struct target_node *n;

	if (!rpc_params(call, &p) || !(n = find_node(call, p.name)))
		return;
	n->changes++;
	call->priv = n;
	call->change.done = lun_changed;
	lun_change_begun(call, n,
			 scsi_device_remove_lun(n->device, (uint32_t)p.lun_id,
						&call->change));
}

/* ---- Maps, authentication, redirection. */

typedef int edit_map_fn(struct target_node *n, int32_t pg_tag, int32_t ig_tag,
			const char **ret_why);

static void free_plan(struct node_plan **plan)
{
	free(*plan);
}

/* All or nothing: on a failure what was done is undone. */
static void edit_maps(struct rpc_call *call, edit_map_fn *edit,
		      edit_map_fn *undo)
{
	cleanup(free_plan) struct node_plan *plan = NULL;
	const char *why = NULL;
	struct node_params p;
	struct target_node *n;
	int error = 0;
	uint32_t i;

	if (!rpc_params(call, &p) || !(n = find_node(call, p.name)))
		return;
	plan = calloc(1, sizeof(*plan));
	if (!plan) {
		rpc_done(call, NULL);
		return;
	}
	if (!plan_maps(call, &p, plan))
		return;
	for (i = 0; i < plan->nmaps && error == 0; i++)
		error = edit(n, plan->maps[i].pg_tag, plan->maps[i].ig_tag,
			     &why);
	if (error < 0) {
		for (i--; i-- > 0;)
			undo(n, plan->maps[i].pg_tag, plan->maps[i].ig_tag,
			     NULL);
	}
	rpc_end_group(call, error, why);
}

static void add_maps(struct rpc_call *call)
{
	edit_maps(call, target_node_add_map, target_node_remove_map);
}

static void remove_maps(struct rpc_call *call)
{
	edit_maps(call, target_node_remove_map, target_node_add_map);
}

static void set_auth(struct rpc_call *call)
{
	struct node_params p;
	struct target_node *n;

	if (!rpc_params(call, &p) || !(n = find_node(call, p.name)) ||
	    !rpc_policy_ok(call, &p.auth))
		return;
	n->auth = p.auth;
	rpc_true(call);
}

struct redirect_params {
	const char *name, *host, *port;
	int32_t pg_tag;
};

static const struct param redirect_rows[] = {
	{.name = "name",
	 .type = PARAM_TEXT,
	 .required = true,
	 .offset = AT(struct redirect_params, name),
	 .help = "iSCSI name"},
	{.name = "pg_tag",
	 .type = PARAM_INT,
	 .required = true,
	 .offset = AT(struct redirect_params, pg_tag),
	 .help = "public portal group"},
	{.name = "redirect_host",
	 .type = PARAM_TEXT,
	 .offset = AT(struct redirect_params, host),
	 .help = "numeric address; absent with the port: clears"},
	{.name = "redirect_port",
	 .type = PARAM_TEXT,
	 .offset = AT(struct redirect_params, port),
	 .help = "TCP port"},
	{},
};

static const struct param logout_rows[] = {
	{.name = "name",
	 .type = PARAM_TEXT,
	 .required = true,
	 .offset = AT(struct redirect_params, name),
	 .help = "iSCSI name"},
	{.name = "pg_tag",
	 .type = PARAM_INT,
	 .min = -1,
	 .max = 65535,
	 .offset = AT(struct redirect_params, pg_tag),
	 .fallback = "-1",
	 .help = "only sessions through this portal group; -1 = all"},
	{},
};

static void set_redirect(struct rpc_call *call)
{
	struct redirect_params p;
	const char *why = NULL;
	struct target_node *n;
	int error;

	if (!rpc_params(call, &p) || !(n = find_node(call, p.name)))
		return;
	error = target_node_set_redirect(n, p.pg_tag, p.host, p.port, &why);
	rpc_end_group(call, error, why);
}

static void request_logout(struct rpc_call *call)
{
	struct redirect_params p;
	struct target_node *n;

	if (!rpc_params(call, &p) || !(n = find_node(call, p.name)))
		return;
	iscsi_server_request_logout(call->control->opt.iscsi, n, p.pg_tag,
				    LOGOUT_REQUEST_S);
	rpc_true(call);
}

const struct rpc_method rpc_target_methods[] = {
	{"iscsi_create_target_node",
	 {"construct_target_node"},
	 RPC_RUNTIME,
	 create_rows,
	 create_node,
	 "Creates a target node."},
	{"iscsi_delete_target_node",
	 {"delete_target_node"},
	 RPC_RUNTIME,
	 name_rows,
	 delete_node,
	 "Ends its sessions and deletes it."},
	{"iscsi_get_target_nodes",
	 {"get_target_nodes"},
	 RPC_RUNTIME,
	 NULL,
	 rpc_get_target_nodes,
	 "Shows all target nodes."},
	{"iscsi_target_node_add_lun",
	 {"target_node_add_lun"},
	 RPC_RUNTIME,
	 add_lun_rows,
	 node_add_lun,
	 "Adds a LUN, with or without sessions."},
	{"iscsi_target_node_remove_lun",
	 {},
	 RPC_RUNTIME,
	 remove_lun_rows,
	 node_remove_lun,
	 "Removes a LUN; commands in flight end first."},
	{"iscsi_target_node_add_pg_ig_maps",
	 {"add_pg_ig_maps"},
	 RPC_RUNTIME,
	 edit_map_rows,
	 add_maps,
	 "Adds maps: all or none."},
	{"iscsi_target_node_remove_pg_ig_maps",
	 {"delete_pg_ig_maps"},
	 RPC_RUNTIME,
	 edit_map_rows,
	 remove_maps,
	 "Removes maps: all or none."},
	{"iscsi_target_node_set_auth",
	 {"set_iscsi_target_node_auth"},
	 RPC_RUNTIME,
	 auth_rows,
	 set_auth,
	 "Sets how logins to the target are authenticated."},
	{"iscsi_target_node_set_redirect",
	 {},
	 RPC_RUNTIME,
	 redirect_rows,
	 set_redirect,
	 "Sends logins on to another portal."},
	{"iscsi_target_node_request_logout",
	 {},
	 RPC_RUNTIME,
	 logout_rows,
	 request_logout,
	 "Asks initiators to log out."},
	{},
};
