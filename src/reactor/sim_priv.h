/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The insides of the simulated engine. reactor_sim.c has the world: reactors,
 * clock, order of events, mail, files. sim_net.c has its network.
 *
 * Everything that will happen is an event with a time. The next one is that
 * with the least time, and among equals that with the least random number; so
 * the latencies that the generator deals out are the order of the world.
 * Nothing else may decide: no address, no clock of the host.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/list.h"
#include "reactor/engine.h"
#include "reactor/reactor_sim.h"

/* What an event is, for the trace. */
enum sim_kind {
	SIM_MAIL = 1,
	SIM_IO,
	SIM_OFFLOAD,
	SIM_TIMERS,
	SIM_BATCH_END,
	SIM_RX,
	SIM_TX,
	SIM_RELEASED,
	SIM_DETACHED,
	SIM_ACCEPT,
	SIM_LISTENER_RELEASED,
};

struct sim;

struct sim_event {
	uint64_t due_ns;
	uint64_t tie;  /* random; decides among equals */
	uint32_t slot; /* place in the heap, 0 when off */
	uint32_t id;   /* for the trace: handle, number */
	enum sim_kind kind;
	struct reactor *reactor; /* in whose loop it runs */
	void (*run)(struct sim *sim, struct sim_event *ev);
};

/* Mail from one reactor (or from outside) to one reactor, in order. */
struct sim_mailbox {
	struct sim_event event;
	struct mail *head, **tail;
};

struct sim_reactor {
	struct reactor base;
	struct sim_event batch_end;
	struct sim_mailbox *boxes; /* [sender], the last one: outside */
};

struct sim {
	struct reactors base;
	struct sim_options opt;
	uint64_t random; /* state of the generator */
	uint64_t now_ns;
	uint64_t hash;
	uint64_t nevents;
	bool stopped;

	struct sim_event **heap; /* 1..nheap */
	uint32_t nheap, heap_cap;

	struct list ios; /* struct sim_io, under way */
	uint32_t next_io;

	/* The network. */
	struct list listeners;	 /* struct sim_listener */
	struct sim_peer **peers; /* [handle - SIM_HANDLE_BASE] */
	uint32_t npeers, peers_cap;
	uint32_t next_listener;
	uint32_t next_port;
};

/* Far from any descriptor, so that close() on one can do no harm. */
#define SIM_HANDLE_BASE 0x40000000

static inline struct sim *sim_of(struct reactors *set)
{
	return (struct sim *)set;
}

/* ---- The generator. */
uint64_t sim_rand(struct sim *sim);
/* 0..n-1. @n > 0. */
uint64_t sim_rand_below(struct sim *sim, uint64_t n);
/* True @per_mille times in 1000. */
bool sim_chance(struct sim *sim, uint32_t per_mille);

/* ---- Events. */
void sim_event_init(struct sim_event *ev, enum sim_kind kind, uint32_t id,
		    void (*run)(struct sim *sim, struct sim_event *ev));
/* Due after a random latency, in the loop of @r. Not when it is on already. */
void sim_event_arm(struct sim *sim, struct sim_event *ev, struct reactor *r);
void sim_event_cancel(struct sim *sim, struct sim_event *ev);
void sim_trace(struct sim *sim, uint64_t value);

static inline bool sim_event_armed(const struct sim_event *ev)
{
	return ev->slot != 0;
}

/* ---- sim_net.c */
void sim_net_init(struct sim *sim);
void sim_net_deinit(struct sim *sim);
void sim_stream_attach(struct stream *s, struct reactor *r, int fd,
		       const struct stream_ops *ops);
void sim_stream_detach(struct stream *s, void (*detached)(struct stream *s));
void sim_stream_send(struct stream *s, struct iovec *iov, unsigned int iovcnt);
void sim_stream_recv_direct(struct stream *s, void *dst, size_t len);
bool sim_stream_recv_undirect(struct stream *s);
void sim_stream_pause(struct stream *s);
void sim_stream_resume(struct stream *s);
void sim_stream_close(struct stream *s);
void sim_stream_local_addr(const struct stream *s,
			   struct sockaddr_storage *ret);
void sim_stream_peer_addr(const struct stream *s, struct sockaddr_storage *ret);
int sim_listener_open(struct listener *l, struct reactor *r,
		      const struct sockaddr *addr, socklen_t addr_len,
		      unsigned int mode);
void sim_listener_close(struct listener *l);
