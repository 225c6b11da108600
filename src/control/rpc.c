/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/rpc.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "control/control_priv.h"

static bool method_has_name(const struct rpc_method *m, const char *name)
{
	if (strcmp(m->name, name) == 0)
		return true;
	for (size_t i = 0; i < ARRAY_LEN(m->old) && m->old[i]; i++) {
		if (strcmp(m->old[i], name) == 0)
			return true;
	}
	return false;
}

const struct rpc_method *rpc_find(const char *name)
{
	for (size_t i = 0; rpc_tables[i]; i++) {
		const struct rpc_method *m;

		for (m = rpc_tables[i]; m->name; m++) {
			if (method_has_name(m, name))
				return m;
		}
	}
	return NULL;
}

/* May the method run in the state that the process is in? */
static bool check_state(struct rpc_call *call)
{
	const struct rpc_method *m = call->method;

	if (call->internal || (m->states & control_state(call->control)))
		return true;
	if (control_state(call->control) == RPC_STOPPING)
		rpc_fail(call, RPC_INVALID_STATE,
			 "Invalid state: shutting down");
	else if (control_state(call->control) == RPC_STARTUP)
		rpc_fail(call, RPC_INVALID_STATE,
			 "Invalid state: %s may only be called after the "
			 "framework is initialized, by framework_start_init",
			 call->name);
	else
		rpc_fail(call, RPC_INVALID_STATE,
			 "Invalid state: %s may only be called before the "
			 "framework is initialized; start with --wait-for-rpc",
			 call->name);
	return false;
}

static bool no_params(json_t *params)
{
	return !params ||
	       (json_is_object(params) && json_object_size(params) == 0);
}

void rpc_start(struct rpc_call *call)
{
	call->control->ncalls++;
	call->result = NULL;
	call->code = 0;
	call->priv = NULL;
	call->given = 0;
	list_init(&call->wait_link);
	call->method = rpc_find(call->name);
	if (!call->method || !control_allows(call->control, call->method)) {
		rpc_fail(call, RPC_METHOD_NOT_FOUND, "Method not found");
		return;
	}
	if (!check_state(call))
		return;
	if (!call->method->params && !no_params(call->params)) {
		rpc_fail(call, RPC_INVALID_PARAMS, "%s requires no parameters",
			 call->name);
		return;
	}
	call->method->run(call);
}

int rpc_check(const char *name, json_t *params, char *why, size_t size)
{
	const struct rpc_method *m = rpc_find(name);

	if (!m) {
		snprintf(why, size, "Method not found");
		return -EINVAL;
	}
	if (m->params)
		return params_decode(m->params, params, NULL, NULL, why, size);
	if (no_params(params))
		return 0;
	snprintf(why, size, "%s requires no parameters", name);
	return -EINVAL;
}

static void note_unused(const struct rpc_call *call)
{
	const struct param *rows = call->method->params;

	for (size_t i = 0; rows[i].name; i++) {
		if (rows[i].type == PARAM_UNUSED && (call->given >> i & 1))
			log_notice("%s: '%s' has no use here", call->name,
				   rows[i].name);
	}
}

bool rpc_params(struct rpc_call *call, void *out)
{
	char why[PARAM_WHY_MAX];

	if (params_decode(call->method->params, call->params, out, &call->given,
			  why, sizeof(why)) < 0) {
		rpc_fail(call, RPC_INVALID_PARAMS, "%s", why);
		return false;
	}
	note_unused(call);
	return true;
}

bool rpc_is_old(const struct rpc_call *call)
{
	return strcmp(call->name, call->method->name) != 0;
}

static void end_call(struct rpc_call *call)
{
	ASSERT(call->control->ncalls > 0);
	call->control->ncalls--;
	call->done(call);
}

void rpc_done(struct rpc_call *call, json_t *result)
{
	if (!result) {
		rpc_fail(call, RPC_INTERNAL_ERROR,
			 "Internal error: out of memory");
		return;
	}
	call->result = result;
	end_call(call);
}

void rpc_true(struct rpc_call *call)
{
	rpc_done(call, json_true());
}

void rpc_fail(struct rpc_call *call, int code, const char *fmt, ...)
{
	va_list ap;

	ASSERT(code != 0);
	va_start(ap, fmt);
	vsnprintf(call->message, sizeof(call->message), fmt, ap);
	va_end(ap);
	call->code = code;
	end_call(call);
}

static int rpc_error_of(const struct rpc_call *call, int error)
{
	if (error == -ENOMEM)
		return RPC_INTERNAL_ERROR;
	if (error == -EINVAL || error == -ERANGE || rpc_is_old(call))
		return RPC_INVALID_PARAMS;
	return error;
}

void rpc_fail_errno(struct rpc_call *call, int error, const char *why)
{
	int code = rpc_error_of(call, error);

	ASSERT(error < 0);
	if (!why)
		rpc_fail(call, code, "%s", strerror(-error));
	else if (code == RPC_INVALID_PARAMS)
		rpc_fail(call, code, "Invalid parameters: %s", why);
	else
		rpc_fail(call, code, "%s: %s", strerror(-error), why);
}

bool rpc_config_add(json_t *config, const char *method, json_t *params)
{
	return json_array_append_new(config,
				     json_pack("{s:s, s:o}", "method", method,
					       "params", params)) == 0;
}
