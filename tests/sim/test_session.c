/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whole sessions against a whole target, from a seed: login, mixed reads and
 * writes with all that may come between, logout. Every byte that is read is
 * checked against a model, and at the end nothing may be left over.
 *
 *   test_session --seeds 2000          seeds 1..2000
 *   test_session --seed 17 --verbose   that one again, with the log
 */
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/macros.h"
#include "session.h"

#define FAILURES_MAX 5
/* Far more than any seed needs. */
#define STEPS_MAX   5000000u
#define IDLE_NS	    2000000ull
#define PATIENCE_NS (1000 * 1000000000ull)

uint64_t test_random(struct session_test *t, uint64_t n)
{
	uint64_t z = t->random += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	z ^= z >> 31;
	return z % n;
}

static void choose_luns(struct session_test *t, struct world_options *o)
{
	t->nluns = 1 + (uint32_t)test_random(t, 2);
	o->nluns = t->nluns;
	for (uint32_t i = 0; i < o->nluns; i++) {
		uint32_t bs = test_random(t, 3) ? 512 : 4096;

		o->luns[i].block_size = bs;
		o->luns[i].nblocks = ((1u << 20) << test_random(t, 3)) / bs;
		o->luns[i].file = test_random(t, 4) == 0;
	}
}

static void choose_world(struct session_test *t, struct world_options *o,
			 uint64_t seed)
{
	memset(o, 0, sizeof(*o));
	t->faults = test_random(t, 4) == 0;
	t->tmf_chance = test_random(t, 2) ? 0 : (uint32_t)test_random(t, 60);
	o->sim.seed = seed;
	o->sim.nreactors = 1 + (uint32_t)test_random(t, 3);
	o->sim.short_recv = (uint32_t)test_random(t, 300);
	o->sim.short_send = (uint32_t)test_random(t, 300);
	o->sim.io_error = t->faults ? 20 : 0;
	o->sim.short_io = (uint32_t)test_random(t, 2) * 100;
	o->sim.latency_max_ns = 1 + test_random(t, 200000);
	choose_luns(t, o);
	iscsi_options_default(&o->iscsi);
	if (test_random(t, 2)) {
		o->iscsi.max_outstanding_r2t = 1 + (uint32_t)test_random(t, 8);
		o->iscsi.first_burst_length = 512u << test_random(t, 8);
		o->iscsi.max_burst_length = 65536u << test_random(t, 5);
		o->iscsi.max_recv_data_segment_length = 4096u
							<< test_random(t, 7);
		o->iscsi.immediate_data = test_random(t, 4) != 0;
		o->iscsi.initial_r2t = test_random(t, 4) == 0;
		o->iscsi.max_queue_depth = 1 + (uint32_t)test_random(t, 64);
	}
}

static bool all_gone(const struct session_test *t)
{
	for (uint32_t i = 0; i < t->nsess; i++) {
		if (t->sess[i].phase != SESS_GONE)
			return false;
	}
	return true;
}

/* One after the other until nobody has anything to move. */
static bool turn_all(struct session_test *t)
{
	bool moved = false;

	for (uint32_t i = 0; i < t->nsess && !t->w.error[0]; i++)
		moved |= sess_turn(&t->sess[i]);
	return moved;
}

static void print_request(const struct ini_req *req)
{
	const struct ini_cmd *c = container_of(req, struct ini_cmd, req);

	printf("    opcode 0x%02x CmdSN %u", req->opcode, req->cmdsn);
	if (req->opcode == ISCSI_SCSI_COMMAND)
		printf(" CDB 0x%02x LUN %u: %u bytes, %u came, %u sent, "
		       "%u to send unasked, %u R2Ts",
		       c->cdb[0], (unsigned int)(req->lun >> 48), c->edtl,
		       c->got, c->sent, c->unsol_left, c->nr2t);
	printf("\n");
}

/* Who waits for what, when a seed hangs. */
static void print_sessions(const struct session_test *t)
{
	for (uint32_t i = 0; i < t->nsess; i++) {
		const struct sess *s = &t->sess[i];
		const struct initiator *ini = &s->ini;
		struct ini_req *req;

		printf("  session %u: phase %d, state %d, CmdSN %u, window "
		       "%u..%u, %zu bytes to send\n",
		       i, s->phase, ini->state, ini->cmdsn, ini->expcmdsn,
		       ini->maxcmdsn, ini->out.len);
		list_for_each(req, &ini->outstanding, link)
			print_request(req);
		list_for_each(req, &ini->waiting, link)
			printf("    (opcode 0x%02x waits)\n", req->opcode);
	}
}

static bool bury_all(struct session_test *t)
{
	bool any = false;

	for (uint32_t i = 0; i < t->nsess; i++)
		any |= sess_bury(&t->sess[i]);
	return any;
}

static void run_sessions(struct session_test *t)
{
	uint64_t steps = 0;

	while (!t->w.error[0] && !all_gone(t)) {
		if (++steps > STEPS_MAX) {
			world_fail(&t->w, "it does not end");
			break;
		}
		if (test_random(t, 4) == 0)
			sess_turn(&t->sess[test_random(t, t->nsess)]);
		if (sim_step(t->w.set, IDLE_NS) || turn_all(t) || all_gone(t) ||
		    bury_all(t))
			continue;
		/* Nothing is on its way: only a timer can help. */
		if (!sim_step(t->w.set, PATIENCE_NS) ||
		    sim_now_ns(t->w.set) > PATIENCE_NS)
			world_fail(&t->w, "it hangs");
		if (t->w.error[0] && t->verbose)
			print_sessions(t);
	}
	t->counts.steps += steps;
}

static bool target_closed(void *ctx)
{
	return sim_peer_closed(ctx);
}

/* A connection that was abandoned must have been closed by now. */
static void check_abandoned(struct session_test *t)
{
	for (uint32_t i = 0; i < t->nsess; i++) {
		struct sess *s = &t->sess[i];

		if (s->left_open && !sim_run_until(t->w.set, target_closed,
						   s->left_open, PATIENCE_NS))
			world_fail(&t->w,
				   "session %u: an old connection "
				   "stays open",
				   i);
	}
}

/* True when all was well. The trace's hash goes to *ret_hash. */
static bool run_seed(uint64_t seed, struct session_counts *counts,
		     uint64_t *ret_hash)
{
	struct session_test *t = calloc(1, sizeof(*t));
	struct world_options o;
	bool good;

	if (!t)
		return false;
	t->random = seed * 0x2545f4914f6cdd1du;
	t->counts = *counts;
	t->verbose = log_get_print_level() > LOG_LEVEL_DISABLED;
	choose_world(t, &o, seed);
	t->nsess = 1 + (uint32_t)test_random(t, SESSIONS_MAX);
	for (uint32_t i = 0; i < t->nluns; i++)
		model_init(&t->models[i],
			   (uint32_t)(o.luns[i].nblocks *
				      (o.luns[i].block_size / MODEL_UNIT)),
			   test_random(t, UINT64_MAX));
	if (world_start(&t->w, &o)) {
		for (uint32_t i = 0; i < t->nsess; i++)
			sess_init(t, &t->sess[i], i);
		run_sessions(t);
		check_abandoned(t);
		for (uint32_t i = 0; i < t->nsess; i++)
			sess_deinit(&t->sess[i]);
	}
	*ret_hash = sim_trace_hash(t->w.set);
	world_stop(&t->w);
	good = !t->w.error[0];
	if (!good)
		printf("seed %" PRIu64 ": %s\n", seed, t->w.error);
	for (uint32_t i = 0; i < t->nluns; i++)
		model_deinit(&t->models[i]);
	*counts = t->counts;
	free(t);
	return good;
}

/* ------------------------------------------------------------------------
 * A failed assertion must tell its seed too.
 */

static volatile sig_atomic_t seed_now;

static void on_abort(int sig)
{
	char text[32] = "aborted in seed ";
	unsigned int n = (unsigned int)seed_now, len = 16, digits = 1;

	for (unsigned int d = n; d >= 10; d /= 10)
		digits++;
	for (unsigned int i = digits; i > 0; i--, n /= 10)
		text[len + i - 1] = (char)('0' + n % 10);
	text[len + digits] = '\n';
	(void)!write(STDERR_FILENO, text, len + digits + 1);
	signal(sig, SIG_DFL);
	raise(sig);
}

/* Sanitizers end with a signal too. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "abort_on_error=1:handle_abort=0";
}

const char *__ubsan_default_options(void);
const char *__ubsan_default_options(void)
{
	return "abort_on_error=1:halt_on_error=1:print_stacktrace=1";
}

static void print_counts(const struct session_counts *c)
{
	printf("%" PRIu64 " logins, %" PRIu64 " reads (%" PRIu64
	       " KiB), %" PRIu64 " writes (%" PRIu64 " KiB), %" PRIu64
	       " R2Ts, %" PRIu64 " unsolicited, %" PRIu64 " collapsed\n",
	       c->logins, c->reads, c->bytes_read >> 10, c->writes,
	       c->bytes_written >> 10, c->r2ts, c->unsolicited, c->collapsed);
	printf("%" PRIu64 " overflows, %" PRIu64 " underflows, %" PRIu64
	       " short writes, %" PRIu64 " aborts, %" PRIu64 " resets, %" PRIu64
	       " swept, %" PRIu64 " drops, %" PRIu64 " I/O errors, %" PRIu64
	       " retries, %" PRIu64 " steps\n",
	       c->overflows, c->underflows, c->short_writes, c->aborts,
	       c->resets, c->swept, c->drops, c->io_errors, c->retries,
	       c->steps);
}

/* A test in which a path is never taken says nothing about it. */
static bool covered(const struct session_counts *c)
{
	return c->reads && c->writes && c->r2ts && c->unsolicited &&
	       c->collapsed && c->overflows && c->underflows &&
	       c->short_writes && c->aborts && c->resets && c->drops &&
	       c->io_errors && c->retries;
}

static int run_all(uint64_t first, uint64_t count)
{
	struct session_counts counts = {0};
	uint64_t failures = 0, hash, again;

	for (uint64_t seed = first; seed < first + count; seed++) {
		seed_now = (sig_atomic_t)seed;
		if (!run_seed(seed, &counts, &hash)) {
			if (++failures == FAILURES_MAX)
				break;
			continue;
		}
		/* Some of them twice: a seed must give the same again. */
		if (count > 1 && seed % 50 != 0)
			continue;
		if (!run_seed(seed, &counts, &again) || again != hash) {
			printf("seed %" PRIu64 ": not the same again\n", seed);
			failures++;
		}
	}
	print_counts(&counts);
	if (count >= 500 && failures == 0 && !covered(&counts)) {
		printf("a path was never taken\n");
		failures++;
	}
	printf("%" PRIu64 " seeds, %" PRIu64 " failed\n", count, failures);
	return failures ? 1 : 0;
}

int main(int argc, char **argv)
{
	uint64_t first = 1, count = 200;

	log_set_print_level(LOG_LEVEL_DISABLED);
	setvbuf(stdout, NULL, _IOLBF, 0);
	/* One seed takes over the memory of the last, already mapped. */
	mallopt(M_MMAP_THRESHOLD, 1 << 21);
	mallopt(M_TRIM_THRESHOLD, 1 << 28);
	signal(SIGABRT, on_abort);
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--verbose") == 0) {
			log_set_print_level(LOG_LEVEL_INFO);
		} else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
			first = strtoull(argv[++i], NULL, 0);
			count = 1;
		} else if (strcmp(argv[i], "--first") == 0 && i + 1 < argc) {
			first = strtoull(argv[++i], NULL, 0);
		} else if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc) {
			count = strtoull(argv[++i], NULL, 0);
		} else {
			fprintf(stderr,
				"usage: %s [--seed N] [--first N] "
				"[--seeds N] [--verbose]\n",
				argv[0]);
			return 2;
		}
	}
	return run_all(first, count);
}
