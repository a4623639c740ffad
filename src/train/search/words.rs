//! A search in words: what is about to be tried, and what it came to.
//!
//! Owns the text of the terminal, and of a trial in a table. Promises that every number in it is in
//! the record. Never computes one.

use super::record::{AgainstBase, SearchResult, TrialRecord, Untouched};
use super::{Outcome, Search};
use crate::core::domain::UnixNanos;
use crate::report::table::{Cell, Table, heads, row, text};
use crate::train::config::schedule::Control;
use crate::train::evaluate::p_value;

/// The most trials of a table in the terminal.
const SHOWN_MAX: usize = 10;

/// What is about to be tried.
pub fn plan(search: &Search) -> String {
    let (settings, base) = (search.settings(), search.base());
    let (test_from, folds) = search.cuts();
    let control = match settings.control {
        Control::None => String::new(),
        control => format!(", control {}", control.label()),
    };
    let rungs: Vec<_> = search
        .rungs()
        .iter()
        .map(|rung| format!("{} epochs", rung.epochs(base.recipe.epochs)))
        .collect();
    let keys: Vec<_> = settings.space.iter().map(|dimension| dimension.key.as_str()).collect();
    let begins: Vec<_> = folds.iter().map(|begins| date(*begins)).collect();
    format!(
        "{}, {} over {} step(s){control}\n  trials      {}, method {}, at most {}\n  \
         varies      {}\n  folds       {}, from {}\n  \
         test part   from {}, judged once at the end\n",
        base.name,
        base.target.label(),
        base.horizon_steps,
        search.trials().len(),
        settings.method.label(),
        rungs.join(", then "),
        keys.join(", "),
        folds.len(),
        begins.join(", "),
        date(test_from),
    )
}

/// The best trials, and the winner.
pub fn table(outcome: &Outcome) -> String {
    let mut words = text(&trials(&outcome.trials, SHOWN_MAX));
    if let Some(result) = &outcome.result {
        words += &format!("\n{}", verdict(result).join("\n"));
        words.push('\n');
    }
    words
}

/// One trial in one line.
pub fn line(record: &TrialRecord) -> String {
    let changes = said(record);
    match (&record.figures, &record.problem) {
        (Some(figures), _) => format!(
            "trial {} with at most {} epochs: loss {:.6e}, skill {:+.4}; {changes}",
            record.trial, record.epochs_max, figures.loss, figures.skill
        ),
        (None, problem) => {
            let problem = problem.as_deref().unwrap_or_default();
            format!("trial {}: {problem}; {changes}", record.trial)
        }
    }
}

/// What differs in a trial.
fn said(record: &TrialRecord) -> String {
    if record.changes.is_empty() {
        return "as it is".to_owned();
    }
    let changes = record.changes.iter().map(|(key, value)| format!("{key} {value}"));
    changes.collect::<Vec<_>>().join(", ")
}

/// A row for each trial as it did on its last rung: the last rung first, the best of it first.
pub(super) fn trials(records: &[TrialRecord], rows_max: usize) -> Table {
    let last = |record: &&TrialRecord| {
        let later = |other: &TrialRecord| other.trial == record.trial && other.rung > record.rung;
        !records.iter().any(later)
    };
    let loss = |record: &TrialRecord| {
        record.figures.as_ref().map_or(f64::INFINITY, |figures| figures.loss)
    };
    let mut shown: Vec<_> = records.iter().filter(last).collect();
    shown.sort_by(|a, b| {
        b.rung.cmp(&a.rung).then(loss(a).total_cmp(&loss(b))).then(a.trial.cmp(&b.trial))
    });
    let more = shown.len().saturating_sub(rows_max);
    let mut table = vec![heads(&["trial", "epochs", "loss", "skill", "what differs"])];
    for record in shown.into_iter().take(rows_max) {
        let figures = record.figures.as_ref();
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let problem = record.problem.as_deref().map(|problem| format!(" ({problem})"));
        table.push(row([
            record.trial.to_string(),
            record.epochs_max.to_string(),
            or_dash(figures.map(|figures| format!("{:.6e}", figures.loss))),
            or_dash(figures.map(|figures| format!("{:+.4}", figures.skill))),
            said(record) + &problem.unwrap_or_default(),
        ]));
    }
    if more > 0 {
        let mut cells: Vec<Cell> = vec![format!("and {more} more").into()];
        cells.resize(5, Cell::default());
        table.push(cells);
    }
    table
}

/// What a search has come to, in sentences.
pub(super) fn verdict(result: &SearchResult) -> Vec<String> {
    let SearchResult { trials, winner, untouched, test_from, .. } = result;
    let mut sentences = Vec::new();
    let on_folds = |record: &TrialRecord| {
        record.figures.as_ref().map_or_else(String::new, |figures| {
            format!("loss {:.6e}, skill {:+.4} against persistence", figures.loss, figures.skill)
        })
    };
    sentences.push(format!(
        "Trial {} is the best of {trials} configurations on the folds: {}. It was chosen by this \
         figure, so the figure flatters it.",
        winner.trial,
        on_folds(winner),
    ));
    if let Some(base) = result.base.as_ref().filter(|base| base.trial != winner.trial) {
        sentences.push(format!("The configuration that was varied has there: {}.", on_folds(base)));
    }
    sentences.push(format!(
        "On the test part from {}, judged once after the choice, {}.",
        date(*test_from),
        of_untouched(untouched)
    ));
    if let Some(base) = &result.untouched_base {
        sentences.push(format!("There the configuration that was varied {}.", said_of(base)));
    }
    if let Some(AgainstBase { forecasts, skill, skill_95: [low, high], p_value: p }) =
        result.against_base
    {
        sentences.push(format!(
            "The winner against it, on {forecasts} forecasts of both: skill {skill:+.4}, 95 % \
             {low:+.4} to {high:+.4}, {}.",
            p_value(p)
        ));
    }
    if result.is_cut {
        sentences.push("The time limit ended the search before all trials were done.".to_owned());
    }
    if result.control != Control::None {
        sentences.push("The targets were shuffled: nothing could be learned.".to_owned());
    }
    sentences
}

fn of_untouched(untouched: &Untouched) -> String {
    format!("the winner {}", said_of(untouched))
}

fn said_of(untouched: &Untouched) -> String {
    let Untouched { forecasts, against, skill, skill_95: [low, high], headline, .. } = untouched;
    format!(
        "{headline} (skill against {against} {skill:+.4}, 95 % {low:+.4} to {high:+.4}, root mean \
         squared error {:.6}, {forecasts} forecasts)",
        untouched.root_mean_squared_error
    )
}

/// A time of a day without its midnight.
fn date(time: UnixNanos) -> String {
    let text = time.to_string();
    text.strip_suffix("T00:00:00Z").unwrap_or(&text).to_owned()
}
