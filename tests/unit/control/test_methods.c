/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Methods on a whole target in the simulator: what they answer, and what has
 * become of the target.
 */
#include "../unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "control/control_priv.h"
#include "control/jsonrpc.h"
#include "reactor/reactor_sim.h"

#define LIMIT_NS (100ull * 1000 * 1000 * 1000)
#define IQN	 "iqn.2016-06.io.spdk:"

struct world {
	struct reactors *set;
	struct bdev_registry *bdevs;
	struct scsi_server *scsi;
	struct targets *targets;
	struct iscsi_server *iscsi;
	struct control *control;
	struct jsonrpc rpc;
	struct buf out;
	const char *in;
	struct control_start start;
	struct control_stop stop;
	const struct config *cfg;
	int started; /* 1: not yet */
	bool stopped;
	struct mail mail;
	void (*fn)(struct world *w);
};

static bool never(void *ctx)
{
	return false;
}

static void run_mail(struct mail *mail)
{
	struct world *w = container_of(mail, struct world, mail);

	w->fn(w);
}

static void on_main(struct world *w, void (*fn)(struct world *w))
{
	w->fn = fn;
	w->mail.run = run_mail;
	mail_post(reactors_main(w->set), &w->mail);
	sim_run_until(w->set, never, NULL, LIMIT_NS);
}

static void rpc_run(struct jsonrpc *j, struct rpc_call *call)
{
	rpc_start(call);
}

static void rpc_keep(struct jsonrpc *j, char *text, size_t len)
{
	struct world *w = container_of(j, struct world, rpc);

	buf_append(&w->out, text, len);
	free(text);
}

static const struct jsonrpc_ops rpc_ops = {
	.start = rpc_run,
	.send = rpc_keep,
};

static void feed(struct world *w)
{
	jsonrpc_feed(&w->rpc, (const uint8_t *)w->in, strlen(w->in));
}

/* The answer to one request: to be freed. */
static json_t *call(struct world *w, const char *method, const char *params)
{
	char text[8192];
	json_t *answer;

	snprintf(text, sizeof(text),
		 "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\"%s%s}", method,
		 params ? ",\"params\":" : "", params ? params : "");
	buf_reset(&w->out);
	w->in = text;
	on_main(w, feed);
	answer = json_loadb((const char *)w->out.data, w->out.len, 0, NULL);
	assert_non_null(answer);
	return answer;
}

/* The call succeeds, with this result ("true", ...). */
static void good(struct world *w, const char *method, const char *params,
		 const char *result)
{
	json_t *answer = call(w, method, params);
	char *text = json_dumps(json_object_get(answer, "result"),
				JSON_COMPACT | JSON_ENCODE_ANY);

	if (!text) {
		text = json_dumps(answer, JSON_COMPACT);
		fail_msg("%s: %s", method, text);
	}
	assert_string_equal(text, result);
	free(text);
	json_decref(answer);
}

/* The call fails, with this code, and these words in its message. */
static void bad(struct world *w, const char *method, const char *params,
		int code, const char *words)
{
	json_t *answer = call(w, method, params);
	json_t *error = json_object_get(answer, "error");
	const char *message =
		json_string_value(json_object_get(error, "message"));

	assert_non_null(message);
	assert_int_equal(json_integer_value(json_object_get(error, "code")),
			 code);
	if (!strstr(message, words))
		fail_msg("%s: '%s' without '%s'", method, message, words);
	json_decref(answer);
}

static void started(struct control_start *start, int error)
{
	container_of(start, struct world, start)->started = error;
}

static void begin(struct world *w)
{
	w->started = 1;
	w->start.done = w->start.failed = started;
	control_start(w->control, w->cfg, &w->start);
}

static void stopped(struct control_stop *stop)
{
	container_of(stop, struct world, stop)->stopped = true;
}

static void end(struct world *w)
{
	w->stop.done = stopped;
	control_stop(w->control, 100, &w->stop);
}

static struct world *world_new(bool wait_for_rpc, const struct config *cfg)
{
	struct sim_options sim = {.seed = 3, .nreactors = 2};
	struct world *w = calloc(1, sizeof(*w));
	struct control_options opt;

	assert_non_null(w);
	assert_int_equal(sim_create(&sim, &w->set), 0);
	assert_int_equal(bdev_registry_create(w->set, &w->bdevs), 0);
	assert_int_equal(scsi_server_create(w->set, w->bdevs, &w->scsi), 0);
	assert_int_equal(targets_create(w->scsi, &w->targets), 0);
	assert_int_equal(iscsi_server_create(w->set, w->targets, &w->iscsi), 0);
	opt = (struct control_options){
		.reactors = w->set,
		.bdevs = w->bdevs,
		.scsi = w->scsi,
		.iscsi = w->iscsi,
		.version = "1.2.3",
		.wait_for_rpc = wait_for_rpc,
	};
	assert_int_equal(control_create(&opt, &w->control), 0);
	buf_init(&w->out, 1 << 20);
	jsonrpc_init(&w->rpc, &rpc_ops, w->control);
	w->cfg = cfg;
	on_main(w, begin);
	return w;
}

/* Whatever was set up: it can be taken down, and nothing is left. */
static void world_free(struct world *w)
{
	on_main(w, end);
	assert_true(w->stopped);
	assert_null(bdev_first(w->bdevs));
	assert_null(target_node_first(w->targets));
	jsonrpc_deinit(&w->rpc);
	buf_deinit(&w->out);
	control_destroy(w->control);
	iscsi_server_destroy(w->iscsi);
	targets_destroy(w->targets);
	scsi_server_destroy(w->scsi);
	bdev_registry_destroy(w->bdevs);
	reactors_destroy(w->set);
	free(w);
}

static int setup(void **state)
{
	*state = world_new(false, NULL);
	return 0;
}

static int teardown(void **state)
{
	world_free(*state);
	return 0;
}

/* ---- The guide's four calls, in the words of 18.01. */

#define PG1 \
	"{\"tag\":1,\"portals\":[{\"host\":\"127.0.0.1\",\"port\":\"3260\"}]}"
#define IG2 \
	"{\"tag\":2,\"initiators\":[\"ANY\"],\"netmasks\":[\"127.0.0.1/32\"]}"
#define MYBDEV "{\"name\":\"MyBdev\",\"num_blocks\":131072,\"block_size\":512}"
#define TARGET3                                                        \
	"{\"name\":\"Target3\",\"alias_name\":\"Target3_alias\","      \
	"\"pg_tags\":[1],\"ig_tags\":[2],\"bdev_names\":[\"MyBdev\"]," \
	"\"lun_ids\":[0],\"queue_depth\":64,\"chap_disabled\":0,"      \
	"\"chap_required\":0,\"chap_mutual\":0,\"chap_auth_group\":1}"
#define TARGET3_NOW                                           \
	"{\"name\":\"Target4\",\"alias_name\":\"\","          \
	"\"pg_ig_maps\":[{\"pg_tag\":1,\"ig_tag\":2}],"       \
	"\"luns\":[{\"bdev_name\":\"MyBdev\",\"lun_id\":3}]," \
	"\"queue_depth\":999,\"disable_chap\":true}"

static void guide(struct world *w)
{
	good(w, "add_portal_group", PG1, "true");
	good(w, "add_initiator_group", IG2, "true");
	good(w, "construct_malloc_bdev", MYBDEV, "[\"MyBdev\"]");
	good(w, "construct_target_node", TARGET3, "true");
}

static void test_guide(void **state)
{
	struct world *w = *state;

	guide(w);
	good(w, "iscsi_create_target_node", TARGET3_NOW, "true");
	good(w, "iscsi_get_target_nodes", NULL,
	     "[{\"name\":\"" IQN "Target3\",\"pg_ig_maps\":[{\"pg_tag\":1,"
	     "\"ig_tag\":2}],\"luns\":[{\"bdev_name\":\"MyBdev\",\"lun_id\":0}]"
	     ","
	     "\"queue_depth\":64,\"header_digest\":false,\"data_digest\":false,"
	     "\"alias_name\":\"Target3_alias\",\"disable_chap\":false,"
	     "\"require_chap\":false,\"mutual_chap\":false,\"chap_group\":1},"
	     "{\"name\":\"" IQN "Target4\",\"pg_ig_maps\":[{\"pg_tag\":1,"
	     "\"ig_tag\":2}],\"luns\":[{\"bdev_name\":\"MyBdev\",\"lun_id\":3}]"
	     ","
	     "\"queue_depth\":64,\"header_digest\":false,\"data_digest\":false,"
	     "\"disable_chap\":true,\"require_chap\":false,"
	     "\"mutual_chap\":false,\"chap_group\":0}]");
	good(w, "get_portal_groups", NULL,
	     "[{\"portals\":[{\"host\":\"127.0.0.1\",\"port\":\"3260\","
	     "\"cpumask\":\"0x3\"}],\"tag\":1,\"private\":false}]");
	good(w, "get_initiator_groups", NULL,
	     "[{\"initiators\":[\"ANY\"],\"tag\":2,"
	     "\"netmasks\":[\"127.0.0.1/32\"]}]");
}

/* ---- Faults: the code, and words that say which parameter. */

static const struct {
	const char *method, *params;
	int code;
	const char *words;
} faults[] = {
	{"nosuch", NULL, -32601, "Method not found"},
	{"iscsi_get_target_nodes", "{\"a\":1}", -32602,
	 "requires no parameters"},
	{"iscsi_create_portal_group", NULL, -32602, "'tag' is missing"},
	{"iscsi_create_portal_group", PG1, -32602, "exists already"},
	{"iscsi_create_portal_group",
	 "{\"tag\":2,\"portals\":[{\"host\":\"127.0.0.1\",\"port\":\"3260\"}]}",
	 -32602, "in use"},
	{"iscsi_create_portal_group",
	 "{\"tag\":2,\"portals\":[{\"host\":\"1.1.1.1\"}]}", -32602,
	 "'port' is missing"},
	{"iscsi_create_portal_group", "{\"tag\":2,\"portals\":[]}", -32602,
	 "'portals'"},
	{"iscsi_delete_portal_group", "{\"tag\":9}", -32602, "does not exist"},
	{"iscsi_create_initiator_group",
	 "{\"tag\":3,\"initiators\":[\"a_b\"],\"netmasks\":[\"ANY\"]}", -32602,
	 "Invalid parameters"},
	{"iscsi_initiator_group_remove_initiators",
	 "{\"tag\":2,\"initiators\":[\"!ANY\"]}", -32602, "not in the group"},
	{"bdev_malloc_create", MYBDEV, -EEXIST, "File exists"},
	{"construct_malloc_bdev", MYBDEV, -32602, ""},
	{"bdev_malloc_create", "{\"num_blocks\":8,\"block_size\":500}", -32602,
	 "block"},
	{"bdev_malloc_delete", "{\"name\":\"x\"}", -ENODEV, "No such device"},
	{"bdev_null_delete", "{\"name\":\"MyBdev\"}", -32602, "malloc"},
	{"bdev_null_resize", "{\"name\":\"MyBdev\",\"new_size\":1}", -32602,
	 "malloc"},
	{"bdev_get_bdevs", "{\"name\":\"x\"}", -ENODEV, "No such device"},
	{"get_bdevs", "{\"name\":\"x\"}", -32602, "no such block device"},
	{"iscsi_create_target_node", TARGET3, -32602, "exists already"},
	{"iscsi_create_target_node",
	 "{\"name\":\"t\",\"alias_name\":\"\",\"queue_depth\":1}", -32602,
	 "pg_ig_maps"},
	{"iscsi_create_target_node",
	 "{\"name\":\"t\",\"alias_name\":\"\",\"queue_depth\":1,"
	 "\"pg_ig_maps\":[],\"pg_tags\":[1],\"ig_tags\":[1],\"luns\":[]}",
	 -32602, "pg_ig_maps"},
	{"iscsi_create_target_node",
	 "{\"name\":\"t\",\"alias_name\":\"\",\"queue_depth\":1,"
	 "\"pg_tags\":[1],\"ig_tags\":[1,2],\"luns\":[]}",
	 -32602, "differ in length"},
	{"iscsi_create_target_node",
	 "{\"name\":\"t\",\"alias_name\":\"\",\"queue_depth\":1,"
	 "\"pg_ig_maps\":[{\"pg_tag\":1,\"ig_tag\":7}],\"luns\":[]}",
	 -32602, "map 1:7"},
	{"iscsi_create_target_node",
	 "{\"name\":\"t\",\"alias_name\":\"\",\"queue_depth\":1,"
	 "\"pg_ig_maps\":[{\"pg_tag\":1,\"ig_tag\":2}],"
	 "\"luns\":[{\"bdev_name\":\"MyBdev\",\"lun_id\":0},"
	 "{\"bdev_name\":\"nosuch\",\"lun_id\":1}]}",
	 -32602, "nosuch"},
	{"iscsi_create_target_node",
	 "{\"name\":\"t\",\"alias_name\":\"\",\"queue_depth\":1,"
	 "\"pg_ig_maps\":[],\"luns\":[{\"bdev_name\":\"MyBdev\","
	 "\"lun_id\":256}]}",
	 -32602, "'lun_id'"},
	{"iscsi_create_target_node",
	 "{\"name\":\"t\",\"alias_name\":\"\",\"queue_depth\":1,"
	 "\"pg_ig_maps\":[],\"luns\":[],\"mutual_chap\":true}",
	 -32602, "Invalid combination of CHAP params"},
	{"iscsi_delete_target_node", "{\"name\":\"x\"}", -ENOENT,
	 "No such file or directory"},
	{"delete_target_node", "{\"name\":\"x\"}", -32602, ""},
	{"iscsi_target_node_add_lun",
	 "{\"name\":\"" IQN "Target3\",\"bdev_name\":\"MyBdev\",\"lun_id\":0}",
	 -EEXIST, "taken"},
	{"iscsi_target_node_remove_lun",
	 "{\"name\":\"" IQN "Target3\",\"lun_id\":5}", -ENOENT, ""},
	{"iscsi_target_node_add_pg_ig_maps",
	 "{\"name\":\"" IQN "Target3\","
	 "\"pg_ig_maps\":[{\"pg_tag\":1,\"ig_tag\":2}]}",
	 -32602, "mapped already"},
	{"iscsi_set_options", "{\"max_sessions\":0}", -32602,
	 "'max_sessions' is not 1..65535"},
	{"iscsi_set_options",
	 "{\"first_burst_length\":8192,\"max_burst_length\":4096}", -32602,
	 "first_burst_length"},
	{"iscsi_set_options", "{\"auth_file\":\"/nonexistent/auth\"}", -32602,
	 "/nonexistent/auth"},
	{"iscsi_set_options", "{\"node_base\":\"bad\"}", -32602, ""},
	{"iscsi_set_discovery_auth",
	 "{\"disable_chap\":true,\"require_chap\":true}", -32602,
	 "Invalid combination"},
	{"iscsi_delete_auth_group", "{\"tag\":1}", -32602, "does not exist"},
	{"iscsi_auth_group_add_secret",
	 "{\"tag\":1,\"user\":\"u\",\"secret\":\"s\"}", -32602,
	 "does not exist"},
	{"log_set_level", "{\"level\":\"LOUD\"}", -32602, "LOUD"},
	{"log_set_flag", "{\"flag\":\"nosuch\"}", -32602, "nosuch"},
	{"spdk_kill_instance", "{\"sig_name\":\"SIGWHAT\"}", -32602, "SIGWHAT"},
	{"framework_get_config", "{\"name\":\"nvmf\"}", -32602, "nvmf"},
	{"framework_start_init", NULL, -1, "Invalid state"},
};

static void test_faults(void **state)
{
	struct world *w = *state;

	guide(w);
	for (size_t i = 0; i < ARRAY_LEN(faults); i++)
		bad(w, faults[i].method, faults[i].params, faults[i].code,
		    faults[i].words);
	/* None of them has left anything behind. */
	assert_null(
		target_node_next(w->targets, target_node_first(w->targets)));
	assert_null(portal_group_find(w->targets, 2));
	assert_null(initiator_group_find(w->targets, 3));
}

/* ---- LUNs, deletion. */

static void test_luns(void **state)
{
	struct world *w = *state;
	struct target_node *n;

	guide(w);
	n = target_node_find(w->targets, IQN "Target3");
	good(w, "bdev_null_create",
	     "{\"name\":\"N\",\"num_blocks\":2048,\"block_size\":512}",
	     "\"N\"");
	/* The lowest that is free; 0 is a LUN like any other. */
	good(w, "target_node_add_lun",
	     "{\"name\":\"" IQN "Target3\",\"bdev_name\":\"N\"}", "true");
	assert_string_equal(scsi_device_lun_bdev(n->device, 1), "N");
	good(w, "iscsi_target_node_remove_lun",
	     "{\"name\":\"" IQN "Target3\",\"lun_id\":0}", "true");
	assert_null(scsi_device_lun_bdev(n->device, 0));
	good(w, "iscsi_target_node_add_lun",
	     "{\"name\":\"" IQN "TARGET3\",\"bdev_name\":\"MyBdev\","
	     "\"lun_id\":0}",
	     "true");
	good(w, "bdev_null_resize", "{\"name\":\"N\",\"new_size\":3}", "true");
	assert_int_equal(bdev_find(w->bdevs, "N")->nblocks, 6144);
	/* The answer comes when it is gone, from every target. */
	good(w, "delete_bdev", "{\"name\":\"N\"}", "true");
	assert_null(bdev_find(w->bdevs, "N"));
	assert_null(scsi_device_lun_bdev(n->device, 1));
	good(w, "delete_target_node", "{\"name\":\"" IQN "Target3\"}", "true");
	assert_null(target_node_first(w->targets));
	good(w, "iscsi_delete_portal_group", "{\"tag\":1}", "true");
	good(w, "iscsi_create_portal_group", PG1, "true");
}

/* ---- Secrets go in, and do not come out. */

static void test_secrets(void **state)
{
	struct world *w = *state;
	json_t *answer;
	char *text;

	good(w, "iscsi_create_auth_group",
	     "{\"tag\":5,\"secrets\":[{\"user\":\"user1\","
	     "\"secret\":\"hidden1\",\"muser\":\"target1\","
	     "\"msecret\":\"hidden2\"}]}",
	     "true");
	good(w, "iscsi_get_auth_groups", NULL,
	     "[{\"secrets\":[{\"user\":\"user1\",\"muser\":\"target1\"}],"
	     "\"tag\":5}]");
	assert_string_equal(auth_group_find(w->targets, 5, "user1")->secret,
			    "hidden1");
	answer = call(w, "save_config", NULL);
	text = json_dumps(answer, 0);
	assert_null(strstr(text, "hidden"));
	assert_non_null(strstr(text, "iscsi_create_auth_group"));
	free(text);
	json_decref(answer);
	good(w, "iscsi_auth_group_remove_secret",
	     "{\"tag\":5,\"user\":\"user1\"}", "true");
	good(w, "iscsi_delete_auth_group", "{\"tag\":5}", "true");
}

static char *auth_file(const char *text, mode_t mode)
{
	char *path = strdup("/tmp/test_methods.XXXXXX");
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
	return path;
}

static void set_auth_file(struct world *w, const char *text, mode_t mode,
			  const char *complaint)
{
	char *path = auth_file(text, mode), params[128];

	snprintf(params, sizeof(params), "{\"auth_file\":\"%s\"}", path);
	if (complaint)
		bad(w, "iscsi_set_options", params, -32602, complaint);
	else
		good(w, "iscsi_set_options", params, "true");
	unlink(path);
	free(path);
}

static void test_auth_file(void **state)
{
	static const char first[] = "[AuthGroup1]\nAuth u1 s1\n"
				    "[AuthGroup2]\nComment x\n"
				    "Auth \"u 2\" \"s 2\" m2 t2\n";
	struct world *w = *state;
	struct targets *t = w->targets;

	set_auth_file(w, first, 0600, NULL);
	assert_string_equal(auth_group_find(t, 1, "u1")->secret, "s1");
	assert_string_equal(auth_group_find(t, 2, "u 2")->msecret, "t2");
	/* One that is bad changes nothing. */
	set_auth_file(w, first, 0604, "open to everybody");
	set_auth_file(w, "[AuthGroup3]\nAuth u\n", 0600, ":2: Auth needs");
	set_auth_file(w, "[AuthGroup0]\nAuth u s\n", 0600, ":1: section");
	set_auth_file(w, "[AuthGroup3]\n\nAuht u s\n", 0600,
		      ":3: unknown key 'Auht'");
	set_auth_file(w, "[AuthGroup3]\nAuth u s\nAuth u t\n", 0600, ":3: ");
	assert_non_null(auth_group_find(t, 1, "u1"));
	assert_null(auth_group_find(t, 3, "u"));
	/* A new one takes the place of the old one. */
	set_auth_file(w, "[AuthGroup1]\nAuth u9 s9\n", 0600, NULL);
	assert_null(auth_group_find(t, 1, "u1"));
	assert_null(auth_group_find(t, 2, "u 2"));
	assert_non_null(auth_group_find(t, 1, "u9"));
}

/* ---- States, and the configuration applied. */

static void test_wait_for_rpc(void **state)
{
	struct world *w = world_new(true, NULL);
	json_t *answer;

	assert_int_equal(w->started, 0);
	bad(w, "iscsi_create_portal_group", PG1, -1, "Invalid state");
	good(w, "iscsi_set_options", "{\"max_sessions\":5}", "true");
	assert_int_equal(iscsi_server_options(w->iscsi)->max_sessions, 5);
	/* It waits, and is answered when the start is complete. */
	w->in = "{\"id\":7,\"method\":\"framework_wait_init\"}";
	buf_reset(&w->out);
	on_main(w, feed);
	assert_int_equal(w->out.len, 0);
	answer = call(w, "rpc_get_methods", "{\"current\":true}");
	assert_non_null(answer);
	json_decref(answer);
	w->in = "{\"id\":8,\"method\":\"framework_start_init\"}";
	buf_reset(&w->out);
	on_main(w, feed);
	buf_append_byte(&w->out, '\0');
	assert_string_equal((const char *)w->out.data,
			    "{\"jsonrpc\":\"2.0\",\"id\":8,\"result\":true}\n"
			    "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":true}\n");
	good(w, "iscsi_create_portal_group", PG1, "true");
	world_free(w);
}

/* The client does not get to see it end: nothing is left hanging. */
static void test_stop_while_waiting(void **state)
{
	struct world *w = world_new(true, NULL);

	w->in = "{\"id\":7,\"method\":\"framework_wait_init\"}";
	on_main(w, feed);
	world_free(w);
}

static struct config *parse_config(const char *text)
{
	struct conf_faults f;
	struct config *cfg = NULL;

	conf_faults_init(&f);
	assert_int_equal(config_parse("f", text, strlen(text), &f, &cfg), 0);
	conf_faults_deinit(&f);
	return cfg;
}

#define CONF_GROUPS                                           \
	"[PortalGroup1]\nPortal DA1 127.0.0.1:3260\n"         \
	"[InitiatorGroup1]\nInitiatorName ANY\nNetmask ANY\n" \
	"[Malloc]\nNumberOfLuns 1\nLunSizeInMB 1\n"

#define CONF_NODE(lun)                                                        \
	"[TargetNode1]\nTargetName d\nMapping PortalGroup1 InitiatorGroup1\n" \
	"LUN0 " lun "\n"

static void test_config(void **state)
{
	struct config *cfg = parse_config(CONF_GROUPS CONF_NODE("Malloc0"));
	struct world *w = world_new(false, cfg);
	struct target_node *n;
	struct portal *p;

	assert_int_equal(w->started, 0);
	n = target_node_find(w->targets, IQN "d");
	assert_non_null(n);
	assert_string_equal(scsi_device_lun_bdev(n->device, 0), "Malloc0");
	p = list_first(&portal_group_find(w->targets, 1)->portals,
		       struct portal, link);
	assert_non_null(p->listener);
	world_free(w);
	config_free(cfg);
}

/* A bdev that is not there: an error, and no portal has been opened. */
static void test_config_missing_bdev(void **state)
{
	struct config *cfg = parse_config(CONF_GROUPS CONF_NODE("Malloc7"));
	struct world *w = world_new(false, cfg);
	struct portal *p;

	assert_int_equal(w->started, -ENODEV);
	p = list_first(&portal_group_find(w->targets, 1)->portals,
		       struct portal, link);
	assert_null(p->listener);
	world_free(w);
	config_free(cfg);
}

/* What is saved makes the same target again. */
static void test_save_and_load(void **state)
{
	struct world *w = *state, *again;
	json_t *answer, *saved;
	struct config *cfg;
	char *text;

	guide(w);
	good(w, "iscsi_create_target_node", TARGET3_NOW, "true");
	good(w, "bdev_null_create",
	     "{\"name\":\"N\",\"num_blocks\":8192,\"block_size\":512}",
	     "\"N\"");
	good(w, "construct_split_vbdev",
	     "{\"base_bdev\":\"N\",\"split_count\":2}", "[\"Np0\",\"Np1\"]");
	good(w, "bdev_error_create", "{\"base_name\":\"Np1\"}", "true");
	good(w, "iscsi_set_options", "{\"max_sessions\":9}", "true");
	good(w, "iscsi_portal_group_set_auth",
	     "{\"tag\":1,\"disable_chap\":true}", "true");
	good(w, "iscsi_portal_group_set_access_state",
	     "{\"tag\":1,\"access_state\":\"standby\"}", "true");
	good(w, "iscsi_target_node_set_redirect",
	     "{\"name\":\"" IQN "Target3\",\"pg_tag\":1,"
	     "\"redirect_host\":\"10.0.0.1\",\"redirect_port\":\"3260\"}",
	     "true");
	answer = call(w, "save_config", NULL);
	saved = json_incref(json_object_get(answer, "result"));
	json_decref(answer);
	text = json_dumps(saved, 0);
	cfg = parse_config(text);
	again = world_new(false, cfg);
	assert_int_equal(again->started, 0);
	answer = call(again, "save_config", NULL);
	assert_true(json_equal(saved, json_object_get(answer, "result")));
	json_decref(answer);
	json_decref(saved);
	free(text);
	world_free(again);
	config_free(cfg);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_guide),
		TEST(test_faults),
		TEST(test_luns),
		TEST(test_secrets),
		TEST(test_auth_file),
		TEST(test_save_and_load),
		cmocka_unit_test(test_wait_for_rpc),
		cmocka_unit_test(test_stop_while_waiting),
		cmocka_unit_test(test_config),
		cmocka_unit_test(test_config_missing_bdev),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
