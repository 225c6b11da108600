/* SPDX-License-Identifier: BSD-3-Clause */
/* Portal groups, initiator groups, auth groups: what may be, and what not. */
#include "world.h"

/* ---- Portal groups. */

static void test_pg_tags(void **state)
{
	struct world *w = *state;
	struct portal_group *pg;
	const char *why = NULL;
	static const int32_t bad[] = {-1, 0, 65536, INT32_MAX};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(portal_group_create(w->targets, bad[i], false,
						     false, &pg, &why),
				 -EINVAL);
		assert_non_null(why);
	}
	world_pg(w, 1, false);
	world_pg(w, 65535, true);
	assert_int_equal(
		portal_group_create(w->targets, 1, false, false, &pg, &why),
		-EEXIST);
	assert_non_null(portal_group_find(w->targets, 65535));
	assert_null(portal_group_find(w->targets, 2));
	/* By age. */
	pg = portal_group_first(w->targets);
	assert_int_equal(pg->tag, 1);
	pg = portal_group_next(w->targets, pg);
	assert_int_equal(pg->tag, 65535);
	assert_null(portal_group_next(w->targets, pg));
}

static const struct {
	const char *host, *port;
	int result;
} portals[] = {
	{"127.0.0.1", "3260", 0},
	{"127.0.0.1", "3260", -EEXIST},
	{"127.0.0.1", "3261", 0},
	{"[::1]", "3260", 0},
	{"[::1]", "3260", -EEXIST},
	{"*", "3262", 0},
	{"[*]", "3262", 0},
	{"127.0.0.1", "0", -EINVAL},
	{"127.0.0.1", "65536", -EINVAL},
	{"127.0.0.1", "", -EINVAL},
	{"", "3260", -EINVAL},
	{"localhost", "3260", -EINVAL},
	{"127.0.0.256", "3260", -EINVAL},
};

static void test_portals(void **state)
{
	struct world *w = *state;
	struct portal_group *a = world_pg(w, 1, false);
	struct portal_group *b = world_pg(w, 2, false);
	uint32_t good = 0;

	for (size_t i = 0; i < ARRAY_LEN(portals); i++) {
		/* Groups take turns: an address belongs to one of them. */
		struct portal_group *pg = i % 2 ? b : a;
		const char *why = NULL;
		int r = portal_group_add_portal(w->targets, pg, portals[i].host,
						portals[i].port, &why);

		assert_int_equal(r, portals[i].result);
		assert_true(r == 0 || why);
		good += r == 0;
	}
	assert_int_equal(a->nportals + b->nportals, good);
	/* With its group an address is free again. */
	portal_group_delete(w->targets, a);
	assert_int_equal(portal_group_add_portal(w->targets, b, "127.0.0.1",
						 "3260", NULL),
			 0);
}

static void test_portals_max(void **state)
{
	struct world *w = *state;
	struct portal_group *pg = world_pg(w, 1, false);
	char port[8];

	for (int i = 0; i < PORTALS_MAX; i++) {
		snprintf(port, sizeof(port), "%d", 10000 + i);
		assert_int_equal(portal_group_add_portal(w->targets, pg,
							 "127.0.0.1", port,
							 NULL),
				 0);
	}
	assert_int_equal(portal_group_add_portal(w->targets, pg, "127.0.0.1",
						 "9999", NULL),
			 -ENOSPC);
}

/* A session that came through it keeps it, though nobody finds it any more. */
static void test_pg_outlives_delete(void **state)
{
	struct world *w = *state;
	struct portal_group *pg = world_pg(w, 7, false);

	portal_group_ref(pg);
	portal_group_delete(w->targets, pg);
	assert_null(portal_group_find(w->targets, 7));
	assert_int_equal(pg->tag, 7);
	assert_true(pg->removed);
	world_pg(w, 7, false);
	portal_group_unref(pg);
}

/* ---- Initiator groups. */

static const struct {
	const char *name;
	int result;
	const char *stored; /* NULL: as given */
} names[] = {
	{"iqn.2016-06.io.spdk:init", 0, NULL},
	{"iqn.2016-06.io.spdk:INIT", -EEXIST, NULL},
	{"!iqn.2016-06.io.spdk:init", 0, NULL},
	{"IQN.2016-06.IO.spdk:other", 0, "iqn.2016-06.io.spdk:other"},
	{"ANY", 0, NULL},
	{"any", -EEXIST, NULL},
	{"ALL", -EEXIST, NULL},
	{"!ALL", 0, "!ANY"},
	{"eui.02004567a425678d", 0, NULL},
	{"", -EINVAL, NULL},
	{"!", -EINVAL, NULL},
	{"!!ANY", -EINVAL, NULL},
	{"init", -EINVAL, NULL},
	{"iqn.2016-06.io.spdk:a_b", -EINVAL, NULL},
	{"iqn.16-06.io.spdk:x", -EINVAL, NULL},
};

static void test_initiator_names(void **state)
{
	struct world *w = *state;
	static const char *const first[] = {"iqn.2000-01.a.b:c"};
	static const char *const mask[] = {"ANY"};
	struct initiator_group *ig = world_ig(w, 1, first, 1, mask, 1);

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const char *name = names[i].name, *why = NULL;
		uint32_t n = ig->ninitiators;
		int r = initiator_group_add(w->targets, ig, &name, 1, NULL, 0,
					    &why);

		assert_int_equal(r, names[i].result);
		assert_int_equal(ig->ninitiators, n + (r == 0));
		if (r == 0)
			assert_string_equal(ig->initiators[n],
					    names[i].stored ? names[i].stored
							    : name);
		else
			assert_non_null(why);
	}
}

static void test_netmasks(void **state)
{
	struct world *w = *state;
	static const char *const name[] = {"ANY"};
	static const char *const mask[] = {"192.0.2.0/24"};
	static const char *const good[] = {"10.0.0.1", "[::1]", "ALL",
					   "[2001:db8::]/32", "10.0.0.0/1"};
	static const char *const bad[] = {"",
					  "10.0.0.0/0",
					  "10.0.0.0/33",
					  "10.0.0",
					  "[::1",
					  "[::]/129",
					  "255.255.0.0/255.255.0.0"};
	struct initiator_group *ig = world_ig(w, 1, name, 1, mask, 1);

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_int_equal(initiator_group_add(w->targets, ig, NULL, 0,
						     &good[i], 1, NULL),
				 0);
		assert_int_equal(initiator_group_add(w->targets, ig, NULL, 0,
						     &good[i], 1, NULL),
				 -EEXIST);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(initiator_group_add(w->targets, ig, NULL, 0,
						     &bad[i], 1, NULL),
				 -EINVAL);
	assert_int_equal(ig->nnetmasks, 1 + ARRAY_LEN(good));
}

/* One bad entry, in either list, and nothing has changed. */
static void test_edit_all_or_nothing(void **state)
{
	struct world *w = *state;
	static const char *const name[] = {"iqn.2000-01.a.b:c"};
	static const char *const mask[] = {"10.0.0.0/8"};
	static const char *const more[] = {"iqn.2000-01.a.b:d", "ANY"};
	static const char *const gone[] = {"iqn.2000-01.a.b:c", "ANY"};
	static const char *const bad_mask[] = {"10.0.0.0/99"};
	struct initiator_group *ig = world_ig(w, 1, name, 1, mask, 1);

	assert_int_equal(
		initiator_group_add(w->targets, ig, more, 2, bad_mask, 1, NULL),
		-EINVAL);
	assert_int_equal(ig->ninitiators, 1);
	assert_int_equal(
		initiator_group_remove(w->targets, ig, gone, 2, NULL, 0, NULL),
		-ENOENT);
	assert_int_equal(ig->ninitiators, 1);
	assert_string_equal(ig->initiators[0], name[0]);
	assert_int_equal(
		initiator_group_add(w->targets, ig, more, 2, NULL, 0, NULL), 0);
	/* In the order in which they came, whatever was taken out. */
	assert_int_equal(
		initiator_group_remove(w->targets, ig, name, 1, NULL, 0, NULL),
		0);
	assert_int_equal(ig->ninitiators, 2);
	assert_string_equal(ig->initiators[0], more[0]);
	assert_string_equal(ig->initiators[1], more[1]);
}

static void test_ig_limits(void **state)
{
	struct world *w = *state;
	static char texts[GROUP_ENTRIES_MAX + 1][40];
	const char *list[GROUP_ENTRIES_MAX + 1];
	static const char *const mask[] = {"ANY"};
	struct initiator_group *ig;

	for (int i = 0; i <= GROUP_ENTRIES_MAX; i++) {
		snprintf(texts[i], sizeof(texts[i]), "iqn.2000-01.a.b:%d", i);
		list[i] = texts[i];
	}
	assert_int_equal(initiator_group_create(w->targets, 1, list,
						GROUP_ENTRIES_MAX + 1, mask, 1,
						&ig, NULL),
			 -ENOSPC);
	assert_int_equal(initiator_group_create(w->targets, 0, list, 1, mask, 1,
						&ig, NULL),
			 -EINVAL);
	assert_int_equal(initiator_group_create(w->targets, 1, list, 0, mask, 1,
						&ig, NULL),
			 -EINVAL);
	assert_int_equal(initiator_group_create(w->targets, 1, list, 1, mask, 0,
						&ig, NULL),
			 -EINVAL);
	ig = world_ig(w, 1, list, GROUP_ENTRIES_MAX, mask, 1);
	assert_int_equal(initiator_group_add(w->targets, ig,
					     &list[GROUP_ENTRIES_MAX], 1, NULL,
					     0, NULL),
			 -ENOSPC);
	assert_int_equal(initiator_group_create(w->targets, 1, list, 1, mask, 1,
						&ig, NULL),
			 -EEXIST);
}

/* ---- Auth groups. */

static struct chap_secret secret(const char *user, const char *text,
				 const char *muser, const char *mtext)
{
	struct chap_secret s;

	str_copy(s.user, sizeof(s.user), user);
	str_copy(s.secret, sizeof(s.secret), text);
	str_copy(s.muser, sizeof(s.muser), muser);
	str_copy(s.msecret, sizeof(s.msecret), mtext);
	return s;
}

static int add(struct world *w, int32_t tag, struct chap_secret s)
{
	const char *why = NULL;
	int r = auth_group_add_secret(w->targets, tag, &s, &why);

	assert_true(r == 0 || why);
	return r;
}

static void test_secrets(void **state)
{
	struct world *w = *state;
	struct targets *t = w->targets;

	assert_int_equal(auth_group_create(t, 0, NULL), -EINVAL);
	assert_int_equal(auth_group_create(t, 9, NULL), 0);
	assert_int_equal(auth_group_create(t, 9, NULL), -EEXIST);
	assert_int_equal(add(w, 1, secret("u", "s", "", "")), -ENOENT);
	assert_int_equal(add(w, 9, secret("u", "s", "", "")), 0);
	assert_int_equal(add(w, 9, secret("u", "t", "", "")), -EEXIST);
	/* Users differ in case, as CHAP names do. */
	assert_int_equal(add(w, 9, secret("U", "t", "m", "n")), 0);
	assert_int_equal(add(w, 9, secret("", "t", "", "")), -EINVAL);
	assert_int_equal(add(w, 9, secret("x", "", "", "")), -EINVAL);
	assert_int_equal(add(w, 9, secret("x", "t", "m", "")), -EINVAL);
	assert_int_equal(add(w, 9, secret("x", "t", "", "n")), -EINVAL);
	assert_string_equal(auth_group_find(t, 9, "U")->msecret, "n");
	assert_null(auth_group_find(t, 9, "v"));
	assert_null(auth_group_find(t, 8, "u"));
	assert_int_equal(auth_group_remove_secret(t, 9, "u", NULL), 0);
	assert_int_equal(auth_group_remove_secret(t, 9, "u", NULL), -ENOENT);
	assert_string_equal(auth_group_secret(t, 9, 0)->user, "U");
	assert_null(auth_group_secret(t, 9, 1));
	assert_int_equal(auth_group_delete(t, 9, NULL), 0);
	assert_int_equal(auth_group_delete(t, 9, NULL), -ENOENT);
}

static void test_auth_order(void **state)
{
	struct world *w = *state;
	static const int32_t tags[] = {5, 1, 9, 3};
	static const int32_t sorted[] = {1, 3, 5, 9, 0};
	int32_t tag = 0;

	for (size_t i = 0; i < ARRAY_LEN(tags); i++)
		assert_int_equal(auth_group_create(w->targets, tags[i], NULL),
				 0);
	for (size_t i = 0; i < ARRAY_LEN(sorted); i++) {
		tag = auth_group_after(w->targets, tag);
		assert_int_equal(tag, sorted[i]);
	}
}

static void test_policies(void **state)
{
	for (int i = 0; i < 8; i++) {
		struct auth_policy p = {
			.disable_chap = i & 1,
			.require_chap = i & 2,
			.mutual_chap = i & 4,
		};
		/* {}, disable, require, require and mutual */
		bool good = i == 0 || i == 1 || i == 2 || i == 6;

		assert_int_equal(auth_policy_check(&p), good ? 0 : -EINVAL);
		p.chap_group = -1;
		assert_int_equal(auth_policy_check(&p), -EINVAL);
	}
}

int main(void)
{
#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_pg_tags),
		TEST(test_portals),
		TEST(test_portals_max),
		TEST(test_pg_outlives_delete),
		TEST(test_initiator_names),
		TEST(test_netmasks),
		TEST(test_edit_all_or_nothing),
		TEST(test_ig_limits),
		TEST(test_secrets),
		TEST(test_auth_order),
		TEST(test_policies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
