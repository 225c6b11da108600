/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of a SCSI command (SAM-5, 5): what a transport hands to the device
 * server and gets back. Everything runs on the reactor of the nexus.
 *
 *   transport                        device server
 *   fills in the task
 *   scsi_task_start()  ----------->  decodes, checks
 *                      <-----------  SCSI_DONE: status (and data-in) are set
 *                      <-----------  SCSI_PENDING: done() will come
 *                      <-----------  SCSI_WANT_DATA: data_out_len bytes, into
 *                                    task->iov (when iovcnt is 0 there is no
 *                                    room yet: data_ready() will come first)
 *   receives data-out into task->iov
 *   scsi_task_execute() ---------->  runs it: SCSI_DONE or SCSI_PENDING
 *   sends data-in from task->iov, and the status
 *   scsi_task_release() ---------->  lets go of buffers and of the LUN
 *
 * Every task that was started is released, once, by its transport.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/list.h"
#include "bdev/bdev.h"
#include "reactor/bufpool.h"
#include "scsi/nexus.h"
#include "scsi/ua.h"

#define SCSI_CDB_MAX   260 /* SPC-4, 4.2.3: variable length CDBs */
#define SCSI_SENSE_MAX 252 /* SPC-4, 4.5: sense data */
#define SCSI_IOV_MAX   BDEV_IOV_MAX
/* The largest transfer of one command, bytes (VPD B0 says it in blocks). */
#define SCSI_TRANSFER_MAX (4u << 20)

enum scsi_status { /* SAM-5, 5.3.1 */
		   SCSI_GOOD = 0x00,
		   SCSI_CHECK_CONDITION = 0x02,
		   SCSI_CONDITION_MET = 0x04,
		   SCSI_BUSY = 0x08,
		   SCSI_RESERVATION_CONFLICT = 0x18,
		   SCSI_TASK_SET_FULL = 0x28,
		   SCSI_ACA_ACTIVE = 0x30,
		   SCSI_TASK_ABORTED = 0x40,
};

enum scsi_attr { /* SAM-5, 8.6; RFC 7143, 11.3.1 coding */
		 SCSI_ATTR_UNTAGGED = 0,
		 SCSI_ATTR_SIMPLE = 1,
		 SCSI_ATTR_ORDERED = 2,
		 SCSI_ATTR_HEAD_OF_QUEUE = 3,
		 SCSI_ATTR_ACA = 4,
};

enum scsi_step { SCSI_DONE, SCSI_PENDING, SCSI_WANT_DATA };

struct scsi_task;
struct scsi_cmd;
struct lun_view;
struct lun_state;
struct extent_lock;
struct sweep;

struct scsi_task_ops {
	/* The task that was SCSI_PENDING has its status, or is `aborted`
	 * (then nothing is sent but what the abort asks for). */
	void (*done)(struct scsi_task *task);
	/* A SCSI_WANT_DATA without iovecs has them now. */
	void (*data_ready)(struct scsi_task *task);
	/* The task was aborted while it was the transport's turn (between
	 * SCSI_WANT_DATA and scsi_task_execute()): release it as soon as no
	 * receive into its buffers is under way. task->status is TASK ABORTED
	 * when one must be sent (SPC-4, TAS; or the logical unit is leaving),
	 * else nothing is sent. Comes from the loop. */
	void (*aborted)(struct scsi_task *task);
};

enum scsi_task_state {
	SCSI_TASK_FREE,
	SCSI_TASK_WAIT_BUFFERS, /* for data-out, or for a read */
	SCSI_TASK_BLOCKED,	/* by the task set's order or a lock */
	SCSI_TASK_DATA_OUT,	/* the transport's turn */
	SCSI_TASK_RUNNING,	/* the backend's turn */
	SCSI_TASK_COMPLETE,	/* the transport's turn, to the end */
};

/*
 * What every command touches comes first, in as few cache lines as it fits: a
 * core has hundreds of these in turn, and between two of them the data.
 */
struct scsi_task {
	/* ---- Set by the transport before scsi_task_start(). */
	const struct scsi_task_ops *ops;
	struct scsi_nexus *nexus;
	uint64_t lun;	   /* the 8 bytes of SAM-5 4.7, big-endian */
	uint64_t tag;	   /* unique in the nexus while it lives */
	uint32_t edtl_out; /* bytes the initiator offers (W), else 0 */
	uint32_t edtl_in;  /* bytes it has room for (R), else 0 */
	uint16_t cdb_len;  /* 6..SCSI_CDB_MAX; at least 16 present */
	uint8_t attr;	   /* enum scsi_attr */
	uint8_t priority;  /* RFC 7144, 0 = none */
	/* Data must not change while a digest covers it, nor reach the medium
	 * before its digest was checked: no mapping of the medium. */
	bool stable_data; /* (and the CDB, see below) */

	/* ---- Returned. */
	uint8_t status; /* enum scsi_status */
	uint8_t state;	/* enum scsi_task_state */
	bool aborted;
	uint16_t sense_len; /* 0 = none */
	uint16_t status_qualifier;
	/* What the CDB asks for. May differ from edtl_*: the transport moves
	 * the smaller and reports the residual. */
	uint32_t data_out_len;
	uint32_t data_in_len;
	/* data-out goes here; data-in comes from here. */
	unsigned int iovcnt;
	struct iovec *iov; /* &iov_one, or the task's own array */
	struct iovec iov_one;

	/* ---- The device server's. */
	bool own_buffers;   /* iov_many came from the pool */
	bool mapped;	    /* iov is the medium itself */
	bool wants_data;    /* SCSI_WANT_DATA was returned */
	bool write_through; /* FUA, or the write cache is off */
	bool touches;	    /* may be at the blocks of its range */
	const struct scsi_cmd *cmd;
	struct lun_view *view; /* NULL: no such LUN */
	struct list link;      /* view->tasks */
	uint64_t lba;
	uint64_t nblocks;
	uint64_t seq;		   /* order of arrival on this core */
	struct extent_lock *lock;  /* held or asked for */
	uint8_t cdb[SCSI_CDB_MAX]; /* the transport's; few are long */

	/* ---- What few commands touch. */
	uint32_t buf_len; /* bytes had from the pool */
	struct buf_waiter waiter;
	enum scsi_step (*resume)(struct scsi_task *task);
	uint64_t scratch[8]; /* a command's own, between its steps */
	void *order;	     /* a command's memory; freed with it */
	struct mail mail;    /* to the home reactor and back */
	bool (*home)(struct scsi_task *task, struct lun_state *state,
		     enum ua_bit *ret_ua);
	struct bdev_io io;
	union {
		struct iovec iov_many[SCSI_IOV_MAX];
		uint8_t small[SCSI_IOV_MAX * sizeof(struct iovec)];
	};
	uint8_t sense[SCSI_SENSE_MAX];
};

enum scsi_step scsi_task_start(struct scsi_task *task);

/*
 * All data-out that will come is in place: @len bytes, the smaller of edtl_out
 * and data_out_len.
 */
enum scsi_step scsi_task_execute(struct scsi_task *task, uint32_t len);

/*
 * The transport's turn ends badly (RFC 7143, 11.4.7.2: digest error, wrong
 * amount of data): CHECK CONDITION, ABORTED COMMAND with @asc_ascq. The task
 * is COMPLETE; it will not be executed. Between SCSI_WANT_DATA and execute.
 */
void scsi_task_fail(struct scsi_task *task, uint16_t asc_ascq);

/* The same for a task that waits for buffers which the transport cannot wait
 * for: BUSY. */
void scsi_task_refuse(struct scsi_task *task);

/* In state COMPLETE, or aborted, or never executed. */
void scsi_task_release(struct scsi_task *task);

/*
 * The transport gives the task up (connection lost): as an abort, but nothing
 * will be sent. If the backend has it, done() comes when it gives it back
 * (SCSI_PENDING is returned); else it can be released at once (SCSI_DONE).
 */
enum scsi_step scsi_task_cancel(struct scsi_task *task);

/* ---- Task management (SAM-5, 7). */

enum scsi_tmf_function {
	SCSI_TMF_ABORT_TASK,
	SCSI_TMF_ABORT_TASK_SET,
	SCSI_TMF_CLEAR_ACA,
	SCSI_TMF_CLEAR_TASK_SET,
	SCSI_TMF_LOGICAL_UNIT_RESET,
	SCSI_TMF_TARGET_WARM_RESET,
	SCSI_TMF_TARGET_COLD_RESET,
	SCSI_TMF_QUERY_TASK,
	SCSI_TMF_QUERY_TASK_SET,
	SCSI_TMF_I_T_NEXUS_RESET,
	SCSI_TMF_QUERY_ASYNC_EVENT,
};

enum scsi_tmf_response { /* SAM-5, 7.1 */
			 SCSI_TMF_COMPLETE,
			 SCSI_TMF_SUCCEEDED, /* QUERY *: yes */
			 SCSI_TMF_INCORRECT_LUN,
			 SCSI_TMF_REJECTED, /* not supported */
};

struct scsi_tmf {
	struct scsi_nexus *nexus;
	enum scsi_tmf_function function;
	uint64_t lun;
	struct scsi_task *task; /* ABORT TASK, QUERY TASK: found by tag */
	/* Comes from the loop, on the nexus' reactor, after every task that it
	 * aborts has been released by its transport, on every core. */
	void (*done)(struct scsi_tmf *tmf);
	enum scsi_tmf_response response;
	uint32_t additional; /* QUERY ASYNC EVENT: 3 bytes of response */
	bool missed;	     /* ABORT TASK: the task was over already */
	/* ---- The device server's. */
	struct list link; /* core's, until done */
	struct sweep *sweep;
	struct lun_view *view;
	uint64_t seq; /* older tasks are meant */
	bool started;
};
void scsi_tmf_start(struct scsi_tmf *tmf);
