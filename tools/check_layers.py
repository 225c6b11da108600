#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Checks what the compiler does not: layers, sizes, licences, leftovers.

A file includes its own layer and those before it, nothing else, as
"layer/file.h". Prints one line per fault and fails if there is one.
"""
import argparse
import pathlib
import re
import sys

# Lowest first.
LAYERS = ["base", "reactor", "bdev", "scsi", "target", "iscsi", "control",
          "app"]

FUNCTION_LINES_MAX = 100
FILE_LINES_MAX = 800

TREES = ["src", "tests", "fuzz", "bench", "scripts", "tools", ".ci"]
CODE = {".c", ".h"}
SCRIPTS = {".py", ".sh", ".build"}

INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')
# In pieces, so that this file passes its own check.
MARKER = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b|^\s*#\s*if\s+0\b")
NAME_OF_FUNCTION = re.compile(r"(\w+)\s*\(")


def layer_of(path, root):
    """The layer whose rules bind @path, or None."""
    parts = path.relative_to(root).parts
    if parts[0] == "src" and len(parts) > 2:
        return parts[1]
    if parts[:2] == ("tests", "unit") and len(parts) > 3:
        return parts[2]
    return None


def check_include(path, root, target):
    layer = layer_of(path, root)
    in_src = path.relative_to(root).parts[0] == "src"
    into = target.split("/")[0]

    if into not in LAYERS or target.count("/") != 1:
        # Tests have helpers of their own, next to them.
        if in_src:
            return f'"{target}" is not written as "layer/file.h"'
        return None
    if not (root / "src" / target).is_file():
        return f'"{target}" does not exist'
    if layer is None:
        return None
    if LAYERS.index(into) > LAYERS.index(layer):
        return f'layer {layer} includes "{target}", which is above it'
    if into != layer and target.endswith("_priv.h"):
        return f'"{target}" is private to its layer'
    return None


def check_includes(path, root, lines):
    for number, line in enumerate(lines, 1):
        match = INCLUDE.match(line)
        fault = match and check_include(path, root, match.group(1))
        if fault:
            yield number, fault


def check_functions(lines):
    """A function is what stands between braces in the first column."""
    start = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line.startswith("}") and start is not None:
            length = number - start + 1
            if length > FUNCTION_LINES_MAX:
                head = " ".join(lines[max(0, start - 6):start - 1])
                names = NAME_OF_FUNCTION.findall(head)
                name = names[-1] if names else "?"
                yield start, (f"function {name}() has {length} lines, more "
                              f"than {FUNCTION_LINES_MAX}")
            start = None


def check_file(path, root):
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        yield 1, "not UTF-8"
        return
    if not any("SPDX-License-Identifier: BSD-3-Clause" in line
               for line in lines[:3]):
        yield 1, "no SPDX line"
    if len(lines) > FILE_LINES_MAX:
        yield len(lines), f"more than {FILE_LINES_MAX} lines"
    for number, line in enumerate(lines, 1):
        if MARKER.search(line):
            yield number, "leftover marker"
    if path.suffix in CODE:
        yield from check_includes(path, root, lines)
        yield from check_functions(lines)


def is_ours(path):
    if not path.is_file() or "__pycache__" in path.parts:
        return False
    if path.suffix in CODE | SCRIPTS:
        return True
    # Scripts without a suffix.
    with path.open("rb") as file:
        return file.read(2) == b"#!"


def files(root):
    for tree in TREES:
        yield from (p for p in sorted((root / tree).rglob("*")) if is_ours(p))


def main():
    here = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", nargs="?", type=pathlib.Path, default=here)
    root = parser.parse_args().root.resolve()

    checked = faults = 0
    for path in files(root):
        checked += 1
        for number, fault in check_file(path, root):
            faults += 1
            print(f"{path.relative_to(root)}:{number}: {fault}")
    print(f"{checked} files, {faults} faults")
    # A tree without files is a wrong path, not a clean tree.
    return 1 if faults or not checked else 0


if __name__ == "__main__":
    sys.exit(main())
