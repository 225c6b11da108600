/* SPDX-License-Identifier: BSD-3-Clause */
/* SPDK's JSON configuration: subsystems, each a list of calls. */
#pragma once

#include "control/config.h"

/* Is the first thing in it, but for comments, a '{'? */
bool config_is_json(const char *text, size_t len);

/* Appends the calls. 0 (maybe with faults) or -ENOMEM. */
int config_parse_json(struct config *cfg, const char *text, size_t len,
		      struct conf_faults *faults);

/* Appends a call; takes @params over. NULL: no memory. */
struct config_call *config_append(struct config *cfg, const char *method,
				  json_t *params, const char *what,
				  uint32_t line);
