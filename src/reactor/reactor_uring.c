/* SPDX-License-Identifier: BSD-3-Clause */
#include "reactor/uring_priv.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "reactor/cores.h"

static void uring_run(struct reactors *set);
static void uring_stop(struct reactors *set);
static void uring_destroy(struct reactors *set);

static const struct reactor_engine uring_engine = {
	.name = "uring",
	.run = uring_run,
	.stop = uring_stop,
	.destroy = uring_destroy,
	.clock_ns = uring_clock_ns,
	.mail_post = uring_mail_post,
	.offload = uring_offload,
	.readv = uring_readv,
	.writev = uring_writev,
	.fdatasync = uring_fdatasync,
	.fallocate = uring_fallocate,
	.stream_attach = uring_stream_attach,
	.stream_detach = uring_stream_detach,
	.stream_send = uring_stream_send,
	.stream_recv_direct = uring_stream_recv_direct,
	.stream_recv_undirect = uring_stream_recv_undirect,
	.stream_pause = uring_stream_pause,
	.stream_resume = uring_stream_resume,
	.stream_close = uring_stream_close,
	.stream_local_addr = uring_stream_local_addr,
	.stream_peer_addr = uring_stream_peer_addr,
	.listener_open = uring_listener_open,
	.listener_close = uring_listener_close,
};

/* ------------------------------------------------------------------------
 * One reactor.
 */

/* kernel.io_uring_disabled: 0, 1 (some may), 2 (nobody may). */
static int sysctl_io_uring_disabled(void)
{
	FILE *f = fopen("/proc/sys/kernel/io_uring_disabled", "re");
	int c;

	if (!f)
		return 0;
	c = fgetc(f);
	fclose(f);
	return c >= '0' && c <= '9' ? c - '0' : 0;
}

static const char *why_refused(void)
{
	switch (sysctl_io_uring_disabled()) {
	case 0:
		return "io_uring is refused: most likely by the seccomp "
		       "profile of the container; it must allow "
		       "io_uring_setup, io_uring_enter and "
		       "io_uring_register";
	case 1:
		return "io_uring is refused by the sysctl "
		       "kernel.io_uring_disabled=1: set it to 0, or put this "
		       "user into the group kernel.io_uring_group";
	default:
		return "io_uring is refused by the sysctl "
		       "kernel.io_uring_disabled=2: set it to 0";
	}
}

/* One line for the user about why there is no io_uring. */
static const char *why_no_ring(int rc)
{
	switch (-rc) {
	case EPERM:
	case EACCES:
		return why_refused();
	case ENOSYS:
		return "io_uring is not there: the kernel was built without "
		       "CONFIG_IO_URING, or a seccomp profile hides it";
	case EINVAL:
		return "io_uring of this kernel is too old: Linux 6.1 or "
		       "later is needed";
	case ENOMEM:
		return "no memory for io_uring: raise the limit of locked "
		       "memory (ulimit -l, LimitMEMLOCK=) or that of the "
		       "container";
	case EMFILE:
	case ENFILE:
		return "no file descriptor for io_uring: raise the limit of "
		       "open files (ulimit -n, LimitNOFILE=)";
	default:
		return "io_uring could not be set up";
	}
}

static void uring_deinit(struct uring *u)
{
	if (u->ring_made)
		io_uring_queue_exit(&u->ring);
	uring_rx_bufs_destroy(u);
	if (u->wake_fd >= 0)
		close(u->wake_fd);
	reactor_deinit(&u->r);
	free(u);
}

static void uring_stop_one(struct mail *mail)
{
	struct uring *u = container_of(mail, struct uring, stop_mail);

	u->stopping = true;
}

static int uring_init_ring(struct uring *u, const char **ret_why)
{
	/*
	 * Disabled until the thread that will run it enables it: the first to
	 * do so is its single issuer.
	 */
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER |
			 IORING_SETUP_DEFER_TASKRUN |
			 IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_CQSIZE |
			 IORING_SETUP_R_DISABLED,
		.cq_entries = URING_CQ_ENTRIES,
	};
	int rc;

	rc = io_uring_queue_init_params(URING_SQ_ENTRIES, &u->ring, &params);
	if (rc) {
		*ret_why = why_no_ring(rc);
		return rc;
	}
	u->ring_made = true;
	rc = uring_rx_bufs_create(u);
	if (rc)
		*ret_why = why_no_ring(rc);
	return rc;
}

static int uring_create(struct uring_set *us, const struct reactor_options *opt,
			uint32_t index, const char **ret_why)
{
	struct uring *u;
	int rc;

	rc = posix_memalign((void **)&u, 64, sizeof(*u));
	if (rc) {
		*ret_why = "no memory for a reactor";
		return -rc;
	}
	memset(u, 0, sizeof(*u));
	u->wake_fd = -1;
	u->pin = opt->pin;
	u->stop_mail.run = uring_stop_one;
	mailbox_init(&u->mailbox);
	list_init(&u->ready);
	list_init(&u->wanting);
	list_init(&u->starved);
	list_init(&u->sending);
	list_init(&u->leaving);

	rc = reactor_init(&u->r, &uring_engine, &us->set, index,
			  opt->cores[index], opt->small_bufs, opt->large_bufs);
	if (rc) {
		*ret_why = "no memory for the buffers of a reactor";
		free(u);
		return rc;
	}
	u->r.now_ns = uring_clock_ns(&u->r);
	u->wake_fd = eventfd(0, EFD_CLOEXEC);
	if (u->wake_fd < 0) {
		rc = -errno;
		*ret_why = why_no_ring(rc);
	} else {
		rc = uring_init_ring(u, ret_why);
	}
	if (rc)
		uring_deinit(u);
	return rc;
}

/* liburing 2.3 declares io_uring_enable_rings() but does not export it. */
static int uring_enable(struct uring *u)
{
	int rc;

	rc = io_uring_register((unsigned int)u->ring.ring_fd,
			       IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	if (rc >= 0)
		u->enabled = true;
	return rc;
}

static void uring_run_one(struct uring *u)
{
	int rc = u->pin ? core_pin(u->r.cpu) : 0;

	if (rc)
		log_warning("reactor: cannot bind to CPU %u: %s", u->r.cpu,
			    strerror(-rc));
	if (!u->enabled) {
		rc = uring_enable(u);
		ASSERT(rc == 0);
	}
	/* Saves a look-up per system call; does without if it must. */
	(void)io_uring_register_ring_fd(&u->ring);
	uring_loop(u);
	(void)io_uring_unregister_ring_fd(&u->ring);
}

/* ------------------------------------------------------------------------
 * The set.
 */

static void *uring_thread(void *arg)
{
	struct uring *u = arg;
	struct uring_set *us = uring_set_of(u->r.set);
	enum uring_go go;

	pthread_mutex_lock(&us->lock);
	while (us->go == GO_WAIT)
		pthread_cond_wait(&us->cond, &us->lock);
	go = us->go;
	pthread_mutex_unlock(&us->lock);

	if (go == GO_RUN)
		uring_run_one(u);
	return NULL;
}

/* Now, so that a lack of threads is found out before anything runs. */
static int uring_start_thread(struct uring *u, const char **ret_why)
{
	sigset_t all, old;
	int rc;

	/* Signals are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&u->thread, NULL, uring_thread, u);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc) {
		*ret_why = "a reactor's thread could not be started: look at "
			   "the limit of processes (ulimit -u, TasksMax=)";
		return -rc;
	}
	u->has_thread = true;
	return 0;
}

static void uring_release_threads(struct uring_set *us, enum uring_go go)
{
	pthread_mutex_lock(&us->lock);
	us->go = go;
	pthread_cond_broadcast(&us->cond);
	pthread_mutex_unlock(&us->lock);
}

static void uring_join(struct uring_set *us)
{
	for (uint32_t i = 0; i < us->set.count; i++) {
		struct uring *u;

		if (!us->set.all[i])
			continue;
		u = uring_of(us->set.all[i]);
		if (u->has_thread)
			pthread_join(u->thread, NULL);
		u->has_thread = false;
	}
}

static void uring_run(struct reactors *set)
{
	struct uring_set *us = uring_set_of(set);

	uring_release_threads(us, GO_RUN);
	uring_run_one(uring_of(reactors_main(set)));
	uring_join(us);
}

static void uring_stop(struct reactors *set)
{
	struct uring_set *us = uring_set_of(set);

	if (us->stop_sent)
		return;
	us->stop_sent = true;
	for (uint32_t i = 0; i < set->count; i++)
		mail_post(set->all[i], &uring_of(set->all[i])->stop_mail);
}

static void uring_destroy(struct reactors *set)
{
	struct uring_set *us = uring_set_of(set);

	uring_release_threads(us, GO_QUIT);
	uring_join(us);
	offload_deinit(&us->offload);
	for (uint32_t i = 0; i < set->count; i++)
		if (set->all[i])
			uring_deinit(uring_of(set->all[i]));
	pthread_cond_destroy(&us->cond);
	pthread_mutex_destroy(&us->lock);
	free(us);
}

/* Spinning threads that share a CPU only hinder each other. */
static uint64_t spin_max_ns(const struct reactor_options *opt)
{
	if (cores_available() < opt->ncores)
		return 0;
	return opt->poll_us_max * UINT64_C(1000);
}

static int options_check(const struct reactor_options *opt,
			 const char **ret_why)
{
	if (opt->ncores < 1 || opt->ncores > REACTORS_MAX) {
		*ret_why = "the number of reactors must be 1 to 256";
		return -EINVAL;
	}
	if (opt->main_core >= opt->ncores) {
		*ret_why = "the main core is not one of the reactors' cores";
		return -EINVAL;
	}
	for (uint32_t i = 0; opt->pin && i < opt->ncores; i++) {
		if (!core_exists(opt->cores[i])) {
			*ret_why = "the core mask names a CPU that this "
				   "machine does not have";
			return -EINVAL;
		}
	}
	return 0;
}

static int uring_set_create(const struct reactor_options *opt,
			    struct uring_set **ret_us)
{
	struct uring_set *us = calloc(1, sizeof(*us));
	int rc;

	if (!us)
		return -ENOMEM;
	rc = offload_init(&us->offload);
	if (rc) {
		free(us);
		return rc;
	}
	/* With default attributes these two cannot fail on Linux. */
	pthread_mutex_init(&us->lock, NULL);
	pthread_cond_init(&us->cond, NULL);
	us->set.engine = &uring_engine;
	us->set.count = opt->ncores;
	us->set.main = opt->main_core;
	*ret_us = us;
	return 0;
}

int reactors_create(const struct reactor_options *opt,
		    struct reactors **ret_set, const char **ret_why)
{
	struct uring_set *us;
	int rc;

	rc = options_check(opt, ret_why);
	if (rc)
		return rc;
	rc = uring_set_create(opt, &us);
	if (rc) {
		*ret_why = "no memory for the reactors";
		return rc;
	}
	for (uint32_t i = 0; i < opt->ncores && rc == 0; i++) {
		rc = uring_create(us, opt, i, ret_why);
		if (rc)
			break;
		uring_of(us->set.all[i])->spin_max_ns = spin_max_ns(opt);
		if (i != opt->main_core)
			rc = uring_start_thread(uring_of(us->set.all[i]),
						ret_why);
	}
	if (rc) {
		uring_destroy(&us->set);
		return rc;
	}
	*ret_set = &us->set;
	return 0;
}
