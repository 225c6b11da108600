/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/rpc_util.h"

#include <stdio.h>
#include <string.h>

#define CPUS_MAX 4096

bool rpc_policy_ok(struct rpc_call *call, const struct auth_policy *p)
{
	if (auth_policy_check(p) == 0)
		return true;
	rpc_fail(call, RPC_INVALID_PARAMS,
		 "Invalid combination of CHAP params");
	return false;
}

void rpc_show_policy(json_t *o, const struct auth_policy *p)
{
	json_object_set_new(o, "disable_chap", json_boolean(p->disable_chap));
	json_object_set_new(o, "require_chap", json_boolean(p->require_chap));
	json_object_set_new(o, "mutual_chap", json_boolean(p->mutual_chap));
	json_object_set_new(o, "chap_group", json_integer(p->chap_group));
}

void rpc_end_group(struct rpc_call *call, int error, const char *why)
{
	if (error == 0)
		rpc_true(call);
	else
		rpc_fail(call, RPC_INVALID_PARAMS, "Invalid parameters: %s",
			 why ? why : strerror(-error));
}

void rpc_cpumask(struct reactors *set, char *text, size_t size)
{
	uint8_t nibbles[CPUS_MAX / 4] = {0};
	uint32_t top = 0;
	size_t len;

	for (uint32_t i = 0; i < reactors_count(set); i++) {
		uint32_t cpu = reactor_cpu(reactors_get(set, i));

		if (cpu >= CPUS_MAX)
			continue;
		nibbles[cpu / 4] |= (uint8_t)(1u << cpu % 4);
		top = MAX(top, cpu / 4);
	}
	len = (size_t)snprintf(text, size, "0x");
	for (uint32_t i = top + 1; i-- > 0 && len + 1 < size;)
		len += (size_t)snprintf(text + len, size - len, "%x",
					nibbles[i]);
}
