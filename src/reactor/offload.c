/* SPDX-License-Identifier: BSD-3-Clause */
#include "reactor/offload.h"

#include <signal.h>

#include "base/assert.h"
#include "reactor/engine.h"

/* Lives in op->priv. */
struct offload_job {
	struct mail mail;
	struct reactor *reactor;
	op_work_fn *work;
};
_Static_assert(sizeof(struct offload_job) <= sizeof(((struct op *)0)->priv),
	       "a job fits into its operation");

static struct offload_job *op_job(struct op *op)
{
	return (struct offload_job *)(void *)op->priv;
}

static void offload_returned(struct mail *mail)
{
	struct offload_job *job = container_of(mail, struct offload_job, mail);
	uint64_t *priv = (uint64_t *)(void *)job;
	struct op *op = container_of(priv, struct op, priv[0]);

	op_complete(op, op->res);
}

static void *offload_thread(void *arg)
{
	struct offload *o = arg;

	pthread_mutex_lock(&o->lock);
	for (;;) {
		struct op *op;

		o->nidle++;
		while (list_empty(&o->queue) && !o->stopping)
			pthread_cond_wait(&o->wake, &o->lock);
		o->nidle--;
		if (o->stopping)
			break;
		op = list_entry(list_pop_front(&o->queue), struct op, link);
		o->queued--;
		pthread_mutex_unlock(&o->lock);

		op->res = op_job(op)->work(op);
		mail_post(op_job(op)->reactor, &op_job(op)->mail);

		pthread_mutex_lock(&o->lock);
	}
	pthread_mutex_unlock(&o->lock);
	return NULL;
}

/* One more, if there is more to do than threads that wait. 0 or -errno. */
static int offload_grow(struct offload *o)
{
	sigset_t all, old;
	int rc;

	if (o->queued <= o->nidle || o->nthreads == OFFLOAD_THREADS_MAX)
		return 0;
	/* Signals are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&o->threads[o->nthreads], NULL, offload_thread, o);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc)
		return o->nthreads ? 0 : -rc;
	o->nthreads++;
	return 0;
}

int offload_init(struct offload *o)
{
	int rc = pthread_mutex_init(&o->lock, NULL);

	if (rc)
		return -rc;
	rc = pthread_cond_init(&o->wake, NULL);
	if (rc) {
		pthread_mutex_destroy(&o->lock);
		return -rc;
	}
	list_init(&o->queue);
	return 0;
}

void offload_deinit(struct offload *o)
{
	pthread_mutex_lock(&o->lock);
	o->stopping = true;
	pthread_cond_broadcast(&o->wake);
	pthread_mutex_unlock(&o->lock);

	for (uint32_t i = 0; i < o->nthreads; i++)
		pthread_join(o->threads[i], NULL);
	pthread_cond_destroy(&o->wake);
	pthread_mutex_destroy(&o->lock);
}

void offload_submit(struct offload *o, struct reactor *r, struct op *op,
		    op_work_fn *work)
{
	struct offload_job *job = op_job(op);
	int rc;

	job->mail.run = offload_returned;
	job->reactor = r;
	job->work = work;

	pthread_mutex_lock(&o->lock);
	list_push_back(&o->queue, &op->link);
	o->queued++;
	rc = offload_grow(o);
	if (rc) {
		list_remove(&op->link);
		o->queued--;
	} else {
		pthread_cond_signal(&o->wake);
	}
	pthread_mutex_unlock(&o->lock);

	if (rc) {
		op->res = rc;
		mail_post(r, &job->mail);
	}
}
