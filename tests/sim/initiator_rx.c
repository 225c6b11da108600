/* SPDX-License-Identifier: BSD-3-Clause */
/* The receiving half of the model: it believes nothing. */
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/macros.h"
#include "initiator_priv.h"

/* Fails the target unless @cond. */
#define EXPECT(cond, ...)                           \
	do {                                        \
		if (!(cond)) {                      \
			ini_fail(ini, __VA_ARGS__); \
			return;                     \
		}                                   \
	} while (0)

/* ------------------------------------------------------------------------
 * Sequence numbers (4.2.2).
 */

bool ini_take_window(struct initiator *ini, const uint8_t *bhs)
{
	uint32_t exp = load_be32(bhs + BHS_EXPCMDSN);
	uint32_t max = load_be32(bhs + BHS_MAXCMDSN);

	if (ini_ahead(max, exp - 1) < 0) {
		ini_fail(ini, "MaxCmdSN %u is less than ExpCmdSN-1 %u", max,
			 exp - 1);
	} else if (ini_ahead(exp, ini->cmdsn) > 0) {
		ini_fail(ini, "ExpCmdSN %u beyond what was sent (%u)", exp,
			 ini->cmdsn);
	} else if (ini_ahead(exp, ini->expcmdsn) < 0) {
		ini_fail(ini, "ExpCmdSN went back from %u to %u", ini->expcmdsn,
			 exp);
	} else if (ini_ahead(max, ini->maxcmdsn) < 0) {
		ini_fail(ini, "MaxCmdSN went back from %u to %u", ini->maxcmdsn,
			 max);
	} else {
		ini->expcmdsn = exp;
		ini->maxcmdsn = max;
		return true;
	}
	return false;
}

bool ini_take_statsn(struct initiator *ini, const uint8_t *bhs)
{
	uint32_t statsn = load_be32(bhs + BHS_STATSN);

	if (statsn != ini->expstatsn) {
		ini_fail(ini, "StatSN %u where %u was due, opcode 0x%02x",
			 statsn, ini->expstatsn, bhs[BHS_OPCODE]);
		return false;
	}
	ini->expstatsn++;
	return true;
}

static struct ini_req *find(struct initiator *ini, const uint8_t *bhs,
			    enum iscsi_opcode opcode)
{
	uint32_t itt = load_be32(bhs + BHS_ITT);
	struct ini_req *req;

	list_for_each(req, &ini->outstanding, link) {
		if (req->itt == itt && req->opcode == opcode)
			return req;
	}
	ini_fail(ini, "opcode 0x%02x for an unknown tag 0x%08x",
		 bhs[BHS_OPCODE], itt);
	return NULL;
}

static struct ini_cmd *find_cmd(struct initiator *ini, const uint8_t *bhs)
{
	struct ini_req *req = find(ini, bhs, ISCSI_SCSI_COMMAND);

	return req ? container_of(req, struct ini_cmd, req) : NULL;
}

/* An answer shows that the request has been received. */
static bool was_received(struct initiator *ini, const struct ini_req *req)
{
	if (req->immediate || ini_ahead(ini->expcmdsn, req->cmdsn) > 0)
		return true;
	ini_fail(ini, "an answer to CmdSN %u with ExpCmdSN %u", req->cmdsn,
		 ini->expcmdsn);
	return false;
}

/* ------------------------------------------------------------------------
 * SCSI.
 */

static void take_status(struct initiator *ini, struct ini_cmd *cmd,
			const uint8_t *bhs)
{
	uint8_t flags = bhs[BHS_FLAGS];
	uint32_t moved = cmd->read ? cmd->got : cmd->sent;

	cmd->status = bhs[BHS_STATUS];
	cmd->overflow = flags & RSP_FLAG_OVERFLOW;
	cmd->underflow = flags & RSP_FLAG_UNDERFLOW;
	cmd->residual = load_be32(bhs + BHS_RESIDUAL);
	EXPECT(!(cmd->overflow && cmd->underflow), "both U and O are set");
	EXPECT(cmd->overflow || cmd->underflow || cmd->residual == 0,
	       "a residual count without a flag");
	EXPECT(!cmd->underflow || cmd->residual <= cmd->edtl,
	       "underflow by %u of %u bytes", cmd->residual, cmd->edtl);
	/* 11.4.2; but a disk that has left waits for nobody. */
	EXPECT((cmd->unsol_left == 0 && cmd->nr2t == 0) ||
		       (ini->opt.disks_leave && cmd->status == 0x40),
	       "status before the last Data-Out");
	EXPECT(cmd->sequence == 0, "status inside a sequence of Data-In");
	if (cmd->response != ISCSI_RESPONSE_COMPLETED || cmd->status != 0)
		return;
	if (cmd->read) {
		uint32_t due = cmd->edtl;

		if (cmd->underflow)
			due -= cmd->residual;
		EXPECT(moved == due, "GOOD with %u of %u bytes", moved, due);
	} else if (cmd->write) {
		EXPECT(moved >=
			       cmd->edtl - (cmd->underflow ? cmd->residual : 0),
		       "GOOD with only %u of %u bytes asked for", moved,
		       cmd->edtl);
	} else {
		EXPECT(!cmd->underflow, "underflow of nothing");
	}
}

static void data_in_status(struct initiator *ini, struct ini_cmd *cmd,
			   const uint8_t *bhs)
{
	uint8_t flags = bhs[BHS_FLAGS];

	EXPECT(flags & FLAG_FINAL, "Data-In with S but without F");
	EXPECT(bhs[BHS_STATUS] == 0x00 || bhs[BHS_STATUS] == 0x04,
	       "status 0x%02x in Data-In", bhs[BHS_STATUS]);
	if (!ini_take_statsn(ini, bhs) || !was_received(ini, &cmd->req))
		return;
	cmd->response = ISCSI_RESPONSE_COMPLETED;
	cmd->collapsed = true;
	ini->collapsed++;
	take_status(ini, cmd, bhs);
	if (ini->state != INI_FAILED)
		ini_finish_cmd(ini, cmd);
}

static void rx_data_in(struct initiator *ini, const uint8_t *bhs,
		       const uint8_t *data, uint32_t len)
{
	uint32_t offset = load_be32(bhs + BHS_BUFFER_OFFSET);
	uint32_t datasn = load_be32(bhs + BHS_DATASN);
	uint8_t flags = bhs[BHS_FLAGS];
	struct ini_cmd *cmd = find_cmd(ini, bhs);

	if (!cmd)
		return;
	ini->data_in_pdus++;
	EXPECT(cmd->read, "Data-In for a command that reads nothing");
	EXPECT(datasn == cmd->datasn, "DataSN %u where %u was due", datasn,
	       cmd->datasn);
	EXPECT(offset == cmd->got, "Data-In at offset %u where %u was due",
	       offset, cmd->got);
	EXPECT(len <= cmd->edtl - cmd->got,
	       "Data-In of %u bytes at %u, the buffer has %u", len, offset,
	       cmd->edtl);
	EXPECT(len > 0 || flags & DATA_IN_FLAG_STATUS, "empty Data-In");
	EXPECT(!(flags & DATA_IN_FLAG_ACK), "A bit in recovery level 0");
	EXPECT((flags & 0x38) == 0, "reserved bits of Data-In: 0x%02x", flags);
	EXPECT(load_be32(bhs + BHS_TTT) == RESERVED_TAG,
	       "Target Transfer Tag without A bit");
	memcpy(cmd->data + offset, data, len);
	cmd->got += len;
	cmd->datasn++;
	cmd->sequence += len;
	EXPECT(cmd->sequence <= ini->p.max_burst,
	       "a sequence of %u bytes, MaxBurstLength is %u", cmd->sequence,
	       ini->p.max_burst);
	if (flags & FLAG_FINAL)
		cmd->sequence = 0;
	if (flags & DATA_IN_FLAG_STATUS)
		data_in_status(ini, cmd, bhs);
}

static void take_sense(struct initiator *ini, struct ini_cmd *cmd,
		       const uint8_t *data, uint32_t len)
{
	uint32_t n;

	if (cmd->status == 0x02)
		EXPECT(len >= 2, "CHECK CONDITION without sense data");
	if (len == 0)
		return;
	EXPECT(len >= 2, "a data segment of %u byte in a response", len);
	n = load_be16(data);
	EXPECT(n <= len - 2, "SenseLength %u in %u bytes", n, len);
	EXPECT(n <= INI_SENSE_MAX, "%u bytes of sense data", n);
	memcpy(cmd->sense, data + 2, n);
	cmd->sense_len = (uint16_t)n;
}

static void rx_scsi_response(struct initiator *ini, const uint8_t *bhs,
			     const uint8_t *data, uint32_t len)
{
	struct ini_cmd *cmd = find_cmd(ini, bhs);
	uint32_t expdatasn = load_be32(bhs + BHS_DATASN);

	if (!cmd || !ini_take_statsn(ini, bhs) || !was_received(ini, &cmd->req))
		return;
	EXPECT((bhs[BHS_FLAGS] & 0xe1) == FLAG_FINAL,
	       "flags 0x%02x in a SCSI Response", bhs[BHS_FLAGS]);
	cmd->response = bhs[BHS_RESPONSE];
	EXPECT(cmd->response <= ISCSI_RESPONSE_TARGET_FAILURE,
	       "response code 0x%02x", cmd->response);
	if (cmd->response == ISCSI_RESPONSE_COMPLETED)
		EXPECT(expdatasn == cmd->datasn,
		       "ExpDataSN %u after %u Data-In PDUs", expdatasn,
		       cmd->datasn);
	take_status(ini, cmd, bhs);
	if (ini->state == INI_FAILED)
		return;
	take_sense(ini, cmd, data, len);
	if (ini->state == INI_FAILED)
		return;
	ini_finish_cmd(ini, cmd);
}

static void rx_r2t(struct initiator *ini, const uint8_t *bhs, uint32_t len)
{
	uint32_t offset = load_be32(bhs + BHS_BUFFER_OFFSET);
	uint32_t want = load_be32(bhs + BHS_DESIRED_LENGTH);
	uint32_t ttt = load_be32(bhs + BHS_TTT);
	uint32_t r2tsn = load_be32(bhs + BHS_DATASN);
	struct ini_cmd *cmd = find_cmd(ini, bhs);

	if (!cmd || !was_received(ini, &cmd->req))
		return;
	ini->r2ts++;
	EXPECT(len == 0 && bhs[BHS_FLAGS] == FLAG_FINAL, "a malformed R2T");
	EXPECT(load_be32(bhs + BHS_STATSN) == ini->expstatsn,
	       "StatSN of an R2T");
	EXPECT(load_be64(bhs + BHS_LUN) == cmd->req.lun, "LUN of an R2T");
	EXPECT(cmd->write, "R2T for a command that writes nothing");
	EXPECT(ttt != RESERVED_TAG, "the reserved tag in an R2T");
	EXPECT(r2tsn == cmd->r2tsn, "R2TSN %u where %u was due", r2tsn,
	       cmd->r2tsn);
	EXPECT(want > 0 && want <= ini->p.max_burst, "R2T for %u bytes", want);
	EXPECT(offset == cmd->r2t_offset, "R2T at %u where %u was due", offset,
	       cmd->r2t_offset);
	EXPECT(want <= cmd->edtl - offset, "R2T for %u at %u of %u bytes", want,
	       offset, cmd->edtl);
	EXPECT(cmd->unsol_left == 0, "R2T before the last unsolicited data");
	EXPECT(cmd->nr2t < MIN(ini->p.max_r2t, (uint32_t)INI_R2T_MAX),
	       "more than %u R2Ts", ini->p.max_r2t);
	for (uint32_t i = 0; i < cmd->nr2t; i++)
		EXPECT(cmd->r2t[i].ttt != ttt, "a tag in use in an R2T");
	cmd->r2t[cmd->nr2t++] = (struct ini_r2t){
		.ttt = ttt,
		.offset = offset,
		.left = want,
		.lun = load_be64(bhs + BHS_LUN),
	};
	cmd->r2tsn++;
	cmd->r2t_offset += want;
	if (cmd->nr2t == 1)
		list_push_back(&ini->sol, &cmd->sol_link);
}

/* ------------------------------------------------------------------------
 * Task management: what it ended will not be heard of again.
 */

static bool ended_by(const struct ini_tmf *tmf, const struct ini_cmd *cmd)
{
	/* Sent after it: an immediate one has the CmdSN of the next. */
	if (ini_ahead(cmd->req.cmdsn, tmf->req.cmdsn) >= 0 &&
	    cmd->req.order > tmf->req.order)
		return false;
	switch (tmf->function) {
	case ISCSI_TMF_ABORT_TASK:
		return cmd->req.itt == tmf->ref_itt;
	case ISCSI_TMF_ABORT_TASK_SET:
	case ISCSI_TMF_CLEAR_TASK_SET:
	case ISCSI_TMF_LOGICAL_UNIT_RESET:
		return cmd->req.lun == tmf->req.lun;
	case ISCSI_TMF_TARGET_WARM_RESET:
	case ISCSI_TMF_TARGET_COLD_RESET:
	case ISCSI_TMF_I_T_NEXUS_RESET:
		return true;
	case ISCSI_TMF_CLEAR_ACA:
	case ISCSI_TMF_TASK_REASSIGN:
	case ISCSI_TMF_QUERY_TASK:
	case ISCSI_TMF_QUERY_TASK_SET:
	case ISCSI_TMF_QUERY_ASYNC_EVENT:
		break;
	}
	return false;
}

static struct ini_cmd *next_ended(struct initiator *ini,
				  const struct ini_tmf *tmf)
{
	struct ini_req *req;

	list_for_each(req, &ini->outstanding, link) {
		struct ini_cmd *cmd;

		if (req->opcode != ISCSI_SCSI_COMMAND)
			continue;
		cmd = container_of(req, struct ini_cmd, req);
		if (ended_by(tmf, cmd))
			return cmd;
	}
	return NULL;
}

static void rx_tmf_response(struct initiator *ini, const uint8_t *bhs,
			    uint32_t len)
{
	struct ini_req *req = find(ini, bhs, ISCSI_TMF_REQUEST);
	struct ini_cmd *cmd;
	struct ini_tmf *tmf;

	if (!req || !ini_take_statsn(ini, bhs) || !was_received(ini, req))
		return;
	tmf = container_of(req, struct ini_tmf, req);
	tmf->response = bhs[BHS_RESPONSE];
	EXPECT(len == 0 && bhs[BHS_FLAGS] == FLAG_FINAL,
	       "a malformed TMF response");
	cmd = next_ended(ini, tmf);
	if (tmf->response == ISCSI_TMF_RSP_NO_TASK)
		EXPECT(tmf->function != ISCSI_TMF_ABORT_TASK || !cmd ||
			       ini->opt.others_reset,
		       "no such task, but it has not been answered");
	if (tmf->response == ISCSI_TMF_RSP_COMPLETE ||
	    tmf->response == ISCSI_TMF_RSP_NO_TASK) {
		for (; cmd; cmd = next_ended(ini, tmf))
			ini_forget(ini, cmd);
	}
	ini_finish(ini, req);
}

/* ------------------------------------------------------------------------
 * The rest.
 */

static void answer_nop(struct initiator *ini, const uint8_t *in)
{
	uint8_t bhs[BHS_LEN] = {0};

	bhs[BHS_OPCODE] = ISCSI_NOP_OUT | ISCSI_IMMEDIATE;
	bhs[BHS_FLAGS] = FLAG_FINAL;
	memcpy(bhs + BHS_LUN, in + BHS_LUN, 8);
	store_be32(bhs + BHS_ITT, RESERVED_TAG);
	memcpy(bhs + BHS_TTT, in + BHS_TTT, 4);
	store_be32(bhs + BHS_CMDSN, ini->cmdsn);
	store_be32(bhs + BHS_EXPSTATSN, ini->expstatsn);
	ini_emit(ini, bhs, NULL, 0);
}

static void rx_nop_in(struct initiator *ini, const uint8_t *bhs,
		      const uint8_t *data, uint32_t len)
{
	struct ini_req *req;
	struct ini_nop *nop;
	uint32_t most;

	if (load_be32(bhs + BHS_ITT) == RESERVED_TAG) {
		EXPECT(load_be32(bhs + BHS_STATSN) == ini->expstatsn,
		       "StatSN of a NOP-In that is no answer");
		ini->nops_from_target++;
		if (load_be32(bhs + BHS_TTT) != RESERVED_TAG)
			answer_nop(ini, bhs);
		return;
	}
	req = find(ini, bhs, ISCSI_NOP_OUT);
	if (!req || !ini_take_statsn(ini, bhs))
		return;
	nop = container_of(req, struct ini_nop, req);
	EXPECT(load_be32(bhs + BHS_TTT) == RESERVED_TAG,
	       "Target Transfer Tag in an answer to a NOP-Out");
	/* 11.19.3: cut to what we can take. */
	most = MIN(nop->len, ini->p.mrdsl_in);
	EXPECT(len == most && memcmp(data, nop->data, len) == 0,
	       "NOP-In with other data than the NOP-Out");
	ini_finish(ini, req);
}

static void rx_text_response(struct initiator *ini, const uint8_t *bhs,
			     const uint8_t *data, uint32_t len)
{
	struct ini_req *req = find(ini, bhs, ISCSI_TEXT_REQUEST);
	uint8_t flags = bhs[BHS_FLAGS];
	struct ini_text *text;
	bool more;

	if (!req || !ini_take_statsn(ini, bhs) || !was_received(ini, req))
		return;
	text = container_of(req, struct ini_text, req);
	text->npdus++;
	EXPECT(!(flags & FLAG_CONTINUE) || !(flags & FLAG_FINAL),
	       "C and F together");
	EXPECT(text->answer.len + len <= INI_TEXT_MAX, "endless text");
	ini_bytes_push(&text->answer, data, len);
	text->ttt = load_be32(bhs + BHS_TTT);
	more = !(flags & FLAG_FINAL);
	/* 11.11.1: final means no tag, more to come means a tag. */
	EXPECT(more == (text->ttt != RESERVED_TAG),
	       "F bit and Target Transfer Tag of a text response");
	if (!more) {
		ini_finish(ini, req);
		return;
	}
	list_remove(&req->link);
	list_push_front(&ini->waiting, &req->link);
	req->state = INI_WAITING;
}

static void rx_logout_response(struct initiator *ini, const uint8_t *bhs,
			       uint32_t len)
{
	struct ini_req *req = find(ini, bhs, ISCSI_LOGOUT_REQUEST);
	struct ini_logout *logout;

	if (!req || !ini_take_statsn(ini, bhs) || !was_received(ini, req))
		return;
	logout = container_of(req, struct ini_logout, req);
	logout->response = bhs[BHS_RESPONSE];
	EXPECT(len == 0 && bhs[BHS_FLAGS] == FLAG_FINAL,
	       "a malformed logout response");
	if (logout->response == LOGOUT_RSP_OK &&
	    logout->reason != LOGOUT_RECOVERY)
		ini->state = INI_LOGGED_OUT;
	ini_finish(ini, req);
}

static void rx_async(struct initiator *ini, const uint8_t *bhs)
{
	if (!ini_take_statsn(ini, bhs))
		return;
	EXPECT(load_be32(bhs + BHS_ITT) == RESERVED_TAG,
	       "a tag in an asynchronous message");
	ini->async_events++;
	ini->last_async = bhs[36]; /* 11.9.1 */
}

static void rx_reject(struct initiator *ini, const uint8_t *bhs,
		      const uint8_t *data, uint32_t len)
{
	if (!ini_take_statsn(ini, bhs))
		return;
	EXPECT(load_be32(bhs + BHS_ITT) == RESERVED_TAG, "a tag in a Reject");
	EXPECT(len >= BHS_LEN, "a Reject without the header in question");
	ini->rejects++;
	ini->last_reject = bhs[BHS_RESPONSE];
	EXPECT(ini->expect_reject, "Reject, reason 0x%02x, of opcode 0x%02x",
	       bhs[BHS_RESPONSE], data[0]);
}

void ini_receive(struct initiator *ini, const uint8_t *bhs, const uint8_t *data,
		 uint32_t len)
{
	uint8_t opcode = bhs[BHS_OPCODE];

	ini_trace(ini, "<", bhs);
	if (ini->state == INI_LOGIN) {
		EXPECT(opcode == ISCSI_LOGIN_RESPONSE,
		       "opcode 0x%02x during login", opcode);
		ini_login_response(ini, bhs, data, len);
		return;
	}
	EXPECT(ini->state == INI_RUNNING, "opcode 0x%02x after the end",
	       opcode);
	if (!ini_take_window(ini, bhs))
		return;
	if (opcode == ISCSI_DATA_IN)
		rx_data_in(ini, bhs, data, len);
	else if (opcode == ISCSI_SCSI_RESPONSE)
		rx_scsi_response(ini, bhs, data, len);
	else if (opcode == ISCSI_R2T)
		rx_r2t(ini, bhs, len);
	else if (opcode == ISCSI_TMF_RESPONSE)
		rx_tmf_response(ini, bhs, len);
	else if (opcode == ISCSI_NOP_IN)
		rx_nop_in(ini, bhs, data, len);
	else if (opcode == ISCSI_TEXT_RESPONSE)
		rx_text_response(ini, bhs, data, len);
	else if (opcode == ISCSI_LOGOUT_RESPONSE)
		rx_logout_response(ini, bhs, len);
	else if (opcode == ISCSI_ASYNC_MESSAGE)
		rx_async(ini, bhs);
	else if (opcode == ISCSI_REJECT)
		rx_reject(ini, bhs, data, len);
	else
		ini_fail(ini, "unknown opcode 0x%02x", opcode);
}

/* ------------------------------------------------------------------------
 * Framing.
 */

static bool digest_good(struct initiator *ini, const uint8_t *data, size_t len,
			const char *what)
{
	if (load_le32(data + len) == ini_crc(ini, data, len))
		return true;
	ini_fail(ini, "%s digest of opcode 0x%02x is wrong", what, data[0]);
	return false;
}

static bool padding_zero(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i])
			return false;
	}
	return true;
}

/* One PDU from the front of @ini->in; false: it is not complete, or bad. */
static bool next_pdu(struct initiator *ini)
{
	bool full = ini->state != INI_LOGIN;
	size_t hd = full && ini->p.header_digest ? DIGEST_LEN : 0;
	size_t dd = full && ini->p.data_digest ? DIGEST_LEN : 0;
	const uint8_t *bhs = ini->in.data + ini->in.head;
	uint8_t header[BHS_LEN];
	size_t total, padded;
	uint32_t len;

	if (ini->in.len < BHS_LEN + hd)
		return false;
	if (hd && !digest_good(ini, bhs, BHS_LEN, "header"))
		return false;
	len = load_be24(bhs + BHS_DSL);
	if (len > ini->p.mrdsl_in || bhs[BHS_AHS_WORDS] != 0) {
		ini_fail(ini, "opcode 0x%02x with %u bytes of data, %u of AHS",
			 bhs[BHS_OPCODE], len, bhs[BHS_AHS_WORDS] * 4u);
		return false;
	}
	padded = (size_t)round_up(len, 4);
	total = BHS_LEN + hd + padded + (len ? dd : 0);
	if (ini->in.len < total)
		return false;
	if (len && dd && !digest_good(ini, bhs + BHS_LEN + hd, padded, "data"))
		return false;
	if (!padding_zero(bhs + BHS_LEN + hd + len, padded - len)) {
		ini_fail(ini, "padding that is not zero");
		return false;
	}
	memcpy(header, bhs, BHS_LEN);
	ini_receive(ini, header, bhs + BHS_LEN + hd, len);
	ini_bytes_drop(&ini->in, total);
	return true;
}

bool ini_feed(struct initiator *ini, const uint8_t *buf, size_t len)
{
	if (ini->state == INI_FAILED)
		return false;
	ini_bytes_push(&ini->in, buf, len);
	while (ini->state != INI_FAILED && next_pdu(ini))
		;
	return ini->state != INI_FAILED;
}
