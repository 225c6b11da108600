/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a disk may hold. A block is a register: a read may give the newest write
 * that ended before it began, or any that ran at the same time; and where
 * several ran at once, a mix of them (no atomicity is promised). Nothing else.
 *
 * The unit is 512 bytes, whatever the block size of the device.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODEL_UNIT	512u
#define MODEL_READS_MAX 256

struct model_write {
	uint64_t start, end; /* end 0: under way */
	uint32_t lba, n;
	bool zeroes; /* not a pattern */
};

/* One of the writes that a block may hold. */
struct model_node {
	uint32_t write;
	uint32_t next;	  /* 0: none */
	uint64_t removed; /* when it became impossible; 0: it is not */
};

struct model {
	uint32_t nblocks;
	uint32_t *heads; /* [block] index of a node; 0: zeroes */
	struct model_node *nodes;
	uint32_t nnodes, nodes_cap, free_node;
	struct model_write *writes;
	uint32_t nwrites, writes_cap;
	uint64_t clock;
	uint64_t reads[MODEL_READS_MAX]; /* start of those under way; 0: none */
	uint64_t salt;
};

void model_init(struct model *m, uint32_t nblocks, uint64_t salt);
void model_deinit(struct model *m);

/* A number for the write, whose bytes model_fill() makes. */
uint32_t model_write_begin(struct model *m, uint32_t lba, uint32_t n,
			   bool zeroes);
void model_fill(const struct model *m, uint32_t write, uint8_t *buf);
/* @good: it has taken place. Else it may have, in parts, but is over. */
void model_write_end(struct model *m, uint32_t write, bool good);

/* A slot for the read. */
uint32_t model_read_begin(struct model *m);
/* May a read that began so give this? False: *ret_bad is the block. */
bool model_read_check(struct model *m, uint32_t read, uint32_t lba, uint32_t n,
		      const uint8_t *buf, uint32_t *ret_bad);
void model_read_end(struct model *m, uint32_t read);
