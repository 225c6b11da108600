/* SPDX-License-Identifier: BSD-3-Clause */
/* Configuration files as calls, and what is wrong with them, by line. */
#include "../unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/config.h"

static int parse(const char *text, struct conf_faults *faults,
		 struct config **ret)
{
	conf_faults_init(faults);
	*ret = NULL;
	return config_parse("f", text, strlen(text), faults, ret);
}

static void print_calls(const struct config *cfg, struct buf *out)
{
	const struct config_call *call;

	list_for_each(call, &cfg->calls, link) {
		char *params =
			json_dumps(call->params, JSON_COMPACT | JSON_SORT_KEYS);

		buf_printf(out, "%s %s\n", call->method, params ? params : "-");
		free(params);
	}
	buf_append_byte(out, '\0');
}

/* ---- What is good. */

#define GROUPS                                        \
	"[PortalGroup1]\nPortal DA1 127.0.0.1:3260\n" \
	"[InitiatorGroup2]\nInitiatorName ANY\nNetmask 127.0.0.1/32\n"

#define PG_CALL                                                            \
	"iscsi_create_portal_group {\"portals\":[{\"host\":\"127.0.0.1\"," \
	"\"port\":\"3260\"}],\"tag\":1}\n"
#define IG_CALL                                                   \
	"iscsi_create_initiator_group {\"initiators\":[\"ANY\"]," \
	"\"netmasks\":[\"127.0.0.1/32\"],\"tag\":2}\n"

static const struct {
	const char *text, *calls;
} good[] = {
	{"[Global]\nComment x y\n", ""},
	{"[Malloc]\nNumberOfLuns 2\nLunSizeInMB 1\n",
	 "bdev_malloc_create {\"block_size\":512,\"name\":\"Malloc0\","
	 "\"num_blocks\":2048}\n"
	 "bdev_malloc_create {\"block_size\":512,\"name\":\"Malloc1\","
	 "\"num_blocks\":2048}\n"},
	{"[MALLOC]\nNUMBEROFLUNS 1\nLunSizeInMB 1\nBlockSize 4096\n",
	 "bdev_malloc_create {\"block_size\":4096,\"name\":\"Malloc0\","
	 "\"num_blocks\":256}\n"},
	{"[AIO]\nAIO /dev/x A0\nAIO \"/a b\" A1 4096\n",
	 "bdev_aio_create {\"block_size\":0,\"filename\":\"/dev/x\","
	 "\"name\":\"A0\"}\n"
	 "bdev_aio_create {\"block_size\":4096,\"filename\":\"/a b\","
	 "\"name\":\"A1\"}\n"},
	{"[Null]\nDev N0 1\nDev N1 2 4096 # c\n",
	 "bdev_null_create {\"block_size\":512,\"name\":\"N0\","
	 "\"num_blocks\":2048}\n"
	 "bdev_null_create {\"block_size\":4096,\"name\":\"N1\","
	 "\"num_blocks\":512}\n"},
	/* Out of their order in the file. */
	{"[BdevError]\nBdevError Sp0\n[Split]\nSplit S 2 3\n",
	 "bdev_split_create {\"base_bdev\":\"S\",\"split_count\":2,"
	 "\"split_size_mb\":3}\n"
	 "bdev_error_create {\"base_name\":\"Sp0\"}\n"},
	{GROUPS, PG_CALL IG_CALL},
	{"[PortalGroup3]\nPortal A [::1]:3261@0x3\nPortal B 10.0.0.1\n"
	 "Portal C *\nPortal D 10.0.0.2@0x1\n",
	 "iscsi_create_portal_group {\"portals\":["
	 "{\"host\":\"[::1]\",\"port\":\"3261\"},"
	 "{\"host\":\"10.0.0.1\",\"port\":\"3260\"},"
	 "{\"host\":\"*\",\"port\":\"3260\"},"
	 "{\"host\":\"10.0.0.2\",\"port\":\"3260\"}],\"tag\":3}\n"},
	{"[TargetNode1]\nTargetName d\nMapping PortalGroup1 InitiatorGroup2\n"
	 "LUN0 M\nlun7 N\nAuthMethod CHAP Mutual\nAuthGroup AuthGroup4\n"
	 "UseDigest Header Data\nQueueDepth 32\nTargetAlias \"An "
	 "alias\"\n" GROUPS,
	 PG_CALL IG_CALL
	 "iscsi_create_target_node {\"alias_name\":\"An alias\","
	 "\"chap_group\":4,\"data_digest\":true,\"disable_chap\":false,"
	 "\"header_digest\":true,\"luns\":[{\"bdev_name\":\"M\",\"lun_id\":0},"
	 "{\"bdev_name\":\"N\",\"lun_id\":7}],\"mutual_chap\":true,\"name\":"
	 "\"d\",\"pg_ig_maps\":[{\"ig_tag\":2,\"pg_tag\":1}],"
	 "\"queue_depth\":32,\"require_chap\":true}\n"},
	{"[iSCSI]\nMaxSessions 7\nImmediateData No\nMinConnectionsPerCore 4\n"
	 "DiscoveryAuthMethod None\nDiscoveryAuthGroup None\n",
	 "iscsi_set_options {\"chap_group\":0,\"disable_chap\":true,"
	 "\"immediate_data\":false,\"max_sessions\":7,"
	 "\"mutual_chap\":false,\"require_chap\":false}\n"},
	/* JSON, with comments, and with what has no use. */
	{"/* c */ {\"subsystems\":[{\"subsystem\":\"bdev\",\"config\":[\n"
	 "// {\n{\"method\":\"bdev_set_options\",\"params\":{\"x\":1}},\n"
	 "{\"method\":\"bdev_malloc_create\",\"params\":{\"name\":\"a//b\","
	 "\"num_blocks\":8,\"block_size\":512}}]},\n"
	 "{\"subsystem\":\"scsi\",\"config\":null}]}",
	 "bdev_malloc_create {\"block_size\":512,\"name\":\"a//b\","
	 "\"num_blocks\":8}\n"},
};

static void test_good(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct conf_faults faults;
		struct config *cfg;
		struct buf out;

		buf_init(&out, 65536);
		if (parse(good[i].text, &faults, &cfg) != 0)
			fail_msg("%s", (const char *)faults.errors.data);
		print_calls(cfg, &out);
		assert_string_equal((const char *)out.data, good[i].calls);
		config_free(cfg);
		conf_faults_deinit(&faults);
		buf_deinit(&out);
	}
}

/* ---- What is not, in the words that the user reads. */

#define NODE	"[TargetNode1]\nTargetName d\nLUN0 M\n"
#define MAPPING "Mapping PortalGroup1 InitiatorGroup2\n"

static const struct {
	const char *text, *errors;
} bad[] = {
	{"[Nosuch]\n", "f:1: unknown section [Nosuch]\n"},
	{"[PortalGroupX]\n", "f:1: unknown section [PortalGroupX]\n"},
	{"[iSCSI]\n\nMaxSession 1\n",
	 "f:3: unknown key 'MaxSession' in section [iSCSI]\n"},
	{"[iSCSI]\nMaxSessions\n", "f:2: key 'MaxSessions' has no value\n"},
	{"[iSCSI]\nMaxSessions x\n", "f:2: MaxSessions 'x' is not a number\n"},
	{"[iSCSI]\nMaxSessions 0\n", "f:2: MaxSessions '0' is not 1..65535\n"},
	{"[iSCSI]\nMaxSessions 65536\n",
	 "f:2: MaxSessions '65536' is not 1..65535\n"},
	{"[iSCSI]\nErrorRecoveryLevel 3\n",
	 "f:2: ErrorRecoveryLevel '3' is not 0..2\n"},
	{"[iSCSI]\nImmediateData maybe\n",
	 "f:2: ImmediateData 'maybe' is neither Yes nor No\n"},
	{"[iSCSI]\nDiscoveryAuthMethod Mutual\n",
	 "f:2: DiscoveryAuthMethod is not None, Auto, CHAP, or CHAP Mutual\n"},
	{"[iSCSI]\nDiscoveryAuthGroup AuthGroup0\n",
	 "f:2: DiscoveryAuthGroup: 'AuthGroup0' is not AuthGroupN, N from "
	 "1\n"},
	{"[Global]\nReactorMask 0xg\n",
	 "f:2: ReactorMask is neither a mask such as 0x3 nor a list such as "
	 "[0,1]\n"},
	{"[Global]\nReactorPollUs -1\n",
	 "f:2: ReactorPollUs: '-1' is not 0..1000000\n"},
	{"[Malloc]\nNumberOfLuns 1\n",
	 "f:1: section [Malloc] needs NumberOfLuns and LunSizeInMB\n"},
	{"[Malloc]\nNumberOfLuns 1\nLunSizeInMB 64M\n",
	 "f:3: LunSizeInMB: '64M' is not a number\n"},
	{"[Malloc]\nNumberOfLuns 1\nLunSizeInMB 1\nBlockSize 1000\n",
	 "f:4: BlockSize has a block size that is not a power of 2 within "
	 "512..65536\n"},
	{"[AIO]\nAIO /dev/x\n", "f:2: AIO is not 'AIO FILE NAME "
				"[BLOCKSIZE]'\n"},
	{"[AIO]\nAIO a b c\n", "f:2: AIO: 'c' is not a number\n"},
	{"[Null]\nDev a 0\n", "f:2: Dev: '0' is not 1..8796093022207\n"},
	{"[PortalGroup]\nPortal A 1.1.1.1\n",
	 "f:1: section [PortalGroup] has no number from 1\n"},
	{"[PortalGroup0]\nPortal A 1.1.1.1\n",
	 "f:1: section [PortalGroup0] has no number from 1\n"},
	{"[PortalGroup70000]\nPortal A 1.1.1.1\n",
	 "f:1: [PortalGroup70000]: Invalid parameters: 'tag' is not "
	 "1..65535\n"},
	{"[PortalGroup1]\n", "f:1: section [PortalGroup1] has no Portal\n"},
	{"[PortalGroup1]\nPortal 1.1.1.1\n",
	 "f:2: Portal is not 'Portal LABEL HOST[:PORT]'\n"},
	{"[PortalGroup1]\nPortal A [::1\n",
	 "f:2: Portal is not 'Portal LABEL HOST[:PORT]'\n"},
	{"[InitiatorGroup1]\nInitiatorName ANY\n",
	 "f:1: section [InitiatorGroup1] needs InitiatorName and Netmask\n"},
	{"[InitiatorGroup1]\nInitiatorName ANY\nNetmask 1.1.1.1/0\n",
	 "f:3: Netmask is not ANY, a.b.c.d[/1..32] or [IPv6][/1..128]\n"},
	{NODE GROUPS, "f:1: section [TargetNode1] has no Mapping\n"},
	{"[TargetNode1]\n" MAPPING GROUPS,
	 "f:1: section [TargetNode1] has no TargetName\n"
	 "f:1: section [TargetNode1] has no LUN0\n"},
	{NODE MAPPING, "f:4: Mapping: there is no section [PortalGroup1]\n"
		       "f:4: Mapping: there is no section "
		       "[InitiatorGroup2]\n"},
	{NODE "Mapping PortalGroup1\n" GROUPS,
	 "f:4: Mapping is not 'Mapping PortalGroupX InitiatorGroupY'\n"},
	{NODE "Mapping InitiatorGroup2 PortalGroup1\n" GROUPS,
	 "f:4: Mapping: 'InitiatorGroup2' is not PortalGroupN, N from 1\n"
	 "f:4: Mapping: 'PortalGroup1' is not InitiatorGroupN, N from 1\n"},
	{NODE MAPPING "LUN256 M\n" GROUPS,
	 "f:5: unknown key 'LUN256' in section [TargetNode1]\n"},
	{NODE MAPPING "QueueDepth ten\n" GROUPS,
	 "f:5: QueueDepth: 'ten' is not a number\n"},
	{NODE MAPPING "UseDigest CRC\n" GROUPS,
	 "f:5: UseDigest is not Auto, Header or Data\n"},
	{NODE MAPPING "TargetAlias \xff\n" GROUPS,
	 "f:1: section [TargetNode1] is not UTF-8, or memory is short\n"},
	/* All of them in one run. */
	{"[A]\n[iSCSI]\nB 1\nTimeout x\n",
	 "f:1: unknown section [A]\n"
	 "f:3: unknown key 'B' in section [iSCSI]\n"
	 "f:4: Timeout 'x' is not a number\n"},
	/* JSON. */
	{"{\n\"subsystems\": [\n}\n", "f:3: unexpected token near '}'\n"},
	{"{}", "f: no array 'subsystems' in it\n"},
	{"{\"subsystems\":[{\"config\":[]}]}", "f: a subsystem has no name\n"},
	{"{\"subsystems\":[{\"subsystem\":\"x\",\"config\":{}}]}",
	 "f: subsystem x: config is not an array\n"},
	{"{\"subsystems\":[{\"subsystem\":\"x\",\"config\":[{},"
	 "{\"method\":\"nosuch\"},{\"method\":\"bdev_null_create\","
	 "\"params\":{\"name\":\"n\",\"num_blocks\":1}}]}]}",
	 "f: x, entry 1: no method\n"
	 "f: x, entry 2: nosuch: Method not found\n"
	 "f: x, entry 3: bdev_null_create: Invalid parameters: parameter "
	 "'block_size' is missing\n"},
};

static void test_bad(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct conf_faults faults;
		struct config *cfg;

		assert_int_equal(parse(bad[i].text, &faults, &cfg), -EINVAL);
		assert_null(cfg);
		buf_append_byte(&faults.errors, '\0');
		assert_string_equal((const char *)faults.errors.data,
				    bad[i].errors);
		conf_faults_deinit(&faults);
	}
}

/* ---- Notices: no errors, but the user is told. */

static const struct {
	const char *text, *notices;
} notices[] = {
	{"[Nvme]\nTransportID x\n[Ioat]\n[Global]\nNoPci Yes\n"
	 "SharedMemoryID 1\n",
	 "f: has no use here, skipped: [Nvme], [Ioat], [Global] NoPci, "
	 "[Global] SharedMemoryID\n"},
	{"[iSCSI]\nTimeout 1\nTimeout 2\n",
	 "f:3: key 'Timeout' is given twice; the first one counts\n"},
	{"[iSCSI]\nTimeout 1 2\n", "f:2: key 'Timeout' takes one value; the "
				   "rest of the line is skipped\n"},
	{"[iSCSI]\nTimeout 1 # two\n", ""},
	{"[VirtioUser3]\n[RAID0]\n",
	 "f: has no use here, skipped: [VirtioUser3], [RAID0]\n"},
};

static void test_notices(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(notices); i++) {
		struct conf_faults faults;
		struct config *cfg;

		assert_int_equal(parse(notices[i].text, &faults, &cfg), 0);
		buf_append_byte(&faults.notices, '\0');
		assert_string_equal((const char *)faults.notices.data,
				    notices[i].notices);
		config_free(cfg);
		conf_faults_deinit(&faults);
	}
}

static void test_global(void **state)
{
	struct conf_faults faults;
	struct config *cfg;

	assert_int_equal(parse("[Global]\nReactorMask 0xF000000\n"
			       "ReactorPollUs 0\n",
			       &faults, &cfg),
			 0);
	assert_string_equal(cfg->reactor_mask, "0xF000000");
	assert_true(cfg->has_poll_us);
	assert_int_equal(cfg->poll_us, 0);
	config_free(cfg);
	conf_faults_deinit(&faults);
}

/* Which LUN line asks for which bdev. */
static void test_needs(void **state)
{
	struct conf_faults faults;
	struct config_call *call;
	struct config_need *need;
	struct config *cfg;

	assert_int_equal(parse(GROUPS NODE MAPPING "LUN5 N\n", &faults, &cfg),
			 0);
	call = list_entry(cfg->calls.prev, struct config_call, link);
	need = list_first(&call->needs, struct config_need, link);
	assert_string_equal(need->bdev, "M");
	assert_int_equal(need->line, 8);
	need = list_entry(need->link.next, struct config_need, link);
	assert_string_equal(need->key, "LUN5");
	assert_string_equal(need->bdev, "N");
	assert_int_equal(need->line, 10);
	config_free(cfg);
	conf_faults_deinit(&faults);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),	cmocka_unit_test(test_bad),
		cmocka_unit_test(test_notices), cmocka_unit_test(test_global),
		cmocka_unit_test(test_needs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
