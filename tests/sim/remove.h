/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The sessions of the test of disks that leave: LUN 0 stays (the witness), LUN
 * 1 leaves (the victim) and comes back.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bdev/vbdev.h"
#include "initiator.h"
#include "model.h"
#include "scsi/lun.h"
#include "world.h"

#define RSESS_MAX     8
#define RDEPTH_MAX    32
#define RWITNESS_MAX  2 /* in flight, of a session */
#define RJOBS_MAX     (RDEPTH_MAX + RWITNESS_MAX)
#define VICTIM_BYTES  (8u << 20)
#define WITNESS_BYTES (1u << 20)
#define LUN_WITNESS   0
#define LUN_VICTIM    1
/* The session that brings the phase about. */
#define ACTOR 0
/* What each does with LUN 0 while LUN 1 leaves. */
#define WITNESS_QUOTA 4
/* Virtual time; for what other disks do nobody waits that long. */
#define WITNESS_MAX_NS 1000000000ull

enum remove_phase {
	PHASE_R2T,
	PHASE_DATA_OUT,
	PHASE_DELAY,
	PHASE_PENDING,
	PHASE_FILE,
	PHASE_DATA_IN,
	PHASE_ABORT,
	PHASE_RESET,
	PHASE_LOGOUT,
	PHASES
};

enum remove_stack { STACK_NONE, STACK_DELAY, STACK_ERROR, STACKS };

enum remove_stage {
	STAGE_LOGIN,
	STAGE_LOAD,
	STAGE_REMOVING,
	STAGE_GONE,
	STAGE_BACK,
	STAGE_LOGOUT,
	STAGE_END,
};

struct remove_test;

/* How a command may end. */
enum rjob_expect {
	EXPECT_LOAD,   /* as the disk is, or is not any more */
	EXPECT_GOOD,   /* after unit attentions */
	EXPECT_ABSENT, /* LOGICAL UNIT NOT SUPPORTED */
};

struct rjob {
	struct ini_cmd cmd;
	struct rsess *s;
	enum rjob_expect expect;
	bool busy, model; /* @model: it is in the model */
	bool lost;	  /* with its connection, but may still go on */
	bool late;	  /* begun when the disk was gone for good */
	bool doomed;	  /* perhaps ended by another's reset */
	uint8_t lun;
	uint32_t lba, n, id;
	uint64_t begun_ns;
	uint8_t *buf;
	uint32_t cap;
};

struct rsess {
	struct remove_test *t;
	uint32_t index;
	struct initiator ini;
	struct ini_options opt;
	char name[64], label[16];
	struct sim_peer *peer;
	bool ready; /* logged in */
	bool out;   /* logged out */
	bool held;  /* sends, or takes, nothing */
	bool fresh; /* logged in after the disk had gone */
	uint32_t nbusy, nwitness;
	uint32_t witness_left, victim_left;
	uint32_t script; /* which step of the stage */
	uint32_t script_lba;
	bool told; /* LUN 0 has said that the LUNs have changed */
	struct rjob jobs[RJOBS_MAX];
	struct ini_tmf tmf;
	bool tmf_busy;
	struct ini_logout logout;
};

struct remove_counts {
	uint64_t met[PHASES];
	uint64_t good, task_aborted, not_present, not_supported, aborted;
	uint64_t told, witness, witness_max_ns, held, busy, steps;
};

struct remove_test {
	struct world w;
	struct model models[2];
	struct rsess sess[RSESS_MAX];
	uint32_t nsess, depth;
	uint64_t random;
	bool verbose;
	enum remove_phase phase;
	enum remove_stack stack;
	enum remove_stage stage;
	bool file, remove_base;
	int fd;
	uint32_t wait; /* steps until it goes; UINT32_MAX: not yet */
	struct mail mail;
	struct bdev_removal removal;
	bool removed;
	struct remove_counts counts;
};

uint64_t remove_random(struct remove_test *t, uint64_t n);

void rsess_init(struct remove_test *t, struct rsess *s, uint32_t index);
void rsess_deinit(struct rsess *s);
/* Moves bytes and goes on. True when something has happened. */
bool rsess_turn(struct rsess *s);
/* A new stage begins. */
void rsess_stage(struct rsess *s);
/* Has done all that the stage asks for. */
bool rsess_over(const struct rsess *s);
/* Nothing of it is in flight. */
bool rsess_quiet(const struct rsess *s);
/* It goes on after it held back. */
void rsess_release(struct rsess *s);
/* Gives up what a reset of another session has ended. */
bool rsess_bury(struct rsess *s);
/* A write to LUN 1 with an R2T and no data, or (@some) a part of it. */
bool rsess_waits_for_data(const struct rsess *s, bool some);
/* A read of LUN 1 with a part of its data. */
bool rsess_half_read(const struct rsess *s);
