//! How the tools reach a cluster: what a command line says of Kafka.
//!
//! Owns options given as `key=value` and places in a topic. Promises that an option which the
//! tools' promises rest on is refused, and that printing hides secrets. Never connects.

use std::collections::BTreeMap;
use std::convert::Infallible;
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

/// One option of librdkafka, `key=value`, as it was given. It is judged by [`ClusterConfig::new`]
/// and not while arguments are parsed, because the parser's error repeats the argument.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaOption(String);

/// Why a text is no option.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KafkaOptionError {
    /// No key.
    #[error("expected key=value, such as security.protocol=SSL")]
    Form,
    /// A secret, which everybody on the machine could read.
    #[error(
        "every user of the machine can read a command line, so `{0}` cannot be given here; name a \
         file that holds it: {0}_file=/run/secrets/kafka"
    )]
    Secret(String),
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
    /// The cluster of an address, without options.
    pub fn plain(url: &KafkaUrl) -> Self {
        Self { brokers: url.brokers().to_owned(), options: BTreeMap::new() }
    }

    /// The cluster of an address, with options of which the later ones win.
    ///
    /// # Errors
    /// [`KafkaOptionError`] for the first that cannot be given.
    pub fn new(url: &KafkaUrl, options: &[KafkaOption]) -> Result<Self, KafkaOptionError> {
        let options = options.iter().map(KafkaOption::pair).collect::<Result<_, _>>()?;
        Ok(Self { brokers: url.brokers().to_owned(), options })
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

impl KafkaOption {
    fn pair(&self) -> Result<(String, String), KafkaOptionError> {
        let (key, value) = self.0.split_once('=').ok_or(KafkaOptionError::Form)?;
        let key = key.trim();
        if key.is_empty() {
            return Err(KafkaOptionError::Form);
        }
        if FIXED.contains(&key) {
            return Err(KafkaOptionError::Fixed(key.to_owned()));
        }
        if is_secret(key) {
            return Err(KafkaOptionError::Secret(key.to_owned()));
        }
        Ok((key.to_owned(), value.to_owned()))
    }
}

impl FromStr for KafkaOption {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for KafkaOption {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What was given may be a secret.
        formatter.write_str("KafkaOption")
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
        let url: KafkaUrl = "kafka://h:9092/t".parse().unwrap();
        let cluster = |texts: &[&str]| {
            let options: Vec<KafkaOption> =
                texts.iter().map(|text| text.parse().unwrap()).collect();
            assert!(!format!("{options:?}").contains("x=y"));
            ClusterConfig::new(&url, &options)
        };
        let taken = cluster(&["a=1", "sasl.password_file=x=y", " a = 2"]).unwrap();
        let expected = [("a", " 2"), ("sasl.password_file", "x=y")];
        assert_eq!(taken.options, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        assert!(!format!("{taken:?}").contains("x=y"));
        assert_eq!(cluster(&["acks=1"]), Err(KafkaOptionError::Fixed("acks".into())));
        for text in ["", "=1", "key"] {
            assert_eq!(cluster(&[text]), Err(KafkaOptionError::Form), "{text}");
        }
        for key in ["sasl.password", "ssl.key.password", "sasl.oauthbearer.client.secret"] {
            let refused = cluster(&["a=1", &format!("{key}=hunter2-SECRET")]).unwrap_err();
            assert_eq!(refused, KafkaOptionError::Secret(key.to_owned()));
            let words = refused.to_string();
            assert!(words.contains(&format!("{key}_file=")), "{words}");
            assert!(!words.contains("hunter2"), "{words}");
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
