#!/bin/sh
# Builds the OCI validation programs from a checkout of
# opencontainers/runtime-tools, which stays as it is.
#
#   build.sh CHECKOUT TO
#
# Debian's Go lacks some functions of newer standard libraries. They are laid
# over it for the build (go1.19/), so no program has to be changed.
set -eu
test -d "${1:-}/validation" || { echo "RUNTIME_TOOLS must name a checkout of opencontainers/runtime-tools" >&2; exit 1; }
here=$(cd "$(dirname "$0")" && pwd)
from=$(cd "$1" && pwd)
mkdir -p "$2"
to=$(cd "$2" && pwd)
sh "$here/../../.ci/need.sh" /usr/lib/go-1.19/bin/go:golang-1.19-go
export PATH="/usr/lib/go-1.19/bin:$PATH" GOFLAGS=-mod=vendor GOPROXY=off CGO_ENABLED=0
std=$(go env GOROOT)/src
cat >"$to/overlay.json" <<END
{ "Replace": {
    "$from/vendor/slices/slices.go": "$here/go1.19/slices.go",
    "$std/strings/cut_prefix.go": "$here/go1.19/strings.go",
    "$std/sync/once_value.go": "$here/go1.19/sync.go"
} }
END
cd "$from"
go build -overlay "$to/overlay.json" -o "$to/programs/" ./validation/...
go build -overlay "$to/overlay.json" -o "$to/runtimetest" ./cmd/runtimetest
cp rootfs-*.tar.gz "$to/"
git rev-parse HEAD >"$to/commit" 2>/dev/null || echo unknown >"$to/commit"
echo "$(find "$to/programs" -type f | wc -l) programs of $(cat "$to/commit") are in $to"
