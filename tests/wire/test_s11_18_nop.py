# SPDX-License-Identifier: BSD-3-Clause
"""RFC 7143, 11.18, 11.19: pings in both directions, and their time-outs."""

import time

import pytest

from daemon import basic, patience
from iscsi_wire import (FINAL, NOP_IN, NOP_OUT, REJECT, RESERVED_TAG,
                        TEST_UNIT_READY)

TARGET = {'calls': basic(options={'nop_in_interval': 1, 'nop_timeout': 2})}


@pytest.mark.parametrize('data', [b'', b'x', b'ping' * 100, bytes(8191)])
def test_echo(connect, data):
    """11.19.3: the data comes back."""
    s = connect()
    assert s.ping(data).data == data
    assert s.ping(data, immediate=True).data == data


def test_echo_is_cut_to_what_we_can_take(connect):
    s = connect({'MaxRecvDataSegmentLength': 512})
    assert s.ping(bytes(range(256)) * 8).data == bytes(range(256)) * 2


def test_echo_of_lun(connect):
    s = connect()
    assert s.ping(lun=3 << 48).lun == 3 << 48


def test_no_answer_without_tag(connect):
    s = connect()
    s.request(NOP_OUT, FINAL, immediate=True, itt=RESERVED_TAG)
    s.expect_silence(0.3)
    s.run(TEST_UNIT_READY).good()


def test_no_tag_needs_immediate(connect):
    """11.18.1: with the reserved tag it must be immediate."""
    s = connect()
    s.request(NOP_OUT, FINAL, itt=RESERVED_TAG)
    rej = s.recv()
    assert rej.opcode == REJECT and rej.response in (0x04, 0x09)
    s.run(TEST_UNIT_READY).good()


def test_target_pings_when_idle(connect):
    s = connect()
    began = time.monotonic()
    for _ in range(2):
        ping = s.expect(NOP_IN, timeout=10)
        assert ping.itt == RESERVED_TAG and ping.ttt != RESERVED_TAG
        assert not ping.data
        s.answer_ping(ping)
    took = time.monotonic() - began
    assert 1.5 < took < 4 * patience(), took
    s.run(TEST_UNIT_READY).good()


def test_no_ping_while_busy(connect):
    s = connect()
    longest, last = 0.0, time.monotonic()
    end = last + 1.6
    while last < end:
        s.run(TEST_UNIT_READY).good()
        now = time.monotonic()
        longest, last = max(longest, now - last), now
    # Unless it was this side that has slept.
    assert not s.stash and (longest > 0.9 or not s.pings)


def test_no_answer_ends_the_connection(connect):
    """After nop_timeout the initiator counts as gone."""
    s = connect()
    began = time.monotonic()
    said = s.expect_closed(timeout=30)
    took = time.monotonic() - began
    assert {p.opcode for p in said} == {NOP_IN}
    assert 2.5 < took < 6 * patience(), took


def test_half_a_pdu_is_no_answer(connect):
    """Trickling bytes that never become a PDU do not keep it up for ever."""
    s = connect()
    s.expect(NOP_IN, timeout=10)
    s.send_raw(b'\x40\x80')
    s.expect_closed(timeout=10)


def test_wrong_tag_is_no_answer(connect):
    """Only the ping's own tag answers it; the session itself lives on."""
    s = connect()
    ping = s.expect(NOP_IN, timeout=10)
    s.request(NOP_OUT, FINAL, immediate=True, itt=RESERVED_TAG,
              ttt=ping.ttt ^ 0x1234)
    s.answer_ping(ping)
    s.run(TEST_UNIT_READY).good()


def test_flood_of_pings(connect):
    """More than the answers that are queued: it waits, and forgets none."""
    s = connect()
    n = 2000
    pings = b''.join(
        s_pdu for s_pdu in (ping_bytes(s, i) for i in range(n)))
    s.sock.settimeout(20)
    import threading
    sender = threading.Thread(target=s.send_raw, args=(pings,))
    sender.start()
    got = [s.recv_for(1000 + i).itt for i in range(n)]
    sender.join()
    assert got == [1000 + i for i in range(n)]


def ping_bytes(s, i):
    from iscsi_wire import IMMEDIATE, Pdu
    return Pdu(NOP_OUT | IMMEDIATE, FINAL, b'flood' * 20, itt=1000 + i,
               ttt=RESERVED_TAG, cmdsn=s.cmdsn,
               expstatsn=s.statsn).pack()
