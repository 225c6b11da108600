/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One recorded session, and the same again for each of its bytes, in which the
 * connection ends at that byte: of what is sent, and of what is received; by a
 * reset, a FIN, or silence. What follows is nothing, or a login that reinstates
 * the session, or one that is cut too and then one that is not. The seed
 * decides how long the disk takes, so that its completions come before, between
 * and after.
 *
 *   test_cut --seeds 10       every byte, with the seeds 1..10
 *   test_cut --seed 3 --verbose
 *
 * The model of the initiator sees that no task is answered twice and no answer
 * goes to another; the blocks that are read must be those of a write that can
 * have been done; the world sees that nothing is left.
 */
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/macros.h"
#include "initiator.h"
#include "world.h"

#define LIVES_MAX    3
#define BLOCK	     512u
#define BLOCKS	     4u /* of the write that is read again */
#define OTHER_LBA    16u
#define STEPS_MAX    200000u
#define IDLE_NS	     2000000ull
#define PATIENCE_NS  (300 * 1000000000ull)
#define FAILURES_MAX 5
#define READY_TRIES  6

enum cut_way { CUT_RESET, CUT_FIN, CUT_SILENCE };
enum cut_where { CUT_NOWHERE, CUT_SENDING, CUT_RECEIVING };

/* What the session does, one after the other. */
enum step {
	STEP_LOGIN,
	STEP_READY,
	STEP_LOOK, /* what is there from before? */
	STEP_WORK, /* a write, a read, a ping and a text at once */
	STEP_ABORT,
	STEP_CHECK,
	STEP_LOGOUT,
	STEP_END,
};

struct cut {
	enum cut_where where;
	enum cut_way way;
	uint64_t at;
};

struct cut_test {
	struct world w;
	uint64_t seed;
	bool errors, verbose;
	struct cut cuts[LIVES_MAX];
	uint32_t nlives, life;
	struct sim_peer *old[LIVES_MAX];
	/* The values that a block may have: a bit for each life, 0: zeroes. */
	uint32_t values[BLOCKS];

	/* Of this life. */
	struct initiator ini;
	struct sim_peer *peer;
	enum step step;
	uint32_t pending, tries;
	uint64_t sent, received;
	struct ini_cmd write, read, aborted;
	struct ini_tmf tmf;
	struct ini_nop nop;
	struct ini_text text;
	struct ini_logout logout;
	bool tmf_due;
	uint8_t out[BLOCKS * BLOCK], in[BLOCKS * BLOCK], rest[BLOCKS * BLOCK];
};

struct cut_counts {
	uint64_t runs, cuts[3][3], r2ts, unsolicited, aborts, errors, looks;
};

/* ------------------------------------------------------------------------
 * The session.
 */

static void count_down(struct cut_test *t, const struct ini_cmd *c)
{
	uint32_t key = ini_sense(c) >> 16;

	t->pending--;
	if (c->aborted || (c->response == 0 && c->status == 0))
		return;
	if (c->response == 0 && c->status == 2 && key == 3 && t->errors)
		return;
	world_fail(&t->w, "life %u: opcode 0x%02x: response %u, status %u, %x",
		   t->life, c->cdb[0], c->response, c->status, ini_sense(c));
}

static void write_done(struct initiator *ini, struct ini_req *req)
{
	struct cut_test *t = container_of(ini, struct cut_test, ini);

	count_down(t, &t->write);
	(void)req;
	for (uint32_t i = 0; i < BLOCKS && t->write.status == 0; i++)
		t->values[i] = 1u << (t->life + 1);
}

static void read_done(struct initiator *ini, struct ini_req *req)
{
	struct cut_test *t = container_of(ini, struct cut_test, ini);

	(void)req;
	count_down(t, &t->read);
	if (t->read.status != 0 || load_be32(t->read.cdb + 2) == OTHER_LBA)
		return;
	/* Of a write that was cut a part of a block may have been done. */
	for (uint32_t i = 0; i < sizeof(t->in); i++) {
		if (t->in[i] > LIVES_MAX ||
		    !(t->values[i / BLOCK] & 1u << t->in[i])) {
			world_fail(&t->w,
				   "life %u: byte %u is %u, allowed 0x%x",
				   t->life, i, t->in[i], t->values[i / BLOCK]);
			return;
		}
	}
}

static void aborted_done(struct initiator *ini, struct ini_req *req)
{
	struct cut_test *t = container_of(ini, struct cut_test, ini);

	(void)req;
	count_down(t, &t->aborted);
}

static void ready_done(struct initiator *ini, struct ini_req *req)
{
	struct cut_test *t = container_of(ini, struct cut_test, ini);

	(void)req;
	t->pending--;
	/* Unit attentions of the power on, and of the session that was. */
	if (t->read.status == 2 && ini_sense(&t->read) >> 16 == 6 &&
	    ++t->tries < READY_TRIES)
		t->step = STEP_LOGIN;
	else if (t->read.status != 0)
		world_fail(&t->w, "life %u: not ready", t->life);
}

static void other_done(struct initiator *ini, struct ini_req *req)
{
	(void)req;
	container_of(ini, struct cut_test, ini)->pending--;
}

static void start_read(struct cut_test *t, uint32_t lba)
{
	memset(&t->read, 0, sizeof(t->read));
	t->read.req.done = read_done;
	t->read.attr = 1;
	t->read.cdb[0] = 0x28;
	store_be32(t->read.cdb + 2, lba);
	t->read.cdb[8] = BLOCKS;
	t->read.edtl = BLOCKS * BLOCK;
	t->read.read = true;
	t->read.data = t->in;
	t->pending++;
	ini_submit(&t->ini, &t->read);
}

static void start_write(struct cut_test *t, struct ini_cmd *c, uint32_t lba)
{
	memset(c, 0, sizeof(*c));
	c->attr = 1;
	c->cdb[0] = 0x2a;
	store_be32(c->cdb + 2, lba);
	c->cdb[8] = BLOCKS;
	c->edtl = BLOCKS * BLOCK;
	c->write = true;
	t->pending++;
	ini_submit(&t->ini, c);
}

static void start_ready(struct cut_test *t)
{
	memset(&t->read, 0, sizeof(t->read));
	t->read.req.done = ready_done;
	t->pending++;
	ini_submit(&t->ini, &t->read);
}

static void start_work(struct cut_test *t)
{
	static const char ask[] = "SendTargets=";

	start_write(t, &t->write, 0);
	t->write.req.done = write_done;
	t->write.data = t->out;
	memset(t->out, (int)t->life + 1, sizeof(t->out));
	for (uint32_t i = 0; i < BLOCKS; i++)
		t->values[i] |= 1u << (t->life + 1);
	start_read(t, OTHER_LBA);
	memset(&t->nop, 0, sizeof(t->nop));
	t->nop.req.done = other_done;
	t->nop.data = t->out;
	t->nop.len = 30;
	t->pending++;
	ini_ping(&t->ini, &t->nop);
	ini_bytes_free(&t->text.answer);
	memset(&t->text, 0, sizeof(t->text));
	t->text.req.done = other_done;
	t->text.text = ask;
	t->text.text_len = sizeof(ask);
	t->pending++;
	ini_ask(&t->ini, &t->text);
}

static void start_abort(struct cut_test *t)
{
	start_write(t, &t->aborted, OTHER_LBA + BLOCKS);
	t->aborted.req.done = aborted_done;
	t->aborted.data = t->rest;
	t->tmf_due = true;
}

/* The abort goes when the command has gone, and is not over. */
static void abort_now(struct cut_test *t)
{
	if (t->aborted.req.state == INI_WAITING)
		return;
	t->tmf_due = false;
	if (t->aborted.req.state != INI_SENT)
		return;
	memset(&t->tmf, 0, sizeof(t->tmf));
	t->tmf.req.done = other_done;
	t->tmf.req.immediate = t->seed & 1;
	t->tmf.function = ISCSI_TMF_ABORT_TASK;
	t->tmf.ref = &t->aborted;
	t->pending++;
	ini_manage(&t->ini, &t->tmf);
}

static void start_logout(struct cut_test *t)
{
	memset(&t->logout, 0, sizeof(t->logout));
	t->logout.req.done = other_done;
	t->logout.reason = LOGOUT_CLOSE_SESSION;
	t->pending++;
	ini_leave(&t->ini, &t->logout);
}

static void next_step(struct cut_test *t)
{
	if (t->tmf_due)
		abort_now(t);
	if (t->ini.state == INI_LOGIN || t->pending > 0 || t->tmf_due ||
	    t->step == STEP_END)
		return;
	switch (++t->step) {
	case STEP_READY:
		start_ready(t);
		break;
	case STEP_LOOK:
	case STEP_CHECK:
		start_read(t, 0);
		break;
	case STEP_WORK:
		start_work(t);
		break;
	case STEP_ABORT:
		start_abort(t);
		break;
	case STEP_LOGOUT:
		start_logout(t);
		break;
	case STEP_LOGIN:
	case STEP_END:
		break;
	}
}

/* ------------------------------------------------------------------------
 * A life of it.
 */

static void life_begin(struct cut_test *t)
{
	struct ini_options o = {
		.initiator = "iqn.2016-04.com.example:cut",
		.target = WORLD_TARGET,
		.isid = {0x40, 0, 7},
		.cmdsn = 0xfffffffdu,
		.seed = t->seed * LIVES_MAX + t->life,
		.security_stage = t->seed & 2,
		.header_digest = t->seed % 3 == 1,
		.data_digest = t->seed % 3 == 1,
		.offer_r2t = true,
		.offer_immediate = true,
		.immediate_data = true,
		.max_burst = 2 * BLOCK,
		.first_burst = 2 * BLOCK,
		.mrdsl = 2 * BLOCK,
		.max_r2t = 2,
		.odd_pieces = t->seed & 4,
		.trace = t->verbose ? "" : NULL,
	};

	t->peer = world_connect(&t->w);
	if (!t->peer) {
		world_fail(&t->w, "nobody listens");
		return;
	}
	ini_init(&t->ini, &o);
	ini_start(&t->ini);
	t->step = STEP_LOGIN;
	t->pending = t->tries = 0;
	t->sent = t->received = 0;
	t->tmf_due = false;
}

/* How many bytes may still go this way. */
static size_t room(const struct cut_test *t, enum cut_where where,
		   uint64_t done, size_t most)
{
	const struct cut *cut = &t->cuts[t->life];

	return cut->where == where ? MIN((uint64_t)most, cut->at - done) : most;
}

static bool life_turn(struct cut_test *t)
{
	uint8_t chunk[4096];
	size_t in, out;

	in = sim_peer_recv(t->peer, chunk,
			   room(t, CUT_RECEIVING, t->received, sizeof(chunk)));
	t->received += in;
	if (in > 0 && !ini_feed(&t->ini, chunk, in))
		world_fail(&t->w, "life %u: %s", t->life, t->ini.error);
	if (t->ini.state == INI_REFUSED)
		world_fail(&t->w, "life %u: login status 0x%04x", t->life,
			   t->ini.login_status);
	if (sim_peer_closed(t->peer) && sim_peer_readable(t->peer) == 0 &&
	    t->ini.state != INI_LOGGED_OUT)
		world_fail(&t->w, "life %u: closed in step %d", t->life,
			   t->step);
	next_step(t);
	ini_produce(&t->ini, sizeof(chunk));
	out = ini_take(&t->ini, chunk,
		       room(t, CUT_SENDING, t->sent, sizeof(chunk)));
	if (out > 0)
		sim_peer_send(t->peer, chunk, out);
	t->sent += out;
	return in > 0 || out > 0;
}

static bool life_cut(const struct cut_test *t)
{
	const struct cut *cut = &t->cuts[t->life];

	return (cut->where == CUT_SENDING && t->sent == cut->at) ||
	       (cut->where == CUT_RECEIVING && t->received == cut->at);
}

static bool life_over(const struct cut_test *t)
{
	return t->step == STEP_END && sim_peer_closed(t->peer);
}

static void life_end(struct cut_test *t)
{
	if (life_over(t)) {
		sim_peer_free(take(&t->peer));
	} else if (t->cuts[t->life].way == CUT_RESET) {
		/* Bytes that are under way are lost, or not. */
		if (t->seed & 1)
			sim_step(t->w.set, IDLE_NS);
		sim_peer_free(take(&t->peer));
	} else {
		if (t->cuts[t->life].way == CUT_FIN)
			sim_peer_shutdown(t->peer);
		t->old[t->life] = take(&t->peer);
	}
	ini_bytes_free(&t->text.answer);
	ini_deinit(&t->ini);
}

static void life_run(struct cut_test *t, struct cut_counts *counts)
{
	uint32_t steps = 0;

	life_begin(t);
	while (!t->w.error[0] && !life_over(t) && !life_cut(t)) {
		if (++steps > STEPS_MAX)
			world_fail(&t->w, "it does not end");
		if (sim_step(t->w.set, IDLE_NS) || life_turn(t) ||
		    life_over(t) || life_cut(t)) {
			if (!life_cut(t))
				life_turn(t);
			continue;
		}
		if (!sim_step(t->w.set, PATIENCE_NS))
			world_fail(&t->w, "life %u hangs in step %d", t->life,
				   t->step);
	}
	counts->r2ts += t->ini.r2ts;
	counts->unsolicited += t->ini.unsolicited;
	counts->aborts += t->aborted.aborted;
	counts->errors += t->write.status != 0 || t->read.status != 0;
	counts->looks += t->step > STEP_LOOK && t->life > 0;
	if (t->peer)
		life_end(t);
}

static bool peer_closed(void *ctx)
{
	return sim_peer_closed(ctx);
}

/* Who was left must be put out by the target, at the latest by its NOPs. */
static void check_old(struct cut_test *t)
{
	for (uint32_t i = 0; i < LIVES_MAX; i++) {
		if (!t->old[i])
			continue;
		if (!t->w.error[0] && !sim_run_until(t->w.set, peer_closed,
						     t->old[i], PATIENCE_NS))
			world_fail(&t->w, "connection %u stays open", i);
		sim_peer_free(take(&t->old[i]));
	}
}

/* ------------------------------------------------------------------------
 * Runs.
 */

static void choose_world(const struct cut_test *t, struct world_options *o)
{
	static const uint64_t latency[] = {1, 3000, 100000, 3000000};

	memset(o, 0, sizeof(*o));
	o->sim.seed = t->seed;
	o->sim.nreactors = 1 + t->seed % 2;
	o->sim.short_recv = t->seed % 5 == 0 ? 200 : 0;
	o->sim.short_send = t->seed % 5 == 1 ? 200 : 0;
	o->sim.latency_max_ns = latency[t->seed % 4];
	o->sim.io_error = t->errors ? 100 : 0;
	o->nluns = 1;
	o->luns[0].block_size = BLOCK;
	o->luns[0].nblocks = 64;
	o->luns[0].file = t->seed % 4 != 0;
	iscsi_options_default(&o->iscsi);
	o->iscsi.max_queue_depth = 8;
	o->iscsi.max_outstanding_r2t = 2;
	o->iscsi.initial_r2t = t->seed % 7 == 0;
}

/* True when all was well; how many bytes life 0 has moved. */
static bool run_one(uint64_t seed, const struct cut *cuts, uint32_t nlives,
		    bool verbose, struct cut_counts *counts,
		    uint64_t *ret_moved)
{
	struct cut_test *t = calloc(1, sizeof(*t));
	struct world_options o;
	bool good;

	if (!t)
		return false;
	t->seed = seed;
	t->errors = seed % 8 == 3;
	t->verbose = verbose;
	t->nlives = nlives;
	memcpy(t->cuts, cuts, nlives * sizeof(*cuts));
	for (uint32_t i = 0; i < BLOCKS; i++)
		t->values[i] = 1;
	choose_world(t, &o);
	counts->runs++;
	if (world_start(&t->w, &o)) {
		for (; t->life < nlives && !t->w.error[0]; t->life++) {
			life_run(t, counts);
			if (ret_moved && t->life == 0) {
				ret_moved[CUT_SENDING] = t->sent;
				ret_moved[CUT_RECEIVING] = t->received;
			}
		}
		check_old(t);
	}
	world_stop(&t->w);
	good = !t->w.error[0];
	if (!good)
		printf("seed %" PRIu64 ", cut (%d, %d) at %" PRIu64
		       ", %u lives: %s\n",
		       seed, cuts[0].where, cuts[0].way, cuts[0].at, nlives,
		       t->w.error);
	free(t);
	return good;
}

static uint64_t mix(uint64_t z)
{
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* The run for one byte. What comes before and after it the byte decides. */
static bool run_byte(uint64_t seed, enum cut_where where, uint64_t at,
		     const uint64_t *moved, bool verbose,
		     struct cut_counts *counts)
{
	uint64_t dice = mix(seed << 32 ^ at << 2 ^ where);
	struct cut c = {where, (enum cut_way)(dice % 3), at};
	struct cut none = {CUT_NOWHERE, CUT_RESET, 0};
	struct cut before = {CUT_SENDING, (enum cut_way)(dice / 3 % 3),
			     1 + dice / 64 % (moved[CUT_SENDING] - 1)};

	counts->cuts[where][c.way]++;
	switch (dice / 9 % 4) {
	case 0:
		return run_one(seed, &c, 1, verbose, counts, NULL);
	case 1:
		return run_one(seed, (struct cut[]){before, c, none}, 3,
			       verbose, counts, NULL);
	default:
		return run_one(seed, (struct cut[]){c, none}, 2, verbose,
			       counts, NULL);
	}
}

static uint64_t run_seed(uint64_t seed, uint64_t stride, bool verbose,
			 struct cut_counts *counts)
{
	struct cut none = {CUT_NOWHERE, CUT_RESET, 0};
	uint64_t moved[3] = {0}, failures = 0;

	if (!run_one(seed, &none, 1, verbose, counts, moved))
		return 1;
	for (enum cut_where w = CUT_SENDING; w <= CUT_RECEIVING; w++) {
		for (uint64_t at = seed % stride;
		     at < moved[w] && failures < FAILURES_MAX; at += stride)
			failures +=
				!run_byte(seed, w, at, moved, verbose, counts);
	}
	return failures;
}

static bool covered(const struct cut_counts *c)
{
	for (int w = CUT_SENDING; w <= CUT_RECEIVING; w++) {
		for (int i = 0; i < 3; i++) {
			if (c->cuts[w][i] == 0)
				return false;
		}
	}
	return c->r2ts && c->unsolicited && c->aborts && c->looks;
}

int main(int argc, char **argv)
{
	uint64_t first = 1, count = 1, stride = 1, failures = 0;
	struct cut_counts counts = {0};
	bool verbose = false;

	log_set_print_level(LOG_LEVEL_DISABLED);
	setvbuf(stdout, NULL, _IOLBF, 0);
	mallopt(M_MMAP_THRESHOLD, 1 << 21);
	mallopt(M_TRIM_THRESHOLD, 1 << 28);
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--verbose") == 0) {
			verbose = true;
		} else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
			first = strtoull(argv[++i], NULL, 0);
			count = 1;
		} else if (strcmp(argv[i], "--first") == 0 && i + 1 < argc) {
			first = strtoull(argv[++i], NULL, 0);
		} else if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc) {
			count = strtoull(argv[++i], NULL, 0);
		} else if (strcmp(argv[i], "--stride") == 0 && i + 1 < argc) {
			stride = MAX(1ull, strtoull(argv[++i], NULL, 0));
		} else {
			fprintf(stderr,
				"usage: %s [--seed N] [--first N] [--seeds N] "
				"[--stride N] [--verbose]\n",
				argv[0]);
			return 2;
		}
	}
	for (uint64_t s = first; s < first + count && failures == 0; s++)
		failures += run_seed(s, stride, verbose, &counts);
	printf("%" PRIu64 " runs: %" PRIu64 " R2Ts, %" PRIu64
	       " unsolicited, %" PRIu64 " aborts, %" PRIu64 " errors, %" PRIu64
	       " looks back; %" PRIu64 " failed\n",
	       counts.runs, counts.r2ts, counts.unsolicited, counts.aborts,
	       counts.errors, counts.looks, failures);
	if (count >= 4 && failures == 0 && !covered(&counts)) {
		printf("a path was never taken\n");
		failures++;
	}
	return failures ? 1 : 0;
}
