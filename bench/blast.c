/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * blast: an iSCSI load generator that is cheaper than any target, so that the target is the bottleneck.
 *
 * Raw PDUs over epoll, one thread. Large Data-In payloads are discarded in the kernel (MSG_TRUNC).
 * It measures IOPS, bandwidth, a latency histogram, its own CPU and, given --pid, the target's CPU.
 *
 *   blast -p PORT -t IQN [-H 127.0.0.1] [-l LUN] [-w randread|randwrite|read|write|mix]
 *         [-b BYTES] [-q DEPTH] [-c CONNECTIONS] [-s SECONDS] [--pid TARGET_PID] [--cpu N] [--digest]
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define MAXQ 1024
#define RXBUF (1u << 20)
#define TXBUF (8u << 20)

enum { OP_NOP_OUT = 0x00, OP_CMD = 0x01, OP_LOGIN = 0x03, OP_DOUT = 0x05, OP_LOGOUT = 0x06,
       OP_NOP_IN = 0x20, OP_RSP = 0x21, OP_LOGIN_RSP = 0x23, OP_DIN = 0x25, OP_R2T = 0x31, OP_REJECT = 0x3f };

struct conn {
	int fd;
	uint32_t cmdsn, expstatsn;
	uint32_t maxcmdsn;
	uint32_t tgt_mrdsl, first_burst, max_burst;
	bool imm, initial_r2t;
	uint8_t *rx; size_t rx_len;
	size_t skip;             /* payload bytes still to be dropped */
	uint8_t *tx; size_t tx_off, tx_len;
	uint32_t free_tags[MAXQ]; int nfree;
	uint64_t t0[MAXQ];
	bool iswrite[MAXQ];
	uint64_t next_lba;
	bool want_out;
};

static struct { const char *host; int port; const char *iqn; int lun; char wl[16]; uint32_t bs; int qd, nc; double secs; int pid, cpu; bool verbose; } o =
	{ "127.0.0.1", 3260, NULL, 0, "randread", 4096, 32, 1, 5, 0, -1, false };
static uint64_t nblocks; static uint32_t blksz;
static uint64_t hist[64 * 32];
static uint64_t ios, bytes, errs;
static bool stop_issue;

static uint64_t ns(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1000000000ull + t.tv_nsec; }
static void die(const char *m) { fprintf(stderr, "blast: %s (%s)\n", m, strerror(errno)); exit(1); }
static uint32_t rd32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return be32toh(v); }
static void wr32(uint8_t *p, uint32_t v) { v = htobe32(v); memcpy(p, &v, 4); }
static void wr64(uint8_t *p, uint64_t v) { v = htobe64(v); memcpy(p, &v, 8); }
static uint32_t dsl(const uint8_t *h) { return h[5] << 16 | h[6] << 8 | h[7]; }
static uint64_t rng_s = 0x9e3779b97f4a7c15ull;
static uint64_t rng(void) { rng_s ^= rng_s << 13; rng_s ^= rng_s >> 7; rng_s ^= rng_s << 17; return rng_s; }

static void rec(uint64_t d)
{
	if (!d) d = 1;
	int l = 63 - __builtin_clzll(d);
	int sub = l >= 5 ? (d >> (l - 5)) & 31 : 0;
	hist[l * 32 + sub]++;
}
static double pct(double p)
{
	uint64_t tot = 0, c = 0;
	for (size_t i = 0; i < sizeof hist / sizeof *hist; i++) tot += hist[i];
	for (size_t i = 0; i < sizeof hist / sizeof *hist; i++) {
		c += hist[i];
		if (tot && c >= p * tot) { int l = i / 32, s = i % 32; return (double)((1ull << l) + ((uint64_t)s << (l >= 5 ? l - 5 : 0))) / 1000.0; }
	}
	return 0;
}

static void sendall(int fd, const void *b, size_t n)
{
	const char *p = b;
	while (n) { ssize_t r = send(fd, p, n, MSG_NOSIGNAL); if (r < 0) { if (errno == EINTR) continue; die("send"); } p += r; n -= r; }
}
static void recvall(int fd, void *b, size_t n)
{
	char *p = b;
	while (n) { ssize_t r = recv(fd, p, n, 0); if (r <= 0) { if (r < 0 && errno == EINTR) continue; die("connection closed by target"); } p += r; n -= r; }
}

static void key(char *buf, size_t len, const char *k, char *out, size_t outsz)
{
	size_t i = 0, kl = strlen(k);
	while (i < len) {
		if (!strncmp(buf + i, k, kl) && buf[i + kl] == '=') { snprintf(out, outsz, "%s", buf + i + kl + 1); return; }
		i += strnlen(buf + i, len - i) + 1;
	}
}

static void login(struct conn *c, int idx)
{
	uint8_t h[48]; char text[2048]; size_t n = 0;
#define K(...) n += snprintf(text + n, sizeof text - n, __VA_ARGS__) + 1
	K("InitiatorName=iqn.2026-11.test.blast:c%d", idx);
	K("TargetName=%s", o.iqn);
	K("SessionType=Normal");
	int stage = 0;
	c->fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(o.port) };
	inet_pton(AF_INET, o.host, &a.sin_addr);
	if (connect(c->fd, (void *)&a, sizeof a)) die("connect");
	int one = 1; setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	c->tgt_mrdsl = 8192; c->first_burst = 65536; c->max_burst = 262144; c->imm = true; c->initial_r2t = true;
	K("AuthMethod=None");
	for (int round = 0; round < 20; round++) {
		memset(h, 0, 48);
		h[0] = 0x40 | OP_LOGIN;
		h[1] = 0x80 | (stage << 2) | (stage == 0 ? 1 : 3);
		h[5] = n >> 16; h[6] = n >> 8; h[7] = n;
		h[8] = 0x80; wr32(h + 8, 0x80000000u | (idx << 8)); h[12] = idx >> 8; h[13] = idx + 1;
		wr32(h + 16, 1); wr32(h + 24, 1); wr32(h + 28, c->expstatsn);
		sendall(c->fd, h, 48);
		while (n % 4) text[n++] = 0;
		sendall(c->fd, text, n);
		recvall(c->fd, h, 48);
		if ((h[0] & 0x3f) != OP_LOGIN_RSP) die("not a login response");
		size_t dl = dsl(h); char rb[16384] = { 0 };
		recvall(c->fd, rb, (dl + 3) & ~3u);
		if (h[36]) { fprintf(stderr, "blast: login refused %02x%02x\n", h[36], h[37]); exit(1); }
		c->expstatsn = rd32(h + 24) + 1; c->cmdsn = rd32(h + 28); c->maxcmdsn = rd32(h + 32);
		char v[64] = "";
		key(rb, dl, "MaxRecvDataSegmentLength", v, sizeof v); if (*v) c->tgt_mrdsl = strtoul(v, 0, 0);
		*v = 0; key(rb, dl, "FirstBurstLength", v, sizeof v); if (*v) c->first_burst = strtoul(v, 0, 0);
		*v = 0; key(rb, dl, "MaxBurstLength", v, sizeof v); if (*v) c->max_burst = strtoul(v, 0, 0);
		*v = 0; key(rb, dl, "ImmediateData", v, sizeof v); if (*v) c->imm = !strcmp(v, "Yes");
		*v = 0; key(rb, dl, "InitialR2T", v, sizeof v); if (*v) c->initial_r2t = !strcmp(v, "Yes");
		bool t = h[1] & 0x80; int nsg = h[1] & 3;
		n = 0;
		if (t && nsg == 3) return;
		if (t && nsg == 1) {
			stage = 1;
			K("HeaderDigest=None"); K("DataDigest=None"); K("MaxRecvDataSegmentLength=262144");
			K("InitialR2T=No"); K("ImmediateData=Yes"); K("MaxBurstLength=1048576"); K("FirstBurstLength=262144");
			K("MaxOutstandingR2T=1"); K("MaxConnections=1"); K("DataPDUInOrder=Yes"); K("DataSequenceInOrder=Yes"); K("ErrorRecoveryLevel=0"); K("DefaultTime2Wait=2"); K("DefaultTime2Retain=0");
		}
	}
	die("login did not finish");
}

static uint8_t *txroom(struct conn *c, size_t n)
{
	if (c->tx_off == c->tx_len) c->tx_off = c->tx_len = 0;
	if (c->tx_len + n > TXBUF) { memmove(c->tx, c->tx + c->tx_off, c->tx_len - c->tx_off); c->tx_len -= c->tx_off; c->tx_off = 0; }
	if (c->tx_len + n > TXBUF) die("tx overflow");
	uint8_t *p = c->tx + c->tx_len; c->tx_len += n; return p;
}

static void cdb_rw(uint8_t *h, bool w, uint64_t lba, uint32_t nb)
{
	h[32] = w ? 0x8a : 0x88; wr64(h + 34, lba); wr32(h + 42, nb);
}

static void issue(struct conn *c)
{
	uint32_t nb = o.bs / blksz;
	while (c->nfree && !stop_issue && (int32_t)(c->maxcmdsn - c->cmdsn) >= 0) {
		uint32_t tag = c->free_tags[--c->nfree];
		bool w = !strcmp(o.wl, "randwrite") || !strcmp(o.wl, "write") || (!strcmp(o.wl, "mix") && rng() % 10 < 3);
		bool seq = !strcmp(o.wl, "read") || !strcmp(o.wl, "write");
		uint64_t span = nblocks / nb, lba;
		if (seq) { lba = c->next_lba; c->next_lba = (c->next_lba + nb) % (span * nb); }
		else lba = rng() % span * nb;
		uint32_t immlen = 0;
		if (w && c->imm) { immlen = o.bs; if (immlen > c->first_burst) immlen = c->first_burst; if (immlen > c->tgt_mrdsl) immlen = c->tgt_mrdsl; }
		uint8_t *h = txroom(c, 48 + immlen);
		memset(h, 0, 48);
		h[0] = OP_CMD;
		h[1] = (w ? 0x20 : 0x40) | 1;
		bool more_unsol = w && !c->initial_r2t && immlen < o.bs && immlen < c->first_burst;
		if (!more_unsol) h[1] |= 0x80;
		h[5] = immlen >> 16; h[6] = immlen >> 8; h[7] = immlen;
		h[9] = o.lun;
		wr32(h + 16, tag); wr32(h + 20, o.bs); wr32(h + 24, c->cmdsn++); wr32(h + 28, c->expstatsn);
		cdb_rw(h, w, lba, nb);
		c->t0[tag] = ns(); c->iswrite[tag] = w;
		uint32_t off = immlen, dsn = 0, lim = o.bs < c->first_burst ? o.bs : c->first_burst;
		while (more_unsol && off < lim) {
			uint32_t l = lim - off; if (l > c->tgt_mrdsl) l = c->tgt_mrdsl;
			uint8_t *d = txroom(c, 48 + l); memset(d, 0, 48);
			d[0] = OP_DOUT; d[1] = off + l == lim ? 0x80 : 0; d[5] = l >> 16; d[6] = l >> 8; d[7] = l; d[9] = o.lun;
			wr32(d + 16, tag); wr32(d + 20, 0xffffffff); wr32(d + 28, c->expstatsn); wr32(d + 36, dsn++); wr32(d + 40, off);
			off += l;
		}
	}
}

static void flush(struct conn *c, int ep, int i)
{
	while (c->tx_off < c->tx_len) {
		ssize_t r = send(c->fd, c->tx + c->tx_off, c->tx_len - c->tx_off, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (r < 0) { if (errno == EAGAIN) break; die("send"); }
		c->tx_off += r;
	}
	bool want = c->tx_off < c->tx_len;
	if (want != c->want_out) {
		struct epoll_event e = { .events = EPOLLIN | (want ? EPOLLOUT : 0), .data.u32 = i };
		epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e); c->want_out = want;
	}
}

static void complete(struct conn *c, uint32_t tag, uint8_t status)
{
	if (tag >= MAXQ) die("bad tag");
	if (status) errs++;
	rec(ns() - c->t0[tag]);
	ios++; bytes += o.bs;
	c->free_tags[c->nfree++] = tag;
}

static void window(struct conn *c, const uint8_t *h) { uint32_t m = rd32(h + 32); if ((int32_t)(m - c->maxcmdsn) > 0) c->maxcmdsn = m; }

static void r2t(struct conn *c, const uint8_t *h)
{
	uint32_t tag = rd32(h + 16), ttt = rd32(h + 20), off = rd32(h + 40), len = rd32(h + 44), dsn = 0;
	while (len) {
		uint32_t l = len < c->tgt_mrdsl ? len : c->tgt_mrdsl;
		uint8_t *d = txroom(c, 48 + l); memset(d, 0, 48);
		d[0] = OP_DOUT; d[1] = l == len ? 0x80 : 0; d[5] = l >> 16; d[6] = l >> 8; d[7] = l; d[9] = o.lun;
		wr32(d + 16, tag); wr32(d + 20, ttt); wr32(d + 28, c->expstatsn); wr32(d + 36, dsn++); wr32(d + 40, off);
		off += l; len -= l;
	}
}

static void on_pdu(struct conn *c, const uint8_t *h)
{
	switch (h[0] & 0x3f) {
	case OP_DIN: window(c, h); if (h[1] & 1) { c->expstatsn = rd32(h + 24) + 1; complete(c, rd32(h + 16), h[3]); } break;
	case OP_RSP: window(c, h); c->expstatsn = rd32(h + 24) + 1; complete(c, rd32(h + 16), h[3]); break;
	case OP_R2T: window(c, h); r2t(c, h); break;
	case OP_NOP_IN: window(c, h);
		if (rd32(h + 20) != 0xffffffff) { uint8_t *n = txroom(c, 48); memset(n, 0, 48); n[0] = 0x40 | OP_NOP_OUT; n[1] = 0x80; memcpy(n + 8, h + 8, 8); wr32(n + 16, 0xffffffff); memcpy(n + 20, h + 20, 4); wr32(n + 24, c->cmdsn); wr32(n + 28, c->expstatsn); }
		else c->expstatsn = rd32(h + 24) + (rd32(h + 16) != 0xffffffff);
		break;
	default: fprintf(stderr, "blast: unexpected opcode %02x\n", h[0]); exit(1);
	}
}

static void rx(struct conn *c)
{
	for (;;) {
		if (c->skip >= 32768) {
			ssize_t r = recv(c->fd, NULL, c->skip, MSG_TRUNC | MSG_DONTWAIT);
			if (r < 0) { if (errno == EAGAIN) return; die("recv"); }
			if (!r) die("closed");
			c->skip -= r; if (c->skip) continue;
		}
		ssize_t r = recv(c->fd, c->rx + c->rx_len, RXBUF - c->rx_len, MSG_DONTWAIT);
		if (r < 0) { if (errno == EAGAIN) return; die("recv"); }
		if (!r) die("connection closed by target");
		c->rx_len += r;
		size_t p = 0;
		for (;;) {
			if (c->skip) { size_t k = c->rx_len - p; if (k > c->skip) k = c->skip; p += k; c->skip -= k; if (c->skip) break; }
			if (c->rx_len - p < 48) break;
			uint8_t *h = c->rx + p;
			c->skip = ((dsl(h) + 3) & ~3u) + h[4] * 4;
			p += 48;
			on_pdu(c, h);
		}
		memmove(c->rx, c->rx + p, c->rx_len - p); c->rx_len -= p;
		if ((size_t)r < RXBUF / 4 && c->skip < 32768) return;
	}
}

static void capacity(struct conn *c)
{
	uint8_t h[48] = { 0 }, d[64];
	h[0] = OP_CMD; h[1] = 0xc1; h[9] = o.lun; wr32(h + 20, 32); wr32(h + 16, 7); 
	for (int i = 0; i < 8; i++) {
		memset(h + 32, 0, 16);
		wr32(h + 24, c->cmdsn++); wr32(h + 28, c->expstatsn);
		h[32] = 0x9e; h[33] = 0x10; h[45] = 32;
		sendall(c->fd, h, 48);
		bool done = false, ok = false;
		while (!done) {
			uint8_t r[48]; static uint8_t b[65536]; recvall(c->fd, r, 48); size_t n = (dsl(r) + 3) & ~3u; recvall(c->fd, b, n);
			window(c, r);
			if ((r[0] & 0x3f) == OP_DIN) { memcpy(d, b, n < 32 ? n : 32); if (r[1] & 1) { done = true; ok = r[3] == 0; c->expstatsn = rd32(r + 24) + 1; } else ok = true; }
			else if ((r[0] & 0x3f) == OP_RSP) { done = true; ok = r[3] == 0; c->expstatsn = rd32(r + 24) + 1; }
			else if ((r[0] & 0x3f) == OP_NOP_IN) { }
			else die("unexpected reply to READ CAPACITY");
		}
		if (ok) { uint64_t l; memcpy(&l, d, 8); nblocks = be64toh(l) + 1; blksz = rd32(d + 8); return; }
	}
	die("READ CAPACITY(16) failed");
}

static double pid_cpu(int pid)
{
	char p[64]; snprintf(p, sizeof p, "/proc/%d/task", pid);
	DIR *d = opendir(p); if (!d) return 0; struct dirent *e; double s = 0;
	while ((e = readdir(d))) { if (e->d_name[0] == '.') continue; char f[400]; snprintf(f, sizeof f, "%s/%s/schedstat", p, e->d_name); FILE *q = fopen(f, "r"); unsigned long long v; if (q) { if (fscanf(q, "%llu", &v) == 1) s += v / 1e9; fclose(q); } }
	closedir(d); return s;
}
static double self_cpu(void) { struct rusage r; getrusage(RUSAGE_SELF, &r); return r.ru_utime.tv_sec + r.ru_stime.tv_sec + (r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6; }

int main(int argc, char **argv)
{
	static struct option lo[] = { { "pid", 1, 0, 1 }, { "cpu", 1, 0, 2 }, { 0 } };
	int k;
	while ((k = getopt_long(argc, argv, "H:p:t:l:w:b:q:c:s:v", lo, 0)) != -1) switch (k) {
	case 'H': o.host = optarg; break; case 'p': o.port = atoi(optarg); break; case 't': o.iqn = optarg; break; case 'l': o.lun = atoi(optarg); break;
	case 'w': snprintf(o.wl, sizeof o.wl, "%s", optarg); break; case 'b': o.bs = atoi(optarg); break; case 'q': o.qd = atoi(optarg); break;
	case 'c': o.nc = atoi(optarg); break; case 's': o.secs = atof(optarg); break; case 'v': o.verbose = true; break; case 1: o.pid = atoi(optarg); break; case 2: o.cpu = atoi(optarg); break;
	default: return 2; }
	if (!o.iqn || o.qd > MAXQ || o.qd < 1) { fprintf(stderr, "blast: -t IQN is required; 1 <= -q <= %d\n", MAXQ); return 2; }
	if (o.cpu >= 0) { cpu_set_t s; CPU_ZERO(&s); CPU_SET(o.cpu, &s); sched_setaffinity(0, sizeof s, &s); }
	struct conn *cs = calloc(o.nc, sizeof *cs);
	int ep = epoll_create1(0);
	for (int i = 0; i < o.nc; i++) {
		struct conn *c = &cs[i];
		login(c, i); capacity(c);
		c->rx = malloc(RXBUF); c->tx = calloc(1, TXBUF);
		for (int t = 0; t < o.qd; t++) c->free_tags[c->nfree++] = t;
		c->next_lba = (nblocks / o.nc * i) / (o.bs / blksz) * (o.bs / blksz);
		struct epoll_event e = { .events = EPOLLIN, .data.u32 = i };
		epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e);
	}
	if (o.bs % blksz) die("block size does not divide -b");
	for (int phase = 0; phase < 2; phase++) {           /* phase 0 warms up for a fifth of the time */
		uint64_t start = ns(), end = start + (uint64_t)((phase ? o.secs : o.secs / 5) * 1e9);
		ios = bytes = errs = 0; memset(hist, 0, sizeof hist);
		double c0 = self_cpu(), p0 = o.pid ? pid_cpu(o.pid) : 0;
		for (int i = 0; i < o.nc; i++) { issue(&cs[i]); flush(&cs[i], ep, i); }
		while (ns() < end) {
			struct epoll_event ev[64]; int n = epoll_wait(ep, ev, 64, 100);
			for (int j = 0; j < n; j++) { struct conn *c = &cs[ev[j].data.u32]; if (ev[j].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) rx(c); issue(c); flush(c, ep, ev[j].data.u32); }
		}
		double el = (ns() - start) / 1e9;
		if (phase) {
			double sc = self_cpu() - c0, pc = o.pid ? pid_cpu(o.pid) - p0 : 0;
			printf("%-9s bs=%u qd=%d conns=%d: %.0f IOPS %.1f MiB/s lat_us p50=%.0f p99=%.0f p99.9=%.0f errs=%lu load_cpu=%.0f%%", o.wl, o.bs, o.qd, o.nc, ios / el, bytes / el / 1048576, pct(.5), pct(.99), pct(.999), errs, sc / el * 100);
			if (o.pid) printf(" target_cpu=%.0f%% target_us_per_io=%.2f", pc / el * 100, ios ? pc / ios * 1e6 : 0);
			printf("\n");
		}
	}
	return errs ? 3 : 0;
}
