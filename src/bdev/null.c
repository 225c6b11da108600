/* SPDX-License-Identifier: BSD-3-Clause */
/* A device that reads as zeroes and forgets what is written. */
#include <string.h>

#include "bdev/drivers.h"

static enum bdev_status null_submit(struct bdev_channel *ch, struct bdev_io *io)
{
	unsigned int i;

	if (io->op == BDEV_READ) {
		for (i = 0; i < io->iovcnt; i++)
			memset(io->iov[i].iov_base, 0, io->iov[i].iov_len);
	}
	io->result = 0;
	return BDEV_DONE;
}

static int null_resize(struct bdev *bdev, uint64_t nblocks)
{
	return 0;
}

static void null_destroy(struct bdev *bdev)
{
}

const struct bdev_driver bdev_null_driver = {
	.name = "null",
	.destroy = null_destroy,
	.submit = null_submit,
	.resize = null_resize,
};

int bdev_null_create(struct bdev_registry *reg, const struct bdev_common *c,
		     uint64_t nblocks, uint32_t block_size, struct bdev **ret,
		     const char **ret_why)
{
	struct bdev *b;
	int r;

	r = bdev_check_geometry(nblocks, block_size, c->phys_block_size,
				ret_why);
	if (r)
		return r;
	b = bdev_alloc(reg, &bdev_null_driver, c, "Null", &r, ret_why);
	if (!b)
		return r;
	b->product = "Null disk";
	b->caps = BDEV_CAP_UNMAP | BDEV_CAP_WRITE_ZEROES;
	b->nblocks = nblocks;
	b->block_size = block_size;
	b->phys_block_size =
		c->phys_block_size ? c->phys_block_size : block_size;
	bdev_register(b);
	*ret = b;
	return 0;
}
