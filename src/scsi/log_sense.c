/* SPDX-License-Identifier: BSD-3-Clause */
/* LOG SENSE (SPC-4, 6.8 and 7.3). */
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "scsi/task_priv.h"

#define LOG_SP	       0x01
#define LOG_CUMULATIVE 1    /* PC: the current values */
#define LOG_ALL	       0xff /* subpage: pages with subpages */
#define LOG_PAGE_MAX   256
#define PARAM_HEADER   4u
#define PARAM_LISTS    0x03 /* binary list, which is no threshold */

/* One parameter: code, bytes, and what they are. */
struct log_param {
	uint16_t code;
	uint8_t len;
	void (*fill)(const struct scsi_task *t, uint8_t *p);
};

/* ---- General statistics and performance (7.3.13). */

/* 7.3.13.2. Reads and writes as the backend was asked for them, by whatever
 * command and through every path. */
static void fill_access(const struct scsi_task *t, uint8_t *p)
{
	unsigned int shift = t->view->block_shift;
	struct bdev_stats s;

	bdev_get_stats(t->view->lun->bdev, &s);
	store_be64(p, s.ops[BDEV_READ]);
	store_be64(p + 8, s.ops[BDEV_WRITE]);
	store_be64(p + 16, s.bytes[BDEV_WRITE] >> shift); /* received */
	store_be64(p + 24, s.bytes[BDEV_READ] >> shift);  /* transmitted */
	store_be64(p + 32, s.latency_ns[BDEV_READ] / 1000);
	store_be64(p + 40, s.latency_ns[BDEV_WRITE] / 1000);
}

/* 7.3.13.4: what the intervals above are: 1 times 10 to the power of -6. */
static void fill_interval(const struct scsi_task *t, uint8_t *p)
{
	store_be32(p, (uint32_t)-6);
	store_be32(p + 4, 1);
}

static const struct log_param performance[] = {
	{0x0001, 64, fill_access},
	{0x0003, 8, fill_interval},
};

/* ---- Pages. */

static const struct log_page {
	uint8_t page;
	const struct log_param *params; /* NULL: the list of pages */
	uint32_t nparams;
} pages[] = {
	{0x00, NULL, 0},
	{0x19, performance, ARRAY_LEN(performance)},
};

static const struct log_page *find_page(uint8_t code)
{
	for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
		if (pages[i].page == code)
			return &pages[i];
	}
	return NULL;
}

/* 7.3.19 and 7.3.20. */
static uint32_t put_pages(uint8_t *p, bool subpages)
{
	uint32_t len = 0;

	for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
		p[len++] = pages[i].page;
		if (subpages)
			p[len++] = 0;
	}
	/* The list with subpages is one itself. */
	if (subpages) {
		p[len++] = 0x00;
		p[len++] = LOG_ALL;
	}
	return len;
}

static uint32_t put_params(const struct scsi_task *t,
			   const struct log_page *page, uint16_t first,
			   uint8_t *p)
{
	uint32_t len = 0;

	for (uint32_t i = 0; i < page->nparams; i++) {
		const struct log_param *param = &page->params[i];

		if (param->code < first)
			continue;
		store_be16(p + len, param->code);
		p[len + 2] = PARAM_LISTS;
		p[len + 3] = param->len;
		param->fill(t, p + len + PARAM_HEADER);
		len += PARAM_HEADER + param->len;
	}
	return len;
}

enum scsi_step cmd_log_sense(struct scsi_task *t)
{
	const struct log_page *page = find_page(t->cdb[2] & 0x3f);
	bool all = t->cdb[3] == LOG_ALL && page != NULL && page->page == 0;
	uint16_t first = load_be16(t->cdb + 5);
	uint8_t *data = task_small(t, LOG_PAGE_MAX);
	uint32_t len;

	if (t->cdb[1] & LOG_SP) /* nothing is saved */
		return sense_cdb(t, 1, 0);
	if (page == NULL)
		return sense_cdb(t, 2, 5);
	if (t->cdb[3] != 0 && !all)
		return sense_cdb(t, 3, 7);
	data[0] = page->page;
	if (page->params == NULL) {
		if (all) {
			data[0] |= 0x40; /* SPF */
			data[1] = LOG_ALL;
		}
		len = put_pages(data + 4, all);
	} else {
		if (t->cdb[2] >> 6 != LOG_CUMULATIVE)
			return sense_cdb(t, 2, 7);
		/* 6.8: a pointer beyond the last parameter. */
		if (first > page->params[page->nparams - 1].code)
			return sense_cdb(t, 5, 7);
		data[0] |= 0x80; /* DS: not saved */
		len = put_params(t, page, first, data + 4);
	}
	ASSERT(4 + len <= LOG_PAGE_MAX);
	store_be16(data + 2, (uint16_t)len);
	return task_data_in(t, data, 4 + len, load_be16(t->cdb + 7));
}
