# SPDX-License-Identifier: BSD-3-Clause
"""RFC 7143, 4.2.2.1: command numbers and the window."""

from daemon import basic, iqn
from iscsi_wire import (FINAL, NOP_IN, NOP_OUT, R2T, READ,
                        RESERVED_TAG, SCSI_COMMAND, SCSI_RESPONSE, SIMPLE,
                        TASK_SET_FULL, TEST_UNIT_READY, WRITE, Pdu, inquiry,
                        read10, write10)

DEPTH = 8
TARGET = {'calls': basic(queue_depth=DEPTH)}


def nop(s, cmdsn, itt):
    s.send(Pdu(NOP_OUT, FINAL, itt=itt, ttt=RESERVED_TAG, cmdsn=cmdsn,
               expstatsn=s.statsn))


def test_window_is_the_queue_depth(connect):
    s = connect()
    rsp = s.ping()
    assert rsp.expcmdsn == s.cmdsn
    assert rsp.maxcmdsn - rsp.expcmdsn + 1 == DEPTH


def test_out_of_order_is_put_in_order(connect):
    """Those that come early wait for the one that is missing."""
    s = connect()
    base = s.cmdsn
    for i in (3, 1, 2):
        nop(s, base + i, 100 + i)
    s.expect_silence(0.3)
    nop(s, base, 100)
    assert [s.expect(NOP_IN).itt for _ in range(4)] == [100, 101, 102, 103]
    s.cmdsn = base + 4
    assert s.ping().expcmdsn == s.cmdsn


def test_early_write_with_its_data(connect):
    """A command that waits for its turn, and its unsolicited data with it."""
    s = connect()
    data = b'\x5a' * 4096
    base = s.cmdsn
    pdu = Pdu(SCSI_COMMAND, WRITE | SIMPLE, data[:512], itt=501, edtl=4096,
              cmdsn=base + 1, expstatsn=s.statsn, cdb=write10(8, 8))
    s.send(pdu)
    s.burst(501, RESERVED_TAG, data, 512, 3584, size=1024)
    s.expect_silence(0.2)
    nop(s, base, 500)
    assert s.expect(NOP_IN).itt == 500
    s.cmdsn = base + 2
    s.finish(501, data, sent=4096).good()
    assert s.run(read10(8, 8), read_len=4096).good().data == data


def test_duplicate_is_ignored(connect):
    s = connect()
    base = s.cmdsn
    s.ping()
    nop(s, base, 77)
    s.expect_silence(0.3)
    nop(s, base + 2, 78)
    nop(s, base + 2, 79)
    nop(s, base + 1, 80)
    assert [s.expect(NOP_IN).itt for _ in range(2)] == [80, 78]
    s.expect_silence(0.2)


def test_outside_of_the_window_is_ignored(connect):
    s = connect()
    for away in (DEPTH, DEPTH + 1, 1 << 31, 0xffffffff, 0x80000001):
        nop(s, s.cmdsn + away & 0xffffffff, 90)
    s.expect_silence(0.3)
    assert s.ping().expcmdsn == s.cmdsn
    # The last one inside is taken.
    nop(s, s.cmdsn + DEPTH - 1, 91)
    for i in range(DEPTH - 1):
        nop(s, s.cmdsn + i, 92 + i)
    got = [s.expect(NOP_IN).itt for _ in range(DEPTH)]
    assert got[-1] == 91


def test_window_shuts_while_commands_wait(connect):
    """Commands that are not answered use up the window."""
    s = connect({'ImmediateData': 'No', 'InitialR2T': 'Yes'})
    r2ts = []
    for i in range(DEPTH):
        s.command(write10(i * 8, 1), FINAL | WRITE | SIMPLE, 512)
        r2ts.append(s.expect(R2T))
    last = r2ts[-1]
    assert last.expcmdsn == s.cmdsn
    assert last.maxcmdsn == s.cmdsn - 1, 'the window should be shut'
    # One more is outside of it, and gets no answer.
    s.send(Pdu(SCSI_COMMAND, FINAL | SIMPLE, itt=9999, cmdsn=s.cmdsn,
               expstatsn=s.statsn, cdb=TEST_UNIT_READY))
    s.expect_silence(0.2)
    for r in r2ts:
        s.data_out(r.itt, r.ttt, 0, 0, bytes([r.itt & 0xff]) * 512, True)
        rsp = s.expect(SCSI_RESPONSE)
        assert rsp.itt == r.itt and rsp.status == 0
    assert rsp.maxcmdsn - rsp.expcmdsn + 1 == DEPTH
    s.run(TEST_UNIT_READY).good()


def test_immediate_commands_need_no_room(connect):
    """4.2.2.1: they are not numbered."""
    s = connect({'ImmediateData': 'No', 'InitialR2T': 'Yes'})
    waiting = []
    for i in range(DEPTH):
        s.command(write10(i * 8, 1), FINAL | WRITE | SIMPLE, 512)
        waiting.append(s.expect(R2T))
    r = s.run(inquiry(), read_len=96, immediate=True)
    assert len(r.good().data) >= 36
    rsp = s.ping(immediate=True)
    assert rsp.expcmdsn == s.cmdsn
    for r in waiting:
        s.data_out(r.itt, r.ttt, 0, 0, bytes(512), True)
        assert s.expect(SCSI_RESPONSE).status == 0


def test_immediate_flood_is_bounded(connect):
    """They bypass the window, so a bound of their own stops them."""
    s = connect({'ImmediateData': 'No', 'InitialR2T': 'Yes'})
    asked, refused = [], 0
    for i in range(300):
        s.command(write10(i, 1), FINAL | WRITE | SIMPLE, 512,
                  immediate=True)
        pdu = s.recv()
        if pdu.opcode == R2T:
            asked.append(pdu)
        elif pdu.opcode == SCSI_RESPONSE:
            assert pdu.status == TASK_SET_FULL
            refused += 1
        else:
            assert pdu.opcode == 0x3f and pdu.response == 0x06
            refused += 1
    assert asked and refused
    for r in asked:
        s.data_out(r.itt, r.ttt, 0, 0, bytes(512), True)
        assert s.expect(SCSI_RESPONSE).status == 0
    s.run(TEST_UNIT_READY).good()


def test_task_tag_in_use(connect):
    """11.2.1.8: tags are unique; 11.17.1, reason 7."""
    s = connect({'ImmediateData': 'No', 'InitialR2T': 'Yes'})
    first = s.command(write10(0, 1), FINAL | WRITE | SIMPLE, 512)
    r = s.expect(R2T)
    s.command(inquiry(), FINAL | READ | SIMPLE, 96, itt=first.itt)
    rej = s.expect(0x3f)
    assert rej.response == 0x07
    assert rej.data[:1] == bytes([SCSI_COMMAND])
    s.data_out(r.itt, r.ttt, 0, 0, bytes(512), True)
    assert s.expect(SCSI_RESPONSE).status == 0
    s.run(TEST_UNIT_READY).good()


def test_pipelined_commands(connect):
    """A full window at once, answered completely."""
    s = connect()
    for _ in range(20):
        itts = [s.command(read10(i, 8), FINAL | READ | SIMPLE, 4096).itt
                for i in range(DEPTH)]
        for itt in itts:
            assert len(s.finish(itt, read_len=4096).good().data) == 4096
    assert not s.stash


def test_luns_that_are_not_there(connect):
    s = connect()
    s.run(TEST_UNIT_READY, lun=7).check(5, 0x2500)
    pdu = Pdu(SCSI_COMMAND, FINAL | SIMPLE, itt=777, cmdsn=s.cmdsn,
              expstatsn=s.statsn, cdb=TEST_UNIT_READY)
    pdu.lun = 0xffffffffffffffff
    s.send(pdu)
    s.cmdsn += 1
    rsp = s.expect(SCSI_RESPONSE)
    assert rsp.status == 2


def test_two_sessions_have_windows_of_their_own(connect):
    a = connect({'ImmediateData': 'No', 'InitialR2T': 'Yes'})
    b = connect(target=iqn())
    for i in range(DEPTH):
        a.command(write10(i, 1), FINAL | WRITE | SIMPLE, 512)
        a.expect(R2T)
    rsp = b.ping()
    assert rsp.maxcmdsn - rsp.expcmdsn + 1 == DEPTH
