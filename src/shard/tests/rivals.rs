//! Tests of shadows beside the live models of their seats: what their scores say of it is what a
//! join of the scores says, whatever the batches, crashes and promotions.

use std::collections::BTreeMap;
use std::convert::Infallible;

use proptest::prelude::*;

use super::several::{model, of_field, of_version, pairs, several};
use super::*;
use crate::core::verdict::{LEVEL, Ledger, LedgerRule, Verdict, Word};
use crate::engine::pipeline::{Pipelines, Role, StreamModel};
use crate::engine::symbols::Haste;
use crate::engine::test_support::price;
use crate::engine::wire::score::{RivalRecord, ScoreRecord};
use crate::shard::test_support::{drive, moved, shard_with};

const MODES: &[Mode] = &[Mode::Full, Mode::Sliding];

/// A model whose scores are kept.
fn scored(name: &str, role: Role, bundle: &Bundle) -> StreamModel {
    let settings = PipelineSettings { keeps_scores: true, ..settings() };
    let pipeline = Pipeline::build(bundle, &NullRuntime, &settings).unwrap();
    StreamModel { pipeline, ..model(name, role, 0, bundle) }
}

/// A live model, a shadow of another version, and one that is far off.
fn trio() -> Pipelines {
    let mut manifest = manifest(MODES);
    manifest.version = "333".to_owned();
    let off = draft(manifest, Weights { bias: 1.0, ..Weights::default() }).into_bundle().unwrap();
    several(vec![
        scored("now", Role::Live, &of_version("1", MODES)),
        scored("next", Role::Shadow, &of_version("2", MODES)),
        scored("third", Role::Shadow, &off),
    ])
}

/// Prices that follow no simple rule.
fn wild(symbol: &str, minute: i64) -> Record {
    let close = price(symbol, minute) + ((minute * minute) % 13) as f64;
    let time = minute * 60_000;
    let text = format!(r#"{{"symbol":"{symbol}","time":{time},"close":{close}}}"#);
    Record { bytes: text.into(), ..record(symbol, minute) }
}

fn wild_records(minutes: std::ops::Range<i64>) -> Vec<Record> {
    minutes.flat_map(|minute| ["A", "B"].map(|symbol| wild(symbol, minute))).collect()
}

fn flush(pipeline: &mut Pipeline, scores: &mut Vec<String>) -> Result<(), Infallible> {
    pipeline.infer(Haste::Throughput).unwrap();
    pipeline.emit(|_, _| Ok::<_, Infallible>(()))?;
    pipeline.emit_scores(|_, bytes| {
        scores.push(String::from_utf8(bytes.to_vec()).unwrap());
        Ok::<_, Infallible>(())
    })?;
    pipeline.engine_mut().advance().unwrap();
    Ok(())
}

/// Everything that is scored in records that come in such batches.
fn run(pipelines: &mut Pipelines, records: &[Record], batch: usize) -> Vec<String> {
    let mut scores = Vec::new();
    for records in records.chunks(batch) {
        for Record { bytes, position, .. } in records {
            let flush = |pipeline: &mut Pipeline| flush(pipeline, &mut scores);
            let Ok(_) = pipelines.take(bytes, *position, None, || {}, flush);
        }
        for pipeline in pipelines.of_role_mut(Role::Live) {
            let Ok(()) = flush(pipeline, &mut scores);
        }
        let Ok(()) = pipelines.take_deferred(|pipeline| flush(pipeline, &mut scores));
        for pipeline in pipelines.of_role_mut(Role::Shadow) {
            let Ok(()) = flush(pipeline, &mut scores);
        }
    }
    scores
}

/// Holds what scores say of shadows and their rivals to a join of the scores themselves; returns
/// the newest verdict of each version and symbol.
fn assert_joined(lines: &[String]) -> BTreeMap<(String, String), RivalRecord<'_>> {
    let scores: Vec<ScoreRecord<'_>> =
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let place = |version: &str, score: &ScoreRecord<'_>| {
        let times = [score.as_of, score.target_time, score.truth_time];
        (version.to_owned(), score.symbol.to_string(), times)
    };
    let all: BTreeMap<_, _> =
        scores.iter().map(|score| (place(&score.model_version, score), score)).collect();
    let rule = LedgerRule::new(1, LEVEL);
    let mut ledgers = BTreeMap::<(String, String), (String, Ledger)>::new();
    let mut newest = BTreeMap::new();
    for score in &scores {
        let key = (score.model_version.to_string(), score.symbol.to_string());
        let Some(rival) = &score.rival else {
            ledgers.remove(&key);
            newest.remove(&key);
            continue;
        };
        let (version, ledger) = ledgers.entry(key.clone()).or_default();
        if *version != rival.model_version {
            (*version, *ledger) = (rival.model_version.to_string(), Ledger::new());
        }
        if let Some(other) = all.get(&place(&rival.model_version, score))
            && other.evidence.counts()
            && score.evidence.counts()
        {
            let difference = other.error * other.error - score.error * score.error;
            ledger.take(&rule, difference, score.truth_time);
        }
        let Verdict { word, since, scores, mean_difference, limits, log_e_value } =
            ledger.verdict(&rule);
        let expected = RivalRecord {
            model: rival.model.clone(),
            model_version: rival.model_version.clone(),
            word,
            since,
            scores,
            mean_difference,
            limits,
            log_e_value,
        };
        assert_eq!(*rival, expected, "{} {}", score.model_version, score.as_of);
        newest.insert(key, rival.clone());
    }
    newest
}

#[test]
fn a_shadow_is_compared_with_the_live_model_of_its_seat_over_the_same_truths() {
    let records = wild_records(0..500);
    let mut whole = trio();
    let lines = run(&mut whole, &records, 7);
    let newest = assert_joined(&lines);
    assert_eq!(newest.len(), 4, "two shadows, of two symbols: {newest:?}");
    // A forecast is scored by the minute that follows.
    let scored = (500 - UNFORECAST - 1) as u64;
    assert!(newest.values().all(|rival| rival.scores == scored && rival.model_version == "1"));
    let off = newest.iter().filter(|((version, _), _)| version == "333");
    let off: Vec<_> = off.map(|(_, rival)| rival.word).collect();
    assert_eq!(off, [Word::Worse; 2]);
    assert_eq!(whole.at(2).rival_pool().pool.word(LEVEL), Word::Worse);
    // The pool is that of the symbols, and batches change nothing.
    let pool = whole.at(1).rival_pool();
    assert_eq!(pool.rival, Some(0));
    assert_eq!(Word::ALL.map(|word| pool.pool.symbols(word)).iter().sum::<u64>(), 2);
    assert_eq!(whole.at(0).rival_pool().rival, None);
    let sorted = |mut lines: Vec<String>| {
        lines.sort_unstable();
        lines
    };
    let lines = sorted(lines);
    for batch in [1, 64, 1000] {
        assert_eq!(sorted(run(&mut trio(), &records, batch)), lines, "batches of {batch}");
    }
}

#[test]
fn a_promotion_and_another_version_begin_the_comparison_again() {
    let records = wild_records(0..120);
    let mut pipelines = trio();
    let mut lines = run(&mut pipelines, &records[..80], 8);
    assert_eq!(moved(&mut pipelines).len(), 6);
    pipelines.promote(1);
    let fresh = |pipelines: &Pipelines, rivals: [Option<usize>; 3]| {
        for (at, expected) in rivals.into_iter().enumerate() {
            let found = pipelines.at(at).rival_pool();
            let early = found.pool.symbols(Word::TooEarly);
            assert_eq!((found.rival, early), (expected, 2 * u64::from(expected.is_some())), "{at}");
            assert_eq!(pipelines.at(at).rival().map(|rival| rival.index), expected);
        }
    };
    fresh(&pipelines, [Some(1), None, Some(1)]);
    // What is stored of the two that had evidence is stored again, without it.
    assert_eq!(moved(&mut pipelines).len(), 4);
    lines.extend(run(&mut pipelines, &records[80..160], 8));
    let newest = assert_joined(&lines);
    let expected = BTreeSet::from(["1", "333"]);
    assert_eq!(newest.keys().map(|(version, _)| &**version).collect::<BTreeSet<_>>(), expected);
    assert!(newest.values().all(|rival| rival.scores == 40 && rival.model_version == "2"));
    // Another version of the live model is another rival; its symbols go on.
    let settings = PipelineSettings { keeps_scores: true, ..settings() };
    let bundle = of_version("4444", MODES);
    let mut next = Pipeline::build(&bundle, &NullRuntime, &settings).unwrap();
    next.inherit(pipelines.at(1)).unwrap();
    drop(pipelines.replace(1, next));
    fresh(&pipelines, [Some(1), None, Some(1)]);
    lines.extend(run(&mut pipelines, &records[160..], 8));
    let newest = assert_joined(&lines);
    // The newest forecasts of the version before are given up.
    assert!(newest.values().all(|rival| rival.scores == 39 && rival.model_version == "4444"));
    // The same version again is the same rival.
    let mut same = Pipeline::build(&bundle, &NullRuntime, &settings).unwrap();
    same.inherit(pipelines.at(1)).unwrap();
    let before = pipelines.at(0).rival_pool();
    drop(pipelines.replace(1, same));
    assert_eq!(pipelines.at(0).rival_pool(), before);
}

#[test]
fn models_of_other_truths_are_not_compared() {
    let mut manifest = manifest(MODES);
    (manifest.version, manifest.horizon_steps) = ("2".to_owned(), 3);
    let further = draft(manifest, Weights::default()).into_bundle().unwrap();
    let mut elsewhere = scored("elsewhere", Role::Live, &of_field("wind"));
    elsewhere.seat = 1;
    let mut pipelines = several(vec![
        scored("now", Role::Live, &of_version("1", MODES)),
        scored("further", Role::Shadow, &further),
        elsewhere,
    ]);
    let lines = run(&mut pipelines, &wild_records(0..40), 4);
    assert!(lines.len() > 60 && lines.iter().all(|line| !line.contains("\"rival\"")));
    assert!(pipelines.each().all(|(_, pipeline)| pipeline.rival_pool().rival.is_none()));
}

#[test]
fn equals_are_never_told_apart() {
    let twice = |name: &str, role, version: &str| {
        let mut manifest = manifest(MODES);
        manifest.version = version.to_owned();
        let bundle = draft(manifest, Weights::default()).into_bundle().unwrap();
        scored(name, role, &bundle)
    };
    let mut pipelines =
        several(vec![twice("one", Role::Live, "1"), twice("same", Role::Shadow, "2")]);
    let lines = run(&mut pipelines, &wild_records(0..700), 32);
    let newest = assert_joined(&lines);
    assert!(newest.values().all(|rival| rival.word == Word::Undecided && rival.log_e_value < 0.0));
    assert_eq!(pipelines.at(1).rival_pool().pool.word(LEVEL), Word::Undecided);
}

/// Shedding leaves scores out of the shadow alone.
#[test]
fn what_a_shadow_has_shed_is_left_out() {
    let mut pipelines = trio();
    let mut lines = run(&mut pipelines, &wild_records(0..60), 4);
    pipelines.at_mut(1).engine_mut().shed_rows(true);
    lines.extend(run(&mut pipelines, &wild_records(60..80), 4));
    pipelines.at_mut(1).engine_mut().shed_rows(false);
    lines.extend(run(&mut pipelines, &wild_records(80..120), 4));
    let newest = assert_joined(&lines);
    let scored = (120 - UNFORECAST - 1) as u64;
    for ((version, _), rival) in newest {
        let shed = if version == "2" { 20 } else { 0 };
        assert_eq!(rival.scores, scored - shed, "{version}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// A crash in the middle of a commit stores the states of some symbols and models, and the
    /// input is read again from the commit before: everything ends as without it.
    #[test]
    fn a_commit_that_broke_off_anywhere_loses_no_pair(
        first in 10i64..40,
        second in 1i64..40,
        batch in 1usize..20,
        promoted in any::<bool>(),
    ) {
        let records = wild_records(0..first + second + 20);
        let at = |minute: i64| 2 * minute as usize;
        let begun = || {
            let mut pipelines = trio();
            if promoted {
                pipelines.promote(2);
            }
            pipelines
        };
        let mut whole = begun();
        run(&mut whole, &records[..at(first)], batch);
        let before = pairs(&moved(&mut whole));
        run(&mut whole, &records[at(first)..at(first + second)], batch);
        let after = pairs(&moved(&mut whole));
        run(&mut whole, &records[at(first + second)..], batch);
        whole.note_all_changed();
        let expected = moved(&mut whole);
        for cut in 0..=after.len() {
            let mut stored: BTreeMap<_, _> = before.iter().cloned().collect();
            stored.extend(after[..cut].iter().cloned());
            let stored: Vec<_> = stored.into_iter().collect();
            let mut restored = begun();
            let outcome = restored.restore(Some(PARTITION), &stored).unwrap();
            prop_assert_eq!(outcome.cold, Vec::<String>::new());
            run(&mut restored, &records[at(first)..], batch);
            restored.note_all_changed();
            let found = pairs(&moved(&mut restored)).into_iter().collect::<BTreeMap<_, _>>();
            prop_assert_eq!(&found, &pairs(&expected).into_iter().collect::<BTreeMap<_, _>>());
        }
    }
}

/// A snapshot takes the states of the live model first, so that records in between change those of
/// its shadows alone.
#[test]
fn a_snapshot_that_takes_long_loses_no_pair() {
    let symbols: Vec<_> = (0..TAKEN_AT_ONCE).map(|index| format!("S{index:03}")).collect();
    let of = |minutes: std::ops::Range<i64>| -> Vec<Record> {
        minutes.flat_map(|minute| symbols.iter().map(move |name| wild(name, minute))).collect()
    };
    let run_all = |pipelines: &mut Pipelines, records: &[Record]| run(pipelines, records, 1);
    let mut whole = trio();
    // The shadow is the first of the configuration, where the order of models would say so.
    whole.promote(1);
    run_all(&mut whole, &of(0..20));
    let mut left = whole.begin_taking();
    let mut stored = BTreeMap::new();
    let mut minute = 20;
    while left.iter().any(|left| *left > 0) {
        let mut states = Vec::new();
        whole.take_changed(TAKEN_AT_ONCE, &mut left, |state| states.push(state));
        stored.extend(pairs(&states));
        run_all(&mut whole, &of(minute..minute + 1));
        minute += 1;
    }
    assert_eq!((stored.len(), minute), (3 * TAKEN_AT_ONCE, 23));
    run_all(&mut whole, &of(minute..40));
    whole.note_all_changed();
    let mut restored = trio();
    restored.promote(1);
    let stored: Vec<_> = stored.into_iter().collect();
    restored.restore(Some(PARTITION), &stored).unwrap();
    run_all(&mut restored, &of(20..40));
    restored.note_all_changed();
    let states = |pipelines: &mut Pipelines| {
        pairs(&moved(pipelines)).into_iter().collect::<BTreeMap<_, _>>()
    };
    assert!(states(&mut restored) == states(&mut whole), "states differ");
}

#[test]
fn a_shard_says_what_all_its_symbols_have_come_to() {
    let log = Log::default();
    let (intake, receiver) = queue(10_000);
    let sinks = vec![MemorySink::new("sink", &log).boxed()];
    let trial = Trial { intake, shard: shard_with(trio(), receiver, sinks, 16), log };
    wild_records(0..400).into_iter().for_each(|record| trial.deliver(record));
    let asked = [0, 1, 2].map(|model| trial.command(|answer| Command::Rivals { model, answer }));
    drop(trial.command(|answer| Command::Promote { model: 1, answer }));
    let after = trial.command(|answer| Command::Rivals { model: 0, answer });
    let (tallies, log) = trial.run_several();
    tallies.unwrap();
    let is_score = |seen: Seen| match seen {
        Seen::Score { bytes, .. } => Some(bytes),
        _ => None,
    };
    let lines: Vec<_> = log.of("sink").into_iter().filter_map(is_score).collect();
    let newest = assert_joined(&lines);
    let [live, next, third] = asked.map(|answer| answer.try_recv().unwrap());
    assert_eq!((live.rival, next.rival, third.rival), (None, Some(0), Some(0)));
    for (version, pool) in [("2", next.pool), ("333", third.pool)] {
        for word in Word::ALL {
            let of_word =
                newest.iter().filter(|((of, _), rival)| of == version && rival.word == word);
            assert_eq!(pool.symbols(word), of_word.count() as u64, "{version} {word}");
        }
    }
    let after = after.try_recv().unwrap();
    assert_eq!((after.rival, after.pool.symbols(Word::TooEarly)), (Some(1), 2));
    // A pipeline alone has none.
    let mut alone = Pipelines::new(pipeline(&sliding()), &settings());
    drive(&mut alone, &wild_records(0..9));
    assert_eq!(alone.live().rival_pool().rival, None);
}
