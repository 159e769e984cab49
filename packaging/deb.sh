#!/bin/bash
# Makes target/orlop_VERSION_ARCHITECTURE.deb of what `make install` installs,
# with dpkg-deb alone. The same source makes the same package: all times in it
# are SOURCE_DATE_EPOCH, all owners root.
#
#   deb.sh ORLOP      the program, which has to be there, as the man pages have
#
# MAINTAINER is `Name <address>`; without it whoever made the last commit.
set -euo pipefail
cd "$(dirname "$0")/.."
binary=$1
command -v dpkg-deb >/dev/null || { echo "needs dpkg-deb" >&2; exit 1; }
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:?}
umask 022
export LC_ALL=C
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
architecture=$(dpkg --print-architecture)
maintainer=${MAINTAINER:-$(git log -1 --format='%an <%ae>' 2>/dev/null || echo 'unknown <root@localhost>')}
root=target/deb
package=target/orlop_${version}_$architecture.deb
rm -rf "$root" target/orlop_*.deb
make --no-print-directory -s install BIN="$binary" DESTDIR="$root" PREFIX=/usr ZSHDIR=/usr/share/zsh/vendor-completions

# As Debian wants documentation: pages compressed, the licence in one file.
gzip -9n "$root"/usr/share/man/man8/*.8
rm "$root/usr/share/doc/orlop/LICENSE"
cat >"$root/usr/share/doc/orlop/copyright" <<END
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: orlop

Files: *
Copyright: $(date -u -d "@$SOURCE_DATE_EPOCH" +%Y) the authors of orlop
License: Apache-2.0
 On Debian systems the text of the Apache License, version 2.0, is in
 /usr/share/common-licenses/Apache-2.0.
END
cat >"$root/usr/share/doc/orlop/changelog" <<END
orlop ($version) unstable; urgency=low

  * Made from commit $(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown).

 -- $maintainer  $(date -u -R -d "@$SOURCE_DATE_EPOCH")
END
gzip -9n "$root/usr/share/doc/orlop/changelog"

mkdir "$root/DEBIAN"
(cd "$root" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
# A user's containers have more than one id only with newuidmap's help.
cat >"$root/DEBIAN/control" <<END
Package: orlop
Version: $version
Architecture: $architecture
Maintainer: $maintainer
Installed-Size: $(cd "$root" && find usr -type f -printf '%s\n' | awk '{ n += int(($1 + 1023) / 1024) } END { print n }')
Recommends: uidmap
Section: admin
Priority: optional
Description: daemonless OCI container runtime
 orlop runs containers as OCI bundles describe them. It takes the place of runc
 or crun under podman, containerd and docker, or is used by hand. It is one
 static binary and leaves no daemon behind.
END
find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --root-owner-group -Zxz --build "$root" "$package" >/dev/null
rm -rf "$root"
echo "$package"
