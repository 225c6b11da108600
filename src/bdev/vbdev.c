/* SPDX-License-Identifier: BSD-3-Clause */
#include "bdev/vbdev_priv.h"

#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "bdev/drivers.h"

struct child {
	struct bdev_io io;
	struct vbdev_channel *vch;
	struct bdev_io *parent;
};

static bool is_vbdev(const struct bdev *b)
{
	const struct bdev_driver *d = b->driver;

	return d == &bdev_passthru_driver || d == &bdev_split_driver ||
	       d == &bdev_error_driver || d == &bdev_delay_driver;
}

const struct bdev *bdev_base(const struct bdev *b)
{
	const struct vbdev *v = b->driver_data;

	return is_vbdev(b) ? v->desc.bdev : NULL;
}

/* ---- The base. */

static void base_event(struct bdev_desc *desc, enum bdev_event event)
{
	struct vbdev *v = container_of(desc, struct vbdev, desc);

	switch (event) {
	case BDEV_EVENT_REMOVE:
		/* -EBUSY: it is going anyway. Its end closes the base. */
		(void)bdev_remove(v->bdev, NULL);
		break;
	case BDEV_EVENT_RESIZE:
		if (v->follow_size)
			bdev_set_nblocks(v->bdev, desc->bdev->nblocks);
		break;
	}
}

int vbdev_init(struct vbdev *v, struct bdev_registry *reg,
	       const struct bdev_driver *d, const struct bdev_common *c,
	       const char *base_name, const void *owner, const char **ret_why)
{
	const struct bdev *base;
	struct bdev *b;
	int r;

	b = bdev_alloc(reg, d, c, NULL, &r, ret_why);
	if (!b)
		return r;
	r = bdev_open_claimed(reg, base_name, owner, &v->desc, base_event);
	if (r) {
		if (ret_why)
			*ret_why = r == -EBUSY ? "the base bdev is in use"
					       : "no such base bdev";
		bdev_free(b);
		return r;
	}
	base = v->desc.bdev;
	v->bdev = b;
	v->follow_size = true;
	b->driver_data = v;
	b->product = base->product;
	/* The base does, or emulates, what is asked of it. */
	b->caps =
		(base->caps & ~(uint32_t)BDEV_CAP_MAP) | BDEV_CAP_WRITE_ZEROES;
	b->nblocks = base->nblocks;
	b->block_size = base->block_size;
	b->phys_block_size = base->phys_block_size;
	b->unmap_granularity = base->unmap_granularity;
	b->optimal_io = base->optimal_io;
	b->write_cache = base->write_cache;
	b->read_only |= base->read_only;
	b->rotational = base->rotational;
	return 0;
}

void vbdev_deinit(struct vbdev *v)
{
	bdev_close(&v->desc);
}

/* ---- Channels. */

int vbdev_channel_init(struct vbdev_channel *vch, struct bdev_channel *ch,
		       vbdev_finish_fn *finish)
{
	struct vbdev *v = ch->bdev->driver_data;

	vch->finish = finish;
	list_init(&vch->waiting);
	if (slab_init(&vch->children, sizeof(struct child), VBDEV_CHILDREN))
		return -ENOMEM;
	vch->base = bdev_channel_get(v->desc.bdev, ch->reactor);
	if (vch->base)
		return 0;
	slab_deinit(&vch->children);
	return -ENOMEM;
}

void vbdev_channel_deinit(struct vbdev_channel *vch)
{
	ASSERT(list_empty(&vch->waiting));
	bdev_channel_put(vch->base);
	slab_deinit(&vch->children);
}

static void complete(struct vbdev_channel *vch, struct bdev_io *io, int result)
{
	bdev_io_complete(io, result);
}

int vbdev_channel_open(struct bdev_channel *ch)
{
	struct vbdev_channel *vch = calloc(1, sizeof(*vch));
	int r;

	if (!vch)
		return -ENOMEM;
	r = vbdev_channel_init(vch, ch, complete);
	if (r) {
		free(vch);
		return r;
	}
	ch->driver_data = vch;
	return 0;
}

void vbdev_channel_close(struct bdev_channel *ch)
{
	vbdev_channel_deinit(ch->driver_data);
	free(ch->driver_data);
}

/* ---- I/O. */

/* Lets the child go; its outcome. */
static int reap(struct child *c)
{
	struct bdev_io *io = c->parent;
	int result = c->io.result;

	io->allocated = c->io.allocated;
	io->extent_len = c->io.extent_len;
	slab_put(&c->vch->children, c);
	return result;
}

static void serve_waiting(struct vbdev_channel *vch);

static void child_done(struct bdev_io *child_io)
{
	struct child *c = container_of(child_io, struct child, io);
	struct vbdev_channel *vch = c->vch;
	struct bdev_io *io = c->parent;
	int result = reap(c);

	/* Before finish(): after it the channel may be closed. */
	serve_waiting(vch);
	vch->finish(vch, io, result);
}

static enum bdev_status start_child(struct vbdev_channel *vch, struct child *c,
				    struct bdev_io *io, uint64_t shift)
{
	c->vch = vch;
	c->parent = io;
	c->io.op = io->op;
	c->io.fua = io->fua;
	/* A flush of all stays one. */
	c->io.offset =
		io->op == BDEV_FLUSH && io->len == 0 ? 0 : io->offset + shift;
	c->io.len = io->len;
	c->io.iov = io->iov;
	c->io.iovcnt = io->iovcnt;
	c->io.done = child_done;
	if (bdev_submit(vch->base, &c->io) == BDEV_PENDING)
		return BDEV_PENDING;
	io->result = reap(c);
	return BDEV_DONE;
}

enum bdev_status vbdev_forward(struct vbdev_channel *vch, struct bdev_io *io,
			       uint64_t shift)
{
	struct child *c = slab_get(&vch->children);
	struct vbdev_wait *w = (struct vbdev_wait *)io->driver;

	if (c)
		return start_child(vch, c, io, shift);
	w->shift = shift;
	list_init(&w->link);
	list_push_back(&vch->waiting, &w->link);
	return BDEV_PENDING;
}

static void serve_waiting(struct vbdev_channel *vch)
{
	struct vbdev_wait *w;
	struct bdev_io *io;
	struct child *c;

	while (!list_empty(&vch->waiting)) {
		c = slab_get(&vch->children);
		if (!c)
			return;
		w = list_entry(list_pop_front(&vch->waiting), struct vbdev_wait,
			       link);
		io = container_of((uint64_t *)w, struct bdev_io, driver[0]);
		if (start_child(vch, c, io, w->shift) == BDEV_DONE)
			vch->finish(vch, io, io->result);
	}
}
