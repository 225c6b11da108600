/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/json_scan.h"

#include <assert.h>
#include <string.h>

#include "base/assert.h"

static_assert(JSON_DEPTH_MAX <= 64, "a bit of json_scan.objects each");

enum scan_state {
	SCAN_VALUE,	  /* a value must begin */
	SCAN_FIRST_ENTRY, /* after '[': a value or ']' */
	SCAN_FIRST_KEY,	  /* after '{': a key or '}' */
	SCAN_KEY,	  /* after ',': a key */
	SCAN_COLON,
	SCAN_AFTER, /* after a value inside a container */
	SCAN_STRING,
	SCAN_ESCAPE,
	SCAN_HEX1,
	SCAN_HEX2,
	SCAN_HEX3,
	SCAN_HEX4,
	SCAN_WORD,  /* true, false, null */
	SCAN_MINUS, /* a digit must follow */
	SCAN_ZERO,  /* no digit may follow */
	SCAN_DIGITS,
	SCAN_POINT, /* a digit must follow */
	SCAN_FRACTION,
	SCAN_E,	     /* a sign or digit must follow */
	SCAN_E_SIGN, /* a digit must follow */
	SCAN_E_DIGITS,
};

/* What one byte did. */
enum took {
	TOOK,	      /* used, go on */
	TOOK_END,     /* used, and the top-level value ends with it */
	TOOK_NOT,     /* not used: look again in the new state */
	TOOK_NOT_END, /* not used, and the value ended before it */
	TOOK_BAD,
};

void json_scan_init(struct json_scan *s)
{
	*s = (struct json_scan){.state = SCAN_VALUE};
}

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static enum took go(struct json_scan *s, enum scan_state state)
{
	s->state = (uint8_t)state;
	return TOOK;
}

static enum took value_ended(struct json_scan *s)
{
	s->state = SCAN_AFTER;
	return s->depth == 0 ? TOOK_END : TOOK;
}

static enum took number_ended(struct json_scan *s)
{
	s->state = SCAN_AFTER;
	return s->depth == 0 ? TOOK_NOT_END : TOOK_NOT;
}

static enum took open_container(struct json_scan *s, bool object)
{
	if (s->depth == JSON_DEPTH_MAX)
		return TOOK_BAD;
	s->objects &= ~(UINT64_C(1) << s->depth);
	s->objects |= (uint64_t)object << s->depth;
	s->depth++;
	return go(s, object ? SCAN_FIRST_KEY : SCAN_FIRST_ENTRY);
}

static bool in_object(const struct json_scan *s)
{
	return s->depth > 0 && (s->objects >> (s->depth - 1) & 1);
}

static enum took close_container(struct json_scan *s, bool object)
{
	if (s->depth == 0 || in_object(s) != object)
		return TOOK_BAD;
	s->depth--;
	return value_ended(s);
}

static enum took begin_word(struct json_scan *s, const char *word)
{
	s->word = word;
	s->word_at = 1;
	return go(s, SCAN_WORD);
}

static enum took begin_value(struct json_scan *s, uint8_t c)
{
	if (s->values++ == JSON_VALUES_MAX)
		return TOOK_BAD;
	s->begun = true;
	switch (c) {
	case '{':
		return open_container(s, true);
	case '[':
		return open_container(s, false);
	case '"':
		s->key = false;
		return go(s, SCAN_STRING);
	case 't':
		return begin_word(s, "true");
	case 'f':
		return begin_word(s, "false");
	case 'n':
		return begin_word(s, "null");
	case '-':
		return go(s, SCAN_MINUS);
	case '0':
		return go(s, SCAN_ZERO);
	default:
		return is_digit(c) ? go(s, SCAN_DIGITS) : TOOK_BAD;
	}
}

static enum took begin_key(struct json_scan *s, uint8_t c)
{
	if (c != '"')
		return TOOK_BAD;
	s->key = true;
	return go(s, SCAN_STRING);
}

static enum took after_value(struct json_scan *s, uint8_t c)
{
	if (c == ',')
		return go(s, in_object(s) ? SCAN_KEY : SCAN_VALUE);
	if (c == '}' || c == ']')
		return close_container(s, c == '}');
	return TOOK_BAD;
}

/* Between tokens. */
static enum took take_structure(struct json_scan *s, uint8_t c)
{
	if (is_blank(c))
		return TOOK;
	switch (s->state) {
	case SCAN_FIRST_ENTRY:
		return c == ']' ? close_container(s, false) : begin_value(s, c);
	case SCAN_FIRST_KEY:
		return c == '}' ? close_container(s, true) : begin_key(s, c);
	case SCAN_KEY:
		return begin_key(s, c);
	case SCAN_COLON:
		return c == ':' ? go(s, SCAN_VALUE) : TOOK_BAD;
	case SCAN_AFTER:
		return after_value(s, c);
	default:
		return begin_value(s, c);
	}
}

static enum took take_string(struct json_scan *s, uint8_t c)
{
	switch (s->state) {
	case SCAN_STRING:
		if (c < 0x20)
			return TOOK_BAD;
		if (c == '\\')
			return go(s, SCAN_ESCAPE);
		if (c != '"')
			return TOOK;
		return s->key ? go(s, SCAN_COLON) : value_ended(s);
	case SCAN_ESCAPE:
		if (c == 'u')
			return go(s, SCAN_HEX1);
		if (c == '\0' || !strchr("\"\\/bfnrt", c))
			return TOOK_BAD;
		return go(s, SCAN_STRING);
	default:
		if (!is_digit(c) && !(c >= 'a' && c <= 'f') &&
		    !(c >= 'A' && c <= 'F'))
			return TOOK_BAD;
		if (s->state == SCAN_HEX4)
			return go(s, SCAN_STRING);
		return go(s, s->state + 1u);
	}
}

static enum took take_word(struct json_scan *s, uint8_t c)
{
	if (c != (uint8_t)s->word[s->word_at])
		return TOOK_BAD;
	s->word_at++;
	return s->word[s->word_at] == '\0' ? value_ended(s) : TOOK;
}

static enum took take_number(struct json_scan *s, uint8_t c)
{
	switch (s->state) {
	case SCAN_MINUS:
		if (c == '0')
			return go(s, SCAN_ZERO);
		return is_digit(c) ? go(s, SCAN_DIGITS) : TOOK_BAD;
	case SCAN_POINT:
		return is_digit(c) ? go(s, SCAN_FRACTION) : TOOK_BAD;
	case SCAN_E:
		if (c == '+' || c == '-')
			return go(s, SCAN_E_SIGN);
		return is_digit(c) ? go(s, SCAN_E_DIGITS) : TOOK_BAD;
	case SCAN_E_SIGN:
		return is_digit(c) ? go(s, SCAN_E_DIGITS) : TOOK_BAD;
	case SCAN_E_DIGITS:
		return is_digit(c) ? TOOK : number_ended(s);
	default:
		break;
	}
	/* SCAN_ZERO, SCAN_DIGITS, SCAN_FRACTION */
	if (is_digit(c) && s->state != SCAN_ZERO)
		return TOOK;
	if (c == '.' && s->state != SCAN_FRACTION)
		return go(s, SCAN_POINT);
	if (c == 'e' || c == 'E')
		return go(s, SCAN_E);
	return number_ended(s);
}

static enum took take_byte(struct json_scan *s, uint8_t c)
{
	if (s->state <= SCAN_AFTER)
		return take_structure(s, c);
	if (s->state <= SCAN_HEX4)
		return take_string(s, c);
	if (s->state == SCAN_WORD)
		return take_word(s, c);
	return take_number(s, c);
}

enum json_scan_event json_scan_feed(struct json_scan *s, const uint8_t *buf,
				    size_t len, size_t *ret_used)
{
	size_t used = 0;

	while (used < len) {
		switch (take_byte(s, buf[used])) {
		case TOOK:
			used++;
			break;
		case TOOK_END:
			*ret_used = used + 1;
			return JSON_SCAN_VALUE;
		case TOOK_NOT:
			break;
		case TOOK_NOT_END:
			*ret_used = used;
			return JSON_SCAN_VALUE;
		case TOOK_BAD:
			*ret_used = used;
			return JSON_SCAN_BAD;
		}
	}
	*ret_used = used;
	return JSON_SCAN_MORE;
}
