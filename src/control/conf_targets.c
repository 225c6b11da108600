/* SPDX-License-Identifier: BSD-3-Clause */
/* Sections of the iSCSI layer, as calls. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "control/conf_rows.h"
#include "control/rpc_tables.h"
#include "target/target.h"

static void fault(struct translation *t, const struct conf_item *item,
		  const char *words)
{
	conf_fault(t->faults, t->conf->file, item->line, "%s %s", item->key,
		   words);
}

/* ---- Authentication: words in the file, four parameters in a call. */

struct auth_words {
	bool disable, require, mutual;
	int32_t group;
};

static void parse_method(struct translation *t, const struct conf_item *item,
			 struct auth_words *a)
{
	for (uint32_t i = 0; item && i < item->nvalues; i++) {
		const char *word = item->values[i];

		if (word[0] == '#')
			break;
		if (strcasecmp(word, "None") == 0)
			*a = (struct auth_words){.disable = true};
		else if (strcasecmp(word, "Auto") == 0)
			*a = (struct auth_words){0};
		else if (strcasecmp(word, "CHAP") == 0)
			*a = (struct auth_words){.require = true};
		else if (strcasecmp(word, "Mutual") == 0 && a->require)
			a->mutual = true;
		else {
			fault(t, item,
			      "is not None, Auto, CHAP, or CHAP Mutual");
			return;
		}
	}
}

static void parse_group(struct translation *t, const struct conf_item *item,
			struct auth_words *a)
{
	if (item && strcasecmp(item->values[0], "None") != 0)
		a->group = conf_tag(t, item, item->values[0], "AuthGroup");
}

static void put_auth(json_t *o, const struct auth_words *a)
{
	json_object_set_new(o, "disable_chap", json_boolean(a->disable));
	json_object_set_new(o, "require_chap", json_boolean(a->require));
	json_object_set_new(o, "mutual_chap", json_boolean(a->mutual));
	json_object_set_new(o, "chap_group", json_integer(a->group));
}

void conf_translate_iscsi(struct translation *t, struct conf_section *s)
{
	const struct conf_item *method =
		conf_item_find(s, "DiscoveryAuthMethod");
	const struct conf_item *group = conf_item_find(s, "DiscoveryAuthGroup");
	struct auth_words auth = {0};
	json_t *o = json_object();
	char why[PARAM_WHY_MAX];

	for (const struct param *r = rpc_iscsi_option_rows; r->name; r++) {
		const struct conf_item *item =
			r->key ? conf_item_find(s, r->key) : NULL;
		json_t *value = NULL;

		if (!item || r->type == PARAM_UNUSED)
			continue;
		if (param_from_text(r, item->values[0], &value, why,
				    sizeof(why)) < 0)
			conf_fault(t->faults, t->conf->file, item->line, "%s",
				   why);
		else
			json_object_set_new(o, r->name, value);
	}
	parse_method(t, method, &auth);
	parse_group(t, group, &auth);
	put_auth(o, &auth);
	config_add(t, "iscsi_set_options", o, s, s->line);
}

/* ---- Portal groups. */

static bool tag_ok(struct translation *t, const struct conf_section *s)
{
	if (s->number >= 1)
		return true;
	conf_fault(t->faults, t->conf->file, s->line,
		   "section [%s] has no number from 1", s->name);
	return false;
}

/*
 * HOST, HOST:PORT or HOST:PORT@CPUMASK; HOST may be [IPv6]. Cuts @text into
 * host and port.
 */
static bool split_portal(char *text, char **ret_host, char **ret_port)
{
	static char standard_port[] = "3260";
	char *end = text;

	if (*text == '[') {
		end = strchr(text, ']');
		if (!end)
			return false;
		end++;
	}
	end += strcspn(end, ":@");
	*ret_host = text;
	*ret_port = standard_port;
	if (*end == ':') {
		*end++ = '\0';
		*ret_port = end;
		end += strcspn(end, "@");
	}
	/* The cores of a portal's connections: all of them, here. */
	*end = '\0';
	return **ret_host != '\0' && **ret_port != '\0';
}

static void add_portal(struct translation *t, const struct conf_item *item,
		       json_t *portals)
{
	char *text, *host, *port;

	if (item->nvalues < 2) {
		if (item->nvalues == 1)
			fault(t, item, "is not 'Portal LABEL HOST[:PORT]'");
		return;
	}
	text = strdup(item->values[1]);
	if (!text || !split_portal(text, &host, &port))
		fault(t, item, "is not 'Portal LABEL HOST[:PORT]'");
	else
		json_array_append_new(portals, json_pack("{s:s, s:s}", "host",
							 host, "port", port));
	free(text);
}

void conf_translate_pg(struct translation *t, struct conf_section *s)
{
	const struct conf_item *item;
	json_t *portals;

	if (!tag_ok(t, s))
		return;
	if (!conf_item_find(s, "Portal")) {
		conf_fault(t->faults, t->conf->file, s->line,
			   "section [%s] has no Portal", s->name);
		return;
	}
	portals = json_array();
	list_for_each(item, &s->items, link) {
		if (strcasecmp(item->key, "Portal") == 0)
			add_portal(t, item, portals);
	}
	if (json_array_size(portals) == 0) {
		json_decref(portals);
		return;
	}
	config_add(t, "iscsi_create_portal_group",
		   json_pack("{s:i, s:o}", "tag", (int)s->number, "portals",
			     portals),
		   s, s->line);
}

/* ---- Initiator groups. */

static json_t *first_values(const struct conf_section *s, const char *key)
{
	json_t *list = json_array();
	const struct conf_item *item;

	list_for_each(item, &s->items, link) {
		if (strcasecmp(item->key, key) == 0 && item->nvalues > 0)
			json_array_append_new(list,
					      json_string(item->values[0]));
	}
	return list;
}

static void check_masks(struct translation *t, const struct conf_section *s)
{
	const struct conf_item *item;

	list_for_each(item, &s->items, link) {
		if (strcasecmp(item->key, "Netmask") != 0 || !item->nvalues)
			continue;
		if (strcasecmp(item->values[0], "ALL") != 0 &&
		    netmask_check(item->values[0]) < 0)
			fault(t, item,
			      "is not ANY, a.b.c.d[/1..32] or "
			      "[IPv6][/1..128]");
	}
}

void conf_translate_ig(struct translation *t, struct conf_section *s)
{
	if (!tag_ok(t, s))
		return;
	if (!conf_item_find(s, "InitiatorName") ||
	    !conf_item_find(s, "Netmask")) {
		conf_fault(t->faults, t->conf->file, s->line,
			   "section [%s] needs InitiatorName and Netmask",
			   s->name);
		return;
	}
	check_masks(t, s);
	config_add(t, "iscsi_create_initiator_group",
		   json_pack("{s:i, s:o, s:o}", "tag", (int)s->number,
			     "initiators", first_values(s, "InitiatorName"),
			     "netmasks", first_values(s, "Netmask")),
		   s, s->line);
}

/* ---- Target nodes. */

static bool has_section(const struct translation *t, const char *prefix,
			int32_t number)
{
	const struct conf_section *s;

	list_for_each(s, &t->conf->sections, link) {
		if (strncasecmp(s->name, prefix, strlen(prefix)) == 0 &&
		    (int32_t)s->number == number)
			return true;
	}
	return false;
}

static int32_t mapped_tag(struct translation *t, const struct conf_item *item,
			  uint32_t n, const char *prefix)
{
	int32_t tag = conf_tag(t, item, item->values[n], prefix);

	if (tag > 0 && !has_section(t, prefix, tag))
		conf_fault(t->faults, t->conf->file, item->line,
			   "Mapping: there is no section [%s%d]", prefix, tag);
	return tag;
}

static json_t *node_maps(struct translation *t, const struct conf_section *s)
{
	json_t *list = json_array();
	const struct conf_item *item;

	list_for_each(item, &s->items, link) {
		int32_t pg, ig;

		if (strcasecmp(item->key, "Mapping") != 0 || !item->nvalues)
			continue;
		if (item->nvalues < 2) {
			fault(t, item,
			      "is not 'Mapping PortalGroupX "
			      "InitiatorGroupY'");
			continue;
		}
		pg = mapped_tag(t, item, 0, "PortalGroup");
		ig = mapped_tag(t, item, 1, "InitiatorGroup");
		json_array_append_new(list, json_pack("{s:i, s:i}", "pg_tag",
						      pg, "ig_tag", ig));
	}
	return list;
}

static json_t *node_luns(const struct conf_section *s)
{
	json_t *list = json_array();
	const struct conf_item *item;

	list_for_each(item, &s->items, link) {
		int lun = conf_lun_of(item->key);

		/* The first counts, as with any key. */
		if (lun < 0 || conf_item_find(s, item->key) != item)
			continue;
		json_array_append_new(list, json_pack("{s:s, s:i}", "bdev_name",
						      item->values[0], "lun_id",
						      lun));
	}
	return list;
}

static void put_digests(struct translation *t, const struct conf_item *item,
			json_t *o)
{
	bool header = false, data = false;

	for (uint32_t i = 0; item && i < item->nvalues; i++) {
		const char *word = item->values[i];

		if (word[0] == '#')
			break;
		if (strcasecmp(word, "Header") == 0)
			header = true;
		else if (strcasecmp(word, "Data") == 0)
			data = true;
		else if (strcasecmp(word, "Auto") == 0)
			header = data = false;
		else
			fault(t, item, "is not Auto, Header or Data");
	}
	json_object_set_new(o, "header_digest", json_boolean(header));
	json_object_set_new(o, "data_digest", json_boolean(data));
}

static bool node_complete(struct translation *t, const struct conf_section *s)
{
	static const char *const needed[] = {"TargetName", "Mapping", "LUN0"};
	bool complete = true;

	for (size_t i = 0; i < 3; i++) {
		if (conf_item_find(s, needed[i]))
			continue;
		conf_fault(t->faults, t->conf->file, s->line,
			   "section [%s] has no %s", s->name, needed[i]);
		complete = false;
	}
	return complete;
}

static void put_depth(struct translation *t, const struct conf_item *item,
		      json_t *o)
{
	int64_t depth = 0;

	/* Out of range means the maximum, to SPDK and to us. */
	if (item && !conf_number(t, item, 0, INT32_MIN, INT32_MAX, &depth))
		return;
	json_object_set_new(o, "queue_depth", json_integer(depth));
}

void conf_translate_node(struct translation *t, struct conf_section *s)
{
	const struct conf_item *alias = conf_item_find(s, "TargetAlias");
	const struct conf_item *item;
	struct auth_words auth = {0};
	struct config_call *call;
	uint32_t before = t->faults->nerrors;
	json_t *o;

	if (s->number > 65535) {
		conf_fault(t->faults, t->conf->file, s->line,
			   "the number of section [%s] is above 65535",
			   s->name);
		return;
	}
	if (!node_complete(t, s))
		return;
	o = json_pack("{s:s, s:s, s:o, s:o}", "name",
		      conf_item_find(s, "TargetName")->values[0], "alias_name",
		      alias ? alias->values[0] : "", "pg_ig_maps",
		      node_maps(t, s), "luns", node_luns(s));
	parse_method(t, conf_item_find(s, "AuthMethod"), &auth);
	parse_group(t, conf_item_find(s, "AuthGroup"), &auth);
	put_auth(o, &auth);
	put_digests(t, conf_item_find(s, "UseDigest"), o);
	put_depth(t, conf_item_find(s, "QueueDepth"), o);
	if (t->faults->nerrors > before) {
		json_decref(o);
		return;
	}
	call = config_add(t, "iscsi_create_target_node", o, s, s->line);
	list_for_each(item, &s->items, link) {
		if (conf_lun_of(item->key) >= 0 && item->nvalues > 0)
			config_add_need(t, call, item, item->values[0]);
	}
}
