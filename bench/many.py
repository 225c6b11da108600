#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""
What costs little one at a time, by the thousand: idle sessions (memory, CPU,
time to log them all in, a busy session among them), targets in the
configuration (time from the start to the first login), and the CPU of a quiet
second after load. Each figure comes with its limit; the exit status says
whether all are kept.
"""

import argparse
import json
import os
import resource
import select
import socket
import struct
import sys
import time

import servers

BHS = 48
LOGIN, NOP_OUT, NOP_IN, LOGIN_RESPONSE = 0x43, 0x40, 0x20, 0x23
RESERVED = 0xffffffff
# Logins on their way at the same time.
BATCH = 64
LOGIN_S = 60
MEMORY_MAX = 32 * 1024      # bytes of a session
IDLE_CPU_MAX = 0.005        # of a core, 1000 sessions
START_MAX = 1.0             # seconds, 1000 targets


class Idle:
    """An initiator that logs in, answers NOP-Ins, and wants nothing."""

    def __init__(self, server, number):
        self.number = number
        self.sock = socket.create_connection(("127.0.0.1", server.port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        text = b"".join(t.encode() + b"\0" for t in (
            "InitiatorName=iqn.2016-04.com.example:idle%d" % number,
            "TargetName=" + server.iqn, "SessionType=Normal",
            "InitialR2T=No", "MaxRecvDataSegmentLength=262144"))
        head = bytearray(BHS)
        head[0], head[1] = LOGIN, 0x87      # from stage 1 to 3 at once
        head[5:8] = len(text).to_bytes(3, "big")
        head[8:14] = struct.pack(">BBI", 0x80, 0, number)
        self.cmdsn = 1
        struct.pack_into(">I", head, 24, self.cmdsn)
        self.sock.sendall(head + text + bytes(-len(text) % 4))

    def receive(self, length):
        data = b""
        while len(data) < length:
            piece = self.sock.recv(length - len(data))
            if not piece:
                raise ConnectionError("session %d is closed" % self.number)
            data += piece
        return data

    def pdu(self):
        head = self.receive(BHS)
        length = int.from_bytes(head[5:8], "big")
        self.receive(length + -length % 4)
        return head

    def logged_in(self):
        head = self.pdu()
        if head[0] & 0x3f != LOGIN_RESPONSE or head[36] or \
                head[1] & 0x83 != 0x83:
            raise ConnectionError("login %d: status %02x%02x" % (
                self.number, head[36], head[37]))
        self.statsn = struct.unpack_from(">I", head, 24)[0] + 1

    def answer(self):
        """A NOP-In that wants an answer, and nothing else, may come."""
        head = self.pdu()
        tag = struct.unpack_from(">I", head, 20)[0]
        if head[0] & 0x3f != NOP_IN:
            raise ConnectionError("opcode %02x" % head[0])
        if tag == RESERVED:
            return
        reply = bytearray(BHS)
        reply[0], reply[1] = NOP_OUT, 0x80
        reply[8:16] = head[8:16]
        struct.pack_into(">IIII", reply, 16, RESERVED, tag, self.cmdsn,
                         self.statsn)
        self.sock.sendall(reply)


class Crowd:
    def __init__(self, server):
        self.server, self.members = server, []
        self.epoll = select.epoll()

    def grow(self, count):
        """Seconds until all are in."""
        began = time.monotonic()
        while len(self.members) < count:
            n = min(BATCH, count - len(self.members))
            batch = [Idle(self.server, len(self.members) + i)
                     for i in range(n)]
            for member in batch:
                member.logged_in()
                self.epoll.register(member.sock, select.EPOLLIN)
            self.members += batch
        self.by_fd = {m.sock.fileno(): m for m in self.members}
        return time.monotonic() - began

    def rest(self, seconds):
        """Answers what comes meanwhile; how often that was."""
        end, pings = time.monotonic() + seconds, 0
        while (left := end - time.monotonic()) > 0:
            for fd, _ in self.epoll.poll(left):
                self.by_fd[fd].answer()
                pings += 1
        return pings

    def close(self):
        for member in self.members:
            member.sock.close()
        self.epoll.close()


def depth_one(args, server):
    return servers.load(args.build, server, {
        "workload": "randread", "bytes": 4096, "depth": 1, "conns": 1},
        args.seconds)


def depth_32(args, server):
    return servers.load(args.build, server, {
        "workload": "randread", "bytes": 4096, "depth": 32, "conns": 1},
        args.seconds)


def sessions(args, count):
    """Figures of @count idle sessions."""
    server = servers.Target(args.build, 50, sessions=count + 16)
    crowd = Crowd(server)
    try:
        server.start()
        servers.load(args.build, server, {
            "workload": "write", "bytes": 1 << 20, "depth": 8, "conns": 1},
            1.0)
        before = [depth_one(args, server), depth_32(args, server)]
        rss, cpu = servers.rss_kib(server.pid), servers.cpu_s(server.pid)
        took = crowd.grow(count)
        grown = servers.rss_kib(server.pid) - rss
        login_cpu = servers.cpu_s(server.pid) - cpu
        crowd.rest(1)
        cpu = servers.cpu_s(server.pid)
        pings = crowd.rest(args.rest)
        idle = (servers.cpu_s(server.pid) - cpu) / args.rest
        after = [depth_one(args, server), depth_32(args, server)]
    finally:
        crowd.close()
        server.stop()
    return {
        "sessions": count, "login_all_s": took,
        "login_cpu_us": login_cpu / count * 1e6,
        "bytes_per_session": grown * 1024 / count,
        "idle_cpu": idle, "nops_answered": pings, "rest_s": args.rest,
        "alone": before, "among_them": after}


def targets(args, count):
    """Seconds from the start to the first login, the configuration's last
    target."""
    text = "[Null]\n  Dev Null0 64 512\n" + "".join(
        "[TargetNode%d]\n  TargetName disk%d\n  Mapping PortalGroup1 "
        "InitiatorGroup1\n  LUN0 Malloc%d\n" % (i, i, i - 1)
        for i in range(1, count + 1))
    disks = "[Malloc]\n  NumberOfLuns %d\n  LunSizeInMB 64\n" % count
    server = servers.Target(args.build, 50, disks=disks, targets=text)
    server.iqn = "%s:disk%d" % (servers.NODE_BASE, count)
    crowd = Crowd(server)
    try:
        began = time.monotonic()
        server.start()
        listening = time.monotonic() - began
        crowd.grow(1)
        took = time.monotonic() - began
        rss = servers.rss_kib(server.pid)
    finally:
        crowd.close()
        server.stop()
    return {"targets": count, "listening_s": listening, "first_login_s": took,
            "rss_kib": rss}


def quiet(args):
    """CPU of quiet seconds after load, in both ways to wait."""
    result = {}
    for poll_us in (50, 0):
        server = servers.Target(args.build, poll_us)
        try:
            server.start()
            for depth in (1, 32):
                servers.load(args.build, server, {
                    "workload": "mix", "bytes": 4096, "depth": depth,
                    "conns": 8}, args.seconds)
                # What is under way when the load ends.
                time.sleep(0.1)
                before = servers.cpu_s(server.pid)
                time.sleep(1)
                result["ReactorPollUs %d, depth %d" % (poll_us, depth)] = \
                    servers.cpu_s(server.pid) - before
        finally:
            server.stop()
    return result


def describe(s):
    yield "%d idle sessions" % s["sessions"]
    yield "  all logged in after    %8.2f s (%.0f us of CPU each)" % (
        s["login_all_s"], s["login_cpu_us"])
    yield "  memory of the process  %8.0f bytes each (at most %d)" % (
        s["bytes_per_session"], MEMORY_MAX)
    yield "  CPU                    %8.3f %% of a core, %d NOPs in %g s" % (
        s["idle_cpu"] * 100, s["nops_answered"], s["rest_s"])
    for key, title in (("alone", "alone"), ("among_them", "among them")):
        one, many = s[key]
        yield ("  busy session %-10s p50 %.1f us, p99 %.1f us at depth 1; "
               "%.0f IOPS, %.3f us of CPU each at depth 32" % (
                   title, one["p50"], one["p99"], many["iops"],
                   many["us_per_io"]))


def report(result):
    kept = True
    for s in result["sessions"]:
        yield from describe(s)
        kept &= s["bytes_per_session"] <= MEMORY_MAX
        if s["sessions"] <= 1000:
            kept &= s["idle_cpu"] <= IDLE_CPU_MAX
    t = result["targets"]
    yield "%d targets, a RAM disk each" % t["targets"]
    yield ("  start to first login   %8.3f s (at most %.1f), listening after "
           "%.3f s, %d KiB resident" % (
               t["first_login_s"], START_MAX, t["listening_s"], t["rss_kib"]))
    kept &= t["first_login_s"] <= START_MAX
    yield "a quiet second after load"
    for name, seconds in result["quiet"].items():
        yield "  %-30s %6.2f ms of CPU" % (name, seconds * 1000)
        kept &= seconds < 0.001
    result["kept"] = bool(kept)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--build", default=os.path.join(
        servers.ROOT, "build", "release"))
    p.add_argument("--sessions", default="1000,10000")
    p.add_argument("--targets", type=int, default=1000)
    p.add_argument("--seconds", type=float, default=1.0)
    p.add_argument("--rest", type=float, default=31.0,
                   help="seconds of idleness; NOPs come every 30")
    p.add_argument("--json", metavar="FILE")
    args = p.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    result = {"kernel": os.uname().release,
              "date": time.strftime("%Y-%m-%dT%H:%M:%S")}
    os.sched_setaffinity(0, {servers.LOAD_CPU})
    result["sessions"] = [sessions(args, int(n))
                          for n in args.sessions.split(",")]
    result["targets"] = targets(args, args.targets)
    result["quiet"] = quiet(args)
    print("\n".join(report(result)))
    if args.json:
        with open(args.json, "w", encoding="utf-8") as f:
            json.dump(result, f, indent=1)
    return 0 if result["kept"] else 1


if __name__ == "__main__":
    sys.exit(main())
