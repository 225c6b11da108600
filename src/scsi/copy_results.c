/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What became of a copy, and what the copy manager can do: RECEIVE COPY
 * RESULTS (SPC-4, 6.17 to 6.21) and VPD page 8Fh (7.8.17).
 */
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "scsi/copy.h"
#include "scsi/task_priv.h"

/* COPY MANAGER STATUS of LID1, COPY OPERATION STATUS of LID4. */
#define LID1_RUNNING	0x00
#define LID1_DONE	0x01
#define LID1_ERRORS	0x02
#define LID4_DONE	0x01
#define LID4_ERRORS	0x02
#define LID4_RUNNING	0x10 /* in the foreground */
#define LID4_TERMINATED 0x60

#define STATUS_LID1_LEN 12u
#define PARAMETERS_LEN	46u
#define FAILED_LEN	60u /* and sense */
#define STATUS_LID4_LEN 32u /* and sense */
#define STATUS_DELAY_MS 100u

/* CSCD and segment descriptor types that are done. */
static const uint8_t descriptors[] = {0x02, 0xe4};
_Static_assert(PARAMETERS_LEN == 44 + sizeof(descriptors), "OPERATING PARAMS");

static uint32_t alloc_len(const struct scsi_task *t)
{
	return load_be32(t->cdb + 10);
}

static bool failed(const struct copy_record *r)
{
	return !r->running && (r->aborted || r->status != SCSI_GOOD);
}

/* 6.18: the smallest unit that the number fits with. */
static uint8_t count_units(uint64_t bytes, uint32_t *ret)
{
	uint8_t units = 0;

	for (; bytes > UINT32_MAX; bytes >>= 10)
		units++;
	*ret = (uint32_t)bytes;
	return units;
}

enum scsi_step cmd_copy_status(struct scsi_task *t)
{
	const struct copy_record *r = copy_record_find(t->nexus, t->cdb[2]);
	uint8_t *data;
	uint32_t count;

	if (r == NULL)
		return sense_cdb(t, 2, 7);
	data = task_small(t, STATUS_LID1_LEN);
	store_be32(data, STATUS_LID1_LEN - 4);
	data[4] = r->running  ? LID1_RUNNING
		  : failed(r) ? LID1_ERRORS
			      : LID1_DONE;
	store_be16(data + 5, r->segments);
	data[7] = count_units(r->bytes, &count);
	store_be32(data + 8, count);
	return task_data_in(t, data, STATUS_LID1_LEN, alloc_len(t));
}

enum scsi_step cmd_copy_failed(struct scsi_task *t)
{
	const struct copy_record *r = copy_record_find(t->nexus, t->cdb[2]);
	uint8_t *data;

	if (r == NULL || r->running)
		return sense_cdb(t, 2, 7);
	data = task_small(t, FAILED_LEN + sizeof(r->sense));
	if (!failed(r)) /* nothing of it is held: AVAILABLE DATA is 0 */
		return task_data_in(t, data, 4, alloc_len(t));
	store_be32(data, FAILED_LEN - 4 + r->sense_len);
	data[56] = r->status;
	store_be16(data + 58, r->sense_len);
	memcpy(data + FAILED_LEN, r->sense, r->sense_len);
	return task_data_in(t, data, FAILED_LEN + r->sense_len, alloc_len(t));
}

uint32_t copy_put_status(const struct copy_record *r, uint8_t *p)
{
	p[4] = r->action;
	p[5] = r->running   ? LID4_RUNNING
	       : r->aborted ? LID4_TERMINATED
	       : failed(r)  ? LID4_ERRORS
			    : LID4_DONE;
	if (r->running)
		store_be32(p + 8, STATUS_DELAY_MS);
	else
		p[12] = r->status;
	p[13] = sizeof(r->sense);
	p[14] = r->sense_len;
	store_be64(p + 16, r->bytes);
	store_be16(p + 24, r->segments);
	memcpy(p + STATUS_LID4_LEN, r->sense, r->sense_len);
	return STATUS_LID4_LEN + sizeof(r->sense);
}

enum scsi_step cmd_copy_status_4(struct scsi_task *t)
{
	const struct copy_record *r =
		copy_record_find(t->nexus, load_be32(t->cdb + 2));
	uint8_t *data;
	uint32_t len;

	if (r == NULL)
		return sense_cdb(t, 2, 7);
	data = task_small(t, STATUS_LID4_LEN + sizeof(r->sense));
	len = copy_put_status(r, data);
	store_be32(data, len - 4);
	return task_data_in(t, data, len, alloc_len(t));
}

/* 6.20. No data are held, and no inline data taken. */
enum scsi_step cmd_copy_parameters(struct scsi_task *t)
{
	uint8_t *data = task_small(t, PARAMETERS_LEN);

	store_be32(data, PARAMETERS_LEN - 4);
	data[4] = 0x01; /* SNLID: a list identifier may be left out */
	store_be16(data + 8, COPY_CSCDS_MAX);
	store_be16(data + 10, COPY_SEGS_MAX);
	store_be32(data + 12, COPY_DESCS_MAX);
	store_be16(data + 34, COPIES_MAX); /* TOTAL CONCURRENT COPIES */
	data[36] = COPIES_MAX;
	data[37] = 9; /* DATA SEGMENT GRANULARITY: 512 bytes */
	data[43] = sizeof(descriptors);
	memcpy(data + 44, descriptors, sizeof(descriptors));
	return task_data_in(t, data, PARAMETERS_LEN, alloc_len(t));
}

/* ---- VPD page 8Fh. */

/* Commands, as in the table: opcode, number of service actions, they. */
static const uint8_t commands[] = {
	0x83,
	2,
	SA_EXTENDED_COPY_LID1,
	SA_EXTENDED_COPY_LID4,
	0x84,
	4,
	SA_COPY_STATUS_LID1,
	SA_COPY_PARAMETERS,
	SA_COPY_FAILED_LID1,
	SA_COPY_STATUS_LID4,
};

/* A descriptor of type @type whose @len bytes begin at p + 4. */
static uint32_t put(uint8_t *p, uint16_t type, uint32_t len)
{
	len = (uint32_t)round_up(len, 4);
	store_be16(p, type);
	store_be16(p + 2, (uint16_t)len);
	return 4 + len;
}

uint32_t copy_fill_vpd(uint8_t *start)
{
	uint8_t *p = start;

	/* Supported commands. */
	p[4] = sizeof(commands);
	memcpy(p + 5, commands, sizeof(commands));
	p += put(p, 0x0001, 1 + sizeof(commands));
	/* Parameter data. */
	store_be16(p + 8, COPY_CSCDS_MAX);
	store_be16(p + 10, COPY_SEGS_MAX);
	store_be32(p + 12, COPY_DESCS_MAX);
	p += put(p, 0x0004, 28);
	/* Supported descriptors. */
	p[4] = sizeof(descriptors);
	memcpy(p + 5, descriptors, sizeof(descriptors));
	p += put(p, 0x0008, 1 + sizeof(descriptors));
	/* Supported CSCD descriptor identifiers: those of the list only. */
	p += put(p, 0x000c, 2);
	/* General copy operations. */
	store_be32(p + 4, COPIES_MAX);
	store_be32(p + 8, COPIES_MAX);
	p[16] = 9;
	p += put(p, 0x8001, 32);
	ASSERT(p - start <= COPY_VPD_MAX);
	return (uint32_t)(p - start);
}
