/* SPDX-License-Identifier: BSD-3-Clause */
/* What commands on ranges of blocks share. Private to the scsi layer. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "scsi/task.h"

/* The flags byte of the CDB: CDB_DPO, CDB_FUA... */
uint8_t cdb_flags(const struct scsi_task *t);

/* These end the task and return SCSI_DONE, or return SCSI_PENDING: go on. */
enum scsi_step rw_check_range(struct scsi_task *t); /* LBA and length */
enum scsi_step rw_check(struct scsi_task *t);	    /* decodes; and the limit */

/* The initiator offers less than the CDB's, and no whole blocks. */
enum scsi_step rw_short_data(struct scsi_task *t);

/* Must it be on stable storage before GOOD? */
bool rw_write_through(const struct scsi_task *t);
