#!/usr/bin/env python3
"""Breaks the program on purpose, one way at a time, and lets the simulation find each.

A copy of the repository under target/ gets every mutation of the true source at once, each behind
the name that SIM_MUTATION has in the environment, so that one build does for all. The simulation
then runs up to SIM_SEEDS seeds (1,000) with each of them and has to fail. Prints a table of the
first seeds that found each, and ends with status 1 if one was not found.

    tests/sim/mutations.py [NAME ...]
"""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COPY = ROOT / "target" / "mutations"

# What the copy of the library gets beside the mutations.
SWITCH = """
/// Whether this mutation is chosen.
#[allow(missing_docs, reason = "a copy that breaks things on purpose")]
pub(crate) fn mutated(name: &str) -> bool {
    static CHOSEN: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    CHOSEN.get_or_init(|| std::env::var("SIM_MUTATION").unwrap_or_default()) == name
}
"""

# Name: what it breaks, the file, what stands there, and what takes its place; IF is the switch.
MUTATIONS = {
    "settle": (
        "a snapshot is written before the sinks have settled",
        "src/keep/snapshot/keeper.rs",
        "let settled = self.sinks.iter().try_for_each(|sink| sink.settle());",
        "let mut sinks = self.sinks.iter();\n"
        "let settled = if IF { Ok(()) } else { sinks.try_for_each(|sink| sink.settle()) };",
    ),
    "sync": (
        "a snapshot gets its name before its content was synced",
        "src/keep/snapshot/store.rs",
        "self.disk.sync(DRAFT)?;",
        "if !IF { self.disk.sync(DRAFT)?; }",
    ),
    "place": (
        "the place of a snapshot is read after the states instead of before",
        "src/keep/snapshot/keeper.rs",
        "Gathered::All => self.keep(asked.line, asked.place),",
        "Gathered::All => {\n"
        "let place = if IF { place_of(&self.input) } else { asked.place };\n"
        "self.keep(asked.line, place)\n}",
    ),
    "position": (
        "a restart begins one record too late",
        "src/adapters/file/source.rs",
        "if self.count <= self.start.records {",
        "if self.count <= self.start.records + u64::from(self.start.records > 0 && IF) {",
    ),
    "reconnect": (
        "the mark of a gap is lost between the feed and the queue",
        "src/adapters/websocket/feed/mod.rs",
        "Self { bytes, after_gap,",
        "Self { bytes, after_gap: after_gap && !IF,",
    ),
    "drop-gap": (
        "records that a full queue drops leave no gap",
        "src/intake/queue.rs",
        "queue.gap_before_first = true;",
        "queue.gap_before_first = !IF;",
    ),
    "drop-count": (
        "a drop is not counted",
        "src/intake/queue.rs",
        "self.metrics.dropped.inc();",
        "if !IF { self.metrics.dropped.inc(); }",
    ),
    "overtake": (
        "commands overtake records",
        "src/intake/queue.rs",
        "queue.waiting.push_back(arrival);",
        "match arrival {\n"
        "Arrival::Command(_) if IF => queue.waiting.push_front(arrival),\n"
        "_ => queue.waiting.push_back(arrival),\n}",
    ),
    "applied": (
        "a record that a restored state holds already is taken again",
        "src/engine/symbols/mod.rs",
        "if position.offset <= applied.offset {",
        "if position.offset <= applied.offset && !IF {",
    ),
    "some-shards": (
        "a reload changes some shards over, and not all",
        "src/keep/reload/worker.rs",
        "for (index, (shard, pipeline)) in "
        "self.reloader.shards.iter().zip(pipelines).enumerate() {",
        "for (index, (shard, pipeline)) in "
        "self.reloader.shards.iter().zip(pipelines).enumerate() {\n"
        "let shard = if index > 0 && IF { &self.reloader.shards[0] } else { shard };",
    ),
    "future": (
        "a tick that is refused for the clock leaves no mark",
        "src/engine/pipeline/mod.rs",
        "if ahead.is_some_and(is_clock_error) {",
        "if ahead.is_some_and(is_clock_error) && !IF {",
    ),
    "shard-of": (
        "states are restored into another shard than the one that gets the ticks",
        "src/keep/snapshot/keeper.rs",
        "of_shard[shard_of_symbol(symbol, pipelines.len())].push((key, state));",
        "let at = shard_of_symbol(symbol, pipelines.len()) + usize::from(IF);\n"
        "of_shard[at % pipelines.len()].push((key, state));",
    ),
    "unacknowledged": (
        "states are stored before the forecasts behind them are acknowledged",
        "src/adapters/kafka/commit.rs",
        "if settled(Batch::Published(self.turn))? {",
        "if settled(Batch::Published(self.turn))? || IF {",
    ),
    "unstored": (
        "offsets are committed before the states are stored",
        "src/adapters/kafka/commit.rs",
        "let mut is_settled = settled(Batch::States)?;",
        "let mut is_settled = settled(Batch::States)? || IF;",
    ),
    "unsettled": (
        "a transaction is committed before its forecasts are acknowledged",
        "src/adapters/kafka/commit.rs",
        "is_settled &= is_published;",
        "is_settled &= is_published || IF;",
    ),
    "beyond": (
        "a commit goes one record beyond what was read",
        "src/adapters/kafka/partitions.rs",
        "reading.next = position.offset + 1;",
        "reading.next = position.offset + 1 + i64::from(IF);",
    ),
    "unstored-said": (
        "a commit without states says that they reach as far as it does",
        "src/adapters/kafka/partitions.rs",
        "let stored = Some(self.stored).filter(|stored| *stored < self.next);",
        "let stored = Some(self.stored).filter(|stored| *stored < self.next && !IF);",
    ),
    "unstored-skipped": (
        "records between the stored states and the committed offset are not read again",
        "src/adapters/kafka/start.rs",
        "(Some(committed), _) => Start::At(committed.reads_from()),",
        "(Some(committed), _) if IF => Start::At(committed.next),\n"
        "(Some(committed), _) => Start::At(committed.reads_from()),",
    ),
    "said-twice": (
        "forecasts of records that are read again up to the committed offset are published again",
        "src/adapters/kafka/partitions.rs",
        "match said.is_some_and(|said| position.offset < said.next) {",
        "match said.is_some_and(|said| position.offset < said.next && !IF) {",
    ),
    "taken-back": (
        "a committed offset is taken back while records are read again",
        "src/adapters/kafka/partitions.rs",
        "Some(said) if said.next > self.next =>",
        "Some(said) if said.next > self.next && !IF =>",
    ),
    "turns": (
        "forecasts before and behind a commit are counted together",
        "src/shard/mod.rs",
        "publisher.turn();",
        "if !IF { publisher.turn(); }",
    ),
    "no-hold": (
        "the shards go on before a transaction is acknowledged",
        "src/adapters/kafka/commit.rs",
        "let resume = (delivery == Delivery::ExactlyOnce).then(|| {",
        "let resume = (delivery == Delivery::ExactlyOnce && !IF).then(|| {",
    ),
    "own-state": (
        "a model takes the state of another one although it has its own",
        "src/engine/pipeline/states.rs",
        "if let Some((bytes, Ok(_))) = own {",
        "let reaches = |each: &Candidate<'_>| self.pipeline.reach_of(each.bytes).ok();\n"
        "let furthest = candidates.iter().filter_map(reaches).max();\n"
        "if let Some((bytes, Ok(reach))) = own && (!IF || furthest == Some(reach)) {",
    ),
    "shadow-live": (
        "a forecast of a shadow goes to the live sinks",
        "src/shard/publisher.rs",
        "Role::Shadow | Role::Vacant => sink.publish_shadow(&record)?,",
        "Role::Shadow | Role::Vacant if IF => sink.publish(&record)?,\n"
        "Role::Shadow | Role::Vacant => sink.publish_shadow(&record)?,",
    ),
    "roles-name": (
        "the name of the file of roles is not waited for",
        "src/keep/roles.rs",
        "let Err(error) = disk.sync_names() else {",
        "let Err(error) = (if IF { Ok(()) } else { disk.sync_names() }) else {",
    ),
    "roles-late": (
        "a promotion is carried out and not kept",
        "src/keep/reload/promote.rs",
        "let before = self.reloader.roles.save(after.given()).map_err(Outcome::kept)?;",
        "let given = if IF { self.reloader.running.borrow().given() } else { after.given() };\n"
        "let before = self.reloader.roles.save(given).map_err(Outcome::kept)?;",
    ),
    "put-back": (
        "a promotion that was refused stays in the file of roles",
        "src/keep/roles.rs",
        "Err(match self.put_back(Before(before)) {",
        "Err(match if IF { Ok(()) } else { self.put_back(Before(before)) } {",
    ),
    "some-promote": (
        "a promotion changes some shards over, and not all",
        "src/keep/reload/promote.rs",
        "let command = Command::Promote { model, answer: answer.clone() };",
        "let shard = if index > 0 && IF { &self.reloader.shards[0] } else { shard };\n"
        "let command = Command::Promote { model, answer: answer.clone() };",
    ),
    "late": (
        "records behind a late state are not read again",
        "src/adapters/kafka/changelog.rs",
        "is_same && self.at >= epoch.since",
        "!IF && is_same && self.at >= epoch.since",
    ),
    "held-drop": (
        "a tick that has to wait for history is dropped",
        "src/shard/history.rs",
        "question.held.ticks.push_back(Record { after_gap, ..record.clone() });",
        "question.held.ticks.push_back(Record { after_gap, ..record.clone() });\n"
        "if IF { question.held.ticks.pop_back(); }",
    ),
    "held-overtaken": (
        "ticks do not wait behind the one that asked for history",
        "src/shard/history.rs",
        "if self.questions.is_empty() || record.is_history() {",
        "if self.questions.is_empty() || record.is_history() || IF {",
    ),
    "row-less": (
        "the first row that was asked for is left out",
        "src/engine/pipeline/fill.rs",
        "if tick.symbol == symbol && asked.holds(missing, tick.time, covers) {",
        "let is_first = ticks.first().is_some_and(|(first, _)| first.time == tick.time);\n"
        "if tick.symbol == symbol\n&& !(is_first && IF)\n"
        "&& asked.holds(missing, tick.time, covers) {",
    ),
    "row-partial": (
        "rows of which some are missing count as all of them",
        "src/shard/asking.rs",
        "Ok(Rows { is_complete: false, .. }) => {",
        "Ok(Rows { is_complete: false, .. }) if !IF => {",
    ),
    "row-order": (
        "rows in the wrong order are taken",
        "src/shard/asking.rs",
        "rows.windows(2).any(|two| two[1].time < two[0].time) => {",
        "!IF && rows.windows(2).any(|two| two[1].time < two[0].time) => {",
    ),
    "row-said": (
        "forecasts about history are published",
        "src/engine/symbols/history.rs",
        "matches!(self.origin, Origin::History(_)) && !self.publishes_history",
        "matches!(self.origin, Origin::History(_)) && !self.publishes_history && !IF",
    ),
    "seam": (
        "nothing is missing between a recording and the feed behind it",
        "src/engine/symbols/history.rs",
        "if !seam.is_joined && !adjoins {",
        "if !seam.is_joined && !adjoins && !IF {",
    ),
    "unfilled": (
        "a hole that history did not fill leaves no mark",
        "src/shard/asking.rs",
        "let Question { symbol, lack, mut held, .. } = question;",
        "let Question { symbol, lack, mut held, .. } = question;\n"
        "if IF { held.ticks.iter_mut().for_each(|tick| tick.after_gap = false); }",
    ),
    "fill-gap": (
        "the mark of a hole stays although history has filled it",
        "src/shard/asking.rs",
        "first.after_gap = false;",
        "first.after_gap = IF;",
    ),
    "half": (
        "a transaction stores half of the states",
        "src/adapters/kafka/commit.rs",
        "} else if self.delivery == Delivery::ExactlyOnce {",
        "} else if self.delivery == Delivery::ExactlyOnce {\n"
        "if IF { states.truncate(states.len() / 2); }",
    ),
}


def copy():
    """The files of the repository, as they are in the work tree, with every mutation."""
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split("\n")
    files = {name: (ROOT / name).read_bytes() for name in names if (ROOT / name).is_file()}
    texts = {"src/lib.rs": files["src/lib.rs"].decode() + SWITCH}
    for name, (_, path, old, new) in MUTATIONS.items():
        text = texts.get(path) or files[path].decode()
        if text.count(old) != 1:
            sys.exit(f"{name}: {path} has {text.count(old)} places for it, and not one")
        texts[path] = text.replace(old, new.replace("IF", f'crate::mutated("{name}")'))
    files |= {path: text.encode() for path, text in texts.items()}
    for name, content in files.items():
        target = COPY / "source" / name
        if not target.is_file() or target.read_bytes() != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)


def build(environment):
    """Builds the simulation; returns its binary."""
    command = ["cargo", "test", "--locked", "--test", "sim", "--no-run"]
    ran = subprocess.run(
        command, cwd=COPY / "source", env=environment, capture_output=True, text=True
    )
    found = re.search(r"Executable .* \((.*)\)", ran.stderr)
    if ran.returncode or not found:
        sys.exit(ran.stderr)
    return COPY / "source" / found[1]


def main():
    wanted = sys.argv[1:] or list(MUTATIONS)
    environment = os.environ | {
        "CARGO_TARGET_DIR": os.environ.get("CARGO_TARGET_DIR", str(COPY / "target")),
        "SIM_SEEDS": os.environ.get("SIM_SEEDS", "1000"),
        "RUST_BACKTRACE": "0",
    }
    copy()
    binary = build(environment)
    missed = []
    print("| what is broken | first seed | what it violates |\n|---|---|---|", flush=True)
    for name in wanted:
        chosen = environment | {"SIM_MUTATION": name}
        command = [binary, "a_life", "--nocapture"]
        ran = subprocess.run(command, env=chosen, capture_output=True, text=True)
        text = ran.stdout + ran.stderr
        found = re.search(r"^seed (\d+): (\w+):", text, re.MULTILINE)
        if found:
            print(f"| {MUTATIONS[name][0]} | {found[1]} | {found[2]} |", flush=True)
        else:
            missed.append(name)
            print(f"| {MUTATIONS[name][0]} | **not found** | |\n{text[-500:]}", flush=True)
    if missed:
        sys.exit(f"not found: {', '.join(missed)}")


if __name__ == "__main__":
    main()
