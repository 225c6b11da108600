/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random commands from four sessions on two cores, against a model of the
 * disk; and counters that COMPARE AND WRITE increments under contention.
 */
#include "rig.h"

#include <stdlib.h>
#include <string.h>

#define NBLOCKS	   512u
#define SLOTS	   12
#define BLOCKS_MAX 64u

enum kind {
	K_READ,
	K_WRITE,
	K_VERIFY,
	K_WRITE_VERIFY,
	K_SAME,
	K_UNMAP,
	K_CAW,
	K_OR,
	K_COUNT
};

struct model {
	struct rig *rig;
	uint32_t bs;
	uint8_t *image;
	bool *unknown; /* per block: an aborted write */
	struct slot {
		struct xfer *x;
		enum kind kind;
		uint32_t lba, n;
		uint8_t *out;
		bool match; /* K_VERIFY, K_CAW: it shall be found so */
	} slots[SLOTS];
};

static uint32_t rnd(struct model *m, uint32_t n)
{
	return (uint32_t)(sim_random(m->rig->set) % n);
}

static bool overlaps(struct model *m, uint32_t lba, uint32_t n)
{
	for (int i = 0; i < SLOTS; i++) {
		const struct slot *s = &m->slots[i];

		if (s->x != NULL && lba < s->lba + s->n && s->lba < lba + n)
			return true;
	}
	return false;
}

static bool any_unknown(struct model *m, uint32_t lba, uint32_t n)
{
	for (uint32_t i = lba; i < lba + n; i++)
		if (m->unknown[i])
			return true;
	return false;
}

static void fill_random(struct model *m, uint8_t *p, uint32_t len)
{
	uint64_t v;

	for (uint32_t i = 0; i < len; i += 8) {
		v = sim_random(m->rig->set);
		memcpy(p + i, &v, 8);
	}
}

static void rw16(uint8_t *cdb, uint8_t opcode, uint32_t lba, uint32_t n)
{
	cdb[0] = opcode;
	store_be64(cdb + 2, lba);
	store_be32(cdb + 10, n);
}

/* Builds CDB and data; returns how much data-out there is. */
static uint32_t build(struct model *m, struct slot *s, uint8_t *cdb)
{
	uint32_t len = s->n * m->bs;
	uint8_t *now = m->image + s->lba * m->bs;

	s->match = rnd(m, 3) != 0;
	switch (s->kind) {
	case K_READ:
		rw16(cdb, OP_READ_16, s->lba, s->n);
		return 0;
	case K_WRITE:
		rw16(cdb, OP_WRITE_16, s->lba, s->n);
		cdb[1] = rnd(m, 4) == 0 ? CDB_FUA : 0;
		fill_random(m, s->out, len);
		return len;
	case K_WRITE_VERIFY:
		rw16(cdb, OP_WRITE_VERIFY_16, s->lba, s->n);
		cdb[1] = (uint8_t)(rnd(m, 2) << 1);
		fill_random(m, s->out, len);
		return len;
	case K_VERIFY:
		rw16(cdb, OP_VERIFY_16, s->lba, s->n);
		cdb[1] = 0x02;
		memcpy(s->out, now, len);
		if (!s->match)
			s->out[rnd(m, len)] ^= 0x10;
		return len;
	case K_SAME:
		rw16(cdb, OP_WRITE_SAME_16, s->lba, s->n);
		cdb[1] = (uint8_t)(rnd(m, 2) << 3); /* UNMAP */
		memset(s->out, 0, m->bs);
		if (rnd(m, 3) == 0) {
			cdb[1] |= WS_NDOB;
			return 0;
		}
		if (rnd(m, 2))
			fill_random(m, s->out, m->bs);
		return m->bs;
	case K_UNMAP:
		cdb[0] = OP_UNMAP;
		cdb[8] = 24;
		memset(s->out, 0, 24);
		store_be16(s->out, 22);
		store_be16(s->out + 2, 16);
		store_be64(s->out + 8, s->lba);
		store_be32(s->out + 16, s->n);
		return 24;
	case K_CAW:
		s->n = MIN(s->n, 16u);
		len = s->n * m->bs;
		rw16(cdb, OP_COMPARE_AND_WRITE, s->lba, 0);
		cdb[13] = (uint8_t)s->n;
		memcpy(s->out, now, len);
		if (!s->match)
			s->out[rnd(m, len)] ^= 0x01;
		fill_random(m, s->out + len, len);
		return 2 * len;
	case K_OR:
		rw16(cdb, OP_ORWRITE_16, s->lba, s->n);
		fill_random(m, s->out, len);
		return len;
	case K_COUNT:
		break;
	}
	fail();
	return 0;
}

static void start_one(struct model *m, struct slot *s)
{
	uint8_t cdb[16] = {0};
	uint32_t out;

	s->kind = (enum kind)rnd(m, K_COUNT);
	s->lba = rnd(m, NBLOCKS);
	s->n = MIN(1 + rnd(m, rnd(m, 2) ? BLOCKS_MAX : 4), NBLOCKS - s->lba);
	if (overlaps(m, s->lba, s->n))
		return;
	if ((s->kind == K_VERIFY || s->kind == K_CAW || s->kind == K_OR) &&
	    any_unknown(m, s->lba, s->n))
		return;
	out = build(m, s, cdb);
	s->x = xfer_new(m->rig, rnd(m, RIG_NEXUSES), cdb, sizeof(cdb));
	s->x->task.stable_data = rnd(m, 2);
	if (out > 0)
		xfer_out(s->x, s->out, out);
	if (s->kind == K_READ)
		s->x->task.edtl_in = s->n * m->bs;
	xfer_start(s->x);
}

static void check_read(struct model *m, const struct slot *s)
{
	assert_int_equal(s->x->in_len, s->n * m->bs);
	for (uint32_t i = 0; i < s->n; i++) {
		if (m->unknown[s->lba + i])
			continue;
		assert_memory_equal(s->x->in + i * m->bs,
				    m->image + (s->lba + i) * m->bs, m->bs);
	}
}

static void finish_one(struct model *m, struct slot *s)
{
	uint32_t len = s->n * m->bs;
	uint8_t *now = m->image + s->lba * m->bs;

	if ((s->kind == K_VERIFY || s->kind == K_CAW) && !s->match) {
		check_sense(s->x, KEY_MISCOMPARE, ASC_MISCOMPARE);
		goto out;
	}
	check_good(s->x);
	if (s->kind == K_READ)
		check_read(m, s);
	if (s->kind == K_WRITE || s->kind == K_WRITE_VERIFY)
		memcpy(now, s->out, len);
	if (s->kind == K_SAME)
		for (uint32_t i = 0; i < s->n; i++)
			memcpy(now + i * m->bs, s->out, m->bs);
	if (s->kind == K_UNMAP)
		memset(now, 0, len);
	if (s->kind == K_CAW)
		memcpy(now, s->out + len, len);
	if (s->kind == K_OR)
		for (uint32_t i = 0; i < len; i++)
			now[i] |= s->out[i];
out:
	xfer_free(take(&s->x));
}

static void run_model(enum rig_disk kind, uint32_t bs, uint32_t rounds,
		      uint64_t seed)
{
	struct sim_options sim = {
		.seed = seed, .nreactors = RIG_CORES, .latency_max_ns = 100000};
	struct rig *rig = malloc(sizeof(*rig));
	struct model *m = calloc(1, sizeof(*m));

	rig_create(rig, kind, NBLOCKS, bs, NULL, &sim);
	rig_clear_ua(rig);
	m->rig = rig;
	m->bs = bs;
	m->image = calloc(NBLOCKS, bs);
	m->unknown = calloc(NBLOCKS, sizeof(bool));
	for (int i = 0; i < SLOTS; i++)
		m->slots[i].out = malloc(2 * BLOCKS_MAX * bs);
	for (uint32_t i = 0; i < rounds; i++) {
		struct slot *s = &m->slots[rnd(m, SLOTS)];

		if (s->x == NULL)
			start_one(m, s);
		else if (s->x->released)
			finish_one(m, s);
		sim_step(rig->set, RIG_LIMIT_NS);
	}
	rig_settle(rig);
	for (int i = 0; i < SLOTS; i++) {
		if (m->slots[i].x != NULL)
			finish_one(m, &m->slots[i]);
		free(m->slots[i].out);
	}
	for (uint32_t lba = 0; lba < NBLOCKS; lba += 64) {
		uint8_t cdb[16] = {0};

		rw16(cdb, OP_READ_16, lba, 64);
		rig_run(rig, lba / 64 % RIG_NEXUSES, cdb, 16, NULL, 0, 64 * bs);
		check_good(rig->last);
		assert_memory_equal(rig->last->in, m->image + lba * bs,
				    64 * bs);
	}
	free(m->image);
	free(m->unknown);
	rig_destroy(rig);
	free(m);
	free(rig);
}

static void ram_disk(void **state)
{
	run_model(DISK_MALLOC, 512, 40000, 1);
	run_model(DISK_MALLOC, 4096, 20000, 2);
}

static void file(void **state)
{
	run_model(DISK_FILE, 512, 40000, 3);
	run_model(DISK_FILE, 4096, 20000, 4);
}

/* ---- Counters. */

#define COUNTERS   8
#define INCREMENTS 1500u

struct worker {
	struct xfer *x;
	uint32_t nexus, counter;
	uint64_t seen; /* what it believes the counter is */
	bool writes_beside;
	uint32_t done;
};

static void caw_start(struct rig *rig, struct worker *w)
{
	uint8_t cdb[16] = {0};
	uint8_t out[2 * 512] = {0};

	rw16(cdb, OP_COMPARE_AND_WRITE, w->counter, 0);
	cdb[13] = 1;
	store_be64(out, w->seen);
	store_be64(out + 512, w->seen + 1);
	w->x = xfer_new(rig, w->nexus, cdb, sizeof(cdb));
	xfer_out(w->x, out, sizeof(out));
	xfer_start(w->x);
}

/* A write over blocks that nobody counts in, next to those. */
static void beside_start(struct rig *rig, struct worker *w)
{
	uint8_t cdb[16] = {0};
	uint8_t out[4 * 512];

	memset(out, (int)w->done, sizeof(out));
	rw16(cdb, OP_WRITE_16, COUNTERS + w->counter * 4, 4);
	w->x = xfer_new(rig, w->nexus, cdb, sizeof(cdb));
	xfer_out(w->x, out, sizeof(out));
	xfer_start(w->x);
}

static void read_counter(struct rig *rig, struct worker *w)
{
	uint8_t cdb[16] = {0};

	rw16(cdb, OP_READ_16, w->counter, 1);
	w->x = xfer_new(rig, w->nexus, cdb, sizeof(cdb));
	w->x->task.edtl_in = 512;
	xfer_start(w->x);
}

/* One step of a worker; counts its increments in @total. */
static void step_worker(struct rig *rig, struct worker *w, uint64_t *total)
{
	struct xfer *x = w->x;

	if (!x->released)
		return;
	w->x = NULL;
	w->counter = (uint32_t)(sim_random(rig->set) % COUNTERS);
	if (x->task.cdb[0] == OP_READ_16) {
		check_good(x);
		w->counter = (uint32_t)load_be64(x->task.cdb + 2);
		w->seen = load_be64(x->in);
		caw_start(rig, w);
	} else if (x->task.cdb[0] == OP_COMPARE_AND_WRITE) {
		if (x->task.status == SCSI_GOOD) {
			(*total)++;
			w->done++;
		} else {
			check_sense(x, KEY_MISCOMPARE, ASC_MISCOMPARE);
		}
		read_counter(rig, w);
	} else {
		check_good(x);
		w->done++;
		beside_start(rig, w);
	}
	xfer_free(x);
}

static void count_up(enum rig_disk kind, uint64_t seed)
{
	struct sim_options sim = {
		.seed = seed, .nreactors = RIG_CORES, .latency_max_ns = 20000};
	struct rig *rig = malloc(sizeof(*rig));
	struct worker w[8] = {0};
	uint64_t total = 0, sum = 0;

	rig_create(rig, kind, NBLOCKS, 512, NULL, &sim);
	rig_clear_ua(rig);
	for (uint32_t i = 0; i < ARRAY_LEN(w); i++) {
		w[i].nexus = i % RIG_NEXUSES;
		w[i].counter = i;
		w[i].writes_beside = i >= 6;
		if (w[i].writes_beside)
			beside_start(rig, &w[i]);
		else
			read_counter(rig, &w[i]);
	}
	while (total < INCREMENTS) {
		assert_true(sim_step(rig->set, RIG_LIMIT_NS));
		for (uint32_t i = 0; i < ARRAY_LEN(w); i++)
			step_worker(rig, &w[i], &total);
	}
	rig_settle(rig);
	for (uint32_t i = 0; i < ARRAY_LEN(w); i++) {
		if (w[i].x->task.cdb[0] == OP_COMPARE_AND_WRITE &&
		    w[i].x->task.status == SCSI_GOOD)
			total++;
		xfer_free(w[i].x);
	}
	rig_run(rig, 0, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, COUNTERS, 0), NULL, 0,
		COUNTERS * 512);
	for (uint32_t i = 0; i < COUNTERS; i++)
		sum += load_be64(rig->last->in + i * 512);
	assert_int_equal(sum, total);
	rig_destroy(rig);
	free(rig);
}

static void counters(void **state)
{
	count_up(DISK_MALLOC, 11);
	count_up(DISK_FILE, 12);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ram_disk),
		cmocka_unit_test(file),
		cmocka_unit_test(counters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
