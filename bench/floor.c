/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The floor: a program that only moves the bytes. It answers blast's login,
 * READ CAPACITY(16), READ(16) and WRITE(16) on one RAM disk, over the same
 * reactor and stream calls as the target, in PDUs of the same shape, with no
 * iSCSI and no SCSI in between: it believes whatever it is sent. What the
 * target costs above it is what the protocol costs.
 *
 *   floor PORT [POLL_US]
 */
#include "base/assert.h"
#include "base/bytes.h"
#include "base/list.h"
#include "reactor/net.h"
#include "reactor/reactor.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define DISK_BYTES  (64u << 20)
#define HUGE_PAGE   (2u << 20)
#define BLOCK_BYTES 512u
#define PDUS_MAX    128u
#define MRDSL	    262144u

enum { LOGIN = 0x03, COMMAND = 0x01, DATA_OUT = 0x05, NOP_OUT = 0x00 };

struct reply {
	uint8_t bhs[48];
	uint8_t *data;
	uint32_t len;
};

struct write {
	uint32_t itt, done, total, r2tsn;
	uint8_t *dst;
};

struct client {
	struct stream stream;
	struct deferred flush;
	uint32_t statsn, cmdsn;
	uint8_t head[48]; /* of a PDU that is not complete */
	uint32_t have;
	uint8_t *dst;	 /* where its payload goes; NULL: nowhere */
	uint32_t left;	 /* payload bytes to come */
	uint32_t direct; /* of them, what the kernel places */
	struct reply replies[1024];
	uint32_t first, count; /* ring of replies */
	uint32_t in_flight;    /* of them, in the hands of the kernel */
	struct iovec iov[2 * PDUS_MAX];
	struct write writes[1024];
	char text[512];
};

struct floor {
	struct listener listener;
	uint8_t *disk;
};

static struct floor world;

static struct reply *reply(struct client *c)
{
	struct reply *r = &c->replies[(c->first + c->count++) % 1024];

	ASSERT(c->count <= 1024);
	memset(r, 0, sizeof(*r));
	store_be32(r->bhs + 28, c->cmdsn);
	store_be32(r->bhs + 32, c->cmdsn + 127);
	reactor_defer(c->stream.reactor, &c->flush);
	return r;
}

static void flush(struct deferred *d)
{
	struct client *c = container_of(d, struct client, flush);
	uint32_t n = 0;

	if (stream_sending(&c->stream) || c->count == 0)
		return;
	for (c->in_flight = 0;
	     c->in_flight < c->count && c->in_flight < PDUS_MAX;
	     c->in_flight++) {
		struct reply *r = &c->replies[(c->first + c->in_flight) % 1024];

		c->iov[n++] = (struct iovec){r->bhs, 48};
		if (r->len)
			c->iov[n++] = (struct iovec){r->data, r->len};
	}
	stream_send(&c->stream, c->iov, n);
}

static void sent(struct stream *s, int error)
{
	struct client *c = container_of(s, struct client, stream);

	c->first = (c->first + c->in_flight) % 1024;
	c->count -= c->in_flight;
	if (error)
		stream_close(s);
	else
		flush(&c->flush);
}

static void login(struct client *c)
{
	static const char op[] = "InitialR2T=No\0ImmediateData=Yes\0"
				 "MaxBurstLength=1048576\0"
				 "FirstBurstLength=65536\0"
				 "MaxRecvDataSegmentLength=262144";
	uint8_t stage = c->head[1] & 0x0f;
	struct reply *r = reply(c);

	r->bhs[0] = 0x23;
	r->bhs[1] = 0x80 | stage;
	memcpy(r->bhs + 8, c->head + 8, 12);
	store_be32(r->bhs + 24, c->statsn++);
	c->cmdsn = load_be32(c->head + 24);
	store_be32(r->bhs + 28, c->cmdsn);
	store_be32(r->bhs + 32, c->cmdsn + 127);
	if ((stage & 3) == 3) {
		memset(c->text, 0, sizeof(c->text));
		memcpy(c->text, op, sizeof(op));
		r->data = (uint8_t *)c->text;
		r->len = (uint32_t)round_up(sizeof(op), 4);
		store_be24(r->bhs + 5, sizeof(op));
	}
}

static void good(struct client *c, uint32_t itt)
{
	struct reply *r = reply(c);

	r->bhs[0] = 0x21;
	r->bhs[1] = 0x80;
	store_be32(r->bhs + 16, itt);
	store_be32(r->bhs + 24, c->statsn++);
}

/* The last Data-In, or the only one, with the status. */
static void data_in(struct client *c, uint8_t *from, uint32_t len,
		    uint32_t datasn, uint32_t offset)
{
	struct reply *r = reply(c);

	r->bhs[0] = 0x25;
	r->bhs[1] = 0x81;
	store_be24(r->bhs + 5, len);
	memcpy(r->bhs + 16, c->head + 16, 4);
	store_be32(r->bhs + 20, 0xffffffff);
	store_be32(r->bhs + 24, c->statsn++);
	store_be32(r->bhs + 36, datasn);
	store_be32(r->bhs + 40, offset);
	r->data = from;
	r->len = len;
}

static void read_disk(struct client *c, uint8_t *from, uint32_t len)
{
	uint32_t done = 0, datasn = 0;

	for (; len - done > MRDSL; done += MRDSL) {
		struct reply *r = reply(c);

		r->bhs[0] = 0x25;
		store_be24(r->bhs + 5, MRDSL);
		memcpy(r->bhs + 16, c->head + 16, 4);
		store_be32(r->bhs + 20, 0xffffffff);
		store_be32(r->bhs + 36, datasn++);
		store_be32(r->bhs + 40, done);
		r->data = from + done;
		r->len = MRDSL;
	}
	data_in(c, from + done, len - done, datasn, done);
}

static void ask(struct client *c, struct write *w, uint32_t itt)
{
	struct reply *r = reply(c);

	r->bhs[0] = 0x31;
	r->bhs[1] = 0x80;
	store_be32(r->bhs + 16, itt);
	store_be32(r->bhs + 20, itt);
	store_be32(r->bhs + 24, c->statsn);
	store_be32(r->bhs + 36, w->r2tsn++);
	store_be32(r->bhs + 40, w->done);
	store_be32(r->bhs + 44, w->total - w->done);
}

static void command(struct client *c, struct floor *f)
{
	static uint8_t capacity[32];
	uint32_t itt = load_be32(c->head + 16);
	uint32_t dsl = load_be24(c->head + 5);
	uint64_t lba = load_be64(c->head + 34);
	uint32_t len = load_be32(c->head + 42) * BLOCK_BYTES;
	struct write *w = &c->writes[itt % 1024];

	c->cmdsn = load_be32(c->head + 24) + 1;
	switch (c->head[32]) {
	case 0x88:
		read_disk(c, f->disk + lba * BLOCK_BYTES, len);
		return;
	case 0x8a:
		*w = (struct write){itt, 0, len, 0,
				    f->disk + lba * BLOCK_BYTES};
		c->dst = w->dst;
		c->left = dsl;
		w->done = dsl;
		return;
	default:
		store_be64(capacity, DISK_BYTES / BLOCK_BYTES - 1);
		store_be32(capacity + 8, BLOCK_BYTES);
		data_in(c, capacity, sizeof(capacity), 0, 0);
	}
}

static void data_out(struct client *c)
{
	struct write *w = &c->writes[load_be32(c->head + 16) % 1024];

	c->left = load_be24(c->head + 5);
	c->dst = w->dst + load_be32(c->head + 40);
	w->done += c->left;
}

/* The payload is in place. */
static void payload(struct client *c)
{
	struct write *w = &c->writes[load_be32(c->head + 16) % 1024];
	uint8_t opcode = c->head[0] & 0x3f;

	c->have = 0;
	c->dst = NULL;
	if (!(c->head[1] & 0x80) ||
	    (opcode != DATA_OUT && !(opcode == COMMAND && c->head[32] == 0x8a)))
		return;
	if (w->done == w->total)
		good(c, w->itt);
	else
		ask(c, w, w->itt);
}

static void header(struct client *c, struct floor *f)
{
	switch (c->head[0] & 0x3f) {
	case LOGIN:
		c->left = (uint32_t)round_up(load_be24(c->head + 5), 4);
		login(c);
		break;
	case COMMAND:
		command(c, f);
		break;
	case DATA_OUT:
		data_out(c);
		break;
	default:
		c->left = (uint32_t)round_up(load_be24(c->head + 5), 4);
	}
	if (c->left == 0)
		payload(c);
}

static size_t data(struct stream *s, const uint8_t *buf, size_t len)
{
	struct client *c = container_of(s, struct client, stream);
	size_t used = 0, n;

	while (used < len) {
		if (c->left == 0) {
			n = MIN(len - used, 48 - c->have);
			memcpy(c->head + c->have, buf + used, n);
			c->have += (uint32_t)n;
			used += n;
			if (c->have == 48)
				header(c, &world);
			continue;
		}
		n = MIN(len - used, c->left);
		if (c->dst) {
			memcpy(c->dst, buf + used, n);
			c->dst += n;
		}
		c->left -= (uint32_t)n;
		used += n;
		if (c->left == 0)
			payload(c);
	}
	if (c->left >= 32768 && c->dst)
		stream_recv_direct(s, c->dst, c->left);
	return len;
}

static void direct(struct stream *s, size_t len)
{
	struct client *c = container_of(s, struct client, stream);

	c->left -= (uint32_t)len;
	if (c->left == 0)
		payload(c);
}

static void ended(struct stream *s, int error)
{
	stream_close(s);
}

static void released(struct stream *s)
{
	struct client *c = container_of(s, struct client, stream);

	if (list_linked(&c->flush.link))
		list_remove(&c->flush.link);
	free(c);
}

static const struct stream_ops ops = {data, direct, sent, ended, released};

static void accepted(struct listener *l, int fd)
{
	struct client *c = calloc(1, sizeof(*c));

	ASSERT(c);
	list_init(&c->flush.link);
	c->flush.run = flush;
	stream_attach(&c->stream, l->reactor, fd, &ops);
}

/* Huge pages, as the target's RAM disk has them. */
static uint8_t *make_disk(void)
{
	uint8_t *p = mmap(NULL, DISK_BYTES + HUGE_PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT(p != MAP_FAILED);
	p += round_up((uintptr_t)p, HUGE_PAGE) - (uintptr_t)p;
	(void)madvise(p, DISK_BYTES, MADV_HUGEPAGE);
	memset(p, 0x5a, DISK_BYTES);
	return p;
}

int main(int argc, char **argv)
{
	static const uint32_t cores[1];
	struct reactor_options opt = {
		.cores = cores,
		.ncores = 1,
		.pin = true,
		.poll_us_max = argc > 2 ? (uint32_t)atoi(argv[2]) : 50,
	};
	struct sockaddr_storage addr;
	struct reactors *set;
	const char *why = "";
	socklen_t addr_len;

	signal(SIGPIPE, SIG_IGN);
	if (argc < 2 || addr_parse("127.0.0.1", argv[1], &addr, &addr_len) ||
	    reactors_create(&opt, &set, &why) != 0) {
		fprintf(stderr, "floor PORT [POLL_US] %s\n", why);
		return 2;
	}
	world.disk = make_disk();
	world.listener.accepted = accepted;
	if (listener_open(&world.listener, reactors_main(set),
			  (struct sockaddr *)&addr, addr_len, 0) != 0) {
		fprintf(stderr, "floor: cannot listen\n");
		return 1;
	}
	reactors_run(set);
	return 0;
}
