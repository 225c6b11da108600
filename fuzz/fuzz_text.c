/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * key=value text and the rules of keys. Input: a byte of settings, then
 * segments: two bytes of length, and the text.
 */
#include "fuzz.h"

#include <errno.h>

#include "iscsi/chap.h"
#include "iscsi/keys.h"
#include "iscsi/text.h"

#define REPLY_MAX 65536u

/* KEYS_MAX unknown keys of the longest name. */
#define SEGMENT_REPLY_MAX (KEYS_MAX * (TEXT_KEY_MAX + sizeof("=NotUnderstood")))

static void walk(const uint8_t *text, size_t len)
{
	char key[TEXT_KEY_MAX + 1];
	size_t cursor = 0, before = 0, value_len;
	const char *value;
	int rc;

	while ((rc = text_next(text, len, &cursor, key, sizeof(key), &value,
			       &value_len)) == 1) {
		uint8_t binary[64];
		size_t n;

		CHECK(cursor > before && cursor <= len);
		before = cursor;
		CHECK(strlen(key) > 0 && strlen(key) <= TEXT_KEY_MAX);
		CHECK(strlen(value) == value_len);
		CHECK(value >= (const char *)text &&
		      value + value_len < (const char *)text + len);
		if (chap_decode(value, binary, sizeof(binary), &n) == 0)
			CHECK(n >= 1 && n <= sizeof(binary));
	}
	CHECK(rc == 0 || rc == -EPROTO);
}

/* What we say must be text that we would take. */
static void check_reply(const struct buf *out)
{
	char key[TEXT_KEY_MAX + 1];
	size_t cursor = 0, value_len;
	const char *value;
	int rc;

	CHECK(!out->failed);
	CHECK(out->len <= SEGMENT_REPLY_MAX);
	while ((rc = text_next(out->data, out->len, &cursor, key, sizeof(key),
			       &value, &value_len)) == 1)
		CHECK(value_len <= KEY_VALUE_MAX);
	CHECK(rc == 0);
}

static void check_params(const struct keys *k)
{
	const struct session_params *s = &k->session;

	CHECK(s->max_connections >= 1 && s->max_connections <= 65535);
	CHECK(s->max_burst_length >= 512 &&
	      s->max_burst_length <= ISCSI_LENGTH_MAX);
	CHECK(s->first_burst_length >= 512 &&
	      s->first_burst_length <= ISCSI_LENGTH_MAX);
	CHECK(s->default_time2wait <= 3600 && s->default_time2retain <= 3600);
	CHECK(s->max_outstanding_r2t >= 1 && s->max_outstanding_r2t <= 65535);
	CHECK(s->error_recovery_level <= 2);
	CHECK(s->error_recovery_level == 0 || s->max_outstanding_r2t == 1);
	CHECK(s->protocol_level <= 31);
	CHECK(s->task_reporting == TASK_REPORTING_RFC3720 ||
	      s->max_connections == 1);
	CHECK(s->data_pdu_in_order && s->data_sequence_in_order);
	CHECK(k->conn.max_xmit_data_segment_length >= ISCSI_MRDSL_MIN &&
	      k->conn.max_xmit_data_segment_length <= ISCSI_LENGTH_MAX);
}

static void ours(struct keys *k, uint8_t settings)
{
	struct session_params *s = &k->ours.session;

	s->max_connections = settings & 0x10 ? 8 : 1;
	s->initial_r2t = settings & 0x08;
	s->max_burst_length = 1048576;
	s->max_outstanding_r2t = 16;
	s->error_recovery_level = 2;
	s->protocol_level = 2;
	k->ours.need_header_digest = settings & 0x20;
	k->ours.need_data_digest = settings & 0x40;
}

static void negotiate(struct input in, uint8_t settings, enum login_stage stage)
{
	struct keys *k = malloc(sizeof(*k));
	struct buf out;
	int rc = 0;

	CHECK(k != NULL);
	keys_init(k, stage);
	k->leading = settings & 0x01;
	k->discovery = settings & 0x02;
	ours(k, settings);
	buf_init(&out, REPLY_MAX);
	while (in.left > 0 && rc == 0) {
		size_t len;
		uint8_t *text = input_copy(&in, input_u16(&in), &len);

		buf_reset(&out);
		rc = keys_collect(k, text, len, &out);
		if (rc == 0)
			rc = keys_answer(k, &out);
		check_reply(&out);
		check_params(k);
		if (rc == 0 && (settings & 0x04) && keys_settle(k, &out) == 0 &&
		    k->leading && !k->discovery) {
			CHECK(k->session.first_burst_length <=
				      k->session.max_burst_length ||
			      (k->session.initial_r2t &&
			       !k->session.immediate_data));
			CHECK(k->conn.header_digest ||
			      !k->ours.need_header_digest);
			CHECK(k->conn.data_digest || !k->ours.need_data_digest);
		}
		free(text);
	}
	CHECK(rc == 0 || rc == -EPROTO);
	buf_deinit(&out);
	free(k);
}

static void full_feature(struct input in, uint8_t settings)
{
	struct keys_text *t = malloc(sizeof(*t));
	struct session_params session;
	struct conn_params conn;
	struct buf out;
	int rc = 0;

	CHECK(t != NULL);
	session_params_default(&session);
	conn_params_default(&conn);
	keys_text_begin(t, settings & 0x02, &session, &conn);
	buf_init(&out, REPLY_MAX);
	while (in.left > 0 && rc == 0) {
		size_t len;
		uint8_t *text = input_copy(&in, input_u16(&in), &len);

		buf_reset(&out);
		rc = keys_full_feature(t, text, len, &out);
		check_reply(&out);
		/* Nothing of the session changes in this phase. */
		CHECK(memcmp(&t->keys.session, &session, sizeof(session)) == 0);
		free(text);
	}
	buf_deinit(&out);
	free(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size}, walked;
	uint8_t settings = input_u8(&in);

	walked = in;
	while (walked.left > 0) {
		size_t len;
		uint8_t *text = input_copy(&walked, input_u16(&walked), &len);

		walk(text, len);
		free(text);
	}
	negotiate(in, settings, LOGIN_SECURITY);
	negotiate(in, settings, LOGIN_OPERATIONAL);
	full_feature(in, settings);
	return 0;
}
