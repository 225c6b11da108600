/* SPDX-License-Identifier: BSD-3-Clause */
#include "scsi/wipe.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "scsi/home.h"
#include "scsi/task_priv.h"

#define WIPE_IOVS  8	       /* of one write: as often the same buffer */
#define WIPE_TURN  4	       /* pieces before others get their turn */
#define WIPE_PIECE (64u << 20) /* bytes that are zeroed or erased at once */

/* What a task keeps in its scratch. */
enum { SLOT_WIPE, SLOT_BEGUN, SLOT_IMMED, SLOT_PROGRESS };

struct wipe {
	struct lun *lun;
	struct sweep drain;
	struct mail mail;
	struct bdev_io io;
	struct wipe_options opt;
	uint32_t pass;
	uint64_t pos; /* bytes of this pass */
	bool flushing;
	int result;
	uint8_t *buf; /* a pattern, BUF_LARGE bytes of it */
	struct iovec iov[WIPE_IOVS];
};

static void wipe_free(struct wipe *w)
{
	if (w == NULL)
		return;
	sweep_deinit(&w->drain);
	free(w->buf);
	free(w);
}

/* ---- Refusals and progress. */

static uint16_t wipe_asc(enum wipe_state state, uint8_t *ret_key)
{
	*ret_key = KEY_NOT_READY;
	switch (state) {
	case WIPE_SANITIZING:
		return ASC_SANITIZE_IN_PROGRESS;
	case WIPE_FORMATTING:
		return ASC_FORMAT_IN_PROGRESS;
	case WIPE_SANITIZE_FAILED:
		*ret_key = KEY_MEDIUM_ERROR;
		return ASC_SANITIZE_FAILED;
	case WIPE_FORMAT_FAILED:
		*ret_key = KEY_MEDIUM_ERROR;
		return ASC_FORMAT_CORRUPTED;
	case WIPE_NOT:
		break;
	}
	*ret_key = KEY_NO_SENSE;
	return ASC_NONE;
}

enum scsi_step wipe_refuse(struct scsi_task *t)
{
	uint8_t key;
	uint16_t asc = wipe_asc(t->view->state.wipe, &key);

	return sense_fail(t, key, asc);
}

/* SPC-4, 4.5.2.4.4: in parts of 65536. */
static uint16_t progress(const struct wipe *w)
{
	uint64_t size = bdev_size(w->lun->bdev);
	uint64_t total = size * MAX(w->opt.passes, 1u);
	uint64_t done = size * w->pass + w->pos;

	return (uint16_t)MIN(done / (total / 65536 + 1), (uint64_t)65535);
}

static bool read_progress(struct scsi_task *t, struct lun_state *state,
			  enum ua_bit *ret_ua)
{
	const struct wipe *w = t->view->lun->wipe;

	t->scratch[SLOT_PROGRESS] = w != NULL ? progress(w) : 0;
	return false;
}

static enum scsi_step report_progress(struct scsi_task *t)
{
	bool descriptor = t->cdb[1] & 0x01;
	uint8_t *data = task_small(t, SCSI_SENSE_MAX);
	struct sense s = {0};

	s.asc = wipe_asc(t->view->state.wipe, &s.key);
	if (wipe_running(&t->view->state)) {
		s.has_sks = true;
		s.sks[0] = 0x80; /* SKSV */
		store_be16(s.sks + 1, (uint16_t)t->scratch[SLOT_PROGRESS]);
	}
	return task_data_in(t, data, sense_build(&s, descriptor, data),
			    t->cdb[4]);
}

enum scsi_step wipe_report(struct scsi_task *t)
{
	if (!wipe_running(&t->view->state))
		return report_progress(t);
	return home_change(t, read_progress, report_progress);
}

/* ---- The end. */

static void end(struct wipe *w, int result)
{
	w->result = result;
	home_wake(w->lun);
}

bool wipe_end_begin(struct lun *lun)
{
	struct wipe *w = lun->wipe;

	if (w == NULL || w->result > 0)
		return false;
	lun->state.wipe = WIPE_NOT;
	if (w->result < 0)
		lun->state.wipe = w->opt.state == WIPE_FORMATTING
					  ? WIPE_FORMAT_FAILED
					  : WIPE_SANITIZE_FAILED;
	lun->state.wipe_exit = w->opt.exit_allowed;
	return true;
}

void wipe_end_done(struct lun *lun)
{
	wipe_free(take(&lun->wipe));
	lun_try_close(lun);
}

void wipe_init_view(struct lun_view *view)
{
	list_init(&view->wipers);
}

void wipe_wake(struct lun_view *view)
{
	struct list *node;

	if (wipe_running(&view->state))
		return;
	while ((node = list_pop_front(&view->wipers)) != NULL)
		task_continue(list_entry(node, struct scsi_task, waiter.link));
}

/* ---- The medium, piece by piece. On the home reactor. */

static void pump(struct wipe *w);

static void on_turn(struct mail *mail)
{
	pump(container_of(mail, struct wipe, mail));
}

static void yield_turn(struct wipe *w)
{
	w->mail.run = on_turn;
	mail_post(reactors_main(w->lun->server->set), &w->mail);
}

static void piece_done(struct wipe *w)
{
	if (!w->flushing)
		w->pos += w->io.len;
}

static void on_io(struct bdev_io *io)
{
	struct wipe *w = container_of(io, struct wipe, io);

	if (io->result < 0) {
		end(w, io->result);
		return;
	}
	piece_done(w);
	pump(w);
}

static void plan_pattern(struct wipe *w, uint64_t left)
{
	unsigned int n = 0;

	w->io.op = BDEV_WRITE;
	w->io.len = MIN(left, (uint64_t)WIPE_IOVS * BUF_LARGE);
	for (left = w->io.len; left > 0; n++) {
		w->iov[n].iov_base = w->buf;
		w->iov[n].iov_len = MIN(left, (uint64_t)BUF_LARGE);
		left -= w->iov[n].iov_len;
	}
	w->io.iov = w->iov;
	w->io.iovcnt = n;
}

/* The next I/O; false when there is none. */
static bool plan(struct wipe *w)
{
	uint64_t size = bdev_size(w->lun->bdev);

	if (w->pos >= size && w->pass + 1 < w->opt.passes) {
		w->pass++;
		w->pos = 0;
		for (uint32_t i = 0; w->opt.invert && i < BUF_LARGE; i++)
			w->buf[i] ^= 0xff;
	}
	w->io.fua = false;
	w->io.iov = NULL;
	w->io.iovcnt = 0;
	w->io.offset = w->pos;
	if (w->pos < size) {
		w->io.len = MIN(size - w->pos, (uint64_t)WIPE_PIECE);
		if (w->opt.method == WIPE_PATTERN)
			plan_pattern(w, size - w->pos);
		else if (w->opt.method == WIPE_ERASE)
			w->io.op = BDEV_UNMAP;
		else
			w->io.op = BDEV_WRITE_ZEROES;
		return true;
	}
	if (w->flushing)
		return false;
	w->flushing = true;
	w->io.op = BDEV_FLUSH;
	w->io.offset = w->io.len = 0;
	return true;
}

static void pump(struct wipe *w)
{
	struct lun *lun = w->lun;
	struct lun_view *view =
		&lun->views[reactor_index(reactors_main(lun->server->set))];

	for (int turn = 0;; turn++) {
		if (lun->removing || list_empty(&lun->slots)) {
			end(w, -ECANCELED);
			return;
		}
		if (turn == WIPE_TURN) {
			yield_turn(w);
			return;
		}
		if (!plan(w)) {
			end(w, 0);
			return;
		}
		w->io.done = on_io;
		if (bdev_submit(view->ch, &w->io) == BDEV_PENDING)
			return;
		if (w->io.result < 0) {
			end(w, w->io.result);
			return;
		}
		piece_done(w);
	}
}

/* ---- The beginning: everybody else leaves the medium. */

static bool at_medium(const struct scsi_task *t, const void *ctx)
{
	return t->cmd != NULL && (t->cmd->flags & CMD_MEDIUM) &&
	       !(t->cmd->flags & CMD_WIPES);
}

static bool medium_busy(struct sweep_core *c)
{
	const struct wipe *w = c->sweep->ctx;

	return task_any_matching(&w->lun->views[c->index], at_medium, NULL);
}

static void drain_core(struct sweep_core *c)
{
	struct wipe *w = c->sweep->ctx;

	core_drain(w->lun->views[c->index].core, c, medium_busy);
}

static void drained(struct sweep *s)
{
	pump(s->ctx);
}

/* After the state has been sent to the cores: there it comes first. */
static void start_drain(struct mail *mail)
{
	struct wipe *w = container_of(mail, struct wipe, mail);

	sweep_start(&w->drain);
}

static bool begin(struct scsi_task *t, struct lun_state *state,
		  enum ua_bit *ret_ua)
{
	struct wipe *w = (struct wipe *)(uintptr_t)t->scratch[SLOT_WIPE];
	struct lun *lun = t->view->lun;

	t->scratch[SLOT_BEGUN] = lun->wipe == NULL;
	if (lun->wipe != NULL) {
		wipe_free(w);
		return false;
	}
	lun->wipe = w;
	state->wipe = (uint8_t)w->opt.state;
	w->mail.run = start_drain;
	mail_post(reactors_main(lun->server->set), &w->mail);
	return true;
}

/* Its end, for who waited for it. */
static enum scsi_step wiped(struct scsi_task *t)
{
	if (t->view->state.wipe != WIPE_NOT)
		return wipe_refuse(t);
	return task_good(t);
}

static enum scsi_step begun(struct scsi_task *t)
{
	if (!t->scratch[SLOT_BEGUN]) /* somebody else was first */
		return wipe_running(&t->view->state)
			       ? wipe_refuse(t)
			       : task_status(t, SCSI_BUSY);
	if (t->scratch[SLOT_IMMED])
		return task_good(t);
	if (!wipe_running(&t->view->state))
		return wiped(t);
	t->state = SCSI_TASK_BLOCKED;
	t->resume = wiped;
	list_init(&t->waiter.link);
	list_push_back(&t->view->wipers, &t->waiter.link);
	return SCSI_PENDING;
}

static bool fill_pattern(struct wipe *w, uint32_t block_size)
{
	const struct wipe_options *opt = &w->opt;

	if (opt->method != WIPE_PATTERN)
		return true;
	w->buf = aligned_alloc(BUF_ALIGN, BUF_LARGE);
	if (w->buf == NULL)
		return false;
	for (uint32_t i = 0; i < BUF_LARGE; i++)
		w->buf[i] = opt->pattern[i % block_size % opt->pattern_len];
	w->opt.pattern = NULL; /* the task's memory */
	return true;
}

enum scsi_step wipe_start(struct scsi_task *t, const struct wipe_options *opt)
{
	struct wipe *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return task_status(t, SCSI_BUSY);
	w->lun = t->view->lun;
	w->opt = *opt;
	w->result = 1; /* not yet */
	w->drain.each = drain_core;
	if (sweep_init(&w->drain, w->lun->server->set) < 0 ||
	    !fill_pattern(w, t->view->block_size)) {
		wipe_free(w);
		return task_status(t, SCSI_BUSY);
	}
	w->drain.each = drain_core;
	w->drain.done = drained;
	w->drain.ctx = w;
	t->scratch[SLOT_WIPE] = (uintptr_t)w;
	t->scratch[SLOT_IMMED] = opt->immed;
	return home_change(t, begin, begun);
}

/* ---- EXIT FAILURE MODE. */

static bool leave(struct scsi_task *t, struct lun_state *state,
		  enum ua_bit *ret_ua)
{
	if (state->wipe != WIPE_SANITIZE_FAILED || !state->wipe_exit)
		return false;
	state->wipe = WIPE_NOT;
	return true;
}

static enum scsi_step left(struct scsi_task *t)
{
	/* SBC-3, 5.24.5: not where the completion was to be restricted. */
	if (t->view->state.wipe == WIPE_SANITIZE_FAILED)
		return sense_cdb(t, 1, 4);
	return task_good(t);
}

enum scsi_step wipe_exit(struct scsi_task *t)
{
	return home_change(t, leave, left);
}
