//! `GET /v1/symbols`: every symbol with its health, as JSON.
//!
//! Owns the shape of the answer. Promises that it is there while the data path is stuck, since it
//! is made of pages that the shards have left, and says how old they are. Never asks a shard.

use serde::Serialize;

use super::paging::{Filled, Page};
use super::query::Listing;
use crate::core::health::Subscription;
use crate::core::history::HistoryFrom;
use crate::shard::{Standing, SymbolBoard, SymbolRow};

/// The answer.
#[derive(Serialize)]
struct Answer {
    /// How old the oldest of the facts are.
    age_ms: u64,
    /// How many symbols there are, that match.
    count: usize,
    /// How many of them are behind this page.
    left_off: usize,
    /// What to ask for as `after` to get them.
    next: Option<String>,
    /// How many of those that match got their history.
    history: Counts,
    symbols: Vec<Entry>,
}

/// Symbols by the state of their history.
#[derive(Clone, Copy, Default, Serialize)]
struct Counts {
    none: usize,
    asked: usize,
    warm: usize,
    cold: usize,
}

/// What is known of the history of one symbol.
#[derive(Serialize)]
struct History {
    state: &'static str,
    /// What it came from.
    from: Option<&'static str>,
    /// How many rows have come.
    rows: u64,
}

#[derive(Serialize)]
struct Entry {
    symbol: String,
    health: &'static str,
    /// Why it has no ticks, where that is known.
    reason: Option<&'static str>,
    newest_tick: Option<String>,
    steps: u64,
    window: usize,
    window_steps: usize,
    quality: crate::core::domain::Quality,
    last_gap: Option<String>,
    history: History,
    /// How many of its steps history has filled, since the process began.
    filled: u64,
}

impl Counts {
    fn note(&mut self, standing: Option<Standing>) {
        let count = match standing {
            None => &mut self.none,
            Some(Standing::Asked) => &mut self.asked,
            Some(Standing::Warm) => &mut self.warm,
            Some(Standing::Cold) => &mut self.cold,
        };
        *count += 1;
    }
}

/// A page of symbols, as JSON.
pub(super) fn list(board: &SymbolBoard, listing: &Listing) -> Vec<u8> {
    let mut page = Page::new(listing);
    let mut history = Counts::default();
    let age = board.read(|row| {
        if listing.filter.wants(&row.symbol) {
            history.note(row.history.standing);
        }
        page.offer(&row.symbol, || entry(row, board.window_steps_of(row)));
    });
    let Filled { count, left_off, next, entries } = page.fill();
    let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    let answer = Answer { age_ms, count, left_off, next, history, symbols: entries };
    let mut body =
        serde_json::to_vec(&answer).expect("a struct of numbers and texts always encodes");
    body.push(b'\n');
    body
}

fn entry(row: &SymbolRow, window_steps: usize) -> Entry {
    Entry {
        symbol: row.symbol.as_str().to_owned(),
        health: row.health.label(),
        reason: row.subscription.map(Subscription::reason),
        newest_tick: row.newest_tick.map(|time| time.to_string()),
        steps: row.steps,
        window: row.window,
        window_steps,
        quality: row.quality,
        last_gap: row.last_gap.map(|time| time.to_string()),
        history: History {
            state: row.history.standing.map_or("none", Standing::label),
            from: row.history.from.map(HistoryFrom::label),
            rows: row.history.rows,
        },
        filled: row.filled,
    }
}
