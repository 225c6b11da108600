/* SPDX-License-Identifier: BSD-3-Clause */
/* Asymmetric access: what is reported, set, allowed and told. */
#include "rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void add_port(void *arg)
{
	struct rig *rig = arg;

	assert_int_equal(scsi_device_add_port(rig->device, 0x102), 0);
}

static int setup(void **state)
{
	struct rig *rig = malloc(sizeof(*rig));

	rig_create(rig, DISK_MALLOC, 2048, 512, NULL, NULL);
	rig_on(rig, 0, add_port, rig);
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

struct setting {
	struct rig *rig;
	uint16_t tpgt;
	enum scsi_access_state state;
	int result;
};

static void set_now(void *arg)
{
	struct setting *s = arg;

	s->result =
		scsi_device_set_access_state(s->rig->device, s->tpgt, s->state);
}

static int set_access(struct rig *rig, uint16_t tpgt,
		      enum scsi_access_state state)
{
	struct setting s = {.rig = rig, .tpgt = tpgt, .state = state};

	rig_on(rig, 0, set_now, &s);
	return s.result;
}

static struct xfer *report(struct rig *rig, uint32_t nexus, uint8_t format,
			   uint32_t alloc)
{
	uint8_t cdb[12] = {0xa3, (uint8_t)(0x0a | format)};

	store_be32(cdb + 6, alloc);
	return rig_run(rig, nexus, cdb, 12, NULL, 0, MIN(alloc, 512u));
}

static void take_change(struct rig *rig, uint32_t nexus)
{
	check_sense(rig_run(rig, nexus, CDB(0, 0, 0, 0, 0, 0), NULL, 0, 0),
		    KEY_UNIT_ATTENTION, ASC_ACCESS_CHANGED);
}

static void groups_are_reported(void **state)
{
	struct rig *rig = *state;
	struct xfer *x = report(rig, 0, 0, 512);

	check_good(x);
	assert_int_equal(load_be32(x->in), 24);
	assert_int_equal(x->in_len, 28);
	assert_memory_equal(x->in + 4, "\0\x8f\0\1\0\0\0\1\0\0\0\1", 12);
	assert_memory_equal(x->in + 16, "\0\x8f\1\2\0\0\0\1\0\0\1\2", 12);
	assert_int_equal(set_access(rig, 0x102, SCSI_ACCESS_STANDBY), 0);
	take_change(rig, 0);
	take_change(rig, 1);
	x = report(rig, 1, 0x20, 512);
	check_good(x);
	assert_int_equal(load_be32(x->in), 28);
	assert_int_equal(x->in[4], 0x10);
	assert_int_equal(x->in[20], SCSI_ACCESS_STANDBY);
	assert_int_equal(x->in[25], 2);
	for (uint32_t alloc = 0; alloc < 32; alloc++)
		assert_int_equal(report(rig, 0, 0, alloc)->in_len,
				 MIN(alloc, 28u));
	check_field(report(rig, 0, 0x40, 512), 1, 7);
	/* INQUIRY: TPGS; the group is in VPD 83h. */
	x = rig_run(rig, 0, CDB(0x12, 0, 0, 0, 96, 0), NULL, 0, 96);
	assert_int_equal(x->in[5] & 0x30, 0x30);
	x = rig_run(rig, 0, CDB(0x12, 1, 0x83, 2, 0, 0), NULL, 0, 512);
	check_good(x);
	for (uint32_t at = 4;; at += 4u + x->in[at + 3]) {
		assert_true(at < x->in_len);
		if ((x->in[at + 1] & 0x3f) != 0x15)
			continue;
		assert_int_equal(load_be32(x->in + at + 4), 1);
		break;
	}
}

static void all_are_told(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(set_access(rig, 0x102, SCSI_ACCESS_NON_OPTIMIZED), 0);
	for (uint32_t n = 0; n < RIG_NEXUSES; n++) {
		take_change(rig, n);
		check_good(rig_run(rig, n, CDB(0, 0, 0, 0, 0, 0), NULL, 0, 0));
	}
	/* It is so already. */
	assert_int_equal(set_access(rig, 0x102, SCSI_ACCESS_NON_OPTIMIZED), 0);
	check_good(rig_run(rig, 0, CDB(0, 0, 0, 0, 0, 0), NULL, 0, 0));
	assert_int_equal(set_access(rig, 7, SCSI_ACCESS_STANDBY), -ENOENT);
}

static void states_stop_commands(void **state)
{
	static const struct {
		uint8_t cdb[12];
		bool standby, unavailable;
	} rows[] = {
		{{0x00}, false, false},
		{{0x28, 0, 0, 0, 0, 0, 0, 0, 1}, false, false},
		{{0x2a}, false, false},
		{{0x25}, false, false},
		{{0x1b, 0, 0, 0, 1}, false, false},
		{{0x83}, false, false},
		{{0x12, 0, 0, 0, 96}, true, true},
		{{0x03, 0, 0, 0, 18}, true, true},
		{{0xa0, 0, 0, 0, 0, 0, 0, 0, 64}, true, true},
		{{0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 64}, true, true},
		{{0xa4, 0x0a}, true, true},
		{{0x1a, 0, 0x3f, 0, 255}, true, false},
		{{0x4d, 0, 0x40, 0, 0, 0, 0, 0, 64}, true, false},
		{{0x5e, 0, 0, 0, 0, 0, 0, 0, 64}, true, false},
		{{0xa3, 0x0c, 0, 0, 0, 0, 0, 0, 64}, true, false},
	};
	static const struct {
		enum scsi_access_state state;
		uint16_t asc;
	} states[] = {
		{SCSI_ACCESS_OPTIMIZED, 0},
		{SCSI_ACCESS_NON_OPTIMIZED, 0},
		{SCSI_ACCESS_STANDBY, ASC_PORT_STANDBY},
		{SCSI_ACCESS_UNAVAILABLE, ASC_PORT_UNAVAILABLE},
		{SCSI_ACCESS_TRANSITIONING, ASC_PORT_TRANSITION},
	};
	struct rig *rig = *state;
	struct xfer *x;

	for (size_t s = 0; s < ARRAY_LEN(states); s++) {
		assert_int_equal(set_access(rig, 1, states[s].state), 0);
		if (s > 0)
			take_change(rig, 1);
		for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
			bool good = states[s].asc == 0;

			if (states[s].state == SCSI_ACCESS_STANDBY)
				good = rows[i].standby;
			else if (!good)
				good = rows[i].unavailable;
			x = rig_run(rig, 1, rows[i].cdb, 12, NULL, 0, 512);
			if (good)
				check_good(x);
			else
				check_sense(x, KEY_NOT_READY, states[s].asc);
		}
	}
	/* A session that comes later finds it so. */
	assert_int_equal(rig->nexus[0].access, SCSI_ACCESS_TRANSITIONING);
}

static struct xfer *set_groups(struct rig *rig, const uint8_t *p, uint32_t len)
{
	uint8_t cdb[12] = {0xa4, 0x0a};

	store_be32(cdb + 6, len);
	return rig_run(rig, 0, cdb, 12, p, len, 0);
}

static void groups_are_set(void **state)
{
	struct rig *rig = *state;
	uint8_t p[16] = {0, 0, 0, 0, 0x01, 0, 0, 1, 0x02, 0, 1, 2};
	uint8_t cdb[12] = {0xa4, 0x0a};
	struct xfer *x;

	check_good(set_groups(rig, p, 0));
	for (uint32_t len = 1; len < 12; len++)
		if (len % 4 != 0)
			check_sense(set_groups(rig, p, len),
				    KEY_ILLEGAL_REQUEST, ASC_PARAM_LIST_LENGTH);
	check_good(set_groups(rig, p, 4));
	store_be32(cdb + 6, UINT32_MAX);
	check_sense(rig_run(rig, 0, cdb, 12, p, 12, 0), KEY_ILLEGAL_REQUEST,
		    ASC_PARAM_LIST_LENGTH);
	store_be32(cdb + 6, 12);
	check_sense(rig_run(rig, 0, cdb, 12, p, 11, 0), KEY_ILLEGAL_REQUEST,
		    ASC_PARAM_LIST_LENGTH);
	/* All or nothing. */
	p[11] = 3;
	x = set_groups(rig, p, 12);
	check_sense(x, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_PARAM);
	assert_int_equal(load_be16(x->task.sense + 16), 10);
	p[11] = 2;
	for (uint8_t bad = 4; bad < 16; bad++) {
		p[8] = bad;
		x = set_groups(rig, p, 12);
		check_sense(x, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_PARAM);
		assert_int_equal(load_be16(x->task.sense + 16), 8);
	}
	x = report(rig, 0, 0, 512);
	assert_int_equal(x->in[4], 0);
	p[8] = 0x02;
	check_good(set_groups(rig, p, 12));
	/* Who asked for it knows; the others are told. */
	check_good(rig_run(rig, 0, CDB(0, 0, 0, 0, 0, 0), NULL, 0, 0));
	for (uint32_t n = 1; n < RIG_NEXUSES; n++)
		take_change(rig, n);
	x = report(rig, 3, 0, 512);
	assert_int_equal(x->in[4], 1);
	assert_int_equal(x->in[9], 1);
	assert_int_equal(x->in[16], 2);
	/* Again: nothing changes, nobody is told. */
	check_good(set_groups(rig, p, 12));
	check_good(rig_run(rig, 1, CDB(0, 0, 0, 0, 0, 0), NULL, 0, 0));
}

#define ONE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ONE(groups_are_reported),
		ONE(all_are_told),
		ONE(states_stop_commands),
		ONE(groups_are_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
