//! Tests of rows of history: what a symbol says behind them is what it says in a replay.

use super::super::tests::{Driven, LIMITS, MODES, UNFORECAST, alone, served};
use crate::core::domain::{DurationNanos, Forecast, Quality, Reject};
use crate::core::history::{Missing, Origin, Seam, Span};
use crate::engine::model::Bundle;
use crate::engine::model::manifest::{Mode, StepKind, StepSpec};
use crate::engine::symbols::{Haste, Pushed, Withheld};
use crate::engine::test_support::{Weights, bundle, draft, manifest, price, tick, time};

fn minutes(count: i64) -> DurationNanos {
    DurationNanos::from_seconds(count * 60).unwrap()
}

fn rows(covers: i64, is_joined: bool) -> Origin {
    Origin::History(Seam { is_joined, covers: minutes(covers) })
}

fn driven(mode: Mode) -> Driven {
    Driven::of(&bundle(&served(mode)), mode, LIMITS)
}

/// Takes rows of every minute as history.
fn run_history(driven: &mut Driven, minutes: std::ops::Range<i64>, origin: Origin) {
    driven.engine.set_origin(origin);
    driven.run("A", minutes);
    driven.engine.set_origin(Origin::Live);
}

fn run_live(driven: &mut Driven, minutes: std::ops::Range<i64>) {
    for minute in minutes {
        driven.engine.meet_live("A", time(minute));
        driven.run("A", minute..minute + 1);
    }
}

fn from(forecasts: Vec<Forecast>, minute: i64) -> Vec<Forecast> {
    forecasts.into_iter().filter(|forecast| forecast.as_of >= time(minute)).collect()
}

#[test]
fn the_first_live_step_says_what_it_says_in_a_replay() {
    for mode in MODES {
        let mut driven = driven(mode);
        run_history(&mut driven, 0..10, rows(1, false));
        assert_eq!(driven.of_symbol("A"), [], "nothing of history is published");
        let quiet = driven.engine.tally().withheld.get(Withheld::History);
        assert_eq!(quiet, (10 - UNFORECAST) as u64);
        run_live(&mut driven, 10..16);
        let said = driven.of_symbol("A");
        assert_eq!(said, from(alone(mode, "A", 0..16), 10), "{mode:?}");
        assert!(said.iter().all(|forecast| forecast.quality == Quality::Full));
        driven.assert_adds_up();
    }
}

#[test]
fn history_is_published_where_that_is_wanted() {
    let mut driven = driven(Mode::Sliding);
    driven.engine.publish_history(true);
    run_history(&mut driven, 0..10, rows(1, false));
    run_live(&mut driven, 10..12);
    assert_eq!(driven.of_symbol("A"), alone(Mode::Sliding, "A", 0..12));
}

#[test]
fn a_seam_that_is_open_is_a_gap_and_one_that_is_joined_is_none() {
    let quality = |is_joined| {
        let mut driven = driven(Mode::Full);
        run_history(&mut driven, 0..10, rows(1, is_joined));
        run_live(&mut driven, 13..14);
        driven.of_symbol("A").remove(0).quality
    };
    assert_eq!([false, true].map(quality), [Quality::Gapped, Quality::Full]);
}

#[test]
fn a_live_tick_that_history_has_is_a_repeat() {
    let mut driven = driven(Mode::Sliding);
    run_history(&mut driven, 0..10, rows(1, false));
    for minute in [8, 9] {
        driven.engine.meet_live("A", time(minute));
        assert_eq!(driven.push(&tick("A", minute, 1.0)), Pushed::Repeated);
    }
    run_live(&mut driven, 10..12);
    assert_eq!(driven.of_symbol("A"), from(alone(Mode::Sliding, "A", 0..12), 10));
    // Behind the seam the stream is judged as ever.
    assert_eq!(driven.push(&tick("A", 11, 1.0)), Pushed::Refused(Reject::Duplicate));
    // A row that comes twice is no reject either.
    driven.engine.set_origin(rows(1, false));
    assert_eq!(driven.push(&tick("A", 9, 1.0)), Pushed::Repeated);
    assert_eq!(driven.engine.tally().repeats, 3);
}

#[test]
fn a_window_that_is_not_full_is_asked_for_once_and_begins_with_the_rows() {
    for mode in MODES {
        let mut driven = driven(mode);
        assert_eq!(driven.engine.missing("A", time(45), false), Some(Missing::Warm));
        driven.run("A", 45..47);
        assert_eq!(driven.engine.missing("A", time(50), false), Some(Missing::Warm));
        driven.engine.begin_history("A", Missing::Warm).unwrap();
        run_history(&mut driven, 40..50, rows(1, false));
        driven.engine.end_history("A", Missing::Warm, false);
        driven.engine.meet_live("A", time(50));
        assert_eq!(driven.engine.missing("A", time(50), false), None);
        run_live(&mut driven, 50..53);
        assert_eq!(driven.of_symbol("A"), from(alone(mode, "A", 40..53), 50), "{mode:?}");
        driven.assert_adds_up();
    }
    let mut given_up = driven(Mode::Full);
    given_up.engine.give_up("A", Some(time(0)), false);
    given_up.run("A", 0..1);
    assert_eq!(given_up.engine.missing("A", time(1), false), None);
    // Only a newer tick asks: rows before an older one would take the place of newer steps.
    let mut late = driven(Mode::Full);
    late.run("A", 5..7);
    assert_eq!([4, 6].map(|minute| late.engine.missing("A", time(minute), false)), [None; 2]);
    assert_eq!(late.engine.missing("A", time(7), false), Some(Missing::Warm));
}

/// A model of bars of five minutes.
fn of_bars(mode: Mode) -> Bundle {
    let mut manifest = manifest(&served(mode));
    manifest.step = StepSpec { kind: StepKind::Time, ..StepSpec::record(300) };
    draft(manifest, Weights::default()).into_bundle().unwrap()
}

/// What is missing before a tick, in minutes.
fn hole(driven: &Driven, minute: i64, after_gap: bool) -> Option<[i64; 2]> {
    let Missing::Span(Span { from, to }) = driven.engine.missing("A", time(minute), after_gap)?
    else {
        panic!("the window is full");
    };
    Some([from, to].map(|end| end.as_nanos() / minutes(1).as_nanos()))
}

/// Fills a hole with bars.
fn fill(driven: &mut Driven, [from, to]: [i64; 2], after_gap: bool) {
    let missing = Missing::Span(Span { from: time(from), to: time(to) });
    driven.engine.begin_history("A", missing).unwrap();
    driven.engine.set_origin(rows(5, true));
    for start in (from..to).step_by(5) {
        let pushed = driven.push(&tick("A", start, price("A", start + 4)));
        assert_eq!(pushed, Pushed::Taken, "the row of minute {start}");
    }
    driven.engine.set_origin(Origin::Live);
    driven.engine.end_history("A", missing, after_gap);
}

#[test]
fn holes_that_are_filled_leave_no_mark() {
    for mode in MODES {
        let bundle = of_bars(mode);
        let mut whole = Driven::of(&bundle, mode, LIMITS);
        whole.run("A", 0..80);
        let mut driven = Driven::of(&bundle, mode, LIMITS);
        driven.run("A", 0..23);
        assert_eq!(hole(&driven, 24, false), None);
        assert_eq!(hole(&driven, 37, true), Some([20, 35]));
        fill(&mut driven, [20, 35], true);
        assert_eq!(hole(&driven, 37, false), None, "it is filled");
        run_live(&mut driven, 37..40);
        assert_eq!(driven.push(&tick("A", 34, 1.0)), Pushed::Repeated, "the rows have it");
        // The bar under way lacks its beginning, which a tick behind its end proves.
        assert_eq!(hole(&driven, 40, false), Some([35, 40]));
        fill(&mut driven, [35, 40], false);
        run_live(&mut driven, 40..80);
        // Steps that the rows themselves close are history.
        let is_live = |forecast: &Forecast| ![25, 30].map(time).contains(&forecast.as_of);
        let expected: Vec<_> = whole.of_symbol("A").into_iter().filter(is_live).collect();
        assert_eq!(driven.of_symbol("A"), expected, "{mode:?}");
        let last = expected.last().unwrap();
        assert_eq!(last.quality, Quality::Full);
        assert_eq!(driven.engine.tally().filled, 4);
        assert_eq!(driven.engine.symbol_facts(0).unwrap().filled, 4);
        driven.assert_adds_up();
    }
}

#[test]
fn a_hole_without_rows_is_marked_and_asked_for_once() {
    let bundle = of_bars(Mode::Full);
    let mut driven = Driven::of(&bundle, Mode::Full, LIMITS);
    driven.run("A", 0..23);
    driven.engine.mark_gap();
    let [from, to] = hole(&driven, 32, false).unwrap();
    assert_eq!([from, to], [20, 30]);
    driven.engine.give_up("A", Some(time(32)), false);
    assert_eq!(hole(&driven, 32, false), None);
    run_live(&mut driven, 32..34);
    assert_eq!(driven.of_symbol("A").pop().unwrap().quality, Quality::Gapped);
    assert_eq!(hole(&driven, 36, false), None, "the bar under way rests on what is missing");
    let again = Some([30, 40]);
    assert_eq!(hole(&driven, 42, true), again, "another hole is another question");
    // A hole as long as the window leaves nothing of it.
    let missing = driven.engine.missing("A", time(55), true);
    assert_eq!(missing, Some(Missing::Warm));
}

#[test]
fn a_hole_that_ticks_have_passed_over_is_not_asked_for_behind_them() {
    let bundle = of_bars(Mode::Full);
    let mut driven = Driven::of(&bundle, Mode::Full, LIMITS);
    driven.run("A", 0..23);
    // The tick of minute 27 asks in vain and is dropped, and so are those up to minute 35.
    driven.engine.mark_gap();
    driven.engine.give_up("A", Some(time(27)), false);
    assert_eq!(hole(&driven, 36, false), Some([20, 35]));
    run_live(&mut driven, 36..37);
    assert_eq!(hole(&driven, 41, false), None, "the bar of minute 35 follows from what is missing");
    run_live(&mut driven, 41..46);
    assert_eq!(driven.of_symbol("A").pop().unwrap().quality, Quality::Gapped);
}

#[test]
fn a_hole_behind_one_without_rows_is_filled_from_the_bar_that_both_touch() {
    // What mode carried says keeps traces of every step. The stretch without rows has a whole bar,
    // or parts of two.
    for (mode, last) in [(Mode::Full, 23), (Mode::Sliding, 23), (Mode::Full, 28)] {
        let bundle = of_bars(mode);
        let mut whole = Driven::of(&bundle, mode, LIMITS);
        whole.run("A", 0..70);
        let whole = whole.of_symbol("A");
        let mut driven = Driven::of(&bundle, mode, LIMITS);
        driven.run("A", 0..last);
        // Without rows: the bar under way lacks its end, and that of minute 30 its beginning.
        driven.engine.mark_gap();
        assert_eq!(hole(&driven, 32, false), Some([last / 5 * 5, 30]));
        driven.engine.give_up("A", Some(time(32)), false);
        run_live(&mut driven, 32..34);
        // The bar of minute 30 lacks its end, too, and the one behind it follows from that.
        assert_eq!(hole(&driven, 42, true), Some([30, 40]));
        fill(&mut driven, [30, 40], true);
        run_live(&mut driven, 42..45);
        assert_eq!(hole(&driven, 45, false), Some([40, 45]));
        fill(&mut driven, [40, 45], false);
        run_live(&mut driven, 45..70);
        let behind: Vec<_> = from(driven.of_symbol("A"), 45);
        let marks: Vec<_> = behind.iter().map(|forecast| forecast.quality).collect();
        let (gapped, full) = (Quality::Gapped, Quality::Full);
        assert_eq!(marks, [gapped, full, full, full, full], "{mode:?}, {last}");
        // The bar of minute 30 is whole, but follows from one that is not. Scores of what was
        // marked have left their traces in the intervals.
        let values = |said: &[Forecast]| said.iter().map(|said| said.value).collect::<Vec<_>>();
        assert_eq!(values(&behind[1..]), values(&from(whole, 50)), "{mode:?}, {last}");
        driven.assert_adds_up();
    }
}

#[test]
fn a_quiet_stretch_behind_the_newest_row_asks_for_no_whole_window_again() {
    let bundle = of_bars(Mode::Full);
    for (minute, expected) in [(57, Some([50, 55])), (200, Some([50, 200]))] {
        let mut driven = Driven::of(&bundle, Mode::Full, LIMITS);
        assert_eq!(driven.engine.missing("A", time(minute), true), Some(Missing::Warm));
        driven.engine.begin_history("A", Missing::Warm).unwrap();
        driven.engine.set_origin(rows(5, false));
        for start in (0..50).step_by(5) {
            driven.push(&tick("A", start, price("A", start)));
        }
        driven.engine.set_origin(Origin::Live);
        driven.flush(Haste::Latency);
        driven.engine.end_history("A", Missing::Warm, true);
        driven.engine.meet_live("A", time(minute));
        assert_eq!(hole(&driven, minute, false), expected, "before minute {minute}");
        driven.engine.give_up("A", Some(time(minute)), false);
        assert_eq!(hole(&driven, minute, false), None);
        run_live(&mut driven, minute..minute + 1);
        assert_eq!(driven.of_symbol("A").pop().unwrap().quality, Quality::Full);
        run_live(&mut driven, minute + 1..minute + 10);
        assert_eq!(driven.of_symbol("A").pop().unwrap().quality, Quality::Gapped);
        // A hole of the stream as long as the window is another one.
        assert_eq!(driven.engine.missing("A", time(minute + 90), true), Some(Missing::Warm));
    }
}

#[test]
fn a_row_takes_the_place_of_no_symbol_and_is_no_sign_of_life() {
    let mut driven = driven(Mode::Full);
    driven.engine.set_now(std::time::Duration::from_secs(5));
    run_history(&mut driven, 0..4, rows(1, false));
    let before = driven.engine.arrivals("A").map(|arrivals| format!("{arrivals:?}"));
    driven.engine.set_now(std::time::Duration::from_secs(9));
    run_history(&mut driven, 4..8, rows(1, false));
    let after = driven.engine.arrivals("A").map(|arrivals| format!("{arrivals:?}"));
    assert_eq!(before, after);
    assert!(before.is_some());
    driven.engine.set_origin(rows(1, false));
    for (index, symbol) in ["B", "C", "D", "E", "F", "G", "H", "I", "J"].iter().enumerate() {
        let pushed = driven.push(&tick(symbol, 0, 1.0));
        let is_known = index + 1 < LIMITS.symbols_max;
        let expected = Pushed::Refused(Reject::TooManySymbols);
        assert_eq!(pushed, if is_known { Pushed::Taken } else { expected }, "{symbol}");
    }
}

#[test]
fn a_recording_adds_nothing_that_a_window_from_rest_has() {
    let bundle = of_bars(Mode::Full);
    let mut before = Driven::of(&bundle, Mode::Full, LIMITS);
    before.run("A", 0..8);
    let at_rest = before.engine.snapshot();
    for covers in [0, 1] {
        let mut driven = Driven::of(&bundle, Mode::Full, LIMITS);
        assert!(driven.engine.restore(&at_rest, None).unwrap().is_empty());
        // The window is not full. The bar of minute 5 is open, and has ticks up to minute 7.
        driven.engine.set_origin(rows(covers, false));
        let pushed = |driven: &mut Driven, minute| driven.push(&tick("A", minute, 1.0));
        for minute in 3..8 {
            assert_eq!(pushed(&mut driven, minute), Pushed::Repeated, "minute {minute}");
        }
        assert_eq!(driven.engine.snapshot(), at_rest);
        assert_eq!(pushed(&mut driven, 8), Pushed::Taken);
        // Rows that are asked for take the place of what came from rest.
        driven.engine.begin_history("A", Missing::Warm).unwrap();
        assert_eq!(pushed(&mut driven, 3), Pushed::Taken);
    }
}

#[test]
fn a_window_from_rest_needs_no_recording() {
    let mut before = driven(Mode::Sliding);
    before.run("A", 0..10);
    let at_rest = before.engine.snapshot();
    let mut driven = driven(Mode::Sliding);
    assert!(driven.engine.restore(&at_rest, None).unwrap().is_empty());
    driven.engine.set_origin(rows(1, false));
    assert_eq!(driven.push(&tick("A", 20, 1.0)), Pushed::Repeated);
    driven.engine.set_origin(Origin::Live);
    driven.run("A", 10..12);
    assert_eq!(driven.of_symbol("A"), from(alone(Mode::Sliding, "A", 0..12), 10));
}
