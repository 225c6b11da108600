/* SPDX-License-Identifier: BSD-3-Clause */
/* Methods of the log. */
#include "control/rpc_tables.h"

#include "base/log.h"
#include "control/rpc_util.h"

struct log_params {
	const char *level, *flag;
};

static const struct param level_rows[] = {
	{.name = "level",
	 .type = PARAM_TEXT,
	 .required = true,
	 .offset = AT(struct log_params, level),
	 .help = "ERROR, WARNING, NOTICE, INFO or DEBUG"},
	{},
};

static const struct param flag_rows[] = {
	{.name = "flag",
	 .type = PARAM_TEXT,
	 .required = true,
	 .offset = AT(struct log_params, flag),
	 .help = "a layer's name, or all"},
	{},
};

static void set_level(struct rpc_call *call, void (*set)(enum log_level level))
{
	enum log_level level;
	struct log_params p;

	if (!rpc_params(call, &p))
		return;
	if (log_level_parse(p.level, &level) < 0) {
		rpc_fail(call, RPC_INVALID_PARAMS,
			 "Invalid parameters: no such level '%.32s'", p.level);
		return;
	}
	set(level);
	rpc_true(call);
}

static void set_print_level(struct rpc_call *call)
{
	set_level(call, log_set_print_level);
}

static void set_log_level(struct rpc_call *call)
{
	set_level(call, log_set_level);
}

static void get_print_level(struct rpc_call *call)
{
	rpc_done(call, json_string(log_level_name(log_get_print_level())));
}

static void get_log_level(struct rpc_call *call)
{
	rpc_done(call, json_string(log_level_name(log_get_level())));
}

static void change_flag(struct rpc_call *call, bool on)
{
	struct log_params p;

	if (!rpc_params(call, &p))
		return;
	if (log_flag_set(p.flag, on) < 0) {
		rpc_fail(call, RPC_INVALID_PARAMS,
			 "Invalid parameters: no such flag '%.32s'", p.flag);
		return;
	}
	rpc_true(call);
}

static void set_flag(struct rpc_call *call)
{
	change_flag(call, true);
}

static void clear_flag(struct rpc_call *call)
{
	change_flag(call, false);
}

static void get_flags(struct rpc_call *call)
{
	json_t *o = json_object();

	for (unsigned int i = 0; i < LOG_FLAG_COUNT; i++)
		json_object_set_new(o, log_flag_name(i),
				    json_boolean(log_flag_get(i)));
	rpc_done(call, o);
}

const struct rpc_method rpc_log_methods[] = {
	{"log_set_print_level",
	 {"set_log_print_level"},
	 RPC_ALWAYS,
	 level_rows,
	 set_print_level,
	 "Sets what goes to standard error."},
	{"log_get_print_level",
	 {"get_log_print_level"},
	 RPC_ALWAYS,
	 NULL,
	 get_print_level,
	 "Shows what goes to standard error."},
	{"log_set_level",
	 {"set_log_level"},
	 RPC_ALWAYS,
	 level_rows,
	 set_log_level,
	 "Sets what goes to syslog."},
	{"log_get_level",
	 {"get_log_level"},
	 RPC_ALWAYS,
	 NULL,
	 get_log_level,
	 "Shows what goes to syslog."},
	{"log_set_flag",
	 {"set_log_flag", "set_trace_flag"},
	 RPC_ALWAYS,
	 flag_rows,
	 set_flag,
	 "Turns the DEBUG lines of a layer on."},
	{"log_clear_flag",
	 {"clear_log_flag", "clear_trace_flag"},
	 RPC_ALWAYS,
	 flag_rows,
	 clear_flag,
	 "Turns them off."},
	{"log_get_flags",
	 {"get_log_flags", "get_trace_flags"},
	 RPC_ALWAYS,
	 NULL,
	 get_flags,
	 "Shows which are on."},
	{},
};
