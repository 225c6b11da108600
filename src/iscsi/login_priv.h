/* SPDX-License-Identifier: BSD-3-Clause */
/* What login.c and login_auth.c share. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "iscsi/chap.h"
#include "iscsi/keys.h"
#include "iscsi/login.h"

enum auth_state {
	AUTH_IDLE,	  /* no method agreed on yet */
	AUTH_METHOD_CHAP, /* CHAP_A is to come */
	AUTH_CHALLENGED,  /* CHAP_N and CHAP_R are to come */
	AUTH_NONE,	  /* agreed on doing without */
	AUTH_DONE,
};

struct login_state {
	struct keys keys;
	struct chap chap;
	struct buf text;   /* the segment that is being collected */
	struct buf reply;  /* what is still to be said */
	size_t text_total; /* bytes of text in all requests */
	uint32_t pdus;	   /* requests */
	uint32_t itt;
	enum login_stage stage;
	enum auth_state auth;
	bool started;	    /* a request came */
	bool named;	    /* its names have been read */
	bool draining;	    /* the last response had the C bit */
	bool declared;	    /* MaxRecvDataSegmentLength of ours */
	bool auth_rejected; /* say AuthMethod=Reject when failing */
	bool admitted, over;
	char redirect[ISCSI_NAME_MAX + 1]; /* host:port */
};

/* The policy that binds this login; its names are known. */
const struct auth_policy *login_auth_policy(const struct login *login);

/*
 * The security keys of the segment at hand. LOGIN_OK: go on (answers are in
 * the reply); else the status to fail with.
 */
enum login_status login_auth_step(struct login *login);

/* May the security stage be left? LOGIN_OK: yes, or not yet (*ret_wait); else
 * the status to fail with. */
enum login_status login_auth_leave(const struct login *login, bool *ret_wait);
