/* SPDX-License-Identifier: BSD-3-Clause */
#include "blast.h"

#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>

#include "base/macros.h"

#define EVENTS_MAX 64
/* Of the measurement: the time before it, to warm up. */
#define WARM_UP 0.2

static const char *const workloads[WORKLOADS] = {
	[RANDREAD] = "randread", [RANDWRITE] = "randwrite", [MIX] = "mix",
	[READ] = "read",	 [WRITE] = "write",
};

void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "blast: ");
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, "\n");
	va_end(ap);
	exit(1);
}

uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ------------------------------------------------------------------------
 * CPU time, in seconds.
 */

static double task_cpu(const char *pid, const char *tid)
{
	unsigned long long ns = 0;
	char path[300];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%s/task/%s/schedstat", pid, tid);
	f = fopen(path, "r");
	if (!f)
		return 0;
	if (fscanf(f, "%llu", &ns) != 1)
		ns = 0;
	fclose(f);
	return (double)ns / 1e9;
}

/* All threads of a process, those of its io_uring included. */
static double process_cpu(int pid)
{
	char path[64], number[16];
	struct dirent *e;
	double sum = 0;
	DIR *d;

	snprintf(number, sizeof(number), "%d", pid);
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	if (!d)
		die("no process %d", pid);
	while ((e = readdir(d))) {
		if (e->d_name[0] != '.')
			sum += task_cpu(number, e->d_name);
	}
	closedir(d);
	return sum;
}

static double own_cpu(void)
{
	struct rusage r;

	getrusage(RUSAGE_SELF, &r);
	return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
	       (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

/* ------------------------------------------------------------------------
 * Results.
 */

/* Microseconds that the share @p of all requests did not take longer than. */
static double percentile(const struct figures *f, double p)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < LATENCIES; i++) {
		uint32_t power = i / 32, step = i % 32;

		sum += f->latency[i];
		if (sum == 0 || (double)sum < p * (double)f->ios)
			continue;
		return (double)((1ull << power) +
				((uint64_t)step << (power - 5))) /
		       1000;
	}
	return 0;
}

static void print_result(const struct blast *b, double seconds, double load,
			 double target)
{
	const struct options *o = &b->opt;
	const struct figures *f = &b->figures;
	double ios = f->ios ? (double)f->ios : 1;
	const char *format =
		"%s bs=%u qd=%u conns=%u: %.0f IOPS %.1f MiB/s lat_us p50=%.1f "
		"p99=%.1f p99.9=%.1f errs=%llu load_cpu=%.0f%% "
		"target_cpu=%.0f%% target_us_per_io=%.3f\n";

	if (o->json)
		format = "{\"workload\": \"%s\", \"bytes\": %u, \"depth\": %u, "
			 "\"conns\": %u, \"iops\": %.0f, \"mib_s\": %.1f, "
			 "\"p50\": %.1f, \"p99\": %.1f, \"p999\": %.1f, "
			 "\"errors\": %llu, \"load_cpu\": %.0f, "
			 "\"target_cpu\": %.0f, \"us_per_io\": %.3f}\n";
	printf(format, workloads[o->workload], o->bytes, o->depth, o->conns,
	       (double)f->ios / seconds, (double)f->bytes / seconds / 1048576,
	       percentile(f, 0.5), percentile(f, 0.99), percentile(f, 0.999),
	       (unsigned long long)f->errors, load / seconds * 100,
	       target / seconds * 100, target / ios * 1e6);
}

/* ------------------------------------------------------------------------
 * Work.
 */

static void start_clients(struct blast *b)
{
	const struct options *o = &b->opt;

	b->epoll = epoll_create1(0);
	b->clients = calloc(o->conns, sizeof(*b->clients));
	if (b->epoll < 0 || !b->clients)
		die("no memory");
	for (uint32_t i = 0; i < o->conns; i++) {
		struct client *c = &b->clients[i];
		struct epoll_event e = {.events = EPOLLIN, .data.u32 = i};
		uint32_t n;

		c->blast = b;
		client_login(c, i);
		client_capacity(c);
		if (o->bytes % b->block_size ||
		    b->nblocks < o->bytes / b->block_size)
			die("-b %u does not suit blocks of %u bytes", o->bytes,
			    b->block_size);
		c->rx = malloc(RX_BYTES);
		c->out = calloc(OUT_MAX, sizeof(*c->out));
		if (!c->rx || !c->out)
			die("no memory");
		while (c->ntags < o->depth) {
			c->tags[c->ntags] = c->ntags;
			c->ntags++;
		}
		n = o->bytes / b->block_size;
		c->next_lba = b->nblocks / o->conns * i / n * n;
		epoll_ctl(b->epoll, EPOLL_CTL_ADD, c->fd, &e);
	}
}

static void work(struct blast *b, double seconds)
{
	uint64_t end = clock_ns() + (uint64_t)(seconds * 1e9);

	for (b->now_ns = clock_ns(); b->now_ns < end; b->now_ns = clock_ns()) {
		struct epoll_event ev[EVENTS_MAX];
		int n = epoll_wait(b->epoll, ev, EVENTS_MAX, 100);

		for (int i = 0; i < n; i++) {
			uint32_t index = ev[i].data.u32;
			struct client *c = &b->clients[index];

			b->now_ns = clock_ns();
			if (ev[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
				client_receive(c);
			client_issue(c);
			client_flush(c, index);
		}
	}
}

static void measure(struct blast *b)
{
	double load, target = 0;
	uint64_t began;

	b->now_ns = clock_ns();
	for (uint32_t i = 0; i < b->opt.conns; i++) {
		client_issue(&b->clients[i]);
		client_flush(&b->clients[i], i);
	}
	work(b, b->opt.seconds * WARM_UP);
	memset(&b->figures, 0, sizeof(b->figures));
	load = own_cpu();
	if (b->opt.pid)
		target = process_cpu(b->opt.pid);
	began = clock_ns();
	work(b, b->opt.seconds);
	if (b->opt.pid)
		target = process_cpu(b->opt.pid) - target;
	print_result(b, (double)(clock_ns() - began) / 1e9, own_cpu() - load,
		     target);
}

/* ------------------------------------------------------------------------
 * Options.
 */

static void usage(void)
{
	fprintf(stderr,
		"usage: blast -p PORT -t IQN [-H ADDRESS] [-l LUN]\n"
		"             [-w randread|randwrite|mix|read|write] (mix: 70 "
		"%% "
		"reads)\n"
		"             [-b BYTES] [-q DEPTH] [-c CONNECTIONS] "
		"[-s SECONDS]\n"
		"             [-d none|header|data|both] [--pid TARGET] "
		"[--cpu N] [--json]\n");
	exit(2);
}

static enum workload parse_workload(const char *name)
{
	for (uint32_t i = 0; i < WORKLOADS; i++) {
		if (!strcmp(name, workloads[i]))
			return (enum workload)i;
	}
	usage();
	return WORKLOADS;
}

static void parse_digests(struct options *o, const char *s)
{
	o->header_digest = !strcmp(s, "header") || !strcmp(s, "both");
	o->data_digest = !strcmp(s, "data") || !strcmp(s, "both");
	if (!o->header_digest && !o->data_digest && strcmp(s, "none") != 0)
		usage();
}

static void parse_option(struct options *o, int key)
{
	switch (key) {
	case 'H':
		o->host = optarg;
		break;
	case 'p':
		o->port = optarg;
		break;
	case 't':
		o->iqn = optarg;
		break;
	case 'l':
		o->lun = (uint8_t)atoi(optarg);
		break;
	case 'w':
		o->workload = parse_workload(optarg);
		break;
	case 'b':
		o->bytes = (uint32_t)atoi(optarg);
		break;
	case 'q':
		o->depth = (uint32_t)atoi(optarg);
		break;
	case 'c':
		o->conns = (uint32_t)atoi(optarg);
		break;
	case 's':
		o->seconds = atof(optarg);
		break;
	case 'd':
		parse_digests(o, optarg);
		break;
	case 'P':
		o->pid = atoi(optarg);
		break;
	case 'C':
		o->cpu = atoi(optarg);
		break;
	case 'J':
		o->json = true;
		break;
	default:
		usage();
	}
}

static void parse_options(struct options *o, int argc, char **argv)
{
	static const struct option names[] = {
		{"pid", required_argument, NULL, 'P'},
		{"cpu", required_argument, NULL, 'C'},
		{"json", no_argument, NULL, 'J'},
		{NULL, 0, NULL, 0},
	};
	int key;

	*o = (struct options){
		.host = "127.0.0.1",
		.port = "3260",
		.bytes = 4096,
		.depth = 32,
		.conns = 1,
		.seconds = 5,
		.cpu = -1,
	};
	while ((key = getopt_long(argc, argv, "H:p:t:l:w:b:q:c:s:d:", names,
				  NULL)) != -1)
		parse_option(o, key);
	if (!o->iqn || o->depth < 1 || o->depth > DEPTH_MAX || o->conns < 1 ||
	    o->conns > CONNS_MAX || o->bytes < 512 || o->bytes % 4)
		usage();
}

int main(int argc, char **argv)
{
	static struct blast blast;
	struct blast *b = &blast;

	parse_options(&b->opt, argc, argv);
	if (b->opt.cpu >= 0) {
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET((size_t)b->opt.cpu, &set);
		if (sched_setaffinity(0, sizeof(set), &set))
			die("CPU %d: %s", b->opt.cpu, strerror(errno));
	}
	b->random = 0x9e3779b97f4a7c15u;
	for (uint32_t i = 0; i < PATTERN_MAX; i++)
		b->pattern[i] = (uint8_t)(i * 131u >> 3);
	start_clients(b);
	measure(b);
	return b->figures.errors ? 3 : 0;
}
