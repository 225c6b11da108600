/* SPDX-License-Identifier: BSD-3-Clause */
#include "scsi/sense.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "scsi/cmd.h"
#include "scsi/lun.h"

#define RESPONSE_FIXED	    0x70
#define RESPONSE_DESCRIPTOR 0x72
#define SENSE_VALID	    0x80
#define SKSV		    0x80
#define SKS_IN_CDB	    0x40 /* C/D */
#define SKS_BIT_VALID	    0x08 /* BPV */

/* SPC-4, 4.5.2: a header and descriptors. */
static size_t build_descriptor(const struct sense *s, uint8_t *out)
{
	size_t len = 8;

	out[0] = RESPONSE_DESCRIPTOR;
	out[1] = s->key;
	store_be16(out + 2, s->asc);
	if (s->has_info) { /* 4.5.2.2 */
		out[len] = 0x00;
		out[len + 1] = 0x0a;
		out[len + 2] = SENSE_VALID;
		store_be64(out + len + 4, s->info);
		len += 12;
	}
	if (s->has_sks) { /* 4.5.2.4 */
		out[len] = 0x02;
		out[len + 1] = 0x06;
		memcpy(out + len + 4, s->sks, 3);
		len += 8;
	}
	out[7] = (uint8_t)(len - 8);
	return len;
}

size_t sense_build(const struct sense *s, bool descriptor, uint8_t *out)
{
	memset(out, 0, 32);
	if (descriptor)
		return build_descriptor(s, out);
	out[0] = RESPONSE_FIXED;
	out[2] = s->key;
	/* SPC-4, 4.5.3: VALID only when the field can hold it. */
	if (s->has_info && s->info <= UINT32_MAX) {
		out[0] |= SENSE_VALID;
		store_be32(out + 3, (uint32_t)s->info);
	}
	out[7] = SENSE_FIXED_LEN - 8;
	store_be16(out + 12, s->asc);
	if (s->has_sks)
		memcpy(out + 15, s->sks, 3);
	return SENSE_FIXED_LEN;
}

enum scsi_step sense_fail_with(struct scsi_task *t, const struct sense *s)
{
	bool descriptor = t->view != NULL && t->view->state.d_sense;

	t->status = SCSI_CHECK_CONDITION;
	t->data_in_len = 0;
	t->iovcnt = 0;
	t->sense_len = (uint16_t)sense_build(s, descriptor, t->sense);
	ASSERT(t->sense_len <= SCSI_SENSE_MAX);
	return SCSI_DONE;
}

enum scsi_step sense_fail(struct scsi_task *t, enum scsi_sense_key key,
			  uint16_t asc)
{
	return sense_fail_with(
		t, &(struct sense){.key = (uint8_t)key, .asc = asc});
}

static enum scsi_step bad_field(struct scsi_task *t, uint16_t asc, uint8_t sks0,
				uint16_t byte, uint8_t bit)
{
	struct sense s = {
		.key = KEY_ILLEGAL_REQUEST, .asc = asc, .has_sks = true};

	s.sks[0] = sks0;
	if (bit != SENSE_NO_BIT)
		s.sks[0] |= SKS_BIT_VALID | (bit & 7);
	store_be16(s.sks + 1, byte);
	return sense_fail_with(t, &s);
}

enum scsi_step sense_cdb(struct scsi_task *t, uint16_t byte, uint8_t bit)
{
	return bad_field(t, ASC_INVALID_FIELD_IN_CDB, SKSV | SKS_IN_CDB, byte,
			 bit);
}

enum scsi_step sense_param(struct scsi_task *t, uint16_t byte, uint8_t bit)
{
	return bad_field(t, ASC_INVALID_FIELD_IN_PARAM, SKSV, byte, bit);
}

enum scsi_step sense_lba(struct scsi_task *t, uint64_t lba)
{
	return sense_fail_with(t, &(struct sense){.key = KEY_ILLEGAL_REQUEST,
						  .asc = ASC_LBA_OUT_OF_RANGE,
						  .has_info = true,
						  .info = lba});
}

enum scsi_step sense_errno(struct scsi_task *t, int error)
{
	bool writes = t->io.op != BDEV_READ && t->io.op != BDEV_EXTENT;

	ASSERT(error < 0);
	switch (-error) {
	case ENODEV:
	case ENXIO:
		return sense_fail(t, KEY_NOT_READY, ASC_MEDIUM_NOT_PRESENT);
	case ENOSPC:
	case EDQUOT:
		return sense_fail(t, KEY_DATA_PROTECT, ASC_SPACE_ALLOC_FAILED);
	case EROFS:
	case EPERM:
	case EACCES:
		return sense_fail(t, KEY_DATA_PROTECT, ASC_WRITE_PROTECTED);
	case ENOMEM:
	case EAGAIN:
		t->status = SCSI_BUSY;
		t->data_in_len = 0;
		t->iovcnt = 0;
		return SCSI_DONE;
	default:
		return sense_fail(t, KEY_MEDIUM_ERROR,
				  writes ? ASC_WRITE_ERROR : ASC_READ_ERROR);
	}
}
