/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/params.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/assert.h"
#include "base/str.h"

static const char *const type_words[] = {
	[PARAM_BOOL] = "a boolean",
	[PARAM_FLAG] = "a boolean",
	[PARAM_INT] = "an integer",
	[PARAM_U32] = "an integer",
	[PARAM_U64] = "an integer",
	[PARAM_TEXT] = "a string",
	[PARAM_TEXTS] = "an array of strings",
	[PARAM_INTS] = "an array of integers",
	[PARAM_OBJECTS] = "an array of objects",
	[PARAM_UUID] = "a UUID",
	[PARAM_UNUSED] = "without use here",
};

struct range {
	int64_t min, max;
};

static struct range row_range(const struct param *row)
{
	struct range r = {row->min, row->max};

	if (r.min != 0 || r.max != 0)
		return r;
	switch (row->type) {
	case PARAM_INT:
		return (struct range){INT32_MIN, INT32_MAX};
	case PARAM_U32:
		return (struct range){0, UINT32_MAX};
	case PARAM_U64:
		return (struct range){0, INT64_MAX};
	case PARAM_TEXT:
		return (struct range){0, PARAM_TEXT_MAX};
	case PARAM_UUID:
		return (struct range){36, 36};
	case PARAM_BOOL:
	case PARAM_FLAG:
	case PARAM_TEXTS:
	case PARAM_INTS:
	case PARAM_OBJECTS:
	case PARAM_UNUSED:
		break;
	}
	return (struct range){0, INT32_MAX};
}

static bool is_integer(enum param_type type)
{
	return type == PARAM_INT || type == PARAM_U32 || type == PARAM_U64;
}

const struct param *param_find(const struct param *rows, const char *name)
{
	for (const struct param *row = rows; row && row->name; row++) {
		if (strcmp(row->name, name) == 0)
			return row;
	}
	return NULL;
}

const struct param *param_find_key(const struct param *rows, const char *key)
{
	for (const struct param *row = rows; row && row->name; row++) {
		if (row->key && strcasecmp(row->key, key) == 0)
			return row;
	}
	return NULL;
}

bool params_given(const struct param *rows, uint64_t given, const char *name)
{
	const struct param *row = param_find(rows, name);

	ASSERT(row != NULL);
	return (given >> (row - rows)) & 1;
}

static void put_number(const struct param *row, void *out, int64_t n)
{
	char *field = (char *)out + row->offset;

	if (row->type == PARAM_U64)
		*(uint64_t *)(void *)field = (uint64_t)n;
	else if (row->type == PARAM_U32)
		*(uint32_t *)(void *)field = (uint32_t)n;
	else
		*(int32_t *)(void *)field = (int32_t)n;
}

static void put_fallback(const struct param *row, void *out)
{
	char *field = (char *)out + row->offset;
	int64_t n = 0;
	bool b = false;

	switch (row->type) {
	case PARAM_BOOL:
	case PARAM_FLAG:
		if (row->fallback)
			ASSERT(parse_bool(row->fallback, &b) == 0);
		*(bool *)(void *)field = b;
		break;
	case PARAM_INT:
	case PARAM_U32:
	case PARAM_U64:
		if (row->fallback)
			ASSERT(parse_i64(row->fallback, INT64_MIN, INT64_MAX,
					 &n) == 0);
		put_number(row, out, n);
		break;
	case PARAM_TEXT:
	case PARAM_UUID:
		*(const char **)(void *)field = row->fallback;
		break;
	case PARAM_TEXTS:
	case PARAM_INTS:
	case PARAM_OBJECTS:
		*(json_t **)(void *)field = NULL;
		break;
	case PARAM_UNUSED:
		break;
	}
}

static int wrong_type(const struct param *row, char *why, size_t size)
{
	snprintf(why, size, "Invalid parameters: '%s' is not %s", row->name,
		 type_words[row->type]);
	return -EINVAL;
}

static int out_of_range(const struct param *row, char *why, size_t size)
{
	struct range r = row_range(row);
	const char *what = "is not";

	if (row->type == PARAM_TEXT)
		what = "has not a length of";
	if (row->type == PARAM_TEXTS || row->type == PARAM_INTS ||
	    row->type == PARAM_OBJECTS)
		what = "has not a number of entries of";
	snprintf(why, size, "Invalid parameters: '%s' %s %" PRId64 "..%" PRId64,
		 row->name, what, r.min, r.max);
	return -EINVAL;
}

static bool in_range(const struct param *row, int64_t n)
{
	struct range r = row_range(row);

	return n >= r.min && n <= r.max;
}

static bool is_uuid(const char *text)
{
	size_t i;

	for (i = 0; text[i]; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (i >= 36 || (dash != (text[i] == '-')))
			return false;
		if (!dash && !strchr("0123456789abcdefABCDEF", text[i]))
			return false;
	}
	return i == 36;
}

static int decode_array(const struct param *row, json_t *value, char *why,
			size_t size)
{
	json_t *entry;
	size_t i;

	if (!json_is_array(value))
		return wrong_type(row, why, size);
	if (!in_range(row, (int64_t)json_array_size(value)))
		return out_of_range(row, why, size);
	json_array_foreach(value, i, entry) {
		if (row->type == PARAM_TEXTS && !json_is_string(entry))
			return wrong_type(row, why, size);
		if (row->type == PARAM_INTS &&
		    (!json_is_integer(entry) ||
		     json_integer_value(entry) < INT32_MIN ||
		     json_integer_value(entry) > INT32_MAX))
			return wrong_type(row, why, size);
		if (row->type != PARAM_OBJECTS)
			continue;
		if (!json_is_object(entry))
			return wrong_type(row, why, size);
		if (params_decode(row->sub, entry, NULL, NULL, why, size) < 0)
			return -EINVAL;
	}
	return 0;
}

static int decode_flag(const struct param *row, json_t *value, bool *ret,
		       char *why, size_t size)
{
	if (json_is_boolean(value)) {
		*ret = json_is_true(value);
		return 0;
	}
	if (row->type != PARAM_FLAG || !json_is_integer(value))
		return wrong_type(row, why, size);
	if (json_integer_value(value) != 0 && json_integer_value(value) != 1)
		return wrong_type(row, why, size);
	*ret = json_integer_value(value) == 1;
	return 0;
}

static int decode_text(const struct param *row, json_t *value, char *why,
		       size_t size)
{
	if (!json_is_string(value))
		return wrong_type(row, why, size);
	if (row->type == PARAM_UUID) {
		if (!is_uuid(json_string_value(value)))
			return wrong_type(row, why, size);
		return 0;
	}
	if (!in_range(row, (int64_t)json_string_length(value)))
		return out_of_range(row, why, size);
	return 0;
}

static int decode_one(const struct param *row, json_t *value, void *out,
		      char *why, size_t size)
{
	char *field = out ? (char *)out + row->offset : NULL;
	bool flag;
	int error;

	switch (row->type) {
	case PARAM_BOOL:
	case PARAM_FLAG:
		error = decode_flag(row, value, &flag, why, size);
		if (error == 0 && field)
			*(bool *)(void *)field = flag;
		return error;
	case PARAM_INT:
	case PARAM_U32:
	case PARAM_U64:
		if (!json_is_integer(value))
			return wrong_type(row, why, size);
		if (!in_range(row, json_integer_value(value)))
			return out_of_range(row, why, size);
		if (out)
			put_number(row, out, json_integer_value(value));
		return 0;
	case PARAM_TEXT:
	case PARAM_UUID:
		error = decode_text(row, value, why, size);
		if (error == 0 && field)
			*(const char **)(void *)field =
				json_string_value(value);
		return error;
	case PARAM_TEXTS:
	case PARAM_INTS:
	case PARAM_OBJECTS:
		error = decode_array(row, value, why, size);
		if (error == 0 && field)
			*(json_t **)(void *)field = value;
		return error;
	case PARAM_UNUSED:
		break;
	}
	return 0;
}

int params_decode(const struct param *rows, json_t *params, void *out,
		  uint64_t *given, char *why, size_t size)
{
	uint64_t have = 0;
	const char *name;
	json_t *value;

	for (const struct param *row = rows; out && row && row->name; row++)
		put_fallback(row, out);
	if (params && !json_is_object(params)) {
		snprintf(why, size,
			 "Invalid parameters: params is not an object");
		return -EINVAL;
	}
	json_object_foreach(params, name, value) {
		const struct param *row = param_find(rows, name);

		if (!row) {
			snprintf(
				why, size,
				"Invalid parameters: unknown parameter '%.64s'",
				name);
			return -EINVAL;
		}
		if (decode_one(row, value, out, why, size) < 0)
			return -EINVAL;
		have |= UINT64_C(1) << (row - rows);
	}
	for (const struct param *row = rows; row && row->name; row++) {
		ASSERT(row - rows < PARAMS_MAX);
		if (!row->required || (have >> (row - rows) & 1))
			continue;
		snprintf(why, size,
			 "Invalid parameters: parameter '%s' is missing",
			 row->name);
		return -EINVAL;
	}
	if (given)
		*given = have;
	return 0;
}

/* The words of the configuration file: fewer than base/str.h takes. */
static int conf_bool(const char *text, bool *ret)
{
	static const char *const yes[] = {"Yes", "Y", "True"};
	static const char *const no[] = {"No", "N", "False"};

	for (size_t i = 0; i < 3; i++) {
		if (strcasecmp(text, yes[i]) == 0) {
			*ret = true;
			return 0;
		}
		if (strcasecmp(text, no[i]) == 0) {
			*ret = false;
			return 0;
		}
	}
	return -EINVAL;
}

static int number_from_text(const struct param *row, const char *text,
			    json_t **ret, char *why, size_t size)
{
	struct range r = row_range(row);
	int64_t n;
	int error;

	error = parse_i64(text, r.min, r.max, &n);
	if (error == -ERANGE)
		snprintf(why, size, "%s '%.64s' is not %" PRId64 "..%" PRId64,
			 row->key, text, r.min, r.max);
	else if (error < 0)
		snprintf(why, size, "%s '%.64s' is not a number", row->key,
			 text);
	if (error < 0)
		return -EINVAL;
	*ret = json_integer(n);
	return *ret ? 0 : -ENOMEM;
}

int param_from_text(const struct param *row, const char *text, json_t **ret,
		    char *why, size_t size)
{
	bool b;

	if (is_integer(row->type))
		return number_from_text(row, text, ret, why, size);
	if (row->type == PARAM_BOOL || row->type == PARAM_FLAG) {
		if (conf_bool(text, &b) < 0) {
			snprintf(why, size, "%s '%.64s' is neither Yes nor No",
				 row->key, text);
			return -EINVAL;
		}
		*ret = json_boolean(b);
		return 0;
	}
	ASSERT(row->type == PARAM_TEXT);
	*ret = json_string(text);
	if (!*ret || !in_range(row, (int64_t)strlen(text))) {
		snprintf(why, size, "%s is too long or not UTF-8", row->key);
		json_decref(*ret);
		return -EINVAL;
	}
	return 0;
}

void param_describe(const struct param *row, char *text, size_t size)
{
	struct range r = row_range(row);
	int len;

	len = snprintf(text, size, "%s", type_words[row->type]);
	if (is_integer(row->type) && (row->min || row->max))
		len += snprintf(text + len, size - (size_t)len,
				" %" PRId64 "..%" PRId64, r.min, r.max);
	if (row->required)
		len += snprintf(text + len, size - (size_t)len, ", required");
	if (row->fallback)
		snprintf(text + len, size - (size_t)len, ", default %s",
			 row->fallback);
}
