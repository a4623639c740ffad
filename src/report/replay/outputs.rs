//! The outputs of a model that lists several horizons or quantiles.
//!
//! Owns what is kept of each output, its figures, its tables and its plots. Promises bounded
//! memory and that figures count scores of evidence `unseen` and `unknown` alone. Never scores.

use serde::Serialize;

use super::plots::track_of;
use super::sample::Thinned;
use super::subject::SubjectOutput;
use super::{Moment, ReplayReport, TRACK_MAX};
use crate::core::score::{QuantileSums, Score, Sums};
use crate::report::page::{Figure, Page};
use crate::report::svg::{Axis, Look, Plot, Unit};
use crate::report::table::{Table, heads, row};
use crate::report::text::{count, in_unit, percent};

/// What is kept of one output.
#[derive(Clone, Debug)]
pub(super) struct OutputReport {
    output: SubjectOutput,
    scores: u64,
    sums: Sums,
    quantiles: QuantileSums,
    /// The first symbol that was scored, and its scores over time.
    track: Option<(String, Thinned<Moment>)>,
}

/// The figures of one output.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OutputFigures {
    /// How many steps ahead it looks.
    pub horizon_steps: u32,
    /// How many of its scores count.
    pub scores: u64,
    /// Mean absolute error, in the target's unit.
    pub mean_absolute_error: Option<f64>,
    /// Skill against the baseline.
    pub skill: Option<f64>,
    /// The share of intervals that held their truth.
    pub coverage: Option<f64>,
    /// The share that they are made to hold.
    pub coverage_target: f64,
    /// Its quantiles.
    pub quantiles: Vec<QuantileFigures>,
}

/// The figures of the quantile of one level.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct QuantileFigures {
    /// The level.
    pub level: f64,
    /// The share of truths at or below the quantile.
    pub coverage: Option<f64>,
    /// The mean pinball loss, in the target's unit.
    pub mean_loss: Option<f64>,
}

impl OutputReport {
    pub(super) fn new(output: &SubjectOutput) -> Self {
        Self {
            output: output.clone(),
            scores: 0,
            sums: Sums::default(),
            quantiles: QuantileSums::default(),
            track: None,
        }
    }

    /// Takes the next score of the output.
    pub(super) fn note(&mut self, symbol: &str, score: &Score) {
        if self.track.is_none() {
            self.track = Some((symbol.to_owned(), Thinned::new(TRACK_MAX)));
        }
        if let Some((tracked, track)) = &mut self.track
            && tracked == symbol
        {
            track.push(Moment::of(score));
        }
        if !score.evidence.counts() {
            return;
        }
        self.scores += 1;
        self.sums += Sums::of(score);
        let levels = &self.output.levels;
        self.quantiles += QuantileSums::of(levels, &score.quantiles, score.truth);
    }

    pub(super) fn figures(&self) -> OutputFigures {
        let Self { output, scores, sums, quantiles, .. } = self;
        let quantile = |(at, level): (usize, &f64)| QuantileFigures {
            level: *level,
            coverage: quantiles.coverage(at),
            mean_loss: quantiles.mean_loss(at),
        };
        OutputFigures {
            horizon_steps: output.horizon_steps,
            scores: *scores,
            mean_absolute_error: sums.mean_absolute_error(),
            skill: sums.skill(),
            coverage: sums.coverage(),
            coverage_target: output.coverage,
            quantiles: output.levels.iter().enumerate().map(quantile).collect(),
        }
    }
}

/// Writes the part of the page; nothing for a model that lists no outputs.
pub(super) fn write(report: &ReplayReport, figures: &[OutputFigures], page: &mut Page) {
    if figures.is_empty() {
        return;
    }
    page.heading("Horizons and quantiles");
    page.table(&horizons(report, figures));
    page.note(
        "Each horizon is scored by itself: against its own baseline, with its own interval. The \
         first one is what the rest of this page is about.",
    );
    if figures.iter().any(|figures| !figures.quantiles.is_empty()) {
        page.table(&quantiles(report, figures));
        page.note(
            "A quantile holds what it promises where the share of truths at or below it is its \
             level. The pinball loss is smallest at the true quantile; losses of one level can be \
             compared between models.",
        );
        page.figure(&calibration(figures));
    }
    for (output, figures) in report.outputs.iter().zip(figures).skip(1) {
        if let Some((symbol, track)) = &output.track {
            let ahead = steps(figures.horizon_steps);
            let title = format!("{symbol}: forecasts and truths over time, {ahead} ahead");
            let name = format!("track-{}", figures.horizon_steps);
            page.figure(&track_of(report, (symbol, track), &title, &name));
        }
    }
}

fn horizons(report: &ReplayReport, figures: &[OutputFigures]) -> Table {
    let head = ["horizon", "scores", "mean abs. error", "skill", "interval held", "asked for"];
    let known = |value: Option<f64>, show: &dyn Fn(f64) -> String| value.map_or_else(none, show);
    let of_output = |figures: &OutputFigures| {
        row([
            steps(figures.horizon_steps),
            count(figures.scores),
            known(figures.mean_absolute_error, &|error| in_unit(report.kind, error)),
            known(figures.skill, &|skill| format!("{skill:+.4}")),
            known(figures.coverage, &|held| percent(held, 1)),
            percent(figures.coverage_target, 0),
        ])
    };
    [heads(&head)].into_iter().chain(figures.iter().map(of_output)).collect()
}

fn quantiles(report: &ReplayReport, figures: &[OutputFigures]) -> Table {
    let mut table: Table = vec![heads(&["horizon", "level", "at or below", "mean pinball loss"])];
    for output in figures {
        for quantile in &output.quantiles {
            let held = quantile.coverage.map_or_else(none, |share| percent(share, 1));
            let loss = quantile.mean_loss.map_or_else(none, |loss| in_unit(report.kind, loss));
            table.push(row([steps(output.horizon_steps), quantile.level.to_string(), held, loss]));
        }
    }
    table
}

/// The share of truths at or below each quantile, by its level.
fn calibration(figures: &[OutputFigures]) -> Figure {
    let axis = |label: &str| Axis::between(label, Unit::Percent, 0.0, 1.0);
    let plot = Plot::new("Truths at or below a quantile", axis("level"), axis("share of truths"));
    let mut plot = plot.line(Look::Guide, "share = level", vec![(0.0, 0.0), (1.0, 1.0)]);
    for (at, output) in figures.iter().enumerate() {
        let shares = output.quantiles.iter();
        let shares = shares.filter_map(|quantile| Some((quantile.level, quantile.coverage?)));
        let look = if at == 0 { Look::Model } else { Look::Other };
        let legend = format!("{} ahead", steps(output.horizon_steps));
        plot = plot.dots(look, &legend, shares.collect());
    }
    let caption = "Each dot is a level of one horizon. Above the dashed line the quantile was too \
                   high, below it too low."
        .to_owned();
    Figure { name: "quantiles".to_owned(), plot, caption, table: Table::new() }
}

fn steps(horizon_steps: u32) -> String {
    match horizon_steps {
        1 => "1 step".to_owned(),
        steps => format!("{steps} steps"),
    }
}

fn none() -> String {
    "–".to_owned()
}
