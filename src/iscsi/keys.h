/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The keys of RFC 7143, 13, and RFC 7144, as one typed table, and the rules by
 * which a value of the peer and one of ours become a result.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
	KEY_MAX_OUTSTANDING_R2T,
	KEY_DATA_PDU_IN_ORDER,
	KEY_DATA_SEQUENCE_IN_ORDER,
	KEY_ERROR_RECOVERY_LEVEL,
	KEY_SESSION_TYPE,
	KEY_TASK_REPORTING,
	KEY_ISCSI_PROTOCOL_LEVEL,
	KEY_AUTH_METHOD,
	KEY_CHAP_A,
	KEY_CHAP_I,
	KEY_CHAP_C,
	KEY_CHAP_N,
	KEY_CHAP_R,
	KEY_IF_MARKER,              /* RFC 3720; obsolete: No, Irrelevant */
	KEY_OF_MARKER,
	KEY_IF_MARK_INT,
	KEY_OF_MARK_INT,
	KEY_COUNT
};

/* What was negotiated: for the session, and for the connection. */
struct session_params {
	uint32_t max_connections;
	bool initial_r2t;
	bool immediate_data;
	uint32_t max_burst_length;      /* bytes */
	uint32_t first_burst_length;    /* bytes */
	uint32_t default_time2wait;     /* s */
	uint32_t default_time2retain;   /* s */
	uint32_t max_outstanding_r2t;
	bool data_pdu_in_order;
	bool data_sequence_in_order;
	uint32_t error_recovery_level;
	uint32_t protocol_level;        /* RFC 7144; 1 by default */
};

struct conn_params {
	bool header_digest;
	bool data_digest;
	uint32_t max_xmit_data_segment_length;  /* the initiator declared */
	uint32_t max_recv_data_segment_length;  /* we declared */
};

void session_params_default(struct session_params *p);  /* RFC's defaults */
void conn_params_default(struct conn_params *p);
