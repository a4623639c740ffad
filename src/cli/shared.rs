//! What several commands share: the options of every command, and short ways into the library.
//!
//! Owns the answer on standard output, the process's environment, and where a configuration, a
//! bundle and ONNX Runtime are found. Promises that each failure has its exit code. Never runs a
//! command.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use tracing::warn;

use crate::adapters::file::{
    ColumnMap, Decimal, Delimiter, Dialect, FileFormat, FileOptions, FileRecords, Header,
};
use crate::app::config::{Config, ModelConfig, load};
use crate::core::domain::{TimeFormat, TimeUnit};
use crate::core::text::{excerpt, indented_lines};
use crate::engine::inference::{
    ChosenRuntime, NativeRuntime, OnnxRuntime, RuntimeChoice, locate_library,
};
use crate::engine::model::{Bundle, candidates};
use crate::engine::pipeline::{Chosen, Role, TakenVersion, choose_beside};
use crate::keep::prove::{ChildProver, ProofLimits, say};
use crate::ops::descriptors;
use crate::ops::exit::{Exit, Failure};
use crate::ops::file::{is_world_readable, read_secret, unreadable_secret};
use crate::ops::logging::{self, LogConfig, LogGuard};
use crate::ops::shutdown::outlive_signals;

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub(super) struct Global {
    /// ONNX Runtime's shared library; else onnxruntime.library, ORT_DYLIB_PATH, beside the
    /// executable, the system's
    #[arg(long, global = true, value_name = "PATH")]
    pub(super) onnxruntime: Option<PathBuf>,
    /// Everything behind the name of the program, as it was typed.
    #[arg(skip)]
    pub(super) arguments: Vec<OsString>,
    /// Whether this process was made for a command, whose words another one shows.
    #[arg(skip)]
    pub(super) is_confined: bool,
}

impl Global {
    /// Writes a line to the person, past whatever the runtime writes.
    pub(super) fn tell(&self, line: &str) {
        if self.is_confined {
            say(line);
        } else {
            tell(format_args!("{line}"));
        }
    }
}

/// How to read a file: the options of every command that reads one.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "How to read the file")]
pub(super) struct FileArgs {
    /// The format, where the name does not tell it: csv, parquet or json-lines
    #[arg(long, value_name = "FORMAT")]
    format: Option<FileFormat>,
    /// Columns of a table and what they stand for, by name or by number, such as
    /// symbol=Ticker,time=Date+Time,close=5; all by default, under their own names in lower case,
    /// with ticker as symbol, and date, timestamp, datetime as time
    #[arg(long, value_name = "PAIRS")]
    columns: Option<ColumnMap>,
    /// The symbol of every row, for a table without a column for it
    #[arg(long, value_name = "NAME")]
    symbol: Option<String>,
    /// What stands between two cells: one character, tab or space; found by default
    #[arg(long, value_name = "CHARACTER")]
    delimiter: Option<Delimiter>,
    /// The line with the names of the columns, from 1; found by default
    #[arg(long, value_name = "LINE", conflicts_with = "no_header")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    header_line: Option<u64>,
    /// The table has no names of columns: --columns has numbers, such as time=1,close=5
    #[arg(long)]
    no_header: bool,
    /// The decimal sign, `.` or `,`; the other one may stand between thousands; found by default
    #[arg(long, value_name = "SIGN")]
    decimal: Option<Decimal>,
    /// How times are written, such as "%m/%d/%Y %H:%M"; RFC 3339 and dates such as 2024-01-02 by
    /// default
    #[arg(long, value_name = "FORMAT")]
    time_format: Option<String>,
    /// The time zone of times that name none, such as America/New_York; UTC by default
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
}

impl FileArgs {
    /// These options, and those of a configuration where one is not given.
    ///
    /// # Errors
    /// 64 for a time format or a zone that cannot be used.
    pub(super) fn options(&self, configured: FileOptions) -> Result<FileOptions, Exit> {
        let FileOptions { format, columns, symbol, dialect } = configured;
        let header = match (self.header_line, self.no_header) {
            (Some(line), _) => Header::Line(line),
            (None, true) => Header::None,
            (None, false) => dialect.header,
        };
        let times = self.time_format()?.unwrap_or(dialect.times);
        Ok(FileOptions {
            format: self.format.or(format),
            columns: self.columns.clone().or(columns),
            symbol: self.symbol.clone().or(symbol),
            dialect: Dialect {
                delimiter: self.delimiter.or(dialect.delimiter),
                header,
                decimal: self.decimal.or(dialect.decimal),
                times,
                keeps_order: dialect.keeps_order,
            },
        })
    }

    /// How times are read that are texts; `None` where no option says so.
    ///
    /// # Errors
    /// 64 for a time format or a zone that cannot be used.
    pub(super) fn time_format(&self) -> Result<Option<TimeFormat>, Exit> {
        let (format, zone) = (self.time_format.as_deref(), self.time_zone.as_deref());
        if format.or(zone).is_none() {
            return Ok(None);
        }
        TimeFormat::new(format, zone).map(Some).map_err(|error| {
            let option = if error.is_of_zone() { "--time-zone" } else { "--time-format" };
            Exit::new(Failure::Usage, format_args!("{option}: {error}"))
        })
    }

    /// The first option that is given, for inputs that are no file.
    pub(super) fn given(&self) -> Option<&'static str> {
        let Self { format, columns, symbol, delimiter, header_line, no_header, .. } = self;
        let given = [
            ("--format", format.is_some()),
            ("--columns", columns.is_some()),
            ("--symbol", symbol.is_some()),
            ("--delimiter", delimiter.is_some()),
            ("--header-line", header_line.is_some()),
            ("--no-header", *no_header),
            ("--decimal", self.decimal.is_some()),
            ("--time-format", self.time_format.is_some()),
            ("--time-zone", self.time_zone.is_some()),
        ];
        given.into_iter().find(|(_, is_given)| *is_given).map(|(option, _)| option)
    }
}

/// The argument of `--time-unit`.
pub(super) fn time_unit(text: &str) -> Result<TimeUnit, &'static str> {
    match text {
        "s" => Ok(TimeUnit::Seconds),
        "ms" => Ok(TimeUnit::Milliseconds),
        "us" => Ok(TimeUnit::Microseconds),
        "ns" => Ok(TimeUnit::Nanoseconds),
        _ => Err("expected s, ms, us or ns"),
    }
}

/// Opens a file, and says on standard error what was found of its form.
///
/// # Errors
/// 65 where it cannot be read.
pub(super) fn open_file(path: &Path, options: FileOptions) -> Result<FileRecords, Exit> {
    let records = FileRecords::open(path, options).map_err(Exit::because(Failure::Data))?;
    if let Some(guessed) = records.guessed() {
        tell!("{guessed}");
    }
    Ok(records)
}

/// Writes a line to standard error; what `tell!` calls.
pub(super) fn tell(line: std::fmt::Arguments<'_>) {
    // There is nowhere else to say that standard error is full or closed.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Writes a command's answer to standard output; a reader who has had enough is no failure.
pub(super) fn print(text: std::fmt::Arguments<'_>) -> Result<(), Exit> {
    match std::io::stdout().write_fmt(text) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Exit::new(Failure::Temporary, format_args!("write the answer: {error}")))
        }
        _ => Ok(()),
    }
}

/// Starts logging; the guard is to be kept until the command ends.
pub(super) fn logging(config: LogConfig) -> Result<LogGuard, Exit> {
    logging::start(config).map_err(Exit::while_doing(Failure::Temporary, "start logging"))
}

/// Prepares the process for the life of a daemon: which signals it outlives, and how many files it
/// may open.
pub(super) fn as_daemon() -> Result<(), Exit> {
    descriptors::raise_limit();
    outlive_signals().map_err(Exit::while_doing(Failure::Internal, "install signal handlers"))
}

/// Loads a configuration over the defaults and under the process's environment.
pub(super) fn configuration(path: &Path) -> Result<Config, Exit> {
    load(path, &variables()?).map_err(Exit::because(Failure::Configuration))
}

/// The process's environment.
///
/// # Errors
/// 78 where a variable that a configuration may depend on is not UTF-8. Others are left out.
pub(super) fn variables() -> Result<HashMap<String, String>, Exit> {
    variables_of(std::env::vars_os())
}

fn variables_of(
    all: impl Iterator<Item = (OsString, OsString)>,
) -> Result<HashMap<String, String>, Exit> {
    let (mut variables, mut problems) = (HashMap::new(), Vec::new());
    for (name, value) in all {
        let shown = name.to_string_lossy().to_ascii_uppercase();
        let is_read = shown.starts_with("TICKCAST")
            || shown.ends_with("_PROXY")
            || ["STATE_DIRECTORY", "NOTIFY_SOCKET"].contains(&&*shown);
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => {
                variables.insert(name, value);
            }
            // The value may be a secret, and is no text.
            (Ok(name), Err(_)) if is_read => problems.push(format!("{name}: is not UTF-8")),
            (Err(name), _) if is_read => {
                let name = excerpt(&name.to_string_lossy(), NAME_CHARS_MAX);
                problems.push(format!("{name}: the name of this variable is not UTF-8"));
            }
            _ => {}
        }
    }
    if problems.is_empty() {
        return Ok(variables);
    }
    problems.sort_unstable();
    let what = format_args!("the environment cannot be used:{}", indented_lines(&problems));
    Err(Exit::new(Failure::Configuration, what))
}

/// The longest name of a variable that is shown, in characters.
const NAME_CHARS_MAX: usize = 64;

/// Writes the address of a bound listener to a file, where one is asked for.
pub(super) fn tell_address(path: Option<&Path>, address: SocketAddr) -> Result<(), Exit> {
    let Some(path) = path else { return Ok(()) };
    // Renamed into place, so that a reader never sees half an address.
    let draft = path.with_extension("draft");
    std::fs::write(&draft, format!("http://{address}\n"))
        .and_then(|()| std::fs::rename(&draft, path))
        .map_err(Exit::while_doing(Failure::Temporary, "write --address-file"))
}

/// Loads ONNX Runtime from where the command line, the configuration or the environment says.
pub(super) fn runtime(global: &Global, configured: Option<&Path>) -> Result<OnnxRuntime, Exit> {
    let path = library(global, configured)?;
    OnnxRuntime::load(&path).map_err(Exit::because(Failure::Configuration))
}

/// Where ONNX Runtime's library lies.
pub(super) fn library(global: &Global, configured: Option<&Path>) -> Result<PathBuf, Exit> {
    let variable = std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from);
    let executable = std::env::current_exe().ok();
    let folder = executable.as_deref().and_then(Path::parent);
    let named = [
        ("--onnxruntime", global.onnxruntime.as_deref()),
        ("onnxruntime.library", configured),
        ("ORT_DYLIB_PATH", variable.as_deref()),
    ];
    locate_library(&named, folder, Path::exists).map_err(Exit::because(Failure::Configuration))
}

/// ONNX Runtime for every model, for commands without a configuration.
pub(super) fn reference(runtime: &OnnxRuntime) -> ChosenRuntime {
    ChosenRuntime::new(RuntimeChoice::OnnxRuntime, Arc::new(runtime.clone()))
}

/// What proves bundles in processes of their own, which load the same library as this one.
pub(super) fn child_prover(
    global: &Global,
    configured: Option<&Path>,
    limits: ProofLimits,
    runtime: &ChosenRuntime,
) -> Result<ChildProver, Exit> {
    let library = library(global, configured)?;
    Ok(ChildProver::new(library, limits, runtime.clone()))
}

/// What a daemon with a token wants to be shown. In a file or a variable, because everybody on the
/// machine can read a command line.
pub(super) fn token(file: Option<&Path>) -> Result<Option<String>, Exit> {
    let Some(path) = file else { return Ok(variables()?.remove("TICKCAST_TOKEN")) };
    let token = read_secret(path).map_err(|error| {
        let problem = unreadable_secret(path, &error);
        Exit::new(Failure::Configuration, format_args!("--token-file: {problem}"))
    })?;
    if is_world_readable(path) {
        let path = path.display();
        tell!("warning: --token-file: every user can read `{path}`; use chmod 600 or 640");
    }
    Ok(Some(token))
}

/// What runs models, and the models of a configuration in their order.
pub(super) struct Proven {
    pub(super) runtime: ChosenRuntime,
    pub(super) prover: ChildProver,
    pub(super) chosen: Vec<Chosen>,
}

/// Loads ONNX Runtime and finds the version of each model that runs: the named one, or the newest
/// that proves itself; for a blend, that of its first member. What can be said of the models
/// without the library is reported beside the library's problem; every model that cannot run has
/// its line.
pub(super) fn proven(config: &Config, global: &Global) -> Result<Proven, Exit> {
    let library = config.onnxruntime_library.as_deref();
    let runtime = runtime(global, library).map_err(|runtime| {
        let own = config.models.iter().filter(|model| model.role != Role::Blend);
        let problems: Vec<_> = own.filter_map(model_problem).collect();
        match &*problems {
            [] => runtime,
            problems => {
                let all = format_args!("{}\n{runtime}", problems.join("\n")).to_string();
                Exit::new(Failure::Configuration, all)
            }
        }
    })?;
    if config.runtime == RuntimeChoice::Native && !NativeRuntime::new().is_fast() {
        tell!(
            "warning: engine.runtime = \"native\": this processor has no AVX2 and FMA, so each \
             product is a call; \"onnxruntime\" is faster here"
        );
    }
    let runtime = ChosenRuntime::new(config.runtime, Arc::new(runtime));
    let prover = child_prover(global, library, config.proof, &runtime)?;
    let (mut chosen, mut problems) = (BTreeMap::new(), Vec::new());
    let runs = |model: &&ModelConfig| !matches!(model.role, Role::Vacant | Role::Blend);
    let named = config.models.iter().filter(runs);
    let named: Vec<_> = named.map(|model| (&*model.name, &model.choice)).collect();
    let own = config.models.iter().enumerate().filter(|(_, model)| model.role != Role::Blend);
    for (index, model) in own {
        match choose_beside(&model.choice, &named, &prover, &config.pipeline_of(model)) {
            Ok(found) => drop(chosen.insert(&*model.name, found)),
            Err(error) if model.is_listed => problems.push(format!("models[{index}]: {error}")),
            Err(error) => problems.push(error.to_string()),
        }
    }
    if !problems.is_empty() {
        return Err(Exit::new(Failure::Configuration, problems.join("\n")));
    }
    let first_of = |model: &ModelConfig| {
        let Chosen { bundle, .. } = chosen.get(&**model.blends.first()?)?;
        Some(Chosen { bundle: bundle.clone(), refused: Vec::new(), taken: Vec::new() })
    };
    let blends: Vec<_> = config.models.iter().map(first_of).collect();
    let each = config.models.iter().zip(blends);
    let each =
        each.filter_map(|(model, of_blend)| of_blend.or_else(|| chosen.remove(&*model.name)));
    let chosen = each.collect();
    Ok(Proven { runtime, prover, chosen })
}

/// Says of a version that it was passed over, in a line for a person.
pub(super) fn taken_line(TakenVersion { version, by }: &TakenVersion) -> String {
    format!("{version}: the entry `{by}` names it, and a version runs once")
}

/// Logs what does no harm and should be known.
pub(super) fn log_warnings(warnings: &[String]) {
    for warning in warnings {
        warn!("{warning}");
    }
}

/// What is wrong with the preferred version as far as can be said without a runtime.
fn model_problem(model: &ModelConfig) -> Option<String> {
    let model = &model.choice;
    match candidates(&model.root, &model.name, &model.version) {
        Ok(folders) => Bundle::read(folders.first()?).err().map(|error| error.to_string()),
        Err(error) => Some(error.to_string()),
    }
}
