//! The section `[fit]`: how parameters are found.

use std::collections::BTreeMap;
use std::path::PathBuf;

use config::{File, FileFormat};

use super::outputs::OutputsConfig;
use super::start::{Start, start};
use super::{DEFAULTS, StateRule};
use crate::core::forecast::Target;
use crate::ports::section::Section;
use crate::train::fit::loss::Loss;
use crate::train::fit::{Monitor, RateSchedule, RateShape, Recipe, WeightRule};
use crate::train::logs::LogKind;

/// The most epochs.
const EPOCHS_MAX: usize = 1_000_000;

/// The most of `examples_per_epoch_max`.
const EXAMPLES_MAX: usize = u32::MAX as usize;

/// What the section says.
pub(super) struct Fit {
    pub(super) recipe: Recipe,
    /// The folder of checkpoints and logs.
    pub(super) work: PathBuf,
    pub(super) logs: Vec<LogKind>,
    /// Where it starts.
    pub(super) start: Start,
}

/// Reads the section.
pub(super) fn fit(
    mut section: Section<'_>,
    target: &Target,
    outputs: &OutputsConfig,
    state: StateRule,
) -> Fit {
    let seed = section.count("seed", 0, i64::MAX as usize);
    let mut recipe = Recipe {
        epochs: section.count("epochs_max", 1, EPOCHS_MAX),
        batch: section.count("batch", 1, 65_536),
        patience: section.count("patience", 1, EPOCHS_MAX),
        min_delta: section.number("min_delta", "at least 0", |delta| delta >= 0.0),
        start_epoch: section.count("start_epoch", 1, EPOCHS_MAX),
        monitor: section.choice("monitor", &Monitor::CHOICES),
        learning_rate: section.number("learning_rate", "above 0", |rate| rate > 0.0),
        schedule: RateSchedule::default(),
        weight_decay: section.number("weight_decay", "at least 0", |decay| decay >= 0.0),
        clip_norm: section.number("clip_norm", "at least 0", |norm| norm >= 0.0),
        loss: loss(&mut section, target, outputs),
        weights: WeightRule::default(),
        seed: seed as u64,
        lanes: section.count("lanes", 1, 64),
        examples_per_epoch_max: section.count("examples_per_epoch_max", 0, EXAMPLES_MAX),
        start: None,
    };
    if recipe.weight_decay * recipe.learning_rate >= 1.0 {
        section.problem("weight_decay", "times learning_rate must be below 1");
    }
    recipe.schedule = schedule(section.section("schedule"), &recipe);
    recipe.weights = weights(section.section("weights"), target);
    if state == StateRule::Carried && recipe.examples_per_epoch_max > 0 {
        let problem = "must be 0 where network.state is `carried`, which learns whole histories";
        section.problem("examples_per_epoch_max", problem);
    }
    let work = section.path("work");
    let logs = logs(&mut section);
    let start = start(&mut section);
    section.finish();
    Fit { recipe, work, logs, start }
}

/// `[fit.schedule]`.
#[expect(clippy::cast_precision_loss, reason = "counts of epochs are far below 2^52")]
fn schedule(mut section: Section<'_>, recipe: &Recipe) -> RateSchedule {
    let warm_up_epochs = section.count("warm_up_epochs", 0, EPOCHS_MAX);
    let kinds = ["constant", "step", "cosine", "plateau"];
    let kind = section.choice("kind", &kinds.map(|kind| (kind, kind)));
    let factor = section.number("factor", "between 0 and 1", |f| f > 0.0 && f < 1.0);
    let every_epochs = section.count("every_epochs", 1, EPOCHS_MAX);
    let epochs = section.count("epochs", 0, EPOCHS_MAX);
    let patience = section.count("patience", 1, EPOCHS_MAX);
    let min_delta = section.number("min_delta", "at least 0", |delta| delta >= 0.0);
    let cooldown_epochs = section.count("cooldown_epochs", 0, EPOCHS_MAX);
    let floor = section.number("floor", "from 0 and below 1", |f| (0.0..1.0).contains(&f));
    let defaults = File::from_str(DEFAULTS, FileFormat::Toml);
    let defaults = config::Config::builder().add_source(defaults).build().ok();
    let default = |name: &str| defaults.as_ref()?.get_float(&format!("fit.schedule.{name}")).ok();
    for (name, value, users) in [
        ("factor", factor, "step plateau"),
        ("every_epochs", every_epochs as f64, "step"),
        ("epochs", epochs as f64, "cosine"),
        ("patience", patience as f64, "plateau"),
        ("min_delta", min_delta, "plateau"),
        ("cooldown_epochs", cooldown_epochs as f64, "plateau"),
        ("floor", floor, "step cosine plateau"),
    ] {
        // A file may repeat the defaults.
        let is_said = section.is_given(name) && default(name) != Some(value);
        if is_said && !users.split(' ').any(|user| user == kind) {
            let users = users.replace(' ', "` or `");
            section.problem(name, format_args!("is used where kind is `{users}` only"));
        }
    }
    let shape = match kind {
        "step" => RateShape::Step { every_epochs, factor },
        "cosine" => {
            // Until the fit ends, behind the warm-up.
            let left = recipe.epochs.saturating_sub(warm_up_epochs).max(1);
            RateShape::Cosine { epochs: if epochs == 0 { left } else { epochs } }
        }
        "plateau" => {
            if patience >= recipe.patience {
                let problem = "must be below fit.patience, which would end the fit before";
                section.problem("patience", problem);
            }
            RateShape::Plateau { patience, factor, min_delta, cooldown_epochs }
        }
        _ => RateShape::Constant,
    };
    section.finish();
    RateSchedule { warm_up_epochs, shape, floor }
}

/// `[fit.weights]`.
fn weights(mut section: Section<'_>, target: &Target) -> WeightRule {
    let choices = [("as_they_are", false), ("balanced", true)];
    let half_life_days = section.number("half_life_days", "at least 0", |days| days >= 0.0);
    let event = section.number("event", "above 0", |factor| factor > 0.0);
    let rule = WeightRule {
        half_life_days: (half_life_days > 0.0).then_some(half_life_days),
        balances_classes: section.choice("classes", &choices),
        event: Some(event).filter(|factor| *factor != 1.0),
        balances_symbols: section.choice("symbols", &choices),
        symbols: factors(&mut section),
    };
    if !target.is_probability() {
        let problem = format!("`{}` has no classes", target.label());
        for (name, is_used) in [("classes", rule.balances_classes), ("event", rule.event.is_some())]
        {
            if is_used {
                section.problem(name, &problem);
            }
        }
    }
    section.finish();
    rule
}

/// `[fit.weights.symbol]`.
fn factors(section: &mut Section<'_>) -> BTreeMap<String, f64> {
    let mut factors = BTreeMap::new();
    for (symbol, text) in section.table("symbol") {
        match text.parse() {
            Ok(factor) if f64::is_finite(factor) && factor > 0.0 => {
                factors.insert(symbol, factor);
            }
            _ => section.problem(&format!("symbol.{symbol}"), "must be a number above 0"),
        }
    }
    factors
}

/// The forms of log that were asked for, each once.
fn logs(section: &mut Section<'_>) -> Vec<LogKind> {
    let mut kinds = Vec::new();
    for word in section.texts("logs") {
        match LogKind::CHOICES.iter().find(|(name, _)| *name == word) {
            Some((_, kind)) if !kinds.contains(kind) => kinds.push(*kind),
            Some(_) => section.problem("logs", format_args!("has `{word}` twice")),
            None => {
                let names = LogKind::CHOICES.map(|(name, _)| name).join("`, `");
                section.problem("logs", format_args!("`{word}` is none of `{names}`"));
            }
        }
    }
    kinds
}

/// The loss that was asked for, or the usual one of the target.
fn loss(section: &mut Section<'_>, target: &Target, outputs: &OutputsConfig) -> Loss {
    let choices = [
        ("auto", None),
        ("mean_squared_error", Some(Loss::MeanSquaredError)),
        ("mean_absolute_error", Some(Loss::MeanAbsoluteError)),
        ("huber", Some(Loss::Huber(1.0))),
        ("binary_cross_entropy", Some(Loss::BinaryCrossEntropy)),
        ("quantile", Some(Loss::Quantile(0.5))),
    ];
    let chosen = section.choice("loss", &choices);
    let quantile = section.number("quantile", "between 0 and 1", |q| q > 0.0 && q < 1.0);
    let delta = section.number("huber_delta", "above 0", |delta| delta > 0.0) as f32;
    let probability = target.is_probability();
    if let Some(loss) = outputs.loss() {
        if chosen.is_some() {
            section.problem("loss", "must be `auto`: it follows from network.output");
        }
        return loss;
    }
    match chosen {
        None if probability => Loss::BinaryCrossEntropy,
        None => Loss::MeanSquaredError,
        Some(Loss::BinaryCrossEntropy) if !probability => {
            section.problem("loss", format_args!("`{}` is no probability", target.label()));
            Loss::BinaryCrossEntropy
        }
        Some(Loss::Quantile(_)) if probability => {
            let label = target.label();
            section.problem("loss", format_args!("the quantile of a `{label}` is 0 or 1"));
            Loss::Quantile(quantile as f32)
        }
        Some(Loss::MeanAbsoluteError) if probability => {
            let label = target.label();
            section.problem("loss", format_args!("the median of a `{label}` is 0 or 1"));
            Loss::MeanAbsoluteError
        }
        Some(Loss::Huber(_)) if probability => {
            let label = target.label();
            let problem = format_args!("its minimum is no probability, and `{label}` is one");
            section.problem("loss", problem);
            Loss::Huber(delta)
        }
        Some(Loss::Quantile(_)) => Loss::Quantile(quantile as f32),
        Some(Loss::Huber(_)) => Loss::Huber(delta),
        Some(loss) => loss,
    }
}
