/* SPDX-License-Identifier: BSD-3-Clause */
#include "bdev/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/str.h"
#include "reactor/bufpool.h"

#define PHYS_BLOCK_MAX 4096u /* more is not worth telling an initiator */

int file_size(const struct file *f, uint64_t *ret_bytes)
{
	struct stat st;

	if (f->block_device) {
		if (ioctl(f->fd, BLKGETSIZE64, ret_bytes) < 0)
			return -errno;
		return *ret_bytes > 0 ? 0 : -ENODEV;
	}
	if (fstat(f->fd, &st) < 0)
		return -errno;
	*ret_bytes = (uint64_t)st.st_size;
	return 0;
}

/*
 * What the kernel knows of a disk: the queue's attributes lie in the
 * directory of the device or, for a partition, in that of its disk.
 */
static uint64_t queue_attr(dev_t dev, const char *attr)
{
	static const char *const up[] = {"", "../"};
	char path[128], text[32];
	uint64_t value = 0;
	ssize_t len;
	unsigned int i;
	int fd = -1;

	for (i = 0; i < ARRAY_LEN(up) && fd < 0; i++) {
		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%squeue/%s",
			 major(dev), minor(dev), up[i], attr);
		fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	if (fd < 0)
		return 0;
	len = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (len <= 0)
		return 0;
	text[len] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return parse_u64(text, 0, UINT64_MAX, &value) ? 0 : value;
}

static void go_buffered(struct file *f)
{
	int flags = fcntl(f->fd, F_GETFL);

	if (f->direct && flags >= 0)
		fcntl(f->fd, F_SETFL, flags & ~O_DIRECT);
	f->direct = false;
	f->mem_align = 1;
	f->len_align = 1;
}

/* Does the kernel say what O_DIRECT asks for? (Linux 6.1, some filesystems) */
static bool dio_alignment(int fd, uint32_t *ret_mem, uint32_t *ret_offset)
{
#ifdef STATX_DIOALIGN
	struct statx stx = {0};

	if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) == 0 &&
	    (stx.stx_mask & STATX_DIOALIGN)) {
		*ret_mem = stx.stx_dio_mem_align;
		*ret_offset = stx.stx_dio_offset_align;
		return true;
	}
#endif
	return false;
}

/* Asks the kernel by trying: can one block be read with O_DIRECT, not at a
 * place that is aligned by chance? */
static bool direct_read_works(const struct file *f, uint64_t size,
			      uint32_t block_size)
{
	off_t offset = size >= 2 * (uint64_t)block_size ? block_size : 0;
	void *block;
	ssize_t n;

	if (posix_memalign(&block, BUF_ALIGN, block_size))
		return false;
	n = pread(f->fd, block, block_size, offset);
	free(block);
	return n >= 0 || errno != EINVAL;
}

/*
 * Settles O_DIRECT and, for a regular file without a given block size, the
 * block size: 512 where O_DIRECT allows it, else what it asks for.
 */
static void settle_alignment(struct file *f, struct file_facts *facts)
{
	uint32_t mem = 0, offset = 0, bs = facts->block_size;

	if (!f->direct) {
		go_buffered(f);
	} else if (dio_alignment(f->fd, &mem, &offset)) {
		if (bs == 0)
			bs = MAX(offset, (uint32_t)BDEV_BLOCK_MIN);
		if (mem == 0 || mem > BUF_ALIGN || offset == 0 || offset > bs)
			go_buffered(f);
		f->mem_align = f->direct ? mem : 1;
		f->len_align = f->direct ? offset : 1;
	} else {
		if (bs == 0)
			bs = BDEV_BLOCK_MIN;
		if (!direct_read_works(f, facts->size, bs))
			go_buffered(f);
		f->mem_align = f->direct ? BUF_ALIGN : 1;
		f->len_align = f->direct ? bs : 1;
	}
	facts->block_size = bs ? bs : BDEV_BLOCK_MIN;
}

static int probe_block_device(struct file *f, dev_t dev, uint32_t given,
			      struct file_facts *facts, const char **ret_why)
{
	unsigned int phys = 0, opt = 0;
	int logical = 0, ro = 0;

	*ret_why = "the block size of the device could not be found";
	if (ioctl(f->fd, BLKSSZGET, &logical) < 0)
		return -errno;
	facts->block_size = given ? given : (uint32_t)logical;
	*ret_why = "the block size is below that of the device";
	if (facts->block_size < (uint32_t)logical)
		return -EINVAL;
	if (ioctl(f->fd, BLKPBSZGET, &phys) == 0)
		facts->phys_block_size = phys;
	if (ioctl(f->fd, BLKIOOPT, &opt) == 0)
		facts->optimal_io = opt;
	if (ioctl(f->fd, BLKROGET, &ro) == 0)
		facts->read_only |= ro != 0;
	/* A discard alone promises nothing about what is read afterwards; a
	 * hole is made of write-zeroes that may deallocate. */
	facts->can_unmap = queue_attr(dev, "discard_max_bytes") > 0 &&
			   queue_attr(dev, "write_zeroes_max_bytes") > 0;
	facts->unmap_granularity = (uint32_t)MIN(
		queue_attr(dev, "discard_granularity"), (uint64_t)UINT32_MAX);
	facts->rotational = queue_attr(dev, "rotational") == 1;
	return 0;
}

static void probe_regular(struct file *f, const struct stat *st, uint32_t given,
			  struct file_facts *facts)
{
	uint32_t blk = st->st_blksize > (blksize_t)PHYS_BLOCK_MAX
			       ? PHYS_BLOCK_MAX
			       : (uint32_t)st->st_blksize;

	facts->block_size = given;
	facts->phys_block_size = blk;
	facts->unmap_granularity = blk;
	/* A hole behind the end changes nothing, but is refused by a file
	 * system that has no holes. */
	facts->can_unmap =
		!facts->read_only &&
		fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			  (off_t)round_up(facts->size, 1u << 20), 1 << 20) == 0;
}

/* Tuning that is not a power of 2, or too small to matter, is not told. */
static void tidy(struct file_facts *facts)
{
	uint32_t bs = facts->block_size, phys = facts->phys_block_size;

	if (phys < bs || phys > BDEV_BLOCK_MAX || (phys & (phys - 1)))
		facts->phys_block_size = bs;
	if (facts->optimal_io % bs)
		facts->optimal_io = 0;
	if (facts->unmap_granularity % bs)
		facts->unmap_granularity = 0;
}

static int open_fd(struct file *f, const char *path, bool read_only,
		   struct stat *ret_st, const char **ret_why)
{
	int flags = (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC;

	/* Looked at before it is opened: opening a FIFO would wait. */
	if (stat(path, ret_st) < 0)
		goto fail;
	*ret_why = "neither a regular file nor a block device";
	if (!S_ISREG(ret_st->st_mode) && !S_ISBLK(ret_st->st_mode))
		return -EINVAL;
	f->direct = true;
	f->fd = open(path, flags | O_DIRECT);
	if (f->fd < 0 && errno == EINVAL) {
		f->direct = false;
		f->fd = open(path, flags);
	}
	if (f->fd < 0 || fstat(f->fd, ret_st) < 0)
		goto fail;
	if (!S_ISREG(ret_st->st_mode) && !S_ISBLK(ret_st->st_mode))
		return -EINVAL;
	f->block_device = S_ISBLK(ret_st->st_mode);
	return 0;
fail:
	*ret_why = strerrordesc_np(errno);
	return -errno;
}

int file_open(struct file *f, const char *path, bool read_only,
	      uint32_t block_size, struct file_facts *ret, const char **ret_why)
{
	struct stat st;
	int r;

	memset(f, 0, sizeof(*f));
	memset(ret, 0, sizeof(*ret));
	f->fd = -1;
	f->path = strdup(path);
	*ret_why = "out of memory";
	if (!f->path)
		return -ENOMEM;
	r = open_fd(f, path, read_only, &st, ret_why);
	if (r)
		return r;
	ret->read_only = read_only;
	*ret_why = "its size could not be found";
	r = file_size(f, &ret->size);
	if (r)
		return r;
	if (f->block_device)
		r = probe_block_device(f, st.st_rdev, block_size, ret, ret_why);
	else
		probe_regular(f, &st, block_size, ret);
	if (r)
		return r;
	settle_alignment(f, ret);
	tidy(ret);
	*ret_why = "its size is not a multiple of the block size";
	return ret->size % ret->block_size ? -EINVAL : 0;
}

void file_close(struct file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	free(f->path);
	f->fd = -1;
	f->path = NULL;
}
