/* SPDX-License-Identifier: BSD-3-Clause */
/* SANITIZE and FORMAT UNIT: what the medium has then, and who waits. */
#include "rig.h"

#include <stdlib.h>
#include <string.h>

#include "scsi/wipe.h"

#define NBLOCKS 8192u

static void *create(enum rig_disk kind, const struct sim_options *sim)
{
	struct rig *rig = malloc(sizeof(*rig));

	rig_create(rig, kind, NBLOCKS, 512, NULL, sim);
	rig_clear_ua(rig);
	return rig;
}

static int setup(void **state)
{
	*state = create(DISK_MALLOC, NULL);
	return 0;
}

static int setup_file(void **state)
{
	*state = create(DISK_FILE, NULL);
	return 0;
}

static int setup_broken(void **state)
{
	static const struct sim_options sim = {
		.seed = 3, .nreactors = RIG_CORES, .io_error = 1000};

	*state = create(DISK_FILE, &sim);
	return 0;
}

static int teardown(void **state)
{
	rig_destroy(*state);
	free(*state);
	return 0;
}

static void fill(struct rig *rig)
{
	uint8_t data[256 * 512], cdb[10] = {0x2a, 0, 0, 0, 0, 0, 0, 1, 0, 0};

	memset(data, 'a', sizeof(data));
	for (uint32_t lba = 0; lba < NBLOCKS; lba += 256) {
		store_be32(cdb + 2, lba);
		check_good(rig_run(rig, 0, cdb, 10, data, sizeof(data), 0));
	}
}

/* Every block of the medium: the pattern, repeated. */
static void check_medium(struct rig *rig, const uint8_t *pattern, uint32_t len)
{
	uint8_t cdb[10] = {0x28, 0, 0, 0, 0, 0, 0, 1, 0, 0};

	for (uint32_t lba = 0; lba < NBLOCKS; lba += 256) {
		struct xfer *x;

		store_be32(cdb + 2, lba);
		x = rig_run(rig, 1, cdb, 10, NULL, 0, 256 * 512);
		check_good(x);
		for (uint32_t i = 0; i < 256 * 512; i++)
			if (x->in[i] != pattern[i % 512 % len])
				fail_msg("lba %u byte %u", lba, i);
	}
}

/* A parameter list of OVERWRITE. */
static uint32_t overwrite_list(uint8_t *p, uint8_t flags, uint16_t len)
{
	p[0] = flags;
	p[1] = 0;
	store_be16(p + 2, len);
	for (uint32_t i = 0; i < len; i++)
		p[4 + i] = (uint8_t)(i * 5 + 1);
	return 4u + len;
}

static struct xfer *new_overwrite(struct rig *rig, uint32_t nexus, uint8_t bits,
				  const uint8_t *p, uint32_t len)
{
	uint8_t cdb[10] = {0x48, (uint8_t)(bits | 1)};
	struct xfer *x;

	store_be16(cdb + 7, (uint16_t)len);
	x = xfer_new(rig, nexus, cdb, sizeof(cdb));
	xfer_out(x, p, len);
	return x;
}

static struct xfer *overwrite(struct rig *rig, const uint8_t *p, uint32_t len)
{
	uint8_t cdb[10] = {0x48, 1};

	store_be16(cdb + 7, (uint16_t)len);
	return rig_run(rig, 0, cdb, sizeof(cdb), p, len, 0);
}

static struct xfer *ready(struct rig *rig, uint32_t nexus)
{
	return rig_run(rig, nexus, CDB(0, 0, 0, 0, 0, 0), NULL, 0, 0);
}

static void patterns(void **state)
{
	static const uint16_t lens[] = {1, 3, 4, 256, 511, 512};
	struct rig *rig = *state;
	uint8_t p[4 + 512], inverted[512];

	for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
		uint32_t len = overwrite_list(p, 1, lens[i]);

		fill(rig);
		check_good(overwrite(rig, p, len));
		check_medium(rig, p + 4, lens[i]);
	}
	/* An even number of inverted passes ends with the inverse. */
	check_good(overwrite(rig, p, overwrite_list(p, 0x80 | 2, 100)));
	for (int i = 0; i < 100; i++)
		inverted[i] = (uint8_t)~p[4 + i];
	check_medium(rig, inverted, 100);
	check_good(overwrite(rig, p, overwrite_list(p, 0x80 | 3, 100)));
	check_medium(rig, p + 4, 100);
}

static void overwrite_fields(void **state)
{
	struct rig *rig = *state;
	uint8_t p[4 + 520] = {0}, cdb[10] = {0x48, 1};

	fill(rig);
	for (uint16_t len = 0; len <= 4; len++) {
		store_be16(cdb + 7, len);
		check_field(rig_run(rig, 0, cdb, 10, p, len, 0), 7, 7);
	}
	store_be16(cdb + 7, 517);
	check_field(rig_run(rig, 0, cdb, 10, p, 517, 0), 7, 7);
	store_be16(cdb + 7, 0xffff);
	check_field(rig_run(rig, 0, cdb, 10, p, 517, 0), 7, 7);
	overwrite_list(p, 1, 512);
	store_be16(cdb + 7, 516);
	check_sense(rig_run(rig, 0, cdb, 10, p, 515, 0), KEY_ILLEGAL_REQUEST,
		    ASC_PARAM_LIST_LENGTH);
	for (int i = 0; i < 5; i++) {
		static const uint8_t flags[] = {0x00, 0x80, 0x21, 1, 1};
		static const uint16_t lens[] = {8, 8, 8, 0, 9};

		overwrite_list(p, flags[i], lens[i]);
		check_sense(overwrite(rig, p, 12), KEY_ILLEGAL_REQUEST,
			    ASC_INVALID_FIELD_IN_PARAM);
	}
	store_be16(p + 2, 513);
	p[0] = 1;
	check_sense(overwrite(rig, p, 516), KEY_ILLEGAL_REQUEST,
		    ASC_INVALID_FIELD_IN_PARAM);
	/* The others take no list; and there are no others. */
	check_field(
		rig_run(rig, 0, CDB(0x48, 2, 0, 0, 0, 0, 0, 0, 8, 0), p, 8, 0),
		7, 7);
	check_field(rig_run(rig, 0, CDB(0x48, 0x1f, 0, 0, 0, 0, 0, 0, 8, 0), p,
			    8, 0),
		    7, 7);
	for (uint8_t sa = 0; sa < 0x1f; sa++) {
		uint8_t other[10] = {0x48, sa};

		if (sa != 1 && sa != 2)
			check_field(rig_run(rig, 0, other, 10, NULL, 0, 0), 1,
				    4);
	}
	check_field(rig_run(rig, 0, CDB(0x48, 0x42, 0, 0, 0, 0, 0, 0, 0, 0),
			    NULL, 0, 0),
		    1, 6);
	check_good(rig_run(rig, 0, CDB(0x48, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0),
			   NULL, 0, 0));
	check_medium(rig, (const uint8_t *)"a", 1);
}

static void erase_and_format(void **state)
{
	struct rig *rig = *state;
	uint8_t zero = 0, p[8] = {0};

	fill(rig);
	check_good(rig_run(rig, 0, CDB(0x48, 2, 0, 0, 0, 0, 0, 0, 0, 0), NULL,
			   0, 0));
	check_medium(rig, &zero, 1);
	fill(rig);
	check_good(rig_run(rig, 0, CDB(4, 0, 0, 0, 0, 0), NULL, 0, 0));
	check_medium(rig, &zero, 1);
	fill(rig);
	p[1] = 0x80 | 0x70;
	check_good(rig_run(rig, 0, CDB(4, 0x10, 0, 0, 0, 0), p, 4, 0));
	check_medium(rig, &zero, 1);
	check_good(rig_run(rig, 0, CDB(4, 0x30, 0, 0, 0, 0), p, 8, 0));
	check_field(rig_run(rig, 0, CDB(4, 0x80, 0, 0, 0, 0), NULL, 0, 0), 1,
		    7);
	check_field(rig_run(rig, 0, CDB(4, 0x04, 0, 0, 0, 0), NULL, 0, 0), 1,
		    2);
	check_sense(rig_run(rig, 0, CDB(4, 0x10, 0, 0, 0, 0), p, 3, 0),
		    KEY_ILLEGAL_REQUEST, ASC_PARAM_LIST_LENGTH);
	check_sense(rig_run(rig, 0, CDB(4, 0x30, 0, 0, 0, 0), p, 7, 0),
		    KEY_ILLEGAL_REQUEST, ASC_PARAM_LIST_LENGTH);
	for (int i = 0; i < 5; i++) {
		static const uint8_t bad[][8] = {
			{1}, {0, 0x20}, {0, 0x88}, {0, 0, 0, 8}, {0, 0, 1, 0}};

		check_sense(
			rig_run(rig, 0, CDB(4, 0x10, 0, 0, 0, 0), bad[i], 4, 0),
			KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_PARAM);
	}
	p[7] = 1;
	check_sense(rig_run(rig, 0, CDB(4, 0x30, 0, 0, 0, 0), p, 8, 0),
		    KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_PARAM);
}

/* One step after the other, until the unit is being wiped on all cores. */
static void until_running(struct rig *rig)
{
	struct lun *lun = rig->device->slots[0]->lun;

	while (!wipe_running(&lun->views[0].state) ||
	       !wipe_running(&lun->views[1].state))
		assert_true(sim_step(rig->set, RIG_LIMIT_NS));
}

static struct xfer *start_slow(struct rig *rig, uint8_t bits, uint8_t *p)
{
	struct xfer *x;

	/* Many passes: it lasts. */
	x = new_overwrite(rig, 0, bits, p, overwrite_list(p, 31, 4));
	xfer_start(x);
	until_running(rig);
	return x;
}

static void step_to(struct rig *rig, struct xfer *x)
{
	xfer_start(x);
	while (!x->done)
		assert_true(sim_step(rig->set, RIG_LIMIT_NS));
}

static void check_running(struct rig *rig, uint32_t nexus)
{
	static const uint8_t cdbs[][10] = {
		{0x00},
		{0x1b, 0, 0, 0, 1},
		{0x28, 0, 0, 0, 0, 0, 0, 0, 1},
		{0x48, 2},
		{0x04},
		{0x1a, 0, 0x3f, 0, 255},
	};
	struct xfer *x;

	for (size_t i = 0; i < ARRAY_LEN(cdbs); i++) {
		x = xfer_new(rig, nexus, cdbs[i], 10);
		x->task.edtl_in = 512;
		step_to(rig, x);
		check_sense(x, KEY_NOT_READY, ASC_SANITIZE_IN_PROGRESS);
		xfer_free(x);
	}
	x = xfer_new(rig, nexus, CDB(0x12, 0, 0, 0, 96, 0));
	x->task.edtl_in = 96;
	step_to(rig, x);
	check_good(x);
	xfer_free(x);
	x = xfer_new(rig, nexus, CDB(0x03, 0, 0, 0, 252, 0));
	x->task.edtl_in = 252;
	step_to(rig, x);
	check_good(x);
	assert_int_equal(x->in[2], KEY_NOT_READY);
	assert_int_equal(load_be16(x->in + 12), ASC_SANITIZE_IN_PROGRESS);
	assert_int_equal(x->in[15], 0x80);
	xfer_free(x);
	assert_true(wipe_running(&rig->device->slots[0]->lun->views[0].state));
}

static void meanwhile(void **state)
{
	struct rig *rig = *state;
	uint8_t p[516];
	struct xfer *x;

	fill(rig);
	x = start_slow(rig, 0, p);
	check_running(rig, 0);
	check_running(rig, 1);
	assert_false(x->done);
	rig_settle(rig);
	assert_true(x->released);
	check_good(x);
	xfer_free(x);
	check_good(ready(rig, 1));
	check_medium(rig, p + 4, 4);
	/* IMMED. */
	fill(rig);
	x = start_slow(rig, 0x80, p);
	while (!x->done)
		assert_true(sim_step(rig->set, RIG_LIMIT_NS));
	check_good(x);
	check_running(rig, 0);
	xfer_free(x);
	rig_settle(rig);
	check_good(ready(rig, 1));
	check_medium(rig, p + 4, 4);
}

struct ending {
	struct scsi_tmf tmf;
	bool done;
};

static void tmf_done(struct scsi_tmf *tmf)
{
	container_of(tmf, struct ending, tmf)->done = true;
}

struct tmf_mail {
	struct mail mail;
	struct ending *e;
};

static void run_tmf(struct mail *mail)
{
	struct tmf_mail *m = container_of(mail, struct tmf_mail, mail);

	scsi_tmf_start(&m->e->tmf);
}

static void step_tmf(struct rig *rig, enum scsi_tmf_function f)
{
	struct ending e = {.tmf = {.nexus = &rig->nexus[0],
				   .function = f,
				   .done = tmf_done}};
	struct tmf_mail m = {.mail.run = run_tmf, .e = &e};

	mail_post(rig->nexus[0].reactor, &m.mail);
	while (!e.done)
		assert_true(sim_step(rig->set, RIG_LIMIT_NS));
}

static void check_wiping(struct rig *rig)
{
	struct xfer *x = xfer_new(rig, 0, CDB(0, 0, 0, 0, 0, 0));

	step_to(rig, x);
	check_sense(x, KEY_NOT_READY, ASC_SANITIZE_IN_PROGRESS);
	xfer_free(x);
}

/* No reset and no abort stops it. */
static void resets(void **state)
{
	struct rig *rig = *state;
	uint8_t p[516];
	struct xfer *x;

	fill(rig);
	x = start_slow(rig, 0, p);
	step_tmf(rig, SCSI_TMF_ABORT_TASK_SET);
	assert_true(x->released && x->aborted);
	xfer_free(x);
	check_wiping(rig);
	step_tmf(rig, SCSI_TMF_LOGICAL_UNIT_RESET);
	memset(rig->nexus[0].ua, 0, sizeof(rig->nexus[0].ua));
	check_wiping(rig);
	step_tmf(rig, SCSI_TMF_TARGET_COLD_RESET);
	memset(rig->nexus[0].ua, 0, sizeof(rig->nexus[0].ua));
	check_wiping(rig);
	rig_settle(rig);
	rig_clear_ua(rig);
	check_good(ready(rig, 0));
	check_medium(rig, p + 4, 4);
}

/* A WRITE that has begun ends first. */
static void after_a_write(void **state)
{
	struct rig *rig = *state;
	uint8_t p[516], data[512];
	struct xfer *x, *w;

	fill(rig);
	memset(data, 'w', sizeof(data));
	w = xfer_new(rig, 1, CDB(0x2a, 0, 0, 0, 0, 5, 0, 0, 1, 0));
	xfer_out(w, data, sizeof(data));
	w->hold = HOLD_DATA;
	xfer_start(w);
	rig_settle(rig);
	assert_true(w->wanted);
	x = new_overwrite(rig, 0, 0, p, overwrite_list(p, 1, 4));
	xfer_start(x);
	rig_settle(rig);
	assert_false(x->done);
	xfer_go(w);
	rig_settle(rig);
	check_good(w);
	check_good(x);
	xfer_free(w);
	xfer_free(x);
	check_medium(rig, p + 4, 4);
}

/* A backend that cannot: the unit says so until it may forget it. */
static void failure(void **state)
{
	struct rig *rig = *state;
	uint8_t p[516], cdb[10] = {0x48, 1};
	uint32_t len = overwrite_list(p, 1, 4);
	struct xfer *x;

	check_sense(overwrite(rig, p, len), KEY_MEDIUM_ERROR,
		    ASC_SANITIZE_FAILED);
	check_sense(ready(rig, 1), KEY_MEDIUM_ERROR, ASC_SANITIZE_FAILED);
	check_sense(rig_run(rig, 0, CDB(4, 0, 0, 0, 0, 0), NULL, 0, 0),
		    KEY_MEDIUM_ERROR, ASC_SANITIZE_FAILED);
	x = rig_run(rig, 1, CDB(0x03, 0, 0, 0, 252, 0), NULL, 0, 252);
	check_good(x);
	assert_int_equal(load_be16(x->in + 12), ASC_SANITIZE_FAILED);
	/* The completion was to be restricted. */
	check_field(rig_run(rig, 0, CDB(0x48, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0),
			    NULL, 0, 0),
		    1, 4);
	cdb[1] |= 0x20;
	store_be16(cdb + 7, (uint16_t)len);
	check_sense(rig_run(rig, 0, cdb, 10, p, len, 0), KEY_MEDIUM_ERROR,
		    ASC_SANITIZE_FAILED);
	check_good(rig_run(rig, 0, CDB(0x48, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0),
			   NULL, 0, 0));
	check_good(ready(rig, 1));
	check_sense(rig_run(rig, 0, CDB(4, 0, 0, 0, 0, 0), NULL, 0, 0),
		    KEY_MEDIUM_ERROR, ASC_FORMAT_CORRUPTED);
	check_sense(ready(rig, 1), KEY_MEDIUM_ERROR, ASC_FORMAT_CORRUPTED);
}

struct remove {
	struct scsi_change change;
	struct mail mail;
	struct rig *rig;
	bool done;
};

static void removed(struct scsi_change *c)
{
	container_of(c, struct remove, change)->done = true;
}

static void remove_lun(struct mail *mail)
{
	struct remove *r = container_of(mail, struct remove, mail);

	assert_int_equal(scsi_device_remove_lun(r->rig->device, 0, &r->change),
			 0);
}

/* The LUN leaves in the middle of it. */
static void leaves(void **state)
{
	struct rig *rig = *state;
	struct remove r = {
		.change.done = removed, .mail.run = remove_lun, .rig = rig};
	uint8_t p[516];
	struct xfer *x = start_slow(rig, 0, p);

	mail_post(reactors_get(rig->set, 0), &r.mail);
	rig_settle(rig);
	assert_true(r.done && x->released);
	xfer_free(x);
	assert_true(list_empty(&rig->server->luns));
}

static void protected_unit(void **state)
{
	struct rig *rig = *state;
	uint8_t p[516],
		sel[] = {0, 0, 0, 0, 0x0a, 10, 0, 0x10, 8, 0, 0, 0, 0, 0, 0, 0};

	fill(rig);
	check_good(rig_run(rig, 0, CDB(0x15, 0x10, 0, 0, 16, 0), sel, 16, 0));
	check_sense(overwrite(rig, p, overwrite_list(p, 1, 4)),
		    KEY_DATA_PROTECT, ASC_SW_WRITE_PROTECTED);
	check_sense(rig_run(rig, 0, CDB(4, 0, 0, 0, 0, 0), NULL, 0, 0),
		    KEY_DATA_PROTECT, ASC_SW_WRITE_PROTECTED);
}

#define ONE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
#define BOTH(fn) \
	ONE(fn), cmocka_unit_test_setup_teardown(fn, setup_file, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(patterns),
		BOTH(overwrite_fields),
		BOTH(erase_and_format),
		BOTH(meanwhile),
		BOTH(resets),
		BOTH(after_a_write),
		BOTH(leaves),
		ONE(protected_unit),
		cmocka_unit_test_setup_teardown(failure, setup_broken,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
