//! How the process ends: errors with an exit code.
//!
//! Owns the exit codes. Promises that every way out of a command has one of them and one clear
//! message. Never exits: `main` does, and the second Ctrl-C of `train`, which must not wait for an
//! epoch.

use std::fmt;

/// Why a command failed, as the code that a supervisor reads (see `sysexits.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// 64: the command line makes no sense.
    Usage,
    /// 65: the input data cannot be used.
    Data,
    /// 70: a fault of this program.
    Internal,
    /// 75: the world is not ready; trying again may help.
    Temporary,
    /// 78: the configuration, the model or the library is at fault; trying again will not help.
    Configuration,
}

/// An error that ends the process: what to tell the person and what to tell the supervisor.
#[derive(Debug)]
pub struct Exit {
    failure: Failure,
    message: String,
}

impl Exit {
    /// An exit with its message; several lines where there are several problems.
    pub fn new(failure: Failure, message: impl fmt::Display) -> Self {
        Self { failure, message: message.to_string() }
    }

    /// For `map_err`: keeps the error's own words.
    pub fn because<E: fmt::Display>(failure: Failure) -> impl Fn(E) -> Self {
        move |error| Self::new(failure, error)
    }

    /// For `map_err`: says what was being done, then the error's own words.
    pub fn while_doing<E: fmt::Display>(
        failure: Failure,
        context: impl fmt::Display,
    ) -> impl FnOnce(E) -> Self {
        move |error| Self::new(failure, format_args!("{context}: {error}"))
    }

    /// The kind of failure.
    pub fn failure(&self) -> Failure {
        self.failure
    }

    /// The process's exit code.
    pub fn status(&self) -> u8 {
        match self.failure {
            Failure::Usage => 64,
            Failure::Data => 65,
            Failure::Internal => 70,
            Failure::Temporary => 75,
            Failure::Configuration => 78,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Exit {}

impl From<prometheus::Error> for Exit {
    /// A metric that is registered twice is a fault of the program.
    fn from(error: prometheus::Error) -> Self {
        Self::new(Failure::Internal, error)
    }
}
