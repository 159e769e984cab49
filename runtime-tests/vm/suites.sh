#!/bin/bash
# In the VM: runs the test programs listed in a file (NAME PATH a line) against
# a runtime, and says for each how many tests passed, failed and were skipped.
# A program gets SUITE_TIMEOUT seconds; SWEEP and ROUNDS are for the tests.
set -u
list=$1
export ORLOP=$2 RUST_BACKTRACE=0
cd runtime-tests || exit 1
log=$(mktemp)
limit=${SUITE_TIMEOUT:-900}
result=0

count() { grep '^test result:' "$log" | sed "s/.* \([0-9]*\) $1.*/\1/" | awk '{ n += $1 } END { print n + 0 }'; }

# The emulated machine does a part of what is done again and again; a part isn't all.
partly() {
    case $1 in
        sweep) [ "${SWEEP:-1}" = 1 ] || echo "skip: sweep[calls]: only every ${SWEEP}th call here; all natively, or with SWEEP=1" ;;
        security) [ "${ROUNDS:-100}" = 100 ] || echo "skip: security[rounds]: only $ROUNDS % of the rounds here; all natively, or with ROUNDS=100" ;;
    esac
}

# What was not done when the time was over, and the processes that were left.
hung() {
    echo "suite $name: not done after $limit s:"
    "$path" --list 2>/dev/null | sed -n 's/: test$//p' | while read -r test; do
        grep -qE "^test $test \.\.\. (ok|FAILED|ignored)" "$log" || echo "    $test"
    done
    echo "processes when it was stopped:"
    sed 's/^/    /' "$log.ps"
}

# Looks at the processes just before the limit, when they are still there.
run() {
    (sleep $((limit - 2)) && ps -eo pid,ppid,stat,wchan:20,args --forest | grep -v ' \[' >"$log.ps") 2>/dev/null &
    watcher=$!
    timeout -k 10 "$limit" "$path" 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    pkill -P $watcher 2>/dev/null
    wait $watcher 2>/dev/null
}

while read -r name path <&3; do
    SECONDS=0
    run
    partly "$name" | tee -a "$log"
    # As .ci/test.sh has it: `skip: NAME: why` is a whole test, `NAME[PART]` a part of one.
    whole=$(grep -cE 'skip: [a-z0-9_:]+: ' "$log")
    parts=$(grep -cE 'skip: [a-z0-9_:]+\[' "$log")
    passed=$(($(count passed) - whole))
    failed=$(count failed)
    if [ "$status" -ge 124 ]; then
        hung
        passed=$(grep -cE '^test .* \.\.\. ok$' "$log")
    fi
    if [ "$status" != 0 ]; then
        result=1
        [ "$failed" != 0 ] || failed=1
    fi
    echo "suite $name: $passed passed, $failed failed, $((whole + parts + $(count ignored))) skipped (${SECONDS} s)"
done 3<"$list"
exit $result
