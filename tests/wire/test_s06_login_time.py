# SPDX-License-Identifier: BSD-3-Clause
"""The time that a login may take, from accept to full feature phase."""

import time

import pytest

from daemon import basic, patience
from iscsi_initiator import OPERATIONAL, SECURITY
from iscsi_wire import Closed, TEST_UNIT_READY, text

LIMIT = 2
TARGET = {'calls': basic(options={'login_timeout': LIMIT})}


def closes_in_time(s, began):
    s.expect_closed(timeout=LIMIT + 20)
    took = time.monotonic() - began
    assert LIMIT - 0.5 < took < LIMIT + 2 * patience(), took


def test_silence(connect):
    began = time.monotonic()
    closes_in_time(connect(login=False), began)


def test_stops_in_the_middle(connect):
    began = time.monotonic()
    s = connect(login=False)
    s.login_step(text(s.names()), SECURITY, OPERATIONAL)
    closes_in_time(s, began)


def trickle(s, data, began):
    for byte in data:
        try:
            s.send_raw(bytes([byte]))
        except Closed:
            break
        if time.monotonic() > began + LIMIT + 5:
            pytest.fail('still open')
        # As slow as a peer would be that only wants to hold on.
        time.sleep(0.05)
        s.sock.setblocking(False)
        try:
            if s.sock.recv(1) == b'':
                break
        except BlockingIOError:
            pass
        except ConnectionResetError:
            break
        finally:
            s.sock.setblocking(True)
    return time.monotonic() - began


def test_trickling_bytes_do_not_extend_it(connect):
    began = time.monotonic()
    s = connect(login=False)
    took = trickle(s, s.login_pdu(bytes(4096), SECURITY).pack(), began)
    assert LIMIT - 0.5 < took < LIMIT + 2 * patience(), took


def test_requests_do_not_extend_it(connect):
    """Whole, harmless requests, one after the other."""
    began = time.monotonic()
    s = connect(login=False)
    s.login_step(text(s.names()), SECURITY)
    try:
        for _ in range(50):
            s.login_step(b'', SECURITY)
            time.sleep(0.1)
    except Exception as e:
        assert isinstance(e, Closed), e
    took = time.monotonic() - began
    assert LIMIT - 0.5 < took < LIMIT + 2 * patience(), took


def test_full_feature_phase_has_no_such_limit(connect):
    s = connect()
    s.expect_silence(LIMIT + 0.5)
    s.run(TEST_UNIT_READY).good()
