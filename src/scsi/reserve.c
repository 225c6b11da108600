/* SPDX-License-Identifier: BSD-3-Clause */
/* RESERVE, RELEASE (SPC-2, 7.21, 7.17) and what reservations stop. */
#include "scsi/reserve.h"

#include <string.h>

#include "base/assert.h"
#include "scsi/home.h"
#include "scsi/task_priv.h"

void nexus_port(const struct scsi_nexus *n, struct pr_port *ret)
{
	memset(ret, 0, sizeof(*ret));
	(void)str_copy(ret->initiator, sizeof(ret->initiator),
		       n->initiator_name);
	memcpy(ret->isid, n->isid, sizeof(ret->isid));
	(void)str_copy(ret->target, sizeof(ret->target), n->device->name);
	str_lower(ret->initiator);
	ret->tpgt = n->tpgt;
}

/* SPC-4, 5.13.1, tables 65 and 66; SBC-3, table 13. */
static bool pr_allows(const struct lun_view *view, const struct scsi_nexus *n,
		      const struct scsi_cmd *cmd, uint32_t lun_id)
{
	uint8_t type = view->pr != NULL ? view->pr->type : PR_NONE;
	uint16_t stops = CMD_RES_WRITE;

	if (type == PR_NONE || (n->pr[lun_id] & NEXUS_HOLDER))
		return true;
	if (pr_registrants_only(type) && (n->pr[lun_id] & NEXUS_REGISTERED))
		return true;
	if (!pr_write_exclusive(type))
		stops |= CMD_RES_READ;
	return !(cmd->flags & stops);
}

enum scsi_step reserve_check(struct scsi_task *t, const struct scsi_cmd *cmd,
			     uint32_t lun_id)
{
	const struct lun_view *view = t->view;
	uint64_t reserved = view->state.reserved;

	/* SPC-2, 5.5.1: nothing but a few pass a RESERVE of another. */
	if (reserved != 0 && reserved != t->nexus->id &&
	    !(cmd->flags & CMD_RES_ANY))
		return task_status(t, SCSI_RESERVATION_CONFLICT);
	if (!pr_allows(view, t->nexus, cmd, lun_id))
		return task_status(t, SCSI_RESERVATION_CONFLICT);
	return SCSI_PENDING;
}

void reserve_refresh_nexus(const struct lun_view *view, struct scsi_nexus *n,
			   uint32_t lun_id)
{
	struct pr_port port;
	int index;

	n->pr[lun_id] = 0;
	if (view->pr == NULL)
		return;
	nexus_port(n, &port);
	index = pr_find(view->pr, &port, false);
	if (index < 0)
		return;
	n->pr[lun_id] = NEXUS_REGISTERED;
	if (pr_holds(view->pr, index))
		n->pr[lun_id] |= NEXUS_HOLDER;
}

void reserve_refresh(struct lun_view *view)
{
	struct lun_path *path;
	struct scsi_nexus *n;

	view->guarded = view->state.reserved != 0 ||
			(view->pr != NULL && view->pr->type != PR_NONE);
	list_for_each(path, &view->paths, link) {
		list_for_each(n, &path->dv->nexuses, link) {
			reserve_refresh_nexus(view, n, path->lun_id);
		}
	}
}

/* The entry of the nexus in the table, registered or gone; NULL: none. */
static const struct pr_registrant *entry_of(const struct pr_table *table,
					    const struct scsi_nexus *n)
{
	struct pr_port port;
	int index;

	nexus_port(n, &port);
	index = pr_find(table, &port, false);
	if (index < 0)
		index = pr_find(table, &port, true);
	return index < 0 ? NULL : &table->r[index];
}

void reserve_tell(struct lun_view *view)
{
	const struct pr_registrant *r;
	struct lun_path *path;
	struct scsi_nexus *n;

	list_for_each(path, &view->paths, link) {
		list_for_each(n, &path->dv->nexuses, link) {
			r = entry_of(view->pr, n);
			if (r != NULL && r->ua != UA_COUNT)
				ua_set(n, path->lun_id, (enum ua_bit)r->ua);
		}
	}
}

bool reserve_preempted(const struct scsi_task *t, const void *table)
{
	const struct pr_registrant *r = entry_of(table, t->nexus);

	return r != NULL && r->abort;
}

/* ---- RESERVE and RELEASE. */

static bool take_unit(struct scsi_task *t, struct lun_state *state,
		      enum ua_bit *ret_ua)
{
	t->scratch[0] = state->reserved != 0 && state->reserved != t->nexus->id;
	if (t->scratch[0] != 0 || state->reserved == t->nexus->id)
		return false;
	state->reserved = t->nexus->id;
	return true;
}

static bool leave_unit(struct scsi_task *t, struct lun_state *state,
		       enum ua_bit *ret_ua)
{
	if (state->reserved != t->nexus->id)
		return false;
	state->reserved = 0;
	return true;
}

static enum scsi_step taken(struct scsi_task *t)
{
	if (t->scratch[0] != 0)
		return task_status(t, SCSI_RESERVATION_CONFLICT);
	return task_good(t);
}

/* SPC-4, 5.13.3: where anybody is registered, these conflict. */
static bool has_registrants(const struct lun_view *view)
{
	return view->pr != NULL && view->pr->n > 0;
}

enum scsi_step cmd_reserve(struct scsi_task *t)
{
	if (has_registrants(t->view))
		return task_status(t, SCSI_RESERVATION_CONFLICT);
	return home_change(t, take_unit, taken);
}

enum scsi_step cmd_release(struct scsi_task *t)
{
	if (has_registrants(t->view))
		return task_status(t, SCSI_RESERVATION_CONFLICT);
	/* Of another's reservation: nothing happens, and that is GOOD. */
	if (t->view->state.reserved != t->nexus->id)
		return task_good(t);
	return home_change(t, leave_unit, task_good);
}
