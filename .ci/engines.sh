#!/bin/bash
# The checks of engines on orlop, crun and runc in the same VM, side by side:
# how many pass on each, and which do not pass everywhere. Fails if one that
# both others pass fails on orlop.
#
#   engines.sh [SUITE…]
#
# RUNTIMES are those to run now; what the others did last time is in
# target/engines. ENGINES= leaves out what takes long.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
[ $# -gt 0 ] || set -- containerd docker engines podman
into=target/engines
export ENGINES=${ENGINES-all} SUITE_TIMEOUT=${SUITE_TIMEOUT:-3600} VM_TIMEOUT=${VM_TIMEOUT:-10800}
mkdir -p "$into"
for runtime in ${RUNTIMES:-orlop crun runc}; do
    path=/usr/bin/$runtime
    [ "$runtime" != orlop ] || path=$PWD/target/release/orlop
    echo "== $runtime"
    # What fails is in the table; that the peers fail is no failure here.
    ORLOP=$path bash .ci/test.sh vm "$@"
    sh .ci/checks.sh target/tests.vm.log >"$into/$runtime"
done
for runtime in orlop crun runc; do
    [ -s "$into/$runtime" ] || { echo "no checks of $runtime have been run" >&2; exit 1; }
done
join -a1 -a2 -e none -o 0,1.2,2.2 "$into/orlop" "$into/crun" |
    join -a1 -a2 -e none -o 0,1.2,1.3,2.2 - "$into/runc" >"$into/all"

# A line for each suite, and one for all: passed, of those that ran, on each.
counts() {
    awk '{ split($1, name, "::"); suite = name[1]; suites[suite]
           for (i = 2; i <= 4; i++) {
               if ($i == "ok") { passed[suite, i]++; passed["all", i]++ }
               if ($i == "ok" || $i == "FAILED") { ran[suite, i]++; ran["all", i]++ }
           } }
         function line(suite,    i, text) {
             text = suite
             for (i = 2; i <= 4; i++) text = text " | " (passed[suite, i] + 0) " of " (ran[suite, i] + 0)
             return text
         }
         END { for (suite in suites) print line(suite) | "sort"; close("sort"); print line("all") }' "$into/all"
}
differ() { awk '!($2 == "ok" && $3 == "ok" && $4 == "ok") && !($2 == "skipped" && $3 == "skipped" && $4 == "skipped")' "$into/all"; }

echo
echo "what does not end alike on all three:"
{ echo "check orlop crun runc"; differ; } | column -t
echo
{ echo "passed | orlop | crun | runc"; counts; } | column -t -s '|'
worse=$(awk '$2 == "FAILED" && $3 == "ok" && $4 == "ok" { print $1 }' "$into/all")
[ -z "$worse" ] || { echo "fails on orlop alone: $worse"; exit 1; }
