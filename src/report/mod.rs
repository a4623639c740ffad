//! Reports: pages that open from disk.
//!
//! ```text
//! table, svg ──> page ──> one HTML file
//!     ^           ^
//!     └── replay ─┘   what a replay or a backtest has come to
//! ```
//!
//! Owns everything that draws pages ([`page`], [`svg`], [`table`], [`text`]), and the report of a
//! replay ([`replay`]). Promises that the same figures give the same bytes, that text from data is
//! escaped, and that a page fetches nothing and runs nothing. Never reads a clock or a file.

pub mod page;
pub mod replay;
pub mod svg;
pub mod table;
pub mod text;
#[cfg(test)]
pub(crate) mod well_formed;

pub use self::replay::{
    EvidenceFigures, HoldRule, NoPaper, PaperFigures, PaperOptions, ReplayReport, SellRule,
    Subject, Summary, SymbolFigures, figures, pages,
};
