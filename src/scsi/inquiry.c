/* SPDX-License-Identifier: BSD-3-Clause */
/* INQUIRY and its vital product data (SPC-4, 6.6 and 7.8; SBC-3, 6.6). */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "scsi/copy.h"
#include "scsi/rw.h"
#include "scsi/task_priv.h"

#define TYPE_DISK	    0x00
#define TYPE_ABSENT	    0x7f /* qualifier 3, type 1Fh: no such LUN */
#define STANDARD_LEN	    96
#define PROTO_ISCSI	    0x05
#define DESIGNATOR_NAME_MAX 256 /* bytes of a SCSI name string */

/* ---- Standard data. */

static void put_versions(uint8_t *p)
{
	static const uint16_t versions[] = {
		0x00a0, /* SAM-5 */
		0x0960, /* iSCSI */
		0x0460, /* SPC-4 */
		0x04c0, /* SBC-3 */
	};

	for (size_t i = 0; i < ARRAY_LEN(versions); i++)
		store_be16(p + 2 * i, versions[i]);
}

static enum scsi_step standard(struct scsi_task *t)
{
	uint8_t *data = task_small(t, STANDARD_LEN);
	const struct lun *lun = t->view != NULL ? t->view->lun : NULL;

	data[0] = lun != NULL ? TYPE_DISK : TYPE_ABSENT;
	data[2] = 0x06;	       /* SPC-4 */
	data[3] = 0x10 | 0x02; /* HISUP, format */
	data[4] = STANDARD_LEN - 5;
	data[5] = 0x30 | 0x08; /* TPGS: both ways; 3PC */
	data[7] = 0x02;	       /* CMDQUE */
	memset(data + 8, ' ', 28);
	put_versions(data + 58);
	if (lun != NULL) {
		if (lun->removable)
			data[1] = 0x80;
		if (t->nexus->dv->nports > 1)
			data[6] |= 0x10; /* MULTIP */
		memcpy(data + 8, lun->vendor, LUN_VENDOR_LEN);
		memcpy(data + 16, lun->product, LUN_PRODUCT_LEN);
		memcpy(data + 32, lun->revision, LUN_REVISION_LEN);
	}
	return task_data_in(t, data, STANDARD_LEN, load_be16(t->cdb + 3));
}

/* ---- Pages: each fills in its bytes from 4 on and returns how many. */

typedef uint32_t vpd_fill_fn(const struct scsi_task *t, uint8_t *p);

static vpd_fill_fn fill_supported;

static uint32_t fill_serial(const struct scsi_task *t, uint8_t *p)
{
	size_t len = strlen(t->view->lun->serial);

	memcpy(p, t->view->lun->serial, len);
	return (uint32_t)len;
}

/* A designator: 4 bytes of header, then @len bytes. */
static uint32_t designator(uint8_t *p, uint8_t code_set, uint8_t flags_type,
			   uint32_t len)
{
	ASSERT(len <= 255);
	p[0] = code_set;
	p[1] = flags_type;
	p[3] = (uint8_t)len;
	return 4 + len;
}

/* 7.8.6.11: UTF-8 with a NUL, padded to a multiple of four. */
static uint32_t name_designator(uint8_t *p, uint8_t association,
				const char *name)
{
	uint32_t len = (uint32_t)round_up(strlen(name) + 1, 4);

	ASSERT(len <= DESIGNATOR_NAME_MAX - 4);
	memcpy(p + 4, name, strlen(name));
	return designator(p, PROTO_ISCSI << 4 | 0x03,
			  (uint8_t)(0x80 | association << 4 | 0x08), len);
}

static uint32_t port_name(uint8_t *p, const struct scsi_task *t, uint16_t tpgt)
{
	char name[SCSI_PORT_NAME_MAX + 1];

	(void)snprintf(name, sizeof(name), "%s,t,0x%04x",
		       t->nexus->device->name, tpgt);
	return name_designator(p, 1, name);
}

static uint32_t fill_device_id(const struct scsi_task *t, uint8_t *p)
{
	const struct lun *lun = t->view->lun;
	size_t serial = strlen(lun->serial);
	uint8_t *start = p;

	/* The logical unit: NAA, and vendor with serial number. */
	memcpy(p + 4, lun->naa, 8);
	p += designator(p, 0x01, 0x03, 8);
	memcpy(p + 4, lun->vendor, LUN_VENDOR_LEN);
	memcpy(p + 4 + LUN_VENDOR_LEN, lun->serial, serial);
	p += designator(p, 0x02, 0x01, (uint32_t)(LUN_VENDOR_LEN + serial));
	/* The target port that the command came through: its relative
	 * identifier is the portal group's tag. */
	store_be16(p + 6, t->nexus->tpgt);
	p += designator(p, PROTO_ISCSI << 4 | 0x01, 0x80 | 1 << 4 | 0x04, 4);
	/* Its target port group is of that one port. */
	store_be16(p + 6, t->nexus->tpgt);
	p += designator(p, 0x01, 0x80 | 1 << 4 | 0x05, 4);
	p += port_name(p, t, t->nexus->tpgt);
	/* The target device. */
	p += name_designator(p, 2, t->nexus->device->name);
	return (uint32_t)(p - start);
}

static uint32_t fill_extended(const struct scsi_task *t, uint8_t *p)
{
	p[1] = 0x01; /* SIMPSUP */
	if (t->view->volatile_cache)
		p[2] = 0x01; /* V_SUP */
	p[3] = 0x01;	     /* LUICLR */
	return 60;
}

static uint32_t fill_mode_policy(const struct scsi_task *t, uint8_t *p)
{
	p[0] = 0x3f; /* all pages */
	p[1] = 0xff; /* and subpages */
	return 4;    /* are shared */
}

static uint32_t fill_ports(const struct scsi_task *t, uint8_t *p)
{
	const struct device_view *dv = t->nexus->dv;
	uint8_t *start = p;

	for (uint32_t i = 0; i < dv->nports; i++) {
		uint32_t len = port_name(p + 12, t, dv->ports[i]);

		store_be16(p + 2, dv->ports[i]);
		store_be16(p + 10, (uint16_t)len);
		p += 12 + len;
	}
	return (uint32_t)(p - start);
}

static uint32_t fill_third_party(const struct scsi_task *t, uint8_t *p)
{
	return copy_fill_vpd(p);
}

static uint32_t fill_block_limits(const struct scsi_task *t, uint8_t *p)
{
	const struct lun_view *view = t->view;
	const struct bdev *bdev = view->lun->bdev;
	uint32_t optimal = bdev->phys_block_size / bdev->block_size;

	/* WSNZ is 0: WRITE SAME of no blocks goes to the end. */
	p[1] = (uint8_t)rw_caw_max(view);
	store_be16(p + 2, (uint16_t)MIN(optimal, 0xffffu));
	store_be32(p + 4, view->max_blocks);
	store_be32(p + 8, bdev->optimal_io);
	store_be64(p + 32, WRITE_SAME_MAX);
	store_be32(p + 40, rw_atomic_max(view));
	if (bdev->caps & BDEV_CAP_UNMAP) {
		store_be32(p + 16, UINT32_MAX); /* no limit */
		store_be32(p + 20, UNMAP_DESCS_MAX);
		store_be32(p + 24, MAX(bdev->unmap_granularity, optimal));
		store_be32(p + 28, 0x80000000u); /* UGAVALID, from 0 */
	}
	return 60;
}

static uint32_t fill_characteristics(const struct scsi_task *t, uint8_t *p)
{
	/* SBC-3, 6.6.2: 1 = not a rotating medium, 0 = not reported. */
	store_be16(p, t->view->lun->bdev->rotational ? 0 : 1);
	/* WABEREQ: what SANITIZE has erased can be read. */
	if (t->view->lun->bdev->caps & BDEV_CAP_UNMAP)
		p[3] = 0x40;
	return 60;
}

static uint32_t fill_provisioning(const struct scsi_task *t, uint8_t *p)
{
	/* SBC-3, 6.6.3: LBPU, LBPWS, LBPWS10, LBPRZ; thin. */
	if (t->view->lun->bdev->caps & BDEV_CAP_UNMAP) {
		p[1] = 0x80 | 0x40 | 0x20 | 0x04;
		p[2] = 0x02;
	}
	return 4;
}

/* clang-format off */
static const struct vpd_page {
	uint8_t code;
	vpd_fill_fn *fill;
	uint32_t max;           /* bytes, with the header */
} pages[] = {
	{ 0x00, fill_supported, 64 },
	{ 0x80, fill_serial, 4 + LUN_SERIAL_MAX },
	{ 0x83, fill_device_id, 4 + 12 + 80 + 8 + 8 + 2 * DESIGNATOR_NAME_MAX },
	{ 0x86, fill_extended, 64 },
	{ 0x87, fill_mode_policy, 8 },
	{ 0x88, fill_ports,
	  4 + DEVICE_PORTS_MAX * (12 + DESIGNATOR_NAME_MAX) },
	{ 0x8f, fill_third_party, 4 + COPY_VPD_MAX },
	{ 0xb0, fill_block_limits, 64 },
	{ 0xb1, fill_characteristics, 64 },
	{ 0xb2, fill_provisioning, 8 },
};
/* clang-format on */

static uint32_t fill_supported(const struct scsi_task *t, uint8_t *p)
{
	for (size_t i = 0; i < ARRAY_LEN(pages); i++)
		p[i] = pages[i].code;
	return ARRAY_LEN(pages);
}

static const struct vpd_page *find_page(uint8_t code)
{
	for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
		if (pages[i].code == code)
			return &pages[i];
	}
	return NULL;
}

static enum scsi_step vital(struct scsi_task *t)
{
	const struct vpd_page *page = find_page(t->cdb[2]);
	uint32_t alloc = load_be16(t->cdb + 3);
	uint32_t max, len;
	uint8_t *data;

	if (page == NULL || (t->view == NULL && page->code != 0x00))
		return sense_cdb(t, 2, 7);
	max = page->max;
	if (page->code == 0x88)
		max = 4 + t->nexus->dv->nports * (12 + DESIGNATOR_NAME_MAX);
	ASSERT(max <= page->max && max <= BUF_LARGE);
	if (max <= TASK_SMALL_MAX) {
		data = task_small(t, max);
	} else {
		if (!t->own_buffers && !task_buffers(t, max, vital))
			return SCSI_PENDING;
		if (t->buf_len < max) /* more ports since it waited */
			return task_status(t, SCSI_BUSY);
		data = t->iov_many[0].iov_base;
		memset(data, 0, max);
	}
	data[0] = t->view != NULL ? TYPE_DISK : TYPE_ABSENT;
	data[1] = page->code;
	len = page->fill(t, data + 4);
	ASSERT(4 + len <= max);
	store_be16(data + 2, (uint16_t)len);
	return task_data_in(t, data, 4 + len, alloc);
}

enum scsi_step cmd_inquiry(struct scsi_task *t)
{
	if (t->cdb[1] & 0x01)
		return vital(t);
	if (t->cdb[2] != 0) /* 6.6.1: PAGE CODE without EVPD */
		return sense_cdb(t, 2, 7);
	return standard(t);
}
