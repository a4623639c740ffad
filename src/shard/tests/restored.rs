//! Tests of the stored states that several models go on from: which one each takes, and what is
//! said of those that no model can take.

use bytes::Bytes;

use super::several::{model, of_field, of_version, pairs, pipeline_of, several, stored, take};
use super::*;
use crate::engine::pipeline::{Pipelines, Role};

const MODES: &[Mode] = &[Mode::Full, Mode::Sliding];

/// A version and the next one, which can read the states of the first.
fn versions() -> Pipelines {
    let (old, next) = (of_version("1", MODES), of_version("2", MODES));
    let mut shadow = model("vol-next", Role::Shadow, 0, &next);
    shadow.pipeline.know(old.manifest());
    several(vec![model("vol", Role::Live, 0, &old), shadow])
}

/// Those under keys of one model.
fn of_model(states: &[(String, Bytes)], model: &str) -> Vec<(String, Bytes)> {
    let prefix = format!("{model}\t");
    states.iter().filter(|(key, _)| key.starts_with(&prefix)).cloned().collect()
}

#[test]
fn a_model_goes_on_from_its_own_state_where_another_reaches_further() {
    // A commit of what came up to minute 6 broke off behind the states of the first model.
    let (early, late) = (pairs(&stored(versions(), 4)), pairs(&stored(versions(), 7)));
    let broken_off = [of_model(&late, "vol"), of_model(&early, "vol-next")].concat();
    let mut restored = versions();
    let outcome = restored.restore(Some(PARTITION), &broken_off).unwrap();
    assert_eq!((outcome.translated_count, outcome.cold), (0, Vec::new()));
    assert_eq!(outcome.symbol_count, 2, "A and B, of two models each");
    let mut whole = versions();
    for minute in 0..9 {
        let of_whole = take(&mut whole, &record("A", minute));
        // The input is read again from where the last whole commit was.
        if minute < 4 {
            continue;
        }
        let said = take(&mut restored, &record("A", minute));
        let repeats = |version: &str| version == "1" && minute < 7;
        let expected: Vec<_> =
            of_whole.into_iter().filter(|(version, _)| !repeats(version)).collect();
        assert_eq!(said, expected, "minute {minute}");
    }
}

#[test]
fn a_state_that_no_model_can_take_is_named_before_it_ends() {
    let states = pairs(&stored(several(vec![model("old", Role::Live, 0, &sliding())]), 6));
    assert_eq!(states.len(), 2);
    let cold = |mut pipelines: Pipelines, stored: &[(String, Bytes)]| {
        let outcome = pipelines.restore(Some(PARTITION), stored).unwrap();
        let ends = crate::shard::test_support::moved(&mut pipelines);
        let ends = ends.iter().filter(|state| state.bytes.is_none()).count();
        (outcome.symbol_count, outcome.cold, ends)
    };
    let why = "stored by another model, model version, mode or runtime";
    // The entry was renamed together with a model of other features.
    let renamed = several(vec![model("new", Role::Live, 0, &of_field("wind"))]);
    let lines = ["A", "B"].map(|symbol| format!("symbol `{symbol}`: {why}"));
    assert_eq!(cold(renamed, &states), (0, lines.to_vec(), 2));
    // A single model follows.
    let single = Pipelines::new(pipeline_of(&of_field("wind")), &settings());
    assert_eq!(cold(single, &states), (0, lines.to_vec(), 2));
    // A model that is new beside the one that the states are of has lost nothing.
    let beside = || {
        several(vec![
            model("old", Role::Live, 0, &sliding()),
            model("new", Role::Shadow, 0, &of_field("wind")),
        ])
    };
    assert_eq!(cold(beside(), &states), (2, Vec::new(), 0));
    // Nor has it where another model takes what was stored before the models had names.
    let bare: Vec<_> = states
        .iter()
        .map(|(key, bytes)| (key.strip_prefix("old\t").unwrap().to_owned(), bytes.clone()))
        .collect();
    assert_eq!(cold(beside(), &bare), (2, Vec::new(), 2));
}

#[test]
fn a_damaged_state_is_named_where_the_model_goes_on_from_that_of_another() {
    let mut states = pairs(&stored(versions(), 6));
    let damaged = states.iter_mut().find(|(key, _)| key == "vol-next\tA").unwrap();
    let mut bytes = damaged.1.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    damaged.1 = bytes.into();
    let mut pipelines = versions();
    let outcome = pipelines.restore(Some(PARTITION), &states).unwrap();
    let line = "vol-next: symbol `A`: damaged: the checksum does not fit";
    assert_eq!(outcome.cold, [line]);
    assert_eq!((outcome.symbol_count, outcome.translated_count), (2, 1));
    let versions: Vec<_> =
        take(&mut pipelines, &record("A", 6)).into_iter().map(|(version, _)| version).collect();
    assert_eq!(versions, ["1", "2"], "it goes on with the windows of the other");
}
