//! The wish to end: Ctrl-C at a terminal, SIGTERM from a supervisor.
//!
//! Owns listening for both. Promises to resolve at the first of them. Never ends the process.

use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};

use crate::exit::{Exit, Failure};

/// Starts listening, inside a runtime; the future resolves at the first signal.
///
/// # Errors
/// [`Failure::Internal`] where the system does not let a handler be installed.
pub(crate) fn interrupted() -> Result<impl Future<Output = ()>, Exit> {
    let listen =
        |kind| signal(kind).map_err(Exit::while_doing(Failure::Internal, "listen for signals"));
    let (mut interrupt, mut terminate) =
        (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            biased;
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
