/* SPDX-License-Identifier: BSD-3-Clause */
#include "target/target.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "target/target_priv.h"

static void portal_free(struct portal *p)
{
	list_remove(&p->link);
	free(p->host);
	free(p->port);
	free(p);
}

static void portal_group_free(struct portal_group *pg)
{
	struct portal *p, *tmp;

	ASSERT(pg->refs == 0);
	list_for_each_safe(p, tmp, &pg->portals, link) {
		/* Whoever opened the listeners has closed them. */
		ASSERT(p->listener == NULL);
		portal_free(p);
	}
	free(pg);
}

int portal_group_create(struct targets *t, int32_t tag, bool is_private,
			bool wait, struct portal_group **ret,
			const char **ret_why)
{
	struct portal_group *pg;

	/* RFC 7143, 13.9: a TPGT has 16 bits. */
	if (tag < 1 || tag > UINT16_MAX)
		return because(ret_why, "portal group tag is not 1..65535",
			       -EINVAL);
	if (portal_group_find(t, tag))
		return because(ret_why, "portal group exists already", -EEXIST);
	pg = calloc(1, sizeof(*pg));
	if (!pg)
		return because(ret_why, "out of memory", -ENOMEM);
	pg->tag = (uint16_t)tag;
	pg->is_private = is_private;
	pg->wait = wait;
	list_init(&pg->portals);
	list_push_back(&t->portal_groups, &pg->link);
	*ret = pg;
	return 0;
}

static bool portal_in_use(const struct targets *t,
			  const struct sockaddr_storage *addr)
{
	const struct portal_group *pg;
	const struct portal *p;

	list_for_each(pg, &t->portal_groups, link) {
		list_for_each(p, &pg->portals, link) {
			if (addr_equal(&p->addr, addr))
				return true;
		}
	}
	return false;
}

int portal_group_add_portal(struct targets *t, struct portal_group *pg,
			    const char *host, const char *port,
			    const char **ret_why)
{
	struct sockaddr_storage addr;
	socklen_t addr_len;
	struct portal *p;

	if (pg->nportals == PORTALS_MAX)
		return because(ret_why, "too many portals in one group",
			       -ENOSPC);
	if (addr_parse(host, port, &addr, &addr_len) < 0)
		return because(ret_why,
			       "portal is not a numeric address and a port "
			       "of 1..65535",
			       -EINVAL);
	if (portal_in_use(t, &addr))
		return because(ret_why, "portal is in use by a portal group",
			       -EEXIST);
	p = calloc(1, sizeof(*p));
	if (!p)
		return because(ret_why, "out of memory", -ENOMEM);
	list_init(&p->link);
	p->group = pg;
	p->addr = addr;
	p->addr_len = addr_len;
	p->host = strdup(host);
	p->port = strdup(port);
	if (!p->host || !p->port) {
		portal_free(p);
		return because(ret_why, "out of memory", -ENOMEM);
	}
	list_push_back(&pg->portals, &p->link);
	pg->nportals++;
	return 0;
}

struct portal_group *portal_group_find(struct targets *t, int32_t tag)
{
	struct portal_group *pg;

	list_for_each(pg, &t->portal_groups, link) {
		if (pg->tag == tag)
			return pg;
	}
	return NULL;
}

struct portal_group *portal_group_first(struct targets *t)
{
	if (list_empty(&t->portal_groups))
		return NULL;
	return list_first(&t->portal_groups, struct portal_group, link);
}

struct portal_group *portal_group_next(struct targets *t,
				       struct portal_group *pg)
{
	if (pg->link.next == &t->portal_groups)
		return NULL;
	return list_entry(pg->link.next, struct portal_group, link);
}

void portal_group_delete(struct targets *t, struct portal_group *pg)
{
	struct target_node *n;

	ASSERT(!pg->removed);
	list_for_each(n, &t->nodes, link)
		target_node_forget_pg(n, pg);
	list_remove(&pg->link);
	pg->removed = true;
	/* Sessions that came through it may hold it a while longer. */
	if (pg->refs == 0)
		portal_group_free(pg);
}

void portal_group_set_access(struct targets *t, struct portal_group *pg,
			     enum scsi_access_state state)
{
	struct target_node *n;

	pg->access = (uint8_t)state;
	list_for_each(n, &t->nodes, link) {
		/* Most have no port of that group: then it is not theirs. */
		(void)scsi_device_set_access_state(n->device, pg->tag, state);
	}
}

void portal_group_ref(struct portal_group *pg)
{
	pg->refs++;
}

void portal_group_unref(struct portal_group *pg)
{
	ASSERT(pg->refs > 0);
	pg->refs--;
	if (pg->refs == 0 && pg->removed)
		portal_group_free(pg);
}
