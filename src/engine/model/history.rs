//! How much history models need before they forecast.
//!
//! Owns the count of steps, the stretch that they take and the rows that serve. Promises that with
//! so many whole steps the next forecast rests on a whole window. Never asks for a row.

use super::manifest::Plans;
use crate::core::domain::DurationNanos;
use crate::core::history::{HistoryNeed, RowKind};
use crate::core::step::StepRule;

const DAY_SECONDS: i64 = 86_400;

/// What the models of a stream need together. `delivers_trades` says that its live ticks are
/// trades, which come at no interval.
pub fn history_need<'p>(
    models: impl IntoIterator<Item = &'p Plans>,
    delivers_trades: bool,
) -> HistoryNeed {
    let models: Vec<_> = models.into_iter().collect();
    let steps = models.iter().map(|plans| steps_of(plans)).max().unwrap_or(0);
    let span = models.iter().map(|plans| span_of(plans)).max().unwrap_or(DurationNanos::ZERO);
    HistoryNeed { steps, span, rows: rows_of(&models, delivers_trades) }
}

/// One step more than the window and its features need: the first bar of all may lack ticks, and
/// its mark goes with the features into the first row. Bars that wait for ticks that come late are
/// still open when the first live tick comes, which closes the oldest of them.
fn steps_of(plans: &Plans) -> u32 {
    let open = match &plans.step_rule {
        StepRule::Time(bars) => {
            let [lateness, interval] = [bars.lateness, bars.interval].map(DurationNanos::as_nanos);
            // A lateness is never negative.
            lateness.unsigned_abs().div_ceil(interval.unsigned_abs().max(1))
        }
        StepRule::Record | StepRule::Count(_) => 0,
    };
    let steps = plans.window_steps as u64 + plans.features.raw().warm_up_steps() + 1 + open;
    u32::try_from(steps).unwrap_or(u32::MAX)
}

/// The longest stretch of these steps, and one interval for where in its interval the last one is.
fn span_of(plans: &Plans) -> DurationNanos {
    let (steps, interval) = (steps_of(plans), i64::from(plans.step.interval_seconds));
    let of_steps = match &plans.calendar {
        Some(calendar) => i64::from(calendar.days_of(steps)).saturating_mul(DAY_SECONDS),
        None => i64::from(steps).saturating_mul(interval),
    };
    DurationNanos::from_seconds(of_steps.saturating_add(interval)).unwrap_or(DurationNanos::MAX)
}

/// The rows out of which all of them can make their steps.
fn rows_of(models: &[&Plans], delivers_trades: bool) -> Option<RowKind> {
    let is_time = |plans: &&Plans| matches!(plans.step_rule, StepRule::Time(_));
    if delivers_trades && !models.iter().all(is_time) {
        return Some(RowKind::Trades);
    }
    // The longest bars of which every bar, where it begins and how long it is, is made up.
    let seconds = models.iter().fold(0, |common, plans| {
        let step = &plans.step;
        divisor(divisor(common, step.interval_seconds), step.offset_seconds)
    });
    let serves = |plans: &&Plans| match plans.step_rule {
        StepRule::Time(_) => true,
        // A row is a step as it is.
        StepRule::Record => plans.step.interval_seconds == seconds,
        StepRule::Count(_) => false,
    };
    let bars = DurationNanos::from_seconds(i64::from(seconds)).filter(|_| seconds > 0)?;
    models.iter().all(serves).then_some(RowKind::Bars(bars))
}

/// Whether rows of this kind make the steps of a model, beside live ticks that are trades or not.
pub fn makes_steps(rows: RowKind, delivers_trades: bool, plans: &Plans) -> bool {
    let RowKind::Bars(length) = rows else { return delivers_trades };
    let lasts = |seconds: u32| DurationNanos::from_seconds(i64::from(seconds)) == Some(length);
    let is_multiple = |seconds: u32| {
        let nanos = i64::from(seconds).saturating_mul(1_000_000_000);
        nanos.checked_rem(length.as_nanos()) == Some(0)
    };
    match plans.step_rule {
        StepRule::Time(_) => {
            is_multiple(plans.step.interval_seconds) && is_multiple(plans.step.offset_seconds)
        }
        StepRule::Record => !delivers_trades && lasts(plans.step.interval_seconds),
        StepRule::Count(_) => false,
    }
}

/// The greatest common divisor.
fn divisor(one: u32, other: u32) -> u32 {
    if other == 0 { one } else { divisor(other, one % other) }
}

#[cfg(test)]
mod tests;
