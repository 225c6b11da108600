/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SCSI devices and their logical units, as the control reactor sees them.
 *
 * A scsi_device is a target node's inventory: which logical unit has which LUN.
 * A logical unit (struct lun) stands for one bdev: however many targets export
 * the bdev, there is one lun, so that reservations, unit attentions and
 * identity are shared by all paths. Each core has a view of both.
 *
 * All functions: control reactor. Changes fan out to every core and call done
 * (may be NULL) when every core has taken them.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bdev/bdev.h"
#include "scsi/nexus.h"

struct scsi_server; /* all devices and luns of a process */
struct scsi_device;
struct lun;

int scsi_server_create(struct reactors *set, struct bdev_registry *bdevs,
		       struct scsi_server **ret);
void scsi_server_destroy(struct scsi_server *s); /* nothing is left in it */

/* Identity and kind of a logical unit; zero and NULL mean the default. Names
 * are the configuration's. Kept per bdev name. */
struct lun_options {
	const char *vendor;   /* 8 characters, default "ISCSITGT" */
	const char *product;  /* 16, default the bdev's product */
	const char *revision; /* 4 */
	const char *serial;   /* default: from the bdev's uuid */
	uint64_t naa;	      /* default: locally assigned, from uuid */
	bool read_only;
	bool removable;
	/* SBC-3, 5.12 and others: the 32-byte commands are for protection type
	 * 2. Some initiators can use them without. */
	bool long_cdbs;
};

struct scsi_change {
	void (*done)(struct scsi_change *change);
	int result;	 /* 0 or -errno */
	uint32_t lun_id; /* the LUN that was added */
};

/* @name: the target's iSCSI name; it stays valid while the device lives. */
int scsi_device_create(struct scsi_server *s, const char *name,
		       struct scsi_device **ret);
/* All nexuses are closed. Takes its LUNs out. */
void scsi_device_destroy(struct scsi_device *d, struct scsi_change *change);
const char *scsi_device_name(const struct scsi_device *d);
/* A small number, unique while it lives: the "id" of scsi_get_devices. */
uint32_t scsi_device_id(const struct scsi_device *d);
struct scsi_device *scsi_device_first(struct scsi_server *s);
struct scsi_device *scsi_device_next(struct scsi_device *d);

/*
 * LUN @lun_id (0..255, or -1: the lowest free) = the bdev of that name. Fails
 * at once (-ENODEV, -EEXIST, -ENOSPC, -ENOMEM; change->done does not come), or
 * returns 0 and done comes. Sessions get REPORTED LUNS DATA HAS CHANGED.
 */
int scsi_device_add_lun(struct scsi_device *d, int lun_id,
			const char *bdev_name, const struct lun_options *opt,
			struct scsi_change *change);
/* -ENOENT. Commands in flight end first. */
int scsi_device_remove_lun(struct scsi_device *d, uint32_t lun_id,
			   struct scsi_change *change);
/* NULL: no such LUN. */
const char *scsi_device_lun_bdev(const struct scsi_device *d, uint32_t lun_id);

enum scsi_access_state { /* SPC-4, 5.15.2.4 */
			 SCSI_ACCESS_OPTIMIZED = 0x0,
			 SCSI_ACCESS_NON_OPTIMIZED = 0x1,
			 SCSI_ACCESS_STANDBY = 0x2,
			 SCSI_ACCESS_UNAVAILABLE = 0x3,
			 SCSI_ACCESS_TRANSITIONING = 0xf,
};
/*
 * How good that target port is for all of the device's LUNs; a new port is
 * active and optimized. Sessions get ASYMMETRIC ACCESS STATE CHANGED. -ENOENT:
 * no such port.
 */
int scsi_device_set_access_state(struct scsi_device *d, uint16_t tpgt,
				 enum scsi_access_state state);

/*
 * A target port of the device, for VPD 83 and 88 and the relative port
 * identifier: called when a portal group is mapped to the target.
 */
int scsi_device_add_port(struct scsi_device *d, uint16_t tpgt);
void scsi_device_remove_port(struct scsi_device *d, uint16_t tpgt);
