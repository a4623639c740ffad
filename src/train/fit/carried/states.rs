//! The recurrent states of many rows, between two runs of a network.
//!
//! Owns h and c of every LSTM layer, for each of a number of rows. Promises to be zero where
//! nothing was stored. Never has a gradient: a state that is handed on is a constant.

use std::ops::Range;

use crate::train::network::Network;

/// States of rows that are numbered from 0.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct States(Vec<LayerStates>);

/// `[rows, H]` each.
#[derive(Clone, Debug, PartialEq)]
struct LayerStates {
    units: usize,
    hidden: Vec<f32>,
    cell: Vec<f32>,
}

impl States {
    /// As at the beginning of a history.
    pub(super) fn zero(network: &Network, rows: usize) -> Self {
        let layers = network.lstm_layers().iter().map(|layer| {
            let (units, size) = (layer.units(), rows * layer.units());
            LayerStates { units, hidden: vec![0.0; size], cell: vec![0.0; size] }
        });
        Self(layers.collect())
    }

    /// h and c of each layer for neighbouring rows.
    pub(super) fn of(&self, rows: Range<usize>) -> impl ExactSizeIterator<Item = (&[f32], &[f32])> {
        self.0.iter().map(move |layer| {
            let range = rows.start * layer.units..rows.end * layer.units;
            (&layer.hidden[range.clone()], &layer.cell[range])
        })
    }

    /// Puts h and c of each layer for neighbouring rows in the place of what was there.
    pub(super) fn store<'s>(
        &mut self,
        rows: Range<usize>,
        states: impl IntoIterator<Item = (&'s [f32], &'s [f32])>,
    ) {
        for (layer, (hidden, cell)) in self.0.iter_mut().zip(states) {
            let range = rows.start * layer.units..rows.end * layer.units;
            layer.hidden[range.clone()].copy_from_slice(hidden);
            layer.cell[range].copy_from_slice(cell);
        }
    }
}
