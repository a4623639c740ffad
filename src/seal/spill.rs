//! Files for what does not fit into memory.
//!
//! Owns where such files are and whether they work. A file loses its name as soon as it is made, so
//! it ends with the process, also after a kill. It is written at its end and read anywhere; the
//! page cache of the system decides how much of it is in memory.
//!
//! Promises: after a failure the bytes that are read are all 0xff, which is no number, and
//! [`Spill::intact`] has the error. So readers need no error of their own, and what uses the bytes
//! asks once, at the end. Never interprets a byte.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Where files go, and from which size on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpillRule {
    /// The folder. It is made where it is missing.
    pub folder: PathBuf,
    /// A history whose steps need more bytes than so many in memory is kept in files.
    pub bytes_max: usize,
}

/// The first thing that went wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{action} a file in `{}`, which holds what exceeds data.memory_bytes_max: {problem}",
    folder.display()
)]
pub struct SpillError {
    folder: PathBuf,
    action: &'static str,
    problem: String,
}

/// A folder of nameless files, and whether all of them did what they should.
#[derive(Clone, Debug)]
pub struct Spill(Arc<State>);

#[derive(Debug)]
struct State {
    folder: PathBuf,
    failure: OnceLock<SpillError>,
}

/// One file without a name.
#[derive(Debug)]
pub struct SpillFile {
    spill: Spill,
    /// `None` where it could not be made.
    file: Option<File>,
    /// Where the next bytes go.
    end: AtomicU64,
}

/// Distinguishes the files of one process while they have a name.
static MADE: AtomicU64 = AtomicU64::new(0);

impl Spill {
    /// Files in `folder`.
    pub fn new(folder: &Path) -> Self {
        Self(Arc::new(State { folder: folder.to_owned(), failure: OnceLock::new() }))
    }

    /// A new, empty file.
    pub fn file(&self) -> SpillFile {
        let file = match nameless(&self.0.folder) {
            Ok(file) => Some(file),
            Err(error) => {
                self.fail("make", &error);
                None
            }
        };
        SpillFile { spill: self.clone(), file, end: AtomicU64::new(0) }
    }

    /// Whether every byte was written and read.
    ///
    /// # Errors
    /// [`SpillError`] for the first that was not.
    pub fn intact(&self) -> Result<(), SpillError> {
        self.0.failure.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    fn fail(&self, action: &'static str, error: &io::Error) {
        let (folder, problem) = (self.0.folder.clone(), error.to_string());
        // The first failure is the one that counts.
        let _ = self.0.failure.set(SpillError { folder, action, problem });
    }
}

impl SpillFile {
    /// The folder of this file, for more of them.
    pub const fn spill(&self) -> &Spill {
        &self.spill
    }

    /// Adds bytes at the end. Returns where they begin.
    pub fn append(&self, bytes: &[u8]) -> u64 {
        let at = self.end.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if let Some(file) = &self.file
            && let Err(error) = file.write_all_at(bytes, at)
        {
            self.spill.fail("write", &error);
        }
        at
    }

    /// Fills `bytes` with what is at `at`.
    pub fn read(&self, at: u64, bytes: &mut [u8]) {
        let read = match &self.file {
            Some(file) => file.read_exact_at(bytes, at),
            // That it could not be made is noted already.
            None => Err(io::ErrorKind::NotFound.into()),
        };
        if let Err(error) = read {
            self.spill.fail("read", &error);
            bytes.fill(0xff);
        }
    }
}

/// Makes a file that only this process can reach.
fn nameless(folder: &Path) -> io::Result<File> {
    fs::create_dir_all(folder)?;
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let path = folder.join(format!(".spill-{}-{number}", std::process::id()));
    let file =
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_and_no_file_has_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let spill = Spill::new(&folder.path().join("deep/work"));
        let (one, other) = (spill.file(), spill.file());
        assert_eq!((one.append(b"abc"), one.append(b"defg"), other.append(b"x")), (0, 3, 0));
        let mut bytes = [0; 4];
        one.read(2, &mut bytes);
        assert_eq!(&bytes, b"cdef");
        assert_eq!(spill.intact(), Ok(()));
        assert_eq!(fs::read_dir(folder.path().join("deep/work")).unwrap().count(), 0);
    }

    #[test]
    fn the_first_failure_is_kept_and_nothing_that_is_read_is_a_number() {
        let folder = tempfile::tempdir().unwrap();
        let blocked = folder.path().join("file");
        fs::write(&blocked, "").unwrap();
        let spill = Spill::new(&blocked);
        let file = spill.file();
        file.append(b"lost");
        let mut bytes = [0; 4];
        file.read(0, &mut bytes);
        assert!(f32::from_le_bytes(bytes).is_nan());
        let told = spill.intact().unwrap_err().to_string();
        let expected = format!("make a file in `{}`, which holds what exceeds", blocked.display());
        assert!(told.starts_with(&expected), "{told}");

        let spill = Spill::new(folder.path());
        let file = spill.file();
        file.append(b"abc");
        file.read(0, &mut bytes);
        assert!(spill.intact().unwrap_err().to_string().starts_with("read a file in "));
    }
}
