//! Streams with a switch from history, holes and answers, against a replay of all their ticks.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::OnceLock;

use proptest::prelude::*;

use super::*;
use crate::engine::model::Bundle;
use crate::engine::symbols::CadencePolicy;

const MINUTE_MS: i64 = 60_000;

/// Rows that are enough for every window of the models: those of five bars of five minutes, with
/// room for minutes without a trade.
const ROWS_MIN: usize = 60;

/// What a symbol does.
#[derive(Clone, Debug)]
struct Life {
    /// Whether its ticks are bars of a minute, and the models take each as a step.
    is_record: bool,
    mode: Mode,
    /// All ticks, in milliseconds, and their prices.
    ticks: Vec<(i64, f64)>,
    /// The place of the first one of the stream.
    switch: usize,
    /// Places of those that are lost.
    holes: Vec<Range<usize>>,
    /// Whether the feed marks a hole in the record behind it; else it marks every symbol at once.
    marks_records: bool,
    /// How many ticks the shadows lag behind.
    chunk: usize,
    /// How many rows an answer has more than it must.
    more: usize,
}

/// What the models said, each record with its event time, and how often history was asked.
#[derive(Debug, Default)]
struct Run {
    said: [Vec<(String, String)>; 3],
    asked: usize,
}

/// Bundles of records, and of bars of one and of five minutes.
fn bundles() -> &'static [Bundle; 3] {
    static BUNDLES: OnceLock<[Bundle; 3]> = OnceLock::new();
    BUNDLES.get_or_init(|| {
        let of = |step| {
            let mut manifest = manifest(&[Mode::Full, Mode::Sliding]);
            manifest.step = step;
            draft(manifest, Weights::default()).into_bundle().unwrap()
        };
        let bars = |seconds| StepSpec { kind: StepKind::Time, ..StepSpec::record(seconds) };
        [of(StepSpec::record(60)), of(bars(60)), of(bars(300))]
    })
}

impl Life {
    /// Two live models and a shadow of the first.
    fn pipelines(&self, publishes_history: bool) -> Pipelines {
        let mut settings = PipelineSettings::of_tests();
        settings.policy.cadence = CadencePolicy::AsItComes;
        (settings.mode, settings.publishes_history) = (Some(self.mode), publishes_history);
        let [record, minute, five] = bundles();
        let [first, second] = if self.is_record { [record, record] } else { [minute, five] };
        let models = [("a", first, 0, Role::Live), ("b", second, 1, Role::Live)];
        let models = models.into_iter().chain([("c", second, 0, Role::Shadow)]);
        let models = models.map(|(name, bundle, seat, role)| StreamModel {
            name: name.into(),
            symbols: SymbolPatterns::default(),
            seat,
            role,
            pipeline: Pipeline::build(bundle, &NullRuntime, &settings).unwrap(),
        });
        Pipelines::of(models.collect(), &settings).unwrap()
    }

    fn line((time, price): (i64, f64)) -> Vec<u8> {
        format!(r#"{{"symbol":"A","time":{time},"close":{price}}}"#).into_bytes()
    }

    /// What history has, in the order of time: bars of a minute.
    fn rows(&self) -> Vec<(i64, f64)> {
        let minutes = self.ticks.iter().map(|(time, price)| (time - time % MINUTE_MS, *price));
        minutes.collect::<BTreeMap<_, _>>().into_iter().collect()
    }

    /// An answer, with rows before and behind what was asked for, where a minute is not over.
    fn answer(&self, missing: Missing, time: UnixNanos) -> Vec<Vec<u8>> {
        let (rows, now) = (self.rows(), time.as_nanos() / 1_000_000);
        let place = |end: i64| rows.partition_point(|(start, _)| *start < end);
        let (from, to) = match missing {
            Missing::Warm => (place(now).saturating_sub(ROWS_MIN), place(now)),
            Missing::Span(Span { from, to }) => {
                (place(from.as_nanos() / 1_000_000), place(to.as_nanos() / 1_000_000))
            }
        };
        let (from, to) = (from.saturating_sub(self.more), rows.len().min(to + self.more));
        // A minute that is not over has another price yet.
        let price = |(start, price)| if start + MINUTE_MS > now { 99.0 } else { price };
        rows[from..to].iter().map(|row| Self::line((row.0, price(*row)))).collect()
    }

    /// All ticks, one after the other.
    fn replay(&self) -> Run {
        let (mut pipelines, mut run) = (self.pipelines(false), Run::default());
        for tick in &self.ticks {
            let Ok(refused) = pipelines.take(&Self::line(*tick), None, None, || {}, flush);
            assert_eq!(refused, None);
            run.catch_up(&mut pipelines);
        }
        run
    }

    /// The ticks of the stream, with history where `answers` says so; for ever, where it ends.
    /// `None` asks for nothing.
    fn live(
        &self,
        publishes_history: bool,
        mut answers: Option<impl Iterator<Item = bool>>,
    ) -> Run {
        let mut pipelines = self.pipelines(publishes_history);
        let (mut run, mut after_gap) = (Run::default(), false);
        for (place, tick) in self.ticks.iter().enumerate().skip(self.switch) {
            if self.holes.iter().any(|hole| hole.contains(&place)) {
                after_gap = true;
                continue;
            }
            let mut after_gap = std::mem::take(&mut after_gap);
            if after_gap && !self.marks_records {
                run.catch_up(&mut pipelines);
                pipelines.mark_gap();
                after_gap = false;
            }
            self.take(&mut pipelines, *tick, after_gap, answers.as_mut(), &mut run);
            if place % self.chunk == 0 {
                run.catch_up(&mut pipelines);
            }
        }
        run.catch_up(&mut pipelines);
        run
    }

    /// Takes a tick, with what is missing before it.
    fn take(
        &self,
        pipelines: &mut Pipelines,
        tick: (i64, f64),
        after_gap: bool,
        answers: Option<&mut impl Iterator<Item = bool>>,
        run: &mut Run,
    ) {
        let line = Self::line(tick);
        let mut incoming = Incoming {
            bytes: &line,
            position: None,
            received: None,
            after_gap,
            late: false,
            origin: Origin::Live,
        };
        let (mut answers, mut before) = (answers, None);
        loop {
            let Ok(taken) = pipelines.take_or_ask(&incoming, answers.is_some(), || {}, flush);
            let Taken::Missing { missing, time } = taken else {
                assert_eq!(taken, Taken::Done);
                return;
            };
            // Behind the newest row of a whole window there may be more, or a quiet stretch. What
            // was asked for is not asked for again.
            let is_new = before.is_none_or(|before| before == Missing::Warm && missing != before);
            assert!(is_new, "{missing:?} behind {before:?}");
            before = Some(missing);
            run.asked += 1;
            run.catch_up(pipelines);
            let Incoming { after_gap, .. } = incoming;
            let asked = Asked { symbol: "A", missing, time: Some(time), after_gap };
            if answers.as_mut().and_then(Iterator::next).unwrap_or(true) {
                let rows = self.answer(missing, time);
                let rows: Vec<_> = rows.iter().map(|row| &**row).collect();
                let covers = DurationNanos::from_seconds(60).unwrap();
                let Ok(outcome) = pipelines.fill(&asked, &rows, covers, flush);
                assert!(outcome.is_ok(), "{outcome:?}");
                incoming.after_gap = false;
            } else {
                pipelines.give_up(&asked);
            }
        }
    }

    /// The event time of the first tick of the stream, as records have it.
    fn begin(&self) -> String {
        UnixNanos::from_nanos(self.ticks[self.switch].0 * 1_000_000).to_string()
    }
}

impl Run {
    /// Has the shadows take what they lag behind, and hears what there is to say.
    fn catch_up(&mut self, pipelines: &mut Pipelines) {
        let Ok(()) = pipelines.take_deferred(flush);
        for (pipeline, said) in pipelines.each_mut().zip(&mut self.said) {
            let Ok(()) = flush(pipeline);
            let Ok(_) = pipeline.emit(|_, bytes| {
                // The mark of drift follows from scores, some of which a hole takes for good.
                let text = String::from_utf8(bytes.to_vec()).unwrap();
                let text = text.replace(r#""drift":true"#, r#""drift":false"#);
                let (_, rest) = text.split_once(r#""as_of":""#).unwrap();
                let (time, _) = rest.split_once('"').unwrap();
                said.push((time.to_owned(), text.clone()));
                Ok::<_, Infallible>(())
            });
        }
    }

    /// What was said of steps of the stream.
    fn behind(&self, begin: &str) -> [VecDeque<(String, String)>; 3] {
        let is_behind = |said: &&(String, String)| &*said.0 > begin;
        self.said.each_ref().map(|said| said.iter().filter(is_behind).cloned().collect())
    }

    /// Whether each model spoke of each step once, and in order.
    fn rises(&self) -> bool {
        let rises =
            |said: &Vec<(String, String)>| said.windows(2).all(|pair| pair[0].0 < pair[1].0);
        self.said.iter().all(rises)
    }
}

prop_compose! {
    fn lives()(
        is_record in any::<bool>(),
        is_full in any::<bool>(),
        minutes in proptest::collection::vec(
            proptest::collection::btree_map(0i64..60, 1u32..64, 0..4), 100..130),
        switch in 0.6..0.7,
        holes in proptest::collection::vec((1usize..60, 1i64..21), 0..4),
        marks_records in any::<bool>(),
        chunk in 1usize..8,
        more in 0usize..4,
    ) -> Life {
        let mut ticks = Vec::new();
        for (minute, trades) in (0i64..).zip(minutes) {
            let start = minute * MINUTE_MS;
            if is_record {
                let price = trades.values().next().copied().unwrap_or(1);
                ticks.push((start, f64::from(price)));
            } else {
                let trades = trades.into_iter();
                ticks.extend(trades.map(|(at, price)| (start + at * 1000, f64::from(price))));
            }
        }
        let switch = (ticks.len() as f64 * switch) as usize;
        let (mut from, mut lost) = (switch, Vec::new());
        for (pause, length) in holes {
            from += pause;
            let Some((time, _)) = ticks.get(from) else { break };
            let end = time + length * MINUTE_MS;
            let to = ticks.partition_point(|(time, _)| *time < end);
            // The last tick is there, to close what can be closed.
            lost.push(from..to.min(ticks.len() - 1));
            from = to + 1;
        }
        let mode = if is_full { Mode::Full } else { Mode::Sliding };
        Life { is_record, mode, ticks, switch, holes: lost, marks_records, chunk, more }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Where history answers, the bytes are those of a replay of all ticks.
    #[test]
    fn what_history_fills_says_what_a_replay_says(life in lives()) {
        let (replay, begin) = (life.replay(), life.begin());
        let all = life.live(true, Some(std::iter::repeat(true)));
        prop_assert_eq!(all.behind(&begin), replay.behind(&begin), "asked {} times", all.asked);
        prop_assert!(all.asked > 0 && all.rises());
        // Without what rows have closed.
        let live = life.live(false, Some(std::iter::repeat(true)));
        prop_assert!(live.rises());
        for (said, expected) in live.said.iter().zip(&replay.said) {
            let wrong = said.iter().find(|said| !expected.contains(said));
            prop_assert_eq!(wrong, None);
        }
    }

    /// Where it answers now and then, nothing says `full` that a replay does not say.
    #[test]
    fn what_says_full_is_what_a_replay_says_whatever_history_answers(
        life in lives(),
        publishes_history in any::<bool>(),
        answers in proptest::collection::vec(any::<bool>(), 0..20),
    ) {
        let (replay, live) =
            (life.replay(), life.live(publishes_history, Some(answers.into_iter())));
        prop_assert!(live.rises());
        for (said, expected) in live.said.iter().zip(&replay.said) {
            let is_full = |said: &&(String, String)| said.1.contains(r#""quality":"full""#);
            let wrong = said.iter().filter(is_full).find(|said| !expected.contains(said));
            prop_assert_eq!(wrong, None);
        }
    }

    /// Where it never answers, the bytes are those without history.
    #[test]
    fn without_answers_the_bytes_are_those_without_history(life in lives()) {
        let none: Option<std::iter::Empty<bool>> = None;
        let live = life.live(false, Some(std::iter::repeat(false)));
        let without = life.live(false, none);
        prop_assert_eq!(&live.said, &without.said);
        prop_assert!(live.asked > 0);
    }
}
