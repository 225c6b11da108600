/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The least that a random read of a file costs through io_uring: reads, and
 * nothing else. Together with the floor of the network it is what a target that
 * exports the file can be measured against.
 *
 *   filefloor FILE DEPTH SECONDS [--fixed] [--cached]
 *
 * --fixed: registered file and buffers; --cached: without O_DIRECT. Prints JSON.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define IO_BYTES  4096u
#define DEPTH_MAX 1024u
#define REAP	  64u
/* Of the measurement: the time before it. */
#define WARM_UP 0.2

struct reader {
	struct io_uring ring;
	int fd;
	bool fixed;
	uint64_t blocks, random;
	uint8_t *buffers;
	uint64_t ios;
};

static _Noreturn void die(const char *what, int error)
{
	fprintf(stderr, "filefloor: %s: %s\n", what, strerror(error));
	exit(1);
}

static double now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu(void)
{
	struct rusage r;

	getrusage(RUSAGE_SELF, &r);
	return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
	       (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

static void open_file(struct reader *r, const char *path, bool cached)
{
	struct stat st;

	r->fd = open(path, O_RDONLY | (cached ? 0 : O_DIRECT));
	if (r->fd < 0 || fstat(r->fd, &st))
		die(path, errno);
	r->blocks = (uint64_t)st.st_size / IO_BYTES;
	if (r->blocks == 0)
		die(path, EINVAL);
}

static void open_ring(struct reader *r, uint32_t depth)
{
	struct io_uring_params p = {
		.flags =
			IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
	};
	struct iovec iov;
	int rc;

	rc = io_uring_queue_init_params(DEPTH_MAX, &r->ring, &p);
	if (rc)
		die("io_uring", -rc);
	(void)io_uring_register_ring_fd(&r->ring);
	r->buffers = aligned_alloc(IO_BYTES, (size_t)depth * IO_BYTES);
	if (!r->buffers)
		die("buffers", ENOMEM);
	memset(r->buffers, 0, (size_t)depth * IO_BYTES);
	iov = (struct iovec){r->buffers, (size_t)depth * IO_BYTES};
	if (!r->fixed)
		return;
	rc = io_uring_register_buffers(&r->ring, &iov, 1);
	if (!rc)
		rc = io_uring_register_files(&r->ring, &r->fd, 1);
	if (rc)
		die("registration", -rc);
}

static void submit(struct reader *r, uint64_t slot)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&r->ring);
	uint8_t *buf = r->buffers + slot * IO_BYTES;
	uint64_t offset;

	r->random ^= r->random << 13;
	r->random ^= r->random >> 7;
	r->random ^= r->random << 17;
	offset = r->random % r->blocks * IO_BYTES;
	if (r->fixed) {
		io_uring_prep_read_fixed(sqe, 0, buf, IO_BYTES, offset, 0);
		sqe->flags |= IOSQE_FIXED_FILE;
	} else {
		io_uring_prep_read(sqe, r->fd, buf, IO_BYTES, offset);
	}
	io_uring_sqe_set_data64(sqe, slot);
}

static void run(struct reader *r, double seconds)
{
	double end = now(CLOCK_MONOTONIC) + seconds;

	while (now(CLOCK_MONOTONIC) < end) {
		struct io_uring_cqe *cqes[REAP];
		unsigned int n;

		(void)io_uring_submit_and_wait(&r->ring, 1);
		while ((n = io_uring_peek_batch_cqe(&r->ring, cqes, REAP))) {
			uint64_t slots[REAP];

			for (unsigned int i = 0; i < n; i++) {
				if (cqes[i]->res != (int)IO_BYTES)
					die("read", EIO);
				slots[i] = cqes[i]->user_data;
			}
			io_uring_cq_advance(&r->ring, n);
			r->ios += n;
			for (unsigned int i = 0; i < n; i++)
				submit(r, slots[i]);
			if (io_uring_sq_ready(&r->ring) >= REAP)
				break;
		}
	}
}

int main(int argc, char **argv)
{
	struct reader r = {.random = 0x9e3779b97f4a7c15u};
	double began, used, seconds;
	bool cached = false;
	uint32_t depth;

	for (int i = 4; i < argc; i++) {
		r.fixed |= !strcmp(argv[i], "--fixed");
		cached |= !strcmp(argv[i], "--cached");
	}
	depth = argc < 4 ? 0 : (uint32_t)atoi(argv[2]);
	if (depth < 1 || depth > DEPTH_MAX) {
		fprintf(stderr, "usage: filefloor FILE DEPTH SECONDS "
				"[--fixed] [--cached]\n");
		return 2;
	}
	seconds = atof(argv[3]);
	open_file(&r, argv[1], cached);
	open_ring(&r, depth);
	for (uint32_t i = 0; i < depth; i++)
		submit(&r, i);
	run(&r, seconds * WARM_UP);
	r.ios = 0;
	used = cpu();
	began = now(CLOCK_MONOTONIC);
	run(&r, seconds);
	used = cpu() - used;
	printf("{\"iops\": %.0f, \"us_per_io\": %.3f}\n",
	       (double)r.ios / (now(CLOCK_MONOTONIC) - began),
	       used / (double)(r.ios ? r.ios : 1) * 1e6);
	return 0;
}
