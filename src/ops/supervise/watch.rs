//! Which stages stand still.
//!
//! Owns the judgement. Promises that a stage is called stalled only while it has, or others have
//! for it, work that it does not come on with for the limit; and that one step of it ends that.
//! Never reads a clock: the time is handed in.

use std::time::Duration;

use super::pulse::{Pulse, State};

/// A stage as the supervisor sees it.
pub struct Stage {
    name: String,
    pulse: Pulse,
    /// Whether something waits for the stage, whatever it says itself.
    has_work: Box<dyn Fn() -> bool + Send>,
}

impl Stage {
    /// A stage that knows itself what it has to do.
    pub fn new(name: impl Into<String>, pulse: Pulse) -> Self {
        Self::with_queue(name, pulse, || false)
    }

    /// A stage with a queue before it, which `has_work` looks into.
    pub fn with_queue(
        name: impl Into<String>,
        pulse: Pulse,
        has_work: impl Fn() -> bool + Send + 'static,
    ) -> Self {
        Self { name: name.into(), pulse, has_work: Box::new(has_work) }
    }
}

/// The watch over all stages.
pub struct StageWatch {
    watched: Vec<Watched>,
    limit: Duration,
}

struct Watched {
    stage: Stage,
    seen: u64,
    /// When it was last seen to come on, or to have nothing to do.
    moved: Duration,
}

impl StageWatch {
    /// Lets a stage stand still for `limit`.
    pub fn new(stages: Vec<Stage>, limit: Duration) -> Self {
        let watch = |stage| Watched { stage, seen: 0, moved: Duration::ZERO };
        Self { watched: stages.into_iter().map(watch).collect(), limit }
    }

    /// The names of all stages.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.watched.iter().map(|watched| &*watched.stage.name)
    }

    /// The names of those that stand still at `now`, which only grows.
    pub fn look(&mut self, now: Duration) -> Vec<String> {
        let mut stalled = Vec::new();
        for Watched { stage, seen, moved } in &mut self.watched {
            let (count, state) = stage.pulse.read();
            let limit = match state {
                State::Resting if !(stage.has_work)() => None,
                State::Resting | State::Working => Some(self.limit),
                // It may find on its return what keeps it from coming on, so both limits.
                State::Waiting(limit) => Some(limit.saturating_add(self.limit)),
            };
            if *seen != count || limit.is_none() {
                (*seen, *moved) = (count, now);
            }
            if limit.is_some_and(|limit| now.saturating_sub(*moved) > limit) {
                stalled.push(stage.name.clone());
            }
        }
        stalled
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A watch over one stage, its pulse, and the switch that fills its queue.
    fn watched() -> (StageWatch, Pulse, Arc<AtomicBool>) {
        let (pulse, queue) = (Pulse::new(), Arc::new(AtomicBool::new(false)));
        let has_work = {
            let queue = Arc::clone(&queue);
            move || queue.load(Ordering::Relaxed)
        };
        let stage = Stage::with_queue("lines", pulse.clone(), has_work);
        (StageWatch::new(vec![stage], LIMIT), pulse, queue)
    }

    #[test]
    fn nothing_to_do_is_no_stall_however_long() {
        let (mut watch, pulse, _) = watched();
        assert_eq!(watch.look(seconds(1000)), [""; 0]);
        pulse.work();
        pulse.rest();
        assert_eq!(watch.look(seconds(100_000)), [""; 0]);
    }

    #[test]
    fn work_that_does_not_come_on_is_a_stall_until_it_does() {
        let (mut watch, pulse, _) = watched();
        pulse.work();
        assert_eq!(watch.look(seconds(100)), [""; 0], "it has just begun");
        assert_eq!(watch.look(seconds(110)), [""; 0], "the limit itself is allowed");
        assert_eq!(watch.look(seconds(111)), ["lines"]);
        assert_eq!(watch.look(seconds(500)), ["lines"]);
        pulse.work();
        assert_eq!(watch.look(seconds(501)), [""; 0]);
        assert_eq!(watch.look(seconds(512)), ["lines"]);
        pulse.rest();
        assert_eq!(watch.look(seconds(513)), [""; 0]);
    }

    #[test]
    fn a_queue_that_nobody_empties_is_a_stall_whatever_the_stage_says() {
        let (mut watch, pulse, queue) = watched();
        pulse.rest();
        assert_eq!(watch.look(seconds(100)), [""; 0]);
        queue.store(true, Ordering::Relaxed);
        assert_eq!(watch.look(seconds(105)), [""; 0]);
        assert_eq!(watch.look(seconds(111)), ["lines"]);
        queue.store(false, Ordering::Relaxed);
        assert_eq!(watch.look(seconds(112)), [""; 0]);
    }

    #[test]
    fn a_wait_with_a_limit_of_its_own_is_waited_for() {
        let (mut watch, pulse, _) = watched();
        pulse.wait(seconds(60));
        assert_eq!(watch.look(seconds(0)), [""; 0]);
        assert_eq!(watch.look(seconds(70)), [""; 0]);
        assert_eq!(watch.look(seconds(71)), ["lines"], "it should have come back");
    }

    #[test]
    fn each_stage_is_judged_alone() {
        let pulses = [Pulse::new(), Pulse::new(), Pulse::new()];
        let stages = pulses.iter().enumerate();
        let stages = stages.map(|(index, pulse)| Stage::new(format!("{index}"), pulse.clone()));
        let mut watch = StageWatch::new(stages.collect(), LIMIT);
        pulses[0].work();
        pulses[2].work();
        assert_eq!(watch.look(seconds(1)), [""; 0]);
        pulses[2].work();
        assert_eq!(watch.look(seconds(20)), ["0"]);
        assert_eq!(watch.look(seconds(40)), ["0", "2"]);
    }
}
