/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The log: one line per event, on standard error or syslog. The level is the
 * one mutable global of the program (it may be read on any core).
 *
 * Engines return reasons; edges log. Secrets are never formatted.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"

/* SPDK's levels and order. */
enum log_level {
	LOG_LEVEL_DISABLED = -1,
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_NOTICE,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};

/* One flag for each layer: -L and log_set_flag turn its DEBUG lines on. */
enum log_flag {
	LOG_REACTOR,
	LOG_BDEV,
	LOG_SCSI,
	LOG_TARGET,
	LOG_ISCSI,
	LOG_RPC,
	LOG_FLAG_COUNT
};

void log_set_print_level(enum log_level level); /* default NOTICE */
enum log_level log_get_print_level(void);
void log_set_level(enum log_level level); /* to syslog; default NOTICE */
enum log_level log_get_level(void);

/* "ERROR", ... in any case. 0 or -EINVAL. */
int log_level_parse(const char *name, enum log_level *ret);
const char *log_level_name(enum log_level level);

/* NULL past the end. */
const char *log_flag_name(unsigned int flag);
/* A flag's name or "all". 0 or -EINVAL. */
int log_flag_set(const char *name, bool on);
bool log_flag_get(enum log_flag flag);

/* Lines go to syslog in place of standard error (after daemonising). */
void log_use_syslog(bool on);

void log_write(enum log_level level, const char *fmt, ...) printf_like(2, 3);
bool log_enabled(enum log_level level);

#define log_error(...)	 log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...)	 log_write(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...)                                           \
	do {                                                    \
		if (log_enabled(LOG_LEVEL_INFO))                \
			log_write(LOG_LEVEL_INFO, __VA_ARGS__); \
	} while (0)
#define log_debug(flag, ...)                                     \
	do {                                                     \
		if (unlikely(log_flag_get(flag)))                \
			log_write(LOG_LEVEL_DEBUG, __VA_ARGS__); \
	} while (0)

/*
 * For lines that a peer can cause: at most @burst of them in @interval_s
 * seconds; then one line says how many were dropped.
 */
struct log_limit {
	uint32_t burst;
	uint32_t interval_s;
	uint64_t window_start_ns;
	uint32_t count;
	uint32_t dropped;
};
bool log_limit_ok(struct log_limit *limit, uint64_t now_ns);
