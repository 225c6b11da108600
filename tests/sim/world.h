/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A whole target in a simulated world: what main() does in the daemon, from
 * the first bdev to the last, with all of it in one thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bdev/bdev.h"
#include "iscsi/server.h"
#include "reactor/reactor_sim.h"
#include "scsi/device.h"
#include "target/target.h"

#define WORLD_LUNS_MAX 4
#define WORLD_TARGET   "iqn.2016-06.io.spdk:disk"

struct world_options {
	struct sim_options sim;
	struct iscsi_options iscsi;
	bool header_digest, data_digest; /* required by the target */
	uint32_t nluns;
	struct {
		uint32_t block_size;
		uint64_t nblocks;
		bool file; /* on a memfd, else malloc */
	} luns[WORLD_LUNS_MAX];
};

struct world {
	struct world_options opt;
	struct reactors *set;
	struct bdev_registry *bdevs;
	struct scsi_server *scsi;
	struct targets *targets;
	struct iscsi_server *server;
	struct portal_group *pg;
	struct initiator_group *ig;
	struct target_node *node;
	int fds[WORLD_LUNS_MAX];
	char error[256]; /* "" = none */
	/* Steps that run on the control reactor. */
	struct mail mail;
	void (*step)(struct world *w);
	bool stepped;
	uint32_t pending;
	struct scsi_change change;
	struct iscsi_request request;
	struct bdev_removal removal;
};

/* False: w->error says why. world_stop() is due in any case. */
bool world_start(struct world *w, const struct world_options *opt);
/* An orderly end, and then checks that nothing is left: w->error. */
void world_stop(struct world *w);

/* Connects to the portal. */
struct sim_peer *world_connect(struct world *w);
/* Runs @step on the control reactor and turns the world until it has run. */
bool world_do(struct world *w, void (*step)(struct world *w));
void world_fail(struct world *w, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
