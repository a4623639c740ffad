//! Which question goes to which source next.
//!
//! Owns the questions that wait, what sources have said of each, and the rest of sources that are
//! away. Promises that holes go before whole windows and near deadlines before far ones; that a
//! hole is answered at once where every source rests, because its ticks wait; and that a whole
//! window is tried again until its deadline. Reads no clock: the time is handed in. Never fetches.

use std::collections::BTreeMap;
use std::time::Duration;

use super::HistorianSettings;
use crate::net::backoff::Backoff;
use crate::ports::history::{Ask, Failed, Rows};

/// The shortest rest of a source that is away.
const REST_MIN: Duration = Duration::from_secs(1);

/// How many questions in a row run out of their time before a source counts as away. One alone may
/// have had little time.
const LATE_MAX: u32 = 3;

/// The questions that wait, and the sources.
#[derive(Debug)]
pub(super) struct Order {
    requests_at_once: usize,
    sources: Vec<Source>,
    waiting: BTreeMap<Rank, Inquiry>,
    /// How many questions sources have.
    out: usize,
    taken: u64,
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask this source.
    Fetch(usize, Inquiry),
    /// Answer a question.
    Answer(Ask, Result<Rows, Failed>),
    /// Nothing, until something comes or this instant has come.
    Wait(Option<Duration>),
}

/// A question with its answer.
type Answered = (Ask, Result<Rows, Failed>);

/// A question, and what sources have said of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Inquiry {
    pub(super) ask: Ask,
    rank: Rank,
    /// When it went out last.
    begun: Duration,
    /// Why the last source that was away did not answer.
    away: Option<String>,
    /// What sources have said that will not change.
    said: Vec<(usize, Result<Rows, String>)>,
}

/// The place of a question in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    is_window: bool,
    until: Duration,
    taken: u64,
}

#[derive(Debug)]
struct Source {
    backoff: Backoff,
    /// When its newest rest began and ends; `None` where it has answered since.
    rest: Option<(Duration, Duration)>,
    /// Questions that ran out of their time since it has answered.
    late: u32,
}

impl Source {
    fn rests(&self, now: Duration) -> bool {
        self.rest.is_some_and(|(_, end)| now < end)
    }
}

impl Inquiry {
    fn has_heard(&self, source: usize) -> bool {
        self.said.iter().any(|(from, _)| *from == source)
    }

    /// The answer, once every source has said something.
    fn answer(self) -> Answered {
        let mut answer = Err("no source of history is configured".to_owned());
        for (_, said) in self.said {
            answer = answer.or(said);
        }
        (self.ask, answer.map_err(Failed::Refused))
    }
}

impl Inquiry {
    /// No answer, because of this or of what was heard before.
    fn in_vain(self, failed: Failed) -> Next {
        let failed = self.away.map_or(failed, Failed::Away);
        Next::Answer(self.ask, Err(failed))
    }
}

impl Order {
    /// No question waits, and no source rests.
    pub(super) fn new(sources: usize, settings: &HistorianSettings) -> Self {
        let HistorianSettings { requests_at_once, rest_max, seed } = *settings;
        let source = |index: usize| {
            let backoff = Backoff::new(rest_max, seed.wrapping_add(index as u64));
            Source { backoff, rest: None, late: 0 }
        };
        Self {
            requests_at_once: requests_at_once.max(1),
            sources: (0..sources).map(source).collect(),
            waiting: BTreeMap::new(),
            out: 0,
            taken: 0,
        }
    }

    /// How many questions wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Takes a question.
    pub(super) fn take(&mut self, ask: Ask) {
        let rank = Rank { is_window: !ask.is_hole, until: ask.until, taken: self.taken };
        self.taken += 1;
        let (begun, away, said) = (Duration::ZERO, None, Vec::new());
        self.waiting.insert(rank, Inquiry { ask, rank, begun, away, said });
    }

    /// What is to be done.
    pub(super) fn next(&mut self, now: Duration) -> Next {
        if let Some(inquiry) = self.first_late(now) {
            return inquiry.in_vain(Failed::Late);
        }
        let is_resting: Vec<_> = self.sources.iter().map(|source| source.rests(now)).collect();
        let all_rest = is_resting.iter().all(|rests| *rests);
        let has_room = self.out < self.requests_at_once;
        let mut found = None;
        for (rank, inquiry) in &self.waiting {
            let unheard = |source: &usize| !inquiry.has_heard(*source);
            let mut unheard = (0..self.sources.len()).filter(unheard).peekable();
            let is_over = unheard.peek().is_none();
            let free = unheard.find(|source| !is_resting[*source]);
            let is_in_vain = is_over || (free.is_none() && !rank.is_window);
            if is_in_vain || (free.is_some() && has_room) {
                found = Some((*rank, is_over, free));
                break;
            }
            if rank.is_window && (all_rest || !has_room) {
                // No other one can go out either.
                break;
            }
        }
        let Some((rank, is_over, free)) = found else { return Next::Wait(self.wait(now)) };
        let Some(mut inquiry) = self.waiting.remove(&rank) else { return Next::Wait(None) };
        match free {
            _ if is_over => {
                let (ask, answer) = inquiry.answer();
                Next::Answer(ask, answer)
            }
            Some(source) => {
                self.out += 1;
                inquiry.begun = now;
                Next::Fetch(source, inquiry)
            }
            None => {
                let reason = "the source of history was away a moment ago";
                inquiry.in_vain(Failed::Away(reason.to_owned()))
            }
        }
    }

    /// Takes what a source has said, or that it has said nothing until the deadline; returns the
    /// answer where there is one.
    pub(super) fn heard(
        &mut self,
        source: usize,
        mut inquiry: Inquiry,
        said: Option<Result<Rows, Failed>>,
        now: Duration,
    ) -> Option<Answered> {
        self.out -= 1;
        let Some(said) = said else { return self.ran_out(source, inquiry, now) };
        let said = match said {
            Err(Failed::Away(reason)) => {
                self.rest(source, inquiry.begun, now);
                inquiry.away = Some(reason);
                // What is late or in vain by now is found when it is looked at.
                self.waiting.insert(inquiry.rank, inquiry);
                return None;
            }
            Ok(rows) if rows.is_complete => {
                self.is_there(source);
                return Some((inquiry.ask, Ok(rows)));
            }
            Ok(rows) => Ok(rows),
            Err(Failed::Refused(reason)) => Err(reason),
            // A source that gives up by itself has run out of its time.
            Err(Failed::Late) => return self.ran_out(source, inquiry, now),
        };
        self.is_there(source);
        inquiry.said.push((source, said));
        if inquiry.said.len() < self.sources.len() {
            self.waiting.insert(inquiry.rank, inquiry);
            return None;
        }
        Some(inquiry.answer())
    }

    /// A source has said nothing in the time that a question had.
    fn ran_out(&mut self, source: usize, inquiry: Inquiry, now: Duration) -> Option<Answered> {
        let late = &mut self.sources[source].late;
        *late += 1;
        if *late >= LATE_MAX {
            self.rest(source, inquiry.begun, now);
        }
        self.waiting.insert(inquiry.rank, inquiry);
        None
    }

    /// A source was away for a question that went out at `begun`.
    fn rest(&mut self, source: usize, begun: Duration, now: Duration) {
        let Source { backoff, rest, .. } = &mut self.sources[source];
        // Questions that went out together are one attempt.
        if rest.is_none_or(|(since, _)| begun >= since) {
            let wait = backoff.next_wait().max(REST_MIN);
            *rest = Some((now, now.saturating_add(wait)));
        }
    }

    fn is_there(&mut self, source: usize) {
        let Source { backoff, rest, late } = &mut self.sources[source];
        backoff.reset();
        (*rest, *late) = (None, 0);
    }

    /// The first of the questions that are of no use any more.
    fn first_late(&mut self, now: Duration) -> Option<Inquiry> {
        let late = self.firsts().find(|rank| rank.until <= now)?;
        self.waiting.remove(&late)
    }

    /// When something is due without anything coming.
    fn wait(&self, now: Duration) -> Option<Duration> {
        let rests = self.sources.iter().filter_map(|source| source.rest.map(|(_, end)| end));
        let has_waiting = !self.waiting.is_empty();
        let rests = rests.filter(|end| has_waiting && *end > now);
        rests.chain(self.firsts().map(|rank| rank.until)).min()
    }

    /// The first hole and the first window in the line.
    fn firsts(&self) -> impl Iterator<Item = Rank> {
        let window = Rank { is_window: true, until: Duration::ZERO, taken: 0 };
        let hole = self.waiting.range(..window).next();
        let window = self.waiting.range(window..).next();
        hole.into_iter().chain(window).map(|(rank, _)| *rank)
    }
}

#[cfg(test)]
mod tests;
