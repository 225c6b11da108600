#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Installs the Debian 12 packages that the project needs: to build, and with
# --test or --bench also to test or to measure. Quick when all are there.
set -euo pipefail

build=(gcc libc6-dev make meson ninja-build pkg-config
       liburing-dev libisal-dev libjansson-dev libssl-dev)
test=(libcmocka-dev clang clang-format libclang-rt-14-dev iproute2
      mandoc python3 python3-pytest libiscsi-bin qemu-utils
      qemu-block-extra qemu-system-x86 util-linux valgrind)
bench=(libiscsi-dev tgt)

usage() {
    cat <<EOF
usage: scripts/pkgdep.sh [--build] [--test] [--bench] [--list]
  --build  what the build needs (the default)
  --test   and what scripts/test.sh needs
  --bench  and what the comparisons of make bench need
  --list   print the names in place of installing
EOF
}

want=("${build[@]}")
list=no
for arg in "$@"; do
    case $arg in
    --build) ;;
    --test) want+=("${test[@]}") ;;
    --bench) want+=("${test[@]}" "${bench[@]}") ;;
    --list) list=yes ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
    esac
done

if [[ $list = yes ]]; then
    printf '%s\n' "${want[@]}"
    exit 0
fi
if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    echo "pkgdep.sh: this is not a Debian system; install what matches:" \
         "${want[*]}" >&2
    exit 1
fi

installed() {
    local state

    state=$(dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null) &&
        grep -qx installed <<<"$state"
}

missing=()
for package in "${want[@]}"; do
    installed "$package" || missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

as_root=()
if [[ $EUID -ne 0 ]]; then
    if ! command -v sudo >/dev/null; then
        echo "pkgdep.sh: as root, run:" \
             "apt-get install --no-install-recommends ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi

echo "pkgdep.sh: installing ${missing[*]}"
"${as_root[@]}" apt-get update -q
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends "${missing[@]}"
