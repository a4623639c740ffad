//! What a venue allows and expects of a connection.
//!
//! Owns the words. Promises nothing itself: whoever holds the connection keeps to them.

use std::time::Duration;

/// At most so many in any period of this length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many; also how many may go at once.
    pub count: u32,
    /// The length of the period.
    pub period: Duration,
}

/// What a venue allows and expects of each connection. How long connecting may take and how long
/// silence may last are settings of the source, which a venue has defaults for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VenueLimits {
    /// Messages that may be sent on one connection, pings and pongs among them.
    pub messages: Option<Rate>,
    /// Attempts to connect, over all connections of this process.
    pub connects: Option<Rate>,
    /// The longest life of a connection: it should be replaced before.
    pub life_max: Option<Duration>,
    /// What to send to keep a connection open, and how often; no frame of the protocol's own, which
    /// are sent anyway.
    pub ping: Option<Ping>,
    /// Heartbeats come at least so often where nothing else does; without, there are none.
    pub heartbeat_max: Option<Duration>,
    /// The time from connecting to the last subscription sent, beyond which the venue closes.
    pub subscribe_max: Option<Duration>,
    /// How long the answer to a subscription may take.
    pub answer_max: Option<Duration>,
}

/// What to send to keep a connection open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ping {
    /// The text message.
    pub text: String,
    /// The time between two.
    pub period: Duration,
}
