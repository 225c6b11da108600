/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "scsi/cmd.h"
#include "scsi/lun.h"
#include "scsi/pr.h"
#include "scsi/rw.h"
#include "scsi/scsi_spec.h"

/* clang-format off */

/* A CDB's usage: byte 0 is the opcode, what lies past its end is not looked
 * at. CONTROL (the last byte) has no bit that we take: NACA is refused. */
#define CDB6(...)  .len = 6,  .usage = { 0xff, __VA_ARGS__, [6 ... 31] = 0xff }
#define CDB10(...) .len = 10, .usage = { 0xff, __VA_ARGS__, [10 ... 31] = 0xff }
#define CDB12(...) .len = 12, .usage = { 0xff, __VA_ARGS__, [12 ... 31] = 0xff }
#define CDB16(...) .len = 16, .usage = { 0xff, __VA_ARGS__, [16 ... 31] = 0xff }
#define CDB32(...) .len = 32, .usage = { 0xff, __VA_ARGS__ }

#define B2 0xff, 0xff
#define B4 0xff, 0xff, 0xff, 0xff
#define B8 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff
#define Z2 0, 0
#define Z4 0, 0, 0, 0
#define Z6 0, 0, 0, 0, 0, 0
#define Z7 0, 0, 0, 0, 0, 0, 0
#define Z8 0, 0, 0, 0, 0, 0, 0, 0
#define GROUP 0x1f      /* GROUP NUMBER (SBC-3, 4.22): taken, not used */

#define READS  (CMD_MEDIUM | CMD_RES_READ)
#define WRITES (CMD_MEDIUM | CMD_RES_READ | CMD_RES_WRITE | CMD_WRITES)

static const struct scsi_cmd maintenance_in[] = {
	{ .sa = SA_PORT_GROUPS, .start = cmd_report_port_groups,
	  .flags = CMD_SA | CMD_STANDBY | CMD_WIPE_OK,
	  CDB12(0xff, Z4, B4, 0, 0) },
	{ .sa = SA_REPORT_OPCODES,
	  .start = cmd_report_opcodes,
	  .flags = CMD_STANDBY | CMD_SA | CMD_WIPE_OK,
	  CDB12(0x1f, 0x87, 0xff, B2, B4, 0, 0) },
	{ .sa = SA_REPORT_TMF,
	  .start = cmd_report_tmf, .flags = CMD_STANDBY | CMD_SA | CMD_WIPE_OK,
	  CDB12(0x1f, 0x80, 0, Z2, B4, 0, 0) },
	{ .sa = SA_REPORT_TIMESTAMP,
	  .start = cmd_report_timestamp, .flags = CMD_SA,
	  CDB12(0x1f, Z4, B4, 0, 0) },
};

#define PR_IN_CDB CDB10(0x1f, Z4, 0, B2, 0)
static const struct scsi_cmd pr_in[] = {
	{ .sa = 0, .start = cmd_pr_in,
	  .flags = CMD_STANDBY | CMD_SA, PR_IN_CDB },
	{ .sa = 1, .start = cmd_pr_in,
	  .flags = CMD_STANDBY | CMD_SA, PR_IN_CDB },
	{ .sa = 2, .start = cmd_pr_in,
	  .flags = CMD_STANDBY | CMD_SA, PR_IN_CDB },
	{ .sa = 3, .start = cmd_pr_in,
	  .flags = CMD_STANDBY | CMD_SA, PR_IN_CDB },
};

#define PR_OUT_CDB CDB10(0x1f, 0xff, 0, 0, B4, 0)
#define PR_OUT(action) { .sa = action, .start = cmd_pr_out, \
			 .exec = exec_pr_out, \
			 .flags = CMD_STANDBY | CMD_SA, PR_OUT_CDB }
static const struct scsi_cmd pr_out[] = {
	PR_OUT(PR_REGISTER), PR_OUT(PR_RESERVE), PR_OUT(PR_RELEASE),
	PR_OUT(PR_CLEAR), PR_OUT(PR_PREEMPT), PR_OUT(PR_PREEMPT_ABORT),
	PR_OUT(PR_REGISTER_IGNORE), PR_OUT(PR_MOVE),
};

static const struct scsi_cmd maintenance_out[] = {
	{ .sa = SA_PORT_GROUPS, .start = cmd_set_port_groups,
	  .exec = exec_set_port_groups,
	  .flags = CMD_SA | CMD_STANDBY | CMD_RES_READ | CMD_RES_WRITE,
	  CDB12(0x1f, Z4, B4, 0, 0) },
	{ .sa = SA_SET_TIMESTAMP, .start = cmd_set_timestamp,
	  .exec = exec_set_timestamp,
	  .flags = CMD_SA | CMD_RES_READ | CMD_RES_WRITE,
	  CDB12(0x1f, Z4, B4, 0, 0) },
};

static const struct scsi_cmd service_action_in_16[] = {
	{ .sa = SA_READ_CAPACITY_16,
	  .start = cmd_read_capacity_16, .flags = CMD_SA | CMD_MEDIUM,
	  CDB16(0x1f, B8, B4, 0x01, 0) },
	{ .sa = SA_GET_LBA_STATUS, .start = cmd_get_lba_status,
	  .flags = CMD_SA | READS, CDB16(0x1f, B8, B4, 0, 0) },
};

static const struct scsi_cmd variable_cdb[] = {
	{ .sa = SA_READ_32, .start = cmd_read,
	  .flags = CMD_SA32 | CMD_LONG | READS, .shape = CDB_RW32,
	  CDB32(0, Z4, GROUP, 0xff, B2, 0x18, 0, B8, Z8, B4) },
	{ .sa = SA_VERIFY_32, .start = cmd_verify, .exec = exec_verify,
	  .flags = CMD_SA32 | CMD_LONG | READS, .shape = CDB_RW32,
	  CDB32(0, Z4, GROUP, 0xff, B2, 0x16, 0, B8, Z8, B4) },
	{ .sa = SA_WRITE_32, .start = cmd_write,
	  .exec = exec_write,
	  .flags = CMD_SA32 | CMD_LONG | WRITES, .shape = CDB_RW32,
	  CDB32(0, Z4, GROUP, 0xff, B2, 0x18, 0, B8, Z8, B4) },
	{ .sa = SA_WRITE_VERIFY_32, .start = cmd_write_verify,
	  .exec = exec_write_verify, .flags = CMD_SA32 | CMD_LONG | WRITES,
	  .shape = CDB_RW32,
	  CDB32(0, Z4, GROUP, 0xff, B2, 0x12, 0, B8, Z8, B4) },
	{ .sa = SA_WRITE_SAME_32, .start = cmd_write_same,
	  .exec = exec_write_same, .flags = CMD_SA32 | CMD_LONG | WRITES,
	  .shape = CDB_RW32,
	  CDB32(0, Z4, GROUP, 0xff, B2, 0x09, 0, B8, Z8, B4) },
};

static const struct scsi_cmd third_party_out[] = {
	{ .sa = SA_EXTENDED_COPY_LID1, .start = cmd_extended_copy,
	  .exec = exec_extended_copy,
	  .flags = CMD_SA | CMD_RES_READ | CMD_RES_WRITE,
	  CDB16(0x1f, Z8, B4, 0, 0) },
	{ .sa = SA_EXTENDED_COPY_LID4, .start = cmd_extended_copy,
	  .exec = exec_extended_copy,
	  .flags = CMD_SA | CMD_RES_READ | CMD_RES_WRITE,
	  CDB16(0x1f, Z8, B4, 0, 0) },
};

static const struct scsi_cmd third_party_in[] = {
	{ .sa = SA_COPY_STATUS_LID1, .start = cmd_copy_status,
	  .flags = CMD_SA, CDB16(0x1f, 0xff, Z7, B4, 0, 0) },
	{ .sa = SA_COPY_PARAMETERS, .start = cmd_copy_parameters,
	  .flags = CMD_SA, CDB16(0x1f, 0, Z7, B4, 0, 0) },
	{ .sa = SA_COPY_FAILED_LID1, .start = cmd_copy_failed,
	  .flags = CMD_SA, CDB16(0x1f, 0xff, Z7, B4, 0, 0) },
	{ .sa = SA_COPY_STATUS_LID4, .start = cmd_copy_status_4,
	  .flags = CMD_SA, CDB16(0x1f, B4, Z4, B4, 0, 0) },
};

static const struct scsi_cmd sanitize[] = {
	{ .sa = SA_SANITIZE_OVERWRITE, .start = cmd_sanitize_overwrite,
	  .exec = exec_sanitize_overwrite,
	  .flags = CMD_SA | CMD_WIPES | WRITES,
	  CDB10(0xbf, Z4, 0, B2, 0) },
	{ .sa = SA_SANITIZE_ERASE, .start = cmd_sanitize_erase,
	  .flags = CMD_SA | CMD_WIPES | CMD_UNMAPS | WRITES,
	  CDB10(0xbf, Z4, 0, B2, 0) },
	{ .sa = SA_SANITIZE_EXIT, .start = cmd_sanitize_exit,
	  .flags = CMD_SA | CMD_WIPES | WRITES,
	  CDB10(0xbf, Z4, 0, B2, 0) },
};

#define GROUP_OF(rows) { .subs = rows, .nsubs = ARRAY_LEN(rows) }

static const struct scsi_cmd commands[256] = {
	[OP_TEST_UNIT_READY] = { .start = cmd_test_unit_ready,
		.flags = CMD_MEDIUM, CDB6(0, Z4) },
	[OP_REQUEST_SENSE] = { .start = cmd_request_sense,
		.flags = CMD_ANY_LUN | CMD_KEEPS_UA | CMD_RES_ANY,
		CDB6(0x01, Z2, 0xff, 0) },
	[OP_FORMAT_UNIT] = { .start = cmd_format_unit,
		.exec = exec_format_unit, .flags = CMD_WIPES | WRITES,
		CDB6(0xff, 0, 0, 0, 0) },
	[OP_READ_6] = { .start = cmd_read, .flags = READS, .shape = CDB_RW6,
		CDB6(0x1f, B2, 0xff, 0) },
	[OP_WRITE_6] = { .start = cmd_write, .exec = exec_write,
		.flags = WRITES, .shape = CDB_RW6, CDB6(0x1f, B2, 0xff, 0) },
	[OP_INQUIRY] = { .start = cmd_inquiry,
		.flags = CMD_ANY_LUN | CMD_KEEPS_UA | CMD_RES_ANY,
		CDB6(0x01, 0xff, B2, 0) },
	[OP_RESERVE_6] = { .start = cmd_reserve, CDB6(0, Z4) },
	[OP_RELEASE_6] = { .start = cmd_release, .flags = CMD_RES_ANY,
		CDB6(0, Z4) },
	[OP_MODE_SENSE_6] = { .start = cmd_mode_sense,
		.flags = CMD_STANDBY | CMD_RES_READ,
		CDB6(0x08, 0xff, 0xff, 0xff, 0) },
	[OP_MODE_SELECT_6] = { .start = cmd_mode_select,
		.exec = exec_mode_select,
		.flags = CMD_STANDBY | CMD_RES_READ | CMD_RES_WRITE,
		CDB6(0x11, Z2, 0xff, 0) },
	[OP_RECEIVE_DIAGNOSTIC] = { .start = cmd_receive_diagnostic,
		.flags = CMD_STANDBY | CMD_RES_READ, CDB6(0x01, 0xff, B2, 0) },
	[OP_SEND_DIAGNOSTIC] = { .start = cmd_send_diagnostic,
		.flags = CMD_STANDBY | CMD_MEDIUM | CMD_RES_READ |
			 CMD_RES_WRITE,
		CDB6(0xf7, 0, B2, 0) },
	[OP_START_STOP_UNIT] = { .start = cmd_start_stop,
		.flags = CMD_RES_READ | CMD_RES_WRITE,
		CDB6(0x01, 0, 0x0f, 0xf7, 0) },
	[OP_PREVENT_ALLOW] = { .start = cmd_prevent_allow,
		.flags = CMD_REMOVABLE, CDB6(0, Z2, 0x03, 0) },
	[OP_READ_CAPACITY_10] = { .start = cmd_read_capacity_10,
		.flags = CMD_MEDIUM, CDB10(0, B4, Z2, 0x01, 0) },
	[OP_READ_10] = { .start = cmd_read, .flags = READS, .shape = CDB_RW10,
		CDB10(0x18, B4, GROUP, B2, 0) },
	[OP_WRITE_10] = { .start = cmd_write, .exec = exec_write,
		.flags = WRITES, .shape = CDB_RW10,
		CDB10(0x18, B4, GROUP, B2, 0) },
	[OP_WRITE_VERIFY_10] = { .start = cmd_write_verify,
		.exec = exec_write_verify, .flags = WRITES, .shape = CDB_RW10,
		CDB10(0x12, B4, GROUP, B2, 0) },
	[OP_VERIFY_10] = { .start = cmd_verify, .exec = exec_verify,
		.flags = READS, .shape = CDB_RW10,
		CDB10(0x16, B4, GROUP, B2, 0) },
	[OP_PRE_FETCH_10] = { .start = cmd_pre_fetch, .flags = READS,
		.shape = CDB_RW10, CDB10(0x02, B4, GROUP, B2, 0) },
	[OP_SYNC_CACHE_10] = { .start = cmd_sync_cache,
		.flags = CMD_MEDIUM | CMD_RES_READ | CMD_RES_WRITE,
		.shape = CDB_RW10, CDB10(0x06, B4, GROUP, B2, 0) },
	[OP_READ_DEFECT_10] = { .start = cmd_read_defect, .flags = READS,
		CDB10(0, 0x1f, Z4, B2, 0) },
	[OP_WRITE_BUFFER] = { .start = cmd_write_buffer,
		.exec = exec_write_buffer,
		.flags = CMD_STANDBY | CMD_RES_READ | CMD_RES_WRITE,
		CDB10(0x1f, Z4, 0xff, B2, 0) },
	[OP_READ_BUFFER] = { .start = cmd_read_buffer,
		.flags = CMD_STANDBY | CMD_RES_READ,
		CDB10(0x1f, Z4, 0xff, B2, 0) },
	[OP_WRITE_SAME_10] = { .start = cmd_write_same,
		.exec = exec_write_same, .flags = WRITES, .shape = CDB_RW10,
		CDB10(0x08, B4, GROUP, B2, 0) },
	[OP_UNMAP] = { .start = cmd_unmap, .exec = exec_unmap,
		.flags = WRITES | CMD_UNMAPS, CDB10(0, Z4, GROUP, B2, 0) },
	[OP_LOG_SENSE] = { .start = cmd_log_sense,
		.flags = CMD_STANDBY | CMD_WIPE_OK,
		CDB10(0x01, 0xff, 0xff, 0, B2, B2, 0) },
	[OP_SANITIZE] = GROUP_OF(sanitize),
	[OP_MODE_SELECT_10] = { .start = cmd_mode_select,
		.exec = exec_mode_select,
		.flags = CMD_STANDBY | CMD_RES_READ | CMD_RES_WRITE,
		CDB10(0x11, Z4, 0, B2, 0) },
	[OP_MODE_SENSE_10] = { .start = cmd_mode_sense,
		.flags = CMD_STANDBY | CMD_RES_READ,
		CDB10(0x18, 0xff, 0xff, 0, 0, 0, B2, 0) },
	[OP_RESERVE_10] = { .start = cmd_reserve, CDB10(0, Z4, Z4) },
	[OP_RELEASE_10] = { .start = cmd_release, .flags = CMD_RES_ANY,
		CDB10(0, Z4, Z4) },
	[OP_PR_IN] = GROUP_OF(pr_in),
	[OP_PR_OUT] = GROUP_OF(pr_out),
	[OP_VARIABLE_CDB] = GROUP_OF(variable_cdb),
	[OP_THIRD_PARTY_OUT] = GROUP_OF(third_party_out),
	[OP_THIRD_PARTY_IN] = GROUP_OF(third_party_in),
	[OP_READ_16] = { .start = cmd_read, .flags = READS, .shape = CDB_RW16,
		CDB16(0x18, B8, B4, GROUP, 0) },
	[OP_COMPARE_AND_WRITE] = { .start = cmd_compare_and_write,
		.exec = exec_compare_and_write, .flags = WRITES,
		.shape = CDB_CAW,
		CDB16(0x18, B8, 0, Z2, 0xff, GROUP, 0) },
	[OP_WRITE_16] = { .start = cmd_write, .exec = exec_write,
		.flags = WRITES, .shape = CDB_RW16,
		CDB16(0x18, B8, B4, GROUP, 0) },
	[OP_ORWRITE_16] = { .start = cmd_orwrite, .exec = exec_orwrite,
		.flags = WRITES, .shape = CDB_RW16,
		CDB16(0x18, B8, B4, GROUP, 0) },
	[OP_WRITE_VERIFY_16] = { .start = cmd_write_verify,
		.exec = exec_write_verify, .flags = WRITES, .shape = CDB_RW16,
		CDB16(0x12, B8, B4, GROUP, 0) },
	[OP_VERIFY_16] = { .start = cmd_verify, .exec = exec_verify,
		.flags = READS, .shape = CDB_RW16,
		CDB16(0x16, B8, B4, GROUP, 0) },
	[OP_PRE_FETCH_16] = { .start = cmd_pre_fetch, .flags = READS,
		.shape = CDB_RW16, CDB16(0x02, B8, B4, GROUP, 0) },
	[OP_SYNC_CACHE_16] = { .start = cmd_sync_cache,
		.flags = CMD_MEDIUM | CMD_RES_READ | CMD_RES_WRITE,
		.shape = CDB_RW16, CDB16(0x06, B8, B4, GROUP, 0) },
	[OP_WRITE_SAME_16] = { .start = cmd_write_same,
		.exec = exec_write_same, .flags = WRITES, .shape = CDB_RW16,
		CDB16(0x09, B8, B4, GROUP, 0) },
	[OP_WRITE_ATOMIC_16] = { .start = cmd_write_atomic,
		.exec = exec_write_atomic, .flags = WRITES | CMD_ATOMIC,
		.shape = CDB_ATOMIC, CDB16(0x18, B8, B2, B2, GROUP, 0) },
	[OP_SERVICE_ACTION_IN_16] = GROUP_OF(service_action_in_16),
	[OP_REPORT_LUNS] = { .start = cmd_report_luns,
		.flags = CMD_ANY_LUN | CMD_KEEPS_UA | CMD_RES_ANY,
		CDB12(0, 0xff, 0, Z2, B4, 0, 0) },
	[OP_MAINTENANCE_OUT] = GROUP_OF(maintenance_out),
	[OP_MAINTENANCE_IN] = GROUP_OF(maintenance_in),
	[OP_READ_12] = { .start = cmd_read, .flags = READS, .shape = CDB_RW12,
		CDB12(0x18, B4, B4, GROUP, 0) },
	[OP_WRITE_12] = { .start = cmd_write, .exec = exec_write,
		.flags = WRITES, .shape = CDB_RW12,
		CDB12(0x18, B4, B4, GROUP, 0) },
	[OP_WRITE_VERIFY_12] = { .start = cmd_write_verify,
		.exec = exec_write_verify, .flags = WRITES, .shape = CDB_RW12,
		CDB12(0x12, B4, B4, GROUP, 0) },
	[OP_VERIFY_12] = { .start = cmd_verify, .exec = exec_verify,
		.flags = READS, .shape = CDB_RW12,
		CDB12(0x16, B4, B4, GROUP, 0) },
	[OP_READ_DEFECT_12] = { .start = cmd_read_defect, .flags = READS,
		CDB12(0x1f, B4, B4, 0, 0) },
};
/* clang-format on */

bool command_supported(const struct scsi_cmd *cmd, const struct lun_view *view)
{
	if ((cmd->flags & CMD_UNMAPS) &&
	    !(view->lun->bdev->caps & BDEV_CAP_UNMAP))
		return false;
	if ((cmd->flags & CMD_REMOVABLE) && !view->lun->removable)
		return false;
	if ((cmd->flags & CMD_ATOMIC) && rw_atomic_max(view) == 0)
		return false;
	return !(cmd->flags & CMD_LONG) || view->lun->long_cdbs;
}

const struct scsi_cmd *command_by_opcode(uint8_t opcode)
{
	const struct scsi_cmd *cmd = &commands[opcode];

	return cmd->start != NULL || cmd->subs != NULL ? cmd : NULL;
}

const struct scsi_cmd *command_by_action(uint8_t opcode, uint16_t sa)
{
	const struct scsi_cmd *group = &commands[opcode];

	for (uint32_t i = 0; i < group->nsubs; i++) {
		if (group->subs[i].sa == sa)
			return &group->subs[i];
	}
	return NULL;
}

const struct scsi_cmd *command_find(const uint8_t *cdb, bool *ret_sa)
{
	const struct scsi_cmd *cmd = &commands[cdb[0]];

	if (likely(cmd->start != NULL))
		return cmd;
	if (cmd->subs == NULL)
		return NULL;
	*ret_sa = true;
	if (cmd->subs->flags & CMD_SA32)
		return command_by_action(cdb[0], load_be16(cdb + 8));
	return command_by_action(cdb[0], cdb[1] & 0x1f);
}

static uint64_t load_raw(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

bool command_bad_bit(const struct scsi_cmd *cmd, const uint8_t *cdb,
		     uint16_t *ret_byte, uint8_t *ret_bit)
{
	const uint8_t *usage = cmd->usage;
	uint64_t bad = (load_raw(cdb) & ~load_raw(usage)) |
		       (load_raw(cdb + 8) & ~load_raw(usage + 8));

	if (unlikely(cmd->len > 16))
		bad |= (load_raw(cdb + 16) & ~load_raw(usage + 16)) |
		       (load_raw(cdb + 24) & ~load_raw(usage + 24));
	if (likely(bad == 0))
		return false;
	for (uint16_t i = 0; i < cmd->len; i++) {
		unsigned int bits = cdb[i] & ~usage[i] & 0xffu;

		if (bits == 0)
			continue;
		/* SPC-4, 4.5.2.4.2: the left-most bit of the field. */
		*ret_byte = i;
		*ret_bit = (uint8_t)(31 - __builtin_clz(bits));
		return true;
	}
	ASSERT(!"a bit that is in no byte");
	return false;
}

void command_usage(const struct scsi_cmd *cmd, uint8_t opcode, uint8_t *map)
{
	memcpy(map, cmd->usage, cmd->len);
	map[0] = opcode;
	if (cmd->flags & CMD_SA)
		map[1] = (uint8_t)((map[1] & 0xe0) | cmd->sa);
	if (cmd->flags & CMD_SA32)
		store_be16(map + 8, cmd->sa);
}
