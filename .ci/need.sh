#!/bin/sh
# Installs Debian packages, where something of them is missing. Arguments are
# `PROGRAM:PACKAGE`, or `/a/file:PACKAGE`, or one word if the two are the same.
set -eu
missing=
for need in "$@"; do
    case $need in
        /*) test -e "${need%%:*}" || missing="$missing ${need##*:}" ;;
        *) command -v "${need%%:*}" >/dev/null || missing="$missing ${need##*:}" ;;
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
