//! One of the outputs of a model: which columns of a row are its own, and what they say.
//!
//! Owns the kinds of outputs and the way from columns to a forecast with quantiles. Promises that
//! quantiles do not cross, that the value is the median among them, and that only rearranging and
//! the stretch of each level come between them and the model. Never learns a stretch: scores do.

use serde::{Deserialize, Serialize};

use super::distribution::{freedom, normal_quantile, scale, student_t_quantile};
use super::{ForecastPlan, Output, WindowFacts};
use crate::core::domain::{Forecast, LEVELS_MAX, Quantiles};
use crate::core::features::SingleScaler;

/// The level of the value.
pub const MEDIAN: f64 = 0.5;

/// What the columns of an output say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputKind {
    /// One column: the value.
    Value,
    /// A column for each level: the quantiles.
    Quantiles,
    /// Two columns: the mean and what becomes the deviation ([`scale`]) of a normal distribution.
    Gaussian,
    /// Three columns: the median, what becomes the scale ([`scale`]) and what becomes the degrees
    /// of freedom ([`freedom`]) of a Student t distribution.
    StudentT,
}

impl OutputKind {
    /// All of them, with the word that configurations use.
    pub const ALL: [(&'static str, Self); 4] = [
        ("value", Self::Value),
        ("quantiles", Self::Quantiles),
        ("gaussian", Self::Gaussian),
        ("student_t", Self::StudentT),
    ];

    /// How many columns an output of so many levels has.
    pub const fn columns(self, levels: usize) -> usize {
        match self {
            Self::Value => 1,
            Self::Quantiles => levels,
            Self::Gaussian => 2,
            Self::StudentT => 3,
        }
    }

    /// Whether it has levels.
    pub const fn has_levels(self) -> bool {
        !matches!(self, Self::Value)
    }

    /// The place of the value among the columns.
    pub fn value_column(self, levels: &[f64]) -> Option<usize> {
        match self {
            Self::Value | Self::Gaussian | Self::StudentT => Some(0),
            Self::Quantiles => levels.iter().position(|level| *level == MEDIAN),
        }
    }
}

/// Why levels cannot be those of an output; `None` where they can.
pub fn levels_problem(levels: &[f64]) -> Option<String> {
    let is_level = |level: &f64| *level > 0.0 && *level < 1.0;
    let inner = levels.get(1..levels.len().saturating_sub(1)).unwrap_or_default();
    if !levels.iter().all(is_level) || !levels.is_sorted_by(|one, other| one < other) {
        Some("must rise and lie between 0 and 1".to_owned())
    } else if levels.len() > LEVELS_MAX {
        Some(format!("has {}, at most {LEVELS_MAX} are allowed", levels.len()))
    } else if !inner.contains(&MEDIAN) {
        Some("needs 0.5, one level below it and one above".to_owned())
    } else {
        None
    }
}

/// How the columns of one output are read.
#[derive(Clone, Debug)]
pub struct OutputReader {
    kind: OutputKind,
    columns: Vec<usize>,
    levels: Vec<f64>,
    /// The quantiles of the standard normal distribution, by level, for a distribution.
    standard: Vec<f64>,
    scaler: SingleScaler,
}

/// Everything that turns the columns of one output into one forecast: shared and immutable.
#[derive(Clone, Debug)]
pub struct OutputPlan {
    /// The place among the outputs.
    index: u8,
    horizon_steps: u32,
    reader: OutputReader,
    forecast: ForecastPlan,
}

/// What became of one output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finished {
    /// The forecast; `None` where it cannot come true or is no number.
    pub forecast: Option<Forecast>,
    /// Whether quantiles of the model crossed and were rearranged.
    pub crossed: bool,
}

impl OutputReader {
    /// A reader of as many columns as the kind has, and of levels without a [`levels_problem`].
    pub fn new(
        kind: OutputKind,
        columns: Vec<usize>,
        levels: Vec<f64>,
        scaler: SingleScaler,
    ) -> Self {
        let standard = match kind {
            OutputKind::Value | OutputKind::Quantiles => Vec::new(),
            OutputKind::Gaussian | OutputKind::StudentT => {
                levels.iter().map(|level| normal_quantile(*level)).collect()
            }
        };
        Self { kind, columns, levels, standard, scaler }
    }

    /// The place of the median among the quantiles.
    pub fn median(&self) -> usize {
        self.levels.iter().position(|level| *level == MEDIAN).unwrap_or_default()
    }

    /// The model's own quantiles in the target's unit, as they come; `None` for an output without.
    pub fn quantiles(&self, row: &[f32]) -> Option<Quantiles> {
        let number = |at: usize| f64::from(row[self.columns[at]]);
        let invert = |number: f64| self.scaler.invert(number);
        match self.kind {
            OutputKind::Value => None,
            OutputKind::Quantiles => {
                Some(Quantiles::of((0..self.columns.len()).map(|at| invert(number(at)))))
            }
            OutputKind::Gaussian => {
                let (mean, deviation) = (number(0), scale(number(1)));
                Some(Quantiles::of(self.standard.iter().map(|at| invert(mean + deviation * at))))
            }
            OutputKind::StudentT => {
                let (median, scale, freedom) = (number(0), scale(number(1)), freedom(number(2)));
                let levels = self.levels.iter().zip(&self.standard);
                let standard =
                    levels.map(|(level, normal)| student_t_quantile(*level, *normal, freedom));
                Some(Quantiles::of(standard.map(|at| invert(median + scale * at))))
            }
        }
    }
}

impl OutputPlan {
    /// The plan of the output at `index`, whose parts were checked: as many columns as the kind
    /// has, all of them in the row, and levels without a [`levels_problem`].
    pub fn new(
        index: u8,
        kind: OutputKind,
        horizon_steps: u32,
        columns: Vec<usize>,
        levels: Vec<f64>,
        forecast: ForecastPlan,
    ) -> Self {
        let forecast = if kind.has_levels() { forecast.with_spread() } else { forecast };
        let reader = OutputReader::new(kind, columns, levels, forecast.scaler);
        Self { index, horizon_steps, reader, forecast }
    }

    /// How many steps ahead it looks.
    pub const fn horizon_steps(&self) -> u32 {
        self.horizon_steps
    }

    /// The levels of its quantiles.
    pub fn levels(&self) -> &[f64] {
        &self.reader.levels
    }

    /// What its value becomes.
    pub const fn forecast(&self) -> &ForecastPlan {
        &self.forecast
    }

    /// Turns a row of the model's output into a forecast. `stretches` say, by level, how many times
    /// as far from the median a quantile is published; none leaves all where they are.
    pub fn finish(&self, row: &[f32], facts: &WindowFacts, stretches: &Quantiles) -> Finished {
        let own = |forecast: Forecast| Forecast { output: self.index, ..forecast };
        let Some(mut quantiles) = self.reader.quantiles(row) else {
            let value = Output { value: row[self.reader.columns[0]], ends: None };
            let forecast = self.forecast.finish_output(value, facts);
            return Finished { forecast: forecast.map(own), crossed: false };
        };
        if !quantiles.as_slice().iter().all(|quantile| quantile.is_finite()) {
            return Finished { forecast: None, crossed: false };
        }
        let crossed = quantiles.rearrange();
        let median = self.reader.median();
        let forecast = self.forecast.finish_spread(&quantiles, median, stretches, facts);
        Finished { forecast: forecast.map(own), crossed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::domain::{DurationNanos, Quality, SymbolId, UnixNanos};
    use crate::core::features::{ColumnRange, Scaler};
    use crate::core::forecast::{Interval, Margins, SignalThresholds, Target};

    /// An output of returns whose model unit is a tenth.
    fn plan(kind: OutputKind, levels: &[f64], interval: f64) -> OutputPlan {
        let columns = vec![ColumnRange { feature: "next_return".into(), min: -0.1, max: 0.1 }];
        let forecast = ForecastPlan::new(
            Target::NextReturn,
            &Scaler::Minmax { low: -1.0, high: 1.0, columns },
            DurationNanos::from_seconds(60).unwrap(),
            SignalThresholds { buy_above: 0.02, sell_below: -0.02 },
            Interval { coverage: 0.9, lower: -interval, upper: interval },
        )
        .unwrap();
        let columns = (1..=kind.columns(levels.len())).collect();
        OutputPlan::new(1, kind, 5, columns, levels.to_vec(), forecast)
    }

    fn facts(plan: &OutputPlan) -> WindowFacts {
        WindowFacts {
            symbol: SymbolId::from_index(0).unwrap(),
            as_of: UnixNanos::from_nanos(0),
            last_price: Some(100.0),
            quality: Quality::Full,
            out_of_range: false,
            margins: plan.forecast.margins(),
        }
    }

    fn close(one: f64, other: f64) {
        assert!((one - other).abs() < 1e-8, "{one} is not {other}");
    }

    const LEVELS: [f64; 3] = [0.05, 0.5, 0.95];

    #[test]
    fn quantiles_give_the_value_and_the_interval() {
        let plan = plan(OutputKind::Quantiles, &LEVELS, 1.5);
        let row = [9.0, -0.5, 0.1, 0.4];
        let Finished { forecast, crossed } = plan.finish(&row, &facts(&plan), &Quantiles::NONE);
        let forecast = forecast.unwrap();
        assert!(!crossed);
        assert_eq!(forecast.output, 1);
        close(forecast.value, 0.01);
        // One and a half times as far from the median as the outer quantiles.
        close(forecast.lower, 0.01 - 1.5 * 0.06);
        close(forecast.upper, 0.01 + 1.5 * 0.03);
        let quantiles = forecast.quantiles;
        let [low, median, high] = *quantiles.as_slice() else { panic!("{quantiles:?}") };
        close(low, -0.05);
        assert_eq!(median.to_bits(), forecast.value.to_bits());
        close(high, 0.04);
    }

    #[test]
    fn what_crosses_is_rearranged_and_what_a_stretch_crosses_too() {
        let plan = plan(OutputKind::Quantiles, &[0.05, 0.25, 0.5, 0.95], 1.0);
        let row = [9.0, 0.2, 0.1, 0.0, 0.4];
        let facts = facts(&plan);
        let finished = plan.finish(&row, &facts, &Quantiles::NONE);
        assert!(finished.crossed);
        let forecast = finished.forecast.unwrap();
        // Of the four in order the third is the median.
        close(forecast.value, 0.02);
        let expected = [0.0, 0.01, 0.02, 0.04];
        let quantiles = forecast.quantiles;
        quantiles.as_slice().iter().zip(expected).for_each(|(is, should)| close(*is, should));
        // Half as far for the lowest, four times for the next.
        let stretches = Quantiles::of([0.5, 4.0, 1.0, 1.0]);
        let finished = plan.finish(&row, &facts, &stretches);
        let forecast = finished.forecast.unwrap();
        let expected = [-0.02, 0.01, 0.02, 0.04];
        let quantiles = forecast.quantiles;
        quantiles.as_slice().iter().zip(expected).for_each(|(is, should)| close(*is, should));
        close(forecast.value, 0.02);
    }

    #[test]
    fn a_normal_distribution_has_its_quantiles() {
        let plan = plan(OutputKind::Gaussian, &LEVELS, 1.0);
        let number = 0.25_f32;
        let forecast = plan.finish(&[9.0, 0.1, number], &facts(&plan), &Quantiles::NONE);
        let forecast = forecast.forecast.unwrap();
        let deviation = 0.1 * (SCALE + (1.0 + f64::from(number).exp()).ln());
        close(forecast.value, 0.1 * f64::from(0.1_f32));
        let quantiles = forecast.quantiles;
        let [low, _, high] = *quantiles.as_slice() else { panic!("{quantiles:?}") };
        close(high - forecast.value, 1.644_853_626_951_472_6 * deviation);
        close(forecast.value - low, high - forecast.value);
    }

    #[test]
    fn a_student_t_distribution_has_its_quantiles() {
        let plan = plan(OutputKind::StudentT, &LEVELS, 1.0);
        // softplus(x) = 2 at ln(e^2 - 1): four degrees of freedom.
        let row = [9.0, 0.1, 0.25_f32, (2.0_f64.exp() - 1.0).ln() as f32];
        let finish = |row: &[f32]| plan.finish(row, &facts(&plan), &Quantiles::NONE).forecast;
        let forecast = finish(&row).unwrap();
        let scale = 0.1 * (SCALE + (1.0 + 0.25_f64.exp()).ln());
        let quantiles = forecast.quantiles;
        let [low, median, high] = *quantiles.as_slice() else { panic!("{quantiles:?}") };
        close(median, 0.1 * f64::from(0.1_f32));
        assert!((high - median - 2.131_846_786_326_651 * scale).abs() < 1e-8, "{high}");
        close(median - low, high - median);
        assert_eq!(finish(&[9.0, 0.1, 0.25, f32::NAN]), None);
    }

    const SCALE: f64 = super::super::distribution::SCALE_MIN;

    #[test]
    fn what_is_no_number_or_impossible_is_withheld_and_quantiles_end_at_what_is_possible() {
        let plan = plan(OutputKind::Quantiles, &LEVELS, 1.0);
        let mut facts = facts(&plan);
        facts.margins = Margins { lower: -40.0, upper: 40.0 };
        let finish = |row: &[f32]| plan.finish(row, &facts, &Quantiles::of([40.0, 1.0, 40.0]));
        assert_eq!(finish(&[9.0, f32::NAN, 0.0, 0.1]).forecast, None);
        assert_eq!(finish(&[9.0, -30.0, -20.0, 0.1]).forecast, None, "a loss of more than all");
        let forecast = finish(&[9.0, -0.5, 0.0, 0.5]).forecast.unwrap();
        assert_eq!((forecast.lower, forecast.quantiles.as_slice()[0]), (-1.0, -1.0));
    }

    #[test]
    fn levels_rise_and_surround_the_median() {
        assert_eq!(levels_problem(&LEVELS), None);
        assert_eq!(levels_problem(&[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]), None);
        for levels in [
            &[0.5][..],
            &[0.5, 0.9],
            &[0.1, 0.5],
            &[0.1, 0.4, 0.9],
            &[0.9, 0.5, 0.1],
            &[0.1, 0.5, 0.5, 0.9],
            &[0.0, 0.5, 0.9],
            &[0.1, 0.5, f64::NAN],
            &[0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8],
        ] {
            assert!(levels_problem(levels).is_some(), "{levels:?}");
        }
    }
}
