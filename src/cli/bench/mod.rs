//! `tickcast bench`: inference, the pipeline, bursts and memory, beside raw ONNX Runtime.

mod table;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use clap::builder::PossibleValue;
use indicatif::{ProgressBar, ProgressStyle};

use self::table::{Form, Row};
use super::{Global, topic};
use crate::engine::inference::{ChosenRuntime, OnnxRuntime, RuntimeChoice};
use crate::engine::model::manifest::Mode;
use crate::ops::exit::{Exit, Failure};
use crate::tools::bench::inference::Case;
use crate::tools::bench::machine::Machine;
use crate::tools::bench::memory::MemoryRow;
use crate::tools::bench::models::{Known, Subject};
use crate::tools::bench::{
    BenchError, Runtimes, burst, inference, marks, memory, pipeline, several, throughput,
};

/// Batches that are measured unless others are asked for.
const BATCHES: [usize; 3] = [1, 30, 512];

/// Symbols of the rows of throughput, and of the pipeline's row that has a mark.
const MANY_SYMBOLS: usize = 512;

/// Symbols of the rows of memory, by mode.
const MEMORY_SYMBOLS: [(Mode, usize); 2] = [(Mode::Carried, 100_000), (Mode::Sliding, 20_000)];

/// A tour fills one symbol of so many.
const TOUR_SHARE: usize = 10;

/// How long the matrix product is measured, at most.
const SGEMM_BUDGET: Duration = Duration::from_millis(300);

/// Options of `tickcast bench`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without a command: a quick tour, with the project's own marks. Idle cores give \
                  figures worth\nkeeping; the load is told in the first line.\n\n\
                  raw: ONNX Runtime alone on bound buffers, the ceiling. ours: decoded ticks to \
                  forecasts, the\ncritical path. advance: to move the states on afterwards. null: \
                  ours without inference.\nratio: ours / raw, of times by medians and of rates. \
                  sgemm: the share of the matrix product\nthat one core reaches. bound: what \
                  would have to be faster.\n\n\
                  Examples: tickcast bench\n          \
                  tickcast bench inference --models seed --modes sliding --instances 1,2"
)]
pub(super) struct BenchArgs {
    #[command(subcommand)]
    bench: Option<Bench>,
    /// How long each row is measured, in seconds; 3, or 0.5 in the tour
    #[arg(long, value_name = "SECONDS", global = true)]
    seconds: Option<f64>,
    /// What computes ours; raw is ONNX Runtime in any case
    #[arg(long, value_name = "RUNTIME", global = true, default_value = "onnxruntime")]
    runtime: RuntimeChoice,
    /// One JSON object a line, machine facts first
    #[arg(long, global = true)]
    json: bool,
    /// Tables for a document
    #[arg(long, global = true, conflicts_with = "json")]
    markdown: bool,
}

#[derive(Debug, clap::Args)]
struct KernelArgs {
    /// Models; all by default
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    models: Option<Vec<Known>>,
    /// Symbols of the rows of throughput
    #[arg(long, value_name = "COUNT", default_value_t = MANY_SYMBOLS, value_parser = count)]
    symbols: usize,
    /// Show the marks that are missed, and end with success all the same
    #[arg(long)]
    no_fail: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Bench {
    /// Latency and throughput from decoded ticks to forecasts
    Inference(InferenceArgs),
    /// The native kernels beside ONNX Runtime; fails where they miss their marks
    Kernel(KernelArgs),
    /// JSON ticks to JSON forecasts on one core, and memory per symbol
    Pipeline(PipelineArgs),
    /// Every symbol's tick at the same instant: the first and the last forecast
    Burst(BurstArgs),
    /// The resident set per symbol, in this process: one row
    Memory(MemoryArgs),
    /// Two and three models of one stream, and one with a shadow, beside one: rate and memory
    Several(SeveralArgs),
    /// Copies a Kafka topic and does nothing else: what `make bench-kafka` compares with
    #[command(hide = true)]
    KafkaLoop(KafkaLoopArgs),
}

/// Which models.
#[derive(Clone, Debug, clap::Args)]
struct ModelArgs {
    /// Known shapes with random weights; lstm-a and lstm-b are shaped like those of STAC-ML Markets
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    models: Option<Vec<Known>>,
    /// A bundle's folder instead
    #[arg(long, value_name = "FOLDER", conflicts_with = "models")]
    model: Option<PathBuf>,
    /// Modes; all that the model serves by default
    #[arg(long, value_name = "MODES", value_delimiter = ',')]
    modes: Option<Vec<Mode>>,
}

#[derive(Debug, clap::Args)]
struct InferenceArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Symbols per run; 1,30,512 by default
    #[arg(long, value_name = "COUNTS", value_delimiter = ',', value_parser = count)]
    batches: Option<Vec<usize>>,
    /// Threads at the same time, each with an engine of its own
    #[arg(long, value_name = "COUNTS", value_delimiter = ',', default_value = "1",
        value_parser = count)]
    instances: Vec<usize>,
    /// Sleep so long before each run, as between two ticks of a quiet stream
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 0)]
    pause_us: u64,
}

#[derive(Debug, clap::Args)]
struct PipelineArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Symbols; 1,512,20000,100000 by default, in mode sliding up to 20000
    #[arg(long, value_name = "COUNTS", value_delimiter = ',', value_parser = count)]
    symbols: Option<Vec<usize>>,
}

#[derive(Debug, clap::Args)]
struct BurstArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Symbols that tick at the same instant
    #[arg(long, value_name = "COUNTS", value_delimiter = ',', default_value = "1,30,512,4096",
        value_parser = count)]
    symbols: Vec<usize>,
}

#[derive(Debug, clap::Args)]
struct MemoryArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Symbols to fill
    #[arg(long, value_name = "COUNT", default_value = "20000", value_parser = count)]
    symbols: usize,
}

#[derive(Debug, clap::Args)]
struct SeveralArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Symbols, which every model wants
    #[arg(long, value_name = "COUNT", default_value = "512", value_parser = count)]
    symbols: usize,
}

#[derive(Debug, clap::Args)]
struct KafkaLoopArgs {
    /// host:port of one or more brokers
    #[arg(long, value_name = "ADDRESSES")]
    brokers: String,
    /// The consumer group
    #[arg(long, value_name = "NAME", default_value = "tickcast-bare-loop")]
    group: String,
    /// The topic to read from its beginning
    #[arg(long, value_name = "TOPIC")]
    from: String,
    /// The topic to write
    #[arg(long, value_name = "TOPIC")]
    to: String,
    /// How many records to copy
    #[arg(long, value_name = "COUNT")]
    records: u64,
}

/// A million of anything is more than a machine of today measures in a sitting.
fn count(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=1_000_000).contains(count));
    count.ok_or_else(|| "must be a whole number from 1 to 1000000".to_owned())
}

impl ValueEnum for Known {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Self::Seed => "seed",
            Self::LstmA => "lstm-a",
            Self::LstmB => "lstm-b",
        }))
    }
}

impl ValueEnum for RuntimeChoice {
    fn value_variants<'a>() -> &'a [Self] {
        // A row says who computed it, which `auto` leaves open.
        &[Self::OnnxRuntime, Self::Native]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

impl ValueEnum for Mode {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Full, Self::Sliding, Self::Carried]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Self::Full => "full",
            Self::Sliding => "sliding",
            Self::Carried => "carried",
        }))
    }
}

pub(super) fn run(args: &BenchArgs, global: &Global) -> Result<(), Exit> {
    // It is a tool for another bench, and measures nothing beside ONNX Runtime.
    if let Some(Bench::KafkaLoop(args)) = &args.bench {
        return kafka_loop(args);
    }
    let seconds = args.seconds.unwrap_or(if args.bench.is_some() { 3.0 } else { 0.5 });
    let budget = Duration::try_from_secs_f64(seconds)
        .map_err(Exit::while_doing(Failure::Usage, "--seconds"))?;
    let form = match (args.json, args.markdown) {
        (true, _) => Form::Json,
        (_, true) => Form::Markdown,
        _ => Form::Text,
    };
    let library = super::library(global, None)?;
    let raw = OnnxRuntime::load(&library).map_err(Exit::because(Failure::Configuration))?;
    let is_kernel = matches!(args.bench, Some(Bench::Kernel(_)));
    let choice = if is_kernel { RuntimeChoice::Native } else { args.runtime };
    let ours = ChosenRuntime::new(choice, Arc::new(raw.clone()));
    let runtimes = Runtimes { raw, ours };
    let bar = ProgressBar::no_length();
    if let Ok(style) = ProgressStyle::with_template("{elapsed} {msg}") {
        bar.set_style(style);
    }
    let mut bench_run = BenchRun { runtimes, budget, form, bar, sgemm_gflops: 0.0, last: None };
    // Before anything else takes memory and leaves it behind.
    let memory = match &args.bench {
        Some(Bench::Memory(args)) => bench_run.memory(args)?.into_iter().collect(),
        Some(Bench::Several(args)) => bench_run.several(args)?,
        _ => Vec::new(),
    };
    bench_run.say("the processor's matrix product");
    let machine = Machine::measure(&bench_run.runtimes.raw, &library, budget.min(SGEMM_BUDGET));
    let machine = machine.map_err(exit)?;
    bench_run.sgemm_gflops = machine.sgemm_gflops;
    bench_run.show(Row::Header(machine))?;
    match &args.bench {
        Some(Bench::Inference(args)) => bench_run.inference(args)?,
        Some(Bench::Kernel(args)) => bench_run.kernel(args)?,
        Some(Bench::Pipeline(args)) => bench_run.pipeline(args, global)?,
        Some(Bench::Burst(args)) => bench_run.burst(args)?,
        Some(Bench::Memory(_) | Bench::Several(_)) => {
            memory.into_iter().try_for_each(|row| bench_run.show(row))?;
        }
        Some(Bench::KafkaLoop(_)) => {}
        None => bench_run.tour(global)?,
    }
    bench_run.bar.finish_and_clear();
    Ok(())
}

/// Copies records, and tells how long it took.
fn kafka_loop(args: &KafkaLoopArgs) -> Result<(), Exit> {
    let KafkaLoopArgs { brokers, group, from, to, records } = args;
    let took = topic::copy(brokers, group, from, to, *records)?.as_secs_f64();
    super::print(format_args!("{records} records in {took:.3} s\n"))
}

fn exit(error: BenchError) -> Exit {
    let failure = match &error {
        BenchError::Bundle(_) | BenchError::Mode { .. } | BenchError::Bars(_) => {
            Failure::Configuration
        }
        BenchError::Inference(_)
        | BenchError::Pipeline(_)
        | BenchError::Silent { .. }
        | BenchError::Machine(_) => Failure::Internal,
    };
    Exit::new(failure, error)
}

/// What is measured with, and what was shown.
struct BenchRun {
    runtimes: Runtimes,
    budget: Duration,
    form: Form,
    bar: ProgressBar,
    sgemm_gflops: f64,
    last: Option<Row>,
}

impl BenchRun {
    /// Tells on standard error what is being measured.
    fn say(&self, what: &str) {
        self.bar.set_message(what.to_owned());
        self.bar.tick();
    }

    /// Writes a row to standard output.
    fn show(&mut self, row: Row) -> Result<(), Exit> {
        let text = row.render(self.form, self.last.as_ref());
        self.bar.suspend(|| super::print(format_args!("{text}")))?;
        self.last = Some(row);
        Ok(())
    }

    /// The models that are asked for; `default` where none is.
    fn subjects(&self, args: &ModelArgs, default: &[Known]) -> Result<Vec<Subject>, Exit> {
        if let Some(folder) = &args.model {
            return Ok(vec![Subject::read(folder, &self.runtimes.raw).map_err(exit)?]);
        }
        let known = args.models.as_deref().unwrap_or(default);
        known.iter().map(|known| Subject::known(*known, &self.runtimes.raw).map_err(exit)).collect()
    }

    fn latency(&mut self, subject: &Subject, case: Case) -> Result<inference::InferenceRow, Exit> {
        let Case { mode, batch, instances, .. } = case;
        self.say(&format!("{} {mode}, batch {batch}, {instances} instance(s)", subject.name()));
        let row = inference::row(subject, &self.runtimes, case, self.sgemm_gflops, self.budget);
        let row = row.map_err(exit)?;
        self.show(Row::Inference(row.clone()))?;
        Ok(row)
    }

    fn throughput(
        &mut self,
        subject: &Subject,
        mode: Mode,
        symbols: usize,
    ) -> Result<throughput::ThroughputRow, Exit> {
        self.say(&format!("{} {mode}, {symbols} symbols", subject.name()));
        let gflops = self.sgemm_gflops;
        let row = throughput::row(subject, &self.runtimes, mode, symbols, gflops, self.budget);
        let row = row.map_err(exit)?;
        self.show(Row::Throughput(row.clone()))?;
        Ok(row)
    }

    fn records(
        &mut self,
        subject: &Subject,
        mode: Mode,
        symbols: usize,
    ) -> Result<pipeline::PipelineRow, Exit> {
        self.say(&format!("{} {mode}, {symbols} symbols, JSON to JSON", subject.name()));
        let gflops = self.sgemm_gflops;
        let row = pipeline::row(subject, &self.runtimes, mode, symbols, gflops, self.budget);
        let row = row.map_err(exit)?;
        self.show(Row::Pipeline(row.clone()))?;
        Ok(row)
    }

    fn inference(&mut self, args: &InferenceArgs) -> Result<(), Exit> {
        let subjects = self.subjects(&args.model, &Known::ALL)?;
        let pause = Duration::from_micros(args.pause_us);
        for subject in &subjects {
            for mode in modes(subject, &args.model) {
                // Warming costs a symbol W (W-1) steps, which is a minute for 512 of the largest.
                let large = mode == Mode::Sliding && subject.name() == "lstm-b";
                let default = if large { &BATCHES[..2] } else { &BATCHES[..] };
                for &batch in args.batches.as_deref().unwrap_or(default) {
                    for &instances in &args.instances {
                        self.latency(subject, Case { mode, batch, instances, pause })?;
                    }
                }
            }
        }
        for subject in &subjects {
            for mode in modes(subject, &args.model) {
                let large = mode == Mode::Sliding && subject.name() == "lstm-b";
                let default = if large { BATCHES[1] } else { MANY_SYMBOLS };
                let most = args.batches.as_ref().and_then(|batches| batches.iter().max());
                self.throughput(subject, mode, most.copied().unwrap_or(default))?;
            }
        }
        Ok(())
    }

    fn pipeline(&mut self, args: &PipelineArgs, global: &Global) -> Result<(), Exit> {
        for subject in &self.subjects(&args.model, &[Known::Seed])? {
            for mode in modes(subject, &args.model) {
                let default: &[usize] = match mode {
                    // Further symbols would be warmed for a minute.
                    Mode::Sliding => &[1, MANY_SYMBOLS, 20_000],
                    Mode::Full | Mode::Carried => &[1, MANY_SYMBOLS, 20_000, 100_000],
                };
                for &symbols in args.symbols.as_deref().unwrap_or(default) {
                    self.records(subject, mode, symbols)?;
                }
            }
            let wanted = |mode: &Mode| args.model.modes.as_ref().is_none_or(|m| m.contains(mode));
            for (mode, default) in MEMORY_SYMBOLS {
                if wanted(&mode) && subject.bundle(mode).is_ok() {
                    let symbols = args.symbols.as_ref().and_then(|s| s.iter().max());
                    let symbols = symbols.copied().unwrap_or(default);
                    self.memory_apart(&args.model, subject, mode, symbols, global)?;
                }
            }
        }
        Ok(())
    }

    fn burst(&mut self, args: &BurstArgs) -> Result<(), Exit> {
        for subject in &self.subjects(&args.model, &[Known::Seed])? {
            for &symbols in &args.symbols {
                for mode in modes(subject, &args.model) {
                    self.say(&format!("{} {mode}, bursts of {symbols}", subject.name()));
                    let row = burst::row(subject, &self.runtimes, mode, symbols, self.budget);
                    self.show(Row::Burst(row.map_err(exit)?))?;
                }
            }
        }
        Ok(())
    }

    /// The memory of this process, which must not have measured anything else before.
    fn memory(&self, args: &MemoryArgs) -> Result<Option<Row>, Exit> {
        let subjects = self.subjects(&args.model, &[Known::Seed])?;
        let first = subjects.first().map(|subject| (subject, modes(subject, &args.model)));
        let Some((subject, Some(mode))) = first.map(|(s, modes)| (s, modes.first().copied()))
        else {
            return Ok(None);
        };
        self.say(&format!("{} {mode}, memory of {} symbols", subject.name(), args.symbols));
        let row = memory::row(subject, &self.runtimes, mode, args.symbols).map_err(exit)?;
        Ok(Some(Row::Memory(row)))
    }

    /// Sets of models, with their memory in this process, which must not have measured before.
    fn several(&self, args: &SeveralArgs) -> Result<Vec<Row>, Exit> {
        let subjects = self.subjects(&args.model, &[Known::Seed])?;
        let Some(subject) = subjects.first() else { return Ok(Vec::new()) };
        let Some(mode) = modes(subject, &args.model).into_iter().max_by_key(|mode| {
            // The usual one, unless another is asked for.
            *mode == Mode::Sliding
        }) else {
            return Ok(Vec::new());
        };
        self.say(&format!("{} {mode}, several models", subject.name()));
        let rows = several::rows(subject, &self.runtimes, mode, args.symbols, self.budget);
        Ok(rows.map_err(exit)?.into_iter().map(Row::Several).collect())
    }

    /// A row of memory from a process of its own.
    fn memory_apart(
        &mut self,
        args: &ModelArgs,
        subject: &Subject,
        mode: Mode,
        symbols: usize,
        global: &Global,
    ) -> Result<MemoryRow, Exit> {
        self.say(&format!("{} {mode}, memory of {symbols} symbols", subject.name()));
        let failed = |error: std::io::Error| {
            Exit::new(Failure::Internal, format_args!("measure memory: {error}"))
        };
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.args(["bench", "memory", "--json", "--seconds", "0"]);
        command.args(["--runtime", self.runtimes.ours.choice().name()]);
        command.args(["--modes", &mode.to_string(), "--symbols", &symbols.to_string()]);
        match &args.model {
            Some(folder) => command.arg("--model").arg(folder),
            None => command.args(["--models", subject.name()]),
        };
        if let Some(library) = &global.onnxruntime {
            command.arg("--onnxruntime").arg(library);
        }
        let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
        let output = output.map_err(failed)?;
        // The child has told its reason on standard error.
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().last().unwrap_or_default();
        let row: MemoryRow = serde_json::from_str(line)
            .map_err(Exit::while_doing(Failure::Internal, "measure memory"))?;
        self.show(Row::Memory(row.clone()))?;
        Ok(row)
    }

    /// The rows of the native kernels that have a mark, and whether they meet it.
    fn kernel(&mut self, args: &KernelArgs) -> Result<(), Exit> {
        let known = args.models.as_deref().unwrap_or(&Known::ALL);
        let subjects = known.iter().map(|known| Subject::known(*known, &self.runtimes.raw));
        let subjects = subjects.collect::<Result<Vec<_>, _>>().map_err(exit)?;
        let quiet = Duration::from_millis(1);
        let cases = subjects.iter().map(|subject| (subject, Duration::ZERO));
        // The largest model takes longer than the caches need to forget the others.
        let paused = subjects.iter().filter(|subject| subject.name() != "lstm-b");
        let cases: Vec<_> = cases.chain(paused.map(|subject| (subject, quiet))).collect();
        let mut found = Vec::new();
        for (subject, pause) in cases {
            let case = Case { mode: Mode::Sliding, batch: 1, instances: 1, pause };
            found.extend(marks::of_kernel(&self.latency(subject, case)?));
        }
        for mode in [Mode::Sliding, Mode::Carried] {
            for subject in subjects.iter().filter(|subject| subject.name() == "seed") {
                let row = self.throughput(subject, mode, args.symbols)?;
                found.extend(marks::of_native_throughput(&row));
            }
        }
        for subject in subjects.iter().filter(|subject| subject.name() == "seed") {
            let row = self.records(subject, Mode::Carried, args.symbols)?;
            found.extend(marks::of_native_pipeline(&row));
        }
        let missed: Vec<_> =
            found.iter().filter(|mark| !mark.met).map(|m| m.what.clone()).collect();
        found.into_iter().try_for_each(|mark| self.show(Row::Mark(mark)))?;
        if missed.is_empty() || args.no_fail {
            return Ok(());
        }
        let missed = missed.join("; ");
        Err(Exit::new(Failure::Temporary, format_args!("marks that were missed: {missed}")))
    }

    /// A little of everything, and the marks.
    fn tour(&mut self, global: &Global) -> Result<(), Exit> {
        let known = |known| Subject::known(known, &self.runtimes.raw).map_err(exit);
        let (seed, lstm_a) = (known(Known::Seed)?, known(Known::LstmA)?);
        let mut found = Vec::new();
        for (subject, mode, batch) in [
            (&seed, Mode::Sliding, 1),
            (&seed, Mode::Full, 1),
            (&seed, Mode::Full, 30),
            (&seed, Mode::Carried, 512),
            (&lstm_a, Mode::Sliding, 1),
        ] {
            let row =
                self.latency(subject, Case { mode, batch, instances: 1, pause: Duration::ZERO })?;
            found.extend(marks::of_inference(&row));
        }
        for mode in [Mode::Sliding, Mode::Carried] {
            let row = self.throughput(&seed, mode, MANY_SYMBOLS)?;
            found.extend(marks::of_throughput(&row));
        }
        for mode in [Mode::Carried, Mode::Sliding, Mode::Full] {
            let row = self.records(&seed, mode, MANY_SYMBOLS)?;
            found.extend(marks::of_pipeline(&row));
        }
        for mode in [Mode::Carried, Mode::Sliding, Mode::Full] {
            self.say(&format!("seed {mode}, bursts of {MANY_SYMBOLS}"));
            let row = burst::row(&seed, &self.runtimes, mode, MANY_SYMBOLS, self.budget);
            self.show(Row::Burst(row.map_err(exit)?))?;
        }
        let args = ModelArgs { models: None, model: None, modes: None };
        for (mode, symbols) in MEMORY_SYMBOLS {
            let symbols = symbols / TOUR_SHARE;
            let row = self.memory_apart(&args, &seed, mode, symbols, global)?;
            found.extend(marks::of_memory(&row));
        }
        found.into_iter().try_for_each(|mark| self.show(Row::Mark(mark)))
    }
}

/// The modes that are asked for, or all that the model serves.
fn modes(subject: &Subject, args: &ModelArgs) -> Vec<Mode> {
    args.modes.clone().unwrap_or_else(|| subject.modes().collect())
}
