//! The scores of a daemon, beside its forecasts: a subscription of its own on the same stream.
//!
//! Owns that subscription. Promises that a daemon which has no scores, or no place for one more
//! subscriber, costs the watch nothing. Never tries again by itself: the next connection of the
//! forecasts does.

use std::time::Duration;

use tokio::sync::mpsc;

use super::client::{Event, follow};
use crate::net::address::WebSocketUrl;
use crate::net::dial::Dialer;

/// Events between the connection and the screen.
const QUEUE_EVENTS_MAX: usize = 1024;

/// What asks for scores.
const WISH: &str = "records=scores&snapshot=true";

/// Subscribes to the scores of what is watched.
pub(super) fn subscribe(dialer: Dialer, url: &WebSocketUrl, seed: u64) -> mpsc::Receiver<Event> {
    let (sender, events) = mpsc::channel(QUEUE_EVENTS_MAX);
    let separator = if url.secret().contains('?') { '&' } else { '?' };
    if let Ok(url) = format!("{}{separator}{WISH}", url.secret()).parse() {
        tokio::spawn(follow(dialer, url, Duration::ZERO, seed, sender));
    }
    events
}

/// Waits for more of what a subscription says, and puts it behind `batch`; for ever where there is
/// none, or none any more.
pub(super) async fn more(scores: &mut Option<mpsc::Receiver<Event>>, batch: &mut Vec<Event>) {
    let Some(events) = scores else { return std::future::pending().await };
    if events.recv_many(batch, QUEUE_EVENTS_MAX).await == 0 {
        *scores = None;
    }
}
