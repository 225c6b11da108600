/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Framing. Input: a byte of settings, a byte for the size of the pieces; then
 * either the bytes of the wire, or descriptions of PDUs, of which the wire is
 * made with right digests, and what comes out is compared.
 */
#include "fuzz.h"

#include "base/bytes.h"
#include "base/crc32c.h"
#include "iscsi/pdu_rx.h"

#define PDUS_MAX 32u
#define WIRE_MAX 65536u
#define DATA_MAX 4096u

enum {
	SET_HEADER_DIGEST = 0x01,
	SET_DATA_DIGEST = 0x02,
	SET_DESCRIBED = 0x04,
	SET_DIRECT = 0x08,
	SET_DISPLACE = 0x10,
	SET_PLACE_HALF = 0x20,
	SET_NO_PLACE = 0x40,
	SET_SETTLE = 0x80,
};

struct model_pdu {
	size_t header, data; /* offsets in the wire */
	uint32_t ahs_len, data_len;
};

struct run {
	struct pdu_rx rx;
	uint8_t settings;
	uint8_t place[DATA_MAX];
	struct iovec iov[2];
	uint8_t wire[WIRE_MAX];
	size_t wire_len;
	struct model_pdu pdus[PDUS_MAX];
	uint32_t npdus, seen;
	bool in_pdu, displaced, over;
};

static void put_digest(struct run *r, size_t from)
{
	uint32_t crc =
		crc32c_update(CRC32C_INIT, r->wire + from, r->wire_len - from);

	store_le32(r->wire + r->wire_len, crc32c_final(crc));
	r->wire_len += DIGEST_LEN;
}

/* One PDU from its description; false when there is no room. */
static bool describe(struct run *r, struct input *in)
{
	struct model_pdu *p = &r->pdus[r->npdus];
	uint8_t opcode = input_u8(in), words = input_u8(in);
	uint32_t len = input_u16(in) % (DATA_MAX + 1);
	size_t n;
	uint8_t *bytes;

	if (r->npdus == PDUS_MAX ||
	    r->wire_len + BHS_LEN + AHS_LEN_MAX + len + 16 > WIRE_MAX)
		return false;
	p->header = r->wire_len;
	p->ahs_len = words * 4u;
	p->data_len = len;
	memset(r->wire + r->wire_len, opcode, BHS_LEN + p->ahs_len);
	r->wire[p->header + BHS_AHS_WORDS] = words;
	store_be24(r->wire + p->header + BHS_DSL, len);
	r->wire_len += BHS_LEN + p->ahs_len;
	if (r->settings & SET_HEADER_DIGEST)
		put_digest(r, p->header);
	p->data = r->wire_len;
	memset(r->wire + r->wire_len, 0, len + 3);
	bytes = input_copy(in, len, &n);
	memcpy(r->wire + r->wire_len, bytes, n);
	free(bytes);
	r->wire_len += round_up(len, 4);
	if ((r->settings & SET_DATA_DIGEST) && len > 0)
		put_digest(r, p->data);
	r->npdus++;
	return true;
}

static uint32_t placed_len(const struct run *r)
{
	if (r->settings & SET_NO_PLACE)
		return 0;
	return (r->settings & SET_PLACE_HALF) ? r->rx.data_len / 2
					      : r->rx.data_len;
}

static void on_header(struct run *r)
{
	const struct pdu_rx *rx = &r->rx;
	uint32_t cursor = 0, len, n = placed_len(r);
	const uint8_t *ahs;
	uint8_t type;

	CHECK(!r->in_pdu);
	r->in_pdu = true;
	r->displaced = false;
	CHECK(rx->data_len <= rx->data_max);
	CHECK(rx->ahs_len % 4 == 0 && rx->ahs_len <= AHS_LEN_MAX);
	CHECK((rx->ahs == NULL) == (rx->ahs_len == 0));
	CHECK(load_be24(rx->bhs + BHS_DSL) == rx->data_len);
	while (rx->ahs_len > 0 && ahs_next(rx->ahs, rx->ahs_len, &cursor, &type,
					   &ahs, &len) == 1) {
		CHECK(ahs >= rx->ahs + 3 && len > 0);
		CHECK(ahs + len <= rx->ahs + rx->ahs_len);
	}
	if (r->settings & SET_DESCRIBED) {
		const struct model_pdu *p = &r->pdus[r->seen];

		CHECK(r->seen < r->npdus);
		CHECK(rx->data_len == p->data_len && rx->ahs_len == p->ahs_len);
		CHECK(memcmp(rx->bhs, r->wire + p->header, BHS_LEN) == 0);
	}
	r->iov[0] = (struct iovec){r->place, n / 3};
	r->iov[1] = (struct iovec){r->place + n / 3, n - n / 3};
	if (n > 0)
		pdu_rx_place(&r->rx, r->iov, 2, 0, n);
	if (r->settings & SET_SETTLE) {
		pdu_rx_settle(&r->rx);
		CHECK(rx->bhs == rx->header);
	}
}

static void on_pdu(struct run *r)
{
	CHECK(r->in_pdu);
	r->in_pdu = false;
	if (r->settings & SET_DESCRIBED) {
		const struct model_pdu *p = &r->pdus[r->seen];

		CHECK(!r->rx.data_digest_bad);
		CHECK(memcmp(r->rx.bhs, r->wire + p->header, BHS_LEN) == 0);
		if (!r->displaced)
			CHECK(memcmp(r->place, r->wire + p->data,
				     placed_len(r)) == 0);
	}
	r->seen++;
}

/* Feeds what is in @piece; how much was used of it. */
static void feed(struct run *r, const uint8_t *piece, size_t len)
{
	enum pdu_rx_event event;
	size_t used;

	while (!r->over) {
		event = pdu_rx_feed(&r->rx, piece, len, &used);
		CHECK(used <= len);
		piece += used;
		len -= used;
		switch (event) {
		case PDU_RX_MORE:
			CHECK(len == 0);
			if (r->in_pdu && (r->settings & SET_DISPLACE)) {
				pdu_rx_displace(&r->rx);
				r->displaced = true;
			}
			return;
		case PDU_RX_HEADER:
			on_header(r);
			break;
		case PDU_RX_PDU:
			on_pdu(r);
			break;
		case PDU_RX_TOO_LONG:
		case PDU_RX_HEADER_DIGEST:
			CHECK(!(r->settings & SET_DESCRIBED));
			r->over = true;
			break;
		}
	}
}

/* Receives into the place itself, as a connection does. */
static size_t receive_directly(struct run *r, const uint8_t *bytes, size_t len)
{
	uint8_t *dst;
	size_t n = pdu_rx_direct(&r->rx, &dst);

	if (!(r->settings & SET_DIRECT) || !r->in_pdu)
		return 0;
	n = MIN(n, len);
	if (n > 0)
		memcpy(dst, bytes, n);
	pdu_rx_advance(&r->rx, n);
	return n;
}

static void run_wire(struct run *r, uint8_t step)
{
	size_t at = 0;

	for (unsigned int i = 1; at < r->wire_len && !r->over; i++) {
		/* Pieces of the step, and now and then all that there is. */
		size_t n = i % 7 == 0 ? r->wire_len : (size_t)step * i % 509;
		uint8_t *piece;

		at += receive_directly(r, r->wire + at, r->wire_len - at);
		n = MIN(n + 1, r->wire_len - at);
		piece = malloc(n > 0 ? n : 1);
		CHECK(piece != NULL);
		if (n > 0)
			memcpy(piece, r->wire + at, n);
		feed(r, piece, n);
		free(piece);
		at += n;
	}
	if (!r->over)
		feed(r, r->wire, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	static struct run the_run; /* large, and not worth clearing */
	struct run *r = &the_run;
	uint8_t step;

	r->npdus = r->seen = 0;
	r->wire_len = 0;
	r->in_pdu = r->displaced = r->over = false;
	r->settings = input_u8(&in);
	step = input_u8(&in);
	pdu_rx_init(&r->rx, DATA_MAX);
	r->rx.header_digest = r->settings & SET_HEADER_DIGEST;
	r->rx.data_digest = r->settings & SET_DATA_DIGEST;
	if (r->settings & SET_DESCRIBED) {
		while (in.left > 0 && describe(r, &in))
			;
	} else {
		r->wire_len = MIN(in.left, (size_t)WIRE_MAX);
		memcpy(r->wire, in.data, r->wire_len);
	}
	run_wire(r, step);
	if (r->settings & SET_DESCRIBED)
		CHECK(r->seen == r->npdus && !r->in_pdu);
	return 0;
}
