//! Facts of the machine: its processor, its memory, and the most it can multiply.
//!
//! Owns reading `/proc`. Promises that what cannot be read is said to be unknown. Never guesses.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::BenchError;
use super::models::SplitMix64;
use crate::engine::inference::{Backend, OnnxRuntime, Runtime, Shape};
use crate::engine::model::writer::GraphWriter;
use crate::engine::onnx::NodeProto;
use crate::ops::clock::Stopwatch;

/// Rows and columns of the matrices whose product is timed.
const SGEMM_SIZE: usize = 512;

/// Products in one run, so that what is around them does not count.
const SGEMM_PRODUCTS: usize = 2;

/// What figures are worth nothing without.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Machine {
    /// The processor's own name.
    pub cpu_model: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Processes that wanted a core over the last minute; above 0.1 or so figures are disturbed.
    pub load_average_1m: Option<f64>,
    /// Version in the name of ONNX Runtime's library, where there is one.
    pub onnxruntime_version: Option<String>,
    /// What the library says of its build.
    pub onnxruntime_build: String,
    /// The version of this program.
    pub tickcast_version: String,
    /// The product of two 512 x 512 matrices through ONNX Runtime on one core, in 1e9 floating
    /// point operations per second.
    pub sgemm_gflops: f64,
}

impl Machine {
    /// Reads the facts, and multiplies matrices for about `budget`.
    ///
    /// # Errors
    /// [`BenchError`] where ONNX Runtime fails.
    pub fn measure(
        runtime: &OnnxRuntime,
        library: &Path,
        budget: Duration,
    ) -> Result<Self, BenchError> {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cores = std::thread::available_parallelism();
        Ok(Self {
            cpu_model: cpu_model(&text("/proc/cpuinfo")).unwrap_or("unknown").to_owned(),
            cores: cores.map_or(1, std::num::NonZero::get),
            load_average_1m: text("/proc/loadavg").split(' ').next().and_then(|l| l.parse().ok()),
            onnxruntime_version: library_version(library),
            onnxruntime_build: runtime.build(),
            tickcast_version: env!("CARGO_PKG_VERSION").to_owned(),
            sgemm_gflops: sgemm_gflops(runtime, budget)?,
        })
    }
}

/// Bytes of this process that lie in memory now.
///
/// # Errors
/// [`BenchError::Machine`] where the system does not say.
pub fn resident_bytes() -> Result<u64, BenchError> {
    let failed = |error| BenchError::Machine(format!("read /proc/self/status: {error}"));
    let status = std::fs::read_to_string("/proc/self/status").map_err(failed)?;
    let resident = resident_of(&status);
    resident.ok_or_else(|| BenchError::Machine("no VmRSS in /proc/self/status".to_owned()))
}

fn resident_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024 * kilobytes)
}

fn cpu_model(cpuinfo: &str) -> Option<&str> {
    let lines = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    let mut names = lines.filter(|(key, _)| key.trim() == "model name");
    names.next().map(|(_, name)| name.trim())
}

/// `1.32.0` of `libonnxruntime.so.1.32.0`, also behind a link.
fn library_version(library: &Path) -> Option<String> {
    let path = std::fs::canonicalize(library).unwrap_or_else(|_| library.to_owned());
    let (_, version) = path.file_name()?.to_str()?.split_once(".so.")?;
    Some(version.to_owned())
}

fn sgemm_gflops(runtime: &OnnxRuntime, budget: Duration) -> Result<f64, BenchError> {
    let size = SGEMM_SIZE;
    let mut random = SplitMix64(3);
    let mut writer = GraphWriter::new("sgemm", size, 1, false);
    let mut value = "x".to_owned();
    for product in 0..SGEMM_PRODUCTS {
        let (weight, output) = (format!("w{product}"), format!("product{product}"));
        writer.constant(&weight, &[size, size], &random.weights(size * size, 0.05));
        writer.node(NodeProto::new("MatMul", &output, &[&value, &weight], &[&output]));
        value = output;
    }
    // To the one number a row that a session is bound to.
    writer.constant("last", &[size, 1], &random.weights(size, 0.05));
    writer.integers("step_axis", &[0]);
    writer.node(NodeProto::new("MatMul", "sums", &[&value, "last"], &["sums"]));
    writer.node(NodeProto::new("Squeeze", "squeeze", &["sums", "step_axis"], &["y"]));
    let written = writer.finish();
    let signature = written.graph.signature(size);
    let mut session = runtime.session(&written.onnx, &signature)?;
    let lane = session.lane(Shape { steps: 1, batch: size })?;
    session.rows_mut(lane).copy_from_slice(&random.weights(size * size, 0.5));
    session.run(lane)?;
    let (mut fastest, mut runs, total) = (Duration::MAX, 0, Stopwatch::start());
    while runs < 3 || total.elapsed() < budget {
        let watch = Stopwatch::start();
        session.run(lane)?;
        fastest = fastest.min(watch.elapsed());
        runs += 1;
    }
    // The fastest, because this is what others are held against, and other work only slows it.
    Ok(1e-9 * (2 * SGEMM_PRODUCTS * size.pow(3)) as f64 / fastest.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_system_says() {
        let cpuinfo = "processor\t: 0\nmodel name\t: AMD EPYC 9R14\nmodel name\t: other\n";
        assert_eq!(cpu_model(cpuinfo), Some("AMD EPYC 9R14"));
        assert_eq!(cpu_model("processor : 0\n"), None);
        let status = "VmPeak:\t 9 kB\nVmRSS:\t    2052 kB\nThreads:\t1\n";
        assert_eq!(resident_of(status), Some(2052 * 1024));
        assert_eq!(resident_of("VmRSS: much\n"), None);
        let version = |path: &str| library_version(Path::new(path));
        assert_eq!(version("/nowhere/libonnxruntime.so.1.32.0").as_deref(), Some("1.32.0"));
        assert_eq!(version("libonnxruntime.so"), None);
    }
}
