#!/bin/bash
# Makes the VM out of a bare Debian tree; build.sh runs it in a chroot.
set -euo pipefail
url=$1
suite=$2
# No initrd of Debian's: the VM boots with one of ours.
export DEBIAN_FRONTEND=noninteractive LC_ALL=C INITRD=No

printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
# A frozen mirror's lists are out of date by definition.
apt=(apt-get -o Acquire::Check-Valid-Until=false -o Dpkg::Options::=--force-confold
    -o Dpkg::Options::=--force-unsafe-io -c /run/apt-proxy)
mkdir -p /etc/initramfs-tools
echo update_initramfs=no >/etc/initramfs-tools/update-initramfs.conf
echo "deb $url $suite main" >/etc/apt/sources.list
mapfile -t packages < <(grep -v '^#' /run/packages | tr -s ' ' '\n')
"${apt[@]}" update
"${apt[@]}" install -y --no-install-recommends "${packages[@]}"
# What a build of an image installs in that small Debian.
mkdir -p /usr/share/orlop-test/debs/partial
"${apt[@]}" -o Dir::State::status=/usr/share/orlop-test/debian/var/lib/dpkg/status \
    -o Dir::Cache::Archives=/usr/share/orlop-test/debs install -y --download-only --no-install-recommends python3-minimal
rm -rf /usr/share/orlop-test/debs/{partial,lock}
# The image names no mirror, and holds nothing that could be fetched again.
rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/* /var/lib/apt/lists/* /usr/sbin/policy-rc.d

# ---- users

useradd --create-home --shell /bin/bash tester
useradd --system --no-create-home containers
passwd -d root
printf 'tester:100000:65536\ncontainers:200000:1048576\n' | tee /etc/subuid >/etc/subgid
mkdir -p /var/lib/systemd/linger
touch /var/lib/systemd/linger/tester

# ---- the machine

: >/etc/machine-id
# Parsing Debian's hundred profiles takes minutes when emulated, and none is
# about containers; engines load their own. AppArmor itself stays on.
find /etc/apparmor.d -maxdepth 1 -type f -delete
# Nothing that starts by itself beside the tests; engines are started by theirs.
systemctl disable docker.service docker.socket containerd.service podman-restart.service 2>/dev/null || true
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
    man-db.timer logrotate.timer podman-auto-update.timer systemd-tmpfiles-clean.timer e2scrub_reap.service \
    podman-auto-update.service podman-clean-transient.service systemd-networkd-wait-online.service \
    netavark-dhcp-proxy.socket getty@tty1.service serial-getty@ttyS0.service \
    modprobe@drm.service modprobe@efi_pstore.service dracut-shutdown.service systemd-journal-flush.service \
    systemd-journal-catalog-update.service ldconfig.service systemd-hwdb-update.service; do
    systemctl mask "$unit" 2>/dev/null || true
done
systemctl enable vm-command.service
systemctl set-default multi-user.target
rm -rf /usr/share/doc /usr/share/man /usr/share/locale
find /tmp -mindepth 1 -delete
# What systemd would do on every first boot, and each boot here is the first.
ldconfig
systemd-sysusers
touch /etc/.updated /var/.updated
