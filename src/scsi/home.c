/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Changes of a logical unit that every core has to know of before they are
 * answered. They run one after the other on the home (control) reactor.
 */
#include "scsi/home.h"

#include <stdlib.h>

#include "base/assert.h"
#include "scsi/reserve.h"
#include "scsi/task_priv.h"
#include "scsi/wipe.h"

static void start_next(struct lun *lun);

static bool idle(const struct lun *lun)
{
	return !sweep_active(&lun->state_sweep);
}

/* ---- A change on each core. */

static bool preempted_left(const struct scsi_task *t, const void *table)
{
	return t->aborted && reserve_preempted(t, table);
}

static bool abort_busy(struct sweep_core *c)
{
	struct lun *lun = c->sweep->ctx;

	return task_any_matching(&lun->views[c->index], preempted_left,
				 lun->pr_next);
}

static void forget_prevents(struct lun_view *view)
{
	struct lun_path *path;
	struct scsi_nexus *n;

	list_for_each(path, &view->paths, link) {
		list_for_each(n, &path->dv->nexuses, link) {
			n->prevents[path->lun_id] = false;
		}
	}
}

static void state_core(struct sweep_core *c)
{
	struct lun *lun = c->sweep->ctx;
	struct lun_view *view = &lun->views[c->index];
	const struct scsi_nexus *except =
		lun->changer != NULL ? lun->changer->nexus : NULL;

	view->state = lun->state;
	if (lun->pr_next != NULL)
		view->pr = lun->pr_next;
	reserve_refresh(view);
	wipe_wake(view);
	if (lun->resetting)
		forget_prevents(view);
	if (lun->change_ua != UA_COUNT)
		ua_set_view(view, lun->change_ua, except);
	if (lun->pr_next == NULL) {
		sweep_core_done(c);
		return;
	}
	reserve_tell(view);
	task_abort_matching(view, reserve_preempted, lun->pr_next, false);
	core_drain(view->core, c, abort_busy);
}

/* ---- Whoever asked for it goes on. */

static void on_return(struct mail *mail)
{
	task_continue(container_of(mail, struct scsi_task, mail));
}

static void send_back(struct scsi_task *t)
{
	t->mail.run = on_return;
	mail_post(t->nexus->reactor, &t->mail);
}

static void post_loss(struct lun_view *view);

static void loss_returned(struct mail *mail)
{
	struct lun_view *view = container_of(mail, struct lun_view, loss.mail);

	view->loss.busy = false;
	if (view->loss.next_id != 0 || view->loss.next_prevents != 0)
		post_loss(view);
	else
		core_wake(view->core); /* a LUN that leaves waits for it */
}

static void return_loss(struct lun_view *view)
{
	view->loss.mail.run = loss_returned;
	mail_post(view->core->reactor, &view->loss.mail);
}

static void state_done(struct sweep *s)
{
	struct lun *lun = s->ctx;

	if (lun->pr_next != NULL) {
		free(lun->pr);
		lun->pr = take(&lun->pr_next);
	}
	if (lun->changer != NULL)
		send_back(take(&lun->changer));
	if (lun->loser != NULL)
		return_loss(take(&lun->loser));
	if (lun->resetting) {
		lun->resetting = false;
		core_wake(&lun->server->cores[reactor_index(s->origin)]);
	}
	if (lun->wipe_ending) {
		lun->wipe_ending = false;
		wipe_end_done(lun);
	}
	start_next(lun);
}

/* ---- What is next. */

void default_state(const struct lun *lun, struct lun_state *ret)
{
	*ret = (struct lun_state){.write_cache = lun->bdev->write_cache};
}

/* Mode parameters as they were; no reservation of SPC-2; removal allowed. */
static void start_reset(struct lun *lun)
{
	struct lun_state old = lun->state;

	default_state(lun, &lun->state);
	lun->state.stopped = old.stopped;
	lun->state.ejected = old.ejected;
	lun->state.wipe = old.wipe; /* SBC-3, 4.11.2: it goes on */
	lun->state.wipe_exit = old.wipe_exit;
	lun->state.clock_set = old.clock_set;
	lun->state.clock_offset = old.clock_offset;
	lun->reset_wanted = false;
	lun->resetting = true;
	lun->change_ua = UA_COUNT;
	sweep_start(&lun->state_sweep);
}

static void start_loss(struct lun *lun)
{
	struct nexus_loss *loss =
		list_first(&lun->losses, struct nexus_loss, link);

	list_remove(&loss->link);
	lun->loser = container_of(loss, struct lun_view, loss);
	if (loss->id != 0 && lun->state.reserved == loss->id)
		lun->state.reserved = 0;
	/* A reset may have taken them all away meanwhile. */
	lun->state.prevented -= MIN(lun->state.prevented, loss->prevents);
	lun->change_ua = UA_COUNT;
	sweep_start(&lun->state_sweep);
}

static void start_next(struct lun *lun)
{
	struct scsi_task *t;
	struct list *node;

	if (lun->reset_wanted) {
		start_reset(lun);
		return;
	}
	if (wipe_end_begin(lun)) {
		lun->wipe_ending = true;
		lun->change_ua = UA_COUNT;
		sweep_start(&lun->state_sweep);
		return;
	}
	if (!list_empty(&lun->losses)) {
		start_loss(lun);
		return;
	}
	while ((node = list_pop_front(&lun->changes)) != NULL) {
		t = list_entry(node, struct scsi_task, waiter.link);
		lun->change_ua = UA_COUNT;
		if (t->home(t, &lun->state, &lun->change_ua)) {
			lun->changer = t;
			sweep_start(&lun->state_sweep);
			return;
		}
		send_back(t);
	}
}

/* ---- Commands. */

static void on_home(struct mail *mail)
{
	struct scsi_task *t = container_of(mail, struct scsi_task, mail);
	struct lun *lun = t->view->lun;

	list_push_back(&lun->changes, &t->waiter.link);
	if (idle(lun))
		start_next(lun);
}

enum scsi_step home_change(struct scsi_task *t, home_fn *fn,
			   enum scsi_step (*resume)(struct scsi_task *t))
{
	t->state = SCSI_TASK_RUNNING;
	t->home = fn;
	t->resume = resume;
	t->mail.run = on_home;
	list_init(&t->waiter.link);
	mail_post(reactors_main(t->view->lun->server->set), &t->mail);
	return SCSI_PENDING;
}

/* ---- Resets and losses. */

void home_wake(struct lun *lun)
{
	if (idle(lun))
		start_next(lun);
}

void home_reset(struct lun *lun)
{
	lun->reset_wanted = true;
	if (idle(lun))
		start_next(lun);
}

bool home_resetting(const struct lun *lun)
{
	return lun->reset_wanted || lun->resetting;
}

static void loss_arrived(struct mail *mail)
{
	struct lun_view *view = container_of(mail, struct lun_view, loss.mail);
	struct lun *lun = view->lun;

	list_push_back(&lun->losses, &view->loss.link);
	if (idle(lun))
		start_next(lun);
}

static void post_loss(struct lun_view *view)
{
	struct nexus_loss *loss = &view->loss;

	loss->busy = true;
	loss->id = loss->next_id;
	loss->prevents = loss->next_prevents;
	loss->next_id = 0;
	loss->next_prevents = 0;
	loss->mail.run = loss_arrived;
	mail_post(reactors_main(view->lun->server->set), &loss->mail);
}

void home_lose(struct lun_view *view, uint64_t id, uint32_t prevents)
{
	/* Only one nexus holds the unit, and this tells of it at once: a second
	 * id comes after the first was applied. */
	if (id != 0)
		view->loss.next_id = id;
	view->loss.next_prevents += prevents;
	if (!view->loss.busy)
		post_loss(view);
}

int home_init(struct lun *lun, struct reactors *set)
{
	int error = sweep_init(&lun->state_sweep, set);

	list_init(&lun->changes);
	list_init(&lun->losses);
	lun->state_sweep.each = state_core;
	lun->state_sweep.done = state_done;
	lun->state_sweep.ctx = lun;
	return error;
}
