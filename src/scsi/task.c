/* SPDX-License-Identifier: BSD-3-Clause */
#include "scsi/task.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "scsi/alua.h"
#include "scsi/lock.h"
#include "scsi/reserve.h"
#include "scsi/task_priv.h"
#include "scsi/wipe.h"

struct lun_view *device_view_lun(struct device_view *dv, uint64_t lun,
				 uint32_t *ret_id)
{
	uint32_t id;

	/* SAM-5, 4.7.7: one level only. Peripheral device addressing on bus 0,
	 * or flat space addressing. */
	*ret_id = SCSI_LUNS_MAX;
	if ((lun & 0xffffffffffffull) != 0)
		return NULL;
	id = (uint32_t)(lun >> 48);
	if (id >> 14 == 1)
		id &= 0x3fff;
	if (id >= SCSI_LUNS_MAX)
		return NULL;
	*ret_id = id;
	return dv->luns[id];
}

/* ---- Buffers. */

uint8_t *task_small(struct scsi_task *t, size_t len)
{
	ASSERT(len <= TASK_SMALL_MAX);
	ASSERT(!t->own_buffers);
	memset(t->small, 0, len);
	return t->small;
}

static bool get_buffers(struct scsi_task *t)
{
	struct bufpool *pool = reactor_bufpool(t->nexus->reactor);

	t->iovcnt = bufpool_get(pool, t->buf_len, t->iov_many, SCSI_IOV_MAX);
	if (t->iovcnt == 0)
		return false;
	t->iov = t->iov_many;
	t->own_buffers = true;
	return true;
}

static void buffers_ready(struct buf_waiter *w)
{
	struct scsi_task *t = container_of(w, struct scsi_task, waiter);

	ASSERT(t->state == SCSI_TASK_WAIT_BUFFERS);
	if (get_buffers(t))
		task_continue(t);
	else
		bufpool_wait(reactor_bufpool(t->nexus->reactor), w);
}

bool task_buffers(struct scsi_task *t, uint32_t len,
		  enum scsi_step (*resume)(struct scsi_task *t))
{
	ASSERT(!t->own_buffers && len > 0);
	t->buf_len = len;
	if (likely(get_buffers(t)))
		return true;
	t->resume = resume;
	t->state = SCSI_TASK_WAIT_BUFFERS;
	t->waiter.ready = buffers_ready;
	list_init(&t->waiter.link);
	bufpool_wait(reactor_bufpool(t->nexus->reactor), &t->waiter);
	return false;
}

static void put_buffers(struct scsi_task *t)
{
	uint32_t left = t->buf_len;
	unsigned int n = 0;

	/* The pool gets back what it gave, whatever was cut off to send. */
	for (; left > 0; n++) {
		t->iov_many[n].iov_len = MIN(left, BUF_LARGE);
		left -= MIN(left, BUF_LARGE);
	}
	t->own_buffers = false;
	bufpool_put(reactor_bufpool(t->nexus->reactor), t->iov_many, n);
}

enum scsi_step task_have_room(struct scsi_task *t)
{
	return SCSI_WANT_DATA;
}

enum scsi_step task_data_in(struct scsi_task *t, uint8_t *data, size_t avail,
			    size_t alloc)
{
	size_t len = MIN(avail, alloc);

	t->iov_one.iov_base = data;
	t->iov_one.iov_len = len;
	t->iov = &t->iov_one;
	t->iovcnt = len > 0;
	t->data_in_len = (uint32_t)len;
	return task_good(t);
}

enum scsi_step task_want_params(struct scsi_task *t, uint32_t len)
{
	uint32_t want = MIN(len, t->edtl_out);

	ASSERT(len <= BUF_SMALL);
	t->data_out_len = len;
	if (want == 0)
		return t->cmd->exec(t, 0);
	if (want > TASK_SMALL_MAX) {
		(void)task_buffers(t, want, task_have_room);
		return SCSI_WANT_DATA;
	}
	t->iov_one.iov_base = task_small(t, want);
	t->iov_one.iov_len = want;
	t->iov = &t->iov_one;
	t->iovcnt = 1;
	return SCSI_WANT_DATA;
}

/* ---- I/O. */

static void io_done(struct bdev_io *io)
{
	task_continue(container_of(io, struct scsi_task, io));
}

enum bdev_status task_submit(struct scsi_task *t)
{
	t->state = SCSI_TASK_RUNNING;
	t->io.done = io_done;
	return bdev_submit(t->view->ch, &t->io);
}

enum scsi_step task_io(struct scsi_task *t,
		       enum scsi_step (*resume)(struct scsi_task *t))
{
	t->resume = resume;
	if (task_submit(t) == BDEV_PENDING)
		return SCSI_PENDING;
	return resume(t);
}

static void complete(struct scsi_task *t)
{
	struct scsi_core *core = t->nexus->dv->core;

	t->state = SCSI_TASK_COMPLETE;
	if (unlikely(t->lock != NULL))
		lock_release(t);
	if (unlikely(!list_empty(&core->drains)))
		core_wake(core);
}

/* What the step means for whose turn it is. */
static enum scsi_step settle(struct scsi_task *t, enum scsi_step step)
{
	switch (step) {
	case SCSI_DONE:
		complete(t);
		break;
	case SCSI_WANT_DATA:
		t->wants_data = true;
		if (t->state != SCSI_TASK_WAIT_BUFFERS &&
		    t->state != SCSI_TASK_BLOCKED)
			t->state = SCSI_TASK_DATA_OUT;
		break;
	case SCSI_PENDING:
		ASSERT(t->state == SCSI_TASK_RUNNING ||
		       t->state == SCSI_TASK_WAIT_BUFFERS ||
		       t->state == SCSI_TASK_BLOCKED);
		break;
	}
	return step;
}

void task_continue(struct scsi_task *t)
{
	enum scsi_step step;

	if (unlikely(t->aborted)) {
		/* The backend gave it back: that is the end of it. */
		complete(t);
		t->data_in_len = 0;
		t->iovcnt = 0;
		t->ops->done(t);
		return;
	}
	t->state = SCSI_TASK_RUNNING;
	step = settle(t, t->resume(t));
	if (step == SCSI_DONE)
		t->ops->done(t);
	else if (step == SCSI_WANT_DATA && t->state == SCSI_TASK_DATA_OUT)
		t->ops->data_ready(t);
}

/* ---- The life of a task. */

static void reset(struct scsi_task *t)
{
	t->status = SCSI_GOOD;
	t->state = SCSI_TASK_RUNNING;
	t->aborted = false;
	t->sense_len = 0;
	t->status_qualifier = 0;
	t->data_out_len = 0;
	t->data_in_len = 0;
	t->iov = &t->iov_one;
	t->iovcnt = 0;
	t->own_buffers = false;
	t->mapped = false;
	t->wants_data = false;
	t->write_through = false;
	t->touches = false;
	t->lock = NULL;
	t->order = NULL;
	t->nblocks = 0;
	list_init(&t->link);
}

/* Checks that stop a command before its own; SCSI_PENDING: go on. */
static enum scsi_step check_unit(struct scsi_task *t,
				 const struct scsi_cmd *cmd, bool bad_sa,
				 uint32_t lun_id, bool own)
{
	struct lun_view *view = t->view;
	uint16_t asc;

	if (view == NULL && (cmd == NULL || !(cmd->flags & CMD_ANY_LUN)))
		return sense_fail(t, KEY_ILLEGAL_REQUEST,
				  ASC_LUN_NOT_SUPPORTED);
	if (!own && view != NULL && t->nexus->ua[lun_id] != 0 &&
	    (cmd == NULL || !(cmd->flags & CMD_KEEPS_UA)) &&
	    ua_take(t->nexus, lun_id, &asc))
		return sense_fail(t, KEY_UNIT_ATTENTION, asc);
	if (cmd == NULL) {
		if (bad_sa) /* SPC-4, 4.3.4 */
			return sense_cdb(
				t, t->cdb[0] == OP_VARIABLE_CDB ? 8 : 1,
				t->cdb[0] == OP_VARIABLE_CDB ? SENSE_NO_BIT
							     : 4);
		return sense_fail(t, KEY_ILLEGAL_REQUEST, ASC_INVALID_OPCODE);
	}
	if (view != NULL && !command_supported(cmd, view))
		return sense_fail(t, KEY_ILLEGAL_REQUEST, ASC_INVALID_OPCODE);
	if (view != NULL && view->removed && !(cmd->flags & CMD_ANY_LUN))
		return sense_fail(t, KEY_NOT_READY, ASC_MEDIUM_NOT_PRESENT);
	if (view != NULL && !alua_allows(cmd, t->nexus->access))
		return alua_refuse(t);
	if (view != NULL && view->state.wipe != WIPE_NOT &&
	    !(cmd->flags & (CMD_ANY_LUN | CMD_WIPE_OK | CMD_WIPES)))
		return wipe_refuse(t);
	return SCSI_PENDING;
}

static enum scsi_step check_cdb(struct scsi_task *t, const struct scsi_cmd *cmd)
{
	uint16_t byte;
	uint8_t bit;

	if (unlikely(cmd->len > 16)) {
		/* SPC-4, 4.2.3: the ADDITIONAL CDB LENGTH is the command's. */
		if (t->cdb_len < cmd->len || t->cdb[7] != cmd->len - 8)
			return sense_cdb(t, 7, SENSE_NO_BIT);
	}
	if (unlikely(command_bad_bit(cmd, t->cdb, &byte, &bit)))
		return sense_cdb(t, byte, bit);
	return SCSI_PENDING;
}

/* Medium: there, started, and writable. */
static enum scsi_step check_medium(struct scsi_task *t,
				   const struct scsi_cmd *cmd)
{
	const struct lun_state *s = &t->view->state;

	if (unlikely(s->ejected))
		return sense_fail(t, KEY_NOT_READY, ASC_MEDIUM_NOT_PRESENT);
	if (unlikely(s->stopped))
		return sense_fail(t, KEY_NOT_READY, ASC_STOPPED);
	if (cmd->flags & CMD_WRITES) {
		if (unlikely(t->view->lun->read_only))
			return sense_fail(t, KEY_DATA_PROTECT,
					  ASC_WRITE_PROTECTED);
		if (unlikely(s->protect))
			return sense_fail(t, KEY_DATA_PROTECT,
					  ASC_SW_WRITE_PROTECTED);
	}
	return SCSI_PENDING;
}

static inline enum scsi_step start(struct scsi_task *t, bool own)
{
	struct device_view *dv = t->nexus->dv;
	const struct scsi_cmd *cmd;
	enum scsi_step step;
	uint32_t lun_id;
	bool bad_sa = false;

	reset(t);
	cmd = command_find(t->cdb, &bad_sa);
	t->cmd = cmd;
	t->view = device_view_lun(dv, t->lun, &lun_id);
	t->seq = ++dv->core->seq;
	if (likely(t->view != NULL))
		list_push_back(&t->view->tasks, &t->link);
	if (unlikely(t->view == NULL || cmd == NULL || t->view->removed ||
		     t->nexus->ua[lun_id] != 0 ||
		     t->view->state.wipe != WIPE_NOT ||
		     t->nexus->access > SCSI_ACCESS_NON_OPTIMIZED ||
		     (cmd->flags & CMD_NOT_ALL))) {
		step = check_unit(t, cmd, bad_sa, lun_id, own);
		if (step != SCSI_PENDING)
			return settle(t, step);
	}
	if (unlikely(t->view != NULL && t->view->guarded)) {
		step = reserve_check(t, cmd, lun_id);
		if (step != SCSI_PENDING)
			return settle(t, step);
	}
	step = check_cdb(t, cmd);
	if (unlikely(step != SCSI_PENDING))
		return settle(t, step);
	if (cmd->flags & CMD_MEDIUM) {
		step = check_medium(t, cmd);
		if (unlikely(step != SCSI_PENDING))
			return settle(t, step);
	}
	return settle(t, cmd->start(t));
}

enum scsi_step scsi_task_start(struct scsi_task *t)
{
	return start(t, false);
}

enum scsi_step task_start_own(struct scsi_task *t)
{
	return start(t, true);
}

enum scsi_step scsi_task_execute(struct scsi_task *t, uint32_t len)
{
	if (unlikely(t->aborted))
		return SCSI_DONE;
	ASSERT(t->state == SCSI_TASK_DATA_OUT);
	ASSERT(len == MIN(t->edtl_out, t->data_out_len));
	t->state = SCSI_TASK_RUNNING;
	t->wants_data = false;
	return settle(t, t->cmd->exec(t, len));
}

void scsi_task_fail(struct scsi_task *t, uint16_t asc_ascq)
{
	ASSERT(t->state == SCSI_TASK_DATA_OUT || t->aborted);
	t->state = SCSI_TASK_COMPLETE;
	sense_fail(t, KEY_ABORTED_COMMAND, asc_ascq);
}

/* Out of every line it waits in. */
static void unwait(struct scsi_task *t)
{
	if (t->state == SCSI_TASK_WAIT_BUFFERS)
		bufpool_unwait(reactor_bufpool(t->nexus->reactor), &t->waiter);
	if (t->state == SCSI_TASK_BLOCKED)
		list_remove(&t->waiter.link);
}

void scsi_task_refuse(struct scsi_task *t)
{
	ASSERT(t->state == SCSI_TASK_WAIT_BUFFERS ||
	       t->state == SCSI_TASK_BLOCKED);
	unwait(t);
	t->state = SCSI_TASK_COMPLETE;
	t->status = SCSI_BUSY;
	t->sense_len = 0;
}

void scsi_task_release(struct scsi_task *t)
{
	struct scsi_core *core = t->nexus->dv->core;

	ASSERT(t->state != SCSI_TASK_RUNNING && t->state != SCSI_TASK_FREE);
	unwait(t);
	if (t->own_buffers)
		put_buffers(t);
	if (unlikely(t->order != NULL))
		free(t->order);
	list_remove(&t->link);
	t->state = SCSI_TASK_FREE;
	if (unlikely(!list_empty(&core->tmfs) || !list_empty(&core->drains)))
		core_task_released(core, t);
}

enum scsi_step scsi_task_cancel(struct scsi_task *t)
{
	bool running = t->state == SCSI_TASK_RUNNING;

	ASSERT(t->state != SCSI_TASK_FREE);
	unwait(t);
	t->aborted = true;
	t->status = SCSI_GOOD;
	if (running)
		return SCSI_PENDING;
	t->state = SCSI_TASK_COMPLETE;
	return SCSI_DONE;
}

/* ---- Aborts. */

void task_abort(struct scsi_task *t, bool send_status)
{
	enum scsi_task_state state = t->state;

	if (t->aborted || state == SCSI_TASK_COMPLETE)
		return;
	t->aborted = true;
	t->status = send_status ? SCSI_TASK_ABORTED : SCSI_GOOD;
	t->sense_len = 0;
	if (state == SCSI_TASK_RUNNING)
		return; /* done() comes from the backend */
	unwait(t);
	t->state = SCSI_TASK_COMPLETE;
	t->data_in_len = 0;
	if (t->wants_data) {
		t->ops->aborted(t);
		return;
	}
	t->iovcnt = 0;
	t->ops->done(t);
}

static struct scsi_task *next_matching(const struct lun_view *view,
				       task_match_fn *match, const void *ctx)
{
	struct scsi_task *t;

	list_for_each(t, &view->tasks, link) {
		if (!t->aborted && t->state != SCSI_TASK_COMPLETE &&
		    match(t, ctx))
			return t;
	}
	return NULL;
}

void task_abort_matching(struct lun_view *view, task_match_fn *match,
			 const void *ctx, bool send_status)
{
	struct scsi_task *t;

	/* From the front each time: a transport may release others, too. */
	while ((t = next_matching(view, match, ctx)) != NULL)
		task_abort(t, send_status);
}

bool task_any_matching(const struct lun_view *view, task_match_fn *match,
		       const void *ctx)
{
	struct scsi_task *t;

	list_for_each(t, &view->tasks, link) {
		if (match(t, ctx))
			return true;
	}
	return false;
}
