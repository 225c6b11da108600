/* SPDX-License-Identifier: BSD-3-Clause */
/* Logical units: their identity, their views, their end. Control reactor. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/str.h"
#include "scsi/home.h"
#include "scsi/lock.h"
#include "scsi/lun.h"
#include "scsi/ua.h"
#include "scsi/wipe.h"

/* ---- Identity. */

static void pad(char *dst, size_t size, const char *text)
{
	size_t len = strnlen(text, size);

	memset(dst, ' ', size);
	for (size_t i = 0; i < len; i++) /* SPC-4, 4.4.1: graphic ASCII */
		dst[i] = text[i] >= 0x20 && text[i] <= 0x7e ? text[i] : '?';
}

static void set_identity(struct lun *lun, const struct lun_options *opt)
{
	const uint8_t *uuid = lun->bdev->uuid;
	uint64_t naa = opt->naa;

	pad(lun->vendor, sizeof(lun->vendor),
	    opt->vendor != NULL ? opt->vendor : "ISCSITGT");
	pad(lun->product, sizeof(lun->product),
	    opt->product != NULL ? opt->product : lun->bdev->product);
	pad(lun->revision, sizeof(lun->revision),
	    opt->revision != NULL ? opt->revision : "0001");
	if (opt->serial != NULL) {
		(void)str_copy(lun->serial, sizeof(lun->serial), opt->serial);
	} else {
		for (int i = 0; i < 16; i++)
			(void)snprintf(lun->serial + 2 * i, 3, "%02x", uuid[i]);
	}
	/* SPC-4, 7.8.6.6.4: NAA 3h, locally assigned: 60 bits that both halves
	 * of the UUID have a part in. */
	if (naa == 0)
		naa = ((load_be64(uuid) ^
			load_be64(uuid + 8) * 0x9e3779b97f4a7c15u) &
		       0x0fffffffffffffffu) |
		      0x3000000000000000u;
	store_be64(lun->naa, naa);
	lun->removable = opt->removable;
	lun->long_cdbs = opt->long_cdbs;
	lun->read_only = opt->read_only || lun->bdev->read_only;
}

/* ---- Views. */

/* The largest transfer that this core's buffers can ever hold, with one to
 * spare (walk.c), in blocks. */
static uint32_t max_blocks(struct reactor *r, uint32_t block_size)
{
	uint32_t bytes = SCSI_TRANSFER_MAX;

	while (bytes > block_size &&
	       !bufpool_fits(reactor_bufpool(r),
			     round_up(bytes, BUF_LARGE) + BUF_LARGE))
		bytes /= 2;
	return bytes / block_size;
}

static void view_init(struct lun_view *view, struct lun *lun,
		      struct scsi_core *core)
{
	const struct bdev *bdev = lun->bdev;

	view->core = core;
	view->lun = lun;
	view->nblocks = bdev->nblocks;
	view->block_size = bdev->block_size;
	view->block_shift = (uint8_t)__builtin_ctz(bdev->block_size);
	view->map = (bdev->caps & BDEV_CAP_MAP) != 0;
	view->volatile_cache = bdev->write_cache;
	view->max_blocks = max_blocks(core->reactor, bdev->block_size);
	view->state = lun->state;
	list_init(&view->loss.link);
	wipe_init_view(view);
	list_init(&view->tasks);
	list_init(&view->locks);
	list_init(&view->paths);
}

int lun_view_open(struct lun_view *view)
{
	if (view->ch == NULL)
		view->ch =
			bdev_channel_get(view->lun->bdev, view->core->reactor);
	return view->ch != NULL ? 0 : -ENOMEM;
}

/* ---- The end of a logical unit. */

static void close_core(struct sweep_core *c)
{
	struct lun *lun = c->sweep->ctx;
	struct lun_view *view = &lun->views[c->index];

	ASSERT(list_empty(&view->tasks));
	ASSERT(list_empty(&view->paths));
	if (view->ch != NULL)
		bdev_channel_put(take(&view->ch));
	sweep_core_done(c);
}

static void lun_free(struct lun *lun)
{
	sweep_deinit(&lun->mark_sweep);
	sweep_deinit(&lun->resize_sweep);
	sweep_deinit(&lun->close_sweep);
	sweep_deinit(&lun->state_sweep);
	locks_deinit(lun);
	free(lun->pr);
	free(lun->views);
	free(lun);
}

static void close_done(struct sweep *s)
{
	struct lun *lun = s->ctx;

	list_remove(&lun->link);
	bdev_close(&lun->desc);
	lun_free(lun);
}

void lun_try_close(struct lun *lun)
{
	if (!list_empty(&lun->slots) || !list_empty(&lun->locks_held) ||
	    lun->wipe != NULL || sweep_active(&lun->mark_sweep) ||
	    sweep_active(&lun->resize_sweep) || sweep_active(&lun->close_sweep))
		return;
	sweep_start(&lun->close_sweep);
}

void lun_put_slot(struct lun *lun, struct lun_slot *slot)
{
	list_remove(&slot->lun_link);
	lun_try_close(lun);
}

/* ---- Events of the bdev. */

static void mark_core(struct sweep_core *c)
{
	struct lun *lun = c->sweep->ctx;

	lun->views[c->index].removed = true;
	sweep_core_done(c);
}

static void resize_core(struct sweep_core *c)
{
	struct lun *lun = c->sweep->ctx;
	struct lun_view *view = &lun->views[c->index];

	view->nblocks = lun->new_nblocks;
	ua_set_view(view, UA_CAPACITY_CHANGED, NULL); /* SBC-3, 4.10 */
	sweep_core_done(c);
}

static void mark_done(struct sweep *s)
{
	lun_try_close(s->ctx);
}

static void start_resize(struct lun *lun)
{
	if (sweep_active(&lun->resize_sweep)) {
		lun->resize_again = true;
		return;
	}
	lun->resize_again = false;
	lun->new_nblocks = lun->bdev->nblocks;
	sweep_start(&lun->resize_sweep);
}

static void resize_done(struct sweep *s)
{
	struct lun *lun = s->ctx;

	if (lun->resize_again)
		start_resize(lun);
	else
		lun_try_close(lun);
}

static void start_remove(struct lun *lun)
{
	struct lun_slot *slot;

	if (lun->removing)
		return;
	lun->removing = true;
	sweep_start(&lun->mark_sweep);
	list_for_each(slot, &lun->slots, lun_link) {
		slot_remove(slot);
	}
}

static void on_event(struct bdev_desc *desc, enum bdev_event event)
{
	struct lun *lun = container_of(desc, struct lun, desc);

	if (sweep_active(&lun->close_sweep))
		return; /* it lets go of the bdev as it is */
	switch (event) {
	case BDEV_EVENT_REMOVE:
		start_remove(lun);
		break;
	case BDEV_EVENT_RESIZE:
		start_resize(lun);
		break;
	}
}

/* ---- Creation. */

static int init_sweeps(struct lun *lun, struct reactors *set)
{
	int error = sweep_init(&lun->mark_sweep, set);

	if (error == 0)
		error = sweep_init(&lun->resize_sweep, set);
	if (error == 0)
		error = sweep_init(&lun->close_sweep, set);
	if (error == 0)
		error = home_init(lun, set);
	lun->mark_sweep.each = mark_core;
	lun->mark_sweep.done = mark_done;
	lun->mark_sweep.ctx = lun;
	lun->resize_sweep.each = resize_core;
	lun->resize_sweep.done = resize_done;
	lun->resize_sweep.ctx = lun;
	lun->close_sweep.each = close_core;
	lun->close_sweep.done = close_done;
	lun->close_sweep.ctx = lun;
	return error;
}

int lun_create(struct scsi_server *s, const char *bdev_name,
	       const struct lun_options *opt, struct lun **ret)
{
	static const struct lun_options defaults = {0};
	struct lun *lun = calloc(1, sizeof(*lun));
	int error;

	if (lun == NULL)
		return -ENOMEM;
	lun->server = s;
	list_init(&lun->link);
	list_init(&lun->slots);
	lun->views = calloc(s->ncores, sizeof(*lun->views));
	error = init_sweeps(lun, s->set);
	if (lun->views == NULL)
		error = -ENOMEM;
	if (error == 0)
		error = locks_init(lun, s->set);
	if (error == 0)
		error = bdev_open(s->bdevs, bdev_name, &lun->desc, on_event);
	if (error < 0) {
		lun_free(lun);
		return error;
	}
	lun->bdev = lun->desc.bdev;
	default_state(lun, &lun->state);
	set_identity(lun, opt != NULL ? opt : &defaults);
	for (uint32_t i = 0; i < s->ncores; i++)
		view_init(&lun->views[i], lun, &s->cores[i]);
	list_push_back(&s->luns, &lun->link);
	*ret = lun;
	return 0;
}

struct lun *lun_find(struct scsi_server *s, const char *bdev_name)
{
	struct lun *lun;

	list_for_each(lun, &s->luns, link) {
		if (!lun->removing && !sweep_active(&lun->close_sweep) &&
		    strcmp(lun->bdev->name, bdev_name) == 0)
			return lun;
	}
	return NULL;
}
