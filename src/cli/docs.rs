//! `tickcast docs`: shell completions and the manual page, out of the command line itself.

use clap::Subcommand;
use clap_complete::Shell;

use crate::ops::exit::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  tickcast docs completions bash > /etc/bash_completion.d/tickcast
  tickcast docs manual > /usr/local/share/man/man1/tickcast.1";

/// Options of `tickcast docs`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DocsArgs {
    #[command(subcommand)]
    command: DocsCommand,
}

#[derive(Debug, Subcommand)]
enum DocsCommand {
    /// Completions for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// The manual page, in roff
    Manual,
}

pub(super) fn run(args: &DocsArgs) -> Result<(), Exit> {
    let mut text = Vec::new();
    let mut command = super::program();
    match args.command {
        DocsCommand::Completions { shell } => {
            clap_complete::generate(shell, &mut command, "tickcast", &mut text);
        }
        DocsCommand::Manual => manual(command, &mut text)
            .map_err(Exit::while_doing(Failure::Internal, "write the manual page"))?,
    }
    super::print(format_args!("{}", String::from_utf8_lossy(&text)))
}

/// One page for the program and all of its commands.
fn manual(command: clap::Command, into: &mut Vec<u8>) -> std::io::Result<()> {
    let mut command = command;
    command.build();
    clap_mangen::Man::new(command.clone()).render(into)?;
    for subcommand in command.get_subcommands() {
        let page = clap_mangen::Man::new(subcommand.clone());
        into.extend(format!(".SH \"TICKCAST {}\"\n", subcommand.get_name().to_uppercase()).bytes());
        page.render_synopsis_section(into)?;
        page.render_description_section(into)?;
        page.render_options_section(into)?;
    }
    Ok(())
}
