//! `tickcast confined`, which is hidden: a command of a person in a process with limits.
//!
//! Owns the end that runs the command; `elsewhere` has the one that asks. Never runs any command
//! but those of `model`.

use std::ffi::OsString;

use clap::{FromArgMatches, Parser};

use super::{Cli, Command, Global, model, program};
use crate::keep::prove::{Confinement, accept, run_confined};
use crate::ops::exit::{Exit, Failure};

/// Options of `tickcast confined`.
#[derive(Debug, Parser)]
struct ConfinedArgs {
    /// The process that asks, with which this one ends
    #[arg(long, value_name = "ID")]
    parent: u32,
    /// The most memory
    #[arg(long, value_name = "BYTES")]
    memory_bytes: u64,
    /// The most time of a processor
    #[arg(long, value_name = "SECONDS")]
    seconds: u64,
    /// The command of the person
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// `arguments` begin with the name of the command.
pub(super) fn run(arguments: &[OsString]) -> Result<(), Exit> {
    let args = ConfinedArgs::try_parse_from(arguments).map_err(Exit::because(Failure::Usage))?;
    let ConfinedArgs { parent, memory_bytes, seconds, command } = args;
    let words = std::iter::once("tickcast".into()).chain(command);
    let matches =
        program().try_get_matches_from_mut(words).map_err(Exit::because(Failure::Usage))?;
    let Cli { global, command } =
        Cli::from_arg_matches(&matches).map_err(Exit::because(Failure::Usage))?;
    let Command::Model(args) = command else {
        return Err(Exit::new(Failure::Usage, "only commands of `model` run graphs this way"));
    };
    let global = Global { is_confined: true, ..global };
    accept(&Confinement { parent, memory_bytes, seconds })
        .map_err(Exit::because(Failure::Internal))?;
    run_confined(|| model::run(args, &global), |words| Exit::new(Failure::Configuration, words))
}
