//! Signals: when a value is one, and what signals were worth.
//!
//! Owns the rule by which a value raises, keeps and releases a signal ([`SignalPlan`]), what is
//! kept of one symbol ([`SymbolSignals`]), and the counts by which signals are judged
//! ([`SignalCounts`]). Promises that a signal follows from the symbol's forecasts and steps alone,
//! that the rule without hysteresis and cool-down is the bundle's thresholds and nothing else, and
//! that a step costs the same however many there were. Never changes a value.
//!
//! | module | owns |
//! |---|---|
//! | `rule` | thresholds, hysteresis and cool-down |
//! | `detection` | how often something was raised, and how often it happened |
//! | `counts` | the counts of one group of scores, and the figures that follow from them |
//! | `symbol` | one symbol: its signal, the signals that wait for their truth, its counts |

mod counts;
mod detection;
mod rule;
mod symbol;

pub use self::counts::{COUNTS_LENGTH, Share, SideCounts, SignalCounts};
pub use self::detection::Detection;
pub use self::rule::{SignalPlan, SignalRule, SignalState};
pub use self::symbol::SymbolSignals;
