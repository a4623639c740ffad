//! The venue of a live feed as a layer of the configuration.
//!
//! Owns the venues that ship and their place among the layers: a venue's file is a set of defaults
//! for `[source]`, above those of every source and below the user's own file. Never knows what a
//! mapping means.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::{ConfigError, File, FileFormat, Map, Source, Value};

use super::layers::unmixed;
use crate::net::address::WebSocketUrl;
use crate::ops::document::lines_of;
use crate::ops::file::{CONFIGURATION_BYTES_MAX, read_text};
use crate::ports::section::{Origins, Place, suggestion};

/// The venues that ship, by name.
pub const VENUES: [(&str, &str); 12] = [
    ("alpaca", include_str!("../../../config/venues/alpaca.toml")),
    ("binance", include_str!("../../../config/venues/binance.toml")),
    ("bitfinex", include_str!("../../../config/venues/bitfinex.toml")),
    ("bitstamp", include_str!("../../../config/venues/bitstamp.toml")),
    ("bybit", include_str!("../../../config/venues/bybit.toml")),
    ("coinbase", include_str!("../../../config/venues/coinbase.toml")),
    ("gate", include_str!("../../../config/venues/gate.toml")),
    ("gemini", include_str!("../../../config/venues/gemini.toml")),
    ("generic", include_str!("../../../config/venues/generic.toml")),
    ("htx", include_str!("../../../config/venues/htx.toml")),
    ("kraken", include_str!("../../../config/venues/kraken.toml")),
    ("okx", include_str!("../../../config/venues/okx.toml")),
];

/// A venue's file as a layer of the configuration.
#[derive(Clone, Debug)]
pub(super) struct VenueLayer {
    value: Value,
    /// Where it was read, and the lines of its keys; `None` for one that ships.
    file: Option<(PathBuf, BTreeMap<String, usize>)>,
}

impl VenueLayer {
    /// The layer of a venue that ships, or of the file at `path`: what holds a `/` or ends with
    /// `.toml`.
    ///
    /// # Errors
    /// Why there is none, without the key, and without a piece of the file, which may be any.
    pub(super) fn of(venue: &str, path: &Path) -> Result<Self, String> {
        if venue.contains('/') || Path::new(venue).extension().is_some_and(|end| end == "toml") {
            let shown = path.display();
            let text = read_text(path, CONFIGURATION_BYTES_MAX)
                .map_err(|error| format!("read `{shown}`: {error}"))?;
            let lines = lines_of(&text)
                .map_err(|problems| format!("`{shown}`: {}", problems.join("; ")))?;
            let layer =
                Self::parse(&text).map_err(|error| format!("`{shown}`: {}", unmixed(&error)))?;
            return Ok(Self { file: Some((path.to_owned(), lines)), ..layer });
        }
        match VENUES.iter().find(|(name, _)| *name == venue) {
            Some((_, text)) => Self::parse(text).map_err(|error| unmixed(&error)),
            None => {
                let names = || VENUES.iter().map(|(name, _)| *name);
                let hint = suggestion(venue, names());
                let names: Vec<_> = names().map(|name| format!("`{name}`")).collect();
                Err(format!("`{venue}` is none of {}, and no path{hint}", names.join(", ")))
            }
        }
    }

    /// One that leads nowhere, so that the problems beside that of a venue which is none are found.
    pub(super) fn nowhere() -> Self {
        let url = WebSocketUrl::nowhere().secret().to_owned();
        let value = Value::new(None, Map::from([("url".to_owned(), Value::from(url))]));
        Self { value, file: None }
    }

    /// The layer as a tree of settings.
    pub(super) fn into_value(self) -> Value {
        Value::new(None, Map::from([("source".to_owned(), self.value)]))
    }

    /// Where values are set: by the upper layers, else by this one, where it is a file.
    pub(super) fn origins_below(&self, upper: Origins) -> Origins {
        let mut origins = upper;
        for (key, line) in self.file.iter().flat_map(|(_, lines)| lines) {
            let key = format!("source.{key}");
            if let (None, Some((path, _))) = (origins.of(&key), &self.file) {
                origins.note(&key, Place::Venue { path: path.clone(), line: *line });
            }
        }
        origins
    }

    fn parse(text: &str) -> Result<Self, ConfigError> {
        let file = config::Config::builder().add_source(File::from_str(text, FileFormat::Toml));
        Ok(Self { value: Value::new(None, file.build()?.cache.kind), file: None })
    }
}

impl Source for VenueLayer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(Map::from([("source".to_owned(), self.value.clone())]))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::Config;
    use super::super::load::{load, parse, venue_feed};
    use super::VENUES;
    use crate::adapters::websocket::{FeedConnection, WebSocketSettings};
    use crate::core::venue::{Rate, TradeIds, VenueLimits};
    use std::time::Duration;

    #[test]
    fn subscriptions_that_cannot_be_sent_in_time_are_told() {
        let of = |count: usize| {
            let symbols: Vec<_> = (0..count).map(|index| format!("'S{index}'")).collect();
            source(&format!(
                "url = 'ws://h:1'\nsymbols = [{}]\nsubscribe = ['{{symbols}}']\n\
                 subscription.symbols_per_message = 1\nlimits.messages_max = 2\n\
                 limits.messages_period_seconds = 1\nlimits.subscribe_seconds_max = 5\n",
                symbols.join(", ")
            ))
        };
        assert!(of(12).is_ok(), "two at once and ten in five seconds");
        let problems = of(13).unwrap_err();
        let problem = "source.limits.messages_max: 13 messages of one connection take 6 s";
        assert!(problems.len() == 1 && problems[0].starts_with(problem), "{problems:?}");
    }

    fn source(text: &str) -> Result<WebSocketSettings, Vec<String>> {
        let text = format!("model.name = 'm'\n[source]\n{text}");
        let Config { source, .. } = parse(&text).map_err(|error| error.problems)?;
        Ok(source.of::<WebSocketSettings>().unwrap().clone())
    }

    const HERE: &str = "url = 'ws://127.0.0.1:1'\n";

    #[test]
    fn without_a_venue_messages_are_native_ticks() {
        let plain = source("url = 'ws://h:1/x'\nsubscribe = ['{\"op\":{}}']\n").unwrap();
        let [FeedConnection { url, plan }] = &*plain.connections else { panic!("one") };
        assert_eq!((url.secret(), &*plan.subscribe[0].text), ("ws://h:1/x", "{\"op\":{}}"));
        assert_eq!(*plain.venue.limits(), VenueLimits::default());
        let generic = source(&format!("venue = 'generic'\n{HERE}")).unwrap();
        assert_eq!(generic, source(HERE).unwrap());
    }

    #[test]
    fn a_venue_lies_between_the_defaults_and_the_file() {
        let text = format!("venue = 'kraken'\n{HERE}symbols = ['A/B']\n");
        let plain = source(&text).unwrap();
        assert_eq!(plain.life.idle_timeout, Duration::from_secs(10), "of the venue");
        assert_eq!(plain.life.backoff_max, Duration::from_secs(30), "of the defaults");
        let limits = plain.venue.limits();
        let messages = Rate { count: 10, period: Duration::from_secs(1) };
        assert_eq!((limits.messages, limits.life_max), (Some(messages), None));
        assert_eq!(plain.venue.trade_ids(), Some(TradeIds::Consecutive));
        let changed = source(&format!(
            "{text}idle_seconds_max = 7\nsubscribe = []\n\
             [source.mapping]\ntrade_ids = 'increasing'\nwhen.\"/channel\" = []\n\
             [source.limits]\nlife_seconds_max = 60\nmessages_max = 0\nping = ''\n"
        ))
        .unwrap();
        assert_eq!(changed.life.idle_timeout, Duration::from_secs(7));
        assert!(changed.connections[0].plan.subscribe.is_empty());
        let limits = changed.venue.limits();
        assert_eq!((limits.messages, &limits.ping), (None, &None));
        assert_eq!(limits.life_max, Some(Duration::from_secs(60)));
        assert_eq!(changed.venue.trade_ids(), Some(TradeIds::Increasing));
    }

    #[test]
    fn a_file_and_a_variable_name_a_venue_as_well() {
        let folder = tempfile::tempdir().unwrap();
        let venue = folder.path().join("own.toml");
        let own = "url = 'ws://h:1'\n[mapping]\nsymbol = '/s'\ntime = '/t'\nclose = '/c'\n\
                   [mapping.fields]\nspread = '/x'\n[mapping.when]\n\"/n\" = [1, true]\n";
        std::fs::write(&venue, own).unwrap();
        let config = folder.path().join("config.toml");
        std::fs::write(&config, "model.name = 'm'\nsource.mapping.fields.side = '=1'\n").unwrap();
        let path = venue.display().to_string();
        let variables = HashMap::from([("TICKCAST__SOURCE__VENUE".to_owned(), path)]);
        let config = load(&config, &variables).unwrap();
        let feed = config.source.of::<WebSocketSettings>().unwrap().clone();
        let mut mapper = crate::core::venue::Mapper::new(feed.venue);
        let mut records = Vec::new();
        mapper.classify(br#"{"n":"true","s":"A","t":"1","c":"2","x":3}"#, |mapped| {
            records.push(String::from_utf8(mapped.record.to_vec()).unwrap());
        });
        let time = "1970-01-01T00:00:00.001Z";
        let expected = format!(r#"{{"symbol":"A","time":"{time}","close":2,"side":1,"spread":3}}"#);
        assert_eq!(records, [expected]);
    }

    #[test]
    fn every_problem_of_a_venue_is_told_with_its_key() {
        let problems = source("venue = 'bynance'\nsymbol_ = 1\n").unwrap_err();
        let expected = [
            "source.venue: `bynance` is none of `alpaca`, `binance`, `bitfinex`, `bitstamp`, \
             `bybit`, `coinbase`, `gate`, `gemini`, `generic`, `htx`, `kraken`, `okx`, and no \
             path, did you mean `binance`?",
            "source.symbol_: unknown key, did you mean `symbol`?",
        ];
        assert_eq!(problems, expected);
        let problems = source("venue = './none.toml'\n").unwrap_err();
        assert!(problems[0].starts_with("source.venue: read `./none.toml`: "), "{problems:?}");

        let text = format!(
            "venue = 'okx'\n{HERE}symbols = ['A', 'A']\nsubscribe = ['{{sym}}']\n\
             [source.subscription]\nanswers = 'per_mesage'\n\
             [source.mapping]\nprcie = 'p'\nvolume = 'a~'\ntime_unit = 'sec'\n\
             [source.mapping.when]\n\"/a\" = {{ b = 1 }}\n\
             [source.frames.heartbeat]\ncounter = 'x'\n\
             [source.frames.pongs]\ntext = 'x'\n\
             [source.limits]\nmessages_max = -1\n"
        );
        let problems = source(&text).unwrap_err();
        let keys: Vec<_> = problems.iter().map(|text| text.split(": ").next().unwrap()).collect();
        let expected = [
            "source.subscription.answers",
            "source.mapping.when.\"/a\"",
            "source.mapping.time_unit",
            "source.mapping.prcie",
            "source.frames.pongs",
            "source.limits.messages_max",
            "source.symbols",
            "source.subscribe",
            "source.mapping.volume",
            "source.frames.heartbeat.counter",
        ];
        assert_eq!(keys, expected, "{problems:#?}");
        for hint in ["did you mean `price`?", "did you mean `pong`?", "did you mean `per_message`?"]
        {
            assert!(problems.iter().any(|text| text.ends_with(hint)), "{hint} in {problems:#?}");
        }
    }

    /// The records that a mapping makes of one frame.
    fn mapped(settings: &WebSocketSettings, frame: &str) -> Vec<String> {
        let venue = std::sync::Arc::clone(&settings.venue);
        let mut records = Vec::new();
        crate::core::venue::Mapper::new(venue).classify(frame.as_bytes(), |mapped| {
            records.push(String::from_utf8(mapped.record.to_vec()).unwrap());
        });
        records
    }

    #[test]
    fn mappings_beside_the_first_share_what_they_do_not_set() {
        let text = format!(
            "{HERE}compression = 'auto'\n[source.mapping]\nsymbol = '/s'\ntime = '/t'\n\
             price = '/p'\nvolume = '/v'\nabs = ['volume']\n\
             [source.mapping.scale]\nprice = 1e-2\nvolume = '0.001'\n\
             [source.mapping.when]\n'/e' = 'a'\n'/x' = '!*'\n\
             [source.mapping.also.rows]\neach = '/rows/*'\nprice = '0'\nvolume = '1'\n\
             order = 'reverse'\nabs = []\nwhen.'/e' = []\nwhen.'/rows' = '*'\n\
             scale.volume = ''\n"
        );
        let settings = source(&text).unwrap();
        assert_eq!(settings.compression, crate::adapters::websocket::Compression::Auto);
        let record = |price: &str, volume: &str| {
            let time = "1970-01-01T00:00:00.001Z";
            format!(r#"{{"symbol":"A","time":"{time}","price":{price},"volume":{volume}}}"#)
        };
        let first = mapped(&settings, r#"{"e":"a","s":"A","t":1,"p":250,"v":-7}"#);
        assert_eq!(first, [record("2.50", "0.007")]);
        let rows = mapped(&settings, r#"{"s":"A","t":1,"rows":[[100,-1],[200,2]]}"#);
        assert_eq!(rows, [record("2.00", "2"), record("1.00", "-1")]);
        // A condition that is shared holds there too.
        assert!(mapped(&settings, r#"{"x":1,"s":"A","t":1,"rows":[[100,-1]]}"#).is_empty());

        // A variable reaches a key of such a mapping, and a list.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, format!("model.name = 'm'\n[source]\n{text}")).unwrap();
        let variables = [
            ("TICKCAST__SOURCE__MAPPING__ALSO__ROWS__PRICE", "1"),
            ("TICKCAST__SOURCE__MAPPING__ABS", r#"["price","volume"]"#),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let config = load(&path, &HashMap::from(variables)).unwrap();
        let settings = config.source.of::<WebSocketSettings>().unwrap().clone();
        let rows = mapped(&settings, r#"{"s":"A","t":1,"rows":[[100,-1]]}"#);
        assert_eq!(rows, [record("-0.01", "-1")]);

        let wrong = format!(
            "{HERE}[source.mapping]\nsymbol = '/s'\ntime = '/t'\nprice = '/p'\nprcie = 'x'\n\
             also.quotes = 7\nalso.rows = {{ prize = '0', order = 'backwards' }}\n"
        );
        let expected = [
            "source.mapping.also.quotes: must be a table",
            "source.mapping.prcie: unknown key, did you mean `price`?",
            "source.mapping.also.rows.order: `backwards` is none of `frame`, `trade_id`, \
             `reverse`, `time`",
            "source.mapping.also.rows.prize: unknown key, did you mean `price`?",
        ];
        let problems = source(&wrong).unwrap_err();
        for problem in expected {
            assert!(problems.iter().any(|found| found == problem), "{problem} in {problems:#?}");
        }
    }

    #[test]
    fn secrets_stand_in_files_that_are_there_and_needed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, "hunter2\n").unwrap();
        let file = file.display();
        let text = format!("{HERE}subscribe = ['{{\"key\":\"{{secret:Key}}\"}}']\n");
        let settings = source(&format!("{text}secrets.key_file = '{file}'\n")).unwrap();
        assert!(!format!("{settings:?} {:?}", settings.plan()).contains("hunter2"));
        assert!(settings.plan()[1].ends_with(r#"{"key":"{secret:Key}"}"#), "{settings:?}");
        // A header may hold one as well.
        let header = format!("{HERE}headers.Authorization = 'Bearer {{secret:token}}'\n");
        let expected = "source.secrets.token_file: must name the file that holds {secret:token}";
        assert_eq!(source(&header).unwrap_err(), [expected]);
        assert!(source(&format!("{header}secrets.token_file = '{file}'\n")).is_ok());
        let none = folder.path().join("none");
        let none = none.display();
        for (secrets, expected) in [
            (String::new(), "source.secrets.Key_file: must name the file that holds {secret:Key}"),
            (
                format!("secrets.key_file = '{file}'\nsecrets.keys_file = '{file}'\n"),
                "source.secrets.keys_file: no message, address or header holds {secret:keys}",
            ),
            (
                format!("secrets.key_file = '{file}'\nsecrets.key = 'hunter2'\n"),
                "source.secrets.key: must end in `_file` and name a file: a secret stands in a \
                 file of its own",
            ),
        ] {
            assert_eq!(source(&format!("{text}{secrets}")).unwrap_err(), [expected]);
        }
        let problems = source(&format!("{text}secrets.key_file = '{none}'\n")).unwrap_err();
        let expected = "source.secrets.key_file: names no file: ";
        assert!(problems.len() == 1 && problems[0].starts_with(expected), "{problems:?}");
    }

    #[test]
    fn nothing_that_a_venue_which_ships_sends_is_hidden() {
        for (name, _) in VENUES {
            let feed = venue_feed(name).unwrap();
            let plan = feed.of::<WebSocketSettings>().unwrap().plan().join("\n");
            assert!(!plan.contains("(hidden)"), "{name}: {plan}");
        }
    }

    #[test]
    fn a_venue_is_for_live_feeds() {
        let text = "kind = 'file'\npath = 'x.jsonl'\nvenue = 'okx'\nsymbols = ['A']\n";
        let problems = source(text).unwrap_err();
        let expected =
            ["venue", "symbols"].map(|key| format!("source.{key}: is for kind \"websocket\" only"));
        assert_eq!(problems, expected);
    }
}
