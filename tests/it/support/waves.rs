//! Days of three symbols whose values go up and down like waves.

use std::ops::Range;

pub(crate) const SYMBOLS: [&str; 3] = ["A", "B", "C"];

/// The native record of a symbol on a day.
pub(crate) fn tick(symbol: &str, day: u32) -> String {
    let phase = f64::from(day) * 0.61 + f64::from(symbol.as_bytes()[0]);
    let (close, volume) = (100.0 + 30.0 * phase.sin(), 500.0 + 400.0 * (phase * 0.7).cos());
    let time = i64::from(day) * 86_400_000;
    format!(r#"{{"symbol":"{symbol}","time":{time},"close":{close},"volume":{volume}}}"#)
}

/// All symbols, day after day.
pub(crate) fn recording(days: Range<u32>) -> Vec<String> {
    days.flat_map(|day| SYMBOLS.map(|symbol| tick(symbol, day))).collect()
}
