/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Logical units and devices as each core sees them, and their masters on the
 * control reactor. Private to the scsi layer.
 *
 * struct lun (control) ---- lun_view[core]: what commands touch
 *     |                        |
 * struct lun_slot (control) -- lun_path[core]: LUN 5 of that device is me
 *     |                        |
 * struct scsi_device  -------- device_view[core]: LUN -> view, nexuses
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "bdev/bdev.h"
#include "scsi/device.h"
#include "scsi/nexus.h"
#include "scsi/sweep.h"
#include "scsi/task.h"
#include "scsi/ua.h"

#define LUN_VENDOR_LEN	 8 /* SPC-4, 6.6.2 */
#define LUN_PRODUCT_LEN	 16
#define LUN_REVISION_LEN 4
#define LUN_SERIAL_MAX	 64
#define DEVICE_PORTS_MAX 256

/* What a core has for all devices. */
struct scsi_core {
	struct scsi_server *server;
	struct reactor *reactor;
	uint32_t index;
	uint64_t seq;	      /* tasks that have begun here */
	uint64_t nexuses;     /* that were opened here */
	struct list tmfs;     /* struct scsi_tmf */
	struct list drains;   /* struct sweep_core */
	struct deferred work; /* tmfs and drains */
	uint32_t copies;      /* under way (copy.h) */
};

/*
 * What can change for all: the master is the lun's, on the home (control)
 * reactor; every view has a copy, taken before anybody is answered.
 */
struct lun_state {
	bool write_cache;      /* WCE */
	bool protect;	       /* SWP: by mode page 0Ah */
	bool d_sense;	       /* descriptor format sense */
	bool tas;	       /* TASK ABORTED for other nexuses */
	bool stopped;	       /* START STOP UNIT */
	bool ejected;	       /* removable: no medium */
	uint32_t prevented;    /* nexuses that forbid removal */
	bool clock_set;	       /* SET TIMESTAMP */
	uint64_t clock_offset; /* ms, on top of the system's */
	uint8_t wipe;	       /* enum wipe_state */
	bool wipe_exit;	       /* EXIT FAILURE MODE may */
	uint64_t reserved;     /* RESERVE: whose; 0 = nobody's */
};

struct device_view;

/* What a nexus that ends leaves behind, on its way home. */
struct nexus_loss {
	struct mail mail;
	struct list link;  /* lun->losses */
	uint64_t id;	   /* whose reservation ends; 0 = none */
	uint32_t prevents; /* how many forbade removal */
	uint64_t next_id;  /* while it is under way */
	uint32_t next_prevents;
	bool busy;
};

struct lun_view {
	struct scsi_core *core;
	struct lun *lun;
	struct bdev_channel *ch;
	uint64_t nblocks;
	uint32_t block_size;
	uint8_t block_shift;
	bool map;	     /* BDEV_CAP_MAP */
	bool removed;	     /* the bdev goes away */
	bool guarded;	     /* a reservation is there */
	bool volatile_cache; /* the bdev's: FUA is work */
	uint32_t max_blocks; /* of one transfer */
	struct lun_state state;
	const struct pr_table *pr; /* the lun's; NULL = never any */
	struct nexus_loss loss;
	struct list tasks;  /* scsi_task.link, by age */
	struct list wipers; /* tasks that wait for a wipe */
	struct list locks;  /* struct lock_core */
	struct list paths;  /* struct lun_path */
};

/* LUN @lun_id of a device is this view, on one core. */
struct lun_path {
	struct list link; /* view->paths */
	struct lun_view *view;
	struct device_view *dv;
	uint32_t lun_id;
};

struct device_view {
	struct scsi_core *core;
	struct scsi_device *device;
	struct list nexuses;
	uint16_t ports[DEVICE_PORTS_MAX]; /* target portal group tags */
	uint8_t access[DEVICE_PORTS_MAX]; /* enum scsi_access_state */
	uint8_t cause[DEVICE_PORTS_MAX];  /* of the last change (alua.c) */
	uint32_t nports;
	struct lun_view *luns[SCSI_LUNS_MAX];
};

/* ---- Masters. */

struct lun {
	struct scsi_server *server;
	struct bdev *bdev;
	struct bdev_desc desc;
	struct list link;	/* server's */
	struct list slots;	/* struct lun_slot.lun_link */
	struct lun_view *views; /* [core] */
	struct lun_state state;
	struct sweep mark_sweep, resize_sweep, close_sweep, state_sweep;
	struct list changes;	   /* tasks, by waiter.link (home.c) */
	struct scsi_task *changer; /* whose change is under way */
	enum ua_bit change_ua;
	struct pr_table *pr, *pr_next; /* persistent reservations */
	struct list losses;	       /* struct nexus_loss, by their views */
	struct lun_view *loser;	       /* whose loss is under way */
	struct wipe *wipe;	       /* under way */
	bool wipe_ending;	       /* the cores are being told */
	bool reset_wanted, resetting;  /* LOGICAL UNIT RESET */
	struct extent_lock *lock_mem;  /* [LOCKS_MAX] */
	struct list locks_free, locks_held;
	struct list lock_waiters; /* tasks, by waiter.link */
	uint64_t new_nblocks;
	bool resize_again;
	bool removing; /* the bdev said so */
	/* Fixed while it lives: read on every core. */
	char vendor[LUN_VENDOR_LEN]; /* padded with spaces, no NUL */
	char product[LUN_PRODUCT_LEN];
	char revision[LUN_REVISION_LEN];
	char serial[LUN_SERIAL_MAX + 1];
	uint8_t naa[8];
	bool read_only;
	bool removable;
	bool long_cdbs;
};

enum slot_state { SLOT_ADDING, SLOT_LIVE, SLOT_REMOVING };

struct lun_slot {
	struct scsi_device *device;
	struct lun *lun;
	uint32_t lun_id;
	enum slot_state state;
	int error;	      /* why an addition is undone */
	struct list lun_link; /* lun->slots */
	struct sweep sweep;
	struct lun_path *paths;	    /* [core] */
	struct scsi_change *change; /* the addition's, then the removal's */
	bool remove_wanted;	    /* once it is added */
	struct scsi_change *remove_change;
};

struct scsi_device {
	struct scsi_server *server;
	const char *name;
	uint32_t id;
	struct list link;
	struct device_view *views; /* [core] */
	struct lun_slot *slots[SCSI_LUNS_MAX];
	uint32_t nslots;
	uint16_t ports[DEVICE_PORTS_MAX];
	uint32_t nports;
	uint8_t access[DEVICE_PORTS_MAX], cause[DEVICE_PORTS_MAX];
	bool access_changed;		       /* the cores are to be told */
	const struct scsi_nexus *access_asker; /* who knows already */
	struct list access_waiters;	       /* tasks, by waiter.link */
	struct sweep ports_sweep;
	uint16_t new_ports[DEVICE_PORTS_MAX];
	uint8_t new_access[DEVICE_PORTS_MAX], new_cause[DEVICE_PORTS_MAX];
	bool new_access_changed;
	const struct scsi_nexus *new_asker;
	uint32_t new_nports;
	bool ports_again;
	bool closing;
	struct scsi_change *destroying;
};

struct scsi_server {
	struct reactors *set;
	struct bdev_registry *bdevs;
	struct list devices, luns;
	struct scsi_core *cores; /* [ncores] */
	uint32_t ncores;
};

/* lun.c, control reactor. A lun with its views, not yet open on any core. */
int lun_create(struct scsi_server *s, const char *bdev_name,
	       const struct lun_options *opt, struct lun **ret);
struct lun *lun_find(struct scsi_server *s, const char *bdev_name);
/* A slot is gone; the last one closes the logical unit. */
void lun_put_slot(struct lun *lun, struct lun_slot *slot);
/* On each core: the channel, once. 0 or -ENOMEM. */
int lun_view_open(struct lun_view *view);
/* Something that kept it has ended. */
void lun_try_close(struct lun *lun);

/* device.c: begins to take the slot out, now or when it has been added. */
void slot_remove(struct lun_slot *slot);
/* device.c: the cores are to have the ports as they are now. */
void device_start_ports(struct scsi_device *d);

/* task.c: aborts the tasks of @view that are meant, one by one. The nexus that
 * asks for it (NULL: nobody) decides about TASK ABORTED. */
typedef bool task_match_fn(const struct scsi_task *t, const void *ctx);
void task_abort_matching(struct lun_view *view, task_match_fn *match,
			 const void *ctx, bool send_status);
void task_abort(struct scsi_task *t, bool send_status);
bool task_any_matching(const struct lun_view *view, task_match_fn *match,
		       const void *ctx);

/* tmf.c: something ended on this core. */
void core_wake(struct scsi_core *core);
void core_init(struct scsi_core *core, struct scsi_server *s, uint32_t index);
/* @c is done as soon as busy(c) is false, here. */
void core_drain(struct scsi_core *core, struct sweep_core *c,
		bool (*busy)(struct sweep_core *c));
void core_task_released(struct scsi_core *core, struct scsi_task *t);

/* The view of an 8-byte LUN (SAM-5, 4.7) and its number; NULL: none. */
struct lun_view *device_view_lun(struct device_view *dv, uint64_t lun,
				 uint32_t *ret_id);
