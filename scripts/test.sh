#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# From nothing: installs, builds and runs every test. The last line is
# "N passed, N failed", where N counts single tests.
set -euo pipefail

# Which suites run on which build. multicore: what crosses cores.
declare -A suites=(
    [release]="style unit sim guard wire system guest"
    [asan]="unit sim wire"
    [tsan]="multicore"
    [fuzz]="fuzz"
)
# With --long, in place of these: what is marked so.
declare -A long_suites=(
    [release]="long"
    [asan]="long"
)
builds="release asan tsan fuzz"
only=""
install=yes
long=no

# No suite of ours takes this long unless it hangs.
suite_max_s=900
long_max_s=7200

# A glance for each parser; scripts/fuzz.sh alone takes as long as it is told.
fuzz_s=8

usage() {
    cat <<EOF
usage: scripts/test.sh [--quick] [--long] [--builds "release asan tsan fuzz"]
                       [--suites "style unit sim guard wire system guest
                                  multicore fuzz"]
                       [--no-install]
  --quick       the release build only
  --long        what takes long, and nothing else
  --builds      these builds only
  --suites      these suites only, on the builds that have them
  --no-install  trust that the packages are there
EOF
}

while (($# > 0)); do
    case $1 in
    --quick) builds=release ;;
    --long) long=yes ;;
    --builds) builds=${2:?--builds wants a value}; shift ;;
    --suites) only=${2:?--suites wants a value}; shift ;;
    --no-install) install=no ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
    esac
    shift
done
for build in $builds; do
    [[ -v suites[$build] ]] || { usage >&2; exit 2; }
    [[ $long = no ]] || suites[$build]=${long_suites[$build]-}
done
[[ $long = no ]] || suite_max_s=$long_max_s

cd "$(dirname "$0")/.."
[[ $install = no ]] || scripts/pkgdep.sh --test

python=/usr/bin/python3
results=build/results
rm -rf "$results"
mkdir -p "$results"

total_passed=0
total_failed=0

# Every report of a sanitizer is a failure of the test that caused it.
export ASAN_OPTIONS=abort_on_error=1:detect_stack_use_after_return=1
export UBSAN_OPTIONS=halt_on_error=1:abort_on_error=1:print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1:abort_on_error=1:second_deadlock_stack=1

setup_flags() {
    case $1 in
    release) echo "-Doptimization=3 -Ddebug=true" ;;
    asan) echo "-Db_sanitize=address,undefined -Dc_args=-DDEBUG" ;;
    tsan) echo "-Db_sanitize=thread -Dc_args=-DDEBUG" ;;
    esac
}

build_it() {
    local dir=build/$1

    [[ $1 != fuzz ]] || return 0    # scripts/fuzz.sh does
    if [[ ! -e $dir/build.ninja ]]; then
        # shellcheck disable=SC2046
        meson setup "$dir" $(setup_flags "$1") || return 1
    fi
    meson configure "$dir" -Dtests=true -Dwerror_here=true || return 1
    meson compile -C "$dir" || return 1
    [[ $1 != release ]] ||
        ln -sf release/src/app/iscsi_tgt build/iscsi_tgt
}

# run_meson BUILD SUITE: its tests in our Meson files.
run_meson() {
    local log=build/$1/meson-logs/testlog-$2.junit.xml rc=0

    rm -f "$log"
    timeout --foreground "$suite_max_s" \
        meson test -C "build/$1" --no-rebuild --suite "$2" \
        --logbase "testlog-$2" --print-errorlogs || rc=1
    [[ ! -e $log ]] || cp "$log" "$results/$1-$2.meson.xml"
    return $rc
}

# run_pytest BUILD SUITE PYTEST-ARGUMENT...
run_pytest() {
    local build=$1 suite=$2 rc=0

    shift 2
    ISCSI_TGT=$PWD/build/$build/src/app/iscsi_tgt timeout --foreground \
        "$suite_max_s" "$python" -m pytest -q -p no:cacheprovider \
        --junitxml="$PWD/$results/$build-$suite.pytest.xml" "$@" || rc=$?
    # 5: nothing was collected.
    ((rc == 0 || rc == 5))
}

# Every libFuzzer target over its corpus and a little further.
run_fuzz() {
    local name rc=0 xml=$results/fuzz-fuzz.pytest.xml

    echo '<testsuite name="fuzz">' >"$xml"
    for name in $(sed -n "s/^  '\([a-z_]*\)': dep_.*/\1/p" fuzz/meson.build)
    do
        echo "<testcase classname=\"fuzz\" name=\"$name\">" >>"$xml"
        if ! FUZZ_BUILD=build/fuzz scripts/fuzz.sh "$fuzz_s" "$name"; then
            rc=1
            echo '<failure message="crash or error"/>' >>"$xml"
        fi
        echo '</testcase>' >>"$xml"
    done
    echo '</testsuite>' >>"$xml"
    return $rc
}

run_suite() {
    local build=$1 suite=$2 rc=0

    case $suite in
    wire | system | guest)
        run_pytest "$build" "$suite" -m "not long" "tests/$suite" || rc=1
        ;;
    long) run_pytest "$build" "$suite" -m long tests/system tests/guest || rc=1 ;;
    multicore)
        run_meson "$build" "$suite" || rc=1
        run_pytest "$build" "$suite" -m multicore tests/wire tests/system ||
            rc=1
        ;;
    fuzz) run_fuzz || rc=1 ;;
    *) run_meson "$build" "$suite" || rc=1 ;;
    esac
    return $rc
}

# tally LABEL OK FILE...: adds up the reports. What failed without a report
# of it is one failure.
tally() {
    local label=$1 rc=$2 passed failed skipped line

    shift 2
    read -r passed failed skipped < <("$python" tools/count_tests.py "$@")
    ((rc == 0 || failed > 0)) || failed=1
    total_passed=$((total_passed + passed))
    total_failed=$((total_failed + failed))
    printf -v line '%-18s %5d passed, %d failed, %d skipped' \
        "$label" "$passed" "$failed" "$skipped"
    echo "$line" >>"$results/summary"
    echo "== $line"
}

for build in $builds; do
    [[ -n ${suites[$build]} ]] || continue
    echo "== building $build"
    if ! build_it "$build" >"$results/$build.log" 2>&1; then
        tail -n 40 "$results/$build.log"
        tally "$build build" 1
        continue
    fi
    for suite in ${suites[$build]}; do
        [[ -z $only || " $only " = *" $suite "* ]] || continue
        rc=0
        run_suite "$build" "$suite" || rc=$?
        tally "$build $suite" "$rc" \
            "$results/$build-$suite".{meson,pytest}.xml
    done
done

echo
cat "$results/summary"
echo "$total_passed passed, $total_failed failed"
((total_failed == 0))
