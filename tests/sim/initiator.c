/* SPDX-License-Identifier: BSD-3-Clause */
/* The sending half of the model, and what both halves need. */
#include "initiator.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/macros.h"
#include "initiator_priv.h"

/* ------------------------------------------------------------------------
 * Small things.
 */

void ini_bytes_push(struct ini_bytes *b, const void *data, size_t len)
{
	if (len == 0)
		return;
	if (b->head + b->len + len > b->cap && b->head > 0) {
		memmove(b->data, b->data + b->head, b->len);
		b->head = 0;
	}
	if (b->len + len > b->cap) {
		b->cap = MAX(b->cap * 2, b->len + len);
		b->data = realloc(b->data, b->cap);
		ASSERT(b->data);
	}
	memcpy(b->data + b->head + b->len, data, len);
	b->len += len;
}

void ini_bytes_drop(struct ini_bytes *b, size_t len)
{
	ASSERT(len <= b->len);
	b->head += len;
	b->len -= len;
	if (b->len == 0)
		b->head = 0;
}

void ini_bytes_free(struct ini_bytes *b)
{
	free(b->data);
	*b = (struct ini_bytes){0};
}

void ini_fail(struct initiator *ini, const char *fmt, ...)
{
	va_list ap;

	if (ini->state == INI_FAILED)
		return;
	ini->state = INI_FAILED;
	va_start(ap, fmt);
	vsnprintf(ini->error, sizeof(ini->error), fmt, ap);
	va_end(ap);
}

/* splitmix64 */
uint64_t ini_random(struct initiator *ini, uint64_t n)
{
	uint64_t z = ini->random += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	z ^= z >> 31;
	return z % n;
}

static void crc_init(struct initiator *ini)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int bit = 0; bit < 8; bit++)
			c = c & 1 ? c >> 1 ^ 0x82f63b78u : c >> 1;
		ini->crc_table[i] = c;
	}
}

static uint32_t crc_update(const struct initiator *ini, uint32_t crc,
			   const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len-- > 0)
		crc = crc >> 8 ^ ini->crc_table[(crc ^ *p++) & 0xff];
	return crc;
}

uint32_t ini_crc(const struct initiator *ini, const void *data, size_t len)
{
	return ~crc_update(ini, 0xffffffffu, data, len);
}

uint32_t ini_sense(const struct ini_cmd *cmd)
{
	const uint8_t *s = cmd->sense;
	uint8_t format = s[0] & 0x7f;

	if (cmd->sense_len >= 14 && format == 0x70)
		return (uint32_t)(s[2] & 0xf) << 16 | load_be16(s + 12);
	if (cmd->sense_len >= 4 && format == 0x72)
		return (uint32_t)(s[1] & 0xf) << 16 | load_be16(s + 2);
	return 0;
}

/* ------------------------------------------------------------------------
 * PDUs out.
 */

void ini_trace(const struct initiator *ini, const char *way, const uint8_t *bhs)
{
	if (!ini->opt.trace)
		return;
	printf("%s %s op %02x flags %02x %02x %02x dsl %u lun %u itt %08x :",
	       ini->opt.trace, way, bhs[0], bhs[1], bhs[2], bhs[3],
	       load_be24(bhs + BHS_DSL), load_be16(bhs + BHS_LUN),
	       load_be32(bhs + BHS_ITT));
	for (int i = 20; i < 48; i += 4)
		printf(" %08x", load_be32(bhs + i));
	printf("\n");
}

void ini_emit(struct initiator *ini, uint8_t *bhs, const void *data,
	      uint32_t len)
{
	static const uint8_t zeroes[3];
	uint32_t pad = -len & 3;
	bool full = ini->state != INI_LOGIN;
	uint8_t digest[DIGEST_LEN];
	uint32_t crc;

	store_be24(bhs + BHS_DSL, len);
	ini_trace(ini, ">", bhs);
	ini_bytes_push(&ini->out, bhs, BHS_LEN);
	if (full && ini->p.header_digest) {
		store_le32(digest, ini_crc(ini, bhs, BHS_LEN));
		ini_bytes_push(&ini->out, digest, sizeof(digest));
	}
	if (len == 0)
		return;
	ini_bytes_push(&ini->out, data, len);
	ini_bytes_push(&ini->out, zeroes, pad);
	if (full && ini->p.data_digest) {
		crc = crc_update(ini, 0xffffffffu, data, len);
		crc = ~crc_update(ini, crc, zeroes, pad);
		store_le32(digest, crc);
		ini_bytes_push(&ini->out, digest, sizeof(digest));
	}
}

static void request_header(struct initiator *ini, struct ini_req *req,
			   uint8_t *bhs)
{
	memset(bhs, 0, BHS_LEN);
	bhs[BHS_OPCODE] = (uint8_t)req->opcode;
	if (req->immediate)
		bhs[BHS_OPCODE] |= ISCSI_IMMEDIATE;
	bhs[BHS_FLAGS] = FLAG_FINAL;
	store_be64(bhs + BHS_LUN, req->lun);
	store_be32(bhs + BHS_ITT, req->itt);
	req->cmdsn = ini->cmdsn;
	if (!req->immediate)
		ini->cmdsn++;
	store_be32(bhs + BHS_CMDSN, req->cmdsn);
	store_be32(bhs + BHS_EXPSTATSN, ini->expstatsn);
}

/* How much data goes with the command, and how much after it unasked. */
static uint32_t plan_data(struct initiator *ini, struct ini_cmd *cmd)
{
	uint32_t first = MIN(cmd->edtl, ini->p.first_burst);
	uint32_t most = MIN(first, ini->p.mrdsl_out);
	uint32_t immediate = 0;

	cmd->unsol_left = 0;
	if (!cmd->write || cmd->edtl == 0)
		return 0;
	if (ini->p.immediate_data && ini_random(ini, 4) != 0) {
		immediate = most;
		/* Less than could be is allowed too. */
		if (ini->opt.odd_pieces && ini_random(ini, 2))
			immediate = (uint32_t)ini_random(ini, most + 1ull);
	}
	/* 4.2.5.2: all of FirstBurstLength (or of the data), or none. */
	if (!ini->p.initial_r2t && immediate < first && ini_random(ini, 4) != 0)
		cmd->unsol_left = first - immediate;
	return immediate;
}

static void send_command(struct initiator *ini, struct ini_cmd *cmd)
{
	uint32_t immediate = plan_data(ini, cmd);
	uint8_t bhs[BHS_LEN];

	request_header(ini, &cmd->req, bhs);
	if (cmd->read)
		bhs[BHS_FLAGS] |= CMD_FLAG_READ;
	if (cmd->write)
		bhs[BHS_FLAGS] |= CMD_FLAG_WRITE;
	bhs[BHS_FLAGS] |= cmd->attr & CMD_ATTR_MASK;
	store_be32(bhs + BHS_EDTL, cmd->edtl);
	memcpy(bhs + BHS_CDB, cmd->cdb, sizeof(cmd->cdb));
	if (cmd->unsol_left > 0) {
		bhs[BHS_FLAGS] &= (uint8_t)~FLAG_FINAL;
		list_push_back(&ini->unsol, &cmd->unsol_link);
		ini->unsolicited++;
	}
	cmd->sent = immediate;
	cmd->r2t_offset = immediate + cmd->unsol_left;
	ini_emit(ini, bhs, cmd->data, immediate);
}

static void send_tmf(struct initiator *ini, struct ini_tmf *tmf)
{
	uint8_t bhs[BHS_LEN];

	request_header(ini, &tmf->req, bhs);
	bhs[BHS_FLAGS] |= (uint8_t)tmf->function;
	store_be32(bhs + 20, tmf->ref_itt);   /* 11.5: Referenced Task Tag */
	store_be32(bhs + 32, tmf->ref_cmdsn); /* RefCmdSN */
	ini_emit(ini, bhs, NULL, 0);
}

static void send_nop(struct initiator *ini, struct ini_nop *nop)
{
	uint8_t bhs[BHS_LEN];

	request_header(ini, &nop->req, bhs);
	store_be32(bhs + BHS_TTT, RESERVED_TAG);
	ini_emit(ini, bhs, nop->data, nop->len);
}

static void send_text(struct initiator *ini, struct ini_text *text)
{
	uint8_t bhs[BHS_LEN];

	request_header(ini, &text->req, bhs);
	store_be32(bhs + BHS_TTT, text->ttt);
	ini_emit(ini, bhs, text->text, text->text_len);
	/* Only the first request of a chain says something. */
	text->text_len = 0;
}

static void send_logout(struct initiator *ini, struct ini_logout *logout)
{
	uint8_t bhs[BHS_LEN];

	request_header(ini, &logout->req, bhs);
	bhs[BHS_FLAGS] |= (uint8_t)logout->reason;
	store_be16(bhs + 20, logout->cid); /* 11.14.2 */
	ini_emit(ini, bhs, NULL, 0);
}

static void send_request(struct initiator *ini, struct ini_req *req)
{
	list_remove(&req->link);
	list_push_back(&ini->outstanding, &req->link);
	req->state = INI_SENT;
	req->order = ++ini->sent_order;
	if (req->opcode == ISCSI_SCSI_COMMAND)
		send_command(ini, container_of(req, struct ini_cmd, req));
	else if (req->opcode == ISCSI_TMF_REQUEST)
		send_tmf(ini, container_of(req, struct ini_tmf, req));
	else if (req->opcode == ISCSI_NOP_OUT)
		send_nop(ini, container_of(req, struct ini_nop, req));
	else if (req->opcode == ISCSI_TEXT_REQUEST)
		send_text(ini, container_of(req, struct ini_text, req));
	else
		send_logout(ini, container_of(req, struct ini_logout, req));
}

/* How long the next Data-Out of @left bytes is to be. */
static uint32_t piece(struct initiator *ini, uint32_t left)
{
	uint32_t n = MIN(left, ini->p.mrdsl_out);

	if (ini->opt.odd_pieces && ini_random(ini, 2))
		n = 1 + (uint32_t)ini_random(ini, n);
	return n;
}

static void send_data_out(struct initiator *ini, struct ini_cmd *cmd,
			  uint32_t ttt, uint64_t lun, uint32_t datasn,
			  uint32_t offset, uint32_t len, bool final)
{
	uint8_t bhs[BHS_LEN] = {0};

	bhs[BHS_OPCODE] = ISCSI_DATA_OUT;
	bhs[BHS_FLAGS] = final ? FLAG_FINAL : 0;
	store_be64(bhs + BHS_LUN, lun);
	store_be32(bhs + BHS_ITT, cmd->req.itt);
	store_be32(bhs + BHS_TTT, ttt);
	store_be32(bhs + BHS_EXPSTATSN, ini->expstatsn);
	store_be32(bhs + BHS_DATASN, datasn);
	store_be32(bhs + BHS_BUFFER_OFFSET, offset);
	ini_emit(ini, bhs, cmd->data + offset, len);
}

static void send_unsolicited(struct initiator *ini)
{
	struct ini_cmd *cmd =
		list_first(&ini->unsol, struct ini_cmd, unsol_link);
	uint32_t n = piece(ini, cmd->unsol_left);

	cmd->unsol_left -= n;
	/* 11.7.4: the LUN is reserved without a Target Transfer Tag. */
	send_data_out(ini, cmd, RESERVED_TAG, 0, cmd->unsol_datasn++, cmd->sent,
		      n, cmd->unsol_left == 0);
	cmd->sent += n;
	if (cmd->unsol_left == 0)
		list_remove(&cmd->unsol_link);
}

static struct ini_cmd *pick_solicited(struct initiator *ini)
{
	struct ini_cmd *cmd;
	uint64_t n = 0;

	list_for_each(cmd, &ini->sol, sol_link)
		n++;
	n = ini_random(ini, n);
	list_for_each(cmd, &ini->sol, sol_link) {
		if (n-- == 0)
			break;
	}
	return cmd;
}

static void send_solicited(struct initiator *ini)
{
	struct ini_cmd *cmd = pick_solicited(ini);
	struct ini_r2t *r = &cmd->r2t[0];
	uint32_t n = piece(ini, r->left);

	send_data_out(ini, cmd, r->ttt, r->lun, r->datasn++, r->offset, n,
		      n == r->left);
	cmd->sent += n;
	r->offset += n;
	r->left -= n;
	if (r->left > 0)
		return;
	/* DataSequenceInOrder: one R2T after the other. */
	cmd->nr2t--;
	memmove(r, r + 1, cmd->nr2t * sizeof(*r));
	if (cmd->nr2t == 0)
		list_remove(&cmd->sol_link);
}

static bool may_send_request(struct initiator *ini)
{
	struct ini_req *req;

	if (list_empty(&ini->waiting))
		return false;
	req = list_first(&ini->waiting, struct ini_req, link);
	return req->immediate || ini_ahead(ini->cmdsn, ini->maxcmdsn) <= 0;
}

void ini_produce(struct initiator *ini, size_t enough)
{
	while (ini->state == INI_RUNNING && ini->out.len < enough) {
		bool req = may_send_request(ini);
		bool unsol = !list_empty(&ini->unsol);
		bool sol = !list_empty(&ini->sol);
		uint64_t what = ini_random(ini, 3);

		if (!req && !unsol && !sol)
			return;
		if (what == 0 && req)
			send_request(ini, list_first(&ini->waiting,
						     struct ini_req, link));
		else if (what == 1 && unsol)
			send_unsolicited(ini);
		else if (what == 2 && sol)
			send_solicited(ini);
	}
}

size_t ini_take(struct initiator *ini, uint8_t *buf, size_t len)
{
	size_t n = MIN(len, ini->out.len);

	if (n == 0)
		return 0;
	memcpy(buf, ini->out.data + ini->out.head, n);
	ini_bytes_drop(&ini->out, n);
	return n;
}

/* ------------------------------------------------------------------------
 * Requests.
 */

static void enqueue(struct initiator *ini, struct ini_req *req,
		    enum iscsi_opcode opcode)
{
	ASSERT(req->state == INI_IDLE || req->state == INI_DONE);
	req->opcode = opcode;
	req->state = INI_WAITING;
	do {
		req->itt = ini->next_itt++;
	} while (req->itt == RESERVED_TAG);
	list_init(&req->link);
	list_push_back(&ini->waiting, &req->link);
	ini->noutstanding++;
}

void ini_submit(struct initiator *ini, struct ini_cmd *cmd)
{
	list_init(&cmd->unsol_link);
	list_init(&cmd->sol_link);
	enqueue(ini, &cmd->req, ISCSI_SCSI_COMMAND);
}

void ini_manage(struct initiator *ini, struct ini_tmf *tmf)
{
	/* Now: when it is sent the command may be over, and its struct used for
	 * another. */
	tmf->ref_itt = RESERVED_TAG;
	if (tmf->ref) {
		ASSERT(tmf->ref->req.state == INI_SENT);
		tmf->ref_itt = tmf->ref->req.itt;
		tmf->ref_cmdsn = tmf->ref->req.cmdsn;
	}
	enqueue(ini, &tmf->req, ISCSI_TMF_REQUEST);
}

void ini_ping(struct initiator *ini, struct ini_nop *nop)
{
	enqueue(ini, &nop->req, ISCSI_NOP_OUT);
}

void ini_ask(struct initiator *ini, struct ini_text *text)
{
	text->ttt = RESERVED_TAG;
	enqueue(ini, &text->req, ISCSI_TEXT_REQUEST);
}

void ini_leave(struct initiator *ini, struct ini_logout *logout)
{
	enqueue(ini, &logout->req, ISCSI_LOGOUT_REQUEST);
}

void ini_finish(struct initiator *ini, struct ini_req *req)
{
	list_remove(&req->link);
	req->state = INI_DONE;
	ini->noutstanding--;
	if (req->done)
		req->done(ini, req);
}

void ini_finish_cmd(struct initiator *ini, struct ini_cmd *cmd)
{
	list_remove(&cmd->unsol_link);
	list_remove(&cmd->sol_link);
	ini_finish(ini, &cmd->req);
}

void ini_forget(struct initiator *ini, struct ini_cmd *cmd)
{
	ASSERT(cmd->req.state == INI_WAITING || cmd->req.state == INI_SENT);
	cmd->aborted = true;
	ini_finish_cmd(ini, cmd);
}

void ini_init(struct initiator *ini, const struct ini_options *opt)
{
	memset(ini, 0, sizeof(*ini));
	ini->opt = *opt;
	ini->random = opt->seed;
	ini->cmdsn = opt->cmdsn;
	ini->next_itt = (uint32_t)ini_random(ini, UINT64_MAX);
	list_init(&ini->waiting);
	list_init(&ini->outstanding);
	list_init(&ini->unsol);
	list_init(&ini->sol);
	crc_init(ini);
}

void ini_deinit(struct initiator *ini)
{
	ini_bytes_free(&ini->in);
	ini_bytes_free(&ini->out);
	ini_bytes_free(&ini->login_in);
	ini_bytes_free(&ini->login_out);
}

void ini_start(struct initiator *ini)
{
	ini_login_begin(ini);
}
