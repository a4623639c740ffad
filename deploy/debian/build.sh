#!/usr/bin/env bash
# Builds target/debian/tickcast_VERSION_ARCHITECTURE.deb with cargo-deb, from a binary that is
# built already: deploy/debian/build.sh [PROFILE], dist by default. `make deb` does all of it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
eval "$(deploy/setup.sh env)"

profile=${1:-dist}
folder=$([[ $profile == dev ]] && echo debug || echo "$profile")
stage=target/debian-stage
rm -rf "$stage"
mkdir -p "$stage"
# What Cargo.toml names under fixed paths, wherever the cache and the target folder are.
cp "${CARGO_TARGET_DIR:-target}/$folder/tickcast" "$stage/tickcast"
cp "$(realpath "$ORT_DYLIB_PATH")" "$stage/libonnxruntime.so"
# Debug symbols are no part of the package; the library is stripped already.
strip --strip-debug --strip-unneeded "$stage/tickcast"
# A package that is only looked at need not be small.
effort=()
if [[ $profile == dev ]]; then effort=(--fast); fi
"$TICKCAST_TOOLS/bin/cargo-deb" --no-build --no-strip --quiet --profile "$profile" "${effort[@]}"
