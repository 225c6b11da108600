/* SPDX-License-Identifier: BSD-3-Clause */
/* The commands of a session, and the judgement of their results. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/macros.h"
#include "session.h"

#define KEY_NOT_READY	     0x2
#define KEY_MEDIUM_ERROR     0x3
#define KEY_ILLEGAL_REQUEST  0x5
#define KEY_UNIT_ATTENTION   0x6

#define STATUS_GOOD	     0x00
#define STATUS_CHECK	     0x02
#define STATUS_BUSY	     0x08
#define STATUS_TASK_SET_FULL 0x28

#define VERIFY_PIECE	     (64u << 10)
#define VERIFY_MAX	     (128u << 10)

static uint32_t block_units(const struct sess *s, uint8_t lun)
{
	return s->t->w.opt.luns[lun].block_size / MODEL_UNIT;
}

static struct model *model_of(const struct job *j)
{
	return &j->s->t->models[j->lun];
}

/* ------------------------------------------------------------------------
 * Results.
 */

static void job_free(struct job *j, bool written)
{
	if (j->kind == JOB_WRITE)
		model_write_end(model_of(j), j->id, written);
	else if (j->kind == JOB_READ)
		model_read_end(model_of(j), j->id);
	j->busy = false;
	j->s->nbusy--;
}

static void check_read(struct job *j)
{
	struct session_test *t = j->s->t;
	uint32_t bad;

	if (!model_read_check(model_of(j), j->id, j->lba,
			      j->cmd.got / MODEL_UNIT, j->buf, &bad))
		world_fail(&t->w,
			   "session %u: wrong data in LUN %u, block %u of "
			   "read %u+%u",
			   j->s->index, j->lun, bad, j->lba, j->n);
	t->counts.reads++;
	t->counts.bytes_read += j->cmd.got;
}

/* The residual says exactly how CDB and expected length differ. */
static void check_residual(struct job *j)
{
	struct session_test *t = j->s->t;
	const struct ini_cmd *c = &j->cmd;
	bool over = j->len > c->edtl, under = j->len < c->edtl;
	uint32_t residual = over ? j->len - c->edtl : c->edtl - j->len;

	if (c->overflow != over || c->underflow != under ||
	    c->residual != residual)
		world_fail(
			&t->w,
			"session %u: opcode 0x%02x of %u bytes, expected %u: "
			"overflow %d, underflow %d, residual %u",
			j->s->index, c->cdb[0], j->len, c->edtl, c->overflow,
			c->underflow, c->residual);
	t->counts.overflows += over;
	t->counts.underflows += under;
}

static void check_capacity(struct job *j)
{
	struct world *w = &j->s->t->w;

	if (load_be64(j->buf) != w->opt.luns[j->lun].nblocks - 1 ||
	    load_be32(j->buf + 8) != w->opt.luns[j->lun].block_size)
		world_fail(w, "session %u: wrong capacity", j->s->index);
}

static void job_good(struct job *j)
{
	switch (j->kind) {
	case JOB_READ:
		check_residual(j);
		check_read(j);
		break;
	case JOB_WRITE:
		check_residual(j);
		if (j->refused)
			world_fail(&j->s->t->w, "GOOD for a part of a block");
		j->s->t->counts.writes++;
		j->s->t->counts.bytes_written += j->len;
		break;
	case JOB_CAPACITY:
		check_capacity(j);
		break;
	case JOB_READY:
		if (j->s->phase == SESS_READY)
			j->s->ready_lun++;
		break;
	case JOB_INQUIRY:
	case JOB_SYNC:
		break;
	}
	job_free(j, true);
}

/*
 * A reset by somebody else is told by a unit attention only: the commands that
 * this session had there before the one that got it may not be answered.
 */
static void doom(struct job *j)
{
	struct sess *s = j->s;

	s->probed = false;
	for (uint32_t i = 0; i < JOBS_MAX; i++) {
		struct job *o = &s->jobs[i];

		if (o->busy && o != j && o->lun == j->lun &&
		    o->cmd.req.state == INI_SENT &&
		    (int32_t)(o->cmd.req.cmdsn - j->cmd.req.cmdsn) < 0)
			o->doomed = true;
	}
}

static void job_checked(struct job *j)
{
	struct session_test *t = j->s->t;
	uint32_t sense = ini_sense(&j->cmd);
	uint32_t key = sense >> 16, asc = sense >> 8 & 0xff;

	if (key == KEY_UNIT_ATTENTION) {
		t->counts.retries++;
		/* Its own resets tell the one who makes them by the answer. */
		if ((asc == 0x29 || asc == 0x2f) && j->s->index != RESETTER)
			doom(j);
	} else if (key == KEY_ILLEGAL_REQUEST && j->refused) {
		t->counts.short_writes++;
	} else if (key == KEY_MEDIUM_ERROR && t->faults) {
		t->counts.io_errors++;
	} else {
		world_fail(&t->w, "session %u: opcode 0x%02x: sense %06x",
			   j->s->index, j->cmd.cdb[0], sense);
	}
	job_free(j, false);
}

static void job_done(struct initiator *ini, struct ini_req *req)
{
	struct job *j = container_of(req, struct job, cmd.req);
	struct session_test *t = j->s->t;

	(void)ini;
	if (j->cmd.aborted) {
		t->counts.aborts++;
		job_free(j, false);
	} else if (j->cmd.response != ISCSI_RESPONSE_COMPLETED) {
		world_fail(&t->w, "session %u: target failure", j->s->index);
	} else if (j->cmd.status == STATUS_GOOD) {
		job_good(j);
	} else if (j->cmd.status == STATUS_CHECK) {
		job_checked(j);
	} else if (j->cmd.status == STATUS_BUSY ||
		   j->cmd.status == STATUS_TASK_SET_FULL) {
		t->counts.retries++;
		job_free(j, false);
	} else {
		world_fail(&t->w, "session %u: status 0x%02x", j->s->index,
			   j->cmd.status);
	}
}

/* ------------------------------------------------------------------------
 * Making commands.
 */

static struct job *job_new(struct sess *s, enum job_kind kind, uint8_t lun,
			   uint32_t room)
{
	struct job *j = NULL;

	for (uint32_t i = 0; i < JOBS_MAX && !j; i++) {
		if (!s->jobs[i].busy)
			j = &s->jobs[i];
	}
	ASSERT(j);
	if (room > j->cap) {
		free(j->buf);
		j->buf = malloc(room);
		ASSERT(j->buf);
		j->cap = room;
	}
	memset(&j->cmd, 0, sizeof(j->cmd));
	j->s = s;
	j->kind = kind;
	j->lun = lun;
	j->busy = true;
	j->doomed = false;
	j->refused = false;
	j->len = 0;
	j->cmd.req.lun = ini_lun(lun);
	j->cmd.req.done = job_done;
	j->cmd.attr = 1;
	j->cmd.data = j->buf;
	s->nbusy++;
	return j;
}

/* A CDB of a length that holds the numbers, chosen at random. */
static void rw_cdb(struct session_test *t, struct job *j)
{
	uint32_t units = block_units(j->s, j->lun);
	uint32_t lba = j->lba / units, n = j->n / units;
	uint8_t *cdb = j->cmd.cdb;
	uint8_t fua = test_random(t, 8) == 0 ? 0x08 : 0;
	bool write = j->kind == JOB_WRITE;

	switch (test_random(t, 4)) {
	case 0:
		if (n <= 256 && lba < 1u << 21) {
			cdb[0] = write ? 0x0a : 0x08;
			store_be24(cdb + 1, lba);
			cdb[4] = (uint8_t)n; /* 256 is written as 0 */
			return;
		}
		/* fallthrough */
	case 1:
		cdb[0] = write ? 0x2a : 0x28;
		cdb[1] = fua;
		store_be32(cdb + 2, lba);
		store_be16(cdb + 7, (uint16_t)n);
		return;
	case 2:
		cdb[0] = write ? 0xaa : 0xa8;
		cdb[1] = fua;
		store_be32(cdb + 2, lba);
		store_be32(cdb + 6, n);
		return;
	default:
		cdb[0] = write ? 0x8a : 0x88;
		cdb[1] = fua;
		store_be64(cdb + 2, lba);
		store_be32(cdb + 10, n);
		return;
	}
}

/* Mostly small, sometimes as large as the range allows. */
static uint32_t random_size(struct session_test *t, uint32_t max)
{
	uint64_t dice = test_random(t, 100);
	uint32_t most = 16;

	if (dice >= 99)
		most = 2048;
	else if (dice >= 93)
		most = 256;
	else if (dice >= 70)
		most = 64;
	return 1 + (uint32_t)test_random(t, MIN(most, max));
}

static void choose_range(struct sess *s, struct job *j)
{
	uint32_t units = block_units(s, j->lun);
	uint32_t size = s->size[j->lun] / units;
	uint32_t n = random_size(s->t, MAX(1u, size));
	uint32_t at;

	if (units > 1)
		n = MAX(1u, n / units);
	at = (uint32_t)test_random(s->t, size - n + 1);
	j->lba = s->base[j->lun] + at * units;
	j->n = n * units;
	j->len = j->n * MODEL_UNIT;
}

/* The expected length is that of the CDB, but now and then it is not. */
static uint32_t choose_edtl(struct session_test *t, uint32_t len)
{
	uint32_t less;

	if (test_random(t, 16) != 0)
		return len;
	if (test_random(t, 2))
		return len + 1 + (uint32_t)test_random(t, 4096);
	less = 1 + (uint32_t)test_random(t, len);
	return test_random(t, 2) && less >= 4096 ? less & ~4095u : less;
}

static void start_rw(struct sess *s, bool write)
{
	struct session_test *t = s->t;
	uint8_t lun = (uint8_t)test_random(t, t->nluns);
	struct job probe = {.lun = lun};
	uint32_t edtl;
	struct job *j;

	choose_range(s, &probe);
	edtl = choose_edtl(t, probe.len);
	j = job_new(s, write ? JOB_WRITE : JOB_READ, lun, MAX(edtl, probe.len));
	j->lba = probe.lba;
	j->n = probe.n;
	j->len = probe.len;
	j->cmd.edtl = edtl;
	j->cmd.read = !write;
	j->cmd.write = write;
	rw_cdb(t, j);
	if (write) {
		/* Of a short write the blocks that came are written; when they
		 * are no whole blocks, none. */
		uint32_t come = MIN(edtl, j->len) / MODEL_UNIT;

		j->refused = MIN(edtl, j->len) % t->w.opt.luns[lun].block_size;
		if (!j->refused)
			j->n = come;
		j->id = model_write_begin(model_of(j), j->lba, j->n, false);
		model_fill(model_of(j), j->id, j->buf);
		if (edtl > j->len)
			memset(j->buf + j->len, 0xa5, edtl - j->len);
	} else {
		j->id = model_read_begin(model_of(j));
	}
	ini_submit(&s->ini, &j->cmd);
}

static void start_small(struct sess *s, enum job_kind kind, uint8_t lun)
{
	struct job *j = job_new(s, kind, lun, 256);
	uint8_t *cdb = j->cmd.cdb;

	if (kind == JOB_INQUIRY) {
		cdb[0] = 0x12;
		store_be16(cdb + 3, 96);
		j->cmd.edtl = 96;
		j->cmd.read = true;
	} else if (kind == JOB_CAPACITY) {
		cdb[0] = 0x9e;
		cdb[1] = 0x10;
		store_be32(cdb + 10, 32);
		j->cmd.edtl = 32;
		j->cmd.read = true;
	} else if (kind == JOB_SYNC) {
		cdb[0] = 0x35;
	}
	ini_submit(&s->ini, &j->cmd);
}

void sess_start_ready(struct sess *s)
{
	if (s->nbusy == 0)
		start_small(s, JOB_READY, s->ready_lun);
}

/* All of a small part, some of a large one. */
void sess_choose_verify(struct sess *s)
{
	uint32_t size;

	if (s->verify_lun >= s->t->nluns)
		return;
	size = s->size[s->verify_lun];
	s->verify_at = 0;
	if (size > VERIFY_MAX / MODEL_UNIT) {
		size = VERIFY_MAX / MODEL_UNIT;
		s->verify_at =
			8 *
			(uint32_t)test_random(
				s->t, (s->size[s->verify_lun] - size) / 8 + 1);
	}
	s->verify_end = s->verify_at + size;
}

void sess_start_verify(struct sess *s)
{
	uint8_t lun = s->verify_lun;
	uint32_t n;
	struct job *j;

	if (s->nbusy >= s->depth)
		return;
	n = MIN(s->verify_end - s->verify_at, VERIFY_PIECE / MODEL_UNIT);
	j = job_new(s, JOB_READ, lun, n * MODEL_UNIT);
	j->lba = s->base[lun] + s->verify_at;
	j->n = n;
	j->len = n * MODEL_UNIT;
	j->cmd.edtl = j->len;
	j->cmd.read = true;
	rw_cdb(s->t, j);
	j->id = model_read_begin(model_of(j));
	ini_submit(&s->ini, &j->cmd);
	s->verify_at += n;
	if (s->verify_at == s->verify_end) {
		s->verify_lun++;
		sess_choose_verify(s);
	}
}

/* As an initiator does whose command is not answered. */
static bool probe(struct sess *s)
{
	uint32_t luns = 0;

	if (s->probed || !s->ini.opt.others_reset)
		return false;
	for (uint32_t i = 0; i < JOBS_MAX; i++) {
		if (s->jobs[i].busy)
			luns |= 1u << s->jobs[i].lun;
	}
	for (uint8_t lun = 0; lun < s->t->nluns; lun++) {
		if (luns & 1u << lun)
			start_small(s, JOB_READY, lun);
	}
	s->probed = true;
	return luns != 0;
}

bool sess_bury(struct sess *s)
{
	bool any = false;

	if (s->phase == SESS_GONE)
		return false;
	for (uint32_t i = 0; i < JOBS_MAX; i++) {
		struct job *j = &s->jobs[i];

		if (!j->busy || !j->doomed)
			continue;
		s->t->counts.swept++;
		ini_forget(&s->ini, &j->cmd);
		any = true;
	}
	return any || probe(s);
}

/* ------------------------------------------------------------------------
 * Task management, and pings.
 */

static void tmf_done(struct initiator *ini, struct ini_req *req)
{
	struct sess *s = container_of(req, struct sess, tmf.req);

	(void)ini;
	s->tmf_busy = false;
	if (s->tmf.response != ISCSI_TMF_RSP_COMPLETE &&
	    s->tmf.response != ISCSI_TMF_RSP_NO_TASK)
		world_fail(&s->t->w, "session %u: TMF response %u", s->index,
			   s->tmf.response);
}

static void start_tmf(struct sess *s)
{
	struct session_test *t = s->t;
	struct job *j = &s->jobs[test_random(t, JOBS_MAX)];

	if (s->tmf_busy)
		return;
	memset(&s->tmf, 0, sizeof(s->tmf));
	s->tmf.req.done = tmf_done;
	s->tmf.req.immediate = test_random(t, 2);
	if (s->index == RESETTER && test_random(t, 8) == 0) {
		s->tmf.function = ISCSI_TMF_LOGICAL_UNIT_RESET;
		s->tmf.req.lun = ini_lun((uint8_t)test_random(t, t->nluns));
		t->counts.resets++;
	} else {
		if (!j->busy || j->cmd.req.state != INI_SENT)
			return;
		s->tmf.function = ISCSI_TMF_ABORT_TASK;
		s->tmf.req.lun = j->cmd.req.lun;
		s->tmf.ref = &j->cmd;
	}
	s->tmf_busy = true;
	ini_manage(&s->ini, &s->tmf);
}

static void nop_done(struct initiator *ini, struct ini_req *req)
{
	(void)ini;
	container_of(req, struct sess, nop.req)->nop_busy = false;
}

static void start_nop(struct sess *s)
{
	struct session_test *t = s->t;

	if (s->nop_busy)
		return;
	s->nop_busy = true;
	memset(&s->nop, 0, sizeof(s->nop));
	s->nop.req.done = nop_done;
	s->nop.req.immediate = test_random(t, 2);
	s->nop.data = s->nop_data;
	s->nop.len = (uint32_t)test_random(t, sizeof(s->nop_data));
	s->nop.len = MIN(s->nop.len, s->ini.p.mrdsl_out);
	for (uint32_t i = 0; i < s->nop.len; i++)
		s->nop_data[i] = (uint8_t)test_random(t, 256);
	ini_ping(&s->ini, &s->nop);
}

void sess_issue(struct sess *s)
{
	struct session_test *t = s->t;
	uint8_t lun = (uint8_t)test_random(t, t->nluns);
	uint64_t dice = test_random(t, 100);

	if (test_random(t, 1000) < t->tmf_chance)
		start_tmf(s);
	if (test_random(t, 50) == 0)
		start_nop(s);
	if (s->left == 0 || s->nbusy >= s->depth)
		return;
	s->left--;
	if (dice < 45)
		start_rw(s, false);
	else if (dice < 92)
		start_rw(s, true);
	else if (dice < 94)
		start_small(s, JOB_READY, lun);
	else if (dice < 96)
		start_small(s, JOB_INQUIRY, lun);
	else if (dice < 98)
		start_small(s, JOB_CAPACITY, lun);
	else
		start_small(s, JOB_SYNC, lun);
}

void sess_lose_jobs(struct sess *s)
{
	for (uint32_t i = 0; i < JOBS_MAX; i++) {
		struct job *j = &s->jobs[i];

		if (!j->busy)
			continue;
		if (j->kind == JOB_READ)
			model_read_end(model_of(j), j->id);
		/* A write may go on until the target has noticed. */
		if (j->kind == JOB_WRITE) {
			ASSERT(s->nlost < ARRAY_LEN(s->lost));
			s->lost[s->nlost].lun = j->lun;
			s->lost[s->nlost++].id = j->id;
		}
		j->busy = false;
	}
	s->nbusy = 0;
	s->tmf_busy = false;
	s->nop_busy = false;
}
