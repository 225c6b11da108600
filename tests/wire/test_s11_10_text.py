# SPDX-License-Identifier: BSD-3-Clause
"""RFC 7143, 6.4, 11.10, 11.11: text in full feature phase."""

import pytest

from daemon import basic
from iscsi_wire import (CONTINUE, DATA_IN, FINAL, REJECT, RESERVED_TAG,
                        TEST_UNIT_READY, TEXT_REQUEST, TEXT_RESPONSE,
                        pairs_of, read10, text)

TARGET = {'calls': basic()}


def test_empty_request(connect):
    s = connect()
    assert s.text([]) == []


def test_unknown_key(connect):
    s = connect()
    assert s.text([('X-com.example.x', 'y')]) == [
        ('X-com.example.x', 'NotUnderstood')]


def test_new_segment_length(connect):
    """13.12 may be declared anew, and is in force after the response."""
    s = connect()
    s.text([('MaxRecvDataSegmentLength', '1024')])
    s.max_recv = 1024
    r = s.run(read10(0, 8), read_len=4096).good()
    assert [p.opcode for p in r.pdus] == [DATA_IN] * 4


@pytest.mark.parametrize('key,value', [
    ('HeaderDigest', 'CRC32C'), ('MaxConnections', '2'),
    ('InitialR2T', 'Yes'), ('TargetName', 'x'),
    ('AuthMethod', 'None'), ('InitiatorName', 'iqn.2016-06.io.spdk:z')])
def test_key_of_the_login_phase(connect, key, value):
    """13: "use: LO/IO": not here. An answer that says so, or a Reject."""
    s = connect()
    s.request(TEXT_REQUEST, FINAL, text([(key, value)]))
    rsp = s.recv()
    if rsp.opcode == TEXT_RESPONSE:
        assert pairs_of(rsp.data) in ([(key, 'Reject')],
                                      [(key, 'Irrelevant')])
    else:
        assert rsp.opcode == REJECT and rsp.response == 0x04
    s.run(TEST_UNIT_READY).good()


@pytest.mark.parametrize('data', [
    b'no equals\0', b'=value\0', b'key=value', b'\0\0\0', b'a' * 64 +
    b'=too long\0', b'MaxRecvDataSegmentLength=1024\0' * 2])
def test_not_text(connect, data):
    """6.1; what has no pairs at all is no harm."""
    s = connect()
    s.request(TEXT_REQUEST, FINAL, data)
    rsp = s.recv()
    if data.strip(b'\0'):
        assert rsp.opcode == REJECT and rsp.response == 0x04
    s.run(TEST_UNIT_READY).good()
    s.text([])


def test_reserved_task_tag(connect):
    s = connect()
    s.request(TEXT_REQUEST, FINAL, itt=RESERVED_TAG)
    assert s.expect(REJECT).response == 0x09
    s.run(TEST_UNIT_READY).good()


def test_unknown_transfer_tag(connect):
    s = connect()
    s.request(TEXT_REQUEST, FINAL, ttt=0x1234)
    assert s.expect(REJECT).response == 0x09
    s.run(TEST_UNIT_READY).good()


def test_f_with_c(connect):
    """11.10.2: with C, F is 0."""
    s = connect()
    s.request(TEXT_REQUEST, FINAL | CONTINUE, text([('a', 'b')]))
    assert s.recv().opcode == REJECT
    s.run(TEST_UNIT_READY).good()


def test_request_without_f(connect):
    """The initiator has more to say: F=0 in the response, a tag, and on."""
    s = connect()
    pdu = s.request(TEXT_REQUEST, 0, text([('X-a', '1')]))
    rsp = s.expect(TEXT_RESPONSE)
    assert not rsp.final and rsp.ttt != RESERVED_TAG
    assert pairs_of(rsp.data) == [('X-a', 'NotUnderstood')]
    s.request(TEXT_REQUEST, FINAL, text([('X-b', '1')]), itt=pdu.itt,
              ttt=rsp.ttt)
    rsp = s.expect(TEXT_RESPONSE)
    assert rsp.final and rsp.ttt == RESERVED_TAG
    assert pairs_of(rsp.data) == [('X-b', 'NotUnderstood')]
