# SPDX-License-Identifier: BSD-3-Clause
"""RFC 7143, 11.17: Reject, with the right reason and the bad header."""

import pytest

from daemon import basic
from iscsi_wire import (FINAL, IMMEDIATE, READ, REJECT, RESERVED_TAG,
                        SCSI_RESPONSE, SIMPLE, SNACK, TEST_UNIT_READY, Pdu,
                        Sense, inquiry)

TARGET = {'calls': basic()}
OURS = {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x10}


def rejected(s, pdu, *reasons):
    raw = pdu.pack(s.header_digest, s.data_digest)
    s.send_raw(raw)
    rej = s.expect(REJECT)
    assert rej.response in reasons, rej
    assert rej.itt == RESERVED_TAG and rej.final
    # 11.17.4: the complete header of what was rejected.
    assert rej.data[:48] == raw[:48]
    return rej


@pytest.mark.parametrize('opcode', sorted(set(range(0x40)) - OURS))
def test_opcode_that_is_none(connect, opcode):
    s = connect()
    pdu = Pdu(opcode | IMMEDIATE, FINAL, itt=5, expstatsn=s.statsn,
              cmdsn=s.cmdsn)
    rejected(s, pdu, 0x05)
    s.run(TEST_UNIT_READY).good()


def test_opcode_that_is_none_with_data(connect):
    """Its data is skipped, and what follows is understood."""
    s = connect()
    rejected(s, Pdu(0x1c | IMMEDIATE, FINAL, b'vendor' * 100, itt=5), 0x05)
    s.run(TEST_UNIT_READY).good()


def test_snack_at_level_0(connect):
    """11.16: of ErrorRecoveryLevel 1."""
    s = connect()
    rejected(s, Pdu(SNACK, FINAL | 1, itt=RESERVED_TAG, ttt=RESERVED_TAG,
                    expstatsn=s.statsn), 0x03, 0x04)
    s.run(TEST_UNIT_READY).good()


@pytest.mark.parametrize('opcode', [0x00, 0x02, 0x04, 0x06])
def test_additional_header_where_there_is_none(connect, opcode):
    s = connect()
    pdu = Pdu(opcode | IMMEDIATE, FINAL, itt=5, ttt=RESERVED_TAG,
              ahs=b'\0\5\1\0\0\0\0\0', cmdsn=s.cmdsn, expstatsn=s.statsn)
    rejected(s, pdu, 0x04, 0x09)
    s.run(TEST_UNIT_READY).good()


def test_command_with_reserved_tag(connect):
    s = connect()
    pdu = Pdu(1 | IMMEDIATE, FINAL | SIMPLE, itt=RESERVED_TAG,
              cmdsn=s.cmdsn, cdb=TEST_UNIT_READY)
    rejected(s, pdu, 0x09)
    s.run(TEST_UNIT_READY).good()


def test_read_without_f(connect):
    """11.3.1: F is 0 only when unsolicited Data-Out follows."""
    s = connect()
    pdu = Pdu(1 | IMMEDIATE, READ | SIMPLE, itt=9, edtl=96,
              cmdsn=s.cmdsn, cdb=inquiry())
    rejected(s, pdu, 0x09, 0x04)
    s.run(TEST_UNIT_READY).good()


def test_long_cdb(connect):
    """11.2.2.4: an Extended CDB is taken, and judged by the device server."""
    s = connect()
    cdb = bytes([0x7f, 0, 0, 0, 0, 0, 0, 24]) + bytes(24)
    extra = cdb[16:]
    ahs = (len(extra) + 1).to_bytes(2, 'big') + b'\1\0' + extra
    pdu = s.command(cdb, lun=0, ahs=ahs)
    rsp = s.recv_for(pdu.itt)
    assert rsp.opcode == SCSI_RESPONSE and rsp.status == 2
    assert Sense(rsp.data).key == 5
    s.run(TEST_UNIT_READY).good()


@pytest.mark.parametrize('ahs', [
    b'\0\0\1\0', b'\0\1\1\0', b'\xff\xff\1\0', b'\0\5\3\0\0\0\0\0',
    b'\0\5\2\0\0\0\0\0' * 2, b'\0\x09\1\0' + bytes(8) + b'\0\x09\1\0' +
    bytes(8)])
def test_bad_additional_header_of_a_command(connect, ahs):
    s = connect()
    pdu = Pdu(1 | IMMEDIATE, FINAL | SIMPLE, itt=9, ahs=ahs,
              cmdsn=s.cmdsn, cdb=TEST_UNIT_READY)
    s.send(pdu)
    rsp = s.recv()
    # Two read lengths are odd but harmless.
    assert rsp.opcode == REJECT and rsp.response in (0x04, 0x09) or \
        (rsp.opcode == SCSI_RESPONSE and ahs[2] == 2)
    s.run(TEST_UNIT_READY).good()


def test_data_segment_too_long(connect):
    """13.12: beyond what was declared: what follows cannot be trusted."""
    s = connect()
    pdu = Pdu(0 | IMMEDIATE, FINAL, itt=5, ttt=RESERVED_TAG)
    pdu.dsl = s.max_send + 1
    s.send(pdu)
    said = s.expect_closed()
    assert all(p.opcode == REJECT for p in said)
