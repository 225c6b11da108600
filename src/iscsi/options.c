/* SPDX-License-Identifier: BSD-3-Clause */
#include "iscsi/options.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/macros.h"

/* The numbers: default and range, as iscsi_options.h has them. */
struct number_row {
	uint16_t offset;
	uint32_t initial, min, max;
	const char *why;
};

#define ROW(field, initial, min, max)                                     \
	{                                                                 \
		offsetof(struct iscsi_options, field), initial, min, max, \
			#field " is not within " #min ".." #max           \
	}

static const struct number_row rows[] = {
	ROW(max_sessions, 128, 1, 65535),
	ROW(max_connections_per_session, 2, 1, 65535),
	ROW(max_queue_depth, 64, 1, 256),
	ROW(default_time2wait, 2, 0, 3600),
	ROW(default_time2retain, 20, 0, 3600),
	ROW(first_burst_length, 65536, 512, 16777215),
	ROW(max_burst_length, 1048576, 512, 16777215),
	ROW(max_recv_data_segment_length, 262144, 512, 16777215),
	ROW(max_outstanding_r2t, 1, 1, 65535),
	ROW(error_recovery_level, 0, 0, 2),
	ROW(nop_timeout, 60, 0, 2147483647),
	ROW(nop_in_interval, 30, 0, 60),
	ROW(login_timeout, 15, 1, 3600),
	ROW(max_logins, 256, 1, 65535),
	ROW(max_connections_per_address, 0, 0, 65535),
};

static uint32_t *field(struct iscsi_options *o, const struct number_row *row)
{
	return (uint32_t *)(void *)((uint8_t *)o + row->offset);
}

void iscsi_options_default(struct iscsi_options *o)
{
	memset(o, 0, sizeof(*o));
	str_copy(o->node_base, sizeof(o->node_base), "iqn.2016-06.io.spdk");
	o->immediate_data = true;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		*field(o, &rows[i]) = rows[i].initial;
}

static int because(const char **ret_why, const char *why)
{
	if (ret_why)
		*ret_why = why;
	return -EINVAL;
}

int iscsi_options_check(const struct iscsi_options *o, const char **ret_why)
{
	struct iscsi_options copy = *o;
	const char *why = "node_base is not an iSCSI name";

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint32_t value = *field(&copy, &rows[i]);

		if (value < rows[i].min || value > rows[i].max)
			return because(ret_why, rows[i].why);
	}
	/* RFC 7143, 13.14 */
	if (o->first_burst_length > o->max_burst_length)
		return because(ret_why, "first_burst_length is greater than "
					"max_burst_length");
	if (iscsi_name_check(o->node_base, &why) < 0)
		return because(ret_why, why);
	if (auth_policy_check(&o->discovery_auth) < 0)
		return because(ret_why, "discovery authentication: CHAP cannot "
					"be both disabled and required, mutual "
					"needs required");
	return 0;
}
