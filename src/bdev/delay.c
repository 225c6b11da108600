/* SPDX-License-Identifier: BSD-3-Clause */
/* The base, slower. */
#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "bdev/bdev_priv.h"
#include "bdev/drivers.h"
#include "bdev/vbdev_priv.h"

#define SLOW_EVERY 100 /* one in so many has the p99 latency */
#define US_MAX	   (3600ull * 1000 * 1000)

struct delay_bdev {
	struct vbdev v;
	uint64_t us[BDEV_LATENCY_COUNT]; /* read on all cores */
};

struct delay_channel {
	struct vbdev_channel vch;
	struct reactor *reactor;
	const struct delay_bdev *delay;
	struct timer timer;
	/* Those that wait equally long, so the first is due first. */
	struct list held[BDEV_LATENCY_COUNT];
	uint32_t count[2]; /* of READs, and of the others */
};

static struct vbdev_held *first(const struct list *l)
{
	return list_first(l, struct vbdev_held, link);
}

/* For the one that is due first. */
static void start_timer(struct delay_channel *dc)
{
	uint64_t now = reactor_now_ns(dc->reactor), due = UINT64_MAX;
	unsigned int i;

	for (i = 0; i < BDEV_LATENCY_COUNT; i++) {
		if (!list_empty(&dc->held[i]))
			due = MIN(due, first(&dc->held[i])->due_ns);
	}
	if (due == UINT64_MAX)
		return;
	due = due > now ? due - now : 0;
	timer_start(dc->reactor, &dc->timer, (due + 999999) / 1000000);
}

static void expired(struct timer *t)
{
	struct delay_channel *dc = container_of(t, struct delay_channel, timer);
	uint64_t now = reactor_now_ns(dc->reactor);
	struct list due = LIST_INIT(due);
	struct list *node;
	unsigned int i;

	for (i = 0; i < BDEV_LATENCY_COUNT; i++) {
		struct list *l = &dc->held[i];

		while (!list_empty(l) && first(l)->due_ns <= now)
			list_push_back(&due, list_pop_front(l));
	}
	start_timer(dc);
	/* The last may close the channel. */
	while ((node = list_pop_front(&due))) {
		struct bdev_io *io = vbdev_held_io(node);

		bdev_io_complete(io, vbdev_held(io)->result);
	}
}

static enum bdev_latency pick(struct delay_channel *dc, enum bdev_op op)
{
	bool read = op == BDEV_READ;
	bool slow = ++dc->count[read ? 0 : 1] % SLOW_EVERY == 0;

	if (read)
		return slow ? BDEV_P99_READ : BDEV_AVG_READ;
	return slow ? BDEV_P99_WRITE : BDEV_AVG_WRITE;
}

static void hold(struct vbdev_channel *vch, struct bdev_io *io, int result)
{
	struct delay_channel *dc = container_of(vch, struct delay_channel, vch);
	enum bdev_latency which = pick(dc, io->op);
	struct vbdev_held *h = vbdev_held(io);

	h->result = result;
	h->due_ns = reactor_now_ns(dc->reactor) +
		    shared_get(&dc->delay->us[which]) * 1000;
	list_init(&h->link);
	list_push_back(&dc->held[which], &h->link);
	start_timer(dc);
}

static enum bdev_status delay_submit(struct bdev_channel *ch,
				     struct bdev_io *io)
{
	struct delay_channel *dc = ch->driver_data;

	if (vbdev_forward(&dc->vch, io, 0) == BDEV_DONE)
		hold(&dc->vch, io, io->result);
	return BDEV_PENDING;
}

static int delay_channel_open(struct bdev_channel *ch)
{
	struct delay_channel *dc = calloc(1, sizeof(*dc));
	unsigned int i;
	int r;

	if (!dc)
		return -ENOMEM;
	dc->reactor = ch->reactor;
	dc->delay = ch->bdev->driver_data;
	timer_init(&dc->timer, expired);
	for (i = 0; i < BDEV_LATENCY_COUNT; i++)
		list_init(&dc->held[i]);
	r = vbdev_channel_init(&dc->vch, ch, hold);
	if (r) {
		free(dc);
		return r;
	}
	ch->driver_data = dc;
	return 0;
}

static void delay_channel_close(struct bdev_channel *ch)
{
	struct delay_channel *dc = ch->driver_data;

	timer_stop(dc->reactor, &dc->timer);
	vbdev_channel_deinit(&dc->vch);
	free(dc);
}

static void delay_destroy(struct bdev *b)
{
	vbdev_deinit(b->driver_data);
	free(b->driver_data);
}

const struct bdev_driver bdev_delay_driver = {
	.name = "delay",
	.destroy = delay_destroy,
	.submit = delay_submit,
	.channel_open = delay_channel_open,
	.channel_close = delay_channel_close,
};

int bdev_delay_update(struct bdev *b, enum bdev_latency which, uint64_t us)
{
	struct delay_bdev *d = b->driver_data;

	if (b->driver != &bdev_delay_driver || which >= BDEV_LATENCY_COUNT ||
	    us > US_MAX)
		return -EINVAL;
	shared_set(&d->us[which], us);
	return 0;
}

uint64_t bdev_delay_get(const struct bdev *b, enum bdev_latency which)
{
	const struct delay_bdev *d = b->driver_data;

	if (b->driver != &bdev_delay_driver || which >= BDEV_LATENCY_COUNT)
		return 0;
	return shared_get(&d->us[which]);
}

static int check_latencies(const uint64_t us[BDEV_LATENCY_COUNT],
			   const char **ret_why)
{
	unsigned int i;

	*ret_why = "a latency is at most an hour";
	for (i = 0; i < BDEV_LATENCY_COUNT; i++) {
		if (us[i] > US_MAX)
			return -EINVAL;
	}
	return 0;
}

int bdev_delay_create(struct bdev_registry *reg, const struct bdev_common *c,
		      const char *base, const uint64_t us[BDEV_LATENCY_COUNT],
		      struct bdev **ret, const char **ret_why)
{
	struct delay_bdev *d = NULL;
	const char *why;
	unsigned int i;
	int r;

	r = check_latencies(us, &why);
	if (r)
		goto fail;
	d = calloc(1, sizeof(*d));
	r = -ENOMEM;
	why = "out of memory";
	if (!d)
		goto fail;
	for (i = 0; i < BDEV_LATENCY_COUNT; i++)
		d->us[i] = us[i];
	r = vbdev_init(&d->v, reg, &bdev_delay_driver, c, base, d, &why);
	if (r)
		goto fail;
	d->v.bdev->product = "delay";
	/* A flush is late too. */
	d->v.bdev->caps |= BDEV_CAP_FLUSH;
	bdev_register(d->v.bdev);
	*ret = d->v.bdev;
	return 0;
fail:
	if (ret_why)
		*ret_why = why;
	free(d);
	return r;
}
