/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configuration as a list of calls. A file in the grammar of the guide is
 * translated into the same methods that JSON-RPC calls, in the order in which
 * they depend on each other; a file in SPDK's JSON format is such a list
 * already. Everything that can be checked without touching the machine is
 * checked here, and all of what is wrong is found in one run.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/list.h"
#include "control/conf_parse.h"

/* The call needs a bdev of that name: a key of the file says so. */
struct config_need {
	struct list link;
	char *bdev;
	char *key;
	uint32_t line;
};

struct config_call {
	struct list link;
	char *method;
	json_t *params;
	uint32_t line; /* 0: the file has no lines (JSON) */
	char *what;    /* "[TargetNode1]", "iscsi, entry 3" */
	struct list needs;
};

struct config {
	char *file;
	struct list calls;
	/* [Global]; NULL and false: not given. */
	char *reactor_mask;
	bool has_poll_us;
	uint32_t poll_us;
};

/*
 * Reads @path, in either format (JSON when its first character is '{', after
 * comments). 0; -EINVAL with @faults; -errno of reading, with a fault too.
 */
int config_load(const char *path, struct conf_faults *faults,
		struct config **ret);
/* The same from memory. */
int config_parse(const char *file, const char *text, size_t len,
		 struct conf_faults *faults, struct config **ret);
void config_free(struct config *cfg);

/* Every section and key with type, range, default and meaning. */
void config_print_help(FILE *f);
/* Every method with its names and parameters. */
void rpc_print_help(FILE *f);
