//! The form of a table in a text: what stands between cells, where the header is, how numbers and
//! times are written.
//!
//! Owns what a person may say about a form, and the words for what was found. Never reads a file.

use std::fmt;
use std::str::FromStr;

use super::input::Packing;
use super::number::Decimal;
use crate::core::domain::TimeFormat;

/// What a person says about the form of a table; what is left open is found in the first lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dialect {
    /// What stands between two cells.
    pub delimiter: Option<Delimiter>,
    /// Where the names of the columns are.
    pub header: Header,
    /// The sign before the fraction of a number.
    pub decimal: Option<Decimal>,
    /// How texts of times are read.
    pub times: TimeFormat,
    /// Whether a table whose newest row comes first keeps its order.
    pub keeps_order: bool,
}

/// What stands between two cells: one ASCII character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delimiter(u8);

/// Where the names of the columns are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Header {
    /// On the first line, or the first one that has as many cells as those below.
    #[default]
    Found,
    /// On this line, from 1.
    Line(u64),
    /// Nowhere: columns have numbers, from 1.
    None,
}

/// The form in which a table is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Understood {
    /// How the file is packed.
    pub packing: Packing,
    /// What stands between two cells.
    pub delimiter: Delimiter,
    /// The line of the header, if there is one.
    pub header_line: Option<u64>,
    /// How many columns it has.
    pub width: usize,
    /// Whether each row begins with its number, for which the header has no name.
    pub has_row_numbers: bool,
    /// The sign before the fraction of a number.
    pub decimal: Decimal,
    /// Whether the newest row comes first; rows are then given out from the last to the first.
    pub is_newest_first: bool,
    /// What of this was found and not said, in words.
    pub(super) guesses: Vec<String>,
}

impl Delimiter {
    /// What files have between their cells, the usual one first.
    pub(super) const USUAL: [Self; 4] = [Self(b','), Self(b';'), Self(b'\t'), Self(b'|')];

    pub(super) const COMMA: Self = Self(b',');

    pub(super) const fn byte(self) -> u8 {
        self.0
    }
}

impl FromStr for Delimiter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.as_bytes() {
            b"tab" | b"\\t" => Ok(Self(b'\t')),
            b"space" => Ok(Self(b' ')),
            [b'"' | b'\n' | b'\r'] => Err("a quote or a line end cannot divide cells".to_owned()),
            [byte] if byte.is_ascii() => Ok(Self(*byte)),
            _ => Err("expected one character, such as `;`, or tab or space".to_owned()),
        }
    }
}

impl fmt::Display for Delimiter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            b'\t' => formatter.write_str("tabs"),
            b' ' => formatter.write_str("spaces"),
            byte => write!(formatter, "`{}`", char::from(byte)),
        }
    }
}

impl FromStr for Header {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Found),
            "none" => Ok(Self::None),
            number => match number.parse() {
                Ok(line @ 1..) => Ok(Self::Line(line)),
                _ => Err("expected auto, none or the number of a line, from 1".to_owned()),
            },
        }
    }
}

impl Dialect {
    /// The first thing that was said, for formats in which nothing may be.
    pub(super) fn said(&self) -> Option<&'static str> {
        match self {
            Self { delimiter: Some(_), .. } => Some("a delimiter"),
            Self { header: Header::Line(_) | Header::None, .. } => Some("a header line"),
            Self { decimal: Some(_), .. } => Some("a decimal sign"),
            Self { delimiter: None, header: Header::Found, decimal: None, .. } => None,
        }
    }
}

impl Understood {
    /// What was found and not said, in one line; `None` for a table of the usual form.
    pub fn guessed(&self) -> Option<String> {
        let packing = self.packing.words();
        let parts: Vec<_> = packing.into_iter().chain(self.guesses.iter().cloned()).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

impl Packing {
    fn words(self) -> Vec<String> {
        let compression = self.compression.map(|name| format!("compressed with {name}"));
        let encoding = self.encoding.map(|name| format!("encoded in {name}"));
        compression.into_iter().chain(encoding).collect()
    }
}
