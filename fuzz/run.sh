#!/usr/bin/env bash
# Runs every fuzz target, or the one in FUZZ, for FUZZ_SECONDS each. The corpus that grows is in
# the cache; what breaks a law is in its folder `found`, and ends this with an error.
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=$(realpath -m -- "${TICKCAST_CACHE:-$repository/.cache}")
tools=$cache/tools
cargo_fuzz_version=0.13.2
seconds=${FUZZ_SECONDS:-60}

# None needs no nightly compiler and no runtime library of a sanitizer: the code has no unsafe parts
# of its own. FUZZ_SANITIZER=address finds faults of the C library that unpacks zstd as well.
sanitizer=${FUZZ_SANITIZER:-none}
if [[ $sanitizer != none ]]; then
  export RUSTC_BOOTSTRAP=1
fi

if [[ $("$tools/bin/cargo-fuzz" fuzz --version 2>/dev/null) != *" $cargo_fuzz_version" ]]; then
  echo "cargo-fuzz $cargo_fuzz_version: building (a minute or two) ..."
  cargo install --quiet --locked --force --root "$tools" --version "$cargo_fuzz_version" cargo-fuzz
fi
export PATH=$tools/bin:$PATH

targets=${FUZZ:-$(cd "$repository/fuzz/fuzz_targets" && basename --suffix .rs -- *.rs)}
cd "$repository"
options=(--fuzz-dir fuzz --target-dir "$repository/target/fuzz" --sanitizer "$sanitizer")
if [[ -n ${FUZZ:-} ]]; then
  nice cargo fuzz build "${options[@]}" "$FUZZ"
else
  nice cargo fuzz build "${options[@]}"
fi

failed=()
for target in $targets; do
  grown=$cache/fuzz/$target
  found=$grown/found
  mkdir -p "$grown/corpus" "$found"
  # A file of a bundle has some 10 KB; nothing else needs as much.
  length_max=4096
  if [[ $target =~ ^(manifest|golden|graph)$ ]]; then
    length_max=32768
  fi
  echo "== $target: $seconds s"
  if ! nice cargo fuzz run "${options[@]}" "$target" \
    "$grown/corpus" "tests/data/fuzz/$target" -- \
    -max_total_time="$seconds" -max_len="$length_max" -rss_limit_mb=1024 -timeout=20 \
    -artifact_prefix="$found/" -print_final_stats=1; then
    failed+=("$target")
  fi
done
if ((${#failed[@]})); then
  echo "a law is broken in: ${failed[*]}; the inputs are in $cache/fuzz/TARGET/found" >&2
  exit 1
fi
