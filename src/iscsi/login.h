/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The login phase (RFC 7143, 6.3, 11.12, 11.13): a Login Request in, a Login
 * Response out; no I/O, no clock. It runs on the control reactor, so that what
 * it asks of `struct login_env` is answered at once.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"
#include "iscsi/iscsi_spec.h"
#include "iscsi/keys.h"
#include "iscsi/options.h"

/* All text of one login, with C bits (hostile_inputs: T7..T9). */
#define LOGIN_TEXT_MAX 65536u
#define LOGIN_DATA_MAX 8192u /* one PDU: 13.12's default */
#define LOGIN_KEYS_MAX 128u  /* key=value pairs in one login */
#define LOGIN_PDUS_MAX 64u

struct login;
struct target_node;
struct portal_group;
struct chap_secret;

/* What the engine asks of the world. All answers are immediate. */
struct login_env {
	/*
	 * The target for a normal session: LOGIN_OK with *ret_node, or the
	 * status to refuse with (NOT_FOUND, FORBIDDEN, TARGET_REMOVED,
	 * MOVED_TEMPORARILY with *ret_redirect "host:port").
	 */
	enum login_status (*find_target)(struct login_env *env,
					 const char *target_name,
					 const char *initiator_name,
					 struct target_node **ret_node,
					 char *ret_redirect, size_t size);
	/* The secret of @user in auth group @tag, or NULL. */
	const struct chap_secret *(*find_secret)(struct login_env *env,
						 int32_t tag, const char *user);
	/* Fills with unpredictable bytes (getrandom). */
	void (*random)(struct login_env *env, void *buf, size_t len);
	const struct iscsi_options *options;
	/* The portal group that the connection came to. */
	const struct portal_group *pg;
};

enum login_verdict {
	LOGIN_RESPOND, /* send the response, wait for more */
	LOGIN_ADMIT,   /* the last request is good: the session may be
			     * entered; then login_finish() makes the response */
	LOGIN_FAIL,    /* send the response (its status says why), close */
	LOGIN_DROP,    /* not a login at all: close without an answer */
};

struct login {
	struct login_env *env;
	/* Known so far. */
	char initiator_name[ISCSI_NAME_MAX + 1]; /* lower case */
	char initiator_alias[256];
	char target_name[ISCSI_NAME_MAX + 1];
	bool discovery;
	struct target_node *node; /* normal sessions */
	uint8_t isid[6];
	uint16_t tsih; /* 0: a new session */
	uint16_t cid;
	uint32_t cmdsn;		  /* of the first request */
	uint32_t statsn;	  /* next to be used */
	enum login_status status; /* with LOGIN_FAIL */
	/* In force when the verdict is LOGIN_ADMIT. */
	struct session_params session;
	struct conn_params conn;
	/* The engine's: see login.c. */
	struct login_state *state;
};

/* 0 or -ENOMEM. */
int login_init(struct login *login, struct login_env *env);
void login_deinit(struct login *login);

/*
 * One request: its BHS and its data segment (whole, @data_len bytes, at most
 * LOGIN_DATA_MAX). Fills @rsp_bhs (48 bytes; DataSegmentLength set; ExpCmdSN
 * and MaxCmdSN are filled in) and @rsp_data (emptied first; its maximum is the
 * caller's: LOGIN_DATA_MAX). With LOGIN_ADMIT neither is filled yet.
 */
enum login_verdict login_step(struct login *login, const uint8_t *bhs,
			      const uint8_t *data, uint32_t data_len,
			      uint8_t *rsp_bhs, struct buf *rsp_data);

/* After LOGIN_ADMIT: the final response, with the session's TSIH and window. */
void login_finish(struct login *login, uint16_t tsih, uint32_t max_cmdsn,
		  uint8_t *rsp_bhs, struct buf *rsp_data);

/* After LOGIN_ADMIT: a response that refuses after all. */
void login_refuse(struct login *login, enum login_status status,
		  uint8_t *rsp_bhs, struct buf *rsp_data);

const char *login_status_name(enum login_status status);
