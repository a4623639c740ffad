//! `tickcast check`: every problem of a configuration and its model, before anything is started.

use std::path::PathBuf;

use super::{Global, topic};
use crate::app::config::{AnyConfig, BridgeConfig, Config, load_any};
use crate::engine::inference::Runtime;
use crate::engine::pipeline::Pipeline;
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
    // The model and the library do not depend on each other, so both are reported.
    let bundle = super::bundle(config);
    let runtime = super::runtime(global, config.onnxruntime_library.as_deref());
    let (bundle, runtime) = match (bundle, runtime) {
        (Ok(bundle), Ok(runtime)) => (bundle, runtime),
        (Err(bundle), Err(runtime)) => {
            return Err(Exit::new(Failure::Configuration, format_args!("{bundle}\n{runtime}")));
        }
        (Err(exit), _) | (_, Err(exit)) => return Err(exit),
    };
    let pipeline = Pipeline::build(&bundle, &runtime, &config.pipeline())
        .map_err(Exit::because(Failure::Configuration))?;
    let step = &bundle.manifest().step;
    config.check_cadence(step)?;
    let source = config.source.settings.check()?;
    let template = pipeline.template();
    super::print(format_args!(
        "configuration {} is usable\nmodel         {} {}\nmode          {}\nsteps         {}\n\
         golden        {} cases pass\nruntime       {}\n{}",
        args.config.display(),
        template.model,
        template.model_version,
        template.mode,
        step.words(),
        bundle.golden().cases.len(),
        runtime.build(),
        lines_of(&source),
    ))
}

/// Lines as one text.
fn lines_of(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}
