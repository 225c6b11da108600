/* SPDX-License-Identifier: BSD-3-Clause */
/* Methods of block devices. */
#include "control/rpc_tables.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "bdev/driver.h"
#include "control/control_priv.h"
#include "control/rpc_util.h"

/* ---- Creation. */

struct create_params {
	const char *name, *filename, *uuid;
	uint64_t num_blocks;
	uint32_t block_size, physical_block_size;
	uint32_t md_size, dif_type;
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
		{.name = "md_size",                                       \
		 .type = PARAM_U32,                                       \
		 .offset = AT(struct create_params, md_size),             \
		 .fallback = "0",                                         \
		 .help = "0: there is no metadata here"},                 \
		{.name = "dif_type",                                      \
		 .type = PARAM_U32,                                       \
		 .offset = AT(struct create_params, dif_type),            \
		 .fallback = "0",                                         \
		 .help = "0: there is no protection information here"},   \
		IGNORED("md_interleave"), IGNORED("dif_is_head_of_md"),   \
		IGNORED("dif_pi_format"), UUID_ROW

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
	IGNORED("preferred_write_granularity"),
	IGNORED("preferred_write_alignment"),
	IGNORED("optimal_write_size"),
	IGNORED("preferred_unmap_granularity"),
	IGNORED("preferred_unmap_alignment"),
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
	if (p.md_size || p.dif_type) {
		rpc_fail(call, RPC_INVALID_PARAMS,
			 "Invalid parameters: metadata and protection "
			 "information are not supported");
		return;
	}
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
	{},
};
