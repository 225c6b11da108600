/* SPDX-License-Identifier: BSD-3-Clause */
/* Block commands and pages: their limits, on both sides of each. */
#include "rig.h"

#include <stdlib.h>
#include <string.h>

#define NBLOCKS 2048u

static int setup(void **state)
{
	struct rig *rig = malloc(sizeof(*rig));

	rig_create(rig, DISK_MALLOC, NBLOCKS, 512, NULL, NULL);
	rig_clear_ua(rig);
	*state = rig;
	return 0;
}

static int setup_file(void **state)
{
	struct rig *rig = malloc(sizeof(*rig));

	rig_create(rig, DISK_FILE, NBLOCKS, 512, NULL, NULL);
	rig_clear_ua(rig);
	*state = rig;
	return 0;
}

static int setup_read_only(void **state)
{
	struct rig *rig = malloc(sizeof(*rig));

	rig_create(rig, DISK_MALLOC, NBLOCKS, 512,
		   &(struct lun_options){.read_only = true}, NULL);
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

static struct xfer *range16(struct rig *rig, uint8_t opcode, uint8_t flags,
			    uint64_t lba, uint32_t n, const void *out,
			    uint32_t out_len, uint32_t in_len)
{
	uint8_t cdb[16] = {opcode, flags};

	store_be64(cdb + 2, lba);
	store_be32(cdb + 10, n);
	return rig_run(rig, 0, cdb, 16, out, out_len, in_len);
}

/* T21: ranges that touch, pass, and wrap the end, for each command. */
static void ranges(void **state)
{
	static const struct {
		uint64_t lba;
		uint32_t n;
		bool fits;
	} rows[] = {
		{0, 1, true},
		{NBLOCKS - 1, 1, true},
		{NBLOCKS, 0, true},
		{NBLOCKS - 1, 2, false},
		{NBLOCKS, 1, false},
		{NBLOCKS + 1, 0, false},
		{0xffffffffull, 1, false},
		{0x7fffffffffffffffull, 2, false},
		{0xffffffffffffffffull, 1, false},
		{0xfffffffffffffff0ull, 0xffffffff, false},
		{0x0080000000000000ull, 1, false},
	};
	static const uint8_t ops[] = {0x88, 0x8a, 0x8b, 0x8e,
				      0x8f, 0x90, 0x91, 0x93};
	static const uint8_t data[512];
	struct rig *rig = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		for (size_t k = 0; k < ARRAY_LEN(ops); k++) {
			bool out = ops[k] == 0x8a || ops[k] == 0x8b ||
				   ops[k] == 0x8e || ops[k] == 0x93;
			struct xfer *x;

			if (ops[k] == 0x93 && rows[i].n == 0)
				out = rows[i].lba <= NBLOCKS;
			x = range16(rig, ops[k], 0, rows[i].lba, rows[i].n,
				    out ? data : NULL, out ? 512 : 0, 512);
			if (rows[i].fits)
				check_good(x);
			else
				check_sense(x, KEY_ILLEGAL_REQUEST,
					    ASC_LBA_OUT_OF_RANGE);
		}
	}
}

static void transfer_limit(void **state)
{
	struct rig *rig = *state;
	const struct xfer *x =
		rig_run(rig, 0, CDB(0x12, 1, 0xb0, 0, 64, 0), NULL, 0, 64);
	uint32_t max;

	check_good(x);
	max = load_be32(x->in + 8);
	assert_int_equal(max, SCSI_TRANSFER_MAX / 512);
	assert_int_equal(x->in[5], 255);
	assert_int_equal(load_be64(x->in + 36), 65535);
}

static void compare_and_write(void **state)
{
	struct rig *rig = *state;
	uint8_t out[4 * 512] = {0};
	struct xfer *x;
	uint8_t cdb[16] = {0x89, [9] = 5, [13] = 1};

	memset(out + 512, 0x77, 512);
	x = rig_run(rig, 0, cdb, 16, out, 1024, 0);
	check_good(x);
	x = rig_run(rig, 1, cdb, 16, out, 1024, 0);
	check_sense(x, KEY_MISCOMPARE, ASC_MISCOMPARE);
	assert_int_equal(x->task.sense[0] & 0x80, 0x80);
	assert_int_equal(load_be32(x->task.sense + 3), 0);
	memset(out, 0x77, 512);
	out[300] = 0;
	x = rig_run(rig, 1, cdb, 16, out, 1024, 0);
	check_sense(x, KEY_MISCOMPARE, ASC_MISCOMPARE);
	assert_int_equal(load_be32(x->task.sense + 3), 300);
	/* T22: data that is not twice the blocks. */
	for (uint32_t len = 0; len < 2048; len += 256) {
		if (len == 1024)
			continue;
		x = rig_run(rig, 0, cdb, 16, out, len, 0);
		check_sense(x, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_IU);
	}
	cdb[13] = 0;
	check_good(rig_run(rig, 0, cdb, 16, NULL, 0, 0));
	check_field(rig_run(rig, 0, cdb, 16, out, 512, 0), 13, 7);
}

static void verify(void **state)
{
	struct rig *rig = *state;
	uint8_t block[2 * 512];
	struct xfer *x;

	memset(block, 0x33, sizeof(block));
	check_good(range16(rig, 0x8a, 0, 8, 2, block, 1024, 0));
	check_good(range16(rig, 0x8f, 0x02, 8, 2, block, 1024, 0));
	check_good(range16(rig, 0x8f, 0x06, 8, 2, block, 512, 0));
	check_good(range16(rig, 0x8f, 0x00, 0, NBLOCKS, NULL, 0, 0));
	check_field(range16(rig, 0x8f, 0x04, 8, 2, NULL, 0, 0), 1, 2);
	x = range16(rig, 0x8f, 0x06, 8, 3, block, 512, 0);
	check_sense(x, KEY_MISCOMPARE, ASC_MISCOMPARE);
	/* What was not sent cannot be found equal. */
	x = range16(rig, 0x8f, 0x02, 8, 2, block, 512, 0);
	check_sense(x, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_IU);
	block[1023] = 0;
	x = range16(rig, 0x8f, 0x02, 8, 2, block, 1024, 0);
	check_sense(x, KEY_MISCOMPARE, ASC_MISCOMPARE);
}

static void write_same(void **state)
{
	struct rig *rig = *state;
	uint8_t block[512];
	const struct xfer *x;

	memset(block, 0x42, sizeof(block));
	check_good(range16(rig, 0x93, 0, 1, 1000, block, 512, 0));
	x = range16(rig, 0x88, 0, 0, 1002, NULL, 0, 1002 * 512);
	for (uint32_t i = 0; i < 1002 * 512; i++)
		if (x->in[i] != (i < 512 || i >= 1001 * 512 ? 0 : 0x42))
			fail_msg("byte %u", i);
	/* T20: NDOB, with and without data; UNMAP with a pattern writes it. */
	check_good(range16(rig, 0x93, 0x01, 1, 10, NULL, 0, 0));
	check_sense(range16(rig, 0x93, 0x01, 1, 10, block, 512, 0),
		    KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_IU);
	check_sense(range16(rig, 0x93, 0x00, 1, 10, NULL, 0, 0),
		    KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_IU);
	check_field(range16(rig, 0x93, 0x10, 1, 10, block, 512, 0), 1, 4);
	/* None: up to the end. */
	check_good(range16(rig, 0x93, 0, NBLOCKS - 3, 0, block, 512, 0));
	x = range16(rig, 0x88, 0, NBLOCKS - 4, 4, NULL, 0, 2048);
	for (uint32_t i = 0; i < 2048; i++)
		assert_int_equal(x->in[i], i < 512 ? 0 : 0x42);
}

static void unmap(void **state)
{
	struct rig *rig = *state;
	uint8_t list[8 + 2 * 16] = {0}, block[512];
	const struct xfer *x;

	memset(block, 0x55, sizeof(block));
	check_good(range16(rig, 0x93, 0, 0, 100, block, 512, 0));
	store_be16(list, 38);
	store_be16(list + 2, 32);
	store_be64(list + 8, 10);
	store_be32(list + 16, 5);
	store_be64(list + 24, 50);
	store_be32(list + 32, 1);
	for (uint8_t len = 1; len < 8; len++)
		check_sense(rig_run(rig, 0,
				    CDB(0x42, 0, 0, 0, 0, 0, 0, 0, len, 0),
				    list, len, 0),
			    KEY_ILLEGAL_REQUEST, ASC_PARAM_LIST_LENGTH);
	check_good(rig_run(rig, 0, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0), NULL,
			   0, 0));
	check_good(rig_run(rig, 0, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 40, 0), list,
			   40, 0));
	x = range16(rig, 0x88, 0, 0, 100, NULL, 0, 100 * 512);
	for (uint32_t i = 0; i < 100; i++)
		assert_int_equal(x->in[i * 512 + 17],
				 (i >= 10 && i < 15) || i == 50 ? 0 : 0x55);
	/* One range is wrong: none is unmapped. */
	store_be64(list + 8, 20);
	store_be64(list + 24, UINT64_MAX);
	check_sense(rig_run(rig, 0, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 40, 0), list,
			    40, 0),
		    KEY_ILLEGAL_REQUEST, ASC_LBA_OUT_OF_RANGE);
	x = range16(rig, 0x88, 0, 20, 1, NULL, 0, 512);
	assert_int_equal(x->in[0], 0x55);
	/* More descriptors than VPD B0 allows. */
	check_field(rig_run(rig, 0, CDB(0x42, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0),
			    list, 40, 0),
		    7, 7);
}

static void lba_status(void **state)
{
	struct rig *rig = *state;
	uint8_t block[512] = {1};
	uint8_t cdb[16] = {0x9e, 0x12, [13] = 64};
	uint64_t lba = 0;
	const struct xfer *x;

	check_good(range16(rig, 0x8a, 0, 1024, 1, block, 512, 0));
	while (lba < NBLOCKS) {
		store_be64(cdb + 2, lba);
		x = rig_run(rig, 0, cdb, 16, NULL, 0, 64);
		check_good(x);
		for (uint32_t at = 8; at + 16 <= x->in_len; at += 16) {
			assert_int_equal(load_be64(x->in + at), lba);
			lba += load_be32(x->in + at + 8);
			if (lba > 1024 &&
			    lba - load_be32(x->in + at + 8) <= 1024)
				assert_int_equal(x->in[at + 12], 0);
		}
	}
	assert_int_equal(lba, NBLOCKS);
	store_be64(cdb + 2, NBLOCKS);
	check_sense(rig_run(rig, 0, cdb, 16, NULL, 0, 64), KEY_ILLEGAL_REQUEST,
		    ASC_LBA_OUT_OF_RANGE);
	/* Fewer bytes than one descriptor: the beginning of it. */
	store_be64(cdb + 2, 0);
	for (uint8_t alloc = 0; alloc < 30; alloc++) {
		cdb[13] = alloc;
		x = rig_run(rig, 0, cdb, 16, NULL, 0, 64);
		check_good(x);
		assert_int_equal(x->in_len, MIN(alloc, 24));
	}
}

/* Every page, cut at every length. */
static void pages_are_cut(void **state)
{
	static const uint8_t vpd[] = {0x00, 0x80, 0x83, 0x86, 0x87,
				      0x88, 0xb0, 0xb1, 0xb2};
	struct rig *rig = *state;
	uint8_t whole[512];
	uint32_t len;
	const struct xfer *x;

	for (size_t i = 0; i < ARRAY_LEN(vpd); i++) {
		x = rig_run(rig, 0, CDB(0x12, 1, vpd[i], 2, 0, 0), NULL, 0,
			    512);
		check_good(x);
		len = x->in_len;
		assert_int_equal(x->in[1], vpd[i]);
		assert_int_equal(load_be16(x->in + 2), len - 4);
		memcpy(whole, x->in, len);
		for (uint32_t cut = 0; cut <= len + 1; cut++) {
			x = rig_run(rig, 1,
				    CDB(0x12, 1, vpd[i], (uint8_t)(cut >> 8),
					(uint8_t)cut, 0),
				    NULL, 0, 512);
			check_good(x);
			assert_int_equal(x->in_len, MIN(cut, len));
			assert_memory_equal(x->in, whole, x->in_len);
		}
	}
	check_field(
		rig_run(rig, 0, CDB(0x12, 1, 0x01, 0, 255, 0), NULL, 0, 255), 2,
		7);
	check_field(
		rig_run(rig, 0, CDB(0x12, 0, 0x80, 0, 255, 0), NULL, 0, 255), 2,
		7);
}

/* D_SENSE, SWP; what may not change is refused at its byte. */
static void modes(void **state)
{
	uint8_t list[4 + 12] = {[4] = 0x0a, 0x0a, 0x04, 0x10, 0x08};
	struct rig *rig = *state;
	static const uint8_t block[512];
	const struct xfer *x;

	for (uint8_t byte = 2; byte < 12; byte++) {
		uint8_t wrong[16];

		memcpy(wrong, list, sizeof(wrong));
		wrong[4 + byte] ^= byte == 5 ? 0x01 : 0x80;
		x = rig_run(rig, 0, CDB(0x15, 0x10, 0, 0, 16, 0), wrong, 16, 0);
		check_sense(x, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_PARAM);
		assert_int_equal(load_be16(x->task.sense + 16), 4 + byte);
	}
	check_good(rig_run(rig, 0, CDB(0x15, 0x10, 0, 0, 16, 0), list, 16, 0));
	/* Descriptor format, from now on; and no writes. */
	x = range16(rig, 0x8a, 0, 0, 1, block, 512, 0);
	assert_int_equal(x->task.status, SCSI_CHECK_CONDITION);
	assert_int_equal(x->task.sense[0], 0x72);
	assert_int_equal(x->task.sense[1], KEY_DATA_PROTECT);
	assert_int_equal(load_be16(x->task.sense + 2), ASC_SW_WRITE_PROTECTED);
	x = rig_run(rig, 1, CDB(0, 0, 0, 0, 0, 0), NULL, 0, 0);
	assert_int_equal(x->task.sense[1], KEY_UNIT_ATTENTION);
	assert_int_equal(load_be16(x->task.sense + 2), ASC_MODE_CHANGED);
	x = rig_run(rig, 1, CDB(0x1a, 0, 0x0a, 0, 255, 0), NULL, 0, 255);
	assert_int_equal(x->in[2], 0x90); /* WP, DPOFUA */
	assert_int_equal(x->in[12 + 2], 0x04);
	assert_int_equal(x->in[12 + 4], 0x08);
	/* An LBA beyond 32 bits fits its information. */
	x = range16(rig, 0x88, 0, 0x123456789aull, 1, NULL, 0, 512);
	assert_int_equal(x->task.sense[8], 0);
	assert_int_equal(load_be64(x->task.sense + 12), 0x123456789aull);
}

static void read_only(void **state)
{
	static const uint8_t block[1024];
	struct rig *rig = *state;

	check_sense(range16(rig, 0x8a, 0, 0, 1, block, 512, 0),
		    KEY_DATA_PROTECT, ASC_WRITE_PROTECTED);
	check_sense(range16(rig, 0x93, 0, 0, 1, block, 512, 0),
		    KEY_DATA_PROTECT, ASC_WRITE_PROTECTED);
	check_good(range16(rig, 0x88, 0, 0, 1, NULL, 0, 512));
	rig_run(rig, 0, CDB(0x1a, 0, 0x3f, 0, 255, 0), NULL, 0, 255);
	assert_int_equal(rig->last->in[2] & 0x80, 0x80);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
#define BOTH(fn) \
	CASE(fn), cmocka_unit_test_setup_teardown(fn, setup_file, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(ranges),
		CASE(transfer_limit),
		BOTH(compare_and_write),
		BOTH(verify),
		BOTH(write_same),
		BOTH(unmap),
		BOTH(lba_status),
		CASE(pages_are_cut),
		CASE(modes),
		cmocka_unit_test_setup_teardown(read_only, setup_read_only,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
