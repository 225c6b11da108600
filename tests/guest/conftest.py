# SPDX-License-Identifier: BSD-3-Clause
"""One guest for all tests, which each finds as if nobody had used it."""

import platform
import shutil

import pytest

import guest as guest_module
import image as image_module
from initiator import (ADDRESS, ADDRESS6, OTHER_ADDRESS, OpenIscsi, Target)


def why_not():
    """Why there can be no guest here, or None."""
    if platform.machine() != 'x86_64':
        return 'guests are x86_64'
    for tool in (guest_module.QEMU, 'apt-get', 'dpkg-deb', 'unshare',
                 'nsenter', 'ip'):
        if not shutil.which(tool):
            return 'no %s here' % tool
    return None


def pytest_terminal_summary(terminalreporter):
    why = why_not()
    if why:
        terminalreporter.write_line('tests/guest is skipped: ' + why)


def pytest_collection_modifyitems(config, items):
    ours = [i for i in items if 'guest' in i.path.parts]
    why = why_not()
    for item in ours:
        item.add_marker('guest')
        if why:
            item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope='session')
def image():
    return image_module.image()


@pytest.fixture(scope='session')
def namespace():
    made = guest_module.Namespace([ADDRESS, OTHER_ADDRESS, ADDRESS6])
    yield made
    made.close()


class Machines:
    """Guests that are up, by name; one that has failed is not used again."""

    def __init__(self, image, namespace):
        self.image, self.namespace, self.up = image, namespace, {}

    def get(self, name):
        if name not in self.up:
            machine = guest_module.Guest(self.image, self.namespace, name)
            self.up[name] = machine
            try:
                machine.start()
            except BaseException:
                self.drop(name)
                raise
        return self.up[name]

    def drop(self, name):
        self.up.pop(name).kill()


@pytest.fixture(scope='session')
def machines(image, namespace):
    made = Machines(image, namespace)
    yield made
    for name in list(made.up):
        made.drop(name)


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if outcome.get_result().failed:
        item.guest_failed = True


def leave(request, machines, name):
    """What a test leaves behind: nothing, or the guest ends here."""
    if name not in machines.up:
        return
    machine = machines.up[name]
    if getattr(request.node, 'guest_failed', False):
        print('console of the %s:\n%s' % (name, machine.console()))
        machines.drop(name)
        return
    if machine.process.poll() is not None:      # ended by the test
        machines.drop(name)
        return
    try:
        clean = OpenIscsi(machine).forget()
        machine.healthy()
    except BaseException:
        machines.drop(name)
        raise
    if not clean:
        machines.drop(name)
        pytest.fail('sessions are left in the ' + name)


@pytest.fixture
def guest(request, machines):
    yield machines.get('guest')
    leave(request, machines, 'guest')


@pytest.fixture
def guest2(request, machines):
    yield machines.get('guest2')
    leave(request, machines, 'guest2')
    if 'guest2' in machines.up:
        machines.drop('guest2')


@pytest.fixture
def iscsi(guest):
    return OpenIscsi(guest)


@pytest.fixture
def start(request, namespace):
    """
    start(calls): a target; the test's own, which ends after the guest's
    sessions have.
    """
    made = []

    def make(calls, **kwargs):
        target = Target(namespace, calls=calls, **kwargs)
        made.append(target)
        return target.start()
    yield make
    try:
        for target in made:
            if getattr(request.node, 'guest_failed', False):
                print(target.tail())
            target.check_log()
            if target.process.poll() is None:
                target.stop(timeout=10.0)
    finally:
        for target in made:
            target.kill()
            target.remove()
