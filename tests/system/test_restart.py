# SPDX-License-Identifier: BSD-3-Clause
"""A port that is not free yet when the target starts."""

import signal
import socket
import subprocess

import pytest

from daemon import basic, free_port, wait_until


@pytest.fixture
def taken():
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        port = free_port()
        s.bind(('127.0.0.1', port))
        s.listen()
        yield s, port


def begin(make_tgt, port):
    """A target whose port is taken, when it has found out."""
    target = make_tgt(start=False, calls=basic())
    target.port = port
    with open(target.log_path, 'ab') as log:
        target.process = subprocess.Popen(
            target.command(), stdout=log, stderr=log,
            stdin=subprocess.DEVNULL)
    wait_until(lambda: b'in use' in target.log() or
               target.process.poll() is not None, 20, 'the port to be tried')
    return target


def test_port_that_becomes_free(make_tgt, taken, connect):
    """As after kill -9, when the kernel still ends what was under way."""
    blocker, port = taken
    target = begin(make_tgt, port)
    blocker.close()
    wait_until(target._ready, 20, 'it to listen')
    connect(to=target)


def test_port_that_stays_taken(make_tgt, taken):
    target = begin(make_tgt, taken[1])
    assert target.process.wait(20) == 1
    assert b'Address already in use' in target.log()
    target.stopped = True


def test_ended_while_it_waits(make_tgt, taken):
    target = begin(make_tgt, taken[1])
    target.process.send_signal(signal.SIGTERM)
    assert target.process.wait(20) == 0
    target.check_log()
    target.stopped = True
