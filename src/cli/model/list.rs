//! `tickcast model list`.

use std::path::PathBuf;

use super::print;
use crate::engine::model::manifest::{Mode, Rows};
use crate::engine::model::{Bundle, BundleError, names, versions};
use crate::ops::exit::{Exit, Failure};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples: tickcast model list\n          \
                        tickcast model list --root /usr/share/tickcast/models --json")]
pub(super) struct ListArgs {
    /// The folder of models
    #[arg(long, value_name = "FOLDER", default_value = "models")]
    root: PathBuf,
    /// One JSON array instead of a table
    #[arg(long)]
    json: bool,
}

/// A version of a model, as it is listed.
#[derive(Debug, serde::Serialize)]
struct Listed {
    name: String,
    version: String,
    /// What it forecasts, over how many steps; `None` where it is refused.
    target: Option<&'static str>,
    horizon_steps: Option<u32>,
    window_steps: Option<u32>,
    modes: Option<Vec<Mode>>,
    /// How the rows of a run relate.
    rows: Option<Rows>,
    /// Who wrote the graph; `None` for the program's own trainer.
    producer: Option<String>,
    /// Whether it was compared with the framework that trained it; `None` for the program's own
    /// trainer.
    compared_with_framework: Option<bool>,
    /// Why it is refused.
    refused: Option<String>,
}

pub(super) fn run(ListArgs { root, json }: &ListArgs) -> Result<(), Exit> {
    let refuse = Exit::because(Failure::Configuration);
    let mut listed = Vec::new();
    for name in names(root).map_err(refuse)? {
        let mut versions = versions(root, &name).map_err(Exit::because(Failure::Configuration))?;
        // The newest first.
        versions.reverse();
        for version in versions {
            let folder = root.join(&name).join(&version);
            listed.push(listed_of(name.clone(), version, Bundle::read(&folder)));
        }
    }
    if *json {
        let answer = serde_json::to_value(&listed)
            .map_err(Exit::while_doing(Failure::Internal, "write the list"))?;
        return print(format_args!("{answer:#}\n"));
    }
    if listed.is_empty() {
        return print(format_args!("no models in {}\n", root.display()));
    }
    let width = |of: fn(&Listed) -> &str| listed.iter().map(|one| of(one).len()).max().unwrap_or(0);
    let (names, versions) = (width(|one| &one.name), width(|one| &one.version));
    let mut text = String::new();
    for one in &listed {
        let what = match (&one.refused, one.target, one.horizon_steps, one.window_steps) {
            (None, Some(target), Some(horizon), Some(window)) => {
                let modes = one.modes.iter().flatten().map(Mode::to_string);
                let modes = modes.collect::<Vec<_>>().join(", ");
                let mut what =
                    format!("{target} over {horizon} step(s), window of {window}, {modes}");
                if let Some(producer) = &one.producer {
                    what += &format!(", by {producer}");
                }
                if one.compared_with_framework == Some(false) {
                    what += ", not compared with its framework";
                }
                what
            }
            (refused, ..) => format!("refused: {}", refused.as_deref().unwrap_or_default()),
        };
        text += &format!("{:names$}  {:versions$}  {what}\n", one.name, one.version);
    }
    print(format_args!("{text}"))
}

fn listed_of(name: String, version: String, bundle: Result<Bundle, BundleError>) -> Listed {
    match bundle {
        Ok(bundle) => {
            let manifest = bundle.manifest();
            let origin = manifest.origin.as_ref();
            Listed {
                name,
                version,
                target: Some(manifest.target.kind.label()),
                horizon_steps: Some(manifest.horizon_steps),
                window_steps: Some(manifest.window_steps),
                modes: Some(manifest.modes.clone()),
                rows: Some(manifest.exactness.map_or(Rows::Batched, |measured| measured.rows)),
                producer: origin.map(|origin| origin.producer.clone()),
                compared_with_framework: origin.map(|origin| origin.compared.is_some()),
                refused: None,
            }
        }
        Err(error) => {
            let words = error.to_string();
            let lines: Vec<_> = words.lines().map(str::trim).collect();
            Listed {
                name,
                version,
                target: None,
                horizon_steps: None,
                window_steps: None,
                modes: None,
                rows: None,
                producer: None,
                compared_with_framework: None,
                refused: Some(lines.join(" ")),
            }
        }
    }
}
