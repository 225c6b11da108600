# SPDX-License-Identifier: BSD-3-Clause
"""RFC 7143, 7.1.4.4, 7.2.2, 11.5: ErrorRecoveryLevel 2: a connection is lost,
its tasks are not."""

import random

import pytest

from daemon import basic, wait_until
from iscsi_initiator import LoginFailed
from iscsi_wire import (DATA_IN, FINAL, GOOD, R2T, READ, RESERVED_TAG,
                        SCSI_RESPONSE, SIMPLE, STATUS, TEST_UNIT_READY, WRITE,
                        read10, write10)

TARGET = {'calls': basic(options={'error_recovery_level': 2,
                                  'max_connections_per_session': 2,
                                  'default_time2wait': 0,
                                  'default_time2retain': 20})}
KEYS = {'ErrorRecoveryLevel': '2', 'MaxConnections': '2',
        'DefaultTime2Wait': '0', 'DefaultTime2Retain': '20',
        'MaxRecvDataSegmentLength': '2048', 'MaxBurstLength': '8192',
        'InitialR2T': 'Yes', 'ImmediateData': 'Yes'}
REASSIGN, ABORT, LUN_RESET = 8, 1, 5
RECOVERY = 2
DONE, NO_TASK, ALLEGIANT, NO_REASSIGN = 0, 1, 3, 4


@pytest.fixture
def first(connect):
    s = connect(KEYS)
    assert s.chosen('ErrorRecoveryLevel', 0) == '2'
    return s


@pytest.fixture
def again(connect):
    """Another connection for the session, by default with the same CID."""
    def make(s, cid=None):
        c = connect(login=False, name=s.name, isid=s.isid)
        c.tsih, c.cmdsn = s.tsih, s.cmdsn
        c.cid = s.cid if cid is None else cid
        c.itt = s.itt
        c.offered = dict(KEYS)
        said = '\0'.join(('MaxRecvDataSegmentLength=2048', 'HeaderDigest=None',
                          'DataDigest=None', '')).encode()
        c.login_step(('InitiatorName=%s\0TargetName=%s\0SessionType=Normal\0'
                      'AuthMethod=None\0' % (c.name, c.target)).encode(),
                     0, 1)
        c.enter_full_feature(c.login_step(said, 1, 3))
        return c
    return make


def reassign(c, itt, expdatasn=0):
    pdu = c.request(0x02, FINAL | REASSIGN, immediate=True, ttt=itt,
                    expdatasn=expdatasn)
    rsp = c.recv_for(pdu.itt)
    assert rsp.opcode == 0x22
    return rsp.response


def fill(s, blocks=16):
    data = random.Random(blocks).randbytes(blocks * 512)
    s.run(write10(0, blocks), data).good()
    return data


def test_write_goes_on(first, again):
    """Data that came stays; what is missing is asked for on the new one."""
    data = random.Random(1).randbytes(8192)
    itt = first.command(write10(100, 16), FINAL | WRITE | SIMPLE, 8192,
                        data[:1024]).itt
    r2t = first.recv_for(itt)
    assert (r2t.offset, r2t.desired) == (1024, 7168)
    first.data_out(itt, r2t.ttt, 1024, 0, data[1024:3072], False)
    first.ping(b'so that it is there')
    first.reset()
    c = again(first)
    assert reassign(c, itt) == DONE
    r2t = c.recv_for(itt)
    assert r2t.opcode == R2T and r2t.r2tsn == 1
    assert r2t.offset in (1024, 3072)
    c.burst(itt, r2t.ttt, data, r2t.offset, 8192 - r2t.offset)
    assert c.recv_for(itt).status == GOOD
    assert c.run(read10(100, 16), read_len=8192).good().data == data


@pytest.mark.parametrize('have', [0, 1, 3, 4])
def test_read_goes_on(first, again, have):
    data = fill(first)
    itt = first.command(read10(0, 16), FINAL | READ | SIMPLE, 8192).itt
    pdus = [first.recv_for(itt) for _ in range(4)]
    assert pdus[-1].flags & STATUS
    first.reset()
    c = again(first)
    assert reassign(c, itt, have) == DONE
    for n in range(have, 4):
        pdu = c.expect(DATA_IN)
        assert pdu.datasn == n
        assert pdu.data == data[pdu.offset:][:2048] == pdus[n].data
    if have == 4:
        assert c.expect(SCSI_RESPONSE).status == GOOD
    else:
        assert pdu.flags & STATUS
    c.run(TEST_UNIT_READY).good()


def test_status_that_was_not_acknowledged(first, again):
    ack = first.statsn
    itt = first.command(TEST_UNIT_READY, expstatsn=ack).itt
    first.recv_for(itt)
    first.reset()
    c = again(first)
    assert reassign(c, itt) == DONE
    assert c.expect(SCSI_RESPONSE).status == GOOD
    # Now it is.
    c.run(TEST_UNIT_READY).good()
    assert reassign(c, itt) == NO_TASK


def test_acknowledged_task_is_over(first, again):
    itt = first.command(TEST_UNIT_READY).itt
    first.recv_for(itt)
    first.ping()
    first.reset()
    c = again(first)
    assert reassign(c, itt) == NO_TASK
    assert reassign(c, 0x1234567) == NO_TASK


def test_logout_for_recovery(first, again):
    """7.2.2: on another connection, which then takes the tasks."""
    data = random.Random(2).randbytes(4096)
    itt = first.command(write10(0, 8), FINAL | WRITE | SIMPLE, 4096).itt
    first.recv_for(itt)
    c = again(first, cid=2)
    assert reassign(c, itt) == ALLEGIANT
    assert c.logout(RECOVERY, cid=first.cid, closes=False) == 0
    first.expect_closed()

    def moved():
        response = reassign(c, itt)
        assert response in (DONE, ALLEGIANT)
        return response == DONE
    wait_until(moved, 5, 'the task to move')
    r2t = c.recv_for(itt)
    c.burst(itt, r2t.ttt, data, r2t.offset, r2t.desired)
    assert c.recv_for(itt).status == GOOD
    assert c.logout(RECOVERY, cid=9, closes=False) == 1
    assert c.run(read10(0, 8), read_len=4096).good().data == data


def test_other_connection_lives_on(first, again):
    c = again(first, cid=2)
    first.reset()
    c.run(TEST_UNIT_READY).good()


@pytest.mark.parametrize('function', [ABORT, LUN_RESET])
def test_orphans_can_be_aborted(first, again, function):
    itt = first.command(write10(0, 8), FINAL | WRITE | SIMPLE, 4096).itt
    first.recv_for(itt)
    cmdsn = first.cmdsn - 1
    first.reset()
    c = again(first)
    assert c.tmf(function, itt, cmdsn) == DONE
    assert reassign(c, itt) == NO_TASK
    c.clear_attention()


def test_time_to_retain(connect, again, tgt):
    """Nobody comes: the session ends, and takes its tasks along."""
    s = connect(dict(KEYS, DefaultTime2Retain='1'))
    itt = s.command(write10(0, 8), FINAL | WRITE | SIMPLE, 4096).itt
    s.recv_for(itt)
    before = tgt.rpc('iscsi_get_stats')['sessions']
    s.reset()
    wait_until(lambda: tgt.rpc('iscsi_get_stats')['sessions'] < before, 10,
               'the session to end')
    with pytest.raises(LoginFailed) as e:
        again(s)
    assert e.value.status == 0x020a


def test_no_retention(connect, tgt):
    s = connect(dict(KEYS, DefaultTime2Retain='0'))
    s.command(write10(0, 8), FINAL | WRITE | SIMPLE, 4096)
    before = tgt.rpc('iscsi_get_stats')['sessions']
    s.reset()
    wait_until(lambda: tgt.rpc('iscsi_get_stats')['sessions'] < before, 10,
               'the session to end')


def test_reinstatement_ends_what_waits(first, connect):
    """A new session of the same initiator port: the old one is over."""
    itt = first.command(write10(0, 8), FINAL | WRITE | SIMPLE, 4096).itt
    first.recv_for(itt)
    first.reset()
    s = connect(KEYS, name=first.name, isid=first.isid)
    assert s.tsih != first.tsih
    assert reassign(s, itt) == NO_TASK


def test_below_level_2(connect):
    s = connect(dict(KEYS, ErrorRecoveryLevel='1'))
    assert reassign(s, 77) == NO_REASSIGN
    assert s.logout(RECOVERY, cid=1, closes=False) == 2
