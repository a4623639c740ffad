//! From the layers of a configuration to checked values.
//!
//! Owns reading files and texts, and the order of the sections. Promises that every problem is
//! reported at once. Never reads a section that has a file of its own, or what belongs to one
//! adapter.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use config::Value;

use super::bridge::{self, BridgeSection};
use super::engine::{self, EngineSection};
use super::layers::{Input, Tree, lists, names, tree};
use super::{BridgeConfig, Config, SourceConfig};
use super::{health, history, log, model, publish, scores, snapshot, source};
use crate::adapters::kafka_config::{ClusterConfig, KafkaConfig};
use crate::adapters::websocket::WebSocketSettings;
use crate::adapters::{self, Adapters, http};
use crate::core::domain::Symbol;
use crate::core::text::indented_lines;
use crate::net::address::WebSocketUrl;
use crate::ops::file::{CONFIGURATION_BYTES_MAX, read_text};
use crate::ports::section::{Problems, Section, Setting};
use crate::ports::source::{SourceSettings, not_in_this_build};
use crate::shard::command::Command;

/// Why a configuration cannot be used: every problem, each beginning with its key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("configuration {} cannot be used:{}", path.display(), indented_lines(problems))]
pub struct ConfigError {
    /// The file.
    pub path: PathBuf,
    /// One line per problem.
    pub problems: Vec<String>,
}

/// Reads the file at `path`; a problem says which file it is in.
fn of_file<T>(
    path: &Path,
    variables: &HashMap<String, String>,
    read: impl FnOnce(Input<'_>) -> Result<T, Vec<String>>,
) -> Result<T, ConfigError> {
    read_text(path, CONFIGURATION_BYTES_MAX)
        .map_err(|error| vec![error.to_string()])
        .and_then(|text| read(Input { text: &text, path: Some(path), variables }))
        .map_err(|problems| ConfigError { path: path.to_owned(), problems })
}

/// Loads the file at `path` over the defaults, and `variables` over both.
///
/// # Errors
/// [`ConfigError`] with every problem found, or the parser's words where the file is no TOML.
pub fn load(path: &Path, variables: &HashMap<String, String>) -> Result<Config, ConfigError> {
    load_with(&adapters::all(), path, variables)
}

/// As [`load`], with these kinds of sources and sinks.
///
/// # Errors
/// As [`load`].
pub fn load_with(
    adapters: &Adapters,
    path: &Path,
    variables: &HashMap<String, String>,
) -> Result<Config, ConfigError> {
    of_file(path, variables, |input| read_with(adapters, input))
}

/// As [`load`], of `tickcast bridge`, which needs no model.
///
/// # Errors
/// As [`load`].
pub fn load_bridge(
    path: &Path,
    variables: &HashMap<String, String>,
) -> Result<BridgeConfig, ConfigError> {
    of_file(path, variables, read_bridge)
}

/// A configuration by what it is for.
#[derive(Clone, Debug)]
pub enum AnyConfig {
    /// Of the daemon.
    Daemon(Box<Config>),
    /// Of `tickcast bridge`: it names a topic to write and no model.
    Bridge(Box<BridgeConfig>),
}

/// As [`load`], of the daemon or of a bridge.
///
/// # Errors
/// As [`load`].
pub fn load_any(
    path: &Path,
    variables: &HashMap<String, String>,
) -> Result<AnyConfig, ConfigError> {
    of_file(path, variables, read_any)
}

/// As [`load`], of the source alone, for which no model is needed.
///
/// # Errors
/// As [`load`].
pub fn load_feed(
    path: &Path,
    variables: &HashMap<String, String>,
) -> Result<SourceConfig, ConfigError> {
    of_file(path, variables, read_feed)
}

/// The source that a venue makes by itself; nothing is connected to by it.
///
/// # Errors
/// [`ConfigError`] with every problem of the venue.
pub fn venue_feed(venue: &str) -> Result<SourceConfig, ConfigError> {
    let refuse = |problems| ConfigError { path: PathBuf::from(venue), problems };
    // A text of JSON is one of TOML as well.
    let name = serde_json::Value::from(venue);
    let nowhere = WebSocketUrl::nowhere();
    let nowhere = nowhere.secret();
    let text = format!("[source]\nvenue = {name}\nurl = '{nowhere}'\nsymbols = ['SYMBOL']\n");
    read_feed(of_text(&text, &HashMap::new())).map_err(refuse)
}

/// A configuration from text over the defaults; nothing of the environment.
///
/// # Errors
/// [`ConfigError`] with every problem found.
pub fn parse(text: &str) -> Result<Config, ConfigError> {
    let refuse = |problems| ConfigError { path: PathBuf::from("(text)"), problems };
    read(of_text(text, &HashMap::new())).map_err(refuse)
}

fn of_text<'i>(text: &'i str, variables: &'i HashMap<String, String>) -> Input<'i> {
    Input { text, path: None, variables }
}

/// As [`load`], of an input.
fn read(input: Input<'_>) -> Result<Config, Vec<String>> {
    read_with(&adapters::all(), input)
}

fn read_with(adapters: &Adapters, input: Input<'_>) -> Result<Config, Vec<String>> {
    let Tree { value, problems, .. } = tree(input)?;
    let Settings { config, .. } =
        check(adapters, value, input.variables, Purpose::Serve, &problems);
    let config = Config { warnings: problems.warnings(), ..config };
    if problems.is_empty() { Ok(config) } else { Err(problems.into_vec()) }
}

/// As [`load_any`], of an input.
fn read_any(input: Input<'_>) -> Result<AnyConfig, Vec<String>> {
    let Tree { value, .. } = tree(input)?;
    let has_model = names(&value, "model", "name") || lists(&value, "models");
    let is_bridge = names(&value, "bridge", "topic") && !has_model;
    match is_bridge {
        true => read_bridge(input).map(|config| AnyConfig::Bridge(Box::new(config))),
        false => read(input).map(|config| AnyConfig::Daemon(Box::new(config))),
    }
}

/// As [`load_bridge`], of an input.
fn read_bridge(input: Input<'_>) -> Result<BridgeConfig, Vec<String>> {
    let Tree { value, problems, .. } = tree(input)?;
    let Settings { config, sources, bridge } =
        check(&adapters::all(), value, input.variables, Purpose::Bridge, &problems);
    let Config { source, http, log, shutdown_deadline, .. } = config;
    if bridge.topic.is_none() {
        problems.add("bridge.topic", "must name the topic that records go to");
    }
    let websocket = source.of::<WebSocketSettings>();
    if websocket.is_none() {
        problems.add("source.kind", "must be \"websocket\", which is what a bridge reads");
    }
    let kafka = kafka_of(&sources);
    if kafka.is_none() {
        problems.add("bridge", not_in_this_build("the bridge", "kafka"));
    }
    let (Some(websocket), Some(kafka)) = (websocket, kafka) else {
        return Err(problems.into_vec());
    };
    if !problems.is_empty() {
        return Err(problems.into_vec());
    }
    Ok(BridgeConfig {
        source: websocket.clone(),
        queue_records_max: source.queue_records_max,
        queue_bytes_max: source.queue_bytes_max,
        cluster: ClusterConfig::of(kafka),
        topic: bridge.topic.unwrap_or_default(),
        partitions: bridge.partitions,
        replication: kafka.replication,
        symbols_max: bridge.symbols_max,
        backoff_max: kafka.backoff_max,
        http,
        log,
        shutdown_deadline,
        warnings: problems.warnings(),
    })
}

/// Every setting of the daemon and of a bridge, in the order of the sections.
pub(super) fn settings() -> Vec<Setting> {
    let variables = HashMap::new();
    let Tree { value, problems, .. } =
        tree(of_text("", &variables)).expect("the defaults are compiled in, and a test reads them");
    check(&adapters::all(), value, &variables, Purpose::Serve, &problems);
    problems.into_settings()
}

/// As [`load_feed`], of an input.
fn read_feed(input: Input<'_>) -> Result<SourceConfig, Vec<String>> {
    let Tree { value, problems, .. } = tree(input)?;
    let Settings { config, .. } =
        check(&adapters::all(), value, input.variables, Purpose::Bridge, &problems);
    if problems.is_empty() { Ok(config.source) } else { Err(problems.into_vec()) }
}

/// What a configuration is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Serve,
    Bridge,
}

/// Every setting.
struct Settings {
    config: Config,
    /// The settings of every kind of source, chosen or not.
    sources: Vec<Arc<dyn SourceSettings<Command>>>,
    bridge: BridgeSection,
}

/// The section `[kafka]`, whatever the source is; `None` where the build lacks its client.
fn kafka_of(sources: &[Arc<dyn SourceSettings<Command>>]) -> Option<&KafkaConfig> {
    sources.iter().find_map(|settings| {
        let settings: &dyn std::any::Any = &**settings;
        settings.downcast_ref()
    })
}

fn check(
    adapters: &Adapters,
    tree: Value,
    variables: &HashMap<String, String>,
    purpose: Purpose,
    problems: &Problems,
) -> Settings {
    let mut root = Section::root(tree, problems);
    let bridge = bridge::read(root.section("bridge"));
    let (source, sources) = source::read(adapters, &mut root, variables);
    let (models, proof, model_age_days_max) = model::read(&mut root, purpose);
    let onnxruntime_library = model::library(root.section("onnxruntime"));
    let EngineSection { limits, prepares_runs, policy, shards, runtime } =
        engine::read(root.section("engine"));
    let forecast = scores::forecast(root.section("forecast"));
    let health = health::read(root.section("health"));
    let (sinks, stream) = publish::read(adapters, &mut root);
    let state_directory = variables.get("STATE_DIRECTORY").map(String::as_str);
    let snapshot = snapshot::read(root.section("snapshot"), state_directory);
    let (history, backfill) = history::read(&mut root, &source);
    let metrics = scores::metrics(root.section("metrics"));
    let http = http::read(root.section("http"));
    let log = log::read(root.section("log"));
    let shutdown_deadline = seconds_of(&mut root, "shutdown", "deadline_seconds", 300);
    let stall_timeout = seconds_of(&mut root, "supervise", "stall_seconds_max", 3600);
    root.finish();
    let config = Config {
        source,
        models,
        proof,
        model_age_days_max,
        onnxruntime_library,
        runtime,
        engine: limits,
        prepares_runs,
        policy,
        health,
        shards,
        forecast,
        sinks,
        stream,
        snapshot,
        history,
        backfill,
        metrics,
        http,
        log,
        shutdown_deadline,
        stall_timeout,
        warnings: Vec::new(),
    };
    warn_of_unwanted(&config, problems);
    Settings { config, sources, bridge }
}

/// How many symbols a warning names.
const NAMED_MAX: usize = 5;

/// Warns of symbols that the source subscribes to and no model wants.
fn warn_of_unwanted(config: &Config, problems: &Problems) {
    let is_wanted =
        |symbol: &Symbol| config.models.iter().any(|model| model.symbols.wants(symbol.as_str()));
    let mut unwanted = config.source.settings.symbols();
    unwanted.retain(|symbol| !is_wanted(symbol));
    if unwanted.is_empty() || config.models.is_empty() {
        return;
    }
    let names: Vec<_> = unwanted.iter().take(NAMED_MAX).map(Symbol::as_str).collect();
    let more = match unwanted.len() - names.len() {
        0 => String::new(),
        count => format!(" and {count} more"),
    };
    let names = names.join(", ");
    problems.warn(
        "source.symbols",
        format_args!("no model wants {names}{more}: their ticks are unused (models.symbols)"),
    );
}

/// The only key of a section, in seconds.
fn seconds_of(
    root: &mut Section<'_>,
    name: &'static str,
    key: &'static str,
    max: usize,
) -> Duration {
    let mut section = root.section(name);
    let limit = seconds(&mut section, key, max);
    section.finish();
    limit
}

fn seconds(section: &mut Section<'_>, name: &'static str, max: usize) -> Duration {
    Duration::from_secs(section.count(name, 1, max) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::config::ModelConfig;
    use crate::core::domain::DurationNanos;
    use crate::engine::model::manifest::Mode;
    use crate::engine::pipeline::Role;
    use crate::engine::symbols::{CadencePolicy, EngineLimits, EnginePolicy};
    use crate::intake::WhenFull;

    fn read(text: &str, variables: &HashMap<String, String>) -> Result<Config, Vec<String>> {
        super::read(of_text(text, variables))
    }

    const SMALLEST: &str = "[source]\nurl = 'ws://127.0.0.1:1'\n[model]\nname = 'm'\n";

    fn variables(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_smallest_file_is_enough() {
        let config = read(SMALLEST, &HashMap::new()).unwrap();
        assert_eq!(config.models[0].choice.name, "m");
        assert_eq!(config.models[0].choice.mode, None);
        assert_eq!(config.source.when_full, WhenFull::DropOldest);
        assert_eq!(config.http.bind, "127.0.0.1:9630".parse().unwrap());
        assert_eq!(config.shutdown_deadline, Duration::from_secs(10));
    }

    #[test]
    fn variables_lie_over_the_file_and_the_file_over_the_defaults() {
        let text = format!("{SMALLEST}[engine]\nsymbols_max = 7\nbatch_rows_max = 8\n");
        let config = read(
            &text,
            &variables(&[
                ("TICKCAST__ENGINE__SYMBOLS_MAX", "9"),
                ("TICKCAST__SOURCE__URL", "ws://[::1]:2/x"),
                ("TICKCAST__HTTP__INSECURE_BIND", "true"),
                ("TICKCAST__HTTP__BIND", "0.0.0.0:80"),
                ("UNRELATED", "x"),
            ]),
        )
        .unwrap();
        assert_eq!(config.engine, EngineLimits { symbols_max: 9, batch_rows_max: 8 });
        let source = config.source.of::<WebSocketSettings>().unwrap();
        assert_eq!(source.connections[0].url.secret(), "ws://[::1]:2/x");
    }

    #[test]
    fn states_are_kept_where_the_file_or_systemd_says_and_nowhere_unasked() {
        let folder = |text: &str, pairs: &[(&str, &str)]| {
            let config = read(&format!("{SMALLEST}{text}"), &variables(pairs)).unwrap();
            config.snapshot.folder.map(|folder| folder.display().to_string())
        };
        let systemd = [("STATE_DIRECTORY", "/var/lib/tickcast:/var/lib/other")];
        assert_eq!(folder("", &[]), None);
        assert_eq!(folder("", &[("STATE_DIRECTORY", "")]), None);
        assert_eq!(folder("", &systemd).as_deref(), Some("/var/lib/tickcast"));
        assert_eq!(folder("[snapshot]\nfolder = ''\n", &systemd), None);
        let own = folder("[snapshot]\nfolder = 'state'\n", &systemd);
        assert_eq!(own.as_deref(), Some("state"));
    }

    #[test]
    fn every_problem_is_reported_at_once_with_its_key() {
        let text = "
            [source]
            knd = 'websocket'
            url = 'http://x'
            time_unit = 'msec'
            queue_records_max = 0
            subscribe = [1]
            [model]
            mode = 'slidign'
            [engine]
            symbols_max = 'many'
            [http]
            bind = '0.0.0.0:9630'
            [log]
            level = 7
            [sources]
        ";
        let problems = read(text, &variables(&[("TICKCAST__LGO__LEVEL", "info")])).unwrap_err();
        let expected = [
            "source.subscribe: must hold texts only, not a number",
            "source.url: must be ws://host:port/path or wss://host:port/path, for kind \
             \"websocket\"",
            "source.time_unit: `msec` is none of `ms`, `s`, `us`, `ns`",
            "source.queue_records_max: must be a whole number from 1 to 10000000",
            "source.knd: unknown key, did you mean `kind`?",
            "model.name: is missing",
            "model.mode: `slidign` is none of `auto`, `sliding`, `full`, `carried`, did you mean \
             `sliding`?",
            "engine.symbols_max: must be a whole number from 1 to 10000000",
            "http.bind: 0.0.0.0:9630 is beyond loopback and nothing guards it; name a token_file, \
             or set insecure_bind = true if that is meant",
            "log.level: must be a text, not a number",
            "lgo: unknown key, did you mean `log`?",
            "sources: unknown key, did you mean `source`?",
        ];
        assert_eq!(problems, expected);
    }

    #[test]
    fn an_operator_says_which_windows_forecast_and_what_the_future_is() {
        let with = |text: &str| read(&format!("{SMALLEST}{text}"), &HashMap::new());
        let plain = with("").unwrap();
        assert_eq!(plain.policy, EnginePolicy::default());
        assert_eq!(plain.source.future_seconds_max, None);
        let text = "[engine]\ngap_steps_max = 0\nwithhold = ['gapped']\n";
        let config = with(text).unwrap();
        assert_eq!(config.policy.gap_steps_max, Some(0));
        assert!(config.policy.withhold.gapped && !config.policy.withhold.patched);
        let problems = with("[engine]\nwithhold = ['full']\n").unwrap_err();
        assert_eq!(
            problems,
            ["engine.withhold: `full` is none of `patched`, `gapped`, `mistimed`"]
        );
        assert_eq!(plain.policy.symbol_ttl, None, "every symbol stays");
        for (text, seconds) in [("90s", 90), ("15m", 900), ("36h", 129_600), ("7d", 604_800)] {
            let config = with(&format!("[engine]\nsymbol_ttl = '{text}'\n")).unwrap();
            assert_eq!(config.policy.symbol_ttl, DurationNanos::from_seconds(seconds), "{text}");
        }
        for text in ["0s", "7", "7 d", "-7d", "+7d", "d", "1w", "99999999999999999999d", "40000d"] {
            let problems = with(&format!("[engine]\nsymbol_ttl = '{text}'\n")).unwrap_err();
            let problem = "is neither \"off\" nor a whole number with s, m, h or d, such as \"7d\"";
            assert_eq!(problems, [format!("engine.symbol_ttl: `{text}` {problem}")]);
        }
        let future = &[("TICKCAST__SOURCE__FUTURE_SECONDS_MAX", "5")];
        let config = read(SMALLEST, &variables(future)).unwrap();
        assert_eq!(config.source.future_seconds_max, Some(5));
    }

    #[test]
    fn a_kind_that_the_build_lacks_is_refused_by_its_feature_and_its_keys_are_known() {
        let mut adapters = adapters::all();
        let kafka = adapters.sources.iter_mut().find(|kind| kind.name == "kafka").unwrap();
        *kafka = adapters::kafka_config::ABSENT;
        let read = |text: &str| read_with(&adapters, of_text(text, &HashMap::new()));
        let kafka = "[kafka]\ntopics = ['ticks']\noptions.\"client.rack\" = 'a'\n";
        let chosen = format!("[source]\nkind = 'kafka'\n[model]\nname = 'm'\n{kafka}");
        let lacks = "source.kind: kafka is not in this build; it needs the cargo feature `kafka`";
        assert_eq!(read(&chosen).unwrap_err(), [lacks]);
        let misspelt = "kafka.header: unknown key, did you mean `headers`?";
        assert_eq!(read(&format!("{chosen}header = true\n")).unwrap_err(), [misspelt, lacks]);
        // Settings of a kind that is not chosen do no harm.
        let bridge = "[bridge]\ntopic = 'ticks'\n";
        assert!(read(&format!("{SMALLEST}{kafka}{bridge}")).is_ok());
    }

    #[test]
    fn what_is_no_toml_says_where() {
        let problems = read("[source\n", &HashMap::new()).unwrap_err();
        assert_eq!(problems.len(), 1);
        assert!(problems[0].contains("line 1"), "{}", problems[0]);
    }

    #[cfg(feature = "kafka")]
    #[test]
    fn a_bridge_needs_a_feed_and_a_topic_and_no_model() {
        let url = "[source]\nurl = 'ws://127.0.0.1:1'\n";
        let topic = "[bridge]\ntopic = 'ticks'\n";
        let bridge = |text: &str| read_bridge(of_text(text, &HashMap::new()));
        let options = "[kafka]\nbrokers = 'h:1'\noptions.\"a.b\" = 2\n";
        let config = bridge(&format!("{url}{topic}{options}")).unwrap();
        assert_eq!((&*config.topic, config.partitions, config.replication), ("ticks", 4, -1));
        assert_eq!(config.cluster.brokers, "h:1");
        assert_eq!(config.cluster.options, [("a.b".to_owned(), "2".to_owned())].into());
        for (text, problem) in [
            (url.to_owned(), "bridge.topic: must name"),
            (format!("{url}[bridge]\ntopic = 'a b'\n"), "bridge.topic: a topic's name has"),
            (format!("{url}{topic}partitions = 0\n"), "bridge.partitions: "),
            (format!("{url}{topic}partition = 1\n"), "did you mean `partitions`?"),
            (topic.to_owned(), "source.url: "),
            (format!("[source]\nkind = 'kafka'\n{topic}"), "source.kind: must be \"websocket\""),
        ] {
            let problems = bridge(&text).unwrap_err();
            assert!(problems.iter().any(|found| found.contains(problem)), "{text}: {problems:?}");
        }
        let any = |text: &str| read_any(of_text(text, &HashMap::new()));
        assert!(matches!(any(&format!("{url}{topic}")), Ok(AnyConfig::Bridge(_))));
        assert!(matches!(any(&format!("{SMALLEST}{topic}")), Ok(AnyConfig::Daemon(_))));
        assert!(any(url).unwrap_err()[0].contains("model.name"), "neither");
        // The daemon knows the section and does not need it.
        assert!(read(&format!("{SMALLEST}{topic}"), &HashMap::new()).is_ok());
    }

    const SOURCE: &str = "[source]\nurl = 'ws://127.0.0.1:1'\n";

    /// The models of a text.
    fn models(text: &str) -> Result<Vec<ModelConfig>, Vec<String>> {
        let parsed = parse(&format!("{SOURCE}{text}"));
        parsed.map(|config| config.models).map_err(|error| error.problems)
    }

    /// What is wrong with them.
    fn problems(text: &str) -> Vec<String> {
        models(text).unwrap_err()
    }

    #[test]
    fn a_single_model_is_one_live_model_of_every_symbol() {
        let [only] = models("[model]\nname = 'm'\n").unwrap().try_into().unwrap();
        assert_eq!((&*only.name, only.is_listed, only.role), ("m", false, Role::Live));
        assert!(only.symbols.is_all() && only.choice.version == "latest");
    }

    #[test]
    fn entries_have_seats_and_shadows_the_symbols_of_theirs() {
        let text = "[model]\nroot = 'shared'\ncadence = 'as_it_comes'\n\
            [[models]]\nname = 'vol'\nversion = '3'\nsymbols = ['BTC*']\n\
            [[models]]\nname = 'tend'\nmode = 'full'\nroot = 'own'\ncadence = 'as_trained'\n\
            [[models]]\nname = 'vol'\nas = 'vol-next'\nrole = 'shadow'\nwatch = true\n\
            [[models]]\nname = 'other'\nrole = 'shadow'\nshadows = 'tend'\nsymbols = ['A']\n\
            promote.when = 'by_hand'\n";
        let all = models(text).unwrap();
        let names: Vec<_> =
            all.iter().map(|model| (&*model.name, model.role, model.seat)).collect();
        let expected = [
            ("vol", Role::Live, 0),
            ("tend", Role::Live, 1),
            ("vol-next", Role::Shadow, 0),
            ("other", Role::Shadow, 1),
        ];
        assert_eq!(names, expected);
        assert!(all.iter().all(|model| model.is_listed));
        assert_eq!(all[2].patterns, ["BTC*"]);
        assert!(all[2].symbols.wants("BTCUSDT") && !all[2].symbols.wants("ETH"));
        assert_eq!(all[3].patterns, ["A"]);
        assert_eq!(all[0].choice.root, Path::new("shared"));
        assert_eq!((&all[1].choice.root, all[1].choice.mode), (&"own".into(), Some(Mode::Full)));
        let cadences = all.iter().map(|model| model.cadence == CadencePolicy::AsTrained);
        assert_eq!(cadences.collect::<Vec<_>>(), [false, true, false, false]);
        assert_eq!((&*all[0].choice.version, &*all[2].choice.version), ("3", "latest"));
    }

    #[test]
    fn a_blend_has_the_bundle_and_the_symbols_of_its_first_member() {
        let text = "[model]\nroot = 'shared'\n\
            [[models]]\nname = 'mix'\nrole = 'blend'\nblends = ['vol-next', 'vol']\n\
            [[models]]\nname = 'vol'\nversion = '3'\nsymbols = ['BTC*']\n\
            [[models]]\nname = 'vol'\nas = 'vol-next'\nrole = 'shadow'\nversion = '4'\n\
            mode = 'full'\ncadence = 'as_it_comes'\n\
            [[models]]\nname = 'all'\nrole = 'blend'\nblends = ['vol']\nsymbols = ['ETH']\n";
        let all = models(text).unwrap();
        let posts: Vec<_> =
            all.iter().map(|model| (&*model.name, model.role, model.seat)).collect();
        let expected = [
            ("mix", Role::Blend, 1),
            ("vol", Role::Live, 0),
            ("vol-next", Role::Shadow, 0),
            ("all", Role::Blend, 2),
        ];
        assert_eq!(posts, expected);
        assert_eq!(all[0].choice, all[2].choice);
        assert_eq!((all[0].cadence, &*all[0].patterns), (all[2].cadence, &["BTC*".to_owned()][..]));
        assert_eq!(
            all[0].blends.iter().map(|name| &**name).collect::<Vec<_>>(),
            ["vol-next", "vol"]
        );
        assert_eq!((&*all[3].choice.version, &*all[3].patterns), ("3", &["ETH".to_owned()][..]));
        assert!(all[1].blends.is_empty());
        let problems = problems(
            "[[models]]\nname = 'a'\nblends = ['b']\n\
             [[models]]\nname = 'b'\nwatch = true\n\
             [[models]]\nname = 'x'\nrole = 'blend'\nversion = '1'\nshadows = 'a'\n\
             [[models]]\nname = 'y'\nrole = 'blend'\nblends = ['x', 'b', 'a', 'a', 'c']\n",
        );
        for expected in [
            "models[0].blends: applies to blends only (role = \"blend\")",
            "models[2].blends: is missing: name the models to blend",
            "models[2].version: is for a model of its own; a blend has none",
            "models[2].shadows: is for a model of its own; a blend has none",
            "models[3].blends: `x` is a blend itself",
            "models[3].blends: `b` changes its version while the daemon runs (watch, promote), and \
             a blend learns what one version is worth",
            "models[3].blends: names `a` twice",
            "models[3].blends: `c` is the name of no other entry",
        ] {
            assert!(problems.iter().any(|found| found == expected), "{expected} in {problems:#?}");
        }
    }

    #[cfg(feature = "kafka")]
    #[test]
    fn forecasts_of_shadows_have_a_topic_of_their_own() {
        for other in ["forecasts", "scores", "dead_letters"] {
            let text = format!(
                "[source]\nkind = 'kafka'\n[model]\nname = 'm'\n\
                 [kafka]\ntopics = ['ticks']\nshadows = 'one'\n{other} = 'one'\n"
            );
            let found = parse(&text).map(drop).map_err(|error| error.problems).unwrap_err();
            let expected = "kafka.shadows: must not be the topic of the forecasts, the scores or \
                            the dead letters";
            assert!(found.iter().any(|found| found == expected), "{other}: {found:?}");
        }
    }

    #[test]
    fn symbols_that_no_model_wants_are_warned_of() {
        let warnings = |symbols: &str, models: &str| {
            let source = "[source]\nurl = 'ws://127.0.0.1:1'\nvenue = 'binance'\n";
            let text = format!("{source}symbols = [{symbols}]\n{models}");
            read(&text, &HashMap::new()).unwrap().warnings
        };
        let models = "[[models]]\nname = 'a'\nsymbols = ['BTC*']\n\
            [[models]]\nname = 'b'\nsymbols = ['ETHUSDT']\nrole = 'shadow'\n";
        assert_eq!(warnings("'BTCUSDT', 'ETHUSDT'", models), [""; 0]);
        assert_eq!(
            warnings("'BTCUSDT', 'S1', 'S2', 'S3', 'S4', 'S5', 'S6', 'S7'", models),
            ["source.symbols: no model wants S1, S2, S3, S4, S5 and 2 more: their ticks are \
              unused (models.symbols)"]
        );
        assert_eq!(warnings("'S1'", "[model]\nname = 'm'\n"), [""; 0]);
    }

    #[test]
    fn versions_take_turns_where_promote_says_how() {
        let turns = "version = '3'\nwatch = true\npromote = { when = 'by_hand' }\n";
        let pair = models(&format!("[model]\nname = 'm'\n{turns}")).unwrap();
        let list = format!(
            "[[models]]\nname = 'm'\nsymbols = ['A*']\n{turns}[[models]]\nname = 'n'\n\
             [[models]]\nname = 'm'\nas = 's'\nrole = 'shadow'\nshadows = 'm'\nversion = '1'\n"
        );
        let list = models(&list).unwrap();
        let words = |models: &[ModelConfig]| -> Vec<String> {
            let word = |model: &ModelConfig| {
                let other = model.turns.map(|turns| (turns.other, turns.is_first));
                format!("{} {} {} {other:?}", model.name, model.role, model.seat)
            };
            models.iter().map(word).collect()
        };
        let expected = ["m live 0 Some((1, true))", "m.other vacant 0 Some((0, false))"];
        assert_eq!(words(&pair), expected);
        assert!(pair.iter().all(|model| model.is_listed && model.choice.version == "3"));
        let expected = [
            "m live 0 Some((3, true))",
            "n live 1 None",
            "s shadow 0 None",
            "m.other vacant 0 Some((0, false))",
        ];
        assert_eq!(words(&list), expected);
        assert_eq!(list[3].patterns, ["A*"]);
        for (promote, expected) in [
            ("'by_hand'", "model.promote: must be a table"),
            ("{}", "model.promote: needs when = \"by_hand\" or \"better\""),
            ("{ when = 'soon' }", "model.promote.when: `soon` is none of `by_hand`, `better`"),
            (
                "{ when = 'by_hand', than = 'live' }",
                "model.promote.than: unknown key; there is `when`",
            ),
        ] {
            let found = problems(&format!("[model]\nname = 'm'\npromote = {promote}\n"));
            assert!(found.iter().any(|found| found == expected), "{expected} in {found:#?}");
        }
        let twice = format!("[[models]]\nname = 'm'\n{turns}[[models]]\nname = 'm.other'\n");
        assert_eq!(
            problems(&twice),
            ["models: `m.other` is the name of an entry that promote adds"]
        );
        let key = "[[models]]\nname = 'n'\n[model]\npromote = { when = 'by_hand' }\n";
        assert!(problems(key).join("\n").contains("promote: is for a single model"), "with a list");
    }

    #[test]
    fn a_rule_is_refused_where_it_can_never_promote() {
        let by_rule = |text: &str| -> Vec<bool> {
            models(text).unwrap().iter().map(|model| model.promotes_by_rule).collect()
        };
        let rule = "promote.when = 'better'\n";
        assert_eq!(by_rule(&format!("[model]\nname = 'm'\n{rule}")), [true, true]);
        let shadow = "[[models]]\nname = 'n'\nrole = 'shadow'\n";
        assert_eq!(by_rule(&format!("[[models]]\nname = 'm'\n{shadow}{rule}")), [false, true]);
        assert_eq!(by_rule(&format!("[[models]]\nname = 'm'\n{shadow}")), [false, false]);
        let narrow = format!("[[models]]\nname = 'm'\n{shadow}symbols = ['A']\n{rule}");
        assert_eq!(
            problems(&narrow),
            ["models[1].promote.when: this entry does not want every symbol of `m`, so it cannot \
              get its seat; give both the same symbols, or leave promote out"]
        );
        let of_turns = format!("[[models]]\nname = 'm'\n{rule}{shadow}{rule}");
        assert_eq!(
            problems(&of_turns),
            ["models[1].promote.when: the versions of `m` take turns in that seat (promote), so \
              no other shadow gets it; use \"by_hand\" or leave promote out"]
        );
    }

    #[test]
    fn every_problem_names_its_entry() {
        let text = "[model]\nname = 'm'\nwatch = true\n\
            [[models]]\nname = 'a'\nrole = 'shadow'\nshadows = 'nobody'\n\
            [[models]]\nnam = 'b'\nmode = 'slidign'\n\
            [[models]]\nname = 'c'\nshadows = 'c'\nsymbols = ['']\npromote.when = 'soon'\n\
            [[models]]\nname = 'c'\nversion = '1'\nwatch = true\n";
        let found = problems(text);
        for expected in [
            "models[0].shadows: `nobody` is the name of no live model",
            "models[1].name: is missing",
            "models[1].mode: `slidign` is none of `auto`, `sliding`, `full`, `carried`, did you \
             mean `sliding`?",
            "models[1].nam: unknown key, did you mean `name`?",
            "models[2].symbols: a symbol has 1 to 256 bytes, all of them printable",
            "models[2].promote.when: `soon` is none of `by_hand`, `better`",
            "models[2].shadows: applies to shadows only (role = \"shadow\")",
            "models[3].watch: needs version = \"latest\": a version never changes",
            "models[3].as: models[2] has the name `c` already; give one of them another one, such \
             as as = \"c-next\"",
            "model.name: is for a single model; with [[models]] set it in an entry there",
            "model.watch: is for a single model; with [[models]] set it in an entry there",
        ] {
            assert!(found.iter().any(|found| found == expected), "{expected} in {found:#?}");
        }
        let none = "[[models]]\nname = 'a'\nrole = 'shadow'\n";
        assert_eq!(
            problems(none),
            ["models: no entry is live; remove role from one of them, or set it to \"live\""]
        );
        let unclear = "[[models]]\nname = 'a'\n[[models]]\nname = 'b'\n\
            [[models]]\nname = 'c'\nrole = 'shadow'\n";
        assert_eq!(
            problems(unclear),
            ["models[2].shadows: is missing: name the live model whose seat it may get"]
        );
        let list = problems("models = 3\n").join("\n");
        assert!(list.contains("source"), "a key behind a table belongs to it: {list}");
        let name = problems("[[models]]\nname = 'a'\nas = 'a b'\n").join("\n");
        assert!(name.starts_with("models[0].as: has 1 to 64 letters"), "{name}");
    }
}
