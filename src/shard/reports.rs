//! What a shard says in the log of what came.
//!
//! Owns the words. Promises that a flood of bad input, or of anything else, does not become a flood
//! of log lines: the 1st, 10th, 100th and so on of each kind is logged. Never decides what becomes
//! of a record.

use tracing::{info, warn};

use super::metrics::{ModelMetrics, Shown};
use crate::core::domain::{DurationNanos, NamedRejection, Reject};
use crate::core::text::excerpt_of_bytes;
use crate::engine::pipeline::{Pipeline, Pipelines, StreamTally};
use crate::engine::symbols::{ColdStart, Engine, Expired, Mistimed, MistimedCause};
use crate::ops::logging::is_power_of_ten;

/// The longest piece of a refused record in a log line.
const SAMPLE_CHARS_MAX: usize = 64;

/// Logs what is worth a line of what went into a model since the last batch.
pub(super) fn report_model(model: &str, pipeline: &Pipeline, shown: &Shown) {
    let engine = pipeline.engine();
    report_cold_starts(model, engine, shown);
    report_expired(model, engine, shown);
    report_mistimed(model, engine, shown);
}

/// Counts windows that began cold after a restart because they were too old, and logs it.
pub(super) fn show_stale(model: &str, metrics: &ModelMetrics, shown: &mut Shown, engine: &Engine) {
    let count = engine.stale_count();
    if metrics.show_stale(shown, count) {
        warn!(model, count, "windows from a snapshot were too old, so they begin cold");
    }
}

/// Shows how many symbols the model's table does not have, and logs it.
pub(super) fn show_unknown(
    model: &str,
    metrics: &ModelMetrics,
    shown: &mut Shown,
    engine: &Engine,
) {
    let count = engine.unknown_count();
    if metrics.show_unknown(shown, count) {
        warn!(
            model,
            count, "the model was not trained on some symbols; its table gives them the mean"
        );
    }
}

/// The newest of the windows that began cold since the last batch.
fn report_cold_starts(model: &str, engine: &Engine, shown: &Shown) {
    let (logged, count) = (shown.resets(), engine.tally().resets);
    if (logged + 1..=count).any(is_power_of_ten)
        && let Some(ColdStart { symbol, before, after }) = engine.newest_cold_start()
    {
        warn!(
            model, %symbol, %before, %after, count,
            "a step is far away; its window begins cold"
        );
    }
}

/// The newest of the symbols that left since the last batch.
fn report_expired(model: &str, engine: &Engine, shown: &Shown) {
    let (logged, count) = (shown.expired(), engine.tally().expired);
    if passes_power_of_ten(logged, count)
        && let Some(Expired { symbol, newest_tick }) = engine.newest_expired()
    {
        let newest_tick = newest_tick.map(|time| time.to_string()).unwrap_or_default();
        info!(
            model, %symbol, newest_tick, count,
            "a symbol was silent for longer than engine.symbol_ttl and made room"
        );
    }
}

/// The newest tick or step whose time cannot be right.
fn report_mistimed(model: &str, engine: &Engine, shown: &Shown) {
    let (logged, count) = (shown.mistimed(), engine.tally().mistimed());
    if !(logged + 1..=count).any(is_power_of_ten) {
        return;
    }
    let Some(Mistimed { symbol, time, cause }) = engine.newest_mistimed() else { return };
    match cause {
        MistimedCause::Doubt(doubt) => {
            let (reason, advice) = (doubt.label(), doubt.advice());
            warn!(
                model, %symbol, %time, reason, advice, count,
                "an event time cannot be right; forecasts of the symbol are mistimed"
            );
        }
        MistimedCause::Cadence { spacing, interval, .. } => {
            let seconds = |span: &DurationNanos| span.as_nanos() as f64 / 1e9;
            let (spacing_seconds, interval_seconds) = (seconds(spacing), seconds(interval));
            warn!(
                model, %symbol, %time, spacing_seconds, interval_seconds, count,
                "steps have another spacing than the model's; forecasts of the symbol are mistimed"
            );
        }
    }
}

/// A record that no live model took.
pub(super) fn report_refused(tally: &StreamTally, rejection: NamedRejection<'_>, record: &[u8]) {
    let NamedRejection { reason, field } = rejection;
    let count = tally.rejects.get(reason);
    if is_power_of_ten(count) {
        let sample = excerpt_of_bytes(record, SAMPLE_CHARS_MAX);
        if reason == Reject::TooManySymbols {
            warn!(
                reason = reason.label(), count, %sample,
                "refused a record: there are engine.symbols_max symbols; raise it, or set \
                 engine.symbol_ttl so that silent symbols make room"
            );
        } else {
            warn!(reason = reason.label(), field, count, %sample, "refused a record");
        }
    }
}

/// Records that one of several models refused, and that the stream may have used.
pub(super) fn report_refusals(pipelines: &Pipelines, shown: &[Shown]) {
    for ((model, pipeline), shown) in pipelines.each().zip(shown) {
        let rejects = &pipeline.engine().tally().rejects;
        for reason in Reject::ALL {
            let (before, count) = (shown.tally().rejects.get(reason), rejects.get(reason));
            // What no model can take is logged with the record.
            if passes_power_of_ten(before, count) && count > pipelines.tally().refused(reason) {
                let reason = reason.label();
                warn!(
                    %model,
                    reason,
                    count,
                    "one model refuses records; another model may have used them"
                );
            }
        }
    }
}

/// Whether a count that was `before` has come to a power of ten or gone past one.
fn passes_power_of_ten(before: u64, count: u64) -> bool {
    count > before && before.checked_ilog10() != count.checked_ilog10()
}
