//! What the rest of the daemon has of the reload thread.
//!
//! Owns the requests before they are taken, the word to stop, and the patience of those who wait.
//! Promises that a request is answered within a limit whatever becomes of the thread. Never loads
//! anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::outcome::Outcome;
use crate::ops::supervise::{Pulse, Stage};

/// Where requests go; cloning shares it.
#[derive(Clone, Debug)]
pub struct ReloadHandle {
    requests: SyncSender<Request>,
    answer_within: Duration,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// The newest version of a model, by its place in the configuration.
    Reload(usize),
    /// The seat that a shadow is a shadow of.
    Promote(usize),
    /// The same of a version that does not run yet, of a model whose versions take turns.
    Bring {
        /// Which model.
        model: usize,
        /// A version in the folder of models.
        version: String,
    },
}

impl Work {
    /// The model that it is about, by its place in the configuration.
    pub(super) fn model(&self) -> usize {
        match self {
            Self::Reload(model) | Self::Promote(model) | Self::Bring { model, .. } => *model,
        }
    }

    /// What it is, in a word.
    pub fn noun(&self) -> &'static str {
        match self {
            Self::Reload(_) => "reload",
            Self::Promote(_) | Self::Bring { .. } => "promotion",
        }
    }
}

#[derive(Debug)]
pub(super) struct Request {
    pub(super) from: &'static str,
    /// `None` for a word that only wakes the thread.
    pub(super) work: Option<Work>,
    pub(super) answer: Option<oneshot::Sender<Outcome>>,
}

/// Too many requests wait, or none is taken any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no reload or promotion can be asked for now: too many requests wait, or the daemon is ending"
)]
pub struct Busy;

/// A request that was taken.
#[derive(Debug)]
pub struct Asked {
    work: Work,
    outcome: oneshot::Receiver<Outcome>,
    within: Duration,
}

/// Why a request that was taken has no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// The thread has ended.
    #[error("the daemon is ending")]
    Ending,
    /// It takes too long.
    #[error(
        "the {} takes longer than {} s and goes on; GET /v1/models and the log will show what \
         becomes of it",
        .0.noun(), .1.as_secs()
    )]
    Late(Work, Duration),
}

/// The thread as its owner has it.
#[derive(Debug)]
pub struct ReloadThread {
    handle: ReloadHandle,
    pulse: Pulse,
    stop: StopFlag,
    ended: oneshot::Receiver<()>,
}

/// The word to stop; cloning shares it.
#[derive(Clone, Debug, Default)]
pub(super) struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl ReloadHandle {
    pub(super) fn new(requests: SyncSender<Request>, answer_within: Duration) -> Self {
        Self { requests, answer_within }
    }

    /// Asks for something without waiting for its outcome, which is logged.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn request(&self, from: &'static str, work: Work) -> Result<(), Busy> {
        self.send(Request { from, work: Some(work), answer: None })
    }

    /// Asks for something and gives where its outcome will be.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn ask(&self, from: &'static str, work: Work) -> Result<Asked, Busy> {
        let (answer, outcome) = oneshot::channel();
        self.send(Request { from, work: Some(work.clone()), answer: Some(answer) })?;
        Ok(Asked { work, outcome, within: self.answer_within })
    }

    /// A handle whose requests are answered by these outcomes, in their order; `None` ends a
    /// request without one.
    #[cfg(test)]
    pub(crate) fn scripted(outcomes: Vec<Option<Outcome>>) -> Self {
        let (requests, asked) = std::sync::mpsc::sync_channel(9);
        std::thread::spawn(move || {
            for outcome in outcomes {
                let Ok(Request { answer: Some(answer), .. }) = asked.recv() else { return };
                outcome.map(|outcome| answer.send(outcome));
            }
        });
        Self::new(requests, Duration::from_secs(60))
    }

    fn send(&self, request: Request) -> Result<(), Busy> {
        self.requests.try_send(request).map_err(|_: TrySendError<Request>| Busy)
    }
}

impl Asked {
    /// Waits for the outcome.
    ///
    /// # Errors
    /// [`Unanswered`] where there is none, or none in time.
    pub async fn outcome(self) -> Result<Outcome, Unanswered> {
        let Self { work, outcome, within } = self;
        match timeout(within, outcome).await {
            Ok(answer) => answer.map_err(|_| Unanswered::Ending),
            Err(_) => Err(Unanswered::Late(work, within)),
        }
    }

    #[cfg(test)]
    pub(super) fn blocking_recv(self) -> Result<Outcome, oneshot::error::RecvError> {
        self.outcome.blocking_recv()
    }
}

impl ReloadThread {
    pub(super) fn new(
        handle: ReloadHandle,
        pulse: Pulse,
        stop: StopFlag,
        ended: oneshot::Receiver<()>,
    ) -> Self {
        Self { handle, pulse, stop, ended }
    }

    /// Where requests go.
    pub fn handle(&self) -> &ReloadHandle {
        &self.handle
    }

    /// The thread as the supervisor watches it.
    pub fn stage(&self) -> Stage {
        Stage::new("reload", self.pulse.clone())
    }

    /// Tells the thread to end. A proof that runs is cut off, and whoever waits is answered.
    pub fn stop(&self) {
        self.stop.set();
        // It may wait for a request. Where so many wait that this one is refused, it does not.
        let _ = self.handle.send(Request { from: "stop", work: None, answer: None });
    }

    /// Waits until the thread has ended, and with it everything that it does with the runtime.
    /// `false` where it has not within `limit`.
    pub async fn ended_within(&mut self, limit: Duration) -> bool {
        timeout(limit, &mut self.ended).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_never_answered_is_told_so_in_time() {
        let (requests, taken) = sync_channel(1);
        let handle = ReloadHandle::new(requests, Duration::from_secs(180));
        let brought = Work::Bring { model: 0, version: "2".to_owned() };
        let works = [Work::Reload(0), Work::Promote(0), brought];
        for (work, noun) in works.into_iter().zip(["reload", "promotion", "promotion"]) {
            let late = handle.ask("test", work.clone()).unwrap().outcome().await.unwrap_err();
            assert_eq!(late, Unanswered::Late(work, Duration::from_secs(180)));
            let told = format!("the {noun} takes longer than 180 s and goes on");
            assert!(late.to_string().starts_with(&told), "{late}");
            drop(taken.recv().unwrap());
        }
        // A thread that is gone is no reason to wait.
        let asked = handle.ask("test", Work::Reload(0)).unwrap();
        drop(taken);
        assert_eq!(asked.outcome().await, Err(Unanswered::Ending));
        assert_eq!(handle.request("test", Work::Reload(0)), Err(Busy));
    }
}
