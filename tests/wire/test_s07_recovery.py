# SPDX-License-Identifier: BSD-3-Clause
"""RFC 7143, 7.1.4, 11.16: ErrorRecoveryLevel 1."""

import random

import pytest

from daemon import basic
from iscsi_wire import (DATA_IN, DATA_OUT, FINAL, GOOD, NOP_IN, NOP_OUT, R2T,
                        READ, REJECT, RESERVED_TAG, SCSI_RESPONSE, SIMPLE,
                        STATUS, TEST_UNIT_READY, WRITE, Pdu, lun_field, read10,
                        write10)

TARGET = {'calls': basic(options={'error_recovery_level': 1})}
LEVEL1 = {'ErrorRecoveryLevel': '1', 'DataDigest': 'CRC32C'}
SNACK = 0x10
DATA, STAT, ACK, R_DATA = 0, 1, 2, 3
BLOCKS = 40


@pytest.fixture
def s(connect):
    s = connect(dict(LEVEL1, MaxRecvDataSegmentLength=2048,
                     MaxBurstLength=8192, FirstBurstLength=4096))
    assert s.chosen('ErrorRecoveryLevel', 0) == '1'
    return s


def snack(s, kind, itt, begin, count, ttt=RESERVED_TAG, ack=None):
    pdu = Pdu(SNACK, FINAL | kind, itt=itt, ttt=ttt,
              expstatsn=s.statsn if ack is None else ack)
    pdu.offset, pdu.residual = begin, count     # BegRun, RunLength
    s.send(pdu)


def fill(s, seed=3):
    data = random.Random(seed).randbytes(BLOCKS * 512)
    s.run(write10(0, BLOCKS), data).good()
    return data


def read_pdus(s):
    """A read whose status is not acknowledged."""
    ack = s.statsn
    itt = s.command(read10(0, BLOCKS), FINAL | READ | SIMPLE,
                    BLOCKS * 512).itt
    pdus = [s.recv()]
    while not pdus[-1].flags & STATUS:
        pdus.append(s.recv())
    return itt, ack, pdus


@pytest.mark.parametrize('begin,count', [(0, 1), (3, 2), (0, 0), (9, 1),
                                         (7, 0)])
def test_data_snack(s, begin, count):
    data = fill(s)
    itt, ack, pdus = read_pdus(s)
    assert len(pdus) == 10
    snack(s, DATA, itt, begin, count, ack=ack)
    wanted = pdus[begin:begin + count] if count else pdus[begin:]
    for old in wanted:
        s.statsn = ack
        new = s.recv()
        assert new.opcode == DATA_IN
        assert (new.datasn, new.offset, new.data, new.flags) == \
            (old.datasn, old.offset, old.data, old.flags)
        assert new.data == data[new.offset:new.offset + len(new.data)]
    s.statsn = ack + 1
    s.run(TEST_UNIT_READY).good()


@pytest.mark.parametrize('begin,count', [(10, 1), (0, 11), (0xffffffff, 2)])
def test_data_snack_out_of_range(s, begin, count):
    fill(s)
    itt, ack, _ = read_pdus(s)
    snack(s, DATA, itt, begin, count, ack=ack)
    assert s.expect(REJECT).response == 0x03
    s.run(TEST_UNIT_READY).good()


def test_data_snack_after_the_acknowledgement(s):
    """What ExpStatSN has passed is not kept."""
    fill(s)
    itt, _, _ = read_pdus(s)
    s.ping(b'acknowledges')
    snack(s, DATA, itt, 0, 1)
    assert s.expect(REJECT).response == 0x03


def test_status_snack(s):
    fill(s)
    ack = s.statsn
    itts = [s.command(TEST_UNIT_READY, expstatsn=ack).itt for _ in range(3)]
    first = [s.recv_for(i) for i in itts]
    assert [p.statsn for p in first] == [ack, ack + 1, ack + 2]
    snack(s, STAT, RESERVED_TAG, ack + 1, 0, ack=ack)
    for old in first[1:]:
        s.statsn = old.statsn
        new = s.expect(SCSI_RESPONSE)
        assert (new.itt, new.statsn, new.status) == \
            (old.itt, old.statsn, GOOD)
    snack(s, STAT, RESERVED_TAG, ack, 1, ack=ack)
    s.statsn = ack
    assert s.expect(SCSI_RESPONSE).itt == itts[0]
    s.statsn = ack + 3
    s.run(TEST_UNIT_READY).good()


def test_status_snack_of_other_answers(s):
    """A NOP-In, and a Data-In that carries the status."""
    fill(s)
    ack = s.statsn
    s.request(NOP_OUT, FINAL, b'data', expstatsn=ack)
    assert s.expect(NOP_IN).data == b'data'
    s.command(read10(0, 1), FINAL | READ | SIMPLE, 512, expstatsn=ack)
    old = s.expect(DATA_IN)
    snack(s, STAT, RESERVED_TAG, ack, 2, ack=ack)
    s.statsn = ack
    assert s.expect(NOP_IN).data == b'data'
    new = s.expect(DATA_IN)
    assert new.flags & STATUS and new.data == old.data


@pytest.mark.parametrize('kind,reason', [(ACK, 0x08), (4, 0x03), (15, 0x03)])
def test_snacks_that_make_no_sense(s, kind, reason):
    snack(s, kind, 77, 0, 0)
    assert s.expect(REJECT).response == reason
    s.run(TEST_UNIT_READY).good()


def test_r_data_snack(s):
    """11.16.3: the data once more, then a response with the SNACK Tag."""
    data = fill(s)
    itt, ack, pdus = read_pdus(s)
    snack(s, R_DATA, itt, 0, 0, ttt=0x1234, ack=ack)
    got = b''
    s.statsn = ack
    for n in range(10):
        pdu = s.expect(DATA_IN)
        assert pdu.datasn == n and not pdu.flags & STATUS
        got += pdu.data
    assert got == data
    rsp = s.expect(SCSI_RESPONSE)
    assert rsp.ttt == 0x1234 and rsp.statsn == pdus[-1].statsn
    s.run(TEST_UNIT_READY).good()


def test_level_0_keeps_nothing(connect):
    s = connect({'ErrorRecoveryLevel': '0'})
    snack(s, STAT, RESERVED_TAG, s.statsn, 0)
    assert s.expect(REJECT).response == 0x03


# ---- Data digest errors in the other direction (7.8).

def bad(s, pdu):
    raw = bytearray(pdu.pack(s.header_digest, s.data_digest))
    raw[-1] ^= 0xff
    s.send_raw(bytes(raw))


def broken_data_out(s, itt, ttt, offset, datasn, data, final):
    bad(s, Pdu(DATA_OUT, FINAL if final else 0, data, itt=itt, ttt=ttt,
               lun=lun_field(0), offset=offset, datasn=datasn,
               expstatsn=s.statsn))


def follow(s, itt, data):
    """Serves R2Ts to the end, in whatever order they ask."""
    while True:
        pdu = s.recv_for(itt)
        if pdu.opcode == SCSI_RESPONSE:
            assert pdu.status == GOOD
            return
        assert pdu.opcode == R2T
        s.burst(itt, pdu.ttt, data, pdu.offset, pdu.desired, 1024)


def check(s, data):
    n = len(data) // 512
    assert s.run(read10(0, n), read_len=len(data)).good().data == data


def write(s, blocks=16, immediate=b'', flags=FINAL, **fields):
    return s.command(write10(0, blocks), flags | WRITE | SIMPLE,
                     blocks * 512, immediate, **fields).itt


def test_broken_solicited_data(s):
    data = random.Random(4).randbytes(8192)
    itt = write(s)
    r2t = s.recv_for(itt)
    assert r2t.desired == 8192
    s.data_out(itt, r2t.ttt, 0, 0, data[:2048], False)
    broken_data_out(s, itt, r2t.ttt, 2048, 1, data[2048:4096], False)
    assert s.expect(REJECT).response == 0x02
    s.data_out(itt, r2t.ttt, 4096, 2, data[4096:], True)
    again = s.recv_for(itt)
    assert again.opcode == R2T and again.ttt != r2t.ttt
    assert again.r2tsn == 1 and (again.offset, again.desired) == (2048, 6144)
    s.burst(itt, again.ttt, data, 2048, 6144, 2048)
    assert s.recv_for(itt).status == GOOD
    check(s, data)


def test_broken_last_data(s):
    data = random.Random(5).randbytes(8192)
    itt = write(s)
    r2t = s.recv_for(itt)
    s.data_out(itt, r2t.ttt, 0, 0, data[:4096], False)
    broken_data_out(s, itt, r2t.ttt, 4096, 1, data[4096:], True)
    assert s.expect(REJECT).response == 0x02
    follow(s, itt, data)
    check(s, data)


def test_missing_data(s):
    """7.1.4.1: a number of the sequence that never came."""
    data = random.Random(6).randbytes(8192)
    itt = write(s)
    r2t = s.recv_for(itt)
    s.data_out(itt, r2t.ttt, 0, 0, data[:2048], False)
    s.data_out(itt, r2t.ttt, 4096, 2, data[4096:], True)
    again = s.recv_for(itt)
    assert (again.offset, again.desired) == (2048, 6144)
    s.burst(itt, again.ttt, data, 2048, 6144, 2048)
    assert s.recv_for(itt).status == GOOD
    check(s, data)


@pytest.mark.parametrize('more', [False, True])
def test_broken_immediate_data(s, more):
    data = random.Random(7).randbytes(8192)
    itt = s.next_itt()
    pdu = Pdu(0x01, (0 if more else FINAL) | WRITE | SIMPLE, data[:1024],
              itt=itt, cmdsn=s.cmdsn, expstatsn=s.statsn, lun=lun_field(0))
    pdu.cdb, pdu.ttt = write10(0, 16), 8192     # the expected length
    bad(s, pdu)
    s.cmdsn += 1
    assert s.expect(REJECT).response == 0x02
    if more:
        s.burst(itt, RESERVED_TAG, data, 1024, 3072, 1024)
    follow(s, itt, data)
    check(s, data)


def test_broken_unsolicited_data(s):
    data = random.Random(8).randbytes(8192)
    itt = write(s, immediate=data[:1024], flags=0)
    broken_data_out(s, itt, RESERVED_TAG, 1024, 0, data[1024:2048], False)
    assert s.expect(REJECT).response == 0x02
    s.data_out(itt, RESERVED_TAG, 2048, 1, data[2048:4096], True)
    follow(s, itt, data)
    check(s, data)


def test_r2t_snack(s):
    """A lost R2T is sent again with the same numbers."""
    data = random.Random(9).randbytes(8192)
    itt = write(s)
    r2t = s.recv_for(itt)
    snack(s, DATA, itt, 0, 0)
    again = s.recv_for(itt)
    assert again.opcode == R2T
    assert (again.ttt, again.r2tsn, again.offset, again.desired) == \
        (r2t.ttt, r2t.r2tsn, r2t.offset, r2t.desired)
    s.burst(itt, r2t.ttt, data, 0, 8192, 2048)
    assert s.recv_for(itt).status == GOOD
    check(s, data)
