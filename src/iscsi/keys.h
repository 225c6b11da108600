/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The keys of RFC 7143, 12 and 13, and RFC 7144, as one typed table, and the
 * rules by which a value of the peer and one of ours become a result.
 *
 * A negotiation collects one logical text segment after another (the text of
 * PDUs up to one without the C bit), answers it, and counts what was said: no
 * key may be said twice. Nothing is in force before its end.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"
#include "iscsi/iscsi_spec.h"

/* key=value pairs in one negotiation (hostile_inputs: T7). */
#define KEYS_MAX	   128u
#define KEY_VALUE_MAX	   255u	 /* 6.1 */
#define KEY_VALUE_LONG_MAX 8192u /* CHAP_C, CHAP_R, SendTargets */

/* What the session layer does today; more is neither offered nor accepted. */
#define ISCSI_CONNECTIONS_SUPPORTED    8u
#define ISCSI_ERL_SUPPORTED	       2u
#define ISCSI_PROTOCOL_LEVEL_SUPPORTED 2u /* RFC 7144, 7.1.1 */

enum key {
	KEY_HEADER_DIGEST,
	KEY_DATA_DIGEST,
	KEY_MAX_CONNECTIONS,
	KEY_SEND_TARGETS,
	KEY_TARGET_NAME,
	KEY_INITIATOR_NAME,
	KEY_TARGET_ALIAS,
	KEY_INITIATOR_ALIAS,
	KEY_TARGET_ADDRESS,
	KEY_TARGET_PORTAL_GROUP_TAG,
	KEY_INITIAL_R2T,
	KEY_IMMEDIATE_DATA,
	KEY_MAX_RECV_DATA_SEGMENT_LENGTH,
	KEY_MAX_BURST_LENGTH,
	KEY_FIRST_BURST_LENGTH,
	KEY_DEFAULT_TIME2WAIT,
	KEY_DEFAULT_TIME2RETAIN,
	KEY_ERROR_RECOVERY_LEVEL, /* before the next: it limits it */
	KEY_MAX_OUTSTANDING_R2T,
	KEY_DATA_PDU_IN_ORDER,
	KEY_DATA_SEQUENCE_IN_ORDER,
	KEY_SESSION_TYPE,
	KEY_TASK_REPORTING,
	KEY_ISCSI_PROTOCOL_LEVEL,
	KEY_AUTH_METHOD,
	KEY_CHAP_A,
	KEY_CHAP_I,
	KEY_CHAP_C,
	KEY_CHAP_N,
	KEY_CHAP_R,
	KEY_IF_MARKER, /* RFC 3720; obsolete: No, Irrelevant */
	KEY_OF_MARKER,
	KEY_IF_MARK_INT,
	KEY_OF_MARK_INT,
	KEY_X_NODE_ARCHITECTURE, /* taken and discarded (13.26.2) */
	KEY_COUNT
};

enum key_kind {
	KEY_TEXT,   /* login's, or text's; not answered here */
	KEY_NUMBER, /* declarative number */
	KEY_LIST,   /* the first of the list that we support */
	KEY_AND,
	KEY_OR, /* boolean functions */
	KEY_MIN,
	KEY_MAX,	    /* numerical functions */
	KEY_OBSOLETE_BOOL,  /* 13.25: No */
	KEY_OBSOLETE_RANGE, /* 13.25: Reject */
	KEY_IGNORED,	    /* declarative, of no interest */
};

enum key_flag {
	/* Stages where it may appear. */
	KEY_IN_SECURITY = 0x01,
	KEY_IN_OPERATIONAL = 0x02,
	KEY_IN_FULL_FEATURE = 0x04,
	KEY_FROM_INITIATOR = 0x08,
	KEY_FROM_TARGET = 0x10,
	KEY_LEADING = 0x20,	     /* "LO": first connection only */
	KEY_NOT_IN_DISCOVERY = 0x40, /* answered Irrelevant there */
	KEY_OF_CONNECTION = 0x80,    /* scope; else the session */
};

struct key_info {
	const char *name;
	enum key_kind kind;
	uint8_t flags;
	uint16_t value_max; /* bytes */
	uint32_t min, max;  /* numbers */
	uint32_t initial;   /* RFC's default, numbers and booleans */
	uint16_t offset;    /* of uint32_t or bool in session_params, or in
				 * conn_params with KEY_OF_CONNECTION */
	const char *const *values; /* lists: indexed by what is stored */
};
extern const struct key_info key_table[KEY_COUNT];

/* By name, exactly; KEY_COUNT: not known. */
enum key key_find(const char *name);

enum task_reporting { /* 13.23 */
		      TASK_REPORTING_RFC3720,
		      TASK_REPORTING_FENCE,
		      TASK_REPORTING_FAST_ABORT, /* not supported */
		      TASK_REPORTING_COUNT
};

/* What was negotiated: for the session, and for the connection. */
struct session_params {
	uint32_t max_connections;
	bool initial_r2t;
	bool immediate_data;
	uint32_t max_burst_length;    /* bytes */
	uint32_t first_burst_length;  /* bytes */
	uint32_t default_time2wait;   /* s */
	uint32_t default_time2retain; /* s */
	uint32_t max_outstanding_r2t;
	bool data_pdu_in_order;
	bool data_sequence_in_order;
	uint32_t error_recovery_level;
	uint32_t protocol_level; /* RFC 7144; 1 by default */
	uint32_t task_reporting; /* enum task_reporting */
};

struct conn_params {
	bool header_digest;
	bool data_digest;
	uint32_t max_xmit_data_segment_length; /* the initiator declared */
	uint32_t max_recv_data_segment_length; /* we declared */
};

void session_params_default(struct session_params *p); /* RFC's defaults */
void conn_params_default(struct conn_params *p);

/* What we would choose, were we alone. */
struct keys_ours {
	struct session_params session;
	bool need_header_digest; /* CRC32C or nothing */
	bool need_data_digest;
};

/* One negotiation. */
struct keys {
	/* Settings; the caller may change them between two segments. */
	enum login_stage stage;
	bool leading; /* TSIH = 0 */
	bool discovery;
	struct keys_ours ours;
	/* Results so far. */
	struct session_params session;
	struct conn_params conn;
	/* The engine's. */
	uint64_t seen;		      /* keys that the initiator has sent */
	uint64_t proposed;	      /* by us, not answered yet */
	uint32_t count;		      /* pairs */
	const char *offer[KEY_COUNT]; /* of the segment at hand, or NULL */
};

/* Starts with RFC 7143's defaults. */
void keys_init(struct keys *k, enum login_stage stage);

/*
 * Takes a segment apart: k->offer[] holds the values (inside @text, which must
 * stay until keys_answer()). Unknown keys are answered in @out. 0, or -EPROTO:
 * malformed, said twice, too many, too long, from the wrong side or in the
 * wrong stage; the negotiation has failed then.
 */
int keys_collect(struct keys *k, const uint8_t *text, size_t len,
		 struct buf *out);

/* The value of @key in the segment at hand, or NULL. */
const char *keys_offer(const struct keys *k, enum key key);

/*
 * Answers what the segment at hand offers, but for KEY_TEXT keys: these are
 * the caller's. 0 or -EPROTO.
 */
int keys_answer(struct keys *k, struct buf *out);

/*
 * The rules that bind several keys, before the parameters take effect. 0: they
 * hold; 1: a proposal of ours that mends it was appended to @out; -EPROTO.
 */
int keys_settle(struct keys *k, struct buf *out);

/*
 * The first element of the comma-separated @list that is one of @values and
 * has its bit set in @allowed: its index, or -1.
 */
int key_list_choose(const char *list, const char *const *values,
		    uint32_t allowed);

/* ---- Text Requests in full feature phase (6.4). */
struct keys_text {
	struct keys keys; /* keys.conn holds the new values */
	bool send_targets;
	char send_targets_value[ISCSI_NAME_MAX + 1];
	bool alias;
	char initiator_alias[KEY_VALUE_MAX + 1];
};

/* A negotiation begins; @now: what is in force. */
void keys_text_begin(struct keys_text *t, bool discovery,
		     const struct session_params *session,
		     const struct conn_params *now);

/*
 * One segment: appends the answers, except to SendTargets: its value is left
 * in @t and send_targets is set. 0, or -EPROTO: Reject (protocol error), and
 * the negotiation is over. What was negotiated takes effect (t->keys.conn)
 * when the caller has sent the response with the F bit.
 */
int keys_full_feature(struct keys_text *t, const uint8_t *text, size_t len,
		      struct buf *out);
