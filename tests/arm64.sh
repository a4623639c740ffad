#!/usr/bin/env bash
# Builds the native kernels and their tests for ARM64 and runs them, on x86-64 by emulation. What is
# needed: qemu-user, gcc-aarch64-linux-gnu and libc6-dev-arm64-cross of Debian, and Rust's standard
# library for ARM64 (`rustup target add aarch64-unknown-linux-gnu`, or Debian's libstd-rust-dev:arm64).
# RUSTC and RUSTFLAGS choose another compiler and where its libraries are.
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
kernels=$repository/src/engine/inference/native
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# The files are modules of a library that has much more in it; here they are all there is.
for module in cpu dense lanes layer stack portable; do
  printf '#[path = "%s/%s.rs"]\nmod %s;\n' "$kernels" "$module" "$module"
done >"$folder/kernels.rs"

# shellcheck disable=SC2086 # several flags
${RUSTC:-rustc} ${RUSTFLAGS:-} --test --edition 2024 -O -A dead_code \
  --target aarch64-unknown-linux-gnu -C linker=aarch64-linux-gnu-gcc \
  -o "$folder/kernels" "$folder/kernels.rs"
if [[ $(uname -m) == aarch64 ]]; then
  "$folder/kernels"
else
  qemu-aarch64 -L /usr/aarch64-linux-gnu "$folder/kernels"
fi
