//! One world with a feed or a recording: what happens next is a throw of the dice.

use std::fmt;

use tickcast::keep::reload::Outcome;

use crate::daemon::{Clock, Daemon, judge_promotion};
use crate::dice::Dice;
use crate::disk::{Health, SimulatedDisk};
use crate::faults::{Character, Fault, History, Input};
use crate::history::BEGIN_MS;
use crate::model::{Deployed, NEXT, NOW, SYMBOLS};
use crate::oracle::{FirstSaid, Outlet, difference, hashed};

/// How long the weather is calm at the end of a run with a feed.
const CALM_MS: u64 = 20_000;

/// Calm begins at the latest then: a run has no more ticks than the models were asked about.
const STORM_MS: u64 = 110_000;

/// What became of a run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) violation: Option<String>,
    /// Tells this run from others.
    pub(crate) hash: u64,
    pub(crate) trace: Vec<String>,
    pub(crate) faults: u64,
}

/// What happened, as a hash, and in words where these are wanted.
pub(crate) struct Trace {
    pub(crate) hash: u64,
    pub(crate) lines: Vec<String>,
    pub(crate) keeps: bool,
    text: String,
    pub(crate) faults: u64,
}

impl Trace {
    pub(crate) fn new(keeps: bool) -> Self {
        Self { hash: 0, lines: Vec::new(), keeps, text: String::new(), faults: 0 }
    }

    pub(crate) fn note(&mut self, now_ms: u64, what: fmt::Arguments<'_>) {
        self.text.clear();
        let _ = fmt::write(&mut self.text, format_args!("{now_ms:>7} ms  {what}"));
        self.hash = hashed(self.hash, self.text.as_bytes());
        if self.keeps {
            self.lines.push(self.text.clone());
        }
    }

    pub(crate) fn fault(&mut self, now_ms: u64, what: fmt::Arguments<'_>) {
        self.faults += 1;
        self.note(now_ms, format_args!("FAULT {what}"));
    }
}

struct World {
    character: Character,
    dice: Dice,
    now_ms: u64,
    offset_ms: i64,
    clock: Clock,
    disk: SimulatedDisk,
    outlet: Outlet,
    deployed: Deployed,
    daemon: Option<Daemon>,
    /// When the next process begins.
    starts_ms: u64,
    trace: Trace,
}

/// Runs a seed, and once more without history where that never answers.
pub(crate) fn run(character: &Character, keeps_trace: bool) -> Ran {
    let (mut ran, said, lives) = run_once(character, keeps_trace);
    let in_vain = character.history.filter(|history| history.never_answers);
    if let (Some(history), None) = (in_vain, &ran.violation) {
        let history = Some(History { has_rest: false, ..history });
        let (plain, without, _) = run_once(&Character { history, ..*character }, false);
        let differs = || difference(&said, &without, lives == 1);
        let differs = || differs().map(|what| format!("I3: a run without an answer {what}"));
        ran.violation = plain.violation.or_else(differs);
    }
    ran
}

/// What became of a run, what its first life has said, and how many lives there were.
fn run_once(character: &Character, keeps_trace: bool) -> (Ran, FirstSaid, u64) {
    let mut world = World {
        character: *character,
        dice: Dice::new(character.seed),
        now_ms: character.history.map_or(0, |_| BEGIN_MS),
        offset_ms: 0,
        clock: Clock::default(),
        disk: SimulatedDisk::default(),
        outlet: Outlet::new(character.input, character.mode),
        deployed: Deployed::First,
        daemon: None,
        starts_ms: 0,
        trace: Trace::new(keeps_trace),
    };
    let mut judge = world.outlet.lock();
    (judge.complete, judge.history) = (character.complete(), character.history);
    judge.may_lack_newer = character.drops_oldest || character.faults.has(Fault::ClockStep);
    drop(judge);
    world.trace.note(0, format_args!("{character:?}"));
    world.pass(0);
    if let Err(failure) = world.live() {
        world.outlet.lock().violate(failure);
    }
    let mut judge = world.outlet.lock();
    let Trace { hash, lines, faults, .. } = world.trace;
    let (violation, said) = (judge.violation.clone(), std::mem::take(&mut judge.first_said));
    let ran = Ran { violation, hash: hash ^ judge.hash, trace: lines, faults };
    (ran, said, judge.lives)
}

impl World {
    fn has(&mut self, fault: Fault, thousandths: u64) -> bool {
        let roll = self.dice.below(1000);
        self.character.faults.has(fault) && roll < thousandths
    }

    fn is_violated(&self) -> bool {
        self.outlet.lock().violation.is_some()
    }

    fn live(&mut self) -> Result<(), String> {
        for _ in 0..self.character.turns {
            self.turn()?;
            if self.is_violated() {
                return Ok(());
            }
            if self.now_ms > STORM_MS {
                break;
            }
        }
        self.calm()?;
        match self.character.input {
            Input::Recording => {
                self.outlet.lock().judge_completeness(false);
            }
            _ => {
                let newest = self.now_ms as i64 / 1000;
                self.outlet.lock().judge_recovery(newest);
            }
        }
        Ok(())
    }

    /// One thing that happens.
    fn turn(&mut self) -> Result<(), String> {
        if self.daemon.is_none() {
            if self.now_ms >= self.starts_ms {
                return self.start();
            }
            self.pass(100);
            return Ok(());
        }
        self.strike()?;
        let slow = if self.character.faults.has(Fault::Slow) { 3 } else { 0 };
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        match self.dice.below(12 + slow) {
            0..=3 => {
                let is_alive = daemon.engine.turn(&mut self.dice);
                daemon.advance_history();
                if !is_alive {
                    self.die(format_args!("a shard has failed"));
                }
            }
            4..=5 | 12.. => {
                let count = self.dice.index(8) + 1;
                daemon.deliver(count)?;
            }
            6 => {
                let count = self.dice.index(4);
                self.outlet.lock().flush(count);
            }
            7 => {
                let begins = self.dice.below(3) == 0;
                if begins {
                    daemon.begin_snapshot();
                    self.trace.note(self.now_ms, format_args!("snapshot"));
                }
            }
            8 => {
                daemon.advance_snapshot();
                if self.disk.is_off() {
                    self.fail_power();
                }
            }
            _ => {
                let span = self.dice.between(10, 600);
                self.pass(span);
            }
        }
        if let Some(daemon) = &self.daemon {
            daemon.judge(&self.outlet);
        }
        Ok(())
    }

    /// Lets time go on, and with it the venue.
    fn pass(&mut self, span_ms: u64) {
        let until = self.now_ms + span_ms;
        loop {
            let second = (self.now_ms / 1000 + 1) * 1000;
            let due = self.daemon.as_mut().and_then(Daemon::feed).map_or(u64::MAX, |f| f.due_ms());
            let next = second.min(due.max(self.now_ms)).min(until);
            self.now_ms = next;
            self.clock.set(next, self.offset_ms);
            if let Some(daemon) = &mut self.daemon {
                if next == second
                    && let Some(feed) = daemon.feed()
                {
                    (0..SYMBOLS.len()).for_each(|symbol| feed.trade(next, symbol));
                }
                daemon.advance(next, &self.outlet);
            }
            if next == until {
                return;
            }
        }
    }

    fn start(&mut self) -> Result<(), String> {
        if self.deployed == Deployed::Useless {
            // A start has no windows to try a model on, so an operator has taken it back.
            self.deployed = Deployed::Second;
        }
        let daemon = Daemon::start(
            &self.character,
            self.deployed,
            self.now_ms,
            &self.clock,
            &self.disk,
            &self.outlet,
            &mut self.dice,
        )?;
        self.daemon = Some(daemon);
        let version = self.outlet.lock().expected.clone();
        self.trace.note(self.now_ms, format_args!("a process begins, with version {version:?}"));
        Ok(())
    }

    /// The process ends at once.
    fn die(&mut self, why: fmt::Arguments<'_>) {
        self.trace.fault(self.now_ms, why);
        self.daemon = None;
        self.outlet.lock().crash(&mut self.dice);
        self.disk.process_ends();
        self.starts_ms = self.now_ms + self.dice.below(6000);
    }

    fn fail_power(&mut self) {
        self.die(format_args!("the machine is off"));
        self.disk.power_failure(&mut self.dice);
    }

    /// What may go wrong.
    fn strike(&mut self) -> Result<(), String> {
        if self.has(Fault::Kill, 10) {
            self.die(format_args!("the process is killed"));
        } else if self.has(Fault::PowerFailure, 8) {
            if self.dice.below(2) == 0 {
                self.fail_power();
            } else {
                let steps = self.dice.between(1, 9);
                self.disk.fail_in(steps);
                self.trace.note(self.now_ms, format_args!("off in {steps} steps of the disk"));
            }
        } else if self.has(Fault::Restart, 6) {
            self.restart()?;
        } else if self.has(Fault::Disk, 20) {
            let health = self.dice.pick(&[Health::Good, Health::Full, Health::Refuses]);
            self.disk.set_health(health);
            let fails = self.dice.below(3) == 0;
            self.outlet.lock().settle_fails = fails;
            if self.dice.below(8) == 0 {
                self.outlet.lock().room = Some(self.dice.below(20));
            }
            self.trace.fault(self.now_ms, format_args!("disk {health:?}, settle fails: {fails}"));
        } else if self.has(Fault::Reload, 12) {
            self.reload()?;
        } else if self.character.has_shadow && self.has(Fault::Promote, 12) {
            self.promote();
        } else if self.has(Fault::ClockStep, 10) {
            let offset = self.dice.pick(&[-7_200_000, -20_000, -4_000, 0, 0, 30_000, 7_200_000]);
            self.offset_ms = offset;
            self.clock.set(self.now_ms, offset);
            self.trace.fault(self.now_ms, format_args!("the wall clock is off by {offset} ms"));
        }
        Ok(())
    }

    fn restart(&mut self) -> Result<(), String> {
        let Some(daemon) = self.daemon.take() else { return Ok(()) };
        self.trace.fault(self.now_ms, format_args!("the process is asked to end"));
        // A sink that does not settle is an end with an error; what it did not write is lost.
        if daemon.stop(&self.outlet).is_err() {
            self.outlet.lock().crash(&mut self.dice);
        }
        if self.disk.is_off() {
            self.disk.power_failure(&mut self.dice);
        } else {
            self.disk.process_ends();
        }
        self.starts_ms = self.now_ms + self.dice.below(4000);
        Ok(())
    }

    fn reload(&mut self) -> Result<(), String> {
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        self.deployed = self.dice.pick(&Deployed::ALL);
        // Without full windows there is nothing to try a model on.
        if self.deployed == Deployed::Useless && self.outlet.lock().forecasts < 8 {
            self.deployed = Deployed::Second;
        }
        let dies = (self.dice.below(6) == 0).then(|| self.dice.between(1, 30));
        let mut judge = self.outlet.lock();
        judge.has_rescaled |= self.deployed == Deployed::Rescaled;
        let before = judge.expected.take();
        drop(judge);
        let outcome = daemon.reload(&self.character, self.deployed, &mut self.dice, dies);
        let alive = !daemon.engine.shards.is_empty();
        self.trace.fault(self.now_ms, format_args!("{:?} is deployed: {outcome:?}", self.deployed));
        let mut judge = self.outlet.lock();
        match outcome {
            Outcome::Swapped { model, .. } => {
                judge.has_swapped |= before.as_ref() != Some(&model.model_version);
                if model.model_version != self.deployed.best() {
                    judge.violate(format_args!("reload: {model:?} of {:?}", self.deployed));
                }
                judge.expected = Some(model.model_version);
            }
            Outcome::Kept { reason } if alive => {
                if before.as_deref() != Some(self.deployed.best()) && !reason.contains("windows") {
                    judge.violate(format_args!("reload: kept {before:?}: {reason}"));
                }
                judge.expected = before;
            }
            Outcome::Kept { .. } | Outcome::Fatal { .. } if alive => {
                judge.violate(format_args!("reload: {outcome:?}"));
            }
            _ => {
                judge.has_swapped = true;
                drop(judge);
                self.die(format_args!("the process ends in a reload"));
            }
        }
        Ok(())
    }

    /// One of the two entries is promoted, the one that is live already too.
    fn promote(&mut self) {
        let Some(daemon) = &mut self.daemon else { return };
        let name = self.dice.pick(&[NOW, NEXT]);
        let dies = (self.dice.below(4) == 0).then(|| self.dice.between(1, 12));
        let mut judge = self.outlet.lock();
        // Whoever is live until the answer comes, and either of them if the process ends in it.
        let before = judge.live.take();
        judge.live_next = if before == Some(name) { vec![name] } else { vec![NOW, NEXT] };
        drop(judge);
        let outcome = daemon.promote(name, &mut self.dice, dies);
        let alive = !daemon.engine.shards.is_empty();
        self.trace.fault(self.now_ms, format_args!("{name} is promoted: {outcome:?}"));
        let is_known = judge_promotion(&self.outlet, name, &outcome);
        if self.disk.is_off() {
            self.fail_power();
        } else if !is_known || !alive {
            if alive {
                self.outlet.lock().violate(format_args!("role: {outcome:?}"));
            }
            self.die(format_args!("the process ends in a promotion"));
        }
    }

    /// No more faults: everything comes to rest, and the daemon is asked to end.
    fn calm(&mut self) -> Result<(), String> {
        self.trace.note(self.now_ms, format_args!("calm"));
        self.character.faults = crate::faults::Faults(0);
        self.disk.process_ends();
        self.offset_ms = 0;
        let mut judge = self.outlet.lock();
        (judge.settle_fails, judge.room) = (false, None);
        drop(judge);
        if self.daemon.is_none() {
            self.starts_ms = self.now_ms;
            self.start()?;
        }
        let until = self.now_ms + CALM_MS;
        if let Some(daemon) = &mut self.daemon {
            daemon.calm();
        }
        loop {
            let Some(daemon) = &mut self.daemon else { return Err("it ended by itself".into()) };
            let is_over = match self.character.input {
                Input::Recording => daemon.has_ended(),
                _ => self.now_ms >= until,
            };
            if is_over {
                break;
            }
            daemon.deliver(50)?;
            for _ in 0..2 * self.character.shards {
                if !daemon.engine.turn(&mut self.dice) {
                    return Err("a shard failed in calm weather".into());
                }
            }
            daemon.judge(&self.outlet);
            self.pass(200);
            if self.is_violated() {
                return Ok(());
            }
        }
        let Some(daemon) = self.daemon.take() else { return Ok(()) };
        daemon.stop(&self.outlet)
    }
}
