/* SPDX-License-Identifier: BSD-3-Clause */
/* Methods of the process: its methods, its life, its configuration. */
#include "control/rpc_tables.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/str.h"
#include "control/control_priv.h"
#include "control/rpc_util.h"

/* ---- Methods. */

struct methods_params {
	bool current, include_aliases;
};

static const struct param methods_rows[] = {
	{.name = "current",
	 .type = PARAM_BOOL,
	 .fallback = "false",
	 .offset = AT(struct methods_params, current),
	 .help = "only what may be called in the present state"},
	{.name = "include_aliases",
	 .type = PARAM_BOOL,
	 .fallback = "false",
	 .offset = AT(struct methods_params, include_aliases),
	 .help = "also earlier names"},
	{},
};

static void list_method(struct rpc_call *call, const struct methods_params *p,
			const struct rpc_method *m, json_t *list)
{
	/* 18.01 had the old names only: who asks with one knows them. */
	bool old = p->include_aliases || rpc_is_old(call);

	if (!control_allows(call->control, m))
		return;
	if (p->current && !(m->states & control_state(call->control)))
		return;
	json_array_append_new(list, json_string(m->name));
	for (size_t i = 0; old && i < ARRAY_LEN(m->old) && m->old[i]; i++)
		json_array_append_new(list, json_string(m->old[i]));
}

static void get_methods(struct rpc_call *call)
{
	struct methods_params p;
	json_t *list;

	if (!rpc_params(call, &p))
		return;
	list = json_array();
	for (size_t i = 0; rpc_tables[i]; i++) {
		for (const struct rpc_method *m = rpc_tables[i]; m->name; m++)
			list_method(call, &p, m, list);
	}
	rpc_done(call, list);
}

static void get_version(struct rpc_call *call)
{
	const char *version = call->control->opt.version;
	int major = 0, minor = 0, patch = 0;
	char text[64];

	snprintf(text, sizeof(text), "iscsi_tgt v%s", version);
	if (sscanf(version, "%d.%d.%d", &major, &minor, &patch) < 2)
		major = minor = patch = 0;
	rpc_done(call, json_pack("{s:s, s:{s:i, s:i, s:i, s:s}}", "version",
				 text, "fields", "major", major, "minor", minor,
				 "patch", patch, "suffix", ""));
}

/* ---- Life. */

struct kill_params {
	const char *sig_name;
};

static const struct param kill_rows[] = {
	{.name = "sig_name",
	 .type = PARAM_TEXT,
	 .required = true,
	 .offset = AT(struct kill_params, sig_name),
	 .help = "SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGKILL, SIGUSR1, or its "
		 "number"},
	{},
};

static const struct {
	const char *name;
	int number;
} signals[] = {
	{"SIGINT", SIGINT}, {"SIGTERM", SIGTERM}, {"SIGQUIT", SIGQUIT},
	{"SIGHUP", SIGHUP}, {"SIGKILL", SIGKILL}, {"SIGUSR1", SIGUSR1},
};

static int signal_of(const char *text)
{
	uint64_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
		if (strcasecmp(text, signals[i].name) == 0 ||
		    (parse_u64(text, 1, 64, &n) == 0 &&
		     (int)n == signals[i].number))
			return signals[i].number;
	}
	return 0;
}

static void kill_instance(struct rpc_call *call)
{
	struct kill_params p;
	int sig;

	if (!rpc_params(call, &p))
		return;
	sig = signal_of(p.sig_name);
	if (sig == 0) {
		rpc_fail(call, RPC_INVALID_PARAMS,
			 "Invalid parameters: no such signal '%.32s'",
			 p.sig_name);
		return;
	}
	/* The answer is on its way before an orderly end begins. */
	rpc_true(call);
	kill(getpid(), sig);
}

static void start_init(struct rpc_call *call)
{
	control_init(call->control, call);
}

static void wait_init(struct rpc_call *call)
{
	if (control_state(call->control) == RPC_RUNTIME)
		rpc_true(call);
	else
		list_push_back(&call->control->waiting, &call->wait_link);
}

/* ---- Reactors. Each fills in its own line. */

struct reactor_line {
	struct reactor_stats stats;
	pid_t tid;
};

static void fill_line(struct fanout *f, struct reactor *r)
{
	struct rpc_call *call = container_of(f, struct rpc_call, fanout);
	struct reactor_line *lines = call->priv;

	reactor_get_stats(r, &lines[reactor_index(r)].stats);
	lines[reactor_index(r)].tid = gettid();
}

static void show_reactors(struct fanout *f)
{
	struct rpc_call *call = container_of(f, struct rpc_call, fanout);
	struct reactors *set = call->control->opt.reactors;
	struct reactor_line *lines = call->priv;
	json_t *list = json_array();

	for (uint32_t i = 0; i < reactors_count(set); i++) {
		const struct reactor_stats *s = &lines[i].stats;

		json_array_append_new(
			list, json_pack("{s:i, s:i, s:I, s:I, s:[], s:I, s:I}",
					"lcore",
					(int)reactor_cpu(reactors_get(set, i)),
					"tid", (int)lines[i].tid, "busy",
					(json_int_t)s->busy_ns, "idle",
					(json_int_t)s->idle_ns, "lw_threads",
					"turns", (json_int_t)s->turns, "sleeps",
					(json_int_t)s->sleeps));
	}
	free(take(&call->priv));
	/* Times are in nanoseconds. */
	rpc_done(call, json_pack("{s:I, s:i, s:o}", "tick_rate",
				 (json_int_t)1000000000, "pid", (int)getpid(),
				 "reactors", list));
}

static void get_reactors(struct rpc_call *call)
{
	struct reactors *set = call->control->opt.reactors;

	call->priv = calloc(reactors_count(set), sizeof(struct reactor_line));
	call->fanout.fn = fill_line;
	call->fanout.done = show_reactors;
	if (call->priv && reactors_fanout(set, &call->fanout) == 0)
		return;
	free(take(&call->priv));
	rpc_done(call, NULL);
}

/* ---- Configuration. */

struct subsystem {
	const char *name;
	const char *needs; /* NULL: none */
	json_t *(*config)(struct control *c);
};

static const struct subsystem subsystems[] = {
	{"bdev", NULL, rpc_config_bdev},
	{"scsi", "bdev", NULL},
	{"iscsi", "scsi", rpc_config_iscsi},
};

json_t *rpc_config_iscsi(struct control *c)
{
	json_t *config = json_array();

	if (config && rpc_save_options(c, config) &&
	    rpc_save_groups(c, config) && rpc_save_auth(c, config) &&
	    rpc_save_targets(c, config))
		return config;
	json_decref(config);
	return NULL;
}

static void get_subsystems(struct rpc_call *call)
{
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_LEN(subsystems); i++) {
		const struct subsystem *s = &subsystems[i];

		json_array_append_new(
			list, json_pack("{s:s, s:o}", "subsystem", s->name,
					"depends_on",
					s->needs ? json_pack("[s]", s->needs)
						 : json_array()));
	}
	rpc_done(call, list);
}

static json_t *subsystem_config(struct control *c, const struct subsystem *s)
{
	return s->config ? s->config(c) : json_null();
}

struct config_params {
	const char *name;
	bool with_batches;
};

static const struct param config_rows[] = {
	{.name = "name",
	 .type = PARAM_TEXT,
	 .required = true,
	 .offset = AT(struct config_params, name),
	 .help = "subsystem"},
	{.name = "with_batches",
	 .type = PARAM_UNUSED,
	 .help = "accepted; calls are never grouped here"},
	{},
};

static void get_config(struct rpc_call *call)
{
	struct config_params p;

	if (!rpc_params(call, &p))
		return;
	for (size_t i = 0; i < ARRAY_LEN(subsystems); i++) {
		if (strcmp(subsystems[i].name, p.name) != 0)
			continue;
		rpc_done(call, subsystem_config(call->control, &subsystems[i]));
		return;
	}
	rpc_fail(call, RPC_INVALID_PARAMS, "Subsystem '%.32s' not found",
		 p.name);
}

/* What --json FILE reads back. CHAP secrets are not in it: they stay in the
 * AuthFile, whose path is. NULL: no memory. */
static json_t *whole_config(struct control *c)
{
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_LEN(subsystems); i++) {
		json_t *config = subsystem_config(c, &subsystems[i]);

		json_array_append_new(list, json_pack("{s:s, s:o}", "subsystem",
						      subsystems[i].name,
						      "config", config));
	}
	if (json_array_size(list) < ARRAY_LEN(subsystems)) {
		json_decref(list);
		return NULL;
	}
	return json_pack("{s:o}", "subsystems", list);
}

static void save_config(struct rpc_call *call)
{
	rpc_done(call, whole_config(call->control));
}

char *control_save(struct control *c)
{
	json_t *config = whole_config(c);
	char *text = config ? json_dumps(config, JSON_INDENT(2)) : NULL;

	json_decref(config);
	return text;
}

const struct rpc_method rpc_app_methods[] = {
	{"rpc_get_methods",
	 {"get_rpc_methods"},
	 RPC_ALWAYS,
	 methods_rows,
	 get_methods,
	 "Lists the methods."},
	{"spdk_get_version",
	 {"get_spdk_version"},
	 RPC_ALWAYS,
	 NULL,
	 get_version,
	 "Shows the version."},
	{"spdk_kill_instance",
	 {"kill_instance"},
	 RPC_ALWAYS,
	 kill_rows,
	 kill_instance,
	 "Sends the process a signal."},
	{"framework_start_init",
	 {"start_subsystem_init"},
	 RPC_STARTUP,
	 NULL,
	 start_init,
	 "Goes on after --wait-for-rpc."},
	{"framework_wait_init",
	 {"wait_subsystem_init"},
	 RPC_ALWAYS,
	 NULL,
	 wait_init,
	 "Returns once the start is complete."},
	{"framework_get_reactors",
	 {},
	 RPC_RUNTIME,
	 NULL,
	 get_reactors,
	 "Shows the cores in use."},
	{"framework_get_subsystems",
	 {"get_subsystems"},
	 RPC_RUNTIME,
	 NULL,
	 get_subsystems,
	 "Lists the parts that have a configuration."},
	{"framework_get_config",
	 {"get_subsystem_config"},
	 RPC_RUNTIME,
	 config_rows,
	 get_config,
	 "Shows the configuration of one."},
	{"save_config",
	 {},
	 RPC_RUNTIME,
	 NULL,
	 save_config,
	 "Shows the whole configuration, but for secrets."},
	{},
};
