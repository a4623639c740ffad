//! From the name of a feature, such as `macd(12,26,9)`, to the feature.
//!
//! Owns which features exist under which names, and the grammar: `name` or `name(integer,...)`,
//! without spaces, signs or leading zeros, so that one feature is written in one way. A feature is
//! added here and in `kinds`, and trainer, replay and daemon have it.

use super::error::FeatureError;
use super::kinds::{
    Average, Calendar, Cycle, FeatureKind, Form, Line, Macd, Recent, Rsi, Volatility,
};
use crate::core::domain::{Field, Schema};

/// The largest parameter. Every one is a count of steps, and sets how much state a symbol has.
const PARAMETER_MAX: u32 = 10_000;

/// A way to write a feature.
pub(super) struct Entry {
    pub(super) name: &'static str,
    /// What the parameters mean, in order.
    pub(super) parameters: &'static [&'static str],
    /// The feature, of as many parameters as there are names for; or what is wrong with them.
    build: fn(&[u32]) -> Result<FeatureKind, &'static str>,
}

/// All features but fields. A name may stand here once for each count of parameters.
pub(super) const ENTRIES: &[Entry] = &[
    Entry::plain("change", |_| Ok(FeatureKind::Recent(Recent::Change))),
    Entry::plain("absolute_return", |_| Ok(FeatureKind::Recent(Recent::AbsoluteReturn))),
    Entry::plain("log_return", |_| Ok(FeatureKind::Recent(Recent::LogReturn))),
    Entry::plain("volume_change", |_| Ok(FeatureKind::Recent(Recent::VolumeChange))),
    Entry::plain("log_range", |_| Ok(FeatureKind::Recent(Recent::LogRange))),
    Entry::new("ema", &["span"], |p| Ok(FeatureKind::Average(Average::Ema { span: p[0] }))),
    Entry::new("ema_gap", &["span"], |p| Ok(FeatureKind::Average(Average::Gap { span: p[0] }))),
    Entry::new("macd", &["fast", "slow"], |p| macd(p, Line::Difference)),
    Entry::new("macd", &["fast", "slow", "signal"], |p| macd(p, Line::Histogram { span: p[2] })),
    Entry::new("macd_histogram", &["fast", "slow", "signal"], |p| {
        macd(p, Line::Histogram { span: p[2] })
    }),
    Entry::new("macd_signal", &["fast", "slow", "signal"], |p| {
        macd(p, Line::Signal { span: p[2] })
    }),
    Entry::new("ppo", &["fast", "slow"], |p| macd(p, Line::Percentage)),
    Entry::new("rsi", &["period"], |p| Ok(FeatureKind::Rsi(Rsi { period: p[0] }))),
    Entry::new("volatility", &["returns"], |p| match p[0] {
        1 => Err("one return has no deviation; `returns` is at least 2"),
        returns => Ok(FeatureKind::Volatility(Volatility { returns })),
    }),
    Entry::plain("time_of_day", |_| calendar(Cycle::Day, Form::Plain)),
    Entry::plain("time_of_day_sin", |_| calendar(Cycle::Day, Form::Sine)),
    Entry::plain("time_of_day_cos", |_| calendar(Cycle::Day, Form::Cosine)),
    Entry::plain("day_of_week", |_| calendar(Cycle::Week, Form::Plain)),
    Entry::plain("day_of_week_sin", |_| calendar(Cycle::Week, Form::Sine)),
    Entry::plain("day_of_week_cos", |_| calendar(Cycle::Week, Form::Cosine)),
    Entry::plain("time_of_year", |_| calendar(Cycle::Year, Form::Plain)),
    Entry::plain("time_of_year_sin", |_| calendar(Cycle::Year, Form::Sine)),
    Entry::plain("time_of_year_cos", |_| calendar(Cycle::Year, Form::Cosine)),
];

fn macd(parameters: &[u32], line: Line) -> Result<FeatureKind, &'static str> {
    let (fast, slow) = (parameters[0], parameters[1]);
    if fast < slow {
        Ok(FeatureKind::Macd(Macd { fast, slow, line }))
    } else {
        Err("`fast` must be below `slow`")
    }
}

fn calendar(cycle: Cycle, form: Form) -> Result<FeatureKind, &'static str> {
    Ok(FeatureKind::Calendar(Calendar { cycle, form }))
}

impl Entry {
    const fn plain(
        name: &'static str,
        build: fn(&[u32]) -> Result<FeatureKind, &'static str>,
    ) -> Self {
        Self { name, parameters: &[], build }
    }

    const fn new(
        name: &'static str,
        parameters: &'static [&'static str],
        build: fn(&[u32]) -> Result<FeatureKind, &'static str>,
    ) -> Self {
        Self { name, parameters, build }
    }

    /// How it is written: `macd(fast,slow)`.
    pub(super) fn usage(&self) -> String {
        if self.parameters.is_empty() {
            self.name.to_owned()
        } else {
            format!("{}({})", self.name, self.parameters.join(","))
        }
    }
}

/// Whether a field of this name would stand behind a feature.
pub(super) fn is_plain_feature(name: &str) -> bool {
    ENTRIES.iter().any(|entry| entry.name == name && entry.parameters.is_empty())
}

/// The feature of a name.
///
/// # Errors
/// [`FeatureError::Unknown`] or [`FeatureError::Parameters`].
pub(super) fn parse(text: &str, schema: &Schema) -> Result<FeatureKind, FeatureError> {
    if let Some(field) = schema.field(text)
        && !is_plain_feature(text)
    {
        return Ok(FeatureKind::Recent(Recent::Value(field)));
    }
    let wrong = |problem: String| FeatureError::Parameters { name: text.to_owned(), problem };
    let (name, list) = match text.split_once('(') {
        Some((name, list)) => (name, Some(list)),
        None => (text, None),
    };
    let known: Vec<&Entry> = ENTRIES.iter().filter(|entry| entry.name == name).collect();
    if known.is_empty() {
        let suggestion = suggestion(name, schema);
        return Err(FeatureError::Unknown { name: text.to_owned(), suggestion });
    }
    let parameters = match list {
        None => Vec::new(),
        Some(list) => list
            .strip_suffix(')')
            .ok_or_else(|| wrong("does not end with `)`".to_owned()))?
            .split(',')
            .map(parameter)
            .collect::<Result<_, _>>()
            .map_err(wrong)?,
    };
    let entry = known.iter().find(|entry| entry.parameters.len() == parameters.len());
    let entry = entry.ok_or_else(|| {
        let usages: Vec<String> = known.iter().map(|e| format!("`{}`", e.usage())).collect();
        wrong(format!("is written {}", usages.join(" or ")))
    })?;
    (entry.build)(&parameters).map_err(|problem| wrong(problem.to_owned()))
}

fn parameter(text: &str) -> Result<u32, String> {
    let written = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if written && !text.starts_with('0') { text.parse().ok() } else { None };
    number.filter(|number| (1..=PARAMETER_MAX).contains(number)).ok_or_else(|| {
        format!(
            "`{}` is not a whole number from 1 to {PARAMETER_MAX} in plain digits",
            text.escape_debug()
        )
    })
}

/// The feature or field that reads most like `name`, if one is close enough to be meant.
fn suggestion(name: &str, schema: &Schema) -> Option<String> {
    /// Two typing errors or a swapped pair in a word of usual length.
    const SIMILARITY_MIN: f64 = 0.6;
    let fields = schema.fields().map(|field: Field| schema.name(field).to_owned());
    let candidates = ENTRIES.iter().map(Entry::usage).chain(fields);
    candidates
        .map(|usage| {
            let plain = usage.split('(').next().unwrap_or(&usage);
            (strsim::normalized_damerau_levenshtein(name, plain), usage)
        })
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, usage)| usage)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        parse(text, &Schema::new(["humidity"]).unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn every_feature_is_found_under_the_name_it_is_written() {
        let schema = Schema::new([]).unwrap();
        for entry in ENTRIES {
            // Parameters that rise suit every feature.
            let numbers: Vec<_> =
                (2..).take(entry.parameters.len()).map(|n| n.to_string()).collect();
            let text = match numbers.len() {
                0 => entry.name.to_owned(),
                _ => format!("{}({})", entry.name, numbers.join(",")),
            };
            assert!(parse(&text, &schema).is_ok(), "{text}");
        }
        let histogram = parse("macd_histogram(12,26,9)", &schema);
        assert_eq!(parse("macd(12,26,9)", &schema), histogram);
        assert_ne!(parse("macd(12,26)", &schema), histogram);
    }

    #[test]
    fn unknown_names_are_told_with_what_was_probably_meant() {
        let unknown = "neither a known feature nor listed in extra_fields";
        let cases = [
            ("chnage", "; did you mean `change`?"),
            ("vollatility(20)", "; did you mean `volatility(returns)`?"),
            ("humidty", "; did you mean `humidity`?"),
            ("moon", ""),
            ("", ""),
            ("(14)", ""),
        ];
        for (text, meant) in cases {
            assert_eq!(problem(text), format!("unknown feature `{text}`: {unknown}{meant}"));
        }
    }

    #[test]
    fn wrong_parameters_are_told_with_what_would_be_right() {
        let digits =
            |text| format!("`{text}` is not a whole number from 1 to 10000 in plain digits");
        let cases = [
            ("rsi", "is written `rsi(period)`".to_owned()),
            ("rsi(14,3)", "is written `rsi(period)`".to_owned()),
            ("change(2)", "is written `change`".to_owned()),
            ("macd(12)", "is written `macd(fast,slow)` or `macd(fast,slow,signal)`".to_owned()),
            ("rsi(14", "does not end with `)`".to_owned()),
            ("rsi(14)x", "does not end with `)`".to_owned()),
            ("rsi()", digits("")),
            ("rsi(0)", digits("0")),
            ("rsi(10001)", digits("10001")),
            ("rsi(99999999999)", digits("99999999999")),
            ("rsi(-3)", digits("-3")),
            ("rsi(+3)", digits("+3")),
            ("rsi(014)", digits("014")),
            ("rsi(1.5)", digits("1.5")),
            ("rsi(14))", digits("14)")),
            ("macd(12, 26,9)", digits(" 26")),
            ("macd(26,12,9)", "`fast` must be below `slow`".to_owned()),
            ("ppo(12,12)", "`fast` must be below `slow`".to_owned()),
            ("volatility(1)", "one return has no deviation; `returns` is at least 2".to_owned()),
        ];
        for (text, expected) in cases {
            assert_eq!(problem(text), format!("feature `{text}`: {expected}"));
        }
    }
}
