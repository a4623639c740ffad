//! `tickcast serve`: the daemon.

use std::path::PathBuf;
use std::sync::Arc;

use tracing::info;

use super::Global;
use crate::app::{App, Banner, settle_turns};
use crate::engine::pipeline::{Chosen, TakenVersion};
use crate::ops::exit::Exit;

const AFTER_HELP: &str = "\
Settings come from the file, then from TICKCAST__SECTION__KEY variables:
  TICKCAST__HTTP__BIND=127.0.0.1:0 tickcast serve -c config/tickcast.toml

SIGTERM or SIGINT stops in order: sources, queue, forecasts, then exit 0; a second one cuts the
wait and exits 75. SIGHUP asks for a reload of the model. SIGUSR1 and SIGUSR2 are ignored.";

/// Options of `tickcast serve`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct ServeArgs {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = "config/tickcast.toml")]
    config: PathBuf,
    /// Write http://ADDRESS of the bound listener to this file once it is bound
    #[arg(long, value_name = "FILE")]
    address_file: Option<PathBuf>,
}

pub(super) fn run(args: ServeArgs, global: &Global) -> Result<(), Exit> {
    let ServeArgs { config: path, address_file } = args;
    super::as_daemon()?;
    let mut config = super::configuration(&path)?;
    let banner = Banner::new(&config);
    let _log = super::logging(config.log)?;
    super::log_warnings(&config.warnings);
    settle_turns(&mut config)?;
    let super::Proven { runtime, prover, chosen } = super::proven(&config, global)?;
    let (runtime, prover) = (Arc::new(runtime), Arc::new(prover));
    for (model, Chosen { taken, .. }) in config.models.iter().zip(&chosen) {
        for TakenVersion { version, by } in taken {
            let model = &*model.name;
            info!(model, version, by, "a version is passed over, because another entry names it");
        }
    }
    let (bundles, refused): (Vec<_>, Vec<_>) =
        chosen.into_iter().map(|Chosen { bundle, refused, .. }| (bundle, refused)).unzip();
    let bundles: Vec<_> = bundles.iter().collect();
    let app = App::build_beside(config, &bundles, refused, runtime, prover)?
        .supervised_by(&super::variables()?)?;
    super::tell_address(address_file.as_deref(), app.address())?;
    banner.log(&path, &app);
    app.run()
}
