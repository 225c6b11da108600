/* SPDX-License-Identifier: BSD-3-Clause */
/* Reservations on the data path. Private to the scsi layer. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "scsi/cmd.h"
#include "scsi/lun.h"
#include "scsi/pr.h"
#include "scsi/task.h"

/* scsi_nexus.pr[]: what the nexus is to the logical unit. */
#define NEXUS_REGISTERED 0x01
#define NEXUS_HOLDER	 0x02

/* RESERVATION CONFLICT, or SCSI_PENDING: go on. For a guarded view. */
enum scsi_step reserve_check(struct scsi_task *t, const struct scsi_cmd *cmd,
			     uint32_t lun_id);

/* A view has new state or a new table: what it means to each nexus. */
void reserve_refresh(struct lun_view *view);
void reserve_refresh_nexus(const struct lun_view *view, struct scsi_nexus *n,
			   uint32_t lun_id);
/* Tells those whom the change of the table concerns. */
void reserve_tell(struct lun_view *view);
/* Does this task belong to a nexus that PREEMPT AND ABORT put out? */
bool reserve_preempted(const struct scsi_task *t, const void *table);

void nexus_port(const struct scsi_nexus *n, struct pr_port *ret);
