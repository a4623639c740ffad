//! `tickcast bridge`: a live feed onto a Kafka topic.

use std::path::PathBuf;

use crate::app::config::load_bridge;
use crate::ops::exit::{Exit, Failure};
use crate::tools::bridge::Bridge;

const EXAMPLES: &str = "\
A configuration, bridge.toml; a model is not needed:
  [source]
  url = \"ws://127.0.0.1:9631\"

  [kafka]
  brokers = \"127.0.0.1:9092\"

  [bridge]
  topic = \"ticks\"

Examples:
  tickcast bridge -c bridge.toml
  TICKCAST__HTTP__BIND=127.0.0.1:9640 tickcast bridge -c bridge.toml

Each message becomes one record as it came, keyed by its symbol. A record behind a gap carries the
header `tickcast-gap: 1`, which `serve` and `replay` honour. What the cluster does not take holds
the socket up; nothing is dropped. SIGTERM stops in order: socket, queue, acknowledgements, then
exit 0; 75 where something received was not acknowledged within shutdown.deadline_seconds, or
where a second SIGTERM cuts the wait. SIGHUP, SIGUSR1 and SIGUSR2 are ignored.";

/// Options of `tickcast bridge`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct BridgeArgs {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = "config/tickcast.toml")]
    config: PathBuf,
    /// Write http://ADDRESS of the bound listener to this file once it is bound
    #[arg(long, value_name = "FILE")]
    address_file: Option<PathBuf>,
}

pub(super) fn run(args: &BridgeArgs) -> Result<(), Exit> {
    super::as_daemon()?;
    let config = load_bridge(&args.config, &super::variables()?)
        .map_err(Exit::because(Failure::Configuration))?;
    let _log = super::logging(config.log)?;
    super::log_warnings(&config.warnings);
    let bridge = Bridge::build(config)?;
    super::tell_address(args.address_file.as_deref(), bridge.address())?;
    bridge.run()
}
