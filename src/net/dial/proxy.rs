//! Proxies: which one a connection goes through, and the tunnel through it.
//!
//! Owns the reading of `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`. Promises that a
//! loopback address is never sent through a proxy, that what a proxy answers is bounded, and that
//! its user and password are shown nowhere. Never looks at the environment itself.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

use data_encoding::BASE64;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::words;
use crate::net::address::Endpoint;
use crate::net::percent::percent_decoded;

/// The largest answer to `CONNECT` that is read.
const ANSWER_BYTES_MAX: usize = 8 << 10;

/// The proxies that are set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For addresses with TLS.
    encrypted: Option<Proxy>,
    /// For the others.
    plain: Option<Proxy>,
    exceptions: Vec<Exception>,
}

/// One proxy that takes `CONNECT`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    host: String,
    port: u16,
    /// `user:password`.
    user: Option<String>,
}

/// An address that needs no proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Exception {
    Everything,
    /// A host and those below it.
    Domain {
        name: String,
        port: Option<u16>,
    },
    /// Addresses that share so many first bits.
    Network {
        address: IpAddr,
        prefix_bits: u8,
    },
}

/// Why a variable names no proxy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{variable}: must be http://host:port, with or without a user; other proxies are not spoken"
)]
pub struct ProxyError {
    /// Which variable.
    pub variable: &'static str,
}

impl Proxies {
    /// Reads the variables that other programs read, in either case; the lower one counts first.
    ///
    /// # Errors
    /// Each variable that names no proxy of ours.
    pub fn from_variables(variables: &HashMap<String, String>) -> Result<Self, Vec<ProxyError>> {
        let value = |name: &str| {
            let found = variables.get(&name.to_lowercase()).or_else(|| variables.get(name));
            found.map(|value| value.trim()).filter(|value| !value.is_empty())
        };
        let mut errors = Vec::new();
        let mut proxy = |variable: &'static str| {
            let text = value(variable)?;
            let proxy = Proxy::parse(text);
            if proxy.is_none() {
                errors.push(ProxyError { variable });
            }
            proxy
        };
        let all = proxy("ALL_PROXY");
        let encrypted = proxy("HTTPS_PROXY").or_else(|| all.clone());
        let plain = proxy("HTTP_PROXY").or(all);
        if !errors.is_empty() {
            return Err(errors);
        }
        let exceptions = value("NO_PROXY").unwrap_or_default();
        let exceptions =
            exceptions.split([',', ' ']).map(str::trim).filter_map(Exception::parse).collect();
        Ok(Self { encrypted, plain, exceptions })
    }

    /// The proxy that an address is reached through, if any.
    pub(super) fn for_endpoint(&self, endpoint: &Endpoint<'_>) -> Option<&Proxy> {
        let proxy = if endpoint.encrypted { &self.encrypted } else { &self.plain };
        let direct = is_loopback(endpoint.host)
            || self.exceptions.iter().any(|exception| exception.covers(endpoint));
        proxy.as_ref().filter(|_| !direct)
    }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl Exception {
    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return None;
        }
        if text == "*" {
            return Some(Self::Everything);
        }
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let bare = address.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            let bits = if address.is_ipv4() { 32 } else { 128 };
            let prefix_bits = prefix.map_or(Some(bits), |prefix| prefix.parse().ok())?;
            return (prefix_bits <= bits).then_some(Self::Network { address, prefix_bits });
        }
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => (name, Some(port.parse().ok()?)),
            None => (text, None),
        };
        let name = name.trim_start_matches("*.").trim_start_matches('.').to_lowercase();
        Some(Self::Domain { name, port })
    }

    fn covers(&self, endpoint: &Endpoint<'_>) -> bool {
        match self {
            Self::Everything => true,
            Self::Domain { name, port } => {
                let host = endpoint.host.to_lowercase();
                let below = host.strip_suffix(name.as_str());
                let matches = below.is_some_and(|below| below.is_empty() || below.ends_with('.'));
                matches && port.is_none_or(|port| port == endpoint.port)
            }
            Self::Network { address, prefix_bits } => {
                let Ok(host) = endpoint.host.parse::<IpAddr>() else { return false };
                match (host, address) {
                    (IpAddr::V4(host), IpAddr::V4(address)) => {
                        let differ = host.to_bits() ^ address.to_bits();
                        differ.leading_zeros() >= u32::from(*prefix_bits)
                    }
                    (IpAddr::V6(host), IpAddr::V6(address)) => {
                        let differ = host.to_bits() ^ address.to_bits();
                        differ.leading_zeros() >= u32::from(*prefix_bits)
                    }
                    _ => false,
                }
            }
        }
    }
}

impl Proxy {
    fn parse(text: &str) -> Option<Self> {
        let rest = match text.split_once("://") {
            Some((scheme, rest)) => scheme.eq_ignore_ascii_case("http").then_some(rest)?,
            None => text,
        };
        let authority = rest.split('/').next()?;
        let (user, address) = match authority.rsplit_once('@') {
            // A user and a password may hold anything as `%XX`.
            Some((user, address)) => (Some(percent_decoded(user)?.into_owned()), address),
            None => (None, authority),
        };
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (address, 80),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let plain = !host.is_empty() && host.chars().all(|c| c.is_ascii_graphic());
        plain.then(|| Self { host: host.to_owned(), port, user })
    }

    pub(super) fn address(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// Asks the proxy for a tunnel to an address; an error says what it does instead.
    pub(super) async fn tunnel(
        &self,
        mut stream: TcpStream,
        endpoint: &Endpoint<'_>,
    ) -> Result<TcpStream, String> {
        let address = endpoint.authority();
        let user = self.user.as_deref().map(basic);
        let user = user.map_or_else(String::new, |user| format!("Proxy-Authorization: {user}\r\n"));
        let request = format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n{user}\r\n");
        let io = |error: std::io::Error| format!("broke off: {error}");
        stream.write_all(request.as_bytes()).await.map_err(io)?;
        let head = read_head(&mut stream).await?;
        let status = head.split_ascii_whitespace().nth(1).unwrap_or_default();
        let line = words(head.lines().next().unwrap_or_default());
        match (head.starts_with("HTTP/1."), status.as_bytes()) {
            // Every 2xx switches to the tunnel (RFC 9110 section 9.3.6).
            (true, [b'2', b'0'..=b'9', b'0'..=b'9']) => Ok(stream),
            (true, b"407") => Err(format!("wants another user or password: {line}")),
            (true, _) => Err(format!("refuses: {line}")),
            (false, _) => Err(format!("does not speak HTTP: {line}")),
        }
    }
}

/// Reads to the empty line, byte by byte: what follows it belongs to the peer behind the proxy.
async fn read_head(stream: &mut TcpStream) -> Result<String, String> {
    let mut head = Vec::with_capacity(256);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == ANSWER_BYTES_MAX {
            return Err("answers without an end".to_owned());
        }
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(error) => return Err(format!("broke off: {error}")),
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// `user:password` as a header has it.
pub fn basic(user: &str) -> String {
    format!("Basic {}", BASE64.encode(user.as_bytes()))
}

impl fmt::Debug for Proxy {
    /// Without the user.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "http://{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::address::WebSocketUrl;

    fn proxies(pairs: &[(&str, &str)]) -> Result<Proxies, Vec<ProxyError>> {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Proxies::from_variables(&pairs.collect())
    }

    fn via(proxies: &Proxies, url: &str) -> Option<String> {
        let url: WebSocketUrl = url.parse().unwrap();
        proxies.for_endpoint(&url.endpoint()).map(|proxy| format!("{proxy:?}"))
    }

    #[test]
    fn each_scheme_has_its_proxy_and_all_proxy_stands_in() {
        let set = proxies(&[
            ("HTTPS_PROXY", "http://user:p%40ss@p1:3128/"),
            ("https_proxy", "p2:8080"),
            ("ALL_PROXY", "http://[::1]:9"),
        ])
        .unwrap();
        assert_eq!(via(&set, "wss://venue.example/x").as_deref(), Some("http://p2:8080"));
        assert_eq!(via(&set, "ws://venue.example").as_deref(), Some("http://::1:9"));
        assert_eq!(via(&Proxies::default(), "wss://venue.example"), None);
    }

    #[test]
    fn loopback_and_exceptions_are_reached_directly() {
        let set = proxies(&[
            ("ALL_PROXY", "p:1"),
            ("NO_PROXY", "internal.example, .corp:444,10.0.0.0/8,fd00::/8,192.0.2.7"),
        ])
        .unwrap();
        for (url, direct) in [
            ("wss://localhost:1", true),
            ("wss://127.0.0.9", true),
            ("wss://[::1]", true),
            ("wss://internal.example", true),
            ("wss://A.Internal.Example", true),
            ("wss://notinternal.example", false),
            ("wss://a.corp:444", true),
            ("wss://a.corp", false),
            ("wss://10.9.8.7", true),
            ("wss://11.9.8.7", false),
            ("wss://[fd12::1]", true),
            ("wss://[fe12::1]", false),
            ("wss://192.0.2.7", true),
            ("wss://192.0.2.8", false),
        ] {
            assert_eq!(via(&set, url).is_none(), direct, "{url}");
        }
        let set = proxies(&[("ALL_PROXY", "p:1"), ("no_proxy", "*")]).unwrap();
        assert_eq!(via(&set, "wss://venue.example"), None);
    }

    #[test]
    fn what_is_no_proxy_of_ours_is_named_without_its_value() {
        let errors = proxies(&[
            ("HTTPS_PROXY", "socks5://user:hunter2@h:1"),
            ("HTTP_PROXY", "http://h:port"),
            ("ALL_PROXY", "  "),
        ])
        .unwrap_err();
        let told: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert!(told[0].starts_with("HTTPS_PROXY: ") && told[1].starts_with("HTTP_PROXY: "));
        assert!(!told.concat().contains("hunter2"));
    }

    #[test]
    fn a_proxy_shows_no_user_and_sends_it_decoded() {
        let proxy = Proxy::parse("http://user:p%40s%3As@h:3128").unwrap();
        assert_eq!(format!("{proxy:?}"), "http://h:3128");
        assert_eq!(basic(proxy.user.as_deref().unwrap()), "Basic dXNlcjpwQHM6cw==");
        for url in ["http://us%er@h:1", "http://user:%+1@h:1", "http://user:%ff@h:1"] {
            assert_eq!(Proxy::parse(url), None, "{url}");
        }
    }
}
