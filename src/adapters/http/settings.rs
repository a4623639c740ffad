//! The section `[http]`: where probes, metrics and the stream are, and who may use them.
//!
//! Owns its keys and the rule that nothing unguarded is bound beyond loopback. Promises that a
//! token leaves here as its digest alone.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::access::{Access, AccessToken, TokenError};
use super::host::AllowedHosts;
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
        allowed_origins: section.texts("allowed_origins"),
        allowed_hosts,
    };
    section.finish();
    HttpConfig { bind, access }
}

/// The token, by value or by file; `Err` where there was to be one and is none, which is reported.
fn token(section: &mut Section<'_>) -> Result<Option<AccessToken>, ()> {
    let value = section.optional_text("token");
    let path = section.optional_text("token_file").map(PathBuf::from);
    let (name, outcome) = match (value, path) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => ("token", Err("is given as well as token_file".to_owned())),
        (Some(value), None) => ("token", as_token(&value)),
        (None, Some(path)) => {
            let text = std::fs::read_to_string(&path)
                .map_err(|error| format!("cannot read {}: {error}", path.display()));
            ("token_file", text.and_then(|text| as_token(text.trim_end_matches(['\r', '\n']))))
        }
    };
    outcome.map(Some).map_err(|problem| section.problem(name, problem))
}

fn as_token(text: &str) -> Result<AccessToken, String> {
    AccessToken::new(text).map_err(|error: TokenError| error.to_string())
}
