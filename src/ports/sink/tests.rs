//! Tests of a record on its way out, and of what a sink need not do.

use super::*;
use crate::core::domain::Reject;

const IN_FUTURE: NamedRejection<'static> =
    NamedRejection { reason: Reject::InFuture, field: Some("time") };

/// A sink that does no more than it must.
struct Plain;

impl Sink for Plain {
    fn another(&self) -> Box<dyn Sink> {
        Box::new(Self)
    }

    fn publish(&mut self, _: &Outgoing<'_>) -> Result<(), SinkClosed> {
        Err(SinkClosed("plain"))
    }

    fn publish_score(&mut self, _: &Outgoing<'_>) -> Result<(), SinkClosed> {
        Ok(())
    }

    fn settle(&self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_record_is_copied_once_for_all_that_keep_it() {
    let (symbol, bytes, pulse) = (Symbol::new("A").unwrap(), *b"forecast", Pulse::new());
    let record = Outgoing::new(&symbol, &bytes, "sha", None, &pulse);
    let (first, second) = (record.shared(), record.shared());
    assert_eq!((&*first, &*second), (&bytes[..], &bytes[..]));
    assert_eq!(first.as_ptr(), second.as_ptr());
    assert_ne!(first.as_ptr(), bytes.as_ptr(), "the buffer is used again");
    drop(record);
    assert_eq!(&*first, b"forecast", "it outlives the record");
}

#[test]
fn a_sink_may_ignore_refused_records_and_lines() {
    let mut sink = Plain.another();
    let record = Record::default();
    sink.dead_letter(&record, IN_FUTURE, &Pulse::new());
    sink.turn();
    let (symbol, pulse) = (Symbol::new("A").unwrap(), Pulse::new());
    let closed = sink.publish(&Outgoing::new(&symbol, b"", "", None, &pulse)).unwrap_err();
    assert_eq!(closed.to_string(), "the sink `plain` takes no more records");
}
