//! The marks that the project sets itself, and whether a measured row meets them.
//!
//! Owns the marks. Promises that each names what it compares. Never measures.

use serde::Serialize;

use super::inference::InferenceRow;
use super::memory::MemoryRow;
use super::pipeline::PipelineRow;
use super::throughput::ThroughputRow;
use crate::engine::model::manifest::Mode;

/// A mark and what was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MarkRow {
    /// What is compared with what.
    pub what: String,
    /// What was measured.
    pub value: f64,
    /// Its unit: `ratio`, `us`, `records/s` or `bytes`.
    pub unit: &'static str,
    /// `at most` or `at least`.
    pub side: Side,
    /// The mark.
    pub mark: f64,
    /// Whether it is met.
    pub met: bool,
}

/// On which side of a mark it is good to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Side {
    /// Smaller is better.
    #[serde(rename = "at most")]
    AtMost,
    /// Larger is better.
    #[serde(rename = "at least")]
    AtLeast,
}

fn mark(what: &str, value: f64, unit: &'static str, side: Side, mark: f64) -> MarkRow {
    // Written so that NaN meets nothing.
    let met = match side {
        Side::AtMost => value <= mark,
        Side::AtLeast => value >= mark,
    };
    MarkRow { what: what.to_owned(), value, unit, side, mark, met }
}

/// The marks of a row of latency.
pub fn of_inference(row: &InferenceRow) -> Vec<MarkRow> {
    match (row.model.as_str(), row.mode, row.batch, row.instances) {
        ("seed", Mode::Sliding, 1, 1) => {
            let what = "seed, sliding, 1 symbol: critical path / raw step";
            vec![mark(what, row.ratio, "ratio", Side::AtMost, 1.3)]
        }
        ("seed", Mode::Full, batch @ (1 | 30), 1) => {
            let what = format!("seed, full, batch {batch}: ours / raw window");
            vec![mark(&what, row.ratio, "ratio", Side::AtMost, 1.2)]
        }
        ("lstm-a", Mode::Sliding, 1, 1) => {
            let what = "lstm-a, sliding, 1 symbol: p99 of the critical path";
            vec![mark(what, row.ours.p99_us, "us", Side::AtMost, 20.0)]
        }
        _ => Vec::new(),
    }
}

/// The marks of a row of throughput.
pub fn of_throughput(row: &ThroughputRow) -> Vec<MarkRow> {
    match (row.model.as_str(), row.mode) {
        ("seed", Mode::Sliding) => {
            let what = "seed, sliding, many symbols: forecasts/s / raw";
            vec![mark(what, row.ratio, "ratio", Side::AtLeast, 0.8)]
        }
        ("seed", Mode::Carried) => {
            let what = "seed, carried, many symbols: steps/s / raw";
            vec![mark(what, row.ratio, "ratio", Side::AtLeast, 0.7)]
        }
        _ => Vec::new(),
    }
}

/// The marks of a row of the pipeline.
pub fn of_pipeline(row: &PipelineRow) -> Vec<MarkRow> {
    if (row.model.as_str(), row.mode, row.symbols) != ("seed", Mode::Carried, 512) {
        return Vec::new();
    }
    let (what, rate) = ("seed, carried: JSON to JSON on a core", row.ours_records_per_second);
    vec![mark(what, rate, "records/s", Side::AtLeast, 400_000.0)]
}

/// The marks of a row of memory.
pub fn of_memory(row: &MemoryRow) -> Vec<MarkRow> {
    let limit = 1.5 * row.state_bytes_per_symbol as f64 + 2048.0;
    let what = format!("{}, {}: memory of a symbol", row.model, row.mode);
    vec![mark(&what, row.resident_bytes_per_symbol, "bytes", Side::AtMost, limit)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_met_on_its_own_side_and_never_by_nan() {
        let met = |value, side| mark("x", value, "ratio", side, 1.0).met;
        assert!(met(0.9, Side::AtMost) && met(1.0, Side::AtMost) && !met(1.1, Side::AtMost));
        assert!(met(1.1, Side::AtLeast) && met(1.0, Side::AtLeast) && !met(0.9, Side::AtLeast));
        assert!(!met(f64::NAN, Side::AtMost) && !met(f64::NAN, Side::AtLeast));
    }

    #[test]
    fn the_memory_mark_grows_with_the_state() {
        let row = MemoryRow {
            model: "seed".to_owned(),
            mode: Mode::Carried,
            symbols: 10,
            resident_bytes_per_symbol: 3200.0,
            state_bytes_per_symbol: 768,
            window_bytes_per_symbol: 360,
        };
        assert!(of_memory(&row)[0].met);
        assert!(!of_memory(&MemoryRow { resident_bytes_per_symbol: 3201.0, ..row })[0].met);
    }
}
