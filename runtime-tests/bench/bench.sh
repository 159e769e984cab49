#!/bin/bash
# The benchmark: orlop beside the VM image's crun and runc, on this machine's
# own kernel, or in the VM. See docs/performance.md.
#
#   bench.sh native|vm ORLOP BENCH [OPTION…]
#
# ORLOP is the binary to measure, BENCH the program of this directory; options
# are those of `bench measure`. SECCOMP=0 leaves the pod bundle without its filter,
# natively BASE_ORLOP=FILE measures another orlop beside this one, named "before".
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
where=$1 orlop=$(realpath "$2") bench=$(realpath "$3")
shift 3
out=$top/target/bench
mkdir -p "$out"
other=${BASE_ORLOP:+$(realpath "$BASE_ORLOP")}
options=(--date "$(date -u +%F)")
[ "${SECCOMP-1}" = 0 ] || options+=(--seccomp /usr/share/containers/seccomp.json)
case $where in
    native)
        bin=/run/bench/bin
        programs=("$orlop" "$bench")
        runtimes=(--runtime "orlop=$bin/${orlop##*/}" --runtime crun=/usr/bin/crun --runtime runc=/usr/bin/runc)
        if [ -n "$other" ]; then
            # By a name of its own.
            ln -sfn "$other" "$out/orlop-before"
            programs+=("$out/orlop-before")
            runtimes+=(--runtime "before=$bin/orlop-before")
        fi
        "$here/native.sh" "$("$here/../vm/build.sh")/root" "$out" "${programs[@]}" -- \
            "$bin/${bench##*/}" measure --out /run/bench/out/native.json --place "Native" \
            "${runtimes[@]}" "${options[@]}" "$@"
        ;;
    vm)
        for binary in "$orlop" "$bench"; do
            case $binary in "$top"/*) ;; *) echo "bench: $binary is not in the checkout, the VM sees nothing else" >&2; exit 1 ;; esac
        done
        # On the guest's own disk: through the shared directory every execution reads the binary anew.
        "$here/../vm/run.sh" --timeout "${VM_TIMEOUT:-1200}" \
            bash -c 'install -m 755 "$1" /usr/local/bin/orlop && shift && exec "$@"' bash "$orlop" \
            "$bench" measure --out "$out/vm.json" --place "In the VM" --rounds 20 --warmup 2 \
            --runtime orlop=/usr/local/bin/orlop --runtime crun=/usr/bin/crun --runtime runc=/usr/bin/runc \
            "${options[@]}" "$@"
        ;;
    *) echo "bench: native or vm?" >&2; exit 1 ;;
esac
