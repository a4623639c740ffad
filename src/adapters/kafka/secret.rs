//! Secrets that stand in files of their own: passwords, and tokens to log in with.
//!
//! Owns the form `NAME_file` of an option, and what is read of a token. Promises that a file is
//! read anew whenever a client is made, and a token's whenever it is about to expire, so that both
//! can be replaced under a running process; and that no error repeats what stood in a file.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use rdkafka::client::OAuthToken;

use crate::adapters::kafka_config::{TOKEN_FILE, secret_file_of};
use crate::ops::file::{read_secret, unreadable_secret};

/// Options of the library, and the file of the token where one is named.
pub(super) struct Resolved {
    pub(super) options: BTreeMap<String, String>,
    pub(super) token: Option<TokenFile>,
}

/// The file that a token is in, such as Kubernetes projects one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TokenFile(PathBuf);

/// Reads the files that options name.
///
/// # Errors
/// Which option, which file, and what is wrong with it.
pub(super) fn resolve(user: &BTreeMap<String, String>) -> Result<Resolved, String> {
    let (mut options, mut token) = (BTreeMap::new(), None);
    for (key, value) in user {
        if key == TOKEN_FILE {
            token = Some(TokenFile(value.into()));
        } else if let Some(option) = secret_file_of(key) {
            let secret = read(Path::new(value)).map_err(|error| format!("{key}: {error}"))?;
            options.insert(option.to_owned(), secret);
        } else {
            options.insert(key.clone(), value.clone());
        }
    }
    Ok(Resolved { options, token })
}

/// The text of a file without the line end that editors add.
fn read(path: &Path) -> Result<String, String> {
    read_secret(path).map_err(|error| unreadable_secret(path, &error))
}

impl TokenFile {
    /// The token that stands in the file now.
    fn token(&self) -> Result<OAuthToken, String> {
        let refuse = |what: &str| format!("{}: {what}", self.0.display());
        let token = read(&self.0)?;
        let claims = claims(&token).ok_or_else(|| refuse("is no JSON web token"))?;
        let expires = claims["exp"].as_f64().ok_or_else(|| refuse("the token has no `exp`"))?;
        let principal = claims["sub"].as_str().unwrap_or("tickcast").to_owned();
        // Far below what a whole number in a float can hold.
        Ok(OAuthToken { token, principal_name: principal, lifetime_ms: (expires * 1e3) as i64 })
    }
}

/// For the library's question after a token. Without a file nobody has one; the library then says
/// so when it is told to log in with it.
pub(super) fn answer(file: Option<&TokenFile>) -> Result<OAuthToken, Box<dyn Error>> {
    match file {
        Some(file) => Ok(file.token()?),
        None => Err(format!("{TOKEN_FILE} names no file").into()),
    }
}

/// What a token says of itself. Whether it is true is the broker's to judge.
fn claims(token: &str) -> Option<serde_json::Value> {
    let payload = token.split('.').nth(1)?;
    serde_json::from_slice(&decode_base64_url(payload)?).ok().filter(serde_json::Value::is_object)
}

/// Bytes of base64 in the alphabet for URLs, with or without padding.
fn decode_base64_url(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut count) = (Vec::with_capacity(text.len()), 0_u32, 0);
    for letter in text.trim_end_matches('=').bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            // The lowest eight of the bits that are left.
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &Path)]) -> BTreeMap<String, String> {
        let pair = |(key, path): &(&str, &Path)| ((*key).to_owned(), path.display().to_string());
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn a_secret_is_read_from_its_file_and_never_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("password"), "hunter2\r\n").unwrap();
        std::fs::write(path("empty"), "\n").unwrap();
        let resolved = resolve(&options(&[("sasl.password_file", &path("password"))])).unwrap();
        assert_eq!(resolved.options["sasl.password"], "hunter2");
        assert_eq!(resolved.options.len(), 1);
        let refused = |name| {
            resolve(&options(&[("sasl.password_file", &path(name))])).map(|_| ()).unwrap_err()
        };
        for (name, what) in [("empty", "is empty"), ("missing", "names no file: No such file")] {
            let words = refused(name);
            assert!(words.starts_with("sasl.password_file: "), "{words}");
            assert!(words.contains(what), "{words}");
        }
    }

    #[test]
    fn a_token_says_whose_it_is_and_how_long_it_is_good() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let resolved = resolve(&options(&[(TOKEN_FILE, &path)])).unwrap();
        assert!(resolved.options.is_empty());
        let token = |text: &str| {
            std::fs::write(&path, text).unwrap();
            answer(resolved.token.as_ref()).map_err(|error| error.to_string())
        };
        // {"alg":"none"} and {"sub":"tick?>cast","exp":1700000000.5}
        let text = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ0aWNrPz5jYXN0IiwiZXhwIjoxNzAwMDAwMDAwLjV9.";
        let read = token(&format!("{text}\n")).unwrap();
        assert_eq!((&*read.token, &*read.principal_name), (text, "tick?>cast"));
        assert_eq!(read.lifetime_ms, 1_700_000_000_500);
        // The third has the claims {}.
        for text in ["secret", "a.b!c.d", "e30.e30.", "e30.MQ.", "e30.bm8.x"] {
            let words = token(text).map(|_| ()).unwrap_err();
            assert!(words.contains(&path.display().to_string()), "{words}");
            assert!(!words.contains(text), "{words}");
        }
        assert!(answer(None).is_err());
    }

    #[test]
    fn base64_for_urls_is_read() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("Zg", b"f"),
            ("Zm8=", b"fo"),
            ("Zm9v", b"foo"),
            ("_-8", &[0xff, 0xef]),
        ] {
            assert_eq!(decode_base64_url(text).as_deref(), Some(bytes), "{text}");
        }
        assert_eq!(decode_base64_url("a+b"), None);
    }
}
