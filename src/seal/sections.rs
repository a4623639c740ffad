//! The sections that a training run and a sealing have in common: `[data]`, `[step]`, `[window]`.
//!
//! Owns what their keys are called and may be. Promises that a key means the same in both, and that
//! every problem is noted with its key. Never opens the data.

use std::path::PathBuf;

use super::spill::SpillRule;
use crate::adapters::file::{FileOptions, read_options};
use crate::core::baseline::PERIOD_STEPS_MAX;
use crate::core::domain::{Schema, Symbol, TimeUnit};
use crate::core::forecast::{SignalThresholds, Target, TargetError};
use crate::core::step::StepRule;
use crate::engine::model::manifest::{
    CARRY_STEPS_MAX, CalendarSpec, EmptySteps, StepKind, StepSpec, TICKS_MAX, Weekday,
};
use crate::ports::section::Section;

/// The longest window and horizon, as the manifest has it.
pub const STEPS_MAX: usize = 4096;

/// Where the history is.
#[derive(Clone, Debug, PartialEq)]
pub struct DataConfig {
    /// The file.
    pub path: PathBuf,
    /// How to read it.
    pub file: FileOptions,
    /// The symbols to train on; all where the list is empty.
    pub symbols: Vec<String>,
    /// The unit of event times that are numbers.
    pub time_unit: TimeUnit,
    /// Whether times are taken for right that look like those of a wrong unit.
    pub accepts_times: bool,
    /// The largest change of price from one row of a symbol to the next that is no mistake, a
    /// fraction; 0 allows any.
    pub jump_max: f64,
    /// When steps go to files; `None` where they never do.
    pub spill: Option<SpillRule>,
}

/// What a configuration says of the days on which there are steps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CalendarChoice {
    /// Whether the history shows them.
    pub infers: bool,
    /// Dates without steps, beside those that the history shows.
    pub holidays: Vec<String>,
}

/// `[data]`: where the history is. The caller finishes the section.
pub fn data(section: &mut Section<'_>) -> DataConfig {
    let path = section.path("path");
    let mut file = read_options(section);
    let symbols = section.texts("symbols");
    for (name, symbol) in
        file.symbol.iter().map(|s| ("symbol", s)).chain(symbols.iter().map(|s| ("symbols", s)))
    {
        if let Err(error) = Symbol::check(symbol) {
            section.problem(name, format_args!("`{}`: {error}", symbol.escape_debug()));
        }
    }
    let time_unit = section.choice("time_unit", &TimeUnit::CHOICES);
    file.dialect.times = section.time_format();
    let accepts_times = section.switch("accept_times");
    let jump_max = section.number("jump_max", "0 or above", |jump| jump >= 0.0);
    DataConfig { path, file, symbols, time_unit, accepts_times, jump_max, spill: None }
}

/// The days on which there are steps, as a configuration says it: the days of the week, or none
/// where the history shall show them; and dates without steps.
fn calendar(section: &mut Section<'_>, spec: &mut StepSpec) -> CalendarChoice {
    let infers = section.choice("calendar", &[("auto", true), ("none", false)]);
    let holidays = section.texts("holidays");
    let mut weekdays = Vec::new();
    for name in section.texts("weekdays") {
        match Weekday::ALL.into_iter().find(|weekday| weekday.label() == name) {
            Some(weekday) => weekdays.push(weekday),
            None => section.problem("weekdays", format_args!("`{name}` is no day of the week")),
        }
    }
    let is_day = spec.interval_seconds == 86_400;
    let has_days = !weekdays.is_empty() || !holidays.is_empty();
    if has_days && !is_day {
        section.problem("weekdays", "and holidays are for steps of 86400 seconds only");
    }
    if !weekdays.is_empty() {
        spec.calendar = Some(CalendarSpec { weekdays, holidays: holidays.clone() });
    }
    CalendarChoice { infers: infers && is_day && spec.calendar.is_none(), holidays }
}

/// `[baselines]`: the period of the seasonal one, 0 for none; `None` for that of the steps.
pub fn period_steps(mut section: Section<'_>) -> Option<u32> {
    let count = section.optional_count("period_steps", 0, PERIOD_STEPS_MAX as usize);
    section.finish();
    count.and_then(|count| u32::try_from(count).ok())
}

/// `[step]`: what one step is, the same for the step code, and the days that have steps.
pub fn step(mut section: Section<'_>) -> (StepSpec, StepRule, CalendarChoice) {
    let kinds = [StepKind::Record, StepKind::Time, StepKind::Ticks, StepKind::Volume];
    let kind = section.choice("kind", &kinds.map(|kind| (kind.label(), kind)));
    let mut count = |name, min, max: u32| {
        let number = section.count(name, min, max as usize);
        u32::try_from(number).expect("the count is at most a u32")
    };
    let mut spec = StepSpec {
        kind,
        offset_seconds: count("offset_seconds", 0, u32::MAX),
        lateness_ms: count("lateness_ms", 0, u32::MAX),
        ..StepSpec::record(count("interval_seconds", 1, u32::MAX))
    };
    let empty = [("skip", EmptySteps::Skip), ("carry", EmptySteps::Carry)];
    spec.empty = section.choice("empty", &empty);
    for (name, place, max) in [
        ("carry_steps_max", &mut spec.carry_steps_max, CARRY_STEPS_MAX),
        ("ticks_per_step", &mut spec.ticks_per_step, TICKS_MAX),
    ] {
        if section.contains(name) {
            let number = section.count(name, 1, max as usize);
            *place = u32::try_from(number).expect("the count is at most a u32");
        }
    }
    if section.contains("gap_steps_max") {
        let steps = section.count("gap_steps_max", 0, 1_000_000_000);
        spec.gap_steps_max = u32::try_from(steps).ok();
    }
    if section.contains("volume_per_step") {
        spec.volume_per_step = section.number("volume_per_step", "above 0", |units| units > 0.0);
    }
    let calendar = calendar(&mut section, &mut spec);
    let rule = spec.rule().unwrap_or_else(|problems| {
        for (name, problem) in problems {
            section.problem(name, problem);
        }
        StepRule::Record
    });
    section.finish();
    (spec, rule, calendar)
}

/// Why the stream has no field that the target is about. Extra fields that are no schema are the
/// window's problem.
pub fn unknown_field(target: &Target, extra_fields: &[String]) -> Option<TargetError> {
    let schema = Schema::new(extra_fields.iter().map(String::as_str)).ok()?;
    target.truth(&schema).err()
}

/// When a value is a signal, where the configuration does not say so.
const fn usual_signal(target: &Target) -> Option<SignalThresholds> {
    match target {
        Target::NextReturn | Target::NextLogReturn => {
            Some(SignalThresholds { buy_above: 0.02, sell_below: -0.02 })
        }
        Target::NextDirection => Some(SignalThresholds { buy_above: 0.55, sell_below: 0.45 }),
        // No probability is below 0: an event raises an alert or it does not.
        Target::NextEvent { .. } => Some(SignalThresholds { buy_above: 0.5, sell_below: 0.0 }),
        Target::NextVolatility | Target::NextValue { .. } => None,
    }
}

/// `[forecast]`: the coverage of the interval, and when a value is a signal.
pub fn forecast(mut section: Section<'_>, target: &Target) -> (f64, SignalThresholds) {
    let coverage = section.number("coverage", "between 0 and 1", |c| c > 0.0 && c < 1.0);
    let usual = usual_signal(target);
    let mut threshold = |name, usual: Option<f64>| match usual {
        Some(usual) if !section.contains(name) => usual,
        _ => {
            let rule = format!("in the unit of `{}`", target.label());
            section.number(name, &rule, |_| true)
        }
    };
    let signal = SignalThresholds {
        buy_above: threshold("buy_above", usual.map(|signal| signal.buy_above)),
        sell_below: threshold("sell_below", usual.map(|signal| signal.sell_below)),
    };
    if signal.sell_below > signal.buy_above {
        section.problem("sell_below", "is above buy_above");
    }
    section.finish();
    (coverage, signal)
}
