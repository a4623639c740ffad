//! A topic of forecasts, in a build without the client for it.
//!
//! Owns the answer: a failure that names the cargo feature. The command line refuses the address
//! before it comes to this.

use std::time::Duration;

use tokio::sync::mpsc::Sender;

use super::TopicTarget;
use super::client::{ConnectError, Event};

/// Delivers the failure and nothing else.
pub(super) fn follow(_: &TopicTarget, _: Duration, _: u64, events: &Sender<Event>) {
    let what = "not in this build; it needs the cargo feature `kafka`".to_owned();
    // Where nobody listens any more, nobody needs the answer.
    let _ = events.blocking_send(Event::Failed(ConnectError::Setup(what)));
}
