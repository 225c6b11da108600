/* SPDX-License-Identifier: BSD-3-Clause */
#include "scsi/ua.h"

#include "base/assert.h"
#include "scsi/lun.h"
#include "scsi/scsi_spec.h"

static const uint16_t codes[UA_COUNT] = {
	[UA_POWER_ON] = ASC_POWER_ON,
	[UA_BUS_RESET] = ASC_BUS_RESET,
	[UA_DEVICE_RESET] = ASC_DEVICE_RESET,
	[UA_MEDIUM_CHANGED] = ASC_MEDIUM_CHANGED,
	[UA_INQUIRY_CHANGED] = ASC_INQUIRY_CHANGED,
	[UA_COMMANDS_CLEARED] = ASC_COMMANDS_CLEARED,
	[UA_RES_PREEMPTED] = ASC_RES_PREEMPTED,
	[UA_REG_PREEMPTED] = ASC_REG_PREEMPTED,
	[UA_RES_RELEASED] = ASC_RES_RELEASED,
	[UA_CAPACITY_CHANGED] = ASC_CAPACITY_CHANGED,
	[UA_MODE_CHANGED] = ASC_MODE_CHANGED,
	[UA_TIMESTAMP_CHANGED] = ASC_TIMESTAMP_CHANGED,
	[UA_ACCESS_CHANGED] = ASC_ACCESS_CHANGED,
	[UA_LUNS_CHANGED] = ASC_LUNS_CHANGED,
};
_Static_assert(UA_COUNT <= 32, "a bit each in scsi_nexus.ua");

uint16_t ua_asc(enum ua_bit ua)
{
	ASSERT(ua < UA_COUNT);
	return codes[ua];
}

void ua_set_view(struct lun_view *view, enum ua_bit ua,
		 const struct scsi_nexus *except)
{
	struct lun_path *path;
	struct scsi_nexus *n;

	list_for_each(path, &view->paths, link) {
		list_for_each(n, &path->dv->nexuses, link) {
			if (n != except)
				ua_set(n, path->lun_id, ua);
		}
	}
}

void ua_set_device(struct device_view *dv, enum ua_bit ua,
		   const struct scsi_nexus *except)
{
	struct scsi_nexus *n;

	list_for_each(n, &dv->nexuses, link) {
		if (n == except)
			continue;
		for (uint32_t id = 0; id < SCSI_LUNS_MAX; id++) {
			if (dv->luns[id] != NULL)
				ua_set(n, id, ua);
		}
	}
}

bool ua_take(struct scsi_nexus *n, uint32_t lun_id, uint16_t *ret_asc)
{
	uint32_t pending = n->ua[lun_id];
	unsigned int ua;

	if (pending == 0)
		return false;
	ua = (unsigned int)__builtin_ctz(pending);
	*ret_asc = codes[ua];
	n->ua[lun_id] = pending & (pending - 1);
	return true;
}

void ua_clear_luns_changed(struct scsi_nexus *n)
{
	for (uint32_t id = 0; id < SCSI_LUNS_MAX; id++)
		n->ua[id] &= ~(1u << UA_LUNS_CHANGED);
}
