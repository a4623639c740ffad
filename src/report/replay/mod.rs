//! The report of a replay: what a model's forecasts were worth on recorded data.
//!
//! ```text
//! forecasts, scores ─> ReplayReport ─> Summary ─┬─> words
//!                       bins, sample,           └─> sections ─> one page
//!                       calibration, paper ─> bootstrap
//! ```
//!
//! Owns what is accumulated while the replay streams, the figures that follow from it
//! ([`Summary`]), and the page. Promises bounded memory: a bounded number of times, samples and
//! bins, and a fixed amount for each symbol and each step of the horizon, never all scores.
//! Promises the same page for the same forecasts and scores. Never changes a forecast or a score,
//! and never trades.
//!
//! Feed it every forecast with [`ReplayReport::forecast`] before the score of that forecast comes
//! to [`ReplayReport::score`]. Forecasts and scores of a symbol come in the order of time.

mod bins;
mod bootstrap;
mod calibration;
mod outputs;
mod paper;
mod plots;
mod sample;
mod sections;
mod subject;
mod summary;
#[cfg(test)]
mod tests;
mod words;

use std::collections::{BTreeMap, VecDeque};

use self::bins::TimeBins;
use self::calibration::Distances;
use self::outputs::OutputReport;
use self::paper::{Account, Paper};
use self::sample::{Reservoir, Thinned};
use crate::core::domain::{Evidence, Forecast, UnixNanos};
use crate::core::forecast::{Target, TargetKind};
use crate::core::score::{Score, Sums};
use crate::core::signal::SignalCounts;
use crate::core::verdict::{LEVEL, LedgerRule, Steps, Verdict, VerdictPath};
use crate::report::page::Page;
use crate::seal::judge::evaluate::CALIBRATION_BINS;
use crate::seal::judge::statistics::probability::Reliability;

pub use self::outputs::{OutputFigures, QuantileFigures};
pub use self::paper::PaperFigures;
pub use self::subject::{HoldRule, PaperOptions, SellRule, Subject, SubjectOutput};
pub use self::summary::{EvidenceFigures, NoPaper, Summary, SymbolFigures};

/// The most times of which the comparison over all symbols keeps the scores apart.
const VERDICT_TIMES_MAX: usize = 1 << 18;
/// The most bins of skill and coverage over time.
const TIMES_MAX: usize = 1024;
/// Scores of each kind of evidence that are drawn for the plot of forecasts and truths.
const SAMPLE_MAX: usize = 1000;
/// Scores of one symbol in the plot over time.
const TRACK_MAX: usize = 1000;

/// The report of one model.
#[derive(Clone, Debug)]
pub struct ReplayReport {
    subject: Subject,
    options: PaperOptions,
    kind: TargetKind,
    forecasts: u64,
    symbols: BTreeMap<String, SymbolReport>,
    /// By evidence, in the order of [`Evidence::ALL`].
    parts: [Part; 4],
    span: Option<[UnixNanos; 2]>,
    /// Scores that count, over time.
    times: TimeBins<Sums>,
    /// The same as one series over all symbols.
    steps: Steps,
    /// The verdict of the first symbol over time.
    path: VerdictPath,
    distances: Distances,
    reliability: Reliability,
    /// The first symbol that was scored, and its scores over time.
    track: Option<(String, Thinned<Moment>)>,
    paper: Paper,
    /// The outputs of a model that lists them, the first one first.
    outputs: Vec<OutputReport>,
}

/// What is kept of one symbol.
#[derive(Clone, Debug, Default)]
struct SymbolReport {
    /// Its forecasts that may still be scored, oldest first.
    waiting: VecDeque<Waiting>,
    account: Account,
    /// Scores that count.
    sums: Sums,
    /// What they came to.
    verdict: Verdict,
    has_account: bool,
}

/// A forecast whose score may come.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    as_of: UnixNanos,
    price: Option<f64>,
}

/// What is kept of the scores of one kind of evidence.
#[derive(Clone, Debug)]
struct Part {
    scores: u64,
    sums: Sums,
    signals: SignalCounts,
    /// Forecasts and truths.
    sample: Reservoir<(f64, f64)>,
}

/// A score in the plot over time.
#[derive(Clone, Copy, Debug)]
struct Moment {
    time: UnixNanos,
    value: f64,
    truth: f64,
    lower: f64,
    upper: f64,
}

impl Moment {
    fn of(score: &Score) -> Self {
        let Score { target_time: time, value, truth, lower, upper, .. } = *score;
        Self { time, value, truth, lower, upper }
    }
}

impl ReplayReport {
    /// Nothing has come yet.
    pub fn new(subject: Subject, options: PaperOptions) -> Self {
        let kind = TargetKind::of(&subject.target);
        let rule = LedgerRule::new(subject.horizon_steps, LEVEL);
        let part = || Part {
            scores: 0,
            sums: Sums::default(),
            signals: SignalCounts::default(),
            sample: Reservoir::new(SAMPLE_MAX, options.seed),
        };
        Self {
            kind,
            forecasts: 0,
            symbols: BTreeMap::new(),
            parts: std::array::from_fn(|_| part()),
            span: None,
            times: TimeBins::new(TIMES_MAX),
            steps: Steps::bounded(rule, VERDICT_TIMES_MAX),
            path: VerdictPath::default(),
            distances: Distances::default(),
            reliability: Reliability::new(CALIBRATION_BINS),
            track: None,
            paper: Paper::new(options),
            outputs: subject.outputs.iter().map(OutputReport::new).collect(),
            subject,
            options,
        }
    }

    /// The model.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Takes a forecast of a symbol, whose score may come later.
    pub fn forecast(&mut self, symbol: &str, forecast: &Forecast) {
        // Of an output behind the first the scores alone matter.
        if forecast.output > 0 {
            return;
        }
        self.expect(symbol, forecast.as_of, forecast.last_price);
    }

    /// As [`ReplayReport::forecast`], of a forecast at this time, with the newest price behind it.
    pub fn expect(&mut self, symbol: &str, as_of: UnixNanos, price: Option<f64>) {
        self.forecasts += 1;
        let kept_max = self.subject.horizon_steps as usize + 1;
        let waiting = &mut self.symbol(symbol).waiting;
        // One that is not scored once the next ones are was not scored at all.
        if waiting.len() >= kept_max {
            waiting.pop_front();
        }
        waiting.push_back(Waiting { as_of, price });
    }

    /// Takes the next score of a symbol.
    pub fn score(&mut self, symbol: &str, score: &Score) {
        if let Some(output) = self.outputs.get_mut(usize::from(score.output)) {
            output.note(symbol, score);
        }
        if score.output > 0 {
            return;
        }
        let price = self.price(symbol, score.as_of);
        let [first, last] = self.span.unwrap_or([score.as_of; 2]);
        self.span = Some([first.min(score.as_of), last.max(score.as_of)]);
        let sums = Sums::of(score);
        let part = &mut self.parts[score.evidence as usize];
        part.scores += 1;
        part.sums += sums;
        part.sample.push((score.value, score.truth));
        let (plan, origin) = (self.subject.signals, score.origin(self.kind));
        part.signals.note(plan.thresholds(), score.signal, score.truth, origin);
        if self.track.is_none() {
            self.track = Some((symbol.to_owned(), Thinned::new(TRACK_MAX)));
        }
        let is_tracked = self.track.as_ref().is_some_and(|(tracked, _)| tracked == symbol);
        if let Some((_, track)) = self.track.as_mut().filter(|_| is_tracked) {
            track.push(Moment::of(score));
        }
        let at = (score.as_of, price);
        let Some(known) = self.symbols.get_mut(symbol) else { return };
        if !score.evidence.counts() {
            self.paper.close(&mut known.account, at.0, at.1);
            return;
        }
        known.sums += sums;
        if has_paper(&self.subject.target) {
            let baselines = &score.baselines;
            self.paper.take(&mut known.account, &plan, at, score.signal, baselines);
            known.has_account |= price.is_some();
        }
        if is_tracked && score.verdict.mean_difference != known.verdict.mean_difference {
            self.path.push(score.truth_time, score.verdict);
        }
        known.verdict = score.verdict;
        self.times.add(score.as_of, sums, |sum, more| *sum += more);
        self.steps.take(symbol, score.loss_difference(), score.truth_time);
        match self.kind {
            TargetKind::Probability => self.reliability.note(score.value, score.truth),
            _ => self.distances.note(score.value, [score.lower, score.upper], score.truth),
        }
    }

    /// The figures so far.
    pub fn summary(&self) -> Summary {
        summary::of(self)
    }

    /// The page of this model alone.
    pub fn html(&self) -> String {
        pages(std::slice::from_ref(self))
    }

    fn symbol(&mut self, symbol: &str) -> &mut SymbolReport {
        if !self.symbols.contains_key(symbol) {
            self.symbols.insert(symbol.to_owned(), SymbolReport::default());
        }
        self.symbols.get_mut(symbol).expect("it was put in where it was not there")
    }

    /// The price at a forecast, which waits no longer.
    fn price(&mut self, symbol: &str, as_of: UnixNanos) -> Option<f64> {
        let waiting = &mut self.symbol(symbol).waiting;
        while waiting.front().is_some_and(|waiting| waiting.as_of < as_of) {
            waiting.pop_front();
        }
        let is_it = waiting.front().is_some_and(|waiting| waiting.as_of == as_of);
        if is_it { waiting.pop_front().and_then(|waiting| waiting.price) } else { None }
    }
}

/// Whether a position on a forecast of this target means anything.
fn has_paper(target: &Target) -> bool {
    match target {
        Target::NextReturn | Target::NextLogReturn | Target::NextDirection => true,
        Target::NextVolatility | Target::NextValue { .. } | Target::NextEvent { .. } => false,
    }
}

/// One page with a section for each model.
pub fn pages(reports: &[ReplayReport]) -> String {
    let title = match reports {
        [report] => format!("{} {}", report.subject.model, report.subject.version),
        reports => format!("Replay of {} models", reports.len()),
    };
    let mut page = Page::new(&title);
    let id = |at: usize| format!("model-{}", at + 1);
    let several = reports.len() > 1;
    if several {
        let link = |(at, report): (usize, &ReplayReport)| {
            (id(at), words::headline(report, &report.summary()))
        };
        page.contents(&reports.iter().enumerate().map(link).collect::<Vec<_>>());
    }
    for (at, report) in reports.iter().enumerate() {
        if several {
            let Subject { model, version, .. } = &report.subject;
            page.subject(&id(at), &format!("{model} {version}"));
        }
        sections::write(report, &mut page);
    }
    page.finish()
}

/// The figures of several models as JSON.
///
/// # Errors
/// Where a figure cannot be written, which no figure is.
pub fn figures(reports: &[ReplayReport]) -> serde_json::Result<String> {
    let summaries: Vec<Summary> = reports.iter().map(ReplayReport::summary).collect();
    serde_json::to_string_pretty(&summaries).map(|text| text + "\n")
}

/// The evidence that counts, and whose it is.
const COUNTED: [Evidence; 2] = [Evidence::Unseen, Evidence::Unknown];
