/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of this layer share about a running target. */
#pragma once

#include "control/control.h"
#include "control/rpc.h"
#include "target/target.h"

#define AUTH_FILE_GROUPS_MAX 1024 /* groups of one AuthFile */
#define LISTEN_RETRIES_MAX   5u	  /* at the start; each waits twice as long */
#define LISTEN_RETRY_MS	     100u

struct control {
	struct control_options opt;
	struct targets *targets;
	struct iscsi_options *options;
	enum rpc_states state;
	bool listening;	   /* new portal groups open at once */
	bool initialising; /* framework_start_init is under way */

	/* Applying the configuration: one call after the other. */
	const struct config *cfg;
	const struct config_call *at;
	enum rpc_states pass;
	bool in_call, call_ended; /* ends of calls that come at once */
	struct rpc_call call;
	struct control_start *start;
	bool start_reported;
	struct rpc_call *start_init; /* the RPC that waits for it */
	struct list waiting;	     /* framework_wait_init */
	struct timer listen_timer;   /* until a port is free */
	uint32_t listen_tries;

	/* Taking it down. */
	struct control_stop *stop;
	struct iscsi_request shutdown;
	struct scsi_change change;
	struct bdev_removal removal;
	struct timer stop_timer;
	bool stopping_bdevs;
	uint32_t ncalls; /* under way */

	/* Auth groups that came from the AuthFile: not saved. */
	int32_t file_groups[AUTH_FILE_GROUPS_MAX];
	uint32_t nfile_groups;
};

static inline enum rpc_states control_state(const struct control *c)
{
	return c->state;
}

/* Is the method one of --rpcs-allowed? */
bool control_allows(const struct control *c, const struct rpc_method *m);

/* framework_start_init: ends @call when all is applied. */
void control_init(struct control *c, struct rpc_call *call);

/* Opens the group's portals if the target listens by now. 0 or -errno. */
int control_listen(struct control *c, struct portal_group *pg);

/*
 * Loads the AuthFile into the auth groups, in place of what the last one
 * brought: all of it or nothing. 0, or -errno with one line in @why.
 */
int auth_file_load(struct control *c, const char *path, char *why, size_t size);
bool auth_file_has(const struct control *c, int32_t tag);
