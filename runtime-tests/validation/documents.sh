#!/bin/bash
# Writes down what $RUNTIME prints: the config it generates, its features and
# the state of a container in three of its lives. The example config goes beside.
#
#   documents.sh SUITE DIRECTORY
set -eu
bundle=$2/bundle
mkdir -p "$bundle/rootfs"
tar -xf "$(ls "$1"/rootfs-*64.tar.gz)" -C "$bundle/rootfs"
cp "$(dirname "$0")/../../config.example.json" "$2/example.json"
"$RUNTIME" features >"$2/features.json"
"$RUNTIME" spec --bundle "$bundle"
cp "$bundle/config.json" "$2/spec.json"
sed -i 's/"terminal": true/"terminal": false/; s/^\(\s*\)"sh"$/\1"sleep", "1000"/' "$bundle/config.json"
state() { "$RUNTIME" state schema >"$2/state-$1.json"; grep -q "\"status\": *\"$1\"" "$2/state-$1.json"; }
"$RUNTIME" create --bundle "$bundle" schema
state created "$2"
"$RUNTIME" start schema
state running "$2"
"$RUNTIME" kill schema KILL
for _ in $(seq 100); do
    ! state stopped "$2" || exit 0
    sleep 0.1
done
exit 1
