//! Refused rows by reason and field, for a person.
//!
//! Owns the first place and text of each kind. Promises as many entries as there are reasons and
//! fields, whatever a file holds. Never refuses anything.

use std::fmt;

use serde::Serialize;

use crate::core::domain::NamedRejection;
use crate::core::text::excerpt_of_bytes;

/// As much of a row as tells what is wrong, in characters.
const TEXT_CHARS_MAX: usize = 100;

/// Rows that were refused for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The reason as metrics name it.
    pub reason: &'static str,
    /// The field at fault.
    pub field: Option<String>,
    /// How many rows.
    pub count: u64,
    /// Where the first one is.
    pub first: String,
    /// The text of the first one.
    pub text: String,
}

/// All refused rows of an input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals(Vec<Refusal>);

impl Refusals {
    /// Counts a row. `first` gives its place and its text, and is asked for the first of a kind.
    pub fn add(
        &mut self,
        rejection: NamedRejection<'_>,
        first: impl FnOnce() -> (String, Vec<u8>),
    ) {
        let NamedRejection { reason, field } = rejection;
        let reason = reason.label();
        let known = self
            .0
            .iter_mut()
            .find(|known| known.reason == reason && known.field.as_deref() == field);
        if let Some(known) = known {
            known.count += 1;
            return;
        }
        let (first, text) = first();
        self.0.push(Refusal {
            reason,
            field: field.map(str::to_owned),
            count: 1,
            first,
            text: excerpt_of_bytes(&text, TEXT_CHARS_MAX),
        });
    }

    /// How many rows were refused.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|refusal| refusal.count).sum()
    }

    /// The kinds, in the order in which they were met.
    pub fn into_vec(self) -> Vec<Refusal> {
        self.0
    }

    /// The kinds, in the order in which they were met.
    pub fn as_slice(&self) -> &[Refusal] {
        &self.0
    }
}

impl Refusal {
    /// The reason and the field.
    pub fn kind(&self) -> String {
        let field = self.field.as_ref().map(|field| format!(" `{field}`"));
        format!("{}{}", self.reason, field.unwrap_or_default())
    }
}

/// One line for a person.
impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, first, text, .. } = self;
        write!(formatter, "{:<26} {count:>9}  {first}: {text}", self.kind())
    }
}
