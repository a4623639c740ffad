//! The addresses of a feed and of a question over HTTP, which may carry secrets.
//!
//! Owns what an address is. Promises that printing one shows the host and port alone: user, path
//! and query often hold keys. Never connects.

use std::fmt;
use std::str::FromStr;

/// `ws://host[:port][/path][?query]`, with or without a user; `wss://` with TLS.
#[derive(Clone, PartialEq, Eq)]
pub struct WebSocketUrl(String);

/// `http://host[:port][/path][?query]`, with or without a user; `https://` with TLS.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpUrl(String);

/// Where an address leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint<'a> {
    /// Whether the connection is wrapped in TLS.
    pub encrypted: bool,
    /// A name or an IP address, that of version 6 without its brackets.
    pub host: &'a str,
    /// The port, by default that of the scheme.
    pub port: u16,
    /// `user:password`, where the address has one.
    pub user: Option<&'a str>,
}

/// Why a text is no address of a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be ws://host:port/path or wss://host:port/path")]
pub struct WebSocketUrlError;

/// Why a text is no address of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be http://host:port/path or https://host:port/path, without `#`")]
pub struct HttpUrlError;

/// The schemes of each kind of address: without TLS, and with it.
const WEB_SOCKET: [&str; 2] = ["ws://", "wss://"];
const HTTP: [&str; 2] = ["http://", "https://"];

impl WebSocketUrl {
    /// An address that nothing answers on, in place of one that is wrong, so that the other
    /// problems of a configuration are found as well.
    pub fn nowhere() -> Self {
        Self("ws://127.0.0.1:0".to_owned())
    }

    /// The whole address, for connecting alone.
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// Where it leads to.
    pub fn endpoint(&self) -> Endpoint<'_> {
        endpoint(&self.0, WEB_SOCKET).expect("it was an address when it was made")
    }

    /// What tells the feed from others: host, port and path, without user and query. The path may
    /// be a secret: this is for a digest.
    pub fn place(&self) -> &str {
        let rest = self.0.split_once("://").map_or(&*self.0, |(_, rest)| rest);
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let authority = rest.split('/').next().unwrap_or_default();
        let user = authority.rfind('@').map_or(0, |at| at + 1);
        &rest[user..]
    }
}

impl HttpUrl {
    /// Where it leads to.
    pub fn endpoint(&self) -> Endpoint<'_> {
        endpoint(&self.0, HTTP).expect("it was an address when it was made")
    }

    /// What is asked for there: path and query. For the request alone: it may hold secrets.
    pub fn target(&self) -> String {
        let rest = self.0.split_once("://").map_or(&*self.0, |(_, rest)| rest);
        match rest.find(['/', '?']) {
            Some(at) if rest[at..].starts_with('/') => rest[at..].to_owned(),
            Some(at) => format!("/{}", &rest[at..]),
            None => "/".to_owned(),
        }
    }
}

impl Endpoint<'_> {
    /// `host:port`, as a request has it.
    pub fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

fn endpoint<'t>(text: &'t str, [plain, encrypted]: [&str; 2]) -> Option<Endpoint<'t>> {
    let (encrypted, rest) = match text.strip_prefix(plain) {
        Some(rest) => (false, rest),
        None => (true, text.strip_prefix(encrypted)?),
    };
    let authority = rest.split(['/', '?', '#']).next()?;
    let (user, address) = match authority.rsplit_once('@') {
        Some((user, address)) => (Some(user), address),
        None => (None, authority),
    };
    // A colon inside brackets belongs to an address of version 6.
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (address, if encrypted { 443 } else { 80 }),
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = bare.unwrap_or(host);
    (!host.is_empty()).then_some(Endpoint { encrypted, host, port, user })
}

impl FromStr for WebSocketUrl {
    type Err = WebSocketUrlError;

    fn from_str(text: &str) -> Result<Self, WebSocketUrlError> {
        let plain = text.chars().all(|c| c.is_ascii_graphic());
        let endpoint = endpoint(text, WEB_SOCKET).filter(|_| plain);
        endpoint.map(|_| Self(text.to_owned())).ok_or(WebSocketUrlError)
    }
}

impl FromStr for HttpUrl {
    type Err = HttpUrlError;

    fn from_str(text: &str) -> Result<Self, HttpUrlError> {
        let plain = text.chars().all(|c| c.is_ascii_graphic() && c != '#');
        let endpoint = endpoint(text, HTTP).filter(|_| plain);
        endpoint.map(|_| Self(text.to_owned())).ok_or(HttpUrlError)
    }
}

/// An address as it was written, without what may be secret.
fn shown(text: &str, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    write!(formatter, "{scheme}://{host}")
}

impl fmt::Display for WebSocketUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        shown(&self.0, formatter)
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        shown(&self.0, formatter)
    }
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Debug for WebSocketUrl {
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
        let url: WebSocketUrl = text.parse().unwrap();
        assert_eq!(url.to_string(), "ws://127.0.0.1:9631");
        assert_eq!(format!("{url:?}"), "ws://127.0.0.1:9631");
        assert_eq!(url.secret(), text);
    }

    #[test]
    fn a_question_shows_its_host_alone_and_asks_for_path_and_query() {
        let text = "https://user:hunter2@h:9/v1/s3cret?key=s3cret";
        let url: HttpUrl = text.parse().unwrap();
        assert_eq!(format!("{url} {url:?}"), "https://h:9 https://h:9");
        assert_eq!(url.target(), "/v1/s3cret?key=s3cret");
        assert_eq!((url.endpoint().port, url.endpoint().user), (9, Some("user:hunter2")));
        for (text, port, target) in
            [("http://h", 80, "/"), ("https://h", 443, "/"), ("http://h?a=/b", 80, "/?a=/b")]
        {
            let url: HttpUrl = text.parse().unwrap();
            assert_eq!((url.endpoint().port, &*url.target()), (port, target), "{text}");
        }
        for text in ["", "ws://h", "http://", "https:///x", "http://h/a b", "http://h/#a"] {
            assert_eq!(text.parse::<HttpUrl>(), Err(HttpUrlError), "{text}");
        }
    }

    #[test]
    fn takes_addresses_and_refuses_the_rest() {
        for text in ["ws://localhost", "wss://[::1]:2/x", "ws://[::1]", "ws://h:65535?a=b"] {
            assert!(text.parse::<WebSocketUrl>().is_ok(), "{text}");
        }
        for text in ["", "http://h", "ws://", "ws://:1", "ws://h:x", "ws://h:70000", "ws://a b"] {
            assert_eq!(text.parse::<WebSocketUrl>(), Err(WebSocketUrlError), "{text}");
        }
    }

    #[test]
    fn an_address_leads_somewhere() {
        for (text, encrypted, host, port, user, authority) in [
            ("ws://h", false, "h", 80, None, "h:80"),
            ("wss://h/x@y", true, "h", 443, None, "h:443"),
            ("wss://u:p@h:1?a@b", true, "h", 1, Some("u:p"), "h:1"),
            ("wss://[::1]", true, "::1", 443, None, "[::1]:443"),
            ("ws://[::1]:2", false, "::1", 2, None, "[::1]:2"),
        ] {
            let url: WebSocketUrl = text.parse().unwrap();
            let endpoint = Endpoint { encrypted, host, port, user };
            assert_eq!(url.endpoint(), endpoint, "{text}");
            assert_eq!(endpoint.authority(), authority);
        }
    }
}
