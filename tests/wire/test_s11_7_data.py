# SPDX-License-Identifier: BSD-3-Clause
"""RFC 7143, 4.2.4, 11.3, 11.4, 11.7, 11.8: data in both directions."""

import itertools
import random
import struct

import pytest

from daemon import basic
from iscsi_wire import (DATA_IN, FINAL, R2T, READ, REJECT,
                        RESERVED_TAG, SCSI_RESPONSE, SIMPLE, STATUS,
                        TEST_UNIT_READY, WRITE, Sense, inquiry,
                        read10, read16, report_luns, write10, write16)

BLOCK = 512
TARGET = {'calls': basic(options={'max_outstanding_r2t': 8,
                                  'max_burst_length': 1048576})}


def bytes_of(seed, length):
    return random.Random(seed).randbytes(length)


def write_read(s, lba, data, **kwargs):
    n = len(data) // BLOCK
    s.run(write10(lba, n), data, **kwargs).good()
    assert s.run(read10(lba, n), read_len=len(data)).good().data == data


WAYS = list(itertools.product(('Yes', 'No'), ('Yes', 'No'), (1, 3)))


@pytest.mark.parametrize('immediate,initial_r2t,outstanding', WAYS)
@pytest.mark.parametrize('first,burst', [
    (512, 512), (4096, 8192), (65536, 65536), (8192, 262144)])
def test_write_every_way(connect, immediate, initial_r2t, outstanding, first,
                         burst):
    """4.2.4.2: immediate, unsolicited and solicited data, in any mixture."""
    s = connect({'ImmediateData': immediate, 'InitialR2T': initial_r2t,
                 'FirstBurstLength': first, 'MaxBurstLength': burst,
                 'MaxOutstandingR2T': outstanding})
    assert (s.first_burst, s.max_burst) == (first, burst)
    assert (s.immediate_data, s.initial_r2t) == (immediate == 'Yes',
                                                 initial_r2t == 'Yes')
    lba = 0
    for blocks in (1, 2, 15, 16, 17, 128, 300):
        data = bytes_of(blocks, blocks * BLOCK)
        write_read(s, lba, data)
        # Without using what is allowed, and in small pieces.
        data = bytes_of(-blocks, blocks * BLOCK)
        write_read(s, lba, data, no_immediate_data=True, unsolicited=False)
        write_read(s, lba, data[::-1], size=1000)
        lba += blocks


@pytest.mark.parametrize('size', [512, 516, 1500, 8191, 65536])
def test_data_in_is_split(connect, size):
    """13.12: no Data-In is longer than what we declared."""
    s = connect({'MaxRecvDataSegmentLength': size})
    data = bytes_of(size, 131072)
    s.run(write10(0, 256), data).good()
    r = s.run(read10(0, 256), read_len=131072).good()
    assert r.data == data
    assert len(r.pdus) == -(-131072 // size)


@pytest.mark.parametrize('burst', [512, 4096, 65536])
def test_data_in_sequences_end(connect, burst):
    """13.13: a sequence of Data-In is at most MaxBurstLength, and has F."""
    s = connect({'MaxBurstLength': burst, 'FirstBurstLength': 512,
                 'MaxRecvDataSegmentLength': 4096})
    r = s.run(read10(0, 256), read_len=131072).good()
    finals = [p for p in r.pdus if p.opcode == DATA_IN and p.final]
    assert len(finals) == 131072 // burst


def test_phase_collapse(connect):
    """11.7.3: status in the last Data-In, when there is no sense."""
    s = connect()
    r = s.run(read10(0, 8), read_len=4096).good()
    assert [p.opcode for p in r.pdus] == [DATA_IN]
    assert r.pdus[0].flags & (FINAL | STATUS) == FINAL | STATUS


@pytest.mark.parametrize('outstanding', [1, 2, 8])
def test_max_outstanding_r2t(connect, outstanding):
    """13.17: so many R2Ts at once, for one command, and no more."""
    s = connect({'ImmediateData': 'No', 'InitialR2T': 'Yes',
                 'MaxBurstLength': 4096, 'FirstBurstLength': 512,
                 'MaxOutstandingR2T': outstanding})
    data = bytes_of(outstanding, 16 * 4096)
    itt = s.command(write10(0, 128), FINAL | WRITE | SIMPLE, len(data)).itt
    asked = [s.expect(R2T) for _ in range(outstanding)]
    s.expect_silence(0.2)
    assert len({r.ttt for r in asked}) == outstanding
    assert [r.r2tsn for r in asked] == list(range(outstanding))
    assert [r.offset for r in asked] == [
        i * 4096 for i in range(outstanding)]
    done = 0
    while asked:
        r = asked.pop(0)
        assert r.itt == itt and r.desired == 4096
        s.burst(itt, r.ttt, data, r.offset, r.desired, 1024)
        done += 1
        if done + len(asked) < 16:
            asked.append(s.expect(R2T))
    rsp = s.expect(SCSI_RESPONSE)
    assert rsp.status == 0 and rsp.expdatasn == 0
    assert s.run(read10(0, 128), read_len=len(data)).good().data == data


def test_many_writes_at_once(connect):
    """R2Ts of several commands, answered in another order."""
    s = connect({'ImmediateData': 'No', 'InitialR2T': 'Yes',
                 'MaxBurstLength': 8192, 'FirstBurstLength': 512})
    data = {}
    for i in range(16):
        pdu = s.command(write10(i * 32, 32), FINAL | WRITE | SIMPLE, 16384)
        data[pdu.itt] = bytes_of(i, 16384)
    left = {itt: 16384 for itt in data}
    waiting = []
    choose = random.Random(5)
    while left:
        while len(waiting) < len(left):
            pdu = s.recv()
            if pdu.opcode == SCSI_RESPONSE:
                assert pdu.status == 0 and left.pop(pdu.itt) == 0
            else:
                assert pdu.opcode == R2T
                waiting.append(pdu)
        if waiting:
            r = waiting.pop(choose.randrange(len(waiting)))
            s.burst(r.itt, r.ttt, data[r.itt], r.offset, r.desired, 3000)
            left[r.itt] -= r.desired
    for i, want in enumerate(data.values()):
        assert s.run(read10(i * 32, 32), read_len=16384).data == want


def longest_transfer(s):
    """Bytes: VPD page B0h, MAXIMUM TRANSFER LENGTH (SBC-3, 6.6.4)."""
    page = s.run(inquiry(64, 0xb0), read_len=64).good().data
    return struct.unpack_from('>I', page, 8)[0] * BLOCK


def test_large_transfers(connect):
    """As long as a command may be: longer than any buffer on the way."""
    s = connect({'MaxBurstLength': 1048576, 'MaxRecvDataSegmentLength':
                 1048576})
    data = bytes_of(9, longest_transfer(s))
    assert len(data) >= 1 << 20
    s.run(write10(0, len(data) // BLOCK), data).good()
    r = s.run(read10(0, len(data) // BLOCK), read_len=len(data)).good()
    assert r.data == data
    r = s.run(read16(1, len(data) // BLOCK - 2),
              read_len=len(data) - 1024).good()
    assert r.data == data[512:-512]


def test_longer_than_a_transfer_may_be(connect):
    s = connect()
    n = longest_transfer(s) + BLOCK
    s.run(read16(0, n // BLOCK), read_len=n).check(5, 0x2400)
    s.run(write16(0, n // BLOCK), bytes(n)).check(5, 0x2400)
    s.run(TEST_UNIT_READY).good()


# ---- Residuals (11.4.5): the CDB says how much there is to move.

def test_read_underflow(connect):
    """Expected more than the CDB asks for."""
    s = connect()
    r = s.run(read10(0, 4), read_len=8192).good()
    assert len(r.data) == 2048 and r.underflow == 6144


def test_read_overflow(connect):
    """Expected less: what fits is sent, and how much was left out."""
    s = connect()
    data = bytes_of(1, 4096)
    s.run(write10(0, 8), data).good()
    r = s.run(read10(0, 8), read_len=1000).good()
    assert r.data == data[:1000] and r.overflow == 3096


def test_read_with_nothing_expected(connect):
    s = connect()
    r = s.run(read10(0, 8)).good()
    assert not r.data and r.overflow == 4096
    r = s.finish(s.command(read10(0, 8), FINAL | READ | SIMPLE, 0).itt)
    assert r.good().overflow == 4096


def test_inquiry_underflow(connect):
    s = connect()
    r = s.run(inquiry(36), read_len=255).good()
    assert len(r.data) == 36 and r.underflow == 219


def test_short_allocation_length(connect):
    s = connect()
    r = s.run(inquiry(5), read_len=5).good()
    assert len(r.data) == 5 and not r.underflow and not r.overflow
    r = s.run(report_luns(16), read_len=4096).good()
    assert len(r.data) == 16 and r.underflow == 4080


@pytest.mark.parametrize('immediate', [True, False])
def test_write_underflow(connect, immediate):
    """
    More data announced than the CDB takes: the CDB's blocks are written, no
    byte beyond them is touched, the rest is residual.
    """
    s = connect({'ImmediateData': 'Yes' if immediate else 'No',
                 'InitialR2T': 'Yes'})
    before = bytes_of(2, 16 * BLOCK)
    s.run(write10(0, 16), before).good()
    data = bytes_of(3, 8 * BLOCK)
    r = s.run(write10(0, 4), data)
    assert r.good().underflow == 4 * BLOCK
    now = s.run(read10(0, 16), read_len=16 * BLOCK).good().data
    assert now == data[:4 * BLOCK] + before[4 * BLOCK:]


def test_write_underflow_unsolicited(connect):
    """The same, the data without being asked for and in pieces."""
    s = connect({'ImmediateData': 'No', 'InitialR2T': 'No'})
    before = bytes_of(4, 64 * BLOCK)
    s.run(write10(0, 64), before).good()
    data = bytes_of(5, 32 * BLOCK)
    r = s.run(write10(0, 3), data, size=1000)
    assert r.good().underflow == 29 * BLOCK
    now = s.run(read10(0, 64), read_len=64 * BLOCK).good().data
    assert now == data[:3 * BLOCK] + before[3 * BLOCK:]
    s.run(TEST_UNIT_READY).good()


def test_write_overflow(connect):
    """
    Less data announced than the CDB takes: no block may hold bytes that the
    initiator did not send.
    """
    s = connect()
    before = bytes_of(6, 16 * BLOCK)
    s.run(write10(0, 16), before).good()
    data = bytes_of(7, 4 * BLOCK)
    r = s.run(write10(0, 8), data)
    now = s.run(read10(0, 16), read_len=16 * BLOCK).good().data
    if r.status == 0:
        assert r.overflow == 4 * BLOCK
        assert now == data + before[4 * BLOCK:]
    else:
        assert now[4 * BLOCK:] == before[4 * BLOCK:]


def test_write_overflow_not_whole_blocks(connect):
    s = connect()
    before = bytes_of(8, 8 * BLOCK)
    s.run(write10(0, 8), before).good()
    r = s.run(write10(0, 4), bytes_of(9, 1000))
    now = s.run(read10(0, 8), read_len=8 * BLOCK).good().data
    assert now[2 * BLOCK:] == before[2 * BLOCK:]
    if r.status == 0:
        assert r.overflow == 4 * BLOCK - 1000
    # The second block is either old or has what was sent, then old.
    assert now[1000:1024] == before[1000:1024]


def test_error_has_no_data_and_full_residual(connect):
    """Past the end: nothing moves, all that was expected is residual."""
    s = connect()
    blocks = 16 * 2048
    r = s.run(read10(blocks, 1), read_len=512)
    r.check(5, 0x2100)
    assert not r.data and r.underflow == 512
    r = s.run(write10(blocks - 1, 2), bytes(1024))
    r.check(5, 0x2100)


def test_read_command_that_announces_a_write(connect):
    """11.3.1: W set for a command that has data for us."""
    s = connect()
    itt = s.command(read10(0, 1), FINAL | WRITE | SIMPLE, 512,
                    bytes(512)).itt
    pdu = s.recv_for(itt)
    assert pdu.opcode == SCSI_RESPONSE
    s.run(TEST_UNIT_READY).good()


def test_write_command_that_announces_a_read(connect):
    s = connect()
    before = bytes_of(10, 512)
    s.run(write10(5, 1), before).good()
    itt = s.command(write10(5, 1), FINAL | READ | SIMPLE, 512).itt
    pdu = s.recv_for(itt)
    assert pdu.opcode == SCSI_RESPONSE
    now = s.run(read10(5, 1), read_len=512).good().data
    assert now == before, 'written with data that nobody sent'


# ---- What the initiator may not do.

def fails(s, itt, code):
    """The command ends with ABORTED COMMAND, or was rejected (11.4.7.2)."""
    pdu = s.recv_for(itt)
    if pdu.opcode == REJECT:
        pdu = s.recv_for(itt)
    assert pdu.opcode == SCSI_RESPONSE and pdu.status == 2, pdu
    sense = Sense(pdu.data)
    assert sense.key == 0xb and sense.code == code, sense


@pytest.fixture
def guarded(connect):
    """Sixteen blocks whose content no refused command may change."""
    s = connect()
    before = bytes_of(11, 16 * BLOCK)
    s.run(write10(0, 16), before).good()
    yield
    s = connect()
    now = s.run(read10(0, 16), read_len=16 * BLOCK).good().data
    assert now == before
    s.logout()


def test_immediate_data_not_agreed(connect, guarded):
    s = connect({'ImmediateData': 'No'})
    itt = s.command(write10(0, 1), FINAL | WRITE | SIMPLE, 512,
                    b'x' * 512).itt
    fails(s, itt, 0x0c0c)
    s.run(TEST_UNIT_READY).good()


def test_unsolicited_data_not_agreed(connect, guarded):
    s = connect({'InitialR2T': 'Yes', 'ImmediateData': 'No'})
    itt = s.command(write10(0, 1), WRITE | SIMPLE, 512).itt
    s.data_out(itt, RESERVED_TAG, 0, 0, b'x' * 512, True)
    fails(s, itt, 0x0c0c)
    s.run(TEST_UNIT_READY).good()


def test_unsolicited_data_beyond_first_burst(connect, guarded):
    """What was right before it may be written already: it is the same."""
    s = connect({'FirstBurstLength': 1024})
    first = bytes_of(11, 16 * BLOCK)[:512]
    itt = s.command(write10(0, 8), WRITE | SIMPLE, 4096, first).itt
    s.data_out(itt, RESERVED_TAG, 512, 0, b'x' * 1024, True)
    fails(s, itt, 0x0c0d)
    s.run(TEST_UNIT_READY).good()


def test_immediate_data_beyond_first_burst(connect, guarded):
    s = connect({'FirstBurstLength': 512})
    itt = s.command(write10(0, 8), FINAL | WRITE | SIMPLE, 4096,
                    b'x' * 1024).itt
    fails(s, itt, 0x0c0d)
    s.run(TEST_UNIT_READY).good()


def solicited(s, blocks=8):
    itt = s.command(write10(0, blocks), FINAL | WRITE | SIMPLE,
                    blocks * BLOCK).itt
    return itt, s.expect(R2T)


@pytest.mark.parametrize('offset,datasn,length,final', [
    (512, 0, 4096, True),       # not where it was asked for
    (0, 1, 4096, True),         # DataSN: 11.7.5
    (0, 0, 4608, True),         # more than was asked for
    (0, 0, 512, True),          # F before the end
    (0xfffffe00, 0, 512, False)])
def test_solicited_data_out_of_place(connect, guarded, offset, datasn,
                                     length, final):
    s = connect({'ImmediateData': 'No', 'InitialR2T': 'Yes'})
    itt, r = solicited(s)
    s.data_out(itt, r.ttt, offset, datasn, b'x' * length, final)
    fails(s, itt, 0x0c0d)
    # What still comes is not for anybody.
    s.data_out(itt, r.ttt, 0, 0, b'x' * 512, False)
    s.run(TEST_UNIT_READY).good()


def test_gap_in_solicited_data(connect, guarded):
    """
    The first block is taken, the second is missing: the command fails, and a
    RAM disk may have the first one already; so it is written as it was.
    """
    s = connect({'ImmediateData': 'No', 'InitialR2T': 'Yes'})
    first = bytes_of(11, 16 * BLOCK)[:512]
    itt, r = solicited(s)
    s.data_out(itt, r.ttt, 0, 0, first, False)
    s.data_out(itt, r.ttt, 1024, 1, b'x' * 512, False)
    fails(s, itt, 0x0c0d)
    s.run(TEST_UNIT_READY).good()


def test_unknown_transfer_tag(connect):
    """11.7.4: a tag that no R2T gave is rejected; the command lives on."""
    s = connect({'ImmediateData': 'No', 'InitialR2T': 'Yes'})
    itt, r = solicited(s)
    s.data_out(itt, r.ttt ^ 0x5555, 0, 0, b'x' * 512, True)
    pdu = s.recv()
    assert pdu.opcode == REJECT
    data = bytes_of(12, 4096)
    s.burst(itt, r.ttt, data, 0, 4096)
    assert s.expect(SCSI_RESPONSE).status == 0
    assert s.run(read10(0, 8), read_len=4096).data == data


def test_data_for_unknown_task_is_dropped(connect):
    s = connect()
    s.data_out(0x12345678, RESERVED_TAG, 0, 0, b'x' * 512, True)
    s.data_out(0x12345678, 0x99, 0, 0, b'x' * 512, True)
    s.run(TEST_UNIT_READY).good()


# ---- Immediate data that is not all of it; F and the length.

def test_unsolicited_data_may_be_less_than_first_burst(connect):
    """11.7.1: F ends it early; the rest is asked for."""
    s = connect({'FirstBurstLength': 8192})
    data = bytes_of(13, 16384)
    itt = s.command(write10(0, 32), WRITE | SIMPLE, 16384, data[:512]).itt
    s.data_out(itt, RESERVED_TAG, 512, 0, data[512:1536], True)
    s.finish(itt, data, sent=1536).good()
    assert s.run(read10(0, 32), read_len=16384).data == data


def test_odd_lengths_are_padded(connect):
    s = connect()
    data = bytes_of(14, 512)
    itt = s.command(write10(0, 1), WRITE | SIMPLE, 512, data[:1]).itt
    s.data_out(itt, RESERVED_TAG, 1, 0, data[1:3], False)
    s.data_out(itt, RESERVED_TAG, 3, 1, data[3:6], False)
    s.data_out(itt, RESERVED_TAG, 6, 2, data[6:], True)
    s.finish(itt, data, sent=512).good()
    assert s.run(read10(0, 1), read_len=512).data == data


def test_empty_data_out(connect):
    """Harmless: a Data-Out PDU may carry nothing."""
    s = connect()
    data = bytes_of(15, 512)
    itt = s.command(write10(0, 1), WRITE | SIMPLE, 512).itt
    s.data_out(itt, RESERVED_TAG, 0, 0, b'', False)
    s.data_out(itt, RESERVED_TAG, 0, 1, data, True)
    s.finish(itt, data, sent=512).good()
    assert s.run(read10(0, 1), read_len=512).data == data


def test_one_byte_segments(connect):
    """The TCP stream is cut everywhere."""
    s = connect()
    data = bytes_of(16, 1024)
    wire = []
    send, s.send_raw = s.send_raw, wire.append
    itt = s.command(write10(0, 2), FINAL | WRITE | SIMPLE, 1024, data).itt
    s.send_raw = send
    for byte in b''.join(wire):
        s.send_raw(bytes([byte]))
    s.finish(itt, data, sent=1024).good()
    assert s.run(read10(0, 2), read_len=1024).data == data


def test_random_traffic_against_a_model(connect):
    """Any sizes at any places; every byte compared."""
    s = connect({'MaxBurstLength': 16384, 'FirstBurstLength': 4096,
                 'MaxOutstandingR2T': 4, 'MaxRecvDataSegmentLength': 8192})
    blocks = 1024
    model = bytearray(blocks * BLOCK)
    s.run(write16(4096, blocks), bytes(model)).good()
    r = random.Random(2)
    for i in range(150):
        n = r.choice((1, 2, 7, 8, 9, 33, 100))
        at = r.randrange(blocks - n + 1)
        if r.random() < 0.5:
            data = r.randbytes(n * BLOCK)
            model[at * BLOCK:(at + n) * BLOCK] = data
            s.run(write16(4096 + at, n), data,
                  size=r.choice((512, 777, 8192)),
                  no_immediate_data=r.random() < 0.3,
                  unsolicited=r.random() < 0.7).good()
        else:
            got = s.run(read16(4096 + at, n), read_len=n * BLOCK).good()
            assert got.data == model[at * BLOCK:(at + n) * BLOCK], i
    got = s.run(read16(4096, blocks), read_len=len(model)).good().data
    assert got == model
