/* SPDX-License-Identifier: BSD-3-Clause */
/* Methods of block devices. */
#include "control/rpc_tables.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "bdev/driver.h"
#include "bdev/vbdev.h"
#include "control/control_priv.h"
#include "control/rpc_util.h"

/* ---- Creation. */

struct create_params {
	const char *name, *filename, *uuid;
	uint64_t num_blocks;
	uint32_t block_size, physical_block_size;
	bool read_only;
};

#define UUID_ROW                                          \
	{                                                 \
		.name = "uuid", .type = PARAM_UUID,       \
		.offset = AT(struct create_params, uuid), \
		.help = "default: derived from the name"  \
	}

#define IGNORED(row)                                \
	{                                           \
		.name = row, .type = PARAM_UNUSED,  \
		.help = "accepted; has no use here" \
	}

/* A sized device in memory, or nowhere. */
#define MEMORY_ROWS                                                       \
	{.name = "num_blocks",                                            \
	 .type = PARAM_U64,                                               \
	 .required = true,                                                \
	 .min = 1,                                                        \
	 .max = INT64_MAX,                                                \
	 .offset = AT(struct create_params, num_blocks),                  \
	 .help = "blocks"},                                               \
		{.name = "block_size",                                    \
		 .type = PARAM_U32,                                       \
		 .required = true,                                        \
		 .offset = AT(struct create_params, block_size),          \
		 .help = "bytes: 512..65536, a power of 2"},              \
		{.name = "physical_block_size",                           \
		 .type = PARAM_U32,                                       \
		 .offset = AT(struct create_params, physical_block_size), \
		 .fallback = "0",                                         \
		 .help = "bytes; 0 = block_size"},                        \
		UUID_ROW

static const struct param malloc_rows[] = {
	{.name = "name",
	 .type = PARAM_TEXT,
	 .min = 1,
	 .max = BDEV_NAME_MAX,
	 .offset = AT(struct create_params, name),
	 .help = "default: Malloc and a number"},
	MEMORY_ROWS,
	IGNORED("optimal_io_boundary"),
	IGNORED("numa_id"),
	{},
};

static const struct param null_rows[] = {
	{.name = "name",
	 .type = PARAM_TEXT,
	 .required = true,
	 .min = 1,
	 .max = BDEV_NAME_MAX,
	 .offset = AT(struct create_params, name),
	 .help = "its name"},
	MEMORY_ROWS,
	{},
};

static const struct param file_rows[] = {
	{.name = "name",
	 .type = PARAM_TEXT,
	 .required = true,
	 .min = 1,
	 .max = BDEV_NAME_MAX,
	 .offset = AT(struct create_params, name),
	 .help = "its name"},
	{.name = "filename",
	 .type = PARAM_TEXT,
	 .offset = AT(struct create_params, filename),
	 .help = "regular file or block device (required)"},
	{.name = "fname",
	 .type = PARAM_TEXT,
	 .offset = AT(struct create_params, filename),
	 .help = "18.01: filename"},
	{.name = "block_size",
	 .type = PARAM_U32,
	 .offset = AT(struct create_params, block_size),
	 .fallback = "0",
	 .help = "bytes: 512..65536, a power of 2; 0 = detected"},
	{.name = "readonly",
	 .type = PARAM_BOOL,
	 .offset = AT(struct create_params, read_only),
	 .fallback = "false",
	 .help = "writes fail"},
	UUID_ROW,
	IGNORED("fallocate"),
	IGNORED("nowait"),
	{},
};

const uint8_t *rpc_uuid(const char *text, uint8_t *uuid)
{
	for (size_t i = 0; text && i < 16; text += 2) {
		unsigned int byte;

		if (*text == '-')
			text++;
		ASSERT(sscanf(text, "%2x", &byte) == 1);
		uuid[i++] = (uint8_t)byte;
	}
	return text ? uuid : NULL;
}

/* @uuid: room for 16 bytes. */
static struct bdev_common common_of(const struct create_params *p,
				    uint8_t *uuid)
{
	return (struct bdev_common){
		.name = p->name,
		.uuid = rpc_uuid(p->uuid, uuid),
		.phys_block_size = p->physical_block_size,
		.read_only = p->read_only,
	};
}

json_t *rpc_bdev_name(const struct rpc_call *call, const char *name)
{
	if (rpc_is_old(call))
		return json_pack("[s]", name);
	return json_string(name);
}

static void end_create(struct rpc_call *call, int error, struct bdev *bdev,
		       const char *why)
{
	if (error < 0)
		rpc_fail_errno(call, error, why);
	else
		rpc_done(call, rpc_bdev_name(call, bdev->name));
}

typedef int create_memory_fn(struct bdev_registry *reg,
			     const struct bdev_common *c, uint64_t nblocks,
			     uint32_t block_size, struct bdev **ret,
			     const char **ret_why);

static void create_memory(struct rpc_call *call, create_memory_fn *create)
{
	struct bdev *bdev = NULL;
	const char *why = NULL;
	struct create_params p = {0};
	struct bdev_common c;
	uint8_t uuid[16];
	int error;

	if (!rpc_params(call, &p))
		return;
	c = common_of(&p, uuid);
	error = create(call->control->opt.bdevs, &c, p.num_blocks, p.block_size,
		       &bdev, &why);
	end_create(call, error, bdev, why);
}

static void create_malloc(struct rpc_call *call)
{
	create_memory(call, bdev_malloc_create);
}

static void create_null(struct rpc_call *call)
{
	create_memory(call, bdev_null_create);
}

static void create_file(struct rpc_call *call)
{
	struct bdev *bdev = NULL;
	const char *why = NULL;
	struct create_params p = {0};
	struct bdev_common c;
	uint8_t uuid[16];
	int error;

	if (!rpc_params(call, &p))
		return;
	if (!p.filename) {
		rpc_fail(call, RPC_INVALID_PARAMS,
			 "Invalid parameters: parameter 'filename' is missing");
		return;
	}
	c = common_of(&p, uuid);
	error = bdev_file_create(call->control->opt.bdevs, &c, p.filename,
				 p.block_size, &bdev, &why);
	end_create(call, error, bdev, why);
}

/* ---- Deletion, and new sizes. */

struct name_params {
	const char *name;
	uint64_t new_size;
};

static const struct param name_rows[] = {
	{.name = "name",
	 .type = PARAM_TEXT,
	 .required = true,
	 .offset = AT(struct name_params, name),
	 .help = "block device"},
	{},
};

static const struct param resize_rows[] = {
	{.name = "name",
	 .type = PARAM_TEXT,
	 .required = true,
	 .offset = AT(struct name_params, name),
	 .help = "block device"},
	{.name = "new_size",
	 .type = PARAM_U64,
	 .required = true,
	 .min = 1,
	 .max = INT64_MAX >> 20,
	 .offset = AT(struct name_params, new_size),
	 .help = "MiB"},
	{},
};

struct bdev *rpc_find_bdev(struct rpc_call *call, const char *name,
			   const char *driver)
{
	struct bdev *bdev = bdev_find(call->control->opt.bdevs, name);
	char why[64 + BDEV_NAME_MAX];

	if (!bdev) {
		rpc_fail_errno(call, -ENODEV, "no such block device");
		return NULL;
	}
	if (driver && strcmp(bdev->driver->name, driver) != 0) {
		snprintf(why, sizeof(why), "'%s' is of another kind: %s",
			 bdev->name, bdev->driver->name);
		rpc_fail_errno(call, -EINVAL, why);
		return NULL;
	}
	return bdev;
}

static void bdev_gone(struct bdev_removal *rm)
{
	struct rpc_call *call = container_of(rm, struct rpc_call, removal);

	rpc_true(call);
}

void rpc_delete_bdev(struct rpc_call *call, const char *driver)
{
	struct name_params p = {0};
	struct bdev *bdev;
	int error;

	if (!rpc_params(call, &p) ||
	    !(bdev = rpc_find_bdev(call, p.name, driver)))
		return;
	call->removal.done = bdev_gone;
	error = bdev_remove(bdev, &call->removal);
	if (error < 0)
		rpc_fail_errno(call, error, "it is being removed");
}

static void delete_any(struct rpc_call *call)
{
	rpc_delete_bdev(call, NULL);
}

static void delete_malloc(struct rpc_call *call)
{
	rpc_delete_bdev(call, "malloc");
}

static void delete_null(struct rpc_call *call)
{
	rpc_delete_bdev(call, "null");
}

static void delete_file(struct rpc_call *call)
{
	rpc_delete_bdev(call, "aio");
}

static void resize_null(struct rpc_call *call)
{
	struct name_params p;
	struct bdev *bdev;
	int error;

	if (!rpc_params(call, &p) ||
	    !(bdev = rpc_find_bdev(call, p.name, "null")))
		return;
	error = bdev_resize(bdev, (p.new_size << 20) / bdev->block_size);
	if (error < 0)
		rpc_fail_errno(call, error,
			       error == -EBUSY
				       ? "a device in use does not shrink"
				       : NULL);
	else
		rpc_true(call);
}

static void rescan_file(struct rpc_call *call)
{
	struct name_params p = {0};
	struct bdev *bdev;
	int error;

	if (!rpc_params(call, &p) ||
	    !(bdev = rpc_find_bdev(call, p.name, "aio")))
		return;
	error = bdev_rescan(bdev);
	if (error < 0)
		rpc_fail_errno(call, error, NULL);
	else
		rpc_true(call);
}

/* ---- Getters. */

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
	{},
};

static void get_bdevs(struct rpc_call *call)
{
	struct name_params p = {0};
	struct bdev *b;
	json_t *list;

	if (!rpc_params(call, &p))
		return;
	if (p.name) {
		b = rpc_find_bdev(call, p.name, NULL);
		if (b)
			rpc_done(call, json_pack("[o]", show_bdev(b)));
		return;
	}
	list = json_array();
	for (b = bdev_first(call->control->opt.bdevs); b; b = bdev_next(b))
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

const struct rpc_method rpc_bdev_methods[] = {
	{"bdev_malloc_create",
	 {"construct_malloc_bdev"},
	 RPC_RUNTIME,
	 malloc_rows,
	 create_malloc,
	 "Creates a RAM disk."},
	{"bdev_malloc_delete",
	 {"delete_malloc_bdev"},
	 RPC_RUNTIME,
	 name_rows,
	 delete_malloc,
	 "Deletes a RAM disk."},
	{"bdev_null_create",
	 {"construct_null_bdev"},
	 RPC_RUNTIME,
	 null_rows,
	 create_null,
	 "Creates a disk that keeps nothing."},
	{"bdev_null_delete",
	 {"delete_null_bdev"},
	 RPC_RUNTIME,
	 name_rows,
	 delete_null,
	 "Deletes it."},
	{"bdev_null_resize",
	 {},
	 RPC_RUNTIME,
	 resize_rows,
	 resize_null,
	 "Changes its size."},
	{"bdev_aio_create",
	 {"construct_aio_bdev"},
	 RPC_RUNTIME,
	 file_rows,
	 create_file,
	 "Creates a disk of a file or a block device."},
	{"bdev_aio_rescan",
	 {},
	 RPC_RUNTIME,
	 name_rows,
	 rescan_file,
	 "Looks at the size of the file anew."},
	{"bdev_aio_delete",
	 {"delete_aio_bdev"},
	 RPC_RUNTIME,
	 name_rows,
	 delete_file,
	 "Deletes the disk, not the file."},
	{"bdev_uring_create",
	 {},
	 RPC_RUNTIME,
	 file_rows,
	 create_file,
	 "The same as bdev_aio_create."},
	{"bdev_uring_rescan",
	 {},
	 RPC_RUNTIME,
	 name_rows,
	 rescan_file,
	 "The same as bdev_aio_rescan."},
	{"bdev_uring_delete",
	 {},
	 RPC_RUNTIME,
	 name_rows,
	 delete_file,
	 "The same as bdev_aio_delete."},
	{"delete_bdev",
	 {},
	 RPC_RUNTIME,
	 name_rows,
	 delete_any,
	 "Deletes a block device of any kind."},
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
	 get_rows,
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
