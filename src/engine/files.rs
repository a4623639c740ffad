//! Small files that somebody names: bundles, settings, secrets.
//!
//! Owns the bounded read. Promises that only a regular file is read, that no read waits for a
//! writer at the other end of a pipe, and that a file takes no more memory than its limit. Never
//! interprets what it read.

use std::fs::{File, FileType, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// Reads a regular file of at most `bytes_max` bytes, following symbolic links.
///
/// # Errors
/// Those of the system, without the path. [`ErrorKind::InvalidInput`] where the path leads to
/// something else than a file (`is a pipe, not a file`), [`ErrorKind::FileTooLarge`] where the file
/// is longer (`is larger than 4096 bytes`).
pub fn read_regular_file(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    // Opening some devices changes them, so the kind is looked at before. It is looked at again
    // afterwards, because another file may have taken the name in between.
    check_kind(std::fs::metadata(path)?.file_type())?;
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).map_err(io::Error::other)?;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    check_kind(metadata.file_type())?;
    if usize::try_from(metadata.len()).map_or(true, |bytes| bytes > bytes_max) {
        return Err(too_large(bytes_max));
    }
    read_at_most(&file, bytes_max)
}

/// The length was checked, but a file may grow, and files of `/proc` have none.
fn read_at_most(file: &File, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max { Err(too_large(bytes_max)) } else { Ok(bytes) }
}

fn too_large(bytes_max: usize) -> io::Error {
    io::Error::new(ErrorKind::FileTooLarge, format!("is larger than {bytes_max} bytes"))
}

fn check_kind(kind: FileType) -> io::Result<()> {
    let what = if kind.is_file() {
        return Ok(());
    } else if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    Err(io::Error::new(ErrorKind::InvalidInput, format!("is {what}, not a file")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    fn refusal(path: &Path, bytes_max: usize) -> String {
        read_regular_file(path, bytes_max).unwrap_err().to_string()
    }

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "12345").unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        for path in [&path, &link] {
            assert_eq!(read_regular_file(path, 5).unwrap(), b"12345");
            assert_eq!(refusal(path, 4), "is larger than 4 bytes");
        }
        assert!(!read_regular_file(Path::new("/proc/self/stat"), 10_000).unwrap().is_empty());
        assert_eq!(refusal(Path::new("/proc/self/stat"), 3), "is larger than 3 bytes");
        let missing = read_regular_file(&folder.path().join("missing"), 5).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn what_is_no_file_is_named_and_never_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        mknodat(CWD, path("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let _listener = UnixListener::bind(path("socket")).unwrap();
        assert_eq!(refusal(&path("pipe"), 100), "is a pipe, not a file");
        assert_eq!(refusal(&path("socket"), 100), "is a socket, not a file");
        assert_eq!(refusal(folder.path(), 100), "is a folder, not a file");
        assert_eq!(refusal(Path::new("/dev/zero"), 100), "is a device, not a file");
    }
}
