/* SPDX-License-Identifier: BSD-3-Clause */
#include "iscsi/keys.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/macros.h"
#include "iscsi/text.h"

static const char *const digest_values[] = {"None", "CRC32C", NULL};
#define DIGEST_NONE   0x1u
#define DIGEST_CRC32C 0x2u

static const char *const task_reporting_values[] = {
	[TASK_REPORTING_RFC3720] = "RFC3720",
	[TASK_REPORTING_FENCE] = "ResponseFence",
	[TASK_REPORTING_FAST_ABORT] = "FastAbort",
	[TASK_REPORTING_COUNT] = NULL,
};
#define REPORT_PLAIN (1u << TASK_REPORTING_RFC3720)
#define REPORT_FENCE (1u << TASK_REPORTING_FENCE)

#define SEC	     KEY_IN_SECURITY
#define OPER	     KEY_IN_OPERATIONAL
#define FFP	     KEY_IN_FULL_FEATURE
#define INI	     KEY_FROM_INITIATOR
#define TGT	     KEY_FROM_TARGET
#define BOTH	     (KEY_FROM_INITIATOR | KEY_FROM_TARGET)
#define LO	     KEY_LEADING
#define NODISC	     KEY_NOT_IN_DISCOVERY
#define CO	     KEY_OF_CONNECTION
#define S(field)     offsetof(struct session_params, field)
#define C(field)     offsetof(struct conn_params, field)
#define SHORT	     KEY_VALUE_MAX
#define LONG	     KEY_VALUE_LONG_MAX

/* RFC 7143, 12 and 13; RFC 7144, 7.1.1. */
/* clang-format off */
const struct key_info key_table[KEY_COUNT] = {
	[KEY_HEADER_DIGEST] = { "HeaderDigest", KEY_LIST, OPER | BOTH | CO,
		SHORT, 0, 0, 0, C(header_digest), digest_values },
	[KEY_DATA_DIGEST] = { "DataDigest", KEY_LIST, OPER | BOTH | CO,
		SHORT, 0, 0, 0, C(data_digest), digest_values },
	[KEY_MAX_CONNECTIONS] = { "MaxConnections", KEY_MIN,
		OPER | BOTH | LO | NODISC,
		SHORT, 1, 65535, 1, S(max_connections), NULL },
	[KEY_SEND_TARGETS] = { "SendTargets", KEY_TEXT, FFP | INI,
		LONG, 0, 0, 0, 0, NULL },
	[KEY_TARGET_NAME] = { "TargetName", KEY_TEXT, SEC | OPER | BOTH,
		SHORT, 0, 0, 0, 0, NULL },
	[KEY_INITIATOR_NAME] = { "InitiatorName", KEY_TEXT, SEC | OPER | INI,
		SHORT, 0, 0, 0, 0, NULL },
	[KEY_TARGET_ALIAS] = { "TargetAlias", KEY_TEXT,
		SEC | OPER | FFP | TGT,
		SHORT, 0, 0, 0, 0, NULL },
	[KEY_INITIATOR_ALIAS] = { "InitiatorAlias", KEY_TEXT,
		SEC | OPER | FFP | INI,
		SHORT, 0, 0, 0, 0, NULL },
	[KEY_TARGET_ADDRESS] = { "TargetAddress", KEY_TEXT,
		SEC | OPER | FFP | TGT,
		SHORT, 0, 0, 0, 0, NULL },
	[KEY_TARGET_PORTAL_GROUP_TAG] = { "TargetPortalGroupTag", KEY_TEXT,
		SEC | OPER | TGT,
		SHORT, 0, 0, 0, 0, NULL },
	[KEY_INITIAL_R2T] = { "InitialR2T", KEY_OR,
		OPER | BOTH | LO | NODISC,
		SHORT, 0, 1, 1, S(initial_r2t), NULL },
	[KEY_IMMEDIATE_DATA] = { "ImmediateData", KEY_AND,
		OPER | BOTH | LO | NODISC,
		SHORT, 0, 1, 1, S(immediate_data), NULL },
	[KEY_MAX_RECV_DATA_SEGMENT_LENGTH] = { "MaxRecvDataSegmentLength",
		KEY_NUMBER, OPER | FFP | BOTH | CO,
		SHORT, ISCSI_MRDSL_MIN, ISCSI_LENGTH_MAX, ISCSI_MRDSL_DEFAULT,
		C(max_xmit_data_segment_length), NULL },
	[KEY_MAX_BURST_LENGTH] = { "MaxBurstLength", KEY_MIN,
		OPER | BOTH | LO | NODISC,
		SHORT, 512, ISCSI_LENGTH_MAX, 262144, S(max_burst_length), NULL },
	[KEY_FIRST_BURST_LENGTH] = { "FirstBurstLength", KEY_MIN,
		OPER | BOTH | LO | NODISC,
		SHORT, 512, ISCSI_LENGTH_MAX, 65536, S(first_burst_length), NULL },
	[KEY_DEFAULT_TIME2WAIT] = { "DefaultTime2Wait", KEY_MAX,
		OPER | BOTH | LO,
		SHORT, 0, 3600, 2, S(default_time2wait), NULL },
	[KEY_DEFAULT_TIME2RETAIN] = { "DefaultTime2Retain", KEY_MIN,
		OPER | BOTH | LO,
		SHORT, 0, 3600, 20, S(default_time2retain), NULL },
	[KEY_ERROR_RECOVERY_LEVEL] = { "ErrorRecoveryLevel", KEY_MIN,
		OPER | BOTH | LO,
		SHORT, 0, 2, 0, S(error_recovery_level), NULL },
	[KEY_MAX_OUTSTANDING_R2T] = { "MaxOutstandingR2T", KEY_MIN,
		OPER | BOTH | LO | NODISC,
		SHORT, 1, 65535, 1, S(max_outstanding_r2t), NULL },
	[KEY_DATA_PDU_IN_ORDER] = { "DataPDUInOrder", KEY_OR,
		OPER | BOTH | LO | NODISC,
		SHORT, 0, 1, 1, S(data_pdu_in_order), NULL },
	[KEY_DATA_SEQUENCE_IN_ORDER] = { "DataSequenceInOrder", KEY_OR,
		OPER | BOTH | LO | NODISC,
		SHORT, 0, 1, 1, S(data_sequence_in_order), NULL },
	[KEY_SESSION_TYPE] = { "SessionType", KEY_TEXT, SEC | OPER | INI,
		SHORT, 0, 0, 0, 0, NULL },
	[KEY_TASK_REPORTING] = { "TaskReporting", KEY_LIST,
		OPER | BOTH | LO | NODISC,
		SHORT, 0, 0, 0, S(task_reporting), task_reporting_values },
	[KEY_ISCSI_PROTOCOL_LEVEL] = { "iSCSIProtocolLevel", KEY_MIN,
		OPER | BOTH | LO | NODISC,
		SHORT, 0, 31, 1, S(protocol_level), NULL },
	[KEY_AUTH_METHOD] = { "AuthMethod", KEY_TEXT, SEC | BOTH,
		SHORT, 0, 0, 0, 0, NULL },
	[KEY_CHAP_A] = { "CHAP_A", KEY_TEXT, SEC | BOTH,
		SHORT, 0, 0, 0, 0, NULL },
	[KEY_CHAP_I] = { "CHAP_I", KEY_TEXT, SEC | BOTH,
		SHORT, 0, 0, 0, 0, NULL },
	[KEY_CHAP_C] = { "CHAP_C", KEY_TEXT, SEC | BOTH,
		LONG, 0, 0, 0, 0, NULL },
	[KEY_CHAP_N] = { "CHAP_N", KEY_TEXT, SEC | BOTH,
		SHORT, 0, 0, 0, 0, NULL },
	[KEY_CHAP_R] = { "CHAP_R", KEY_TEXT, SEC | BOTH,
		LONG, 0, 0, 0, 0, NULL },
	[KEY_IF_MARKER] = { "IFMarker", KEY_OBSOLETE_BOOL, OPER | BOTH,
		SHORT, 0, 0, 0, 0, NULL },
	[KEY_OF_MARKER] = { "OFMarker", KEY_OBSOLETE_BOOL, OPER | BOTH,
		SHORT, 0, 0, 0, 0, NULL },
	[KEY_IF_MARK_INT] = { "IFMarkInt", KEY_OBSOLETE_RANGE, OPER | BOTH,
		SHORT, 0, 0, 0, 0, NULL },
	[KEY_OF_MARK_INT] = { "OFMarkInt", KEY_OBSOLETE_RANGE, OPER | BOTH,
		SHORT, 0, 0, 0, 0, NULL },
	[KEY_X_NODE_ARCHITECTURE] = { "X#NodeArchitecture", KEY_IGNORED,
		OPER | BOTH,
		SHORT, 0, 0, 0, 0, NULL },
};
/* clang-format on */
static_assert(KEY_COUNT <= 64, "the sets of keys have 64 bits");

static uint64_t key_bit(enum key key)
{
	return 1ull << key;
}

enum key key_find(const char *name)
{
	for (enum key key = 0; key < KEY_COUNT; key++) {
		if (strcmp(key_table[key].name, name) == 0)
			return key;
	}
	return KEY_COUNT;
}

static bool key_is_bool(enum key_kind kind)
{
	return kind == KEY_AND || kind == KEY_OR;
}

/* Stores a number, a list's index or a boolean where the row says. */
static void key_store(struct session_params *session, struct conn_params *conn,
		      enum key key, uint32_t value)
{
	const struct key_info *info = &key_table[key];
	uint8_t *base = (info->flags & KEY_OF_CONNECTION) ? (uint8_t *)conn
							  : (uint8_t *)session;

	if (key_is_bool(info->kind) || info->values == digest_values)
		*(bool *)(void *)(base + info->offset) = value != 0;
	else
		*(uint32_t *)(void *)(base + info->offset) = value;
}

static uint32_t key_load(const struct session_params *session, enum key key)
{
	const struct key_info *info = &key_table[key];
	const uint8_t *p = (const uint8_t *)session + info->offset;

	ASSERT(!(info->flags & KEY_OF_CONNECTION));
	if (key_is_bool(info->kind))
		return *(const bool *)(const void *)p;
	return *(const uint32_t *)(const void *)p;
}

static bool key_has_place(enum key_kind kind)
{
	return kind == KEY_NUMBER || kind == KEY_LIST || kind == KEY_AND ||
	       kind == KEY_OR || kind == KEY_MIN || kind == KEY_MAX;
}

static void store_defaults(struct session_params *session,
			   struct conn_params *conn)
{
	for (enum key key = 0; key < KEY_COUNT; key++) {
		if (key_has_place(key_table[key].kind))
			key_store(session, conn, key, key_table[key].initial);
	}
}

void session_params_default(struct session_params *p)
{
	struct conn_params other = {0};

	memset(p, 0, sizeof(*p));
	store_defaults(p, &other);
}

void conn_params_default(struct conn_params *p)
{
	struct session_params other = {0};

	memset(p, 0, sizeof(*p));
	store_defaults(&other, p);
	p->max_recv_data_segment_length = ISCSI_MRDSL_DEFAULT;
}

void keys_init(struct keys *k, enum login_stage stage)
{
	memset(k, 0, sizeof(*k));
	k->stage = stage;
	k->leading = true;
	session_params_default(&k->session);
	conn_params_default(&k->conn);
	k->ours.session = k->session;
}

/* ---- Collecting. */

static uint8_t stage_flag(enum login_stage stage)
{
	switch (stage) {
	case LOGIN_SECURITY:
		return KEY_IN_SECURITY;
	case LOGIN_OPERATIONAL:
		return KEY_IN_OPERATIONAL;
	case LOGIN_FULL_FEATURE:
		return KEY_IN_FULL_FEATURE;
	}
	return 0;
}

/* 6.2: these are answers; as proposals they are protocol errors. */
static bool is_answer(const char *value)
{
	return strcmp(value, "Reject") == 0 ||
	       strcmp(value, "Irrelevant") == 0 ||
	       strcmp(value, "NotUnderstood") == 0;
}

static bool is_negotiated(enum key_kind kind)
{
	return kind != KEY_TEXT && kind != KEY_NUMBER && kind != KEY_IGNORED;
}

static int collect_known(struct keys *k, enum key key, const char *value,
			 size_t len)
{
	const struct key_info *info = &key_table[key];

	if (len > info->value_max)
		return -EPROTO;
	if (!(info->flags & KEY_FROM_INITIATOR)) {
		/* The answer to a declaration of ours says nothing; one of its
		 * own is not the initiator's to make. */
		return is_answer(value) ? 0 : -EPROTO;
	}
	if (k->seen & key_bit(key))
		return -EPROTO;
	if (is_answer(value) && !(k->proposed & key_bit(key)))
		return -EPROTO;
	/* 6.3: a key in the wrong stage of login is a protocol error. Later, a
	 * negotiation can be answered Irrelevant. */
	if (!(info->flags & stage_flag(k->stage)) &&
	    (k->stage != LOGIN_FULL_FEATURE || !is_negotiated(info->kind)))
		return -EPROTO;
	k->seen |= key_bit(key);
	k->offer[key] = value;
	return 0;
}

int keys_collect(struct keys *k, const uint8_t *text, size_t len,
		 struct buf *out)
{
	char name[TEXT_KEY_MAX + 1];
	size_t cursor = 0, value_len;
	const char *value;
	enum key key;
	int rc;

	memset(k->offer, 0, sizeof(k->offer));
	while ((rc = text_next(text, len, &cursor, name, sizeof(name), &value,
			       &value_len)) > 0) {
		if (++k->count > KEYS_MAX)
			return -EPROTO;
		key = key_find(name);
		if (key == KEY_COUNT) {
			/* Never an answer to an answer. */
			if (!is_answer(value))
				text_add(out, name, "NotUnderstood");
			continue;
		}
		rc = collect_known(k, key, value, value_len);
		if (rc < 0)
			return rc;
	}
	return rc;
}

const char *keys_offer(const struct keys *k, enum key key)
{
	ASSERT(key < KEY_COUNT);
	return k->offer[key];
}

/* ---- Answering. */

static bool same_text(const char *p, size_t len, const char *word)
{
	return strlen(word) == len && memcmp(p, word, len) == 0;
}

int key_list_choose(const char *list, const char *const *values,
		    uint32_t allowed)
{
	for (const char *p = list;; p++) {
		size_t len = strcspn(p, ",");

		for (int i = 0; values[i] != NULL; i++) {
			if ((allowed & 1u << i) && same_text(p, len, values[i]))
				return i;
		}
		p += len;
		if (*p == '\0')
			return -1;
	}
}

static uint32_t list_allowed(const struct keys *k, enum key key)
{
	/* One connection answers in order, which is the fence; several do not. */
	if (key == KEY_TASK_REPORTING)
		return k->session.max_connections == 1
			       ? REPORT_PLAIN | REPORT_FENCE
			       : REPORT_PLAIN;
	if (key == KEY_HEADER_DIGEST && k->ours.need_header_digest)
		return DIGEST_CRC32C;
	if (key == KEY_DATA_DIGEST && k->ours.need_data_digest)
		return DIGEST_CRC32C;
	return DIGEST_NONE | DIGEST_CRC32C;
}

static void answer_list(struct keys *k, enum key key, const char *offer,
			struct buf *out)
{
	const struct key_info *info = &key_table[key];
	int i = key_list_choose(offer, info->values, list_allowed(k, key));

	if (i < 0) {
		text_add(out, info->name, "Reject");
		return;
	}
	key_store(&k->session, &k->conn, key, (uint32_t)i);
	text_add(out, info->name, info->values[i]);
}

static void answer_bool(struct keys *k, enum key key, const char *offer,
			struct buf *out)
{
	const struct key_info *info = &key_table[key];
	bool ours = key_load(&k->ours.session, key) != 0;
	bool yes = strcmp(offer, "Yes") == 0;

	if (!yes && strcmp(offer, "No") != 0) {
		text_add(out, info->name, "Reject");
		return;
	}
	yes = info->kind == KEY_AND ? (yes && ours) : (yes || ours);
	key_store(&k->session, &k->conn, key, yes);
	text_add_bool(out, info->name, yes);
}

/* The most that we may say to @key, by the rules that bind several keys. */
static uint32_t bound(const struct keys *k, enum key key)
{
	const struct session_params *s = &k->session;

	if (key == KEY_FIRST_BURST_LENGTH) /* 13.14 */
		return s->max_burst_length;
	/* 13.19: with recovery and sequences in order (always, here), one R2T
	 * at a time. */
	if (key == KEY_MAX_OUTSTANDING_R2T && s->error_recovery_level > 0)
		return 1;
	if (key == KEY_ERROR_RECOVERY_LEVEL && s->max_outstanding_r2t > 1)
		return 0;
	/* 13.23, see list_allowed() */
	if (key == KEY_MAX_CONNECTIONS &&
	    s->task_reporting != TASK_REPORTING_RFC3720)
		return 1;
	return key_table[key].max;
}

static void answer_number(struct keys *k, enum key key, const char *offer,
			  struct buf *out)
{
	const struct key_info *info = &key_table[key];
	uint32_t ours = key_load(&k->ours.session, key);
	uint32_t value;

	if (parse_u32(offer, info->min, info->max, &value) < 0) {
		text_add(out, info->name, "Reject");
		return;
	}
	if (info->kind == KEY_MAX) {
		value = MAX(value, ours);
	} else {
		value = MIN(value, ours);
		value = MIN(value, bound(k, key));
	}
	key_store(&k->session, &k->conn, key, value);
	text_add_u32(out, info->name, value);
}

/* The initiator answers a proposal of ours (keys_settle()). */
static int take_answer(struct keys *k, enum key key, const char *answer)
{
	const struct key_info *info = &key_table[key];
	uint32_t value;

	k->proposed &= ~key_bit(key);
	if (strcmp(answer, "NotUnderstood") == 0)
		return -EPROTO;
	if (is_answer(answer))
		return 0;
	if (info->kind == KEY_LIST) {
		if (strcmp(answer, digest_values[1]) != 0)
			return -EPROTO;
		key_store(&k->session, &k->conn, key, 1);
		return 0;
	}
	ASSERT(info->kind == KEY_MIN);
	if (parse_u32(answer, info->min, bound(k, key), &value) < 0)
		return -EPROTO;
	key_store(&k->session, &k->conn, key, value);
	return 0;
}

static bool is_irrelevant(const struct keys *k, const struct key_info *info)
{
	if (k->stage == LOGIN_FULL_FEATURE)
		return true;
	if (k->discovery && (info->flags & KEY_NOT_IN_DISCOVERY))
		return true;
	return !k->leading && (info->flags & KEY_LEADING);
}

static void answer_negotiated(struct keys *k, enum key key, const char *offer,
			      struct buf *out)
{
	const struct key_info *info = &key_table[key];

	if (info->kind == KEY_OBSOLETE_RANGE)
		text_add(out, info->name, "Reject");
	else if (is_irrelevant(k, info))
		text_add(out, info->name, "Irrelevant");
	else if (info->kind == KEY_OBSOLETE_BOOL)
		text_add_bool(out, info->name, false);
	else if (info->kind == KEY_LIST)
		answer_list(k, key, offer, out);
	else if (key_is_bool(info->kind))
		answer_bool(k, key, offer, out);
	else
		answer_number(k, key, offer, out);
}

int keys_answer(struct keys *k, struct buf *out)
{
	for (enum key key = 0; key < KEY_COUNT; key++) {
		const struct key_info *info = &key_table[key];
		const char *offer = k->offer[key];
		uint32_t value;
		int rc;

		if (offer == NULL)
			continue;
		if (k->proposed & key_bit(key)) {
			rc = take_answer(k, key, offer);
			if (rc < 0)
				return rc;
		} else if (info->kind == KEY_NUMBER) {
			if (parse_u32(offer, info->min, info->max, &value) < 0)
				return -EPROTO;
			key_store(&k->session, &k->conn, key, value);
		} else if (is_negotiated(info->kind)) {
			answer_negotiated(k, key, offer, out);
		}
	}
	return 0;
}

/* ---- Rules that bind several keys. */

/* 1: proposed now; -EPROTO: it was said already. */
static int propose(struct keys *k, enum key key)
{
	if ((k->seen | k->proposed) & key_bit(key))
		return -EPROTO;
	k->proposed |= key_bit(key);
	return 1;
}

static int settle_digest(struct keys *k, enum key key, bool need, bool have,
			 struct buf *out)
{
	int rc;

	if (!need || have)
		return 0;
	rc = propose(k, key);
	if (rc > 0)
		text_add(out, key_table[key].name, digest_values[1]);
	return rc;
}

static int settle_burst(struct keys *k, struct buf *out)
{
	const struct session_params *s = &k->session;
	int rc;

	/* 13.14: irrelevant when nothing comes unsolicited. */
	if (k->discovery || !k->leading ||
	    (s->initial_r2t && !s->immediate_data) ||
	    s->first_burst_length <= s->max_burst_length)
		return 0;
	rc = propose(k, KEY_FIRST_BURST_LENGTH);
	if (rc > 0)
		text_add_u32(out, key_table[KEY_FIRST_BURST_LENGTH].name,
			     s->max_burst_length);
	return rc;
}

int keys_settle(struct keys *k, struct buf *out)
{
	int header, data, burst;

	header = settle_digest(k, KEY_HEADER_DIGEST, k->ours.need_header_digest,
			       k->conn.header_digest, out);
	data = settle_digest(k, KEY_DATA_DIGEST, k->ours.need_data_digest,
			     k->conn.data_digest, out);
	burst = settle_burst(k, out);
	if (header < 0 || data < 0 || burst < 0)
		return -EPROTO;
	return header + data + burst > 0;
}

/* ---- Full feature phase. */

void keys_text_begin(struct keys_text *t, bool discovery,
		     const struct session_params *session,
		     const struct conn_params *now)
{
	memset(t, 0, sizeof(*t));
	keys_init(&t->keys, LOGIN_FULL_FEATURE);
	t->keys.leading = false;
	t->keys.discovery = discovery;
	t->keys.session = *session;
	t->keys.conn = *now;
}

int keys_full_feature(struct keys_text *t, const uint8_t *text, size_t len,
		      struct buf *out)
{
	const char *value;
	int rc;

	rc = keys_collect(&t->keys, text, len, out);
	if (rc == 0)
		rc = keys_answer(&t->keys, out);
	if (rc < 0)
		return rc;

	value = keys_offer(&t->keys, KEY_SEND_TARGETS);
	if (value != NULL) {
		t->send_targets = true;
		if (!str_copy(t->send_targets_value,
			      sizeof(t->send_targets_value), value))
			return -EPROTO;
	}
	value = keys_offer(&t->keys, KEY_INITIATOR_ALIAS);
	if (value != NULL) {
		t->alias = true;
		ASSERT(strlen(value) <= KEY_VALUE_MAX);
		str_copy(t->initiator_alias, sizeof(t->initiator_alias), value);
	}
	return 0;
}
