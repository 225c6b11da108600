/* SPDX-License-Identifier: BSD-3-Clause */
#include "scsi/sweep.h"

#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"

int sweep_init(struct sweep *s, struct reactors *set)
{
	uint32_t n = reactors_count(set);

	*s = (struct sweep){.n = n};
	s->cores = calloc(n, sizeof(*s->cores));
	if (s->cores == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		s->cores[i].sweep = s;
		s->cores[i].index = i;
		s->cores[i].reactor = reactors_get(set, i);
		list_init(&s->cores[i].link);
	}
	return 0;
}

void sweep_deinit(struct sweep *s)
{
	ASSERT(s->left == 0);
	free(s->cores);
	s->cores = NULL;
}

struct sweep *sweep_create(struct reactors *set)
{
	struct sweep *s = malloc(sizeof(*s));

	if (s != NULL && sweep_init(s, set) < 0) {
		free(s);
		s = NULL;
	}
	return s;
}

void sweep_destroy(struct sweep *s)
{
	if (s == NULL)
		return;
	sweep_deinit(s);
	free(s);
}

static void on_core(struct mail *mail)
{
	struct sweep_core *c = container_of(mail, struct sweep_core, mail);

	c->sweep->each(c);
}

void sweep_start(struct sweep *s)
{
	ASSERT(s->left == 0);
	s->origin = reactor_current();
	ASSERT(s->origin != NULL);
	s->left = s->n;
	for (uint32_t i = 0; i < s->n; i++) {
		s->cores[i].error = 0;
		s->cores[i].mail.run = on_core;
		mail_post(s->cores[i].reactor, &s->cores[i].mail);
	}
}

static void on_origin(struct mail *mail)
{
	struct sweep_core *c = container_of(mail, struct sweep_core, mail);
	struct sweep *s = c->sweep;

	ASSERT(s->left > 0);
	if (--s->left == 0)
		s->done(s);
}

void sweep_core_done(struct sweep_core *c)
{
	ASSERT(!list_linked(&c->link));
	c->mail.run = on_origin;
	mail_post(c->sweep->origin, &c->mail);
}
