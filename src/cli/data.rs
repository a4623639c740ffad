//! `tickcast data`: what is understood of a file.

use std::fmt::Write;
use std::path::PathBuf;

use console::{measure_text_width, style};

use super::print;
use super::shared::{FileArgs, open_file, time_unit};
use crate::adapters::file::{ColumnMap, FileOptions};
use crate::core::domain::TimeUnit;
use crate::core::text::excerpt;
use crate::ops::exit::{Exit, Failure};
use crate::tools::data::{GAP_TIMES_MEDIAN, JUMP_MIN, Survey, survey};

const EXAMPLES: &str = "\
Examples:
  What is in a file, and what every column is read as:
    tickcast data prices.csv
  A file with day and month in front, and amounts such as $1,191.38:
    tickcast data nasdaq.csv --symbol A --time-format %m/%d/%Y \\
      --columns time=Date,close=Close/Last,volume=Volume
  A file without names of columns:
    tickcast data klines.csv --symbol A --no-header --columns time=1,open=2,close=5,volume=6

The same options read the file in `replay` and `feed`, and the keys of the same names in `train` and
`serve`. Exit code 65: the file cannot be read, or no row of it can be used.";

/// As much of a column's name as tells what it is, in characters.
const NAME_CHARS_MAX: usize = 32;

/// Options of `tickcast data`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DataArgs {
    /// The file: CSV, Parquet or JSON lines, as for --input of `replay`
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The unit of event times that are numbers: s, ms, us or ns
    #[arg(long, value_name = "UNIT", default_value = "ms", value_parser = time_unit)]
    time_unit: TimeUnit,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    how: FileArgs,
}

pub(super) fn run(args: &DataArgs) -> Result<(), Exit> {
    let options = args.how.options(FileOptions::default())?;
    let names: Vec<_> = options.columns.iter().flat_map(ColumnMap::names).collect();
    let names: Vec<_> =
        names.into_iter().filter(|name| !matches!(*name, "symbol" | "time")).collect();
    let mut records = open_file(&args.file, options.clone())?;
    let survey =
        survey(&mut records, &names, args.time_unit).map_err(Exit::because(Failure::Data))?;
    if args.json {
        let json =
            serde_json::to_string_pretty(&survey).map_err(Exit::because(Failure::Internal))?;
        print(format_args!("{json}\n"))?;
    } else {
        let path = excerpt(&args.file.display().to_string(), usize::MAX);
        print(format_args!("{}", page(&path, &survey)))?;
    }
    if survey.used == 0 {
        let what = format_args!("`{}`: no row can be used", args.file.display());
        return Err(Exit::new(Failure::Data, what));
    }
    Ok(())
}

/// A survey for a person.
fn page(path: &str, survey: &Survey) -> String {
    let mut text = format!("{}  {}\n", style(path).bold(), form(survey));
    text += &columns(survey);
    let mut row = |name: &str, what: String| {
        // Writing into a text cannot fail.
        let _ = writeln!(text, "{}  {what}", style(format!("{name:<10}")).dim());
    };
    row("rows", format!("{}: {} used, {} refused", survey.rows, survey.used, survey.refused));
    for refusal in &survey.refusals {
        row("", refusal.to_string());
    }
    let more = survey.symbol_count - survey.symbols.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let symbols: Vec<_> = survey.symbols.iter().map(|name| excerpt(name, NAME_CHARS_MAX)).collect();
    row("symbols", format!("{}: {}{more}", survey.symbol_count, symbols.join(", ")));
    if let (Some(first), Some(last)) = (survey.first_time, survey.last_time) {
        row("times", format!("{first} to {last}"));
    }
    if let Some(wrong) = &survey.first_implausible_time {
        let (count, line, advice) = (survey.implausible_times, wrong.line, &wrong.advice);
        row("", format!("{count} cannot be right, the first on line {line}: {advice}"));
    }
    if let Some(spacing) = &survey.spacing {
        let [median, min, max] = [spacing.median, spacing.min, spacing.max].map(span);
        row("spacing", format!("median {median}, shortest {min}, longest {max}"));
        let symbol = excerpt(&spacing.longest_symbol, NAME_CHARS_MAX);
        let longest = format!("; the longest after {} of {symbol}", spacing.longest_after);
        let longest = if spacing.gaps > 0 { longest } else { String::new() };
        let limit = format!("longer than {GAP_TIMES_MEDIAN} times the median");
        row("gaps", format!("{} {limit}{longest}", spacing.gaps));
    }
    row("duplicates", format!("{} with the time of the row before", survey.duplicates));
    let first = survey.first_jump.as_ref().map(|jump| {
        let percent = (jump.price / jump.before - 1.0) * 100.0;
        let symbol = excerpt(&jump.symbol, NAME_CHARS_MAX);
        format!(
            "; the first on line {}, {symbol} from {} to {} ({percent:+.1} %)",
            jump.line, jump.before, jump.price
        )
    });
    let percent = JUMP_MIN * 100.0;
    row("jumps", format!("{} of more than {percent} %{}", survey.jumps, first.unwrap_or_default()));
    text
}

/// The form of the file, in one line.
fn form(survey: &Survey) -> String {
    let Some(form) = &survey.form else { return survey.format.to_owned() };
    let header = form
        .header_line
        .map_or_else(|| "no header".to_owned(), |line| format!("header on line {line}"));
    let decimal = if form.decimal == "," { "comma" } else { "point" };
    let order = if form.is_newest_first { ", newest first" } else { "" };
    let packed = form.compression.map(|name| format!("{name}, ")).unwrap_or_default();
    format!(
        "{}, {packed}{}, cells divided by {}, {header}, decimal {decimal}{order}",
        survey.format, form.encoding, form.delimiter
    )
}

/// The table of columns, aligned.
fn columns(survey: &Survey) -> String {
    if survey.columns.is_empty() {
        return String::new();
    }
    let heading = ["#", "column", "read as", "first value", "empty"].map(str::to_owned);
    let rows = survey.columns.iter().map(|column| {
        let is_read = column.stands_for.is_some();
        [
            column.number.to_string(),
            excerpt(&column.name, NAME_CHARS_MAX),
            column.stands_for.clone().unwrap_or_else(|| "-".to_owned()),
            column.first.clone().unwrap_or_default(),
            if is_read { column.empty.to_string() } else { String::new() },
        ]
    });
    let rows: Vec<_> = [heading].into_iter().chain(rows).collect();
    let width = |at: usize| rows.iter().map(|row| measure_text_width(&row[at])).max().unwrap_or(0);
    let widths: Vec<_> = (0..rows[0].len()).map(width).collect();
    let mut text = "\n".to_owned();
    for (index, row) in rows.iter().enumerate() {
        let cells = row.iter().zip(&widths).enumerate().map(|(at, (cell, width))| {
            let space = " ".repeat(width - measure_text_width(cell));
            // Numbers are to the right.
            if at == 0 || at == row.len() - 1 { space + cell } else { cell.clone() + &space }
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        let line = line.trim_end();
        let line = if index == 0 { style(line).dim().to_string() } else { line.to_owned() };
        // Writing into a text cannot fail.
        let _ = writeln!(text, "  {line}");
    }
    text + "\n"
}

/// A span as people say it: the two largest units.
fn span(nanos: i64) -> String {
    const UNITS: [(&str, i64); 6] = [
        ("d", 86_400_000_000_000),
        ("h", 3_600_000_000_000),
        ("min", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
    ];
    let Some(largest) = UNITS.iter().position(|(_, unit)| nanos >= *unit) else {
        return format!("{nanos} ns");
    };
    let (name, unit) = UNITS[largest];
    let whole = format!("{} {name}", nanos / unit);
    let rest = UNITS.get(largest + 1).map(|(name, smaller)| (nanos % unit / smaller, name));
    match rest {
        Some((count @ 1.., name)) => format!("{whole} {count} {name}"),
        _ => whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_shown_in_their_two_largest_units() {
        for (nanos, expected) in [
            (5, "5 ns"),
            (1_500, "1 us"),
            (250_000_000, "250 ms"),
            (1_250_000_000, "1 s 250 ms"),
            (90_000_000_000, "1 min 30 s"),
            (86_400_000_000_000, "1 d"),
            (90_000_000_000_000, "1 d 1 h"),
        ] {
            assert_eq!(span(nanos), expected);
        }
    }
}
