/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/crc32c.h"

#include <string.h>

#include <isa-l/crc.h>

#include "base/macros.h"

/* What is copied is summed while it is still in a near cache. Shorter pieces
 * would stay in the nearest, but do not bring ISA-L up to speed. */
#define COPY_CHUNK ((size_t)32768)

/* ISA-L takes the length as an int. */
#define FEED_MAX ((size_t)1 << 30)

/* Castagnoli's polynomial, bits reversed. */
#define CRC32C_POLY 0x82f63b78u

static uint32_t feed(uint32_t crc, const uint8_t *p, size_t len)
{
	/*
	 * ISA-L inverts neither the seed nor the result, as we do; its
	 * prototype lacks the const that its contract has.
	 */
	return crc32_iscsi((unsigned char *)(uintptr_t)p, (int)len, crc);
}

uint32_t crc32c_update(uint32_t crc, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len > 0) {
		size_t n = MIN(len, FEED_MAX);

		crc = feed(crc, p, n);
		p += n;
		len -= n;
	}
	return crc;
}

uint32_t crc32c_copy(uint32_t crc, void *dst, const void *src, size_t len)
{
	const uint8_t *from = src;
	uint8_t *to = dst;

	while (len > 0) {
		size_t n = MIN(len, COPY_CHUNK);

		/*
		 * Sum the copy, not the source: a peer's RAM disk may change
		 * under us, and the digest has to match what is sent.
		 */
		memcpy(to, from, n);
		crc = feed(crc, to, n);
		from += n;
		to += n;
		len -= n;
	}
	return crc;
}

uint32_t crc32c_reference(uint32_t crc, const void *data, size_t len)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i++) {
		crc ^= p[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? CRC32C_POLY : 0);
	}
	return crc;
}
