//! Records with history before them and in their holes say what a replay of all of them says.

mod law;

use std::convert::Infallible;

use super::*;
use crate::core::domain::{Field, Member, Reject, SymbolPatterns};
use crate::engine::model::manifest::{Mode, StepKind, StepSpec};
use crate::engine::pipeline::{PipelineSettings, StreamModel};
use crate::engine::symbols::{Haste, Withheld};
use crate::engine::test_support::{NullRuntime, Weights, bundle, draft, manifest, price, time};

fn pipelines() -> Pipelines {
    let settings = PipelineSettings::of_tests();
    let bundle = bundle(&[Mode::Full, Mode::Sliding]);
    Pipelines::new(Pipeline::build(&bundle, &NullRuntime, &settings).unwrap(), &settings)
}

fn line(minute: i64) -> Vec<u8> {
    let millis = time(minute).as_nanos() / 1_000_000;
    let close = price("A", minute);
    format!(r#"{{"symbol":"A","time":{millis},"close":{close}}}"#).into_bytes()
}

fn flush(pipeline: &mut Pipeline) -> Result<(), Infallible> {
    pipeline.infer(Haste::Throughput).unwrap();
    pipeline.engine_mut().advance().unwrap();
    Ok(())
}

/// What has been said since the last time.
fn said(pipelines: &mut Pipelines) -> Vec<String> {
    let Ok(()) = flush(pipelines.live_mut());
    let mut said = Vec::new();
    let Ok(_) = pipelines.live_mut().emit(|_, bytes| {
        said.push(String::from_utf8(bytes.to_vec()).unwrap());
        Ok::<_, Infallible>(())
    });
    said
}

fn take(pipelines: &mut Pipelines, minute: i64, asks: bool, after_gap: bool) -> Taken {
    let (line, position, received) = (line(minute), None, None);
    let (late, origin) = (false, Origin::Live);
    let incoming = Incoming { bytes: &line, position, received, after_gap, late, origin };
    let Ok(taken) = pipelines.take_or_ask(&incoming, asks, || {}, flush);
    taken
}

/// A question for one record of the symbol.
fn asked(minute: i64, after_gap: bool, missing: Missing) -> Asked<'static> {
    Asked { symbol: "A", missing, time: Some(time(minute)), after_gap }
}

fn fill(pipelines: &mut Pipelines, asked: Asked<'_>, minutes: std::ops::Range<i64>) {
    let lines: Vec<_> = minutes.map(line).collect();
    let rows: Vec<_> = lines.iter().map(|line| &**line).collect();
    let covers = DurationNanos::from_seconds(60).unwrap();
    // Nothing is in inference then.
    pipelines.each_mut().map(flush).for_each(|Ok(())| ());
    let Ok(outcome) = pipelines.fill(&asked, &rows, covers, flush);
    assert!(outcome.is_ok(), "{outcome:?}");
}

#[test]
fn records_behind_history_and_holes_say_what_a_replay_says() {
    let mut replay = pipelines();
    let mut expected = Vec::new();
    for minute in 0..20 {
        assert_eq!(take(&mut replay, minute, false, false), Taken::Done);
        let said = said(&mut replay);
        // What fills a hole is not published.
        if minute >= 12 && ![15, 16].contains(&minute) {
            expected.extend(said);
        }
    }
    let mut live = pipelines();
    let missing = Missing::Warm;
    assert_eq!(take(&mut live, 12, true, false), Taken::Missing { missing, time: time(12) });
    assert_eq!(live.tally().ticks, 0, "nothing is counted or changed");
    // Rows that reach too far are left out.
    fill(&mut live, asked(12, false, missing), 0..14);
    for minute in 12..15 {
        assert_eq!(take(&mut live, minute, true, false), Taken::Done);
    }
    let from = UnixNanos::from_nanos(time(14).as_nanos() + 1);
    let missing = Missing::Span(Span { from, to: time(17) });
    assert_eq!(take(&mut live, 17, true, true), Taken::Missing { missing, time: time(17) });
    fill(&mut live, asked(17, true, missing), 13..19);
    for minute in 17..20 {
        assert_eq!(take(&mut live, minute, true, false), Taken::Done);
    }
    assert_eq!(said(&mut live), expected);
    assert_eq!(expected.len(), 6);
    assert!(expected.iter().all(|line| line.contains(r#""quality":"full""#)), "{expected:?}");
    let tally = live.live().engine().tally();
    assert_eq!((tally.filled, tally.rejects.total()), (2, 0));
    assert!(tally.withheld.get(Withheld::History) > 2);
}

#[test]
fn without_history_a_hole_is_marked() {
    let mut live = pipelines();
    for minute in 0..8 {
        assert_eq!(take(&mut live, minute, false, false), Taken::Done);
    }
    let _ = said(&mut live);
    assert_eq!(take(&mut live, 10, false, true), Taken::Done);
    let said = said(&mut live);
    assert!(said[0].contains(r#""quality":"gapped""#), "{said:?}");
}

#[test]
fn rows_that_cannot_be_read_change_nothing() {
    let mut live = pipelines();
    let first = line(0);
    let rows: [&[u8]; 2] = [&first, b"{"];
    let covers = DurationNanos::from_seconds(60).unwrap();
    let Ok(outcome) = live.fill(&asked(5, false, Missing::Warm), &rows, covers, flush);
    assert!(outcome.is_err());
    assert!(!live.live().engine().has_symbol("A"));
}

#[test]
fn rows_that_a_model_cannot_take_change_nothing() {
    let covers = DurationNanos::from_seconds(60).unwrap();
    let bare = |minute: i64| {
        let millis = time(minute).as_nanos() / 1_000_000;
        format!(r#"{{"symbol":"A","time":{millis},"volume":1}}"#).into_bytes()
    };
    // A hole, and a whole window of a symbol that has one.
    for is_whole in [false, true] {
        let (mut live, mut untouched) = (pipelines(), pipelines());
        for pipelines in [&mut live, &mut untouched] {
            (0..8).for_each(|minute| _ = take(pipelines, minute, false, false));
            let _ = said(pipelines);
        }
        let asked_for = take(&mut live, 11, true, true);
        let Taken::Missing { missing, .. } = asked_for else { panic!("{asked_for:?}") };
        let missing = if is_whole { Missing::Warm } else { missing };
        let lines = [line(8), bare(9), line(10)];
        let rows: Vec<_> = lines.iter().map(|line| &**line).collect();
        let Ok(outcome) = live.fill(&asked(11, true, missing), &rows, covers, flush);
        let field = Some(Member::Field(Field::CLOSE));
        let reason = outcome.map_err(|rejection| (rejection.reason, rejection.member));
        assert_eq!(reason, Err((Reject::MissingField, field)), "{missing:?}");
        for pipelines in [&mut live, &mut untouched] {
            assert_eq!(take(pipelines, 11, false, true), Taken::Done);
        }
        assert_eq!(said(&mut live), said(&mut untouched));
    }
}

#[test]
fn rows_that_a_model_uses_are_counted_once() {
    let settings = PipelineSettings::of_tests();
    let bundle = bundle(&[Mode::Full, Mode::Sliding]);
    let models = ["a", "b"].into_iter().enumerate().map(|(seat, name)| {
        let pipeline = Pipeline::build(&bundle, &NullRuntime, &settings).unwrap();
        let (name, symbols) = (name.into(), SymbolPatterns::default());
        StreamModel { name, symbols, seat, role: Role::Live, pipeline }
    });
    let mut live = Pipelines::of(models.collect(), &settings).unwrap();
    // The last two lie at the record and behind it, and one comes twice.
    let lines: Vec<_> = [0, 1, 2, 3, 3, 4, 5, 6].map(line).into();
    let rows: Vec<_> = lines.iter().map(|line| &**line).collect();
    let covers = DurationNanos::from_seconds(60).unwrap();
    let Ok(used) = live.fill(&asked(5, false, Missing::Warm), &rows, covers, flush);
    assert_eq!(used.unwrap(), 5);
}

/// The marks of what a model says of minutes without a record in between.
fn qualities(said: &[String]) -> Vec<&str> {
    let quality = |line: &String| {
        let known = ["full", "gapped"];
        known.into_iter().find(|quality| line.contains(&format!(r#""quality":"{quality}""#)))
    };
    said.iter().map(|line| quality(line).unwrap()).collect()
}

#[test]
fn a_record_that_comes_late_asks_for_nothing_and_leaves_the_mark_of_a_gap() {
    for late in [false, true] {
        let mut live = pipelines();
        for minute in 0..8 {
            assert_eq!(take(&mut live, minute, false, false), Taken::Done);
        }
        let _ = said(&mut live);
        // The queue drops minute 9 and leaves a gap there. Minute 8 was sent behind it.
        live.mark_gap();
        let eight = line(8);
        let incoming = Incoming {
            bytes: &eight,
            position: None,
            received: None,
            after_gap: false,
            late,
            origin: Origin::Live,
        };
        let Ok(taken) = live.take_or_ask(&incoming, late, || {}, flush);
        assert_eq!(taken, Taken::Done);
        for minute in 10..15 {
            assert_eq!(take(&mut live, minute, false, false), Taken::Done);
        }
        let said = said(&mut live);
        // A window of three that holds minute 10 lacks minute 9.
        let last = if late { "gapped" } else { "full" };
        let expected = ["gapped", "gapped", "gapped", last, "full", "full"];
        assert_eq!(qualities(&said), expected, "late: {late}");
    }
}

/// A model of bars of a minute, and one of bars of five.
fn one_and_five() -> Pipelines {
    let settings = PipelineSettings::of_tests();
    let models = [60, 300].into_iter().enumerate().map(|(seat, seconds)| {
        let mut manifest = manifest(&[Mode::Full, Mode::Sliding]);
        manifest.step = StepSpec { kind: StepKind::Time, ..StepSpec::record(seconds) };
        let bundle = draft(manifest, Weights::default()).into_bundle().unwrap();
        let pipeline = Pipeline::build(&bundle, &NullRuntime, &settings).unwrap();
        let (name, symbols) = (seconds.to_string().into(), SymbolPatterns::default());
        StreamModel { name, symbols, seat, role: Role::Live, pipeline }
    });
    Pipelines::of(models.collect(), &settings).unwrap()
}

#[test]
fn rows_of_a_window_that_end_before_a_hole_of_another_model_does_leave_it_open() {
    for end in [12, 13] {
        let mut live = one_and_five();
        for minute in 0..12 {
            assert_eq!(take(&mut live, minute, false, false), Taken::Done);
        }
        // Minute 12 is lost. One model lacks its window still.
        let missing = Missing::Warm;
        assert_eq!(take(&mut live, 13, true, true), Taken::Missing { missing, time: time(13) });
        fill(&mut live, asked(13, true, missing), 0..end);
        let missing = Missing::Span(Span { from: time(11), to: time(13) });
        let again = Taken::Missing { missing, time: time(13) };
        let expected = if end == 12 { again } else { Taken::Done };
        assert_eq!(take(&mut live, 13, true, false), expected, "rows up to minute {end}");
    }
}

#[test]
fn a_model_that_lacks_nothing_keeps_the_mark_of_the_record_that_asked() {
    let life = |closes| {
        let mut live = one_and_five();
        for minute in 0..31 {
            assert_eq!(take(&mut live, minute, false, false), Taken::Done);
        }
        // Minute 31 is lost: a bar of a minute is asked for, and the one of five is under way.
        let missing = Missing::Span(Span { from: time(30), to: time(32) });
        assert_eq!(take(&mut live, 32, true, true), Taken::Missing { missing, time: time(32) });
        fill(&mut live, asked(32, true, missing), 30..32);
        assert_eq!(take(&mut live, 32, true, false), Taken::Done);
        let missing = Missing::Span(Span { from: time(32), to: time(33) });
        assert_eq!(take(&mut live, 33, true, false), Taken::Missing { missing, time: time(33) });
        fill(&mut live, asked(33, false, missing), 32..33);
        for minute in 33..35 {
            assert_eq!(take(&mut live, minute, true, false), Taken::Done);
        }
        let missing = Missing::Span(Span { from: time(30), to: time(35) });
        assert_eq!(take(&mut live, 35, true, false), Taken::Missing { missing, time: time(35) });
        match closes {
            true => fill(&mut live, asked(35, false, missing), 30..35),
            false => live.give_up(&asked(35, false, missing)),
        }
        assert_eq!(take(&mut live, 35, true, false), Taken::Done);
        let five = live.at_mut(1);
        let Ok(()) = flush(five);
        let mut said = Vec::new();
        let Ok(_) = five.emit(|_, bytes| {
            said.push(String::from_utf8(bytes.to_vec()).unwrap());
            Ok::<_, Infallible>(())
        });
        said.pop().unwrap()
    };
    assert_eq!(qualities(&[life(true), life(false)]), ["full", "gapped"]);
}

#[test]
fn a_shadow_that_lags_says_what_it_lacks_when_it_has_caught_up() {
    let settings = PipelineSettings::of_tests();
    let bundle = bundle(&[Mode::Full, Mode::Sliding]);
    let models = [("a", Role::Live), ("b", Role::Shadow)].into_iter().map(|(name, role)| {
        let pipeline = Pipeline::build(&bundle, &NullRuntime, &settings).unwrap();
        let (name, symbols) = (name.into(), SymbolPatterns::default());
        StreamModel { name, symbols, seat: 0, role, pipeline }
    });
    let mut live = Pipelines::of(models.collect(), &settings).unwrap();
    let missing = Missing::Warm;
    assert_eq!(take(&mut live, 12, true, false), Taken::Missing { missing, time: time(12) });
    fill(&mut live, asked(12, false, missing), 0..12);
    // Minute 12 adjoins the rows and the shadow has still to take it: minute 13 is no seam.
    for minute in 12..15 {
        let asks = minute > 12;
        assert_eq!(take(&mut live, minute, asks, false), Taken::Done, "minute {minute}");
    }
}
