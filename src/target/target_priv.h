/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of this layer share. */
#pragma once

#include "target/target.h"

struct targets {
	struct scsi_server *scsi;
	struct list portal_groups; /* by age */
	struct list initiator_groups;
	struct list nodes;
	struct list auth_groups; /* by tag */
};

/* Says @why, when somebody listens, and gives @error back. */
static inline int because(const char **ret_why, const char *why, int error)
{
	if (ret_why)
		*ret_why = why;
	return error;
}

/* Takes every map of @pg, or of @ig, out of @n. */
void target_node_forget_pg(struct target_node *n,
			   const struct portal_group *pg);
void target_node_forget_ig(struct target_node *n,
			   const struct initiator_group *ig);

/* Frees all auth groups, wiping their secrets. */
void auth_groups_free(struct targets *t);
