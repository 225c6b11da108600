/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/macros.h"
#include "remove.h"

#define CHUNK_MAX	    (128u << 10)
#define MIB_UNITS	    ((1u << 20) / MODEL_UNIT)
#define STATUS_GOOD	    0x00
#define STATUS_CHECK	    0x02
#define STATUS_BUSY	    0x08
#define STATUS_TASK_ABORTED 0x40

/* Sense: key, ASC and ASCQ. */
#define NOT_PRESENT   0x023a00u
#define NOT_SUPPORTED 0x052500u
#define LUNS_CHANGED  0x063f0eu
#define CLEARED	      0x062f00u

/* ------------------------------------------------------------------------
 * Results.
 */

static void job_free(struct rjob *j, bool written)
{
	struct model *m = &j->s->t->models[j->lun];

	if (j->model && j->cmd.write)
		model_write_end(m, j->id, written);
	else if (j->model)
		model_read_end(m, j->id);
	if (!j->lost) {
		j->s->nbusy--;
		j->s->nwitness -= j->lun == LUN_WITNESS;
	}
	j->busy = false;
	j->lost = false;
}

static void witness_good(struct rjob *j)
{
	struct remove_test *t = j->s->t;
	uint64_t took = sim_now_ns(t->w.set) - j->begun_ns;

	if (t->stage != STAGE_REMOVING || j->s->held)
		return;
	t->counts.witness++;
	t->counts.witness_max_ns = MAX(t->counts.witness_max_ns, took);
	if (took > WITNESS_MAX_NS)
		world_fail(&t->w, "session %u: LUN 0 took %u ms", j->s->index,
			   (unsigned int)(took / 1000000));
	if (j->s->witness_left > 0)
		j->s->witness_left--;
}

static void job_good(struct rjob *j)
{
	struct remove_test *t = j->s->t;
	uint32_t bad;

	if (j->expect == EXPECT_ABSENT || j->late)
		world_fail(&t->w, "session %u: GOOD from a LUN that is gone",
			   j->s->index);
	if (j->cmd.overflow || j->cmd.underflow)
		world_fail(&t->w, "session %u: a residual", j->s->index);
	if (j->model && j->cmd.read &&
	    !model_read_check(&t->models[j->lun], j->id, j->lba, j->n, j->buf,
			      &bad))
		world_fail(&t->w,
			   "session %u: wrong data in LUN %u, block %u of "
			   "read %u+%u",
			   j->s->index, j->lun, bad, j->lba, j->n);
	if (j->lun == LUN_VICTIM)
		t->counts.good += t->stage == STAGE_REMOVING;
	else
		witness_good(j);
	if (j->expect == EXPECT_GOOD)
		j->s->script++;
	job_free(j, true);
}

/* May it end so? */
static bool sense_right(struct rjob *j, uint32_t sense)
{
	struct remove_test *t = j->s->t;
	bool leaving = t->stage >= STAGE_REMOVING && j->lun == LUN_VICTIM;

	if (sense == LUNS_CHANGED && t->stage >= STAGE_REMOVING) {
		j->s->told |= j->lun == LUN_WITNESS;
		t->counts.told++;
		return j->expect != EXPECT_ABSENT;
	}
	if (sense == CLEARED || (sense & 0xffff00u) == 0x062900u)
		return j->expect != EXPECT_ABSENT;
	if (sense == NOT_SUPPORTED && leaving && j->expect != EXPECT_GOOD) {
		j->s->script += j->expect == EXPECT_ABSENT;
		t->counts.not_supported++;
		return true;
	}
	if (sense == NOT_PRESENT && leaving && j->expect == EXPECT_LOAD &&
	    !j->late) {
		t->counts.not_present++;
		return true;
	}
	return false;
}

static void job_done(struct initiator *ini, struct ini_req *req)
{
	struct rjob *j = container_of(req, struct rjob, cmd.req);
	struct remove_test *t = j->s->t;
	uint32_t sense;

	(void)ini;
	if (j->cmd.aborted) {
		t->counts.aborted++;
	} else if (j->cmd.response != ISCSI_RESPONSE_COMPLETED) {
		world_fail(&t->w, "session %u: target failure", j->s->index);
	} else if (j->cmd.status == STATUS_GOOD) {
		job_good(j);
		return;
	} else if (j->cmd.status == STATUS_CHECK) {
		sense = ini_sense(&j->cmd);
		if (!sense_right(j, sense))
			world_fail(&t->w,
				   "session %u: opcode 0x%02x of LUN %u: sense "
				   "%06x in stage %d",
				   j->s->index, j->cmd.cdb[0], j->lun, sense,
				   t->stage);
	} else if (j->cmd.status == STATUS_BUSY && j->cmd.write &&
		   j->expect != EXPECT_ABSENT) {
		t->counts.busy++; /* no room for its data */
	} else if (j->cmd.status == STATUS_TASK_ABORTED &&
		   j->lun == LUN_VICTIM && t->stage == STAGE_REMOVING &&
		   !j->late) {
		t->counts.task_aborted++;
	} else {
		world_fail(&t->w, "session %u: status 0x%02x of LUN %u",
			   j->s->index, j->cmd.status, j->lun);
	}
	job_free(j, false);
}

/* ------------------------------------------------------------------------
 * Commands.
 */

static struct rjob *job_new(struct rsess *s, uint8_t lun,
			    enum rjob_expect expect, uint32_t bytes)
{
	struct rjob *j = NULL;

	for (uint32_t i = 0; i < RJOBS_MAX && !j; i++) {
		if (!s->jobs[i].busy)
			j = &s->jobs[i];
	}
	ASSERT(j);
	if (bytes > j->cap) {
		free(j->buf);
		j->buf = malloc(bytes);
		ASSERT(j->buf);
		j->cap = bytes;
	}
	memset(&j->cmd, 0, sizeof(j->cmd));
	j->s = s;
	j->lun = lun;
	j->expect = expect;
	j->busy = true;
	j->model = j->lost = j->doomed = false;
	j->late = lun == LUN_VICTIM && s->t->removed &&
		  s->t->stage == STAGE_REMOVING;
	j->begun_ns = sim_now_ns(s->t->w.set);
	j->cmd.req.lun = ini_lun(lun);
	j->cmd.req.done = job_done;
	j->cmd.attr = 1;
	j->cmd.data = j->buf;
	j->cmd.edtl = bytes;
	s->nbusy++;
	s->nwitness += lun == LUN_WITNESS;
	return j;
}

static void start_ready(struct rsess *s, uint8_t lun, enum rjob_expect expect)
{
	ini_submit(&s->ini, &job_new(s, lun, expect, 0)->cmd);
}

static void start_rw(struct rsess *s, uint8_t lun, enum rjob_expect expect,
		     bool write, uint32_t lba, uint32_t n)
{
	struct rjob *j = job_new(s, lun, expect, n * MODEL_UNIT);
	struct model *m = &s->t->models[lun];

	j->lba = lba;
	j->n = n;
	j->cmd.cdb[0] = write ? 0x2a : 0x28;
	store_be32(j->cmd.cdb + 2, lba);
	store_be16(j->cmd.cdb + 7, (uint16_t)n);
	j->cmd.read = !write;
	j->cmd.write = write;
	j->model = expect != EXPECT_ABSENT;
	if (!j->model) {
		memset(j->buf, 0xa5, n * MODEL_UNIT);
	} else if (write) {
		j->id = model_write_begin(m, lba, n, false);
		model_fill(m, j->id, j->buf);
	} else {
		j->id = model_read_begin(m);
	}
	ini_submit(&s->ini, &j->cmd);
}

/* All of the witness belongs to one session each; the victim to all. */
static void start_witness(struct rsess *s)
{
	struct remove_test *t = s->t;
	uint32_t part = WITNESS_BYTES / MODEL_UNIT / RSESS_MAX;
	uint32_t n = 1 + (uint32_t)remove_random(t, 64);

	start_rw(s, LUN_WITNESS, EXPECT_LOAD, remove_random(t, 2),
		 part * s->index + (uint32_t)remove_random(t, part - n + 1), n);
}

static uint32_t victim_lba(struct remove_test *t)
{
	return (uint32_t)remove_random(t, VICTIM_BYTES / MODEL_UNIT -
						  MIB_UNITS + 1);
}

static void start_victim(struct rsess *s)
{
	struct remove_test *t = s->t;

	if (remove_random(t, 16) == 0)
		start_ready(s, LUN_VICTIM, EXPECT_LOAD);
	else
		start_rw(s, LUN_VICTIM, EXPECT_LOAD,
			 s->index == ACTOR && t->phase == PHASE_DATA_IN
				 ? remove_random(t, 4) == 0
				 : remove_random(t, 5) < 3,
			 victim_lba(t), MIB_UNITS);
}

bool rsess_waits_for_data(const struct rsess *s, bool some)
{
	for (uint32_t i = 0; i < RJOBS_MAX; i++) {
		const struct rjob *j = &s->jobs[i];
		const struct ini_cmd *c = &j->cmd;

		if (!j->busy || j->lost || j->lun != LUN_VICTIM || !c->write ||
		    c->req.state != INI_SENT)
			continue;
		if (some ? c->sent > s->ini.out.len && c->sent < c->edtl
			 : c->sent == 0 && c->nr2t > 0)
			return true;
	}
	return false;
}

bool rsess_half_read(const struct rsess *s)
{
	for (uint32_t i = 0; i < RJOBS_MAX; i++) {
		const struct rjob *j = &s->jobs[i];

		if (j->busy && !j->lost && j->lun == LUN_VICTIM &&
		    j->cmd.read && j->cmd.got > 0 && j->cmd.got < j->cmd.edtl)
			return true;
	}
	return false;
}

/* ------------------------------------------------------------------------
 * Task management and logout.
 */

/* The others' commands are gone without a word. */
static void doom_others(struct remove_test *t)
{
	for (uint32_t i = 0; i < t->nsess; i++) {
		for (uint32_t k = 0; k < RJOBS_MAX && i != ACTOR; k++) {
			struct rjob *j = &t->sess[i].jobs[k];

			if (j->busy && j->lun == LUN_VICTIM &&
			    j->cmd.req.state == INI_SENT)
				j->doomed = true;
		}
	}
}

static void tmf_done(struct initiator *ini, struct ini_req *req)
{
	struct rsess *s = container_of(req, struct rsess, tmf.req);
	struct remove_test *t = s->t;
	uint8_t rsp = s->tmf.response;

	(void)ini;
	s->tmf_busy = false;
	if (rsp == ISCSI_TMF_RSP_COMPLETE) {
		if (s->tmf.function == ISCSI_TMF_LOGICAL_UNIT_RESET)
			doom_others(t);
	} else if (!(rsp == ISCSI_TMF_RSP_NO_TASK &&
		     s->tmf.function == ISCSI_TMF_ABORT_TASK) &&
		   !(rsp == ISCSI_TMF_RSP_NO_LUN &&
		     t->stage == STAGE_REMOVING)) {
		world_fail(&t->w, "TMF response %u in stage %d", rsp, t->stage);
	}
}

static void start_tmf(struct rsess *s)
{
	struct remove_test *t = s->t;
	struct rjob *j = &s->jobs[remove_random(t, RJOBS_MAX)];

	for (uint32_t i = 0; i < RJOBS_MAX && !j->busy; i++)
		j = &s->jobs[i];
	if (s->tmf_busy || !j->busy || j->lun != LUN_VICTIM ||
	    j->cmd.req.state != INI_SENT)
		return;
	memset(&s->tmf, 0, sizeof(s->tmf));
	s->tmf.req.done = tmf_done;
	s->tmf.req.immediate = remove_random(t, 2);
	s->tmf.req.lun = ini_lun(LUN_VICTIM);
	s->tmf.function = ISCSI_TMF_LOGICAL_UNIT_RESET;
	if (t->phase == PHASE_ABORT) {
		s->tmf.function = ISCSI_TMF_ABORT_TASK;
		s->tmf.ref = &j->cmd;
	}
	s->tmf_busy = true;
	ini_manage(&s->ini, &s->tmf);
}

bool rsess_bury(struct rsess *s)
{
	bool any = false;

	for (uint32_t i = 0; i < RJOBS_MAX; i++) {
		struct rjob *j = &s->jobs[i];

		if (!j->busy || !j->doomed || j->lost)
			continue;
		ini_forget(&s->ini, &j->cmd);
		any = true;
	}
	return any;
}

/* The commands end with the session, but at the disk they may go on. */
static void logout_done(struct initiator *ini, struct ini_req *req)
{
	struct rsess *s = container_of(req, struct rsess, logout.req);

	(void)ini;
	if (s->logout.response != LOGOUT_RSP_OK)
		world_fail(&s->t->w, "session %u: logout response %u", s->index,
			   s->logout.response);
	s->out = true;
	s->witness_left = 0;
	for (uint32_t i = 0; i < RJOBS_MAX; i++) {
		if (s->jobs[i].busy) {
			s->jobs[i].lost = true;
			s->t->counts.aborted++;
		}
	}
	s->nbusy = s->nwitness = 0;
}

static void start_logout(struct rsess *s)
{
	memset(&s->logout, 0, sizeof(s->logout));
	s->logout.req.done = logout_done;
	s->logout.req.immediate = remove_random(s->t, 2);
	s->logout.reason = remove_random(s->t, 2) ? LOGOUT_CLOSE_SESSION
						  : LOGOUT_CLOSE_CONNECTION;
	s->logout.cid = s->opt.cid;
	ini_leave(&s->ini, &s->logout);
}

/* ------------------------------------------------------------------------
 * The stages.
 */

static void load(struct rsess *s)
{
	struct remove_test *t = s->t;
	bool removing = t->stage == STAGE_REMOVING;
	bool actor = s->index == ACTOR && !removing;

	if (s->logout.req.state != INI_IDLE)
		return;
	if (actor && (t->phase == PHASE_ABORT || t->phase == PHASE_RESET) &&
	    remove_random(t, 8) == 0)
		start_tmf(s);
	if (actor && t->phase == PHASE_LOGOUT && s->nwitness == 0 &&
	    s->nbusy == t->depth && remove_random(t, 8) == 0) {
		start_logout(s);
		return;
	}
	if (s->nwitness < RWITNESS_MAX &&
	    (removing ? s->witness_left > s->nwitness
		      : remove_random(t, 16) == 0))
		start_witness(s);
	if (s->nbusy - s->nwitness >= t->depth ||
	    (removing && s->victim_left == 0))
		return;
	s->victim_left -= removing;
	start_victim(s);
}

static void check_told(struct rsess *s)
{
	if (!s->told && !s->fresh)
		world_fail(&s->t->w,
			   "session %u: not told that the LUNs have changed, "
			   "stage %d",
			   s->index, s->t->stage);
	s->script++;
}

static void stage_gone(struct rsess *s)
{
	bool write = s->script == 2;

	if (s->script == 0)
		start_ready(s, LUN_VICTIM, EXPECT_ABSENT);
	else if (s->script < 3)
		start_rw(s, LUN_VICTIM, EXPECT_ABSENT, write, 0, MIB_UNITS);
	else if (s->script == 3)
		start_ready(s, LUN_WITNESS, EXPECT_GOOD);
	else if (s->script == 4)
		check_told(s);
}

static void stage_back(struct rsess *s)
{
	struct remove_test *t = s->t;
	uint32_t n = MIB_UNITS / 8;

	if (s->script == 0) {
		start_ready(s, LUN_VICTIM, EXPECT_GOOD);
	} else if (s->script == 1) {
		start_ready(s, LUN_WITNESS, EXPECT_GOOD);
	} else if (s->script == 2) {
		s->fresh = false;
		check_told(s);
	} else if (s->script == 3) {
		start_rw(s, LUN_VICTIM, EXPECT_GOOD, false, victim_lba(t),
			 MIB_UNITS);
	} else if (s->script == 4) {
		s->script_lba = victim_lba(t);
		start_rw(s, LUN_VICTIM, EXPECT_GOOD, true, s->script_lba, n);
	} else if (s->script == 5) {
		start_rw(s, LUN_VICTIM, EXPECT_GOOD, false, s->script_lba, n);
	}
}

static void go_on(struct rsess *s)
{
	struct remove_test *t = s->t;

	if (s->ini.state == INI_REFUSED)
		world_fail(&t->w, "session %u: login status 0x%04x", s->index,
			   s->ini.login_status);
	if (s->ini.state != INI_RUNNING)
		return;
	if (t->stage == STAGE_LOAD || t->stage == STAGE_REMOVING) {
		load(s);
		return;
	}
	if (s->nbusy > 0)
		return;
	if (t->stage == STAGE_LOGIN && s->script < 2)
		start_ready(s, (uint8_t)s->script, EXPECT_GOOD);
	else if (t->stage == STAGE_GONE)
		stage_gone(s);
	else if (t->stage == STAGE_BACK)
		stage_back(s);
	else if (t->stage == STAGE_LOGOUT && s->script == 0) {
		s->script = 1;
		start_logout(s);
	}
}

bool rsess_over(const struct rsess *s)
{
	static const uint32_t scripts[] = {
		[STAGE_LOGIN] = 2, [STAGE_GONE] = 5, [STAGE_BACK] = 6};

	if (s->t->stage == STAGE_LOGOUT)
		return s->out && sim_peer_closed(s->peer);
	return s->nbusy == 0 && s->script == scripts[s->t->stage];
}

bool rsess_quiet(const struct rsess *s)
{
	if (s->out)
		return sim_peer_closed(s->peer);
	return s->nbusy == 0 && !s->tmf_busy && !s->held &&
	       s->witness_left == 0 && s->logout.req.state == INI_IDLE;
}

/* ------------------------------------------------------------------------
 * Its connection.
 */

static void choose_login(struct rsess *s)
{
	static const uint32_t bursts[] = {0, 65536, 262144, 1048576};
	static const uint32_t segments[] = {0, 4096, 65536, 262144};
	struct remove_test *t = s->t;
	struct ini_options *o = &s->opt;

	o->seed = remove_random(t, UINT64_MAX);
	o->cmdsn = (uint32_t)remove_random(t, UINT32_MAX);
	o->cid = (uint16_t)remove_random(t, 65536);
	o->header_digest = remove_random(t, 8) == 0;
	o->data_digest = remove_random(t, 8) == 0;
	o->offer_r2t = true;
	o->initial_r2t = remove_random(t, 2);
	o->offer_immediate = true;
	o->immediate_data = remove_random(t, 2);
	o->max_burst = bursts[remove_random(t, ARRAY_LEN(bursts))];
	o->mrdsl = segments[remove_random(t, ARRAY_LEN(segments))];
	o->max_r2t = (uint32_t)remove_random(t, 5);
	o->odd_pieces = remove_random(t, 4) == 0;
	o->disks_leave = true;
	if (s->index == ACTOR && t->phase == PHASE_R2T) {
		o->initial_r2t = true;
		o->immediate_data = false;
	}
}

static void rsess_connect(struct rsess *s)
{
	struct remove_test *t = s->t;
	uint64_t window = 30000 + remove_random(t, 300000);

	choose_login(s);
	s->peer = world_connect(&t->w);
	if (!s->peer) {
		world_fail(&t->w, "session %u: nobody listens", s->index);
		return;
	}
	if (s->index == ACTOR && t->phase == PHASE_DATA_IN)
		window = 1000 + remove_random(t, 20000);
	sim_peer_set_window(s->peer, window);
	ini_init(&s->ini, &s->opt);
	ini_start(&s->ini);
}

void rsess_init(struct remove_test *t, struct rsess *s, uint32_t index)
{
	memset(s, 0, sizeof(*s));
	s->t = t;
	s->index = index;
	snprintf(s->name, sizeof(s->name), "iqn.2016-04.com.example:%u",
		 index % 3);
	snprintf(s->label, sizeof(s->label), "[%u]", index);
	s->opt.initiator = s->name;
	s->opt.target = WORLD_TARGET;
	s->opt.others_reset = index != ACTOR && t->phase == PHASE_RESET;
	s->opt.trace = t->verbose ? s->label : NULL;
	memcpy(s->opt.isid, (uint8_t[]){0x00, 2, 0x3d, 0, 0, (uint8_t)index},
	       6);
	s->witness_left = WITNESS_QUOTA;
	s->victim_left = (uint32_t)remove_random(t, 4);
	rsess_connect(s);
}

void rsess_deinit(struct rsess *s)
{
	for (uint32_t i = 0; i < RJOBS_MAX; i++)
		free(s->jobs[i].buf);
	ini_deinit(&s->ini);
	if (s->peer)
		sim_peer_free(s->peer);
}

void rsess_stage(struct rsess *s)
{
	s->script = 0;
	if (s->t->stage == STAGE_LOAD || s->t->stage == STAGE_BACK)
		s->told = false;
	if (s->t->stage != STAGE_GONE || !s->out)
		return;
	/* It logs in again; what it had asked for is over by now. */
	for (uint32_t i = 0; i < RJOBS_MAX; i++) {
		if (s->jobs[i].busy)
			job_free(&s->jobs[i], false);
	}
	ini_deinit(&s->ini);
	sim_peer_free(take(&s->peer));
	memset(&s->logout, 0, sizeof(s->logout));
	s->out = s->tmf_busy = false;
	s->fresh = true;
	rsess_connect(s);
}

void rsess_release(struct rsess *s)
{
	s->held = false;
	sim_peer_set_window(s->peer, CHUNK_MAX);
}

/* The phase wants the actor to stop here. */
static void maybe_hold(struct rsess *s)
{
	struct remove_test *t = s->t;

	if (s->index != ACTOR || t->stage != STAGE_LOAD || s->held)
		return;
	if (t->phase == PHASE_R2T)
		s->held = rsess_waits_for_data(s, false);
	else if (t->phase == PHASE_DATA_OUT)
		s->held = rsess_waits_for_data(s, true);
	else if (t->phase == PHASE_DATA_IN)
		s->held = rsess_half_read(s);
}

static size_t send_some(struct rsess *s, uint8_t *chunk)
{
	struct remove_test *t = s->t;
	size_t n;

	if (s->held && t->phase == PHASE_DATA_OUT)
		return 0;
	/* In the middle of a PDU it would hold up more than one task. */
	if (!s->held || t->phase == PHASE_DATA_IN)
		ini_produce(&s->ini, CHUNK_MAX);
	n = ini_take(&s->ini, chunk, 1 + remove_random(t, CHUNK_MAX));
	if (n > 0)
		sim_peer_send(s->peer, chunk, n);
	return n;
}

bool rsess_turn(struct rsess *s)
{
	uint8_t chunk[CHUNK_MAX];
	struct remove_test *t = s->t;
	size_t in = 0, out;

	if (!(s->held && t->phase == PHASE_DATA_IN))
		in = sim_peer_recv(s->peer, chunk,
				   1 + remove_random(t, sizeof(chunk)));
	if (in > 0 && !ini_feed(&s->ini, chunk, in)) {
		world_fail(&t->w, "session %u: %s", s->index, s->ini.error);
		return true;
	}
	if (sim_peer_closed(s->peer) && sim_peer_readable(s->peer) == 0 &&
	    !s->out) {
		world_fail(&t->w, "session %u: the target closed, stage %d",
			   s->index, t->stage);
		return true;
	}
	maybe_hold(s);
	go_on(s);
	out = send_some(s, chunk);
	maybe_hold(s);
	return in > 0 || out > 0;
}
