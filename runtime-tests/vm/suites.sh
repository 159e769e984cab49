#!/bin/bash
# In the VM: runs the test programs listed in a file (NAME PATH a line) against
# a runtime, and says for each how many tests passed, failed and were skipped.
set -u
list=$1
export ORLOP=$2 RUST_BACKTRACE=0
cd runtime-tests || exit 1
log=$(mktemp)
result=0
while read -r name path <&3; do
    SECONDS=0
    "$path" 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    count() { grep '^test result:' "$log" | sed "s/.* \([0-9]*\) $1.*/\1/" | awk '{ n += $1 } END { print n + 0 }'; }
    # As .ci/test.sh has it: `skip: NAME: why` is a whole test, `NAME[PART]` a part of one.
    whole=$(grep -cE 'skip: [a-z0-9_:]+: ' "$log")
    parts=$(grep -cE 'skip: [a-z0-9_:]+\[' "$log")
    failed=$(count failed)
    if [ "$status" != 0 ]; then
        result=1
        [ "$failed" != 0 ] || failed=1
    fi
    echo "suite $name: $(($(count passed) - whole)) passed, $failed failed, $((whole + parts + $(count ignored))) skipped (${SECONDS} s)"
done 3<"$list"
exit $result
