/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What one initiator does in the session test: logs in, works on its own part
 * of every disk in a random way, loses its connection now and then, checks all
 * that it reads, and logs out.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "initiator.h"
#include "model.h"
#include "world.h"

#define SESSIONS_MAX 4
#define DEPTH_MAX    32
/* One more for each disk: a probe, when all others may be lost. */
#define JOBS_MAX (DEPTH_MAX + WORLD_LUNS_MAX)
/* Which session resets logical units now and then: one, so that it is clear
 * whose reset a unit attention tells of. */
#define RESETTER 0

struct session_test;

enum job_kind {
	JOB_READ,
	JOB_WRITE,
	JOB_READY, /* TEST UNIT READY */
	JOB_INQUIRY,
	JOB_CAPACITY,
	JOB_SYNC,
};

/* A command, its buffer, and what is expected of it. */
struct job {
	struct ini_cmd cmd;
	struct sess *s;
	enum job_kind kind;
	bool busy;
	bool doomed;  /* perhaps ended by a reset */
	bool refused; /* as it must be */
	uint8_t lun;
	uint32_t lba, n; /* in units of the model */
	uint32_t id;	 /* of the read or write in the model */
	uint32_t len;	 /* bytes that the CDB asks for */
	uint8_t *buf;
	uint32_t cap;
};

enum sess_phase {
	SESS_LOGIN,
	SESS_READY, /* clears the unit attentions */
	SESS_WORK,
	SESS_VERIFY, /* reads all of its parts */
	SESS_LOGOUT,
	SESS_GONE,
};

struct sess {
	struct session_test *t;
	uint32_t index;
	struct initiator ini;
	struct ini_options opt;
	char name[64];
	char label[16];
	struct sim_peer *peer;
	struct sim_peer *left_open; /* abandoned: the target closes it */
	enum sess_phase phase;
	uint32_t depth, left, drops;
	uint32_t base[WORLD_LUNS_MAX], size[WORLD_LUNS_MAX];
	uint8_t ready_lun;
	uint8_t verify_lun;
	uint32_t verify_at, verify_end;
	struct job jobs[JOBS_MAX];
	uint32_t nbusy;
	bool probed; /* since the last unit attention */
	/* Writes of a connection that was lost: over when the next is in. */
	struct {
		uint8_t lun;
		uint32_t id;
	} lost[JOBS_MAX * 4];
	uint32_t nlost;
	struct ini_tmf tmf;
	bool tmf_busy;
	struct ini_nop nop;
	uint8_t nop_data[1024];
	bool nop_busy;
	struct ini_logout logout;
};

/* How often what happened, so that a test can see that it did. */
struct session_counts {
	uint64_t reads, writes, bytes_read, bytes_written;
	uint64_t retries, aborts, resets, swept, drops, io_errors;
	uint64_t overflows, underflows, short_writes;
	uint64_t collapsed, r2ts, unsolicited, logins, steps;
};

struct session_test {
	struct world w;
	struct model models[WORLD_LUNS_MAX];
	struct sess sess[SESSIONS_MAX];
	uint32_t nsess, nluns;
	uint64_t random;
	bool faults; /* of the disks */
	bool verbose;
	uint32_t tmf_chance; /* in 1000, per command */
	struct session_counts counts;
};

uint64_t test_random(struct session_test *t, uint64_t n);

void sess_init(struct session_test *t, struct sess *s, uint32_t index);
void sess_deinit(struct sess *s);
/* Moves bytes and goes on. True when something has happened. */
bool sess_turn(struct sess *s);

/* session_jobs.c */
/* Starts one more command if it can. */
void sess_issue(struct sess *s);
void sess_start_ready(struct sess *s);
void sess_choose_verify(struct sess *s);
void sess_start_verify(struct sess *s);
/* Nothing moves any more: gives up what a reset may have ended, or asks whether
 * there was one. */
bool sess_bury(struct sess *s);
/* Its connection is lost: what becomes of its commands. */
void sess_lose_jobs(struct sess *s);
