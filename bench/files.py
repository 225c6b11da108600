#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""
A file behind the target, 4 KiB random reads by O_DIRECT: its CPU per I/O over
that of a bare io_uring program which reads the same file, plus that of the
floor which sends as much from memory.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

import servers

DISK = "[AIO]\n  AIO %s AIO0 %d\n"
LIMIT = 1.3


def bare(args, path, *options):
    done = subprocess.run(
        servers.pinned(servers.SERVER_CPU) + [
            os.path.join(args.build, "bench", "filefloor"), path,
            str(args.depth), str(args.seconds), *options],
        stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def make_file(directory):
    """A file of random bytes, all of it allocated."""
    path = os.path.join(directory, "iscsi_bench.%d" % os.getpid())
    with open(path, "wb") as f:
        for _ in range(servers.DISK_MIB):
            f.write(os.urandom(1 << 20))
        os.fsync(f.fileno())
    return path


def type_of(directory):
    done = subprocess.run(["df", "--output=fstype", directory],
                          stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.split()[-1]


def measure(args, directory):
    path = make_file(directory)
    case = {"workload": "randread", "bytes": 4096, "depth": args.depth,
            "conns": args.conns}
    running = [servers.Floor(args.build, args.poll_us),
               servers.Target(args.build, args.poll_us,
                              disks=DISK % (path, 4096), disk="AIO0")]
    rounds = []
    try:
        for server in running:
            server.start()
        for _ in range(args.rounds):
            rounds.append({
                "bare": bare(args, path), "fixed": bare(args, path, "--fixed"),
                "floor": servers.load(args.build, running[0], case,
                                      args.seconds),
                "target": servers.load(args.build, running[1], case,
                                       args.seconds)})
    finally:
        for server in running:
            server.stop()
        os.unlink(path)
    return rounds


def median(rounds, who, key):
    return statistics.median(r[who][key] for r in rounds)


def report(directory, rounds):
    ratio = statistics.median(
        r["target"]["us_per_io"] /
        (r["bare"]["us_per_io"] + r["floor"]["us_per_io"]) for r in rounds)
    print("%s (%s)" % (directory, type_of(directory)))
    for who in ("bare", "fixed", "floor", "target"):
        print("  %-8s %9.0f IOPS  %7.3f us of CPU per I/O" % (
            who, median(rounds, who, "iops"),
            median(rounds, who, "us_per_io")))
    print("  target over bare + floor: %.2f (at most %.1f)" % (ratio, LIMIT))
    return ratio


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--build", default=os.path.join(
        servers.ROOT, "build", "release"))
    p.add_argument("--dirs", default="/dev/shm,/var/tmp",
                   help="where to put the file, comma-separated")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=1.0)
    p.add_argument("--depth", type=int, default=32)
    p.add_argument("--conns", type=int, default=8)
    p.add_argument("--poll-us", type=int, default=50)
    args = p.parse_args()
    ratios = [report(d, measure(args, d)) for d in args.dirs.split(",")]
    return 0 if max(ratios) <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
