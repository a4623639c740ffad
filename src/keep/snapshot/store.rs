//! Snapshots in a folder: the newest two, each written so that a crash leaves it whole or unmade.
//!
//! Owns the names of the files and the order of a durable write: a draft is made, written and
//! waited for; then it gets its name, and the name is waited for; then what is older than the
//! newest two is removed. Promises that at every instant the folder holds the newest snapshot whose
//! writing was reported as done, or a later one. Never decides which snapshot is used.
//!
//! *Architecture invariant:* a file under a snapshot's name was on the disk whole before it got
//! that name.

use std::io;

use super::codec::{Snapshot, SnapshotError};
use super::disk::Disk;

const PREFIX: &str = "snapshot-";
const SUFFIX: &str = ".tcsn";

/// What a write that was cut short leaves behind.
const DRAFT: &str = "snapshot.draft";

/// How many snapshots are kept: the newest, and one to fall back on where it turns out damaged.
const KEPT: usize = 2;

/// The snapshots of one folder.
#[derive(Debug)]
pub struct Store<D> {
    disk: D,
    /// Of the newest file, whole or not.
    newest: u64,
}

/// One file under a snapshot's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// What is in it.
    pub content: Result<Snapshot, SnapshotError>,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The size of the snapshot.
    pub bytes: usize,
}

impl<D: Disk> Store<D> {
    /// Looks a folder through and clears away what a crash has left half done. Returns the files
    /// under snapshots' names as well, newest first.
    ///
    /// # Errors
    /// Where the folder cannot be listed or cleared. A file that cannot be read is a candidate.
    pub fn open(mut disk: D) -> io::Result<(Self, Vec<Candidate>)> {
        let names = disk.list()?;
        if names.iter().any(|name| name == DRAFT) {
            disk.remove(DRAFT)?;
        }
        let sequences = sequences(&names);
        let candidate = |sequence: &u64| {
            let name = name_of(*sequence);
            let content = disk
                .read(&name)
                .map_err(|error| SnapshotError::Disk(error.to_string()))
                .and_then(|bytes| Snapshot::decode(&bytes.into()));
            Candidate { name, content }
        };
        let candidates = sequences.iter().map(candidate).collect();
        let newest = sequences.first().copied().unwrap_or(0);
        Ok((Self { disk, newest }, candidates))
    }

    /// The sequence that the next snapshot gets.
    pub fn next_sequence(&self) -> u64 {
        self.newest + 1
    }

    /// Writes the next snapshot, whose sequence [`Store::next_sequence`] tells.
    ///
    /// # Errors
    /// Where a step fails. What was stored before is then untouched, and a later write may succeed.
    pub fn write(&mut self, snapshot: &Snapshot) -> io::Result<Written> {
        let bytes = snapshot.encode();
        let name = name_of(snapshot.sequence);
        let made = (|| {
            self.disk.create(DRAFT, &bytes)?;
            self.disk.sync(DRAFT)?;
            self.disk.rename(DRAFT, &name)
        })();
        if let Err(error) = made {
            // A draft in the way would make every later write fail. Where it cannot be removed, or
            // is not there, the first error says more.
            let _ = self.disk.remove(DRAFT);
            return Err(error);
        }
        // The name is in use from here on, even if it cannot be waited for.
        self.newest = snapshot.sequence;
        self.disk.sync_names()?;
        // A file that stays where it should go does no harm; the next write tries again.
        let names = self.disk.list().unwrap_or_default();
        for old in sequences(&names).iter().skip(KEPT) {
            let _ = self.disk.remove(&name_of(*old));
        }
        Ok(Written { bytes: bytes.len() })
    }
}

fn name_of(sequence: u64) -> String {
    // As many digits as the largest has, so that a listing shows them in order.
    format!("{PREFIX}{sequence:020}{SUFFIX}")
}

/// The sequences among file names, newest first.
fn sequences(names: &[String]) -> Vec<u64> {
    let sequence =
        |name: &String| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse::<u64>().ok();
    let mut sequences: Vec<_> = names
        .iter()
        .filter_map(|name| sequence(name).filter(|found| name_of(*found) == *name))
        .collect();
    sequences.sort_unstable_by(|a, b| b.cmp(a));
    sequences
}

#[cfg(test)]
mod tests;
