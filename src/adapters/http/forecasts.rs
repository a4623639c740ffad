//! `GET /v1/forecasts` and `GET /v1/forecasts/SYMBOL`: the newest forecasts; likewise the newest
//! scores.
//!
//! Owns the shape of the lists and why a symbol has no forecast or no score. Promises every record
//! byte for byte as it was published. Never asks a shard.

use bytes::Bytes;

use super::paging::{Filled, Page};
use super::problem::{Kind, Problem};
use super::query::Listing;
use crate::adapters::stream::StreamHub;
use crate::core::domain::{Symbol, SymbolPatterns};
use crate::core::health::Health;
use crate::net::percent::percent_decoded;
use crate::shard::SymbolBoard;

/// A page of the newest records of a stream, as JSON: those in a rank, or of the first model that
/// has one of a symbol.
pub(super) fn list(hub: &StreamHub, rank: Option<u16>, listing: &Listing) -> Vec<u8> {
    let noun = hub.records().noun();
    let mut page = Page::new(listing);
    hub.each_newest(rank, |symbol, record| page.offer(symbol, record));
    let Filled { count, left_off, next, entries } = page.fill();
    let next = serde_json::to_string(&next).expect("a text always encodes");
    let mut body =
        format!("{{\"count\":{count},\"left_off\":{left_off},\"next\":{next},\"{noun}s\":[")
            .into_bytes();
    for (index, record) in entries.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(record);
    }
    body.extend_from_slice(b"]}\n");
    body
}

/// The newest forecast of a symbol, by its percent-encoded name: that of a model, which has a rank
/// and wants certain symbols, or of the first that has one.
pub(super) fn newest(
    hub: &StreamHub,
    rank: Option<u16>,
    of_model: Option<&SymbolPatterns>,
    board: Option<&SymbolBoard>,
    encoded: &str,
) -> Result<Bytes, Problem> {
    let symbol = named(encoded)?;
    hub.newest(&symbol, rank).ok_or_else(|| why_none(of_model, board, &symbol))
}

/// The newest score of a symbol, likewise.
pub(super) fn newest_score(
    scores: &StreamHub,
    rank: Option<u16>,
    encoded: &str,
) -> Result<Bytes, Problem> {
    let symbol = named(encoded)?;
    scores.newest(&symbol, rank).ok_or_else(|| {
        let detail = "no forecast of this symbol has come true since the daemon began; its stored \
                      verdict goes on with the next score";
        Problem::new(Kind::NoScore, detail)
    })
}

/// The symbol with a percent-encoded name.
fn named(encoded: &str) -> Result<Symbol, Problem> {
    let name = percent_decoded(encoded)
        .ok_or_else(|| Problem::new(Kind::BadRequest, "symbol: not percent-encoded UTF-8"))?;
    Symbol::new(&name).map_err(|error| Problem::new(Kind::BadRequest, format!("symbol: {error}")))
}

/// Why a symbol has no forecast. What is known of its window is that of the first model which
/// knows it, and says nothing about the one that was asked for.
fn why_none(
    of_model: Option<&SymbolPatterns>,
    board: Option<&SymbolBoard>,
    symbol: &Symbol,
) -> Problem {
    if of_model.is_some_and(|model| !model.wants(symbol.as_str())) {
        return Problem::new(Kind::UnknownSymbol, "this model does not want the symbol");
    }
    let mut found = None;
    if let Some(board) = board {
        board.read(|row| {
            if row.symbol == *symbol {
                found = Some((row.health, row.window, board.window_steps_of(row)));
            }
        });
    }
    let Some((health, window, steps)) = found else {
        return Problem::new(Kind::UnknownSymbol, "no tick of this symbol has come");
    };
    let problem = match health {
        Health::Awaited => Problem::new(
            Kind::Awaited,
            "this symbol is configured and has had no tick; /v1/symbols has the reason",
        ),
        _ if of_model.is_some() => Problem::new(
            Kind::NoForecast,
            "this model has published no forecast of the symbol since the daemon began; its \
                 window may not be full, or its forecasts are withheld",
        ),
        _ if window < steps => {
            Problem::new(Kind::Warming, "a forecast comes when the window of this symbol is full")
        }
        _ => Problem::new(
            Kind::NoForecast,
            "the window of this symbol is full, and no step has followed since the daemon began, \
             or its forecasts are withheld",
        ),
    };
    let problem = problem.with("health", health.label());
    match of_model {
        Some(_) => problem,
        None => problem.with("window", window).with("window_steps", steps),
    }
}
