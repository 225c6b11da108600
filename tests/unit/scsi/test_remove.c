/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Disks and LUNs leave while commands are in every phase: nothing is lost,
 * nothing is left.
 */
#include "rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum phase {
	PHASE_IDLE,
	PHASE_DATA_OUT, /* data-out was asked for, none came */
	PHASE_RUNNING,	/* the backend has it */
	PHASE_SENDING,	/* data-in is on its way: not released */
	PHASE_WAITING,	/* for buffers */
	PHASE_COUNT
};

enum way { WAY_LUN, WAY_BDEV, WAY_COUNT };

struct removal {
	struct scsi_change change;
	struct bdev_removal rm;
	struct rig *rig;
	bool done;
	int result;
};

static void lun_gone(struct scsi_change *change)
{
	container_of(change, struct removal, change)->done = true;
}

static void bdev_gone(struct bdev_removal *rm)
{
	container_of(rm, struct removal, rm)->done = true;
}

static void remove_lun(void *arg)
{
	struct removal *r = arg;

	r->change.done = lun_gone;
	r->result = scsi_device_remove_lun(r->rig->device, 0, &r->change);
}

static void remove_bdev(void *arg)
{
	struct removal *r = arg;

	r->rm.done = bdev_gone;
	r->result = bdev_remove(r->rig->bdev, &r->rm);
}

/* Takes all large buffers of a core, so that commands wait. */
struct hog {
	struct rig *rig;
	uint32_t core;
	struct iovec iov[4096];
	unsigned int n;
};

static void hog_take(void *arg)
{
	struct hog *h = arg;
	struct bufpool *pool =
		reactor_bufpool(reactors_get(h->rig->set, h->core));

	while (h->n < ARRAY_LEN(h->iov) &&
	       bufpool_get(pool, BUF_LARGE, &h->iov[h->n], 1) == 1)
		h->n++;
}

static void hog_give(void *arg)
{
	struct hog *h = arg;
	struct bufpool *pool =
		reactor_bufpool(reactors_get(h->rig->set, h->core));

	while (h->n > 0)
		bufpool_put(pool, &h->iov[--h->n], 1);
}

static void bring_to(struct rig *rig, enum phase phase, struct xfer *x[2],
		     struct hog *hog)
{
	static const uint8_t read[] = {0x28, 0, 0, 0, 0, 8, 0, 0, 64, 0};
	static const uint8_t write[] = {0x2a, 0, 0, 0, 0, 8, 0, 0, 64, 0};
	static uint8_t data[64 * 512];

	for (uint32_t i = 0; i < 2; i++) {
		bool out = phase == PHASE_DATA_OUT || i == 1;

		x[i] = xfer_new(rig, i, out ? write : read, 10);
		if (out)
			xfer_out(x[i], data, sizeof(data));
		else
			x[i]->task.edtl_in = sizeof(data);
		if (phase == PHASE_DATA_OUT)
			x[i]->hold = HOLD_DATA;
		if (phase == PHASE_SENDING)
			x[i]->hold = HOLD_RELEASE;
		if (phase == PHASE_WAITING) {
			hog[i].core = i;
			rig_on(rig, i, hog_take, &hog[i]);
		}
		xfer_start(x[i]);
		if (phase == PHASE_RUNNING)
			while (!x[i]->done &&
			       x[i]->task.state != SCSI_TASK_RUNNING)
				assert_true(sim_step(rig->set, RIG_LIMIT_NS));
		else
			rig_settle(rig);
	}
}

static void leave(enum rig_disk kind, enum way way, enum phase phase)
{
	struct sim_options sim = {.seed = 7 + (unsigned)phase,
				  .nreactors = RIG_CORES,
				  .latency_max_ns = 1000000};
	struct rig *rig = malloc(sizeof(*rig));
	struct removal r = {.rig = rig};
	struct hog *hog = calloc(2, sizeof(*hog));
	struct xfer *x[2] = {NULL, NULL};

	hog[0].rig = hog[1].rig = rig;
	rig_create(rig, kind, 2048, 512, NULL, &sim);
	assert_int_equal(rig_add_lun(rig, 3, "Disk0", NULL), 0);
	rig_clear_ua(rig);
	if (phase != PHASE_IDLE)
		bring_to(rig, phase, x, hog);
	rig_on(rig, 0, way == WAY_LUN ? remove_lun : remove_bdev, &r);
	assert_int_equal(r.result, 0);
	if (phase == PHASE_SENDING) {
		assert_false(r.done); /* the memory is still being sent */
		for (int i = 0; i < 2; i++) {
			check_good(x[i]);
			xfer_release(x[i]);
		}
		rig_settle(rig);
	}
	assert_true(r.done);
	for (int i = 0; i < 2 && x[i] != NULL; i++) {
		assert_true(x[i]->done && x[i]->released);
		if (phase == PHASE_DATA_OUT || phase == PHASE_WAITING)
			if (kind == DISK_FILE || phase == PHASE_DATA_OUT) {
				assert_true(x[i]->aborted);
				assert_int_equal(x[i]->task.status,
						 SCSI_TASK_ABORTED);
			}
		xfer_free(x[i]);
	}
	for (uint32_t i = 0; i < 2; i++)
		rig_on(rig, i, hog_give, &hog[i]);
	/* From now on there is no such LUN; and REPORT LUNS knows. */
	check_sense(rig_run(rig, 0, CDB(0, 0, 0, 0, 0, 0), NULL, 0, 0),
		    KEY_ILLEGAL_REQUEST, ASC_LUN_NOT_SUPPORTED);
	rig_run(rig, 0, CDB(0xa0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0), NULL, 0,
		256);
	assert_int_equal(load_be32(rig->last->in), way == WAY_LUN ? 8 : 0);
	rig_destroy(rig);
	free(hog);
	free(rig);
}

static void in_every_phase(void **state)
{
	for (int kind = DISK_MALLOC; kind <= DISK_FILE; kind++)
		for (int way = 0; way < WAY_COUNT; way++)
			for (int phase = 0; phase < PHASE_COUNT; phase++)
				leave((enum rig_disk)kind, (enum way)way,
				      (enum phase)phase);
}

/* The other sessions of the target are told, once, by any LUN left. */
static void others_are_told(void **state)
{
	struct rig *rig = malloc(sizeof(*rig));
	struct removal r = {.rig = rig};

	rig_create(rig, DISK_MALLOC, 2048, 512, NULL, NULL);
	rig_clear_ua(rig);
	assert_int_equal(rig_add_lun(rig, 1, "Disk0", NULL), 0);
	for (uint32_t n = 0; n < RIG_NEXUSES; n++) {
		check_sense(rig_run(rig, n, CDB(0, 0, 0, 0, 0, 0), NULL, 0, 0),
			    KEY_UNIT_ATTENTION, ASC_LUNS_CHANGED);
		check_good(rig_run(rig, n, CDB(0, 0, 0, 0, 0, 0), NULL, 0, 0));
	}
	assert_int_equal(rig_add_lun(rig, 2, "Disk0", NULL), 0);
	/* REPORT LUNS answers it for all LUNs. */
	rig_run(rig, 0, CDB(0xa0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0), NULL, 0,
		256);
	assert_int_equal(load_be32(rig->last->in), 24);
	check_good(rig_run(rig, 0, CDB(0, 0, 0, 0, 0, 0), NULL, 0, 0));
	rig_on(rig, 0, remove_lun, &r);
	assert_true(r.done);
	for (uint32_t n = 0; n < RIG_NEXUSES; n++) {
		struct xfer *x = xfer_new(rig, n, CDB(0, 0, 0, 0, 0, 0));

		x->task.lun = 1ull << 48;
		xfer_start(x);
		rig_settle(rig);
		check_sense(x, KEY_UNIT_ATTENTION, ASC_LUNS_CHANGED);
		xfer_free(x);
	}
	rig_destroy(rig);
	free(rig);
}

static void slots_have_limits(void **state)
{
	struct rig *rig = malloc(sizeof(*rig));

	rig_create(rig, DISK_MALLOC, 2048, 512, NULL, NULL);
	assert_int_equal(rig_add_lun(rig, 0, "Disk0", NULL), -EEXIST);
	assert_int_equal(rig_add_lun(rig, 256, "Disk0", NULL), -EINVAL);
	assert_int_equal(rig_add_lun(rig, 1, "Nothing", NULL), -ENODEV);
	for (int i = 1; i < 256; i++)
		assert_int_equal(rig_add_lun(rig, -1, "Disk0", NULL), 0);
	assert_int_equal(rig_add_lun(rig, -1, "Disk0", NULL), -ENOSPC);
	rig_run(rig, 0, CDB(0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0), NULL, 0,
		4096);
	assert_int_equal(load_be32(rig->last->in), 256 * 8);
	assert_int_equal(rig->last->in_len, 256);
	rig_destroy(rig);
	free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_every_phase),
		cmocka_unit_test(others_are_told),
		cmocka_unit_test(slots_have_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
