/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The simulated engine: reactors, network, disks and clock of a whole world in
 * one thread, in an order that the seed decides and repeats exactly.
 *
 * A test creates a world, starts the target on its reactors, connects peers,
 * and turns the world until it is quiet.
 */
#pragma once

#include "reactor/reactor.h"

struct sim_options {
	uint64_t seed;
	uint32_t nreactors;
	/* Chances in 1000. */
	uint32_t short_recv;	 /* a receive is cut at a random byte */
	uint32_t short_send;	 /* the socket takes only a part now */
	uint32_t io_error;	 /* a file operation fails with EIO */
	uint32_t short_io;	 /* a file operation does a part */
	uint64_t latency_max_ns; /* of a completion, uniformly from 0 */
};

/* The set is used with the functions of reactor.h; reactors_run() is not. */
int sim_create(const struct sim_options *opt, struct reactors **ret_set);

/*
 * One event: picks one runnable thing (a mail, a completion, bytes in flight,
 * an expired timer) and runs it. When nothing is runnable, time jumps to the
 * next timer or completion that is due within @limit_ns from now. False when
 * there was nothing to do.
 */
bool sim_step(struct reactors *set, uint64_t limit_ns);

/* Steps until @quiet(ctx) or nothing is left to do within @limit_ns of virtual
 * time; true when quiet() said so. */
bool sim_run_until(struct reactors *set, bool (*quiet)(void *ctx), void *ctx,
		   uint64_t limit_ns);

uint64_t sim_now_ns(struct reactors *set);
uint64_t sim_random(struct reactors *set); /* the world's generator */
/* A hash over every event so far: equal seeds must give equal hashes. */
uint64_t sim_trace_hash(struct reactors *set);

/* ---- A peer: the far end of a connection, driven by the test. */
struct sim_peer;

/* Connects to the listener bound to @addr; NULL when nobody listens. */
struct sim_peer *sim_connect(struct reactors *set, const struct sockaddr *addr,
			     socklen_t addr_len);
/* Queues bytes towards the target; they arrive in pieces, in order. */
void sim_peer_send(struct sim_peer *p, const void *data, size_t len);
/* What has arrived from the target and was not taken yet. */
size_t sim_peer_recv(struct sim_peer *p, void *buf, size_t len);
size_t sim_peer_readable(const struct sim_peer *p);
/* The peer's receive buffer: the target's sends wait beyond it. */
void sim_peer_set_window(struct sim_peer *p, size_t bytes);
/* Did the target close? */
bool sim_peer_closed(const struct sim_peer *p);
void sim_peer_shutdown(struct sim_peer *p); /* FIN */
void sim_peer_reset(struct sim_peer *p);    /* RST */
/* After close in both directions, or never mind: frees it. */
void sim_peer_free(struct sim_peer *p);

/*
 * In the simulator descriptors of streams are handles of the world; file
 * operations act on real descriptors (memfd), when their completion is picked.
 * socket_names() below works on both.
 */
