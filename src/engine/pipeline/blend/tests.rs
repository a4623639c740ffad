//! A blend says the same however its records come: in batches of any size, after a restart at any
//! place, and with history before them.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use bytes::Bytes;

use super::*;
use crate::core::domain::{DurationNanos, PartitionId, Position, SymbolPatterns};
use crate::core::forecast::Target;
use crate::core::history::Missing;
use crate::engine::model::manifest::Mode;
use crate::engine::pipeline::{Asked, PipelineSettings, Role, StoredState, StreamModel};
use crate::engine::symbols::Haste;
use crate::engine::test_support::{NullRuntime, Weights, draft, manifest, price, time};

const SYMBOLS: [&str; 3] = ["A", "B", "C"];

const PARTITION: PartitionId = PartitionId(0);

/// A model of three steps, or of more.
fn pipeline(name: &str, bias: f32, window_steps: u32) -> Pipeline {
    let mut manifest = manifest(&[Mode::Full, Mode::Sliding]);
    (manifest.name, manifest.window_steps) = (name.to_owned(), window_steps);
    let weights = Weights { bias, ..Weights::default() };
    let bundle = draft(manifest, weights).into_bundle().unwrap();
    Pipeline::build(&bundle, &NullRuntime, &PipelineSettings::of_tests()).unwrap()
}

/// Two live models, the second of which wants two symbols of three and has a longer window; a
/// shadow; and the blend of all of them, which comes first.
fn pipelines() -> Pipelines {
    let names = ["one", "two", "next"].map(Arc::<str>::from);
    let [one, two, next] = [("one", 0.05, 3), ("two", -0.2, 5), ("next", 0.3, 3)]
        .map(|(name, bias, window_steps)| pipeline(name, bias, window_steps));
    let mut mix = pipeline("one", 0.05, 3);
    let members = names.iter().zip([&one, &two, &next]);
    mix.blend("mix", BlendMembers::of(members));
    let patterns = |symbols: &[&str]| SymbolPatterns::new(symbols.iter().copied()).unwrap();
    let model = |name: &str, symbols, seat, role, pipeline| StreamModel {
        name: name.into(),
        symbols,
        seat,
        role,
        pipeline,
    };
    let models = vec![
        model("mix", patterns(&[]), 2, Role::Blend, mix),
        model("one", patterns(&[]), 0, Role::Live, one),
        model("two", patterns(&["A", "B"]), 1, Role::Live, two),
        model("next", patterns(&[]), 0, Role::Shadow, next),
    ];
    Pipelines::of(models, &PipelineSettings::of_tests()).unwrap()
}

/// Records of all symbols, as many times as there are minutes.
fn records(minutes: i64) -> Vec<String> {
    let record = |minute: i64, symbol: &str| {
        let (millis, close) = (time(minute).as_nanos() / 1_000_000, price(symbol, minute));
        format!(r#"{{"symbol":"{symbol}","time":{millis},"close":{close}}}"#)
    };
    let each = |minute| SYMBOLS.map(|symbol| record(minute, symbol));
    (0..minutes).flat_map(each).collect()
}

/// Says what waits; keeps the forecasts of the blend.
fn flush(pipeline: &mut Pipeline, said: &mut Vec<String>) {
    pipeline.infer(Haste::Throughput).unwrap();
    let is_blend = pipeline.post().role == Role::Blend;
    let Ok(_) = pipeline.emit(|_, bytes| {
        if is_blend {
            said.push(String::from_utf8(bytes.to_vec()).unwrap());
        }
        Ok::<_, Infallible>(())
    });
    pipeline.engine_mut().advance().unwrap();
}

/// Takes a batch, the first record of which has this offset.
fn take(pipelines: &mut Pipelines, batch: &[String], first: usize, said: &mut Vec<String>) {
    for (at, record) in batch.iter().enumerate() {
        let position = Position { partition: PARTITION, offset: (first + at) as i64 };
        let Ok(taken) = pipelines.take(
            record.as_bytes(),
            Some(position),
            None,
            || {},
            |pipeline| {
                flush(pipeline, said);
                Ok::<_, Infallible>(())
            },
        );
        assert_eq!(taken, None);
    }
    catch_up(pipelines, said);
}

/// Brings every model to where the stream is.
fn catch_up(pipelines: &mut Pipelines, said: &mut Vec<String>) {
    pipelines.of_role_mut(Role::Live).for_each(|live| flush(live, said));
    let mut flushes = |pipeline: &mut Pipeline| {
        flush(pipeline, said);
        Ok::<_, Infallible>(())
    };
    let Ok(()) = pipelines.take_deferred(&mut flushes);
    let Ok(()) = pipelines.of_role_mut(Role::Shadow).try_for_each(&mut flushes);
    let Ok(()) = pipelines.take_blends(flushes);
}

/// What the blend says of records in batches of a size.
fn said_of(pipelines: &mut Pipelines, records: &[String], batch: usize) -> Vec<String> {
    let mut said = Vec::new();
    for (at, records) in records.chunks(batch).enumerate() {
        take(pipelines, records, at * batch, &mut said);
    }
    said
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort_unstable();
    lines
}

#[test]
fn a_blend_says_the_same_in_batches_of_any_size() {
    let records = records(40);
    let expected = sorted(said_of(&mut pipelines(), &records, 1));
    // A window of three behind a step that warms the features up.
    assert_eq!(expected.len(), SYMBOLS.len() * 37);
    for batch in [2, 3, 7, 50, records.len()] {
        let said = said_of(&mut pipelines(), &records, batch);
        assert_eq!(sorted(said), expected, "batches of {batch}");
    }
    let weights = |line: &String| {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(record["model"], "mix");
        let weights = record["weights"].as_object().unwrap().clone();
        let of_c = record["symbol"] == "C";
        assert!(!of_c || !weights.contains_key("two"), "a model sleeps where it is not wanted");
        weights.values().map(|weight| weight.as_f64().unwrap()).sum::<f64>()
    };
    // Each weight is rounded by itself.
    assert!(expected.iter().map(weights).all(|sum| (sum - 1.0).abs() < 1e-3));
    let all: String = expected.concat();
    for expert in ["two\":", "next\":", "one:recalibrated\":", "average\":", "seasonal\":"] {
        assert!(all.contains(expert), "{expert}");
    }
}

/// The states of a stream that was stopped, by their keys.
type Stored = BTreeMap<String, Vec<u8>>;

fn keep(stored: &mut Stored, state: StoredState) {
    let key = state.key().into_owned();
    stored.insert(key, state.bytes.unwrap());
}

/// What the blend says after a restart with these states, where the input is read again from a
/// record on.
fn said_again(stored: &Stored, records: &[String], from: usize) -> Vec<String> {
    let mut again = pipelines();
    let states: Vec<_> =
        stored.iter().map(|(key, bytes)| (key.clone(), Bytes::from(bytes.clone()))).collect();
    let restored = again.restore(Some(PARTITION), &states).unwrap();
    assert_eq!(restored.cold, [""; 0]);
    let mut said = Vec::new();
    take(&mut again, &records[from..], from, &mut said);
    said
}

#[test]
fn a_snapshot_that_takes_several_batches_changes_no_bit() {
    let records = records(30);
    let all: BTreeSet<_> = said_of(&mut pipelines(), &records, 5).into_iter().collect();
    for stop in [2, 4, 6] {
        for taken_at_once in [1, 2, 5] {
            let (mut stopped, mut stored) = (pipelines(), Stored::new());
            let (mut said, mut left) = (Vec::new(), Vec::new());
            let mut end = 0;
            for (at, batch) in records.chunks(5).enumerate() {
                take(&mut stopped, batch, 5 * at, &mut said);
                end = 5 * (at + 1);
                if at == stop {
                    left = stopped.begin_taking();
                }
                if at >= stop {
                    stopped
                        .take_changed(taken_at_once, &mut left, |state| keep(&mut stored, state));
                    if left.iter().all(|left| *left == 0) {
                        break;
                    }
                }
            }
            assert_eq!(stored.len(), 11, "every state of four models");
            // Read again from where the snapshot began.
            let again = said_again(&stored, &records, 5 * (stop + 1));
            let unsaid: Vec<_> = again.iter().filter(|line| !all.contains(*line)).collect();
            assert!(unsaid.is_empty(), "{stop} {taken_at_once}: {unsaid:#?}");
            assert!(again.len() >= records.len() - end, "nothing is left out");
        }
    }
}

#[test]
fn a_commit_of_which_a_part_is_lost_changes_no_bit() {
    let records = records(30);
    let all: BTreeSet<_> = said_of(&mut pipelines(), &records, 6).into_iter().collect();
    let (mut stopped, mut said) = (pipelines(), Vec::new());
    let mut commit = |range: std::ops::Range<usize>, said: &mut Vec<String>| {
        take(&mut stopped, &records[range.clone()], range.start, said);
        let mut states = Vec::new();
        stopped.take_all_changed(|state| states.push(state));
        states
    };
    let mut before = Stored::new();
    commit(0..40, &mut said).into_iter().for_each(|state| keep(&mut before, state));
    let states = commit(40..61, &mut said);
    assert_eq!(states.len(), 11);
    for durable in 0..=states.len() {
        let mut stored = before.clone();
        states[..durable].iter().for_each(|state| keep(&mut stored, state.clone()));
        let again = said_again(&stored, &records, 40);
        let unsaid: Vec<_> = again.iter().filter(|line| !all.contains(*line)).collect();
        assert!(unsaid.is_empty(), "{durable} of {}: {unsaid:#?}", states.len());
        let last = |lines: &[String]| sorted(lines[lines.len() - 3..].to_vec());
        let whole: Vec<_> = said_of(&mut pipelines(), &records, 6);
        assert_eq!(last(&again), last(&whole));
    }
}

#[test]
fn history_before_a_stream_gives_the_weights_of_a_replay() {
    let lines = |minutes: std::ops::Range<i64>| -> Vec<String> {
        let of_a = |minute: i64| records(minute + 1).swap_remove(3 * minute as usize);
        minutes.map(of_a).collect()
    };
    // The first forecast is that of minute 3.
    let expected = said_of(&mut pipelines(), &lines(0..30), 4).split_off(17);
    let mut live = pipelines();
    let rows = lines(0..20);
    let rows: Vec<_> = rows.iter().map(String::as_bytes).collect();
    let asked = Asked { symbol: "A", missing: Missing::Warm, time: None, after_gap: false };
    let covers = DurationNanos::from_seconds(60).unwrap();
    let mut said = Vec::new();
    let Ok(used) = live.fill(&asked, &rows, covers, |pipeline| {
        flush(pipeline, &mut said);
        Ok::<_, Infallible>(())
    });
    assert_eq!(used.unwrap(), 20);
    catch_up(&mut live, &mut said);
    assert_eq!(said, [""; 0], "history is not published");
    let mut found = Vec::new();
    take(&mut live, &lines(20..30), 0, &mut found);
    assert_eq!(found, expected);
}

#[test]
fn a_list_of_other_members_is_another_blend() {
    let names = ["one", "two"].map(Arc::<str>::from);
    let [one, two] = [("one", 0.05), ("two", -0.2)].map(|(name, bias)| pipeline(name, bias, 3));
    let blend = |members: &[(&Arc<str>, &Pipeline)]| {
        let mut mix = pipeline("one", 0.05, 3);
        mix.blend("mix", BlendMembers::of(members.iter().copied()));
        (mix.manifest().version.clone(), mix.label().identities, mix.experts().to_vec())
    };
    let both = [(&names[0], &one), (&names[1], &two)];
    let (version, identities, experts) = blend(&both);
    assert_eq!(version.len(), VERSION_DIGITS);
    let expected = ["one", "two", "one:recalibrated", "two:recalibrated"];
    assert_eq!(experts[..4], expected);
    assert_eq!(experts[4..], ["persistence", "drift", "average", "seasonal"]);
    let (other_version, other_identities, _) = blend(&both[..1]);
    assert!(version != other_version && identities != other_identities);
    assert_eq!(blend(&both).0, version);
}

#[test]
fn models_that_are_not_alike_are_not_blended() {
    let first = manifest(&[Mode::Full]);
    let problem = |other: &Manifest| blend_problem(&[("a", &first), ("b", other)]);
    assert_eq!(problem(&first), None);
    let ahead = Manifest { horizon_steps: 2, ..first.clone() };
    let mut target = first.clone();
    target.target.kind = Target::NextLogReturn;
    let mut steps = first.clone();
    steps.step.interval_seconds = 61;
    for (other, expected) in [
        (ahead, "`b` looks another number of steps ahead than `a`"),
        (target, "`b` forecasts another target than `a`"),
        (steps, "`b` has other steps than `a`"),
    ] {
        let found = problem(&other).unwrap();
        assert!(found.starts_with(expected), "{found}");
    }
    let named = blend_problem(&[("average", &first)]).unwrap();
    assert!(named.contains("is the name of a baseline"), "{named}");
    let many = vec![("a", &first); MEMBERS_MAX + 1];
    assert!(blend_problem(&many).unwrap().contains("at most 8"), "too many");
    assert!(blend_problem(&[]).is_some());
}
