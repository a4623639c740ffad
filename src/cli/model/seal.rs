//! `tickcast model seal`: a model of another framework becomes a bundle.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::{Global, Place, elsewhere, limits, print, runtime};
use crate::core::text::indented_lines;
use crate::engine::inference::OnnxRuntime;
use crate::engine::model::{Bundle, BundleError};
use crate::ops::exit::{Exit, Failure};
use crate::seal::config::load;
use crate::seal::graph::Hints;
use crate::seal::init::{configuration, quoted};
use crate::seal::job::{Prepared, read_model};
use crate::seal::words::{graph_words, inspect, inspect_json};

/// The memory that the model's runs may take by default. The history is read in the same process.
const MEMORY_MIB: u64 = 4096;

/// The time that a sealing may take by default: generous, because slow models run on every window.
const SECONDS_MAX: u64 = 1800;

/// Options of `tickcast model seal`.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("what").required(true).args(["config", "init"]),
    after_help = "Reads the graph and runs it to find out what it is, rewrites it to the form that \
                  the daemon runs, proves each rewrite against the original's own run, measures \
                  whether rows of a batch keep their bits, compares with the framework's own \
                  predictions, judges the model on the history, and seals \
                  <root>/<name>/<version>/.\n\n\
                  config/model/default.toml has every key, and docs/models.md is the guide.\n\n\
                  Exit code 0: sealed, or could be. 75: the bundle cannot be written. 78: the \
                  configuration, the model, the history or the predictions cannot be used; all \
                  problems are listed at once.\n\n\
                  Examples: tickcast model seal --init my-model.onnx -o my-model.toml\n          \
                  tickcast model seal -c my-model.toml --dry-run\n          \
                  tickcast model seal -c my-model.toml"
)]
pub(super) struct SealArgs {
    /// What to seal
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Write a configuration with everything that this graph tells
    #[arg(long, value_name = "MODEL")]
    init: Option<PathBuf>,
    /// Where --init writes; standard output by default
    #[arg(short, long, value_name = "FILE", requires = "init")]
    output: Option<PathBuf>,
    /// How many steps a window of the model has, where the file does not say it
    #[arg(long, value_name = "STEPS", requires = "init")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=4096))]
    window: Option<u32>,
    /// How many features a step of the model has, where the file does not say it
    #[arg(long, value_name = "COUNT", requires = "init")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=4096))]
    features: Option<u32>,
    /// Do everything but write the bundle
    #[arg(long, requires = "config")]
    dry_run: bool,
    /// The folder of models, instead of the configuration's
    #[arg(long, value_name = "FOLDER", requires = "config")]
    models: Option<PathBuf>,
    /// What was sealed as a JSON array instead of a summary
    #[arg(long, requires = "config")]
    json: bool,
    /// The most time that reading, running and judging the model may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = SECONDS_MAX)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds_max: u64,
    /// The most memory that it may take, in MiB
    #[arg(long, value_name = "MIB", default_value_t = MEMORY_MIB)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    memory_mib: u64,
}

pub(super) fn run(args: &SealArgs, global: &Global) -> Result<(), Exit> {
    let given = args.config.as_deref().or(args.init.as_deref()).unwrap_or(Path::new(""));
    let what = format!("{} cannot be sealed", given.display());
    let limits = limits(args.seconds_max, args.memory_mib);
    if elsewhere(global, limits, &what)? == Place::Elsewhere {
        return Ok(());
    }
    let runtime = runtime(global, None)?;
    match (&args.init, &args.config) {
        (Some(model), _) => init(model, args, global, &runtime),
        (None, Some(config)) => seal(config, args, global, &runtime),
        // The command line has one of the two.
        (None, None) => Err(Exit::new(Failure::Usage, "give -c FILE or --init MODEL")),
    }
}

fn init(model: &Path, args: &SealArgs, global: &Global, runtime: &OnnxRuntime) -> Result<(), Exit> {
    let (window, features) =
        (args.window.map(|steps| steps as usize), args.features.map(|count| count as usize));
    let hints = Hints { window, features, ..Hints::default() };
    let foreign = read_model(model, runtime, &hints)
        .map_err(|problems| refuse("the model cannot be sealed", &problems))?;
    let Some(path) = args.output.as_deref() else {
        return print(format_args!("{}", configuration(&foreign.facts, model)));
    };
    // A relative path in the file belongs to the file's folder.
    let model = std::path::absolute(model).unwrap_or_else(|_| model.to_owned());
    let folder = std::path::absolute(path).ok().and_then(|path| path.parent().map(Path::to_owned));
    let beside = folder.as_deref().and_then(|folder| model.strip_prefix(folder).ok());
    let text = configuration(&foreign.facts, beside.unwrap_or(&model));
    let written = OpenOptions::new().write(true).create_new(true).open(path);
    written.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| {
        Exit::new(Failure::Temporary, format_args!("{}: {error}", path.display()))
    })?;
    global.tell(&format!("wrote {}; complete the lines marked FILL IN", path.display()));
    Ok(())
}

fn refuse(what: &str, problems: &[String]) -> Exit {
    Exit::new(Failure::Configuration, format_args!("{what}:{}", indented_lines(problems)))
}

fn seal(path: &Path, args: &SealArgs, global: &Global, runtime: &OnnxRuntime) -> Result<(), Exit> {
    let mut config = load(path).map_err(Exit::because(Failure::Configuration))?;
    if let Some(models) = &args.models {
        config.models_root.clone_from(models);
    }
    let root = config.models_root.clone();
    let what = format!("{} cannot be sealed", path.display());
    let mut progress = |line: &str| global.tell(line);
    let prepared = Prepared::read(config, runtime, &mut progress)
        .map_err(|problems| refuse(&what, &problems))?;
    let proven =
        prepared.prove(runtime, &mut progress).map_err(|problems| refuse(&what, &problems))?;
    for note in &proven.notes {
        global.tell(&format!("note: {note}"));
    }
    let (mut staged, mut sealed) = (Vec::new(), Vec::new());
    for draft in proven.drafts {
        let manifest = &draft.manifest;
        global.tell(&format!("proving {} {}", manifest.name, manifest.version));
        if args.dry_run {
            let bundle = draft.into_bundle().map_err(Exit::because(Failure::Configuration))?;
            bundle.open(runtime).map_err(Exit::because(Failure::Configuration))?;
            sealed.push((None, bundle));
        } else {
            staged.push(draft.stage(&root, runtime).map_err(unsealed)?);
        }
    }
    // Bundles of one graph belong together: none is moved in before each is proven.
    for bundle in staged {
        let folder = bundle.commit().map_err(unsealed)?;
        let bundle = Bundle::read(&folder).map_err(Exit::because(Failure::Internal))?;
        sealed.push((Some(folder), bundle));
    }
    report(&sealed, &root, args.json, runtime)
}

/// A bundle that could not be written may be the next time; one that is refused may not.
fn unsealed(error: BundleError) -> Exit {
    let failure = if error.unwritten { Failure::Temporary } else { Failure::Configuration };
    Exit::new(failure, error)
}

/// Says what was sealed and what to do next.
fn report(
    sealed: &[(Option<PathBuf>, Bundle)],
    root: &Path,
    json: bool,
    runtime: &OnnxRuntime,
) -> Result<(), Exit> {
    let graphs = sealed.iter().map(|(_, bundle)| graph_words(bundle, Some(runtime)));
    let mut answers = Vec::new();
    let mut text = String::new();
    for ((folder, bundle), graph) in sealed.iter().zip(graphs) {
        let shown = folder.as_ref().map(|folder| folder.display().to_string());
        answers.push(inspect_json(bundle, shown.as_deref().unwrap_or_default(), &graph));
        text += &match shown {
            Some(folder) => format!("sealed {folder}\n"),
            None => "could be sealed; nothing was written\n".to_owned(),
        };
        text += &inspect(bundle, &graph);
    }
    if json {
        return print(format_args!("{:#}\n", serde_json::Value::Array(answers)));
    }
    if let [(Some(_), bundle), others @ ..] = sealed {
        let others = others.iter().map(|(_, bundle)| &*bundle.manifest().name);
        text += &next(&bundle.manifest().name, others, root);
    }
    print(format_args!("{text}"))
}

/// The configuration that serves a bundle, and the names of those that go with it.
fn next<'n>(name: &str, others: impl Iterator<Item = &'n str>, root: &Path) -> String {
    let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    let (root, name) = (quoted(&root.to_string_lossy()), quoted(name));
    let others: String = others.map(|name| format!("# name = {}\n", quoted(name))).collect();
    format!(
        "\nTo serve it on a feed of native JSON ticks (docs/feeds.md has exchanges, docs/kafka.md \
         topics):\n\n\
         [model]\nroot = {root}\nname = {name}\n{others}\n\
         [source]\nurl = \"ws://127.0.0.1:9631\"\n\n\
         tickcast check -c FILE && tickcast serve -c FILE\n\
         tickcast watch ws://127.0.0.1:9630/v1/stream\n"
    )
}
