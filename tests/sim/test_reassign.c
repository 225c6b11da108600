/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ErrorRecoveryLevel 2 (RFC 7143, 7.2.2): two connections, two reads and two
 * writes on the first, which is cut at each of its bytes, sent and received.
 * Then its tasks go on with the other connection, after a logout for recovery,
 * or with a new connection of the same CID; or nobody comes for them.
 *
 *   test_reassign --seeds 10 [--stride N] | --seed N
 *
 * Each task ends exactly once, with its own data, and nothing is left.
 */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/macros.h"
#include "initiator.h"
#include "world.h"

#define TASKS	     4u
#define BLOCK	     512u
#define TASK_LEN     4096u
#define DISK_LEN     (64u * BLOCK)
#define MRDSL	     1024u
#define BURST	     1024u
#define LINKS	     3u
#define ITT_TASK     0x100u /* and the next ones: the tasks */
#define ITT_READY    0x80u
#define ITT_LOGOUT   0x90u
#define ITT_REASSIGN 0x200u
#define STEPS_MAX    100000u
#define IDLE_NS	     2000000ull
#define PATIENCE_NS  (100 * 1000000000ull)

enum via { VIA_LOGOUT, VIA_LOGIN, VIA_NOBODY, VIA_COUNT };

struct plan {
	bool sending, none; /* which bytes are counted; no cut at all */
	uint64_t at;
	bool fin;
	enum via via;
};

struct task {
	uint32_t cmdsn, expdatasn, offset, link;
	bool sent, done, asked, adopted;
	uint8_t data[TASK_LEN];
};

struct run;

struct link {
	struct run *run;
	struct sim_peer *peer;
	bool up, dead;
	uint32_t index, expstatsn;
	uint64_t sent, received;
	struct ini_bytes in, out;
};

struct run {
	struct world w;
	struct plan plan;
	uint64_t seed;
	struct link links[LINKS];
	struct task tasks[TASKS];
	uint16_t tsih;
	uint32_t cmdsn, expcmdsn;
	bool ready, logout_done, ended, counting;
	uint8_t disk[DISK_LEN];
};

struct counts {
	uint64_t runs, adopted, unknown, again, via[VIA_COUNT];
};

static bool is_write(uint32_t i)
{
	return i & 1;
}

/* ------------------------------------------------------------------------
 * Requests.
 */

static void put(struct link *l, uint8_t *bhs, const void *data, uint32_t len)
{
	static const uint8_t zeroes[4];

	store_be24(bhs + BHS_DSL, len);
	if ((bhs[0] & ISCSI_OPCODE_MASK) != ISCSI_LOGIN_REQUEST)
		store_be32(bhs + BHS_EXPSTATSN, l->expstatsn);
	ini_bytes_push(&l->out, bhs, BHS_LEN);
	ini_bytes_push(&l->out, data, len);
	ini_bytes_push(&l->out, zeroes, -len & 3);
}

static void login(struct run *r, uint32_t index, uint16_t cid)
{
	static const char text[] =
		"InitiatorName=iqn.2016-04.com.example:reassign\0"
		"TargetName=" WORLD_TARGET "\0"
		"SessionType=Normal\0MaxConnections=2\0ErrorRecoveryLevel=2\0"
		"InitialR2T=Yes\0ImmediateData=No\0MaxBurstLength=1024\0"
		"DefaultTime2Wait=0\0DefaultTime2Retain=5\0"
		"MaxOutstandingR2T=2\0MaxRecvDataSegmentLength=1024";
	struct link *l = &r->links[index];
	uint8_t bhs[BHS_LEN] = {0};

	l->run = r;
	l->index = index;
	l->peer = world_connect(&r->w);
	bhs[BHS_OPCODE] = ISCSI_LOGIN_REQUEST | ISCSI_IMMEDIATE;
	bhs[BHS_FLAGS] = LOGIN_FLAG_TRANSIT | LOGIN_OPERATIONAL << 2 |
			 LOGIN_FULL_FEATURE;
	bhs[8] = 0x40;
	store_be16(bhs + 14, r->tsih);
	store_be32(bhs + BHS_ITT, 1);
	store_be16(bhs + 20, cid);
	store_be32(bhs + BHS_CMDSN, r->cmdsn);
	put(l, bhs, text, sizeof(text));
}

static void send_task(struct run *r, struct link *l, uint32_t i)
{
	struct task *t = &r->tasks[i];
	uint8_t bhs[BHS_LEN] = {0};

	bhs[BHS_OPCODE] = ISCSI_SCSI_COMMAND;
	bhs[BHS_FLAGS] =
		FLAG_FINAL | 1 | (is_write(i) ? CMD_FLAG_WRITE : CMD_FLAG_READ);
	store_be32(bhs + BHS_ITT, ITT_TASK + i);
	store_be32(bhs + BHS_EDTL, TASK_LEN);
	store_be32(bhs + BHS_CMDSN, t->cmdsn);
	bhs[BHS_CDB] = is_write(i) ? 0x2a : 0x28;
	bhs[BHS_CDB + 5] = (uint8_t)(i * TASK_LEN / BLOCK);
	bhs[BHS_CDB + 8] = TASK_LEN / BLOCK;
	t->sent = true;
	t->link = l->index;
	put(l, bhs, NULL, 0);
}

static void send_ready(struct run *r, struct link *l)
{
	uint8_t bhs[BHS_LEN] = {0};

	bhs[BHS_OPCODE] = ISCSI_SCSI_COMMAND;
	bhs[BHS_FLAGS] = FLAG_FINAL | 1;
	store_be32(bhs + BHS_ITT, ITT_READY);
	store_be32(bhs + BHS_CMDSN, r->cmdsn++);
	put(l, bhs, NULL, 0);
}

static void send_logout(struct run *r, struct link *l, enum logout_reason why)
{
	uint8_t bhs[BHS_LEN] = {0};

	bhs[BHS_OPCODE] = ISCSI_LOGOUT_REQUEST | ISCSI_IMMEDIATE;
	bhs[BHS_FLAGS] = FLAG_FINAL | (uint8_t)why;
	store_be32(bhs + BHS_ITT, ITT_LOGOUT + (uint32_t)why);
	store_be32(bhs + BHS_CMDSN, r->cmdsn);
	put(l, bhs, NULL, 0);
}

static void send_reassign(struct run *r, struct link *l, uint32_t i)
{
	uint8_t bhs[BHS_LEN] = {0};

	bhs[BHS_OPCODE] = ISCSI_TMF_REQUEST | ISCSI_IMMEDIATE;
	bhs[BHS_FLAGS] = FLAG_FINAL | ISCSI_TMF_TASK_REASSIGN;
	store_be32(bhs + BHS_ITT, ITT_REASSIGN + i);
	store_be32(bhs + BHS_TTT, ITT_TASK + i);
	store_be32(bhs + BHS_CMDSN, r->cmdsn);
	store_be32(bhs + 32, r->tasks[i].cmdsn);
	store_be32(bhs + BHS_DATASN, r->tasks[i].expdatasn);
	r->tasks[i].asked = true;
	put(l, bhs, NULL, 0);
}

/* ------------------------------------------------------------------------
 * Answers.
 */

static struct task *task_of(struct link *l, const uint8_t *bhs)
{
	struct run *r = l->run;
	uint32_t i = load_be32(bhs + BHS_ITT) - ITT_TASK;

	if (i >= TASKS || !r->tasks[i].sent || r->tasks[i].done ||
	    r->tasks[i].link != l->index) {
		world_fail(&r->w, "opcode 0x%02x on connection %u for tag 0x%x",
			   bhs[0], l->index, load_be32(bhs + BHS_ITT));
		return NULL;
	}
	return &r->tasks[i];
}

static void see_data(struct link *l, const uint8_t *bhs, const uint8_t *data,
		     uint32_t len)
{
	struct run *r = l->run;
	struct task *t = task_of(l, bhs);
	uint32_t offset = load_be32(bhs + BHS_BUFFER_OFFSET);

	if (!t)
		return;
	if (is_write((uint32_t)(t - r->tasks)) || offset != t->offset ||
	    len > TASK_LEN - offset ||
	    load_be32(bhs + BHS_DATASN) != t->expdatasn) {
		world_fail(&r->w, "Data-In %u at %u, due %u at %u",
			   load_be32(bhs + BHS_DATASN), offset, t->expdatasn,
			   t->offset);
		return;
	}
	memcpy(t->data + offset, data, len);
	t->offset += len;
	t->expdatasn++;
	if (bhs[BHS_FLAGS] & DATA_IN_FLAG_STATUS)
		t->done = bhs[BHS_STATUS] == 0;
	if (t->done && t->offset != TASK_LEN)
		world_fail(&r->w, "GOOD with %u bytes", t->offset);
}

static void see_r2t(struct link *l, const uint8_t *bhs)
{
	struct run *r = l->run;
	struct task *t = task_of(l, bhs);
	uint32_t offset = load_be32(bhs + BHS_BUFFER_OFFSET);
	uint32_t len = load_be32(bhs + BHS_DESIRED_LENGTH);
	uint8_t out[BHS_LEN] = {0};

	if (!t)
		return;
	if (!is_write((uint32_t)(t - r->tasks)) || len == 0 || len > BURST ||
	    offset > TASK_LEN - len) {
		world_fail(&r->w, "R2T for %u at %u", len, offset);
		return;
	}
	out[BHS_OPCODE] = ISCSI_DATA_OUT;
	out[BHS_FLAGS] = FLAG_FINAL;
	memcpy(out + BHS_LUN, bhs + BHS_LUN, 16); /* and both tags */
	store_be32(out + BHS_BUFFER_OFFSET, offset);
	put(l, out, t->data + offset, len);
}

static void see_response(struct link *l, const uint8_t *bhs)
{
	struct run *r = l->run;
	struct task *t;

	if (load_be32(bhs + BHS_ITT) == ITT_READY) {
		/* A unit attention, first. */
		r->ready = bhs[BHS_STATUS] == 0;
		if (!r->ready)
			send_ready(r, l);
		return;
	}
	t = task_of(l, bhs);
	if (!t)
		return;
	t->done = true;
	if (bhs[BHS_RESPONSE] != 0 || bhs[BHS_STATUS] != 0)
		world_fail(&r->w, "response %u, status %u", bhs[BHS_RESPONSE],
			   bhs[BHS_STATUS]);
}

/* The task is on this connection now; or it never came to the target. */
static void see_tmf(struct link *l, const uint8_t *bhs)
{
	struct run *r = l->run;
	uint32_t i = load_be32(bhs + BHS_ITT) - ITT_REASSIGN;
	struct task *t = &r->tasks[i];
	bool never;

	if (i >= TASKS || !t->asked) {
		world_fail(&r->w, "a response to another TMF");
		return;
	}
	never = (int32_t)(t->cmdsn - r->expcmdsn) >= 0;
	t->asked = false;
	t->link = l->index;
	if (bhs[BHS_RESPONSE] == ISCSI_TMF_RSP_COMPLETE && !never)
		t->adopted = true;
	else if (bhs[BHS_RESPONSE] == ISCSI_TMF_RSP_NO_TASK && never)
		send_task(r, l, i);
	else
		world_fail(&r->w, "TASK REASSIGN of %u: %u, CmdSN %u of %u", i,
			   bhs[BHS_RESPONSE], t->cmdsn, r->expcmdsn);
}

static void see_logout(struct link *l, const uint8_t *bhs)
{
	struct run *r = l->run;
	uint8_t response = bhs[BHS_RESPONSE];

	if (load_be32(bhs + BHS_ITT) == ITT_LOGOUT + LOGOUT_RECOVERY)
		r->logout_done = true;
	else
		r->ended = true;
	/* A connection without tasks may be gone already. */
	if (response != LOGOUT_RSP_OK &&
	    (r->ended || response != LOGOUT_RSP_NO_CID))
		world_fail(&r->w, "logout response %u", response);
}

static void see_login(struct link *l, const uint8_t *bhs)
{
	if (load_be16(bhs + 36) != LOGIN_OK ||
	    !(bhs[BHS_FLAGS] & LOGIN_FLAG_TRANSIT)) {
		world_fail(&l->run->w, "login status 0x%04x",
			   load_be16(bhs + 36));
		return;
	}
	l->up = true;
	l->run->tsih = load_be16(bhs + 14);
}

static void see_pdu(struct link *l, const uint8_t *bhs, uint32_t len)
{
	uint8_t op = bhs[BHS_OPCODE];
	bool counts =
		op != ISCSI_R2T && op != ISCSI_NOP_IN &&
		(op != ISCSI_DATA_IN || bhs[BHS_FLAGS] & DATA_IN_FLAG_STATUS);

	l->run->expcmdsn = load_be32(bhs + BHS_EXPCMDSN);
	if (counts && l->up && load_be32(bhs + BHS_STATSN) != l->expstatsn)
		world_fail(&l->run->w, "StatSN %u, due %u",
			   load_be32(bhs + BHS_STATSN), l->expstatsn);
	if (counts)
		l->expstatsn = load_be32(bhs + BHS_STATSN) + 1;
	if (op == ISCSI_LOGIN_RESPONSE)
		see_login(l, bhs);
	else if (op == ISCSI_DATA_IN)
		see_data(l, bhs, bhs + BHS_LEN, len);
	else if (op == ISCSI_R2T)
		see_r2t(l, bhs);
	else if (op == ISCSI_SCSI_RESPONSE)
		see_response(l, bhs);
	else if (op == ISCSI_TMF_RESPONSE)
		see_tmf(l, bhs);
	else if (op == ISCSI_LOGOUT_RESPONSE)
		see_logout(l, bhs);
	else
		world_fail(&l->run->w, "opcode 0x%02x", op);
}

/* ------------------------------------------------------------------------
 * Bytes.
 */

static size_t room(const struct link *l, bool sending, size_t most)
{
	const struct plan *p = &l->run->plan;

	if (l->index != 0 || !l->run->counting || p->sending != sending)
		return most;
	return MIN((uint64_t)most, p->at - (sending ? l->sent : l->received));
}

static bool is_cut(const struct link *l)
{
	const struct plan *p = &l->run->plan;

	return l->run->counting &&
	       (p->sending ? l->sent : l->received) == p->at;
}

static void link_end(struct link *l)
{
	if (l->peer)
		sim_peer_free(take(&l->peer));
	ini_bytes_free(&l->in);
	ini_bytes_free(&l->out);
	l->dead = true;
}

static bool link_turn(struct link *l)
{
	uint8_t chunk[2048];
	size_t in, out;

	if (!l->peer || l->dead)
		return false;
	in = sim_peer_recv(l->peer, chunk, room(l, false, sizeof(chunk)));
	ini_bytes_push(&l->in, chunk, in);
	l->received += in;
	while (l->in.len >= BHS_LEN) {
		const uint8_t *p = l->in.data + l->in.head;
		uint32_t len = load_be24(p + BHS_DSL);
		size_t total = BHS_LEN + (size_t)round_up(len, 4);

		if (l->in.len < total)
			break;
		see_pdu(l, p, len);
		ini_bytes_drop(&l->in, total);
	}
	out = MIN(l->out.len, room(l, true, sizeof(chunk)));
	if (out > 0)
		sim_peer_send(l->peer, l->out.data + l->out.head, out);
	ini_bytes_drop(&l->out, out);
	l->sent += out;
	return in > 0 || out > 0;
}

static bool all_done(const struct run *r)
{
	for (uint32_t i = 0; i < TASKS; i++) {
		if (!r->tasks[i].done)
			return false;
	}
	return true;
}

static bool tasks_over(const struct run *r)
{
	return all_done(r) || (!r->links[0].dead && is_cut(&r->links[0]));
}

static bool ready_or_cut(const struct run *r)
{
	return r->ready || is_cut(&r->links[0]);
}

static bool first_up(const struct run *r)
{
	return r->links[0].up;
}

static bool second_up(const struct run *r)
{
	return r->links[1].up;
}

static bool third_up(const struct run *r)
{
	return r->links[2].up;
}

static bool logout_over(const struct run *r)
{
	return r->logout_done;
}

static bool at_end(const struct run *r)
{
	return r->ended;
}

/* Turns the world until @until; false: something is wrong. */
static bool turn(struct run *r, bool (*until)(const struct run *r),
		 const char *what)
{
	uint32_t steps = 0;
	bool moved;

	while (!r->w.error[0] && !until(r)) {
		moved = sim_step(r->w.set, IDLE_NS);
		for (uint32_t i = 0; i < LINKS && !r->w.error[0]; i++)
			moved |= link_turn(&r->links[i]);
		if (moved && ++steps < STEPS_MAX)
			continue;
		if (steps >= STEPS_MAX || !sim_step(r->w.set, PATIENCE_NS))
			world_fail(&r->w, "it hangs: %s", what);
	}
	return !r->w.error[0];
}

/* ------------------------------------------------------------------------
 * A run.
 */

static void prepare(struct run *r)
{
	for (uint32_t i = 0; i < DISK_LEN; i++)
		r->disk[i] = (uint8_t)(i * 7 + i / BLOCK);
	if (pwrite(r->w.fds[0], r->disk, DISK_LEN, 0) != DISK_LEN)
		world_fail(&r->w, "pwrite");
	for (uint32_t i = 0; i < TASKS; i++) {
		uint8_t *data = r->tasks[i].data;

		for (uint32_t k = 0; k < TASK_LEN && is_write(i); k++)
			data[k] = (uint8_t)(k * 3 + k / BLOCK + i);
	}
	r->cmdsn = 0xfffffffeu;
}

static void check_disk(struct run *r)
{
	uint8_t now[DISK_LEN];

	for (uint32_t i = 0; i < TASKS; i++) {
		if (is_write(i))
			memcpy(r->disk + (size_t)i * TASK_LEN, r->tasks[i].data,
			       TASK_LEN);
		else if (memcmp(r->disk + (size_t)i * TASK_LEN,
				r->tasks[i].data, TASK_LEN) != 0)
			world_fail(&r->w, "read %u gave wrong data", i);
	}
	if (pread(r->w.fds[0], now, DISK_LEN, 0) != DISK_LEN ||
	    memcmp(now, r->disk, DISK_LEN) != 0)
		world_fail(&r->w, "the disk has other data");
}

/* The tasks that are not over go on with connection @index. */
static void reassign(struct run *r, uint32_t index)
{
	for (uint32_t i = 0; i < TASKS; i++) {
		struct task *t = &r->tasks[i];

		if (t->done)
			continue;
		if (r->seed & 1)
			t->expdatasn = t->offset = 0;
		send_reassign(r, &r->links[index], i);
	}
}

static void recover(struct run *r)
{
	uint32_t index = r->plan.via == VIA_LOGIN ? 2 : 1;

	if (r->plan.via == VIA_LOGIN) {
		login(r, 2, 0);
		turn(r, third_up, "the new connection");
	} else {
		send_logout(r, &r->links[1], LOGOUT_RECOVERY);
		turn(r, logout_over, "the logout for recovery");
	}
	reassign(r, index);
	turn(r, all_done, "the tasks");
}

static void cut(struct run *r)
{
	struct link *l = &r->links[0];

	if (r->plan.fin) {
		sim_peer_shutdown(l->peer);
		for (uint64_t n = r->seed % 8; n > 0; n--)
			sim_step(r->w.set, IDLE_NS);
	}
	link_end(l);
}

static void work(struct run *r)
{
	login(r, 0, 0);
	if (!turn(r, first_up, "the first login"))
		return;
	login(r, 1, 1);
	if (!turn(r, second_up, "the second login"))
		return;
	/* From here on the bytes count. */
	r->links[0].sent = r->links[0].received = 0;
	r->counting = !r->plan.none;
	send_ready(r, &r->links[1]);
	if (!turn(r, ready_or_cut, "TEST UNIT READY"))
		return;
	for (uint32_t i = 0; i < TASKS; i++) {
		r->tasks[i].cmdsn = r->cmdsn++;
		send_task(r, &r->links[0], i);
	}
	if (!turn(r, tasks_over, "the tasks, before the cut"))
		return;
	if (!r->plan.none)
		cut(r);
	if (r->plan.via == VIA_NOBODY)
		return;
	if (!all_done(r))
		recover(r);
	if (r->w.error[0])
		return;
	send_logout(r, &r->links[1], LOGOUT_CLOSE_SESSION);
	if (turn(r, at_end, "the logout"))
		check_disk(r);
}

static void count(const struct run *r, struct counts *c)
{
	c->runs++;
	c->via[r->plan.via]++;
	for (uint32_t i = 0; i < TASKS; i++) {
		c->adopted += r->tasks[i].adopted;
		c->unknown += !r->tasks[i].adopted && r->tasks[i].link != 0;
		c->again += r->tasks[i].adopted && !is_write(i);
	}
}

static bool run_one(uint64_t seed, const struct plan *plan, struct counts *c,
		    uint64_t *ret_sent, uint64_t *ret_received)
{
	static const uint64_t latency[] = {1, 3000, 100000, 1000000};
	struct world_options o = {0};
	struct run *r = calloc(1, sizeof(*r));
	bool good;

	if (!r)
		return false;
	r->seed = seed;
	r->plan = *plan;
	o.sim.seed = seed;
	o.sim.nreactors = 1 + seed % 2;
	o.sim.short_recv = seed % 3 ? 0 : 200;
	o.sim.latency_max_ns = latency[seed % 4];
	o.nluns = 1;
	o.luns[0].block_size = BLOCK;
	o.luns[0].nblocks = DISK_LEN / BLOCK;
	o.luns[0].file = true;
	iscsi_options_default(&o.iscsi);
	o.iscsi.error_recovery_level = 2;
	o.iscsi.max_queue_depth = 8;
	o.iscsi.max_outstanding_r2t = 2;
	if (world_start(&r->w, &o)) {
		prepare(r);
		work(r);
		if (ret_sent) {
			*ret_sent = r->links[0].sent;
			*ret_received = r->links[0].received;
		}
		for (uint32_t i = 0; i < LINKS; i++)
			link_end(&r->links[i]);
	}
	count(r, c);
	world_stop(&r->w);
	good = !r->w.error[0];
	if (!good)
		printf("seed %" PRIu64 ", cut %s at %" PRIu64
		       "%s, via %d: %s\n",
		       seed, plan->sending ? "sending" : "receiving", plan->at,
		       plan->fin ? ", FIN" : "", plan->via, r->w.error);
	free(r);
	return good;
}

static uint64_t run_seed(uint64_t seed, uint64_t stride, struct counts *c)
{
	struct plan none = {.none = true};
	uint64_t moved[2] = {0}, failures = 0;

	if (!run_one(seed, &none, c, &moved[1], &moved[0]))
		return 1;
	for (uint32_t sending = 0; sending < 2; sending++) {
		for (uint64_t at = seed % stride;
		     at < moved[sending] && failures < 5; at += stride) {
			uint64_t dice = (at / stride + seed) * 2654435761u;
			struct plan p = {
				.sending = sending,
				.at = at,
				.fin = dice >> 8 & 1,
				.via = (enum via)(dice >> 9) % VIA_COUNT,
			};

			failures += !run_one(seed, &p, c, NULL, NULL);
		}
	}
	return failures;
}

int main(int argc, char **argv)
{
	uint64_t first = 1, n = 1, stride = 1, failures = 0;
	struct counts c = {0};

	log_set_print_level(LOG_LEVEL_DISABLED);
	setvbuf(stdout, NULL, _IOLBF, 0);
	mallopt(M_MMAP_THRESHOLD, 1 << 21);
	mallopt(M_TRIM_THRESHOLD, 1 << 28);
	for (int i = 1; i + 1 < argc; i += 2) {
		uint64_t value = strtoull(argv[i + 1], NULL, 0);

		if (strcmp(argv[i], "--seed") == 0)
			first = value;
		else if (strcmp(argv[i], "--seeds") == 0)
			n = value;
		else if (strcmp(argv[i], "--stride") == 0)
			stride = MAX(1ull, value);
	}
	for (uint64_t s = first; s < first + n && failures == 0; s++)
		failures += run_seed(s, stride, &c);
	printf("%" PRIu64 " runs: %" PRIu64 " tasks adopted (%" PRIu64
	       " reads), %" PRIu64 " sent again; %" PRIu64 " failed\n",
	       c.runs, c.adopted, c.again, c.unknown, failures);
	if (n >= 4 && failures == 0 &&
	    (!c.again || c.adopted == c.again || !c.unknown ||
	     !c.via[VIA_LOGOUT] || !c.via[VIA_LOGIN] || !c.via[VIA_NOBODY])) {
		printf("a path was never taken\n");
		failures++;
	}
	return failures ? 1 : 0;
}
