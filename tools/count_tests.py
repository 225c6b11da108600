#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Adds up JUnit reports: prints "passed failed skipped" in one line.

A report that is named but not there counts as no tests; one that cannot be
read counts as a failure.
"""
import os
import sys
import xml.etree.ElementTree as ET


def count(path):
    passed = failed = skipped = 0
    for case in ET.parse(path).getroot().iter("testcase"):
        outcomes = {child.tag for child in case}
        if outcomes & {"failure", "error"}:
            failed += 1
        elif "skipped" in outcomes:
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


def main(paths):
    totals = [0, 0, 0]
    for path in paths:
        if not os.path.exists(path):
            continue
        try:
            counts = count(path)
        except ET.ParseError:
            counts = (0, 1, 0)
        totals = [t + c for t, c in zip(totals, counts)]
    print(*totals)


if __name__ == "__main__":
    main(sys.argv[1:])
