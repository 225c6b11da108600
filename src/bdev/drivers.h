/* SPDX-License-Identifier: BSD-3-Clause */
/* Every driver, for the list in drivers.c. */
#pragma once

#include "bdev/driver.h"

extern const struct bdev_driver bdev_malloc_driver;
extern const struct bdev_driver bdev_null_driver;
extern const struct bdev_driver bdev_file_driver;
extern const struct bdev_driver bdev_passthru_driver;
extern const struct bdev_driver bdev_split_driver;
extern const struct bdev_driver bdev_error_driver;
extern const struct bdev_driver bdev_delay_driver;
