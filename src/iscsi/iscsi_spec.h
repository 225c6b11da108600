/* SPDX-License-Identifier: BSD-3-Clause */
/* RFC 7143's numbers, with the sections that define them; nothing else. */
#pragma once

#include <stdint.h>

#define BHS_LEN		    48u
#define AHS_LEN_MAX	    1020u /* 255 words, 11.2.1.5 */
#define DIGEST_LEN	    4u
#define ISCSI_PORT	    3260
#define RESERVED_TAG	    0xffffffffu
#define TEXT_KEY_MAX	    63u /* 6.1 */
#define ISCSI_MRDSL_MIN	    512u
#define ISCSI_MRDSL_DEFAULT 8192u /* 13.12 */
#define ISCSI_LENGTH_MAX    16777215u

enum iscsi_opcode { /* 11.2.1.2 */
		    ISCSI_NOP_OUT = 0x00,
		    ISCSI_SCSI_COMMAND = 0x01,
		    ISCSI_TMF_REQUEST = 0x02,
		    ISCSI_LOGIN_REQUEST = 0x03,
		    ISCSI_TEXT_REQUEST = 0x04,
		    ISCSI_DATA_OUT = 0x05,
		    ISCSI_LOGOUT_REQUEST = 0x06,
		    ISCSI_SNACK = 0x10,
		    ISCSI_NOP_IN = 0x20,
		    ISCSI_SCSI_RESPONSE = 0x21,
		    ISCSI_TMF_RESPONSE = 0x22,
		    ISCSI_LOGIN_RESPONSE = 0x23,
		    ISCSI_TEXT_RESPONSE = 0x24,
		    ISCSI_DATA_IN = 0x25,
		    ISCSI_LOGOUT_RESPONSE = 0x26,
		    ISCSI_R2T = 0x31,
		    ISCSI_ASYNC_MESSAGE = 0x32,
		    ISCSI_REJECT = 0x3f,
};
#define ISCSI_OPCODE_MASK 0x3fu
#define ISCSI_IMMEDIATE	  0x40u

/* Byte offsets that most headers share (11.2.1). */
enum bhs_offset {
	BHS_OPCODE = 0,
	BHS_FLAGS = 1,
	BHS_RESPONSE = 2, /* responses: 11.4.3 and others */
	BHS_STATUS = 3,
	BHS_AHS_WORDS = 4, /* TotalAHSLength, 4-byte words */
	BHS_DSL = 5,	   /* DataSegmentLength, 3 bytes */
	BHS_LUN = 8,
	BHS_STATUS_QUALIFIER = 8, /* SCSI Response: RFC 7144, 5.2 */
	BHS_ADDITIONAL = 8,	  /* TMF Response, 3 bytes: RFC 7144, 6.2 */
	BHS_ITT = 16,
	BHS_TTT = 20,
	BHS_EDTL = 20,	/* SCSI Command */
	BHS_CMDSN = 24, /* requests */
	BHS_EXPSTATSN = 28,
	BHS_STATSN = 24, /* responses */
	BHS_EXPCMDSN = 28,
	BHS_MAXCMDSN = 32,
	BHS_CDB = 32,	 /* SCSI Command */
	BHS_DATASN = 36, /* Data-In, Data-Out, R2TSN, ExpDataSN */
	BHS_BUFFER_OFFSET = 40,
	BHS_RESIDUAL = 44,	 /* Data-In, SCSI Response */
	BHS_DESIRED_LENGTH = 44, /* R2T */
};

#define FLAG_FINAL    0x80u
#define FLAG_CONTINUE 0x40u /* text and login: C bit */

/* 11.3.1 SCSI Command */
#define CMD_FLAG_READ  0x40u
#define CMD_FLAG_WRITE 0x20u
/* RFC 7144, 5.1: in byte 2 */
#define CMD_PRIORITY_MASK 0x0fu
#define CMD_ATTR_MASK	  0x07u

/* 11.4.1, 11.7: SCSI Response and Data-In */
#define RSP_FLAG_BIDI_OVERFLOW	0x10u
#define RSP_FLAG_BIDI_UNDERFLOW 0x08u
#define RSP_FLAG_OVERFLOW	0x04u
#define RSP_FLAG_UNDERFLOW	0x02u
#define DATA_IN_FLAG_ACK	0x40u
#define DATA_IN_FLAG_STATUS	0x01u

enum iscsi_response { /* 11.4.3 */
		      ISCSI_RESPONSE_COMPLETED = 0x00,
		      ISCSI_RESPONSE_TARGET_FAILURE = 0x01,
};

enum ahs_type { /* 11.2.2.1 */
		AHS_EXTENDED_CDB = 1,
		AHS_BIDI_READ_LENGTH = 2,
};

enum iscsi_tmf { /* 11.5.1; RFC 7144, 6 */
		 ISCSI_TMF_ABORT_TASK = 1,
		 ISCSI_TMF_ABORT_TASK_SET = 2,
		 ISCSI_TMF_CLEAR_ACA = 3,
		 ISCSI_TMF_CLEAR_TASK_SET = 4,
		 ISCSI_TMF_LOGICAL_UNIT_RESET = 5,
		 ISCSI_TMF_TARGET_WARM_RESET = 6,
		 ISCSI_TMF_TARGET_COLD_RESET = 7,
		 ISCSI_TMF_TASK_REASSIGN = 8,
		 ISCSI_TMF_QUERY_TASK = 9,
		 ISCSI_TMF_QUERY_TASK_SET = 10,
		 ISCSI_TMF_I_T_NEXUS_RESET = 11,
		 ISCSI_TMF_QUERY_ASYNC_EVENT = 12,
};

enum iscsi_tmf_response { /* 11.6.1; RFC 7144, 6.2 */
			  ISCSI_TMF_RSP_COMPLETE = 0,
			  ISCSI_TMF_RSP_NO_TASK = 1,
			  ISCSI_TMF_RSP_NO_LUN = 2,
			  ISCSI_TMF_RSP_STILL_ALLEGIANT = 3,
			  ISCSI_TMF_RSP_NO_REASSIGN = 4,
			  ISCSI_TMF_RSP_NOT_SUPPORTED = 5,
			  ISCSI_TMF_RSP_NOT_AUTHORIZED = 6,
			  ISCSI_TMF_RSP_SUCCEEDED = 7,
			  ISCSI_TMF_RSP_REJECTED = 255,
};

enum iscsi_async_event { /* 11.9.1 */
			 ISCSI_ASYNC_SCSI = 0,
			 ISCSI_ASYNC_LOGOUT_REQUEST = 1,
			 ISCSI_ASYNC_DROP_CONNECTION = 2,
			 ISCSI_ASYNC_DROP_ALL = 3,
			 ISCSI_ASYNC_NEGOTIATE = 4,
			 ISCSI_ASYNC_ABORTED = 5,
};

/* 11.12, 11.13: login */
#define LOGIN_FLAG_TRANSIT  0x80u
#define LOGIN_FLAG_CONTINUE 0x40u
enum login_stage {
	LOGIN_SECURITY = 0,
	LOGIN_OPERATIONAL = 1,
	LOGIN_FULL_FEATURE = 3,
};

enum login_status { /* 11.13.5: class << 8 | detail */
		    LOGIN_OK = 0x0000,
		    LOGIN_MOVED_TEMPORARILY = 0x0101,
		    LOGIN_MOVED_PERMANENTLY = 0x0102,
		    LOGIN_INITIATOR_ERROR = 0x0200,
		    LOGIN_AUTH_FAILED = 0x0201,
		    LOGIN_FORBIDDEN = 0x0202,
		    LOGIN_NOT_FOUND = 0x0203,
		    LOGIN_TARGET_REMOVED = 0x0204,
		    LOGIN_BAD_VERSION = 0x0205,
		    LOGIN_TOO_MANY = 0x0206,
		    LOGIN_MISSING_PARAMETER = 0x0207,
		    LOGIN_NOT_IN_SESSION = 0x0208,
		    LOGIN_SESSION_TYPE = 0x0209,
		    LOGIN_NO_SESSION = 0x020a,
		    LOGIN_INVALID_REQUEST = 0x020b,
		    LOGIN_TARGET_ERROR = 0x0300,
		    LOGIN_UNAVAILABLE = 0x0301,
		    LOGIN_NO_RESOURCES = 0x0302,
};

enum logout_reason { /* 11.14.1 */
		     LOGOUT_CLOSE_SESSION = 0,
		     LOGOUT_CLOSE_CONNECTION = 1,
		     LOGOUT_RECOVERY = 2,
};

enum logout_response { /* 11.15.1 */
		       LOGOUT_RSP_OK = 0,
		       LOGOUT_RSP_NO_CID = 1,
		       LOGOUT_RSP_NO_RECOVERY = 2,
		       LOGOUT_RSP_CLEANUP_FAILED = 3,
};

enum reject_reason { /* 11.17.1 */
		     REJECT_DATA_DIGEST = 0x02,
		     REJECT_SNACK = 0x03,
		     REJECT_PROTOCOL = 0x04,
		     REJECT_NOT_SUPPORTED = 0x05,
		     REJECT_IMMEDIATE = 0x06,
		     REJECT_TASK_IN_PROGRESS = 0x07,
		     REJECT_INVALID_DATA_ACK = 0x08,
		     REJECT_INVALID_FIELD = 0x09,
		     REJECT_OUT_OF_RESOURCES = 0x0a,
		     REJECT_NEGOTIATION_RESET = 0x0b,
		     REJECT_WAITING_FOR_LOGOUT = 0x0c,
};
