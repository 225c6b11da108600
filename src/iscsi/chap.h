/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * CHAP (RFC 1994; RFC 7143, 9.2.1, 12.1.3), the target's side, one-way and
 * mutual: values of text keys in, answers out. Random bytes and secrets are
 * given; nothing is logged.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define CHAP_CHALLENGE_LEN 32u	 /* ours */
#define CHAP_BINARY_MAX	   1024u /* 12.1.3: C and R, decoded */
#define CHAP_DIGEST_MAX	   32u
#define CHAP_RANDOM_LEN	   (1u + CHAP_CHALLENGE_LEN)

enum chap_algorithm { /* IANA: PPP authentication algorithms */
		      CHAP_MD5 = 5,
		      CHAP_SHA1 = 6,
		      CHAP_SHA256 = 7,
		      CHAP_SHA3_256 = 8,
};

struct chap_secret;

struct chap {
	enum chap_algorithm algorithm;
	uint8_t id;
	uint8_t challenge[CHAP_CHALLENGE_LEN];
};

enum chap_verdict {
	CHAP_OK,
	CHAP_OK_MUTUAL, /* and our own response was appended */
	CHAP_MISSING,	/* a key that must be there is not */
	CHAP_MALFORMED, /* a value that the key cannot have */
	CHAP_REFUSED,	/* authentication failure */
	CHAP_BROKEN,	/* ours: memory or libcrypto */
};

/*
 * The first step. @list: CHAP_A, in the initiator's order; @random:
 * CHAP_RANDOM_LEN unpredictable bytes. CHAP_OK: CHAP_A, CHAP_I and CHAP_C were
 * appended; CHAP_REFUSED: none of the algorithms.
 */
enum chap_verdict chap_begin(struct chap *c, const char *list,
			     const uint8_t *random, struct buf *out);

/* What the initiator answers; NULL: absent. */
struct chap_response {
	const char *n, *r; /* both must be there */
	const char *i, *c; /* both or none: asks us to answer, too */
};

/*
 * The second step. @secret: of the user in->n, or NULL when there is none (the
 * time taken is the same). @need_mutual: one-way is not enough.
 */
enum chap_verdict chap_verify(const struct chap *c,
			      const struct chap_response *in,
			      const struct chap_secret *secret,
			      bool need_mutual, struct buf *out);

/*
 * A binary-value (6.1): 0x and hexadecimal digits (an odd one has a leading
 * zero implied) or 0b and base64, at most @max bytes. The length is known
 * before the first byte is written. 0 or -EINVAL.
 */
int chap_decode(const char *text, uint8_t *ret, size_t max, size_t *ret_len);

/* H(id, secret, challenge) into @ret (CHAP_DIGEST_MAX bytes): its length, or 0
 * when libcrypto does not do it. */
size_t chap_digest(enum chap_algorithm algorithm, uint8_t id,
		   const char *secret, const uint8_t *challenge,
		   size_t challenge_len, uint8_t *ret);
