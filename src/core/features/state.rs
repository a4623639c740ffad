//! The state of one symbol's features: one flat row of numbers.
//!
//! Owns how a step is computed first and absorbed later. Promises that computing changes nothing,
//! that absorbing costs as many stores as the features changed slots, however long their rings
//! are, and that every slot stays finite, so that a state survives JSON. Never knows what a slot
//! means: its feature does.

use serde::{Deserialize, Serialize};

use crate::core::domain::Reject;

/// The feature state of one symbol: small, of fixed size, serialisable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeatureState {
    /// Steps absorbed so far.
    pub(super) steps: u64,
    /// The slots of all features, one feature after the other.
    pub(super) slots: Box<[f64]>,
}

/// Reusable room for one row in the making: the row, and what absorbing its step would change.
#[derive(Clone, Debug)]
pub struct RowScratch {
    pub(super) raw: Box<[f64]>,
    pub(super) row: Box<[f32]>,
    /// A step changes the same slots as the one before, so this allocates with the first one only.
    pub(super) writes: Vec<Write>,
}

/// A slot's next value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Write {
    slot: usize,
    value: f64,
}

/// What one feature remembers of earlier steps, and where it notes what to remember of this one.
pub(super) struct Memory<'a> {
    steps: u64,
    slots: &'a [f64],
    /// The place of `slots` among the slots of all features.
    offset: usize,
    writes: &'a mut Vec<Write>,
}

impl FeatureState {
    /// The state before any step.
    pub(super) fn new(slots: usize) -> Self {
        Self { steps: 0, slots: vec![0.0; slots].into() }
    }

    /// Steps absorbed so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Takes over what the row computed last noted in `scratch`.
    pub fn absorb(&mut self, scratch: &RowScratch) {
        self.steps += 1;
        for write in &scratch.writes {
            self.slots[write.slot] = write.value;
        }
    }
}

impl RowScratch {
    pub(super) fn new(width: usize) -> Self {
        Self { raw: vec![0.0; width].into(), row: vec![0.0; width].into(), writes: Vec::new() }
    }

    /// The newest scaled row: F features in model units.
    pub fn row(&self) -> &[f32] {
        &self.row
    }

    /// The newest raw row: F features, each in its own unit.
    pub fn raw(&self) -> &[f64] {
        &self.raw
    }

    /// Refuses to remember a number that is not finite: it would never leave a running mean, and
    /// stand in a ring until as many steps as the ring holds have been refused, which is for ever.
    pub(super) fn check_writes(&self) -> Result<(), Reject> {
        let finite = self.writes.iter().all(|write| write.value.is_finite());
        if finite { Ok(()) } else { Err(Reject::NotFinite) }
    }
}

impl<'a> Memory<'a> {
    pub(super) fn new(
        state: &'a FeatureState,
        slots: std::ops::Range<usize>,
        writes: &'a mut Vec<Write>,
    ) -> Self {
        Self { steps: state.steps, offset: slots.start, slots: &state.slots[slots], writes }
    }

    /// How many steps came before this one.
    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    /// Whether nothing came before this step, so that no slot means anything yet.
    pub(super) fn is_first(&self) -> bool {
        self.steps == 0
    }

    /// The feature's slots as the previous step left them.
    pub(super) fn slots(&self) -> &'a [f64] {
        self.slots
    }

    /// Notes a slot's next value; `slot` counts from the feature's first.
    pub(super) fn set(&mut self, slot: usize, value: f64) {
        debug_assert!(slot < self.slots.len(), "slot {slot} belongs to the next feature");
        self.writes.push(Write { slot: self.offset + slot, value });
    }
}
