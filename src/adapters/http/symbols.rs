//! `GET /v1/symbols`: every symbol with its health, as JSON.
//!
//! Owns the shape of the answer. Promises that it is there while the data path is stuck, since it
//! is made of pages that the shards have left, and says how old they are. Never asks a shard.

use serde::Serialize;

use super::paging::{Filled, Page};
use super::query::Listing;
use crate::core::health::Subscription;
use crate::shard::{SymbolBoard, SymbolRow};

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
    symbols: Vec<Entry>,
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
}

/// A page of symbols, as JSON.
pub(super) fn list(board: &SymbolBoard, listing: &Listing) -> Vec<u8> {
    let mut page = Page::new(listing);
    let age = board.read(|row| page.offer(&row.symbol, || entry(row, board.window_steps_of(row))));
    let Filled { count, left_off, next, entries } = page.fill();
    let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    let answer = Answer { age_ms, count, left_off, next, symbols: entries };
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
    }
}
