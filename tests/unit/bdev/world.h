/* SPDX-License-Identifier: BSD-3-Clause */
/* A simulated world with a registry, for the tests of bdevs. */
#pragma once

#include "../unit.h"

#include "bdev/bdev.h"
#include "reactor/reactor_sim.h"

#define WORLD_LIMIT_NS (100ull * 1000 * 1000 * 1000)

struct world {
	struct reactors *set;
	struct bdev_registry *reg;
};

struct world world_create(const struct sim_options *opt);
/* Removes every bdev first. */
void world_destroy(struct world *w);
/* Until nothing is left to do. */
void world_settle(struct world *w);
/* fn(arg) on that reactor, from its loop, and until nothing is left to do. */
void world_on(struct world *w, uint32_t index, void (*fn)(void *), void *arg);
struct bdev_channel *world_channel(struct world *w, struct bdev *b,
				   uint32_t index);

/* Submits and turns the world until it is done; the result. */
int world_io(struct world *w, struct bdev_channel *ch, struct bdev_io *io);
/* The same in one call. @buf NULL: no data. */
int world_rw(struct world *w, struct bdev_channel *ch, enum bdev_op op,
	     uint64_t offset, void *buf, uint64_t len);

/* A file of @size bytes that is gone when the test ends: @path gets its name
 * (64 bytes). In memory, or on the disk of the build. */
int world_memfd(uint64_t size, char *path);
int world_tmpfile(uint64_t size, char *path);

/*
 * @rounds random operations against a model in memory, up to 16 at a time,
 * from all reactors, with iovecs cut at multiples of @cut bytes. @fails: some
 * may fail; what they meant to change is then unknown. Checks all of it at the
 * end. The device is small (at most 4 MiB).
 */
void world_model_test(struct world *w, struct bdev *b, uint32_t rounds,
		      uint32_t cut, bool fails);
