/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

/* A line with its prefix and newline; what is longer is cut. */
#define LOG_LINE_MAX 1024

#define NS_PER_S     1000000000ull

/* What may be changed while other cores log; no other global is. */
static atomic_int print_level = LOG_LEVEL_NOTICE;
static atomic_int syslog_level = LOG_LEVEL_NOTICE;
static atomic_uint flags_on;
static atomic_bool to_syslog;

static const char *const flag_names[LOG_FLAG_COUNT] = {
	[LOG_REACTOR] = "reactor", [LOG_BDEV] = "bdev",	  [LOG_SCSI] = "scsi",
	[LOG_TARGET] = "target",   [LOG_ISCSI] = "iscsi", [LOG_RPC] = "rpc",
};

/* Index: the level. */
static const struct {
	const char *name;
	int priority;
} levels[] = {
	[LOG_LEVEL_ERROR] = {"ERROR", LOG_ERR},
	[LOG_LEVEL_WARNING] = {"WARNING", LOG_WARNING},
	[LOG_LEVEL_NOTICE] = {"NOTICE", LOG_NOTICE},
	[LOG_LEVEL_INFO] = {"INFO", LOG_INFO},
	[LOG_LEVEL_DEBUG] = {"DEBUG", LOG_DEBUG},
};

static const char disabled_name[] = "DISABLED";

void log_set_print_level(enum log_level level)
{
	atomic_store_explicit(&print_level, level, memory_order_relaxed);
}

enum log_level log_get_print_level(void)
{
	return atomic_load_explicit(&print_level, memory_order_relaxed);
}

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&syslog_level, level, memory_order_relaxed);
}

enum log_level log_get_level(void)
{
	return atomic_load_explicit(&syslog_level, memory_order_relaxed);
}

int log_level_parse(const char *name, enum log_level *ret)
{
	if (strcasecmp(name, disabled_name) == 0) {
		*ret = LOG_LEVEL_DISABLED;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
		if (strcasecmp(name, levels[i].name) == 0) {
			*ret = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

const char *log_level_name(enum log_level level)
{
	if (level < LOG_LEVEL_ERROR || (size_t)level >= ARRAY_LEN(levels))
		return disabled_name;
	return levels[level].name;
}

const char *log_flag_name(unsigned int flag)
{
	return flag < LOG_FLAG_COUNT ? flag_names[flag] : NULL;
}

int log_flag_set(const char *name, bool on)
{
	unsigned int mask = 0;

	for (unsigned int i = 0; i < LOG_FLAG_COUNT; i++) {
		if (strcasecmp(name, flag_names[i]) == 0 ||
		    strcasecmp(name, "all") == 0)
			mask |= 1u << i;
	}
	if (mask == 0)
		return -EINVAL;
	if (on)
		atomic_fetch_or_explicit(&flags_on, mask, memory_order_relaxed);
	else
		atomic_fetch_and_explicit(&flags_on, ~mask,
					  memory_order_relaxed);
	return 0;
}

bool log_flag_get(enum log_flag flag)
{
	return atomic_load_explicit(&flags_on, memory_order_relaxed) >> flag &
	       1;
}

void log_use_syslog(bool on)
{
	if (on)
		openlog("iscsi_tgt", LOG_PID, LOG_DAEMON);
	atomic_store_explicit(&to_syslog, on, memory_order_relaxed);
	if (!on)
		closelog();
}

bool log_enabled(enum log_level level)
{
	enum log_level limit;

	if (atomic_load_explicit(&to_syslog, memory_order_relaxed))
		limit = log_get_level();
	else
		limit = log_get_print_level();

	/* A flag turns its DEBUG lines on below the level DEBUG as well. */
	if (level == LOG_LEVEL_DEBUG && limit != LOG_LEVEL_DISABLED &&
	    atomic_load_explicit(&flags_on, memory_order_relaxed) != 0)
		return true;
	return level > LOG_LEVEL_DISABLED && level <= limit;
}

/* What a peer put into a message must not make a line of its own. */
static void defuse(char *text)
{
	size_t len = strlen(text);

	while (len > 0 && text[len - 1] == '\n')
		text[--len] = '\0';
	for (; *text; text++) {
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
	}
}

/* "[2026-01-02 03:04:05.678901] NOTICE: "; its length. */
static size_t put_prefix(char *line, size_t size, enum log_level level)
{
	struct timespec now;
	struct tm tm;
	size_t n;

	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &tm);
	n = strftime(line, size, "[%Y-%m-%d %H:%M:%S", &tm);
	n += (size_t)snprintf(line + n, size - n,
			      ".%06ld] %s: ", now.tv_nsec / 1000,
			      levels[level].name);
	return n;
}

static void print_line(enum log_level level, const char *text)
{
	char line[LOG_LINE_MAX];
	size_t n = put_prefix(line, sizeof(line), level);
	size_t len = MIN(strlen(text), sizeof(line) - n - 1);

	memcpy(line + n, text, len);
	n += len;
	line[n++] = '\n';

	/*
	 * One write for a line, so that lines of several threads do not mix.
	 * There is nobody to tell when it fails.
	 */
	if (write(STDERR_FILENO, line, n) < 0)
		return;
}

void log_write(enum log_level level, const char *fmt, ...)
{
	int saved_errno = errno;
	char text[LOG_LINE_MAX];
	va_list ap;

	if (!log_enabled(level))
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	defuse(text);

	if (atomic_load_explicit(&to_syslog, memory_order_relaxed))
		syslog(levels[level].priority, "%s", text);
	else
		print_line(level, text);
	errno = saved_errno;
}

bool log_limit_ok(struct log_limit *limit, uint64_t now_ns)
{
	bool over = limit->count == 0 || now_ns - limit->window_start_ns >=
						 limit->interval_s * NS_PER_S;

	if (over) {
		if (limit->dropped > 0)
			log_warning("%u similar messages were dropped",
				    limit->dropped);
		limit->window_start_ns = now_ns;
		limit->count = 0;
		limit->dropped = 0;
	}
	if (limit->count >= limit->burst) {
		if (limit->dropped < UINT32_MAX)
			limit->dropped++;
		return false;
	}
	limit->count++;
	return true;
}
