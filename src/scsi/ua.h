/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Unit attention conditions (SAM-5, 5.14): a bit for each, per nexus and LUN.
 * The lowest bit is reported first.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "scsi/nexus.h"

struct lun_view;
struct device_view;
struct scsi_task;

enum ua_bit {
	UA_POWER_ON,
	UA_BUS_RESET,
	UA_DEVICE_RESET,
	UA_MEDIUM_CHANGED,
	UA_INQUIRY_CHANGED,
	UA_COMMANDS_CLEARED,
	UA_RES_PREEMPTED,
	UA_REG_PREEMPTED,
	UA_RES_RELEASED,
	UA_CAPACITY_CHANGED,
	UA_MODE_CHANGED,
	UA_TIMESTAMP_CHANGED,
	UA_ACCESS_CHANGED,
	UA_LUNS_CHANGED,
	UA_COUNT
};

/* Resets and power on stand for what came before them (SAM-5, 5.14.2). */
#define UA_RESETS \
	(1u << UA_POWER_ON | 1u << UA_BUS_RESET | 1u << UA_DEVICE_RESET)

uint16_t ua_asc(enum ua_bit ua);

static inline void ua_set(struct scsi_nexus *n, uint32_t lun_id, enum ua_bit ua)
{
	n->ua[lun_id] |= 1u << ua;
}

/* For every nexus of this core that sees the logical unit. */
void ua_set_view(struct lun_view *view, enum ua_bit ua,
		 const struct scsi_nexus *except);
/* For every nexus of the device on this core, on each of its LUNs. */
void ua_set_device(struct device_view *dv, enum ua_bit ua,
		   const struct scsi_nexus *except);

/* The one to report, which is cleared; @ret_asc. False when none is pending. */
bool ua_take(struct scsi_nexus *n, uint32_t lun_id, uint16_t *ret_asc);
/* What REPORT LUNS clears, on all LUNs of the nexus (SPC-4, 6.33). */
void ua_clear_luns_changed(struct scsi_nexus *n);
