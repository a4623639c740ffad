//! Bars, gaps and ticks from the future, from a record's bytes to a forecast's bytes.

use std::collections::BTreeMap;
use std::convert::Infallible;

use bytes::Bytes;
use proptest::prelude::*;
use tickcast::app::config;
use tickcast::core::domain::{PartitionId, Position, Reject, UnixNanos};
use tickcast::engine::model::manifest::{EmptySteps, Mode, StepKind, StepSpec};
use tickcast::engine::pipeline::{Pipeline, Pipelines};
use tickcast::engine::symbols::Haste;
use tickcast::engine::symbols::Withheld;

use crate::support::bundle::{SealedBundle, sealed, sealed_with};
use crate::support::feed::ScriptedFeed;
use crate::support::process::Daemon;
use crate::support::runtime;

const HOME: PartitionId = PartitionId(0);

/// A bundle of bars of a minute that wait 90 s and are carried up to three times.
fn patient(seed: u64, window_steps: u32) -> SealedBundle {
    let step = StepSpec {
        lateness_ms: 90_000,
        empty: EmptySteps::Carry,
        carry_steps_max: 3,
        ..StepSpec::time(60)
    };
    of_steps(seed, window_steps, step)
}

fn of_steps(seed: u64, window_steps: u32, step: StepSpec) -> SealedBundle {
    sealed_with(seed, window_steps, &[8], |draft| draft.manifest.step = step)
}

/// Where a record comes from.
#[derive(Clone, Copy, Default)]
struct Origin {
    position: Option<Position>,
    received: Option<UnixNanos>,
}

fn pipeline(sealed: &SealedBundle, settings: &str) -> Pipelines {
    let text = format!(
        "source.url = 'ws://127.0.0.1:1'\nsource.accept_times = true\nmodel.name = 'random'\n\
         model.cadence = 'as_it_comes'\n{settings}"
    );
    pipeline_of(sealed, &text)
}

/// A pipeline by a configuration.
fn pipeline_of(sealed: &SealedBundle, text: &str) -> Pipelines {
    let config = config::parse(text).unwrap();
    let settings = config.pipeline();
    let pipeline = Pipeline::build(&sealed.bundle, runtime(), &settings).unwrap();
    Pipelines::new(pipeline, &settings)
}

fn record(symbol: &str, seconds: i64, price: f64) -> Vec<u8> {
    let time = seconds * 1000;
    format!(r#"{{"symbol":"{symbol}","time":{time},"price":{price},"volume":3}}"#).into_bytes()
}

/// Publishes what waits, and moves the states on.
fn flush(pipeline: &mut Pipeline, lines: &mut Vec<String>, in_one: bool) {
    pipeline.infer(if in_one { Haste::Throughput } else { Haste::Latency }).unwrap();
    let emitted = pipeline.emit(|_, line| {
        lines.push(String::from_utf8(line.to_vec()).unwrap());
        Ok::<_, Infallible>(())
    });
    emitted.unwrap();
    pipeline.engine_mut().advance().unwrap();
}

fn take(
    pipelines: &mut Pipelines,
    lines: &mut Vec<String>,
    record: &[u8],
    origin: Origin,
    in_one: bool,
) -> Option<Reject> {
    let flush = |pipeline: &mut Pipeline| {
        flush(pipeline, lines, in_one);
        Ok::<_, Infallible>(())
    };
    pipelines
        .take(record, origin.position, origin.received, || {}, flush)
        .unwrap()
        .map(|rejection| rejection.reason)
}

/// Both sums of the tally, and what is published.
fn assert_nothing_is_unaccounted_for(pipelines: &Pipelines, lines: &[String]) {
    let tally = pipelines.live().engine().tally();
    let taken = tally.absorbed + tally.steps + tally.rejects.total() + tally.repeats;
    assert_eq!(tally.ticks + tally.further, taken, "{tally:?}");
    let ended = tally.warming + tally.forecasts + tally.withheld.total();
    assert_eq!(tally.steps, ended, "{tally:?}");
    assert_eq!(tally.forecasts, lines.len() as u64);
}

/// How a stream is cut.
#[derive(Clone, Copy, Debug)]
enum Cut {
    None,
    Chunk,
    HurriedChunk,
    Restart,
}

/// A tick of one of a few symbols so many seconds after the newest one, and what follows it.
type Event = (usize, i64, i64, f64, Cut);

fn events() -> impl Strategy<Value = Vec<Event>> {
    let cut = prop_oneof![
        10 => Just(Cut::None),
        2 => Just(Cut::Chunk),
        2 => Just(Cut::HurriedChunk),
        1 => Just(Cut::Restart),
    ];
    let wait = prop_oneof![8 => 0i64..30, 2 => 30i64..400];
    proptest::collection::vec((0usize..3, wait, 0i64..160, 50.0..150.0, cut), 1..160)
}

/// What is published of a stream, with or without its cuts, and how many ticks were late.
fn publish(sealed: &SealedBundle, mode: Mode, events: &[Event], with_cuts: bool) -> Vec<String> {
    let settings = format!("model.mode = '{mode}'");
    let (mut pipeline, mut lines) = (pipeline(sealed, &settings), Vec::new());
    let (mut clock, mut stored) = (0, BTreeMap::new());
    for (offset, (symbol, wait, delay, price, cut)) in (0..).zip(events) {
        clock += wait;
        let record = record(["A", "B", "C"][*symbol], clock - delay, *price);
        let position = Some(Position { partition: HOME, offset });
        let origin = Origin { position, received: None };
        let in_one = matches!(cut, Cut::HurriedChunk) && with_cuts;
        let refused = take(&mut pipeline, &mut lines, &record, origin, in_one);
        assert!(matches!(refused, None | Some(Reject::Late)), "{refused:?}");
        match cut {
            _ if !with_cuts => {}
            Cut::None => {}
            Cut::Chunk => flush(pipeline.live_mut(), &mut lines, false),
            Cut::HurriedChunk => flush(pipeline.live_mut(), &mut lines, true),
            Cut::Restart => {
                flush(pipeline.live_mut(), &mut lines, false);
                pipeline.live_mut().take_changed(usize::MAX, |state| {
                    stored.insert(state.symbol, Bytes::from(state.bytes.unwrap()));
                });
                pipeline = self::pipeline(sealed, &settings);
                let states: Vec<_> =
                    stored.iter().map(|(name, bytes)| (name.clone(), bytes.clone())).collect();
                let restored = pipeline.live_mut().restore(Some(HOME), &states).unwrap();
                assert_eq!(restored.cold, [""; 0]);
                assert_eq!(restored.symbol_count, states.len());
            }
        }
    }
    flush(pipeline.live_mut(), &mut lines, false);
    if !with_cuts {
        assert_nothing_is_unaccounted_for(&pipeline, &lines);
    }
    lines
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// One tick may close several bars and carry others; their forecasts have the same bytes and
    /// the same order whatever the chunks, the mode, and the restarts in between.
    #[test]
    fn forecasts_of_bars_are_the_same_however_the_stream_is_cut(
        seed in any::<u64>(),
        window_steps in 1u32..6,
        events in events(),
    ) {
        let sealed = patient(seed, window_steps);
        let whole = publish(&sealed, Mode::Full, &events, false);
        prop_assert_eq!(&publish(&sealed, Mode::Full, &events, true), &whole);
        let of_mode = |lines: Vec<String>| -> Vec<String> {
            lines.iter().map(|line| line.replace(r#""mode":"full""#, "")).collect()
        };
        let sliding = publish(&sealed, Mode::Sliding, &events, true);
        let sliding: Vec<_> =
            sliding.iter().map(|line| line.replace(r#""mode":"sliding""#, "")).collect();
        prop_assert_eq!(sliding, of_mode(whole));
    }
}

/// The quality of every forecast, in order.
fn qualities(lines: &[String]) -> Vec<String> {
    let quality = |line: &String| {
        let forecast: serde_json::Value = serde_json::from_str(line).unwrap();
        forecast["quality"].as_str().unwrap().to_owned()
    };
    lines.iter().map(quality).collect()
}

#[test]
fn carried_bars_are_told_as_patched_and_a_policy_may_withhold_them() {
    let sealed = patient(5, 3);
    let run = |settings: &str| {
        let (mut pipeline, mut lines) = (pipeline(&sealed, settings), Vec::new());
        // One tick a minute; the seventh and the eighth minute are empty.
        for minute in [0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, 14] {
            let record = record("A", minute * 60, 100.0 + minute as f64);
            let refused = take(&mut pipeline, &mut lines, &record, Origin::default(), false);
            assert_eq!(refused, None);
            // Behind this one something is known to be missing.
            if minute == 10 {
                pipeline.mark_gap();
            }
        }
        flush(pipeline.live_mut(), &mut lines, false);
        assert_nothing_is_unaccounted_for(&pipeline, &lines);
        (qualities(&lines), pipeline.live().engine().tally().clone())
    };
    // The bars of minutes 0 to 11 close. The first makes no row, and hands its mark on; so the
    // windows of three end with 3 to 11. Behind the tick of minute 10 the bars of 8, 9 and 10 are
    // still open and may lack ticks, and so may that of 11.
    let (all, tally) = run("");
    let expected =
        ["gapped", "full", "full", "patched", "patched", "gapped", "gapped", "gapped", "gapped"];
    assert_eq!(all, expected);
    assert_eq!((tally.patched, tally.withheld.total()), (2, 0));
    let (some, tally) = run("engine.withhold = ['patched', 'gapped']");
    assert_eq!(some, ["full", "full"]);
    let withheld = [Withheld::Patched, Withheld::Gapped].map(|reason| tally.withheld.get(reason));
    assert_eq!(withheld, [2, 5]);
}

#[test]
fn a_step_too_far_away_begins_a_window_as_cold_as_a_new_one() {
    let sealed = sealed(9, 4, &[8]);
    let day = 86_400;
    let days = |pipeline: &mut Pipelines, days: std::ops::Range<i64>| {
        let mut lines = Vec::new();
        for at in days {
            let record = record("A", at * day, 100.0 + (at % 7) as f64);
            let refused = take(pipeline, &mut lines, &record, Origin::default(), false);
            assert_eq!(refused, None);
        }
        flush(pipeline.live_mut(), &mut lines, false);
        lines
    };
    for mode in ["full", "sliding"] {
        // Adaptive intervals remember the scores of before.
        let settings = format!("model.mode = '{mode}'\nforecast.intervals = 'bundle'");
        let mut long = pipeline(&sealed, &settings);
        assert_eq!(days(&mut long, 0..10).len(), 6);
        assert_eq!(days(&mut long, 19..21).len(), 2, "ten days are no gap");
        assert_eq!(long.live().engine().tally().resets, 0);
        let resumed = days(&mut long, 31..41);
        assert_eq!(resumed, days(&mut pipeline(&sealed, &settings), 31..41), "{mode}");
        assert_eq!((resumed.len(), long.live().engine().tally().resets), (6, 1));
        let cold = long.live().engine().newest_cold_start().unwrap();
        let at = |days: i64| UnixNanos::from_nanos(days * day * 1_000_000_000);
        assert_eq!((cold.symbol.as_str(), cold.before, cold.after), ("A", at(20), at(31)));
        // What the configuration says goes before what the bundle says.
        let mut never = pipeline(&sealed, &format!("{settings}\nengine.gap_steps_max = 0"));
        days(&mut never, 0..10);
        assert_eq!(days(&mut never, 1000..1001).len(), 1);
        let mut strict = pipeline(&sealed, &format!("{settings}\nengine.gap_steps_max = 1"));
        days(&mut strict, 0..10);
        assert_eq!(days(&mut strict, 11..12).len(), 0);
        assert_eq!(strict.live().engine().tally().resets, 1);
    }
}

#[test]
fn a_tick_from_the_future_changes_nothing_and_only_a_live_one_is_judged() {
    let sealed = of_steps(3, 2, StepSpec::record(60));
    let (mut pipeline, mut lines) = (pipeline(&sealed, ""), Vec::new());
    let now = 1_000_000;
    let received = UnixNanos::from_nanos(now * 1_000_000_000);
    let live = Origin { position: None, received: Some(received) };
    let mut push = |symbol: &str, seconds: i64, origin: Origin| {
        take(&mut pipeline, &mut lines, &record(symbol, seconds, 100.0), origin, false)
    };
    assert_eq!(push("A", now + 60, live), None, "clocks may differ, and bars are stamped ahead");
    assert_eq!(push("A", now + 121, live), Some(Reject::InFuture));
    assert_eq!(push("B", i64::MAX / 1_000_000_000, live), Some(Reject::InFuture));
    assert_eq!(push("A", now + 61, live), Some(Reject::InFuture));
    // An hour later the same symbol goes on.
    let later = UnixNanos::from_nanos((now + 3600) * 1_000_000_000);
    assert_eq!(push("A", now + 3600, Origin { position: None, received: Some(later) }), None);
    assert_eq!(push("A", now + 900_000, Origin::default()), None, "a recording is not judged");
    assert_eq!(pipeline.live().engine().symbol_count(), 1, "a refused tick makes no symbol");
    assert_eq!(pipeline.live().engine().tally().rejects.get(Reject::InFuture), 3);
}

#[test]
fn a_tick_that_a_clock_may_have_refused_wrongly_leaves_a_mark() {
    let sealed = of_steps(3, 2, StepSpec::record(60));
    let start = 1_000_000;
    let quality = |line: &String| {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        record["quality"].as_str().unwrap().to_owned()
    };
    // Ahead of the clock by more than it may be; the last one by more than a clock errs.
    for (ahead, expected) in [(600, "gapped"), (86_399, "gapped"), (86_401, "full")] {
        let (mut pipeline, mut lines) = (pipeline(&sealed, ""), Vec::new());
        let mut push = |seconds: i64, received: i64| {
            let received = Some(UnixNanos::from_nanos(received * 1_000_000_000));
            let origin = Origin { position: None, received };
            take(&mut pipeline, &mut lines, &record("A", seconds, 100.0), origin, false)
        };
        let times: Vec<_> = (0..12).map(|step| start + 60 * step).collect();
        for time in &times[..6] {
            assert_eq!(push(*time, *time), None);
        }
        assert_eq!(push(times[6], times[6] - ahead), Some(Reject::InFuture));
        for time in &times[7..] {
            assert_eq!(push(*time, *time), None);
        }
        flush(pipeline.live_mut(), &mut lines, false);
        let qualities: Vec<_> = lines.iter().map(quality).collect();
        assert_eq!(qualities.last().unwrap(), "full", "{ahead}: {qualities:?}");
        let marked = qualities.iter().filter(|quality| **quality == "gapped").count();
        assert_eq!(marked > 0, expected == "gapped", "{ahead}: {qualities:?}");
    }
}

#[test]
fn a_live_tick_from_the_future_does_not_lock_its_symbol() {
    let sealed = of_steps(3, 2, StepSpec::record(1));
    let feed = ScriptedFeed::start();
    let settings = "source.future_seconds_max = 3600\nengine.gap_steps_max = 0";
    let daemon = Daemon::start(sealed.root.path(), "random", feed.url(), settings);
    let year = 2100 - 1970;
    feed.say(String::from_utf8(record("A", year * 31_557_600, 1.0)).unwrap());
    for second in 0..6 {
        let text = String::from_utf8(record("A", 1_000_000 + second, 100.0 + second as f64));
        feed.say(text.unwrap());
    }
    daemon.await_metric("tickcast_forecasts_total", 4.0);
    assert_eq!(daemon.metric(r#"tickcast_ticks_refused_total{reason="in_future"}"#), 1.0);
    assert_eq!(daemon.metric(r#"tickcast_ticks_refused_total{reason="out_of_order"}"#), 0.0);
    let ended = daemon.stop();
    assert_eq!(ended.drained("forecasts"), 4);
}

#[test]
fn bars_of_ticks_and_volume_forecast_like_records_of_the_same_bars() {
    let kind = |kind, ticks_per_step, volume_per_step| StepSpec {
        kind,
        ticks_per_step,
        volume_per_step,
        ..StepSpec::record(60)
    };
    // Every tick has a volume of 3.
    for step in [kind(StepKind::Ticks, 4, 0.0), kind(StepKind::Volume, 0, 10.5)] {
        let (bars, records) = (of_steps(7, 3, step), of_steps(7, 3, StepSpec::record(60)));
        let (mut of_bars, mut of_records) = (pipeline(&bars, ""), pipeline(&records, ""));
        let (mut from_ticks, mut from_bars) = (Vec::new(), Vec::new());
        for tick in 1..=60 {
            let price = 100.0 + (tick % 11) as f64;
            let record = record("A", tick, price);
            take(&mut of_bars, &mut from_ticks, &record, Origin::default(), false);
            if tick % 4 == 0 {
                let text = format!(
                    r#"{{"symbol":"A","time":{},"close":{price},"volume":12}}"#,
                    tick * 1000
                );
                take(&mut of_records, &mut from_bars, text.as_bytes(), Origin::default(), false);
            }
        }
        flush(of_bars.live_mut(), &mut from_ticks, false);
        flush(of_records.live_mut(), &mut from_bars, false);
        assert_eq!(from_ticks.len(), 15 - 3);
        assert_eq!(from_ticks, from_bars);
    }
}
