#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Builds the libFuzzer targets with clang and runs each for a while:
#
#     scripts/fuzz.sh [seconds [target...]]
#
# 60 s and all targets when nothing is said. New inputs go to the build folder;
# a crash is left there as <target>-crash-*, printed, and fails the script.
# FUZZ_BUILD names another build folder, FUZZ_JOBS the compilers at a time.
set -eu

cd "$(dirname "$0")/.."
seconds=${1:-60}
[ $# -gt 0 ] && shift
build=${FUZZ_BUILD:-build-fuzz}
jobs=${FUZZ_JOBS:-$(nproc)}

case $seconds in
'' | *[!0-9]*)
	echo "usage: $0 [seconds [target...]]" >&2
	exit 2
	;;
esac
if ! command -v clang >/dev/null; then
	echo "$0: clang is not installed (apt-get install clang libclang-rt-14-dev)" >&2
	exit 1
fi

if [ ! -f "$build/build.ninja" ]; then
	CC=clang meson setup "$build" -Dfuzz=true -Dtests=false \
		-Dbuildtype=debugoptimized -Db_lundef=false \
		-Db_sanitize=address,undefined \
		-Dc_args='-fsanitize=fuzzer-no-link -fno-sanitize-recover=undefined'
fi

targets=${*:-$(sed -n "s/^  '\([a-z_]*\)': dep_.*/\1/p" fuzz/meson.build)}
failed=0
for name in $targets; do
	ninja -j "$jobs" -C "$build" "fuzz/fuzz_$name"
	found=$build/corpus/$name
	mkdir -p "$found"
	echo "== $name: $seconds s"
	"$build/fuzz/fuzz_$name" -max_total_time="$seconds" -max_len=20000 \
		-timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
		-dict=fuzz/iscsi.dict -artifact_prefix="$build/$name-" \
		"$found" "fuzz/corpus/$name" 2>"$build/$name.log" || {
		failed=1
		tail -40 "$build/$name.log" >&2
	}
	grep -E 'number_of_executed_units|cov: .*DONE|DONE +cov' \
		"$build/$name.log" || true
done
exit $failed
