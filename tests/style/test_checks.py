#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Do the checkers find what they are for? Run on small trees made here."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

TOOLS = pathlib.Path(__file__).resolve().parents[2] / "tools"
SPDX = "/* SPDX-License-Identifier: BSD-3-Clause */\n"


class CheckLayers(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)
        self.write("src/base/low.h", SPDX)
        self.write("src/scsi/high.h", SPDX)
        self.write("src/scsi/high_priv.h", SPDX)

    def write(self, name, text):
        path = pathlib.Path(self.dir.name) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def check(self, fault=None):
        run = subprocess.run(
            [sys.executable, TOOLS / "check_layers.py", self.dir.name],
            capture_output=True, text=True, check=False)
        if fault is None:
            self.assertEqual(run.returncode, 0, run.stdout)
        else:
            self.assertEqual(run.returncode, 1, run.stdout)
            self.assertIn(fault, run.stdout)

    def include(self, where, what, fault=None):
        self.write(where, SPDX + f'#include "{what}"\n')
        self.check(fault)

    def test_clean(self):
        self.include("src/scsi/a.c", "base/low.h")
        self.include("src/scsi/a.c", "scsi/high_priv.h")
        self.include("tests/unit/scsi/test_a.c", "scsi/high_priv.h")
        self.include("tests/unit/scsi/test_a.c", "../unit.h")

    def test_upward(self):
        self.include("src/base/a.c", "scsi/high.h", "which is above it")

    def test_upward_in_test(self):
        self.include("tests/unit/base/test_a.c", "scsi/high.h",
                     "which is above it")

    def test_private(self):
        self.include("src/iscsi/a.c", "scsi/high_priv.h",
                     "private to its layer")

    def test_form(self):
        self.include("src/base/a.c", "low.h", "is not written as")

    def test_missing(self):
        self.include("src/base/a.c", "base/none.h", "does not exist")

    def test_licence(self):
        self.write("src/base/a.c", "int a;\n")
        self.check("no SPDX line")

    def test_marker(self):
        self.write("src/base/a.c", SPDX + "/* TO" + "DO: more */\n")
        self.check("src/base/a.c:2: leftover marker")

    def function(self, lines):
        body = "\tint x;\n" * (lines - 2)
        self.write("src/base/a.c", f"{SPDX}void f(void)\n{{\n{body}}}\n")

    def test_long_function(self):
        self.function(100)
        self.check()
        self.function(101)
        self.check("function f() has 101 lines")

    def test_long_file(self):
        self.write("src/base/a.c", SPDX + "int a;\n" * 799)
        self.check()
        self.write("src/base/a.c", SPDX + "int a;\n" * 800)
        self.check("more than 800 lines")

    def test_empty_tree(self):
        with tempfile.TemporaryDirectory() as empty:
            run = subprocess.run(
                [sys.executable, TOOLS / "check_layers.py", empty],
                capture_output=True, check=False)
        self.assertEqual(run.returncode, 1)


class CountTests(unittest.TestCase):
    def count(self, text):
        with tempfile.NamedTemporaryFile("w", suffix=".xml") as file:
            file.write(text)
            file.flush()
            run = subprocess.run(
                [sys.executable, TOOLS / "count_tests.py", file.name,
                 file.name + ".none"],
                capture_output=True, text=True, check=True)
        return run.stdout.strip()

    def test_outcomes(self):
        self.assertEqual(self.count(
            "<testsuites><testsuite><testcase/><testcase/>"
            "<testcase><failure/></testcase><testcase><error/></testcase>"
            "<testcase><skipped/></testcase></testsuite></testsuites>"),
            "2 2 1")

    def test_unreadable(self):
        self.assertEqual(self.count("<testsuites>"), "0 1 0")


if __name__ == "__main__":
    unittest.main()
