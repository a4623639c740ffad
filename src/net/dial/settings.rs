//! How a feed is reached: certificates, headers, proxies and limits, all keys of `[source]`.
//!
//! Owns these keys and their rules. Promises that what is secret is read from its file here and
//! shown nowhere.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::{ClientFiles, DialOptions, Header, Proxies, Secret, TlsFiles};
use crate::ops::file::{read_secret, unreadable_secret};
use crate::ports::section::Section;

/// The ending of a key whose value is the path of a file that holds the real value.
const FILE_SUFFIX: &str = "_file";

/// Headers of the handshake that belong to the protocol.
const RESERVED: [&str; 9] = [
    "connection",
    "content-length",
    "host",
    "proxy-authorization",
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-version",
    "upgrade",
];

/// Reads the keys; `variables` may name proxies.
pub fn read_options(
    section: &mut Section<'_>,
    variables: &HashMap<String, String>,
    message_bytes_max: usize,
) -> DialOptions {
    let seconds =
        |section: &mut Section<'_>, name| Duration::from_secs(section.count(name, 1, 300) as u64);
    section.shows(&["ca_file", "client_certificate_file", "client_key_file"]);
    let authorities = section.optional_path("ca_file");
    let certificate = section.optional_path("client_certificate_file");
    let key = section.optional_text("client_key_file");
    let key = key.map(|text| section.secret_path_of("client_key_file", &text));
    let client = match (certificate, key) {
        (Some(certificate), Some(key)) => Some(ClientFiles { certificate, key }),
        (None, None) => None,
        (Some(_), None) => {
            section.problem("client_key_file", "must name the key of client_certificate_file");
            None
        }
        (None, Some(_)) => {
            section.problem("client_certificate_file", "must name what client_key_file is for");
            None
        }
    };
    let headers = read_headers(section);
    let proxies = Proxies::from_variables(variables).unwrap_or_else(|errors| {
        errors.iter().for_each(|error| section.problem("url", format_args!("proxy: {error}")));
        Proxies::default()
    });
    DialOptions {
        tls: TlsFiles { authorities, client },
        headers,
        proxies,
        connect_timeout: seconds(section, "connect_seconds_max"),
        handshake_timeout: seconds(section, "handshake_seconds_max"),
        message_bytes_max,
    }
}

/// Reads the table `headers` of a section. A name that ends in `_file` names the file of the value.
pub fn read_headers(section: &mut Section<'_>) -> Vec<Header> {
    let table = section.table("headers");
    headers(section, table)
}

fn headers(section: &mut Section<'_>, table: BTreeMap<String, String>) -> Vec<Header> {
    let mut headers: Vec<Header> = Vec::with_capacity(table.len());
    for (key, text) in table {
        let full_key = format!("headers.{key}");
        let (name, value) = match key.strip_suffix(FILE_SUFFIX) {
            None => (key.as_str(), text),
            Some(name) => {
                let path = section.secret_path_of(&full_key, &text);
                match read_secret(&path) {
                    Ok(value) => (name, value),
                    Err(error) => {
                        section.problem(&full_key, unreadable_secret(&path, &error));
                        continue;
                    }
                }
            }
        };
        let mut refuse = |problem: &str| section.problem(&full_key, problem);
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(token) {
            refuse("is no name of a header");
        } else if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
            refuse("is set by the protocol");
        } else if !value.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
            refuse("must hold visible ASCII characters alone");
        } else if headers.iter().any(|header| header.name.eq_ignore_ascii_case(name)) {
            refuse("is there twice");
        } else {
            headers.push(Header { name: name.to_owned(), value: Secret::new(value) });
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use config::{Value, ValueKind};

    use super::*;
    use crate::ports::section::Problems;

    /// What is read of a table of headers, and the problems.
    fn read(pairs: &[(&str, &str)]) -> (Vec<Header>, Vec<String>) {
        let problems = Problems::default();
        let mut section =
            Section::root(Value::new(None, ValueKind::Table(config::Map::new())), &problems);
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let headers = headers(&mut section, pairs.collect());
        section.finish();
        (headers, problems.into_vec())
    }

    #[test]
    fn a_secret_is_read_from_its_file_and_shown_nowhere() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "Bearer s3cret\n").unwrap();
        let path = file.path().to_str().unwrap();
        let (headers, problems) = read(&[("Authorization_file", path), ("X-Client", "a b")]);
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(
            (&*headers[0].name, headers[0].value.reveal()),
            ("Authorization", "Bearer s3cret")
        );
        assert_eq!((&*headers[1].name, headers[1].value.reveal()), ("X-Client", "a b"));
        assert!(!format!("{headers:?}").contains("s3cret"));
    }

    #[test]
    fn every_header_that_cannot_be_sent_is_told_of() {
        let (headers, problems) = read(&[
            ("A b", "x"),
            ("Upgrade", "x"),
            ("X-A", "line\nbreak"),
            ("X-B_file", "/nowhere/at/all"),
            ("X-C", "1"),
            ("x-c", "2"),
        ]);
        assert_eq!(headers.len(), 1);
        let expected = [
            "headers.A b: is no name",
            "headers.Upgrade: is set",
            "headers.X-A: must hold",
            "headers.X-B_file: names no file: ",
            "headers.x-c: is there twice",
        ];
        assert_eq!(problems.len(), expected.len());
        for (problem, expected) in problems.iter().zip(expected) {
            assert!(problem.starts_with(expected), "{problem}");
        }
    }
}
