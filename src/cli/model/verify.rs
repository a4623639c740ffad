//! `tickcast model verify`.

use serde_json::json;

use super::{BundleArgs, Global, Limits, candidates_of, child_prover, print, reference, runtime};
use crate::engine::pipeline::{PipelineSettings, Prover, Unproven};
use crate::ops::exit::{Exit, Failure};
use crate::seal::words::{compared, rows};

/// As `engine.batch_rows_max` there.
const BATCH_ROWS_MAX: usize = 512;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples: tickcast model verify models/aapl-daily/1\n          \
                        tickcast model verify aapl-daily --json\n\n\
                        Exit code 0: whole. 78: refused; with --json the problems are in the \
                        answer as well.")]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    bundle: BundleArgs,
    /// One JSON object instead of a sentence
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    limits: Limits,
}

pub(super) fn run(args: &VerifyArgs, global: &Global) -> Result<(), Exit> {
    let VerifyArgs { bundle, json, limits } = args;
    // The first of several is the newest, and there is one at least.
    let folder = candidates_of(bundle)?.swap_remove(0);
    let runtime = runtime(global, None)?;
    let prover =
        child_prover(global, None, limits.of_proof(), &reference(&runtime))?.limited_by_options();
    // In the runs that a configuration without a word on it asks for.
    let settings = PipelineSettings::of_proof(None, BATCH_ROWS_MAX);
    let shown = folder.display().to_string();
    let bundle = match prover.prove(&folder, &settings, &|| true) {
        Ok(bundle) => bundle,
        Err(refusal) => {
            if let (true, Unproven::Refused(refused)) = (*json, &refusal) {
                let problems = &refused.problems;
                let answer = json!({ "folder": shown, "whole": false, "problems": problems });
                print(format_args!("{answer:#}\n"))?;
            }
            return Err(Exit::new(Failure::Configuration, refusal));
        }
    };
    let (manifest, golden) = (bundle.manifest(), bundle.golden());
    let (cases, windows) =
        (golden.cases.len(), golden.cases.iter().map(|case| case.output.len()).sum::<usize>());
    if *json {
        let answer = json!({
            "folder": shown,
            "whole": true,
            "golden_cases": cases,
            "golden_windows": windows,
            "modes": manifest.modes,
            "exactness": manifest.exactness,
            "compared_with_framework": manifest.origin.as_ref().map(|o| o.compared.is_some()),
        });
        return print(format_args!("{answer:#}\n"));
    }
    let mut text = format!("{shown} is whole; {cases} golden cases pass\n");
    if let Some(origin) = &manifest.origin {
        let (rows, compared) = (rows(manifest.exactness.as_ref()), compared(origin));
        text += &format!("  rows       {rows}\n  framework  {compared}\n");
    }
    print(format_args!("{text}"))
}
