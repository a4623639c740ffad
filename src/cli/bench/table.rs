//! Rows of a bench as a table for people, a table for a document, or JSON for machines.
//!
//! Owns columns and units. Promises one JSON object a line, told apart by `bench`, with the fields
//! of the row's own type. Never measures.

use serde::Serialize;

use crate::tools::bench::burst::BurstRow;
use crate::tools::bench::inference::InferenceRow;
use crate::tools::bench::machine::Machine;
use crate::tools::bench::marks::{MarkRow, Side};
use crate::tools::bench::memory::MemoryRow;
use crate::tools::bench::pipeline::PipelineRow;
use crate::tools::bench::several::SeveralRow;
use crate::tools::bench::throughput::ThroughputRow;
use crate::tools::bench::{Bound, Quantiles};

/// One row of any bench.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "bench", rename_all = "lowercase")]
pub(super) enum Row {
    Header(Machine),
    Inference(InferenceRow),
    Throughput(ThroughputRow),
    Pipeline(PipelineRow),
    Burst(BurstRow),
    Memory(MemoryRow),
    Several(SeveralRow),
    Mark(MarkRow),
}

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Markdown,
    Json,
}

/// A column: its heading and its width in plain text; negative is to the left.
type Column = (&'static str, isize);

const INFERENCE: &[Column] = &[
    ("model", -10),
    ("mode", -7),
    ("batch", 5),
    ("inst", 4),
    ("what", -7),
    ("p50 us", 9),
    ("p99 us", 9),
    ("p99.9 us", 9),
    ("max us", 9),
    ("runs", 7),
    ("ratio", 5),
    ("forecasts/s", 11),
    ("sgemm", 5),
    ("bound", -10),
];

/// In a document a row is a line.
const INFERENCE_LINE: &[Column] = &[
    ("model", -10),
    ("mode", -7),
    ("batch", 5),
    ("instances", 9),
    ("raw p50 us", 10),
    ("raw p99 us", 10),
    ("ours p50 us", 11),
    ("ours p99 us", 11),
    ("ours p99.9 us", 13),
    ("ours max us", 11),
    ("runs", 7),
    ("advance p50 us", 14),
    ("null p50 us", 11),
    ("ratio", 5),
    ("forecasts/s", 11),
    ("sgemm", 5),
    ("bound", -10),
];

const THROUGHPUT: &[Column] = &[
    ("model", -10),
    ("mode", -7),
    ("symbols", 7),
    ("ours forecasts/s", 16),
    ("raw forecasts/s", 15),
    ("raw shape", 9),
    ("ratio", 5),
    ("sgemm", 5),
    ("bound", -10),
];

const PIPELINE: &[Column] = &[
    ("model", -10),
    ("mode", -7),
    ("symbols", 7),
    ("ours records/s", 14),
    ("raw", 10),
    ("null", 10),
    ("decode", 10),
    ("encode", 10),
    ("ratio", 5),
    ("sgemm", 5),
    ("bound", -10),
];

const BURST: &[Column] = &[
    ("model", -10),
    ("mode", -7),
    ("symbols", 7),
    ("forecast", -8),
    ("p50 us", 9),
    ("p99 us", 9),
    ("max us", 9),
    ("bursts", 6),
    ("bursts/s", 9),
    ("forecasts/s", 11),
];

const MEMORY: &[Column] = &[
    ("model", -10),
    ("mode", -7),
    ("symbols", 7),
    ("bytes/symbol", 12),
    ("state", 7),
    ("window", 7),
];

const SEVERAL: &[Column] = &[
    ("model", -10),
    ("mode", -7),
    ("symbols", 7),
    ("live", 4),
    ("shadows", 7),
    ("records/s", 10),
    ("forecasts/s", 11),
    ("ratio", 5),
    ("bytes/model", 12),
    ("bytes/symbol", 12),
];

const MARK: &[Column] =
    &[("mark", -72), ("measured", 10), ("", -8), ("wanted", 10), ("unit", -9), ("", -6)];

impl Row {
    fn columns(&self, form: Form) -> &'static [Column] {
        match self {
            Self::Header(_) => &[],
            Self::Inference(_) if form == Form::Markdown => INFERENCE_LINE,
            Self::Inference(_) => INFERENCE,
            Self::Throughput(_) => THROUGHPUT,
            Self::Pipeline(_) => PIPELINE,
            Self::Burst(_) => BURST,
            Self::Memory(_) => MEMORY,
            Self::Several(_) => SEVERAL,
            Self::Mark(_) => MARK,
        }
    }

    /// The cells of each line.
    fn lines(&self, form: Form) -> Vec<Vec<String>> {
        match self {
            Self::Header(_) => Vec::new(),
            Self::Inference(row) if form == Form::Markdown => vec![inference_line(row)],
            Self::Inference(row) => inference(row),
            Self::Throughput(row) => vec![vec![
                row.model.clone(),
                row.mode.to_string(),
                grouped(row.symbols as f64),
                grouped(row.ours_forecasts_per_second),
                grouped(row.raw_forecasts_per_second),
                format!("{} x {}", row.raw_steps, row.raw_batch),
                format!("{:.2}", row.ratio),
                percent(row.sgemm_share),
                row.bound.label().to_owned(),
            ]],
            Self::Pipeline(row) => vec![vec![
                row.model.clone(),
                row.mode.to_string(),
                grouped(row.symbols as f64),
                grouped(row.ours_records_per_second),
                grouped(row.raw_records_per_second),
                grouped(row.null_records_per_second),
                grouped(row.decode_records_per_second),
                grouped(row.encode_records_per_second),
                format!("{:.2}", row.ratio),
                percent(row.sgemm_share),
                row.bound.label().to_owned(),
            ]],
            Self::Burst(row) => burst(row),
            Self::Memory(row) => vec![vec![
                row.model.clone(),
                row.mode.to_string(),
                grouped(row.symbols as f64),
                grouped(row.resident_bytes_per_symbol),
                grouped(row.state_bytes_per_symbol as f64),
                grouped(row.window_bytes_per_symbol as f64),
            ]],
            Self::Several(row) => vec![vec![
                row.model.clone(),
                row.mode.to_string(),
                grouped(row.symbols as f64),
                row.live.to_string(),
                row.shadows.to_string(),
                grouped(row.records_per_second),
                grouped(row.forecasts_per_second),
                format!("{:.2}", row.ratio),
                grouped(row.resident_bytes_per_model),
                grouped(row.resident_bytes_per_symbol),
            ]],
            Self::Mark(row) => vec![vec![
                row.what.clone(),
                figure(row.value),
                match row.side {
                    Side::AtMost => "at most".to_owned(),
                    Side::AtLeast => "at least".to_owned(),
                },
                figure(row.mark),
                row.unit.to_owned(),
                if row.met { "met" } else { "missed" }.to_owned(),
            ]],
        }
    }

    /// The row as text, after its heading where `after` had other columns.
    pub(super) fn render(&self, form: Form, after: Option<&Self>) -> String {
        if form == Form::Json {
            let json = serde_json::to_string(self);
            return json.expect("plain fields with text keys always encode") + "\n";
        }
        if let Self::Header(machine) = self {
            return header(machine);
        }
        let columns = self.columns(form);
        let mut text = String::new();
        if after.is_none_or(|after| after.columns(form) != columns) {
            let names: Vec<String> = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
            text += "\n";
            text += &line(form, columns, &names);
            if form == Form::Markdown {
                let rule = |(_, width): &Column| if *width < 0 { "---" } else { "---:" };
                text += &format!("|{}|\n", columns.iter().map(rule).collect::<Vec<_>>().join("|"));
            }
        }
        for cells in self.lines(form) {
            text += &line(form, columns, &cells);
        }
        text
    }
}

fn line(form: Form, columns: &[Column], cells: &[String]) -> String {
    if form == Form::Markdown {
        return format!("| {} |\n", cells.join(" | "));
    }
    let cell = |((_, width), cell): (&Column, &String)| {
        let size = width.unsigned_abs();
        if *width < 0 { format!("{cell:<size$}") } else { format!("{cell:>size$}") }
    };
    let cells: Vec<String> = columns.iter().zip(cells).map(cell).collect();
    format!("{}\n", cells.join("  ").trim_end())
}

fn header(machine: &Machine) -> String {
    let Machine { cpu_model, cores, load_average_1m, sgemm_gflops, .. } = machine;
    let version = machine.onnxruntime_version.as_deref().unwrap_or("of unknown version");
    let load = load_average_1m.map_or_else(|| "unknown".to_owned(), |load| format!("{load:.2}"));
    format!(
        "{cpu_model}, {cores} cores, load {load}, ONNX Runtime {version}, tickcast {}, sgemm \
         {sgemm_gflops:.0} GFLOP/s on one core\n",
        machine.tickcast_version
    )
}

fn inference(row: &InferenceRow) -> Vec<Vec<String>> {
    let line = |what: &str, times: &Quantiles, last: [String; 4]| {
        let InferenceRow { model, mode, batch, instances, .. } = row;
        let Quantiles { p50_us, p99_us, p999_us, max_us, runs } = times;
        let mut cells = vec![model.clone(), mode.to_string(), batch.to_string()];
        cells.extend([instances.to_string(), what.to_owned()]);
        cells.extend([p50_us, p99_us, p999_us, max_us].map(|time| format!("{time:.2}")));
        cells.push(runs.to_string());
        cells.extend(last);
        cells
    };
    let ours = [
        format!("{:.2}", row.ratio),
        grouped(row.forecasts_per_second),
        percent(row.sgemm_share),
        Bound::label(row.bound).to_owned(),
    ];
    let none = <[String; 4]>::default;
    let mut lines =
        vec![line("raw", &row.raw, none()), line(ours_of(row.runtime), &row.ours, ours)];
    lines.extend(row.advance.as_ref().map(|times| line("advance", times, none())));
    lines.push(line("null", &row.null, none()));
    lines
}

/// The side of ours, by the name of another runtime where one computed it.
fn ours_of(runtime: &'static str) -> &'static str {
    if runtime == "onnxruntime" { "ours" } else { runtime }
}

fn inference_line(row: &InferenceRow) -> Vec<String> {
    let InferenceRow { model, mode, batch, instances, raw, ours, advance, null, .. } = row;
    let time = |time: f64| format!("{time:.2}");
    let mut cells = vec![model.clone(), mode.to_string()];
    cells.extend([batch.to_string(), instances.to_string()]);
    cells.extend([raw.p50_us, raw.p99_us].map(time));
    cells.extend([ours.p50_us, ours.p99_us, ours.p999_us, ours.max_us].map(time));
    cells.push(grouped(ours.runs as f64));
    cells.push(advance.map_or_else(String::new, |advance| time(advance.p50_us)));
    cells.extend([time(null.p50_us), time(row.ratio)]);
    cells.extend([grouped(row.forecasts_per_second), percent(row.sgemm_share)]);
    cells.push(row.bound.label().to_owned());
    cells
}

fn burst(row: &BurstRow) -> Vec<Vec<String>> {
    let line = |what: &str, times: &Quantiles, last: [String; 2]| {
        let mut cells = vec![row.model.clone(), row.mode.to_string()];
        cells.extend([grouped(row.symbols as f64), what.to_owned()]);
        let Quantiles { p50_us, p99_us, max_us, runs, .. } = times;
        cells.extend([p50_us, p99_us, max_us].map(|time| format!("{time:.1}")));
        cells.push(runs.to_string());
        cells.extend(last);
        cells
    };
    let rates = [format!("{:.1}", row.bursts_per_second), grouped(row.forecasts_per_second)];
    vec![line("first", &row.first, <[String; 2]>::default()), line("last", &row.last, rates)]
}

fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

/// Three significant digits or so.
fn figure(value: f64) -> String {
    if value >= 1000.0 { grouped(value) } else { format!("{value:.2}") }
}

/// A whole number with commas.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::model::manifest::Mode;

    fn memory() -> Row {
        Row::Memory(MemoryRow {
            model: "seed".to_owned(),
            mode: Mode::Carried,
            symbols: 100_000,
            resident_bytes_per_symbol: 1536.4,
            state_bytes_per_symbol: 768,
            window_bytes_per_symbol: 360,
        })
    }

    #[test]
    fn the_heading_stands_once_above_rows_of_a_kind() {
        let first = memory().render(Form::Text, None);
        assert_eq!(
            first,
            "\nmodel       mode     symbols  bytes/symbol    state   window\n\
             seed        carried  100,000         1,536      768      360\n"
        );
        assert_eq!(memory().render(Form::Text, Some(&memory())).lines().count(), 1);
        let markdown = memory().render(Form::Markdown, None);
        let lines: Vec<_> = markdown.lines().collect();
        assert_eq!(lines[2], "|---|---|---:|---:|---:|---:|");
        assert_eq!(lines[3], "| seed | carried | 100,000 | 1,536 | 768 | 360 |");
    }

    #[test]
    fn json_tells_the_kind_and_keeps_units_in_names() {
        let json = memory().render(Form::Json, None);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["bench"], "memory");
        assert_eq!(value["resident_bytes_per_symbol"], 1536.4);
    }

    #[test]
    fn digits_are_grouped_in_threes() {
        let texts = [0.4, 999.0, 1000.0, 123_456.0, 1_234_567.0].map(grouped);
        assert_eq!(texts, ["0", "999", "1,000", "123,456", "1,234,567"]);
    }
}
