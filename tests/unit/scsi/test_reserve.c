/* SPDX-License-Identifier: BSD-3-Clause */
/* Reservations of both kinds, from four nexuses on two cores. */
#include "rig.h"

#include <stdlib.h>
#include <string.h>

#include "scsi/pr.h"

static int setup(void **state)
{
	struct rig *rig = malloc(sizeof(*rig));

	rig_create(rig, DISK_MALLOC, 2048, 512,
		   &(struct lun_options){.removable = true}, NULL);
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

static const struct xfer *pr_out(struct rig *rig, uint32_t nexus,
				 enum pr_action action, uint8_t type,
				 uint64_t key, uint64_t action_key)
{
	uint8_t list[24] = {0};

	store_be64(list, key);
	store_be64(list + 8, action_key);
	return rig_run(rig, nexus,
		       CDB(0x5f, (uint8_t)action, type, 0, 0, 0, 0, 0, 24, 0),
		       list, sizeof(list), 0);
}

static void pr_good(struct rig *rig, uint32_t nexus, enum pr_action action,
		    uint8_t type, uint64_t key, uint64_t action_key)
{
	check_good(pr_out(rig, nexus, action, type, key, action_key));
}

static void pr_conflict(struct rig *rig, uint32_t nexus, enum pr_action action,
			uint8_t type, uint64_t key, uint64_t action_key)
{
	assert_int_equal(
		pr_out(rig, nexus, action, type, key, action_key)->task.status,
		SCSI_RESERVATION_CONFLICT);
}

static const uint8_t *pr_in(struct rig *rig, uint8_t action)
{
	check_good(rig_run(rig, 3, CDB(0x5e, action, 0, 0, 0, 0, 0, 4, 0, 0),
			   NULL, 0, 1024));
	return rig->last->in;
}

static void expect_ua(struct rig *rig, uint32_t nexus, uint16_t asc)
{
	const struct xfer *x =
		rig_run(rig, nexus, CDB(0x12, 0, 0, 0, 36, 0), NULL, 0, 36);

	check_good(x);
	x = rig_run(rig, nexus, CDB(0, 0, 0, 0, 0, 0), NULL, 0, 0);
	if (asc != 0)
		check_sense(x, KEY_UNIT_ATTENTION, asc);
	else
		check_good(x);
}

static bool may(struct rig *rig, uint32_t nexus, bool write)
{
	static const uint8_t data[512];
	const struct xfer *x;

	if (write)
		x = rig_run(rig, nexus, CDB(0x2a, 0, 0, 0, 0, 1, 0, 0, 1, 0),
			    data, 512, 0);
	else
		x = rig_run(rig, nexus, CDB(0x28, 0, 0, 0, 0, 1, 0, 0, 1, 0),
			    NULL, 0, 512);
	if (x->task.status == SCSI_RESERVATION_CONFLICT)
		return false;
	check_good(x);
	return true;
}

static void registrations(void **state)
{
	struct rig *rig = *state;
	const uint8_t *in;

	pr_conflict(rig, 0, PR_REGISTER, 0, 7, 1); /* no such key yet */
	pr_good(rig, 0, PR_REGISTER, 0, 0, 0xa0);
	pr_good(rig, 1, PR_REGISTER_IGNORE, 0, 99, 0xa1);
	in = pr_in(rig, 0);
	assert_int_equal(load_be32(in), 2);
	assert_int_equal(load_be32(in + 4), 16);
	assert_int_equal(load_be64(in + 8), 0xa0);
	assert_int_equal(load_be64(in + 16), 0xa1);
	pr_conflict(rig, 0, PR_REGISTER, 0, 0xa1, 5);
	pr_good(rig, 0, PR_REGISTER, 0, 0xa0, 0xb0);
	pr_good(rig, 1, PR_REGISTER, 0, 0xa1, 0); /* out */
	in = pr_in(rig, 0);
	assert_int_equal(load_be32(in), 4);
	assert_int_equal(load_be32(in + 4), 8);
	assert_int_equal(load_be64(in + 8), 0xb0);
	pr_conflict(rig, 1, PR_RESERVE, PR_EXCLUSIVE, 0xa1, 0);
	in = pr_in(rig, 3);
	assert_int_equal(load_be64(in + 8), 0xb0);
	assert_int_equal(in[8 + 12], 0);
	assert_int_equal(load_be16(in + 8 + 18), 1);
	assert_int_equal(in[8 + 24], 0x45);
	assert_string_equal(in + 8 + 28,
			    "iqn.2016-06.io.spdk:host0,i,0x000000000000");
	assert_int_equal(load_be32(in + 4), 24 + load_be32(in + 8 + 20));
}

/* Who may read and write: holder 0, registered 1, neither 2. */
static void types(void **state)
{
	static const struct {
		uint8_t type;
		bool registered_reads, registered_writes, other_reads;
	} rows[] = {
		{PR_WRITE_EXCLUSIVE, true, false, true},
		{PR_EXCLUSIVE, false, false, false},
		{PR_WRITE_EXCLUSIVE_RO, true, true, true},
		{PR_EXCLUSIVE_RO, true, true, false},
		{PR_WRITE_EXCLUSIVE_AR, true, true, true},
		{PR_EXCLUSIVE_AR, true, true, false},
	};
	struct rig *rig = *state;
	const uint8_t *in;

	pr_good(rig, 0, PR_REGISTER, 0, 0, 0xa0);
	pr_good(rig, 1, PR_REGISTER, 0, 0, 0xa1);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		bool all = rows[i].type >= PR_WRITE_EXCLUSIVE_AR;

		pr_good(rig, 0, PR_RESERVE, rows[i].type, 0xa0, 0);
		pr_good(rig, 0, PR_RESERVE, rows[i].type, 0xa0, 0);
		if (!all)
			pr_conflict(rig, 1, PR_RESERVE, rows[i].type, 0xa1, 0);
		in = pr_in(rig, 1);
		assert_int_equal(load_be32(in + 4), 16);
		assert_int_equal(load_be64(in + 8), all ? 0 : 0xa0);
		assert_int_equal(in[21], rows[i].type);
		assert_true(may(rig, 0, false) && may(rig, 0, true));
		assert_int_equal(may(rig, 1, false), rows[i].registered_reads);
		assert_int_equal(may(rig, 1, true), rows[i].registered_writes);
		assert_int_equal(may(rig, 2, false), rows[i].other_reads);
		assert_false(may(rig, 2, true));
		check_sense(pr_out(rig, 0, PR_RELEASE,
				   rows[i].type == 1 ? 3 : 1, 0xa0, 0),
			    KEY_ILLEGAL_REQUEST, ASC_INVALID_RELEASE);
		pr_good(rig, 0, PR_RELEASE, rows[i].type, 0xa0, 0);
		expect_ua(rig, 1,
			  rows[i].type >= PR_WRITE_EXCLUSIVE_RO
				  ? ASC_RES_RELEASED
				  : 0);
		assert_true(may(rig, 2, true));
	}
	for (uint8_t type = 0; type < 16; type++) {
		if (pr_type_valid(type))
			continue;
		check_field(pr_out(rig, 0, PR_RESERVE, type, 0xa0, 0), 2, 3);
	}
}

static void preemption(void **state)
{
	struct rig *rig = *state;
	const uint8_t *in;

	for (uint32_t n = 0; n < 3; n++)
		pr_good(rig, n, PR_REGISTER, 0, 0, 0xa0 + n);
	pr_good(rig, 0, PR_RESERVE, PR_WRITE_EXCLUSIVE_RO, 0xa0, 0);
	pr_conflict(rig, 1, PR_PREEMPT, PR_EXCLUSIVE, 0xa1, 0x77);
	pr_good(rig, 1, PR_PREEMPT, PR_EXCLUSIVE, 0xa1, 0xa0);
	expect_ua(rig, 0, ASC_REG_PREEMPTED);
	expect_ua(rig, 1, 0);
	expect_ua(rig, 2, ASC_RES_RELEASED); /* the type has changed */
	in = pr_in(rig, 1);
	assert_int_equal(load_be64(in + 8), 0xa1);
	assert_int_equal(in[21], PR_EXCLUSIVE);
	assert_false(may(rig, 0, false));
	/* Only a registration. */
	pr_good(rig, 1, PR_PREEMPT, PR_EXCLUSIVE, 0xa1, 0xa2);
	expect_ua(rig, 2, ASC_REG_PREEMPTED);
	pr_good(rig, 0, PR_REGISTER, 0, 0, 0xa0);
	pr_good(rig, 1, PR_CLEAR, 0, 0xa1, 0);
	expect_ua(rig, 0, ASC_RES_PREEMPTED);
	assert_int_equal(load_be32(pr_in(rig, 0) + 4), 0);
	assert_true(may(rig, 2, true));
}

/* PREEMPT AND ABORT: the commands of the one put out end first. */
static void preempt_abort(void **state)
{
	static const uint8_t data[512];
	struct rig *rig = *state;
	struct xfer *x[2];

	pr_good(rig, 0, PR_REGISTER, 0, 0, 0xa0);
	pr_good(rig, 1, PR_REGISTER, 0, 0, 0xa1);
	pr_good(rig, 0, PR_RESERVE, PR_EXCLUSIVE_AR, 0xa0, 0);
	for (uint32_t n = 0; n < 2; n++) {
		x[n] = xfer_new(rig, n, CDB(0x2a, 0, 0, 0, 0, 1, 0, 0, 1, 0));
		xfer_out(x[n], data, sizeof(data));
		x[n]->hold = HOLD_DATA;
		xfer_start(x[n]);
		rig_settle(rig);
	}
	pr_good(rig, 1, PR_PREEMPT_ABORT, PR_EXCLUSIVE_AR, 0xa1, 0xa0);
	assert_true(x[0]->aborted && x[0]->released);
	assert_false(x[1]->aborted);
	xfer_go(x[1]);
	rig_settle(rig);
	check_good(x[1]);
	xfer_free(x[0]);
	xfer_free(x[1]);
	expect_ua(rig, 0, ASC_REG_PREEMPTED);
}

/* T18: list lengths and TransportIDs of every wrong kind. */
static void lists(void **state)
{
	static const char name[] = "iqn.2016-06.io.spdk:host2,i,0x000000000002";
	struct rig *rig = *state;
	uint8_t list[512] = {0};
	uint32_t id = (uint32_t)round_up(sizeof(name), 4);
	struct xfer *x;

	for (uint32_t len = 0; len < 70000; len += len < 64 ? 1 : 977) {
		uint8_t cdb[10] = {0x5f, PR_REGISTER};

		store_be32(cdb + 5, len);
		if (len == 24)
			continue;
		x = rig_run(rig, 0, cdb, 10, list, MIN(len, 512u), 0);
		check_sense(x, KEY_ILLEGAL_REQUEST, ASC_PARAM_LIST_LENGTH);
	}
	store_be64(list + 8, 0xcc);
	list[20] = 0x08; /* SPEC_I_PT */
	store_be32(list + 24, 4 + id);
	list[28] = 0x45;
	store_be16(list + 30, (uint16_t)id);
	memcpy(list + 32, name, sizeof(name));
	/* Each of these bytes, wrong. */
	static const struct {
		uint32_t at;
		uint8_t value;
	} bad[] = {{28, 0x05},	   {28, 0x44},	   {30, 0xff},	  {31, 3},
		   {32 + 27, 'x'}, {32 + 41, 'g'}, {32 + 42, '1'}};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		uint8_t copy[512];

		memcpy(copy, list, sizeof(copy));
		copy[bad[i].at] = bad[i].value;
		if (bad[i].at == 32 + 42)
			memset(copy + 32 + 42, '1', id - 42); /* no NUL */
		x = rig_run(
			rig, 0,
			CDB(0x5f, 0, 0, 0, 0, 0, 0, 0, (uint8_t)(32 + id), 0),
			copy, 32 + id, 0);
		check_sense(x, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_PARAM);
	}
	x = rig_run(rig, 0,
		    CDB(0x5f, 0, 0, 0, 0, 0, 0, 0, (uint8_t)(32 + id), 0), list,
		    32 + id, 0);
	check_good(x);
	/* Nexus 2 is registered by it, and can reserve. */
	pr_good(rig, 2, PR_RESERVE, PR_EXCLUSIVE, 0xcc, 0);
	assert_false(may(rig, 0, true));
	assert_true(may(rig, 2, true));
	/* A power loss is not survived, and that is said. */
	memset(list, 0, sizeof(list));
	list[20] = 0x01;
	x = rig_run(rig, 1, CDB(0x5f, 6, 0, 0, 0, 0, 0, 0, 24, 0), list, 24, 0);
	check_sense(x, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_PARAM);
}

static void registrants_are_bounded(void **state)
{
	struct pr_request req = {.action = PR_REGISTER, .action_key = 1};
	struct pr_table *t = NULL, *next;

	for (uint32_t i = 0; i <= PR_REGISTRANTS_MAX; i++) {
		store_be32(req.self.isid, i);
		next = NULL;
		if (i == PR_REGISTRANTS_MAX) {
			assert_int_equal(pr_apply(t, &req, &next), PR_FULL);
			break;
		}
		assert_int_equal(pr_apply(t, &req, &next), PR_OK);
		free(t);
		t = next;
	}
	assert_int_equal(t->n, PR_REGISTRANTS_MAX);
	free(t);
}

static void reserve_and_release(void **state)
{
	struct rig *rig = *state;

	check_good(rig_run(rig, 1, CDB(0x16, 0, 0, 0, 0, 0), NULL, 0, 0));
	check_good(rig_run(rig, 1, CDB(0x16, 0, 0, 0, 0, 0), NULL, 0, 0));
	for (uint32_t n = 0; n < RIG_NEXUSES; n++) {
		bool own = n == 1;

		assert_int_equal(may(rig, n, false), own);
		assert_int_equal(
			rig_run(rig, n, CDB(0x16, 0, 0, 0, 0, 0), NULL, 0, 0)
				->task.status,
			own ? SCSI_GOOD : SCSI_RESERVATION_CONFLICT);
		/* RELEASE of another's: GOOD, and nothing happens. */
		if (!own)
			check_good(rig_run(rig, n, CDB(0x17, 0, 0, 0, 0, 0),
					   NULL, 0, 0));
		check_good(rig_run(rig, n, CDB(0x12, 0, 0, 0, 36, 0), NULL, 0,
				   36));
	}
	pr_conflict(rig, 1, PR_REGISTER, 0, 0, 1);
	check_good(rig_run(rig, 1, CDB(0x57, 0, 0, 0, 0, 0, 0, 0, 0, 0), NULL,
			   0, 0));
	assert_true(may(rig, 2, true));
	/* Beside registrations there is no RESERVE. */
	pr_good(rig, 0, PR_REGISTER, 0, 0, 1);
	assert_int_equal(rig_run(rig, 1, CDB(0x16, 0, 0, 0, 0, 0), NULL, 0, 0)
				 ->task.status,
			 SCSI_RESERVATION_CONFLICT);
}

static void close_nexus(void *arg)
{
	scsi_nexus_close(arg);
}

static void open_nexus(void *arg)
{
	scsi_nexus_open(arg);
}

/* What a nexus holds ends with it; what is persistent does not. */
static void nexus_loss(void **state)
{
	struct rig *rig = *state;

	check_good(rig_run(rig, 1, CDB(0x16, 0, 0, 0, 0, 0), NULL, 0, 0));
	check_good(rig_run(rig, 1, CDB(0x1e, 0, 0, 0, 1, 0), NULL, 0, 0));
	assert_false(may(rig, 0, true));
	rig_on(rig, 1, close_nexus, &rig->nexus[1]);
	assert_true(may(rig, 0, true));
	check_good(rig_run(rig, 0, CDB(0x1b, 0, 0, 0, 2, 0), NULL, 0, 0));
	check_sense(rig_run(rig, 0, CDB(0, 0, 0, 0, 0, 0), NULL, 0, 0),
		    KEY_NOT_READY, ASC_MEDIUM_NOT_PRESENT);
	check_good(rig_run(rig, 0, CDB(0x1b, 0, 0, 0, 3, 0), NULL, 0, 0));
	rig_on(rig, 1, open_nexus, &rig->nexus[1]);
	rig_clear_ua(rig);
	pr_good(rig, 1, PR_REGISTER, 0, 0, 5);
	pr_good(rig, 1, PR_RESERVE, PR_EXCLUSIVE, 5, 0);
	rig_on(rig, 1, close_nexus, &rig->nexus[1]);
	assert_false(may(rig, 0, true));
	rig_on(rig, 1, open_nexus, &rig->nexus[1]);
	rig_clear_ua(rig);
	assert_true(may(rig, 1, true));
}

static void prevention(void **state)
{
	struct rig *rig = *state;

	check_good(rig_run(rig, 1, CDB(0x1e, 0, 0, 0, 1, 0), NULL, 0, 0));
	check_good(rig_run(rig, 2, CDB(0x1e, 0, 0, 0, 1, 0), NULL, 0, 0));
	check_good(rig_run(rig, 2, CDB(0x1e, 0, 0, 0, 1, 0), NULL, 0, 0));
	for (uint32_t n = 2; n > 0; n--) {
		check_sense(
			rig_run(rig, 0, CDB(0x1b, 0, 0, 0, 2, 0), NULL, 0, 0),
			KEY_ILLEGAL_REQUEST, ASC_REMOVAL_PREVENTED);
		check_good(
			rig_run(rig, n, CDB(0x1e, 0, 0, 0, 0, 0), NULL, 0, 0));
	}
	check_good(rig_run(rig, 0, CDB(0x1b, 0, 0, 0, 2, 0), NULL, 0, 0));
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(registrations),
		CASE(types),
		CASE(preemption),
		CASE(preempt_abort),
		CASE(lists),
		CASE(reserve_and_release),
		CASE(nexus_loss),
		CASE(prevention),
		cmocka_unit_test(registrants_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
