//! What to do when a connection cannot be accepted.
//!
//! Owns a spare file descriptor and the log lines about failures. Promises that where no descriptor
//! is left, one is made free for a new connection, which may not become a subscriber and keep it,
//! so that probes and metrics are answered; that failures are logged once a minute at most; and
//! that trying again never keeps a processor busy. Never closes a subscriber.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tracing::warn;

use super::connections::Connections;
use super::metrics::{Cut, HttpMetrics};
use crate::ops::clock::TimerStopwatch;
use crate::ops::descriptors::{self, Spare};

/// A pause where nothing can be done but to wait for a descriptor.
const PAUSE: Duration = Duration::from_millis(20);

/// A pause in which the task of a cut connection closes its socket, and that of a new one reads
/// what is there and answers it.
pub(super) const TURN: Duration = Duration::from_millis(2);

/// The time between two log lines about failures.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Whether file descriptors are short; cloning shares it.
#[derive(Clone, Debug, Default)]
pub(super) struct Shortage(Arc<AtomicBool>);

impl Shortage {
    pub(super) fn is_now(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The state of accepting.
pub(super) struct Accepting {
    metrics: HttpMetrics,
    spare: Option<Spare>,
    /// What others see of it.
    shortage: Shortage,
    /// The last attempt failed.
    is_failing: bool,
    /// When a failure was logged, and how many were not since.
    logged: Option<TimerStopwatch>,
    unlogged: u64,
}

impl Accepting {
    pub(super) fn new(metrics: HttpMetrics, shortage: Shortage) -> Self {
        let spare = Spare::take().inspect_err(|error| {
            warn!(%error, "no spare file descriptor for probes");
        });
        let (is_failing, logged, unlogged) = (false, None, 0);
        Self { metrics, spare: spare.ok(), shortage, is_failing, logged, unlogged }
    }

    /// A connection was accepted.
    pub(super) fn succeeded(&mut self) {
        self.is_failing = false;
    }

    /// Takes the spare descriptor back, where it was given away and connections come in again.
    pub(super) fn recover(&mut self) {
        if self.is_failing {
            return;
        }
        if self.spare.is_none() {
            self.spare = Spare::take().ok();
        }
        self.shortage.0.store(self.spare.is_none(), Ordering::Relaxed);
    }

    /// A connection was not accepted. Makes a descriptor free where that helps, and says how long
    /// to wait before the next attempt.
    pub(super) fn failed(
        &mut self,
        error: &io::Error,
        listener: impl AsFd,
        connections: &Connections,
    ) -> Duration {
        let is_exhausted = descriptors::are_exhausted(error);
        if is_exhausted && !descriptors::is_readable(listener) {
            // The system wants a descriptor before it looks whether there is a connection at all.
            return PAUSE;
        }
        self.is_failing = true;
        self.metrics.accept_failed();
        self.log(error);
        if !is_exhausted {
            // The peer has left meanwhile, or the system has another reason to try again.
            return TURN;
        }
        self.shortage.0.store(true, Ordering::Relaxed);
        if connections.spare_one(Cut::Descriptors) || self.spare.take().is_some() {
            return TURN;
        }
        PAUSE
    }

    fn log(&mut self, error: &io::Error) {
        if self.logged.is_some_and(|logged| logged.elapsed() < LOG_EVERY) {
            self.unlogged += 1;
            return;
        }
        let (unlogged, limit) = (self.unlogged, descriptors::limit());
        self.logged = Some(TimerStopwatch::start());
        self.unlogged = 0;
        warn!(
            %error, unlogged, descriptors_max = limit,
            "cannot accept connections; idle ones are closed so that probes are answered"
        );
    }
}
