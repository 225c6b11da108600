/* SPDX-License-Identifier: BSD-3-Clause */
#include "app/options.h"

#include <getopt.h>
#include <string.h>

#include "base/macros.h"
#include "base/str.h"
#include "control/config.h"
#include "control/cpumask.h"

#define RPC_SOCKET "/var/tmp/spdk.sock"

/* Long options without a letter have values above all letters. */
enum option_value {
	OPT_LCORES = 0x100,
	OPT_CHECK_CONFIG,
	OPT_WAIT_FOR_RPC,
	OPT_IGNORE_ERRORS,
	OPT_NO_RPC,
	OPT_RPCS_ALLOWED,
	OPT_INTERRUPT_MODE,
	OPT_HELP_CONFIG,
	OPT_HELP_RPC,
	OPT_UNUSED,
};

struct option_row {
	int value;	  /* a letter, or one of the above */
	const char *name; /* long; NULL: only a letter */
	const char *arg;  /* what follows; NULL: nothing */
	const char *help; /* NULL: another name of the row before */
	bool unused;
};

/* clang-format off */
static const struct option_row rows[] = {
	{ 'b', "daemon", NULL, "run in the background, once all is set up", false },
	{ 'c', "config", "FILE", "configuration, in the guide's grammar or JSON", false },
	{ 'c', "json", "FILE", NULL, false },
	{ OPT_CHECK_CONFIG, "check-config", NULL,
	  "check the configuration, open no port, and end", false },
	{ OPT_IGNORE_ERRORS, "json-ignore-init-errors", NULL,
	  "go on when a call of the configuration fails", false },
	{ 'd', "limit-coredump", NULL, "do not raise the limit of core dumps", false },
	{ 'h', "help", NULL, "print this and end", false },
	{ OPT_HELP_CONFIG, "help-config", NULL,
	  "print sections and keys of the configuration file and end", false },
	{ OPT_HELP_RPC, "help-rpc", NULL,
	  "print the methods of JSON-RPC and end", false },
	{ OPT_INTERRUPT_MODE, "interrupt-mode", NULL,
	  "never poll: sleep as soon as there is no work", false },
	{ 'L', "logflag", "FLAG",
	  "print DEBUG lines: reactor, bdev, scsi, target, iscsi, rpc, all", false },
	{ 't', NULL, "FLAG", NULL, false },
	{ 'm', "cpumask", "MASK",
	  "CPUs to run on: 0x3, or [0,1] (default: one, where it fits)", false },
	{ OPT_LCORES, "lcores", "LIST", "CPUs to run on: 0,2-3", false },
	{ 'p', "main-core", "CPU", "the one of them that does the control work", false },
	{ 'q', "silence-noticelog", NULL, "print no notices", false },
	{ 'r', "rpc-socket", "PATH", "socket of JSON-RPC (" RPC_SOCKET ")", false },
	{ OPT_NO_RPC, "no-rpc-server", NULL, "no JSON-RPC", false },
	{ OPT_RPCS_ALLOWED, "rpcs-allowed", "NAMES",
	  "the only methods that may be called, comma-separated", false },
	{ 'v', "version", NULL, "print the version and end", false },
	{ 'w', "wait-for-rpc", NULL,
	  "wait for framework_start_init before targets are set up", false },
	/* Huge pages, PCI, shared memory, traces: nothing to do with them. */
	{ 'e', "tpoint-group", "MASK", NULL, true },
	{ 'g', "single-file-segments", NULL, NULL, true },
	{ 'i', "shm-id", "ID", NULL, true },
	{ 'n', "mem-channels", "N", NULL, true },
	{ 's', "mem-size", "SIZE", NULL, true },
	{ 'u', "no-pci", NULL, NULL, true },
	{ 'A', "pci-allowed", "BDF", NULL, true },
	{ 'B', "pci-blocked", "BDF", NULL, true },
	{ 'R', "huge-unlink", NULL, NULL, true },
	{ 'W', "pci-whitelist", "BDF", NULL, true },
	{ OPT_UNUSED, "pci-blacklist", "BDF", NULL, true },
	{ OPT_UNUSED, "no-huge", NULL, NULL, true },
	{ OPT_UNUSED, "huge-dir", "DIR", NULL, true },
	{ OPT_UNUSED, "iova-mode", "MODE", NULL, true },
	{ OPT_UNUSED, "base-virtaddr", "ADDRESS", NULL, true },
	{ OPT_UNUSED, "env-context", "TEXT", NULL, true },
	{ OPT_UNUSED, "enforce-numa", NULL, NULL, true },
	{ OPT_UNUSED, "vfio-vf-token", "UUID", NULL, true },
	{ OPT_UNUSED, "num-trace-entries", "N", NULL, true },
	{ OPT_UNUSED, "disable-cpumask-locks", NULL, NULL, true },
	{ OPT_UNUSED, "msg-mempool-size", "N", NULL, true },
	/* Names that some of the above had in other versions. */
	{ 'm', "core-mask", "MASK", NULL, false },
	{ 'p', "master-core", "CPU", NULL, false },
};
/* clang-format on */

#define ROWS ARRAY_LEN(rows)

static const struct option_row *next_named(const struct option_row *row)
{
	for (row++; row < rows + ROWS && !row->help && !row->unused; row++) {
		if (row->name)
			return row;
	}
	return NULL;
}

static void print_row(FILE *f, const struct option_row *row)
{
	const struct option_row *other = next_named(row);
	char text[80];
	int len = 0;

	if (row->value < OPT_LCORES)
		len = snprintf(text, sizeof(text), "-%c", row->value);
	if (row->name)
		len += snprintf(text + len, sizeof(text) - (size_t)len,
				"%s--%s", len ? ", " : "    ", row->name);
	if (other && other->value == row->value)
		len += snprintf(text + len, sizeof(text) - (size_t)len,
				", --%s", other->name);
	if (row->arg)
		snprintf(text + len, sizeof(text) - (size_t)len, " %s",
			 row->arg);
	fprintf(f, "  %-34s %s\n", text, row->help);
}

void options_usage(FILE *f)
{
	fprintf(f, "Usage: iscsi_tgt [OPTION]...\n"
		   "Exports disks over iSCSI (RFC 7143).\n\n");
	for (size_t i = 0; i < ROWS; i++) {
		if (rows[i].help)
			print_row(f, &rows[i]);
	}
	fprintf(f, "\nAccepted, without use here:");
	for (size_t i = 0; i < ROWS; i++) {
		if (!rows[i].unused)
			continue;
		if (rows[i].value < OPT_LCORES)
			fprintf(f, " -%c", rows[i].value);
		fprintf(f, " --%s", rows[i].name);
	}
	fprintf(f, "\n");
}

/* ---- Parsing. */

static void note_unused(struct app_options *o, const struct option_row *row)
{
	size_t len = strlen(o->unused);

	snprintf(o->unused + len, sizeof(o->unused) - len, "%s--%s",
		 len ? ", " : "", row->name);
}

static bool bad(const char *words, const char *value)
{
	fprintf(stderr, "iscsi_tgt: %s: '%s'\n", words, value);
	return false;
}

static bool set_log_flag(struct app_options *o, const char *flag)
{
	if (o->nlog_flags == LOG_FLAGS_MAX)
		return bad("too many log flags", flag);
	o->log_flags[o->nlog_flags++] = flag;
	return true;
}

static bool set_cpus(struct app_options *o, const char *text, bool list)
{
	if (o->cpus && o->cpus_are_list != list)
		return bad("-m and --lcores exclude each other", text);
	o->cpus = text;
	o->cpus_are_list = list;
	return true;
}

static bool set_main_core(struct app_options *o, const char *text)
{
	o->has_main_core = true;
	if (parse_u32(text, 0, CPU_NUMBER_MAX, &o->main_core) < 0)
		return bad("-p needs the number of a CPU", text);
	return true;
}

static bool set_rpc_socket(struct app_options *o, const char *path)
{
	/* 18.01 took ADDRESS:PORT too; a port has no owner and no mode. */
	if (!strchr(path, '/'))
		return bad("-r needs the path of a UNIX socket", path);
	o->rpc_socket = path;
	return true;
}

/* The options that take an argument. */
static bool apply_arg(struct app_options *o, int value, const char *arg)
{
	switch (value) {
	case 'c':
		o->config = arg;
		return true;
	case 'L':
	case 't':
		return set_log_flag(o, arg);
	case 'm':
		return set_cpus(o, arg, false);
	case OPT_LCORES:
		return set_cpus(o, arg, true);
	case 'p':
		return set_main_core(o, arg);
	case 'r':
		return set_rpc_socket(o, arg);
	default:
		o->rpcs_allowed = arg;
		return true;
	}
}

static void apply_switch(struct app_options *o, int value)
{
	const struct {
		int value;
		bool *field;
	} switches[] = {
		{'b', &o->daemon},
		{'d', &o->limit_coredump},
		{'q', &o->quiet},
		{'w', &o->wait_for_rpc},
		{OPT_CHECK_CONFIG, &o->check_config},
		{OPT_IGNORE_ERRORS, &o->ignore_errors},
		{OPT_INTERRUPT_MODE, &o->interrupt_mode},
	};

	if (value == OPT_NO_RPC)
		o->rpc_socket = NULL;
	for (size_t i = 0; i < ARRAY_LEN(switches); i++) {
		if (switches[i].value == value)
			*switches[i].field = true;
	}
}

/* Those that print and end. */
static bool print_and_end(int value)
{
	switch (value) {
	case 'h':
		options_usage(stdout);
		return true;
	case 'v':
		printf("iscsi_tgt %s\n", VERSION);
		return true;
	case OPT_HELP_CONFIG:
		config_print_help(stdout);
		return true;
	case OPT_HELP_RPC:
		rpc_print_help(stdout);
		return true;
	default:
		return false;
	}
}

struct getopt_tables {
	char letters[2 * ROWS + 2];
	struct option longs[ROWS + 1];
};

/* The value that getopt gives for a long option is its row. */
#define ROW_BASE 0x1000

static void fill_tables(struct getopt_tables *t)
{
	size_t nletters = 0, nlongs = 0;

	memset(t, 0, sizeof(*t));
	t->letters[nletters++] = ':';
	for (size_t i = 0; i < ROWS; i++) {
		const struct option_row *row = &rows[i];

		if (row->value < OPT_LCORES &&
		    !strchr(t->letters, row->value)) {
			t->letters[nletters++] = (char)row->value;
			if (row->arg)
				t->letters[nletters++] = ':';
		}
		if (!row->name)
			continue;
		t->longs[nlongs++] = (struct option){
			.name = row->name,
			.has_arg = row->arg ? required_argument : no_argument,
			.val = ROW_BASE + (int)i,
		};
	}
}

static const struct option_row *row_of(int c)
{
	if (c >= ROW_BASE)
		return &rows[c - ROW_BASE];
	for (size_t i = 0; i < ROWS; i++) {
		if (rows[i].value == c)
			return &rows[i];
	}
	return NULL;
}

static enum options_verdict complain(int c, char **argv)
{
	const char letter[] = {'-', (char)optopt, '\0'};
	const char *word = argv[optind - 1];

	/* Of several letters in one word the last one may not be the one. */
	if (optopt > 0 && optopt < 128 && strncmp(word, "--", 2) != 0)
		word = letter;
	fprintf(stderr, "iscsi_tgt: option '%s' %s; --help lists them\n", word,
		c == ':' ? "needs an argument" : "is unknown");
	return OPTIONS_BAD;
}

enum options_verdict options_parse(int argc, char **argv,
				   struct app_options *ret)
{
	struct getopt_tables t;
	int c;

	fill_tables(&t);
	*ret = (struct app_options){.rpc_socket = RPC_SOCKET};
	opterr = 0;
	while ((c = getopt_long(argc, argv, t.letters, t.longs, NULL)) != -1) {
		const struct option_row *row = row_of(c);

		if (!row)
			return complain(c, argv);
		if (row->unused)
			note_unused(ret, row);
		else if (print_and_end(row->value))
			return OPTIONS_DONE;
		else if (!row->arg)
			apply_switch(ret, row->value);
		else if (!apply_arg(ret, row->value, optarg))
			return OPTIONS_BAD;
	}
	if (optind < argc) {
		bad("not an option", argv[optind]);
		return OPTIONS_BAD;
	}
	return OPTIONS_RUN;
}
