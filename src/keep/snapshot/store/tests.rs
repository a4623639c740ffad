//! A disk that loses what was not waited for, and the store on it.

use std::collections::BTreeMap;

use super::*;
use crate::keep::snapshot::codec::tests::snapshot;
use crate::keep::snapshot::disk::Folder;

/// What of the steps since the last wait reaches the disk, where the power fails.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// All of it, as after the end of a process alone.
    Kept,
    /// None of it.
    Lost,
    /// Names, but of the content of files only the first half.
    Torn,
    /// Names, with zeros in place of content.
    Zeroed,
}

const FATES: [Fate; 4] = [Fate::Kept, Fate::Lost, Fate::Torn, Fate::Zeroed];

/// A disk in memory that keeps apart what is on it and what only the system knows.
#[derive(Clone, Debug, Default)]
struct FaultyDisk {
    /// By name: the content as the system shows it, and as much of it as was waited for.
    shown: BTreeMap<String, (Vec<u8>, Option<Vec<u8>>)>,
    /// The names that were waited for, each with its content then.
    durable: BTreeMap<String, (Vec<u8>, Option<Vec<u8>>)>,
    /// Steps until one fails, and how.
    until_fault: Option<(usize, Fault)>,
    failed: bool,
    steps: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The step is not done, and nothing after it: the machine is off.
    Off,
    /// The step writes some bytes and fails: the disk is full.
    Full,
    /// The step fails without an effect.
    Refused,
}

impl FaultyDisk {
    fn step(&mut self) -> io::Result<()> {
        self.steps += 1;
        let Some((left, fault)) = &mut self.until_fault else { return Ok(()) };
        if self.failed && *fault == Fault::Off {
            return Err(io::Error::other("off"));
        }
        if *left > 0 {
            *left -= 1;
            return Ok(());
        }
        if self.failed {
            return Ok(());
        }
        self.failed = true;
        Err(match fault {
            Fault::Off => io::Error::other("off"),
            Fault::Full => io::Error::new(io::ErrorKind::StorageFull, "no space"),
            Fault::Refused => io::Error::other("refused"),
        })
    }

    /// The disk as the next start finds it.
    fn after_power_failure(&self, fate: Fate) -> Self {
        let of_content = |(shown, durable): &(Vec<u8>, Option<Vec<u8>>)| match (durable, fate) {
            (Some(durable), _) => durable.clone(),
            (None, Fate::Kept) => shown.clone(),
            (None, Fate::Lost) => Vec::new(),
            (None, Fate::Torn) => shown[..shown.len() / 2].to_vec(),
            (None, Fate::Zeroed) => vec![0; shown.len()],
        };
        let names = if matches!(fate, Fate::Lost) { &self.durable } else { &self.shown };
        let found = names.iter().map(|(name, content)| {
            let content = of_content(content);
            (name.clone(), (content.clone(), Some(content)))
        });
        let found: BTreeMap<_, _> = found.collect();
        Self { durable: found.clone(), shown: found, ..Self::default() }
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Disk for FaultyDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.shown.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.shown.get(name).map(|(content, _)| content.clone()).ok_or_else(missing)
    }

    fn create(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        assert!(!self.shown.contains_key(name), "{name} is in the way");
        let outcome = self.step();
        match (&outcome, self.until_fault) {
            (Ok(()), _) => self.shown.insert(name.to_owned(), (content.to_vec(), None)),
            (Err(_), Some((_, Fault::Full))) => {
                let part = content[..content.len() / 3].to_vec();
                self.shown.insert(name.to_owned(), (part, None))
            }
            _ => None,
        };
        outcome
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.step()?;
        let (shown, durable) = self.shown.get_mut(name).ok_or_else(missing)?;
        *durable = Some(shown.clone());
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.step()?;
        let content = self.shown.remove(from).ok_or_else(missing)?;
        self.shown.insert(to.to_owned(), content);
        Ok(())
    }

    fn sync_names(&mut self) -> io::Result<()> {
        self.step()?;
        self.durable = self.shown.clone();
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.step()?;
        self.shown.remove(name).map(|_| ()).ok_or_else(missing)
    }
}

/// The good snapshots of a disk, newest first.
fn good(candidates: &[Candidate]) -> Vec<&Snapshot> {
    candidates.iter().filter_map(|candidate| candidate.content.as_ref().ok()).collect()
}

/// Writes snapshots until one is not written; returns the last that was reported as done.
fn write_all(store: &mut Store<FaultyDisk>, count: u64) -> u64 {
    let mut done = 0;
    for _ in 0..count {
        let sequence = store.next_sequence();
        if store.write(&snapshot(sequence, 3)).is_err() {
            break;
        }
        done = sequence;
    }
    done
}

#[test]
fn a_crash_between_any_two_steps_leaves_the_newest_that_was_done_or_a_later_one() {
    let mut steps_seen = 0;
    for off_at in 0.. {
        let disk = FaultyDisk { until_fault: Some((off_at, Fault::Off)), ..FaultyDisk::default() };
        let (mut store, _) = Store::open(disk).unwrap();
        let done = write_all(&mut store, 4);
        for fate in FATES {
            let found = store.disk.after_power_failure(fate);
            let (mut next, candidates) = Store::open(found).unwrap();
            let place = format!("off at step {off_at}, {fate:?}");
            let kept = good(&candidates);
            let newest = kept.first().map_or(0, |snapshot| snapshot.sequence);
            assert!(newest == done || newest == done + 1, "{place}: {newest} after {done}");
            for found in kept {
                assert_eq!(*found, snapshot(found.sequence, 3), "{place}");
            }
            assert!(candidates.iter().all(|c| c.content.is_ok()), "{place}: nothing half done");
            // And the folder is as good as new.
            let sequence = next.next_sequence();
            assert!(sequence > newest);
            next.write(&snapshot(sequence, 3)).unwrap();
            let (_, candidates) = Store::open(next.disk.after_power_failure(Fate::Lost)).unwrap();
            assert_eq!(good(&candidates)[0].sequence, sequence, "{place}");
        }
        steps_seen = steps_seen.max(store.disk.steps);
        if !store.disk.failed {
            assert_eq!(done, 4);
            break;
        }
    }
    assert_eq!(steps_seen, 4 * 4 + 2, "four steps a snapshot, and the third and fourth remove one");
}

#[test]
fn a_step_that_fails_costs_one_snapshot_and_nothing_else() {
    for fault in [Fault::Full, Fault::Refused] {
        for fail_at in 0..18 {
            let disk = FaultyDisk { until_fault: Some((fail_at, fault)), ..FaultyDisk::default() };
            let (mut store, _) = Store::open(disk).unwrap();
            let mut reported = Vec::new();
            for _ in 0..5 {
                let sequence = store.next_sequence();
                reported.push(store.write(&snapshot(sequence, 2)).is_ok());
            }
            let failures = reported.iter().filter(|written| !**written).count();
            assert!(failures <= 1, "{fault:?} at {fail_at}: {reported:?}");
            let (_, candidates) = Store::open(store.disk.after_power_failure(Fate::Lost)).unwrap();
            // A removal is not waited for, so what was removed last may be back.
            assert!(candidates.len() <= KEPT + 2, "{fault:?} at {fail_at}");
            assert_eq!(good(&candidates)[0].sequence, store.newest, "{fault:?} at {fail_at}");
        }
    }
}

#[test]
fn keeps_two_and_tells_damaged_ones() {
    let root = tempfile::tempdir().unwrap();
    let open = || Store::open(Folder::open(root.path()).unwrap()).unwrap();
    let (mut store, candidates) = open();
    assert_eq!(candidates, []);
    for sequence in 1..=5 {
        assert_eq!(store.next_sequence(), sequence);
        let snapshot = snapshot(sequence, 4);
        assert_eq!(store.write(&snapshot).unwrap(), Written { bytes: snapshot.encode().len() });
    }
    drop(store);
    let (store, candidates) = open();
    assert_eq!(candidates.len(), 2);
    assert_eq!(good(&candidates), [&snapshot(5, 4), &snapshot(4, 4)]);
    drop(store);
    // Damage the newest, leave a draft and files of somebody else.
    let newest = root.path().join(&candidates[0].name);
    let mut bytes = std::fs::read(&newest).unwrap();
    bytes[60] ^= 1;
    std::fs::write(&newest, bytes).unwrap();
    for foreign in [DRAFT, "snapshot-1.tcsn", "snapshot-x.tcsn", "notes.txt"] {
        std::fs::write(root.path().join(foreign), "x").unwrap();
    }
    std::fs::create_dir(root.path().join(name_of(9))).unwrap();
    let (store, candidates) = open();
    let told: Vec<_> = candidates.iter().map(|candidate| candidate.content.is_ok()).collect();
    assert_eq!(told, [false, false, true], "the folder, the damaged one, the one before");
    assert_eq!(candidates[1].content, Err(SnapshotError::Damaged));
    assert!(!root.path().join(DRAFT).exists());
    assert_eq!(store.next_sequence(), 10, "no name is used twice");
}
