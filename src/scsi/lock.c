/* SPDX-License-Identifier: BSD-3-Clause */
#include "scsi/lock.h"

#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "scsi/task_priv.h"

/* A lock as one core has it. */
struct lock_core {
	struct list link;    /* view->locks */
	struct list waiters; /* tasks, by waiter.link */
	struct extent_lock *lock;
};

struct extent_lock {
	struct list link; /* lun's free or held ones */
	struct lun *lun;
	struct scsi_task *owner;
	uint64_t lba, nblocks;
	struct sweep sweep;
	struct mail mail;
	struct lock_core *cores; /* [core] */
};

static bool overlap(uint64_t lba, uint64_t nblocks, uint64_t other,
		    uint64_t nother)
{
	/* Neither range wraps: both are inside the unit. */
	return lba < other + nother && other < lba + nblocks;
}

/* ---- On each core. */

bool lock_enter_slow(struct scsi_task *t,
		     enum scsi_step (*resume)(struct scsi_task *t))
{
	struct lock_core *lc;

	list_for_each(lc, &t->view->locks, link) {
		if (!overlap(t->lba, t->nblocks, lc->lock->lba,
			     lc->lock->nblocks))
			continue;
		t->touches = false;
		t->state = SCSI_TASK_BLOCKED;
		t->resume = resume;
		list_init(&t->waiter.link);
		list_push_back(&lc->waiters, &t->waiter.link);
		return false;
	}
	return true;
}

/* Is a command at the extent that this core has to wait for? */
static bool lock_busy(struct sweep_core *c)
{
	const struct extent_lock *lock = c->sweep->ctx;
	struct scsi_task *t;

	list_for_each(t, &lock->lun->views[c->index].tasks, link) {
		if (t->touches &&
		    (t->mapped || t->state == SCSI_TASK_RUNNING) &&
		    t != lock->owner &&
		    overlap(t->lba, t->nblocks, lock->lba, lock->nblocks))
			return true;
	}
	return false;
}

static void lock_core(struct sweep_core *c)
{
	struct extent_lock *lock = c->sweep->ctx;
	struct lun_view *view = &lock->lun->views[c->index];

	list_push_back(&view->locks, &lock->cores[c->index].link);
	core_drain(view->core, c, lock_busy);
}

static void unlock_core(struct sweep_core *c)
{
	struct extent_lock *lock = c->sweep->ctx;
	struct lock_core *lc = &lock->cores[c->index];
	struct list *node;

	list_remove(&lc->link);
	while ((node = list_pop_front(&lc->waiters)) != NULL)
		task_continue(list_entry(node, struct scsi_task, waiter.link));
	sweep_core_done(c);
}

/* ---- At home. */

static void on_return(struct mail *mail)
{
	task_continue(container_of(mail, struct scsi_task, mail));
}

static void locked(struct sweep *s)
{
	struct extent_lock *lock = s->ctx;
	struct scsi_task *t = lock->owner;

	t->lock = lock;
	t->mail.run = on_return;
	mail_post(t->nexus->reactor, &t->mail);
}

static bool try_grant(struct lun *lun, struct scsi_task *t)
{
	struct extent_lock *lock;

	list_for_each(lock, &lun->locks_held, link) {
		if (overlap(t->lba, t->nblocks, lock->lba, lock->nblocks))
			return false;
	}
	if (list_empty(&lun->locks_free))
		return false;
	lock = list_first(&lun->locks_free, struct extent_lock, link);
	list_remove(&lock->link);
	list_push_back(&lun->locks_held, &lock->link);
	lock->owner = t;
	lock->lba = t->lba;
	lock->nblocks = t->nblocks;
	lock->sweep.each = lock_core;
	lock->sweep.done = locked;
	sweep_start(&lock->sweep);
	return true;
}

/* In order of arrival; who cannot yet does not stop those behind him. */
static void grant_waiters(struct lun *lun)
{
	struct list again = LIST_INIT(again), *node;

	while ((node = list_pop_front(&lun->lock_waiters)) != NULL) {
		if (!try_grant(lun,
			       list_entry(node, struct scsi_task, waiter.link)))
			list_push_back(&again, node);
	}
	list_splice_back(&lun->lock_waiters, &again);
}

static void unlocked(struct sweep *s)
{
	struct extent_lock *lock = s->ctx;
	struct lun *lun = lock->lun;

	list_remove(&lock->link);
	list_push_back(&lun->locks_free, &lock->link);
	grant_waiters(lun);
	lun_try_close(lun);
}

static void on_release(struct mail *mail)
{
	struct extent_lock *lock = container_of(mail, struct extent_lock, mail);

	lock->sweep.each = unlock_core;
	lock->sweep.done = unlocked;
	sweep_start(&lock->sweep);
}

static void on_acquire(struct mail *mail)
{
	struct scsi_task *t = container_of(mail, struct scsi_task, mail);
	struct lun *lun = t->view->lun;

	if (!try_grant(lun, t))
		list_push_back(&lun->lock_waiters, &t->waiter.link);
}

/* ---- For commands. */

enum scsi_step lock_acquire(struct scsi_task *t,
			    enum scsi_step (*resume)(struct scsi_task *t))
{
	ASSERT(t->nblocks > 0 && t->lock == NULL);
	t->state = SCSI_TASK_RUNNING;
	t->touches = false;
	t->resume = resume;
	t->mail.run = on_acquire;
	list_init(&t->waiter.link);
	mail_post(reactors_main(t->view->lun->server->set), &t->mail);
	return SCSI_PENDING;
}

void lock_release(struct scsi_task *t)
{
	struct extent_lock *lock = take(&t->lock);

	lock->owner = NULL;
	lock->mail.run = on_release;
	mail_post(reactors_main(lock->lun->server->set), &lock->mail);
}

int locks_init(struct lun *lun, struct reactors *set)
{
	uint32_t n = reactors_count(set);

	list_init(&lun->locks_free);
	list_init(&lun->locks_held);
	list_init(&lun->lock_waiters);
	lun->lock_mem = calloc(LOCKS_MAX, sizeof(*lun->lock_mem));
	if (lun->lock_mem == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < LOCKS_MAX; i++) {
		struct extent_lock *lock = &lun->lock_mem[i];

		lock->lun = lun;
		lock->cores = calloc(n, sizeof(*lock->cores));
		if (lock->cores == NULL || sweep_init(&lock->sweep, set) < 0)
			return -ENOMEM;
		lock->sweep.ctx = lock;
		for (uint32_t c = 0; c < n; c++) {
			list_init(&lock->cores[c].link);
			list_init(&lock->cores[c].waiters);
			lock->cores[c].lock = lock;
		}
		list_push_back(&lun->locks_free, &lock->link);
	}
	return 0;
}

void locks_deinit(struct lun *lun)
{
	for (uint32_t i = 0; lun->lock_mem != NULL && i < LOCKS_MAX; i++) {
		free(lun->lock_mem[i].cores);
		sweep_deinit(&lun->lock_mem[i].sweep);
	}
	free(lun->lock_mem);
}
