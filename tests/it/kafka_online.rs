//! `tickcast check --online` against a real broker: what only the cluster knows, every problem at
//! once, and nothing changed by the look.

use std::fs;

use crate::support::broker::{Broker, Extras};
use crate::support::bundle::SealedBundle;
use crate::support::cluster::Cluster;
use crate::support::process::run_to_end;
use crate::support::topics::{
    PARTITIONS, Topics, await_committed, bundle, exchanged, patient, produce, start, symbols, ticks,
};

/// Runs the check on a daemon; returns its exit code and everything that it said.
fn check(sealed: &SealedBundle, settings: &str) -> (Option<i32>, String) {
    let models = sealed.root.path().display();
    check_file(&format!("model.root = '{models}'\nmodel.name = 'random'\n{settings}"))
}

fn check_file(settings: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checked.toml").display().to_string();
    fs::write(&path, settings).unwrap();
    let output = run_to_end(&["check", "--online", "-c", &path]);
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

fn assert_said(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "`{word}` in {said}");
    }
}

fn warnings(said: &str) -> Vec<&str> {
    said.lines().filter(|line| line.starts_with("warning")).collect()
}

#[test]
fn topics_that_are_well_pass_and_nothing_is_made_by_looking() {
    let (broker, sealed) = (Broker::shared(), bundle());
    let topics = Topics::create(broker);
    let settings = topics.settings(broker, "at_least_once", "one");
    let (code, said) = check(&sealed, &settings);
    assert_eq!((code, warnings(&said)), (Some(0), vec![]), "{said}");
    let input = format!("input         {}: {PARTITIONS} partitions", topics.input);
    let group = format!("group         {}: offsets of 0 of {PARTITIONS} partitions", topics.group);
    let missing = format!("{}: missing, will be created", topics.forecasts);
    assert_said(&said, &[&input, "cleanup.policy=delete", &group, &missing]);
    for topic in topics.outputs().into_iter().chain([&*topics.changelog()]) {
        assert_eq!(broker.partition_count(topic), None, "{topic}");
    }
    // Beside a daemon that runs, which it leaves alone.
    for delivery in ["at_least_once", "exactly_once"] {
        let topics = Topics::create(broker);
        let settings = patient(&topics.settings(broker, delivery, "one"));
        let daemon = start(&sealed, &settings);
        produce(broker, &topics.input, &ticks(&symbols(3), 0..8));
        await_committed(broker, &topics);
        let (code, said) = check(&sealed, &settings);
        assert_eq!(code, Some(0), "{said}");
        let changelog = format!(
            "changelog     {}: {PARTITIONS} partitions, cleanup.policy=compact",
            topics.changelog()
        );
        let group = format!("offsets of {PARTITIONS} of {PARTITIONS} partitions");
        assert_said(&said, &[&changelog, &group]);
        let is_told = warnings(&said).iter().any(|line| line.contains("transactional id"));
        assert_eq!(is_told, delivery == "exactly_once", "{said}");
        produce(broker, &topics.input, &ticks(&symbols(3), 8..10));
        await_committed(broker, &topics);
        assert_eq!(daemon.metric("tickcast_kafka_sessions_failed_total"), 0.0);
        assert!(daemon.stop().status.success());
    }
}

#[test]
fn every_problem_that_the_cluster_knows_is_told_at_once() {
    let (broker, sealed) = (Broker::shared(), bundle());
    let topics = Topics::new();
    broker.create_compacted_topic(&topics.input, PARTITIONS);
    broker.create_topic(&topics.changelog(), PARTITIONS + 1);
    let settings = topics.settings(broker, "at_least_once", "one");
    let missing = format!("{}-missing", topics.input);
    let both = format!("kafka.topics = ['{}', '{missing}']", topics.input);
    let one = format!("kafka.topics = ['{}']", topics.input);
    let settings = exchanged(&settings, &[(&one, &both)]);
    let (code, said) = check(&sealed, &settings);
    assert_eq!(code, Some(78), "{said}");
    let changelog = topics.changelog();
    assert_said(
        &said,
        &[
            &format!("kafka.topics: topic `{missing}` does not exist"),
            &format!("`{changelog}` has cleanup.policy=delete; it must be `compact`"),
            &format!("`{changelog}` has 5 partitions and its input `{}` has 4", topics.input),
        ],
    );
    let warnings = warnings(&said);
    assert_eq!(warnings.len(), 1, "{said}");
    assert!(warnings[0].contains(&format!("`{}` has cleanup.policy=compact", topics.input)));
}

#[test]
fn offsets_that_the_topic_no_longer_holds_are_told() {
    let (broker, sealed) = (Broker::shared(), bundle());
    let topics = Topics::create(broker);
    let settings = topics.settings(broker, "at_least_once", "one");
    let daemon = start(&sealed, &settings);
    broker.produce_to(&topics.input, 1, &ticks(&symbols(1), 0..8));
    await_committed(broker, &topics);
    assert!(daemon.stop().status.success());
    broker.produce_to(&topics.input, 1, &ticks(&symbols(1), 8..16));
    broker.delete_before(&topics.input, 1, 12);
    let (code, said) = check(&sealed, &settings);
    assert_eq!(code, Some(0), "{said}");
    let warnings = warnings(&said);
    assert_eq!(warnings.len(), 1, "{said}");
    assert_said(warnings[0], &["[1]: the topic no longer holds", "committed: 8", "12 to 16"]);
}

#[test]
fn rights_that_are_missing_are_told_by_topic() {
    let broker = Broker::start_with(Extras {
        doors: &[("LOGIN", "SASL_PLAINTEXT")],
        settings: "authorizer.class.name=\
                   org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
                   super.users=User:ANONYMOUS\n\
                   listener.name.login.sasl.enabled.mechanisms=PLAIN\n\
                   listener.name.login.plain.sasl.jaas.config=\
                   org.apache.kafka.common.security.plain.PlainLoginModule required \
                   user_reader=\"hunter2\";\n"
            .to_owned(),
        format: &[],
    });
    let sealed = bundle();
    let topics = Topics::create(&broker);
    for topic in topics.outputs() {
        broker.create_topic(topic, 1);
    }
    broker.create_compacted_topic(&topics.changelog(), PARTITIONS);
    let changelog = topics.changelog();
    let (describe, read, write) = (8, 3, 4);
    for (topic, operation) in [
        (&topics.input, describe),
        (&topics.forecasts, write),
        (&topics.scores, read),
        (&changelog, read),
        (&changelog, write),
    ] {
        allow(&broker, "User:reader", topic, operation);
    }
    let through = Cluster::at(broker.door("LOGIN"));
    let settings = topics.settings(&through, "at_least_once", "one")
        + "kafka.options.'security.protocol' = 'SASL_PLAINTEXT'\n\
           kafka.options.'sasl.mechanism' = 'PLAIN'\n\
           kafka.options.'sasl.username' = 'reader'\n\
           kafka.options.'sasl.password' = 'hunter2'\n";
    let (code, said) = check(&sealed, &settings);
    assert_eq!(code, Some(78), "{said}");
    let Topics { group, input, scores, dead, .. } = &topics;
    let problems = said.lines().skip_while(|line| !line.contains("kafka.topics:"));
    let problems: Vec<_> = problems.map(|line| line.trim_start_matches("tickcast: ")).collect();
    assert_eq!(problems.len(), 4, "{said}");
    assert_eq!(problems[0], format!("kafka.topics: topic `{input}`: no right to read"));
    assert_eq!(problems[1], format!("kafka.scores: topic `{scores}`: no right to write"));
    assert_eq!(problems[2], format!("kafka.dead_letters: topic `{dead}`: no right to describe"));
    assert!(problems[3].starts_with(&format!("kafka.group: group `{group}`: ")), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    let (code, said) = check(&sealed, &exchanged(&settings, &[("hunter2", "hunter3")]));
    assert_eq!(code, Some(78), "{said}");
    assert_said(&said, &["refuses the credentials"]);
}

/// Allows an operation on a topic, in the protocol's own bytes: CreateAcls, version 2.
fn allow(broker: &Broker, principal: &str, topic: &str, operation: u8) {
    let mut request = Vec::new();
    // Key, version, correlation, a client's name of length 0, no tagged fields.
    request.extend([0, 30, 0, 2, 0, 0, 0, 1, 0, 0, 0]);
    let text = |request: &mut Vec<u8>, text: &str| {
        // Lengths are one more than they are.
        request.push(u8::try_from(text.len()).unwrap() + 1);
        request.extend(text.as_bytes());
    };
    // One entry: a topic, its name, taken literally; who, from everywhere; what; allowed.
    request.extend([2, 2]);
    text(&mut request, topic);
    request.push(3);
    text(&mut request, principal);
    text(&mut request, "*");
    request.extend([operation, 3, 0, 0]);
    let answer = broker.ask(&request);
    // Correlation and a tag, the throttle time, the count.
    assert_eq!(answer[5 + 4 + 1..][..2], [0, 0], "the answer {answer:?}");
}

#[test]
fn a_cluster_that_is_away_and_a_source_without_one_are_told() {
    let sealed = bundle();
    let away = "source.kind = 'kafka'\nkafka.topics = ['ticks']\nkafka.brokers = '127.0.0.1:1'\n";
    let (code, said) = check(&sealed, away);
    assert_eq!(code, Some(78), "{said}");
    assert_said(&said, &["kafka.brokers = 127.0.0.1:1: "]);
    let (code, said) = check(&sealed, "source.url = 'ws://127.0.0.1:1'\n");
    assert_eq!(code, Some(0), "{said}");
    assert_said(&said, &["online        this kind of source has nothing to look at"]);
}

#[test]
fn the_topic_of_a_bridge_is_looked_at() {
    let broker = Broker::shared();
    let topics = Topics::create(broker);
    let bridge = |topic: &str| {
        let brokers = broker.address();
        let settings = format!("kafka.brokers = '{brokers}'\nbridge.topic = '{topic}'\n");
        check_file(&format!("source.url = 'ws://127.0.0.1:1'\n{settings}"))
    };
    let (code, said) = bridge(&topics.input);
    assert_eq!(code, Some(0), "{said}");
    assert_said(&said, &[&format!("topic         {}: {PARTITIONS} partitions", topics.input)]);
    let (code, said) = bridge(&topics.forecasts);
    assert_eq!(code, Some(0), "{said}");
    assert_said(&said, &[&format!("{}: missing, will be created", topics.forecasts)]);
}
