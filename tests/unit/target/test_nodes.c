/* SPDX-License-Identifier: BSD-3-Clause */
/* Target nodes: names, maps, redirection, and who may log in. */
#include "world.h"

/* A test that runs on the control reactor, from its loop. */
#define IN_LOOP(name)                             \
	static void name##_body(struct world *w); \
	static void name(void **state)            \
	{                                         \
		world_on(*state, name##_body);    \
	}                                         \
	static void name##_body(struct world *w)

static const struct {
	const char *name, *alias;
	int result;
	const char *full;
} nodes[] = {
	{"disk1", "An alias", 0, NODE_BASE ":disk1"},
	{"DISK1", "", -EEXIST, NULL},
	{NODE_BASE ":disk1", "", -EEXIST, NULL},
	{"Target3", NULL, 0, NODE_BASE ":Target3"},
	{"iqn.2001-04.com.example:x.y", "", 0, "iqn.2001-04.com.example:x.y"},
	{"eui.02004567A425678D", "", 0, "eui.02004567A425678D"},
	{"naa.52004567ba64678d", "", 0, "naa.52004567ba64678d"},
	{"", "", -EINVAL, NULL},
	{"a_b", "", -EINVAL, NULL},
	{"a b", "", -EINVAL, NULL},
	{"iqn.2001-04", "", -EINVAL, NULL},
	{"eui.0200", "", -EINVAL, NULL},
	{"bad-alias", "line\nbreak", -EINVAL, NULL},
};

IN_LOOP(test_names)
{

	for (size_t i = 0; i < ARRAY_LEN(nodes); i++) {
		struct target_node *n = NULL;
		const char *why = NULL;
		int r = target_node_create(w->targets, nodes[i].name,
					   nodes[i].alias, NODE_BASE, &n, &why);

		assert_int_equal(r, nodes[i].result);
		if (r < 0) {
			assert_non_null(why);
			continue;
		}
		assert_string_equal(n->name, nodes[i].full);
		assert_string_equal(scsi_device_name(n->device), nodes[i].full);
		assert_ptr_equal(target_node_find(w->targets, nodes[i].full),
				 n);
	}
}

IN_LOOP(test_name_length)
{
	char name[ISCSI_NAME_MAX + 2], alias[TARGET_ALIAS_MAX + 2];
	struct target_node *n;

	memset(name, 'a', sizeof(name));
	memcpy(name, NODE_BASE ":", strlen(NODE_BASE) + 1);
	name[ISCSI_NAME_MAX + 1] = '\0';
	assert_int_equal(
		target_node_create(w->targets, name, "", NODE_BASE, &n, NULL),
		-EINVAL);
	name[ISCSI_NAME_MAX] = '\0';
	memset(alias, 'b', sizeof(alias));
	alias[TARGET_ALIAS_MAX + 1] = '\0';
	assert_int_equal(target_node_create(w->targets, name, alias, NODE_BASE,
					    &n, NULL),
			 -EINVAL);
	alias[TARGET_ALIAS_MAX] = '\0';
	assert_int_equal(target_node_create(w->targets, name, alias, NODE_BASE,
					    &n, NULL),
			 0);
	/* The base counts too. */
	assert_int_equal(target_node_create(w->targets,
					    name + strlen(NODE_BASE), "",
					    NODE_BASE, &n, NULL),
			 -EINVAL);
}

static const char *const any[] = {"ANY"};

static struct target_node *make_node(struct world *w, const char *name)
{
	struct target_node *n = NULL;

	assert_int_equal(
		target_node_create(w->targets, name, "", NODE_BASE, &n, NULL),
		0);
	return n;
}

IN_LOOP(test_maps)
{
	struct target_node *n = make_node(w, "disk1");
	struct portal_group *pg = world_pg(w, 1, false);

	world_ig(w, 1, any, 1, any, 1);
	world_ig(w, 2, any, 1, any, 1);
	assert_int_equal(target_node_add_map(n, 2, 1, NULL), -ENOENT);
	assert_int_equal(target_node_add_map(n, 1, 3, NULL), -ENOENT);
	assert_int_equal(target_node_add_map(n, 1, 1, NULL), 0);
	assert_int_equal(target_node_add_map(n, 1, 1, NULL), -EEXIST);
	assert_int_equal(target_node_add_map(n, 1, 2, NULL), 0);
	assert_int_equal(pg->refs, 2);
	assert_int_equal(target_node_remove_map(n, 1, 1, NULL), 0);
	assert_int_equal(target_node_remove_map(n, 1, 1, NULL), -ENOENT);
	assert_int_equal(n->nmaps, 1);
	/* A group that goes takes its maps along. */
	initiator_group_delete(w->targets, initiator_group_find(w->targets, 2));
	assert_int_equal(n->nmaps, 0);
	assert_int_equal(pg->refs, 0);
	assert_int_equal(target_node_add_map(n, 1, 1, NULL), 0);
	portal_group_delete(w->targets, pg);
	assert_int_equal(n->nmaps, 0);
}

IN_LOOP(test_maps_max)
{
	struct target_node *n = make_node(w, "disk1");

	world_pg(w, 1, false);
	for (int i = 1; i <= TARGET_MAPS_MAX + 1; i++)
		world_ig(w, i, any, 1, any, 1);
	for (int i = 1; i <= TARGET_MAPS_MAX; i++)
		assert_int_equal(target_node_add_map(n, 1, i, NULL), 0);
	assert_int_equal(target_node_add_map(n, 1, TARGET_MAPS_MAX + 1, NULL),
			 -ENOSPC);
}

IN_LOOP(test_redirect)
{
	struct target_node *n = make_node(w, "disk1");
	struct portal_group *pg = world_pg(w, 1, false);
	struct portal_group *hidden = world_pg(w, 2, true);
	const char *why = NULL;

	world_ig(w, 1, any, 1, any, 1);
	portal_group_add_portal(w->targets, pg, "127.0.0.1", "3260", NULL);
	assert_int_equal(
		target_node_set_redirect(n, 1, "127.0.0.1", "3261", &why),
		-ENOENT);
	target_node_add_map(n, 1, 1, NULL);
	target_node_add_map(n, 2, 1, NULL);
	assert_int_equal(
		target_node_set_redirect(n, 2, "127.0.0.1", "3261", &why),
		-EINVAL);
	assert_int_equal(
		target_node_set_redirect(n, 1, "127.0.0.1", "3260", &why),
		-EINVAL);
	assert_int_equal(
		target_node_set_redirect(n, 1, "127.0.0.1", NULL, &why),
		-EINVAL);
	assert_int_equal(target_node_set_redirect(n, 1, "*", "3261", &why),
			 -EINVAL);
	assert_int_equal(target_node_set_redirect(n, 1, "::1", "3261", &why),
			 0);
	assert_int_equal(
		target_node_set_redirect(n, 1, "127.0.0.1", "3261", &why), 0);
	assert_string_equal(target_node_redirect(n, pg)->host, "127.0.0.1");
	assert_null(target_node_redirect(n, hidden));
	assert_int_equal(target_node_set_redirect(n, 1, NULL, NULL, &why), 0);
	assert_null(target_node_redirect(n, pg));
	/* It goes with the map. */
	target_node_set_redirect(n, 1, "127.0.0.1", "3261", NULL);
	target_node_remove_map(n, 1, 1, NULL);
	assert_null(target_node_redirect(n, pg));
}

/* ---- Access. Group 1: A, but from 10/8 only. Group 2: not B, then all. */

#define INIT_A "iqn.2000-01.a.b:a"
#define INIT_B "iqn.2000-01.a.b:b"
#define INIT_C "iqn.2000-01.a.b:c"

static const char *const names1[] = {INIT_A};
static const char *const masks1[] = {"10.0.0.0/8", "[2001:db8::]/32"};
static const char *const names2[] = {"!" INIT_B, "ANY"};
static const char *const masks2[] = {"192.168.0.0/16"};
static const char *const names3[] = {INIT_C, "!ANY"};

static const struct {
	int32_t groups[3]; /* mapped, in this order; 0 ends them */
	const char *initiator, *peer;
	enum target_access access;
} accesses[] = {
	{{1}, INIT_A, "10.1.2.3", TARGET_ALLOWED},
	{{1}, "IQN.2000-01.A.B:A", "10.1.2.3", TARGET_ALLOWED},
	{{1}, INIT_A, "[2001:db8::5]", TARGET_ALLOWED},
	{{1}, INIT_A, "[::ffff:10.1.2.3]", TARGET_ALLOWED},
	{{1}, INIT_A, "11.1.2.3", TARGET_DENIED},
	{{1}, INIT_C, "10.1.2.3", TARGET_DENIED},
	/* A name that matches with no mask: the next group is asked. */
	{{1, 2}, INIT_A, "192.168.1.1", TARGET_ALLOWED},
	{{2, 1}, INIT_A, "10.1.2.3", TARGET_ALLOWED},
	/* "!" denies at once, from anywhere, whatever comes later. */
	{{2}, INIT_B, "192.168.1.1", TARGET_DENIED},
	{{2, 4}, INIT_B, "192.168.1.1", TARGET_DENIED},
	{{4, 2}, INIT_B, "192.168.1.1", TARGET_ALLOWED},
	{{2}, INIT_C, "192.168.1.1", TARGET_ALLOWED},
	/* A name in front of "!ANY" still matches first. */
	{{3}, INIT_C, "1.1.1.1", TARGET_ALLOWED},
	{{3, 4}, INIT_A, "1.1.1.1", TARGET_DENIED},
	{{4}, "anything", "1.1.1.1", TARGET_ALLOWED},
	{{0}, INIT_A, "10.1.2.3", TARGET_DENIED},
};

static void make_groups(struct world *w)
{
	world_ig(w, 1, names1, 1, masks1, 2);
	world_ig(w, 2, names2, 2, masks2, 1);
	world_ig(w, 3, names3, 2, any, 1);
	world_ig(w, 4, any, 1, any, 1);
}

IN_LOOP(test_access)
{
	struct portal_group *pg = world_pg(w, 1, false);
	struct portal_group *other = world_pg(w, 2, false);
	struct target_node *n = make_node(w, "disk1");

	make_groups(w);
	for (size_t i = 0; i < ARRAY_LEN(accesses); i++) {
		struct sockaddr_storage peer = world_addr(accesses[i].peer);

		for (int g = 0; g < 3 && accesses[i].groups[g]; g++)
			assert_int_equal(
				target_node_add_map(n, 1, accesses[i].groups[g],
						    NULL),
				0);
		assert_int_equal(
			target_node_access(n, pg, accesses[i].initiator, &peer),
			accesses[i].access);
		assert_int_equal(target_node_access(n, other,
						    accesses[i].initiator,
						    &peer),
				 TARGET_DENIED);
		while (n->nmaps > 0)
			target_node_remove_map(n, 1, n->maps[0].ig->tag, NULL);
	}
}

IN_LOOP(test_visible)
{
	struct sockaddr_storage peer = world_addr("10.1.2.3");
	struct sockaddr_storage far = world_addr("11.1.2.3");
	struct portal_group *a = world_pg(w, 1, false);
	struct portal_group *b = world_pg(w, 3, false);
	struct target_node *n = make_node(w, "disk1");
	const struct portal_group *found[4];

	world_pg(w, 2, true);
	make_groups(w);
	target_node_add_map(n, 3, 1, NULL);
	target_node_add_map(n, 2, 4, NULL);
	target_node_add_map(n, 1, 1, NULL);
	target_node_add_map(n, 3, 4, NULL);
	assert_int_equal(target_node_visible(n, INIT_A, &peer, found, 4), 2);
	assert_ptr_equal(found[0], b);
	assert_ptr_equal(found[1], a);
	/* Not where it could not log in: SPDK forgets the netmask here. */
	assert_int_equal(target_node_visible(n, INIT_A, &far, found, 4), 1);
	assert_ptr_equal(found[0], b);
	assert_int_equal(target_node_visible(n, INIT_A, &peer, found, 1), 1);
	n->removing = true;
	assert_int_equal(target_node_visible(n, INIT_A, &peer, found, 4), 0);
}

/* ---- The end. */

struct ending {
	struct scsi_change change;
	bool done;
};

static void ended(struct scsi_change *change)
{
	container_of(change, struct ending, change)->done = true;
}

static struct ending ending;

static void destroy_first(struct world *w)
{
	struct target_node *n = make_node(w, "disk1");

	make_groups(w);
	target_node_add_map(n, 1, 4, NULL);
	target_node_destroy(target_node_first(w->targets), &ending.change);
	/* The name is free at once. */
	make_node(w, "disk1");
}

static void test_destroy(void **state)
{
	struct world *w = *state;
	struct portal_group *pg = world_pg(w, 1, false);

	ending = (struct ending){.change.done = ended};
	world_on(w, destroy_first);
	assert_true(ending.done);
	assert_int_equal(ending.change.result, 0);
	assert_int_equal(pg->refs, 0);
	assert_non_null(target_node_find(w->targets, NODE_BASE ":disk1"));
}

int main(void)
{
#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_names),    TEST(test_name_length), TEST(test_maps),
		TEST(test_maps_max), TEST(test_redirect),    TEST(test_access),
		TEST(test_visible),  TEST(test_destroy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
