//! Commands that run graphs of other people, in a process of their own with limits.
//!
//! Owns the options of the limits. Promises that a graph which hangs, takes all memory or ends its
//! process ends the command with a sentence and an exit code. Never runs a graph in the process of
//! the person, unless the system gives no other.

use std::time::Duration;

use super::Global;
use crate::keep::prove::{Ended, ProofLimits, confined};
use crate::ops::exit::{Exit, Failure};

/// What a model's runs may take.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(next_help_heading = "What the model's runs may take")]
pub(super) struct Limits {
    /// The most time, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds_max: u64,
    /// The most memory, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    memory_mib: u64,
}

impl Limits {
    pub(super) fn of_proof(self) -> ProofLimits {
        limits(self.seconds_max, self.memory_mib)
    }
}

/// Limits from the options of a command.
pub(super) fn limits(seconds_max: u64, memory_mib: u64) -> ProofLimits {
    let memory_bytes = memory_mib.saturating_mul(1 << 20);
    ProofLimits { time: Duration::from_secs(seconds_max), memory_bytes }
}

/// Whether the command goes on in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It does: this is the process that was made for it, or there is no such process.
    Here,
    /// It was done in a process of its own.
    Elsewhere,
}

/// Runs the command that was typed in a process of its own, unless this is it. `what` says in a
/// message what cannot be done.
///
/// # Errors
/// Those of the command, and 78 where it exceeds a limit or ends its process.
pub(super) fn elsewhere(global: &Global, limits: ProofLimits, what: &str) -> Result<Place, Exit> {
    if global.is_confined {
        return Ok(Place::Here);
    }
    match confined(&global.arguments, limits, &mut |line| global.tell(line)) {
        Ended::Done => Ok(Place::Elsewhere),
        Ended::Failed { status, message } => Err(Exit::new(failure_of(status), message)),
        Ended::Cut(why) => {
            Err(Exit::new(Failure::Configuration, format_args!("{what}:\n  model: {why}")))
        }
        Ended::Unable(reason) => {
            global.tell(&format!(
                "warning: the system gives no process for this ({reason}), so the model runs in \
                 this one, without limits on time and memory"
            ));
            Ok(Place::Here)
        }
    }
}

/// The failure of an exit code.
fn failure_of(status: u8) -> Failure {
    let failures = [Failure::Usage, Failure::Data, Failure::Internal, Failure::Temporary];
    let of_status = |failure: &Failure| Exit::new(*failure, "").status() == status;
    failures.into_iter().find(of_status).unwrap_or(Failure::Configuration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_elsewhere_ends_with_its_own_code() {
        for failure in [
            Failure::Usage,
            Failure::Data,
            Failure::Internal,
            Failure::Temporary,
            Failure::Configuration,
        ] {
            assert_eq!(failure_of(Exit::new(failure, "").status()), failure);
        }
    }
}
