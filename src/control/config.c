/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/config.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "control/conf_rows.h"
#include "control/config_json.h"
#include "control/rpc.h"

static void call_free(struct config_call *call)
{
	struct config_need *need, *tmp;

	list_for_each_safe(need, tmp, &call->needs, link) {
		list_remove(&need->link);
		free(need->bdev);
		free(need->key);
		free(need);
	}
	list_remove(&call->link);
	json_decref(call->params);
	free(call->method);
	free(call->what);
	free(call);
}

void config_free(struct config *cfg)
{
	struct config_call *call, *tmp;

	if (!cfg)
		return;
	list_for_each_safe(call, tmp, &cfg->calls, link)
		call_free(call);
	free(cfg->reactor_mask);
	free(cfg->file);
	free(cfg);
}

struct config_call *config_append(struct config *cfg, const char *method,
				  json_t *params, const char *what,
				  uint32_t line)
{
	struct config_call *call = calloc(1, sizeof(*call));

	if (!call) {
		json_decref(params);
		return NULL;
	}
	list_init(&call->link);
	list_init(&call->needs);
	call->params = params;
	call->line = line;
	call->method = strdup(method);
	call->what = strdup(what);
	if (!call->method || !call->what) {
		call_free(call);
		return NULL;
	}
	list_push_back(&cfg->calls, &call->link);
	return call;
}

/* ---- What translate functions use. */

struct config_call *config_add(struct translation *t, const char *method,
			       json_t *params, const struct conf_section *s,
			       uint32_t line)
{
	struct config_call *call;
	char why[PARAM_WHY_MAX];
	char what[96];

	if (!params) {
		conf_fault(t->faults, t->conf->file, line,
			   "section [%s] is not UTF-8, or memory is short",
			   s->name);
		return NULL;
	}
	if (rpc_check(method, params, why, sizeof(why)) < 0) {
		conf_fault(t->faults, t->conf->file, line, "[%s]: %s", s->name,
			   why);
		json_decref(params);
		return NULL;
	}
	snprintf(what, sizeof(what), "[%.80s]", s->name);
	call = config_append(t->cfg, method, params, what, line);
	if (!call)
		conf_fault(t->faults, t->conf->file, line, "memory is short");
	return call;
}

void config_add_need(struct translation *t, struct config_call *call,
		     const struct conf_item *item, const char *bdev)
{
	struct config_need *need;

	if (!call)
		return;
	need = calloc(1, sizeof(*need));
	if (need) {
		list_push_back(&call->needs, &need->link);
		need->bdev = strdup(bdev);
		need->key = strdup(item->key);
		need->line = item->line;
	}
	if (!need || !need->bdev || !need->key)
		conf_fault(t->faults, t->conf->file, item->line,
			   "memory is short");
}

const struct conf_item *conf_item_find(const struct conf_section *s,
				       const char *key)
{
	const struct conf_item *item;

	list_for_each(item, &s->items, link) {
		if (strcasecmp(item->key, key) == 0 && item->nvalues > 0)
			return item;
	}
	return NULL;
}

bool conf_number(struct translation *t, const struct conf_item *item,
		 uint32_t n, int64_t min, int64_t max, int64_t *ret)
{
	const char *text = item->values[n];
	int error = parse_i64(text, min, max, ret);

	if (error == -ERANGE)
		conf_fault(t->faults, t->conf->file, item->line,
			   "%s: '%.64s' is not %lld..%lld", item->key, text,
			   (long long)min, (long long)max);
	else if (error < 0)
		conf_fault(t->faults, t->conf->file, item->line,
			   "%s: '%.64s' is not a number", item->key, text);
	return error == 0;
}

int32_t conf_tag(struct translation *t, const struct conf_item *item,
		 const char *value, const char *prefix)
{
	size_t len = strlen(prefix);
	uint32_t tag;

	if (strncasecmp(value, prefix, len) == 0 &&
	    isdigit((unsigned char)value[len]) &&
	    parse_u32(value + len, 1, INT32_MAX, &tag) == 0)
		return (int32_t)tag;
	conf_fault(t->faults, t->conf->file, item->line,
		   "%s: '%.64s' is not %sN, N from 1", item->key, value,
		   prefix);
	return 0;
}

/* ---- Checks of every section by its row. */

static const struct conf_section_row *row_of(const struct conf_section *s)
{
	const struct conf_section_row *row;

	for (row = conf_section_rows; row->name; row++) {
		if (conf_row_is(row, s))
			return row;
	}
	return NULL;
}

static void note_unused(struct translation *t, const char *section,
			const char *key)
{
	buf_printf(&t->unused, "%s[%.64s]%s%.64s", t->unused.len ? ", " : "",
		   section, key ? " " : "", key ? key : "");
}

static bool given_before(const struct conf_section *s,
			 const struct conf_item *item)
{
	const struct conf_item *other;

	list_for_each(other, &s->items, link) {
		if (other == item)
			break;
		if (strcasecmp(other->key, item->key) == 0)
			return true;
	}
	return false;
}

struct key_facts {
	bool known, unused, repeated, many, comment;
};

static struct key_facts facts_of(const struct conf_section_row *row,
				 const char *key)
{
	const struct conf_key *k = conf_key_find(row->keys, key);
	const struct param *p = param_find_key(row->params, key);

	if (k)
		return (struct key_facts){
			.known = true,
			.unused = k->unused,
			.repeated = k->repeated,
			.many = k->many,
			.comment = k->form && strcmp(k->form, "TEXT") == 0,
		};
	return (struct key_facts){
		.known = p != NULL,
		.unused = p && p->type == PARAM_UNUSED,
	};
}

static void check_item(struct translation *t,
		       const struct conf_section_row *row,
		       const struct conf_section *s,
		       const struct conf_item *item)
{
	struct key_facts facts = facts_of(row, item->key);
	const char *file = t->conf->file;

	if (!facts.known) {
		conf_fault(t->faults, file, item->line,
			   "unknown key '%s' in section [%s]", item->key,
			   s->name);
		return;
	}
	if (facts.unused) {
		note_unused(t, s->name, item->key);
		return;
	}
	if (item->nvalues == 0 && !facts.comment)
		conf_fault(t->faults, file, item->line, "key '%s' has no value",
			   item->key);
	if (!facts.repeated && given_before(s, item))
		conf_notice(t->faults, file, item->line,
			    "key '%s' is given twice; the first one counts",
			    item->key);
	if (!facts.many && item->nvalues > 1 && item->values[1][0] != '#')
		conf_notice(t->faults, file, item->line,
			    "key '%s' takes one value; the rest of the line "
			    "is skipped",
			    item->key);
}

static void check_section(struct translation *t, const struct conf_section *s)
{
	const struct conf_section_row *row = row_of(s);
	const struct conf_item *item;

	if (!row) {
		conf_fault(t->faults, t->conf->file, s->line,
			   "unknown section [%s]", s->name);
		return;
	}
	if (row->unused) {
		note_unused(t, s->name, NULL);
		return;
	}
	list_for_each(item, &s->items, link)
		check_item(t, row, s, item);
}

static void translate(struct translation *t)
{
	const struct conf_section_row *row;
	struct conf_section *s;

	buf_init(&t->unused, CONF_FAULTS_MAX);
	list_for_each(s, &t->conf->sections, link)
		check_section(t, s);
	for (row = conf_section_rows; row->name; row++) {
		list_for_each(s, &t->conf->sections, link) {
			if (!row->unused && conf_row_is(row, s))
				row->translate(t, s);
		}
	}
	if (t->unused.len > 0)
		conf_notice(t->faults, t->conf->file, 0,
			    "has no use here, skipped: %.900s",
			    (const char *)t->unused.data);
	buf_deinit(&t->unused);
}

/* ---- Loading. */

static int parse_legacy(struct config *cfg, const char *text, size_t len,
			struct conf_faults *faults)
{
	struct translation t = {.cfg = cfg, .faults = faults};
	int error;

	error = conf_parse(cfg->file, text, len, faults, &t.conf);
	if (error == -ENOMEM)
		return error;
	translate(&t);
	conf_free(t.conf);
	return 0;
}

int config_parse(const char *file, const char *text, size_t len,
		 struct conf_faults *faults, struct config **ret)
{
	struct config *cfg = calloc(1, sizeof(*cfg));
	uint32_t before = faults->nerrors;
	int error;

	if (!cfg)
		return -ENOMEM;
	list_init(&cfg->calls);
	cfg->file = strdup(file);
	if (!cfg->file)
		error = -ENOMEM;
	else if (config_is_json(text, len))
		error = config_parse_json(cfg, text, len, faults);
	else
		error = parse_legacy(cfg, text, len, faults);
	if (error == 0 && faults->nerrors > before)
		error = -EINVAL;
	if (error < 0) {
		config_free(cfg);
		return error;
	}
	*ret = cfg;
	return 0;
}

int config_load(const char *path, struct conf_faults *faults,
		struct config **ret)
{
	char *text;
	size_t len;
	int error;

	error = conf_read_file(path, &text, &len);
	if (error < 0) {
		conf_fault(faults, path, 0, "%s", strerror(-error));
		return error;
	}
	error = config_parse(path, text, len, faults, ret);
	if (error == -ENOMEM)
		conf_fault(faults, path, 0, "memory is short");
	free(text);
	return error;
}
