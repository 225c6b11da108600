/* SPDX-License-Identifier: BSD-3-Clause */
#include "iscsi/chap.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/assert.h"
#include "base/macros.h"
#include "base/str.h"
#include "iscsi/text.h"
#include "target/target.h"

/* Longest first digit group of CHAP_A that may name an algorithm. */
#define ALGORITHM_DIGITS_MAX 4u

struct algorithm {
	enum chap_algorithm number;
	size_t digest_len; /* bytes */
	const EVP_MD *(*md)(void);
};

static const struct algorithm algorithms[] = {
	{CHAP_MD5, 16, EVP_md5},
	{CHAP_SHA1, 20, EVP_sha1},
	{CHAP_SHA256, 32, EVP_sha256},
	{CHAP_SHA3_256, 32, EVP_sha3_256},
};

static const struct algorithm *algorithm_find(uint32_t number)
{
	for (size_t i = 0; i < ARRAY_LEN(algorithms); i++) {
		if (algorithms[i].number == number)
			return &algorithms[i];
	}
	return NULL;
}

/* ---- Binary values. */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static int decode_hex(const char *p, uint8_t *ret, size_t max, size_t *ret_len)
{
	size_t digits = strlen(p);
	size_t len = (digits + 1) / 2;
	size_t pos = digits & 1; /* nibbles, with the implied zero */

	if (digits == 0 || len > max)
		return -EINVAL;
	memset(ret, 0, len);
	for (; *p != '\0'; p++, pos++) {
		int v = hex_digit(*p);

		if (v < 0)
			return -EINVAL;
		ret[pos / 2] = (uint8_t)(ret[pos / 2] << 4 | v);
	}
	*ret_len = len;
	return 0;
}

static int base64_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

static int decode_base64(const char *p, uint8_t *ret, size_t max,
			 size_t *ret_len)
{
	size_t digits = strlen(p);
	size_t pad = 0, len, have = 0;
	uint32_t bits = 0;

	if (digits == 0 || digits % 4 != 0)
		return -EINVAL;
	while (pad < 2 && p[digits - 1 - pad] == '=')
		pad++;
	len = digits / 4 * 3 - pad;
	if (len > max)
		return -EINVAL;
	for (size_t i = 0; i < digits - pad; i++) {
		int v = base64_digit(p[i]);

		if (v < 0)
			return -EINVAL;
		bits = bits << 6 | (uint32_t)v;
		/* Four digits make three bytes: all but the first end one. */
		if (i % 4 != 0)
			ret[have++] = (uint8_t)(bits >> (6 - i % 4 * 2));
	}
	ASSERT(have == len);
	*ret_len = len;
	return 0;
}

int chap_decode(const char *text, uint8_t *ret, size_t max, size_t *ret_len)
{
	if (text[0] != '0')
		return -EINVAL;
	if (text[1] == 'x' || text[1] == 'X')
		return decode_hex(text + 2, ret, max, ret_len);
	if (text[1] == 'b' || text[1] == 'B')
		return decode_base64(text + 2, ret, max, ret_len);
	return -EINVAL;
}

static void add_binary(struct buf *out, const char *key, const uint8_t *p,
		       size_t len)
{
	buf_printf(out, "%s=0x", key);
	for (size_t i = 0; i < len; i++)
		buf_printf(out, "%02x", p[i]);
	buf_append_byte(out, 0);
}

/* ---- Digests. */

size_t chap_digest(enum chap_algorithm algorithm, uint8_t id,
		   const char *secret, const uint8_t *challenge,
		   size_t challenge_len, uint8_t *ret)
{
	const struct algorithm *a = algorithm_find(algorithm);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned int len = 0;
	bool ok;

	ASSERT(a != NULL && a->digest_len <= CHAP_DIGEST_MAX);
	if (ctx == NULL)
		return 0;
	/* RFC 1994, 4.1: identifier, secret, challenge. */
	ok = EVP_DigestInit_ex(ctx, a->md(), NULL) == 1 &&
	     EVP_DigestUpdate(ctx, &id, 1) == 1 &&
	     EVP_DigestUpdate(ctx, secret, strlen(secret)) == 1 &&
	     EVP_DigestUpdate(ctx, challenge, challenge_len) == 1 &&
	     EVP_DigestFinal_ex(ctx, ret, &len) == 1;
	EVP_MD_CTX_free(ctx);
	return ok && len == a->digest_len ? len : 0;
}

/* A libcrypto in FIPS mode has no MD5. */
static bool algorithm_works(const struct algorithm *a)
{
	uint8_t md[CHAP_DIGEST_MAX] = {0};

	return chap_digest(a->number, 0, "", md, 0, md) > 0;
}

static const struct algorithm *choose(const char *list)
{
	char element[ALGORITHM_DIGITS_MAX + 1];
	const struct algorithm *a;
	uint32_t number;

	for (const char *p = list;; p++) {
		size_t len = strcspn(p, ",");

		if (len > 0 && len <= ALGORITHM_DIGITS_MAX) {
			memcpy(element, p, len);
			element[len] = '\0';
			a = NULL;
			if (parse_u32(element, 0, 255, &number) == 0)
				a = algorithm_find(number);
			if (a != NULL && algorithm_works(a))
				return a;
		}
		p += len;
		if (*p == '\0')
			return NULL;
	}
}

enum chap_verdict chap_begin(struct chap *c, const char *list,
			     const uint8_t *random, struct buf *out)
{
	const struct algorithm *a = choose(list);

	if (a == NULL)
		return CHAP_REFUSED;
	c->algorithm = a->number;
	c->id = random[0];
	memcpy(c->challenge, random + 1, CHAP_CHALLENGE_LEN);

	text_add_u32(out, "CHAP_A", c->algorithm);
	text_add_u32(out, "CHAP_I", c->id);
	add_binary(out, "CHAP_C", c->challenge, CHAP_CHALLENGE_LEN);
	return CHAP_OK;
}

/* Is @r what a holder of @secret answers to our challenge? */
static enum chap_verdict check(const struct chap *c, const char *secret,
			       const uint8_t *r)
{
	uint8_t md[CHAP_DIGEST_MAX] = {0};
	size_t len = chap_digest(c->algorithm, c->id, secret, c->challenge,
				 CHAP_CHALLENGE_LEN, md);
	bool same = len > 0 && CRYPTO_memcmp(md, r, len) == 0;

	wipe(md, sizeof(md));
	if (len == 0)
		return CHAP_BROKEN;
	return same ? CHAP_OK : CHAP_REFUSED;
}

/* The initiator's challenge is answered. */
static enum chap_verdict respond(const struct chap *c,
				 const struct chap_response *in,
				 const struct chap_secret *secret,
				 struct buf *out)
{
	uint8_t challenge[CHAP_BINARY_MAX], md[CHAP_DIGEST_MAX];
	size_t challenge_len, len;
	uint32_t id;

	if (parse_u32(in->i, 0, 255, &id) < 0 ||
	    chap_decode(in->c, challenge, sizeof(challenge), &challenge_len) <
		    0)
		return CHAP_MALFORMED;
	/* 9.2.1: a challenge of ours that comes back. */
	if (challenge_len == CHAP_CHALLENGE_LEN &&
	    memcmp(challenge, c->challenge, CHAP_CHALLENGE_LEN) == 0)
		return CHAP_REFUSED;
	if (secret->muser[0] == '\0' || secret->msecret[0] == '\0')
		return CHAP_REFUSED;
	len = chap_digest(c->algorithm, (uint8_t)id, secret->msecret, challenge,
			  challenge_len, md);
	if (len == 0)
		return CHAP_BROKEN;
	text_add(out, "CHAP_N", secret->muser);
	add_binary(out, "CHAP_R", md, len);
	wipe(md, sizeof(md));
	return CHAP_OK_MUTUAL;
}

enum chap_verdict chap_verify(const struct chap *c,
			      const struct chap_response *in,
			      const struct chap_secret *secret,
			      bool need_mutual, struct buf *out)
{
	const struct algorithm *a = algorithm_find(c->algorithm);
	uint8_t r[CHAP_DIGEST_MAX];
	enum chap_verdict verdict, ours;
	size_t len;

	ASSERT(a != NULL);
	if (in->n == NULL || in->r == NULL)
		return CHAP_MISSING;
	if ((in->i == NULL) != (in->c == NULL))
		return CHAP_MISSING;
	if (chap_decode(in->r, r, sizeof(r), &len) < 0)
		return CHAP_MALFORMED;
	if (len != a->digest_len)
		return CHAP_REFUSED;

	/* An unknown user costs the same work, and an empty secret is none. */
	verdict = check(c, secret ? secret->secret : "", r);
	ours = check(c, secret ? secret->msecret : "", r);
	if (verdict != CHAP_OK)
		return verdict;
	if (secret == NULL || secret->secret[0] == '\0')
		return CHAP_REFUSED;
	/* 9.2.1: we would have answered the same: one secret both ways. */
	if (ours != CHAP_REFUSED)
		return ours == CHAP_OK ? CHAP_REFUSED : ours;
	if (in->c == NULL)
		return need_mutual ? CHAP_REFUSED : CHAP_OK;
	return respond(c, in, secret, out);
}
