//! The sections `[forecast]` and `[metrics]`: what comes of scores.
//!
//! Owns their keys and their rules.

use crate::core::domain::Symbol;
use crate::core::forecast::Intervals;
use crate::core::signal::SignalRule;
use crate::engine::symbols::WhenShifted;
use crate::ports::section::Section;

/// The most symbols with series of their own. Each has five, and Prometheus keeps every one for as
/// long as it keeps anything.
const SYMBOLS_MAX: usize = 200;

/// The longest cool-down of a signal, in steps.
const COOLDOWN_STEPS_MAX: usize = 1_000_000;

/// How forecasts are made of what a model says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ForecastConfig {
    /// Where intervals come from.
    pub intervals: Intervals,
    /// What becomes of forecasts of symbols whose inputs are shifted.
    pub when_shifted: WhenShifted,
    /// What is added to the bundle's thresholds of signals.
    pub signals: SignalRule,
}

/// What the metrics tell apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricsConfig {
    /// Symbols with series of their own; all others share one, `other`. In order.
    pub symbols: Vec<Symbol>,
}

pub(super) fn forecast(mut section: Section<'_>) -> ForecastConfig {
    let intervals = [("adaptive", Intervals::Adaptive), ("bundle", Intervals::Bundle)];
    let when_shifted = [("mark", WhenShifted::Mark), ("withhold", WhenShifted::Withhold)];
    let config = ForecastConfig {
        intervals: section.choice("intervals", &intervals),
        when_shifted: section.choice("when_shifted", &when_shifted),
        signals: signals(section.section("signals")),
    };
    section.finish();
    config
}

fn signals(mut section: Section<'_>) -> SignalRule {
    let fits = |share| (0.0..=1.0).contains(&share);
    let release = section.number("release", "from 0 to 1", fits);
    let cooldown_steps = section.count("cooldown_steps", 0, COOLDOWN_STEPS_MAX);
    section.finish();
    // No more than the limit, which fits.
    let cooldown_steps = u32::try_from(cooldown_steps).unwrap_or(u32::MAX);
    SignalRule { release, cooldown_steps }
}

pub(super) fn metrics(mut section: Section<'_>) -> MetricsConfig {
    let mut symbols = Vec::new();
    section.shows(&["symbols"]);
    for name in section.texts("symbols") {
        match Symbol::new(&name) {
            Ok(_) if name == "other" => {
                section.problem("symbols", "`other` stands for all symbols that are not listed");
            }
            Ok(symbol) => symbols.push(symbol),
            Err(error) => section.problem("symbols", error),
        }
    }
    symbols.sort_unstable();
    symbols.dedup();
    if symbols.len() > SYMBOLS_MAX {
        let count = symbols.len();
        let problem = format_args!("lists {count} symbols; at most {SYMBOLS_MAX} have series");
        section.problem("symbols", problem);
    }
    section.finish();
    MetricsConfig { symbols }
}
