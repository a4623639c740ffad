//! What a sealed bundle is, in words for people and as JSON for programs.
//!
//! Owns the text of `tickcast model inspect`. Promises that what is not known reads as unknown and
//! what was not compared says so. Runs a graph only where a runtime is given, to find the sizes of
//! its layers.

use serde_json::{Value, json};

use super::graph::{Hints, layers, read};
use crate::core::baseline::{BaselineKind, BaselineSpec};
use crate::core::shift::{DistributionSpec, FeatureDistribution};
use crate::core::text::excerpt;
use crate::engine::inference::Runtime;
use crate::engine::model::Bundle;
use crate::engine::model::manifest::{
    BaselineFigures, Evaluation, Exactness, Known, Manifest, Mode, Origin, Rows, SymbolsSpec,
    TrainingSpec,
};

/// What is known of a graph without its manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GraphWords {
    /// A layer each.
    pub layers: Vec<String>,
    /// Multiply-adds of a whole window.
    pub multiply_adds: Option<u64>,
}

/// The characters of one line about a graph or a rewrite that are shown.
const LINE_CHARS_MAX: usize = 400;

/// What the graph of a bundle is; without a runtime its layers alone.
pub fn graph_words(bundle: &Bundle, runtime: Option<&dyn Runtime>) -> GraphWords {
    let manifest = bundle.manifest();
    let hints = Hints {
        window: Some(manifest.window_steps as usize),
        features: Some(manifest.inputs()),
        output: Some(manifest.graph.output.clone()),
        ..Hints::default()
    };
    let nothing_beside = |_: &str| Err("a bundle has no data beside its graph".to_owned());
    let read = runtime.map(|runtime| read(bundle.onnx(), &nothing_beside, runtime, &hints));
    match read {
        Some(Ok(foreign)) => {
            GraphWords { layers: foreign.facts.words, multiply_adds: foreign.facts.cost }
        }
        _ => GraphWords { layers: layers(bundle.onnx()), multiply_adds: None },
    }
}

/// What a bundle is, for people.
pub fn inspect(bundle: &Bundle, graph: &GraphWords) -> String {
    let manifest = bundle.manifest();
    let mut text = format!("{} {}\n", manifest.name, manifest.version);
    text += &line("forecasts", &forecasts(manifest));
    let features = manifest.features.join(", ");
    text += &line("window", &format!("{} steps of {features}", manifest.window_steps));
    if let Some(symbols) = &manifest.symbols {
        text += &line("symbols", &symbol_words(symbols));
    }
    text += &line("modes", &modes(manifest));
    for (at, layer) in graph.layers.iter().enumerate() {
        text += &line(if at == 0 { "graph" } else { "" }, layer);
    }
    if let Some(cost) = graph.multiply_adds {
        text += &line("cost", &cost_words(cost, manifest));
    }
    text += &line("rows", &rows(manifest.exactness.as_ref()));
    if let Some(origin) = &manifest.origin {
        text += &line("origin", &origin_words(origin));
        for (at, rewrite) in origin.rewrites.iter().enumerate() {
            text += &line(if at == 0 { "rewrites" } else { "" }, rewrite);
        }
        text += &line("framework", &compared(origin));
    }
    if let Some(start) = &manifest.start {
        text += &line("began with", &start.to_string());
    }
    text += &line("trained", &trained(manifest));
    text += &line("interval", &interval(manifest));
    text += &line("baselines", &baselines(manifest.baselines.as_ref()));
    text += &line("inputs", &inputs(manifest));
    text += &limits(manifest);
    for part in &manifest.evaluation {
        text += &line(&part.part, &figures(part));
        for baseline in &part.baselines {
            text += &against(baseline);
        }
    }
    let against = live_verdict_against(manifest).label();
    text += &line("live", &format!("the daemon's verdict on it is against {against}"));
    text + &format!("  {:<10} {}\n", "verdict", manifest.verdict)
}

/// A line of a summary.
fn line(label: &str, words: &str) -> String {
    format!("  {label:<10} {}\n", excerpt(words, LINE_CHARS_MAX))
}

/// The same for programs: the whole manifest, and what is known beside it.
pub fn inspect_json(bundle: &Bundle, folder: &str, graph: &GraphWords) -> Value {
    let manifest = bundle.manifest();
    let compared = manifest.origin.as_ref().map(|origin| origin.compared.is_some());
    json!({
        "folder": folder,
        "golden_cases": bundle.golden().cases.len(),
        "graph": { "layers": graph.layers, "multiply_adds_per_window": graph.multiply_adds },
        "compared_with_framework": compared,
        "live_verdict_against": live_verdict_against(manifest).label(),
        "manifest": manifest,
    })
}

fn forecasts(manifest: &Manifest) -> String {
    let target = manifest.target.kind.label();
    let further = manifest.outputs.iter().skip(1).map(|output| output.horizon_steps);
    let horizons = std::iter::once(manifest.horizon_steps).chain(further);
    let horizons: Vec<_> = horizons.map(|steps| steps.to_string()).collect();
    let mut words = format!("{target} over {} step(s)", horizons.join(" and "));
    if let Some(levels) = manifest.outputs.first().map(|output| &output.levels[..])
        && !levels.is_empty()
    {
        let levels: Vec<_> = levels.iter().map(f64::to_string).collect();
        words += &format!(", quantiles {}", levels.join(", "));
    }
    if let Some(columns) = &manifest.graph.columns {
        words += &format!(", column {} of {}", columns.value, columns.count);
        if let (Some(lower), Some(upper)) = (columns.lower, columns.upper) {
            words += &format!("; its own interval from columns {lower} and {upper}");
        }
    }
    words
}

/// What a bundle knows of each symbol.
fn symbol_words(SymbolsSpec { count, statics, embedding, scalers, .. }: &SymbolsSpec) -> String {
    let mut columns = Vec::new();
    if !statics.is_empty() {
        columns.push(statics.join(", "));
    }
    if *embedding > 0 {
        columns.push(format!("a learned embedding of {embedding}"));
    }
    if *scalers > 0 {
        columns.push(format!("{scalers} scalers"));
    }
    format!("{count} with {}; any other gets the mean", columns.join(" and "))
}

fn modes(manifest: &Manifest) -> String {
    let modes: Vec<_> = manifest.modes.iter().map(Mode::to_string).collect();
    modes.join(", ")
}

fn cost_words(cost: u64, manifest: &Manifest) -> String {
    let whole = format!("{cost} multiply-adds for a whole window");
    if manifest.modes == [Mode::Full] {
        return whole;
    }
    let step = cost / u64::from(manifest.window_steps.max(1));
    format!("{whole}, about {step} for one step")
}

/// How the rows of a run relate.
pub fn rows(exactness: Option<&Exactness>) -> String {
    match exactness {
        None => "equal bits alone and in a batch".to_owned(),
        Some(Exactness { rows: Rows::Batched, windows, .. }) => {
            format!("equal bits alone and in a batch, on {windows} windows")
        }
        Some(Exactness { rows: Rows::Alone, windows, largest_difference: 0.0 }) => {
            format!("one at a time, each of {windows} windows proven alone")
        }
        Some(Exactness { rows: Rows::Alone, windows, largest_difference }) => format!(
            "one at a time: in a batch a row differs by up to {largest_difference:.1e}, on \
             {windows} windows"
        ),
    }
}

fn origin_words(Origin { onnx_sha256, producer, opset, .. }: &Origin) -> String {
    let hash: String = onnx_sha256.chars().take(12).collect();
    format!("{producer}, operator set {opset}, file {hash}")
}

/// How a model compares with the framework that trained it.
pub fn compared(origin: &Origin) -> String {
    origin.compared.as_ref().map_or_else(
        || "not compared with its framework".to_owned(),
        |compared| {
            format!(
                "{} predictions, largest difference {:.1e} (tolerance {:.1e})",
                compared.count, compared.largest_difference, compared.tolerance
            )
        },
    )
}

fn trained(manifest: &Manifest) -> String {
    match (&manifest.training, &manifest.origin) {
        (Known::Is(training), _) => {
            let TrainingSpec { windows, symbols, from, to, epochs, best_epoch, .. } = training;
            let symbols = symbols.join(", ");
            format!(
                "{windows} windows of {symbols}, {from} to {to}, best of {epochs} epochs: \
                 {best_epoch}"
            )
        }
        (Known::Unknown, Some(Origin { trained_until: Known::Is(until), .. })) => {
            format!("on data until {until}, otherwise unknown")
        }
        (Known::Unknown, _) => "unknown".to_owned(),
    }
}

fn interval(manifest: &Manifest) -> String {
    let interval = manifest.interval;
    let share = 100.0 * interval.coverage;
    let is_own = manifest.graph.columns.as_ref().is_some_and(|columns| columns.lower.is_some());
    if is_own && interval.lower == 0.0 && interval.upper == 0.0 {
        return format!("{share:.0} %, the model's own");
    }
    format!("{share:.0} %, {:+.6} to {:+.6} around the value", interval.lower, interval.upper)
}

/// What forecasts are compared with, the one to beat first.
fn baselines(spec: Option<&BaselineSpec>) -> String {
    let Some(spec) = spec else { return "compared with persistence alone".to_owned() };
    let words = |kind: BaselineKind| match kind {
        BaselineKind::Persistence => Some(String::new()),
        BaselineKind::Drift => spec.drift.map(|drift| format!(" {drift:+.6}")),
        BaselineKind::Average => {
            let average = spec.average?;
            Some(format!(" with a half-life of {} step(s)", average.half_life_steps))
        }
        BaselineKind::Seasonal => {
            let seasonal = spec.seasonal?;
            Some(format!(" of {} step(s)", seasonal.period_steps))
        }
        BaselineKind::Linear => {
            let linear = spec.linear.as_ref()?;
            Some(format!(" in {} row(s)", linear.rows))
        }
    };
    let said = |kind: BaselineKind| Some(format!("{}{}", kind.label(), words(kind)?));
    let others = BaselineKind::ALL.into_iter().filter(|kind| *kind != spec.against);
    let others: Vec<String> = others.filter_map(said).collect();
    let against = said(spec.against).unwrap_or_default();
    format!("compared with {against}; beside it {}", others.join(", "))
}

/// What the inputs of a symbol are compared with.
pub fn inputs(manifest: &Manifest) -> String {
    let Some(DistributionSpec { from, to, rows, memory_rows, .. }) = &manifest.distribution else {
        return "not compared with the training: the bundle has no distribution".to_owned();
    };
    format!(
        "compared with {rows} rows of the training, {from} to {to}, {memory_rows} at most at once"
    )
}

/// From where on each feature is shifted.
fn limits(manifest: &Manifest) -> String {
    let features = manifest.distribution.iter().flat_map(|spec| &spec.features);
    let lines = manifest.features.iter().zip(features).map(|(name, feature)| {
        let FeatureDistribution { counts, largest, limit, .. } = feature;
        let bins = counts.len();
        let name = excerpt(name, LINE_CHARS_MAX);
        format!("    {name:<22} {bins:>2} bins, shifted beyond {limit:.3}; training {largest:.3}\n")
    });
    lines.collect()
}

fn live_verdict_against(manifest: &Manifest) -> BaselineKind {
    manifest.baselines.as_ref().map_or_else(BaselineKind::default, |spec| spec.against)
}

fn against(baseline: &BaselineFigures) -> String {
    let BaselineFigures { name, skill, skill_95: [low, high], p_value, .. } = baseline;
    format!(
        "    against {name:<12} skill {skill:+.3} (95 % {low:+.3} to {high:+.3}), p = \
         {p_value:.2e}\n"
    )
}

fn figures(part: &Evaluation) -> String {
    format!(
        "{} forecasts, {} to {}: mean absolute error {:.5}, direction right {:.1} %, interval \
         holds {:.1} %",
        part.forecasts,
        part.from,
        part.to,
        part.mean_absolute_error,
        100.0 * part.directional_accuracy,
        100.0 * part.interval_coverage,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_baseline_to_beat_is_said_first() {
        use crate::core::baseline::{AverageSpec, LinearModel, SeasonalSpec};
        assert_eq!(baselines(None), "compared with persistence alone");
        let mut spec = BaselineSpec {
            against: BaselineKind::Average,
            drift: Some(0.0125),
            average: Some(AverageSpec { half_life_steps: 32 }),
            seasonal: Some(SeasonalSpec { period_steps: 5 }),
            linear: Some(LinearModel { rows: 30, ..LinearModel::default() }),
        };
        let words = "compared with average with a half-life of 32 step(s); beside it persistence, \
                     drift +0.012500, seasonal of 5 step(s), linear in 30 row(s)";
        assert_eq!(baselines(Some(&spec)), words);
        spec = BaselineSpec { against: BaselineKind::Persistence, seasonal: None, ..spec };
        assert!(!baselines(Some(&spec)).contains("seasonal"));
    }

    #[test]
    fn rows_are_said_as_they_were_measured() {
        let exactness =
            |rows, largest_difference| Exactness { rows, windows: 7, largest_difference };
        for (exactness, words) in [
            (exactness(Rows::Batched, 0.0), "equal bits alone and in a batch, on 7 windows"),
            (exactness(Rows::Alone, 0.0), "one at a time, each of 7 windows proven alone"),
            (
                exactness(Rows::Alone, 0.5),
                "one at a time: in a batch a row differs by up to 5.0e-1, on 7 windows",
            ),
        ] {
            assert_eq!(rows(Some(&exactness)), words);
        }
    }
}
