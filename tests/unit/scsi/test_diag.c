/* SPDX-License-Identifier: BSD-3-Clause */
/* Buffers, diagnostics, the timestamp, and LOG SENSE. */
#include "rig.h"

#include <stdlib.h>
#include <string.h>

static int setup(void **state)
{
	struct rig *rig = malloc(sizeof(*rig));

	rig_create(rig, DISK_MALLOC, 2048, 512, NULL, NULL);
	rig_clear_ua(rig);
	*state = rig;
	return 0;
}

static int setup_broken(void **state)
{
	static const struct sim_options sim = {
		.seed = 3, .nreactors = RIG_CORES, .io_error = 1000};
	struct rig *rig = malloc(sizeof(*rig));

	rig_create(rig, DISK_FILE, 2048, 512, NULL, &sim);
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

static struct xfer *read_buffer(struct rig *rig, uint32_t nexus, uint8_t mode,
				uint32_t alloc)
{
	uint8_t cdb[10] = {0x3c, mode};

	store_be24(cdb + 6, alloc);
	return rig_run(rig, nexus, cdb, 10, NULL, 0, MIN(alloc, 1024u));
}

static struct xfer *write_echo(struct rig *rig, const uint8_t *data,
			       uint32_t len, uint32_t sent)
{
	uint8_t cdb[10] = {0x3b, 0x0a};

	store_be24(cdb + 6, len);
	return rig_run(rig, 0, cdb, 10, data, sent, 0);
}

static void echo(void **state)
{
	struct rig *rig = *state;
	uint8_t data[SCSI_ECHO_MAX + 1];
	struct xfer *x;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + 3);
	x = read_buffer(rig, 0, 0x0b, 4);
	check_good(x);
	assert_int_equal(load_be16(x->in + 2), SCSI_ECHO_MAX);
	/* Nothing is there that was not written. */
	check_sense(read_buffer(rig, 0, 0x0a, 512), KEY_ILLEGAL_REQUEST,
		    ASC_SEQUENCE_ERROR);
	check_good(write_echo(rig, data, 0, 0));
	check_sense(read_buffer(rig, 0, 0x0a, 512), KEY_ILLEGAL_REQUEST,
		    ASC_SEQUENCE_ERROR);
	for (uint32_t len = 1; len <= SCSI_ECHO_MAX; len += 51) {
		check_good(write_echo(rig, data, len, len));
		x = read_buffer(rig, 0, 0x0a, 512);
		check_good(x);
		assert_int_equal(x->in_len, len);
		assert_memory_equal(x->in, data, len);
	}
	x = read_buffer(rig, 0, 0x0a, 10);
	assert_int_equal(x->in_len, 10);
	check_field(write_echo(rig, data, SCSI_ECHO_MAX + 1, 257), 6, 7);
	check_field(write_echo(rig, data, 0xffffff, 257), 6, 7);
	check_sense(write_echo(rig, data, 100, 99), KEY_ILLEGAL_REQUEST,
		    ASC_PARAM_LIST_LENGTH);
	/* It is the nexus' own. */
	check_sense(read_buffer(rig, 1, 0x0a, 512), KEY_ILLEGAL_REQUEST,
		    ASC_SEQUENCE_ERROR);
	for (uint8_t mode = 0; mode < 32; mode++) {
		uint8_t cdb[10] = {0x3b, mode};

		x = read_buffer(rig, 0, mode, 4);
		if (mode == 0x03 || mode == 0x0a || mode == 0x0b)
			check_good(x);
		else
			check_field(x, 1, 4);
		if (mode != 0x0a)
			check_field(rig_run(rig, 0, cdb, 10, NULL, 0, 0), 1, 4);
	}
}

static void diagnostics(void **state)
{
	struct rig *rig = *state;
	struct xfer *x;

	check_good(rig_run(rig, 0, CDB(0x1d, 0x04, 0, 0, 0, 0), NULL, 0, 0));
	check_good(rig_run(rig, 0, CDB(0x1d, 0x10, 0, 0, 0, 0), NULL, 0, 0));
	check_field(rig_run(rig, 0, CDB(0x1d, 0x20, 0, 0, 0, 0), NULL, 0, 0), 1,
		    7);
	check_field(rig_run(rig, 0, CDB(0x1d, 0x10, 0, 0, 1, 0), NULL, 0, 0), 3,
		    7);
	for (uint8_t alloc = 0; alloc < 8; alloc++) {
		x = rig_run(rig, 0, CDB(0x1c, 1, 0, 0, alloc, 0), NULL, 0, 16);
		check_good(x);
		assert_int_equal(x->in_len, MIN(alloc, 5));
	}
	assert_int_equal(load_be16(x->in + 2), 1);
	check_field(rig_run(rig, 0, CDB(0x1c, 1, 1, 0, 8, 0), NULL, 0, 16), 2,
		    7);
	check_field(rig_run(rig, 0, CDB(0x1c, 0, 0, 0, 8, 0), NULL, 0, 16), 1,
		    0);
}

static void broken_self_test(void **state)
{
	check_sense(rig_run(*state, 0, CDB(0x1d, 0x04, 0, 0, 0, 0), NULL, 0, 0),
		    KEY_HARDWARE_ERROR, ASC_SELF_TEST_FAILED);
}

static struct xfer *timestamp(struct rig *rig, uint32_t nexus)
{
	return rig_run(rig, nexus,
		       CDB(0xa3, 0x0f, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0), NULL, 0,
		       12);
}

static void clock_is_set(void **state)
{
	struct rig *rig = *state;
	uint8_t cdb[12] = {0xa4, 0x0f}, data[13] = {0};
	uint64_t first;
	struct xfer *x = timestamp(rig, 0);

	check_good(x);
	assert_int_equal(load_be16(x->in), 10);
	assert_int_equal(x->in[2], 3);
	assert_true(load_be48(x->in + 4) > 1500000000000ull);
	check_good(rig_run(rig, 0, cdb, 12, NULL, 0, 0));
	for (uint8_t len = 1; len < 14; len++) {
		if (len == 12)
			continue;
		cdb[9] = len;
		check_sense(rig_run(rig, 0, cdb, 12, data, 13, 0),
			    KEY_ILLEGAL_REQUEST, ASC_PARAM_LIST_LENGTH);
	}
	cdb[9] = 12;
	check_sense(rig_run(rig, 0, cdb, 12, data, 11, 0), KEY_ILLEGAL_REQUEST,
		    ASC_PARAM_LIST_LENGTH);
	store_be48(data + 4, 0x123456789aull);
	check_good(rig_run(rig, 0, cdb, 12, data, 12, 0));
	x = rig_run(rig, 1, CDB(0, 0, 0, 0, 0, 0), NULL, 0, 0);
	check_sense(x, KEY_UNIT_ATTENTION, ASC_TIMESTAMP_CHANGED);
	x = timestamp(rig, 1);
	check_good(x);
	assert_int_equal(x->in[2], 2);
	first = load_be48(x->in + 4);
	assert_true(first >= 0x123456789aull);
	assert_true(first < 0x123456789aull + 60000);
}

static struct xfer *log_sense(struct rig *rig, uint8_t page, uint8_t subpage,
			      uint16_t pointer, uint16_t alloc)
{
	uint8_t cdb[10] = {0x4d, 0, page, subpage};

	store_be16(cdb + 5, pointer);
	store_be16(cdb + 7, alloc);
	return rig_run(rig, 0, cdb, 10, NULL, 0, alloc);
}

static void statistics(void **state)
{
	struct rig *rig = *state;
	uint8_t data[4096] = {1};
	struct xfer *x = log_sense(rig, 0x40, 0, 0, 512);

	check_good(x);
	assert_memory_equal(x->in, "\0\0\0\2\0\x19", 6);
	x = log_sense(rig, 0x40, 0xff, 0, 512);
	check_good(x);
	assert_memory_equal(x->in, "\x40\xff\0\6\0\0\x19\0\0\xff", 10);
	check_good(rig_run(rig, 0, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 8, 0), data,
			   4096, 0));
	for (int i = 0; i < 3; i++)
		check_good(rig_run(rig, 0, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 2, 0),
				   NULL, 0, 1024));
	x = log_sense(rig, 0x59, 0, 0, 512);
	check_good(x);
	assert_int_equal(load_be16(x->in + 2) + 4, x->in_len);
	assert_int_equal(load_be16(x->in + 4), 1);
	assert_int_equal(x->in[7], 64);
	assert_int_equal(load_be64(x->in + 8), 3);
	assert_int_equal(load_be64(x->in + 16), 1);
	assert_int_equal(load_be64(x->in + 24), 8);
	assert_int_equal(load_be64(x->in + 32), 6);
	assert_int_equal(load_be16(x->in + 72), 3);
	x = log_sense(rig, 0x59, 0, 2, 512);
	check_good(x);
	assert_int_equal(load_be16(x->in + 4), 3);
	assert_int_equal(x->in_len, 16);
	check_good(log_sense(rig, 0x59, 0, 3, 512));
	check_field(log_sense(rig, 0x59, 0, 4, 512), 5, 7);
	check_field(log_sense(rig, 0x59, 1, 0, 512), 3, 7);
	check_field(log_sense(rig, 0x59, 0xff, 0, 512), 3, 7);
	check_field(log_sense(rig, 0x19, 0, 0, 512), 2, 7);
	check_field(rig_run(rig, 0, CDB(0x4d, 1, 0x40, 0, 0, 0, 0, 2, 0, 0),
			    NULL, 0, 512),
		    1, 0);
	for (uint8_t page = 0; page < 0x40; page++)
		if (page != 0 && page != 0x19)
			check_field(log_sense(rig, 0x40 | page, 0, 0, 512), 2,
				    5);
	for (uint16_t alloc = 0; alloc < 90; alloc++)
		assert_int_equal(log_sense(rig, 0x59, 0, 0, alloc)->in_len,
				 MIN(alloc, 84));
}

#define ONE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ONE(echo),
		ONE(diagnostics),
		ONE(clock_is_set),
		ONE(statistics),
		cmocka_unit_test_setup_teardown(broken_self_test, setup_broken,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
