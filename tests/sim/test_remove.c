/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A disk that leaves under load, from a seed: 1 MiB writes and reads run on
 * several sessions when their bdev is deleted, each time in another phase of a
 * command. Another disk of the same sessions goes on all the time. Then the
 * disk is gone for all, comes back under its name, and works.
 *
 *   test_remove --seeds 1000
 *   test_remove --seed 17 --verbose
 */
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/macros.h"
#include "remove.h"

#define FAILURES_MAX 5
#define STEPS_MAX    3000000u
/* More than any delay of a disk, less than any timer of a connection. */
#define IDLE_NS	    50000000ull
#define VICTIM_NAME "victim"
#define VICTIM_SLOW "victim_slow"
#define VICTIM_BAD  "EE_victim"

static const char *const phase_names[PHASES] = {
	[PHASE_R2T] = "R2T sent, no data",
	[PHASE_DATA_OUT] = "Data-Out half received",
	[PHASE_DELAY] = "write delayed at the backend",
	[PHASE_PENDING] = "write pending at the backend",
	[PHASE_FILE] = "write at a file",
	[PHASE_DATA_IN] = "Data-In half sent",
	[PHASE_ABORT] = "ABORT TASK in flight",
	[PHASE_RESET] = "LOGICAL UNIT RESET in flight",
	[PHASE_LOGOUT] = "logout in flight",
};

uint64_t remove_random(struct remove_test *t, uint64_t n)
{
	uint64_t z = t->random += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	z ^= z >> 31;
	return z % n;
}

/* ------------------------------------------------------------------------
 * The disk that leaves. All of this on the control reactor.
 */

static const char *top_name(const struct remove_test *t)
{
	if (t->stack == STACK_DELAY)
		return VICTIM_SLOW;
	return t->stack == STACK_ERROR ? VICTIM_BAD : VICTIM_NAME;
}

static void check(struct remove_test *t, int rc, const char *what,
		  const char *why)
{
	if (rc)
		world_fail(&t->w, "%s: %d %s", what, rc, why ? why : "");
}

static void make_base(struct remove_test *t)
{
	const struct bdev_common c = {.name = VICTIM_NAME};
	const char *why = NULL;
	char path[64];
	struct bdev *b;

	if (bdev_find(t->w.bdevs, VICTIM_NAME))
		return;
	if (t->file) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", t->fd);
		check(t, bdev_file_create(t->w.bdevs, &c, path, 512, &b, &why),
		      "file", why);
		return;
	}
	check(t,
	      bdev_malloc_create(t->w.bdevs, &c, VICTIM_BYTES / 512, 512, &b,
				 &why),
	      "malloc", why);
}

static void make_top(struct remove_test *t)
{
	const struct bdev_common c = {.name = VICTIM_SLOW};
	const uint64_t us[BDEV_LATENCY_COUNT] = {1000, 3000, 2000, 4000};
	const char *why = NULL;
	struct bdev *b;

	if (bdev_find(t->w.bdevs, top_name(t)))
		return;
	if (t->stack == STACK_DELAY)
		check(t,
		      bdev_delay_create(t->w.bdevs, &c, VICTIM_NAME, us, &b,
					&why),
		      "delay", why);
	else if (t->stack == STACK_ERROR)
		check(t,
		      bdev_error_create(t->w.bdevs, NULL, VICTIM_NAME, &b,
					&why),
		      "error", why);
}

static void change_done(struct scsi_change *c)
{
	struct world *w = container_of(c, struct world, change);

	if (c->result)
		world_fail(w, "LUN 1 cannot be added: %d", c->result);
	w->pending--;
}

/* The disk under its old name, as LUN 1: what is missing of it. */
static void add_victim(struct world *w)
{
	struct remove_test *t = container_of(w, struct remove_test, w);

	make_base(t);
	make_top(t);
	if (w->error[0])
		return;
	w->change.done = change_done;
	w->pending++;
	check(t,
	      scsi_device_add_lun(w->node->device, LUN_VICTIM, top_name(t),
				  NULL, &w->change),
	      "LUN 1", NULL);
}

static void hold_writes(struct world *w)
{
	const struct bdev_injection inj = {
		.ops = 1u << BDEV_WRITE,
		.fault = BDEV_FAULT_PENDING,
		.count = 1000,
	};
	struct remove_test *t = container_of(w, struct remove_test, w);

	check(t, bdev_error_inject(bdev_find(w->bdevs, VICTIM_BAD), &inj),
	      "inject", NULL);
}

static void removed(struct bdev_removal *rm)
{
	container_of(rm, struct remove_test, removal)->removed = true;
}

static void remove_victim(struct mail *mail)
{
	struct remove_test *t = container_of(mail, struct remove_test, mail);
	const char *name = t->remove_base ? VICTIM_NAME : top_name(t);

	t->removal.done = removed;
	check(t, bdev_remove(bdev_find(t->w.bdevs, name), &t->removal),
	      "remove", NULL);
}

/* ------------------------------------------------------------------------
 * When it leaves.
 */

/* Has the target such tasks at the disk that leaves? */
static bool target_has(const struct remove_test *t, enum scsi_task_state state)
{
	const struct scsi_device *d = t->w.node->device;

	for (uint32_t i = 0; i < reactors_count(t->w.set); i++) {
		const struct lun_view *v = d->views[i].luns[LUN_VICTIM];
		const struct scsi_task *task;

		if (!v)
			continue;
		list_for_each(task, &v->tasks, link) {
			if (task->state == state &&
			    (task->edtl_out > 0 || state == SCSI_TASK_COMPLETE))
				return true;
		}
	}
	return false;
}

/* Is the phase there that the seed wants? */
static bool ripe(struct remove_test *t)
{
	struct rsess *s = &t->sess[ACTOR];

	switch (t->phase) {
	case PHASE_R2T:
		return rsess_waits_for_data(s, false) && s->ini.out.len == 0 &&
		       target_has(t, SCSI_TASK_DATA_OUT);
	case PHASE_DATA_OUT:
		return rsess_waits_for_data(s, true) &&
		       target_has(t, SCSI_TASK_DATA_OUT);
	case PHASE_DELAY:
	case PHASE_PENDING:
	case PHASE_FILE:
		return target_has(t, SCSI_TASK_RUNNING);
	case PHASE_DATA_IN:
		return rsess_half_read(s) && target_has(t, SCSI_TASK_COMPLETE);
	case PHASE_ABORT:
	case PHASE_RESET:
		return s->tmf_busy && s->tmf.req.state == INI_SENT &&
		       s->ini.out.len == 0;
	case PHASE_LOGOUT:
		return s->logout.req.state == INI_SENT && s->nbusy > 0 &&
		       s->ini.out.len == 0;
	case PHASES:
		break;
	}
	return false;
}

/* Some steps after it has become so, if it still is. */
static void maybe_remove(struct remove_test *t)
{
	bool is = ripe(t);

	if (!is && !(t->phase == PHASE_LOGOUT && t->sess[ACTOR].out)) {
		t->wait = UINT32_MAX;
		return;
	}
	if (t->wait == UINT32_MAX)
		t->wait = (uint32_t)remove_random(t, 12);
	if (t->wait-- > 0)
		return;
	t->counts.met[t->phase] += is;
	t->stage = STAGE_REMOVING;
	t->mail.run = remove_victim;
	mail_post(reactors_main(t->w.set), &t->mail);
}

static bool all(const struct remove_test *t, bool (*is)(const struct rsess *s))
{
	for (uint32_t i = 0; i < t->nsess; i++) {
		if (!is(&t->sess[i]))
			return false;
	}
	return true;
}

static void next_stage(struct remove_test *t, enum remove_stage stage)
{
	t->stage = stage;
	for (uint32_t i = 0; i < t->nsess; i++)
		rsess_stage(&t->sess[i]);
}

static void bring_back(struct remove_test *t)
{
	/* A new RAM disk is empty; a file, or what was below, is not. */
	if (t->remove_base && !t->file) {
		model_deinit(&t->models[LUN_VICTIM]);
		model_init(&t->models[LUN_VICTIM], VICTIM_BYTES / MODEL_UNIT,
			   remove_random(t, UINT64_MAX));
	}
	if (world_do(&t->w, add_victim))
		next_stage(t, STAGE_BACK);
}

static void go_on(struct remove_test *t)
{
	switch (t->stage) {
	case STAGE_LOGIN:
		if (all(t, rsess_over))
			next_stage(t, STAGE_LOAD);
		break;
	case STAGE_LOAD:
		maybe_remove(t);
		break;
	case STAGE_REMOVING:
		if (t->removed && all(t, rsess_quiet))
			next_stage(t, STAGE_GONE);
		break;
	case STAGE_GONE:
		if (all(t, rsess_over))
			bring_back(t);
		break;
	case STAGE_BACK:
		if (all(t, rsess_over))
			next_stage(t, STAGE_LOGOUT);
		break;
	case STAGE_LOGOUT:
		if (all(t, rsess_over))
			t->stage = STAGE_END;
		break;
	case STAGE_END:
		break;
	}
}

/* Who waits for what, when a seed hangs. */
static void print_world(const struct remove_test *t)
{
	const struct scsi_device *d = t->w.node->device;

	for (uint32_t i = 0; i < t->nsess; i++) {
		const struct rsess *s = &t->sess[i];

		printf("session %u: %u busy, %u for LUN 0, %zu bytes to send, "
		       "held %d, out %d, state %d\n",
		       i, s->nbusy, s->nwitness, s->ini.out.len, s->held,
		       s->out, s->ini.state);
		for (uint32_t k = 0; k < RJOBS_MAX; k++) {
			const struct ini_cmd *c = &s->jobs[k].cmd;

			if (s->jobs[k].busy)
				printf("  0x%02x itt %08x LUN %u state %d: %u "
				       "sent, %u got of %u, %u R2Ts\n",
				       c->cdb[0], c->req.itt, s->jobs[k].lun,
				       c->req.state, c->sent, c->got, c->edtl,
				       c->nr2t);
		}
	}
	for (uint32_t i = 0; i < reactors_count(t->w.set); i++) {
		const struct lun_view *v = d->views[i].luns[LUN_VICTIM];
		const struct scsi_task *task;

		if (!v)
			continue;
		list_for_each(task, &v->tasks, link)
			printf("reactor %u: task %08x in state %u\n", i,
			       (unsigned int)task->tag, task->state);
	}
}

/* Nothing moves. Then all is done but what waits for the one who holds back. */
static void idle(struct remove_test *t)
{
	struct rsess *s = &t->sess[ACTOR];
	bool any = false;

	if (t->stage == STAGE_LOAD && t->wait != UINT32_MAX)
		return; /* only the test is waiting */
	for (uint32_t i = 0; i < t->nsess; i++) {
		if (t->sess[i].witness_left > 0 && !(s->held && i == ACTOR) &&
		    t->stage == STAGE_REMOVING)
			world_fail(&t->w,
				   "session %u: LUN 0 pauses while another "
				   "leaves",
				   i);
		any |= rsess_bury(&t->sess[i]);
	}
	if (t->stage == STAGE_REMOVING && s->held) {
		if (t->phase == PHASE_R2T && !t->removed)
			world_fail(&t->w, "who sends no data keeps a disk");
		t->counts.held++;
		rsess_release(s);
		any = true;
	}
	if (any || sim_step(t->w.set, IDLE_NS))
		return;
	if (t->verbose)
		print_world(t);
	world_fail(&t->w, "it hangs in stage %d", t->stage);
}

static void run_world(struct remove_test *t)
{
	uint64_t steps = 0;

	while (!t->w.error[0] && t->stage != STAGE_END) {
		enum remove_stage before;
		bool moved;

		if (++steps > STEPS_MAX) {
			world_fail(&t->w, "it does not end, stage %d",
				   t->stage);
			break;
		}
		moved = sim_step(t->w.set, IDLE_NS);
		for (uint32_t i = 0; i < t->nsess && !t->w.error[0]; i++)
			moved |= rsess_turn(&t->sess[i]);
		before = t->stage;
		if (!t->w.error[0])
			go_on(t);
		moved |= t->stage != before;
		if (!moved && !t->w.error[0])
			idle(t);
	}
	t->counts.steps += steps;
}

/* ------------------------------------------------------------------------
 * A seed.
 */

static void choose_victim(struct remove_test *t, uint64_t seed)
{
	t->phase = (enum remove_phase)(seed % PHASES);
	t->stack = (enum remove_stack)remove_random(t, STACKS);
	t->file = remove_random(t, 3) == 0;
	t->remove_base = remove_random(t, 2);
	if (t->phase == PHASE_DELAY)
		t->stack = STACK_DELAY;
	if (t->phase == PHASE_PENDING)
		t->stack = STACK_ERROR;
	if (t->phase == PHASE_FILE)
		t->file = true;
	if (t->stack == STACK_NONE)
		t->remove_base = true;
	t->fd = memfd_create("victim", MFD_CLOEXEC);
	if (t->fd < 0 || ftruncate(t->fd, VICTIM_BYTES))
		world_fail(&t->w, "memfd");
}

static void choose_world(struct remove_test *t, struct world_options *o,
			 uint64_t seed)
{
	uint64_t commands;

	memset(o, 0, sizeof(*o));
	o->sim.seed = seed;
	o->sim.nreactors = 1 + (uint32_t)remove_random(t, 3);
	o->sim.short_recv = (uint32_t)remove_random(t, 100);
	o->sim.short_send = (uint32_t)remove_random(t, 100);
	o->sim.short_io = (uint32_t)remove_random(t, 2) * 100;
	o->sim.latency_max_ns = 1 + remove_random(t, 200000);
	o->nluns = 1;
	o->luns[0].block_size = 512;
	o->luns[0].nblocks = WITNESS_BYTES / 512;
	o->luns[0].file = remove_random(t, 4) == 0;
	iscsi_options_default(&o->iscsi);
	o->iscsi.max_outstanding_r2t = 1 + (uint32_t)remove_random(t, 4);
	t->nsess = 1 + (uint32_t)remove_random(t, RSESS_MAX);
	/* Deep queues now and then: they take long. */
	commands = remove_random(t, 16) == 0 ? 64 : 2 + remove_random(t, 10);
	t->depth = (uint32_t)MAX(1u, commands / t->nsess);
	t->depth = MIN(t->depth, (uint32_t)RDEPTH_MAX);
}

static bool run_seed(uint64_t seed, struct remove_counts *counts,
		     uint64_t *ret_hash)
{
	struct remove_test *t = calloc(1, sizeof(*t));
	struct world_options o;
	bool good;

	ASSERT(t);
	t->random = seed * 0x2545f4914f6cdd1du;
	t->counts = *counts;
	t->wait = UINT32_MAX;
	t->verbose = log_get_print_level() > LOG_LEVEL_DISABLED;
	choose_world(t, &o, seed);
	model_init(&t->models[LUN_WITNESS], WITNESS_BYTES / MODEL_UNIT, seed);
	model_init(&t->models[LUN_VICTIM], VICTIM_BYTES / MODEL_UNIT, ~seed);
	choose_victim(t, seed);
	if (world_start(&t->w, &o) && world_do(&t->w, add_victim) &&
	    (t->phase != PHASE_PENDING || world_do(&t->w, hold_writes))) {
		for (uint32_t i = 0; i < t->nsess; i++)
			rsess_init(t, &t->sess[i], i);
		run_world(t);
		for (uint32_t i = 0; i < t->nsess; i++)
			rsess_deinit(&t->sess[i]);
	}
	*ret_hash = sim_trace_hash(t->w.set);
	world_stop(&t->w);
	close(t->fd);
	good = !t->w.error[0];
	if (!good)
		printf("seed %" PRIu64 " (%s): %s\n", seed,
		       phase_names[t->phase], t->w.error);
	model_deinit(&t->models[LUN_WITNESS]);
	model_deinit(&t->models[LUN_VICTIM]);
	*counts = t->counts;
	free(t);
	return good;
}

/* ------------------------------------------------------------------------
 * All of them.
 */

static volatile sig_atomic_t seed_now;

/* A failed assertion must tell its seed too. */
static void on_abort(int sig)
{
	char text[] = "aborted in seed 0000000000\n";
	unsigned int n = (unsigned int)seed_now;

	for (size_t i = sizeof(text) - 3; n > 0; i--, n /= 10)
		text[i] = (char)('0' + n % 10);
	(void)!write(STDERR_FILENO, text, sizeof(text) - 1);
	signal(sig, SIG_DFL);
	raise(sig);
}

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

static void print_counts(const struct remove_counts *c)
{
	for (unsigned int i = 0; i < PHASES; i++)
		printf("%6" PRIu64 " times: %s\n", c->met[i], phase_names[i]);
	printf("in flight: %" PRIu64 " GOOD, %" PRIu64 " TASK ABORTED, %" PRIu64
	       " MEDIUM NOT PRESENT, %" PRIu64 " LOGICAL UNIT NOT SUPPORTED, "
	       "%" PRIu64 " ended by task management or logout\n",
	       c->good, c->task_aborted, c->not_present, c->not_supported,
	       c->aborted);
	printf("%" PRIu64 " told that LUNs have changed, %" PRIu64
	       " commands of the other disk meanwhile (at most %" PRIu64
	       " us each), %" PRIu64 " held back, %" PRIu64 " BUSY, %" PRIu64
	       " steps\n",
	       c->told, c->witness, c->witness_max_ns / 1000, c->held, c->busy,
	       c->steps);
}

/* A phase that is never met has not been tested. */
static bool covered(const struct remove_counts *c)
{
	for (unsigned int i = 0; i < PHASES; i++) {
		if (!c->met[i])
			return false;
	}
	return c->good && c->task_aborted && c->not_supported && c->aborted &&
	       c->told && c->witness && c->held;
}

static int run_all(uint64_t first, uint64_t count)
{
	struct remove_counts counts = {0};
	uint64_t failures = 0, hash, again;

	for (uint64_t seed = first; seed < first + count; seed++) {
		seed_now = (sig_atomic_t)seed;
		if (!run_seed(seed, &counts, &hash)) {
			if (++failures == FAILURES_MAX)
				break;
			continue;
		}
		if (count > 1 && seed % 50 != 0)
			continue;
		/* A seed must give the same again. */
		if (!run_seed(seed, &counts, &again) || again != hash) {
			printf("seed %" PRIu64 ": not the same again\n", seed);
			failures++;
		}
	}
	print_counts(&counts);
	if (count >= 100 && failures == 0 && !covered(&counts)) {
		printf("a phase was never met\n");
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
	mallopt(M_MMAP_THRESHOLD, 1 << 24);
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
