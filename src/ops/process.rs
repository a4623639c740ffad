//! The process: which build runs which model, and what it uses of the machine.
//!
//! Owns the metrics of both, under the names that every exporter uses. Promises to read `/proc` at
//! a scrape alone. Never counts anything of the data path.

mod market;

use std::fs;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, IntGauge, IntGaugeVec, Opts, Registry};

use self::market::Market;
use crate::engine::model::manifest::StepSpec;
use crate::engine::wire::forecast::RecordTemplate;
use crate::ops::clock::wall_seconds;
use crate::ops::{descriptors, logging};

/// Ticks of the processor's clock in a second, as `/proc` counts them on every platform we run on.
const TICKS_PER_SECOND: f64 = 100.0;

/// What the process uses, read anew at each scrape.
struct UsageCollector {
    cpu_seconds: Counter,
    resident_bytes: IntGauge,
    virtual_bytes: IntGauge,
    threads: IntGauge,
    open_fds: IntGauge,
    max_fds: IntGauge,
    start_time: Gauge,
}

/// The models that run and their calendars, as metrics; changed by a reload and a promotion.
#[derive(Clone)]
pub struct ModelInfo {
    info: IntGaugeVec,
    market: Market,
}

/// A model that runs.
#[derive(Clone, Copy)]
pub struct ShownModel<'s> {
    /// As the configuration names it.
    pub name: &'s str,
    /// How its forecasts describe it.
    pub template: &'s RecordTemplate,
    /// What its steps are.
    pub step: &'s StepSpec,
    /// Whether it is live.
    pub is_live: bool,
}

impl ModelInfo {
    /// Shows these models, and no others.
    pub fn show(&self, models: &[ShownModel<'_>]) {
        self.info.reset();
        for ShownModel { name, template, .. } in models {
            let RecordTemplate { model_version, mode, .. } = template;
            self.info.with_label_values(&[*name, model_version, &*mode.to_string()]).set(1);
        }
        // A manifest that was verified has no other.
        let calendar = |model: &ShownModel<'_>| model.step.calendar().ok().flatten();
        self.market.follow(models.iter().filter(|model| model.is_live).map(calendar).collect());
    }
}

/// Registers the metrics of the process, lost log lines among them.
///
/// # Errors
/// Where a name is registered already.
pub fn register(registry: &Registry) -> Result<ModelInfo, prometheus::Error> {
    let info = |name: &str, help: &str, labels: &[&str]| {
        let gauge = IntGaugeVec::new(Opts::new(name, help), labels)?;
        registry.register(Box::new(gauge.clone())).map(|()| gauge)
    };
    let help = "Always 1; its label is the version of the program.";
    let build = info("tickcast_build_info", help, &["version"])?;
    build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    let model = info(
        "tickcast_model_info",
        "Always 1; its labels name a model that runs, its version and how it is driven.",
        &["model", "version", "mode"],
    )?;
    registry.register(Box::new(UsageCollector::new()?))?;
    logging::register(registry)?;
    let market = Market::new()?;
    registry.register(Box::new(market.clone()))?;
    Ok(ModelInfo { info: model, market })
}

impl UsageCollector {
    fn new() -> Result<Self, prometheus::Error> {
        let start_time = Gauge::new(
            "process_start_time_seconds",
            "Start time of the process since the Unix epoch in seconds.",
        )?;
        start_time.set(wall_seconds());
        let gauge = IntGauge::new::<&str, &str>;
        Ok(Self {
            cpu_seconds: Counter::new(
                "process_cpu_seconds_total",
                "User and system time of the processors that was used, in seconds.",
            )?,
            resident_bytes: gauge("process_resident_memory_bytes", "Memory in use, in bytes.")?,
            virtual_bytes: gauge("process_virtual_memory_bytes", "Address space, in bytes.")?,
            threads: gauge("process_threads", "Threads of the process.")?,
            open_fds: gauge("process_open_fds", "Open file descriptors.")?,
            max_fds: gauge("process_max_fds", "The most file descriptors that may be open.")?,
            start_time,
        })
    }

    /// Reads what is there; what cannot be read keeps its last value.
    fn read(&self) {
        let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).ok();
        let set = |gauge: &IntGauge, value: Option<i64>| {
            if let Some(value) = value {
                gauge.set(value);
            }
        };
        if let Some(total) = read("stat").as_deref().and_then(cpu_seconds) {
            // Two scrapes at once may have read in the other order; a counter never falls.
            let since = total - self.cpu_seconds.get();
            self.cpu_seconds.inc_by(since.max(0.0));
        }
        if let Some(status) = read("status") {
            set(&self.resident_bytes, status_number(&status, "VmRSS:").map(|kib| kib << 10));
            set(&self.virtual_bytes, status_number(&status, "VmSize:").map(|kib| kib << 10));
            set(&self.threads, status_number(&status, "Threads:"));
        }
        let max = descriptors::limit().and_then(|limit| i64::try_from(limit).ok());
        set(&self.max_fds, max);
        let open = match fs::read_dir("/proc/self/fd") {
            // The listing has the descriptor that lists, too.
            Ok(entries) => i64::try_from(entries.count().saturating_sub(1)).ok(),
            // None is left to list them by.
            Err(error) if descriptors::are_exhausted(&error) => max,
            Err(_) => None,
        };
        set(&self.open_fds, open);
    }

    fn parts(&self) -> [&dyn Collector; 7] {
        [
            &self.cpu_seconds,
            &self.resident_bytes,
            &self.virtual_bytes,
            &self.threads,
            &self.open_fds,
            &self.max_fds,
            &self.start_time,
        ]
    }
}

impl Collector for UsageCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.parts().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.read();
        self.parts().into_iter().flat_map(Collector::collect).collect()
    }
}

/// User and system time out of `/proc/self/stat`. The name of the program stands in brackets and
/// may hold anything; the fields behind it are numbers.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let (user, system) = (ticks()?, ticks()?);
    Some((user + system) as f64 / TICKS_PER_SECOND)
}

/// A number of `/proc/self/status`.
fn status_number(status: &str, name: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::*;
    use crate::engine::model::manifest::Mode;

    #[test]
    fn proc_is_read_as_it_is_written() {
        let stat = "42 (a) b) R 1 42 42 0 -1 4194304 90 0 0 0 250 30 5 6 20 0 9 0 7 8 9 10";
        assert_eq!(cpu_seconds(stat), Some(2.8));
        assert_eq!(cpu_seconds("42 (short) R 1"), None);
        let status = "Name:\tx\nVmSize:\t  2048 kB\nVmRSS:\t  1024 kB\nThreads:\t9\n";
        assert_eq!(status_number(status, "VmRSS:"), Some(1024));
        assert_eq!(status_number(status, "Threads:"), Some(9));
        assert_eq!(status_number(status, "VmSwap:"), None);
    }

    #[test]
    fn the_process_is_seen_as_it_is() {
        let registry = Registry::new();
        let model = register(&registry).unwrap();
        let template = |version: &str| RecordTemplate {
            model: "a".into(),
            model_version: version.into(),
            mode: Mode::Full,
            horizon_steps: 1,
            coverage: 0.9,
            features: Vec::new(),
            outputs: Vec::new(),
        };
        let step = StepSpec::record(60);
        for version in ["1", "2"] {
            let (template, step) = (&template(version), &step);
            model.show(&[ShownModel { name: "a", template, step, is_live: true }]);
        }
        let page = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        let value = |name: &str| -> f64 {
            let sample = |line: &&str| line.starts_with(name);
            let samples: Vec<_> = page.lines().filter(sample).collect();
            assert_eq!(samples.len(), 1, "{name}: {page}");
            samples[0].rsplit_once(' ').unwrap().1.parse().unwrap()
        };
        assert!(value("process_resident_memory_bytes") > 1e6);
        assert!(value("process_virtual_memory_bytes") > value("process_resident_memory_bytes"));
        assert!(value("process_threads") >= 1.0);
        assert!(value("process_open_fds") >= 3.0);
        assert!(value("process_max_fds") > value("process_open_fds"));
        assert!((wall_seconds() - value("process_start_time_seconds")).abs() < 60.0);
        assert!(value("process_cpu_seconds_total") >= 0.0);
        assert_eq!(value("tickcast_model_info"), 1.0, "the older version is gone");
    }
}
