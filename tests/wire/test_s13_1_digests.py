# SPDX-License-Identifier: BSD-3-Clause
"""RFC 7143, 13.1, 7.7, 7.8: CRC32C digests, and what they catch."""

import itertools
import random

import pytest

from daemon import basic
from iscsi_initiator import SECURITY, LoginFailed
from iscsi_wire import (DATA_OUT, FINAL, NOP_IN, NOP_OUT, R2T, REJECT,
                        RESERVED_TAG, SCSI_COMMAND, SCSI_RESPONSE, SIMPLE,
                        TEST_UNIT_READY, TEXT_REQUEST, WRITE, Pdu, Sense,
                        crc32c, inquiry, lun_field, read10, text, write10)

TARGET = {'calls': basic() + [
    ('bdev_malloc_create', {'name': 'Malloc1', 'num_blocks': 2048,
                            'block_size': 512}),
    ('iscsi_create_target_node', {
        'name': 'strict', 'alias_name': '', 'queue_depth': 16,
        'pg_ig_maps': [{'pg_tag': 1, 'ig_tag': 1}],
        'luns': [{'bdev_name': 'Malloc1', 'lun_id': 0}],
        'header_digest': True, 'data_digest': True})]}
BOTH = {'HeaderDigest': 'CRC32C', 'DataDigest': 'CRC32C'}
SOLICITED = dict(BOTH, ImmediateData='No', InitialR2T='Yes')


def test_crc32c_of_this_file():
    """RFC 3720, B.4: known values, so that both sides are not wrong."""
    assert crc32c(bytes(32)) == 0x8a9136aa
    assert crc32c(b'\xff' * 32) == 0x62a8ab43
    assert crc32c(bytes(range(32))) == 0x46dd794e


@pytest.mark.parametrize('header,data', itertools.product(
    ('None', 'CRC32C'), repeat=2))
@pytest.mark.parametrize('immediate', ['Yes', 'No'])
def test_traffic(connect, header, data, immediate):
    s = connect({'HeaderDigest': header, 'DataDigest': data,
                 'ImmediateData': immediate, 'MaxBurstLength': 8192,
                 'FirstBurstLength': 2048,
                 'MaxRecvDataSegmentLength': 4096})
    assert s.header_digest == (header == 'CRC32C')
    assert s.data_digest == (data == 'CRC32C')
    for blocks in (1, 3, 40):
        payload = random.Random(blocks).randbytes(blocks * 512)
        s.run(write10(0, blocks), payload, size=1001).good()
        r = s.run(read10(0, blocks), read_len=len(payload)).good()
        assert r.data == payload
    s.run(inquiry(5), read_len=5).good()
    assert s.ping(b'odd').data == b'odd'
    s.run(read10(1 << 30, 1), read_len=512).check(5)
    s.text([('X-a', 'b')])
    s.logout()


def test_target_that_insists(connect):
    """header_digest and data_digest of the target node: CRC32C or nothing."""
    strict = 'iqn.2016-06.io.spdk:strict'
    s = connect(BOTH, target=strict)
    s.run(TEST_UNIT_READY).good()
    s = connect({'HeaderDigest': 'None,CRC32C',
                 'DataDigest': 'None,CRC32C'}, target=strict)
    assert s.header_digest and s.data_digest
    with pytest.raises((LoginFailed, AssertionError)):
        connect({'HeaderDigest': 'None'}, target=strict)
    with pytest.raises((LoginFailed, AssertionError)):
        t = connect(login=False, target=strict)
        rsp = t.login_step(text(t.names()), SECURITY, 3)
        assert rsp.flags & 3 == 3


def damaged(pdu, s, where):
    raw = bytearray(pdu.pack(s.header_digest, s.data_digest))
    raw[where] ^= 0x10
    return bytes(raw)


def test_header_digest_error(connect):
    """7.7: what follows cannot be told: the connection ends."""
    s = connect(BOTH)
    pdu = Pdu(NOP_OUT, FINAL, itt=5, ttt=RESERVED_TAG, cmdsn=s.cmdsn,
              expstatsn=s.statsn)
    s.send_raw(damaged(pdu, s, 49))
    assert not s.expect_closed()


@pytest.mark.parametrize('byte', range(0, 48, 7))
def test_header_damaged_anywhere(connect, byte):
    s = connect(BOTH)
    pdu = Pdu(SCSI_COMMAND, FINAL | WRITE | SIMPLE, bytes(512), itt=6,
              edtl=512, cmdsn=s.cmdsn, expstatsn=s.statsn,
              cdb=write10(0, 1))
    raw = damaged(pdu, s, byte)
    # A damaged length may make it wait for more: more comes.
    try:
        s.send_raw(raw + bytes(2048))
    except Exception:
        pass
    assert not [p for p in s.expect_closed() if p.opcode == SCSI_RESPONSE]


def test_data_digest_error_in_ping(connect):
    """7.8: Reject, and nothing else happens."""
    s = connect(BOTH)
    pdu = Pdu(NOP_OUT, FINAL, b'pong', itt=5, ttt=RESERVED_TAG,
              cmdsn=s.cmdsn, expstatsn=s.statsn)
    s.cmdsn += 1
    s.send_raw(damaged(pdu, s, 53))
    rej = s.expect(REJECT)
    assert rej.response == 0x02 and rej.itt == RESERVED_TAG
    assert rej.data == pdu.pack()[:48]
    s.run(TEST_UNIT_READY).good()
    assert s.ping(b'pong').opcode == NOP_IN


def test_data_digest_error_in_text(connect):
    s = connect(BOTH)
    pdu = Pdu(TEXT_REQUEST, FINAL, b'X-a=b\0', itt=5, ttt=RESERVED_TAG,
              cmdsn=s.cmdsn, expstatsn=s.statsn)
    s.cmdsn += 1
    s.send_raw(damaged(pdu, s, 56))
    assert s.expect(REJECT).response == 0x02
    s.run(TEST_UNIT_READY).good()


def rejected_and_failed(s, itt):
    rej = s.expect(REJECT)
    assert rej.response == 0x02
    rsp = s.recv_for(itt)
    assert rsp.opcode == SCSI_RESPONSE and rsp.status == 2
    sense = Sense(rsp.data)
    # 11.4.7.2: protocol service CRC error.
    assert sense.key == 0xb and sense.code == 0x4705


def test_data_digest_error_in_immediate_data(connect):
    s = connect(BOTH)
    s.run(write10(0, 1), b'\x33' * 512).good()
    pdu = Pdu(SCSI_COMMAND, FINAL | WRITE | SIMPLE, b'\x44' * 512, itt=900,
              edtl=512, cmdsn=s.cmdsn, expstatsn=s.statsn,
              cdb=write10(0, 1), lun=lun_field(0))
    s.cmdsn += 1
    s.send_raw(damaged(pdu, s, 52 + 100))
    rejected_and_failed(s, 900)
    s.run(TEST_UNIT_READY).good()
    # It failed, so the content is not defined; the next write is.
    s.run(write10(0, 1), b'\x55' * 512).good()
    assert s.run(read10(0, 1), read_len=512).data == b'\x55' * 512


def test_data_digest_error_in_data_out(connect):
    s = connect(SOLICITED)
    itt = s.command(write10(0, 8), FINAL | WRITE | SIMPLE, 4096).itt
    r = s.expect(R2T)
    pdu = Pdu(DATA_OUT, 0, b'\x66' * 2048, itt=itt, ttt=r.ttt, offset=0,
              datasn=0, expstatsn=s.statsn)
    s.send_raw(damaged(pdu, s, 52 + 9))
    rejected_and_failed(s, itt)
    s.data_out(itt, r.ttt, 2048, 1, b'\x66' * 2048, True)
    s.run(TEST_UNIT_READY).good()


def test_data_digest_error_in_large_data_out(connect):
    """Large enough to be received straight into the disk's memory."""
    s = connect(SOLICITED)
    itt = s.command(write10(0, 512), FINAL | WRITE | SIMPLE, 262144).itt
    r = s.expect(R2T)
    assert r.desired == 262144
    pdu = Pdu(DATA_OUT, FINAL, b'\x77' * 262144, itt=itt, ttt=r.ttt,
              expstatsn=s.statsn)
    s.send_raw(damaged(pdu, s, 200000))
    rejected_and_failed(s, itt)
    s.run(TEST_UNIT_READY).good()


def test_digest_errors_again_and_again(connect, tgt):
    s = connect(BOTH)
    for i in range(50):
        pdu = Pdu(NOP_OUT, FINAL, b'data', itt=i + 1, ttt=RESERVED_TAG,
                  cmdsn=s.cmdsn, expstatsn=s.statsn)
        s.cmdsn += 1
        s.send_raw(damaged(pdu, s, 52))
        assert s.expect(REJECT).response == 0x02
    s.run(TEST_UNIT_READY).good()
