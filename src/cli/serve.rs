//! `tickcast serve`: the daemon.

use std::path::PathBuf;
use std::sync::Arc;

use super::Global;
use crate::app::App;
use crate::engine::pipeline::Chosen;
use crate::ops::exit::Exit;

/// Options of `tickcast serve`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Settings come from the file, then from TICKCAST__SECTION__KEY variables:\n  \
                        TICKCAST__HTTP__BIND=127.0.0.1:0 tickcast serve -c config/tickcast.toml\n\n\
                        SIGTERM stops in order: sources, queue, forecasts, then exit 0."
)]
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
    let config = super::configuration(&path)?;
    let _log = super::logging(config.log)?;
    super::log_warnings(&config.warnings);
    let (runtime, Chosen { bundle, refused }) = super::proven(&config, global)?;
    let app = App::build_beside(config, &bundle, refused, Arc::new(runtime))?
        .supervised_by(&super::variables()?)?;
    super::tell_address(address_file.as_deref(), app.address())?;
    app.run()
}
