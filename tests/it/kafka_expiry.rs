//! Symbols that expire, through Kafka: what is stored of them ends in the changelog.

use std::collections::BTreeSet;
use std::fs;

use crate::support::broker::Broker;
use crate::support::process::run;
use crate::support::topics::{
    BySymbol, Topics, assert_in_order, await_committed, bundle, by_symbol, distinct, produce,
    start, states, tick,
};

const SETTINGS: &str = "engine.symbols_max = 5\nengine.symbol_ttl = '28d'\n";

/// The ticks of a contract, which expires before the next one begins.
fn contract(generation: u32) -> Vec<(String, String)> {
    let name = format!("C{generation:02}");
    let first = generation * 14;
    (first..first + 12).map(|day| (name.clone(), tick(&name, day))).collect()
}

/// What `replay` forecasts of records under the same settings.
fn replay(models: &std::path::Path, records: &[(String, String)]) -> BySymbol {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let lines: Vec<_> = records.iter().map(|(_, text)| &**text).collect();
    fs::write(path("ticks.jsonl"), lines.join("\n")).unwrap();
    let config = format!(
        "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{}'\nmodel.name = 'random'\n{SETTINGS}",
        models.display()
    );
    fs::write(path("tickcast.toml"), config).unwrap();
    let (config, input) = (path("tickcast.toml"), path("ticks.jsonl"));
    let output = run(&["replay", "-c", &config, "--input", &input, "--output", "-"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    by_symbol(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned))
}

fn expired_contracts_end_in_the_changelog(delivery: &str) {
    let (broker, sealed) = (Broker::shared(), bundle());
    let topics = Topics::create(broker);
    let settings = topics.settings(broker, delivery, "one") + SETTINGS;
    let mut records = Vec::new();
    let mut expired = 0.0;
    // Two lives, so that a restored symbol expires as well.
    for life in [0..8, 8..14] {
        let daemon = start(&sealed, &settings);
        for generation in life {
            let contract = contract(generation);
            produce(broker, &topics.input, &contract);
            await_committed(broker, &topics);
            records.extend(contract);
        }
        expired += daemon.metric("tickcast_symbols_expired_total");
        let refused = r#"tickcast_ticks_refused_total{reason="too_many_symbols"}"#;
        assert_eq!(daemon.metric(refused), 0.0);
        let ended = daemon.stop();
        assert!(ended.status.success(), "{:?}", ended.log);
        let states = states(broker, &topics);
        let gone: BTreeSet<_> =
            states.iter().filter(|(_, state)| state.is_none()).map(|(name, _)| name).collect();
        assert_eq!(gone.len() as f64, expired, "{gone:?}");
        assert!(states.len() - gone.len() <= 5, "{gone:?} of {}", states.len());
        assert!(gone.contains(&"C00".to_owned()), "{gone:?}");
    }
    let (forecasts, repeats) = distinct(&broker.read(&topics.forecasts, "read_committed"));
    assert_eq!(repeats, 0);
    assert_in_order(&forecasts);
    let replayed = replay(sealed.root.path(), &records);
    assert_eq!((forecasts.len(), forecasts), (14, replayed));
}

#[test]
fn expired_contracts_end_in_the_changelog_at_least_once() {
    expired_contracts_end_in_the_changelog("at_least_once");
}

#[test]
fn expired_contracts_end_in_the_changelog_exactly_once() {
    expired_contracts_end_in_the_changelog("exactly_once");
}
