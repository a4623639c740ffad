//! Percent-encoding (RFC 3986 section 2.1).
//!
//! Owns how a text is encoded and decoded. Promises that `%` is always followed by two hexadecimal
//! digits and that the result is UTF-8: anything else is no text. Never turns `+` into a blank.

use std::borrow::Cow;

/// Undoes percent-encoding; `None` where a `%` has no two digits behind it, or where the bytes are
/// not UTF-8.
pub fn percent_decoded(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(text.into());
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            plain => plain,
        });
    }
    String::from_utf8(decoded).ok().map(Cow::from)
}

/// Everything but letters, digits and `-._~` as `%XX`, so that it is nothing but a value.
pub fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if plain(byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_to_the_same() {
        for text in ["", "AZaz09-._~", "A&B=C,D/%2C +", "Zürich\n"] {
            let encoded = percent_encoded(text);
            assert!(!encoded.contains([',', '&', '=', '/', ' ', '+']), "{encoded}");
            assert_eq!(percent_decoded(&encoded).as_deref(), Some(text));
        }
    }

    #[test]
    fn two_digits_are_one_byte() {
        for (text, expected) in [
            ("", ""),
            ("a+b", "a+b"),
            ("%41%2f%2F", "A//"),
            ("Z%C3%BCrich", "Zürich"),
            ("ü%25", "ü%"),
            ("%2541", "%41"),
            ("%00", "\0"),
        ] {
            assert_eq!(percent_decoded(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_text() {
        for text in
            ["%", "a%", "%2", "%+1", "%-1", "% 1", "%1 ", "%zz", "%1g", "%%41", "%ü", "%4ü", "%٣٣"]
        {
            assert_eq!(percent_decoded(text), None, "{text}");
        }
        for text in ["%ff", "%C3", "%C3%28", "%ED%A0%80", "%C0%80"] {
            assert_eq!(percent_decoded(text), None, "{text} is not UTF-8");
        }
    }
}
