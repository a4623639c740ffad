//! `GET /v1/forecasts` and `GET /v1/forecasts/SYMBOL`: the newest forecasts.
//!
//! Owns the shape of the list and why a symbol has no forecast. Promises every forecast byte for
//! byte as it was published. Never asks a shard.

use bytes::Bytes;

use super::paging::{Filled, Page};
use super::problem::{Kind, Problem};
use super::query::Listing;
use crate::adapters::stream::StreamHub;
use crate::core::domain::Symbol;
use crate::core::health::Health;
use crate::net::percent::percent_decoded;
use crate::shard::SymbolBoard;

/// A page of newest forecasts, as JSON: those in a rank, or of the first model that has one of a
/// symbol.
pub(super) fn list(hub: &StreamHub, rank: Option<u16>, listing: &Listing) -> Vec<u8> {
    let mut page = Page::new(listing);
    hub.each_newest(rank, |symbol, record| page.offer(symbol, record));
    let Filled { count, left_off, next, entries } = page.fill();
    let next = serde_json::to_string(&next).expect("a text always encodes");
    let mut body =
        format!("{{\"count\":{count},\"left_off\":{left_off},\"next\":{next},\"forecasts\":[")
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

/// The newest forecast of a symbol, by its percent-encoded name.
pub(super) fn newest(
    hub: &StreamHub,
    rank: Option<u16>,
    board: Option<&SymbolBoard>,
    encoded: &str,
) -> Result<Bytes, Problem> {
    let name = percent_decoded(encoded)
        .ok_or_else(|| Problem::new(Kind::BadRequest, "symbol: not percent-encoded UTF-8"))?;
    let symbol = Symbol::new(&name)
        .map_err(|error| Problem::new(Kind::BadRequest, format!("symbol: {error}")))?;
    hub.newest(&symbol, rank).ok_or_else(|| why_none(board, &symbol))
}

/// Why a symbol has no forecast.
fn why_none(board: Option<&SymbolBoard>, symbol: &Symbol) -> Problem {
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
        _ if window < steps => {
            Problem::new(Kind::Warming, "a forecast comes when the window of this symbol is full")
        }
        _ => Problem::new(
            Kind::NoForecast,
            "the window of this symbol is full, and no step has followed since the daemon began, \
             or its forecasts are withheld",
        ),
    };
    problem.with("health", health.label()).with("window", window).with("window_steps", steps)
}
