/* SPDX-License-Identifier: BSD-3-Clause */
#include "reactor/uring_priv.h"

#include <limits.h>

/* The longest transfer of one system call (MAX_RW_COUNT), also of 64 bits. */
#define RW_BYTES_MAX 0x7ffff000u

void uring_readv(struct reactor *r, struct op *op, int fd,
		 const struct iovec *iov, unsigned int iovcnt,
		 uint64_t offset_bytes)
{
	struct io_uring_sqe *sqe = uring_sqe(uring_of(r));

	if (iovcnt == 1 && iov->iov_len <= RW_BYTES_MAX)
		io_uring_prep_read(sqe, fd, iov->iov_base,
				   (unsigned int)iov->iov_len, offset_bytes);
	else
		io_uring_prep_readv(sqe, fd, iov,
				    MIN(iovcnt, (unsigned int)IOV_MAX),
				    offset_bytes);
	uring_tag(sqe, op, TAG_FILE);
}

void uring_writev(struct reactor *r, struct op *op, int fd,
		  const struct iovec *iov, unsigned int iovcnt,
		  uint64_t offset_bytes, int rwf)
{
	struct io_uring_sqe *sqe = uring_sqe(uring_of(r));

	if (iovcnt == 1 && iov->iov_len <= RW_BYTES_MAX)
		io_uring_prep_write(sqe, fd, iov->iov_base,
				    (unsigned int)iov->iov_len, offset_bytes);
	else
		io_uring_prep_writev(sqe, fd, iov,
				     MIN(iovcnt, (unsigned int)IOV_MAX),
				     offset_bytes);
	sqe->rw_flags = rwf;
	uring_tag(sqe, op, TAG_FILE);
}

void uring_fdatasync(struct reactor *r, struct op *op, int fd)
{
	struct io_uring_sqe *sqe = uring_sqe(uring_of(r));

	io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
	uring_tag(sqe, op, TAG_FILE);
}

void uring_fallocate(struct reactor *r, struct op *op, int fd, int mode,
		     uint64_t offset_bytes, uint64_t len_bytes)
{
	struct io_uring_sqe *sqe = uring_sqe(uring_of(r));

	io_uring_prep_fallocate(sqe, fd, mode, (off_t)offset_bytes,
				(off_t)len_bytes);
	uring_tag(sqe, op, TAG_FILE);
}

void uring_offload(struct reactor *r, struct op *op, op_work_fn *work)
{
	offload_submit(&uring_set_of(r->set)->offload, r, op, work);
}
