//! ONNX Runtime for tests.
//!
//! Owns its one load in the process of the tests. It exists in tests alone.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::{OnnxRuntime, locate_library};

/// ONNX Runtime for tests that compare with it, loaded once, because a process can load it only
/// once; a missing library fails the test.
pub(crate) fn onnxruntime() -> &'static OnnxRuntime {
    static RUNTIME: OnceLock<OnnxRuntime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let variable = std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from);
        let named = [("ORT_DYLIB_PATH", variable.as_deref())];
        OnnxRuntime::load(&locate_library(&named, None, Path::exists).unwrap()).unwrap()
    })
}
