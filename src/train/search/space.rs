//! What a search varies.
//!
//! Owns the keys that may vary, their values, and the draws. Promises the same trials for the same
//! space and seed, and that the first trials of a longer search are those of a shorter one. Never
//! judges a trial.

use std::collections::BTreeSet;

use config::{Value, ValueKind};

use crate::ports::section::Section;
use crate::train::random::{Purpose, Random};

/// Sections of a training configuration that may vary: what they say changes how a model learns,
/// and not what it is judged by.
const SECTIONS: [&str; 3] = ["window", "network", "fit"];

/// Keys in them that may not.
const KEPT: [&str; 8] = [
    "window.extra_fields",
    "window.statics",
    "fit.seed",
    "fit.work",
    "fit.logs",
    "fit.start",
    "fit.start_from",
    "fit.start_scaler",
];

/// Draws of one trial before the space counts as exhausted.
const DRAWS_MAX: usize = 1000;

/// Significant digits of a number that is drawn from a range; more make no difference.
const DIGITS: i32 = 4;

/// A key and the values that it may have.
#[derive(Clone, Debug, PartialEq)]
pub struct Dimension {
    /// The key, such as `network.lstm[0].units`.
    pub key: String,
    /// Its values.
    pub values: Values,
}

/// The values of a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// One of these.
    Choices(Vec<Value>),
    /// A whole number between two others, both included.
    Whole {
        /// The smallest.
        low: i64,
        /// The largest.
        high: i64,
        /// Whether the logarithm is drawn.
        is_log: bool,
    },
    /// A number between two others.
    Real {
        /// The smallest.
        low: f64,
        /// The largest.
        high: f64,
        /// Whether the logarithm is drawn.
        is_log: bool,
    },
}

/// A configuration to try: keys and values that differ from the one that is varied.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// Counted from 1, which is the configuration that is varied itself.
    pub number: usize,
    /// The changes, in the order of the space.
    pub changes: Vec<(String, Value)>,
}

/// Reads an entry of `[[space]]`.
pub(super) fn dimension(mut section: Section<'_>) -> Dimension {
    let key = section.text("key");
    let (name, rest) = key.split_once('.').unwrap_or((&key, ""));
    if !key.is_empty() && (!SECTIONS.contains(&name) || rest.is_empty()) {
        let problem = "must be a key in [window], [network] or [fit], such as `window.steps`";
        section.problem("key", problem);
    } else if KEPT.contains(&&*key) {
        section.problem("key", format_args!("`{key}` cannot vary"));
    }
    let choices = section.items("choices");
    let range = section.items("range").map(|ends| (ends, "range", false));
    let log_range = section.items("log_range").map(|ends| (ends, "log_range", true));
    let values = match (choices, range, log_range) {
        (Some(choices), None, None) => {
            if choices.is_empty() {
                section.problem("choices", "needs at least one value");
            }
            Values::Choices(choices)
        }
        (None, Some((ends, name, is_log)), None) | (None, None, Some((ends, name, is_log))) => {
            between(&ends, is_log).unwrap_or_else(|problem| {
                section.problem(name, problem);
                Values::Choices(Vec::new())
            })
        }
        _ => {
            section.problem("key", "needs one of `choices`, `range` and `log_range`");
            Values::Choices(Vec::new())
        }
    };
    section.finish();
    Dimension { key, values }
}

/// The values between two ends.
fn between(ends: &[Value], is_log: bool) -> Result<Values, &'static str> {
    let number = |end: &Value| match end.kind {
        ValueKind::I64(whole) => Some(whole as f64),
        ValueKind::Float(real) => Some(real).filter(|real| real.is_finite()),
        _ => None,
    };
    let [first, last] = ends else { return Err("must be two numbers, the smaller one first") };
    let (Some(low), Some(high)) = (number(first), number(last)) else {
        return Err("must be two numbers, the smaller one first");
    };
    if low >= high {
        return Err("must be two numbers, the smaller one first");
    }
    if is_log && low <= 0.0 {
        return Err("must be two numbers above 0");
    }
    Ok(match (&first.kind, &last.kind) {
        (ValueKind::I64(low), ValueKind::I64(high)) => {
            Values::Whole { low: *low, high: *high, is_log }
        }
        _ => Values::Real { low, high, is_log },
    })
}

impl Values {
    /// Values that show whether the key may have them: every choice, or both ends.
    pub fn examples(&self) -> Vec<Value> {
        match self {
            Self::Choices(choices) => choices.clone(),
            Self::Whole { low, high, .. } => [*low, *high].map(whole).to_vec(),
            Self::Real { low, high, .. } => [*low, *high].map(real).to_vec(),
        }
    }

    fn draw(&self, random: &mut Random) -> Value {
        match self {
            Self::Choices(choices) => choices[random.below(choices.len())].clone(),
            Self::Whole { low, high, is_log: false } => {
                let count = high.abs_diff(*low).saturating_add(1);
                let above = random.below(usize::try_from(count).unwrap_or(usize::MAX));
                whole(low.saturating_add(i64::try_from(above).unwrap_or(i64::MAX)))
            }
            Self::Whole { low, high, is_log: true } => {
                let drawn = logarithmic(*low as f64, *high as f64 + 1.0, random);
                whole((drawn.floor() as i64).clamp(*low, *high))
            }
            Self::Real { low, high, is_log } => {
                let drawn = match is_log {
                    true => logarithmic(*low, *high, random),
                    false => low + (high - low) * random.unit_f64(),
                };
                real(rounded(drawn).clamp(*low, *high))
            }
        }
    }
}

fn whole(number: i64) -> Value {
    Value::new(None, ValueKind::I64(number))
}

fn real(number: f64) -> Value {
    Value::new(None, ValueKind::Float(number))
}

fn logarithmic(low: f64, high: f64, random: &mut Random) -> f64 {
    let (low, high) = (libm::log(low), libm::log(high));
    libm::exp(low + (high - low) * random.unit_f64())
}

/// With the digits that count.
fn rounded(number: f64) -> f64 {
    let digits = usize::try_from(DIGITS - 1).unwrap_or_default();
    format!("{number:.digits$e}").parse().unwrap_or(number)
}

/// The first trials, at most so many: the configuration that is varied, and draws that differ from
/// one another. Fewer where the space has no more.
pub(super) fn trials(space: &[Dimension], seed: u64, count: usize) -> Vec<Trial> {
    let mut random = Random::new(seed, Purpose::Search);
    let mut trials = vec![Trial { number: 1, changes: Vec::new() }];
    let mut seen = BTreeSet::new();
    while trials.len() < count && !space.is_empty() {
        let fresh = (0..DRAWS_MAX).find_map(|_| {
            let draw =
                |dimension: &Dimension| (dimension.key.clone(), dimension.values.draw(&mut random));
            let changes: Vec<_> = space.iter().map(draw).collect();
            seen.insert(words(&changes)).then_some(changes)
        });
        let Some(changes) = fresh else { break };
        trials.push(Trial { number: trials.len() + 1, changes });
    }
    trials
}

/// Changes in one line.
pub(super) fn words(changes: &[(String, Value)]) -> String {
    let words: Vec<_> =
        changes.iter().map(|(key, value)| format!("{key} {}", json(value))).collect();
    words.join(", ")
}

/// A value as JSON.
pub(super) fn json(value: &Value) -> serde_json::Value {
    match &value.kind {
        ValueKind::Nil => serde_json::Value::Null,
        ValueKind::Boolean(switch) => (*switch).into(),
        ValueKind::I64(number) => (*number).into(),
        ValueKind::U64(number) => (*number).into(),
        ValueKind::I128(_) | ValueKind::U128(_) => value.kind.to_string().into(),
        ValueKind::Float(number) => (*number).into(),
        ValueKind::String(text) => text.clone().into(),
        ValueKind::Array(items) => items.iter().map(json).collect::<Vec<_>>().into(),
        ValueKind::Table(table) => {
            let pairs = table.iter().map(|(key, value)| (key.clone(), json(value)));
            serde_json::Value::Object(pairs.collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space() -> Vec<Dimension> {
        let of = |key: &str, values| Dimension { key: key.to_owned(), values };
        vec![
            of("window.steps", Values::Choices([5, 9].map(whole).to_vec())),
            of("network.lstm[0].units", Values::Whole { low: 4, high: 64, is_log: true }),
            of("fit.batch", Values::Whole { low: -1, high: 1, is_log: false }),
            of("fit.learning_rate", Values::Real { low: 1e-4, high: 1e-2, is_log: true }),
            of("network.lstm[0].dropout", Values::Real { low: 0.0, high: 0.5, is_log: false }),
        ]
    }

    #[test]
    fn draws_follow_the_seed_and_a_longer_search_begins_like_a_shorter_one() {
        let long = trials(&space(), 7, 200);
        assert_eq!(trials(&space(), 7, 200), long);
        assert_eq!(trials(&space(), 7, 20), long[..20]);
        assert_ne!(trials(&space(), 8, 20), long[..20]);
        assert_eq!((long.len(), long[0].changes.len()), (200, 0), "the first one changes nothing");
        let numbers = |at: usize| -> Vec<f64> {
            long[1..].iter().map(|trial| json(&trial.changes[at].1).as_f64().unwrap()).collect()
        };
        let ends = |at: usize| {
            let numbers = numbers(at);
            let low = numbers.iter().copied().fold(f64::INFINITY, f64::min);
            (low, numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max))
        };
        assert_eq!((ends(0), ends(2)), ((5.0, 9.0), (-1.0, 1.0)));
        let below = |at: usize, limit: f64| numbers(at).iter().filter(|n| **n < limit).count();
        // Half of the draws lie below the geometric mean of both ends.
        assert!((80..120).contains(&below(1, 16.0)), "{}", below(1, 16.0));
        assert!((80..120).contains(&below(3, 1e-3)), "{}", below(3, 1e-3));
        assert!((80..120).contains(&below(4, 0.25)), "{}", below(4, 0.25));
        assert!(ends(1).0 >= 4.0 && ends(1).1 <= 64.0, "{:?}", ends(1));
        assert!(numbers(3).iter().all(|rate| rate.to_string().len() <= 10), "{:?}", numbers(3));
    }

    #[test]
    fn no_configuration_is_tried_twice_and_a_small_space_ends() {
        let three = Dimension {
            key: "window.steps".to_owned(),
            values: Values::Choices([5, 7, 9].map(whole).to_vec()),
        };
        let trials = trials(&[three], 1, 30);
        let mut found: Vec<_> = trials[1..].iter().map(|trial| words(&trial.changes)).collect();
        found.sort_unstable();
        assert_eq!(found, ["window.steps 5", "window.steps 7", "window.steps 9"]);
    }
}
