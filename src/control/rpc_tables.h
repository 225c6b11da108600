/* SPDX-License-Identifier: BSD-3-Clause */
/* The tables of methods, one per file. */
#pragma once

#include "control/rpc.h"

extern const struct rpc_method rpc_group_methods[];
extern const struct rpc_method rpc_target_methods[];
extern const struct rpc_method rpc_auth_methods[];
extern const struct rpc_method rpc_session_methods[];
extern const struct rpc_method rpc_bdev_methods[];
extern const struct rpc_method rpc_bdev_show_methods[];
extern const struct rpc_method rpc_vbdev_methods[];
extern const struct rpc_method rpc_log_methods[];
extern const struct rpc_method rpc_app_methods[];

/* iscsi_set_options: the rows are also the keys of [iSCSI]. */
extern const struct param rpc_iscsi_option_rows[];

/* Each appends the calls that would make what is there. False: no memory. */
bool rpc_save_options(struct control *c, json_t *config);
bool rpc_save_groups(struct control *c, json_t *config);
bool rpc_save_auth(struct control *c, json_t *config);
bool rpc_save_targets(struct control *c, json_t *config);

/* The method iscsi_get_target_nodes. */
void rpc_get_target_nodes(struct rpc_call *call);
