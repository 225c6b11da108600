/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A RAM disk: anonymous memory, which the kernel gives when it is first
 * touched and takes back on unmap.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "bdev/drivers.h"

#define PAGE	  4096u
#define HUGE_PAGE (2u << 20)
/* Below this it is cheaper to write zeroes than to change page tables. */
#define DISCARD_MIN (64u << 10)
/* Above this it takes too long for an event loop. */
#define ZERO_HERE_MAX (16u << 20)

static uint8_t *memory(const struct bdev *b)
{
	return b->driver_data;
}

static void copy_out(const uint8_t *src, const struct iovec *iov,
		     unsigned int iovcnt)
{
	unsigned int i;

	for (i = 0; i < iovcnt; i++) {
		memcpy(iov[i].iov_base, src, iov[i].iov_len);
		src += iov[i].iov_len;
	}
}

static void copy_in(uint8_t *dst, const struct iovec *iov, unsigned int iovcnt)
{
	unsigned int i;

	for (i = 0; i < iovcnt; i++) {
		memcpy(dst, iov[i].iov_base, iov[i].iov_len);
		dst += iov[i].iov_len;
	}
}

/*
 * Whole pages go back to the kernel, which gives zeroed ones when they are
 * touched again; the edges are written. Another core that reads meanwhile gets
 * the old bytes or zeroes, as with any two commands at the same time.
 */
static void zero_range(uint8_t *p, uint64_t len)
{
	uint8_t *from = (uint8_t *)round_up((uintptr_t)p, PAGE);
	uint8_t *to =
		(uint8_t *)((uintptr_t)(p + len) & ~(uintptr_t)(PAGE - 1));

	if (len < DISCARD_MIN ||
	    madvise(from, (size_t)(to - from), MADV_DONTNEED) < 0) {
		memset(p, 0, len);
		return;
	}
	memset(p, 0, (size_t)(from - p));
	memset(to, 0, (size_t)(p + len - to));
}

static int zero_work(struct op *op)
{
	struct bdev_io *io = container_of(op, struct bdev_io, rop);

	zero_range(memory(io->ch->bdev) + io->offset, io->len);
	return 0;
}

static void zero_done(struct op *op)
{
	bdev_io_complete(container_of(op, struct bdev_io, rop), op->res);
}

static enum bdev_status malloc_submit(struct bdev_channel *ch,
				      struct bdev_io *io)
{
	uint8_t *p = memory(ch->bdev) + io->offset;

	io->result = 0;
	switch (io->op) {
	case BDEV_READ:
		copy_out(p, io->iov, io->iovcnt);
		break;
	case BDEV_WRITE:
		copy_in(p, io->iov, io->iovcnt);
		break;
	case BDEV_UNMAP:
	case BDEV_WRITE_ZEROES:
		if (io->len > ZERO_HERE_MAX) {
			io->rop.done = zero_done;
			reactor_offload(ch->reactor, &io->rop, zero_work);
			return BDEV_PENDING;
		}
		zero_range(p, io->len);
		break;
	case BDEV_FLUSH:
	case BDEV_EXTENT:
	case BDEV_OP_COUNT:
		ASSERT(!"no cap for it");
	}
	return BDEV_DONE;
}

static void *malloc_map(struct bdev_channel *ch, uint64_t offset, uint64_t len)
{
	return memory(ch->bdev) + offset;
}

static void malloc_destroy(struct bdev *b)
{
	munmap(b->driver_data, bdev_size(b));
}

/*
 * Address space for @size bytes, which costs nothing yet. Where the system lets
 * us it is backed by huge pages: random access to small ones misses the TLB
 * each time, which costs more than the copy. They begin at multiples of their
 * size, so a bit more is mapped and given back. NULL: no memory.
 */
static uint8_t *map_memory(uint64_t size)
{
	size_t whole = size + HUGE_PAGE;
	uint8_t *p, *from, *end;

	p = mmap(NULL, whole, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	from = (uint8_t *)round_up((uintptr_t)p, HUGE_PAGE);
	end = from + round_up(size, PAGE);
	if (from > p)
		munmap(p, (size_t)(from - p));
	munmap(end, (size_t)(p + whole - end));
	madvise(from, size, MADV_HUGEPAGE);
	return from;
}

const struct bdev_driver bdev_malloc_driver = {
	.name = "malloc",
	.destroy = malloc_destroy,
	.submit = malloc_submit,
	.map = malloc_map,
};

int bdev_malloc_create(struct bdev_registry *reg, const struct bdev_common *c,
		       uint64_t nblocks, uint32_t block_size, struct bdev **ret,
		       const char **ret_why)
{
	struct bdev *b;
	uint8_t *mem;
	int r;

	r = bdev_check_geometry(nblocks, block_size, c->phys_block_size,
				ret_why);
	if (r)
		return r;
	b = bdev_alloc(reg, &bdev_malloc_driver, c, "Malloc", &r, ret_why);
	if (!b)
		return r;
	b->nblocks = nblocks;
	b->block_size = block_size;
	mem = map_memory(bdev_size(b));
	if (!mem) {
		if (ret_why)
			*ret_why = "the system has not so much memory";
		bdev_free(b);
		return -ENOMEM;
	}
	b->driver_data = mem;
	b->product = "Malloc disk";
	b->caps = BDEV_CAP_UNMAP | BDEV_CAP_WRITE_ZEROES | BDEV_CAP_MAP;
	b->phys_block_size =
		c->phys_block_size ? c->phys_block_size : block_size;
	bdev_register(b);
	*ret = b;
	return 0;
}
