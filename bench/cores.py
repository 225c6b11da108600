#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""
Two reactors against one: eight sessions of one target and one LUN, 4 KiB at
depth 32. A machine of two CPUs has none left for the load, so the load runs on
those of the reactors, and its share is taken off: what counts is how many I/Os
a reactor does in a second of its own CPU time. Reactors that shared something
would need more for each I/O than one alone.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import servers

LIMIT = 1.8


def thread_cpu(pid):
    """CPU seconds by thread, those that have had any."""
    result = {}
    for tid in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/schedstat" % (pid, tid),
                  encoding="ascii") as f:
            result[tid] = int(f.read().split()[0]) / 1e9
    return result


def start_load(args, server, workload, cpu, conns):
    return subprocess.Popen(
        servers.pinned(cpu) + [
            os.path.join(args.build, "bench", "blast"), "-p",
            str(server.port), "-t", server.iqn, "-w", workload, "-c",
            str(conns), "-s", str(args.seconds * 3), "--json"],
        stdout=subprocess.PIPE)


def commands(server):
    """READs and WRITEs of the disk so far."""
    done = subprocess.run(
        [sys.executable, os.path.join(servers.ROOT, "scripts", "rpc.py"),
         "-s", os.path.join(server.dir, "rpc.sock"), "bdev_get_iostat"],
        stdout=subprocess.PIPE, check=True, text=True)
    disk = json.loads(done.stdout)["bdevs"][0]
    return disk["num_read_ops"] + disk["num_write_ops"]


def measure(args, server, workload, cpus):
    """I/Os per second, of CPU per I/O, and how the threads shared it."""
    loads = [start_load(args, server, workload, cpu, 8 // len(cpus))
             for cpu in cpus]
    try:
        # The sessions log in and the first I/Os are over.
        time.sleep(args.seconds * 0.8)
        ios, before = commands(server), thread_cpu(server.pid)
        began = time.monotonic()
        time.sleep(args.seconds)
        after = thread_cpu(server.pid)
        ios = commands(server) - ios
        took = time.monotonic() - began
    finally:
        for load in loads:
            load.communicate(timeout=60)
    shares = sorted((after[t] - before.get(t, 0) for t in after),
                    reverse=True)
    return {"iops": ios / took, "us_per_io": sum(shares) / ios * 1e6,
            "shares": [s / sum(shares) for s in shares[:2]]}


def compare(args, workload):
    one = servers.Target(args.build, args.poll_us, mask=1)
    two = servers.Target(args.build, args.poll_us, mask=3)
    rounds = []
    try:
        for server in (one, two):
            server.start()
            servers.load(args.build, server, {
                "workload": "write", "bytes": 1 << 20, "depth": 8,
                "conns": 1}, 1.0)
        for _ in range(args.rounds):
            # The same load in both: half of it comes from the other CPU.
            rounds.append((measure(args, one, workload, [0, 1]),
                           measure(args, two, workload, [0, 1])))
    finally:
        one.stop()
        two.stop()
    return rounds


def report(workload, rounds):
    def median(which, key):
        return statistics.median(r[which][key] for r in rounds)

    print(workload)
    for which, name in enumerate(("one reactor", "two reactors")):
        share = statistics.median(r[which]["shares"][0] for r in rounds)
        print("  %-12s %8.0f IOPS, %.3f us of CPU per I/O; the busier thread "
              "has %.0f %%" % (name, median(which, "iops"),
                               median(which, "us_per_io"), share * 100))
    scale = statistics.median(
        2 * a["us_per_io"] / b["us_per_io"] for a, b in rounds)
    print("  two do %.2f times the I/Os of one in the same CPU time each "
          "(at least %.1f); %.2f times the IOPS with the load in it" % (
              scale, LIMIT, statistics.median(
                  b["iops"] / a["iops"] for a, b in rounds)))
    return scale


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--build", default=os.path.join(
        servers.ROOT, "build", "release"))
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=1.0)
    p.add_argument("--poll-us", type=int, default=0,
                   help="0: what is spent on polling is no work")
    args = p.parse_args()
    scales = [report(w, compare(args, w)) for w in ("randread", "randwrite")]
    return 0 if min(scales) >= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
