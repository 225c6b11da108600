/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A pool of equal objects, sized once. Giving and taking never allocates. The
 * object given last is given again first, while it is still in the cache.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct slab {
	uint8_t *mem; /* @count objects of @size bytes */
	void **free;  /* stack of the free ones */
	uint32_t count;
	uint32_t nfree;
	size_t size; /* bytes between two objects, a multiple of 64 */
};

/*
 * Makes room for @count objects of @size bytes, zeroed, each on a cache line
 * of its own. 0 or -ENOMEM.
 */
int slab_init(struct slab *slab, size_t size, uint32_t count);

/* All objects must have come back. Takes a zeroed slab too. */
void slab_deinit(struct slab *slab);

/* An object with whatever its last user left in it, or NULL if all are out. */
void *slab_get(struct slab *slab);

void slab_put(struct slab *slab, void *obj);

static inline uint32_t slab_in_use(const struct slab *slab)
{
	return slab->count - slab->nfree;
}
