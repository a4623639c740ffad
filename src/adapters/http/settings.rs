//! The section `[http]`: where probes, metrics and the stream are, and who may use them.
//!
//! Owns its keys and the rule that nothing unguarded is bound beyond loopback. Promises that a
//! token leaves here as its digest alone.

use std::net::SocketAddr;

use super::access::{Access, AccessToken, TokenError};
use super::host::AllowedHosts;
use crate::core::text::excerpt;
use crate::ops::file::{read_secret, unreadable_secret};
use crate::ports::section::Section;

/// Probes, metrics and the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// The address to listen on; port 0 takes a free one.
    pub bind: SocketAddr,
    /// Who may use it.
    pub access: Access,
}

/// Reads the section.
pub fn read(mut section: Section<'_>) -> HttpConfig {
    section.shows(&["bind", "allowed_origins"]);
    let text = section.text("bind");
    let bind = text.parse::<SocketAddr>().unwrap_or_else(|error| {
        section.problem("bind", format_args!("`{text}` is no IP:PORT ({error})"));
        SocketAddr::from(([127, 0, 0, 1], 0))
    });
    let token = token(&mut section);
    let insecure = section.switch("insecure_bind");
    if !bind.ip().is_loopback() && !insecure && matches!(token, Ok(None)) {
        section.problem(
            "bind",
            format_args!(
                "{bind} is beyond loopback and nothing guards it; name a token_file, or set \
                 insecure_bind = true if that is meant"
            ),
        );
    }
    let (allowed_hosts, wrong) = AllowedHosts::new(&section.texts("allowed_hosts"));
    wrong.iter().for_each(|wrong| section.problem("allowed_hosts", wrong));
    let access = Access {
        token: token.unwrap_or_default(),
        open_metrics: section.switch("open_metrics"),
        allowed_origins: origins(&mut section),
        allowed_hosts,
    };
    section.finish();
    HttpConfig { bind, access }
}

/// The web origins whose pages may open the stream, as browsers write them.
fn origins(section: &mut Section<'_>) -> Vec<String> {
    let origins = section.texts("allowed_origins");
    for origin in &origins {
        if let Err(problem) = check_origin(origin) {
            section
                .problem("allowed_origins", format_args!("`{}`: {problem}", excerpt(origin, 80)));
        }
    }
    origins
}

/// Whether a browser can send this origin: it sends scheme, host and a port that is not the usual
/// one, and nothing else.
fn check_origin(origin: &str) -> Result<(), &'static str> {
    let form = "an origin is http://HOST or https://HOST, with :PORT where it is not the usual one";
    let lower = origin.to_ascii_lowercase();
    let (scheme, authority) = lower.split_once("://").ok_or(form)?;
    let usual = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return Err(form),
    };
    if authority.contains(['/', '?', '#']) {
        return Err("no browser sends a path in an origin, not even a final slash");
    }
    if authority.ends_with(usual) {
        return Err("browsers leave the usual port out, so leave it out here as well");
    }
    let uri: hyper::Uri = origin.parse().map_err(|_| form)?;
    let is_plain = authority.bytes().all(|byte| byte.is_ascii_graphic() && !b"@*".contains(&byte));
    let host = uri.host().unwrap_or_default();
    if !is_plain || host.is_empty() || authority.ends_with(':') { Err(form) } else { Ok(()) }
}

/// The token, by value or by file; `Err` where there was to be one and is none, which is reported.
fn token(section: &mut Section<'_>) -> Result<Option<AccessToken>, ()> {
    let value = section.optional_text("token");
    let path = section.optional_text("token_file");
    let path = path.map(|text| section.secret_path_of("token_file", &text));
    let (name, outcome) = match (value, path) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => ("token", Err("is given as well as token_file".to_owned())),
        (Some(value), None) => ("token", as_token(&value)),
        (None, Some(path)) => {
            let text = read_secret(&path).map_err(|error| unreadable_secret(&path, &error));
            ("token_file", text.and_then(|text| as_token(&text)))
        }
    };
    outcome.map(Some).map_err(|problem| section.problem(name, problem))
}

fn as_token(text: &str) -> Result<AccessToken, String> {
    AccessToken::new(text).map_err(|error: TokenError| error.to_string())
}
