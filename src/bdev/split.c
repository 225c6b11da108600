/* SPDX-License-Identifier: BSD-3-Clause */
/* Parts of a base, one behind the other. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "bdev/drivers.h"
#include "bdev/vbdev_priv.h"

/* Owner of the base; as old as the oldest part. */
struct split {
	uint32_t parts;
};

struct part {
	struct vbdev v;
	struct split *split;
	uint64_t offset; /* bytes */
};

static enum bdev_status split_submit(struct bdev_channel *ch,
				     struct bdev_io *io)
{
	struct part *p = ch->bdev->driver_data;

	return vbdev_forward(ch->driver_data, io, p->offset);
}

/* The base's run may go on behind the part's end. */
static void clip(struct vbdev_channel *vch, struct bdev_io *io, int result)
{
	if (io->op == BDEV_EXTENT && !result)
		io->extent_len = MIN(io->extent_len,
				     bdev_size(io->ch->bdev) - io->offset);
	bdev_io_complete(io, result);
}

static int split_channel_open(struct bdev_channel *ch)
{
	int r = vbdev_channel_open(ch);

	if (!r)
		((struct vbdev_channel *)ch->driver_data)->finish = clip;
	return r;
}

static void put_split(struct split *s)
{
	ASSERT(s->parts > 0);
	if (--s->parts == 0)
		free(s);
}

static void split_destroy(struct bdev *b)
{
	struct part *p = b->driver_data;

	vbdev_deinit(&p->v);
	put_split(p->split);
	free(p);
}

const struct bdev_driver bdev_split_driver = {
	.name = "split",
	.destroy = split_destroy,
	.submit = split_submit,
	.channel_open = split_channel_open,
	.channel_close = vbdev_channel_close,
};

static int create_part(struct bdev_registry *reg, struct split *s,
		       const char *base, uint32_t index, uint64_t nblocks,
		       const char **ret_why)
{
	struct part *p = calloc(1, sizeof(*p));
	char name[BDEV_NAME_MAX + 16];
	struct bdev_common c = {.name = name};
	int r;

	*ret_why = "out of memory";
	if (!p)
		return -ENOMEM;
	snprintf(name, sizeof(name), "%sp%u", base, index);
	r = vbdev_init(&p->v, reg, &bdev_split_driver, &c, base, s, ret_why);
	if (r) {
		free(p);
		return r;
	}
	p->v.follow_size = false;
	p->split = s;
	s->parts++;
	p->v.bdev->product = "Split Disk";
	p->v.bdev->nblocks = nblocks;
	p->offset = index * nblocks * p->v.bdev->block_size;
	bdev_register(p->v.bdev);
	return 0;
}

/* Blocks of a part, and how many parts there are room for. 0 or -errno. */
static int divide(const struct bdev *base, uint64_t size, uint32_t *count,
		  uint64_t *ret_nblocks, const char **ret_why)
{
	*ret_why = "the number of parts is 1 to 1024";
	if (*count == 0 || *count > BDEV_SPLIT_MAX)
		return -EINVAL;
	*ret_why = "the size of a part is not a multiple of the block size";
	if (size % base->block_size)
		return -EINVAL;
	*ret_nblocks = size ? size / base->block_size : base->nblocks / *count;
	*ret_why = "not one part fits";
	if (*ret_nblocks == 0 || *ret_nblocks > base->nblocks)
		return -EINVAL;
	if (base->nblocks / *ret_nblocks < *count)
		*count = (uint32_t)(base->nblocks / *ret_nblocks);
	return 0;
}

static bool is_part_of(const struct bdev *b, const char *base)
{
	return b->driver == &bdev_split_driver &&
	       strcmp(bdev_base(b)->name, base) == 0;
}

static int create_all(struct bdev_registry *reg, const char *base,
		      uint32_t count, uint64_t nblocks, const char **ret_why)
{
	struct split *s = calloc(1, sizeof(*s));
	uint32_t i;
	int r = 0;

	*ret_why = "out of memory";
	if (!s)
		return -ENOMEM;
	s->parts = 1; /* our own, until all are made */
	for (i = 0; i < count && !r; i++)
		r = create_part(reg, s, base, i, nblocks, ret_why);
	if (r && s->parts > 1)
		(void)bdev_split_delete(reg, base, NULL);
	put_split(s);
	return r;
}

int bdev_split_create(struct bdev_registry *reg, const char *base_name,
		      uint32_t count, uint64_t size, uint32_t *ret_count,
		      const char **ret_why)
{
	struct bdev *base = bdev_find(reg, base_name);
	const char *why = "no such base bdev";
	uint64_t nblocks;
	int r = -ENODEV;

	if (base && bdev_in_use(base)) {
		r = -EBUSY;
		why = "the base bdev is in use";
	} else if (base) {
		r = divide(base, size, &count, &nblocks, &why);
	}
	if (!r)
		r = create_all(reg, base_name, count, nblocks, &why);
	if (r && ret_why)
		*ret_why = why;
	if (!r)
		*ret_count = count;
	return r;
}

/* ---- All parts at once. */

struct delete_part {
	struct bdev_removal rm;
	struct delete_all *all;
};

struct delete_all {
	struct bdev_removal *rm;
	uint32_t left;
	struct delete_part parts[];
};

static void part_gone(struct bdev_removal *rm)
{
	struct delete_part *dp = container_of(rm, struct delete_part, rm);
	struct delete_all *all = dp->all;

	if (--all->left > 0)
		return;
	if (all->rm && all->rm->done)
		all->rm->done(all->rm);
	free(all);
}

int bdev_split_delete(struct bdev_registry *reg, const char *base,
		      struct bdev_removal *rm)
{
	struct delete_all *all;
	struct bdev *b, *next;
	uint32_t n = 0;

	for (b = bdev_first(reg); b; b = bdev_next(b))
		n += is_part_of(b, base);
	if (n == 0)
		return -ENODEV;
	all = calloc(1, sizeof(*all) + n * sizeof(all->parts[0]));
	if (!all)
		return -ENOMEM;
	all->rm = rm;
	for (b = bdev_first(reg); b; b = next) {
		next = bdev_next(b);
		if (!is_part_of(b, base))
			continue;
		all->parts[all->left].rm.done = part_gone;
		all->parts[all->left].all = all;
		(void)bdev_remove(b, &all->parts[all->left].rm);
		all->left++;
	}
	return 0;
}
