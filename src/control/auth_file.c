/* SPDX-License-Identifier: BSD-3-Clause */
/* The AuthFile: sections [AuthGroupN] with Auth lines. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/str.h"
#include "control/conf_parse.h"
#include "control/control_priv.h"

struct group_file {
	struct control *c;
	struct conf *conf;
	struct conf_faults faults;
	struct targets *into; /* a scratch set: groups only */
};

bool auth_file_has(const struct control *c, int32_t tag)
{
	for (uint32_t i = 0; i < c->nfile_groups; i++) {
		if (c->file_groups[i] == tag)
			return true;
	}
	return false;
}

/* Secrets for everybody to read are no secrets. */
static int check_mode(const char *path, char *why, size_t size)
{
	struct stat st;

	if (stat(path, &st) < 0) {
		snprintf(why, size, "%s: %s", path, strerror(errno));
		return -errno;
	}
	if (st.st_mode & S_IRWXO) {
		snprintf(why, size, "%s is open to everybody: chmod o-rwx it",
			 path);
		return -EACCES;
	}
	return 0;
}

static void fill(struct group_file *f, const struct conf_item *item,
		 char *field, size_t size, uint32_t n)
{
	field[0] = '\0';
	if (n < item->nvalues && !str_copy(field, size, item->values[n]))
		conf_fault(&f->faults, f->conf->file, item->line,
			   "a CHAP name or secret is above %zu bytes",
			   size - 1);
}

static void load_auth(struct group_file *f, int32_t tag,
		      const struct conf_item *item)
{
	const char *why = NULL;
	struct chap_secret s;

	if (item->nvalues != 2 && item->nvalues != 4) {
		conf_fault(&f->faults, f->conf->file, item->line,
			   "Auth needs a user and a secret, and maybe a "
			   "mutual user and secret");
		return;
	}
	fill(f, item, s.user, sizeof(s.user), 0);
	fill(f, item, s.secret, sizeof(s.secret), 1);
	fill(f, item, s.muser, sizeof(s.muser), 2);
	fill(f, item, s.msecret, sizeof(s.msecret), 3);
	if (auth_group_add_secret(f->into, tag, &s, &why) < 0)
		conf_fault(&f->faults, f->conf->file, item->line, "%s", why);
	wipe(&s, sizeof(s));
}

static void load_group(struct group_file *f, const struct conf_section *s)
{
	const char *name = f->conf->file, *why = NULL;
	int32_t tag = (int32_t)s->number;
	const struct conf_item *item;

	if (strncasecmp(s->name, "AuthGroup", 9) != 0 || tag < 1) {
		conf_fault(&f->faults, name, s->line,
			   "section [%s] is not [AuthGroupN], N from 1",
			   s->name);
		return;
	}
	if (auth_group_create(f->into, tag, &why) < 0) {
		conf_fault(&f->faults, name, s->line, "[%s]: %s", s->name, why);
		return;
	}
	list_for_each(item, &s->items, link) {
		if (strcasecmp(item->key, "Comment") == 0)
			continue;
		if (strcasecmp(item->key, "Auth") == 0)
			load_auth(f, tag, item);
		else
			conf_fault(&f->faults, name, item->line,
				   "unknown key '%s' in section [%s]",
				   item->key, s->name);
	}
}

/* Moves what was read into the target's own groups. */
static int adopt(struct group_file *f, const char **ret_why)
{
	struct control *c = f->c;
	int32_t tag = 0;
	int error = 0;

	while (error == 0 && (tag = auth_group_after(f->into, tag)) != 0) {
		const struct chap_secret *s;

		if (c->nfile_groups == AUTH_FILE_GROUPS_MAX) {
			*ret_why = "too many auth groups in the file";
			return -ENOSPC;
		}
		error = auth_group_create(c->targets, tag, ret_why);
		if (error < 0)
			break;
		c->file_groups[c->nfile_groups++] = tag;
		for (uint32_t i = 0;
		     error == 0 && (s = auth_group_secret(f->into, tag, i));
		     i++)
			error = auth_group_add_secret(c->targets, tag, s,
						      ret_why);
	}
	return error;
}

static void drop_file_groups(struct control *c)
{
	while (c->nfile_groups > 0)
		auth_group_delete(c->targets, c->file_groups[--c->nfile_groups],
				  NULL);
}

/* A tag that RPC gave to a group of its own stays that group's. */
static void check_tags(struct group_file *f)
{
	int32_t tag = 0;

	while ((tag = auth_group_after(f->c->targets, tag)) != 0) {
		const struct conf_section *s;

		if (auth_file_has(f->c, tag))
			continue;
		list_for_each(s, &f->conf->sections, link) {
			if ((int32_t)s->number == tag)
				conf_fault(&f->faults, f->conf->file, s->line,
					   "auth group %d exists already", tag);
		}
	}
}

static void load_groups(struct group_file *f)
{
	const struct conf_section *s;

	list_for_each(s, &f->conf->sections, link)
		load_group(f, s);
	check_tags(f);
}

static int read_groups(struct group_file *f, const char *path, char *why,
		       size_t size)
{
	char *text;
	size_t len;
	int error;

	error = conf_read_file(path, &text, &len);
	if (error < 0) {
		snprintf(why, size, "%s: %s", path, strerror(-error));
		return error;
	}
	error = conf_parse(path, text, len, &f->faults, &f->conf);
	wipe(text, len);
	free(text);
	if (error == -ENOMEM) {
		snprintf(why, size, "%s: out of memory", path);
		return error;
	}
	load_groups(f);
	if (f->faults.nerrors == 0)
		return 0;
	/* The first line says enough. */
	snprintf(why, size, "%.*s",
		 (int)strcspn((const char *)f->faults.errors.data, "\n"),
		 (const char *)f->faults.errors.data);
	return -EINVAL;
}

static void wipe_conf(struct conf *conf)
{
	struct conf_section *s;
	struct conf_item *item;

	if (!conf)
		return;
	list_for_each(s, &conf->sections, link) {
		list_for_each(item, &s->items, link) {
			for (uint32_t i = 0; i < item->nvalues; i++)
				wipe(item->values[i], strlen(item->values[i]));
		}
	}
}

int auth_file_load(struct control *c, const char *path, char *why, size_t size)
{
	struct group_file f = {.c = c};
	const char *reason = NULL;
	int error;

	error = check_mode(path, why, size);
	if (error < 0)
		return error;
	error = targets_create(NULL, &f.into);
	if (error < 0) {
		snprintf(why, size, "out of memory");
		return error;
	}
	conf_faults_init(&f.faults);
	error = read_groups(&f, path, why, size);
	if (error == 0) {
		drop_file_groups(c);
		error = adopt(&f, &reason);
		if (error < 0) {
			drop_file_groups(c);
			snprintf(why, size, "%s: %s", path, reason);
		}
	}
	wipe_conf(f.conf);
	conf_free(f.conf);
	conf_faults_deinit(&f.faults);
	targets_destroy(f.into);
	return error;
}
