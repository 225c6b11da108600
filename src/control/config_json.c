/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/config_json.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/rpc.h"

/* Methods of SPDK's files about things that do not exist here. */
static const char *const unused_methods[] = {
	"accel_assign_opc",	   "accel_set_options",
	"bdev_iscsi_set_options",  "bdev_nvme_set_hotplug",
	"bdev_nvme_set_options",   "bdev_raid_set_options",
	"bdev_set_options",	   "dsa_scan_accel_module",
	"framework_set_scheduler", "iobuf_set_options",
	"ioat_scan_accel_module",  "keyring_linux_set_options",
	"scheduler_set_options",   "set_bdev_nvme_hotplug",
	"set_bdev_nvme_options",   "set_bdev_options",
	"sock_impl_set_options",   "sock_set_default_impl",
	"thread_set_cpumask",
};

static bool is_unused(const char *method)
{
	for (size_t i = 0; i < ARRAY_LEN(unused_methods); i++) {
		if (strcmp(unused_methods[i], method) == 0)
			return true;
	}
	return false;
}

/*
 * Blanks C comments, outside strings; lines stay where they are. SPDK takes
 * them in its configuration files.
 */
static void blank_comments(char *text, size_t len)
{
	bool string = false;
	size_t i = 0;

	while (i < len) {
		const char *end = NULL;
		size_t stop;

		if (string && text[i] == '\\') {
			i += 2;
			continue;
		}
		if (text[i] == '"')
			string = !string;
		if (!string && text[i] == '/' && i + 1 < len) {
			if (text[i + 1] == '/')
				end = memchr(text + i, '\n', len - i);
			else if (text[i + 1] == '*')
				end = memmem(text + i + 2, len - i - 2, "*/",
					     2);
			else {
				i++;
				continue;
			}
			if (end && text[i + 1] == '*')
				end += 2;
			stop = end ? (size_t)(end - text) : len;
			for (; i < stop; i++) {
				if (text[i] != '\n')
					text[i] = ' ';
			}
			continue;
		}
		i++;
	}
}

static char *without_comments(const char *text, size_t len)
{
	char *copy = malloc(len + 1);

	if (!copy)
		return NULL;
	memcpy(copy, text, len);
	copy[len] = '\0';
	blank_comments(copy, len);
	return copy;
}

bool config_is_json(const char *text, size_t len)
{
	size_t i = 0;

	while (i < len && isspace((unsigned char)text[i]))
		i++;
	/* A '/' begins a comment of JSON, and nothing in the other grammar. */
	return i < len && (text[i] == '{' || text[i] == '/');
}

struct json_load {
	struct config *cfg;
	struct conf_faults *faults;
	struct buf unused;
};

static int add_call(struct json_load *l, const char *what, json_t *entry)
{
	json_t *params = json_object_get(entry, "params");
	const char *method, *file = l->cfg->file;
	char why[PARAM_WHY_MAX];

	method = json_string_value(json_object_get(entry, "method"));
	if (!method) {
		conf_fault(l->faults, file, 0, "%s: no method", what);
		return 0;
	}
	if (is_unused(method)) {
		buf_printf(&l->unused, "%s%s", l->unused.len ? ", " : "",
			   method);
		return 0;
	}
	if (json_is_null(params))
		params = NULL;
	if (rpc_check(method, params, why, sizeof(why)) < 0) {
		conf_fault(l->faults, file, 0, "%s: %.64s: %s", what, method,
			   why);
		return 0;
	}
	return config_append(l->cfg, method, json_incref(params), what, 0)
		       ? 0
		       : -ENOMEM;
}

static int add_subsystem(struct json_load *l, json_t *subsystem)
{
	json_t *name = json_object_get(subsystem, "subsystem");
	json_t *config = json_object_get(subsystem, "config");
	json_t *entry;
	size_t i;

	if (!json_is_string(name)) {
		conf_fault(l->faults, l->cfg->file, 0,
			   "a subsystem has no name");
		return 0;
	}
	if (config && !json_is_null(config) && !json_is_array(config)) {
		conf_fault(l->faults, l->cfg->file, 0,
			   "subsystem %.32s: config is not an array",
			   json_string_value(name));
		return 0;
	}
	json_array_foreach(config, i, entry) {
		char what[64];
		int error;

		snprintf(what, sizeof(what), "%.32s, entry %zu",
			 json_string_value(name), i + 1);
		error = add_call(l, what, entry);
		if (error < 0)
			return error;
	}
	return 0;
}

static int add_subsystems(struct json_load *l, json_t *root)
{
	json_t *list = json_object_get(root, "subsystems"), *subsystem;
	int error = 0;
	size_t i;

	if (!json_is_array(list)) {
		conf_fault(l->faults, l->cfg->file, 0,
			   "no array 'subsystems' in it");
		return 0;
	}
	buf_init(&l->unused, 4096);
	json_array_foreach(list, i, subsystem) {
		error = add_subsystem(l, subsystem);
		if (error < 0)
			break;
	}
	if (l->unused.len > 0)
		conf_notice(l->faults, l->cfg->file, 0,
			    "has no use here, skipped: %.900s",
			    (const char *)l->unused.data);
	buf_deinit(&l->unused);
	return error;
}

int config_parse_json(struct config *cfg, const char *text, size_t len,
		      struct conf_faults *faults)
{
	struct json_load l = {.cfg = cfg, .faults = faults};
	char *copy = without_comments(text, len);
	json_error_t where;
	json_t *root;
	int error = 0;

	if (!copy)
		return -ENOMEM;
	root = json_loadb(copy, len, JSON_REJECT_DUPLICATES, &where);
	if (root)
		error = add_subsystems(&l, root);
	else
		conf_fault(faults, cfg->file,
			   where.line > 0 ? (uint32_t)where.line : 0, "%s",
			   where.text);
	json_decref(root);
	free(copy);
	return error;
}
