//! The options of `tickcast replay` and `tickcast backtest` for a report, and the files that it
//! is written to.
//!
//! Owns both. Promises that a file that cannot be written is found before the work begins, and that
//! what is written elsewhere is the same with a report and without. Never computes a
//! figure.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use crate::core::domain::Forecast;
use crate::core::score::Score;
use crate::core::signal::SignalRule;
use crate::engine::model::Bundle;
use crate::ops::exit::{Exit, Failure};
use crate::report::{HoldRule, PaperOptions, ReplayReport, SellRule, Subject, figures, pages};

/// The most that a trade may cost, in basis points: all of it.
const BPS_MAX: f64 = 10_000.0;

/// Options of the report.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Report")]
pub(super) struct ReportArgs {
    /// Where a report goes (docs/report.md): one HTML page that opens from disk, or the figures as
    /// JSON where the name ends in .json; repeatable
    #[arg(long = "report", value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    /// Of the paper account: fees for each unit of position that changes hands, in basis points
    #[arg(long, value_name = "BPS", default_value = "1", value_parser = basis_points)]
    cost_bps: f64,
    /// Of the paper account: how much worse than the price of the step a trade is made, likewise
    #[arg(long, value_name = "BPS", default_value = "1", value_parser = basis_points)]
    slippage_bps: f64,
    /// Of the paper account: the position that the signal sell takes, -1 or 0
    #[arg(long, value_name = "POSITION", default_value = "short")]
    paper_sell: Sell,
    /// Of the paper account: the position that the signal hold takes, 0 or the one before
    #[arg(long, value_name = "POSITION", default_value = "flat")]
    paper_hold: Hold,
}

/// What `sell` means.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Sell {
    Short,
    Flat,
}

/// What `hold` means.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Hold {
    Flat,
    Keep,
}

/// The reports of all models.
pub(super) struct Reports {
    files: Vec<(PathBuf, File)>,
    options: PaperOptions,
    /// In the order of the configuration; none where no file is asked for.
    models: Vec<ReplayReport>,
}

impl ReportArgs {
    /// Creates the files.
    pub(super) fn open(&self) -> Result<Reports, Exit> {
        let Self { files, cost_bps, slippage_bps, paper_sell, paper_hold } = self;
        let create = |path: &PathBuf| -> Result<_, Exit> {
            let failure = Failure::Data;
            let file = File::create(path)
                .map_err(Exit::while_doing(failure, format_args!("create {}", path.display())))?;
            Ok((path.clone(), file))
        };
        let options = PaperOptions {
            cost_bps: *cost_bps,
            slippage_bps: *slippage_bps,
            sell: match paper_sell {
                Sell::Short => SellRule::Short,
                Sell::Flat => SellRule::Flat,
            },
            hold: match paper_hold {
                Hold::Flat => HoldRule::Flat,
                Hold::Keep => HoldRule::Keep,
            },
            ..PaperOptions::default()
        };
        let files = files.iter().map(create).collect::<Result<Vec<_>, Exit>>()?;
        Ok(Reports { files, options, models: Vec::new() })
    }
}

impl Reports {
    /// Whether a report is asked for.
    pub(super) fn is_asked(&self) -> bool {
        !self.files.is_empty()
    }

    /// Takes the next model of the configuration.
    pub(super) fn add(&mut self, bundle: &Bundle, rule: SignalRule) {
        if self.is_asked() {
            let subject = Subject::new(bundle.manifest(), bundle.plans(), rule);
            self.models.push(ReplayReport::new(subject, self.options));
        }
    }

    /// How signals become positions.
    #[cfg(feature = "train")]
    pub(super) fn options(&self) -> PaperOptions {
        self.options
    }

    /// Takes a report that is complete.
    #[cfg(feature = "train")]
    pub(super) fn add_whole(&mut self, report: ReplayReport) {
        self.models.push(report);
    }

    /// Takes a forecast of a model.
    pub(super) fn forecast(&mut self, model: usize, symbol: &str, forecast: &Forecast) {
        if let Some(report) = self.models.get_mut(model) {
            report.forecast(symbol, forecast);
        }
    }

    /// Takes a score of a model.
    pub(super) fn score(&mut self, model: usize, symbol: &str, score: &Score) {
        if let Some(report) = self.models.get_mut(model) {
            report.score(symbol, score);
        }
    }

    /// Writes the files.
    pub(super) fn write(&mut self) -> Result<(), Exit> {
        for (path, file) in &mut self.files {
            let is_json = path.extension().is_some_and(|extension| extension == "json");
            let text = if is_json {
                figures(&self.models).map_err(Exit::because(Failure::Internal))?
            } else {
                pages(&self.models)
            };
            let what = format_args!("write {}", path.display()).to_string();
            file.write_all(text.as_bytes()).map_err(Exit::while_doing(Failure::Temporary, what))?;
        }
        Ok(())
    }
}

/// A number of basis points from 0 to all.
fn basis_points(text: &str) -> Result<f64, String> {
    let points = text.parse().ok().filter(|points| (0.0..=BPS_MAX).contains(points));
    points.ok_or_else(|| format!("must be a number from 0 to {BPS_MAX}"))
}
