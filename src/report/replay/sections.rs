//! The parts of the page about one model.
//!
//! Owns their order, their tables and the words below them. Never computes a figure that the
//! summary has.

use super::paper::PaperFigures;
use super::subject::{HoldRule, PaperOptions, SellRule};
use super::summary::{EvidenceFigures, NoPaper, Summary, SymbolFigures};
use super::{ReplayReport, outputs, plots, words};
use crate::core::baseline::BaselineKind;
use crate::core::forecast::TargetKind;
use crate::core::signal::{SideCounts, SignalCounts};
use crate::core::verdict::Verdict;
use crate::report::page::Page;
use crate::report::table::{Cell, Table, heads, row};
use crate::report::text::{count, in_unit, percent};

/// In the place of a figure that there is not.
const NONE: &str = "–";
/// Interval widths for which the share of truths is shown.
const FACTORS: [f64; 6] = [0.5, 0.8, 1.0, 1.2, 1.5, 2.0];
/// A fraction of 1 in basis points.
const BASIS_POINTS: f64 = 10_000.0;

/// Writes all parts.
pub(super) fn write(report: &ReplayReport, page: &mut Page) {
    let summary = report.summary();
    page.headline(&words::headline(report, &summary));
    page.verdict(&words::lead(&summary));
    forecasts(report, &summary, page);
    if words::has_evidence(&summary) {
        verdict(report, &summary, page);
        coverage(report, &summary, page);
        outputs::write(report, &summary.outputs, page);
        signals(report, &summary, page);
        paper(report, &summary, page);
    }
    page.heading("In words");
    page.paragraph(&words::paragraph(report, &summary));
    page.heading("How it was made");
    page.facts(&facts(report, &summary));
}

fn forecasts(report: &ReplayReport, summary: &Summary, page: &mut Page) {
    page.heading("Forecasts against truth");
    if summary.parts.is_empty() {
        page.paragraph("No forecast was scored: the recording ends before the first truth.");
        return;
    }
    let kind = report.kind;
    let head = ["evidence", "scores", "mean abs. error", "baseline's", "skill", "direction right"];
    let head = [&head[..], &["interval held"]].concat();
    let figures = |part: &EvidenceFigures| {
        let error = |value: Option<f64>| known(value, |value| in_unit(kind, value));
        row([
            part.evidence.label().to_owned(),
            count(part.scores),
            error(part.mean_absolute_error),
            error(part.baseline_mean_absolute_error),
            signed(part.skill),
            share(part.direction_hits),
            share(part.coverage),
        ])
    };
    let rows = summary.parts.iter().map(figures);
    page.table(&[heads(&head)].into_iter().chain(rows).collect());
    page.note(
        "Skill is 1 − squared error of the model / squared error of the baseline: 0 is no better, \
         1 is perfect. A model is not judged by what it was made from, so everything below counts \
         scores of evidence unseen and unknown alone. Direction is seen from no change, from the \
         last value, or from an even chance.",
    );
    plots::forecasts(report).iter().for_each(|figure| page.figure(figure));
}

fn verdict(report: &ReplayReport, summary: &Summary, page: &mut Page) {
    page.heading("Skill and verdict");
    let mut table: Table = vec![heads(&["against", "skill", ""])];
    for (baseline, skill) in BaselineKind::ALL.into_iter().zip(summary.skills) {
        if skill.is_some() {
            let is_against = baseline == summary.against;
            let mark = if is_against { "the verdict is against this one" } else { "" };
            table.push(row([baseline.label().to_owned(), signed(skill), mark.to_owned()]));
        }
    }
    page.table(&table);
    let Verdict { word, since, scores, mean_difference, limits, log_e_value } = summary.verdict;
    let limits =
        limits.map_or_else(|| NONE.to_owned(), |[low, high]| format!("{low:.3e} to {high:.3e}"));
    let rows = [
        ("verdict", words::word(word).to_owned()),
        ("since", since.map_or_else(|| NONE.to_owned(), |since| format!("{since}"))),
        ("observations", count(scores)),
        ("mean difference of squared errors", format!("{mean_difference:.3e}")),
        ("95 % confidence sequence", limits),
        ("evidence against equality", format!("e^{log_e_value:.1}")),
    ];
    let rows = rows.into_iter().map(|(name, value)| row([name.to_owned(), value]));
    page.table(&[heads(&["over all scores", ""])].into_iter().chain(rows).collect());
    let series = if summary.by_symbol.len() == 1 {
        "The squared errors of baseline and model are subtracted."
    } else {
        "All scores of a time are one observation: the squared errors of baseline and model are \
         subtracted, and divided by the mean absolute difference that the symbol has had before."
    };
    let late = match summary.late {
        0 => String::new(),
        late => format!(
            " {} scores came too late for their time and are missing here: the recording is not in \
             the order of time.",
            count(late)
        ),
    };
    page.note(&format!(
        "{series} Above zero the model was better. The sequence holds the mean at all times \
         together with probability 0.95, so the verdict may be looked at after every score.{late}"
    ));
    plots::verdict(report).iter().for_each(|figure| page.figure(figure));
    if summary.by_symbol.len() > 1 {
        symbols(summary, page);
    }
}

fn symbols(summary: &Summary, page: &mut Page) {
    let figures = |symbol: &SymbolFigures| {
        row([
            symbol.symbol.clone(),
            count(symbol.scores),
            signed(symbol.skill),
            share(symbol.direction_hits),
            share(symbol.coverage),
            words::word(symbol.verdict.word).to_owned(),
        ])
    };
    let head = ["symbol", "scores", "skill", "direction right", "interval held", "verdict"];
    let rows = summary.by_symbol.iter().map(figures);
    page.table(&[heads(&head)].into_iter().chain(rows).collect());
    let shown = summary.by_symbol.len();
    page.note(&format!(
        "{shown} of {} symbols, those with most scores. Each verdict has its own 5 %: of many \
         symbols without any difference some are called better or worse.",
        count(summary.symbols as u64)
    ));
}

fn coverage(report: &ReplayReport, summary: &Summary, page: &mut Page) {
    page.heading("Coverage and calibration");
    if report.kind != TargetKind::Probability {
        let mut table: Table = vec![heads(&["times the width", "held"])];
        for factor in FACTORS {
            let held = share(report.distances.share_within(factor));
            table.push(row([format!("{factor:.1}"), held]));
        }
        page.table(&table);
        page.note(&format!(
            "The share of truths that intervals would have held that were so many times as wide; \
             {} are asked for at 1.0. Intervals that adapt follow their own misses, so this says \
             how they did and not how the bundle's would have done.",
            percent(summary.coverage_target, 0)
        ));
    }
    plots::coverage(report).iter().for_each(|figure| page.figure(figure));
}

fn signals(report: &ReplayReport, summary: &Summary, page: &mut Page) {
    page.heading("Signals");
    let counts = &summary.signals;
    let horizon = report.subject.horizon_steps;
    let thresholds = report.subject.signals.thresholds();
    let side = |name: &str, threshold: String, side: &SideCounts| {
        let detection = side.detection;
        vec![
            Cell::with(name.to_owned(), threshold),
            count(detection.raised).into(),
            count(detection.happened).into(),
            count(detection.hits).into(),
            with_limits(detection.hits, detection.raised, horizon),
            with_limits(detection.hits, detection.happened, horizon),
            share(counts.base_rate(side)).into(),
        ]
    };
    let unit = |value: f64| in_unit(report.kind, value);
    page.table(&vec![
        heads(&["signal", "raised", "happened", "both", "precision", "recall", "base rate"]),
        side("buy", format!("above {}", unit(thresholds.buy_above)), &counts.buy),
        side("sell", format!("below {}", unit(thresholds.sell_below)), &counts.sell),
    ]);
    page.note(
        "Raised: the signal was given. Happened: the truth was beyond the threshold. Precision is \
         the share of the raised that happened, recall the share of the happened that were raised. \
         The base rate is the share of all scores that happened: the precision of signals that \
         know nothing.",
    );
    page.table(&vec![
        heads(&["", "signals with a direction", "right", "hit rate", "by chance"]),
        vec![
            "buy and sell".into(),
            count(counts.directed()).into(),
            count(counts.right()).into(),
            with_limits(counts.right(), counts.directed(), horizon),
            share(counts.hit_rate_by_chance()).into(),
        ],
    ]);
    page.note(
        "A signal is right where the truth rose after buy, or fell after sell. By chance: the hit \
         rate of as many signals that know nothing. Intervals are Wilson's, 95 %, with the tries \
         divided by the horizon because truths overlap. Symbols that move together, and signals \
         that come in runs, make them too narrow still.",
    );
}

fn paper(report: &ReplayReport, summary: &Summary, page: &mut Page) {
    page.heading("Paper account");
    match summary.no_paper {
        Some(NoPaper::Target) => page.paragraph(&format!(
            "There is none: the target {} is no change of a price, so no position follows from it.",
            report.subject.target.label()
        )),
        Some(NoPaper::Price) => page.paragraph(
            "There is none: the forecasts have no price, because the stream has no field close.",
        ),
        Some(NoPaper::Scores) => page.paragraph(
            "There is none: no symbol has two scored forecasts that the model had not seen.",
        ),
        None => accounts(report, summary, page),
    }
}

fn accounts(report: &ReplayReport, summary: &Summary, page: &mut Page) {
    let is_annual = summary.paper.iter().any(|figures| figures.annual_mean.is_some());
    let mut head = vec!["", "net", "costs", "mean per step", "model minus this"];
    head.extend(["turnover", "in the market", "drawdown"]);
    if is_annual {
        head.push("a year");
    }
    let rows = summary.paper.iter().map(|figures| account(figures, is_annual));
    page.table(&[heads(&head)].into_iter().chain(rows).collect());
    let bins = match report.paper.is_exact() {
        true => "",
        false => " Times are in bins, so a fall within one is not seen.",
    };
    page.note(&format!(
        "{} Nothing is reinvested, so profits add up, and buying and holding is the sum of the \
         changes of the price. Net and costs are shares of the notional of one symbol; means are \
         in basis points for each of {} steps. Intervals are 95 %, by a stationary bootstrap of {} \
         samples over stretches of time. Drawdown is the largest fall of the net from an earlier \
         high.{}",
        rules(&report.options),
        count(report.paper.steps()),
        count(u64::from(report.options.resamples)),
        bins
    ));
    page.figure(&plots::paper(report, summary));
}

fn account(figures: &PaperFigures, is_annual: bool) -> Vec<Cell> {
    let points = |value: f64| format!("{:+.2}", BASIS_POINTS * value);
    let with = |value: Option<f64>, limits: Option<[f64; 2]>| match value {
        Some(value) => Cell::with(
            points(value),
            limits.map_or_else(String::new, |[low, high]| {
                format!("{} to {}", points(low), points(high))
            }),
        ),
        None => Cell::from(NONE),
    };
    let mut cells = vec![
        figures.strategy.into(),
        percent(figures.net, 2).into(),
        percent(figures.costs, 2).into(),
        with(Some(figures.mean_per_step), figures.mean_per_step_95),
        with(figures.model_minus_this, figures.model_minus_this_95),
        format!("{:.3}", figures.turnover_per_step).into(),
        percent(figures.exposure, 0).into(),
        percent(figures.drawdown_max, 2).into(),
    ];
    if is_annual {
        cells.push(known(figures.annual_mean, |mean| percent(mean, 1)).into());
    }
    cells
}

/// How signals became positions.
fn rules(options: &PaperOptions) -> String {
    let PaperOptions { cost_bps, slippage_bps, sell, hold, .. } = options;
    let sell = match sell {
        SellRule::Short => "sell a position of -1",
        SellRule::Flat => "sell no position",
    };
    let hold = match hold {
        HoldRule::Flat => "hold no position",
        HoldRule::Keep => "hold the position before",
    };
    format!(
        "A buy is a position of 1, {sell}, {hold}; it is taken at the price of the step and held \
         until the next forecast. A change of the position by 1 costs {cost_bps} bp (basis points) \
         and {slippage_bps} bp of slippage. Each baseline follows the same rule and thresholds."
    )
}

fn facts(report: &ReplayReport, summary: &Summary) -> Vec<(String, String)> {
    let subject = &report.subject;
    let thresholds = subject.signals.thresholds();
    let rule = subject.signals.rule();
    let steps = match subject.horizon_steps {
        1 => "1 step".to_owned(),
        steps => format!("{steps} steps"),
    };
    let span = summary.span.map_or_else(
        || NONE.to_owned(),
        |[first, last]| format!("forecasts made {first} to {last}"),
    );
    let facts = [
        ("model", format!("{} {}", subject.model, subject.version)),
        ("forecast", format!("{}, {steps} ahead", subject.target.label())),
        ("span", span),
        ("symbols", count(summary.symbols as u64)),
        ("forecasts", count(summary.forecasts)),
        ("scores", count(summary.scores.iter().sum())),
        (
            "signals",
            format!(
                "buy above {}, sell below {}, release {}, cool-down {} steps",
                thresholds.buy_above, thresholds.sell_below, rule.release, rule.cooldown_steps
            ),
        ),
        ("seed of samples", report.options.seed.to_string()),
        ("made by", format!("tickcast {}", env!("CARGO_PKG_VERSION"))),
    ];
    facts.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

/// A share with its interval below.
fn with_limits(hits: u64, tries: u64, horizon_steps: u32) -> Cell {
    match SignalCounts::share(hits, tries, horizon_steps) {
        Some(share) => Cell::with(
            percent(share.value, 1),
            format!("{:.1} to {}", 100.0 * share.limits.low, percent(share.limits.high, 1)),
        ),
        None => NONE.into(),
    }
}

fn known(value: Option<f64>, show: impl Fn(f64) -> String) -> String {
    value.map_or_else(|| NONE.to_owned(), show)
}

fn share(value: Option<f64>) -> String {
    known(value, |value| percent(value, 1))
}

fn signed(value: Option<f64>) -> String {
    known(value, |value| format!("{value:+.4}"))
}
