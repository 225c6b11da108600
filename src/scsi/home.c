/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Changes of a logical unit that every core has to know of before they are
 * answered. They run one after the other on the home (control) reactor.
 */
#include "scsi/home.h"

#include "base/assert.h"
#include "scsi/task_priv.h"

static void start_next(struct lun *lun);

/* Back on the task's core. */
static void on_return(struct mail *mail)
{
	task_continue(container_of(mail, struct scsi_task, mail));
}

static void send_back(struct scsi_task *t)
{
	t->mail.run = on_return;
	mail_post(t->nexus->reactor, &t->mail);
}

static void state_core(struct sweep_core *c)
{
	struct lun *lun = c->sweep->ctx;
	struct lun_view *view = &lun->views[c->index];

	view->state = lun->state;
	if (lun->change_ua != UA_COUNT)
		ua_set_view(view, lun->change_ua, lun->changer->nexus);
	sweep_core_done(c);
}

static void state_done(struct sweep *s)
{
	struct lun *lun = s->ctx;

	send_back(take(&lun->changer));
	start_next(lun);
}

static void start_next(struct lun *lun)
{
	struct list *node = list_pop_front(&lun->changes);
	struct scsi_task *t;

	while (node != NULL) {
		t = list_entry(node, struct scsi_task, waiter.link);
		lun->change_ua = UA_COUNT;
		if (t->home(t, &lun->state, &lun->change_ua)) {
			lun->changer = t;
			sweep_start(&lun->state_sweep);
			return;
		}
		send_back(t);
		node = list_pop_front(&lun->changes);
	}
}

static void on_home(struct mail *mail)
{
	struct scsi_task *t = container_of(mail, struct scsi_task, mail);
	struct lun *lun = t->view->lun;

	list_push_back(&lun->changes, &t->waiter.link);
	if (lun->changer == NULL)
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

int home_init(struct lun *lun, struct reactors *set)
{
	int error = sweep_init(&lun->state_sweep, set);

	list_init(&lun->changes);
	lun->state_sweep.each = state_core;
	lun->state_sweep.done = state_done;
	lun->state_sweep.ctx = lun;
	return error;
}
