//! The small text files that a configuration names: settings, secrets, certificates.
//!
//! Owns their limits, and what is said of one that others can read. Promises that only regular
//! files are read, a link to one included, and none beyond its limit. Never interprets a text.

use std::io::{self, ErrorKind};
use std::path::Path;

use rustix::fs::Access;

use crate::engine::files::read_regular_file;

/// The largest configuration file, in bytes.
pub const CONFIGURATION_BYTES_MAX: usize = 1 << 20;

/// The largest file of a token, a password or a header. A signed token has a few thousand bytes.
pub const SECRET_BYTES_MAX: usize = 64 << 10;

/// The largest file of certificates or of a key. All authorities of a system have 200 kB.
pub const CERTIFICATES_BYTES_MAX: usize = 4 << 20;

/// Reads a file as text.
///
/// # Errors
/// Those of the system, without the path; for what is no regular file, is too large, or is not
/// UTF-8.
pub fn read_text(path: &Path, bytes_max: usize) -> io::Result<String> {
    let bytes = read_regular_file(path, bytes_max)?;
    String::from_utf8(bytes).map_err(|_| io::Error::new(ErrorKind::InvalidData, "is not UTF-8"))
}

/// Reads the secret that is the text of a file, without the line end that editors add.
///
/// # Errors
/// As [`read_text`], and for an empty file. None repeats what is in the file.
pub fn read_secret(path: &Path) -> io::Result<String> {
    let text = read_text(path, SECRET_BYTES_MAX)?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(io::Error::new(ErrorKind::InvalidData, "is empty")),
        text => Ok(text.to_owned()),
    }
}

/// The words for a file of a secret that cannot be read. A path that leads to no file may be the
/// secret itself in the wrong place, so it is not shown.
pub fn unreadable_secret(path: &Path, error: &io::Error) -> String {
    if error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(NAME_TOO_LONG) {
        return format!("names no file: {error}");
    }
    format!("cannot read `{}`: {error}", path.display())
}

/// What the system says of a name that is longer than names of files are.
const NAME_TOO_LONG: i32 = 36;

/// Whether every user of the machine can read a file; `false` where there is none.
pub fn is_world_readable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let metadata = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file);
    metadata.is_some_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

/// Whether a folder may be written to.
///
/// # Errors
/// What the system says.
pub fn can_write(folder: &Path) -> io::Result<()> {
    if !folder.is_dir() {
        return Err(ErrorKind::NotADirectory.into());
    }
    Ok(rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK)?)
}

/// Whether a file or folder that is not there could be made, its missing parents included. Makes
/// nothing.
///
/// # Errors
/// What the system would say.
pub fn can_make(path: &Path) -> io::Result<()> {
    let nearest = path.ancestors().skip(1).find(|above| above.exists());
    // A relative path without a parent is in the working directory.
    let folder = nearest.filter(|folder| !folder.as_os_str().is_empty());
    can_write(folder.unwrap_or(Path::new(".")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_one_small_file_of_text_and_no_error_repeats_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let read = |content: &[u8]| {
            std::fs::write(&path, content).unwrap();
            read_secret(&path).map_err(|error| error.to_string())
        };
        assert_eq!(read(b"hunter2\r\n"), Ok("hunter2".to_owned()));
        assert_eq!(read(b"\n"), Err("is empty".to_owned()));
        assert_eq!(read(b"hunter2\xff"), Err("is not UTF-8".to_owned()));
        let large = vec![b'x'; SECRET_BYTES_MAX + 1];
        assert_eq!(read(&large), Err(format!("is larger than {SECRET_BYTES_MAX} bytes")));
        let endless = read_secret(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(endless.to_string(), "is a device, not a file");
        for wrong in [Path::new("hunter2-SECRET"), Path::new(&"hunter2".repeat(100))] {
            let words = unreadable_secret(wrong, &read_secret(wrong).unwrap_err());
            assert!(words.starts_with("names no file: "), "{words}");
            assert!(!words.contains("hunter2"), "{words}");
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_found() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (mode, is_open) in [(0o600, false), (0o640, false), (0o644, true), (0o604, true)] {
            std::fs::set_permissions(file.path(), PermissionsExt::from_mode(mode)).unwrap();
            assert_eq!(is_world_readable(file.path()), is_open, "{mode:o}");
        }
        assert!(!is_world_readable(Path::new("/dev/null")));
    }
}
