/* SPDX-License-Identifier: BSD-3-Clause */
#include "target/target.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "target/target_priv.h"

struct auth_group {
	struct list link; /* by tag */
	int32_t tag;
	uint32_t nsecrets;
	struct list secrets;
};

struct secret_entry {
	struct list link;
	struct chap_secret secret;
};

static struct auth_group *find_group(const struct targets *t, int32_t tag)
{
	struct auth_group *g;

	list_for_each(g, &t->auth_groups, link) {
		if (g->tag == tag)
			return g;
	}
	return NULL;
}

static struct secret_entry *find_user(const struct auth_group *g,
				      const char *user)
{
	struct secret_entry *e;

	list_for_each(e, &g->secrets, link) {
		if (strcmp(e->secret.user, user) == 0)
			return e;
	}
	return NULL;
}

static void secret_free(struct secret_entry *e)
{
	list_remove(&e->link);
	wipe(e, sizeof(*e));
	free(e);
}

static void group_free(struct auth_group *g)
{
	struct secret_entry *e, *tmp;

	list_for_each_safe(e, tmp, &g->secrets, link)
		secret_free(e);
	list_remove(&g->link);
	free(g);
}

void auth_groups_free(struct targets *t)
{
	struct auth_group *g, *tmp;

	list_for_each_safe(g, tmp, &t->auth_groups, link)
		group_free(g);
}

int auth_group_create(struct targets *t, int32_t tag, const char **ret_why)
{
	struct auth_group *g, *after;

	if (tag < 1)
		return because(ret_why, "auth group tag is below 1", -EINVAL);
	if (find_group(t, tag))
		return because(ret_why, "auth group exists already", -EEXIST);
	g = calloc(1, sizeof(*g));
	if (!g)
		return because(ret_why, "out of memory", -ENOMEM);
	g->tag = tag;
	list_init(&g->secrets);
	list_for_each(after, &t->auth_groups, link) {
		if (after->tag > tag)
			break;
	}
	/* Before @after; past the end that is the head itself. */
	list_push_back(&after->link, &g->link);
	return 0;
}

static int check_secret(const struct chap_secret *s, const char **ret_why)
{
	if (s->user[0] == '\0')
		return because(ret_why, "CHAP user is empty", -EINVAL);
	if (s->secret[0] == '\0')
		return because(ret_why, "CHAP secret is empty", -EINVAL);
	if ((s->muser[0] == '\0') != (s->msecret[0] == '\0'))
		return because(ret_why,
			       "mutual CHAP needs both a user and a secret",
			       -EINVAL);
	return 0;
}

int auth_group_add_secret(struct targets *t, int32_t tag,
			  const struct chap_secret *s, const char **ret_why)
{
	struct auth_group *g = find_group(t, tag);
	struct secret_entry *e;
	int error;

	if (!g)
		return because(ret_why, "auth group does not exist", -ENOENT);
	error = check_secret(s, ret_why);
	if (error < 0)
		return error;
	if (find_user(g, s->user))
		return because(ret_why, "user is in the auth group already",
			       -EEXIST);
	if (g->nsecrets == GROUP_ENTRIES_MAX)
		return because(ret_why, "too many secrets in one auth group",
			       -ENOSPC);
	e = calloc(1, sizeof(*e));
	if (!e)
		return because(ret_why, "out of memory", -ENOMEM);
	e->secret = *s;
	list_push_back(&g->secrets, &e->link);
	g->nsecrets++;
	return 0;
}

int auth_group_remove_secret(struct targets *t, int32_t tag, const char *user,
			     const char **ret_why)
{
	struct auth_group *g = find_group(t, tag);
	struct secret_entry *e;

	if (!g)
		return because(ret_why, "auth group does not exist", -ENOENT);
	e = find_user(g, user);
	if (!e)
		return because(ret_why, "user is not in the auth group",
			       -ENOENT);
	secret_free(e);
	g->nsecrets--;
	return 0;
}

int auth_group_delete(struct targets *t, int32_t tag, const char **ret_why)
{
	struct auth_group *g = find_group(t, tag);

	if (!g)
		return because(ret_why, "auth group does not exist", -ENOENT);
	group_free(g);
	return 0;
}

const struct chap_secret *auth_group_find(const struct targets *t, int32_t tag,
					  const char *user)
{
	const struct auth_group *g = find_group(t, tag);
	const struct secret_entry *e = g ? find_user(g, user) : NULL;

	return e ? &e->secret : NULL;
}

int32_t auth_group_after(const struct targets *t, int32_t tag)
{
	const struct auth_group *g;

	list_for_each(g, &t->auth_groups, link) {
		if (g->tag > tag)
			return g->tag;
	}
	return 0;
}

const struct chap_secret *auth_group_secret(const struct targets *t,
					    int32_t tag, uint32_t n)
{
	const struct auth_group *g = find_group(t, tag);
	const struct secret_entry *e;

	if (!g)
		return NULL;
	list_for_each(e, &g->secrets, link) {
		if (n-- == 0)
			return &e->secret;
	}
	return NULL;
}
