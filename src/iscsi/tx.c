/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/assert.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "iscsi/conn.h"

#include <stdlib.h>

/*
 * What a connection has to say stands in line as items; at the end of a batch
 * of events tx_flush() turns them into PDUs, as many as fit into one tx_batch,
 * and sends them with one call. StatSN is given out here, so that it follows
 * the order on the wire.
 */

void tx_queue(struct conn *c, struct tx_item *item)
{
	ASSERT(!list_linked(&item->link));
	list_push_back(&c->txq, &item->link);
	reactor_defer(c->stream.reactor, &c->flush);
}

struct control_pdu *control_pdu_new(uint8_t opcode, uint8_t flags,
				    size_t data_max)
{
	struct control_pdu *pdu = calloc(1, sizeof(*pdu));

	if (!pdu)
		return NULL;
	list_init(&pdu->tx.link);
	pdu->tx.kind = TX_CONTROL;
	buf_init(&pdu->data, data_max);
	pdu->bhs[BHS_OPCODE] = opcode;
	pdu->bhs[BHS_FLAGS] = flags;
	store_be32(pdu->bhs + BHS_ITT, RESERVED_TAG);
	return pdu;
}

void control_pdu_discard(struct control_pdu *pdu)
{
	buf_deinit(&pdu->data);
	free(pdu);
}

void control_pdu_free(struct conn *c, struct control_pdu *pdu, int error)
{
	c->ncontrol--;
	c->control_bytes -= pdu->data.len;
	if (pdu->sent)
		pdu->sent(c, pdu, error);
	control_pdu_discard(pdu);
}

void control_pdu_queue(struct conn *c, struct control_pdu *pdu)
{
	if (!pdu || pdu->data.failed) {
		if (pdu) {
			control_pdu_discard(pdu);
		}
		conn_close(c, CLOSE_NO_MEMORY);
		return;
	}
	c->ncontrol++;
	c->control_bytes += pdu->data.len;
	if (c->state == CONN_CLOSING) {
		control_pdu_free(c, pdu, -1);
		return;
	}
	/* Who asks for more than it reads has to wait (T: NOP floods). */
	if (c->ncontrol >= TX_CONTROL_MAX ||
	    c->control_bytes >= TX_CONTROL_BYTES_MAX)
		conn_set_paused(c, &c->paused_control, true);
	tx_queue(c, &pdu->tx);
}

bool tx_room(const struct tx_batch *b, unsigned int iovs)
{
	/* Header, data, tail. */
	return b->npdus < TX_PDUS_MAX && b->niovs + iovs + 2 <= TX_IOVS_MAX &&
	       b->bytes < TX_BYTES_MAX;
}

/*
 * Starts a PDU: a zeroed header with the numbers that every response carries
 * (RFC 7143, 11.2.1) but StatSN, which its builder sets.
 */
uint8_t *tx_begin(struct conn *c, struct tx_batch *b, uint8_t opcode,
		  uint8_t flags)
{
	uint8_t *bhs = b->header[b->npdus].bhs;

	memset(bhs, 0, BHS_LEN);
	bhs[BHS_OPCODE] = opcode;
	bhs[BHS_FLAGS] = flags;
	if (c->session) {
		store_be32(bhs + BHS_EXPCMDSN, c->session->expcmdsn);
		store_be32(bhs + BHS_MAXCMDSN, session_maxcmdsn(c->session));
	}
	return bhs;
}

static void add_iov(struct tx_batch *b, void *base, size_t len)
{
	b->iov[b->niovs].iov_base = base;
	b->iov[b->niovs].iov_len = len;
	b->niovs++;
	b->bytes += len;
}

/* Adds @len bytes from byte @offset of @iov. Returns their CRC if asked. */
static uint32_t add_data(struct tx_batch *b, const struct iovec *iov,
			 unsigned int iovcnt, size_t offset, size_t len,
			 bool digest)
{
	uint32_t crc = CRC32C_INIT;

	for (unsigned int i = 0; i < iovcnt && len > 0; i++) {
		size_t n;

		if (offset >= iov[i].iov_len) {
			offset -= iov[i].iov_len;
			continue;
		}
		n = MIN(iov[i].iov_len - offset, len);
		if (digest)
			crc = crc32c_update(
				crc, (uint8_t *)iov[i].iov_base + offset, n);
		add_iov(b, (uint8_t *)iov[i].iov_base + offset, n);
		len -= n;
		offset = 0;
	}
	ASSERT(len == 0);
	return crc;
}

/*
 * Finishes the PDU that tx_begin() started with @len bytes of data: length,
 * digests, padding (RFC 7143, 11.2.3, 13.1).
 */
void tx_end(struct conn *c, struct tx_batch *b, const struct iovec *iov,
	    unsigned int iovcnt, size_t offset, uint32_t len)
{
	struct tx_header *h = &b->header[b->npdus++];
	size_t hlen = BHS_LEN, tail = (4 - (len & 3)) & 3;
	uint32_t crc;

	store_be24(h->bhs + BHS_DSL, len);
	if (c->tx_header_digest) {
		crc = crc32c_update(CRC32C_INIT, h->bhs, BHS_LEN);
		store_le32(h->bhs + BHS_LEN, crc32c_final(crc));
		hlen += DIGEST_LEN;
	}
	add_iov(b, h->bhs, hlen);
	if (len == 0)
		return;

	crc = add_data(b, iov, iovcnt, offset, len, c->tx_data_digest);
	memset(h->tail, 0, tail);
	if (c->tx_data_digest) {
		crc = crc32c_update(crc, h->tail, tail);
		store_le32(h->tail + tail, crc32c_final(crc));
		tail += DIGEST_LEN;
	}
	if (tail > 0)
		add_iov(b, h->tail, tail);
}

static void control_build(struct conn *c, struct control_pdu *pdu,
			  struct tx_batch *b)
{
	struct iovec iov = {pdu->data.data, pdu->data.len};
	uint8_t *bhs = tx_begin(c, b, 0, 0);
	uint8_t sn[8];

	memcpy(sn, bhs + BHS_EXPCMDSN, sizeof(sn));
	memcpy(bhs, pdu->bhs, BHS_LEN);
	if (!pdu->login) {
		memcpy(bhs + BHS_EXPCMDSN, sn, sizeof(sn));
		store_be32(bhs + BHS_STATSN, c->statsn);
		pdu->tx.statsn = c->statsn;
		if (!pdu->no_statsn)
			c->statsn++;
	}
	tx_end(c, b, &iov, 1, 0, (uint32_t)pdu->data.len);
	if (pdu->last_login) {
		c->tx_header_digest = c->params.header_digest;
		c->tx_data_digest = c->params.data_digest;
	}
}

void control_rebuild(struct conn *c, struct control_pdu *pdu,
		     struct tx_batch *b)
{
	struct iovec iov = {pdu->data.data, pdu->data.len};
	uint8_t *bhs = tx_begin(c, b, 0, 0);
	uint8_t sn[8];

	memcpy(sn, bhs + BHS_EXPCMDSN, sizeof(sn));
	memcpy(bhs, pdu->bhs, BHS_LEN);
	memcpy(bhs + BHS_EXPCMDSN, sn, sizeof(sn));
	store_be32(bhs + BHS_STATSN, pdu->tx.statsn);
	tx_end(c, b, &iov, 1, 0, (uint32_t)pdu->data.len);
}

/* One PDU of @item; @ret_last: it was its last. False: the batch is full. */
static bool build(struct conn *c, struct tx_item *item, struct tx_batch *b,
		  bool *ret_last)
{
	switch (item->kind) {
	case TX_COMMAND: {
		struct cmd *cmd = container_of(item, struct cmd, tx);

		if (!tx_room(b, cmd_iovs(cmd)))
			return false;
		cmd_build(cmd, b, ret_last);
		return true;
	}
	case TX_R2T:
		if (!tx_room(b, 0))
			return false;
		r2t_build(container_of(item, struct cmd, r2t_tx), b, ret_last);
		return true;
	case TX_RESEND:
		if (!tx_room(b, SCSI_IOV_MAX))
			return false;
		resend_build(c, container_of(item, struct resend, tx), b,
			     ret_last);
		return true;
	case TX_CONTROL:
		if (!tx_room(b, 1))
			return false;
		control_build(c, container_of(item, struct control_pdu, tx), b);
		*ret_last = true;
		return true;
	}
	return false;
}

static void fill(struct conn *c, struct tx_batch *b)
{
	while (!list_empty(&c->txq)) {
		struct tx_item *item =
			list_first(&c->txq, struct tx_item, link);
		bool last = false;

		if (!build(c, item, b, &last))
			return;
		if (!last)
			continue;
		list_remove(&item->link);
		/* R2Ts have nobody who waits for them to be out. */
		if (item->kind != TX_R2T)
			list_push_back(&b->done, &item->link);
	}
}

static void batch_end(struct conn *c, int error);

void tx_flush(struct deferred *d)
{
	struct conn *c = container_of(d, struct conn, flush);
	struct tx_batch *b;

	if (c->batch || list_empty(&c->txq) || c->state == CONN_CLOSING)
		return;
	b = slab_get(&c->core->batches);
	if (!b) {
		if (!list_linked(&c->batch_wait))
			list_push_back(&c->core->starved, &c->batch_wait);
		return;
	}
	list_init(&b->done);
	list_init(&b->link);
	b->npdus = b->niovs = 0;
	b->bytes = 0;
	fill(c, b);
	/* Of a resend nothing may be left: it was acknowledged meanwhile. */
	if (b->npdus == 0) {
		c->batch = b;
		batch_end(c, 0);
		return;
	}
	c->batch = b;
	stream_send(&c->stream, b->iov, b->niovs);
}

static void item_done(struct conn *c, struct tx_item *item, int error)
{
	list_remove(&item->link);
	if (!error && recovery_keep(c, item))
		return;
	switch (item->kind) {
	case TX_RESEND:
		c->nresends--;
		free(container_of(item, struct resend, tx));
		break;
	case TX_COMMAND:
		/* Sent or not, nobody has said that it came: a new connection
		 * will ask. */
		if (!c->orphaned)
			cmd_free(container_of(item, struct cmd, tx));
		break;
	case TX_CONTROL:
		control_pdu_free(c, container_of(item, struct control_pdu, tx),
				 error);
		break;
	case TX_R2T:
		break;
	}
}

/* Gives the batch back and tells those that were in it. */
static void batch_end(struct conn *c, int error)
{
	struct tx_batch *b = take(&c->batch);
	struct list done = LIST_INIT(done);
	struct list *next;

	list_splice_back(&done, &b->done);
	slab_put(&c->core->batches, b);
	while (!list_empty(&done))
		item_done(c, list_first(&done, struct tx_item, link), error);

	next = list_pop_front(&c->core->starved);
	if (next) {
		struct conn *other =
			container_of(next, struct conn, batch_wait);

		reactor_defer(other->stream.reactor, &other->flush);
	}
}

void tx_sent(struct stream *stream, int error)
{
	struct conn *c = container_of(stream, struct conn, stream);

	ASSERT(c->batch);
	/* First the state, which says what becomes of the tasks in the batch;
	 * tx_drop() gives it back. */
	if (error) {
		conn_close(c, CLOSE_RESET);
		return;
	}
	batch_end(c, 0);
	if (c->state == CONN_CLOSING)
		return;
	if (c->state == CONN_MOVING) {
		login_move(c);
		return;
	}
	if (c->paused_control && c->ncontrol < TX_CONTROL_MAX / 2 &&
	    c->control_bytes < TX_CONTROL_BYTES_MAX / 2)
		conn_set_paused(c, &c->paused_control, false);
	if (!list_empty(&c->txq))
		reactor_defer(stream->reactor, &c->flush);
}

void tx_drop(struct conn *c)
{
	ASSERT(c->state == CONN_CLOSING && c->released);
	recovery_drop(c);
	if (list_linked(&c->batch_wait))
		list_remove(&c->batch_wait);
	if (c->batch)
		batch_end(c, -1);
	while (!list_empty(&c->txq)) {
		struct tx_item *item =
			list_first(&c->txq, struct tx_item, link);

		item_done(c, item, -1);
	}
}

void conn_send_reject(struct conn *c, enum reject_reason reason,
		      const uint8_t *bhs)
{
	struct control_pdu *pdu =
		control_pdu_new(ISCSI_REJECT, FLAG_FINAL, BHS_LEN);

	c->core->rejects++;
	if (pdu) {
		pdu->bhs[BHS_RESPONSE] = (uint8_t)reason;
		buf_append(&pdu->data, bhs, BHS_LEN);
	}
	control_pdu_queue(c, pdu);
}

/* RFC 7143, 11.9 */
void conn_send_async(struct conn *c, enum iscsi_async_event event, uint16_t p1,
		     uint16_t p2, uint16_t p3)
{
	struct control_pdu *pdu =
		control_pdu_new(ISCSI_ASYNC_MESSAGE, FLAG_FINAL, 0);

	if (pdu) {
		pdu->bhs[36] = (uint8_t)event;
		store_be16(pdu->bhs + 38, p1);
		store_be16(pdu->bhs + 40, p2);
		store_be16(pdu->bhs + 42, p3);
	}
	control_pdu_queue(c, pdu);
}
