/* SPDX-License-Identifier: BSD-3-Clause */
/* All methods, in one visible list. */
#include "control/rpc_tables.h"

const struct rpc_method *const rpc_tables[] = {
	rpc_app_methods,     rpc_log_methods,
	rpc_bdev_methods,    rpc_bdev_show_methods,
	rpc_vbdev_methods,   rpc_group_methods,
	rpc_auth_methods,    rpc_target_methods,
	rpc_session_methods, NULL,
};
