//! Each rule by hand, by an oracle that sees all ticks at once, by pandas, and with holes that
//! history fills.

mod history;
mod oracle;
mod reference;

use super::*;
use crate::core::domain::DurationNanos;

fn at(seconds: i64) -> UnixNanos {
    UnixNanos::from_nanos(seconds * 1_000_000_000)
}

fn span(seconds: i64) -> DurationNanos {
    DurationNanos::from_seconds(seconds).unwrap()
}

fn trade(price: f64, volume: f64) -> Fields {
    let mut fields = Fields::EMPTY;
    fields.set_checked(Field::PRICE, price).unwrap();
    fields.set_checked(Field::VOLUME, volume).unwrap();
    fields
}

fn minute() -> StepRule {
    StepRule::Time(TimeBars::of(span(60)))
}

fn waiting(lateness: i64, empty: EmptyRule) -> StepRule {
    StepRule::Time(TimeBars { lateness: span(lateness), empty, ..TimeBars::of(span(60)) })
}

/// Every step that a tick completes.
fn take(state: &mut StepState, rule: &StepRule, time: i64, price: f64) -> Vec<Step> {
    let first = state.push(rule, at(time), &trade(price, 1.0)).unwrap();
    let steps: Vec<_> = first.into_iter().chain(std::iter::from_fn(|| state.pop(rule))).collect();
    assert!(!state.is_due(rule));
    steps
}

/// What a step says in short: its time in seconds, its close, and its marks.
fn told(steps: &[Step]) -> Vec<(i64, f64, &'static str)> {
    let mark = |step: &Step| match (step.after_gap, step.patched) {
        (false, false) => "",
        (true, false) => "gap",
        (false, true) => "patched",
        (true, true) => "both",
    };
    let tell = |step: &Step| {
        let close = step.fields.get(Field::CLOSE).unwrap();
        (step.time.as_nanos() / 1_000_000_000, close, mark(step))
    };
    steps.iter().map(tell).collect()
}

#[test]
fn records_rise_strictly_in_time() {
    let mut state = StepState::default();
    let mut push = |time| state.push(&StepRule::Record, at(time), &trade(1.0, 1.0));
    assert!(push(10).unwrap().is_some());
    assert_eq!(push(10), Err(Reject::Duplicate));
    assert_eq!(push(9), Err(Reject::OutOfOrder));
    assert!(push(11).unwrap().is_some());
}

#[test]
fn a_gap_marks_exactly_the_next_record() {
    let mut state = StepState::default();
    let mut gaps = Vec::new();
    for time in 0..4 {
        if time == 2 {
            state.mark_gap();
        }
        let step = state.push(&StepRule::Record, at(time), &trade(1.0, 1.0)).unwrap();
        gaps.push(step.unwrap().after_gap);
    }
    assert_eq!(gaps, [false, false, true, false]);
}

#[test]
fn bars_have_their_hand_computed_values() {
    let mut state = StepState::default();
    let ticks = [(0, 10.0, 1.0), (5, 12.0, 2.0), (3, 8.0, 4.0), (59, 11.0, 8.0)];
    for (time, price, volume) in ticks {
        assert_eq!(state.push(&minute(), at(time), &trade(price, volume)), Ok(None));
    }
    let step = state.push(&minute(), at(60), &trade(20.0, 1.0)).unwrap().unwrap();
    assert_eq!(step.time, at(60), "a bar is known at its end");
    let fields = [Field::OPEN, Field::HIGH, Field::LOW, Field::CLOSE, Field::VOLUME];
    let values: Vec<_> = fields.iter().map(|field| step.fields.get(*field)).collect();
    assert_eq!(values, [10.0, 12.0, 8.0, 11.0, 15.0].map(Some));
    assert!(step.after_gap, "the first bar may be partial");
    let step = state.push(&minute(), at(120), &trade(20.0, 1.0)).unwrap().unwrap();
    assert!(!step.after_gap, "the second one is whole");
}

#[test]
fn ticks_out_of_order_inside_a_bar_follow_event_time() {
    let mut state = StepState::default();
    for (time, price) in [(30, 2.0), (10, 1.0), (50, 4.0), (40, 3.0)] {
        state.push(&minute(), at(time), &trade(price, 1.0)).unwrap();
    }
    let step = state.push(&minute(), at(61), &trade(9.0, 1.0)).unwrap().unwrap();
    assert_eq!(step.fields.get(Field::OPEN), Some(1.0));
    assert_eq!(step.fields.get(Field::CLOSE), Some(4.0));
    let late = state.push(&minute(), at(59), &trade(5.0, 1.0));
    assert_eq!(late, Err(Reject::Late), "its bar is closed");
}

#[test]
fn an_empty_interval_is_a_gap_and_not_a_flat_bar() {
    let mut state = StepState::default();
    let steps = [0, 180, 240, 300].map(|time| take(&mut state, &minute(), time, 1.0)).concat();
    assert_eq!(told(&steps), [(60, 1.0, "gap"), (240, 1.0, "gap"), (300, 1.0, "")]);
}

#[test]
fn a_bar_waits_for_late_ticks_and_no_longer() {
    let (mut state, rule) = (StepState::default(), waiting(90, EmptyRule::Skip));
    assert_eq!(take(&mut state, &rule, 10, 1.0), []);
    assert_eq!(take(&mut state, &rule, 130, 4.0), [], "three bars may be open");
    assert_eq!(take(&mut state, &rule, 70, 3.0), [], "the second bar has a tick after all");
    assert_eq!(take(&mut state, &rule, 149, 5.0), []);
    assert_eq!(take(&mut state, &rule, 59, 2.0), [], "a second before the first bar closes");
    assert_eq!(told(&take(&mut state, &rule, 150, 6.0)), [(60, 2.0, "gap")]);
    assert_eq!(state.push(&rule, at(59), &trade(9.0, 1.0)), Err(Reject::Late));
    let steps = take(&mut state, &rule, 1000, 7.0);
    assert_eq!(told(&steps), [(120, 3.0, ""), (180, 6.0, "")], "one tick closes what is over");
}

#[test]
fn quiet_intervals_are_carried_as_often_as_the_rule_says() {
    let carry = EmptyRule::Carry { steps_max: 2 };
    let (mut state, rule) = (StepState::default(), waiting(0, carry));
    take(&mut state, &rule, 0, 1.0);
    take(&mut state, &rule, 60, 2.0);
    let steps = take(&mut state, &rule, 240, 3.0);
    let expected = [(120, 2.0, ""), (180, 2.0, "patched"), (240, 2.0, "patched")];
    assert_eq!(told(&steps), expected);
    let flat = steps[1].fields;
    for field in [Field::OPEN, Field::HIGH, Field::LOW, Field::CLOSE] {
        assert_eq!(flat.get(field), Some(2.0), "flat at the last close");
    }
    assert_eq!(flat.get(Field::VOLUME), Some(0.0), "nothing traded");
    assert_eq!(told(&take(&mut state, &rule, 300, 4.0)), [(300, 3.0, "")], "no gap after them");
    // Three in a row are one too many: what is left of the stretch is a gap.
    let steps = take(&mut state, &rule, 540, 5.0);
    let expected = [(360, 4.0, ""), (420, 4.0, "patched"), (480, 4.0, "patched")];
    assert_eq!(told(&steps), expected);
    assert_eq!(told(&take(&mut state, &rule, 600, 6.0)), [(600, 5.0, "gap")]);
}

#[test]
fn nothing_is_carried_over_a_known_gap() {
    let (mut state, rule) = (StepState::default(), waiting(0, EmptyRule::Carry { steps_max: 9 }));
    take(&mut state, &rule, 0, 1.0);
    take(&mut state, &rule, 60, 2.0);
    state.mark_gap();
    assert_eq!(told(&take(&mut state, &rule, 240, 3.0)), [(120, 2.0, "gap")]);
    let steps = [300, 420].map(|time| take(&mut state, &rule, time, 4.0)).concat();
    let expected = [(300, 3.0, "gap"), (360, 4.0, ""), (420, 4.0, "patched")];
    assert_eq!(told(&steps), expected, "behind the gap all is as before");
}

#[test]
fn a_gap_marks_every_bar_that_it_may_touch() {
    let (mut state, rule) = (StepState::default(), waiting(120, EmptyRule::Skip));
    for time in [0, 60, 120] {
        take(&mut state, &rule, time, 1.0);
    }
    state.mark_gap();
    // An older tick does not tell where the stream goes on; the next newer one does.
    assert_eq!(take(&mut state, &rule, 70, 1.0), []);
    let steps = [180, 240, 300, 360, 420].map(|time| take(&mut state, &rule, time, 1.0)).concat();
    let expected = [(60, "gap"), (120, "gap"), (180, "gap"), (240, "gap"), (300, "")];
    let found: Vec<_> = told(&steps).iter().map(|(time, _, mark)| (*time, *mark)).collect();
    assert_eq!(found, expected);
}

#[test]
fn bars_ask_of_ticks_only_what_they_cannot_make() {
    let of_steps = [Field::HIGH, Field::LOW, Field::VOLUME];
    assert_eq!(minute().required(&of_steps), [Field::CLOSE, Field::VOLUME]);
    assert_eq!(StepRule::Record.required(&of_steps), of_steps);
    let of_ticks = |bars| StepRule::Count(bars).required(&[Field::OPEN]);
    assert_eq!(of_ticks(CountBars::Ticks(2)), [Field::CLOSE]);
    assert_eq!(of_ticks(CountBars::Volume(2.0)), [Field::CLOSE, Field::VOLUME]);
}

#[test]
fn smaller_bars_make_a_larger_one() {
    let mut state = StepState::default();
    let mut bar = Fields::EMPTY;
    for (field, value) in
        [(Field::OPEN, 5.0), (Field::HIGH, 9.0), (Field::LOW, 3.0), (Field::CLOSE, 4.0)]
    {
        bar.set_checked(field, value).unwrap();
    }
    state.push(&minute(), at(0), &bar).unwrap();
    let step = state.push(&minute(), at(60), &bar).unwrap().unwrap();
    assert_eq!(step.fields.get(Field::OPEN), Some(5.0));
    assert_eq!(step.fields.get(Field::HIGH), Some(9.0));
    assert_eq!(step.fields.get(Field::LOW), Some(3.0));
    assert_eq!(step.fields.get(Field::CLOSE), Some(4.0));
    assert_eq!(step.fields.get(Field::VOLUME), None);
}

#[test]
fn counted_bars_close_with_the_tick_that_fills_them() {
    let push = |state: &mut StepState, rule: &StepRule, time, volume| {
        state.push(rule, at(time), &trade(time as f64, volume)).unwrap()
    };
    let (mut state, rule) = (StepState::default(), StepRule::Count(CountBars::Ticks(3)));
    let steps: Vec<_> = (1..=7).filter_map(|time| push(&mut state, &rule, time, 1.0)).collect();
    assert_eq!(told(&steps), [(3, 3.0, ""), (6, 6.0, "")]);
    assert_eq!(state.push(&rule, at(6), &trade(1.0, 1.0)), Err(Reject::OutOfOrder));

    // The tick that crosses belongs to the bar that it completes, with all of its volume.
    let (mut state, rule) = (StepState::default(), StepRule::Count(CountBars::Volume(10.0)));
    let volumes = [4.0, 4.0, 25.0, 9.0, 1.0];
    let steps: Vec<_> = (1..)
        .zip(volumes)
        .filter_map(|(time, volume)| push(&mut state, &rule, time, volume))
        .collect();
    let volumes: Vec<_> = steps.iter().map(|step| step.fields.get(Field::VOLUME)).collect();
    assert_eq!(told(&steps), [(3, 3.0, ""), (5, 5.0, "")]);
    assert_eq!(volumes, [Some(33.0), Some(10.0)]);
}

#[test]
fn counted_bars_of_one_instant_become_one() {
    let (mut state, rule) = (StepState::default(), StepRule::Count(CountBars::Ticks(2)));
    let times = [1, 1, 1, 1, 1, 2, 2, 3];
    let steps = times.map(|time| take(&mut state, &rule, time, time as f64)).concat();
    // The first bar ends at 1; the next one may not end there too, so it goes on to 2.
    assert_eq!(told(&steps), [(1, 1.0, ""), (2, 2.0, ""), (3, 3.0, "")]);
    let volume = |step: &Step| step.fields.get(Field::VOLUME).unwrap();
    assert_eq!(steps.iter().map(volume).collect::<Vec<_>>(), [2.0, 4.0, 2.0]);
}

#[test]
fn a_gap_marks_the_counted_bar_that_it_falls_into() {
    let (mut state, rule) = (StepState::default(), StepRule::Count(CountBars::Ticks(2)));
    let mut steps = Vec::new();
    for time in 1..=8 {
        if [4, 7].contains(&time) {
            state.mark_gap();
        }
        steps.extend(take(&mut state, &rule, time, 1.0));
    }
    let expected = [(2, 1.0, ""), (4, 1.0, "gap"), (6, 1.0, ""), (8, 1.0, "gap")];
    assert_eq!(told(&steps), expected);
}

#[test]
fn a_state_belongs_to_its_rule() {
    let count = StepRule::Count(CountBars::Ticks(2));
    let rules = [StepRule::Record, minute(), count];
    for (own, rule) in rules.iter().enumerate() {
        let mut state = StepState::default();
        assert!(rules.iter().all(|rule| state.fits(rule)), "nothing came yet");
        state.push(rule, at(0), &trade(1.0, 1.0)).unwrap();
        for (other, rule) in rules.iter().enumerate() {
            assert_eq!(state.fits(rule), other == own, "{own} and {other}");
        }
    }
}

#[test]
fn a_bar_beyond_the_range_of_time_is_refused_and_none_overflows() {
    let rule = waiting(90, EmptyRule::Carry { steps_max: 1024 });
    let mut state = StepState::default();
    let price = trade(1.0, 1.0);
    let last = UnixNanos::from_nanos(i64::MAX);
    assert_eq!(state.push(&rule, last, &price), Err(Reject::InvalidTime));
    assert_eq!(state, StepState::default(), "a refused tick has no effect");
    let first = UnixNanos::from_nanos(i64::MIN).checked_add(span(60)).unwrap();
    assert_eq!(state.push(&rule, first, &price), Ok(None));
    let newest = UnixNanos::from_nanos(i64::MAX - 120_000_000_000);
    let step = state.push(&rule, newest, &price).unwrap().unwrap();
    assert!(step.time < at(0));
    let rest: Vec<_> = std::iter::from_fn(|| state.pop(&rule)).collect();
    assert!(rest.iter().all(|step| step.patched));
    assert_eq!(rest.len(), 1024, "thousands of millions of minutes are skipped in no time");
}
