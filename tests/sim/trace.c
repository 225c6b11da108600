/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A fixed trace: the same commands in the same order, for valgrind to count
 * what the target needs for each. Instructions are counted from the moment
 * when all have logged in to that when the last answer is there.
 *
 *   trace CASE [--sessions N] [--targets N] [--luns N] [--reactors N]
 *              [--depth N]
 *
 * Its output is the number of I/Os (or logins) that were counted.
 * tests/sim/instructions.py runs it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <valgrind/callgrind.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/macros.h"
#include "initiator.h"
#include "world.h"

#define SESSIONS_MAX 256u
#define DEPTH_MAX    32u
#define IO_MAX	     4096u
#define DISK_BYTES   (1u << 20)
#define BLOCK	     512u
/* Of every session before the count begins: caches of all kinds are filled. */
#define WARM_UP 2u /* times the depth */
#define CHUNK	(256u << 10)
#define STEP_NS 1000000ull
/* Far more than any case needs. */
#define TURNS_MAX 10000000u

struct trace_case {
	const char *name;
	uint32_t len; /* 0: logins */
	bool write, solicited, digests;
	uint32_t ios; /* batches of the queue's depth */
};

static const struct trace_case cases[] = {
	{"read", 4096, .ios = 32},
	{"write", 4096, .write = true, .ios = 32},
	{"r2t-write", 4096, .write = true, .solicited = true, .ios = 32},
	{"read-digests", 4096, .digests = true, .ios = 32},
	{"write-digests", 4096, .write = true, .digests = true, .ios = 32},
	{"login", 0, .ios = 1},
};

struct session;

struct slot {
	struct ini_cmd cmd;
	struct session *s;
	uint8_t *buf;
};

struct session {
	struct trace *t;
	char name[64];
	struct ini_options opt;
	struct initiator ini;
	struct sim_peer *peer;
	struct slot slots[DEPTH_MAX];
	uint32_t nbusy, left, next;
	struct ini_logout logout;
};

struct trace {
	struct world w;
	const struct trace_case *of;
	uint32_t nsessions, ntargets, nluns, nreactors, depth;
	uint32_t made;	 /* targets or LUNs so far */
	bool unmeasured; /* errors of unit attentions are allowed */
	struct session *sessions;
};

static _Noreturn void fail(const char *why)
{
	fprintf(stderr, "trace: %s\n", why);
	exit(1);
}

/* ------------------------------------------------------------------------
 * The world.
 */

static struct trace *trace_of(struct world *w)
{
	return container_of(w, struct trace, w);
}

static void one_done(struct scsi_change *c)
{
	struct world *w = container_of(c, struct world, change);

	if (c->result)
		world_fail(w, "a LUN: %d", c->result);
	w->pending--;
}

static void add_lun(struct world *w)
{
	struct trace *t = trace_of(w);
	struct bdev *b;
	char name[16];
	struct bdev_common common = {.name = name};

	snprintf(name, sizeof(name), "extra%u", t->made);
	if (bdev_malloc_create(w->bdevs, &common, DISK_BYTES / BLOCK, BLOCK, &b,
			       NULL))
		fail("no disk");
	w->change.done = one_done;
	w->pending++;
	if (scsi_device_add_lun(w->node->device, (int)t->made, name, NULL,
				&w->change))
		fail("no LUN");
}

static void add_target(struct world *w)
{
	struct trace *t = trace_of(w);
	struct target_node *node;
	const char *why = NULL;
	char name[64];

	snprintf(name, sizeof(name), "iqn.2016-06.io.spdk:other%u", t->made);
	if (target_node_create(w->targets, name, NULL, "iqn.2016-06.io.spdk",
			       &node, &why) ||
	    target_node_add_map(node, 1, 1, &why))
		fail(why ? why : "no target");
}

static void build_world(struct trace *t)
{
	struct world_options o = {
		.sim = {.seed = 1, .nreactors = t->nreactors},
		.nluns = 1,
		.luns[0] = {.block_size = BLOCK, .nblocks = DISK_BYTES / BLOCK},
	};

	iscsi_options_default(&o.iscsi);
	o.iscsi.max_sessions = SESSIONS_MAX;
	if (!world_start(&t->w, &o))
		fail(t->w.error);
	for (t->made = 1; t->made < t->nluns; t->made++)
		if (!world_do(&t->w, add_lun))
			fail(t->w.error);
	for (t->made = 1; t->made < t->ntargets; t->made++)
		if (!world_do(&t->w, add_target))
			fail(t->w.error);
}

/* ------------------------------------------------------------------------
 * Sessions.
 */

/* Moves what both ends have to say. True: something moved. */
static bool exchange(struct session *s)
{
	static uint8_t chunk[CHUNK];
	bool moved = false;
	size_t n;

	while ((n = sim_peer_recv(s->peer, chunk, sizeof(chunk))) > 0) {
		if (!ini_feed(&s->ini, chunk, n))
			fail(s->ini.error);
		moved = true;
	}
	ini_produce(&s->ini, CHUNK);
	while ((n = ini_take(&s->ini, chunk, sizeof(chunk))) > 0) {
		sim_peer_send(s->peer, chunk, n);
		ini_produce(&s->ini, CHUNK);
		moved = true;
	}
	return moved;
}

/* The target does all it can. */
static void run_world(struct trace *t)
{
	while (sim_step(t->w.set, STEP_NS))
		continue;
}

static void connect_session(struct session *s)
{
	s->peer = world_connect(&s->t->w);
	if (!s->peer)
		fail("nobody listens");
	sim_peer_set_window(s->peer, 4u << 20);
	ini_init(&s->ini, &s->opt);
	ini_start(&s->ini);
	for (uint32_t i = 0; s->ini.state == INI_LOGIN; i++) {
		if (i == TURNS_MAX)
			fail("a login does not end");
		exchange(s);
		run_world(s->t);
	}
	if (s->ini.state != INI_RUNNING)
		fail("a login failed");
}

static void init_session(struct trace *t, uint32_t index)
{
	struct session *s = &t->sessions[index];

	s->t = t;
	snprintf(s->name, sizeof(s->name), "iqn.2016-04.com.example:%u", index);
	s->opt = (struct ini_options){
		.initiator = s->name,
		.target = WORLD_TARGET,
		.isid = {0x80, 0, 0, 1, 0, 0},
		.cmdsn = 1,
		.security_stage = true,
		.header_digest = t->of->digests,
		.data_digest = t->of->digests,
		.offer_r2t = true,
		.initial_r2t = t->of->solicited,
		.offer_immediate = true,
		.immediate_data = !t->of->solicited,
		.max_burst = 262144,
		.first_burst = 65536,
		.mrdsl = 262144,
	};
	for (uint32_t i = 0; i < DEPTH_MAX; i++) {
		s->slots[i].s = s;
		s->slots[i].buf = calloc(1, IO_MAX);
		if (!s->slots[i].buf)
			fail("no memory");
	}
}

/* ------------------------------------------------------------------------
 * I/O.
 */

static void io_done(struct initiator *ini, struct ini_req *req)
{
	struct slot *slot = container_of(req, struct slot, cmd.req);

	(void)ini;
	slot->s->nbusy--;
	if (slot->cmd.status != 0 && !slot->s->t->unmeasured)
		fail("a command failed");
}

static void submit(struct session *s, struct slot *slot)
{
	const struct trace *t = s->t;
	struct ini_cmd *cmd = &slot->cmd;
	uint32_t nblocks = t->of->len / BLOCK;
	uint32_t n = s->next++;

	memset(cmd, 0, sizeof(*cmd));
	cmd->req.done = io_done;
	cmd->req.lun = ini_lun((uint8_t)(n % t->nluns));
	cmd->attr = 1;
	cmd->read = !t->of->write;
	cmd->write = t->of->write;
	cmd->data = slot->buf;
	cmd->edtl = t->of->len;
	cmd->cdb[0] = t->of->write ? 0x8a : 0x88;
	store_be64(cmd->cdb + 2, (uint64_t)n * nblocks % (DISK_BYTES / BLOCK));
	store_be32(cmd->cdb + 10, nblocks);
	s->nbusy++;
	ini_submit(&s->ini, cmd);
}

/* Batches of the queue's depth, until each session has done @n of them. */
static void run_ios(struct trace *t, uint32_t n)
{
	bool busy = true;

	for (uint32_t i = 0; i < t->nsessions; i++)
		t->sessions[i].left = n;
	for (uint32_t turn = 0; busy; turn++) {
		if (turn == TURNS_MAX)
			fail("the I/Os do not end");
		busy = false;
		for (uint32_t i = 0; i < t->nsessions; i++) {
			struct session *s = &t->sessions[i];

			if (s->nbusy == 0 && s->left > 0) {
				s->left--;
				for (uint32_t d = 0; d < t->depth; d++)
					submit(s, &s->slots[d]);
			}
			exchange(s);
			busy |= s->nbusy > 0 || s->left > 0;
		}
		run_world(t);
	}
}

/* Unit attentions are taken, and each LUN is used once at least. */
static void warm_up(struct trace *t)
{
	t->unmeasured = true;
	run_ios(t, WARM_UP * (1 + t->nluns / t->depth));
	t->unmeasured = false;
}

static void count_ios(struct trace *t)
{
	/* Many sessions do as much together as one does alone. */
	uint32_t batches = MAX(t->of->ios / t->nsessions, 2u);

	for (uint32_t i = 0; i < t->nsessions; i++)
		connect_session(&t->sessions[i]);
	warm_up(t);
	CALLGRIND_START_INSTRUMENTATION;
	CALLGRIND_ZERO_STATS;
	run_ios(t, batches);
	CALLGRIND_STOP_INSTRUMENTATION;
	printf("%u\n", t->nsessions * t->depth * batches);
}

/* The last session logs in while all others are there. */
static void count_logins(struct trace *t)
{
	uint32_t last = t->nsessions - 1;

	for (uint32_t i = 0; i < last; i++)
		connect_session(&t->sessions[i]);
	CALLGRIND_START_INSTRUMENTATION;
	CALLGRIND_ZERO_STATS;
	connect_session(&t->sessions[last]);
	CALLGRIND_STOP_INSTRUMENTATION;
	printf("1\n");
}

/* ------------------------------------------------------------------------ */

static uint32_t number(const char *text, uint32_t max)
{
	unsigned long n = strtoul(text, NULL, 10);

	if (n < 1 || n > max)
		fail("a number is out of range");
	return (uint32_t)n;
}

static void parse(struct trace *t, int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < ARRAY_LEN(cases); i++)
		if (!strcmp(argv[1], cases[i].name))
			t->of = &cases[i];
	if (!t->of)
		fail("no such case");
	for (int i = 2; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--sessions"))
			t->nsessions = number(argv[i + 1], SESSIONS_MAX);
		else if (!strcmp(argv[i], "--targets"))
			t->ntargets = number(argv[i + 1], 10000);
		else if (!strcmp(argv[i], "--luns"))
			t->nluns = number(argv[i + 1], SCSI_LUNS_MAX);
		else if (!strcmp(argv[i], "--reactors"))
			t->nreactors = number(argv[i + 1], REACTORS_MAX);
		else if (!strcmp(argv[i], "--depth"))
			t->depth = number(argv[i + 1], DEPTH_MAX);
		else
			fail("no such option");
	}
}

int main(int argc, char **argv)
{
	struct trace *t = calloc(1, sizeof(*t));

	if (!t)
		fail("no memory");
	log_set_print_level(LOG_LEVEL_DISABLED);
	t->nsessions = t->ntargets = t->nluns = t->nreactors = 1;
	t->depth = DEPTH_MAX;
	parse(t, argc, argv);
	t->sessions = calloc(t->nsessions, sizeof(*t->sessions));
	if (!t->sessions)
		fail("no memory");
	for (uint32_t i = 0; i < t->nsessions; i++)
		init_session(t, i);
	build_world(t);
	if (t->of->len > 0)
		count_ios(t);
	else
		count_logins(t);
	return 0;
}
