/* SPDX-License-Identifier: BSD-3-Clause */
#include "login_peer.h"

/* ---- Logins that succeed. */

static void test_operational_only(void **state)
{
	struct peer *p = peer_new();

	assert_admits(p, T_BIT | OPER_FULL,
		      NAMES TARGET "SessionType=Normal;InitiatorAlias=me;",
		      DIALS OURS);
	assert_string_equal(p->login.initiator_name,
			    "iqn.2000-01.com.example:host");
	assert_string_equal(p->login.target_name,
			    "iqn.2000-01.com.example:disk");
	assert_string_equal(p->login.initiator_alias, "me");
	assert_ptr_equal(p->login.node, &p->node);
	assert_false(p->login.discovery);
	assert_int_equal(p->login.tsih, 0x4242);
	assert_int_equal(p->login.cid, 5);
	assert_int_equal(p->login.cmdsn, 1000);
	assert_int_equal(p->login.statsn, 901);
	assert_memory_equal(p->login.isid, "\x80\x12\x34\x56\x00\x01", 6);
	assert_int_equal(p->login.conn.max_recv_data_segment_length, 262144);
	assert_int_equal(p->login.conn.max_xmit_data_segment_length, 8192);
	peer_free(p);
}

/* 6.3: security, operational, full feature. */
static void test_both_stages(void **state)
{
	struct peer *p = peer_new();

	assert_says(p, T_BIT | SEC_OPER, NAMES TARGET "AuthMethod=CHAP,None;",
		    T_BIT | SEC_OPER, DIALS "AuthMethod=None;");
	assert_admits(p, T_BIT | OPER_FULL,
		      "HeaderDigest=None,CRC32C;DataDigest=CRC32C,None;"
		      "InitialR2T=No;ImmediateData=Yes;MaxBurstLength=16776192;"
		      "FirstBurstLength=262144;DefaultTime2Wait=0;"
		      "DefaultTime2Retain=0;MaxOutstandingR2T=1;"
		      "MaxConnections=1;ErrorRecoveryLevel=0;IFMarker=No;"
		      "OFMarker=No;DataPDUInOrder=Yes;"
		      "DataSequenceInOrder=Yes;"
		      "MaxRecvDataSegmentLength=131072;",
		      "HeaderDigest=None;DataDigest=CRC32C;MaxConnections=1;"
		      "InitialR2T=No;ImmediateData=Yes;MaxBurstLength=1048576;"
		      "FirstBurstLength=65536;DefaultTime2Wait=2;"
		      "DefaultTime2Retain=0;ErrorRecoveryLevel=0;"
		      "MaxOutstandingR2T=1;DataPDUInOrder=Yes;"
		      "DataSequenceInOrder=Yes;IFMarker=No;OFMarker=No;" OURS);
	assert_false(p->login.conn.header_digest);
	assert_true(p->login.conn.data_digest);
	assert_int_equal(p->login.conn.max_xmit_data_segment_length, 131072);
	assert_false(p->login.session.initial_r2t);
	assert_true(p->login.session.immediate_data);
	assert_int_equal(p->login.session.max_burst_length, 1048576);
	assert_int_equal(p->login.session.first_burst_length, 65536);
	peer_free(p);
}

/* Straight from security; nothing of ours is declared: 13.12's default. */
static void test_security_only(void **state)
{
	struct peer *p = peer_new();

	assert_admits(p, T_BIT | SEC_FULL, NAMES TARGET, DIALS);
	assert_int_equal(p->login.conn.max_recv_data_segment_length, 8192);
	assert_true(p->login.session.initial_r2t);
	peer_free(p);
}

static void test_stages_without_transit(void **state)
{
	struct peer *p = peer_new();

	assert_says(p, SEC_SEC, NAMES TARGET, SEC_SEC, DIALS);
	assert_says(p, SEC_SEC, "AuthMethod=None;", SEC_SEC,
		    "AuthMethod=None;");
	assert_says(p, T_BIT | SEC_OPER, "", T_BIT | SEC_OPER, "");
	assert_says(p, OPER_OPER, "MaxBurstLength=8192;FirstBurstLength=8192;",
		    OPER_OPER,
		    "MaxBurstLength=8192;FirstBurstLength=8192;" OURS);
	assert_says(p, OPER_OPER, "DataDigest=None;", OPER_OPER,
		    "DataDigest=None;");
	assert_admits(p, T_BIT | OPER_FULL, "", "");
	assert_int_equal(p->login.session.max_burst_length, 8192);
	peer_free(p);
}

static void test_discovery(void **state)
{
	struct peer *p = peer_new();

	assert_admits(p, T_BIT | OPER_FULL,
		      DISCOVERY "MaxBurstLength=8192;ErrorRecoveryLevel=2;"
				"DefaultTime2Wait=5;HeaderDigest=CRC32C;",
		      "TargetPortalGroupTag=7;HeaderDigest=CRC32C;"
		      "MaxBurstLength=Irrelevant;DefaultTime2Wait=5;"
		      "ErrorRecoveryLevel=0;" OURS);
	assert_true(p->login.discovery);
	assert_null(p->login.node);
	assert_int_equal(p->asked, 0);
	peer_free(p);
}

static void test_names_are_lower_case(void **state)
{
	struct peer *p = peer_new();

	assert_int_equal(peer_say(p, T_BIT | OPER_FULL,
				  "InitiatorName=IQN.2000-01.com.Example:HOST;"
				  "TargetName=IQN.2000-01.COM.example:Disk;"),
			 LOGIN_ADMIT);
	assert_string_equal(p->asked_initiator, "iqn.2000-01.com.example:host");
	assert_string_equal(p->asked_target, "iqn.2000-01.com.example:disk");
	peer_free(p);
}

static void test_no_alias(void **state)
{
	struct peer *p = peer_new();

	p->node.alias[0] = '\0';
	assert_admits(p, T_BIT | OPER_FULL, NAMES TARGET,
		      "TargetPortalGroupTag=7;" OURS);
	peer_free(p);
}

/* The options are what we would choose. */
static void test_options_reach_the_negotiation(void **state)
{
	struct peer *p = peer_new();

	p->options.initial_r2t = true;
	p->options.immediate_data = false;
	p->options.max_burst_length = 4096;
	p->options.first_burst_length = 65536;
	p->options.default_time2wait = 11;
	p->options.default_time2retain = 12;
	p->options.max_connections_per_session = 1;
	p->options.max_outstanding_r2t = 4;
	p->options.max_recv_data_segment_length = 512;
	assert_admits(p, T_BIT | OPER_FULL,
		      NAMES TARGET
		      "InitialR2T=No;ImmediateData=Yes;MaxBurstLength=16384;"
		      "FirstBurstLength=16384;DefaultTime2Wait=0;"
		      "DefaultTime2Retain=60;MaxOutstandingR2T=100;"
		      "MaxConnections=9;ErrorRecoveryLevel=2;"
		      "iSCSIProtocolLevel=2;",
		      DIALS
		      "MaxConnections=1;InitialR2T=Yes;ImmediateData=No;"
		      "MaxBurstLength=4096;FirstBurstLength=4096;"
		      "DefaultTime2Wait=11;DefaultTime2Retain=12;"
		      "ErrorRecoveryLevel=0;MaxOutstandingR2T=4;"
		      "iSCSIProtocolLevel=2;MaxRecvDataSegmentLength=512;");
	assert_int_equal(p->login.conn.max_recv_data_segment_length, 512);
	peer_free(p);
}

/* Joining a session is somebody else's to decide. */
static void test_tsih_is_passed_on(void **state)
{
	struct peer *p = peer_new();

	store_be16(p->bhs + 14, 0x4242);
	assert_says(p, T_BIT | SEC_OPER, NAMES TARGET, T_BIT | SEC_OPER, DIALS);
	assert_int_equal(load_be16(p->rsp + 14), 0x4242);
	/* 11.12.8: commands of the session may have come between. */
	store_be32(p->bhs + BHS_CMDSN, 1003);
	assert_int_equal(peer_say(p, T_BIT | OPER_FULL,
				  "MaxBurstLength=512;DataDigest=CRC32C;"),
			 LOGIN_ADMIT);
	assert_int_equal(p->login.tsih, 0x4242);
	peer_finish(p);
	assert_string_equal(p->text, "DataDigest=CRC32C;"
				     "MaxBurstLength=Irrelevant;" OURS);
	peer_free(p);
}

static void test_refused_after_all(void **state)
{
	static const enum login_status statuses[] = {
		LOGIN_TOO_MANY,	    LOGIN_NO_SESSION,  LOGIN_NOT_IN_SESSION,
		LOGIN_NO_RESOURCES, LOGIN_UNAVAILABLE, LOGIN_TARGET_ERROR,
	};

	for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
		struct peer *p = peer_new();

		assert_int_equal(peer_say(p, T_BIT | OPER_FULL, NAMES TARGET),
				 LOGIN_ADMIT);
		login_refuse(&p->login, statuses[i], p->rsp, &p->data);
		peer_check(p, LOGIN_FAIL, 0);
		assert_int_equal(peer_status(p), statuses[i]);
		peer_free(p);
	}
}

/* ---- Digests that a target requires. */

static void test_required_digests(void **state)
{
	struct peer *p = peer_new();

	p->node.header_digest = p->node.data_digest = true;
	/* Not asked for: we stay in this stage and ask. */
	assert_says(p, T_BIT | OPER_FULL, NAMES TARGET "HeaderDigest=CRC32C;",
		    OPER_OPER,
		    DIALS "HeaderDigest=CRC32C;" OURS "DataDigest=CRC32C;");
	assert_admits(p, T_BIT | OPER_FULL, "DataDigest=CRC32C;", "");
	assert_true(p->login.conn.header_digest);
	assert_true(p->login.conn.data_digest);

	/* The initiator wants to skip the stage: we do not go that far. */
	peer_again(p);
	assert_says(p, T_BIT | SEC_FULL, NAMES TARGET, T_BIT | SEC_OPER, DIALS);
	assert_admits(p, T_BIT | OPER_FULL,
		      "HeaderDigest=CRC32C,None;DataDigest=None,CRC32C;",
		      "HeaderDigest=CRC32C;DataDigest=CRC32C;" OURS);

	peer_again(p);
	assert_fails(p, T_BIT | OPER_FULL, NAMES TARGET "HeaderDigest=None;",
		     LOGIN_INITIATOR_ERROR);
	peer_free(p);
}

static void test_first_burst_is_proposed(void **state)
{
	struct peer *p = peer_new();

	assert_says(p, T_BIT | OPER_FULL, NAMES TARGET "MaxBurstLength=1024;",
		    OPER_OPER,
		    DIALS "MaxBurstLength=1024;" OURS "FirstBurstLength=1024;");
	assert_admits(p, T_BIT | OPER_FULL, "FirstBurstLength=512;", "");
	assert_int_equal(p->login.session.first_burst_length, 512);

	peer_again(p);
	assert_int_equal(peer_say(p, T_BIT | OPER_FULL,
				  NAMES TARGET "MaxBurstLength=1024;"),
			 LOGIN_RESPOND);
	/* Going on without an answer. */
	assert_fails(p, T_BIT | OPER_FULL, "", LOGIN_INITIATOR_ERROR);
	peer_free(p);
}

/* ---- Each status from its own cause. */

static void test_first_request_statuses(void **state)
{
	static const struct {
		uint8_t flags;
		const char *text;
		enum login_status status;
	} rows[] = {
		/* 6.3: names. */
		{T_BIT | OPER_FULL, "", LOGIN_MISSING_PARAMETER},
		{SEC_SEC, "", LOGIN_MISSING_PARAMETER},
		{T_BIT | OPER_FULL, TARGET, LOGIN_MISSING_PARAMETER},
		{T_BIT | OPER_FULL, NAMES, LOGIN_MISSING_PARAMETER},
		{T_BIT | OPER_FULL, NAMES "TargetName=;",
		 LOGIN_MISSING_PARAMETER},
		{T_BIT | OPER_FULL, "InitiatorName=;" TARGET,
		 LOGIN_INITIATOR_ERROR},
		{T_BIT | OPER_FULL, "SessionType=Discovery;",
		 LOGIN_MISSING_PARAMETER},
		{T_BIT | OPER_FULL, NAMES TARGET "SessionType=discovery;",
		 LOGIN_SESSION_TYPE},
		{T_BIT | OPER_FULL, NAMES TARGET "SessionType=;",
		 LOGIN_SESSION_TYPE},
		/* 6.3: keys of another stage. */
		{T_BIT | OPER_FULL, NAMES TARGET "AuthMethod=None;",
		 LOGIN_INITIATOR_ERROR},
		{T_BIT | OPER_FULL, NAMES TARGET "CHAP_A=5;",
		 LOGIN_INITIATOR_ERROR},
		{T_BIT | SEC_OPER, NAMES TARGET "MaxBurstLength=512;",
		 LOGIN_INITIATOR_ERROR},
		{T_BIT | SEC_OPER, NAMES TARGET "HeaderDigest=None;",
		 LOGIN_INITIATOR_ERROR},
		{T_BIT | OPER_FULL, NAMES TARGET "SendTargets=All;",
		 LOGIN_INITIATOR_ERROR},
		/* Twice. */
		{T_BIT | OPER_FULL, NAMES NAMES TARGET, LOGIN_INITIATOR_ERROR},
		{T_BIT | OPER_FULL, NAMES TARGET TARGET, LOGIN_INITIATOR_ERROR},
		/* Malformed text. */
		{T_BIT | OPER_FULL, NAMES TARGET "x", LOGIN_INITIATOR_ERROR},
		{T_BIT | OPER_FULL, NAMES TARGET "=1;", LOGIN_INITIATOR_ERROR},
		/* 11.12.2, 11.12.3; 6.3: bits and transitions. */
		{T_BIT | C_BIT | OPER_FULL, NAMES TARGET,
		 LOGIN_INITIATOR_ERROR},
		{T_BIT | 0x00, NAMES TARGET, LOGIN_INITIATOR_ERROR},
		{T_BIT | 0x02, NAMES TARGET, LOGIN_INITIATOR_ERROR},
		{T_BIT | 0x04, NAMES TARGET, LOGIN_INITIATOR_ERROR},
		{T_BIT | 0x05, NAMES TARGET, LOGIN_INITIATOR_ERROR},
		{T_BIT | 0x06, NAMES TARGET, LOGIN_INITIATOR_ERROR},
		{0x08, NAMES TARGET, LOGIN_INITIATOR_ERROR},
		{T_BIT | 0x0b, NAMES TARGET, LOGIN_INITIATOR_ERROR},
		{0x0c, NAMES TARGET, LOGIN_INITIATOR_ERROR},
		{T_BIT | 0x0f, NAMES TARGET, LOGIN_INITIATOR_ERROR},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct peer *p = peer_new();
		enum login_verdict v = peer_say(p, rows[i].flags, rows[i].text);

		if (v != LOGIN_FAIL || peer_status(p) != rows[i].status)
			fail_msg("row %zu: verdict %d, status %04x", i, (int)v,
				 (unsigned int)peer_status(p));
		assert_int_equal(p->data.len, 0);
		peer_free(p);
	}
}

static void test_statuses_of_find_target(void **state)
{
	static const enum login_status statuses[] = {
		LOGIN_FORBIDDEN,
		LOGIN_NOT_FOUND,
		LOGIN_TARGET_REMOVED,
		LOGIN_UNAVAILABLE,
	};
	struct peer *p = peer_new();

	for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
		p->find_status = statuses[i];
		assert_fails(p, T_BIT | OPER_FULL, NAMES TARGET, statuses[i]);
		peer_again(p);
	}
	p->find_status = LOGIN_MOVED_TEMPORARILY;
	assert_fails(p, T_BIT | SEC_OPER, NAMES TARGET,
		     LOGIN_MOVED_TEMPORARILY);
	assert_string_equal(p->text, "TargetAddress=192.0.2.1:3261;");
	peer_again(p);
	p->find_status = LOGIN_MOVED_PERMANENTLY;
	assert_fails(p, T_BIT | SEC_OPER, NAMES TARGET,
		     LOGIN_MOVED_PERMANENTLY);
	assert_string_equal(p->text, "TargetAddress=192.0.2.1:3261;");
	peer_free(p);
}

static void test_name_lengths(void **state)
{
	char text[1024], name[300];

	for (size_t len = ISCSI_NAME_MAX; len <= ISCSI_NAME_MAX + 1; len++) {
		bool fits = len == ISCSI_NAME_MAX;
		struct peer *p = peer_new();

		memset(name, 'a', sizeof(name));
		memcpy(name, "iqn.2000-01.x:", 14);
		name[len] = '\0';
		snprintf(text, sizeof(text), "InitiatorName=%s;" TARGET, name);
		if (fits)
			assert_int_equal(peer_say(p, T_BIT | OPER_FULL, text),
					 LOGIN_ADMIT);
		else
			assert_fails(p, T_BIT | OPER_FULL, text,
				     LOGIN_INITIATOR_ERROR);
		peer_again(p);
		snprintf(text, sizeof(text), NAMES "TargetName=%s;", name);
		if (fits)
			assert_int_equal(peer_say(p, T_BIT | OPER_FULL, text),
					 LOGIN_ADMIT);
		else
			assert_fails(p, T_BIT | OPER_FULL, text,
				     LOGIN_NOT_FOUND);
		peer_free(p);
	}
}

static void test_version(void **state)
{
	for (unsigned int min = 0; min < 3; min++) {
		for (unsigned int max = 0; max < 3; max++) {
			struct peer *p = peer_new();

			p->bhs[2] = (uint8_t)max;
			p->bhs[3] = (uint8_t)min;
			if (min == 0)
				assert_int_equal(peer_say(p, T_BIT | OPER_FULL,
							  NAMES TARGET),
						 LOGIN_ADMIT);
			else
				assert_fails(p, T_BIT | OPER_FULL, NAMES TARGET,
					     LOGIN_BAD_VERSION);
			peer_free(p);
		}
	}
}

static void test_discovery_cannot_join(void **state)
{
	struct peer *p = peer_new();

	store_be16(p->bhs + 14, 1);
	assert_fails(p, T_BIT | OPER_FULL, DISCOVERY, LOGIN_NOT_IN_SESSION);
	peer_free(p);
}

static void test_header_fields_that_must_be_zero_or_valid(void **state)
{
	struct peer *p = peer_new();

	p->bhs[BHS_AHS_WORDS] = 1;
	assert_fails(p, T_BIT | OPER_FULL, NAMES TARGET, LOGIN_INITIATOR_ERROR);
	peer_again(p);
	store_be32(p->bhs + BHS_ITT, RESERVED_TAG);
	assert_fails(p, T_BIT | OPER_FULL, NAMES TARGET, LOGIN_INITIATOR_ERROR);
	peer_free(p);
}

/* Every field that must stay the same through a login, spoiled (11.12). */
static void test_changed_fields(void **state)
{
	static const uint8_t offsets[] = {
		8,	     13, 14, 15,	BHS_ITT,
		BHS_ITT + 3, 20, 21, BHS_CMDSN, BHS_CMDSN + 3,
	};

	for (size_t i = 0; i < ARRAY_LEN(offsets); i++) {
		struct peer *p = peer_new();

		assert_int_equal(peer_say(p, SEC_SEC, NAMES TARGET),
				 LOGIN_RESPOND);
		p->bhs[offsets[i]] ^= 0x01;
		p->bhs[BHS_FLAGS] = T_BIT | SEC_FULL;
		store_be24(p->bhs + BHS_DSL, 0);
		store_be32(p->bhs + BHS_EXPSTATSN, p->statsn);
		assert_int_equal(login_step(&p->login, p->bhs, NULL, 0, p->rsp,
					    &p->data),
				 LOGIN_FAIL);
		assert_int_equal(peer_status(p), LOGIN_INITIATOR_ERROR);
		peer_free(p);
	}
}

/* 11.12.9: what was never sent cannot be acknowledged. */
static void test_expstatsn(void **state)
{
	for (int32_t off = -2; off <= 2; off++) {
		struct peer *p = peer_new();

		assert_int_equal(peer_say(p, SEC_SEC, NAMES TARGET),
				 LOGIN_RESPOND);
		p->statsn += (uint32_t)off;
		p->bhs[BHS_FLAGS] = SEC_SEC;
		store_be24(p->bhs + BHS_DSL, 0);
		store_be32(p->bhs + BHS_EXPSTATSN, p->statsn);
		assert_int_equal(login_step(&p->login, p->bhs, NULL, 0, p->rsp,
					    &p->data),
				 off <= 0 ? LOGIN_RESPOND : LOGIN_FAIL);
		peer_free(p);
	}
}

static void test_stage_must_be_the_one_agreed_on(void **state)
{
	struct peer *p = peer_new();

	assert_int_equal(peer_say(p, T_BIT | SEC_OPER, NAMES TARGET),
			 LOGIN_RESPOND);
	assert_fails(p, SEC_SEC, "", LOGIN_INITIATOR_ERROR);
	peer_again(p);
	assert_int_equal(peer_say(p, SEC_SEC, NAMES TARGET), LOGIN_RESPOND);
	assert_fails(p, T_BIT | OPER_FULL, "", LOGIN_INITIATOR_ERROR);
	peer_again(p);
	assert_int_equal(peer_say(p, OPER_OPER, NAMES TARGET), LOGIN_RESPOND);
	assert_fails(p, T_BIT | SEC_OPER, "", LOGIN_INITIATOR_ERROR);
	peer_free(p);
}

static void test_names_that_come_late(void **state)
{
	static const char *const rows[] = {
		"SessionType=Normal;",
		"TargetName=iqn.2000-01.com.example:other;",
		NAMES,
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct peer *p = peer_new();

		assert_int_equal(peer_say(p, SEC_SEC, NAMES TARGET),
				 LOGIN_RESPOND);
		assert_fails(p, SEC_SEC, rows[i], LOGIN_INITIATOR_ERROR);
		peer_free(p);
	}
}

/* T1: every other opcode, first and later. */
static void test_other_opcodes(void **state)
{
	for (unsigned int opcode = 0; opcode < 256; opcode++) {
		struct peer *p = peer_new();

		if ((opcode & 0x3f) == ISCSI_LOGIN_REQUEST) {
			peer_free(p);
			continue;
		}
		p->bhs[BHS_OPCODE] = (uint8_t)opcode;
		assert_int_equal(peer_say(p, T_BIT | OPER_FULL, NAMES TARGET),
				 LOGIN_DROP);
		peer_again(p);
		assert_int_equal(peer_say(p, SEC_SEC, NAMES TARGET),
				 LOGIN_RESPOND);
		p->bhs[BHS_OPCODE] = (uint8_t)opcode;
		assert_fails(p, T_BIT | SEC_FULL, "", LOGIN_INVALID_REQUEST);
		peer_free(p);
	}
}

/* ---- The C bit, ours and theirs. */

/* A request of one segment, cut anywhere, gets one answer: the whole one's. */
static void test_continued_request_cut_anywhere(void **state)
{
	static const char text[] =
		"InitiatorName=iqn.2000-01.com.example:host\0"
		"TargetName=iqn.2000-01.com.example:disk\0"
		"MaxBurstLength=8192\0FirstBurstLength=8192\0X-y=z";

	for (size_t cut = 0; cut <= sizeof(text); cut++) {
		struct peer *p = peer_new();

		assert_int_equal(peer_bytes(p, C_BIT | OPER_OPER, text, cut),
				 LOGIN_RESPOND);
		assert_int_equal(p->rsp[BHS_FLAGS], OPER_OPER);
		assert_int_equal(p->data.len, 0);
		assert_int_equal(peer_bytes(p, T_BIT | OPER_FULL, text + cut,
					    sizeof(text) - cut),
				 LOGIN_ADMIT);
		peer_finish(p);
		assert_string_equal(p->text, "X-y=NotUnderstood;" DIALS
					     "MaxBurstLength=8192;"
					     "FirstBurstLength=8192;" OURS);
		peer_free(p);
	}
}

/* The text of every reply to a login that asks for @n long unknown keys. */
static enum login_verdict amplify(struct peer *p, unsigned int n, uint8_t last,
				  char *ret_text, size_t size)
{
	char text[LOGIN_DATA_MAX + 1] = NAMES TARGET, key[80];
	enum login_verdict v;

	for (unsigned int i = 0; i < n; i++) {
		snprintf(key, sizeof(key), "X%062u=;", i);
		if (strlen(text) + strlen(key) > LOGIN_DATA_MAX) {
			assert_int_equal(peer_say(p, C_BIT | OPER_OPER, text),
					 LOGIN_RESPOND);
			text[0] = '\0';
		}
		strcat(text, key);
	}
	ret_text[0] = '\0';
	v = peer_say(p, last, text);
	while (v == LOGIN_RESPOND && (p->rsp[BHS_FLAGS] & C_BIT)) {
		assert_int_equal(p->data.len, LOGIN_DATA_MAX);
		assert_false(p->rsp[BHS_FLAGS] & T_BIT);
		assert_true(strlen(ret_text) + p->data.len < size);
		strcat(ret_text, p->text);
		v = peer_say(p, last, "");
	}
	if (v == LOGIN_ADMIT)
		peer_finish(p);
	strcat(ret_text, p->text);
	return v;
}

/* T7: the answer is longer than a PDU, and comes in as many as it takes. */
static void test_reply_longer_than_a_pdu(void **state)
{
	static char text[65536], expected[65536];

	for (unsigned int n = 90; n <= KEYS_MAX - 2; n++) {
		struct peer *p = peer_new();

		expected[0] = '\0';
		for (unsigned int i = 0; i < n; i++)
			sprintf(expected + strlen(expected),
				"X%062u=NotUnderstood;", i);
		strcat(expected, DIALS OURS);
		assert_int_equal(
			amplify(p, n, T_BIT | OPER_FULL, text, sizeof(text)),
			LOGIN_ADMIT);
		assert_string_equal(text, expected);
		/* Without transit: the same text, and we stay. */
		peer_again(p);
		assert_int_equal(amplify(p, n, OPER_OPER, text, sizeof(text)),
				 LOGIN_RESPOND);
		assert_string_equal(text, expected);
		assert_int_equal(p->rsp[BHS_FLAGS], OPER_OPER);
		peer_free(p);
	}
}

/* With a proposal of ours in the tail of a long reply. */
static void test_long_reply_with_a_proposal(void **state)
{
	static char text[65536];
	struct peer *p = peer_new();

	p->node.data_digest = true;
	for (unsigned int n = 90; n <= KEYS_MAX - 2; n++) {
		assert_int_equal(
			amplify(p, n, T_BIT | OPER_FULL, text, sizeof(text)),
			LOGIN_RESPOND);
		assert_int_equal(p->rsp[BHS_FLAGS], OPER_OPER);
		assert_non_null(strstr(text, ";DataDigest=CRC32C;"));
		assert_int_equal(
			peer_say(p, T_BIT | OPER_FULL, "DataDigest=CRC32C;"),
			n == KEYS_MAX - 2 ? LOGIN_FAIL : LOGIN_ADMIT);
		peer_again(p);
	}
	peer_free(p);
}

static void test_data_while_a_reply_is_unfinished(void **state)
{
	char text[LOGIN_DATA_MAX + 1] = NAMES TARGET, key[80];
	struct peer *p = peer_new();

	for (unsigned int i = 0; i < 110; i++) {
		snprintf(key, sizeof(key), "X%062u=;", i);
		strcat(text, key);
	}
	assert_int_equal(peer_say(p, T_BIT | OPER_FULL, text), LOGIN_RESPOND);
	assert_int_equal(p->rsp[BHS_FLAGS], C_BIT | OPER_OPER);
	assert_fails(p, T_BIT | OPER_FULL, "A=b;", LOGIN_INITIATOR_ERROR);

	peer_again(p);
	assert_int_equal(peer_say(p, T_BIT | OPER_FULL, text), LOGIN_RESPOND);
	assert_fails(p, C_BIT | OPER_OPER, "", LOGIN_INITIATOR_ERROR);
	peer_free(p);
}

/* ---- Limits. */

static void test_number_of_pdus(void **state)
{
	struct peer *p = peer_new();

	assert_int_equal(peer_say(p, SEC_SEC, NAMES TARGET), LOGIN_RESPOND);
	for (unsigned int i = 2; i <= LOGIN_PDUS_MAX; i++)
		assert_int_equal(peer_say(p, SEC_SEC, ""), LOGIN_RESPOND);
	assert_fails(p, SEC_SEC, "", LOGIN_INITIATOR_ERROR);

	/* A chain of C bits that never ends. */
	peer_again(p);
	for (unsigned int i = 1; i <= LOGIN_PDUS_MAX; i++)
		assert_int_equal(peer_say(p, C_BIT | SEC_SEC, "A"),
				 LOGIN_RESPOND);
	assert_fails(p, C_BIT | SEC_SEC, "A", LOGIN_INITIATOR_ERROR);
	peer_free(p);
}

static void test_amount_of_text(void **state)
{
	static char text[LOGIN_DATA_MAX + 1];
	struct peer *p = peer_new();

	memset(text, 'a', LOGIN_DATA_MAX);
	for (unsigned int i = 0; i < LOGIN_TEXT_MAX / LOGIN_DATA_MAX; i++)
		assert_int_equal(peer_say(p, C_BIT | SEC_SEC, text),
				 LOGIN_RESPOND);
	assert_fails(p, C_BIT | SEC_SEC, "a", LOGIN_INITIATOR_ERROR);
	peer_free(p);
}

/* T8: lengths around the limit, without a NUL anywhere. */
static void test_text_without_nul(void **state)
{
	static char text[LOGIN_DATA_MAX];

	memset(text, 'A', sizeof(text));
	for (size_t len = LOGIN_DATA_MAX - 4; len <= LOGIN_DATA_MAX; len++) {
		struct peer *p = peer_new();

		assert_int_equal(peer_bytes(p, T_BIT | OPER_FULL, text, len),
				 LOGIN_FAIL);
		assert_int_equal(peer_status(p), LOGIN_INITIATOR_ERROR);
		peer_free(p);
	}
}

/* T7: 2048 times "a=b". */
static void test_many_tiny_keys(void **state)
{
	static char text[LOGIN_DATA_MAX];
	struct peer *p = peer_new();

	for (size_t i = 0; i < sizeof(text); i += 4)
		memcpy(text + i, "a=b", 4);
	assert_int_equal(peer_bytes(p, T_BIT | OPER_FULL, text, sizeof(text)),
			 LOGIN_FAIL);
	assert_int_equal(peer_status(p), LOGIN_INITIATOR_ERROR);
	assert_int_equal(p->data.len, 0);
	peer_free(p);
}

static void test_status_names(void **state)
{
	static const enum login_status all[] = {
		LOGIN_OK,
		LOGIN_MOVED_TEMPORARILY,
		LOGIN_MOVED_PERMANENTLY,
		LOGIN_INITIATOR_ERROR,
		LOGIN_AUTH_FAILED,
		LOGIN_FORBIDDEN,
		LOGIN_NOT_FOUND,
		LOGIN_TARGET_REMOVED,
		LOGIN_BAD_VERSION,
		LOGIN_TOO_MANY,
		LOGIN_MISSING_PARAMETER,
		LOGIN_NOT_IN_SESSION,
		LOGIN_SESSION_TYPE,
		LOGIN_NO_SESSION,
		LOGIN_INVALID_REQUEST,
		LOGIN_TARGET_ERROR,
		LOGIN_UNAVAILABLE,
		LOGIN_NO_RESOURCES,
	};
	const char *unknown = login_status_name((enum login_status)0x7777);

	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		const char *name = login_status_name(all[i]);

		assert_string_not_equal(name, unknown);
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(name,
						login_status_name(all[k]));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_operational_only),
		cmocka_unit_test(test_both_stages),
		cmocka_unit_test(test_security_only),
		cmocka_unit_test(test_stages_without_transit),
		cmocka_unit_test(test_discovery),
		cmocka_unit_test(test_names_are_lower_case),
		cmocka_unit_test(test_no_alias),
		cmocka_unit_test(test_options_reach_the_negotiation),
		cmocka_unit_test(test_tsih_is_passed_on),
		cmocka_unit_test(test_refused_after_all),
		cmocka_unit_test(test_required_digests),
		cmocka_unit_test(test_first_burst_is_proposed),
		cmocka_unit_test(test_first_request_statuses),
		cmocka_unit_test(test_statuses_of_find_target),
		cmocka_unit_test(test_name_lengths),
		cmocka_unit_test(test_version),
		cmocka_unit_test(test_discovery_cannot_join),
		cmocka_unit_test(test_header_fields_that_must_be_zero_or_valid),
		cmocka_unit_test(test_changed_fields),
		cmocka_unit_test(test_expstatsn),
		cmocka_unit_test(test_stage_must_be_the_one_agreed_on),
		cmocka_unit_test(test_names_that_come_late),
		cmocka_unit_test(test_other_opcodes),
		cmocka_unit_test(test_continued_request_cut_anywhere),
		cmocka_unit_test(test_reply_longer_than_a_pdu),
		cmocka_unit_test(test_long_reply_with_a_proposal),
		cmocka_unit_test(test_data_while_a_reply_is_unfinished),
		cmocka_unit_test(test_number_of_pdus),
		cmocka_unit_test(test_amount_of_text),
		cmocka_unit_test(test_text_without_nul),
		cmocka_unit_test(test_many_tiny_keys),
		cmocka_unit_test(test_status_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
