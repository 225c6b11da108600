/* SPDX-License-Identifier: BSD-3-Clause */
/* SendTargets (RFC 7143, Appendix C) over portal groups, maps and filters. */
#include "../unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "bdev/bdev.h"
#include "iscsi/discovery.h"
#include "reactor/net.h"
#include "reactor/reactor_sim.h"

#define HOST	 "iqn.2000-01.com.example:host"
#define LIMIT_NS (1000ull * 1000 * 1000)

struct world {
	struct reactors *set;
	struct bdev_registry *bdevs;
	struct scsi_server *scsi;
	struct targets *t;
	struct sockaddr_storage peer, local;
	char said[65536];
};

static struct sockaddr_storage address(const char *host)
{
	struct sockaddr_storage a;
	socklen_t len;

	assert_int_equal(addr_parse(host, "3260", &a, &len), 0);
	return a;
}

static void portals(struct world *w, int32_t tag, bool is_private,
		    const char *const *hosts, uint32_t n)
{
	struct portal_group *pg;

	assert_int_equal(
		portal_group_create(w->t, tag, is_private, false, &pg, NULL),
		0);
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(portal_group_add_portal(w->t, pg, hosts[i],
							 "3260", NULL),
				 0);
}

static void initiators(struct world *w, int32_t tag, const char *name,
		       const char *netmask)
{
	struct initiator_group *ig;

	assert_int_equal(initiator_group_create(w->t, tag, &name, 1, &netmask,
						1, &ig, NULL),
			 0);
}

static struct target_node *node(struct world *w, const char *name)
{
	struct target_node *n;

	assert_int_equal(target_node_create(w->t, name, "",
					    "iqn.2000-01.com.example", &n,
					    NULL),
			 0);
	return n;
}

static bool never(void *ctx)
{
	return false;
}

/* What target nodes do, they do from the loop of the control reactor. */
struct order {
	struct mail mail;
	struct scsi_change change;
	struct target_node *node;
	int32_t pg, ig;
	bool done;
};

static void run_order(struct world *w, struct order *o)
{
	mail_post(reactors_get(w->set, 0), &o->mail);
	sim_run_until(w->set, never, NULL, LIMIT_NS);
	assert_true(o->done);
}

static void run_map(struct mail *mail)
{
	struct order *o = container_of(mail, struct order, mail);

	assert_int_equal(target_node_add_map(o->node, o->pg, o->ig, NULL), 0);
	o->done = true;
}

static void map(struct world *w, struct target_node *n, int32_t pg, int32_t ig)
{
	struct order o = {.mail.run = run_map, .node = n, .pg = pg, .ig = ig};

	run_order(w, &o);
}

static void node_destroyed(struct scsi_change *change)
{
	container_of(change, struct order, change)->done = true;
}

static void run_destroy(struct mail *mail)
{
	struct order *o = container_of(mail, struct order, mail);

	target_node_destroy(o->node, &o->change);
}

/* Groups 1 (two addresses), 2 (private), 3 (wildcards), 4 (waits). */
static struct world *world_new(void)
{
	static const struct sim_options options = {.seed = 1, .nreactors = 1};
	static const char *const one[] = {"192.0.2.1", "[2001:db8::1]"};
	static const char *const two[] = {"192.0.2.2"};
	static const char *const three[] = {"*", "[*]"};
	static const char *const four[] = {"192.0.2.4"};
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	assert_int_equal(sim_create(&options, &w->set), 0);
	assert_int_equal(bdev_registry_create(w->set, &w->bdevs), 0);
	assert_int_equal(scsi_server_create(w->set, w->bdevs, &w->scsi), 0);
	assert_int_equal(targets_create(w->scsi, &w->t), 0);
	portals(w, 1, false, one, 2);
	portals(w, 2, true, two, 1);
	portals(w, 3, false, three, 2);
	portals(w, 4, false, four, 1);
	portal_group_find(w->t, 4)->wait = true;
	initiators(w, 1, "ANY", "ANY");
	initiators(w, 2, HOST, "192.0.2.0/24");
	w->peer = address("192.0.2.100");
	w->local = address("192.0.2.50");
	return w;
}

static void world_free(struct world *w)
{
	struct target_node *n;

	while ((n = target_node_first(w->t)) != NULL) {
		struct order o = {.mail.run = run_destroy,
				  .change.done = node_destroyed,
				  .node = n};

		run_order(w, &o);
	}
	targets_destroy(w->t);
	scsi_server_destroy(w->scsi);
	bdev_registry_destroy(w->bdevs);
	reactors_destroy(w->set);
	free(w);
}

static const char *ask(struct world *w, const char *which,
		       const struct target_node *own, const char *initiator)
{
	struct buf out;

	buf_init(&out, sizeof(w->said) - 1);
	assert_int_equal(send_targets(w->t, which, own, initiator, &w->peer,
				      &w->local, &out),
			 0);
	assert_false(out.failed);
	if (out.len > 0)
		memcpy(w->said, out.data, out.len);
	w->said[out.len] = '\0';
	for (size_t i = 0; i < out.len; i++) {
		if (w->said[i] == '\0')
			w->said[i] = ';';
	}
	buf_deinit(&out);
	return w->said;
}

#define NAME(x) "TargetName=iqn.2000-01.com.example:" x ";"
#define ADDRESSES_1                       \
	"TargetAddress=192.0.2.1:3260,1;" \
	"TargetAddress=[2001:db8::1]:3260,1;"

static void test_all(void **state)
{
	struct world *w = world_new();
	struct target_node *a, *b;

	assert_string_equal(ask(w, "All", NULL, HOST), "");
	a = node(w, "a");
	assert_string_equal(ask(w, "All", NULL, HOST), "");
	map(w, a, 1, 1);
	b = node(w, "b");
	map(w, b, 3, 1);
	map(w, b, 1, 1);
	assert_string_equal(
		ask(w, "All", NULL, HOST),
		NAME("a") ADDRESSES_1 NAME(
			"b") "TargetAddress=192.0.2.50:3260,3;" ADDRESSES_1);
	/* In any case, as others take it. */
	assert_string_equal(
		ask(w, "ALL", NULL, HOST),
		NAME("a") ADDRESSES_1 NAME(
			"b") "TargetAddress=192.0.2.50:3260,3;" ADDRESSES_1);
	world_free(w);
}

/* A wildcard is shown as the address that the initiator came to. */
static void test_wildcards(void **state)
{
	struct world *w = world_new();
	struct target_node *a = node(w, "a");

	map(w, a, 3, 1);
	assert_string_equal(ask(w, "All", NULL, HOST),
			    NAME("a") "TargetAddress=192.0.2.50:3260,3;");
	w->local = address("[2001:db8::50]");
	assert_string_equal(ask(w, "All", NULL, HOST),
			    NAME("a") "TargetAddress=[2001:db8::50]:3260,3;");
	w->local = address("[::ffff:192.0.2.51]");
	assert_string_equal(ask(w, "All", NULL, HOST),
			    NAME("a") "TargetAddress=192.0.2.51:3260,3;");
	world_free(w);
}

/* What cannot be logged in to is not shown: by name, netmask, group. */
static void test_filters(void **state)
{
	struct world *w = world_new();
	struct target_node *a = node(w, "a");
	struct target_node *b = node(w, "b");

	map(w, a, 1, 2);
	map(w, b, 2, 1);
	assert_string_equal(ask(w, "All", NULL, HOST), NAME("a") ADDRESSES_1);
	assert_string_equal(ask(w, "All", NULL, "iqn.2000-01.com.example:x"),
			    "");
	w->peer = address("198.51.100.1");
	assert_string_equal(ask(w, "All", NULL, HOST), "");

	/* Nor what is not open, or is going. */
	w->peer = address("192.0.2.100");
	map(w, b, 4, 1);
	assert_string_equal(ask(w, "All", NULL, HOST), NAME("a") ADDRESSES_1);
	a->removing = true;
	assert_string_equal(ask(w, "All", NULL, HOST), "");
	portal_group_find(w->t, 4)->wait = false;
	assert_string_equal(ask(w, "All", NULL, HOST),
			    NAME("b") "TargetAddress=192.0.2.4:3260,4;");
	world_free(w);
}

static void test_one_name(void **state)
{
	struct world *w = world_new();
	struct target_node *a = node(w, "a");
	struct target_node *b = node(w, "b");

	map(w, a, 1, 1);
	map(w, b, 1, 2);
	assert_string_equal(ask(w, "iqn.2000-01.com.example:b", NULL, HOST),
			    NAME("b") ADDRESSES_1);
	assert_string_equal(ask(w, "IQN.2000-01.com.example:B", NULL, HOST),
			    NAME("b") ADDRESSES_1);
	assert_string_equal(ask(w, "iqn.2000-01.com.example:c", NULL, HOST),
			    "");
	assert_string_equal(ask(w, "iqn.2000-01.com.example:b", NULL,
				"iqn.2000-01.com.example:x"),
			    "");
	world_free(w);
}

/* A normal session speaks of its own target, and of no other. */
static void test_normal_session(void **state)
{
	struct world *w = world_new();
	struct target_node *a = node(w, "a");
	struct target_node *b = node(w, "b");
	struct buf out;

	map(w, a, 1, 1);
	map(w, b, 1, 1);
	assert_string_equal(ask(w, "", a, HOST), NAME("a") ADDRESSES_1);
	assert_string_equal(ask(w, "iqn.2000-01.com.example:a", a, HOST),
			    NAME("a") ADDRESSES_1);
	assert_string_equal(ask(w, "iqn.2000-01.com.example:b", a, HOST), "");

	buf_init(&out, 1000);
	assert_int_equal(
		send_targets(w->t, "All", a, HOST, &w->peer, &w->local, &out),
		-EINVAL);
	assert_int_equal(
		send_targets(w->t, "", NULL, HOST, &w->peer, &w->local, &out),
		-EINVAL);
	assert_int_equal(out.len, 0);
	buf_deinit(&out);
	world_free(w);
}

/* What does not fit is not cut somewhere: the buffer says that it failed. */
static void test_limit(void **state)
{
	struct world *w = world_new();
	struct target_node *a = node(w, "a");
	struct buf out;

	map(w, a, 1, 1);
	buf_init(&out, 50);
	assert_int_equal(send_targets(w->t, "All", NULL, HOST, &w->peer,
				      &w->local, &out),
			 0);
	assert_true(out.failed);
	buf_deinit(&out);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all),
		cmocka_unit_test(test_wildcards),
		cmocka_unit_test(test_filters),
		cmocka_unit_test(test_one_name),
		cmocka_unit_test(test_normal_session),
		cmocka_unit_test(test_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
