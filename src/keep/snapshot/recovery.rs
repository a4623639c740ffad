//! Which snapshot a start goes on from.
//!
//! Owns the choice. Promises that it follows from the candidates and the facts alone, that a
//! snapshot of another model or input is never used, and that every one passed over is told with
//! its reason. Never reads anything.

use sha2::{Digest, Sha256};

use super::codec::{FilePlace, Origin, Snapshot};
use super::store::Candidate;
use crate::engine::state::ModelIdentity;

/// What a start knows.
#[derive(Clone, Debug)]
pub struct Facts<'f> {
    /// The model that runs, and those whose states it can take over.
    pub models: &'f [ModelIdentity],
    /// The input.
    pub input: &'f InputFacts,
}

/// What is known of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputFacts {
    /// A live feed, by the digest of its address.
    Feed([u8; 32]),
    /// A recording.
    File(FileFacts),
}

/// What tells a recording from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFacts {
    /// Its size in bytes.
    pub length: u64,
    /// Its first bytes, as many as a snapshot may ask about.
    pub head: Vec<u8>,
}

/// What to begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing is stored: the first start.
    Fresh,
    /// From this snapshot.
    Resume {
        /// The newest that can be used.
        snapshot: Snapshot,
        /// Newer ones that cannot, each with the reason.
        passed_over: Vec<String>,
    },
    /// From nothing, although something is stored.
    Cold {
        /// Why not from any of it, one line each.
        reasons: Vec<String>,
    },
}

/// Chooses among candidates, which come newest first.
pub fn decide_recovery(candidates: Vec<Candidate>, facts: &Facts<'_>) -> Decision {
    if candidates.is_empty() {
        return Decision::Fresh;
    }
    let mut passed_over = Vec::new();
    for Candidate { name, content } in candidates {
        let usable = content
            .map_err(|error| error.to_string())
            .and_then(|snapshot| obstacle(&snapshot, facts).map_or(Ok(snapshot), Err));
        match usable {
            Ok(snapshot) => return Decision::Resume { snapshot, passed_over },
            Err(reason) => passed_over.push(format!("{name}: {reason}")),
        }
    }
    Decision::Cold { reasons: passed_over }
}

/// Why a snapshot that is whole cannot be used.
fn obstacle(snapshot: &Snapshot, facts: &Facts<'_>) -> Option<String> {
    if !facts.models.contains(&snapshot.model) {
        return Some(format!(
            "written by model {}, which is neither the one that runs nor a version beside it",
            snapshot.model_label
        ));
    }
    match (&snapshot.origin, facts.input) {
        (Origin::Feed(then), InputFacts::Feed(now)) if then == now => None,
        (Origin::Feed(_), InputFacts::Feed(_)) => Some("written for another feed".to_owned()),
        (Origin::File(place), InputFacts::File(file)) => file.obstacle(place),
        (Origin::Feed(_), InputFacts::File(_)) => Some("written for a feed".to_owned()),
        (Origin::File(_), InputFacts::Feed(_)) => Some("written for a recording".to_owned()),
    }
}

impl FileFacts {
    /// Why this is not the recording in which the place lies. One that has grown since is.
    fn obstacle(&self, place: &FilePlace) -> Option<String> {
        if self.length < place.bytes {
            return Some(format!(
                "written for a recording of at least {} bytes; this one has {}",
                place.bytes, self.length
            ));
        }
        let head = usize::try_from(place.head_bytes).ok().and_then(|bytes| self.head.get(..bytes));
        let same = head.is_some_and(|head| Sha256::digest(head)[..] == place.head_sha256);
        (!same).then(|| "written for a recording that begins differently".to_owned())
    }

    /// A place in this recording.
    pub fn place(&self, records: u64, bytes: u64) -> FilePlace {
        FilePlace {
            records,
            bytes,
            head_bytes: self.head.len() as u64,
            head_sha256: Sha256::digest(&self.head).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keep::snapshot::codec::SnapshotError;

    const OURS: ModelIdentity = ModelIdentity([1; 16]);
    const BEFORE: ModelIdentity = ModelIdentity([2; 16]);

    fn file() -> InputFacts {
        InputFacts::File(FileFacts { length: 100, head: b"time,close".to_vec() })
    }

    fn snapshot(sequence: u64, model: ModelIdentity, origin: Origin) -> Snapshot {
        let model_label = "m 1, sliding".to_owned();
        Snapshot { sequence, model, model_label, origin, states: Vec::new() }
    }

    fn place() -> FilePlace {
        let InputFacts::File(facts) = file() else { panic!("a file") };
        facts.place(7, 80)
    }

    fn candidate(content: Result<Snapshot, SnapshotError>) -> Candidate {
        Candidate { name: "s".to_owned(), content }
    }

    fn decide(candidates: Vec<Candidate>, input: &InputFacts) -> Decision {
        decide_recovery(candidates, &Facts { models: &[OURS, BEFORE], input })
    }

    #[test]
    fn the_newest_good_one_is_taken_and_every_newer_one_named() {
        let feed = InputFacts::Feed([9; 32]);
        let good = |sequence, model| snapshot(sequence, model, Origin::Feed([9; 32]));
        assert_eq!(decide(vec![], &feed), Decision::Fresh);
        for model in [OURS, BEFORE] {
            let candidates = vec![candidate(Ok(good(2, model))), candidate(Ok(good(1, OURS)))];
            let snapshot = good(2, model);
            let expected = Decision::Resume { snapshot, passed_over: vec![] };
            assert_eq!(decide(candidates, &feed), expected);
        }
        let candidates = vec![candidate(Err(SnapshotError::Damaged)), candidate(Ok(good(1, OURS)))];
        let passed_over = vec!["s: damaged: the checksum does not fit".to_owned()];
        let expected = Decision::Resume { snapshot: good(1, OURS), passed_over };
        assert_eq!(decide(candidates, &feed), expected);
    }

    #[test]
    fn what_is_of_another_model_or_input_is_never_used() {
        let another = FilePlace { head_sha256: [0; 32], ..place() };
        let longer = FilePlace { bytes: 101, ..place() };
        let more_head = FilePlace { head_bytes: 11, ..place() };
        let feed = InputFacts::Feed([9; 32]);
        for (model, origin, input, reason) in [
            (ModelIdentity([3; 16]), Origin::File(place()), &file(), "written by model m 1"),
            (OURS, Origin::File(another), &file(), "begins differently"),
            (OURS, Origin::File(more_head), &file(), "begins differently"),
            (OURS, Origin::File(longer), &file(), "at least 101 bytes; this one has 100"),
            (OURS, Origin::Feed([8; 32]), &feed, "another feed"),
            (OURS, Origin::Feed([9; 32]), &file(), "for a feed"),
            (OURS, Origin::File(place()), &feed, "for a recording"),
        ] {
            let candidates = vec![candidate(Ok(snapshot(1, model, origin)))];
            let Decision::Cold { reasons } = decide(candidates, input) else { panic!("{reason}") };
            assert!(reasons.len() == 1 && reasons[0].contains(reason), "{reasons:?}: {reason}");
        }
    }

    #[test]
    fn a_recording_that_has_grown_is_still_the_same() {
        let facts = FileFacts { length: 10_000, head: b"time,close,volume and more".to_vec() };
        let candidates = vec![candidate(Ok(snapshot(1, OURS, Origin::File(place()))))];
        let decision = decide(candidates, &InputFacts::File(facts));
        assert!(matches!(decision, Decision::Resume { .. }), "{decision:?}");
    }
}
