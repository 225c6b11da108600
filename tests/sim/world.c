/* SPDX-License-Identifier: BSD-3-Clause */
#include "world.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/macros.h"
#include "reactor/bufpool.h"

#define SEC 1000000000ull
/* Nothing that the tests ask for takes longer, of virtual time. */
#define PATIENCE_NS (300 * SEC)
#define PORT	    3260

void world_fail(struct world *w, const char *fmt, ...)
{
	va_list ap;

	if (w->error[0])
		return;
	va_start(ap, fmt);
	vsnprintf(w->error, sizeof(w->error), fmt, ap);
	va_end(ap);
}

/* ------------------------------------------------------------------------
 * Steps on the control reactor.
 */

static void step_run(struct mail *mail)
{
	struct world *w = container_of(mail, struct world, mail);

	w->step(w);
	w->stepped = true;
}

static bool step_over(void *ctx)
{
	struct world *w = ctx;

	return w->stepped && w->pending == 0;
}

bool world_do(struct world *w, void (*step)(struct world *w))
{
	w->step = step;
	w->stepped = false;
	w->mail.run = step_run;
	mail_post(reactors_main(w->set), &w->mail);
	if (!sim_run_until(w->set, step_over, w, PATIENCE_NS))
		world_fail(w, "a step of control does not end");
	return !w->error[0];
}

static void change_done(struct scsi_change *c)
{
	struct world *w = container_of(c, struct world, change);

	if (c->result)
		world_fail(w, "a change of the device: %d", c->result);
	w->pending--;
}

/* ------------------------------------------------------------------------
 * Beginning.
 */

static void check(struct world *w, int rc, const char *what, const char *why)
{
	if (rc)
		world_fail(w, "%s: %d %s", what, rc, why ? why : "");
}

static void make_servers(struct world *w)
{
	check(w, bdev_registry_create(w->set, &w->bdevs), "bdevs", NULL);
	check(w, scsi_server_create(w->set, w->bdevs, &w->scsi), "scsi", NULL);
	check(w, targets_create(w->scsi, &w->targets), "targets", NULL);
	check(w, iscsi_server_create(w->set, w->targets, &w->server), "iscsi",
	      NULL);
	*iscsi_server_options(w->server) = w->opt.iscsi;
}

static void make_bdevs(struct world *w)
{
	for (uint32_t i = 0; i < w->opt.nluns; i++) {
		uint32_t bs = w->opt.luns[i].block_size;
		uint64_t n = w->opt.luns[i].nblocks;
		const char *why = NULL;
		char name[16], path[64];
		struct bdev_common c = {.name = name};
		struct bdev *b;

		snprintf(name, sizeof(name), "disk%u", i);
		if (!w->opt.luns[i].file) {
			check(w,
			      bdev_malloc_create(w->bdevs, &c, n, bs, &b, &why),
			      "malloc", why);
			continue;
		}
		w->fds[i] = memfd_create(name, MFD_CLOEXEC);
		if (w->fds[i] < 0 || ftruncate(w->fds[i], (off_t)(n * bs)))
			world_fail(w, "memfd");
		snprintf(path, sizeof(path), "/proc/self/fd/%d", w->fds[i]);
		check(w, bdev_file_create(w->bdevs, &c, path, bs, &b, &why),
		      "file", why);
	}
}

static void make_groups(struct world *w)
{
	const char *any = "ANY", *why = NULL;

	check(w, portal_group_create(w->targets, 1, false, false, &w->pg, &why),
	      "portal group", why);
	check(w,
	      portal_group_add_portal(w->targets, w->pg, "127.0.0.1", "3260",
				      &why),
	      "portal", why);
	check(w,
	      initiator_group_create(w->targets, 1, &any, 1, &any, 1, &w->ig,
				     &why),
	      "initiator group", why);
	check(w,
	      target_node_create(w->targets, WORLD_TARGET, NULL,
				 "iqn.2016-06.io.spdk", &w->node, &why),
	      "target node", why);
	if (w->error[0])
		return;
	w->node->queue_depth = w->opt.iscsi.max_queue_depth;
	w->node->header_digest = w->opt.header_digest;
	w->node->data_digest = w->opt.data_digest;
	check(w, target_node_add_map(w->node, 1, 1, &why), "map", why);
}

static void start_control(struct world *w)
{
	make_servers(w);
	if (!w->error[0])
		make_bdevs(w);
	if (!w->error[0])
		make_groups(w);
}

static void add_luns(struct world *w)
{
	for (uint32_t i = 0; i < w->opt.nluns; i++) {
		char name[16];

		if (scsi_device_lun_bdev(w->node->device, i))
			continue;
		snprintf(name, sizeof(name), "disk%u", i);
		w->change.done = change_done;
		w->pending++;
		check(w,
		      scsi_device_add_lun(w->node->device, (int)i, name, NULL,
					  &w->change),
		      "LUN", NULL);
		return;
	}
}

static void listen_all(struct world *w)
{
	check(w, iscsi_server_listen(w->server, w->pg), "listen", NULL);
}

bool world_start(struct world *w, const struct world_options *opt)
{
	memset(w, 0, sizeof(*w));
	w->opt = *opt;
	for (uint32_t i = 0; i < WORLD_LUNS_MAX; i++)
		w->fds[i] = -1;
	check(w, sim_create(&opt->sim, &w->set), "simulator", NULL);
	if (w->error[0])
		return false;
	if (!world_do(w, start_control))
		return false;
	for (uint32_t i = 0; i < opt->nluns; i++) {
		if (!world_do(w, add_luns))
			return false;
	}
	return world_do(w, listen_all);
}

struct sim_peer *world_connect(struct world *w)
{
	const struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_port = htons(PORT),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};

	return sim_connect(w->set, (const struct sockaddr *)&addr,
			   sizeof(addr));
}

/* ------------------------------------------------------------------------
 * The end.
 */

static void server_down(struct iscsi_request *req)
{
	container_of(req, struct world, request)->pending--;
}

static void stop_server(struct world *w)
{
	w->request.done = server_down;
	w->pending++;
	iscsi_server_shutdown(w->server, 2000, &w->request);
}

static void destroy_node(struct world *w)
{
	w->change.done = change_done;
	w->pending++;
	target_node_destroy(w->node, &w->change);
}

static void bdev_gone(struct bdev_removal *rm)
{
	container_of(rm, struct world, removal)->pending--;
}

static void remove_bdev(struct world *w)
{
	w->removal.done = bdev_gone;
	w->pending++;
	check(w, bdev_remove(bdev_first(w->bdevs), &w->removal), "remove",
	      NULL);
}

static void destroy_servers(struct world *w)
{
	struct iscsi_stats stats;

	iscsi_server_stats(w->server, &stats);
	if (stats.connections || stats.sessions)
		world_fail(w, "%u connections, %u sessions are left",
			   stats.connections, stats.sessions);
	portal_group_delete(w->targets, w->pg);
	initiator_group_delete(w->targets, w->ig);
	iscsi_server_destroy(w->server);
	targets_destroy(w->targets);
	scsi_server_destroy(w->scsi);
	bdev_registry_destroy(w->bdevs);
}

static bool never(void *ctx)
{
	(void)ctx;
	return false;
}

static void check_reactors(struct world *w)
{
	for (uint32_t i = 0; i < reactors_count(w->set); i++) {
		struct reactor *r = reactors_get(w->set, i);
		size_t n = bufpool_in_use(reactor_bufpool(r));

		if (n > 0)
			world_fail(w, "%zu buffers of reactor %u are out", n,
				   i);
	}
	/* No timer, no mail, no stream may be left in the world. */
	if (sim_run_until(w->set, never, NULL, PATIENCE_NS) ||
	    sim_step(w->set, UINT64_MAX))
		world_fail(w, "something still runs after the end");
}

void world_stop(struct world *w)
{
	/* After a failure the state is unknown: leave it as it is. */
	if (!w->error[0] && world_do(w, stop_server) &&
	    world_do(w, destroy_node)) {
		while (!w->error[0] && bdev_first(w->bdevs))
			world_do(w, remove_bdev);
		if (!w->error[0] && world_do(w, destroy_servers))
			check_reactors(w);
	}
	if (!w->error[0])
		reactors_destroy(w->set);
	for (uint32_t i = 0; i < WORLD_LUNS_MAX; i++) {
		if (w->fds[i] >= 0)
			close(w->fds[i]);
	}
}
