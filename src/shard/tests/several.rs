//! Tests of several models in one shard: each says what it says alone, shadows speak last and
//! elsewhere, and a promotion is one moment of each symbol.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use super::*;
use crate::core::domain::{Member, Position, SymbolPatterns};
use crate::core::features::{ColumnRange, Scaler};
use crate::engine::pipeline::{Pipelines, Role, StreamModel, StreamTally, parts_of_key};
use crate::engine::symbols::{Haste, Withheld};
use crate::engine::test_support::price;
use crate::shard::test_support::shard_with;

/// A model named `null`, of this version.
pub(super) fn of_version(version: &str, modes: &[Mode]) -> Bundle {
    let mut manifest = manifest(modes);
    manifest.version = version.to_owned();
    let bias = 0.01 * version.len() as f32 + 0.02 * f32::from(version.as_bytes()[0] % 7);
    draft(manifest, Weights { bias, ..Weights::default() }).into_bundle().unwrap()
}

/// A model of another name that reads the extra field `name` beside the price.
pub(super) fn of_field(name: &str) -> Bundle {
    let mut manifest = manifest(&[Mode::Full]);
    manifest.name = format!("of-{name}");
    manifest.features = ["close", name].map(str::to_owned).into();
    manifest.extra_fields = vec![name.to_owned()];
    let range = |feature: &str, min, max| ColumnRange { feature: feature.to_owned(), min, max };
    let columns = vec![range("close", 0.0, 200.0), range(name, 0.0, 1000.0)];
    manifest.scaler = Scaler::Minmax { low: -1.0, high: 1.0, columns };
    draft(manifest, Weights::default()).into_bundle().unwrap()
}

pub(super) fn pipeline_of(bundle: &Bundle) -> Pipeline {
    Pipeline::build(bundle, &NullRuntime, &settings()).unwrap()
}

pub(super) fn model(name: &str, role: Role, seat: usize, bundle: &Bundle) -> StreamModel {
    let symbols = SymbolPatterns::default();
    StreamModel { name: name.into(), symbols, seat, role, pipeline: pipeline_of(bundle) }
}

pub(super) fn several(models: Vec<StreamModel>) -> Pipelines {
    Pipelines::of(models, &settings()).unwrap()
}

/// A live model, its shadow, and another live one.
pub(super) fn three() -> Pipelines {
    several(vec![
        model("a", Role::Live, 0, &of_version("1", &[Mode::Full, Mode::Sliding])),
        model("a-next", Role::Shadow, 0, &of_version("2", &[Mode::Full, Mode::Sliding])),
        model("b", Role::Live, 1, &of_version("33", &[Mode::Full])),
    ])
}

/// A shard of these models with one sink.
pub(super) fn trial(pipelines: Pipelines, drain_records_max: usize) -> Trial {
    let log = Log::default();
    let (intake, receiver) = queue(10_000);
    let sinks = vec![MemorySink::new("sink", &log).boxed()];
    let shard = shard_with(pipelines, receiver, sinks, drain_records_max);
    Trial { intake, shard, log }
}

/// The forecasts of each version, as symbol and bytes in their order; those of shadows apart.
pub(super) fn by_version(
    log: &Log,
) -> (BTreeMap<String, Vec<String>>, BTreeMap<String, Vec<String>>) {
    let (mut live, mut shadows) = (BTreeMap::new(), BTreeMap::new());
    for seen in log.of("sink") {
        let (of, bytes) = match seen {
            Seen::Forecast { bytes, .. } => (&mut live, bytes),
            Seen::Shadow { bytes, .. } => (&mut shadows, bytes),
            _ => continue,
        };
        of.entry(version_in(&bytes)).or_insert_with(Vec::new).push(bytes);
    }
    (live, shadows)
}

fn version_in(forecast: &str) -> String {
    let forecast: serde_json::Value = serde_json::from_str(forecast).unwrap();
    forecast["model_version"].as_str().unwrap().to_owned()
}

/// What a model says alone, in the order of the records.
fn alone(bundle: &Bundle, records: &[Record]) -> Vec<String> {
    said(pipeline_of(bundle), records).into_iter().map(|(_, bytes)| bytes).collect()
}

#[test]
fn each_model_says_what_it_says_alone_and_shadows_speak_last() {
    let bundles = [
        of_version("1", &[Mode::Full, Mode::Sliding]),
        of_version("2", &[Mode::Full, Mode::Sliding]),
        of_version("33", &[Mode::Full]),
    ];
    let records: Vec<_> =
        (0..9).flat_map(|minute| ["A", "B"].map(|symbol| record(symbol, minute))).collect();
    for drain_records_max in [1, 5, 1000] {
        let trial = trial(three(), drain_records_max);
        records.iter().for_each(|record| trial.deliver(record.clone()));
        let (tallies, log) = trial.run_several();
        let (live, shadows) = by_version(&log);
        // Batches tell nothing apart: a symbol's forecasts are in order, and so are all of them.
        let sorted = |mut lines: Vec<String>| {
            lines.sort_unstable();
            lines
        };
        for (bundle, found) in bundles.iter().zip([&live["1"], &shadows["2"], &live["33"]]) {
            assert_eq!(sorted(found.clone()), sorted(alone(bundle, &records)));
        }
        assert_eq!((live.len(), shadows.len()), (2, 1), "no shadow among the live ones");
        let [first, shadow, other] = tallies.unwrap().try_into().unwrap();
        assert_eq!((first.ticks, shadow.ticks, other.ticks), (18, 18, 18));
        assert_eq!(shadow.forecasts, 2 * (9 - UNFORECAST) as u64);
        if drain_records_max == 1000 {
            let entries = log.of("sink");
            let is_live = |seen: &Seen| matches!(seen, Seen::Forecast { .. });
            let last = entries.iter().rposition(is_live).unwrap();
            let first = entries.iter().position(|seen| matches!(seen, Seen::Shadow { .. }));
            assert_eq!(first, Some(last + 1), "the whole batch before the first shadow");
        }
    }
}

#[test]
fn a_shard_that_is_late_sheds_its_shadows_and_nothing_else() {
    let of = |age_max| {
        let mut trial = trial(three(), 4);
        trial.shard = trial.shard.shedding_behind(age_max);
        trial.prices("A", 0..20);
        let (tallies, log) = trial.run_several();
        (tallies.unwrap(), log)
    };
    let (calm, calm_log) = of(None);
    // Every record is older than nothing.
    let (late, late_log) = of(Some(Duration::ZERO));
    let all = (20 - UNFORECAST) as u64;
    assert_eq!([calm[0].forecasts, calm[1].forecasts, calm[2].forecasts], [all; 3]);
    assert_eq!([late[0].forecasts, late[2].forecasts], [all; 2]);
    // Of the last batch, behind which nothing waits, it may not be known when it came.
    let (said, shed) = (late[1].forecasts, late[1].withheld.get(Withheld::Shed));
    assert!(said + shed == all && said <= 4, "{said} and {shed} of {all}");
    assert_eq!(by_version(&calm_log).0, by_version(&late_log).0, "the live ones say the same");
    let (calm, late) = (by_version(&calm_log).1, by_version(&late_log).1);
    let known: BTreeSet<_> = calm.values().flatten().cloned().collect();
    let without_count = |forecast: &String| match forecast.split_once(",\"shed_steps\":") {
        Some((forecast, _)) => format!("{forecast}}}"),
        None => forecast.clone(),
    };
    let mut late = late.values().flatten().map(without_count);
    assert!(late.all(|forecast| known.contains(&forecast)), "the same bits but for the count");
}

#[test]
fn twenty_promotions_and_a_hundred_swaps_lose_double_and_mix_nothing() {
    let modes = &[Mode::Full, Mode::Sliding];
    let (first, second) = (of_version("1", modes), of_version("2", modes));
    let trial = trial(
        several(vec![model("a", Role::Live, 0, &first), model("b", Role::Shadow, 0, &second)]),
        7,
    );
    const MINUTES: i64 = 240;
    let symbols = ["A", "B", "C"];
    let (mut live, mut expected_live) = (0, Vec::new());
    let mut swaps = Vec::new();
    for minute in 0..MINUTES {
        for symbol in symbols {
            trial.deliver(record(symbol, minute));
            expected_live.push((symbol.to_owned(), minute, ["1", "2"][live]));
        }
        if minute % 12 == 5 {
            live = 1 - live;
            drop(trial.command(|answer| Command::Promote { model: live, answer }));
        }
        if minute % 12 != 0 && minute % 2 == 0 {
            // Another pipeline of the same model takes over, whichever role it has.
            let model = (minute / 2 % 2) as usize;
            let pipeline = Box::new(pipeline_of([&first, &second][model]));
            swaps.push(trial.command(|answer| Command::Swap {
                model,
                windows_of: model,
                pipeline,
                answer,
            }));
        }
    }
    assert_eq!((swaps.len(), MINUTES / 12), (100, 20));
    let records: Vec<_> =
        (0..MINUTES).flat_map(|minute| symbols.map(|symbol| record(symbol, minute))).collect();
    let (tallies, log) = trial.run_several();
    assert_eq!(tallies.unwrap().iter().map(|tally| tally.ticks).collect::<Vec<_>>(), [720, 720]);
    let place = |forecast: &str| {
        let forecast: serde_json::Value = serde_json::from_str(forecast).unwrap();
        let text = |name: &str| forecast[name].as_str().unwrap().to_owned();
        (text("symbol"), text("as_of"), text("model_version"))
    };
    // Of each symbol and step one live forecast, of the model that was live then; the other model
    // said the rest as a shadow; and each has the bytes of a replay.
    let of_version = |version: &str, bundle: &Bundle| {
        let all = alone(bundle, &records);
        assert_eq!(all.len(), symbols.len() * (MINUTES - UNFORECAST) as usize);
        let by_place = |line: String| ((place(&line).0, place(&line).1, version.to_owned()), line);
        all.into_iter().map(by_place).collect::<Vec<_>>()
    };
    let all: BTreeMap<_, _> =
        of_version("1", &first).into_iter().chain(of_version("2", &second)).collect();
    let (live, shadows) = by_version(&log);
    let told = |of: &BTreeMap<String, Vec<String>>| {
        of.values().flatten().map(|line| place(line)).collect::<Vec<_>>()
    };
    let (mut live_told, shadows_told) = (told(&live), told(&shadows));
    for line in live.values().chain(shadows.values()).flatten() {
        assert_eq!(all.get(&place(line)), Some(line));
    }
    assert_eq!(live_told.len() + shadows_told.len(), all.len());
    let distinct: BTreeSet<_> = live_told.iter().chain(&shadows_told).collect();
    assert_eq!(distinct.len(), all.len(), "none twice");
    let minute_of = |minute: i64| crate::engine::test_support::time(minute).to_string();
    let mut expected: Vec<_> = expected_live
        .into_iter()
        .filter(|(_, minute, _)| *minute >= UNFORECAST)
        .map(|(symbol, minute, version)| (symbol, minute_of(minute), version.to_owned()))
        .collect();
    expected.sort_unstable();
    live_told.sort_unstable();
    assert_eq!(live_told, expected, "the live model of that moment and no other");
}

#[test]
fn a_record_is_used_where_any_live_model_takes_it_and_refused_where_none_does() {
    let mut wind = model("wind", Role::Live, 1, &of_field("wind"));
    wind.symbols = SymbolPatterns::new(["A", "W*"]).unwrap();
    let mut calm = model("plain", Role::Live, 0, &sliding());
    calm.symbols = SymbolPatterns::new(["A"]).unwrap();
    let trial = trial(several(vec![calm, wind]), 10);
    let line = |symbol: &str, minute: i64, more: &str| {
        let (time, close) = (minute * 60_000, price(symbol, minute));
        plain(format!(r#"{{"symbol":"{symbol}","time":{time},"close":{close}{more}}}"#))
    };
    for minute in 0..3 {
        // One takes it and the other lacks its field.
        trial.deliver(line("A", minute, ""));
        // The only one that wants it lacks its field.
        trial.deliver(line("W", minute, ""));
        trial.deliver(line("W2", minute, r#","wind":3.5"#));
        // No model wants it.
        trial.deliver(line("other", minute, r#","wind":3.5"#));
        trial.deliver(plain("{"));
    }
    let expected = {
        let mut tally = StreamTally { ticks: 15, used: 6, unwanted: 3, ..StreamTally::default() };
        for _ in 0..3 {
            tally.rejects.add(Reject::MissingField);
            tally.rejects.add(Reject::Malformed);
        }
        tally
    };
    let Trial { intake, mut shard, log } = trial;
    drop(intake);
    while shard.turn(Waiting::Sleeps).unwrap() {}
    assert_eq!(*shard.stream_tally(), expected);
    let tallies: Vec<_> = shard.tallies().cloned().collect();
    // Each was given its symbols, and what is no tick.
    assert_eq!((tallies[0].ticks, tallies[1].ticks), (3 + 3, 3 * 3 + 3));
    assert_eq!(tallies[0].rejects.total(), 3);
    assert_eq!(tallies[1].rejects.get(Reject::MissingField), 6);
    let dead = log.of("sink").into_iter().filter_map(|seen| match seen {
        Seen::DeadLetter { bytes, reason } => Some((bytes.contains("\"W\""), reason)),
        _ => None,
    });
    let dead: Vec<_> = dead.collect();
    assert_eq!(dead, [(true, Reject::MissingField), (false, Reject::Malformed)].repeat(3));
}

#[test]
fn models_of_different_fields_read_their_own() {
    let bundles = [of_field("wind"), of_field("sun")];
    let mut pipelines = several(vec![
        model("wind", Role::Live, 0, &bundles[0]),
        model("sun", Role::Live, 1, &bundles[1]),
    ]);
    let records: Vec<_> = (0..8)
        .map(|minute: i64| {
            let (time, wind, sun) = (minute * 60_000, minute * 7 % 13, 500 - minute);
            let text = format!(
                r#"{{"symbol":"A","time":{time},"close":{},"sun":{sun},"wind":{wind}}}"#,
                price("A", minute)
            );
            plain(text)
        })
        .collect();
    let mut said = [Vec::new(), Vec::new()];
    for Record { bytes, .. } in &records {
        let Ok(refused) = pipelines.take(bytes, None, None, || {}, |_| Ok::<_, Infallible>(()));
        assert_eq!(refused, None);
        for (pipeline, said) in pipelines.each_mut().zip(&mut said) {
            pipeline.infer(Haste::Latency).unwrap();
            let Ok(_) = pipeline.emit(|_, bytes| {
                said.push(String::from_utf8(bytes.to_vec()).unwrap());
                Ok::<_, Infallible>(())
            });
            pipeline.engine_mut().advance().unwrap();
        }
    }
    for (bundle, said) in bundles.iter().zip(said) {
        assert_eq!(said, alone(bundle, &records));
        assert_eq!(said.len(), 8 - WINDOW_STEPS + 1);
    }
    // A reason names the field as the stream knows it.
    let lacks = plain(r#"{"symbol":"B","time":0,"close":1,"wind":1}"#);
    let mut sun = several(vec![
        model("wind", Role::Shadow, 0, &bundles[0]),
        model("sun", Role::Live, 0, &bundles[1]),
    ]);
    let Ok(refused) = sun.take(&lacks.bytes, None, None, || {}, |_| Ok::<_, Infallible>(()));
    let member = refused.unwrap().member;
    let Some(Member::Field(field)) = member else { panic!("{member:?}") };
    assert_eq!(sun.schema().name(field), "sun");
}

/// The states of all models after so many minutes of two symbols.
pub(super) fn stored(mut pipelines: Pipelines, minutes: i64) -> Vec<StoredState> {
    for minute in 0..minutes {
        for symbol in ["A", "B"] {
            let record = record(symbol, minute);
            take(&mut pipelines, &record);
        }
    }
    crate::shard::test_support::moved(&mut pipelines)
}

/// Has every model take a record; returns what the models say, by version.
pub(super) fn take(pipelines: &mut Pipelines, record: &Record) -> Vec<(String, String)> {
    let mut said = Vec::new();
    let Record { bytes, position, .. } = record;
    let mut flush = |pipeline: &mut Pipeline| {
        pipeline.infer(Haste::Latency).unwrap();
        let Ok(_) = pipeline.emit(|_, bytes| {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            said.push((version_in(&text), text));
            Ok::<_, Infallible>(())
        });
        pipeline.engine_mut().advance().unwrap();
        Ok::<_, Infallible>(())
    };
    let Ok(_) = pipelines.take(bytes, *position, None, || {}, &mut flush);
    let Ok(()) = pipelines.take_deferred(&mut flush);
    pipelines.each_mut().for_each(|pipeline| {
        let Ok(()) = flush(pipeline);
    });
    said
}

pub(super) fn pairs(states: &[StoredState]) -> Vec<(String, bytes::Bytes)> {
    let pair = |state: &StoredState| Some((state.key().into_owned(), state.bytes.clone()?.into()));
    states.iter().filter_map(pair).collect()
}

#[test]
fn states_are_kept_by_model_and_symbol_and_come_back_to_theirs() {
    let states = stored(three(), 6);
    let keys: Vec<_> = states.iter().map(|state| state.key().into_owned()).collect();
    let of = |model: &str| ["A", "B"].map(|symbol| format!("{model}\t{symbol}"));
    // Those of shadows go first; see `Pipelines::take_all_changed`.
    assert_eq!(keys, [of("a-next"), of("a"), of("b")].concat());
    let mut restored = three();
    let outcome = restored.restore(Some(PARTITION), &pairs(&states)).unwrap();
    assert_eq!((outcome.symbol_count, outcome.cold), (2, Vec::new()), "of three models each");
    let mut whole = three();
    (0..6).for_each(|minute| {
        take(&mut whole, &record("A", minute));
    });
    for minute in 4..9 {
        // What was in the states is a repeat for every model.
        let said = take(&mut restored, &record("A", minute));
        let expected = if minute < 6 { Vec::new() } else { take(&mut whole, &record("A", minute)) };
        assert_eq!(said, expected, "minute {minute}");
        assert_eq!(said.len(), if minute < 6 { 0 } else { 3 });
    }
    assert!(crate::shard::test_support::moved(&mut restored).len() == 3, "A moved in each");
}

#[test]
fn states_of_before_are_those_of_the_model_that_made_them_and_their_keys_end() {
    let modes = &[Mode::Full, Mode::Sliding];
    let (old, next) = (of_version("1", modes), of_version("2", modes));
    let alone = stored(Pipelines::new(pipeline_of(&old), &settings()), 6);
    assert!(alone.iter().all(|state| state.model.is_none()));
    // The same model under a name, beside a version that knows how to read its states.
    let mut shadow = model("next", Role::Shadow, 0, &next);
    shadow.pipeline.know(old.manifest());
    let mut pipelines = several(vec![model("now", Role::Live, 0, &old), shadow]);
    let outcome = pipelines.restore(Some(PARTITION), &pairs(&alone)).unwrap();
    assert_eq!((outcome.symbol_count, outcome.translated_count), (2, 2));
    assert_eq!(outcome.cold, Vec::<String>::new());
    let said = take(&mut pipelines, &record("A", 6));
    let versions: Vec<_> = said.iter().map(|(version, _)| version.as_str()).collect();
    assert_eq!(versions, ["1", "2"], "both go on with their windows");
    // All of it is stored again, and what was stored under the old keys ends behind it.
    let moved = crate::shard::test_support::moved(&mut pipelines);
    let told: Vec<_> =
        moved.iter().map(|state| (state.key().into_owned(), state.bytes.is_some())).collect();
    let (ends, states): (Vec<_>, Vec<_>) = told.iter().cloned().partition(|(_, has)| !has);
    assert_eq!(ends, [("A".to_owned(), false), ("B".to_owned(), false)]);
    assert_eq!(states.len(), 4);
    assert_eq!(told[4..], ends, "behind the states that take their place");
    assert!(moved.iter().all(|state| state.partition == Some(PARTITION)));
    // And back: what was stored by name is that of the only model.
    let mut only = Pipelines::new(pipeline_of(&old), &settings());
    let outcome = only.restore(Some(PARTITION), &pairs(&moved)).unwrap();
    assert_eq!((outcome.symbol_count, outcome.cold), (2, Vec::new()));
    assert_eq!(take(&mut only, &record("A", 6)), Vec::new(), "it holds that record");
    let back = crate::shard::test_support::moved(&mut only);
    let ends = back.iter().filter(|state| state.bytes.is_none()).map(|state| state.key());
    let ends: BTreeSet<_> = ends.map(|key| parts_of_key(&key).0.unwrap().to_owned()).collect();
    assert_eq!(ends, ["next".to_owned(), "now".to_owned()].into());
}

#[test]
fn of_two_states_of_others_the_one_that_reaches_further_is_taken() {
    let bundle = of_version("1", &[Mode::Full]);
    let early = stored(Pipelines::new(pipeline_of(&bundle), &settings()), 4);
    let late = stored(several(vec![model("now", Role::Live, 0, &bundle)]), 7);
    for (name, first) in [("now", 7), ("other", 7)] {
        let mut pipelines = several(vec![model(name, Role::Live, 0, &bundle)]);
        let both = [pairs(&early), pairs(&late)].concat();
        assert_eq!(pipelines.restore(Some(PARTITION), &both).unwrap().symbol_count, 2);
        let repeats =
            (0..9).filter(|minute| take(&mut pipelines, &record("A", *minute)).is_empty());
        assert_eq!(repeats.count(), first, "{name}");
    }
}

#[test]
fn a_snapshot_takes_what_has_moved_of_every_model_in_small_parts() {
    let trial = trial(three(), 1000);
    let symbols: Vec<_> = (0..2 * TAKEN_AT_ONCE).map(|index| format!("S{index}")).collect();
    symbols.iter().for_each(|symbol| trial.deliver(record(symbol, 0)));
    let handed = trial.command(|answer| Command::Snapshot { answer });
    let (tallies, _) = trial.run_several();
    tallies.unwrap();
    let mut keys = BTreeSet::new();
    let label = loop {
        match handed.try_recv().unwrap() {
            Handed::Part(part) => {
                assert!(part.len() <= TAKEN_AT_ONCE, "{} at once", part.len());
                keys.extend(part.iter().map(|state| state.key().into_owned()));
            }
            Handed::All(label) => break label,
        }
    };
    assert_eq!(keys.len(), 3 * symbols.len());
    assert_eq!(label.identities.len(), 3);
    assert_eq!(label.text, "null 1, sliding; null 2, sliding; null 33, full");
}

#[test]
fn a_commit_an_eviction_and_a_clear_are_of_every_model() {
    let trial = trial(three(), 1000);
    trial.prices("A", 0..5);
    let first = trial.commit();
    let evicted = trial.command(|answer| Command::Evict { partition: PARTITION, answer });
    trial.prices("A", 5..6);
    let second = trial.commit();
    let cleared = trial.command(|answer| Command::Clear { answer });
    let third = trial.command(|answer| Command::Sample { model: 2, count_max: 9, answer });
    let (tallies, log) = trial.run_several();
    tallies.unwrap();
    let models = |states: Vec<StoredState>| {
        states.into_iter().map(|state| state.model.unwrap().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(models(first.recv().unwrap()), ["a-next", "a", "b"]);
    evicted.recv().unwrap();
    assert_eq!(models(second.recv().unwrap()), ["a-next", "a", "b"]);
    cleared.recv().unwrap();
    assert_eq!(third.recv().unwrap(), Vec::new());
    // What was evicted began cold in each.
    let (live, shadows) = by_version(&log);
    let counts = live.values().chain(shadows.values()).map(Vec::len).collect::<Vec<_>>();
    assert_eq!(counts, [(5 - UNFORECAST) as usize; 3]);
}

#[test]
fn a_position_is_judged_by_each_model_on_its_own() {
    let bundle = of_version("1", &[Mode::Full, Mode::Sliding]);
    let mut pipelines = three();
    // One model has seen more than the others.
    let ahead = stored(several(vec![model("a", Role::Live, 0, &bundle)]), 6);
    pipelines.restore(Some(PARTITION), &pairs(&ahead)).unwrap();
    let record = record("A", 3);
    let Position { offset, .. } = record.position.unwrap();
    assert_eq!(offset, 3);
    take(&mut pipelines, &record);
    let repeats: Vec<_> =
        pipelines.each().map(|(_, pipeline)| pipeline.engine().tally().repeats).collect();
    assert_eq!(repeats, [1, 0, 0]);
    assert_eq!(pipelines.tally().used, 1, "by one of them, or held by it already");
}

#[test]
fn how_far_a_record_was_ahead_is_of_the_model_that_refused_it() {
    use crate::core::domain::UnixNanos;

    let mut slow = manifest(&[Mode::Full]);
    slow.step.interval_seconds = 3600;
    (slow.name, slow.version) = ("slow".to_owned(), "1".to_owned());
    let slow = draft(slow, Weights::default()).into_bundle().unwrap();
    let patterns = |name: &str| SymbolPatterns::new([name]).unwrap();
    let mut pipelines = several(vec![
        StreamModel { symbols: patterns("H"), ..model("slow", Role::Live, 0, &slow) },
        StreamModel { symbols: patterns("M"), ..model("quick", Role::Live, 1, &sliding()) },
    ]);
    let mut take = |symbol: &str, ahead_seconds: i64| {
        let second = 1_000_000_000;
        let received = UnixNanos::from_nanos(60_000 * second);
        let time = 1000 * (60_000 + ahead_seconds);
        let record = plain(format!(r#"{{"symbol":"{symbol}","time":{time},"close":5}}"#));
        let flush = |_: &mut Pipeline| Ok::<_, Infallible>(());
        let Ok(refused) = pipelines.take(&record.bytes, None, Some(received), || {}, flush);
        let ahead = pipelines.newest_ahead().map(|ahead| ahead.as_nanos() / second);
        (refused.map(|refused| refused.reason), ahead)
    };
    assert_eq!(take("H", 50), (None, None));
    assert_eq!(take("H", 7200), (Some(Reject::InFuture), Some(7200)));
    for _ in 0..2 {
        assert_eq!(take("M", 90), (Some(Reject::InFuture), Some(90)), "not the two hours");
    }
}
