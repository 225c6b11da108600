/* SPDX-License-Identifier: BSD-3-Clause */
/* Devices and which LUN is what in them. Control reactor. */
#include "scsi/device.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "scsi/home.h"
#include "scsi/alua.h"
#include "scsi/lun.h"
#include "scsi/reserve.h"
#include "scsi/ua.h"

/* ---- The server. */

int scsi_server_create(struct reactors *set, struct bdev_registry *bdevs,
		       struct scsi_server **ret)
{
	struct scsi_server *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return -ENOMEM;
	s->set = set;
	s->bdevs = bdevs;
	s->ncores = reactors_count(set);
	list_init(&s->devices);
	list_init(&s->luns);
	s->cores = calloc(s->ncores, sizeof(*s->cores));
	if (s->cores == NULL) {
		free(s);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < s->ncores; i++)
		core_init(&s->cores[i], s, i);
	*ret = s;
	return 0;
}

void scsi_server_destroy(struct scsi_server *s)
{
	if (s == NULL)
		return;
	ASSERT(list_empty(&s->devices));
	ASSERT(list_empty(&s->luns));
	free(s->cores);
	free(s);
}

/* ---- Changes of a device's ports. */

static void ports_core(struct sweep_core *c)
{
	struct scsi_device *d = c->sweep->ctx;
	struct device_view *dv = &d->views[c->index];

	memcpy(dv->ports, d->new_ports, sizeof(dv->ports));
	memcpy(dv->access, d->new_access, sizeof(dv->access));
	memcpy(dv->cause, d->new_cause, sizeof(dv->cause));
	dv->nports = d->new_nports;
	if (d->new_access_changed)
		alua_refresh(dv, d->new_asker);
	sweep_core_done(c);
}

void device_start_ports(struct scsi_device *d)
{
	if (sweep_active(&d->ports_sweep)) {
		d->ports_again = true;
		return;
	}
	d->ports_again = false;
	memcpy(d->new_ports, d->ports, sizeof(d->new_ports));
	memcpy(d->new_access, d->access, sizeof(d->new_access));
	memcpy(d->new_cause, d->cause, sizeof(d->new_cause));
	d->new_nports = d->nports;
	d->new_access_changed = d->access_changed;
	d->new_asker = d->access_asker;
	d->access_changed = false;
	d->access_asker = NULL;
	sweep_start(&d->ports_sweep);
}

static void finish_change(struct scsi_change *change, int result)
{
	if (change == NULL)
		return;
	change->result = result;
	if (change->done != NULL)
		change->done(change);
}

static void free_device(struct scsi_device *d)
{
	struct scsi_change *change = d->destroying;

	list_remove(&d->link);
	sweep_deinit(&d->ports_sweep);
	free(d->views);
	free(d);
	finish_change(change, 0);
}

/* Does it wait for its end, and is that now? */
static void try_free(struct scsi_device *d)
{
	if (d->closing && d->nslots == 0 && !sweep_active(&d->ports_sweep))
		free_device(d);
}

static void ports_done(struct sweep *s)
{
	struct scsi_device *d = s->ctx;

	if (d->ports_again) {
		device_start_ports(d);
		return;
	}
	alua_told(d);
	try_free(d);
}

int scsi_device_add_port(struct scsi_device *d, uint16_t tpgt)
{
	for (uint32_t i = 0; i < d->nports; i++) {
		if (d->ports[i] == tpgt)
			return 0;
	}
	if (d->nports == DEVICE_PORTS_MAX)
		return -ENOSPC;
	d->access[d->nports] = SCSI_ACCESS_OPTIMIZED;
	d->cause[d->nports] = 0;
	d->ports[d->nports++] = tpgt;
	device_start_ports(d);
	return 0;
}

void scsi_device_remove_port(struct scsi_device *d, uint16_t tpgt)
{
	for (uint32_t i = 0; i < d->nports; i++) {
		if (d->ports[i] != tpgt)
			continue;
		d->nports--;
		memmove(&d->ports[i], &d->ports[i + 1],
			(d->nports - i) * sizeof(d->ports[0]));
		memmove(&d->access[i], &d->access[i + 1], d->nports - i);
		memmove(&d->cause[i], &d->cause[i + 1], d->nports - i);
		device_start_ports(d);
		return;
	}
}

/* ---- Devices. */

static uint32_t free_device_id(const struct scsi_server *s)
{
	struct scsi_device *d;
	uint32_t id = 0;

	/* The list is in order of ids. */
	list_for_each(d, &s->devices, link) {
		if (d->id != id)
			break;
		id++;
	}
	return id;
}

static void link_device(struct scsi_server *s, struct scsi_device *d)
{
	struct scsi_device *after;

	list_for_each(after, &s->devices, link) {
		if (after->id > d->id)
			break;
	}
	list_push_back(&after->link, &d->link);
}

int scsi_device_create(struct scsi_server *s, const char *name,
		       struct scsi_device **ret)
{
	struct scsi_device *d = calloc(1, sizeof(*d));

	if (d == NULL)
		return -ENOMEM;
	d->views = calloc(s->ncores, sizeof(*d->views));
	if (d->views == NULL || sweep_init(&d->ports_sweep, s->set) < 0) {
		free(d->views);
		free(d);
		return -ENOMEM;
	}
	d->server = s;
	d->name = name;
	d->id = free_device_id(s);
	d->ports_sweep.each = ports_core;
	d->ports_sweep.done = ports_done;
	d->ports_sweep.ctx = d;
	list_init(&d->access_waiters);
	for (uint32_t i = 0; i < s->ncores; i++) {
		d->views[i].core = &s->cores[i];
		d->views[i].device = d;
		list_init(&d->views[i].nexuses);
	}
	link_device(s, d);
	*ret = d;
	return 0;
}

void scsi_device_destroy(struct scsi_device *d, struct scsi_change *change)
{
	ASSERT(!d->closing);
	d->closing = true;
	d->destroying = change;
	for (uint32_t id = 0; id < SCSI_LUNS_MAX; id++) {
		if (d->slots[id] != NULL)
			slot_remove(d->slots[id]);
	}
	device_start_ports(d); /* its end, if nothing else, frees the device */
}

const char *scsi_device_name(const struct scsi_device *d)
{
	return d->name;
}

uint32_t scsi_device_id(const struct scsi_device *d)
{
	return d->id;
}

struct scsi_device *scsi_device_first(struct scsi_server *s)
{
	return list_empty(&s->devices)
		       ? NULL
		       : list_first(&s->devices, struct scsi_device, link);
}

struct scsi_device *scsi_device_next(struct scsi_device *d)
{
	if (d->link.next == &d->server->devices)
		return NULL;
	return list_entry(d->link.next, struct scsi_device, link);
}

/* ---- A LUN leaves. */

static bool of_device(const struct scsi_task *t, const void *ctx)
{
	return t->nexus->dv == ctx;
}

/* Does this core still use the path: tasks, or a function on its way? */
static bool path_busy(struct sweep_core *c)
{
	struct lun_slot *slot = c->sweep->ctx;
	struct lun_path *path = &slot->paths[c->index];
	struct scsi_tmf *tmf;

	list_for_each(tmf, &path->view->core->tmfs, link) {
		if (tmf->view == path->view && tmf->nexus->dv == path->dv)
			return true;
	}
	if (path->view->loss.busy)
		return true;
	return task_any_matching(path->view, of_device, path->dv);
}

/* SAM-5, 6.3.4: what the nexus held of the unit ends. */
static void lose(struct lun_view *view, struct scsi_nexus *n, uint32_t lun_id)
{
	bool holds = view->state.reserved == n->id;

	if (holds || n->prevents[lun_id])
		home_lose(view, holds ? n->id : 0, n->prevents[lun_id]);
	n->prevents[lun_id] = false;
}

static void remove_core(struct sweep_core *c)
{
	struct lun_slot *slot = c->sweep->ctx;
	struct lun_path *path = &slot->paths[c->index];
	struct scsi_nexus *n;

	if (path->dv->luns[path->lun_id] != NULL) {
		ASSERT(path->dv->luns[path->lun_id] == path->view);
		path->dv->luns[path->lun_id] = NULL;
		ua_set_device(path->dv, UA_LUNS_CHANGED, NULL);
		list_for_each(n, &path->dv->nexuses, link) {
			n->ua[path->lun_id] = 0;
			n->pr[path->lun_id] = 0;
			lose(path->view, n, path->lun_id);
		}
	}
	list_remove(&path->link);
	task_abort_matching(path->view, of_device, path->dv, true);
	core_drain(path->dv->core, c, path_busy);
}

static void remove_done(struct sweep *s)
{
	struct lun_slot *slot = s->ctx;
	struct scsi_device *d = slot->device;
	struct scsi_change *change = slot->change;
	struct scsi_change *second = slot->remove_change;
	int error = slot->error;

	d->slots[slot->lun_id] = NULL;
	d->nslots--;
	lun_put_slot(slot->lun, slot);
	sweep_deinit(&slot->sweep);
	free(slot->paths);
	free(slot);
	finish_change(change, error);
	finish_change(second, 0);
	try_free(d);
}

static void start_remove(struct lun_slot *slot)
{
	slot->state = SLOT_REMOVING;
	slot->sweep.each = remove_core;
	slot->sweep.done = remove_done;
	sweep_start(&slot->sweep);
}

void slot_remove(struct lun_slot *slot)
{
	if (slot->state == SLOT_ADDING)
		slot->remove_wanted = true;
	else if (slot->state == SLOT_LIVE)
		start_remove(slot);
}

int scsi_device_remove_lun(struct scsi_device *d, uint32_t lun_id,
			   struct scsi_change *change)
{
	struct lun_slot *slot =
		lun_id < SCSI_LUNS_MAX ? d->slots[lun_id] : NULL;

	if (slot == NULL)
		return -ENOENT;
	if (slot->remove_change != NULL)
		return -EBUSY;
	slot->remove_change = change;
	slot_remove(slot);
	return 0;
}

/* ---- A LUN comes. */

static void add_core(struct sweep_core *c)
{
	struct lun_slot *slot = c->sweep->ctx;
	struct lun_path *path = &slot->paths[c->index];

	c->error = lun_view_open(path->view);
	if (c->error == 0) {
		path->dv->luns[path->lun_id] = path->view;
		list_push_back(&path->view->paths, &path->link);
		reserve_refresh(path->view);
		ua_set_device(path->dv, UA_LUNS_CHANGED, NULL);
	}
	sweep_core_done(c);
}

static void add_done(struct sweep *s)
{
	struct lun_slot *slot = s->ctx;

	for (uint32_t i = 0; i < s->n; i++) {
		if (s->cores[i].error < 0)
			slot->error = s->cores[i].error;
	}
	if (slot->error < 0) {
		start_remove(slot); /* reports the error at its end */
		return;
	}
	slot->state = SLOT_LIVE;
	if (slot->remove_wanted)
		start_remove(slot);
	else
		finish_change(take(&slot->change), 0);
}

static struct lun_slot *slot_create(struct scsi_device *d, uint32_t lun_id)
{
	uint32_t ncores = d->server->ncores;
	struct lun_slot *slot = calloc(1, sizeof(*slot));

	if (slot == NULL)
		return NULL;
	slot->paths = calloc(ncores, sizeof(*slot->paths));
	if (slot->paths == NULL ||
	    sweep_init(&slot->sweep, d->server->set) < 0) {
		free(slot->paths);
		free(slot);
		return NULL;
	}
	slot->device = d;
	slot->lun_id = lun_id;
	slot->sweep.ctx = slot;
	slot->sweep.each = add_core;
	slot->sweep.done = add_done;
	return slot;
}

static int pick_lun_id(const struct scsi_device *d, int lun_id)
{
	if (lun_id >= SCSI_LUNS_MAX || lun_id < -1)
		return -EINVAL;
	if (lun_id >= 0)
		return d->slots[lun_id] != NULL ? -EEXIST : lun_id;
	for (int id = 0; id < SCSI_LUNS_MAX; id++) {
		if (d->slots[id] == NULL)
			return id;
	}
	return -ENOSPC;
}

int scsi_device_add_lun(struct scsi_device *d, int lun_id,
			const char *bdev_name, const struct lun_options *opt,
			struct scsi_change *change)
{
	int id = pick_lun_id(d, lun_id);
	struct lun_slot *slot;
	struct lun *lun;
	int error;

	if (id < 0)
		return id;
	ASSERT(!d->closing);
	slot = slot_create(d, (uint32_t)id);
	if (slot == NULL)
		return -ENOMEM;
	lun = lun_find(d->server, bdev_name);
	if (lun == NULL) {
		error = lun_create(d->server, bdev_name, opt, &lun);
		if (error < 0) {
			sweep_deinit(&slot->sweep);
			free(slot->paths);
			free(slot);
			return error;
		}
	}
	for (uint32_t i = 0; i < d->server->ncores; i++) {
		list_init(&slot->paths[i].link);
		slot->paths[i].view = &lun->views[i];
		slot->paths[i].dv = &d->views[i];
		slot->paths[i].lun_id = (uint32_t)id;
	}
	slot->lun = lun;
	slot->change = change;
	if (change != NULL)
		change->lun_id = (uint32_t)id;
	list_push_back(&lun->slots, &slot->lun_link);
	d->slots[id] = slot;
	d->nslots++;
	sweep_start(&slot->sweep);
	return 0;
}

const char *scsi_device_lun_bdev(const struct scsi_device *d, uint32_t lun_id)
{
	if (lun_id >= SCSI_LUNS_MAX || d->slots[lun_id] == NULL)
		return NULL;
	return d->slots[lun_id]->lun->bdev->name;
}

/* ---- Nexuses. */

void scsi_nexus_open(struct scsi_nexus *n)
{
	struct device_view *dv = &n->device->views[reactor_index(n->reactor)];

	n->dv = dv;
	n->id = ((uint64_t)dv->core->index + 1) << 48 | ++dv->core->nexuses;
	n->cleared = false;
	memset(n->ua, 0, sizeof(n->ua));
	memset(n->pr, 0, sizeof(n->pr));
	memset(n->prevents, 0, sizeof(n->prevents));
	memset(n->copies, 0, sizeof(n->copies));
	n->copy_age = 0;
	n->echo_len = 0;
	n->access = SCSI_ACCESS_OPTIMIZED;
	alua_refresh_nexus(n);
	for (uint32_t id = 0; id < SCSI_LUNS_MAX; id++) {
		if (dv->luns[id] == NULL)
			continue;
		ua_set(n, id, UA_POWER_ON);
		reserve_refresh_nexus(dv->luns[id], n, id);
	}
	list_push_back(&dv->nexuses, &n->link);
}

void scsi_nexus_close(struct scsi_nexus *n)
{
	for (uint32_t id = 0; id < SCSI_LUNS_MAX; id++) {
		if (n->dv->luns[id] != NULL)
			lose(n->dv->luns[id], n, id);
	}
	list_remove(&n->link);
	n->dv = NULL;
}
