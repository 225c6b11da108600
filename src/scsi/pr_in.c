/* SPDX-License-Identifier: BSD-3-Clause */
/* PERSISTENT RESERVE IN (SPC-4, 6.15): what this core's table says. */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "scsi/reserve.h"
#include "scsi/task_priv.h"

#define READ_KEYS	 0
#define READ_RESERVATION 1
#define REPORT_CAPS	 2
#define READ_FULL	 3

#define ID_PORT		 0x45 /* 7.6.4.6: format 01b, iSCSI */
/* A full status descriptor: 24 bytes and the TransportID. */
#define FULL_MAX (24 + 4 + ISCSI_NAME_MAX + 17 + 1 + 3)

static uint32_t put_header(const struct pr_table *table, uint8_t *p)
{
	store_be32(p, table != NULL ? table->generation : 0);
	return 8;
}

static uint32_t put_keys(const struct pr_table *table, uint8_t *p)
{
	uint32_t len = put_header(table, p);

	for (uint32_t i = 0; table != NULL && i < table->n; i++) {
		store_be64(p + len, table->r[i].key);
		len += 8;
	}
	store_be32(p + 4, len - 8);
	return len;
}

static uint32_t put_reservation(const struct pr_table *table, uint8_t *p)
{
	uint32_t len = put_header(table, p);

	if (table == NULL || table->type == PR_NONE)
		return len;
	/* 6.15.3.2: of all registrants, no key stands for the others. */
	if (!pr_all_registrants(table->type))
		store_be64(p + 8, table->r[table->holder].key);
	p[21] = table->type; /* LU_SCOPE */
	store_be32(p + 4, 16);
	return len + 16;
}

static uint32_t put_caps(uint8_t *p)
{
	store_be16(p, 8);
	p[2] = 0x08 | 0x04; /* SIP_C, ATP_C */
	p[3] = 0x80;	    /* TMV */
	p[4] = 0x80 | 0x40 | 0x20 | 0x08 | 0x02;
	p[5] = 0x01;
	return 8;
}

static uint32_t put_id(const struct pr_port *port, uint8_t *p)
{
	const uint8_t *i = port->isid;
	int n = snprintf((char *)p + 4, ISCSI_NAME_MAX + 18,
			 "%s,i,0x%02x%02x%02x%02x%02x%02x", port->initiator,
			 i[0], i[1], i[2], i[3], i[4], i[5]);
	uint32_t len = (uint32_t)round_up((uint64_t)n + 1, 4);

	len = MAX(len, 20u); /* 7.6.4.6: with zeroes up to here */
	p[0] = ID_PORT;
	store_be16(p + 2, (uint16_t)len);
	return 4 + len;
}

static uint32_t put_full(const struct pr_table *table, uint8_t *p)
{
	uint32_t len = put_header(table, p);

	for (uint32_t i = 0; table != NULL && i < table->n; i++) {
		const struct pr_registrant *r = &table->r[i];
		uint8_t *desc = p + len;
		uint32_t id;

		store_be64(desc, r->key);
		desc[12] = r->all_ports ? 0x02 : 0;
		if (pr_holds(table, (int)i)) {
			desc[12] |= 0x01;
			desc[13] = table->type;
		}
		if (!r->all_ports)
			store_be16(desc + 18, r->port.tpgt);
		id = put_id(&r->port, desc + 24);
		store_be32(desc + 20, id);
		len += 24 + id;
	}
	store_be32(p + 4, len - 8);
	return len;
}

static enum scsi_step read_full(struct scsi_task *t)
{
	uint8_t *data;
	uint32_t len;

	_Static_assert(8 + PR_REGISTRANTS_MAX * FULL_MAX <= BUF_LARGE,
		       "all registrants in one buffer");
	if (!t->own_buffers && !task_buffers(t, BUF_LARGE, read_full))
		return SCSI_PENDING;
	data = t->iov_many[0].iov_base;
	memset(data, 0, 8 + PR_REGISTRANTS_MAX * FULL_MAX);
	len = put_full(t->view->pr, data);
	return task_data_in(t, data, len, load_be16(t->cdb + 7));
}

static enum scsi_step read_keys(struct scsi_task *t)
{
	uint8_t *data;
	uint32_t len = 8 + 8 * PR_REGISTRANTS_MAX;

	if (!t->own_buffers && !task_buffers(t, len, read_keys))
		return SCSI_PENDING;
	data = t->iov_many[0].iov_base;
	memset(data, 0, len);
	len = put_keys(t->view->pr, data);
	return task_data_in(t, data, len, load_be16(t->cdb + 7));
}

enum scsi_step cmd_pr_in(struct scsi_task *t)
{
	uint32_t alloc = load_be16(t->cdb + 7);
	uint8_t *data;

	/* SPC-4, 5.13.3: not beside a RESERVE. */
	if (t->view->state.reserved != 0)
		return task_status(t, SCSI_RESERVATION_CONFLICT);
	switch (t->cdb[1] & 0x1f) {
	case READ_KEYS:
		return read_keys(t);
	case READ_FULL:
		return read_full(t);
	case READ_RESERVATION:
		data = task_small(t, 24);
		return task_data_in(t, data, put_reservation(t->view->pr, data),
				    alloc);
	default:
		ASSERT((t->cdb[1] & 0x1f) == REPORT_CAPS);
		data = task_small(t, 8);
		return task_data_in(t, data, put_caps(data), alloc);
	}
}
