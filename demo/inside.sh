#!/bin/sh
# Run inside the demo's container: what does the world look like from here?
line() { printf '  %-14s %s\n' "$1" "$2"; }
line 'host name' "$(hostname)"
line 'process 1' "$(tr '\0' ' ' < /proc/1/cmdline)"
line 'processes' "$(ls -d /proc/[0-9]* | wc -l)"
line 'mounts' "$(wc -l < /proc/self/mountinfo)"
line 'capabilities' "$(sed -n 's/^CapEff:[[:space:]]*//p' /proc/self/status)"
line 'devices' "$(ls /dev | wc -l) in /dev: $(ls /dev | tr '\n' ' ')"
line 'interfaces' "$(ls /sys/class/net | tr '\n' ' ')"
line 'files in /' "$(ls / | tr '\n' ' ')"
line 'control group' "$(sed -n 's/^0:://p' /proc/self/cgroup)"
if [ -n "$NOTE" ]; then
    echo "  ($NOTE)"
else
    line 'memory limit' "$(cat /sys/fs/cgroup/memory.max) bytes"
fi
echo "What is not allowed in there:"
try() {
    what=$1
    shift
    if reason=$("$@" 2>&1); then line "$what" "worked?!"; else line "$what" "$(echo "$reason" | sed 's/.*: //')"; fi
}
try 'mount' mount -t tmpfs none /tmp
try 'host name' hostname other
try 'device node' mknod /tmp/disk b 8 0
try 'kernel knob' sh -c 'echo 1 > /proc/sys/kernel/panic'
try 'write to /' touch /file
