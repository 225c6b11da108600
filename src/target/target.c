/* SPDX-License-Identifier: BSD-3-Clause */
#include "target/target.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/assert.h"
#include "target/target_priv.h"

int targets_create(struct scsi_server *scsi, struct targets **ret)
{
	struct targets *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->scsi = scsi;
	list_init(&t->portal_groups);
	list_init(&t->initiator_groups);
	list_init(&t->nodes);
	list_init(&t->auth_groups);
	*ret = t;
	return 0;
}

void targets_destroy(struct targets *t)
{
	/* Destroying a node takes time on every core: it comes first. */
	ASSERT(list_empty(&t->nodes));
	while (!list_empty(&t->portal_groups))
		portal_group_delete(t, portal_group_first(t));
	while (!list_empty(&t->initiator_groups))
		initiator_group_delete(t, initiator_group_first(t));
	auth_groups_free(t);
	free(t);
}

int auth_policy_check(const struct auth_policy *p)
{
	if (p->chap_group < 0)
		return -EINVAL;
	if (p->disable_chap && (p->require_chap || p->mutual_chap))
		return -EINVAL;
	if (p->mutual_chap && !p->require_chap)
		return -EINVAL;
	return 0;
}

static bool is_complete_name(const char *name)
{
	return strncasecmp(name, "iqn.", 4) == 0 ||
	       strncasecmp(name, "eui.", 4) == 0 ||
	       strncasecmp(name, "naa.", 4) == 0;
}

/* The full, checked, lower-case name into @full (ISCSI_NAME_MAX + 1 bytes). */
static int complete_name(const char *name, const char *node_base, char *full,
			 const char **ret_why)
{
	const char *why = "target name is not an iSCSI name";
	int len;

	if (is_complete_name(name))
		len = snprintf(full, ISCSI_NAME_MAX + 1, "%s", name);
	else
		len = snprintf(full, ISCSI_NAME_MAX + 1, "%s:%s", node_base,
			       name);
	if (len < 0 || len > ISCSI_NAME_MAX)
		return because(ret_why, "target name is above 223 bytes",
			       -EINVAL);
	if (name[0] == '\0')
		return because(ret_why, "target name is empty", -EINVAL);
	/* Shown as it was given, as scripts expect; compared without case. */
	if (iscsi_name_check(full, &why) < 0)
		return because(ret_why, why, -EINVAL);
	return 0;
}

/* It travels as the value of a text key: no control characters. */
static bool alias_ok(const char *alias)
{
	if (strlen(alias) > TARGET_ALIAS_MAX)
		return false;
	for (const char *c = alias; *c; c++) {
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			return false;
	}
	return true;
}

int target_node_create(struct targets *t, const char *name, const char *alias,
		       const char *node_base, struct target_node **ret,
		       const char **ret_why)
{
	char full[ISCSI_NAME_MAX + 1];
	struct target_node *n;
	int error;

	error = complete_name(name, node_base, full, ret_why);
	if (error < 0)
		return error;
	if (!alias)
		alias = "";
	if (!alias_ok(alias))
		return because(ret_why,
			       "target alias is above 255 bytes or has "
			       "control characters",
			       -EINVAL);
	if (target_node_find(t, full))
		return because(ret_why, "target node exists already", -EEXIST);
	n = calloc(1, sizeof(*n));
	if (!n)
		return because(ret_why, "out of memory", -ENOMEM);
	n->targets = t;
	list_init(&n->redirects);
	str_copy(n->name, sizeof(n->name), full);
	str_copy(n->alias, sizeof(n->alias), alias);
	error = scsi_device_create(t->scsi, n->name, &n->device);
	if (error < 0) {
		free(n);
		return because(ret_why, "no room for another SCSI device",
			       error);
	}
	list_push_back(&t->nodes, &n->link);
	*ret = n;
	return 0;
}

struct target_node *target_node_find(struct targets *t, const char *name)
{
	struct target_node *n;

	list_for_each(n, &t->nodes, link) {
		if (strcasecmp(n->name, name) == 0)
			return n;
	}
	return NULL;
}

struct target_node *target_node_first(struct targets *t)
{
	if (list_empty(&t->nodes))
		return NULL;
	return list_first(&t->nodes, struct target_node, link);
}

struct target_node *target_node_next(struct targets *t, struct target_node *n)
{
	if (n->link.next == &t->nodes)
		return NULL;
	return list_entry(n->link.next, struct target_node, link);
}

/* ---- PG-IG maps. */

static bool maps_pg(const struct target_node *n, const struct portal_group *pg)
{
	for (uint32_t i = 0; i < n->nmaps; i++) {
		if (n->maps[i].pg == pg)
			return true;
	}
	return false;
}

static uint32_t map_index(const struct target_node *n,
			  const struct portal_group *pg,
			  const struct initiator_group *ig)
{
	for (uint32_t i = 0; i < n->nmaps; i++) {
		if (n->maps[i].pg == pg && n->maps[i].ig == ig)
			return i;
	}
	return n->nmaps;
}

static struct target_redirect *find_redirect(const struct target_node *n,
					     const struct portal_group *pg)
{
	struct target_redirect *r;

	list_for_each(r, &n->redirects, link) {
		if (r->pg == pg)
			return r;
	}
	return NULL;
}

static void redirect_free(struct target_redirect *r)
{
	if (!r)
		return;
	list_remove(&r->link);
	free(r);
}

static void drop_map(struct target_node *n, uint32_t at)
{
	struct portal_group *pg = n->maps[at].pg;

	n->nmaps--;
	memmove(n->maps + at, n->maps + at + 1,
		(n->nmaps - at) * sizeof(n->maps[0]));
	/* The last map of a group takes its target port along. */
	if (!maps_pg(n, pg)) {
		redirect_free(find_redirect(n, pg));
		scsi_device_remove_port(n->device, pg->tag);
	}
	portal_group_unref(pg);
}

int target_node_add_map(struct target_node *n, int32_t pg_tag, int32_t ig_tag,
			const char **ret_why)
{
	struct portal_group *pg = portal_group_find(n->targets, pg_tag);
	struct initiator_group *ig = initiator_group_find(n->targets, ig_tag);
	int error;

	if (!pg)
		return because(ret_why, "portal group does not exist", -ENOENT);
	if (!ig)
		return because(ret_why, "initiator group does not exist",
			       -ENOENT);
	if (map_index(n, pg, ig) < n->nmaps)
		return because(ret_why,
			       "portal group and initiator group are mapped "
			       "already",
			       -EEXIST);
	if (n->nmaps == TARGET_MAPS_MAX)
		return because(ret_why, "too many maps of one target node",
			       -ENOSPC);
	if (!maps_pg(n, pg)) {
		error = scsi_device_add_port(n->device, pg->tag);
		if (error < 0)
			return because(ret_why,
				       "no room for another target port",
				       error);
		(void)scsi_device_set_access_state(
			n->device, pg->tag, (enum scsi_access_state)pg->access);
	}
	portal_group_ref(pg);
	n->maps[n->nmaps].pg = pg;
	n->maps[n->nmaps].ig = ig;
	n->nmaps++;
	return 0;
}

int target_node_remove_map(struct target_node *n, int32_t pg_tag,
			   int32_t ig_tag, const char **ret_why)
{
	struct portal_group *pg = portal_group_find(n->targets, pg_tag);
	struct initiator_group *ig = initiator_group_find(n->targets, ig_tag);
	uint32_t at = n->nmaps;

	if (pg && ig)
		at = map_index(n, pg, ig);
	if (at == n->nmaps)
		return because(ret_why,
			       "portal group and initiator group are not "
			       "mapped",
			       -ENOENT);
	drop_map(n, at);
	return 0;
}

void target_node_forget_pg(struct target_node *n, const struct portal_group *pg)
{
	for (uint32_t i = n->nmaps; i-- > 0;) {
		if (n->maps[i].pg == pg)
			drop_map(n, i);
	}
}

void target_node_forget_ig(struct target_node *n,
			   const struct initiator_group *ig)
{
	for (uint32_t i = n->nmaps; i-- > 0;) {
		if (n->maps[i].ig == ig)
			drop_map(n, i);
	}
}

/* ---- Login redirection. */

static bool pg_has_addr(const struct portal_group *pg,
			const struct sockaddr_storage *addr)
{
	const struct portal *p;

	list_for_each(p, &pg->portals, link) {
		if (addr_equal(&p->addr, addr))
			return true;
	}
	return false;
}

static int set_redirect(struct target_node *n, struct portal_group *pg,
			const char *host, const char *port,
			const char **ret_why)
{
	struct sockaddr_storage addr;
	struct target_redirect *r;
	socklen_t addr_len;

	if (addr_parse(host, port, &addr, &addr_len) < 0 ||
	    addr_is_wildcard(&addr))
		return because(ret_why,
			       "redirect is not a numeric address and port",
			       -EINVAL);
	if (pg_has_addr(pg, &addr))
		return because(ret_why,
			       "redirect leads back to the same portal group",
			       -EINVAL);
	r = calloc(1, sizeof(*r));
	if (!r)
		return because(ret_why, "out of memory", -ENOMEM);
	list_init(&r->link);
	r->pg = pg;
	if (!str_copy(r->host, sizeof(r->host), host) ||
	    !str_copy(r->port, sizeof(r->port), port)) {
		redirect_free(r);
		return because(ret_why, "redirect address is too long",
			       -EINVAL);
	}
	redirect_free(find_redirect(n, pg));
	list_push_back(&n->redirects, &r->link);
	return 0;
}

int target_node_set_redirect(struct target_node *n, int32_t pg_tag,
			     const char *host, const char *port,
			     const char **ret_why)
{
	struct portal_group *pg = portal_group_find(n->targets, pg_tag);

	if (!pg || !maps_pg(n, pg))
		return because(ret_why,
			       "portal group is not mapped to the target",
			       -ENOENT);
	if (pg->is_private)
		return because(ret_why, "portal group is private", -EINVAL);
	if (!host && !port) {
		redirect_free(find_redirect(n, pg));
		return 0;
	}
	if (!host || !port)
		return because(ret_why, "redirect needs both a host and a port",
			       -EINVAL);
	return set_redirect(n, pg, host, port, ret_why);
}

const struct target_redirect *target_node_redirect(
	const struct target_node *n, const struct portal_group *pg)
{
	return find_redirect(n, pg);
}

/* ---- The end of a node. */

static void device_destroyed(struct scsi_change *change)
{
	struct target_node *n =
		container_of(change, struct target_node, device_change);
	struct scsi_change *user = n->destroy_change;
	int result = change->result;

	free(n);
	if (!user)
		return;
	user->result = result;
	if (user->done)
		user->done(user);
}

void target_node_destroy(struct target_node *n, struct scsi_change *change)
{
	ASSERT(n->nsessions == 0);
	n->removing = true;
	while (n->nmaps > 0)
		drop_map(n, n->nmaps - 1);
	ASSERT(list_empty(&n->redirects));
	list_remove(&n->link);
	n->destroy_change = change;
	/* The device shows the node's name until the last core lets go. */
	n->device_change.done = device_destroyed;
	scsi_device_destroy(n->device, &n->device_change);
}
