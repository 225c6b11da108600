/* SPDX-License-Identifier: BSD-3-Clause */
/* JSON-RPC over a stream that is cut anywhere. */
#include "../unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "control/control_priv.h"
#include "control/jsonrpc.h"

#define OUT_MAX (32u << 20)

struct session {
	struct jsonrpc j;
	struct buf out;
	struct rpc_call *later[JSONRPC_CALLS_MAX + 8];
	uint32_t nlater, ended;
};

static void finish(struct rpc_call *call, json_t *result)
{
	call->result = result;
	call->done(call);
}

/*
 * The methods of this test: "echo" gives its params, "later" ends when the
 * test says so, everything else is not found.
 */
static void start(struct jsonrpc *j, struct rpc_call *call)
{
	struct session *s = container_of(j, struct session, j);

	if (strcmp(call->name, "echo") == 0) {
		finish(call,
		       call->params ? json_incref(call->params) : json_true());
		return;
	}
	if (strcmp(call->name, "later") == 0) {
		assert_true(s->nlater < ARRAY_LEN(s->later));
		s->later[s->nlater++] = call;
		return;
	}
	call->code = RPC_METHOD_NOT_FOUND;
	strcpy(call->message, "Method not found");
	call->done(call);
}

static void keep(struct jsonrpc *j, char *text, size_t len)
{
	struct session *s = container_of(j, struct session, j);

	assert_int_equal(text[len - 1], '\n');
	buf_append(&s->out, text, len);
	free(text);
}

static void ended(struct jsonrpc *j)
{
	container_of(j, struct session, j)->ended++;
}

static const struct jsonrpc_ops ops = {
	.start = start,
	.send = keep,
	.ended = ended,
};

static struct session *session_new(void)
{
	struct session *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	buf_init(&s->out, OUT_MAX);
	jsonrpc_init(&s->j, &ops, NULL);
	return s;
}

static void session_free(struct session *s)
{
	jsonrpc_deinit(&s->j);
	buf_deinit(&s->out);
	free(s);
}

static const char *output(struct session *s)
{
	buf_append_byte(&s->out, '\0');
	return (const char *)s->out.data;
}

/* Each piece in memory of its own, so that reads past it are seen. */
static void feed(struct session *s, const char *text, size_t len)
{
	uint8_t *piece = malloc(len ? len : 1);

	assert_non_null(piece);
	memcpy(piece, text, len);
	jsonrpc_feed(&s->j, piece, len);
	free(piece);
}

#define R(id, result) \
	"{\"jsonrpc\":\"2.0\",\"id\":" id ",\"result\":" result "}"
#define E(id, code, message)                                           \
	"{\"jsonrpc\":\"2.0\",\"id\":" id ",\"error\":{\"code\":" code \
	",\"message\":\"" message "\"}}"

static const struct {
	const char *in, *out;
	bool broken;
} rows[] = {
	{"{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"id\":1}",
	 R("1", "true") "\n", false},
	/* The id comes back as it was: text, number, null. */
	{"{\"method\":\"echo\",\"id\":\"a\\u00e9\\\"\"}",
	 R("\"a\xc3\xa9\\\"\"", "true") "\n", false},
	{"{\"method\":\"echo\",\"id\":-7}", R("-7", "true") "\n", false},
	{"{\"method\":\"echo\",\"id\":1.5}", R("1.5", "true") "\n", false},
	{"{\"method\":\"echo\",\"id\":null}", R("null", "true") "\n", false},
	{"{\"method\":\"echo\",\"id\":1,\"params\":null}", R("1", "true") "\n",
	 false},
	{"{\"method\":\"echo\",\"id\":1,\"params\":{\"a\":[1,{}]}}",
	 R("1", "{\"a\":[1,{}]}") "\n", false},
	{"{\"method\":\"nosuch\",\"id\":1}",
	 E("1", "-32601", "Method not found") "\n", false},
	/* Notifications are silent, whatever becomes of them. */
	{"{\"method\":\"echo\"}{\"method\":\"nosuch\"}", "", false},
	/* One after the other, with and without something between. */
	{"{\"method\":\"echo\",\"id\":1}{\"method\":\"echo\",\"id\":2}\n\n "
	 "{\"method\":\"echo\",\"id\":3}\r\n",
	 R("1", "true") "\n" R("2", "true") "\n" R("3", "true") "\n", false},
	/* Requests that are none. */
	{"{\"id\":1}",
	 E("1", "-32600", "Invalid request: method is not a string") "\n",
	 false},
	{"{\"method\":1,\"id\":1}",
	 E("1", "-32600", "Invalid request: method is not a string") "\n",
	 false},
	{"{\"method\":\"echo\",\"id\":1,\"jsonrpc\":\"1.0\"}",
	 E("1", "-32600", "Invalid request: jsonrpc is not \\\"2.0\\\"") "\n",
	 false},
	{"{\"method\":\"echo\",\"id\":1,\"x\":1}",
	 E("1", "-32600", "Invalid request: unknown member") "\n", false},
	{"{\"method\":\"echo\",\"id\":{}}",
	 E("null", "-32600",
	   "Invalid request: id is not a string or number") "\n",
	 false},
	{"{\"method\":\"echo\",\"id\":1,\"params\":3}",
	 E("1", "-32600", "Invalid request: params is not an object") "\n",
	 false},
	{"\"text\" true ",
	 E("null", "-32600", "Invalid request: not an object") "\n" E(
		 "null", "-32600", "Invalid request: not an object") "\n",
	 false},
	{"17 ", E("null", "-32600", "Invalid request: not an object") "\n",
	 false},
	/* Batches: one array of answers, in order, without notifications. */
	{"[]", E("null", "-32600", "Invalid request: an empty batch") "\n",
	 false},
	{"[{\"method\":\"echo\",\"id\":1},{\"method\":\"echo\"},5,"
	 "{\"method\":\"nosuch\",\"id\":2}]",
	 "[" R("1", "true") "," E(
		 "null", "-32600",
		 "Invalid request: not an object") "," E("2", "-32601",
							 "Method not "
							 "found") "]"
								  "\n",
	 false},
	{"[{\"method\":\"echo\"},{\"method\":\"echo\"}]", "", false},
	/* Not JSON: the answer, and the end. */
	{"}", E("null", "-32700", "Parse error") "\n", true},
	{"{\"a\" 1}", E("null", "-32700", "Parse error") "\n", true},
	{"{\"a\":tru }", E("null", "-32700", "Parse error") "\n", true},
	{"[1,]", E("null", "-32700", "Parse error") "\n", true},
	{"{\"a\":01}", E("null", "-32700", "Parse error") "\n", true},
	{"{\"a\":\"\x01\"}", E("null", "-32700", "Parse error") "\n", true},
	{"{\"a\":\"\xff\"}", E("null", "-32700", "Parse error") "\n", true},
	{"[}", E("null", "-32700", "Parse error") "\n", true},
	{"{\"method\":\"echo\",\"id\":1}x",
	 R("1", "true") "\n" E("null", "-32700", "Parse error") "\n", true},
};

static void check_split(size_t row, size_t a, size_t b)
{
	const char *in = rows[row].in;
	struct session *s = session_new();

	feed(s, in, a);
	feed(s, in + a, b - a);
	feed(s, in + b, strlen(in) - b);
	assert_string_equal(output(s), rows[row].out);
	assert_int_equal(s->j.broken, rows[row].broken);
	session_free(s);
}

/* Cut at every byte, and at every pair of bytes. */
static void test_splits(void **state)
{
	for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
		size_t len = strlen(rows[row].in);

		for (size_t a = 0; a <= len; a++) {
			check_split(row, a, a);
			check_split(row, a, a + (len - a) / 2);
		}
	}
}

static void test_bytewise(void **state)
{
	for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
		struct session *s = session_new();

		for (const char *c = rows[row].in; *c; c++)
			feed(s, c, 1);
		assert_string_equal(output(s), rows[row].out);
		session_free(s);
	}
}

static void test_number_at_the_end(void **state)
{
	struct session *s = session_new();

	feed(s, "12", 2);
	assert_int_equal(s->out.len, 0);
	jsonrpc_end(&s->j);
	assert_string_equal(
		output(s),
		E("null", "-32600", "Invalid request: not an object") "\n");
	session_free(s);
}

/* A key that is there twice: an error that names it, and life goes on. */
static void test_duplicate_key(void **state)
{
	static const char in[] = "{\"method\":\"echo\",\"id\":4,\"params\":"
				 "{\"tag\":1,\"tag\":2}}"
				 "{\"method\":\"echo\",\"id\":5}";
	struct session *s = session_new();
	const char *out;

	feed(s, in, strlen(in));
	out = output(s);
	assert_non_null(strstr(out, "\"id\":4,\"error\":{\"code\":-32602"));
	assert_non_null(strstr(out, "tag"));
	assert_non_null(strstr(out, R("5", "true")));
	session_free(s);
}

static void test_later(void **state)
{
	static const char in[] = "{\"method\":\"later\",\"id\":1}"
				 "{\"method\":\"later\",\"id\":2}"
				 "{\"method\":\"later\"}"
				 "{\"method\":\"echo\",\"id\":3}";
	struct session *s = session_new();

	feed(s, in, strlen(in));
	assert_int_equal(s->nlater, 3);
	finish(s->later[1], json_integer(2));
	finish(s->later[2], json_integer(9));
	finish(s->later[0], json_integer(1));
	assert_string_equal(output(s), R("3", "true") "\n" R("2", "2") "\n" R(
					       "1", "1") "\n");
	assert_int_equal(s->ended, 4);
	session_free(s);
}

/* A batch is answered when the last of it has ended. */
static void test_later_batch(void **state)
{
	static const char in[] = "[{\"method\":\"later\",\"id\":1},"
				 "{\"method\":\"echo\",\"id\":2},"
				 "{\"method\":\"later\",\"id\":3}]";
	struct session *s = session_new();

	feed(s, in, strlen(in));
	finish(s->later[1], json_integer(30));
	assert_int_equal(s->out.len, 0);
	finish(s->later[0], json_integer(10));
	assert_string_equal(
		output(s),
		"[" R("1", "10") "," R("2", "true") "," R("3", "30") "]"
								     "\n");
	session_free(s);
}

/* The client goes while calls are under way: they end unheard. */
static void test_abandoned(void **state)
{
	static const char in[] = "{\"method\":\"later\",\"id\":1}"
				 "[{\"method\":\"later\",\"id\":2},"
				 "{\"method\":\"later\",\"id\":3}]";
	struct session *s = session_new();

	feed(s, in, strlen(in));
	jsonrpc_deinit(&s->j);
	for (int i = 0; i < 3; i++)
		finish(s->later[i], json_true());
	assert_int_equal(s->out.len, 0);
	assert_int_equal(s->ended, 0);
	jsonrpc_init(&s->j, &ops, NULL);
	session_free(s);
}

static void test_calls_max(void **state)
{
	static const char in[] = "{\"method\":\"later\",\"id\":1}";
	const size_t len = strlen(in);
	struct session *s = session_new();

	for (uint32_t i = 0; i < JSONRPC_CALLS_MAX; i++)
		assert_int_equal(jsonrpc_feed(&s->j, (const uint8_t *)in, len),
				 len);
	assert_int_equal(jsonrpc_feed(&s->j, (const uint8_t *)in, len), 0);
	finish(s->later[0], json_true());
	assert_int_equal(jsonrpc_feed(&s->j, (const uint8_t *)in, len), len);
	for (uint32_t i = 1; i <= JSONRPC_CALLS_MAX; i++)
		finish(s->later[i], json_true());
	session_free(s);
}

static void test_hold(void **state)
{
	static const char in[] = "{\"method\":\"echo\",\"id\":1}";
	struct session *s = session_new();

	s->j.hold = true;
	assert_int_equal(jsonrpc_feed(&s->j, (const uint8_t *)in, strlen(in)),
			 0);
	s->j.hold = false;
	assert_int_equal(jsonrpc_feed(&s->j, (const uint8_t *)in, strlen(in)),
			 strlen(in));
	session_free(s);
}

/* A request of @len bytes in all, fed in pieces of 64 KiB. */
static bool big_request(size_t len)
{
	static const char head[] = "{\"method\":\"echo\",\"id\":1,\"params\":"
				   "{\"a\":\"";
	static const char tail[] = "\"}}";
	struct session *s = session_new();
	char *text = malloc(len);
	bool good;

	assert_non_null(text);
	memset(text, 'x', len);
	memcpy(text, head, strlen(head));
	memcpy(text + len - strlen(tail), tail, strlen(tail));
	for (size_t at = 0; at < len && !s->j.broken; at += 65536)
		feed(s, text + at, MIN((size_t)65536, len - at));
	good = strstr(output(s), "\"result\"") != NULL;
	assert_int_equal(s->j.broken, !good);
	free(text);
	session_free(s);
	return good;
}

static void test_request_max(void **state)
{
	assert_true(big_request(JSONRPC_REQUEST_MAX));
	assert_false(big_request(JSONRPC_REQUEST_MAX + 1));
}

/* As deep as may be, and one deeper; as many values, and one more. */
static void test_scan_limits(void **state)
{
	struct json_scan scan;
	char text[2 * JSON_DEPTH_MAX + 2];
	static char many[2 * JSON_VALUES_MAX + 4];
	size_t used;

	for (size_t d = JSON_DEPTH_MAX; d <= JSON_DEPTH_MAX + 1; d++) {
		memset(text, '[', d);
		memset(text + d, ']', d);
		json_scan_init(&scan);
		assert_int_equal(
			json_scan_feed(&scan, (uint8_t *)text, 2 * d, &used),
			d > JSON_DEPTH_MAX ? JSON_SCAN_BAD : JSON_SCAN_VALUE);
	}
	/* The array itself is a value too. */
	for (size_t n = JSON_VALUES_MAX - 1; n <= JSON_VALUES_MAX; n++) {
		size_t len = 0;

		many[len++] = '[';
		for (size_t i = 0; i < n; i++) {
			many[len++] = '1';
			many[len++] = i + 1 < n ? ',' : ']';
		}
		json_scan_init(&scan);
		assert_int_equal(
			json_scan_feed(&scan, (uint8_t *)many, len, &used),
			n >= JSON_VALUES_MAX ? JSON_SCAN_BAD : JSON_SCAN_VALUE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_splits),
		cmocka_unit_test(test_bytewise),
		cmocka_unit_test(test_number_at_the_end),
		cmocka_unit_test(test_duplicate_key),
		cmocka_unit_test(test_later),
		cmocka_unit_test(test_later_batch),
		cmocka_unit_test(test_abandoned),
		cmocka_unit_test(test_calls_max),
		cmocka_unit_test(test_hold),
		cmocka_unit_test(test_request_max),
		cmocka_unit_test(test_scan_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
