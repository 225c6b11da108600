/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * blast: an iSCSI load generator that is cheaper than any target, so that the
 * target is the bottleneck. One thread, epoll; large payloads are discarded by
 * the kernel, and what is written is one pattern over and over. What it checks
 * are sequence numbers, statuses, residuals and digests, since a target could
 * be fast by leaving things out.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "iscsi/iscsi_spec.h"

#define DEPTH_MAX   1024u
#define CONNS_MAX   64u
#define RX_BYTES    (256u << 10)
#define PATTERN_MAX (256u << 10) /* payload of one PDU that is sent */
#define OUT_MAX	    8192u	 /* PDUs in line; a power of two */
#define TEXT_MAX    4096u
#define LATENCIES   (64u * 32u)

enum workload { RANDREAD, RANDWRITE, MIX, READ, WRITE, WORKLOADS };

struct options {
	const char *host, *port, *iqn;
	uint8_t lun;
	enum workload workload;
	uint32_t bytes, depth, conns;
	double seconds;
	int pid, cpu;
	bool header_digest, data_digest;
	bool json;
};

/* What is measured. */
struct figures {
	uint64_t ios, bytes, errors;
	uint64_t latency[LATENCIES]; /* 32 steps in every power of two ns */
};

struct out_pdu {
	uint8_t head[BHS_LEN + DIGEST_LEN];
	uint8_t tail[DIGEST_LEN];
	uint32_t data_len;
};

struct request {
	uint64_t began_ns;
	uint32_t datasn;   /* of the next Data-In or R2T */
	uint32_t received; /* bytes of Data-In */
	bool write, busy;
};

struct blast;

struct client {
	struct blast *blast;
	int fd;
	uint32_t cmdsn, expstatsn, maxcmdsn;
	/* Negotiated. */
	uint32_t mrdsl, first_burst;
	bool immediate, initial_r2t;
	bool header_digest, data_digest;
	/* Receiving. */
	uint8_t *rx;
	size_t rx_len;
	uint8_t head[BHS_LEN]; /* of the PDU whose payload is coming */
	uint32_t left;	       /* payload and padding to come */
	uint32_t tail_left;    /* bytes of its digest to come */
	uint32_t crc;
	uint8_t tail[DIGEST_LEN];
	bool in_payload;
	/* Sending. */
	struct out_pdu *out;
	uint32_t out_first, out_count;
	size_t out_sent; /* bytes of the first */
	bool waits_for_room;
	/* Work. */
	uint32_t tags[DEPTH_MAX], ntags; /* that are free */
	struct request requests[DEPTH_MAX];
	uint64_t next_lba;
};

struct blast {
	struct options opt;
	struct client *clients;
	int epoll;
	uint64_t nblocks;
	uint32_t block_size;
	uint64_t random;
	uint64_t now_ns; /* sampled once per batch of events */
	struct figures figures;
	uint8_t pattern[PATTERN_MAX];
	uint32_t pattern_len, pattern_crc; /* the digest computed last */
};

_Noreturn void die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
uint64_t clock_ns(void);

/* blast_login.c: blocking calls, before the measurement. */
void client_login(struct client *c, uint32_t index);
/* Sets the geometry of @blast. */
void client_capacity(struct client *c);

/* blast_io.c: PDUs over a socket that does not block. */
/* Issues as many commands as depth and window allow. */
void client_issue(struct client *c);
/* Sends what the socket takes. */
void client_flush(struct client *c, uint32_t index);
/* Takes what has come. */
void client_receive(struct client *c);
