/* SPDX-License-Identifier: BSD-3-Clause */
#include "iscsi/login.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/macros.h"
#include "iscsi/login_priv.h"
#include "iscsi/text.h"
#include "target/target.h"

/* The one version that there is (11.12.4). */
#define ISCSI_VERSION 0u

/* Offsets of the login PDUs alone (11.12, 11.13). */
enum {
	LOGIN_VERSION_MAX = 2,
	LOGIN_VERSION_MIN = 3,
	LOGIN_ISID = 8,
	LOGIN_TSIH = 14,
	LOGIN_CID = 20,
	LOGIN_STATUS_CLASS = 36,
	LOGIN_STATUS_DETAIL = 37,
};
#define LOGIN_CSG(flags) ((flags) >> 2 & 3u)
#define LOGIN_NSG(flags) ((flags)&3u)

int login_init(struct login *login, struct login_env *env)
{
	struct login_state *st = calloc(1, sizeof(*st));

	if (st == NULL)
		return -ENOMEM;
	memset(login, 0, sizeof(*login));
	login->env = env;
	login->state = st;
	login->status = LOGIN_OK;
	buf_init(&st->text, LOGIN_TEXT_MAX);
	buf_init(&st->reply, LOGIN_TEXT_MAX);
	return 0;
}

void login_deinit(struct login *login)
{
	struct login_state *st = take(&login->state);

	if (st == NULL)
		return;
	buf_deinit(&st->text);
	buf_deinit(&st->reply);
	wipe(st, sizeof(*st));
	free(st);
}

/* ---- Responses. */

static void fill_bhs(struct login *login, uint8_t flags, uint8_t *bhs,
		     uint32_t data_len)
{
	const struct login_state *st = login->state;

	memset(bhs, 0, BHS_LEN);
	bhs[BHS_OPCODE] = ISCSI_LOGIN_RESPONSE;
	bhs[BHS_FLAGS] = flags;
	bhs[LOGIN_VERSION_MAX] = ISCSI_VERSION;
	bhs[LOGIN_VERSION_MIN] = ISCSI_VERSION; /* -active */
	store_be24(bhs + BHS_DSL, data_len);
	memcpy(bhs + LOGIN_ISID, login->isid, sizeof(login->isid));
	store_be16(bhs + LOGIN_TSIH, login->tsih);
	store_be32(bhs + BHS_ITT, st->itt);
	store_be32(bhs + BHS_STATSN, login->statsn++);
	store_be32(bhs + BHS_EXPCMDSN, login->cmdsn);
	store_be32(bhs + BHS_MAXCMDSN, login->cmdsn);
	bhs[LOGIN_STATUS_CLASS] = (uint8_t)(login->status >> 8);
	bhs[LOGIN_STATUS_DETAIL] = (uint8_t)login->status;
}

/* The next of what there is to say; @transit: the T bit, to @next. */
static void emit(struct login *login, bool transit, enum login_stage next,
		 uint8_t *rsp_bhs, struct buf *rsp_data)
{
	struct login_state *st = login->state;
	size_t n = MIN(st->reply.len, (size_t)LOGIN_DATA_MAX);
	uint8_t flags = (uint8_t)(st->stage << 2);

	st->draining = n < st->reply.len;
	ASSERT(!(transit && st->draining));
	if (st->draining)
		flags |= LOGIN_FLAG_CONTINUE;
	if (transit)
		flags |= LOGIN_FLAG_TRANSIT | next;
	buf_append(rsp_data, st->reply.data, n);
	buf_consume(&st->reply, n);
	fill_bhs(login, flags, rsp_bhs, (uint32_t)n);
}

static enum login_verdict fail(struct login *login, enum login_status status,
			       uint8_t *rsp_bhs, struct buf *rsp_data)
{
	struct login_state *st = login->state;

	ASSERT(status != LOGIN_OK);
	st->over = true;
	login->status = status;
	buf_reset(rsp_data);
	/* 11.13.5: class 1 says where to. */
	if (status >> 8 == 1)
		text_add(rsp_data, "TargetAddress", st->redirect);
	else if (status == LOGIN_AUTH_FAILED && st->auth_rejected)
		text_add(rsp_data, "AuthMethod", "Reject");
	/* T, CSG and NSG are reserved (6.3.1). */
	fill_bhs(login, 0, rsp_bhs, (uint32_t)rsp_data->len);
	return LOGIN_FAIL;
}

/* ---- The header. */

static void take_first(struct login *login, const uint8_t *bhs)
{
	struct login_state *st = login->state;

	st->started = true;
	memcpy(login->isid, bhs + LOGIN_ISID, sizeof(login->isid));
	login->tsih = load_be16(bhs + LOGIN_TSIH);
	login->cid = load_be16(bhs + LOGIN_CID);
	login->cmdsn = load_be32(bhs + BHS_CMDSN);
	/* Ours to choose; so an initiator that never acknowledges is right. */
	login->statsn = load_be32(bhs + BHS_EXPSTATSN);
	st->itt = load_be32(bhs + BHS_ITT);
	st->stage = LOGIN_CSG(bhs[BHS_FLAGS]);
}

/* Is it the same login as in the first request (11.12.4 to 11.12.9)? */
static bool same_login(const struct login *login, const uint8_t *bhs)
{
	const struct login_state *st = login->state;
	int32_t commands = (int32_t)(load_be32(bhs + BHS_CMDSN) - login->cmdsn);
	int32_t unsent =
		(int32_t)(load_be32(bhs + BHS_EXPSTATSN) - login->statsn);

	/* Commands of other connections may come between. */
	if (commands < 0 || (commands > 0 && login->tsih == 0))
		return false;
	return memcmp(login->isid, bhs + LOGIN_ISID, sizeof(login->isid)) ==
		       0 &&
	       login->tsih == load_be16(bhs + LOGIN_TSIH) &&
	       login->cid == load_be16(bhs + LOGIN_CID) &&
	       st->itt == load_be32(bhs + BHS_ITT) && unsent <= 0;
}

static enum login_status check_header(struct login *login, const uint8_t *bhs,
				      uint32_t data_len)
{
	struct login_state *st = login->state;
	uint8_t flags = bhs[BHS_FLAGS];
	unsigned int csg = LOGIN_CSG(flags), nsg = LOGIN_NSG(flags);

	if (!st->started)
		take_first(login, bhs);
	else if (!same_login(login, bhs))
		return LOGIN_INITIATOR_ERROR;
	if (bhs[LOGIN_VERSION_MIN] > ISCSI_VERSION ||
	    bhs[LOGIN_VERSION_MAX] < bhs[LOGIN_VERSION_MIN])
		return LOGIN_BAD_VERSION;
	if (bhs[BHS_AHS_WORDS] != 0 || st->itt == RESERVED_TAG)
		return LOGIN_INITIATOR_ERROR;
	if (csg != st->stage || csg > LOGIN_OPERATIONAL)
		return LOGIN_INITIATOR_ERROR;
	if (flags & LOGIN_FLAG_TRANSIT) {
		/* 11.12.2; 6.3: the table of transitions. */
		if ((flags & LOGIN_FLAG_CONTINUE) || nsg <= csg || nsg == 2)
			return LOGIN_INITIATOR_ERROR;
	}
	/* 6.2: what is not said yet is asked for with an empty request. */
	if (st->draining && (data_len > 0 || (flags & LOGIN_FLAG_CONTINUE)))
		return LOGIN_INITIATOR_ERROR;
	if (++st->pdus > LOGIN_PDUS_MAX)
		return LOGIN_INITIATOR_ERROR;
	return LOGIN_OK;
}

/* ---- Names. */

static enum login_status read_session_type(struct login *login)
{
	const char *type = keys_offer(&login->state->keys, KEY_SESSION_TYPE);

	/* 13.21: Normal is the default. */
	if (type == NULL || strcmp(type, "Normal") == 0)
		return LOGIN_OK;
	if (strcmp(type, "Discovery") != 0)
		return LOGIN_SESSION_TYPE;
	login->discovery = true;
	/* A discovery session has one connection. */
	return login->tsih == 0 ? LOGIN_OK : LOGIN_NOT_IN_SESSION;
}

static enum login_status read_initiator_name(struct login *login)
{
	const char *name = keys_offer(&login->state->keys, KEY_INITIATOR_NAME);

	if (name == NULL)
		return LOGIN_MISSING_PARAMETER;
	if (name[0] == '\0' || !str_copy(login->initiator_name,
					 sizeof(login->initiator_name), name))
		return LOGIN_INITIATOR_ERROR;
	str_lower(login->initiator_name);
	return LOGIN_OK;
}

static enum login_status read_target_name(struct login *login)
{
	struct login_state *st = login->state;
	const char *name = keys_offer(&st->keys, KEY_TARGET_NAME);
	struct login_env *env = login->env;
	enum login_status status;

	if (login->discovery)
		return LOGIN_OK;
	if (name == NULL || name[0] == '\0')
		return LOGIN_MISSING_PARAMETER;
	if (!str_copy(login->target_name, sizeof(login->target_name), name))
		return LOGIN_NOT_FOUND;
	str_lower(login->target_name);
	status = env->find_target(env, login->target_name,
				  login->initiator_name, &login->node,
				  st->redirect, sizeof(st->redirect));
	ASSERT(status != LOGIN_OK || login->node != NULL);
	return status;
}

/* What the target, or discovery, wants of the negotiation. */
static void set_ours(struct login *login)
{
	const struct iscsi_options *o = login->env->options;
	struct keys *k = &login->state->keys;
	struct session_params *s = &k->ours.session;

	k->leading = login->tsih == 0;
	k->discovery = login->discovery;
	k->ours.need_header_digest = login->node && login->node->header_digest;
	k->ours.need_data_digest = login->node && login->node->data_digest;

	session_params_default(s);
	s->initial_r2t = o->initial_r2t;
	s->immediate_data = o->immediate_data;
	s->max_burst_length = o->max_burst_length;
	s->first_burst_length = MIN(o->first_burst_length, o->max_burst_length);
	s->default_time2wait = o->default_time2wait;
	s->default_time2retain = o->default_time2retain;
	s->max_outstanding_r2t = o->max_outstanding_r2t;
	s->protocol_level = ISCSI_PROTOCOL_LEVEL_SUPPORTED;
	/* 13.21: one connection and level 0 in discovery. */
	if (login->discovery)
		return;
	s->max_connections = MIN(o->max_connections_per_session,
				 ISCSI_CONNECTIONS_SUPPORTED);
	s->error_recovery_level =
		MIN(o->error_recovery_level, ISCSI_ERL_SUPPORTED);
}

/* The first segment says who, to whom, and what for. */
static enum login_status read_names(struct login *login)
{
	struct login_state *st = login->state;
	enum login_status status;

	status = read_session_type(login);
	if (status == LOGIN_OK)
		status = read_initiator_name(login);
	if (status == LOGIN_OK)
		status = read_target_name(login);
	if (status != LOGIN_OK)
		return status;
	st->named = true;
	set_ours(login);

	/* 6.3.1: security was skipped. */
	if (st->stage != LOGIN_SECURITY &&
	    login_auth_policy(login)->require_chap)
		return LOGIN_AUTH_FAILED;

	/* 6.3.1, 13.6, 13.9 */
	text_add_u32(&st->reply, "TargetPortalGroupTag", login->env->pg->tag);
	if (login->node != NULL && login->node->alias[0] != '\0')
		text_add(&st->reply, "TargetAlias", login->node->alias);
	return LOGIN_OK;
}

/* Names that come late: 6.3 has them in the first request. */
static bool late_names(const struct keys *k)
{
	return keys_offer(k, KEY_INITIATOR_NAME) != NULL ||
	       keys_offer(k, KEY_TARGET_NAME) != NULL ||
	       keys_offer(k, KEY_SESSION_TYPE) != NULL;
}

/* ---- Text. */

static void declare(struct login *login)
{
	struct login_state *st = login->state;
	struct conn_params *conn = &st->keys.conn;

	if (st->declared || st->stage != LOGIN_OPERATIONAL)
		return;
	st->declared = true;
	conn->max_recv_data_segment_length =
		login->env->options->max_recv_data_segment_length;
	text_add_u32(&st->reply, "MaxRecvDataSegmentLength",
		     conn->max_recv_data_segment_length);
}

static enum login_status negotiate(struct login *login)
{
	struct login_state *st = login->state;
	enum login_status status = LOGIN_OK;
	const char *alias;

	if (!st->named)
		status = read_names(login);
	else if (late_names(&st->keys))
		status = LOGIN_INITIATOR_ERROR;
	if (status == LOGIN_OK && st->stage == LOGIN_SECURITY)
		status = login_auth_step(login);
	if (status != LOGIN_OK)
		return status;

	alias = keys_offer(&st->keys, KEY_INITIATOR_ALIAS);
	if (alias != NULL)
		str_copy(login->initiator_alias, sizeof(login->initiator_alias),
			 alias);
	if (keys_answer(&st->keys, &st->reply) < 0)
		return LOGIN_INITIATOR_ERROR;
	declare(login);
	return LOGIN_OK;
}

/* A whole segment is in st->text. */
static enum login_status take_segment(struct login *login)
{
	struct login_state *st = login->state;
	enum login_status status;

	if (!st->named)
		keys_init(&st->keys, st->stage);
	st->keys.stage = st->stage;
	if (keys_collect(&st->keys, st->text.data, st->text.len, &st->reply) <
	    0)
		return LOGIN_INITIATOR_ERROR;
	status = negotiate(login);
	/* The offers pointed into it. */
	memset(st->keys.offer, 0, sizeof(st->keys.offer));
	buf_reset(&st->text);
	if (status == LOGIN_OK && st->reply.failed)
		return LOGIN_NO_RESOURCES;
	return status;
}

static enum login_status take_text(struct login *login, const uint8_t *data,
				   uint32_t data_len)
{
	struct login_state *st = login->state;

	st->text_total += data_len;
	if (st->text_total > LOGIN_TEXT_MAX)
		return LOGIN_INITIATOR_ERROR;
	if (data_len > 0)
		buf_append(&st->text, data, data_len);
	return st->text.failed ? LOGIN_NO_RESOURCES : LOGIN_OK;
}

/* ---- Stages. */

/*
 * The initiator wants to go on to *next: may it? *ret_go says so; a status
 * other than LOGIN_OK ends the login.
 */
static enum login_status leave_stage(struct login *login,
				     enum login_stage *next, bool *ret_go)
{
	struct login_state *st = login->state;
	struct keys *k = &st->keys;
	enum login_status status;
	bool wait = false;
	int rc;

	*ret_go = false;
	if (st->stage == LOGIN_SECURITY) {
		status = login_auth_leave(login, &wait);
		if (status != LOGIN_OK || wait)
			return status;
		/* There is something that we must agree on first. */
		if (*next == LOGIN_FULL_FEATURE &&
		    (k->ours.need_header_digest || k->ours.need_data_digest))
			*next = LOGIN_OPERATIONAL;
		*ret_go = true;
		return LOGIN_OK;
	}
	/* A proposal that is still being said cannot have been answered. */
	if (st->draining && k->proposed != 0)
		return LOGIN_OK;
	rc = keys_settle(k, &st->reply);
	if (rc < 0)
		return LOGIN_INITIATOR_ERROR;
	*ret_go = rc == 0;
	return LOGIN_OK;
}

static enum login_verdict respond(struct login *login, uint8_t flags,
				  uint8_t *rsp_bhs, struct buf *rsp_data)
{
	struct login_state *st = login->state;
	enum login_stage next = LOGIN_NSG(flags);
	enum login_status status;
	bool go = false;

	if ((flags & LOGIN_FLAG_TRANSIT) && st->reply.len <= LOGIN_DATA_MAX) {
		status = leave_stage(login, &next, &go);
		if (status != LOGIN_OK)
			return fail(login, status, rsp_bhs, rsp_data);
	}
	if (st->reply.failed)
		return fail(login, LOGIN_NO_RESOURCES, rsp_bhs, rsp_data);
	if (go && next == LOGIN_FULL_FEATURE) {
		st->admitted = true;
		login->session = st->keys.session;
		login->conn = st->keys.conn;
		return LOGIN_ADMIT;
	}
	emit(login, go, next, rsp_bhs, rsp_data);
	if (go)
		st->stage = next;
	return LOGIN_RESPOND;
}

enum login_verdict login_step(struct login *login, const uint8_t *bhs,
			      const uint8_t *data, uint32_t data_len,
			      uint8_t *rsp_bhs, struct buf *rsp_data)
{
	struct login_state *st = login->state;
	uint8_t flags = bhs[BHS_FLAGS];
	enum login_status status;
	bool draining;

	ASSERT(!st->over && !st->admitted);
	ASSERT(data_len <= LOGIN_DATA_MAX);
	buf_reset(rsp_data);
	if ((bhs[BHS_OPCODE] & ISCSI_OPCODE_MASK) != ISCSI_LOGIN_REQUEST) {
		if (!st->started) {
			st->over = true;
			return LOGIN_DROP;
		}
		return fail(login, LOGIN_INVALID_REQUEST, rsp_bhs, rsp_data);
	}
	status = check_header(login, bhs, data_len);
	draining = st->draining;
	if (status == LOGIN_OK && !draining)
		status = take_text(login, data, data_len);
	if (status == LOGIN_OK && (flags & LOGIN_FLAG_CONTINUE)) {
		/* 6.2: answered with nothing until all of it is here. */
		fill_bhs(login, (uint8_t)(st->stage << 2), rsp_bhs, 0);
		return LOGIN_RESPOND;
	}
	if (status == LOGIN_OK && !draining)
		status = take_segment(login);
	if (status != LOGIN_OK)
		return fail(login, status, rsp_bhs, rsp_data);
	return respond(login, flags, rsp_bhs, rsp_data);
}

void login_finish(struct login *login, uint16_t tsih, uint32_t max_cmdsn,
		  uint8_t *rsp_bhs, struct buf *rsp_data)
{
	struct login_state *st = login->state;

	ASSERT(st->admitted && !st->over);
	ASSERT(tsih != 0);
	st->over = true;
	login->tsih = tsih;
	buf_reset(rsp_data);
	emit(login, true, LOGIN_FULL_FEATURE, rsp_bhs, rsp_data);
	store_be32(rsp_bhs + BHS_MAXCMDSN, max_cmdsn);
}

void login_refuse(struct login *login, enum login_status status,
		  uint8_t *rsp_bhs, struct buf *rsp_data)
{
	ASSERT(login->state->admitted && !login->state->over);
	fail(login, status, rsp_bhs, rsp_data);
}

const char *login_status_name(enum login_status status)
{
	switch (status) {
	case LOGIN_OK:
		return "success";
	case LOGIN_MOVED_TEMPORARILY:
		return "target moved temporarily";
	case LOGIN_MOVED_PERMANENTLY:
		return "target moved permanently";
	case LOGIN_INITIATOR_ERROR:
		return "initiator error";
	case LOGIN_AUTH_FAILED:
		return "authentication failure";
	case LOGIN_FORBIDDEN:
		return "authorization failure";
	case LOGIN_NOT_FOUND:
		return "target not found";
	case LOGIN_TARGET_REMOVED:
		return "target removed";
	case LOGIN_BAD_VERSION:
		return "unsupported version";
	case LOGIN_TOO_MANY:
		return "too many connections";
	case LOGIN_MISSING_PARAMETER:
		return "missing parameter";
	case LOGIN_NOT_IN_SESSION:
		return "cannot include in session";
	case LOGIN_SESSION_TYPE:
		return "session type not supported";
	case LOGIN_NO_SESSION:
		return "session does not exist";
	case LOGIN_INVALID_REQUEST:
		return "invalid request during login";
	case LOGIN_TARGET_ERROR:
		return "target error";
	case LOGIN_UNAVAILABLE:
		return "service unavailable";
	case LOGIN_NO_RESOURCES:
		return "out of resources";
	}
	return "unknown status";
}
