//! The simulation of the whole life: real shards, queues, snapshots, reloads and commits on one
//! thread, over a simulated clock, disk, network and broker. All of a run follows from its seed.
//!
//! | variable | means |
//! |---|---|
//! | `SIM_SEEDS` | how many seeds, from `SIM_FIRST` on |
//! | `SIM_SEED` | this seed alone, with its trace |
//! | `SIM_FAULTS`, `SIM_TURNS` | fewer kinds of faults and fewer turns, as a failure prints them |
//!
//! docs/reliability.md says what is simulated and what is not.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test says by failing what went wrong"
)]
#![cfg_attr(not(feature = "kafka"), allow(dead_code, reason = "parts of the group alone use it"))]

#[cfg(feature = "kafka")]
mod broker;
mod daemon;
mod dice;
mod disk;
mod faults;
#[cfg(feature = "kafka")]
mod group;
mod history;
mod model;
mod network;
mod oracle;
mod shrink;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tickcast::ops::clock::Stopwatch;

use crate::faults::{Character, Faults, Input};
use crate::shrink::shrink;
use crate::world::Ran;

/// Seeds of a run in CI.
const SEEDS: u64 = 200;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

fn run(character: &Character, keeps_trace: bool) -> Ran {
    let lived = AssertUnwindSafe(|| live(character, keeps_trace));
    catch_unwind(lived).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        let violation = Some(format!("panic: {}", text.unwrap_or("without words")));
        Ran { violation, hash: 0, trace: Vec::new(), faults: 0 }
    })
}

fn live(character: &Character, keeps_trace: bool) -> Ran {
    match character.input {
        #[cfg(feature = "kafka")]
        Input::Kafka => group::run(character, keeps_trace),
        #[cfg(not(feature = "kafka"))]
        Input::Kafka => {
            world::run(&Character { input: Input::Recording, ..*character }, keeps_trace)
        }
        Input::Feed | Input::Recording => world::run(character, keeps_trace),
    }
}

/// The run of a seed, as the environment narrows it.
fn character(seed: u64) -> Character {
    let mut character = Character::new(seed);
    if let Some(faults) = number("SIM_FAULTS") {
        character.faults = Faults(u32::try_from(faults).expect("a set of kinds"));
    }
    character.turns = number("SIM_TURNS").unwrap_or(character.turns);
    character
}

/// Says everything about a seed that fails.
fn fail(character: &Character, ran: Ran) -> ! {
    let seed = character.seed;
    let first = ran.violation.clone().unwrap_or_default();
    let (smallest, _) = shrink(character, ran, |candidate| run(candidate, false));
    let ran = run(&smallest, true);
    let violation = ran.violation.unwrap_or_default();
    let trace = ran.trace.join("\n");
    let Character { faults: Faults(faults), turns, .. } = smallest;
    panic!(
        "seed {seed}: {first}\n\nsmallest run that fails so:\n{trace}\n\n{violation}\n\nrepeat it \
         with\n  SIM_SEED={seed} cargo test --test sim\n  SIM_SEED={seed} SIM_FAULTS={faults} \
         SIM_TURNS={turns} cargo test --test sim"
    );
}

#[test]
fn a_life_with_faults_says_what_a_life_without_says() {
    if let Some(seed) = number("SIM_SEED") {
        let ran = run(&character(seed), true);
        ran.trace.iter().for_each(|line| println!("{line}"));
        println!("seed {seed}: hash {:016x}, {} faults", ran.hash, ran.faults);
        if ran.violation.is_some() {
            fail(&character(seed), ran);
        }
        return;
    }
    let (first, count) = (number("SIM_FIRST").unwrap_or(1), number("SIM_SEEDS").unwrap_or(SEEDS));
    // The models are made once.
    model::models();
    let (begun, mut shown, mut faults) = (Stopwatch::start(), Stopwatch::start(), 0);
    for seed in first..first + count {
        let ran = run(&character(seed), false);
        if ran.violation.is_some() {
            fail(&character(seed), ran);
        }
        faults += ran.faults;
        if shown.elapsed() > Duration::from_secs(10) {
            shown = Stopwatch::start();
            eprintln!("seed {seed}");
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let rate = count as f64 / seconds;
    println!("seeds {first} to {}: {faults} faults, {rate:.0} seeds/s", first + count - 1);
}

#[test]
fn a_seed_always_gives_the_same_run() {
    for seed in 1..25 {
        let [once, again] = [(); 2].map(|()| run(&Character::new(seed), true));
        assert_eq!(once.trace, again.trace, "seed {seed}");
        assert_eq!(once.hash, again.hash, "seed {seed}");
    }
}
