/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device server. Input: a byte of settings, then commands: a byte that
 * says which session and how it goes, a CDB (its length is the opcode's), the
 * two expected lengths, and data-out. Several may be under way; some are
 * aborted, cancelled or held while they send. The checks are the contract of
 * task.h; the rest is the sanitizers' and the assertions'.
 */
#include "fuzz.h"

#include "base/bytes.h"
#include "bdev/bdev.h"
#include "reactor/reactor_sim.h"
#include "scsi/device.h"
#include "scsi/task.h"

#define COMMANDS_MAX 32u
#define NEXUSES	     3u
#define CORES	     2u
#define NBLOCKS	     300u
#define LIMIT_NS     1000000000ull

enum { /* settings */
       SET_BLOCK_4K = 0x01,
       SET_REMOVABLE = 0x02,
       SET_READ_ONLY = 0x04,
       SET_LONG = 0x08,
};

enum { /* of a command; the lowest two bits are the session */
       DO_STABLE = 0x04,
       DO_TURN = 0x08,	 /* let it run before the next */
       DO_HOLD = 0x10,	 /* release it only at the end */
       DO_CANCEL = 0x20, /* once it has begun */
       DO_RESET = 0x40,	 /* a LOGICAL UNIT RESET after it */
       DO_OTHER_LUN = 0x80,
};

struct command {
	struct scsi_task task;
	struct mail mail;
	uint8_t *out;
	size_t out_len;
	uint8_t how;
	bool started, done, released;
};

struct run {
	struct reactors *set;
	struct bdev_registry *reg;
	struct scsi_server *server;
	struct scsi_device *device;
	struct scsi_nexus nexus[NEXUSES];
	struct command commands[COMMANDS_MAX];
	unsigned int ncommands;
	struct scsi_tmf tmf;
	struct mail tmf_mail;
	bool tmf_busy;
	struct mail mail;
	uint8_t settings;
};

static bool never(void *ctx)
{
	return false;
}

static void settle(struct run *r)
{
	sim_run_until(r->set, never, NULL, LIMIT_NS);
}

/* ---- The transport. */

static void release(struct command *c)
{
	CHECK(!c->released);
	c->released = true;
	scsi_task_release(&c->task);
}

static void touch_data_in(const struct scsi_task *t)
{
	uint32_t left = MIN(t->data_in_len, t->edtl_in);
	volatile uint8_t sum = 0;

	for (unsigned int i = 0; i < t->iovcnt && left > 0; i++) {
		const uint8_t *p = t->iov[i].iov_base;
		uint32_t n = (uint32_t)MIN((size_t)left, t->iov[i].iov_len);

		for (uint32_t k = 0; k < n; k++)
			sum = (uint8_t)(sum + p[k]);
		left -= n;
	}
	if (t->status == SCSI_GOOD)
		CHECK(left == 0);
}

static void complete(struct command *c)
{
	const struct scsi_task *t = &c->task;

	CHECK(!c->done);
	c->done = true;
	CHECK(t->state == SCSI_TASK_COMPLETE);
	CHECK(t->sense_len <= SCSI_SENSE_MAX);
	if (!t->aborted) {
		CHECK((t->status == SCSI_CHECK_CONDITION) ==
		      (t->sense_len > 0));
		touch_data_in(t);
	}
	if (t->aborted || !(c->how & DO_HOLD))
		release(c);
}

static void give_data(struct command *c)
{
	uint32_t len = MIN(c->task.edtl_out, c->task.data_out_len);
	uint32_t left = len, at = 0;

	for (unsigned int i = 0; i < c->task.iovcnt && left > 0; i++) {
		size_t n = MIN((size_t)left, c->task.iov[i].iov_len);

		for (size_t k = 0; k < n; k++, at++)
			((uint8_t *)c->task.iov[i].iov_base)[k] =
				at < c->out_len ? c->out[at] : 0;
		left -= (uint32_t)n;
	}
	CHECK(left == 0);
	if (scsi_task_execute(&c->task, len) == SCSI_DONE)
		complete(c);
}

static void on_done(struct scsi_task *t)
{
	complete(container_of(t, struct command, task));
}

static void on_data_ready(struct scsi_task *t)
{
	give_data(container_of(t, struct command, task));
}

static void on_aborted(struct scsi_task *t)
{
	struct command *c = container_of(t, struct command, task);

	CHECK(!c->done);
	c->done = true;
	release(c);
}

static const struct scsi_task_ops ops = {
	.done = on_done,
	.data_ready = on_data_ready,
	.aborted = on_aborted,
};

static void start(struct mail *mail)
{
	struct command *c = container_of(mail, struct command, mail);

	c->started = true;
	switch (scsi_task_start(&c->task)) {
	case SCSI_DONE:
		complete(c);
		return;
	case SCSI_PENDING:
		break;
	case SCSI_WANT_DATA:
		if ((c->how & DO_CANCEL) || c->task.iovcnt == 0)
			break;
		give_data(c);
		return;
	}
	if ((c->how & DO_CANCEL) && scsi_task_cancel(&c->task) == SCSI_DONE) {
		c->done = true;
		release(c);
	}
}

static void release_mail(struct mail *mail)
{
	release(container_of(mail, struct command, mail));
}

static void tmf_done(struct scsi_tmf *tmf)
{
	container_of(tmf, struct run, tmf)->tmf_busy = false;
}

static void tmf_start(struct mail *mail)
{
	scsi_tmf_start(&container_of(mail, struct run, tmf_mail)->tmf);
}

static void reset_unit(struct run *r, struct scsi_nexus *n)
{
	if (r->tmf_busy)
		return;
	r->tmf_busy = true;
	memset(&r->tmf, 0, sizeof(r->tmf));
	r->tmf.nexus = n;
	r->tmf.function = SCSI_TMF_LOGICAL_UNIT_RESET;
	r->tmf.done = tmf_done;
	r->tmf_mail.run = tmf_start;
	mail_post(n->reactor, &r->tmf_mail);
}

/* ---- One command of the input. */

static size_t cdb_bytes(uint8_t opcode)
{
	static const uint8_t lens[] = {6, 10, 10, 10, 16, 12, 10, 10};

	return opcode == 0x7f ? 32 : lens[opcode >> 5];
}

static void one_command(struct run *r, struct input *in)
{
	struct command *c = &r->commands[r->ncommands++];
	struct scsi_task *t = &c->task;
	uint8_t *cdb;
	size_t len;

	memset(c, 0x5a, sizeof(*c));
	c->started = c->done = c->released = false;
	c->how = input_u8(in);
	t->ops = &ops;
	t->nexus = &r->nexus[(c->how & 3) % NEXUSES];
	t->lun = c->how & DO_OTHER_LUN ? 3ull << 48 : 0;
	t->tag = r->ncommands;
	t->attr = SCSI_ATTR_SIMPLE;
	t->priority = 0;
	t->stable_data = c->how & DO_STABLE;
	memset(t->cdb, 0, sizeof(t->cdb));
	cdb = input_copy(in, in->left > 0 ? cdb_bytes(*in->data) : 0, &len);
	memcpy(t->cdb, cdb, len);
	free(cdb);
	t->cdb_len = (uint16_t)MAX(len, (size_t)16);
	t->edtl_out = input_u16(in);
	t->edtl_in = input_u16(in);
	c->out = input_copy(in, MIN(t->edtl_out, 512u), &c->out_len);
	c->mail.run = start;
	mail_post(t->nexus->reactor, &c->mail);
	if (c->how & DO_RESET)
		reset_unit(r, t->nexus);
	if (c->how & DO_TURN)
		settle(r);
}

/* ---- The world. */

static void build(struct mail *mail)
{
	struct run *r = container_of(mail, struct run, mail);
	struct bdev_common common = {.name = "Disk"};
	struct lun_options opt = {
		.removable = r->settings & SET_REMOVABLE,
		.read_only = r->settings & SET_READ_ONLY,
		.long_cdbs = r->settings & SET_LONG,
	};
	struct bdev *bdev;

	CHECK(bdev_registry_create(r->set, &r->reg) == 0);
	CHECK(bdev_malloc_create(r->reg, &common, NBLOCKS,
				 r->settings & SET_BLOCK_4K ? 4096 : 512, &bdev,
				 NULL) == 0);
	CHECK(scsi_server_create(r->set, r->reg, &r->server) == 0);
	CHECK(scsi_device_create(r->server, "iqn.2016-06.io.spdk:f",
				 &r->device) == 0);
	CHECK(scsi_device_add_port(r->device, 1) == 0);
	CHECK(scsi_device_add_lun(r->device, 0, "Disk", &opt, NULL) == 0);
}

static void open_all(struct mail *mail)
{
	struct scsi_nexus *n;
	struct run *r = container_of(mail, struct run, mail);

	for (unsigned int i = 0; i < NEXUSES; i++) {
		n = &r->nexus[i];
		if (n->reactor == reactor_current())
			scsi_nexus_open(n);
	}
}

static void close_all(struct mail *mail)
{
	struct scsi_nexus *n;
	struct run *r = container_of(mail, struct run, mail);

	for (unsigned int i = 0; i < NEXUSES; i++) {
		n = &r->nexus[i];
		if (n->reactor == reactor_current())
			scsi_nexus_close(n);
	}
}

static void destroy(struct mail *mail)
{
	struct run *r = container_of(mail, struct run, mail);

	scsi_device_destroy(r->device, NULL);
}

static void remove_disk(struct mail *mail)
{
	struct run *r = container_of(mail, struct run, mail);

	CHECK(bdev_remove(bdev_first(r->reg), NULL) == 0);
}

static void on_core(struct run *r, unsigned int core,
		    void (*fn)(struct mail *mail))
{
	r->mail.run = fn;
	mail_post(reactors_get(r->set, core), &r->mail);
	settle(r);
}

static void end_commands(struct run *r)
{
	bool again;

	/* What is held may be in the way of others: an extent lock waits for
	 * data that is still being sent out of the medium. */
	do {
		settle(r);
		again = false;
		for (unsigned int i = 0; i < r->ncommands; i++) {
			struct command *c = &r->commands[i];

			if (c->released || !c->done)
				continue;
			c->mail.run = release_mail;
			mail_post(c->task.nexus->reactor, &c->mail);
			settle(r);
			again = true;
		}
	} while (again);
	for (unsigned int i = 0; i < r->ncommands; i++) {
		CHECK(r->commands[i].done && r->commands[i].released);
		free(r->commands[i].out);
	}
	CHECK(!r->tmf_busy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct sim_options sim = {.seed = size, .nreactors = CORES};
	struct run *r = calloc(1, sizeof(*r));

	CHECK(r != NULL);
	r->settings = input_u8(&in);
	CHECK(sim_create(&sim, &r->set) == 0);
	on_core(r, 0, build);
	for (unsigned int i = 0; i < NEXUSES; i++) {
		r->nexus[i].reactor = reactors_get(r->set, i % CORES);
		r->nexus[i].device = r->device;
		snprintf(r->nexus[i].initiator_name,
			 sizeof(r->nexus[i].initiator_name), "iqn.2000-01.h:%u",
			 i);
		r->nexus[i].tpgt = 1;
	}
	for (unsigned int core = 0; core < CORES; core++)
		on_core(r, core, open_all);
	while (in.left > 0 && r->ncommands < COMMANDS_MAX)
		one_command(r, &in);
	end_commands(r);
	for (unsigned int core = 0; core < CORES; core++)
		on_core(r, core, close_all);
	on_core(r, 0, destroy);
	scsi_server_destroy(r->server);
	on_core(r, 0, remove_disk);
	CHECK(bdev_first(r->reg) == NULL);
	bdev_registry_destroy(r->reg);
	reactors_destroy(r->set);
	free(r);
	return 0;
}
