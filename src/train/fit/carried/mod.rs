//! Learning with a state that is carried without end: truncated back-propagation through time.
//!
//! ```text
//! history of a symbol   |------------- training -------------|--- validation ---|
//! strands               |-chunk-|-chunk-|-chunk-|-chunk-|....
//!                       0 ----> > ----> s ----> > ----> >        states go on
//! ```
//!
//! Owns: how histories are cut into strands that are learned side by side, one batch of chunks
//! after the other, and the walk through whole histories that gives the values of validation and
//! test. `docs/adr/0012` has the reasons and what was measured.
//!
//! Promises: a state is zero at the beginning of a history and nowhere else. Within a strand it
//! goes on from chunk to chunk as a constant; a strand that begins within a history (`s` above)
//! begins in the state to which the whole history before it leads, with the parameters of the
//! epoch's beginning. No training step reads a row behind the last one with a label of the training
//! part.
//!
//! Never: decides when to stop, or touches a file.

mod states;
mod strands;
mod walk;

pub(super) use self::strands::Strands;
use self::walk::Walk;
use crate::train::fit::threads::threads;
use crate::train::network::Network;
use crate::train::sequences::{Place, Sequences};

/// The network's values at `places`, in their order, each with the state to which the history
/// before it leads; no dropout. `steps` and `lanes` say how the work is divided.
pub fn predict(
    network: &Network,
    parameters: &[f32],
    sequences: &Sequences,
    places: &[Place],
    steps: usize,
    lanes: usize,
) -> Vec<f32> {
    let network = &network.every_step();
    let walk = Walk { network, sequences, steps, lanes, threads: threads() };
    walk.go(parameters, places, &[]).0
}
