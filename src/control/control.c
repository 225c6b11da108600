/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "control/control_priv.h"

static void listen_timer_expired(struct timer *t);

int control_create(const struct control_options *opt, struct control **ret)
{
	struct control *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->opt = *opt;
	c->targets = iscsi_server_targets(opt->iscsi);
	c->options = iscsi_server_options(opt->iscsi);
	c->state = RPC_STARTUP;
	list_init(&c->waiting);
	timer_init(&c->listen_timer, listen_timer_expired);
	*ret = c;
	return 0;
}

void control_destroy(struct control *c)
{
	ASSERT(list_empty(&c->waiting));
	free(c);
}

static bool in_list(const char *names, const char *name)
{
	size_t len = strlen(name);

	while (*names) {
		size_t n = strcspn(names, ",");

		if (n == len && strncmp(names, name, n) == 0)
			return true;
		names += n + (names[n] == ',');
	}
	return false;
}

bool control_allows(const struct control *c, const struct rpc_method *m)
{
	const char *allowed = c->opt.rpcs_allowed;

	if (!allowed || in_list(allowed, m->name))
		return true;
	for (size_t i = 0; i < ARRAY_LEN(m->old) && m->old[i]; i++) {
		if (in_list(allowed, m->old[i]))
			return true;
	}
	return false;
}

int control_listen(struct control *c, struct portal_group *pg)
{
	if (!c->listening || pg->wait)
		return 0;
	return iscsi_server_listen(c->opt.iscsi, pg);
}

/* ---- Start: pass one, framework_start_init, pass two, portals. */

static void report_start(struct control *c, int error)
{
	if (c->start_reported) {
		if (error < 0 && c->start->failed)
			c->start->failed(c->start, error);
		return;
	}
	c->start_reported = true;
	c->start->done(c->start, error);
}

static void end_init(struct control *c, int error)
{
	struct rpc_call *call = take(&c->start_init);
	struct list *link;

	c->initialising = false;
	if (error == 0 && !c->stop)
		c->state = RPC_RUNTIME;
	if (call && error == 0)
		rpc_true(call);
	else if (call)
		rpc_fail(call, RPC_INTERNAL_ERROR,
			 "Internal error: the configuration failed");
	while (error == 0 && (link = list_pop_front(&c->waiting)))
		rpc_true(list_entry(link, struct rpc_call, wait_link));
	report_start(c, error);
}

static int open_portals(struct control *c)
{
	struct portal_group *pg = portal_group_first(c->targets);

	c->listening = !c->opt.no_listen;
	for (; pg; pg = portal_group_next(c->targets, pg)) {
		int error = control_listen(c, pg);

		if (error == 0)
			continue;
		log_error("portal group %u cannot listen: %s", pg->tag,
			  strerror(-error));
		if (!c->opt.ignore_errors)
			return error;
	}
	return 0;
}

/*
 * The ports of a process that was killed with I/O under way stay taken until
 * the kernel has ended that, a moment after the process is gone.
 */
static void end_start(struct control *c)
{
	int error = open_portals(c);

	if (error != -EADDRINUSE || c->listen_tries >= LISTEN_RETRIES_MAX) {
		end_init(c, error);
		return;
	}
	timer_start(reactors_main(c->opt.reactors), &c->listen_timer,
		    LISTEN_RETRY_MS << c->listen_tries++);
}

static void listen_timer_expired(struct timer *t)
{
	end_start(container_of(t, struct control, listen_timer));
}

static void end_pass(struct control *c)
{
	if (c->pass == RPC_RUNTIME) {
		end_start(c);
		return;
	}
	if (c->opt.wait_for_rpc)
		report_start(c, 0);
	else
		control_init(c, NULL);
}

/* A method that may run before init runs in the first pass only. */
static bool of_this_pass(const struct control *c, const struct config_call *at)
{
	const struct rpc_method *m = rpc_find(at->method);

	if (!m)
		return false;
	if (c->pass == RPC_STARTUP)
		return (m->states & RPC_STARTUP) != 0;
	return m->states == RPC_RUNTIME;
}

static bool needs_are_there(struct control *c, const struct config_call *at)
{
	const struct config_need *need;

	list_for_each(need, &at->needs, link) {
		if (bdev_find(c->opt.bdevs, need->bdev))
			continue;
		log_error("%s:%u: %s: no block device is called '%s'",
			  c->cfg->file, need->line, need->key, need->bdev);
		return false;
	}
	return true;
}

static void log_failure(struct control *c)
{
	if (c->at->line)
		log_error("%s:%u: %s: %s", c->cfg->file, c->at->line,
			  c->at->what, c->call.message);
	else
		log_error("%s: %s: %s: %s", c->cfg->file, c->at->what,
			  c->at->method, c->call.message);
}

static void run_calls(struct control *c);

static void call_done(struct rpc_call *call)
{
	struct control *c = container_of(call, struct control, call);

	c->call_ended = true;
	if (!c->in_call)
		run_calls(c);
}

/* True: the call has ended (by now). */
static bool run_call(struct control *c)
{
	c->call = (struct rpc_call){
		.control = c,
		.name = c->at->method,
		.params = c->at->params,
		.internal = true,
		.done = call_done,
	};
	c->call_ended = false;
	c->in_call = true;
	rpc_start(&c->call);
	c->in_call = false;
	return c->call_ended;
}

static int check_call(struct control *c)
{
	json_t *result = take(&c->call.result);

	if (result) {
		json_decref(result);
		return 0;
	}
	log_failure(c);
	return c->opt.ignore_errors ? 0 : -EINVAL;
}

static void fail_pass(struct control *c, int error)
{
	if (c->pass == RPC_STARTUP)
		report_start(c, error);
	else
		end_init(c, error);
}

/* A loop, so that a thousand calls that end at once do not nest. */
static void run_calls(struct control *c)
{
	for (;;) {
		if (c->call_ended) {
			int error = c->stop ? -ECANCELED : check_call(c);

			c->call_ended = false;
			if (error < 0) {
				fail_pass(c, error);
				return;
			}
			c->at = list_entry(c->at->link.next, struct config_call,
					   link);
		}
		while (&c->at->link != &c->cfg->calls &&
		       !of_this_pass(c, c->at))
			c->at = list_entry(c->at->link.next, struct config_call,
					   link);
		if (&c->at->link == &c->cfg->calls) {
			end_pass(c);
			return;
		}
		if (!needs_are_there(c, c->at) && !c->opt.ignore_errors) {
			fail_pass(c, -ENODEV);
			return;
		}
		if (!run_call(c))
			return;
	}
}

static void start_pass(struct control *c, enum rpc_states pass)
{
	c->pass = pass;
	c->call_ended = false;
	if (!c->cfg) {
		end_pass(c);
		return;
	}
	c->at = list_entry(c->cfg->calls.next, struct config_call, link);
	run_calls(c);
}

void control_init(struct control *c, struct rpc_call *call)
{
	if (c->initialising) {
		rpc_fail(call, RPC_INVALID_STATE,
			 "Invalid state: initialization is under way");
		return;
	}
	c->initialising = true;
	c->start_init = call;
	start_pass(c, RPC_RUNTIME);
}

void control_start(struct control *c, const struct config *cfg,
		   struct control_start *start)
{
	c->cfg = cfg;
	c->start = start;
	start_pass(c, RPC_STARTUP);
}

/* ---- Stop: sessions, calls under way, target nodes, block devices. */

#define STOP_RETRY_MS 5

static void stop_bdevs(struct control *c);

static void bdev_gone(struct bdev_removal *rm)
{
	stop_bdevs(container_of(rm, struct control, removal));
}

/* The youngest first: it may stand on an older one. */
static struct bdev *last_bdev(struct control *c)
{
	struct bdev *bdev, *last = NULL;

	for (bdev = bdev_first(c->opt.bdevs); bdev; bdev = bdev_next(bdev))
		last = bdev;
	return last;
}

static void stop_bdevs(struct control *c)
{
	struct bdev *bdev = last_bdev(c);

	if (!bdev) {
		c->stop->done(c->stop);
		return;
	}
	c->removal.done = bdev_gone;
	if (bdev_remove(bdev, &c->removal) == 0)
		return;
	/* Somebody removes it already: look again when that may be over. */
	timer_start(reactors_main(c->opt.reactors), &c->stop_timer,
		    STOP_RETRY_MS);
}

static void stop_nodes(struct control *c);

static void node_gone(struct scsi_change *change)
{
	stop_nodes(container_of(change, struct control, change));
}

static void stop_nodes(struct control *c)
{
	struct target_node *n = target_node_first(c->targets);

	if (!n) {
		c->stopping_bdevs = true;
		stop_bdevs(c);
		return;
	}
	c->change.done = node_gone;
	target_node_destroy(n, &c->change);
}

/* Calls under way own the nodes that they create and delete. */
static void stop_calls(struct control *c)
{
	if (c->ncalls == 0)
		stop_nodes(c);
	else
		timer_start(reactors_main(c->opt.reactors), &c->stop_timer,
			    STOP_RETRY_MS);
}

static void stop_timer_expired(struct timer *t)
{
	struct control *c = container_of(t, struct control, stop_timer);

	if (c->stopping_bdevs)
		stop_bdevs(c);
	else
		stop_calls(c);
}

static void sessions_gone(struct iscsi_request *req)
{
	stop_calls(container_of(req, struct control, shutdown));
}

void control_stop(struct control *c, uint32_t timeout_ms,
		  struct control_stop *stop)
{
	struct list *link;

	c->stop = stop;
	c->state = RPC_STOPPING;
	if (timer_running(&c->listen_timer)) {
		timer_stop(reactors_main(c->opt.reactors), &c->listen_timer);
		end_init(c, -ECANCELED);
	}
	timer_init(&c->stop_timer, stop_timer_expired);
	while ((link = list_pop_front(&c->waiting)))
		rpc_fail(list_entry(link, struct rpc_call, wait_link),
			 RPC_INTERNAL_ERROR, "Internal error: shutting down");
	c->shutdown.done = sessions_gone;
	iscsi_server_shutdown(c->opt.iscsi, timeout_ms, &c->shutdown);
}
