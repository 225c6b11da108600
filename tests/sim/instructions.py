#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""
Counts the target's instructions per I/O on a fixed trace, by callgrind, and
compares them with those that are committed (bench/instructions.txt): a figure
that has grown by more than 5 % is a failure, unless the new one is committed
with the change that is worth it.

Counted is what the functions of src/ execute and what they have libraries do
(copies, digests); not the simulated network, nor the initiator. The engine of
io_uring is not in it, nor is the kernel.

    instructions.py TRACE                  compare
    instructions.py TRACE --update         write the figures anew
    instructions.py TRACE --profile CASE   where they go, by function
"""

import argparse
import collections
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
FIGURES = os.path.join(ROOT, "bench", "instructions.txt")
SKIP = 77
GROWTH_MAX = 1.05
# What is counted but for its growth with anything: a few instructions.
SLACK = 2
LAYERS = ("base", "reactor", "bdev", "scsi", "target", "iscsi")
SIMULATOR = ("reactor/reactor_sim.c", "reactor/sim_net.c",
             "reactor/sim_priv.h")
# The simulator asks all reactors for their timers at every step.
SIMULATOR_CALLS = ("timer_heap_due", "reactor_next_timer_ns")
CASES = ("read", "write", "r2t-write", "read-digests", "write-digests",
         "login")
CROWD = ("--sessions", "64", "--luns", "64", "--targets", "1000",
       "--reactors", "64")
# Case, options: what must not cost more than the same with one of each.
CROWDS = (("read", ("--sessions", "64")), ("read", ("--targets", "1000")),
          ("read", ("--luns", "64")), ("read", ("--reactors", "64")),
          ("read", CROWD), ("write", CROWD))
# A crowd may cost so much more; its batches are the same.
CROWD_MAX = 1.05


def ours(path):
    match = re.search(r"(?:^|/)src/(.*)$", path)
    return (match and match.group(1).split("/")[0] in LAYERS and
            match.group(1) not in SIMULATOR)


def counts(path, function):
    # One that begins with an inlined function appears in the header's name.
    return (ours(path) and function not in SIMULATOR_CALLS and
            not function.startswith(("ini_", "sim_")))


class Profile:
    """Instructions of a file that callgrind wrote, without compression."""

    def __init__(self, lines):
        self.by_function = collections.Counter()
        self.libraries = collections.Counter()
        ob = fl = fn = ""
        callee_ob = callee_fl = callee = None
        inclusive = False
        for line in lines:
            key, eq, value = line.rstrip("\n").partition("=")
            if eq and key in ("ob", "fl", "fn", "cob", "cfl", "cfi", "cfn",
                              "calls", "fi", "fe"):
                if key == "ob":
                    ob = value
                elif key == "fl":
                    fl = value
                elif key == "fn":
                    fn = value
                elif key == "cob":
                    callee_ob = value
                elif key in ("cfl", "cfi"):
                    callee_fl = value
                elif key == "cfn":
                    callee = value
                elif key == "calls":
                    inclusive = True
                continue
            if not line[:1].isdigit() and line[:1] not in "+-*":
                continue
            cost = int(line.split()[1])
            if inclusive:
                if counts(fl, fn) and callee_ob not in (None, ob):
                    self.libraries[fn + " > " + callee] += cost
                callee_ob = callee_fl = callee = None
                inclusive = False
            elif counts(fl, fn):
                self.by_function[fn] += cost

    @property
    def total(self):
        return sum(self.by_function.values()) + sum(self.libraries.values())


def run(trace, case, options=()):
    """The profile of a case, and how many I/Os it has."""
    # Meson's tests have malloc() fill what it gives.
    env = {k: v for k, v in os.environ.items() if k != "MALLOC_PERTURB_"}
    with tempfile.TemporaryDirectory(prefix="iscsi_trace.") as directory:
        out = os.path.join(directory, "callgrind")
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", "--instr-atstart=no", "-q",
             "--compress-strings=no", "--compress-pos=no",
             "--callgrind-out-file=" + out, trace, case, *options],
            stdout=subprocess.PIPE, text=True, check=True, env=env)
        with open(out, encoding="utf-8") as f:
            return Profile(f), int(done.stdout)


def per_io(trace, case, options=()):
    profile, ios = run(trace, case, options)
    return profile.total / ios


def name_of(case, options=()):
    return " ".join((case,) + tuple(options)).replace("--", "")


def measure(trace):
    figures = {name_of(c): per_io(trace, c) for c in CASES}
    figures.update((name_of(c, o), per_io(trace, c, o)) for c, o in CROWDS)
    return figures


def built_with(build):
    """What the figures depend on, but for the code: None is unknown."""
    text = subprocess.run(
        [os.environ.get("CC", "cc"), "--version"], capture_output=True,
        text=True).stdout.split("\n")[0]
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        avx2 = " avx2" in f.read()
    return "%s, %s, avx2 %s" % (re.sub(r" \(.*\)", "", text), build,
                                "yes" if avx2 else "no")


def load():
    figures, how = {}, None
    with open(FIGURES, encoding="utf-8") as f:
        for line in f:
            if line.startswith("# Built with: "):
                how = line.split(": ", 1)[1].strip()
            elif line.strip() and not line.startswith("#"):
                number, name = line.split(None, 1)
                figures[name.strip()] = int(number)
    return figures, how


def store(figures, how):
    with open(FIGURES, "w", encoding="utf-8") as f:
        f.write("# Instructions of the target per I/O; per login for login.\n"
                "# Written by tests/sim/instructions.py --update. A figure "
                "that grows by more than\n# 5 %% fails the test; say why in "
                "the commit that changes it here.\n"
                "# Built with: %s\n" % how)
        for name, value in figures.items():
            f.write("%8d  %s\n" % (round(value), name))


def compare(figures, wanted):
    failures = 0
    print("%8s %8s" % ("now", "before"))
    for name, value in figures.items():
        before = wanted.get(name)
        bad = before is None or value > before * GROWTH_MAX + SLACK
        failures += bad
        print("%8d %8s  %s%s" % (
            round(value), before if before is not None else "-", name,
            "   MORE THAN 5 % ABOVE" if bad else ""))
    for case, options in CROWDS:
        alone, crowd = figures[case], figures[name_of(case, options)]
        if crowd > alone * CROWD_MAX + SLACK:
            failures += 1
            print("%s: %d instead of %d: it grows with the crowd" % (
                name_of(case, options), crowd, alone))
    return failures


def show(trace, case):
    case, *options = case.split()
    profile, ios = run(trace, case, options)
    print("%s: %.0f per I/O" % (case, profile.total / ios))
    both = profile.by_function + profile.libraries
    for name, cost in both.most_common():
        if cost / ios >= 0.5:
            print("%8.1f  %s" % (cost / ios, name))


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("trace", help="the program")
    p.add_argument("--built", default="-O3", help="optimization, in words")
    p.add_argument("--update", action="store_true")
    p.add_argument("--profile", metavar="CASE",
                   help="with its options, in one argument")
    args = p.parse_args()
    if not shutil.which("valgrind"):
        print("there is no valgrind")
        return SKIP
    if args.profile:
        show(args.trace, args.profile)
        return 0
    how = built_with(args.built)
    if not args.update:
        wanted, then = load()
        if then != how:
            print("the figures are for: %s\nthis is:             %s" % (
                then, how))
            return SKIP
    figures = measure(args.trace)
    if args.update:
        store(figures, how)
        return 0
    return 1 if compare(figures, wanted) else 0


if __name__ == "__main__":
    sys.exit(main())
