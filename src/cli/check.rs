//! `tickcast check`: every problem of a configuration and its model, before anything is started.

use std::path::PathBuf;

use super::Global;
use crate::app::{dialer, open_recording};
use crate::config::{FeedConnection, SourceKind};
use crate::exit::{Exit, Failure};
use crate::pipeline::Pipeline;

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
    let config = super::configuration(&args.config)?;
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
    let mut subscriptions = String::new();
    match config.source.kind {
        SourceKind::File(file) => drop(open_recording(file)?),
        SourceKind::WebSocket(websocket) => {
            drop(dialer(&websocket)?);
            subscriptions = told(&websocket.connections);
        }
        SourceKind::Kafka(_) => {}
    }
    let template = pipeline.template();
    super::print(format_args!(
        "configuration {} is usable\nmodel         {} {}\nmode          {}\n\
         golden        {} cases pass\nruntime       {}\n{subscriptions}",
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
