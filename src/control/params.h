/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One row per configuration key and RPC parameter: its names, its type, its
 * range, its default and what it is for. The rows check and decode what users
 * say, in the file and by RPC, and print the help and the manual.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PARAMS_MAX     64   /* rows of one table: bits of "given" */
#define PARAM_WHY_MAX  256  /* bytes of a complaint */
#define PARAM_TEXT_MAX 4096 /* bytes of a string, unless its row says */

enum param_type {
	PARAM_BOOL,    /* bool */
	PARAM_FLAG,    /* bool; also 0 and 1, as old clients write it */
	PARAM_INT,     /* int32_t */
	PARAM_U32,     /* uint32_t */
	PARAM_U64,     /* uint64_t */
	PARAM_TEXT,    /* const char *; NULL when not given */
	PARAM_TEXTS,   /* json_t *: an array of strings; max = how many */
	PARAM_INTS,    /* json_t *: an array of int32 */
	PARAM_OBJECTS, /* json_t *: an array of objects with the rows @sub */
	PARAM_UUID,    /* const char *, 36 characters */
	PARAM_UNUSED,  /* SPDK has it, and here it would do nothing */
};

struct param {
	const char *name; /* in JSON; NULL ends the table */
	const char *key;  /* in the configuration file, or NULL */
	enum param_type type;
	bool required;
	size_t offset;	      /* of the field that takes it */
	int64_t min, max;     /* of numbers; bytes of text; entries.
				     * 0, 0: what the type can hold */
	const char *fallback; /* the default, as text; NULL: 0, none */
	const struct param *sub;
	const char *help;
};

/*
 * Decodes @params (an object; NULL is an empty one) by @rows into @out, which
 * is filled with the defaults first. Strings and arrays are borrowed from
 * @params. *@given has a bit for each row that was there. 0, or -EINVAL with
 * one line in @why. @out may be NULL: checks only.
 */
int params_decode(const struct param *rows, json_t *params, void *out,
		  uint64_t *given, char *why, size_t size);

/* Was the parameter of that name given? It is one of @rows. */
bool params_given(const struct param *rows, uint64_t given, const char *name);

/*
 * The JSON of a key's value in the configuration file, checked by its row
 * (numbers, booleans and text). 0, -EINVAL with @why, -ENOMEM.
 */
int param_from_text(const struct param *row, const char *text, json_t **ret,
		    char *why, size_t size);

/* By name or by key (in any case); NULL: no such row. */
const struct param *param_find(const struct param *rows, const char *name);
const struct param *param_find_key(const struct param *rows, const char *key);

/* "integer 1..65535, default 128". */
void param_describe(const struct param *row, char *text, size_t size);
