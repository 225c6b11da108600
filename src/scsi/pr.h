/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Persistent reservations (SPC-4, 5.13) as a table and what changes it. Pure:
 * a change makes a new table out of the old one; nothing here knows of cores.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "scsi/nexus.h"
#include "scsi/ua.h"

#define PR_REGISTRANTS_MAX 128

enum pr_type { /* SPC-4, 6.15.3.4 */
	       PR_NONE = 0,
	       PR_WRITE_EXCLUSIVE = 1,
	       PR_EXCLUSIVE = 3,
	       PR_WRITE_EXCLUSIVE_RO = 5,
	       PR_EXCLUSIVE_RO = 6,
	       PR_WRITE_EXCLUSIVE_AR = 7,
	       PR_EXCLUSIVE_AR = 8,
};

enum pr_action { /* SPC-4, 6.16.2 */
		 PR_REGISTER = 0,
		 PR_RESERVE = 1,
		 PR_RELEASE = 2,
		 PR_CLEAR = 3,
		 PR_PREEMPT = 4,
		 PR_PREEMPT_ABORT = 5,
		 PR_REGISTER_IGNORE = 6,
		 PR_MOVE = 7,
};

/* An I_T nexus by its names, which outlive it. */
struct pr_port {
	char initiator[ISCSI_NAME_MAX + 1];
	uint8_t isid[6];
	uint16_t tpgt;
	char target[ISCSI_NAME_MAX + 1];
};

struct pr_registrant {
	struct pr_port port;
	uint64_t key;
	bool all_ports; /* ALL_TG_PT: any port of the device */
	/* What the change that made this table tells it. */
	uint8_t ua; /* enum ua_bit, UA_COUNT = nothing */
	bool abort; /* PREEMPT AND ABORT: its tasks end */
};

struct pr_table {
	uint32_t generation;
	uint8_t type;	 /* enum pr_type */
	uint32_t holder; /* index; of no meaning for all registrants */
	uint32_t n;	 /* registered */
	uint32_t ngone;	 /* behind them: no longer */
	struct pr_registrant r[];
};

struct pr_request {
	enum pr_action action;
	uint8_t type;
	uint64_t key, action_key;
	bool all_ports;
	bool unregister; /* REGISTER AND MOVE */
	struct pr_port self;
	/* Others to be registered (SPEC_I_PT), or the one to move to. */
	const struct pr_port *others;
	uint32_t nothers;
};

enum pr_result {
	PR_OK,
	PR_SAME, /* GOOD, and nothing has changed */
	PR_CONFLICT,
	PR_BAD_RELEASE, /* INVALID RELEASE OF PERSISTENT RES. */
	PR_BAD_KEY,	/* INVALID FIELD: SERVICE ACTION KEY */
	PR_BAD_OTHERS,	/* INVALID FIELD: TransportIDs */
	PR_FULL,	/* INSUFFICIENT REGISTRATION RESOURCES */
	PR_NO_MEMORY,
};

static inline bool pr_all_registrants(uint8_t type)
{
	return type == PR_WRITE_EXCLUSIVE_AR || type == PR_EXCLUSIVE_AR;
}
static inline bool pr_registrants_only(uint8_t type)
{
	return type >= PR_WRITE_EXCLUSIVE_RO;
}
static inline bool pr_write_exclusive(uint8_t type)
{
	return type == PR_WRITE_EXCLUSIVE || type == PR_WRITE_EXCLUSIVE_RO ||
	       type == PR_WRITE_EXCLUSIVE_AR;
}
bool pr_type_valid(uint8_t type);

/* Is it this nexus? */
bool pr_is(const struct pr_registrant *r, const struct pr_port *port);
/* Index among the registered, or among those gone (from @old->n on); -1. */
int pr_find(const struct pr_table *t, const struct pr_port *port, bool gone);
bool pr_holds(const struct pr_table *t, int index);

/* @old may be NULL. PR_OK: *ret is the new table (its owner frees it). */
enum pr_result pr_apply(const struct pr_table *old,
			const struct pr_request *req, struct pr_table **ret);
