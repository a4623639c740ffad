#!/usr/bin/env bash
# Checks what tickcast is built from, by deny.toml: licenses, sources, bans, and known vulnerabilities.
# The advisory database is a Git repository of its own. Where it cannot be fetched, this says so, uses
# the copy of an earlier run if there is one, and checks the rest; TICKCAST_ADVISORIES=required makes
# that an error.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
eval "$(deploy/setup.sh env)"

readonly FETCH_SECONDS_MAX=60

deny() { "$TICKCAST_TOOLS/auditor/bin/cargo-deny" --locked "$@"; }

# Duplicates are listed by `cargo tree --duplicates`; here they are only counted.
deny --log-level error check --hide-inclusion-graph licenses sources bans

reason=
if ! said=$(timeout "$FETCH_SECONDS_MAX" "$TICKCAST_TOOLS/auditor/bin/cargo-deny" --locked fetch db 2>&1); then
  reason=$(tail -n 1 <<<"${said:-no answer within $FETCH_SECONDS_MAX s}")
  if [[ ${TICKCAST_ADVISORIES:-} == required ]]; then
    echo "audit: the advisory database could not be fetched: $reason" >&2
    exit 1
  fi
fi
copies=("${CARGO_HOME:-$HOME/.cargo}"/advisory-dbs/*/crates)
if [[ -z $reason ]]; then
  deny --offline check advisories
elif [[ -d ${copies[0]} ]]; then
  echo "advisories: the database could not be fetched ($reason), so the copy of an earlier run is used"
  deny --offline check advisories
else
  echo "advisories NOT CHECKED: the database could not be fetched: $reason"
fi
