/* SPDX-License-Identifier: BSD-3-Clause */
/* The security stage of a login (RFC 7143, 6.3.2, 12.1). */
#include <string.h>

#include "base/assert.h"
#include "base/str.h"
#include "iscsi/login_priv.h"
#include "iscsi/text.h"
#include "target/target.h"

/* Those that we do; any other name in a list is passed over. */
static const char *const methods[] = {"None", "CHAP", NULL};
enum { METHOD_NONE, METHOD_CHAP };

static const enum key chap_keys[] = {
	KEY_CHAP_A, KEY_CHAP_I, KEY_CHAP_C, KEY_CHAP_N, KEY_CHAP_R,
};

const struct auth_policy *login_auth_policy(const struct login *login)
{
	const struct portal_group *pg = login->env->pg;

	if (!login->discovery) {
		ASSERT(login->node != NULL);
		return &login->node->auth;
	}
	return pg->auth_set ? &pg->auth : &login->env->options->discovery_auth;
}

/* As a set of bits by METHOD_*. */
static uint32_t allowed_methods(const struct auth_policy *policy)
{
	uint32_t set = 0;

	if (!policy->require_chap)
		set |= 1u << METHOD_NONE;
	/* Without a group there is no secret that could be right. */
	if (!policy->disable_chap &&
	    (policy->require_chap || policy->chap_group != 0))
		set |= 1u << METHOD_CHAP;
	return set;
}

static enum login_status choose_method(struct login *login, const char *offer)
{
	struct login_state *st = login->state;
	int method = key_list_choose(offer, methods,
				     allowed_methods(login_auth_policy(login)));

	if (method < 0) {
		/* 6.3.2: "Reject", and there is nothing more to agree on. */
		st->auth_rejected = true;
		return LOGIN_AUTH_FAILED;
	}
	text_add(&st->reply, "AuthMethod", methods[method]);
	st->auth = method == METHOD_CHAP ? AUTH_METHOD_CHAP : AUTH_NONE;
	return LOGIN_OK;
}

static enum login_status status_of_chap(enum chap_verdict verdict)
{
	switch (verdict) {
	case CHAP_OK:
	case CHAP_OK_MUTUAL:
		return LOGIN_OK;
	case CHAP_MISSING:
		return LOGIN_MISSING_PARAMETER;
	case CHAP_MALFORMED:
		return LOGIN_INITIATOR_ERROR;
	case CHAP_REFUSED:
		return LOGIN_AUTH_FAILED;
	case CHAP_BROKEN:
		return LOGIN_TARGET_ERROR;
	}
	return LOGIN_TARGET_ERROR;
}

static enum login_status challenge(struct login *login, const char *list)
{
	struct login_state *st = login->state;
	uint8_t random[CHAP_RANDOM_LEN];
	enum chap_verdict verdict;

	login->env->random(login->env, random, sizeof(random));
	verdict = chap_begin(&st->chap, list, random, &st->reply);
	if (verdict == CHAP_OK)
		st->auth = AUTH_CHALLENGED;
	return status_of_chap(verdict);
}

static enum login_status verify(struct login *login)
{
	struct login_state *st = login->state;
	const struct auth_policy *policy = login_auth_policy(login);
	const struct chap_response in = {
		.n = keys_offer(&st->keys, KEY_CHAP_N),
		.r = keys_offer(&st->keys, KEY_CHAP_R),
		.i = keys_offer(&st->keys, KEY_CHAP_I),
		.c = keys_offer(&st->keys, KEY_CHAP_C),
	};
	const struct chap_secret *secret = NULL;
	enum chap_verdict verdict;

	if (in.n != NULL && policy->chap_group != 0)
		secret = login->env->find_secret(login->env, policy->chap_group,
						 in.n);
	verdict = chap_verify(&st->chap, &in, secret, policy->mutual_chap,
			      &st->reply);
	wipe(&st->chap, sizeof(st->chap));
	if (verdict == CHAP_OK || verdict == CHAP_OK_MUTUAL)
		st->auth = AUTH_DONE;
	return status_of_chap(verdict);
}

/* Are there security keys but AuthMethod, and but @except? */
static bool stray_keys(const struct login_state *st, enum key except)
{
	for (size_t i = 0; i < ARRAY_LEN(chap_keys); i++) {
		if (chap_keys[i] != except &&
		    keys_offer(&st->keys, chap_keys[i]) != NULL)
			return true;
	}
	return false;
}

enum login_status login_auth_step(struct login *login)
{
	struct login_state *st = login->state;
	const char *method = keys_offer(&st->keys, KEY_AUTH_METHOD);
	const char *list = keys_offer(&st->keys, KEY_CHAP_A);
	enum login_status status;

	if (method != NULL) {
		status = choose_method(login, method);
		if (status != LOGIN_OK)
			return status;
		/* The next step may come with it, but it need not. */
		if (st->auth == AUTH_METHOD_CHAP && list == NULL)
			return stray_keys(st, KEY_COUNT) ? LOGIN_INITIATOR_ERROR
							 : LOGIN_OK;
	}
	switch (st->auth) {
	case AUTH_METHOD_CHAP:
		if (stray_keys(st, KEY_CHAP_A))
			return LOGIN_INITIATOR_ERROR;
		if (list == NULL)
			return LOGIN_MISSING_PARAMETER;
		return challenge(login, list);
	case AUTH_CHALLENGED:
		return list != NULL ? LOGIN_INITIATOR_ERROR : verify(login);
	case AUTH_IDLE:
	case AUTH_NONE:
	case AUTH_DONE:
		break;
	}
	return stray_keys(st, KEY_COUNT) ? LOGIN_INITIATOR_ERROR : LOGIN_OK;
}

enum login_status login_auth_leave(const struct login *login, bool *ret_wait)
{
	const struct login_state *st = login->state;

	*ret_wait = st->auth == AUTH_METHOD_CHAP || st->auth == AUTH_CHALLENGED;
	if (*ret_wait || st->auth == AUTH_DONE)
		return LOGIN_OK;
	return login_auth_policy(login)->require_chap ? LOGIN_AUTH_FAILED
						      : LOGIN_OK;
}
