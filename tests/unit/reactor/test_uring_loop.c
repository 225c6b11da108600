/* SPDX-License-Identifier: BSD-3-Clause */
#include "uring_env.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/list.h"

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- Start, stop, what the options say. */

static void start_and_stop(struct env *env)
{
	CHECK(reactor_current() == reactors_main(env->set));
	CHECK(reactor_now_ns(reactor_current()) > 0);
	env_stop(env);
	env_stop(env); /* twice is once */
}

static void test_start_stop(void **state)
{
	for (uint32_t n = 1; n <= 4; n++) {
		struct env env = {.start = start_and_stop, .ncores = n};

		env_run(&env);
		assert_null(reactor_current());
	}
}

static void test_destroy_without_run(void **state)
{
	uint32_t cores[3] = {0};
	struct reactor_options opt = {.cores = cores, .ncores = 3};
	struct reactors *set;
	const char *why;

	assert_int_equal(reactors_create(&opt, &set, &why), 0);
	assert_int_equal(reactors_count(set), 3);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(reactor_index(reactors_get(set, i)), i);
	reactors_destroy(set);
}

static void test_options(void **state)
{
	uint32_t cores[2] = {0, 99999};
	struct reactor_options opt = {.cores = cores, .ncores = 2};
	struct reactors *set;
	const char *why;

	opt.pin = true;
	why = NULL;
	assert_int_equal(reactors_create(&opt, &set, &why), -EINVAL);
	assert_non_null(why);
	opt.pin = false;
	opt.main_core = 2;
	why = NULL;
	assert_int_equal(reactors_create(&opt, &set, &why), -EINVAL);
	assert_non_null(why);
	opt.main_core = 0;
	opt.ncores = 0;
	assert_int_equal(reactors_create(&opt, &set, &why), -EINVAL);
	opt.ncores = REACTORS_MAX + 1;
	assert_int_equal(reactors_create(&opt, &set, &why), -EINVAL);
}

/* ---- Mail: every pair of reactors, both ways, in order. */

#define BALLS  64
#define ROUNDS 200

struct ball {
	struct mail mail;
	struct mailers *all;
	uint32_t from, to, seq, trips;
	bool back; /* on its way back to @from */
};

struct mailers {
	struct env env;
	struct ball balls[4][4][BALLS];
	uint32_t expect[4][4][2]; /* [to][from][back]: the receiver's */
	struct mailer_done {
		struct mail mail;
		struct mailers *all;
	} dones[4];
	uint32_t done_at[4]; /* each its own reactor's */
	uint32_t left;	     /* the main reactor's */
};

static void mailer_done(struct mail *mail)
{
	struct mailer_done *d = container_of(mail, struct mailer_done, mail);

	if (--d->all->left == 0)
		env_stop(&d->all->env);
}

static void ball_arrives(struct mail *mail)
{
	struct ball *b = container_of(mail, struct ball, mail);
	struct mailers *m = b->all;
	uint32_t me = reactor_index(reactor_current());
	uint32_t n = m->env.ncores;

	CHECK(me == (b->back ? b->from : b->to));
	CHECK(b->seq == m->expect[b->to][b->from][b->back]);
	m->expect[b->to][b->from][b->back] = (b->seq + 1) % BALLS;
	b->back = !b->back;
	if (++b->trips < ROUNDS) {
		mail_post(reactors_get(m->env.set, b->back ? b->from : b->to),
			  mail);
		return;
	}
	if (++m->done_at[me] == n * BALLS)
		mail_post(reactors_main(m->env.set), &m->dones[me].mail);
}

struct thrower {
	struct fanout fanout;
	struct mailers *m;
};

static void throw_all(struct fanout *f, struct reactor *r)
{
	struct thrower *t = container_of(f, struct thrower, fanout);
	struct mailers *m = t->m;
	uint32_t from = reactor_index(r);

	CHECK(reactor_current() == r);
	for (uint32_t to = 0; to < m->env.ncores; to++) {
		for (uint32_t i = 0; i < BALLS; i++) {
			struct ball *b = &m->balls[from][to][i];

			*b = (struct ball){.mail.run = ball_arrives,
					   .all = m,
					   .from = from,
					   .to = to,
					   .seq = i};
			mail_post(reactors_get(m->env.set, to), &b->mail);
		}
	}
}

static void thrown(struct fanout *f)
{
	struct thrower *t = container_of(f, struct thrower, fanout);

	CHECK(reactor_current() == reactors_main(t->m->env.set));
	free(t);
}

static void mailers_start(struct env *env)
{
	struct mailers *m = container_of(env, struct mailers, env);
	struct thrower *t = calloc(1, sizeof(*t));

	m->left = env->ncores;
	for (uint32_t i = 0; i < 4; i++)
		m->dones[i] =
			(struct mailer_done){.mail.run = mailer_done, .all = m};
	t->m = m;
	t->fanout.fn = throw_all;
	t->fanout.done = thrown;
	CHECK(reactors_fanout(env->set, &t->fanout) == 0);
}

static void test_mail_order(void **state)
{
	for (uint32_t n = 1; n <= 4; n++) {
		struct mailers *m = calloc(1, sizeof(*m));

		m->env.start = mailers_start;
		m->env.ncores = n;
		m->env.poll_us_max = n & 1 ? 20 : 0;
		env_run(&m->env);
		assert_int_equal(m->left, 0);
		free(m);
	}
}

/* ---- Ping-pong: the receiver sleeps nearly every time. */

#define PINGS 20000

struct pingpong {
	struct env env;
	struct mail mail;
	uint32_t trips; /* whoever has the ball */
	uint32_t at[2];
};

static void pingpong(struct mail *mail)
{
	struct pingpong *p = container_of(mail, struct pingpong, mail);
	uint32_t me = reactor_index(reactor_current());

	p->at[me]++;
	if (++p->trips == PINGS) {
		CHECK(me == 0);
		env_stop(&p->env);
		return;
	}
	mail_post(reactors_get(p->env.set, 1 - me), mail);
}

static void pingpong_start(struct env *env)
{
	struct pingpong *p = container_of(env, struct pingpong, env);

	p->mail.run = pingpong;
	mail_post(reactors_get(env->set, 1), &p->mail);
}

static void test_ping_pong(void **state)
{
	for (uint32_t spin = 0; spin <= 50; spin += 50) {
		struct pingpong p = {.env.start = pingpong_start,
				     .env.ncores = 2,
				     .env.poll_us_max = spin};

		env_run(&p.env);
		assert_int_equal(p.at[0], PINGS / 2);
		assert_int_equal(p.at[1], PINGS / 2);
	}
}

/* ---- Mail from a thread that is no reactor. */

#define OUTSIDE 5000

struct outside {
	struct env env;
	uint32_t got;
	pthread_t thread;
};

struct outside_ref {
	struct mail mail;
	struct outside *o;
	uint32_t seq;
};

static void outside_mail(struct mail *mail)
{
	struct outside_ref *ref = container_of(mail, struct outside_ref, mail);
	struct outside *o = ref->o;

	CHECK(ref->seq == o->got);
	free(ref);
	if (++o->got < OUTSIDE)
		return;
	/* It may still be inside of the last mail_post(). */
	pthread_join(o->thread, NULL);
	env_stop(&o->env);
}

static void *outside_thread(void *arg)
{
	struct outside *o = arg;

	for (uint32_t i = 0; i < OUTSIDE; i++) {
		struct outside_ref *ref = malloc(sizeof(*ref));

		*ref = (struct outside_ref){
			.mail.run = outside_mail, .o = o, .seq = i};
		mail_post(reactors_main(o->env.set), &ref->mail);
	}
	return NULL;
}

static void outside_start(struct env *env)
{
	struct outside *o = container_of(env, struct outside, env);

	CHECK(pthread_create(&o->thread, NULL, outside_thread, o) == 0);
}

static void test_mail_from_outside(void **state)
{
	struct outside *o = calloc(1, sizeof(*o));

	o->env.start = outside_start;
	env_run(&o->env);
	assert_int_equal(o->got, OUTSIDE);
	free(o);
}

/* ---- Fanout. */

struct fan {
	struct env env;
	struct fanout fanout;
	uint32_t ran[8]; /* each its own reactor's */
	uint32_t rounds;
};

static void fan_fn(struct fanout *f, struct reactor *r)
{
	struct fan *fan = container_of(f, struct fan, fanout);

	CHECK(reactor_current() == r);
	fan->ran[reactor_index(r)]++;
}

static void fan_done(struct fanout *f)
{
	struct fan *fan = container_of(f, struct fan, fanout);

	CHECK(reactor_current() == reactors_main(fan->env.set));
	for (uint32_t i = 0; i < fan->env.ncores; i++)
		CHECK(fan->ran[i] == fan->rounds + 1);
	if (++fan->rounds == 100)
		env_stop(&fan->env);
	else
		CHECK(reactors_fanout(fan->env.set, f) == 0);
}

static void fan_start(struct env *env)
{
	struct fan *fan = container_of(env, struct fan, env);

	fan->fanout.fn = fan_fn;
	fan->fanout.done = fan_done;
	CHECK(reactors_fanout(env->set, &fan->fanout) == 0);
}

static void test_fanout(void **state)
{
	struct fan fan = {.env.start = fan_start, .env.ncores = 4};

	env_run(&fan.env);
	assert_int_equal(fan.rounds, 100);
}

/* ---- Timers: in order of their due times, never early; stop and restart. */

#define TIMERS 300

struct timing {
	struct env env;
	struct one {
		struct timer t;
		struct timing *all;
		uint64_t not_before_ns;
		uint64_t delay_ms;
		bool stopped, fired;
	} ones[TIMERS];
	uint64_t last_due;
	uint32_t left;
	uint32_t zeroes;
	struct timer zero;
};

static void one_expired(struct timer *t)
{
	struct one *o = container_of(t, struct one, t);
	struct timing *all = o->all;

	CHECK(!o->stopped && !o->fired);
	CHECK(!timer_running(t));
	CHECK(now_ns() >= o->not_before_ns);
	CHECK(t->due_ns >= all->last_due);
	all->last_due = t->due_ns;
	o->fired = true;
	if (--all->left == 0)
		env_stop(&all->env);
}

static void one_start(struct one *o, uint64_t delay_ms)
{
	o->delay_ms = delay_ms;
	o->not_before_ns = now_ns() + delay_ms * 1000000;
	timer_start(reactor_current(), &o->t, delay_ms);
	CHECK(timer_running(&o->t));
}

/* A timer with no delay that starts itself again does not stop the rest. */
static void zero_expired(struct timer *t)
{
	struct timing *all = container_of(t, struct timing, zero);

	all->zeroes++;
	timer_start(reactor_current(), t, 0);
}

static void timing_start(struct env *env)
{
	struct timing *all = container_of(env, struct timing, env);
	struct reactor *r = reactor_current();

	timer_init(&all->zero, zero_expired);
	timer_start(r, &all->zero, 0);
	for (uint32_t i = 0; i < TIMERS; i++) {
		struct one *o = &all->ones[i];

		o->all = all;
		timer_init(&o->t, one_expired);
		one_start(o, (i * 7919u) % 150);
	}
	all->left = TIMERS;
	for (uint32_t i = 0; i < TIMERS; i += 3) {
		struct one *o = &all->ones[i];

		if (i % 2) {
			one_start(o, 10 + i % 100);
			continue;
		}
		timer_stop(r, &o->t);
		timer_stop(r, &o->t);
		CHECK(!timer_running(&o->t));
		o->stopped = true;
		all->left--;
	}
}

static void test_timers(void **state)
{
	struct timing *all = calloc(1, sizeof(*all));

	all->env.start = timing_start;
	env_run(&all->env);
	for (uint32_t i = 0; i < TIMERS; i++)
		assert_int_equal(all->ones[i].fired, !all->ones[i].stopped);
	assert_true(all->zeroes > 1);
	free(all);
}

/* ---- Deferred work. */

struct deferring {
	struct env env;
	struct deferred a, b;
	struct mail more;
	uint32_t as, bs;
	bool in_mail;
};

static void a_run(struct deferred *d)
{
	struct deferring *all = container_of(d, struct deferring, a);

	CHECK(!all->in_mail);
	all->as++;
	reactor_defer(reactor_current(), &all->b);
}

/* Starts itself again for ever: the loop must not be held by it. */
static void b_run(struct deferred *d)
{
	struct deferring *all = container_of(d, struct deferring, b);

	if (++all->bs < 100000)
		reactor_defer(reactor_current(), d);
	if (all->bs == 1000)
		mail_post(reactor_current(), &all->more);
}

static void more_run(struct mail *mail)
{
	struct deferring *all = container_of(mail, struct deferring, more);

	CHECK(all->bs < 100000);
	env_stop(&all->env);
}

static void deferring_start(struct env *env)
{
	struct deferring *all = container_of(env, struct deferring, env);

	all->in_mail = true;
	list_init(&all->a.link);
	list_init(&all->b.link);
	all->a.run = a_run;
	all->b.run = b_run;
	all->more.run = more_run;
	reactor_defer(reactor_current(), &all->a);
	reactor_defer(reactor_current(), &all->a);
	all->in_mail = false;
}

static void test_deferred(void **state)
{
	struct deferring all = {.env.start = deferring_start};

	env_run(&all.env);
	assert_int_equal(all.as, 1);
	assert_true(all.bs >= 1000);
}

/* ---- Offload. */

#define JOBS 50

struct offloading {
	struct env env;
	struct job {
		struct op op;
		struct offloading *all;
		pthread_t ran_on;
		int n;
	} jobs[JOBS];
	uint32_t left;
};

static int job_work(struct op *op)
{
	struct job *j = container_of(op, struct job, op);

	j->ran_on = pthread_self();
	return j->n % 5 ? j->n : -EIO;
}

static void job_done(struct op *op)
{
	struct job *j = container_of(op, struct job, op);

	CHECK(!op_active(op));
	CHECK(op->res == (j->n % 5 ? j->n : -EIO));
	CHECK(!pthread_equal(j->ran_on, pthread_self()));
	CHECK(reactor_current() == reactors_main(j->all->env.set));
	if (--j->all->left == 0)
		env_stop(&j->all->env);
}

static void offloading_start(struct env *env)
{
	struct offloading *all = container_of(env, struct offloading, env);

	all->left = JOBS;
	for (int i = 0; i < JOBS; i++) {
		struct job *j = &all->jobs[i];

		*j = (struct job){.op.done = job_done, .all = all, .n = i};
		reactor_offload(reactor_current(), &j->op, job_work);
		CHECK(op_active(&j->op));
	}
}

static void test_offload(void **state)
{
	struct offloading *all = calloc(1, sizeof(*all));

	all->env.start = offloading_start;
	all->env.ncores = 2;
	env_run(&all->env);
	assert_int_equal(all->left, 0);
	free(all);
}

/* ---- Nothing to do costs nothing, also where polling is allowed. */

struct idling {
	struct env env;
	struct timer begin, end;
	struct rusage before, after;
	struct reactor_stats stats;
};

static void idle_begins(struct timer *t)
{
	struct idling *i = container_of(t, struct idling, begin);

	getrusage(RUSAGE_SELF, &i->before);
	timer_start(reactor_current(), &i->end, 1000);
}

static void idle_ends(struct timer *t)
{
	struct idling *i = container_of(t, struct idling, end);

	getrusage(RUSAGE_SELF, &i->after);
	reactor_get_stats(reactor_current(), &i->stats);
	env_stop(&i->env);
}

static void idling_start(struct env *env)
{
	struct idling *i = container_of(env, struct idling, env);

	timer_init(&i->begin, idle_begins);
	timer_init(&i->end, idle_ends);
	timer_start(reactor_current(), &i->begin, 50);
}

static uint64_t cpu_us(const struct rusage *ru)
{
	return (uint64_t)(ru->ru_utime.tv_sec + ru->ru_stime.tv_sec) * 1000000 +
	       (uint64_t)(ru->ru_utime.tv_usec + ru->ru_stime.tv_usec);
}

static void test_idle_costs_nothing(void **state)
{
	for (uint32_t spin = 0; spin <= 100; spin += 100) {
		struct idling i = {.env.start = idling_start,
				   .env.ncores = 2,
				   .env.poll_us_max = spin};
		uint64_t us;

		env_run(&i.env);
		us = cpu_us(&i.after) - cpu_us(&i.before);
		/* 0.5 % of a core, for both together. */
		assert_true(us < 5000);
		assert_true(i.stats.sleeps >= 1 && i.stats.sleeps < 20);
		assert_true(i.stats.idle_ns > 900000000u);
		assert_true(i.stats.busy_ns < 100000000u);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_start_stop),
		cmocka_unit_test(test_destroy_without_run),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_mail_order),
		cmocka_unit_test(test_ping_pong),
		cmocka_unit_test(test_mail_from_outside),
		cmocka_unit_test(test_fanout),
		cmocka_unit_test(test_timers),
		cmocka_unit_test(test_deferred),
		cmocka_unit_test(test_offload),
		cmocka_unit_test(test_idle_costs_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
