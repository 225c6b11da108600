/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * I_T nexus (SAM-5, 4.5): an initiator port in touch with a target port. For
 * iSCSI that is a session. It belongs to the session's reactor.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/str.h"
#include "reactor/reactor.h"

#define SCSI_LUNS_MAX 256 /* per target: LUN 0..255 */

struct scsi_device;
struct scsi_task;
struct device_view;

/* RFC 7143, 3: "name,i,0x" and 12 hex digits; "name,t,0x" and 4. */
#define SCSI_PORT_NAME_MAX (ISCSI_NAME_MAX + 18)

#define SCSI_ECHO_MAX	   256 /* bytes of the echo buffer */
#define COPY_RECORDS_MAX   8   /* copies that a nexus can ask about */

/* What is known of a copy (copy.h). */
struct copy_record {
	bool used, running;
	bool aborted;
	uint8_t action; /* service action */
	uint8_t status; /* how the command ended */
	uint8_t sense_len;
	uint8_t sense[32];
	uint16_t segments; /* done */
	uint32_t list_id;
	uint32_t age;
	uint64_t bytes; /* copied */
};

struct scsi_nexus {
	/* Set by the transport before scsi_nexus_open(). */
	struct reactor *reactor;
	struct scsi_device *device; /* the target */
	char initiator_name[ISCSI_NAME_MAX + 1];
	uint8_t isid[6];
	uint16_t tpgt; /* target portal group tag */
	/* The device server's. */
	struct list link;	      /* device view's nexuses */
	struct device_view *dv;	      /* the device on this core */
	uint64_t id;		      /* of all that ever were */
	uint32_t ua[SCSI_LUNS_MAX];   /* pending, as bits (ua.h) */
	uint8_t pr[SCSI_LUNS_MAX];    /* as bits (reserve.h) */
	bool prevents[SCSI_LUNS_MAX]; /* forbids removal */
	bool cleared;		      /* CLEAR TASK SET, in passing */
	uint8_t access;		      /* of its port (alua.h) */
	uint16_t echo_len, echo_lun;  /* WRITE BUFFER */
	uint8_t echo[SCSI_ECHO_MAX];
	uint32_t copy_age;
	struct copy_record copies[COPY_RECORDS_MAX];
};

/* On the nexus' reactor. Sets the POWER ON unit attentions. */
void scsi_nexus_open(struct scsi_nexus *nexus);
/* All of its tasks are released. I_T nexus loss (SAM-5, 6.3.4). */
void scsi_nexus_close(struct scsi_nexus *nexus);
