//! What a store asks of a disk.
//!
//! Owns the smallest steps of which a durable write is made, so that each can fail by itself in a
//! test. [`Folder`] is the real one. Never knows what is written, or in which order.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::engine::files::read_regular_file;
use crate::ops::file::{can_make, can_write};

/// The largest snapshot that is read, in bytes: that of eight million symbols.
const SNAPSHOT_BYTES_MAX: usize = 4 << 30;

/// The name of the file whose lock says that the folder is in use.
const LOCK_FILE: &str = "lock";

/// One folder of files. Every step may fail with what the system says.
pub trait Disk: Send {
    /// The names of all files.
    fn list(&self) -> io::Result<Vec<String>>;

    /// The content of a file.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;

    /// Makes a file that is not there and writes it, without waiting for the disk.
    fn create(&mut self, name: &str, content: &[u8]) -> io::Result<()>;

    /// Waits until the content of a file is on the disk.
    fn sync(&mut self, name: &str) -> io::Result<()>;

    /// Gives a file another name, in place of a file that has it.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;

    /// Waits until the names of the folder are on the disk.
    fn sync_names(&mut self) -> io::Result<()>;

    /// Removes a file.
    fn remove(&mut self, name: &str) -> io::Result<()>;
}

/// A folder of the file system, held by one process; cloning shares it.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    /// Unlocked by the system when the process ends, however it does.
    _lock: Arc<File>,
}

/// Why a folder cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The system says no.
    #[error("use `{}`: {error}", path.display())]
    System {
        /// The folder.
        path: PathBuf,
        /// Its words.
        error: io::Error,
    },
    /// Another process has it.
    #[error(
        "`{}` is in use by another process; each daemon needs a folder of its own", path.display()
    )]
    InUse {
        /// The folder.
        path: PathBuf,
    },
}

impl Folder {
    /// Takes a folder, which is made where it is missing.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let failed = |error| FolderError::System { path: path.to_owned(), error };
        fs::create_dir_all(path).map_err(failed)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join(LOCK_FILE))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: Arc::new(lock) }),
            Err(TryLockError::WouldBlock) => Err(FolderError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Says what [`Folder::open`] would say, without making or taking anything.
///
/// # Errors
/// [`FolderError`].
pub fn look(path: &Path) -> Result<(), FolderError> {
    let failed = |error| FolderError::System { path: path.to_owned(), error };
    if !path.try_exists().map_err(failed)? {
        return can_make(path).map_err(failed);
    }
    // As `create_dir_all` says it of a file.
    if !path.is_dir() {
        return Err(failed(io::ErrorKind::NotADirectory.into()));
    }
    can_write(path).map_err(failed)?;
    match OpenOptions::new().write(true).open(path.join(LOCK_FILE)) {
        Ok(lock) => match lock.try_lock() {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => Err(FolderError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

impl Disk for Folder {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            // A name that is no text is none of ours.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        read_regular_file(&self.path.join(name), SNAPSHOT_BYTES_MAX)
    }

    fn create(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(self.path.join(name))?
            .write_all(content)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        // Pages belong to the file and not to whoever wrote them, so another handle will do.
        OpenOptions::new().write(true).open(self.path.join(name))?.sync_all()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn sync_names(&mut self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_owner_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b");
        let first = Folder::open(&path).unwrap();
        let refused = Folder::open(&path).unwrap_err();
        assert!(matches!(refused, FolderError::InUse { .. }), "{refused}");
        assert!(matches!(look(&path), Err(FolderError::InUse { .. })));
        drop(first);
        look(&path).unwrap();
        look(&root.path().join("x/y/z")).unwrap();
        assert!(!root.path().join("x").exists(), "a look makes nothing");
        Folder::open(&path).unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        look(&root.path().join("file")).unwrap_err();
        look(&root.path().join("file/below")).unwrap_err();
        let refused = Folder::open(&root.path().join("file")).unwrap_err();
        assert!(matches!(refused, FolderError::System { .. }), "{refused}");
    }
}
