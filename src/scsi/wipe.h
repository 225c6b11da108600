/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writing all of a medium anew, in the background: SANITIZE and FORMAT UNIT
 * (SBC-3, 4.11 and 4.34). The home reactor does it, a piece at a time; while it
 * lasts nothing else is at the medium, on any core.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "scsi/lun.h"
#include "scsi/task.h"

/* In lun_state.wipe. */
enum wipe_state {
	WIPE_NOT,
	WIPE_SANITIZING,
	WIPE_FORMATTING,
	WIPE_SANITIZE_FAILED,
	WIPE_FORMAT_FAILED,
};

enum wipe_method {
	WIPE_ZERO,  /* zeroes, however the backend does it best */
	WIPE_ERASE, /* every block is deallocated */
	WIPE_PATTERN,
};

struct wipe_options {
	enum wipe_state state; /* SANITIZING or FORMATTING */
	enum wipe_method method;
	uint32_t passes;	/* of a pattern */
	bool invert;		/* between passes */
	bool exit_allowed;	/* AUSE: by EXIT FAILURE MODE */
	bool immed;		/* GOOD as soon as it has begun */
	const uint8_t *pattern; /* repeated in each block */
	uint32_t pattern_len;
};

static inline bool wipe_running(const struct lun_state *s)
{
	return s->wipe == WIPE_SANITIZING || s->wipe == WIPE_FORMATTING;
}

/* Ends @t with what a command gets while the medium is being wiped, or when
 * that has failed. */
enum scsi_step wipe_refuse(struct scsi_task *t);

/* Begins it for @t, and ends @t when the options say so. */
enum scsi_step wipe_start(struct scsi_task *t, const struct wipe_options *opt);

/* Ends @t, a REQUEST SENSE, with the progress. */
enum scsi_step wipe_report(struct scsi_task *t);

/* Leaves the failed state. */
enum scsi_step wipe_exit(struct scsi_task *t);

/* ---- For home.c and lun.c. */

void wipe_init_view(struct lun_view *view);
/* The view has a new state. */
void wipe_wake(struct lun_view *view);
/* On the home reactor: is there an end to be told to all cores? Sets the state
 * when it is. */
bool wipe_end_begin(struct lun *lun);
/* They know. */
void wipe_end_done(struct lun *lun);
