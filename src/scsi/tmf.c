/* SPDX-License-Identifier: BSD-3-Clause */
/* Task management (SAM-5, 7) and what waits on a core for tasks to end. */
#include "base/assert.h"
#include "scsi/home.h"
#include "scsi/lun.h"
#include "scsi/ua.h"

/* ---- A core's waiting list. */

static void core_work(struct deferred *d);

void core_init(struct scsi_core *core, struct scsi_server *s, uint32_t index)
{
	core->server = s;
	core->index = index;
	core->reactor = reactors_get(s->set, index);
	list_init(&core->tmfs);
	list_init(&core->drains);
	list_init(&core->work.link);
	core->work.run = core_work;
}

void core_wake(struct scsi_core *core)
{
	reactor_defer(core->reactor, &core->work);
}

void core_drain(struct scsi_core *core, struct sweep_core *c,
		bool (*busy)(struct sweep_core *c))
{
	c->busy = busy;
	if (busy(c))
		list_push_back(&core->drains, &c->link);
	else
		sweep_core_done(c);
}

void core_task_released(struct scsi_core *core, struct scsi_task *t)
{
	struct scsi_tmf *tmf;

	list_for_each(tmf, &core->tmfs, link) {
		if (tmf->task == t)
			tmf->task = NULL;
	}
	core_wake(core);
}

static void check_drains(struct scsi_core *core)
{
	struct sweep_core *c, *tmp;

	list_for_each_safe(c, tmp, &core->drains, link) {
		if (c->busy(c))
			continue;
		list_remove(&c->link);
		sweep_core_done(c);
	}
}

/* ---- Functions of one nexus: its tasks are all on this core. */

static void finish(struct scsi_tmf *tmf, enum scsi_tmf_response response)
{
	list_remove(&tmf->link);
	core_wake(tmf->nexus->dv->core); /* a leaving LUN waits for it */
	tmf->response = response;
	tmf->done(tmf);
}

static bool of_nexus(const struct scsi_task *t, const void *ctx)
{
	const struct scsi_tmf *tmf = ctx;

	return t->nexus == tmf->nexus && t->seq <= tmf->seq;
}

static bool aborted_of_nexus(const struct scsi_task *t, const void *ctx)
{
	return t->aborted && of_nexus(t, ctx);
}

/* Calls @fn on the views that the function is about, until it says true. */
static bool any_view(const struct scsi_tmf *tmf, struct device_view *dv,
		     bool (*fn)(struct lun_view *view, const void *ctx),
		     const void *ctx)
{
	if (tmf->view != NULL)
		return fn(&tmf->view->lun->views[dv->core->index], ctx);
	for (uint32_t id = 0; id < SCSI_LUNS_MAX; id++) {
		if (dv->luns[id] != NULL && fn(dv->luns[id], ctx))
			return true;
	}
	return false;
}

static bool abort_in_view(struct lun_view *view, const void *ctx)
{
	task_abort_matching(view, of_nexus, ctx, false);
	return false;
}

static bool busy_in_view(struct lun_view *view, const void *ctx)
{
	return task_any_matching(view, aborted_of_nexus, ctx);
}

static bool has_task(struct lun_view *view, const void *ctx)
{
	return task_any_matching(view, of_nexus, ctx);
}

static void start_own(struct scsi_tmf *tmf)
{
	if (tmf->function == SCSI_TMF_ABORT_TASK) {
		tmf->missed = tmf->task == NULL ||
			      tmf->task->state == SCSI_TASK_COMPLETE;
		if (!tmf->missed)
			task_abort(tmf->task, false);
		return;
	}
	any_view(tmf, tmf->nexus->dv, abort_in_view, tmf);
}

static bool own_ended(struct scsi_tmf *tmf)
{
	if (tmf->function == SCSI_TMF_ABORT_TASK)
		return tmf->missed || tmf->task == NULL || !tmf->task->aborted;
	return !any_view(tmf, tmf->nexus->dv, busy_in_view, tmf);
}

/* ---- Functions that reach every core. */

/* What the sweep of @tmf does on one core. */
struct reach {
	const struct scsi_tmf *tmf;
	struct sweep_core *core;
};

static bool in_reach(const struct scsi_task *t, const void *ctx)
{
	const struct reach *r = ctx;

	/* Commands of the same nexus that came after the function are newer.
	 * With others there is no such order, and they get the unit attention
	 * now: none may slip through between the two. */
	if (t->nexus == r->tmf->nexus)
		return t->seq <= r->tmf->seq;
	return t->seq <= r->core->seq;
}

static bool aborted_in_reach(const struct scsi_task *t, const void *ctx)
{
	return t->aborted && in_reach(t, ctx);
}

/* SPC-4, 7.5.10: TAS decides how tasks of another nexus end. */
static bool own_in_reach(const struct scsi_task *t, const void *ctx)
{
	const struct reach *r = ctx;

	return t->nexus == r->tmf->nexus && in_reach(t, ctx);
}

static void note_cleared(struct lun_view *view, const struct reach *r)
{
	struct lun_path *path;
	struct scsi_nexus *n;
	struct scsi_task *t;

	list_for_each(path, &view->paths, link) {
		list_for_each(n, &path->dv->nexuses, link) {
			n->cleared = false;
		}
	}
	list_for_each(t, &view->tasks, link) {
		if (in_reach(t, r) && t->state != SCSI_TASK_COMPLETE)
			t->nexus->cleared = true;
	}
	list_for_each(path, &view->paths, link) {
		list_for_each(n, &path->dv->nexuses, link) {
			if (n->cleared && n != r->tmf->nexus)
				ua_set(n, path->lun_id, UA_COMMANDS_CLEARED);
		}
	}
}

/* SAM-5, 6.3.3: more than its commands. */
static bool resets(const struct scsi_tmf *tmf)
{
	return tmf->function != SCSI_TMF_CLEAR_TASK_SET;
}

static bool at_home(const struct lun_view *view)
{
	return view->core->reactor == reactors_main(view->core->server->set);
}

static bool reach_view(struct lun_view *view, const void *ctx)
{
	const struct reach *r = ctx;
	bool tas = view->state.tas;

	switch (r->tmf->function) {
	case SCSI_TMF_CLEAR_TASK_SET: /* SAM-5, 7.5 */
		if (!tas)
			note_cleared(view, r);
		break;
	case SCSI_TMF_LOGICAL_UNIT_RESET: /* SAM-5, 6.3.3 */
		ua_set_view(view, UA_DEVICE_RESET, NULL);
		break;
	case SCSI_TMF_TARGET_WARM_RESET:
	case SCSI_TMF_TARGET_COLD_RESET: /* SAM-5, 6.3.2 */
		ua_set_view(view, UA_BUS_RESET, NULL);
		break;
	case SCSI_TMF_ABORT_TASK:
	case SCSI_TMF_ABORT_TASK_SET:
	case SCSI_TMF_CLEAR_ACA:
	case SCSI_TMF_QUERY_TASK:
	case SCSI_TMF_QUERY_TASK_SET:
	case SCSI_TMF_I_T_NEXUS_RESET:
	case SCSI_TMF_QUERY_ASYNC_EVENT:
		ASSERT(!"not a function of all cores");
	}
	task_abort_matching(view, own_in_reach, r, false);
	task_abort_matching(view, in_reach, r, tas);
	if (resets(r->tmf) && at_home(view))
		home_reset(view->lun);
	return false;
}

static bool busy_reach(struct lun_view *view, const void *ctx)
{
	const struct reach *r = ctx;

	if (resets(r->tmf) && at_home(view) && home_resetting(view->lun))
		return true;
	return task_any_matching(view, aborted_in_reach, ctx);
}

static struct device_view *reach_device(struct sweep_core *c)
{
	struct scsi_tmf *tmf = c->sweep->ctx;

	return &tmf->nexus->device->views[c->index];
}

static bool reach_busy(struct sweep_core *c)
{
	const struct reach r = {.tmf = c->sweep->ctx, .core = c};

	return any_view(r.tmf, reach_device(c), busy_reach, &r);
}

static void reach_core(struct sweep_core *c)
{
	const struct reach r = {.tmf = c->sweep->ctx, .core = c};
	struct device_view *dv = reach_device(c);

	c->seq = dv->core->seq;
	any_view(r.tmf, dv, reach_view, &r);
	core_drain(dv->core, c, reach_busy);
}

static void reach_done(struct sweep *s)
{
	struct scsi_tmf *tmf = s->ctx;

	sweep_destroy(s);
	tmf->sweep = NULL;
	finish(tmf, SCSI_TMF_COMPLETE);
}

static void start_reach(struct scsi_tmf *tmf)
{
	tmf->sweep = sweep_create(tmf->nexus->dv->core->server->set);
	if (tmf->sweep == NULL) {
		finish(tmf, SCSI_TMF_REJECTED);
		return;
	}
	tmf->sweep->each = reach_core;
	tmf->sweep->done = reach_done;
	tmf->sweep->ctx = tmf;
	sweep_start(tmf->sweep);
}

/* ---- Dispatch. */

static void query_async(struct scsi_tmf *tmf, uint32_t lun_id)
{
	uint16_t asc;
	uint32_t pending = tmf->nexus->ua[lun_id];

	/* SAM-5, 7.10: sense key, code and qualifier of what is pending. */
	if (pending == 0) {
		finish(tmf, SCSI_TMF_COMPLETE);
		return;
	}
	asc = ua_asc((enum ua_bit)__builtin_ctz(pending));
	tmf->additional = 0x06u << 16 | asc;
	finish(tmf, SCSI_TMF_SUCCEEDED);
}

/* Is it about one logical unit (and not a task, or the whole target)? */
static bool needs_lun(enum scsi_tmf_function f)
{
	return f == SCSI_TMF_ABORT_TASK_SET || f == SCSI_TMF_CLEAR_TASK_SET ||
	       f == SCSI_TMF_LOGICAL_UNIT_RESET ||
	       f == SCSI_TMF_QUERY_TASK_SET || f == SCSI_TMF_QUERY_ASYNC_EVENT;
}

static void run(struct scsi_tmf *tmf)
{
	struct device_view *dv = tmf->nexus->dv;
	uint32_t lun_id = 0;

	tmf->started = true;
	if (needs_lun(tmf->function)) {
		tmf->view = device_view_lun(dv, tmf->lun, &lun_id);
		if (tmf->view == NULL) {
			finish(tmf, SCSI_TMF_INCORRECT_LUN);
			return;
		}
	}
	switch (tmf->function) {
	case SCSI_TMF_ABORT_TASK:
	case SCSI_TMF_ABORT_TASK_SET:
	case SCSI_TMF_I_T_NEXUS_RESET:
		start_own(tmf);
		return; /* core_work() sees the end */
	case SCSI_TMF_CLEAR_TASK_SET:
	case SCSI_TMF_LOGICAL_UNIT_RESET:
	case SCSI_TMF_TARGET_WARM_RESET:
	case SCSI_TMF_TARGET_COLD_RESET:
		start_reach(tmf);
		return;
	case SCSI_TMF_QUERY_TASK:
		finish(tmf, tmf->task != NULL ? SCSI_TMF_SUCCEEDED
					      : SCSI_TMF_COMPLETE);
		return;
	case SCSI_TMF_QUERY_TASK_SET:
		finish(tmf, any_view(tmf, dv, has_task, tmf)
				    ? SCSI_TMF_SUCCEEDED
				    : SCSI_TMF_COMPLETE);
		return;
	case SCSI_TMF_QUERY_ASYNC_EVENT:
		query_async(tmf, lun_id);
		return;
	case SCSI_TMF_CLEAR_ACA: /* SPC-4: NormACA is 0 */
		finish(tmf, SCSI_TMF_REJECTED);
		return;
	}
}

static struct scsi_tmf *next_tmf(struct scsi_core *core)
{
	struct scsi_tmf *tmf;

	list_for_each(tmf, &core->tmfs, link) {
		if (!tmf->started)
			return tmf;
		if (tmf->sweep == NULL && own_ended(tmf))
			return tmf;
	}
	return NULL;
}

static void core_work(struct deferred *d)
{
	struct scsi_core *core = container_of(d, struct scsi_core, work);
	struct scsi_tmf *tmf;

	while ((tmf = next_tmf(core)) != NULL) {
		if (!tmf->started)
			run(tmf);
		else
			finish(tmf, SCSI_TMF_COMPLETE);
	}
	check_drains(core);
}

void scsi_tmf_start(struct scsi_tmf *tmf)
{
	struct scsi_core *core = tmf->nexus->dv->core;

	tmf->started = false;
	tmf->missed = false;
	tmf->sweep = NULL;
	tmf->view = NULL;
	tmf->additional = 0;
	tmf->seq = core->seq;
	list_push_back(&core->tmfs, &tmf->link);
	core_wake(core);
}
