/* SPDX-License-Identifier: BSD-3-Clause */
#include "bdev/drivers.h"

const struct bdev_driver *const bdev_drivers[] = {
	&bdev_malloc_driver, &bdev_null_driver,
	&bdev_file_driver,   &bdev_passthru_driver,
	&bdev_split_driver,  &bdev_error_driver,
	&bdev_delay_driver,  NULL,
};
