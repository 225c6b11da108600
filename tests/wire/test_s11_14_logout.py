# SPDX-License-Identifier: BSD-3-Clause
"""RFC 7143, 11.14, 11.15: logout; 6.3.5: reinstatement; 11.9: being asked."""

import pytest

from daemon import basic, iqn
from iscsi_initiator import NAME
from iscsi_wire import (ASYNC_MESSAGE, FINAL, LOGOUT_REQUEST,
                        LOGOUT_RESPONSE, R2T, READ, REJECT, SCSI_RESPONSE,
                        SIMPLE, TEST_UNIT_READY, WRITE, NoAnswer, read10,
                        write10)

TARGET = {'calls': basic()}


def test_close_session(connect):
    assert connect().logout(0) == 0


def test_close_connection(connect):
    assert connect().logout(1) == 0


def test_close_unknown_connection(connect):
    s = connect()
    assert s.logout(1, cid=77, closes=False) == 1
    s.run(TEST_UNIT_READY).good()


def test_recovery_is_not_supported(connect):
    s = connect()
    assert s.logout(2, closes=False) == 2
    s.run(TEST_UNIT_READY).good()


@pytest.mark.parametrize('reason', [3, 64, 127])
def test_unknown_reason(connect, reason):
    s = connect()
    s.request(LOGOUT_REQUEST, FINAL | reason, cid=s.cid)
    assert s.recv().opcode == REJECT
    s.run(TEST_UNIT_READY).good()


def test_commands_before_logout_are_answered(connect):
    """A logout in order comes after what was asked before."""
    s = connect()
    itts = [s.command(read10(i * 8, 8), FINAL | READ | SIMPLE, 4096).itt
            for i in range(16)]
    logout = s.request(LOGOUT_REQUEST, FINAL, cid=s.cid)
    for itt in itts:
        s.finish(itt, read_len=4096).good()
    rsp = s.recv_for(logout.itt)
    assert rsp.opcode == LOGOUT_RESPONSE and rsp.response == 0
    assert not s.expect_closed()


def test_logout_with_a_write_that_waits(connect, tgt):
    """What is not complete ends with the session, silently or not."""
    s = connect({'ImmediateData': 'No', 'InitialR2T': 'Yes'})
    before = b'\x11' * 4096
    s.run(write10(0, 8), before).good()
    s.command(write10(0, 8), FINAL | WRITE | SIMPLE, 4096)
    assert s.recv().opcode == R2T
    logout = s.request(LOGOUT_REQUEST, FINAL, cid=s.cid)
    said = s.expect_closed()
    assert [p for p in said if p.itt == logout.itt and
            p.opcode == LOGOUT_RESPONSE and p.response == 0]
    assert not [p for p in said if p.opcode == SCSI_RESPONSE and
                p.status == 0]
    t = connect()
    assert t.run(read10(0, 8), read_len=4096).good().data == before


def test_nothing_counts_after_logout(connect):
    s = connect()
    s.run(write10(16, 1), bytes(512)).good()
    s.request(LOGOUT_REQUEST, FINAL, cid=s.cid)
    s.command(write10(16, 1), FINAL | WRITE | SIMPLE, 512, b'\xff' * 512)
    said = s.expect_closed()
    assert [p.opcode for p in said] == [LOGOUT_RESPONSE]
    t = connect()
    assert t.run(read10(16, 1), read_len=512).good().data == bytes(512)


# ---- 6.3.5: the same initiator port logs in again.

ISID = b'\x80\0\0\x77\0\1'


def test_reinstatement_ends_the_old_session(connect):
    old = connect(isid=ISID)
    new = connect(isid=ISID)
    assert new.tsih != 0
    old.expect_closed()
    new.run(TEST_UNIT_READY).good()


def test_reinstatement_with_commands_in_flight(connect):
    """None of the old session's writes may act after the new one began."""
    keys = {'ImmediateData': 'No', 'InitialR2T': 'Yes'}
    old = connect(keys, isid=ISID)
    old.run(write10(0, 8), b'\x22' * 4096).good()
    old.command(write10(0, 8), FINAL | WRITE | SIMPLE, 4096)
    r = old.expect(R2T)
    old.data_out(r.itt, r.ttt, 0, 0, b'\x22' * 512, False)
    new = connect(keys, isid=ISID)
    old.expect_closed()
    assert new.run(read10(0, 8), read_len=4096).good().data == \
        b'\x22' * 4096


def test_other_ports_are_left_alone(connect):
    a = connect(isid=b'\x80\0\0\x77\0\2')
    b = connect(isid=b'\x80\0\0\x77\0\3')
    c = connect(isid=b'\x80\0\0\x77\0\2', name=NAME + '-another')
    for s in (a, b, c):
        s.run(TEST_UNIT_READY).good()


def test_reinstatement_storm(connect, tgt):
    tgt.quiet()
    fds = tgt.fds()
    for i in range(60):
        s = connect(isid=ISID)
        s.command(read10(0, 128), FINAL | READ | SIMPLE, 65536)
        if i % 3 == 0:
            s.reset()
    s.recv()
    s.close()
    tgt.quiet()
    assert tgt.fds() <= fds + 2


def test_duplicated_isid_when_allowed(make_tgt, connect):
    t = make_tgt(calls=basic(options={'allow_duplicated_isid': True}))
    a, b = connect(to=t, isid=ISID), connect(to=t, isid=ISID)
    assert a.tsih != b.tsih
    a.run(TEST_UNIT_READY).good()
    b.run(TEST_UNIT_READY).good()


# ---- 11.9: the target asks for the logout.

def test_request_logout(connect, tgt):
    s, other = connect(), connect(discovery=True)
    tgt.rpc('iscsi_target_node_request_logout', name=iqn())
    a = s.expect(ASYNC_MESSAGE)
    assert a.async_event == 1 and a.itt == 0xffffffff
    assert a.parameter3 > 0
    # Until then commands are served.
    s.run(TEST_UNIT_READY).good()
    assert s.logout() == 0
    with pytest.raises(NoAnswer):
        other.recv(0.2)


def test_target_is_deleted(make_tgt, connect):
    """All its sessions end; those who come are told so."""
    t = make_tgt(calls=basic())
    s = connect({'ImmediateData': 'No', 'InitialR2T': 'Yes'}, to=t)
    s.command(write10(0, 8), FINAL | WRITE | SIMPLE, 4096)
    s.expect(R2T)
    t.rpc('iscsi_delete_target_node', name=iqn())
    s.expect_closed()
    from iscsi_initiator import LoginFailed
    with pytest.raises(LoginFailed) as e:
        connect(to=t)
    assert e.value.status in (0x0203, 0x0204)
