//! Steps of a stream with holes that history fills, against those of the stream without holes.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;

/// What a symbol does in a life: stretches of ticks in the order in which they come, of which those
/// that are lost are followed by a gap.
#[derive(Clone, Debug)]
struct Life {
    rule: StepRule,
    stretches: Vec<Stretch>,
    /// Whether history has bars, and not trades.
    has_bars: bool,
}

#[derive(Clone, Debug)]
struct Stretch {
    /// In the order of arrival: seconds and a price.
    ticks: Vec<(i64, f64)>,
    is_lost: bool,
    /// The state goes to rest and comes back before it, and what came meanwhile is not known.
    is_restart: bool,
}

/// What is known of a run.
#[derive(Debug, Default)]
struct Run {
    steps: Vec<Step>,
    asked: usize,
    filled: usize,
}

impl Life {
    fn ticks(&self) -> impl Iterator<Item = (i64, f64)> {
        self.stretches.iter().flat_map(|stretch| stretch.ticks.iter().copied())
    }

    /// What history has of a stretch, in the order of time.
    fn rows(&self, span: Span) -> Vec<(UnixNanos, Fields)> {
        let within = |(time, _): &(i64, f64)| span.contains(at(*time));
        let mut ticks: Vec<_> = self.ticks().filter(within).collect();
        ticks.sort_by_key(|(time, _)| *time);
        let StepRule::Time(TimeBars { interval, offset, .. }) = &self.rule else {
            return ticks.iter().map(|(time, price)| (at(*time), fields(*time, *price))).collect();
        };
        if !self.has_bars {
            return ticks.iter().map(|(time, price)| (at(*time), fields(*time, *price))).collect();
        }
        let start = |time: i64| at(time).interval_start(*interval, *offset).unwrap();
        let bar = |ticks: &[(i64, f64)]| {
            let prices = || ticks.iter().map(|(_, price)| *price);
            let volume = ticks.iter().map(|(time, _)| volume(*time)).sum();
            let mut fields = trade(ticks[ticks.len() - 1].1, volume);
            fields.set(Field::OPEN, ticks[0].1);
            fields.set(Field::HIGH, prices().fold(f64::NEG_INFINITY, f64::max));
            fields.set(Field::LOW, prices().fold(f64::INFINITY, f64::min));
            (start(ticks[0].0), fields)
        };
        ticks.chunk_by(|one, other| start(one.0) == start(other.0)).map(bar).collect()
    }

    /// The steps where nothing is lost.
    fn whole(&self) -> Vec<Step> {
        let (mut state, mut steps) = (StepState::default(), Vec::new());
        for (time, price) in self.ticks() {
            push(&mut state, &self.rule, at(time), fields(time, price), &mut steps);
        }
        steps
    }

    /// The steps of what comes, with history where `answers` says so; for ever, where it ends.
    fn live(&self, mut answers: impl Iterator<Item = bool>) -> Run {
        let (mut state, mut run, mut gap) = (StepState::default(), Run::default(), false);
        for stretch in &self.stretches {
            if stretch.is_restart && state != StepState::default() {
                let text = serde_json::to_string(&state).unwrap();
                state = serde_json::from_str(&text).unwrap();
                state.mark_gap();
            }
            if stretch.is_lost {
                gap = true;
                continue;
            }
            for (time, price) in &stretch.ticks {
                let after_gap = std::mem::take(&mut gap);
                if state.covered_until().is_some_and(|until| at(*time) < until) {
                    gap = after_gap;
                    continue;
                }
                let answer = || answers.next().unwrap_or(true);
                self.ask(&mut state, at(*time), after_gap, answer, &mut run);
                push(&mut state, &self.rule, at(*time), fields(*time, *price), &mut run.steps);
            }
        }
        run
    }

    /// Fills what is missing before a tick, or marks it.
    fn ask(
        &self,
        state: &mut StepState,
        time: UnixNanos,
        after_gap: bool,
        answer: impl FnOnce() -> bool,
        run: &mut Run,
    ) {
        let Some(span) = state.missing(&self.rule, time, after_gap) else {
            if after_gap {
                state.mark_gap();
            }
            return;
        };
        assert!(!span.is_empty() && span.to <= time, "{span:?} before {time}");
        run.asked += 1;
        // Nothing is known of what came before the first tick of all.
        if state.newest().is_none() || !answer() {
            if after_gap {
                state.mark_gap();
            }
            return;
        }
        run.filled += 1;
        state.rewind(span);
        for (time, fields) in self.rows(span) {
            push(state, &self.rule, time, fields, &mut run.steps);
        }
        state.filled(after_gap);
        let again = state.missing(&self.rule, time, false);
        assert_eq!(again, None, "what is filled is not asked for again");
    }
}

fn push(
    state: &mut StepState,
    rule: &StepRule,
    time: UnixNanos,
    fields: Fields,
    steps: &mut Vec<Step>,
) {
    steps.extend(state.push(rule, time, &fields).unwrap());
    steps.extend(std::iter::from_fn(|| state.pop(rule)));
}

/// Sums of these are exact in any order.
fn volume(time: i64) -> f64 {
    (time.rem_euclid(7) + 1) as f64
}

fn fields(time: i64, price: f64) -> Fields {
    trade(price, volume(time))
}

fn bars() -> impl Strategy<Value = TimeBars> {
    (1i64..20, 0i64..40, prop_oneof![Just(0u32), 1u32..5]).prop_flat_map(
        |(interval, lateness, carry)| {
            (0..interval).prop_map(move |offset| TimeBars {
                interval: span(interval),
                offset: span(offset),
                lateness: span(lateness),
                empty: match carry {
                    0 => EmptyRule::Skip,
                    steps_max => EmptyRule::Carry { steps_max },
                },
                calendar: None,
            })
        },
    )
}

fn days() -> impl Strategy<Value = TimeBars> {
    let carry = prop_oneof![Just(EmptyRule::Skip), Just(EmptyRule::Carry { steps_max: 2 })];
    (carry, 0i64..40).prop_map(|(empty, hours)| {
        let weekdays = [true, true, true, false, true, false, false];
        let day = span(86_400);
        let calendar = Calendar::new(weekdays, [9, 13], DurationNanos::ZERO, day).unwrap();
        let lateness = span(hours * 3600);
        TimeBars { lateness, empty, calendar: Some(Arc::new(calendar)), ..TimeBars::of(day) }
    })
}

/// Lives of these bars. A tick comes later than its place among the ticks of its stretch by no
/// more than the lateness, and at an instant of its own.
fn lives(rule: impl Strategy<Value = TimeBars>, second: i64) -> impl Strategy<Value = Life> {
    let tick = (1i64..6, 0i64..1000, 1u32..64);
    let stretch = (proptest::collection::vec(tick, 1..14), 0i64..60, any::<[bool; 2]>());
    (rule, proptest::collection::vec(stretch, 1..8), any::<bool>()).prop_map(
        move |(rule, drawn, has_bars)| {
            let lateness = rule.lateness.as_nanos() / 1_000_000_000;
            // The first ticks are far apart, so that the bar of the first one, which lacks what
            // came before it, is over before anything is lost.
            let ticks = vec![(-20_000 * second, 1.0), (-10_000 * second, 1.0)];
            let first = Stretch { ticks, is_lost: false, is_restart: false };
            let (mut stretches, mut clock) = (vec![first], 0);
            for (ticks, pause, [is_lost, is_restart]) in drawn {
                clock += pause * second;
                let mut placed = Vec::new();
                for (step, jitter, price) in ticks {
                    clock += step * second;
                    placed.push((
                        clock + jitter * second % (lateness + 1),
                        (clock, f64::from(price) / 4.0),
                    ));
                }
                placed.sort_by_key(|(arrival, _)| *arrival);
                let ticks = placed.into_iter().map(|(_, tick)| tick).collect();
                stretches.push(Stretch { ticks, is_lost, is_restart });
            }
            clock += 50 * second;
            let last = vec![(clock, 1.0), (clock + 200 * second, 2.0)];
            stretches.push(Stretch { ticks: last, is_lost: false, is_restart: false });
            Life { rule: StepRule::Time(rule), stretches, has_bars }
        },
    )
}

fn any_life() -> impl Strategy<Value = Life> {
    prop_oneof![3 => lives(bars(), 1), 1 => lives(days(), 4 * 3600)]
}

/// The same ticks in the order of time, as records.
fn of_records(life: Life) -> Life {
    let mut stretches = life.stretches;
    for stretch in &mut stretches {
        stretch.ticks.sort_by_key(|(time, _)| *time);
    }
    Life { rule: StepRule::Record, stretches, has_bars: false }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Where history answers, the steps are those of a stream without holes, marks included.
    #[test]
    fn bars_that_history_fills_are_those_of_a_stream_without_holes(life in any_life()) {
        let run = life.live(std::iter::empty());
        prop_assert_eq!(&run.steps, &life.whole(), "{} of {} filled", run.filled, run.asked);
    }

    #[test]
    fn records_that_history_fills_are_those_of_a_stream_without_holes(life in any_life()) {
        let life = of_records(life);
        prop_assert_eq!(&life.live(std::iter::empty()).steps, &life.whole());
    }

    /// Where it answers now and then, no step claims to be whole that is not.
    #[test]
    fn steps_without_a_mark_are_whole_whatever_history_answers(
        life in any_life(),
        is_record in any::<bool>(),
        answers in proptest::collection::vec(any::<bool>(), 0..40),
    ) {
        let life = if is_record { of_records(life) } else { life };
        let (run, whole) = (life.live(answers.into_iter()), life.whole());
        let rises = run.steps.windows(2).all(|pair| pair[0].time < pair[1].time);
        prop_assert!(rises, "times rise strictly");
        for step in run.steps.iter().filter(|step| !step.after_gap && !step.patched) {
            let same = whole.iter().find(|whole| whole.time == step.time);
            prop_assert_eq!(same.map(|whole| whole.fields), Some(step.fields));
        }
    }

    /// Where it never answers, the steps are those of a stream that asks for nothing.
    #[test]
    fn without_answers_the_marks_are_those_without_history(life in any_life()) {
        let run = life.live(std::iter::repeat(false));
        let (mut state, mut steps) = (StepState::default(), Vec::new());
        for stretch in &life.stretches {
            if stretch.is_restart && state != StepState::default() {
                state.mark_gap();
            }
            if stretch.is_lost {
                state.mark_gap();
                continue;
            }
            for (time, price) in &stretch.ticks {
                push(&mut state, &life.rule, at(*time), fields(*time, *price), &mut steps);
            }
        }
        prop_assert_eq!(run.steps, steps);
    }
}

#[test]
fn the_bar_under_way_is_asked_for_when_a_tick_proves_its_end() {
    let (mut state, rule) = (StepState::default(), minute());
    take(&mut state, &rule, 0, 1.0);
    take(&mut state, &rule, 60, 2.0);
    let missing = |state: &StepState, time, after_gap| {
        let span = state.missing(&rule, at(time), after_gap)?;
        Some([span.from, span.to].map(|time| time.as_nanos() / 1_000_000_000))
    };
    assert_eq!(missing(&state, 300, false), None, "a quiet stretch asks for nothing");
    assert_eq!(missing(&state, 90, true), None, "the bar is not over");
    assert_eq!(missing(&state, 200, true), Some([60, 180]));
    state.mark_gap();
    assert_eq!(missing(&state, 200, false), Some([60, 180]));
    state.rewind(Span { from: at(60), to: at(180) });
    let steps = [60, 120].map(|time| take(&mut state, &rule, time, 5.0)).concat();
    state.filled(false);
    let steps = [steps, take(&mut state, &rule, 200, 3.0)].concat();
    assert_eq!(told(&steps), [(120, 5.0, ""), (180, 5.0, "")]);
    assert_eq!(state.covered_until(), Some(at(180)));
    assert_eq!(missing(&state, 239, false), None, "it may go on");
    assert_eq!(missing(&state, 240, false), Some([180, 240]), "its beginning is missing");
    // Without an answer it is marked, and what follows is whole.
    let steps = [240, 300].map(|time| take(&mut state, &rule, time, 4.0)).concat();
    assert_eq!(told(&steps), [(240, 3.0, "gap"), (300, 4.0, "")]);
    assert_eq!(missing(&state, 360, false), None);
}

#[test]
fn a_gap_behind_what_history_covers_marks_no_bar_before_it() {
    let (mut state, rule) = (StepState::default(), minute());
    let mut steps = [0, 60, 120].map(|time| take(&mut state, &rule, time, 1.0)).concat();
    state.cover_until(at(180));
    state.mark_gap();
    assert_eq!(state.missing(&rule, at(200), false), None, "only its own bar lacks ticks");
    steps.extend([200, 250, 300].map(|time| take(&mut state, &rule, time, 1.0)).concat());
    let expected = [(60, 1.0, "gap"), (120, 1.0, ""), (180, 1.0, ""), (240, 1.0, "gap")];
    assert_eq!(told(&steps), [&expected[..], &[(300, 1.0, "")]].concat());
}

#[test]
fn a_bar_that_history_covers_in_part_is_filled_when_it_is_over() {
    let (mut state, rule) = (StepState::default(), minute());
    for time in [0, 60, 70] {
        take(&mut state, &rule, time, 1.0);
    }
    state.cover_until(at(80));
    state.mark_gap();
    assert_eq!(take(&mut state, &rule, 95, 1.0), []);
    let span = Span { from: at(60), to: at(120) };
    assert_eq!(state.missing(&rule, at(130), false), Some(span));
    assert_eq!(told(&take(&mut state, &rule, 130, 1.0)), [(120, 1.0, "gap")]);
}

#[test]
fn a_step_that_lacks_ticks_marks_the_one_that_rows_make_behind_it() {
    let steps = |is_doubtful| {
        let carry = EmptyRule::Carry { steps_max: 2 };
        let (mut state, rule) = (StepState::default(), waiting(0, carry));
        for time in [0, 60, 130] {
            take(&mut state, &rule, time, 1.0);
        }
        state.rewind(Span { from: at(120), to: at(240) });
        if is_doubtful {
            state.doubt_newest();
        }
        let steps = [180, 240, 360].map(|time| take(&mut state, &rule, time, 2.0)).concat();
        told(&steps)
    };
    let whole = [(180, 1.0, "patched"), (240, 2.0, ""), (300, 2.0, ""), (360, 2.0, "patched")];
    assert_eq!(steps(false), whole);
    let marked = [(240, 2.0, "gap"), (300, 2.0, ""), (360, 2.0, "patched")];
    assert_eq!(steps(true), marked, "what lacks ticks is not carried");
}

#[test]
fn a_gap_that_a_record_has_handed_on_is_no_hole_behind_it() {
    let mut state = StepState::default();
    let record = StepRule::Record;
    let push = |state: &mut StepState, time| {
        state.push(&record, at(time), &trade(1.0, 1.0)).unwrap().unwrap()
    };
    state.mark_gap();
    let first = push(&mut state, 1);
    state.hand_on(&first);
    assert_eq!(state.missing(&StepRule::Record, at(9), false), None);
    let span = Span { from: UnixNanos::from_nanos(1_000_000_001), to: at(9) };
    assert_eq!(state.missing(&StepRule::Record, at(9), true), Some(span));
    state.rewind(span);
    assert!(push(&mut state, 5).after_gap, "rows leave the mark where it belongs");
    state.mark_gap();
    let span = Span { from: UnixNanos::from_nanos(5_000_000_001), to: at(9) };
    assert_eq!(state.missing(&StepRule::Record, at(9), false), Some(span));
    state.rewind(span);
    assert!(!push(&mut state, 9).after_gap);
}
