#!/usr/bin/env bash
# Writes the hashes of the Python packages that tests, benches and tools use: each requirements*.txt
# out of the requirements*.in beside it. Run it after a change of one of those; it needs `uv`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

for list in {tests/api,tests/deploy,tests/exporters,deploy/tools}/requirements.in benches/requirements-*.in; do
  (
    cd "$(dirname "$list")"
    name=$(basename "$list" .in)
    # Without notes of where a package comes from: an index is a matter of the machine.
    uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-header \
      --no-emit-index-url --no-annotate "$name.in" --output-file "$name.txt"
    sed -i "1i # Every package with its hashes, of $name.in; deploy/lock.sh writes it." "$name.txt"
  )
done
