//! The settings of a live feed: its keys of `[source]`, and the source that they make.
//!
//! Owns the settings type and its rules. Never connects.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::inflate::{Compression, Unpack};
use super::life;
use super::venue_keys;
use super::{FeedHealth, FeedSettings, WebSocketMetrics, WebSocketSource};
use crate::adapters::rest::{RestMetrics, RestOptions, RestSource};
use crate::core::domain::Symbol;
use crate::core::health::ExpectedSymbols;
use crate::core::text::excerpt;
use crate::core::venue::{ConnectionPlan, Venue, shown_message};
use crate::intake::WhenFull;
use crate::net::address::WebSocketUrl;
use crate::net::dial::{DialOptions, Dialer, Header, read_options};
use crate::net::secrets::{self, SecretFiles};
use crate::ops::exit::{Exit, Failure};
use crate::ports::history::HistorySource;
use crate::ports::input::InputIdentity;
use crate::ports::source::{
    Source, SourceFacts, SourceKind, SourceOpening, SourceReader, SourceSettings, refuse_foreign,
};

/// One gibibyte: no message is larger.
const MESSAGE_BYTES_MAX: usize = 1 << 30;

/// The longest message that `tickcast check` shows, in characters.
const SHOWN_CHARACTERS_MAX: usize = 200;

/// The settings of a live feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocketSettings {
    /// What its frames mean, and what it allows.
    pub venue: Arc<Venue>,
    /// Where to connect to, and what to subscribe to there; at least one.
    pub connections: Vec<FeedConnection>,
    /// How it is reached.
    pub dial: DialOptions,
    /// How its connections live.
    pub life: FeedSettings,
    /// How its binary messages are read.
    pub compression: Compression,
    /// Where the secrets are that its address and messages need, and those of its history.
    pub(super) secrets: SecretFiles,
    /// Sent with questions for its history.
    pub(super) rest_headers: Vec<Header>,
}

/// One connection to a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedConnection {
    /// Where the feed is.
    pub url: WebSocketUrl,
    /// What is subscribed to there, and how.
    pub plan: ConnectionPlan,
}

/// The kind as `source.kind` names it.
pub fn kind<C: Send + 'static>() -> SourceKind<C> {
    SourceKind { name: "websocket", read }
}

fn read<C: Send + 'static>(reader: SourceReader<'_, '_>) -> Arc<dyn SourceSettings<C>> {
    let SourceReader { is_chosen, source, variables, .. } = reader;
    let venue_is_named = source.is_set("venue");
    let (mut venue, rest_headers) = venue_keys::read(source);
    let subscribe = source.texts("subscribe");
    let message_bytes_max = source.count("message_bytes_max", 1024, MESSAGE_BYTES_MAX);
    let dial = read_options(source, variables, message_bytes_max);
    let life = life::read(source);
    let compressions = [
        ("none", Compression::None),
        ("gzip", Compression::Gzip),
        ("deflate", Compression::Deflate),
        ("auto", Compression::Auto),
    ];
    let compression = source.choice("compression", &compressions);
    let url = source.optional_text("url");
    if !is_chosen {
        let set = [
            ("venue", venue_is_named),
            ("symbols", !venue.symbols.is_empty()),
            ("url", url.is_some() && !venue_is_named),
            ("subscribe", !subscribe.is_empty() && !venue_is_named),
            ("rest.url", venue.rest.is_some() && !venue_is_named),
        ];
        refuse_foreign(source, &set, "websocket");
        let secrets = SecretFiles::read(source, &[], &[], false);
        let (venue, connections) = (venue_keys::nowhere(), Vec::new());
        return Arc::new(WebSocketSettings {
            venue,
            connections,
            dial,
            life,
            compression,
            secrets,
            rest_headers,
        });
    }
    (venue.url, venue.subscribe) = (url.unwrap_or_default(), subscribe);
    let (venue, connections) = venue_keys::compile(&venue, source);
    // A venue that is only looked into leads nowhere and needs no secrets.
    let leads = |connection: &FeedConnection| connection.url != WebSocketUrl::nowhere();
    let mut needed = venue.secrets().to_vec();
    for header in &dial.headers {
        needed.extend(secrets::names(header.value.reveal()).map(str::to_owned));
    }
    // Those of its history are needed only where it is asked for.
    let also = rest_secrets(&venue, &rest_headers);
    let secrets = SecretFiles::read(source, &needed, &also, connections.iter().any(leads));
    Arc::new(WebSocketSettings {
        venue,
        connections,
        dial,
        life,
        compression,
        secrets,
        rest_headers,
    })
}

/// The names of the secrets that questions for a venue's history need.
fn rest_secrets(venue: &Venue, headers: &[Header]) -> Vec<String> {
    let Some(rest) = venue.rest() else { return Vec::new() };
    let of_headers = headers.iter().flat_map(|header| secrets::names(header.value.reveal()));
    rest.secrets().iter().cloned().chain(of_headers.map(str::to_owned)).collect()
}

impl WebSocketSettings {
    /// Reads the certificates that the addresses ask for.
    ///
    /// # Errors
    /// [`Exit`] with code 78 for certificates that cannot be used.
    pub fn dialer(&self) -> Result<Dialer, Exit> {
        let encrypted = |connection: &FeedConnection| connection.url.endpoint().encrypted;
        Dialer::new(self.dial.clone(), self.connections.iter().any(encrypted))
            .map_err(Exit::while_doing(Failure::Configuration, "source.url"))
    }

    /// How its binary messages are read.
    pub fn unpack(&self) -> Unpack {
        Unpack { compression: self.compression, bytes_max: self.dial.message_bytes_max }
    }

    /// Opens the feed, which remembers the trade ids of `symbols_max` symbols.
    ///
    /// # Errors
    /// [`Exit`] with code 78 for certificates that cannot be used.
    pub fn open_feed(
        &self,
        symbols_max: usize,
        metrics: WebSocketMetrics,
        seed: u64,
    ) -> Result<WebSocketSource, Exit> {
        let dialer = self.dialer()?;
        Ok(WebSocketSource::new(self, dialer, symbols_max, metrics, seed))
    }

    /// What would be connected to and sent, as lines.
    pub fn plan(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (index, FeedConnection { url, plan }) in self.connections.iter().enumerate() {
            let symbols = match plan.symbols.len() {
                0 => String::new(),
                1 => ", 1 symbol".to_owned(),
                count => format!(", {count} symbols"),
            };
            lines.push(format!("connection {:<3}{url}{symbols}", index + 1));
            for message in &plan.subscribe {
                let text = excerpt(&shown_message(&message.text), SHOWN_CHARACTERS_MAX);
                lines.push(format!("  sends       {text}"));
            }
        }
        lines
    }
}

impl<C: Send + 'static> SourceSettings<C> for WebSocketSettings {
    fn facts(&self) -> SourceFacts {
        SourceFacts {
            when_full: WhenFull::DropOldest,
            may_drop: true,
            is_live: true,
            delivers_scores: false,
            commits: false,
            message_bytes_max: Some(self.dial.message_bytes_max),
        }
    }

    fn delivers_trades(&self) -> bool {
        self.venue.trade_ids().is_some()
    }

    fn symbols(&self) -> Vec<Symbol> {
        FeedHealth::new(&self.venue).symbols()
    }

    fn check(&self) -> Result<Vec<String>, Exit> {
        drop(self.dialer()?);
        Ok(self.plan())
    }

    fn identity(&self) -> Result<Option<InputIdentity>, Exit> {
        let digest = Sha256::digest(self.connections[0].url.place());
        Ok(Some(InputIdentity::Feed(digest.into())))
    }

    fn history(&self, opening: &SourceOpening<'_>) -> Result<Option<Arc<dyn HistorySource>>, Exit> {
        let Some(rest) = self.venue.rest() else { return Ok(None) };
        let needed = rest_secrets(&self.venue, &self.rest_headers);
        if let Some(name) = self.secrets.missing(&needed).next() {
            let what = format_args!(
                "source.secrets.{name}_file: must name the file that holds {{secret:{name}}}"
            );
            return Err(Exit::new(Failure::Configuration, what));
        }
        let options = RestOptions {
            rest: Arc::clone(rest),
            dial: self.dial.clone(),
            headers: self.rest_headers.clone(),
            secrets: self.secrets.clone(),
            seed: opening.seed,
        };
        let metrics = RestMetrics::register(opening.registry)?;
        let source = RestSource::new(options, metrics)
            .map_err(Exit::while_doing(Failure::Configuration, "source.rest.url"))?;
        Ok(Some(Arc::new(source)))
    }

    fn open(&self, opening: &SourceOpening<'_>) -> Result<Box<dyn Source<C>>, Exit> {
        let metrics = WebSocketMetrics::register(opening.registry)?;
        Ok(Box::new(self.open_feed(opening.symbols_max, metrics, opening.seed)?))
    }
}
