//! A disk that keeps apart what is on it and what only the system knows.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use tickcast::keep::snapshot::{Disk, Store};

use crate::dice::Dice;

/// What a step of the disk does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Health {
    /// What it is asked to.
    #[default]
    Good,
    /// It writes a part and fails.
    Full,
    /// It fails without an effect.
    Refuses,
}

/// Cloning shares it.
#[derive(Clone, Default)]
pub(crate) struct SimulatedDisk(Arc<Mutex<Content>>);

#[derive(Default)]
struct Content {
    /// By name: the content as the system shows it, and what of it was waited for.
    shown: BTreeMap<String, (Vec<u8>, Option<Vec<u8>>)>,
    /// The names that were waited for.
    durable: BTreeMap<String, (Vec<u8>, Option<Vec<u8>>)>,
    health: Health,
    /// Steps until the machine is off, in the middle of a write.
    until_off: Option<u64>,
    /// The newest snapshot whose name was waited for: the store reports it as done.
    reported: u64,
}

impl SimulatedDisk {
    fn lock(&self) -> MutexGuard<'_, Content> {
        self.0.lock().expect("a run has one thread")
    }

    pub(crate) fn set_health(&self, health: Health) {
        self.lock().health = health;
    }

    /// Lets the machine fail in so many steps.
    pub(crate) fn fail_in(&self, steps: u64) {
        self.lock().until_off = Some(steps);
    }

    /// Whether the machine has failed in a step.
    pub(crate) fn is_off(&self) -> bool {
        self.lock().until_off == Some(0)
    }

    /// The disk as the next start finds it.
    pub(crate) fn power_failure(&self, dice: &mut Dice) {
        let mut content = self.lock();
        let Content { shown, durable, .. } = &*content;
        // Names come back as they were waited for, or as they were.
        let names = if dice.below(2) == 0 { durable } else { shown };
        let mut found = BTreeMap::new();
        for (name, (bytes, synced)) in names {
            let bytes = match synced {
                Some(synced) => synced.clone(),
                None => match dice.below(4) {
                    0 => bytes.clone(),
                    1 => Vec::new(),
                    2 => bytes[..bytes.len() / 2].to_vec(),
                    _ => vec![0; bytes.len()],
                },
            };
            found.insert(name.clone(), (bytes.clone(), Some(bytes)));
        }
        let reported = content.reported;
        let (shown, durable) = (found.clone(), found);
        *content = Content { shown, durable, reported, ..Content::default() };
    }

    /// Whether the newest snapshot that was reported as done is there, or a later one.
    pub(crate) fn judge(&self) -> Result<(), String> {
        let reported = self.lock().reported;
        let opened = Store::open(self.clone()).map_err(|error| error.to_string())?;
        let whole = opened.1.into_iter().find_map(|candidate| candidate.content.ok());
        let found = whole.map_or(0, |snapshot| snapshot.sequence);
        if found < reported {
            return Err(format!("I1: snapshot {reported} was written, and {found} is there"));
        }
        Ok(())
    }

    /// The end of the process alone.
    pub(crate) fn process_ends(&self) {
        let mut content = self.lock();
        (content.health, content.until_off) = (Health::Good, None);
    }
}

impl Content {
    fn step(&mut self) -> io::Result<()> {
        if let Some(left) = &mut self.until_off {
            *left = left.saturating_sub(1);
            if *left == 0 {
                return Err(io::Error::other("off"));
            }
        }
        match self.health {
            Health::Good => Ok(()),
            Health::Full => Err(io::Error::new(io::ErrorKind::StorageFull, "no space")),
            Health::Refuses => Err(io::Error::other("refused")),
        }
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Disk for SimulatedDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().shown.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.lock().shown.get(name).map(|(content, _)| content.clone()).ok_or_else(missing)
    }

    fn create(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut disk = self.lock();
        if disk.shown.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let done = disk.step();
        let length = match &done {
            Ok(()) => content.len(),
            Err(error) if error.kind() == io::ErrorKind::StorageFull => content.len() / 3,
            Err(_) => return done,
        };
        disk.shown.insert(name.to_owned(), (content[..length].to_vec(), None));
        done
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        let mut disk = self.lock();
        disk.step()?;
        let (shown, durable) = disk.shown.get_mut(name).ok_or_else(missing)?;
        *durable = Some(shown.clone());
        // A file whose name was waited for keeps it.
        let entry = (shown.clone(), durable.clone());
        if let Some(kept) = disk.durable.get_mut(name) {
            *kept = entry;
        }
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.lock();
        if disk.health != Health::Full {
            disk.step()?;
        }
        let file = disk.shown.remove(from).ok_or_else(missing)?;
        disk.shown.insert(to.to_owned(), file);
        Ok(())
    }

    fn sync_names(&mut self) -> io::Result<()> {
        let mut disk = self.lock();
        disk.step()?;
        disk.durable = disk.shown.clone();
        let sequence = |name: &String| name.split(['-', '.']).nth(1)?.parse::<u64>().ok();
        disk.reported = disk.shown.keys().filter_map(sequence).max().unwrap_or(0);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut disk = self.lock();
        if disk.is_gone() {
            return Err(io::Error::other("off"));
        }
        disk.shown.remove(name).map(drop).ok_or_else(missing)
    }
}

impl Content {
    fn is_gone(&self) -> bool {
        self.until_off == Some(0)
    }
}
