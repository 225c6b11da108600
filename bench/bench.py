#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""
One table: the floor (which only moves the bytes), the target, and Debian's
tgt, side by side. All run at the same time, the load goes to one after the
other, and a round is over when each has had its turn: what disturbs the
machine disturbs all of them. Ratios are made within a round; the table has
the medians.
"""

import argparse
import datetime
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time

import servers

KIB = 1024
# What is compared, and how it is printed: key, title, width, format.
FIGURES = (("iops", "IOPS", 9, "%.0f"), ("mib_s", "MiB/s", 7, "%.0f"),
           ("p50", "p50", 7, "%.1f"), ("p99", "p99", 8, "%.1f"),
           ("p999", "p99.9", 8, "%.1f"), ("us_per_io", "CPU/IO", 8, "%.3f"))
# Of the target over another: key, title.
RATIOS = (("iops", "IOPS"), ("p50", "p50"), ("us_per_io", "CPU/IO"))


def case(workload, size, depth, conns, digests="none"):
    return {"workload": workload, "bytes": size, "depth": depth,
            "conns": conns, "digests": digests,
            "name": "%s-%dk-q%d-c%d%s" % (
                workload, size // KIB, depth, conns,
                "" if digests == "none" else "-" + digests)}


def all_cases():
    cases = [case(w, 4 * KIB, q, c)
             for c in (1, 8) for q in (1, 32, 128)
             for w in ("randread", "randwrite", "mix")]
    cases += [case(w, k * KIB, 8, 1)
              for k in (64, 256, 1024) for w in ("read", "write")]
    for d in ("header", "data", "both"):
        cases.append(case("read", 256 * KIB, 8, 1, d))
        cases.append(case("write", 256 * KIB, 8, 1, d))
    cases += [case(w, 4 * KIB, 32, c, "both")
              for c in (1, 8) for w in ("randread", "randwrite")]
    return cases


def quick_cases():
    cases = [case(w, 4 * KIB, 32, c)
             for c in (1, 8) for w in ("randread", "randwrite")]
    cases += [case(w, 4 * KIB, 1, 1) for w in ("randread", "randwrite")]
    cases += [case(w, 256 * KIB, 8, 1) for w in ("read", "write")]
    cases += [case("read", 256 * KIB, 8, 1, "both")]
    return cases


def without_digests(c):
    return case(c["workload"], c["bytes"], c["depth"], c["conns"])["name"]


def ratio(pairs):
    """The median of the quotients, and the range that they lie in."""
    values = sorted(a / b for a, b in pairs if b > 0)
    if not values:
        return None
    return {"median": statistics.median(values), "low": values[0],
            "high": values[-1]}


def compare(runs, other):
    """The target over @other, round by round."""
    result = {}
    for key, _ in RATIOS:
        pairs = zip((r[key] for r in runs["target"]),
                    (r[key] for r in runs[other]))
        result[key] = ratio(pairs)
    return result


def medians(results):
    return {key: statistics.median(r[key] for r in results)
            for key, *_ in FIGURES}


def measure(build, running, cases, rounds, seconds):
    """{case: {server: [figures of each round]}}"""
    runs = {c["name"]: {} for c in cases}
    for number in range(rounds):
        for c in cases:
            for server in running:
                if c["digests"] != "none" and not server.digests:
                    continue
                print("\r\033[Kround %d of %d: %s, %s" % (
                    number + 1, rounds, c["name"], server.name), end="",
                    file=sys.stderr, flush=True)
                runs[c["name"]].setdefault(server.name, []).append(
                    servers.load(build, server, c, seconds))
    print("\r\033[K", end="", file=sys.stderr)
    return runs


def summary(cases, runs):
    rows = []
    for c in cases:
        of = runs[c["name"]]
        row = {"case": c, "medians": {n: medians(r) for n, r in of.items()},
               "ratios": {n: compare(of, n) for n in of if n != "target"}}
        plain = without_digests(c)
        if c["digests"] != "none" and plain in runs:
            row["ratios"]["none"] = compare(
                {"target": of["target"], "none": runs[plain]["target"]},
                "none")
        rows.append(row)
    return rows


def table(rows):
    """The lines of it: one per case and server."""
    yield "%-26s %-7s" % ("", "") + "".join(
        " %*s" % (w, t) for _, t, w, _ in FIGURES) + "   target over it"
    for row in rows:
        name = row["case"]["name"]
        for server, figures in row["medians"].items():
            line = "%-26s %-7s" % (name, server) + "".join(
                " %*s" % (w, f % figures[k]) for k, _, w, f in FIGURES)
            if server != "target":
                line += "   " + ratios_text(row["ratios"][server])
            yield line
            name = ""
        if "none" in row["ratios"]:
            yield "%-26s %s" % (
                "", "target over itself without digests: " +
                ratios_text(row["ratios"]["none"]))


def ratios_text(of):
    return ", ".join("%s %.2f" % (title, of[key]["median"])
                     for key, title in RATIOS if of[key])


def quiet_second(server):
    """CPU seconds of one quiet second, after a moment to come to rest."""
    time.sleep(0.2)
    before = servers.cpu_s(server.pid)
    time.sleep(1)
    return servers.cpu_s(server.pid) - before


def run_mode(args, mode, poll_us, cases):
    running = [servers.Floor(args.build, poll_us),
               servers.Target(args.build, poll_us)]
    if not args.no_tgt:
        try:
            running.append(servers.Tgt())
        except servers.Missing as missing:
            print("bench.py: without tgt: there is no %s" % missing,
                  file=sys.stderr)
    try:
        for server in running:
            server.start()
            # Memory that nobody has touched costs what it will not again.
            servers.load(args.build, server, case("write", 1024 * KIB, 8, 1),
                         1.0)
        runs = measure(args.build, running, cases, args.rounds, args.seconds)
        idle = {s.name: quiet_second(s) for s in running}
    finally:
        for server in running:
            server.stop()
    return {"mode": mode, "poll_us": poll_us, "rows": summary(cases, runs),
            "quiet_second_cpu_s": idle, "runs": runs}


def commit():
    done = subprocess.run(["git", "-C", servers.ROOT, "rev-parse", "--short",
                           "HEAD"], capture_output=True, text=True)
    return done.stdout.strip()


def cpu_model():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        for line in f:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def header(args):
    return {
        "date": datetime.datetime.now().isoformat(timespec="seconds"),
        "kernel": platform.release(), "cpu": cpu_model(),
        "cpus": os.cpu_count(), "commit": commit(),
        "load_average": os.getloadavg(),
        "command": " ".join(shlex.quote(a) for a in sys.argv),
        "rounds": args.rounds, "seconds": args.seconds,
        "pinned": {"servers": servers.SERVER_CPU, "load": servers.LOAD_CPU}}


def text_of(result):
    h = result["header"]
    yield "%s, Linux %s, %d x %s, commit %s" % (
        h["date"], h["kernel"], h["cpus"], h["cpu"], h["commit"])
    yield h["command"]
    yield ("%d rounds of %g s each, load average %.1f at the start; "
           "latencies and CPU per I/O in microseconds" % (
               h["rounds"], h["seconds"], h["load_average"][0]))
    for mode in result["modes"]:
        yield ""
        yield "%s (ReactorPollUs %d)" % (mode["mode"], mode["poll_us"])
        yield from table(mode["rows"])
        yield "CPU in a quiet second afterwards: " + ", ".join(
            "%s %.1f ms" % (n, s * 1000)
            for n, s in mode["quiet_second_cpu_s"].items())


def save(args, result, text):
    name = "%s-%s%s" % (result["header"]["date"][:10],
                        result["header"]["kernel"],
                        "-" + args.label if args.label else "")
    base = os.path.join(args.results, name)
    os.makedirs(args.results, exist_ok=True)
    with open(base + ".txt", "w", encoding="utf-8") as f:
        f.write(text + "\n")
    with open(base + ".json", "w", encoding="utf-8") as f:
        json.dump(result, f, indent=1)
        f.write("\n")
    print("saved as %s.{txt,json}" % os.path.relpath(base))


def parse():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--build", default=os.path.join(
        servers.ROOT, "build", "release"), help="directory of the build")
    p.add_argument("--quick", action="store_true",
                   help="the cases that have a limit, for a short time each")
    p.add_argument("--only", default="", metavar="TEXT",
                   help="cases with one of these in the name, comma-separated")
    p.add_argument("--mode", choices=("polling", "blocking"),
                   help="this one only")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, help="of each measurement")
    p.add_argument("--no-tgt", action="store_true", help="without tgt")
    p.add_argument("--results", default=os.path.join(
        servers.ROOT, "bench", "results"), help="where to save")
    p.add_argument("--label", default="", help="goes into the files' names")
    p.add_argument("--no-save", action="store_true")
    p.add_argument("--list", action="store_true", help="print the cases")
    args = p.parse_args()
    if args.seconds is None:
        args.seconds = 0.4 if args.quick else 1.0
    return args


def main():
    args = parse()
    cases = quick_cases() if args.quick else all_cases()
    if args.only:
        cases = [c for c in cases
                 if any(t in c["name"] for t in args.only.split(","))]
    if args.list or not cases:
        print("\n".join(c["name"] for c in cases) or "no such case")
        return 0 if cases else 2
    modes = [("polling", 50), ("blocking", 0)]
    result = {"header": header(args), "modes": [
        run_mode(args, name, poll_us, cases) for name, poll_us in modes
        if args.mode in (None, name)]}
    text = "\n".join(text_of(result))
    print(text)
    if not args.no_save:
        save(args, result, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
