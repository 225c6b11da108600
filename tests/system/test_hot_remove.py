# SPDX-License-Identifier: BSD-3-Clause
"""
Disks that leave under load: the known bugs of the guide ("1M size IO, it
will crash the iscsi tgt"), at each phase of a command, as tests. After it:
the right sense for commands in flight and new ones, other LUNs never paused,
a unit attention, and the same name that comes back and works.
"""

import multiprocessing
import random
import struct
import threading
import time

import pytest

from daemon import Rpc, basic, iqn, sanitized, wait_until
from iscsi_initiator import Initiator
from iscsi_wire import (ABORTED_COMMAND, CHECK_CONDITION, DATA_IN, DATA_OUT, FINAL,
                        GOOD, ILLEGAL_REQUEST, LOGOUT_REQUEST,
                        LOGOUT_RESPONSE, NOT_READY, R2T, READ, SCSI_RESPONSE,
                        SIMPLE, STATUS, TASK_ABORTED, TEST_UNIT_READY,
                        TMF_REQUEST, TMF_RESPONSE, UNIT_ATTENTION, WRITE,
                        Pdu, Sense, lun_field, read10, write10)
from witness import Witness

MIB = 1 << 20
BLOCKS = MIB // 512
SLOW_US = 300000
REMOVE_TIMEOUT = 15.0
REPORTED_LUNS_CHANGED = 0x3f0e
ABORT_TASK, LUN_RESET = 1, 5

# LUN 0 stays; LUN 1 goes. LUN 2 is slow and goes with its base.
TARGET = {'calls': basic(queue_depth=64)}
KEYS = {'ImmediateData': 'No', 'InitialR2T': 'Yes',
        'MaxBurstLength': '1048576', 'MaxRecvDataSegmentLength': '262144'}

# How a command may end when its disk leaves (SPC-4, 5.x and table 45).
GONE = {(ILLEGAL_REQUEST, 0x2500), (NOT_READY, 0x3a00)}
IN_FLIGHT = GONE | {(ABORTED_COMMAND, None)}
ATTENTIONS = {(UNIT_ATTENTION, REPORTED_LUNS_CHANGED)}


def allowed(status, sense, which):
    if status == TASK_ABORTED:
        return True
    return status == CHECK_CONDITION and (
        (sense.key, sense.code) in which or (sense.key, None) in which)


def attach(tgt, slow=False):
    """Disk1 as LUN 1 (behind a delay: @slow), with known content."""
    tgt.rpc('bdev_malloc_create', name='Gone0', num_blocks=4 * BLOCKS,
            block_size=512)
    name = 'Gone0'
    if slow:
        name = 'Slow0'
        tgt.rpc('bdev_delay_create', name=name, base_bdev_name='Gone0',
                avg_read_latency=SLOW_US, p99_read_latency=SLOW_US,
                avg_write_latency=SLOW_US, p99_write_latency=SLOW_US)
    tgt.rpc('iscsi_target_node_add_lun', name=iqn(), bdev_name=name, lun_id=1)


class Removal:
    """The RPC, while others go on."""

    def __init__(self, tgt, name='Gone0'):
        self.tgt, self.name, self.error = tgt, name, None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            # A connection of its own: it may take a while.
            rpc = Rpc(self.tgt.socket)
            try:
                rpc('bdev_malloc_delete', name=self.name)
            finally:
                rpc.close()
        except BaseException as e:      # told to whoever waits
            self.error = e

    def wait(self):
        self.thread.join(REMOVE_TIMEOUT)
        assert not self.thread.is_alive(), 'the removal does not end'
        if self.error:
            raise self.error


def wait_gone(tgt):
    wait_until(lambda: not [b for b in tgt.rpc('bdev_get_bdevs')
                            if b['name'] in ('Gone0', 'Slow0')],
               REMOVE_TIMEOUT, 'the disk to go')


def after(tgt, s, slow=False):
    """What has to hold when the disk is gone, and again when it is back."""
    wait_gone(tgt)
    # Nothing but attentions, then nothing but its absence.
    for _ in range(8):
        r = s.run(TEST_UNIT_READY, lun=1)
        assert r.status == CHECK_CONDITION
        if (r.sense.key, r.sense.code) in GONE:
            break
        assert r.sense.key == UNIT_ATTENTION, r.sense
    s.run(read10(0, 8), read_len=4096, lun=1).check(ILLEGAL_REQUEST, 0x2500)
    s.run(write10(0, 8), bytes(4096), lun=1).check(ILLEGAL_REQUEST, 0x2500)
    # The other LUN says once that the inventory has changed, and works.
    r = s.run(TEST_UNIT_READY)
    r.check(UNIT_ATTENTION, REPORTED_LUNS_CHANGED)
    s.run(TEST_UNIT_READY).good()
    data = random.randbytes(4096)
    s.run(write10(64, 8), data).good()
    assert s.run(read10(64, 8), read_len=4096).good().data == data

    attach(tgt, slow)
    s.clear_attention()
    s.clear_attention(1)
    s.run(write10(8, 8), data, lun=1).good()
    assert s.run(read10(8, 8), read_len=4096, lun=1).good().data == data
    tgt.rpc('bdev_malloc_delete', name='Gone0')
    wait_gone(tgt)


def drain(s, itts, read_len=0):
    """
    {itt: (status, sense)} of commands in flight. R2Ts are not answered. Data
    that comes with GOOD has to be all of it.
    """
    ended, got = {}, {}
    early, s.stash = s.stash, []
    while set(itts) - set(ended):
        pdu = early.pop(0) if early else s.recv()
        if pdu.opcode == DATA_IN:
            assert pdu.itt not in ended
            got[pdu.itt] = got.get(pdu.itt, 0) + len(pdu.data)
            if not pdu.flags & STATUS:
                continue
            status, sense = pdu.status, None
        elif pdu.opcode == R2T:
            continue
        elif pdu.opcode == SCSI_RESPONSE:
            status, sense = pdu.status, Sense(pdu.data) if pdu.data else None
        else:
            s.stash.append(pdu)
            continue
        assert pdu.itt not in ended, 'ended twice'
        if status == GOOD and read_len:
            assert got.get(pdu.itt, 0) == read_len, 'a GOOD that was not'
        ended[pdu.itt] = (status, sense)
    return ended


def begin_writes(s, n, lun=1):
    """1 MiB each, up to the first R2T."""
    cmds = {}
    for i in range(n):
        pdu = s.command(write10(i % 4 * BLOCKS, BLOCKS), FINAL | WRITE |
                        SIMPLE, MIB, lun=lun)
        cmds[pdu.itt] = None
    for _ in range(n):
        pdu = s.recv()
        assert pdu.opcode == R2T, pdu
        cmds[pdu.itt] = pdu
    return cmds


class Neighbour(Initiator):
    """Learns that the inventory has changed, and repeats what told it."""

    def run(self, *args, **kwargs):
        while True:
            r = super().run(*args, **kwargs)
            if r.status != CHECK_CONDITION or \
                    r.sense.code != REPORTED_LUNS_CHANGED:
                return r


@pytest.fixture
def witness(tgt):
    """LUN 0, in use all the time: no error, no stop, no wrong byte."""
    w = Witness(tgt, iqn(), lba=1024, blocks=2048, keys=KEYS)
    w.s.__class__ = Neighbour
    with w:
        yield w


@pytest.fixture
def session(tgt, connect):
    def make(slow=False, **kwargs):
        attach(tgt, slow)
        s = connect(KEYS, **kwargs)
        s.clear_attention(1)
        return s
    return make


# ---- Phase by phase.

def test_r2t_sent_and_no_data(tgt, session):
    """An initiator that says nothing keeps no disk."""
    s = session()
    cmds = begin_writes(s, 8)
    Removal(tgt).wait()
    for status, sense in drain(s, cmds).values():
        assert allowed(status, sense, IN_FLIGHT | ATTENTIONS), (status, sense)
    after(tgt, s)


def test_r2t_sent_and_data_after_it(tgt, session):
    """Data that comes too late is taken and forgotten."""
    s = session()
    cmds = begin_writes(s, 4)
    Removal(tgt).wait()
    data = random.randbytes(MIB)
    for itt, r2t in cmds.items():
        s.burst(itt, r2t.ttt, data, r2t.offset, r2t.desired, 65536, 1)
    for status, sense in drain(s, cmds).values():
        assert allowed(status, sense, IN_FLIGHT | ATTENTIONS), (status, sense)
    after(tgt, s)


def half_of_it(s):
    """Two writes: one has a whole PDU of data, one half of a PDU."""
    cmds = begin_writes(s, 2)
    data = random.randbytes(MIB)
    (first, r2t), (second, r2t2) = cmds.items()
    s.data_out(first, r2t.ttt, 0, 0, data[:65536], False, 1)
    piece = Pdu(DATA_OUT, 0, data[:65536], itt=second, ttt=r2t2.ttt,
                lun=lun_field(1), offset=0, datasn=0,
                expstatsn=s.statsn).pack()
    s.send_raw(piece[:30000])

    def the_rest():
        s.send_raw(piece[30000:])
        s.burst(first, r2t.ttt, data, 65536, r2t.desired - 65536, 65536, 1)
    return cmds, the_rest


def test_data_out_half_received(tgt, session, connect):
    """Even in the middle of a PDU; the connection goes on."""
    s = session()
    other = connect(KEYS)
    other.clear_attention(1)
    cmds, the_rest = half_of_it(s)
    removal = Removal(tgt)
    wait_until(lambda: other.run(TEST_UNIT_READY, lun=1).status != GOOD,
               REMOVE_TIMEOUT, 'the LUN to go')
    the_rest()
    removal.wait()
    for status, sense in drain(s, cmds).values():
        assert allowed(status, sense, IN_FLIGHT | ATTENTIONS), (status, sense)
    after(tgt, s)


def test_data_out_half_received_for_ever(tgt, session, connect):
    """Who stops in the middle of a PDU keeps no disk for himself."""
    s = session()
    half_of_it(s)
    Removal(tgt).wait()
    s = connect(KEYS)
    attach(tgt)
    s.clear_attention()
    s.clear_attention(1)
    Removal(tgt).wait()
    after(tgt, s)


@pytest.mark.parametrize('direction', ['write', 'read'])
def test_at_the_backend(tgt, session, direction):
    s = session(slow=True)
    if direction == 'write':
        cmds = begin_writes(s, 4)
        data = bytes(MIB)
        for itt, r2t in cmds.items():
            s.burst(itt, r2t.ttt, data, 0, r2t.desired, 262144, 1)
    else:
        cmds = [s.command(read10(0, BLOCKS), FINAL | READ | SIMPLE, MIB,
                          lun=1).itt for _ in range(4)]
    # It answers a ping only after it has taken what came before.
    ping = s.request(0x00, immediate=True)
    Removal(tgt).wait()
    ended = drain(s, cmds, MIB if direction == 'read' else 0)
    assert s.recv_for(ping.itt)
    for status, sense in ended.values():
        assert status == GOOD or \
            allowed(status, sense, IN_FLIGHT | ATTENTIONS), (status, sense)
    after(tgt, s)


def test_data_in_half_sent(tgt, session):
    """Who reads slowly gets all of it, or what went wrong."""
    s = session(rcvbuf=16384)
    cmds = [s.command(read10(0, BLOCKS), FINAL | READ | SIMPLE, MIB,
                      lun=1).itt for _ in range(8)]
    s.stash.append(s.recv())
    removal = Removal(tgt)
    # What it has to wait for is only read afterwards; others are not kept
    # from anything meanwhile.
    tgt.rpc('bdev_get_bdevs', name='Malloc0')
    for status, sense in drain(s, cmds, MIB).values():
        assert status == GOOD or \
            allowed(status, sense, IN_FLIGHT | ATTENTIONS), (status, sense)
    removal.wait()
    after(tgt, s)


@pytest.mark.parametrize('function', [ABORT_TASK, LUN_RESET],
                         ids=['abort', 'reset'])
def test_task_management_in_flight(tgt, session, function):
    s = session(slow=True)
    cmds = begin_writes(s, 2)
    data = bytes(MIB)
    (first, r2t), (second, _) = cmds.items()
    s.burst(first, r2t.ttt, data, 0, r2t.desired, 262144, 1)
    removal = Removal(tgt)
    tmf = s.request(TMF_REQUEST, FINAL | function, immediate=True, ttt=first,
                    refcmdsn=s.cmdsn - 2, lun=lun_field(1))
    removal.wait()
    rsp = s.recv_for(tmf.itt)
    # Complete, no such task, no such LUN: depending on who was first.
    assert rsp.opcode == TMF_RESPONSE and rsp.response in (0, 1, 2), rsp
    # Aborted tasks say nothing any more; whatever did end said so once.
    for pdu in s.stash:
        if pdu.opcode == SCSI_RESPONSE:
            assert pdu.itt in (first, second)
    s.stash.clear()
    ping = s.request(0x00, immediate=True)
    while s.recv().itt != ping.itt:
        pass
    after(tgt, s)


def test_logout_in_flight(tgt, session, connect):
    s = session(slow=True)
    cmds = begin_writes(s, 2)
    data = bytes(MIB)
    (first, r2t), _ = cmds.items()
    s.burst(first, r2t.ttt, data, 0, r2t.desired, 262144, 1)
    logout = s.request(LOGOUT_REQUEST, FINAL, cid=s.cid, immediate=True)
    Removal(tgt).wait()
    said = s.expect_closed()
    assert [p for p in said if p.opcode == LOGOUT_RESPONSE and
            p.itt == logout.itt and p.response == 0], said
    s = connect(KEYS)
    attach(tgt)
    s.clear_attention()
    s.clear_attention(1)
    Removal(tgt).wait()
    after(tgt, s)


def test_connection_lost_in_flight(tgt, session, connect):
    """Both leave at once, in either order."""
    for first in ('disk', 'connection'):
        s = session(slow=True)
        cmds = begin_writes(s, 4)
        itt, r2t = next(iter(cmds.items()))
        s.burst(itt, r2t.ttt, bytes(MIB), 0, r2t.desired, 262144, 1)
        if first == 'connection':
            s.reset()
            Removal(tgt).wait()
        else:
            removal = Removal(tgt)
            s.reset()
            removal.wait()
        tgt.quiet()
    s = connect(KEYS)
    attach(tgt)
    s.clear_attention()
    s.clear_attention(1)
    Removal(tgt).wait()
    after(tgt, s)


# ---- All of it at once, with processes.

def load(address, number, depth, ready, gone, results):
    """
    A process: 1 MiB writes and reads at LUN 1, @depth at a time, until the
    disk is gone; then the number of commands and how they ended.
    """
    try:
        results.put((number, work(address, number, depth, ready, gone)))
    except BaseException as e:
        results.put((number, '%s: %s' % (type(e).__name__, e)))


def work(address, number, depth, ready, gone):
    s = Initiator(address, iqn(), name='iqn.2016-06.io.spdk:load%d' % number,
                  isid=struct.pack('>HI', 0x8000, number))
    s.login(KEYS)
    s.clear_attention(1)
    data = bytes([number]) * MIB
    counts = {'good': 0, 'failed': 0}
    tasks, got = {}, {}

    def one_more():
        write = len(tasks) % 2 == number % 2
        cdb = (write10 if write else read10)(number % 4 * BLOCKS, BLOCKS)
        pdu = s.command(cdb, FINAL | SIMPLE | (WRITE if write else READ),
                        MIB, lun=1)
        tasks[pdu.itt] = write
        got[pdu.itt] = 0

    for _ in range(depth):
        one_more()
    ready.release()
    while tasks:
        pdu = s.recv()
        if pdu.opcode == R2T:
            s.burst(pdu.itt, pdu.ttt, data, pdu.offset, pdu.desired, 131072,
                    1)
            continue
        if pdu.opcode == DATA_IN:
            got[pdu.itt] += len(pdu.data)
            if not pdu.flags & STATUS:
                continue
            status, sense = pdu.status, None
        else:
            assert pdu.opcode == SCSI_RESPONSE, pdu
            status, sense = pdu.status, Sense(pdu.data) if pdu.data else None
        write = tasks.pop(pdu.itt)
        if status == GOOD:
            assert write or got[pdu.itt] == MIB, 'a GOOD that was not'
            counts['good'] += 1
            one_more()
            continue
        assert allowed(status, sense, IN_FLIGHT | ATTENTIONS), \
            (hex(status), sense)
        counts['failed'] += 1
    # From now on there is nothing but its absence, and the other LUN works.
    assert gone.acquire(timeout=60)
    for _ in range(8):
        r = s.run(TEST_UNIT_READY, lun=1)
        if (r.sense.key, r.sense.code) in GONE:
            break
        assert r.sense.key == UNIT_ATTENTION, r.sense
    else:
        raise AssertionError('attentions do not end')
    s.clear_attention()
    s.logout()
    return counts


def storm(tgt, rounds, connections=8, depth=32):
    context = multiprocessing.get_context('fork')
    for n in range(rounds):
        attach(tgt)
        ready, gone = context.Semaphore(0), context.Semaphore(0)
        results = context.Queue()
        procs = [context.Process(target=load, args=(
            tgt.address, i, depth, ready, gone, results))
            for i in range(connections)]
        for p in procs:
            p.start()
        try:
            for _ in procs:
                assert ready.acquire(timeout=60), 'the load does not start'
            # At another moment each time.
            time.sleep(random.Random(n).uniform(0, 0.2))
            Removal(tgt).wait()
            for _ in procs:
                gone.release()
            for _ in procs:
                number, said = results.get(timeout=60)
                assert isinstance(said, dict), \
                    'round %d, connection %d: %s' % (n, number, said)
                assert said['failed'] > 0
            wait_gone(tgt)
        finally:
            for p in procs:
                p.join(5)
                if p.is_alive():
                    p.kill()
                    p.join()
        tgt.alive()


def test_under_load(tgt, witness):
    """1 MiB writes and reads, 32 at a time, on 8 connections."""
    storm(tgt, 3)
    assert witness.rounds > 0


@pytest.mark.long
def test_under_load_a_hundred_times(tgt, witness):
    storm(tgt, 1)
    before, memory = tgt.fds(), tgt.resident()
    storm(tgt, 100)
    wait_until(lambda: tgt.fds() <= before, 10, 'descriptors to be closed')
    # A disk has 4 MiB: one that stays each time would show. A sanitizer
    # keeps what is freed, and looks for leaks itself.
    assert sanitized() or tgt.resident() < memory + 64 * MIB
