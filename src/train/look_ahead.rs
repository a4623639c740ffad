//! The check that no feature sees the future, made on the data before every fit.
//!
//! Owns the comparison. Promises that rows which pass are, bit for bit, those of a history that
//! ended at each of the cut points, so that what the network is fitted to is what it would have
//! been given at the time. Never knows how rows are made: it takes the function that makes them.

use std::borrow::Cow;
use std::ops::Range;

use thiserror::Error;

use crate::core::domain::UnixNanos;
use crate::seal::history::Steps;

/// At how many places a history is cut: enough to fall into different states of every feature, few
/// enough to cost three passes over the features.
const CUTS: usize = 6;

/// So many values are compared at once.
const BLOCK_VALUES: usize = 32 << 10;

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

/// Compares the rows of `steps` with the rows of the same steps cut off at several places.
///
/// `whole` gives some of the `count` rows of all steps, `[n, F]`, and `rows` hands each row of the
/// steps that it is given to its last argument: one for each step but the first few. `features`
/// names the F columns.
///
/// # Errors
/// [`LookAheadError`] at the first difference, or what `rows` fails with.
pub(super) fn check<'w, E: From<LookAheadError>>(
    symbol: &str,
    steps: &Steps,
    features: &[String],
    count: usize,
    whole: impl Fn(Range<usize>) -> Cow<'w, [f32]>,
    rows: impl Fn(&Steps, &mut dyn FnMut(&[f32])) -> Result<(), E>,
) -> Result<(), E> {
    let width = features.len();
    let warm_up = steps.len() - count;
    for place in 1..=CUTS {
        let end = steps.len() * place / (CUTS + 1);
        let past = steps.slice(..end);
        let Some(newest) = past.last() else { continue };
        let (mut found, mut block) = (0, Vec::new());
        let mut difference = None;
        // Compares the rows of a block, which end with row `found`.
        let mut compare = |block: &mut Vec<f32>, found: usize| {
            let first = found - block.len() / width;
            if difference.is_none() && found <= count {
                let whole = whole(first..found);
                let differs = |at: &usize| block[*at].to_bits() != whole[*at].to_bits();
                difference = (0..block.len()).find(differs).map(|at| first * width + at);
            }
            block.clear();
        };
        rows(&past, &mut |row| {
            block.extend_from_slice(row);
            found += 1;
            if block.len() >= BLOCK_VALUES {
                compare(&mut block, found);
            }
        })?;
        compare(&mut block, found);
        let (expected, symbol) = (end.saturating_sub(warm_up), symbol.to_owned());
        if found != expected {
            return Err(LookAheadError::Rows { symbol, cut: newest.time, found, expected }.into());
        }
        if let Some(at) = difference {
            let feature = features[at % width].clone();
            let time = steps.step(warm_up + at / width).time;
            let cut = newest.time;
            return Err(LookAheadError::Feature { feature, symbol, time, cut }.into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::domain::{Field, Fields, Step};

    fn steps(count: i64) -> Steps {
        let step = |at: i64| {
            let mut fields = Fields::EMPTY;
            fields.set_checked(Field::CLOSE, 10.0 + (at as f64).sin()).unwrap();
            Step { time: UnixNanos::from_nanos(at), fields, after_gap: false, patched: false }
        };
        (0..count).map(step).collect()
    }

    fn closes(steps: &Steps) -> Vec<f32> {
        steps.iter().filter_map(|step| step.fields.price()).map(|price| price as f32).collect()
    }

    fn judge(count: i64, second: impl Fn(&[f32], usize) -> f32) -> Result<(), LookAheadError> {
        let rows = |steps: &Steps| -> Vec<f32> {
            let closes = closes(steps);
            // A warm-up of one step.
            (1..closes.len()).flat_map(|at| [closes[at], second(&closes, at)]).collect()
        };
        compared(&steps(count), &["honest", "other"], rows)
    }

    /// Compares rows that a function makes of steps.
    fn compared(
        steps: &Steps,
        names: &[&str],
        rows: impl Fn(&Steps) -> Vec<f32>,
    ) -> Result<(), LookAheadError> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let (all, width) = (rows(steps), names.len());
        let whole = |range: Range<usize>| Cow::from(&all[range.start * width..range.end * width]);
        let each = |steps: &Steps, see: &mut dyn FnMut(&[f32])| {
            rows(steps).chunks_exact(width).for_each(see);
            Ok(())
        };
        check("A", steps, &names, all.len() / width, whole, each)
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
        let late = |steps: &Steps| if steps.len() < 50 { vec![] } else { closes(steps) };
        let error = compared(&steps, &["late"], late).unwrap_err();
        let (symbol, cut) = ("A".to_owned(), UnixNanos::from_nanos(13));
        assert_eq!(error, LookAheadError::Rows { symbol, cut, found: 0, expected: 14 });
    }
}
