//! Messages of which no rule of the venue makes anything.
//!
//! Owns the kinds of such messages, how many there were of each, and which of them are worth a line
//! in the log. Promises that a kind is one of a closed list, and that a flood of such messages does
//! not become a flood of lines. Never reads a clock.

use serde_json::Value;

use crate::ops::logging::is_power_of_ten;

/// What is known of a message that no rule makes anything of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmatched {
    /// JSON that fits no rule.
    Other,
    /// It fits no rule and says that it is an error, or it refuses something that was not asked.
    Error,
    /// It fits the mapping, and its conditions leave every element out.
    Skipped,
    /// No JSON that is read.
    Malformed,
}

/// How many there were of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnmatchedTally {
    counts: [u64; Unmatched::ALL.len()],
}

/// The longest message that is searched for the signs of an error.
const SEARCHED_BYTES_MAX: usize = 64 << 10;

/// The members by which venues say what a message is.
const KIND_NAMES: [&str; 6] = ["event", "type", "status", "channel", "T", "op"];

/// The members that hold an error.
const ERROR_NAMES: [&str; 4] = ["error", "errors", "err-msg", "errorMessage"];

impl Unmatched {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Other, Self::Error, Self::Skipped, Self::Malformed];

    /// The name in metrics and log lines.
    pub fn label(self) -> &'static str {
        match self {
            Self::Other => "other",
            Self::Error => "error",
            Self::Skipped => "skipped",
            Self::Malformed => "malformed",
        }
    }
}

impl UnmatchedTally {
    /// How many there were of a kind.
    pub fn get(&self, kind: Unmatched) -> u64 {
        self.counts[kind as usize]
    }

    /// Counts one; returns the new count where the message is worth a line: the 1st, 10th, 100th
    /// and so on.
    pub(super) fn add(&mut self, kind: Unmatched) -> Option<u64> {
        let count = &mut self.counts[kind as usize];
        *count += 1;
        is_power_of_ten(*count).then_some(*count)
    }
}

/// Whether a message says that it is an error, as venues usually do: `{"event":"error"}`,
/// `{"type":"error"}`, `{"error":{…}}`, or the same in a list.
pub(super) fn looks_like_error(message: &[u8]) -> bool {
    if message.len() > SEARCHED_BYTES_MAX {
        return false;
    }
    let Ok(value) = serde_json::from_slice::<Value>(message) else { return false };
    let first = value.get(0).unwrap_or(&value);
    let is_error = |name: &&str| {
        let kind = first.get(*name).and_then(Value::as_str);
        kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with("err"))
    };
    let has_error = |name: &&str| match first.get(*name) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(list)) => !list.is_empty(),
        Some(Value::Bool(true) | Value::Object(_)) => true,
    };
    KIND_NAMES.iter().any(is_error) || ERROR_NAMES.iter().any(has_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_known_by_what_venues_call_them() {
        for (message, is_error) in [
            (r#"{"event":"error","code":"60012","msg":"bad"}"#, true),
            (r#"{"type":"error","message":"failure to subscribe"}"#, true),
            (r#"{"status":"error","err-code":"bad-request"}"#, true),
            (r#"[{"T":"error","code":400,"msg":"invalid syntax"}]"#, true),
            (r#"{"error":{"code":2,"msg":"Invalid request"}}"#, true),
            (r#"{"error":"no such pair"}"#, true),
            (r#"{"event":"Errored"}"#, true),
            (r#"{"event":"subscribe","error":null}"#, false),
            (r#"{"error":"","status":"ok"}"#, false),
            (r#"{"error":0,"errors":[]}"#, false),
            (r#"{"channel":"status","data":[{"type":"error"}]}"#, false),
            (r#"{"event":"info","version":2}"#, false),
            ("[]", false),
            ("7", false),
            ("no JSON", false),
        ] {
            assert_eq!(looks_like_error(message.as_bytes()), is_error, "{message}");
        }
    }

    #[test]
    fn each_kind_is_counted_apart_and_powers_of_ten_are_worth_a_line() {
        let mut tally = UnmatchedTally::default();
        let lines: Vec<_> = (0..1000).filter_map(|_| tally.add(Unmatched::Error)).collect();
        assert_eq!(lines, [1, 10, 100, 1000]);
        assert_eq!(tally.add(Unmatched::Other), Some(1));
        assert_eq!(Unmatched::ALL.map(|kind| tally.get(kind)), [1, 1000, 0, 0]);
    }
}
