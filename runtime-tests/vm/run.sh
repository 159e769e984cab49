#!/bin/bash
# Boots the VM with this checkout shared in, runs a command there as root
# under a fully booted systemd, and ends with its exit status.
#
#   run.sh [--timeout SECONDS] COMMAND [ARGUMENT…]
#   run.sh --shell
#
# The command starts in the checkout, which has the same path as here; what it
# writes there stays. All else the guest writes is gone when it ends. The
# command's output (both kinds) comes out on standard output; the kernel's and
# systemd's are in target/vm/console.log. 125: the VM itself failed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
MEMORY=${VM_MEMORY:-4G}
CPUS=${VM_CPUS:-2}
say() { echo "vm: $*" >&2; }
fail() { say "$@"; exit 125; }

limit=0
shell=
while [ $# -gt 0 ]; do
    case $1 in
        --timeout) limit=$2; shift 2 ;;
        --shell) shell=yes; shift ;;
        -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0"; exit ;;
        --) shift; break ;;
        -*) fail "no such option: $1" ;;
        *) break ;;
    esac
done
[ -n "$shell" ] || [ $# -gt 0 ] || fail "what is to be run?"
[ "$(id -u)" = 0 ] || fail "needs root, for the shared directory's owners to be right"
case $top in *[[:space:],]*) fail "the checkout's path has a space or a comma in it" ;; esac

virtiofsd() {
    local path
    for path in /usr/libexec/virtiofsd /usr/lib/qemu/virtiofsd; do
        [ ! -x "$path" ] || { echo "$path"; return; }
    done
}

image=$("$here/build.sh") || fail "no VM to boot"
tools=(qemu-system-x86_64:qemu-system-x86)
# Part of QEMU's packages on Debian 12, later one of its own.
[ -n "$(virtiofsd)" ] || ! apt-cache show virtiofsd >/dev/null 2>&1 || tools+=(virtiofsd)
sh "$top/.ci/need.sh" "${tools[@]}" >&2
run=$(mktemp -d "$top/target/vm/run.XXXXXX")
console=$top/target/vm/console.log
children=()
end() {
    local child
    for child in "${children[@]}"; do kill "$child" 2>/dev/null || true; done
    cp -f "$run/console" "$console" 2>/dev/null || true
    rm -rf "$run"
}
trap end EXIT
trap 'exit 130' INT TERM HUP

# KVM only where a guest really runs: a device that opens says nothing. The
# answer holds until the host is booted anew.
accel() {
    local seen=$image/kvm-$(cat /proc/sys/kernel/random/boot_id)
    if [ ! -e "$seen" ]; then
        echo no >"$seen"
        if [ -w /dev/kvm ] && kvm_works; then echo yes >"$seen"; fi
    fi
    if [ "$(cat "$seen")" = yes ]; then echo "-accel kvm -cpu host"; else echo "-accel tcg,thread=multi -cpu max"; fi
}
kvm_works() {
    timeout -k 1 6 qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot -m 256M \
        -accel kvm -cpu host -kernel "$image/vmlinuz" -initrd "$image/initrd" -serial stdio \
        -append "console=ttyS0 quiet panic=-1 vm.selftest" </dev/null 2>/dev/null | grep -q vm-selftest-passed
}

share() {
    local daemon common=(--socket-path="$run/share.sock")
    daemon=$(virtiofsd)
    rm -f "$run/share.sock"
    [ -n "$daemon" ] || fail "no virtiofsd"
    case $daemon in
        /usr/lib/qemu/*) common+=(-o source="$top" -o xattr -o cache=auto -o announce_submounts) ;;
        *) common+=(--shared-dir "$top" --xattr --cache auto --announce-submounts) ;;
    esac
    "$daemon" "${common[@]}" >"$run/virtiofsd.log" 2>&1 &
    children+=($!)
    local try
    for try in $(seq 100); do
        [ ! -S "$run/share.sock" ] || return 0
        sleep 0.05
    done
    cat "$run/virtiofsd.log" >&2
    fail "virtiofsd did not start"
}

if [ -n "$shell" ]; then
    read -r rows columns < <(stty size 2>/dev/null | grep -v "^0" || echo 24 80)
    echo "rows $rows cols $columns" >"$run/shell"
    channel=(-device virtconsole,chardev=out)
else
    printf '%q ' "$@" >"$run/command"
    channel=(-device virtserialport,chardev=out,name=out)
fi
mkdir -p "$top/target/test-work" "$run/tmp"
# shellcheck disable=SC2207 # words without spaces
machine=($(accel))
append="console=ttyS0 root=/dev/vda quiet panic=-1 mitigations=off net.ifnames=0 apparmor=1 security=apparmor"
# Drivers of devices that are of no use here, and slow to find that out.
append+=" module_blacklist=kvm_amd,kvm_intel,kvm,powernow_k8,i2c_i801,lpc_ich,iTCO_wdt,psmouse,intel_pmc_bxt"
# No login prompt may take what is typed for the shell.
append+=" systemd.getty_auto=no systemd.show_status=no systemd.tty.term.console=dumb systemd.tty.term.ttyS0=dumb vm.share=$top vm.run=$run"
# The last word of a kind counts: VM_APPEND="security=selinux" has SELinux in AppArmor's place.
append+=" ${VM_APPEND:-}"
# Its standard input must not end: for QEMU that closes the output, too.
[ -n "$shell" ] || { mkfifo "$run/in"; exec <>"$run/in"; }
# Temporary copies of the disks go where there is room for them. In the
# foreground, so that a shell's terminal is its own.
boot() {
    TMPDIR=$run/tmp nice timeout --foreground -k 5 "$limit" qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot \
        "${machine[@]}" -smp "$CPUS" -m "$MEMORY" \
        -object memory-backend-memfd,id=ram,size="$MEMORY",share=on -machine q35,sata=off,smbus=off,memory-backend=ram \
        -kernel "$image/vmlinuz" -initrd "$image/initrd" -append "$append" \
        -drive file="$image/disk.img",format=raw,if=none,id=disk,snapshot=on,cache=unsafe \
        -device virtio-blk-pci,drive=disk \
        -drive file="$image/spare.img",format=raw,if=none,id=spare,snapshot=on,cache=unsafe \
        -device virtio-blk-pci,drive=spare,serial=spare \
        -chardev socket,id=share,path="$run/share.sock" -device vhost-user-fs-pci,chardev=share,tag=share \
        -device virtio-rng-pci -serial file:"$run/console" \
        -device virtio-serial-pci -chardev stdio,id=out,signal=off "${channel[@]}"
}
# Emulated processors now and then trip over code that the kernel patches while
# it boots: then it has panicked before the command began, and is booted again.
for attempt in 1 2 3; do
    [ "$attempt" = 1 ] || say "the kernel panicked while it booted; once more"
    share
    ended=0 SECONDS=0
    boot || ended=$?
    [ ! -s "$run/status" ] && [ "$SECONDS" -lt 60 ] && grep -q "Kernel panic" "$run/console" || break
done
if [ ! -s "$run/status" ]; then
    tail -n 20 "$run/console" | tr -d '\r' >&2
    [ "$ended" != 124 ] || fail "not done after $limit s"
    fail "ended without a status (qemu: $ended); its console is in $console"
fi
exit "$(cat "$run/status")"
