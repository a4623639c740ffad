//! Records with history before them and in their holes say what a replay of all of them says.

use std::convert::Infallible;

use super::*;
use crate::engine::model::manifest::Mode;
use crate::engine::pipeline::PipelineSettings;
use crate::engine::symbols::{Haste, Withheld};
use crate::engine::test_support::{NullRuntime, bundle, price, time};

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
    let Ok(refused) = pipelines.fill(&asked, &rows, covers, flush);
    assert_eq!(refused, None);
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
    let Ok(refused) = live.fill(&asked(5, false, Missing::Warm), &rows, covers, flush);
    assert!(refused.is_some());
    assert!(!live.live().engine().has_symbol("A"));
}
