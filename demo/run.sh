#!/bin/sh
# Runs a container on a root filesystem made here and shows what isolation did.
set -eu
orlop=$(realpath "$1")
test "$(id -u)" = 0 || { echo "orlop needs root for now: try  sudo make demo" >&2; exit 1; }

dir=$PWD/target/demo
rm -rf "$dir"
mkdir -p "$dir/rootfs/bin" "$dir/state"
for sub in etc proc sys dev tmp root; do mkdir "$dir/rootfs/$sub"; done
busybox=$(command -v /usr/bin/busybox || command -v /bin/busybox)
cp "$busybox" "$dir/rootfs/bin/busybox"
for applet in $("$busybox" --list); do ln -sf busybox "$dir/rootfs/bin/$applet" 2>/dev/null || true; done
rm -f "$dir/rootfs/bin/busybox" && cp "$busybox" "$dir/rootfs/bin/busybox"
echo 'root:x:0:0:root:/root:/bin/sh' > "$dir/rootfs/etc/passwd"
cp demo/inside.sh "$dir/rootfs/inside.sh"

# A memory limit only where cgroup v2 has that controller: orlop refuses what it can't do.
cgroup=$(awk '/ - cgroup2 / { print $5 }' /proc/self/mountinfo | grep '^/sys/fs/cgroup' | tail -1 || true)
limit='' note="memory limit: not shown, this machine's cgroup v2 has no memory controller"
if [ -n "$cgroup" ] && grep -qw memory "$cgroup/cgroup.controllers"; then
    limit='"resources": { "memory": { "limit": 67108864 } },'
    note=''
fi
sed -e "s|@LIMIT@|$limit|" -e "s|@NOTE@|$note|" demo/config.json > "$dir/config.json"

line() { printf '  %-14s %s\n' "$1" "$2"; }
echo "On this machine:"
line 'host name' "$(hostname)"
line 'process 1' "$(cat /proc/1/comm)"
line 'processes' "$(ls -d /proc/[0-9]* | wc -l)"
line 'mounts' "$(wc -l < /proc/self/mountinfo)"
line 'capabilities' "$(sed -n 's/^CapEff:\t*//p' /proc/self/status)"
line 'devices' "$(ls /dev | wc -l) in /dev"
line 'interfaces' "$(ls /sys/class/net | tr '\n' ' ')"
echo
echo "In a container:   orlop run --bundle target/demo demo"
"$orlop" --root "$dir/state" run --bundle "$dir" demo
echo
echo "The bundle is in target/demo: change its config.json and run it again with"
echo "  $orlop run --bundle target/demo demo"
