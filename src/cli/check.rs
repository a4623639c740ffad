//! `tickcast check`: every problem of a configuration and its model, before anything is started.

use std::path::PathBuf;

use super::{Global, topic};
use crate::app::config::{AnyConfig, BridgeConfig, Config, load_any};
use crate::engine::inference::Runtime;
use crate::engine::model::RefusedVersion;
use crate::engine::pipeline::{Chosen, Pipeline};
use crate::ops::exit::{Exit, Failure};

/// Options of `tickcast check`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code 0: usable. 78: every problem is listed.\n\n\
                        Example: tickcast check -c config/tickcast.toml")]
pub(super) struct CheckArgs {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = "config/tickcast.toml")]
    config: PathBuf,
}

pub(super) fn run(args: &CheckArgs, global: &Global) -> Result<(), Exit> {
    let loaded = load_any(&args.config, &super::variables());
    match loaded.map_err(Exit::because(Failure::Configuration))? {
        AnyConfig::Daemon(config) => check_daemon(&config, args, global),
        AnyConfig::Bridge(config) => check_bridge(&config, args),
    }
}

fn check_bridge(config: &BridgeConfig, args: &CheckArgs) -> Result<(), Exit> {
    let BridgeConfig { source, cluster, topic: name, partitions, .. } = config;
    drop(source.dialer()?);
    topic::check(cluster)?;
    super::print(format_args!(
        "configuration {} is usable\nbridge        onto {}/{name} ({partitions} partitions where \
         it has to be made)\n{}",
        args.config.display(),
        cluster.brokers,
        lines_of(&source.plan()),
    ))
}

fn check_daemon(config: &Config, args: &CheckArgs, global: &Global) -> Result<(), Exit> {
    // What can be said of the model without the library is reported beside the library's problem.
    let runtime = super::runtime(global, config.onnxruntime_library.as_deref());
    let runtime = runtime.map_err(|runtime| match super::model_problem(config) {
        Some(model) => Exit::new(Failure::Configuration, format_args!("{model}\n{runtime}")),
        None => runtime,
    })?;
    let Chosen { bundle, refused } = super::chosen(config, &runtime)?;
    let pipeline = Pipeline::build(&bundle, &runtime, &config.pipeline())
        .map_err(Exit::because(Failure::Configuration))?;
    let source = config.source.settings.check()?;
    let template = pipeline.template();
    super::print(format_args!(
        "configuration {} is usable\nmodel         {} {}\n{}mode          {}\n\
         golden        {} cases pass\nruntime       {}\n{}",
        args.config.display(),
        template.model,
        template.model_version,
        lines_of(&refused.iter().map(refused_line).collect::<Vec<_>>()),
        template.mode,
        bundle.golden().cases.len(),
        runtime.build(),
        lines_of(&source),
    ))
}

/// A version that a start would pass over.
fn refused_line(RefusedVersion { version, reason }: &RefusedVersion) -> String {
    format!("refused       {version}: {reason}")
}

/// Lines as one text.
fn lines_of(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}
