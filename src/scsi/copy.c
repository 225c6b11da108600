/* SPDX-License-Identifier: BSD-3-Clause */
#include "scsi/copy.h"

#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "scsi/rw.h"
#include "scsi/task_priv.h"

#define COPY_TURN 8 /* pieces before others get their turn */

enum copy_phase { COPY_NEXT, COPY_READING, COPY_WRITING };

/* ---- Room. */

/* Bytes of a piece: READ and WRITE of it have to find room together. */
static uint64_t largest_piece(struct reactor *r)
{
	uint64_t n = COPY_PIECE;

	while (n > BUF_LARGE && !bufpool_fits(reactor_bufpool(r), 2 * n))
		n /= 2;
	return n;
}

/* A copy holds a piece while it waits for room for another: that many may run
 * that the last one finds it. */
static uint32_t most_copies(struct reactor *r)
{
	uint64_t piece = largest_piece(r);
	uint32_t n = COPIES_MAX;

	while (n > 1 && !bufpool_fits(reactor_bufpool(r), (n + 1) * piece))
		n--;
	return n;
}

bool copy_admit(struct scsi_task *t)
{
	struct scsi_core *core = t->nexus->dv->core;

	if (core->copies >= most_copies(core->reactor))
		return false;
	core->copies++;
	return true;
}

void copy_leave(struct scsi_task *t)
{
	struct scsi_core *core = t->nexus->dv->core;

	ASSERT(core->copies > 0);
	core->copies--;
}

/* ---- Ends. */

bool copy_fits(const struct copy_end *end, uint64_t byte, uint64_t len)
{
	uint64_t size = end->view->nblocks << end->view->block_shift;

	return byte <= size && len <= size - byte;
}

static bool designates(const struct lun *lun, uint8_t code_set, uint8_t type,
		       const uint8_t *id, uint32_t len)
{
	size_t serial = strlen(lun->serial);

	if (type == 0x03) /* NAA, in binary */
		return code_set == 0x01 && len == sizeof(lun->naa) &&
		       memcmp(id, lun->naa, len) == 0;
	if (type == 0x01) /* T10 vendor identification, in ASCII */
		return code_set == 0x02 && len == LUN_VENDOR_LEN + serial &&
		       memcmp(id, lun->vendor, LUN_VENDOR_LEN) == 0 &&
		       memcmp(id + LUN_VENDOR_LEN, lun->serial, serial) == 0;
	return false;
}

bool copy_find(struct scsi_task *t, uint8_t code_set, uint8_t type,
	       const uint8_t *id, uint32_t len, struct copy_end *ret)
{
	const struct device_view *dv = t->nexus->dv;

	for (uint32_t i = 0; i < SCSI_LUNS_MAX; i++) {
		struct lun_view *view = dv->luns[i];

		if (view == NULL ||
		    !designates(view->lun, code_set, type, id, len))
			continue;
		ret->lun_id = i;
		ret->view = view;
		memcpy(ret->naa, view->lun->naa, sizeof(ret->naa));
		return true;
	}
	return false;
}

bool copy_find_lun(struct scsi_task *t, const uint8_t *naa,
		   struct copy_end *ret)
{
	return copy_find(t, 0x01, 0x03, naa, sizeof(ret->naa), ret);
}

/* The LUN may have been taken out meanwhile, or be another one. */
static bool still_there(const struct copy_job *job, const struct copy_end *end)
{
	const struct lun_view *now = job->parent->nexus->dv->luns[end->lun_id];

	return now != NULL && now == end->view &&
	       memcmp(now->lun->naa, end->naa, sizeof(end->naa)) == 0;
}

/* ---- The commands of a piece. */

static void pump(struct copy_job *job);
static const struct scsi_task_ops read_ops, write_ops;

static void prepare(struct copy_job *job, struct scsi_task *t,
		    const struct copy_end *end, uint8_t opcode, uint64_t byte)
{
	t->nexus = job->parent->nexus;
	t->lun = (uint64_t)end->lun_id << 48;
	t->tag = job->parent->tag;
	t->cdb_len = 16;
	t->attr = SCSI_ATTR_SIMPLE;
	t->priority = 0;
	t->stable_data = false;
	t->edtl_in = t->edtl_out = 0;
	memset(t->cdb, 0, 16);
	t->cdb[0] = opcode;
	store_be64(t->cdb + 2, byte >> end->view->block_shift);
	store_be32(t->cdb + 10,
		   (uint32_t)(job->piece >> end->view->block_shift));
}

static uint64_t end_max(const struct copy_end *end)
{
	return (uint64_t)end->view->max_blocks << end->view->block_shift;
}

static uint64_t piece_size(const struct copy_job *job)
{
	uint32_t block =
		MAX(job->from.view->block_size, job->to.view->block_size);
	uint64_t n = largest_piece(job->parent->nexus->reactor);

	n = MIN(n, end_max(&job->from));
	n = MIN(n, end_max(&job->to));
	/* Whole blocks at both ends: all of these are powers of two but the
	 * rest of the range, and that is whole at both. */
	n = MAX(n, (uint64_t)block);
	return MIN(n, job->len - job->copied);
}

static enum scsi_step start_read(struct copy_job *job)
{
	struct scsi_task *t = &job->rd;

	job->piece = piece_size(job);
	job->piece_at = job->backward ? job->len - job->copied - job->piece
				      : job->copied;
	job->phase = COPY_READING;
	prepare(job, t, &job->from, OP_READ_16, job->from_byte + job->piece_at);
	t->ops = &read_ops;
	t->edtl_in = (uint32_t)job->piece;
	return task_start_own(t);
}

/* From the READ's buffers to the WRITE's; then the READ is over. */
static void move(struct copy_job *job)
{
	const struct iovec *from = job->rd.iov, *to = job->wr.iov;
	size_t from_at = 0, to_at = 0, n;

	/* In memory both may be the same disk, a little apart: the first and
	 * the only iovec of each. */
	for (uint64_t left = job->piece; left > 0; left -= n) {
		n = MIN(from->iov_len - from_at, to->iov_len - to_at);
		n = MIN(n, left);
		memmove((uint8_t *)to->iov_base + to_at,
			(uint8_t *)from->iov_base + from_at, n);
		from_at += n;
		to_at += n;
		if (from_at == from->iov_len) {
			from++;
			from_at = 0;
		}
		if (to_at == to->iov_len) {
			to++;
			to_at = 0;
		}
	}
	scsi_task_release(&job->rd);
}

static enum scsi_step give_data(struct copy_job *job)
{
	move(job);
	return scsi_task_execute(&job->wr, (uint32_t)job->piece);
}

static enum scsi_step start_write(struct copy_job *job)
{
	struct scsi_task *t = &job->wr;
	enum scsi_step step;

	job->phase = COPY_WRITING;
	prepare(job, t, &job->to, OP_WRITE_16, job->to_byte + job->piece_at);
	t->ops = &write_ops;
	t->edtl_out = (uint32_t)job->piece;
	step = task_start_own(t);
	if (step == SCSI_WANT_DATA && t->iovcnt > 0)
		return give_data(job);
	return step == SCSI_WANT_DATA ? SCSI_PENDING : step;
}

static void read_done(struct scsi_task *t)
{
	pump(container_of(t, struct copy_job, rd));
}

static void read_data_ready(struct scsi_task *t)
{
	ASSERT(!"a READ without data-out");
}

static void write_done(struct scsi_task *t)
{
	pump(container_of(t, struct copy_job, wr));
}

static void write_data_ready(struct scsi_task *t)
{
	struct copy_job *job = container_of(t, struct copy_job, wr);

	if (give_data(job) == SCSI_DONE)
		pump(job);
}

static const struct scsi_task_ops read_ops = {
	.done = read_done,
	.data_ready = read_data_ready,
	.aborted = read_done,
};

static const struct scsi_task_ops write_ops = {
	.done = write_done,
	.data_ready = write_data_ready,
	.aborted = write_done,
};

/* ---- The course of it. */

static enum copy_result judge(const struct scsi_task *t)
{
	if (t->aborted)
		return COPY_FAILED;
	if (t->status == SCSI_GOOD)
		return COPY_OK;
	if (t->status == SCSI_BUSY || t->status == SCSI_TASK_SET_FULL)
		return COPY_BUSY;
	return COPY_FAILED;
}

static void on_turn(struct mail *mail)
{
	pump(container_of(mail, struct copy_job, mail));
}

static void yield_turn(struct copy_job *job)
{
	job->mail.run = on_turn;
	mail_post(job->parent->nexus->reactor, &job->mail);
}

/* Between two pieces: is there a reason not to go on? */
static bool ended(struct copy_job *job, enum copy_result *ret)
{
	*ret = COPY_OK;
	if (job->parent->aborted)
		*ret = COPY_ABORTED;
	else if (job->copied == job->len)
		return true;
	else if (!still_there(job, &job->from) || !still_there(job, &job->to))
		*ret = COPY_GONE;
	return *ret != COPY_OK;
}

/* The WRITE has ended, or could not begin; so has the READ. */
static enum copy_result end_write(struct copy_job *job)
{
	enum copy_result result = judge(&job->wr);

	scsi_task_release(&job->wr);
	if (job->rd.state != SCSI_TASK_FREE)
		scsi_task_release(&job->rd);
	if (result != COPY_OK)
		return result;
	job->copied += job->piece;
	job->phase = COPY_NEXT;
	return COPY_OK;
}

/* Goes on until something is pending. A phase that is under way when this is
 * called has come to its end. */
static void pump(struct copy_job *job)
{
	enum copy_result result = COPY_OK;
	enum scsi_step step = SCSI_DONE;
	int turn = 0;

	while (step == SCSI_DONE) {
		switch ((enum copy_phase)job->phase) {
		case COPY_NEXT:
			if (ended(job, &result)) {
				job->done(job, result);
				return;
			}
			if (turn++ == COPY_TURN) {
				yield_turn(job);
				return;
			}
			step = start_read(job);
			break;
		case COPY_READING:
			result = judge(&job->rd);
			if (result != COPY_OK) {
				scsi_task_release(&job->rd);
				job->done(job, result);
				return;
			}
			step = start_write(job);
			break;
		case COPY_WRITING:
			result = end_write(job);
			if (result != COPY_OK) {
				job->done(job, result);
				return;
			}
			break;
		}
	}
}

void copy_start(struct copy_job *job)
{
	uint64_t from = job->from_byte, to = job->to_byte;

	ASSERT(copy_fits(&job->from, from, job->len));
	ASSERT(copy_fits(&job->to, to, job->len));
	/* What is written must not be what is still to be read. */
	job->backward = job->from.view == job->to.view && to > from &&
			to - from < job->len;
	job->copied = 0;
	job->phase = COPY_NEXT;
	job->rd.state = job->wr.state = SCSI_TASK_FREE;
	yield_turn(job);
}

/* ---- Records. */

struct copy_record *copy_record_find(struct scsi_nexus *n, uint32_t list_id)
{
	for (uint32_t i = 0; i < COPY_RECORDS_MAX; i++) {
		if (n->copies[i].used && n->copies[i].list_id == list_id)
			return &n->copies[i];
	}
	return NULL;
}

static struct copy_record *record_to_use(struct scsi_nexus *n)
{
	struct copy_record *oldest = NULL;

	for (uint32_t i = 0; i < COPY_RECORDS_MAX; i++) {
		struct copy_record *r = &n->copies[i];

		if (!r->used)
			return r;
		if (!r->running &&
		    (oldest == NULL || (int32_t)(r->age - oldest->age) < 0))
			oldest = r;
	}
	return oldest;
}

struct copy_record *copy_record_begin(struct scsi_nexus *n, uint32_t list_id)
{
	struct copy_record *r = copy_record_find(n, list_id);

	if (r != NULL && r->running)
		return NULL;
	if (r == NULL)
		r = record_to_use(n);
	if (r == NULL)
		return NULL;
	*r = (struct copy_record){
		.used = true,
		.running = true,
		.list_id = list_id,
		.age = n->copy_age++,
	};
	return r;
}

void copy_record_end(struct copy_record *r, const struct scsi_task *t)
{
	if (r == NULL)
		return;
	r->running = false;
	r->aborted = t->aborted;
	r->status = t->status;
	r->sense_len = (uint8_t)MIN((size_t)t->sense_len, sizeof(r->sense));
	memcpy(r->sense, t->sense, r->sense_len);
}
