/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/slab.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "base/poison.h"

#define SLAB_ALIGN 64

int slab_init(struct slab *slab, size_t size, uint32_t count)
{
	size_t step, bytes;

	*slab = (struct slab){0};
	if (size == 0 || size > SIZE_MAX - SLAB_ALIGN)
		return -ENOMEM;
	step = round_up(size, SLAB_ALIGN);
	if (__builtin_mul_overflow(step, (size_t)count, &bytes))
		return -ENOMEM;
	if (bytes == 0)
		return 0;

	/* Pages that are never used cost nothing: the kernel's zeroes. */
	slab->mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (slab->mem == MAP_FAILED) {
		*slab = (struct slab){0};
		return -ENOMEM;
	}
	slab->free = calloc(count, sizeof(*slab->free));
	if (!slab->free) {
		munmap(slab->mem, bytes);
		*slab = (struct slab){0};
		return -ENOMEM;
	}

	/* The lowest address on top, so that a light load stays compact. */
	for (uint32_t i = 0; i < count; i++)
		slab->free[count - 1 - i] = slab->mem + i * step;
	slab->size = step;
	slab->count = count;
	slab->nfree = count;
	poison(slab->mem, bytes);
	return 0;
}

void slab_deinit(struct slab *slab)
{
	ASSERT(slab->nfree == slab->count);
	if (slab->mem) {
		unpoison(slab->mem, slab->size * slab->count);
		munmap(slab->mem, slab->size * slab->count);
	}
	free(slab->free);
	*slab = (struct slab){0};
}

void *slab_get(struct slab *slab)
{
	void *obj;

	if (slab->nfree == 0)
		return NULL;
	obj = slab->free[--slab->nfree];
	unpoison(obj, slab->size);
	return obj;
}

/* Can @obj come back: is it one of ours, and out? */
static bool is_out(const struct slab *slab, const uint8_t *obj)
{
	if (slab->nfree >= slab->count || obj < slab->mem)
		return false;
	if ((size_t)(obj - slab->mem) >= slab->size * slab->count)
		return false;
	return !poisoned(obj);
}

void slab_put(struct slab *slab, void *obj)
{
	ASSERT(is_out(slab, obj));
	DEBUG_ASSERT((size_t)((uint8_t *)obj - slab->mem) % slab->size == 0);

	poison(obj, slab->size);
	slab->free[slab->nfree++] = obj;
}
