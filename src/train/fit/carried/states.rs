//! The recurrent states of many rows, between two runs of a network.
//!
//! Owns the states of every recurrent layer, for each of a number of rows. Promises to be zero
//! where nothing was stored. Never has a gradient: a state that is handed on is a constant.

use std::ops::Range;

use crate::train::network::Network;

/// States of rows that are numbered from 0, in the order of [`Network::state_widths`].
#[derive(Clone, Debug, PartialEq)]
pub(super) struct States(Vec<State>);

/// `[rows, H]`
#[derive(Clone, Debug, PartialEq)]
struct State {
    units: usize,
    values: Vec<f32>,
}

impl States {
    /// As at the beginning of a history.
    pub(super) fn zero(network: &Network, rows: usize) -> Self {
        let states = network.state_widths().into_iter();
        Self(states.map(|units| State { units, values: vec![0.0; rows * units] }).collect())
    }

    /// The states of neighbouring rows.
    pub(super) fn of(&self, rows: Range<usize>) -> impl Iterator<Item = &[f32]> {
        self.0.iter().map(move |state| &state.values[state.range(&rows)])
    }

    /// Puts the states of neighbouring rows in the place of what was there.
    pub(super) fn store<'s>(
        &mut self,
        rows: Range<usize>,
        states: impl IntoIterator<Item = &'s [f32]>,
    ) {
        for (state, values) in self.0.iter_mut().zip(states) {
            let range = state.range(&rows);
            state.values[range].copy_from_slice(values);
        }
    }
}

impl State {
    fn range(&self, rows: &Range<usize>) -> Range<usize> {
        rows.start * self.units..rows.end * self.units
    }
}
