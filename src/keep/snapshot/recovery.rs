//! Which snapshot a start goes on from.
//!
//! Owns the choice. Promises that it follows from the candidates and the facts alone, that a
//! snapshot of another model or input is never used, and that every one passed over is told with
//! its reason. Never reads anything.

use sha2::{Digest, Sha256};

use super::codec::{FilePlace, InputPlace, Snapshot};
use super::store::Candidate;
use crate::engine::state::ModelIdentity;
use crate::ports::input::{InputIdentity, InputProgress, RecordingIdentity};

/// What a start knows.
#[derive(Clone, Debug)]
pub struct Facts<'f> {
    /// The models that run, and those whose states they can take over.
    pub models: &'f [ModelIdentity],
    /// The input.
    pub input: &'f InputIdentity,
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
    if !snapshot.models.iter().any(|model| facts.models.contains(model)) {
        return Some(format!(
            "written by model {}, which is neither one that runs nor a version beside it",
            snapshot.model_label
        ));
    }
    match (&snapshot.place, facts.input) {
        (InputPlace::Feed(then), InputIdentity::Feed(now)) if then == now => None,
        (InputPlace::Feed(_), InputIdentity::Feed(_)) => {
            Some("written for another feed".to_owned())
        }
        (InputPlace::File(place), InputIdentity::Recording(file)) => obstacle_in(file, place),
        (InputPlace::Feed(_), InputIdentity::Recording(_)) => Some("written for a feed".to_owned()),
        (InputPlace::File(_), InputIdentity::Feed(_)) => Some("written for a recording".to_owned()),
    }
}

/// Why this is not the recording in which the place lies. One that has grown since is.
fn obstacle_in(recording: &RecordingIdentity, place: &FilePlace) -> Option<String> {
    if recording.length < place.bytes {
        return Some(format!(
            "written for a recording of at least {} bytes; this one has {}",
            place.bytes, recording.length
        ));
    }
    let head_bytes = usize::try_from(place.head_bytes).ok();
    let head = head_bytes.and_then(|bytes| recording.head.get(..bytes));
    let same = head.is_some_and(|head| Sha256::digest(head)[..] == place.head_sha256);
    (!same).then(|| "written for a recording that begins differently".to_owned())
}

/// The place in the input that every record delivered so far is behind.
pub(super) fn place_of(progress: &InputProgress) -> InputPlace {
    match progress.identity() {
        InputIdentity::Feed(digest) => InputPlace::Feed(*digest),
        InputIdentity::Recording(recording) => {
            let (records, bytes) = progress.reached();
            InputPlace::File(place_in(recording, records, bytes))
        }
    }
}

fn place_in(recording: &RecordingIdentity, records: u64, bytes: u64) -> FilePlace {
    FilePlace {
        records,
        bytes,
        head_bytes: recording.head.len() as u64,
        head_sha256: Sha256::digest(&recording.head).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keep::snapshot::codec::SnapshotError;

    const OURS: ModelIdentity = ModelIdentity([1; 16]);
    const BEFORE: ModelIdentity = ModelIdentity([2; 16]);

    fn file() -> InputIdentity {
        InputIdentity::Recording(RecordingIdentity { length: 100, head: b"time,close".to_vec() })
    }

    fn snapshot(sequence: u64, model: ModelIdentity, place: InputPlace) -> Snapshot {
        let model_label = "m 1, sliding".to_owned();
        Snapshot { sequence, models: vec![model], model_label, place, states: Vec::new() }
    }

    fn place() -> FilePlace {
        let InputIdentity::Recording(facts) = file() else { panic!("a file") };
        place_in(&facts, 7, 80)
    }

    fn candidate(content: Result<Snapshot, SnapshotError>) -> Candidate {
        Candidate { name: "s".to_owned(), content }
    }

    fn decide(candidates: Vec<Candidate>, input: &InputIdentity) -> Decision {
        decide_recovery(candidates, &Facts { models: &[OURS, BEFORE], input })
    }

    #[test]
    fn the_newest_good_one_is_taken_and_every_newer_one_named() {
        let feed = InputIdentity::Feed([9; 32]);
        let good = |sequence, model| snapshot(sequence, model, InputPlace::Feed([9; 32]));
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
        let feed = InputIdentity::Feed([9; 32]);
        for (model, place, input, reason) in [
            (ModelIdentity([3; 16]), InputPlace::File(place()), &file(), "written by model m 1"),
            (OURS, InputPlace::File(another), &file(), "begins differently"),
            (OURS, InputPlace::File(more_head), &file(), "begins differently"),
            (OURS, InputPlace::File(longer), &file(), "at least 101 bytes; this one has 100"),
            (OURS, InputPlace::Feed([8; 32]), &feed, "another feed"),
            (OURS, InputPlace::Feed([9; 32]), &file(), "for a feed"),
            (OURS, InputPlace::File(place()), &feed, "for a recording"),
        ] {
            let candidates = vec![candidate(Ok(snapshot(1, model, place)))];
            let Decision::Cold { reasons } = decide(candidates, input) else { panic!("{reason}") };
            assert!(reasons.len() == 1 && reasons[0].contains(reason), "{reasons:?}: {reason}");
        }
    }

    #[test]
    fn a_recording_that_has_grown_is_still_the_same() {
        let facts =
            RecordingIdentity { length: 10_000, head: b"time,close,volume and more".to_vec() };
        let candidates = vec![candidate(Ok(snapshot(1, OURS, InputPlace::File(place()))))];
        let decision = decide(candidates, &InputIdentity::Recording(facts));
        assert!(matches!(decision, Decision::Resume { .. }), "{decision:?}");
    }
}
