//! The address of a feed, which may carry secrets.
//!
//! Owns what an address is. Promises that printing it shows the host and port alone: user, path and
//! query often hold keys. Never connects.

use std::fmt;
use std::str::FromStr;

/// `ws://host[:port][/path][?query]`, with or without a user.
#[derive(Clone, PartialEq, Eq)]
pub struct FeedUrl(String);

/// Why a text is no address of a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeedUrlError {
    /// Encrypted feeds are not spoken yet.
    #[error("wss:// is not spoken yet, only ws://")]
    Encrypted,
    /// Something else.
    #[error("must be ws://host:port/path")]
    Form,
}

impl FeedUrl {
    /// The whole address, for connecting alone.
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// `host[:port]`.
    fn host(&self) -> &str {
        host(&self.0).unwrap_or_default()
    }
}

/// What stands between scheme and user on one side and path on the other.
fn host(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("ws://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    Some(authority.rsplit_once('@').map_or(authority, |(_, host)| host))
}

impl FromStr for FeedUrl {
    type Err = FeedUrlError;

    fn from_str(text: &str) -> Result<Self, FeedUrlError> {
        if text.starts_with("wss://") {
            return Err(FeedUrlError::Encrypted);
        }
        let host = host(text).ok_or(FeedUrlError::Form)?;
        // A colon inside brackets belongs to an address of version 6.
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, port.parse::<u16>().ok()),
            _ => (host, Some(80)),
        };
        let plain = text.chars().all(|c| c.is_ascii_graphic());
        if plain && !name.is_empty() && port.is_some() {
            Ok(Self(text.to_owned()))
        } else {
            Err(FeedUrlError::Form)
        }
    }
}

impl fmt::Display for FeedUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ws://{}", self.host())
    }
}

impl fmt::Debug for FeedUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printing_shows_neither_user_nor_path_nor_query() {
        let text = "ws://user:hunter2@127.0.0.1:9631/stream/s3cret?key=s3cret";
        let url: FeedUrl = text.parse().unwrap();
        assert_eq!(url.to_string(), "ws://127.0.0.1:9631");
        assert_eq!(format!("{url:?}"), "ws://127.0.0.1:9631");
        assert_eq!(url.secret(), text);
    }

    #[test]
    fn takes_addresses_and_refuses_the_rest() {
        for text in ["ws://localhost", "ws://[::1]:2/x", "ws://[::1]", "ws://h:65535?a=b"] {
            assert!(text.parse::<FeedUrl>().is_ok(), "{text}");
        }
        for text in ["", "http://h", "ws://", "ws://:1", "ws://h:x", "ws://h:70000", "ws://a b"] {
            assert_eq!(text.parse::<FeedUrl>(), Err(FeedUrlError::Form), "{text}");
        }
        assert_eq!("wss://h".parse::<FeedUrl>(), Err(FeedUrlError::Encrypted));
    }
}
