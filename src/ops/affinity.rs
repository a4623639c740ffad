//! Threads that stay on one processor.
//!
//! Owns the call to the system. Promises that only processors are used that the process was given.
//! Never makes a failure fatal: a thread that may not be pinned runs wherever it may.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tracing::warn;

/// The processors that this process may use; at least one.
#[derive(Clone, Debug)]
pub struct Processors(Vec<usize>);

/// One of them.
#[derive(Clone, Copy, Debug)]
pub struct Processor(usize);

impl Processors {
    /// Those given to this process, or `None` where the system does not tell.
    pub fn given() -> Option<Self> {
        let set = sched_getaffinity(None)
            .inspect_err(|error| warn!(%error, "cannot tell the processors of this process"))
            .ok()?;
        let given: Vec<_> = (0..CpuSet::MAX_CPU).filter(|index| set.is_set(*index)).collect();
        (!given.is_empty()).then_some(Self(given))
    }

    /// The processor for the thread at `index`; more threads than processors share them in turn.
    pub fn nth(&self, index: usize) -> Processor {
        Processor(self.0[index % self.0.len()])
    }
}

impl Processor {
    /// Keeps the calling thread here from now on.
    pub fn pin_this_thread(self) {
        let mut set = CpuSet::new();
        set.set(self.0);
        if let Err(error) = sched_setaffinity(None, &set) {
            warn!(processor = self.0, %error, "cannot pin a thread to its processor");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_has_its_one_processor() {
        let given = Processors::given().unwrap();
        let last = given.nth(given.0.len() - 1);
        let pinned = std::thread::spawn(move || {
            last.pin_this_thread();
            Processors::given().unwrap()
        });
        assert_eq!(pinned.join().unwrap().0, [last.0]);
        assert_eq!(given.nth(given.0.len()).0, given.0[0], "in turn");
    }
}
