//! Which plots a report has, and what they are made of.
//!
//! Owns the choice by the kind of target, and the words below each plot, which say what it shows
//! and what it does not. Never computes a figure that the manifest has.

use super::figures;
use crate::core::forecast::Target;
use crate::report::page::Figure;
use crate::report::svg::{Axis, Look, Plot, Unit, axis_label};
use crate::report::table::Table;
use crate::train::config::TrainConfig;
use crate::train::dataset::Part;
use crate::train::evaluate::{CALIBRATION_BINS, Outcomes, TargetKind};
use crate::train::fit::Fit;
use crate::train::history::History;
use crate::train::out_of_range::{FeatureOutOfRange, OutOfRange, WARNED_SHARE};
use crate::train::statistics::probability::reliability;
use crate::train::statistics::proportion::wilson;

/// Symbols that have plots of their own; a file may have thousands.
const SYMBOLS_MAX: usize = 3;
/// Bars of the histogram of errors.
const ERROR_BARS: usize = 40;

/// All plots of a run on its test part.
pub(super) fn all(
    config: &TrainConfig,
    history: &History,
    found: &OutOfRange,
    test: &Part,
    outcomes: &Outcomes,
    fit: &Fit,
) -> Vec<Figure> {
    let kind = TargetKind::of(&config.target);
    let mut figures = vec![losses(fit), out_of_range(found)];
    for (at, track) in tracks(config, history, test, outcomes).iter().enumerate() {
        // The first symbol has the plain names.
        let name = |name: &str| match at {
            0 => name.to_owned(),
            _ => format!("{name}-{}", at + 1),
        };
        let is_change = matches!(kind, TargetKind::Change | TargetKind::LogChange);
        if is_change && track.prices.len() == track.times.len() {
            figures.push(Figure { name: name("price-rebuilt"), ..rebuilt(track, config) });
            figures.push(Figure { name: name("price-one-step"), ..one_step(track, config) });
        } else {
            figures.push(Figure { name: name("forecasts"), ..over_time(track, kind) });
        }
    }
    figures.push(errors(outcomes, kind));
    figures.push(match kind {
        TargetKind::Probability => calibration(outcomes),
        _ => scatter(outcomes, kind),
    });
    figures
}

/// The share of windows out of range for each feature, validation beside test.
pub(super) fn out_of_range(found: &OutOfRange) -> Figure {
    let count = found.features.len() as f64;
    let x = Axis::between("feature, in the order of the table", Unit::Plain, 0.5, count + 0.5);
    let y = Axis::between("windows out of range", Unit::Percent, 0.0, 1.0);
    // Two bars beside each other, between neighboring features.
    let bars = |part: usize, left: f64| {
        let features = found.features.iter().enumerate();
        let bar = |(at, feature): (usize, &FeatureOutOfRange)| {
            let left = at as f64 + 1.0 + left;
            (left, left + 0.3, feature.shares[part].unwrap_or(0.0))
        };
        features.map(bar).collect::<Vec<_>>()
    };
    let limit = vec![(0.5, WARNED_SHARE), (count + 0.5, WARNED_SHARE)];
    let plot = Plot::new("Inputs outside the range of the training part", x, y)
        .bars(Look::Other, "validation", bars(1, -0.32))
        .bars(Look::Model, "test", bars(2, 0.02))
        .line(Look::Guide, "warning above", limit);
    let caption = "A forecast whose window has a value that training did not see is out_of_range: \
                   the network extrapolates. Prices and volumes leave their range in a few years; \
                   change, log_return and volume_change seldom do."
        .to_owned();
    let table = figures::out_of_range(found);
    Figure { name: "out-of-range".to_owned(), plot, caption, table }
}

fn losses(fit: &Fit) -> Figure {
    let series = |loss: fn(&crate::train::fit::Epoch) -> f64| -> Vec<(f64, f64)> {
        fit.epochs.iter().map(|epoch| (epoch.number as f64, loss(epoch))).collect()
    };
    let training = series(|epoch| epoch.training_loss);
    let validation = series(|epoch| epoch.validation_loss);
    let all = || training.iter().chain(&validation).map(|(_, loss)| *loss);
    let x = Axis::between("epoch", Unit::Plain, 0.0, fit.epochs.len().max(2) as f64);
    let y = Axis::new("loss, in model units", Unit::Plain, all()).logarithmic_where_wide(all());
    let best: Vec<_> =
        validation.iter().copied().filter(|(epoch, _)| *epoch == fit.best_epoch as f64).collect();
    let legend = format!("best: epoch {}", fit.best_epoch);
    let plot = Plot::new("Losses per epoch", x, y)
        .line(Look::Truth, "training", training)
        .line(Look::Model, "validation", validation)
        .dots(Look::Other, &legend, best);
    let caption = "The parameters of the best epoch are those of the model. The training loss is \
                   taken during the epoch and with dropout, where there is any, so it may lie \
                   above that of the validation part."
        .to_owned();
    Figure { name: "losses".to_owned(), plot, caption, table: Table::new() }
}

/// The forecasts of one symbol and what came true, oldest first.
struct Track {
    symbol: String,
    /// How many symbols there are.
    of: usize,
    /// When each forecast is about, in nanoseconds.
    times: Vec<f64>,
    values: Vec<f64>,
    truths: Vec<f64>,
    /// The price at `as_of`; none where the stream has no price.
    prices: Vec<f64>,
}

fn tracks(config: &TrainConfig, history: &History, test: &Part, outcomes: &Outcomes) -> Vec<Track> {
    let of = history.symbols().len();
    let track = |(index, series): (usize, &crate::train::history::Series)| {
        let mut track = Track {
            symbol: series.symbol.clone(),
            of,
            times: Vec::new(),
            values: Vec::new(),
            truths: Vec::new(),
            prices: Vec::new(),
        };
        let (mut now, mut later) = (series.steps.reader(), series.steps.reader());
        for (at, example) in test.examples.iter().enumerate() {
            if example.series == index {
                let target = later.step(example.step + config.horizon_steps);
                track.times.push(target.time.as_nanos() as f64);
                track.values.push(outcomes.values[at]);
                track.truths.push(outcomes.truths[at]);
                track.prices.extend(now.step(example.step).fields.price());
            }
        }
        track
    };
    let tracks = history.series.iter().enumerate().map(track);
    tracks.filter(|track| !track.times.is_empty()).take(SYMBOLS_MAX).collect()
}

impl Track {
    /// `AAPL`, or `AAPL (one of 3 symbols)`.
    fn name(&self) -> String {
        match self.of {
            1 => self.symbol.clone(),
            of => format!("{} (one of {of} symbols)", self.symbol),
        }
    }

    fn real(&self, target: &Target) -> Vec<(f64, f64)> {
        self.implied(target, &self.truths)
    }

    /// The prices that values imply, each from the price of its own `as_of`.
    fn implied(&self, target: &Target, values: &[f64]) -> Vec<(f64, f64)> {
        let pairs = self.prices.iter().zip(values);
        let prices = pairs.filter_map(|(price, value)| target.price(*value, Some(*price)));
        self.times.iter().copied().zip(prices).collect()
    }

    fn axes(&self, label: &str, unit: Unit, values: impl Iterator<Item = f64>) -> (Axis, Axis) {
        let x = Axis::new("time of what is forecast (UTC)", Unit::Time, self.times.iter().copied());
        (x, Axis::new(label, unit, values))
    }
}

/// The tutorial's picture: only the first price is real, every forecast change is multiplied on.
fn rebuilt(track: &Track, config: &TrainConfig) -> Figure {
    // Changes over more than one step overlap; the chain takes one after the other.
    let stride = config.horizon_steps;
    let mut price = track.prices[0];
    let chain: Vec<(f64, f64)> = (0..track.times.len())
        .step_by(stride)
        .map(|at| {
            price = config.target.price(track.values[at], Some(price)).unwrap_or(price);
            (track.times[at], price)
        })
        .collect();
    let real = track.real(&config.target);
    let all = real.iter().chain(&chain).map(|(_, price)| *price);
    let (x, y) = track.axes("price", Unit::Plain, all);
    let title = format!("{}: real price and forecast changes multiplied up", track.name());
    let plot = Plot::new(&title, x, y).line(Look::Truth, "real price", real).line(
        Look::Model,
        "cumulative product of the forecast changes",
        chain,
    );
    let caption =
        "Rebuilt as in the tutorial: from one real price at the beginning, each forecast \
                   change is multiplied on, and no later price corrects it. A small steady error \
                   adds up to a large distance; a model that always says \"no change\" is a level \
                   line."
            .to_owned();
    Figure { name: String::new(), plot, caption, table: Table::new() }
}

/// What the daemon would publish as the implied price.
fn one_step(track: &Track, config: &TrainConfig) -> Figure {
    let implied = track.implied(&config.target, &track.values);
    let real = track.real(&config.target);
    let all = real.iter().chain(&implied).map(|(_, price)| *price);
    let (x, y) = track.axes("price", Unit::Plain, all);
    let title = format!("{}: real price and the price each forecast implies", track.name());
    let formula = match config.target {
        Target::NextLogReturn => "newest real price × exp(forecast)",
        _ => "newest real price × (1 + forecast)",
    };
    let plot = Plot::new(&title, x, y).line(Look::Truth, "real price", real).line(
        Look::Model,
        formula,
        implied,
    );
    let caption = "Each point starts anew from the newest real price, so the lines lie close to \
                   each other for any model, and closest for one that says \"no change\". This \
                   picture is no evidence of skill; the table is."
        .to_owned();
    Figure { name: String::new(), plot, caption, table: Table::new() }
}

fn over_time(track: &Track, kind: TargetKind) -> Figure {
    let points = |values: &[f64]| track.times.iter().copied().zip(values.iter().copied()).collect();
    let (values, truths): (Vec<_>, Vec<_>) = (points(&track.values), points(&track.truths));
    let all = track.values.iter().chain(&track.truths).copied();
    let (x, y) = track.axes(axis_label(kind), Unit::of(kind), all);
    let title = format!("{}: forecasts and what came true", track.name());
    let plot = Plot::new(&title, x, y);
    let (plot, caption) = match kind {
        TargetKind::Probability => (
            plot.dots(Look::Truth, "came true (1) or not (0)", truths).line(
                Look::Model,
                "probability forecast",
                values,
            ),
            "A line that moves with the dots tells the cases apart; one that stays level knows \
             the base rate and no more.",
        ),
        _ => (
            plot.line(Look::Truth, "came true", truths).line(Look::Model, "forecast", values),
            "A good forecast of something noisy moves less than what comes true.",
        ),
    };
    Figure { name: String::new(), plot, caption: caption.to_owned(), table: Table::new() }
}

pub(super) fn errors(outcomes: &Outcomes, kind: TargetKind) -> Figure {
    let errors = |forecasts: &[f64]| -> Vec<f64> {
        forecasts.iter().zip(&outcomes.truths).map(|(forecast, truth)| truth - forecast).collect()
    };
    let (model, naive) = (errors(&outcomes.values), errors(&outcomes.baselines.persistence));
    // One outlier would squeeze all others into one bar, so the ends gather what is beyond.
    let mut sorted: Vec<f64> =
        model.iter().chain(&naive).copied().filter(|error| error.is_finite()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| {
        let place = (share * sorted.len().saturating_sub(1) as f64) as usize;
        sorted.get(place).copied().unwrap_or(0.0)
    };
    let (low, high) = (at(0.005), at(0.995));
    let (low, high) = if high > low { (low, high) } else { (low - 0.5, low + 0.5) };
    let width = (high - low) / ERROR_BARS as f64;
    let counts = |errors: &[f64]| {
        let mut counts = vec![0_u32; ERROR_BARS];
        for error in errors.iter().filter(|error| error.is_finite()) {
            let bar = ((error - low) / width).clamp(0.0, (ERROR_BARS - 1) as f64);
            counts[bar as usize] += 1;
        }
        counts
    };
    let bar = |(at, count): (usize, u32)| {
        let left = low + width * at as f64;
        (left, left + width, f64::from(count))
    };
    let (model, naive) = (counts(&model), counts(&naive));
    let highest = model.iter().chain(&naive).copied().max().unwrap_or(1).max(1);
    let outline: Vec<(f64, f64)> = naive
        .iter()
        .enumerate()
        .flat_map(|(at, count)| {
            let (left, right, height) = bar((at, *count));
            [(left, height), (right, height)]
        })
        .collect();
    let label = match kind {
        TargetKind::Probability => "truth (0 or 1) − probability",
        _ => "truth − forecast",
    };
    let x = Axis::new(label, Unit::of(kind), [low, high].into_iter());
    let y = Axis::between("forecasts", Unit::Plain, 0.0, 1.05 * f64::from(highest));
    let plot = Plot::new("Errors on the test part", x, y)
        .bars(Look::Model, "model", model.into_iter().enumerate().map(bar).collect())
        .line(Look::Other, "persistence", outline);
    let caption = "Bars left of zero: the forecast was too high. Errors whose mean is not \
                   zero are a bias. The outermost bars hold the 0.5 % at each end."
        .to_owned();
    Figure { name: "errors".to_owned(), plot, caption, table: Table::new() }
}

pub(super) fn scatter(outcomes: &Outcomes, kind: TargetKind) -> Figure {
    let points: Vec<(f64, f64)> =
        outcomes.values.iter().copied().zip(outcomes.truths.iter().copied()).collect();
    let axis =
        |label: &str, values: &[f64]| Axis::new(label, Unit::of(kind), values.iter().copied());
    let values = outcomes.values.iter().copied().filter(|value| value.is_finite());
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    // The diagonal ends where the picture of the truths does.
    let bounds = outcomes
        .truths
        .iter()
        .copied()
        .fold((0.0_f64, 0.0_f64), |(low, high), truth| (low.min(truth), high.max(truth)));
    let ends = [low.max(bounds.0), high.min(bounds.1)];
    let diagonal = if ends[0] < ends[1] { ends.map(|at| (at, at)).to_vec() } else { Vec::new() };
    let plot = Plot::new(
        "Forecasts and truths of the test part",
        axis(&format!("forecast {}", axis_label(kind)), &outcomes.values),
        axis("came true", &outcomes.truths),
    )
    .dots(Look::Model, "one forecast", points)
    .line(Look::Guide, "forecast = truth", diagonal);
    let caption = "The two axes have scales of their own. Forecasts that know something lie along \
                   the dashed line; a cloud without a slope knows nothing."
        .to_owned();
    Figure { name: "scatter".to_owned(), plot, caption, table: Table::new() }
}

pub(super) fn calibration(outcomes: &Outcomes) -> Figure {
    let bins = reliability(&outcomes.values, &outcomes.truths, CALIBRATION_BINS);
    let total = outcomes.values.len().max(1) as f64;
    let bars = bins.iter().map(|bin| {
        let stretch = (bin.forecast * CALIBRATION_BINS as f64).floor();
        let stretch = stretch.clamp(0.0, (CALIBRATION_BINS - 1) as f64);
        let edge = |at: f64| at / CALIBRATION_BINS as f64;
        (edge(stretch), edge(stretch + 1.0), bin.count as f64 / total)
    });
    let whiskers = bins.iter().map(|bin| {
        let limits = wilson(bin.happened, bin.count as f64);
        (bin.forecast, limits.low, limits.high)
    });
    let points = bins.iter().map(|bin| (bin.forecast, bin.happened));
    let x = Axis::between("probability forecast", Unit::Percent, 0.0, 1.0);
    let y = Axis::between("share", Unit::Percent, 0.0, 1.02);
    let plot = Plot::new("Calibration on the test part", x, y)
        .bars(Look::Guide, "share of all forecasts", bars.collect())
        .line(Look::Guide, "calibrated", vec![(0.0, 0.0), (1.0, 1.0)])
        .whiskers(Look::Model, whiskers.collect())
        .dots(Look::Model, "how often it came true (95 %)", points.collect());
    let caption = "Of the cases with a probability of 30 %, three in ten should come true: points \
                   on the dashed line. Each point is a tenth of the range; its line is Wilson's \
                   95 % interval, which takes the cases as independent."
        .to_owned();
    Figure { name: "calibration".to_owned(), plot, caption, table: Table::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_follow_from_changes_of_either_form() {
        let track = |truths: [f64; 2]| Track {
            symbol: "A".to_owned(),
            of: 1,
            times: vec![1.0, 2.0],
            values: Vec::new(),
            truths: truths.to_vec(),
            prices: vec![100.0, 50.0],
        };
        let expected = [(1.0, 150.0), (2.0, 25.0)];
        assert_eq!(track([0.5, -0.5]).real(&Target::NextReturn), expected);
        let logs = track([1.5_f64.ln(), 0.5_f64.ln()]).real(&Target::NextLogReturn);
        for (real, expected) in logs.iter().zip(expected) {
            assert!(real.0 == expected.0 && (real.1 - expected.1).abs() < 1e-12, "{logs:?}");
        }
    }
}
