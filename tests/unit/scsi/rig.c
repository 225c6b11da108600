/* SPDX-License-Identifier: BSD-3-Clause */
#include "rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static bool never(void *ctx)
{
	return false;
}

void rig_settle(struct rig *rig)
{
	sim_run_until(rig->set, never, NULL, RIG_LIMIT_NS);
}

struct call {
	struct mail mail;
	void (*fn)(void *arg);
	void *arg;
};

static void run_call(struct mail *mail)
{
	struct call *call = container_of(mail, struct call, mail);

	call->fn(call->arg);
}

void rig_on(struct rig *rig, uint32_t core, void (*fn)(void *), void *arg)
{
	struct call call = {.mail.run = run_call, .fn = fn, .arg = arg};

	mail_post(reactors_get(rig->set, core), &call.mail);
	rig_settle(rig);
}

/* ---- Building it. */

struct change {
	struct scsi_change change;
	struct rig *rig;
	const struct lun_options *opt;
	const char *bdev;
	int lun_id;
	int result;
	bool done;
};

static void change_done(struct scsi_change *change)
{
	container_of(change, struct change, change)->done = true;
}

static void add_lun(void *arg)
{
	struct change *c = arg;

	c->result = scsi_device_add_lun(c->rig->device, c->lun_id, c->bdev,
					c->opt, &c->change);
}

int rig_add_lun(struct rig *rig, int lun_id, const char *bdev,
		const struct lun_options *opt)
{
	struct change c = {.change.done = change_done,
			   .rig = rig,
			   .opt = opt,
			   .bdev = bdev,
			   .lun_id = lun_id};

	rig_on(rig, 0, add_lun, &c);
	if (c.result == 0) {
		assert_true(c.done);
		c.result = c.change.result;
	}
	return c.result;
}

static void open_nexus(void *arg)
{
	scsi_nexus_open(arg);
}

static void close_nexus(void *arg)
{
	scsi_nexus_close(arg);
}

static void create_disk(struct rig *rig, enum rig_disk kind, uint64_t nblocks,
			uint32_t block_size)
{
	struct bdev_common common = {.name = "Disk0"};
	const char *why = NULL;
	char path[64];
	int fd, rc;

	if (kind == DISK_MALLOC) {
		rc = bdev_malloc_create(rig->reg, &common, nblocks, block_size,
					&rig->bdev, &why);
		assert_int_equal(rc, 0);
		return;
	}
	fd = memfd_create("disk", MFD_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)(nblocks * block_size)), 0);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	rc = bdev_file_create(rig->reg, &common, path, block_size, &rig->bdev,
			      &why);
	assert_int_equal(rc, 0);
	close(fd);
}

static void build(void *arg)
{
	struct rig *rig = arg;

	assert_int_equal(bdev_registry_create(rig->set, &rig->reg), 0);
	assert_int_equal(scsi_server_create(rig->set, rig->reg, &rig->server),
			 0);
	assert_int_equal(scsi_device_create(rig->server,
					    "iqn.2016-06.io.spdk:disk1",
					    &rig->device),
			 0);
	assert_int_equal(scsi_device_add_port(rig->device, 1), 0);
}

void rig_create(struct rig *rig, enum rig_disk kind, uint64_t nblocks,
		uint32_t block_size, const struct lun_options *opt,
		const struct sim_options *sim)
{
	struct sim_options defaults = {.seed = 1, .nreactors = RIG_CORES};

	memset(rig, 0, sizeof(*rig));
	rig->block_size = block_size;
	assert_int_equal(sim_create(sim ? sim : &defaults, &rig->set), 0);
	rig_on(rig, 0, build, rig);
	create_disk(rig, kind, nblocks, block_size);
	rig_settle(rig);
	assert_int_equal(rig_add_lun(rig, 0, "Disk0", opt), 0);
	for (uint32_t i = 0; i < RIG_NEXUSES; i++) {
		struct scsi_nexus *n = &rig->nexus[i];

		n->reactor = reactors_get(rig->set, i % RIG_CORES);
		n->device = rig->device;
		(void)snprintf(n->initiator_name, sizeof(n->initiator_name),
			       "iqn.2016-06.io.spdk:host%u", i);
		n->isid[5] = (uint8_t)i;
		n->tpgt = 1;
		rig_on(rig, i % RIG_CORES, open_nexus, n);
	}
}

static void destroy_device(void *arg)
{
	struct change *c = arg;

	scsi_device_destroy(c->rig->device, &c->change);
}

static void remove_disks(void *arg)
{
	struct rig *rig = arg;
	struct bdev *b;

	while ((b = bdev_first(rig->reg)) != NULL && !b->removing)
		assert_int_equal(bdev_remove(b, NULL), 0);
}

void rig_destroy(struct rig *rig)
{
	struct change c = {.change.done = change_done, .rig = rig};

	for (uint32_t i = 0; i < RIG_NEXUSES; i++)
		rig_on(rig, i % RIG_CORES, close_nexus, &rig->nexus[i]);
	rig_on(rig, 0, destroy_device, &c);
	assert_true(c.done);
	xfer_free(take(&rig->last));
	scsi_server_destroy(rig->server);
	rig_on(rig, 0, remove_disks, rig);
	assert_null(bdev_first(rig->reg));
	bdev_registry_destroy(rig->reg);
	for (uint32_t i = 0; i < RIG_CORES; i++)
		assert_int_equal(bufpool_in_use(reactor_bufpool(
					 reactors_get(rig->set, i))),
				 0);
	reactors_destroy(rig->set);
}

void rig_clear_ua(struct rig *rig)
{
	for (uint32_t i = 0; i < RIG_NEXUSES; i++) {
		struct xfer *x;

		do {
			x = xfer_new(rig, i, CDB(0, 0, 0, 0, 0, 0));
			xfer_start(x);
			rig_settle(rig);
			assert_true(x->released);
			if (x->task.status == SCSI_GOOD) {
				xfer_free(x);
				break;
			}
			check_sense(x, KEY_UNIT_ATTENTION,
				    load_be16(x->task.sense + 12));
			xfer_free(x);
		} while (true);
	}
}

/* ---- The transport. */

static void finish(struct xfer *x)
{
	if (x->hold & HOLD_RELEASE)
		return;
	x->released = true;
	scsi_task_release(&x->task);
}

static void take_data_in(struct xfer *x)
{
	uint32_t left = MIN(x->task.data_in_len, x->task.edtl_in);

	x->in_len = 0;
	for (unsigned int i = 0; i < x->task.iovcnt && left > 0; i++) {
		uint32_t n =
			(uint32_t)MIN((size_t)left, x->task.iov[i].iov_len);

		memcpy(x->in + x->in_len, x->task.iov[i].iov_base, n);
		x->in_len += n;
		left -= n;
	}
	if (x->task.status == SCSI_GOOD)
		assert_int_equal(left, 0);
}

static void complete(struct xfer *x)
{
	assert_false(x->done);
	x->done = true;
	assert_int_equal(x->task.state, SCSI_TASK_COMPLETE);
	assert_true(x->task.sense_len <= SCSI_SENSE_MAX);
	if (!x->task.aborted)
		take_data_in(x);
	finish(x);
}

static void give_data(struct xfer *x)
{
	uint32_t len = MIN(x->task.edtl_out, x->task.data_out_len);
	uint32_t left = len, at = 0;

	for (unsigned int i = 0; i < x->task.iovcnt && left > 0; i++) {
		uint32_t n =
			(uint32_t)MIN((size_t)left, x->task.iov[i].iov_len);

		memcpy(x->task.iov[i].iov_base, x->out + at, n);
		at += n;
		left -= n;
	}
	assert_int_equal(left, 0);
	if (scsi_task_execute(&x->task, len) == SCSI_DONE)
		complete(x);
}

static void wanted(struct xfer *x)
{
	x->wanted = true;
	if (!(x->hold & HOLD_DATA))
		give_data(x);
}

static void on_done(struct scsi_task *t)
{
	struct xfer *x = container_of(t, struct xfer, task);

	if (t->aborted)
		x->aborted = true;
	complete(x);
}

static void on_data_ready(struct scsi_task *t)
{
	wanted(container_of(t, struct xfer, task));
}

static void on_aborted(struct scsi_task *t)
{
	struct xfer *x = container_of(t, struct xfer, task);

	assert_true(t->aborted);
	x->aborted = true;
	x->done = true;
	finish(x);
}

static const struct scsi_task_ops ops = {
	.done = on_done,
	.data_ready = on_data_ready,
	.aborted = on_aborted,
};

struct xfer *xfer_new(struct rig *rig, uint32_t nexus, const uint8_t *cdb,
		      size_t len)
{
	struct xfer *x = malloc(sizeof(*x));

	assert_non_null(x);
	memset(x, 0xa5, sizeof(*x)); /* as a slab leaves it */
	x->rig = rig;
	x->out = NULL;
	x->in = NULL;
	x->in_len = 0;
	x->hold = HOLD_NOT;
	x->wanted = x->done = x->aborted = x->released = false;
	x->task.ops = &ops;
	x->task.nexus = &rig->nexus[nexus];
	x->task.lun = 0;
	x->task.tag = 1;
	x->task.edtl_out = x->task.edtl_in = 0;
	x->task.attr = SCSI_ATTR_SIMPLE;
	x->task.priority = 0;
	x->task.stable_data = false;
	memset(x->task.cdb, 0, sizeof(x->task.cdb));
	memcpy(x->task.cdb, cdb, len);
	x->task.cdb_len = (uint16_t)MAX(len, (size_t)16);
	return x;
}

void xfer_free(struct xfer *x)
{
	if (x == NULL)
		return;
	assert_true(x->released);
	free(x->out);
	free(x->in);
	free(x);
}

void xfer_out(struct xfer *x, const void *data, uint32_t len)
{
	x->task.edtl_out = len;
	x->out = malloc(len > 0 ? len : 1);
	assert_non_null(x->out);
	memcpy(x->out, data, len);
}

static void start(struct mail *mail)
{
	struct xfer *x = container_of(mail, struct xfer, mail);

	switch (scsi_task_start(&x->task)) {
	case SCSI_DONE:
		complete(x);
		break;
	case SCSI_PENDING:
		break;
	case SCSI_WANT_DATA:
		if (x->task.iovcnt > 0)
			wanted(x);
		break;
	}
}

void xfer_start(struct xfer *x)
{
	x->in = calloc(1, x->task.edtl_in + 1);
	assert_non_null(x->in);
	x->mail.run = start;
	mail_post(x->task.nexus->reactor, &x->mail);
}

static void go(struct mail *mail)
{
	struct xfer *x = container_of(mail, struct xfer, mail);

	x->hold &= ~(unsigned int)HOLD_DATA;
	if (!x->aborted)
		give_data(x);
	else
		finish(x);
}

void xfer_go(struct xfer *x)
{
	assert_true(x->wanted);
	x->mail.run = go;
	mail_post(x->task.nexus->reactor, &x->mail);
}

static void release(struct mail *mail)
{
	struct xfer *x = container_of(mail, struct xfer, mail);

	assert_true(x->done && !x->released);
	x->hold = HOLD_NOT;
	finish(x);
}

void xfer_release(struct xfer *x)
{
	x->mail.run = release;
	mail_post(x->task.nexus->reactor, &x->mail);
}

struct xfer *rig_run(struct rig *rig, uint32_t nexus, const uint8_t *cdb,
		     size_t len, const void *out, uint32_t out_len,
		     uint32_t in_len)
{
	xfer_free(rig->last);
	rig->last = xfer_new(rig, nexus, cdb, len);
	if (out != NULL)
		xfer_out(rig->last, out, out_len);
	rig->last->task.edtl_in = in_len;
	xfer_start(rig->last);
	rig_settle(rig);
	assert_true(rig->last->done && rig->last->released);
	return rig->last;
}

/* ---- Checks. */

void check_good(const struct xfer *x)
{
	if (x->task.status != SCSI_GOOD)
		fail_msg("status %02x sense %02x/%04x", x->task.status,
			 x->task.sense[2], load_be16(x->task.sense + 12));
}

void check_sense(const struct xfer *x, uint8_t key, uint16_t asc)
{
	const uint8_t *s = x->task.sense;

	assert_int_equal(x->task.status, SCSI_CHECK_CONDITION);
	assert_int_equal(x->task.sense_len, 18);
	assert_int_equal(s[0] & 0x7f, 0x70);
	assert_int_equal(s[2], key);
	assert_int_equal(load_be16(s + 12), asc);
}

void check_field(const struct xfer *x, uint16_t byte, int bit)
{
	const uint8_t *s = x->task.sense;

	check_sense(x, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_CDB);
	assert_int_equal(s[15] & 0xc0, 0xc0);
	assert_int_equal(load_be16(s + 16), byte);
	if (bit >= 0)
		assert_int_equal(s[15] & 0x0f, 0x08 | bit);
}
