/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A model of an iSCSI initiator for tests: one session of one connection, no
 * I/O and no clock; bytes in, bytes out. It is written from RFC 7143 alone and
 * shares nothing with the target but the numbers of iscsi_spec.h, so that an
 * error of one is not made up for by the same error of the other.
 *
 * It is strict: whatever the target sends is checked (sequence numbers,
 * windows, offsets, flags, residuals, padding, digests), and the first thing
 * that is wrong ends it, with one line in @error.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "iscsi/iscsi_spec.h"

#define INI_ERROR_MAX 256
#define INI_NAME_MAX  224
#define INI_SENSE_MAX 256
#define INI_R2T_MAX   64
#define INI_TEXT_MAX  (1u << 20)

struct ini_options {
	const char *initiator;
	const char *target; /* NULL: a discovery session */
	uint8_t isid[6];
	uint16_t tsih, cid;
	uint32_t cmdsn; /* the first */
	uint64_t seed;
	/* How to log in. */
	bool security_stage; /* begin in stage 0 */
	bool slow;	     /* one key per request, transit later */
	bool split_text;     /* cut the text of a step anywhere (C bit) */
	/* What to offer. 0: the key is not sent, the default is in force. */
	bool header_digest, data_digest;
	bool offer_r2t, initial_r2t;
	bool offer_immediate, immediate_data;
	uint32_t max_burst, first_burst, mrdsl, max_r2t;
	/* How to behave. */
	bool odd_pieces;   /* Data-Out of random lengths */
	bool others_reset; /* tasks may vanish by another session's reset */
	bool disks_leave;  /* TASK ABORTED need not wait for Data-Out */
	const char *trace; /* prints every header, with this before it */
};

/* What is in force. */
struct ini_params {
	bool header_digest, data_digest;
	bool initial_r2t, immediate_data;
	uint32_t max_burst, first_burst, max_r2t;
	uint32_t mrdsl_in, mrdsl_out; /* ours, the target's */
	uint32_t max_connections, erl, time2wait, time2retain;
	uint32_t tpgt;
	bool tpgt_seen;
};

enum ini_state {
	INI_LOGIN,
	INI_RUNNING,
	INI_LOGGED_OUT,
	INI_REFUSED, /* the login: see login_status */
	INI_FAILED,  /* the target broke a rule: see error */
};

/* A byte string that grows. */
struct ini_bytes {
	uint8_t *data;
	size_t head, len, cap;
};

enum ini_req_state { INI_IDLE, INI_WAITING, INI_SENT, INI_DONE };

struct initiator;

/* Anything that is sent with a tag and answered once. */
struct ini_req {
	struct list link; /* waiting, or outstanding */
	enum ini_req_state state;
	enum iscsi_opcode opcode;
	bool immediate;
	uint64_t lun; /* the 8 bytes, big-endian */
	uint32_t itt, cmdsn;
	uint64_t order; /* of sending */
	void (*done)(struct initiator *ini, struct ini_req *req);
};

struct ini_r2t {
	uint32_t ttt, offset, left, datasn;
	uint64_t lun;
};

struct ini_cmd {
	struct ini_req req; /* lun, immediate and done by the caller */
	uint8_t cdb[16];
	uint8_t attr;
	bool read, write;
	uint8_t *data; /* out: what to send; in: where it goes */
	uint32_t edtl;

	/* Results, valid in done(). */
	bool aborted; /* ended by a TMF, without a response */
	uint8_t response, status;
	bool overflow, underflow;
	uint32_t residual;
	uint32_t got;	/* bytes that came */
	uint32_t sent;	/* bytes of data-out sent */
	bool collapsed; /* the status came with the data */
	uint16_t sense_len;
	uint8_t sense[INI_SENSE_MAX];

	/* The engine's. */
	struct list unsol_link;
	uint32_t unsol_left, unsol_datasn;
	uint32_t datasn, r2tsn; /* next to come */
	uint32_t sequence;	/* bytes since the last F bit */
	uint32_t r2t_offset;	/* where the next R2T begins */
	struct ini_r2t r2t[INI_R2T_MAX];
	uint32_t nr2t;
	struct list sol_link;
};

struct ini_tmf {
	struct ini_req req;
	enum iscsi_tmf function;
	struct ini_cmd *ref; /* ABORT TASK */
	uint32_t ref_itt, ref_cmdsn;
	uint8_t response;
};

struct ini_nop {
	struct ini_req req;
	const uint8_t *data;
	uint32_t len;
};

struct ini_text {
	struct ini_req req;
	const char *text; /* key=value pairs, NUL after each */
	uint32_t text_len;
	uint32_t ttt;
	struct ini_bytes answer;
	uint32_t npdus;
};

struct ini_logout {
	struct ini_req req;
	enum logout_reason reason;
	uint16_t cid;
	uint8_t response;
};

struct initiator {
	struct ini_options opt;
	struct ini_params p;
	enum ini_state state;
	char error[INI_ERROR_MAX];
	uint32_t login_status;
	uint16_t tsih;
	char address[128]; /* TargetAddress of a redirection */

	uint32_t cmdsn;		     /* the next to be assigned */
	uint32_t expcmdsn, maxcmdsn; /* the target's last word */
	uint32_t expstatsn;
	uint32_t next_itt;
	uint64_t sent_order;
	uint64_t random;

	struct list waiting; /* struct ini_req */
	struct list outstanding;
	uint32_t noutstanding; /* and waiting ones */
	struct list unsol;     /* struct ini_cmd, in command order */
	struct list sol;       /* struct ini_cmd with R2Ts */
	struct ini_bytes in, out;

	/* Login. */
	uint8_t csg, nsg;
	bool transit;	     /* asked for in the request under way */
	bool first_response; /* is still to come */
	uint32_t login_itt, login_rounds;
	size_t names_left; /* bytes of the names, which go first */
	struct ini_bytes login_out, login_in; /* text */
	uint64_t offered, settled;	      /* by index of the key table */

	/* Seen, for tests that want to know. */
	uint32_t nops_from_target, async_events, rejects;
	uint8_t last_async, last_reject;
	bool expect_reject; /* else a Reject is an error */
	uint64_t data_in_pdus, r2ts, collapsed, unsolicited;
	uint32_t crc_table[256];
};

void ini_init(struct initiator *ini, const struct ini_options *opt);
void ini_deinit(struct initiator *ini);
/* Begins the login. */
void ini_start(struct initiator *ini);

/* Bytes from the target. False: it is at fault (or was before). */
bool ini_feed(struct initiator *ini, const uint8_t *buf, size_t len);

/* Makes what may be sent now, until @ini->out holds @enough bytes. The caller
 * takes them with ini_take(). */
void ini_produce(struct initiator *ini, size_t enough);
size_t ini_take(struct initiator *ini, uint8_t *buf, size_t len);

/* The caller fills in the struct (zeroed before) and keeps it until done(). */
void ini_submit(struct initiator *ini, struct ini_cmd *cmd);
void ini_manage(struct initiator *ini, struct ini_tmf *tmf);
void ini_ping(struct initiator *ini, struct ini_nop *nop);
void ini_ask(struct initiator *ini, struct ini_text *text);
void ini_leave(struct initiator *ini, struct ini_logout *logout);

/* Ends a command that a unit attention or a lost connection has ended. */
void ini_forget(struct initiator *ini, struct ini_cmd *cmd);

/* Sense key << 16 | ASC << 8 | ASCQ; 0 without sense data. */
uint32_t ini_sense(const struct ini_cmd *cmd);

static inline uint64_t ini_lun(uint8_t lun)
{
	return (uint64_t)lun << 48;
}

/* For tests that build PDUs of their own. */
void ini_bytes_push(struct ini_bytes *b, const void *data, size_t len);
void ini_bytes_drop(struct ini_bytes *b, size_t len);
void ini_bytes_free(struct ini_bytes *b);
uint32_t ini_crc(const struct initiator *ini, const void *data, size_t len);
