/* SPDX-License-Identifier: BSD-3-Clause */
/* Methods of portal groups and initiator groups. */
#include "control/rpc_tables.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "control/control_priv.h"
#include "control/rpc_util.h"

/* ---- Portal groups. */

struct portal_params {
	const char *host, *port;
};

static const struct param portal_rows[] = {
	{.name = "host",
	 .type = PARAM_TEXT,
	 .required = true,
	 .offset = AT(struct portal_params, host),
	 .help = "numeric address; * and [*] are wildcards"},
	{.name = "port",
	 .type = PARAM_TEXT,
	 .required = true,
	 .offset = AT(struct portal_params, port),
	 .help = "TCP port, as a string"},
	{.name = "cpumask",
	 .type = PARAM_UNUSED,
	 .help = "sessions are spread over all cores here"},
	{},
};

struct pg_params {
	int32_t tag;
	json_t *portals;
	bool is_private, wait;
	struct auth_policy auth;
};

static const struct param create_pg_rows[] = {
	{.name = "tag",
	 .type = PARAM_INT,
	 .required = true,
	 .min = 1,
	 .max = 65535,
	 .offset = AT(struct pg_params, tag),
	 .help = "portal group tag"},
	{.name = "portals",
	 .type = PARAM_OBJECTS,
	 .required = true,
	 .min = 1,
	 .max = PORTALS_MAX,
	 .sub = portal_rows,
	 .offset = AT(struct pg_params, portals),
	 .help = "addresses to listen on"},
	{.name = "private",
	 .type = PARAM_BOOL,
	 .offset = AT(struct pg_params, is_private),
	 .fallback = "false",
	 .help = "not shown in discovery; for redirected logins"},
	{.name = "wait",
	 .type = PARAM_BOOL,
	 .offset = AT(struct pg_params, wait),
	 .fallback = "false",
	 .help = "do not listen until iscsi_start_portal_group"},
	{},
};

static const struct param pg_tag_rows[] = {
	{.name = "tag",
	 .type = PARAM_INT,
	 .required = true,
	 .offset = AT(struct pg_params, tag),
	 .help = "portal group tag"},
	{},
};

static const struct param pg_auth_rows[] = {
	{.name = "tag",
	 .type = PARAM_INT,
	 .required = true,
	 .offset = AT(struct pg_params, tag),
	 .help = "portal group tag"},
	CHAP_ROWS(struct pg_params, auth),
	{},
};

struct pg_access_params {
	int32_t tag;
	const char *state;
};

static const struct param pg_access_rows[] = {
	{.name = "tag",
	 .type = PARAM_INT,
	 .required = true,
	 .offset = AT(struct pg_access_params, tag),
	 .help = "portal group tag"},
	{.name = "access_state",
	 .type = PARAM_TEXT,
	 .required = true,
	 .offset = AT(struct pg_access_params, state),
	 .help = "optimized, non_optimized, standby, unavailable or "
		 "transitioning"},
	{},
};

static const struct {
	enum scsi_access_state state;
	const char *name;
} access_names[] = {
	{SCSI_ACCESS_OPTIMIZED, "optimized"},
	{SCSI_ACCESS_NON_OPTIMIZED, "non_optimized"},
	{SCSI_ACCESS_STANDBY, "standby"},
	{SCSI_ACCESS_UNAVAILABLE, "unavailable"},
	{SCSI_ACCESS_TRANSITIONING, "transitioning"},
};

/* True and failed: no group of that tag. */
static struct portal_group *find_pg(struct rpc_call *call, int32_t tag)
{
	struct portal_group *pg =
		portal_group_find(call->control->targets, tag);

	if (!pg)
		rpc_fail(call, RPC_INVALID_PARAMS,
			 "Invalid parameters: portal group %d does not exist",
			 tag);
	return pg;
}

static int add_portals(struct rpc_call *call, struct portal_group *pg,
		       json_t *portals, const char **ret_why)
{
	char why[PARAM_WHY_MAX];
	json_t *entry;
	size_t i;

	json_array_foreach(portals, i, entry) {
		struct portal_params p;
		int error;

		/* It was decoded once before, without a place for it. */
		error = params_decode(portal_rows, entry, &p, NULL, why,
				      sizeof(why));
		if (error < 0)
			return error;
		error = portal_group_add_portal(call->control->targets, pg,
						p.host, p.port, ret_why);
		if (error < 0)
			return error;
	}
	return 0;
}

static void create_pg(struct rpc_call *call)
{
	struct control *c = call->control;
	struct portal_group *pg;
	const char *why = NULL;
	struct pg_params p;
	int error;

	if (!rpc_params(call, &p))
		return;
	error = portal_group_create(c->targets, p.tag, p.is_private, p.wait,
				    &pg, &why);
	if (error < 0) {
		rpc_fail(call, RPC_INVALID_PARAMS, "Invalid parameters: %s",
			 why);
		return;
	}
	error = add_portals(call, pg, p.portals, &why);
	if (error == 0) {
		error = control_listen(c, pg);
		why = error < 0 ? strerror(-error) : NULL;
	}
	if (error < 0) {
		portal_group_delete(c->targets, pg);
		rpc_fail(call, RPC_INVALID_PARAMS,
			 "Invalid parameters: portal group %d: %s", p.tag, why);
		return;
	}
	rpc_true(call);
}

static void delete_pg(struct rpc_call *call)
{
	struct control *c = call->control;
	struct portal_group *pg;
	struct pg_params p;

	if (!rpc_params(call, &p) || !(pg = find_pg(call, p.tag)))
		return;
	iscsi_server_unlisten(c->opt.iscsi, pg);
	portal_group_delete(c->targets, pg);
	rpc_true(call);
}

static void start_pg(struct rpc_call *call)
{
	struct portal_group *pg;
	struct pg_params p;
	int error;

	if (!rpc_params(call, &p) || !(pg = find_pg(call, p.tag)))
		return;
	if (!pg->wait) {
		rpc_true(call);
		return;
	}
	pg->wait = false;
	error = control_listen(call->control, pg);
	if (error < 0) {
		pg->wait = true;
		rpc_fail(call, RPC_INVALID_PARAMS,
			 "Invalid parameters: portal group %d cannot listen: "
			 "%s",
			 p.tag, strerror(-error));
		return;
	}
	rpc_true(call);
}

static void set_pg_auth(struct rpc_call *call)
{
	struct portal_group *pg;
	struct pg_params p;

	if (!rpc_params(call, &p) || !(pg = find_pg(call, p.tag)) ||
	    !rpc_policy_ok(call, &p.auth))
		return;
	pg->auth = p.auth;
	pg->auth_set = true;
	rpc_true(call);
}

static const char *access_name(uint8_t state)
{
	for (size_t i = 0; i < ARRAY_LEN(access_names); i++) {
		if (access_names[i].state == state)
			return access_names[i].name;
	}
	return "optimized";
}

static void set_pg_access(struct rpc_call *call)
{
	struct pg_access_params p;
	struct portal_group *pg;

	if (!rpc_params(call, &p) || !(pg = find_pg(call, p.tag)))
		return;
	for (size_t i = 0; i < ARRAY_LEN(access_names); i++) {
		if (strcmp(access_names[i].name, p.state) != 0)
			continue;
		portal_group_set_access(call->control->targets, pg,
					access_names[i].state);
		rpc_true(call);
		return;
	}
	rpc_fail(call, RPC_INVALID_PARAMS,
		 "Invalid parameters: access_state is none of optimized, "
		 "non_optimized, standby, unavailable, transitioning");
}

static json_t *show_portal(struct rpc_call *call, const struct portal *p)
{
	json_t *o = json_pack("{s:s, s:s}", "host", p->host, "port", p->port);
	char mask[CPUMASK_TEXT_MAX];

	/* 18.01 showed on which cores its connections may live. */
	if (o && rpc_is_old(call)) {
		rpc_cpumask(call->control->opt.reactors, mask, sizeof(mask));
		json_object_set_new(o, "cpumask", json_string(mask));
	}
	return o;
}

static json_t *show_portals(struct rpc_call *call,
			    const struct portal_group *pg)
{
	json_t *list = json_array();
	const struct portal *p;

	list_for_each(p, &pg->portals, link)
		json_array_append_new(list, show_portal(call, p));
	return list;
}

static void get_pgs(struct rpc_call *call)
{
	struct targets *t = call->control->targets;
	struct portal_group *pg = portal_group_first(t);
	json_t *list = json_array();

	for (; pg; pg = portal_group_next(t, pg)) {
		json_t *o = json_pack("{s:o, s:i, s:b}", "portals",
				      show_portals(call, pg), "tag", pg->tag,
				      "private", pg->is_private);

		json_array_append_new(list, o);
	}
	rpc_done(call, list);
}

/* ---- Initiator groups. */

struct ig_params {
	int32_t tag;
	json_t *initiators, *netmasks;
};

static const struct param create_ig_rows[] = {
	{.name = "tag",
	 .type = PARAM_INT,
	 .required = true,
	 .min = 1,
	 .max = INT32_MAX,
	 .offset = AT(struct ig_params, tag),
	 .help = "initiator group tag"},
	{.name = "initiators",
	 .type = PARAM_TEXTS,
	 .required = true,
	 .min = 1,
	 .max = GROUP_ENTRIES_MAX,
	 .offset = AT(struct ig_params, initiators),
	 .help = "names, ANY, or either with ! in front to deny"},
	{.name = "netmasks",
	 .type = PARAM_TEXTS,
	 .required = true,
	 .min = 1,
	 .max = GROUP_ENTRIES_MAX,
	 .offset = AT(struct ig_params, netmasks),
	 .help = "ANY, a.b.c.d[/len], [v6][/len]"},
	{},
};

static const struct param edit_ig_rows[] = {
	{.name = "tag",
	 .type = PARAM_INT,
	 .required = true,
	 .offset = AT(struct ig_params, tag),
	 .help = "initiator group tag"},
	{.name = "initiators",
	 .type = PARAM_TEXTS,
	 .max = GROUP_ENTRIES_MAX,
	 .offset = AT(struct ig_params, initiators),
	 .help = "names"},
	{.name = "netmasks",
	 .type = PARAM_TEXTS,
	 .max = GROUP_ENTRIES_MAX,
	 .offset = AT(struct ig_params, netmasks),
	 .help = "netmasks"},
	{},
};

static const struct param ig_tag_rows[] = {
	{.name = "tag",
	 .type = PARAM_INT,
	 .required = true,
	 .offset = AT(struct ig_params, tag),
	 .help = "initiator group tag"},
	{},
};

/* The strings of both lists, borrowed from the parameters. */
struct ig_texts {
	const char *initiators[GROUP_ENTRIES_MAX];
	const char *netmasks[GROUP_ENTRIES_MAX];
	uint32_t ninitiators, nnetmasks;
};

static uint32_t collect(json_t *list, const char **texts)
{
	json_t *entry;
	size_t i;

	json_array_foreach(list, i, entry)
		texts[i] = json_string_value(entry);
	return (uint32_t)json_array_size(list);
}

static void collect_ig(const struct ig_params *p, struct ig_texts *texts)
{
	texts->ninitiators = collect(p->initiators, texts->initiators);
	texts->nnetmasks = collect(p->netmasks, texts->netmasks);
}

static void create_ig(struct rpc_call *call)
{
	struct initiator_group *ig;
	const char *why = NULL;
	struct ig_texts texts;
	struct ig_params p;
	int error;

	if (!rpc_params(call, &p))
		return;
	collect_ig(&p, &texts);
	error = initiator_group_create(
		call->control->targets, p.tag, texts.initiators,
		texts.ninitiators, texts.netmasks, texts.nnetmasks, &ig, &why);
	rpc_end_group(call, error, why);
}

typedef int edit_ig_fn(struct targets *t, struct initiator_group *ig,
		       const char *const *initiators, uint32_t ninitiators,
		       const char *const *netmasks, uint32_t nnetmasks,
		       const char **ret_why);

static struct initiator_group *find_ig(struct rpc_call *call, int32_t tag)
{
	struct initiator_group *ig =
		initiator_group_find(call->control->targets, tag);

	if (!ig)
		rpc_fail(call, RPC_INVALID_PARAMS,
			 "Invalid parameters: initiator group %d does not "
			 "exist",
			 tag);
	return ig;
}

static void edit_ig(struct rpc_call *call, edit_ig_fn *edit)
{
	struct initiator_group *ig;
	const char *why = NULL;
	struct ig_texts texts;
	struct ig_params p;
	int error;

	if (!rpc_params(call, &p) || !(ig = find_ig(call, p.tag)))
		return;
	collect_ig(&p, &texts);
	error = edit(call->control->targets, ig, texts.initiators,
		     texts.ninitiators, texts.netmasks, texts.nnetmasks, &why);
	rpc_end_group(call, error, why);
}

static void add_initiators(struct rpc_call *call)
{
	edit_ig(call, initiator_group_add);
}

static void remove_initiators(struct rpc_call *call)
{
	edit_ig(call, initiator_group_remove);
}

static void delete_ig(struct rpc_call *call)
{
	struct initiator_group *ig;
	struct ig_params p;

	if (!rpc_params(call, &p) || !(ig = find_ig(call, p.tag)))
		return;
	initiator_group_delete(call->control->targets, ig);
	rpc_true(call);
}

static json_t *show_texts(char *const *texts, uint32_t n)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < n; i++)
		json_array_append_new(list, json_string(texts[i]));
	return list;
}

static json_t *show_ig(const struct initiator_group *ig)
{
	return json_pack("{s:o, s:i, s:o}", "initiators",
			 show_texts(ig->initiators, ig->ninitiators), "tag",
			 ig->tag, "netmasks",
			 show_texts(ig->netmasks, ig->nnetmasks));
}

static void get_igs(struct rpc_call *call)
{
	struct targets *t = call->control->targets;
	struct initiator_group *ig = initiator_group_first(t);
	json_t *list = json_array();

	for (; ig; ig = initiator_group_next(t, ig))
		json_array_append_new(list, show_ig(ig));
	rpc_done(call, list);
}

/* ---- What a saved configuration says of them. */

static bool save_pg(json_t *config, const struct portal_group *pg)
{
	json_t *portals = json_array();
	const struct portal *p;
	json_t *o;

	list_for_each(p, &pg->portals, link)
		json_array_append_new(portals,
				      json_pack("{s:s, s:s}", "host", p->host,
						"port", p->port));
	o = json_pack("{s:i, s:o, s:b, s:b}", "tag", pg->tag, "portals",
		      portals, "private", pg->is_private, "wait", pg->wait);
	if (!rpc_config_add(config, "iscsi_create_portal_group", o))
		return false;
	if (pg->access != SCSI_ACCESS_OPTIMIZED) {
		o = json_pack("{s:i, s:s}", "tag", pg->tag, "access_state",
			      access_name(pg->access));
		if (!rpc_config_add(config,
				    "iscsi_portal_group_set_access_state", o))
			return false;
	}
	if (!pg->auth_set)
		return true;
	o = json_pack("{s:i}", "tag", pg->tag);
	rpc_show_policy(o, &pg->auth);
	return rpc_config_add(config, "iscsi_portal_group_set_auth", o);
}

bool rpc_save_groups(struct control *c, json_t *config)
{
	struct targets *t = c->targets;
	struct initiator_group *ig = initiator_group_first(t);
	struct portal_group *pg = portal_group_first(t);
	bool good = true;

	for (; pg; pg = portal_group_next(t, pg))
		good = good && save_pg(config, pg);
	for (; ig; ig = initiator_group_next(t, ig))
		good = good &&
		       rpc_config_add(config, "iscsi_create_initiator_group",
				      show_ig(ig));
	return good;
}

const struct rpc_method rpc_group_methods[] = {
	{"iscsi_create_portal_group",
	 {"add_portal_group"},
	 RPC_RUNTIME,
	 create_pg_rows,
	 create_pg,
	 "Creates a portal group and listens."},
	{"iscsi_start_portal_group",
	 {},
	 RPC_RUNTIME,
	 pg_tag_rows,
	 start_pg,
	 "Listens on a portal group that was created with wait."},
	{"iscsi_delete_portal_group",
	 {"delete_portal_group"},
	 RPC_RUNTIME,
	 pg_tag_rows,
	 delete_pg,
	 "Deletes a portal group and its maps; connections live on."},
	{"iscsi_portal_group_set_auth",
	 {},
	 RPC_RUNTIME,
	 pg_auth_rows,
	 set_pg_auth,
	 "Sets how discovery on the group is authenticated."},
	{"iscsi_portal_group_set_access_state",
	 {},
	 RPC_RUNTIME,
	 pg_access_rows,
	 set_pg_access,
	 "Sets the asymmetric access state of the group's target ports."},
	{"iscsi_get_portal_groups",
	 {"get_portal_groups"},
	 RPC_RUNTIME,
	 NULL,
	 get_pgs,
	 "Shows all portal groups."},
	{"iscsi_create_initiator_group",
	 {"add_initiator_group"},
	 RPC_RUNTIME,
	 create_ig_rows,
	 create_ig,
	 "Creates an initiator group."},
	{"iscsi_initiator_group_add_initiators",
	 {"add_initiators_to_initiator_group"},
	 RPC_RUNTIME,
	 edit_ig_rows,
	 add_initiators,
	 "Adds names and netmasks: all or none."},
	{"iscsi_initiator_group_remove_initiators",
	 {"delete_initiators_from_initiator_group"},
	 RPC_RUNTIME,
	 edit_ig_rows,
	 remove_initiators,
	 "Removes names and netmasks: all or none."},
	{"iscsi_delete_initiator_group",
	 {"delete_initiator_group"},
	 RPC_RUNTIME,
	 ig_tag_rows,
	 delete_ig,
	 "Deletes an initiator group and its maps."},
	{"iscsi_get_initiator_groups",
	 {"get_initiator_groups"},
	 RPC_RUNTIME,
	 NULL,
	 get_igs,
	 "Shows all initiator groups."},
	{},
};
