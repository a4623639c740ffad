//! A live feed over WebSockets: at most once, with every loss declared as a gap.
//!
//! Owns the sockets of a feed and their renewal. [`feed`] decides, as a machine that knows neither
//! sockets nor clocks; here its actions are done and facts are brought to it. Promises that what
//! the machine passes on reaches the engine in that order, and that a socket which breaks the rules
//! is closed with the code for it. Never decodes a record.

mod connection;
#[cfg(feature = "echo")]
pub mod echo;
pub mod feed;
mod inflate;
mod life;
mod metrics;
mod settings;
mod state;
mod venue_keys;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tracing::{info, warn};

pub use self::connection::Reached;
pub use self::feed::{FeedSettings, FeedState};
pub use self::inflate::{Compression, TooLarge, Unpack};
pub use self::metrics::WebSocketMetrics;
pub use self::settings::{FeedConnection, WebSocketSettings, kind};
pub use self::state::FeedHealth;

use self::connection::{Connection, Event, FAREWELL_MAX};
use self::feed::{Action, ConnectionFailure, FeedMachine, FeedTally, LineId, Notice, Unmatched};
use crate::core::health::ExpectedSymbols;
use crate::core::venue::Venue;
use crate::intake::Router;
use crate::intake::{IntakeClosed, Record};
use crate::net::address::WebSocketUrl;
use crate::net::dial::{DialError, Dialer};
use crate::net::secrets::{SecretFiles, Secrets};
use crate::ops::clock::TimerStopwatch;
use crate::ops::exit::Exit;
use crate::ops::readiness::Condition;
use crate::ops::shutdown::stopped;
use crate::ports::source::{Source, SourceContext};

/// Events taken before the machine's clocks are looked at again.
const BATCH_EVENTS_MAX: usize = 256;

/// The longest list of symbols in a log line.
const SYMBOLS_SHOWN_MAX: usize = 8;

/// Makes connections to the shares of a feed.
pub trait Dial: Send + Sync {
    /// Connects to the address of a share.
    fn dial(&self, share: usize) -> BoxFuture<'static, Result<Reached, DialError>>;

    /// The address of a share as it may be shown.
    fn shown(&self, share: usize) -> String;
}

/// The addresses of a venue's connections, each with the means to reach it.
struct VenueDialer {
    dialer: Dialer,
    urls: Vec<WebSocketUrl>,
    unpack: Unpack,
    secrets: SecretFiles,
}

impl Dial for VenueDialer {
    fn dial(&self, share: usize) -> BoxFuture<'static, Result<Reached, DialError>> {
        let (dialer, url) = (self.dialer.clone(), self.urls[share].clone());
        let (unpack, secrets) = (self.unpack, self.secrets.clone());
        Box::pin(async move {
            let secrets = secrets.values().await?;
            let url = secrets.in_address(url.secret()).parse().unwrap_or(url);
            let dialer = dialer.with_headers(|value| secrets.in_header(value));
            let socket = dialer.dial(&url).await?;
            Ok(Reached { socket, unpack, secrets })
        })
    }

    fn shown(&self, share: usize) -> String {
        self.urls[share].to_string()
    }
}

/// A live feed that has not begun.
pub struct WebSocketSource {
    /// What the frames mean, and what the venue allows.
    pub venue: Arc<Venue>,
    /// What the machine may use.
    pub settings: FeedSettings,
    /// How its addresses are reached.
    pub dial: Box<dyn Dial>,
    /// Where its numbers are shown.
    pub metrics: WebSocketMetrics,
    /// Where its states are shown.
    pub health: FeedHealth,
    /// What differs between runs: the jitter.
    pub seed: u64,
}

/// The feed while it runs.
struct Driver<C> {
    feed: FeedMachine,
    dial: Box<dyn Dial>,
    router: Router<C>,
    ready: Condition,
    metrics: WebSocketMetrics,
    health: FeedHealth,
    clock: TimerStopwatch,
    connections: Vec<Connection>,
    /// Which connection is asked first, so that none starves the others.
    turn: usize,
    dials: FuturesUnordered<BoxFuture<'static, (LineId, Result<Reached, DialError>)>>,
    /// Those of the newest connection, which the venue's words must not show.
    secrets: Secrets,
    records: VecDeque<Record>,
    shown: FeedTally,
}

/// Why the loop goes on.
enum Wake {
    Stop,
    Event(LineId, Event),
    Dialled(LineId, Result<Box<Reached>, DialError>),
    Time,
}

impl WebSocketSource {
    /// A feed by its settings, which remembers the trade ids of so many symbols.
    fn new(
        settings: &WebSocketSettings,
        dialer: Dialer,
        symbols_max: usize,
        metrics: WebSocketMetrics,
        seed: u64,
    ) -> Self {
        let WebSocketSettings { venue, connections, life, secrets, .. } = settings;
        let (venue, secrets) = (Arc::clone(venue), secrets.clone());
        let urls: Vec<_> = connections.iter().map(|connection| connection.url.clone()).collect();
        let unpack = settings.unpack();
        let health = FeedHealth::new(&venue);
        let settings = FeedSettings { symbols_max, ..*life };
        let dial = Box::new(VenueDialer { dialer, urls, unpack, secrets });
        Self { venue, settings, dial, metrics, health, seed }
    }

    /// Runs until `stop` turns true or the engine takes no more records.
    pub async fn run<C>(
        self,
        router: Router<C>,
        ready: Condition,
        mut stop: watch::Receiver<bool>,
    ) {
        let Self { venue, settings, dial, metrics, health, seed } = self;
        ready.not_ready(format!("connecting to {}", dial.shown(0)));
        let mut driver = Driver {
            feed: FeedMachine::new(venue, settings, seed),
            dial,
            router,
            ready,
            metrics,
            health,
            clock: TimerStopwatch::start(),
            connections: Vec::new(),
            turn: 0,
            dials: FuturesUnordered::new(),
            secrets: Secrets::default(),
            records: VecDeque::new(),
            shown: FeedTally::default(),
        };
        driver.metrics.show_states(&driver.health);
        driver.metrics.show_subscriptions(&driver.health);
        // The engine may take nothing more, which ends the source as the word to stop does.
        let _ = driver.live(&mut stop).await;
        driver.part().await;
    }
}

impl<C: Send + 'static> Source<C> for WebSocketSource {
    fn expected(&self) -> Option<Arc<dyn ExpectedSymbols>> {
        Some(Arc::new(self.health.clone()))
    }

    fn run(self: Box<Self>, context: SourceContext<C>) -> BoxFuture<'static, Result<(), Exit>> {
        let SourceContext { router, ready, stop, start, .. } = context;
        Box::pin(async move {
            // What came while no process ran is missing behind the states that were restored.
            if start.resumed && router.gap().await.is_err() {
                return Ok(());
            }
            Self::run(*self, router, ready, stop).await;
            Ok(())
        })
    }
}

impl<C> Driver<C> {
    async fn live(&mut self, stop: &mut watch::Receiver<bool>) -> Result<(), IntakeClosed> {
        let mut timer = pin!(sleep(Duration::ZERO));
        let mut armed = Duration::ZERO;
        loop {
            self.act();
            self.show();
            // Moved forward alone: most facts move the next deadline backward, and a look at the
            // clocks that comes too early costs less than a new timer for each frame.
            let due = self.feed.due();
            let now = self.clock.elapsed();
            if due < armed || armed <= now {
                armed = due;
                timer.set(sleep(due.saturating_sub(now)));
            }
            let wake = tokio::select! {
                biased;
                () = stopped(stop) => Wake::Stop,
                // Before frames, which may always be there.
                (line, outcome) = next_dialled(&mut self.dials) => {
                    Wake::Dialled(line, outcome.map(Box::new))
                }
                (line, event) = next_event(&mut self.connections, &mut self.turn) => {
                    Wake::Event(line, event)
                }
                () = &mut timer => Wake::Time,
            };
            let now = self.clock.elapsed();
            match wake {
                Wake::Stop => return Ok(()),
                Wake::Time => armed = Duration::ZERO,
                Wake::Dialled(line, Ok(reached)) => {
                    self.secrets = reached.secrets.clone();
                    self.connections.push(Connection::new(line, *reached));
                    self.feed.opened(now, line);
                }
                Wake::Dialled(line, Err(error)) => {
                    let failure = ConnectionFailure {
                        why: error.to_string(),
                        retry_after: error.retry_after(),
                        rate_limited: error.is_rate_limit(),
                    };
                    self.feed.failed(now, line, &failure);
                }
                Wake::Event(line, event) => {
                    self.take(now, line, event);
                    self.take_more(now).await;
                }
            }
            if self.feed.due() <= now {
                self.feed.tick(now);
            }
            self.deliver(stop).await?;
        }
    }

    /// Brings a fact to the machine.
    fn take(&mut self, now: Duration, line: LineId, event: Event) {
        match event {
            Event::Text(frame) | Event::Binary(frame) => self.feed.frame(now, line, &frame),
            Event::Ping => self.feed.pinged(now, line),
            Event::Pong => self.feed.ponged(now, line),
            Event::Ended(ended) => {
                let rate_limited = ended.is_rate_limit();
                let failure = ConnectionFailure { why: ended.why, retry_after: None, rate_limited };
                self.feed.ended(now, line, &failure);
            }
        }
    }

    /// Takes what else is there already, so that many frames are one batch for the engine.
    async fn take_more(&mut self, now: Duration) {
        for _ in 0..BATCH_EVENTS_MAX {
            let event = poll_fn(|context| {
                let event = pin!(next_event(&mut self.connections, &mut self.turn));
                match event.poll(context) {
                    Poll::Ready(event) => Poll::Ready(Some(event)),
                    Poll::Pending => Poll::Ready(None),
                }
            });
            let Some((line, event)) = event.await else { return };
            self.take(now, line, event);
        }
    }

    /// Does what the machine wants done.
    fn act(&mut self) {
        while let Some(action) = self.feed.next_action() {
            match action {
                Action::Connect { line, share } => {
                    let dial = self.dial.dial(share);
                    self.dials.push(Box::pin(async move { (line, dial.await) }));
                }
                Action::Send { line, text } => {
                    let open = self.connections.iter().find(|open| open.id == line);
                    let text = open.map(|open| open.secrets().in_message(&text));
                    text.into_iter().for_each(|text| self.send(line, Message::text(text)));
                }
                // What the venue chose is sent as it is.
                Action::Answer { line, text } => self.send(line, Message::text(text)),
                Action::Ping { line } => self.send(line, Message::Ping(Bytes::new())),
                Action::Close { line, reason } => {
                    if let Some(open) = self.connections.iter_mut().find(|open| open.id == line) {
                        open.close(CloseCode::Normal, reason);
                    }
                }
            }
        }
        self.connections.retain(|connection| !connection.is_gone());
    }

    fn send(&mut self, line: LineId, message: Message) {
        let Some(open) = self.connections.iter_mut().find(|open| open.id == line) else { return };
        if let Err(ended) = open.send(message) {
            let failure = ConnectionFailure { why: ended.why, ..ConnectionFailure::default() };
            self.feed.ended(self.clock.elapsed(), line, &failure);
        }
    }

    /// Hands on what the machine passed, waiting for room where the policy is to block.
    async fn deliver(&mut self, stop: &mut watch::Receiver<bool>) -> Result<(), IntakeClosed> {
        let Self { feed, router, records, .. } = self;
        records.extend(feed.take_deliveries().map(Record::from));
        router.serve(records)?;
        if records.is_empty() {
            return Ok(());
        }
        let begun = self.clock.elapsed();
        while let Some(record) = records.pop_front() {
            tokio::select! {
                biased;
                delivered = router.hand_on(record.clone()) => delivered?,
                () = stopped(stop) => {
                    router.last(record);
                    records.drain(..).for_each(|record| router.last(record));
                    return Ok(());
                }
            }
            router.offer(records)?;
        }
        // Nobody read meanwhile, so nobody was silent.
        feed.held_up(self.clock.elapsed().saturating_sub(begun));
        Ok(())
    }

    /// Shows what has happened: in metrics, in the log and to probes.
    fn show(&mut self) {
        let tally = self.feed.tally();
        if tally != self.shown {
            self.metrics.show(&self.shown, &tally);
            self.shown = tally;
        }
        let (mut moved, mut subscriptions_moved) = (false, false);
        for notice in self.feed.take_notices() {
            match notice {
                Notice::Connected { share, replaces } => {
                    self.metrics.connects.inc();
                    info!(url = %self.dial.shown(share), share, replaces, "connected to feed");
                }
                Notice::NotConnected { share, why, wait } => {
                    self.metrics.failures.inc();
                    let (url, next_seconds) = (self.dial.shown(share), wait.as_secs_f64());
                    let why = self.secrets.hidden(why);
                    warn!(%url, share, error = %why, next_seconds, "feed is not connected");
                }
                Notice::Lost { share, why } => {
                    self.metrics.failures.inc();
                    let (url, why) = (self.dial.shown(share), self.secrets.hidden(why));
                    warn!(%url, share, error = %why, "feed is not connected");
                }
                Notice::Replaced { share, proved, symbols } => {
                    let url = self.dial.shown(share);
                    info!(%url, share, proved, symbols, "replaced a connection that still stood");
                }
                Notice::NotSubscribed { share, symbols, why } => {
                    let (symbols, why) = (shown(&symbols), self.secrets.hidden(why));
                    warn!(share, %symbols, error = %why, "not subscribed, trying again");
                }
                Notice::Divided { share, symbols, why } => {
                    let (symbols, why) = (shown(&symbols), self.secrets.hidden(why));
                    info!(share, %symbols, error = %why, "not subscribed, trying in two halves");
                }
                Notice::Apart { share, symbols, why } => {
                    let (symbols, why) = (shown(&symbols), self.secrets.hidden(why));
                    warn!(
                        share, %symbols, error = %why,
                        "the feed does not take a symbol; it is kept apart and tried again slowly"
                    );
                }
                Notice::Released { share, symbols } => {
                    info!(share, symbols = %shown(&symbols), "the feed takes a symbol after all");
                }
                Notice::Subscription { symbol, state } => {
                    subscriptions_moved = true;
                    self.health.set_subscription(&symbol, state);
                }
                Notice::Unmatched { share, kind, why, sample, count } => {
                    let why = why.map(|why| self.secrets.hidden(why));
                    let sample = self.secrets.hidden(sample);
                    show_unmatched(share, kind, why.as_deref(), &sample, count);
                }
                Notice::Skipped { share } => {
                    warn!(share, "the feed skipped frames; all its symbols are marked");
                }
                Notice::State { share, state } => {
                    moved = true;
                    self.health.set(share, state);
                    info!(share, state = state.label(), "feed state");
                }
            }
        }
        if subscriptions_moved {
            self.metrics.show_subscriptions(&self.health);
        }
        if moved {
            self.metrics.show_states(&self.health);
            if self.health.is_connected() {
                self.ready.ready();
            } else {
                self.ready.not_ready(format!("connecting to {}", self.dial.shown(0)));
            }
        }
    }

    /// Says goodbye on every connection, and waits a moment for it to be heard.
    async fn part(&mut self) {
        self.connections
            .iter_mut()
            .for_each(|connection| connection.close(CloseCode::Normal, "going away"));
        let gone = poll_fn(|context| {
            for connection in &mut self.connections {
                // What still comes has nowhere to go.
                while connection.poll_event(context).is_ready() {}
            }
            let all = self.connections.iter().all(Connection::is_gone);
            if all { Poll::Ready(()) } else { Poll::Pending }
        });
        let _ = timeout(FAREWELL_MAX, gone).await;
    }
}

/// The next event of any connection.
async fn next_event(connections: &mut [Connection], turn: &mut usize) -> (LineId, Event) {
    poll_fn(|context| {
        let count = connections.len();
        for offset in 0..count {
            let index = (*turn + offset) % count;
            let connection = &mut connections[index];
            if let Poll::Ready(event) = connection.poll_event(context) {
                *turn = index + 1;
                return Poll::Ready((connection.id, event));
            }
        }
        Poll::Pending
    })
    .await
}

/// The next attempt that has ended; waits for good where none is under way.
async fn next_dialled(
    dials: &mut FuturesUnordered<BoxFuture<'static, (LineId, Result<Reached, DialError>)>>,
) -> (LineId, Result<Reached, DialError>) {
    match dials.next().await {
        Some(dialled) => dialled,
        None => pending().await,
    }
}

/// One line about a message that no rule makes anything of.
fn show_unmatched(share: usize, kind: Unmatched, why: Option<&str>, sample: &str, count: u64) {
    match kind {
        Unmatched::Error => {
            let error = why.unwrap_or("an error that belongs to no subscription");
            warn!(share, error, sample, count, "the feed reported an error");
        }
        Unmatched::Malformed => {
            let error = why.unwrap_or("not JSON");
            warn!(share, error, sample, count, "a message of the feed cannot be read");
        }
        Unmatched::Other => {
            info!(share, sample, count, "a message of the feed fits no rule of the venue");
        }
        Unmatched::Skipped => {
            info!(share, sample, count, "mapping.when leaves out every element of a message");
        }
    }
}

/// Some names, and how many more there are.
fn shown(symbols: &[String]) -> String {
    let first =
        symbols.iter().take(SYMBOLS_SHOWN_MAX).map(|symbol| crate::net::dial::words(symbol));
    let mut text = first.collect::<Vec<_>>().join(", ");
    if let Some(more) = symbols.len().checked_sub(SYMBOLS_SHOWN_MAX).filter(|more| *more > 0) {
        text.push_str(&format!(" and {more} more"));
    }
    text
}
