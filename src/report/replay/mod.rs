//! The report of a replay: what a model's forecasts were worth on recorded data.
//!
//! Owns what is accumulated while the replay streams, the figures that follow from it
//! ([`Summary`]), and the page. Promises bounded memory: it keeps a bounded number of times,
//! samples and bins, and a fixed amount for each symbol, never all scores. Promises the same page
//! for the same forecasts and scores. Never changes a forecast or a score, and never trades.
//!
//! Feed it every forecast with [`ReplayReport::forecast`] before the score of that forecast comes
//! to [`ReplayReport::score`]; scores of a symbol come in the order of time.

use super::*;

/// The report of one model.
#[derive(Clone, Debug)]
pub struct ReplayReport {}

impl ReplayReport {
    /// Nothing has come yet.
    pub fn new(subject: Subject, options: PaperOptions) -> Self;

    /// Takes a forecast of a symbol, whose score may come later.
    pub fn forecast(&mut self, symbol: &str, forecast: &Forecast);

    /// Takes the next score of a symbol.
    pub fn score(&mut self, symbol: &str, score: &Score);

    /// The figures so far.
    pub fn summary(&self) -> Summary;

    /// The page of this model alone.
    pub fn html(&self) -> String;
}

/// One page with a section for each model.
pub fn pages(reports: &[ReplayReport]) -> String;

/// What a replay has come to.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// How many forecasts came.
    pub forecasts: u64,
    /// How many symbols.
    pub symbols: usize,
    /// The first and the last time of a forecast that was scored.
    pub span: Option<[UnixNanos; 2]>,
    /// Scores by evidence, in the order of [`Evidence::ALL`].
    pub scores: [u64; 4],
    /// Skill against the baseline over scores that count.
    pub skill: Option<f64>,
    /// Skill against each baseline, in the order of [`BaselineKind::ALL`].
    pub skills: [Option<f64>; BASELINES],
    /// All symbols as one series against the baseline; of one symbol its own verdict.
    pub verdict: Verdict,
    /// The share of intervals that held their truth.
    pub coverage: Option<f64>,
    /// The share of right directions.
    pub direction_hits: Option<f64>,
    /// How the signals did.
    pub signals: SignalCounts,
    /// The paper account of the model, then that of buy-and-hold, then those of the baselines;
    /// empty where there is none.
    pub paper: Vec<PaperFigures>,
}
