# SPDX-License-Identifier: BSD-3-Clause
"""
An initiator for tests: login with any keys, commands with all the ways that
data can take, and the rules of RFC 7143 that the target has to keep meanwhile.
"""

from iscsi_wire import (ABORTED_COMMAND, CHECK_CONDITION, CONTINUE, DATA_IN,
                        DATA_OUT, FINAL, GOOD, IMMEDIATE, LOGIN_REQUEST,
                        LOGIN_RESPONSE, LOGOUT_REQUEST, LOGOUT_RESPONSE,
                        NOP_IN, NOP_OUT, OVERFLOW, R2T, READ, RESERVED_TAG,
                        SCSI_COMMAND, SCSI_RESPONSE, SIMPLE, STATUS,
                        TASK_ABORTED, TEST_UNIT_READY, TEXT_REQUEST,
                        TEXT_RESPONSE, TMF_REQUEST, TMF_RESPONSE, UNDERFLOW,
                        UNIT_ATTENTION, WRITE, Connection, NoAnswer, Pdu,
                        Sense, lun_field, pairs_of, text)

__all__ = ['Initiator', 'LoginFailed', 'Result', 'ABORTED_COMMAND',
           'NoAnswer', 'TASK_ABORTED']

NAME = 'iqn.2016-06.io.spdk:wire'
SECURITY, OPERATIONAL, FULL_FEATURE = 0, 1, 3

OPERATIONAL_KEYS = {
    'HeaderDigest': 'None',
    'DataDigest': 'None',
    'ErrorRecoveryLevel': '0',
    'InitialR2T': 'No',
    'ImmediateData': 'Yes',
    'MaxBurstLength': '262144',
    'FirstBurstLength': '65536',
    'MaxOutstandingR2T': '1',
    'MaxConnections': '1',
    'DataPDUInOrder': 'Yes',
    'DataSequenceInOrder': 'Yes',
    'DefaultTime2Wait': '2',
    'DefaultTime2Retain': '0',
    'MaxRecvDataSegmentLength': '262144',
}
# Not said in discovery sessions (13.3 and others: "Irrelevant when").
NORMAL_ONLY = {'InitialR2T', 'ImmediateData', 'MaxBurstLength',
               'FirstBurstLength', 'MaxOutstandingR2T', 'MaxConnections',
               'DataPDUInOrder', 'DataSequenceInOrder'}
# Said by the target about itself: not answered.
DECLARED = {'MaxRecvDataSegmentLength', 'TargetPortalGroupTag',
            'TargetAlias'}


class LoginFailed(Exception):
    def __init__(self, pdu):
        super().__init__('login status %04x' % pdu.login_status)
        self.pdu = pdu
        self.status = pdu.login_status


class Result:
    """How a command ended."""

    def __init__(self, status, data, sense, flags, residual, pdus):
        self.status, self.data, self.sense = status, data, sense
        self.overflow = residual if flags & OVERFLOW else 0
        self.underflow = residual if flags & UNDERFLOW else 0
        self.pdus = pdus
        assert not (flags & OVERFLOW and flags & UNDERFLOW)
        if not flags & (OVERFLOW | UNDERFLOW):
            assert residual == 0, 'residual without a flag'

    def good(self):
        assert self.status == GOOD, (hex(self.status), self.sense)
        return self

    def check(self, key, code=None):
        assert self.status == CHECK_CONDITION, hex(self.status)
        assert self.sense.key == key, self.sense
        if code is not None:
            assert self.sense.code == code, self.sense
        return self


class Initiator(Connection):
    isid_next = [0]

    def __init__(self, address, target=None, name=NAME, isid=None,
                 timeout=None, rcvbuf=None):
        super().__init__(address, **{k: v for k, v in (
            ('timeout', timeout), ('rcvbuf', rcvbuf)) if v is not None})
        self.target, self.name = target, name
        if isid is None:
            Initiator.isid_next[0] += 1
            isid = b'\x80\0\0' + Initiator.isid_next[0].to_bytes(3, 'big')
        self.isid = isid
        self.tsih, self.cid = 0, 1
        self.itt = 0
        self.cmdsn = 1
        self.answers = {}       # what the target said at login
        self.offered = {}
        self.stash = []         # PDUs for others
        self.pings = 0          # of the target, answered

    # ---- Login (6.3, 11.12).

    def login_pdu(self, data=b'', csg=SECURITY, nsg=None, cont=False):
        flags = csg << 2
        if nsg is not None:
            flags |= FINAL | nsg
        if cont:
            flags |= CONTINUE
        pdu = Pdu(LOGIN_REQUEST | IMMEDIATE, flags, data, itt=self.itt,
                  cmdsn=self.cmdsn, expstatsn=self.statsn or 0)
        pdu.isid, pdu.tsih, pdu.cid = self.isid, self.tsih, self.cid
        return pdu

    def login_step(self, *args, **kwargs):
        """One request and its response; LoginFailed when it says so."""
        self.send(self.login_pdu(*args, **kwargs))
        rsp = self.expect(LOGIN_RESPONSE)
        assert rsp.itt == self.itt
        if rsp.login_status:
            raise LoginFailed(rsp)
        assert rsp.isid == self.isid
        assert rsp.version_max == 0 and rsp.version_min == 0
        for key, value in pairs_of(rsp.data) if not rsp.flags & CONTINUE \
                else ():
            assert key not in self.answers, 'said twice: ' + key
            self.answers[key] = value
        return rsp

    def names(self, discovery=False):
        out = {'InitiatorName': self.name,
               'SessionType': 'Discovery' if discovery else 'Normal'}
        if not discovery:
            out['TargetName'] = self.target
        return out

    def login(self, keys=None, discovery=False, security=True):
        """The usual way in. A key that is None is left out."""
        operational = {k: v for k, v in OPERATIONAL_KEYS.items()
                       if not (discovery and k in NORMAL_ONLY)}
        operational.update(keys or {})
        self.offered = operational
        if security:
            first = self.names(discovery)
            first['AuthMethod'] = 'None'
            rsp = self.login_step(text(first), SECURITY, OPERATIONAL)
            assert rsp.flags == FINAL | SECURITY << 2 | OPERATIONAL
            assert self.answers['AuthMethod'] == 'None'
            said = text(operational)
        else:
            said = text(self.names(discovery)) + text(operational)
        self.enter_full_feature(self.finish_login(said))
        return self

    def finish_login(self, said):
        """The operational stage; what the target proposes is accepted."""
        known = set(self.answers) | set(self.offered)
        rsp = self.login_step(said, OPERATIONAL, FULL_FEATURE)
        while not rsp.final:
            proposed = [(k, v) for k, v in pairs_of(rsp.data)
                        if k not in known and k not in DECLARED]
            rsp = self.login_step(text(proposed), OPERATIONAL, FULL_FEATURE)
        return rsp

    def enter_full_feature(self, rsp):
        assert rsp.flags & 3 == FULL_FEATURE and rsp.tsih != 0
        self.tsih = rsp.tsih
        self.header_digest = self.chosen('HeaderDigest', 'None') == 'CRC32C'
        self.data_digest = self.chosen('DataDigest', 'None') == 'CRC32C'
        self.max_recv = int(self.offered.get('MaxRecvDataSegmentLength')
                            or 8192)
        self.initial_r2t = self.chosen('InitialR2T', 'Yes') == 'Yes'
        self.immediate_data = self.chosen('ImmediateData', 'Yes') == 'Yes'
        self.max_burst = int(self.chosen('MaxBurstLength', 262144))
        self.first_burst = int(self.chosen('FirstBurstLength', 65536))
        self.max_r2t = int(self.chosen('MaxOutstandingR2T', 1))
        # Declared, not negotiated: what we said must not come back.
        self.max_send = int(self.answers.get('MaxRecvDataSegmentLength',
                                             8192))

    def chosen(self, key, default):
        """The result for a key; the default when it came to nothing."""
        value = self.answers.get(key, default)
        return default if value in ('Reject', 'Irrelevant') else value

    # ---- Requests.

    def next_itt(self):
        self.itt = (self.itt + 1) % 0x7fffffff
        return self.itt

    def request(self, opcode, flags=FINAL, data=b'', immediate=False,
                **fields):
        """Fills in the numbers and sends. Returns the PDU."""
        fields.setdefault('itt', None)
        if fields['itt'] is None:
            fields['itt'] = self.next_itt()
        pdu = Pdu(opcode | (IMMEDIATE if immediate else 0), flags, data)
        if opcode in (NOP_OUT, TEXT_REQUEST):
            fields.setdefault('ttt', RESERVED_TAG)
        fields.setdefault('cmdsn', self.cmdsn)
        fields.setdefault('expstatsn', self.statsn)
        ahs = fields.pop('ahs', b'')
        for name, value in fields.items():
            setattr(pdu, name, value)
        pdu.ahs = ahs
        if not immediate and fields['cmdsn'] == self.cmdsn:
            self.cmdsn = self.cmdsn + 1 & 0xffffffff
        self.send(pdu)
        return pdu

    def command(self, cdb, flags=None, edtl=0, data=b'', lun=0, **fields):
        """A SCSI Command PDU and nothing else."""
        if flags is None:
            flags = FINAL | SIMPLE
        return self.request(SCSI_COMMAND, flags, data, lun=lun_field(lun),
                            cdb=cdb, edtl=edtl, **fields)

    def data_out(self, itt, ttt, offset, datasn, data, final, lun=0):
        self.send(Pdu(DATA_OUT, FINAL if final else 0, data, itt=itt,
                      ttt=ttt, lun=lun_field(lun), offset=offset,
                      datasn=datasn, expstatsn=self.statsn))

    def burst(self, itt, ttt, data, offset, length, size=None, lun=0):
        """Answers one R2T, or sends unsolicited data."""
        end, datasn = offset + length, 0
        size = min(size or self.max_send, self.max_send)
        while True:
            n = min(size, end - offset)
            self.data_out(itt, ttt, offset, datasn,
                          data[offset:offset + n], offset + n == end, lun)
            offset, datasn = offset + n, datasn + 1
            if offset >= end:
                return

    # ---- Answers.

    def recv_for(self, itt, timeout=None):
        """The next PDU of one task; pings are answered on the way."""
        for i, pdu in enumerate(self.stash):
            if pdu.itt == itt:
                return self.stash.pop(i)
        while True:
            pdu = self.recv(timeout)
            if pdu.opcode == NOP_IN and pdu.itt == RESERVED_TAG:
                self.answer_ping(pdu)
            elif pdu.itt == itt:
                return pdu
            else:
                self.stash.append(pdu)

    def answer_ping(self, ping):
        self.pings += 1
        if ping.ttt != RESERVED_TAG:
            self.request(NOP_OUT, FINAL, immediate=True, itt=RESERVED_TAG,
                         ttt=ping.ttt, lun=ping.lun)

    def finish(self, itt, data=b'', read_len=0, sent=0, lun=0, size=None):
        """Follows a command to its end: Data-In, R2Ts, response."""
        got = bytearray(read_len)
        have = datasn = r2tsn = in_burst = 0
        pdus = []
        while True:
            pdu = self.recv_for(itt)
            pdus.append(pdu)
            if pdu.opcode == R2T:
                assert pdu.r2tsn == r2tsn and pdu.ttt != RESERVED_TAG
                assert 0 < pdu.desired <= self.max_burst
                assert pdu.offset == sent, (pdu.offset, sent)
                assert pdu.offset + pdu.desired <= len(data)
                assert pdu.lun == lun_field(lun)
                r2tsn += 1
                sent += pdu.desired
                self.burst(itt, pdu.ttt, data, pdu.offset, pdu.desired, size,
                           lun)
                continue
            if pdu.opcode == SCSI_RESPONSE:
                assert pdu.final and pdu.response == 0, pdu
                # 11.4.8: how many Data-In PDUs there were; R2Ts count not.
                assert pdu.expdatasn == datasn
                sense = Sense(pdu.data) if pdu.data else None
                return Result(pdu.status, bytes(got[:have]), sense, pdu.flags,
                              pdu.residual, pdus)
            assert pdu.opcode == DATA_IN, pdu
            assert pdu.datasn == datasn and pdu.offset == have, pdu
            assert pdu.data, 'an empty Data-In'
            n = len(pdu.data)
            assert have + n <= read_len, 'more than was asked for'
            got[have:have + n] = pdu.data
            have, datasn, in_burst = have + n, datasn + 1, in_burst + n
            assert in_burst <= self.max_burst
            # 11.7.1: F ends a sequence.
            if pdu.final:
                in_burst = 0
            if pdu.flags & STATUS:
                assert pdu.final
                return Result(pdu.status, bytes(got[:have]), None, pdu.flags,
                              pdu.residual, pdus)

    def run(self, cdb, data=b'', read_len=0, lun=0, size=None, edtl=None,
            immediate=False, no_immediate_data=False, unsolicited=True):
        """
        A command from its beginning to its end; @data goes out in the ways
        that were negotiated, in Data-Out PDUs of at most @size bytes.
        """
        flags = SIMPLE
        sent, first = 0, b''
        if data:
            flags |= WRITE
        if read_len:
            flags |= READ
        length = len(data) or read_len
        limit = min(len(data), self.first_burst)
        if data and self.immediate_data and not no_immediate_data:
            first = data[:min(limit, self.max_send)]
            sent = len(first)
        more = unsolicited and not self.initial_r2t and sent < limit
        if not more:
            flags |= FINAL
        itt = self.command(cdb, flags, length if edtl is None else edtl,
                           first, lun, immediate=immediate).itt
        if more:
            self.burst(itt, RESERVED_TAG, data, sent, limit - sent, size, lun)
            sent = limit
        return self.finish(itt, data, read_len, sent, lun, size)

    def clear_attention(self, lun=0):
        """What a new nexus is told first."""
        for _ in range(8):
            r = self.run(TEST_UNIT_READY, lun=lun)
            if r.status == GOOD:
                return self
            r.check(UNIT_ATTENTION)
        raise AssertionError('unit attentions do not end')

    # ---- The other requests.

    def ping(self, data=b'', **fields):
        pdu = self.request(NOP_OUT, data=data, **fields)
        rsp = self.recv_for(pdu.itt)
        assert rsp.opcode == NOP_IN and rsp.ttt == RESERVED_TAG
        return rsp

    def text(self, pairs, **fields):
        """A question and its whole answer, as a list of pairs."""
        pdu = self.request(TEXT_REQUEST, FINAL, text(pairs), **fields)
        said, rsp, count = b'', self.recv_for(pdu.itt), 1
        assert rsp.opcode == TEXT_RESPONSE, rsp
        while not rsp.final:
            said += rsp.data
            assert rsp.ttt != RESERVED_TAG and rsp.flags & CONTINUE
            self.request(TEXT_REQUEST, FINAL, itt=pdu.itt, ttt=rsp.ttt)
            rsp = self.recv_for(pdu.itt)
            assert rsp.opcode == TEXT_RESPONSE, rsp
            count += 1
        assert rsp.ttt == RESERVED_TAG and not rsp.flags & CONTINUE
        self.text_pdus = count
        return pairs_of(said + rsp.data)

    def send_targets(self, which='All'):
        """[(name, [address, ...]), ...]"""
        out = []
        for key, value in self.text([('SendTargets', which)]):
            if key == 'TargetName':
                out.append((value, []))
            else:
                assert key == 'TargetAddress', key
                out[-1][1].append(value)
        return out

    def tmf(self, function, ref_itt=RESERVED_TAG, refcmdsn=0, lun=0,
            immediate=True):
        """The response code (11.6.1)."""
        pdu = self.request(TMF_REQUEST, FINAL | function, immediate=immediate,
                           ttt=ref_itt, refcmdsn=refcmdsn,
                           lun=lun_field(lun))
        rsp = self.recv_for(pdu.itt)
        assert rsp.opcode == TMF_RESPONSE, rsp
        return rsp.response

    def logout(self, reason=0, cid=None, closes=True):
        pdu = self.request(LOGOUT_REQUEST, FINAL | reason,
                           cid=self.cid if cid is None else cid)
        rsp = self.recv_for(pdu.itt)
        assert rsp.opcode == LOGOUT_RESPONSE, rsp
        if closes:
            assert not self.expect_closed()
            self.close()
        return rsp.response
