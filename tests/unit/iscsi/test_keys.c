/* SPDX-License-Identifier: BSD-3-Clause */
#include "../unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "iscsi/keys.h"

/* ---- One exchange. "A=1;B=2;" stands for NUL-terminated pairs. */

struct talk {
	struct keys k;
	struct buf out;
	uint8_t text[65536]; /* the segment; it must stay */
	size_t len;
	char said[16384];
};

static void talk_init(struct talk *t, enum login_stage stage)
{
	memset(t, 0, sizeof(*t));
	keys_init(&t->k, stage);
	buf_init(&t->out, 65536);
}

static void talk_free(struct talk *t)
{
	buf_deinit(&t->out);
}

static void load(struct talk *t, const char *pairs)
{
	t->len = strlen(pairs);
	assert_true(t->len <= sizeof(t->text));
	memcpy(t->text, pairs, t->len);
	for (size_t i = 0; i < t->len; i++) {
		if (t->text[i] == ';')
			t->text[i] = 0;
	}
}

static const char *unload(struct talk *t)
{
	assert_false(t->out.failed);
	assert_true(t->out.len < sizeof(t->said));
	if (t->out.len > 0)
		memcpy(t->said, t->out.data, t->out.len);
	t->said[t->out.len] = '\0';
	for (size_t i = 0; i < t->out.len; i++) {
		if (t->said[i] == '\0')
			t->said[i] = ';';
	}
	return t->said;
}

static int say(struct talk *t, const char *pairs)
{
	int rc;

	load(t, pairs);
	buf_reset(&t->out);
	rc = keys_collect(&t->k, t->text, t->len, &t->out);
	return rc < 0 ? rc : keys_answer(&t->k, &t->out);
}

/* Offers one pair in a fresh operational stage. */
static int ask(const struct keys_ours *ours, const char *pairs, struct talk *t)
{
	talk_init(t, LOGIN_OPERATIONAL);
	if (ours)
		t->k.ours = *ours;
	return say(t, pairs);
}

static struct keys_ours generous(void)
{
	struct keys_ours o = {0};

	o.session.max_connections = 8;
	o.session.immediate_data = true;
	o.session.max_burst_length = ISCSI_LENGTH_MAX;
	o.session.first_burst_length = ISCSI_LENGTH_MAX;
	o.session.default_time2retain = 3600;
	o.session.max_outstanding_r2t = 65535;
	o.session.data_pdu_in_order = true;
	o.session.data_sequence_in_order = true;
	o.session.error_recovery_level = 2;
	o.session.protocol_level = 31;
	return o;
}

/* ---- The table. */

static void test_table_is_complete(void **state)
{
	for (enum key key = 0; key < KEY_COUNT; key++) {
		const struct key_info *info = &key_table[key];

		assert_non_null(info->name);
		assert_true(strlen(info->name) <= TEXT_KEY_MAX);
		assert_int_equal(key_find(info->name), key);
		assert_true(info->value_max == KEY_VALUE_MAX ||
			    info->value_max == KEY_VALUE_LONG_MAX);
		assert_true(info->flags &
			    (KEY_IN_SECURITY | KEY_IN_OPERATIONAL |
			     KEY_IN_FULL_FEATURE));
		assert_true(info->flags &
			    (KEY_FROM_INITIATOR | KEY_FROM_TARGET));
		assert_true(info->min <= info->max);
		assert_int_equal(info->kind == KEY_LIST, info->values != NULL);
		if (info->kind == KEY_MIN || info->kind == KEY_MAX ||
		    info->kind == KEY_NUMBER)
			assert_true(info->initial >= info->min &&
				    info->initial <= info->max);
	}
	assert_int_equal(key_find("headerdigest"), KEY_COUNT);
	assert_int_equal(key_find(""), KEY_COUNT);
}

/* The defaults of RFC 7143, 13. */
static void test_defaults(void **state)
{
	struct session_params s;
	struct conn_params c;

	memset(&s, 0xff, sizeof(s));
	memset(&c, 0xff, sizeof(c));
	session_params_default(&s);
	conn_params_default(&c);
	assert_int_equal(s.max_connections, 1);
	assert_true(s.initial_r2t);
	assert_true(s.immediate_data);
	assert_int_equal(s.max_burst_length, 262144);
	assert_int_equal(s.first_burst_length, 65536);
	assert_int_equal(s.default_time2wait, 2);
	assert_int_equal(s.default_time2retain, 20);
	assert_int_equal(s.max_outstanding_r2t, 1);
	assert_true(s.data_pdu_in_order);
	assert_true(s.data_sequence_in_order);
	assert_int_equal(s.error_recovery_level, 0);
	assert_int_equal(s.protocol_level, 1);
	assert_int_equal(s.task_reporting, TASK_REPORTING_RFC3720);
	assert_false(c.header_digest);
	assert_false(c.data_digest);
	assert_int_equal(c.max_xmit_data_segment_length, 8192);
	assert_int_equal(c.max_recv_data_segment_length, 8192);
}

/* Where each kind of key may be said, and by whom: the table's flags, walked
 * against the rules. */
static void test_stage_and_sender_of_every_key(void **state)
{
	static const struct {
		enum login_stage stage;
		uint8_t flag;
	} stages[] = {
		{LOGIN_SECURITY, KEY_IN_SECURITY},
		{LOGIN_OPERATIONAL, KEY_IN_OPERATIONAL},
		{LOGIN_FULL_FEATURE, KEY_IN_FULL_FEATURE},
	};
	struct talk *t = malloc(sizeof(*t));

	assert_non_null(t);
	for (enum key key = 0; key < KEY_COUNT; key++) {
		const struct key_info *info = &key_table[key];
		bool negotiated = info->kind != KEY_TEXT &&
				  info->kind != KEY_NUMBER &&
				  info->kind != KEY_IGNORED;
		const char *value = info->kind == KEY_NUMBER ? "512" : "Yes";
		char pair[128], irrelevant[128], rejected[128];

		snprintf(pair, sizeof(pair), "%s=%s;", info->name, value);
		snprintf(irrelevant, sizeof(irrelevant), "%s=Irrelevant;",
			 info->name);
		snprintf(rejected, sizeof(rejected), "%s=Reject;", info->name);
		for (size_t i = 0; i < ARRAY_LEN(stages); i++) {
			bool sent = info->flags & KEY_FROM_INITIATOR;
			bool here = info->flags & stages[i].flag;
			bool later = stages[i].stage == LOGIN_FULL_FEATURE;
			bool ok = sent && (here || (later && negotiated));

			talk_init(t, stages[i].stage);
			assert_int_equal(say(t, pair), ok ? 0 : -EPROTO);
			if (ok && !here && info->kind != KEY_OBSOLETE_RANGE)
				assert_string_equal(unload(t), irrelevant);
			if (ok && info->kind == KEY_OBSOLETE_RANGE)
				assert_string_equal(unload(t), rejected);
			if (ok && !negotiated)
				assert_string_equal(unload(t), "");
			talk_free(t);
		}
	}
	free(t);
}

/* 13: leading-only keys, and those that discovery has no use for. */
static void test_irrelevant_keys(void **state)
{
	struct talk *t = malloc(sizeof(*t));

	assert_non_null(t);
	for (enum key key = 0; key < KEY_COUNT; key++) {
		const struct key_info *info = &key_table[key];
		char pair[128], irrelevant[128];

		if (!(info->flags & (KEY_LEADING | KEY_NOT_IN_DISCOVERY)))
			continue;
		snprintf(pair, sizeof(pair), "%s=1;", info->name);
		snprintf(irrelevant, sizeof(irrelevant), "%s=Irrelevant;",
			 info->name);

		talk_init(t, LOGIN_OPERATIONAL);
		t->k.leading = false;
		assert_int_equal(say(t, pair), 0);
		assert_int_equal(strcmp(unload(t), irrelevant) == 0,
				 (info->flags & KEY_LEADING) != 0);
		talk_free(t);

		talk_init(t, LOGIN_OPERATIONAL);
		t->k.discovery = true;
		assert_int_equal(say(t, pair), 0);
		assert_int_equal(strcmp(unload(t), irrelevant) == 0,
				 (info->flags & KEY_NOT_IN_DISCOVERY) != 0);
		talk_free(t);
	}
	free(t);
}

/* ---- Rules. */

static const struct {
	const char *offer, *answer;
} answers[] = {
	/* 13.1: the first of the list. */
	{"HeaderDigest=CRC32C,None;", "HeaderDigest=CRC32C;"},
	{"HeaderDigest=None,CRC32C;", "HeaderDigest=None;"},
	{"HeaderDigest=None;", "HeaderDigest=None;"},
	{"DataDigest=Y-com.x.sum,CRC32C;", "DataDigest=CRC32C;"},
	{"DataDigest=foo,bar;", "DataDigest=Reject;"},
	{"DataDigest=crc32c;", "DataDigest=Reject;"},
	{"DataDigest=CRC32CC,CRC32;", "DataDigest=Reject;"},
	{"DataDigest=,,CRC32C,;", "DataDigest=CRC32C;"},
	{"DataDigest=;", "DataDigest=Reject;"},
	/* Numbers, minimum. */
	{"MaxConnections=1;", "MaxConnections=1;"},
	{"MaxConnections=65535;", "MaxConnections=8;"},
	{"MaxConnections=0;", "MaxConnections=Reject;"},
	{"MaxConnections=65536;", "MaxConnections=Reject;"},
	{"MaxConnections=0x4;", "MaxConnections=4;"},
	{"MaxConnections=0X04;", "MaxConnections=4;"},
	{"MaxConnections=0x;", "MaxConnections=Reject;"},
	{"MaxConnections=;", "MaxConnections=Reject;"},
	{"MaxConnections=-1;", "MaxConnections=Reject;"},
	{"MaxConnections=+1;", "MaxConnections=Reject;"},
	{"MaxConnections= 1;", "MaxConnections=Reject;"},
	{"MaxConnections=1 ;", "MaxConnections=Reject;"},
	{"MaxConnections=1,2;", "MaxConnections=Reject;"},
	{"MaxConnections=1~2;", "MaxConnections=Reject;"},
	{"MaxConnections=18446744073709551617;", "MaxConnections=Reject;"},
	{"MaxBurstLength=511;", "MaxBurstLength=Reject;"},
	{"MaxBurstLength=512;", "MaxBurstLength=512;"},
	{"MaxBurstLength=16777215;", "MaxBurstLength=16777215;"},
	{"MaxBurstLength=16777216;", "MaxBurstLength=Reject;"},
	{"FirstBurstLength=511;", "FirstBurstLength=Reject;"},
	{"FirstBurstLength=512;", "FirstBurstLength=512;"},
	{"FirstBurstLength=16777216;", "FirstBurstLength=Reject;"},
	{"DefaultTime2Retain=3600;", "DefaultTime2Retain=3600;"},
	{"DefaultTime2Retain=3601;", "DefaultTime2Retain=Reject;"},
	{"DefaultTime2Retain=0;", "DefaultTime2Retain=0;"},
	{"MaxOutstandingR2T=0;", "MaxOutstandingR2T=Reject;"},
	{"MaxOutstandingR2T=65535;", "MaxOutstandingR2T=65535;"},
	{"MaxOutstandingR2T=65536;", "MaxOutstandingR2T=Reject;"},
	{"ErrorRecoveryLevel=2;", "ErrorRecoveryLevel=2;"},
	{"ErrorRecoveryLevel=3;", "ErrorRecoveryLevel=Reject;"},
	{"iSCSIProtocolLevel=0;", "iSCSIProtocolLevel=0;"},
	{"iSCSIProtocolLevel=31;", "iSCSIProtocolLevel=31;"},
	{"iSCSIProtocolLevel=32;", "iSCSIProtocolLevel=Reject;"},
	/* Maximum. */
	{"DefaultTime2Wait=0;", "DefaultTime2Wait=0;"},
	{"DefaultTime2Wait=3600;", "DefaultTime2Wait=3600;"},
	{"DefaultTime2Wait=3601;", "DefaultTime2Wait=Reject;"},
	/* Booleans. */
	{"InitialR2T=No;", "InitialR2T=No;"},
	{"InitialR2T=Yes;", "InitialR2T=Yes;"},
	{"InitialR2T=yes;", "InitialR2T=Reject;"},
	{"ImmediateData=Yes;", "ImmediateData=Yes;"},
	{"ImmediateData=No;", "ImmediateData=No;"},
	{"ImmediateData=;", "ImmediateData=Reject;"},
	{"DataPDUInOrder=No;", "DataPDUInOrder=Yes;"},
	{"DataSequenceInOrder=No;", "DataSequenceInOrder=Yes;"},
	/* 13.23 */
	{"TaskReporting=FastAbort,ResponseFence,RFC3720;",
	 "TaskReporting=ResponseFence;"},
	{"TaskReporting=RFC3720,ResponseFence;", "TaskReporting=RFC3720;"},
	{"TaskReporting=FastAbort;", "TaskReporting=Reject;"},
	/* 13.25 */
	{"IFMarker=Yes;", "IFMarker=No;"},
	{"OFMarker=No;", "OFMarker=No;"},
	{"IFMarkInt=1~65535;", "IFMarkInt=Reject;"},
	{"OFMarkInt=2048;", "OFMarkInt=Reject;"},
	/* 13.26, and keys that nobody knows. */
	{"X#NodeArchitecture=a/1;", ""},
	{"X-com.example.key=1;", "X-com.example.key=NotUnderstood;"},
	{"Foo=1;Foo=2;", "Foo=NotUnderstood;Foo=NotUnderstood;"},
	/* An answer is not answered. */
	{"Foo=NotUnderstood;", ""},
	/* Answers to what only a target declares. */
	{"TargetAlias=NotUnderstood;", ""},
	{"TargetPortalGroupTag=Irrelevant;", ""},
	{"MaxRecvDataSegmentLength=512;", ""},
	{"MaxRecvDataSegmentLength=0xffffff;", ""},
	{"", ""},
};

static void test_answers(void **state)
{
	struct keys_ours ours = generous();
	struct talk *t = malloc(sizeof(*t));

	assert_non_null(t);
	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		int rc = ask(&ours, answers[i].offer, t);

		if (rc != 0 || strcmp(unload(t), answers[i].answer) != 0)
			fail_msg("%s: %d %s", answers[i].offer, rc, unload(t));
		talk_free(t);
	}
	free(t);
}

static void test_protocol_errors(void **state)
{
	static const char *const rows[] = {
		/* 6.2: reserved words as proposals. */
		"MaxBurstLength=Reject;",
		"HeaderDigest=Irrelevant;",
		"InitialR2T=NotUnderstood;",
		"MaxRecvDataSegmentLength=NotUnderstood;",
		/* 6.3: said twice. */
		"MaxBurstLength=512;MaxBurstLength=512;",
		"MaxRecvDataSegmentLength=512;MaxRecvDataSegmentLength=1024;",
		"X#NodeArchitecture=a;X#NodeArchitecture=b;",
		"IFMarker=No;IFMarker=No;",
		/* A declaration has no answer that could refuse it. */
		"MaxRecvDataSegmentLength=511;",
		"MaxRecvDataSegmentLength=16777216;",
		"MaxRecvDataSegmentLength=;",
		"MaxRecvDataSegmentLength=many;",
		/* The target's to say. */
		"TargetAlias=x;",
		"TargetAddress=127.0.0.1;",
		"TargetPortalGroupTag=1;",
		/* Malformed. */
		"MaxBurstLength",
		"MaxBurstLength=512",
	};
	struct talk *t = malloc(sizeof(*t));

	assert_non_null(t);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (ask(NULL, rows[i], t) != -EPROTO)
			fail_msg("%s", rows[i]);
		talk_free(t);
	}
	free(t);
}

static void test_said_twice_in_two_segments(void **state)
{
	struct talk *t = malloc(sizeof(*t));

	assert_non_null(t);
	talk_init(t, LOGIN_OPERATIONAL);
	assert_int_equal(say(t, "MaxBurstLength=1024;"), 0);
	assert_int_equal(say(t, "FirstBurstLength=512;"), 0);
	assert_int_equal(say(t, "MaxBurstLength=1024;"), -EPROTO);
	talk_free(t);
	free(t);
}

/* Our side of each function; the offer is what does not decide. */
static void test_our_values(void **state)
{
	struct keys_ours o = generous();
	struct talk *t = malloc(sizeof(*t));

	assert_non_null(t);
	o.session.initial_r2t = true;
	o.session.immediate_data = false;
	o.session.max_burst_length = 4096;
	o.session.first_burst_length = 2048;
	o.session.default_time2wait = 7;
	o.session.default_time2retain = 9;
	assert_int_equal(ask(&o,
			     "InitialR2T=No;ImmediateData=Yes;"
			     "DefaultTime2Wait=3;DefaultTime2Retain=60;"
			     "MaxBurstLength=65536;",
			     t),
			 0);
	assert_string_equal(unload(t), "InitialR2T=Yes;ImmediateData=No;"
				       "MaxBurstLength=4096;"
				       "DefaultTime2Wait=7;"
				       "DefaultTime2Retain=9;");
	assert_true(t->k.session.initial_r2t);
	assert_false(t->k.session.immediate_data);
	assert_int_equal(t->k.session.max_burst_length, 4096);
	assert_int_equal(t->k.session.default_time2wait, 7);
	assert_int_equal(t->k.session.default_time2retain, 9);
	talk_free(t);

	o.need_header_digest = o.need_data_digest = true;
	assert_int_equal(
		ask(&o, "HeaderDigest=None,CRC32C;DataDigest=None;", t), 0);
	assert_string_equal(unload(t),
			    "HeaderDigest=CRC32C;DataDigest=Reject;");
	assert_true(t->k.conn.header_digest);
	assert_false(t->k.conn.data_digest);
	talk_free(t);
	free(t);
}

/* A rejected key stays at its default (6.2). */
static void test_reject_keeps_the_default(void **state)
{
	struct keys_ours o = generous();
	struct talk *t = malloc(sizeof(*t));
	struct session_params before;

	assert_non_null(t);
	session_params_default(&before);
	assert_int_equal(ask(&o,
			     "MaxBurstLength=1;InitialR2T=x;"
			     "MaxConnections=0;TaskReporting=x;",
			     t),
			 0);
	assert_memory_equal(&t->k.session, &before, sizeof(before));
	talk_free(t);
	free(t);
}

/* ---- Rules that bind several keys. */

static void test_first_burst_within_max_burst(void **state)
{
	struct keys_ours o = generous();
	struct talk *t = malloc(sizeof(*t));

	assert_non_null(t);
	/* In one segment, in either order. */
	assert_int_equal(
		ask(&o, "FirstBurstLength=8192;MaxBurstLength=4096;", t), 0);
	assert_string_equal(unload(t),
			    "MaxBurstLength=4096;FirstBurstLength=4096;");
	assert_int_equal(keys_settle(&t->k, &t->out), 0);
	talk_free(t);

	/* The first was settled: there is no way out. */
	assert_int_equal(ask(&o, "FirstBurstLength=8192;", t), 0);
	assert_int_equal(say(t, "MaxBurstLength=4096;"), 0);
	assert_int_equal(keys_settle(&t->k, &t->out), -EPROTO);
	talk_free(t);

	/* It does not matter when nothing is unsolicited. */
	o.session.initial_r2t = true;
	assert_int_equal(ask(&o,
			     "MaxBurstLength=4096;ImmediateData=No;"
			     "InitialR2T=Yes;",
			     t),
			 0);
	assert_int_equal(keys_settle(&t->k, &t->out), 0);
	talk_free(t);
	free(t);
}

/* The default of a key that was not offered is in the way: we propose. */
static void test_proposal(void **state)
{
	static const struct {
		const char *answer;
		int rc; /* of taking it */
		int settled;
		uint32_t value;
	} rows[] = {
		{"FirstBurstLength=4096;", 0, 0, 4096},
		{"FirstBurstLength=512;", 0, 0, 512},
		{"FirstBurstLength=4097;", -EPROTO, 0, 0},
		{"FirstBurstLength=511;", -EPROTO, 0, 0},
		{"FirstBurstLength=NotUnderstood;", -EPROTO, 0, 0},
		{"FirstBurstLength=Reject;", 0, -EPROTO, 0},
		{"FirstBurstLength=Irrelevant;", 0, -EPROTO, 0},
		{"", 0, -EPROTO, 0},
	};
	struct keys_ours o = generous();
	struct talk *t = malloc(sizeof(*t));

	assert_non_null(t);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(ask(&o, "MaxBurstLength=4096;", t), 0);
		buf_reset(&t->out);
		assert_int_equal(keys_settle(&t->k, &t->out), 1);
		assert_string_equal(unload(t), "FirstBurstLength=4096;");
		assert_int_equal(say(t, rows[i].answer), rows[i].rc);
		if (rows[i].rc == 0) {
			assert_string_equal(unload(t), "");
			assert_int_equal(keys_settle(&t->k, &t->out),
					 rows[i].settled);
			if (rows[i].settled == 0)
				assert_int_equal(
					t->k.session.first_burst_length,
					rows[i].value);
		}
		talk_free(t);
	}
	free(t);
}

static void test_digest_proposal(void **state)
{
	struct keys_ours o = generous();
	struct talk *t = malloc(sizeof(*t));

	assert_non_null(t);
	o.need_header_digest = o.need_data_digest = true;
	assert_int_equal(ask(&o, "HeaderDigest=CRC32C;", t), 0);
	buf_reset(&t->out);
	assert_int_equal(keys_settle(&t->k, &t->out), 1);
	assert_string_equal(unload(t), "DataDigest=CRC32C;");
	assert_int_equal(say(t, "DataDigest=CRC32C;"), 0);
	assert_string_equal(unload(t), "");
	assert_int_equal(keys_settle(&t->k, &t->out), 0);
	assert_true(t->k.conn.data_digest);
	talk_free(t);

	/* Offered without what we need, or refused: no. */
	assert_int_equal(ask(&o, "HeaderDigest=None;DataDigest=CRC32C;", t), 0);
	assert_int_equal(keys_settle(&t->k, &t->out), -EPROTO);
	talk_free(t);
	assert_int_equal(ask(&o, "", t), 0);
	assert_int_equal(keys_settle(&t->k, &t->out), 1);
	assert_int_equal(say(t, "HeaderDigest=None;DataDigest=CRC32C;"),
			 -EPROTO);
	talk_free(t);
	free(t);
}

/* 13.19: recovery and more than one R2T exclude each other. */
static void test_recovery_and_r2ts(void **state)
{
	struct keys_ours o = generous();
	struct talk *t = malloc(sizeof(*t));

	assert_non_null(t);
	assert_int_equal(
		ask(&o, "MaxOutstandingR2T=8;ErrorRecoveryLevel=1;", t), 0);
	assert_string_equal(unload(t),
			    "ErrorRecoveryLevel=1;MaxOutstandingR2T=1;");
	talk_free(t);
	assert_int_equal(ask(&o, "MaxOutstandingR2T=8;", t), 0);
	assert_int_equal(say(t, "ErrorRecoveryLevel=1;"), 0);
	assert_string_equal(unload(t), "ErrorRecoveryLevel=0;");
	talk_free(t);
	free(t);
}

/* 13.23: a response fence is promised for one connection only. */
static void test_fence_and_connections(void **state)
{
	struct keys_ours o = generous();
	struct talk *t = malloc(sizeof(*t));

	assert_non_null(t);
	assert_int_equal(ask(&o,
			     "TaskReporting=ResponseFence,RFC3720;"
			     "MaxConnections=2;",
			     t),
			 0);
	assert_string_equal(unload(t),
			    "MaxConnections=2;TaskReporting=RFC3720;");
	talk_free(t);
	assert_int_equal(ask(&o, "TaskReporting=ResponseFence,RFC3720;", t), 0);
	assert_string_equal(unload(t), "TaskReporting=ResponseFence;");
	assert_int_equal(say(t, "MaxConnections=2;"), 0);
	assert_string_equal(unload(t), "MaxConnections=1;");
	talk_free(t);
	free(t);
}

/* ---- Limits. */

static void test_number_of_keys(void **state)
{
	struct talk *t = malloc(sizeof(*t));
	char pairs[8192] = "";

	assert_non_null(t);
	for (uint32_t n = 1; n <= KEYS_MAX + 1; n++) {
		strcat(pairs, "a=b;");
		assert_int_equal(ask(NULL, pairs, t),
				 n <= KEYS_MAX ? 0 : -EPROTO);
		/* T7: the answer to the most that can be asked is bounded. */
		assert_true(t->out.len <= KEYS_MAX * 16);
		talk_free(t);
	}

	/* And over all segments of a negotiation. */
	talk_init(t, LOGIN_OPERATIONAL);
	for (uint32_t n = 1; n <= KEYS_MAX; n++)
		assert_int_equal(say(t, "a=b;"), 0);
	assert_int_equal(say(t, "a=b;"), -EPROTO);
	talk_free(t);
	free(t);
}

static void test_value_lengths(void **state)
{
	struct talk *t = malloc(sizeof(*t));
	static char pairs[KEY_VALUE_LONG_MAX + 100];

	assert_non_null(t);
	for (enum key key = 0; key < KEY_COUNT; key++) {
		const struct key_info *info = &key_table[key];
		enum login_stage stage = LOGIN_OPERATIONAL;

		if (info->kind != KEY_TEXT ||
		    !(info->flags & KEY_FROM_INITIATOR))
			continue;
		if (info->flags & KEY_IN_SECURITY)
			stage = LOGIN_SECURITY;
		else if (info->flags & KEY_IN_FULL_FEATURE)
			stage = LOGIN_FULL_FEATURE;
		for (size_t extra = 0; extra < 2; extra++) {
			size_t len = info->value_max + extra, at;

			at = (size_t)sprintf(pairs, "%s=", info->name);
			memset(pairs + at, 'v', len);
			strcpy(pairs + at + len, ";");
			talk_init(t, stage);
			assert_int_equal(say(t, pairs),
					 extra == 0 ? 0 : -EPROTO);
			talk_free(t);
		}
	}
	/* What is not understood may be of any length. */
	memset(pairs, 0, sizeof(pairs));
	memset(pairs, 'v', 8000);
	memcpy(pairs, "Foo=", 4);
	strcat(pairs, ";");
	assert_int_equal(ask(NULL, pairs, t), 0);
	assert_string_equal(unload(t), "Foo=NotUnderstood;");
	talk_free(t);
	free(t);
}

/* ---- Full feature phase. */

static void test_full_feature(void **state)
{
	struct keys_text *x = malloc(sizeof(*x));
	struct talk *t = malloc(sizeof(*t));
	struct session_params s;
	struct conn_params c;
	char name[300] = "SendTargets=";

	assert_non_null(x);
	assert_non_null(t);
	talk_init(t, LOGIN_FULL_FEATURE);
	session_params_default(&s);
	conn_params_default(&c);
	c.header_digest = true;
	s.max_burst_length = 1234;
	keys_text_begin(x, false, &s, &c);
	load(t, "SendTargets=All;MaxRecvDataSegmentLength=65536;"
		"InitiatorAlias=me;MaxBurstLength=512;X-a=b;");
	assert_int_equal(keys_full_feature(x, t->text, t->len, &t->out), 0);
	assert_string_equal(unload(t),
			    "X-a=NotUnderstood;MaxBurstLength=Irrelevant;");
	assert_true(x->send_targets);
	assert_string_equal(x->send_targets_value, "All");
	assert_true(x->alias);
	assert_string_equal(x->initiator_alias, "me");
	assert_int_equal(x->keys.conn.max_xmit_data_segment_length, 65536);
	assert_true(x->keys.conn.header_digest);
	assert_int_equal(x->keys.session.max_burst_length, 1234);
	/* 6.4: twice in one sequence. */
	load(t, "MaxRecvDataSegmentLength=65536;");
	assert_int_equal(keys_full_feature(x, t->text, t->len, &t->out),
			 -EPROTO);

	/* Only of login. */
	keys_text_begin(x, false, &s, &c);
	load(t, "InitiatorName=iqn.2000-01.x:y;");
	assert_int_equal(keys_full_feature(x, t->text, t->len, &t->out),
			 -EPROTO);
	keys_text_begin(x, false, &s, &c);
	load(t, "CHAP_A=5;");
	assert_int_equal(keys_full_feature(x, t->text, t->len, &t->out),
			 -EPROTO);

	/* A name of 223 bytes is the longest. */
	for (size_t len = ISCSI_NAME_MAX; len <= ISCSI_NAME_MAX + 1; len++) {
		memset(name + 12, 'a', len);
		strcpy(name + 12 + len, ";");
		keys_text_begin(x, true, &s, &c);
		load(t, name);
		assert_int_equal(keys_full_feature(x, t->text, t->len, &t->out),
				 len == ISCSI_NAME_MAX ? 0 : -EPROTO);
	}
	talk_free(t);
	free(t);
	free(x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table_is_complete),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_stage_and_sender_of_every_key),
		cmocka_unit_test(test_irrelevant_keys),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_protocol_errors),
		cmocka_unit_test(test_said_twice_in_two_segments),
		cmocka_unit_test(test_our_values),
		cmocka_unit_test(test_reject_keeps_the_default),
		cmocka_unit_test(test_first_burst_within_max_burst),
		cmocka_unit_test(test_proposal),
		cmocka_unit_test(test_digest_proposal),
		cmocka_unit_test(test_recovery_and_r2ts),
		cmocka_unit_test(test_fence_and_connections),
		cmocka_unit_test(test_number_of_keys),
		cmocka_unit_test(test_value_lengths),
		cmocka_unit_test(test_full_feature),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
