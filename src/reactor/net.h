/* SPDX-License-Identifier: BSD-3-Clause */
/* Socket addresses as users write them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* "[ffff:...:ffff%scope]:65535" and room to spare. */
#define ADDR_TEXT_MAX 96

struct stream;

/*
 * @host: an IPv4 or IPv6 literal (the latter with or without brackets), or
 * "*" (0.0.0.0) and "[*]" (::); @port: 1..65535 as text. No names. 0, -EINVAL.
 */
int addr_parse(const char *host, const char *port, struct sockaddr_storage *ret,
	       socklen_t *ret_len);

/* "a.b.c.d" or "[v6]" when @brackets, without port. */
void addr_host(const struct sockaddr_storage *a, bool brackets, char *text,
	       size_t size);
uint16_t addr_port(const struct sockaddr_storage *a);
bool addr_is_wildcard(const struct sockaddr_storage *a);
bool addr_equal(const struct sockaddr_storage *a,
		const struct sockaddr_storage *b); /* with port */

/*
 * Is @a inside @netmask: "ANY", a.b.c.d, a.b.c.d/len (1..32), [v6] or
 * [v6]/len (1..128)? IPv4-mapped IPv6 addresses count as IPv4.
 */
bool netmask_match(const char *netmask, const struct sockaddr_storage *a);
/* 0 or -EINVAL. */
int netmask_check(const char *netmask);

/* The two ends of a stream (getsockname, getpeername, or the simulator's). */
void stream_local_addr(const struct stream *s, struct sockaddr_storage *ret);
void stream_peer_addr(const struct stream *s, struct sockaddr_storage *ret);
