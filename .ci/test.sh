#!/bin/bash
# Compiles the test programs, runs them against the release build and counts,
# suite by suite.
#
#   test.sh native|vm [SUITE…]
#
# Without names it is all of them: unit tests first, the sweep last. In the VM
# only integration tests, which are the ones that run orlop.
#
# ORLOP is the runtime (in the VM a path there; ours if unset). SUITE_TIMEOUT
# are the seconds for one suite, VM_TIMEOUT those for one boot of the VM. SWEEP=n
# (every nth call) and ROUNDS=n (percent) keep what is repeated short; in the VM,
# which may be emulated, SWEEP=1 ROUNDS=100 does all. ENGINES=all has the checks of
# engines that take long there as well.
set -uo pipefail
where=$1
shift
test "$(id -u)" = 0 || { echo "the tests run containers: they need root" >&2; exit 1; }
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top" || exit 1
export ORLOP=${ORLOP:-$top/target/release/orlop}
list=$top/target/tests.$where
case $where in
    native) build=(--workspace) kinds='[a-z]*' run=() ;;
    vm)
        build=(--package runtime-tests --tests) kinds=test
        run=("$top/runtime-tests/vm/run.sh" --timeout "${VM_TIMEOUT:-3900}"
            env SWEEP="${SWEEP:-32}" ROUNDS="${ROUNDS:-10}" ENGINES="${ENGINES:-}" SUITE_TIMEOUT="${SUITE_TIMEOUT:-900}")
        ;;
    *) echo "native or vm?" >&2; exit 1 ;;
esac
${CARGO:-cargo} test --locked --no-run "${build[@]}" --message-format=json >"$list.json" || exit 1
# KIND, NAME, DIRECTORY, PATH: programs that test, in the order to run them.
sed -n 's|.*"manifest_path":"\([^"]*\)/Cargo.toml".*"kind":\["\('"$kinds"'\)"\].*"name":"\([^"]*\)".*"profile":{[^}]*"test":true.*"executable":"\([^"]*\)".*|\2\t\3\t\1\t\4|p' "$list.json" |
    awk -F '\t' -v OFS='\t' '
        $1 != "test" { $2 = ($1 == "bin" ? "bin-" : "unit-") $2 }
        { print ($1 != "test" ? 0 : $2 == "machine" ? 1 : $2 == "sweep" ? 3 : 2), $2, $3, $4 }' |
    sort | cut -f2- >"$list"
[ -s "$list" ] || { echo "no test programs" >&2; exit 1; }
if [ $# -gt 0 ]; then
    awk -F '\t' -v wanted=" $* " 'index(wanted, " " $1 " ")' "$list" >"$list.some"
    mv "$list.some" "$list"
    [ -s "$list" ] || { echo "no such suite: $*" >&2; exit 1; }
fi
log=$list.log
: >"$log"
# On the VM's own disk: through the shared directory each execution reads it anew.
own='case $2 in "$PWD"/*) install -m 755 "$2" /usr/local/bin/orlop; set -- "$1" /usr/local/bin/orlop ;; esac'
[ "$where" = vm ] || own=:
status=0
# The suites of a list, here or in a boot of the VM.
suites() {
    [ -s "$1" ] || return 0
    "${run[@]}" bash -c "$own; exec bash .ci/suites.sh \"\$@\"" bash "$1" "$ORLOP" 2>&1 | tee -a "$log" |
        grep --line-buffered -vE '^(test .* \.\.\. ok|running [0-9]+ tests?|)$'
    [ "${PIPESTATUS[0]}" = 0 ] || status=1
}
# SELinux is there only in AppArmor's place: its own suite has a boot of its own,
# with a policy of the tests' own. VM_APPEND=security=selinux has the others there, too.
selinux() (
    sh .ci/need.sh checkpolicy || exit 1
    checkpolicy -M -U allow -c 33 -o target/vm/selinux.policy runtime-tests/vm/selinux.conf || exit 1
    export VM_APPEND="${VM_APPEND:-} security=selinux"
    run+=(SELINUX=target/vm/selinux.policy)
    suites "$1"
    exit "$status"
)
case $where${VM_APPEND:-} in
    native*) suites "$list" ;;
    vm*selinux*) selinux "$list" || status=1 ;;
    *)
        grep -P '^selinux\t' "$list" >"$list.selinux"
        grep -vP '^selinux\t' "$list" >"$list.rest"
        if [ -s "$list.selinux" ]; then selinux "$list.selinux" || status=1; fi
        suites "$list.rest"
        ;;
esac
sum() { sed -n "s/^suite .* \([0-9]*\) $1.*/\1/p" "$log" | awk '{ n += $1 } END { print n + 0 }'; }
failed=$(sum failed)
# A machine or a program that broke down has failed as well.
if [ "$status" != 0 ] && [ "$failed" = 0 ]; then failed=1; fi
# What is done under each engine.
[ "$where" = native ] || sh .ci/checks.sh "$log" | grep -E '^(containerd|docker|engines|podman)::'
echo
echo "$(sum passed) passed, $failed failed, $(sum skipped) skipped"
exit "$status"
