#!/usr/bin/env bash
# Runs every documented command that is no test, at a size of seconds: that it ends well is all that
# this shows, never a figure. Builds are those of `make test`, without optimization.
#
#   deploy/smoke.sh            all but those that need large downloads
#   deploy/smoke.sh all        those as well
#   deploy/smoke.sh NAME...    these targets of the Makefile
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly EX_USAGE=64
chosen=${*:-quick}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The targets beside one another would disturb each other's ports and processors.
unset MAKEFLAGS MFLAGS MAKELEVEL

known=() summary=() failed=0

# Every target runs the binary that `make test` has built.
run() {
  TICKCAST=target/debug/tickcast \
    make --no-print-directory PROFILE=dev DAEMON='--locked --profile dev' TRAINER=--locked "$@"
}

# smoke NAME WORD...: runs a target with these variables; large ones say why they may be skipped.
smoke() {
  local name=$1 why=$2 start=$SECONDS outcome=passed
  shift 2
  known+=("$name")
  if [[ $chosen == quick && -n $why ]]; then
    summary+=("$(printf '%-12s  skipped: %s (SMOKE=all runs it)' "$name" "$why")")
    return
  fi
  if [[ $chosen != quick && $chosen != all && " $chosen " != *" $name "* ]]; then return; fi
  echo "== make $name $*"
  if ! run "$name" "$@" >"$work/log" 2>&1 </dev/null; then
    outcome=FAILED failed=1
    cat "$work/log"
  fi
  summary+=("$(printf '%-12s  %s in %d s' "$name" "$outcome" $((SECONDS - start)))")
  echo "${summary[-1]}"
}

# One epoch, whose bundle and report go away.
sed -e "s|\"../../|\"$PWD/|" -e "s|^\[data\]|root = \"$work/models\"\n\n&|" \
  -e "s|^\[fit\]|&\nepochs_max = 1|" config/train/aapl.toml >"$work/train.toml"
printf '\n[report]\nfolder = "%s"\n' "$work/reports" >>"$work/train.toml"

smoke help ''
smoke setup ''
smoke demo '' DEMO_SECONDS=3
# Its time begins before the daemon has joined the group and read its states.
smoke demo-kafka '' DEMO_SECONDS=15
smoke deb ''
smoke audit ''
smoke sbom ''
smoke bench '' BENCH='--seconds 0.02'
smoke bench-kernel '' BENCH='--seconds 0.02 --no-fail --models seed --symbols 4'
smoke bench-parts '' BENCH=--test
smoke bench-stream '' BENCH_SECONDS=0.2
smoke bench-promotions '' BENCH_SECONDS=0.2 BENCH_TURNS=1
smoke bench-history '' BENCH_SYMBOLS=20
smoke bench-verdict 'builds everything once more, optimized' VERDICT_STREAMS=20 VERDICT_SCORES=2000
smoke bench-kafka '' BENCH='--records 12000 --few 8000 --runs 1 --seconds 1 --paces 200'
smoke bench-kafka-group '' BENCH='--runs 1 --symbols 50 --partitions 4 --no-silence'
smoke soak '' SOAK_SECONDS=5
smoke fuzz 'builds cargo-fuzz and every library once more' FUZZ_SECONDS=1
smoke sim 'builds everything once more, optimized' SIM_SEEDS=200
smoke sim-mutations 'builds everything once more, optimized' SIM_SEEDS=200
smoke train '' TRAIN="-c $work/train.toml"
smoke backtest '' BACKTEST="-c $work/train.toml --folds 2 --output $work/backtest"
smoke test-arm 'needs an emulator of ARM64 and a compiler for it'
smoke autobahn 'takes ten minutes, and fetches CPython 2.7'
smoke bench-python 'fetches TensorFlow, 1.4 GB' BENCH_SECONDS=0.1
smoke test-models 'fetches PyTorch and TensorFlow, 7 GB' MODELS='torch_lstm2_dyn keras_gru lightgbm'
smoke bench-train 'fetches PyTorch and TensorFlow, 7 GB' BENCH='tasks sizes epoch' \
  BENCH_SEEDS=1 BENCH_EPOCHS=2 BENCH_ROWS=20000

for name in $chosen; do
  if [[ ! " quick all ${known[*]} " == *" $name "* ]]; then
    echo "smoke: no target $name; there are: ${known[*]}" >&2
    exit "$EX_USAGE"
  fi
done
echo
printf '%s\n' "${summary[@]}"
exit "$failed"
