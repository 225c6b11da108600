# SPDX-License-Identifier: BSD-3-Clause
"""Targets for tests: one per module, which ends it and checks how it ended."""

import os

import pytest

import daemon as daemon_module
from daemon import Daemon, basic, iqn
from iscsi_initiator import Initiator


def pytest_sessionstart(session):
    if not os.access(daemon_module.binary(), os.X_OK):
        pytest.exit('no target at %s: build it, or set ISCSI_TGT'
                    % daemon_module.binary(), returncode=3)


@pytest.fixture(scope='module')
def tgt(request):
    """
    The module's target. TARGET in the module: keyword arguments of Daemon;
    without, one RAM disk of 16 MiB, exported as disk1.
    """
    kwargs = dict(getattr(request.module, 'TARGET', {'calls': basic()}))
    target = Daemon(**kwargs)
    try:
        target.start()
        yield target
    except BaseException:
        target.kill()
        raise
    if request.session.testsfailed:
        print(target.tail())
    try:
        target.stop()
    finally:
        target.kill()


@pytest.fixture
def make_tgt():
    """For tests that want targets of their own: make_tgt(calls=...)."""
    made = []

    def make(start=True, **kwargs):
        target = Daemon(**kwargs)
        made.append(target)
        return target.start() if start else target
    yield make
    try:
        for target in made:
            if target.process and not target.stopped:
                target.stop()
    finally:
        for target in made:
            target.kill()
            target.remove()


@pytest.fixture
def connect(request):
    """connect(): a session with the module's target, or @to another."""
    opened = []

    def make(keys=None, discovery=False, login=True, to=None,
             target=iqn(), clear=True, security=True, **kwargs):
        where = to or request.getfixturevalue('tgt')
        address = kwargs.pop('address', where.address)
        s = Initiator(address, target, **kwargs)
        opened.append(s)
        if login:
            s.login(keys, discovery, security)
            if clear and not discovery:
                s.clear_attention()
        return s
    yield make
    for s in opened:
        s.close()


@pytest.fixture(autouse=True)
def still_alive(request):
    """Whatever a test has done, the module's target has to live on."""
    yield
    if 'tgt' in request.fixturenames:
        request.getfixturevalue('tgt').alive()
