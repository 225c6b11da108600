/* SPDX-License-Identifier: BSD-3-Clause */
#include "blast.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/macros.h"

#define SEND_PDUS_MAX 128u
/* From here on a payload is worth a call that discards it. */
#define DISCARD_MIN 32768u

/* ------------------------------------------------------------------------
 * Sending.
 */

static uint32_t pattern_digest(struct blast *b, uint32_t len)
{
	if (b->pattern_len != len) {
		b->pattern_len = len;
		b->pattern_crc = crc32c_final(
			crc32c_update(CRC32C_INIT, b->pattern, len));
	}
	return b->pattern_crc;
}

/* A PDU of @data_len bytes of payload; its BHS, of zeroes, to be filled in. */
static uint8_t *out_begin(struct client *c, uint32_t data_len)
{
	struct out_pdu *p;

	if (c->out_count == OUT_MAX)
		die("more PDUs to send than there is room for");
	p = &c->out[(c->out_first + c->out_count) % OUT_MAX];
	memset(p->head, 0, BHS_LEN);
	p->data_len = data_len;
	store_be24(p->head + BHS_DSL, data_len);
	store_be32(p->head + BHS_EXPSTATSN, c->expstatsn);
	return p->head;
}

static void out_end(struct client *c)
{
	struct out_pdu *p = &c->out[(c->out_first + c->out_count++) % OUT_MAX];

	if (c->header_digest)
		store_le32(p->head + BHS_LEN,
			   crc32c_final(crc32c_update(CRC32C_INIT, p->head,
						      BHS_LEN)));
	if (c->data_digest && p->data_len > 0)
		store_le32(p->tail, pattern_digest(c->blast, p->data_len));
}

/* Adds a part to the list, without the first *skip bytes of all. */
static uint32_t add_iov(struct iovec *iov, uint32_t n, void *base, size_t len,
			size_t *skip)
{
	if (*skip >= len) {
		*skip -= len;
		return n;
	}
	iov[n].iov_base = (uint8_t *)base + *skip;
	iov[n].iov_len = len - *skip;
	*skip = 0;
	return n + 1;
}

static size_t pdu_len(const struct client *c, const struct out_pdu *p)
{
	return BHS_LEN + (c->header_digest ? DIGEST_LEN : 0) + p->data_len +
	       (c->data_digest && p->data_len ? DIGEST_LEN : 0);
}

static uint32_t collect(struct client *c, struct iovec *iov)
{
	size_t skip = c->out_sent;
	uint32_t n = 0;

	for (uint32_t i = 0; i < MIN(c->out_count, SEND_PDUS_MAX); i++) {
		struct out_pdu *p = &c->out[(c->out_first + i) % OUT_MAX];

		n = add_iov(iov, n, p->head,
			    BHS_LEN + (c->header_digest ? DIGEST_LEN : 0),
			    &skip);
		if (p->data_len == 0)
			continue;
		n = add_iov(iov, n, c->blast->pattern, p->data_len, &skip);
		if (c->data_digest)
			n = add_iov(iov, n, p->tail, DIGEST_LEN, &skip);
	}
	return n;
}

static void sent(struct client *c, size_t n)
{
	c->out_sent += n;
	while (c->out_count > 0) {
		size_t len = pdu_len(c, &c->out[c->out_first]);

		if (c->out_sent < len)
			return;
		c->out_sent -= len;
		c->out_first = (c->out_first + 1) % OUT_MAX;
		c->out_count--;
	}
}

void client_flush(struct client *c, uint32_t index)
{
	struct iovec iov[3 * SEND_PDUS_MAX];
	bool wait = false;

	while (c->out_count > 0 && !wait) {
		struct msghdr m = {.msg_iov = iov};
		ssize_t n;

		m.msg_iovlen = collect(c, iov);
		n = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno != EAGAIN)
			die("send: %s", strerror(errno));
		wait = n < 0;
		if (n > 0)
			sent(c, (size_t)n);
	}
	if (wait != c->waits_for_room) {
		struct epoll_event e = {
			.events = EPOLLIN | (wait ? EPOLLOUT : 0u),
			.data.u32 = index,
		};

		epoll_ctl(c->blast->epoll, EPOLL_CTL_MOD, c->fd, &e);
		c->waits_for_room = wait;
	}
}

/* ------------------------------------------------------------------------
 * Commands.
 */

static uint64_t next_random(struct blast *b)
{
	b->random ^= b->random << 13;
	b->random ^= b->random >> 7;
	b->random ^= b->random << 17;
	return b->random;
}

static bool next_is_write(struct blast *b)
{
	switch (b->opt.workload) {
	case RANDREAD:
	case READ:
	case WORKLOADS:
		return false;
	case RANDWRITE:
	case WRITE:
		return true;
	case MIX:
		return next_random(b) % 10 < 3;
	}
	return false;
}

static uint64_t next_lba(struct client *c, uint32_t nblocks)
{
	struct blast *b = c->blast;
	uint64_t span = b->nblocks / nblocks, lba;

	if (b->opt.workload != READ && b->opt.workload != WRITE)
		return next_random(b) % span * nblocks;
	lba = c->next_lba;
	c->next_lba = (lba + nblocks) % (span * nblocks);
	return lba;
}

static void data_out(struct client *c, uint32_t itt, uint32_t ttt,
		     uint32_t offset, uint32_t len)
{
	uint32_t datasn = 0;

	while (len > 0) {
		uint32_t n = MIN(len, c->mrdsl);
		uint8_t *bhs = out_begin(c, n);

		bhs[BHS_OPCODE] = ISCSI_DATA_OUT;
		bhs[BHS_FLAGS] = n == len ? FLAG_FINAL : 0;
		bhs[BHS_LUN + 1] = c->blast->opt.lun;
		store_be32(bhs + BHS_ITT, itt);
		store_be32(bhs + BHS_TTT, ttt);
		store_be32(bhs + BHS_DATASN, datasn++);
		store_be32(bhs + BHS_BUFFER_OFFSET, offset);
		out_end(c);
		offset += n;
		len -= n;
	}
}

static void issue(struct client *c, uint32_t tag, bool write)
{
	struct blast *b = c->blast;
	uint32_t bytes = b->opt.bytes, nblocks = bytes / b->block_size;
	uint32_t unsolicited = write ? MIN(bytes, c->first_burst) : 0;
	uint32_t immediate =
		write && c->immediate ? MIN(unsolicited, c->mrdsl) : 0;
	uint8_t *bhs = out_begin(c, immediate);
	bool more = !c->initial_r2t && immediate < unsolicited;

	bhs[BHS_OPCODE] = ISCSI_SCSI_COMMAND;
	bhs[BHS_FLAGS] = (uint8_t)((write ? CMD_FLAG_WRITE : CMD_FLAG_READ) |
				   (more ? 0 : FLAG_FINAL) | 1);
	bhs[BHS_LUN + 1] = b->opt.lun;
	store_be32(bhs + BHS_ITT, tag);
	store_be32(bhs + BHS_EDTL, bytes);
	store_be32(bhs + BHS_CMDSN, c->cmdsn++);
	bhs[BHS_CDB] = write ? 0x8a : 0x88;
	store_be64(bhs + BHS_CDB + 2, next_lba(c, nblocks));
	store_be32(bhs + BHS_CDB + 10, nblocks);
	out_end(c);
	if (more)
		data_out(c, tag, RESERVED_TAG, immediate,
			 unsolicited - immediate);
	c->requests[tag] = (struct request){
		.began_ns = b->now_ns,
		.write = write,
		.busy = true,
	};
}

void client_issue(struct client *c)
{
	while (c->ntags > 0 && (int32_t)(c->maxcmdsn - c->cmdsn) >= 0)
		issue(c, c->tags[--c->ntags], next_is_write(c->blast));
}

/* ------------------------------------------------------------------------
 * Receiving.
 */

static void record_latency(struct figures *f, uint64_t ns)
{
	uint32_t power, step;

	ns = MAX(ns, 32u);
	power = 63 - (uint32_t)__builtin_clzll(ns);
	step = (ns >> (power - 5)) & 31;
	f->latency[power * 32 + step]++;
}

static struct request *request_of(struct client *c, uint32_t tag)
{
	if (tag >= DEPTH_MAX || !c->requests[tag].busy)
		die("tag %u is not in use", tag);
	return &c->requests[tag];
}

static void end_request(struct client *c, const uint8_t *bhs)
{
	uint32_t tag = load_be32(bhs + BHS_ITT);
	struct request *r = request_of(c, tag);
	struct blast *b = c->blast;

	if (load_be32(bhs + BHS_STATSN) != c->expstatsn)
		die("StatSN %u, not %u", load_be32(bhs + BHS_STATSN),
		    c->expstatsn);
	c->expstatsn++;
	if (bhs[BHS_STATUS] != 0)
		b->figures.errors++;
	else if (!r->write && r->received != b->opt.bytes)
		die("%u bytes came, and status GOOD", r->received);
	if (bhs[BHS_FLAGS] & (RSP_FLAG_OVERFLOW | RSP_FLAG_UNDERFLOW))
		die("a residual count");
	record_latency(&b->figures, b->now_ns - r->began_ns);
	b->figures.ios++;
	b->figures.bytes += b->opt.bytes;
	r->busy = false;
	c->tags[c->ntags++] = tag;
}

static void data_in(struct client *c, const uint8_t *bhs)
{
	struct request *r = request_of(c, load_be32(bhs + BHS_ITT));

	if (load_be32(bhs + BHS_DATASN) != r->datasn++ ||
	    load_be32(bhs + BHS_BUFFER_OFFSET) != r->received)
		die("Data-In out of order");
	r->received += load_be24(bhs + BHS_DSL);
	if (bhs[BHS_FLAGS] & DATA_IN_FLAG_STATUS)
		end_request(c, bhs);
}

static void r2t(struct client *c, const uint8_t *bhs)
{
	uint32_t tag = load_be32(bhs + BHS_ITT);
	struct request *r = request_of(c, tag);
	uint32_t offset = load_be32(bhs + BHS_BUFFER_OFFSET);
	uint32_t len = load_be32(bhs + BHS_DESIRED_LENGTH);

	if (!r->write || load_be32(bhs + BHS_DATASN) != r->datasn++ ||
	    offset > c->blast->opt.bytes || len > c->blast->opt.bytes - offset)
		die("an R2T that cannot be");
	data_out(c, tag, load_be32(bhs + BHS_TTT), offset, len);
}

static void nop_in(struct client *c, const uint8_t *ping)
{
	uint8_t *bhs;

	if (load_be32(ping + BHS_TTT) == RESERVED_TAG)
		return;
	bhs = out_begin(c, 0);
	bhs[BHS_OPCODE] = ISCSI_IMMEDIATE | ISCSI_NOP_OUT;
	bhs[BHS_FLAGS] = FLAG_FINAL;
	memcpy(bhs + BHS_LUN, ping + BHS_LUN, 8);
	store_be32(bhs + BHS_ITT, RESERVED_TAG);
	memcpy(bhs + BHS_TTT, ping + BHS_TTT, 4);
	store_be32(bhs + BHS_CMDSN, c->cmdsn);
	out_end(c);
}

/* A PDU is complete. */
static void dispatch(struct client *c, const uint8_t *bhs)
{
	uint32_t window = load_be32(bhs + BHS_MAXCMDSN);

	if ((int32_t)(window - c->maxcmdsn) > 0)
		c->maxcmdsn = window;
	switch (bhs[BHS_OPCODE] & ISCSI_OPCODE_MASK) {
	case ISCSI_DATA_IN:
		data_in(c, bhs);
		break;
	case ISCSI_SCSI_RESPONSE:
		end_request(c, bhs);
		break;
	case ISCSI_R2T:
		r2t(c, bhs);
		break;
	case ISCSI_NOP_IN:
		nop_in(c, bhs);
		break;
	default:
		die("unexpected opcode 0x%02x", bhs[BHS_OPCODE]);
	}
}

static void check_data_digest(const struct client *c)
{
	if (crc32c_final(c->crc) != load_le32(c->tail))
		die("a data digest does not match");
}

/* Takes the header at @p, which is complete. */
static void take_header(struct client *c, const uint8_t *p)
{
	if (c->header_digest &&
	    crc32c_final(crc32c_update(CRC32C_INIT, p, BHS_LEN)) !=
		    load_le32(p + BHS_LEN))
		die("a header digest does not match");
	if (p[BHS_AHS_WORDS] != 0)
		die("additional headers");
	memcpy(c->head, p, BHS_LEN);
	c->left = (uint32_t)round_up(load_be24(p + BHS_DSL), 4);
	c->tail_left = c->data_digest && c->left > 0 ? DIGEST_LEN : 0;
	c->crc = CRC32C_INIT;
	c->in_payload = true;
}

/* Uses up payload and digest; returns how many bytes. */
static size_t take_payload(struct client *c, const uint8_t *p, size_t len)
{
	size_t n = MIN(len, (size_t)c->left), tail;

	if (c->data_digest)
		c->crc = crc32c_update(c->crc, p, n);
	c->left -= (uint32_t)n;
	if (c->left > 0)
		return n;
	tail = MIN(len - n, (size_t)c->tail_left);
	memcpy(c->tail + DIGEST_LEN - c->tail_left, p + n, tail);
	c->tail_left -= (uint32_t)tail;
	if (c->tail_left > 0)
		return n + tail;
	if (c->data_digest && load_be24(c->head + BHS_DSL) > 0)
		check_data_digest(c);
	c->in_payload = false;
	dispatch(c, c->head);
	return n + tail;
}

static void take_bytes(struct client *c)
{
	size_t head_len = BHS_LEN + (c->header_digest ? DIGEST_LEN : 0);
	size_t at = 0;

	for (;;) {
		if (c->in_payload) {
			at += take_payload(c, c->rx + at, c->rx_len - at);
			if (c->in_payload)
				break;
			continue;
		}
		if (c->rx_len - at < head_len)
			break;
		take_header(c, c->rx + at);
		at += head_len;
	}
	memmove(c->rx, c->rx + at, c->rx_len - at);
	c->rx_len -= at;
}

void client_receive(struct client *c)
{
	for (;;) {
		bool discard = c->in_payload && !c->data_digest &&
			       c->left >= DISCARD_MIN;
		size_t room = discard ? c->left : RX_BYTES - c->rx_len;
		ssize_t n =
			recv(c->fd, discard ? NULL : c->rx + c->rx_len, room,
			     MSG_DONTWAIT | (discard ? MSG_TRUNC : 0));

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0)
			die("receive: %s", strerror(errno));
		if (n == 0)
			die("the target closed the connection");
		if (discard) {
			c->left -= (uint32_t)n;
			if (c->left == 0)
				(void)take_payload(c, NULL, 0);
			continue;
		}
		c->rx_len += (size_t)n;
		take_bytes(c);
		if ((size_t)n < room && !(c->in_payload && !c->data_digest &&
					  c->left >= DISCARD_MIN))
			return;
	}
}
