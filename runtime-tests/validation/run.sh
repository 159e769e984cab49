#!/bin/bash
# Runs the OCI validation programs against a runtime, one by one, and says for
# each whether it passed; then looks at what the runtime prints with the JSON
# schemas of the specification.
#
#   run.sh SUITE RUNTIME [SPEC]
#
# SUITE is what build.sh made, SPEC a checkout of opencontainers/runtime-spec.
# PROGRAMS="create state" runs some, LIMIT are the seconds for one (60).
#
# Failures that are expected are in docs/conformance.md, in the table below
# "Fail, and why", and nowhere else. Another failure is one; so is a listed
# program that passes, or that has not as many assertions "not ok" as it says.
set -u
here=$(cd "$(dirname "$0")" && pwd)
list=$here/../../docs/conformance.md
export LIMIT=${LIMIT:-60}

die() { echo "$*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || die "containers are made: this needs root"
[ -d "${1:-}/programs" ] || die "no validation programs in '${1:-}': see make validation-suite"
suite=$(cd "$1" && pwd)
RUNTIME=$(realpath -e "${2:-}") || die "no runtime '${2:-}': run make first"
spec=${3:-}
export RUNTIME
[ -z "${PROGRAMS:-}" ] || for name in $PROGRAMS; do [ -x "$suite/programs/$name" ] || die "no program $name"; done

# The bundles: nobody but root may be in the way of a container's root.
TMPDIR=$(mktemp -d) && chmod 755 "$TMPDIR" || exit 1
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
trap 'exit 143' TERM INT HUP
mkdir -p "$suite/out"

# Runs a command where /sys/fs/cgroup is cgroup v2 and /run its own, so that the
# containers it leaves can be told from all others, and are removed.
aside() {
    # shellcheck disable=SC2016 # for the inner shell
    unshare --mount --propagation private bash -c '
        cgroups=/sys/fs/cgroup/unified
        [ ! -e $cgroups/cgroup.controllers ] || mount --rbind $cgroups /sys/fs/cgroup || exit 1
        mount -t tmpfs -o mode=755,nosuid,nodev run /run || exit 1
        timeout -k 5 "$LIMIT" "$@"
        status=$?
        for id in $("$RUNTIME" list --quiet 2>/dev/null); do "$RUNTIME" delete --force "$id"; done >&2
        exit $status' aside "$@" </dev/null
}

# The rows that hold on this machine, with tabs between: NAME (or a pattern), how
# many assertions are not ok (`-`: never mind; `race`: the program passes when it
# is lucky, and gets five tries), the reason.
expected() {
    set -f # patterns
    sed -n '/^## Fail, and why/,/^## [^F]/p' "$list" | grep '^| `' | while IFS='|' read -r _ names where count why _; do
        why=${why# } why=${why% }
        case $where in
            " everywhere ") ;;
            " without its profile ") ! grep -qs '^acme_secure_profile ' /sys/kernel/security/apparmor/profiles || continue ;;
            " without CAP_SYS_RESOURCE ") ! holds 24 || continue ;;
            *) die "docs/conformance.md: where is '$where'?" ;;
        esac
        for name in ${names//[\`,]/}; do printf '%s\t%s\t%s\n' "$name" "${count// /}" "$why"; done
    done
}

# Have we capability number $1?
holds() { (( 0x$(sed -n 's/^CapEff:\t//p' /proc/self/status) >> $1 & 1 )); }

# How many assertions of $1 are expected to be not ok, and why. Fails if it is
# to pass.
row() {
    local pattern count reason
    while IFS=$'\t' read -r pattern count reason; do
        # shellcheck disable=SC2053 # a pattern
        [[ $1 != $pattern ]] || { echo "$count $reason"; return 0; }
    done <<<"$listed"
    return 1
}

# pass, fail or skip, and the reason, from an exit status and TAP. Some programs
# assert nothing: then what they say to be an error is one.
verdict() {
    local status=$1 tap=$2 failed
    failed=$(grep -c '^not ok' "$tap")
    if [ "$status" -ge 124 ]; then
        echo "fail not done after $LIMIT s, or killed ($status)"
    elif [ "$failed" != 0 ]; then
        echo "fail $failed of $(grep -cE '^(not )?ok' "$tap"): $(grep -m1 '^not ok' "$tap" | cut -d' ' -f3-)"
    elif [ "$status" != 0 ]; then
        echo "fail exit $status: $(tail -n1 "$tap")"
    elif grep -q '^ok' "$tap"; then
        if grep '^ok' "$tap" | grep -qv '# SKIP'; then echo pass; else echo "skip $(grep -m1 '^ok' "$tap" | sed 's/.*# SKIP *//')"; fi
    elif grep -q '^ *"error":' "$tap"; then
        echo "fail $(grep -m1 '^ *"error":' "$tap" | sed 's/^ *"error": *//')"
    else
        echo pass
    fi
}

passed=0 failed=0 skipped=0 surprises=()
# Counts a verdict and shows it.
tell() {
    local name=$1 verdict=${2%% *} reason row surprise=
    [ "$verdict" = pass ] || reason=${2#* }
    if row=$(row "$name"); then
        case "${row%% *} $2" in
            "race pass") ;;
            "race fail "*) surprise="five times: $reason" ;;
            *" pass") surprise="but is listed as a failure" ;;
            "- "* | *" skip "* | "${row%% *} fail ${row%% *} of "*) reason="as listed: ${row#* }" ;;
            *) surprise="of which ${row%% *} not ok are listed: $reason" ;;
        esac
    elif [ "$verdict" = fail ]; then
        surprise=$reason
    fi
    [ -z "$surprise" ] || surprises+=("$name") reason=$surprise
    case $verdict in pass) passed=$((passed + 1)) ;; fail) failed=$((failed + 1)) ;; skip) skipped=$((skipped + 1)) ;; esac
    printf '%-4s %s%s\n' "$verdict" "$name" "${reason:+: $reason}"
}

# Every document that orlop writes and the specification has a schema for.
schemas() {
    local documents="spec example features state-created state-running state-stopped" name
    if [ ! -d "$spec/schema" ]; then
        for name in $documents; do tell "schema:$name" "skip SPEC names no checkout of opencontainers/runtime-spec"; done
        return
    fi
    sh "$here/../../.ci/need.sh" /usr/lib/python3/dist-packages/jsonschema:python3-jsonschema || exit 1
    aside bash "$here/documents.sh" "$suite" "$TMPDIR/documents" >"$suite/out/schemas" 2>&1 || documents="$documents documents"
    for name in $documents; do
        tell "schema:$name" "$(/usr/bin/python3 "$here/schema.py" "$spec/schema" "$TMPDIR/documents/$name.json" 2>&1)"
    done
}

listed=$(expected) || exit 1
cd "$suite" || exit 1
for program in programs/*; do
    name=${program#programs/}
    case " ${PROGRAMS:-$name} " in *" $name "*) ;; *) continue ;; esac
    for _ in 1 2 3 4 5; do
        aside "$suite/$program" >"out/$name" 2>&1
        verdict=$(verdict $? "out/$name")
        [[ $verdict = fail* && $(row "$name") = race* ]] || break
    done
    tell "$name" "$verdict"
done
[ -n "${PROGRAMS:-}" ] || schemas

echo
[ ${#surprises[@]} = 0 ] || echo "not as docs/conformance.md has it: ${surprises[*]} (see $suite/out)"
echo "$passed passed, $failed failed ($((failed + passed + skipped)) programs and documents), $skipped skipped, ${#surprises[@]} not as listed"
[ ${#surprises[@]} = 0 ]
