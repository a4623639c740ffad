//! What a build lacks: commands and addresses whose cargo feature is switched off.
//!
//! Owns the table of features that the command line knows. Promises that a command of such a
//! feature is listed as "not in this build", accepts any arguments, and ends with 64 and the name
//! of its feature; and that an argument which needs one ends in the same way. Never looks at a
//! command that the build has.

use std::ffi::OsString;
use std::fmt;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::ops::exit::{Exit, Failure};

/// A cargo feature and the commands that it brings.
#[derive(Debug)]
pub(super) struct Feature {
    name: &'static str,
    is_on: bool,
    commands: &'static [&'static str],
}

/// Every feature that brings a command.
pub(super) const FEATURES: &[Feature] = &[
    Feature { name: "kafka", is_on: HAS_KAFKA, commands: &["bridge"] },
    Feature { name: "train", is_on: cfg!(feature = "train"), commands: &["train", "backtest"] },
];

/// Whether the build has the client for `kafka://` addresses. Options that are for such addresses
/// alone are hidden where it has not.
pub(super) const HAS_KAFKA: bool = cfg!(feature = "kafka");

/// Adds the commands that this build lacks, so that help, completions and the manual list them.
pub(super) fn add(command: Command, features: &[Feature]) -> Command {
    missing(features).fold(command, |command, (name, feature)| {
        let about = format!("Not in this build: it needs the cargo feature `{feature}`");
        // The global option has this id. A command with an argument of the same id does not
        // inherit the option, so clap parses none of the arguments.
        let arguments = Arg::new("onnxruntime")
            .value_name("ARGUMENTS")
            .value_parser(value_parser!(OsString))
            .action(ArgAction::Append)
            .num_args(0..)
            .trailing_var_arg(true)
            .allow_hyphen_values(true)
            .hide(true);
        let stub = Command::new(name).about(about).disable_help_flag(true).arg(arguments);
        command.subcommand(stub)
    })
}

/// Refuses a command that this build lacks.
///
/// # Errors
/// [`Exit`] with the feature that the command needs.
pub(super) fn refuse(matches: &ArgMatches, features: &[Feature]) -> Result<(), Exit> {
    let asked = matches.subcommand_name();
    match missing(features).find(|(name, _)| asked == Some(name)) {
        Some((name, feature)) => Err(lacks(format_args!("`tickcast {name}`"), feature)),
        None => Ok(()),
    }
}

/// Refuses the address of a topic, as `what` asks for it, where the build has no client for it.
///
/// # Errors
/// [`Exit`] with the feature that it needs.
pub(super) fn refuse_topic(what: &str) -> Result<(), Exit> {
    if HAS_KAFKA { Ok(()) } else { Err(lacks(format_args!("`{what}`"), "kafka")) }
}

/// Says that `what` needs a feature that is switched off.
pub(super) fn lacks(what: impl fmt::Display, feature: &str) -> Exit {
    let message = format_args!(
        "{what} is not in this build: it needs the cargo feature `{feature}` \
         (`cargo build --release` has it)"
    );
    Exit::new(Failure::Usage, message)
}

/// The commands that a build lacks, each with its feature.
fn missing(features: &[Feature]) -> impl Iterator<Item = (&'static str, &'static str)> {
    let off = features.iter().filter(|feature| !feature.is_on);
    off.flat_map(|feature| feature.commands.iter().map(|command| (*command, feature.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &[Feature] = &[
        Feature { name: "on", is_on: true, commands: &["there"] },
        Feature { name: "off", is_on: false, commands: &["gone", "lost"] },
    ];

    fn program() -> Command {
        let library = Arg::new("onnxruntime").long("onnxruntime").global(true);
        add(Command::new("tickcast").arg(library).subcommand(Command::new("there")), TWO)
    }

    fn refusal(arguments: &[&str]) -> Option<String> {
        let arguments = ["tickcast"].iter().chain(arguments);
        let matches = program().try_get_matches_from(arguments).expect("clap accepts them");
        refuse(&matches, TWO).err().map(|exit| exit.to_string())
    }

    #[test]
    fn a_missing_command_names_its_feature_whatever_follows() {
        let wanted = "`tickcast gone` is not in this build: it needs the cargo feature `off` \
                      (`cargo build --release` has it)";
        let tails: &[&[&str]] = &[
            &[],
            &["-c", "a.toml", "--seeds", "5"],
            &["--help"],
            &["-h"],
            &["--version"],
            &["--onnxruntime"],
            &["--onnxruntime=a", "b", "--", "--c"],
            &["help", "there"],
            &["", "--x=\u{fffd}"],
        ];
        for tail in tails {
            let whole: Vec<_> = ["gone"].iter().chain(*tail).copied().collect();
            assert_eq!(refusal(&whole).as_deref(), Some(wanted), "{tail:?}");
            let after_global: Vec<_> = ["--onnxruntime", "a"].into_iter().chain(whole).collect();
            assert_eq!(refusal(&after_global).as_deref(), Some(wanted), "{tail:?}");
        }
        assert!(refusal(&["lost"]).is_some_and(|text| text.starts_with("`tickcast lost` ")));
    }

    #[test]
    fn what_the_build_has_is_left_alone() {
        assert_eq!(refusal(&["there", "--onnxruntime", "a"]), None);
        let names: Vec<_> =
            program().get_subcommands().map(|command| command.get_name().to_owned()).collect();
        assert_eq!(names, ["there", "gone", "lost"]);
        let help = program().render_help().to_string();
        let about = "Not in this build: it needs the cargo feature `off`";
        assert_eq!(help.matches(about).count(), 2, "{help}");
    }
}
