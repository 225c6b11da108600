/* SPDX-License-Identifier: BSD-3-Clause */
/* Methods of options, discovery, connections and SCSI devices. */
#include "control/rpc_tables.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/control_priv.h"
#include "control/rpc_util.h"

/* ---- Options. */

struct option_params {
	struct iscsi_options o; /* numbers and booleans */
	const char *auth_file, *node_base;
};

#define NUMBER(row, row_key, lo, hi, def, words)                            \
	{                                                                   \
		.name = #row, .key = row_key, .type = PARAM_U32, .min = lo, \
		.max = hi, .fallback = def, .help = words,                  \
		.offset = AT(struct option_params, o.row)                   \
	}

#define BOOLEAN(row, row_key, def, words)                         \
	{                                                         \
		.name = #row, .key = row_key, .type = PARAM_BOOL, \
		.fallback = def, .help = words,                   \
		.offset = AT(struct option_params, o.row)         \
	}

#define UNUSED(row, row_key)                                       \
	{                                                          \
		.name = row, .key = row_key, .type = PARAM_UNUSED, \
		.help = "accepted; has no use here"                \
	}

const struct param rpc_iscsi_option_rows[] = {
	{.name = "auth_file",
	 .key = "AuthFile",
	 .type = PARAM_TEXT,
	 .max = 4095,
	 .offset = AT(struct option_params, auth_file),
	 .help = "file with the CHAP secrets; not readable by everybody"},
	{.name = "node_base",
	 .key = "NodeBase",
	 .type = PARAM_TEXT,
	 .min = 1,
	 .max = ISCSI_NAME_MAX,
	 .offset = AT(struct option_params, node_base),
	 .help = "goes before target names that are not complete "
		 "(iqn.2016-06.io.spdk)"},
	NUMBER(max_sessions, "MaxSessions", 1, 65535, "128",
	       "sessions at the same time"),
	NUMBER(max_connections_per_session, "MaxConnectionsPerSession", 1,
	       65535, "2", "MaxConnections"),
	NUMBER(max_queue_depth, "MaxQueueDepth", 1, 256, "64",
	       "the largest command window of a target"),
	NUMBER(default_time2wait, "DefaultTime2Wait", 0, 3600, "2",
	       "seconds before a reconnection"),
	NUMBER(default_time2retain, "DefaultTime2Retain", 0, 3600, "20",
	       "seconds for which tasks may be kept"),
	NUMBER(first_burst_length, "FirstBurstLength", 512, 16777215, "65536",
	       "bytes of unsolicited data of a command"),
	NUMBER(max_burst_length, "MaxBurstLength", 512, 16777215, "1048576",
	       "bytes of a data sequence"),
	NUMBER(max_recv_data_segment_length, "MaxRecvDataSegmentLength", 512,
	       16777215, "262144", "bytes of one PDU's data, received"),
	NUMBER(max_outstanding_r2t, "MaxOutstandingR2T", 1, 65535, "1",
	       "R2Ts of a task at the same time"),
	BOOLEAN(initial_r2t, "InitialR2T", "false", "no unsolicited Data-Out"),
	BOOLEAN(immediate_data, "ImmediateData", "true",
		"data in the command's PDU"),
	BOOLEAN(allow_duplicated_isid, "AllowDuplicateIsid", "false",
		"a test aid: do not reinstate the old session"),
	NUMBER(error_recovery_level, "ErrorRecoveryLevel", 0, 2, "0",
	       "the highest ErrorRecoveryLevel"),
	NUMBER(nop_timeout, "Timeout", 0, 65535, "60",
	       "seconds to wait for the answer to a NOP-In; 0 = for ever"),
	NUMBER(nop_in_interval, "NopInInterval", 0, 60, "30",
	       "seconds between NOP-Ins; 0 = none"),
	NUMBER(login_timeout, "LoginTimeout", 1, 3600, "15",
	       "seconds from the connection to full feature phase"),
	NUMBER(max_logins, "MaxLogins", 1, 65535, "256",
	       "connections that are not logged in, at the same time"),
	NUMBER(max_connections_per_address, "MaxConnectionsPerAddress", 0,
	       65535, "0", "connections of one initiator address; 0 = any"),
	CHAP_ROWS(struct option_params, o.discovery_auth),
	UNUSED("max_large_datain_per_connection", NULL),
	UNUSED("max_r2t_per_connection", "MaxR2T"),
	UNUSED("pdu_pool_size", NULL),
	UNUSED("immediate_data_pool_size", NULL),
	UNUSED("data_out_pool_size", NULL),
	UNUSED("min_connections_per_core", "MinConnectionsPerCore"),
	{},
};

static size_t field_size(enum param_type type)
{
	switch (type) {
	case PARAM_BOOL:
	case PARAM_FLAG:
		return sizeof(bool);
	case PARAM_INT:
	case PARAM_U32:
		return sizeof(uint32_t);
	case PARAM_U64:
		return sizeof(uint64_t);
	case PARAM_TEXT:
	case PARAM_TEXTS:
	case PARAM_INTS:
	case PARAM_OBJECTS:
	case PARAM_UUID:
	case PARAM_UNUSED:
		break;
	}
	return 0;
}

/* What was given goes into @o; the rest stays. */
static void merge_options(const struct rpc_call *call,
			  const struct option_params *p,
			  struct iscsi_options *o)
{
	const struct param *rows = rpc_iscsi_option_rows;

	for (size_t i = 0; rows[i].name; i++) {
		size_t at = rows[i].offset - AT(struct option_params, o);

		if (call->given >> i & 1)
			memcpy((char *)o + at, (const char *)&p->o + at,
			       field_size(rows[i].type));
	}
	if (p->node_base)
		str_copy(o->node_base, sizeof(o->node_base), p->node_base);
	if (p->auth_file)
		str_copy(o->auth_file, sizeof(o->auth_file), p->auth_file);
}

static bool options_ok(struct rpc_call *call, const struct iscsi_options *o)
{
	const char *why = NULL;

	if (!rpc_policy_ok(call, &o->discovery_auth))
		return false;
	if (iscsi_options_check(o, &why) < 0) {
		rpc_fail(call, RPC_INVALID_PARAMS, "Invalid parameters: %s",
			 why ? why : "the options do not fit together");
		return false;
	}
	return true;
}

static void set_options(struct rpc_call *call)
{
	struct control *c = call->control;
	struct iscsi_options o = *c->options;
	char why[RPC_MESSAGE_MAX];
	struct option_params p;

	if (!rpc_params(call, &p))
		return;
	merge_options(call, &p, &o);
	if (!options_ok(call, &o))
		return;
	if (p.auth_file && p.auth_file[0] != '\0' &&
	    auth_file_load(c, p.auth_file, why, sizeof(why)) < 0) {
		rpc_fail(call, RPC_INVALID_PARAMS, "Invalid parameters: %s",
			 why);
		return;
	}
	*c->options = o;
	rpc_true(call);
}

static json_t *show_options(const struct iscsi_options *o)
{
	json_t *j = json_object();

	if (o->auth_file[0] != '\0')
		json_object_set_new(j, "auth_file", json_string(o->auth_file));
	json_object_set_new(j, "node_base", json_string(o->node_base));
	for (const struct param *r = rpc_iscsi_option_rows; r->name; r++) {
		const char *field = (const char *)o + r->offset -
				    AT(struct option_params, o);
		uint32_t n;

		if (r->type == PARAM_BOOL || r->type == PARAM_FLAG)
			json_object_set_new(j, r->name,
					    json_boolean(*(const bool *)field));
		if (r->type != PARAM_U32 && r->type != PARAM_INT)
			continue;
		memcpy(&n, field, sizeof(n));
		json_object_set_new(j, r->name, json_integer(n));
	}
	return j;
}

static const char *discovery_method(const struct auth_policy *p)
{
	if (p->mutual_chap)
		return "chap mutual";
	if (p->require_chap)
		return "chap";
	return p->disable_chap ? "none" : "auto";
}

/* What 18.01 and 18.04 called things. */
static void show_old_options(json_t *j, const struct iscsi_options *o)
{
	const struct auth_policy *p = &o->discovery_auth;

	json_object_set_new(j, "timeout", json_integer(o->nop_timeout));
	json_object_set_new(j, "discovery_auth_method",
			    json_string(discovery_method(p)));
	json_object_set_new(j, "discovery_auth_group",
			    json_integer(p->chap_group));
	json_object_set_new(j, "no_discovery_auth",
			    json_boolean(p->disable_chap));
	json_object_set_new(j, "req_discovery_auth",
			    json_boolean(p->require_chap));
	json_object_set_new(j, "req_discovery_auth_mutual",
			    json_boolean(p->mutual_chap));
}

static void get_options(struct rpc_call *call)
{
	json_t *j = show_options(call->control->options);

	if (j && rpc_is_old(call))
		show_old_options(j, call->control->options);
	rpc_done(call, j);
}

bool rpc_save_options(struct control *c, json_t *config)
{
	return rpc_config_add(config, "iscsi_set_options",
			      show_options(c->options));
}

struct discovery_params {
	struct auth_policy auth;
};

static const struct param discovery_rows[] = {
	CHAP_ROWS(struct discovery_params, auth),
	{},
};

static void set_discovery_auth(struct rpc_call *call)
{
	struct discovery_params p;

	if (!rpc_params(call, &p) || !rpc_policy_ok(call, &p.auth))
		return;
	call->control->options->discovery_auth = p.auth;
	rpc_true(call);
}

/* ---- Connections. */

/* SPDK shows the part of a target's name after the last colon. */
static const char *short_name(const char *name)
{
	const char *colon = strrchr(name, ':');

	return colon ? colon + 1 : name;
}

struct conn_list {
	json_t *list;
	bool old;
};

static void show_conn(const struct iscsi_conn_info *info, void *ctx)
{
	struct conn_list *to = ctx;
	char thread[32];
	json_t *o;

	snprintf(thread, sizeof(thread), "iscsi_poll_group_%u", info->reactor);
	o = json_pack("{s:i, s:i, s:i, s:s, s:s, s:s, s:s, s:s, s:s}", "id",
		      (int)info->id, "cid", info->cid, "tsih", info->tsih,
		      "state", info->state, "login_phase", info->login_phase,
		      "initiator_addr", info->initiator_addr, "target_addr",
		      info->target_addr, "target_node_name",
		      short_name(info->target_node_name), "thread_name",
		      thread);
	if (o && to->old)
		json_object_set_new(o, "lcore_id", json_integer(info->cpu));
	json_array_append_new(to->list, o);
}

static void get_connections(struct rpc_call *call)
{
	struct conn_list to = {json_array(), rpc_is_old(call)};

	iscsi_server_each_conn(call->control->opt.iscsi, show_conn, &to);
	rpc_done(call, to.list);
}

struct conn_counts {
	int running, exiting, other;
};

static void count_conn(const struct iscsi_conn_info *info, void *ctx)
{
	struct conn_counts *n = ctx;

	if (strcmp(info->state, "running") == 0)
		n->running++;
	else if (strcmp(info->state, "exiting") == 0)
		n->exiting++;
	else
		n->other++;
}

/* SPDK's four counts, and what it does not count. */
static void get_stats(struct rpc_call *call)
{
	struct iscsi_server *server = call->control->opt.iscsi;
	struct conn_counts n = {0};
	struct iscsi_stats s;

	iscsi_server_each_conn(server, count_conn, &n);
	iscsi_server_stats(server, &s);
	rpc_done(call,
		 json_pack("{s:i, s:i, s:i, s:i, s:I, s:I, s:I, s:I, s:i, s:i}",
			   "invalid", n.other, "running", n.running, "exiting",
			   n.exiting, "exited", 0, "logins",
			   (json_int_t)s.logins, "login_failures",
			   (json_int_t)s.login_failures, "rejects",
			   (json_int_t)s.rejects, "digest_errors",
			   (json_int_t)s.digest_errors, "connections",
			   (int)s.connections, "sessions", (int)s.sessions));
}

static void get_scsi_devices(struct rpc_call *call)
{
	struct scsi_device *d = scsi_device_first(call->control->opt.scsi);
	json_t *list = json_array();

	for (; d; d = scsi_device_next(d))
		json_array_append_new(list, json_pack("{s:i, s:s}", "id",
						      (int)scsi_device_id(d),
						      "device_name",
						      scsi_device_name(d)));
	rpc_done(call, list);
}

const struct rpc_method rpc_session_methods[] = {
	{"iscsi_set_options",
	 {"set_iscsi_options"},
	 RPC_ALWAYS,
	 rpc_iscsi_option_rows,
	 set_options,
	 "Sets options, for sessions from then on."},
	{"iscsi_get_options",
	 {"get_iscsi_global_params"},
	 RPC_RUNTIME,
	 NULL,
	 get_options,
	 "Shows all options."},
	{"iscsi_set_discovery_auth",
	 {"set_iscsi_discovery_auth"},
	 RPC_RUNTIME,
	 discovery_rows,
	 set_discovery_auth,
	 "Sets how discovery is authenticated."},
	{"iscsi_get_connections",
	 {"get_iscsi_connections"},
	 RPC_RUNTIME,
	 NULL,
	 get_connections,
	 "Shows all connections."},
	{"iscsi_get_stats",
	 {},
	 RPC_RUNTIME,
	 NULL,
	 get_stats,
	 "Counts connections, logins and faults."},
	{"scsi_get_devices",
	 {"get_scsi_devices"},
	 RPC_RUNTIME,
	 NULL,
	 get_scsi_devices,
	 "Shows all SCSI devices."},
	{},
};
