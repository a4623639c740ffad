//! The figures of an evaluation as rows of text, for the page and for the terminal.
//!
//! Owns what is shown beside what, and in which unit and precision. Never computes a figure.

use crate::engine::model::manifest::{
    Evaluation, FigureSpread, LevelFigures, Manifest, RepeatFigures, SignalFigures,
};

use crate::report::table::{Cell, Table};
use crate::report::text::{in_unit as error, percent};
use crate::train::evaluate::{TargetKind, p_value};
use crate::train::out_of_range::{OutOfRange, PARTS};

/// The test part of each output of a model that lists them; empty for another.
pub(super) fn outputs(manifest: &Manifest, kind: TargetKind) -> Table {
    let mut table = Table::new();
    for (at, output) in manifest.outputs.iter().enumerate() {
        let evaluation = if at == 0 { &manifest.evaluation } else { &output.evaluation };
        let Some(part) = evaluation.iter().find(|part| part.part == "test") else { continue };
        if table.is_empty() {
            let heads = ["steps ahead", "mean absolute error", "skill", "interval holds"];
            let heads = heads.map(str::to_owned).into_iter();
            let level = |of: &LevelFigures| format!("at or below {}", of.level);
            let heads = heads.chain(part.quantiles.iter().map(level));
            table.push(heads.map(Cell::from).collect());
        }
        let figures = [
            output.horizon_steps.to_string(),
            error(kind, part.mean_absolute_error),
            format!("{:+.3}", part.skill),
            percent(part.interval_coverage, 1),
        ];
        let share = |of: &LevelFigures| percent(of.coverage, 1);
        let cells = figures.into_iter().chain(part.quantiles.iter().map(share));
        table.push(cells.map(Cell::from).collect());
    }
    table
}

/// The figures of one part: the model, and each baseline beside it.
pub(super) fn evaluation(part: &Evaluation, kind: TargetKind, coverage: f64) -> Table {
    let row = |name: &str, model: Cell, baseline: &dyn Fn(usize) -> Cell| -> Vec<Cell> {
        let baselines = (0..part.baselines.len()).map(baseline);
        [Cell::from(name), model].into_iter().chain(baselines).collect()
    };
    let of = |at: usize| &part.baselines[at];
    let nothing = |_| Cell::default();
    let direction = Cell::with(
        percent(part.directional_accuracy, 1),
        part.directional_accuracy_95.map_or_else(String::new, |[low, high]| {
            format!("{:.1} to {}", 100.0 * low, percent(high, 1))
        }),
    );
    let mut table = vec![
        row("", "model".into(), &|at| match (&*of(at).name, kind) {
            ("drift", TargetKind::Probability) => "base rate".into(),
            (name, _) => name.into(),
        }),
        row("mean absolute error", error(kind, part.mean_absolute_error).into(), &|at| {
            error(kind, of(at).mean_absolute_error).into()
        }),
        row("root mean squared error", error(kind, part.root_mean_squared_error).into(), &|at| {
            error(kind, of(at).root_mean_squared_error).into()
        }),
        row("model's skill against it", Cell::default(), &|at| {
            let [low, high] = of(at).skill_95;
            Cell::with(format!("{:+.3}", of(at).skill), format!("{low:+.3} to {high:+.3}"))
        }),
        row("Diebold-Mariano", Cell::default(), &|at| {
            Cell::with(format!("{:+.2}", of(at).statistic), p_value(of(at).p_value))
        }),
        row("direction right", direction, &|at| {
            of(at).directional_accuracy.map_or_else(|| "–".into(), |share| percent(share, 1).into())
        }),
    ];
    if let Some(scores) = part.probability {
        table.push(row("Brier score", format!("{:.4}", scores.brier_score).into(), &|at| {
            format!("{:.4}", of(at).root_mean_squared_error.powi(2)).into()
        }));
        table.push(row("log loss", format!("{:.4}", scores.log_loss).into(), &|at| {
            of(at).log_loss.map_or_else(|| "–".into(), |loss| format!("{loss:.4}").into())
        }));
        let error = format!("{:.4}", scores.expected_calibration_error);
        table.push(row("calibration error", error.into(), &nothing));
    }
    let name = format!("{:.0} % interval holds", 100.0 * coverage);
    table.push(row(&name, percent(part.interval_coverage, 1).into(), &nothing));
    table.push(row("forecasts", part.forecasts.to_string().into(), &nothing));
    table
}

/// How the signals of one part did; `thresholds` are those for buy and sell.
pub(super) fn signals(part: &Evaluation, kind: TargetKind, thresholds: [f64; 2]) -> Table {
    let Some(figures) = part.signals else { return Vec::new() };
    let share = |share: Option<f64>| share.map_or_else(|| "–".to_owned(), |s| percent(s, 1));
    let row = |name: &str, limit: String, figures: SignalFigures| -> Vec<Cell> {
        vec![
            name.into(),
            limit.into(),
            figures.told.to_string().into(),
            figures.happened.to_string().into(),
            figures.hits.to_string().into(),
            share(figures.precision).into(),
            share(figures.recall).into(),
        ]
    };
    let [buy, sell] = thresholds.map(|limit| match kind {
        TargetKind::Change | TargetKind::Amount => percent(limit, 1),
        TargetKind::LogChange | TargetKind::Level | TargetKind::Probability => limit.to_string(),
    });
    vec![
        ["signal", "value", "told", "happened", "both", "precision", "recall"]
            .map(Cell::from)
            .to_vec(),
        row("buy", format!("above {buy}"), figures.buy),
        row("sell", format!("below {sell}"), figures.sell),
    ]
}

/// The share of windows with a value outside the range of the training part.
pub(super) fn out_of_range(found: &OutOfRange) -> Table {
    let row = |name: &str, shares: [Option<f64>; 3]| -> Vec<Cell> {
        let share = |share: Option<f64>| share.map_or_else(|| "–".into(), |s| percent(s, 1).into());
        std::iter::once(name.into()).chain(shares.map(share)).collect()
    };
    let heads = std::iter::once("feature").chain(PARTS).map(Cell::from).collect();
    let features = found.features.iter().map(|f| row(&f.feature, f.shares));
    let any = row("any feature", found.any);
    std::iter::once(heads).chain(features).chain([any]).collect()
}

/// Mean and spread over repeated runs.
pub(super) fn repeats(repeats: &[RepeatFigures], kind: TargetKind) -> Table {
    if repeats.is_empty() {
        return Vec::new();
    }
    let row = |name: &str, show: &dyn Fn(f64) -> String, of: fn(&RepeatFigures) -> FigureSpread| {
        let cells = repeats.iter().map(|repeat| {
            let FigureSpread { mean, deviation } = of(repeat);
            Cell::with(show(mean), format!("± {}", show(deviation)))
        });
        [Cell::from(name)].into_iter().chain(cells).collect()
    };
    let names = repeats.iter().map(|repeat| format!("{} {}", repeat.runs, repeat.over).into());
    let share = |share| percent(share, 1);
    vec![
        [Cell::default()].into_iter().chain(names).collect(),
        row("mean absolute error", &|e| error(kind, e), |repeat| repeat.mean_absolute_error),
        row("root mean squared error", &|e| error(kind, e), |repeat| {
            repeat.root_mean_squared_error
        }),
        row("skill against persistence", &|skill| format!("{skill:.3}"), |repeat| repeat.skill),
        row("direction right", &share, |repeat| repeat.directional_accuracy),
        row("interval holds", &share, |repeat| repeat.interval_coverage),
    ]
}

/// The figures of each repeated run.
pub(super) fn runs(runs: &[Evaluation], kind: TargetKind) -> Table {
    if runs.is_empty() {
        return Vec::new();
    }
    let heads =
        ["run", "from", "to", "forecasts", "root mean sq. error", "skill", "p", "direction"];
    let row = |run: &Evaluation| {
        let p = run
            .baselines
            .first()
            .map_or_else(String::new, |b| p_value(b.p_value).replace("p = ", "").replace("p ", ""));
        let day =
            |time: crate::core::domain::UnixNanos| time.to_string().chars().take(10).collect();
        let cells: [String; 8] = [
            run.part.clone(),
            day(run.from),
            day(run.to),
            run.forecasts.to_string(),
            error(kind, run.root_mean_squared_error),
            format!("{:+.3}", run.skill),
            p,
            percent(run.directional_accuracy, 1),
        ];
        cells.map(Cell::from).to_vec()
    };
    [heads.map(Cell::from).to_vec()].into_iter().chain(runs.iter().map(row)).collect()
}
