/* SPDX-License-Identifier: BSD-3-Clause */
#include "scsi/pr.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

bool pr_type_valid(uint8_t type)
{
	return type == PR_WRITE_EXCLUSIVE || type == PR_EXCLUSIVE ||
	       (type >= PR_WRITE_EXCLUSIVE_RO && type <= PR_EXCLUSIVE_AR);
}

bool pr_is(const struct pr_registrant *r, const struct pr_port *port)
{
	return (r->all_ports || r->port.tpgt == port->tpgt) &&
	       memcmp(r->port.isid, port->isid, sizeof(port->isid)) == 0 &&
	       strcmp(r->port.initiator, port->initiator) == 0 &&
	       strcmp(r->port.target, port->target) == 0;
}

int pr_find(const struct pr_table *t, const struct pr_port *port, bool gone)
{
	uint32_t from, to;

	if (t == NULL)
		return -1;
	from = gone ? t->n : 0;
	to = gone ? t->n + t->ngone : t->n;
	for (uint32_t i = from; i < to; i++) {
		if (pr_is(&t->r[i], port))
			return (int)i;
	}
	return -1;
}

bool pr_holds(const struct pr_table *t, int index)
{
	if (t == NULL || t->type == PR_NONE || index < 0)
		return false;
	return pr_all_registrants(t->type) || t->holder == (uint32_t)index;
}

/* ---- Building a new table. */

static struct pr_table *copy(const struct pr_table *old, uint32_t more)
{
	uint32_t n = old != NULL ? old->n : 0;
	struct pr_table *t =
		calloc(1, sizeof(*t) + (n + more) * sizeof(t->r[0]));

	if (t == NULL || old == NULL)
		return t;
	t->generation = old->generation;
	t->type = old->type;
	t->holder = old->holder;
	t->n = n;
	memcpy(t->r, old->r, n * sizeof(t->r[0]));
	for (uint32_t i = 0; i < n; i++) {
		t->r[i].ua = UA_COUNT;
		t->r[i].abort = false;
	}
	return t;
}

static void add(struct pr_table *t, const struct pr_port *port, uint64_t key,
		bool all_ports)
{
	struct pr_registrant *r = &t->r[t->n];

	/* Before anybody is taken out: those gone stand behind. */
	ASSERT(t->ngone == 0);
	*r = (struct pr_registrant){.port = *port,
				    .key = key,
				    .all_ports = all_ports,
				    .ua = UA_COUNT};
	t->n++;
}

/* Takes one out; it stays behind the others, to be told. Swaps, so that the
 * holder's index stays right. */
static void take_out(struct pr_table *t, uint32_t i, enum ua_bit ua, bool abort)
{
	struct pr_registrant gone = t->r[i];
	uint32_t last = t->n - 1;

	ASSERT(i < t->n);
	gone.ua = (uint8_t)ua;
	gone.abort = abort;
	t->r[i] = t->r[last];
	t->r[last] = gone;
	if (t->holder == last)
		t->holder = i;
	t->n--;
	t->ngone++;
}

static void tell_others(struct pr_table *t, uint32_t self, enum ua_bit ua)
{
	for (uint32_t i = 0; i < t->n; i++) {
		if (i != self)
			t->r[i].ua = (uint8_t)ua;
	}
}

/* 5.13.11.2: those of the "registrants" types hear of a release. */
static void release(struct pr_table *t, uint32_t self)
{
	if (pr_registrants_only(t->type))
		tell_others(t, self, UA_RES_RELEASED);
	t->type = PR_NONE;
}

/* ---- The service actions; @self is the index of the asking nexus or -1. */

static enum pr_result unregister(struct pr_table *t, uint32_t self)
{
	bool holds = pr_holds(t, (int)self);

	/* 5.13.11.3: with all registrants, the last one takes it along. */
	if (holds && (!pr_all_registrants(t->type) || t->n == 1))
		release(t, self);
	take_out(t, self, UA_COUNT, false);
	return PR_OK;
}

static enum pr_result do_register(struct pr_table *t,
				  const struct pr_request *req, int self)
{
	if (self < 0) {
		if (req->action == PR_REGISTER && req->key != 0)
			return PR_CONFLICT;
		if (req->action_key == 0)
			return PR_SAME;
		if (t->n + 1 + req->nothers > PR_REGISTRANTS_MAX)
			return PR_FULL;
		/* 5.13.7: all of them, or none. */
		for (uint32_t i = 0; i < req->nothers; i++) {
			if (pr_find(t, &req->others[i], false) >= 0)
				return PR_BAD_OTHERS;
			add(t, &req->others[i], req->action_key,
			    req->all_ports);
		}
		if (pr_find(t, &req->self, false) < 0)
			add(t, &req->self, req->action_key, req->all_ports);
	} else {
		if (req->action == PR_REGISTER && req->key != t->r[self].key)
			return PR_CONFLICT;
		if (req->nothers > 0)
			return PR_BAD_OTHERS;
		if (req->action_key == 0)
			unregister(t, (uint32_t)self);
		else
			t->r[self].key = req->action_key;
	}
	t->generation++;
	return PR_OK;
}

static enum pr_result do_reserve(struct pr_table *t,
				 const struct pr_request *req, int self)
{
	if (t->type == PR_NONE) {
		t->type = req->type;
		t->holder = (uint32_t)self;
		return PR_OK;
	}
	if (pr_holds(t, self) && t->type == req->type)
		return PR_SAME;
	return PR_CONFLICT;
}

static enum pr_result do_release(struct pr_table *t,
				 const struct pr_request *req, int self)
{
	if (!pr_holds(t, self))
		return PR_SAME;
	if (t->type != req->type)
		return PR_BAD_RELEASE;
	release(t, (uint32_t)self);
	return PR_OK;
}

static enum pr_result do_clear(struct pr_table *t, const struct pr_request *req,
			       int self)
{
	t->type = PR_NONE;
	while (t->n > 0)
		take_out(t, t->n - 1,
			 pr_is(&t->r[t->n - 1], &req->self) ? UA_COUNT
							    : UA_RES_PREEMPTED,
			 false);
	t->generation++;
	return PR_OK;
}

/* Takes out all but self that have the key (@any: all keys). How many. */
static uint32_t preempt_key(struct pr_table *t, const struct pr_request *req,
			    bool any)
{
	bool abort = req->action == PR_PREEMPT_ABORT;
	uint32_t count = 0;

	for (uint32_t i = t->n; i-- > 0;) {
		if (pr_is(&t->r[i], &req->self) ||
		    (!any && t->r[i].key != req->action_key))
			continue;
		take_out(t, i, UA_REG_PREEMPTED, abort);
		count++;
	}
	return count;
}

/* 5.13.11.5: the reservation goes to the one that preempts. */
static void take_over(struct pr_table *t, const struct pr_request *req)
{
	uint8_t old = t->type;
	int self = pr_find(t, &req->self, false);

	ASSERT(self >= 0);
	if (old != req->type && pr_registrants_only(old))
		tell_others(t, (uint32_t)self, UA_RES_RELEASED);
	t->type = req->type;
	t->holder = (uint32_t)self;
}

static enum pr_result do_preempt(struct pr_table *t,
				 const struct pr_request *req, int self)
{
	bool holders_key = t->type != PR_NONE && !pr_all_registrants(t->type) &&
			   t->r[t->holder].key == req->action_key;
	bool whole = pr_all_registrants(t->type) && req->action_key == 0;
	bool own_key = t->r[self].key == req->action_key;

	if (holders_key || whole) {
		preempt_key(t, req, whole);
		take_over(t, req);
	} else if (req->action_key == 0) {
		return PR_BAD_KEY;
	} else if (preempt_key(t, req, false) == 0 && !own_key) {
		return PR_CONFLICT;
	}
	t->generation++;
	return PR_OK;
}

static enum pr_result do_move(struct pr_table *t, const struct pr_request *req,
			      int self)
{
	const struct pr_port *to = &req->others[0];
	int there;

	/* 5.13.8: only its holder can move it, and not what all hold. */
	if (!pr_holds(t, self) || pr_all_registrants(t->type))
		return PR_CONFLICT;
	if (req->action_key == 0)
		return PR_BAD_KEY;
	there = pr_find(t, to, false);
	if (there == self)
		return PR_BAD_OTHERS;
	if (there < 0) {
		if (t->n + 1 > PR_REGISTRANTS_MAX)
			return PR_FULL;
		add(t, to, req->action_key, false);
		there = (int)t->n - 1;
	} else {
		t->r[there].key = req->action_key;
	}
	t->holder = (uint32_t)there;
	if (req->unregister)
		take_out(t, (uint32_t)self, UA_COUNT, false);
	t->generation++;
	return PR_OK;
}

static enum pr_result dispatch(struct pr_table *t, const struct pr_request *req,
			       int self)
{
	if (req->action == PR_REGISTER || req->action == PR_REGISTER_IGNORE)
		return do_register(t, req, self);
	/* All others: from a registered nexus, with its key. */
	if (self < 0 || t->r[self].key != req->key)
		return PR_CONFLICT;
	switch (req->action) {
	case PR_RESERVE:
		return do_reserve(t, req, self);
	case PR_RELEASE:
		return do_release(t, req, self);
	case PR_CLEAR:
		return do_clear(t, req, self);
	case PR_PREEMPT:
	case PR_PREEMPT_ABORT:
		return do_preempt(t, req, self);
	case PR_MOVE:
		return do_move(t, req, self);
	case PR_REGISTER:
	case PR_REGISTER_IGNORE:
		break;
	}
	ASSERT(!"an action");
	return PR_CONFLICT;
}

enum pr_result pr_apply(const struct pr_table *old,
			const struct pr_request *req, struct pr_table **ret)
{
	struct pr_table *t = copy(old, 1 + req->nothers);
	enum pr_result result;

	if (t == NULL)
		return PR_NO_MEMORY;
	result = dispatch(t, req, pr_find(t, &req->self, false));
	if (result == PR_OK)
		*ret = t;
	else
		free(t);
	return result;
}
