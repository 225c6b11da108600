# SPDX-License-Identifier: BSD-3-Clause
"""
Starts and stops the target for tests: $ISCSI_TGT, or build/iscsi_tgt. Each
has its own directory, RPC socket and port, so that suites can run side by
side.
"""

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
RPC_PY = os.path.join(ROOT, 'scripts', 'rpc.py')
START_TIMEOUT = 30.0
STOP_TIMEOUT = 2.0      # what the target promises
NODE_BASE = 'iqn.2016-06.io.spdk'

# A line like these in the log is a failure of whichever test caused it.
REPORTS = re.compile(rb'assertion|AddressSanitizer|LeakSanitizer|'
                     rb'ThreadSanitizer|UndefinedBehavior|runtime error:',
                     re.IGNORECASE)


def binary():
    return os.path.abspath(os.environ.get(
        'ISCSI_TGT', os.path.join(ROOT, 'build', 'iscsi_tgt')))


def sanitized():
    """Does the build pay for a sanitizer? Then memory says nothing."""
    with open(binary(), 'rb') as f:
        return b'__asan_init' in (data := f.read()) or b'__tsan_init' in data


def patience():
    """
    How many times longer than on an idle machine things may take: builds with
    a sanitizer are slow, and so is a machine that is busy with other things.
    """
    busy = os.getloadavg()[0] / os.cpu_count()
    return max(1.0, busy) * (3 if sanitized() else 1)


def free_port():
    """
    Outside of the range from which the kernel gives ports to others. Free a
    moment ago; who starts on it tries another when it no longer is.
    """
    while True:
        port = random.randint(10240, 32000)
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(('0.0.0.0', port))
            except OSError:
                continue
            return port


def wait_until(true, timeout, what):
    """Polls, since what is outside of this process sends no events."""
    end = time.monotonic() + timeout
    while True:
        value = true()
        if value:
            return value
        assert time.monotonic() < end, 'waited too long: ' + what
        time.sleep(0.01)


class RpcError(Exception):
    def __init__(self, error):
        super().__init__('%(code)d %(message)s' % error)
        self.code, self.message = error['code'], error['message']


class Rpc:
    """JSON-RPC over the socket, one call at a time."""

    def __init__(self, path, timeout=20.0):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(timeout)
        self.sock.connect(path)
        self.id = 0
        self.buffer = ''

    def __call__(self, method, **params):
        self.id += 1
        request = {'jsonrpc': '2.0', 'id': self.id, 'method': method}
        if params:
            request['params'] = params
        self.sock.sendall(json.dumps(request).encode())
        while True:
            try:
                reply, end = json.JSONDecoder().raw_decode(
                    self.buffer.lstrip())
                break
            except ValueError:
                piece = self.sock.recv(65536)
                if not piece:
                    raise ConnectionError('RPC socket closed') from None
                self.buffer += piece.decode()
        self.buffer = self.buffer.lstrip()[end:]
        assert reply['id'] == self.id, reply
        if 'error' in reply:
            raise RpcError(reply['error'])
        return reply['result']

    def close(self):
        self.sock.close()


class Daemon:
    """
    One process. @calls: the JSON configuration, as a list of (method, params)
    in SPDK's order, in which PORT stands for the port; None: none at all.
    """

    def __init__(self, calls=None, args=(), core_mask=None, conf=None,
                 user=None):
        self.calls, self.args, self.conf = calls, list(args), conf
        self.user = user
        self.core_mask = core_mask
        self.dir = tempfile.mkdtemp(prefix='iscsi_tgt_test.')
        self.socket = os.path.join(self.dir, 'rpc.sock')
        self.log_path = os.path.join(self.dir, 'log')
        self.process = self._rpc = None
        self.port = None
        self.stopped = False
        self.asked = None

    # ---- Life.

    def start(self):
        for _ in range(5):
            self.port = free_port()
            if self._spawn():
                return self
            if b'in use' not in self.log():
                break
        raise AssertionError('the target does not start (%s):\n%s' % (
            self.process.returncode, self.log().decode(errors='replace')))

    def command(self):
        cmd = [binary(), '-r', self.socket] + self.args
        if self.core_mask:
            cmd += ['-m', self.core_mask]
        if self.calls is not None:
            path = os.path.join(self.dir, 'config.json')
            with open(path, 'w', encoding='ascii') as f:
                json.dump(config_of(self.calls, self.port), f, indent=1)
            cmd += ['-c', path]
        elif self.conf is not None:
            path = os.path.join(self.dir, 'iscsi.conf')
            with open(path, 'w', encoding='utf-8') as f:
                f.write(self.conf.replace('PORT', str(self.port)))
            cmd += ['-c', path]
        return cmd

    def _spawn(self):
        with open(self.log_path, 'ab') as log:
            self.process = subprocess.Popen(
                self.command(), stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, user=self.user)
        end = time.monotonic() + START_TIMEOUT
        while time.monotonic() < end:
            if self.process.poll() is not None:
                return False
            if self._ready():
                return True
            time.sleep(0.01)
        self.process.kill()
        self.process.wait()
        return False

    def _ready(self):
        """It answers, and what is configured listens."""
        try:
            rpc = Rpc(self.socket)
        except OSError:
            return False
        try:
            if self.calls is None and self.conf is None:
                rpc('get_rpc_methods')
                return True
            rpc('framework_wait_init')
            return True
        except (OSError, RpcError):
            # It is about to end, since something was wrong.
            return False
        finally:
            rpc.close()

    def terminate(self, sig=signal.SIGTERM):
        """Asks it to end; once, since the second time it is in a hurry."""
        self.drop_rpc()
        if not self.stopped and self.process.poll() is None:
            self.process.send_signal(sig)
            self.asked = time.monotonic()
        self.stopped = True

    def stop(self, timeout=None):
        """SIGTERM, exit status 0 in time, and a clean log."""
        self.terminate()
        began = self.asked or time.monotonic()
        try:
            # Time for a slow machine; the promise is checked below.
            self.process.wait(20.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError('does not end:\n' + self.tail()) from None
        took = time.monotonic() - began
        assert self.process.returncode == 0, \
            'exit status %d:\n%s' % (self.process.returncode, self.tail())
        limit = timeout or STOP_TIMEOUT * patience()
        assert took < limit, 'took %.2f s to end' % took
        self.check_log()
        assert not os.path.exists(self.socket), 'the RPC socket is left'
        self.remove()

    def kill(self):
        self.drop_rpc()
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    # ---- What it says.

    def log(self):
        with open(self.log_path, 'rb') as f:
            return f.read()

    def tail(self):
        return self.log()[-4000:].decode(errors='replace')

    def check_log(self):
        found = REPORTS.search(self.log())
        assert not found, self.log()[max(0, found.start() - 200):
                                     found.start() + 6000].decode(
                                         errors='replace')

    def alive(self):
        assert self.process.poll() is None, \
            'the target has died (%s):\n%s' % (self.process.returncode,
                                              self.tail())
        self.check_log()
        return True

    @property
    def address(self):
        return ('127.0.0.1', self.port)

    @property
    def rpc(self):
        if self._rpc is None:
            self._rpc = Rpc(self.socket)
        return self._rpc

    def drop_rpc(self):
        if self._rpc:
            self._rpc.close()
            self._rpc = None

    def connections(self):
        return self.rpc('iscsi_get_connections')

    def quiet(self, connections=0, timeout=20.0):
        """Waits until no more connections are there."""
        wait_until(lambda: len(self.connections()) <= connections, timeout,
                   'connections to end: %s' % self.connections())

    def cpu_seconds(self):
        """CPU time that it has used, of all threads."""
        with open('/proc/%d/stat' % self.process.pid,
                  encoding='ascii') as f:
            fields = f.read().rpartition(')')[2].split()
        return (int(fields[11]) + int(fields[12])) / \
            os.sysconf('SC_CLK_TCK')

    def fds(self):
        return len(os.listdir('/proc/%d/fd' % self.process.pid))

    def resident(self):
        """Bytes of memory that are its own."""
        with open('/proc/%d/status' % self.process.pid,
                  encoding='ascii') as f:
            for line in f:
                if line.startswith('RssAnon:'):
                    return int(line.split()[1]) * 1024
        raise AssertionError('no RssAnon')


def config_of(calls, port):
    """SPDK's JSON format."""
    def params_of(params):
        return json.loads(json.dumps(params).replace('PORT', str(port)))

    def subsystem(name, wanted):
        return {'subsystem': name, 'config': [
            {'method': method, 'params': params_of(params)}
            for method, params in calls
            if method.startswith('bdev') == wanted]}
    return {'subsystems': [subsystem('bdev', True),
                           subsystem('iscsi', False)]}


def basic(name='disk1', size_mib=16, block_size=512, options=None,
          portals=(('127.0.0.1', 'PORT'),), netmasks=('127.0.0.0/8',),
          queue_depth=64, **node):
    """One target with a RAM disk as LUN 0, for all that are local."""
    calls = [('bdev_malloc_create', {
        'name': 'Malloc0', 'num_blocks': size_mib * 1048576 // block_size,
        'block_size': block_size})]
    if options:
        calls.append(('iscsi_set_options', options))
    calls += [
        ('iscsi_create_portal_group', {'tag': 1, 'portals': [
            {'host': h, 'port': p} for h, p in portals]}),
        ('iscsi_create_initiator_group', {
            'tag': 1, 'initiators': ['ANY'], 'netmasks': list(netmasks)}),
        ('iscsi_create_target_node', dict({
            'name': name, 'alias_name': name + ' alias',
            'pg_ig_maps': [{'pg_tag': 1, 'ig_tag': 1}],
            'luns': [{'bdev_name': 'Malloc0', 'lun_id': 0}],
            'queue_depth': queue_depth}, **node)),
    ]
    return calls


def iqn(name='disk1'):
    return NODE_BASE + ':' + name
