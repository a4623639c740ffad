//! Secrets of a feed that stand in files of their own, and the times that its messages carry.
//!
//! Owns what takes the place of `{secret:NAME}`, `{time}` and `{time:ms}` when something is sent.
//! Promises that a secret is read whenever a connection is made, is what one line of its file says,
//! stands in a message or an address as nothing but a value, and is shown nowhere.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::dial::{DialError, Secret};
use super::percent::percent_encoded;
use crate::core::domain::UnixNanos;
use crate::ops::clock::wall_time;
use crate::ops::file::{read_secret, unreadable_secret};
use crate::ports::section::Section;

/// The ending of a key whose value is the path of a file.
const FILE_SUFFIX: &str = "_file";

/// The longest secret, in bytes. A signed token has one or two thousand.
const SECRET_BYTES_MAX: usize = 8192;

/// As many characters of a secret tell something of it.
const CUT_CHARS_MIN: usize = 4;

/// How long reading all of them may take.
const READ_MAX: Duration = Duration::from_secs(10);

/// Nanoseconds in a millisecond, and in a second.
const MILLISECOND: i64 = 1_000_000;
const SECOND: i64 = 1_000_000_000;

/// The files of a feed's secrets, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretFiles(Vec<(String, PathBuf)>);

/// The secrets of one connection, by name.
#[derive(Clone, Debug, Default)]
pub struct Secrets(Vec<(String, Secret)>);

impl SecretFiles {
    /// Reads `[source.secrets]`. All of `needed` must be there where something is connected to;
    /// those of `also` may be there, and nothing else.
    pub fn read(
        source: &mut Section<'_>,
        needed: &[String],
        also: &[String],
        connects: bool,
    ) -> Self {
        let mut files = Vec::new();
        for (key, path) in source.table("secrets") {
            let full_key = format!("secrets.{key}");
            let mut refuse = |problem: &str| source.problem(&full_key, problem);
            let Some(name) = key.strip_suffix(FILE_SUFFIX) else {
                refuse("must end in `_file` and name a file: a secret stands in a file of its own");
                continue;
            };
            let mut known = needed.iter().chain(also);
            if !known.any(|known| known.eq_ignore_ascii_case(name)) {
                refuse(&format!("no message, address or header holds {{secret:{name}}}"));
                continue;
            }
            let path = source.secret_path_of(&full_key, &path);
            if let Err(why) = one_line(&path) {
                source.problem(&full_key, why);
            }
            files.push((name.to_owned(), path));
        }
        let files = Self(files);
        let missing: BTreeSet<_> = files.missing(needed).filter(|_| connects).collect();
        for name in missing {
            let problem = format!("must name the file that holds {{secret:{name}}}");
            source.problem(&format!("secrets.{name}{FILE_SUFFIX}"), problem);
        }
        files
    }

    /// Those of these names that have no file.
    pub fn missing<'n>(&self, names: &'n [String]) -> impl Iterator<Item = &'n String> {
        let has = |name: &String| self.0.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        names.iter().filter(move |name| !has(name))
    }

    /// What the files hold now.
    ///
    /// # Errors
    /// [`DialError::Secret`] where one cannot be used.
    pub async fn values(self) -> Result<Secrets, DialError> {
        if self.0.is_empty() {
            return Ok(Secrets::default());
        }
        let read = || {
            let one = |(name, path): (String, PathBuf)| match one_line(&path) {
                Ok(text) => Ok((name, Secret::new(text))),
                Err(why) => Err(DialError::Secret { name, why }),
            };
            self.0.into_iter().map(one).collect::<Result<_, _>>().map(Secrets)
        };
        // A file may lie on a disk that does not answer.
        match timeout(READ_MAX, spawn_blocking(read)).await {
            Ok(Ok(read)) => read,
            Ok(Err(error)) => Err(DialError::Handshake(format!("secrets: {error}"))),
            Err(_) => Err(DialError::Timeout { stage: "secret from its file", limit: READ_MAX }),
        }
    }
}

/// The names of the secrets that a text asks for.
pub fn names(text: &str) -> impl Iterator<Item = &str> {
    let pieces = text.split("{secret:").skip(1);
    pieces.filter_map(|piece| piece.split_once('}')).map(|(name, _)| name)
}

/// The only line of a file.
fn one_line(path: &Path) -> Result<String, String> {
    let text = read_secret(path).map_err(|error| unreadable_secret(path, &error))?;
    if text.is_empty() || text.len() > SECRET_BYTES_MAX || text.contains(char::is_control) {
        return Err(format!("must hold one line of 1 to {SECRET_BYTES_MAX} bytes"));
    }
    Ok(text)
}

impl Secrets {
    /// A message with everything in it. In JSON a secret is written as the inside of a text.
    pub fn in_message(&self, text: &str) -> String {
        let is_json = text.trim_start().starts_with(['{', '[']);
        self.filled(text, |secret| {
            if !is_json {
                return secret.to_owned();
            }
            in_json(secret)
        })
    }

    /// The value of a header with everything in it.
    pub fn in_header(&self, text: &str) -> String {
        self.filled(text, str::to_owned)
    }

    /// An address with everything in it, percent-encoded.
    pub fn in_address(&self, text: &str) -> String {
        self.filled(text, percent_encoded)
    }

    /// Fills the placeholders, looking at what is written by the configuration alone and never
    /// at what was put in.
    fn filled(&self, text: &str, write: impl Fn(&str) -> String) -> String {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            let (before, behind) = rest.split_at(open);
            filled.push_str(before);
            let word = behind[1..].split_once('}').map_or("", |(word, _)| word);
            let secret = word.strip_prefix("secret:").and_then(|name| self.secret(name));
            let now = || wall_time().map_or(0, UnixNanos::as_nanos);
            // Writing to a string does not fail.
            let is_filled = match (word, secret) {
                (_, Some(secret)) => filled.write_str(&write(secret)).is_ok(),
                ("time", _) => write!(filled, "{}", now() / SECOND).is_ok(),
                ("time:ms", _) => write!(filled, "{}", now() / MILLISECOND).is_ok(),
                _ => false,
            };
            if is_filled {
                rest = &behind[word.len() + 2..];
            } else {
                filled.push('{');
                rest = &behind[1..];
            }
        }
        filled.push_str(rest);
        filled
    }

    fn secret(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, secret)| secret.reveal())
    }

    /// A text of the venue, which may repeat what it was sent, as it may be shown. A secret that is
    /// cut off at the end of an excerpt is hidden as well.
    pub fn hidden(&self, text: String) -> String {
        self.0.iter().fold(text, |text, (name, secret)| {
            let placeholder = format!("{{secret:{name}}}");
            let (plain, encoded) = (secret.reveal(), percent_encoded(secret.reveal()));
            let lower = in_lower_hex(&encoded);
            let forms = [plain.to_owned(), in_json(plain), encoded, lower];
            forms.iter().fold(text, |text, form| {
                let text = text.replace(form, &placeholder);
                match cut_off(&text, form) {
                    Some(start) => format!("{}{placeholder}", &text[..start]),
                    None => text,
                }
            })
        })
    }
}

/// A secret as the inside of a JSON text.
fn in_json(secret: &str) -> String {
    let quoted = serde_json::Value::from(secret).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// A percent-encoded text with its digits in lower case.
fn in_lower_hex(encoded: &str) -> String {
    let mut parts = encoded.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let (digits, rest) = part.split_at_checked(2).unwrap_or((part, ""));
        format!("{text}%{}{rest}", digits.to_ascii_lowercase())
    })
}

/// Where the beginning of a secret stands at the end of a text, which may have been cut there.
fn cut_off(text: &str, secret: &str) -> Option<usize> {
    let end = text.trim_end_matches('…');
    let starts = secret.char_indices().skip(CUT_CHARS_MIN).map(|(at, _)| at);
    let length = starts.filter(|at| end.ends_with(&secret[..*at])).last()?;
    Some(end.len() - length)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn files(folder: &tempfile::TempDir, pairs: &[(&str, &str)]) -> SecretFiles {
        let file = |(name, text): &(&str, &str)| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            ((*name).to_owned(), path)
        };
        SecretFiles(pairs.iter().map(file).collect())
    }

    #[tokio::test]
    async fn secrets_are_put_in_as_values_and_are_shown_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(&folder, &[("KEY", "a\"b\\c/{time}\n"), ("user", "U")]);
        let secrets = files.clone().values().await.unwrap();
        assert_eq!(
            secrets.in_message(r#"{"k":"{secret:key}","u":"{secret:USER}","x":{}}"#),
            r#"{"k":"a\"b\\c/{time}","u":"U","x":{}}"#
        );
        assert_eq!(secrets.in_message("AUTH {secret:key}"), "AUTH a\"b\\c/{time}");
        let address = secrets.in_address("wss://h/x?k={secret:key}&u={secret:user}");
        assert_eq!(address, "wss://h/x?k=a%22b%5Cc%2F%7Btime%7D&u=U");
        assert_eq!(secrets.in_message("{secret:none} {} {"), "{secret:none} {} {");
        assert_eq!(secrets.in_header("Bearer {secret:USER}"), "Bearer U");
        assert_eq!(names("{secret:a} {secret:b}x{secret:").collect::<Vec<_>>(), ["a", "b"]);
        assert!(!format!("{secrets:?} {files:?}").contains("a\""));
        let said = "bad key a\"b\\c/{time}".to_owned();
        assert_eq!(secrets.hidden(said), "bad key {secret:KEY}");
        assert_eq!(
            secrets.hidden(r#"{"k":"a\"b\\c/{time}"}"#.to_owned()),
            r#"{"k":"{secret:KEY}"}"#
        );
        assert_eq!(secrets.hidden("bad key a\"b\\c…".to_owned()), "bad key {secret:KEY}");
        for echoed in ["a%22b%5Cc%2F%7Btime%7D", "a%22b%5cc%2f%7btime%7d", "a%22b%5Cc%2"] {
            let said = format!("GET /x?k={echoed}");
            assert_eq!(secrets.hidden(said), "GET /x?k={secret:KEY}", "{echoed}");
        }
        assert_eq!(secrets.hidden("bad key a\"b".to_owned()), "bad key a\"b", "three characters");
        // The file is read again for the next connection.
        fs::write(folder.path().join("KEY"), "next").unwrap();
        let secrets = files.clone().values().await.unwrap();
        assert_eq!(secrets.in_message("{secret:key}"), "next");
        fs::remove_file(folder.path().join("user")).unwrap();
        let error = files.clone().values().await.unwrap_err().to_string();
        assert!(error.starts_with("the secret `user` names no file: "), "{error}");
        fs::write(folder.path().join("user"), "two\nlines").unwrap();
        let error = files.values().await.unwrap_err().to_string();
        assert_eq!(error, "the secret `user` must hold one line of 1 to 8192 bytes");
    }

    #[test]
    fn times_are_whole_numbers_of_their_unit() {
        let text = Secrets::default().in_message(r#"{"time":{time},"ms":{time:ms}}"#);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let (seconds, milliseconds) = (value["time"].as_i64(), value["ms"].as_i64());
        let (seconds, milliseconds) = (seconds.unwrap(), milliseconds.unwrap());
        assert!(seconds > 1_700_000_000, "{text}");
        assert!((milliseconds / 1000 - seconds).abs() <= 1, "{text}");
    }
}
