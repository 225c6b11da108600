/* SPDX-License-Identifier: BSD-3-Clause */
#include "reactor/bufpool.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "base/poison.h"
#include "reactor/reactor.h"

/* Address space per class that nobody will want: 1 TiB. */
#define CLASS_BYTES_MAX ((size_t)1 << 40)

/* Buffers of one size, next to each other. */
struct buf_class {
	uint8_t *mem;	/* mapped; a page costs memory once it was used */
	uint8_t **free; /* a stack: the last one given back is warm */
	size_t count, nfree;
	size_t size; /* of one buffer, bytes */
};

struct bufpool {
	struct reactor *reactor;
	struct buf_class small, large;
	struct list waiters; /* of struct buf_waiter, oldest first */
	struct list turn;    /* those of them whom this wake is to serve */
	struct deferred wake;
	const struct buf_waiter *serving; /* whose ready() runs; may be gone */
	bool served;			  /* buffers were had since it began */
	bool stuck;			  /* it found too few */
};

static size_t class_bytes(const struct buf_class *c)
{
	return c->count * c->size;
}

static void class_deinit(struct buf_class *c)
{
	ASSERT(c->nfree == c->count);
	for (size_t i = 0; i < c->count; i++) {
		if (poisoned(c->free[i]))
			unpoison(c->free[i], c->size);
	}
	if (c->mem)
		munmap(c->mem, class_bytes(c));
	free(c->free);
	*c = (struct buf_class){0};
}

static int class_init(struct buf_class *c, size_t count, size_t size)
{
	void *mem;

	*c = (struct buf_class){.size = size};
	if (count == 0)
		return 0;
	if (count > CLASS_BYTES_MAX / size)
		return -ENOMEM;
	c->free = calloc(count, sizeof(*c->free));
	if (!c->free)
		return -ENOMEM;
	/* Whole pages, so that every buffer begins on one. */
	mem = mmap(NULL, count * size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mem == MAP_FAILED) {
		free(c->free);
		c->free = NULL;
		return -ENOMEM;
	}
	c->mem = mem;
	c->count = count;
	c->nfree = count;
	for (size_t i = 0; i < count; i++)
		c->free[count - 1 - i] = c->mem + i * size;
	return 0;
}

static uint8_t *class_get(struct buf_class *c)
{
	uint8_t *buf;

	ASSERT(c->nfree > 0);
	buf = c->free[--c->nfree];
	unpoison(buf, c->size);
	return buf;
}

static void class_put(struct buf_class *c, uint8_t *buf)
{
	ASSERT(c->nfree < c->count);
	ASSERT((uintptr_t)(buf - c->mem) % c->size == 0);
	ASSERT(!poisoned(buf));
	poison(buf, c->size);
	c->free[c->nfree++] = buf;
}

static bool class_owns(const struct buf_class *c, const uint8_t *buf)
{
	return (uintptr_t)buf - (uintptr_t)c->mem < class_bytes(c);
}

static void wake(struct bufpool *pool)
{
	if (!list_empty(&pool->waiters) || !list_empty(&pool->turn))
		reactor_defer(pool->reactor, &pool->wake);
}

/*
 * Everybody in line gets a turn, oldest first, until one finds too few
 * buffers. He keeps his place: those behind him do not pass, or one who needs
 * many would never have his turn.
 */
static void wake_run(struct deferred *d)
{
	struct bufpool *pool = container_of(d, struct bufpool, wake);
	struct list *node;

	list_splice_back(&pool->turn, &pool->waiters);
	pool->stuck = false;
	while (!pool->stuck && (node = list_pop_front(&pool->turn))) {
		struct buf_waiter *w =
			list_entry(node, struct buf_waiter, link);

		pool->serving = w;
		pool->served = false;
		w->ready(w);
	}
	pool->serving = NULL;

	/* Who had no turn stays ahead of who began to wait meanwhile. */
	list_splice_back(&pool->turn, &pool->waiters);
	list_splice_back(&pool->waiters, &pool->turn);
}

int bufpool_create(struct reactor *r, size_t nsmall, size_t nlarge,
		   struct bufpool **ret_pool)
{
	struct bufpool *pool = calloc(1, sizeof(*pool));
	int rc;

	if (!pool)
		return -ENOMEM;
	pool->reactor = r;
	list_init(&pool->waiters);
	list_init(&pool->turn);
	list_init(&pool->wake.link);
	pool->wake.run = wake_run;

	rc = class_init(&pool->small, nsmall, BUF_SMALL);
	if (rc == 0)
		rc = class_init(&pool->large, nlarge, BUF_LARGE);
	if (rc < 0) {
		bufpool_destroy(pool);
		return rc;
	}
	*ret_pool = pool;
	return 0;
}

void bufpool_destroy(struct bufpool *pool)
{
	if (!pool)
		return;
	ASSERT(list_empty(&pool->waiters) && list_empty(&pool->turn));
	list_remove(&pool->wake.link);
	class_deinit(&pool->small);
	class_deinit(&pool->large);
	free(pool);
}

unsigned int bufpool_get(struct bufpool *pool, size_t len, struct iovec *iov,
			 unsigned int iov_max)
{
	struct buf_class *c = len <= BUF_SMALL ? &pool->small : &pool->large;
	size_t need;

	ASSERT(len > 0);
	/* Nobody jumps the line. */
	if (!pool->serving && !list_empty(&pool->waiters))
		return 0;
	/* Without small buffers at all, a large one serves as well. */
	if (c->count == 0)
		c = &pool->large;
	need = len / c->size + (len % c->size != 0);
	if (need > c->nfree || need > iov_max)
		return 0;

	for (size_t i = 0; i < need; i++) {
		iov[i].iov_base = class_get(c);
		iov[i].iov_len = MIN(len, c->size);
		len -= iov[i].iov_len;
	}
	ASSERT(len == 0);
	pool->served = true;
	return (unsigned int)need;
}

void bufpool_put(struct bufpool *pool, const struct iovec *iov,
		 unsigned int iovcnt)
{
	for (unsigned int i = 0; i < iovcnt; i++) {
		uint8_t *buf = iov[i].iov_base;

		if (class_owns(&pool->small, buf)) {
			class_put(&pool->small, buf);
		} else {
			ASSERT(class_owns(&pool->large, buf));
			class_put(&pool->large, buf);
		}
	}
	if (iovcnt > 0)
		wake(pool);
}

bool bufpool_fits(const struct bufpool *pool, size_t len)
{
	if (len <= BUF_SMALL && pool->small.count > 0)
		return true;
	return len <= class_bytes(&pool->large);
}

void bufpool_wait(struct bufpool *pool, struct buf_waiter *w)
{
	ASSERT(!list_linked(&w->link));
	if (pool->serving == w && !pool->served) {
		pool->stuck = true;
		list_push_front(&pool->turn, &w->link);
	} else {
		list_push_back(&pool->waiters, &w->link);
	}
	/* Nothing will come back that could wake him. */
	if (bufpool_in_use(pool) == 0)
		wake(pool);
}

void bufpool_unwait(struct bufpool *pool, struct buf_waiter *w)
{
	if (!list_linked(&w->link))
		return;
	list_remove(&w->link);
	/* Perhaps he held up those behind him. */
	wake(pool);
}

size_t bufpool_in_use(const struct bufpool *pool)
{
	return pool->small.count - pool->small.nfree + pool->large.count -
	       pool->large.nfree;
}
