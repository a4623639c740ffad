//! What a replay has come to, in words.
//!
//! Owns the headline and the last paragraph. Promises that an advantage is claimed only where the
//! evidence says so, and that its absence is said as well. Never computes a figure.

use super::ReplayReport;
use super::paper::PaperFigures;
use super::subject::Subject;
use super::summary::{NoPaper, Summary};
use crate::core::domain::UnixNanos;
use crate::core::signal::SignalCounts;
use crate::core::verdict::Word;
use crate::report::text::{count, percent};

/// Symbols that a headline names.
const NAMED_MAX: usize = 3;

/// `MODEL VERSION over SYMBOLS, FROM to TO: WORD against BASELINE`.
pub(super) fn headline(report: &ReplayReport, summary: &Summary) -> String {
    let Subject { model, version, against, .. } = &report.subject;
    let against = against.label();
    let symbols = match report.symbols.len() {
        0 => "no symbol".to_owned(),
        few if few <= NAMED_MAX => {
            report.symbols.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
        }
        many => format!("{} symbols", count(many as u64)),
    };
    let span = summary.span.map_or_else(
        || ": no forecast was scored".to_owned(),
        |[first, last]| {
            let word = match has_evidence(summary) {
                true => format!("{} against {against}", word(summary.verdict.word)),
                false => "no score counts".to_owned(),
            };
            format!(", {} to {}: {word}", day(first), day(last))
        },
    );
    format!("{model} {version} over {symbols}{span}")
}

/// What the headline's word means.
pub(super) fn lead(summary: &Summary) -> String {
    let against = summary.against.label();
    if !has_evidence(summary) {
        return "The model was trained or validated on all of these times, so nothing here says \
                how good it is. Replay data from after its validation part."
            .to_owned();
    }
    let claim = match summary.verdict.word {
        Word::TooEarly => format!(
            "There are too few scores to tell the model from its baseline {against}, however large \
             a difference looks."
        ),
        Word::Undecided => format!(
            "Over these scores the model and its baseline {against} may have been equally good."
        ),
        Word::Better => format!(
            "Over these scores the model's mean squared error was below that of its baseline \
             {against}, by a test that is wrong about equals in at most 5 of 100 comparisons."
        ),
        Word::Worse => format!(
            "Over these scores the model's mean squared error was above that of its baseline \
             {against}, by a test that is wrong about equals in at most 5 of 100 comparisons: the \
             simple forecast is to be preferred."
        ),
    };
    format!("{claim} {}", skill(summary))
}

/// The last paragraph.
pub(super) fn paragraph(report: &ReplayReport, summary: &Summary) -> String {
    if !has_evidence(summary) {
        return format!(
            "{} Nothing is claimed. This page describes the past and is no advice to trade.",
            lead(summary)
        );
    }
    let sentences =
        [lead(summary), coverage(summary), signals(report, summary), paper(report, summary)];
    let sentences: Vec<_> = sentences.into_iter().filter(|text| !text.is_empty()).collect();
    format!(
        "{} All of this describes the past under assumed costs. It does not say that anybody could \
         have traded at these prices, it promises nothing about the future, and it is no advice to \
         trade.",
        sentences.join(" ")
    )
}

/// Whether any score counts.
pub(super) fn has_evidence(summary: &Summary) -> bool {
    summary.mean_absolute_error.is_some()
}

/// A word of a verdict in words.
pub(super) fn word(word: Word) -> &'static str {
    match word {
        Word::TooEarly => "too early to say",
        Word::Undecided => "undecided",
        Word::Better => "better",
        Word::Worse => "worse",
    }
}

/// The date of a time.
pub(super) fn day(time: UnixNanos) -> String {
    time.to_string().chars().take(10).collect()
}

fn skill(summary: &Summary) -> String {
    let scores = counted(summary);
    let against = summary.against.label();
    match summary.skill {
        Some(skill) if skill < 0.0 => format!(
            "Over {} scores its squared error was {} larger than that of {against}.",
            count(scores),
            percent(-skill, 2)
        ),
        Some(skill) => format!(
            "Over {} scores its squared error was {} smaller than that of {against}.",
            count(scores),
            percent(skill, 2)
        ),
        None => format!("Over {} scores {against} made no error.", count(scores)),
    }
}

fn counted(summary: &Summary) -> u64 {
    summary.signals.scores
}

fn coverage(summary: &Summary) -> String {
    let target = summary.coverage_target;
    summary.coverage.map_or_else(String::new, |coverage| {
        format!(
            "Its intervals held {} of the truths, where {} are asked for.",
            percent(coverage, 1),
            percent(target, 0)
        )
    })
}

fn signals(report: &ReplayReport, summary: &Summary) -> String {
    let counts = &summary.signals;
    if counts.raised() == 0 {
        return "It gave no signal.".to_owned();
    }
    let horizon = report.subject.horizon_steps;
    let share = SignalCounts::share(counts.right(), counts.directed(), horizon);
    let (Some(share), Some(chance)) = (share, counts.hit_rate_by_chance()) else {
        return format!(
            "It gave {} signals, whose truths have no direction.",
            count(counts.raised())
        );
    };
    let judgement = if share.limits.low > chance {
        "more than signals that know nothing have"
    } else if share.limits.high < chance {
        "less than signals that know nothing have"
    } else {
        "which signals that know nothing may have as well"
    };
    format!(
        "Of its {} signals {} went their way ({} to {}), {judgement}: {}.",
        count(counts.raised()),
        percent(share.value, 1),
        percent(share.limits.low, 1),
        percent(share.limits.high, 1),
        percent(chance, 1)
    )
}

fn paper(report: &ReplayReport, summary: &Summary) -> String {
    if summary.no_paper == Some(NoPaper::Target) {
        return String::new();
    }
    let [model, hold, ..] = &summary.paper[..] else { return String::new() };
    let costs = report.options.cost_bps + report.options.slippage_bps;
    let result = format!(
        "On paper, at {costs} basis points for each trade of one notional, its signals came to {} \
         of the notional of a symbol, and buying and holding came to {}.",
        percent(model.net, 2),
        percent(hold.net, 2)
    );
    format!("{result} {}", certainty(model, hold))
}

fn certainty(model: &PaperFigures, hold: &PaperFigures) -> String {
    let Some([low, high]) = model.mean_per_step_95 else {
        return "There are too few steps to say how much of it is chance.".to_owned();
    };
    let profit = if low > 0.0 {
        "The interval of its mean profit lies above zero"
    } else if high < 0.0 {
        "The interval of its mean profit lies below zero"
    } else {
        "The interval of its mean profit holds zero, so this is no evidence of a profit"
    };
    let beside = match hold.model_minus_this_95 {
        Some([low, _]) if low > 0.0 => "and it was more than that of buying and holding",
        Some([_, high]) if high < 0.0 => "and it was less than that of buying and holding",
        _ => "and it does not differ significantly from that of buying and holding",
    };
    format!("{profit}, {beside}.")
}
