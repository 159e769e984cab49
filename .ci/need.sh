#!/bin/sh
# Installs the Debian packages named, where something of them is missing.
set -eu
missing=
for package in "$@"; do
    case $package in
        busybox-static) test -x /usr/bin/busybox || test -x /bin/busybox || missing="$missing $package" ;;
        procps) command -v ps >/dev/null || missing="$missing $package" ;;
        *) command -v "$package" >/dev/null || missing="$missing $package" ;;
    esac
done
test -z "$missing" && exit 0
test "$(id -u)" = 0 || { echo "needs root to install:$missing" >&2; exit 1; }
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # a list of words
apt-get install -qq -y --no-install-recommends $missing >/dev/null 2>&1 || {
    apt-get update -qq
    apt-get install -qq -y --no-install-recommends $missing >/dev/null
}
