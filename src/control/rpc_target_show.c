/* SPDX-License-Identifier: BSD-3-Clause */
/* Target nodes, as getters and saved configurations show them. */
#include "control/rpc_tables.h"

#include "control/control_priv.h"
#include "control/rpc_util.h"

static json_t *show_maps(const struct target_node *n)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < n->nmaps; i++)
		json_array_append_new(list,
				      json_pack("{s:i, s:i}", "pg_tag",
						n->maps[i].pg->tag, "ig_tag",
						n->maps[i].ig->tag));
	return list;
}

static json_t *show_luns(const struct target_node *n, bool old)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < SCSI_LUNS_MAX; i++) {
		const char *bdev = scsi_device_lun_bdev(n->device, i);
		json_t *o;

		if (!bdev)
			continue;
		o = json_pack("{s:s, s:i}", "bdev_name", bdev, "lun_id",
			      (int)i);
		if (o && old)
			json_object_set_new(o, "id", json_integer(i));
		json_array_append_new(list, o);
	}
	return list;
}

/* 18.01's names; they stand beside the later ones, which never collide. */
static void show_old_auth(json_t *o, const struct auth_policy *p)
{
	json_object_set_new(o, "chap_disabled", json_integer(p->disable_chap));
	json_object_set_new(o, "chap_required", json_integer(p->require_chap));
	json_object_set_new(o, "chap_mutual", json_integer(p->mutual_chap));
	json_object_set_new(o, "chap_auth_group", json_integer(p->chap_group));
}

static json_t *show_node(const struct target_node *n, bool old)
{
	json_t *o =
		json_pack("{s:s, s:o, s:o, s:i, s:b, s:b}", "name", n->name,
			  "pg_ig_maps", show_maps(n), "luns", show_luns(n, old),
			  "queue_depth", (int)n->queue_depth, "header_digest",
			  n->header_digest, "data_digest", n->data_digest);

	if (!o)
		return NULL;
	if (n->alias[0] != '\0')
		json_object_set_new(o, "alias_name", json_string(n->alias));
	rpc_show_policy(o, &n->auth);
	if (old)
		show_old_auth(o, &n->auth);
	return o;
}

void rpc_get_target_nodes(struct rpc_call *call)
{
	struct targets *t = call->control->targets;
	struct target_node *n = target_node_first(t);
	json_t *list = json_array();

	for (; n; n = target_node_next(t, n))
		json_array_append_new(list, show_node(n, rpc_is_old(call)));
	rpc_done(call, list);
}

static bool save_node(json_t *config, const struct target_node *n)
{
	json_t *o = show_node(n, false);
	const struct target_redirect *r;
	bool good;

	if (!o)
		return false;
	json_object_set_new(o, "alias_name", json_string(n->alias));
	good = rpc_config_add(config, "iscsi_create_target_node", o);
	list_for_each(r, &n->redirects, link) {
		o = json_pack("{s:s, s:i, s:s, s:s}", "name", n->name, "pg_tag",
			      r->pg->tag, "redirect_host", r->host,
			      "redirect_port", r->port);
		good = good &&
		       rpc_config_add(config, "iscsi_target_node_set_redirect",
				      o);
	}
	return good;
}

bool rpc_save_targets(struct control *c, json_t *config)
{
	struct target_node *n = target_node_first(c->targets);
	bool good = true;

	for (; n; n = target_node_next(c->targets, n))
		good = good && save_node(config, n);
	return good;
}
