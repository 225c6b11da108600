/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/cpumask.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct cpus {
	uint8_t bits[(CPU_NUMBER_MAX + 1) / 8];
};

static bool has(const struct cpus *set, uint32_t cpu)
{
	return set->bits[cpu / 8] >> cpu % 8 & 1;
}

static void add(struct cpus *set, uint32_t cpu)
{
	set->bits[cpu / 8] |= (uint8_t)(1u << cpu % 8);
}

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int parse_mask(const char *text, struct cpus *set)
{
	size_t len;

	if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
		text += 2;
	len = strlen(text);
	if (len == 0)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		int n = nibble(text[i]);
		size_t low = (len - 1 - i) * 4;

		if (n < 0)
			return -EINVAL;
		if (n > 0 && low + 3 > CPU_NUMBER_MAX)
			return -ERANGE;
		for (uint32_t b = 0; n > 0 && b < 4; b++) {
			if (n >> b & 1)
				add(set, (uint32_t)low + b);
		}
	}
	return 0;
}

static int parse_cpu(const char **text, uint32_t *ret)
{
	uint32_t n = 0;

	if (!isdigit((unsigned char)**text))
		return -EINVAL;
	for (; isdigit((unsigned char)**text); (*text)++) {
		n = n * 10 + (uint32_t)(**text - '0');
		if (n > CPU_NUMBER_MAX)
			return -ERANGE;
	}
	*ret = n;
	return 0;
}

/* "0,2-4]", behind the bracket. */
static int parse_list(const char *text, struct cpus *set)
{
	for (;;) {
		uint32_t from, to;
		int error = parse_cpu(&text, &from);

		to = from;
		if (error == 0 && *text == '-') {
			text++;
			error = parse_cpu(&text, &to);
		}
		if (error < 0)
			return error;
		if (to < from)
			return -EINVAL;
		for (; from <= to; from++)
			add(set, from);
		if (strcmp(text, "]") == 0)
			return 0;
		if (*text++ != ',')
			return -EINVAL;
	}
}

int cpumask_parse(const char *text, uint32_t *cores, uint32_t *ret_ncores)
{
	struct cpus set = {0};
	uint32_t n = 0;
	int error;

	error = *text == '[' ? parse_list(text + 1, &set)
			     : parse_mask(text, &set);
	if (error < 0)
		return error;
	for (uint32_t cpu = 0; cpu <= CPU_NUMBER_MAX; cpu++) {
		if (!has(&set, cpu))
			continue;
		if (n == REACTORS_MAX)
			return -E2BIG;
		cores[n++] = cpu;
	}
	*ret_ncores = n;
	return n > 0 ? 0 : -EINVAL;
}
