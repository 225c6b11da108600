/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A live session in full feature phase, on the simulator. One session is
 * hostile: it has up to two connections, logs in as it should, and then sends
 * what the input says. Another session, of another target, works beside it and
 * must not notice. At the end all is released.
 *
 * Input: four bytes of settings, then records. A record is a PDU whose numbers
 * often fit (CmdSN, tags, R2Ts), or something that happens: time, loss of a
 * connection, a new login, raw bytes.
 */
#include "fuzz.h"

#include <malloc.h>

#include "../tests/sim/initiator.h"
#include "../tests/sim/world.h"
#include "base/bytes.h"
#include "base/log.h"
#include "base/macros.h"

#define RECORDS_MAX	120u
#define STEPS_MAX	400u /* of the world, after a record */
#define SEC		1000000000ull
#define LINKS		2u
#define ITT_FIRST	0x100u /* smaller ones are the input's own */
#define ITTS_MAX	512u
#define R2TS_MAX	8u
#define DATA_MAX	16384u
#define MRDSL		4096u
#define WITNESS_TARGET	"iqn.2016-06.io.spdk:witness"
#define WITNESS_OPS	30u
#define WITNESS_LEN	4096u
#define WITNESS_BUF_MAX 8192u

enum { /* first byte of settings */
       SET_ERL = 0x03,
       SET_HEADER_DIGEST = 0x04,
       SET_DATA_DIGEST = 0x08,
       SET_SLOW_DISK = 0x10,
       SET_IO_ERRORS = 0x20,
       SET_INITIAL_R2T = 0x40,
       SET_SHORT = 0x80,
};

enum { /* first byte of a record */
       PDU_LINK = 0x01,
       PDU_CMDSN = 0x06, /* next, the same again, ahead, anything */
       PDU_ITT = 0x18,	 /* fresh, the last, reserved, anything */
       PDU_TTT = 0x60,	 /* reserved, of the last R2T, the last, anything */
       EVENT = 0x80,
};

enum { /* second byte of a PDU */
       PDU_BAD_HEADER = 0x01,
       PDU_BAD_DATA = 0x02,
       PDU_AHS = 0x04,
       PDU_RAW_TAIL = 0x08, /* bytes 32 to 47 from the input */
       PDU_DATA_FITS = 0x10,
       PDU_NO_WAIT = 0x20,
       PDU_LUN = 0x40,
       PDU_EXPSTATSN = 0x80, /* from the input */
};

struct r2t_seen {
	uint32_t itt, ttt, offset, len;
};

struct run;

/* A connection of the hostile session. */
struct link {
	struct run *run;
	struct sim_peer *peer;
	uint16_t cid;
	bool up, fin, header_digest, data_digest;
	uint32_t expstatsn;
	struct ini_bytes in;
};

struct run {
	struct world w;
	uint8_t settings;
	struct link links[LINKS];
	uint16_t tsih;
	uint32_t cmdsn, itt_next, ttt_last, itt_last;
	uint32_t edtl[ITT_FIRST + ITTS_MAX]; /* the greatest, by tag */
	struct r2t_seen r2ts[R2TS_MAX];
	uint32_t nr2ts;
	struct ini_bytes out;

	/* The other session. */
	struct target_node *node;
	struct sim_peer *peer;
	struct initiator ini;
	struct ini_cmd cmd;
	struct ini_nop nop;
	struct ini_logout logout;
	bool busy, write_next;
	uint32_t ops, ops_max;
	uint8_t wrote[WITNESS_BUF_MAX], read[WITNESS_BUF_MAX];
};

/* ------------------------------------------------------------------------
 * The session that works.
 */

static void witness_done(struct initiator *ini, struct ini_req *req)
{
	struct run *r = container_of(ini, struct run, ini);
	uint32_t key;

	r->busy = false;
	r->ops++;
	if (req->opcode != ISCSI_SCSI_COMMAND)
		return;
	CHECK(!r->cmd.aborted && r->cmd.response == ISCSI_RESPONSE_COMPLETED);
	key = ini_sense(&r->cmd) >> 16;
	/* The first command tells of the power on. */
	CHECK(r->cmd.status == 0 || (r->cmd.status == 2 && key == 6));
	if (r->cmd.cdb[0] == 0x28 && r->cmd.status == 0)
		CHECK(memcmp(r->wrote, r->read, WITNESS_LEN) == 0);
}

static void witness_next(struct run *r)
{
	bool write = r->write_next;

	r->busy = true;
	if (r->ops % 4 == 3) {
		memset(&r->nop, 0, sizeof(r->nop));
		r->nop.req.done = witness_done;
		r->nop.data = r->wrote;
		r->nop.len = 100;
		ini_ping(&r->ini, &r->nop);
		return;
	}
	memset(&r->cmd, 0, sizeof(r->cmd));
	r->cmd.req.done = witness_done;
	r->cmd.attr = 1;
	if (r->ops > 1) {
		r->cmd.cdb[0] = write ? 0x2a : 0x28;
		r->cmd.cdb[8] = WITNESS_LEN / 512;
		r->cmd.edtl = WITNESS_LEN;
		r->cmd.read = !write;
		r->cmd.write = write;
		r->cmd.data = write ? r->wrote : r->read;
		if (write)
			memset(r->wrote, (int)r->ops, WITNESS_LEN);
		r->write_next = !write;
	}
	ini_submit(&r->ini, &r->cmd);
}

static bool witness_turn(struct run *r)
{
	uint8_t chunk[8192];
	size_t in, out;

	if (!r->peer)
		return false;
	in = sim_peer_recv(r->peer, chunk, sizeof(chunk));
	if (in > 0 && !ini_feed(&r->ini, chunk, in)) {
		fprintf(stderr, "witness: %s\n", r->ini.error);
		CHECK(!"the healthy session was disturbed");
	}
	CHECK(!sim_peer_closed(r->peer) || r->ini.state == INI_LOGGED_OUT);
	CHECK(r->ini.state != INI_REFUSED);
	if (r->ini.state == INI_RUNNING && !r->busy && r->ops < r->ops_max)
		witness_next(r);
	ini_produce(&r->ini, sizeof(chunk));
	out = ini_take(&r->ini, chunk, sizeof(chunk));
	if (out > 0)
		sim_peer_send(r->peer, chunk, out);
	return in > 0 || out > 0;
}

/* ------------------------------------------------------------------------
 * What the target says to the hostile one.
 */

static void push_digest(struct run *r, const void *data, size_t len, bool bad)
{
	uint8_t digest[DIGEST_LEN];

	store_le32(digest, ini_crc(&r->ini, data, len) ^ (bad ? 1 : 0));
	ini_bytes_push(&r->out, digest, sizeof(digest));
}

static bool has_pair(const char *text, size_t len, const char *pair)
{
	return memmem(text, len, pair, strlen(pair) + 1) != NULL;
}

static void see_login(struct link *l, const uint8_t *bhs, const char *text,
		      size_t len)
{
	struct run *r = l->run;

	CHECK(!l->up);
	if (load_be16(bhs + 36) != LOGIN_OK ||
	    !(bhs[BHS_FLAGS] & LOGIN_FLAG_TRANSIT))
		return;
	l->up = true;
	l->header_digest = has_pair(text, len, "HeaderDigest=CRC32C");
	l->data_digest = has_pair(text, len, "DataDigest=CRC32C");
	l->expstatsn = load_be32(bhs + BHS_STATSN) + 1;
	r->tsih = load_be16(bhs + 14);
	CHECK(r->tsih != 0);
	r->cmdsn = load_be32(bhs + BHS_EXPCMDSN);
}

static void see_r2t(struct run *r, const uint8_t *bhs)
{
	uint32_t itt = load_be32(bhs + BHS_ITT);
	struct r2t_seen seen = {
		.itt = itt,
		.ttt = load_be32(bhs + BHS_TTT),
		.offset = load_be32(bhs + BHS_BUFFER_OFFSET),
		.len = load_be32(bhs + BHS_DESIRED_LENGTH),
	};

	CHECK(itt < ARRAY_LEN(r->edtl));
	CHECK(seen.len > 0 && seen.offset < r->edtl[itt] &&
	      seen.len <= r->edtl[itt] - seen.offset);
	r->r2ts[r->nr2ts++ % R2TS_MAX] = seen;
}

static void see_pdu(struct link *l, const uint8_t *bhs, const uint8_t *data,
		    uint32_t len)
{
	struct run *r = l->run;
	uint32_t itt = load_be32(bhs + BHS_ITT);
	uint8_t op = bhs[BHS_OPCODE];

	CHECK(op == ISCSI_NOP_IN || op == ISCSI_SCSI_RESPONSE ||
	      op == ISCSI_TMF_RESPONSE || op == ISCSI_LOGIN_RESPONSE ||
	      op == ISCSI_TEXT_RESPONSE || op == ISCSI_DATA_IN ||
	      op == ISCSI_LOGOUT_RESPONSE || op == ISCSI_R2T ||
	      op == ISCSI_ASYNC_MESSAGE || op == ISCSI_REJECT);
	CHECK(len <= (l->up ? MRDSL : ISCSI_MRDSL_DEFAULT));
	/* An answer to nobody would be one to somebody else. */
	CHECK(itt == RESERVED_TAG || itt < r->itt_next);
	if (op == ISCSI_LOGIN_RESPONSE) {
		see_login(l, bhs, (const char *)data, len);
		return;
	}
	CHECK(l->up);
	if (op == ISCSI_R2T) {
		see_r2t(r, bhs);
	} else if (op == ISCSI_DATA_IN) {
		uint32_t offset = load_be32(bhs + BHS_BUFFER_OFFSET);

		CHECK(itt < ARRAY_LEN(r->edtl) && offset <= r->edtl[itt] &&
		      len <= r->edtl[itt] - offset);
	} else {
		l->expstatsn = load_be32(bhs + BHS_STATSN) + 1;
	}
	if (load_be32(bhs + BHS_TTT) != RESERVED_TAG)
		r->ttt_last = load_be32(bhs + BHS_TTT);
}

static bool see_next(struct link *l)
{
	size_t hd = l->up && l->header_digest ? DIGEST_LEN : 0;
	size_t dd = l->up && l->data_digest ? DIGEST_LEN : 0;
	struct initiator *ini = &l->run->ini;
	const uint8_t *p, *data;
	size_t padded, total;
	uint32_t len;

	if (l->in.len < BHS_LEN + hd)
		return false;
	p = l->in.data + l->in.head;
	data = p + BHS_LEN + hd;
	len = load_be24(p + BHS_DSL);
	padded = (size_t)round_up(len, 4);
	CHECK(p[BHS_AHS_WORDS] == 0);
	total = BHS_LEN + hd + padded + (len ? dd : 0);
	if (l->in.len < total)
		return false;
	if (hd)
		CHECK(load_le32(p + BHS_LEN) == ini_crc(ini, p, BHS_LEN));
	if (dd && len)
		CHECK(load_le32(data + padded) == ini_crc(ini, data, padded));
	see_pdu(l, p, data, len);
	ini_bytes_drop(&l->in, total);
	return true;
}

static bool link_turn(struct link *l)
{
	uint8_t chunk[8192];
	size_t n;

	if (!l->peer)
		return false;
	n = sim_peer_recv(l->peer, chunk, sizeof(chunk));
	ini_bytes_push(&l->in, chunk, n);
	while (see_next(l))
		;
	return n > 0;
}

static bool turn_all(struct run *r)
{
	bool moved = witness_turn(r);

	for (uint32_t i = 0; i < LINKS; i++)
		moved |= link_turn(&r->links[i]);
	return moved;
}

static void settle(struct run *r, uint32_t steps)
{
	while (steps-- > 0) {
		if (!sim_step(r->w.set, SEC / 50) && !turn_all(r))
			return;
		turn_all(r);
	}
}

/* Lets time pass, in which the healthy session answers pings. */
static void wait_ns(struct run *r, uint64_t ns)
{
	uint64_t end = sim_now_ns(r->w.set) + ns, now;

	for (now = sim_now_ns(r->w.set); now < end;
	     now = sim_now_ns(r->w.set)) {
		if (!sim_step(r->w.set, end - now) && !turn_all(r))
			return;
		turn_all(r);
	}
}

/* ------------------------------------------------------------------------
 * What the hostile one says.
 */

static void link_send(struct link *l)
{
	struct ini_bytes *out = &l->run->out;

	if (l->peer && !l->fin && out->len > 0)
		sim_peer_send(l->peer, out->data + out->head, out->len);
	ini_bytes_drop(out, out->len);
}

static void link_drop(struct link *l)
{
	if (l->peer)
		sim_peer_free(take(&l->peer));
	ini_bytes_drop(&l->in, l->in.len);
	l->up = l->fin = false;
}

static size_t login_text(const struct run *r, char *text, size_t size)
{
	int n = snprintf(text, size,
			 "InitiatorName=iqn.2016-04.com.example:hostile#"
			 "TargetName=" WORLD_TARGET "#SessionType=Normal#"
			 "HeaderDigest=%s#DataDigest=%s#InitialR2T=%s#"
			 "MaxRecvDataSegmentLength=%u#ErrorRecoveryLevel=%u#"
			 "MaxConnections=2#DefaultTime2Wait=0#"
			 "DefaultTime2Retain=5#MaxOutstandingR2T=4#"
			 "MaxBurstLength=8192#FirstBurstLength=4096#",
			 r->settings & SET_HEADER_DIGEST ? "CRC32C" : "None",
			 r->settings & SET_DATA_DIGEST ? "CRC32C" : "None",
			 r->settings & SET_INITIAL_R2T ? "Yes" : "No", MRDSL,
			 MIN(r->settings & SET_ERL, 2));

	CHECK(n > 0 && (size_t)n < size);
	for (int i = 0; i < n; i++) {
		if (text[i] == '#')
			text[i] = 0;
	}
	return (size_t)n;
}

static void link_login(struct run *r, uint32_t i, bool join)
{
	struct link *l = &r->links[i];
	uint8_t bhs[BHS_LEN] = {0};
	static const uint8_t zeroes[4];
	char text[1024];
	size_t len = login_text(r, text, sizeof(text));

	link_drop(l);
	l->peer = world_connect(&r->w);
	CHECK(l->peer);
	bhs[BHS_OPCODE] = ISCSI_LOGIN_REQUEST | ISCSI_IMMEDIATE;
	bhs[BHS_FLAGS] = LOGIN_FLAG_TRANSIT | LOGIN_OPERATIONAL << 2 |
			 LOGIN_FULL_FEATURE;
	store_be24(bhs + BHS_DSL, (uint32_t)len);
	bhs[8] = 0x40;
	store_be16(bhs + 14, join ? r->tsih : 0);
	store_be32(bhs + BHS_ITT, 1);
	l->cid = (uint16_t)i;
	store_be16(bhs + 20, l->cid);
	store_be32(bhs + BHS_CMDSN, r->cmdsn);
	ini_bytes_push(&r->out, bhs, sizeof(bhs));
	ini_bytes_push(&r->out, text, len);
	ini_bytes_push(&r->out, zeroes, -len & 3);
	link_send(l);
	settle(r, STEPS_MAX);
}

static uint32_t choose_cmdsn(struct run *r, uint8_t ctl, uint8_t opcode,
			     struct input *in)
{
	uint32_t cmdsn = r->cmdsn;

	switch ((ctl & PDU_CMDSN) >> 1) {
	case 0:
		if (!(opcode & ISCSI_IMMEDIATE) &&
		    (opcode & ISCSI_OPCODE_MASK) != ISCSI_DATA_OUT &&
		    (opcode & ISCSI_OPCODE_MASK) != ISCSI_SNACK)
			r->cmdsn++;
		return cmdsn;
	case 1:
		return cmdsn - 1;
	case 2:
		return cmdsn + input_u8(in) % 16;
	default:
		return input_u16(in);
	}
}

static uint32_t choose_itt(struct run *r, uint8_t ctl, struct input *in)
{
	switch ((ctl & PDU_ITT) >> 3) {
	case 0:
		if (r->itt_next + 1 < ITT_FIRST + ITTS_MAX)
			r->itt_last = r->itt_next++;
		return r->itt_last;
	case 1:
		return r->itt_last;
	case 2:
		return RESERVED_TAG;
	default:
		r->itt_last = input_u8(in);
		return r->itt_last;
	}
}

static const struct r2t_seen *last_r2t(const struct run *r)
{
	return &r->r2ts[(r->nr2ts + R2TS_MAX - 1) % R2TS_MAX];
}

static uint32_t choose_ttt(const struct run *r, uint8_t ctl, struct input *in)
{
	switch ((ctl & PDU_TTT) >> 5) {
	case 0:
		return RESERVED_TAG;
	case 1:
		return last_r2t(r)->ttt;
	case 2:
		return r->ttt_last;
	default:
		return input_u8(in);
	}
}

/* A CDB by a table, its range and length by the input. */
static void fill_command(uint8_t *bhs, struct input *in)
{
	static const uint8_t opcodes[] = {
		0x28, 0x2a, 0x2a, 0x00, 0x12, 0xa0, 0x25, 0x5e,
		0x5f, 0x41, 0x93, 0x42, 0x89, 0x35, 0x1a, 0x55,
	};
	uint8_t which = input_u8(in);
	uint8_t n = input_u8(in);

	bhs[BHS_CDB] = opcodes[which % ARRAY_LEN(opcodes)];
	bhs[BHS_CDB + 1] = which >> 4;
	bhs[BHS_CDB + 5] = input_u8(in);
	bhs[BHS_CDB + 8] = n % 64;
	store_be32(bhs + BHS_EDTL, n % 64 * 512u + n / 64);
}

/* The answer to an R2T, whole. */
static uint32_t fill_data_out(struct run *r, uint8_t *bhs)
{
	const struct r2t_seen *t = last_r2t(r);
	uint32_t len = MIN(t->len, DATA_MAX);

	bhs[BHS_OPCODE] = ISCSI_DATA_OUT;
	bhs[BHS_FLAGS] = FLAG_FINAL;
	store_be32(bhs + BHS_ITT, t->itt);
	store_be32(bhs + BHS_TTT, t->ttt);
	store_be32(bhs + BHS_DATASN, 0);
	store_be32(bhs + BHS_BUFFER_OFFSET, t->offset);
	return len;
}

static void note_edtl(struct run *r, const uint8_t *bhs)
{
	uint32_t itt = load_be32(bhs + BHS_ITT);

	if (itt < ARRAY_LEN(r->edtl))
		r->edtl[itt] = MAX(r->edtl[itt], load_be32(bhs + BHS_EDTL));
}

static void emit(struct run *r, struct link *l, const uint8_t *bhs,
		 const uint8_t *data, uint32_t len, uint8_t how)
{
	static const uint8_t zeroes[4];
	size_t ahs = bhs[BHS_AHS_WORDS] * 4u, start = r->out.len;

	ini_bytes_push(&r->out, bhs, BHS_LEN);
	/* The first bytes of the data serve as AHS too. */
	ini_bytes_push(&r->out, data, ahs);
	if (l->up && l->header_digest)
		push_digest(r, r->out.data + r->out.head + start, BHS_LEN + ahs,
			    how & PDU_BAD_HEADER);
	start = r->out.len;
	ini_bytes_push(&r->out, data, len);
	ini_bytes_push(&r->out, zeroes, -len & 3);
	if (l->up && l->data_digest && len > 0)
		push_digest(r, r->out.data + r->out.head + start,
			    r->out.len - start, how & PDU_BAD_DATA);
	link_send(l);
}

static void send_pdu(struct run *r, uint8_t ctl, struct input *in)
{
	struct link *l = &r->links[ctl & PDU_LINK];
	uint8_t data[DATA_MAX] = {0}, bhs[BHS_LEN] = {0};
	uint8_t how = input_u8(in);
	uint32_t len, given;

	bhs[BHS_OPCODE] = input_u8(in);
	bhs[BHS_FLAGS] = input_u8(in);
	len = input_u16(in) % DATA_MAX;
	given = MIN(len, input_u8(in));
	if (how & PDU_LUN)
		store_be16(bhs + BHS_LUN, input_u16(in));
	if (how & PDU_AHS) {
		bhs[BHS_AHS_WORDS] = input_u8(in);
		given = MAX(given, bhs[BHS_AHS_WORDS] * 4u);
	}
	store_be32(bhs + BHS_ITT, choose_itt(r, ctl, in));
	store_be32(bhs + BHS_TTT, choose_ttt(r, ctl, in));
	store_be32(bhs + BHS_CMDSN, choose_cmdsn(r, ctl, bhs[0], in));
	store_be32(bhs + BHS_EXPSTATSN,
		   how & PDU_EXPSTATSN ? input_u8(in) : l->expstatsn);
	if (how & PDU_RAW_TAIL) {
		for (int i = 32; i < 48; i++)
			bhs[i] = input_u8(in);
	}
	if ((bhs[0] & ISCSI_OPCODE_MASK) == ISCSI_SCSI_COMMAND) {
		if (how & PDU_RAW_TAIL)
			store_be32(bhs + BHS_EDTL, input_u16(in));
		else
			fill_command(bhs, in);
	}
	if ((bhs[0] & ISCSI_OPCODE_MASK) == ISCSI_TMF_REQUEST)
		store_be32(bhs + BHS_TTT, r->itt_last - (bhs[0] >> 7));
	if (how & PDU_DATA_FITS && r->nr2ts > 0)
		len = fill_data_out(r, bhs);
	for (uint32_t i = 0; i < given; i++)
		data[i] = input_u8(in);
	store_be24(bhs + BHS_DSL, len);
	note_edtl(r, bhs);
	emit(r, l, bhs, data, len, how);
	if (!(how & PDU_NO_WAIT))
		settle(r, STEPS_MAX);
}

/* ------------------------------------------------------------------------
 * What else happens.
 */

static void send_raw(struct run *r, struct link *l, struct input *in)
{
	size_t len;
	uint8_t *p = input_copy(in, input_u16(in), &len);

	/* A tag that came this way is known too; and any length. */
	for (uint32_t i = 0; i < ITT_FIRST; i++)
		r->edtl[i] = UINT32_MAX;
	r->itt_next = RESERVED_TAG - 1;
	for (uint32_t i = ITT_FIRST; i < ARRAY_LEN(r->edtl); i++)
		r->edtl[i] = UINT32_MAX;
	ini_bytes_push(&r->out, p, len);
	link_send(l);
	free(p);
}

static void event(struct run *r, uint8_t ctl, struct input *in)
{
	struct link *l = &r->links[ctl & PDU_LINK];

	switch (ctl >> 1 & 7) {
	case 0:
		settle(r, input_u8(in));
		break;
	case 1:
		wait_ns(r, (1 + input_u8(in) % 40u) * SEC);
		break;
	case 2:
		link_drop(l);
		break;
	case 3:
		if (l->peer && !l->fin)
			sim_peer_shutdown(l->peer);
		l->fin = l->peer;
		break;
	case 4:
		link_login(r, ctl & PDU_LINK, true);
		break;
	case 5:
		link_login(r, ctl & PDU_LINK, false);
		break;
	case 6:
		if (l->peer)
			sim_peer_set_window(l->peer, 1 + input_u16(in));
		break;
	default:
		send_raw(r, l, in);
		break;
	}
}

/* ------------------------------------------------------------------------
 * Beginning and end.
 */

static void more_done(struct scsi_change *c)
{
	struct world *w = container_of(c, struct world, change);

	CHECK(c->result == 0);
	w->pending--;
}

static void make_witness(struct world *w)
{
	struct run *r = container_of(w, struct run, w);
	const struct bdev_common c = {.name = "witness"};
	const char *why = NULL;
	struct bdev *b;

	CHECK(bdev_malloc_create(w->bdevs, &c, 64, 512, &b, &why) == 0);
	CHECK(target_node_create(w->targets, WITNESS_TARGET, NULL,
				 "iqn.2016-06.io.spdk", &r->node, &why) == 0);
	r->node->queue_depth = 8;
	CHECK(target_node_add_map(r->node, 1, 1, &why) == 0);
	w->change.done = more_done;
	w->pending++;
	CHECK(scsi_device_add_lun(r->node->device, 0, "witness", NULL,
				  &w->change) == 0);
}

static void end_witness(struct world *w)
{
	struct run *r = container_of(w, struct run, w);

	w->change.done = more_done;
	w->pending++;
	target_node_destroy(r->node, &w->change);
}

/* After the hostile peer: one session of one connection, ours. */
static void check_alone(struct world *w)
{
	struct iscsi_stats stats;

	iscsi_server_stats(w->server, &stats);
	CHECK(stats.connections == 1);
	CHECK(stats.sessions == 1);
}

static void start(struct run *r, struct input *in)
{
	struct world_options o = {0};
	uint8_t more, seed;

	r->settings = input_u8(in);
	more = input_u8(in);
	seed = input_u8(in);
	o.sim.seed = seed;
	o.sim.nreactors = 1 + more % 2;
	o.sim.short_recv = r->settings & SET_SHORT ? 200 : 0;
	o.sim.short_send = r->settings & SET_SHORT ? 200 : 0;
	o.sim.io_error = r->settings & SET_IO_ERRORS ? 200 : 0;
	o.sim.latency_max_ns = r->settings & SET_SLOW_DISK ? SEC / 100 : 2000;
	o.nluns = 1;
	o.luns[0].block_size = 512;
	o.luns[0].nblocks = 128;
	o.luns[0].file = r->settings & (SET_SLOW_DISK | SET_IO_ERRORS);
	iscsi_options_default(&o.iscsi);
	o.iscsi.error_recovery_level = 2;
	o.iscsi.max_queue_depth = 16;
	o.iscsi.max_outstanding_r2t = 4;
	o.iscsi.max_recv_data_segment_length = 8192;
	o.iscsi.max_sessions = 8;
	CHECK(world_start(&r->w, &o));
	CHECK(world_do(&r->w, make_witness));
}

static void start_sessions(struct run *r, bool second)
{
	const struct ini_options witness = {
		.initiator = "iqn.2016-04.com.example:witness",
		.target = WITNESS_TARGET,
		.isid = {0x40, 0, 1},
		.cmdsn = 1,
	};

	r->peer = world_connect(&r->w);
	CHECK(r->peer);
	ini_init(&r->ini, &witness);
	ini_start(&r->ini);
	r->write_next = true;
	r->ops_max = WITNESS_OPS;
	r->cmdsn = 1;
	r->itt_next = ITT_FIRST;
	r->ttt_last = RESERVED_TAG;
	for (uint32_t i = 0; i < LINKS; i++)
		r->links[i].run = r;
	link_login(r, 0, false);
	CHECK(r->links[0].up);
	if (second)
		link_login(r, 1, true);
}

static void finish(struct run *r)
{
	for (uint32_t i = 0; i < LINKS; i++) {
		link_drop(&r->links[i]);
		ini_bytes_free(&r->links[i].in);
	}
	ini_bytes_free(&r->out);
	/* Longer than a login may take, and than Time2Retain. */
	wait_ns(r, 60 * SEC);
	r->ops_max = r->ops + 8;
	wait_ns(r, 5 * SEC);
	CHECK(!r->busy && r->ops >= r->ops_max);
	CHECK(world_do(&r->w, check_alone));
	r->logout.reason = LOGOUT_CLOSE_SESSION;
	ini_leave(&r->ini, &r->logout);
	wait_ns(r, 5 * SEC);
	CHECK(r->ini.state == INI_LOGGED_OUT && sim_peer_closed(r->peer));
	sim_peer_free(take(&r->peer));
	CHECK(world_do(&r->w, end_witness));
	ini_deinit(&r->ini);
	world_stop(&r->w);
	if (r->w.error[0]) {
		fprintf(stderr, "world: %s\n", r->w.error);
		CHECK(!"the world is not clean");
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct run *r = calloc(1, sizeof(*r));

	CHECK(r != NULL);
	log_set_print_level(LOG_LEVEL_DISABLED);
	start(r, &in);
	start_sessions(r, input_u8(&in) & 1);
	for (uint32_t i = 0; i < RECORDS_MAX && in.left > 0; i++) {
		uint8_t ctl = input_u8(&in);

		if (ctl & EVENT)
			event(r, ctl, &in);
		else
			send_pdu(r, ctl, &in);
	}
	finish(r);
	free(r);
	return 0;
}
