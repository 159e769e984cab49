#!/bin/bash
# Runs a command in the VM's root file system on this machine's own kernel:
# Debian's crun and runc with Debian's libraries, at native speed.
#
#   native.sh ROOT OUT PROGRAM… -- COMMAND [ARGUMENT…]
#
# ROOT is the tree of build.sh. It is mounted writable, as on any machine: crun
# would not protect its binary where it can't be written anyway. Only /run and
# /tmp are written to, each a tmpfs. The PROGRAMs, static ones, are in
# /run/bench/bin there, the directory OUT is /run/bench/out. /sys/fs/cgroup is
# cgroup v2 alone. All mounts are in a mount namespace of their own: this
# machine's stay as they are.
set -euo pipefail
if [ "${ORLOP_BENCH_INSIDE-}" != yes ]; then
    [ "$(id -u)" = 0 ] || { echo "bench: needs root" >&2; exit 1; }
    # A signal ends the command, which cleans up; we wait for it.
    trap : INT TERM HUP
    ORLOP_BENCH_INSIDE=yes unshare --mount --propagation private bash "$0" "$@"
    exit
fi
unset ORLOP_BENCH_INSIDE
root=$1 out=$2
shift 2
programs=()
while [ "$1" != -- ]; do
    programs+=("$1")
    shift
done
shift
cgroup2=/sys/fs/cgroup
[ -e "$cgroup2/cgroup.controllers" ] || cgroup2=/sys/fs/cgroup/unified
[ -e "$cgroup2/cgroup.controllers" ] || { echo "bench: no cgroup v2 hierarchy at $cgroup2" >&2; exit 1; }

mount --bind "$root" "$root"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mkdir -p "$root/run/bench/bin" "$root/run/bench/out"
for program in "${programs[@]}"; do
    touch "$root/run/bench/bin/${program##*/}"
    mount --bind "$program" "$root/run/bench/bin/${program##*/}"
done
mount --bind "$out" "$root/run/bench/out"
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
mount -t sysfs sysfs "$root/sys"
mount --bind "$cgroup2" "$root/sys/fs/cgroup"
# Not a mere chroot: the new mounts should be few, and none of them this machine's.
cd "$root"
pivot_root . .
umount --lazy .
cd /
exec "$@"
