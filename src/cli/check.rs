//! `tickcast check`: every problem of a configuration and its model, before anything is started.

use std::path::PathBuf;

use super::Global;
use crate::adapters::kafka;
use crate::app::config::{AnyConfig, BridgeConfig, Config, FeedConnection, SourceKind, load_any};
use crate::app::{dialer, open_recording};
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
        AnyConfig::Daemon(config) => check_daemon(*config, args, global),
        AnyConfig::Bridge(config) => check_bridge(&config, args),
    }
}

fn check_bridge(config: &BridgeConfig, args: &CheckArgs) -> Result<(), Exit> {
    let BridgeConfig { source, cluster, topic, partitions, .. } = config;
    drop(dialer(source)?);
    kafka::check_tool(cluster).map_err(Exit::because(Failure::Configuration))?;
    super::print(format_args!(
        "configuration {} is usable\nbridge        onto {}/{topic} ({partitions} partitions where \
         it has to be made)\n{}",
        args.config.display(),
        cluster.brokers,
        told(&source.connections),
    ))
}

fn check_daemon(config: Config, args: &CheckArgs, global: &Global) -> Result<(), Exit> {
    // The model and the library do not depend on each other, so both are reported.
    let bundle = super::bundle(&config);
    let runtime = super::runtime(global, config.onnxruntime_library.as_deref());
    let (bundle, runtime) = match (bundle, runtime) {
        (Ok(bundle), Ok(runtime)) => (bundle, runtime),
        (Err(bundle), Err(runtime)) => {
            return Err(Exit::new(Failure::Configuration, format_args!("{bundle}\n{runtime}")));
        }
        (Err(exit), _) | (_, Err(exit)) => return Err(exit),
    };
    let pipeline = Pipeline::build(&bundle, &runtime, &config)
        .map_err(Exit::because(Failure::Configuration))?;
    let mut advice = Vec::new();
    let mut subscriptions = String::new();
    match config.source.kind {
        SourceKind::File(file) => drop(open_recording(file)?),
        SourceKind::WebSocket(websocket) => {
            drop(dialer(&websocket)?);
            subscriptions = told(&websocket.connections);
        }
        SourceKind::Kafka(config) => {
            advice = kafka::check(&config).map_err(Exit::because(Failure::Configuration))?;
        }
    }
    let advice: String = advice.iter().map(|advice| format!("warning       {advice}\n")).collect();
    let template = pipeline.template();
    super::print(format_args!(
        "configuration {} is usable\nmodel         {} {}\nmode          {}\n\
         golden        {} cases pass\nruntime       {}\n{advice}{subscriptions}",
        args.config.display(),
        template.model,
        template.model_version,
        template.mode,
        bundle.golden().cases.len(),
        runtime.build_info(),
    ))
}

/// The longest message that is shown, in characters.
const MESSAGE_CHARACTERS_MAX: usize = 200;

/// What would be connected to and sent.
fn told(connections: &[FeedConnection]) -> String {
    let mut text = String::new();
    for (index, FeedConnection { url, plan }) in connections.iter().enumerate() {
        let symbols = match plan.symbols.len() {
            0 => String::new(),
            1 => ", 1 symbol".to_owned(),
            count => format!(", {count} symbols"),
        };
        text += &format!("connection {:<3}{url}{symbols}\n", index + 1);
        for message in &plan.subscribe {
            let mut shown: String = message.text.chars().take(MESSAGE_CHARACTERS_MAX).collect();
            if shown.len() < message.text.len() {
                shown.push('…');
            }
            text += &format!("  sends       {shown}\n");
        }
    }
    text
}
