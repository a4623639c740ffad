//! `tickcast config`: what is configured, and what can be.

use std::path::PathBuf;

use clap::Subcommand;

use crate::app::config::{reference, schema, show};
use crate::ops::exit::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  What is in effect, and where each value comes from; secrets are not shown:
    tickcast config show -c config/tickcast.toml

  Completion and checks in an editor that knows JSON Schema (a first line of
  `#:schema tickcast.schema.json` in the file tells Taplo and Even Better TOML):
    tickcast config schema > tickcast.schema.json";

/// Options of `tickcast config`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Every setting in effect and where it comes from: default, file or variable
    Show {
        /// The configuration file
        #[arg(short, long, value_name = "FILE", default_value = "config/tickcast.toml")]
        config: PathBuf,
    },
    /// A JSON Schema of the configuration file, for editors
    Schema,
    /// Every key with its values, its default and its meaning, as Markdown
    Reference,
}

pub(super) fn run(args: &ConfigArgs) -> Result<(), Exit> {
    match &args.command {
        ConfigCommand::Show { config } => {
            let shown = show(config, &super::variables()?)
                .map_err(Exit::because(Failure::Configuration))?;
            super::print(format_args!("{shown}"))
        }
        ConfigCommand::Schema => super::print(format_args!("{:#}\n", schema())),
        ConfigCommand::Reference => super::print(format_args!("{}", reference())),
    }
}
