//! The harness: what tests share, so that they read like prose.

#[cfg(feature = "kafka")]
pub(crate) mod broker;
pub(crate) mod bundle;
#[cfg(feature = "kafka")]
pub(crate) mod cluster;
pub(crate) mod feed;
#[cfg(feature = "kafka")]
pub(crate) mod guarded;
pub(crate) mod history;
pub(crate) mod kinds;
pub(crate) mod minutes;
#[cfg(feature = "kafka")]
pub(crate) mod mock;
pub(crate) mod network;
pub(crate) mod poison;
pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod raw_bundle;
#[cfg(feature = "kafka")]
pub(crate) mod topics;
pub(crate) mod venue;
pub(crate) mod verdicts;
pub(crate) mod waves;

use std::path::PathBuf;
use std::sync::OnceLock;

use tickcast::engine::inference::OnnxRuntime;

/// Where ONNX Runtime lies: as `make test` says, or where `make setup` puts it.
pub(crate) fn onnxruntime() -> PathBuf {
    std::env::var_os("ORT_DYLIB_PATH").expect("cargo sets it, see .cargo/config.toml").into()
}

/// ONNX Runtime, loaded once for all tests of this process.
pub(crate) fn runtime() -> &'static OnnxRuntime {
    static RUNTIME: OnceLock<OnnxRuntime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        OnnxRuntime::load(&onnxruntime()).expect("the library that `make setup` fetches loads")
    })
}

/// The folder of the repository.
pub(crate) fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
