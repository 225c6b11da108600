# SPDX-License-Identifier: BSD-3-Clause
"""
Hostile peers in full feature phase. Beside each test a healthy session works
that must not notice, and in the end all memory and descriptors are back.
"""

import random
import struct
import threading
import time

import pytest

from daemon import basic, iqn, sanitized
from iscsi_initiator import Initiator
from iscsi_wire import (DATA_OUT, FINAL, IMMEDIATE, NOP_OUT, R2T, READ,
                        REJECT, RESERVED_TAG, SCSI_COMMAND, SCSI_RESPONSE,
                        SIMPLE, TEST_UNIT_READY, TEXT_REQUEST, WRITE, Closed,
                        NoAnswer, Pdu, digest, inquiry, lun_field, pad,
                        read10, read16, read_capacity16, text, write10,
                        write16)
from witness import Witness

BLOCKS = 16 * 2048
TARGET = {'calls': basic(options={
    'max_sessions': 64, 'max_outstanding_r2t': 4, 'nop_in_interval': 2,
    'nop_timeout': 2}) + [
        # For resets, which the healthy session would rightly notice.
        ('bdev_malloc_create', {'name': 'Malloc1', 'num_blocks': 8192,
                                'block_size': 512}),
        ('iscsi_target_node_add_lun', {'name': iqn(), 'bdev_name': 'Malloc1',
                                       'lun_id': 1})],
    # The healthy session and the others are on different cores, mostly.
    'core_mask': '0x3'}
GROWTH_MAX = 8 << 20    # bytes: allocators keep some
SOLICITED = {'ImmediateData': 'No', 'InitialR2T': 'Yes'}


@pytest.fixture(autouse=True)
def beside(tgt):
    """The healthy session, and the books that have to balance."""
    tgt.quiet()
    # Its part of the disk: the last 2048 blocks are not touched otherwise.
    with Witness(tgt, iqn(), lba=BLOCKS - 2048):
        tgt.quiet(1)
        fds, memory = tgt.fds(), tgt.resident()
        yield
        tgt.alive()
        tgt.quiet(1)
        assert tgt.fds() == fds, 'descriptors are left'
        if not sanitized():
            assert tgt.resident() < memory + GROWTH_MAX
    tgt.quiet()


def settle(s):
    """True: the session still works; False: the target has ended it."""
    try:
        s.request(NOP_OUT, FINAL, immediate=True, itt=0x7ffffff0)
        while True:
            pdu = s.recv()
            if pdu.itt == 0x7ffffff0:
                return True
            if pdu.opcode == 0x20:
                s.answer_ping(pdu)
    except Closed:
        return False


# ---- T3: what header, flags and CDB say does not fit.

CDBS = [TEST_UNIT_READY, inquiry(96), inquiry(0), read10(0, 1),
        read10(0, 0), read10(0, 0x800), read16(0, 0x1000), write10(0, 1),
        write10(0, 0), write16(0, 300), read_capacity16(),
        bytes([0x41, 0, 0, 0, 0, 0, 0, 0, 8, 0]),
        bytes([0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0]),
        bytes([0x93]) + bytes(9) + struct.pack('>I', 8) + bytes(2),
        bytes([0x35]) + bytes(9), bytes([0xa0]) + bytes(15),
        bytes([0x1a, 0, 0x3f, 0, 255, 0]), bytes([0x5a, 0, 0x3f]) +
        bytes(4) + b'\xff\xff\0', bytes([0xff] * 16), bytes([0x7f] * 16)]


@pytest.mark.parametrize('cdb', CDBS, ids=lambda c: c[:2].hex())
@pytest.mark.parametrize('flags', [0, READ, WRITE, READ | WRITE])
def test_t03_lengths_that_do_not_fit(connect, cdb, flags):
    """All EDTLs with all directions: an end to each, and no harm."""
    s = connect(SOLICITED)
    for edtl in (0, 1, 511, 512, 513, 4096, 1 << 20, 1 << 24, 1 << 31,
                 0xffffffff):
        itt = s.command(cdb, FINAL | flags | SIMPLE, edtl).itt
        moved = 0
        while True:
            pdu = s.recv_for(itt)
            if pdu.opcode in (SCSI_RESPONSE, REJECT):
                break
            if pdu.opcode == R2T:
                assert pdu.offset + pdu.desired <= edtl
                s.burst(itt, pdu.ttt, bytes(pdu.offset + pdu.desired),
                        pdu.offset, pdu.desired)
                continue
            moved += len(pdu.data)
            assert moved <= edtl
            if pdu.flags & 1:
                break
    assert settle(s)


def test_t03_immediate_data_with_every_length(connect):
    s = connect()
    for edtl in (0, 1, 512, 1000, 4096, 0xffffffff):
        for n in (0, 1, 512, 2048):
            s.command(write10(0, 1), FINAL | WRITE | SIMPLE, edtl, bytes(n))
            pdu = s.recv()
            if pdu.opcode == R2T:
                s.burst(pdu.itt, pdu.ttt, bytes(4096), pdu.offset,
                        pdu.desired)
                pdu = s.recv()
            assert pdu.opcode in (SCSI_RESPONSE, REJECT)
    assert settle(s)


# ---- T5

@pytest.mark.parametrize('kind', [0, 1, 2, 3, 0xff])
def test_t05_additional_header_lengths(connect, kind):
    """AHSLength 0, 1, 2, more than there is, and the largest."""
    s = connect()
    for length in (0, 1, 2, 3, 4, 5, 15, 16, 17, 245, 248, 249, 1016, 1017,
                   1020, 65535):
        for room in (4, 8, 252, 1020):
            ahs = struct.pack('>HBB', length, kind, 0) + b'\xa5' * (room - 4)
            s.send(Pdu(SCSI_COMMAND | IMMEDIATE, FINAL | SIMPLE, itt=length,
                       ahs=ahs, cmdsn=s.cmdsn, expstatsn=s.statsn,
                       cdb=TEST_UNIT_READY))
            pdu = s.recv()
            assert pdu.opcode in (SCSI_RESPONSE, REJECT)
    assert settle(s)


# ---- T7, T8, T9 in full feature phase.

@pytest.mark.parametrize('pair', [b'a=b\0', b'a=\0', b'\0', b'X', b'=\0'])
def test_t07_text_amplification(connect, pair):
    s = connect()
    data = (pair * 8192)[:8192]
    s.request(TEXT_REQUEST, FINAL, data)
    size = 0
    while True:
        pdu = s.recv()
        size += len(pdu.data)
        assert size <= 65536
        if pdu.opcode == REJECT or pdu.final:
            break
        s.request(TEXT_REQUEST, FINAL, itt=pdu.itt, ttt=pdu.ttt)
    assert settle(s)


def test_t07_text_chain_that_never_ends(connect):
    s = connect()
    itt, ttt, sent = s.next_itt(), RESERVED_TAG, 0
    while sent < 4 << 20:
        s.request(TEXT_REQUEST, 0x40, b'x' * 8000, itt=itt, ttt=ttt)
        sent += 8000
        pdu = s.recv()
        if pdu.opcode == REJECT:
            break
        ttt = pdu.ttt
    assert sent < 256 << 10, 'it keeps taking more'
    assert settle(s)


# ---- T13

@pytest.mark.parametrize('keys', [
    {}, {'HeaderDigest': 'CRC32C', 'DataDigest': 'CRC32C'}])
def test_t13_text_and_digests(connect, keys):
    """Every length, with a good and a bad digest, and tags used again."""
    s = connect(keys)
    for n in list(range(1, 12)) + [511, 512, 513, 4095]:
        data = (b'X-a=' + b'v' * n)[:n - 1] + b'\0'
        s.request(TEXT_REQUEST, FINAL, data, itt=0x50)
        pdu = s.recv()
        ttt = pdu.ttt if pdu.opcode == 0x24 else 0x99
        s.request(TEXT_REQUEST, FINAL, data, itt=0x50, ttt=ttt)
        s.recv()
        if not keys:
            continue
        bad = Pdu(TEXT_REQUEST, FINAL, data, itt=0x50, ttt=RESERVED_TAG,
                  cmdsn=s.cmdsn, expstatsn=s.statsn)
        s.cmdsn += 1
        raw = bytearray(bad.pack(True, True))
        raw[-1] ^= 1
        s.send_raw(bytes(raw))
        pdu = s.expect(REJECT)
        assert pdu.response == 2
        assert digest(pad(data)) == bytes(raw[-4:-1] + bytes([raw[-1] ^ 1]))
    assert settle(s)


# ---- T15

@pytest.mark.multicore
def test_t15_teardown_races(tgt):
    """Logout, reset, close and reinstatement against one another."""
    r = random.Random(15)
    errors = []

    def one(seed):
        r = random.Random(seed)
        isid = b'\x80\0\0\x15\0' + bytes([seed % 3])
        try:
            for _ in range(25):
                try:
                    s = Initiator(tgt.address, iqn(), isid=isid)
                    s.login(r.choice(({}, SOLICITED)))
                    for _ in range(r.randrange(6)):
                        what = r.randrange(4)
                        if what == 0:
                            s.command(read10(0, 256),
                                      FINAL | READ | SIMPLE, 131072, lun=1)
                        elif what == 1:
                            s.command(write10(0, 256),
                                      FINAL | WRITE | SIMPLE, 131072, lun=1)
                        elif what == 2:
                            s.request(2, FINAL | r.choice((2, 4, 5)),
                                      immediate=True, lun=lun_field(1))
                        else:
                            s.request(6, FINAL, cid=s.cid)
                    if r.random() < 0.5:
                        s.reset()
                    else:
                        s.close()
                except (Closed, NoAnswer, OSError):
                    pass
        except BaseException as e:
            errors.append(e)

    threads = [threading.Thread(target=one, args=(r.randrange(1 << 30),))
               for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    # A login that is refused while an old session goes is no error here.
    for e in errors:
        assert 'login status' in str(e), e


@pytest.mark.multicore
@pytest.mark.parametrize('points', ['command', 'data', 'answers'])
def test_t15_reset_in_every_phase(connect, tgt, points):
    for i in range(40):
        s = connect(SOLICITED, clear=False)
        if points == 'command':
            s.command(read10(0, 1024), FINAL | READ | SIMPLE, 524288)
        elif points == 'data':
            itt = s.command(write10(0, 512), FINAL | WRITE | SIMPLE,
                            262144).itt
            # Unit attentions come first on a new nexus.
            pdu = s.recv_for(itt)
            if pdu.opcode == R2T:
                s.send_raw(Pdu(DATA_OUT, FINAL, bytes(100000), itt=itt,
                               ttt=pdu.ttt).pack()[:1000 + i * 997])
        else:
            for k in range(16):
                s.command(read10(k, 256), FINAL | READ | SIMPLE, 131072)
        s.reset()


# ---- T21

@pytest.mark.parametrize('opcode', [0x88, 0x8a, 0x8f, 0x93, 0x91])
@pytest.mark.parametrize('lba', [BLOCKS - 1, BLOCKS, (1 << 32) - 1, 1 << 32,
                                 (1 << 55) - 1, (1 << 63) - 1, 1 << 63,
                                 (1 << 64) - 8, (1 << 64) - 1])
def test_t21_addresses_at_the_edges(connect, opcode, lba):
    """16-byte commands: sums that would wrap are out of range."""
    s = connect()
    for count in (1, 2, 8, 0x7fffffff, 0x80000000, 0xffffffff):
        if lba + count <= BLOCKS or (opcode == 0x91 and
                                     lba + count <= BLOCKS):
            continue
        cdb = struct.pack('>BBQIBB', opcode, 0, lba, count, 0, 0)
        flags = {0x88: READ, 0x8a: WRITE, 0x93: WRITE}.get(opcode, 0)
        edtl = 512 if flags else 0
        data = bytes(512) if flags == WRITE else b''
        itt = s.command(cdb, FINAL | flags | SIMPLE, edtl, data).itt
        pdu = s.recv_for(itt)
        assert pdu.opcode == SCSI_RESPONSE and pdu.status == 2, pdu
        assert pdu.data[2 + 2] & 0xf == 5, 'ILLEGAL REQUEST'


@pytest.mark.parametrize('opcode', [0x28, 0x2a, 0x2f, 0x41, 0x35])
def test_t21_addresses_at_the_edges_of_32_bits(connect, opcode):
    s = connect()
    for lba in (BLOCKS - 1, BLOCKS, 0x7fffffff, 0x80000000, 0xffffffff):
        for count in (2, 8, 0xffff):
            cdb = struct.pack('>BBIBHB', opcode, 0, lba, 0, count, 0)
            flags = {0x28: READ, 0x2a: WRITE, 0x41: WRITE}.get(opcode, 0)
            data = bytes(512) if flags == WRITE else b''
            itt = s.command(cdb, FINAL | flags | SIMPLE, 512 if flags else 0,
                            data).itt
            pdu = s.recv_for(itt)
            assert pdu.opcode == SCSI_RESPONSE and pdu.status == 2, pdu


@pytest.mark.parametrize('lba,count', [
    (BLOCKS - 1, 2), (BLOCKS, 1), ((1 << 64) - 1, 1), ((1 << 64) - 1,
                                                       0xffffffff),
    ((1 << 63), 0x80000000), ((1 << 64) - 0xffffffff, 0xffffffff)])
def test_t21_unmap_descriptors(connect, lba, count):
    s = connect()
    params = struct.pack('>HHI', 22, 16, 0) + struct.pack(
        '>QII', lba, count, 0)
    cdb = struct.pack('>BB5sHB', 0x42, 0, bytes(5), len(params), 0)
    r = s.run(cdb, params)
    r.check(5)


# ---- T27

def test_t27_data_for_tasks_that_are_not_there(connect):
    """Data-Out for unknown, complete, aborted and reading tasks."""
    s = connect(SOLICITED)
    s.run(write10(0, 8), b'\x27' * 4096).good()
    done = s.command(read10(0, 1), FINAL | READ | SIMPLE, 512).itt
    s.finish(done, read_len=512).good()
    gone = s.command(write10(0, 8), FINAL | WRITE | SIMPLE, 4096)
    r = s.expect(R2T)
    assert s.tmf(1, gone.itt, gone.cmdsn) == 0
    for itt in (done, gone.itt, 0x5a5a5a5a, RESERVED_TAG, 0):
        for ttt in (RESERVED_TAG, r.ttt, 0, 0xdeadbeef):
            for offset, datasn, n in ((0, 0, 512), (0xffffff00, 7, 512),
                                      (512, 0xffffffff, 4096)):
                s.data_out(itt, ttt, offset, datasn, b'\xee' * n, True)
    assert settle(s)
    assert s.run(read10(0, 8), read_len=4096).good().data == b'\x27' * 4096


def test_t27_data_for_a_read(connect):
    s = connect()
    s.run(write10(0, 1), b'\x28' * 512).good()
    itt = s.command(read10(0, 1), FINAL | READ | SIMPLE, 512).itt
    s.data_out(itt, RESERVED_TAG, 0, 0, b'\xee' * 512, True)
    s.finish(itt, read_len=512).good()
    assert settle(s)
    assert s.run(read10(0, 1), read_len=512).good().data == b'\x28' * 512


def test_t27_wrong_lun_in_data_out(connect):
    """11.7: the LUN of Data-Out, if it says one, is the command's."""
    s = connect(SOLICITED)
    itt = s.command(write10(0, 1), FINAL | WRITE | SIMPLE, 512).itt
    r = s.expect(R2T)
    s.send(Pdu(DATA_OUT, FINAL, b'\x29' * 512, itt=itt, ttt=r.ttt,
               lun=lun_field(77), expstatsn=s.statsn))
    assert settle(s)


@pytest.mark.multicore
def test_t27_random_data_out(connect):
    """Any mixture of right and wrong data, from a seed."""
    r = random.Random(27)
    s = connect(dict(SOLICITED, MaxOutstandingR2T='4',
                     MaxBurstLength='4096', FirstBurstLength='512'))
    for i in range(200):
        itt = s.command(write10(r.randrange(64), 32),
                        FINAL | WRITE | SIMPLE, 16384).itt
        ended = False
        tags = []
        for _ in range(r.randrange(1, 12)):
            try:
                pdu = s.recv(0.005)
            except NoAnswer:
                pdu = None
            if pdu is not None and pdu.opcode == R2T:
                tags.append(pdu)
            elif pdu is not None and pdu.opcode == SCSI_RESPONSE:
                ended = True
                break
            if not tags:
                continue
            t = r.choice(tags)
            s.data_out(itt, t.ttt, t.offset + r.choice((0, 0, 0, 512, 1)),
                       r.choice((0, 0, 1)), bytes(r.choice((0, 512, 4096))),
                       r.random() < 0.7)
        if not ended:
            s.request(2, FINAL | 1, immediate=True, ttt=itt, lun=0)
        while True:
            try:
                s.recv(0.005)
            except NoAnswer:
                break
    assert settle(s)


# ---- The paragraph after the table.

def test_never_reads(connect, tgt):
    """
    One who asks for much and reads nothing: it is not queued without end,
    and in the end, when it does not answer pings, it goes.
    """
    memory = tgt.resident()
    s = connect(rcvbuf=4096)
    s.sock.setblocking(False)
    ping = Pdu(NOP_OUT | IMMEDIATE, FINAL, bytes(8000), itt=1,
               ttt=RESERVED_TAG, cmdsn=s.cmdsn).pack()
    sent, end = 0, time.monotonic() + 3
    while time.monotonic() < end:
        try:
            sent += s.sock.send(ping)
        except BlockingIOError:
            time.sleep(0.01)
        except (BrokenPipeError, ConnectionResetError):
            break
    if not sanitized():
        assert tgt.resident() < memory + (16 << 20)
    assert sent < 64 << 20, 'it takes without end'
    # It goes by itself.
    tgt.quiet(1, timeout=15)


def test_never_reads_data(connect, tgt):
    s = connect(rcvbuf=4096)
    for i in range(64):
        s.command(read10(i * 64, 2048), FINAL | READ | SIMPLE, 1 << 20)
    tgt.quiet(1, timeout=15)


def test_one_byte_at_a_time(connect):
    s = connect()
    raw = Pdu(NOP_OUT | IMMEDIATE, FINAL, b'tiny', itt=0x44,
              ttt=RESERVED_TAG, cmdsn=s.cmdsn, expstatsn=s.statsn).pack()
    for _ in range(20):
        for byte in raw:
            s.send_raw(bytes([byte]))
        assert s.recv_for(0x44).data == b'tiny'


def test_window_is_abused(connect):
    """Far more commands than the window: what is outside is not taken."""
    s = connect(SOLICITED)
    base = s.cmdsn
    for i in range(2000):
        s.send(Pdu(SCSI_COMMAND, FINAL | WRITE | SIMPLE, itt=0x1000 + i,
                   edtl=512, cmdsn=base + i, expstatsn=s.statsn,
                   cdb=write10(i % 64, 1)))
    r2ts = 0
    try:
        while True:
            r2ts += s.recv(0.3).opcode == R2T
    except NoAnswer:
        pass
    assert r2ts <= 64


def test_held_commands_are_bounded(connect, tgt):
    """Large PDUs out of order: there is an end to what is kept."""
    memory = tgt.resident()
    s = connect()
    base = s.cmdsn
    for i in range(1, 60):
        s.send(Pdu(NOP_OUT, FINAL, bytes(200000), itt=0x2000 + i,
                   ttt=RESERVED_TAG, cmdsn=base + i, expstatsn=s.statsn))
    try:
        while True:
            assert s.recv(0.5).opcode == REJECT
    except (NoAnswer, Closed):
        pass
    if not sanitized():
        assert tgt.resident() < memory + (32 << 20)


def test_login_and_logout_many_times(connect, tgt):
    """TSIHs and all that a session has come back."""
    for _ in range(300):
        s = Initiator(tgt.address, iqn())
        s.login()
        s.close()


@pytest.mark.multicore
def test_random_pdus(connect, tgt):
    """Noise in full feature phase, from a seed."""
    r = random.Random(99)
    s = None
    for i in range(600):
        if s is None:
            s = Initiator(tgt.address, iqn())
            s.login()
            s.sock.setblocking(True)
        raw = bytearray(r.randbytes(48))
        raw[0] = r.choice((0, 1, 2, 4, 5, 6, 0x10, 0x41, 0x42, 0x44, 0x40,
                           raw[0] & 0x3f))
        raw[4] = r.choice((0, 0, 0, 1, raw[4]))
        n = r.choice((0, 0, 4, 512, r.randrange(9000)))
        raw[5:8] = n.to_bytes(3, 'big')
        if r.random() < 0.7:
            struct.pack_into('>I', raw, 24, s.cmdsn)
        # Not a reset of the disk that the healthy session works on, and
        # nothing that writes.
        if raw[0] & 0x3f == 2:
            raw[1] = 0x80 | r.choice((1, 2, 8, 9, 60))
        if raw[0] & 0x3f == 1:
            raw[32] = r.choice((0x00, 0x12, 0x28, 0x88, 0x25, 0x9e, 0xa0,
                                0x1a, 0x5a, 0xa3, 0x03))
            raw[33] &= 0x1f
        try:
            s.send_raw(bytes(raw) + bytes(raw[4] * 4) +
                       r.randbytes(n + 3 & ~3))
            s.sock.settimeout(0.001)
            try:
                if s.sock.recv(65536) == b'':
                    raise Closed()
            except TimeoutError:
                pass
            s.sock.settimeout(20)
        except (Closed, OSError):
            s.close()
            s = None
    if s:
        s.reset()


def test_text_of_every_size_in_discovery(connect):
    s = connect(discovery=True)
    for n in (0, 1, 3, 4, 5, 255, 8191, 8192, 262144):
        s.request(TEXT_REQUEST, FINAL, (text([('X-a', 'b' * 50)]) *
                                        5000)[:n])
        pdu = s.recv()
        while pdu.opcode != REJECT and not pdu.final:
            s.request(TEXT_REQUEST, FINAL, itt=pdu.itt, ttt=pdu.ttt)
            pdu = s.recv()
    assert s.send_targets()
