# SPDX-License-Identifier: BSD-3-Clause
"""The programs that are measured, and the load generator: start, ask, end."""

import json
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
NODE_BASE = "iqn.2016-06.io.spdk"
IQN = NODE_BASE + ":disk1"
SERVER_CPU, LOAD_CPU = 0, 1
START_S = 30
STOP_S = 10
DISK_MIB = 64
# What the window of the targets allows; the deepest queue of the tables.
QUEUE_DEPTH = 128

CONF = """
[Global]
  ReactorMask {mask}
  ReactorPollUs {poll_us}
[iSCSI]
  NodeBase "{base}"
  MaxQueueDepth {depth}
  MaxSessions {sessions}
[PortalGroup1]
  Portal DA1 127.0.0.1:{port}
[InitiatorGroup1]
  InitiatorName ANY
  Netmask 127.0.0.0/8
{disks}
{targets}
"""
RAM_DISK = "[Malloc]\n  NumberOfLuns 1\n  LunSizeInMB %d\n" % DISK_MIB
ONE_TARGET = """[TargetNode1]
  TargetName disk1
  Mapping PortalGroup1 InitiatorGroup1
  LUN0 {disk}
"""


class Missing(Exception):
    """A program that is not installed."""


def free_port():
    while True:
        port = random.randint(10240, 32000)
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def accepts(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def pinned(cpu):
    return ["taskset", "-c", str(cpu)]


def cpu_s(pid):
    """CPU seconds of all threads of a process."""
    total = 0
    for tid in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/schedstat" % (pid, tid),
                  encoding="ascii") as f:
            total += int(f.read().split()[0])
    return total / 1e9


def rss_kib(pid):
    with open("/proc/%d/status" % pid, encoding="ascii") as f:
        for line in f:
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0


class Server:
    """A process that listens on self.port."""

    name = ""
    iqn = IQN
    lun = 0
    digests = True
    cpus = str(SERVER_CPU)

    def __init__(self):
        self.port = free_port()
        self.dir = tempfile.mkdtemp(prefix="iscsi_bench.")
        self.process = None

    def command(self):
        raise NotImplementedError

    def set_up(self):
        """What is to be done once it listens."""

    def start(self):
        with open(os.path.join(self.dir, "log"), "wb") as log:
            # The server is ours to end, so its lines are of no interest
            # unless it fails.
            self.process = subprocess.Popen(
                pinned(self.cpus) + self.command(), stdout=log, stderr=log,
                stdin=subprocess.DEVNULL)
        end = time.monotonic() + START_S
        while not accepts(self.port):
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("%s does not start:\n%s" % (
                    self.name, self.log()))
            time.sleep(0.002)
        self.set_up()
        return self

    def log(self):
        with open(os.path.join(self.dir, "log"), encoding="utf-8",
                  errors="replace") as f:
            return f.read()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    @property
    def pid(self):
        return self.process.pid


class Floor(Server):
    name = "floor"
    digests = False

    def __init__(self, build, poll_us):
        super().__init__()
        self.build, self.poll_us = build, poll_us

    def command(self):
        return [os.path.join(self.build, "bench", "floor"), str(self.port),
                str(self.poll_us)]


class Target(Server):
    name = "target"

    def __init__(self, build, poll_us, disks=RAM_DISK, disk="Malloc0",
                 targets=None, sessions=128, mask=1 << SERVER_CPU):
        super().__init__()
        self.build, self.sessions = build, sessions
        self.cpus = ",".join(str(i) for i in range(64) if mask >> i & 1)
        with open(self.conf, "w", encoding="ascii") as f:
            f.write(CONF.format(
                mask=hex(mask), poll_us=poll_us, base=NODE_BASE,
                depth=QUEUE_DEPTH, sessions=sessions, port=self.port,
                disks=disks,
                targets=targets or ONE_TARGET.format(disk=disk)))

    @property
    def conf(self):
        return os.path.join(self.dir, "iscsi.conf")

    def command(self):
        return [os.path.join(self.build, "src", "app", "iscsi_tgt"), "-c",
                self.conf, "-r", os.path.join(self.dir, "rpc.sock")]


class Tgt(Server):
    """Debian's tgt, a private one."""

    name = "tgt"
    lun = 1
    iqn = "iqn.2016-04.com.example:tgt"

    def __init__(self):
        super().__init__()
        if not shutil.which("tgtd") or os.geteuid() != 0:
            raise Missing("tgtd, or the right to start it")
        # 0 is that of a tgtd which may be running.
        self.control = str(random.randint(1000, 30000))
        # It cannot have memory of its own for a disk.
        self.disk = tempfile.NamedTemporaryFile(dir="/dev/shm")
        self.disk.truncate(DISK_MIB << 20)

    def command(self):
        return ["tgtd", "-f", "-C", self.control, "--iscsi",
                "portal=127.0.0.1:%d" % self.port]

    def admin(self, mode, op, *args):
        subprocess.run(
            ["tgtadm", "-C", self.control, "--lld", "iscsi", "--mode", mode,
             "--op", op, "--tid", "1", *args], check=True)

    def set_up(self):
        self.admin("target", "new", "-T", self.iqn)
        self.admin("logicalunit", "new", "--lun", "1", "-b", self.disk.name)
        self.admin("target", "bind", "-I", "ALL")
        for key, value in (("MaxRecvDataSegmentLength", "262144"),
                           ("FirstBurstLength", "262144"),
                           ("MaxBurstLength", "1048576"),
                           ("InitialR2T", "No"),
                           ("ImmediateData", "Yes"),
                           ("HeaderDigest", "CRC32C,None"),
                           ("DataDigest", "CRC32C,None")):
            self.admin("target", "update", "-n", key, "-v", value)

    def stop(self):
        # tgtd leaves SIGTERM aside while it has a target.
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        super().stop()
        self.disk.close()


def load(build, server, case, seconds):
    """One run of the load generator: its figures."""
    command = pinned(LOAD_CPU) + [
        os.path.join(build, "bench", "blast"), "-p", str(server.port), "-t",
        server.iqn, "-l", str(server.lun), "-w", case["workload"], "-b",
        str(case["bytes"]), "-q", str(case["depth"]), "-c",
        str(case["conns"]), "-d", case.get("digests", "none"), "-s",
        str(seconds), "--pid", str(server.pid), "--cpu", str(LOAD_CPU),
        "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=120)
    if done.returncode:
        raise RuntimeError("%s: %s\n%s" % (
            server.name, done.stderr.strip(), " ".join(command)))
    return json.loads(done.stdout)
