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

sources() {
    find src tests fuzz bench -name '*.[ch]' -print0 | sort -z
}

if [[ ${1:-} = --fix ]]; then
    sources | xargs -0 "$tool" --style=file -i
    exit
fi

# The names alone: a file that is not laid out has hundreds of faults.
if report=$(sources | xargs -0 "$tool" --style=file --dry-run --Werror 2>&1)
then
    exit 0
fi
grep -oE '^[^ :]+\.[ch]:[0-9]+' <<<"$report" | sort -u -t: -k1,1 ||
    echo "$report"
echo "not as clang-format $version leaves them: tools/check_format.sh --fix"
exit 1
