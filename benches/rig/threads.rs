//! What the threads of a process cost, as the system counts it.

use std::collections::BTreeMap;
use std::path::Path;

/// The work of the threads of one name.
#[derive(Clone, Copy, Default)]
pub(crate) struct Work {
    /// Time on a processor.
    pub(crate) ran_nanos: u64,
    /// Time ready to run without a processor.
    pub(crate) waited_nanos: u64,
    /// How often they went to sleep.
    pub(crate) sleeps: u64,
}

/// The work of all threads of a process so far, by their names; empty where the system has no
/// such numbers.
pub(crate) fn of(process: u32) -> BTreeMap<String, Work> {
    let mut threads = BTreeMap::<String, Work>::new();
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{process}/task")) else { return threads };
    for task in tasks.flatten() {
        let Some((name, work)) = read(&task.path()) else { continue };
        let sum = threads.entry(name).or_default();
        sum.ran_nanos += work.ran_nanos;
        sum.waited_nanos += work.waited_nanos;
        sum.sleeps += work.sleeps;
    }
    threads
}

fn read(task: &Path) -> Option<(String, Work)> {
    let file = |name: &str| std::fs::read_to_string(task.join(name)).ok();
    let name = file("comm")?.trim().to_owned();
    let times = file("schedstat")?;
    let mut times = times.split_whitespace().map_while(|word| word.parse().ok());
    let status = file("status")?;
    let sleeps = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
    let (ran_nanos, waited_nanos) = (times.next()?, times.next()?);
    Some((name, Work { ran_nanos, waited_nanos, sleeps: sleeps.trim().parse().ok()? }))
}
