//! The composition root: it knows every layer below and joins them.
//!
//! Owns the life of the daemon. [`App::build`] loads, proves, binds and opens, and takes no input;
//! [`App::run`] starts everything and owns its end. Promises that what was read is published
//! before the process ends: after a signal within one deadline, after the end of a recording
//! however long it takes. Never computes. ARCHITECTURE.md has the table of owners.

mod banner;
mod build;
pub mod config;
mod history;
mod prepare;
mod roles;
mod run;
mod stop;
mod streamed;
#[cfg(test)]
mod tests;
mod warming;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use self::stop::Finish;
use self::streamed::StreamedHistory;
use self::warming::WarmingWatch;
use crate::adapters::http::{HttpServer, HttpState};
use crate::engine::pipeline::ModelLabel;
use crate::intake::{IntakeCommander, IntakeMetrics, Router, RouterCloser};
use crate::keep::history::Historian;
use crate::keep::reload::ReloadThread;
use crate::keep::snapshot::Keeper;
use crate::ops::affinity::Processors;
use crate::ops::clock::wall_seconds;
use crate::ops::exit::{Exit, Failure};
use crate::ops::readiness::Readiness;
use crate::ops::supervise::{Notifier, Supervisor, watchdog_timeout};
use crate::ports::input::{InputProgress, Start};
use crate::ports::sink::Sink;
use crate::ports::source::Source;
use crate::shard::Shard;
use crate::shard::command::{Command, Handed};

pub use self::banner::Banner;
pub use self::history::look_at_history_online;
pub use self::prepare::{Preparation, check_together, look_at_address, prepare};
pub use self::roles::settle_turns;
pub(crate) use self::run::on_source_runtime;

/// A daemon that is ready to run: everything is loaded, proved and bound.
pub struct App {
    source: OpenSource,
    shards: Vec<Shard>,
    processors: Option<Processors>,
    finishes: Vec<Finish>,
    keeper: Option<KeeperParts>,
    reloads: ReloadThread,
    /// What asks for history, where anything does.
    historian: Option<Historian>,
    /// What says how far it has come, where there is any.
    warming: Option<WarmingWatch>,
    http: HttpServer,
    http_state: HttpState,
    readiness: Readiness,
    supervisor: Supervisor,
    intake: IntakeMetrics,
    closer: RouterCloser<Command>,
    shutdown_deadline: Duration,
    /// The models, as the configuration names them.
    models: Vec<Arc<str>>,
}

/// A source with what it runs on.
struct OpenSource {
    source: Box<dyn Source<Command>>,
    /// What goes before it.
    history: Option<StreamedHistory>,
    router: Router<Command>,
    start: Start,
    progress: Option<InputProgress>,
    /// How long it may take to end after the word to stop.
    stop_timeout: Duration,
}

/// What keeps states over restarts, ready to start.
struct KeeperParts {
    keeper: Keeper,
    shards: Vec<IntakeCommander<Command>>,
    last: Receiver<Handed>,
    sinks: Vec<Box<dyn Sink>>,
    input: InputProgress,
    model: ModelLabel,
}

impl App {
    /// Tells the service manager that the variables name, where there is one.
    ///
    /// # Errors
    /// [`Exit`] with code 78 for a socket that cannot be.
    pub fn supervised_by(mut self, variables: &HashMap<String, String>) -> Result<Self, Exit> {
        self.supervisor.notifier = Notifier::from_variables(variables)
            .map_err(Exit::while_doing(Failure::Configuration, "reach the service manager"))?;
        self.supervisor.watchdog = watchdog_timeout(variables, std::process::id());
        Ok(self)
    }

    /// The bound address of probes, metrics and stream.
    pub fn address(&self) -> SocketAddr {
        self.http.local_addr()
    }

    /// Runs until a stop signal, the end of a recording, or a failure; then drains in order.
    ///
    /// # Errors
    /// [`Exit`] with code 70 for a failed stage, 75 where draining did not finish in time.
    pub fn run(self) -> Result<(), Exit> {
        on_source_runtime(self.live())
    }
}

/// A number that no other process, and no earlier one, is likely to have.
pub(crate) fn process_seed() -> u64 {
    wall_seconds().to_bits() ^ u64::from(std::process::id())
}
