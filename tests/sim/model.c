/* SPDX-License-Identifier: BSD-3-Clause */
#include "model.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/macros.h"

#define CANDIDATES_MAX 128

void model_init(struct model *m, uint32_t nblocks, uint64_t salt)
{
	memset(m, 0, sizeof(*m));
	m->nblocks = nblocks;
	m->heads = calloc(nblocks, sizeof(*m->heads));
	m->salt = salt;
	m->clock = 1;
	/* Node 0 is the end of a list; write 0 is the disk as it was. */
	m->nnodes = 1;
	m->nodes_cap = 1024;
	m->nodes = calloc(m->nodes_cap, sizeof(*m->nodes));
	m->writes_cap = 256;
	m->writes = calloc(m->writes_cap, sizeof(*m->writes));
	ASSERT(m->heads && m->nodes && m->writes);
	m->writes[0] =
		(struct model_write){.start = 1, .end = 1, .zeroes = true};
	m->nwrites = 1;
}

void model_deinit(struct model *m)
{
	free(m->heads);
	free(m->nodes);
	free(m->writes);
}

/* ------------------------------------------------------------------------
 * The bytes of a block: a function of the write and the place.
 */

static void block_bytes(const struct model *m, uint32_t write, uint32_t block,
			uint8_t *buf)
{
	uint64_t x = m->salt ^ ((uint64_t)write << 32 | block);
	uint64_t words[MODEL_UNIT / 8];

	if (m->writes[write].zeroes) {
		memset(buf, 0, MODEL_UNIT);
		return;
	}
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	x ^= x >> 31;
	for (uint64_t i = 0; i < ARRAY_LEN(words); i++)
		words[i] = (x + i) * 0x9e3779b97f4a7c15u;
	memcpy(buf, words, sizeof(words));
}

void model_fill(const struct model *m, uint32_t write, uint8_t *buf)
{
	const struct model_write *w = &m->writes[write];

	for (uint32_t i = 0; i < w->n; i++)
		block_bytes(m, write, w->lba + i, buf + (size_t)i * MODEL_UNIT);
}

/* ------------------------------------------------------------------------
 * Writes.
 */

static uint32_t node_new(struct model *m)
{
	uint32_t i = m->free_node;

	if (i) {
		m->free_node = m->nodes[i].next;
		return i;
	}
	if (m->nnodes == m->nodes_cap) {
		m->nodes_cap *= 2;
		m->nodes = realloc(m->nodes, m->nodes_cap * sizeof(*m->nodes));
		ASSERT(m->nodes);
	}
	return m->nnodes++;
}

static void block_add(struct model *m, uint32_t block, uint32_t write)
{
	uint32_t i = node_new(m);

	m->nodes[i] =
		(struct model_node){.write = write, .next = m->heads[block]};
	m->heads[block] = i;
}

static uint64_t oldest_read(const struct model *m)
{
	uint64_t oldest = UINT64_MAX;

	for (uint32_t i = 0; i < MODEL_READS_MAX; i++) {
		if (m->reads[i] && m->reads[i] < oldest)
			oldest = m->reads[i];
	}
	return oldest;
}

/* Forgets what no read that is under way can see any more. */
static void block_sweep(struct model *m, uint32_t block, uint64_t oldest)
{
	uint32_t *link = &m->heads[block];

	while (*link) {
		uint32_t i = *link;
		struct model_node *n = &m->nodes[i];

		if (!n->removed || n->removed > oldest) {
			link = &n->next;
			continue;
		}
		*link = n->next;
		n->next = m->free_node;
		m->free_node = i;
	}
}

uint32_t model_write_begin(struct model *m, uint32_t lba, uint32_t n,
			   bool zeroes)
{
	uint64_t oldest = oldest_read(m);
	uint32_t id;

	ASSERT(n <= m->nblocks && lba <= m->nblocks - n);
	if (m->nwrites == m->writes_cap) {
		m->writes_cap *= 2;
		m->writes =
			realloc(m->writes, m->writes_cap * sizeof(*m->writes));
		ASSERT(m->writes);
	}
	id = m->nwrites++;
	m->writes[id] = (struct model_write){
		.start = ++m->clock, .lba = lba, .n = n, .zeroes = zeroes};
	for (uint32_t i = 0; i < n; i++) {
		if (!m->heads[lba + i])
			block_add(m, lba + i, 0);
		block_sweep(m, lba + i, oldest);
		block_add(m, lba + i, id);
	}
	return id;
}

void model_write_end(struct model *m, uint32_t write, bool good)
{
	struct model_write *w = &m->writes[write];

	ASSERT(w->end == 0);
	w->end = ++m->clock;
	if (!good)
		return;
	for (uint32_t b = w->lba; b < w->lba + w->n; b++) {
		for (uint32_t i = m->heads[b]; i; i = m->nodes[i].next) {
			struct model_node *n = &m->nodes[i];
			uint64_t end = m->writes[n->write].end;

			/* Over before this one began: overwritten. */
			if (n->write != write && !n->removed && end &&
			    end < w->start)
				n->removed = m->clock;
		}
	}
}

/* ------------------------------------------------------------------------
 * Reads.
 */

uint32_t model_read_begin(struct model *m)
{
	for (uint32_t i = 0; i < MODEL_READS_MAX; i++) {
		if (!m->reads[i]) {
			m->reads[i] = ++m->clock;
			return i;
		}
	}
	ASSERT(!"too many reads");
	return 0;
}

void model_read_end(struct model *m, uint32_t read)
{
	ASSERT(m->reads[read]);
	m->reads[read] = 0;
}

static uint32_t candidates(const struct model *m, uint32_t block,
			   uint64_t start, uint32_t *ids)
{
	uint32_t n = 0;

	if (!m->heads[block])
		ids[n++] = 0;
	for (uint32_t i = m->heads[block]; i; i = m->nodes[i].next) {
		const struct model_node *node = &m->nodes[i];

		if (node->removed && node->removed <= start)
			continue;
		ASSERT(n < CANDIDATES_MAX);
		ids[n++] = node->write;
	}
	return n;
}

/* Is every byte that of some candidate? */
static bool mixed(const struct model *m, uint32_t block, const uint32_t *ids,
		  uint32_t n, const uint8_t *buf)
{
	bool ok[MODEL_UNIT] = {false};
	uint8_t want[MODEL_UNIT];

	for (uint32_t c = 0; c < n; c++) {
		block_bytes(m, ids[c], block, want);
		for (uint32_t i = 0; i < MODEL_UNIT; i++)
			ok[i] |= want[i] == buf[i];
	}
	return !memchr(ok, false, sizeof(ok));
}

bool model_read_check(struct model *m, uint32_t read, uint32_t lba, uint32_t n,
		      const uint8_t *buf, uint32_t *ret_bad)
{
	uint32_t ids[CANDIDATES_MAX];
	uint8_t want[MODEL_UNIT];

	for (uint32_t i = 0; i < n; i++, buf += MODEL_UNIT) {
		uint32_t count = candidates(m, lba + i, m->reads[read], ids);

		block_bytes(m, ids[0], lba + i, want);
		if (memcmp(want, buf, MODEL_UNIT) == 0)
			continue;
		if (count > 1 && mixed(m, lba + i, ids, count, buf))
			continue;
		*ret_bad = lba + i;
		return false;
	}
	return true;
}
