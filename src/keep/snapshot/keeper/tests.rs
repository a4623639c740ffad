//! Tests of the keeper, whose shard is played by the test: it is asked, and it answers.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use prometheus::Registry;
use tempfile::TempDir;

use super::super::disk::FolderError;
use super::*;
use crate::engine::model::Bundle;
use crate::engine::model::manifest::Mode;
use crate::engine::pipeline::{Pipelines, StoredState};
use crate::engine::test_support::{Weights, bundle, draft, manifest};
use crate::intake::{Arrival, IntakeReceiver, IntakeSender, Record};
use crate::ports::input::{InputIdentity, RecordingIdentity};
use crate::shard::test_support::{
    Log, MemorySink, PARTITION, drive, moved, pipeline, queue, record, said, settings,
};

/// A moment; the keeper asks again as soon as it was answered.
const INTERVAL: Duration = Duration::from_millis(1);

const FEED: InputIdentity = InputIdentity::Feed([7; 32]);

fn recording() -> InputIdentity {
    InputIdentity::Recording(RecordingIdentity { length: 1000, head: b"a recording".to_vec() })
}

fn sliding() -> Bundle {
    bundle(&[Mode::Full, Mode::Sliding])
}

fn label() -> ModelLabel {
    pipeline(&sliding()).label()
}

fn metrics() -> SnapshotMetrics {
    SnapshotMetrics::register(&Registry::new()).unwrap()
}

fn records(symbol: &str, minutes: std::ops::Range<i64>) -> Vec<Record> {
    minutes.map(|minute| record(symbol, minute)).collect()
}

/// The state of a symbol that has seen these minutes.
fn states(symbol: &str, minutes: std::ops::Range<i64>) -> Vec<StoredState> {
    let mut pipelines = Pipelines::new(pipeline(&sliding()), &settings());
    drive(&mut pipelines, &records(symbol, minutes));
    moved(&mut pipelines)
}

fn file_count(folder: &Path) -> usize {
    let files = std::fs::read_dir(folder).unwrap();
    let is_snapshot = |path: &Path| path.extension().is_some_and(|suffix| suffix == "tcsn");
    files.filter(|file| is_snapshot(&file.as_ref().unwrap().path())).count()
}

/// All snapshots of a folder that nobody has, newest first.
fn stored(folder: &Path) -> Vec<Snapshot> {
    let (_, candidates) = Store::open(Folder::open(folder).unwrap()).unwrap();
    candidates.into_iter().map(|candidate| candidate.content.unwrap()).collect()
}

fn names(snapshot: &Snapshot) -> Vec<&str> {
    snapshot.states.iter().map(|(name, _)| &**name).collect()
}

fn records_of(snapshot: &Snapshot) -> u64 {
    let InputPlace::File(place) = &snapshot.place else { panic!("{:?}", snapshot.place) };
    place.records
}

/// A keeper at work, of one shard that the test plays.
struct Trial {
    folder: TempDir,
    log: Log,
    metrics: SnapshotMetrics,
    input: InputProgress,
    /// Keeps the queue open.
    _sender: IntakeSender<Command>,
    shard: IntakeReceiver<Command>,
    last: Sender<Handed>,
    running: RunningKeeper,
}

impl Trial {
    fn new(identity: InputIdentity) -> Self {
        Self::settling(identity, |_| Ok(()))
    }

    fn settling(
        identity: InputIdentity,
        settle: impl Fn(&Path) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let (folder, log, metrics) = (tempfile::tempdir().unwrap(), Log::default(), metrics());
        let keeper =
            Keeper::open(Folder::open(folder.path()).unwrap(), INTERVAL, metrics.clone()).unwrap();
        let input = InputProgress::new(identity);
        input.delivered(5, 50);
        let (sender, shard) = queue(10);
        let (last, handed) = channel();
        let path = folder.path().to_owned();
        let sink = MemorySink::new("sink", &log).settling(move || settle(&path)).boxed();
        let shards = vec![sender.commander()];
        let running = keeper.start(shards, handed, vec![sink], input.clone(), label()).unwrap();
        Self { folder, log, metrics, input, _sender: sender, shard, last, running }
    }

    /// Waits until the shard is asked for its states.
    fn asked(&self) -> Sender<Handed> {
        let mut batch = Vec::new();
        self.shard.drain(&mut batch, 1);
        match batch.pop() {
            Some(Arrival::Command(Command::Snapshot { answer })) => answer,
            _ => panic!("nothing else is asked"),
        }
    }

    /// The shard's answer to the next question; returns when the keeper has done with it.
    fn answer(&self, states: Vec<StoredState>) {
        hand_over(&self.asked(), states);
        // The next question comes after the snapshot; nobody answers it.
        drop(self.asked());
    }

    fn file_count(&self) -> usize {
        file_count(self.folder.path())
    }

    /// Ends the shard, which hands over what has changed, and then the keeper.
    fn finish(self, last: Option<Vec<StoredState>>) -> (TempDir, Log, SnapshotMetrics) {
        // What is still asked is not answered.
        drop(self.shard);
        if let Some(states) = last {
            hand_over(&self.last, states);
        }
        drop(self.last);
        self.running.finish().unwrap();
        (self.folder, self.log, self.metrics)
    }
}

fn hand_over(answer: &Sender<Handed>, states: Vec<StoredState>) {
    answer.send(Handed::Part(states)).unwrap();
    answer.send(Handed::All(label())).unwrap();
}

#[test]
fn the_place_is_that_of_before_the_states_were_asked_for() {
    let trial = Trial::new(recording());
    let answer = trial.asked();
    // The input moves on while the shard answers: its states may hold any of this.
    trial.input.delivered(9, 90);
    hand_over(&answer, states("A", 0..3));
    drop(answer);
    drop(trial.asked());
    let (folder, _, metrics) = trial.finish(Some(Vec::new()));
    let snapshots = stored(folder.path());
    let places: Vec<_> = snapshots.iter().map(records_of).collect();
    assert_eq!(places, [9, 5], "the last one is of where the input ended");
    assert!(snapshots.iter().all(|snapshot| names(snapshot) == ["A"]));
    assert_eq!((metrics.written.get(), metrics.failed.get()), (2, 0));
}

#[test]
fn sinks_settle_before_a_snapshot_is_written() {
    let counts = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&counts);
    let trial = Trial::settling(recording(), move |folder| {
        seen.lock().unwrap().push(file_count(folder));
        Ok(())
    });
    trial.answer(states("A", 0..3));
    assert_eq!((counts.lock().unwrap().clone(), trial.file_count()), (vec![0], 1));
    trial.answer(states("A", 0..4));
    assert_eq!((counts.lock().unwrap().clone(), trial.file_count()), (vec![0, 1], 2));
    let (_, log, _) = trial.finish(None);
    assert_eq!(log.entries().len(), 2);
}

#[test]
fn what_did_not_settle_is_not_written_and_counted_until_it_does() {
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = Arc::clone(&broken);
    let trial = Trial::settling(recording(), move |_| match is_broken.load(Ordering::Relaxed) {
        true => Err(io::Error::other("no disk")),
        false => Ok(()),
    });
    for failures in 1..=2 {
        trial.answer(states("A", 0..3));
        assert_eq!((trial.metrics.failed.get(), trial.metrics.written.get()), (failures, 0));
        assert_eq!(trial.file_count(), 0);
    }
    broken.store(false, Ordering::Relaxed);
    // Nothing is new, but what could not be written is still to be written.
    trial.answer(Vec::new());
    assert_eq!((trial.metrics.failed.get(), trial.metrics.written.get()), (2, 1));
    let (folder, ..) = trial.finish(None);
    assert_eq!(names(&stored(folder.path())[0]), ["A"]);
}

#[test]
fn a_snapshot_that_would_say_the_same_is_not_written_again() {
    let trial = Trial::new(FEED);
    trial.answer(states("A", 0..3));
    trial.answer(Vec::new());
    assert_eq!((trial.metrics.written.get(), trial.log.entries().len()), (1, 1));
    trial.answer(states("B", 0..1));
    assert_eq!((trial.metrics.written.get(), trial.log.entries().len()), (2, 2));
    let (folder, ..) = trial.finish(Some(Vec::new()));
    let snapshots = stored(folder.path());
    assert_eq!((snapshots.len(), names(&snapshots[0])), (2, vec!["A", "B"]));
}

#[test]
fn a_symbol_that_is_gone_leaves_the_snapshot() {
    let trial = Trial::new(recording());
    let both = [states("A", 0..3), states("B", 0..3)].concat();
    trial.answer(both);
    let before = stored_names(&trial);
    assert_eq!(before, ["A", "B"]);
    // The place is that of the snapshot before: what has left is a change as well.
    trial.answer(vec![StoredState {
        model: None,
        symbol: "A".to_owned(),
        partition: None,
        offset: None,
        bytes: None,
    }]);
    assert_eq!(stored_names(&trial), ["B"]);
    let (folder, _, metrics) = trial.finish(None);
    let snapshots = stored(folder.path());
    assert_eq!((names(&snapshots[0]), names(&snapshots[1])), (vec!["B"], vec!["A", "B"]));
    assert_eq!(metrics.written.get(), 2);
}

/// The symbols of the newest snapshot of a keeper at work.
fn stored_names(trial: &Trial) -> Vec<String> {
    let files = std::fs::read_dir(trial.folder.path()).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    let newest = paths.filter(|path| path.extension().is_some_and(|end| end == "tcsn")).max();
    let bytes = Bytes::from(std::fs::read(newest.unwrap()).unwrap());
    let snapshot = Snapshot::decode(&bytes).unwrap();
    names(&snapshot).into_iter().map(str::to_owned).collect()
}

#[test]
fn a_shard_that_ends_instead_of_answering_leaves_its_states_for_the_last_snapshot() {
    let trial = Trial::new(recording());
    let answer = trial.asked();
    answer.send(Handed::Part(states("A", 0..2))).unwrap();
    drop(answer);
    drop(trial.asked());
    assert_eq!((trial.file_count(), trial.metrics.written.get()), (0, 0), "it has no last word");
    trial.input.delivered(8, 80);
    let (folder, log, metrics) = trial.finish(Some(states("A", 0..3)));
    let snapshots = stored(folder.path());
    assert_eq!((snapshots.len(), records_of(&snapshots[0])), (1, 8));
    let newest = states("A", 0..3).remove(0);
    assert_eq!(snapshots[0].states, [(newest.symbol, Bytes::from(newest.bytes.unwrap()))]);
    assert_eq!((log.entries().len(), metrics.written.get()), (1, 1));
}

#[test]
fn there_is_no_last_snapshot_of_a_shard_that_failed() {
    let trial = Trial::new(recording());
    drop(trial.asked());
    let (folder, _, metrics) = trial.finish(None);
    assert_eq!((stored(folder.path()).len(), metrics.written.get()), (0, 0));
}

/// A folder with one snapshot, of `A` and `B` after so many minutes.
fn kept(identity: InputIdentity, minutes: i64) -> TempDir {
    let trial = Trial::new(identity);
    drop(trial.asked());
    trial.input.delivered(2 * minutes as u64, 0);
    let both = [states("A", 0..minutes), states("B", 0..minutes)].concat();
    trial.finish(Some(both)).0
}

/// What a restart makes of a folder: where it begins, its pipelines, and its keeper.
fn restarted(
    folder: &TempDir,
    identity: InputIdentity,
    gap_steps_max: Option<u32>,
) -> (Start, Vec<Pipelines>, Keeper, InputProgress) {
    let mut keeper =
        Keeper::open(Folder::open(folder.path()).unwrap(), INTERVAL, metrics()).unwrap();
    let models = |_| Pipelines::new(pipeline(&sliding()), &settings());
    let mut pipelines: Vec<_> = (0..2).map(models).collect();
    let input = InputProgress::new(identity);
    let start = keeper.restore(&mut pipelines, &input, gap_steps_max).unwrap();
    (start, pipelines, keeper, input)
}

#[test]
fn a_restart_of_a_recording_goes_on_with_the_states_that_were_kept() {
    let folder = kept(recording(), 6);
    for symbol in ["A", "B"] {
        let (start, mut pipelines, _keeper, input) = restarted(&folder, recording(), None);
        assert_eq!(start, Start { records: 12, resumed: true });
        assert_eq!(input.reached().0, 12);
        let mut owner = pipelines.remove(shard_of_symbol(symbol, 2));
        assert!(!pipelines[0].has_symbol(symbol), "one shard owns it");
        // What is read again is left out.
        let after = drive(&mut owner, &records(symbol, 4..9));
        let all = said(pipeline(&sliding()), &records(symbol, 0..9));
        assert_eq!(after, all[all.len() - 3..]);
    }
}

#[test]
fn a_restart_of_a_feed_marks_what_it_has_missed_and_forgets_what_is_too_old() {
    let folder = kept(FEED, 6);
    for (gap_steps_max, next) in [(4, 9), (3, 9)] {
        let (start, mut pipelines, ..) = restarted(&folder, FEED, Some(gap_steps_max));
        assert_eq!(start, Start { records: 0, resumed: true });
        let shard = shard_of_symbol("A", 2);
        let after = drive(&mut pipelines[shard], &records("A", next..next + 5));
        let gapped: Vec<_> =
            after.iter().map(|(_, bytes)| bytes.contains(r#""quality":"gapped""#)).collect();
        if gap_steps_max == 4 {
            assert_eq!(gapped, [true, true, true, false, false]);
        } else {
            assert_eq!(gapped, [false, false], "the window starts cold");
        }
    }
}

#[test]
fn what_was_restored_is_kept_on_although_it_does_not_move() {
    let folder = kept(recording(), 6);
    let (_, _, keeper, input) = restarted(&folder, recording(), None);
    let (last, handed) = channel();
    let running = keeper.start(Vec::new(), handed, Vec::new(), input, label()).unwrap();
    drop(last);
    running.finish().unwrap();
    let newest = stored(folder.path()).remove(0);
    assert_eq!((newest.sequence, names(&newest)), (2, vec!["A", "B"]));
}

#[test]
fn nothing_is_taken_over_that_is_not_ours() {
    let folder = kept(recording(), 6);
    let other = InputIdentity::Recording(RecordingIdentity { length: 1000, head: b"b".to_vec() });
    let (start, pipelines, ..) = restarted(&folder, other, None);
    assert_eq!(start, Start::default());
    assert!(pipelines.iter().all(|models| models.live().engine().symbol_count() == 0));

    let empty = tempfile::tempdir().unwrap();
    let (start, ..) = restarted(&empty, recording(), None);
    assert_eq!(start, Start::default());

    let weights = Weights { bias: 0.3, ..Weights::default() };
    let other = draft(manifest(&[Mode::Full, Mode::Sliding]), weights).into_bundle().unwrap();
    let mut keeper =
        Keeper::open(Folder::open(folder.path()).unwrap(), INTERVAL, metrics()).unwrap();
    let mut pipelines = vec![Pipelines::new(pipeline(&other), &settings())];
    let input = InputProgress::new(recording());
    let start = keeper.restore(&mut pipelines, &input, None).unwrap();
    assert_eq!((start, input.reached().0), (Start::default(), 0));
    assert_eq!(pipelines[0].restore(Some(PARTITION), &[]).unwrap().symbol_count, 0);
}

#[test]
fn a_folder_has_one_keeper() {
    let trial = Trial::new(recording());
    let second = Folder::open(trial.folder.path());
    assert!(matches!(second, Err(FolderError::InUse { .. })));
    drop(trial.asked());
    trial.finish(None);
}

#[test]
fn no_snapshot_is_written_before_the_history_is_over() {
    for is_over in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let keeper =
            Keeper::open(Folder::open(folder.path()).unwrap(), INTERVAL, metrics()).unwrap();
        let (over, history) = watch::channel(false);
        let (sender, shard) = queue(10);
        let (last, handed) = channel();
        let input = InputProgress::new(FEED);
        let keeper = keeper.behind_history(history);
        let mut work = keeper.into_work(vec![sender.commander()], Vec::new(), input, label());
        work.begin();
        let mut batch = Vec::new();
        shard.drain_within(&mut batch, 1, Some(Duration::ZERO));
        assert!(batch.is_empty(), "the shard is asked for nothing yet");
        if is_over {
            over.send(true).unwrap();
            work.begin();
            shard.drain_within(&mut batch, 1, Some(Duration::ZERO));
            let Some(Arrival::Command(Command::Snapshot { answer })) = batch.pop() else {
                panic!("it is asked for its states");
            };
            hand_over(&answer, states("A", 0..3));
            assert!(!work.advance(Waiting::Returns));
            assert_eq!(file_count(folder.path()), 1);
        }
        hand_over(&last, states("A", 0..5));
        work.finish(&handed);
        assert_eq!(file_count(folder.path()) > 0, is_over, "a stop writes none before");
    }
}
