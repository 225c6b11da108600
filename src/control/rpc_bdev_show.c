/* SPDX-License-Identifier: BSD-3-Clause */
/* Block devices, as getters and saved configurations show them. */
#include "control/rpc_tables.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bdev/driver.h"
#include "bdev/vbdev.h"
#include "control/control_priv.h"
#include "control/rpc_util.h"

struct name_params {
	const char *name;
	uint64_t timeout;
};

void rpc_uuid_text(const uint8_t *u, char *text, size_t size)
{
	snprintf(text, size,
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-"
		 "%02x%02x%02x%02x%02x%02x",
		 u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9],
		 u[10], u[11], u[12], u[13], u[14], u[15]);
}

static json_t *show_io_types(const struct bdev *b)
{
	return json_pack("{s:b, s:b, s:b, s:b, s:b, s:b, s:b, s:b}", "read", 1,
			 "write", !b->read_only, "unmap",
			 (b->caps & BDEV_CAP_UNMAP) != 0, "write_zeroes",
			 !b->read_only, "flush", 1, "reset", 1, "nvme_admin", 0,
			 "nvme_io", 0);
}

static json_t *show_specific(const struct bdev *b)
{
	const char *path = b->driver->path ? b->driver->path(b) : NULL;
	json_t *o = json_object();

	/* SPDK's name of the file driver is aio. */
	if (path && strcmp(b->driver->name, "aio") == 0)
		json_object_set_new(o, "aio",
				    json_pack("{s:s, s:b}", "filename", path,
					      "readonly", b->read_only));
	return o;
}

static json_t *show_bdev(const struct bdev *b)
{
	char uuid[UUID_TEXT_MAX];

	rpc_uuid_text(b->uuid, uuid, sizeof(uuid));
	return json_pack("{s:s, s:[s], s:s, s:i, s:I, s:s, s:i, s:{s:i, s:i, "
			 "s:i, s:i}, s:b, s:b, s:o, s:o}",
			 "name", b->name, "aliases", uuid, "product_name",
			 b->product, "block_size", (int)b->block_size,
			 "num_blocks", (json_int_t)b->nblocks, "uuid", uuid,
			 "physical_block_size", (int)b->phys_block_size,
			 "assigned_rate_limits", "rw_ios_per_sec", 0,
			 "rw_mbytes_per_sec", 0, "r_mbytes_per_sec", 0,
			 "w_mbytes_per_sec", 0, "claimed", b->claim != NULL,
			 "zoned", 0, "supported_io_types", show_io_types(b),
			 "driver_specific", show_specific(b));
}

static const struct param get_rows[] = {
	{.name = "name",
	 .type = PARAM_TEXT,
	 .offset = AT(struct name_params, name),
	 .help = "only this one"},
	{.name = "timeout",
	 .type = PARAM_U64,
	 .max = 3600000,
	 .offset = AT(struct name_params, timeout),
	 .fallback = "0",
	 .help = "milliseconds to wait for it to come"},
	{},
};

static const struct param reset_rows[] = {
	{.name = "name",
	 .type = PARAM_TEXT,
	 .offset = AT(struct name_params, name),
	 .help = "only this one"},
	{},
};

/* Somebody waits for a bdev: nobody tells, so it is looked for. */
#define WAIT_LOOK_MS 20

struct bdev_wait {
	struct timer timer;
	struct rpc_call *call;
	const char *name;
	uint64_t until_ns;
};

static struct reactor *home(const struct rpc_call *call)
{
	return reactors_main(call->control->opt.reactors);
}

static void show_one(struct rpc_call *call, const char *name)
{
	struct bdev *b = rpc_find_bdev(call, name, NULL);

	if (b)
		rpc_done(call, json_pack("[o]", show_bdev(b)));
}

static void wait_look(struct timer *t)
{
	struct bdev_wait *w = container_of(t, struct bdev_wait, timer);
	struct rpc_call *call = w->call;
	const char *name = w->name;

	if (!bdev_find(call->control->opt.bdevs, name) &&
	    control_state(call->control) != RPC_STOPPING &&
	    reactor_now_ns(home(call)) < w->until_ns) {
		timer_start(home(call), t, WAIT_LOOK_MS);
		return;
	}
	free(w);
	show_one(call, name);
}

static void wait_for_one(struct rpc_call *call, const struct name_params *p)
{
	struct bdev_wait *w = calloc(1, sizeof(*w));

	if (!w) {
		rpc_done(call, NULL);
		return;
	}
	w->call = call;
	w->name = p->name;
	w->until_ns = reactor_now_ns(home(call)) + p->timeout * 1000000;
	timer_init(&w->timer, wait_look);
	timer_start(home(call), &w->timer, WAIT_LOOK_MS);
}

static void get_bdevs(struct rpc_call *call)
{
	struct bdev_registry *reg = call->control->opt.bdevs;
	struct name_params p = {0};
	struct bdev *b;
	json_t *list;

	if (!rpc_params(call, &p))
		return;
	if (p.name && p.timeout > 0 && !bdev_find(reg, p.name)) {
		wait_for_one(call, &p);
		return;
	}
	if (p.name) {
		show_one(call, p.name);
		return;
	}
	list = json_array();
	for (b = bdev_first(reg); b; b = bdev_next(b))
		json_array_append_new(list, show_bdev(b));
	rpc_done(call, list);
}

struct iostat_params {
	const char *name;
	json_t *names;
};

static const struct param iostat_rows[] = {
	{.name = "name",
	 .type = PARAM_TEXT,
	 .offset = AT(struct iostat_params, name),
	 .help = "only this one"},
	{.name = "names",
	 .type = PARAM_TEXTS,
	 .min = 0,
	 .max = 1024,
	 .offset = AT(struct iostat_params, names),
	 .help = "only these"},
	{},
};

static json_t *show_iostat(const struct bdev *b)
{
	struct bdev_stats s;

	bdev_get_stats(b, &s);
	return json_pack(
		"{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
		"name", b->name, "bytes_read", (json_int_t)s.bytes[BDEV_READ],
		"num_read_ops", (json_int_t)s.ops[BDEV_READ], "bytes_written",
		(json_int_t)s.bytes[BDEV_WRITE], "num_write_ops",
		(json_int_t)s.ops[BDEV_WRITE], "bytes_unmapped",
		(json_int_t)s.bytes[BDEV_UNMAP], "num_unmap_ops",
		(json_int_t)s.ops[BDEV_UNMAP], "num_flush_ops",
		(json_int_t)s.ops[BDEV_FLUSH], "read_latency_ticks",
		(json_int_t)s.latency_ns[BDEV_READ], "write_latency_ticks",
		(json_int_t)s.latency_ns[BDEV_WRITE], "unmap_latency_ticks",
		(json_int_t)s.latency_ns[BDEV_UNMAP], "num_errors",
		(json_int_t)s.errors);
}

/* All of @names are there, or the call has failed. */
static bool collect_iostat(struct rpc_call *call, const struct iostat_params *p,
			   json_t *list)
{
	struct bdev *b;
	json_t *name;
	size_t i;

	if (p->name) {
		b = rpc_find_bdev(call, p->name, NULL);
		if (b)
			json_array_append_new(list, show_iostat(b));
		return b != NULL;
	}
	json_array_foreach(p->names, i, name) {
		b = rpc_find_bdev(call, json_string_value(name), NULL);
		if (!b)
			return false;
		json_array_append_new(list, show_iostat(b));
	}
	if (p->names)
		return true;
	for (b = bdev_first(call->control->opt.bdevs); b; b = bdev_next(b))
		json_array_append_new(list, show_iostat(b));
	return true;
}

static void get_iostat(struct rpc_call *call)
{
	struct iostat_params p;
	uint64_t now;
	json_t *list;

	if (!rpc_params(call, &p))
		return;
	list = json_array();
	if (!list || !collect_iostat(call, &p, list)) {
		json_decref(list);
		return;
	}
	now = reactor_now_ns(reactors_main(call->control->opt.reactors));
	/* Ticks are nanoseconds. */
	rpc_done(call, json_pack("{s:I, s:I, s:o}", "tick_rate",
				 (json_int_t)1000000000, "ticks",
				 (json_int_t)now, "bdevs", list));
}

static void reset_iostat(struct rpc_call *call)
{
	struct name_params p = {0};
	struct bdev *b;

	if (!rpc_params(call, &p))
		return;
	if (p.name) {
		b = rpc_find_bdev(call, p.name, NULL);
		if (!b)
			return;
		bdev_reset_stats(b);
	} else {
		b = bdev_first(call->control->opt.bdevs);
		for (; b; b = bdev_next(b))
			bdev_reset_stats(b);
	}
	rpc_true(call);
}

/* There is nothing to examine: what is created is complete. */
static void wait_for_examine(struct rpc_call *call)
{
	rpc_true(call);
}

/* ---- What a saved configuration says of them. */

static json_t *save_params(const struct bdev *b)
{
	char uuid[UUID_TEXT_MAX];

	rpc_uuid_text(b->uuid, uuid, sizeof(uuid));
	return json_pack("{s:s, s:i, s:s}", "name", b->name, "block_size",
			 (int)b->block_size, "uuid", uuid);
}

static bool save_bdev(struct control *c, json_t *config, const struct bdev *b)
{
	const struct bdev *base = bdev_base(b);
	json_t *o;

	if (base)
		return rpc_save_vbdev(c, config, b, base);
	o = save_params(b);
	if (strcmp(b->driver->name, "aio") == 0) {
		const char *path = b->driver->path(b);

		json_object_set_new(o, "filename", json_string(path));
		json_object_set_new(o, "readonly", json_boolean(b->read_only));
		return rpc_config_add(config, "bdev_aio_create", o);
	}
	json_object_set_new(o, "num_blocks",
			    json_integer((json_int_t)b->nblocks));
	json_object_set_new(o, "physical_block_size",
			    json_integer(b->phys_block_size));
	return rpc_config_add(config,
			      strcmp(b->driver->name, "null") == 0
				      ? "bdev_null_create"
				      : "bdev_malloc_create",
			      o);
}

json_t *rpc_config_bdev(struct control *c)
{
	json_t *config = json_array();
	struct bdev *b;
	bool good = config != NULL;

	for (b = bdev_first(c->opt.bdevs); b && good; b = bdev_next(b))
		good = save_bdev(c, config, b);
	if (good)
		return config;
	json_decref(config);
	return NULL;
}

const struct rpc_method rpc_bdev_show_methods[] = {
	{"bdev_get_bdevs",
	 {"get_bdevs"},
	 RPC_RUNTIME,
	 get_rows,
	 get_bdevs,
	 "Shows block devices."},
	{"bdev_get_iostat",
	 {"get_bdevs_iostat"},
	 RPC_RUNTIME,
	 iostat_rows,
	 get_iostat,
	 "Shows what was read and written."},
	{"bdev_reset_iostat",
	 {},
	 RPC_RUNTIME,
	 reset_rows,
	 reset_iostat,
	 "Counts from zero."},
	{"bdev_wait_for_examine",
	 {},
	 RPC_RUNTIME,
	 NULL,
	 wait_for_examine,
	 "Returns at once."},
	{},
};
