/* SPDX-License-Identifier: BSD-3-Clause */
/* First commands: what they say, and their limits. */
#include "rig.h"

#include <stdlib.h>
#include <string.h>

#define NBLOCKS 2048u

struct fixture {
	struct rig rig;
};

static int setup(void **state)
{
	struct rig *rig = malloc(sizeof(*rig));

	rig_create(rig, DISK_MALLOC, NBLOCKS, 512, NULL, NULL);
	*state = rig;
	return 0;
}

static int setup_file(void **state)
{
	struct rig *rig = malloc(sizeof(*rig));

	rig_create(rig, DISK_FILE, NBLOCKS, 512, NULL, NULL);
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	rig_destroy(*state);
	free(*state);
	return 0;
}

static void unit_attention_first(void **state)
{
	struct rig *rig = *state;
	struct xfer *x;

	/* INQUIRY does not take it, TEST UNIT READY does, once. */
	x = rig_run(rig, 0, CDB(0x12, 0, 0, 0, 96, 0), NULL, 0, 96);
	check_good(x);
	assert_int_equal(x->in_len, 96);
	assert_memory_equal(x->in + 8, "ISCSITGTMalloc disk     0001", 28);
	x = rig_run(rig, 0, CDB(0, 0, 0, 0, 0, 0), NULL, 0, 0);
	check_sense(x, KEY_UNIT_ATTENTION, ASC_POWER_ON);
	x = rig_run(rig, 0, CDB(0, 0, 0, 0, 0, 0), NULL, 0, 0);
	check_good(x);
	/* REQUEST SENSE reports it as data. */
	x = rig_run(rig, 1, CDB(0x03, 0, 0, 0, 252, 0), NULL, 0, 252);
	check_good(x);
	assert_int_equal(x->in_len, 18);
	assert_int_equal(x->in[2], KEY_UNIT_ATTENTION);
	x = rig_run(rig, 1, CDB(0, 0, 0, 0, 0, 0), NULL, 0, 0);
	check_good(x);
}

static void absent_lun(void **state)
{
	struct rig *rig = *state;
	struct xfer *x = xfer_new(rig, 0, CDB(0x12, 0, 0, 0, 36, 0));

	x->task.lun = 5ull << 48;
	x->task.edtl_in = 36;
	xfer_start(x);
	rig_settle(rig);
	check_good(x);
	assert_int_equal(x->in[0], 0x7f);
	xfer_free(x);
	x = xfer_new(rig, 0, CDB(0, 0, 0, 0, 0, 0));
	x->task.lun = 5ull << 48;
	xfer_start(x);
	rig_settle(rig);
	check_sense(x, KEY_ILLEGAL_REQUEST, ASC_LUN_NOT_SUPPORTED);
	xfer_free(x);
}

static void capacity(void **state)
{
	struct rig *rig = *state;
	struct xfer *x;

	rig_clear_ua(rig);
	x = rig_run(rig, 0, CDB(0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0), NULL, 0, 8);
	check_good(x);
	assert_int_equal(load_be32(x->in), NBLOCKS - 1);
	assert_int_equal(load_be32(x->in + 4), 512);
	x = rig_run(rig, 0,
		    CDB(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0),
		    NULL, 0, 32);
	check_good(x);
	assert_int_equal(load_be64(x->in), NBLOCKS - 1);
	assert_int_equal(load_be32(x->in + 8), 512);
}

static void write_then_read(void **state)
{
	struct rig *rig = *state;
	uint8_t out[4 * 512];
	struct xfer *x;

	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7 + i / 512);
	rig_clear_ua(rig);
	x = rig_run(rig, 0, CDB(0x2a, 0, 0, 0, 0, 9, 0, 0, 4, 0), out,
		    sizeof(out), 0);
	check_good(x);
	assert_int_equal(x->task.data_out_len, sizeof(out));
	x = rig_run(rig, 1, CDB(0x28, 0, 0, 0, 0, 9, 0, 0, 4, 0), NULL, 0,
		    sizeof(out));
	check_good(x);
	assert_int_equal(x->in_len, sizeof(out));
	assert_memory_equal(x->in, out, sizeof(out));
	/* Less room than the CDB asks for: what fits comes. */
	x = rig_run(rig, 1, CDB(0x28, 0, 0, 0, 0, 9, 0, 0, 4, 0), NULL, 0, 600);
	check_good(x);
	assert_int_equal(x->task.data_in_len, sizeof(out));
	assert_int_equal(x->in_len, 600);
	assert_memory_equal(x->in, out, 600);
}

static void short_writes(void **state)
{
	struct rig *rig = *state;
	uint8_t out[2 * 512], zero[512] = {0};
	struct xfer *x;

	memset(out, 'a', sizeof(out));
	rig_clear_ua(rig);
	/* Two blocks in the CDB, one offered: one is written. */
	x = rig_run(rig, 0, CDB(0x2a, 0, 0, 0, 0, 20, 0, 0, 2, 0), out, 512, 0);
	check_good(x);
	assert_int_equal(x->task.data_out_len, 1024);
	x = rig_run(rig, 0, CDB(0x28, 0, 0, 0, 0, 20, 0, 0, 2, 0), NULL, 0,
		    1024);
	assert_memory_equal(x->in, out, 512);
	assert_memory_equal(x->in + 512, zero, 512);
	/* None offered: none is written. */
	x = rig_run(rig, 0, CDB(0x2a, 0, 0, 0, 0, 21, 0, 0, 1, 0), NULL, 0, 0);
	check_good(x);
	assert_int_equal(x->task.data_out_len, 512);
	/* No whole block. */
	x = rig_run(rig, 0, CDB(0x2a, 0, 0, 0, 0, 21, 0, 0, 1, 0), out, 200, 0);
	check_sense(x, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_IU);
	assert_int_equal(x->task.data_out_len, 512);
	x = rig_run(rig, 0, CDB(0x28, 0, 0, 0, 0, 21, 0, 0, 1, 0), NULL, 0,
		    512);
	assert_memory_equal(x->in, zero, 512);
}

static void range_limits(void **state)
{
	struct rig *rig = *state;
	struct xfer *x;

	rig_clear_ua(rig);
	x = rig_run(rig, 0, CDB(0x28, 0, 0, 0, 0x07, 0xff, 0, 0, 1, 0), NULL, 0,
		    512);
	check_good(x);
	x = rig_run(rig, 0, CDB(0x28, 0, 0, 0, 0x07, 0xff, 0, 0, 2, 0), NULL, 0,
		    1024);
	check_sense(x, KEY_ILLEGAL_REQUEST, ASC_LBA_OUT_OF_RANGE);
	assert_int_equal(load_be32(x->task.sense + 3), NBLOCKS);
	x = rig_run(rig, 0, CDB(0x28, 0, 0, 0, 0x08, 0, 0, 0, 0, 0), NULL, 0,
		    0);
	check_good(x);
	x = rig_run(rig, 0, CDB(0x28, 0, 0, 0, 0x08, 1, 0, 0, 0, 0), NULL, 0,
		    0);
	check_sense(x, KEY_ILLEGAL_REQUEST, ASC_LBA_OUT_OF_RANGE);
	x = rig_run(rig, 0,
		    CDB(0x88, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
			0, 0, 0, 1, 0, 0),
		    NULL, 0, 512);
	check_sense(x, KEY_ILLEGAL_REQUEST, ASC_LBA_OUT_OF_RANGE);
}

static void report_luns(void **state)
{
	struct rig *rig = *state;
	struct xfer *x;

	x = rig_run(rig, 0, CDB(0xa0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0), NULL,
		    0, 16);
	check_good(x);
	assert_int_equal(load_be32(x->in), 8);
	assert_int_equal(x->in_len, 16);
	assert_int_equal(load_be64(x->in + 8), 0);
	assert_int_equal(rig_add_lun(rig, 7, "Disk0", NULL), 0);
	x = rig_run(rig, 0, CDB(0xa0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0), NULL, 0,
		    256);
	assert_int_equal(load_be32(x->in), 16);
	assert_int_equal(x->in[17], 7);
}

#define BOTH(fn)                                              \
	cmocka_unit_test_setup_teardown(fn, setup, teardown), \
		cmocka_unit_test_setup_teardown(fn, setup_file, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(unit_attention_first, setup,
						teardown),
		BOTH(absent_lun),
		BOTH(capacity),
		BOTH(write_then_read),
		BOTH(short_writes),
		BOTH(range_limits),
		BOTH(report_luns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
