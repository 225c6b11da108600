/* SPDX-License-Identifier: BSD-3-Clause */
/* The model's login (RFC 7143, 6 and 13): offers, answers, stages. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/macros.h"
#include "initiator_priv.h"

#define KEY_TEXT_MAX	 1024
#define LOGIN_ROUNDS_MAX 500
#define LOGIN_STEP_MAX	 (64u << 10)

enum key_type {
	KEY_LIST, /* digests: "None" or "CRC32C" */
	KEY_OR,
	KEY_AND,
	KEY_MIN,
	KEY_MAX,
	KEY_TELL, /* declared, not answered */
	KEY_AUTH,
	KEY_UNKNOWN, /* ours: the target must not understand it */
};

struct key_def {
	const char *name;
	enum key_type type;
	size_t offset; /* in struct ini_params */
	bool is_bool;
};

#define NUMBER(k, t, field)                                     \
	{                                                       \
		k, t, offsetof(struct ini_params, field), false \
	}
#define BOOL(k, t, field)                                      \
	{                                                      \
		k, t, offsetof(struct ini_params, field), true \
	}
#define OTHER(k, t)                   \
	{                             \
		k, t, SIZE_MAX, false \
	}

/* clang-format off */
static const struct key_def keys[] = {
	BOOL("HeaderDigest", KEY_LIST, header_digest),
	BOOL("DataDigest", KEY_LIST, data_digest),
	BOOL("InitialR2T", KEY_OR, initial_r2t),
	BOOL("ImmediateData", KEY_AND, immediate_data),
	NUMBER("MaxBurstLength", KEY_MIN, max_burst),
	NUMBER("FirstBurstLength", KEY_MIN, first_burst),
	NUMBER("MaxOutstandingR2T", KEY_MIN, max_r2t),
	NUMBER("MaxConnections", KEY_MIN, max_connections),
	NUMBER("ErrorRecoveryLevel", KEY_MIN, erl),
	NUMBER("DefaultTime2Wait", KEY_MAX, time2wait),
	NUMBER("DefaultTime2Retain", KEY_MIN, time2retain),
	OTHER("DataPDUInOrder", KEY_OR),
	OTHER("DataSequenceInOrder", KEY_OR),
	OTHER("AuthMethod", KEY_AUTH),
	OTHER("X-com.example.model", KEY_UNKNOWN),
	OTHER("MaxRecvDataSegmentLength", KEY_TELL),
	OTHER("TargetAlias", KEY_TELL),
	OTHER("TargetAddress", KEY_TELL),
	OTHER("TargetPortalGroupTag", KEY_TELL),
};
/* clang-format on */

static const struct key_def *find_key(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		if (strcmp(keys[i].name, name) == 0)
			return &keys[i];
	}
	return NULL;
}

static uint64_t key_bit(const struct key_def *k)
{
	return 1ull << (k - keys);
}

/* ------------------------------------------------------------------------
 * Offers.
 */

static void say(struct initiator *ini, const char *key, const char *value)
{
	char pair[KEY_TEXT_MAX];
	int n = snprintf(pair, sizeof(pair), "%s=%s", key, value);

	ASSERT(n > 0 && (size_t)n < sizeof(pair));
	ini_bytes_push(&ini->login_out, pair, (size_t)n + 1);
}

static void offer(struct initiator *ini, const char *key, const char *value)
{
	ini->offered |= key_bit(find_key(key));
	say(ini, key, value);
}

static void offer_bool(struct initiator *ini, const char *key, bool value)
{
	offer(ini, key, value ? "Yes" : "No");
}

static void offer_number(struct initiator *ini, const char *key, uint32_t value)
{
	char text[16];

	snprintf(text, sizeof(text), "%" PRIu32, value);
	offer(ini, key, text);
}

static void offer_names(struct initiator *ini)
{
	say(ini, "InitiatorName", ini->opt.initiator);
	say(ini, "SessionType", ini->opt.target ? "Normal" : "Discovery");
	if (ini->opt.target)
		say(ini, "TargetName", ini->opt.target);
	ini->names_left = ini->login_out.len;
}

static void offer_session(struct initiator *ini)
{
	const struct ini_options *o = &ini->opt;

	if (o->offer_r2t)
		offer_bool(ini, "InitialR2T", o->initial_r2t);
	if (o->offer_immediate)
		offer_bool(ini, "ImmediateData", o->immediate_data);
	if (o->max_burst)
		offer_number(ini, "MaxBurstLength", o->max_burst);
	if (o->first_burst)
		offer_number(ini, "FirstBurstLength", o->first_burst);
	if (o->max_r2t)
		offer_number(ini, "MaxOutstandingR2T", o->max_r2t);
	offer_number(ini, "MaxConnections", 1);
	offer_number(ini, "ErrorRecoveryLevel", 0);
	offer_number(ini, "DefaultTime2Wait", 0);
	offer_number(ini, "DefaultTime2Retain", 0);
	offer_bool(ini, "DataPDUInOrder", true);
	offer_bool(ini, "DataSequenceInOrder", true);
}

static void offer_operational(struct initiator *ini)
{
	const struct ini_options *o = &ini->opt;

	offer(ini, "HeaderDigest", o->header_digest ? "CRC32C,None" : "None");
	offer(ini, "DataDigest", o->data_digest ? "CRC32C,None" : "None");
	offer(ini, "X-com.example.model", "1");
	if (o->mrdsl) {
		char text[16];

		snprintf(text, sizeof(text), "%" PRIu32, o->mrdsl);
		say(ini, "MaxRecvDataSegmentLength", text);
	}
	if (o->target)
		offer_session(ini);
}

/* ------------------------------------------------------------------------
 * Requests.
 */

/* How much of the text goes into the next request. */
static size_t next_text(struct initiator *ini)
{
	const uint8_t *text = ini->login_out.data + ini->login_out.head;
	size_t len = MIN(ini->login_out.len, (size_t)ISCSI_MRDSL_DEFAULT);

	/* 13.2 and 13.4: the names are in the first request. */
	if (ini->names_left > 0 && ini->opt.slow)
		len = ini->names_left;
	else if (len > 0 && ini->opt.slow)
		len = strlen((const char *)text) + 1;
	if (len > 1 && ini->opt.split_text && ini_random(ini, 2))
		len = 1 + ini_random(ini, len - 1);
	return len;
}

static void send_login(struct initiator *ini)
{
	size_t len = next_text(ini);
	const uint8_t *text = ini->login_out.data + ini->login_out.head;
	bool split = len > 0 && (text[len - 1] != 0 || len < ini->names_left);
	uint8_t bhs[BHS_LEN] = {0};

	if (++ini->login_rounds > LOGIN_ROUNDS_MAX) {
		ini_fail(ini, "the login does not end");
		return;
	}
	ini->transit = len == ini->login_out.len && !split;
	bhs[BHS_OPCODE] = ISCSI_LOGIN_REQUEST | ISCSI_IMMEDIATE;
	bhs[BHS_FLAGS] = (uint8_t)(ini->csg << 2);
	if (ini->transit)
		bhs[BHS_FLAGS] |= LOGIN_FLAG_TRANSIT | ini->nsg;
	if (split)
		bhs[BHS_FLAGS] |= LOGIN_FLAG_CONTINUE;
	memcpy(bhs + 8, ini->opt.isid, 6);
	store_be16(bhs + 14, ini->opt.tsih);
	store_be32(bhs + BHS_ITT, ini->login_itt);
	store_be16(bhs + 20, ini->opt.cid);
	store_be32(bhs + BHS_CMDSN, ini->cmdsn);
	store_be32(bhs + BHS_EXPSTATSN, ini->expstatsn);
	ini_emit(ini, bhs, text, (uint32_t)len);
	ini_bytes_drop(&ini->login_out, len);
	ini->names_left -= MIN(ini->names_left, len);
}

static void begin_stage(struct initiator *ini, uint8_t stage)
{
	ini->csg = stage;
	if (stage == LOGIN_SECURITY) {
		ini->nsg = LOGIN_OPERATIONAL;
		offer(ini, "AuthMethod", "None");
	} else {
		ini->nsg = LOGIN_FULL_FEATURE;
		offer_operational(ini);
	}
	send_login(ini);
}

static void params_default(struct ini_params *p)
{
	*p = (struct ini_params){
		.initial_r2t = true,
		.immediate_data = true,
		.max_burst = 262144,
		.first_burst = 65536,
		.max_r2t = 1,
		.mrdsl_in = ISCSI_MRDSL_DEFAULT,
		.mrdsl_out = ISCSI_MRDSL_DEFAULT,
		.max_connections = 1,
		.time2wait = 2,
		.time2retain = 20,
	};
}

void ini_login_begin(struct initiator *ini)
{
	params_default(&ini->p);
	ini->first_response = true;
	ini->login_itt = ini->next_itt++;
	if (ini->login_itt == RESERVED_TAG)
		ini->login_itt = ini->next_itt++;
	offer_names(ini);
	begin_stage(ini, ini->opt.security_stage ? LOGIN_SECURITY
						 : LOGIN_OPERATIONAL);
}

/* ------------------------------------------------------------------------
 * Answers.
 */

static bool parse_number(const char *value, uint32_t *ret)
{
	char *end;
	unsigned long n = strtoul(value, &end, 0);

	*ret = (uint32_t)n;
	return end != value && !*end && n <= UINT32_MAX;
}

static void bad_value(struct initiator *ini, const struct key_def *k,
		      const char *value)
{
	ini_fail(ini, "answer %s=%.100s", k->name, value);
}

static bool is_bool_value(const char *v)
{
	return strcmp(v, "Yes") == 0 || strcmp(v, "No") == 0;
}

/* What we offered, as a number. */
static uint32_t offered_value(const struct initiator *ini,
			      const struct key_def *k)
{
	const struct ini_options *o = &ini->opt;

	switch (k->offset) {
	case offsetof(struct ini_params, initial_r2t):
		return o->initial_r2t;
	case offsetof(struct ini_params, immediate_data):
		return o->immediate_data;
	case offsetof(struct ini_params, header_digest):
		return o->header_digest;
	case offsetof(struct ini_params, data_digest):
		return o->data_digest;
	case offsetof(struct ini_params, max_burst):
		return o->max_burst;
	case offsetof(struct ini_params, first_burst):
		return o->first_burst;
	case offsetof(struct ini_params, max_r2t):
		return o->max_r2t;
	case offsetof(struct ini_params, max_connections):
	case SIZE_MAX: /* the two orders */
		return 1;
	default:
		return 0;
	}
}

static void set_param(struct initiator *ini, const struct key_def *k,
		      uint32_t value)
{
	uint8_t *field;

	if (k->offset == SIZE_MAX)
		return;
	field = (uint8_t *)&ini->p + k->offset;
	if (k->is_bool)
		*(bool *)field = value;
	else
		*(uint32_t *)field = value;
}

/* A result may narrow what was offered, by the key's own rule. */
static bool result_allowed(const struct key_def *k, uint32_t ours,
			   uint32_t result)
{
	switch (k->type) {
	case KEY_OR:
		return result || !ours;
	case KEY_LIST:
	case KEY_AND:
		return !result || ours;
	case KEY_MIN:
		return result <= ours;
	case KEY_MAX:
		return result >= ours;
	case KEY_TELL:
	case KEY_AUTH:
	case KEY_UNKNOWN:
		break;
	}
	return false;
}

static void settle(struct initiator *ini, const struct key_def *k,
		   const char *value)
{
	uint32_t result = 0;

	ini->settled |= key_bit(k);
	if (k->type == KEY_AUTH || k->type == KEY_UNKNOWN) {
		if (strcmp(value,
			   k->type == KEY_AUTH ? "None" : "NotUnderstood") != 0)
			bad_value(ini, k, value);
		return;
	}
	/* 13.14: without unsolicited data there is no first burst. */
	if (strcmp(value, "Irrelevant") == 0 &&
	    strcmp(k->name, "FirstBurstLength") == 0)
		return;
	if (k->type == KEY_LIST) {
		result = strcmp(value, "CRC32C") == 0;
		if (!result && strcmp(value, "None") != 0)
			bad_value(ini, k, value);
	} else if (k->type == KEY_OR || k->type == KEY_AND) {
		result = strcmp(value, "Yes") == 0;
		if (!is_bool_value(value))
			bad_value(ini, k, value);
	} else if (!parse_number(value, &result)) {
		bad_value(ini, k, value);
	}
	if (!result_allowed(k, offered_value(ini, k), result))
		bad_value(ini, k, value);
	set_param(ini, k, result);
}

static void take_declaration(struct initiator *ini, const struct key_def *k,
			     const char *value)
{
	uint32_t n = 0;

	if (strcmp(k->name, "TargetAddress") == 0) {
		snprintf(ini->address, sizeof(ini->address), "%.100s", value);
	} else if (strcmp(k->name, "MaxRecvDataSegmentLength") == 0) {
		if (!parse_number(value, &n) || n < ISCSI_MRDSL_MIN ||
		    n > ISCSI_LENGTH_MAX)
			bad_value(ini, k, value);
		ini->p.mrdsl_out = n;
	} else if (strcmp(k->name, "TargetPortalGroupTag") == 0) {
		if (!parse_number(value, &n) || n > 65535)
			bad_value(ini, k, value);
		ini->p.tpgt = n;
		ini->p.tpgt_seen = true;
	}
}

/* The target makes an offer of its own: take it as it is. */
static void take_offer(struct initiator *ini, const struct key_def *k,
		       const char *value)
{
	uint32_t n;

	ini->settled |= key_bit(k);
	ini->offered |= key_bit(k);
	if (k->type == KEY_LIST) {
		say(ini, k->name, "None");
	} else if (k->type == KEY_OR || k->type == KEY_AND) {
		if (!is_bool_value(value))
			bad_value(ini, k, value);
		set_param(ini, k, strcmp(value, "Yes") == 0);
		say(ini, k->name, value);
	} else if (parse_number(value, &n)) {
		set_param(ini, k, n);
		say(ini, k->name, value);
	} else {
		bad_value(ini, k, value);
	}
}

static void take_pair(struct initiator *ini, char *pair)
{
	char *value = strchr(pair, '=');
	const struct key_def *k;

	if (!value || value == pair) {
		ini_fail(ini, "login text \"%.60s\" is no pair", pair);
		return;
	}
	*value++ = 0;
	k = find_key(pair);
	if (!k || k->type == KEY_TELL) {
		if (k)
			take_declaration(ini, k, value);
		else
			ini_fail(ini, "unknown key %.60s", pair);
		return;
	}
	if (ini->settled & key_bit(k))
		ini_fail(ini, "key %s a second time", k->name);
	else if (ini->offered & key_bit(k))
		settle(ini, k, value);
	else
		take_offer(ini, k, value);
}

static void take_text(struct initiator *ini)
{
	char *p = (char *)ini->login_in.data + ini->login_in.head;
	char *end = p + ini->login_in.len;

	if (ini->login_in.len == 0)
		return;
	if (end[-1] != 0) {
		ini_fail(ini, "login text does not end with NUL");
		return;
	}
	while (p < end) {
		char *next = p + strlen(p) + 1;

		/* Padding that was counted in is an empty string. */
		if (!*p) {
			ini_fail(ini, "an empty pair in the login text");
			return;
		}
		take_pair(ini, p);
		p = next;
	}
	ini_bytes_drop(&ini->login_in, ini->login_in.len);
}

/* ------------------------------------------------------------------------
 * Responses.
 */

static void full_feature(struct initiator *ini, const uint8_t *bhs)
{
	uint32_t exp = load_be32(bhs + BHS_EXPCMDSN);
	uint32_t max = load_be32(bhs + BHS_MAXCMDSN);

	ini->tsih = load_be16(bhs + 14);
	if (ini->offered & ~ini->settled) {
		ini_fail(ini, "keys were not answered: 0x%llx",
			 (unsigned long long)(ini->offered & ~ini->settled));
	} else if (ini->login_out.len > 0) {
		ini_fail(ini,
			 "transit before the target's offers are answered");
	} else if (ini->p.first_burst > ini->p.max_burst &&
		   (ini->p.immediate_data || !ini->p.initial_r2t) &&
		   ini->settled & key_bit(find_key("FirstBurstLength"))) {
		ini_fail(ini, "FirstBurstLength %u, MaxBurstLength %u",
			 ini->p.first_burst, ini->p.max_burst);
	} else if (ini->tsih == 0) {
		ini_fail(ini, "no TSIH in the last login response");
	} else if (exp != ini->cmdsn || ini_ahead(max, exp) < 0) {
		ini_fail(ini, "window %u..%u after a login with CmdSN %u", exp,
			 max, ini->cmdsn);
	} else {
		ini->expcmdsn = exp;
		ini->maxcmdsn = max;
		if (ini->opt.mrdsl)
			ini->p.mrdsl_in = ini->opt.mrdsl;
		ini->state = INI_RUNNING;
	}
}

static bool check_response(struct initiator *ini, const uint8_t *bhs)
{
	uint8_t flags = bhs[BHS_FLAGS];
	bool transit = flags & LOGIN_FLAG_TRANSIT;

	if (ini->first_response)
		ini->expstatsn = load_be32(bhs + BHS_STATSN);
	if (load_be32(bhs + BHS_ITT) != ini->login_itt)
		ini_fail(ini, "login response with another tag");
	else if (memcmp(bhs + 8, ini->opt.isid, 6) != 0)
		ini_fail(ini, "login response with another ISID");
	else if (bhs[2] != 0 || bhs[3] != 0)
		ini_fail(ini, "login response of version %u, %u", bhs[2],
			 bhs[3]);
	else if (!ini_take_statsn(ini, bhs))
		return false;
	else if (load_be16(bhs + 36) != LOGIN_OK)
		return true;
	else if ((flags >> 2 & 3) != ini->csg)
		ini_fail(ini, "login response of stage %u in stage %u",
			 flags >> 2 & 3, ini->csg);
	else if (transit && (!ini->transit || (flags & 3) != ini->nsg))
		ini_fail(ini, "transit that was not asked for");
	else if (transit && flags & LOGIN_FLAG_CONTINUE)
		ini_fail(ini, "C and T together");
	else
		return true;
	return false;
}

void ini_login_response(struct initiator *ini, const uint8_t *bhs,
			const uint8_t *data, uint32_t len)
{
	uint8_t flags = bhs[BHS_FLAGS];
	bool transit = flags & LOGIN_FLAG_TRANSIT;
	bool had_names = ini->login_out.len == 0;

	if (!check_response(ini, bhs))
		return;
	ini->first_response = false;
	ini_bytes_push(&ini->login_in, data, len);
	if (ini->login_in.len > LOGIN_STEP_MAX) {
		ini_fail(ini, "endless login text");
		return;
	}
	if (!(flags & LOGIN_FLAG_CONTINUE))
		take_text(ini);
	ini->login_status = load_be16(bhs + 36);
	if (ini->login_status != LOGIN_OK && ini->state != INI_FAILED) {
		ini->state = INI_REFUSED;
		return;
	}
	/* 13.9: in the first response to a request with the target's name. */
	if (had_names && ini->opt.target && !ini->p.tpgt_seen &&
	    !(flags & LOGIN_FLAG_CONTINUE) && ini->state != INI_FAILED)
		ini_fail(ini, "no TargetPortalGroupTag");
	if (ini->state == INI_FAILED)
		return;
	if (!transit)
		send_login(ini);
	else if (ini->nsg == LOGIN_FULL_FEATURE)
		full_feature(ini, bhs);
	else
		begin_stage(ini, ini->nsg);
}
