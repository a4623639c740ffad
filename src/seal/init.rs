//! A configuration to begin with: what a graph tells, and what only its maker knows.
//!
//! Owns the text that `tickcast model seal --init` writes. Promises TOML that is complete but for
//! the lines marked `FILL IN`, with the reason beside everything that was found. Never guesses what
//! the graph does not tell.

use std::fmt::Write;
use std::path::Path;

use super::facts::{layout_key, layout_words, shown};
use super::graph::{Facts, StateFacts};
use crate::engine::model::manifest::is_folder_name;

/// The mark of a line that the user completes.
pub const FILL_IN: &str = "FILL IN";

/// The text of a configuration for the graph in `model`.
pub fn configuration(facts: &Facts, model: &Path) -> String {
    let mut text = String::new();
    // Writing into a text does not fail.
    let _ = write(&mut text, facts, model);
    text
}

fn write(text: &mut String, facts: &Facts, model: &Path) -> std::fmt::Result {
    let input = shown(&facts.input.name);
    writeln!(
        text,
        "# Written by `tickcast model seal --init`. Complete the lines marked {FILL_IN}, then:"
    )?;
    writeln!(text, "#   tickcast model seal -c THIS-FILE --dry-run")?;
    writeln!(
        text,
        "# config/model/default.toml has every key and docs/models.md is the guide.\n#"
    )?;
    writeln!(text, "# The graph, by {} (operator set {}):", facts.producer, facts.opset)?;
    for line in &facts.words {
        writeln!(text, "#   {}", one_line(line))?;
    }
    if let Some(cost) = facts.cost {
        writeln!(text, "#   {cost} multiply-adds for a window")?;
    }
    writeln!(text, "\nmodel = {}", quoted(&model.to_string_lossy()))?;
    writeln!(text, "name = {}", quoted(&name_of(model)))?;
    write_states(text, &facts.states)?;
    writeln!(text, "\n[window]")?;
    let shape = &facts.input.shape;
    let words = layout_words(facts.input.layout);
    match facts.input.other_layout {
        None => writeln!(text, "# Input `{input}` is {shape}, {words}.")?,
        Some(other) => {
            let (key, other_key) = (layout_key(facts.input.layout), layout_key(other));
            let other = layout_words(other);
            writeln!(text, "# Input `{input}` is {shape}, which may be {words} or {other}.")?;
            writeln!(
                text,
                "# {FILL_IN}: \"{key}\" or \"{other_key}\". What follows is as for the first one."
            )?;
            writeln!(text, "# layout = \"{key}\"")?;
        }
    }
    match facts.input.window {
        Some(steps) if facts.input.other_layout.is_some() => {
            writeln!(text, "# {FILL_IN}: the steps of a window.\n# steps = {steps}")?;
        }
        Some(steps) => writeln!(text, "steps = {steps}")?,
        None => writeln!(
            text,
            "# {FILL_IN}: the graph takes windows of any length; name that of training.\n# steps = \
             30"
        )?,
    }
    let what = match (facts.input.features, facts.input.width) {
        (Some(count), _) => format!("{count} features, in the order of training"),
        (None, Some(width)) => format!("steps x features are {width} numbers"),
        (None, None) => "the features, in the order of training".to_owned(),
    };
    writeln!(text, "# {FILL_IN}: {what}; docs/features.md has all that there are.")?;
    writeln!(text, "features = []")?;
    writeln!(text, "\n[step]")?;
    writeln!(text, "# {FILL_IN} where a row of the data is no day: docs/steps.md.")?;
    writeln!(text, "kind = \"record\"\ninterval_seconds = 86400")?;
    writeln!(text, "\n[scaler]")?;
    writeln!(
        text,
        "# {FILL_IN}: how the features were scaled: \"minmax\" with min and max, \"standard\" with \
         mean and\n# deviation, \"robust\" with center and scale, \"none\" where the graph scales \
         by itself; or the\n# attributes of scikit-learn's scaler: sklearn = \"scaler.json\"."
    )?;
    writeln!(text, "# kind = \"minmax\"\n# min = []\n# max = []")?;
    writeln!(text, "\n[target]")?;
    writeln!(text, "# {FILL_IN}: what the model forecasts, and how many steps ahead.")?;
    writeln!(text, "# kind = \"next_return\"\nhorizon_steps = 1")?;
    writeln!(text, "\n[target.scaler]")?;
    writeln!(
        text,
        "# {FILL_IN}: how the target was scaled; \"none\": the model gives the value itself."
    )?;
    writeln!(text, "# kind = \"none\"")?;
    write_output(text, facts)?;
    write_constants(text, facts)?;
    writeln!(text, "\n[data]")?;
    writeln!(
        text,
        "# {FILL_IN}: a history of ticks (CSV, Parquet, JSON lines), what its columns are, and \
         until when\n# training saw it."
    )?;
    writeln!(text, "# path = \"history.csv\"")?;
    writeln!(text, "# columns = \"symbol=Ticker,time=Date,close=Adj Close,volume=Volume\"")?;
    writeln!(text, "# trained_until = \"2021-05-28\"")?;
    writeln!(text, "\n[expect]")?;
    writeln!(
        text,
        "# The framework's own predictions, to prove that nothing was lost on the way: a CSV with \
         `time`\n# and `value`, or with one `value` for each window from the first on."
    )?;
    writeln!(text, "# path = \"predictions.csv\"\n# unit = \"model\"\n# tolerance = 1e-5")?;
    writeln!(text, "\n[forecast]")?;
    writeln!(text, "coverage = 0.9")
}

fn write_states(text: &mut String, states: &[StateFacts]) -> std::fmt::Result {
    if states.is_empty() {
        return Ok(());
    }
    let named =
        |state: &StateFacts| format!("`{}` -> `{}`", shown(&state.input), shown(&state.output));
    let pairs: Vec<_> = states.iter().map(named).collect();
    writeln!(text, "# The graph takes and gives states: {}.", pairs.join(", "))?;
    writeln!(text, "# Only for a model that was trained with a state that goes on without end:")?;
    writeln!(text, "# carried = true")
}

fn write_output(text: &mut String, facts: &Facts) -> std::fmt::Result {
    let (output, columns) = (shown(&facts.output.name), facts.output.columns);
    writeln!(text, "\n[output]")?;
    if !facts.output.others.is_empty() {
        let others: Vec<_> =
            facts.output.others.iter().map(|o| format!("`{}`", shown(o))).collect();
        writeln!(text, "# The graph also gives {}.", others.join(", "))?;
        writeln!(text, "name = {}", quoted(&facts.output.name))?;
    }
    if facts.output.is_each_step {
        writeln!(text, "# `{output}` has a value for each step; the one of the last step counts.")?;
    }
    if let Some(rows) = facts.output.may_be_steps {
        writeln!(
            text,
            "# {FILL_IN}: `{output}` has {rows} rows for a window, as many as the window has \
             steps: true where each is\n# the value of a step, of which the last one is taken, \
             false where they are columns.\n# each_step = true"
        )?;
    }
    if columns == 1 {
        return writeln!(text, "# `{output}` has one column.\nvalue = 0");
    }
    writeln!(
        text,
        "# {FILL_IN}: `{output}` has {columns} columns, 0 to {}: which one is the value, and of a \
         quantile\n# model the lower and the upper end. Of several horizons a list, with \
         target.horizon_steps.",
        columns - 1
    )?;
    writeln!(text, "# value = 0\n# lower = 1\n# upper = 2")
}

fn write_constants(text: &mut String, facts: &Facts) -> std::fmt::Result {
    if facts.extra_inputs.is_empty() {
        return Ok(());
    }
    writeln!(text, "\n[constants]")?;
    for cause in &facts.extra_causes {
        writeln!(text, "# {}", one_line(cause))?;
    }
    writeln!(text, "# {FILL_IN}: a value for each, or export the model again without them.")?;
    for name in &facts.extra_inputs {
        writeln!(text, "# {} = 0.0", quoted(name))?;
    }
    Ok(())
}

fn name_of(model: &Path) -> String {
    let stem = model.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
    let name: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
    let name = name.trim_matches('-').to_owned();
    if is_folder_name(&name) { name } else { "my-model".to_owned() }
}

/// A text as TOML writes it.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            control if control.is_control() => {
                // Writing into a text does not fail.
                let _ = write!(quoted, "\\u{:04X}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// A text of a graph as a comment: it must not end the line.
fn one_line(text: &str) -> String {
    crate::core::text::excerpt(text, 600)
}
