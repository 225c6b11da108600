/* SPDX-License-Identifier: BSD-3-Clause */
/* Walks the command table: every row, every bit of every CDB. */
#include "rig.h"

#include <stdlib.h>
#include <string.h>

#include "scsi/cmd.h"

static int setup(void **state)
{
	struct rig *rig = malloc(sizeof(*rig));

	rig_create(rig, DISK_MALLOC, 2048, 512,
		   &(struct lun_options){.long_cdbs = true, .removable = true},
		   NULL);
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

/* The row as a CDB in which nothing but opcode and action are set. */
static void make_cdb(const struct scsi_cmd *cmd, uint8_t opcode, uint8_t *cdb)
{
	memset(cdb, 0, CMD_USAGE_MAX);
	cdb[0] = opcode;
	if (cmd->flags & CMD_SA)
		cdb[1] = (uint8_t)cmd->sa;
	if (cmd->flags & CMD_SA32) {
		cdb[7] = CMD_USAGE_MAX - 8;
		store_be16(cdb + 8, cmd->sa);
	}
}

typedef void row_fn(struct rig *rig, const struct scsi_cmd *cmd,
		    uint8_t opcode);

static unsigned int each_row(struct rig *rig, row_fn *fn)
{
	unsigned int n = 0;

	for (unsigned int op = 0; op < 256; op++) {
		const struct scsi_cmd *cmd = command_by_opcode((uint8_t)op);

		if (cmd == NULL)
			continue;
		if (cmd->subs == NULL) {
			fn(rig, cmd, (uint8_t)op);
			n++;
		}
		for (unsigned int i = 0; i < cmd->nsubs; i++) {
			fn(rig, &cmd->subs[i], (uint8_t)op);
			n++;
		}
	}
	return n;
}

static void well_formed(struct rig *rig, const struct scsi_cmd *cmd,
			uint8_t opcode)
{
	static const uint8_t lens[] = {6, 10, 10, 0, 16, 12, 0, 0};
	uint8_t cdb[CMD_USAGE_MAX];
	bool sa = false;

	assert_non_null(cmd->start);
	assert_int_equal(cmd->len, opcode == 0x7f ? 32 : lens[opcode >> 5]);
	for (unsigned int i = cmd->len; i < CMD_USAGE_MAX; i++)
		assert_int_equal(cmd->usage[i], 0xff);
	/* CONTROL: no bit of it (NACA is refused). */
	assert_int_equal(cmd->usage[cmd->len == 32 ? 1 : cmd->len - 1], 0);
	make_cdb(cmd, opcode, cdb);
	assert_ptr_equal(command_find(cdb, &sa), cmd);
	/* What writes needs a medium, and conflicts with reservations. */
	if (cmd->flags & CMD_WRITES) {
		assert_true(cmd->flags & CMD_MEDIUM);
		assert_true(cmd->flags & CMD_RES_WRITE);
	}
}

static void rows_are_well_formed(void **state)
{
	assert_true(each_row(*state, well_formed) > 30);
}

static void reserved_bits(struct rig *rig, const struct scsi_cmd *cmd,
			  uint8_t opcode)
{
	uint8_t cdb[CMD_USAGE_MAX];

	for (uint16_t byte = 1; byte < cmd->len; byte++) {
		for (uint8_t bit = 0; bit < 8; bit++) {
			if (cmd->usage[byte] & 1 << bit)
				continue;
			make_cdb(cmd, opcode, cdb);
			cdb[byte] |= (uint8_t)(1 << bit);
			check_field(rig_run(rig, 0, cdb, cmd->len, NULL, 0, 0),
				    byte, bit);
		}
	}
}

static void each_reserved_bit_is_refused(void **state)
{
	each_row(*state, reserved_bits);
}

static void reported(struct rig *rig, const struct scsi_cmd *cmd,
		     uint8_t opcode)
{
	uint8_t rsoc[12] = {0xa3, 0x0c, 0x83, opcode};
	struct xfer *x;

	store_be16(rsoc + 4, cmd->sa);
	store_be32(rsoc + 6, 512);
	x = rig_run(rig, 0, rsoc, sizeof(rsoc), NULL, 0, 512);
	check_good(x);
	assert_int_equal(x->in_len, 4 + cmd->len + 12);
	assert_int_equal(x->in[1], 0x80 | 3);
	assert_int_equal(load_be16(x->in + 2), cmd->len);
	assert_int_equal(x->in[4], opcode);
	for (unsigned int i = 1; i < cmd->len; i++) {
		uint8_t usage = cmd->usage[i];

		if (i == 1 && (cmd->flags & CMD_SA))
			usage = (uint8_t)((usage & 0xe0) | cmd->sa);
		if ((i == 8 || i == 9) && (cmd->flags & CMD_SA32))
			usage = (uint8_t)(i == 8 ? cmd->sa >> 8 : cmd->sa);
		assert_int_equal(x->in[4 + i], usage);
	}
	assert_int_equal(load_be16(x->in + 4 + cmd->len), 10);
}

static void each_row_is_reported(void **state)
{
	each_row(*state, reported);
}

static unsigned int rows_seen;

static void count_row(struct rig *rig, const struct scsi_cmd *cmd,
		      uint8_t opcode)
{
	rows_seen++;
}

static void all_are_listed(void **state)
{
	struct rig *rig = *state;
	struct xfer *x;
	uint32_t len, at;
	unsigned int n = 0;

	rows_seen = 0;
	each_row(rig, count_row);
	for (unsigned int rctd = 0; rctd < 2; rctd++) {
		x = rig_run(rig, 0,
			    CDB(0xa3, 0x0c, (uint8_t)(rctd << 7), 0, 0, 0, 0, 0,
				0x20, 0, 0, 0),
			    NULL, 0, 8192);
		check_good(x);
		len = load_be32(x->in) + 4;
		assert_int_equal(x->in_len, len);
		n = 0;
		for (at = 4; at < len; at += rctd ? 20 : 8) {
			const struct scsi_cmd *cmd;
			uint16_t sa = load_be16(x->in + at + 2);

			cmd = command_by_opcode(x->in[at]);
			assert_non_null(cmd);
			assert_int_equal(x->in[at + 5] & 1, cmd->subs != NULL);
			assert_int_equal(x->in[at + 5] & 2, rctd ? 2 : 0);
			if (cmd->subs != NULL)
				cmd = command_by_action(x->in[at], sa);
			assert_non_null(cmd);
			assert_int_equal(load_be16(x->in + at + 6), cmd->len);
			n++;
		}
		assert_int_equal(at, len);
		assert_int_equal(n, rows_seen);
	}
}

static void unknown_ones(void **state)
{
	struct rig *rig = *state;

	for (unsigned int op = 0; op < 256; op++) {
		const struct scsi_cmd *cmd = command_by_opcode((uint8_t)op);
		uint8_t cdb[32] = {(uint8_t)op};
		struct xfer *x;

		if (cmd != NULL && cmd->subs == NULL)
			continue;
		if (cmd == NULL) {
			x = rig_run(rig, 0, cdb, 16, NULL, 0, 0);
			check_sense(x, KEY_ILLEGAL_REQUEST, ASC_INVALID_OPCODE);
			continue;
		}
		for (unsigned int sa = 0; sa < 32; sa++) {
			if (command_by_action((uint8_t)op, (uint16_t)sa))
				continue;
			if (op == 0x7f) {
				cdb[7] = 24;
				cdb[9] = (uint8_t)sa;
				x = rig_run(rig, 0, cdb, 32, NULL, 0, 0);
				check_field(x, 8, -1);
			} else {
				cdb[1] = (uint8_t)sa;
				x = rig_run(rig, 0, cdb, 16, NULL, 0, 0);
				check_field(x, 1, 4);
			}
		}
	}
}

static void rsoc_forms(void **state)
{
	struct rig *rig = *state;
	struct xfer *x;

	/* An opcode with service actions asked without, and the reverse. */
	x = rig_run(rig, 0, CDB(0xa3, 0x0c, 1, 0x9e, 0, 0, 0, 0, 1, 0, 0, 0),
		    NULL, 0, 256);
	check_field(x, 2, 2);
	x = rig_run(rig, 0, CDB(0xa3, 0x0c, 2, 0x28, 0, 0, 0, 0, 1, 0, 0, 0),
		    NULL, 0, 256);
	check_field(x, 2, 2);
	for (uint8_t options = 4; options < 8; options++) {
		x = rig_run(
			rig, 0,
			CDB(0xa3, 0x0c, options, 0x28, 0, 0, 0, 0, 1, 0, 0, 0),
			NULL, 0, 256);
		check_field(x, 2, 2);
	}
	/* Nothing of that name. */
	x = rig_run(rig, 0, CDB(0xa3, 0x0c, 1, 0xff, 0, 0, 0, 0, 1, 0, 0, 0),
		    NULL, 0, 256);
	check_good(x);
	assert_int_equal(x->in[1], 1);
	x = rig_run(rig, 0,
		    CDB(0xa3, 0x0c, 2, 0x9e, 0xff, 0xff, 0, 0, 1, 0, 0, 0),
		    NULL, 0, 256);
	check_good(x);
	assert_int_equal(x->in[1], 1);
	/* Allocation lengths. */
	for (uint32_t alloc = 0; alloc < 40; alloc++) {
		x = rig_run(rig, 0,
			    CDB(0xa3, 0x0c, 1, 0x28, 0, 0, 0, 0, 0,
				(uint8_t)alloc, 0, 0),
			    NULL, 0, 256);
		check_good(x);
		assert_int_equal(x->in_len, MIN(alloc, 14u));
	}
}

/* A long CDB that says another length, or is not all there. */
static void long_cdb_length(void **state)
{
	struct rig *rig = *state;
	uint8_t cdb[32] = {0x7f};

	store_be16(cdb + 8, SA_READ_32);
	for (unsigned int len = 0; len < 256; len++) {
		struct xfer *x;

		cdb[7] = (uint8_t)len;
		x = rig_run(rig, 0, cdb, 32, NULL, 0, 0);
		if (len == 24)
			check_good(x);
		else
			check_field(x, 7, -1);
	}
	cdb[7] = 24;
	for (size_t len = 16; len < 32; len++)
		check_field(rig_run(rig, 0, cdb, len, NULL, 0, 0), 7, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_are_well_formed),
		cmocka_unit_test(each_reserved_bit_is_refused),
		cmocka_unit_test(each_row_is_reported),
		cmocka_unit_test(all_are_listed),
		cmocka_unit_test(unknown_ones),
		cmocka_unit_test(rsoc_forms),
		cmocka_unit_test(long_cdb_length),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
