//! The symbol of a record, read before the record is decoded.
//!
//! Owns the look ahead by which records are told apart. Promises that a record which decodes has
//! the same symbol here. Never refuses a record: what has no symbol here is judged by the decoder.

use std::borrow::Cow;

use serde::Deserialize;

/// The part of a native tick that says whose it is.
#[derive(Deserialize)]
struct Keyed<'a> {
    #[serde(borrow)]
    symbol: Cow<'a, str>,
}

/// The symbol of a native JSON tick, or `None` where the decoder will refuse the record.
pub fn symbol_of(record: &[u8]) -> Option<Cow<'_, str>> {
    serde_json::from_slice(record).ok().map(|Keyed { symbol }| symbol)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_whose_a_record_is_without_judging_it() {
        let cases: [(&[u8], Option<&str>); 7] = [
            (br#"{"symbol":"AAPL","time":0,"close":1}"#, Some("AAPL")),
            (br#"{"time":"never","close":-1,"symbol":"A\u0042"}"#, Some("AB")),
            (br#"{"time":0,"close":1}"#, None),
            (br#"{"symbol":7}"#, None),
            (br#"{"symbol":"A","symbol":"B"}"#, None),
            (br#"{"symbol":"A""#, None),
            (b"\xff", None),
        ];
        for (record, symbol) in cases {
            assert_eq!(symbol_of(record).as_deref(), symbol);
        }
    }
}
