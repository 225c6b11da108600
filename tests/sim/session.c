/* SPDX-License-Identifier: BSD-3-Clause */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/macros.h"

#define CHUNK_MAX (64u << 10)

static uint32_t one_of(struct session_test *t, const uint32_t *values,
		       uint32_t n)
{
	return values[test_random(t, n)];
}

/* ------------------------------------------------------------------------
 * Connecting.
 */

static void choose_login(struct sess *s)
{
	static const uint32_t bursts[] = {0,	 512,	 4096,	 65536,
					  65536, 262144, 1048576};
	static const uint32_t segments[] = {0,	   512,	   1000,  4096,
					    65536, 262144, 262144};
	struct session_test *t = s->t;
	struct ini_options *o = &s->opt;

	o->seed = test_random(t, UINT64_MAX);
	o->cmdsn = test_random(t, 4) ? (uint32_t)test_random(t, 1u << 31)
				     : 0u - (uint32_t)test_random(t, 20);
	o->cid = (uint16_t)test_random(t, 65536);
	o->security_stage = test_random(t, 2);
	o->slow = test_random(t, 8) == 0;
	o->split_text = test_random(t, 8) == 0;
	o->header_digest = test_random(t, 6) == 0;
	o->data_digest = test_random(t, 6) == 0;
	o->offer_r2t = test_random(t, 4) != 0;
	o->initial_r2t = test_random(t, 2);
	o->offer_immediate = test_random(t, 2);
	o->immediate_data = test_random(t, 4) != 0;
	o->max_burst = one_of(t, bursts, ARRAY_LEN(bursts));
	o->first_burst = one_of(t, bursts, ARRAY_LEN(bursts));
	/* 13.14: FirstBurstLength is not above MaxBurstLength. */
	if (o->max_burst)
		o->first_burst = o->first_burst
					 ? MIN(o->first_burst, o->max_burst)
					 : MIN(o->max_burst, 65536u);
	else
		o->first_burst = MIN(o->first_burst, 262144u);
	o->mrdsl = one_of(t, segments, ARRAY_LEN(segments));
	o->max_r2t = (uint32_t)test_random(t, 9);
	o->odd_pieces = test_random(t, 2);
}

static void sess_connect(struct sess *s)
{
	struct session_test *t = s->t;
	uint64_t window = 1000 + test_random(t, 300000);

	choose_login(s);
	s->peer = world_connect(&t->w);
	if (!s->peer) {
		world_fail(&t->w, "session %u: nobody listens", s->index);
		return;
	}
	if (test_random(t, 4) == 0)
		window = 1 + test_random(t, 3000);
	sim_peer_set_window(s->peer, window);
	ini_init(&s->ini, &s->opt);
	ini_start(&s->ini);
	s->phase = SESS_LOGIN;
	s->ready_lun = 0;
	t->counts.logins++;
}

void sess_init(struct session_test *t, struct sess *s, uint32_t index)
{
	memset(s, 0, sizeof(*s));
	s->t = t;
	s->index = index;
	snprintf(s->name, sizeof(s->name), "iqn.2016-04.com.example:%u",
		 (unsigned int)test_random(t, 2));
	s->opt.initiator = s->name;
	s->opt.target = WORLD_TARGET;
	s->opt.others_reset = index != RESETTER && t->tmf_chance > 0;
	snprintf(s->label, sizeof(s->label), "[%u]", index);
	s->opt.trace = t->verbose ? s->label : NULL;
	/* Two sessions of one initiator differ in their ISID. */
	memcpy(s->opt.isid, (uint8_t[]){0x00, 2, 0x3d, 0, 0, (uint8_t)index},
	       6);
	s->depth = 1 + (uint32_t)test_random(t, DEPTH_MAX);
	s->left = 5 + (uint32_t)test_random(t, 32);
	s->drops = test_random(t, 4) == 0 ? 1 + (uint32_t)test_random(t, 2) : 0;
	for (uint32_t l = 0; l < t->nluns; l++) {
		uint32_t part = t->models[l].nblocks / t->nsess;
		uint32_t size = part;

		/* A small part makes for overlaps. */
		if (test_random(t, 2))
			size = 8 * (1 + (uint32_t)test_random(t, 32));
		s->size[l] = MIN(size, part) & ~7u;
		s->base[l] = part * index;
	}
	sess_connect(s);
}

void sess_deinit(struct sess *s)
{
	for (uint32_t i = 0; i < JOBS_MAX; i++)
		free(s->jobs[i].buf);
	ini_deinit(&s->ini);
	if (s->peer)
		sim_peer_free(s->peer);
	if (s->left_open)
		sim_peer_free(s->left_open);
}

/* Cuts the connection in one of the ways in which that happens. */
static void sess_drop(struct sess *s)
{
	uint64_t how = test_random(s->t, 3);

	s->drops--;
	s->t->counts.drops++;
	if (s->left_open)
		sim_peer_free(take(&s->left_open));
	if (how == 0) {
		/* Silence; the new login puts an end to the session. */
		s->left_open = take(&s->peer);
	} else if (how == 1) {
		sim_peer_shutdown(s->peer);
		s->left_open = take(&s->peer);
	} else {
		sim_peer_free(take(&s->peer));
	}
	sess_lose_jobs(s);
	ini_deinit(&s->ini);
	sess_connect(s);
}

/* ------------------------------------------------------------------------
 * Phases.
 */

static void logout_done(struct initiator *ini, struct ini_req *req)
{
	struct sess *s = container_of(req, struct sess, logout.req);

	(void)ini;
	if (s->logout.response != LOGOUT_RSP_OK)
		world_fail(&s->t->w, "session %u: logout response %u", s->index,
			   s->logout.response);
}

/* 6.3.5: with this login the old session and its commands are gone. */
static void logged_in(struct sess *s)
{
	for (uint32_t i = 0; i < s->nlost; i++)
		model_write_end(&s->t->models[s->lost[i].lun], s->lost[i].id,
				false);
	s->nlost = 0;
	s->phase = SESS_READY;
}

static bool quiet(const struct sess *s)
{
	return s->nbusy == 0 && !s->tmf_busy && !s->nop_busy;
}

static void work(struct sess *s)
{
	uint64_t n = test_random(s->t, 4);

	if (s->drops > 0 && s->left < 40 && test_random(s->t, 50) == 0) {
		sess_drop(s);
		return;
	}
	while (n-- > 0)
		sess_issue(s);
	if (s->left > 0 || !quiet(s))
		return;
	s->phase = SESS_VERIFY;
	s->verify_lun = 0;
	sess_choose_verify(s);
}

static void verify(struct sess *s)
{
	if (s->verify_lun < s->t->nluns) {
		sess_start_verify(s);
		return;
	}
	if (!quiet(s))
		return;
	memset(&s->logout, 0, sizeof(s->logout));
	s->logout.req.done = logout_done;
	s->logout.req.immediate = test_random(s->t, 2);
	s->logout.reason = test_random(s->t, 2) ? LOGOUT_CLOSE_SESSION
						: LOGOUT_CLOSE_CONNECTION;
	s->logout.cid = s->opt.cid;
	ini_leave(&s->ini, &s->logout);
	s->phase = SESS_LOGOUT;
}

static void go_on(struct sess *s)
{
	switch (s->phase) {
	case SESS_LOGIN:
		if (s->ini.state == INI_RUNNING)
			logged_in(s);
		else if (s->ini.state == INI_REFUSED)
			world_fail(&s->t->w, "session %u: login status 0x%04x",
				   s->index, s->ini.login_status);
		break;
	case SESS_READY:
		if (s->ready_lun < s->t->nluns)
			sess_start_ready(s);
		else if (quiet(s))
			s->phase = SESS_WORK;
		break;
	case SESS_WORK:
		work(s);
		break;
	case SESS_VERIFY:
		verify(s);
		break;
	case SESS_LOGOUT:
		if (s->ini.state == INI_LOGGED_OUT && sim_peer_closed(s->peer))
			s->phase = SESS_GONE;
		break;
	case SESS_GONE:
		break;
	}
}

static void count_up(struct sess *s)
{
	struct session_counts *c = &s->t->counts;

	c->collapsed += s->ini.collapsed;
	c->r2ts += s->ini.r2ts;
	c->unsolicited += s->ini.unsolicited;
	s->ini.collapsed = s->ini.r2ts = s->ini.unsolicited = 0;
}

bool sess_turn(struct sess *s)
{
	struct session_test *t = s->t;
	enum sess_phase before = s->phase;
	uint8_t chunk[CHUNK_MAX];
	size_t in, out;

	if (s->phase == SESS_GONE)
		return false;
	in = sim_peer_recv(s->peer, chunk, 1 + test_random(t, sizeof(chunk)));
	if (in > 0 && !ini_feed(&s->ini, chunk, in)) {
		world_fail(&t->w, "session %u: %s", s->index, s->ini.error);
		return true;
	}
	count_up(s);
	if (sim_peer_closed(s->peer) && sim_peer_readable(s->peer) == 0 &&
	    s->ini.state != INI_LOGGED_OUT && s->ini.state != INI_REFUSED) {
		world_fail(&t->w, "session %u: the target closed, phase %d",
			   s->index, s->phase);
		return true;
	}
	go_on(s);
	ini_produce(&s->ini, CHUNK_MAX);
	out = ini_take(&s->ini, chunk, 1 + test_random(t, sizeof(chunk)));
	if (out > 0)
		sim_peer_send(s->peer, chunk, out);
	return in > 0 || out > 0 || s->phase != before;
}
