# SPDX-License-Identifier: BSD-3-Clause
"""
The guide's tour, word for word, as a new user would take it: a target that
is started with no configuration, four RPC calls, and initiators that have
nothing to do with us. All runs in a network and mount namespace of its own,
so that port 3260 and the default RPC socket are ours.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

from daemon import (REPORTS, ROOT, RPC_PY, STOP_TIMEOUT, binary, patience,
                    wait_until)

MIB = 1 << 20
SIZE = 64 * MIB
IQN = 'iqn.2016-06.io.spdk:Target3'
PORTAL = '127.0.0.1:3260'
URL = 'iscsi://%s/%s/0' % (PORTAL, IQN)

# The guide's calls, as they stand there.
GROUPS = ['add_portal_group 1 127.0.0.1:3260',
          'add_initiator_group 2 ANY 127.0.0.1/32']
RAM_DISK = 'construct_malloc_bdev -b MyBdev 64 512'
NODE = ('construct_target_node Target3 Target3_alias MyBdev:0 1:2 '
        '64 0 0 0 1')


class Machine:
    """A namespace with nothing in it but a loopback device."""

    def __init__(self):
        user = [] if os.geteuid() == 0 else ['--user', '--map-root-user']
        self.holder = subprocess.Popen(
            ['unshare'] + user + [
                '--net', '--mount', '--propagation', 'private', 'sh', '-c',
                'ip link set lo up && mount -t tmpfs none /var/tmp && '
                'echo ready && exec cat'],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if self.holder.stdout.readline() != b'ready\n':
            self.holder.wait()
            pytest.fail('no namespaces here: unshare --net --mount')
        self.enter = ['nsenter', '-t', str(self.holder.pid), '--net',
                      '--mount']
        if user:
            self.enter += ['--user', '--preserve-credentials']
        self.enter += ['--']
        self.dir = tempfile.mkdtemp(prefix='iscsi_tgt_guide.')
        self.target = None
        self.log_path = os.path.join(self.dir, 'log')

    def popen(self, *cmd, **kwargs):
        return subprocess.Popen(self.enter + list(cmd), cwd=ROOT, **kwargs)

    def run(self, *cmd, ok=True, timeout=120):
        done = subprocess.run(self.enter + list(cmd), cwd=ROOT,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=timeout)
        out = done.stdout.decode(errors='replace')
        if ok:
            assert done.returncode == 0, '%s: %s\n%s' % (cmd, out,
                                                         self.log())
        return out

    def rpc(self, line):
        """As the guide has it: python scripts/rpc.py LINE."""
        return self.run('/usr/bin/python3', RPC_PY, *line.split()).strip()

    def start(self, *args):
        with open(self.log_path, 'wb') as log:
            self.target = self.popen(binary(), *args, stdout=log,
                                     stderr=log)
        wait_until(self._answers, 30, 'the target:\n' + self.log())

    def _answers(self):
        assert self.target.poll() is None, self.log()
        return 'get_rpc_methods' in self.run(
            '/usr/bin/python3', RPC_PY, 'get_rpc_methods', ok=False)

    def log(self):
        with open(self.log_path, 'rb') as f:
            return f.read().decode(errors='replace')

    def stop(self):
        # nsenter becomes the program: the process is the target itself.
        began = time.monotonic()
        self.target.send_signal(signal.SIGTERM)
        assert self.target.wait(20) == 0, self.log()
        took = time.monotonic() - began
        assert took < STOP_TIMEOUT * patience(), took
        assert not REPORTS.search(self.log().encode()), self.log()

    def end(self):
        if self.target and self.target.poll() is None:
            self.target.kill()
            self.target.wait()
        self.holder.stdin.close()
        self.holder.wait()
        shutil.rmtree(self.dir)


@pytest.fixture
def machine():
    m = Machine()
    yield m
    m.end()


def look_around(m, size=SIZE):
    """Discovery, inquiry, capacity: by libiscsi's tools."""
    out = m.run('iscsi-ls', '-s', 'iscsi://' + PORTAL)
    assert 'Target:%s Portal:%s,1' % (IQN, PORTAL) in out
    assert 'Lun:0' in out and 'DIRECT_ACCESS' in out, out
    out = m.run('iscsi-inq', URL)
    assert 'DIRECT_ACCESS' in out, out
    out = m.run('iscsi-inq', '-e', '1', '-c', '0', URL)
    assert '0x83' in out or '83' in out, out
    out = m.run('iscsi-readcapacity16', URL)
    total = [line for line in out.splitlines() if 'Total size' in line]
    assert str(size) in total[0], out


def copy_through(m, size=SIZE, seed=3):
    """An image of random bytes in, and out again."""
    source = os.path.join(m.dir, 'in')
    result = os.path.join(m.dir, 'out')
    with open(source, 'wb') as f:
        f.write(random.Random(seed).randbytes(size))
    out = m.run('qemu-img', 'info', URL)
    assert '%d bytes' % size in out, out
    m.run('qemu-img', 'convert', '-n', '-f', 'raw', '-O', 'raw', source, URL)
    m.run('qemu-img', 'convert', '-f', 'raw', '-O', 'raw', URL, result)
    with open(source, 'rb') as a, open(result, 'rb') as b:
        assert a.read() == b.read(), 'a wrong byte'
    return source


def patterns(m):
    """Writes with a pattern, reads that check it, zeroes, discard, flush."""
    out = m.run('qemu-io', '-f', 'raw', '-t', 'none', '-n',
                '-c', 'write -P 0x5a 0 1M',
                '-c', 'write -P 0xa5 4096 512',
                '-c', 'read -P 0x5a 0 4096',
                '-c', 'read -P 0xa5 4096 512',
                '-c', 'read -P 0x5a 4608 1043968',
                '-c', 'write -P 0x11 67107840 1024',
                '-c', 'read -P 0x11 67107840 1024',
                '-c', 'write -f -P 0x77 2M 64k',
                '-c', 'read -P 0x77 2M 64k',
                '-c', 'write -z 2M 64k',
                '-c', 'read -P 0 2M 64k',
                '-c', 'discard 0 1M',
                '-c', 'flush', URL)
    assert 'failed' not in out and 'error' not in out.lower(), out
    assert out.count('read ') >= 6 and out.count('wrote ') >= 5, out


def test_guide_with_a_ram_disk(machine):
    machine.start()
    for line in GROUPS:
        machine.rpc(line)
    assert machine.rpc(RAM_DISK) == 'MyBdev'
    machine.rpc(NODE)
    look_around(machine)
    copy_through(machine)
    patterns(machine)
    nodes = json.loads(machine.rpc('get_target_nodes'))
    assert [n['name'] for n in nodes] == [IQN]
    machine.stop()


def test_guide_with_a_file(machine):
    """The same with construct_aio_bdev; what was written is in the file."""
    path = os.path.join(machine.dir, 'disk')
    with open(path, 'wb') as f:
        f.truncate(SIZE)
    machine.start()
    for line in GROUPS:
        machine.rpc(line)
    assert machine.rpc('construct_aio_bdev %s MyBdev 512' % path) == 'MyBdev'
    machine.rpc(NODE)
    look_around(machine)
    source = copy_through(machine)
    patterns(machine)
    copy_through(machine, seed=4)
    machine.stop()
    with open(source, 'rb') as a, open(path, 'rb') as b:
        assert a.read() == b.read(), 'the file differs'


WORKER = '''
import random, sys
sys.path.insert(0, sys.argv[1])
from iscsi_initiator import Initiator
from iscsi_wire import read10, write10
number, blocks = int(sys.argv[2]), 8192
s = Initiator(('127.0.0.1', 3260), 'iqn.2016-06.io.spdk:Target3',
              name='iqn.2016-06.io.spdk:worker%d' % number)
s.login()
s.clear_attention()
r = random.Random(number)
base = number * blocks
model = bytearray(r.randbytes(blocks * 512))
for at in range(0, blocks, 512):
    s.run(write10(base + at, 512), bytes(model[at * 512:(at + 512) * 512])
          ).good()
for i in range(300):
    n = r.choice((1, 8, 9, 64, 256))
    at = r.randrange(blocks - n + 1)
    data = r.randbytes(n * 512)
    s.run(write10(base + at, n), data).good()
    model[at * 512:(at + n) * 512] = data
    at = r.randrange(blocks - n + 1)
    got = s.run(read10(base + at, n), read_len=n * 512).good().data
    assert got == model[at * 512:(at + n) * 512], 'a wrong byte'
for at in range(0, blocks, 512):
    got = s.run(read10(base + at, 512), read_len=512 * 512).good().data
    assert got == model[at * 512:(at + 512) * 512], 'a wrong byte'
s.logout()
print('all right')
'''


@pytest.mark.multicore
def test_guide_with_two_cores_and_eight_sessions(machine):
    """Sessions of one target on both cores, each with its own range."""
    machine.start('-m', '0x3')
    for line in GROUPS:
        machine.rpc(line)
    machine.rpc(RAM_DISK)
    machine.rpc(NODE)
    wire = os.path.join(ROOT, 'tests', 'wire')
    workers = [machine.popen('/usr/bin/python3', '-c', WORKER, wire, str(i),
                             stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT) for i in range(8)]
    cores = set()
    while any(w.poll() is None for w in workers):
        for c in json.loads(machine.rpc('get_iscsi_connections')):
            cores.add(c['lcore_id'])
        time.sleep(0.02)
    for w in workers:
        out = w.communicate()[0].decode()
        assert w.returncode == 0 and out == 'all right\n', out
    assert len(cores) == 2, 'all sessions on one core: %s' % cores
    look_around(machine)
    machine.stop()


@pytest.mark.multicore
def test_two_cores_and_eight_qemus(machine):
    """The same by QEMU's initiator: each writes and checks 4 MiB."""
    machine.start('-m', '[0,1]')
    for line in GROUPS:
        machine.rpc(line)
    machine.rpc(RAM_DISK)
    machine.rpc(NODE)
    workers = []
    for i in range(8):
        at, byte = i * 4, 0x10 + i
        workers.append(machine.popen(
            'qemu-io', '-f', 'raw', '-t', 'none', '-n',
            '-c', 'write -P 0x%x %dM 4M' % (byte, at),
            '-c', 'read -P 0x%x %dM 4M' % (byte, at),
            '-c', 'write -P 0x%x %dM 512' % (byte + 8, at),
            '-c', 'read -P 0x%x %dM 512' % (byte + 8, at),
            '-c', 'read -P 0x%x %d 4193792' % (byte, at * MIB + 512), URL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
    for w in workers:
        out = w.communicate(timeout=120)[0].decode()
        assert w.returncode == 0 and 'failed' not in out, out
        assert out.count('read ') == 3, out
    machine.stop()
