#!/bin/bash
# Runs test programs of runtime-tests in the VM and counts, suite by suite.
# They are compiled here, before; the VM only runs them.
#
#   test.sh [SUITE…]    without names all of them: the machine itself first, the sweep last
#
# ORLOP is the runtime (a path in the VM; ours if unset). VM_TIMEOUT and
# SUITE_TIMEOUT are seconds, for all and for one suite. SWEEP=n (every nth
# call) and ROUNDS=n (percent) keep what is repeated short in an emulated
# machine; SWEEP=1 ROUNDS=100 does all.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
cd "$top" || exit 1
list=$top/target/vm/tests
mkdir -p "$top/target/vm"
${CARGO:-cargo} test --locked --no-run --package runtime-tests --tests --message-format=json >"$list.json" || exit 1
# NAME PATH of each; only integration tests, which are the ones that run orlop.
sed -n 's/.*"kind":\["test"\].*"name":"\([^"]*\)".*"executable":"\([^"]*\)".*/\1 \2/p' "$list.json" |
    awk '{ print ($1 == "machine" ? 0 : $1 == "sweep" ? 2 : 1), $0 }' | sort | cut -d' ' -f2- >"$list"
[ -s "$list" ] || { echo "no test programs" >&2; exit 1; }
if [ $# -gt 0 ]; then
    wanted=" $* "
    while read -r name path; do
        case $wanted in *" $name "*) echo "$name $path" ;; esac
    done <"$list" >"$list.some"
    mv "$list.some" "$list"
    [ -s "$list" ] || { echo "no such suite: $*" >&2; exit 1; }
fi
log=$top/target/vm/tests.log
"$here/run.sh" --timeout "${VM_TIMEOUT:-2400}" env SWEEP="${SWEEP:-16}" ROUNDS="${ROUNDS:-10}" \
    SUITE_TIMEOUT="${SUITE_TIMEOUT:-600}" bash "$here/suites.sh" "$list" "${ORLOP:-$top/target/release/orlop}" | tee "$log" |
    grep --line-buffered -vE '^(test .* \.\.\. ok|running [0-9]+ tests?|)$'
status=${PIPESTATUS[0]}
sum() { sed -n "s/^suite .* \([0-9]*\) $1.*/\1/p" "$log" | awk '{ n += $1 } END { print n + 0 }'; }
failed=$(sum failed)
# A machine or a program that broke down has failed as well.
if [ "$status" != 0 ] && [ "$failed" = 0 ]; then failed=1; fi
echo
echo "$(sum passed) passed, $failed failed, $(sum skipped) skipped"
exit "$status"
