//! Simple forecasts that a model has to beat.
//!
//! Owns five of them, what a bundle says of them and what they remember of a symbol. The trainer,
//! `seal`, a replay and the daemon run this code, so a figure of one means what it means in the
//! others. Promises that a forecast follows from the steps and the window up to its own step, that
//! a step costs the same however many there were, and that equal steps give equal bits on every
//! machine. Never fits anything: `seal::judge` does.
//!
//! | baseline | forecast at step `t` |
//! |---|---|
//! | persistence | nothing changes ([`Truth::persistence`]) |
//! | drift | the mean truth of the training part; for a value, the last one plus its mean change |
//! | average | the exponentially weighted mean of the truths that are known at `t` |
//! | seasonal | the truth one period earlier, or so many that it is known at `t` |
//! | linear | a linear function of the newest rows of the window |
//!
//! Until the truths of a symbol reach back far enough, average and seasonal say what persistence
//! says.

mod linear;
mod spec;
mod state;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::core::forecast::{TargetKind, Truth};

pub use self::linear::LinearModel;
pub use self::spec::{AverageSpec, BaselineSpec, SeasonalSpec};
pub use self::state::{BaselineState, Reading};

/// The longest period, in steps, of which truths are remembered: 16 bytes each for every symbol.
pub const PERIOD_STEPS_MAX: u32 = 1024;

/// The longest half-life of the average, in steps.
pub const HALF_LIFE_STEPS_MAX: u32 = 65_536;

/// The most columns of the linear model, which bounds its time and memory.
pub const COLUMNS_MAX: usize = 600;

/// How many baselines there are.
pub const BASELINES: usize = BaselineKind::ALL.len();

/// A simple forecast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BaselineKind {
    /// Nothing changes.
    #[default]
    Persistence,
    /// The mean of the training part goes on.
    Drift,
    /// The exponentially weighted mean of the truths known so far.
    Average,
    /// The truth of one period earlier.
    Seasonal,
    /// A linear model of the window.
    Linear,
}

/// What each baseline forecasts, in the order of [`BaselineKind::ALL`] and in the target's unit;
/// `None` for one that the bundle does not have.
pub type BaselineForecasts = [Option<f64>; BASELINES];

/// The baselines of a model: shared and immutable.
#[derive(Clone, Debug, PartialEq)]
pub struct Baselines {
    truth: Truth,
    kind: TargetKind,
    /// How many steps later a truth is known; `None` where nothing is kept for so long.
    horizon_steps: Option<usize>,
    against: BaselineKind,
    /// Which there are.
    has: [bool; BASELINES],
    drift: Option<f64>,
    /// By which the weight of every older truth falls with each new one.
    decay: Option<f64>,
    /// How many truths before the newest one the seasonal one is.
    lag: Option<usize>,
    linear: Option<LinearModel>,
}

impl BaselineKind {
    /// Every baseline, each at its own index.
    pub const ALL: [Self; 5] =
        [Self::Persistence, Self::Drift, Self::Average, Self::Seasonal, Self::Linear];

    /// The name in a manifest, on the wire and as a metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Persistence => "persistence",
            Self::Drift => "drift",
            Self::Average => "average",
            Self::Seasonal => "seasonal",
            Self::Linear => "linear",
        }
    }
}

impl Baselines {
    /// Persistence alone, for forecasts that look `horizon_steps` steps ahead; `None` for further
    /// than truths are waited for.
    pub fn new(truth: Truth, kind: TargetKind, horizon_steps: Option<u32>) -> Self {
        Self {
            truth,
            kind,
            horizon_steps: horizon_steps.map(|steps| steps as usize),
            against: BaselineKind::Persistence,
            has: BaselineKind::ALL.map(|kind| kind == BaselineKind::Persistence),
            drift: None,
            decay: None,
            lag: None,
            linear: None,
        }
    }

    /// The same with those that a bundle has.
    #[must_use]
    pub fn with(self, spec: &BaselineSpec) -> Self {
        let half_life = spec.average.map(|average| f64::from(average.half_life_steps));
        let lag = |period: usize| self.horizon_steps.map(|horizon| lag(period, horizon));
        Self {
            against: spec.against,
            has: spec.has(),
            drift: spec.drift,
            // Of the crate and not of the system, so that every machine has the same bits.
            decay: half_life.map(|steps| libm::exp2(-1.0 / steps)),
            lag: spec.seasonal.and_then(|seasonal| lag(seasonal.period_steps as usize)),
            linear: spec.linear.clone(),
            ..self
        }
    }

    /// The one that the model is compared with.
    pub const fn against(&self) -> BaselineKind {
        self.against
    }

    /// What truths are made of.
    pub const fn truth(&self) -> Truth {
        self.truth
    }

    /// Which of them there are, in the order of [`BaselineKind::ALL`].
    pub const fn has(&self) -> [bool; BASELINES] {
        self.has
    }

    /// How many of the newest rows of a window they read.
    pub fn rows(&self) -> usize {
        self.linear.as_ref().map_or(0, |linear| linear.rows as usize)
    }

    /// Forecasts with persistence in place of each that the bundle has and that is not there.
    pub fn complete(&self, forecasts: BaselineForecasts, persistence: f64) -> BaselineForecasts {
        let mut complete = forecasts;
        for (forecast, is_there) in complete.iter_mut().zip(self.has) {
            *forecast = if is_there { forecast.or(Some(persistence)) } else { None };
        }
        complete
    }

    /// What they forecast where nothing is remembered of the steps before but persistence.
    pub fn without_past(&self, persistence: f64, rows: [&[f32]; 2]) -> BaselineForecasts {
        self.forecasts(persistence, None, None, rows)
    }

    /// What all of them forecast where persistence and these others say so, with `rows` as the
    /// newest rows of the window, oldest first and in two pieces.
    fn forecasts(
        &self,
        persistence: f64,
        average: Option<f64>,
        seasonal: Option<f64>,
        rows: [&[f32]; 2],
    ) -> BaselineForecasts {
        let base = if self.kind == TargetKind::Level { persistence } else { 0.0 };
        let known = |value: Option<f64>| {
            Some(value.filter(|value| value.is_finite()).unwrap_or(persistence))
        };
        [
            Some(persistence),
            self.drift.and_then(|drift| known(Some(base + drift))),
            self.decay.and_then(|_| known(average)),
            self.lag.and_then(|_| known(seasonal)),
            self.linear
                .as_ref()
                .and_then(|linear| known(Some(self.possible(linear.predict(rows))))),
        ]
    }

    /// A line leaves the range of probabilities and sizes; its forecasts do not.
    fn possible(&self, value: f64) -> f64 {
        match self.kind {
            TargetKind::Probability => value.clamp(0.0, 1.0),
            TargetKind::Amount => value.max(0.0),
            TargetKind::Change | TargetKind::LogChange | TargetKind::Level => value,
        }
    }
}

/// How many truths before the newest one the truth lies that is the fewest whole periods earlier
/// than the one that is forecast: that one comes `horizon` steps after the newest.
const fn lag(period: usize, horizon: usize) -> usize {
    horizon.div_ceil(period) * period - horizon
}
