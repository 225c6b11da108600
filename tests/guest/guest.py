# SPDX-License-Identifier: BSD-3-Clause
"""
A guest under QEMU's plain emulation, with a shell over its second serial
port; and the network namespace in which it and its targets live, so that
addresses and port 3260 are real and nobody else's.
"""

import base64
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time

QEMU = 'qemu-system-x86_64'
MEMORY_MIB = 768
BOOT_TIMEOUT = 240.0
RUN_TIMEOUT = 60.0

# What the kernel of a healthy guest never says.
OOPS = re.compile(r'BUG:|Oops|Call Trace|general protection|hung_task|'
                  r'blocked for more than|Kernel panic')


class GuestError(AssertionError):
    pass


class Namespace:
    """
    A network namespace with addresses on its loopback interface. QEMU's user
    network reaches them from the guest as any others. Without root, a user
    namespace comes with it.
    """

    def __init__(self, addresses):
        flags = ['--net'] if os.geteuid() == 0 else [
            '--user', '--map-root-user', '--net']
        # It lives until its input ends, which it does when we end.
        self.holder = subprocess.Popen(
            ['unshare'] + flags + ['sh', '-c', 'echo up; cat'],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL)
        if self.holder.stdout.readline() != b'up\n':
            self.close()
            raise OSError('no network namespace can be made here')
        self.enter = ['nsenter', '-t', str(self.holder.pid), '-n']
        if os.geteuid() != 0:
            self.enter += ['-U', '--preserve-credentials']
        self.run('ip', 'link', 'set', 'lo', 'up')
        for address in addresses:
            self.add(address)

    def run(self, *cmd):
        subprocess.run(self.enter + list(cmd), check=True,
                       stdin=subprocess.DEVNULL)

    def add(self, address):
        if ':' in address:
            self.run('ip', '-6', 'addr', 'add', address + '/128', 'dev',
                     'lo', 'nodad')
        else:
            self.run('ip', 'addr', 'add', address + '/32', 'dev', 'lo')

    def delete(self, address):
        bits = '/128' if ':' in address else '/32'
        self.run('ip', 'addr', 'del', address + bits, 'dev', 'lo')

    def close(self):
        self.holder.stdin.close()
        self.holder.wait(10)
        self.holder.stdout.close()


class Job:
    """A command that goes on in the guest while the test does other things."""

    def __init__(self, guest, number):
        self.guest, self.number = guest, number

    def _file(self, what):
        return '/tmp/job%d.%s' % (self.number, what)

    def running(self):
        return self.guest.run('test -e %s' % self._file('rc'),
                              check=False).rc != 0

    def output(self):
        return self.guest('cat ' + self._file('out'))

    def wait(self, timeout=RUN_TIMEOUT, check=True):
        """Its end; @check: with success."""
        rc = int(self.guest(
            'while ! test -s %s; do sleep 0.05; done; cat %s' %
            (self._file('rc'), self._file('rc')), timeout=timeout))
        text = self.output()
        if check and rc != 0:
            raise GuestError('ended with %d:\n%s' % (rc, text))
        return Result(rc, text)


class Result:
    def __init__(self, rc, text):
        self.rc, self.text = rc, text


class Guest:
    def __init__(self, image, namespace, name='guest'):
        self.kernel, self.initrd = image
        self.namespace, self.name = namespace, name
        self.dir = tempfile.mkdtemp(prefix='iscsi_tgt_guest.')
        self.console_path = os.path.join(self.dir, 'console')
        self.process = self.port = None
        self.number, self.buffer, self.boot_s = 0, b'', None

    # ---- Life.

    def command(self):
        return self.namespace.enter + [
            QEMU, '-accel', 'tcg', '-cpu', 'max', '-smp', '1',
            '-m', '%dM' % MEMORY_MIB, '-nodefaults', '-no-reboot',
            '-display', 'none', '-kernel', self.kernel,
            '-initrd', self.initrd, '-append',
            # A busy machine may deliver no timer interrupt while the kernel
            # checks for one.
            'console=ttyS0 panic=-1 quiet nokaslr mitigations=off '
            'tsc=reliable no_timer_check',
            '-serial', 'file:' + self.console_path,
            '-chardev', 'socket,id=port,server=on,wait=off,path=' +
            os.path.join(self.dir, 'port'),
            '-serial', 'chardev:port',
            '-netdev', 'user,id=net', '-device', 'virtio-net-pci,netdev=net,'
            'romfile=']

    def start(self):
        began = time.monotonic()
        with open(os.path.join(self.dir, 'qemu'), 'wb') as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log,
                stderr=log)
        self._connect(began + BOOT_TIMEOUT)
        self._line(lambda line: line == b'ready', began + BOOT_TIMEOUT)
        self.boot_s = time.monotonic() - began
        return self

    def _connect(self, end):
        self.port = socket.socket(socket.AF_UNIX)
        while True:
            try:
                return self.port.connect(os.path.join(self.dir, 'port'))
            except (FileNotFoundError, ConnectionRefusedError):
                self._alive(end)
                time.sleep(0.01)

    def _alive(self, end):
        if self.process.poll() is not None:
            raise GuestError('QEMU ended:\n' + self.console())
        if time.monotonic() > end:
            raise GuestError('no answer in time:\n' + self.console())

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.port:
            self.port.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def console(self):
        text = ''
        for name in ('qemu', 'console'):
            path = os.path.join(self.dir, name)
            if os.path.exists(path):
                with open(path, 'rb') as f:
                    text += f.read().decode(errors='replace')
        return text[-6000:]

    def healthy(self):
        found = OOPS.search(self.console())
        if found:
            raise GuestError('the kernel complains:\n' + self.console())

    # ---- Commands.

    def _line(self, wanted, end):
        """Reads lines up to the first that is @wanted; those before it."""
        before = []
        while True:
            line, newline, rest = self.buffer.partition(b'\n')
            if newline:
                self.buffer = rest
                line = line.rstrip(b'\r')
                if wanted(line):
                    return before, line
                before.append(line)
                continue
            self.port.settimeout(0.5)
            try:
                piece = self.port.recv(65536)
            except socket.timeout:
                piece = None
            if piece == b'':
                raise GuestError('QEMU ended:\n' + self.console())
            self.buffer += piece or b''
            if not piece:
                self._late(end, before)

    def _late(self, end, before):
        try:
            self._alive(end)
        except GuestError as e:
            said = b'\n'.join(before + [self.buffer])
            raise GuestError('%s\nsaid so far:\n%s' % (
                e, said.decode(errors='replace'))) from None

    def run(self, command, timeout=RUN_TIMEOUT, check=True):
        """Result of a shell command; @check: it has to succeed."""
        self.number += 1
        end = time.monotonic() + timeout
        self.port.settimeout(timeout)
        self.port.sendall(b'%d %s\n' % (
            self.number, base64.b64encode(command.encode())))
        begin = b'begin %d' % self.number
        self._line(lambda line: line == begin, end)
        # What a command says may end without a newline.
        mark = re.compile(rb'(.*)end %d (\d+)$' % self.number, re.DOTALL)
        lines, last = self._line(mark.match, end)
        found = mark.match(last)
        text = b'\n'.join(lines + [found.group(1)]).decode(errors='replace')
        rc = int(found.group(2))
        if check and rc != 0:
            raise GuestError('%s\nended with %d:\n%s' % (command, rc, text))
        return Result(rc, text)

    def __call__(self, command, timeout=RUN_TIMEOUT):
        return self.run(command, timeout).text.strip()

    def begin(self, command):
        """Starts it; a Job."""
        self.number += 1
        job = Job(self, self.number)
        base = '/tmp/job%d' % job.number
        self('cat >%s.sh <<\'END_OF_JOB\'\n%s\nEND_OF_JOB\n'
             '(sh %s.sh >%s.out 2>&1 3<&-; echo $? >%s.rc.new; '
             'mv %s.rc.new %s.rc) &' % (
                 base, command, base, base, base, base, base))
        return job

    def until(self, condition, timeout=RUN_TIMEOUT):
        """Waits, in the guest, for a command to succeed."""
        return self('until %s; do sleep 0.05; done' % condition, timeout)
