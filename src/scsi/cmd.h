/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command table: one row for each command. The same row dispatches it,
 * says which bits of its CDB may be set (so that a reserved one is refused
 * with its place), how long the CDB is, what a reservation means to it, and
 * what REPORT SUPPORTED OPERATION CODES tells of it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "scsi/task.h"

#define CMD_USAGE_MAX 32 /* the longest CDB that we know */

/* Where the LBA and the number of blocks are. */
enum cdb_shape {
	CDB_PLAIN,  /* none */
	CDB_RW6,    /* LBA 21 bits at 1, length at 4 (0 = 256) */
	CDB_RW10,   /* LBA 4 bytes at 2, length 2 at 7 */
	CDB_RW12,   /* LBA 4 at 2, length 4 at 6 */
	CDB_RW16,   /* LBA 8 at 2, length 4 at 10 */
	CDB_RW32,   /* LBA 8 at 12, length 4 at 28 */
	CDB_CAW,    /* LBA 8 at 2, length 1 at 13 */
	CDB_ATOMIC, /* LBA 8 at 2, length 2 at 12 */
};

enum cmd_flag {
	CMD_ANY_LUN = 1 << 0,	 /* also without a logical unit */
	CMD_KEEPS_UA = 1 << 1,	 /* unit attentions wait (SPC-4, 5.14) */
	CMD_SA = 1 << 2,	 /* byte 1, bits 4-0 are its service action */
	CMD_SA32 = 1 << 3,	 /* bytes 8-9 are its service action */
	CMD_MEDIUM = 1 << 4,	 /* needs a medium that is started */
	CMD_WRITES = 1 << 5,	 /* changes the medium: not if protected */
	CMD_RES_READ = 1 << 6,	 /* conflicts with Exclusive Access (5.13.1) */
	CMD_RES_WRITE = 1 << 7,	 /* and with Write Exclusive */
	CMD_RES_ANY = 1 << 8,	 /* not even RESERVE(6) stops it */
	CMD_UNMAPS = 1 << 9,	 /* only where blocks can be unmapped */
	CMD_LONG = 1 << 10,	 /* only with lun_options.long_cdbs */
	CMD_REMOVABLE = 1 << 11, /* only where the medium can go */
	CMD_ATOMIC = 1 << 12,	 /* only in memory, where it is true */
	CMD_STANDBY = 1 << 13,	 /* also through a port in standby (alua.h) */
	CMD_WIPE_OK = 1 << 14,	 /* also while the medium is wiped */
	CMD_WIPES = 1 << 15,	 /* SANITIZE, FORMAT UNIT (wipe.h) */
#define CMD_NOT_ALL (CMD_UNMAPS | CMD_LONG | CMD_REMOVABLE | CMD_ATOMIC)
};

typedef enum scsi_step cmd_start_fn(struct scsi_task *t);
typedef enum scsi_step cmd_exec_fn(struct scsi_task *t, uint32_t len);

struct scsi_cmd {
	cmd_start_fn *start; /* NULL: no such command */
	cmd_exec_fn *exec;   /* with data-out */
	uint16_t flags;	     /* enum cmd_flag */
	uint16_t sa;	     /* service action */
	uint8_t len;	     /* of the CDB */
	uint8_t shape;	     /* enum cdb_shape */
	uint8_t nsubs;
	const struct scsi_cmd *subs; /* one for each service action */
	/* The bits that may be set; 0xff past the end of the CDB. */
	uint8_t usage[CMD_USAGE_MAX];
};

/* Does this unit have it? */
bool command_supported(const struct scsi_cmd *cmd, const struct lun_view *view);
/* The row for the CDB; NULL when there is none, with the opcode's group in
 * @ret_sa true when it is the service action that is unknown. */
const struct scsi_cmd *command_find(const uint8_t *cdb, bool *ret_sa);
/* By opcode: a command, a group (subs) or NULL. */
const struct scsi_cmd *command_by_opcode(uint8_t opcode);
const struct scsi_cmd *command_by_action(uint8_t opcode, uint16_t sa);
/* The place of the first bit that may not be set; false when all is well. */
bool command_bad_bit(const struct scsi_cmd *cmd, const uint8_t *cdb,
		     uint16_t *ret_byte, uint8_t *ret_bit);
/* The CDB usage map of SPC-4, 6.35.3: @cmd->len bytes. */
void command_usage(const struct scsi_cmd *cmd, uint8_t opcode, uint8_t *map);

/* clang-format off */
/* rw.c */
cmd_start_fn cmd_read, cmd_write, cmd_pre_fetch, cmd_verify, cmd_write_verify;
cmd_exec_fn exec_write, exec_verify, exec_write_verify;
/* same.c */
cmd_start_fn cmd_write_same;
cmd_exec_fn exec_write_same;
/* atomic.c */
cmd_start_fn cmd_compare_and_write, cmd_orwrite, cmd_write_atomic;
cmd_exec_fn exec_compare_and_write, exec_orwrite, exec_write_atomic;
/* unmap.c */
cmd_start_fn cmd_unmap, cmd_get_lba_status;
cmd_exec_fn exec_unmap;
/* unit.c */
cmd_start_fn cmd_test_unit_ready, cmd_request_sense, cmd_start_stop,
	cmd_sync_cache, cmd_read_capacity_10, cmd_read_capacity_16,
	cmd_prevent_allow, cmd_read_defect;
/* inquiry.c */
cmd_start_fn cmd_inquiry;
/* report.c */
cmd_start_fn cmd_report_luns, cmd_report_opcodes, cmd_report_tmf;
/* mode.c */
cmd_start_fn cmd_mode_sense, cmd_mode_select;
cmd_exec_fn exec_mode_select;
/* xcopy.c, copy_results.c */
cmd_start_fn cmd_extended_copy, cmd_copy_status, cmd_copy_status_4,
	cmd_copy_parameters, cmd_copy_failed;
cmd_exec_fn exec_extended_copy;
/* diag.c */
cmd_start_fn cmd_read_buffer, cmd_write_buffer, cmd_send_diagnostic,
	cmd_receive_diagnostic, cmd_report_timestamp, cmd_set_timestamp;
cmd_exec_fn exec_write_buffer, exec_set_timestamp;
/* alua.c */
cmd_start_fn cmd_report_port_groups, cmd_set_port_groups;
cmd_exec_fn exec_set_port_groups;
/* log_sense.c */
cmd_start_fn cmd_log_sense;
/* sanitize.c */
cmd_start_fn cmd_sanitize_overwrite, cmd_sanitize_erase, cmd_sanitize_exit,
	cmd_format_unit;
cmd_exec_fn exec_sanitize_overwrite, exec_format_unit;
/* reserve.c */
cmd_start_fn cmd_pr_in, cmd_pr_out, cmd_reserve, cmd_release;
cmd_exec_fn exec_pr_out;
/* clang-format on */
