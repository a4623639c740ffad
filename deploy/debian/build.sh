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
# Manual and completions, out of the binary itself.
"$stage/tickcast" docs manual | gzip -9n >"$stage/tickcast.1.gz"
for shell in bash zsh fish; do "$stage/tickcast" docs completions "$shell" >"$stage/completions.$shell"; done
# The licenses of all that is in the package.
python3 deploy/debian/notices.py kafka | gzip -9n >"$stage/third-party-licenses.txt.gz"
gzip -9nc "$(dirname "$ORT_DYLIB_PATH")/ThirdPartyNotices.txt" \
  >"$stage/onnxruntime-third-party-notices.txt.gz"
deploy/sbom.sh "$stage/tickcast.cdx.json"
# A package that is only looked at need not be small.
effort=()
if [[ $profile == dev ]]; then effort=(--fast); fi
"$TICKCAST_TOOLS/bin/cargo-deb" --no-build --no-strip --quiet --profile "$profile" "${effort[@]}"
