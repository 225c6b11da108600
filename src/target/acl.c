/* SPDX-License-Identifier: BSD-3-Clause */
#include "target/target.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/assert.h"
#include "target/target_priv.h"

/* "!" and a name, or a netmask such as "[ffff:...:ffff]/128". */
#define ENTRY_TEXT_MAX (ISCSI_NAME_MAX + 1)

/* One list of a group: what an entry is, and in which words it fails. */
struct entry_kind {
	int (*normalise)(const char *given, char *text, const char **ret_why);
	const char *duplicate;
	const char *missing;
};

/* ALL is an old spelling of ANY. */
static bool is_any(const char *text)
{
	return strcasecmp(text, "ANY") == 0 || strcasecmp(text, "ALL") == 0;
}

static int normalise_initiator(const char *given, char *text,
			       const char **ret_why)
{
	const char *name = given[0] == '!' ? given + 1 : given;
	const char *bang = given[0] == '!' ? "!" : "";
	const char *why = NULL;

	if (is_any(name)) {
		strcpy(text, bang);
		strcat(text, "ANY");
		return 0;
	}
	if (iscsi_name_check(name, &why) < 0)
		return because(ret_why, why ? why : "bad initiator name",
			       -EINVAL);
	strcpy(text, bang);
	strcat(text, name);
	str_lower(text);
	return 0;
}

static int normalise_netmask(const char *given, char *text,
			     const char **ret_why)
{
	if (is_any(given)) {
		strcpy(text, "ANY");
		return 0;
	}
	if (netmask_check(given) < 0 ||
	    !str_copy(text, ENTRY_TEXT_MAX + 1, given))
		return because(ret_why,
			       "netmask is none of ANY, a.b.c.d[/1..32], "
			       "[v6][/1..128]",
			       -EINVAL);
	str_lower(text);
	return 0;
}

static const struct entry_kind initiator_kind = {
	.normalise = normalise_initiator,
	.duplicate = "initiator name is in the group already",
	.missing = "initiator name is not in the group",
};

static const struct entry_kind netmask_kind = {
	.normalise = normalise_netmask,
	.duplicate = "netmask is in the group already",
	.missing = "netmask is not in the group",
};

static void entries_free(char **list, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		free(list[i]);
	free(list);
}

static uint32_t entries_index(char *const *list, uint32_t n, const char *text)
{
	for (uint32_t i = 0; i < n; i++) {
		if (strcmp(list[i], text) == 0)
			return i;
	}
	return n;
}

/* A copy of @list with room for @extra more; NULL when memory is short. */
static char **entries_copy(char *const *list, uint32_t n, uint32_t extra)
{
	char **copy = calloc((size_t)n + extra + 1, sizeof(*copy));

	for (uint32_t i = 0; copy && i < n; i++) {
		copy[i] = strdup(list[i]);
		if (!copy[i]) {
			entries_free(copy, i);
			return NULL;
		}
	}
	return copy;
}

/* @list with @add behind it, as a new list in *@ret. */
static int entries_add(const struct entry_kind *kind, char *const *list,
		       uint32_t n, const char *const *add, uint32_t nadd,
		       char ***ret, uint32_t *ret_n, const char **ret_why)
{
	char text[ENTRY_TEXT_MAX + 1];
	char **copy;
	int error = 0;

	if (nadd > GROUP_ENTRIES_MAX || n + nadd > GROUP_ENTRIES_MAX)
		return because(ret_why, "too many entries in one group",
			       -ENOSPC);
	copy = entries_copy(list, n, nadd);
	if (!copy)
		return because(ret_why, "out of memory", -ENOMEM);
	for (uint32_t i = 0; i < nadd; i++) {
		error = kind->normalise(add[i], text, ret_why);
		if (error == 0 && entries_index(copy, n, text) < n)
			error = because(ret_why, kind->duplicate, -EEXIST);
		if (error == 0 && !(copy[n] = strdup(text)))
			error = because(ret_why, "out of memory", -ENOMEM);
		if (error < 0)
			break;
		n++;
	}
	if (error < 0) {
		entries_free(copy, n);
		return error;
	}
	*ret = copy;
	*ret_n = n;
	return 0;
}

/* @list without @drop, as a new list in *@ret. */
static int entries_drop(const struct entry_kind *kind, char *const *list,
			uint32_t n, const char *const *drop, uint32_t ndrop,
			char ***ret, uint32_t *ret_n, const char **ret_why)
{
	char text[ENTRY_TEXT_MAX + 1];
	char **copy;
	int error = 0;

	copy = entries_copy(list, n, 0);
	if (!copy)
		return because(ret_why, "out of memory", -ENOMEM);
	for (uint32_t i = 0; i < ndrop; i++) {
		uint32_t at = n;

		error = kind->normalise(drop[i], text, ret_why);
		if (error == 0)
			at = entries_index(copy, n, text);
		if (error == 0 && at == n)
			error = because(ret_why, kind->missing, -ENOENT);
		if (error < 0)
			break;
		free(copy[at]);
		n--;
		memmove(copy + at, copy + at + 1, (n - at) * sizeof(*copy));
	}
	if (error < 0) {
		entries_free(copy, n);
		return error;
	}
	*ret = copy;
	*ret_n = n;
	return 0;
}

typedef int entries_edit_fn(const struct entry_kind *kind, char *const *list,
			    uint32_t n, const char *const *edit, uint32_t nedit,
			    char ***ret, uint32_t *ret_n, const char **ret_why);

/* Edits both lists on copies, so that a failure leaves the group as it was. */
static int group_edit(entries_edit_fn *edit, struct initiator_group *ig,
		      const char *const *initiators, uint32_t ninitiators,
		      const char *const *netmasks, uint32_t nnetmasks,
		      const char **ret_why)
{
	char **new_initiators, **new_netmasks;
	uint32_t new_ninitiators, new_nnetmasks;
	int error;

	error = edit(&initiator_kind, ig->initiators, ig->ninitiators,
		     initiators, ninitiators, &new_initiators, &new_ninitiators,
		     ret_why);
	if (error < 0)
		return error;
	error = edit(&netmask_kind, ig->netmasks, ig->nnetmasks, netmasks,
		     nnetmasks, &new_netmasks, &new_nnetmasks, ret_why);
	if (error < 0) {
		entries_free(new_initiators, new_ninitiators);
		return error;
	}
	entries_free(ig->initiators, ig->ninitiators);
	entries_free(ig->netmasks, ig->nnetmasks);
	ig->initiators = new_initiators;
	ig->ninitiators = new_ninitiators;
	ig->netmasks = new_netmasks;
	ig->nnetmasks = new_nnetmasks;
	return 0;
}

static void group_free(struct initiator_group *ig)
{
	entries_free(ig->initiators, ig->ninitiators);
	entries_free(ig->netmasks, ig->nnetmasks);
	free(ig);
}

int initiator_group_create(struct targets *t, int32_t tag,
			   const char *const *initiators, uint32_t ninitiators,
			   const char *const *netmasks, uint32_t nnetmasks,
			   struct initiator_group **ret, const char **ret_why)
{
	struct initiator_group *ig;
	int error;

	if (tag < 1)
		return because(ret_why, "initiator group tag is below 1",
			       -EINVAL);
	if (initiator_group_find(t, tag))
		return because(ret_why, "initiator group exists already",
			       -EEXIST);
	if (ninitiators == 0)
		return because(ret_why, "initiator group has no initiators",
			       -EINVAL);
	if (nnetmasks == 0)
		return because(ret_why, "initiator group has no netmasks",
			       -EINVAL);
	ig = calloc(1, sizeof(*ig));
	if (!ig)
		return because(ret_why, "out of memory", -ENOMEM);
	ig->tag = tag;
	error = group_edit(entries_add, ig, initiators, ninitiators, netmasks,
			   nnetmasks, ret_why);
	if (error < 0) {
		group_free(ig);
		return error;
	}
	list_push_back(&t->initiator_groups, &ig->link);
	*ret = ig;
	return 0;
}

int initiator_group_add(struct targets *t, struct initiator_group *ig,
			const char *const *initiators, uint32_t ninitiators,
			const char *const *netmasks, uint32_t nnetmasks,
			const char **ret_why)
{
	return group_edit(entries_add, ig, initiators, ninitiators, netmasks,
			  nnetmasks, ret_why);
}

int initiator_group_remove(struct targets *t, struct initiator_group *ig,
			   const char *const *initiators, uint32_t ninitiators,
			   const char *const *netmasks, uint32_t nnetmasks,
			   const char **ret_why)
{
	return group_edit(entries_drop, ig, initiators, ninitiators, netmasks,
			  nnetmasks, ret_why);
}

struct initiator_group *initiator_group_find(struct targets *t, int32_t tag)
{
	struct initiator_group *ig;

	list_for_each(ig, &t->initiator_groups, link) {
		if (ig->tag == tag)
			return ig;
	}
	return NULL;
}

struct initiator_group *initiator_group_first(struct targets *t)
{
	if (list_empty(&t->initiator_groups))
		return NULL;
	return list_first(&t->initiator_groups, struct initiator_group, link);
}

struct initiator_group *initiator_group_next(struct targets *t,
					     struct initiator_group *ig)
{
	if (ig->link.next == &t->initiator_groups)
		return NULL;
	return list_entry(ig->link.next, struct initiator_group, link);
}

void initiator_group_delete(struct targets *t, struct initiator_group *ig)
{
	struct target_node *n;

	list_for_each(n, &t->nodes, link)
		target_node_forget_ig(n, ig);
	list_remove(&ig->link);
	group_free(ig);
}

/* ---- Access. */

enum group_verdict { GROUP_ALLOWS, GROUP_DENIES, GROUP_SAYS_NOTHING };

static bool group_has_peer(const struct initiator_group *ig,
			   const struct sockaddr_storage *peer)
{
	for (uint32_t i = 0; i < ig->nnetmasks; i++) {
		if (netmask_match(ig->netmasks[i], peer))
			return true;
	}
	return false;
}

static enum group_verdict group_ask(const struct initiator_group *ig,
				    const char *initiator,
				    const struct sockaddr_storage *peer)
{
	for (uint32_t i = 0; i < ig->ninitiators; i++) {
		const char *entry = ig->initiators[i];
		bool deny = entry[0] == '!';
		const char *name = entry + deny;

		if (strcmp(name, "ANY") != 0 &&
		    strcasecmp(name, initiator) != 0)
			continue;
		if (deny)
			return GROUP_DENIES;
		/* The first name that matches decides for this group. */
		return group_has_peer(ig, peer) ? GROUP_ALLOWS
						: GROUP_SAYS_NOTHING;
	}
	return GROUP_SAYS_NOTHING;
}

enum target_access target_node_access(const struct target_node *n,
				      const struct portal_group *pg,
				      const char *initiator,
				      const struct sockaddr_storage *peer)
{
	for (uint32_t i = 0; i < n->nmaps; i++) {
		if (n->maps[i].pg != pg)
			continue;
		switch (group_ask(n->maps[i].ig, initiator, peer)) {
		case GROUP_ALLOWS:
			return TARGET_ALLOWED;
		case GROUP_DENIES:
			return TARGET_DENIED;
		case GROUP_SAYS_NOTHING:
			break;
		}
	}
	return TARGET_DENIED;
}

static bool mapped_before(const struct target_node *n, uint32_t at)
{
	for (uint32_t i = 0; i < at; i++) {
		if (n->maps[i].pg == n->maps[at].pg)
			return true;
	}
	return false;
}

uint32_t target_node_visible(const struct target_node *n, const char *initiator,
			     const struct sockaddr_storage *peer,
			     const struct portal_group **ret_groups,
			     uint32_t max)
{
	uint32_t count = 0;

	if (n->removing)
		return 0;
	for (uint32_t i = 0; i < n->nmaps && count < max; i++) {
		const struct portal_group *pg = n->maps[i].pg;

		if (pg->is_private || mapped_before(n, i))
			continue;
		if (target_node_access(n, pg, initiator, peer) ==
		    TARGET_ALLOWED)
			ret_groups[count++] = pg;
	}
	return count;
}
