//! A cluster whose doors are guarded, against a real broker: every way in, what is said at a door
//! that stays closed, and what happens when one closes behind a running daemon. No secret is ever
//! written anywhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::support::bundle::SealedBundle;
use crate::support::guarded::{
    EXPIRED, Guarded, LEAVING_USER, MUTUAL, PLAIN_PASSWORD, SCRAM_PASSWORD, SECURE, USER, login,
    token, token_login,
};
use crate::support::process::{Daemon, Ended, eventually, run_to_end, signal};
use crate::support::topics::{
    PARTITIONS, Topics, assert_in_order, await_committed, bundle, distinct, patient, produce,
    replay, start, symbols, ticks,
};

/// Settings of a daemon that comes through a door.
fn settings(guarded: &Guarded, topics: &Topics, door: &str, delivery: &str) -> String {
    let through = crate::support::cluster::Cluster::at(guarded.broker().door(door));
    topics.settings(&through, delivery, "one")
}

/// The option of a password that stands in a file.
fn password_file(folder: &Path, name: &str, password: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, format!("{password}\n")).unwrap();
    format!("kafka.options.'sasl.password_file' = '{}'\n", path.display())
}

fn assert_no_secrets(text: &str, secrets: &[&str]) {
    for secret in secrets {
        assert!(!text.contains(secret), "`{secret}` in {text}");
    }
}

fn log_of(ended: &Ended) -> String {
    ended.log.iter().map(|line| format!("{line}\n")).collect()
}

#[test]
fn ticks_go_in_and_forecasts_come_out_through_every_guarded_door() {
    let (guarded, sealed) = (Guarded::shared(), bundle());
    let (broker, folder) = (guarded.broker(), tempfile::tempdir().unwrap());
    let token_path = folder.path().join("token");
    let token = token(600);
    fs::write(&token_path, &token).unwrap();
    let trusting = guarded.trusting("trusted");
    let ways = [
        (
            SECURE,
            "at_least_once",
            login("PLAIN", USER) + &password_file(folder.path(), "plain", PLAIN_PASSWORD),
        ),
        (
            SECURE,
            "exactly_once",
            login("SCRAM-SHA-512", USER)
                + &format!("kafka.options.'sasl.password' = '{SCRAM_PASSWORD}'\n"),
        ),
        (SECURE, "at_least_once", token_login(&token_path)),
        (MUTUAL, "exactly_once", guarded.showing("trusted", "client")),
    ];
    let records = ticks(&symbols(5), 0..20);
    let daemons = ways.map(|(door, delivery, way)| {
        let topics = Topics::create(broker);
        if way.contains("token_file") {
            // With a token nothing but reading and writing is possible.
            for topic in topics.outputs() {
                broker.create_topic(topic, PARTITIONS);
            }
            broker.create_compacted_topic(&topics.changelog(), PARTITIONS);
        }
        produce(broker, &topics.input, &records);
        let settings = patient(&settings(guarded, &topics, door, delivery));
        let debug = "log.level = 'debug'\nkafka.options.debug = 'security,conf'\n";
        (start(&sealed, &format!("{settings}{trusting}{way}{debug}")), topics)
    });
    let expected = replay(&sealed, &records);
    for (daemon, topics) in daemons {
        await_committed(broker, &topics);
        let failed = daemon.metric("tickcast_kafka_sessions_failed_total");
        let ended = daemon.stop();
        assert!(ended.status.success(), "{:?}", ended.log);
        let warnings: Vec<_> = ended.log.iter().filter(|line| line["level"] == "WARN").collect();
        assert_eq!(failed, 0.0, "{warnings:#?}");
        assert_no_secrets(&log_of(&ended), &[PLAIN_PASSWORD, SCRAM_PASSWORD, &token]);
        let (forecasts, _) = distinct(&broker.read(&topics.forecasts, "read_committed"));
        assert_in_order(&forecasts);
        assert!(forecasts == expected, "the bytes of the forecasts");
    }
}

#[test]
fn a_door_that_stays_closed_ends_the_start_and_says_why() {
    let (guarded, sealed) = (Guarded::shared(), bundle());
    let folder = tempfile::tempdir().unwrap();
    let wrong = "wrong-hunter3";
    let plain = || login("PLAIN", USER) + &password_file(folder.path(), "wrong", wrong);
    let scram = || login("SCRAM-SHA-512", USER) + &password_file(folder.path(), "wrong", wrong);
    let trusted = guarded.trusting("trusted");
    let expired = folder.path().join("expired");
    fs::write(&expired, token(-60)).unwrap();
    let garbage = folder.path().join("garbage");
    fs::write(&garbage, wrong).unwrap();
    let missing = folder.path().join("missing");
    let missing_password = format!(
        "{}kafka.options.'sasl.password_file' = '{}'\n",
        login("PLAIN", USER),
        missing.display()
    );
    let over_tls = "kafka.options.'security.protocol' = 'SSL'\n";
    let cases = [
        (SECURE, trusted.clone() + &plain(), "refuses the credentials"),
        (SECURE, trusted.clone() + &scram(), "refuses the credentials"),
        (SECURE, trusted.clone() + &missing_password, "sasl.password_file: "),
        (SECURE, guarded.trusting("foreign") + &plain(), "certificate is not trusted"),
        (EXPIRED, trusted.clone() + over_tls, "certificate is not trusted"),
        (MUTUAL, trusted.clone() + over_tls, "refuses our certificate, or misses it"),
        (
            MUTUAL,
            trusted.clone() + &guarded.showing("foreign", "client"),
            "the broker refuses our certificate",
        ),
        (
            MUTUAL,
            trusted.clone() + &guarded.showing("trusted", "expired-client"),
            "the broker refuses our certificate",
        ),
        (SECURE, trusted.clone() + &token_login(&expired), "no token to log in with"),
        (SECURE, trusted.clone() + &token_login(&garbage), "no token to log in with"),
        (SECURE, trusted.clone() + &token_login(&missing), "no token to log in with"),
    ];
    let topics = Topics::create(guarded.broker());
    for (index, (door, way, words)) in cases.into_iter().enumerate() {
        let settings = settings(guarded, &topics, door, "at_least_once") + &way;
        let path = folder.path().join(format!("{index}.toml"));
        let config = format!(
            "model.root = '{}'\nmodel.name = 'random'\nhttp.bind = '127.0.0.1:0'\n{settings}",
            sealed.root.path().display()
        );
        fs::write(&path, config).unwrap();
        let output = run_to_end(&["serve", "-c", &path.display().to_string()]);
        let said = String::from_utf8(output.stderr).unwrap();
        println!("{index} {}", said.lines().last().unwrap_or_default());
        assert_eq!(output.status.code(), Some(78), "{index}: {said}");
        let last = said.lines().last().unwrap();
        assert!(last.starts_with("tickcast: ") && last.contains(words), "{index}: {said}");
        assert_no_secrets(&said, &[wrong]);
    }
    // A bridge says the same.
    let path = folder.path().join("bridge.toml");
    let config = format!(
        "source.url = 'ws://127.0.0.1:1'\nhttp.bind = '127.0.0.1:0'\nbridge.topic = 'any'\n\
         kafka.brokers = '{}'\n{trusted}{}",
        guarded.broker().door(SECURE),
        plain()
    );
    fs::write(&path, config).unwrap();
    let output = run_to_end(&["bridge", "-c", &path.display().to_string()]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("refuses the credentials"), "{said}");
    assert_no_secrets(&said, &[wrong]);
}

fn await_reason(daemon: &Daemon, words: &str) {
    eventually(words, || {
        let (status, body) = daemon.get("/readyz");
        (status == 503 && body.contains(words)).then_some(())
    });
    assert_eq!(daemon.get("/livez").0, 200, "alive");
}

fn daemon_with_token(guarded: &Guarded, sealed: &SealedBundle, path: &Path) -> (Daemon, Topics) {
    let (broker, topics) = (guarded.broker(), Topics::create(guarded.broker()));
    for topic in topics.outputs() {
        broker.create_topic(topic, PARTITIONS);
    }
    broker.create_compacted_topic(&topics.changelog(), PARTITIONS);
    let settings = patient(&settings(guarded, &topics, SECURE, "at_least_once"));
    let trusting = guarded.trusting("trusted");
    (start(sealed, &format!("{settings}{trusting}{}", token_login(path))), topics)
}

/// Tokens of short lives in a file, each renewed well before it expires.
struct Renewal {
    path: PathBuf,
    ended: mpsc::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Renewal {
    fn begin(path: &Path) -> Self {
        renew(path, 8);
        let (ended, end) = mpsc::channel();
        let of_thread = path.to_owned();
        let thread = thread::spawn(move || {
            while end.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
                renew(&of_thread, 8);
            }
        });
        Self { path: path.to_owned(), ended, thread }
    }

    /// Leaves a token that expires within seconds.
    fn end(self) {
        self.ended.send(()).unwrap();
        self.thread.join().unwrap();
        renew(&self.path, 2);
    }
}

/// Replaces the token as a whole: the daemon may read the file at any moment.
fn renew(path: &Path, seconds: i64) {
    let draft = path.with_extension("draft");
    fs::write(&draft, token(seconds)).unwrap();
    fs::rename(&draft, path).unwrap();
}

#[test]
fn a_door_that_closes_later_is_tried_until_it_opens() {
    let (guarded, sealed) = (Guarded::shared(), bundle());
    let (broker, folder) = (guarded.broker(), tempfile::tempdir().unwrap());
    let path = folder.path().join("token");
    let renewal = Renewal::begin(&path);
    let (with_token, its_topics) = daemon_with_token(guarded, &sealed, &path);
    let topics = Topics::create(broker);
    let way = login("SCRAM-SHA-512", LEAVING_USER)
        + &password_file(folder.path(), "scram", SCRAM_PASSWORD);
    let settings = patient(&settings(guarded, &topics, SECURE, "exactly_once"));
    let with_password = start(&sealed, &format!("{settings}{}{way}", guarded.trusting("trusted")));
    let records = ticks(&symbols(4), 0..24);
    let (first, second) = records.split_at(records.len() / 2);
    for topics in [&topics, &its_topics] {
        produce(broker, &topics.input, first);
        await_committed(broker, topics);
    }

    renewal.end();
    guarded.delete_scram_user(LEAVING_USER);
    await_reason(&with_password, "refuses the credentials");
    with_password.await_metric("tickcast_kafka_sessions_failed_total", 2.0);
    await_reason(&with_token, "no token to log in with");
    produce(broker, &its_topics.input, second);
    // Renewed in time from here on, as whoever projects it does.
    fs::write(&path, token(600)).unwrap();
    await_committed(broker, &its_topics);
    eventually("readiness", || (with_token.get("/readyz").0 == 200).then_some(()));
    let ended = with_token.stop();
    assert!(ended.status.success(), "{:?}", ended.log);
    let (forecasts, _) = distinct(&broker.read(&its_topics.forecasts, "read_committed"));
    assert_in_order(&forecasts);
    assert!(forecasts == replay(&sealed, &records), "the bytes of the forecasts");
    let mut with_password = with_password;
    signal(with_password.id(), "TERM");
    let ended = with_password.await_end();
    assert!(ended.status.success(), "it stops in order behind a closed door: {:?}", ended.log);
    assert_no_secrets(&log_of(&ended), &[SCRAM_PASSWORD]);
    let (forecasts, repeats) = distinct(&broker.read(&topics.forecasts, "read_committed"));
    assert!(forecasts == replay(&sealed, first) && repeats == 0, "nothing behind the closed door");
}
