//! The sections `[history]` and `[backfill]`: where the steps before the stream come from, and
//! those that an outage took.
//!
//! Owns their keys and the rules between them. Promises that no connection is opened for history
//! unless the configuration asks for it. Never looks at a model: `app::history` compares what is
//! asked for with what the models need.

use std::time::Duration;

use super::SourceConfig;
use crate::adapters::file::{FileHistorySettings, read_file_keys, refused_for};
use crate::ports::section::Section;
use crate::shard::WhenHeld;

/// The longest time that the history of one symbol may take, in seconds: a day.
const WAIT_SECONDS_MAX: usize = 86_400;

/// The longest time that a tick may wait for the steps before it, in milliseconds: ten minutes.
const FILL_MS_MAX: usize = 600_000;

/// Why forecasts about the history of a topic are not published.
const OF_A_TOPIC: &str = "is not for source.kind = \"kafka\": a group publishes nothing before the \
                          offset where it begins; to have these forecasts, let kafka.start name an \
                          earlier time";

/// When the whole window of a symbol is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskAt {
    /// When the process starts, for the symbols that the source names; for others with their first
    /// tick.
    Start,
    /// With the first tick of the symbol.
    FirstTick,
}

/// How a symbol gets its window before its live ticks fill it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryConfig {
    /// Whether the venue is asked (`[source.rest]`).
    pub rest: bool,
    /// Steps for each symbol; `None` for as many as the models need.
    pub steps: Option<u32>,
    /// When the window of a symbol is asked for.
    pub ask: AskAt,
    /// Whether forecasts about history are published.
    pub publishes: bool,
    /// Whether the process is ready only when every named symbol has its history, or none to get.
    pub is_required: bool,
    /// How long the history of one symbol may take.
    pub warm_wait: Duration,
    /// The most live ticks that wait for history, over all shards.
    pub ticks_max: usize,
    /// The most bytes of them.
    pub bytes_max: usize,
    /// What happens to ticks that there is no room for.
    pub when_full: WhenHeld,
    /// A recording whose rows go before the stream, where one is named.
    pub file: Option<FileHistorySettings>,
}

/// How steps are filled that an outage took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackfillConfig {
    /// Whether they are asked for.
    pub is_enabled: bool,
    /// How long a tick waits for the steps before it.
    pub wait: Duration,
}

impl HistoryConfig {
    /// Whether history is asked for, a symbol at a time.
    pub fn asks(&self) -> bool {
        self.rest
    }
}

/// Reads both sections.
pub(super) fn read(
    root: &mut Section<'_>,
    source: &SourceConfig,
) -> (HistoryConfig, BackfillConfig) {
    let history = read_history(root.section("history"), source);
    let backfill = read_backfill(root.section("backfill"), &history);
    (history, backfill)
}

fn read_history(mut section: Section<'_>, source: &SourceConfig) -> HistoryConfig {
    let config = HistoryConfig {
        rest: section.switch("rest"),
        steps: section
            .optional_count("steps", 1, 1_000_000)
            .map(|steps| u32::try_from(steps).expect("the count is at most a million")),
        ask: section.choice("ask", &[("start", AskAt::Start), ("first_tick", AskAt::FirstTick)]),
        publishes: section.switch("publish"),
        is_required: section.switch("required"),
        warm_wait: Duration::from_secs(
            section.count("wait_seconds_max", 1, WAIT_SECONDS_MAX) as u64
        ),
        ticks_max: section.count("ticks_max", 1, 10_000_000),
        bytes_max: section.count("bytes_max", 1024, usize::MAX),
        when_full: section.choice(
            "when_full",
            &[("go_on", WhenHeld::GoOn), ("drop_oldest", WhenHeld::DropOldest)],
        ),
        file: read_file(&mut section, source),
    };
    if config.rest && source.kind != "websocket" {
        section.problem("rest", only_live(source.kind));
    }
    if config.publishes && source.kind == "kafka" {
        section.problem("publish", OF_A_TOPIC);
    }
    if config.is_required {
        require(&mut section, &config, source);
    }
    section.finish();
    config
}

/// Reads the keys of a file, which serves sources that go on from it.
fn read_file(section: &mut Section<'_>, source: &SourceConfig) -> Option<FileHistorySettings> {
    let file = read_file_keys(section, &source.time_format);
    if let (Some(_), Some(problem)) = (&file, refused_for(source.kind)) {
        section.problem("path", problem);
    }
    file
}

/// Why a source that can be read again takes no rows of a venue.
fn only_live(kind: &str) -> String {
    let instead = match kind {
        "kafka" => "; set kafka.history to warm up from the topic",
        _ => "",
    };
    format!(
        "is for source.kind = \"websocket\" only: a {kind} source is read again after a restart, \
         and the venue may then answer otherwise{instead}"
    )
}

/// Notes where readiness could never come, or would wait for nothing.
fn require(section: &mut Section<'_>, config: &HistoryConfig, source: &SourceConfig) {
    if !config.rest && config.file.is_none() {
        let problem = "needs rest = true or a path: there is no other history to wait for";
        section.problem("required", problem);
    } else if config.rest && config.ask == AskAt::FirstTick {
        section.problem(
            "required",
            "needs ask = \"start\": with \"first_tick\", a symbol that does not trade would keep \
             the daemon from being ready",
        );
    } else if source.kind == "websocket" && source.settings.symbols().is_empty() {
        section.problem(
            "required",
            "needs source.symbols: without names there is nothing to wait for",
        );
    }
}

fn read_backfill(mut section: Section<'_>, history: &HistoryConfig) -> BackfillConfig {
    let is_enabled = section.switch("enabled");
    if is_enabled && !history.rest && section.is_given("enabled") {
        section.problem("enabled", "needs history.rest = true: holes are filled by the venue");
    }
    let config = BackfillConfig {
        is_enabled: is_enabled && history.rest,
        wait: Duration::from_millis(section.count("wait_ms", 1, FILL_MS_MAX) as u64),
    };
    section.finish();
    config
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::config::parse;

    const VENUE: &str = "[source]\nvenue = 'binance'\nsymbols = ['BTCUSDT']\n[model]\nname = 'm'\n";

    fn read(text: &str) -> Result<(HistoryConfig, BackfillConfig), Vec<String>> {
        let parsed = parse(&format!("{VENUE}{text}"));
        parsed.map(|config| (config.history, config.backfill)).map_err(|error| error.problems)
    }

    #[test]
    fn history_is_off_unless_it_is_asked_for_and_brings_backfill() {
        let (history, backfill) = read("").unwrap();
        let expected = HistoryConfig {
            rest: false,
            steps: None,
            ask: AskAt::Start,
            publishes: false,
            is_required: false,
            warm_wait: Duration::from_secs(600),
            ticks_max: 65_536,
            bytes_max: 67_108_864,
            when_full: WhenHeld::GoOn,
            file: None,
        };
        assert_eq!((&history, history.asks(), backfill.is_enabled), (&expected, false, false));
        let (history, backfill) = read("[history]\nrest = true\n").unwrap();
        assert_eq!((history.rest, history.asks()), (true, true));
        assert_eq!(backfill, BackfillConfig { is_enabled: true, wait: Duration::from_secs(2) });
        let off = "[history]\nrest = true\n[backfill]\nenabled = false\n";
        assert!(!read(off).unwrap().1.is_enabled);
    }

    #[test]
    fn every_key_is_read() {
        let text = "[history]\nrest = true\nsteps = 200\nask = 'first_tick'\npublish = true\n\
            wait_seconds_max = 60\nticks_max = 10\nbytes_max = 4096\nwhen_full = 'drop_oldest'\n\
            [backfill]\nenabled = true\nwait_ms = 250\n";
        let (history, backfill) = read(text).unwrap();
        let expected = HistoryConfig {
            rest: true,
            steps: Some(200),
            ask: AskAt::FirstTick,
            publishes: true,
            is_required: false,
            warm_wait: Duration::from_secs(60),
            ticks_max: 10,
            bytes_max: 4096,
            when_full: WhenHeld::DropOldest,
            file: None,
        };
        assert_eq!(history, expected);
        assert_eq!(backfill, BackfillConfig { is_enabled: true, wait: Duration::from_millis(250) });
    }
}
