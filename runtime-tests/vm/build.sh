#!/bin/bash
# Builds the VM that the tests run in, from Debian packages, and prints the
# directory it is in: target/vm/HASH, where HASH is that of the files here
# that define it. If that is there already, nothing is done. Needs root.
#
# VM_MIRROR names a Debian mirror; without it, it is the one apt uses here.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
store=$top/target/vm
suite=forky

# What isn't named here (run.sh, say) can change without a new image.
definition() {
    cd "$here"
    find build.sh packages setup.sh initrd guest -type f | LC_ALL=C sort |
        while read -r file; do
            stat -c '%A %n' "$file"
            cat "$file"
        done
}
hash=$(definition | sha256sum | cut -c1-16)
[ "${1-}" != --where ] || { echo "$store/$hash"; exit; }
if [ -e "$store/$hash/disk.img" ]; then
    echo "$store/$hash"
    exit
fi
say() { echo "vm: $*" >&2; }
fail() { say "$@"; exit 1; }
[ "$(id -u)" = 0 ] || fail "building the VM needs root"

# The mirror as the host's apt has it; the one for security has other suites.
mirror() {
    apt-get indextargets --format '$(SUITE) $(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 2>/dev/null |
        grep -v -e '^[^ ]*-security ' | head -1 | cut -d' ' -f2
}
# Without `apt-get update` apt doesn't know origins: take what the sources say.
mirror_unread() {
    apt-get indextargets --format '$(SUITE) $(REPO_URI)' 'Created-By: Packages' |
        grep -v -e '^[^ ]*-security ' | grep -e '/debian/*$' | head -1 | cut -d' ' -f2
}

# Debian's tools to make one; see need.sh for the form.
tools=(debootstrap mkfs.ext4:e2fsprogs cpio xz:xz-utils zstd
    /usr/share/keyrings/debian-archive-keyring.gpg:debian-archive-keyring)

# An older debootstrap doesn't know the suite; all recent ones are built alike.
known_suite() {
    local scripts=/usr/share/debootstrap/scripts
    [ -e "$scripts/$suite" ] || ln -s sid "$scripts/$suite"
}

# Everything below happens in here, in namespaces of its own: nothing that
# fails half-way can leave a mount or a process on the host.
tree() {
    mount --make-rprivate /
    debootstrap --variant=minbase --cache-dir="$store/debs" "$suite" "$root" "$url" ||
        { tail -n 20 "$root/debootstrap/debootstrap.log" >&2; return 1; }
    mount -t proc proc "$root/proc"
    mount -t sysfs -o ro sysfs "$root/sys"
    mount -t tmpfs -o mode=755 tmpfs "$root/dev"
    local name
    for name in null zero full random urandom; do
        touch "$root/dev/$name"
        mount --bind "/dev/$name" "$root/dev/$name"
    done
    ln -s /proc/self/fd "$root/dev/fd"
    mkdir -m 1777 "$root/dev/shm"
    mount -t tmpfs tmpfs "$root/run"
    # Packages once fetched are kept for the next definition.
    mount --bind "$store/debs" "$root/var/cache/apt/archives"
    cp -r --preserve=mode "$here/guest/." "$root/"
    host_network
    cp "$here/setup.sh" "$here/packages" "$root/run/"
    image=$root/usr/share/orlop-test/debian
    mkdir -p "$image"
    debian_image
    chroot "$root" /bin/bash /run/setup.sh "$url" "$suite"
    tar -C "$image" -cf "$image.tar" --one-file-system .
    rm -rf "$image"
}

# A small Debian for engines to run, where no registry can be reached.
debian_image() {
    debootstrap --variant=minbase --cache-dir="$store/debs" "$suite" "$image" "$url" ||
        { tail -n 20 "$image/debootstrap/debootstrap.log" >&2; return 1; }
    rm -rf "$image"/usr/share/{doc,man,locale} "$image"/var/lib/apt/lists/* "$image"/var/cache/apt/archives/*.deb
}

# How the host reaches its mirror, for the time of the build only (on a tmpfs).
host_network() {
    local file
    for file in resolv.conf hosts; do
        [ -e "/etc/$file" ] || continue
        cp -L "/etc/$file" "$root/run/$file"
        touch "$root/etc/$file"
        mount --bind "$root/run/$file" "$root/etc/$file"
    done
    apt-config dump | grep -E '^Acquire::https?::.*Proxy' >"$root/run/apt-proxy" || true
}

# A few modules and a script, for the kernel to find its disk: unpacking
# Debian's initrd takes longer than all the rest of the boot when emulated.
initrd() {
    local kernel=$1 ram=$new/ram module
    mkdir -p "$ram"/{bin,dev,proc,sys,root,modules}
    cp "$root/usr/bin/busybox" "$ram/bin/busybox"
    cp "$here/initrd" "$ram/init"
    for module in virtio_pci virtio_blk ext4; do
        chroot "$root" modprobe --set-version "$kernel" --show-depends "$module" | sed -n 's/^insmod //p'
    done | awk '!seen[$1]++ { print $1 }' | while read -r module; do
        unpack "$root$module" >"$ram/modules/$(basename "${module%.ko*}").ko"
        basename "${module%.ko*}" >>"$ram/modules/order"
    done
    touch "$ram/modules/order"
    (cd "$ram" && find . | cpio --quiet -o -H newc -R 0:0) >"$new/initrd"
    rm -rf "$ram"
}

unpack() {
    case $1 in
        *.xz) xz -dc "$1" ;;
        *.zst) zstd -qdc "$1" ;;
        *) cat "$1" ;;
    esac
}

disks() {
    local size
    size=$(du -sm "$root" | cut -f1)
    # A swap file: its header now, the rest once it is on the disk, as it may have no holes.
    truncate -s 1G "$root/swapfile"
    chmod 600 "$root/swapfile"
    mkswap "$root/swapfile" >/dev/null 2>&1
    # Runs write to a copy; what is free here is their scratch space.
    truncate -s "$((size + 7168))M" "$new/disk.img"
    mkfs.ext4 -q -F -b 4096 -L orlop-root -m 0 -E lazy_itable_init=1,lazy_journal_init=1 -d "$root" "$new/disk.img"
    debugfs -w -R "fallocate /swapfile 0 $(((1 << 30) / 4096 - 1))" "$new/disk.img" 2>/dev/null
    rm "$root/swapfile"
    truncate -s 1G "$new/spare.img"
}

build() {
    local kernel
    root=$new/root
    mkdir -p "$root"
    export root new url store here suite
    export -f tree host_network debian_image
    say "a tree of Debian $suite (log: $store/build.log)"
    unshare --mount --pid --fork --kill-child bash -euo pipefail -c tree >"$store/build.log" 2>&1 ||
        { tail -n 30 "$store/build.log" >&2; fail "no tree"; }
    kernel=$(cd "$root/lib/modules" && ls | sort -V | tail -1)
    cp -L "$root/boot/vmlinuz-$kernel" "$new/vmlinuz"
    initrd "$kernel"
    say "its disk"
    disks
}

sh "$top/.ci/need.sh" "${tools[@]}" >&2
known_suite
url=${VM_MIRROR:-$(mirror)}
url=${url:-$(mirror_unread)}
[ -n "$url" ] || fail "apt has no Debian mirror here; name one with VM_MIRROR"
mkdir -p "$store/debs"
new=$(mktemp -d "$store/new.XXXXXX")
chmod 755 "$new"
trap 'rm -rf "$new"' EXIT
SECONDS=0
build
# Renamed when whole. Machines that run keep the files they have open, so older ones can go.
for old in "$store"/*/disk.img; do
    case $old in */new.*) ;; *) rm -rf "$(dirname "$old")" ;; esac
done
mv -T "$new" "$store/$hash"
say "built in ${SECONDS} s, $(du -sh "$store/$hash" | cut -f1)"
echo "$store/$hash"
