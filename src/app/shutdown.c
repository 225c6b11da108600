/* SPDX-License-Identifier: BSD-3-Clause */
#include "app/app.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

static void fill_set(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	/* As in 18.01: prints the configuration. */
	sigaddset(set, SIGUSR1);
	/* Ours: to end the thread that waits for them. */
	sigaddset(set, SIGRTMIN);
}

void shutdown_block_signals(void)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	sigset_t set;

	fill_set(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
}

static void signal_arrived(struct mail *mail)
{
	struct app *app = container_of(mail, struct app, signal_mail);

	log_notice("shutting down");
	shutdown_begin(app);
}

struct dump {
	struct mail mail;
	struct app *app;
};

static void print_config(struct mail *mail)
{
	struct dump *dump = container_of(mail, struct dump, mail);
	char *text = control_save(dump->app->control);

	if (text) {
		puts(text);
		fflush(stdout);
	}
	free(text);
	free(dump);
}

static void ask_for_dump(struct app *app)
{
	struct dump *dump = malloc(sizeof(*dump));

	if (!dump)
		return;
	dump->app = app;
	dump->mail.run = print_config;
	mail_post(reactors_main(app->reactors), &dump->mail);
}

/* The first asks for an orderly end; the second is in a hurry. */
static void *wait_for_signals(void *arg)
{
	struct app *app = arg;
	bool asked = false;
	sigset_t set;
	int sig;

	fill_set(&set);
	while (sigwait(&set, &sig) == 0 && sig != SIGRTMIN) {
		if (sig == SIGUSR1) {
			if (!asked)
				ask_for_dump(app);
			continue;
		}
		if (asked)
			_exit(128 + sig);
		asked = true;
		app->signal_mail.run = signal_arrived;
		mail_post(reactors_main(app->reactors), &app->signal_mail);
	}
	return NULL;
}

int shutdown_watch(struct app *app)
{
	int error;

	error = pthread_create(&app->signal_thread, NULL, wait_for_signals,
			       app);
	app->signal_thread_runs = error == 0;
	return -error;
}

void shutdown_unwatch(struct app *app)
{
	if (!app->signal_thread_runs)
		return;
	pthread_kill(app->signal_thread, SIGRTMIN);
	pthread_join(app->signal_thread, NULL);
	app->signal_thread_runs = false;
}

static void limit_passed(struct timer *t)
{
	log_error("the orderly end took too long; leaving");
	_exit(1);
}

static void rpc_gone(void *ctx)
{
	struct app *app = ctx;

	timer_stop(reactors_main(app->reactors), &app->limit);
	reactors_stop(app->reactors);
}

static void control_stopped(struct control_stop *stop)
{
	struct app *app = container_of(stop, struct app, stop);
	struct rpc_server *rpc = take(&app->rpc);

	if (rpc)
		rpc_server_destroy(rpc, rpc_gone, app);
	else
		rpc_gone(app);
}

void shutdown_begin(struct app *app)
{
	if (app->stopping)
		return;
	app->stopping = true;
	timer_init(&app->limit, limit_passed);
	timer_start(reactors_main(app->reactors), &app->limit,
		    SHUTDOWN_LIMIT_MS);
	app->stop.done = control_stopped;
	control_stop(app->control, SHUTDOWN_SESSIONS_MS, &app->stop);
}
