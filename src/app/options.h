/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command line: the options of SPDK 18.01, 18.04 and later, short and
 * long, and our own, as rows of one table that also prints the help.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define LOG_FLAGS_MAX 16

struct app_options {
	const char *config;	/* NULL: none */
	const char *rpc_socket; /* NULL: no RPC */
	const char *cpus;	/* mask or list; NULL: not given */
	bool cpus_are_list;	/* --lcores: without brackets */
	bool has_main_core;
	uint32_t main_core;
	const char *rpcs_allowed;
	const char *log_flags[LOG_FLAGS_MAX];
	uint32_t nlog_flags;
	bool daemon, check_config, wait_for_rpc, ignore_errors;
	bool limit_coredump, quiet, interrupt_mode;
	/* One line: options that were given and have no use here. */
	char unused[512];
};

enum options_verdict {
	OPTIONS_RUN,
	OPTIONS_DONE, /* --help and the like: printed; exit 0 */
	OPTIONS_BAD,  /* said what; exit 1 */
};

enum options_verdict options_parse(int argc, char **argv,
				   struct app_options *ret);
void options_usage(FILE *f);
