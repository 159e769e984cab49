#!/bin/bash
# Runs the test programs listed in a file (NAME, DIRECTORY and PATH a line, with
# tabs between) against a runtime, here or in the VM, and says for each how
# many tests passed, failed and were skipped.
#
#   suites.sh LIST ORLOP
#
# A program gets SUITE_TIMEOUT seconds. What it did not do by then is named, with
# the processes that were there; so are processes that it left behind.
#
# A test that can't run on this machine passes in libtest's eyes and says
# `skip: NAME: reason` on stderr; it is counted as skipped here.
set -u
list=$1
export ORLOP=$2 RUST_BACKTRACE="${RUST_BACKTRACE:-0}"
# SELINUX is the policy to be in force for them.
if [ -n "${SELINUX:-}" ]; then
    { cat "$SELINUX" >/sys/fs/selinux/load && echo 1 >/sys/fs/selinux/enforce; } || { dmesg | grep SELinux: | tail -n 5; exit 1; }
fi
log=$(mktemp)
limit=${SUITE_TIMEOUT:-600}
result=0
watcher=
trap 'unwatch; rm -f "$log" "$log.ps"' EXIT
trap 'exit 143' TERM INT HUP

count() { grep '^test result:' "$log" | sed "s/.* \([0-9]*\) $1.*/\1/" | awk '{ n += $1 } END { print n + 0 }'; }

# The emulated machine does a part of what is done again and again; a part isn't all.
partly() {
    case $1 in
        sweep | netdevices) case ${SWEEP:-1} in
            1 | full) ;;
            *) echo "skip: $1[calls]: only every ${SWEEP}th call here; all natively, or with SWEEP=1" ;;
        esac ;;
        capabilities | seccomp) [ "${ROUNDS:-100}" = 100 ] || echo "skip: $1[combinations]: only every sixth of some here; all natively, or with ROUNDS=100" ;;
        security) [ "${ROUNDS:-100}" = 100 ] || echo "skip: security[rounds]: only $ROUNDS % of the rounds here; all natively, or with ROUNDS=100" ;;
    esac
}

# All but the kernel's own; then the threads of the test program, which have the names of its tests.
processes() {
    ps -eo pid,ppid,stat,wchan:20,args --forest | grep -vE ' \[|wchan:20' | cut -c1-160
    pgrep -f "^$path" | while read -r pid; do
        echo "threads of $pid:"
        ps -L -p "$pid" -o lwp,stat,wchan:20,comm
    done
}

# Looks at the processes just before the limit, when they are still there.
watch() {
    { sleep $((limit - 2)); processes >"$log.ps"; sleep infinity; } 2>/dev/null &
    watcher=$!
}

unwatch() {
    [ -n "$watcher" ] || return 0
    # shellcheck disable=SC2046 # a list of words
    kill "$watcher" $(pgrep -P "$watcher") 2>/dev/null
    wait "$watcher" 2>/dev/null
    watcher=
}

# Into a file, and shown from there: of a pipe the end would not be seen for as
# long as anything that was left behind had it open.
run() {
    rm -f "$log.ps"
    : >"$log"
    watch
    tail -n +1 -f -s 0.1 --pid="$watcher" "$log" &
    local tail=$!
    (cd "$directory" && exec timeout --foreground -k 10 "$limit" "$path") >"$log" 2>&1 </dev/null 3<&-
    status=$?
    unwatch
    wait "$tail"
}

# What was not done when the time was over, and the processes that were there.
hung() {
    echo "suite $name: not done after $limit s:"
    (cd "$directory" && timeout 20 "$path" --list 2>/dev/null) | sed -n 's/: test$//p' | while read -r test; do
        grep -qE "^test $test( - should panic)? \.\.\. (ok|FAILED|ignored|skip:)" "$log" || echo "    $test"
    done
    echo "processes when it was stopped:"
    sed 's/^/    /' "$log.ps"
}

# Whoever still has the program's output open was forgotten by a test. They get
# a moment to end, then they are named and killed.
left() {
    local pids _
    for _ in $(seq 50); do
        pids=$(find /proc/[0-9]*/fd -lname "$log" 2>/dev/null | cut -d/ -f3 | sort -un)
        [ -n "$pids" ] || return 1
        sleep 0.1
    done
    echo "suite $name: left behind, with its output open:"
    # shellcheck disable=SC2086 # a list of words
    ps -o pid,ppid,stat,wchan:20,args -p "$(echo $pids | tr ' ' ,)" | cut -c1-160 | sed 's/^/    /'
    # shellcheck disable=SC2086 # a list of words
    kill -KILL $pids 2>/dev/null
    return 0
}

while IFS=$'\t' read -r name directory path <&3; do
    SECONDS=0
    run
    took=$SECONDS
    partly "$name" | tee -a "$log"
    # `skip: NAME: why` is a whole test, `skip: NAME[PART]: why` a part of one that went on.
    whole=$(grep -cE 'skip: [a-z0-9_:]+: ' "$log")
    parts=$(grep -cE 'skip: [a-z0-9_:]+\[' "$log")
    passed=$(count passed)
    failed=$(count failed)
    if [ "$status" -ge 124 ]; then
        [ ! -e "$log.ps" ] || hung
        passed=$(grep -cE '^test .* \.\.\. (ok$|skip:)' "$log")
    fi
    # A program that broke down has failed as well.
    [ "$status" = 0 ] || [ "$failed" != 0 ] || failed=1
    # What a program had no time to end is no second failure.
    ! left || [ "$status" -ge 124 ] || failed=$((failed + 1))
    [ "$failed" = 0 ] || result=1
    echo "suite $name: $((passed - whole)) passed, $failed failed, $((whole + parts + $(count ignored))) skipped ($took s)"
done 3<"$list"
exit $result
