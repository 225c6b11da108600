# SPDX-License-Identifier: BSD-3-Clause
"""RFC 7143, 11.5, 11.6: task management that really acts."""

import pytest

from daemon import basic
from iscsi_wire import (FINAL, R2T, SCSI_RESPONSE, SIMPLE, TASK_ABORTED,
                        TEST_UNIT_READY, TMF_REQUEST, TMF_RESPONSE, WRITE,
                        lun_field, read10, write10)

ABORT_TASK, ABORT_TASK_SET, CLEAR_ACA, CLEAR_TASK_SET = 1, 2, 3, 4
LUN_RESET, WARM_RESET, COLD_RESET, REASSIGN = 5, 6, 7, 8
COMPLETE, NO_TASK, NO_LUN, NOT_SUPPORTED = 0, 1, 2, 5

SOLICITED = {'ImmediateData': 'No', 'InitialR2T': 'Yes'}
TARGET = {'calls': basic() + [
    ('bdev_malloc_create', {'name': 'Malloc1', 'num_blocks': 2048,
                            'block_size': 512}),
    ('iscsi_target_node_add_lun', {'name': 'iqn.2016-06.io.spdk:disk1',
                                   'bdev_name': 'Malloc1', 'lun_id': 1}),
]}


def waiting_write(s, lba=0, lun=0):
    """A write that waits for its data."""
    if lun:
        s.clear_attention(lun)
    pdu = s.command(write10(lba, 8), FINAL | WRITE | SIMPLE, 4096, lun=lun)
    r = s.recv_for(pdu.itt)
    assert r.opcode == R2T
    return pdu, r


def pattern(s, lba, byte, lun=0):
    s.run(write10(lba, 8), bytes([byte]) * 4096, lun=lun).good()


def content(s, lba, lun=0):
    return s.run(read10(lba, 8), read_len=4096, lun=lun).good().data


def test_abort_task(connect):
    s = connect(SOLICITED)
    pattern(s, 0, 1)
    cmd, r = waiting_write(s)
    assert s.tmf(ABORT_TASK, cmd.itt, cmd.cmdsn) == COMPLETE
    # Its data comes too late, and nothing answers it.
    s.data_out(cmd.itt, r.ttt, 0, 0, b'\xee' * 4096, True)
    assert content(s, 0) == b'\1' * 4096
    assert not s.stash
    # The window is as wide as before.
    rsp = s.ping()
    assert rsp.maxcmdsn - rsp.expcmdsn + 1 == 64


def test_abort_task_between_its_data(connect):
    s = connect(SOLICITED)
    pattern(s, 0, 2)
    cmd, r = waiting_write(s)
    s.data_out(cmd.itt, r.ttt, 0, 0, b'\2' * 1024, False)
    assert s.tmf(ABORT_TASK, cmd.itt, cmd.cmdsn) == COMPLETE
    s.data_out(cmd.itt, r.ttt, 1024, 1, b'\xee' * 3072, True)
    assert content(s, 0) == b'\2' * 4096
    assert not s.stash


def test_abort_task_leaves_others_alone(connect):
    s = connect(SOLICITED)
    a, _ = waiting_write(s, 0)
    b, rb = waiting_write(s, 8)
    assert s.tmf(ABORT_TASK, a.itt, a.cmdsn) == COMPLETE
    s.burst(b.itt, rb.ttt, b'\3' * 4096, 0, 4096)
    s.finish(b.itt).good()
    assert content(s, 8) == b'\3' * 4096


def test_abort_task_that_has_ended(connect):
    s = connect()
    pdu = s.command(TEST_UNIT_READY)
    s.finish(pdu.itt).good()
    assert s.tmf(ABORT_TASK, pdu.itt, pdu.cmdsn) == NO_TASK


def test_abort_task_that_has_not_come(connect):
    """11.5.1: inside the window: counts as come, and is never run."""
    s = connect()
    missing = s.cmdsn
    s.cmdsn += 1
    assert s.tmf(ABORT_TASK, 0x4711, missing) == COMPLETE
    s.request(1, FINAL | SIMPLE, itt=0x4711, cmdsn=missing,
              cdb=TEST_UNIT_READY)
    s.run(TEST_UNIT_READY).good()
    assert not s.stash


def test_abort_task_unknown(connect):
    s = connect()
    assert s.tmf(ABORT_TASK, 0x4711, s.cmdsn - 1) == NO_TASK


def test_abort_task_again_and_again(connect):
    s = connect(SOLICITED)
    for i in range(100):
        cmd, r = waiting_write(s, i)
        assert s.tmf(ABORT_TASK, cmd.itt, cmd.cmdsn,
                     immediate=i % 2 == 0) == COMPLETE
        if i % 3:
            s.data_out(cmd.itt, r.ttt, 0, 0, b'\xee' * 4096, True)
    rsp = s.ping()
    assert rsp.maxcmdsn - rsp.expcmdsn + 1 == 64


def test_abort_task_set(connect):
    """All of ours at that logical unit, and nobody else's."""
    s, other = connect(SOLICITED), connect(SOLICITED)
    for i in range(3):
        waiting_write(s, i * 8)
    elsewhere, re = waiting_write(s, 0, lun=1)
    theirs, rt = waiting_write(other, 64)
    assert s.tmf(ABORT_TASK_SET) == COMPLETE
    s.burst(elsewhere.itt, re.ttt, b'\4' * 4096, 0, 4096, lun=1)
    s.finish(elsewhere.itt).good()
    other.burst(theirs.itt, rt.ttt, b'\5' * 4096, 0, 4096)
    other.finish(theirs.itt).good()
    s.run(TEST_UNIT_READY).good()
    other.run(TEST_UNIT_READY).good()


def aborted_or_silent(s, itt):
    """SAM: gone without a word, or TASK ABORTED (control mode page, TAS)."""
    ping = s.request(0, FINAL, ttt=0xffffffff)
    seen = None
    while True:
        pdu = s.recv()
        if pdu.itt == ping.itt:
            break
        if pdu.itt == itt:
            assert seen is None and pdu.opcode == SCSI_RESPONSE
            assert pdu.status == TASK_ABORTED, pdu
            seen = pdu


@pytest.mark.parametrize('function', [CLEAR_TASK_SET, LUN_RESET])
def test_reset_acts_on_all_sessions(connect, function):
    s, other = connect(SOLICITED), connect(SOLICITED)
    pattern(s, 0, 6)
    pattern(s, 64, 6)
    mine, _ = waiting_write(s, 0)
    theirs, rt = waiting_write(other, 64)
    assert s.tmf(function) == COMPLETE
    aborted_or_silent(other, theirs.itt)
    other.data_out(theirs.itt, rt.ttt, 0, 0, b'\xee' * 4096, True)
    # SAM-5, 7.6, 7.7: the others are told.
    code = {CLEAR_TASK_SET: 0x2f00, LUN_RESET: 0x2903}[function]
    r = other.run(TEST_UNIT_READY)
    r.check(6)
    assert r.sense.code >> 8 == code >> 8, r.sense
    other.clear_attention()
    aborted_or_silent(s, mine.itt)
    s.clear_attention()
    assert content(s, 0) == b'\6' * 4096
    assert content(other, 64) == b'\6' * 4096


def test_lun_reset_of_another_lun(connect):
    s = connect(SOLICITED)
    cmd, r = waiting_write(s, 0)
    assert s.tmf(LUN_RESET, lun=1) == COMPLETE
    s.burst(cmd.itt, r.ttt, b'\7' * 4096, 0, 4096)
    s.finish(cmd.itt).good()
    s.clear_attention(1)


@pytest.mark.parametrize('function', [ABORT_TASK_SET, LUN_RESET,
                                      CLEAR_TASK_SET])
def test_lun_that_is_not_there(connect, function):
    assert connect().tmf(function, lun=9) == NO_LUN


def test_warm_reset(connect):
    s, other = connect(SOLICITED), connect(SOLICITED)
    cmd, _ = waiting_write(s, 0)
    there, _ = waiting_write(other, 8, lun=1)
    assert s.tmf(WARM_RESET) in (COMPLETE, NOT_SUPPORTED)
    aborted_or_silent(s, cmd.itt)
    aborted_or_silent(other, there.itt)
    for t in (s, other):
        t.clear_attention()
        t.clear_attention(1)


def test_cold_reset_ends_all_sessions(connect, make_tgt):
    """11.5.1: all connections are closed."""
    t = make_tgt(calls=basic())
    s, other = connect(to=t), connect(to=t)
    s.request(TMF_REQUEST, FINAL | COLD_RESET, immediate=True,
              ttt=0xffffffff)
    rsp = s.expect(TMF_RESPONSE)
    assert rsp.response in (COMPLETE, NOT_SUPPORTED)
    if rsp.response == COMPLETE:
        s.expect_closed()
        other.expect_closed()
    connect(to=t).run(TEST_UNIT_READY).good()


def test_reassign_needs_recovery_level_2(connect):
    s = connect(SOLICITED)
    cmd, r = waiting_write(s)
    assert s.tmf(REASSIGN, cmd.itt) in (4, NOT_SUPPORTED)
    s.burst(cmd.itt, r.ttt, bytes(4096), 0, 4096)
    s.finish(cmd.itt).good()


@pytest.mark.parametrize('function', [0, 9, 12, 13, 127])
def test_unknown_function(connect, function):
    s = connect()
    assert s.tmf(function) == NOT_SUPPORTED
    s.run(TEST_UNIT_READY).good()


def test_reserved_tag(connect):
    s = connect()
    s.request(TMF_REQUEST, FINAL | LUN_RESET, immediate=True,
              itt=0xffffffff, lun=lun_field(0))
    assert s.recv().opcode == 0x3f
    s.run(TEST_UNIT_READY).good()


def test_task_management_flood(connect):
    """Bounded: an answer to each, or a Reject."""
    s = connect(SOLICITED)
    for i in range(200):
        s.request(TMF_REQUEST, FINAL | LUN_RESET, immediate=True, itt=i + 1,
                  ttt=0xffffffff)
    answered = set()
    for _ in range(200):
        pdu = s.recv()
        if pdu.opcode == TMF_RESPONSE:
            answered.add(pdu.itt)
        else:
            assert pdu.opcode == 0x3f and pdu.response == 0x0a, pdu
    assert answered
    s.clear_attention()
