//! What verdicts must be: a second walk through published scores, which shares no state with the
//! daemon.
//!
//! `TICKCAST_TEST_PYTHON` names a Python that has numpy; `tests/reference/verdict.py` then computes
//! every verdict again as well.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use tickcast::core::domain::UnixNanos;
use tickcast::core::verdict::{LEVEL, Ledger, LedgerRule, Verdict, Word};
use tickcast::engine::wire::score::ScoreRecord;

use super::repository;

/// The model and version of a score, and its symbol.
pub(crate) type Scored = (String, String, String);

/// What the scores of a model and symbol have come to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Newest {
    pub(crate) scores: u64,
    pub(crate) word: Word,
    /// Against which version the shadow is compared, over how many pairs, and with which word.
    pub(crate) rival: Option<(String, u64, Word)>,
}

/// The walk through the scores of one model and symbol.
#[derive(Default)]
struct Walk {
    ledger: Ledger,
    against: (String, String),
    rival: Ledger,
}

/// Holds every verdict in scores, of which a repeated one counts once, to those that follow from
/// the values in them; returns the newest of each model and symbol. Scores of a symbol are in the
/// order in which they were published.
pub(crate) fn assert_verdicts(lines: &[String], horizon: u32) -> BTreeMap<Scored, Newest> {
    let rule = LedgerRule::new(horizon, LEVEL);
    let (mut seen, mut scores) = (BTreeSet::new(), Vec::<ScoreRecord<'_>>::new());
    for line in lines {
        let score: ScoreRecord<'_> = serde_json::from_str(line).unwrap();
        if seen.insert(score.id.to_string()) {
            scores.push(score);
        }
    }
    let place = |model: &str, version: &str, score: &ScoreRecord<'_>| {
        let scored = (model.to_owned(), version.to_owned(), score.symbol.to_string());
        (scored, [score.as_of, score.target_time, score.truth_time])
    };
    let all: BTreeMap<(Scored, [UnixNanos; 3]), &ScoreRecord<'_>> = scores
        .iter()
        .map(|score| (place(&score.model, &score.model_version, score), score))
        .collect();
    let (mut walks, mut newest) = (BTreeMap::<Scored, Walk>::new(), BTreeMap::new());
    for score in &scores {
        let (scored, _) = place(&score.model, &score.model_version, score);
        let walk = walks.entry(scored.clone()).or_default();
        if score.evidence.counts() {
            let baseline = score.truth - score.baseline;
            let difference = baseline * baseline - score.error * score.error;
            walk.ledger.take(&rule, difference, score.truth_time);
        }
        let found = score.verdict.as_ref().unwrap();
        let expected = walk.ledger.verdict(&rule);
        let found = Verdict {
            word: found.word,
            since: found.since,
            scores: found.scores,
            mean_difference: found.mean_difference,
            limits: found.limits,
            log_e_value: found.log_e_value,
        };
        assert_eq!(found, expected, "{scored:?} {}", score.as_of);
        let rival = rival(walk, score, &rule, |model, version| {
            all.get(&place(model, version, score)).copied()
        });
        newest.insert(scored, Newest { scores: expected.scores, word: expected.word, rival });
    }
    newest
}

/// Follows the comparison with the live model of the seat.
fn rival<'s>(
    walk: &mut Walk,
    score: &ScoreRecord<'_>,
    rule: &LedgerRule,
    other: impl Fn(&str, &str) -> Option<&'s ScoreRecord<'s>>,
) -> Option<(String, u64, Word)> {
    let Some(rival) = &score.rival else {
        walk.against = <(String, String)>::default();
        return None;
    };
    let against = (rival.model.to_string(), rival.model_version.to_string());
    if walk.against != against {
        (walk.against, walk.rival) = (against, Ledger::new());
    }
    let other = other(&rival.model, &rival.model_version).filter(|other| other.evidence.counts());
    if let Some(other) = other.filter(|_| score.evidence.counts()) {
        let difference = other.error * other.error - score.error * score.error;
        walk.rival.take(rule, difference, score.truth_time);
    }
    let expected = walk.rival.verdict(rule);
    let found = Verdict {
        word: rival.word,
        since: rival.since,
        scores: rival.scores,
        mean_difference: rival.mean_difference,
        limits: rival.limits,
        log_e_value: rival.log_e_value,
    };
    assert_eq!(found, expected, "{} against {:?} at {}", score.model, walk.against, score.as_of);
    Some((rival.model_version.to_string(), rival.scores, rival.word))
}

/// Has Python compute every verdict again, where one is named.
pub(crate) fn check_with_python(lines: &[String], horizon: u32) {
    let Ok(python) = std::env::var("TICKCAST_TEST_PYTHON") else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scores.jsonl");
    fs::write(&path, lines.join("\n")).unwrap();
    let script = repository().join("tests/reference/verdict.py");
    let mut command = Command::new(python);
    command.arg(script).arg("check").arg(path).arg(horizon.to_string());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    println!("{}", String::from_utf8_lossy(&output.stdout));
}
