/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * JSON-RPC on a UNIX socket that only its owner may open. A lock file beside
 * it tells a live server from the socket that a dead one left behind.
 * Control reactor.
 */
#pragma once

#include "control/control.h"
#include "reactor/reactor.h"

#define RPC_CLIENTS_MAX 64

struct rpc_server;

/*
 * Listens on @path. 0; -EADDRINUSE: another process serves it; -errno. On
 * failure *@ret_why is a line for the user, valid until the next call.
 */
int rpc_server_create(struct reactors *set, struct control *control,
		      const char *path, struct rpc_server **ret,
		      const char **ret_why);

/* Closes everything; then @done, from the loop, and nothing is left of it. */
void rpc_server_destroy(struct rpc_server *s, void (*done)(void *ctx),
			void *ctx);
