//! `GET /v1/symbols`: every symbol with its health, as JSON.
//!
//! Owns the shape of the answer. Promises that it is there while the data path is stuck, since it
//! is made of pages that the shards have left, and says how old they are. Never asks a shard.

use serde::Serialize;

use crate::adapters::stream::SymbolFilter;
use crate::core::health::Subscription;
use crate::shard::{SymbolBoard, SymbolRow};

/// The most symbols of one answer, some 2 MB; who has more asks for those of interest.
const SYMBOLS_MAX: usize = 10_000;

/// The answer.
#[derive(Serialize)]
struct Answer {
    /// How old the oldest of the facts are.
    age_ms: u64,
    /// How many symbols there are, that match.
    count: usize,
    /// How many of them are not listed here.
    left_off: usize,
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

/// The answer about the symbols of `filter`.
pub(super) fn list(board: &SymbolBoard, filter: &SymbolFilter) -> String {
    let mut answer = Answer { age_ms: 0, count: 0, left_off: 0, symbols: Vec::new() };
    let age = board.read(|row| {
        if !filter.wants(&row.symbol) {
            return;
        }
        answer.count += 1;
        if answer.symbols.len() < SYMBOLS_MAX {
            answer.symbols.push(entry(row, board.window_steps()));
        }
    });
    answer.age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    answer.left_off = answer.count - answer.symbols.len();
    answer.symbols.sort_by(|one, other| one.symbol.cmp(&other.symbol));
    serde_json::to_string(&answer).expect("a struct of numbers and texts always encodes") + "\n"
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
