//! What lines are written to.
//!
//! Owns the descriptor. Promises that what can be cut off a file is cut off it alone: nothing that
//! another process has appended. Never knows a record.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The target of a writer.
pub(super) trait Output: Write + Send + 'static {
    /// Whether it ends amid a line.
    fn is_torn(&self) -> bool;

    /// Takes these bytes off its end, where they are there and can be taken off.
    fn cut(&mut self, torn: &[u8]) -> bool;

    /// Opens it once more, where it has a name.
    ///
    /// # Errors
    /// Why it cannot be opened.
    fn reopen(&mut self) -> io::Result<()>;

    /// Waits until what was written is on the disk.
    ///
    /// # Errors
    /// What the disk says.
    fn sync(&self) -> io::Result<()>;
}

/// A file or a pipe.
pub(super) struct Target {
    file: File,
    /// `None` for standard output.
    path: Option<PathBuf>,
}

impl Target {
    /// The standard output of the process, without the buffer of the standard library, which would
    /// hide what has been written.
    pub(super) fn standard_output() -> io::Result<Self> {
        let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        Ok(Self { file, path: None })
    }

    /// A file that is appended to, made where there is none.
    pub(super) fn append(path: &Path) -> io::Result<Self> {
        Ok(Self { file: appendable(path)?, path: Some(path.to_owned()) })
    }
}

fn appendable(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).read(true).open(path)
}

/// The last bytes of a regular file, and where they begin; `None` where there are not so many.
fn tail(file: &File, count: usize) -> io::Result<Option<(Vec<u8>, u64)>> {
    let metadata = file.metadata()?;
    let start = u64::try_from(count).ok().and_then(|count| metadata.len().checked_sub(count));
    let Some(start) = start.filter(|_| metadata.is_file()) else { return Ok(None) };
    let mut bytes = vec![0; count];
    file.read_exact_at(&mut bytes, start)?;
    Ok(Some((bytes, start)))
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Output for Target {
    fn is_torn(&self) -> bool {
        // What cannot be read, such as a pipe, is taken for whole.
        let last = tail(&self.file, 1).ok().flatten();
        last.is_some_and(|(bytes, _)| bytes != *b"\n")
    }

    fn cut(&mut self, torn: &[u8]) -> bool {
        match tail(&self.file, torn.len()) {
            Ok(Some((found, start))) if found == torn => self.file.set_len(start).is_ok(),
            _ => false,
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        if let Some(path) = &self.path {
            self.file = appendable(path)?;
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        match self.file.sync_data() {
            // What is no file has no disk to wait for.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            outcome => outcome,
        }
    }
}
