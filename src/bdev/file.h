/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A regular file or a block device as a disk (SPDK's AIO bdev). Private to
 * file.c, which does I/O, and file_open.c, which finds out what the file is.
 */
#pragma once

#include "bdev/bdev.h"

/* Bytes of one system call: its result has to fit op->res. */
#define FILE_IO_MAX (64u << 20)

struct file {
	int fd;
	char *path;
	bool block_device;
	bool direct;	    /* O_DIRECT: past the page cache */
	uint32_t mem_align; /* of buffers; 1 when not direct */
	uint32_t len_align; /* of each iovec's length; 1 when not direct */
	/* Any core; they only ever become true, and say what a system call
	 * has said: a core that learns of it later asks again. */
	bool no_punch, no_zero_range;
	bool told_refusal; /* one line in the log is enough */
	/* The page cache has dropped what it could not write: a later fsync()
	 * would not tell. No flush of this bdev may succeed any more. */
	bool flush_failed;
};

/* What file_open() found; sizes in bytes, 0 = unknown. */
struct file_facts {
	uint64_t size;
	uint32_t block_size;
	uint32_t phys_block_size;
	uint32_t optimal_io;
	uint32_t unmap_granularity;
	bool can_unmap;
	bool read_only;
	bool rotational;
};

/*
 * Opens @path and finds the block size, unless @block_size gives it. 0 or
 * -errno and one line for the user. Blocks. file_close() afterwards, also when
 * it failed.
 */
int file_open(struct file *f, const char *path, bool read_only,
	      uint32_t block_size, struct file_facts *ret,
	      const char **ret_why);
void file_close(struct file *f);

/* The size in bytes now. 0 or -errno; -ENODEV: the medium is gone. */
int file_size(const struct file *f, uint64_t *ret_bytes);
