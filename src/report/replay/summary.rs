//! What a replay has come to, in figures.
//!
//! Owns the figures and how they follow from what was accumulated. Never says them in words.

use serde::Serialize;

use super::outputs::{OutputFigures, OutputReport};
use super::paper::PaperFigures;
use super::{COUNTED, ReplayReport, SymbolReport, has_paper};
use crate::core::baseline::{BASELINES, BaselineKind};
use crate::core::domain::{Evidence, UnixNanos};
use crate::core::score::Sums;
use crate::core::signal::SignalCounts;
use crate::core::verdict::{LEVEL, LedgerRule, Verdict};

/// Days over which the open ones are counted: four years.
const CALENDAR_DAYS: i64 = 1461;
/// Symbols that are listed, those with most scores.
const SYMBOLS_MAX: usize = 20;

/// What a replay has come to. Figures count scores of evidence `unseen` and `unknown`, except
/// `parts`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The model's name.
    pub model: String,
    /// Its version.
    pub version: String,
    /// The baseline that skill and verdict are against.
    pub against: BaselineKind,
    /// How many forecasts came.
    pub forecasts: u64,
    /// How many symbols.
    pub symbols: usize,
    /// The first and the last time of a forecast that was scored.
    pub span: Option<[UnixNanos; 2]>,
    /// Scores by evidence, in the order of [`Evidence::ALL`].
    pub scores: [u64; 4],
    /// The figures of each kind of evidence that there is.
    pub parts: Vec<EvidenceFigures>,
    /// Skill against the baseline.
    pub skill: Option<f64>,
    /// Skill against each baseline, in the order of [`BaselineKind::ALL`].
    pub skills: [Option<f64>; BASELINES],
    /// All symbols as one series against the baseline; of one symbol its own verdict.
    pub verdict: Verdict,
    /// Scores that came too late to be part of that series.
    pub late: u64,
    /// Mean absolute error, in the target's unit.
    pub mean_absolute_error: Option<f64>,
    /// The share of intervals that held their truth.
    pub coverage: Option<f64>,
    /// The share that they are made to hold.
    pub coverage_target: f64,
    /// The share of right directions.
    pub direction_hits: Option<f64>,
    /// How the signals did.
    pub signals: SignalCounts,
    /// The symbols with most scores.
    pub by_symbol: Vec<SymbolFigures>,
    /// The paper account of the model, of buy-and-hold and of the baselines; empty where there is
    /// none.
    pub paper: Vec<PaperFigures>,
    /// Why there is no paper account.
    pub no_paper: Option<NoPaper>,
    /// Scored forecasts without a price, which no position follows from.
    pub unpriced: u64,
    /// Each output of a model that lists them, the first one first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<OutputFigures>,
}

/// The figures of one kind of evidence.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EvidenceFigures {
    /// Which one.
    pub evidence: Evidence,
    /// How many scores.
    pub scores: u64,
    /// Mean absolute error, in the target's unit.
    pub mean_absolute_error: Option<f64>,
    /// That of the baseline.
    pub baseline_mean_absolute_error: Option<f64>,
    /// Skill against the baseline.
    pub skill: Option<f64>,
    /// The share of right directions.
    pub direction_hits: Option<f64>,
    /// The share of intervals that held their truth.
    pub coverage: Option<f64>,
    /// How the signals did.
    pub signals: SignalCounts,
}

/// The figures of one symbol.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SymbolFigures {
    /// Its name.
    pub symbol: String,
    /// How many of its scores count.
    pub scores: u64,
    /// Skill against the baseline.
    pub skill: Option<f64>,
    /// The share of right directions.
    pub direction_hits: Option<f64>,
    /// The share of intervals that held their truth.
    pub coverage: Option<f64>,
    /// Its own verdict.
    pub verdict: Verdict,
}

/// Why there is no paper account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NoPaper {
    /// The target is no change of a price.
    Target,
    /// The forecasts have no price.
    Price,
    /// Fewer than two scored forecasts of a symbol count.
    Scores,
}

/// The summary of a report.
pub(super) fn of(report: &ReplayReport) -> Summary {
    let ReplayReport { subject, parts, span, steps, .. } = report;
    let counted = |evidence: &Evidence| &parts[*evidence as usize];
    let sums: Sums = COUNTED.iter().map(|evidence| counted(evidence).sums).sum();
    let signals = COUNTED.iter().map(|evidence| counted(evidence).signals).sum();
    let rule = LedgerRule::new(subject.horizon_steps, LEVEL);
    let scored = || report.symbols.iter().filter(|(_, symbol)| symbol.sums.weight > 0.0);
    let verdict = match scored().count() {
        1 => scored().next().map_or_else(Verdict::default, |(_, symbol)| symbol.verdict),
        _ => steps.verdict(&rule),
    };
    let (paper, no_paper) = paper(report, sums.weight > 0.0);
    let part = |evidence: Evidence| {
        let part = &parts[evidence as usize];
        (part.scores > 0).then(|| EvidenceFigures {
            evidence,
            scores: part.scores,
            mean_absolute_error: part.sums.mean_absolute_error(),
            baseline_mean_absolute_error: part.sums.baseline_mean_absolute_error(),
            skill: part.sums.skill(),
            direction_hits: part.sums.direction_hits(),
            coverage: part.sums.coverage(),
            signals: part.signals,
        })
    };
    Summary {
        model: subject.model.clone(),
        version: subject.version.clone(),
        against: subject.against,
        forecasts: report.forecasts,
        symbols: report.symbols.len(),
        span: *span,
        scores: parts.each_ref().map(|part| part.scores),
        parts: Evidence::ALL.into_iter().filter_map(part).collect(),
        skill: sums.skill(),
        skills: BaselineKind::ALL.map(|baseline| sums.skill_against(baseline)),
        verdict,
        late: steps.late(),
        mean_absolute_error: sums.mean_absolute_error(),
        coverage: sums.coverage(),
        coverage_target: subject.coverage,
        direction_hits: sums.direction_hits(),
        signals,
        by_symbol: by_symbol(scored()),
        paper,
        no_paper,
        unpriced: report.paper.unpriced(),
        outputs: report.outputs.iter().map(OutputReport::figures).collect(),
    }
}

fn by_symbol<'r>(
    symbols: impl Iterator<Item = (&'r String, &'r SymbolReport)>,
) -> Vec<SymbolFigures> {
    let figures = |(name, symbol): (&String, &SymbolReport)| SymbolFigures {
        symbol: name.clone(),
        // A sum of ones.
        scores: symbol.sums.weight as u64,
        skill: symbol.sums.skill(),
        direction_hits: symbol.sums.direction_hits(),
        coverage: symbol.sums.coverage(),
        verdict: symbol.verdict,
    };
    let mut figures: Vec<_> = symbols.map(figures).collect();
    figures.sort_by(|one, other| {
        other.scores.cmp(&one.scores).then_with(|| one.symbol.cmp(&other.symbol))
    });
    figures.truncate(SYMBOLS_MAX);
    figures
}

fn paper(report: &ReplayReport, has_scores: bool) -> (Vec<PaperFigures>, Option<NoPaper>) {
    if !has_paper(&report.subject.target) {
        return (Vec::new(), Some(NoPaper::Target));
    }
    let mut paper = report.paper.clone();
    report.symbols.values().for_each(|symbol| paper.settle(&symbol.account));
    let accounts = accounts(report);
    let years = steps_per_year(report);
    let figures = paper.figures(accounts, report.subject.horizon_steps, years);
    if !figures.is_empty() {
        return (figures, None);
    }
    let is_unpriced = has_scores && accounts == 0;
    (figures, Some(if is_unpriced { NoPaper::Price } else { NoPaper::Scores }))
}

/// Symbols that have ever had a position.
pub(super) fn accounts(report: &ReplayReport) -> usize {
    report.symbols.values().filter(|symbol| symbol.has_account).count()
}

/// How many steps a year has, where the calendar says so.
fn steps_per_year(report: &ReplayReport) -> Option<f64> {
    let (calendar, [first, _]) = (report.subject.calendar.as_ref()?, report.span?);
    let day = calendar.day_of_step(first);
    let open = (day..day + CALENDAR_DAYS).filter(|day| calendar.is_open(*day)).count();
    Some(open as f64 / (CALENDAR_DAYS as f64 / 365.25))
}
