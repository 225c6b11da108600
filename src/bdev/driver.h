/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a driver fills in. A driver sees this file and the reactor, nothing
 * else. Registered in the one list of drivers.c.
 */
#pragma once

#include "bdev/bdev.h"

struct bdev_driver {
	const char *name; /* "malloc": for messages and RPC */

	/* Required. On the control reactor, after the last channel closed.
	 * Frees driver_data. */
	void (*destroy)(struct bdev *bdev);

	/* Required. On the channel's reactor. The range is inside the device,
	 * the op is one of the device's caps, len of READ and WRITE is at most
	 * max_io; fua comes with WRITE and BDEV_CAP_FUA only. Either sets
	 * io->result and returns BDEV_DONE, or keeps @io and calls
	 * bdev_io_complete() later, from the loop. UNMAP and WRITE_ZEROES may
	 * end with -EOPNOTSUPP: then zeroes are written instead. */
	enum bdev_status (*submit)(struct bdev_channel *ch, struct bdev_io *io);

	/* Optional (BDEV_CAP_MAP): the memory of a range inside the device. */
	void *(*map)(struct bdev_channel *ch, uint64_t offset, uint64_t len);

	/* Optional. Control reactor: bdev_remove() was called. What the driver
	 * holds back for ever has to be let go now, for I/O in flight keeps
	 * the bdev. */
	void (*removing)(struct bdev *bdev);

	/* Optional: what the driver keeps per core, in ch->driver_data. 0 or
	 * -errno. */
	int (*channel_open)(struct bdev_channel *ch);
	void (*channel_close)(struct bdev_channel *ch);

	/* Optional. Control reactor: the new number of blocks, or -errno. */
	int (*resize)(struct bdev *bdev, uint64_t nblocks);
	int (*rescan)(struct bdev *bdev, uint64_t *ret_nblocks);

	/* Optional: the path behind it, for RPC and saved configuration. */
	const char *(*path)(const struct bdev *bdev);
};

/* Allocated when first used, it stays (closed, refs 0) while the bdev lives,
 * for its statistics. */
struct bdev_channel {
	struct bdev *bdev;
	struct reactor *reactor;
	uint32_t refs;
	uint32_t inflight;	 /* pending I/O */
	struct bdev_stats stats; /* written on this core only */
	void *driver_data;
};

/* NULL-terminated. */
extern const struct bdev_driver *const bdev_drivers[];

/* The reactors that the registry's bdevs are used on. */
struct reactors *bdev_registry_reactors(const struct bdev_registry *reg);

/* Checks what a user gives: nblocks and block size. 0 or -EINVAL. */
int bdev_check_geometry(uint64_t nblocks, uint32_t block_size,
			uint32_t phys_block_size, const char **ret_why);

/* Control reactor: keeps the bdev from being destroyed, for mail of a driver
 * that is on its way. */
void bdev_hold(struct bdev *bdev);
void bdev_unhold(struct bdev *bdev);

/* Control reactor: the device has another size now; tells its users. */
void bdev_set_nblocks(struct bdev *bdev, uint64_t nblocks);

/*
 * For the creation functions: a zeroed bdev named by @c (or "<prefix><n>"; NULL
 * when the driver has no such), with driver, uuid, read_only, and max_io
 * unlimited. NULL with *ret_error: -EEXIST, -EINVAL, -ENOMEM.
 * bdev_register() puts it into the registry once its fields are set;
 * bdev_free() is for the failure between the two.
 */
struct bdev *bdev_alloc(struct bdev_registry *reg, const struct bdev_driver *d,
			const struct bdev_common *c, const char *prefix,
			int *ret_error, const char **ret_why);
void bdev_register(struct bdev *bdev);
void bdev_free(struct bdev *bdev);

/* Completes a pending I/O: fills io->result and calls done() when all of it is
 * done. From the loop. */
void bdev_io_complete(struct bdev_io *io, int result);
