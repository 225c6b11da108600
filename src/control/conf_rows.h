/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The sections of the configuration file and their keys: what is known, what
 * it is for, and which function turns a section into calls.
 */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "control/config.h"
#include "control/params.h"

/* A key that is not simply a parameter of a method. */
struct conf_key {
	const char *name;
	const char *form;     /* of its value, for the help */
	const char *fallback; /* NULL: none */
	const char *help;
	bool repeated; /* may be given many times */
	bool many;     /* takes more than one value */
	bool unused;   /* SPDK has it; it would do nothing here */
};

struct translation {
	struct config *cfg;
	struct conf *conf;
	struct conf_faults *faults;
	struct buf unused; /* "[Nvme], [Global] NoPci": one notice */
};

struct conf_section_row {
	const char *name; /* a prefix when numbered */
	bool numbered;
	bool unused; /* the whole section */
	const struct conf_key *keys;
	const struct param *params; /* more keys: rows with .key */
	/* NULL with unused. Appends calls, or faults. */
	void (*translate)(struct translation *t, struct conf_section *s);
	const char *help;
};

/* In the order in which they depend on each other; ended by {}. */
extern const struct conf_section_row conf_section_rows[];

bool conf_row_is(const struct conf_section_row *row,
		 const struct conf_section *s);
/* "LUN" stands for LUN0 to LUN255. */
const struct conf_key *conf_key_find(const struct conf_key *keys,
				     const char *name);
/* The LUN of a key "LUN7"; -1: the key is another. */
int conf_lun_of(const char *key);

/* ---- For translate functions. */

/* The first appearance of a key with a value; NULL: none. */
const struct conf_item *conf_item_find(const struct conf_section *s,
				       const char *key);
/* A decimal value in its range; a fault and false if it is none. */
bool conf_number(struct translation *t, const struct conf_item *item,
		 uint32_t n, int64_t min, int64_t max, int64_t *ret);
/* "PortalGroup7" with prefix "PortalGroup": 7; a fault and 0 if it is not. */
int32_t conf_tag(struct translation *t, const struct conf_item *item,
		 const char *value, const char *prefix);
/* Takes @params over (NULL: a fault). The call, or NULL. */
struct config_call *config_add(struct translation *t, const char *method,
			       json_t *params, const struct conf_section *s,
			       uint32_t line);
void config_add_need(struct translation *t, struct config_call *call,
		     const struct conf_item *item, const char *bdev);

void conf_translate_global(struct translation *t, struct conf_section *s);
void conf_translate_iscsi(struct translation *t, struct conf_section *s);
void conf_translate_malloc(struct translation *t, struct conf_section *s);
void conf_translate_aio(struct translation *t, struct conf_section *s);
void conf_translate_null(struct translation *t, struct conf_section *s);
void conf_translate_split(struct translation *t, struct conf_section *s);
void conf_translate_error(struct translation *t, struct conf_section *s);
void conf_translate_passthru(struct translation *t, struct conf_section *s);
void conf_translate_pg(struct translation *t, struct conf_section *s);
void conf_translate_ig(struct translation *t, struct conf_section *s);
void conf_translate_node(struct translation *t, struct conf_section *s);
