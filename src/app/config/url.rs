//! Addresses: of a feed, which may carry secrets, and of a topic, which may not.
//!
//! Owns what an address is. Promises that printing a feed's shows the host and port alone: user,
//! path and query often hold keys. Never connects.

use std::fmt;
use std::str::FromStr;

/// `ws://host[:port][/path][?query]`, with or without a user; `wss://` with TLS.
#[derive(Clone, PartialEq, Eq)]
pub struct FeedUrl(String);

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
pub struct FeedUrlError;

impl FeedUrl {
    /// The whole address, for connecting alone.
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// Where it leads to.
    pub fn endpoint(&self) -> Endpoint<'_> {
        endpoint(&self.0).expect("it was an address when it was made")
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

impl Endpoint<'_> {
    /// `host:port`, as a request has it.
    pub fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

fn endpoint(text: &str) -> Option<Endpoint<'_>> {
    let (encrypted, rest) = match text.strip_prefix("ws://") {
        Some(rest) => (false, rest),
        None => (true, text.strip_prefix("wss://")?),
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

impl FromStr for FeedUrl {
    type Err = FeedUrlError;

    fn from_str(text: &str) -> Result<Self, FeedUrlError> {
        let plain = text.chars().all(|c| c.is_ascii_graphic());
        endpoint(text).filter(|_| plain).map(|_| Self(text.to_owned())).ok_or(FeedUrlError)
    }
}

impl fmt::Display for FeedUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As it was written, without what may be secret.
        let (scheme, rest) = self.0.split_once("://").unwrap_or_default();
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        write!(formatter, "{scheme}://{host}")
    }
}

impl fmt::Debug for FeedUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// `kafka://host:port[,host:port ...]/topic`. Nothing in it is secret: users and passwords are
/// options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaUrl {
    brokers: String,
    topic: String,
}

/// Why a text is no address of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KafkaUrlError {
    /// Not of the form.
    #[error("expected kafka://host:port/topic, several brokers separated by commas")]
    Form,
    /// A broker that is not `host:port`.
    #[error("each broker of kafka://host:port,host:port/topic has a host and a port")]
    Broker,
    /// A name that Kafka does not take.
    #[error("a topic's name has 1 to 249 letters, digits, `.`, `_` or `-`, and is not `.` or `..`")]
    Topic,
}

impl KafkaUrl {
    /// How every one begins.
    pub const SCHEME: &'static str = "kafka://";

    /// `host:port`, separated by commas.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// The topic's name.
    pub fn topic(&self) -> &str {
        &self.topic
    }
}

/// Whether Kafka takes this as the name of a topic.
pub(super) fn is_topic_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (1..=249).contains(&name.len()) && name.chars().all(plain) && name != "." && name != ".."
}

fn is_broker(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    // An address of version 6 stands in brackets; a user has no place here.
    let plain = |c: char| c.is_ascii_graphic() && !"@/,?#[]".contains(c);
    let host_is_fine = match bare {
        Some(bare) => !bare.is_empty() && bare.chars().all(plain),
        None => !host.is_empty() && host.chars().all(|c| plain(c) && c != ':'),
    };
    host_is_fine && port.parse::<u16>().is_ok_and(|port| port != 0)
}

impl FromStr for KafkaUrl {
    type Err = KafkaUrlError;

    fn from_str(text: &str) -> Result<Self, KafkaUrlError> {
        let rest = text.strip_prefix(Self::SCHEME).ok_or(KafkaUrlError::Form)?;
        let (brokers, topic) = rest.split_once('/').ok_or(KafkaUrlError::Form)?;
        if !brokers.split(',').all(is_broker) {
            return Err(KafkaUrlError::Broker);
        }
        if !is_topic_name(topic) {
            return Err(KafkaUrlError::Topic);
        }
        Ok(Self { brokers: brokers.to_owned(), topic: topic.to_owned() })
    }
}

impl fmt::Display for KafkaUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}/{}", Self::SCHEME, self.brokers, self.topic)
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
        for text in ["ws://localhost", "wss://[::1]:2/x", "ws://[::1]", "ws://h:65535?a=b"] {
            assert!(text.parse::<FeedUrl>().is_ok(), "{text}");
        }
        for text in ["", "http://h", "ws://", "ws://:1", "ws://h:x", "ws://h:70000", "ws://a b"] {
            assert_eq!(text.parse::<FeedUrl>(), Err(FeedUrlError), "{text}");
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
            let url: FeedUrl = text.parse().unwrap();
            let endpoint = Endpoint { encrypted, host, port, user };
            assert_eq!(url.endpoint(), endpoint, "{text}");
            assert_eq!(endpoint.authority(), authority);
        }
    }

    #[test]
    fn takes_brokers_and_a_topic_and_refuses_the_rest() {
        for (text, brokers, topic) in [
            ("kafka://127.0.0.1:9092/ticks", "127.0.0.1:9092", "ticks"),
            ("kafka://a:1,b.example:2,[::1]:3/a.b_c-D9", "a:1,b.example:2,[::1]:3", "a.b_c-D9"),
        ] {
            let url: KafkaUrl = text.parse().unwrap();
            assert_eq!((url.brokers(), url.topic(), &*url.to_string()), (brokers, topic, text));
        }
        let long = format!("kafka://h:1/{}", "x".repeat(250));
        for (text, error) in [
            ("", KafkaUrlError::Form),
            ("ws://h:1/t", KafkaUrlError::Form),
            ("kafka://h:1", KafkaUrlError::Form),
            ("kafka:///t", KafkaUrlError::Broker),
            ("kafka://h/t", KafkaUrlError::Broker),
            ("kafka://h:0/t", KafkaUrlError::Broker),
            ("kafka://h:99999/t", KafkaUrlError::Broker),
            ("kafka://h:1,/t", KafkaUrlError::Broker),
            ("kafka://user:pass@h:1/t", KafkaUrlError::Broker),
            ("kafka://::1:9092/t", KafkaUrlError::Broker),
            ("kafka://h:1/", KafkaUrlError::Topic),
            ("kafka://h:1/a/b", KafkaUrlError::Topic),
            ("kafka://h:1/a?b=c", KafkaUrlError::Topic),
            ("kafka://h:1/..", KafkaUrlError::Topic),
            (&long, KafkaUrlError::Topic),
        ] {
            assert_eq!(text.parse::<KafkaUrl>(), Err(error), "{text}");
        }
    }
}
