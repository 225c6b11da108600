# SPDX-License-Identifier: BSD-3-Clause
"""
A healthy session that writes, reads and compares while others misbehave. It
must not notice: no error, no stop, never a wrong byte.
"""

import random
import threading
import time

from iscsi_initiator import Initiator
from iscsi_wire import read10, write10

STALL_MAX = 10.0        # no command of a healthy session takes longer


class Witness:
    def __init__(self, daemon, target, lba=0, blocks=2048, block_size=512,
                 keys=None):
        self.s = Initiator(daemon.address, target,
                           name='iqn.2016-06.io.spdk:witness')
        self.s.login(keys)
        self.s.clear_attention()
        self.lba, self.blocks, self.size = lba, blocks, block_size
        self.model = bytearray(blocks * block_size)
        self.random = random.Random(1)
        self.rounds, self.error, self.longest = 0, None, 0.0
        self.ending = threading.Event()
        self.s.run(write10(lba, blocks), bytes(self.model)).good()
        self.thread = threading.Thread(target=self._work, daemon=True)

    def _round(self):
        n = self.random.choice((1, 8, 16, 128))
        at = self.random.randrange(self.blocks - n + 1)
        data = self.random.randbytes(n * self.size)
        self.s.run(write10(self.lba + at, n), data).good()
        self.model[at * self.size:(at + n) * self.size] = data
        at = self.random.randrange(self.blocks - n + 1)
        r = self.s.run(read10(self.lba + at, n),
                       read_len=n * self.size).good()
        assert r.data == self.model[at * self.size:(at + n) * self.size], \
            'a wrong byte'
        # It is there to be disturbed, not to use up the machine.
        self.ending.wait(0.002)

    def _work(self):
        try:
            while not self.ending.is_set():
                began = time.monotonic()
                self._round()
                self.longest = max(self.longest, time.monotonic() - began)
                self.rounds += 1
        except BaseException as e:      # told to the thread that asks
            self.error = e

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, value, trace):
        # At least one more round after all that has happened.
        target = self.rounds + 2
        end = time.monotonic() + STALL_MAX
        while self.rounds < target and self.error is None and \
                time.monotonic() < end:
            time.sleep(0.005)
        stalled = self.rounds < target
        self.ending.set()
        self.thread.join(30.0)
        if kind is not None:
            return
        if self.error is not None:
            raise AssertionError('the healthy session noticed') \
                from self.error
        assert not stalled, 'the healthy session has stalled'
        assert self.longest < STALL_MAX
        r = self.s.run(read10(self.lba, self.blocks),
                       read_len=len(self.model)).good()
        assert r.data == self.model, 'a wrong byte at the end'
        self.s.logout()
