//! The metrics of inputs that have left the distribution of the training, over all shards.
//!
//! Owns their names, each with the model in the label `model`. Every shard lays down what its
//! symbols come to, and a figure is made of that when it is asked for, over all shards. Promises
//! that laying down allocates nothing, except when another version of a model has other features.
//! Never judges.
//!
//! What is laid down is behind a mutex, because a version may change the features, and a scrape
//! needs names and numbers that belong together. A shard holds it for a few stores.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, Opts, Registry};

use crate::core::shift::{ShiftBook, ShiftTally};

/// The metrics of the inputs of all models.
pub(super) struct ShiftMetrics {
    /// By the name of the model.
    boards: Vec<(String, Arc<Board>)>,
}

/// What every shard has laid down of one model.
pub(super) struct Board {
    shards: Vec<Mutex<Laid>>,
}

/// What one shard has laid down of one model.
#[derive(Default)]
struct Laid {
    features: Vec<String>,
    /// The limit of each feature; empty for a bundle without a distribution.
    limits: Vec<f64>,
    tally: ShiftTally,
}

/// Makes the gauges of what was laid down.
struct Gauges {
    boards: Vec<(String, Arc<Board>)>,
    index: GaugeVec,
    limit: GaugeVec,
    feature_symbols: GaugeVec,
    symbols: GaugeVec,
}

impl ShiftMetrics {
    /// Registers the metrics of models, each with its features, for so many shards.
    ///
    /// # Errors
    /// Where a name is registered already.
    pub(super) fn register(
        registry: &Registry,
        models: &[(String, Vec<String>)],
        shards: usize,
    ) -> Result<Self, prometheus::Error> {
        let laid = |features: &Vec<String>| {
            Mutex::new(Laid { features: features.clone(), ..Laid::default() })
        };
        let board = |(name, features): &(String, Vec<String>)| {
            let shards = (0..shards).map(|_| laid(features)).collect();
            (name.clone(), Arc::new(Board { shards }))
        };
        let boards: Vec<_> = models.iter().map(board).collect();
        registry.register(Box::new(Gauges::new(boards.clone())?))?;
        Ok(Self { boards })
    }

    /// The boards of the models, in the order in which they were registered.
    pub(super) fn boards(&self) -> impl Iterator<Item = &Arc<Board>> {
        self.boards.iter().map(|(_, board)| board)
    }
}

impl Board {
    /// Lays down what the symbols of a shard come to. `features` are those of the version that
    /// runs.
    pub(super) fn lay(&self, shard: usize, features: &[String], book: Option<&ShiftBook>) {
        let Some(laid) = self.shards.get(shard) else { return };
        let Laid { features: named, limits, tally } = &mut *locked(laid);
        if named != features {
            features.clone_into(named);
        }
        limits.clear();
        let Some(book) = book else {
            *tally = ShiftTally::default();
            return;
        };
        limits.extend(book.plan().limits());
        tally.follow(book.tally());
    }

    /// What all shards come to that run the same version as the first one: the features, their
    /// limits, and the tally.
    fn whole(&self) -> (Vec<String>, Vec<f64>, ShiftTally) {
        let (mut features, mut limits, mut whole) = (Vec::new(), Vec::new(), ShiftTally::default());
        for (at, laid) in self.shards.iter().enumerate() {
            let laid = locked(laid);
            if at == 0 {
                features.clone_from(&laid.features);
                limits.clone_from(&laid.limits);
                whole = laid.tally.clone();
            } else if laid.features == features && laid.limits == limits {
                whole.merge(&laid.tally);
            }
        }
        (features, limits, whole)
    }
}

/// A shard that panicked ends the process, and what it laid down is whole numbers.
fn locked(laid: &Mutex<Laid>) -> MutexGuard<'_, Laid> {
    laid.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gauges {
    fn new(boards: Vec<(String, Arc<Board>)>) -> Result<Self, prometheus::Error> {
        let gauges =
            |name: &str, help: &str, labels: &[&str]| GaugeVec::new(Opts::new(name, help), labels);
        let of_feature = ["model", "feature"];
        Ok(Self {
            boards,
            index: gauges(
                "tickcast_shift_psi",
                "Population stability index of a feature, the mean over symbols.",
                &of_feature,
            )?,
            limit: gauges(
                "tickcast_shift_limit_psi",
                "The index beyond which the feature of a symbol is shifted.",
                &of_feature,
            )?,
            feature_symbols: gauges(
                "tickcast_shift_feature_symbols",
                "Symbols that are beyond the limit of a feature.",
                &of_feature,
            )?,
            symbols: gauges(
                "tickcast_shift_symbols",
                "Symbols whose inputs have left the distribution of the training.",
                &["model"],
            )?,
        })
    }

    fn all(&self) -> [&GaugeVec; 4] {
        [&self.index, &self.limit, &self.feature_symbols, &self.symbols]
    }
}

impl Collector for Gauges {
    fn desc(&self) -> Vec<&Desc> {
        self.all().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // Another version of a model may have other features.
        self.all().into_iter().for_each(GaugeVec::reset);
        for (model, board) in &self.boards {
            let (features, limits, tally) = board.whole();
            for (place, feature) in features.iter().enumerate() {
                let labels = [&**model, &**feature];
                let number = |gauge: &GaugeVec, figure: Option<f64>| {
                    gauge.with_label_values(&labels).set(figure.unwrap_or(f64::NAN));
                };
                number(&self.index, tally.mean(place));
                number(&self.limit, limits.get(place).copied());
                let beyond = tally.beyond.get(place).copied().unwrap_or_default();
                number(&self.feature_symbols, Some(beyond as f64));
            }
            self.symbols.with_label_values(&[model]).set(tally.shifted as f64);
        }
        self.all().into_iter().flat_map(Collector::collect).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::domain::{SymbolId, UnixNanos};
    use crate::core::shift::{DistributionSpec, FeatureDistribution, ShiftPlan};

    /// Two features with two bins each, below 0 and from 0 on.
    fn plan() -> ShiftPlan {
        let feature = FeatureDistribution {
            min: -1.0,
            edges: vec![0.0],
            max: 1.0,
            counts: vec![500, 500],
            largest: 0.5,
            limit: 0.5,
        };
        let epoch = UnixNanos::from_nanos(0);
        let features = vec![feature.clone(), FeatureDistribution { limit: 0.75, ..feature }];
        let spec =
            DistributionSpec { from: epoch, to: epoch, rows: 1000, memory_rows: 64, features };
        ShiftPlan::new(&spec)
    }

    #[test]
    fn figures_are_over_all_symbols_of_all_shards() {
        let registry = Registry::new();
        let model = |name: &str, features: &[&str]| {
            (name.to_owned(), features.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
        };
        let models = [model("m", &["close", "change"]), model("n", &["rain"])];
        let metrics = ShiftMetrics::register(&registry, &models, 2).unwrap();
        let value = |name: &str| {
            let page = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
            let line = page.lines().find(|line| line.starts_with(name)).map(str::to_owned);
            let line = line.unwrap_or_else(|| panic!("{name} in {page}"));
            line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()
        };
        let of = |name: &str, feature: &str| {
            value(&format!(r#"tickcast_shift_{name}{{feature="{feature}",model="m"}}"#))
        };
        assert!(of("psi", "close").is_nan() && of("limit_psi", "close").is_nan());
        assert_eq!(value(r#"tickcast_shift_symbols{model="n"}"#), 0.0);
        // A symbol in each shard: the first one like the training, the close of the other above 0.
        let mut books = [ShiftBook::new(plan()), ShiftBook::new(plan())];
        let id = SymbolId::from_index(0).unwrap();
        for (shard, book) in books.iter_mut().enumerate() {
            book.add_symbol();
            for at in 0..64 {
                let side = if at % 2 == 0 { 0.5 } else { -0.5 };
                book.take(id, &[if shard == 0 { side } else { 0.5 }, side]);
            }
        }
        let board = metrics.boards().next().unwrap();
        for (shard, book) in books.iter().enumerate() {
            board.lay(shard, &models[0].1, Some(book));
        }
        let index = |book: &ShiftBook| book.tally().mean(0).unwrap();
        assert!(index(&books[0]) < 0.1 && index(&books[1]) > 0.5);
        let mean = (index(&books[0]) + index(&books[1])) / 2.0;
        assert!((of("psi", "close") - mean).abs() < 1e-12);
        assert_eq!((of("limit_psi", "close"), of("limit_psi", "change")), (0.5, 0.75));
        assert_eq!((of("feature_symbols", "close"), of("feature_symbols", "change")), (1.0, 0.0));
        assert_eq!(value(r#"tickcast_shift_symbols{model="m"}"#), 1.0);
        // Another version has other features, and says nothing of their distribution.
        for shard in 0..2 {
            board.lay(shard, &["volume".to_owned()], None);
        }
        assert!(of("psi", "volume").is_nan());
        assert_eq!(value(r#"tickcast_shift_symbols{model="m"}"#), 0.0);
        let page = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        assert!(!page.contains("close"), "{page}");
    }
}
