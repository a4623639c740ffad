//! The check that no feature sees the future, made on the data before every fit.
//!
//! Owns the comparison. Promises that rows which pass are, bit for bit, those of a history that
//! ended at each of the cut points, so that what the network is fitted to is what it would have
//! been given at the time. Never knows how rows are made: it takes the function that makes them.

use thiserror::Error;

use crate::core::domain::{Step, UnixNanos};

/// At how many places a history is cut: enough to fall into different states of every feature, few
/// enough to cost three passes over the features.
const CUTS: usize = 6;

/// Why rows cannot be trusted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LookAheadError {
    /// A feature's past value depends on later steps.
    #[error(
        "feature `{feature}` of `{symbol}` at {time} sees the future: without the steps after \
         {cut} it has another value"
    )]
    Feature {
        /// The feature.
        feature: String,
        /// The symbol.
        symbol: String,
        /// The step whose value differs.
        time: UnixNanos,
        /// The newest step that the shorter history has.
        cut: UnixNanos,
    },
    /// Whether there is a row depends on later steps.
    #[error(
        "`{symbol}`: without the steps after {cut} there are {found} rows up to it instead of \
         {expected}"
    )]
    Rows {
        /// The symbol.
        symbol: String,
        /// The newest step that the shorter history has.
        cut: UnixNanos,
        /// Rows of the shorter history.
        found: usize,
        /// Rows of the whole history up to the same step.
        expected: usize,
    },
}

/// Compares `whole`, the rows `[n, F]` of `steps`, with the rows of the same steps cut off at
/// several places.
///
/// `rows` gives the rows of the steps it is handed, one for each step but the first few; `features`
/// names the F columns.
///
/// # Errors
/// [`LookAheadError`] at the first difference, or what `rows` fails with.
pub(super) fn check<E: From<LookAheadError>>(
    symbol: &str,
    steps: &[Step],
    features: &[String],
    whole: &[f32],
    rows: impl Fn(&[Step]) -> Result<Vec<f32>, E>,
) -> Result<(), E> {
    let width = features.len();
    let warm_up = steps.len() - whole.len() / width;
    for place in 1..=CUTS {
        let end = steps.len() * place / (CUTS + 1);
        let Some(newest) = steps[..end].last() else { continue };
        let past = rows(&steps[..end])?;
        let (found, expected) = (past.len() / width, end.saturating_sub(warm_up));
        let symbol = symbol.to_owned();
        if found != expected {
            return Err(LookAheadError::Rows { symbol, cut: newest.time, found, expected }.into());
        }
        let differs = |at: &usize| past[*at].to_bits() != whole[*at].to_bits();
        if let Some(at) = (0..past.len()).find(differs) {
            let (feature, time) = (features[at % width].clone(), steps[warm_up + at / width].time);
            let cut = newest.time;
            return Err(LookAheadError::Feature { feature, symbol, time, cut }.into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::domain::{Field, Fields};

    fn steps(count: i64) -> Vec<Step> {
        let step = |at: i64| {
            let mut fields = Fields::EMPTY;
            fields.set_checked(Field::CLOSE, 10.0 + (at as f64).sin()).unwrap();
            Step { time: UnixNanos::from_nanos(at), fields, after_gap: false, patched: false }
        };
        (0..count).map(step).collect()
    }

    fn closes(steps: &[Step]) -> Vec<f32> {
        steps.iter().filter_map(|step| step.fields.price()).map(|price| price as f32).collect()
    }

    fn judge(count: i64, second: impl Fn(&[f32], usize) -> f32) -> Result<(), LookAheadError> {
        let names = ["honest".to_owned(), "other".to_owned()];
        let rows = |steps: &[Step]| -> Result<Vec<f32>, LookAheadError> {
            let closes = closes(steps);
            // A warm-up of one step.
            Ok((1..closes.len()).flat_map(|at| [closes[at], second(&closes, at)]).collect())
        };
        let steps = steps(count);
        check("A", &steps, &names, &rows(&steps)?, rows)
    }

    #[test]
    fn features_of_the_past_pass() {
        assert_eq!(judge(100, |closes, at| closes[at] - closes[at - 1]), Ok(()));
        for count in 0..10 {
            assert_eq!(judge(count, |closes, at| closes[at - 1]), Ok(()), "{count} steps");
        }
    }

    #[test]
    fn features_of_the_future_are_caught_and_named() {
        // The tutorial's mistake: the change to the next close, and zero where there is none yet.
        let next = judge(100, |closes, at| closes.get(at + 1).map_or(0.0, |c| c - closes[at]));
        let time = UnixNanos::from_nanos;
        let caught = |at, cut| {
            let (feature, symbol) = ("other".to_owned(), "A".to_owned());
            Err(LookAheadError::Feature { feature, symbol, time: time(at), cut: time(cut) })
        };
        assert_eq!(next, caught(13, 13));
        // A mean over everything, as a scaler fitted on all the data would be.
        let mean = judge(100, |closes, at| closes[at] / closes.iter().sum::<f32>());
        assert_eq!(mean, caught(1, 13));
        // A centred average, which looks two steps ahead.
        let centred = judge(100, |closes, at| closes[at - 1..].iter().take(4).sum());
        assert_eq!(centred, caught(12, 13));
    }

    #[test]
    fn rows_that_appear_with_the_future_are_caught() {
        let steps = steps(100);
        let late = |steps: &[Step]| -> Result<Vec<f32>, LookAheadError> {
            Ok(if steps.len() < 50 { vec![] } else { closes(steps) })
        };
        let error = check("A", &steps, &["late".to_owned()], &closes(&steps), late).unwrap_err();
        let (symbol, cut) = ("A".to_owned(), UnixNanos::from_nanos(13));
        assert_eq!(error, LookAheadError::Rows { symbol, cut, found: 0, expected: 14 });
    }
}
