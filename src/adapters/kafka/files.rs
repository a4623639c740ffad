//! Files that the client library reads by itself: certificates, keys, keytabs.
//!
//! Owns the look at them before a client is made. The library waits for the other end of a pipe,
//! reads a device without end, and names no file in some of its errors. Promises that each file is
//! regular, can be read and has a bounded size when a client is made, or that the error names the
//! option and the file. Never interprets a file: whether a certificate is one is the library's to
//! say.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::Path;

use crate::adapters::kafka_config::{FileOption, file_option, is_public_option};
use crate::engine::files::read_regular_file;
use crate::ops::file::{CERTIFICATES_BYTES_MAX, unreadable_secret};

/// Looks at every file that options name.
///
/// # Errors
/// Which option, which file, and what is wrong with it.
pub(super) fn check(options: &BTreeMap<String, String>) -> Result<(), String> {
    for (key, value) in options {
        let Some(kind) = file_option(key, value) else { continue };
        let path = Path::new(value);
        look(path, kind).map_err(|error| {
            // What everybody may read is shown. Another value that leads nowhere may be a key.
            let problem = match is_public_option(key) {
                true => format!("cannot read `{value}`: {error}"),
                false => unreadable_secret(path, &error),
            };
            format!("{key}: {problem}")
        })?;
    }
    Ok(())
}

fn look(path: &Path, kind: FileOption) -> io::Result<()> {
    if kind == FileOption::Authorities && path.is_dir() {
        return std::fs::read_dir(path).map(drop);
    }
    if read_regular_file(path, CERTIFICATES_BYTES_MAX)?.is_empty() {
        return Err(io::Error::new(ErrorKind::InvalidData, "is empty"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_file_is_regular_small_and_there_or_is_named_with_its_option() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(path("good"), "a certificate").unwrap();
        std::fs::write(path("empty"), "").unwrap();
        std::fs::write(path("large"), vec![b'x'; CERTIFICATES_BYTES_MAX + 1]).unwrap();
        assert!(Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
        let check = |key: &str, value: &str| {
            let other = ("client.rack".to_owned(), "/dev/zero".to_owned());
            check(&BTreeMap::from([(key.to_owned(), value.to_owned()), other]))
        };
        let folder = folder.path().to_str().unwrap();
        let taken = [
            ("ssl.ca.location", "probe"),
            ("ssl.ca.location", folder),
            ("ssl.ca.location", ""),
            ("ssl.ca.location", &path("good")),
            ("ssl.key.location", &path("good")),
        ];
        for (key, value) in taken {
            assert_eq!(check(key, value), Ok(()), "{key} = {value}");
        }
        let large = format!("is larger than {CERTIFICATES_BYTES_MAX} bytes");
        let nothing = "No such file or directory (os error 2)";
        for (name, problem) in
            [("pipe", "is a pipe, not a file"), ("empty", "is empty"), ("large", &large)]
        {
            for key in [
                "https.ca.location",
                "sasl.kerberos.keytab",
                "sasl.oauthbearer.assertion.jwt.template.file",
                "sasl.oauthbearer.assertion.private.key.file",
                "ssl.ca.location",
                "ssl.certificate.location",
                "ssl.crl.location",
                "ssl.key.location",
                "ssl.keystore.location",
            ] {
                let path = path(name);
                let refused = Err(format!("{key}: cannot read `{path}`: {problem}"));
                assert_eq!(check(key, &path), refused);
            }
        }
        let refused = |key: &str, value: &str| check(key, value).unwrap_err();
        assert_eq!(
            refused("ssl.certificate.location", folder),
            format!("ssl.certificate.location: cannot read `{folder}`: is a folder, not a file")
        );
        let none = path("none");
        assert_eq!(
            refused("ssl.ca.location", &none),
            format!("ssl.ca.location: cannot read `{none}`: {nothing}")
        );
        let key = refused("ssl.key.location", "hunter2-SECRET");
        assert_eq!(key, format!("ssl.key.location: names no file: {nothing}"));
    }
}
