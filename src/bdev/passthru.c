/* SPDX-License-Identifier: BSD-3-Clause */
/* The base under another name. */
#include <errno.h>
#include <stdlib.h>

#include "bdev/drivers.h"
#include "bdev/vbdev_priv.h"

static enum bdev_status passthru_submit(struct bdev_channel *ch,
					struct bdev_io *io)
{
	return vbdev_forward(ch->driver_data, io, 0);
}

static void passthru_destroy(struct bdev *b)
{
	vbdev_deinit(b->driver_data);
	free(b->driver_data);
}

const struct bdev_driver bdev_passthru_driver = {
	.name = "passthru",
	.destroy = passthru_destroy,
	.submit = passthru_submit,
	.channel_open = vbdev_channel_open,
	.channel_close = vbdev_channel_close,
};

int bdev_passthru_create(struct bdev_registry *reg, const struct bdev_common *c,
			 const char *base, struct bdev **ret,
			 const char **ret_why)
{
	struct vbdev *v = calloc(1, sizeof(*v));
	int r;

	if (!v) {
		if (ret_why)
			*ret_why = "out of memory";
		return -ENOMEM;
	}
	r = vbdev_init(v, reg, &bdev_passthru_driver, c, base, v, ret_why);
	if (r) {
		free(v);
		return r;
	}
	v->bdev->product = "passthru";
	bdev_register(v->bdev);
	*ret = v->bdev;
	return 0;
}
