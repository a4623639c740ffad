//! Sealed models: the bundle's contract, its verification, and the store they lie in.
//!
//! Owns everything that is known of a model before it runs. Promises that a bundle that loads is
//! whole: hashes, rules, graph and golden vectors all checked. Never runs a model outside that
//! check.

mod bundle;
mod choice;
mod exactness;
pub mod golden;
mod graph;
mod heritage;
mod history;
pub mod manifest;
mod origin;
mod outputs;
pub mod proof;
mod rivals;
mod step_spec;
mod store;
mod wire_scan;
pub mod writer;

pub(crate) use bundle::GOLDEN_ROWS_MAX;
pub use bundle::{Bundle, BundleError, Draft, MANIFEST_FILE, Staged, read_symbols};
pub use choice::ModelChoice;
pub use graph::{ONNX_BYTES_MAX, check_graph};
pub use heritage::Heritage;
pub use history::{history_need, makes_steps};
pub use outputs::OUTPUTS_MAX;
pub use rivals::rival_obstacle;
pub use step_spec::interval_words;
pub use store::{
    RefusedVersion, StoreError, candidates, locate, names, next_version, other_manifests,
    version_of, versions,
};
pub use wire_scan::check_size;
