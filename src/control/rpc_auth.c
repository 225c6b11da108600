/* SPDX-License-Identifier: BSD-3-Clause */
/* Methods of auth groups. Secrets go in; they never come out. */
#include "control/rpc_tables.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/str.h"
#include "control/control_priv.h"
#include "control/rpc_util.h"

struct secret_params {
	int32_t tag;
	const char *user, *secret, *muser, *msecret;
};

#define SECRET_ROWS                                              \
	{.name = "user",                                         \
	 .type = PARAM_TEXT,                                     \
	 .required = true,                                       \
	 .min = 1,                                               \
	 .max = CHAP_NAME_MAX,                                   \
	 .offset = AT(struct secret_params, user),               \
	 .help = "the initiator's CHAP name"},                   \
		{.name = "secret",                               \
		 .type = PARAM_TEXT,                             \
		 .required = true,                               \
		 .min = 1,                                       \
		 .max = CHAP_SECRET_MAX,                         \
		 .offset = AT(struct secret_params, secret),     \
		 .help = "its secret"},                          \
		{.name = "muser",                                \
		 .type = PARAM_TEXT,                             \
		 .min = 1,                                       \
		 .max = CHAP_NAME_MAX,                           \
		 .offset = AT(struct secret_params, muser),      \
		 .help = "the target's CHAP name"},              \
	{                                                        \
		.name = "msecret", .type = PARAM_TEXT, .min = 1, \
		.max = CHAP_SECRET_MAX,                          \
		.offset = AT(struct secret_params, msecret),     \
		.help = "its secret"                             \
	}

static const struct param secret_rows[] = {SECRET_ROWS, {}};

static const struct param add_secret_rows[] = {
	{.name = "tag",
	 .type = PARAM_INT,
	 .required = true,
	 .offset = AT(struct secret_params, tag),
	 .help = "auth group"},
	SECRET_ROWS,
	{},
};

static const struct param remove_secret_rows[] = {
	{.name = "tag",
	 .type = PARAM_INT,
	 .required = true,
	 .offset = AT(struct secret_params, tag),
	 .help = "auth group"},
	{.name = "user",
	 .type = PARAM_TEXT,
	 .required = true,
	 .offset = AT(struct secret_params, user),
	 .help = "CHAP name"},
	{},
};

struct group_params {
	int32_t tag;
	json_t *secrets;
};

static const struct param create_rows[] = {
	{.name = "tag",
	 .type = PARAM_INT,
	 .required = true,
	 .min = 1,
	 .max = INT32_MAX,
	 .offset = AT(struct group_params, tag),
	 .help = "auth group tag"},
	{.name = "secrets",
	 .type = PARAM_OBJECTS,
	 .max = GROUP_ENTRIES_MAX,
	 .sub = secret_rows,
	 .offset = AT(struct group_params, secrets),
	 .help = "its secrets"},
	{},
};

static const struct param tag_rows[] = {
	{.name = "tag",
	 .type = PARAM_INT,
	 .required = true,
	 .offset = AT(struct group_params, tag),
	 .help = "auth group tag"},
	{},
};

static bool copy(char *dst, size_t size, const char *src)
{
	return str_copy(dst, size, src ? src : "");
}

static int add_secret_to(struct rpc_call *call, int32_t tag,
			 const struct secret_params *p, const char **ret_why)
{
	struct chap_secret s;
	int error;

	/* The rows have bounded them. */
	ASSERT(copy(s.user, sizeof(s.user), p->user));
	ASSERT(copy(s.secret, sizeof(s.secret), p->secret));
	ASSERT(copy(s.muser, sizeof(s.muser), p->muser));
	ASSERT(copy(s.msecret, sizeof(s.msecret), p->msecret));
	error = auth_group_add_secret(call->control->targets, tag, &s, ret_why);
	wipe(&s, sizeof(s));
	return error;
}

static void create_group(struct rpc_call *call)
{
	struct targets *t = call->control->targets;
	char text[PARAM_WHY_MAX];
	const char *why = NULL;
	struct group_params p;
	json_t *entry;
	int error;
	size_t i;

	if (!rpc_params(call, &p))
		return;
	error = auth_group_create(t, p.tag, &why);
	if (error < 0) {
		rpc_fail(call, RPC_INVALID_PARAMS,
			 "Could not add auth group (%d), %s", p.tag,
			 strerror(-error));
		return;
	}
	json_array_foreach(p.secrets, i, entry) {
		struct secret_params s;

		ASSERT(params_decode(secret_rows, entry, &s, NULL, text,
				     sizeof(text)) == 0);
		error = add_secret_to(call, p.tag, &s, &why);
		if (error < 0)
			break;
	}
	if (error < 0)
		auth_group_delete(t, p.tag, NULL);
	rpc_end_group(call, error, why);
}

static void delete_group(struct rpc_call *call)
{
	const char *why = NULL;
	struct group_params p;
	int error;

	if (!rpc_params(call, &p))
		return;
	error = auth_group_delete(call->control->targets, p.tag, &why);
	rpc_end_group(call, error, why);
}

static void add_secret(struct rpc_call *call)
{
	const char *why = NULL;
	struct secret_params p;
	int error;

	if (!rpc_params(call, &p))
		return;
	error = add_secret_to(call, p.tag, &p, &why);
	rpc_end_group(call, error, why);
}

static void remove_secret(struct rpc_call *call)
{
	const char *why = NULL;
	struct secret_params p;
	int error;

	if (!rpc_params(call, &p))
		return;
	error = auth_group_remove_secret(call->control->targets, p.tag, p.user,
					 &why);
	rpc_end_group(call, error, why);
}

/* Users, but no secrets: who needs them has them. */
static json_t *show_users(const struct targets *t, int32_t tag)
{
	json_t *list = json_array();
	const struct chap_secret *s;

	for (uint32_t i = 0; (s = auth_group_secret(t, tag, i)); i++) {
		json_t *o = json_pack("{s:s}", "user", s->user);

		if (o && s->muser[0] != '\0')
			json_object_set_new(o, "muser", json_string(s->muser));
		json_array_append_new(list, o);
	}
	return list;
}

static void get_groups(struct rpc_call *call)
{
	const struct targets *t = call->control->targets;
	json_t *list = json_array();
	int32_t tag = 0;

	while ((tag = auth_group_after(t, tag)) != 0)
		json_array_append_new(list, json_pack("{s:o, s:i}", "secrets",
						      show_users(t, tag), "tag",
						      tag));
	rpc_done(call, list);
}

/* The groups that RPC made, without what is in them: that is never shown. */
bool rpc_save_auth(struct control *c, json_t *config)
{
	int32_t tag = 0;
	bool good = true;

	while ((tag = auth_group_after(c->targets, tag)) != 0) {
		if (auth_file_has(c, tag))
			continue;
		good = good && rpc_config_add(config, "iscsi_create_auth_group",
					      json_pack("{s:i}", "tag", tag));
	}
	return good;
}

const struct rpc_method rpc_auth_methods[] = {
	{"iscsi_create_auth_group",
	 {"add_iscsi_auth_group"},
	 RPC_RUNTIME,
	 create_rows,
	 create_group,
	 "Creates a group of CHAP secrets."},
	{"iscsi_delete_auth_group",
	 {"delete_iscsi_auth_group"},
	 RPC_RUNTIME,
	 tag_rows,
	 delete_group,
	 "Deletes it."},
	{"iscsi_auth_group_add_secret",
	 {"add_secret_to_iscsi_auth_group"},
	 RPC_RUNTIME,
	 add_secret_rows,
	 add_secret,
	 "Adds a secret to it."},
	{"iscsi_auth_group_remove_secret",
	 {"delete_secret_from_iscsi_auth_group"},
	 RPC_RUNTIME,
	 remove_secret_rows,
	 remove_secret,
	 "Removes a user's secret."},
	{"iscsi_get_auth_groups",
	 {"get_iscsi_auth_groups"},
	 RPC_RUNTIME,
	 NULL,
	 get_groups,
	 "Shows groups and users, never secrets."},
	{},
};
