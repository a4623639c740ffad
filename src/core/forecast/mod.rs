//! From the model's output to a forecast: inverse transform, implied price, interval, signal.
//!
//! Owns what one output of a model becomes; what is forecast at all stands in `target`, and the
//! rule for intervals in `possible`. Promises that a forecast it hands out is finite and possible,
//! and its interval too. Never infers and never publishes.

pub mod distribution;
mod kinds;
mod output;
mod possible;
mod target;
mod target_kind;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::core::domain::{
    DurationNanos, Evidence, Forecast, InputShift, Quality, Quantiles, Signal, SymbolId, UnixNanos,
};
use crate::core::features::{Scaler, ScalerError, SingleScaler};
use crate::core::step::Calendar;

pub use kinds::ForecastKinds;
pub use output::{Finished, MEDIAN, OutputKind, OutputPlan, OutputReader, levels_problem};
pub use possible::{Limits, Possible};
pub use target::{TARGET_KINDS, Target, TargetError, Truth};
pub use target_kind::TargetKind;

/// When a value becomes a signal, in the target's unit. What a signal says follows from the target:
/// for a return or a direction it is what a trader would do; `buy` on an event, a volatility or a
/// value is an alert that it will be high, `sell` that it will be low. A threshold that no value
/// can pass, such as `sell_below = 0` for a probability, gives no signal.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalThresholds {
    /// A value above this is `buy`.
    pub buy_above: f64,
    /// A value below this is `sell`.
    pub sell_below: f64,
}

/// A prediction interval around the value, from residuals that training did not see.
///
/// The interval of a forecast is `value + lower` to `value + upper`, or a stretch of that (see
/// [`Intervals`]), cut to the values that can come true ([`Possible::interval`]), which takes no
/// truth out of it. That of a probability is made to hold the outcome, 0 or 1, like any other
/// truth: one from 0 to 1 says that both are open.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    /// The share of truths that the interval is made to hold, between 0 and 1.
    pub coverage: f64,
    /// Added to the value for the lower end, in the target's unit; at most zero.
    pub lower: f64,
    /// Added to the value for the upper end, in the target's unit; at least zero.
    pub upper: f64,
}

/// How far the ends of one forecast's interval lie from its value, in the target's unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Margins {
    /// Added to the value for the lower end; at most zero.
    pub lower: f64,
    /// Added to the value for the upper end; at least zero.
    pub upper: f64,
}

/// What a model says of one window, in model units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Output {
    /// The value.
    pub value: f32,
    /// The ends of the model's own interval, lower and upper, where it gives one.
    pub ends: Option<[f32; 2]>,
}

/// Where the margins of a forecast come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intervals {
    /// From the bundle, stretched by how often the intervals of the symbol held so far.
    Adaptive,
    /// From the bundle as they are.
    Bundle,
}

/// Everything that turns one model output into one forecast: shared and immutable.
#[derive(Clone, Debug)]
pub struct ForecastPlan {
    target: Target,
    scaler: SingleScaler,
    horizon: DurationNanos,
    /// The days on which there are steps, and how many steps the horizon has.
    calendar: Option<(Arc<Calendar>, u32)>,
    thresholds: SignalThresholds,
    interval: Interval,
    /// Whether the model gives its own interval.
    has_ends: bool,
    /// Whether it gives quantiles: margins are then shares of their distance from the value.
    has_spread: bool,
}

/// The facts of the window behind a forecast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WindowFacts {
    /// Whose window.
    pub symbol: SymbolId,
    /// Event time of its newest step.
    pub as_of: UnixNanos,
    /// The newest price, where the stream has one.
    pub last_price: Option<f64>,
    /// How whole the window is.
    pub quality: Quality,
    /// Whether any input lies outside the training range.
    pub out_of_range: bool,
    /// The margins of the interval.
    pub margins: Margins,
}

/// Why a forecast cannot be planned.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ForecastPlanError {
    /// The target's scaler is unusable.
    #[error("target.scaler: {0}")]
    Scaler(#[from] ScalerError),
    /// The thresholds are not finite or overlap.
    #[error("signal: sell_below must be finite and not above buy_above")]
    Thresholds,
    /// The interval is not an interval.
    #[error("interval: needs 0 < coverage < 1 and finite lower <= 0 <= upper")]
    Interval,
}

impl SignalThresholds {
    /// What a value says by itself.
    pub fn signal(&self, value: f64) -> Signal {
        if value > self.buy_above {
            Signal::Buy
        } else if value < self.sell_below {
            Signal::Sell
        } else {
            Signal::Hold
        }
    }
}

impl ForecastPlan {
    /// Checks and takes the parts; `horizon` is in event time.
    ///
    /// # Errors
    /// The first [`ForecastPlanError`] found.
    pub fn new(
        target: Target,
        scaler: &Scaler,
        horizon: DurationNanos,
        thresholds: SignalThresholds,
        interval: Interval,
    ) -> Result<Self, ForecastPlanError> {
        let scaler = scaler.single()?;
        let SignalThresholds { buy_above, sell_below } = thresholds;
        if !(buy_above.is_finite() && sell_below.is_finite() && sell_below <= buy_above) {
            return Err(ForecastPlanError::Thresholds);
        }
        let Interval { coverage, lower, upper } = interval;
        let covers = coverage > 0.0 && coverage < 1.0;
        let brackets = lower.is_finite() && upper.is_finite() && lower <= 0.0 && upper >= 0.0;
        if !(covers && brackets) {
            return Err(ForecastPlanError::Interval);
        }
        let calendar = None;
        let (has_ends, has_spread) = (false, false);
        Ok(Self { target, scaler, horizon, calendar, thresholds, interval, has_ends, has_spread })
    }

    /// The same where the target is the step that a calendar expects so many steps later.
    #[must_use]
    pub fn with_calendar(self, calendar: Option<Arc<Calendar>>, horizon_steps: u32) -> Self {
        Self { calendar: calendar.map(|calendar| (calendar, horizon_steps)), ..self }
    }

    /// The same for a model that gives its own interval.
    #[must_use]
    pub fn with_ends(self) -> Self {
        Self { has_ends: true, ..self }
    }

    /// The same for a model that gives quantiles.
    #[must_use]
    pub fn with_spread(self) -> Self {
        Self { has_spread: true, ..self }
    }

    /// The same for values of another origin, whose intervals are made of margins alone. There are
    /// none where those of the bundle are shares of the distance of quantiles.
    #[must_use]
    pub fn without_ends(self) -> Self {
        let interval = match self.has_spread {
            true => Interval { lower: 0.0, upper: 0.0, ..self.interval },
            false => self.interval,
        };
        Self { interval, has_ends: false, has_spread: false, ..self }
    }

    /// Whether intervals are the model's own, published as they are: the bundle has no margins that
    /// could be added to the ends or stretched.
    pub fn keeps_ends(&self) -> bool {
        self.has_ends && self.margins() == Margins { lower: 0.0, upper: 0.0 }
    }

    /// What is forecast.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// When a value becomes a signal.
    pub fn thresholds(&self) -> SignalThresholds {
        self.thresholds
    }

    /// The share of truths that the intervals are made to hold.
    pub fn coverage(&self) -> f64 {
        self.interval.coverage
    }

    /// The margins of the bundle's interval.
    pub fn margins(&self) -> Margins {
        Margins { lower: self.interval.lower, upper: self.interval.upper }
    }

    /// How far ahead a forecast looks, in event time.
    pub fn horizon(&self) -> DurationNanos {
        self.horizon
    }

    /// Turns the model's output for one window into a forecast. It is withheld (`None`) where a
    /// number is not finite, the value cannot come true (a probability of 1.2 is not made 1, nor a
    /// return of -1.2 made -1), or the target time leaves the representable range.
    pub fn finish(&self, output: f32, facts: &WindowFacts) -> Option<Forecast> {
        self.finish_output(Output { value: output, ends: None }, facts)
    }

    /// As [`ForecastPlan::finish`], with the ends of the model's own interval: sorted, so that they
    /// hold the value, the margins added to them, and cut to what is possible.
    pub fn finish_output(&self, output: Output, facts: &WindowFacts) -> Option<Forecast> {
        let invert = |number: f32| self.scaler.invert(f64::from(number));
        let value = invert(output.value);
        let ends = output.ends.map_or([value; 2], |ends| ends.map(invert));
        self.finish_between(value, ends, facts)
    }

    /// As [`ForecastPlan::finish`], of a value in the target's unit.
    pub fn finish_value(&self, value: f64, facts: &WindowFacts) -> Option<Forecast> {
        self.finish_between(value, [value; 2], facts)
    }

    fn finish_between(&self, value: f64, ends: [f64; 2], facts: &WindowFacts) -> Option<Forecast> {
        if !ends.iter().all(|end| end.is_finite()) {
            return None;
        }
        let possible = self.target.possible();
        let limits = possible.interval_of(value, ends, facts.margins)?;
        self.finish_within(value, limits, facts)
    }

    /// A forecast of quantiles, which rise and are finite; that at `median` is the value. The ends
    /// of the interval lie as many times as far from it as the outer quantiles as the margins say,
    /// and each quantile as many times as far as its stretch says.
    fn finish_spread(
        &self,
        quantiles: &Quantiles,
        median: usize,
        stretches: &Quantiles,
        facts: &WindowFacts,
    ) -> Option<Forecast> {
        let own = quantiles.as_slice();
        let value = own[median];
        let (low, high) = (own[0] - value, own[own.len() - 1] - value);
        let Margins { lower, upper } = facts.margins;
        let possible = self.target.possible();
        let limits = possible.between(value, value - lower * low, value + upper * high)?;
        let forecast = self.finish_within(value, limits, facts)?;
        let stretch = |at: usize| stretches.as_slice().get(at).copied().unwrap_or(1.0);
        let published = own.iter().enumerate().map(|(at, quantile)| {
            let stretched =
                if at == median { value } else { value + stretch(at) * (quantile - value) };
            stretched.clamp(possible.least, possible.greatest)
        });
        let mut quantiles = Quantiles::of(published);
        quantiles.rearrange();
        quantiles.as_slice().iter().all(|quantile| quantile.is_finite()).then_some(())?;
        Some(Forecast { quantiles, ..forecast })
    }

    /// A forecast of this value and interval.
    fn finish_within(
        &self,
        value: f64,
        Limits { lower, upper }: Limits,
        facts: &WindowFacts,
    ) -> Option<Forecast> {
        let target_time = match &self.calendar {
            Some((calendar, steps)) => calendar.target(facts.as_of, *steps)?,
            None => facts.as_of.checked_add(self.horizon)?,
        };
        let price = self.target.price(value, facts.last_price);
        let numbers = [value, lower, upper, price.unwrap_or(0.0)];
        if !numbers.iter().all(|number| number.is_finite()) {
            return None;
        }
        let signal = self.thresholds.signal(value);
        Some(Forecast {
            symbol: facts.symbol,
            as_of: facts.as_of,
            target_time,
            value,
            price,
            last_price: facts.last_price,
            lower,
            upper,
            signal,
            quality: facts.quality,
            out_of_range: facts.out_of_range,
            evidence: Evidence::Unknown,
            drift: false,
            shift: InputShift::Unknown,
            shed_steps: 0,
            output: 0,
            quantiles: Quantiles::NONE,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::features::ColumnRange;

    fn scaler() -> Scaler {
        let columns = vec![ColumnRange { feature: "next_return".into(), min: -0.1, max: 0.1 }];
        Scaler::Minmax { low: -1.0, high: 1.0, columns }
    }

    fn plan() -> ForecastPlan {
        ForecastPlan::new(
            Target::NextReturn,
            &scaler(),
            DurationNanos::from_seconds(86_400).unwrap(),
            SignalThresholds { buy_above: 0.02, sell_below: -0.02 },
            Interval { coverage: 0.9, lower: -0.03, upper: 0.04 },
        )
        .unwrap()
    }

    /// A plan in the target's own unit.
    fn unscaled(target: Target, thresholds: SignalThresholds, half_width: f64) -> ForecastPlan {
        let feature = target.label().to_owned();
        let columns = vec![ColumnRange { feature, min: 0.0, max: 1.0 }];
        let horizon = DurationNanos::from_seconds(86_400).unwrap();
        let interval = Interval { coverage: 0.9, lower: -half_width, upper: half_width };
        ForecastPlan::new(target, &Scaler::None { columns }, horizon, thresholds, interval).unwrap()
    }

    fn facts(last_price: f64) -> WindowFacts {
        WindowFacts {
            symbol: SymbolId::from_index(0).unwrap(),
            as_of: UnixNanos::parse("2013-02-28").unwrap(),
            last_price: Some(last_price),
            quality: Quality::Full,
            out_of_range: false,
            margins: plan().margins(),
        }
    }

    /// Facts of a window of a plan whose intervals are this wide on both sides.
    fn facts_with(half_width: f64) -> WindowFacts {
        WindowFacts { margins: Margins { lower: -half_width, upper: half_width }, ..facts(200.0) }
    }

    #[test]
    fn turns_an_output_into_a_return_a_price_and_a_signal() {
        let forecast = plan().finish(0.5, &facts(200.0)).unwrap();
        assert!((forecast.value - 0.05).abs() < 1e-15, "{}", forecast.value);
        assert!((forecast.price.unwrap() - 210.0).abs() < 1e-9);
        assert!((forecast.lower - 0.02).abs() < 1e-15);
        assert!((forecast.upper - 0.09).abs() < 1e-15);
        assert_eq!(forecast.signal, Signal::Buy);
        assert_eq!(forecast.target_time, UnixNanos::parse("2013-03-01").unwrap());
        assert_eq!(plan().finish(-0.5, &facts(200.0)).unwrap().signal, Signal::Sell);
        assert_eq!(plan().finish(0.1, &facts(200.0)).unwrap().signal, Signal::Hold);
    }

    #[test]
    fn a_probability_has_no_price_and_an_interval_of_outcomes() {
        let rain = Target::NextEvent { field: "precipitation".into(), above: 0.0 };
        let plan = unscaled(rain, SignalThresholds { buy_above: 0.5, sell_below: 0.0 }, 0.625);
        let forecast = plan.finish(0.75, &facts_with(0.625)).unwrap();
        assert_eq!((forecast.value, forecast.price), (0.75, None));
        assert_eq!((forecast.lower, forecast.upper), (0.125, 1.0));
        assert_eq!(forecast.signal, Signal::Buy, "an alert");
        let dry = plan.finish(0.0, &facts_with(0.625)).unwrap();
        assert_eq!((dry.lower, dry.upper, dry.signal), (0.0, 0.625, Signal::Hold));
    }

    #[test]
    fn withholds_what_cannot_come_true() {
        let thresholds = SignalThresholds { buy_above: 0.5, sell_below: 0.0 };
        for (target, outside) in
            [(Target::NextDirection, &[-0.001, 1.001][..]), (Target::NextVolatility, &[-0.001])]
        {
            let plan = unscaled(target, thresholds, 0.5);
            for output in outside {
                assert_eq!(plan.finish(*output, &facts(200.0)), None, "{output}");
            }
            let forecast = plan.finish(0.25, &facts_with(0.5)).unwrap();
            assert_eq!((forecast.lower, forecast.upper), (0.0, 0.75));
        }
    }

    #[test]
    fn the_interval_of_a_return_never_goes_below_a_loss_of_everything() {
        let thresholds = SignalThresholds { buy_above: 0.5, sell_below: -0.5 };
        let plan = unscaled(Target::NextReturn, thresholds, 1.5);
        let forecast = plan.finish(-0.25, &facts_with(1.5)).unwrap();
        assert_eq!((forecast.value, forecast.lower, forecast.upper), (-0.25, -1.0, 1.25));
        assert_eq!(plan.finish(-1.0, &facts_with(1.5)).unwrap().price, Some(0.0));
        assert_eq!(plan.finish(-1.001, &facts_with(1.5)), None, "a price below zero");
    }

    #[test]
    fn a_log_return_implies_a_price_above_zero_however_low_it_is() {
        let thresholds = SignalThresholds { buy_above: 0.5, sell_below: -0.5 };
        let plan = unscaled(Target::NextLogReturn, thresholds, 1.5);
        let forecast = plan.finish(-2.0, &facts_with(1.5)).unwrap();
        assert_eq!((forecast.value, forecast.lower, forecast.upper), (-2.0, -3.5, -0.5));
        assert_eq!(forecast.price, Some(200.0 * libm::exp(-2.0)));
        assert_eq!(forecast.signal, Signal::Sell);
        assert_eq!(plan.finish(0.0, &facts_with(1.5)).unwrap().price, Some(200.0));
        assert_eq!(plan.finish(1000.0, &facts_with(1.5)), None, "the price overflows");
    }

    #[test]
    fn withholds_what_is_not_finite() {
        assert_eq!(plan().finish(f32::NAN, &facts(200.0)), None);
        assert_eq!(plan().finish(f32::INFINITY, &facts(200.0)), None);
        assert_eq!(plan().finish(1.0, &facts(f64::MAX)), None, "the price overflows");
    }

    #[test]
    fn the_own_interval_of_a_model_is_published_as_it_is() {
        let none = Interval { coverage: 0.9, lower: 0.0, upper: 0.0 };
        assert!(!plan().with_ends().keeps_ends(), "it has margins");
        let plan = ForecastPlan { interval: none, ..plan() }.with_ends();
        assert!(plan.keeps_ends());
        let facts = WindowFacts { margins: plan.margins(), ..facts(200.0) };
        let limits = |value, ends: [f32; 2]| {
            let forecast = plan.finish_output(Output { value, ends: Some(ends) }, &facts)?;
            Some([forecast.lower, forecast.value, forecast.upper])
        };
        let unit = |output: f32| plan.scaler.invert(f64::from(output));
        assert_eq!(limits(0.5, [0.25, 0.75]), Some([0.25, 0.5, 0.75].map(unit)));
        // Quantiles that cross are sorted, and the interval holds the value.
        assert_eq!(limits(0.5, [0.75, 0.25]), Some([0.25, 0.5, 0.75].map(unit)));
        assert_eq!(limits(0.5, [0.625, 0.75]), Some([0.5, 0.5, 0.75].map(unit)));
        // What cannot come true is cut: a loss is never more than everything.
        assert_eq!(limits(0.5, [-1e3, 0.75]).unwrap()[0], -1.0);
        for end in [f32::NAN, f32::INFINITY] {
            assert_eq!(limits(0.5, [0.25, end]), None, "{end}");
        }
        // Margins of the bundle are added to the ends.
        let margins = Margins { lower: -0.01, upper: 0.02 };
        let facts = WindowFacts { margins, ..facts };
        let output = Output { value: 0.5, ends: Some([0.25, 0.75]) };
        let forecast = plan.finish_output(output, &facts).unwrap();
        assert_eq!(forecast.lower, unit(0.25) - 0.01);
        assert_eq!(forecast.upper, unit(0.75) + 0.02);
    }

    #[test]
    fn refuses_thresholds_and_intervals_that_make_no_sense() {
        let thresholds = SignalThresholds { buy_above: 0.02, sell_below: -0.02 };
        let interval = Interval { coverage: 0.9, lower: -0.03, upper: 0.04 };
        let horizon = DurationNanos::from_seconds(1).unwrap();
        let build = |thresholds, interval| {
            ForecastPlan::new(Target::NextReturn, &scaler(), horizon, thresholds, interval)
                .map(|_| ())
        };
        assert_eq!(build(thresholds, interval), Ok(()));
        let crossed = SignalThresholds { buy_above: -0.02, sell_below: 0.02 };
        assert_eq!(build(crossed, interval), Err(ForecastPlanError::Thresholds));
        for broken in [
            Interval { coverage: 1.0, ..interval },
            Interval { coverage: f64::NAN, ..interval },
            Interval { lower: 0.1, ..interval },
            Interval { upper: f64::INFINITY, ..interval },
        ] {
            assert_eq!(build(thresholds, broken), Err(ForecastPlanError::Interval));
        }
    }
}
