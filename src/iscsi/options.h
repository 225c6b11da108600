/* SPDX-License-Identifier: BSD-3-Clause */
/* Settings of the whole iSCSI layer: [iSCSI] and iscsi_set_options. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "target/target.h"

struct iscsi_options {
	char auth_file[4096];
	char node_base[ISCSI_NAME_MAX + 1];   /* iqn.2016-06.io.spdk */
	uint32_t max_sessions;		      /* 128 [1..65535] */
	uint32_t max_connections_per_session; /* 2 [1..65535] */
	uint32_t max_queue_depth;	      /* 64 [1..256] */
	uint32_t default_time2wait;	      /* 2 s [0..3600] */
	uint32_t default_time2retain;	      /* 20 s [0..3600] */
	uint32_t first_burst_length;	      /* bytes, 65536 [512..16777215] */
	uint32_t max_burst_length;	      /* 1048576 [512..16777215] */
	uint32_t max_recv_data_segment_length; /* 262144 [512..16777215] */
	uint32_t max_outstanding_r2t;	       /* 1 [1..65535] */
	bool initial_r2t;		       /* false */
	bool immediate_data;		       /* true */
	bool allow_duplicated_isid;	       /* false */
	uint32_t error_recovery_level;	       /* 0 [0..2] */
	uint32_t nop_timeout;		       /* s, 60; 0 = never */
	uint32_t nop_in_interval;	       /* s, 30 [0..60]; 0 = off */
	uint32_t max_logins;		       /* connections before login, 256
					     * [1..65535] */
	uint32_t max_connections_per_address;  /* 0 = as many as there may be */
	uint32_t login_timeout; /* s, 15; from accept to full feature */
	struct auth_policy discovery_auth;
};

void iscsi_options_default(struct iscsi_options *o);

/* Ranges, and what must fit together. 0 or -EINVAL; @ret_why (may be NULL)
 * says what is wrong. */
int iscsi_options_check(const struct iscsi_options *o, const char **ret_why);
