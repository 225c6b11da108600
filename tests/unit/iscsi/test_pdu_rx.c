/* SPDX-License-Identifier: BSD-3-Clause */
#include "../unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/macros.h"
#include "iscsi/pdu_rx.h"

#define DATA_MAX   16384u
#define STREAM_MAX (1u << 20)
#define PDUS_MAX   64u

/* ---- PDUs to send. */

struct pdu {
	uint8_t bhs[BHS_LEN];
	uint8_t ahs[AHS_LEN_MAX];
	uint32_t ahs_len, data_len;
	uint8_t data[DATA_MAX];
	bool bad_data_digest;
};

struct stream {
	bool header_digest, data_digest;
	uint32_t npdus;
	size_t len;
	struct pdu pdus[PDUS_MAX];
	uint8_t bytes[STREAM_MAX];
};

static struct stream the_stream;

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static void fill(uint8_t *p, size_t len, uint64_t *seed)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)next_random(seed);
}

static void put(struct stream *s, const void *p, size_t len)
{
	assert_true(s->len + len <= STREAM_MAX);
	memcpy(s->bytes + s->len, p, len);
	s->len += len;
}

static void put_digest(struct stream *s, size_t from, bool bad)
{
	uint8_t digest[DIGEST_LEN];
	uint32_t crc =
		crc32c_reference(CRC32C_INIT, s->bytes + from, s->len - from);

	store_le32(digest, crc32c_final(crc) ^ (bad ? 0x100u : 0u));
	put(s, digest, sizeof(digest));
}

static void put_pdu(struct stream *s, const struct pdu *p)
{
	static const uint8_t zeroes[4];
	size_t start = s->len;

	put(s, p->bhs, BHS_LEN);
	put(s, p->ahs, p->ahs_len);
	if (s->header_digest)
		put_digest(s, start, false);
	start = s->len;
	put(s, p->data, p->data_len);
	put(s, zeroes, -p->data_len & 3u);
	if (s->data_digest && p->data_len > 0)
		put_digest(s, start, p->bad_data_digest);
}

static void stream_init(struct stream *s, bool header_digest, bool data_digest)
{
	s->header_digest = header_digest;
	s->data_digest = data_digest;
	s->npdus = 0;
	s->len = 0;
}

static void add_pdu(struct stream *s, uint32_t ahs_len, uint32_t data_len,
		    bool bad_data_digest, uint64_t *seed)
{
	struct pdu *p = &s->pdus[s->npdus++];

	assert_true(s->npdus <= PDUS_MAX);
	fill(p->bhs, BHS_LEN, seed);
	fill(p->ahs, ahs_len, seed);
	fill(p->data, data_len, seed);
	p->ahs_len = ahs_len;
	p->data_len = data_len;
	p->bad_data_digest = bad_data_digest;
	p->bhs[BHS_AHS_WORDS] = (uint8_t)(ahs_len / 4);
	store_be24(p->bhs + BHS_DSL, data_len);
	put_pdu(s, p);
}

/* ---- What the reader sees. */

struct reader {
	struct pdu_rx rx;
	const struct stream *s;
	uint32_t seen;
	bool in_pdu;
	uint8_t got[DATA_MAX];
	struct iovec iov[3];
	/* What to do with the payload of each PDU. */
	enum { WHOLE, PIECES, HALF, NOTHING } place;
};

static void reader_init(struct reader *r, const struct stream *s)
{
	memset(r, 0, sizeof(*r));
	pdu_rx_init(&r->rx, DATA_MAX);
	r->rx.header_digest = s->header_digest;
	r->rx.data_digest = s->data_digest;
	r->s = s;
}

static size_t kept(const struct reader *r, const struct pdu *p)
{
	switch (r->place) {
	case WHOLE:
	case PIECES:
		return p->data_len;
	case HALF:
		return p->data_len / 2;
	case NOTHING:
		return 0;
	}
	return 0;
}

static void on_header(struct reader *r)
{
	const struct pdu *p = &r->s->pdus[r->seen];
	size_t n = kept(r, p);

	assert_false(r->in_pdu);
	r->in_pdu = true;
	assert_memory_equal(r->rx.bhs, p->bhs, BHS_LEN);
	assert_int_equal(r->rx.ahs_len, p->ahs_len);
	assert_int_equal(r->rx.data_len, p->data_len);
	if (p->ahs_len > 0)
		assert_memory_equal(r->rx.ahs, p->ahs, p->ahs_len);
	else
		assert_null(r->rx.ahs);
	memset(r->got, 0xee, sizeof(r->got));
	if (n == 0)
		return;
	/* PIECES: three places with an empty one between, from byte 0 of the
	 * third part of the first. */
	r->iov[0] = (struct iovec){r->got, r->place == PIECES ? n / 3 : n};
	r->iov[1] = (struct iovec){NULL, 0};
	r->iov[2] = (struct iovec){r->got + n / 3, n - n / 3};
	pdu_rx_place(&r->rx, r->iov, r->place == PIECES ? 3 : 1, 0, n);
}

static void on_pdu(struct reader *r)
{
	const struct pdu *p = &r->s->pdus[r->seen];
	size_t n = kept(r, p);

	assert_true(r->in_pdu);
	r->in_pdu = false;
	r->seen++;
	assert_int_equal(r->rx.data_digest_bad, p->bad_data_digest &&
							r->s->data_digest &&
							p->data_len > 0);
	if (n > 0)
		assert_memory_equal(r->got, p->data, n);
	for (size_t i = n; i < DATA_MAX; i++)
		assert_int_equal(r->got[i], 0xee);
	/* The header is still what it was. */
	assert_memory_equal(r->rx.bhs, p->bhs, BHS_LEN);
}

static void feed(struct reader *r, const uint8_t *buf, size_t len)
{
	enum pdu_rx_event event;
	size_t used;

	do {
		event = pdu_rx_feed(&r->rx, buf, len, &used);
		assert_true(used <= len);
		buf += used;
		len -= used;
		if (event == PDU_RX_HEADER)
			on_header(r);
		else if (event == PDU_RX_PDU)
			on_pdu(r);
		else
			assert_int_equal(event, PDU_RX_MORE);
	} while (event != PDU_RX_MORE);
	assert_int_equal(len, 0);
}

static void four_pdus(struct stream *s, bool header_digest, bool data_digest)
{
	uint64_t seed = 42;

	stream_init(s, header_digest, data_digest);
	add_pdu(s, 0, 5, false, &seed);
	add_pdu(s, 12, 0, false, &seed);
	add_pdu(s, 4, 67, true, &seed);
	add_pdu(s, 0, 64, false, &seed);
}

/* ---- Tests. */

static void test_every_split_point(void **state)
{
	for (unsigned int digests = 0; digests < 4; digests++) {
		struct stream *s = &the_stream;

		four_pdus(s, digests & 1, digests & 2);
		for (size_t a = 0; a <= s->len; a++) {
			struct reader r;

			reader_init(&r, s);
			r.place = a % 4;
			feed(&r, s->bytes, a);
			feed(&r, s->bytes + a, s->len - a);
			assert_int_equal(r.seen, s->npdus);
		}
	}
}

static void test_one_byte_at_a_time(void **state)
{
	for (unsigned int digests = 0; digests < 4; digests++) {
		struct reader r;
		struct stream *s = &the_stream;

		four_pdus(s, digests & 1, digests & 2);
		reader_init(&r, s);
		r.place = PIECES;
		for (size_t i = 0; i < s->len; i++)
			feed(&r, s->bytes + i, 1);
		assert_int_equal(r.seen, s->npdus);
	}
}

/* T14: whatever a stream is cut to, nothing comes out that was not whole. */
static void test_every_short_length(void **state)
{
	struct reader r;
	struct stream *s = &the_stream;
	size_t end = 0;

	four_pdus(s, true, true);
	for (size_t len = 0; len < s->len; len++) {
		reader_init(&r, s);
		r.place = WHOLE;
		feed(&r, s->bytes, len);
		assert_true(r.seen < s->npdus);
		end = MAX(end, (size_t)r.seen);
	}
	assert_int_equal(end, s->npdus - 1);
}

static void test_random_pdus_in_random_pieces(void **state)
{
	static const uint32_t lengths[] = {0,	1,   2,	   3,	 4,
					   511, 512, 8191, 8192, DATA_MAX};

	for (uint64_t n = 1; n <= 200; n++) {
		uint64_t seed = n * 0x9e3779b97f4a7c15u;
		size_t at = 0, len;
		struct reader r;
		struct stream *s = &the_stream;

		stream_init(s, n & 1, n & 2);
		for (int i = 0; i < 20; i++) {
			uint64_t x = next_random(&seed);
			uint32_t data = lengths[x % ARRAY_LEN(lengths)];

			if (x & 0x10000)
				data = (uint32_t)(x >> 20) % 300;
			add_pdu(s, (x >> 32) % 8 == 0 ? AHS_LEN_MAX : 0, data,
				(x >> 40) % 4 == 0, &seed);
		}
		reader_init(&r, s);
		while (at < s->len) {
			r.place = next_random(&seed) % 4;
			len = next_random(&seed) % 5000;
			len = MIN(len, s->len - at);
			feed(&r, s->bytes + at, len);
			at += len;
			/* A PDU keeps the place it was given. */
			while (r.in_pdu && at < s->len) {
				len = MIN((size_t)(next_random(&seed) % 100),
					  s->len - at);
				feed(&r, s->bytes + at, len);
				at += len;
			}
		}
		assert_int_equal(r.seen, s->npdus);
	}
}

static void test_whole_pdu_is_parsed_in_place(void **state)
{
	struct reader r;
	struct stream *s = &the_stream;
	size_t used;

	four_pdus(s, false, false);
	reader_init(&r, s);
	assert_int_equal(pdu_rx_feed(&r.rx, s->bytes, s->len, &used),
			 PDU_RX_HEADER);
	assert_int_equal(used, BHS_LEN);
	assert_ptr_equal(r.rx.bhs, s->bytes);

	/* One byte of padding is missing: it must outlive the buffer. */
	reader_init(&r, s);
	assert_int_equal(pdu_rx_feed(&r.rx, s->bytes, BHS_LEN + 7, &used),
			 PDU_RX_HEADER);
	assert_ptr_equal(r.rx.bhs, r.rx.header);
}

/* The buffer goes away in the midst of a PDU that was whole in it. */
static void test_settle(void **state)
{
	struct stream *s = &the_stream;
	uint64_t seed = 21;
	struct reader r;
	size_t at, used;

	/* Cut in the payload, and in the digest. */
	for (size_t cut = 0; cut < 28; cut++) {
		stream_init(s, true, true);
		add_pdu(s, 8, 21, false, &seed);
		reader_init(&r, s);
		assert_int_equal(pdu_rx_feed(&r.rx, s->bytes, s->len, &at),
				 PDU_RX_HEADER);
		assert_ptr_equal(r.rx.bhs, s->bytes);
		assert_int_equal(pdu_rx_feed(&r.rx, s->bytes + at, cut, &used),
				 PDU_RX_MORE);
		pdu_rx_settle(&r.rx);
		at += used;
		memset(s->bytes, 0xdd, at);
		assert_int_equal(
			pdu_rx_feed(&r.rx, s->bytes + at, s->len - at, &used),
			PDU_RX_PDU);
		assert_memory_equal(r.rx.bhs, s->pdus[0].bhs, BHS_LEN);
		assert_memory_equal(r.rx.ahs, s->pdus[0].ahs, 8);
		assert_false(r.rx.data_digest_bad);
		/* Between PDUs it does nothing. */
		pdu_rx_settle(&r.rx);
	}
}

/* T4: TotalAHSLength of every value on every opcode. */
static void test_every_ahs_length(void **state)
{
	for (unsigned int opcode = 0; opcode < 0x80; opcode++) {
		struct stream *s = &the_stream;
		struct reader r;
		uint64_t seed = opcode + 1;

		for (unsigned int words = 0; words < 256; words++) {
			struct pdu *p;

			stream_init(s, words & 1, words & 2);
			p = &s->pdus[0];
			add_pdu(s, words * 4, 8, false, &seed);
			p->bhs[BHS_OPCODE] = (uint8_t)opcode;
			s->len = 0;
			put_pdu(s, p);
			reader_init(&r, s);
			r.place = WHOLE;
			feed(&r, s->bytes, words * 2);
			feed(&r, s->bytes + words * 2, s->len - words * 2);
			assert_int_equal(r.seen, 1);
			if (opcode % 16 != 0)
				words += 50;
		}
	}
}

static void test_header_digest_covers_every_bit(void **state)
{
	struct pdu_rx *rx = malloc(sizeof(*rx));
	uint64_t seed = 7;
	struct stream *s = &the_stream;
	size_t used;

	assert_non_null(rx);
	stream_init(s, true, false);
	add_pdu(s, 8, 0, false, &seed);
	for (size_t bit = 0; bit < s->len * 8; bit++) {
		/* The AHS length moves the digest; the rest must not match. */
		if (bit / 8 == BHS_AHS_WORDS)
			continue;
		s->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		pdu_rx_init(rx, DATA_MAX);
		rx->header_digest = true;
		assert_int_equal(pdu_rx_feed(rx, s->bytes, s->len, &used),
				 PDU_RX_HEADER_DIGEST);
		s->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	pdu_rx_init(rx, DATA_MAX);
	rx->header_digest = true;
	assert_int_equal(pdu_rx_feed(rx, s->bytes, s->len, &used),
			 PDU_RX_HEADER);
	free(rx);
}

static void test_data_digest_covers_data_and_padding(void **state)
{
	struct pdu_rx *rx = malloc(sizeof(*rx));
	uint64_t seed = 9;
	struct stream *s = &the_stream;
	size_t used;

	assert_non_null(rx);
	stream_init(s, false, true);
	add_pdu(s, 0, 21, false, &seed);
	for (size_t bit = BHS_LEN * 8; bit < s->len * 8; bit++) {
		s->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		pdu_rx_init(rx, DATA_MAX);
		rx->data_digest = true;
		assert_int_equal(pdu_rx_feed(rx, s->bytes, s->len, &used),
				 PDU_RX_HEADER);
		assert_int_equal(
			pdu_rx_feed(rx, s->bytes + used, s->len - used, &used),
			PDU_RX_PDU);
		assert_true(rx->data_digest_bad);
		s->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	free(rx);
}

/* T9, both sides of the limit. */
static void test_data_segment_limit(void **state)
{
	uint8_t bhs[BHS_LEN] = {0};
	struct pdu_rx rx;
	size_t used;

	for (uint32_t max = 0; max <= ISCSI_LENGTH_MAX; max = max * 2 + 511) {
		pdu_rx_init(&rx, max);
		store_be24(bhs + BHS_DSL, max);
		assert_int_equal(pdu_rx_feed(&rx, bhs, BHS_LEN, &used),
				 PDU_RX_HEADER);
		assert_int_equal(rx.data_len, max);
		if (max == ISCSI_LENGTH_MAX)
			break;
		pdu_rx_init(&rx, max);
		store_be24(bhs + BHS_DSL, max + 1);
		assert_int_equal(pdu_rx_feed(&rx, bhs, BHS_LEN, &used),
				 PDU_RX_TOO_LONG);
		assert_memory_equal(rx.bhs, bhs, BHS_LEN);
	}
}

static void test_place_at_an_offset(void **state)
{
	uint8_t a[10], b[10], c[100];
	const struct iovec iov[] = {{a, 10}, {b, 10}, {c, 100}};
	uint64_t seed = 3;
	struct reader r;
	struct stream *s = &the_stream;
	size_t used, n;

	for (size_t offset = 0; offset <= 60; offset++) {
		uint8_t flat[120];

		memset(a, 1, sizeof(a));
		memset(b, 1, sizeof(b));
		memset(c, 1, sizeof(c));
		stream_init(s, false, true);
		add_pdu(s, 0, 60, false, &seed);
		reader_init(&r, s);
		assert_int_equal(pdu_rx_feed(&r.rx, s->bytes, s->len, &used),
				 PDU_RX_HEADER);
		pdu_rx_place(&r.rx, iov, 3, offset, 1000);
		assert_int_equal(
			pdu_rx_feed(&r.rx, s->bytes + used, s->len - used, &n),
			PDU_RX_PDU);
		assert_int_equal(used + n, s->len);
		assert_false(r.rx.data_digest_bad);
		memcpy(flat, a, 10);
		memcpy(flat + 10, b, 10);
		memcpy(flat + 20, c, 100);
		for (size_t i = 0; i < sizeof(flat); i++) {
			bool inside = i >= offset && i < offset + 60;

			assert_int_equal(flat[i],
					 inside ? s->pdus[0].data[i - offset]
						: 1);
		}
	}
}

/* Given up half-way: the rest is thrown away, the digest is still checked. */
static void test_displace(void **state)
{
	uint64_t seed = 11;
	struct reader r;
	struct stream *s = &the_stream;
	size_t used, n;

	stream_init(s, false, true);
	add_pdu(s, 0, 100, false, &seed);
	for (size_t first = 0; first < 100; first++) {
		struct iovec iov = {r.got, 100};

		reader_init(&r, s);
		memset(r.got, 0xee, sizeof(r.got));
		assert_int_equal(pdu_rx_feed(&r.rx, s->bytes, BHS_LEN, &used),
				 PDU_RX_HEADER);
		pdu_rx_place(&r.rx, &iov, 1, 0, 100);
		assert_int_equal(pdu_rx_feed(&r.rx, s->bytes + used, first, &n),
				 PDU_RX_MORE);
		pdu_rx_displace(&r.rx);
		used += n;
		assert_int_equal(
			pdu_rx_feed(&r.rx, s->bytes + used, s->len - used, &n),
			PDU_RX_PDU);
		assert_false(r.rx.data_digest_bad);
		assert_memory_equal(r.got, s->pdus[0].data, first);
		assert_int_equal(r.got[first], 0xee);
	}
}

/* The payload is received into its place; the tail comes through feed. */
static void test_direct(void **state)
{
	for (unsigned int step = 1; step <= 64; step++) {
		uint64_t seed = step;
		size_t at, used, done = 0;
		struct reader r;
		struct stream *s = &the_stream;
		struct iovec iov[2];
		uint8_t *dst;

		stream_init(s, true, true);
		add_pdu(s, 4, 1001, step % 2, &seed);
		reader_init(&r, s);
		iov[0] = (struct iovec){r.got, 400};
		iov[1] = (struct iovec){r.got + 400, 600};
		assert_int_equal(pdu_rx_feed(&r.rx, s->bytes, 100, &at),
				 PDU_RX_HEADER);
		assert_int_equal(pdu_rx_direct(&r.rx, &dst), 0);
		/* The last byte has no place. */
		pdu_rx_place(&r.rx, iov, 2, 0, 1000);
		assert_int_equal(pdu_rx_feed(&r.rx, s->bytes + at, 10, &used),
				 PDU_RX_MORE);
		at += used;
		done += used;
		for (;;) {
			size_t room = pdu_rx_direct(&r.rx, &dst);
			size_t n = MIN(room, (size_t)step);

			if (room == 0)
				break;
			assert_ptr_equal(dst, r.got + done);
			assert_int_equal(room,
					 done < 400 ? 400 - done : 1000 - done);
			memcpy(dst, s->bytes + at, n);
			pdu_rx_advance(&r.rx, n);
			at += n;
			done += n;
		}
		assert_int_equal(done, 1000);
		assert_int_equal(pdu_rx_feed(&r.rx, NULL, 0, &used),
				 PDU_RX_MORE);
		assert_int_equal(
			pdu_rx_feed(&r.rx, s->bytes + at, s->len - at, &used),
			PDU_RX_PDU);
		assert_int_equal(at + used, s->len);
		assert_int_equal(r.rx.data_digest_bad, step % 2);
		assert_memory_equal(r.got, s->pdus[0].data, 1000);
	}
}

/* Without padding and digest there is nothing left to feed. */
static void test_pdu_after_direct_without_bytes(void **state)
{
	uint64_t seed = 5;
	struct reader r;
	struct stream *s = &the_stream;
	struct iovec iov;
	uint8_t *dst;
	size_t used;

	stream_init(s, false, false);
	add_pdu(s, 0, 64, false, &seed);
	reader_init(&r, s);
	iov = (struct iovec){r.got, 64};
	assert_int_equal(pdu_rx_feed(&r.rx, s->bytes, BHS_LEN, &used),
			 PDU_RX_HEADER);
	pdu_rx_place(&r.rx, &iov, 1, 0, 64);
	assert_int_equal(pdu_rx_direct(&r.rx, &dst), 64);
	memcpy(dst, s->bytes + BHS_LEN, 64);
	pdu_rx_advance(&r.rx, 64);
	assert_int_equal(pdu_rx_feed(&r.rx, NULL, 0, &used), PDU_RX_PDU);
	assert_int_equal(used, 0);
	pdu_rx_advance(&r.rx, 0);
	assert_int_equal(pdu_rx_feed(&r.rx, NULL, 0, &used), PDU_RX_MORE);
}

/* ---- AHS (T5). */

static int walk_ahs(const uint8_t *ahs, uint32_t len, uint32_t *ret_count)
{
	uint32_t cursor = 0, n;
	const uint8_t *data;
	uint8_t type;
	int rc;

	*ret_count = 0;
	while ((rc = ahs_next(ahs, len, &cursor, &type, &data, &n)) > 0) {
		assert_true(cursor <= len);
		assert_true(data >= ahs + 3 && data + n <= ahs + len);
		assert_true(n > 0);
		(*ret_count)++;
		assert_true(*ret_count <= len);
	}
	return rc;
}

static void test_ahs_pair(void **state)
{
	/* An extended CDB of 20 bytes (4 + the reserved byte), then the read
	 * length of a bidirectional command. */
	const uint8_t ahs[] = {0, 5, 1, 0, 'a', 'b', 'c', 'd',
			       0, 5, 2, 0, 0,	0,   2,	  0};
	uint32_t cursor = 0, len;
	const uint8_t *data;
	uint8_t type;

	assert_int_equal(
		ahs_next(ahs, sizeof(ahs), &cursor, &type, &data, &len), 1);
	assert_int_equal(type, AHS_EXTENDED_CDB);
	assert_int_equal(len, 5);
	assert_ptr_equal(data, ahs + 3);
	assert_int_equal(
		ahs_next(ahs, sizeof(ahs), &cursor, &type, &data, &len), 1);
	assert_int_equal(type, AHS_BIDI_READ_LENGTH);
	assert_int_equal(load_be32(data + 1), 512);
	assert_int_equal(
		ahs_next(ahs, sizeof(ahs), &cursor, &type, &data, &len), 0);
}

static void test_every_ahs_inner_length(void **state)
{
	uint8_t ahs[16] = {0};
	uint32_t count;

	for (uint32_t n = 0; n <= 0xffff; n++) {
		store_be16(ahs, (uint16_t)n);
		ahs[2] = AHS_EXTENDED_CDB;
		/* What follows, all zeroes, is malformed in itself. */
		if (n >= 10 && n <= 13)
			assert_int_equal(walk_ahs(ahs, sizeof(ahs), &count), 0);
		else
			assert_int_equal(walk_ahs(ahs, sizeof(ahs), &count),
					 -EPROTO);
	}
}

static void test_random_ahs(void **state)
{
	uint64_t seed = 77;

	for (int i = 0; i < 100000; i++) {
		uint32_t len = (uint32_t)(next_random(&seed) % 256) * 4;
		uint8_t *ahs = malloc(len + 1);
		uint32_t count;

		assert_non_null(ahs);
		fill(ahs, len, &seed);
		for (uint32_t k = 0; k < len; k += 4)
			ahs[k] = 0;
		walk_ahs(ahs, len, &count);
		free(ahs);
		if (len > 400)
			i += 20;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_split_point),
		cmocka_unit_test(test_one_byte_at_a_time),
		cmocka_unit_test(test_every_short_length),
		cmocka_unit_test(test_random_pdus_in_random_pieces),
		cmocka_unit_test(test_whole_pdu_is_parsed_in_place),
		cmocka_unit_test(test_settle),
		cmocka_unit_test(test_every_ahs_length),
		cmocka_unit_test(test_header_digest_covers_every_bit),
		cmocka_unit_test(test_data_digest_covers_data_and_padding),
		cmocka_unit_test(test_data_segment_limit),
		cmocka_unit_test(test_place_at_an_offset),
		cmocka_unit_test(test_displace),
		cmocka_unit_test(test_direct),
		cmocka_unit_test(test_pdu_after_direct_without_bytes),
		cmocka_unit_test(test_ahs_pair),
		cmocka_unit_test(test_every_ahs_inner_length),
		cmocka_unit_test(test_random_ahs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
