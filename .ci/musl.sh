#!/bin/sh
# Prints this machine's musl target if Rust can build for it, else nothing. Has
# rustup fetch the target if it is missing; where that fails, once is enough.
target=$(uname -m)-unknown-linux-musl
[ ! -d "$(rustc --print sysroot 2>/dev/null)/lib/rustlib/$target/lib" ] || { echo "$target"; exit; }
tried=target/no-musl
[ ! -e "$tried" ] && command -v rustup >/dev/null || exit 0
mkdir -p target
echo "fetching Rust's $target" >&2
if timeout 120 rustup target add "$target" >"$tried" 2>&1; then rm "$tried"; echo "$target"; fi
