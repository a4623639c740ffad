//! The harness: what tests share, so that they read like prose.

pub(crate) mod bundle;
pub(crate) mod network;
pub(crate) mod poison;

use std::path::PathBuf;
use std::sync::OnceLock;

use tickcast::inference::Runtime;

/// ONNX Runtime, loaded once for all tests of this process.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let path = std::env::var("ORT_DYLIB_PATH");
        let path = path.expect("ORT_DYLIB_PATH names the library; `make test` sets it");
        Runtime::load(&PathBuf::from(path)).expect("the library that `make setup` fetched loads")
    })
}

/// The folder of the repository.
pub(crate) fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
