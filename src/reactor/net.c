/* SPDX-License-Identifier: BSD-3-Clause */
#include "reactor/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/macros.h"
#include "base/str.h"

/* "255.255.255.255" or an IPv6 literal with an interface, and the NUL. */
#define HOST_MAX    (INET6_ADDRSTRLEN + IF_NAMESIZE)

#define V4_BITS	    32u
#define V6_BITS	    128u
#define MAPPED_BITS 96u /* of ::ffff:0:0/96 */

/* An address without family or port: @bits of @bytes count. */
struct netmask {
	bool any;
	bool v6;
	uint32_t bits;
	uint8_t bytes[16];
};

static bool copy_bytes(char *dst, size_t size, const char *src, size_t len)
{
	if (len >= size)
		return false;
	memcpy(dst, src, len);
	dst[len] = '\0';
	return true;
}

/* The interface after the '%' of a link-local address: name or number. */
static int parse_scope(const char *text, uint32_t *ret)
{
	uint32_t index = if_nametoindex(text);

	if (index == 0 && parse_u32(text, 1, UINT32_MAX, &index) < 0)
		return -EINVAL;
	*ret = index;
	return 0;
}

static int parse_v6(const char *text, struct sockaddr_in6 *in6)
{
	const char *percent = strchr(text, '%');
	char host[HOST_MAX];

	in6->sin6_family = AF_INET6;
	if (strcmp(text, "*") == 0)
		return 0; /* zeroed: :: */
	if (!percent)
		percent = text + strlen(text);
	else if (parse_scope(percent + 1, &in6->sin6_scope_id) < 0)
		return -EINVAL;
	if (!copy_bytes(host, sizeof(host), text, (size_t)(percent - text)))
		return -EINVAL;
	return inet_pton(AF_INET6, host, &in6->sin6_addr) == 1 ? 0 : -EINVAL;
}

static int parse_v4(const char *text, struct sockaddr_in *in)
{
	in->sin_family = AF_INET;
	if (strcmp(text, "*") == 0)
		return 0; /* zeroed: 0.0.0.0 */
	return inet_pton(AF_INET, text, &in->sin_addr) == 1 ? 0 : -EINVAL;
}

/* Is @text "[...]"? Then @inner is what the brackets enclose. */
static bool strip_brackets(const char *text, char *inner, size_t size)
{
	size_t len = strlen(text);

	return len >= 2 && text[0] == '[' && text[len - 1] == ']' &&
	       copy_bytes(inner, size, text + 1, len - 2);
}

int addr_parse(const char *host, const char *port, struct sockaddr_storage *ret,
	       socklen_t *ret_len)
{
	struct sockaddr_in6 in6 = {0};
	struct sockaddr_in in = {0};
	char inner[HOST_MAX];
	uint32_t number;

	/* Decimal only, although parse_u32() takes more. */
	if (port[strspn(port, "0123456789")] != '\0' ||
	    parse_u32(port, 1, UINT16_MAX, &number) < 0)
		return -EINVAL;

	if (parse_v4(host, &in) == 0) {
		in.sin_port = htons((uint16_t)number);
		memset(ret, 0, sizeof(*ret));
		memcpy(ret, &in, sizeof(in));
		*ret_len = sizeof(in);
		return 0;
	}
	if (strip_brackets(host, inner, sizeof(inner)))
		host = inner;
	if (parse_v6(host, &in6) < 0)
		return -EINVAL;
	in6.sin6_port = htons((uint16_t)number);
	memset(ret, 0, sizeof(*ret));
	memcpy(ret, &in6, sizeof(in6));
	*ret_len = sizeof(in6);
	return 0;
}

static const struct sockaddr_in *as_v4(const struct sockaddr_storage *a)
{
	return (const struct sockaddr_in *)a;
}

static const struct sockaddr_in6 *as_v6(const struct sockaddr_storage *a)
{
	return (const struct sockaddr_in6 *)a;
}

void addr_host(const struct sockaddr_storage *a, bool brackets, char *text,
	       size_t size)
{
	char host[INET6_ADDRSTRLEN] = "unix";
	bool v6 = a->ss_family == AF_INET6;

	/*
	 * Without the interface of a link-local address: TargetAddress has no
	 * place for it, and its name means nothing to the peer.
	 */
	if (v6)
		inet_ntop(AF_INET6, &as_v6(a)->sin6_addr, host, sizeof(host));
	else if (a->ss_family == AF_INET)
		inet_ntop(AF_INET, &as_v4(a)->sin_addr, host, sizeof(host));
	snprintf(text, size, v6 && brackets ? "[%s]" : "%s", host);
}

uint16_t addr_port(const struct sockaddr_storage *a)
{
	if (a->ss_family == AF_INET6)
		return ntohs(as_v6(a)->sin6_port);
	if (a->ss_family == AF_INET)
		return ntohs(as_v4(a)->sin_port);
	return 0;
}

bool addr_is_wildcard(const struct sockaddr_storage *a)
{
	if (a->ss_family == AF_INET6)
		return IN6_IS_ADDR_UNSPECIFIED(&as_v6(a)->sin6_addr);
	return a->ss_family == AF_INET &&
	       as_v4(a)->sin_addr.s_addr == htonl(INADDR_ANY);
}

bool addr_equal(const struct sockaddr_storage *a,
		const struct sockaddr_storage *b)
{
	if (a->ss_family != b->ss_family || addr_port(a) != addr_port(b))
		return false;
	if (a->ss_family == AF_INET6)
		return as_v6(a)->sin6_scope_id == as_v6(b)->sin6_scope_id &&
		       IN6_ARE_ADDR_EQUAL(&as_v6(a)->sin6_addr,
					  &as_v6(b)->sin6_addr);
	return a->ss_family == AF_INET &&
	       as_v4(a)->sin_addr.s_addr == as_v4(b)->sin_addr.s_addr;
}

/* ::ffff:a.b.c.d/n is a.b.c.d/(n - 96). */
static void unmap_v4(struct netmask *m)
{
	static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};

	if (!m->v6 || m->bits < MAPPED_BITS ||
	    memcmp(m->bytes, prefix, sizeof(prefix)) != 0)
		return;
	memmove(m->bytes, m->bytes + sizeof(prefix), 4);
	m->bits -= MAPPED_BITS;
	m->v6 = false;
}

static int netmask_parse(const char *text, struct netmask *ret)
{
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	char host[HOST_MAX], inner[HOST_MAX];
	struct netmask m = {0};

	if (strcasecmp(text, "ANY") == 0) {
		*ret = (struct netmask){.any = true};
		return 0;
	}
	if (!copy_bytes(host, sizeof(host), text, len))
		return -EINVAL;
	m.v6 = strip_brackets(host, inner, sizeof(inner));
	if (inet_pton(m.v6 ? AF_INET6 : AF_INET, m.v6 ? inner : host,
		      m.bytes) != 1)
		return -EINVAL;

	m.bits = m.v6 ? V6_BITS : V4_BITS;
	if (slash && (slash[1 + strspn(slash + 1, "0123456789")] != '\0' ||
		      parse_u32(slash + 1, 1, m.bits, &m.bits) < 0))
		return -EINVAL;
	unmap_v4(&m);
	*ret = m;
	return 0;
}

int netmask_check(const char *netmask)
{
	struct netmask m;

	return netmask_parse(netmask, &m);
}

static bool same_bits(const uint8_t *a, const uint8_t *b, uint32_t bits)
{
	uint32_t whole = bits / 8, rest = bits % 8;

	if (memcmp(a, b, whole) != 0)
		return false;
	return rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0;
}

bool netmask_match(const char *netmask, const struct sockaddr_storage *a)
{
	struct netmask mask, host = {0};

	if (netmask_parse(netmask, &mask) < 0)
		return false;
	if (mask.any)
		return true;

	if (a->ss_family == AF_INET6) {
		host.v6 = true;
		host.bits = V6_BITS;
		memcpy(host.bytes, &as_v6(a)->sin6_addr, 16);
		unmap_v4(&host);
	} else if (a->ss_family == AF_INET) {
		host.bits = V4_BITS;
		memcpy(host.bytes, &as_v4(a)->sin_addr, 4);
	} else {
		return false;
	}
	return host.v6 == mask.v6 &&
	       same_bits(host.bytes, mask.bytes, mask.bits);
}
