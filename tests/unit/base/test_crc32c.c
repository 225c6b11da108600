/* SPDX-License-Identifier: BSD-3-Clause */
#include "../unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"

#define DATA_LEN 20000

static uint8_t data[DATA_LEN];

static int fill(void **state)
{
	uint32_t x = 1;

	for (size_t i = 0; i < DATA_LEN; i++) {
		x = x * 1103515245 + 12345;
		data[i] = (uint8_t)(x >> 16);
	}
	return 0;
}

static uint32_t digest(const void *p, size_t len)
{
	return crc32c_final(crc32c_update(CRC32C_INIT, p, len));
}

/* RFC 7143, Appendix A.4; the bytes are given as they go on the wire. */
static void test_rfc_vectors(void **state)
{
	uint8_t p[48] = {0x01, 0xc0};

	assert_int_equal(digest("123456789", 9), 0xe3069283);

	assert_int_equal(digest(memset(p, 0, 32), 32), 0x8a9136aa);
	assert_int_equal(digest(memset(p, 0xff, 32), 32), 0x62a8ab43);
	for (int i = 0; i < 32; i++)
		p[i] = (uint8_t)i;
	assert_int_equal(digest(p, 32), 0x46dd794e);
	for (int i = 0; i < 32; i++)
		p[i] = (uint8_t)(31 - i);
	assert_int_equal(digest(p, 32), 0x113fdb5c);

	/* A SCSI Read (10) command PDU. */
	memset(p, 0, sizeof(p));
	p[0] = 0x01;
	p[1] = 0xc0;
	store_be32(p + 16, 0x14000000);
	store_be32(p + 20, 0x400);
	store_be32(p + 24, 0x14);
	store_be32(p + 28, 0x18);
	p[32] = 0x28;
	p[40] = 0x02;
	assert_int_equal(digest(p, 48), 0xd9963a56);
}

static void test_wire_order(void **state)
{
	static const uint8_t zeroes[32];
	static const uint8_t wire[4] = {0xaa, 0x36, 0x91, 0x8a};
	uint8_t p[4];

	store_le32(p, digest(zeroes, sizeof(zeroes)));
	assert_memory_equal(p, wire, 4);
}

static void test_empty(void **state)
{
	assert_int_equal(crc32c_update(CRC32C_INIT, data, 0), CRC32C_INIT);
	assert_int_equal(crc32c_reference(CRC32C_INIT, data, 0), CRC32C_INIT);
	assert_int_equal(crc32c_copy(CRC32C_INIT, NULL, NULL, 0), CRC32C_INIT);
}

/* All small lengths at all alignments, and lengths about the big steps. */
static void test_against_reference(void **state)
{
	static const size_t lengths[] = {4095, 4096, 4097, 8191, 8192, 19000};

	for (size_t off = 0; off < 16; off++) {
		for (size_t len = 0; len < 200; len++)
			assert_int_equal(
				crc32c_update(CRC32C_INIT, data + off, len),
				crc32c_reference(CRC32C_INIT, data + off, len));
		for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++)
			assert_int_equal(crc32c_update(CRC32C_INIT, data + off,
						       lengths[i]),
					 crc32c_reference(CRC32C_INIT,
							  data + off,
							  lengths[i]));
	}
}

static void test_pieces(void **state)
{
	uint32_t whole = crc32c_update(CRC32C_INIT, data, 1000);

	for (size_t cut = 0; cut <= 1000; cut++) {
		uint32_t crc = crc32c_update(CRC32C_INIT, data, cut);

		crc = crc32c_update(crc, data + cut, 1000 - cut);
		assert_int_equal(crc, whole);
	}
}

static void test_copy(void **state)
{
	static const size_t lengths[] = {0,    1,    7,	   64,	 4095,
					 4096, 4097, 8192, 12289};
	static uint8_t dst[DATA_LEN];

	for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		size_t len = lengths[i];
		uint32_t crc;

		memset(dst, 0x5a, sizeof(dst));
		crc = crc32c_copy(0x12345678, dst + 1, data + 3, len);
		assert_int_equal(crc,
				 crc32c_reference(0x12345678, data + 3, len));
		assert_memory_equal(dst + 1, data + 3, len);
		assert_int_equal(dst[0], 0x5a);
		assert_int_equal(dst[len + 1], 0x5a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc_vectors),
		cmocka_unit_test(test_wire_order),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_against_reference),
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_copy),
	};

	return cmocka_run_group_tests(tests, fill, NULL);
}
