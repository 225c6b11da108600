/* SPDX-License-Identifier: BSD-3-Clause */
/* A simulated world with bdevs, SCSI and targets, for the tests of targets. */
#pragma once

#include "../unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bdev/bdev.h"
#include "reactor/reactor_sim.h"
#include "scsi/device.h"
#include "target/target.h"

#define WORLD_LIMIT_NS (100ull * 1000 * 1000 * 1000)
#define NODE_BASE      "iqn.2016-06.io.spdk"

struct world {
	struct reactors *set;
	struct bdev_registry *bdevs;
	struct scsi_server *scsi;
	struct targets *targets;
	/* world_on() */
	struct mail mail;
	void (*fn)(struct world *w);
};

static inline bool world_never(void *ctx)
{
	return false;
}

static inline void world_settle(struct world *w)
{
	sim_run_until(w->set, world_never, NULL, WORLD_LIMIT_NS);
}

static inline void world_run_mail(struct mail *mail)
{
	struct world *w = container_of(mail, struct world, mail);

	w->fn(w);
}

/* fn() on the control reactor, and until nothing is left to do. */
static inline void world_on(struct world *w, void (*fn)(struct world *w))
{
	w->fn = fn;
	w->mail.run = world_run_mail;
	mail_post(reactors_main(w->set), &w->mail);
	world_settle(w);
}

static inline int world_setup(void **state)
{
	struct sim_options opt = {.seed = 1, .nreactors = 2};
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	assert_int_equal(sim_create(&opt, &w->set), 0);
	assert_int_equal(bdev_registry_create(w->set, &w->bdevs), 0);
	assert_int_equal(scsi_server_create(w->set, w->bdevs, &w->scsi), 0);
	assert_int_equal(targets_create(w->scsi, &w->targets), 0);
	*state = w;
	return 0;
}

static inline void world_drop_nodes(struct world *w)
{
	while (target_node_first(w->targets))
		target_node_destroy(target_node_first(w->targets), NULL);
}

static inline int world_teardown(void **state)
{
	struct world *w = *state;

	world_on(w, world_drop_nodes);
	targets_destroy(w->targets);
	scsi_server_destroy(w->scsi);
	bdev_registry_destroy(w->bdevs);
	reactors_destroy(w->set);
	free(w);
	return 0;
}

static inline struct portal_group *world_pg(struct world *w, int32_t tag,
					    bool is_private)
{
	struct portal_group *pg = NULL;

	assert_int_equal(portal_group_create(w->targets, tag, is_private, false,
					     &pg, NULL),
			 0);
	return pg;
}

static inline struct initiator_group *world_ig(struct world *w, int32_t tag,
					       const char *const *names,
					       uint32_t nnames,
					       const char *const *masks,
					       uint32_t nmasks)
{
	struct initiator_group *ig = NULL;

	assert_int_equal(initiator_group_create(w->targets, tag, names, nnames,
						masks, nmasks, &ig, NULL),
			 0);
	return ig;
}

static inline struct sockaddr_storage world_addr(const char *host)
{
	struct sockaddr_storage a;
	socklen_t len;

	assert_int_equal(addr_parse(host, "50000", &a, &len), 0);
	return a;
}
