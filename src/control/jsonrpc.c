/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/jsonrpc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define DUMP_FLAGS (JSON_COMPACT | JSON_ENCODE_ANY)
#define LOAD_FLAGS (JSON_REJECT_DUPLICATES | JSON_DECODE_ANY)

/* The answers of a batch, in the order of its requests. */
struct batch {
	struct jsonrpc *j; /* NULL: nobody listens any more */
	json_t *replies;   /* NULL in the place of a notification */
	uint32_t left;
};

struct jsonrpc_call {
	struct rpc_call call;
	struct list link;  /* jsonrpc.calls */
	struct jsonrpc *j; /* NULL: nobody listens any more */
	json_t *request;
	json_t *id;	     /* borrowed; NULL: a notification */
	struct batch *batch; /* or NULL */
	uint32_t index;	     /* in it */
};

void jsonrpc_init(struct jsonrpc *j, const struct jsonrpc_ops *ops,
		  struct control *control)
{
	*j = (struct jsonrpc){.ops = ops, .control = control};
	json_scan_init(&j->scan);
	buf_init(&j->in, JSONRPC_REQUEST_MAX);
	list_init(&j->calls);
}

void jsonrpc_deinit(struct jsonrpc *j)
{
	struct jsonrpc_call *c, *tmp;

	list_for_each_safe(c, tmp, &j->calls, link) {
		list_remove(&c->link);
		c->j = NULL;
		if (c->batch)
			c->batch->j = NULL;
	}
	buf_deinit(&j->in);
}

/* ---- Replies. */

static void send_json(struct jsonrpc *j, json_t *reply)
{
	char *text = reply ? json_dumps(reply, DUMP_FLAGS) : NULL;
	size_t len;

	json_decref(reply);
	if (!text)
		text = strdup("{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":"
			      "{\"code\":-32603,\"message\":"
			      "\"Internal error: out of memory\"}}");
	if (!text)
		return;
	/* The newline takes the place of the NUL. */
	len = strlen(text);
	text[len] = '\n';
	j->ops->send(j, text, len + 1);
}

static json_t *error_reply(json_t *id, int code, const char *message)
{
	return json_pack("{s:s, s:O, s:{s:i, s:s}}", "jsonrpc", "2.0", "id",
			 id ? id : json_null(), "error", "code", code,
			 "message", message);
}

static json_t *reply_of(struct jsonrpc_call *c)
{
	json_t *result = c->call.result;

	if (result)
		return json_pack("{s:s, s:O, s:O}", "jsonrpc", "2.0", "id",
				 c->id, "result", result);
	return error_reply(c->id, c->call.code, c->call.message);
}

static void finish_batch(struct batch *b)
{
	json_t *list = json_array(), *reply;
	size_t i;

	json_array_foreach(b->replies, i, reply) {
		if (!json_is_null(reply))
			json_array_append(list, reply);
	}
	/* All were notifications: no answer at all. */
	if (b->j && json_array_size(list) > 0)
		send_json(b->j, json_incref(list));
	json_decref(list);
	json_decref(b->replies);
	free(b);
}

/* @reply (taken over) is the answer to entry @index; NULL: none is due. */
static void batch_answer(struct batch *b, uint32_t index, json_t *reply)
{
	ASSERT(b->left > 0);
	if (reply)
		json_array_set_new(b->replies, index, reply);
	if (--b->left == 0)
		finish_batch(b);
}

static void answer(struct jsonrpc *j, struct batch *b, uint32_t index,
		   json_t *reply)
{
	if (b)
		batch_answer(b, index, reply);
	else if (reply && j)
		send_json(j, reply);
	else
		json_decref(reply);
}

static void call_done(struct rpc_call *call)
{
	struct jsonrpc_call *c = container_of(call, struct jsonrpc_call, call);
	struct jsonrpc *j = c->j;
	json_t *reply = NULL;

	if (c->id && (j || c->batch))
		reply = reply_of(c);
	list_remove(&c->link);
	if (j)
		j->ncalls--;
	answer(j, c->batch, c->index, reply);
	json_decref(c->call.result);
	json_decref(c->request);
	free(c);
	if (j && j->ops->ended)
		j->ops->ended(j);
}

/* ---- Requests. */

/* What is wrong with the form of a request; NULL: nothing. */
static const char *request_fault(json_t *request)
{
	json_t *version = json_object_get(request, "jsonrpc");
	json_t *params = json_object_get(request, "params");
	json_t *id = json_object_get(request, "id");
	const char *key;
	json_t *value;

	if (!json_is_object(request))
		return "Invalid request: not an object";
	json_object_foreach(request, key, value) {
		if (strcmp(key, "jsonrpc") != 0 && strcmp(key, "method") != 0 &&
		    strcmp(key, "params") != 0 && strcmp(key, "id") != 0)
			return "Invalid request: unknown member";
	}
	if (version && (!json_is_string(version) ||
			strcmp(json_string_value(version), "2.0") != 0))
		return "Invalid request: jsonrpc is not \"2.0\"";
	if (!json_is_string(json_object_get(request, "method")))
		return "Invalid request: method is not a string";
	if (params && !json_is_object(params) && !json_is_array(params) &&
	    !json_is_null(params))
		return "Invalid request: params is not an object";
	if (id && !json_is_string(id) && !json_is_number(id) &&
	    !json_is_null(id))
		return "Invalid request: id is not a string or number";
	return NULL;
}

/* What of an id can be given back with an error. */
static json_t *usable_id(json_t *request)
{
	json_t *id = json_object_get(request, "id");

	return json_is_string(id) || json_is_number(id) ? id : NULL;
}

static void start_call(struct jsonrpc *j, json_t *request, struct batch *b,
		       uint32_t index)
{
	struct jsonrpc_call *c;
	const char *fault = request_fault(request);

	if (fault) {
		answer(j, b, index,
		       error_reply(usable_id(request), RPC_INVALID_REQUEST,
				   fault));
		return;
	}
	c = calloc(1, sizeof(*c));
	if (!c) {
		answer(j, b, index,
		       error_reply(usable_id(request), RPC_INTERNAL_ERROR,
				   "Internal error: out of memory"));
		return;
	}
	c->j = j;
	c->batch = b;
	c->index = index;
	c->request = json_incref(request);
	c->id = json_object_get(request, "id");
	list_push_back(&j->calls, &c->link);
	j->ncalls++;
	c->call.control = j->control;
	c->call.name = json_string_value(json_object_get(request, "method"));
	c->call.params = json_object_get(request, "params");
	if (json_is_null(c->call.params))
		c->call.params = NULL;
	c->call.done = call_done;
	j->ops->start(j, &c->call);
}

static void start_batch(struct jsonrpc *j, json_t *requests)
{
	size_t n = json_array_size(requests);
	struct batch *b;
	json_t *request;
	size_t i;

	if (n == 0) {
		send_json(j, error_reply(NULL, RPC_INVALID_REQUEST,
					 "Invalid request: an empty batch"));
		return;
	}
	b = calloc(1, sizeof(*b));
	if (!b) {
		send_json(j, NULL);
		return;
	}
	b->j = j;
	/* One more, so that it does not end before all have begun. */
	b->left = (uint32_t)n + 1;
	b->replies = json_array();
	for (i = 0; i < n; i++)
		json_array_append_new(b->replies, json_null());
	json_array_foreach(requests, i, request)
		start_call(j, request, b, (uint32_t)i);
	batch_answer(b, 0, NULL);
}

static void start_value(struct jsonrpc *j, json_t *value)
{
	if (json_is_array(value))
		start_batch(j, value);
	else
		start_call(j, value, NULL, 0);
}

/*
 * The grammar is right, but the value was refused. A key that is there twice
 * is a fault of the request, not of the stream: it goes on.
 */
static bool answer_bad_value(struct jsonrpc *j, const json_error_t *why)
{
	char message[JSON_ERROR_TEXT_LENGTH + 64];
	json_t *value, *id = NULL;

	if (json_error_code(why) != json_error_duplicate_key)
		return false;
	value = json_loadb((const char *)j->in.data, j->in.len, JSON_DECODE_ANY,
			   NULL);
	if (json_is_object(value))
		id = usable_id(value);
	snprintf(message, sizeof(message), "Invalid parameters: %s", why->text);
	send_json(j, error_reply(id, RPC_INVALID_PARAMS, message));
	json_decref(value);
	return true;
}

static void parse_error(struct jsonrpc *j, const char *message)
{
	j->broken = true;
	send_json(j, error_reply(NULL, RPC_PARSE_ERROR, message));
}

/* A whole value lies in @in. */
static void take_value(struct jsonrpc *j)
{
	json_error_t why;
	json_t *value;

	value = json_loadb((const char *)j->in.data, j->in.len, LOAD_FLAGS,
			   &why);
	if (!value) {
		if (!answer_bad_value(j, &why))
			parse_error(j, "Parse error");
	}
	buf_reset(&j->in);
	json_scan_init(&j->scan);
	if (!value)
		return;
	start_value(j, value);
	json_decref(value);
}

size_t jsonrpc_feed(struct jsonrpc *j, const uint8_t *buf, size_t len)
{
	size_t taken = 0, used;

	while (taken < len && !j->broken && !j->hold &&
	       j->ncalls < JSONRPC_CALLS_MAX) {
		enum json_scan_event event;

		event = json_scan_feed(&j->scan, buf + taken, len - taken,
				       &used);
		/* White space between requests is not kept. */
		if (j->scan.begun)
			buf_append(&j->in, buf + taken, used);
		taken += used;
		if (event == JSON_SCAN_BAD)
			parse_error(j, "Parse error");
		else if (j->in.failed)
			parse_error(j, "Parse error: the request is too long");
		else if (event == JSON_SCAN_VALUE)
			take_value(j);
	}
	return taken;
}

void jsonrpc_end(struct jsonrpc *j)
{
	static const uint8_t blank = ' ';

	if (j->scan.begun && j->scan.depth == 0)
		jsonrpc_feed(j, &blank, 1);
}
