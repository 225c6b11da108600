/* SPDX-License-Identifier: BSD-3-Clause */
#include "iscsi/pdu_rx.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/macros.h"

enum pdu_rx_state {
	RX_HEADER,
	RX_PAYLOAD,
	RX_TAIL, /* padding and data digest */
	RX_DEAD, /* framing is lost */
};

void pdu_rx_init(struct pdu_rx *rx, uint32_t data_max)
{
	ASSERT(data_max <= ISCSI_LENGTH_MAX);

	/* The header's room is not cleared: @have says what is in it. */
	rx->header_digest = false;
	rx->data_digest = false;
	rx->data_max = data_max;
	rx->bhs = NULL;
	rx->ahs = NULL;
	rx->ahs_len = 0;
	rx->data_len = 0;
	rx->data_digest_bad = false;
	rx->have = 0;
	rx->need = BHS_LEN;
	rx->state = RX_HEADER;
	rx->iov = NULL;
	rx->iovcnt = 0;
	rx->iov_index = 0;
	rx->iov_offset = 0;
	rx->left = 0;
	rx->keep = 0;
	rx->crc = CRC32C_INIT;
	rx->tail_have = 0;
	rx->tail_need = 0;
}

/* Bytes of BHS, AHS and header digest, as the BHS at @hdr says. */
static uint32_t header_len(const struct pdu_rx *rx, const uint8_t *hdr)
{
	return BHS_LEN + hdr[BHS_AHS_WORDS] * 4u +
	       (rx->header_digest ? DIGEST_LEN : 0u);
}

/* Bytes of padding and data digest behind @data_len bytes of data. An empty
 * data segment has no digest (RFC 7143, 11.2.3). */
static uint32_t tail_len(const struct pdu_rx *rx, uint32_t data_len)
{
	if (data_len == 0)
		return 0;
	return (-data_len & 3u) + (rx->data_digest ? DIGEST_LEN : 0u);
}

/* The whole header, @len bytes, is at @hdr. */
static enum pdu_rx_event header_ready(struct pdu_rx *rx, const uint8_t *hdr,
				      uint32_t len)
{
	uint32_t covered = len - (rx->header_digest ? DIGEST_LEN : 0u);

	ASSERT(covered >= BHS_LEN);
	rx->bhs = hdr;
	rx->ahs_len = covered - BHS_LEN;
	rx->ahs = rx->ahs_len > 0 ? hdr + BHS_LEN : NULL;
	rx->data_len = load_be24(hdr + BHS_DSL);
	rx->data_digest_bad = false;
	rx->have = 0;
	rx->need = BHS_LEN;
	rx->state = RX_DEAD;

	/* The digest first: without it the length means nothing. */
	if (rx->header_digest) {
		uint32_t crc = crc32c_update(CRC32C_INIT, hdr, covered);

		if (crc32c_final(crc) != load_le32(hdr + covered))
			return PDU_RX_HEADER_DIGEST;
	}
	if (rx->data_len > rx->data_max)
		return PDU_RX_TOO_LONG;

	rx->state = RX_PAYLOAD;
	rx->left = rx->data_len;
	rx->keep = 0;
	rx->iov = NULL;
	rx->crc = CRC32C_INIT;
	rx->tail_have = 0;
	rx->tail_need = (uint8_t)tail_len(rx, rx->data_len);
	return PDU_RX_HEADER;
}

/* Takes header bytes until there are rx->need. */
static size_t collect(struct pdu_rx *rx, const uint8_t *buf, size_t len)
{
	size_t n = MIN(len, (size_t)(rx->need - rx->have));

	memcpy(rx->header + rx->have, buf, n);
	rx->have += (uint32_t)n;
	return n;
}

static enum pdu_rx_event feed_header(struct pdu_rx *rx, const uint8_t *buf,
				     size_t len, size_t *ret_used)
{
	size_t used;
	uint32_t need, data;

	*ret_used = 0;
	if (len == 0)
		return PDU_RX_MORE;
	if (rx->have == 0 && len >= BHS_LEN) {
		need = header_len(rx, buf);
		data = load_be24(buf + BHS_DSL);
		if (len >= (size_t)need + data + tail_len(rx, data)) {
			*ret_used = need;
			return header_ready(rx, buf, need);
		}
	}

	used = collect(rx, buf, len);
	if (rx->have == BHS_LEN && rx->need == BHS_LEN) {
		rx->need = header_len(rx, rx->header);
		used += collect(rx, buf + used, len - used);
	}
	*ret_used = used;
	if (rx->have < rx->need)
		return PDU_RX_MORE;
	return header_ready(rx, rx->header, rx->need);
}

/* The next contiguous room for payload; 0: none. */
static size_t room(struct pdu_rx *rx, uint8_t **ret_dst)
{
	const struct iovec *v;

	if (rx->keep == 0)
		return 0;
	ASSERT(rx->iov != NULL && rx->iov_index < rx->iovcnt);
	while (rx->iov_offset == rx->iov[rx->iov_index].iov_len) {
		rx->iov_offset = 0;
		rx->iov_index++;
		ASSERT(rx->iov_index < rx->iovcnt);
	}
	v = &rx->iov[rx->iov_index];
	*ret_dst = (uint8_t *)v->iov_base + rx->iov_offset;
	return MIN((size_t)rx->keep, v->iov_len - rx->iov_offset);
}

static void placed(struct pdu_rx *rx, size_t n)
{
	ASSERT(n <= rx->keep && rx->keep <= rx->left);
	rx->iov_offset += n;
	rx->keep -= (uint32_t)n;
	rx->left -= (uint32_t)n;
}

static size_t feed_payload(struct pdu_rx *rx, const uint8_t *buf, size_t len)
{
	size_t used = 0, n;
	uint8_t *dst;

	while (used < len && (n = room(rx, &dst)) > 0) {
		n = MIN(n, len - used);
		if (rx->data_digest)
			rx->crc = crc32c_copy(rx->crc, dst, buf + used, n);
		else
			memcpy(dst, buf + used, n);
		placed(rx, n);
		used += n;
	}
	n = MIN(len - used, (size_t)rx->left);
	if (n == 0 || rx->keep > 0)
		return used;

	/* What has no place is discarded, but it is in the digest. */
	if (rx->data_digest)
		rx->crc = crc32c_update(rx->crc, buf + used, n);
	rx->left -= (uint32_t)n;
	return used + n;
}

static void check_data_digest(struct pdu_rx *rx)
{
	uint32_t pad = rx->tail_need - DIGEST_LEN;

	/* RFC 7143, 11.2.3: the digest covers the padding. */
	rx->crc = crc32c_update(rx->crc, rx->tail, pad);
	rx->data_digest_bad =
		crc32c_final(rx->crc) != load_le32(rx->tail + pad);
}

enum pdu_rx_event pdu_rx_feed(struct pdu_rx *rx, const uint8_t *buf, size_t len,
			      size_t *ret_used)
{
	size_t used = 0, n;

	ASSERT(rx->state != RX_DEAD);
	if (rx->state == RX_HEADER)
		return feed_header(rx, buf, len, ret_used);

	if (rx->state == RX_PAYLOAD) {
		used = feed_payload(rx, buf, len);
		*ret_used = used;
		if (rx->left > 0)
			return PDU_RX_MORE;
		rx->state = RX_TAIL;
	}

	n = MIN(len - used, (size_t)(rx->tail_need - rx->tail_have));
	if (n > 0)
		memcpy(rx->tail + rx->tail_have, buf + used, n);
	rx->tail_have += (uint8_t)n;
	*ret_used = used + n;
	if (rx->tail_have < rx->tail_need)
		return PDU_RX_MORE;

	if (rx->data_digest && rx->data_len > 0)
		check_data_digest(rx);
	rx->state = RX_HEADER;
	rx->iov = NULL;
	return PDU_RX_PDU;
}

void pdu_rx_place(struct pdu_rx *rx, const struct iovec *iov,
		  unsigned int iovcnt, size_t offset, size_t len)
{
	ASSERT(rx->state == RX_PAYLOAD && rx->left == rx->data_len);

	rx->keep = (uint32_t)MIN(len, (size_t)rx->data_len);
	rx->iov = iov;
	rx->iovcnt = iovcnt;
	rx->iov_index = 0;
	while (rx->keep > 0 && offset >= iov[rx->iov_index].iov_len) {
		offset -= iov[rx->iov_index].iov_len;
		rx->iov_index++;
		ASSERT(rx->iov_index < iovcnt);
	}
	rx->iov_offset = offset;
}

void pdu_rx_settle(struct pdu_rx *rx)
{
	bool inside = rx->state == RX_PAYLOAD || rx->state == RX_TAIL;

	if (!inside || rx->bhs == rx->header)
		return;
	memcpy(rx->header, rx->bhs, BHS_LEN + rx->ahs_len);
	rx->bhs = rx->header;
	if (rx->ahs_len > 0)
		rx->ahs = rx->header + BHS_LEN;
}

void pdu_rx_displace(struct pdu_rx *rx)
{
	rx->keep = 0;
	rx->iov = NULL;
}

size_t pdu_rx_direct(struct pdu_rx *rx, uint8_t **ret_dst)
{
	*ret_dst = NULL;
	if (rx->state != RX_PAYLOAD)
		return 0;
	return room(rx, ret_dst);
}

void pdu_rx_advance(struct pdu_rx *rx, size_t len)
{
	uint8_t *dst;

	if (len == 0)
		return;
	ASSERT(rx->state == RX_PAYLOAD);
	ASSERT(len <= room(rx, &dst));
	if (rx->data_digest)
		rx->crc = crc32c_update(rx->crc, dst, len);
	placed(rx, len);
}

int ahs_next(const uint8_t *ahs, uint32_t ahs_len, uint32_t *cursor,
	     uint8_t *ret_type, const uint8_t **ret_data, uint32_t *ret_len)
{
	uint32_t left = ahs_len - *cursor;
	uint32_t len;

	ASSERT(*cursor <= ahs_len);
	if (left == 0)
		return 0;
	if (left < 4)
		return -EPROTO;

	/* RFC 7143, 11.2.2: AHSLength counts what follows AHSType, without the
	 * padding. Each type that is defined has at least a reserved byte. */
	len = load_be16(ahs + *cursor);
	if (len == 0 || len > left - 3)
		return -EPROTO;
	*ret_type = ahs[*cursor + 2];
	*ret_data = ahs + *cursor + 3;
	*ret_len = len;
	*cursor += (uint32_t)MIN(round_up(3u + len, 4), (uint64_t)left);
	return 1;
}
