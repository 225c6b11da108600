/* SPDX-License-Identifier: BSD-3-Clause */
/* Configuration files, of both grammars: input as it stands in the file. */
#include "fuzz.h"

#include <errno.h>

#include "control/config.h"
#include "control/cpumask.h"
#include "control/rpc.h"

/* What was understood can be called: methods and parameters exist. */
static void check_calls(const struct config *cfg)
{
	const struct config_call *call;
	char why[PARAM_WHY_MAX];

	list_for_each(call, &cfg->calls, link) {
		const struct config_need *need;

		CHECK(rpc_check(call->method, call->params, why, sizeof(why)) ==
		      0);
		list_for_each(need, &call->needs, link)
			CHECK(need->bdev && need->key && need->line > 0);
	}
}

static void check_global(const struct config *cfg)
{
	uint32_t cores[REACTORS_MAX], n;

	if (!cfg->reactor_mask)
		return;
	CHECK(cpumask_parse(cfg->reactor_mask, cores, &n) == 0);
	CHECK(n >= 1 && n <= REACTORS_MAX);
	for (uint32_t i = 1; i < n; i++)
		CHECK(cores[i - 1] < cores[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf_faults faults;
	struct config *cfg = NULL;
	int rc;

	conf_faults_init(&faults);
	rc = config_parse("f", (const char *)data, size, &faults, &cfg);
	/* It is good, or something is said about it. */
	CHECK(rc == 0 || rc == -EINVAL);
	CHECK((rc == 0) == (faults.nerrors == 0));
	CHECK((rc == 0) == (cfg != NULL));
	if (cfg) {
		check_calls(cfg);
		check_global(cfg);
	}
	config_free(cfg);
	conf_faults_deinit(&faults);
	return 0;
}
