#!/bin/bash
# The checks of engines on orlop, crun and runc in the same VM, side by side:
# how many pass on each, and which do not pass everywhere. Fails if one that
# both others pass fails on orlop.
#
#   engines.sh [SUITE…]
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
[ $# -gt 0 ] || set -- engines podman docker containerd
into=target/engines
export ENGINES=all SUITE_TIMEOUT=${SUITE_TIMEOUT:-3600} VM_TIMEOUT=${VM_TIMEOUT:-10800}
mkdir -p "$into"
runtimes=(orlop crun runc)
for runtime in "${runtimes[@]}"; do
    path=/usr/bin/$runtime
    [ "$runtime" != orlop ] || path=$PWD/target/release/orlop
    echo "== $runtime"
    # What fails is in the table; that the peers fail is no failure here.
    ORLOP=$path bash .ci/test.sh vm "$@"
    # SUITE::TEST and how it ended; skips are said on a line of their own.
    awk '/^test .* \.\.\. / { done[$2] = $NF }
         /skip: [a-z0-9_:]+: / { sub(/.*skip: /, ""); sub(/: .*/, ""); skipped[$0] = 1 }
         /^suite [^ ]+: / { suite = $2; sub(/:.*/, "", suite)
             for (test in done) { name = suite "::" test; print name, (name in skipped ? "skipped" : done[test]) }
             delete done }' target/tests.vm.log | sort >"$into/$runtime"
done
join -a1 -a2 -e none -o 0,1.2,2.2 "$into/orlop" "$into/crun" |
    join -a1 -a2 -e none -o 0,1.2,1.3,2.2 - "$into/runc" >"$into/all"
echo
echo "what does not pass on all three:"
{ echo "check orlop crun runc"; awk '!($2 == "ok" && $3 == "ok" && $4 == "ok")' "$into/all"; } | column -t
echo
for runtime in "${runtimes[@]}"; do
    awk -v runtime="$runtime" '{ n[$2]++ } END { printf "%s: %d passed, %d failed, %d skipped\n", runtime, n["ok"], n["FAILED"], n["skipped"] }' "$into/$runtime"
done
worse=$(awk '$2 == "FAILED" && $3 == "ok" && $4 == "ok" { print $1 }' "$into/all")
[ -z "$worse" ] || { echo "fails on orlop alone: $worse"; exit 1; }
[ -s "$into/orlop" ] || exit 1
