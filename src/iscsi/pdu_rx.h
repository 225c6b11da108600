/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Framing (RFC 7143, 11.2): bytes in, PDUs out, no I/O.
 *
 * The header comes first, with its AHS and checked digest; then its reader
 * says where the payload goes, and the payload is copied there as it comes (or
 * received there directly: pdu_rx_direct()).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "iscsi/iscsi_spec.h"

enum pdu_rx_event {
	PDU_RX_MORE,   /* all bytes used: wants more */
	PDU_RX_HEADER, /* rx->bhs, rx->ahs are complete */
	PDU_RX_PDU,    /* the payload is in place; the next PDU begins */
	/* The end of this connection: */
	PDU_RX_TOO_LONG,      /* DataSegmentLength beyond data_max */
	PDU_RX_HEADER_DIGEST, /* does not match */
};

struct pdu_rx {
	/* Settings; they may change between PDUs. */
	bool header_digest, data_digest;
	uint32_t data_max; /* the MaxRecvDataSegmentLength that we declared */

	/* The PDU at hand, from HEADER to PDU. */
	const uint8_t *bhs; /* BHS_LEN bytes */
	const uint8_t *ahs; /* ahs_len bytes (a multiple of 4), or NULL */
	uint32_t ahs_len;
	uint32_t data_len;    /* DataSegmentLength */
	bool data_digest_bad; /* with PDU_RX_PDU */

	/* The engine's. */
	uint8_t header[BHS_LEN + AHS_LEN_MAX + DIGEST_LEN];
	uint32_t have; /* bytes of header collected */
	uint32_t need;
	uint8_t state;
	const struct iovec *iov; /* destination, NULL = discard */
	unsigned int iovcnt;
	unsigned int iov_index;
	size_t iov_offset;
	uint32_t left; /* payload bytes to come */
	uint32_t keep; /* of them, those with a place; the rest is
				 * discarded (but digested) */
	uint32_t crc;
	uint8_t tail[3 + DIGEST_LEN];
	uint8_t tail_have, tail_need;
};

void pdu_rx_init(struct pdu_rx *rx, uint32_t data_max);

/*
 * Feeds bytes; *ret_used says how many were used up to the event. After HEADER
 * (when data_len > 0) the caller may call pdu_rx_place() before feeding on;
 * without it the payload is discarded. bhs and ahs stay valid until the next
 * call after PDU_RX_PDU: they point into @buf only while the whole of the PDU
 * is inside it, else into rx->header.
 */
enum pdu_rx_event pdu_rx_feed(struct pdu_rx *rx, const uint8_t *buf, size_t len,
			      size_t *ret_used);

/* The payload's first @len bytes go to byte @offset of @iov, which stays valid
 * until PDU_RX_PDU. */
void pdu_rx_place(struct pdu_rx *rx, const struct iovec *iov,
		  unsigned int iovcnt, size_t offset, size_t len);

/*
 * Feeding stops in the midst of a PDU, and the bytes that were fed go away: the
 * header moves to a place of its own.
 */
void pdu_rx_settle(struct pdu_rx *rx);

/* Gives the destination up: what is still to come is discarded. */
void pdu_rx_displace(struct pdu_rx *rx);

/*
 * How many payload bytes are still to come to one contiguous place, *ret_dst
 * (0: none). The caller may receive up to that many there itself, and says how
 * many came with pdu_rx_advance(), which never ends the PDU: feed on for that,
 * with nothing if need be (PDU_RX_PDU may come with *ret_used == 0).
 */
size_t pdu_rx_direct(struct pdu_rx *rx, uint8_t **ret_dst);
void pdu_rx_advance(struct pdu_rx *rx, size_t len);

/* AHS iteration (11.2.2). *cursor starts at 0. 1: *ret_type, *ret_data and
 * *ret_len (AHSLength's bytes, without AHSType) are set; 0: the end; -EPROTO:
 * malformed. */
int ahs_next(const uint8_t *ahs, uint32_t ahs_len, uint32_t *cursor,
	     uint8_t *ret_type, const uint8_t **ret_data, uint32_t *ret_len);
