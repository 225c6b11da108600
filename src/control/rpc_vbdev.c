/* SPDX-License-Identifier: BSD-3-Clause */
/* Methods of block devices on top of others. */
#include "control/rpc_tables.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bdev/driver.h"
#include "bdev/vbdev.h"
#include "control/control_priv.h"
#include "control/rpc_util.h"

struct vbdev_params {
	const char *name, *base, *uuid;
	uint64_t latency[BDEV_LATENCY_COUNT];
	uint32_t split_count;
	uint64_t split_size_mb;
};

#define UUID_ROW                                         \
	{                                                \
		.name = "uuid", .type = PARAM_UUID,      \
		.offset = AT(struct vbdev_params, uuid), \
		.help = "default: derived from the name" \
	}

#define BASE_ROW(row)                                              \
	{                                                          \
		.name = row, .type = PARAM_TEXT, .required = true, \
		.offset = AT(struct vbdev_params, base),           \
		.help = "the block device below"                   \
	}

#define LATENCY_ROW(row, which)                                    \
	{                                                          \
		.name = row, .type = PARAM_U64, .required = true,  \
		.max = 3600000000,                                 \
		.offset = AT(struct vbdev_params, latency[which]), \
		.help = "microseconds, in steps of a millisecond"  \
	}

static const struct param passthru_rows[] = {
	{.name = "name",
	 .type = PARAM_TEXT,
	 .min = 1,
	 .max = BDEV_NAME_MAX,
	 .offset = AT(struct vbdev_params, name),
	 .help = "its name (required)"},
	{.name = "passthru_bdev_name",
	 .type = PARAM_TEXT,
	 .min = 1,
	 .max = BDEV_NAME_MAX,
	 .offset = AT(struct vbdev_params, name),
	 .help = "18.04: name"},
	BASE_ROW("base_bdev_name"),
	UUID_ROW,
	{},
};

static const struct param error_rows[] = {
	BASE_ROW("base_name"),
	UUID_ROW,
	{},
};

static const struct param delay_rows[] = {
	{.name = "name",
	 .type = PARAM_TEXT,
	 .required = true,
	 .min = 1,
	 .max = BDEV_NAME_MAX,
	 .offset = AT(struct vbdev_params, name),
	 .help = "its name"},
	BASE_ROW("base_bdev_name"),
	LATENCY_ROW("avg_read_latency", BDEV_AVG_READ),
	LATENCY_ROW("p99_read_latency", BDEV_P99_READ),
	LATENCY_ROW("avg_write_latency", BDEV_AVG_WRITE),
	LATENCY_ROW("p99_write_latency", BDEV_P99_WRITE),
	UUID_ROW,
	{},
};

static const struct param split_rows[] = {
	BASE_ROW("base_bdev"),
	{.name = "split_count",
	 .type = PARAM_U32,
	 .required = true,
	 .min = 1,
	 .max = UINT32_MAX,
	 .offset = AT(struct vbdev_params, split_count),
	 .help = "parts"},
	{.name = "split_size_mb",
	 .type = PARAM_U64,
	 .max = INT64_MAX >> 20,
	 .offset = AT(struct vbdev_params, split_size_mb),
	 .fallback = "0",
	 .help = "MiB of each; 0 = equal parts"},
	{},
};

static const struct param base_rows[] = {BASE_ROW("base_bdev"), {}};

static const struct param name_rows[] = {
	{.name = "name",
	 .type = PARAM_TEXT,
	 .required = true,
	 .offset = AT(struct vbdev_params, name),
	 .help = "block device"},
	{},
};

static void end_create(struct rpc_call *call, int error, struct bdev *bdev,
		       const char *why)
{
	if (error < 0)
		rpc_fail_errno(call, error, why);
	else
		rpc_done(call, rpc_bdev_name(call, bdev->name));
}

static void create_passthru(struct rpc_call *call)
{
	struct vbdev_params p = {0};
	struct bdev *bdev = NULL;
	const char *why = NULL;
	struct bdev_common c;
	uint8_t uuid[16];
	int error;

	if (!rpc_params(call, &p))
		return;
	if (!p.name) {
		rpc_fail(call, RPC_INVALID_PARAMS,
			 "Invalid parameters: parameter 'name' is missing");
		return;
	}
	c = (struct bdev_common){.name = p.name,
				 .uuid = rpc_uuid(p.uuid, uuid)};
	error = bdev_passthru_create(call->control->opt.bdevs, &c, p.base,
				     &bdev, &why);
	end_create(call, error, bdev, why);
}

static void create_error(struct rpc_call *call)
{
	struct vbdev_params p = {0};
	struct bdev *bdev = NULL;
	const char *why = NULL;
	uint8_t uuid[16];
	int error;

	if (!rpc_params(call, &p))
		return;
	error = bdev_error_create(call->control->opt.bdevs,
				  rpc_uuid(p.uuid, uuid), p.base, &bdev, &why);
	if (error < 0)
		rpc_fail_errno(call, error, why);
	else
		rpc_true(call);
}

static void create_delay(struct rpc_call *call)
{
	struct vbdev_params p = {0};
	struct bdev *bdev = NULL;
	const char *why = NULL;
	struct bdev_common c;
	uint8_t uuid[16];
	int error;

	if (!rpc_params(call, &p))
		return;
	c = (struct bdev_common){.name = p.name,
				 .uuid = rpc_uuid(p.uuid, uuid)};
	error = bdev_delay_create(call->control->opt.bdevs, &c, p.base,
				  p.latency, &bdev, &why);
	end_create(call, error, bdev, why);
}

static void create_split(struct rpc_call *call)
{
	struct vbdev_params p = {0};
	const char *why = NULL;
	uint32_t count = 0;
	json_t *names;
	int error;

	if (!rpc_params(call, &p))
		return;
	error = bdev_split_create(call->control->opt.bdevs, p.base,
				  p.split_count, p.split_size_mb << 20, &count,
				  &why);
	if (error < 0) {
		rpc_fail_errno(call, error, why);
		return;
	}
	names = json_array();
	for (uint32_t i = 0; i < count; i++)
		json_array_append_new(names, json_sprintf("%sp%u", p.base, i));
	rpc_done(call, names);
}

static void split_gone(struct bdev_removal *rm)
{
	rpc_true(container_of(rm, struct rpc_call, removal));
}

static void delete_split(struct rpc_call *call)
{
	struct vbdev_params p = {0};
	int error;

	if (!rpc_params(call, &p))
		return;
	call->removal.done = split_gone;
	error = bdev_split_delete(call->control->opt.bdevs, p.base,
				  &call->removal);
	if (error < 0)
		rpc_fail_errno(call, error, NULL);
}

static void delete_passthru(struct rpc_call *call)
{
	rpc_delete_bdev(call, "passthru");
}

static void delete_error(struct rpc_call *call)
{
	rpc_delete_bdev(call, "error");
}

static void delete_delay(struct rpc_call *call)
{
	rpc_delete_bdev(call, "delay");
}

/* ---- Injection. */

struct inject_params {
	const char *name, *io_type, *error_type;
	uint32_t num, corrupt_offset, corrupt_value;
};

static const struct param inject_rows[] = {
	{.name = "name",
	 .type = PARAM_TEXT,
	 .required = true,
	 .offset = AT(struct inject_params, name),
	 .help = "error bdev"},
	{.name = "io_type",
	 .type = PARAM_TEXT,
	 .required = true,
	 .offset = AT(struct inject_params, io_type),
	 .help = "clear, read, write, unmap, flush or all"},
	{.name = "error_type",
	 .type = PARAM_TEXT,
	 .required = true,
	 .offset = AT(struct inject_params, error_type),
	 .help = "failure, nomem, pending or corrupt_data"},
	{.name = "num",
	 .type = PARAM_U32,
	 .fallback = "1",
	 .offset = AT(struct inject_params, num),
	 .help = "how many I/Os it hits"},
	{.name = "corrupt_offset",
	 .type = PARAM_U32,
	 .fallback = "0",
	 .offset = AT(struct inject_params, corrupt_offset),
	 .help = "byte of the I/O that is changed"},
	{.name = "corrupt_value",
	 .type = PARAM_U32,
	 .max = 255,
	 .fallback = "0",
	 .offset = AT(struct inject_params, corrupt_value),
	 .help = "what it is XORed with; 0 = 255"},
	{},
};

#define ALL_OPS ((1u << BDEV_OP_COUNT) - 1)

static const struct {
	const char *name;
	uint32_t ops;
} io_types[] = {
	{"clear", ALL_OPS},	     {"all", ALL_OPS},
	{"read", 1u << BDEV_READ},   {"write", 1u << BDEV_WRITE},
	{"unmap", 1u << BDEV_UNMAP}, {"flush", 1u << BDEV_FLUSH},
};

static const struct {
	const char *name;
	enum bdev_fault fault;
	int error;
} error_types[] = {
	{"failure", BDEV_FAULT_FAIL, -EIO},
	{"nomem", BDEV_FAULT_FAIL, -ENOMEM},
	{"pending", BDEV_FAULT_PENDING, 0},
	{"corrupt_data", BDEV_FAULT_CORRUPT, 0},
};

static bool fill_injection(const struct inject_params *p,
			   struct bdev_injection *inj)
{
	bool typed = false;

	for (size_t i = 0; i < ARRAY_LEN(io_types); i++) {
		if (strcmp(io_types[i].name, p->io_type) == 0)
			inj->ops = io_types[i].ops;
	}
	for (size_t i = 0; i < ARRAY_LEN(error_types); i++) {
		if (strcmp(error_types[i].name, p->error_type) != 0)
			continue;
		inj->fault = error_types[i].fault;
		inj->error = error_types[i].error;
		typed = true;
	}
	if (strcmp(p->io_type, "clear") == 0)
		inj->fault = BDEV_FAULT_NONE;
	return inj->ops != 0 && typed;
}

static void inject(struct rpc_call *call)
{
	struct bdev_injection inj = {0};
	struct inject_params p;
	struct bdev *bdev;
	int error;

	if (!rpc_params(call, &p))
		return;
	inj.count = p.num;
	inj.corrupt_offset = p.corrupt_offset;
	inj.corrupt_value = (uint8_t)p.corrupt_value;
	if (!fill_injection(&p, &inj)) {
		rpc_fail(call, RPC_INVALID_PARAMS,
			 "Invalid parameters: no such io_type or error_type");
		return;
	}
	bdev = rpc_find_bdev(call, p.name, "error");
	if (!bdev)
		return;
	error = bdev_error_inject(bdev, &inj);
	if (error < 0)
		rpc_fail_errno(call, error, NULL);
	else
		rpc_true(call);
}

/* What was held back fails, so that its initiator may try again. */
static void resume_pending(struct rpc_call *call)
{
	struct vbdev_params p = {0};
	struct bdev *bdev;
	int error;

	if (!rpc_params(call, &p) ||
	    !(bdev = rpc_find_bdev(call, p.name, "error")))
		return;
	error = bdev_error_release(bdev, -EIO);
	if (error < 0)
		rpc_fail_errno(call, error, NULL);
	else
		rpc_true(call);
}

/* ---- Latency. */

struct latency_params {
	const char *name, *type;
	uint64_t us;
};

static const struct param latency_rows[] = {
	{.name = "delay_bdev_name",
	 .type = PARAM_TEXT,
	 .required = true,
	 .offset = AT(struct latency_params, name),
	 .help = "delay bdev"},
	{.name = "latency_type",
	 .type = PARAM_TEXT,
	 .required = true,
	 .offset = AT(struct latency_params, type),
	 .help = "avg_read, p99_read, avg_write or p99_write"},
	{.name = "latency_us",
	 .type = PARAM_U64,
	 .required = true,
	 .max = 3600000000,
	 .offset = AT(struct latency_params, us),
	 .help = "microseconds"},
	{},
};

static void update_latency(struct rpc_call *call)
{
	static const char *const types[BDEV_LATENCY_COUNT] = {
		[BDEV_AVG_READ] = "avg_read",
		[BDEV_P99_READ] = "p99_read",
		[BDEV_AVG_WRITE] = "avg_write",
		[BDEV_P99_WRITE] = "p99_write",
	};
	struct latency_params p;
	struct bdev *bdev;

	if (!rpc_params(call, &p) ||
	    !(bdev = rpc_find_bdev(call, p.name, "delay")))
		return;
	for (int i = 0; i < BDEV_LATENCY_COUNT; i++) {
		if (strcmp(types[i], p.type) != 0)
			continue;
		if (bdev_delay_update(bdev, (enum bdev_latency)i, p.us) < 0)
			break;
		rpc_true(call);
		return;
	}
	rpc_fail(call, RPC_INVALID_PARAMS,
		 "Invalid parameters: no such latency_type");
}

/* ---- What a saved configuration says of them. */

static json_t *save_delay(const struct bdev *b, json_t *o)
{
	static const char *const names[BDEV_LATENCY_COUNT] = {
		[BDEV_AVG_READ] = "avg_read_latency",
		[BDEV_P99_READ] = "p99_read_latency",
		[BDEV_AVG_WRITE] = "avg_write_latency",
		[BDEV_P99_WRITE] = "p99_write_latency",
	};

	for (int i = 0; i < BDEV_LATENCY_COUNT; i++)
		json_object_set_new(o, names[i],
				    json_integer((json_int_t)bdev_delay_get(
					    b, (enum bdev_latency)i)));
	return o;
}

/* The first part speaks for all of its base. */
static bool save_split(struct control *c, json_t *config, const struct bdev *b,
		       const struct bdev *base)
{
	char name[BDEV_NAME_MAX + 16];
	uint64_t mib = bdev_size(b) >> 20;
	uint32_t count = 0;

	snprintf(name, sizeof(name), "%sp0", base->name);
	if (strcmp(name, b->name) != 0)
		return true;
	do {
		snprintf(name, sizeof(name), "%sp%u", base->name, ++count);
	} while (bdev_find(c->opt.bdevs, name));
	/* A size that is no MiB came from cutting into equal parts. */
	if (mib << 20 != bdev_size(b))
		mib = 0;
	return rpc_config_add(config, "bdev_split_create",
			      json_pack("{s:s, s:i, s:I}", "base_bdev",
					base->name, "split_count", (int)count,
					"split_size_mb", (json_int_t)mib));
}

bool rpc_save_vbdev(struct control *c, json_t *config, const struct bdev *b,
		    const struct bdev *base)
{
	char uuid[UUID_TEXT_MAX];
	json_t *o;

	rpc_uuid_text(b->uuid, uuid, sizeof(uuid));
	if (strcmp(b->driver->name, "split") == 0)
		return save_split(c, config, b, base);
	if (strcmp(b->driver->name, "error") == 0)
		return rpc_config_add(config, "bdev_error_create",
				      json_pack("{s:s, s:s}", "base_name",
						base->name, "uuid", uuid));
	o = json_pack("{s:s, s:s, s:s}", "name", b->name, "base_bdev_name",
		      base->name, "uuid", uuid);
	if (strcmp(b->driver->name, "delay") == 0)
		return rpc_config_add(config, "bdev_delay_create",
				      save_delay(b, o));
	return rpc_config_add(config, "bdev_passthru_create", o);
}

const struct rpc_method rpc_vbdev_methods[] = {
	{"bdev_passthru_create",
	 {"construct_passthru_bdev"},
	 RPC_RUNTIME,
	 passthru_rows,
	 create_passthru,
	 "The same disk by another name."},
	{"bdev_passthru_delete",
	 {"delete_passthru_bdev"},
	 RPC_RUNTIME,
	 name_rows,
	 delete_passthru,
	 "Deletes it."},
	{"bdev_error_create",
	 {"construct_error_bdev"},
	 RPC_RUNTIME,
	 error_rows,
	 create_error,
	 "EE_<base>: a disk that can be told to fail."},
	{"bdev_error_delete",
	 {"delete_error_bdev"},
	 RPC_RUNTIME,
	 name_rows,
	 delete_error,
	 "Deletes it."},
	{"bdev_error_inject_error",
	 {"bdev_inject_error"},
	 RPC_RUNTIME,
	 inject_rows,
	 inject,
	 "Tells it to fail."},
	{"bdev_error_resume_pending",
	 {},
	 RPC_RUNTIME,
	 name_rows,
	 resume_pending,
	 "Ends, with an error, what it holds back."},
	{"bdev_delay_create",
	 {},
	 RPC_RUNTIME,
	 delay_rows,
	 create_delay,
	 "A disk that takes its time."},
	{"bdev_delay_delete",
	 {},
	 RPC_RUNTIME,
	 name_rows,
	 delete_delay,
	 "Deletes it."},
	{"bdev_delay_update_latency",
	 {},
	 RPC_RUNTIME,
	 latency_rows,
	 update_latency,
	 "Changes how much."},
	{"bdev_split_create",
	 {"construct_split_vbdev"},
	 RPC_RUNTIME,
	 split_rows,
	 create_split,
	 "Cuts a disk into parts."},
	{"bdev_split_delete",
	 {"destruct_split_vbdev"},
	 RPC_RUNTIME,
	 base_rows,
	 delete_split,
	 "Deletes the parts of a disk."},
	{},
};
