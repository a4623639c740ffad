//! How a shard asks for history, and what it does with ticks meanwhile.
//!
//! Owns the way of a live tick past the book of questions. Promises that a tick for which history
//! is missing waits for the answer and no longer than to its deadline; that all later ticks of its
//! symbol wait behind it; and that without an answer each is taken as if there were no history.
//! Never waits itself.

use std::time::Duration;

use tracing::{info, warn};

use super::history::{
    GivenUp, HeldTicks, HistoryBook, Lack, Manner, Question, Unasked, WindowState,
};
use super::{Shard, ShardError, flush};
use crate::core::decode::symbol_of;
use crate::core::domain::{DurationNanos, Symbol};
use crate::core::history::{Missing, Span};
use crate::engine::pipeline::{Pipelines, Role};
use crate::engine::symbols::Haste;
use crate::intake::Record;
use crate::ops::clock::Stopwatch;
use crate::ops::logging::is_power_of_ten;
use crate::ports::history::{AskClock, Failed, Row, Rows};

/// The history of a shard's symbols.
pub(super) struct ShardHistory {
    pub(super) book: HistoryBook,
    pub(super) clock: AskClock,
}

impl ShardHistory {
    /// How long the shard may wait for records before there is something to do here.
    pub(super) fn patience(&self) -> Option<Duration> {
        let now = (self.clock)();
        self.book.next_deadline(now).map(|until| until.saturating_sub(now))
    }
}

impl Shard {
    /// The same with this book of questions, whose deadlines are by this clock.
    #[must_use]
    pub fn with_history(self, book: HistoryBook, clock: AskClock) -> Self {
        Self { history: Some(ShardHistory { book, clock }), ..self }
    }

    /// As [`Shard::take_now`], where there may be history.
    pub(super) fn take(
        &mut self,
        record: &Record,
        arrived: Option<Stopwatch>,
        decoded: impl FnOnce(),
    ) -> Result<(), ShardError> {
        let Self { history, pipelines, .. } = self;
        let Some(ShardHistory { book, .. }) = history else {
            return self.take_now(record, false, arrived, decoded).map(|_| ());
        };
        if record.is_history() {
            return self.take_streamed(record, arrived, decoded);
        }
        if let Some(symbol) = book.joins(record) {
            pipelines.note_arrival(symbol.as_str());
            return self.end_full();
        }
        let asks = book.asks();
        if self.take_now(record, asks, arrived, decoded)?.is_none() {
            return Ok(());
        }
        let symbol = symbol_of(&record.bytes).and_then(|symbol| Symbol::new(&symbol).ok());
        match symbol {
            Some(symbol) => {
                self.pipelines.note_arrival(symbol.as_str());
                self.work_off(&symbol, HeldTicks::of(record.clone()), None)?;
                self.end_full()
            }
            // No model can know it, and each says so.
            None => self.take_now(record, false, arrived, || {}).map(|_| ()),
        }
    }

    /// Takes a row that is streamed.
    fn take_streamed(
        &mut self,
        record: &Record,
        arrived: Option<Stopwatch>,
        decoded: impl FnOnce(),
    ) -> Result<(), ShardError> {
        let counts = |pipelines: &Pipelines| (pipelines.tally().used, pipelines.taken());
        let (used, taken) = counts(&self.pipelines);
        let _ = self.take_now(record, false, arrived, decoded)?;
        let after = counts(&self.pipelines);
        if let (true, Some(ShardHistory { book, clock })) = (after.0 > used, &mut self.history) {
            // One that a model holds already says that its symbol has history, and adds nothing.
            book.note_streamed(&record.bytes, after.1 > taken, clock());
        }
        Ok(())
    }

    /// Does what is due: asks for expected symbols, and ends questions past their deadlines. Where
    /// the shard ends, it ends all of them.
    pub(super) fn tend_history(&mut self, is_ending: bool) -> Result<(), ShardError> {
        let Some(ShardHistory { book, clock }) = &mut self.history else { return Ok(()) };
        let now = clock();
        if is_ending {
            self.take_waiting()?;
        } else {
            let pipelines = &self.pipelines;
            book.begin(|symbol| window_of(pipelines, symbol), now);
            book.ask_expected(now);
            book.forget_gone(|symbol| pipelines.has_symbol(symbol), now);
            while let Some(question) = self.book(|book| book.end_due(now)) {
                self.go_on(question, GivenUp::Late, &Failed::Late.to_string())?;
            }
            self.end_full()?;
        }
        if let Some(ShardHistory { book, .. }) = &mut self.history {
            book.show();
        }
        Ok(())
    }

    /// Takes all ticks that wait, without asking for anything.
    pub(super) fn take_waiting(&mut self) -> Result<(), ShardError> {
        let Some(asking) = self.book(HistoryBook::stop_asking) else { return Ok(()) };
        while let Some(question) = self.book(HistoryBook::end_any) {
            self.go_on(question, GivenUp::Stopped, "the ticks do not wait any longer")?;
        }
        if let Some(ShardHistory { book, .. }) = &mut self.history {
            book.go_on_asking(asking);
        }
        Ok(())
    }

    /// Lets symbols go on without history where too many ticks wait, one after the other: what goes
    /// on may ask and wait again. To be called wherever ticks have come to wait.
    fn end_full(&mut self) -> Result<(), ShardError> {
        while let Some(question) = self.book(HistoryBook::end_full) {
            self.go_on(question, GivenUp::Full, "too many ticks wait")?;
        }
        Ok(())
    }

    /// Notes that the rows that are streamed are over.
    pub(super) fn end_streaming(&mut self) {
        let Self { history, pipelines, .. } = self;
        if let Some(ShardHistory { book, clock }) = history {
            book.end_streaming(|symbol| window_of(pipelines, symbol), clock());
        }
    }

    /// Notes that data of every symbol may be missing from here on: behind the ticks that wait,
    /// where some do.
    pub(super) fn mark_gap(&mut self) {
        let Self { history, pipelines, .. } = self;
        let Some(ShardHistory { book, .. }) = history.as_mut().filter(|all| all.book.has_open())
        else {
            return pipelines.mark_gap();
        };
        for pipeline in pipelines.each_mut() {
            let engine = pipeline.engine_mut();
            for index in 0..engine.symbol_count() {
                let symbol = engine.symbol_at(index).filter(|name| !book.is_open(name.as_str()));
                if let Some(symbol) = symbol.cloned() {
                    engine.mark_gap_before(symbol.as_str(), None);
                    engine.note_changed(symbol.as_str());
                }
            }
        }
        book.mark_gap();
    }

    /// Takes the answer to a question. Nothing may be in inference or deferred.
    pub(super) fn answer(
        &mut self,
        number: u64,
        answer: Result<Rows, Failed>,
    ) -> Result<(), ShardError> {
        // One that has ended before was counted then.
        let Some(question) = self.book(|book| book.end(number)) else { return Ok(()) };
        self.end_with(question, answer)?;
        self.end_full()
    }

    fn end_with(
        &mut self,
        question: Question,
        answer: Result<Rows, Failed>,
    ) -> Result<(), ShardError> {
        let is_warm = question.lack.missing == Missing::Warm;
        match answer {
            Ok(Rows { is_complete: false, .. }) => {
                self.go_on(question, GivenUp::Incomplete, "some rows are missing")
            }
            Ok(Rows { rows, .. }) if is_warm && rows.is_empty() => {
                self.go_on(question, GivenUp::Incomplete, "there are no rows")
            }
            Ok(Rows { rows, .. }) if rows.windows(2).any(|two| two[1].time < two[0].time) => {
                self.go_on(question, GivenUp::Incomplete, "the rows are out of order")
            }
            Ok(rows) if is_warm && self.is_worse(&question.symbol, rows.rows.len()) => {
                self.go_on(question, GivenUp::Incomplete, "the window has more steps than the rows")
            }
            Ok(rows) => self.fill(question, &rows),
            Err(Failed::Away(reason)) => self.go_on(question, GivenUp::Away, &reason),
            Err(Failed::Refused(reason)) => self.go_on(question, GivenUp::Refused, &reason),
            Err(late @ Failed::Late) => self.go_on(question, GivenUp::Late, &late.to_string()),
        }
    }

    /// Whether so many rows of a whole window make fewer steps than the window has.
    fn is_worse(&self, symbol: &Symbol, rows: usize) -> bool {
        let covers = self.history.as_ref().map(|history| history.book.covers());
        let covers = covers.unwrap_or(DurationNanos::ZERO);
        (rows as u64) < self.pipelines.rows_to_replace(symbol.as_str(), covers)
    }

    /// Has the models take rows before the ticks that wait for them.
    fn fill(&mut self, mut question: Question, rows: &Rows) -> Result<(), ShardError> {
        let covers = self.book(|book| Some(book.covers())).unwrap_or(DurationNanos::ZERO);
        self.meet_first(&mut question, rows, covers)?;
        let bytes: Vec<_> = rows.rows.iter().map(|row| &*row.bytes).collect();
        let Self { pipelines, publisher, metrics, pulse, .. } = self;
        let outcome = pipelines.fill(&question.asked(), &bytes, covers, |pipeline| {
            // Nothing is published for many rows in a row, and each of them is progress.
            pulse.work();
            flush(pipeline, publisher, metrics, Haste::Throughput, None)
        })?;
        let used = match outcome {
            Ok(used) => used,
            Err(rejection) => {
                let reason = format!("a row cannot be read: {}", rejection.reason.label());
                return self.go_on(question, GivenUp::Incomplete, &reason);
            }
        };
        self.catch_up(Haste::Throughput, None)?;
        // The models know of the gap from the question. Where the tick that asked was dropped, the
        // mark of the first one is of that.
        let lost_first = question.held.lost_first;
        if let Some(first) = question.held.ticks.front_mut().filter(|_| !lost_first) {
            first.after_gap = false;
        }
        self.note_answer(&question, used);
        let filled = Some(question.lack.missing).filter(|_| !lost_first);
        self.work_off(&question.symbol, question.held, filled)
    }

    /// Has the first tick that waits for a question from before it say up to where the rows are
    /// history: what live ticks close is published. Not where too few rows lie before the tick,
    /// because the answer took long; and where several models lack different things, the rows have
    /// to reach the tick.
    fn meet_first(
        &mut self,
        question: &mut Question,
        rows: &Rows,
        covers: DurationNanos,
    ) -> Result<(), ShardError> {
        let wanted = self.book(|book| book.rows_wanted()).unwrap_or(usize::MAX);
        let end_of = |row: &Row| row.time.checked_add(covers);
        let reached = rows.rows.last().and_then(end_of);
        while let (None, Some(first)) = (question.lack.time, question.held.ticks.front()) {
            let first = first.clone();
            let Some(lack) = self.take_now(&first, true, None, || {})? else {
                question.held.ticks.pop_front();
                // It was taken or refused before the rows, and so it is by shadows that lag.
                self.catch_up(Haste::Throughput, None)?;
                continue;
            };
            let start = lack.time.and_then(|time| time.interval_start(covers, DurationNanos::ZERO));
            let reaches = self.pipelines.count() == 1 || reached >= start;
            let before = rows.rows.iter().filter(|row| end_of(row) <= lack.time).count();
            let are_enough = rows.rows.len() < wanted || before >= wanted;
            if lack.missing != Missing::Warm || !reaches || !are_enough {
                break;
            }
            question.lack = lack;
            question.held.lost_first = false;
        }
        Ok(())
    }

    /// Takes the ticks of a symbol in their order, until one of them lacks something that can be
    /// asked for: then it and those behind it wait. `filled` is what was filled right before the
    /// first of them asked for it, which it does not do again.
    fn work_off(
        &mut self,
        symbol: &Symbol,
        mut held: HeldTicks,
        mut filled: Option<Missing>,
    ) -> Result<(), ShardError> {
        while let Some(tick) = held.ticks.pop_front() {
            let asks = self.history.as_ref().is_some_and(|all| all.book.asks());
            let filled = filled.take();
            let Some(lack) = self.take_now(&tick, asks, None, || {})? else { continue };
            // What came behind a window may be a hole, and behind a hole there is nothing.
            let may_ask = match (filled, lack.missing) {
                (None, _) | (Some(Missing::Warm), Missing::Span(_)) => true,
                (Some(_), _) => false,
            };
            let asked = if may_ask { self.ask(symbol, lack) } else { Err(Unasked::Never) };
            match asked {
                Ok(()) => {
                    held.ticks.push_front(tick);
                    held.lost_first = false;
                    if let Some(ShardHistory { book, .. }) = &mut self.history {
                        book.hold(symbol, held);
                    }
                    return Ok(());
                }
                Err(Unasked::Never) => {}
                Err(Unasked::Away) => {
                    let reason = "the desk for history takes no more questions now";
                    self.note_failure(symbol, lack.missing, GivenUp::Away, reason);
                }
            }
            self.give_up(symbol, lack, true)?;
            let _ = self.take_now(&tick, false, None, || {})?;
        }
        if held.after_gap {
            self.catch_up(Haste::Throughput, None)?;
            for pipeline in self.pipelines.each_mut() {
                pipeline.engine_mut().mark_gap_before(symbol.as_str(), None);
                pipeline.engine_mut().note_changed(symbol.as_str());
            }
        }
        Ok(())
    }

    /// Lets the ticks go on that waited for a question, without its answer.
    fn go_on(
        &mut self,
        question: Question,
        reason: GivenUp,
        words: &str,
    ) -> Result<(), ShardError> {
        let Question { symbol, lack, mut held, .. } = question;
        self.note_failure(&symbol, lack.missing, reason, words);
        if reason != GivenUp::Stopped {
            self.give_up(&symbol, lack, !held.ticks.is_empty())?;
        }
        if let Some(first) = held.ticks.pop_front() {
            let _ = self.take_now(&first, false, None, || {})?;
        }
        self.work_off(&symbol, held, None)
    }

    /// Notes that nothing of what is missing is asked for again; `has_ticks` says that ticks have
    /// waited for it.
    fn give_up(&mut self, symbol: &Symbol, lack: Lack, has_ticks: bool) -> Result<(), ShardError> {
        if self.pipelines.each().any(|(_, pipeline)| pipeline.post().role != Role::Live) {
            self.catch_up(Haste::Throughput, None)?;
        }
        // A symbol without a tick stays unknown: a gap before its first one is none of it.
        let is_known = has_ticks || lack.time.is_some();
        if is_known || self.pipelines.has_symbol(symbol.as_str()) {
            self.pipelines.give_up(&lack.asked(symbol));
        }
        Ok(())
    }

    fn ask(&mut self, symbol: &Symbol, lack: Lack) -> Result<(), Unasked> {
        let Self { history, pipelines, .. } = self;
        let Some(ShardHistory { book, clock }) = history else { return Err(Unasked::Never) };
        // A hole that is longer than the window takes all of it, and its ticks wait as for a hole.
        let is_hole = match lack.missing {
            Missing::Warm => pipelines.has_running_windows(symbol.as_str()),
            Missing::Span(_) => true,
        };
        let are_parts = pipelines.has_longer_steps(symbol.as_str(), book.covers());
        let manner = Manner { is_hole, are_parts };
        book.ask(symbol, lack, manner, |symbol| pipelines.has_symbol(symbol), clock())
    }

    fn note_answer(&mut self, question: &Question, rows: usize) {
        let Self { history, pipelines, .. } = self;
        let Some(ShardHistory { book, clock }) = history else { return };
        let symbol = &question.symbol;
        let is_full = window_of(pipelines, symbol.as_str()) == WindowState::Full;
        let count = book.answered(question, rows, is_full, clock());
        match question.lack.missing {
            Missing::Span(Span { from, to }) if is_power_of_ten(count) => {
                info!(%symbol, %from, %to, rows, count, "missing steps were filled");
            }
            Missing::Warm if count > 0 && is_power_of_ten(count) => warn!(
                %symbol, rows, count,
                "a symbol is not warmed: its source has fewer rows than the models need; its \
                 window fills up with live ticks"
            ),
            _ => {}
        }
    }

    fn note_failure(&mut self, symbol: &Symbol, missing: Missing, reason: GivenUp, words: &str) {
        let Some(ShardHistory { book, clock }) = &mut self.history else { return };
        let count = book.give_up(symbol, missing, reason, clock());
        if reason == GivenUp::Stopped || !is_power_of_ten(count) {
            return;
        }
        let reason = reason.label();
        match missing {
            Missing::Warm => warn!(
                %symbol, reason, words, count,
                "a symbol is not warmed; its window fills up with live ticks. `tickcast check \
                 --online` shows what the source of history answers"
            ),
            Missing::Span(Span { from, to }) => warn!(
                %symbol, %from, %to, reason, words, count,
                "missing steps were not filled; forecasts that rest on them are marked"
            ),
        }
    }

    /// Asks the book, where there is one.
    fn book<T>(&mut self, ask: impl FnOnce(&mut HistoryBook) -> Option<T>) -> Option<T> {
        self.history.as_mut().and_then(|history| ask(&mut history.book))
    }
}

/// Forgets the history of symbols that have gone with their partition; `is_reading` says whether
/// rows of others may be on their way.
pub(super) fn forget_departed(
    history: &mut Option<ShardHistory>,
    pipelines: &Pipelines,
    is_reading: bool,
) {
    if let Some(ShardHistory { book, clock }) = history {
        book.forget_departed(|symbol| pipelines.has_symbol(symbol), is_reading, clock());
    }
}

/// What the models have of a symbol.
fn window_of(pipelines: &Pipelines, symbol: &str) -> WindowState {
    match pipelines.has_full_windows(symbol) {
        None => WindowState::Unwanted,
        Some(true) => WindowState::Full,
        Some(false) => WindowState::Lacking,
    }
}
