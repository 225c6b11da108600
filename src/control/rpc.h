/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One method of the control interface, called: by JSON-RPC, or by the
 * configuration, which is a list of such calls. All on the control reactor.
 *
 * A method is a row with its name, the names that it had in earlier versions
 * of SPDK, the states that it may be called in, its parameters, and a function
 * that ends each call exactly once, at once or later, by rpc_done() or
 * rpc_fail().
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bdev/bdev.h"
#include "control/params.h"
#include "iscsi/server.h"
#include "scsi/device.h"

#define RPC_MESSAGE_MAX 512 /* bytes of an error message */
#define RPC_NAME_MAX	128 /* bytes of a method's name */

enum rpc_code {
	RPC_PARSE_ERROR = -32700,
	RPC_INVALID_REQUEST = -32600,
	RPC_METHOD_NOT_FOUND = -32601,
	RPC_INVALID_PARAMS = -32602,
	RPC_INTERNAL_ERROR = -32603,
	RPC_INVALID_STATE = -1,
};

enum rpc_states {
	RPC_STARTUP = 1 << 0, /* before framework_start_init */
	RPC_RUNTIME = 1 << 1,
	RPC_STOPPING = 1 << 2, /* no method may be called */
	RPC_ALWAYS = RPC_STARTUP | RPC_RUNTIME,
};

struct control;
struct rpc_call;

struct rpc_method {
	const char *name;
	const char *old[4]; /* earlier names, NULL ends them */
	unsigned int states;
	const struct param *params; /* NULL: takes none */
	void (*run)(struct rpc_call *call);
	const char *help;
};

struct rpc_call {
	/* ---- Set by the caller. */
	struct control *control;
	const char *name; /* as called; one of the method's */
	json_t *params;	  /* borrowed until done; may be NULL */
	bool internal;	  /* the configuration: any state */
	/* The call has its result or its code; from inside rpc_start() or
	 * later. The last that happens to it. */
	void (*done)(struct rpc_call *call);
	/* ---- Returned. */
	json_t *result; /* the caller's to free; NULL: failed */
	int code;
	char message[RPC_MESSAGE_MAX];
	/* ---- The method's. */
	const struct rpc_method *method;
	uint64_t given; /* which parameters, by row */
	struct scsi_change change;
	struct bdev_removal removal;
	struct iscsi_request request;
	struct fanout fanout;
	struct list wait_link; /* framework_wait_init */
	void *priv;
};

/* Tables of methods, ended by a row without a name. In methods.c. */
extern const struct rpc_method *const rpc_tables[];

/* By any of its names. NULL: none. */
const struct rpc_method *rpc_find(const char *name);

/* Runs the method of call->name. */
void rpc_start(struct rpc_call *call);

/* Are there such a method and parameters? 0, or -EINVAL with @why. */
int rpc_check(const char *name, json_t *params, char *why, size_t size);

/* ---- For methods. */

/* Decodes the parameters into @out; false: the call has failed. */
bool rpc_params(struct rpc_call *call, void *out);

/* Was an earlier name used? Then results have the shape that came with it. */
bool rpc_is_old(const struct rpc_call *call);

/* Takes @result over; NULL means that memory was short. */
void rpc_done(struct rpc_call *call, json_t *result);
void rpc_true(struct rpc_call *call);

void rpc_fail(struct rpc_call *call, int code, const char *fmt, ...)
	printf_like(3, 4);
/* Of our errors: -EINVAL is the caller's fault; others keep their number, as
 * SPDK's clients expect, but for old names, which know -32602 only. */
void rpc_fail_errno(struct rpc_call *call, int error, const char *why);

/* ---- Getters and savers that more than one file needs. */

/* Appends {"method", "params"}; takes @params over. False: no memory. */
bool rpc_config_add(json_t *config, const char *method, json_t *params);
/* The configuration of one subsystem: an array, or NULL. */
json_t *rpc_config_bdev(struct control *c);
json_t *rpc_config_iscsi(struct control *c);
