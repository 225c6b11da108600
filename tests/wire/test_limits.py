# SPDX-License-Identifier: BSD-3-Clause
"""Limits by name: who reaches one pays for it, nobody else."""

from daemon import basic
from iscsi_initiator import Initiator
from iscsi_wire import TEST_UNIT_READY, Closed, Connection

TARGET = {'calls': basic(options={'max_logins': 4,
                                  'max_connections_per_address': 6,
                                  'login_timeout': 60})}


def refused(address, **kwargs):
    c = Connection(address)
    try:
        c.recv(5)
    except (Closed, ConnectionResetError):
        return True
    finally:
        c.close()


def test_max_logins(tgt, connect):
    s = connect()
    idle = [Connection(tgt.address) for _ in range(4)]
    tgt.quiet(connections=5)
    assert refused(tgt.address)
    s.run(TEST_UNIT_READY).good()
    # One less: there is room for a login again.
    idle.pop().close()
    tgt.quiet(connections=4)
    connect()
    for c in idle:
        c.close()
    s.run(TEST_UNIT_READY).good()


def test_max_connections_per_address(tgt, connect):
    tgt.quiet()
    sessions = [connect() for _ in range(6)]
    tgt.quiet(connections=6)
    assert refused(tgt.address)
    for s in sessions:
        s.run(TEST_UNIT_READY).good()
    sessions.pop().close()
    tgt.quiet(connections=5)
    other = Initiator(tgt.address, sessions[0].target)
    other.login()
    other.close()
