/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bdevs on top of another one, as SPDK has them. Each claims its base: nobody
 * else can open it. When the base is removed, so are they. All functions:
 * control reactor; results and @ret_why as for the creation functions of
 * bdev.h, and -ENODEV or -EBUSY for the base.
 */
#pragma once

#include "bdev/bdev.h"

/* What it sits on; NULL when it does not. */
const struct bdev *bdev_base(const struct bdev *bdev);

/* ---- passthru: the base under another name. */
int bdev_passthru_create(struct bdev_registry *reg, const struct bdev_common *c,
			 const char *base, struct bdev **ret,
			 const char **ret_why);

/* ---- split: "<base>p0", "<base>p1"... */

#define BDEV_SPLIT_MAX 1024 /* parts of one base */

/*
 * @count parts of @size bytes each, 0: all equal. Fewer when not so many fit;
 * at least one. @ret_count: how many.
 */
int bdev_split_create(struct bdev_registry *reg, const char *base,
		      uint32_t count, uint64_t size, uint32_t *ret_count,
		      const char **ret_why);
/* Removes all parts of @base; rm->done when the last is gone. -ENODEV when
 * there are none, -ENOMEM. @rm may be NULL. */
int bdev_split_delete(struct bdev_registry *reg, const char *base,
		      struct bdev_removal *rm);

/* ---- error: "EE_<base>", which does as it is told. */

enum bdev_fault {
	BDEV_FAULT_NONE,
	BDEV_FAULT_FAIL,    /* the I/O fails, the base does not see it */
	BDEV_FAULT_PENDING, /* it does not end */
	BDEV_FAULT_CORRUPT, /* a byte of a READ or WRITE is changed */
};

struct bdev_injection {
	uint32_t ops; /* 1 << enum bdev_op */
	enum bdev_fault fault;
	uint32_t count;		 /* of I/O that it hits, over all cores */
	int error;		 /* FAIL: -errno; 0 means -EIO */
	uint32_t corrupt_offset; /* byte of the I/O; a shorter one is spared */
	uint8_t corrupt_value;	 /* XORed, 0 means 0xff */
};

int bdev_error_create(struct bdev_registry *reg, const uint8_t *uuid,
		      const char *base, struct bdev **ret,
		      const char **ret_why);
/*
 * From the next I/O on; what was injected for these ops before is forgotten.
 * -EINVAL: not an error bdev, or no such thing.
 */
int bdev_error_inject(struct bdev *bdev, const struct bdev_injection *inj);
/*
 * Ends all I/O that BDEV_FAULT_PENDING holds, with @result. Removing the bdev
 * does so with -ENODEV. 0, -EINVAL, -ENOMEM.
 */
int bdev_error_release(struct bdev *bdev, int result);

/* ---- delay: an I/O ends so much later than the base's. */

enum bdev_latency {
	BDEV_AVG_READ,
	BDEV_P99_READ,	/* every hundredth of a core */
	BDEV_AVG_WRITE, /* all that changes the medium */
	BDEV_P99_WRITE,
	BDEV_LATENCY_COUNT
};

/* @us: microseconds; a timer's grain is 1 ms, so it is rounded up. */
int bdev_delay_create(struct bdev_registry *reg, const struct bdev_common *c,
		      const char *base, const uint64_t us[BDEV_LATENCY_COUNT],
		      struct bdev **ret, const char **ret_why);
/* -EINVAL: not a delay bdev. */
int bdev_delay_update(struct bdev *bdev, enum bdev_latency which, uint64_t us);
/* Microseconds; 0 when it is none. */
uint64_t bdev_delay_get(const struct bdev *bdev, enum bdev_latency which);
