//! What forecasts were worth, told as soon as it can be: when the truth arrives.
//!
//! Owns the forecasts that wait for their truth, the score of each, and what adapts to scores: the
//! interval of each symbol, the mark of its drift, its verdict, and the counts of its signals.
//! Promises that every forecast is scored once or counted with the reason why not, that scores
//! depend on records alone, that skill and verdict are against the baseline that the bundle names,
//! and that no figure counts what the model was trained on. Never changes a value that is forecast;
//! never reads a clock.
//!
//! | module | owns |
//! |---|---|
//! | `measure` | error and direction: the definitions, for the trainer as well |
//! | `sums` | sums over scores, from which all figures follow |
//! | `symbol` | one symbol: what waits, its sums |
//! | `stretch` | how far its intervals are stretched |
//! | `quantiles` | the quantiles of one symbol: what waits, their losses, their stretches |
//! | `drift` | whether its errors have grown |
//! | `recent` | sums over the last scores |
//! | `unscored` | what is never scored, and why |
//! | `book` | all symbols of an engine |
//! | `rival` | the scores of the live model that a shadow is compared with |
//! | `before` | scores at rest as earlier versions stored them |

mod before;
mod book;
mod drift;
mod measure;
mod quantiles;
mod recent;
mod rival;
mod stretch;
mod sums;
mod symbol;
#[cfg(test)]
mod tests;
mod unscored;

use crate::core::baseline::{BaselineForecasts, BaselineKind, BaselineSpec, Baselines};
use crate::core::domain::{Quality, Quantiles, Signal, SymbolId, UnixNanos};
use crate::core::forecast::{ForecastPlan, Intervals, Margins, Truth};
use crate::core::signal::{SignalCounts, SignalPlan, SignalRule};
use crate::core::verdict::{LEVEL, LedgerRule, Verdict};

pub use self::before::ScoresBefore;
pub use self::book::{GroupSums, ScoreBook};
pub use self::measure::{direction_hit, error};
pub use self::quantiles::{QuantileSums, SymbolQuantiles, pinball};
pub use self::rival::RivalScore;
pub use self::sums::{SUMS_LENGTH, Sums};
pub use self::symbol::SymbolScores;
pub use self::unscored::{ScoreTally, Unscored};
pub use crate::core::domain::{Evidence, EvidenceRanges};
pub use crate::core::forecast::TargetKind;

use self::quantiles::LevelPlan;
use self::stretch::StretchRule;

/// The longest horizon, in steps, of which forecasts are kept until their truth: about 160 bytes
/// each for every symbol.
pub const HORIZON_STEPS_MAX: u32 = 1024;

/// How many scores the figures over the last scores are about.
pub const RECENT_SCORES: usize = 4096;

/// Everything that turns forecasts and truths into scores: shared and immutable.
#[derive(Clone, Debug, PartialEq)]
pub struct ScorePlan {
    /// What came true, and the simple forecasts beside it.
    baselines: Baselines,
    /// What the model was trained on.
    evidence: EvidenceRanges,
    kind: TargetKind,
    horizon_steps: u32,
    /// Where the margins of forecasts come from.
    pub intervals: Intervals,
    /// The bundle's margins.
    margins: Margins,
    /// Whether intervals are the model's own, which nothing stretches.
    keeps_ends: bool,
    rule: StretchRule,
    /// The place of the output that is scored among those of the model.
    output: u8,
    /// The levels of its quantiles.
    levels: LevelPlan,
    /// How the evidence of better and worse is read.
    verdict: LedgerRule,
    /// When a value is a signal.
    signals: SignalPlan,
}

/// A forecast beside its truth; its model is known from the context. Values are in the target's
/// unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Which symbol.
    pub symbol: SymbolId,
    /// That of the forecast.
    pub as_of: UnixNanos,
    /// The instant that the forecast spoke of.
    pub target_time: UnixNanos,
    /// Event time of the step that was the truth.
    pub truth_time: UnixNanos,
    /// What was forecast.
    pub value: f64,
    /// What came true; 0 or 1 where a probability was forecast.
    pub truth: f64,
    /// The forecast of the baseline that the model is compared with.
    pub baseline: f64,
    /// Which one that is.
    pub against: BaselineKind,
    /// The forecasts of all baselines of the bundle.
    pub baselines: BaselineForecasts,
    /// Lower end of the forecast's interval.
    pub lower: f64,
    /// Upper end of the forecast's interval.
    pub upper: f64,
    /// Whether the forecast told the direction; `None` where the truth had none.
    pub direction_hit: Option<bool>,
    /// How whole the window behind the forecast was.
    pub quality: Quality,
    /// Whether an input of the window lay outside the training range.
    pub out_of_range: bool,
    /// Whether the model was trained on the time of the forecast.
    pub evidence: Evidence,
    /// The symbol's skill over its last scores that count, this one included if it does.
    pub skill: Option<f64>,
    /// The share of the symbol's last intervals that held their truth, this one included and
    /// weighted as the skill is.
    pub held: Option<f64>,
    /// Whether the symbol's errors are larger than they were.
    pub drift: bool,
    /// Whether the symbol's inputs before the truth were shifted; `None` where that is not judged.
    pub shifted: Option<bool>,
    /// What the symbol's scores have come to, this one included.
    pub verdict: Verdict,
    /// The same against the live model of its seat, for a shadow that is compared with it.
    pub rival: Option<Verdict>,
    /// The signal of the forecast.
    pub signal: Signal,
    /// How the symbol's signals did over its scores that count, this one included if it does.
    pub signals: SignalCounts,
    /// The place of its output among those of the model; 0 for the first and for a model of one.
    pub output: u8,
    /// The quantiles of the forecast by the levels of the output; none for an output without.
    pub quantiles: Quantiles,
    /// What the symbol's quantiles have come to, these included if the score counts.
    pub quantile_sums: QuantileSums,
}

impl ScorePlan {
    /// The plan for forecasts of `forecast`, `horizon_steps` steps ahead, with adaptive intervals,
    /// persistence as the only baseline, and nothing known of the training.
    pub fn new(truth: Truth, horizon_steps: u32, forecast: &ForecastPlan) -> Self {
        let kind = TargetKind::of(forecast.target());
        let kept = Some(horizon_steps).filter(|steps| *steps <= HORIZON_STEPS_MAX);
        Self {
            baselines: Baselines::new(truth, kind, kept),
            evidence: EvidenceRanges::UNKNOWN,
            kind,
            horizon_steps,
            intervals: Intervals::Adaptive,
            margins: forecast.margins(),
            keeps_ends: forecast.keeps_ends(),
            rule: StretchRule::new(forecast.coverage(), horizon_steps),
            output: 0,
            levels: LevelPlan::default(),
            verdict: LedgerRule::new(horizon_steps, LEVEL),
            signals: SignalPlan::new(forecast.thresholds(), kind),
        }
    }

    /// The same with the baselines of a bundle.
    #[must_use]
    pub fn with_baselines(mut self, spec: &BaselineSpec) -> Self {
        self.baselines = self.baselines.with(spec);
        self
    }

    /// The same with what is known of the training.
    #[must_use]
    pub fn with_evidence(self, evidence: EvidenceRanges) -> Self {
        Self { evidence, ..self }
    }

    /// The same for the output at this place, whose quantiles have these levels.
    #[must_use]
    pub fn with_output(self, output: u8, levels: &[f64]) -> Self {
        Self { output, levels: LevelPlan::new(levels, self.horizon_steps), ..self }
    }

    /// The same for values of another origin, whose intervals are made of margins alone. Margins
    /// that are shares of the distance of quantiles are none then.
    #[must_use]
    pub fn without_ends(self) -> Self {
        let has_levels = !self.levels.levels.is_empty();
        let margins = if has_levels { Margins { lower: 0.0, upper: 0.0 } } else { self.margins };
        Self { margins, keeps_ends: false, levels: LevelPlan::default(), ..self }
    }

    /// The levels of the quantiles.
    pub fn levels(&self) -> &[f64] {
        &self.levels.levels
    }

    /// How many steps ahead the forecasts look.
    pub const fn horizon_steps(&self) -> u32 {
        self.horizon_steps
    }

    /// What is known of the training.
    pub const fn evidence(&self) -> EvidenceRanges {
        self.evidence
    }

    /// The same with an operator's rule for signals.
    #[must_use]
    pub fn with_signals(self, rule: SignalRule) -> Self {
        Self { signals: self.signals.with_rule(rule), ..self }
    }

    /// When a value is a signal.
    pub const fn signals(&self) -> &SignalPlan {
        &self.signals
    }

    /// The baselines.
    pub const fn baselines(&self) -> &Baselines {
        &self.baselines
    }

    /// The baseline that skill and verdicts are against.
    pub const fn against(&self) -> BaselineKind {
        self.baselines.against()
    }

    /// Whether forecasts of this horizon are kept for their truth.
    const fn keeps(&self) -> bool {
        self.horizon_steps <= HORIZON_STEPS_MAX
    }

    /// Whether margins are stretched.
    fn adapts(&self) -> bool {
        self.intervals == Intervals::Adaptive && !self.keeps_ends
    }

    /// How many steps are kept of a symbol.
    pub const fn kept_steps(&self) -> usize {
        if self.keeps() { self.horizon_steps as usize } else { 0 }
    }

    /// The bundle's margins `factor` times. A bundle may have none on a side; what is stretched
    /// then is the other one, or 1 where there is none at all.
    fn stretched(&self, factor: f64) -> Margins {
        let Margins { lower, upper } = self.margins;
        let (lower, upper) = match (lower < 0.0, upper > 0.0) {
            (true, true) => (lower, upper),
            (true, false) => (lower, -lower),
            (false, true) => (-upper, upper),
            (false, false) => (-1.0, 1.0),
        };
        Margins { lower: factor * lower, upper: factor * upper }
    }
}

impl Score {
    /// `truth - value`.
    pub const fn error(&self) -> f64 {
        error(self.value, self.truth)
    }

    /// That of the baseline.
    pub const fn baseline_error(&self) -> f64 {
        error(self.baseline, self.truth)
    }

    /// `loss(baseline) - loss(model)`, where the loss is the squared error: above zero where the
    /// model was better.
    pub const fn loss_difference(&self) -> f64 {
        self.loss_below(self.baseline_error())
    }

    /// The loss of another forecast of the same truth, by its error, minus that of this one.
    const fn loss_below(&self, other: f64) -> f64 {
        let error = self.error();
        other * other - error * error
    }

    /// Where the direction of the truth is seen from.
    pub fn origin(&self, kind: TargetKind) -> f64 {
        kind.origin(self.baselines[BaselineKind::Persistence as usize].unwrap_or(self.baseline))
    }

    /// Whether the interval held the truth, ends included.
    pub fn covered(&self) -> bool {
        (self.lower..=self.upper).contains(&self.truth)
    }
}
