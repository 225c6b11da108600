/* SPDX-License-Identifier: BSD-3-Clause */
#include "blast.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/macros.h"

#define LOGIN_ROUNDS_MAX    20
#define READ_CAPACITY_TRIES 8 /* unit attentions come first */

struct text {
	char bytes[TEXT_MAX];
	size_t len;
};

static void add(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->bytes + t->len, sizeof(t->bytes) - t->len, fmt, ap);
	va_end(ap);
	if (n < 0 || t->len + (size_t)n + 1 > sizeof(t->bytes))
		die("login text too long");
	t->len += (size_t)n + 1;
}

static const char *find(const struct text *t, const char *key)
{
	size_t len = strlen(key);

	for (size_t at = 0; at < t->len; at += strlen(t->bytes + at) + 1) {
		if (!strncmp(t->bytes + at, key, len) &&
		    t->bytes[at + len] == '=')
			return t->bytes + at + len + 1;
	}
	return NULL;
}

static void find_number(const struct text *t, const char *key, uint32_t *value)
{
	const char *found = find(t, key);

	if (found)
		*value = (uint32_t)strtoul(found, NULL, 0);
}

static void find_bool(const struct text *t, const char *key, const char *yes,
		      bool *value)
{
	const char *found = find(t, key);

	if (found)
		*value = !strcmp(found, yes);
}

static void send_all(const struct client *c, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = send(c->fd, p, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			die("send: %s", strerror(errno));
		p += n;
		len -= (size_t)n;
	}
}

static void recv_all(const struct client *c, void *data, size_t len)
{
	char *p = data;

	while (len > 0) {
		ssize_t n = recv(c->fd, p, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			die("the target closed the connection");
		p += n;
		len -= (size_t)n;
	}
}

/* A whole PDU, without digests. */
static void recv_pdu(const struct client *c, uint8_t *bhs, struct text *text)
{
	uint32_t len;

	recv_all(c, bhs, BHS_LEN);
	len = load_be24(bhs + BHS_DSL);
	if (len > sizeof(text->bytes) - 4)
		die("a payload of %u bytes before the work begins", len);
	memset(text->bytes, 0, sizeof(text->bytes));
	recv_all(c, text->bytes, round_up(len, 4));
	text->len = len;
}

static void open_socket(struct client *c)
{
	const struct options *o = &c->blast->opt;
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *ai;
	int one = 1;

	if (getaddrinfo(o->host, o->port, &hints, &ai))
		die("no such address: %s port %s", o->host, o->port);
	c->fd = socket(ai->ai_family, SOCK_STREAM, 0);
	if (c->fd < 0 || connect(c->fd, ai->ai_addr, ai->ai_addrlen))
		die("connect to %s port %s: %s", o->host, o->port,
		    strerror(errno));
	freeaddrinfo(ai);
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static void offer_operational(const struct client *c, struct text *t)
{
	const struct options *o = &c->blast->opt;

	add(t, "HeaderDigest=%s", o->header_digest ? "CRC32C" : "None");
	add(t, "DataDigest=%s", o->data_digest ? "CRC32C" : "None");
	add(t, "MaxRecvDataSegmentLength=262144");
	add(t, "InitialR2T=No");
	add(t, "ImmediateData=Yes");
	add(t, "MaxBurstLength=1048576");
	add(t, "FirstBurstLength=262144");
	add(t, "MaxOutstandingR2T=1");
	add(t, "MaxConnections=1");
	add(t, "DataPDUInOrder=Yes");
	add(t, "DataSequenceInOrder=Yes");
	add(t, "ErrorRecoveryLevel=0");
	add(t, "DefaultTime2Wait=2");
	add(t, "DefaultTime2Retain=0");
}

static void take_answers(struct client *c, const struct text *t)
{
	find_number(t, "MaxRecvDataSegmentLength", &c->mrdsl);
	find_number(t, "FirstBurstLength", &c->first_burst);
	find_bool(t, "ImmediateData", "Yes", &c->immediate);
	find_bool(t, "InitialR2T", "Yes", &c->initial_r2t);
	find_bool(t, "HeaderDigest", "CRC32C", &c->header_digest);
	find_bool(t, "DataDigest", "CRC32C", &c->data_digest);
}

/* One request and its response. True: in full feature phase. */
static bool login_round(struct client *c, uint32_t index, uint8_t *stage,
			struct text *t)
{
	uint8_t next = *stage == 0 ? LOGIN_OPERATIONAL : LOGIN_FULL_FEATURE;
	uint8_t bhs[BHS_LEN] = {ISCSI_IMMEDIATE | ISCSI_LOGIN_REQUEST};

	bhs[BHS_FLAGS] = (uint8_t)(LOGIN_FLAG_TRANSIT | *stage << 2 | next);
	store_be24(bhs + BHS_DSL, (uint32_t)t->len);
	/* ISID, random format: two programs are not each other's heirs. */
	bhs[8] = 0x80;
	store_be16(bhs + 9, (uint16_t)getpid());
	store_be16(bhs + 12, (uint16_t)index);
	store_be32(bhs + BHS_ITT, 1);
	store_be32(bhs + BHS_CMDSN, 1);
	store_be32(bhs + BHS_EXPSTATSN, c->expstatsn);
	while (t->len % 4)
		t->bytes[t->len++] = 0;
	send_all(c, bhs, sizeof(bhs));
	send_all(c, t->bytes, t->len);

	recv_pdu(c, bhs, t);
	if ((bhs[0] & ISCSI_OPCODE_MASK) != ISCSI_LOGIN_RESPONSE)
		die("opcode 0x%02x is no login response", bhs[0]);
	if (load_be16(bhs + 36) != LOGIN_OK)
		die("login refused: %04x", load_be16(bhs + 36));
	c->expstatsn = load_be32(bhs + BHS_STATSN) + 1;
	c->cmdsn = load_be32(bhs + BHS_EXPCMDSN);
	c->maxcmdsn = load_be32(bhs + BHS_MAXCMDSN);
	take_answers(c, t);
	t->len = 0;
	if (!(bhs[BHS_FLAGS] & LOGIN_FLAG_TRANSIT))
		return false;
	*stage = next;
	if (next == LOGIN_OPERATIONAL)
		offer_operational(c, t);
	return next == LOGIN_FULL_FEATURE;
}

void client_login(struct client *c, uint32_t index)
{
	const struct options *o = &c->blast->opt;
	struct text text = {.len = 0};
	uint8_t stage = LOGIN_SECURITY;
	int round = 0;

	open_socket(c);
	c->mrdsl = ISCSI_MRDSL_DEFAULT;
	c->first_burst = 65536;
	c->immediate = c->initial_r2t = true;
	add(&text, "InitiatorName=iqn.2016-04.com.example:blast%u", index);
	add(&text, "TargetName=%s", o->iqn);
	add(&text, "SessionType=Normal");
	add(&text, "AuthMethod=None");
	while (!login_round(c, index, &stage, &text)) {
		if (++round == LOGIN_ROUNDS_MAX)
			die("the login does not end");
	}
	if (c->header_digest != o->header_digest ||
	    c->data_digest != o->data_digest)
		die("the target does not agree to the digests");
	c->mrdsl = MIN(c->mrdsl, PATTERN_MAX);
}

/* ---- READ CAPACITY(16), still blocking but with the digests in force. */

static void send_capacity(struct client *c)
{
	uint8_t bhs[BHS_LEN + DIGEST_LEN] = {ISCSI_SCSI_COMMAND};

	bhs[BHS_FLAGS] = FLAG_FINAL | CMD_FLAG_READ | 1;
	bhs[BHS_LUN + 1] = c->blast->opt.lun;
	store_be32(bhs + BHS_ITT, DEPTH_MAX);
	store_be32(bhs + BHS_EDTL, 32);
	store_be32(bhs + BHS_CMDSN, c->cmdsn++);
	store_be32(bhs + BHS_EXPSTATSN, c->expstatsn);
	bhs[BHS_CDB] = 0x9e;
	bhs[BHS_CDB + 1] = 0x10;
	bhs[BHS_CDB + 13] = 32;
	store_le32(bhs + BHS_LEN,
		   crc32c_final(crc32c_update(CRC32C_INIT, bhs, BHS_LEN)));
	send_all(c, bhs, c->header_digest ? sizeof(bhs) : BHS_LEN);
}

/* True: the command has ended; *ret_good and the data say how. */
static bool recv_capacity(struct client *c, uint8_t *data, bool *ret_good)
{
	uint8_t bhs[BHS_LEN], crc[DIGEST_LEN], opcode;
	uint8_t payload[TEXT_MAX] = {0};
	uint32_t len;

	recv_all(c, bhs, sizeof(bhs));
	if (c->header_digest)
		recv_all(c, crc, sizeof(crc));
	len = (uint32_t)round_up(load_be24(bhs + BHS_DSL), 4);
	if (len > sizeof(payload))
		die("a payload of %u bytes for a capacity", len);
	recv_all(c, payload, len);
	if (c->data_digest && len > 0)
		recv_all(c, crc, sizeof(crc));
	c->maxcmdsn = load_be32(bhs + BHS_MAXCMDSN);
	opcode = bhs[0] & ISCSI_OPCODE_MASK;
	if (opcode == ISCSI_DATA_IN)
		memcpy(data, payload, 32);
	if (opcode != ISCSI_SCSI_RESPONSE &&
	    !(opcode == ISCSI_DATA_IN &&
	      (bhs[BHS_FLAGS] & DATA_IN_FLAG_STATUS)))
		return false;
	c->expstatsn = load_be32(bhs + BHS_STATSN) + 1;
	*ret_good = bhs[BHS_STATUS] == 0;
	return true;
}

void client_capacity(struct client *c)
{
	uint8_t data[32] = {0};
	bool good = false;

	for (int i = 0; i < READ_CAPACITY_TRIES && !good; i++) {
		send_capacity(c);
		while (!recv_capacity(c, data, &good))
			continue;
	}
	if (!good)
		die("READ CAPACITY(16) fails");
	c->blast->nblocks = load_be64(data) + 1;
	c->blast->block_size = load_be32(data + 8);
}
