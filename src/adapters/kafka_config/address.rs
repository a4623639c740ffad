//! The address of a topic, `kafka://host:port/topic`.
//!
//! Owns what an address and a topic's name are. Nothing in one is secret: users and passwords are
//! options. Never connects.

use std::fmt;
use std::str::FromStr;

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
pub fn is_topic_name(name: &str) -> bool {
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
