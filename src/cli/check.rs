//! `tickcast check`: every problem of a configuration and its model, before anything is started;
//! with `--online` also those that only the other side knows.

use std::path::PathBuf;

use super::{Global, topic};
use crate::app::config::{AnyConfig, BridgeConfig, Config, ModelConfig, load_any};
use crate::app::{Preparation, look_at_address, look_at_history_online, prepare, settle_turns};
use crate::engine::inference::Runtime;
use crate::engine::model::RefusedVersion;
use crate::engine::pipeline::{Chosen, Pipeline, Role};
use crate::engine::wire::forecast::RecordTemplate;
use crate::ops::exit::{Exit, Failure};
use crate::ports::source::OnlineReport;
use crate::seal::words::inputs;

/// Options of `tickcast check`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Without --online nothing is connected to.\n\n\
                        --online with source.kind = \"kafka\" asks the cluster for: the input, \
                        output and changelog topics; their partitions and cleanup.policy; our \
                        rights on them; the offsets that the group has committed, and whether the \
                        topics still hold them. It joins no group, begins no transaction and \
                        changes nothing, so it may run beside a daemon. With history.rest = true, \
                        the venue is asked for the history of the first symbol.\n\n\
                        What `serve` would refuse is refused in the same words, and nothing is \
                        made or changed. What may pass, such as an address in use, is listed as \
                        busy.\n\nExit code 0: usable. 78: every problem is listed.\n\n\
                        Examples: tickcast check -c config/tickcast.toml\n          \
                        tickcast check -c config/tickcast.toml --online")]
pub(super) struct CheckArgs {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = "config/tickcast.toml")]
    config: PathBuf,
    /// Also connect, and look at what only the other side knows: topics, partitions, rights
    #[arg(long)]
    online: bool,
}

pub(super) fn run(args: &CheckArgs, global: &Global) -> Result<(), Exit> {
    let loaded = load_any(&args.config, &super::variables()?);
    match loaded.map_err(Exit::because(Failure::Configuration))? {
        AnyConfig::Daemon(mut config) => {
            settle_turns(&mut config)?;
            check_daemon(&config, args, global)
        }
        AnyConfig::Bridge(config) => check_bridge(&config, args),
    }
}

fn check_bridge(config: &BridgeConfig, args: &CheckArgs) -> Result<(), Exit> {
    let BridgeConfig { source, cluster, topic: name, partitions, .. } = config;
    drop(source.dialer()?);
    topic::check(cluster)?;
    super::print(format_args!(
        "configuration {} is usable\nbridge        onto {}/{name} ({partitions} partitions where \
         it has to be made)\n{}{}",
        args.config.display(),
        cluster.brokers,
        lines_of(&source.plan()),
        lines_of(&warnings(&config.warnings)),
    ))?;
    match args.online {
        true => show_online(&topic::check_online(cluster, name)),
        false => Ok(()),
    }
}

/// Shows what a look at the other side has found.
fn show_online(report: &OnlineReport) -> Result<(), Exit> {
    let OnlineReport { lines, problems } = report;
    super::print(format_args!("{}", lines_of(lines)))?;
    if problems.is_empty() {
        return Ok(());
    }
    Err(Exit::new(Failure::Configuration, problems.join("\n")))
}

fn check_daemon(config: &Config, args: &CheckArgs, global: &Global) -> Result<(), Exit> {
    let super::Proven { runtime, chosen, .. } = super::proven(config, global)?;
    let bundles: Vec<_> = chosen.iter().map(|chosen| &chosen.bundle).collect();
    let Preparation { lines: source, history, notes, busy } = prepare(config, &bundles)?;
    let models = config.models.iter().zip(&chosen);
    let pipelines = models.clone().map(|(model, chosen)| {
        let settings = config.pipeline_of(model).of_shard(config.shards.count);
        Pipeline::build(&chosen.bundle, &runtime, &settings)
            .map_err(Exit::because(Failure::Configuration))
    });
    let mut pipelines = pipelines.collect::<Result<Vec<_>, _>>()?;
    config.blend(&mut pipelines);
    let models = models.zip(&pipelines);
    let models = models.filter(|((model, _), _)| model.role != Role::Vacant);
    let models: Vec<_> = models
        .map(|((model, chosen), pipeline)| match model.role {
            Role::Blend => blend_lines(model, pipeline),
            _ => model_lines(model, chosen, pipeline),
        })
        .collect();
    let busy =
        busy.map(|busy| busy.to_string()).into_iter().chain(look_at_address(config.http.bind));
    let busy: Vec<_> = busy.map(|busy| format!("busy          {busy}")).collect();
    let notes: Vec<_> = notes.iter().map(|note| format!("note          {note}")).collect();
    super::print(format_args!(
        "configuration {} is usable\n{}runtime       {}\n{}{}{}{}{}",
        args.config.display(),
        models.concat(),
        runtime.build(),
        lines_of(&source),
        lines_of(&history),
        lines_of(&notes),
        lines_of(&busy),
        lines_of(&warnings(&config.warnings)),
    ))?;
    match args.online {
        true => {
            let OnlineReport { mut lines, mut problems } = config.source.settings.check_online();
            let history = look_at_history_online(config, &bundles);
            lines.extend(history.lines);
            problems.extend(history.problems);
            show_online(&OnlineReport { lines, problems })
        }
        false => Ok(()),
    }
}

/// What there is to say of a model; of one of several also its name and what it does.
fn model_lines(
    model: &ModelConfig,
    Chosen { bundle, refused, taken }: &Chosen,
    pipeline: &Pipeline,
) -> String {
    let (template, post) = (pipeline.template(), post_of(model));
    let next = match (model.turns, model.role, model.promotes_by_rule) {
        (Some(_), Role::Live, false) => "; other versions are shadows until they are promoted",
        (Some(_), Role::Live, true) => "; other versions are shadows until they are better",
        (_, Role::Shadow, true) => "; live when it is better",
        _ => "",
    };
    let taken = taken.iter().map(|taken| format!("passed over   {}", super::taken_line(taken)));
    let passed_over: Vec<_> = refused.iter().map(refused_line).chain(taken).collect();
    let not_native = pipeline.passed_over().map(|why| format!("not native    {why}"));
    let not_native: Vec<_> = not_native.into_iter().collect();
    format!(
        "model         {} {}{post}{next}\n{}mode          {}, computed by {}\n{}steps         {}\n\
         inputs        {}\ngolden        {} cases pass\n",
        template.model,
        template.model_version,
        lines_of(&passed_over),
        template.mode,
        pipeline.computed_by(),
        lines_of(&not_native),
        bundle.manifest().step.words(),
        inputs(bundle.manifest()),
        bundle.golden().cases.len(),
    )
}

/// What there is to say of a blend.
fn blend_lines(model: &ModelConfig, pipeline: &Pipeline) -> String {
    let RecordTemplate { model: name, model_version, .. } = pipeline.template();
    format!(
        "model         {name} {model_version}{}\nexperts       {}\n",
        post_of(model),
        pipeline.experts().join(", "),
    )
}

/// What one of several models does.
fn post_of(model: &ModelConfig) -> String {
    match (model.is_listed, &*model.patterns) {
        (false, _) => String::new(),
        (true, []) => format!(", {} as {}, of every symbol", model.role, model.name),
        (true, patterns) => {
            format!(", {} as {}, of {}", model.role, model.name, patterns.join(", "))
        }
    }
}

/// What does no harm and should be known.
fn warnings(warnings: &[String]) -> Vec<String> {
    warnings.iter().map(|warning| format!("warning       {warning}")).collect()
}

/// A version that a start would pass over.
fn refused_line(RefusedVersion { version, reason }: &RefusedVersion) -> String {
    format!("refused       {version}: {reason}")
}

/// Lines as one text.
fn lines_of(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}
