/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/str.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/macros.h"

/* The value of a digit, or 255. Not isdigit(): no locale. */
static unsigned int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned int)(c - '0');
	if (c >= 'a' && c <= 'f')
		return (unsigned int)(c - 'a') + 10;
	if (c >= 'A' && c <= 'F')
		return (unsigned int)(c - 'A') + 10;
	return 255;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/*
 * Reads digits of @base; @ret_end is the first other character. A value too
 * large is -ERANGE, but only once all of the digits have been passed.
 */
static int take_digits(const char *p, unsigned int base, uint64_t *ret,
		       const char **ret_end)
{
	const char *start = p;
	bool too_large = false;
	uint64_t v = 0;

	for (; digit_value(*p) < base; p++) {
		if (__builtin_mul_overflow(v, (uint64_t)base, &v) ||
		    __builtin_add_overflow(v, (uint64_t)digit_value(*p), &v))
			too_large = true;
	}
	*ret_end = p;
	if (p == start)
		return -EINVAL;
	*ret = v;
	return too_large ? -ERANGE : 0;
}

int parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
	unsigned int base = 10;
	const char *end;
	uint64_t v;
	int rc;

	if (!text)
		return -EINVAL;
	if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
		base = 16;
		text += 2;
	}
	rc = take_digits(text, base, &v, &end);
	if (*end != '\0')
		return -EINVAL;
	if (rc < 0)
		return rc;
	if (v < min || v > max)
		return -ERANGE;
	*ret = v;
	return 0;
}

int parse_u32(const char *text, uint32_t min, uint32_t max, uint32_t *ret)
{
	uint64_t v;
	int rc = parse_u64(text, min, max, &v);

	if (rc == 0)
		*ret = (uint32_t)v;
	return rc;
}

int parse_i64(const char *text, int64_t min, int64_t max, int64_t *ret)
{
	bool negative;
	const char *end;
	uint64_t magnitude;
	int64_t v;
	int rc;

	if (!text)
		return -EINVAL;
	negative = text[0] == '-';
	rc = take_digits(text + negative, 10, &magnitude, &end);
	if (*end != '\0')
		return -EINVAL;
	if (rc < 0)
		return rc;
	if (magnitude > (uint64_t)INT64_MAX + negative)
		return -ERANGE;
	/* In unsigned arithmetic, where INT64_MIN has a magnitude. */
	v = (int64_t)(negative ? 0 - magnitude : magnitude);
	if (v < min || v > max)
		return -ERANGE;
	*ret = v;
	return 0;
}

int parse_bool(const char *text, bool *ret)
{
	static const struct {
		const char *word;
		bool value;
	} words[] = {
		{"yes", true},	{"no", false},	  {"y", true},	{"n", false},
		{"true", true}, {"false", false}, {"on", true}, {"off", false},
		{"1", true},	{"0", false},
	};

	if (!text)
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		if (strcasecmp(text, words[i].word) == 0) {
			*ret = words[i].value;
			return 0;
		}
	}
	return -EINVAL;
}

/* How far a suffix shifts, or -1. */
static int suffix_shift(const char *suffix)
{
	static const char letters[] = "kmgt";
	const char *at;

	if (suffix[0] == '\0')
		return 0;
	at = strchr(letters, suffix[0] | 0x20);
	if (!at || *at == '\0' || suffix[1] != '\0')
		return -1;
	return (int)(at - letters + 1) * 10;
}

int parse_size(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
	const char *end;
	uint64_t v;
	int rc, shift;

	if (!text)
		return -EINVAL;
	rc = take_digits(text, 10, &v, &end);
	if (rc == -EINVAL)
		return rc;
	shift = suffix_shift(end);
	if (shift < 0)
		return -EINVAL;
	if (rc < 0 || v > UINT64_MAX >> shift)
		return -ERANGE;
	v <<= shift;
	if (v < min || v > max)
		return -ERANGE;
	*ret = v;
	return 0;
}

static bool name_char_ok(char c)
{
	unsigned char u = (unsigned char)c;

	return is_digit(c) || (u >= 'a' && u <= 'z') ||
	       (u >= 'A' && u <= 'Z') || u == '-' || u == '.' || u == ':' ||
	       u > 0x7f;
}

/* RFC 7143, 4.2.7.3: "yyyy-mm." and then the reversed domain. */
static const char *iqn_fault(const char *rest)
{
	static const char form[] = "0000-00.";
	int month;

	for (size_t i = 0; form[i]; i++) {
		if (form[i] == '0' ? !is_digit(rest[i]) : rest[i] != form[i])
			return "iqn. wants a date as in iqn.2026-01.";
	}
	month = (rest[5] - '0') * 10 + rest[6] - '0';
	if (month < 1 || month > 12)
		return "the month of the iqn. date is not 01..12";
	rest += sizeof(form) - 1;
	if (*rest == '\0' || *rest == ':' || *rest == '.' || *rest == '-')
		return "iqn. wants a domain after the date";
	return NULL;
}

/* How many hexadecimal digits @s consists of; 0 if of anything else. */
static size_t hex_len(const char *s)
{
	size_t n = 0;

	while (digit_value(s[n]) < 16)
		n++;
	return s[n] == '\0' ? n : 0;
}

static const char *name_fault(const char *name)
{
	size_t len;

	if (!name || name[0] == '\0')
		return "the name is empty";
	len = strnlen(name, ISCSI_NAME_MAX + 1);
	if (len > ISCSI_NAME_MAX)
		return "the name is longer than 223 bytes";
	for (size_t i = 0; i < len; i++) {
		if (!name_char_ok(name[i]))
			return "the name has a character other than letters, "
			       "digits, '-', '.' and ':'";
	}
	if (strncasecmp(name, "iqn.", 4) == 0)
		return iqn_fault(name + 4);
	if (strncasecmp(name, "eui.", 4) == 0)
		return hex_len(name + 4) == 16
			       ? NULL
			       : "eui. wants 16 hexadecimal digits";
	if (strncasecmp(name, "naa.", 4) == 0)
		return hex_len(name + 4) == 16 || hex_len(name + 4) == 32
			       ? NULL
			       : "naa. wants 16 or 32 hexadecimal digits";
	return "the name begins with none of iqn., eui. and naa.";
}

int iscsi_name_check(const char *name, const char **ret_why)
{
	const char *fault = name_fault(name);

	if (!fault)
		return 0;
	if (ret_why)
		*ret_why = fault;
	return -EINVAL;
}

void str_lower(char *s)
{
	for (; *s; s++) {
		if (*s >= 'A' && *s <= 'Z')
			*s = (char)(*s | 0x20);
	}
}

bool str_copy(char *dst, size_t size, const char *src)
{
	size_t len = strlen(src);

	if (size == 0)
		return false;
	if (len < size) {
		memcpy(dst, src, len + 1);
		return true;
	}
	memcpy(dst, src, size - 1);
	dst[size - 1] = '\0';
	return false;
}

void wipe(void *p, size_t len)
{
	explicit_bzero(p, len);
}
