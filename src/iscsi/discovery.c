/* SPDX-License-Identifier: BSD-3-Clause */
#include "iscsi/discovery.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/macros.h"
#include "iscsi/text.h"
#include "reactor/net.h"

/* "[v6]:65535,65535" */
#define TARGET_ADDRESS_MAX (ADDR_TEXT_MAX + 16)

/* An address that came over IPv6 but is IPv4 is shown as what it is. */
static void unmap(const struct sockaddr_storage *a,
		  struct sockaddr_storage *ret)
{
	const struct sockaddr_in6 *v6 = (const void *)a;
	struct sockaddr_in *v4 = (void *)ret;

	*ret = *a;
	if (a->ss_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
		return;
	memset(ret, 0, sizeof(*ret));
	v4->sin_family = AF_INET;
	v4->sin_port = v6->sin6_port;
	memcpy(&v4->sin_addr, &v6->sin6_addr.s6_addr[12], sizeof(v4->sin_addr));
}

/* One TargetAddress; false: none, a wildcard cannot be told from @local. */
static bool add_portal(const struct portal *portal, const char *target_name,
		       const struct sockaddr_storage *local, struct buf *out)
{
	char host[ADDR_TEXT_MAX], text[TARGET_ADDRESS_MAX];
	struct sockaddr_storage shown = portal->addr;

	if (addr_is_wildcard(&portal->addr)) {
		unmap(local, &shown);
		if (shown.ss_family != portal->addr.ss_family)
			return false;
	}
	if (target_name != NULL)
		text_add(out, "TargetName", target_name);
	addr_host(&shown, true, host, sizeof(host));
	snprintf(text, sizeof(text), "%s:%u,%u", host,
		 (unsigned int)addr_port(&portal->addr),
		 (unsigned int)portal->group->tag);
	text_add(out, "TargetAddress", text);
	return true;
}

static void add_target(const struct target_node *node, const char *initiator,
		       const struct sockaddr_storage *peer,
		       const struct sockaddr_storage *local, struct buf *out)
{
	const struct portal_group *groups[TARGET_MAPS_MAX];
	const char *name = node->name; /* until it is said */
	const struct portal *portal;
	uint32_t n;

	n = target_node_visible(node, initiator, peer, groups,
				ARRAY_LEN(groups));
	for (uint32_t i = 0; i < n; i++) {
		/* Not opened yet: there is nothing to connect to. */
		if (groups[i]->wait)
			continue;
		/* A name without addresses would stand for this very portal
		 * (Appendix C), so it comes with the first of them. */
		list_for_each(portal, &groups[i]->portals, link) {
			if (add_portal(portal, name, local, out))
				name = NULL;
		}
	}
}

int send_targets(struct targets *t, const char *which,
		 const struct target_node *own, const char *initiator,
		 const struct sockaddr_storage *peer,
		 const struct sockaddr_storage *local, struct buf *out)
{
	bool all = strcasecmp(which, "All") == 0;
	const struct target_node *node;

	/* Appendix C: All in discovery sessions alone, nothing in the others
	 * alone, and these speak of their own target only. */
	if (own == NULL ? which[0] == '\0' : all)
		return -EINVAL;
	if (own != NULL) {
		if (which[0] == '\0' || strcasecmp(which, own->name) == 0)
			add_target(own, initiator, peer, local, out);
		return 0;
	}
	if (!all) {
		node = target_node_find(t, which);
		if (node != NULL)
			add_target(node, initiator, peer, local, out);
		return 0;
	}
	for (struct target_node *n = target_node_first(t); n != NULL;
	     n = target_node_next(t, n))
		add_target(n, initiator, peer, local, out);
	return 0;
}
