//! The report of a run: what a sceptic wants to see, in one file.
//!
//! ```text
//! figures (tables) ─┐
//! plots ────────────┴─> page ─> report.html, and each plot as a file
//! ```
//!
//! Owns the report's content and its files. Promises: the same run gives the same bytes, because
//! nothing of the clock or the machine is in it; text from data is escaped; the page fetches
//! nothing and runs nothing.
//!
//! Never: computes a figure of its own. What the page says stands in the sealed manifest.

mod figures;
mod plots;
mod recipe;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::config::{StateRule, TrainConfig};
use super::dataset::Dataset;
use super::evaluate::{TargetKind, headline};
use super::fit::Stopped;
use super::history::History;
use super::network::{Activation, Cell, ConvolutionShape, Network};
use super::out_of_range::{OutOfRange, PARTS, WARNED_SHARE};
use super::trained::Trained;
use crate::core::domain::UnixNanos;
use crate::engine::model::manifest::Manifest;
use crate::report::page::Page;
use crate::report::table::{Table, text};
use crate::report::text::capitalised;
use crate::seal::sections::DataConfig;
use crate::train::fit::loss::Loss;

/// The name of the page.
pub const PAGE: &str = "report.html";

/// A report in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    name: String,
    version: String,
    /// Names and contents; the page is the first.
    files: Vec<(String, String)>,
}

/// What a report is made of, beside what a run gave.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'s> {
    /// The configuration of the run.
    pub config: &'s TrainConfig,
    /// The whole history.
    pub history: &'s History,
    /// The history in its parts.
    pub dataset: &'s Dataset,
    /// The network.
    pub network: &'s Network,
}

impl Report {
    /// The report of a run.
    pub fn new(sources: Sources<'_>, trained: &Trained) -> Self {
        let Sources { config, history, dataset, .. } = sources;
        let manifest = &trained.draft.manifest;
        let kind = TargetKind::of(&config.target);
        let test = &trained.assessment.test;
        let (part, out_of_range) = (&dataset.test, &dataset.out_of_range);
        let figures = plots::all(config, history, out_of_range, part, &test.outcomes, &trained.fit);
        let against = trained.assessment.against();
        let headline = capitalised(&headline(&test.figures, kind, against));
        let mut page = Page::new(&format!("{} {}", manifest.name, manifest.version));
        page.headline(&headline);
        page.verdict(&manifest.verdict);
        for (heading, table, words) in tables(trained, kind) {
            if !table.is_empty() {
                page.heading(&heading);
                page.table(&table);
                page.note(words);
            }
        }
        page.heading("Plots");
        figures.iter().for_each(|figure| page.figure(figure));
        page.heading("How it was made");
        page.facts(&facts(sources, trained));
        let plots =
            figures.iter().map(|figure| (format!("{}.svg", figure.name), figure.plot.file()));
        let files = [(PAGE.to_owned(), page.finish())].into_iter().chain(plots).collect();
        Self { name: manifest.name.clone(), version: manifest.version.clone(), files }
    }

    /// Names and contents of the files; the page is the first.
    pub fn files(&self) -> &[(String, String)] {
        &self.files
    }

    /// Writes the files to `<root>/<name>/<version>/`, over those of an earlier run; gives the
    /// page's path.
    ///
    /// # Errors
    /// What the system says, and about which path.
    pub fn write(&self, root: &Path) -> Result<PathBuf, (PathBuf, io::Error)> {
        let folder = root.join(&self.name).join(&self.version);
        fs::create_dir_all(&folder).map_err(|error| (folder.clone(), error))?;
        for (name, content) in &self.files {
            let path = folder.join(name);
            fs::write(&path, content).map_err(|error| (path, error))?;
        }
        Ok(folder.join(PAGE))
    }
}

/// How often the inputs of each part are out of range, for the terminal, and what to do where that
/// is often.
pub fn out_of_range(found: &OutOfRange) -> String {
    let mut said = format!(
        "windows with a value outside the range of the training part\n{}",
        text(&figures::out_of_range(found))
    );
    for (at, part) in PARTS.iter().enumerate().skip(1) {
        let warned = found.warned(at);
        if warned.is_empty() {
            continue;
        }
        let each = warned.iter().map(|(name, share)| format!("`{name}` {:.0} %", 100.0 * share));
        said += &format!(
            "warning: out of range in more than {:.0} % of the {part} windows: {}. There the \
             network extrapolates. Use features that mean the same at every level: change or \
             log_return for a price, volume_change for a volume (docs/features.md)\n",
            100.0 * WARNED_SHARE,
            each.collect::<Vec<_>>().join(", "),
        );
    }
    said
}

/// The figures of the test part for the terminal, and the summary of repetitions.
pub fn summary(manifest: &Manifest) -> String {
    let kind = TargetKind::of(&manifest.target.kind);
    let mut summary = String::new();
    for part in &manifest.evaluation {
        summary += &format!("{} part, {} to {}\n", part.part, part.from, part.to);
        summary += &text(&figures::evaluation(part, kind, manifest.interval.coverage));
        summary.push('\n');
    }
    let outputs = text(&figures::outputs(manifest, kind));
    if !outputs.is_empty() {
        summary += &format!("outputs on the test part\n{outputs}\n");
    }
    let repeats = text(&figures::repeats(&manifest.repeats, kind));
    if !repeats.is_empty() {
        summary += &format!("mean and spread over repeated runs\n{repeats}\n");
    }
    summary
}

/// The layers of a network in words:
/// `LSTM 64, LSTM 32, Dense 16 relu, Dense 1 tanh (30369 parameters)`
pub fn describe(network: &Network) -> String {
    let architecture = network.architecture();
    let function = |activation: Activation| format!("{activation:?}").to_lowercase();
    let convolution = architecture.convolution.as_ref().map(|layer| {
        let ConvolutionShape { filters, kernel, activation } = layer;
        format!("convolution {filters} over {kernel} steps {}", function(*activation))
    });
    let recurrent = architecture.recurrent.iter().map(|layer| {
        let cell = match layer.cell {
            Cell::Lstm => "LSTM",
            Cell::Gru => "GRU",
        };
        format!("{cell} {}", layer.units)
    });
    let dense = architecture
        .dense
        .iter()
        .map(|layer| format!("Dense {} {}", layer.units, function(layer.activation)));
    let attention = architecture.attention.map(|units| format!("attention {units}"));
    let layers: Vec<_> =
        convolution.into_iter().chain(recurrent).chain(attention).chain(dense).collect();
    format!("{} ({} parameters)", layers.join(", "), network.parameter_count())
}

fn tables(trained: &Trained, kind: TargetKind) -> Vec<(String, Table, &'static str)> {
    let manifest = &trained.draft.manifest;
    let coverage = manifest.interval.coverage;
    let (test, validation) =
        (&trained.assessment.test.figures, &trained.assessment.validation.figures);
    let signal = [manifest.signal.buy_above, manifest.signal.sell_below];
    vec![
        (
            "The untouched test part".to_owned(),
            figures::evaluation(test, kind, coverage),
            "Skill is 1 − squared error of the model / squared error of the baseline, with its \
             95 % interval: 0 is no better, 1 is perfect. The Diebold-Mariano statistic (with the \
             correction of Harvey, Leybourne and Newbold) is positive where the model is better; \
             p is two-sided. Persistence says that nothing changes, drift that the mean of the \
             training part goes on; the linear model sees the window of steps before the \
             forecast. \
             Directions are those from no change, from the last value, or from an even chance.",
        ),
        (
            "Horizons and quantiles".to_owned(),
            figures::outputs(manifest, kind),
            "The test part by horizon, as the network gives it. A quantile is right where the \
             share of truths at or below it is its level; the daemon adapts both quantiles and \
             intervals. Skill is against persistence.",
        ),
        (
            "Signals on the test part".to_owned(),
            figures::signals(test, kind, signal),
            "Told: forecasts beyond the threshold. Happened: truths beyond it. Precision is the \
             share of the told that happened, recall the share of the happened that were told.",
        ),
        (
            "Repeated runs".to_owned(),
            figures::repeats(&manifest.repeats, kind),
            "Mean and standard deviation between runs, each on its own test part. Other seeds \
             tell how much is luck of the initial weights; folds walk forward through the time \
             before the test part. Nothing was chosen by them.",
        ),
        (
            "Each seed".to_owned(),
            figures::runs(&trained.repeats.seeds, kind),
            "All on the same test part. Skill and p are against persistence.",
        ),
        (
            "Each fold".to_owned(),
            figures::runs(&trained.repeats.folds, kind),
            "Each is trained on all that lies before it. Skill and p are against persistence.",
        ),
        (
            "The validation part".to_owned(),
            figures::evaluation(validation, kind, coverage),
            "This part decided when to stop and how wide the interval is, so its figures flatter \
             the model.",
        ),
    ]
}

/// How the run was made.
fn facts(sources: Sources<'_>, trained: &Trained) -> Vec<(String, String)> {
    let Sources { config, history, dataset, network } = sources;
    let DataConfig { path, .. } = &config.data;
    let recipe = &config.recipe;
    let span = |part: &super::dataset::Part| {
        let epoch = UnixNanos::from_nanos(0);
        let (from, to) = part.span().unwrap_or((epoch, epoch));
        format!("{} windows, forecasts made {from} to {to}", part.examples.len())
    };
    let stopped = match trained.fit.stopped {
        Stopped::Epochs => "all of them",
        Stopped::Patience => "no better one for as long as the patience",
        Stopped::Asked => "stopped on request",
    };
    let facts = [
        ("forecast", format!("{}, {} step(s) ahead", config.target.label(), config.horizon_steps)),
        ("window", format!("{} steps of {}", config.window_steps, config.features.join(", "))),
        ("network", describe(network)),
        ("state", state(config)),
        ("data", format!("{}, SHA-256 {}", path.display(), history.data_sha256)),
        ("symbols", history.symbols().join(", ")),
        ("training part", span(&dataset.training)),
        ("validation part", span(&dataset.validation)),
        ("test part", span(&dataset.test)),
        ("embargo", format!("{} steps between parts", config.window_steps + config.horizon_steps)),
        ("loss", loss(recipe.loss)),
        ("fit", recipe::describe(recipe)),
        (
            "epochs",
            format!("{} ({stopped}), best {}", trained.fit.epochs.len(), trained.fit.best_epoch),
        ),
        ("seed", recipe.seed.to_string()),
        ("made by", format!("tickcast {}", env!("CARGO_PKG_VERSION"))),
    ];
    facts.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

fn state(config: &TrainConfig) -> String {
    match config.state {
        StateRule::Window => "zero before each window".to_owned(),
        StateRule::Carried => format!(
            "carried through the whole history; gradients go back through {} steps at most",
            config.window_steps
        ),
    }
}

fn loss(loss: Loss) -> String {
    match loss {
        Loss::MeanSquaredError => "mean squared error".to_owned(),
        Loss::MeanAbsoluteError => "mean absolute error".to_owned(),
        Loss::Huber(delta) => format!("Huber loss, linear beyond {delta} model units"),
        Loss::BinaryCrossEntropy => "binary cross-entropy".to_owned(),
        Loss::Quantile(quantile) => format!("pinball loss of the quantile {quantile}"),
        Loss::Outputs(outputs) => outputs.to_string(),
    }
}

#[cfg(test)]
mod tests;
