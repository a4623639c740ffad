#!/usr/bin/env python3
"""Breaks the program on purpose, one way at a time, and lets the simulation find each.

Each mutation replaces one piece of the true source, in a copy of the repository under target/.
The simulation then runs up to SIM_SEEDS seeds (1,000) and has to fail. Prints a table of the first
seeds that found each, and ends with status 1 if one was not found.

    tests/sim/mutations.py [NAME ...]
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COPY = ROOT / "target" / "mutations"

# Name: what it breaks, the file, what stands there, and what takes its place.
MUTATIONS = {
    "settle": (
        "a snapshot is written before the sinks have settled",
        "src/keep/snapshot/keeper.rs",
        "let settled = self.sinks.iter().try_for_each(|sink| sink.settle());",
        "let settled: io::Result<()> = Ok(());",
    ),
    "sync": (
        "a snapshot gets its name before its content was waited for, and one damaged is taken",
        "src/keep/snapshot/store.rs",
        "            self.disk.sync(DRAFT)?;\n",
        "",
    ),
    "place": (
        "the place of a snapshot is read after the states instead of before",
        "src/keep/snapshot/keeper.rs",
        "Gathered::All => self.keep(asked.line, asked.place),",
        "Gathered::All => { let place = place_of(&self.input); self.keep(asked.line, place) }",
    ),
    "position": (
        "a restart begins one record too late",
        "src/adapters/file/source.rs",
        "if self.count <= self.start.records {",
        "if self.start.records > 0 && self.count <= self.start.records + 1 {",
    ),
    "reconnect": (
        "the mark of a gap is lost on the way from the feed to the queue",
        "src/adapters/websocket/feed/mod.rs",
        "Self { bytes, position: None, received: None, after_gap }",
        "Self { bytes, position: None, received: None, after_gap: after_gap && false }",
    ),
    "drop-gap": (
        "records that a full queue drops leave no gap",
        "src/intake/queue.rs",
        "        queue.gap_before_first = true;\n        true\n",
        "        true\n",
    ),
    "drop-count": (
        "a drop is not counted",
        "src/intake/queue.rs",
        "            self.metrics.dropped.inc();\n",
        "",
    ),
    "overtake": (
        "commands overtake records",
        "src/intake/queue.rs",
        "        queue.waiting.push_back(arrival);\n",
        "        match arrival {\n            Arrival::Command(_) => queue.waiting.push_front(arrival),\n"
        "            _ => queue.waiting.push_back(arrival),\n        }\n",
    ),
    "applied": (
        "a state is restored without its position",
        "src/engine/symbols/mod.rs",
        "if position.offset <= applied.offset {",
        "if position.offset <= applied.offset && false {",
    ),
    "some-shards": (
        "a reload changes some shards over",
        "src/keep/reload/worker.rs",
        "for (index, (shard, pipeline)) in self.shards.iter().zip(pipelines).enumerate() {",
        "for (index, (shard, pipeline)) in self.shards.iter().zip(pipelines).enumerate() {\n"
        "            let shard = if index > 0 { &self.shards[0] } else { shard };",
    ),
    "future": (
        "a tick that is refused for the clock leaves no mark",
        "src/engine/pipeline/mod.rs",
        "                    self.engine.mark_gap_before(&tick.symbol, position);\n",
        "",
    ),
    "shard-of": (
        "states are restored into another shard than the one that gets the ticks",
        "src/keep/snapshot/keeper.rs",
        "of_shard[shard_of_symbol(&symbol, pipelines.len())].push((symbol, state));",
        "of_shard[shard_of_symbol(&symbol, pipelines.len() + 1) % pipelines.len()]\n"
        "                .push((symbol, state));",
    ),
    "unacknowledged": (
        "states are stored before the forecasts behind them are acknowledged",
        "src/adapters/kafka/commit.rs",
        "CommitPhase::Publishing { states } if settled(Batch::Published(turn))? => {",
        "CommitPhase::Publishing { states } if settled(Batch::Published(turn)).is_ok() => {",
    ),
    "unstored": (
        "offsets are committed before the states are stored",
        "src/adapters/kafka/commit.rs",
        "CommitPhase::Storing | CommitPhase::Waiting(_) if settled(Batch::States)? => {",
        "CommitPhase::Storing | CommitPhase::Waiting(_) if settled(Batch::States).is_ok() => {",
    ),
    "beyond": (
        "a commit goes one record beyond what was read",
        "src/adapters/kafka/partitions.rs",
        "reading.next = position.offset + 1;",
        "reading.next = position.offset + 2;",
    ),
    "turns": (
        "forecasts before and behind a commit count together for the other one",
        "src/adapters/kafka/publisher.rs",
        "            Self::Even => Self::Odd,\n            Self::Odd => Self::Even,\n",
        "            Self::Even => Self::Odd,\n            Self::Odd => Self::Odd,\n",
    ),
    "no-hold": (
        "the shards go on while a transaction is committed",
        "src/adapters/kafka/commit.rs",
        "let resume = (delivery == Delivery::ExactlyOnce).then(|| {",
        "let resume = (delivery != delivery).then(|| {",
    ),
    "state-limit": (
        "states that are ahead of what a transaction committed are taken",
        "src/adapters/kafka/commit.rs",
        "                } else if delivery == Delivery::ExactlyOnce {\n"
        "                    store(cluster, &states, &points);\n",
        "                } else if delivery == Delivery::ExactlyOnce {\n"
        "                    store(cluster, &states[..states.len() / 2], &points);\n",
    ),
}


def copy():
    """The files of the repository, as they are in the work tree."""
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split("\n")
    for name in filter(None, names):
        source, target = ROOT / name, COPY / "source" / name
        if source.is_file() and (not target.is_file() or source.read_bytes() != target.read_bytes()):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def simulate(environment):
    command = ["cargo", "test", "--locked", "--test", "sim", "a_life"]
    ran = subprocess.run(
        command, cwd=COPY / "source", env=environment, capture_output=True, text=True, timeout=1200
    )
    text = ran.stdout + ran.stderr
    if "could not compile" in text:
        sys.exit(f"a mutation does not compile:\n{text[-3000:]}")
    found = re.search(r"^seed (\d+): (.*)$", text, re.MULTILINE)
    return ran.returncode, found


def main():
    wanted = sys.argv[1:] or list(MUTATIONS)
    environment = os.environ | {
        "CARGO_TARGET_DIR": os.environ.get("CARGO_TARGET_DIR", str(COPY / "target")),
        "SIM_SEEDS": os.environ.get("SIM_SEEDS", "1000"),
        "RUST_BACKTRACE": "0",
    }
    missed = []
    print("| what is broken | first seed | what it says |\n|---|---|---|", flush=True)
    for name in wanted:
        what, path, old, new = MUTATIONS[name]
        copy()
        file = COPY / "source" / path
        text = file.read_text()
        if text.count(old) != 1:
            sys.exit(f"{name}: {path} has {text.count(old)} places for it, and not one")
        file.write_text(text.replace(old, new))
        status, found = simulate(environment)
        file.write_text(text)
        if status == 0 or not found:
            missed.append(name)
            print(f"| {what} | **not found** | |", flush=True)
        else:
            says = found[2].split(":")[0][:40]
            print(f"| {what} | {found[1]} | {says} |", flush=True)
    if missed:
        sys.exit(f"not found: {', '.join(missed)}")


if __name__ == "__main__":
    main()
