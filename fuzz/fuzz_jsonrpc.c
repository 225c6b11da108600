/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * JSON-RPC. Input: a byte that says how long the pieces are, then the stream.
 * It must come to the same, however it is cut; and where our scanner ends a
 * value jansson must find one.
 */
#include "fuzz.h"

#include "control/jsonrpc.h"

#define OUT_MAX (64u << 20)

struct session {
	struct jsonrpc j;
	struct buf out;
};

/* Checks the parameters of real methods; nothing is run. */
static void start(struct jsonrpc *j, struct rpc_call *call)
{
	char why[PARAM_WHY_MAX];

	if (rpc_check(call->name, call->params, why, sizeof(why)) == 0) {
		call->result = json_true();
	} else {
		CHECK(memchr(why, '\0', sizeof(why)) != NULL);
		call->code = RPC_INVALID_PARAMS;
		snprintf(call->message, sizeof(call->message), "no");
	}
	call->done(call);
}

/* Every reply is one line, and JSON. */
static void keep(struct jsonrpc *j, char *text, size_t len)
{
	struct session *s = container_of(j, struct session, j);
	json_t *reply = json_loadb(text, len, 0, NULL);

	CHECK(len > 0 && text[len - 1] == '\n');
	CHECK(memchr(text, '\n', len - 1) == NULL);
	CHECK(reply != NULL);
	json_decref(reply);
	buf_append(&s->out, text, len);
	CHECK(!s->out.failed);
	free(text);
}

static const struct jsonrpc_ops ops = {
	.start = start,
	.send = keep,
};

static void run(struct session *s, struct input in, size_t piece)
{
	buf_init(&s->out, OUT_MAX);
	jsonrpc_init(&s->j, &ops, NULL);
	while (in.left > 0 && !s->j.broken) {
		size_t len;
		uint8_t *text = input_copy(&in, piece, &len);
		size_t used = jsonrpc_feed(&s->j, text, len);

		CHECK(used == len || (s->j.broken && used < len));
		free(text);
	}
	jsonrpc_end(&s->j);
	CHECK(s->j.ncalls == 0);
	jsonrpc_deinit(&s->j);
}

/* The scanner leaves encodings and the size of numbers to jansson. */
static bool is_jansson_matter(const json_error_t *why, const uint8_t *text,
			      size_t len)
{
	enum json_error_code code = json_error_code(why);

	/* Halves of surrogate pairs. */
	if (code == json_error_invalid_syntax)
		return memmem(text, len, "\\u", 2) != NULL;
	return code == json_error_invalid_utf8 ||
	       code == json_error_numeric_overflow ||
	       code == json_error_null_character ||
	       code == json_error_null_byte_in_key;
}

static void check_scanner(struct input in)
{
	struct json_scan scan;
	size_t used;

	json_scan_init(&scan);
	if (json_scan_feed(&scan, in.data, in.left, &used) == JSON_SCAN_VALUE) {
		json_error_t why;
		json_t *value = json_loadb((const char *)in.data, used,
					   JSON_DECODE_ANY, &why);

		CHECK(value || is_jansson_matter(&why, in.data, used));
		json_decref(value);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	size_t piece = (size_t)input_u8(&in) + 1;
	struct session whole, cut;

	check_scanner(in);
	run(&whole, in, in.left + 1);
	run(&cut, in, piece);
	CHECK(whole.j.broken == cut.j.broken);
	CHECK(whole.out.len == cut.out.len);
	CHECK(whole.out.len == 0 ||
	      memcmp(whole.out.data, cut.out.data, cut.out.len) == 0);
	buf_deinit(&whole.out);
	buf_deinit(&cut.out);
	return 0;
}
