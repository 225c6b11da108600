# SPDX-License-Identifier: BSD-3-Clause
"""How a target ends, and starts again after it was killed."""

import os
import signal
import socket
import stat
import subprocess

import pytest

from daemon import Rpc, basic, binary, wait_until
from iscsi_wire import (ASYNC_MESSAGE, FINAL, IMMEDIATE, NOP_OUT, R2T, READ,
                        RESERVED_TAG, SCSI_RESPONSE, SIMPLE,
                        TEST_UNIT_READY, WRITE, Closed, Pdu, read10, write10)

SOLICITED = {'ImmediateData': 'No', 'InitialR2T': 'Yes'}


@pytest.fixture(params=[
    pytest.param(None, id='one-core'),
    pytest.param('0x3', id='two-cores', marks=pytest.mark.multicore)])
def t(make_tgt, request):
    # stop() checks status, time, log and socket.
    return make_tgt(calls=basic(), core_mask=request.param)


def test_idle(t):
    t.stop()


def test_sigint(t):
    t.terminate(signal.SIGINT)
    t.stop()


def test_sessions_are_asked_to_log_out(t, connect):
    """11.9.1: event 1; who logs out at once is not dropped."""
    s = connect(to=t)
    t.terminate()
    a = s.expect(ASYNC_MESSAGE)
    assert a.async_event == 1
    assert s.logout() == 0
    t.stop()


def test_commands_in_flight_are_finished(t, connect):
    """A write that waits for its data gets the time to complete."""
    s = connect(SOLICITED, to=t)
    s.command(write10(0, 8), FINAL | WRITE | SIMPLE, 4096)
    r = s.expect(R2T)
    t.terminate()
    assert s.expect(ASYNC_MESSAGE).async_event == 1
    s.burst(r.itt, r.ttt, b'\x42' * 4096, 0, 4096)
    assert s.expect(SCSI_RESPONSE).status == 0
    assert s.run(read10(0, 8), read_len=4096).good().data == b'\x42' * 4096
    s.logout()
    t.stop()


def test_peer_that_ignores_it(t, connect):
    s = connect(SOLICITED, to=t)
    s.command(write10(0, 8), FINAL | WRITE | SIMPLE, 4096)
    s.expect(R2T)
    t.terminate()
    t.stop()
    assert [p.opcode for p in s.expect_closed()] == [ASYNC_MESSAGE]


def test_peer_that_never_reads(t, connect):
    s = connect(to=t, rcvbuf=4096)
    for i in range(64):
        s.command(read10(i, 2048), FINAL | READ | SIMPLE, 1 << 20)
    # Until it is blocked there: the send buffer is full.
    wait_until(lambda: len(t.connections()) == 1, 5, 'the connection')
    t.stop()


def test_peer_that_pings_and_never_reads(t, connect):
    s = connect(to=t, rcvbuf=4096)
    ping = Pdu(NOP_OUT | IMMEDIATE, FINAL, bytes(8000), itt=1,
               ttt=RESERVED_TAG, cmdsn=s.cmdsn).pack()
    s.sock.settimeout(0.5)
    try:
        for _ in range(20000):
            s.sock.sendall(ping)
    except (socket.timeout, BlockingIOError):
        pass
    t.stop()


def test_half_open_logins(t, connect):
    for _ in range(20):
        connect(to=t, login=False).send_raw(b'\x43')
    t.stop()


def test_many_sessions(t, connect):
    for i in range(30):
        s = connect(to=t)
        s.command(read10(i, 256), FINAL | READ | SIMPLE, 131072)
    t.stop()


def test_no_logins_while_it_ends(t, connect):
    s = connect(SOLICITED, to=t)
    s.command(write10(0, 8), FINAL | WRITE | SIMPLE, 4096)
    s.expect(R2T)
    t.terminate()
    s.expect(ASYNC_MESSAGE)
    # Refused, reset, or a status that says so; never a session.
    with pytest.raises(Exception) as e:
        connect(to=t)
    assert isinstance(e.value, (OSError, Closed)) or \
        'status 0301' in str(e.value), e.value
    t.stop()


def test_rpc_that_waits_is_no_hindrance(t):
    rpc = Rpc(t.socket)
    rpc.sock.sendall(b'{"jsonrpc": "2.0", "id": 1, "meth')
    t.stop()
    rpc.close()


def test_kill_instance(make_tgt):
    """spdk_kill_instance ends it as SIGTERM does."""
    t = make_tgt(calls=basic())
    try:
        t.rpc('spdk_kill_instance', sig_name='SIGTERM')
    except ConnectionError:
        pass
    t.drop_rpc()
    t.stopped = True
    t.stop()


def test_killed_and_started_again(make_tgt, connect):
    """What is left of a process that was killed hinders nobody."""
    t = make_tgt(calls=basic())
    s = connect(to=t)
    s.run(TEST_UNIT_READY).good()
    port, path = t.port, t.socket
    t.kill()
    assert os.path.exists(path)
    with pytest.raises(Closed):
        s.run(TEST_UNIT_READY)
    # The same port and socket at once.
    assert t._spawn() and t.port == port
    connect(to=t).run(TEST_UNIT_READY).good()
    t.stop()


def test_second_instance_on_the_same_socket(make_tgt, connect):
    t = make_tgt(calls=basic())
    done = subprocess.run([binary(), '-r', t.socket], timeout=30,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode not in (0, -6, -11)
    assert t.socket.encode() in done.stdout, done.stdout
    # The first one is as it was.
    assert t.rpc('get_rpc_methods')
    assert len(Rpc(t.socket)('iscsi_get_target_nodes')) == 1
    connect(to=t).run(TEST_UNIT_READY).good()


def test_second_instance_on_the_same_port(make_tgt, connect):
    t = make_tgt(calls=basic())
    other = make_tgt(start=False, calls=basic())
    other.port = t.port
    assert not other._spawn()
    assert other.process.returncode not in (0, -6, -11)
    assert ('127.0.0.1:%d' % t.port).encode() in other.log()
    assert not os.path.exists(other.socket)
    other.stopped = True
    connect(to=t).run(TEST_UNIT_READY).good()


def test_rpc_socket_is_private(make_tgt):
    t = make_tgt()
    mode = os.stat(t.socket)
    assert stat.S_ISSOCK(mode.st_mode)
    assert stat.S_IMODE(mode.st_mode) == 0o600


def test_a_file_that_is_no_socket_is_not_removed(make_tgt):
    t = make_tgt(start=False)
    with open(t.socket, 'w', encoding='ascii') as f:
        f.write('precious')
    assert not t._spawn()
    assert t.process.returncode not in (0, -6, -11)
    with open(t.socket, encoding='ascii') as f:
        assert f.read() == 'precious'
    t.stopped = True
