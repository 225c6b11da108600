/* SPDX-License-Identifier: BSD-3-Clause */
/* The process: what main() builds, and how it ends. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "app/options.h"
#include "control/config.h"
#include "control/control.h"
#include "control/rpc_server.h"

/* Together below 2 s: sessions may take this much of it. */
#define SHUTDOWN_SESSIONS_MS 1000
/* When even the rest does not end, something is broken: say so and go. */
#define SHUTDOWN_LIMIT_MS 10000

struct app {
	struct app_options opt;
	struct config *config; /* NULL: none */
	struct reactors *reactors;
	struct bdev_registry *bdevs;
	struct scsi_server *scsi;
	struct targets *targets;
	struct iscsi_server *iscsi;
	struct control *control;
	struct rpc_server *rpc; /* NULL: none */

	struct mail boot;
	struct control_start start;
	struct control_stop stop;
	struct timer limit;
	struct mail signal_mail; /* the first SIGTERM or SIGINT */
	pthread_t signal_thread;
	bool signal_thread_runs;
	bool stopping;
	int exit_status;
	int ready_fd; /* of the waiting parent; -1: none */
};

/* ---- shutdown.c */

/* In the main thread, before any other is born: SIGTERM and SIGINT are for the
 * thread that waits for them; SIGPIPE is for nobody. */
void shutdown_block_signals(void);
/* 0 or -errno. */
int shutdown_watch(struct app *app);
void shutdown_unwatch(struct app *app);
/* Begins the orderly end. On the control reactor. Idempotent. */
void shutdown_begin(struct app *app);

/* ---- daemon.c */

/* Forks: the parent waits for the child's word, and ends with its status. In
 * the child 0, with *ret_ready_fd; or -errno. */
int daemon_fork(int *ret_ready_fd);
/* All is set up: the parent may go; lines go to syslog from now on. */
void daemon_ready(int ready_fd);
