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

/// The marks of a row of latency of the native kernels.
pub fn of_kernel(row: &InferenceRow) -> Vec<MarkRow> {
    let (p50, p99) = match (row.model.as_str(), row.pause_us) {
        ("seed", 0) => (0.10, Some(0.10)),
        ("lstm-a", 0) => (0.25, Some(0.20)),
        ("lstm-b", 0) => (0.40, None),
        ("seed", _) => (0.12, None),
        ("lstm-a", _) => (0.25, None),
        _ => return Vec::new(),
    };
    let name = match row.pause_us {
        0 => row.model.clone(),
        pause_us => format!("{}, {pause_us} us between ticks", row.model),
    };
    let what = |quantile: &str| format!("{name}: critical path, native / raw step, {quantile}");
    let mut marks = vec![mark(&what("p50"), row.ratio, "ratio", Side::AtMost, p50)];
    if let Some(p99) = p99 {
        let ratio = row.ours.p99_us / row.raw.p99_us;
        marks.push(mark(&what("p99"), ratio, "ratio", Side::AtMost, p99));
    }
    marks
}

/// The marks of a row of throughput of the native kernels.
pub fn of_native_throughput(row: &ThroughputRow) -> Vec<MarkRow> {
    let (what, least) = match (row.model.as_str(), row.mode) {
        ("seed", Mode::Sliding) => ("seed, sliding, many symbols: native / raw windows", 1.4),
        ("seed", Mode::Carried) => ("seed, carried, many symbols: native / raw steps", 1.0),
        _ => return Vec::new(),
    };
    vec![mark(what, row.ratio, "ratio", Side::AtLeast, least)]
}

/// The marks of a row of the pipeline with the native kernels.
pub fn of_native_pipeline(row: &PipelineRow) -> Vec<MarkRow> {
    let what = "seed, carried: JSON to JSON natively / raw steps";
    vec![mark(what, row.ratio, "ratio", Side::AtLeast, 0.75)]
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
