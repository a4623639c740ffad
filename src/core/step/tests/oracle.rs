//! Bars against an oracle that sees all ticks at once: it sorts, groups and aggregates, and shares
//! nothing with the code that it checks.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What happens to a symbol.
#[derive(Clone, Copy, Debug)]
enum Event {
    Tick(Tick),
    /// Ticks may be missing here.
    Gap,
    /// Into rest and out of it.
    Restart,
}

/// Seconds, and numbers whose sums are exact in any order.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Tick {
    time: i64,
    price: f64,
    volume: f64,
    extra: Option<f64>,
}

/// A bar of time as seconds and numbers.
#[derive(Clone, Copy, Debug)]
struct Rule {
    interval: i64,
    offset: i64,
    lateness: i64,
    /// The most carried bars; 0 skips.
    carry: u32,
}

impl Rule {
    fn real(self) -> StepRule {
        StepRule::Time(TimeBars {
            interval: span(self.interval),
            offset: span(self.offset),
            lateness: span(self.lateness),
            empty: match self.carry {
                0 => EmptyRule::Skip,
                steps_max => EmptyRule::Carry { steps_max },
            },
            calendar: None,
        })
    }

    fn start(self, time: i64) -> i64 {
        (time - self.offset).div_euclid(self.interval) * self.interval + self.offset
    }
}

/// A bar as the oracle and the code have it: end, open, high, low, close, volume, extra, marks.
type Row = (i64, [f64; 5], Option<f64>, bool, bool);

fn schema() -> crate::core::domain::Schema {
    crate::core::domain::Schema::new(["x"]).unwrap()
}

fn fields(tick: Tick) -> Fields {
    let mut fields = trade(tick.price, tick.volume);
    if let Some(value) = tick.extra {
        fields.set_checked(schema().field("x").unwrap(), value).unwrap();
    }
    fields
}

fn row(step: &Step) -> Row {
    let value = |field| step.fields.get(field).unwrap();
    let fields = [Field::OPEN, Field::HIGH, Field::LOW, Field::CLOSE, Field::VOLUME];
    let extra = step.fields.get(schema().field("x").unwrap());
    let end = step.time.as_nanos() / 1_000_000_000;
    (end, fields.map(value), extra, step.after_gap, step.patched)
}

/// What the code makes of it: bars, and the reasons of what it refused.
fn live(rule: &StepRule, events: &[Event]) -> (Vec<Row>, Vec<Reject>) {
    let (mut state, mut rows, mut refused) = (StepState::default(), Vec::new(), Vec::new());
    for event in events {
        match event {
            Event::Gap => state.mark_gap(),
            Event::Restart => {
                let text = serde_json::to_string(&state).unwrap();
                let restored: StepState = serde_json::from_str(&text).unwrap();
                assert_eq!(restored, state);
                assert!(restored.fits(rule));
                state = restored;
            }
            Event::Tick(tick) => {
                let before = state.clone();
                match state.push(rule, at(tick.time), &fields(*tick)) {
                    Err(reason) => {
                        assert_eq!(state, before, "a refused tick changes nothing");
                        refused.push(reason);
                    }
                    Ok(first) => {
                        rows.extend(first.iter().map(row));
                        while state.is_due(rule) {
                            rows.push(row(&state.pop(rule).unwrap()));
                        }
                        assert_eq!(state.pop(rule), None);
                    }
                }
            }
        }
    }
    (rows, refused)
}

/// Open, high, low, close, volume and the last extra value of ticks in the order of arrival.
fn aggregate(ticks: &[Tick]) -> ([f64; 5], Option<f64>) {
    let mut sorted = ticks.to_vec();
    sorted.sort_by_key(|tick| tick.time);
    let prices = || sorted.iter().map(|tick| tick.price);
    let values = [
        sorted[0].price,
        prices().fold(f64::NEG_INFINITY, f64::max),
        prices().fold(f64::INFINITY, f64::min),
        sorted[sorted.len() - 1].price,
        sorted.iter().map(|tick| tick.volume).sum(),
    ];
    (values, sorted.iter().rev().find_map(|tick| tick.extra))
}

/// What the rule says about all of it at once.
fn expected(rule: Rule, events: &[Event]) -> (Vec<Row>, usize) {
    // The newest time taken before each event, and which ticks are late.
    let mut head = None;
    let (mut heads, mut taken, mut late) = (Vec::new(), Vec::new(), 0);
    for (index, event) in events.iter().enumerate() {
        heads.push(head);
        let Event::Tick(tick) = event else { continue };
        let end = rule.start(tick.time) + rule.interval;
        if head.is_some_and(|head: i64| head >= end + rule.lateness) {
            late += 1;
            continue;
        }
        taken.push((index, *tick));
        head = Some(head.map_or(tick.time, |head| head.max(tick.time)));
    }
    let Some(head) = head else { return (Vec::new(), late) };
    // A stretch of event time may lack ticks: where it ends, and since which event that is known.
    let mut unsure = vec![(0, taken[0].1.time)];
    for (index, event) in events.iter().enumerate() {
        let (Event::Gap, Some(before)) = (event, heads[index]) else { continue };
        unsure.push((index, before));
        let next = taken.iter().find(|(later, tick)| *later > index && tick.time >= before);
        unsure.extend(next.map(|(later, tick)| (*later, tick.time)));
    }
    let closes = |start: i64| {
        let over = start + rule.interval + rule.lateness;
        let closer = taken.iter().find(|(_, tick)| tick.time >= over);
        closer.map(|(index, _)| *index)
    };
    // Whether the bar that begins at `start` may lack ticks, by what is known when it closes.
    let is_unsure = |start: i64| {
        let Some(closed) = closes(start) else { return false };
        unsure.iter().any(|(known, until)| *known <= closed && start <= *until)
    };
    let mut groups: BTreeMap<i64, Vec<Tick>> = BTreeMap::new();
    for (_, tick) in &taken {
        groups.entry(rule.start(tick.time)).or_default().push(*tick);
    }
    let over = |start: i64| start + rule.interval + rule.lateness <= head;
    let (mut rows, mut newest, mut last): (Vec<Row>, Option<i64>, _) = (Vec::new(), None, None);
    for (start, ticks) in groups {
        // The empty intervals before it, as far as they are over.
        for _ in 0..rule.carry {
            let (Some(empty), Some((close, extra))) = (newest, last) else { break };
            if empty >= start || !over(empty) || is_unsure(empty) {
                break;
            }
            let end = empty + rule.interval;
            rows.push((end, [close, close, close, close, 0.0], extra, false, true));
            newest = Some(end);
        }
        if !over(start) {
            break;
        }
        let (values, extra) = aggregate(&ticks);
        let skipped = newest.is_some_and(|newest| newest < start);
        let end = start + rule.interval;
        rows.push((end, values, extra, skipped || is_unsure(start), false));
        (newest, last) = (Some(end), Some((values[3], extra)));
    }
    (rows, late)
}

fn tick(times: impl Strategy<Value = i64>) -> impl Strategy<Value = Tick> {
    (times, 1u32..64, 0u32..8, proptest::option::weighted(0.3, 1u32..9)).prop_map(
        |(time, price, volume, extra)| Tick {
            time,
            price: f64::from(price) / 4.0,
            volume: f64::from(volume),
            extra: extra.map(f64::from),
        },
    )
}

fn rule() -> impl Strategy<Value = Rule> {
    (1i64..20, 0i64..40, prop_oneof![Just(0u32), 1u32..5]).prop_flat_map(
        |(interval, lateness, carry)| {
            (0..interval).prop_map(move |offset| Rule { interval, offset, lateness, carry })
        },
    )
}

/// A stream whose clock walks forwards, with ticks off their place by up to `jitter`, some dropped
/// with or without a word, some twice.
fn stream(jitter: i64, gaps: u32) -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        30 => (0i64..4, tick(-jitter..=0)).prop_map(|(step, tick)| (step, Some(Event::Tick(tick)))),
        3 => (0i64..90).prop_map(|step| (step, None)),
        gaps => (0i64..60).prop_map(|step| (step, Some(Event::Gap))),
        1 => Just((0, Some(Event::Restart))),
    ];
    proptest::collection::vec((event, proptest::bool::weighted(0.05)), 1..160).prop_map(|steps| {
        let (mut clock, mut events) = (-40, Vec::new());
        for ((step, event), twice) in steps {
            clock += step;
            let event = event.map(|event| match event {
                Event::Tick(tick) => Event::Tick(Tick { time: clock + tick.time, ..tick }),
                other => other,
            });
            events.extend(event);
            events.extend(event.filter(|event| twice && matches!(event, Event::Tick(_))));
        }
        events
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn bars_of_time_are_those_of_the_oracle(
        rule in rule(),
        events in (0i64..60).prop_flat_map(|jitter| stream(jitter, 2)),
    ) {
        let (rows, refused) = live(&rule.real(), &events);
        let (expected, late) = expected(rule, &events);
        prop_assert_eq!(&rows, &expected);
        prop_assert_eq!(refused, vec![Reject::Late; late]);
        prop_assert!(rows.windows(2).all(|pair| pair[0].0 < pair[1].0), "times rise strictly");
    }

    /// What comes out of order by no more than the lateness changes nothing: the bars are those of
    /// the same ticks in order, and none is refused.
    #[test]
    fn disorder_within_the_lateness_changes_nothing(
        rule in rule(),
        ticks in proptest::collection::vec((tick(0i64..400), 0i64..1000), 1..120),
    ) {
        // Each instant has one tick, since within an instant the order of arrival counts.
        let mut ticks = ticks;
        ticks.sort_by_key(|(tick, _)| tick.time);
        ticks.dedup_by_key(|(tick, _)| tick.time);
        let in_order: Vec<_> = ticks.iter().map(|(tick, _)| Event::Tick(*tick)).collect();
        // The first tick of all says what is unsure, so it stays the first.
        let arrival = |(tick, jitter): &(Tick, i64)| tick.time + jitter % (rule.lateness + 1);
        ticks[1..].sort_by_key(arrival);
        let shuffled: Vec<_> = ticks.iter().map(|(tick, _)| Event::Tick(*tick)).collect();
        let (rows, refused) = live(&rule.real(), &shuffled);
        prop_assert_eq!(refused, []);
        prop_assert_eq!(rows, live(&rule.real(), &in_order).0);
    }

    #[test]
    fn open_bars_are_bounded_by_the_lateness(
        rule in rule(),
        events in stream(80, 1),
    ) {
        let mut state = StepState::default();
        let open_max = (rule.lateness + rule.interval - 1) / rule.interval + 1;
        for event in events {
            let Event::Tick(tick) = event else { continue };
            let rule = rule.real();
            if state.push(&rule, at(tick.time), &fields(tick)).is_ok() {
                while state.pop(&rule).is_some() {}
            }
            let Bars::Time(bars) = &state.bars else { continue };
            let open = serde_json::to_value(bars).unwrap()["open"].as_array().unwrap().len();
            prop_assert!(open as i64 <= open_max, "{} open of {}", open, open_max);
        }
    }

    #[test]
    fn counted_bars_are_those_of_the_oracle(
        ticks_per_bar in 1u32..9,
        units in proptest::option::of(1u32..30),
        events in (0i64..6).prop_flat_map(|jitter| stream(jitter, 2)),
    ) {
        let bars = match units {
            Some(units) => CountBars::Volume(f64::from(units)),
            None => CountBars::Ticks(ticks_per_bar),
        };
        let (rows, refused) = live(&StepRule::Count(bars), &events);
        let (expected, out_of_order) = expected_counts(bars, &events);
        prop_assert_eq!(&rows, &expected);
        prop_assert_eq!(refused, vec![Reject::OutOfOrder; out_of_order]);
        prop_assert!(rows.windows(2).all(|pair| pair[0].0 < pair[1].0), "times rise strictly");
    }
}

/// Bars of ticks or volume over all of the stream at once.
fn expected_counts(bars: CountBars, events: &[Event]) -> (Vec<Row>, usize) {
    // Ticks that keep the order, each with whether a gap lies right before it.
    let (mut ticks, mut refused, mut gap): (Vec<(Tick, bool)>, _, _) = (Vec::new(), 0, false);
    for event in events {
        match event {
            Event::Gap => gap = true,
            Event::Restart => {}
            Event::Tick(tick) if ticks.last().is_some_and(|(last, _)| tick.time < last.time) => {
                refused += 1;
            }
            Event::Tick(tick) => ticks.push((*tick, std::mem::take(&mut gap))),
        }
    }
    let mut rows: Vec<Row> = Vec::new();
    let mut rest = &ticks[..];
    // The shortest beginning of the rest that is full and ends after the bar before.
    while let Some(count) = (1..=rest.len()).find(|count| {
        let (bar, newest) = (&rest[..*count], rows.last().map(|row| row.0));
        let full = match bars {
            CountBars::Ticks(ticks) => bar.len() >= ticks as usize,
            CountBars::Volume(units) => {
                bar.iter().map(|(tick, _)| tick.volume).sum::<f64>() >= units
            }
        };
        full && newest.is_none_or(|newest| bar[bar.len() - 1].0.time > newest)
    }) {
        let (bar, behind) = rest.split_at(count);
        let of_bar: Vec<_> = bar.iter().map(|(tick, _)| *tick).collect();
        let (values, extra) = aggregate(&of_bar);
        let after_gap = bar.iter().any(|(_, gap)| *gap);
        rows.push((of_bar[of_bar.len() - 1].time, values, extra, after_gap, false));
        rest = behind;
    }
    (rows, refused)
}
