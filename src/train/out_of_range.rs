//! How often the inputs of a part lie outside the range of the training part.
//!
//! Owns the count: for each feature and part, the windows with a value that the scaler did not see.
//! Such a forecast is `out_of_range`: the network extrapolates. Promises one pass over the rows,
//! and that all windows of a part count, also those that `window.stride` leaves out. Never changes
//! a value.

use std::ops::Range;

use crate::core::features::Scaler;

/// A share of windows above this is worth a warning.
pub const WARNED_SHARE: f64 = 0.05;

/// The parts of a history, in time.
pub const PARTS: [&str; 3] = ["training", "validation", "test"];

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OutOfRange {
    /// In the order of the model's columns.
    pub features: Vec<FeatureOutOfRange>,
    /// The share of windows in which any feature is, by part; `None` for a part without windows.
    pub any: [Option<f64>; 3],
}

/// One feature.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureOutOfRange {
    /// Its name.
    pub feature: String,
    /// The share of windows by part; `None` for a part without windows.
    pub shares: [Option<f64>; 3],
}

/// The count under way.
#[derive(Debug)]
pub(super) struct Tally {
    names: Vec<String>,
    ranges: Vec<[f64; 2]>,
    window: usize,
    horizon: usize,
    /// The rows of the parts in this series.
    parts: [Range<usize>; 3],
    /// The next row of this series.
    row: usize,
    /// For each feature, one more than the newest row of this series that is out of range.
    newest: Vec<usize>,
    windows: [usize; 3],
    /// Windows that are out of range, by feature and part; the last entry is for any feature.
    outside: Vec<[usize; 3]>,
}

impl OutOfRange {
    /// Names and shares of the features that are out of range in more than `WARNED_SHARE` of the
    /// windows of a part.
    pub fn warned(&self, part: usize) -> Vec<(&str, f64)> {
        let shares =
            self.features.iter().filter_map(|f| Some((f.feature.as_str(), f.shares[part]?)));
        shares.filter(|(_, share)| *share > WARNED_SHARE).collect()
    }
}

impl Tally {
    pub(super) fn new(scaler: &Scaler, window: usize, horizon: usize) -> Self {
        let names: Vec<String> = scaler.names().into_iter().map(str::to_owned).collect();
        let width = names.len();
        Self {
            names,
            ranges: scaler.ranges(),
            window,
            horizon,
            parts: [0..0, 0..0, 0..0],
            row: 0,
            newest: vec![0; width],
            windows: [0; 3],
            outside: vec![[0; 3]; width + 1],
        }
    }

    /// Begins a series with these rows in its parts.
    pub(super) fn begin(&mut self, parts: [Range<usize>; 3]) {
        self.parts = parts;
        self.row = 0;
        self.newest.fill(0);
    }

    /// Takes the next row of the series, unscaled.
    pub(super) fn take(&mut self, raw: &[f64]) {
        let row = self.row;
        self.row += 1;
        for ((value, [min, max]), newest) in raw.iter().zip(&self.ranges).zip(&mut self.newest) {
            if !(min..=max).contains(&value) {
                *newest = row + 1;
            }
        }
        let ends_a_window = |part: &Range<usize>| {
            row + 1 >= part.start + self.window && row + self.horizon < part.end
        };
        let Some(part) = self.parts.iter().position(ends_a_window) else { return };
        self.windows[part] += 1;
        // Rows that are out of range before the window do not count.
        let oldest = row + 1 - self.window;
        let (any, features) = self.outside.split_last_mut().expect("there is one more for any");
        let mut is_any = false;
        for (newest, outside) in self.newest.iter().zip(features) {
            let is_outside = *newest > oldest;
            outside[part] += usize::from(is_outside);
            is_any |= is_outside;
        }
        any[part] += usize::from(is_any);
    }

    pub(super) fn finish(self) -> OutOfRange {
        let Self { names, windows, mut outside, .. } = self;
        let shares = |outside: [usize; 3]| {
            [0, 1, 2].map(|part| {
                (windows[part] > 0).then(|| outside[part] as f64 / windows[part] as f64)
            })
        };
        let any = outside.pop().map(shares).unwrap_or_default();
        let features = names.into_iter().zip(outside);
        let features = features
            .map(|(feature, outside)| FeatureOutOfRange { feature, shares: shares(outside) })
            .collect();
        OutOfRange { features, any }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::features::ScalerKind;

    #[test]
    fn a_window_counts_as_long_as_a_row_out_of_range_is_in_it() {
        let columns = [("a".to_owned(), vec![0.0, 1.0]), ("b".to_owned(), vec![-1.0, 1.0])];
        let scaler = Scaler::fit(ScalerKind::Standard, &columns).unwrap();
        let mut tally = Tally::new(&scaler, 3, 1);
        // Windows end on the rows 2 to 4, 8 to 10 and 14 to 18.
        let parts = || [0..6, 6..12, 12..20];
        tally.begin(parts());
        for row in 0..20 {
            // `a` leaves its range on row 5, which no window of the first two parts has, and on row
            // 9; `b` on the last row, which only a label has, and on row 17.
            let a = if row == 5 || row == 9 { 1.5 } else { 0.5 };
            let b = if row >= 19 || row == 17 { -1.01 } else { 1.0 };
            tally.take(&[a, b]);
        }
        // A second series is too short for any window.
        tally.begin([0..3, 3..3, 3..3]);
        (0..3).for_each(|_| tally.take(&[9.0, 9.0]));
        let found = tally.finish();
        assert_eq!(found.features[0].feature, "a");
        assert_eq!(found.features[0].shares, [Some(0.0), Some(2.0 / 3.0), Some(0.0)]);
        assert_eq!(found.features[1].shares, [Some(0.0), Some(0.0), Some(2.0 / 5.0)]);
        assert_eq!(found.any, [Some(0.0), Some(2.0 / 3.0), Some(2.0 / 5.0)]);
        assert_eq!(found.warned(1), [("a", 2.0 / 3.0)]);
        assert_eq!(found.warned(0), []);
    }

    #[test]
    fn a_part_without_windows_has_no_share() {
        let columns = [("a".to_owned(), vec![0.0, 1.0])];
        let scaler = Scaler::fit(ScalerKind::Minmax, &columns).unwrap();
        let found = Tally::new(&scaler, 3, 1).finish();
        assert_eq!((found.any, found.features[0].shares), ([None; 3], [None; 3]));
        assert_eq!(found.warned(2), []);
    }
}
