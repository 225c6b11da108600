# SPDX-License-Identifier: BSD-3-Clause
"""RFC 7143, 4.2.2, 4.2.3, 6.3.4: sessions of several connections."""

import random

import pytest

from daemon import basic
from iscsi_initiator import LoginFailed
from iscsi_wire import (FINAL, GOOD, RESERVED_TAG, SCSI_RESPONSE, SIMPLE,
                        TEST_UNIT_READY, WRITE, read10, write10)

TARGET = {'calls': basic(options={'max_connections_per_session': 3}),
          'core_mask': '0x3'}
KEYS = {'MaxConnections': '3'}
pytestmark = pytest.mark.multicore     # joins cross from core to core

NOT_IN_SESSION, TOO_MANY, NO_SESSION = 0x0208, 0x0206, 0x020a


@pytest.fixture
def leader(connect):
    s = connect(KEYS)
    assert s.chosen('MaxConnections', 1) == '3'
    return s


@pytest.fixture
def join(connect):
    def make(leader, cid, **fields):
        c = connect(login=False, name=leader.name, isid=leader.isid)
        c.tsih, c.cid, c.cmdsn = leader.tsih, cid, leader.cmdsn
        for name, value in fields.items():
            setattr(c, name, value)
        # Keys of the session are the leading connection's to negotiate.
        c.login({'MaxConnections': None, 'InitialR2T': None,
                 'ImmediateData': None, 'MaxBurstLength': None,
                 'FirstBurstLength': None, 'MaxOutstandingR2T': None,
                 'DataPDUInOrder': None, 'DataSequenceInOrder': None,
                 'DefaultTime2Wait': None, 'DefaultTime2Retain': None,
                 'ErrorRecoveryLevel': None})
        c.initial_r2t, c.immediate_data = False, True
        return c
    return make


@pytest.fixture(autouse=True)
def drop_none(monkeypatch):
    """A key that is None is not said."""
    import iscsi_initiator
    said = iscsi_initiator.text
    monkeypatch.setattr(
        iscsi_initiator, 'text',
        lambda pairs: said({k: v for k, v in pairs.items() if v is not None}
                           if isinstance(pairs, dict) else pairs))


def turn(a, b):
    """The next command number is the session's."""
    b.cmdsn = a.cmdsn


def test_commands_on_every_connection(leader, join):
    second, third = join(leader, 2), join(leader, 3)
    data = random.Random(1).randbytes(512 * 24)
    conns = [leader, second, third]
    for i in range(24):
        c = conns[i % 3]
        c.run(write10(i, 1), data[i * 512:][:512]).good()
        turn(c, conns[(i + 1) % 3])
    for i in range(3):
        c = conns[i % 3]
        assert c.run(read10(0, 24), read_len=len(data)).good().data == data
        turn(c, conns[(i + 1) % 3])
    leader.logout()
    for c in (second, third):
        c.expect_closed()


def test_one_too_many(leader, join):
    join(leader, 2), join(leader, 3)
    with pytest.raises(LoginFailed) as e:
        join(leader, 4)
    assert e.value.status == TOO_MANY
    leader.run(TEST_UNIT_READY).good()


@pytest.mark.parametrize('fields', [
    {'tsih': 0x7777}, {'isid': b'\x80\0\0\x99\x99\x99'},
    {'name': 'iqn.2026-11.example:somebody.else'}])
def test_session_that_is_not_theirs(leader, join, fields):
    with pytest.raises(LoginFailed) as e:
        join(leader, 2, **fields)
    assert e.value.status == NO_SESSION
    leader.run(TEST_UNIT_READY).good()


def test_single_connection_session_takes_no_second(connect, join):
    s = connect({'MaxConnections': '1'})
    with pytest.raises(LoginFailed) as e:
        join(s, 2)
    assert e.value.status == TOO_MANY
    s.run(TEST_UNIT_READY).good()


def test_order_is_the_sessions(leader, join):
    """4.2.2.1: a command waits for the one before it on the other
    connection, with its data."""
    second = join(leader, 2)
    base = leader.cmdsn
    old, new = b'o' * 512, b'n' * 512
    late = second.command(write10(9, 1), FINAL | WRITE | SIMPLE, 512, new,
                          cmdsn=base + 1)
    second.expect_silence(0.3)
    leader.run(write10(9, 1), old).good()
    rsp = second.recv_for(late.itt)
    assert rsp.opcode == SCSI_RESPONSE and rsp.status == GOOD
    leader.cmdsn = base + 2
    assert leader.run(read10(9, 1), read_len=512).good().data == new


def test_unsolicited_data_waits_with_its_command(leader, join):
    second = join(leader, 2)
    base = leader.cmdsn
    data = random.Random(2).randbytes(8192)
    late = second.command(write10(64, 16), WRITE | SIMPLE, 8192,
                          data[:1024], cmdsn=base + 1)
    second.burst(late.itt, RESERVED_TAG, data, 1024, 8192 - 1024, 2048)
    second.expect_silence(0.3)
    leader.run(TEST_UNIT_READY).good()
    assert second.finish(late.itt, data, sent=8192).status == GOOD
    leader.cmdsn = base + 2
    assert leader.run(read10(64, 16), read_len=8192).good().data == data


def test_logout_of_one(leader, join):
    second = join(leader, 2)
    assert second.logout(reason=1) == 0
    turn(second, leader)
    leader.run(TEST_UNIT_READY).good()
    third = join(leader, 2)
    third.run(TEST_UNIT_READY).good()


def test_logout_of_the_other(leader, join):
    second = join(leader, 2)
    assert leader.logout(reason=1, cid=2, closes=False) == 0
    second.expect_closed()
    leader.run(TEST_UNIT_READY).good()
    assert leader.logout(reason=1, cid=9, closes=False) == 1


def test_connection_reinstatement(leader, join):
    """6.3.4: a login with a CID in use ends the old connection."""
    second = join(leader, 2)
    again = join(leader, 2)
    second.expect_closed()
    again.run(TEST_UNIT_READY).good()
    turn(again, leader)
    leader.run(TEST_UNIT_READY).good()
    # Also of the only one.
    turn(leader, again)
    again.logout(reason=1)
    turn(again, leader)
    last = join(leader, leader.cid)
    leader.expect_closed()
    last.run(TEST_UNIT_READY).good()


def test_failure_of_one_ends_all(leader, join):
    """7.1.5: below level 2 there is nobody who could take over."""
    second = join(leader, 2)
    second.reset()
    leader.expect_closed()


def test_data_out_keeps_to_its_connection(leader, join):
    second = join(leader, 2)
    cmd = leader.command(write10(0, 8), WRITE | SIMPLE, 4096, bytes(512))
    second.data_out(cmd.itt, RESERVED_TAG, 512, 0, bytes(512), False)
    reject = second.recv()
    assert reject.opcode == 0x3f and reject.response == 0x04
    leader.burst(cmd.itt, RESERVED_TAG, bytes(4096), 512, 4096 - 512)
    assert leader.finish(cmd.itt, bytes(4096), sent=4096).status == GOOD
