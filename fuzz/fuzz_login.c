/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The login phase with CHAP. Input: three bytes of settings, then requests:
 * flags, what to do to the header, two bytes of length, and text. A request
 * can have the right answer to the last challenge appended, so that what lies
 * behind authentication is reached, and reached in no other way.
 */
#include "fuzz.h"

#include "base/bytes.h"
#include "iscsi/chap.h"
#include "iscsi/login.h"
#include "target/target.h"

#define REQUESTS_MAX 100u

enum { /* first byte of settings */
       SET_DISABLE = 0x01,
       SET_REQUIRE = 0x02,
       SET_MUTUAL = 0x04,
       SET_GROUP = 0x08,
       SET_MSECRET = 0x10,
       SET_HEADER_DIGEST = 0x20,
       SET_DATA_DIGEST = 0x40,
       SET_NOT_FOUND = 0x80,
};

enum {			     /* of a request */
       DO_ANSWER = 0x01,     /* append CHAP_N and CHAP_R */
       DO_CHALLENGE = 0x02,  /* and CHAP_I and CHAP_C */
       DO_REFLECT = 0x04,    /* the target's own challenge */
       DO_RAW_HEADER = 0x08, /* 48 bytes of input instead of ours */
       DO_NAMES = 0x10,	     /* begin with the names */
       DO_REFUSE = 0x20,     /* when admitted */
};

struct run {
	struct login_env env;
	struct login login;
	struct iscsi_options options;
	struct portal_group pg;
	struct target_node node;
	struct chap_secret secret;
	uint8_t settings;
	uint8_t random_next;
	uint32_t statsn;
	bool answered, proved, mutual;
	uint8_t bhs[BHS_LEN], rsp[BHS_LEN];
	struct buf text, data;
	char challenge[LOGIN_DATA_MAX + 1]; /* CHAP_A, I and C */
};

static enum login_status find_target(struct login_env *env,
				     const char *target_name,
				     const char *initiator_name,
				     struct target_node **ret_node,
				     char *ret_redirect, size_t size)
{
	struct run *r = container_of(env, struct run, env);

	CHECK(strlen(target_name) <= ISCSI_NAME_MAX);
	CHECK(strlen(initiator_name) <= ISCSI_NAME_MAX);
	if (!(r->settings & SET_NOT_FOUND)) {
		*ret_node = &r->node;
		return LOGIN_OK;
	}
	snprintf(ret_redirect, size, "192.0.2.1:3260");
	return target_name[0] & 1 ? LOGIN_NOT_FOUND : LOGIN_MOVED_TEMPORARILY;
}

static const struct chap_secret *find_secret(struct login_env *env, int32_t tag,
					     const char *user)
{
	struct run *r = container_of(env, struct run, env);

	CHECK(tag == 3);
	return strcmp(user, "user") == 0 ? &r->secret : NULL;
}

static void random_bytes(struct login_env *env, void *buf, size_t len)
{
	struct run *r = container_of(env, struct run, env);
	uint8_t *p = buf;

	for (size_t i = 0; i < len; i++)
		p[i] = r->random_next++;
}

static void prepare(struct run *r, struct input *in)
{
	uint8_t more;

	r->settings = input_u8(in);
	more = input_u8(in);
	r->random_next = input_u8(in);
	iscsi_options_default(&r->options);
	r->options.initial_r2t = more & 0x01;
	r->options.max_burst_length = more & 0x02 ? 512 : 1048576;
	r->options.discovery_auth.require_chap = more & 0x04;
	r->options.discovery_auth.chap_group = 3;
	r->pg.tag = 1;
	r->pg.auth_set = more & 0x08;
	r->node.auth = (struct auth_policy){
		.disable_chap = (r->settings & 0x07) == SET_DISABLE,
		.require_chap = r->settings & SET_REQUIRE,
		.mutual_chap = (r->settings & SET_REQUIRE) &&
			       (r->settings & SET_MUTUAL),
		.chap_group = r->settings & SET_GROUP ? 3 : 0,
	};
	r->node.header_digest = r->settings & SET_HEADER_DIGEST;
	r->node.data_digest = r->settings & SET_DATA_DIGEST;
	strcpy(r->node.alias, "alias");
	strcpy(r->secret.user, "user");
	strcpy(r->secret.secret, "secret-of-the-user");
	if (r->settings & SET_MSECRET) {
		strcpy(r->secret.muser, "target");
		strcpy(r->secret.msecret, "secret-of-the-target");
	}
	r->env = (struct login_env){
		.find_target = find_target,
		.find_secret = find_secret,
		.random = random_bytes,
		.options = &r->options,
		.pg = &r->pg,
	};
	buf_init(&r->text, LOGIN_DATA_MAX);
	buf_init(&r->data, LOGIN_DATA_MAX);
	CHECK(login_init(&r->login, &r->env) == 0);
}

/* Remembers a challenge, as text with newlines for NULs. */
static void remember(struct run *r)
{
	char text[LOGIN_DATA_MAX + 1];
	char *a;

	memset(text, 0, sizeof(text));
	if (r->data.len > 0)
		memcpy(text, r->data.data, r->data.len);
	for (size_t i = 0; i < r->data.len; i++) {
		if (text[i] == '\0')
			text[i] = '\n';
	}
	a = strstr(text, "CHAP_A=");
	if (a != NULL)
		snprintf(r->challenge, sizeof(r->challenge), "%s", a);
}

static void append_answer(struct run *r, uint8_t what)
{
	uint8_t challenge[CHAP_BINARY_MAX], md[CHAP_DIGEST_MAX];
	char value[2 * CHAP_BINARY_MAX + 3];
	int algorithm, id;
	size_t len, n;

	if (sscanf(r->challenge, "CHAP_A=%d\nCHAP_I=%d\nCHAP_C=%2050[^\n]",
		   &algorithm, &id, value) != 3)
		return;
	CHECK(chap_decode(value, challenge, sizeof(challenge), &len) == 0);
	n = chap_digest((enum chap_algorithm)algorithm, (uint8_t)id,
			"secret-of-the-user", challenge, len, md);
	CHECK(n > 0);
	buf_append(&r->text, "CHAP_N=user\0CHAP_R=0x", 21);
	for (size_t i = 0; i < n; i++)
		buf_printf(&r->text, "%02x", md[i]);
	buf_append_byte(&r->text, 0);
	if (what & DO_CHALLENGE) {
		buf_append_str(&r->text, "CHAP_I=9");
		buf_append_byte(&r->text, 0);
		buf_printf(&r->text, "CHAP_C=%s",
			   what & DO_REFLECT ? value : "0x0102");
		buf_append_byte(&r->text, 0);
		r->mutual = true;
	}
	r->proved = true;
}

static void build(struct run *r, struct input *in, uint8_t flags, uint8_t what)
{
	static const char names[] =
		"InitiatorName=iqn.2000-01.x:i\0TargetName=iqn.2000-01.x:t";
	size_t n;
	uint8_t *bytes;

	memset(r->bhs, 0, BHS_LEN);
	r->bhs[BHS_OPCODE] = ISCSI_LOGIN_REQUEST | ISCSI_IMMEDIATE;
	store_be32(r->bhs + BHS_EXPSTATSN, r->answered ? r->statsn : 0);
	if (what & DO_RAW_HEADER) {
		bytes = input_copy(in, BHS_LEN, &n);
		memcpy(r->bhs, bytes, n);
		free(bytes);
	}
	r->bhs[BHS_FLAGS] = flags;
	buf_reset(&r->text);
	if (what & DO_NAMES)
		buf_append(&r->text, names, sizeof(names));
	bytes = input_copy(in, input_u16(in) % (LOGIN_DATA_MAX + 1), &n);
	if (r->text.len + n <= LOGIN_DATA_MAX)
		buf_append(&r->text, bytes, n);
	free(bytes);
	if ((what & DO_ANSWER) && r->text.len < LOGIN_DATA_MAX / 2)
		append_answer(r, what);
	CHECK(!r->text.failed);
	store_be24(r->bhs + BHS_DSL, (uint32_t)r->text.len);
}

static void check_response(struct run *r, enum login_verdict v)
{
	uint8_t flags = r->rsp[BHS_FLAGS], asked = r->bhs[BHS_FLAGS];

	CHECK(r->rsp[BHS_OPCODE] == ISCSI_LOGIN_RESPONSE);
	CHECK(!r->data.failed && r->data.len <= LOGIN_DATA_MAX);
	CHECK(load_be24(r->rsp + BHS_DSL) == r->data.len);
	CHECK(load_be16(r->rsp + 36) == (uint16_t)r->login.status);
	CHECK((v == LOGIN_FAIL) == (r->login.status != LOGIN_OK));
	if (v == LOGIN_FAIL)
		return;
	if (flags & LOGIN_FLAG_TRANSIT) {
		CHECK(asked & LOGIN_FLAG_TRANSIT);
		CHECK((flags & 3) <= (asked & 3));
		CHECK((flags & 3) > (flags >> 2 & 3));
		CHECK(!(flags & LOGIN_FLAG_CONTINUE));
	}
	if (flags & LOGIN_FLAG_CONTINUE)
		CHECK(r->data.len == LOGIN_DATA_MAX);
	r->statsn = load_be32(r->rsp + BHS_STATSN) + 1;
	CHECK(r->statsn == r->login.statsn);
}

static void check_admission(struct run *r, uint8_t what)
{
	const struct login *l = &r->login;
	const struct auth_policy *policy = &r->node.auth;

	if (l->discovery)
		policy = r->pg.auth_set ? &r->pg.auth
					: &r->options.discovery_auth;
	/* There is one way in. */
	if (policy->require_chap)
		CHECK(r->proved && policy->chap_group == 3);
	if (policy->mutual_chap)
		CHECK(r->mutual && (r->settings & SET_MSECRET));
	CHECK(l->discovery || l->node == &r->node);
	CHECK(l->initiator_name[0] != '\0');
	if (!l->discovery) {
		CHECK(!r->node.header_digest || l->conn.header_digest);
		CHECK(!r->node.data_digest || l->conn.data_digest);
	}
	CHECK(l->conn.max_xmit_data_segment_length >= ISCSI_MRDSL_MIN);
	CHECK(l->session.max_burst_length <= 1048576 ||
	      l->session.max_burst_length == 262144);
	if (what & DO_REFUSE) {
		login_refuse(&r->login, LOGIN_TOO_MANY, r->rsp, &r->data);
		check_response(r, LOGIN_FAIL);
	} else {
		login_finish(&r->login, 1, 64, r->rsp, &r->data);
		check_response(r, LOGIN_RESPOND);
		CHECK(r->rsp[BHS_FLAGS] & LOGIN_FLAG_TRANSIT);
		CHECK((r->rsp[BHS_FLAGS] & 3) == LOGIN_FULL_FEATURE);
	}
}

/* False: it is over. */
static bool request(struct run *r, struct input *in)
{
	uint8_t flags = input_u8(in), what = input_u8(in);
	enum login_verdict v;
	uint8_t *exact;

	build(r, in, flags, what);
	exact = malloc(r->text.len > 0 ? r->text.len : 1);
	CHECK(exact != NULL);
	if (r->text.len > 0)
		memcpy(exact, r->text.data, r->text.len);
	v = login_step(&r->login, r->bhs, exact, (uint32_t)r->text.len, r->rsp,
		       &r->data);
	free(exact);
	r->answered = true;
	switch (v) {
	case LOGIN_RESPOND:
		check_response(r, v);
		remember(r);
		return true;
	case LOGIN_FAIL:
		check_response(r, v);
		break;
	case LOGIN_ADMIT:
		check_admission(r, what);
		break;
	case LOGIN_DROP:
		break;
	}
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct run *r = calloc(1, sizeof(*r));

	CHECK(r != NULL);
	prepare(r, &in);
	for (unsigned int i = 0; in.left > 0 && i < REQUESTS_MAX; i++) {
		if (!request(r, &in))
			break;
	}
	login_deinit(&r->login);
	buf_deinit(&r->text);
	buf_deinit(&r->data);
	free(r);
	return 0;
}
