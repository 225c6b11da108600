/* SPDX-License-Identifier: BSD-3-Clause */
/* EXTENDED COPY, what it may reach, and what it says of itself. */
#include "rig.h"

#include <stdlib.h>
#include <string.h>

#include "scsi/copy.h"

#define NBLOCKS	 8192u
#define HEADER_1 16u
#define HEADER_4 48u
#define CSCD	 32u
#define SEG	 28u

struct params {
	uint8_t p[BUF_SMALL];
	uint32_t len, cscds, segs;
	bool lid4;
};

static void list_reset(struct params *l, bool lid4)
{
	memset(l, 0, sizeof(*l));
	l->lid4 = lid4;
	l->len = lid4 ? HEADER_4 : HEADER_1;
	if (lid4) {
		l->p[0] = 1;
		l->p[3] = 0x20;
		l->p[16] = 0xff;
	}
}

static uint8_t *add_cscd(struct params *l, const struct lun *lun)
{
	uint8_t *d = l->p + l->len;

	d[0] = 0xe4;
	d[4] = 1;
	d[5] = 3;
	d[7] = 8;
	memcpy(d + 8, lun->naa, 8);
	store_be24(d + 29, lun->bdev->block_size);
	l->len += CSCD;
	l->cscds += CSCD;
	store_be16(l->p + (l->lid4 ? 42 : 2), (uint16_t)l->cscds);
	return d;
}

static uint8_t *add_seg(struct params *l, uint16_t from, uint16_t to,
			uint16_t n, uint64_t from_lba, uint64_t to_lba)
{
	uint8_t *s = l->p + l->len;

	s[0] = 0x02;
	s[3] = SEG - 4;
	store_be16(s + 4, from);
	store_be16(s + 6, to);
	store_be16(s + 10, n);
	store_be64(s + 12, from_lba);
	store_be64(s + 20, to_lba);
	l->len += SEG;
	l->segs += SEG;
	if (l->lid4)
		store_be16(l->p + 44, (uint16_t)l->segs);
	else
		store_be32(l->p + 8, l->segs);
	return s;
}

static struct xfer *new_copy(struct rig *rig, uint32_t nexus,
			     const struct params *l, uint32_t len)
{
	uint8_t cdb[16] = {0x83, l->lid4 ? 1 : 0};
	struct xfer *x;

	store_be32(cdb + 10, len);
	x = xfer_new(rig, nexus, cdb, sizeof(cdb));
	xfer_out(x, l->p, len);
	return x;
}

static struct xfer *run_copy(struct rig *rig, const struct params *l)
{
	uint8_t cdb[16] = {0x83, l->lid4 ? 1 : 0};

	store_be32(cdb + 10, l->len);
	return rig_run(rig, 0, cdb, sizeof(cdb), l->p, l->len, 0);
}

static struct lun *lun_of(struct rig *rig, uint32_t id)
{
	return rig->device->slots[id]->lun;
}

/* Byte i of block n on disk d. */
static uint8_t pattern(uint32_t d, uint64_t n, uint32_t i)
{
	return (uint8_t)(d * 101 + n * 7 + n / 256 + i * 3);
}

static void io_blocks(struct rig *rig, uint32_t lun, uint8_t opcode,
		      uint64_t lba, uint32_t n, uint8_t *data, uint32_t bs)
{
	uint8_t cdb[16] = {opcode};
	bool out = opcode == 0x8a;
	struct xfer *x;

	store_be64(cdb + 2, lba);
	store_be32(cdb + 10, n);
	x = xfer_new(rig, 0, cdb, sizeof(cdb));
	x->task.lun = (uint64_t)lun << 48;
	if (out)
		xfer_out(x, data, n * bs);
	else
		x->task.edtl_in = n * bs;
	xfer_start(x);
	rig_settle(rig);
	check_good(x);
	if (!out)
		memcpy(data, x->in, n * bs);
	xfer_free(x);
}

static void fill(struct rig *rig, uint32_t lun, uint32_t nblocks, uint32_t bs)
{
	uint8_t *data = malloc(256 * bs);

	for (uint64_t lba = 0; lba < nblocks; lba += 256) {
		for (uint32_t b = 0; b < 256; b++)
			for (uint32_t i = 0; i < bs; i++)
				data[b * bs + i] = pattern(lun, lba + b, i);
		io_blocks(rig, lun, 0x8a, lba, 256, data, bs);
	}
	free(data);
}

/* Blocks [lba, lba + n) of @lun are those of @from at @from_lba. */
static void check_blocks(struct rig *rig, uint32_t lun, uint64_t lba,
			 uint32_t n, uint32_t from, uint64_t from_lba,
			 uint32_t bs)
{
	uint8_t *data = malloc(bs);

	for (uint32_t b = 0; b < n; b++) {
		io_blocks(rig, lun, 0x88, lba + b, 1, data, bs);
		for (uint32_t i = 0; i < bs; i++)
			if (data[i] != pattern(from, from_lba + b, i))
				fail_msg("block %u byte %u", b, i);
	}
	free(data);
}

static void add_disk(void *arg)
{
	struct rig *rig = arg;
	struct bdev_common common = {.name = "Disk1"};
	const char *why = NULL;
	struct bdev *b;

	assert_int_equal(
		bdev_malloc_create(rig->reg, &common, NBLOCKS, 512, &b, &why),
		0);
	common.name = "Hidden";
	assert_int_equal(
		bdev_malloc_create(rig->reg, &common, NBLOCKS, 512, &b, &why),
		0);
	common.name = "Big";
	assert_int_equal(bdev_malloc_create(rig->reg, &common, NBLOCKS / 8,
					    4096, &b, &why),
			 0);
}

static void take_uas(struct rig *rig)
{
	for (uint32_t i = 0; i < RIG_NEXUSES; i++)
		memset(rig->nexus[i].ua, 0, sizeof(rig->nexus[i].ua));
}

static void *create(enum rig_disk kind)
{
	struct rig *rig = malloc(sizeof(*rig));

	rig_create(rig, kind, NBLOCKS, 512, NULL, NULL);
	rig_on(rig, 0, add_disk, rig);
	assert_int_equal(rig_add_lun(rig, 3, "Disk1", NULL), 0);
	assert_int_equal(rig_add_lun(rig, 4, "Big", NULL), 0);
	take_uas(rig);
	return rig;
}

static int setup(void **state)
{
	*state = create(DISK_MALLOC);
	return 0;
}

static int setup_file(void **state)
{
	*state = create(DISK_FILE);
	return 0;
}

static int teardown(void **state)
{
	rig_destroy(*state);
	free(*state);
	return 0;
}

static struct params l;

static void between_disks(void **state)
{
	struct rig *rig = *state;

	fill(rig, 0, NBLOCKS, 512);
	for (int lid4 = 0; lid4 < 2; lid4++) {
		fill(rig, 3, NBLOCKS, 512);
		list_reset(&l, lid4);
		add_cscd(&l, lun_of(rig, 0));
		add_cscd(&l, lun_of(rig, 3));
		add_seg(&l, 0, 1, 3000, 100, 5000);
		add_seg(&l, 1, 1, 5, 0, 20);
		add_seg(&l, 0, 1, 0, 0, 0);
		check_good(run_copy(rig, &l));
		check_blocks(rig, 3, 5000, 3000, 0, 100, 512);
		check_blocks(rig, 3, 4999, 1, 3, 4999, 512);
		check_blocks(rig, 3, 8000, 1, 3, 8000, 512);
		check_blocks(rig, 3, 20, 5, 3, 0, 512);
		check_blocks(rig, 3, 25, 1, 3, 25, 512);
	}
}

static void overlapping(void **state)
{
	struct rig *rig = *state;

	fill(rig, 0, NBLOCKS, 512);
	list_reset(&l, false);
	add_cscd(&l, lun_of(rig, 0));
	add_seg(&l, 0, 0, 4000, 10, 11);
	check_good(run_copy(rig, &l));
	check_blocks(rig, 0, 11, 4000, 0, 10, 512);
	fill(rig, 0, NBLOCKS, 512);
	list_reset(&l, false);
	add_cscd(&l, lun_of(rig, 0));
	add_seg(&l, 0, 0, 4000, 11, 10);
	check_good(run_copy(rig, &l));
	check_blocks(rig, 0, 10, 4000, 0, 11, 512);
}

static void block_sizes(void **state)
{
	struct rig *rig = *state;
	uint8_t *data = malloc(4096);
	struct xfer *x;

	fill(rig, 0, NBLOCKS, 512);
	list_reset(&l, false);
	add_cscd(&l, lun_of(rig, 0));
	add_cscd(&l, lun_of(rig, 4));
	add_seg(&l, 0, 1, 16, 8, 1);
	check_good(run_copy(rig, &l));
	for (uint32_t b = 0; b < 2; b++) {
		io_blocks(rig, 4, 0x88, 1 + b, 1, data, 4096);
		for (uint32_t i = 0; i < 4096; i++)
			assert_int_equal(
				data[i],
				pattern(0, 8 + b * 8 + i / 512, i % 512));
	}
	/* DC: two blocks of the destination. */
	list_reset(&l, false);
	add_cscd(&l, lun_of(rig, 0));
	add_cscd(&l, lun_of(rig, 4));
	add_seg(&l, 0, 1, 1, 0, 5)[1] = 0x02;
	check_good(run_copy(rig, &l));
	io_blocks(rig, 4, 0x88, 5, 1, data, 4096);
	assert_int_equal(data[4095], pattern(0, 7, 511));
	/* No whole block there. */
	list_reset(&l, false);
	add_cscd(&l, lun_of(rig, 0));
	add_cscd(&l, lun_of(rig, 4));
	add_seg(&l, 0, 1, 7, 0, 5);
	x = run_copy(rig, &l);
	check_sense(x, KEY_COPY_ABORTED, ASC_INEXACT_SEGMENT);
	free(data);
}

static void prepare(struct rig *rig, bool lid4)
{
	list_reset(&l, lid4);
	add_cscd(&l, lun_of(rig, 0));
	add_cscd(&l, lun_of(rig, 3));
	add_seg(&l, 0, 1, 8, 0, 0);
}

/* A copy cannot reach what its nexus cannot. */
static void out_of_reach(void **state)
{
	struct rig *rig = *state;
	struct lun hidden = {.naa = {0x31, 2, 3, 4, 5, 6, 7, 8}};
	struct bdev bdev = {.block_size = 512};
	struct xfer *x;

	hidden.bdev = &bdev;
	list_reset(&l, false);
	add_cscd(&l, lun_of(rig, 0));
	add_cscd(&l, &hidden);
	add_seg(&l, 1, 0, 8, 0, 0);
	x = run_copy(rig, &l);
	check_sense(x, KEY_COPY_ABORTED, ASC_COPY_TARGET_NOT_REACHABLE);
	prepare(rig, false);
	store_be16(l.p + HEADER_1 + 2 * CSCD + 6, 2);
	x = run_copy(rig, &l);
	check_sense(x, KEY_COPY_ABORTED, ASC_UNREACHABLE_COPY_TARGET);
	store_be16(l.p + HEADER_1 + 2 * CSCD + 6, 0xffff);
	x = run_copy(rig, &l);
	check_sense(x, KEY_COPY_ABORTED, ASC_UNREACHABLE_COPY_TARGET);
	prepare(rig, false);
	l.p[HEADER_1 + CSCD + 1] = 0x20; /* NUL */
	x = run_copy(rig, &l);
	check_sense(x, KEY_COPY_ABORTED, ASC_UNREACHABLE_COPY_TARGET);
	prepare(rig, false);
	l.p[HEADER_1 + CSCD + 1] = 0x01; /* a tape */
	x = run_copy(rig, &l);
	check_sense(x, KEY_COPY_ABORTED, ASC_COPY_TARGET_TYPE);
	prepare(rig, false);
	l.p[HEADER_1 + CSCD + 4] = 2; /* a NAA name is binary */
	x = run_copy(rig, &l);
	check_sense(x, KEY_COPY_ABORTED, ASC_COPY_TARGET_NOT_REACHABLE);
	prepare(rig, false);
	store_be24(l.p + HEADER_1 + CSCD + 29, 4096);
	x = run_copy(rig, &l);
	check_sense(x, KEY_COPY_ABORTED, ASC_COPY_TARGET_TYPE);
}

static void ranges(void **state)
{
	static const struct {
		uint16_t n;
		uint64_t from, to;
		bool good;
	} rows[] = {
		{8, NBLOCKS - 8, 0, true},   {8, NBLOCKS - 7, 0, false},
		{8, 0, NBLOCKS - 8, true},   {8, 0, NBLOCKS - 7, false},
		{0, NBLOCKS, NBLOCKS, true}, {0, NBLOCKS + 1, 0, false},
		{0, 0, NBLOCKS + 1, false},  {1, UINT64_MAX, 0, false},
		{1, 0, UINT64_MAX, false},   {2, UINT64_MAX, 0, false},
		{1, 1ull << 55, 0, false},   {1, 0, 1ull << 55, false},
		{0xffff, 0, 0, false},
	};
	struct rig *rig = *state;
	struct xfer *x;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		list_reset(&l, i & 1);
		add_cscd(&l, lun_of(rig, 0));
		add_cscd(&l, lun_of(rig, 3));
		add_seg(&l, 0, 1, rows[i].n, rows[i].from, rows[i].to);
		x = run_copy(rig, &l);
		if (rows[i].good)
			check_good(x);
		else
			check_sense(x, KEY_COPY_ABORTED, ASC_NONE);
	}
}

static void lengths(void **state)
{
	struct rig *rig = *state;
	struct xfer *x;

	for (int lid4 = 0; lid4 < 2; lid4++) {
		prepare(rig, lid4);
		for (uint32_t len = 0; len < l.len; len++) {
			x = new_copy(rig, 0, &l, len);
			xfer_start(x);
			rig_settle(rig);
			if (len == 0)
				check_good(x);
			else
				check_sense(x, KEY_ILLEGAL_REQUEST,
					    ASC_PARAM_LIST_LENGTH);
			xfer_free(x);
		}
		/* The CDB's length, less data than it says. */
		x = new_copy(rig, 0, &l, l.len);
		x->task.edtl_out = l.len - 1;
		xfer_start(x);
		rig_settle(rig);
		check_sense(x, KEY_ILLEGAL_REQUEST, ASC_PARAM_LIST_LENGTH);
		xfer_free(x);
		x = new_copy(rig, 0, &l, BUF_SMALL);
		xfer_start(x);
		rig_settle(rig);
		check_good(x);
		xfer_free(x);
		x = new_copy(rig, 0, &l, BUF_SMALL);
		store_be32(x->task.cdb + 10, BUF_SMALL + 1);
		xfer_start(x);
		rig_settle(rig);
		check_sense(x, KEY_ILLEGAL_REQUEST, ASC_PARAM_LIST_LENGTH);
		store_be32(x->task.cdb + 10, UINT32_MAX);
		x->released = x->done = false;
		free(take(&x->in));
		xfer_start(x);
		rig_settle(rig);
		check_sense(x, KEY_ILLEGAL_REQUEST, ASC_PARAM_LIST_LENGTH);
		xfer_free(x);
	}
}

static void counts(void **state)
{
	struct rig *rig = *state;

	for (int lid4 = 0; lid4 < 2; lid4++) {
		list_reset(&l, lid4);
		for (int i = 0; i < COPY_CSCDS_MAX; i++)
			add_cscd(&l, lun_of(rig, 0));
		add_seg(&l, 0, COPY_CSCDS_MAX - 1, 1, 0, 1);
		check_good(run_copy(rig, &l));
		list_reset(&l, lid4);
		for (int i = 0; i <= COPY_CSCDS_MAX; i++)
			add_cscd(&l, lun_of(rig, 0));
		add_seg(&l, 0, 0, 1, 0, 1);
		check_sense(run_copy(rig, &l), KEY_ILLEGAL_REQUEST,
			    ASC_TOO_MANY_CSCDS);
		list_reset(&l, lid4);
		add_cscd(&l, lun_of(rig, 0));
		for (int i = 0; i < COPY_SEGS_MAX; i++)
			add_seg(&l, 0, 0, 1, 0, 1);
		check_good(run_copy(rig, &l));
		add_seg(&l, 0, 0, 1, 0, 1);
		check_sense(run_copy(rig, &l), KEY_ILLEGAL_REQUEST,
			    ASC_TOO_MANY_SEGMENTS);
		list_reset(&l, lid4);
		for (int i = 0; i <= COPY_CSCDS_MAX; i++)
			add_cscd(&l, lun_of(rig, 0));
		for (int i = 0; i <= COPY_SEGS_MAX; i++)
			add_seg(&l, 0, 0, 1, 0, 1);
		check_sense(run_copy(rig, &l), KEY_ILLEGAL_REQUEST,
			    ASC_PARAM_LIST_LENGTH);
		list_reset(&l, lid4);
		check_good(run_copy(rig, &l));
	}
}

static void fields(void **state)
{
	static const struct {
		uint32_t at;
		uint8_t value;
		uint16_t asc, field;
	} rows[] = {
		{1, 0x08, ASC_INVALID_FIELD_IN_PARAM, 1}, /* LIST ID USAGE */
		{3, CSCD - 1, ASC_INVALID_FIELD_IN_PARAM, 2},
		{2, 0xff, ASC_PARAM_LIST_LENGTH, 0},
		{8, 0xff, ASC_PARAM_LIST_LENGTH, 0},
		{15, 1, ASC_INLINE_LENGTH, 0},
		{12, 0xff, ASC_INLINE_LENGTH, 0},
		{HEADER_1, 0xe0, ASC_CSCD_TYPE, 0},
		{HEADER_1 + 5, 0x13, ASC_INVALID_FIELD_IN_PARAM, HEADER_1 + 5},
		{HEADER_1 + 7, 0, ASC_INVALID_FIELD_IN_PARAM, HEADER_1 + 7},
		{HEADER_1 + 7, 21, ASC_INVALID_FIELD_IN_PARAM, HEADER_1 + 7},
		{HEADER_1 + 2 * CSCD, 0x01, ASC_SEGMENT_TYPE, 0},
		{HEADER_1 + 2 * CSCD + 3, SEG - 5, ASC_INVALID_FIELD_IN_PARAM,
		 HEADER_1 + 2 * CSCD + 2},
		{11, SEG - 1, ASC_PARAM_LIST_LENGTH, 0},
		{11, SEG + 1, ASC_PARAM_LIST_LENGTH, 0},
	};
	struct rig *rig = *state;
	struct xfer *x;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		prepare(rig, false);
		l.p[rows[i].at] = rows[i].value;
		x = run_copy(rig, &l);
		check_sense(x, KEY_ILLEGAL_REQUEST, rows[i].asc);
		if (rows[i].asc == ASC_INVALID_FIELD_IN_PARAM)
			assert_int_equal(load_be16(x->task.sense + 16),
					 rows[i].field);
	}
	prepare(rig, false);
	l.p[HEADER_1 + 1] = 0x80; /* LU ID TYPE means nothing to E4h */
	check_good(run_copy(rig, &l));
	prepare(rig, false);
	l.p[1] = 0x18; /* no identifier: it is zero */
	check_good(run_copy(rig, &l));
	l.p[0] = 1;
	check_sense(run_copy(rig, &l), KEY_ILLEGAL_REQUEST,
		    ASC_INVALID_FIELD_IN_PARAM);
	prepare(rig, true);
	l.p[0] = 0;
	check_sense(run_copy(rig, &l), KEY_ILLEGAL_REQUEST,
		    ASC_INVALID_FIELD_IN_PARAM);
	prepare(rig, true);
	l.p[3] = 0x21;
	check_sense(run_copy(rig, &l), KEY_ILLEGAL_REQUEST,
		    ASC_INVALID_FIELD_IN_PARAM);
	prepare(rig, true);
	l.p[16] = 0;
	check_sense(run_copy(rig, &l), KEY_ILLEGAL_REQUEST,
		    ASC_INVALID_FIELD_IN_PARAM);
}

static struct xfer *results(struct rig *rig, uint8_t sa, uint32_t id,
			    uint32_t alloc)
{
	uint8_t cdb[16] = {0x84, sa};

	if (sa == 5)
		store_be32(cdb + 2, id);
	else
		cdb[2] = (uint8_t)id;
	store_be32(cdb + 10, alloc);
	return rig_run(rig, 0, cdb, sizeof(cdb), NULL, 0, MIN(alloc, 512u));
}

static void told(void **state)
{
	struct rig *rig = *state;
	struct xfer *x;

	check_field(results(rig, 0, 7, 12), 2, 7);
	check_field(results(rig, 4, 7, 12), 2, 7);
	check_field(results(rig, 5, 7, 12), 2, 7);
	prepare(rig, false);
	add_seg(&l, 0, 1, 100, 0, 100);
	l.p[0] = 7;
	check_good(run_copy(rig, &l));
	x = results(rig, 0, 7, 12);
	check_good(x);
	assert_int_equal(x->in_len, 12);
	assert_int_equal(load_be32(x->in), 8);
	assert_int_equal(x->in[4], 1);
	assert_int_equal(load_be16(x->in + 5), 2);
	assert_int_equal(load_be32(x->in + 8), 108 * 512);
	x = results(rig, 4, 7, 512);
	assert_int_equal(x->in_len, 4);
	assert_int_equal(load_be32(x->in), 0);
	x = results(rig, 5, 7, 512);
	assert_int_equal(x->in_len, load_be32(x->in) + 4);
	assert_int_equal(x->in[5], 1);
	assert_int_equal(load_be64(x->in + 16), 108 * 512);
	/* The second segment fails. */
	prepare(rig, true);
	add_seg(&l, 0, 9, 100, 0, 100);
	store_be32(l.p + 20, 0x12345678);
	check_sense(run_copy(rig, &l), KEY_COPY_ABORTED,
		    ASC_UNREACHABLE_COPY_TARGET);
	x = results(rig, 5, 0x12345678, 512);
	check_good(x);
	assert_int_equal(x->in[4], 1);
	assert_int_equal(x->in[5], 2);
	assert_int_equal(x->in[12], SCSI_CHECK_CONDITION);
	assert_int_equal(load_be16(x->in + 24), 1);
	assert_int_equal(x->in[14], 18);
	assert_int_equal(x->in[32 + 2], KEY_COPY_ABORTED);
	check_field(results(rig, 5, 0x12345679, 512), 2, 7);
	prepare(rig, false);
	l.p[0] = 9;
	store_be64(l.p + HEADER_1 + 2 * CSCD + 12, NBLOCKS);
	check_sense(run_copy(rig, &l), KEY_COPY_ABORTED, ASC_NONE);
	x = results(rig, 4, 9, 512);
	assert_int_equal(x->in[56], SCSI_CHECK_CONDITION);
	assert_int_equal(load_be16(x->in + 58), 18);
	assert_int_equal(x->in_len, 78);
	x = results(rig, 0, 9, 512);
	assert_int_equal(x->in[4], 2);
	/* Only so many are remembered. */
	for (uint8_t id = 20; id < 20 + COPY_RECORDS_MAX; id++) {
		prepare(rig, false);
		l.p[0] = id;
		check_good(run_copy(rig, &l));
	}
	check_field(results(rig, 0, 9, 512), 2, 7);
	check_good(results(rig, 0, 20, 512));
	x = results(rig, 3, 0, 512);
	check_good(x);
	assert_int_equal(load_be32(x->in) + 4, x->in_len);
	assert_int_equal(load_be16(x->in + 8), COPY_CSCDS_MAX);
	for (uint32_t alloc = 0; alloc < 48; alloc++)
		assert_int_equal(results(rig, 3, 0, alloc)->in_len,
				 MIN(alloc, 46u));
	x = rig_run(rig, 0, CDB(0x12, 1, 0x8f, 1, 0, 0), NULL, 0, 256);
	check_good(x);
	assert_int_equal(load_be16(x->in + 2) + 4, x->in_len);
	assert_int_equal(load_be16(x->in + 4), 1);
}

/* What a copy meets on the way: protection, and an end. */
static void set_protect(void *arg)
{
	struct rig *rig = arg;

	for (uint32_t i = 0; i < RIG_CORES; i++)
		lun_of(rig, 3)->views[i].state.protect = true;
}

static void refused(void **state)
{
	struct rig *rig = *state;
	struct xfer *x;

	rig_on(rig, 0, set_protect, rig);
	prepare(rig, false);
	x = run_copy(rig, &l);
	check_sense(x, KEY_COPY_ABORTED, ASC_THIRD_PARTY_FAILURE);
	/* From it is no matter. */
	list_reset(&l, false);
	add_cscd(&l, lun_of(rig, 3));
	add_cscd(&l, lun_of(rig, 0));
	add_seg(&l, 0, 1, 8, 0, 0);
	check_good(run_copy(rig, &l));
	/* Unit attentions stay for whom they are. */
	rig->nexus[0].ua[3] = 1u << UA_MODE_CHANGED;
	check_good(run_copy(rig, &l));
	assert_int_equal(rig->nexus[0].ua[3], 1u << UA_MODE_CHANGED);
}

static void on_lun_3(struct rig *rig, uint32_t nexus, uint8_t opcode)
{
	struct xfer *x = xfer_new(rig, nexus, CDB(opcode, 0, 0, 0, 0, 0));

	x->task.lun = 3ull << 48;
	xfer_start(x);
	rig_settle(rig);
	check_good(x);
	xfer_free(x);
}

/* Somebody else has reserved an end. */
static void reserved(void **state)
{
	struct rig *rig = *state;

	fill(rig, 3, NBLOCKS, 512);
	on_lun_3(rig, 1, 0x16);
	prepare(rig, false);
	check_sense(run_copy(rig, &l), KEY_COPY_ABORTED,
		    ASC_THIRD_PARTY_FAILURE);
	list_reset(&l, false);
	add_cscd(&l, lun_of(rig, 3));
	add_cscd(&l, lun_of(rig, 0));
	add_seg(&l, 0, 1, 8, 0, 0);
	check_sense(run_copy(rig, &l), KEY_COPY_ABORTED,
		    ASC_THIRD_PARTY_FAILURE);
	on_lun_3(rig, 1, 0x17);
	check_blocks(rig, 3, 0, 8, 3, 0, 512);
	check_good(run_copy(rig, &l));
	check_blocks(rig, 0, 0, 8, 3, 0, 512);
}

struct ending {
	struct rig *rig;
	struct scsi_tmf tmf;
	struct xfer *x;
	bool done;
};

static void tmf_done(struct scsi_tmf *tmf)
{
	container_of(tmf, struct ending, tmf)->done = true;
}

static void abort_now(void *arg)
{
	struct ending *e = arg;

	scsi_tmf_start(&e->tmf);
}

static void is_aborted(void **state)
{
	struct rig *rig = *state;
	struct ending e = {.rig = rig,
			   .tmf = {.nexus = &rig->nexus[0],
				   .function = SCSI_TMF_ABORT_TASK_SET,
				   .done = tmf_done}};
	struct xfer *x;

	fill(rig, 0, NBLOCKS, 512);
	list_reset(&l, false);
	add_cscd(&l, lun_of(rig, 0));
	add_cscd(&l, lun_of(rig, 3));
	for (int i = 0; i < 100; i++)
		add_seg(&l, 0, 1, NBLOCKS - 1, 0, 1);
	l.p[0] = 77;
	x = new_copy(rig, 0, &l, l.len);
	xfer_start(x);
	/* Some pieces in. */
	for (int i = 0; i < 40; i++)
		sim_step(rig->set, RIG_LIMIT_NS);
	assert_false(x->done);
	rig_on(rig, 0, abort_now, &e);
	assert_true(e.done);
	assert_true(x->released && x->aborted);
	assert_false(rig->nexus[0].copies[0].running);
	xfer_free(x);
	x = results(rig, 0, 77, 12);
	check_good(x);
	assert_int_equal(x->in[4], 2);
	assert_true(load_be16(x->in + 5) < 100);
	assert_int_equal(rig->server->cores[0].copies, 0);
}

struct remove {
	struct scsi_change change;
	struct rig *rig;
	bool done;
};

static void removed(struct scsi_change *c)
{
	container_of(c, struct remove, change)->done = true;
}

static void remove_lun(void *arg)
{
	struct remove *r = arg;

	assert_int_equal(scsi_device_remove_lun(r->rig->device, 3, &r->change),
			 0);
}

/* The destination leaves in the middle of it. */
static void loses_an_end(void **state)
{
	struct rig *rig = *state;
	struct remove r = {.change.done = removed, .rig = rig};
	struct xfer *x;

	list_reset(&l, false);
	add_cscd(&l, lun_of(rig, 0));
	add_cscd(&l, lun_of(rig, 3));
	for (int i = 0; i < 100; i++)
		add_seg(&l, 0, 1, NBLOCKS - 1, 0, 1);
	x = new_copy(rig, 0, &l, l.len);
	xfer_start(x);
	for (int i = 0; i < 40; i++)
		sim_step(rig->set, RIG_LIMIT_NS);
	assert_false(x->done);
	rig_on(rig, 0, remove_lun, &r);
	assert_true(r.done);
	assert_true(x->released);
	assert_int_equal(x->task.status, SCSI_CHECK_CONDITION);
	assert_int_equal(x->task.sense[2], KEY_COPY_ABORTED);
	xfer_free(x);
}

/* More than run at a time: the others are asked to come again. */
static void many(void **state)
{
	struct rig *rig = *state;
	struct xfer *x[COPIES_MAX + 2];
	uint32_t good = 0;

	fill(rig, 0, NBLOCKS, 512);
	for (uint32_t i = 0; i < ARRAY_LEN(x); i++) {
		list_reset(&l, false);
		add_cscd(&l, lun_of(rig, 0));
		add_cscd(&l, lun_of(rig, 3));
		add_seg(&l, 0, 1, 4000, 0, 0);
		l.p[0] = (uint8_t)i;
		x[i] = new_copy(rig, i % 2 * 2, &l, l.len);
		xfer_start(x[i]);
	}
	rig_settle(rig);
	for (uint32_t i = 0; i < ARRAY_LEN(x); i++) {
		assert_true(x[i]->released);
		if (x[i]->task.status == SCSI_GOOD)
			good++;
		else
			assert_int_equal(x[i]->task.status, SCSI_BUSY);
		xfer_free(x[i]);
	}
	assert_true(good >= 1 && good <= COPIES_MAX + 2);
	check_blocks(rig, 3, 0, 4000, 0, 0, 512);
}

#define BOTH(fn)                                              \
	cmocka_unit_test_setup_teardown(fn, setup, teardown), \
		cmocka_unit_test_setup_teardown(fn, setup_file, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(between_disks), BOTH(overlapping), BOTH(block_sizes),
		BOTH(out_of_reach),  BOTH(ranges),	BOTH(lengths),
		BOTH(counts),	     BOTH(fields),	BOTH(told),
		BOTH(refused),	     BOTH(reserved),	BOTH(is_aborted),
		BOTH(loses_an_end),  BOTH(many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
