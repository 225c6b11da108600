/* SPDX-License-Identifier: BSD-3-Clause */
/* Between the parts of the initiator: sending, receiving, login. */
#pragma once

#include "initiator.h"

/* The target broke a rule. */
void ini_fail(struct initiator *ini, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

uint64_t ini_random(struct initiator *ini, uint64_t n);

/* Serial numbers (RFC 1982): how far @a is ahead of @b. */
static inline int32_t ini_ahead(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b);
}

void ini_trace(const struct initiator *ini, const char *way,
	       const uint8_t *bhs);

/* Appends a PDU to @ini->out: fills in lengths, pads, adds digests. */
void ini_emit(struct initiator *ini, uint8_t *bhs, const void *data,
	      uint32_t len);

/* Takes a request off its list and reports it. */
void ini_finish(struct initiator *ini, struct ini_req *req);
void ini_finish_cmd(struct initiator *ini, struct ini_cmd *cmd);

void ini_receive(struct initiator *ini, const uint8_t *bhs, const uint8_t *data,
		 uint32_t len);

/* Checks and takes ExpCmdSN and MaxCmdSN; StatSN, where it counts. */
bool ini_take_window(struct initiator *ini, const uint8_t *bhs);
bool ini_take_statsn(struct initiator *ini, const uint8_t *bhs);

void ini_login_begin(struct initiator *ini);
void ini_login_response(struct initiator *ini, const uint8_t *bhs,
			const uint8_t *data, uint32_t len);
