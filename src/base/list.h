/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An intrusive, doubly linked, circular list. A node that is on no list points
 * at itself, so that list_remove() is idempotent and list_linked() can be asked.
 */
#pragma once

#include <stdbool.h>

#include "base/macros.h"

struct list {
	struct list *next, *prev;
};

#define LIST_INIT(name)          \
	{                        \
		&(name), &(name) \
	}

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

/* Is this node on a list? (It must have been initialised.) */
static inline bool list_linked(const struct list *node)
{
	return node->next != node;
}

static inline void list_insert_between(struct list *n, struct list *prev,
				       struct list *next)
{
	n->prev = prev;
	n->next = next;
	prev->next = n;
	next->prev = n;
}

static inline void list_push_back(struct list *l, struct list *n)
{
	list_insert_between(n, l->prev, l);
}

static inline void list_push_front(struct list *l, struct list *n)
{
	list_insert_between(n, l, l->next);
}

static inline void list_remove(struct list *n)
{
	n->prev->next = n->next;
	n->next->prev = n->prev;
	list_init(n);
}

/* Takes the first node off; NULL when the list is empty. */
static inline struct list *list_pop_front(struct list *l)
{
	struct list *n = l->next;

	if (n == l)
		return NULL;
	list_remove(n);
	return n;
}

/* Moves everything on @from to the end of @to; @from is empty afterwards. */
static inline void list_splice_back(struct list *to, struct list *from)
{
	if (list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}

#define list_entry(node, type, member) container_of(node, type, member)

#define list_first(l, type, member)    list_entry((l)->next, type, member)

#define list_for_each(pos, l, member)                               \
	for (pos = list_entry((l)->next, __typeof__(*pos), member); \
	     &pos->member != (l);                                   \
	     pos = list_entry(pos->member.next, __typeof__(*pos), member))

/* The current node may be removed and freed; its neighbour may not. */
#define list_for_each_safe(pos, tmp, l, member)                           \
	for (pos = list_entry((l)->next, __typeof__(*pos), member),       \
	    tmp = list_entry(pos->member.next, __typeof__(*pos), member); \
	     &pos->member != (l); pos = tmp,                              \
	    tmp = list_entry(tmp->member.next, __typeof__(*tmp), member))
