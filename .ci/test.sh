#!/bin/sh
# Runs all tests against the release build and counts them.
#
# A test that can't run on this machine passes in libtest's eyes and says
# `skip: NAME: reason` on stderr; it is counted as skipped here.
set -u
test "$(id -u)" = 0 || { echo "the tests run containers: they need root" >&2; exit 1; }
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# One release binary for the tests to run; the tests themselves need no optimisation.
ORLOP=${ORLOP:-$PWD/target/release/orlop}
export ORLOP RUST_BACKTRACE="${RUST_BACKTRACE:-0}"
{ ${CARGO:-cargo} test --locked --workspace --no-fail-fast 2>&1; echo "exit $?"; } | tee "$log" |
    grep -vE '^(test .* \.\.\. ok|running [0-9]+ tests?|exit [0-9]+|)$'
status=$(sed -n 's/^exit \([0-9]*\)$/\1/p' "$log" | tail -1)

sum() {
    grep '^test result:' "$log" | sed "s/.* \([0-9]*\) $1.*/\1/" | awk '{ n += $1 } END { print n + 0 }'
}
# `skip: NAME: why` is a whole test, `skip: NAME[PART]: why` a part of one that went on.
whole=$(grep -cE 'skip: [a-z0-9_:]+: ' "$log")
parts=$(grep -cE 'skip: [a-z0-9_:]+\[' "$log")
ignored=$(sum ignored)
failed=$(sum failed)
passed=$(($(sum passed) - whole))
skipped=$((whole + parts + ignored))
# A test program that could not even start has failed as well.
if [ "$status" != 0 ] && [ "$failed" = 0 ]; then failed=1; fi
echo
echo "$passed passed, $failed failed, $skipped skipped"
exit "$status"
