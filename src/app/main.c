/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * main() reads the command line and the configuration, builds the layers from
 * the bottom up, and runs the reactors until a signal ends them.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "app/app.h"
#include "base/log.h"
#include "control/cpumask.h"

#define POLL_US_DEFAULT 50

static void log_lines(void (*say)(const char *line), struct buf *lines)
{
	char *at, *line;

	buf_append_byte(lines, '\0');
	if (!lines->data)
		return;
	lines->data[lines->len - 1] = '\0';
	at = (char *)lines->data;
	while ((line = strsep(&at, "\n"))) {
		if (*line)
			say(line);
	}
}

static void say_error(const char *line)
{
	log_error("%s", line);
}

static void say_notice(const char *line)
{
	log_notice("%s", line);
}

static int load_config(struct app *app)
{
	struct conf_faults faults;
	int error;

	if (!app->opt.config)
		return 0;
	conf_faults_init(&faults);
	error = config_load(app->opt.config, &faults, &app->config);
	log_lines(say_error, &faults.errors);
	log_lines(say_notice, &faults.notices);
	conf_faults_deinit(&faults);
	return error;
}

/* ---- CPUs. */

struct cpu_choice {
	uint32_t cores[REACTORS_MAX];
	uint32_t ncores, main_core;
	bool given;
};

static bool cpu_allowed(uint32_t cpu)
{
	size_t size = CPU_ALLOC_SIZE(CPU_NUMBER_MAX + 1);
	cpu_set_t *set = CPU_ALLOC(CPU_NUMBER_MAX + 1);
	bool allowed = false;

	if (!set)
		return false;
	CPU_ZERO_S(size, set);
	if (sched_getaffinity(0, size, set) == 0)
		allowed = CPU_ISSET_S(cpu, size, set);
	CPU_FREE(set);
	return allowed;
}

/* Nothing was asked for: one, and the kernel says where. */
static void choose_any(struct cpu_choice *c)
{
	c->ncores = 1;
	while (c->cores[0] < CPU_NUMBER_MAX && !cpu_allowed(c->cores[0]))
		c->cores[0]++;
}

static int choose_given(const char *text, struct cpu_choice *c)
{
	c->given = true;
	if (cpumask_parse(text, c->cores, &c->ncores) < 0) {
		log_error("'%s' is neither a mask of CPUs nor a list", text);
		return -EINVAL;
	}
	for (uint32_t i = 0; i < c->ncores; i++) {
		if (cpu_allowed(c->cores[i]))
			continue;
		log_error("CPU %u of '%s' is not there, or this process may "
			  "not run on it",
			  c->cores[i], text);
		return -EINVAL;
	}
	return 0;
}

static int choose_main(const struct app_options *opt, struct cpu_choice *c)
{
	if (!opt->has_main_core)
		return 0;
	for (uint32_t i = 0; i < c->ncores; i++) {
		if (c->cores[i] != opt->main_core)
			continue;
		c->main_core = i;
		return 0;
	}
	log_error("main core %u is none of the CPUs in use", opt->main_core);
	return -EINVAL;
}

static int choose_cpus(const struct app *app, struct cpu_choice *c)
{
	const char *text = app->opt.cpus;
	char list[1024];
	int error = 0;

	if (!text && app->config)
		text = app->config->reactor_mask;
	if (app->opt.cpus && app->opt.cpus_are_list) {
		snprintf(list, sizeof(list), "[%s]", app->opt.cpus);
		text = list;
	}
	if (text)
		error = choose_given(text, c);
	else
		choose_any(c);
	return error < 0 ? error : choose_main(&app->opt, c);
}

static uint32_t poll_us(const struct app *app)
{
	if (app->opt.interrupt_mode)
		return 0;
	if (app->config && app->config->has_poll_us)
		return app->config->poll_us;
	return POLL_US_DEFAULT;
}

/* ---- Building and taking down. */

static int create_reactors(struct app *app)
{
	struct cpu_choice choice = {0};
	struct reactor_options opt;
	const char *why = NULL;
	int error;

	error = choose_cpus(app, &choice);
	if (error < 0)
		return error;
	opt = (struct reactor_options){
		.cores = choice.cores,
		.ncores = choice.ncores,
		.main_core = choice.main_core,
		.poll_us_max = poll_us(app),
		.pin = choice.given,
	};
	error = reactors_create(&opt, &app->reactors, &why);
	if (error < 0)
		log_error("cannot start the event loops: %s",
			  why ? why : strerror(-error));
	return error;
}

/*
 * The machine, and the socket that no other daemon on it can have: so the
 * identity of its disks is its own, and the same after a restart.
 */
static void name_node(struct app *app)
{
	char id[128] = "", node[512];
	FILE *f = fopen("/etc/machine-id", "re");

	if (!f || !fgets(id, sizeof(id), f) || id[0] == '\n')
		(void)gethostname(id, sizeof(id) - 1);
	if (f)
		fclose(f);
	id[strcspn(id, "\n")] = '\0';
	snprintf(node, sizeof(node), "%s %s", id,
		 app->opt.rpc_socket ? app->opt.rpc_socket : "");
	bdev_registry_set_node(app->bdevs, node);
}

static int create_layers(struct app *app)
{
	struct control_options opt = {
		.version = VERSION,
		.rpcs_allowed = app->opt.rpcs_allowed,
		.wait_for_rpc = app->opt.wait_for_rpc && !app->opt.check_config,
		.ignore_errors = app->opt.ignore_errors,
		.no_listen = app->opt.check_config,
	};
	int error;

	error = bdev_registry_create(app->reactors, &app->bdevs);
	if (error == 0)
		name_node(app);
	if (error == 0)
		error = scsi_server_create(app->reactors, app->bdevs,
					   &app->scsi);
	if (error == 0)
		error = targets_create(app->scsi, &app->targets);
	if (error == 0)
		error = iscsi_server_create(app->reactors, app->targets,
					    &app->iscsi);
	opt.reactors = app->reactors;
	opt.bdevs = app->bdevs;
	opt.scsi = app->scsi;
	opt.iscsi = app->iscsi;
	if (error == 0)
		error = control_create(&opt, &app->control);
	if (error < 0)
		log_error("cannot start: %s", strerror(-error));
	return error;
}

static void destroy_layers(struct app *app)
{
	if (app->control)
		control_destroy(app->control);
	if (app->iscsi)
		iscsi_server_destroy(app->iscsi);
	if (app->targets)
		targets_destroy(app->targets);
	if (app->scsi)
		scsi_server_destroy(app->scsi);
	if (app->bdevs)
		bdev_registry_destroy(app->bdevs);
	if (app->reactors)
		reactors_destroy(app->reactors);
	config_free(app->config);
}

/* ---- Running. */

static void started(struct control_start *start, int error)
{
	struct app *app = container_of(start, struct app, start);

	if (app->stopping)
		return;
	if (error < 0)
		app->exit_status = 1;
	if (error < 0 || app->opt.check_config) {
		shutdown_begin(app);
		return;
	}
	log_notice("iscsi_tgt %s is ready", VERSION);
	if (app->ready_fd >= 0)
		daemon_ready(app->ready_fd);
	app->ready_fd = -1;
}

static void start_failed(struct control_start *start, int error)
{
	struct app *app = container_of(start, struct app, start);

	app->exit_status = 1;
	shutdown_begin(app);
}

static int open_rpc(struct app *app)
{
	const char *why = NULL;
	int error;

	/* Beside a target that runs, a check must not be in its way. */
	if (!app->opt.rpc_socket || app->opt.check_config)
		return 0;
	error = rpc_server_create(app->reactors, app->control,
				  app->opt.rpc_socket, &app->rpc, &why);
	if (error < 0)
		log_error("cannot listen on %s: %s", app->opt.rpc_socket, why);
	return error;
}

/* The first that runs on the control reactor. */
static void boot(struct mail *mail)
{
	struct app *app = container_of(mail, struct app, boot);

	if (open_rpc(app) < 0) {
		app->exit_status = 1;
		shutdown_begin(app);
		return;
	}
	app->start.done = started;
	app->start.failed = start_failed;
	control_start(app->control, app->config, &app->start);
}

static int run(struct app *app)
{
	int error;

	error = load_config(app);
	if (error == 0)
		error = create_reactors(app);
	if (error == 0)
		error = create_layers(app);
	if (error == 0)
		error = shutdown_watch(app);
	if (error < 0)
		return error;
	app->boot.run = boot;
	mail_post(reactors_main(app->reactors), &app->boot);
	reactors_run(app->reactors);
	return 0;
}

static int set_log(const struct app_options *opt)
{
	if (opt->quiet)
		log_set_print_level(LOG_LEVEL_WARNING);
	for (uint32_t i = 0; i < opt->nlog_flags; i++) {
		if (log_flag_set(opt->log_flags[i], true) == 0) {
			log_set_print_level(LOG_LEVEL_DEBUG);
			continue;
		}
		log_error("there is no log flag '%s'", opt->log_flags[i]);
		return -EINVAL;
	}
	if (opt->unused[0])
		log_notice("has no use here, skipped: %s", opt->unused);
	return 0;
}

static void raise_core_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_CORE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_CORE, &limit);
}

int main(int argc, char **argv)
{
	struct app app = {.ready_fd = -1};

	switch (options_parse(argc, argv, &app.opt)) {
	case OPTIONS_DONE:
		return 0;
	case OPTIONS_BAD:
		return 1;
	case OPTIONS_RUN:
		break;
	}
	if (set_log(&app.opt) < 0)
		return 1;
	if (!app.opt.limit_coredump)
		raise_core_limit();
	if (app.opt.daemon && !app.opt.check_config &&
	    daemon_fork(&app.ready_fd) < 0) {
		log_error("cannot run in the background: %s", strerror(errno));
		return 1;
	}
	shutdown_block_signals();
	if (run(&app) < 0)
		app.exit_status = 1;
	shutdown_unwatch(&app);
	destroy_layers(&app);
	if (app.opt.check_config && app.exit_status == 0)
		printf("the configuration is good\n");
	return app.exit_status;
}
