#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# From nothing to a running target: installs what the build needs, builds, and
# starts a target with a RAM disk on 127.0.0.1. It ends as the target ends.
set -euo pipefail

port=3260
size_mb=64

usage() {
    cat <<EOF
usage: scripts/run.sh [--port N] [--size-mb N]
  --port N     TCP port on 127.0.0.1 (default $port)
  --size-mb N  size of the RAM disk in MiB (default $size_mb)
EOF
}

die() {
    echo "run.sh: $*" >&2
    exit 1
}

# number NAME VALUE MIN MAX
number() {
    if [[ ! $2 =~ ^[1-9][0-9]{0,8}$ ]] || (($2 < $3 || $2 > $4)); then
        die "$1 wants a number from $3 to $4, not '$2'"
    fi
}

while (($# > 0)); do
    case $1 in
    --port | --size-mb)
        (($# > 1)) || die "$1 wants a value"
        if [[ $1 = --port ]]; then
            number "$1" "$2" 1 65535
            port=$2
        else
            number "$1" "$2" 1 1048576
            size_mb=$2
        fi
        shift 2
        ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
    esac
done

cd "$(dirname "$0")/.."

accepts() {
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null
}

port_must_be_free() {
    ! accepts || die "port $port on 127.0.0.1 is in use;" \
                     "choose another with --port"
}

port_must_be_free
scripts/pkgdep.sh
# The tests want packages that a first run does without.
make --no-print-directory build MESON_FLAGS=-Dtests=false

dir=$(mktemp -d "${TMPDIR:-/tmp}/iscsi_tgt.XXXXXX")
pid=
# shellcheck disable=SC2317 # the trap calls it
finish() {
    [[ -z $pid ]] || kill -TERM "$pid" 2>/dev/null || true
    rm -rf "$dir"
}
trap finish EXIT

name=iqn.2016-06.io.spdk:disk1
cat >"$dir/iscsi.conf" <<EOF
[iSCSI]
  NodeBase "iqn.2016-06.io.spdk"

[PortalGroup1]
  Portal DA1 127.0.0.1:$port

[InitiatorGroup1]
  InitiatorName ANY
  Netmask 127.0.0.1/32

[Malloc]
  NumberOfLuns 1
  LunSizeInMB $size_mb

[TargetNode1]
  TargetName disk1
  TargetAlias "RAM disk"
  Mapping PortalGroup1 InitiatorGroup1
  AuthMethod Auto
  UseDigest Auto
  LUN0 Malloc0
EOF

port_must_be_free
build/iscsi_tgt -c "$dir/iscsi.conf" -r "$dir/rpc.sock" &
pid=$!
# Both end it the same way; the loop at the end waits until it has.
trap 'kill -TERM "$pid" 2>/dev/null || true' INT TERM HUP

# ends STATUS_OF_WAIT: leaves with the target's exit status.
ends() {
    local status=0

    wait "$pid" || status=$?
    pid=
    exit "$status"
}

tries=0
until accepts; do
    kill -0 "$pid" 2>/dev/null || ends
    ((++tries < 300)) || die "the target does not listen after 30 seconds"
    sleep 0.1
done

cat <<EOF

A target with a RAM disk of $size_mb MiB listens on 127.0.0.1:$port.

  Name      $name  (LUN 0)
  Discover  iscsi-ls -s iscsi://127.0.0.1:$port
            iscsiadm -m discovery -t sendtargets -p 127.0.0.1:$port
  Attach    iscsiadm -m node -T $name -p 127.0.0.1:$port --login
            or without the kernel, by any libiscsi program:
            qemu-img info iscsi://127.0.0.1:$port/$name/0
  Detach    iscsiadm -m node -T $name -p 127.0.0.1:$port --logout
  Control   scripts/rpc.py -s $dir/rpc.sock get_rpc_methods
  Stop      Ctrl-C, or: kill $pid

EOF

# A signal ends the wait, not the target: wait on until it is gone.
while kill -0 "$pid" 2>/dev/null; do
    wait "$pid" || true
done
ends
