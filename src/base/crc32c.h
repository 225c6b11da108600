/* SPDX-License-Identifier: BSD-3-Clause */
/* CRC32C (Castagnoli), as iSCSI uses it for digests (RFC 7143, 13.1). */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct iovec;

#define CRC32C_INIT 0xffffffffu

/* Feeds @len bytes into @crc (CRC32C_INIT to begin with). */
uint32_t crc32c_update(uint32_t crc, const void *data, size_t len);

/* The digest of what was fed. Stored least significant byte first. */
static inline uint32_t crc32c_final(uint32_t crc)
{
	return ~crc;
}

/* Copies and feeds in one pass over the bytes. */
uint32_t crc32c_copy(uint32_t crc, void *dst, const void *src, size_t len);

/* The bytewise definition, for tests. */
uint32_t crc32c_reference(uint32_t crc, const void *data, size_t len);
