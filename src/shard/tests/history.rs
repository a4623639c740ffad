//! Tests of questions for history: what is asked, what waits, and what is said afterwards.

mod law;
mod signs;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::{Registry, TextEncoder};
use tokio::sync::mpsc;

use super::super::{
    GivenUp, HealthMetrics, HealthWatch, HistoryBoard, HistoryBook, HistoryCounts, HistoryLimits,
    HistoryMetrics, Standing, SymbolBoard, SymbolHistory, WhenHeld,
};
use super::several::{model, of_version, pairs, several};
use super::*;
use crate::core::domain::{PartitionId, Position, Symbol, SymbolPatterns, UnixNanos};
use crate::core::health::{FeedLink, HealthLimits};
use crate::core::history::{HistoryFrom, HistoryNeed, Origin, RowKind, Seam, Span};
use crate::engine::pipeline::{Pipelines, Role, StreamModel};
use crate::engine::test_support::time;
use crate::ops::clock::Stopwatch;
use crate::ports::history::{Ask, AskClock, Desk, Failed, Request, Row, Rows, Want};
use crate::shard::test_support::{moved, shard_with};

/// The steps of a window, of its warm-up, and one more.
const STEPS: u32 = (WINDOW_STEPS + WARM_UP_STEPS + 1) as u32;

fn minutes(count: i64) -> DurationNanos {
    DurationNanos::from_seconds(60 * count).unwrap()
}

/// How long ticks wait for a window, and for a hole.
const WARM_WAIT: Duration = Duration::from_secs(60);
const FILL_WAIT: Duration = Duration::from_secs(2);

fn limits() -> HistoryLimits {
    HistoryLimits {
        ticks_max: 1000,
        bytes_max: 1 << 20,
        warm_wait: WARM_WAIT,
        fill_wait: Some(FILL_WAIT),
        when_full: WhenHeld::GoOn,
        asks_at_start: false,
        need: HistoryNeed {
            steps: STEPS,
            span: minutes(i64::from(STEPS)),
            rows: Some(RowKind::Bars(minutes(1))),
        },
    }
}

/// A clock that the test moves.
#[derive(Clone, Default)]
struct Hand(Arc<AtomicU64>);

impl Hand {
    fn go_on(&self, span: Duration) {
        self.0.fetch_add(span.as_millis() as u64, Ordering::Relaxed);
    }

    fn clock(&self) -> AskClock {
        let hand = self.clone();
        Arc::new(move || Duration::from_millis(hand.0.load(Ordering::Relaxed)))
    }
}

/// A shard that asks for history, one turn at a time.
struct Asker {
    intake: IntakeSender<Command>,
    shard: Shard,
    log: Log,
    asks: mpsc::Receiver<Ask>,
    hand: Hand,
    board: HistoryBoard,
    registry: Registry,
}

impl Asker {
    fn new(limits: HistoryLimits) -> Self {
        Self::with(limits, 100, |book| book)
    }

    /// As [`Asker::new`], with room for so many questions, and a book that is changed so.
    fn with(
        limits: HistoryLimits,
        asks_max: usize,
        book: impl FnOnce(HistoryBook) -> HistoryBook,
    ) -> Self {
        let (desk, asks) = Desk::new(asks_max);
        Self::of(asks, |metrics| book(HistoryBook::new(None, 100, metrics).asking(0, desk, limits)))
    }

    fn of(asks: mpsc::Receiver<Ask>, book: impl FnOnce(HistoryMetrics) -> HistoryBook) -> Self {
        Self::of_models(Pipelines::new(pipeline(&sliding()), &settings()), 1000, asks, book)
    }

    /// As [`Asker::of`], of these models and with so many records in a batch.
    fn of_models(
        pipelines: Pipelines,
        drain_records_max: usize,
        asks: mpsc::Receiver<Ask>,
        book: impl FnOnce(HistoryMetrics) -> HistoryBook,
    ) -> Self {
        let (hand, registry, log) = (Hand::default(), Registry::new(), Log::default());
        let metrics = HistoryMetrics::register(&registry).unwrap();
        let board = metrics.board();
        let (intake, receiver) = queue(10_000);
        let sinks = vec![MemorySink::new("only", &log).boxed()];
        let shard = shard_with(pipelines, receiver, sinks, drain_records_max);
        let shard = shard.with_history(book(metrics), hand.clock());
        Self { intake, shard, log, asks, hand, board, registry }
    }

    fn deliver(&self, record: Record) {
        let left = self.intake.record_within(record, Duration::ZERO).unwrap();
        assert_eq!(left, None, "there is room");
    }

    /// Delivers the prices of a symbol, as a feed does, and has the shard take them.
    fn prices(&mut self, symbol: &str, minutes: std::ops::Range<i64>) {
        minutes.for_each(|minute| self.deliver(plain(line(symbol, minute))));
        self.turn();
    }

    fn gap(&mut self) {
        self.intake.gap().now_or_never().unwrap().unwrap();
        self.turn();
    }

    fn turn(&mut self) {
        assert!(self.shard.turn(Waiting::Returns).unwrap());
    }

    /// What is asked, with the numbers of the questions.
    fn asked(&mut self) -> Vec<(u64, Request)> {
        let mut asked = Vec::new();
        while let Ok(Ask { number, request, .. }) = self.asks.try_recv() {
            asked.push((number, request));
        }
        asked
    }

    /// The only question.
    fn only_asked(&mut self) -> (u64, Want) {
        let [(number, request)] = self.asked().try_into().unwrap();
        assert_eq!(request.kind, RowKind::Bars(minutes(1)));
        (number, request.want)
    }

    fn answer(&mut self, number: u64, answer: Result<Rows, Failed>) {
        self.intake.command(Command::History { number, answer }).unwrap();
        self.turn();
    }

    fn metric(&self, series: &str) -> f64 {
        let text = TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().unwrap()
    }

    fn given_up(&self, reason: GivenUp) -> f64 {
        let label = reason.label();
        self.metric(&format!("tickcast_history_given_up_total{{reason=\"{label}\"}}"))
    }

    fn forecasts(&self) -> Vec<(String, String)> {
        self.log.forecasts("only")
    }

    /// Ends the shard as a stop does; returns the forecasts.
    fn end(self) -> Vec<(String, String)> {
        let Self { intake, mut shard, log, .. } = self;
        drop(intake);
        while shard.turn(Waiting::Returns).unwrap() {}
        shard.finish();
        log.forecasts("only")
    }
}

/// Rows of a symbol.
fn rows(symbol: &str, minutes: std::ops::Range<i64>) -> Rows {
    let row =
        |minute| Row { bytes: line(symbol, minute).into(), time: time(minute), trade_id: None };
    Rows { rows: minutes.map(row).collect(), is_complete: true }
}

/// What is said of the prices of a symbol as a feed delivers them, with a gap before some.
fn plainly(symbol: &str, minutes: impl IntoIterator<Item = (i64, bool)>) -> Vec<(String, String)> {
    let trial = Trial::of(1, |log| vec![MemorySink::new("only", log)]);
    for (minute, after_gap) in minutes {
        let record = Record { after_gap, ..plain(line(symbol, minute)) };
        trial.deliver(record);
    }
    let (outcome, log) = trial.run();
    outcome.unwrap();
    log.forecasts("only")
}

fn replayed(symbol: &str, minutes: std::ops::Range<i64>) -> Vec<(String, String)> {
    plainly(symbol, minutes.map(|minute| (minute, false)))
}

fn counts(asked: usize, warm: usize, cold: usize, ticks_waiting: usize) -> HistoryCounts {
    HistoryCounts { pending: 0, asked, warm, cold, ticks_waiting }
}

fn span(after: i64, before: i64) -> Want {
    let from = UnixNanos::from_nanos(time(after).as_nanos() + 1);
    Want::Between(Span { from, to: time(before) })
}

fn away() -> Result<Rows, Failed> {
    Err(Failed::Away("it is away".to_owned()))
}

#[test]
fn a_new_symbol_is_warm_before_its_first_tick_is_taken() {
    let mut asker = Asker::new(limits());
    asker.prices("A", 10..12);
    let want = Want::Newest { before: Some(time(10)), rows: STEPS };
    let (number, wanted) = asker.only_asked();
    assert_eq!(wanted, want);
    assert_eq!(asker.shard.stream_tally().ticks, 0, "both ticks wait");
    assert_eq!(asker.board.counts(), counts(1, 0, 0, 2));
    // The ticks of another symbol do not wait for it.
    asker.prices("B", 10..11);
    let (other, _) = asker.only_asked();
    assert_eq!(other, number + 1);
    asker.answer(number, Ok(rows("A", 5..10)));
    assert_eq!(asker.forecasts(), replayed("A", 5..12)[2..], "none is of history");
    assert_eq!(asker.board.counts(), counts(1, 1, 0, 1));
    assert_eq!(asker.metric("tickcast_history_rows_total{from=\"rest\"}"), 5.0);
    assert_eq!(asker.metric("tickcast_history_warm_seconds_count"), 1.0);
    asker.prices("A", 12..14);
    assert_eq!(asker.asked(), [], "nothing is missing");
    assert_eq!(asker.forecasts(), replayed("A", 5..14)[2..]);
}

#[test]
fn a_tick_that_is_refused_before_the_rows_come_does_not_wait_for_a_shadow() {
    let next = of_version("2", &[Mode::Full, Mode::Sliding]);
    let models = [("live", Role::Live, &sliding()), ("shadow", Role::Shadow, &next)];
    let models = models.map(|(name, role, bundle)| model(name, role, 0, bundle));
    let (desk, asks) = Desk::new(10);
    let limits = HistoryLimits { asks_at_start: true, ..limits() };
    let expected = Symbol::new("A").unwrap();
    let mut asker = Asker::of_models(several(models.into()), 1000, asks, |metrics| {
        HistoryBook::new(None, 100, metrics).asking(0, desk, limits).expecting([expected])
    });
    asker.turn();
    let (number, _) = asker.only_asked();
    let ahead = Record { received: Some(time(10)), ..plain(line("A", 500)) };
    asker.shard.take(&ahead, None, || {}).unwrap();
    asker.prices("A", 10..12);
    asker.answer(number, Ok(rows("A", 5..10)));
    assert_eq!(asker.forecasts(), replayed("A", 5..12)[2..]);
    assert_eq!(asker.shard.stream_tally().rejects.total(), 1, "the one from the future");
}

#[test]
fn a_hole_is_filled_before_the_tick_behind_it() {
    let mut asker = Asker::new(limits());
    asker.prices("A", 10..11);
    let (number, _) = asker.only_asked();
    asker.answer(number, Ok(rows("A", 5..10)));
    asker.gap();
    asker.prices("A", 12..14);
    let (number, wanted) = asker.only_asked();
    assert_eq!(wanted, span(10, 12));
    assert_eq!(asker.metric("tickcast_backfill_asked_total"), 1.0);
    asker.answer(number, Ok(rows("A", 11..12)));
    let mut expected = replayed("A", 5..14);
    expected.remove(11 - 5 - UNFORECAST as usize);
    assert_eq!(asker.forecasts(), expected[expected.len() - 3..]);
    assert_eq!(asker.metric("tickcast_backfill_seconds_count"), 1.0);
    assert_eq!(asker.asked(), [], "the second tick that waited asks for nothing");
    assert_eq!(asker.shard.tally().filled, 1);
}

#[test]
fn a_symbol_that_was_quiet_for_longer_than_a_window_says_what_a_replay_says() {
    let mut asker = Asker::new(limits());
    asker.prices("A", 20..21);
    let (number, _) = asker.only_asked();
    // Its source may lack the newest rows, or there are none.
    asker.answer(number, Ok(rows("A", 8..14)));
    let (number, wanted) = asker.only_asked();
    assert_eq!(wanted, span(13, 20));
    asker.answer(number, Ok(rows("A", 14..14)));
    asker.prices("A", 21..23);
    assert_eq!(asker.asked(), []);
    let replay = plainly("A", (8..14).chain(20..23).map(|minute| (minute, false)));
    assert_eq!(asker.forecasts(), replay[replay.len() - 3..]);
    assert!(replay.iter().all(|(_, said)| said.contains(r#""quality":"full""#)), "{replay:?}");
}

#[test]
fn without_an_answer_ticks_are_marked_as_without_history() {
    let disorder =
        Rows { rows: rows("A", 5..10).rows.into_iter().rev().collect(), is_complete: true };
    let garbage = Row { bytes: "{".into(), time: time(9), trade_id: None };
    let with_garbage = Rows { rows: vec![garbage], is_complete: true };
    for (answer, reason) in [
        (None, GivenUp::Late),
        (Some(Err(Failed::Late)), GivenUp::Late),
        (Some(away()), GivenUp::Away),
        (Some(Err(Failed::Refused("unknown".to_owned()))), GivenUp::Refused),
        (Some(Ok(Rows { is_complete: false, ..rows("A", 5..10) })), GivenUp::Incomplete),
        (Some(Ok(rows("A", 5..5))), GivenUp::Incomplete),
        (Some(Ok(disorder)), GivenUp::Incomplete),
        (Some(Ok(with_garbage)), GivenUp::Incomplete),
    ] {
        let mut asker = Asker::new(limits());
        asker.prices("A", 10..12);
        let (number, _) = asker.only_asked();
        match answer {
            Some(answer) => asker.answer(number, answer),
            None => {
                asker.hand.go_on(WARM_WAIT - Duration::from_millis(1));
                asker.turn();
                assert_eq!(asker.shard.stream_tally().ticks, 0, "there is time left");
                asker.hand.go_on(Duration::from_millis(1));
                asker.turn();
                asker.answer(number, Ok(rows("A", 5..10)));
            }
        }
        asker.prices("A", 12..20);
        assert_eq!(asker.asked(), [], "{reason:?}: it is not asked for again");
        assert_eq!(asker.given_up(reason), 1.0, "{reason:?}");
        assert_eq!(asker.forecasts(), replayed("A", 10..20), "{reason:?}");
        assert_eq!(asker.board.counts(), counts(0, 0, 1, 0), "{reason:?}");
        assert_eq!(asker.board.cold(), [Symbol::new("A").unwrap()]);
    }
}

#[test]
fn a_hole_without_an_answer_is_marked_and_the_next_one_is_asked_for() {
    let mut asker = Asker::new(limits());
    asker.prices("A", 10..11);
    let (number, _) = asker.only_asked();
    asker.answer(number, Ok(rows("A", 5..10)));
    asker.gap();
    asker.prices("A", 12..13);
    let (number, _) = asker.only_asked();
    asker.answer(number, away());
    asker.prices("A", 13..14);
    asker.gap();
    asker.prices("A", 15..16);
    let (number, wanted) = asker.only_asked();
    assert_eq!(wanted, span(13, 15));
    asker.hand.go_on(FILL_WAIT);
    asker.turn();
    asker.answer(number, Ok(rows("A", 14..15)));
    let minutes = (5..11).chain(12..14).chain(15..16);
    let expected = plainly("A", minutes.map(|minute| (minute, [12, 15].contains(&minute))));
    assert_eq!(asker.forecasts(), expected[expected.len() - 4..]);
    assert_eq!([GivenUp::Away, GivenUp::Late].map(|reason| asker.given_up(reason)), [1.0, 1.0]);
    assert_eq!(asker.board.counts(), counts(0, 1, 0, 0), "a hole makes no symbol cold");
}

/// A symbol with a full window that a live tick has moved on, up to minute 10, and a gap behind it.
fn running(limits: HistoryLimits) -> Asker {
    let mut asker = Asker::new(limits);
    asker.prices("A", 10..11);
    let (number, _) = asker.only_asked();
    asker.answer(number, Ok(rows("A", 5..10)));
    asker.gap();
    asker
}

#[test]
fn a_whole_window_that_is_worse_than_the_one_there_is_not_taken() {
    let mut asker = running(limits());
    asker.prices("A", 20..21);
    let (number, wanted) = asker.only_asked();
    assert_eq!(wanted, Want::Newest { before: Some(time(20)), rows: STEPS });
    asker.answer(number, Ok(rows("A", 17..20)));
    let expected = plainly("A", (5..11).chain(20..21).map(|minute| (minute, minute == 20)));
    assert_eq!(asker.forecasts().last(), expected.last());
    assert_eq!(asker.given_up(GivenUp::Incomplete), 1.0);
    // As many as the window and the features before it are enough.
    let mut asker = running(limits());
    asker.prices("A", 20..21);
    let (number, _) = asker.only_asked();
    asker.answer(number, Ok(rows("A", 16..20)));
    assert_eq!(asker.forecasts().last(), replayed("A", 16..21).last());
}

#[test]
fn a_hole_that_is_longer_than_the_window_has_its_ticks_wait_as_for_a_hole() {
    for fill_wait in [Some(FILL_WAIT), None] {
        let mut asker = running(HistoryLimits { fill_wait, ..limits() });
        asker.prices("A", 20..21);
        assert_eq!(asker.asked().len(), usize::from(fill_wait.is_some()));
        asker.hand.go_on(FILL_WAIT);
        asker.turn();
        assert_eq!(asker.board.counts().ticks_waiting, 0, "{fill_wait:?}");
        let late = if fill_wait.is_some() { 1.0 } else { 0.0 };
        assert_eq!(asker.given_up(GivenUp::Late), late);
        let expected = plainly("A", (5..11).chain(20..21).map(|minute| (minute, minute == 20)));
        assert_eq!(asker.forecasts().last(), expected.last());
    }
}

#[test]
fn a_window_from_rest_that_is_too_old_has_its_ticks_wait_as_at_a_start() {
    let states = pairs(&moved(&mut running(limits()).shard.pipelines));
    let mut pipelines = Pipelines::new(pipeline(&sliding()), &settings());
    pipelines.restore(None, &states).unwrap();
    pipelines.mark_gap();
    let (desk, asks) = Desk::new(100);
    let mut asker = Asker::of_models(pipelines, 1000, asks, |metrics| {
        HistoryBook::new(None, 100, metrics).asking(0, desk, limits())
    });
    asker.prices("A", 20..21);
    let (number, wanted) = asker.only_asked();
    assert_eq!(wanted, Want::Newest { before: Some(time(20)), rows: STEPS });
    asker.hand.go_on(FILL_WAIT);
    asker.turn();
    assert_eq!(asker.board.counts().ticks_waiting, 1);
    asker.answer(number, Ok(rows("A", 15..20)));
    assert_eq!(asker.forecasts(), replayed("A", 15..21)[2..]);
}

#[test]
fn ticks_that_have_waited_for_a_question_of_the_start_do_not_wait_again() {
    let start = HistoryLimits { asks_at_start: true, ..limits() };
    let symbol = Symbol::new("A").unwrap();
    let mut asker = Asker::with(start, 100, |book| book.expecting([symbol]));
    asker.turn();
    let (number, _) = asker.only_asked();
    asker.prices("A", 10..16);
    assert_eq!(asker.board.counts().ticks_waiting, 6);
    asker.answer(number, away());
    assert_eq!((asker.asked(), asker.board.counts().ticks_waiting), (vec![], 0));
    assert_eq!(asker.forecasts(), replayed("A", 10..16));
}

#[test]
fn rows_that_are_not_used_make_no_symbol_warm() {
    let mut asker = Asker::new(limits());
    asker.prices("A", 10..11);
    let (number, _) = asker.only_asked();
    // As many as were asked for, most of them at or behind the tick.
    asker.answer(number, Ok(rows("A", 8..13)));
    assert_eq!(asker.board.counts(), counts(0, 0, 1, 0));
    // Those before it were used.
    assert_eq!([GivenUp::TooFew, GivenUp::Incomplete].map(|it| asker.given_up(it)), [1.0, 0.0]);
    assert_eq!(asker.metric("tickcast_history_rows_total{from=\"rest\"}"), 2.0);
    assert_eq!(asker.forecasts(), replayed("A", 8..11));
    // All were used, and those behind a rest of two weeks begin a cold window.
    let mut asker = Asker::new(limits());
    let weeks = 2 * 7 * 24 * 60;
    asker.prices("A", weeks..weeks + 1);
    let (number, _) = asker.only_asked();
    let mut both = rows("A", 0..3);
    both.rows.extend(rows("A", weeks - 2..weeks).rows);
    asker.answer(number, Ok(both));
    assert_eq!(asker.metric("tickcast_history_rows_total{from=\"rest\"}"), 5.0);
    assert_eq!(asker.board.counts(), counts(0, 0, 1, 0));
}

#[test]
fn symbols_that_have_left_are_forgotten_and_expected_ones_are_not() {
    let start = HistoryLimits { asks_at_start: true, ..limits() };
    let expected = Symbol::new("B").unwrap();
    let mut asker = Asker::with(start, 100, |book| book.expecting([expected.clone()]));
    asker.prices("A", 10..11);
    for (number, _) in asker.asked() {
        asker.answer(number, away());
    }
    assert_eq!(asker.board.counts(), counts(0, 0, 2, 0));
    asker.hand.go_on(Duration::from_secs(10));
    asker.turn();
    assert_eq!(asker.board.counts(), counts(0, 0, 2, 0));
    asker.shard.pipelines.each_mut().for_each(|pipeline| pipeline.clear().unwrap());
    asker.hand.go_on(Duration::from_secs(10));
    asker.turn();
    assert_eq!(asker.board.counts(), counts(0, 0, 1, 0));
    assert_eq!(asker.board.cold(), [expected]);
}

#[test]
fn symbols_of_a_file_that_are_not_expected_hold_nothing_up() {
    let (desk, asks) = Desk::new(100);
    let expected = Symbol::new("A").unwrap();
    let mut asker = Asker::of(asks, |metrics| {
        let limits = HistoryLimits { asks_at_start: true, ..limits() };
        let book = HistoryBook::new(Some(HistoryFrom::File), 100, metrics);
        book.asking(0, desk, limits).expecting([expected])
    });
    let origin = Origin::History(Seam { is_joined: true, covers: DurationNanos::ZERO });
    for (symbol, minutes) in [("A", 0..10), ("Z", 8..10)] {
        minutes.for_each(|minute| {
            asker.deliver(Record { origin, ..plain(line(symbol, minute)) });
        });
    }
    asker.turn();
    asker.intake.command(Command::EndHistory { answer: None }).unwrap();
    asker.turn();
    assert_eq!((asker.asked(), asker.board.counts()), (vec![], counts(0, 1, 1, 0)));
}

#[test]
fn holes_are_not_asked_for_where_they_are_not_filled() {
    let mut asker = Asker::new(HistoryLimits { fill_wait: None, ..limits() });
    asker.prices("A", 10..11);
    let (number, _) = asker.only_asked();
    asker.answer(number, Ok(rows("A", 5..10)));
    asker.gap();
    asker.prices("A", 12..14);
    assert_eq!(asker.asked(), []);
    assert_eq!(GivenUp::ALL.map(|reason| asker.given_up(reason)), [0.0; GivenUp::ALL.len()]);
    let minutes = (5..11).chain(12..14).map(|minute| (minute, minute == 12));
    assert_eq!(asker.end(), plainly("A", minutes)[2..]);
}

#[test]
fn too_many_waiting_ticks_end_the_longest_wait_or_lose_the_oldest_tick() {
    let few = HistoryLimits { ticks_max: 3, ..limits() };
    let mut asker = Asker::new(few);
    asker.prices("B", 10..11);
    asker.prices("A", 10..13);
    assert_eq!(asker.asked().len(), 2);
    assert_eq!(asker.given_up(GivenUp::Full), 1.0);
    assert_eq!(asker.board.counts(), counts(1, 0, 1, 1), "B waits on");
    assert_eq!(asker.metric("tickcast_history_ticks_dropped_total"), 0.0);
    assert_eq!(asker.forecasts(), replayed("A", 10..13));

    let few = HistoryLimits { when_full: WhenHeld::DropOldest, ..few };
    let mut asker = Asker::new(few);
    asker.prices("A", 10..15);
    let (number, _) = asker.only_asked();
    assert_eq!(asker.metric("tickcast_history_ticks_dropped_total"), 2.0);
    assert_eq!(asker.board.counts(), counts(1, 0, 0, 3));
    asker.answer(number, Ok(rows("A", 5..10)));
    // The window is there up to those that were dropped, which are asked for.
    let (number, wanted) = asker.only_asked();
    assert_eq!(wanted, span(9, 12));
    asker.answer(number, Ok(rows("A", 10..12)));
    let all = replayed("A", 5..15);
    assert_eq!(asker.forecasts(), all[all.len() - 3..]);

    let small = HistoryLimits { bytes_max: 2 * line("A", 10).len(), ..limits() };
    let mut asker = Asker::new(small);
    asker.prices("A", 10..13);
    assert_eq!(asker.given_up(GivenUp::Full), 1.0);
}

#[test]
fn a_gap_lies_behind_the_ticks_that_wait() {
    let mut asker = Asker::new(limits());
    asker.prices("B", 10..11);
    let (number, _) = asker.only_asked();
    asker.answer(number, Ok(rows("B", 5..10)));
    asker.prices("A", 10..12);
    let (number, _) = asker.only_asked();
    asker.gap();
    asker.answer(number, Ok(rows("A", 5..10)));
    asker.prices("A", 13..14);
    asker.prices("B", 12..13);
    let wanted: Vec<_> = asker.asked().into_iter().map(|(_, request)| request).collect();
    assert_eq!(wanted[0].want, span(11, 13), "not before the ticks of A that waited");
    assert_eq!(wanted[1].want, span(10, 12), "B had none that waited");
    asker.gap();
    let expected = |symbol, minutes: &[i64], gap| {
        plainly(symbol, minutes.iter().map(|minute| (*minute, *minute == gap)))
    };
    let a = expected("A", &[5, 6, 7, 8, 9, 10, 11, 13], 13);
    let b = expected("B", &[5, 6, 7, 8, 9, 10, 12], 12);
    let mut said = asker.end();
    said.sort();
    let mut both: Vec<_> = a[a.len() - 3..].iter().chain(&b[b.len() - 2..]).cloned().collect();
    both.sort();
    assert_eq!(said, both);
}

#[test]
fn a_stop_takes_what_waits_before_the_last_states() {
    let mut asker = Asker::new(limits());
    asker.prices("A", 10..15);
    let (keeper, states) = channel();
    asker.shard = asker.shard.with_keeper(keeper);
    assert_eq!(asker.asked().len(), 1);
    assert_eq!(asker.end(), replayed("A", 10..15));
    let handed: Vec<_> = states.try_iter().collect();
    let Some(Handed::Part(states)) = handed.first() else { panic!("{handed:?}") };
    let stored = states.iter().map(|state| &*state.symbol).collect::<Vec<_>>();
    assert_eq!(stored, ["A"], "the ticks that waited are in the last states");
}

#[test]
fn a_desk_without_room_costs_a_tick_no_wait() {
    let mut asker = Asker::with(limits(), 1, |book| book);
    asker.prices("A", 10..11);
    asker.prices("B", 10..14);
    assert_eq!(asker.given_up(GivenUp::Away), 1.0);
    assert_eq!(asker.forecasts(), replayed("B", 10..14));
    assert_eq!(asker.asked().len(), 1);
}

#[test]
fn expected_symbols_are_asked_for_at_the_start() {
    let symbols = ["A", "B", "C"].map(|name| Symbol::new(name).unwrap());
    let start = HistoryLimits { asks_at_start: true, ..limits() };
    let mut asker = Asker::with(start, 2, |book| book.expecting(symbols));
    assert_eq!(asker.board.counts().pending, 3);
    asker.turn();
    let asked = asker.asked();
    let names: Vec<_> = asked.iter().map(|(_, request)| request.symbol.as_str()).collect();
    assert_eq!(names, ["A", "B"], "the desk has room for two");
    assert_eq!(asked[0].1.want, Want::Newest { before: None, rows: STEPS });
    // Before its first tick, with ticks that wait and that the rows reach, and not at all.
    asker.answer(asked[0].0, Ok(rows("A", 5..10)));
    let third = asker.asked();
    assert_eq!(third[0].1.symbol.as_str(), "C");
    asker.prices("B", 9..12);
    asker.answer(asked[1].0, Ok(rows("B", 4..11)));
    asker.answer(third[0].0, away());
    assert_eq!(asker.board.counts(), counts(0, 2, 1, 0));
    asker.prices("A", 10..12);
    assert_eq!(asker.asked(), []);
    let (a, b) = (replayed("A", 5..12), replayed("B", 4..12));
    let expected: Vec<_> = b[b.len() - 3..].iter().chain(&a[2..]).cloned().collect();
    assert_eq!(asker.forecasts(), expected);
    // What was in vain is not asked for with the first tick, and is warm in the end.
    asker.prices("C", 10..16);
    assert_eq!(asker.asked(), []);
    assert_eq!(asker.forecasts().len(), expected.len() + 6 - UNFORECAST as usize);
}

#[test]
fn ticks_that_are_all_refused_do_not_ask_again_and_again() {
    let mut asker = Asker::new(limits());
    let bad = |minute: i64| format!(r#"{{"symbol":"A","time":{}}}"#, minute * 60_000);
    asker.deliver(plain(bad(10)));
    asker.turn();
    let (number, _) = asker.only_asked();
    asker.answer(number, away());
    for minute in 11..20 {
        asker.deliver(plain(bad(minute)));
        asker.turn();
    }
    assert_eq!(asker.asked(), []);
    assert_eq!(asker.shard.stream_tally().rejects.total(), 10);
}

#[test]
fn more_symbols_than_the_shard_keeps_are_not_asked_for() {
    let (desk, asks) = Desk::new(100);
    let mut asker =
        Asker::of(asks, |metrics| HistoryBook::new(None, 2, metrics).asking(0, desk, limits()));
    for symbol in ["A", "B", "C"] {
        asker.prices(symbol, 10..11);
    }
    assert_eq!(asker.asked().len(), 2);
    assert_eq!(asker.shard.stream_tally().ticks, 1, "the third goes on");
}

#[test]
fn streamed_rows_make_symbols_warm_or_cold_once_they_are_over() {
    let symbols = ["A", "B", "C"].map(|name| Symbol::new(name).unwrap());
    for asks_too in [false, true] {
        let (desk, asks) = Desk::new(100);
        let mut asker = Asker::of(asks, |metrics| {
            let book = HistoryBook::new(Some(HistoryFrom::File), 100, metrics);
            let book = if asks_too {
                book.asking(0, desk, HistoryLimits { asks_at_start: true, ..limits() })
            } else {
                book
            };
            book.expecting(symbols.clone())
        });
        let seam = Seam { is_joined: true, covers: DurationNanos::ZERO };
        for (symbol, minutes) in [("A", 0..10), ("B", 8..10)] {
            for minute in minutes {
                let origin = Origin::History(seam);
                asker.deliver(Record { origin, ..plain(line(symbol, minute)) });
            }
        }
        asker.turn();
        assert_eq!(asker.asked(), [], "nothing is asked for before the rows are over");
        let HistoryCounts { pending, asked, .. } = asker.board.counts();
        assert_eq!((pending, asked), (3, 2));
        let (answer, over) = tokio::sync::oneshot::channel();
        asker.intake.command(Command::EndHistory { answer: Some(answer) }).unwrap();
        asker.turn();
        assert_eq!(over.now_or_never(), Some(Ok(())));
        let names: Vec<_> =
            asker.asked().into_iter().map(|(_, request)| request.symbol.to_string()).collect();
        let cold = asker.board.counts();
        if asks_too {
            assert_eq!(names, ["B", "C"]);
            assert_eq!((cold.pending, cold.asked, cold.warm, cold.cold), (2, 2, 1, 0));
        } else {
            assert_eq!(names, [""; 0]);
            assert_eq!(cold, counts(0, 1, 2, 0));
        }
        assert_eq!(asker.metric("tickcast_history_rows_total{from=\"file\"}"), 12.0);
        asker.prices("A", 10..12);
        let all = replayed("A", 0..12);
        assert_eq!(asker.forecasts(), all[all.len() - 2..]);
    }
}

#[test]
fn symbols_that_go_with_their_partition_take_their_history_along() {
    let (_, asks) = Desk::new(100);
    let book = |metrics| HistoryBook::new(Some(HistoryFrom::Topic), 100, metrics);
    let mut asker = Asker::of(asks, book);
    let seam = Seam { is_joined: true, covers: DurationNanos::ZERO };
    let [first, second] = [0, 1].map(PartitionId);
    let warm = |asker: &mut Asker, partition, symbol, minutes: std::ops::Range<i64>| {
        for minute in minutes {
            let position = Some(Position { partition, offset: minute });
            let origin = Origin::History(seam);
            asker.deliver(Record { origin, position, ..plain(line(symbol, minute)) });
        }
        asker.turn();
    };
    let end = |asker: &mut Asker| {
        asker.intake.command(Command::EndHistory { answer: None }).unwrap();
        asker.turn();
        asker.board.counts()
    };
    let evict = |asker: &mut Asker, partition| {
        let (answer, answers) = channel();
        asker.intake.command(Command::Evict { partition, answer }).unwrap();
        asker.turn();
        answers.try_recv().unwrap();
        asker.board.counts()
    };
    warm(&mut asker, first, "A", 0..10);
    assert_eq!(end(&mut asker), counts(0, 1, 0, 0));
    // A second one that is not read in time begins cold, and its symbols say so.
    warm(&mut asker, second, "B", 0..10);
    assert_eq!(evict(&mut asker, second), counts(1, 1, 0, 0));
    assert_eq!(end(&mut asker), counts(0, 1, 1, 0));
    // Another member has both.
    assert_eq!(evict(&mut asker, second), counts(0, 1, 0, 0));
    assert_eq!(evict(&mut asker, first), counts(0, 0, 0, 0));
    assert_eq!(asker.board.cold(), vec![]);
    assert_eq!(asker.metric("tickcast_history_rows_total{from=\"topic\"}"), 20.0);
    // A session that fails in the middle begins again.
    warm(&mut asker, first, "A", 0..3);
    assert_eq!(asker.board.counts(), counts(1, 0, 0, 0));
    let (answer, _answers) = channel();
    asker.intake.command(Command::Clear { answer }).unwrap();
    asker.turn();
    assert_eq!(asker.board.counts(), counts(0, 0, 0, 0));
}

#[test]
fn streamed_rows_that_no_model_takes_are_not_counted() {
    let (_, asks) = Desk::new(1);
    let model = StreamModel {
        name: "only".into(),
        symbols: SymbolPatterns::new(["A"]).unwrap(),
        seat: 0,
        role: Role::Live,
        pipeline: pipeline(&sliding()),
    };
    let pipelines = Pipelines::of(vec![model], &settings()).unwrap();
    let mut asker = Asker::of_models(pipelines, 1000, asks, |metrics| {
        HistoryBook::new(Some(HistoryFrom::File), 100, metrics)
    });
    let origin = Origin::History(Seam { is_joined: true, covers: DurationNanos::ZERO });
    let minutes = (0..10).chain(8..10);
    let of = |symbol: &'static str| minutes.clone().map(move |minute| line(symbol, minute));
    // The last two of A are repeats, one cannot be read, and no model wants B.
    let refused = r#"{"symbol":"C","time":0}"#.to_owned();
    for line in of("A").chain(of("B")).chain([refused]) {
        asker.deliver(Record { origin, ..plain(line) });
    }
    asker.turn();
    assert_eq!(asker.board.counts(), counts(1, 0, 0, 0));
    asker.intake.command(Command::EndHistory { answer: None }).unwrap();
    asker.turn();
    assert_eq!((asker.board.counts(), asker.board.cold()), (counts(0, 1, 0, 0), vec![]));
    assert_eq!(asker.metric("tickcast_history_rows_total{from=\"file\"}"), 10.0);
}

#[test]
fn many_symbols_go_on_one_after_the_other_on_a_small_stack() {
    const SYMBOLS: usize = 900;
    let work = || {
        let (desk, asks) = Desk::new(10_000);
        // A long record has no room where those of all symbols have.
        let bytes_max = 2 * SYMBOLS * (line("S000", 10).len() + 10);
        let limits = HistoryLimits { ticks_max: 10_000, bytes_max, ..limits() };
        let mut asker = Asker::of(asks, |metrics| {
            HistoryBook::new(None, SYMBOLS, metrics).asking(0, desk, limits)
        });
        for index in 0..SYMBOLS {
            let symbol = format!("S{index:03}");
            asker.deliver(plain(line(&symbol, 10)));
            asker.deliver(Record { after_gap: true, ..plain(line(&symbol, 12)) });
        }
        (0..3).for_each(|_| asker.turn());
        assert_eq!(asker.board.counts().ticks_waiting, 2 * SYMBOLS);
        let long = line("S000", 13) + &" ".repeat(bytes_max);
        // The queue would cut it.
        asker.shard.take(&plain(long), None, || {}).unwrap();
        asker.turn();
        // Each goes on with its first tick, until the long one is gone.
        let tally = asker.shard.stream_tally();
        assert_eq!((tally.ticks, tally.rejects.total()), (SYMBOLS as u64 + 2, 1));
        assert_eq!(asker.board.counts().ticks_waiting, SYMBOLS - 1);
        assert_eq!(asker.given_up(GivenUp::Full), SYMBOLS as f64 + 1.0);
    };
    let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(work);
    thread.unwrap().join().unwrap();
}

#[test]
fn symbols_that_are_not_warm_are_named_once_there_is_room() {
    let metrics = HistoryMetrics::register(&Registry::new()).unwrap();
    let name = |index| Symbol::new(&format!("S{index:03}")).unwrap();
    let names: Vec<_> = (0..150).map(name).collect();
    names.iter().for_each(|name| metrics.name_cold(name, true));
    assert_eq!(metrics.board().cold(), names[..100]);
    names[..60].iter().for_each(|name| metrics.name_cold(name, false));
    assert_eq!(metrics.board().cold(), names[60..]);
}

#[test]
fn the_list_of_symbols_shows_their_history_and_a_cold_one_gets_warm() {
    let mut asker = Asker::new(limits());
    asker.prices("A", 10..16);
    let (number, _) = asker.only_asked();
    asker.answer(number, away());
    asker.prices("B", 10..11);
    let (number, _) = asker.only_asked();
    asker.answer(number, Ok(rows("B", 5..10)));
    asker.gap();
    asker.prices("B", 12..13);
    let (number, _) = asker.only_asked();
    asker.answer(number, Ok(rows("B", 11..12)));
    assert_eq!(asker.board.counts(), counts(0, 1, 1, 0));
    let clock = Stopwatch::start();
    let second = Duration::from_secs(1);
    let health =
        HealthLimits { quiet_min: second, stale_min: second, stale_waits: 1, first_wait: second };
    let metrics = HealthMetrics::register(&asker.registry).unwrap();
    let (watch, page) = HealthWatch::new(Box::new(|| FeedLink::Connected), health, metrics, clock);
    asker.shard = asker.shard.watched(watch);
    asker.turn();
    let mut shown = Vec::new();
    SymbolBoard::new(vec![page], clock, WINDOW_STEPS)
        .read(|row| shown.push((row.symbol.to_string(), row.history, row.filled)));
    let standing = Some(Standing::Warm);
    let a = SymbolHistory { standing, from: None, rows: 0 };
    let b = SymbolHistory { standing, from: Some(HistoryFrom::Rest), rows: 6 };
    assert_eq!(shown, [("A".to_owned(), a, 0), ("B".to_owned(), b, 1)]);
    asker.turn();
    assert_eq!((asker.board.counts(), asker.board.cold()), (counts(0, 2, 0, 0), vec![]));
}

#[test]
fn the_standings_of_a_symbol_are_shown() {
    assert_eq!(Standing::ALL.map(Standing::label), ["asked", "warm", "cold"]);
    let asker = Asker::new(limits());
    for standing in Standing::ALL {
        let series = format!("tickcast_history_symbols{{state=\"{}\"}}", standing.label());
        assert_eq!(asker.metric(&series), 0.0);
    }
    for from in HistoryFrom::ALL {
        let series = format!("tickcast_history_rows_total{{from=\"{}\"}}", from.label());
        assert_eq!(asker.metric(&series), 0.0);
    }
    assert_eq!(asker.metric("tickcast_history_ticks_waiting"), 0.0);
}
