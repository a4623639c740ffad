//! What the http thread counts.
//!
//! Owns the metrics of connections and of requests that were refused. Promises a series for every
//! reason from the start. Never decides anything.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Why a connection was closed before its peer closed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// No whole request head in time.
    Head,
    /// No further request in time.
    Idle,
    /// The answer was not read in time.
    Unread,
    /// It was open for as long as a connection may be.
    Life,
    /// A newer connection took its place.
    Place,
    /// A newer connection took its file descriptor.
    Descriptors,
    /// It was new, and every other connection waits for a reload.
    Full,
}

/// Why a request was refused before it reached its route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It is not HTTP.
    Malformed,
    /// Its `Host` is missing, given twice, wrong, or not one of ours.
    Host,
    /// It lacks the token.
    Token,
    /// It comes from a web page of a foreign origin.
    Origin,
    /// Too many large answers wait to be read.
    Busy,
}

/// The metrics of the http thread.
#[derive(Clone, Debug)]
pub(super) struct HttpMetrics {
    connections: IntGauge,
    accepts_failed: IntCounter,
    cut: [IntCounter; Cut::ALL.len()],
    refused: [IntCounter; Refused::ALL.len()],
}

impl Cut {
    const ALL: [Self; 7] = [
        Self::Head,
        Self::Idle,
        Self::Unread,
        Self::Life,
        Self::Place,
        Self::Descriptors,
        Self::Full,
    ];

    /// The word for it.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Idle => "idle",
            Self::Unread => "unread",
            Self::Life => "life",
            Self::Place => "place",
            Self::Descriptors => "descriptors",
            Self::Full => "full",
        }
    }
}

impl Refused {
    const ALL: [Self; 5] = [Self::Malformed, Self::Host, Self::Token, Self::Origin, Self::Busy];

    fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Host => "host",
            Self::Token => "token",
            Self::Origin => "origin",
            Self::Busy => "busy",
        }
    }
}

impl HttpMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// Where a name is registered already.
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let connections = IntGauge::new(
            "tickcast_http_connections",
            "Open HTTP connections, those of subscribers not counted.",
        )?;
        registry.register(Box::new(connections.clone()))?;
        let accepts_failed = IntCounter::new(
            "tickcast_http_accepts_failed_total",
            "Attempts to accept a connection that failed, as with too many open files.",
        )?;
        registry.register(Box::new(accepts_failed.clone()))?;
        let by_reason = |name: &str, help: &str| {
            let counters = IntCounterVec::new(Opts::new(name, help), &["reason"])?;
            registry.register(Box::new(counters.clone())).map(|()| counters)
        };
        let cut = by_reason(
            "tickcast_http_connections_cut_total",
            "Connections closed before their peer closed them, by reason.",
        )?;
        let refused = by_reason(
            "tickcast_http_requests_refused_total",
            "Requests refused before they reached their route, by reason.",
        )?;
        Ok(Self {
            connections,
            accepts_failed,
            cut: Cut::ALL.map(|reason| cut.with_label_values(&[reason.label()])),
            refused: Refused::ALL.map(|reason| refused.with_label_values(&[reason.label()])),
        })
    }

    pub(super) fn opened(&self) {
        self.connections.inc();
    }

    pub(super) fn closed(&self) {
        self.connections.dec();
    }

    pub(super) fn accept_failed(&self) {
        self.accepts_failed.inc();
    }

    pub(super) fn cut(&self, reason: Cut) {
        self.cut[reason as usize].inc();
    }

    pub(super) fn refused(&self, reason: Refused) {
        self.refused[reason as usize].inc();
    }
}

#[cfg(test)]
impl HttpMetrics {
    /// How many connections were cut for a reason.
    pub(super) fn count(&self, reason: Cut) -> u64 {
        self.cut[reason as usize].get()
    }
}
