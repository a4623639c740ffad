//! What the graph says beside what the configuration says.
//!
//! Owns the comparison and its words. Promises every disagreement at once, each with the key to
//! change and what to write there. Never reads a file and never runs a graph.

use super::config::SealConfig;
use super::graph::{Facts, Layout};
use crate::core::text::excerpt;

/// The characters of a name out of a graph that are shown.
const NAME_CHARS_MAX: usize = 64;

/// The most names of inputs that a problem lists.
const NAMES_MAX: usize = 8;

/// A name out of a graph, as it is shown.
pub(super) fn shown(name: &str) -> String {
    excerpt(name, NAME_CHARS_MAX)
}

/// How a layout is called.
pub(super) fn layout_words(layout: Layout) -> &'static str {
    match layout {
        Layout::BatchFirst => "batch first",
        Layout::TimeMajor => "time first",
        Layout::Flattened => "one flat row for each window",
        Layout::FeaturesFirst => "features before steps",
    }
}

/// The layout by its key.
pub(super) fn layout_key(layout: Layout) -> &'static str {
    LAYOUTS.iter().find(|(_, known)| *known == layout).map_or("auto", |(key, _)| *key)
}

/// The layouts that `window.layout` may name.
pub(super) const LAYOUTS: [(&str, Layout); 3] = [
    ("batch_first", Layout::BatchFirst),
    ("time_first", Layout::TimeMajor),
    ("features_first", Layout::FeaturesFirst),
];

/// Every disagreement between a graph and its configuration, one line each.
pub(super) fn check(facts: &Facts, config: &SealConfig) -> Vec<String> {
    let mut problems = Vec::new();
    let input = shown(&facts.input.name);
    let (steps, width) = (config.window_steps, config.features.len());
    let shape = &facts.input.shape;
    if let Some(other) = facts.input.other_layout {
        let layouts = [facts.input.layout, other];
        let [one, another] = layouts.map(layout_words);
        let [key, other_key] = layouts.map(layout_key);
        problems.push(format!(
            "window.layout: is missing: input `{input}` of the model is {shape}, which may be \
             {one} or {another}: set it to \"{key}\" or \"{other_key}\", as in training"
        ));
    }
    if let Some(layout) = config.layout.filter(|layout| *layout != facts.input.layout) {
        problems.push(format!(
            "window.layout: is \"{}\", and input `{input}` of the model is {shape}, {}: remove it",
            layout_key(layout),
            layout_words(facts.input.layout)
        ));
    }
    if let Some(numbers) = facts.input.width.filter(|numbers| *numbers != steps * width) {
        problems.push(format!(
            "window: {steps} steps of {width} features are {} numbers, and input `{input}` of the \
             model is {shape}, {numbers} numbers for each window: correct window.steps or \
             window.features",
            steps * width
        ));
    }
    if let Some(window) = facts.input.window.filter(|window| *window != steps) {
        problems.push(format!(
            "window.steps: is {steps}, and input `{input}` of the model is {shape}, windows of \
             {window} rows: set it to {window}"
        ));
    }
    if let Some(features) = facts.input.features.filter(|features| *features != width) {
        problems.push(format!(
            "window.features: lists {width}, and input `{input}` of the model is {shape}, \
             {features} numbers a row: list all {features}, in the order of training"
        ));
    }
    problems.extend(check_output(facts, config));
    problems.extend(check_constants(facts, config));
    problems
}

fn check_output(facts: &Facts, config: &SealConfig) -> Vec<String> {
    let mut problems = Vec::new();
    let output = shown(&facts.output.name);
    if let Some(rows) = facts.output.may_be_steps {
        return vec![format!(
            "output.each_step: is missing: output `{output}` of the model has {rows} rows for a \
             window, as many as the window has steps. Set true where each is the value of a step, \
             of which the last one is taken, and false where they are columns, such as {rows} \
             horizons"
        )];
    }
    let count = facts.output.columns;
    let last = count.saturating_sub(1);
    let values = config.parts.iter().map(|part| ("value", part.value));
    let ends =
        config.ends.into_iter().flat_map(|[lower, upper]| [("lower", lower), ("upper", upper)]);
    for (key, column) in values.chain(ends).filter(|(_, column)| *column >= count) {
        problems.push(format!(
            "output.{key}: is column {column}, and output `{output}` of the model has {count} \
             columns, 0 to {last}"
        ));
    }
    if count > 1 && !config.says_columns {
        problems.push(format!(
            "output.value: is missing, and output `{output}` of the model has {count} columns: say \
             which one is the value, and lower and upper where they are quantiles"
        ));
    }
    problems
}

fn check_constants(facts: &Facts, config: &SealConfig) -> Vec<String> {
    let mut problems = Vec::new();
    let missing = facts.extra_inputs.iter().filter(|name| !config.constants.contains_key(*name));
    let missing: Vec<String> = missing.map(|name| format!("`{}`", shown(name))).collect();
    if !missing.is_empty() {
        let more = missing.len().saturating_sub(NAMES_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let names: Vec<_> = missing.into_iter().take(NAMES_MAX).collect();
        let is = if names.len() == 1 { "which is" } else { "which are" };
        problems.push(format!(
            "constants: the graph reads {}{more}, {is} neither rows nor the state of a layer: some \
             exporters lose constants of a model this way (Keras' `Normalization` among \
             them). Scale by [scaler] and export without that layer, or give the value of each in \
             [constants]",
            names.join(", ")
        ));
    }
    for name in config.constants.keys().filter(|name| !facts.extra_inputs.contains(*name)) {
        let known: Vec<_> =
            facts.extra_inputs.iter().map(|name| format!("`{}`", shown(name))).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        problems.push(format!(
            "constants.{}: the graph has no such input beside its rows and states; there is \
             {known}",
            shown(name)
        ));
    }
    problems
}
