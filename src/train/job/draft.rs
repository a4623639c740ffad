//! From a fitted network to what is sealed: manifest, graph and golden vectors.
//!
//! Owns what the manifest says of a run and which rows prove it. Promises that a golden case is
//! what a daemon that begins with its steps computes. Never writes a file.

use super::{Job, TrainError};
use crate::core::features::{FeaturePlan, SymbolTable};
use crate::engine::model::Draft;
use crate::engine::model::golden::{GOLDEN_SCHEMA, Golden, GoldenCase, GoldenStep};
use crate::engine::model::manifest::{
    GraphSpec, Known, MANIFEST_SCHEMA, Manifest, Mode, TargetSpec, TrainingSpec,
};
use crate::train::assess::Assessment;
use crate::train::config::StateRule;
use crate::train::dataset::{Example, Part};
use crate::train::evaluate::{TargetKind, verdict};
use crate::train::export::export;
use crate::train::fit::carried::predict as predict_carried;
use crate::train::fit::{Fit, predict};
use crate::train::outputs;
use crate::train::rows::scaled_rows;
use crate::train::sequences::{Place, Sequences};
use crate::train::symbols;
use crate::train::windows::Windows;

/// How far ONNX Runtime may be from the trainer, in model units, in which forecasts lie between
/// -1 and 1. Measured: 3e-7 at most.
const GOLDEN_TOLERANCE: f32 = 1e-6;
/// Golden cases from each of the validation and the test part.
pub(super) const GOLDEN_CASES_PER_PART: usize = 4;
/// The same where the state is carried: fewer, because each is longer.
pub(super) const CARRIED_CASES_PER_PART: usize = 2;
/// Windows in the rows of a golden case where the state is carried, so that it is carried well past
/// the first forecast.
pub(super) const CARRIED_WINDOWS: usize = 3;

/// The verdict of a bundle without a test part.
const UNTESTED: &str = "The model was not judged on a test part: a backtest judges it by the time \
                        that follows its validation part.";

impl Job {
    /// What would be sealed of a fit that did so.
    pub(super) fn draft(&self, fit: &Fit, judged: &Assessment) -> Result<Draft, TrainError> {
        let Self { config, version, history, dataset, network, .. } = self;
        let interval = judged.terms.interval;
        let parts = [(&dataset.validation, &judged.validation), (&dataset.test, &judged.test)];
        let parts = parts.into_iter().filter(|(part, _)| !part.examples.is_empty());
        let (parts, judged_parts): (Vec<_>, Vec<_>) = parts.unzip();
        let symbols = dataset.symbols.as_ref();
        let symbols = symbols.map(|known| {
            let fitted = (network, &fit.parameters[..]);
            symbols::table(config, known, &dataset.symbol_scalers, fitted)
        });
        let symbols = symbols.transpose()?;
        let cases = self.golden_cases(&fit.parameters, &parts, symbols.as_ref())?;
        let evaluation = judged_parts.iter().map(|part| part.figures.clone()).collect();
        let kind = TargetKind::of(&config.target);
        let verdict = if dataset.test.examples.is_empty() {
            UNTESTED.to_owned()
        } else {
            verdict(&judged.test.figures, kind, interval.coverage, judged.against())
        };
        let exported = export(network, &fit.parameters, &config.name);
        let manifest = Manifest {
            schema: MANIFEST_SCHEMA.to_owned(),
            name: config.name.clone(),
            version: version.clone(),
            // Sealing fills the hashes in.
            onnx_sha256: String::new(),
            golden_sha256: String::new(),
            window_steps: count(config.window_steps),
            horizon_steps: count(config.horizon_steps),
            step: config.step.clone(),
            features: config.features.clone(),
            extra_fields: config.extra_fields.clone(),
            scaler: dataset.scaler.clone(),
            // Sealing says here what is in the table.
            symbols: None,
            target: TargetSpec {
                kind: config.target.clone(),
                scaler: dataset.target_scaler.clone(),
            },
            modes: match config.state {
                StateRule::Carried => vec![Mode::Carried],
                StateRule::Window if exported.graph.states.is_empty() => vec![Mode::Full],
                StateRule::Window => vec![Mode::Full, Mode::Sliding],
            },
            graph: GraphSpec { columns: outputs::columns_spec(config), ..exported.graph },
            signal: config.signal,
            interval,
            outputs: outputs::specs(config, dataset, &judged.further),
            exactness: None,
            origin: None,
            training: Known::Is(TrainingSpec {
                data_sha256: history.data_sha256.clone(),
                symbols: history.symbols(),
                from: dataset.training_span.0,
                to: dataset.training_span.1,
                windows: count(dataset.training.examples.len()),
                epochs: count(fit.epochs.len()),
                best_epoch: count(fit.best_epoch),
                seed: config.recipe.seed,
            }),
            baselines: Some(judged.baselines.clone()),
            distribution: dataset.distribution.clone(),
            evaluation,
            repeats: Vec::new(),
            verdict,
        };
        let schema = GOLDEN_SCHEMA.to_owned();
        let golden = Golden { schema, tolerance: GOLDEN_TOLERANCE, cases };
        Ok(Draft { manifest, onnx: exported.onnx, golden, symbols })
    }

    /// Examples spread evenly over each part, the first and the last among them.
    ///
    /// A case carries the steps of its warm-up and its window, and its rows are those of a daemon
    /// that begins with them: a feature with an endless memory, such as `ema(n)`, differs by what
    /// is left of the earlier history.
    fn golden_cases(
        &self,
        parameters: &[f32],
        parts: &[&Part],
        symbols: Option<&SymbolTable>,
    ) -> Result<Vec<GoldenCase>, TrainError> {
        let config = &self.config;
        let (label, scaler) = (config.target.label(), &self.dataset.scaler);
        let plan = FeaturePlan::new(&config.features, &config.extra_fields, label, scaler)?;
        let plan = match symbols {
            Some(table) => plan.with_symbols(table, &config.features)?,
            None => plan,
        };
        let (window, width) = (config.window_steps, plan.width());
        let (cases_max, windows) = match config.state {
            StateRule::Window => (GOLDEN_CASES_PER_PART, 1),
            StateRule::Carried => (CARRIED_CASES_PER_PART, CARRIED_WINDOWS),
        };
        let value = outputs::columns_spec(config).map_or(0, |columns| columns.value as usize);
        let mut cases = Vec::new();
        let known = &self.dataset.symbols;
        let mut inputs = Sequences::new(width).with_symbols(known.clone());
        for part in parts {
            let last = part.examples.len() - 1;
            let places = cases_max.min(part.examples.len());
            for place in 0..places {
                let at = last * place / (places - 1).max(1);
                let example = part.examples.at(at);
                let rows = (windows * window).min(self.dataset.row_of(&example) + 1);
                let mut add = |series: usize, symbol: Option<String>| -> Result<(), TrainError> {
                    let name = symbol.as_deref().unwrap_or_default();
                    let (steps, rows) = self.golden_rows(example, rows, name, &plan)?;
                    let entry = plan.entry(name);
                    let window = rows.chunks_exact(width).map(|row| plan.input_row(entry, row));
                    let window = window.collect();
                    inputs.push_of(series, rows);
                    cases.push(GoldenCase { symbol, steps, window, ..GoldenCase::default() });
                    Ok(())
                };
                // The first steps are also those of a symbol that the model does not know.
                if let Some(known) = known.as_ref().filter(|_| place == 0) {
                    add(known.unknown_series(), None)?;
                }
                let symbol = &self.history.series[example.series].symbol;
                add(example.series, known.is_some().then(|| symbol.clone()))?;
            }
        }
        for (sequence, case) in cases.iter_mut().enumerate() {
            let rows = window - 1..case.window.len();
            let places: Vec<Place> = rows.map(|row| Place { sequence, row }).collect();
            let values = self.golden_outputs(parameters, &inputs, &places);
            let rows = values.chunks_exact(config.outputs.columns());
            case.output = rows.clone().map(|row| row[value]).collect();
            if config.outputs.are_listed() {
                case.outputs = rows.map(<[f32]>::to_vec).collect();
            }
        }
        Ok(cases)
    }

    /// The outputs at the rows of a golden case whose windows are full.
    fn golden_outputs(&self, parameters: &[f32], inputs: &Sequences, places: &[Place]) -> Vec<f32> {
        let (network, steps) = (&self.network, self.config.window_steps);
        match self.config.state {
            StateRule::Carried => predict_carried(network, parameters, inputs, places, steps, 1),
            StateRule::Window => {
                let symbols = self.dataset.symbols.clone();
                let mut windows = Windows::new(steps, inputs.features(), 1).with_symbols(symbols);
                for Place { sequence, row } in places {
                    let rows = inputs.rows(*sequence, row + 1 - steps..row + 1);
                    let start = windows.push_rows_of(inputs.series(*sequence), &rows);
                    windows.push_window(start, &[0.0]);
                }
                predict(network, parameters, &windows)
            }
        }
    }

    /// The steps behind the last `count` rows of an example from the warm-up on, and these rows
    /// `[count, F]` as those of `symbol`.
    fn golden_rows(
        &self,
        Example { series, step: newest, .. }: Example,
        count: usize,
        symbol: &str,
        plan: &FeaturePlan,
    ) -> Result<(Vec<GoldenStep>, Vec<f32>), TrainError> {
        let warm_up = usize::try_from(self.features.warm_up_steps())
            .expect("a warm-up that the history has passed is a count of its steps");
        let oldest = newest + 1 - count - warm_up;
        let series = &self.history.series[series];
        let steps = series.steps.slice(oldest..=newest);
        let rows = scaled_rows(symbol, &steps, plan)?;
        let schema = self.features.schema();
        let golden = steps.iter().map(|step| {
            let fields = self.features.required().iter().filter_map(|field| {
                let value = step.fields.read(*field)?;
                Some((schema.name(*field).to_owned(), value))
            });
            GoldenStep { time: step.time, fields: fields.collect() }
        });
        Ok((golden.collect(), rows))
    }
}

/// Counts are far below 2^32, which a manifest holds.
fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
