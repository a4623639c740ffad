//! Where forecasts come from: a daemon's stream, or a topic.
//!
//! Owns the address that is connected to. Promises that a stream's is a WebSocket URL with the
//! wanted symbols in it. Never connects.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use tokio_tungstenite::tungstenite::http::Uri;

use crate::adapters::kafka_config::{ClusterConfig, KafkaUrl, KafkaUrlError, TopicPlace};
use crate::net::address::WebSocketUrl;
use crate::net::percent::percent_encoded;

/// The path of the stream, where a URL has none.
const PATH_DEFAULT: &str = "/v1/stream";

/// An address, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A daemon's stream, by its URL.
    Stream(WebSocketUrl),
    /// A topic of forecasts.
    Topic(Box<TopicTarget>),
}

/// A topic, and what is wanted of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicTarget {
    /// Which topic.
    pub url: KafkaUrl,
    /// How its cluster is reached.
    pub cluster: ClusterConfig,
    /// Where reading begins.
    pub from: TopicPlace,
    /// Only these symbols; all where there are none.
    pub symbols: BTreeSet<String>,
}

/// Why a text is not a stream's URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// No URL at all.
    #[error("expected a URL such as ws://127.0.0.1:9630/v1/stream or kafka://127.0.0.1:9092/topic")]
    Form,
    /// A topic's address that is none.
    #[error(transparent)]
    Topic(#[from] KafkaUrlError),
}

impl Target {
    /// The same for these symbols alone; for all where there are none.
    #[must_use]
    pub fn with_symbols(mut self, symbols: &[String]) -> Self {
        match &mut self {
            Self::Stream(_) if symbols.is_empty() => {}
            Self::Stream(url) => {
                let mut text = url.secret().to_owned();
                let mut separator = if text.contains('?') { '&' } else { '?' };
                // A comma in a symbol would make two of it in the list.
                let (with_comma, plain): (Vec<_>, Vec<_>) =
                    symbols.iter().partition(|symbol| symbol.contains(','));
                let encoded = |symbol: &String| percent_encoded(symbol);
                let list = plain.into_iter().map(encoded).collect::<Vec<_>>().join(",");
                let lists = (!list.is_empty()).then(|| format!("symbols={list}"));
                let single = with_comma.into_iter().map(|one| format!("symbol={}", encoded(one)));
                for parameter in lists.into_iter().chain(single) {
                    text.push(separator);
                    text.push_str(&parameter);
                    separator = '&';
                }
                *url = text.parse().expect("an address with a query behind it is an address");
            }
            Self::Topic(topic) => topic.symbols = symbols.iter().cloned().collect(),
        }
        self
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        if text.starts_with(KafkaUrl::SCHEME) {
            let url: KafkaUrl = text.parse()?;
            let cluster = ClusterConfig::plain(&url);
            let (from, symbols) = (TopicPlace::End, BTreeSet::new());
            return Ok(Self::Topic(Box::new(TopicTarget { url, cluster, from, symbols })));
        }
        let uri: Uri = text.parse().map_err(|_| TargetError::Form)?;
        let scheme = uri.scheme_str().ok_or(TargetError::Form)?;
        let authority = uri.authority().ok_or(TargetError::Form)?;
        let rest = uri.path_and_query().map_or("/", |rest| rest.as_str());
        let rest = if rest == "/" { PATH_DEFAULT } else { rest };
        let url = format!("{scheme}://{authority}{rest}");
        url.parse().map(Self::Stream).map_err(|_| TargetError::Form)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // What a person has typed into a terminal, symbols and all.
            Self::Stream(url) => formatter.write_str(url.secret()),
            Self::Topic(topic) => topic.url.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_url_and_adds_what_is_missing() {
        let url = |text: &str| text.parse().map(|target: Target| target.to_string());
        let full = "ws://127.0.0.1:9630/v1/stream";
        for text in [full, "ws://127.0.0.1:9630", "ws://127.0.0.1:9630/"] {
            assert_eq!(url(text).as_deref(), Ok(full));
        }
        assert_eq!(url("ws://[::1]:1/x?y=1").as_deref(), Ok("ws://[::1]:1/x?y=1"));
        let topic = "kafka://127.0.0.1:9092/forecasts";
        assert_eq!(url(topic).as_deref(), Ok(topic));
        let wrong = Err(TargetError::Topic(KafkaUrlError::Topic));
        assert_eq!(url("kafka://127.0.0.1:9092/"), wrong);
        let encrypted = "wss://example.com/v1/stream";
        assert_eq!(url("wss://example.com").as_deref(), Ok(encrypted));
        for text in ["", "http://127.0.0.1:9630", "127.0.0.1:9630", "ws://", "stream"] {
            assert_eq!(url(text), Err(TargetError::Form), "{text}");
        }
    }

    #[test]
    fn asks_for_symbols_whatever_is_in_their_names() {
        let topic: Target = "kafka://h:1/t".parse().unwrap();
        let Target::Topic(topic) = topic.with_symbols(&["A".to_owned()]) else { panic!("none") };
        assert_eq!((topic.symbols.len(), topic.from), (1, TopicPlace::End));
        let target: Target = "ws://h:1".parse().unwrap();
        assert_eq!(target.clone().with_symbols(&[]), target);
        let symbols = ["AAPL", "BRK.B", "A&B", "Zürich"].map(str::to_owned);
        assert_eq!(
            target.with_symbols(&symbols).to_string(),
            "ws://h:1/v1/stream?symbols=AAPL,BRK.B,A%26B,Z%C3%BCrich"
        );
        let target: Target = "ws://h:1".parse().unwrap();
        let with_comma = ["A", "B,C", "D", "E,"].map(str::to_owned);
        assert_eq!(
            target.with_symbols(&with_comma).to_string(),
            "ws://h:1/v1/stream?symbols=A,D&symbol=B%2CC&symbol=E%2C"
        );
        let target: Target = "ws://h:1".parse().unwrap();
        let only = target.with_symbols(&with_comma[1..2]).to_string();
        assert_eq!(only, "ws://h:1/v1/stream?symbol=B%2CC");
        let target: Target = "ws://h:1/s?x=1".parse().unwrap();
        assert_eq!(target.with_symbols(&symbols[..1]).to_string(), "ws://h:1/s?x=1&symbols=AAPL");
    }
}
