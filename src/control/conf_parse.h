/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The grammar of the configuration file and of the AuthFile: sections, keys,
 * values; with the line of each, so that whoever finds a fault can say where.
 * Knows no section and no key by name.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/macros.h"

#define CONF_FILE_MAX	(16u << 20) /* bytes of one file */
#define CONF_VALUES_MAX 1024u	    /* values of one key */
#define CONF_FAULTS_MAX 65536u	    /* bytes of messages about one file */

/*
 * What is wrong: one line each, "file:line: words". Notices are for the user
 * too, but do no harm.
 */
struct conf_faults {
	struct buf errors;
	struct buf notices;
	uint32_t nerrors;
};

void conf_faults_init(struct conf_faults *f);
void conf_faults_deinit(struct conf_faults *f);
/* @line 0: about the file as a whole. */
void conf_fault(struct conf_faults *f, const char *file, uint32_t line,
		const char *fmt, ...) printf_like(4, 5);
void conf_notice(struct conf_faults *f, const char *file, uint32_t line,
		 const char *fmt, ...) printf_like(4, 5);

struct conf_item {
	struct list link;
	char *key;
	char **values;
	uint32_t nvalues;
	uint32_t line;
};

struct conf_section {
	struct list link;
	char *name;
	uint32_t number; /* the first digits in the name; 0 = none */
	bool has_number;
	uint32_t line;	   /* where it was first opened */
	struct list items; /* in order; a section opened twice is one */
};

struct conf {
	char *file; /* its name, for messages */
	struct list sections;
};

/*
 * 0; -EINVAL with faults; -ENOMEM. The result owns its text. With faults it
 * holds what could be read, so that all of them are found in one run.
 */
int conf_parse(const char *file, const char *text, size_t len,
	       struct conf_faults *faults, struct conf **ret);
void conf_free(struct conf *conf);

/* The whole file into *@ret (ends with a NUL that is not counted). 0, -errno,
 * -EFBIG. To be freed. */
int conf_read_file(const char *path, char **ret, size_t *ret_len);

/* In any case; NULL: none. */
struct conf_section *conf_find(const struct conf *conf, const char *name);
