/* SPDX-License-Identifier: BSD-3-Clause */
/* The security stage: who must, may and can authenticate, and how. */
#include "login_peer.h"

#include "iscsi/chap.h"

static const char *const algorithms[] = {"5", "6", "7", "8"};

static void require_chap(struct peer *p)
{
	p->node.auth.require_chap = true;
	p->node.auth.chap_group = 3;
}

static void give_target_a_secret(struct peer *p)
{
	strcpy(p->secret.muser, "target");
	strcpy(p->secret.msecret, "secret-of-the-target");
}

/* H(id, secret, challenge) as text. */
static void digest_text(int algorithm, uint8_t id, const char *secret,
			const uint8_t *challenge, size_t len, char *ret)
{
	uint8_t md[CHAP_DIGEST_MAX];
	size_t n = chap_digest((enum chap_algorithm)algorithm, id, secret,
			       challenge, len, md);

	assert_true(n > 0);
	strcpy(ret, "0x");
	for (size_t i = 0; i < n; i++)
		sprintf(ret + 2 + 2 * i, "%02x", md[i]);
}

/* CHAP_N and CHAP_R to the challenge in the last response. */
static void answer(const struct peer *p, const char *user, const char *secret,
		   char *ret)
{
	uint8_t challenge[CHAP_BINARY_MAX];
	char value[2200], r[100];
	int algorithm, id;
	size_t len;

	assert_int_equal(sscanf(strstr(p->text, "CHAP_A="),
				"CHAP_A=%d;CHAP_I=%d;CHAP_C=%2199[^;];",
				&algorithm, &id, value),
			 3);
	assert_int_equal(chap_decode(value, challenge, sizeof(challenge), &len),
			 0);
	digest_text(algorithm, (uint8_t)id, secret, challenge, len, r);
	sprintf(ret, "CHAP_N=%s;CHAP_R=%s;", user, r);
}

/* Up to the challenge. */
static void up_to_challenge(struct peer *p, const char *list)
{
	char text[100];

	assert_says(p, T_BIT | SEC_OPER, NAMES TARGET "AuthMethod=CHAP,None;",
		    SEC_SEC, DIALS "AuthMethod=CHAP;");
	snprintf(text, sizeof(text), "CHAP_A=%s;", list);
	assert_int_equal(peer_say(p, SEC_SEC, text), LOGIN_RESPOND);
	assert_int_equal(p->rsp[BHS_FLAGS], SEC_SEC);
}

static void test_one_way(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(algorithms); i++) {
		struct peer *p = peer_new();
		char text[300], chosen[20];

		require_chap(p);
		up_to_challenge(p, algorithms[i]);
		snprintf(chosen, sizeof(chosen), "CHAP_A=%s;", algorithms[i]);
		assert_memory_equal(p->text, chosen, strlen(chosen));
		answer(p, "user", "secret-of-the-user", text);
		assert_says(p, T_BIT | SEC_OPER, text, T_BIT | SEC_OPER, "");
		assert_admits(p, T_BIT | OPER_FULL, "", OURS);
		peer_free(p);
	}
}

static void test_straight_to_full_feature(void **state)
{
	struct peer *p = peer_new();
	char text[300];

	require_chap(p);
	up_to_challenge(p, "7,5");
	answer(p, "user", "secret-of-the-user", text);
	assert_admits(p, T_BIT | SEC_FULL, text, "");
	peer_free(p);
}

/* Without the T bit the stage goes on; then it may be left. */
static void test_transit_later(void **state)
{
	struct peer *p = peer_new();
	char text[300];

	require_chap(p);
	up_to_challenge(p, "5");
	answer(p, "user", "secret-of-the-user", text);
	assert_says(p, SEC_SEC, text, SEC_SEC, "");
	assert_says(p, T_BIT | SEC_OPER, "", T_BIT | SEC_OPER, "");
	peer_free(p);
}

static void test_method_and_algorithm_in_one_request(void **state)
{
	struct peer *p = peer_new();
	char text[300];

	require_chap(p);
	assert_int_equal(
		peer_say(p, SEC_SEC, NAMES TARGET "AuthMethod=CHAP;CHAP_A=5;"),
		LOGIN_RESPOND);
	answer(p, "user", "secret-of-the-user", text);
	assert_says(p, T_BIT | SEC_OPER, text, T_BIT | SEC_OPER, "");
	peer_free(p);
}

static void test_mutual(void **state)
{
	static const uint8_t challenge[] = "thirty-two bytes of the initiator";

	for (size_t i = 0; i < ARRAY_LEN(algorithms); i++) {
		struct peer *p = peer_new();
		char text[500], want[200] = "CHAP_N=target;CHAP_R=";

		require_chap(p);
		p->node.auth.mutual_chap = true;
		give_target_a_secret(p);
		up_to_challenge(p, algorithms[i]);
		answer(p, "user", "secret-of-the-user", text);
		strcat(text, "CHAP_I=77;CHAP_C=0x");
		for (size_t k = 0; k < 32; k++)
			sprintf(text + strlen(text), "%02X", challenge[k]);
		strcat(text, ";");
		digest_text(atoi(algorithms[i]), 77, "secret-of-the-target",
			    challenge, 32, want + strlen(want));
		strcat(want, ";");
		assert_says(p, T_BIT | SEC_OPER, text, T_BIT | SEC_OPER, want);
		peer_free(p);
	}
}

static void test_mutual_needed_but_not_asked_for(void **state)
{
	struct peer *p = peer_new();
	char text[500];

	require_chap(p);
	p->node.auth.mutual_chap = true;
	give_target_a_secret(p);
	up_to_challenge(p, "5");
	answer(p, "user", "secret-of-the-user", text);
	assert_fails(p, T_BIT | SEC_OPER, text, LOGIN_AUTH_FAILED);
	peer_free(p);
}

static void test_mutual_asked_for_but_no_secret(void **state)
{
	struct peer *p = peer_new();
	char text[500];

	require_chap(p);
	up_to_challenge(p, "5");
	answer(p, "user", "secret-of-the-user", text);
	strcat(text, "CHAP_I=1;CHAP_C=0x010203;");
	assert_fails(p, T_BIT | SEC_OPER, text, LOGIN_AUTH_FAILED);
	assert_string_equal(p->text, "");
	peer_free(p);
}

static void test_wrong_secret_and_user(void **state)
{
	static const char *const pairs[][2] = {
		{"user", "secret-of-the-usex"},
		{"user", ""},
		{"user", "secret-of-the-user "},
		{"User", "secret-of-the-user"},
		{"", "secret-of-the-user"},
		{"nobody", "secret-of-the-user"},
		{"nobody", ""},
	};

	for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
		struct peer *p = peer_new();
		char text[500];

		require_chap(p);
		up_to_challenge(p, "8,7,6,5");
		answer(p, pairs[i][0], pairs[i][1], text);
		assert_fails(p, T_BIT | SEC_OPER, text, LOGIN_AUTH_FAILED);
		assert_string_equal(p->text, "");
		peer_free(p);
	}
}

/* T12: the answer to one challenge is none to the next. */
static void test_replay(void **state)
{
	struct peer *p = peer_new();
	char text[500], first[LOGIN_DATA_MAX + 1];

	require_chap(p);
	up_to_challenge(p, "5");
	strcpy(first, p->text);
	answer(p, "user", "secret-of-the-user", text);
	assert_says(p, T_BIT | SEC_OPER, text, T_BIT | SEC_OPER, "");
	peer_again(p);
	up_to_challenge(p, "5");
	assert_string_not_equal(p->text, first);
	assert_fails(p, T_BIT | SEC_OPER, text, LOGIN_AUTH_FAILED);
	peer_free(p);
}

static void test_reflection(void **state)
{
	struct peer *p = peer_new();
	char text[1000], *c;

	require_chap(p);
	give_target_a_secret(p);
	up_to_challenge(p, "5");
	answer(p, "user", "secret-of-the-user", text);
	c = strstr(p->text, "CHAP_C=");
	assert_non_null(c);
	strcat(text, "CHAP_I=9;");
	strcat(text, c);
	assert_fails(p, T_BIT | SEC_OPER, text, LOGIN_AUTH_FAILED);
	assert_string_equal(p->text, "");

	/* One secret both ways. */
	peer_again(p);
	strcpy(p->secret.msecret, p->secret.secret);
	up_to_challenge(p, "5");
	answer(p, "user", "secret-of-the-user", text);
	assert_fails(p, T_BIT | SEC_OPER, text, LOGIN_AUTH_FAILED);
	peer_free(p);
}

/* ---- Policies. */

/* What AuthMethod each policy lets through: the answer, or NULL for 0x0201. */
static void test_policies(void **state)
{
	static const struct auth_policy automatic = {.chap_group = 3};
	static const struct auth_policy no_group = {0};
	static const struct auth_policy disabled = {.disable_chap = true,
						    .chap_group = 3};
	static const struct auth_policy required = {.require_chap = true,
						    .chap_group = 3};
	static const struct {
		const struct auth_policy *policy;
		const char *offer, *method;
	} rows[] = {
		{&automatic, "AuthMethod=CHAP,None;", "CHAP"},
		{&automatic, "AuthMethod=None,CHAP;", "None"},
		{&automatic, "AuthMethod=None;", "None"},
		{&automatic, "AuthMethod=KRB5,SRP,CHAP;", "CHAP"},
		{&automatic, "AuthMethod=KRB5;", NULL},
		{&automatic, "AuthMethod=;", NULL},
		{&automatic, "AuthMethod=chap;", NULL},
		{&automatic, "", ""},
		{&no_group, "AuthMethod=CHAP,None;", "None"},
		{&no_group, "AuthMethod=CHAP;", NULL},
		{&no_group, "", ""},
		{&disabled, "AuthMethod=CHAP,None;", "None"},
		{&disabled, "AuthMethod=CHAP;", NULL},
		{&disabled, "", ""},
		{&required, "AuthMethod=None,CHAP;", "CHAP"},
		{&required, "AuthMethod=None;", NULL},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct peer *p = peer_new();
		char text[300], want[100] = "";

		p->node.auth = *rows[i].policy;
		snprintf(text, sizeof(text), NAMES TARGET "%s", rows[i].offer);
		if (rows[i].method == NULL) {
			assert_fails(p, T_BIT | SEC_OPER, text,
				     LOGIN_AUTH_FAILED);
			assert_string_equal(p->text, "AuthMethod=Reject;");
			peer_free(p);
			continue;
		}
		assert_int_equal(peer_say(p, T_BIT | SEC_OPER, text),
				 LOGIN_RESPOND);
		assert_int_equal(p->rsp[BHS_FLAGS],
				 strcmp(rows[i].method, "CHAP") == 0
					 ? SEC_SEC
					 : (T_BIT | SEC_OPER));
		if (rows[i].method[0] != '\0')
			snprintf(want, sizeof(want), "AuthMethod=%s;",
				 rows[i].method);
		assert_string_equal(p->text + strlen(DIALS), want);
		peer_free(p);
	}
}

/* No way around: the stage is skipped, or left without a word. */
static void test_required_and_evaded(void **state)
{
	struct peer *p = peer_new();

	require_chap(p);
	assert_fails(p, T_BIT | OPER_FULL, NAMES TARGET, LOGIN_AUTH_FAILED);
	peer_again(p);
	assert_fails(p, OPER_OPER, NAMES TARGET, LOGIN_AUTH_FAILED);
	peer_again(p);
	assert_fails(p, T_BIT | SEC_OPER, NAMES TARGET, LOGIN_AUTH_FAILED);
	peer_again(p);
	assert_fails(p, T_BIT | SEC_FULL, NAMES TARGET, LOGIN_AUTH_FAILED);
	peer_again(p);
	/* It may be silent for a while, but not leave. */
	assert_says(p, SEC_SEC, NAMES TARGET, SEC_SEC, DIALS);
	assert_fails(p, T_BIT | SEC_OPER, "", LOGIN_AUTH_FAILED);
	peer_again(p);
	/* Transit in the middle of the exchange is not granted. */
	assert_int_equal(
		peer_say(p, T_BIT | SEC_FULL, NAMES TARGET "AuthMethod=CHAP;"),
		LOGIN_RESPOND);
	assert_int_equal(p->rsp[BHS_FLAGS], SEC_SEC);
	assert_int_equal(peer_say(p, T_BIT | SEC_FULL, "CHAP_A=5;"),
			 LOGIN_RESPOND);
	assert_int_equal(p->rsp[BHS_FLAGS], SEC_SEC);
	assert_fails(p, T_BIT | SEC_FULL, "", LOGIN_MISSING_PARAMETER);
	peer_free(p);
}

static void test_required_without_a_group(void **state)
{
	struct peer *p = peer_new();
	char text[500];

	p->node.auth.require_chap = true;
	up_to_challenge(p, "5");
	answer(p, "user", "secret-of-the-user", text);
	assert_fails(p, T_BIT | SEC_OPER, text, LOGIN_AUTH_FAILED);
	peer_free(p);
}

/* Of discovery: the layer's, unless the portal group has its own. */
static void test_discovery_policy(void **state)
{
	struct peer *p = peer_new();
	char text[500];

	require_chap(p); /* a target's policy is no concern of discovery */
	assert_admits(p, T_BIT | OPER_FULL, DISCOVERY,
		      "TargetPortalGroupTag=7;" OURS);
	peer_again(p);
	p->options.discovery_auth.require_chap = true;
	p->options.discovery_auth.chap_group = 3;
	assert_fails(p, T_BIT | OPER_FULL, DISCOVERY, LOGIN_AUTH_FAILED);
	peer_again(p);
	assert_says(p, SEC_SEC, DISCOVERY "AuthMethod=CHAP;", SEC_SEC,
		    "TargetPortalGroupTag=7;AuthMethod=CHAP;");
	assert_int_equal(peer_say(p, SEC_SEC, "CHAP_A=5;"), LOGIN_RESPOND);
	answer(p, "user", "secret-of-the-user", text);
	assert_admits(p, T_BIT | SEC_FULL, text, "");

	peer_again(p);
	p->pg.auth_set = true;
	p->pg.auth.disable_chap = true;
	assert_admits(p, T_BIT | OPER_FULL, DISCOVERY,
		      "TargetPortalGroupTag=7;" OURS);
	peer_again(p);
	p->options.discovery_auth = (struct auth_policy){0};
	p->pg.auth =
		(struct auth_policy){.require_chap = true, .chap_group = 3};
	assert_fails(p, T_BIT | OPER_FULL, DISCOVERY, LOGIN_AUTH_FAILED);
	peer_free(p);
}

/* ---- Keys out of turn. */

static void test_keys_out_of_turn(void **state)
{
	static const struct {
		const char *first, *second;
		enum login_status status;
	} rows[] = {
		/* Nothing was agreed on. */
		{"", "CHAP_A=5;", LOGIN_INITIATOR_ERROR},
		{"", "CHAP_N=user;CHAP_R=0x00;", LOGIN_INITIATOR_ERROR},
		{"AuthMethod=None;", "CHAP_A=5;", LOGIN_INITIATOR_ERROR},
		{"AuthMethod=None;", "AuthMethod=CHAP;", LOGIN_INITIATOR_ERROR},
		/* CHAP_A must come first, and alone. */
		{"AuthMethod=CHAP;", "", LOGIN_MISSING_PARAMETER},
		{"AuthMethod=CHAP;", "CHAP_N=user;", LOGIN_INITIATOR_ERROR},
		{"AuthMethod=CHAP;", "CHAP_A=5;CHAP_N=user;",
		 LOGIN_INITIATOR_ERROR},
		{"AuthMethod=CHAP;", "CHAP_A=5;CHAP_I=1;CHAP_C=0x00;",
		 LOGIN_INITIATOR_ERROR},
		{"AuthMethod=CHAP;", "CHAP_A=99;", LOGIN_AUTH_FAILED},
		{"AuthMethod=CHAP;", "CHAP_A=;", LOGIN_AUTH_FAILED},
		/* T11: repeated. */
		{"AuthMethod=CHAP;", "CHAP_A=5;CHAP_A=5;",
		 LOGIN_INITIATOR_ERROR},
		{"AuthMethod=CHAP;CHAP_A=5;", "CHAP_A=5;",
		 LOGIN_INITIATOR_ERROR},
		{"AuthMethod=CHAP;CHAP_A=5;", "AuthMethod=None;",
		 LOGIN_INITIATOR_ERROR},
		/* After the challenge. */
		{"AuthMethod=CHAP;CHAP_A=5;", "CHAP_N=user;",
		 LOGIN_MISSING_PARAMETER},
		{"AuthMethod=CHAP;CHAP_A=5;", "CHAP_R=0x00;",
		 LOGIN_MISSING_PARAMETER},
		{"AuthMethod=CHAP;CHAP_A=5;", "CHAP_N=user;CHAP_R=;",
		 LOGIN_INITIATOR_ERROR},
		{"AuthMethod=CHAP;CHAP_A=5;", "CHAP_N=user;CHAP_R=0x00;",
		 LOGIN_AUTH_FAILED},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct peer *p = peer_new();
		char text[300];
		enum login_verdict v;

		p->node.auth.chap_group = 3;
		snprintf(text, sizeof(text), NAMES TARGET "%s", rows[i].first);
		assert_int_equal(peer_say(p, SEC_SEC, text), LOGIN_RESPOND);
		v = peer_say(p, T_BIT | SEC_FULL, rows[i].second);
		if (v != LOGIN_FAIL || peer_status(p) != rows[i].status)
			fail_msg("row %zu: %d %04x", i, (int)v,
				 (unsigned int)peer_status(p));
		peer_free(p);
	}
}

/* T10: what CHAP_R may not be, over all of it. */
static void test_long_responses(void **state)
{
	static const size_t lengths[] = {63, 64, 65, 79, 1024, 2048, 8000};

	for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
		for (int base64 = 0; base64 < 2; base64++) {
			struct peer *p = peer_new();
			static char text[LOGIN_DATA_MAX];
			size_t at;

			require_chap(p);
			up_to_challenge(p, "5");
			at = (size_t)sprintf(text, "CHAP_N=user;CHAP_R=0%c",
					     base64 ? 'b' : 'x');
			memset(text + at, 'A', lengths[i]);
			strcpy(text + at + lengths[i], ";");
			assert_int_equal(peer_say(p, T_BIT | SEC_OPER, text),
					 LOGIN_FAIL);
			assert_true(peer_status(p) == LOGIN_INITIATOR_ERROR ||
				    peer_status(p) == LOGIN_AUTH_FAILED);
			peer_free(p);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_way),
		cmocka_unit_test(test_straight_to_full_feature),
		cmocka_unit_test(test_transit_later),
		cmocka_unit_test(test_method_and_algorithm_in_one_request),
		cmocka_unit_test(test_mutual),
		cmocka_unit_test(test_mutual_needed_but_not_asked_for),
		cmocka_unit_test(test_mutual_asked_for_but_no_secret),
		cmocka_unit_test(test_wrong_secret_and_user),
		cmocka_unit_test(test_replay),
		cmocka_unit_test(test_reflection),
		cmocka_unit_test(test_policies),
		cmocka_unit_test(test_required_and_evaded),
		cmocka_unit_test(test_required_without_a_group),
		cmocka_unit_test(test_discovery_policy),
		cmocka_unit_test(test_keys_out_of_turn),
		cmocka_unit_test(test_long_responses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
