//! Who may ask for more than a probe.
//!
//! Owns the bearer token and what it guards. Promises that the token itself is kept nowhere, that
//! comparing takes the same time whatever was sent, and that nothing but probes is answered without
//! it where there is one. Never decides about web origins: `origin` does.

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use sha2::{Digest, Sha256};

use super::host::AllowedHosts;

/// The shortest token: 16 characters of a password generator are beyond guessing.
const TOKEN_CHARS_MIN: usize = 16;

/// The longest token, well inside what a request's head may hold.
const TOKEN_CHARS_MAX: usize = 1024;

/// Who may ask for what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// What everybody who asks for more than a probe must show.
    pub token: Option<AccessToken>,
    /// Whether `/metrics` and `/version` are answered without it.
    pub open_metrics: bool,
    /// Web origins, beside the server's own, whose pages may open the stream and read answers.
    pub allowed_origins: Vec<String>,
    /// Hosts that requests may name, beside those that are ours by themselves.
    pub allowed_hosts: AllowedHosts,
}

/// A token, as its digest.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken([u8; 32]);

/// Why a text is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a token has {TOKEN_CHARS_MIN} to {TOKEN_CHARS_MAX} visible ASCII characters and no space; \
     `openssl rand -hex 32` makes one"
)]
pub struct TokenError;

impl Access {
    /// Whether a request for `path` may be answered.
    pub(super) fn allows(&self, path: &str, headers: &HeaderMap) -> bool {
        match (path, &self.token) {
            // A probe has no secrets to tell and none to send.
            ("/livez" | "/readyz", _) | (_, None) => true,
            ("/metrics" | "/version", Some(_)) if self.open_metrics => true,
            (_, Some(token)) => token.is_carried(headers),
        }
    }
}

impl AccessToken {
    /// Takes a token in.
    ///
    /// # Errors
    /// [`TokenError`] for what is short, or cannot stand in a header.
    pub fn new(text: &str) -> Result<Self, TokenError> {
        let fits = (TOKEN_CHARS_MIN..=TOKEN_CHARS_MAX).contains(&text.len());
        if fits && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(digest(text)))
        } else {
            Err(TokenError)
        }
    }

    /// Whether a request carries this token. Digests are compared, so the time says nothing about
    /// the token.
    pub(super) fn is_carried(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (value, more) = (values.next(), values.next());
        let sent = value.filter(|_| more.is_none()).and_then(|value| value.to_str().ok());
        let Some((scheme, token)) = sent.and_then(|sent| sent.split_once(' ')) else {
            return false;
        };
        scheme.eq_ignore_ascii_case("bearer") && digest(token.trim_start_matches(' ')) == self.0
    }
}

impl std::fmt::Debug for AccessToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("AccessToken")
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    #[test]
    fn only_the_whole_token_is_the_token() {
        let token = AccessToken::new(TOKEN).unwrap();
        let carried = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            }
            token.is_carried(&headers)
        };
        let good = format!("Bearer {TOKEN}");
        assert!(carried(&[&good]));
        assert!(carried(&[&format!("bearer  {TOKEN}")]));
        for bad in ["", "Bearer", "Bearer ", "Bearer 0123456789abcde", TOKEN] {
            assert!(!carried(&[bad]), "{bad}");
        }
        assert!(!carried(&[&format!("Basic {TOKEN}")]));
        assert!(!carried(&[&format!("{good}0")]));
        assert!(!carried(&[&good, &good]), "two headers are a trick");
        assert!(!carried(&[]));
    }

    #[test]
    fn a_token_is_long_and_visible_and_never_shown() {
        for bad in ["", "0123456789abcde", "0123456789 abcdef", "0123456789abcdefé"] {
            assert_eq!(AccessToken::new(bad), Err(TokenError), "{bad}");
        }
        let shown = format!("{:?}", AccessToken::new(TOKEN));
        assert!(!shown.contains('0') && !shown.contains("48"), "{shown}");
    }
}
