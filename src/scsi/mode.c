/* SPDX-License-Identifier: BSD-3-Clause */
/* MODE SENSE and MODE SELECT (SPC-4, 6.11 to 6.14 and 7.5; SBC-3, 6.5). */
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "scsi/home.h"
#include "scsi/task_priv.h"

#define PAGE_ALL      0x3f
#define SUBPAGE_ALL   0xff
#define MODE_DATA_MAX 256 /* bytes: header, descriptor, all pages */
#define MODE_PAGE_MAX 64

#define PC_CURRENT    0
#define PC_CHANGEABLE 1
#define PC_DEFAULT    2
#define PC_SAVED      3

#define DEVICE_WP     0x80
#define DEVICE_DPOFUA 0x10

/* ---- Pages. fill() writes the parameters that @state and the unit give. */

struct mode_page {
	uint8_t page, subpage;
	uint8_t len; /* of all of it */
	void (*fill)(const struct lun *lun, const struct lun_state *state,
		     uint8_t *p);
	void (*mask)(const struct lun *lun, uint8_t *p); /* changeable */
	void (*store)(struct lun_state *state, const uint8_t *p);
};

static void fill_recovery(const struct lun *lun, const struct lun_state *state,
			  uint8_t *p)
{
	p[2] = 0x80 | 0x40; /* AWRE, ARRE: the backend's affair */
}

static void fill_caching(const struct lun *lun, const struct lun_state *state,
			 uint8_t *p)
{
	if (state->write_cache)
		p[2] |= 0x04; /* WCE */
	p[12] |= 0x20;	      /* DRA: nothing is read ahead */
}

static void mask_caching(const struct lun *lun, uint8_t *p)
{
	if (lun->bdev->write_cache)
		p[2] = 0x04;
}

static void take_caching(struct lun_state *state, const uint8_t *p)
{
	state->write_cache = p[2] & 0x04;
}

static void fill_control(const struct lun *lun, const struct lun_state *state,
			 uint8_t *p)
{
	if (state->d_sense)
		p[2] |= 0x04; /* D_SENSE */
	p[3] = 0x10;	      /* QAM 1: any order that is right */
	if (state->protect)
		p[4] |= 0x08; /* SWP */
	if (state->tas)
		p[5] |= 0x40; /* TAS */
}

static void mask_control(const struct lun *lun, uint8_t *p)
{
	p[2] = 0x04;
	p[4] = 0x08;
	p[5] = 0x40;
}

static void take_control(struct lun_state *state, const uint8_t *p)
{
	state->d_sense = p[2] & 0x04;
	state->protect = p[4] & 0x08;
	state->tas = p[5] & 0x40;
}

static void fill_control_ext(const struct lun *lun,
			     const struct lun_state *state, uint8_t *p)
{
	p[6] = SCSI_SENSE_MAX; /* MAXIMUM SENSE DATA LENGTH */
}

static void fill_exceptions(const struct lun *lun,
			    const struct lun_state *state, uint8_t *p)
{
	p[2] = 0x08; /* DEXCPT: none are reported */
}

/* clang-format off */
static const struct mode_page pages[] = {
	{ 0x01, 0x00, 12, fill_recovery, NULL, NULL },
	{ 0x08, 0x00, 20, fill_caching, mask_caching, take_caching },
	{ 0x0a, 0x00, 12, fill_control, mask_control, take_control },
	{ 0x0a, 0x01, 32, fill_control_ext, NULL, NULL },
	{ 0x1c, 0x00, 12, fill_exceptions, NULL, NULL },
};
/* clang-format on */

/* 7.5.7: header with or without SPF. */
static uint32_t put_header(const struct mode_page *page, uint8_t *p)
{
	p[0] = page->page;
	if (page->subpage == 0) {
		p[1] = (uint8_t)(page->len - 2);
		return page->len;
	}
	p[0] |= 0x40;
	p[1] = page->subpage;
	store_be16(p + 2, (uint16_t)(page->len - 4));
	return page->len;
}

static uint32_t put_page(const struct mode_page *page, const struct lun *lun,
			 const struct lun_state *state, unsigned int pc,
			 uint8_t *p)
{
	struct lun_state defaults;

	memset(p, 0, page->len);
	if (pc == PC_CHANGEABLE) {
		if (page->mask != NULL)
			page->mask(lun, p);
	} else {
		default_state(lun, &defaults);
		page->fill(lun, pc == PC_DEFAULT ? &defaults : state, p);
	}
	return put_header(page, p);
}

static bool page_asked(const struct mode_page *page, uint8_t code,
		       uint8_t subpage)
{
	if (code != PAGE_ALL && code != page->page)
		return false;
	return subpage == SUBPAGE_ALL || subpage == page->subpage;
}

static uint32_t put_pages(struct scsi_task *t, uint8_t *p)
{
	const struct lun_view *view = t->view;
	uint32_t len = 0;

	for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
		if (page_asked(&pages[i], t->cdb[2] & 0x3f, t->cdb[3]))
			len += put_page(&pages[i], view->lun, &view->state,
					t->cdb[2] >> 6, p + len);
	}
	return len;
}

/* ---- MODE SENSE. */

/* SBC-3, 6.5.2: the short descriptor, or the long one for LLBAA. */
static uint32_t put_descriptor(const struct lun_view *view, bool longlba,
			       uint8_t *p)
{
	if (longlba) {
		store_be64(p, view->nblocks);
		store_be32(p + 12, view->block_size);
		return 16;
	}
	store_be32(p, (uint32_t)MIN(view->nblocks, (uint64_t)UINT32_MAX));
	store_be24(p + 5, view->block_size);
	return 8;
}

static uint8_t device_specific(const struct lun_view *view)
{
	uint8_t value = DEVICE_DPOFUA;

	if (view->lun->read_only || view->state.protect)
		value |= DEVICE_WP;
	return value;
}

enum scsi_step cmd_mode_sense(struct scsi_task *t)
{
	bool six = t->cmd->len == 6;
	bool longlba = !six && (t->cdb[1] & 0x10);
	uint32_t alloc = six ? t->cdb[4] : load_be16(t->cdb + 7);
	uint32_t header = six ? 4 : 8, len = header, descriptor = 0, got;
	uint8_t *data = task_small(t, MODE_DATA_MAX);

	if (t->cdb[2] >> 6 == PC_SAVED)
		return sense_fail(t, KEY_ILLEGAL_REQUEST,
				  ASC_SAVING_NOT_SUPPORTED);
	if (!(t->cdb[1] & 0x08)) /* DBD */
		descriptor = put_descriptor(t->view, longlba, data + len);
	len += descriptor;
	got = put_pages(t, data + len);
	if (got == 0) {
		for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
			if (pages[i].page == (t->cdb[2] & 0x3f) ||
			    (t->cdb[2] & 0x3f) == PAGE_ALL)
				return sense_cdb(t, 3, 7);
		}
		return sense_cdb(t, 2, 5);
	}
	len += got;
	ASSERT(len <= MODE_DATA_MAX);
	if (six) {
		data[0] = (uint8_t)(len - 1);
		data[2] = device_specific(t->view);
		data[3] = (uint8_t)descriptor;
	} else {
		store_be16(data, (uint16_t)(len - 2));
		data[3] = device_specific(t->view);
		data[4] = longlba && descriptor > 0;
		store_be16(data + 6, (uint16_t)descriptor);
	}
	return task_data_in(t, data, len, alloc);
}

/* ---- MODE SELECT. */

enum scsi_step cmd_mode_select(struct scsi_task *t)
{
	bool six = t->cmd->len == 6;
	uint32_t len = six ? t->cdb[4] : load_be16(t->cdb + 7);

	if (t->cdb[1] & 0x01) /* SP: there are no saved pages */
		return sense_cdb(t, 1, 0);
	if (len == 0) /* 6.11: not an error */
		return task_good(t);
	if (!(t->cdb[1] & 0x10)) /* PF: pages as SPC-4 has them */
		return sense_cdb(t, 1, 4);
	if (len > MODE_DATA_MAX)
		return sense_fail(t, KEY_ILLEGAL_REQUEST,
				  ASC_PARAM_LIST_LENGTH);
	return task_want_params(t, len);
}

static const struct mode_page *find_page(const uint8_t *p, uint32_t left)
{
	uint8_t subpage = 0;

	if (p[0] & 0x40) {
		if (left < 4 || p[1] == 0)
			return NULL;
		subpage = p[1];
	}
	for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
		if (pages[i].page == (p[0] & 0x3f) &&
		    pages[i].subpage == subpage)
			return &pages[i];
	}
	return NULL;
}

/* The first byte that differs where it may not; its length if none does. */
static uint32_t first_fixed(const struct scsi_task *t,
			    const struct mode_page *page, const uint8_t *p)
{
	const struct lun_view *view = t->view;
	uint8_t now[MODE_PAGE_MAX], mask[MODE_PAGE_MAX];
	uint32_t i = page->subpage == 0 ? 2 : 4;

	_Static_assert(MODE_PAGE_MAX >= 32, "the longest page");
	put_page(page, view->lun, &view->state, PC_CURRENT, now);
	put_page(page, view->lun, &view->state, PC_CHANGEABLE, mask);
	for (; i < page->len; i++) {
		if ((now[i] ^ p[i]) & ~mask[i])
			break;
	}
	return i;
}

static enum scsi_step check_descriptor(struct scsi_task *t, const uint8_t *p,
				       uint32_t at, uint32_t len, bool longlba)
{
	const struct lun_view *view = t->view;
	uint64_t nblocks = longlba ? load_be64(p) : load_be32(p);
	uint64_t all = longlba ? UINT64_MAX : UINT32_MAX;
	uint32_t size = longlba ? load_be32(p + 12) : load_be24(p + 5);

	/* The format cannot be changed: what is there, or "no change". */
	if (nblocks != 0 && nblocks != all && nblocks != view->nblocks)
		return sense_param(t, (uint16_t)at, 7);
	if (size != 0 && size != view->block_size)
		return sense_param(t, (uint16_t)(at + (longlba ? 12 : 5)), 7);
	return SCSI_PENDING;
}

/* Takes header and descriptor off; SCSI_DONE when they are wrong. */
static enum scsi_step check_header(struct scsi_task *t, const uint8_t *p,
				   uint32_t len, uint32_t *ret_at)
{
	bool six = t->cmd->len == 6;
	uint32_t header = six ? 4 : 8, descriptor;
	bool longlba = false;
	enum scsi_step step;

	if (len < header)
		return sense_fail(t, KEY_ILLEGAL_REQUEST,
				  ASC_PARAM_LIST_LENGTH);
	descriptor = six ? p[3] : load_be16(p + 6);
	longlba = !six && (p[4] & 0x01);
	if (descriptor != 0 && descriptor != (longlba ? 16 : 8))
		return sense_param(t, six ? 3 : 6, 7);
	if (descriptor > len - header)
		return sense_fail(t, KEY_ILLEGAL_REQUEST,
				  ASC_PARAM_LIST_LENGTH);
	if (descriptor != 0) {
		step = check_descriptor(t, p + header, header, descriptor,
					longlba);
		if (step != SCSI_PENDING)
			return step;
	}
	*ret_at = header + descriptor;
	return SCSI_PENDING;
}

static enum scsi_step check_pages(struct scsi_task *t, const uint8_t *p,
				  uint32_t at, uint32_t len)
{
	const struct mode_page *page;
	uint32_t said, bad;

	for (; at < len; at += page->len) {
		if (len - at < 2)
			return sense_fail(t, KEY_ILLEGAL_REQUEST,
					  ASC_PARAM_LIST_LENGTH);
		page = find_page(p + at, len - at);
		if (page == NULL)
			return sense_param(t, (uint16_t)at, 5);
		if (len - at < page->len)
			return sense_fail(t, KEY_ILLEGAL_REQUEST,
					  ASC_PARAM_LIST_LENGTH);
		said = page->subpage == 0 ? p[at + 1] + 2u
					  : load_be16(p + at + 2) + 4u;
		if (said != page->len)
			return sense_param(
				t, (uint16_t)(at + (page->subpage ? 2 : 1)), 7);
		bad = first_fixed(t, page, p + at);
		if (bad < page->len)
			return sense_param(t, (uint16_t)(at + bad),
					   SENSE_NO_BIT);
	}
	return SCSI_PENDING;
}

static bool apply_pages(struct scsi_task *t, struct lun_state *state,
			enum ua_bit *ret_ua)
{
	const uint8_t *p = t->iov_one.iov_base;
	uint32_t at = (uint32_t)t->scratch[0];
	uint32_t len = (uint32_t)t->scratch[1];
	struct lun_state old = *state;
	const struct mode_page *page;

	for (; at < len; at += page->len) {
		page = find_page(p + at, len - at);
		ASSERT(page != NULL);
		if (page->store != NULL)
			page->store(state, p + at);
	}
	/* SPC-4, 5.8: others hear of it only when something has changed. */
	*ret_ua = UA_MODE_CHANGED;
	return memcmp(&old, state, sizeof(old)) != 0;
}

enum scsi_step exec_mode_select(struct scsi_task *t, uint32_t len)
{
	const uint8_t *p = t->iov_one.iov_base;
	enum scsi_step step;
	uint32_t at = 0;

	if (len < t->data_out_len)
		return sense_fail(t, KEY_ILLEGAL_REQUEST,
				  ASC_PARAM_LIST_LENGTH);
	step = check_header(t, p, len, &at);
	if (step == SCSI_PENDING)
		step = check_pages(t, p, at, len);
	if (step != SCSI_PENDING)
		return step;
	if (at == len)
		return task_good(t);
	t->scratch[0] = at;
	t->scratch[1] = len;
	return home_change(t, apply_pages, task_good);
}
