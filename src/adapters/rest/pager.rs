//! From a question for history to requests, and from answers to rows.
//!
//! Owns which stretches are asked for, in which order, and what is known of the answer as a whole.
//! Promises that rows come out in the order of time, inside what was wanted, each once and
//! finished; that an answer counts as complete only where no row is known to be missing; and that
//! the number of requests is bounded. Never waits and never sends: it knows no clock.
//!
//! Nothing is assumed of where bars begin: two rows that follow each other are apart by the length
//! of a bar, whether that is at full minutes or at the opening of an exchange.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use crate::core::domain::{DurationNanos, UnixNanos};
use crate::core::history::Span;
use crate::core::venue::{Answer, AnswerRow, Paging};
use crate::ports::history::{Row, Rows, Want};

/// How often what is missing is asked for again without anything new.
pub(super) const AGAIN_MAX: u32 = 4;

/// A feed rests no longer than so much: a stretch without rows that is longer is the beginning.
const REST_MAX: i64 = 4 * 86_400 * 1_000_000_000;

/// What a venue says of its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pages {
    pub(super) paging: Paging,
    /// The most rows of one answer.
    pub(super) rows_max: u32,
    /// The most answers for one question.
    pub(super) pages_max: u32,
    /// Whether intervals without trades have no row.
    pub(super) omits_empty: bool,
    /// Whether a step is made of several rows.
    pub(super) are_parts: bool,
    /// How long a bar is.
    pub(super) length: DurationNanos,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// A request.
    Ask(Page),
    /// Nothing: these are the rows.
    Done(Rows),
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// Which stretch.
    pub(super) span: Span,
    /// What the answer before gave.
    pub(super) cursor: Option<String>,
    /// How often it was asked for before without anything new.
    pub(super) again: u32,
}

/// Why a question cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{needed} requests are needed and rest.pages_max is {max}")]
pub(super) struct TooManyPages {
    needed: u64,
    max: u32,
}

/// A question under way.
#[derive(Debug)]
pub(super) struct Pager {
    pages: Pages,
    /// The first instant that may be asked for; of the newest rows, the lowest that was.
    from: i64,
    /// The first instant behind the rows.
    to: i64,
    goal: Goal,
    todo: VecDeque<Page>,
    /// Rows by their time.
    rows: BTreeMap<i64, Found>,
    /// Times of rows that were not finished yet.
    open: BTreeSet<i64>,
    asked: u32,
    again: u32,
    /// Rows that were known when the last round began.
    known: usize,
    /// The newest row when rows behind it were asked for last.
    tail_known: Option<i64>,
    /// Whether rows at the end of a stretch that could not be seen to be missing were asked for
    /// once more.
    has_asked_tail: bool,
    /// The time from which an answer with the newest rows has all of them.
    reach: i64,
    /// The end of the stretch of older rows that was asked for last.
    older: Option<i64>,
    /// How many such stretches had no row, one after the other.
    quiet: u32,
    is_over: bool,
    /// Something is wrong that no further answer takes away.
    is_spoiled: bool,
}

#[derive(Debug)]
enum Goal {
    /// All rows of the stretch.
    Between,
    /// So many, the newest ones; whether the newest of all must be among them.
    Newest { rows: usize, is_exact: bool },
}

#[derive(Debug)]
struct Found {
    bytes: Bytes,
    is_empty: bool,
}

impl Pager {
    /// Begins a question. For the newest rows without an end, `now` is the first instant that no
    /// finished row reaches beyond.
    ///
    /// # Errors
    /// Where a stretch takes more answers than are allowed.
    pub(super) fn new(pages: Pages, want: Want, now: UnixNanos) -> Result<Self, TooManyPages> {
        let length = pages.length.as_nanos().max(1);
        let page = length.saturating_mul(i64::from(pages.rows_max));
        let (from, to, goal) = match want {
            Want::Between(span) => (span.from.as_nanos(), span.to.as_nanos(), Goal::Between),
            Want::Newest { before, rows } => {
                let to = before.unwrap_or(now).as_nanos();
                let first = length.saturating_mul(i64::from(rows)).min(page);
                let goal = Goal::Newest { rows: rows as usize, is_exact: before.is_some() };
                // The newest rows that there are may be old ones.
                let is_latest = pages.paging == Paging::Latest;
                let from = if is_latest { to.min(0) } else { to.saturating_sub(first) };
                (from, to, goal)
            }
        };
        let needed = to.saturating_sub(from).max(0).unsigned_abs().div_ceil(page.unsigned_abs());
        if pages.paging == Paging::Range && needed > u64::from(pages.pages_max) {
            return Err(TooManyPages { needed, max: pages.pages_max });
        }
        let mut pager = Self {
            pages,
            from,
            to,
            goal,
            todo: VecDeque::new(),
            rows: BTreeMap::new(),
            open: BTreeSet::new(),
            asked: 0,
            again: 0,
            known: 0,
            tail_known: None,
            has_asked_tail: false,
            reach: i64::MIN,
            older: None,
            quiet: 0,
            is_over: false,
            is_spoiled: false,
        };
        pager.put(from, to);
        Ok(pager)
    }

    /// What comes next: call it after each answer.
    pub(super) fn turn(&mut self) -> Turn {
        while self.todo.is_empty() && !self.is_over {
            self.go_on();
        }
        if self.asked >= self.pages.pages_max.saturating_add(AGAIN_MAX) {
            self.is_spoiled |= !self.todo.is_empty();
            self.todo.clear();
        }
        match self.todo.pop_front() {
            Some(page) => Turn::Ask(page),
            None => Turn::Done(self.rows()),
        }
    }

    /// An answer to a page came. Rows that end behind `finished` may not be finished.
    pub(super) fn answered(&mut self, page: &Page, answer: Answer, finished: Option<UnixNanos>) {
        self.asked += 1;
        // A row that cannot be read may be missing where nothing else shows it.
        self.is_spoiled |= answer.bad > 0 && self.pages.omits_empty;
        if self.pages.paging == Paging::Latest {
            let is_full = answer.rows.len() >= self.pages.rows_max as usize;
            let oldest = answer.rows.iter().map(|row| row.time.as_nanos()).min();
            self.reach = oldest.filter(|_| is_full).unwrap_or(i64::MIN);
        }
        for row in answer.rows.into_iter().filter(|row| page.span.contains(row.time)) {
            self.take(row, finished);
        }
        if self.pages.paging == Paging::Cursor
            && let Some(cursor) = answer.cursor
        {
            if page.cursor.as_ref() == Some(&cursor) {
                self.is_spoiled = true;
            } else {
                self.todo.push_front(Page { cursor: Some(cursor), ..page.clone() });
            }
        }
    }

    fn take(&mut self, row: AnswerRow, finished: Option<UnixNanos>) {
        let time = row.time.as_nanos();
        let end = time.saturating_add(self.length());
        if end > self.to {
            return;
        }
        if finished.is_some_and(|finished| end > finished.as_nanos()) {
            self.open.insert(time);
            return;
        }
        self.open.remove(&time);
        let found = Found { bytes: row.record.into(), is_empty: row.is_empty };
        match self.rows.get(&time) {
            None => _ = self.rows.insert(time, found),
            Some(known) => self.is_spoiled |= known.bytes != found.bytes,
        }
    }

    fn length(&self) -> i64 {
        self.pages.length.as_nanos().max(1)
    }

    /// All pages of a round were answered: finds what to ask for next, or that it is over.
    fn go_on(&mut self) {
        let holes = self.holes();
        if holes.is_empty() {
            return match self.unseen_tail().filter(|_| !self.has_asked_tail) {
                Some(tail) => self.ask_tail(tail),
                None => self.extend(),
            };
        }
        let newest = self.rows.keys().next_back().copied();
        if self.accepts_tail() && holes.iter().all(|hole| hole.to.as_nanos() == self.to) {
            // The newest rows may not be out yet, and the stream says where they begin.
            if self.tail_known == newest {
                return self.extend();
            }
            self.tail_known = newest;
        }
        let is_new = self.rows.len() > self.known;
        self.known = self.rows.len();
        self.again = if is_new { 0 } else { self.again + 1 };
        let is_latest = self.pages.paging == Paging::Latest;
        // What is older than the newest rows cannot be had.
        let is_out_of_reach =
            is_latest && holes.iter().all(|hole| hole.to.as_nanos() <= self.reach);
        if is_out_of_reach || self.again > AGAIN_MAX {
            self.is_over = true;
        } else if is_latest {
            self.put(self.from, self.to);
        } else {
            holes.iter().for_each(|hole| self.put(hole.from.as_nanos(), hole.to.as_nanos()));
        }
    }

    /// The end of a stretch where a row may be missing although the venue leaves intervals out:
    /// it publishes its newest row a little late, and a step that is made of several rows does not
    /// show that it lacks its last one.
    fn unseen_tail(&self) -> Option<Span> {
        let Pages { omits_empty, are_parts, .. } = self.pages;
        if !omits_empty || !are_parts || !matches!(self.goal, Goal::Between) {
            return None;
        }
        let newest = self.rows.keys().next_back();
        let end = newest.map_or(self.from, |time| time.saturating_add(self.length()));
        (self.to.saturating_sub(end) >= self.length()).then(|| span(end, self.to))
    }

    /// Asks for what may be missing at the end, a moment later and once.
    fn ask_tail(&mut self, tail: Span) {
        self.has_asked_tail = true;
        self.again = 1;
        let from = match self.pages.paging {
            Paging::Latest | Paging::Cursor => self.from,
            Paging::Range => tail.from.as_nanos().max(self.to.saturating_sub(self.page_length())),
        };
        self.put(from, self.to);
    }

    /// Asks for older rows where more are wanted, until there are none.
    fn extend(&mut self) {
        self.is_over = true;
        let Goal::Newest { rows, .. } = self.goal else { return };
        let is_enough = self.delivered() >= rows || self.pages.paging == Paging::Latest;
        if is_enough || self.asked >= self.pages.pages_max {
            return;
        }
        let oldest = self.rows.keys().next().copied();
        if let Some(older) = self.older {
            let is_quiet = oldest.is_none_or(|oldest| oldest >= older);
            self.quiet = if is_quiet { self.quiet + 1 } else { 0 };
        }
        let page = self.page_length();
        let is_beginning = match self.pages.omits_empty {
            true => self.quiet >= 2 && page.saturating_mul(i64::from(self.quiet)) >= REST_MAX,
            // The same stretch twice: one answer without rows may be a mistake.
            false => self.quiet >= 2,
        };
        // Where each interval has its row, rows go on below the oldest.
        let end = if self.pages.omits_empty { Some(self.from) } else { oldest };
        // Nothing was traded before 1970.
        let end = end.filter(|end| !is_beginning && *end > 0);
        if let Some(end) = end {
            self.is_over = false;
            self.again = if self.pages.omits_empty { 0 } else { self.quiet };
            self.older = Some(end);
            self.from = end.saturating_sub(page);
            self.put(self.from, end);
        }
    }

    /// Puts a stretch on the list, in as many pages as it takes.
    fn put(&mut self, from: i64, to: i64) {
        let page = match self.pages.paging {
            Paging::Range => self.page_length(),
            // Its pages follow from the answers.
            Paging::Latest | Paging::Cursor => i64::MAX,
        };
        let mut from = from;
        while from < to {
            let end = from.saturating_add(page).min(to);
            self.todo.push_back(Page { span: span(from, end), cursor: None, again: self.again });
            from = end;
        }
    }

    /// The longest stretch of one answer.
    fn page_length(&self) -> i64 {
        self.length().saturating_mul(i64::from(self.pages.rows_max))
    }

    /// Whether the newest rows may be missing behind those that there are.
    fn accepts_tail(&self) -> bool {
        let has_rows = self.pages.omits_empty || !self.rows.is_empty();
        has_rows && matches!(self.goal, Goal::Newest { is_exact: false, .. })
    }

    /// The rows that are handed on, whichever are too many.
    fn delivered(&self) -> usize {
        self.rows.values().filter(|row| !row.is_empty).count()
    }

    /// The stretches of which it is known that a row is missing.
    fn holes(&self) -> Vec<Span> {
        let length = self.length();
        if self.pages.omits_empty {
            let is_known = self.accepts_tail();
            let open = self.open.iter().filter(|_| !is_known);
            return open.map(|time| span(*time, time.saturating_add(length))).collect();
        }
        let mut holes = Vec::new();
        let mut end = self.lower_end();
        for time in self.rows.range(end..).map(|(time, _)| *time).chain([self.to]) {
            if time.saturating_sub(end) >= length {
                holes.push(span(end, time));
            }
            end = end.max(time.saturating_add(length));
        }
        holes
    }

    /// The first instant from which on rows have to be there.
    fn lower_end(&self) -> i64 {
        let Goal::Newest { rows, .. } = self.goal else { return self.from };
        let mut newest = self.rows.iter().rev().filter(|(_, row)| !row.is_empty);
        let last_wanted = rows.checked_sub(1).and_then(|index| newest.nth(index));
        let oldest = last_wanted.or_else(|| self.rows.iter().next());
        oldest.map_or(self.from, |(time, _)| *time)
    }

    /// What is known now.
    fn rows(&self) -> Rows {
        let skipped = match self.goal {
            Goal::Between => 0,
            Goal::Newest { rows, .. } => self.delivered().saturating_sub(rows),
        };
        let delivered = self.rows.iter().filter(|(_, row)| !row.is_empty).skip(skipped);
        let row = |(time, row): (&i64, &Found)| Row {
            bytes: row.bytes.clone(),
            time: UnixNanos::from_nanos(*time),
            trade_id: None,
        };
        let mut holes = self.holes().into_iter();
        let is_whole = match self.accepts_tail() {
            true => holes.all(|hole| hole.to.as_nanos() == self.to),
            false => holes.next().is_none(),
        };
        let is_between = matches!(self.goal, Goal::Between);
        let is_reached = !is_between || self.reach < self.from.saturating_add(self.length());
        Rows {
            rows: delivered.map(row).collect(),
            is_complete: is_whole && is_reached && !self.is_spoiled && self.unseen_tail().is_none(),
        }
    }
}

fn span(from: i64, to: i64) -> Span {
    Span { from: UnixNanos::from_nanos(from), to: UnixNanos::from_nanos(to) }
}

#[cfg(test)]
mod tests;
