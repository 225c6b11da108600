/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What runs a configured target: applies the configuration, keeps the state of
 * the process (starting, running), and is what RPC methods act on. Control
 * reactor, once the loops run.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bdev/bdev.h"
#include "control/config.h"
#include "iscsi/server.h"
#include "reactor/reactor.h"
#include "scsi/device.h"

struct control;

struct control_options {
	struct reactors *reactors;
	struct bdev_registry *bdevs;
	struct scsi_server *scsi;
	struct iscsi_server *iscsi;
	const char *version;	  /* of the program */
	const char *rpcs_allowed; /* comma-separated names; NULL: all */
	bool wait_for_rpc;	  /* stop before the configuration's second
				     * pass until framework_start_init */
	bool ignore_errors;	  /* of calls in the configuration */
	bool no_listen;		  /* checks only: no portal is opened */
};

/* 0, -ENOMEM. Strings are borrowed for good. */
int control_create(const struct control_options *opt, struct control **ret);
void control_destroy(struct control *c);

struct control_start {
	/* 0: everything is applied and listens; or with wait_for_rpc, what can
	 * be. -errno: something failed and was logged with its place; what was
	 * begun has to be taken back by control_stop(). */
	void (*done)(struct control_start *start, int error);
	/* Later, with wait_for_rpc: framework_start_init failed. */
	void (*failed)(struct control_start *start, int error);
};

/* Applies @cfg (NULL: empty; it stays the caller's until control_destroy()). */
void control_start(struct control *c, const struct config *cfg,
		   struct control_start *start);

/* The configuration as JSON, without secrets: to be freed. NULL: no memory. */
char *control_save(struct control *c);

struct control_stop {
	void (*done)(struct control_stop *stop);
};

/*
 * Takes everything down: sessions log out or are dropped after @timeout_ms,
 * then target nodes and block devices are destroyed.
 */
void control_stop(struct control *c, uint32_t timeout_ms,
		  struct control_stop *stop);
