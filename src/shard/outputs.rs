//! The metrics of the outputs of models that list them, over all shards.
//!
//! Owns their names, each with the model in the label `model` and the horizon in `horizon_steps`.
//! Every shard lays down what its symbols come to, and a figure is made of that when it is asked
//! for, over all shards. Promises that a model without a list of outputs takes no lock and has no
//! series. Never scores.
//!
//! What is laid down is behind a mutex, because a version may change the horizons and levels, and a
//! scrape needs names and numbers that belong together. A shard holds it for a few stores.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, Opts, Registry};

use crate::core::score::{QuantileSums, ScoreBook, Sums};
use crate::engine::symbols::Engine;

/// The metrics of the outputs of all models.
pub(super) struct OutputMetrics {
    /// By the name of the model.
    boards: Vec<(String, Arc<Board>)>,
}

/// What every shard has laid down of one model.
pub(super) struct Board {
    shards: Vec<Mutex<Vec<Laid>>>,
}

/// What one shard has laid down of one output.
#[derive(Clone, Debug, Default)]
struct Laid {
    horizon_steps: u32,
    levels: Vec<f64>,
    sums: Sums,
    quantiles: QuantileSums,
}

/// Makes the gauges of what was laid down.
struct Gauges {
    boards: Vec<(String, Arc<Board>)>,
    skill: GaugeVec,
    error: GaugeVec,
    coverage: GaugeVec,
    quantile_coverage: GaugeVec,
    quantile_loss: GaugeVec,
}

impl OutputMetrics {
    /// Registers the metrics of these models for so many shards.
    ///
    /// # Errors
    /// Where a name is registered already.
    pub(super) fn register<'m>(
        registry: &Registry,
        models: impl Iterator<Item = &'m str>,
        shards: usize,
    ) -> Result<Self, prometheus::Error> {
        let board = |name: &str| {
            let shards = (0..shards).map(|_| Mutex::default()).collect();
            (name.to_owned(), Arc::new(Board { shards }))
        };
        let boards: Vec<_> = models.map(board).collect();
        registry.register(Box::new(Gauges::new(boards.clone())?))?;
        Ok(Self { boards })
    }

    /// The boards of the models, in the order in which they were registered.
    pub(super) fn boards(&self) -> impl Iterator<Item = &Arc<Board>> {
        self.boards.iter().map(|(_, board)| board)
    }
}

impl Board {
    /// Lays down what the outputs of a shard come to. `was_listed` says whether this was done
    /// before: another version may list none.
    pub(super) fn lay(&self, shard: usize, engine: &Engine, was_listed: &mut bool) {
        let lists = engine.lists_outputs();
        let Some(laid) = self.shards.get(shard).filter(|_| lists || *was_listed) else { return };
        *was_listed = lists;
        let laid = &mut *locked(laid);
        let books: &[ScoreBook] = if lists { engine.further_scores() } else { &[] };
        let first = lists.then(|| engine.scores());
        laid.resize_with(books.len() + usize::from(lists), Laid::default);
        for (laid, book) in laid.iter_mut().zip(first.into_iter().chain(books)) {
            laid.horizon_steps = book.horizon_steps();
            if laid.levels != book.plan().levels() {
                laid.levels = book.plan().levels().to_vec();
            }
            (laid.sums, laid.quantiles) = book.whole();
        }
    }

    /// What all shards come to that run the same outputs as the first one.
    fn whole(&self) -> Vec<Laid> {
        let mut whole: Vec<Laid> = Vec::new();
        for (at, laid) in self.shards.iter().enumerate() {
            let laid = locked(laid);
            if at == 0 {
                whole.clone_from(&laid);
            } else if is_alike(&laid, &whole) {
                for (whole, more) in whole.iter_mut().zip(&*laid) {
                    whole.sums += more.sums;
                    whole.quantiles += more.quantiles;
                }
            }
        }
        whole
    }
}

/// Whether two shards run the same outputs.
fn is_alike(one: &[Laid], other: &[Laid]) -> bool {
    let same = |(one, other): (&Laid, &Laid)| {
        one.horizon_steps == other.horizon_steps && one.levels == other.levels
    };
    one.len() == other.len() && one.iter().zip(other).all(same)
}

/// A shard that panicked ends the process, and what it laid down is whole numbers.
fn locked(laid: &Mutex<Vec<Laid>>) -> MutexGuard<'_, Vec<Laid>> {
    laid.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gauges {
    fn new(boards: Vec<(String, Arc<Board>)>) -> Result<Self, prometheus::Error> {
        let gauges =
            |name: &str, help: &str, labels: &[&str]| GaugeVec::new(Opts::new(name, help), labels);
        let of_output = ["model", "horizon_steps"];
        let of_level = ["model", "horizon_steps", "level"];
        Ok(Self {
            boards,
            skill: gauges(
                "tickcast_output_skill",
                "As tickcast_score_skill over weighted sums, of each output of a model that lists \
                 them.",
                &of_output,
            )?,
            error: gauges(
                "tickcast_output_mean_absolute_error",
                "Mean absolute error of each output, in the target's unit.",
                &of_output,
            )?,
            coverage: gauges(
                "tickcast_output_coverage_ratio",
                "Share of intervals of each output that held their truth.",
                &of_output,
            )?,
            quantile_coverage: gauges(
                "tickcast_quantile_coverage_ratio",
                "Share of truths at or below the quantile of a level.",
                &of_level,
            )?,
            quantile_loss: gauges(
                "tickcast_quantile_loss",
                "Mean pinball loss of the quantile of a level, in the target's unit.",
                &of_level,
            )?,
        })
    }

    fn all(&self) -> [&GaugeVec; 5] {
        let Self { skill, error, coverage, quantile_coverage, quantile_loss, .. } = self;
        [skill, error, coverage, quantile_coverage, quantile_loss]
    }
}

impl Collector for Gauges {
    fn desc(&self) -> Vec<&Desc> {
        self.all().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // Another version of a model may have other outputs.
        self.all().into_iter().for_each(GaugeVec::reset);
        for (model, board) in &self.boards {
            for Laid { horizon_steps, levels, sums, quantiles } in board.whole() {
                let horizon = horizon_steps.to_string();
                let set = |gauge: &GaugeVec, figure: Option<f64>| {
                    let gauge = gauge.with_label_values(&[&**model, &*horizon]);
                    gauge.set(figure.unwrap_or(f64::NAN));
                };
                set(&self.skill, sums.skill());
                set(&self.error, sums.mean_absolute_error());
                set(&self.coverage, sums.coverage());
                for (at, level) in levels.iter().enumerate() {
                    let level = level.to_string();
                    let set = |gauge: &GaugeVec, figure: Option<f64>| {
                        let gauge = gauge.with_label_values(&[&**model, &*horizon, &*level]);
                        gauge.set(figure.unwrap_or(f64::NAN));
                    };
                    set(&self.quantile_coverage, quantiles.coverage(at));
                    set(&self.quantile_loss, quantiles.mean_loss(at));
                }
            }
        }
        self.all().into_iter().flat_map(Collector::collect).collect()
    }
}
