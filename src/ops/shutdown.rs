//! When to stop, and when to reload.
//!
//! Owns the signals of the process. Promises that the first SIGTERM or SIGINT asks for an orderly
//! stop and the second one ends the waiting, and that SIGHUP, SIGUSR1 and SIGUSR2 never end a
//! daemon. Never ends the process itself.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Waits until the word to stop is given, or nobody is left to give it.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop as well. The guard in the result
    // must not live on: it would keep the sender out.
    drop(stop.wait_for(|stop| *stop).await);
}

/// SIGXFSZ, by the number that it has on x86-64 and on 64-bit ARM.
const FILE_SIZE_LIMIT: i32 = 25;

/// Keeps SIGHUP, SIGUSR1, SIGUSR2 and SIGXFSZ from ending the process, as they do by default.
/// Scripts send the first three to daemons to rotate a log or to show a state; the last one comes
/// from a file that reaches the limit of its size (`ulimit -f`), whose write then fails as on a
/// full disk. From here on they do nothing, except for a listener such as [`ReloadSignal`]. To be
/// called first of all.
///
/// # Errors
/// Where the system refuses the handlers.
pub fn outlive_signals() -> std::io::Result<()> {
    // The handlers outlive the runtime that installs them.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _inside = runtime.enter();
    let file_size_limit = SignalKind::from_raw(FILE_SIZE_LIMIT);
    let (first, second) = (SignalKind::user_defined1(), SignalKind::user_defined2());
    for kind in [SignalKind::hangup(), first, second, file_size_limit] {
        drop(signal(kind)?);
    }
    Ok(())
}

/// The signals that ask the process to stop.
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

/// The signal that asks for another version of the model.
pub struct ReloadSignal(Signal);

impl ReloadSignal {
    /// Takes over SIGHUP, which would end the process otherwise; needs a running tokio runtime.
    ///
    /// # Errors
    /// Where the system refuses the handler.
    pub fn install() -> std::io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            // There will be no other.
            std::future::pending::<()>().await;
        }
    }
}

impl StopSignals {
    /// Takes over SIGTERM and SIGINT; needs a running tokio runtime.
    ///
    /// # Errors
    /// Where the system refuses the handlers.
    pub fn install() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the first signal, for a tool that has nothing to drain.
    pub async fn first(mut self) {
        self.next().await;
    }

    /// Waits for the next signal and names it.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
