#!/usr/bin/env bash
# The main job on real input: `tickcast feed` plays recorded stock days over a WebSocket,
# `tickcast serve` forecasts them with three models, `tickcast watch` shows the forecasts in this
# terminal, and the scores of each model follow at the end.
# With the argument `kafka` ticks and forecasts go through topics of a Kafka broker that is started
# for it, and kcat, which is no part of tickcast, reads them back at the end.
# TICKCAST=PATH takes that binary instead of building one.
# It runs until the recording has ended, until Ctrl-C, or for DEMO_SECONDS; it fails when no
# forecast was seen.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

way=${1:-websocket}
port=${DEMO_PORT:-9630}
# Ticks per second: the recording's 13 years pass in 40 seconds.
rate=${DEMO_RATE:-300/s}
seconds=${DEMO_SECONDS:-}

readonly EX_USAGE=64 EX_UNAVAILABLE=69 EX_TEMPFAIL=75

# fail CODE LINE...
fail() {
  local code=$1
  shift
  printf 'demo: %s\n' "$@" >&2
  exit "$code"
}

[[ $way =~ ^(websocket|kafka)$ ]] || fail "$EX_USAGE" "usage: deploy/demo.sh [websocket|kafka]"
# Here and not after the build, which takes minutes.
[[ $seconds =~ ^([1-9][0-9]*)?$ ]] ||
  fail "$EX_USAGE" "DEMO_SECONDS must be a whole number of seconds above 0, not '$seconds'"
[[ $port =~ ^[0-9]+$ ]] || fail "$EX_USAGE" "DEMO_PORT must be a port number, not '$port'"

purpose=demo
if [[ $way == kafka ]]; then purpose=kafka; fi
deploy/setup.sh prerequisites --for "$purpose"
environment=$(deploy/setup.sh env)
eval "$environment"

logs=$TICKCAST_CACHE/demo
mkdir -p "$logs" || fail "$EX_UNAVAILABLE" "cannot write to $TICKCAST_CACHE" \
  "  set TICKCAST_CACHE to a folder that can be written to"
exec 8>>"$logs/.lock"
flock -n 8 || fail "$EX_TEMPFAIL" "another demo is running (it holds $logs/.lock)"

# What the demo builds and runs. Its profile has a folder of its own, target/demo.
build=(--locked --profile demo --no-default-features --bin tickcast)
if [[ $way == kafka ]]; then build+=(--features kafka); fi

# Downloads wait for the network and the build for the processors, so both run at the same time.
setsid deploy/setup.sh all --for "$purpose" >"$logs/setup.log" 2>&1 8>&- &
setup_pid=$!
trap 'kill -TERM -- "-$setup_pid" 2>/dev/null || true' EXIT

tickcast=${TICKCAST:-}
if [[ -z $tickcast ]]; then
  echo "building the daemon, without the trainer; downloads are logged in $logs/setup.log ..."
  # Cargo says itself where it puts the executable; its progress goes to stderr and stays visible.
  tickcast=$(
    cargo build "${build[@]}" --message-format=json-render-diagnostics |
      python3 -c '
import json, sys
for message in map(json.loads, sys.stdin):
    if message.get("executable"):
        print(message["executable"])
'
  )
fi
if wait "$setup_pid"; then
  cat "$logs/setup.log"
else
  code=$?
  cat "$logs/setup.log" >&2
  exit "$code"
fi

feed_pid='' serve_pid='' watch_pid='' broker_pid='' signals=0

# Ctrl-C ends a sleep as well; that must not end the script (set -e), its trap decides.
pause() { sleep "$1" || true; }

is_alive() { [[ -n $1 ]] && kill -0 "$1" 2>/dev/null; }

# end PID: asks a process of ours to end, and makes it end when it does not.
end() {
  is_alive "$1" || return 0
  kill -TERM "$1" 2>/dev/null || true
  for ((i = 0; i < 100; i++)); do
    is_alive "$1" || return 0
    pause 0.1
  done
  kill -KILL "$1" 2>/dev/null || true
}

clean_up() {
  trap '' INT TERM HUP
  end "$watch_pid"
  end "$serve_pid"
  end "$feed_pid"
  end "$broker_pid"
  if [[ -n ${broker_data:-} ]]; then rm -rf "$broker_data"; fi
}
trap clean_up EXIT

# The first signal asks `watch` for its summary, which ends the demo; the next one ends it now.
on_signal() {
  signals=$((signals + 1))
  if ((signals > 1)) || ! is_alive "$watch_pid"; then exit 130; fi
  kill -INT "$watch_pid" 2>/dev/null || true
}
trap on_signal INT TERM HUP

# died NAME LOG
died() {
  echo "demo: tickcast $1 ended early; the end of $2:" >&2
  tail -n 20 "$2" >&2
  exit 70
}

# first_line FILE PID NAME LOG: waits until the process has written a line to the file.
first_line() {
  for ((i = 0; i < 1200; i++)); do
    # read succeeds only when the line is complete.
    if read -r line 2>/dev/null <"$1"; then
      return
    fi
    is_alive "$2" || died "$3" "$4"
    pause 0.1
  done
  fail "$EX_UNAVAILABLE" "tickcast $3 did not say its address within 120 s; see $4"
}

# A connection that succeeds means that somebody listens there already.
if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
  echo "port $port is taken, so a free one is used (DEMO_PORT chooses another)"
  port=0
fi

# feed OPTION...: plays the recorded days.
feed() {
  setsid "$tickcast" feed --input "$TICKCAST_TEST_DATA" \
    --columns symbol=Ticker,time=Date,high=High,low=Low,close='Adj Close',volume=Volume \
    --symbols AAPL,GOOG,IBM,MSFT --rate "$rate" "$@" \
    >"$logs/feed.address" 2>"$logs/feed.log" 8>&- &
  feed_pid=$!
}

# Two ports that are free now.
free_ports() {
  python3 -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(socket.getsockname()[1] for socket in sockets))
'
}

# java_of CLASS ARGUMENT...: something out of the broker's jars.
java_of() { java -Xmx384m -XX:+UseSerialGC -cp "$TICKCAST_KAFKA_JARS/*" "$@"; }

# One node on loopback that forgets everything when the demo ends.
start_broker() {
  local controller
  read -r broker_port controller < <(free_ports)
  broker_data=$logs/kafka
  rm -rf "$broker_data"
  mkdir -p "$broker_data"
  cat >"$broker_data/server.properties" <<TEXT
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:$broker_port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$broker_port
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:$controller
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$broker_data/data
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
TEXT
  local id
  id=$(java_of kafka.tools.StorageTool random-uuid 2>/dev/null | tail -n 1)
  java_of kafka.tools.StorageTool format -t "$id" -c "$broker_data/server.properties" \
    >"$logs/broker.log" 2>&1 || fail "$EX_UNAVAILABLE" "the broker's folder: see $logs/broker.log"
  setsid java -Xmx384m -XX:+UseSerialGC -cp "$TICKCAST_KAFKA_JARS/*" kafka.Kafka \
    "$broker_data/server.properties" >>"$logs/broker.log" 2>&1 8>&- &
  broker_pid=$!
  for ((i = 0; i < 1200; i++)); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$broker_port") 2>/dev/null; then return; fi
    is_alive "$broker_pid" || fail "$EX_UNAVAILABLE" "the broker ended early; see $logs/broker.log"
    pause 0.1
  done
  fail "$EX_UNAVAILABLE" "the broker did not listen within 120 s; see $logs/broker.log"
}

# scores URL: what the daemon's metrics say of each model, and what its bundle says of unseen days.
scores() {
  python3 - "$1" <<'PYTHON'
import json
import math
import re
import sys
import urllib.request

def read(path):
    with urllib.request.urlopen(sys.argv[1] + path, timeout=10) as answer:
        return answer.read().decode()


# In the order of the configuration.
versions = {model["name"]: model["model_version"] for model in json.loads(read("/v1/models"))["models"]}
models = {model: {} for model in versions}
words = {"1": "better than", "0": "undecided against", "-1": "worse than"}
for line in read("/metrics").splitlines():
    verdict = re.fullmatch(r'tickcast_verdict\{against="([^"]+)",model="([^"]+)"\} (\S+)', line)
    if verdict:
        models[verdict[2]]["verdict"] = f"{words.get(verdict[3], 'too early against')} {verdict[1]}"
    score = re.fullmatch(
        r'tickcast_(score\w+)\{(?:evidence="(\w+)",)?model="([^"]+)"(?:,over="weighted")?\} (\S+)', line
    )
    if score:
        name = f"{score[2]} {score[1]}" if score[2] else score[1]
        models[score[3]][name] = float(score[4])
heads = f"{'verdict':<24}  {'scored':>6}  {'unseen':>6}  {'skill':>6}  {'in its interval':>15}"
print(f"{'model':<18}  {heads}")
for model, scores in models.items():
    scored = sum(count for name, count in scores.items() if name.endswith(" scores_total"))
    unseen, skill = scores["unseen scores_total"], scores["score_skill"]
    inside = scores["score_coverage_ratio"]
    # Before the first score that counts there is no figure.
    skill = "-" if math.isnan(skill) else f"{skill:+.2f}"
    inside = "-" if math.isnan(inside) else f"{inside:.0%}"
    verdict = scores["verdict"]
    print(f"{model:<18}  {verdict:<24}  {scored:>6,.0f}  {unseen:>6,.0f}  {skill:>6}  {inside:>15}")
print("""
The verdict and skill compare a model with the best simple forecast that its bundle names. Skill is
1 - squared error / squared error of that one: 0 is no better. Verdict, skill and intervals are of
days that the models were not trained on. On such days the trainer found
(`tickcast model inspect models/NAME/VERSION`):
""")
for model, version in versions.items():
    with open(f"models/{model}/{version}/manifest.json", encoding="utf-8") as manifest:
        verdict = json.load(manifest)["verdict"]
    brief = re.sub(r" \([^)]*\)", "", verdict).split(";")[0]
    print(f"{model:<18}  {re.sub('^On .* forecasts the model ', '', brief)}")
PYTHON
}

# Each process has a session of its own (setsid), so that Ctrl-C reaches this script alone and
# the processes end in order.
rm -f "$logs/feed.address" "$logs/serve.address"
if [[ $way == kafka ]]; then
  echo "starting a Kafka broker ..."
  start_broker
  brokers=127.0.0.1:$broker_port
  feed --to "kafka://$brokers/ticks"
  config=config/demo-kafka.toml
  export TICKCAST__KAFKA__BROKERS=$brokers
else
  # The models need 144 days for their first forecast (`tickcast check` says it). They are history,
  # which the daemon asks for.
  feed --to ws://127.0.0.1:0 --exit-when-done --history 150
  first_line "$logs/feed.address" "$feed_pid" feed "$logs/feed.log"
  config=config/demo.toml
  export TICKCAST__SOURCE__URL=$line
  question='symbol={symbol}&from={from}&to={to}&limit={limit}'
  export TICKCAST__SOURCE__REST__URL="http://${line#ws://}/history?$question"
fi

TICKCAST__HTTP__BIND=127.0.0.1:$port \
  setsid "$tickcast" serve -c "$config" --address-file "$logs/serve.address" \
  >"$logs/serve.log" 2>&1 8>&- &
serve_pid=$!
first_line "$logs/serve.address" "$serve_pid" serve "$logs/serve.log"
daemon=$line
stream=ws://${line#http://}/v1/stream
if [[ $way == kafka ]]; then stream=kafka://$brokers/forecasts; fi

cat <<TEXT
metrics  $line/metrics
stream   $stream
logs     $logs/feed.log, $logs/serve.log

TEXT

setsid "$tickcast" watch "$stream" ${seconds:+--seconds "$seconds"} --summary <&0 8>&- &
watch_pid=$!

while is_alive "$watch_pid"; do
  is_alive "$serve_pid" || died serve "$logs/serve.log"
  if [[ -n $feed_pid ]] && ! is_alive "$feed_pid"; then
    wait "$feed_pid" || died feed "$logs/feed.log"
    feed_pid=''
    # The recording has ended: let the last forecasts through, then ask for the summary.
    pause 1
    kill -INT "$watch_pid" 2>/dev/null || true
  fi
  pause 0.2
done
# The answer of `watch` is the answer of the demo.
wait "$watch_pid"
echo
scores "$daemon" || echo "demo: $daemon/metrics could not be read" >&2

if [[ $way == kafka ]]; then
  end "$serve_pid"
  echo
  echo "kcat, from the topic \`forecasts\`:"
  kcat -C -b "$brokers" -t forecasts -e -q -f '%k\n' | sort | uniq -c |
    while read -r count symbol; do echo "  $symbol  $count forecasts"; done
fi
