//! How a foreign model's numbers were scaled, as a configuration says it.
//!
//! Owns the keys of `[scaler]` and `[target.scaler]`. Promises a scaler with one column for each
//! feature, in their order; the ranges of columns that nothing here gives are unknown. Never fits a
//! scaler: a foreign model was trained with one that exists.

use std::path::Path;

use crate::core::features::{
    ColumnMoments, ColumnQuantiles, ColumnRange, Precision, Scaler, Scikit,
};
use crate::engine::files::read_regular_file;
use crate::ports::section::Section;

/// The longest file of attributes.
const ATTRIBUTES_BYTES_MAX: usize = 4 << 20;

/// The last column of a scaler that can be named.
const COLUMN_MAX: usize = 4095;

/// The kinds, and the lists that each has.
const KINDS: [(&str, &[&str]); 4] = [
    ("minmax", &["min", "max"]),
    ("standard", &["mean", "deviation"]),
    ("robust", &["center", "scale"]),
    ("none", &[]),
];

/// The keys of all lists.
const LISTS: [&str; 6] = ["min", "max", "mean", "deviation", "center", "scale"];

/// How Python writes the attributes.
const WRITE_HINT: &str = "write them in Python by json.dump({k: v.tolist() if hasattr(v, \
                          \"tolist\") else v for k, v in vars(scaler).items()}, file)";

/// Whose scaler is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// That of the features.
    Features,
    /// That of the target, which may be one column of another scaler.
    Target,
}

/// Reads a scaler's section; `names` are its columns. Raw values stand for one that is refused.
pub(super) fn read_scaler(mut section: Section<'_>, names: &[String], whose: Whose) -> Scaler {
    let sklearn = section.optional_path("sklearn");
    let precision = section
        .choice("precision", &[("float64", Precision::Double), ("float32", Precision::Single)]);
    let has_kind = section.contains("kind");
    let given = |section: &Section<'_>, name| section.is_given(name);
    let bounds = (given(&section, "low"), given(&section, "high"));
    let low = section.number("low", "", |_| true);
    let high = section.number("high", "", |_| true);
    let lists = LISTS.map(|name| (name, section.numbers(name)));
    let column =
        (whose == Whose::Target).then(|| section.optional_count("column", 0, COLUMN_MAX)).flatten();
    let scaler = match &sklearn {
        Some(path) => {
            if has_kind {
                section.text("kind");
            }
            let list = lists.iter().find(|(_, list)| list.is_some()).map(|(name, _)| *name);
            if let Some(key) = has_kind.then_some("kind").or(list) {
                let problem = "is in the file that `sklearn` names as well: keep one of the two";
                section.problem(key, problem);
            }
            of_file(path, names, column, precision).unwrap_or_else(|problems| {
                for problem in problems {
                    section.problem("sklearn", problem);
                }
                raw(names)
            })
        }
        None if !has_kind => {
            let problem = "is missing: `minmax`, `standard`, `robust` or `none` (raw values); or \
                           name a file of scikit-learn's attributes with `sklearn`";
            section.problem("kind", problem);
            raw(names)
        }
        None => {
            if column.is_some() {
                section.problem("column", "is a column of the file that `sklearn` names");
            }
            let kind = section.choice("kind", &KINDS.map(|(name, _)| (name, name)));
            let mut keys = Keys { section: &mut section, kind, lists, names };
            keys.check_foreign(bounds);
            keys.scaler(low, high, precision).unwrap_or_else(|| raw(names))
        }
    };
    section.finish();
    scaler
}

/// Raw values, of unknown range.
fn raw(names: &[String]) -> Scaler {
    let column =
        |name: &String| ColumnRange { feature: name.clone(), min: UNKNOWN[0], max: UNKNOWN[1] };
    Scaler::None { columns: names.iter().map(column).collect() }
}

/// The range of a column that is not known.
const UNKNOWN: [f64; 2] = [f64::NEG_INFINITY, f64::INFINITY];

fn of_file(
    path: &Path,
    names: &[String],
    column: Option<usize>,
    precision: Precision,
) -> Result<Scaler, Vec<String>> {
    let shown = path.display();
    let refuse = |problem: String| vec![format!("`{shown}`: {problem}")];
    let bytes = read_regular_file(path, ATTRIBUTES_BYTES_MAX)
        .map_err(|error| refuse(format!("{error}; {WRITE_HINT}")))?;
    let text = String::from_utf8(bytes).map_err(|_| refuse("is not UTF-8 text".to_owned()))?;
    let scaler = Scikit::read(&text).and_then(|scikit| match (column, names) {
        (Some(column), [name]) => scikit.column(column, name, precision),
        (None, [_]) if scikit.width() > 1 => Err(vec![format!(
            "the scaler has {} columns: say with `column` which of them, from 0, is the target's",
            scikit.width()
        )]),
        _ => scikit.scaler(names, precision),
    });
    scaler.map_err(|problems| {
        problems.into_iter().map(|problem| format!("`{shown}`: {problem}")).collect()
    })
}

/// The keys of a scaler that is written out.
struct Keys<'s, 'p> {
    section: &'s mut Section<'p>,
    kind: &'static str,
    lists: [(&'static str, Option<Vec<f64>>); LISTS.len()],
    names: &'s [String],
}

impl Keys<'_, '_> {
    /// Notes keys that belong to another kind.
    fn check_foreign(&mut self, (low, high): (bool, bool)) {
        let kind = self.kind;
        let lists_of = |kind: &str| {
            KINDS.into_iter().find(|(name, _)| *name == kind).map_or(&[][..], |(_, lists)| lists)
        };
        let set = self.lists.iter().filter(|(_, list)| list.is_some()).map(|(name, _)| *name);
        let mut foreign: Vec<_> = set.filter(|name| !lists_of(kind).contains(name)).collect();
        if kind != "minmax" {
            foreign.extend([("low", low), ("high", high)].iter().filter(|b| b.1).map(|b| b.0));
        }
        for name in foreign {
            let home = KINDS.into_iter().find(|(_, lists)| lists.contains(&name));
            let home = home.map_or("minmax", |(home, _)| home);
            let problem = format!("is a key of kind `{home}`, and the kind is `{kind}`");
            self.section.problem(name, problem);
        }
    }

    fn scaler(&mut self, low: f64, high: f64, precision: Precision) -> Option<Scaler> {
        let names = self.names.iter().cloned();
        let [min, max] = UNKNOWN;
        match self.kind {
            "minmax" => {
                let (mins, maxs) = (self.list("min"), self.list("max"));
                if low >= high {
                    self.section.problem("low", "must be below `high`");
                }
                let (mins, maxs) = (mins?, maxs?);
                self.check_spread("max", &maxs, &mins);
                let ranges = mins.into_iter().zip(maxs);
                let columns = names.zip(ranges).map(|(feature, (min, max))| ColumnRange {
                    feature,
                    min,
                    max,
                });
                // As scikit-learn does, whose order of operations other frameworks are given.
                let mut scaler = Scaler::scikit_minmax([low, high], false, columns.collect());
                if let Scaler::Linear { precision: own, .. } = &mut scaler {
                    *own = precision;
                }
                Some(scaler)
            }
            "standard" => {
                let (means, deviations) = (self.list("mean"), self.list("deviation"));
                let (means, deviations) = (means?, deviations?);
                self.check_spread("deviation", &deviations, &vec![0.0; deviations.len()]);
                let moments = means.into_iter().zip(deviations);
                let columns = names.zip(moments).map(|(feature, (mean, deviation))| {
                    ColumnMoments { feature, mean, deviation, min, max }
                });
                Some(Scaler::Standard { precision, columns: columns.collect() })
            }
            "robust" => {
                let (centers, scales) = (self.list("center"), self.list("scale"));
                let (centers, scales) = (centers?, scales?);
                self.check_spread("scale", &scales, &vec![0.0; scales.len()]);
                let quantiles = centers.into_iter().zip(scales);
                let columns = names.zip(quantiles).map(|(feature, (center, scale))| {
                    ColumnQuantiles { feature, center, scale, min, max }
                });
                Some(Scaler::Robust { precision, columns: columns.collect() })
            }
            _ => Some(raw(self.names)),
        }
    }

    /// A list with a number for each column; `None`, with a problem noted, where it has not.
    fn list(&mut self, name: &'static str) -> Option<Vec<f64>> {
        let (kind, count) = (self.kind, self.names.len());
        let list = self.lists.iter_mut().find(|(list, _)| *list == name);
        match list.and_then(|(_, list)| list.take()) {
            None => {
                self.section.problem(name, format_args!("is missing: kind `{kind}` needs it"));
                None
            }
            Some(list) if list.len() == count => Some(list),
            // Other types than numbers are noted already.
            Some(list) if list.is_empty() => None,
            Some(list) => {
                let have = list.len();
                let problem = match self.names {
                    [one] => format!("has {have} numbers; `{one}` needs one"),
                    _ => format!(
                        "has {have} numbers for {count} features: list one for each of \
                         window.features, in that order"
                    ),
                };
                self.section.problem(name, problem);
                None
            }
        }
    }

    /// Notes the columns whose number is not above the other one.
    fn check_spread(&mut self, key: &str, numbers: &[f64], least: &[f64]) {
        for ((name, number), least) in self.names.iter().zip(numbers).zip(least) {
            if number <= least {
                let problem = format!("{number} of `{name}` is not above {least}");
                self.section.problem(key, problem);
            }
        }
    }
}
