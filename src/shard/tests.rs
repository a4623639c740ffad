//! Tests of a shard: everything is in its queue before it runs, on the thread of the test.

mod history;
mod lent;
mod restored;
mod rivals;
mod several;
mod shedding;

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use futures_util::FutureExt;

use super::command::{Command, CommitLine, Handed, Takes};
use super::test_support::{
    Log, MemorySink, PARTITION, Seen, line, pipeline, plain, queue, record, said, settings,
    shard_of,
};
use super::{Crew, CrewError, Shard, ShardError, TAKEN_AT_ONCE, Waiting};
use crate::core::domain::{DurationNanos, PartitionId, Reject};
use crate::engine::model::Bundle;
use crate::engine::model::manifest::Mode;
use crate::engine::pipeline::{Pipeline, PipelineSettings, StoredState};
use crate::engine::symbols::{EnginePolicy, EngineTally, Inherited};
use crate::engine::test_support::{
    NullRuntime, WARM_UP_STEPS, WINDOW_STEPS, Weights, bundle, draft, manifest,
};
use crate::intake::{IntakeSender, Record};
use crate::ops::logging::is_power_of_ten;
use crate::ports::sink::SinkClosed;

/// Minutes of a symbol that have no forecast.
const UNFORECAST: i64 = (WARM_UP_STEPS + WINDOW_STEPS - 1) as i64;

fn sliding() -> Bundle {
    bundle(&[Mode::Full, Mode::Sliding])
}

/// Another version with the same rows.
fn other_version() -> Bundle {
    let mut manifest = manifest(&[Mode::Full, Mode::Sliding]);
    manifest.version = "2".to_owned();
    draft(manifest, Weights { bias: 0.2, ..Weights::default() }).into_bundle().unwrap()
}

/// A shard in the making.
struct Trial {
    intake: IntakeSender<Command>,
    shard: Shard,
    log: Log,
}

impl Trial {
    /// A shard with the sinks `first` and `second`.
    fn new() -> Self {
        Self::of(1000, |log| ["first", "second"].map(|name| MemorySink::new(name, log)).into())
    }

    fn of(drain_records_max: usize, sinks: impl FnOnce(&Log) -> Vec<MemorySink>) -> Self {
        let log = Log::default();
        let sinks = sinks(&log).into_iter().map(MemorySink::boxed).collect();
        let (intake, receiver) = queue(10_000);
        let shard = shard_of(pipeline(&sliding()), receiver, sinks, drain_records_max);
        Self { intake, shard, log }
    }

    fn deliver(&self, record: Record) {
        let left = self.intake.record_within(record, Duration::ZERO).unwrap();
        assert_eq!(left, None, "there is room");
    }

    /// Delivers the prices of a symbol.
    fn prices(&self, symbol: &str, minutes: std::ops::Range<i64>) {
        minutes.for_each(|minute| self.deliver(record(symbol, minute)));
    }

    fn gap(&self) {
        self.intake.gap().now_or_never().unwrap().unwrap();
    }

    fn command<T>(
        &self,
        command: impl FnOnce(std::sync::mpsc::Sender<T>) -> Command,
    ) -> Receiver<T> {
        let (answer, answers) = channel();
        self.intake.command(command(answer)).unwrap();
        answers
    }

    fn commit(&self) -> Receiver<Vec<StoredState>> {
        self.commit_that(Takes::Changed)
    }

    /// A commit that takes these states.
    fn commit_that(&self, takes: Takes) -> Receiver<Vec<StoredState>> {
        self.command(|answer| Command::Commit(CommitLine { answer, resume: None, takes }))
    }

    /// Runs the shard over everything that was delivered.
    fn run(self) -> (Result<EngineTally, ShardError>, Log) {
        let (tallies, log) = self.run_several();
        (tallies.map(only), log)
    }

    /// As [`Trial::run`], of several models.
    fn run_several(self) -> (Result<Vec<EngineTally>, ShardError>, Log) {
        let Self { intake, shard, log } = self;
        drop(intake);
        (shard.run(), log)
    }
}

/// What became of everything in the only model.
fn only(tallies: Vec<EngineTally>) -> EngineTally {
    let [tally] = tallies.try_into().unwrap();
    tally
}

/// What the model says about the prices of a symbol.
fn expected(bundle: &Bundle, symbol: &str, minutes: std::ops::Range<i64>) -> Vec<(String, String)> {
    said(pipeline(bundle), &minutes.map(|minute| record(symbol, minute)).collect::<Vec<_>>())
}

/// The words of a log, in short.
fn words(seen: &[Seen]) -> Vec<String> {
    let word = |seen: &Seen| match seen {
        Seen::Forecast { symbol, .. } => symbol.clone(),
        Seen::Shadow { symbol, .. } => format!("shadow {symbol}"),
        Seen::Score { symbol, .. } => format!("score {symbol}"),
        Seen::DeadLetter { reason, .. } => reason.label().to_owned(),
        Seen::Turn => "turn".to_owned(),
        Seen::Settled => "settled".to_owned(),
        Seen::Note => "note".to_owned(),
    };
    seen.iter().map(word).collect()
}

/// All parts of an answer; the last one must say that there are no others.
fn all(handed: &Receiver<Handed>) -> Vec<StoredState> {
    let mut states = Vec::new();
    loop {
        match handed.try_recv().unwrap() {
            Handed::Part(part) => {
                assert!(part.len() <= TAKEN_AT_ONCE, "{} at once", part.len());
                states.extend(part);
            }
            Handed::All(label) => {
                assert_eq!(label, pipeline(&sliding()).label());
                assert!(handed.try_recv().is_err(), "something follows the last word");
                return states;
            }
        }
    }
}

/// What a pipeline says that goes on from stored states.
fn resumed(states: Vec<StoredState>, records: &[Record]) -> Vec<(String, String)> {
    let mut pipeline = pipeline(&sliding());
    let stored: Vec<_> =
        states.into_iter().map(|state| (state.symbol, state.bytes.unwrap().into())).collect();
    let restored = pipeline.restore(Some(PARTITION), &stored).unwrap();
    assert_eq!((restored.symbol_count, restored.cold), (stored.len(), Vec::<String>::new()));
    said(pipeline, records)
}

/// A trial whose symbols leave after a silence of 16 minutes, with their states kept.
fn expiring() -> Trial {
    let symbol_ttl = DurationNanos::from_seconds(16 * 60);
    let policy = EnginePolicy { symbol_ttl, ..EnginePolicy::default() };
    let settings = PipelineSettings { policy, ..settings() };
    let mut pipeline = Pipeline::build(&sliding(), &NullRuntime, &settings).unwrap();
    pipeline.engine_mut().keep_departures();
    let log = Log::default();
    let (intake, receiver) = queue(10_000);
    // One record at a time, so that a snapshot is taken before the next record.
    let shard = shard_of(pipeline, receiver, vec![MemorySink::new("only", &log).boxed()], 1);
    Trial { intake, shard, log }
}

#[test]
fn a_commit_that_takes_no_states_leaves_them_for_the_next_one() {
    let trial = Trial::of(64, |log| vec![MemorySink::new("only", log)]);
    trial.prices("A", 0..6);
    let without = trial.commit_that(Takes::Nothing);
    trial.prices("B", 0..1);
    let changed = trial.commit_that(Takes::Changed);
    let none = trial.commit_that(Takes::Changed);
    let everything = trial.commit_that(Takes::Everything);
    let (outcome, log) = trial.run();
    outcome.unwrap();
    let taken = |answers: &Receiver<Vec<StoredState>>| {
        let states = answers.try_recv().unwrap();
        states.into_iter().map(|state| state.symbol).collect::<Vec<_>>()
    };
    assert_eq!(taken(&without), [""; 0]);
    assert_eq!(taken(&changed), ["A", "B"]);
    assert_eq!(taken(&none), [""; 0]);
    assert_eq!(taken(&everything), ["A", "B"]);
    let turns = words(&log.of("only")).iter().filter(|word| *word == "turn").count();
    assert_eq!(turns, 4, "forecasts are counted by commits, whatever these take");
}

#[test]
fn a_commit_and_a_snapshot_tell_of_symbols_that_have_left() {
    for by_snapshot in [false, true] {
        let trial = expiring();
        let taken = |trial: &Trial| {
            if by_snapshot {
                Err(trial.command(|answer| Command::Snapshot { answer }))
            } else {
                Ok(trial.commit())
            }
        };
        trial.prices("A", 0..4);
        let first = taken(&trial);
        trial.prices("B", 0..60);
        let second = taken(&trial);
        trial.prices("B", 60..61);
        let third = taken(&trial);
        let (tally, _) = trial.run();
        let tally = tally.unwrap();
        assert_eq!((tally.expired, tally.rejects.total()), (1, 0));
        let [first, second, third] = [first, second, third].map(|answer| {
            let states = match answer {
                Ok(commit) => commit.try_recv().unwrap(),
                Err(snapshot) => all(&snapshot),
            };
            let told = |state: StoredState| {
                (state.symbol, state.partition.is_some(), state.bytes.is_some())
            };
            states.into_iter().map(told).collect::<Vec<_>>()
        });
        let (a, b) = ("A".to_owned(), "B".to_owned());
        assert_eq!(first, [(a.clone(), true, true)]);
        assert_eq!(second, [(a, true, false), (b.clone(), true, true)], "in the same taking");
        assert_eq!(third, [(b, true, true)]);
    }
}

#[test]
fn every_sink_gets_every_forecast_in_the_order_of_the_sinks() {
    let trial = Trial::new();
    for minute in 0..6 {
        trial.deliver(record("A", minute));
        trial.deliver(record("B", minute));
    }
    let (outcome, log) = trial.run();
    let names: Vec<_> = log.entries().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["first", "second"].repeat(2 * (6 - UNFORECAST) as usize));
    assert_eq!(log.of("first"), log.of("second"));
    for symbol in ["A", "B"] {
        let of_symbol = |(name, _): &(String, String)| name == symbol;
        let forecasts: Vec<_> = log.forecasts("first").into_iter().filter(of_symbol).collect();
        assert_eq!(forecasts, expected(&sliding(), symbol, 0..6));
    }
    let EngineTally { ticks, steps, forecasts, .. } = outcome.unwrap();
    assert_eq!((ticks, steps, forecasts), (12, 12, 6));
    let bundle = sliding();
    let sha256 = &bundle.manifest().onnx_sha256;
    let is_of_model = |seen| matches!(seen, Seen::Forecast { model, .. } if model == *sha256);
    assert!(log.of("first").into_iter().all(is_of_model));
}

#[test]
fn how_many_records_are_taken_at_once_changes_no_byte() {
    let runs = [1, 2, 7, 1000].map(|drain_records_max| {
        let trial = Trial::of(drain_records_max, |log| vec![MemorySink::new("only", log)]);
        for minute in 0..9 {
            trial.deliver(record("A", minute));
            if minute == 5 {
                trial.gap();
            }
            trial.deliver(record("B", minute));
        }
        let (outcome, log) = trial.run();
        (outcome.unwrap(), log.forecasts("only"))
    });
    for run in &runs[1..] {
        let by_symbol = |(_, forecasts): &(EngineTally, Vec<(String, String)>)| {
            let mut forecasts = forecasts.clone();
            forecasts.sort_by(|(a, _), (b, _)| a.cmp(b));
            forecasts
        };
        assert_eq!((&run.0, by_symbol(run)), (&runs[0].0, by_symbol(&runs[0])));
    }
}

#[test]
fn a_gap_marks_the_windows_behind_it() {
    let trial = Trial::new();
    trial.prices("A", 0..5);
    trial.gap();
    trial.prices("A", 5..9);
    // A record that says so itself marks its own symbol alone.
    trial.prices("B", 0..8);
    trial.deliver(Record { after_gap: true, ..record("B", 8) });
    trial.prices("A", 9..10);
    let (outcome, log) = trial.run();
    outcome.unwrap();
    let is_gapped = |symbol: &str| -> Vec<bool> {
        let of_symbol = |(name, _): &(String, String)| name == symbol;
        let forecasts = log.forecasts("first").into_iter().filter(of_symbol);
        forecasts.map(|(_, bytes)| bytes.contains(r#""quality":"gapped""#)).collect()
    };
    // Those of minutes 3 and 4 are whole; those of 5, 6 and 7 hold the gap.
    assert_eq!(is_gapped("A"), [false, false, true, true, true, false, false]);
    assert_eq!(is_gapped("B"), [false, false, false, false, false, true]);
}

#[test]
fn what_came_before_a_commit_is_published_before_the_turn() {
    let trial = Trial::new();
    trial.prices("A", 0..UNFORECAST + 1);
    let first = trial.commit();
    let nothing = trial.commit();
    trial.prices("B", 0..UNFORECAST + 1);
    let second = trial.commit();
    let (outcome, log) = trial.run();
    outcome.unwrap();
    for sink in ["first", "second"] {
        assert_eq!(words(&log.of(sink)), ["A", "turn", "turn", "B", "turn"]);
    }
    let symbols = |states: &[StoredState]| -> Vec<_> {
        states.iter().map(|state| (state.symbol.clone(), state.partition)).collect()
    };
    let states = first.try_recv().unwrap();
    assert_eq!(symbols(&states), [("A".to_owned(), Some(PARTITION))]);
    assert_eq!(nothing.try_recv().unwrap(), [], "nothing has changed since");
    let second = second.try_recv().unwrap();
    assert_eq!(symbols(&second), [("B".to_owned(), Some(PARTITION))]);
    // The states hold exactly what was published: they go on with the next forecast.
    let next = resumed(states, &[record("A", UNFORECAST), record("A", UNFORECAST + 1)]);
    assert_eq!(next, expected(&sliding(), "A", 0..UNFORECAST + 2)[1..]);
}

#[test]
fn a_commit_holds_the_shard_until_it_is_resumed() {
    let trial = Trial::of(1000, |log| vec![MemorySink::new("only", log)]);
    let (resume, resumed) = channel();
    let answers = trial.command(|answer| {
        Command::Commit(CommitLine { answer, resume: Some(resumed), takes: Takes::Changed })
    });
    trial.prices("A", 0..UNFORECAST + 1);
    let log = trial.log.clone();
    let shard = std::thread::spawn(move || trial.run());
    answers.recv().unwrap();
    // The shard is past the turn, and nothing behind the line goes out.
    log.note("committed");
    resume.send(()).unwrap();
    shard.join().unwrap().0.unwrap();
    let names: Vec<_> = log.entries().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["only", "committed", "only"]);
}

#[test]
fn a_shard_that_is_driven_by_turns_returns_while_a_commit_holds_it() {
    let mut trial = Trial::of(1000, |log| vec![MemorySink::new("only", log)]);
    let (resume, resumed) = channel();
    trial.prices("A", 0..UNFORECAST + 1);
    let answers = trial.command(|answer| {
        Command::Commit(CommitLine { answer, resume: Some(resumed), takes: Takes::Changed })
    });
    trial.prices("A", UNFORECAST + 1..UNFORECAST + 3);
    for _ in 0..3 {
        assert!(trial.shard.turn(Waiting::Returns).unwrap());
        assert_eq!(trial.log.forecasts("only").len(), 1, "nothing behind the line goes out");
    }
    assert_eq!(answers.try_recv().unwrap().len(), 1);
    drop(resume);
    // What came behind the line is taken before anything new.
    trial.prices("A", UNFORECAST + 3..UNFORECAST + 4);
    while trial.log.forecasts("only").len() < 4 {
        assert!(trial.shard.turn(Waiting::Returns).unwrap());
    }
    assert_eq!(trial.log.forecasts("only"), expected(&sliding(), "A", 0..UNFORECAST + 4));
    drop(trial.intake);
    assert!(!trial.shard.turn(Waiting::Returns).unwrap());
    assert_eq!(only(trial.shard.finish()).forecasts, 4);
}

#[test]
fn another_model_goes_on_with_the_windows() {
    let trial = Trial::new();
    trial.prices("A", 0..6);
    trial.prices("B", 0..1);
    let other = Box::new(pipeline(&other_version()));
    let answers =
        trial.command(|answer| Command::Swap { model: 0, windows_of: 0, pipeline: other, answer });
    trial.prices("A", 6..9);
    trial.prices("B", 1..5);
    let (outcome, log) = trial.run();
    let (inherited, before) = answers.try_recv().unwrap();
    assert_eq!(inherited, Inherited { kept: 2, rescaled: 0, cold: 0 });
    assert_eq!(before.manifest().version, "1");
    let of = |bundle: &Bundle, minutes: std::ops::Range<i64>| {
        let first = minutes.start;
        expected(bundle, "A", 0..minutes.end).split_off((first - UNFORECAST) as usize)
    };
    let mut all = of(&sliding(), UNFORECAST..6);
    all.extend(of(&other_version(), 6..9));
    all.extend(expected(&other_version(), "B", 0..5));
    assert_eq!(log.forecasts("first"), all);
    let models = log.of("second").into_iter().map(|seen| match seen {
        Seen::Forecast { bytes, model, .. } => (bytes.contains(r#""model_version":"2""#), model),
        other => panic!("{other:?}"),
    });
    let sha256 = |bundle: &Bundle| bundle.manifest().onnx_sha256.clone();
    let expected = [(false, sha256(&sliding())), (true, sha256(&other_version()))];
    assert_eq!(models.collect::<BTreeSet<_>>(), BTreeSet::from(expected));
    let EngineTally { ticks, forecasts, .. } = outcome.unwrap();
    assert_eq!((ticks, forecasts), (14, 8), "the counts go on");
}

#[test]
fn a_snapshot_hands_every_state_over_exactly_once() {
    // A few records at once, so that the snapshot is taken between batches.
    let trial = Trial::of(16, |log| vec![MemorySink::new("only", log)]);
    let symbols: Vec<_> = (0..3 * TAKEN_AT_ONCE + 5).map(|index| format!("S{index}")).collect();
    symbols.iter().for_each(|symbol| trial.prices(symbol, 0..UNFORECAST));
    let handed = trial.command(|answer| Command::Snapshot { answer });
    // All of them move on while the snapshot is taken.
    symbols.iter().for_each(|symbol| trial.prices(symbol, UNFORECAST..UNFORECAST + 1));
    let (outcome, log) = trial.run();
    outcome.unwrap();
    let states = all(&handed);
    let names: Vec<_> = states.iter().map(|state| state.symbol.clone()).collect();
    assert_eq!(names, symbols, "each once, the longest waiting first");
    // Each state knows what it holds: read again from the place of the snapshot, every symbol
    // says what it has said.
    let again: Vec<_> = symbols
        .iter()
        .flat_map(|symbol| (UNFORECAST - 1..UNFORECAST + 2).map(|minute| record(symbol, minute)))
        .collect();
    let next = resumed(states, &again);
    let newest: Vec<_> = symbols
        .iter()
        .map(|symbol| expected(&sliding(), symbol, 0..UNFORECAST + 2).remove(1))
        .collect();
    for forecast in &newest {
        assert!(next.contains(forecast), "{forecast:?}");
    }
    assert_eq!(log.forecasts("only").len(), symbols.len());
}

#[test]
fn the_last_states_are_handed_over_when_the_shard_ends() {
    let trial = Trial::new();
    let (keeper, kept) = channel();
    let trial = Trial { shard: trial.shard.with_keeper(keeper), ..trial };
    trial.prices("A", 0..UNFORECAST + 1);
    trial.prices("B", 0..1);
    let (outcome, _) = trial.run();
    outcome.unwrap();
    let states = all(&kept);
    let names: Vec<_> = states.iter().map(|state| &*state.symbol).collect();
    assert_eq!(names, ["A", "B"]);
    let next = resumed(states, &[record("A", UNFORECAST + 1)]);
    assert_eq!(next, expected(&sliding(), "A", 0..UNFORECAST + 2)[1..]);
}

#[test]
fn clear_forgets_every_symbol_and_the_connected_sink() {
    let trial = Trial::of(1000, |log| vec![MemorySink::new("own", log)]);
    let connected = MemorySink::new("connected", &trial.log).boxed();
    trial.intake.command(Command::Connect(connected)).unwrap();
    trial.prices("A", 0..UNFORECAST + 1);
    let answers = trial.command(|answer| Command::Clear { answer });
    let sampled = trial.command(|answer| Command::Sample { model: 0, count_max: 9, answer });
    trial.prices("A", 0..UNFORECAST + 1);
    let (outcome, log) = trial.run();
    outcome.unwrap();
    answers.try_recv().unwrap();
    assert_eq!(sampled.try_recv().unwrap(), []);
    let once = expected(&sliding(), "A", 0..UNFORECAST + 1);
    assert_eq!(log.forecasts("connected"), once);
    assert_eq!(log.forecasts("own"), [once.clone(), once].concat(), "from cold, the same again");
    let names: Vec<_> = log.entries().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["connected", "own", "own"], "the sink of the session goes first");
}

#[test]
fn a_partition_is_evicted_sampled_and_restored() {
    let trial = Trial::of(1000, |log| vec![MemorySink::new("only", log)]);
    trial.prices("A", 0..UNFORECAST);
    let sampled = trial.command(|answer| Command::Sample { model: 0, count_max: 1, answer });
    let evict = |partition| trial.command(|answer| Command::Evict { partition, answer });
    let answers = [evict(PartitionId(1)), evict(PARTITION)];
    trial.prices("A", 0..1);
    evict(PARTITION);
    let before = Trial::new();
    before.prices("A", 0..UNFORECAST);
    let commit = before.commit();
    before.run().0.unwrap();
    let stored = commit.try_recv().unwrap().into_iter();
    let stored = stored.map(|state| (state.symbol, state.bytes.unwrap().into())).collect();
    let restored =
        trial.command(|answer| Command::Restore { partition: PARTITION, stored, answer });
    trial.prices("A", UNFORECAST..UNFORECAST + 2);
    let (outcome, log) = trial.run();
    outcome.unwrap();
    answers.iter().for_each(|answer| answer.try_recv().unwrap());
    assert_eq!(sampled.try_recv().unwrap().len(), 1);
    assert_eq!(restored.try_recv().unwrap().unwrap().symbol_count, 1);
    assert_eq!(log.forecasts("only"), expected(&sliding(), "A", 0..UNFORECAST + 2));
}

#[test]
fn a_closed_sink_ends_the_shard_and_no_later_one_gets_its_forecast() {
    let trial = Trial::of(1000, |log| {
        let [first, second, third] =
            ["first", "second", "third"].map(|name| MemorySink::new(name, log));
        vec![first, second.with_room(1), third]
    });
    let (keeper, kept) = channel();
    let trial = Trial { shard: trial.shard.with_keeper(keeper), ..trial };
    trial.prices("A", 0..UNFORECAST + 4);
    let (outcome, log) = trial.run();
    let closed = outcome.unwrap_err();
    assert!(matches!(closed, ShardError::Closed(SinkClosed("second"))), "{closed}");
    let counts = ["first", "second", "third"].map(|name| log.forecasts(name).len());
    assert_eq!(counts, [2, 1, 1]);
    assert!(kept.try_recv().is_err(), "states behind what was not published are not kept");
}

#[test]
fn a_refused_record_reaches_every_sink_with_its_reason() {
    let trial = Trial::of(1000, |log| vec![MemorySink::new("own", log)]);
    let connected = MemorySink::new("connected", &trial.log).boxed();
    trial.intake.command(Command::Connect(connected)).unwrap();
    trial.prices("A", 0..UNFORECAST + 1);
    trial.deliver(plain("no tick"));
    trial.deliver(record("A", 0));
    trial.deliver(plain(line("A", 1)));
    trial.deliver(plain(r#"{"symbol":"A","time":9000000}"#));
    let (outcome, log) = trial.run();
    let tally = outcome.unwrap();
    assert_eq!((tally.rejects.total(), tally.repeats), (3, 1), "a repeat is not refused");
    assert_eq!(tally.rejects.get(Reject::MissingField), 1);
    for sink in ["connected", "own"] {
        let dead: Vec<_> = log
            .of(sink)
            .into_iter()
            .filter_map(|seen| match seen {
                Seen::DeadLetter { bytes, reason } => Some((bytes, reason)),
                _ => None,
            })
            .collect();
        let bytes: Vec<_> = dead.iter().map(|(bytes, _)| &**bytes).collect();
        let refused = ["no tick", &line("A", 1), r#"{"symbol":"A","time":9000000}"#];
        assert_eq!(bytes, refused, "{sink}");
        assert_eq!([dead[1].1, dead[2].1], [Reject::OutOfOrder, Reject::MissingField]);
    }
}

#[test]
fn scores_follow_the_forecasts_of_their_batch() {
    let mut settings = settings();
    settings.keeps_scores = true;
    let log = Log::default();
    let (intake, receiver) = queue(100);
    let pipeline = Pipeline::build(&sliding(), &NullRuntime, &settings).unwrap();
    let sinks = vec![MemorySink::new("only", &log).boxed()];
    let trial = Trial { shard: shard_of(pipeline, receiver, sinks, 1), intake, log };
    trial.prices("A", 0..UNFORECAST + 3);
    let (outcome, log) = trial.run();
    outcome.unwrap();
    assert_eq!(words(&log.of("only")), ["A", "A", "score A", "A", "score A"]);
}

#[tokio::test]
async fn a_crew_sums_what_its_shards_did_and_reports_the_first_failure() {
    let trials = [Trial::new(), Trial::new()];
    let mut shards = Vec::new();
    for (trial, symbol) in trials.into_iter().zip(["A", "B"]) {
        trial.prices(symbol, 0..5);
        shards.push(trial.shard);
        drop(trial.intake);
    }
    let mut crew = Crew::start(shards, None).unwrap();
    let tally = crew.finished().await.unwrap();
    let [tally] = tally else { panic!("one model") };
    assert_eq!((tally.ticks, tally.forecasts), (10, 2 * (5 - UNFORECAST) as u64));

    // The one that goes on does not hide the one that failed.
    let good = Trial::new();
    let bad = Trial::of(1, |log| vec![MemorySink::new("closed", log).with_room(0)]);
    bad.prices("A", 0..5);
    let mut crew = Crew::start(vec![good.shard, bad.shard], None).unwrap();
    let failed = crew.finished().await.unwrap_err();
    let closed = SinkClosed("closed");
    assert!(matches!(failed, CrewError::Shard(ShardError::Closed(sink)) if sink == closed));
    drop(good.intake);
}

#[test]
fn reports_are_sparse() {
    let reported: Vec<_> = (0..2000).filter(|count| is_power_of_ten(*count)).collect();
    assert_eq!(reported, [1, 10, 100, 1000]);
}
