/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Block devices. A bdev is opened and closed on the control reactor; I/O goes
 * through a channel, one per bdev and core, without locks.
 *
 * All offsets and lengths are in bytes and multiples of the block size.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/list.h"
#include "reactor/reactor.h"

#define BDEV_NAME_MAX  63    /* bytes, without the NUL */
#define BDEV_IOV_MAX   64    /* iovecs of one I/O */
#define BDEV_PART_IOVS 8     /* iovecs of one part of a split I/O */
#define BDEV_BLOCK_MIN 512   /* bytes */
#define BDEV_BLOCK_MAX 65536 /* bytes */

struct bdev;
struct bdev_channel;
struct bdev_driver;
struct bdev_registry;
struct bdev_removal;
struct bdev_stats;

/* What the device can do. What it cannot, bdev.c emulates where it says so. */
enum bdev_cap {
	BDEV_CAP_UNMAP = 1 << 0,	/* deallocates; later reads give 0 */
	BDEV_CAP_WRITE_ZEROES = 1 << 1, /* else emulated with writes */
	BDEV_CAP_FLUSH = 1 << 2,	/* else a no-op: nothing volatile */
	BDEV_CAP_FUA = 1 << 3,		/* WRITE; else emulated with a flush */
	BDEV_CAP_MAP = 1 << 4,		/* bdev_map() gives memory */
	BDEV_CAP_EXTENTS = 1 << 5,	/* knows which blocks are allocated */
};

enum bdev_op {
	BDEV_READ,
	BDEV_WRITE,
	BDEV_FLUSH, /* whole device when len is 0 */
	BDEV_UNMAP,
	BDEV_WRITE_ZEROES,
	BDEV_EXTENT, /* is offset allocated, and how far alike? */
	BDEV_OP_COUNT
};

enum bdev_event {
	BDEV_EVENT_REMOVE, /* going away: close your channels, then the desc */
	BDEV_EVENT_RESIZE, /* nblocks has changed */
};

struct bdev {
	const struct bdev_driver *driver;
	struct bdev_registry *registry;
	char name[BDEV_NAME_MAX + 1];
	const char *product;	  /* SPDK's product_name: "Malloc disk" */
	uint8_t uuid[16];	  /* stable; given or derived from the name */
	uint32_t caps;		  /* enum bdev_cap */
	uint32_t block_size;	  /* bytes, 512..65536, a power of 2 */
	uint32_t phys_block_size; /* bytes, >= block_size */
	uint64_t nblocks;
	uint32_t unmap_granularity; /* blocks, 0 = any */
	uint32_t optimal_io;	    /* blocks, 0 = unknown */
	uint32_t max_io;  /* bytes of one READ or WRITE; bdev.c splits */
	bool write_cache; /* volatile: FLUSH and FUA mean something */
	bool read_only;
	bool rotational;
	bool removing;
	struct list link;		/* registry */
	struct list descs;		/* struct bdev_desc */
	struct bdev_channel **channels; /* [reactor index], NULL = never open */
	void *driver_data;
	/* bdev.c's, on the control reactor. */
	const void *claim;	 /* who may open it; NULL = everybody */
	struct deferred news;	 /* tells the descs, then perhaps destroys */
	uint32_t pending_events; /* 1 << enum bdev_event */
	uint32_t holds;		 /* of drivers, see bdev_hold() */
	struct bdev_removal *removal;
	struct bdev_stats *stats_base; /* what reset_stats() takes off */
};

/* Who uses a bdev. Embedded in the user. On the control reactor. */
struct bdev_desc {
	struct bdev *bdev;
	struct list link;
	/* On the control reactor. */
	void (*event)(struct bdev_desc *desc, enum bdev_event event);
};

/* ---- The registry. Control reactor only. */

int bdev_registry_create(struct reactors *set, struct bdev_registry **ret);
/* Who has these disks: goes into the UUIDs that are derived from names, so that
 * two machines' Malloc0 are two disks to an initiator. Before the first bdev. */
void bdev_registry_set_node(struct bdev_registry *reg, const char *node);
void bdev_registry_destroy(struct bdev_registry *reg); /* it is empty */

struct bdev *bdev_find(struct bdev_registry *reg, const char *name);
struct bdev *bdev_first(struct bdev_registry *reg); /* by age */
struct bdev *bdev_next(struct bdev *bdev);

/*
 * 0, -ENODEV, or -EBUSY: it is being removed, or another bdev sits on top of
 * it.
 */
int bdev_open(struct bdev_registry *reg, const char *name,
	      struct bdev_desc *desc,
	      void (*event)(struct bdev_desc *desc, enum bdev_event event));
/*
 * The same for a bdev that is to sit on top of it: it becomes the property of
 * @owner, and only who names @owner can open it, until the last one closes.
 * -EBUSY also when somebody uses it.
 */
int bdev_open_claimed(struct bdev_registry *reg, const char *name,
		      const void *owner, struct bdev_desc *desc,
		      void (*event)(struct bdev_desc *desc,
				    enum bdev_event event));
/* All channels that the opener took have been put. */
void bdev_close(struct bdev_desc *desc);
bool bdev_in_use(const struct bdev *bdev);

/*
 * Takes the name out of use at once, tells every desc (EVENT_REMOVE, from the
 * loop), and when all are closed destroys it and calls rm->done (@rm and done
 * may be NULL), from the loop. 0 or -EBUSY when it is being removed already.
 */
struct bdev_removal {
	void (*done)(struct bdev_removal *rm);
};
int bdev_remove(struct bdev *bdev, struct bdev_removal *rm);

/* ---- I/O, on the channel's reactor. */

struct bdev_io;
typedef void bdev_io_done_fn(struct bdev_io *io);

enum bdev_status { BDEV_DONE, BDEV_PENDING };

struct bdev_io {
	/* Set by the caller. */
	enum bdev_op op;
	bool fua; /* WRITE, WRITE_ZEROES: to stable storage */
	uint64_t offset;
	uint64_t len;
	const struct iovec *iov; /* READ, WRITE: together @len bytes */
	unsigned int iovcnt;
	bdev_io_done_fn *done;
	/* Returned. */
	int result;	     /* 0 or -errno */
	bool allocated;	     /* EXTENT */
	uint64_t extent_len; /* EXTENT: bytes from offset that are alike */
	/* bdev.c's and the driver's, while pending. Until done() what the
	 * caller set may stand for a part of it. */
	struct bdev_channel *ch;
	uint64_t start_ns;
	uint64_t progress; /* bytes done of a split or emulated I/O */
	uint8_t step;	   /* enum io_step */
	struct {	   /* what the caller asked for */
		enum bdev_op op;
		bool fua;
		unsigned int iovcnt;
		uint64_t offset, len;
		const struct iovec *iov;
	} whole;
	unsigned int iov_index; /* where the next part begins */
	size_t iov_offset;
	struct iovec part_iov[BDEV_PART_IOVS];
	struct op rop;
	uint64_t driver[8];
};

/*
 * An I/O above max_io or with more than BDEV_IOV_MAX iovecs is done in parts;
 * then any BDEV_PART_IOVS - 1 neighbouring iovecs together hold at least a
 * block (else -EINVAL).
 *
 * Takes @io until it is done. BDEV_DONE: it is done already, io->result is set
 * and done() will not come. BDEV_PENDING: done() will come from the loop.
 * Errors of the medium: -EIO, -ENOSPC; -ENODEV: the medium is gone; -EROFS;
 * -ENOMEM: of the kernel;
 * -EINVAL for a range outside the device (callers check; this is a net);
 * -ENOTSUP for an UNMAP without its cap.
 */
enum bdev_status bdev_submit(struct bdev_channel *ch, struct bdev_io *io);

/* References counted; the first of a core opens it. On @r. NULL: no memory. */
struct bdev_channel *bdev_channel_get(struct bdev *bdev, struct reactor *r);
/* All of its I/O is done. */
void bdev_channel_put(struct bdev_channel *ch);

/*
 * The address of [offset, offset+len) of a device with BDEV_CAP_MAP, for
 * reading and writing, or NULL. Valid while the channel is held. Counts as I/O
 * for statistics when bdev_count() is called. Never register this memory with
 * the kernel (fixed buffers): an unmap changes the pages behind it.
 */
void *bdev_map(struct bdev_channel *ch, uint64_t offset, uint64_t len);
void bdev_count(struct bdev_channel *ch, enum bdev_op op, uint64_t len);

static inline uint64_t bdev_size(const struct bdev *bdev)
{
	return bdev->nblocks * bdev->block_size;
}

/* ---- Statistics: summed over cores, from any core. */
struct bdev_stats {
	uint64_t ops[BDEV_OP_COUNT];
	uint64_t bytes[BDEV_OP_COUNT];
	uint64_t errors;
	uint64_t latency_ns[BDEV_OP_COUNT]; /* sum, of pending I/O only */
};
void bdev_get_stats(const struct bdev *bdev, struct bdev_stats *ret);
void bdev_reset_stats(struct bdev *bdev);

/* ---- Creation, one function per driver (control reactor). @name may be NULL
 * for "Malloc<n>" and the like where SPDK numbers them. 0, -EEXIST, -EINVAL,
 * -ENOMEM or what open() gave; @ret_why (may be NULL) says it in words. */

struct bdev_common {
	const char *name;
	const uint8_t *uuid;	  /* 16 bytes, or NULL: derived */
	uint32_t phys_block_size; /* 0 = block size, or detected */
	bool read_only;
};
int bdev_malloc_create(struct bdev_registry *reg, const struct bdev_common *c,
		       uint64_t nblocks, uint32_t block_size, struct bdev **ret,
		       const char **ret_why);
int bdev_null_create(struct bdev_registry *reg, const struct bdev_common *c,
		     uint64_t nblocks, uint32_t block_size, struct bdev **ret,
		     const char **ret_why);
/* @block_size 0: detected. */
int bdev_file_create(struct bdev_registry *reg, const struct bdev_common *c,
		     const char *path, uint32_t block_size, struct bdev **ret,
		     const char **ret_why);

/*
 * Sizes anew: null by number, file by looking. 0, -ENOTSUP or -errno; by
 * number a bdev in use does not shrink (-EBUSY).
 */
int bdev_resize(struct bdev *bdev, uint64_t nblocks);
int bdev_rescan(struct bdev *bdev);
