//! A backtest in words: what is about to be done, and what it came to.
//!
//! Owns the text of the terminal. Promises that every number in it is in the summary. Never
//! computes one.

use super::record::{FoldSummary, Spreads, Summary};
use super::{Backtest, END};
use crate::core::domain::UnixNanos;
use crate::engine::model::manifest::FigureSpread;
use crate::train::config::schedule::Control;

/// What is about to be trained on what.
pub fn plan(backtest: &Backtest) -> String {
    let (config, folds) = (backtest.config(), backtest.folds());
    let control = match config.backtest.control {
        Control::None => String::new(),
        control => format!(", control {}", control.label()),
    };
    let mut text = format!(
        "{}, {} over {} step(s){control}\n  {} folds, training window {}, seeds {}\n",
        config.name,
        config.target.label(),
        config.horizon_steps,
        folds.len(),
        config.backtest.window,
        listed(backtest.seeds()),
    );
    for fold in folds {
        let until = if fold.test_to < END { date(fold.test_to) } else { "the end".to_owned() };
        text += &format!("  fold {:<3} {} to {until}\n", fold.number, date(fold.test_from));
    }
    text
}

/// The figures of all folds and the verdict.
pub fn table(summary: &Summary) -> String {
    let mut rows = vec![[
        "fold".to_owned(),
        "first".to_owned(),
        "last".to_owned(),
        "scores".to_owned(),
        "against".to_owned(),
        "skill".to_owned(),
        "root mean squared error".to_owned(),
        "held".to_owned(),
    ]];
    rows.extend(summary.folds.iter().map(row));
    let figures = &summary.judged.figures;
    rows.push([
        "all".to_owned(),
        String::new(),
        String::new(),
        figures.scores.to_string(),
        String::new(),
        signed(figures.skill),
        number(figures.root_mean_squared_error),
        share(figures.interval_coverage),
    ]);
    let mut text = aligned(&rows);
    if let Some(spreads) = &summary.over_seeds {
        text += &format!("\n{}\n", over_seeds(spreads));
    }
    text += &format!("\nseed {}: {}\n", summary.judged.seed, verdict(summary));
    text
}

fn row(fold: &FoldSummary) -> [String; 8] {
    let time = |time: Option<UnixNanos>| time.map_or_else(|| "-".to_owned(), date);
    [
        fold.fold.to_string(),
        time(fold.test.first),
        time(fold.test.last),
        fold.figures.scores.to_string(),
        fold.against.label().to_owned(),
        signed(fold.figures.skill),
        number(fold.figures.root_mean_squared_error),
        share(fold.figures.interval_coverage),
    ]
}

/// The verdict in a sentence.
fn verdict(summary: &Summary) -> String {
    let verdict = &summary.judged.verdict;
    let symbols = &summary.judged.symbols;
    let what = match &symbols[..] {
        [one] => one.symbol.clone(),
        _ => format!("all {} symbols as one series", symbols.len()),
    };
    let since = verdict.since.map_or_else(String::new, |since| format!(" since {}", date(since)));
    format!(
        "{what}: {}{since}, by {} observations; the evidence against equality is e^{:.1}",
        verdict.word.label().replace('_', " "),
        verdict.scores,
        verdict.log_e_value,
    )
}

fn over_seeds(spreads: &Spreads) -> String {
    let figure = |name: &str, spread: Option<FigureSpread>| {
        spread.map(|FigureSpread { mean, deviation }| {
            format!("{name} {mean:.4}, standard deviation {deviation:.4}")
        })
    };
    let figures = [
        figure("skill", spreads.skill),
        figure("root mean squared error", spreads.root_mean_squared_error),
        figure("held", spreads.interval_coverage),
    ];
    let figures: Vec<_> = figures.into_iter().flatten().collect();
    format!("mean over {} seeds: {}", spreads.seeds, figures.join("; "))
}

/// Columns as wide as their widest cell; numbers end at the right.
fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let cells: Vec<_> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:>width$}")).collect();
        text += cells.join("  ").trim_end();
        text.push('\n');
    }
    text
}

/// A time of a day without its midnight.
fn date(time: UnixNanos) -> String {
    let text = time.to_string();
    text.strip_suffix("T00:00:00Z").unwrap_or(&text).to_owned()
}

fn listed(seeds: &[u64]) -> String {
    match seeds {
        [one] => one.to_string(),
        [first, .., last] => format!("{first} to {last}"),
        [] => String::new(),
    }
}

fn signed(figure: Option<f64>) -> String {
    figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:+.4}"))
}

fn number(figure: Option<f64>) -> String {
    figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.6}"))
}

fn share(figure: Option<f64>) -> String {
    figure.map_or_else(|| "-".to_owned(), |figure| format!("{:.1} %", 100.0 * figure))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_at_the_right() {
        let rows = [["a", "b"], ["100", "é"], ["", ""]].map(|row| row.map(str::to_owned));
        assert_eq!(aligned(&rows), "  a  b\n100  é\n\n");
    }

    #[test]
    fn a_figure_that_is_not_there_is_a_dash() {
        assert_eq!([signed(None), number(None), share(None)], ["-", "-", "-"]);
        assert_eq!(signed(Some(0.05)), "+0.0500");
        assert_eq!(share(Some(0.905)), "90.5 %");
        let day = UnixNanos::parse("2013-03-01").unwrap();
        assert_eq!(date(day), "2013-03-01");
    }
}
