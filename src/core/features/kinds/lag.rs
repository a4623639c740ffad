//! A field as it was some steps ago.
//!
//! Owns `lag(field,n)`. Promises that a value depends on one step and on nothing else, and that a
//! step costs one read and one write, however long the lag.

use super::{Memory, read};
use crate::core::domain::{Field, Reject, Step};

/// The value of a field n steps before this one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::core::features) struct Lag {
    pub(in crate::core::features) field: Field,
    /// How many steps ago, n; at least one.
    pub(in crate::core::features) steps: u32,
}

impl Lag {
    /// A ring: the value of step k is at k modulo n.
    pub(super) fn slots(self) -> usize {
        self.steps as usize
    }

    pub(super) fn warm_up_steps(self) -> u64 {
        u64::from(self.steps)
    }

    pub(super) fn advance(self, step: &Step, memory: &mut Memory<'_>) -> Result<f64, Reject> {
        let newest = read(step, self.field)?;
        let place = (memory.steps() % u64::from(self.steps)) as usize;
        let oldest = memory.slots()[place];
        memory.set(place, newest);
        Ok(oldest)
    }
}
