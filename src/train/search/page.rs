//! The page of a search: every trial, and the winner.
//!
//! Owns what is on it. Promises that every figure on it is in the record. Never computes one.

use super::record::{SearchResult, TrialRecord};
use super::words::{trials, verdict};
use super::{Rung, Search};
use crate::report::page::{Figure, Page};
use crate::report::svg::{Axis, Look, Plot, Unit};
use crate::report::table::Table;

/// The page.
pub(super) fn page(search: &Search, records: &[TrialRecord], result: &SearchResult) -> String {
    let mut page = Page::new(&format!("Search for {}", result.model));
    page.headline(&format!("{} configurations, judged by folds", result.trials));
    verdict(result).iter().for_each(|sentence| page.verdict(sentence));
    page.heading("All trials");
    page.table(&trials(records, usize::MAX));
    page.note(
        "Each trial with the figures of its last rung, those of the last rung first. The loss is \
         the mean over the forecasts of all folds, in squares of the target's unit; skill is \
         1 − loss / loss of persistence. Trial 1 is the configuration that was varied.",
    );
    page.heading("Plots");
    page.figure(&over_trials(search.rungs(), records, result));
    for dimension in &search.settings().space {
        if let Some(figure) = over_values(&dimension.key, records, result) {
            page.figure(&figure);
        }
    }
    page.finish()
}

/// The loss of each trial on each rung.
fn over_trials(rungs: &[Rung], records: &[TrialRecord], result: &SearchResult) -> Figure {
    let loss = |record: &TrialRecord| record.figures.as_ref().map(|figures| figures.loss);
    let losses = || records.iter().filter_map(loss);
    let count = records.iter().map(|record| record.trial).max().unwrap_or(1);
    let x = Axis::between("trial", Unit::Plain, 0.0, count as f64 + 1.0);
    let y = Axis::new("loss on the folds", Unit::Plain, losses());
    let y = y.logarithmic_where_wide(losses());
    let mut plot = Plot::new("Loss of each trial", x, y);
    for rung in rungs {
        let of_rung = records.iter().filter(|record| record.rung == rung.number);
        let points = of_rung.filter_map(|record| Some((record.trial as f64, loss(record)?)));
        let look = if rung.divisor == 1 { Look::Model } else { Look::Other };
        let legend = match rung.divisor {
            1 => "all epochs".to_owned(),
            divisor => format!("1/{divisor} of the epochs"),
        };
        plot = plot.dots(look, &legend, points.collect());
    }
    let winner = loss(&result.winner).map(|loss| (result.winner.trial as f64, loss));
    plot = plot.dots(Look::Truth, "winner", winner.into_iter().collect());
    let caption = "Losses of different rungs cannot be compared with one another: fewer epochs \
                   give larger ones. The more the trials spread, the more the best of them owes to \
                   having been chosen.";
    let caption = caption.to_owned();
    Figure { name: "trials".to_owned(), plot, caption, table: Table::new() }
}

/// The loss over the values of a key that are numbers; `None` where they are none.
fn over_values(key: &str, records: &[TrialRecord], result: &SearchResult) -> Option<Figure> {
    let point = |record: &TrialRecord| {
        let value = record.changes.get(key)?.as_f64()?;
        Some((value, record.figures.as_ref()?.loss))
    };
    let of_rung = |rung: usize| -> Vec<(f64, f64)> {
        records.iter().filter(|record| record.rung == rung).filter_map(point).collect()
    };
    // The first rung has every trial.
    let points = of_rung(1);
    if points.len() < 2 {
        return None;
    }
    let (values, losses) =
        (|| points.iter().map(|(value, _)| *value), || points.iter().map(|(_, loss)| *loss));
    let x = Axis::new(key, Unit::Plain, values()).logarithmic_where_wide(values());
    let y = Axis::new("loss on the folds", Unit::Plain, losses());
    let y = y.logarithmic_where_wide(losses());
    let first =
        records.iter().find(|record| (record.trial, record.rung) == (result.winner.trial, 1));
    let winner: Vec<_> = first.and_then(point).into_iter().collect();
    let plot = Plot::new(&format!("Loss by {key}"), x, y)
        .dots(Look::Model, "trials", points.clone())
        .dots(Look::Truth, "winner", winner);
    let caption = "On the first rung, which all trials reach. The other keys vary as well, so this \
                   shows a tendency and not an effect.";
    let name = key.replace(['.', '[', ']'], "-");
    Some(Figure { name, plot, caption: caption.to_owned(), table: Table::new() })
}
