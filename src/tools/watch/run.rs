//! One sitting: from the first attempt to connect to the summary.
//!
//! Owns when it ends and why. Promises to end at the time asked for, at a stop, and where asked to
//! when the server ends the stream. Never touches the socket or the terminal itself.

use std::future::Future;
use std::io::{self, Write};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::Target;
use super::board::{Board, Link};
use super::client::{ConnectError, Event, follow};
use super::screen::{Screen, View};
use super::warming::{self, Warming};
use super::{scores, topic};
use crate::net::dial::Dialer;
use crate::ops::clock::Stopwatch;

/// Ten a second is as much as an eye follows.
const REDRAW_EVERY: Duration = Duration::from_millis(100);

/// For logs.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// Events between the connection and the screen; the server sees a slow reader only after them.
const QUEUE_EVENTS_MAX: usize = 4096;

/// Events taken before the clock is looked at again.
const BATCH_EVENTS_MAX: usize = 1024;

/// How long the connection may take to close.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// What is watched, and how long.
#[derive(Clone)]
pub struct WatchRun {
    /// The stream.
    pub target: Target,
    /// How a daemon's stream is reached.
    pub dialer: Dialer,
    /// How long it may take to find the server, at first and after every loss.
    pub connect_max: Duration,
    /// Counted from the first connection; `None` is no end.
    pub watch_for: Option<Duration>,
    /// Whether the end of the stream is the end of the run.
    pub until_closed: bool,
}

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Forecasts that came.
    pub forecasts: u64,
    /// Symbols they were for.
    pub symbols: usize,
    /// Messages that were no forecasts.
    pub unreadable: u64,
    /// The time since the first connection.
    pub elapsed: Duration,
}

/// Why a run could not go on. What was seen until then is in [`Summary`].
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// There is no connection.
    #[error("{target}: {source}")]
    Connect {
        /// The stream.
        target: Target,
        /// Why.
        source: ConnectError,
    },
    /// The output takes nothing.
    #[error("write to standard output: {0}")]
    Output(#[source] io::Error),
}

impl WatchError {
    /// Whether trying the same again may help.
    pub fn is_temporary(&self) -> bool {
        let Self::Connect { source, .. } = self else { return true };
        !matches!(source, ConnectError::Refused(_) | ConnectError::Setup(_))
    }
}

/// What the loop knows.
struct State<W: Write> {
    board: Board,
    screen: Screen<W>,
    target: Target,
    /// How the target is shown.
    name: String,
    /// How far warming is, where symbols wait.
    warming: watch::Receiver<Option<Warming>>,
    /// What asks for that, from the first connection on.
    ask: Option<BoxFuture<'static, ()>>,
    /// How scores are subscribed to, while a table shows them.
    dialer: Option<Dialer>,
    /// Scores, while there is a connection.
    scores: Option<mpsc::Receiver<Event>>,
    clock: Stopwatch,
    first_connected: Option<Stopwatch>,
    until_closed: bool,
}

enum Next {
    Continue,
    End,
}

impl WatchRun {
    /// Watches until the end; returns what was seen and whether it ended as it should.
    pub async fn run<W: Write>(
        self,
        output: W,
        view: View,
        stop: impl Future<Output = ()>,
    ) -> (Summary, Result<(), WatchError>) {
        let Self { target, dialer, connect_max, watch_for, until_closed } = self;
        let (sender, mut events) = mpsc::channel(QUEUE_EVENTS_MAX);
        let seed = u64::from(std::process::id());
        let (warmed, warming) = watch::channel(None);
        let ask: Option<BoxFuture<'static, ()>> = match target.clone() {
            Target::Stream(url) => Some(Box::pin(warming::follow(dialer.clone(), url, warmed))),
            Target::Topic(_) => None,
        };
        let mut follower = match target.clone() {
            Target::Stream(url) => {
                tokio::spawn(follow(dialer.clone(), url, connect_max, seed, sender))
            }
            Target::Topic(target) => tokio::task::spawn_blocking(move || {
                topic::follow(&target, connect_max, seed, &sender);
            }),
        };
        let mut state = State {
            board: Board::new(),
            screen: Screen::new(output, view),
            name: target.to_string(),
            target,
            warming,
            ask,
            dialer: matches!(view, View::Table { .. }).then_some(dialer),
            scores: None,
            clock: Stopwatch::start(),
            first_connected: None,
            until_closed,
        };
        let outcome = state.watch(&mut events, watch_for, stop).await;
        drop(events);
        // A connection that does not close in time is dropped with the runtime.
        let _ = tokio::time::timeout(FAREWELL_MAX, &mut follower).await;
        let outcome = outcome.and_then(|()| state.show().map_err(WatchError::Output));
        (state.summary(), outcome)
    }
}

impl<W: Write> State<W> {
    async fn watch(
        &mut self,
        events: &mut mpsc::Receiver<Event>,
        watch_for: Option<Duration>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), WatchError> {
        let every = match self.screen.view() {
            View::Table { .. } => REDRAW_EVERY,
            View::Lines | View::Json => LINE_EVERY,
        };
        let mut redraw = interval(every);
        redraw.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(BATCH_EVENTS_MAX);
        let mut scored = Vec::new();
        tokio::pin!(stop);
        // Set at the first connection; until then nothing is being counted down.
        let mut deadline = std::pin::pin!(None);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => return Ok(()),
                () = async {
                    match deadline.as_mut().as_pin_mut() {
                        Some(deadline) => deadline.await,
                        None => std::future::pending().await,
                    }
                } => return Ok(()),
                _ = redraw.tick() => self.show().map_err(WatchError::Output)?,
                count = events.recv_many(&mut batch, BATCH_EVENTS_MAX) => {
                    let was_connected = self.first_connected.is_some();
                    for event in batch.drain(..) {
                        if matches!(self.take(event)?, Next::End) {
                            return Ok(());
                        }
                    }
                    self.screen.flush().map_err(WatchError::Output)?;
                    if !was_connected && self.first_connected.is_some() {
                        deadline.set(watch_for.map(sleep));
                    }
                    if count == 0 {
                        return Ok(());
                    }
                }
                () = scores::more(&mut self.scores, &mut scored) => {
                    for event in scored.drain(..) {
                        if let Event::Record(record) = event {
                            self.board.take_score(&record);
                        }
                    }
                }
            }
        }
    }

    fn take(&mut self, event: Event) -> Result<Next, WatchError> {
        match event {
            Event::Connected => {
                self.board.link = Link::Connected;
                self.first_connected.get_or_insert_with(Stopwatch::start);
                if let Some(ask) = self.ask.take() {
                    tokio::spawn(ask);
                }
                // Behind the forecasts, so that these have the place where there is only one.
                if let (Some(dialer), Target::Stream(url)) = (&self.dialer, &self.target) {
                    let seed = u64::from(std::process::id()) ^ 1;
                    self.scores = Some(scores::subscribe(dialer.clone(), url, seed));
                }
            }
            Event::Record(record) => {
                self.board.take(&record);
                if matches!(self.screen.view(), View::Json) {
                    self.screen.record(&record).map_err(WatchError::Output)?;
                }
            }
            Event::Lost { why, ended } => {
                self.board.link = Link::Lost(why);
                self.scores = None;
                if ended && self.until_closed {
                    return Ok(Next::End);
                }
            }
            Event::Failed(source) => {
                return Err(WatchError::Connect { target: self.target.clone(), source });
            }
        }
        Ok(Next::Continue)
    }

    fn show(&mut self) -> io::Result<()> {
        self.board.observe(self.clock.elapsed());
        self.board.warming = *self.warming.borrow();
        self.screen.show(&self.board, &self.name)
    }

    fn summary(&self) -> Summary {
        Summary {
            forecasts: self.board.forecasts(),
            symbols: self.board.symbols(),
            unreadable: self.board.unreadable(),
            elapsed: self.first_connected.map_or(Duration::ZERO, Stopwatch::elapsed),
        }
    }
}
