/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A simulated world with a device server, and a transport that a test drives:
 * one command to its end, or step by step.
 */
#pragma once

#include "../unit.h"

#include "base/bytes.h"
#include "bdev/bdev.h"
#include "reactor/reactor_sim.h"
#include "scsi/device.h"
#include "scsi/lun.h"
#include "scsi/scsi_spec.h"
#include "scsi/task.h"

#define RIG_LIMIT_NS (100ull * 1000 * 1000 * 1000)
#define RIG_CORES    2
#define RIG_NEXUSES  4 /* nexus n is on core n % RIG_CORES */

struct rig {
	struct reactors *set;
	struct bdev_registry *reg;
	struct scsi_server *server;
	struct scsi_device *device;
	struct scsi_nexus nexus[RIG_NEXUSES];
	struct bdev *bdev;
	uint32_t block_size;
	struct xfer *last; /* of rig_run() */
};

/* What the transport does at each turn. */
enum rig_hold {
	HOLD_NOT,
	HOLD_DATA = 1,	  /* keeps data-out to itself */
	HOLD_RELEASE = 2, /* does not release when it is complete */
};

struct xfer {
	struct scsi_task task;
	struct rig *rig;
	struct mail mail;
	uint8_t *out;
	uint8_t *in; /* task.edtl_in bytes */
	uint32_t in_len;
	unsigned int hold;
	bool wanted; /* data-out was asked for */
	bool done, aborted, released;
};

enum rig_disk { DISK_MALLOC, DISK_FILE };

void rig_create(struct rig *rig, enum rig_disk kind, uint64_t nblocks,
		uint32_t block_size, const struct lun_options *opt,
		const struct sim_options *sim);
void rig_destroy(struct rig *rig);
void rig_settle(struct rig *rig);
void rig_on(struct rig *rig, uint32_t core, void (*fn)(void *), void *arg);
int rig_add_lun(struct rig *rig, int lun_id, const char *bdev,
		const struct lun_options *opt);
/* Takes the power-on unit attention from LUN 0 of every nexus. */
void rig_clear_ua(struct rig *rig);

/* A new xfer on LUN 0 of the nexus; @cdb of @len bytes. */
struct xfer *xfer_new(struct rig *rig, uint32_t nexus, const uint8_t *cdb,
		      size_t len);
void xfer_free(struct xfer *x);
void xfer_out(struct xfer *x, const void *data, uint32_t len);
void xfer_start(struct xfer *x);   /* from its core; returns at once */
void xfer_go(struct xfer *x);	   /* gives the data-out it held */
void xfer_release(struct xfer *x); /* it was held complete */

/* All of a command. @out may be NULL. The xfer is kept by the rig until the
 * next run: its sense and in are valid. */
struct xfer *rig_run(struct rig *rig, uint32_t nexus, const uint8_t *cdb,
		     size_t len, const void *out, uint32_t out_len,
		     uint32_t in_len);

/* Fixed format sense of a CHECK CONDITION. */
void check_sense(const struct xfer *x, uint8_t key, uint16_t asc);
void check_field(const struct xfer *x, uint16_t byte, int bit);
void check_good(const struct xfer *x);

#define CDB(...) \
	(const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})
