/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * READ and WRITE BUFFER (SPC-4, 6.26 and 6.49), diagnostics (6.30 and 6.43),
 * and the timestamp (6.38 and 6.46).
 */
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "scsi/home.h"
#include "scsi/task_priv.h"

/* ---- The echo buffer: of each nexus, for the LUN that wrote it last. */

#define BUF_MODE       0x1f
#define BUF_DESCRIPTOR 0x03
#define BUF_ECHO       0x0a
#define BUF_ECHO_DESC  0x0b

static uint32_t lun_number(const struct scsi_task *t)
{
	uint32_t id;

	(void)device_view_lun(t->nexus->dv, t->lun, &id);
	return id;
}

static enum scsi_step read_echo(struct scsi_task *t, uint32_t alloc)
{
	const struct scsi_nexus *n = t->nexus;
	uint8_t *data;

	/* 6.26.8: something was to be written first. */
	if (n->echo_len == 0 || n->echo_lun != lun_number(t))
		return sense_fail(t, KEY_ILLEGAL_REQUEST, ASC_SEQUENCE_ERROR);
	data = task_small(t, n->echo_len);
	memcpy(data, n->echo, n->echo_len);
	return task_data_in(t, data, n->echo_len, alloc);
}

enum scsi_step cmd_read_buffer(struct scsi_task *t)
{
	uint32_t alloc = load_be24(t->cdb + 6);
	uint8_t *data;

	switch (t->cdb[1] & BUF_MODE) {
	case BUF_DESCRIPTOR: /* there is no buffer but for echo */
		return task_data_in(t, task_small(t, 4), 4, alloc);
	case BUF_ECHO:
		return read_echo(t, alloc);
	case BUF_ECHO_DESC:
		data = task_small(t, 4);
		store_be16(data + 2, SCSI_ECHO_MAX);
		return task_data_in(t, data, 4, alloc);
	default:
		return sense_cdb(t, 1, 4);
	}
}

enum scsi_step cmd_write_buffer(struct scsi_task *t)
{
	uint32_t len = load_be24(t->cdb + 6);

	if ((t->cdb[1] & BUF_MODE) != BUF_ECHO)
		return sense_cdb(t, 1, 4);
	if (len > SCSI_ECHO_MAX)
		return sense_cdb(t, 6, 7);
	if (len == 0)
		return task_good(t);
	return task_want_params(t, len);
}

enum scsi_step exec_write_buffer(struct scsi_task *t, uint32_t len)
{
	struct scsi_nexus *n = t->nexus;

	if (len < t->data_out_len)
		return sense_fail(t, KEY_ILLEGAL_REQUEST,
				  ASC_PARAM_LIST_LENGTH);
	memcpy(n->echo, t->iov[0].iov_base, len);
	n->echo_len = (uint16_t)len;
	n->echo_lun = (uint16_t)lun_number(t);
	return task_good(t);
}

/* ---- Diagnostics. */

#define DIAG_CODE     0xe0
#define DIAG_SELFTEST 0x04
#define DIAG_PCV      0x01

static enum scsi_step test_read(struct scsi_task *t)
{
	if (t->io.result < 0)
		return sense_fail(t, KEY_HARDWARE_ERROR, ASC_SELF_TEST_FAILED);
	return task_good(t);
}

/* The default self-test: can the backend be read? */
static enum scsi_step self_test(struct scsi_task *t)
{
	if (!t->own_buffers && !task_buffers(t, t->view->block_size, self_test))
		return SCSI_PENDING;
	t->io.op = BDEV_READ;
	t->io.fua = false;
	t->io.offset = 0;
	t->io.len = t->view->block_size;
	t->io.iov = t->iov_many;
	t->io.iovcnt = t->iovcnt;
	return task_io(t, test_read);
}

enum scsi_step cmd_send_diagnostic(struct scsi_task *t)
{
	uint8_t flags = t->cdb[1];

	if (load_be16(t->cdb + 3) != 0) /* no pages are taken */
		return sense_cdb(t, 3, 7);
	if (flags & DIAG_CODE)
		return sense_cdb(t, 1, 7);
	if (!(flags & DIAG_SELFTEST))
		return task_good(t);
	return self_test(t);
}

/* 7.2.9: the page that lists the pages is the only one. */
enum scsi_step cmd_receive_diagnostic(struct scsi_task *t)
{
	uint8_t *data;

	if (!(t->cdb[1] & DIAG_PCV))
		return sense_cdb(t, 1, 0);
	if (t->cdb[2] != 0)
		return sense_cdb(t, 2, 7);
	data = task_small(t, 5);
	store_be16(data + 2, 1);
	return task_data_in(t, data, 5, load_be16(t->cdb + 3));
}

/* ---- The timestamp: milliseconds since 1970. */

#define TIMESTAMP_LEN  12u
#define ORIGIN_SET     2 /* by SET TIMESTAMP */
#define ORIGIN_OTHER   3 /* by the clock of the system */
#define TIMESTAMP_MASK 0xffffffffffffull

static uint64_t now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

enum scsi_step cmd_report_timestamp(struct scsi_task *t)
{
	const struct lun_state *s = &t->view->state;
	uint8_t *data = task_small(t, TIMESTAMP_LEN);

	store_be16(data, TIMESTAMP_LEN - 2);
	data[2] = s->clock_set ? ORIGIN_SET : ORIGIN_OTHER;
	store_be48(data + 4, (now_ms() + s->clock_offset) & TIMESTAMP_MASK);
	return task_data_in(t, data, TIMESTAMP_LEN, load_be32(t->cdb + 6));
}

enum scsi_step cmd_set_timestamp(struct scsi_task *t)
{
	uint32_t len = load_be32(t->cdb + 6);

	if (len == 0) /* 6.46: not an error */
		return task_good(t);
	if (len != TIMESTAMP_LEN)
		return sense_fail(t, KEY_ILLEGAL_REQUEST,
				  ASC_PARAM_LIST_LENGTH);
	return task_want_params(t, len);
}

static bool set_clock(struct scsi_task *t, struct lun_state *state,
		      enum ua_bit *ret_ua)
{
	/* Both wrap: what is added later gives what was set. */
	state->clock_offset = t->scratch[0] - now_ms();
	state->clock_set = true;
	*ret_ua = UA_TIMESTAMP_CHANGED;
	return true;
}

enum scsi_step exec_set_timestamp(struct scsi_task *t, uint32_t len)
{
	if (len < t->data_out_len)
		return sense_fail(t, KEY_ILLEGAL_REQUEST,
				  ASC_PARAM_LIST_LENGTH);
	t->scratch[0] = load_be48((uint8_t *)t->iov[0].iov_base + 4);
	return home_change(t, set_clock, task_good);
}
