/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The initiator model against scripted bytes: it accepts what is right, and
 * tells of each thing that is wrong. A model that lets errors pass would make
 * every test that uses it worthless.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/macros.h"
#include "initiator.h"

#define CMDSN  100u
#define STATSN 7u

/* ------------------------------------------------------------------------
 * The other side, by hand.
 */

struct script {
	struct initiator ini;
	struct ini_cmd cmd;
	uint8_t data[20000];
	uint8_t bhs[BHS_LEN]; /* of the last PDU that it sent */
	uint8_t payload[20000];
	uint32_t len;
	bool done;
};

static void feed(struct script *s, const uint8_t *bhs, const void *data,
		 uint32_t len)
{
	static const uint8_t zeroes[4];
	uint8_t header[BHS_LEN], digest[4];
	bool full = s->ini.state != INI_LOGIN;

	memcpy(header, bhs, BHS_LEN);
	store_be24(header + BHS_DSL, len);
	ini_feed(&s->ini, header, BHS_LEN);
	if (full && s->ini.p.header_digest) {
		store_le32(digest, ini_crc(&s->ini, header, BHS_LEN));
		ini_feed(&s->ini, digest, 4);
	}
	/* In pieces: framing must not depend on them. */
	for (uint32_t i = 0; i < len; i += 1000)
		ini_feed(&s->ini, (const uint8_t *)data + i,
			 MIN(len - i, 1000u));
	ini_feed(&s->ini, zeroes, -len & 3);
}

/* Takes one PDU that the model sends (no digests). */
static bool take_pdu(struct script *s)
{
	uint32_t padded;

	ini_produce(&s->ini, 1);
	if (ini_take(&s->ini, s->bhs, BHS_LEN) == 0)
		return false;
	s->len = load_be24(s->bhs + BHS_DSL);
	padded = (uint32_t)round_up(s->len, 4);
	assert_int_equal(ini_take(&s->ini, s->payload, padded), padded);
	return true;
}

static void begin(struct script *s, const char *keys, uint32_t len)
{
	static const struct ini_options opt = {
		.initiator = "iqn.2016-04.com.example:a",
		.target = "iqn.2016-04.com.example:b",
		.isid = {1, 2, 3, 4, 5, 6},
		.cmdsn = CMDSN,
		.seed = 1,
		.header_digest = true,
	};
	uint8_t rsp[BHS_LEN] = {ISCSI_LOGIN_RESPONSE, 0x87};

	memset(s, 0, sizeof(*s));
	ini_init(&s->ini, &opt);
	ini_start(&s->ini);
	assert_true(take_pdu(s));
	assert_int_equal(s->bhs[0], ISCSI_LOGIN_REQUEST | ISCSI_IMMEDIATE);
	assert_non_null(memmem(s->payload, s->len, "TargetName=iqn", 14));
	memcpy(rsp + 8, opt.isid, 6);
	store_be16(rsp + 14, 5);
	memcpy(rsp + BHS_ITT, s->bhs + BHS_ITT, 4);
	store_be32(rsp + BHS_STATSN, STATSN);
	store_be32(rsp + BHS_EXPCMDSN, CMDSN);
	store_be32(rsp + BHS_MAXCMDSN, CMDSN + 3);
	feed(s, rsp, keys, len);
}

#define KEYS                                                               \
	"HeaderDigest=None\0DataDigest=None\0MaxConnections=1\0"           \
	"ErrorRecoveryLevel=0\0DefaultTime2Wait=2\0DefaultTime2Retain=0\0" \
	"DataPDUInOrder=Yes\0DataSequenceInOrder=Yes\0"                    \
	"X-com.example.model=NotUnderstood\0TargetPortalGroupTag=1\0"      \
	"MaxRecvDataSegmentLength=4096\0"

static void start(struct script *s)
{
	begin(s, KEYS, sizeof(KEYS) - 1);
	assert_string_equal(s->ini.error, "");
	assert_int_equal(s->ini.state, INI_RUNNING);
}

static void cmd_done(struct initiator *ini, struct ini_req *req)
{
	struct script *s = container_of(ini, struct script, ini);

	assert_ptr_equal(req, &s->cmd.req);
	s->done = true;
}

static void submit(struct script *s, bool write, uint32_t edtl)
{
	s->cmd.req.done = cmd_done;
	s->cmd.req.lun = ini_lun(1);
	s->cmd.read = !write;
	s->cmd.write = write;
	s->cmd.data = s->data;
	s->cmd.edtl = edtl;
	ini_submit(&s->ini, &s->cmd);
	assert_true(take_pdu(s));
	assert_int_equal(s->bhs[0], ISCSI_SCSI_COMMAND);
	assert_int_equal(load_be32(s->bhs + BHS_CMDSN), CMDSN);
	assert_int_equal(load_be32(s->bhs + BHS_EXPSTATSN), STATSN + 1);
	assert_int_equal(load_be32(s->bhs + BHS_EDTL), edtl);
}

/* A PDU for the command, with all of its numbers as they should be. */
static void answer(struct script *s, uint8_t *rsp, uint8_t opcode,
		   uint8_t flags)
{
	memset(rsp, 0, BHS_LEN);
	rsp[0] = opcode;
	rsp[1] = flags;
	store_be32(rsp + BHS_ITT, s->cmd.req.itt);
	store_be32(rsp + BHS_TTT, RESERVED_TAG);
	store_be32(rsp + BHS_STATSN, STATSN + 1);
	store_be32(rsp + BHS_EXPCMDSN, CMDSN + 1);
	store_be32(rsp + BHS_MAXCMDSN, CMDSN + 4);
}

/* ------------------------------------------------------------------------
 * What is right.
 */

static void test_login(void **state)
{
	struct script s;

	(void)state;
	start(&s);
	assert_int_equal(s.ini.tsih, 5);
	assert_int_equal(s.ini.p.mrdsl_out, 4096);
	assert_true(s.ini.p.initial_r2t);
	ini_deinit(&s.ini);
}

static void test_read(void **state)
{
	uint8_t rsp[BHS_LEN], bytes[5000];
	struct script s;

	(void)state;
	memset(bytes, 0x77, sizeof(bytes));
	start(&s);
	submit(&s, false, 8000);
	answer(&s, rsp, ISCSI_DATA_IN, 0);
	feed(&s, rsp, bytes, 5000);
	answer(&s, rsp, ISCSI_DATA_IN, 0x83);
	store_be32(rsp + BHS_DATASN, 1);
	store_be32(rsp + BHS_BUFFER_OFFSET, 5000);
	store_be32(rsp + BHS_RESIDUAL, 2000);
	feed(&s, rsp, bytes, 1000);
	assert_string_equal(s.ini.error, "");
	assert_true(s.done && s.cmd.collapsed && s.cmd.underflow);
	assert_int_equal(s.cmd.got, 6000);
	assert_int_equal(s.data[5999], 0x77);
	ini_deinit(&s.ini);
}

static void test_write(void **state)
{
	uint32_t immediate, offset, datasn = 0;
	uint8_t rsp[BHS_LEN];
	struct script s;

	(void)state;
	start(&s);
	for (size_t i = 0; i < sizeof(s.data); i++)
		s.data[i] = (uint8_t)(i * 13);
	submit(&s, true, 10000);
	immediate = s.len;
	assert_memory_equal(s.payload, s.data, immediate);
	assert_false(take_pdu(&s));
	answer(&s, rsp, ISCSI_R2T, 0x80);
	store_be64(rsp + BHS_LUN, ini_lun(1));
	store_be32(rsp + BHS_TTT, 9);
	store_be32(rsp + BHS_BUFFER_OFFSET, immediate);
	store_be32(rsp + BHS_DESIRED_LENGTH, 10000 - immediate);
	feed(&s, rsp, NULL, 0);
	for (offset = immediate; offset < 10000; offset += s.len) {
		assert_true(take_pdu(&s));
		assert_int_equal(s.bhs[0], ISCSI_DATA_OUT);
		assert_int_equal(load_be32(s.bhs + BHS_TTT), 9);
		assert_int_equal(load_be32(s.bhs + BHS_DATASN), datasn++);
		assert_int_equal(load_be32(s.bhs + BHS_BUFFER_OFFSET), offset);
		assert_memory_equal(s.payload, s.data + offset, s.len);
		assert_int_equal(!!(s.bhs[1] & 0x80), offset + s.len == 10000);
	}
	answer(&s, rsp, ISCSI_SCSI_RESPONSE, 0x80);
	feed(&s, rsp, NULL, 0);
	assert_string_equal(s.ini.error, "");
	assert_true(s.done);
	ini_deinit(&s.ini);
}

/* It keeps to the window, and a response opens it. */
static void test_window(void **state)
{
	struct ini_cmd more[6];
	uint8_t rsp[BHS_LEN];
	struct script s;
	int sent = 0;

	(void)state;
	start(&s);
	submit(&s, false, 0);
	memset(more, 0, sizeof(more));
	for (int i = 0; i < 6; i++)
		ini_submit(&s.ini, &more[i]);
	while (take_pdu(&s))
		sent++;
	assert_int_equal(sent, 3);
	answer(&s, rsp, ISCSI_SCSI_RESPONSE, 0x80);
	feed(&s, rsp, NULL, 0);
	assert_string_equal(s.ini.error, "");
	while (take_pdu(&s))
		sent++;
	assert_int_equal(sent, 4);
	ini_deinit(&s.ini);
}

/* ------------------------------------------------------------------------
 * What is wrong: one field of a good PDU is changed.
 */

struct fault {
	uint8_t opcode, flags;
	uint32_t len;  /* of data */
	uint8_t field; /* offset of a 4-byte field; 0: none */
	uint32_t value;
	const char *error; /* a part of it */
};

static void check_faults(const struct fault *faults, size_t n, bool write)
{
	static const uint8_t bytes[16384];
	uint8_t rsp[BHS_LEN];
	struct script s;

	for (size_t i = 0; i < n; i++) {
		const struct fault *f = &faults[i];

		start(&s);
		submit(&s, write, 8000);
		answer(&s, rsp, f->opcode, f->flags);
		if (f->opcode == ISCSI_R2T) {
			store_be64(rsp + BHS_LUN, ini_lun(1));
			store_be32(rsp + BHS_TTT, 9);
			store_be32(rsp + BHS_BUFFER_OFFSET, s.len);
			store_be32(rsp + BHS_DESIRED_LENGTH, 512);
		}
		if (f->field)
			store_be32(rsp + f->field, f->value);
		feed(&s, rsp, bytes, f->len);
		if (!strstr(s.ini.error, f->error))
			fail_msg("fault %zu: \"%s\" in place of \"%s\"", i,
				 s.ini.error, f->error);
		assert_int_equal(s.ini.state, INI_FAILED);
		assert_false(s.done);
		ini_deinit(&s.ini);
	}
}

static void test_read_faults(void **state)
{
	static const struct fault faults[] = {
		{0x25, 0x81, 8000, BHS_STATSN, STATSN, "StatSN"},
		{0x25, 0x81, 8000, BHS_EXPCMDSN, CMDSN + 2, "beyond"},
		{0x25, 0x81, 8000, BHS_EXPCMDSN, CMDSN - 1, "went back"},
		{0x25, 0x81, 8000, BHS_MAXCMDSN, CMDSN + 2, "went back"},
		{0x25, 0x81, 8000, BHS_MAXCMDSN, CMDSN - 9, "is less"},
		{0x25, 0x81, 8000, BHS_ITT, 12345, "unknown tag"},
		{0x25, 0x81, 8000, BHS_EXPCMDSN, CMDSN, "an answer to"},
		{0x25, 0x81, 8000, BHS_DATASN, 1, "DataSN 1"},
		{0x25, 0x81, 8000, BHS_BUFFER_OFFSET, 4, "at offset 4"},
		{0x25, 0x81, 8001, 0, 0, "the buffer has"},
		{0x25, 0x81, 7999, 0, 0, "GOOD with 7999"},
		{0x25, 0x81, 8192 + 4, 0, 0, "bytes of data"},
		{0x25, 0x01, 8000, 0, 0, "without F"},
		{0x25, 0x80, 0, 0, 0, "empty"},
		{0x25, 0xc1, 8000, 0, 0, "A bit"},
		{0x25, 0x91, 8000, 0, 0, "reserved"},
		{0x25, 0x81, 8000, BHS_TTT, 3, "without A"},
		{0x25, 0x83, 8000, BHS_RESIDUAL, 1, "GOOD with"},
		{0x25, 0x87, 8000, BHS_RESIDUAL, 1, "both U and O"},
		{0x25, 0x81, 8000, BHS_RESIDUAL, 1, "without a flag"},
		{0x25, 0x83, 8000, BHS_RESIDUAL, 9000, "underflow by"},
		{0x21, 0x80, 0, 0, 0, "GOOD with 0"},
		{0x21, 0x82, 0, BHS_DATASN, 1, "ExpDataSN"},
		{0x21, 0x00, 0, 0, 0, "flags"},
		{0x31, 0x80, 0, 0, 0, "writes nothing"},
		{0x3f, 0x80, 48, BHS_ITT, RESERVED_TAG, "Reject"},
		{0x23, 0x80, 0, 0, 0, "unknown opcode"},
	};

	(void)state;
	check_faults(faults, ARRAY_LEN(faults), false);
}

static void test_write_faults(void **state)
{
	static const struct fault faults[] = {
		{0x25, 0x81, 8000, 0, 0, "reads nothing"},
		{0x31, 0x80, 0, BHS_DATASN, 1, "R2TSN"},
		{0x31, 0x80, 0, BHS_BUFFER_OFFSET, 7777, "R2T at"},
		{0x31, 0x80, 0, BHS_DESIRED_LENGTH, 0, "R2T for 0"},
		{0x31, 0x80, 0, BHS_DESIRED_LENGTH, 300000, "R2T for"},
		{0x31, 0x80, 0, BHS_DESIRED_LENGTH, 9000, "R2T for"},
		{0x31, 0x80, 0, BHS_TTT, RESERVED_TAG, "reserved tag"},
		{0x31, 0x80, 0, BHS_LUN, 0, "LUN of an R2T"},
		{0x31, 0x80, 0, BHS_STATSN, STATSN + 2, "StatSN of"},
		{0x31, 0x80, 4, 0, 0, "malformed"},
		{0x21, 0x80, 0, 0, 0, "GOOD with only"},
	};

	(void)state;
	check_faults(faults, ARRAY_LEN(faults), true);
}

static void test_sense_faults(void **state)
{
	uint8_t rsp[BHS_LEN], sense[20] = {0, 18, 0x70, 0, 5};
	struct script s;

	(void)state;
	for (int round = 0; round < 3; round++) {
		start(&s);
		submit(&s, true, 8000);
		answer(&s, rsp, ISCSI_SCSI_RESPONSE, 0x80);
		rsp[BHS_STATUS] = 2;
		sense[1] = round == 2 ? 19 : 18;
		sense[14] = 0x24;
		feed(&s, rsp, sense, round == 1 ? 0 : sizeof(sense));
		assert_int_equal(s.done, round == 0);
		if (round == 0)
			assert_int_equal(ini_sense(&s.cmd), 0x052400);
		else
			assert_int_equal(s.ini.state, INI_FAILED);
		ini_deinit(&s.ini);
	}
}

static void test_login_faults(void **state)
{
	static const struct {
		const char *keys;
		uint32_t len;
		const char *error;
	} faults[] = {
		{KEYS "HeaderDigest=None", sizeof(KEYS "HeaderDigest=None"),
		 "a second time"},
		{KEYS "Foo=Bar", sizeof(KEYS "Foo=Bar"), "unknown key"},
		{KEYS "Foo", sizeof(KEYS "Foo"), "no pair"},
		{KEYS "InitialR2T=Maybe", sizeof(KEYS "InitialR2T=Maybe"),
		 "answer"},
		{KEYS "MaxBurstLength=512", sizeof(KEYS "MaxBurstLength=512"),
		 "transit before"},
		{KEYS, sizeof(KEYS) - 2, "NUL"},
		{KEYS, 18, "TargetPortalGroupTag"},
		{"TargetPortalGroupTag=1", 23, "not answered"},
		{"HeaderDigest=MD5", 17, "answer"},
		{"DataDigest=CRC32C", 18, "answer"},
		{"MaxConnections=2", 17, "answer"},
	};
	struct script s;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
		begin(&s, faults[i].keys, faults[i].len);
		if (!strstr(s.ini.error, faults[i].error))
			fail_msg("fault %zu: \"%s\"", i, s.ini.error);
		ini_deinit(&s.ini);
	}
}

static void test_digest_fault(void **state)
{
	uint8_t rsp[BHS_LEN], digest[4] = {1, 2, 3, 4};
	struct script s;

	(void)state;
	start(&s);
	submit(&s, false, 8000);
	s.ini.p.header_digest = true;
	answer(&s, rsp, ISCSI_SCSI_RESPONSE, 0x82);
	store_be32(rsp + BHS_RESIDUAL, 8000);
	ini_feed(&s.ini, rsp, BHS_LEN);
	ini_feed(&s.ini, digest, 4);
	assert_non_null(strstr(s.ini.error, "digest"));
	ini_deinit(&s.ini);
	/* The same with the right one. */
	start(&s);
	submit(&s, false, 8000);
	s.ini.p.header_digest = true;
	feed(&s, rsp, NULL, 0);
	assert_string_equal(s.ini.error, "");
	assert_true(s.done);
	ini_deinit(&s.ini);
	/* RFC 7143, 13.1's polynomial: the check value of CRC32C. */
	start(&s);
	assert_int_equal(ini_crc(&s.ini, "123456789", 9), 0xe3069283);
	ini_deinit(&s.ini);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_login),
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_write),
		cmocka_unit_test(test_window),
		cmocka_unit_test(test_read_faults),
		cmocka_unit_test(test_write_faults),
		cmocka_unit_test(test_sense_faults),
		cmocka_unit_test(test_login_faults),
		cmocka_unit_test(test_digest_fault),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
