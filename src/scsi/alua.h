/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Asymmetric access (SPC-4, 5.15): each target port of a device, which is a
 * portal group, is a target port group with a state of its own. Private to the
 * scsi layer; scsi_device_set_access_state() is in device.h.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "scsi/cmd.h"
#include "scsi/lun.h"

/* May the command be carried out through a port in that state? */
bool alua_allows(const struct scsi_cmd *cmd, uint8_t access);
/* Ends @t, because it may not. */
enum scsi_step alua_refuse(struct scsi_task *t);

/* On a core: the ports of @dv are new; its nexuses are to know. */
void alua_refresh(struct device_view *dv, const struct scsi_nexus *except);
void alua_refresh_nexus(struct scsi_nexus *n);

/* Control reactor: the cores have the states that were asked for. */
void alua_told(struct scsi_device *d);
