/* SPDX-License-Identifier: BSD-3-Clause */
/* Sense data (SPC-4, 4.5). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "scsi/scsi_spec.h"
#include "scsi/task.h"

struct sense {
	uint8_t key;  /* enum scsi_sense_key */
	uint16_t asc; /* with qualifier, enum scsi_asc */
	bool has_info;
	uint64_t info; /* INFORMATION: an LBA or an offset */
	bool has_sks;
	uint8_t sks[3]; /* SENSE KEY SPECIFIC */
};

#define SENSE_FIXED_LEN 18
#define SENSE_NO_BIT	0xff

/* Fills @out (SCSI_SENSE_MAX bytes); returns its length. */
size_t sense_build(const struct sense *s, bool descriptor, uint8_t *out);

/* All end the task with CHECK CONDITION and return SCSI_DONE. */
enum scsi_step sense_fail(struct scsi_task *t, enum scsi_sense_key key,
			  uint16_t asc);
enum scsi_step sense_fail_with(struct scsi_task *t, const struct sense *s);
/* INVALID FIELD IN CDB, at @byte and @bit (SENSE_NO_BIT: all of it). */
enum scsi_step sense_cdb(struct scsi_task *t, uint16_t byte, uint8_t bit);
/* INVALID FIELD IN PARAMETER LIST. */
enum scsi_step sense_param(struct scsi_task *t, uint16_t byte, uint8_t bit);
/* LOGICAL BLOCK ADDRESS OUT OF RANGE; the first one is the information. */
enum scsi_step sense_lba(struct scsi_task *t, uint64_t lba);
/* The one place where a backend's -errno becomes sense. */
enum scsi_step sense_errno(struct scsi_task *t, int error);
