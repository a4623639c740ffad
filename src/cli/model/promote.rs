//! `tickcast model promote`: asks a running daemon to make a shadow live.
//!
//! Owns one request and its answer. Promises that the exit code says what became of it. Never
//! speaks TLS: an operator's command goes to the machine that the daemon runs on, or through a
//! tunnel.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::core::text::excerpt;
use crate::net::percent::percent_encoded;
use crate::ops::exit::{Exit, Failure};

/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// How long the answer may take: a reload that is under way goes first, and a daemon whose proofs
/// may take longer than a minute each may answer later.
const ANSWER_MAX: Duration = Duration::from_secs(240);

/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// The most characters that are shown of an answer of something else.
const BODY_CHARS_MAX: usize = 200;

const AFTER_HELP: &str = "\
The live model of the same seat becomes a shadow, so to promote that one is to go back. A model
with `promote` has two versions in its seat: name the one that shall be live. One that does not run
is loaded from the folder of models first.

Exit code 0: it is live, from now on or already. 64: no model has this name, or the version is
missing. 75: the daemon kept what was live, cannot be reached, or has not answered within four
minutes; then the promotion may still be carried out, as GET /v1/models shows. 78: it refused the
token.

Examples: tickcast model promote volatility-next
          tickcast model promote stocks-volatility 4
          tickcast model promote volatility-next --url http://127.0.0.1:9630";

/// Options of `tickcast model promote`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct PromoteArgs {
    /// The shadow, as its entry in [[models]] is named
    #[arg(value_name = "NAME")]
    name: String,
    /// The version in the seat of NAME that shall be live
    #[arg(value_name = "VERSION")]
    version: Option<String>,
    /// The daemon
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9630")]
    url: String,
    /// Of a daemon with a token: the file that holds it; else the variable TICKCAST_TOKEN
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

pub(super) fn run(args: &PromoteArgs) -> Result<(), Exit> {
    let PromoteArgs { name, version, url, token_file } = args;
    let authority = authority_of(url)?;
    let token = super::token(token_file.as_deref())?;
    let (status, body) = ask(authority, name, version.as_deref(), token.as_deref(), ANSWER_MAX)
        .map_err(Exit::while_doing(Failure::Temporary, format_args!("ask {authority}")))?;
    let answer: Value = serde_json::from_str(&body).unwrap_or_default();
    let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    // Where something else answers, its text says most.
    let detail = || match (text("detail"), body.trim()) {
        (detail, _) if !detail.is_empty() => detail,
        (_, "") => format!("{authority} answers {status} without a reason"),
        (_, body) => format!("{authority} answers {status}: {}", excerpt(body, BODY_CHARS_MAX)),
    };
    match (status, &*text("outcome")) {
        (200, "promoted") => {
            match version {
                Some(version) => super::print(format_args!(
                    "{name} {version} is live; the version before it is a shadow\n"
                ))?,
                None => super::print(format_args!(
                    "{name} is live; {} is a shadow\n",
                    text("instead_of")
                ))?,
            }
            if answer["survives_restart"] == Value::Bool(false) {
                tell!(
                    "warning: no folder keeps the roles of models (snapshot.folder), so a restart \
                     begins with those of the configuration"
                );
            }
            Ok(())
        }
        (200, _) => {
            let version = version.iter().fold(String::new(), |_, version| format!(" {version}"));
            super::print(format_args!("{name}{version} is live already\n"))
        }
        (401 | 403, _) => Err(Exit::new(Failure::Configuration, detail())),
        (400 | 404, _) => Err(Exit::new(Failure::Usage, detail())),
        (_, "kept" | "fatal") => Err(Exit::new(Failure::Temporary, text("reason"))),
        _ => Err(Exit::new(Failure::Temporary, detail())),
    }
}

/// `host:port` of a URL.
fn authority_of(url: &str) -> Result<&str, Exit> {
    let authority = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    let fits = |authority: &&str| {
        !authority.is_empty() && !authority.contains(|letter: char| "/?#@ \r\n".contains(letter))
    };
    authority.filter(fits).ok_or_else(|| {
        Exit::new(Failure::Usage, "--url: expected a URL such as http://127.0.0.1:9630")
    })
}

/// Sends the request; status and body of the answer.
fn ask(
    authority: &str,
    name: &str,
    version: Option<&str>,
    token: Option<&str>,
    answer_max: Duration,
) -> std::io::Result<(u16, String)> {
    let with_port = match authority.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => authority.to_owned(),
        _ => format!("{authority}:80"),
    };
    let none = || std::io::Error::other("the name does not resolve to an address");
    let address = with_port.to_socket_addrs()?.next().ok_or_else(none)?;
    let mut stream = TcpStream::connect_timeout(&address, CONNECT_MAX)?;
    stream.set_read_timeout(Some(answer_max))?;
    stream.set_write_timeout(Some(CONNECT_MAX))?;
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let version = version.map(|version| format!("?version={}", percent_encoded(version)));
    let version = version.unwrap_or_default();
    let request = format!(
        "POST /v1/models/{}/promote{version} HTTP/1.1\r\nHost: {authority}\r\n{token}\
         Content-Length: 0\r\nConnection: close\r\n\r\n",
        percent_encoded(name)
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).map_err(|error| {
        let why = match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                format!("no answer within {} s", answer_max.as_secs())
            }
            _ => error.to_string(),
        };
        std::io::Error::other(format!(
            "{why}; the request was sent, so the promotion may still be carried out: GET \
             /v1/models and the log of the daemon show what becomes of it"
        ))
    })?;
    let foreign = || std::io::Error::other("the answer is not from tickcast");
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(foreign)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or_else(foreign)?, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_does_not_answer_in_time_may_still_promote() {
        let daemon = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let authority = daemon.local_addr().unwrap().to_string();
        let error = ask(&authority, "next", None, None, Duration::from_millis(1)).unwrap_err();
        let told = error.to_string();
        assert!(told.starts_with("no answer within 0 s; the request was sent"), "{told}");
        assert!(told.contains("GET /v1/models"), "{told}");
    }

    #[test]
    fn an_answer_of_something_else_is_shown() {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", server.local_addr().unwrap());
        let answers = ["404 Not Found\r\n\r\n", "404 Not Found\r\n\r\n<p>none</p>"];
        let serving = std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = server.accept().unwrap();
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).unwrap();
                write!(stream, "HTTP/1.1 {answer}").unwrap();
            }
        });
        let told = [(); 2].map(|()| {
            let name = "next".to_owned();
            let args = PromoteArgs { name, version: None, url: url.clone(), token_file: None };
            run(&args).unwrap_err().to_string()
        });
        serving.join().unwrap();
        assert!(told[0].ends_with(" answers 404 without a reason"), "{}", told[0]);
        assert!(told[1].contains(" answers 404: ") && told[1].contains("none"), "{}", told[1]);
    }

    #[test]
    fn a_url_names_a_daemon_on_this_side_of_tls() {
        for (url, authority) in [
            ("http://127.0.0.1:9630", "127.0.0.1:9630"),
            ("http://[::1]:9630/", "[::1]:9630"),
            ("http://host", "host"),
        ] {
            assert_eq!(authority_of(url).unwrap(), authority);
        }
        for url in
            ["https://host", "host:9630", "http://", "http://a/b", "http://u@h", "http://a b"]
        {
            assert_eq!(authority_of(url).unwrap_err().failure(), Failure::Usage, "{url}");
        }
    }
}
