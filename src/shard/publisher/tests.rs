//! Tests of the order in which the sinks of a shard get a record.

use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::*;
use crate::core::domain::Reject;
use crate::shard::test_support::{Log, MemorySink, Seen, plain};

const IN_FUTURE: NamedRejection<'static> =
    NamedRejection { reason: Reject::InFuture, field: Some("time") };

/// A model in a role.
fn origin(model: &str, role: Role) -> Origin {
    Origin { model_sha256: model.into(), post: Post { role, ..Post::default() } }
}

fn live() -> Origin {
    origin("", Role::Live)
}

fn names(log: &Log) -> Vec<&'static str> {
    log.entries().into_iter().map(|(name, _)| name).collect()
}

fn publisher(log: &Log) -> Publisher {
    Publisher::new(["first", "second"].map(|name| MemorySink::new(name, log).boxed()).into())
}

#[test]
fn the_sink_of_the_session_goes_first_while_it_lasts() {
    let log = Log::default();
    let mut publisher = publisher(&log);
    let symbol = Symbol::new("A").unwrap();
    publisher.connect(Some(MemorySink::new("session", &log).boxed()));
    publisher.publish(&live(), &symbol, b"one", None).unwrap();
    publisher.publish_score(&live(), &symbol, b"score").unwrap();
    publisher.turn();
    publisher.dead_letter(&plain("bad"), IN_FUTURE);
    assert_eq!(names(&log), ["session", "first", "second"].repeat(4));
    let model = String::new();
    let expected = [
        Seen::Forecast { symbol: "A".to_owned(), bytes: "one".to_owned(), model },
        Seen::Score { symbol: "A".to_owned(), bytes: "score".to_owned() },
        Seen::Turn,
        Seen::DeadLetter { bytes: "bad".to_owned(), reason: IN_FUTURE.reason },
    ];
    for name in ["session", "first", "second"] {
        assert_eq!(log.of(name), expected);
    }
    publisher.connect(None);
    publisher.publish(&origin("abc", Role::Live), &symbol, b"two", None).unwrap();
    assert_eq!(names(&log)[12..], ["first", "second"]);
    let Some(Seen::Forecast { model, .. }) = log.of("second").pop() else { panic!("a forecast") };
    assert_eq!(model, "abc");
}

#[test]
fn the_first_closed_sink_is_the_last_that_is_asked() {
    let log = Log::default();
    let mut publisher = publisher(&log);
    publisher.connect(Some(MemorySink::new("session", &log).with_room(0).boxed()));
    let closed = publisher.publish(&live(), &Symbol::new("A").unwrap(), b"one", None);
    assert_eq!((closed, names(&log)), (Err(SinkClosed("session")), vec![]));
}

/// A sink that keeps records.
#[derive(Clone, Default)]
struct Keeping(Arc<Mutex<Vec<Bytes>>>);

impl Sink for Keeping {
    fn another(&self) -> Box<dyn Sink> {
        Box::new(self.clone())
    }

    fn publish(&mut self, forecast: &Outgoing<'_>) -> Result<(), SinkClosed> {
        self.0.lock().unwrap().push(forecast.shared());
        Ok(())
    }

    fn publish_score(&mut self, _: &Outgoing<'_>) -> Result<(), SinkClosed> {
        Ok(())
    }

    fn settle(&self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn sinks_that_keep_a_record_share_one_copy() {
    let keeping = Keeping::default();
    let mut publisher = Publisher::new(vec![keeping.another(), keeping.another()]);
    publisher.publish(&live(), &Symbol::new("A").unwrap(), b"forecast", None).unwrap();
    // A shadow says nothing where no place was made for it.
    let shadow = origin("", Role::Shadow);
    publisher.publish(&shadow, &Symbol::new("A").unwrap(), b"shadow", None).unwrap();
    // These sinks have no place for a refused record, and count nothing apart.
    publisher.dead_letter(&plain("bad"), IN_FUTURE);
    publisher.turn();
    let kept = keeping.0.lock().unwrap();
    assert_eq!(*kept, ["forecast", "forecast"]);
    assert_eq!(kept[0].as_ptr(), kept[1].as_ptr());
}
