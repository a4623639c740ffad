//! What a shard knows of the history of its symbols: questions, the ticks that wait for answers,
//! and what came of each.
//!
//! Owns the open questions of one shard, their deadlines, and the live ticks that are held until
//! an answer comes. Promises that the ticks of a symbol keep their order, that no more of them
//! wait than the limits allow, that every one that is dropped is counted, and that a question ends
//! by its deadline. Reads no clock: the time is handed in. Never takes a tick into a model: the
//! shard does.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use super::history_metrics::{HistoryCounts, HistoryMetrics, Shown};
use crate::core::decode::symbol_of;
use crate::core::domain::{DurationNanos, Symbol, UnixNanos};
use crate::core::history::{HistoryFrom, HistoryNeed, Missing, RowKind, Span};
use crate::engine::pipeline::Asked;
use crate::intake::Record;
use crate::ports::history::{Ask, Desk, Request, Want};

/// How often symbols that are gone are looked for where the book has no room for another one.
const PRUNE_EVERY: Duration = Duration::from_secs(10);

/// How long a shard waits before it tries a desk again that was full.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// How long the ticks of a shard may wait for history, and how many of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLimits {
    /// Most ticks of all symbols of the shard that wait at once.
    pub ticks_max: usize,
    /// Most bytes of these ticks.
    pub bytes_max: usize,
    /// How long the ticks of a symbol wait for its whole window.
    pub warm_wait: Duration,
    /// How long they wait for the steps of a hole; `None` where holes are not filled.
    pub fill_wait: Option<Duration>,
    /// What happens where one more tick has no room.
    pub when_full: WhenHeld,
    /// Whether expected symbols are asked for before their first tick.
    pub asks_at_start: bool,
    /// How much history the models need.
    pub need: HistoryNeed,
}

/// What happens where ticks that wait for history have no more room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenHeld {
    /// The symbol with the most waiting ticks goes on without history.
    GoOn,
    /// The symbol with the most waiting ticks loses its oldest one; the next one is marked.
    DropOldest,
}

/// What came of the history of a symbol in this life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its rows are asked for, or are being read.
    Asked,
    /// Its window is full.
    Warm,
    /// History did not fill its window.
    Cold,
}

/// Why a question ended without all that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenUp {
    /// No answer came in time.
    Late,
    /// The source was not reached, or takes no more questions now.
    Away,
    /// The source has no such rows.
    Refused,
    /// Too many ticks waited.
    Full,
    /// The rows do not reach, or cannot be read.
    Incomplete,
    /// The rows were used, and are fewer than the models need.
    TooFew,
    /// The daemon stops.
    Stopped,
}

/// The history of one symbol, as it is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SymbolHistory {
    /// What came of it; `None` where no history was looked for.
    pub standing: Option<Standing>,
    /// Where its rows came from; `None` before the first row, and for a window from a snapshot.
    pub from: Option<HistoryFrom>,
    /// How many rows a model has used.
    pub rows: u64,
}

/// What is missing before a tick, and what is known of the tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lack {
    pub(super) missing: Missing,
    /// `None` where the question comes before the first tick.
    pub(super) time: Option<UnixNanos>,
    pub(super) after_gap: bool,
}

/// How something is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Manner {
    /// The window of the symbol was full before.
    pub(super) is_hole: bool,
    /// A model makes a step of several rows.
    pub(super) are_parts: bool,
}

/// What the models have of a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WindowState {
    /// No model wants it.
    Unwanted,
    /// A full window in every model that wants it.
    Full,
    /// Less than that.
    Lacking,
}

/// Why nothing was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unasked {
    /// Nothing is asked for this, or not again.
    Never,
    /// The desk takes no more questions now.
    Away,
}

/// A question that has ended, with the ticks that waited for it.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) symbol: Symbol,
    pub(super) lack: Lack,
    /// When it was asked, and when it is of no use any more.
    asked: Duration,
    until: Duration,
    /// The ticks in their order.
    pub(super) held: HeldTicks,
}

/// Ticks of one symbol that wait.
#[derive(Debug, Default)]
pub(super) struct HeldTicks {
    pub(super) ticks: VecDeque<Record>,
    /// Ticks may be missing behind the newest of them.
    pub(super) after_gap: bool,
    /// The first one was dropped since the question, or there was none.
    pub(super) lost_first: bool,
}

/// The questions of one shard.
#[derive(Debug)]
pub struct HistoryBook {
    /// Where rows come from that are streamed before the first live tick.
    streamed: Option<HistoryFrom>,
    is_streaming: bool,
    asking: Option<Asking>,
    metrics: HistoryMetrics,
    shown: Shown,
    /// One for each symbol with an open question.
    questions: BTreeMap<Symbol, (u64, Question)>,
    symbol_of: HashMap<u64, Symbol>,
    deadlines: BTreeSet<(Duration, u64)>,
    ticks: usize,
    bytes: usize,
    symbols: HashMap<Symbol, Known>,
    /// Expected symbols without an outcome.
    pending: BTreeSet<Symbol>,
    /// Expected symbols that are still to be asked for.
    unasked: VecDeque<Symbol>,
    has_begun: bool,
    /// Most symbols that are known here.
    symbols_max: usize,
    /// When symbols that are gone were last looked for.
    pruned: Duration,
    counts: HistoryCounts,
}

/// The way to the answers.
#[derive(Debug)]
pub(super) struct Asking {
    shard: usize,
    desk: Desk,
    limits: HistoryLimits,
    next_number: u64,
}

/// What is known of the history of a symbol.
#[derive(Clone, Copy, Debug)]
struct Known {
    history: SymbolHistory,
    /// When it was asked for first, and when that ended.
    asked: Duration,
    ended: Duration,
    /// A model has known the symbol.
    was_in_model: bool,
}

impl GivenUp {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::Late,
        Self::Away,
        Self::Refused,
        Self::Full,
        Self::Incomplete,
        Self::TooFew,
        Self::Stopped,
    ];

    /// The reason as a metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Away => "away",
            Self::Refused => "refused",
            Self::Full => "full",
            Self::Incomplete => "incomplete",
            Self::TooFew => "too_few",
            Self::Stopped => "stopped",
        }
    }
}

impl Standing {
    /// Every standing.
    pub const ALL: [Self; 3] = [Self::Asked, Self::Warm, Self::Cold];

    /// The standing as a metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Warm => "warm",
            Self::Cold => "cold",
        }
    }
}

impl HistoryBook {
    /// A book of a shard of so many symbols that asks nothing. `streamed` says where rows come from
    /// that are streamed before the first live tick, where there are any.
    pub fn new(streamed: Option<HistoryFrom>, symbols_max: usize, metrics: HistoryMetrics) -> Self {
        Self {
            streamed,
            is_streaming: streamed.is_some(),
            asking: None,
            metrics,
            shown: Shown::default(),
            questions: BTreeMap::new(),
            symbol_of: HashMap::new(),
            deadlines: BTreeSet::new(),
            ticks: 0,
            bytes: 0,
            symbols: HashMap::new(),
            pending: BTreeSet::new(),
            unasked: VecDeque::new(),
            has_begun: false,
            symbols_max,
            pruned: Duration::ZERO,
            counts: HistoryCounts::default(),
        }
    }

    /// The same for a shard that leaves its questions on this desk, as the shard of this number.
    #[must_use]
    pub fn asking(self, shard: usize, desk: Desk, limits: HistoryLimits) -> Self {
        Self { asking: Some(Asking { shard, desk, limits, next_number: 0 }), ..self }
    }

    /// The same with the symbols that are expected in this shard.
    #[must_use]
    pub fn expecting(mut self, symbols: impl IntoIterator<Item = Symbol>) -> Self {
        self.pending.extend(symbols);
        self.show();
        self
    }

    /// The history of a symbol, as it is shown.
    pub(super) fn of(&self, symbol: &str) -> SymbolHistory {
        self.symbols.get(symbol).map(|known| known.history).unwrap_or_default()
    }

    /// Whether a tick may ask.
    pub(super) fn asks(&self) -> bool {
        self.asking.is_some()
    }

    /// Asks nothing until [`HistoryBook::go_on_asking`].
    pub(super) fn stop_asking(&mut self) -> Option<Asking> {
        self.asking.take()
    }

    /// Asks again.
    pub(super) fn go_on_asking(&mut self, asking: Asking) {
        self.asking = Some(asking);
    }

    /// How many rows are asked for where a whole window is.
    pub(super) fn rows_wanted(&self) -> Option<usize> {
        self.asking.as_ref().map(Asking::rows)
    }

    /// How much time a row that was asked for covers.
    pub(super) fn covers(&self) -> DurationNanos {
        match self.asking.as_ref().and_then(|asking| asking.limits.need.rows) {
            Some(RowKind::Bars(length)) => length,
            Some(RowKind::Trades) | None => DurationNanos::ZERO,
        }
    }

    /// Whether ticks of any symbol wait, or may have to.
    pub(super) fn has_open(&self) -> bool {
        !self.questions.is_empty()
    }

    /// Whether ticks of this symbol are here and wait.
    pub(super) fn holds_ticks(&self, symbol: &str) -> bool {
        self.questions.get(symbol).is_some_and(|(_, question)| !question.held.ticks.is_empty())
    }

    /// Whether ticks of this symbol do.
    pub(super) fn is_open(&self, symbol: &str) -> bool {
        self.questions.contains_key(symbol)
    }

    /// The next instant at which there is something to do.
    pub(super) fn next_deadline(&self, now: Duration) -> Option<Duration> {
        if !self.has_begun && !self.is_streaming {
            return Some(now);
        }
        let due = self.deadlines.first().map(|(until, _)| *until);
        let retry = (!self.unasked.is_empty()).then(|| now.saturating_add(RETRY_EVERY));
        due.into_iter().chain(retry).min()
    }

    /// Has a tick wait where those of its symbol do. Returns the symbol if it does.
    pub(super) fn joins(&mut self, record: &Record) -> Option<&Symbol> {
        if self.questions.is_empty() || record.is_history() {
            return None;
        }
        let symbol = symbol_of(&record.bytes)?;
        let (_, question) = self.questions.get_mut(&*symbol)?;
        // A tick that comes late says nothing of what lies behind it.
        let after_gap =
            record.after_gap | (!record.late && std::mem::take(&mut question.held.after_gap));
        question.held.ticks.push_back(Record { after_gap, ..record.clone() });
        self.ticks += 1;
        self.bytes += record.bytes.len();
        self.drop_oldest();
        self.questions.get(&*symbol).map(|(_, question)| &question.symbol)
    }

    /// Leaves a question for what a tick of a symbol lacks; `knows` says whether a model knows a
    /// symbol. The ticks that wait are to be handed in with [`HistoryBook::hold`].
    ///
    /// # Errors
    /// [`Unasked`] where it is not asked: the ticks go on without.
    pub(super) fn ask(
        &mut self,
        symbol: &Symbol,
        lack: Lack,
        manner: Manner,
        knows: impl Fn(&str) -> bool,
        now: Duration,
    ) -> Result<(), Unasked> {
        let limits = &self.asking.as_ref().ok_or(Unasked::Never)?.limits;
        let wait = match manner.is_hole {
            false => limits.warm_wait,
            true => limits.fill_wait.ok_or(Unasked::Never)?,
        };
        if lack.missing == Missing::Warm {
            let is_in_vain = self.symbols.get(symbol).is_some_and(|known| {
                let is_soon = now < known.ended.saturating_add(wait);
                known.history.standing == Some(Standing::Cold) && is_soon
            });
            // A symbol that was asked for before its first tick, in vain.
            let is_repeat = is_in_vain && !knows(symbol.as_str());
            if is_repeat || !self.has_room(symbol, knows, now) {
                return Err(Unasked::Never);
            }
        }
        self.leave(symbol, lack, manner, now, now.saturating_add(wait))
    }

    /// Whether there is room for what is to be known of a symbol.
    fn has_room(&mut self, symbol: &Symbol, knows: impl Fn(&str) -> bool, now: Duration) -> bool {
        let is_full = |book: &Self| book.symbols.len() >= book.symbols_max;
        if self.symbols.contains_key(symbol) || !is_full(self) {
            return true;
        }
        if now >= self.pruned.saturating_add(PRUNE_EVERY) {
            self.prune(knows, now);
        }
        !is_full(self)
    }

    /// Forgets symbols that no model knows any more, because their partition has gone. Those whose
    /// rows are being read are kept where `is_reading`: what comes of them is still to be known.
    pub(super) fn forget_departed(
        &mut self,
        knows: impl Fn(&str) -> bool,
        is_reading: bool,
        now: Duration,
    ) {
        let asked = Some(Standing::Asked);
        let read = self.symbols.iter().filter(|(_, known)| known.history.standing == asked);
        let read: BTreeSet<_> = read.map(|(symbol, _)| symbol.clone()).collect();
        self.prune(|symbol| knows(symbol) || is_reading && read.contains(symbol), now);
    }

    /// Forgets symbols that a model has known and that none knows any more, from time to time.
    pub(super) fn forget_gone(&mut self, knows: impl Fn(&str) -> bool, now: Duration) {
        if now < self.pruned.saturating_add(PRUNE_EVERY) {
            return;
        }
        for (symbol, known) in &mut self.symbols {
            known.was_in_model |= knows(symbol.as_str());
        }
        // One that was asked for in vain before its first tick stays.
        let waits = self.symbols.iter().filter(|(_, known)| !known.was_in_model);
        let waits: BTreeSet<_> = waits.map(|(symbol, _)| symbol.clone()).collect();
        self.prune(|symbol| knows(symbol) || waits.contains(symbol), now);
    }

    /// Forgets symbols that no model knows any more.
    fn prune(&mut self, knows: impl Fn(&str) -> bool, now: Duration) {
        self.pruned = now;
        let stays = |symbol: &Symbol| self.questions.contains_key(symbol) || knows(symbol.as_str());
        let gone: Vec<_> = self.symbols.keys().filter(|symbol| !stays(symbol)).cloned().collect();
        gone.iter().for_each(|symbol| self.forget(symbol));
    }

    /// Forgets what came of the history of a symbol.
    fn forget(&mut self, symbol: &Symbol) {
        let Some(known) = self.symbols.remove(symbol) else { return };
        if let Some(standing) = known.history.standing {
            *self.counts.of_mut(standing) -= 1;
            self.metrics.name_cold(symbol, false);
        }
    }

    fn leave(
        &mut self,
        symbol: &Symbol,
        lack: Lack,
        manner: Manner,
        now: Duration,
        until: Duration,
    ) -> Result<(), Unasked> {
        let asking = self.asking.as_mut().ok_or(Unasked::Never)?;
        let Manner { is_hole, are_parts } = manner;
        let request = asking.request(symbol, lack, are_parts).ok_or(Unasked::Never)?;
        let (shard, number) = (asking.shard, asking.next_number);
        asking
            .desk
            .ask(Ask { shard, number, request, is_hole, until })
            .map_err(|_| Unasked::Away)?;
        asking.next_number += 1;
        match lack.missing {
            Missing::Warm => self.settle(symbol, Standing::Asked, now),
            Missing::Span(_) => self.metrics.ask_fill(),
        }
        self.symbol_of.insert(number, symbol.clone());
        self.deadlines.insert((until, number));
        let held = HeldTicks { lost_first: true, ..HeldTicks::default() };
        let question = Question { symbol: symbol.clone(), lack, asked: now, until, held };
        self.questions.insert(symbol.clone(), (number, question));
        Ok(())
    }

    /// Has ticks wait for the answer to the question of their symbol.
    pub(super) fn hold(&mut self, symbol: &Symbol, held: HeldTicks) {
        let Some((_, question)) = self.questions.get_mut(symbol) else { return };
        self.ticks += held.ticks.len();
        self.bytes += held.bytes();
        question.held = held;
        self.drop_oldest();
    }

    /// Ends the question of this number, which is answered; `None` where it has ended before.
    pub(super) fn end(&mut self, number: u64) -> Option<Question> {
        let symbol = self.symbol_of.get(&number)?.clone();
        self.end_of(&symbol)
    }

    /// Ends a question that is past its deadline.
    pub(super) fn end_due(&mut self, now: Duration) -> Option<Question> {
        let (_, number) = *self.deadlines.first().filter(|(until, _)| *until <= now)?;
        self.end(number)
    }

    /// Ends the question with the most waiting ticks, where too many wait.
    pub(super) fn end_full(&mut self) -> Option<Question> {
        if !self.is_over() {
            return None;
        }
        let longest = self.questions.values().max_by_key(|(_, question)| question.held.ticks.len());
        let symbol = longest.map(|(_, question)| question.symbol.clone())?;
        self.end_of(&symbol)
    }

    /// Ends any question.
    pub(super) fn end_any(&mut self) -> Option<Question> {
        let symbol = self.questions.keys().next()?.clone();
        self.end_of(&symbol)
    }

    fn end_of(&mut self, symbol: &Symbol) -> Option<Question> {
        let (number, question) = self.questions.remove(symbol)?;
        self.symbol_of.remove(&number);
        self.deadlines.remove(&(question.until, number));
        self.ticks -= question.held.ticks.len();
        self.bytes -= question.held.bytes();
        Some(question)
    }

    fn is_over(&self) -> bool {
        let Some(Asking { limits, .. }) = &self.asking else { return false };
        self.ticks > limits.ticks_max || self.bytes > limits.bytes_max
    }

    /// Makes room by the policy that drops ticks.
    fn drop_oldest(&mut self) {
        let drops = |asking: &Asking| asking.limits.when_full == WhenHeld::DropOldest;
        if !self.asking.as_ref().is_some_and(drops) {
            return;
        }
        while self.is_over() {
            let questions = self.questions.values_mut().map(|(_, question)| question);
            let Some(longest) = questions.max_by_key(|question| question.held.ticks.len()) else {
                return;
            };
            let HeldTicks { ticks, after_gap, lost_first } = &mut longest.held;
            let Some(dropped) = ticks.pop_front() else { return };
            *lost_first = true;
            match ticks.front_mut() {
                Some(next) => next.after_gap = true,
                None => *after_gap = true,
            }
            self.ticks -= 1;
            self.bytes -= dropped.bytes.len();
            self.metrics.drop_tick();
        }
    }

    /// Notes that ticks of every symbol may be missing from here on.
    pub(super) fn mark_gap(&mut self) {
        self.questions.values_mut().for_each(|(_, question)| question.held.after_gap = true);
    }

    /// Counts a question that ended in vain; returns how many did for this reason.
    pub(super) fn give_up(
        &mut self,
        symbol: &Symbol,
        missing: Missing,
        reason: GivenUp,
        now: Duration,
    ) -> u64 {
        if missing == Missing::Warm && reason != GivenUp::Stopped {
            self.settle(symbol, Standing::Cold, now);
        }
        self.metrics.give_up(reason)
    }

    /// Notes how many rows of the answer to a question were used, and whether the window of its
    /// symbol is full now. Returns how many questions for steps were answered so far, or for
    /// windows that are not full.
    pub(super) fn answered(
        &mut self,
        question: &Question,
        rows: usize,
        is_full: bool,
        now: Duration,
    ) -> u64 {
        let symbol = &question.symbol;
        self.add_rows(symbol, HistoryFrom::Rest, rows);
        match question.lack.missing {
            Missing::Warm if is_full => {
                let asked = self.symbols.get(symbol).map_or(question.asked, |known| known.asked);
                self.metrics.warmed(now.saturating_sub(asked));
                self.settle(symbol, Standing::Warm, now);
            }
            Missing::Warm => {
                self.settle(symbol, Standing::Cold, now);
                return self.metrics.give_up(GivenUp::TooFew);
            }
            Missing::Span(_) => {
                return self.metrics.filled(now.saturating_sub(question.asked));
            }
        }
        0
    }

    /// Notes a row that was streamed and that a model has use for; `is_taken` says that it moved
    /// one
    /// on.
    pub(super) fn note_streamed(&mut self, record: &[u8], is_taken: bool, now: Duration) {
        let Some(from) = self.streamed else { return };
        let symbol = symbol_of(record).and_then(|symbol| {
            let known = self.symbols.get_key_value(&*symbol).map(|(symbol, _)| symbol.clone());
            known.or_else(|| Symbol::new(&symbol).ok())
        });
        let Some(symbol) = symbol else { return };
        if self.of(symbol.as_str()).standing.is_none() {
            self.settle(&symbol, Standing::Asked, now);
        }
        self.add_rows(&symbol, from, usize::from(is_taken));
    }

    fn add_rows(&mut self, symbol: &Symbol, from: HistoryFrom, count: usize) {
        self.metrics.add_rows(from, count);
        if let Some(Known { history, .. }) = self.symbols.get_mut(symbol) {
            history.rows += count as u64;
            history.from = Some(from);
        }
    }

    /// The rows that are streamed are over: what they came to is known. `has` says what the models
    /// have of a symbol.
    pub(super) fn end_streaming(&mut self, has: impl Fn(&str) -> WindowState, now: Duration) {
        self.is_streaming = false;
        let is_read = |(symbol, known): (&Symbol, &Known)| {
            let is_asked = known.history.standing == Some(Standing::Asked);
            (is_asked && !self.questions.contains_key(symbol)).then(|| symbol.clone())
        };
        let read: Vec<_> = self.symbols.iter().filter_map(is_read).collect();
        for symbol in read {
            let is_expected = self.pending.contains(&symbol);
            match has(symbol.as_str()) {
                WindowState::Full => self.settle(&symbol, Standing::Warm, now),
                WindowState::Lacking => {
                    self.settle(&symbol, Standing::Cold, now);
                    // Others are asked for with their first tick.
                    if is_expected && self.asks() {
                        self.pending.insert(symbol);
                    }
                }
                WindowState::Unwanted => self.forget(&symbol),
            }
        }
        self.has_begun = false;
        self.begin(has, now);
    }

    /// Looks at the expected symbols, once: those with a full window are warm, and the others are
    /// to be asked for, where that is wanted.
    pub(super) fn begin(&mut self, has: impl Fn(&str) -> WindowState, now: Duration) {
        if self.has_begun || self.is_streaming {
            return;
        }
        self.has_begun = true;
        let at_start = self.asking.as_ref().map(|asking| asking.limits.asks_at_start);
        for symbol in self.pending.clone() {
            match (has(symbol.as_str()), at_start) {
                (WindowState::Unwanted, _) => {
                    self.pending.remove(&symbol);
                }
                (WindowState::Full, _) => self.settle(&symbol, Standing::Warm, now),
                (WindowState::Lacking, Some(true)) => self.unasked.push_back(symbol),
                (WindowState::Lacking, Some(false)) => {}
                (WindowState::Lacking, None) => self.settle(&symbol, Standing::Cold, now),
            }
        }
    }

    /// Asks for expected symbols while there is room on the desk.
    pub(super) fn ask_expected(&mut self, now: Duration) {
        let Some(Asking { limits, .. }) = &self.asking else { return };
        let until = now.saturating_add(limits.warm_wait);
        let start = Lack { missing: Missing::Warm, time: None, after_gap: false };
        while let Some(symbol) = self.unasked.pop_front() {
            // Its first tick may have asked meanwhile.
            if !self.pending.contains(&symbol) || self.is_open(symbol.as_str()) {
                continue;
            }
            match self.leave(&symbol, start, Manner::default(), now, until) {
                Ok(()) => {}
                Err(Unasked::Away) => {
                    self.unasked.push_front(symbol);
                    return;
                }
                // Such rows are asked for with the first tick alone.
                Err(Unasked::Never) => {}
            }
        }
    }

    /// Notes that the window of a symbol is full, however that came.
    pub(super) fn note_full(&mut self, symbol: &Symbol, now: Duration) {
        if self.counts.cold > 0 && self.of(symbol.as_str()).standing == Some(Standing::Cold) {
            self.settle(symbol, Standing::Warm, now);
        }
    }

    fn settle(&mut self, symbol: &Symbol, standing: Standing, now: Duration) {
        let Self { symbols, counts, metrics, pending, .. } = self;
        if standing != Standing::Asked {
            pending.remove(symbol);
        }
        if !symbols.contains_key(symbol) {
            if symbols.len() >= self.symbols_max {
                return;
            }
            let history = SymbolHistory::default();
            let known = Known { history, asked: now, ended: now, was_in_model: false };
            symbols.insert(symbol.clone(), known);
        }
        let Some(known) = symbols.get_mut(symbol) else { return };
        let before = known.history.standing.replace(standing);
        if standing == Standing::Asked && before != Some(Standing::Asked) {
            known.asked = now;
        }
        known.ended = now;
        if let Some(before) = before {
            *counts.of_mut(before) -= 1;
        }
        *counts.of_mut(standing) += 1;
        if before == Some(Standing::Cold) || standing == Standing::Cold {
            metrics.name_cold(symbol, standing == Standing::Cold);
        }
    }

    /// Shows what has changed.
    pub(super) fn show(&mut self) {
        let (pending, ticks_waiting) = (self.pending.len(), self.ticks);
        let counts = HistoryCounts { pending, ticks_waiting, ..self.counts };
        self.metrics.show(&mut self.shown, counts);
    }
}

impl Asking {
    /// How many bars are asked for where a whole window is.
    fn rows(&self) -> usize {
        let HistoryNeed { span, rows, .. } = self.limits.need;
        let Some(RowKind::Bars(length)) = rows else { return usize::MAX };
        let rows = span.as_nanos().div_euclid(length.as_nanos().max(1)).max(1);
        usize::try_from(rows).unwrap_or(usize::MAX)
    }

    /// What is asked for; `None` where that cannot be said.
    fn request(&self, symbol: &Symbol, lack: Lack, are_parts: bool) -> Option<Request> {
        let HistoryNeed { span, rows, .. } = self.limits.need;
        let kind = rows?;
        let want = match (lack.missing, kind) {
            (Missing::Span(span), _) => Want::Between(span),
            (Missing::Warm, RowKind::Bars(length)) => {
                // A bar that the tick is part of is not finished.
                let start = |time: UnixNanos| time.interval_start(length, DurationNanos::ZERO);
                let before = lack.time.and_then(start);
                Want::Newest { before, rows: u32::try_from(self.rows()).unwrap_or(u32::MAX) }
            }
            (Missing::Warm, RowKind::Trades) => {
                let to = lack.time?;
                let from = to.as_nanos().saturating_sub(span.as_nanos());
                Want::Between(Span { from: UnixNanos::from_nanos(from), to })
            }
        };
        Some(Request { symbol: symbol.clone(), kind, are_parts, want })
    }
}

impl Question {
    /// As the models are asked.
    pub(super) fn asked(&self) -> Asked<'_> {
        self.lack.asked(&self.symbol)
    }
}

impl Lack {
    /// As the models are asked.
    pub(super) fn asked(self, symbol: &Symbol) -> Asked<'_> {
        let Self { missing, time, after_gap } = self;
        Asked { symbol: symbol.as_str(), missing, time, after_gap }
    }
}

impl HeldTicks {
    /// One tick that waits.
    pub(super) fn of(tick: Record) -> Self {
        Self { ticks: VecDeque::from([tick]), after_gap: false, lost_first: false }
    }

    fn bytes(&self) -> usize {
        self.ticks.iter().map(|tick| tick.bytes.len()).sum()
    }
}
