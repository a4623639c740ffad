//! What a finished fold depends on, as a hash.
//!
//! Owns what goes into it: the configuration as far as it has a say, the steps that the fold reads,
//! and the release and runtime that compute it. Promises that steps behind those change nothing, so
//! that a fold stays finished while the history grows. Never reads a file.

use sha2::{Digest, Sha256};

use super::record::FOLD_SCHEMA;
use crate::core::domain::{Schema, UnixNanos};
use crate::engine::inference::Runtime;
use crate::train::config::schedule::Fold;
use crate::train::config::{ScalerPer, TrainConfig};
use crate::train::fit::recipe::Recipe;
use crate::train::history::History;

/// Lower-case hexadecimal SHA-256 of the steps of each symbol before the instant that `end` gives
/// for it.
pub(super) fn of_steps(
    history: &History,
    schema: &Schema,
    end: impl Fn(&str) -> UnixNanos,
) -> String {
    let mut hash = Sha256::new();
    for series in &history.series {
        let end = end(&series.symbol);
        let steps = series.steps.slice(..series.steps.before(end));
        if steps.is_empty() {
            continue;
        }
        for count in [series.symbol.len(), steps.len()] {
            hash.update((count as u64).to_le_bytes());
        }
        hash.update(&series.symbol);
        for step in &steps {
            hash.update(step.time.as_nanos().to_le_bytes());
            hash.update([u8::from(step.after_gap), u8::from(step.patched)]);
            for field in schema.fields() {
                let value = step.fields.get(field);
                hash.update([u8::from(value.is_some())]);
                hash.update(value.unwrap_or_default().to_bits().to_le_bytes());
            }
        }
    }
    hex(hash)
}

/// That of a fold with a seed, which reads steps with the hash `steps`. The text of `Debug` is
/// enough: it names every field, and a release of this program takes the folds of no other.
pub(super) fn of_fold(
    config: &TrainConfig,
    fold: &Fold,
    seed: u64,
    steps: &str,
    runtime: &dyn Runtime,
) -> String {
    let TrainConfig { name, data, step, calendar, window_steps, features, .. } = config;
    let TrainConfig { extra_fields, scaler, target, horizon_steps, period_steps, .. } = config;
    let TrainConfig { split, architecture, state, recipe, coverage, signal, .. } = config;
    let recipe = Recipe { seed, ..recipe.clone() };
    let read = (&data.file, &data.symbols, data.time_unit, data.accepts_times, step, calendar);
    let labelled = (window_steps, features, extra_fields, scaler, target, horizon_steps);
    let labelled = (labelled, config.window_stride);
    let judged = (period_steps, split.validation, coverage, signal, config.backtest.control);
    let computed = (env!("CARGO_PKG_VERSION"), FOLD_SCHEMA, runtime.name(), runtime.build());
    // Folds that were finished before there were symbols keep their digest.
    let TrainConfig { statics, embedding, scaler_per, .. } = config;
    let symbols = match (statics, embedding, scaler_per) {
        (None, 0, ScalerPer::Model) => String::new(),
        symbols => format!(" {symbols:?}"),
    };
    let text = format!(
        "{computed:?} {name:?} {read:?} {labelled:?} {architecture:?} {state:?} {recipe:?} \
         {judged:?} {fold:?} {steps}{symbols}"
    );
    let mut hash = Sha256::new();
    hash.update(text);
    if config.outputs.are_listed() {
        hash.update(format!("{:?}", config.outputs));
    }
    hex(hash)
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::history::Series;
    use super::*;
    use crate::core::domain::{Field, Fields, Step};

    fn history(closes: &[f64]) -> History {
        let step = |(at, close): (usize, &f64)| {
            let mut fields = Fields::EMPTY;
            fields.set_checked(Field::CLOSE, *close).unwrap();
            let time = UnixNanos::from_nanos(at as i64);
            Step { time, fields, after_gap: false, patched: false }
        };
        let steps = closes.iter().enumerate().map(step).collect();
        History {
            series: vec![Series { symbol: "A".to_owned(), steps }],
            data_sha256: String::new(),
        }
    }

    #[test]
    fn the_steps_before_the_end_count_and_no_other() {
        let schema = Schema::new([]).unwrap();
        let of = |closes: &[f64], end: i64| {
            of_steps(&history(closes), &schema, |_| UnixNanos::from_nanos(end))
        };
        let base = of(&[1.0, 2.0, 3.0], 3);
        assert_eq!(of(&[1.0, 2.0, 3.0, 4.0], 3), base, "a later step");
        assert_ne!(of(&[1.0, 2.0, 3.0, 4.0], 4), base, "a longer span");
        assert_ne!(of(&[1.0, 2.5, 3.0], 3), base, "another value");
        let mut renamed = history(&[1.0, 2.0, 3.0]);
        renamed.series[0].symbol = "B".to_owned();
        assert_ne!(of_steps(&renamed, &schema, |_| UnixNanos::from_nanos(3)), base, "a name");
    }
}
