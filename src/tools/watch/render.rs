//! How the state looks: as a table for a terminal, as one line for a log.
//!
//! Owns columns, rounding, colours and cutting. Promises lines that fit the width and no more of
//! them than the height. Pure: the same state gives the same lines. Never writes.

use console::{Style, measure_text_width, truncate_str};

use super::board::{Board, Link, Row, Scored};
use super::warming::Warming;
use crate::core::domain::{Quality, Signal, Symbol, UnixNanos};
use crate::core::verdict::Word;

/// The longest symbol that is shown whole.
const SYMBOL_COLUMNS_MAX: usize = 16;

/// The longest name of a model that is shown whole.
const MODEL_COLUMNS_MAX: usize = 24;

/// Between columns.
const GAP: &str = "  ";

/// Where a value has no meaning.
const NONE: &str = "–";

/// What the mark behind the quality means.
const LEGEND: &str = "! an input lies outside the range that the model was trained on";

/// What the marks behind the quality mean where the inputs of a symbol are shifted.
const SHIFT_LEGEND: &str = "! an input outside the training range  ~ inputs unlike the training";

/// The room for a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) lines: usize,
}

/// Whether lines hold colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    Plain,
    Colours,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Align {
    Left,
    Right,
}

const HEADINGS: [(&str, Align); 15] = [
    ("model", Align::Left),
    ("symbol", Align::Left),
    ("as of", Align::Left),
    ("last", Align::Right),
    ("forecast", Align::Right),
    ("change", Align::Right),
    ("interval", Align::Right),
    ("verdict", Align::Left),
    ("signal", Align::Left),
    ("quality", Align::Left),
    ("skill", Align::Right),
    ("held", Align::Right),
    ("hits", Align::Right),
    ("forecasts", Align::Right),
    ("mostly", Align::Left),
];

/// The column that a single model leaves out.
const MODEL: usize = 0;

/// The columns that are left out while there is no score.
const OF_SCORES: [usize; 3] = [7, 10, 11];

/// The column of blends: the expert that weighs most.
const OF_BLENDS: usize = 14;

/// The column that is left out while no signal was judged: how many signals were right, and how
/// many of signals that know nothing.
const HITS: usize = 12;

/// Columns that are left out where the terminal is narrow, the first one first.
const DISPENSABLE: [usize; 8] = [6, 13, HITS, 11, 2, 3, 10, OF_BLENDS];

/// One cell: its text, and how it is coloured.
struct Cell {
    text: String,
    style: Style,
}

/// The whole picture: a line of totals, the newest forecast of each model and symbol, the legend.
pub(super) fn table(board: &Board, target: &str, size: Size, ink: Ink) -> Vec<String> {
    let style = || Style::new().force_styling(ink == Ink::Colours);
    let mut lines = vec![style().bold().apply_to(totals(board, target)).to_string(), String::new()];
    if board.symbols() == 0 {
        lines.push("waiting for the first forecast".to_owned());
        return fit(lines, size);
    }
    // Above: totals, a blank line and the headings. Below: a blank line and the legend.
    let room = size.lines.saturating_sub(5).max(1);
    let (count, has_models) = (board.row_count(), board.models() > 1);
    let shown = if count > room { room.saturating_sub(1).max(1) } else { room };
    let rows = board.rows().take(shown);
    let has_scores = board.has_scores();
    let cells: Vec<_> =
        rows.map(|(model, symbol, row)| cells(model, symbol, row, has_scores, &style)).collect();
    let is_shown = |column| match column {
        MODEL => has_models,
        OF_BLENDS => board.has_blends(),
        column if OF_SCORES.contains(&column) => has_scores,
        HITS => board.has_hits(),
        _ => true,
    };
    lines.extend(aligned(&cells, is_shown, size.columns, &style));
    let more = count.saturating_sub(shown);
    if more > 0 {
        let noun = if has_models { "more row" } else { "more symbol" };
        lines.push(format!("… and {}", counted(more as u64, noun)));
    }
    lines.push(String::new());
    let has_shift = board.rows().take(shown).any(|(_, _, row)| row.is_shifted);
    let legend = if has_shift { SHIFT_LEGEND } else { LEGEND };
    lines.push(style().dim().apply_to(legend).to_string());
    fit(lines, size)
}

/// The same in one line without colours.
pub(super) fn line(board: &Board, target: &str) -> String {
    let as_of =
        board.newest().map_or_else(String::new, |time| format!("{GAP}as of {}", instant(time)));
    totals(board, target) + &as_of
}

fn totals(board: &Board, target: &str) -> String {
    let unreadable = match board.unreadable() {
        0 => String::new(),
        count => format!("{GAP}{} unreadable", grouped(count)),
    };
    let link = match &board.link {
        Link::Connecting => format!("connecting to {target}"),
        Link::Connected => format!("connected to {target}"),
        Link::Lost(why) => format!("lost {target}: {why}; trying again"),
    };
    let models = match board.models() {
        0 | 1 => String::new(),
        count => format!("{GAP}{}", counted(count as u64, "model")),
    };
    let warming = match board.warming {
        Some(Warming { done, all }) => {
            format!("{GAP}warming {} of {}", grouped(done), grouped(all))
        }
        None => String::new(),
    };
    format!(
        "{}{GAP}{:.0}/s{GAP}{}{models}{warming}{unreadable}{GAP}{link}",
        counted(board.forecasts(), "forecast"),
        board.per_second(),
        counted(board.symbols() as u64, "symbol"),
    )
}

fn cells(
    model: &Symbol,
    symbol: &Symbol,
    row: &Row,
    has_scores: bool,
    style: &impl Fn() -> Style,
) -> [Cell; HEADINGS.len()] {
    let plain = |text: String| Cell { text, style: style() };
    let Numbers { last, forecast, change, interval } = numbers(row);
    let word = match row.quality {
        Quality::Full => "full",
        Quality::Patched => "patched",
        Quality::Gapped => "gapped",
        Quality::Mistimed => "mistimed",
    };
    let Scored { verdict, skill, held, hits } =
        row.score.unwrap_or(Scored { verdict: None, skill: None, held: None, hits: None });
    // Where scores are known, a signal waits for its verdict, and only a good one gives it colour.
    let is_better = matches!(verdict, Some((Word::Better, _)));
    let signal = Cell {
        text: match verdict {
            None if has_scores => NONE.to_owned(),
            _ => row.signal.to_string(),
        },
        style: match row.signal {
            Signal::Buy if is_better => style().green(),
            Signal::Sell if is_better => style().red(),
            _ => style(),
        },
    };
    let verdict = Cell {
        text: verdict.map_or_else(|| NONE.to_owned(), |(word, since)| verdict_words(word, since)),
        style: match verdict {
            Some((Word::Better, _)) => style().green(),
            Some((Word::Worse, _)) => style().red(),
            _ => style(),
        },
    };
    let skill = skill.map_or_else(|| NONE.to_owned(), |skill| format!("{skill:+.3}"));
    let held = held.map_or_else(|| NONE.to_owned(), |held| format!("{:.0} %", held * 100.0));
    let doubtful = row.out_of_range || row.is_shifted || row.quality != Quality::Full;
    let marks = match (row.out_of_range, row.is_shifted) {
        (false, false) => "",
        (true, false) => " !",
        (false, true) => " ~",
        (true, true) => " !~",
    };
    let mostly = row.mostly.as_ref();
    let mostly = mostly.map_or_else(
        || NONE.to_owned(),
        |(name, weight)| {
            let name = truncate_str(name, MODEL_COLUMNS_MAX, "…");
            format!("{name} {:.0} %", weight * 100.0)
        },
    );
    let hits = hits.map_or_else(
        || NONE.to_owned(),
        |[right, chance]| format!("{:.0} / {:.0} %", right * 100.0, chance * 100.0),
    );
    let quality = Cell {
        text: format!("{word}{marks}"),
        style: if doubtful { style().yellow() } else { style() },
    };
    [
        plain(truncate_str(model.as_str(), MODEL_COLUMNS_MAX, "…").into_owned()),
        plain(truncate_str(symbol.as_str(), SYMBOL_COLUMNS_MAX, "…").into_owned()),
        plain(instant(row.as_of)),
        plain(last),
        plain(forecast),
        plain(change),
        plain(interval),
        verdict,
        signal,
        quality,
        plain(skill),
        plain(held),
        plain(hits),
        plain(grouped(row.forecasts)),
        plain(mostly),
    ]
}

/// The headings and the rows, every column as wide as its widest cell, without the columns that
/// are dispensable where there is no room.
fn aligned(
    rows: &[[Cell; HEADINGS.len()]],
    is_shown: impl Fn(usize) -> bool,
    columns_max: usize,
    style: &impl Fn() -> Style,
) -> Vec<String> {
    let headings =
        HEADINGS.map(|(heading, _)| Cell { text: heading.to_owned(), style: style().dim() });
    let mut widths: [Option<usize>; HEADINGS.len()] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| &row[column]).chain([&headings[column]]);
        cells.map(|cell| measure_text_width(&cell.text)).max().filter(|_| is_shown(column))
    });
    for column in DISPENSABLE {
        let total: usize = widths.iter().flatten().map(|width| width + GAP.len()).sum();
        if total <= columns_max + GAP.len() {
            break;
        }
        widths[column] = None;
    }
    let line = |cells: &[Cell; HEADINGS.len()]| {
        let columns = cells.iter().zip(HEADINGS).zip(widths);
        let padded = columns.filter_map(|((cell, (_, align)), width)| {
            let blanks = " ".repeat(width?.saturating_sub(measure_text_width(&cell.text)));
            let text = cell.style.apply_to(&cell.text);
            Some(match align {
                Align::Left => format!("{text}{blanks}"),
                Align::Right => format!("{blanks}{text}"),
            })
        });
        padded.collect::<Vec<_>>().join(GAP)
    };
    std::iter::once(&headings).chain(rows).map(line).collect()
}

/// A verdict in words: what it claims, and for how long it has.
fn verdict_words(word: Word, since: Option<UnixNanos>) -> String {
    match (word, since) {
        (Word::Better | Word::Worse, Some(since)) => format!("{word} since {}", instant(since)),
        _ => word.label().replace('_', " "),
    }
}

/// Cuts what does not fit.
fn fit(mut lines: Vec<String>, size: Size) -> Vec<String> {
    lines.truncate(size.lines);
    for line in &mut lines {
        if measure_text_width(line) > size.columns {
            *line = truncate_str(line, size.columns, "…").into_owned();
        }
    }
    lines
}

/// The numbers of a row as texts.
struct Numbers {
    last: String,
    forecast: String,
    change: String,
    interval: String,
}

fn numbers(row: &Row) -> Numbers {
    let none = || NONE.to_owned();
    let percent = |fraction: f64| format!("{:+.2} %", fraction * 100.0);
    match (row.last_price, row.price) {
        (Some(last), Some(price)) => {
            let decimals = decimals(last);
            // A value that implies this price as a change is a change, and so is its interval.
            let is_change = (last * (1.0 + row.value) - price).abs() <= 1e-6 * price.abs();
            let interval = if is_change {
                format!("{:+.2} … {:+.2} %", row.lower * 100.0, row.upper * 100.0)
            } else {
                format!("{:.decimals$} … {:.decimals$}", row.lower, row.upper)
            };
            Numbers {
                last: format!("{last:.decimals$}"),
                forecast: format!("{price:.decimals$}"),
                change: percent(price / last - 1.0),
                interval,
            }
        }
        (last, price) => {
            let forecast = price.unwrap_or(row.value);
            // A probability or a size says nothing more with a fifth digit.
            let decimals = decimals(forecast).saturating_sub(1).max(2);
            Numbers {
                last: last.map_or_else(none, |last| format!("{last:.*}", self::decimals(last))),
                forecast: format!("{forecast:.decimals$}"),
                change: none(),
                interval: format!("{:.decimals$} … {:.decimals$}", row.lower, row.upper),
            }
        }
    }
}

/// As many decimals as give five digits, at least two and at most eight.
fn decimals(number: f64) -> usize {
    if number == 0.0 || !number.is_finite() {
        return 2;
    }
    let magnitude = number.abs().log10().floor();
    // Between -324 and 308, so the conversion is exact.
    (4 - magnitude as i32).clamp(2, 8).unsigned_abs() as usize
}

/// A date where it is midnight, else a date with a time to the second.
fn instant(time: UnixNanos) -> String {
    let text = time.to_string();
    if let Some(date) = text.strip_suffix("T00:00:00Z") {
        return date.to_owned();
    }
    text.get(..19).unwrap_or(&text).replace('T', " ")
}

/// A count with its noun.
fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(count))
}

/// A count with a comma between thousands.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
