//! What became of everything that went into an engine.
//!
//! Owns the counts. Promises that each tick and each step is in exactly one of the counts of its
//! sum. Never decides what becomes of a tick.

use super::policy::WithheldTally;
use crate::core::domain::{RejectTally, TimeDoubt};

/// What became of everything that went in. Two sums always hold:
/// `ticks + further = absorbed + steps + rejects + repeats` and
/// `steps = warming + forecasts + withheld + pending`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineTally {
    /// Ticks taken in, refused ones included.
    pub ticks: u64,
    /// Ticks that went into an open bar.
    pub absorbed: u64,
    /// Steps completed.
    pub steps: u64,
    /// Those beyond the first that one tick completed.
    pub further: u64,
    /// Those that were made by rule, because nothing came in their interval.
    pub patched: u64,
    /// Steps before a symbol's window was full.
    pub warming: u64,
    /// Forecasts made.
    pub forecasts: u64,
    /// Forecasts withheld, by reason.
    pub withheld: WithheldTally,
    /// Windows that began cold because a step lay too far behind the one before.
    pub resets: u64,
    /// Symbols that left because they were silent for too long.
    pub expired: u64,
    /// Ticks taken whose event time cannot be right, by the place of the reason among
    /// [`TimeDoubt::LABELS`].
    pub doubts: [u64; TimeDoubt::LABELS.len()],
    /// Steps of symbols whose steps have another spacing than the model's.
    pub off_cadence: u64,
    /// Ticks refused, by reason.
    pub rejects: RejectTally,
    /// Ticks that the state already holds, from a place in the input that was read before.
    pub repeats: u64,
    /// Steps of holes that history has filled.
    pub filled: u64,
    /// Times that the inputs of a symbol left the distribution of the training.
    pub shifts: u64,
    /// Forecasts of outputs behind the first that were made; those of the first are `forecasts`.
    pub further_forecasts: u64,
    /// Forecasts of outputs behind the first that could not come true or were no numbers.
    pub further_withheld: u64,
    /// Forecasts whose quantiles crossed and were rearranged.
    pub crossed: u64,
}

impl EngineTally {
    /// Ticks and steps whose times cannot be right.
    pub fn mistimed(&self) -> u64 {
        self.doubts.iter().sum::<u64>() + self.off_cadence
    }

    /// Adds what became of the ticks of another engine.
    pub fn merge(&mut self, other: &Self) {
        let Self { ticks, absorbed, steps, further, patched, .. } = other;
        let Self { warming, forecasts, withheld, resets, expired, rejects, repeats, .. } = other;
        let Self { doubts, off_cadence, filled, shifts, .. } = other;
        let Self { further_forecasts, further_withheld, crossed, .. } = other;
        self.ticks += ticks;
        self.absorbed += absorbed;
        self.steps += steps;
        self.further += further;
        self.patched += patched;
        self.warming += warming;
        self.forecasts += forecasts;
        self.withheld.merge(withheld);
        self.resets += resets;
        self.expired += expired;
        self.repeats += repeats;
        for (count, more) in self.doubts.iter_mut().zip(doubts) {
            *count += more;
        }
        self.off_cadence += off_cadence;
        self.filled += filled;
        self.shifts += shifts;
        self.further_forecasts += further_forecasts;
        self.further_withheld += further_withheld;
        self.crossed += crossed;
        self.rejects.merge(rejects);
    }
}
