/* SPDX-License-Identifier: BSD-3-Clause */
#include "bdev/bdev.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/str.h"
#include "bdev/bdev_priv.h"
#include "bdev/driver.h"

#define DRIVERS_MAX 32 /* rows of drivers.c */

struct bdev_registry {
	struct reactors *set;
	struct list bdevs;		   /* by age */
	struct list removing;		   /* their names are free again */
	uint32_t next_number[DRIVERS_MAX]; /* Malloc<n>, per driver */
	uint64_t node;			   /* hash of who has these disks */
};

int bdev_registry_create(struct reactors *set, struct bdev_registry **ret)
{
	struct bdev_registry *reg = calloc(1, sizeof(*reg));

	if (!reg)
		return -ENOMEM;
	reg->set = set;
	list_init(&reg->bdevs);
	list_init(&reg->removing);
	*ret = reg;
	return 0;
}

void bdev_registry_destroy(struct bdev_registry *reg)
{
	ASSERT(list_empty(&reg->bdevs));
	ASSERT(list_empty(&reg->removing));
	free(reg);
}

struct reactors *bdev_registry_reactors(const struct bdev_registry *reg)
{
	return reg->set;
}

static struct bdev *find_in(struct list *l, const char *name)
{
	struct bdev *b;

	list_for_each(b, l, link) {
		if (strcmp(b->name, name) == 0)
			return b;
	}
	return NULL;
}

struct bdev *bdev_find(struct bdev_registry *reg, const char *name)
{
	return find_in(&reg->bdevs, name);
}

struct bdev *bdev_first(struct bdev_registry *reg)
{
	if (list_empty(&reg->bdevs))
		return NULL;
	return list_first(&reg->bdevs, struct bdev, link);
}

struct bdev *bdev_next(struct bdev *bdev)
{
	if (bdev->removing || bdev->link.next == &bdev->registry->bdevs)
		return NULL;
	return list_entry(bdev->link.next, struct bdev, link);
}

/* ---- Making one. */

/* FNV-1a, 64 bits, from @seed; then the bits are mixed, for its last bytes
 * alone hardly reach the middle of it. */
static uint64_t hash_name(const char *name, uint64_t seed)
{
	uint64_t h = seed;

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 0x100000001b3u;
	h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdu;
	h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53u;
	return h ^ (h >> 33);
}

void bdev_registry_set_node(struct bdev_registry *reg, const char *node)
{
	reg->node = hash_name(node, 0xcbf29ce484222325u);
}

/*
 * A UUID of version 8 (RFC 9562, 5.8) out of the name and the registry's node:
 * two hashes, one from FNV's own start, one from another. The same name is the
 * same disk to an initiator after a restart, and another disk elsewhere.
 */
static void uuid_from_name(uint64_t node, const char *name, uint8_t uuid[16])
{
	uint64_t h1 = hash_name(name, 0xcbf29ce484222325u ^ node);
	uint64_t h2 = hash_name(name, 0x9e3779b97f4a7c15u ^ node);
	unsigned int i;

	for (i = 0; i < 8; i++) {
		uuid[i] = (uint8_t)(h1 >> (56 - 8 * i));
		uuid[8 + i] = (uint8_t)(h2 >> (56 - 8 * i));
	}
	uuid[6] = (uuid[6] & 0x0f) | 0x80;
	uuid[8] = (uuid[8] & 0x3f) | 0x80;
}

static unsigned int driver_index(const struct bdev_driver *d)
{
	unsigned int i;

	for (i = 0; bdev_drivers[i]; i++) {
		if (bdev_drivers[i] == d)
			break;
	}
	ASSERT(bdev_drivers[i]); /* each driver has its row */
	ASSERT(i < DRIVERS_MAX);
	return i;
}

/* "Malloc0", then "Malloc1": a number is not used twice, so that a new disk is
 * not taken for a deleted one. */
static void number_name(struct bdev_registry *reg, const struct bdev_driver *d,
			const char *prefix, char name[BDEV_NAME_MAX + 1])
{
	uint32_t *next = &reg->next_number[driver_index(d)];

	do
		snprintf(name, BDEV_NAME_MAX + 1, "%s%u", prefix, (*next)++);
	while (bdev_find(reg, name));
}

static int check_name(struct bdev_registry *reg, const char *name,
		      const char **ret_why)
{
	const char *p;

	*ret_why = "a bdev name has 1 to 63 bytes";
	if (!name || !name[0] || strlen(name) > BDEV_NAME_MAX)
		return -EINVAL;
	*ret_why = "a bdev name has no control characters";
	for (p = name; *p; p++) {
		if ((uint8_t)*p < 0x20 || *p == 0x7f)
			return -EINVAL;
	}
	*ret_why = "a bdev of that name exists";
	if (bdev_find(reg, name))
		return -EEXIST;
	return 0;
}

static bool block_size_ok(uint32_t bytes)
{
	return bytes >= BDEV_BLOCK_MIN && bytes <= BDEV_BLOCK_MAX &&
	       (bytes & (bytes - 1)) == 0;
}

int bdev_check_geometry(uint64_t nblocks, uint32_t block_size,
			uint32_t phys_block_size, const char **ret_why)
{
	const char *why = NULL;

	if (!block_size_ok(block_size))
		why = "the block size is a power of 2 from 512 to 65536";
	else if (phys_block_size && (!block_size_ok(phys_block_size) ||
				     phys_block_size < block_size))
		why = "the physical block size is a power of 2, at most 65536 "
		      "and not below the block size";
	else if (nblocks == 0)
		why = "the device would have no blocks";
	else if (nblocks > (uint64_t)INT64_MAX / block_size)
		why = "the device would be too large";
	if (!why)
		return 0;
	if (ret_why)
		*ret_why = why;
	return -EINVAL;
}

static void tell_news(struct deferred *d);

struct bdev *bdev_alloc(struct bdev_registry *reg, const struct bdev_driver *d,
			const struct bdev_common *c, const char *prefix,
			int *ret_error, const char **ret_why)
{
	char numbered[BDEV_NAME_MAX + 1];
	const char *name = c->name, *why;
	struct bdev *b;

	if (!name && prefix) {
		number_name(reg, d, prefix, numbered);
		name = numbered;
	}
	*ret_error = check_name(reg, name, &why);
	if (*ret_error)
		goto fail;
	*ret_error = -ENOMEM;
	why = "out of memory";
	b = calloc(1, sizeof(*b));
	if (!b)
		goto fail;
	b->channels = calloc(reactors_count(reg->set), sizeof(*b->channels));
	b->stats_base = calloc(1, sizeof(*b->stats_base));
	if (!b->channels || !b->stats_base) {
		bdev_free(b);
		goto fail;
	}
	b->driver = d;
	b->registry = reg;
	b->read_only = c->read_only;
	b->max_io = UINT32_MAX & ~(uint32_t)(BDEV_BLOCK_MAX - 1);
	str_copy(b->name, sizeof(b->name), name);
	if (c->uuid)
		memcpy(b->uuid, c->uuid, sizeof(b->uuid));
	else
		uuid_from_name(reg->node, name, b->uuid);
	list_init(&b->link);
	list_init(&b->descs);
	list_init(&b->news.link);
	b->news.run = tell_news;
	return b;
fail:
	if (ret_why)
		*ret_why = why;
	return NULL;
}

void bdev_register(struct bdev *b)
{
	ASSERT(block_size_ok(b->block_size));
	ASSERT(b->phys_block_size >= b->block_size);
	ASSERT(b->nblocks > 0);
	ASSERT(b->max_io > 0 && b->max_io % b->block_size == 0);
	ASSERT(b->product);
	list_push_back(&b->registry->bdevs, &b->link);
	log_debug(LOG_BDEV, "bdev %s: %s, %llu blocks of %u bytes", b->name,
		  b->product, (unsigned long long)b->nblocks, b->block_size);
}

void bdev_free(struct bdev *b)
{
	free(b->channels);
	free(b->stats_base);
	free(b);
}

/* ---- Its users. */

static int open_common(struct bdev_registry *reg, const char *name,
		       struct bdev **ret)
{
	*ret = bdev_find(reg, name);
	if (*ret)
		return 0;
	return find_in(&reg->removing, name) ? -EBUSY : -ENODEV;
}

static void join(struct bdev *b, struct bdev_desc *desc,
		 void (*event)(struct bdev_desc *, enum bdev_event))
{
	desc->bdev = b;
	desc->event = event;
	list_push_back(&b->descs, &desc->link);
}

int bdev_open(struct bdev_registry *reg, const char *name,
	      struct bdev_desc *desc,
	      void (*event)(struct bdev_desc *, enum bdev_event))
{
	struct bdev *b;
	int r = open_common(reg, name, &b);

	if (r)
		return r;
	if (b->claim)
		return -EBUSY;
	join(b, desc, event);
	return 0;
}

int bdev_open_claimed(struct bdev_registry *reg, const char *name,
		      const void *owner, struct bdev_desc *desc,
		      void (*event)(struct bdev_desc *, enum bdev_event))
{
	struct bdev *b;
	int r = open_common(reg, name, &b);

	ASSERT(owner);
	if (r)
		return r;
	if (b->claim != owner && !list_empty(&b->descs))
		return -EBUSY;
	b->claim = owner;
	join(b, desc, event);
	return 0;
}

void bdev_close(struct bdev_desc *desc)
{
	struct bdev *b = desc->bdev;

	ASSERT(list_linked(&desc->link));
	list_remove(&desc->link);
	desc->bdev = NULL;
	if (!list_empty(&b->descs))
		return;
	b->claim = NULL;
	if (b->removing)
		reactor_defer(reactors_main(b->registry->set), &b->news);
}

void bdev_hold(struct bdev *b)
{
	b->holds++;
}

void bdev_unhold(struct bdev *b)
{
	ASSERT(b->holds > 0);
	if (--b->holds == 0 && b->removing)
		reactor_defer(reactors_main(b->registry->set), &b->news);
}

bool bdev_in_use(const struct bdev *b)
{
	return !list_empty(&b->descs);
}

static void post_news(struct bdev *b, enum bdev_event event)
{
	b->pending_events |= 1u << event;
	reactor_defer(reactors_main(b->registry->set), &b->news);
}

int bdev_remove(struct bdev *b, struct bdev_removal *rm)
{
	if (b->removing)
		return -EBUSY;
	b->removing = true;
	b->removal = rm;
	list_remove(&b->link);
	list_push_back(&b->registry->removing, &b->link);
	if (b->driver->removing)
		b->driver->removing(b);
	post_news(b, BDEV_EVENT_REMOVE);
	return 0;
}

static void destroy(struct bdev *b)
{
	uint32_t i, n = reactors_count(b->registry->set);
	struct bdev_removal *rm = b->removal;

	ASSERT(list_empty(&b->descs));
	ASSERT(b->holds == 0);
	list_remove(&b->link);
	for (i = 0; i < n; i++) {
		if (!b->channels[i])
			continue;
		ASSERT(b->channels[i]->refs == 0);
		free(take(&b->channels[i]));
	}
	log_debug(LOG_BDEV, "bdev %s: gone", b->name);
	b->driver->destroy(b);
	bdev_free(b);
	if (rm && rm->done)
		rm->done(rm);
}

/* A callee may close its own desc and others. */
static void tell(struct bdev *b, enum bdev_event event)
{
	struct list todo = LIST_INIT(todo);
	struct bdev_desc *desc;
	struct list *node;

	list_splice_back(&todo, &b->descs);
	while ((node = list_pop_front(&todo))) {
		list_push_back(&b->descs, node);
		desc = list_entry(node, struct bdev_desc, link);
		if (desc->event)
			desc->event(desc, event);
	}
}

static void tell_news(struct deferred *d)
{
	struct bdev *b = container_of(d, struct bdev, news);
	uint32_t events = b->pending_events;

	b->pending_events = 0;
	if (events & 1u << BDEV_EVENT_RESIZE)
		tell(b, BDEV_EVENT_RESIZE);
	if (events & 1u << BDEV_EVENT_REMOVE)
		tell(b, BDEV_EVENT_REMOVE);
	/* Closing or removing it meanwhile has queued this function anew; then
	 * that run destroys it. */
	if (b->removing && list_empty(&b->descs) && b->holds == 0 &&
	    !list_linked(&d->link))
		destroy(b);
}

/* ---- Its size. */

void bdev_set_nblocks(struct bdev *b, uint64_t nblocks)
{
	ASSERT(nblocks > 0);
	if (nblocks == b->nblocks)
		return;
	shared_set(&b->nblocks, nblocks);
	post_news(b, BDEV_EVENT_RESIZE);
}

int bdev_resize(struct bdev *b, uint64_t nblocks)
{
	int r;

	if (!b->driver->resize)
		return -ENOTSUP;
	r = bdev_check_geometry(nblocks, b->block_size, 0, NULL);
	if (r)
		return r;
	if (nblocks < b->nblocks && bdev_in_use(b))
		return -EBUSY;
	r = b->driver->resize(b, nblocks);
	if (r)
		return r;
	bdev_set_nblocks(b, nblocks);
	return 0;
}

int bdev_rescan(struct bdev *b)
{
	uint64_t nblocks = 0;
	int r;

	if (!b->driver->rescan)
		return -ENOTSUP;
	r = b->driver->rescan(b, &nblocks);
	if (r)
		return r;
	bdev_set_nblocks(b, nblocks);
	return 0;
}
