//! Where a model comes from: what the manifest says of a graph that another framework wrote.
//!
//! Owns the on-disk shape of `origin` and of values that may be unknown, and the rules inside them.
//! Promises that nothing unknown reads as known: it is the text `unknown`. Never reads the
//! original file.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::core::domain::UnixNanos;
use crate::core::text::excerpt;

/// How a value that is not known is written.
const UNKNOWN: &str = "unknown";

/// The most characters of a producer or of one rewrite.
const TEXT_CHARS_MAX: usize = 500;

/// The characters of a text that are shown in a message.
const QUOTED_CHARS_MAX: usize = 64;

/// The most rewrites that are listed.
const REWRITES_MAX: usize = 100;

/// A value, or the statement that it is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known<T> {
    /// It is this.
    Is(T),
    /// Nobody said; written as the text `unknown`.
    Unknown,
}

/// A graph that was sealed from a file of another framework.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// Lower-case hexadecimal SHA-256 of the file that was sealed, before any rewrite.
    pub onnx_sha256: String,
    /// Who wrote the file, as the file says; `unknown` where it says nothing.
    pub producer: String,
    /// Version of the standard operator set that the file is written against.
    pub opset: i64,
    /// What was changed before sealing, one sentence each.
    pub rewrites: Vec<String>,
    /// The comparison with the framework's own predictions; absent where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compared: Option<Compared>,
    /// Event time of the newest step that training saw.
    pub trained_until: Known<UnixNanos>,
}

/// A comparison with the predictions of the framework that trained the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compared {
    /// Lower-case hexadecimal SHA-256 of the file of predictions.
    pub predictions_sha256: String,
    /// How many predictions were compared.
    pub count: u32,
    /// The largest absolute difference, in the unit of the predictions.
    pub largest_difference: f64,
    /// The largest difference that passes.
    pub tolerance: f64,
}

/// The bundle whose parameters a fit began with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartSpec {
    /// Its model.
    pub model: String,
    /// Its version.
    pub version: String,
    /// Lower-case hexadecimal SHA-256 of its `model.onnx`.
    pub onnx_sha256: String,
    /// Event time of the newest row that it was trained on, or a bundle that it began with.
    pub trained_until: UnixNanos,
    /// `as_of` of the newest forecast of its validation part, or of that of a bundle that it began
    /// with.
    pub validated_until: UnixNanos,
}

impl<T> Known<T> {
    /// The value, where it is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Is(value) => Some(value),
            Self::Unknown => None,
        }
    }
}

impl<T: fmt::Display> fmt::Display for Known<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(value) => value.fmt(formatter),
            Self::Unknown => formatter.pad(UNKNOWN),
        }
    }
}

impl<T: Serialize> Serialize for Known<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Is(value) => value.serialize(serializer),
            Self::Unknown => serializer.serialize_str(UNKNOWN),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Known<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KnownVisitor(PhantomData))
    }
}

/// Reads a text or an object; an untagged enum would lose the name of a wrong field.
struct KnownVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for KnownVisitor<T> {
    type Value = Known<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the value, or the text `unknown`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        if text == UNKNOWN {
            return Ok(Known::Unknown);
        }
        T::deserialize(StrDeserializer::new(text)).map(Known::Is)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Known::Is)
    }
}

impl Origin {
    /// Checks the rules inside it.
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        check_sha256("origin.onnx_sha256", &self.onnx_sha256, problems);
        check_text("origin.producer", &self.producer, problems);
        if self.opset < 1 {
            problems.push(format!("origin.opset: {} is not at least 1", self.opset));
        }
        if self.rewrites.len() > REWRITES_MAX {
            let count = self.rewrites.len();
            problems.push(format!("origin.rewrites: {count}, at most {REWRITES_MAX} are listed"));
        }
        for (index, text) in self.rewrites.iter().take(REWRITES_MAX).enumerate() {
            check_text(&format!("origin.rewrites[{index}]"), text, problems);
        }
        if let Some(compared) = &self.compared {
            compared.check(problems);
        }
    }
}

impl StartSpec {
    /// Checks the rules inside it.
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        for (field, text) in [("start.model", &self.model), ("start.version", &self.version)] {
            check_text(field, text, problems);
        }
        check_sha256("start.onnx_sha256", &self.onnx_sha256, problems);
    }
}

impl fmt::Display for StartSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { model, version, validated_until, .. } = self;
        write!(formatter, "{model} {version}, trained and validated until {validated_until}")
    }
}

impl Compared {
    fn check(&self, problems: &mut Vec<String>) {
        check_sha256("origin.compared.predictions_sha256", &self.predictions_sha256, problems);
        if self.count == 0 {
            problems.push("origin.compared.count: must be at least 1".to_owned());
        }
        let Self { largest_difference, tolerance, .. } = *self;
        // Written so that a NaN fails.
        if !(largest_difference >= 0.0 && largest_difference <= tolerance && tolerance.is_finite())
        {
            problems.push(format!(
                "origin.compared.largest_difference: {largest_difference} is not between 0 and \
                 the tolerance {tolerance}"
            ));
        }
    }
}

fn quoted(text: &str) -> String {
    excerpt(text, QUOTED_CHARS_MAX)
}

fn check_sha256(field: &str, text: &str, problems: &mut Vec<String>) {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != 64 || !text.bytes().all(is_digit) {
        let text = quoted(text);
        problems.push(format!("{field}: `{text}` is not 64 lower-case hexadecimal digits"));
    }
}

/// A text that is shown as it is: short, not empty, without control characters.
fn check_text(field: &str, text: &str, problems: &mut Vec<String>) {
    let is_short = text.chars().count() <= TEXT_CHARS_MAX;
    if text.is_empty() || !is_short || text.chars().any(char::is_control) {
        let text = quoted(text);
        problems.push(format!(
            "{field}: `{text}` must have 1 to {TEXT_CHARS_MAX} characters, none of them a control \
             character"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Part {
        count: u32,
    }

    fn origin() -> Origin {
        Origin {
            onnx_sha256: "0a".repeat(32),
            producer: "pytorch 2.15.0".to_owned(),
            opset: 17,
            rewrites: vec!["input x is batch first: a Transpose in front".to_owned()],
            compared: Some(Compared {
                predictions_sha256: "1b".repeat(32),
                count: 512,
                largest_difference: 3.1e-8,
                tolerance: 1e-5,
            }),
            trained_until: Known::Is(UnixNanos::parse("2021-05-28").unwrap()),
        }
    }

    fn problems(change: impl FnOnce(&mut Origin)) -> Vec<String> {
        let (mut origin, mut problems) = (origin(), Vec::new());
        change(&mut origin);
        origin.check(&mut problems);
        problems
    }

    #[test]
    fn what_is_unknown_is_a_text_and_what_is_known_is_itself() {
        let read = |text| serde_json::from_str::<Known<Part>>(text);
        assert_eq!(read("\"unknown\"").unwrap(), Known::Unknown);
        assert_eq!(read("{\"count\":3}").unwrap(), Known::Is(Part { count: 3 }));
        assert_eq!(serde_json::to_string(&Known::<Part>::Unknown).unwrap(), "\"unknown\"");
        let error = read("{\"cout\":3}").unwrap_err().to_string();
        assert!(error.contains("unknown field `cout`"), "the field is named: {error}");
        let error = read("3").unwrap_err().to_string();
        assert!(error.contains("the value, or the text `unknown`"), "{error}");
        let time = |text| serde_json::from_str::<Known<UnixNanos>>(text).ok();
        let known = Known::Is(UnixNanos::parse("2021-05-28").unwrap());
        assert_eq!(time("\"2021-05-28T00:00:00Z\""), Some(known));
        assert_eq!(time("\"yesterday\""), None);
    }

    #[test]
    fn an_origin_reads_back_as_it_was_written_and_has_its_rules() {
        let text = serde_json::to_string(&origin()).unwrap();
        assert_eq!(serde_json::from_str::<Origin>(&text).unwrap(), origin());
        assert_eq!(problems(|_| {}), Vec::<String>::new());
        for (field, found) in [
            ("origin.onnx_sha256: ", problems(|origin| origin.onnx_sha256.make_ascii_uppercase())),
            ("origin.producer: ", problems(|origin| origin.producer.clear())),
            ("origin.producer: ", problems(|origin| origin.producer.push('\u{1b}'))),
            ("origin.opset: ", problems(|origin| origin.opset = 0)),
            ("origin.rewrites: ", problems(|origin| origin.rewrites = vec!["x".into(); 101])),
            ("origin.rewrites[0]: ", problems(|origin| origin.rewrites = vec!["x".repeat(501)])),
            (
                "origin.compared.largest_difference: ",
                problems(|origin| origin.compared.as_mut().unwrap().largest_difference = 1.0),
            ),
            (
                "origin.compared.count: ",
                problems(|origin| origin.compared.as_mut().unwrap().count = 0),
            ),
        ] {
            assert_eq!(found.len(), 1, "{field}: {found:?}");
            assert!(found[0].starts_with(field), "{found:?}");
        }
    }
}
