/* SPDX-License-Identifier: BSD-3-Clause */
/* Sections of the process and of block devices, as calls. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bdev/bdev.h"
#include "control/conf_rows.h"
#include "control/cpumask.h"

#define MALLOC_LUNS_MAX 4096
#define DISK_MIB_MAX	(INT64_MAX >> 20)
#define POLL_US_MAX	1000000

static void fault(struct translation *t, const struct conf_item *item,
		  const char *words)
{
	conf_fault(t->faults, t->conf->file, item->line, "%s %s", item->key,
		   words);
}

void conf_translate_global(struct translation *t, struct conf_section *s)
{
	const struct conf_item *mask = conf_item_find(s, "ReactorMask");
	const struct conf_item *poll = conf_item_find(s, "ReactorPollUs");
	uint32_t cores[REACTORS_MAX], ncores;
	int64_t us;

	if (mask && cpumask_parse(mask->values[0], cores, &ncores) < 0)
		fault(t, mask,
		      "is neither a mask such as 0x3 nor a list such "
		      "as [0,1]");
	else if (mask)
		t->cfg->reactor_mask = strdup(mask->values[0]);
	if (poll && conf_number(t, poll, 0, 0, POLL_US_MAX, &us)) {
		t->cfg->has_poll_us = true;
		t->cfg->poll_us = (uint32_t)us;
	}
}

static bool blocks_of(struct translation *t, const struct conf_item *item,
		      int64_t mib, int64_t block_size, int64_t *ret)
{
	if (block_size < BDEV_BLOCK_MIN || block_size > BDEV_BLOCK_MAX ||
	    (block_size & (block_size - 1)) != 0) {
		fault(t, item,
		      "has a block size that is not a power of 2 "
		      "within 512..65536");
		return false;
	}
	*ret = (mib << 20) / block_size;
	return true;
}

void conf_translate_malloc(struct translation *t, struct conf_section *s)
{
	const struct conf_item *number = conf_item_find(s, "NumberOfLuns");
	const struct conf_item *size = conf_item_find(s, "LunSizeInMB");
	const struct conf_item *block = conf_item_find(s, "BlockSize");
	int64_t n, mib, block_size = 512, nblocks;
	char name[32];

	if (!number || !size) {
		conf_fault(t->faults, t->conf->file, s->line,
			   "section [%s] needs NumberOfLuns and LunSizeInMB",
			   s->name);
		return;
	}
	if (!conf_number(t, number, 0, 1, MALLOC_LUNS_MAX, &n) ||
	    !conf_number(t, size, 0, 1, DISK_MIB_MAX, &mib) ||
	    (block &&
	     !conf_number(t, block, 0, 1, BDEV_BLOCK_MAX, &block_size)) ||
	    !blocks_of(t, block ? block : size, mib, block_size, &nblocks))
		return;
	for (int64_t i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "Malloc%" PRId64, i);
		config_add(t, "bdev_malloc_create",
			   json_pack("{s:s, s:I, s:I}", "name", name,
				     "num_blocks", (json_int_t)nblocks,
				     "block_size", (json_int_t)block_size),
			   s, s->line);
	}
}

/* Calls @fn for each line of @key that has @least to @most values. */
static void each_line(struct translation *t, struct conf_section *s,
		      const char *key, uint32_t least, uint32_t most,
		      const char *form,
		      void (*fn)(struct translation *t, struct conf_section *s,
				 const struct conf_item *item))
{
	const struct conf_item *item;

	list_for_each(item, &s->items, link) {
		if (strcasecmp(item->key, key) != 0)
			continue;
		if (item->nvalues >= least &&
		    (item->nvalues <= most || item->values[most][0] == '#'))
			fn(t, s, item);
		else if (item->nvalues > 0)
			conf_fault(t->faults, t->conf->file, item->line,
				   "%s is not '%s %s'", item->key, key, form);
	}
}

/* The value is there and no comment behind the last one. */
static bool has_value(const struct conf_item *item, uint32_t n)
{
	return n < item->nvalues && item->values[n][0] != '#';
}

static void add_aio(struct translation *t, struct conf_section *s,
		    const struct conf_item *item)
{
	int64_t block_size = 0;

	if (has_value(item, 2) &&
	    !conf_number(t, item, 2, 0, BDEV_BLOCK_MAX, &block_size))
		return;
	config_add(t, "bdev_aio_create",
		   json_pack("{s:s, s:s, s:I}", "filename", item->values[0],
			     "name", item->values[1], "block_size",
			     (json_int_t)block_size),
		   s, item->line);
}

void conf_translate_aio(struct translation *t, struct conf_section *s)
{
	each_line(t, s, "AIO", 2, 3, "FILE NAME [BLOCKSIZE]", add_aio);
}

static void add_null(struct translation *t, struct conf_section *s,
		     const struct conf_item *item)
{
	int64_t mib, block_size = 512, nblocks;

	if (!conf_number(t, item, 1, 1, DISK_MIB_MAX, &mib) ||
	    (has_value(item, 2) &&
	     !conf_number(t, item, 2, 1, BDEV_BLOCK_MAX, &block_size)) ||
	    !blocks_of(t, item, mib, block_size, &nblocks))
		return;
	config_add(t, "bdev_null_create",
		   json_pack("{s:s, s:I, s:I}", "name", item->values[0],
			     "num_blocks", (json_int_t)nblocks, "block_size",
			     (json_int_t)block_size),
		   s, item->line);
}

void conf_translate_null(struct translation *t, struct conf_section *s)
{
	each_line(t, s, "Dev", 2, 3, "NAME MiB [BLOCKSIZE]", add_null);
}

static void add_split(struct translation *t, struct conf_section *s,
		      const struct conf_item *item)
{
	struct config_call *call;
	int64_t count, mib = 0;

	if (!conf_number(t, item, 1, 1, UINT32_MAX, &count) ||
	    (has_value(item, 2) &&
	     !conf_number(t, item, 2, 1, DISK_MIB_MAX, &mib)))
		return;
	call = config_add(t, "bdev_split_create",
			  json_pack("{s:s, s:I, s:I}", "base_bdev",
				    item->values[0], "split_count",
				    (json_int_t)count, "split_size_mb",
				    (json_int_t)mib),
			  s, item->line);
	config_add_need(t, call, item, item->values[0]);
}

void conf_translate_split(struct translation *t, struct conf_section *s)
{
	each_line(t, s, "Split", 2, 3, "BDEV COUNT [MiB]", add_split);
}

static void add_error(struct translation *t, struct conf_section *s,
		      const struct conf_item *item)
{
	struct config_call *call;

	call = config_add(t, "bdev_error_create",
			  json_pack("{s:s}", "base_name", item->values[0]), s,
			  item->line);
	config_add_need(t, call, item, item->values[0]);
}

void conf_translate_error(struct translation *t, struct conf_section *s)
{
	each_line(t, s, "BdevError", 1, UINT32_MAX, "BDEV", add_error);
}

static void add_passthru(struct translation *t, struct conf_section *s,
			 const struct conf_item *item)
{
	struct config_call *call;

	call = config_add(t, "bdev_passthru_create",
			  json_pack("{s:s, s:s}", "base_bdev_name",
				    item->values[0], "name", item->values[1]),
			  s, item->line);
	config_add_need(t, call, item, item->values[0]);
}

void conf_translate_passthru(struct translation *t, struct conf_section *s)
{
	each_line(t, s, "PT", 2, 2, "BDEV NAME", add_passthru);
}
