/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where does a JSON value end? Requests come over a stream with nothing
 * between them, split anywhere; this machine takes the bytes as they come and
 * says when one value is complete, or that none can become of it. It looks at
 * each byte once, checks the grammar (RFC 8259) but not the UTF-8, and builds
 * nothing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_DEPTH_MAX	64u	   /* arrays and objects inside each other */
#define JSON_VALUES_MAX (1u << 18) /* values in one top-level value */

enum json_scan_event {
	JSON_SCAN_MORE,	 /* all bytes used, the value goes on */
	JSON_SCAN_VALUE, /* a value ended; *ret_used bytes belong to it */
	JSON_SCAN_BAD,	 /* not JSON, or above a limit */
};

struct json_scan {
	uint8_t state;
	uint8_t depth;
	uint8_t word_at; /* how much of true, false, null was seen */
	const char *word;
	uint32_t values;
	uint64_t objects; /* bit n: depth n is an object, no array */
	bool key;	  /* the string in hand is a key */
	bool begun;	  /* some byte of the value was seen */
};

void json_scan_init(struct json_scan *s);

/*
 * A number at the top level ends where something else begins: that byte is not
 * used. White space before a value is used, and `begun` is still false.
 */
enum json_scan_event json_scan_feed(struct json_scan *s, const uint8_t *buf,
				    size_t len, size_t *ret_used);
