//! How the tools reach a cluster: what a command line says of Kafka.
//!
//! Owns options given as `key=value` and places in a topic. Promises that an option which the
//! tools' promises rest on is refused, and that printing hides secrets. Never connects.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::address::KafkaUrl;
use super::settings::{FIXED, KafkaConfig, is_secret};
use crate::core::domain::UnixNanos;

/// A cluster and how it is spoken to.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterConfig {
    /// `host:port` of one or more brokers, separated by commas.
    pub brokers: String,
    /// Options of librdkafka as its documentation has them.
    pub options: BTreeMap<String, String>,
}

/// One option of librdkafka, `key=value`.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaOption {
    key: String,
    value: String,
}

/// Why a text is no option.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KafkaOptionError {
    /// No key.
    #[error("expected key=value, such as security.protocol=SSL")]
    Form,
    /// Not the user's.
    #[error("`{0}` is set by tickcast, whose promises rest on it")]
    Fixed(String),
}

/// A place in a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicPlace {
    /// Before the first record that there is.
    Beginning,
    /// Behind the last record that there is now.
    End,
    /// Before the first record of this time or later, by the record's own timestamp.
    Time(UnixNanos),
}

/// Why a text is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected beginning, end or a time such as 2026-03-01T14:30:00Z")]
pub struct TopicPlaceError;

impl ClusterConfig {
    /// The cluster of an address, with options of which the later ones win.
    pub fn new(url: &KafkaUrl, options: &[KafkaOption]) -> Self {
        let options = options.iter().map(|option| (option.key.clone(), option.value.clone()));
        Self { brokers: url.brokers().to_owned(), options: options.collect() }
    }

    /// The cluster of a configuration.
    pub fn of(config: &KafkaConfig) -> Self {
        Self { brokers: config.brokers.clone(), options: config.options.clone() }
    }
}

impl fmt::Debug for ClusterConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The values may be secrets and nobody needs them here.
        formatter
            .debug_struct("ClusterConfig")
            .field("brokers", &self.brokers)
            .field("options", &self.options.keys())
            .finish()
    }
}

impl FromStr for KafkaOption {
    type Err = KafkaOptionError;

    fn from_str(text: &str) -> Result<Self, KafkaOptionError> {
        let (key, value) = text.split_once('=').ok_or(KafkaOptionError::Form)?;
        let key = key.trim();
        if key.is_empty() {
            return Err(KafkaOptionError::Form);
        }
        if FIXED.contains(&key) {
            return Err(KafkaOptionError::Fixed(key.to_owned()));
        }
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }
}

impl fmt::Debug for KafkaOption {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = if is_secret(&self.key) { "***" } else { &self.value };
        write!(formatter, "{}={value}", self.key)
    }
}

impl FromStr for TopicPlace {
    type Err = TopicPlaceError;

    fn from_str(text: &str) -> Result<Self, TopicPlaceError> {
        match text {
            "beginning" => Ok(Self::Beginning),
            "end" => Ok(Self::End),
            text => UnixNanos::parse(text).map(Self::Time).map_err(|_| TopicPlaceError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_taken_but_for_those_that_promises_rest_on() {
        let options: Vec<KafkaOption> =
            ["a=1", "sasl.password=x=y", " a = 2"].map(|text| text.parse().unwrap()).into();
        let url: KafkaUrl = "kafka://h:9092/t".parse().unwrap();
        let cluster = ClusterConfig::new(&url, &options);
        let expected = [("a", " 2"), ("sasl.password", "x=y")];
        assert_eq!(cluster.options, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        assert!(!format!("{cluster:?} {options:?}").contains("x=y"));
        assert_eq!("acks=1".parse::<KafkaOption>(), Err(KafkaOptionError::Fixed("acks".into())));
        for text in ["", "=1", "key"] {
            assert_eq!(text.parse::<KafkaOption>(), Err(KafkaOptionError::Form), "{text}");
        }
    }

    #[test]
    fn places_are_words_or_times() {
        assert_eq!("beginning".parse(), Ok(TopicPlace::Beginning));
        assert_eq!("end".parse(), Ok(TopicPlace::End));
        let time = UnixNanos::parse("2013-03-01").unwrap();
        assert_eq!("2013-03-01T00:00:00Z".parse(), Ok(TopicPlace::Time(time)));
        for text in ["", "now", "yesterday", "5"] {
            assert_eq!(text.parse::<TopicPlace>(), Err(TopicPlaceError), "{text}");
        }
    }
}
