/* SPDX-License-Identifier: BSD-3-Clause */
/* The base, with faults on demand. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "bdev/bdev_priv.h"
#include "bdev/drivers.h"
#include "bdev/vbdev_priv.h"

/*
 * A rule is one number, so that cores take from its count without a lock: count
 * in the low 32 bits, then fault, then the value that corrupts.
 */
#define RULE_FAULT 32
#define RULE_VALUE 40

struct rule {
	uint64_t word;
	uint64_t error; /* written before the word, read after it */
	uint64_t corrupt_offset;
};

/* A message to all cores: let go of what is pending. */
struct release_mail {
	struct mail mail;
	struct release *release;
	uint32_t core;
};

struct release {
	struct bdev *bdev;
	int result;
	uint32_t left;
	struct release_mail mails[];
};

struct error_bdev {
	struct vbdev v;
	struct release *last; /* for the removal, which must not fail */
	struct rule rules[BDEV_OP_COUNT];
};

struct error_channel {
	struct vbdev_channel vch;
	struct list pending; /* struct vbdev_held */
};

/* In io->driver of one that is corrupted; below what vbdev keeps there. */
#define CORRUPT_SLOT  6 /* 1 << 32 | value, 0 = none */
#define CORRUPT_PLACE 7 /* byte of the I/O */

/* Takes one from the rule's count. What to do, and the word. */
static enum bdev_fault take_fault(struct rule *rule, uint64_t *ret_word)
{
	uint64_t word = __atomic_load_n(&rule->word, __ATOMIC_ACQUIRE);

	while ((uint32_t)word > 0) {
		if (!__atomic_compare_exchange_n(&rule->word, &word, word - 1,
						 false, __ATOMIC_ACQUIRE,
						 __ATOMIC_ACQUIRE))
			continue;
		*ret_word = word;
		return (enum bdev_fault)(uint8_t)(word >> RULE_FAULT);
	}
	return BDEV_FAULT_NONE;
}

static void flip(const struct bdev_io *io)
{
	uint64_t at = io->driver[CORRUPT_PLACE];
	unsigned int i = 0;

	while (at >= io->iov[i].iov_len)
		at -= io->iov[i++].iov_len;
	((uint8_t *)io->iov[i].iov_base)[at] ^=
		(uint8_t)io->driver[CORRUPT_SLOT];
}

/* After the base: a READ is corrupted, a WRITE's buffer made whole again. */
static void unflip(struct bdev_io *io, int result)
{
	if (!io->driver[CORRUPT_SLOT])
		return;
	if (io->op == BDEV_WRITE || !result)
		flip(io);
	io->driver[CORRUPT_SLOT] = 0;
}

static void finish(struct vbdev_channel *vch, struct bdev_io *io, int result)
{
	unflip(io, result);
	bdev_io_complete(io, result);
}

static void arm_corruption(const struct rule *rule, struct bdev_io *io,
			   uint64_t word)
{
	uint64_t at = shared_get(&rule->corrupt_offset);

	if ((io->op != BDEV_READ && io->op != BDEV_WRITE) || at >= io->len)
		return;
	io->driver[CORRUPT_PLACE] = at;
	io->driver[CORRUPT_SLOT] = 1ull << 32 | (uint8_t)(word >> RULE_VALUE);
	if (io->op == BDEV_WRITE)
		flip(io);
}

static enum bdev_status forward(struct error_channel *ec, struct bdev_io *io)
{
	enum bdev_status st = vbdev_forward(&ec->vch, io, 0);

	if (st == BDEV_DONE)
		unflip(io, io->result);
	return st;
}

static enum bdev_status error_submit(struct bdev_channel *ch,
				     struct bdev_io *io)
{
	struct error_bdev *e = ch->bdev->driver_data;
	struct error_channel *ec = ch->driver_data;
	struct rule *rule = &e->rules[io->op];
	uint64_t word = 0;

	io->driver[CORRUPT_SLOT] = 0;
	switch (take_fault(rule, &word)) {
	case BDEV_FAULT_NONE:
		break;
	case BDEV_FAULT_FAIL:
		io->result = -(int)shared_get(&rule->error);
		return BDEV_DONE;
	case BDEV_FAULT_PENDING:
		list_init(&vbdev_held(io)->link);
		list_push_back(&ec->pending, &vbdev_held(io)->link);
		return BDEV_PENDING;
	case BDEV_FAULT_CORRUPT:
		arm_corruption(rule, io, word);
		break;
	}
	return forward(ec, io);
}

static int error_channel_open(struct bdev_channel *ch)
{
	struct error_channel *ec = calloc(1, sizeof(*ec));
	int r;

	if (!ec)
		return -ENOMEM;
	list_init(&ec->pending);
	r = vbdev_channel_init(&ec->vch, ch, finish);
	if (r) {
		free(ec);
		return r;
	}
	ch->driver_data = ec;
	return 0;
}

static void error_channel_close(struct bdev_channel *ch)
{
	struct error_channel *ec = ch->driver_data;

	ASSERT(list_empty(&ec->pending));
	vbdev_channel_deinit(&ec->vch);
	free(ec);
}

/* ---- Letting go: a mail to each core, and back. */

static void release_back(struct mail *mail)
{
	struct release *rel =
		container_of(mail, struct release_mail, mail)->release;

	if (--rel->left > 0)
		return;
	bdev_unhold(rel->bdev);
	free(rel);
}

static void release_here(struct mail *mail)
{
	struct release_mail *rm = container_of(mail, struct release_mail, mail);
	struct bdev *b = rm->release->bdev;
	struct bdev_channel *ch = b->channels[rm->core];
	struct list todo = LIST_INIT(todo);
	struct error_channel *ec;
	struct list *node;

	if (ch && ch->refs > 0) {
		ec = ch->driver_data;
		list_splice_back(&todo, &ec->pending);
		while ((node = list_pop_front(&todo)))
			bdev_io_complete(vbdev_held_io(node),
					 rm->release->result);
	}
	mail->run = release_back;
	mail_post(reactors_main(bdev_registry_reactors(b->registry)), mail);
}

static struct release *release_alloc(struct bdev_registry *reg)
{
	uint32_t n = reactors_count(bdev_registry_reactors(reg));

	return calloc(1,
		      sizeof(struct release) + n * sizeof(struct release_mail));
}

static void release_post(struct release *rel, struct bdev *b, int result)
{
	struct reactors *set = bdev_registry_reactors(b->registry);
	uint32_t i, n = reactors_count(set);

	bdev_hold(b);
	rel->bdev = b;
	rel->result = result;
	rel->left = n;
	for (i = 0; i < n; i++) {
		rel->mails[i].release = rel;
		rel->mails[i].core = i;
		rel->mails[i].mail.run = release_here;
	}
	for (i = 0; i < n; i++)
		mail_post(reactors_get(set, i), &rel->mails[i].mail);
}

static void set_rule(struct rule *rule, const struct bdev_injection *inj)
{
	uint64_t value = inj->corrupt_value ? inj->corrupt_value : 0xff;
	uint64_t word = inj->count | (uint64_t)inj->fault << RULE_FAULT |
			value << RULE_VALUE;

	if (inj->fault == BDEV_FAULT_NONE)
		word = 0;
	__atomic_store_n(&rule->word, 0, __ATOMIC_RELEASE);
	shared_set(&rule->error, (uint64_t)(inj->error ? -inj->error : EIO));
	shared_set(&rule->corrupt_offset, inj->corrupt_offset);
	__atomic_store_n(&rule->word, word, __ATOMIC_RELEASE);
}

/* What waits would keep its channel, and that the bdev, for ever; and so
 * would what comes next. */
static void error_removing(struct bdev *b)
{
	static const struct bdev_injection none = {.fault = BDEV_FAULT_NONE};
	struct error_bdev *e = b->driver_data;
	unsigned int op;

	for (op = 0; op < BDEV_OP_COUNT; op++)
		set_rule(&e->rules[op], &none);
	release_post(take(&e->last), b, -ENODEV);
}

static void error_destroy(struct bdev *b)
{
	struct error_bdev *e = b->driver_data;

	vbdev_deinit(&e->v);
	free(e->last);
	free(e);
}

const struct bdev_driver bdev_error_driver = {
	.name = "error",
	.destroy = error_destroy,
	.submit = error_submit,
	.removing = error_removing,
	.channel_open = error_channel_open,
	.channel_close = error_channel_close,
};

int bdev_error_inject(struct bdev *b, const struct bdev_injection *inj)
{
	struct error_bdev *e = b->driver_data;
	unsigned int op;

	if (b->driver != &bdev_error_driver || inj->error > 0 ||
	    (inj->ops >> BDEV_OP_COUNT) || inj->fault > BDEV_FAULT_CORRUPT)
		return -EINVAL;
	/* That one asks bdev.c to do it otherwise: no failure. */
	if (b->removing || inj->error == -EOPNOTSUPP)
		return -EINVAL;
	for (op = 0; op < BDEV_OP_COUNT; op++) {
		if (inj->ops & 1u << op)
			set_rule(&e->rules[op], inj);
	}
	return 0;
}

int bdev_error_release(struct bdev *b, int result)
{
	struct release *rel;

	if (b->driver != &bdev_error_driver)
		return -EINVAL;
	rel = release_alloc(b->registry);
	if (!rel)
		return -ENOMEM;
	release_post(rel, b, result);
	return 0;
}

int bdev_error_create(struct bdev_registry *reg, const uint8_t *uuid,
		      const char *base, struct bdev **ret, const char **ret_why)
{
	struct error_bdev *e = calloc(1, sizeof(*e));
	char name[BDEV_NAME_MAX + 16];
	struct bdev_common c = {.name = name, .uuid = uuid};
	int r = -ENOMEM;

	if (e)
		e->last = release_alloc(reg);
	if (!e || !e->last) {
		if (ret_why)
			*ret_why = "out of memory";
		goto fail;
	}
	snprintf(name, sizeof(name), "EE_%s", base);
	r = vbdev_init(&e->v, reg, &bdev_error_driver, &c, base, e, ret_why);
	if (r)
		goto fail;
	e->v.bdev->product = "Error Injection Disk";
	/* So that a flush comes here to fail, be it needed or not. */
	e->v.bdev->caps |= BDEV_CAP_FLUSH;
	bdev_register(e->v.bdev);
	*ret = e->v.bdev;
	return 0;
fail:
	if (e)
		free(e->last);
	free(e);
	return r;
}
