//! Numbers as people write them in tables: `1191.38`, `$1,191.38`, `1.191,38`, `1.25M`.
//!
//! Owns which texts are numbers, under either decimal sign. Promises the double that is nearest to
//! the decimal number that stands there, and that a text with two readings is no number. Never
//! guesses the decimal sign: it is given.

use std::str::FromStr;

/// The longest text that can be a number; no table writes more digits.
const BYTES_MAX: usize = 64;

/// Signs of currencies, which may stand before or behind an amount.
const CURRENCIES: [char; 4] = ['$', '€', '£', '¥'];

/// The sign before the fraction of a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Decimal {
    /// `1191.38`; a comma is no part of a number, since nothing says which one it would be.
    #[default]
    Plain,
    /// `1,191.38`: a comma stands between thousands.
    Point,
    /// `1.191,38`: a point stands between thousands.
    Comma,
}

/// What a text says about the decimal sign of its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evidence {
    /// Nothing: a whole number without separators, or no number.
    None,
    /// Only a number if the sign is a point.
    Point,
    /// Only a number if the sign is a comma.
    Comma,
    /// A number either way, and another one: `1,234`. As the readers of most programs take it,
    /// `1.234` has a decimal point.
    Either,
}

impl FromStr for Decimal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "." => Ok(Self::Point),
            "," => Ok(Self::Comma),
            _ => Err("expected `.` or `,`".to_owned()),
        }
    }
}

impl Decimal {
    /// The number that a text says.
    pub(super) fn read(self, text: &str) -> Option<f64> {
        // A point is the decimal sign of nearly every table.
        if self != Self::Comma
            && let Ok(number) = text.parse()
        {
            return Some(number);
        }
        let (sign, separator) = match self {
            Self::Plain => ('.', None),
            Self::Point => ('.', Some(',')),
            Self::Comma => (',', Some('.')),
        };
        let mut digits = Digits::default();
        let amount = Amount::of(text)?;
        if amount.digits.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            // `NaN` and `inf`.
            return text.parse().ok();
        }
        digits.number(amount.digits, sign, separator)?;
        digits.exponent(amount.exponent)?;
        let number: f64 = digits.text().parse().ok()?;
        Some(if amount.is_negative { -number } else { number })
    }
}

/// A number without what stands around its digits.
struct Amount<'t> {
    is_negative: bool,
    digits: &'t str,
    /// The power of ten of a suffix such as `M`.
    exponent: u8,
}

impl<'t> Amount<'t> {
    fn of(text: &'t str) -> Option<Self> {
        let (text, is_negative) = sign_of(text);
        let text = text.strip_prefix(CURRENCIES).map_or(text, str::trim_start);
        // `$-5`, where `-$5` has lost its sign already.
        let (text, is_negative) = if is_negative { (text, true) } else { sign_of(text) };
        let text = text.strip_suffix(CURRENCIES).map_or(text, str::trim_end);
        let (digits, exponent) = match text.bytes().last()? {
            b'K' | b'k' => (&text[..text.len() - 1], 3),
            b'M' | b'm' => (&text[..text.len() - 1], 6),
            b'B' | b'b' => (&text[..text.len() - 1], 9),
            b'T' | b't' => (&text[..text.len() - 1], 12),
            _ => (text, 0),
        };
        Some(Self { is_negative, digits, exponent })
    }
}

/// A text without its sign, and whether that is a minus.
fn sign_of(text: &str) -> (&str, bool) {
    match text.strip_prefix('-') {
        Some(rest) => (rest, true),
        None => (text.strip_prefix('+').unwrap_or(text), false),
    }
}

/// The digits of a number as the standard library reads them.
struct Digits {
    bytes: [u8; BYTES_MAX],
    length: usize,
}

impl Default for Digits {
    fn default() -> Self {
        Self { bytes: [0; BYTES_MAX], length: 0 }
    }
}

impl Digits {
    fn push(&mut self, byte: u8) -> Option<()> {
        *self.bytes.get_mut(self.length)? = byte;
        self.length += 1;
        Some(())
    }

    fn text(&self) -> &str {
        str::from_utf8(&self.bytes[..self.length]).expect("digits, `.` and `e` are ASCII")
    }

    /// Takes the digits of a number; `None` where the text is none.
    fn number(&mut self, text: &str, sign: char, separator: Option<char>) -> Option<()> {
        let (whole, fraction) = text.split_once(sign).map_or((text, None), |(w, f)| (w, Some(f)));
        self.whole(whole, separator)?;
        let Some(fraction) = fraction else { return Some(()) };
        self.push(b'.')?;
        // An exponent, and nothing else, may follow the digits.
        let (fraction, exponent) =
            fraction.split_once(['e', 'E']).map_or((fraction, None), |(f, e)| (f, Some(e)));
        self.digits(fraction)?;
        let Some(exponent) = exponent else { return Some(()) };
        self.push(b'e')?;
        let (exponent, is_negative) = sign_of(exponent);
        if is_negative {
            self.push(b'-')?;
        }
        if exponent.is_empty() { None } else { self.digits(exponent) }
    }

    /// Takes digits, in groups of three where a separator stands between them.
    fn whole(&mut self, text: &str, separator: Option<char>) -> Option<()> {
        let is_other = |character: char| {
            Some(character) == separator || matches!(character, '\'' | ' ' | '\u{a0}' | '\u{202f}')
        };
        let Some(between) = text.chars().find(|character| is_other(*character)) else {
            return self.digits(text);
        };
        for (index, group) in text.split(between).enumerate() {
            let is_first = (1..=3).contains(&group.len()) && !group.starts_with('0');
            let is_group = if index == 0 { is_first } else { group.len() == 3 };
            if !is_group {
                return None;
            }
            self.digits(group)?;
        }
        Some(())
    }

    fn digits(&mut self, text: &str) -> Option<()> {
        text.bytes().try_for_each(|byte| byte.is_ascii_digit().then(|| self.push(byte)).flatten())
    }

    /// Moves the point by a power of ten, exactly.
    fn exponent(&mut self, exponent: u8) -> Option<()> {
        if exponent == 0 {
            return Some(());
        }
        // A suffix on top of an exponent is no number that anybody writes.
        if self.text().contains('e') {
            return None;
        }
        self.push(b'e')?;
        if exponent >= 10 {
            self.push(b'0' + exponent / 10)?;
        }
        self.push(b'0' + exponent % 10)
    }
}

/// What a text says about the decimal sign.
pub(super) fn evidence(text: &str) -> Evidence {
    if !text.contains([',', '.']) {
        return Evidence::None;
    }
    let point = Decimal::Point.read(text).filter(|number| number.is_finite());
    let comma = Decimal::Comma.read(text).filter(|number| number.is_finite());
    match (point, comma) {
        (None, None) => Evidence::None,
        (Some(_), None) => Evidence::Point,
        (None, Some(_)) => Evidence::Comma,
        (Some(_), Some(_)) => Evidence::Either,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_people_write_them() {
        for (decimal, text, expected) in [
            (Decimal::Plain, "1191.38", Some(1191.38)),
            (Decimal::Plain, "$191.38", Some(191.38)),
            (Decimal::Plain, "-$5", Some(-5.0)),
            (Decimal::Plain, "$-5", Some(-5.0)),
            (Decimal::Plain, "12.5 €", Some(12.5)),
            (Decimal::Plain, "0.76K", Some(760.0)),
            (Decimal::Plain, "1.25M", Some(1_250_000.0)),
            (Decimal::Plain, "3B", Some(3e9)),
            (Decimal::Plain, "1.5T", Some(1.5e12)),
            (Decimal::Plain, "1 191.38", Some(1191.38)),
            (Decimal::Plain, "1'191.38", Some(1191.38)),
            (Decimal::Plain, "1,191", None),
            (Decimal::Plain, "1,191.38", None),
            (Decimal::Plain, "1.5e3K", None),
            (Decimal::Plain, "1.5%", None),
            (Decimal::Plain, "K", None),
            (Decimal::Plain, "", None),
            (Decimal::Plain, "-", None),
            (Decimal::Plain, "--5", None),
            (Decimal::Plain, "$", None),
            (Decimal::Plain, "1 2", None),
            (Decimal::Plain, "n/a", None),
            (Decimal::Point, "1,191.38", Some(1191.38)),
            (Decimal::Point, "$1,191.38", Some(1191.38)),
            (Decimal::Point, "12,345,678", Some(12_345_678.0)),
            (Decimal::Point, "1,19", None),
            (Decimal::Point, "1234,567", None),
            (Decimal::Point, "1,2,3", None),
            (Decimal::Comma, "1.191,38", Some(1191.38)),
            (Decimal::Comma, "1191,38", Some(1191.38)),
            (Decimal::Comma, "1.191", Some(1191.0)),
            (Decimal::Comma, "1.25", None),
            (Decimal::Comma, "-0,5", Some(-0.5)),
            (Decimal::Comma, "1,5e-3", Some(0.0015)),
            (Decimal::Comma, "1,25M", Some(1_250_000.0)),
            (Decimal::Comma, "17", Some(17.0)),
        ] {
            assert_eq!(decimal.read(text), expected, "{decimal:?} {text:?}");
        }
        for decimal in [Decimal::Plain, Decimal::Point, Decimal::Comma] {
            assert!(decimal.read("NaN").unwrap().is_nan(), "{decimal:?}");
            assert_eq!(decimal.read("-inf"), Some(f64::NEG_INFINITY), "{decimal:?}");
        }
    }

    #[test]
    fn a_text_says_what_it_can_about_the_decimal_sign() {
        for (text, expected) in [
            ("12", Evidence::None),
            ("abc", Evidence::None),
            ("2024.01.02", Evidence::None),
            ("1.5", Evidence::Point),
            ("1,191.38", Evidence::Point),
            ("1,234,567", Evidence::Point),
            ("$0.123", Evidence::Point),
            ("1.1915", Evidence::Point),
            ("1,5", Evidence::Comma),
            ("1.191,38", Evidence::Comma),
            ("1.234.567", Evidence::Comma),
            ("1234,567", Evidence::Comma),
            ("1,234", Evidence::Either),
            ("1.234", Evidence::Either),
        ] {
            assert_eq!(evidence(text), expected, "{text:?}");
        }
    }
}
