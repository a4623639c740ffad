//! From the name of a feature, such as `macd(12,26,9)`, to the feature.
//!
//! Owns which features exist under which names, and the grammar: `name`, `name(integer,...)` or
//! `name(field,integer,...)`, without spaces, signs or leading zeros, so that one feature is
//! written in one way. A feature is added here and in `kinds`, and trainer, replay and daemon have
//! it.

use super::error::FeatureError;
use super::kinds::{
    Average, Calendar, Cycle, FeatureKind, Form, Lag, Line, Macd, Recent, Rsi, Volatility,
};
use crate::core::domain::{Field, Schema};
use crate::core::text::{similarity, suggestion as did_you_mean};

/// The largest parameter. Every one is a count of steps, and sets how much state a symbol has.
const PARAMETER_MAX: u32 = 10_000;

/// A way to write a feature.
pub(super) struct Entry {
    pub(super) name: &'static str,
    /// What the numbers mean, in order.
    pub(super) parameters: &'static [&'static str],
    build: Build,
}

/// The feature, of as many numbers as there are names for; or what is wrong with them.
#[derive(Clone, Copy)]
enum Build {
    Plain(fn(&[u32]) -> Result<FeatureKind, &'static str>),
    /// Of a field, which is written before the numbers.
    OfField(fn(Field, &[u32]) -> FeatureKind),
}

/// All features but fields. A name may appear once for each count of parameters, and once only if
/// it takes a field.
pub(super) const ENTRIES: &[Entry] = &[
    Entry::plain("change", |_| Ok(FeatureKind::Recent(Recent::Change))),
    Entry::plain("absolute_return", |_| Ok(FeatureKind::Recent(Recent::AbsoluteReturn))),
    Entry::plain("log_return", |_| Ok(FeatureKind::Recent(Recent::LogReturn))),
    Entry::plain("volume_change", |_| Ok(FeatureKind::Recent(Recent::VolumeChange))),
    Entry::plain("log_range", |_| Ok(FeatureKind::Recent(Recent::LogRange))),
    Entry::of_field("log", &[], |field, _| FeatureKind::Recent(Recent::Log(field))),
    Entry::of_field("lag", &["steps"], |field, p| FeatureKind::Lag(Lag { field, steps: p[0] })),
    Entry::new("ema", &["span"], |p| Ok(FeatureKind::Average(Average::ema(p[0])))),
    Entry::new("ema_gap", &["span"], |p| Ok(FeatureKind::Average(Average::gap(p[0])))),
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
        Self { name, parameters: &[], build: Build::Plain(build) }
    }

    const fn new(
        name: &'static str,
        parameters: &'static [&'static str],
        build: fn(&[u32]) -> Result<FeatureKind, &'static str>,
    ) -> Self {
        Self { name, parameters, build: Build::Plain(build) }
    }

    const fn of_field(
        name: &'static str,
        parameters: &'static [&'static str],
        build: fn(Field, &[u32]) -> FeatureKind,
    ) -> Self {
        Self { name, parameters, build: Build::OfField(build) }
    }

    /// Whether its first parameter is a field.
    pub(super) const fn takes_field(&self) -> bool {
        matches!(self.build, Build::OfField(_))
    }

    /// How it is written with these parameters.
    pub(super) fn with(&self, field: &str, numbers: &[&str]) -> String {
        let field = if self.takes_field() { &[field][..] } else { &[] };
        match [field, numbers].concat()[..] {
            [] => self.name.to_owned(),
            ref parameters => format!("{}({})", self.name, parameters.join(",")),
        }
    }

    /// How it is written: `macd(fast,slow)`.
    pub(super) fn usage(&self) -> String {
        self.with("field", self.parameters)
    }
}

/// Whether a field of this name would stand behind a feature.
pub(super) fn is_plain_feature(name: &str) -> bool {
    ENTRIES
        .iter()
        .any(|entry| entry.name == name && entry.parameters.is_empty() && !entry.takes_field())
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
    let usage = || {
        let usages: Vec<String> = known.iter().map(|e| format!("`{}`", e.usage())).collect();
        wrong(format!("is written {}", usages.join(" or ")))
    };
    let list = match list {
        None => None,
        Some(list) => {
            Some(list.strip_suffix(')').ok_or_else(|| wrong("does not end with `)`".to_owned()))?)
        }
    };
    if let Some(Entry { build: Build::OfField(build), parameters, .. }) = known.first() {
        let (field, numbers) = field_and_numbers(list, parameters.len()).ok_or_else(usage)?;
        let found = schema.field(field).ok_or_else(|| match field.contains(',') {
            true => usage(),
            false => wrong(no_field(field, schema)),
        })?;
        let numbers = numbers.into_iter().map(parameter).collect::<Result<Vec<_>, _>>();
        return Ok(build(found, &numbers.map_err(wrong)?));
    }
    let numbers = list.map(|list| list.split(',').map(parameter).collect::<Result<Vec<_>, _>>());
    let numbers = numbers.transpose().map_err(wrong)?.unwrap_or_default();
    match known.iter().find(|entry| entry.parameters.len() == numbers.len()).map(|e| e.build) {
        Some(Build::Plain(build)) => build(&numbers).map_err(|problem| wrong(problem.to_owned())),
        _ => Err(usage()),
    }
}

/// The field before so many numbers. Numbers have no comma, and the name of a field may have one.
fn field_and_numbers(list: Option<&str>, count: usize) -> Option<(&str, Vec<&str>)> {
    let mut parts: Vec<&str> = list?.rsplitn(count + 1, ',').collect();
    let field = parts.pop().filter(|field| !field.is_empty())?;
    parts.reverse();
    (parts.len() == count).then_some((field, parts))
}

/// What is said of a field that there is not.
fn no_field(name: &str, schema: &Schema) -> String {
    let known: Vec<&str> = schema.fields().map(|field| schema.name(field)).collect();
    format!(
        "`{}` is no field: neither a standard one nor listed in extra_fields{}",
        name.escape_debug(),
        did_you_mean(name, known.into_iter())
    )
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
    let fields = schema.fields().map(|field: Field| schema.name(field).to_owned());
    let candidates = ENTRIES.iter().map(Entry::usage).chain(fields);
    candidates
        .filter_map(|usage| {
            let plain = usage.split('(').next().unwrap_or(&usage);
            Some((similarity(name, plain)?, usage))
        })
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
            let numbers = &["2", "3", "4"][..entry.parameters.len()];
            let text = entry.with("volume", numbers);
            assert!(parse(&text, &schema).is_ok(), "{text}");
        }
        let histogram = parse("macd_histogram(12,26,9)", &schema);
        assert_eq!(parse("macd(12,26,9)", &schema), histogram);
        assert_ne!(parse("macd(12,26)", &schema), histogram);
    }

    #[test]
    fn a_field_may_have_any_name() {
        let names = ["wind,gust", "wind(2)", "a,3"];
        let schema = Schema::new(names).unwrap();
        for name in names {
            let field = schema.field(name).unwrap();
            let lag = FeatureKind::Lag(Lag { field, steps: 3 });
            assert_eq!(parse(&format!("lag({name},3)"), &schema), Ok(lag));
            let log = FeatureKind::Recent(Recent::Log(field));
            assert_eq!(parse(&format!("log({name})"), &schema), Ok(log));
        }
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
        let field = |name, meant| {
            format!(
                "`{name}` is no field: neither a standard one nor listed in extra_fields{meant}"
            )
        };
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
            ("log", "is written `log(field)`".to_owned()),
            ("log()", "is written `log(field)`".to_owned()),
            ("log(close,2)", "is written `log(field)`".to_owned()),
            ("lag(close)", "is written `lag(field,steps)`".to_owned()),
            ("lag(3)", "is written `lag(field,steps)`".to_owned()),
            ("lag(,3)", "is written `lag(field,steps)`".to_owned()),
            ("lag(close,1,2)", "is written `lag(field,steps)`".to_owned()),
            ("lag(close,3", "does not end with `)`".to_owned()),
            ("lag(close,0)", digits("0")),
            ("lag(close,10001)", digits("10001")),
            ("lag(close, 3)", digits(" 3")),
            ("lag(log_return,1)", field("log_return", "")),
            ("log(humidty)", field("humidty", ", did you mean `humidity`?")),
        ];
        for (text, expected) in cases {
            assert_eq!(problem(text), format!("feature `{text}`: {expected}"));
        }
    }
}
