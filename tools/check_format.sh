#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Is all C code as clang-format leaves it? With --fix: makes it so.
set -euo pipefail
cd "$(dirname "$0")/.."

# Versions differ in details; Debian 12's is the one that counts.
version=14
skip=77 # Meson: the test was not run

tool=$(command -v "clang-format-$version" || command -v clang-format || true)
if [[ -z $tool ]] || ! "$tool" --version | grep -q "version $version\."; then
    echo "check_format.sh: no clang-format $version here"
    exit $skip
fi

mode=(--dry-run --Werror)
[[ ${1:-} != --fix ]] || mode=(-i)
find src tests fuzz bench -name '*.[ch]' -print0 | sort -z |
    xargs -0 "$tool" --style=file "${mode[@]}"
