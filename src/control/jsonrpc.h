/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * JSON-RPC 2.0 over a stream of bytes: requests in, one after the other, split
 * anywhere or many at once, alone or in batches; replies out, each one line.
 * No I/O. Control reactor.
 *
 * A request of several calls that end later is answered in the order in which
 * they end; the "id" tells them apart. A batch is answered as a whole.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "control/json_scan.h"
#include "control/rpc.h"

#define JSONRPC_REQUEST_MAX (8u << 20) /* bytes of one request */
#define JSONRPC_CALLS_MAX   256u       /* under way; beyond: it waits */

struct jsonrpc;

struct jsonrpc_ops {
	/* Runs the call (rpc_start(), or a test's own). */
	void (*start)(struct jsonrpc *j, struct rpc_call *call);
	/* A reply: @text (malloc'ed, now the callee's) and its length. */
	void (*send)(struct jsonrpc *j, char *text, size_t len);
	/* Optional: a call has ended; there may be room for more. */
	void (*ended)(struct jsonrpc *j);
};

struct jsonrpc {
	const struct jsonrpc_ops *ops;
	struct control *control;
	struct json_scan scan;
	struct buf in;	   /* the request in hand */
	struct list calls; /* under way */
	uint32_t ncalls;
	bool hold;   /* the owner's: take nothing now */
	bool broken; /* no JSON any more: answered; hang up */
};

void jsonrpc_init(struct jsonrpc *j, const struct jsonrpc_ops *ops,
		  struct control *control);
/* Calls under way go on, unheard. */
void jsonrpc_deinit(struct jsonrpc *j);

/*
 * Returns how many bytes were taken: fewer than @len when JSONRPC_CALLS_MAX
 * are under way or the owner holds it (the rest is to be given again later),
 * or broken.
 */
size_t jsonrpc_feed(struct jsonrpc *j, const uint8_t *buf, size_t len);

/*
 * The bytes are over: a number at the top level ends with them. (It is no
 * request, but it gets its answer.)
 */
void jsonrpc_end(struct jsonrpc *j);
