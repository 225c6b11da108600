/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sessions, connections and commands: what the files of this layer that join
 * the engines to the reactor share. Nothing outside of iscsi/ includes it.
 *
 * A connection is born on the control reactor, logs in there, and moves with
 * its session to the session's reactor when it enters full feature phase.
 * From then on everything in these structures belongs to that reactor; what
 * control wants to know is in the records of server_priv.h.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/slab.h"
#include "iscsi/iscsi_spec.h"
#include "iscsi/keys.h"
#include "iscsi/pdu_rx.h"
#include "reactor/reactor.h"
#include "scsi/nexus.h"
#include "scsi/task.h"

#define TX_PDUS_MAX	     128u	/* PDUs in one send */
#define TX_IOVS_MAX	     448u	/* iovecs in one send */
#define TX_BYTES_MAX	     (1u << 20) /* a send stops growing beyond this */
#define TX_CONTROL_MAX	     64u /* replies of control queued, per connection */
#define TX_CONTROL_BYTES_MAX (1u << 20)
#define R2T_OUTSTANDING_MAX  8u		/* per command */
#define IMMEDIATE_MAX	     32u	/* immediate commands of a session */
#define HELD_BYTES_MAX	     (4u << 20) /* of commands that came out of order */
#define DIRECT_RECV_MIN	     32768u /* a payload worth a receive of its own */
#define LOGOUT_MS_MAX	     5000u  /* for a response to get out */
#define ABORT_MS_MAX	     5000u  /* for an aborted payload to end */
#define UNACKED_MAX	     512u   /* replies kept, per connection */
#define CMD_HASH_SIZE	     64u
#define CMDS_PER_CORE	     16384u
#define BATCHES_PER_CORE     4096u

struct iscsi_server;
struct conn_record;
struct session_record;
struct login;
struct login_glue;
struct text_exchange;
struct session;
struct conn;

/* Why a connection ended; each has a text and a counter (close_reason.c). */
enum close_reason {
	CLOSE_NONE,
	CLOSE_PEER,  /* the peer closed */
	CLOSE_RESET, /* error of the socket */
	CLOSE_LOGOUT,
	CLOSE_RECOVERY, /* logout for recovery */
	CLOSE_LOGIN_FAILED,
	CLOSE_LOGIN_TIMEOUT,
	CLOSE_TOO_MANY,	 /* connections from this address */
	CLOSE_NOT_LOGIN, /* another PDU before login */
	CLOSE_TOO_LONG,	 /* DataSegmentLength */
	CLOSE_HEADER_DIGEST,
	CLOSE_PROTOCOL,
	CLOSE_NOP_TIMEOUT,
	CLOSE_ABORT_TIMEOUT, /* a task could not be taken back */
	CLOSE_REINSTATED,
	CLOSE_CONN_REINSTATED, /* by a login with the same CID */
	CLOSE_ADMIN,	       /* dropped by control */
	CLOSE_SHUTDOWN,
	CLOSE_NO_MEMORY,
	CLOSE_REASON_COUNT
};
const char *close_reason_text(enum close_reason reason);

/* What is to be done with the PDU at hand when its payload is complete. */
enum rx_verdict { RX_PROCESS, RX_DISCARD, RX_HOLD, RX_REJECT };

enum conn_state {
	CONN_LOGIN,   /* RFC 7143, 8.1.1: S3, S4 */
	CONN_ADMIT,   /* waits for the old session to go */
	CONN_MOVING,  /* on its way to the session's reactor */
	CONN_FULL,    /* S5 LOGGED_IN */
	CONN_LOGOUT,  /* S6: closes when the response is out */
	CONN_CLOSING, /* S7, S8: waits for what is in flight */
};

/* ---- Sending. */

enum tx_kind { TX_COMMAND, TX_R2T, TX_CONTROL, TX_RESEND };

/* Embedded in what has something to send. */
struct tx_item {
	struct list link;
	enum tx_kind kind;
	uint32_t statsn; /* of the PDU that ended it */
};

/*
 * PDUs that are to be sent once more, from what is kept until the initiator
 * acknowledges it (recovery.c). One request of an initiator: a SNACK.
 */
struct resend {
	struct tx_item tx;
	uint32_t itt;	    /* Data-In of this task; RESERVED_TAG: status */
	uint32_t next, end; /* DataSN or StatSN, @end not included */
};

/* A reply of control: login, text, NOP-In, TMF response, reject, ... */
struct control_pdu {
	struct tx_item tx;
	struct buf data;
	bool no_statsn;	 /* StatSN is shown, not used up */
	bool login;	 /* the engine has filled in all numbers */
	bool last_login; /* digests begin after it (RFC 7143, 6.3) */
	/* Called when it was sent (error 0) or the connection ends. */
	void (*sent)(struct conn *conn, struct control_pdu *pdu, int error);
	uint8_t bhs[BHS_LEN];
};

struct tx_header {
	uint8_t bhs[BHS_LEN + DIGEST_LEN];
	uint8_t tail[3 + DIGEST_LEN]; /* padding and data digest */
};

/* What is in the hands of the kernel; from the core's slab. */
struct tx_batch {
	struct list done; /* items that end with this send */
	struct list link;
	uint32_t npdus, niovs;
	size_t bytes;
	struct tx_header header[TX_PDUS_MAX];
	struct iovec iov[TX_IOVS_MAX];
};

/* ---- A SCSI command. */

struct r2t {
	uint32_t ttt;
	uint32_t offset, len; /* bytes asked for */
	uint32_t received;
	uint32_t datasn; /* of the next Data-Out */
	bool broken;	 /* a PDU of it was lost: the rest is asked for anew */
	bool queued;	 /* its PDU is still to be sent */
	uint32_t r2tsn;
};

/* In the order of need: see struct scsi_task. */
struct cmd {
	struct conn *conn; /* allegiance (RFC 7143, 4.2.2.1) */
	struct list link;  /* conn->cmds */
	struct cmd *hash_next;
	struct tx_item tx;     /* the response */
	struct tx_item r2t_tx; /* its R2Ts */
	uint32_t itt;
	uint32_t cmdsn;
	uint32_t edtl;
	uint8_t flags;	/* R and W of the command */
	bool immediate; /* does not use the window */
	bool counted;	/* in the window's count */
	bool receiving; /* pdu_rx places into its buffers */
	bool direct;	/* the kernel does */
	bool dead;	/* aborted: to be freed when it can be */
	bool hashed;
	bool waits_buffers;
	bool wants_data; /* between SCSI_WANT_DATA and execute */
	/* Data-out. */
	uint32_t out_len;     /* bytes that the task takes */
	uint32_t out_done;    /* bytes received, in order */
	uint32_t unsol_limit; /* FirstBurstLength's share of it */
	uint32_t unsol_done;  /* bytes of it, immediate data included */
	uint32_t unsol_datasn;
	bool unsol_open; /* unsolicited Data-Out is to come */
	bool unsol_broken;
	bool waits_final; /* complete, but unsolicited Data-Out is still to come */
	uint32_t r2t_next; /* offset of the next R2T */
	uint32_t r2tsn;
	uint8_t nr2t;
	bool status_sent;
	uint8_t sense_head[2]; /* SenseLength (RFC 7143, 11.4.7) */
	/* Data-in. */
	uint32_t in_len, in_sent;
	uint32_t statsn;    /* of the status, once it is sent */
	uint32_t snack_tag; /* R-Data SNACK (11.4.10); 0: none */
	uint32_t datasn;
	uint32_t burst_sent;
	/* Up to here it begins as zeroes. */
	struct scsi_task task;
	struct r2t r2t[R2T_OUTSTANDING_MAX];
};

/* ---- Connection. */

/* The PDU at hand. */
struct rx_now {
	uint8_t opcode;
	uint8_t verdict;      /* enum rx_verdict */
	uint8_t reject;	      /* enum reject_reason */
	struct cmd *cmd;      /* takes the payload */
	struct r2t *r2t;      /* of it; NULL: unsolicited */
	uint32_t offset, len; /* where in the command's buffers */
	struct iovec iov;
	struct buf data; /* payload of all but SCSI data */
};

struct conn {
	struct stream stream;
	struct iscsi_server *server;
	struct conn_record *record; /* control's; for the final mail */
	struct iscsi_core *core;
	struct session *session; /* NULL before full feature phase */
	struct list link;	 /* session->conns */
	enum conn_state state;
	enum close_reason reason;
	bool released; /* the stream is */
	bool paused_control, paused_buffers;
	bool logout_session; /* the logout is for all of it */
	bool orphaned; /* closed, but its tasks wait for a new connection */
	uint16_t logout_cid; /* else: for this one */
	uint16_t cid;
	struct conn_params params;
	uint32_t statsn;
	uint32_t inflight; /* mails and TMFs that refer to it */
	struct pdu_rx rx;
	struct rx_now now;
	const struct held_pdu *replay; /* the PDU at hand comes from here */
	size_t direct_left;	       /* bytes that the kernel still places */
	struct list cmds;
	/* Sending. */
	struct list txq;     /* struct tx_item */
	struct list unacked; /* struct tx_item, by StatSN */
	uint32_t nunacked;
	uint32_t nresends;	/* queued, or in the hands of the kernel */
	struct tx_batch *batch; /* in flight */
	struct list batch_wait; /* core->starved */
	struct deferred flush;
	uint32_t ncontrol;
	size_t control_bytes;
	uint32_t ttt_next;
	/* Time. */
	struct timer timer; /* login; then NOP */
	uint64_t last_rx_ns;
	uint64_t nop_sent_ns; /* 0: none outstanding */
	uint32_t nop_ttt;
	struct timer abort_timer;
	bool tx_header_digest, tx_data_digest;
	struct text_exchange *text;	 /* in full feature phase */
	struct login_glue *login;	 /* until full feature phase */
	struct session_record *admitted; /* its session, while it moves there */
	struct session_record *joining;	 /* holds a place in it */
	struct mail mail;
};

/* A whole PDU that came before its turn. */
struct held_pdu {
	struct list link;
	struct conn *conn;
	uint32_t cmdsn;
	uint32_t itt;
	uint32_t ahs_len, data_len;
	bool data_digest_bad;
	bool data_out;	 /* belongs to the held command before it */
	bool immediate;	 /* task management that waits for its elders */
	uint8_t bytes[]; /* BHS, AHS, data */
};

struct session {
	struct session_record *record;
	struct iscsi_server *server;
	struct reactor *reactor;
	struct iscsi_core *core;
	bool discovery;
	bool open; /* the nexus is */
	bool closing;
	uint32_t nreserved; /* connections on their way to it */
	uint16_t tsih;
	struct list conns;
	uint32_t nconns;
	struct session_params params;
	struct scsi_nexus nexus;
	struct target_node *node; /* control's; kept by the record */
	char initiator_name[ISCSI_NAME_MAX + 1];
	/* RFC 7143, 4.2.2.1 */
	uint32_t expcmdsn;
	uint32_t queue_depth;
	uint32_t window_used; /* non-immediate commands not answered */
	uint32_t nimmediate;
	struct list held; /* struct held_pdu, by CmdSN */
	size_t held_bytes;
	bool replaying;
	/* Settings that were in force at login. */
	uint32_t nop_interval_s, nop_timeout_s;
	uint32_t ntmfs; /* under way */
	struct timer logout_timer;
	struct cmd *hash[CMD_HASH_SIZE];
};

/* What a core has for all of its connections. */
struct iscsi_core {
	struct iscsi_server *server;
	struct reactor *reactor;
	struct slab cmds;
	struct slab batches;
	struct list starved; /* connections that wait for a batch */
	uint64_t rejects;
	uint64_t digest_errors;
	uint64_t commands;
	uint64_t closed[CLOSE_REASON_COUNT];
};

/* Serial number arithmetic (RFC 1982; RFC 7143, 4.2.2.1). */
static inline bool sn_before(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

static inline uint32_t session_maxcmdsn(const struct session *s)
{
	return s->expcmdsn + (s->queue_depth - s->window_used) - 1;
}

/* A Target Transfer Tag of our own: any but the reserved one (11.7.4). */
static inline uint32_t conn_next_ttt(struct conn *c)
{
	if (c->ttt_next == RESERVED_TAG)
		c->ttt_next++;
	return c->ttt_next++;
}

/* ---- conn.c: life, framing, dispatch. */
struct conn *conn_create(struct iscsi_server *server, struct iscsi_core *core,
			 struct conn_record *record);
void conn_start(struct conn *c, int fd);
/* On the session's reactor, the stream attached, params set. */
void conn_enter_full_feature(struct conn *c);
/* Idempotent. The connection goes away when nothing refers to it. */
void conn_close(struct conn *c, enum close_reason reason);
/* Asks whether a closing connection can be freed now. The caller must not
 * touch it afterwards. */
void conn_try_reap(struct conn *c);
/* Stops and restarts receiving; @why is one of conn->paused_*. */
void conn_set_paused(struct conn *c, bool *why, bool on);
/* In a header handler: the payload goes to conn->now.data; to @iov; nowhere,
 * and then the PDU is rejected. */
void conn_collect(struct conn *c);
void conn_place(struct conn *c, const struct iovec *iov, unsigned int iovcnt,
		size_t offset, size_t len);
void conn_reject(struct conn *c, enum reject_reason reason);
/* Handles a PDU that was held. */
void conn_replay(struct conn *c, const struct held_pdu *h);
extern const struct stream_ops conn_stream_ops;

/* ---- tx.c */
void tx_queue(struct conn *c, struct tx_item *item);
struct control_pdu *control_pdu_new(uint8_t opcode, uint8_t flags,
				    size_t data_max);
/* One that was never queued. */
void control_pdu_discard(struct control_pdu *pdu);
/* Takes @pdu. NULL is allowed: the connection is closed for want of memory. */
void control_pdu_queue(struct conn *c, struct control_pdu *pdu);
void tx_flush(struct deferred *d);
void tx_sent(struct stream *stream, int error);
/* The connection ends: nothing more is sent; gives items back. */
void tx_drop(struct conn *c);
void conn_send_reject(struct conn *c, enum reject_reason reason,
		      const uint8_t *bhs);
void conn_send_async(struct conn *c, enum iscsi_async_event event, uint16_t p1,
		     uint16_t p2, uint16_t p3);

/* ---- cmd.c: SCSI Command, responses; data_out.c: Data-Out and R2T. */
void cmd_header(struct conn *c);
void cmd_payload(struct conn *c, bool digest_bad);
unsigned int cmd_iovs(const struct cmd *cmd);
void cmd_build(struct cmd *cmd, struct tx_batch *b, bool *ret_last);
struct cmd *session_find_cmd(struct session *s, uint32_t itt);
void cmd_complete(struct cmd *cmd);
void cmd_restart(struct cmd *cmd, uint32_t datasn);
/* It is over; its status goes out once its unsolicited data has come. */
void cmd_complete_early(struct cmd *cmd);
/* All data of the command is there. */
void cmd_execute(struct cmd *cmd);
/* Its response was sent, or it will never be. */
void cmd_free(struct cmd *cmd);
/* The connection ends. */
void cmds_cancel(struct conn *c);
/* Takes the payload at hand into the command's buffers, now or (the connection
 * pauses) when it has some. */
void cmd_receive(struct conn *c, struct cmd *cmd, uint32_t offset,
		 uint32_t len);
/* The payload has ended. False: the command was aborted meanwhile and is gone,
 * or its data is broken and it has failed. */
bool cmd_received(struct conn *c, struct cmd *cmd, bool digest_bad);

void data_out_header(struct conn *c);
void data_out_payload(struct conn *c, bool digest_bad);
/* Asks for what is still missing. */
void data_out_solicit(struct cmd *cmd);
void r2t_build(struct cmd *cmd, struct tx_batch *b, bool *ret_last);
void data_out_fail(struct cmd *cmd, uint16_t asc_ascq);
/* It waits for buffers, but its data is here: BUSY; when @more unasked data
 * comes, after that. */
void data_out_refuse(struct cmd *cmd, bool more);

/* ---- recovery.c: what is kept and sent again (RFC 7143, 7). */
static inline bool recovers_data(const struct session *s)
{
	return s->params.error_recovery_level >= 1;
}
/* An item was sent: true when it is kept until it is acknowledged. */
bool recovery_keep(struct conn *c, struct tx_item *item);
/* The initiator has everything before @expstatsn. */
void recovery_ack(struct conn *c, uint32_t expstatsn);
void recovery_drop(struct conn *c);
void snack_request(struct conn *c);
/* One PDU of a struct resend. */
void resend_build(struct conn *c, struct resend *r, struct tx_batch *b,
		  bool *ret_last);
/* Once more: Data-In number @datasn of a command, False: there is no such;
 * its status with the StatSN that it had; a reply of control. */
bool cmd_rebuild_data(struct cmd *cmd, uint32_t datasn, struct tx_batch *b);
void cmd_rebuild_status(struct cmd *cmd, struct tx_batch *b);
void control_rebuild(struct conn *c, struct control_pdu *pdu,
		     struct tx_batch *b);
void control_pdu_free(struct conn *c, struct control_pdu *pdu, int error);

static inline bool recovers_tasks(const struct session *s)
{
	return s->params.error_recovery_level >= 2;
}
/* A connection that failed keeps its tasks for a while (RFC 7143, 7.1.4.4):
 * may it? Then conn_released() calls orphans_begin(). */
bool orphans_wanted(const struct conn *c, enum close_reason reason);
void orphans_begin(struct conn *c);
/* They are given up. */
void orphans_end(struct conn *c);
/* TASK REASSIGN (11.5.1): the task moves to @c. The response code; the task
 * goes on when cmd_adopt() is called, after the response is queued. */
uint8_t orphan_find(struct conn *c, const uint8_t *bhs, struct cmd **ret_cmd);
void cmd_adopt(struct conn *c, struct cmd *cmd, uint32_t expdatasn);

/* ---- tx helpers for builders. */
uint8_t *tx_begin(struct conn *c, struct tx_batch *b, uint8_t opcode,
		  uint8_t flags);
void tx_end(struct conn *c, struct tx_batch *b, const struct iovec *iov,
	    unsigned int iovcnt, size_t offset, uint32_t len);
bool tx_room(const struct tx_batch *b, unsigned int iovs);

/* ---- session.c */
struct session *session_create(struct iscsi_server *server,
			       struct session_record *record,
			       struct reactor *reactor);
/* On its reactor. */
void session_open(struct session *s);
/* Asks all connections to log out, and drops those that have not in time. */
void session_request_logout(struct session *s, uint16_t timeout_s);
void session_add_conn(struct session *s, struct conn *c);
void session_remove_conn(struct session *s, struct conn *c);
void session_close(struct session *s, enum close_reason reason);
void session_try_end(struct session *s);
struct conn *session_find_cid(struct session *s, uint16_t cid);
/*
 * Keeps the session from ending until a connection has joined it, or
 * session_unreserve(); one that has the same CID is ended. False: too late.
 */
bool session_reserve(struct session *s, uint16_t cid);
void session_unreserve(struct session *s);

/*
 * The verdict on a PDU with a CmdSN (RFC 7143, 4.2.2.1).
 */
enum cmdsn_verdict {
	CMDSN_NOW,    /* its turn; ExpCmdSN has advanced */
	CMDSN_IGNORE, /* outside the window, or a duplicate */
	CMDSN_HOLD,   /* inside the window, but something is missing */
};
enum cmdsn_verdict session_cmdsn(struct session *s, uint32_t cmdsn,
				 bool immediate, bool tmf);
bool session_hold(struct session *s, struct conn *c);
/* Is the command of this Data-Out held? Then hold it too. */
bool session_held_itt(const struct session *s, uint32_t itt);
void session_replay(struct session *s);
void session_drop_held(struct session *s, struct conn *c);
/* Marks a CmdSN that has not come as come (ABORT TASK: 11.5.1). */
void session_skip_cmdsn(struct session *s, uint32_t cmdsn);

/* ---- tmf.c, nop.c, text_request.c, logout.c: one PDU family each. */
void tmf_request(struct conn *c);
void nop_header(struct conn *c);
void nop_out(struct conn *c, bool digest_bad);
void nop_start(struct conn *c);
void text_request(struct conn *c, bool digest_bad);
void text_conn_end(struct conn *c);
void logout_request(struct conn *c);

/* ---- login_conn.c: login on the control reactor. */
int login_glue_create(struct conn *c);
void login_glue_destroy(struct conn *c);
void login_request(struct conn *c, bool digest_bad);
/* NULL in full feature phase. */
struct login *conn_login(struct conn *c);
void login_abandon(struct conn *c);
/* The last response before the move is out. */
void login_move(struct conn *c);
