/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the drivers on top of a base have in common: the claim, a channel of
 * the base for each of their own, and I/O of the base that stands for theirs.
 */
#pragma once

#include "base/slab.h"
#include "bdev/driver.h"
#include "bdev/vbdev.h"

#define VBDEV_CHILDREN 128 /* I/O at the base, per channel */

/* First member of a driver's own structure. */
struct vbdev {
	struct bdev *bdev;
	struct bdev_desc desc; /* of the base */
	bool follow_size;      /* as large as the base */
};

struct vbdev_channel;
typedef void vbdev_finish_fn(struct vbdev_channel *vch, struct bdev_io *io,
			     int result);

/* First member of a driver's own, in ch->driver_data. */
struct vbdev_channel {
	struct bdev_channel *base;
	vbdev_finish_fn *finish; /* an I/O of the base has ended, later */
	struct slab children;
	struct list waiting; /* for a child; struct vbdev_wait */
};

/* In io->driver of one that waits. */
struct vbdev_wait {
	struct list link;
	uint64_t shift;
};

/* In io->driver, for a driver that holds an I/O back. */
struct vbdev_held {
	struct list link;
	uint64_t due_ns;
	int result;
};

static inline struct vbdev_held *vbdev_held(struct bdev_io *io)
{
	_Static_assert(sizeof(struct vbdev_held) <= sizeof(io->driver), "");
	return (struct vbdev_held *)io->driver;
}

static inline struct bdev_io *vbdev_held_io(struct list *link)
{
	struct vbdev_held *h = list_entry(link, struct vbdev_held, link);

	return container_of((uint64_t *)h, struct bdev_io, driver[0]);
}

/*
 * Claims @base for @owner and makes a bdev of the driver that looks like it:
 * size, blocks, caps but MAP. The driver may change what it likes, then
 * registers it; or gives up with vbdev_deinit() and bdev_free(). driver_data
 * is @v. 0 or -errno.
 */
int vbdev_init(struct vbdev *v, struct bdev_registry *reg,
	       const struct bdev_driver *d, const struct bdev_common *c,
	       const char *base, const void *owner, const char **ret_why);
void vbdev_deinit(struct vbdev *v);

int vbdev_channel_init(struct vbdev_channel *vch, struct bdev_channel *ch,
		       vbdev_finish_fn *finish);
void vbdev_channel_deinit(struct vbdev_channel *vch);

/* For a driver without a channel structure of its own, and its slots. */
int vbdev_channel_open(struct bdev_channel *ch);
void vbdev_channel_close(struct bdev_channel *ch);

/*
 * Has the base do @io, @shift bytes further on. BDEV_DONE: io->result is set;
 * BDEV_PENDING: finish() will come, from the loop.
 */
enum bdev_status vbdev_forward(struct vbdev_channel *vch, struct bdev_io *io,
			       uint64_t shift);
