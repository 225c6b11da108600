/* SPDX-License-Identifier: BSD-3-Clause */
#include "bdev/driver.h"

#include "bdev/drivers.h"

const struct bdev_driver *const bdev_drivers[] = {
	&bdev_file_driver,
	&bdev_malloc_driver,
	&bdev_null_driver,
	NULL,
};
