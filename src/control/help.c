/* SPDX-License-Identifier: BSD-3-Clause */
/* What the tables say about themselves. */
#include <stdio.h>

#include "control/conf_rows.h"
#include "control/rpc_tables.h"

static void print_param(FILE *f, const struct param *row, const char *name)
{
	char text[128];

	param_describe(row, text, sizeof(text));
	fprintf(f, "  %s  (%s)\n      %s\n", name, text, row->help);
}

static void print_key(FILE *f, const struct conf_key *k)
{
	fprintf(f, "  %s %s", k->name, k->form);
	if (k->fallback)
		fprintf(f, "  (default %s)", k->fallback);
	if (k->repeated)
		fprintf(f, "  (may be repeated)");
	fprintf(f, "\n      %s\n", k->help);
}

static void print_section(FILE *f, const struct conf_section_row *row)
{
	const struct param *p;

	fprintf(f, "\n[%s%s]  %s\n", row->name, row->numbered ? "N" : "",
		row->help);
	for (const struct conf_key *k = row->keys; k && k->name; k++) {
		if (!k->unused)
			print_key(f, k);
	}
	for (p = row->params; p && p->name; p++) {
		if (p->key && p->type != PARAM_UNUSED)
			print_param(f, p, p->key);
	}
}

void config_print_help(FILE *f)
{
	const struct conf_section_row *row;

	fprintf(f, "Sections and keys of the configuration file. Lines that "
		   "begin with # are comments.\n");
	for (row = conf_section_rows; row->name; row++) {
		if (!row->unused)
			print_section(f, row);
	}
	fprintf(f, "\nAccepted, without use here:");
	for (row = conf_section_rows; row->name; row++) {
		if (row->unused)
			fprintf(f, " [%s%s]", row->name,
				row->numbered ? "N" : "");
		for (const struct conf_key *k = row->keys; k && k->name; k++) {
			if (k->unused)
				fprintf(f, " %s", k->name);
		}
		for (const struct param *p = row->params; p && p->name; p++) {
			if (p->key && p->type == PARAM_UNUSED)
				fprintf(f, " %s", p->key);
		}
	}
	fprintf(f, "\n");
}

void rpc_print_help(FILE *f)
{
	for (size_t i = 0; rpc_tables[i]; i++) {
		const struct rpc_method *m;

		for (m = rpc_tables[i]; m->name; m++) {
			const struct param *p;

			fprintf(f, "%s\n", m->name);
			for (size_t n = 0; n < 4 && m->old[n]; n++)
				fprintf(f, "    (earlier: %s)\n", m->old[n]);
			fprintf(f, "    %s\n", m->help);
			for (p = m->params; p && p->name; p++)
				print_param(f, p, p->name);
			fprintf(f, "\n");
		}
	}
}
