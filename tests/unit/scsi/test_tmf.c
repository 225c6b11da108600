/* SPDX-License-Identifier: BSD-3-Clause */
/* Task management: each function ends the commands it is meant to. */
#include "rig.h"

#include <stdlib.h>
#include <string.h>

static const uint8_t write10[] = {0x2a, 0, 0, 0, 0, 8, 0, 0, 8, 0};
static uint8_t data[8 * 512];

struct tmf {
	struct scsi_tmf tmf;
	struct mail mail;
	bool done;
};

static void tmf_done(struct scsi_tmf *tmf)
{
	container_of(tmf, struct tmf, tmf)->done = true;
}

static void tmf_start(struct mail *mail)
{
	struct tmf *t = container_of(mail, struct tmf, mail);

	scsi_tmf_start(&t->tmf);
	assert_false(t->done); /* never from inside the call */
}

static void tmf_post(struct rig *rig, struct tmf *t, uint32_t nexus,
		     enum scsi_tmf_function f, struct scsi_task *task)
{
	memset(t, 0xa5, sizeof(*t));
	t->done = false;
	t->tmf.nexus = &rig->nexus[nexus];
	t->tmf.function = f;
	t->tmf.lun = 0;
	t->tmf.task = task;
	t->tmf.done = tmf_done;
	t->mail.run = tmf_start;
	mail_post(t->tmf.nexus->reactor, &t->mail);
}

static enum scsi_tmf_response tmf_run(struct rig *rig, uint32_t nexus,
				      enum scsi_tmf_function f,
				      struct scsi_task *task)
{
	struct tmf t;

	tmf_post(rig, &t, nexus, f, task);
	rig_settle(rig);
	assert_true(t.done);
	return t.tmf.response;
}

static int setup(void **state)
{
	struct rig *rig = malloc(sizeof(*rig));

	rig_create(rig, DISK_FILE, 2048, 512, NULL, NULL);
	rig_clear_ua(rig);
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	rig_destroy(*state);
	free(*state);
	return 0;
}

/* A write on each nexus that waits for its data. */
static void hold_writes(struct rig *rig, struct xfer *x[RIG_NEXUSES])
{
	for (uint32_t n = 0; n < RIG_NEXUSES; n++) {
		x[n] = xfer_new(rig, n, write10, sizeof(write10));
		xfer_out(x[n], data, sizeof(data));
		x[n]->hold = HOLD_DATA;
		xfer_start(x[n]);
		rig_settle(rig);
		assert_true(x[n]->wanted);
	}
}

static void end_writes(struct rig *rig, struct xfer *x[RIG_NEXUSES])
{
	for (uint32_t n = 0; n < RIG_NEXUSES; n++) {
		if (!x[n]->released) {
			xfer_go(x[n]);
			rig_settle(rig);
			check_good(x[n]);
		}
		xfer_free(x[n]);
	}
}

static void expect_ua(struct rig *rig, uint32_t nexus, uint16_t asc)
{
	if (asc != 0)
		check_sense(
			rig_run(rig, nexus, CDB(0, 0, 0, 0, 0, 0), NULL, 0, 0),
			KEY_UNIT_ATTENTION, asc);
	check_good(rig_run(rig, nexus, CDB(0, 0, 0, 0, 0, 0), NULL, 0, 0));
}

static void abort_task(void **state)
{
	struct rig *rig = *state;
	struct xfer *x[RIG_NEXUSES];

	hold_writes(rig, x);
	assert_int_equal(tmf_run(rig, 1, SCSI_TMF_QUERY_TASK, &x[1]->task),
			 SCSI_TMF_SUCCEEDED);
	assert_int_equal(tmf_run(rig, 1, SCSI_TMF_ABORT_TASK, &x[1]->task),
			 SCSI_TMF_COMPLETE);
	for (uint32_t n = 0; n < RIG_NEXUSES; n++) {
		assert_int_equal(x[n]->aborted, n == 1);
		assert_int_equal(x[n]->released, n == 1);
	}
	assert_int_equal(x[1]->task.status, SCSI_GOOD);
	end_writes(rig, x);
	for (uint32_t n = 0; n < RIG_NEXUSES; n++)
		expect_ua(rig, n, 0);
	assert_int_equal(tmf_run(rig, 1, SCSI_TMF_ABORT_TASK, NULL),
			 SCSI_TMF_COMPLETE);
	assert_int_equal(tmf_run(rig, 1, SCSI_TMF_QUERY_TASK, NULL),
			 SCSI_TMF_COMPLETE);
}

static void sets(void **state)
{
	struct rig *rig = *state;
	struct xfer *x[RIG_NEXUSES];

	hold_writes(rig, x);
	assert_int_equal(tmf_run(rig, 2, SCSI_TMF_QUERY_TASK_SET, NULL),
			 SCSI_TMF_SUCCEEDED);
	assert_int_equal(tmf_run(rig, 2, SCSI_TMF_ABORT_TASK_SET, NULL),
			 SCSI_TMF_COMPLETE);
	for (uint32_t n = 0; n < RIG_NEXUSES; n++)
		assert_int_equal(x[n]->released, n == 2);
	assert_int_equal(tmf_run(rig, 2, SCSI_TMF_QUERY_TASK_SET, NULL),
			 SCSI_TMF_COMPLETE);
	end_writes(rig, x);

	hold_writes(rig, x);
	assert_int_equal(tmf_run(rig, 2, SCSI_TMF_CLEAR_TASK_SET, NULL),
			 SCSI_TMF_COMPLETE);
	for (uint32_t n = 0; n < RIG_NEXUSES; n++) {
		assert_true(x[n]->released && x[n]->aborted);
		assert_int_equal(x[n]->task.status, SCSI_GOOD);
		expect_ua(rig, n, n == 2 ? 0 : ASC_COMMANDS_CLEARED);
	}
	end_writes(rig, x);
}

static void resets(void **state)
{
	static const struct {
		enum scsi_tmf_function f;
		uint16_t asc;
	} rows[] = {
		{SCSI_TMF_LOGICAL_UNIT_RESET, ASC_DEVICE_RESET},
		{SCSI_TMF_TARGET_WARM_RESET, ASC_BUS_RESET},
		{SCSI_TMF_TARGET_COLD_RESET, ASC_BUS_RESET},
	};
	struct rig *rig = *state;
	struct xfer *x[RIG_NEXUSES];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		hold_writes(rig, x);
		assert_int_equal(tmf_run(rig, 3, rows[i].f, NULL),
				 SCSI_TMF_COMPLETE);
		for (uint32_t n = 0; n < RIG_NEXUSES; n++) {
			assert_true(x[n]->released && x[n]->aborted);
			expect_ua(rig, n, rows[i].asc);
		}
		end_writes(rig, x);
	}
	hold_writes(rig, x);
	assert_int_equal(tmf_run(rig, 0, SCSI_TMF_I_T_NEXUS_RESET, NULL),
			 SCSI_TMF_COMPLETE);
	for (uint32_t n = 0; n < RIG_NEXUSES; n++)
		assert_int_equal(x[n]->released, n == 0);
	end_writes(rig, x);
}

/* TAS (SPC-4, 7.5.10): status for the commands of others. */
static void task_aborted_status(void **state)
{
	uint8_t list[4 + 12] = {[4] = 0x0a, 0x0a, 0, 0x10, 0, 0x40};
	struct rig *rig = *state;
	struct xfer *x[RIG_NEXUSES];

	check_good(rig_run(rig, 1, CDB(0x15, 0x10, 0, 0, 16, 0), list,
			   sizeof(list), 0));
	for (uint32_t n = 0; n < RIG_NEXUSES; n++)
		expect_ua(rig, n, n == 1 ? 0 : ASC_MODE_CHANGED);
	hold_writes(rig, x);
	assert_int_equal(tmf_run(rig, 2, SCSI_TMF_CLEAR_TASK_SET, NULL),
			 SCSI_TMF_COMPLETE);
	for (uint32_t n = 0; n < RIG_NEXUSES; n++) {
		assert_int_equal(x[n]->task.status,
				 n == 2 ? SCSI_GOOD : SCSI_TASK_ABORTED);
		expect_ua(rig, n, 0);
	}
	end_writes(rig, x);
}

/* A function ends when the last command that it ends is released. */
static void waits_for_release(void **state)
{
	struct rig *rig = *state;
	struct xfer *x = xfer_new(rig, 0, write10, sizeof(write10));
	struct tmf tmf;

	xfer_out(x, data, sizeof(data));
	x->hold = HOLD_DATA | HOLD_RELEASE;
	xfer_start(x);
	rig_settle(rig);
	tmf_post(rig, &tmf, 1, SCSI_TMF_LOGICAL_UNIT_RESET, NULL);
	rig_settle(rig);
	assert_true(x->aborted && !x->released);
	assert_false(tmf.done);
	xfer_release(x);
	rig_settle(rig);
	assert_true(tmf.done);
	xfer_free(x);
}

/* Commands that the backend has: it ends when the backend gives them back. */
static void waits_for_backend(void **state)
{
	struct rig *rig = *state;
	struct xfer *x = xfer_new(rig, 1, write10, sizeof(write10));
	struct tmf tmf;

	xfer_out(x, data, sizeof(data));
	xfer_start(x);
	while (!x->wanted || x->task.state != SCSI_TASK_RUNNING)
		assert_true(sim_step(rig->set, RIG_LIMIT_NS));
	tmf_post(rig, &tmf, 0, SCSI_TMF_LOGICAL_UNIT_RESET, NULL);
	while (!tmf.done) {
		assert_true(sim_step(rig->set, RIG_LIMIT_NS));
		if (tmf.done)
			assert_true(x->released);
	}
	rig_settle(rig);
	xfer_free(x);
}

static void wrong_ones(void **state)
{
	struct rig *rig = *state;
	struct tmf t;

	assert_int_equal(tmf_run(rig, 0, SCSI_TMF_CLEAR_ACA, NULL),
			 SCSI_TMF_REJECTED);
	tmf_post(rig, &t, 0, SCSI_TMF_LOGICAL_UNIT_RESET, NULL);
	t.tmf.lun = 9ull << 48;
	rig_settle(rig);
	assert_true(t.done);
	assert_int_equal(t.tmf.response, SCSI_TMF_INCORRECT_LUN);
}

static void async_event(void **state)
{
	struct rig *rig = *state;
	struct tmf t;

	assert_int_equal(tmf_run(rig, 0, SCSI_TMF_QUERY_ASYNC_EVENT, NULL),
			 SCSI_TMF_COMPLETE);
	assert_int_equal(rig_add_lun(rig, 4, "Disk0", NULL), 0);
	tmf_post(rig, &t, 0, SCSI_TMF_QUERY_ASYNC_EVENT, NULL);
	rig_settle(rig);
	assert_int_equal(t.tmf.response, SCSI_TMF_SUCCEEDED);
	assert_int_equal(t.tmf.additional, 0x063f0e);
}

/* A LUN leaves while a reset of it is under way on another core. */
struct leaving {
	struct rig *rig;
	struct scsi_change change;
	bool done;
};

static void left(struct scsi_change *change)
{
	container_of(change, struct leaving, change)->done = true;
}

static void do_remove(void *arg)
{
	struct leaving *l = arg;

	l->change.done = left;
	assert_int_equal(scsi_device_remove_lun(l->rig->device, 0, &l->change),
			 0);
}

static void reset_of_a_leaving_lun(void **state)
{
	for (uint64_t seed = 1; seed < 60; seed++) {
		struct sim_options sim = {.seed = seed, .nreactors = RIG_CORES};
		struct rig *rig = malloc(sizeof(*rig));
		struct leaving l = {.rig = rig};
		struct xfer *x[RIG_NEXUSES];
		struct tmf t[2];

		rig_create(rig, DISK_FILE, 2048, 512, NULL, &sim);
		rig_clear_ua(rig);
		hold_writes(rig, x);
		tmf_post(rig, &t[0], 1, SCSI_TMF_LOGICAL_UNIT_RESET, NULL);
		tmf_post(rig, &t[1], 2, SCSI_TMF_TARGET_WARM_RESET, NULL);
		for (uint64_t i = 0; i < seed % 13; i++)
			sim_step(rig->set, RIG_LIMIT_NS);
		rig_on(rig, 0, do_remove, &l);
		assert_true(l.done && t[0].done && t[1].done);
		for (uint32_t n = 0; n < RIG_NEXUSES; n++) {
			assert_true(x[n]->released);
			xfer_free(x[n]);
		}
		rig_destroy(rig);
		free(rig);
	}
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(abort_task),
		CASE(sets),
		CASE(resets),
		CASE(task_aborted_status),
		CASE(waits_for_release),
		CASE(waits_for_backend),
		CASE(wrong_ones),
		CASE(async_event),
		cmocka_unit_test(reset_of_a_leaving_lun),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
