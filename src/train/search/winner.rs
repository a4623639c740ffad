//! The winner's configuration as a file.
//!
//! Owns the way from values to TOML. Promises that the file, loaded, is the configuration that was
//! judged, wherever it lies: paths in it are absolute. Comments are lost. Never decides what the
//! configuration is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::{File, FileFormat, Value, ValueKind};

/// Names of keys whose texts are paths.
const PATHS: [&str; 6] =
    ["data.path", "model.root", "fit.work", "report.folder", "backtest.output", "window.statics"];

/// A configuration with other values for some keys, as text of a file. `folder` is where the text
/// comes from.
pub(super) fn text(base: &str, folder: &Path, changes: &[(String, Value)]) -> Option<String> {
    let mut builder = config::Config::builder().add_source(File::from_str(base, FileFormat::Toml));
    for (key, value) in changes {
        builder = builder.set_override(key, value.clone()).ok()?;
    }
    let ValueKind::Table(tree) = builder.build().ok()?.cache.kind else { return None };
    let mut text = String::new();
    for (section, value) in sorted(&tree) {
        match &value.kind {
            ValueKind::Table(table) => {
                text += &format!("\n[{}]\n", key(section));
                for (name, value) in sorted(table) {
                    let path = format!("{section}.{name}");
                    let value = if PATHS.contains(&&*path) {
                        absolute(value, folder)
                    } else {
                        value.clone()
                    };
                    text += &format!("{} = {}\n", key(name), inline(&value));
                }
            }
            _ => text = format!("{} = {}\n{text}", key(section), inline(value)),
        }
    }
    Some(text)
}

fn sorted(table: &config::Map<String, Value>) -> BTreeMap<&String, &Value> {
    table.iter().collect()
}

/// A text that is a path as one that means the same from everywhere.
fn absolute(value: &Value, folder: &Path) -> Value {
    match &value.kind {
        ValueKind::String(text) if !text.is_empty() => {
            let path: PathBuf = folder.join(text);
            let path = std::path::absolute(&path).unwrap_or(path);
            Value::new(None, ValueKind::String(path.to_string_lossy().into_owned()))
        }
        _ => value.clone(),
    }
}

/// A value on one line.
fn inline(value: &Value) -> String {
    match &value.kind {
        ValueKind::Nil => "\"\"".to_owned(),
        ValueKind::String(text) => quoted(text),
        // A float stays one.
        ValueKind::Float(number) => format!("{number:?}"),
        ValueKind::Array(items) => {
            let items: Vec<_> = items.iter().map(inline).collect();
            format!("[{}]", items.join(", "))
        }
        ValueKind::Table(table) => {
            let pair =
                |(name, value): (&String, &Value)| format!("{} = {}", key(name), inline(value));
            let pairs: Vec<_> =
                sorted(table).into_iter().map(|(name, value)| pair((name, value))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        other => other.to_string(),
    }
}

fn key(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !name.is_empty() && name.bytes().all(is_bare) { name.to_owned() } else { quoted(name) }
}

/// A basic string: the escapes of JSON are escapes of TOML.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::config::load;

    #[test]
    fn the_file_is_the_configuration_wherever_it_lies() {
        let [here, there] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let base = "[model]\nname = 'm'\n[data]\npath = 'x.csv'\ncolumns = 'close=Adj \"Close\"'\n\
                    [window]\nfeatures = ['change', 'ema(5)']\n\
                    [network]\nlstm = [{ units = 8, dropout = 0.5 }]\n\
                    dense = [{ units = 1, activation = 'linear' }]\n\
                    [fit]\nlearning_rate = 1\n";
        std::fs::write(here.path().join("train.toml"), base).unwrap();
        let value = |kind: ValueKind| Value::new(None, kind);
        let changes = [
            ("network.lstm[0].units".to_owned(), value(ValueKind::I64(12))),
            ("fit.learning_rate".to_owned(), value(ValueKind::Float(1e-7))),
            ("window.steps".to_owned(), value(ValueKind::I64(9))),
        ];
        let text = text(base, here.path(), &changes).unwrap();
        std::fs::write(there.path().join("winner.toml"), &text).unwrap();
        let found = load(&there.path().join("winner.toml")).unwrap();
        let mut expected = load(&here.path().join("train.toml")).unwrap();
        expected.architecture.recurrent[0].units = 12;
        expected.recipe.learning_rate = 1e-7;
        expected.window_steps = 9;
        assert_eq!(found, expected, "{text}");
    }
}
