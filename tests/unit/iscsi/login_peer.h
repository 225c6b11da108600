/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An initiator for tests of the login phase: it says text, keeps the header's
 * fields in order, and shows what came back. "A=1;B=2;" stands for pairs that
 * end in NUL.
 */
#pragma once

#include "../unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/macros.h"
#include "iscsi/login.h"
#include "target/target.h"

#define NAMES	  "InitiatorName=iqn.2000-01.com.example:host;"
#define TARGET	  "TargetName=iqn.2000-01.com.example:disk;"
#define DISCOVERY NAMES "SessionType=Discovery;"
#define DIALS	  "TargetPortalGroupTag=7;TargetAlias=the disk;"
#define OURS	  "MaxRecvDataSegmentLength=262144;"

#define T_BIT	  LOGIN_FLAG_TRANSIT
#define C_BIT	  LOGIN_FLAG_CONTINUE
#define SEC_SEC	  0x00
#define SEC_OPER  0x01
#define SEC_FULL  0x03
#define OPER_OPER 0x04
#define OPER_FULL 0x07

struct peer {
	struct login_env env; /* first: the callbacks get its address */
	struct login login;
	struct iscsi_options options;
	struct portal_group pg;
	struct target_node node;
	enum login_status find_status;
	char asked_target[ISCSI_NAME_MAX + 1];
	char asked_initiator[ISCSI_NAME_MAX + 1];
	uint32_t asked;
	struct chap_secret secret; /* group 3 has this one user */
	uint8_t random_next;
	/* The request's header; the caller may spoil it. */
	uint8_t bhs[BHS_LEN];
	/* The response. */
	uint8_t rsp[BHS_LEN];
	struct buf data;
	char text[LOGIN_DATA_MAX + 1];
	bool answered;
	uint32_t statsn;
};

static inline enum login_status peer_find_target(struct login_env *env,
						 const char *target_name,
						 const char *initiator_name,
						 struct target_node **ret_node,
						 char *ret_redirect,
						 size_t size)
{
	struct peer *p = container_of(env, struct peer, env);

	p->asked++;
	snprintf(p->asked_target, sizeof(p->asked_target), "%s", target_name);
	snprintf(p->asked_initiator, sizeof(p->asked_initiator), "%s",
		 initiator_name);
	if (p->find_status == LOGIN_OK)
		*ret_node = &p->node;
	else if (p->find_status >> 8 == 1)
		snprintf(ret_redirect, size, "192.0.2.1:3261");
	return p->find_status;
}

static inline const struct chap_secret *peer_find_secret(struct login_env *env,
							 int32_t tag,
							 const char *user)
{
	struct peer *p = container_of(env, struct peer, env);

	if (tag != 3 || strcmp(user, p->secret.user) != 0)
		return NULL;
	return &p->secret;
}

static inline void peer_random(struct login_env *env, void *buf, size_t len)
{
	struct peer *p = container_of(env, struct peer, env);
	uint8_t *bytes = buf;

	for (size_t i = 0; i < len; i++)
		bytes[i] = p->random_next++;
}

static inline void peer_header(struct peer *p)
{
	memset(p->bhs, 0, BHS_LEN);
	p->bhs[BHS_OPCODE] = ISCSI_LOGIN_REQUEST | ISCSI_IMMEDIATE;
	memcpy(p->bhs + 8, "\x80\x12\x34\x56\x00\x01", 6);
	store_be32(p->bhs + BHS_ITT, 0x11223344);
	store_be16(p->bhs + 20, 5); /* CID */
	store_be32(p->bhs + BHS_CMDSN, 1000);
	store_be32(p->bhs + BHS_EXPSTATSN, 900);
}

/* A login that may begin; options and node may still be changed. */
static inline struct peer *peer_new(void)
{
	struct peer *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	iscsi_options_default(&p->options);
	p->env.find_target = peer_find_target;
	p->env.find_secret = peer_find_secret;
	p->env.random = peer_random;
	p->env.options = &p->options;
	p->env.pg = &p->pg;
	p->pg.tag = 7;
	strcpy(p->node.name, "iqn.2000-01.com.example:disk");
	strcpy(p->node.alias, "the disk");
	strcpy(p->secret.user, "user");
	strcpy(p->secret.secret, "secret-of-the-user");
	buf_init(&p->data, LOGIN_DATA_MAX);
	assert_int_equal(login_init(&p->login, &p->env), 0);
	peer_header(p);
	p->statsn = 900;
	return p;
}

static inline void peer_free(struct peer *p)
{
	login_deinit(&p->login);
	buf_deinit(&p->data);
	free(p);
}

/* Another login on another connection of the same initiator. */
static inline void peer_again(struct peer *p)
{
	login_deinit(&p->login);
	assert_int_equal(login_init(&p->login, &p->env), 0);
	peer_header(p);
	p->statsn = 900;
	p->answered = false;
}

/* What holds for every response (11.13). */
static inline void peer_check(struct peer *p, enum login_verdict verdict,
			      uint8_t flags)
{
	uint16_t status = load_be16(p->rsp + 36);
	bool final = p->rsp[BHS_FLAGS] & T_BIT;

	assert_int_equal(p->rsp[BHS_OPCODE], ISCSI_LOGIN_RESPONSE);
	assert_int_equal(load_be24(p->rsp + BHS_DSL), p->data.len);
	assert_int_equal(p->rsp[BHS_AHS_WORDS], 0);
	assert_int_equal(load_be16(p->rsp + 2), 0); /* versions */
	assert_memory_equal(p->rsp + 8, p->bhs + 8, 6);
	assert_memory_equal(p->rsp + BHS_ITT, p->bhs + BHS_ITT, 4);
	assert_int_equal(load_be32(p->rsp + BHS_STATSN), p->statsn++);
	assert_int_equal(load_be32(p->rsp + BHS_EXPCMDSN), 1000);
	assert_int_equal(status, p->login.status);
	if (verdict == LOGIN_FAIL) {
		assert_int_not_equal(status, 0);
		assert_int_equal(p->rsp[BHS_FLAGS], 0);
		return;
	}
	assert_int_equal(status, 0);
	assert_int_equal(p->rsp[BHS_FLAGS] >> 2 & 3, flags >> 2 & 3);
	if (final) {
		/* Only when asked for, never past it, never with C. */
		assert_true(flags & T_BIT);
		assert_true((p->rsp[BHS_FLAGS] & 3) <= (flags & 3));
		assert_false(p->rsp[BHS_FLAGS] & C_BIT);
	} else {
		assert_int_equal(p->rsp[BHS_FLAGS] & 3, 0);
	}
}

static inline void peer_text(struct peer *p)
{
	memset(p->text, 0, sizeof(p->text));
	if (p->data.len > 0)
		memcpy(p->text, p->data.data, p->data.len);
	for (size_t i = 0; i < p->data.len; i++) {
		if (p->text[i] == '\0')
			p->text[i] = ';';
	}
}

/* One request with @len bytes as they are. */
static inline enum login_verdict peer_bytes(struct peer *p, uint8_t flags,
					    const void *bytes, size_t len)
{
	uint8_t *exact = malloc(len ? len : 1);
	enum login_verdict verdict;

	assert_non_null(exact);
	if (len > 0)
		memcpy(exact, bytes, len);
	p->bhs[BHS_FLAGS] = flags;
	store_be24(p->bhs + BHS_DSL, (uint32_t)len);
	if (p->answered)
		store_be32(p->bhs + BHS_EXPSTATSN, p->statsn);
	memset(p->rsp, 0xee, sizeof(p->rsp));
	verdict = login_step(&p->login, p->bhs, exact, (uint32_t)len, p->rsp,
			     &p->data);
	free(exact);
	p->answered = true;
	if (verdict == LOGIN_RESPOND || verdict == LOGIN_FAIL)
		peer_check(p, verdict, flags);
	peer_text(p);
	return verdict;
}

static inline enum login_verdict peer_say(struct peer *p, uint8_t flags,
					  const char *pairs)
{
	size_t len = strlen(pairs);
	char *bytes = strdup(pairs);
	enum login_verdict verdict;

	assert_non_null(bytes);
	for (size_t i = 0; i < len; i++) {
		if (bytes[i] == ';')
			bytes[i] = '\0';
	}
	verdict = peer_bytes(p, flags, bytes, len);
	free(bytes);
	return verdict;
}

/* After LOGIN_ADMIT: the final response. */
static inline void peer_finish(struct peer *p)
{
	login_finish(&p->login, 0x4242, 1063, p->rsp, &p->data);
	peer_check(p, LOGIN_ADMIT, p->bhs[BHS_FLAGS]);
	assert_int_equal(p->rsp[BHS_FLAGS] & 0x83, T_BIT | LOGIN_FULL_FEATURE);
	assert_int_equal(load_be16(p->rsp + 14), 0x4242);
	assert_int_equal(load_be32(p->rsp + BHS_MAXCMDSN), 1063);
	peer_text(p);
}

static inline enum login_status peer_status(const struct peer *p)
{
	return (enum login_status)load_be16(p->rsp + 36);
}

/* The next request is answered with this status, and it is the end. */
#define assert_fails(p, flags, pairs, status)                            \
	do {                                                             \
		assert_int_equal(peer_say(p, flags, pairs), LOGIN_FAIL); \
		assert_int_equal(peer_status(p), status);                \
	} while (0)

#define assert_says(p, flags, pairs, rsp_flags, answer)                     \
	do {                                                                \
		assert_int_equal(peer_say(p, flags, pairs), LOGIN_RESPOND); \
		assert_int_equal((p)->rsp[BHS_FLAGS], rsp_flags);           \
		assert_string_equal((p)->text, answer);                     \
	} while (0)

#define assert_admits(p, flags, pairs, answer)                            \
	do {                                                              \
		assert_int_equal(peer_say(p, flags, pairs), LOGIN_ADMIT); \
		peer_finish(p);                                           \
		assert_string_equal((p)->text, answer);                   \
	} while (0)
