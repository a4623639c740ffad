//! The metrics of scores, over all shards.
//!
//! Owns their names, each with the model in the label `model`. Every shard lays its sums down here,
//! and a figure is made of them when it is asked for: the sums of all shards first, the quotient
//! last, so that it is that of the whole. Promises that laying down takes no lock and no memory; a
//! scrape in between may see one sum of a batch that the others do not have yet. Never averages
//! averages.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::outputs::{Board as OutputBoard, OutputMetrics};
use super::shift::{Board as ShiftBoard, ShiftMetrics};
use crate::core::baseline::BaselineKind;
use crate::core::blend::WEIGHT_PARTS;
use crate::core::domain::Symbol;
use crate::core::score::{Evidence, GroupSums, SUMS_LENGTH, ScoreBook, ScoreTally, Sums, Unscored};
use crate::core::signal::{COUNTS_LENGTH, SideCounts, SignalCounts};
use crate::core::verdict::{LEVEL, POOL_LENGTH, Pool, Word};
use crate::engine::pipeline::{Pipeline, Pipelines, RivalPool};
use crate::engine::symbols::Engine;

/// The label of all symbols that are not listed.
const OTHER: &str = "other";

/// In the place of a model that there is not.
const NO_RIVAL: usize = usize::MAX;

/// The metrics of the scores of all models; each shard takes its own ends.
#[derive(Clone)]
pub struct ScoreMetrics {
    models: Vec<ModelScores>,
}

/// Those of one model.
#[derive(Clone)]
struct ModelScores {
    /// In the order of [`Evidence::ALL`].
    scores: Vec<IntCounter>,
    unscored: Vec<IntCounter>,
    waiting: IntGauge,
    drifts: IntCounter,
    drifting: IntGauge,
    board: Arc<Board>,
    inputs: Arc<ShiftBoard>,
    outputs: Arc<OutputBoard>,
}

/// One shard's end of the metrics of one model.
pub struct ShardScores {
    metrics: ModelScores,
    shard: usize,
    shown: ScoreTally,
    /// Whether the model listed outputs when it was last shown.
    lists_outputs: bool,
}

/// A model whose scores are shown.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoredModel {
    /// As the metrics name it.
    pub name: String,
    /// The share of truths that its intervals are made to hold.
    pub coverage: f64,
    /// The baseline that it is compared with.
    pub against: BaselineKind,
    /// Its features, in the order of its columns.
    pub features: Vec<String>,
    /// Of a blend: its experts.
    pub experts: Vec<String>,
    /// How many steps ahead it looks.
    pub horizon_steps: u32,
}

impl ScoredModel {
    /// The models of a stream, in their order.
    pub fn of(pipelines: &Pipelines) -> Vec<Self> {
        let model = |(name, pipeline): (&Arc<str>, &Pipeline)| Self {
            name: name.to_string(),
            coverage: pipeline.template().coverage,
            against: pipeline.engine().scores().against(),
            features: pipeline.manifest().features.clone(),
            experts: pipeline.experts().to_vec(),
            horizon_steps: pipeline.engine().scores().horizon_steps(),
        };
        pipelines.each().map(model).collect()
    }
}

/// What every shard has laid down.
struct Board {
    shards: Vec<Laid>,
    /// Of a blend: the names of its experts.
    experts: Vec<String>,
    /// The place of the baseline among all, which another version of the model may change.
    against: AtomicUsize,
    /// The place in the configuration of the live model that a shadow is compared with, or
    /// [`NO_RIVAL`].
    rival: AtomicUsize,
    /// How many steps ahead it looks, which another version may change as well.
    horizon_steps: AtomicU32,
}

/// What the shards have laid down of shadows and the live models of their seats; cloning shares it.
#[derive(Clone, Default)]
pub struct RivalBoard(Arc<[Arc<Board>]>);

impl RivalBoard {
    /// A board on which one shard has laid these down, one for each model.
    #[cfg(test)]
    pub(crate) fn laid(pools: &[RivalPool]) -> Self {
        let board = |RivalPool { rival, pool }: &RivalPool| {
            let laid = Laid {
                groups: Vec::new(),
                pools: Vec::new(),
                rivals: vec![AtomicPool::default()],
                signals: Vec::new(),
                recent: AtomicSums::default(),
                weights: Vec::new(),
                weighed: AtomicU64::default(),
            };
            laid.rivals[0].store(pool);
            let (against, rival) =
                (AtomicUsize::new(0), AtomicUsize::new(rival.unwrap_or(NO_RIVAL)));
            let (shards, experts, horizon_steps) = (vec![laid], Vec::new(), AtomicU32::new(1));
            Arc::new(Board { shards, experts, against, rival, horizon_steps })
        };
        Self(pools.iter().map(board).collect())
    }

    /// What all shards say of a model, by its place in the configuration, and its rival. It may be
    /// of another moment in each shard.
    pub fn of(&self, model: usize) -> RivalPool {
        let Some(board) = self.0.get(model) else { return RivalPool::default() };
        board.rival_pool()
    }
}

impl Board {
    fn rival_pool(&self) -> RivalPool {
        let rival = self.rival.load(Ordering::Relaxed);
        let pools = self.shards.iter().flat_map(|laid| &laid.rivals).map(AtomicPool::load);
        let pool = pools.fold(Pool::default(), |pool, more| pool.merged(&more));
        RivalPool { rival: Some(rival).filter(|rival| *rival != NO_RIVAL), pool }
    }
}

/// What one shard has laid down.
struct Laid {
    /// By listed symbol; behind them all others.
    groups: Vec<AtomicSums>,
    /// The evidence of the same groups.
    pools: Vec<AtomicPool>,
    /// The evidence of the same groups about the rival.
    rivals: Vec<AtomicPool>,
    /// How the signals of the same groups did.
    signals: Vec<AtomicCounts>,
    recent: AtomicSums,
    /// Of each expert of a blend, the sum of its newest weights over all symbols.
    weights: Vec<AtomicU64>,
    /// How many symbols have weights.
    weighed: AtomicU64,
}

/// Sums that one thread writes and others read.
#[derive(Default)]
struct AtomicSums([AtomicU64; SUMS_LENGTH]);

/// Evidence that one thread writes and others read.
struct AtomicPool([AtomicU64; POOL_LENGTH]);

/// Counts of signals that one thread writes and others read.
#[derive(Default)]
struct AtomicCounts([AtomicU64; COUNTS_LENGTH]);

/// Makes the gauges of what was laid down.
struct Gauges {
    /// By the name of the model.
    boards: Vec<(String, Arc<Board>)>,
    symbols: Vec<String>,
    skill: GaugeVec,
    error: GaugeVec,
    direction: GaugeVec,
    coverage: GaugeVec,
    target: GaugeVec,
    against: GaugeVec,
    symbol_skill: GaugeVec,
    symbol_error: GaugeVec,
    symbol_direction: GaugeVec,
    symbol_coverage: GaugeVec,
    verdict: GaugeVec,
    verdict_since: GaugeVec,
    verdict_symbols: GaugeVec,
    symbol_verdict: GaugeVec,
    weight: GaugeVec,
    signal_scores: GaugeVec,
    signal_precision: GaugeVec,
    signal_recall: GaugeVec,
    signal_base: GaugeVec,
    signal_hit: GaugeVec,
    signal_chance: GaugeVec,
}

impl ScoreMetrics {
    /// Registers the metrics of the scores of models, for so many shards. The `listed` symbols are
    /// in the order that [`ScoreBook::listed`](crate::core::score::ScoreBook::listed) has.
    ///
    /// # Errors
    /// Where a name is registered already.
    pub fn register(
        registry: &Registry,
        models: &[ScoredModel],
        listed: &[Symbol],
        shards: usize,
    ) -> Result<Self, prometheus::Error> {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counters.clone())).map(|()| counters)
        };
        let gauges = |name: &str, help: &str| {
            let gauges = IntGaugeVec::new(Opts::new(name, help), &["model"])?;
            registry.register(Box::new(gauges.clone())).map(|()| gauges)
        };
        let laid = |model: &ScoredModel| Laid {
            groups: (0..=listed.len()).map(|_| AtomicSums::default()).collect(),
            pools: (0..=listed.len()).map(|_| AtomicPool::default()).collect(),
            rivals: (0..=listed.len()).map(|_| AtomicPool::default()).collect(),
            signals: (0..=listed.len()).map(|_| AtomicCounts::default()).collect(),
            recent: AtomicSums::default(),
            weights: model.experts.iter().map(|_| AtomicU64::default()).collect(),
            weighed: AtomicU64::default(),
        };
        let board = |model: &ScoredModel| {
            let shards = (0..shards).map(|_| laid(model)).collect();
            let against = AtomicUsize::new(model.against as usize);
            let (experts, rival) = (model.experts.clone(), AtomicUsize::new(NO_RIVAL));
            let horizon_steps = AtomicU32::new(model.horizon_steps);
            Arc::new(Board { shards, experts, against, rival, horizon_steps })
        };
        let boards: Vec<_> =
            models.iter().map(|model| (model.name.clone(), board(model))).collect();
        let scores = counters(
            "tickcast_scores_total",
            "Forecasts scored, by whether the model was trained on their time.",
            &["model", "evidence"],
        )?;
        let unscored = counters(
            "tickcast_scores_unscored_total",
            "Forecasts never scored, by reason.",
            &["model", "reason"],
        )?;
        let waiting = gauges("tickcast_scores_waiting", "Forecasts that wait for their truth.")?;
        let drifts = counters(
            "tickcast_score_drifts_total",
            "Times that the errors of a symbol became larger than they were.",
            &["model"],
        )?;
        let drifting = gauges(
            "tickcast_score_drifting_symbols",
            "Symbols whose errors are larger than they were.",
        )?;
        let named = |model: &ScoredModel| (model.name.clone(), model.features.clone());
        let named: Vec<_> = models.iter().map(named).collect();
        let inputs = ShiftMetrics::register(registry, &named, shards)?;
        let outputs =
            OutputMetrics::register(registry, models.iter().map(|model| &*model.name), shards)?;
        let of_model =
            |((model, board), (inputs, outputs)): (&(String, Arc<Board>), _)| ModelScores {
                scores: Evidence::ALL
                    .map(|evidence| scores.with_label_values(&[&**model, evidence.label()]))
                    .into(),
                unscored: Unscored::ALL
                    .map(|reason| unscored.with_label_values(&[&**model, reason.label()]))
                    .into(),
                waiting: waiting.with_label_values(&[model]),
                drifts: drifts.with_label_values(&[model]),
                drifting: drifting.with_label_values(&[model]),
                board: Arc::clone(board),
                inputs: Arc::clone(inputs),
                outputs: Arc::clone(outputs),
            };
        let laid = inputs.boards().zip(outputs.boards());
        let of_models = boards.iter().zip(laid).map(of_model).collect();
        registry.register(Box::new(Gauges::new(boards, models, listed)?))?;
        Ok(Self { models: of_models })
    }

    /// What becomes of shadows beside the live models of their seats.
    pub fn rivals(&self) -> RivalBoard {
        RivalBoard(self.models.iter().map(|model| Arc::clone(&model.board)).collect())
    }

    /// The ends of the shard of this number, one for each model.
    pub fn of_shard(&self, shard: usize) -> Vec<ShardScores> {
        let end = |metrics: &ModelScores| ShardScores {
            metrics: metrics.clone(),
            shard,
            shown: ScoreTally::default(),
            lists_outputs: false,
        };
        self.models.iter().map(end).collect()
    }
}

impl ShardScores {
    /// Lays down what has changed of a model since the last time.
    pub(super) fn show(&mut self, pipeline: &mut Pipeline) {
        let inputs = pipeline.engine().inputs();
        self.metrics.inputs.lay(self.shard, &pipeline.manifest().features, inputs);
        if *pipeline.engine().scores().tally() != self.shown {
            let outputs = &self.metrics.outputs;
            outputs.lay(self.shard, pipeline.engine(), &mut self.lists_outputs);
        }
        let rival = pipeline.rival().map_or(NO_RIVAL, |rival| rival.index);
        self.show_scores(pipeline.engine_mut().scores_mut(), rival);
    }

    fn show_scores(&mut self, book: &mut ScoreBook, rival: usize) {
        let (tally, shown) = (*book.tally(), self.shown);
        if tally == shown && !book.has_other_rival() {
            return;
        }
        let ModelScores { scores, unscored, waiting, drifts, drifting, board, .. } = &self.metrics;
        for (counter, reason) in unscored.iter().zip(Unscored::ALL) {
            counter.inc_by(tally.unscored(reason) - shown.unscored(reason));
        }
        drifts.inc_by(tally.drifts - shown.drifts);
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        waiting.add(count(tally.waiting) - count(shown.waiting));
        drifting.add(count(tally.drifting) - count(shown.drifting));
        board.against.store(book.against() as usize, Ordering::Relaxed);
        board.horizon_steps.store(book.horizon_steps(), Ordering::Relaxed);
        if let Some(laid) = board.shards.get(self.shard) {
            board.rival.store(rival, Ordering::Relaxed);
            book.show_changed(|group, GroupSums { sums, pool, rivals, signals, .. }| {
                laid.groups[group].store(sums);
                laid.pools[group].store(pool);
                laid.rivals[group].store(rivals);
                laid.signals[group].store(signals);
            });
            if tally.scores != shown.scores {
                laid.recent.store(&book.recent());
            }
        }
        // Last, so that whoever sees a score counted may see its sums as well.
        for (counter, evidence) in scores.iter().zip(Evidence::ALL) {
            counter.inc_by(tally.scores_of(evidence) - shown.scores_of(evidence));
        }
        self.shown = tally;
    }
}

impl ShardScores {
    /// Lays down what the experts of a blend weigh.
    pub(super) fn show_weights(&self, engine: &Engine) {
        let Some((totals, weighed)) = engine.blend_totals() else { return };
        let Some(laid) = self.metrics.board.shards.get(self.shard) else { return };
        for (cell, total) in laid.weights.iter().zip(totals) {
            cell.store(*total, Ordering::Relaxed);
        }
        laid.weighed.store(weighed, Ordering::Relaxed);
    }
}

impl Board {
    /// The mean weight of an expert over all symbols; no number before the first.
    fn mean_weight(&self, expert: usize) -> f64 {
        let weighed = self.shards.iter().map(|laid| laid.weighed.load(Ordering::Relaxed));
        let totals = self.shards.iter().map(|laid| laid.weights[expert].load(Ordering::Relaxed));
        let (weighed, total) = (weighed.sum::<u64>() as f64, totals.sum::<u64>() as f64);
        if weighed > 0.0 { total / (weighed * f64::from(WEIGHT_PARTS)) } else { f64::NAN }
    }
}

impl AtomicSums {
    fn store(&self, sums: &Sums) {
        for (cell, sum) in self.0.iter().zip(sums.to_array()) {
            cell.store(sum.to_bits(), Ordering::Relaxed);
        }
    }

    fn load(&self) -> Sums {
        let mut sums = [0.0; SUMS_LENGTH];
        for (sum, cell) in sums.iter_mut().zip(&self.0) {
            *sum = f64::from_bits(cell.load(Ordering::Relaxed));
        }
        Sums::from_array(sums)
    }
}

impl Default for AtomicPool {
    fn default() -> Self {
        Self(Pool::default().to_array().map(AtomicU64::new))
    }
}

impl AtomicPool {
    fn store(&self, pool: &Pool) {
        for (cell, number) in self.0.iter().zip(pool.to_array()) {
            cell.store(number, Ordering::Relaxed);
        }
    }

    fn load(&self) -> Pool {
        let mut numbers = [0; POOL_LENGTH];
        for (number, cell) in numbers.iter_mut().zip(&self.0) {
            *number = cell.load(Ordering::Relaxed);
        }
        Pool::from_array(numbers)
    }
}

impl AtomicCounts {
    fn store(&self, counts: &SignalCounts) {
        for (cell, count) in self.0.iter().zip(counts.to_array()) {
            cell.store(count, Ordering::Relaxed);
        }
    }

    fn load(&self) -> SignalCounts {
        let mut counts = [0; COUNTS_LENGTH];
        for (count, cell) in counts.iter_mut().zip(&self.0) {
            *count = cell.load(Ordering::Relaxed);
        }
        SignalCounts::from_array(counts)
    }
}

impl Gauges {
    fn new(
        boards: Vec<(String, Arc<Board>)>,
        models: &[ScoredModel],
        listed: &[Symbol],
    ) -> Result<Self, prometheus::Error> {
        let gauges =
            |name: &str, help: &str, labels: &[&str]| GaugeVec::new(Opts::new(name, help), labels);
        let target = gauges(
            "tickcast_score_coverage_target_ratio",
            "The share of truths that intervals are made to hold.",
            &["model"],
        )?;
        for ScoredModel { name, coverage, .. } in models {
            target.with_label_values(&[name]).set(*coverage);
        }
        let listed = listed.iter().map(|symbol| symbol.as_str().to_owned());
        Ok(Self {
            boards,
            symbols: listed.chain([OTHER.to_owned()]).collect(),
            skill: gauges(
                "tickcast_score_skill",
                "1 - squared error / squared error of the baseline that the bundle names.",
                &["model", "over"],
            )?,
            against: gauges(
                "tickcast_score_baseline_skill",
                "As tickcast_score_skill, against each baseline of the bundle.",
                &["model", "against", "over"],
            )?,
            error: gauges(
                "tickcast_score_mean_absolute_error",
                "Mean absolute error in the target's unit, of the model and its baseline.",
                &["model", "over", "of"],
            )?,
            direction: gauges(
                "tickcast_score_direction_hit_ratio",
                "Share of forecasts that told the direction, where the truth had one.",
                &["model", "over"],
            )?,
            coverage: gauges(
                "tickcast_score_coverage_ratio",
                "Share of intervals that held their truth.",
                &["model", "over"],
            )?,
            target,
            symbol_skill: gauges(
                "tickcast_score_symbol_skill",
                "As tickcast_score_skill, of one listed symbol or all others.",
                &["model", "symbol"],
            )?,
            symbol_error: gauges(
                "tickcast_score_symbol_mean_absolute_error",
                "As tickcast_score_mean_absolute_error, of one listed symbol or all others.",
                &["model", "symbol", "of"],
            )?,
            symbol_direction: gauges(
                "tickcast_score_symbol_direction_hit_ratio",
                "As tickcast_score_direction_hit_ratio, of one listed symbol or all others.",
                &["model", "symbol"],
            )?,
            symbol_coverage: gauges(
                "tickcast_score_symbol_coverage_ratio",
                "As tickcast_score_coverage_ratio, of one listed symbol or all others.",
                &["model", "symbol"],
            )?,
            verdict: gauges(
                "tickcast_verdict",
                "The verdict over all symbols: 1 better, 0 undecided, -1 worse, NaN too early. \
                 A shadow has another one against the live model of its seat.",
                &["model", "against"],
            )?,
            verdict_since: gauges(
                "tickcast_verdict_since_timestamp_seconds",
                "Event time since which a symbol has had the word of tickcast_verdict.",
                &["model", "against"],
            )?,
            verdict_symbols: gauges(
                "tickcast_verdict_symbols",
                "Symbols by their own verdict.",
                &["model", "against", "word"],
            )?,
            symbol_verdict: gauges(
                "tickcast_verdict_symbol",
                "As tickcast_verdict, of one listed symbol or all others.",
                &["model", "symbol", "against"],
            )?,
            weight: gauges(
                "tickcast_blend_weight",
                "What an expert weighs in the newest forecasts of a blend: the mean over symbols.",
                &["model", "expert"],
            )?,
            signal_scores: gauges(
                "tickcast_signal_scores",
                "Scores by signal: how often it was raised, how often its truth came, and both.",
                &["model", "signal", "outcome"],
            )?,
            signal_precision: gauges(
                "tickcast_signal_precision_ratio",
                "Share of the raised signals that happened, with its 95 % interval.",
                &["model", "signal", "bound"],
            )?,
            signal_recall: gauges(
                "tickcast_signal_recall_ratio",
                "Share of what happened that was raised, with its 95 % interval.",
                &["model", "signal", "bound"],
            )?,
            signal_base: gauges(
                "tickcast_signal_base_ratio",
                "Share of all scores in which the truth of a signal happened.",
                &["model", "signal"],
            )?,
            signal_hit: gauges(
                "tickcast_signal_hit_ratio",
                "Share of signals whose truth went their way, with its 95 % interval.",
                &["model", "bound"],
            )?,
            signal_chance: gauges(
                "tickcast_signal_hit_chance_ratio",
                "The hit ratio of as many signals that know nothing.",
                &["model"],
            )?,
        })
    }

    fn all(&self) -> [&GaugeVec; 21] {
        [
            &self.skill,
            &self.error,
            &self.direction,
            &self.coverage,
            &self.target,
            &self.against,
            &self.symbol_skill,
            &self.symbol_error,
            &self.symbol_direction,
            &self.symbol_coverage,
            &self.verdict,
            &self.verdict_since,
            &self.verdict_symbols,
            &self.symbol_verdict,
            &self.weight,
            &self.signal_scores,
            &self.signal_precision,
            &self.signal_recall,
            &self.signal_base,
            &self.signal_hit,
            &self.signal_chance,
        ]
    }

    /// Sets what the evidence over all symbols of a model says.
    fn set_verdict(&self, model: &str, against: &str, pool: &Pool) {
        let word = pool.word(LEVEL);
        self.verdict.with_label_values(&[model, against]).set(number(word));
        let since = pool.since(word).map(|time| time.as_nanos() as f64 / 1e9);
        self.verdict_since.with_label_values(&[model, against]).set(known(since));
        for word in Word::ALL {
            let count = pool.symbols(word) as f64;
            self.verdict_symbols.with_label_values(&[model, against, word.label()]).set(count);
        }
    }
}

impl Gauges {
    /// Sets how the signals of a model did.
    fn set_signals(&self, model: &str, counts: &SignalCounts, horizon_steps: u32) {
        let set = |gauge: &GaugeVec, labels: &[&str], hits: u64, tries: u64| {
            let share = SignalCounts::share(hits, tries, horizon_steps);
            let bounds = [
                ("value", share.map(|share| share.value)),
                ("lower", share.map(|share| share.limits.low)),
                ("upper", share.map(|share| share.limits.high)),
            ];
            for (bound, figure) in bounds {
                let labels = [&[model], labels, &[bound]].concat();
                gauge.with_label_values(&labels).set(known(figure));
            }
        };
        for (signal, side) in [("buy", &counts.buy), ("sell", &counts.sell)] {
            let SideCounts { detection, .. } = side;
            for (outcome, count) in [
                ("raised", detection.raised),
                ("happened", detection.happened),
                ("both", detection.hits),
            ] {
                let labels = [model, signal, outcome];
                self.signal_scores.with_label_values(&labels).set(count as f64);
            }
            set(&self.signal_precision, &[signal], detection.hits, detection.raised);
            set(&self.signal_recall, &[signal], detection.hits, detection.happened);
            let base = self.signal_base.with_label_values(&[model, signal]);
            base.set(known(counts.base_rate(side)));
        }
        set(&self.signal_hit, &[], counts.right(), counts.directed());
        self.signal_chance.with_label_values(&[model]).set(known(counts.hit_rate_by_chance()));
    }
}

/// What Prometheus shows where there is no figure.
fn known(figure: Option<f64>) -> f64 {
    figure.unwrap_or(f64::NAN)
}

/// A word as Prometheus shows it.
const fn number(word: Word) -> f64 {
    match word {
        Word::TooEarly => f64::NAN,
        Word::Undecided => 0.0,
        Word::Better => 1.0,
        Word::Worse => -1.0,
    }
}

/// Sets the figures that follow from sums, under one more label.
fn set(model: &str, label: &str, sums: &Sums, [skill, error, direction, coverage]: [&GaugeVec; 4]) {
    skill.with_label_values(&[model, label]).set(known(sums.skill()));
    let errors =
        [("model", sums.mean_absolute_error()), ("baseline", sums.baseline_mean_absolute_error())];
    for (of, value) in errors {
        error.with_label_values(&[model, label, of]).set(known(value));
    }
    direction.with_label_values(&[model, label]).set(known(sums.direction_hits()));
    coverage.with_label_values(&[model, label]).set(known(sums.coverage()));
}

impl Collector for Gauges {
    fn desc(&self) -> Vec<&Desc> {
        self.all().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let of_model = [&self.skill, &self.error, &self.direction, &self.coverage];
        let of_symbol =
            [&self.symbol_skill, &self.symbol_error, &self.symbol_direction, &self.symbol_coverage];
        // Another version of a model may be compared with another baseline.
        let named = [&self.verdict, &self.verdict_since, &self.verdict_symbols];
        named.into_iter().chain([&self.symbol_verdict]).for_each(GaugeVec::reset);
        for (model, board) in &self.boards {
            for (at, expert) in board.experts.iter().enumerate() {
                let gauge = self.weight.with_label_values(&[&**model, &**expert]);
                gauge.set(board.mean_weight(at));
            }
            let Board { shards, against, horizon_steps, .. } = &**board;
            let against = BaselineKind::ALL.get(against.load(Ordering::Relaxed));
            let against = against.copied().unwrap_or_default().label();
            let (mut whole, mut evidence) = (Sums::default(), Pool::default());
            for (group, symbol) in self.symbols.iter().enumerate() {
                let sums = shards.iter().map(|laid| laid.groups[group].load()).sum();
                set(model, symbol, &sums, of_symbol);
                whole += sums;
                let pools = shards.iter().map(|laid| laid.pools[group].load());
                let pool = pools.fold(Pool::default(), |pool, more| pool.merged(&more));
                let word = number(pool.word(LEVEL));
                self.symbol_verdict.with_label_values(&[model, symbol, against]).set(word);
                evidence = evidence.merged(&pool);
            }
            self.set_verdict(model, against, &evidence);
            let RivalPool { rival, pool } = board.rival_pool();
            let rival = rival.and_then(|rival| self.boards.get(rival));
            if let Some(label) = rival.map(|(rival, _)| format!("model:{rival}")) {
                self.set_verdict(model, &label, &pool);
                for (group, symbol) in self.symbols.iter().enumerate() {
                    let pools = shards.iter().map(|laid| laid.rivals[group].load());
                    let pool = pools.fold(Pool::default(), |pool, more| pool.merged(&more));
                    let labels = [&**model, &**symbol, &*label];
                    let gauge = self.symbol_verdict.with_label_values(&labels);
                    gauge.set(number(pool.word(LEVEL)));
                }
            }
            let signals = shards.iter().flat_map(|laid| &laid.signals).map(AtomicCounts::load);
            self.set_signals(model, &signals.sum(), horizon_steps.load(Ordering::Relaxed));
            let recent = shards.iter().map(|laid| laid.recent.load()).sum();
            for (over, sums) in [("weighted", whole), ("recent", recent)] {
                set(model, over, &sums, of_model);
                for baseline in BaselineKind::ALL {
                    let gauge = self.against.with_label_values(&[&**model, baseline.label(), over]);
                    gauge.set(known(sums.skill_against(baseline)));
                }
            }
        }
        self.all().into_iter().flat_map(Collector::collect).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::domain::{Signal, UnixNanos};
    use crate::core::forecast::SignalThresholds;
    use crate::core::proportion::wilson;
    use crate::core::verdict::{Ledger, LedgerRule};

    fn sums(scale: f64) -> Sums {
        Sums {
            weight: scale,
            squared: 0.5 * scale,
            absolute: 0.25 * scale,
            baseline_squared: 2.0 * scale,
            baseline_absolute: scale,
            directed: scale,
            hits: 0.75 * scale,
            covered: 0.5 * scale,
            baselines_squared: [4.0 * scale, 0.0, 2.0 * scale, 0.0, 0.0],
        }
    }

    #[test]
    fn a_figure_over_shards_is_that_of_the_whole() {
        let registry = Registry::new();
        let against = BaselineKind::Persistence;
        let model = |name: &str, coverage| ScoredModel {
            name: name.to_owned(),
            coverage,
            against,
            features: Vec::new(),
            experts: if name == "m" {
                vec!["vol".to_owned(), "average".to_owned()]
            } else {
                vec![]
            },
            horizon_steps: 2,
        };
        let models = [model("m", 0.9), model("n", 0.8)];
        let listed = [Symbol::new("A").unwrap()];
        let metrics = ScoreMetrics::register(&registry, &models, &listed, 2).unwrap();
        let value = |text: &str| {
            let families = prometheus::TextEncoder::new().encode_to_string(&registry.gather());
            let families = families.unwrap();
            let line = families.lines().find(|line| line.starts_with(text)).map(str::to_owned);
            let line = line.unwrap_or_else(|| panic!("{text} in {families}"));
            line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()
        };
        assert!(value(r#"tickcast_score_skill{model="m",over="weighted"}"#).is_nan());
        let [first, second] = &metrics.models[0].board.shards[..] else { panic!("two shards") };
        first.groups[0].store(&sums(1.0));
        second.groups[1].store(&Sums { squared: 6.0, ..sums(3.0) });
        second.recent.store(&sums(3.0));
        // (0.5 + 6) / (2 + 6), and not the mean of 1 - 0.5 / 2 and 1 - 6 / 6.
        let skill = value(r#"tickcast_score_skill{model="m",over="weighted"}"#);
        assert!((skill - (1.0 - 6.5 / 8.0)).abs() < 1e-15, "{skill}");
        assert_eq!(value(r#"tickcast_score_skill{model="m",over="recent"}"#), 0.75);
        assert_eq!(value(r#"tickcast_score_symbol_skill{model="m",symbol="A"}"#), 0.75);
        assert_eq!(value(r#"tickcast_score_symbol_skill{model="m",symbol="other"}"#), 0.0);
        let against = |baseline: &str| {
            let name = "tickcast_score_baseline_skill";
            value(&format!("{name}{{against=\"{baseline}\",model=\"m\",over=\"weighted\"}}"))
        };
        assert!((against("persistence") - (1.0 - 6.5 / 16.0)).abs() < 1e-15);
        assert!((against("average") - skill).abs() < 1e-15);
        assert!(against("linear").is_nan(), "the bundle has none");
        let error = r#"tickcast_score_mean_absolute_error{model="m",of="baseline",over="recent"}"#;
        assert_eq!(value(error), 1.0);
        for (target, coverage) in [("m", 0.9), ("n", 0.8)] {
            let name = "tickcast_score_coverage_target_ratio";
            assert_eq!(value(&format!("{name}{{model=\"{target}\"}}")), coverage);
        }
        let weight = |expert: &str| {
            value(&format!(r#"tickcast_blend_weight{{expert="{expert}",model="m"}}"#))
        };
        assert!(weight("vol").is_nan(), "no symbol has weights");
        for (laid, weighed, weights) in [(first, 2, [15_000, 5_000]), (second, 1, [9_000, 1_000])] {
            laid.weighed.store(weighed, Ordering::Relaxed);
            for (cell, weight) in laid.weights.iter().zip(weights) {
                cell.store(weight, Ordering::Relaxed);
            }
        }
        assert_eq!((weight("vol"), weight("average")), (0.8, 0.2), "a mean over all symbols");
        let other = r#"tickcast_score_skill{model="n",over="weighted"}"#;
        assert!(value(other).is_nan(), "the scores of one model are none of another");
        let signal =
            |name: &str, labels: &str| value(&format!("tickcast_signal_{name}{{{labels}}}"));
        let precision = |bound: &str| {
            signal("precision_ratio", &format!(r#"bound="{bound}",model="m",signal="buy""#))
        };
        assert!(precision("value").is_nan(), "nothing was raised");
        let thresholds = SignalThresholds { buy_above: 0.5, sell_below: -0.5 };
        let mut raised = SignalCounts::default();
        for truth in [1.0, -1.0, 1.0, 0.25] {
            raised.note(thresholds, Signal::Buy, truth, 0.0);
        }
        first.signals[0].store(&raised);
        second.signals[1].store(&raised);
        // Eight signals two steps ahead are as good as four, and half of them came.
        let limits = wilson(0.5, 4.0);
        assert_eq!(precision("value"), 0.5);
        assert_eq!((precision("lower"), precision("upper")), (limits.low, limits.high));
        let of_buy = r#"model="m",signal="buy""#;
        assert_eq!(signal("base_ratio", of_buy), 0.5);
        assert_eq!(signal("recall_ratio", &format!(r#"bound="value",{of_buy}"#)), 1.0);
        assert_eq!(signal("scores", r#"model="m",outcome="raised",signal="buy""#), 8.0);
        assert_eq!(signal("hit_ratio", r#"bound="value",model="m""#), 0.75);
        assert_eq!(signal("hit_chance_ratio", r#"model="m""#), 0.75);
        let verdict = |model: &str| {
            value(&format!(r#"tickcast_verdict{{against="persistence",model="{model}"}}"#))
        };
        assert!(verdict("m").is_nan(), "too early");
        // In the first shard the listed symbol is worse; in the second another one is undecided.
        let rule = LedgerRule::new(1, LEVEL);
        let pool = |shift: f64| {
            let (mut ledger, mut pool) = (Ledger::new(), Pool::default());
            for at in 0..3000 {
                let difference = if at % 2 == 0 { 1.0 } else { -1.0 } + shift;
                let wave = 0.1 * f64::from(at / 30 % 5 - 2);
                ledger.take(&rule, difference + wave, UnixNanos::from_nanos(i64::from(at)));
            }
            pool.add(&ledger);
            pool
        };
        first.pools[0].store(&pool(-0.5));
        second.pools[1].store(&pool(0.0));
        assert_eq!(verdict("m"), -1.0);
        let of_symbol = |symbol: &str| {
            let labels = format!(r#"against="persistence",model="m",symbol="{symbol}""#);
            value(&format!("tickcast_verdict_symbol{{{labels}}}"))
        };
        assert_eq!((of_symbol("A"), of_symbol("other")), (-1.0, 0.0));
        for (word, count) in [("worse", 1.0), ("undecided", 1.0), ("better", 0.0)] {
            let labels = format!(r#"against="persistence",model="m",word="{word}""#);
            assert_eq!(value(&format!("tickcast_verdict_symbols{{{labels}}}")), count, "{word}");
        }
        let since = r#"tickcast_verdict_since_timestamp_seconds{against="persistence",model="m"}"#;
        assert_eq!(value(since), 299e-9);
        // Another version of the model is compared with another baseline.
        metrics.models[0].board.against.store(BaselineKind::Average as usize, Ordering::Relaxed);
        assert_eq!(value(r#"tickcast_verdict{against="average",model="m"}"#), -1.0);
        let families = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        assert!(!families.contains(r#"tickcast_verdict{against="persistence",model="m"}"#));
    }
}
