/* SPDX-License-Identifier: BSD-3-Clause */
/* What several files of methods say alike. */
#pragma once

#include "base/macros.h"
#include "control/rpc.h"
#include "reactor/reactor.h"
#include "target/target.h"

/* 8-4-4-4-12 digits and a NUL. */
#define UUID_TEXT_MAX	37

#define AT(type, field) offsetof(type, field)

/* "0x" and a digit for each four of 4096 CPUs. */
#define CPUMASK_TEXT_MAX (2 + 1024 + 1)

/* The CHAP parameters, by their names of 18.04 and later. */
#define CHAP_ROWS(where, auth)                                                \
	{.name = "disable_chap",                                              \
	 .type = PARAM_FLAG,                                                  \
	 .offset = offsetof(where, auth.disable_chap),                        \
	 .fallback = "false",                                                 \
	 .help = "CHAP is never used"},                                       \
		{.name = "require_chap",                                      \
		 .type = PARAM_FLAG,                                          \
		 .offset = offsetof(where, auth.require_chap),                \
		 .fallback = "false",                                         \
		 .help = "CHAP is needed"},                                   \
		{.name = "mutual_chap",                                       \
		 .type = PARAM_FLAG,                                          \
		 .offset = offsetof(where, auth.mutual_chap),                 \
		 .fallback = "false",                                         \
		 .help = "the target proves itself too (with require_chap)"}, \
	{                                                                     \
		.name = "chap_group", .type = PARAM_INT, .max = INT32_MAX,    \
		.offset = offsetof(where, auth.chap_group), .fallback = "0",  \
		.help = "auth group with the secrets; 0 = none"               \
	}

/* False: the call has failed. */
bool rpc_policy_ok(struct rpc_call *call, const struct auth_policy *p);
void rpc_show_policy(json_t *o, const struct auth_policy *p);

/* Ends a call of the target layer: true, or -32602 with the reason. */
void rpc_end_group(struct rpc_call *call, int error, const char *why);

/* The CPUs of all reactors, "0x3". */
void rpc_cpumask(struct reactors *set, char *text, size_t size);

/* What the result of a constructor of a bdev is: 18.01 gave an array. */
json_t *rpc_bdev_name(const struct rpc_call *call, const char *name);

/* A bdev, of that driver when @driver is given; NULL: the call has failed. */
struct bdev *rpc_find_bdev(struct rpc_call *call, const char *name,
			   const char *driver);

/* The whole of a method with one parameter "name" that deletes a bdev. */
void rpc_delete_bdev(struct rpc_call *call, const char *driver);

/* The 16 bytes of a checked text in @uuid, or NULL for NULL. */
const uint8_t *rpc_uuid(const char *text, uint8_t *uuid);
void rpc_uuid_text(const uint8_t *u, char *text, size_t size);

/* Appends the calls that would make @b on @base. False: no memory. */
bool rpc_save_vbdev(struct control *c, json_t *config, const struct bdev *b,
		    const struct bdev *base);
